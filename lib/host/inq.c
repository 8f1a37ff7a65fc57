/* Cutting a stream of bytes into frames. */
#include "host/inq.h"

/* A kept beginning up to this size is copied in front of the next bytes; a
 * longer one is completed where it is. */
#define COPY_MAX 4096
#define GROW_MIN (64 << 10)

void
inq_fini(struct inq *q)
{
	mem_free(q->rest);
	memset(q, 0, sizeof(*q));
}

/* Room for `more` bytes behind those kept. */
static int
grow(struct inq *q, size_t more)
{
	unsigned char *bigger;
	size_t cap = q->len + more;

	if (cap <= q->cap)
		return 0;
	bigger = mem_realloc(q->rest, cap);
	if (bigger == NULL)
		return DYN_ENOMEM;
	q->rest = bigger;
	q->cap = cap;
	return 0;
}

/* How much to read behind what is kept: the rest of its frame, but never more
 * than was received so far, so that a length alone makes nobody allocate. */
static int
wanted(const struct inq *q, size_t frame_max, size_t *more)
{
	size_t len;
	int rc;

	len = frame_length(slice(q->rest, q->len), frame_max, &rc);
	if (rc != 0)
		return rc;
	*more = MAX(q->len, GROW_MIN);
	if (len > q->len)
		*more = MIN(*more, len - q->len);
	return 0;
}

int
inq_space(struct inq *q, unsigned char *scratch, size_t scratch_len, size_t frame_max,
    unsigned char **at, size_t *room)
{
	size_t more;
	int rc;

	DYN_ASSERT(scratch_len > COPY_MAX);
	q->in_rest = q->len > COPY_MAX;
	if (!q->in_rest) {
		if (q->len > 0)
			memcpy(scratch, q->rest, q->len);
		q->p = scratch;
		q->end = scratch + q->len;
		*at = scratch + q->len;
		*room = scratch_len - q->len;
		return 0;
	}
	rc = wanted(q, frame_max, &more);
	if (rc == 0)
		rc = grow(q, more);
	if (rc != 0)
		return rc;
	inq_again(q);
	*at = q->rest + q->len;
	*room = q->cap - q->len;
	return 0;
}

void
inq_filled(struct inq *q, size_t n)
{
	q->end += n;
	if (q->in_rest)
		q->len += n;
}

void
inq_again(struct inq *q)
{
	q->in_rest = true;
	q->p = q->rest;
	q->end = q->len > 0 ? q->rest + q->len : q->rest;
}

int
inq_next(struct inq *q, size_t frame_max, struct frame *f)
{
	size_t left = inq_left(q), len;
	int rc;

	len = frame_length(slice(q->p, left), frame_max, &rc);
	if (rc != 0)
		return rc;
	if (len == 0 || len > left)
		return 0;
	rc = frame_decode(f, slice(q->p, len));
	if (rc != 0)
		return rc;
	q->p += len;
	return 1;
}

int
inq_keep(struct inq *q)
{
	size_t left = inq_left(q);
	int rc = 0;

	if (left == 0) {
		inq_fini(q);
		return 0;
	}
	if (q->in_rest) {
		if (q->p != q->rest)
			memmove(q->rest, q->p, left);
	} else {
		q->len = 0;
		rc = grow(q, left);
		if (rc != 0) {
			inq_fini(q);
			return rc;
		}
		memcpy(q->rest, q->p, left);
	}
	q->len = left;
	q->p = q->end = NULL;
	return 0;
}
