/* Rows and changes: making digests, freeing.  What they mean is in rows.h. */
#include "core/rows.h"

struct rows *
rows_new(enum rows_of of, unsigned partition, uint64_t number, struct dyn_slice bytes)
{
	struct rows *rows = mem_zalloc(sizeof(*rows));

	if (rows == NULL)
		return NULL;
	rows->of = of;
	rows->partition = partition;
	rows->number = number;
	rows->bytes = buf_copy(bytes.data, bytes.len);
	if (rows->bytes != NULL)
		return rows;
	mem_free(rows);
	return NULL;
}

bool
rows_check(struct dyn_slice bytes, unsigned partition, unsigned partitions, struct dyn_slice *last)
{
	struct rd r = rd_from(bytes);

	*last = slice(NULL, 0);
	while (rd_left(&r) > 0) {
		struct dyn_slice name = rd_slice(&r, KEY_NAME_MAX);

		(void)rd_slice(&r, LIMIT_OBJECT);
		if (r.bad || !name_split(name, NULL, NULL) ||
		    name_partition(name, partitions) != partition ||
		    (last->len > 0 && slice_compare(*last, name) >= 0))
			return false;
		*last = name;
	}
	return rd_end(&r);
}

void
rows_free(struct rows *rows)
{
	if (rows == NULL)
		return;
	buf_unref(rows->bytes);
	mem_free(rows);
}

void
changes_free(struct changes *c)
{
	if (c == NULL)
		return;
	for (size_t i = 0; i < c->count; i++) {
		buf_unref(c->list[i].name);
		mem_free(c->list[i].room);
	}
	mem_free(c->list);
	mem_free(c);
}

/* Two lanes over 8 bytes a step, of different odd factors. */
struct lanes {
	uint64_t a, b;
};

static inline uint64_t
load_le(const unsigned char *p, size_t n)
{
	uint64_t word = 0;

	for (size_t i = 0; i < n; i++)
		word |= (uint64_t)p[i] << (8 * i);
	return word;
}

static inline void
absorb_word(struct lanes *l, uint64_t word)
{
	l->a = (l->a ^ word) * UINT64_C(0x9e3779b97f4a7c15);
	l->a ^= l->a >> 29;
	l->b = (l->b + word) * UINT64_C(0xc2b2ae3d27d4eb4f);
	l->b ^= l->b >> 32;
}

static void
absorb(struct lanes *l, struct dyn_slice s)
{
	const unsigned char *p = s.data;
	size_t left = s.len;

	for (; left >= 8; p += 8, left -= 8)
		absorb_word(l, load_le(p, 8));
	if (left > 0)
		absorb_word(l, load_le(p, left));
	l->a = mix64(l->a ^ s.len);
	l->b = mix64(l->b + s.len);
}

void
row_digest(struct dyn_slice id, struct dyn_slice value, struct digest *out)
{
	struct lanes l = { UINT64_C(0x243f6a8885a308d3), UINT64_C(0x13198a2e03707344) };

	memset(out, 0, sizeof(*out));
	if (value.len == 0)
		return;
	absorb(&l, id);
	absorb(&l, value);
	for (unsigned i = 0; i < 8; i++) {
		out->b[i] = (unsigned char)(l.a >> (8 * i));
		out->b[8 + i] = (unsigned char)(l.b >> (8 * i));
	}
}
