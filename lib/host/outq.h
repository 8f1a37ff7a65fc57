/*
 * Bytes on their way out: a queue of shared buffers, written many at a time.
 *
 * Small buffers are copied one behind the other into blocks: at their size a
 * copy costs less than an entry of its own in the system call (measured up to
 * about 1 KiB), or than a TLS record of its own: a round trip of 1 KiB takes
 * 4.3 us of CPU with a record a frame, 2.3 us with shared ones.
 */
#ifndef DYN_OUTQ_H
#define DYN_OUTQ_H

#include "base/buf.h"

#include <sys/uio.h>

#define OUTQ_COPY 1024
#define OUTQ_COPY_TLS (8 << 10)

struct outq {
	struct buf **ring; /* cap is a power of two */
	size_t head, count, cap;
	size_t offset;   /* bytes of the first that are gone */
	size_t bytes;    /* all that waits */
	size_t copy_max; /* larger buffers go by reference; 0 = OUTQ_COPY */
	bool open;       /* the last is a block of ours with room left */
};

void outq_fini(struct outq *);
/* Takes the reference, but not if it fails: DYN_ENOMEM. */
int outq_add(struct outq *, struct buf *) DYN_CHECK;
/* What is first, as up to max pieces; returns their number. */
size_t outq_peek(const struct outq *, struct iovec *, size_t max);
void outq_drop(struct outq *, size_t bytes); /* the first bytes are gone */

#endif
