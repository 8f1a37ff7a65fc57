/* Hybrid logical clock. */
#include "model/hlc.h"

#define WALL_MAX ((UINT64_C(1) << 48) - 1)

uint64_t
hlc_next(struct hlc *h, uint64_t wall_ms)
{
	uint64_t wall = hlc_from_ms(MIN(wall_ms, WALL_MAX));

	/* The last stamp there is stays the last: in the year 10889. */
	if (wall > h->last)
		h->last = wall;
	else if (h->last < UINT64_MAX)
		h->last++;
	return h->last;
}

int
hlc_see(struct hlc *h, uint64_t stamp, uint64_t wall_ms, uint64_t ahead_ms_max)
{
	uint64_t ms = hlc_ms(stamp);

	if (ms > wall_ms && ms - wall_ms > ahead_ms_max)
		return DYN_ECLOCK;
	h->last = MAX(h->last, stamp);
	return 0;
}
