/*
 * Placement, step 5: who is below its quota gets its places by chains of
 * replacements.
 *
 * A chain begins at a free place, or at a seat above its quota that leaves one of
 * its partitions; the next seat takes that place and leaves another partition, and
 * so on to a seat below its quota.  The search is breadth first, so the chain is a
 * shortest one; why it exists, and why its replacements do not disturb each other
 * where they meet in one partition, is said in placement.c.
 */

#include "model/placement_private.h"

void
place_invert(struct place *pl)
{
	uint32_t total;

	memset(pl->begin, 0, (pl->seats + 1) * sizeof(*pl->begin));
	for (unsigned p = 0; p < pl->q; p++)
		for (unsigned i = 0; i < pl->k; i++)
			if (places(pl, p)[i] != TABLE_NONE)
				pl->begin[places(pl, p)[i] + 1]++;
	for (unsigned i = 0; i < pl->seats; i++)
		pl->begin[i + 1] += pl->begin[i];
	total = pl->begin[pl->seats];
	for (unsigned p = pl->q; p-- > 0;)
		for (unsigned i = 0; i < pl->k; i++)
			if (places(pl, p)[i] != TABLE_NONE)
				pl->list[--pl->begin[places(pl, p)[i] + 1]] = p;
	/* Each begin[i + 1] has moved down to the start of seat i. */
	for (unsigned i = 0; i < pl->seats; i++)
		pl->begin[i] = pl->begin[i + 1];
	pl->begin[pl->seats] = total;
}

/* Seat y can be had by taking x's place in p.  True if y is below its quota:
 * the search is over. */
static bool
reach(struct place *pl, unsigned y, unsigned p, unsigned x, size_t *tail)
{
	pl->seat_seen[y] = 1;
	pl->via_part[y] = p;
	pl->via_seat[y] = (uint16_t)x;
	pl->queue[(*tail)++] = y;
	return pl->load[y] < pl->quota[y];
}

/* In which element of open is it noted that x left p?  Seats of one rack leave the
 * same place behind, apart from their machines. */
static size_t
opening(const struct place *pl, unsigned p, unsigned x)
{
	const uint16_t *list = places(pl, p);
	unsigned i = 0;

	if (x == TABLE_NONE)
		return (size_t)p * pl->n + position(pl, list, x);
	while (list[i] == TABLE_NONE || pl->in[RACK][list[i]] != pl->in[RACK][x])
		i++;
	return (size_t)p * pl->n + i;
}

static void
open_place(struct place *pl, unsigned p, unsigned x, size_t *tail)
{
	size_t at = opening(pl, p, x);

	if (pl->open[at])
		return;
	pl->open[at] = 1;
	pl->open_from[at] = (uint16_t)x;
	pl->queue[(*tail)++] = pl->seats + (uint32_t)at;
}

/* The place that x holds in p is free: who of x's machine could take it?
 * Then the place as such is free, for other machines. */
static unsigned
leave(struct place *pl, unsigned x, unsigned p, size_t *tail)
{
	const uint16_t *machine = pl->in[MACHINE];

	for (unsigned y = 0; pl->crew[machine[x]] > 1 && y < pl->seats; y++)
		if (machine[y] == machine[x] && !pl->seat_seen[y] &&
		    reach(pl, y, p, x, tail))
			return y;
	open_place(pl, p, x, tail);
	return TABLE_NONE;
}

static unsigned
expand_seat(struct place *pl, unsigned x, size_t *tail)
{
	/* Partitions that are new to x first: leaving them costs nothing. */
	for (int fresh = 1; fresh >= 0; fresh--)
		for (uint32_t i = pl->begin[x]; i < pl->begin[x + 1]; i++) {
			unsigned p = pl->list[i], y;

			if (was_owner(pl, p, x) == (fresh == 1))
				continue;
			y = leave(pl, x, p, tail);
			if (y != TABLE_NONE)
				return y;
		}
	return TABLE_NONE;
}

static unsigned
expand_place(struct place *pl, uint32_t at, size_t *tail)
{
	unsigned p = at / pl->n, x = pl->open_from[at];
	unsigned start;

	DYN_ASSERT(pl->seats > 0); /* else place_table has ended before */
	start = (unsigned)(seat_rank(1, p) % pl->seats);

	fit_begin(pl);
	for (unsigned i = 0; i < pl->seats; i++) {
		unsigned y = (start + i) % pl->seats;

		if (!pl->seat_seen[y] && fits_next(pl, places(pl, p), y, x) &&
		    reach(pl, y, p, x, tail))
			return y;
	}
	return TABLE_NONE;
}

/* Breadth first from all free places and all seats above their quota to the
 * nearest seat below its own; TABLE_NONE: there is none. */
static unsigned
search(struct place *pl)
{
	size_t head = 0, tail = 0;
	unsigned y = TABLE_NONE;

	memset(pl->seat_seen, 0, pl->seats);
	memset(pl->open, 0, (size_t)pl->q * pl->n);
	for (unsigned p = 0; p < pl->q; p++)
		if (position(pl, places(pl, p), TABLE_NONE) < pl->k)
			open_place(pl, p, TABLE_NONE, &tail);
	for (unsigned x = 0; x < pl->seats; x++)
		if (pl->load[x] > pl->quota[x]) {
			pl->seat_seen[x] = 1;
			pl->via_part[x] = NOWHERE;
			pl->queue[tail++] = x;
		}
	while (head < tail && y == TABLE_NONE) {
		uint32_t at = pl->queue[head++];

		if (at < pl->seats)
			y = expand_seat(pl, at, &tail);
		else
			y = expand_place(pl, at - pl->seats, &tail);
	}
	return y;
}

/* Walk the path back: each seat on it takes the place of the one before. */
static void
apply(struct place *pl, unsigned y)
{
	pl->load[y]++;
	while (pl->via_part[y] != NOWHERE) {
		unsigned p = pl->via_part[y], x = pl->via_seat[y];
		uint16_t *list = places(pl, p);
		unsigned at = position(pl, list, x);

		DYN_ASSERT(at < pl->k);
		list[at] = (uint16_t)y;
		if (x == TABLE_NONE)
			return;
		y = x;
	}
	pl->load[y]--;
}

static bool
below_quota(const struct place *pl)
{
	for (unsigned i = 0; i < pl->seats; i++)
		if (pl->load[i] < pl->quota[i])
			return true;
	return false;
}

void
place_augment(struct place *pl)
{
	while (below_quota(pl)) {
		unsigned y;

		place_invert(pl);
		y = search(pl);
		DYN_ASSERT(y != TABLE_NONE); /* see placement.c */
		apply(pl, y);
	}
}
