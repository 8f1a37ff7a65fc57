/* The queue of what is to be written. */
#include "host/outq.h"

/* A block is one full TLS record. */
#define BLOCK (16 << 10)

void
outq_fini(struct outq *q)
{
	for (size_t i = 0; i < q->count; i++)
		buf_unref(q->ring[(q->head + i) & (q->cap - 1)]);
	mem_free(q->ring);
	memset(q, 0, sizeof(*q));
}

static int
push(struct outq *q, struct buf *b)
{
	struct buf **bigger;
	size_t cap;

	if (q->count == q->cap) {
		cap = MAX(q->cap * 2, 8);
		bigger = mem_array(cap, sizeof(*bigger));
		if (bigger == NULL)
			return DYN_ENOMEM;
		for (size_t i = 0; i < q->count; i++)
			bigger[i] = q->ring[(q->head + i) & (q->cap - 1)];
		mem_free(q->ring);
		q->ring = bigger;
		q->cap = cap;
		q->head = 0;
	}
	q->ring[(q->head + q->count++) & (q->cap - 1)] = b;
	return 0;
}

/* The block that small buffers go into, with room for len more bytes. */
static struct buf *
block(struct outq *q, size_t len)
{
	struct buf *b;

	if (q->open) {
		b = q->ring[(q->head + q->count - 1) & (q->cap - 1)];
		if (len <= BLOCK - b->len)
			return b;
	}
	b = buf_new(BLOCK);
	if (b == NULL)
		return NULL;
	b->len = 0;
	if (push(q, b) != 0) {
		buf_unref(b);
		return NULL;
	}
	q->open = true;
	return b;
}

int
outq_add(struct outq *q, struct buf *b)
{
	struct buf *to;
	int rc;

	if (b->len > (q->copy_max > 0 ? q->copy_max : OUTQ_COPY)) {
		rc = push(q, b);
		if (rc != 0)
			return rc;
		q->open = false;
		q->bytes += b->len;
		return 0;
	}
	to = block(q, b->len);
	if (to == NULL)
		return DYN_ENOMEM;
	memcpy(to->data + to->len, b->data, b->len);
	to->len += b->len;
	q->bytes += b->len;
	buf_unref(b);
	return 0;
}

size_t
outq_peek(const struct outq *q, struct iovec *iov, size_t max)
{
	size_t n = MIN(q->count, max);

	for (size_t i = 0; i < n; i++) {
		struct buf *b = q->ring[(q->head + i) & (q->cap - 1)];
		size_t gone = i == 0 ? q->offset : 0;

		iov[i].iov_base = b->data + gone;
		iov[i].iov_len = b->len - gone;
	}
	return n;
}

void
outq_drop(struct outq *q, size_t bytes)
{
	DYN_ASSERT(bytes <= q->bytes);
	q->bytes -= bytes;
	bytes += q->offset;
	while (q->count > 0) {
		struct buf *b = q->ring[q->head];

		if (bytes < b->len)
			break;
		bytes -= b->len;
		buf_unref(b);
		q->head = (q->head + 1) & (q->cap - 1);
		q->count--;
	}
	q->offset = bytes;
	if (q->count == 0)
		q->open = false;
}
