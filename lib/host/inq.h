/*
 * Bytes on their way in: cutting a stream into frames.
 *
 * Pure: no socket is touched here, so that the fuzzer can feed it.  Bytes are
 * read into a scratch block that many connections share, and frames are taken
 * where they lie; only what is left over, the beginning of a frame, is copied
 * into memory of the connection, and only a frame that is larger than a few
 * KiB is read there directly.  An idle connection holds nothing.
 *
 *	inq_space -> read -> inq_filled -> inq_next ... inq_next -> inq_keep
 *
 * inq_keep must come before the scratch block is used again.
 */
#ifndef DYN_INQ_H
#define DYN_INQ_H

#include "model/msg.h"

struct inq {
	unsigned char *rest; /* kept bytes */
	size_t len, cap;
	const unsigned char *p, *end; /* not yet taken: in rest or in scratch */
	bool in_rest;
};

void inq_fini(struct inq *);
/* Where to read to, and how much.  frame_max bounds what is allocated.
 * DYN_ENOMEM; DYN_EPROTO: what is kept cannot become a frame. */
int inq_space(struct inq *, unsigned char *scratch, size_t scratch_len, size_t frame_max,
    unsigned char **at, size_t *room) DYN_CHECK;
void inq_filled(struct inq *, size_t n);
/* 1: a frame; its slices live until inq_keep.  0: no whole one is there.
 * DYN_EPROTO: these bytes are not ours. */
int inq_next(struct inq *, size_t frame_max, struct frame *) DYN_CHECK;
/* Keep what was not taken for later.  DYN_ENOMEM. */
int inq_keep(struct inq *) DYN_CHECK;
/* Take frames from what was kept, without reading: instead of inq_space and
 * inq_filled. */
void inq_again(struct inq *);

/* Bytes not yet taken. */
static inline size_t
inq_left(const struct inq *q)
{
	return (size_t)(q->end - q->p);
}

#endif
