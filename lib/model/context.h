/*
 * dyn_context: the clock a reader has seen, bound to ring, bucket and key.
 *
 * Bytes:
 *	 0 'D' 'c', u8 format (1)
 *	 3 u64 ring: tag of its id
 *	11 16 bytes: hash of the key (first part of its name)
 *	27 u64 the node that answered fastest (0 = none; paper section 5: it is
 *	   asked to coordinate the write)
 *	35 u64 time: the largest of the versions covered (0 = none); a write
 *	   with this context is later, whatever its coordinator's clock says
 *	43 the clock
 *	.. seal: 16 bytes of HMAC-SHA-256 under the ring's secret over all before
 *	.. u64 check sum over all before, so that damage is found without the
 *	   secret
 *
 * A context made by this node is trusted; one that was decoded carries its
 * seal until context_check has verified it.
 */
#ifndef DYN_CONTEXT_H
#define DYN_CONTEXT_H

#include "model/clock.h"
#include "base/hash.h"

struct dyn_context {
	uint64_t ring;
	struct digest key;
	uint64_t fastest;
	uint64_t time;            /* see mint.after in object.h */
	struct clock clock;
	unsigned char secret[32]; /* of the ring; only if !decoded */
	bool decoded;
	struct digest seal;       /* if decoded: what the bytes claim */
};

/* An empty one, to be filled by who reads.  Free it with dyn_context_free. */
int context_new(struct dyn_context **out, uint64_t ring, const struct digest *key,
    const unsigned char secret[32]) DYN_CHECK;
/* May a call on this ring and key use it?  DYN_ECONTEXT if not; DYN_ENOMEM. */
int context_check(const struct dyn_context *, uint64_t ring, const struct digest *key,
    const unsigned char secret[32]) DYN_CHECK;

#endif
