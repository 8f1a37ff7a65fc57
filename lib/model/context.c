/*
 * Contexts: made by a read, kept by the application, checked by a write.
 *
 * Who cannot know the ring's secret can neither make a context nor change one;
 * so nobody can overwrite versions that he was never shown.
 */
#include "model/context.h"

#define FORMAT 1
#define HEAD (3 + 8 + 16 + 8 + 8)
#define TAIL (16 + 8)

int
context_new(struct dyn_context **out, uint64_t ring, const struct digest *key,
    const unsigned char secret[32])
{
	struct dyn_context *c;

	*out = NULL;
	c = mem_zalloc(sizeof(*c));
	if (c == NULL)
		return DYN_ENOMEM;
	c->ring = ring;
	c->key = *key;
	memcpy(c->secret, secret, sizeof(c->secret));
	*out = c;
	return 0;
}

void
dyn_context_free(dyn_context *c)
{
	if (c == NULL)
		return;
	clock_fini(&c->clock);
	mem_free(c);
}

int
dyn_context_copy(dyn_context **out, const dyn_context *from)
{
	struct dyn_context *c;
	int rc;

	if (out == NULL)
		return DYN_EINVAL;
	*out = NULL;
	if (from == NULL)
		return DYN_EINVAL;
	c = mem_alloc(sizeof(*c));
	if (c == NULL)
		return DYN_ENOMEM;
	*c = *from;
	rc = clock_copy(&c->clock, &from->clock);
	if (rc != 0) {
		mem_free(c);
		return rc;
	}
	*out = c;
	return 0;
}

/* All that the seal covers. */
static void
write_body(struct wr *w, const struct dyn_context *c)
{
	wr_init(w, HEAD + clock_size(&c->clock) + TAIL);
	wr_bytes(w, "Dc", 2);
	wr_u8(w, FORMAT);
	wr_u64(w, c->ring);
	wr_bytes(w, c->key.b, sizeof(c->key.b));
	wr_u64(w, c->fastest);
	wr_u64(w, c->time);
	clock_write(w, &c->clock);
}

static int
seal_body(const struct wr *w, const unsigned char secret[32], struct digest *seal)
{
	return w->rc != 0 ? w->rc : hash_seal(secret, buf_slice(w->buf), seal);
}

/* Takes as long for a seal that is wrong in the first byte as in the last. */
static bool
seals_equal(const struct digest *a, const struct digest *b)
{
	unsigned different = 0;

	for (size_t i = 0; i < sizeof(a->b); i++)
		different |= a->b[i] ^ b->b[i];
	return different == 0;
}

int
context_check(const struct dyn_context *c, uint64_t ring, const struct digest *key,
    const unsigned char secret[32])
{
	struct digest seal;
	struct wr w;
	int rc;

	if (c->ring != ring || digest_compare(&c->key, key) != 0)
		return DYN_ECONTEXT;
	if (!c->decoded)
		return 0;
	write_body(&w, c);
	rc = seal_body(&w, secret, &seal);
	wr_abort(&w);
	if (rc != 0)
		return rc;
	return seals_equal(&seal, &c->seal) ? 0 : DYN_ECONTEXT;
}

int
dyn_context_encode(const dyn_context *c, void *buf, size_t cap, size_t *len)
{
	struct digest seal;
	struct wr w;
	int rc;

	if (c == NULL || len == NULL || (buf == NULL && cap > 0))
		return DYN_EINVAL;
	*len = HEAD + clock_size(&c->clock) + TAIL;
	if (*len > cap)
		return DYN_ETOOBIG;
	write_body(&w, c);
	seal = c->seal;
	rc = c->decoded ? w.rc : seal_body(&w, c->secret, &seal);
	if (rc == 0) {
		wr_bytes(&w, seal.b, sizeof(seal.b));
		wr_u64(&w, hash_quick(buf_slice(w.buf)));
		rc = w.rc;
	}
	if (rc == 0) {
		DYN_ASSERT(buf != NULL && w.buf != NULL && wr_len(&w) == *len);
		memcpy(buf, w.buf->data, *len);
	}
	wr_abort(&w);
	return rc;
}

/* Format first: what a newer libdyn wrote is not damaged. */
static int
read_head(struct rd *r, struct dyn_context *c)
{
	unsigned char magic[2];
	uint8_t format;

	rd_copy(r, magic, sizeof(magic));
	format = rd_u8(r);
	if (r->bad || memcmp(magic, "Dc", 2) != 0 || format == 0)
		return DYN_ECONTEXT;
	if (format > FORMAT)
		return DYN_EVERSION;
	c->ring = rd_u64(r);
	rd_copy(r, c->key.b, sizeof(c->key.b));
	c->fastest = rd_u64(r);
	c->time = rd_u64(r);
	return r->bad ? DYN_ECONTEXT : 0;
}

static int
read_all(struct dyn_context *c, struct dyn_slice bytes)
{
	struct rd r = rd_from(bytes);
	uint64_t sum;
	int rc;

	rc = read_head(&r, c);
	if (rc == 0)
		rc = clock_read(&r, &c->clock);
	if (rc != 0)
		return rc == DYN_ENOMEM || rc == DYN_EVERSION ? rc : DYN_ECONTEXT;
	rd_copy(&r, c->seal.b, sizeof(c->seal.b));
	sum = rd_u64(&r);
	if (!rd_end(&r) || sum != hash_quick(slice(bytes.data, bytes.len - 8)))
		return DYN_ECONTEXT;
	c->decoded = true;
	return 0;
}

int
dyn_context_decode(dyn_context **out, const void *bytes, size_t len)
{
	struct dyn_context *c;
	int rc;

	if (out == NULL)
		return DYN_EINVAL;
	*out = NULL;
	if (bytes == NULL)
		return DYN_EINVAL;
	if (len > LIMIT_CONTEXT)
		return DYN_ECONTEXT;
	c = mem_zalloc(sizeof(*c));
	if (c == NULL)
		return DYN_ENOMEM;
	rc = read_all(c, slice(bytes, len));
	if (rc != 0) {
		dyn_context_free(c);
		return rc;
	}
	*out = c;
	return 0;
}
