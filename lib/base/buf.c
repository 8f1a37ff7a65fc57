/* Shared buffers, the writer and the reader. */
#include "base/buf.h"

struct buf *
buf_new(size_t len)
{
	struct buf *b;

	if (len > SIZE_MAX - sizeof(*b))
		return NULL;
	b = mem_alloc(sizeof(*b) + len);
	if (b == NULL)
		return NULL;
	atomic_init(&b->refs, 1);
	b->len = len;
	return b;
}

struct buf *
buf_copy(const void *data, size_t len)
{
	struct buf *b = buf_new(len);

	if (b != NULL && len > 0)
		memcpy(b->data, data, len);
	return b;
}

struct buf *
buf_ref(struct buf *b)
{
	atomic_fetch_add_explicit(&b->refs, 1, memory_order_relaxed);
	return b;
}

void
buf_unref(struct buf *b)
{
	if (b == NULL)
		return;
	if (atomic_fetch_sub_explicit(&b->refs, 1, memory_order_acq_rel) == 1)
		mem_free(b);
}

void
wr_init(struct wr *w, size_t expected)
{
	w->cap = MAX(expected, 64);
	w->buf = buf_new(w->cap);
	w->rc = w->buf != NULL ? 0 : DYN_ENOMEM;
	if (w->buf != NULL)
		w->buf->len = 0;
}

/* Room for len more bytes, or NULL. */
static unsigned char *
room(struct wr *w, size_t len)
{
	struct buf *bigger;
	unsigned char *at;
	size_t cap;

	if (w->rc != 0)
		return NULL;
	if (len > w->cap - w->buf->len) {
		cap = MAX(w->cap * 2, w->buf->len + len);
		bigger = mem_realloc(w->buf, sizeof(*bigger) + cap);
		if (bigger == NULL) {
			w->rc = DYN_ENOMEM;
			return NULL;
		}
		w->buf = bigger;
		w->cap = cap;
	}
	at = w->buf->data + w->buf->len;
	w->buf->len += len;
	return at;
}

static void
put_le(unsigned char *p, uint64_t v, size_t len)
{
	for (size_t i = 0; i < len; i++)
		p[i] = (unsigned char)(v >> (8 * i));
}

static void
wr_le(struct wr *w, uint64_t v, size_t len)
{
	unsigned char *p = room(w, len);

	if (p != NULL)
		put_le(p, v, len);
}

void
wr_u8(struct wr *w, uint8_t v)
{
	wr_le(w, v, 1);
}

void
wr_u16(struct wr *w, uint16_t v)
{
	wr_le(w, v, 2);
}

void
wr_u32(struct wr *w, uint32_t v)
{
	wr_le(w, v, 4);
}

void
wr_u64(struct wr *w, uint64_t v)
{
	wr_le(w, v, 8);
}

size_t
var_len(uint64_t v)
{
	size_t len = 1;

	while (v >= 128) {
		v >>= 7;
		len++;
	}
	return len;
}

void
wr_var(struct wr *w, uint64_t v)
{
	unsigned char *p = room(w, var_len(v));

	if (p == NULL)
		return;
	while (v >= 128) {
		*p++ = (unsigned char)(v | 128);
		v >>= 7;
	}
	*p = (unsigned char)v;
}

void
wr_bytes(struct wr *w, const void *data, size_t len)
{
	unsigned char *p = room(w, len);

	if (p != NULL && len > 0)
		memcpy(p, data, len);
}

void
wr_slice(struct wr *w, struct dyn_slice s)
{
	wr_var(w, s.len);
	wr_bytes(w, s.data, s.len);
}

void
wr_patch_u32(struct wr *w, size_t at, uint32_t v)
{
	if (w->rc != 0)
		return;
	DYN_ASSERT(at + 4 <= w->buf->len);
	put_le(w->buf->data + at, v, 4);
}

size_t
wr_len(const struct wr *w)
{
	return w->rc == 0 ? w->buf->len : 0;
}

int
wr_finish(struct wr *w, struct buf **out)
{
	int rc = w->rc;

	*out = NULL;
	if (rc != 0)
		wr_abort(w);
	else
		*out = w->buf;
	w->buf = NULL;
	return rc;
}

void
wr_abort(struct wr *w)
{
	buf_unref(w->buf);
	w->buf = NULL;
	w->rc = DYN_ENOMEM;
}

struct dyn_slice
rd_bytes(struct rd *r, size_t len)
{
	const unsigned char *at = r->p;

	if (r->bad || len > (size_t)(r->end - r->p)) {
		r->bad = true;
		return slice(NULL, 0);
	}
	if (len == 0)
		return slice(NULL, 0);
	r->p += len;
	return slice(at, len);
}

static uint64_t
rd_le(struct rd *r, size_t len)
{
	struct dyn_slice s = rd_bytes(r, len);
	const unsigned char *p = s.data;
	uint64_t v = 0;

	for (size_t i = 0; i < s.len; i++)
		v |= (uint64_t)p[i] << (8 * i);
	return v;
}

uint8_t
rd_u8(struct rd *r)
{
	return (uint8_t)rd_le(r, 1);
}

uint16_t
rd_u16(struct rd *r)
{
	return (uint16_t)rd_le(r, 2);
}

uint32_t
rd_u32(struct rd *r)
{
	return (uint32_t)rd_le(r, 4);
}

uint64_t
rd_u64(struct rd *r)
{
	return rd_le(r, 8);
}

uint64_t
rd_var(struct rd *r)
{
	uint64_t v = 0;
	unsigned shift = 0;

	for (;;) {
		uint8_t b = rd_u8(r);

		if (r->bad)
			return 0;
		/* The tenth byte holds one bit; a final zero byte after the
		 * first would be a second way to write the same number. */
		if ((shift == 63 && b > 1) || (shift > 0 && b == 0)) {
			r->bad = true;
			return 0;
		}
		v |= (uint64_t)(b & 127) << shift;
		if (b < 128)
			return v;
		shift += 7;
		if (shift > 63) {
			r->bad = true;
			return 0;
		}
	}
}

struct dyn_slice
rd_slice(struct rd *r, size_t max)
{
	uint64_t len = rd_var(r);

	if (len > max || len > rd_left(r)) {
		r->bad = true;
		return slice(NULL, 0);
	}
	return rd_bytes(r, (size_t)len);
}

void
rd_copy(struct rd *r, void *to, size_t len)
{
	struct dyn_slice s = rd_bytes(r, len);

	if (s.len == len && len > 0)
		memcpy(to, s.data, len);
	else
		memset(to, 0, len);
}
