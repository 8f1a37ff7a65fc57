/*
 * dyn_context: the clock a reader has seen, bound to ring, bucket and key.
 *
 * Bytes: magic 'D' 'c', version 1, tag (8 bytes of the ring's id), 16 bytes of
 * the key's hash, 8 bytes of the node that answered fastest (0 = none; paper
 * section 5: it is asked to coordinate the write), the clock, and the seal:
 * 16 bytes of HMAC-SHA-256 under the ring's secret over all before, preceded
 * by a quick check sum so that damage is found without the secret.
 *
 * A context made by this node is trusted; one that was decoded carries its
 * bytes until context_check has verified the seal.
 */
#ifndef DYN_CONTEXT_H
#define DYN_CONTEXT_H

#include "model/clock.h"
#include "base/hash.h"

struct dyn_context {
	uint64_t ring;
	struct digest key;
	uint64_t fastest;
	struct clock clock;
	unsigned char secret[32]; /* of the ring; only if !decoded */
	bool decoded;
	struct digest seal;       /* if decoded: what the bytes claim */
};

int context_new(struct dyn_context **out, uint64_t ring, const struct digest *key,
    const unsigned char secret[32]) DYN_CHECK;
/* May a call on this ring and key use it?  DYN_ECONTEXT if not. */
int context_check(const struct dyn_context *, uint64_t ring, const struct digest *key,
    const unsigned char secret[32]) DYN_CHECK;

#endif
