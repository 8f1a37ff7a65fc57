/*
 * Placement, step 6: undo moves that turned out to be needless.
 *
 * An old owner y has lost its place in p to x, which is new there.  It gets it back
 * if x finds another place without a move more: in place of somebody who is new
 * there too, who does likewise, and so on until it is y that leaves a place that is
 * new to it.  Loads stay, and at least one move is saved.
 *
 * First come rounds of two, which are nearly all; then longer ones, the shortest of
 * each, as far as EFFORT goes.
 */
#include "model/placement_private.h"

/* Places looked at, a tenth of a second.  A join or a leave takes some thousands, and
 * when all weights of a large ring change there is never enough. */
#define EFFORT (1u << 22)

/* x is new in p, where the old owner y lost its place.  Find a partition r
 * that is new to y and where x can stand in its stead; swap. */
static bool
swap_back(struct place *pl, unsigned p, unsigned x, unsigned y)
{
	uint16_t *here = places(pl, p);

	if (!fits(pl, here, y, x))
		return false;
	for (uint32_t i = pl->begin[y]; i < pl->begin[y + 1]; i++) {
		unsigned r = pl->list[i], at;
		uint16_t *there = places(pl, r);

		at = position(pl, there, y);
		if (at == pl->k || was_owner(pl, r, y) || !fits(pl, there, x, y))
			continue;
		there[at] = (uint16_t)x;
		here[position(pl, here, x)] = (uint16_t)y;
		return true;
	}
	return false;
}

static void
swap_pairs(struct place *pl)
{
	place_invert(pl);
	for (unsigned p = 0; p < pl->q; p++) {
		const uint16_t *old = pl->old + (size_t)p * pl->n;

		for (unsigned i = 0; i < pl->n; i++) {
			unsigned y = old[i];

			if (y == TABLE_NONE || position(pl, places(pl, p), y) < pl->k)
				continue;
			for (unsigned j = 0; j < pl->k; j++) {
				unsigned x = places(pl, p)[j];

				if (!was_owner(pl, p, x) && swap_back(pl, p, x, y))
					break;
			}
		}
	}
}

/* ------------------------------------------------------------ longer rounds */

struct rounds {
	size_t fresh; /* list[0..fresh): indexes into owners of places that were new */
	unsigned effort;
};

static bool
is_fresh(const struct place *pl, size_t at)
{
	return pl->owners[at] != TABLE_NONE &&
	       !was_owner(pl, (unsigned)(at / pl->n), pl->owners[at]);
}

static void
find_fresh(struct place *pl, struct rounds *r)
{
	r->fresh = 0;
	for (size_t at = 0; at < (size_t)pl->q * pl->n; at++)
		if (is_fresh(pl, at))
			pl->list[r->fresh++] = (uint32_t)at;
}

/* Each seat on the way back from y leaves its place to the one before.  All or none:
 * two replacements in one partition may be in each other's way. */
static bool
shift(struct place *pl, unsigned y)
{
	unsigned z = y;

	while (pl->via_part[z] != NOWHERE) {
		size_t at = pl->via_part[z];
		unsigned x = pl->via_seat[z];

		if (pl->owners[at] != z ||
		    !fits(pl, places(pl, (unsigned)(at / pl->n)), x, z))
			break;
		pl->owners[at] = (uint16_t)x;
		z = x;
	}
	if (pl->via_part[z] == NOWHERE)
		return true;
	for (unsigned stop = z; y != stop; y = pl->via_seat[y])
		pl->owners[pl->via_part[y]] = (uint16_t)y;
	return false;
}

/* x needs a place, y is to leave one that is new to it. */
static bool
close_round(struct place *pl, struct rounds *r, unsigned x, unsigned y)
{
	size_t head = 0, tail = 0;

	memset(pl->seat_seen, 0, pl->seats);
	pl->seat_seen[x] = 1;
	pl->via_part[x] = NOWHERE;
	pl->queue[tail++] = x;
	while (head < tail) {
		unsigned s = pl->queue[head++];

		for (size_t i = 0; i < r->fresh; i++) {
			size_t at = pl->list[i];
			unsigned z = pl->owners[at];

			if (r->effort == 0)
				return false;
			r->effort--;
			if (pl->seat_seen[z] || !is_fresh(pl, at))
				continue;
			if (!fits(pl, places(pl, (unsigned)(at / pl->n)), s, z))
				continue;
			pl->seat_seen[z] = 1;
			pl->via_part[z] = (uint32_t)at;
			pl->via_seat[z] = (uint16_t)s;
			if (z == y)
				return shift(pl, y);
			pl->queue[tail++] = z;
		}
	}
	return false;
}

/* y gets its place in p back, if somebody who is new there can go elsewhere. */
static bool
give_back(struct place *pl, struct rounds *r, unsigned p, unsigned y)
{
	uint16_t *list = places(pl, p);

	for (unsigned i = 0; i < pl->k; i++) {
		unsigned x = list[i];

		if (was_owner(pl, p, x) || !fits(pl, list, y, x))
			continue;
		list[i] = (uint16_t)y;
		if (close_round(pl, r, x, y))
			return true;
		list[i] = (uint16_t)x;
	}
	return false;
}

void
place_regret(struct place *pl)
{
	struct rounds r = {0, EFFORT};
	bool again = true;

	swap_pairs(pl);
	while (again) {
		again = false;
		find_fresh(pl, &r);
		for (unsigned p = 0; p < pl->q; p++) {
			const uint16_t *old = pl->old + (size_t)p * pl->n;

			for (unsigned i = 0; i < pl->n && r.effort > 0; i++)
				if (old[i] != TABLE_NONE &&
				    position(pl, places(pl, p), old[i]) == pl->k)
					again |= give_back(pl, &r, p, old[i]);
		}
	}
}
