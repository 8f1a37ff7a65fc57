/*
 * Bytes: shared buffers, a writer that builds one, a reader that checks.
 *
 * struct buf is immutable once shared; it travels by reference from the
 * socket to the store and back.  struct wr keeps the first error and ignores
 * what follows, so that an encoder checks once, at wr_finish.  struct rd does
 * the same for a decoder: after a failed read all reads give zeros and rd_end
 * tells.  Integers are little-endian; "var" is LEB128 (7 bits a byte, at most
 * 10 bytes, the shortest form only).
 */
#ifndef DYN_BUF_H
#define DYN_BUF_H

#include "base/base.h"

#include <stdatomic.h>

struct buf {
	atomic_uint refs;
	size_t len;
	unsigned char data[];
};

struct buf *buf_new(size_t len);
struct buf *buf_copy(const void *, size_t len);
struct buf *buf_ref(struct buf *);
void buf_unref(struct buf *); /* NULL is allowed */

static inline struct dyn_slice
buf_slice(const struct buf *b)
{
	return b != NULL ? slice(b->data, b->len) : slice(NULL, 0);
}

struct wr {
	struct buf *buf;
	size_t cap;
	int rc;
};

void wr_init(struct wr *, size_t expected);
void wr_u8(struct wr *, uint8_t);
void wr_u16(struct wr *, uint16_t);
void wr_u32(struct wr *, uint32_t);
void wr_u64(struct wr *, uint64_t);
void wr_var(struct wr *, uint64_t);
void wr_bytes(struct wr *, const void *, size_t);
void wr_slice(struct wr *, struct dyn_slice); /* var length, bytes */
void wr_patch_u32(struct wr *, size_t at, uint32_t);
size_t wr_len(const struct wr *);
/* The buffer, or NULL and the error; the writer is empty afterwards. */
int wr_finish(struct wr *, struct buf **out);
void wr_abort(struct wr *);

struct rd {
	const unsigned char *p, *end;
	bool bad;
};

static inline struct rd
rd_from(struct dyn_slice s)
{
	struct rd r = { s.data, s.data, false };

	if (s.len > 0)
		r.end = r.p + s.len;
	return r;
}

uint8_t rd_u8(struct rd *);
uint16_t rd_u16(struct rd *);
uint32_t rd_u32(struct rd *);
uint64_t rd_u64(struct rd *);
uint64_t rd_var(struct rd *);
/* len bytes of the input, borrowed; an empty slice on error. */
struct dyn_slice rd_bytes(struct rd *, size_t len);
/* var length (at most max), then that many bytes. */
struct dyn_slice rd_slice(struct rd *, size_t max);
void rd_copy(struct rd *, void *to, size_t len); /* zeros on error */
static inline size_t
rd_left(const struct rd *r)
{
	return r->bad ? 0 : (size_t)(r->end - r->p);
}
/* True if all was read and nothing failed. */
static inline bool
rd_end(const struct rd *r)
{
	return !r->bad && r->p == r->end;
}

/* Size of a var. */
size_t var_len(uint64_t);

#endif
