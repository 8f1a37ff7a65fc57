/*
 * Placement: who may own a partition together.
 *
 * Each zone and each rack has of each partition either lo or hi = lo or lo + 1
 * copies, each machine at most one (placement_quota.c).  Seats fit if they can be
 * completed to such a list of k.  Counting from below: what a group must have in the
 * end is lo, or what its parts must have, if that is more,
 *
 *	need(group) = max(lo, sum of need(part))
 *
 * and the seats fit if no need is more than hi; of the whole ring, than k.  The
 * sets that fit are the independent ones of a matroid (its bases are what an
 * integral flow through the tree of groups can choose), which is what
 * placement.c relies on.
 */
#include "model/placement_private.h"

/* As above; all are on distinct machines. */
static bool
completable(const struct place *pl, const uint16_t *seats, unsigned count)
{
	/* Of groups that the seats are in: what they need beyond lo of their parts. */
	unsigned group[DYN_N_MAX + 1], extra[DYN_N_MAX + 1];

	DYN_ASSERT(count <= ARRAY_LEN(group));
	for (unsigned i = 0; i < count; i++) {
		group[i] = pl->in[RACK][seats[i]];
		extra[i] = 1;
	}
	for (int level = RACK; level >= ROOT; level--) {
		unsigned kept = 0;

		for (unsigned i = 0; i < count; i++) {
			unsigned j = 0;

			while (j < kept && group[j] != group[i])
				j++;
			group[j] = group[i];
			extra[j] = j < kept ? extra[j] + extra[i] : extra[i];
			kept += j == kept;
		}
		count = kept;
		for (unsigned j = 0; j < count; j++) {
			const struct group *g = &pl->group[level][group[j]];
			unsigned need = MAX(g->lo, g->base + extra[j]);

			if (need > g->hi)
				return false;
			extra[j] = need - g->lo;
			group[j] = g->up;
		}
	}
	return true;
}

static bool
machines_differ(const struct place *pl, const uint16_t *seats, unsigned count, unsigned x)
{
	for (unsigned i = 0; i < count; i++)
		if (pl->in[MACHINE][seats[i]] == pl->in[MACHINE][x])
			return false;
	return true;
}

/* The list without its free places and `but`. */
static unsigned
others(const struct place *pl, const uint16_t *list, unsigned but, uint16_t *out)
{
	unsigned count = 0;

	for (unsigned i = 0; i < pl->k; i++)
		if (list[i] != TABLE_NONE && list[i] != but)
			out[count++] = list[i];
	return count;
}

bool
fit_together(const struct place *pl, const uint16_t *seats, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		if (!machines_differ(pl, seats, i, seats[i]))
			return false;
	return completable(pl, seats, count);
}

bool
fits(const struct place *pl, const uint16_t *list, unsigned x, unsigned but)
{
	uint16_t seats[DYN_N_MAX + 1];
	unsigned count = others(pl, list, but, seats);

	if (!machines_differ(pl, seats, count, x))
		return false;
	if (but != TABLE_NONE && pl->in[RACK][but] == pl->in[RACK][x])
		return true;
	seats[count++] = (uint16_t)x;
	return pl->groups[RACK] == 1 || completable(pl, seats, count);
}

void
fit_begin(struct place *pl)
{
	pl->fit_round++;
}

/* Seats of one rack differ in their machines only. */
bool
fits_next(struct place *pl, const uint16_t *list, unsigned x, unsigned but)
{
	unsigned rack = pl->in[RACK][x];

	for (unsigned i = 0; i < pl->k; i++)
		if (list[i] != TABLE_NONE && list[i] != but &&
		    pl->in[MACHINE][list[i]] == pl->in[MACHINE][x])
			return false;
	if (pl->groups[RACK] == 1)
		return true;
	if (pl->fit_asked[rack] != pl->fit_round) {
		pl->fit_asked[rack] = pl->fit_round;
		pl->fit_answer[rack] = fits(pl, list, x, but);
	}
	return pl->fit_answer[rack];
}
