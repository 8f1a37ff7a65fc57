/*
 * Hybrid logical clock: 48 bits of ms since 1970, 16 bits of count.  Later
 * events on one node, and events after a message, have larger stamps even if
 * the wall clock steps back.
 */
#ifndef DYN_HLC_H
#define DYN_HLC_H

#include "base/base.h"

struct hlc {
	uint64_t last;
};

static inline uint64_t
hlc_from_ms(uint64_t ms)
{
	return ms << 16;
}

static inline uint64_t
hlc_ms(uint64_t stamp)
{
	return stamp >> 16;
}

/* A stamp larger than all given or seen. */
uint64_t hlc_next(struct hlc *, uint64_t wall_ms);
/* A stamp came with a message.  DYN_ECLOCK, and nothing learnt, if it is more
 * than ahead_ms_max ahead of the wall. */
int hlc_see(struct hlc *, uint64_t stamp, uint64_t wall_ms, uint64_t ahead_ms_max) DYN_CHECK;

#endif
