/*
 * Placement, step 7: the first owner of a partition is its preferred coordinator.
 * Each seat is first in a k-th of its partitions, rounded up or down; who was first
 * stays it as far as that permits.
 */
#include "model/placement_private.h"

static void
put_first(struct place *pl, unsigned p, unsigned x)
{
	uint16_t *list = places(pl, p);
	unsigned at = position(pl, list, x);

	list[at] = list[0];
	list[0] = (uint16_t)x;
}

/* Who of p's owners is first least often for its load? */
static unsigned
least_first(const struct place *pl, unsigned p)
{
	const uint16_t *list = places(pl, p);
	unsigned best = list[0];

	for (unsigned i = 1; i < pl->k; i++) {
		uint64_t x = (uint64_t)pl->first[list[i]] * pl->load[best];
		uint64_t y = (uint64_t)pl->first[best] * pl->load[list[i]];

		if (x < y || (x == y && seat_rank(pl->hash[list[i]], p) >
					    seat_rank(pl->hash[best], p)))
			best = list[i];
	}
	return best;
}

static unsigned
firsts_min(const struct place *pl, unsigned x)
{
	return pl->load[x] / pl->k;
}

static unsigned
firsts_max(const struct place *pl, unsigned x)
{
	return (pl->load[x] + pl->k - 1) / pl->k;
}

/* From x over one of its partitions: to those who could be first in its stead
 * (give), or to the one in whose stead it could be.  True: y ends the search. */
static bool
step_first(struct place *pl, unsigned x, unsigned p, bool give, size_t *tail, unsigned *y)
{
	const uint16_t *list = places(pl, p);
	unsigned end = give ? pl->k : 1;

	if ((list[0] == x) != give)
		return false;
	for (unsigned i = give ? 1 : 0; i < end; i++) {
		*y = list[i];
		if (pl->seat_seen[*y])
			continue;
		pl->seat_seen[*y] = 1;
		pl->via_part[*y] = p;
		pl->via_seat[*y] = (uint16_t)x;
		pl->queue[(*tail)++] = *y;
		if (give ? pl->first[*y] < firsts_max(pl, *y)
			 : pl->first[*y] > firsts_min(pl, *y))
			return true;
	}
	return false;
}

/*
 * Shift first places along a chain of partitions, from seat `start` that has
 * too many (give) or too few, to a seat that can do with one more or less.
 * The answer in fractions, "each owner is first in a k-th of its partitions",
 * exists; hence so does a rounded one, and a chain towards it is found.
 */
static void
shift_first(struct place *pl, unsigned start, bool give)
{
	size_t head = 0, tail = 0;
	bool found = false;
	unsigned y = start;

	memset(pl->seat_seen, 0, pl->seats);
	pl->seat_seen[start] = 1;
	pl->via_part[start] = NOWHERE;
	pl->queue[tail++] = start;
	while (head < tail && !found) {
		unsigned x = pl->queue[head++];

		for (uint32_t i = pl->begin[x]; i < pl->begin[x + 1] && !found; i++)
			found = step_first(pl, x, pl->list[i], give, &tail, &y);
	}
	DYN_ASSERT(found);
	pl->first[y] += give ? 1u : -1u;
	pl->first[start] += give ? -1u : 1u;
	for (; pl->via_part[y] != NOWHERE; y = pl->via_seat[y])
		put_first(pl, pl->via_part[y], give ? y : pl->via_seat[y]);
}

void
place_firsts(struct place *pl)
{
	memset(pl->first, 0, pl->seats * sizeof(*pl->first));
	/* Who was first stays it, up to its share. */
	for (unsigned p = 0; p < pl->q; p++) {
		unsigned x = pl->old[(size_t)p * pl->n];
		bool stays = x != TABLE_NONE && position(pl, places(pl, p), x) < pl->k;

		pl->open[p] = stays && pl->first[x] < firsts_max(pl, x);
		if (pl->open[p]) {
			pl->first[x]++;
			put_first(pl, p, x);
		}
	}
	for (unsigned p = 0; p < pl->q; p++) {
		unsigned x;

		if (pl->open[p])
			continue;
		x = least_first(pl, p);
		put_first(pl, p, x);
		pl->first[x]++;
	}
	place_invert(pl);
	for (unsigned x = 0; x < pl->seats; x++)
		while (pl->first[x] > firsts_max(pl, x))
			shift_first(pl, x, true);
	for (unsigned x = 0; x < pl->seats; x++)
		while (pl->first[x] < firsts_min(pl, x))
			shift_first(pl, x, false);
}
