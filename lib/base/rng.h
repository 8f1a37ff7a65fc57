/*
 * Random numbers that are the same for the same seed (SplitMix64).  Seeds come
 * from outside: the operating system in the host, the seed of the run in a
 * simulation.  Not for secrets.
 */
#ifndef DYN_RNG_H
#define DYN_RNG_H

#include "base/hash.h"

struct rng {
	uint64_t state;
};

static inline uint64_t
rng_next(struct rng *r)
{
	r->state += UINT64_C(0x9e3779b97f4a7c15);
	return mix64(r->state);
}

/* 0 <= result < below; below > 0.  Unbiased enough for bounds below 2^32. */
static inline uint64_t
rng_below(struct rng *r, uint64_t below)
{
	DYN_ASSERT(below > 0);
	return below <= UINT32_MAX ? (rng_next(r) >> 32) * below >> 32 : rng_next(r) % below;
}

#endif
