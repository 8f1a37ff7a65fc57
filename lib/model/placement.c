/*
 * table_next: who owns what after the members changed (paper 6.2, strategy 3).
 *
 *	1. quotas    how many partitions each node must own: evenly spread over
 *	             zones and racks, then proportional to its weight, rounded up
 *	             or down, at most Q for one machine
 *	2. keep      the parent's owners, as far as they are still there and may
 *	             own the partition together
 *	3. fill      free places go to nodes below their quota
 *	4. take      nodes above their quota hand partitions to those below
 *	5. augment   what 3 and 4 could not place is placed by chains of
 *	             replacements, so that nobody is left under-filled
 *	6. regret    undo moves that turned out to be needless, in rounds
 *	7. firsts    the first owners, who coordinate, are spread evenly too
 *
 * Invariant, from step 2 on: the owners of a partition can be completed to k that
 * are on distinct machines and have in each zone and each rack lo or hi copies, its
 * quota / Q rounded down and up (placement_fit.c).  Step 5 ends when all quotas
 * are met; then there are Q * k places, no list has more than k, so all are complete.
 * As quotas lie within what an even spread permits, so do the lists: where that is
 * possible, a partition is in min(k, zones) zones.
 *
 * Why step 5 gets there.  Let every partition have quota / Q of each seat.  These
 * fractions add up to the quotas, and in each partition to quota / Q for each zone,
 * rack and machine, which is between its bounds: an answer in fractions.  Now the
 * sets of owners that can be completed are the independent sets of a matroid, and
 * the sets of (partition, seat) that exceed no quota those of another; what both
 * permit in fractions they also permit in whole places (matroid intersection; here
 * it is a flow from the seats through the trees of the partitions).  So as long as a
 * seat is below its quota an augmenting path exists, and along a shortest one all
 * replacements are possible together.  Each raises the number of places that are
 * within quotas by one.
 *
 * All is integer arithmetic with total orders: the result depends on the parent
 * and the seats, and on nothing else.
 */
#include "model/placement_private.h"

static void
place_fini(struct place *pl)
{
	for (unsigned level = ROOT; level < LEVELS; level++) {
		mem_free(pl->group[level]);
		mem_free(pl->in[level]);
	}
	mem_free(pl->hash);
	mem_free(pl->crew);
	mem_free(pl->quota);
	mem_free(pl->load);
	mem_free(pl->gap);
	mem_free(pl->room);
	mem_free(pl->old);
	mem_free(pl->key);
	mem_free(pl->fit_asked);
	mem_free(pl->fit_answer);
	mem_free(pl->via_part);
	mem_free(pl->via_seat);
	mem_free(pl->seat_seen);
	mem_free(pl->open);
	mem_free(pl->open_from);
	mem_free(pl->queue);
	mem_free(pl->begin);
	mem_free(pl->list);
	mem_free(pl->first);
}

static bool
groups_init(struct place *pl)
{
	for (unsigned level = ROOT; level < LEVELS; level++) {
		pl->group[level] = mem_array(pl->seats, sizeof(*pl->group[level]));
		pl->in[level] = mem_array(pl->seats, sizeof(*pl->in[level]));
		if (pl->group[level] == NULL || pl->in[level] == NULL)
			return false;
	}
	return true;
}

static int
place_init(struct place *pl, struct table *t)
{
	size_t s = t->seats_count, q = t->partitions, slots = q * t->n;
	bool ok;

	memset(pl, 0, sizeof(*pl));
	pl->q = t->partitions;
	pl->n = t->n;
	pl->seats = (unsigned)s;
	pl->seat = t->seats;
	pl->owners = t->owners;
	ok = groups_init(pl);
	ok = ok && (pl->hash = mem_array(s, sizeof(*pl->hash))) != NULL;
	ok = ok && (pl->crew = mem_array(s, sizeof(*pl->crew))) != NULL;
	ok = ok && (pl->quota = mem_array(s, sizeof(*pl->quota))) != NULL;
	ok = ok && (pl->load = mem_array(s, sizeof(*pl->load))) != NULL;
	ok = ok && (pl->gap = mem_array(s, sizeof(*pl->gap))) != NULL;
	ok = ok && (pl->room = mem_array(s, sizeof(*pl->room))) != NULL;
	ok = ok && (pl->old = mem_array(slots, sizeof(*pl->old))) != NULL;
	ok = ok && (pl->key = mem_array(MAX(q, s), sizeof(*pl->key))) != NULL;
	ok = ok && (pl->fit_asked = mem_array(s, sizeof(*pl->fit_asked))) != NULL;
	ok = ok && (pl->fit_answer = mem_array(s, 1)) != NULL;
	ok = ok && (pl->via_part = mem_array(s, sizeof(*pl->via_part))) != NULL;
	ok = ok && (pl->via_seat = mem_array(s, sizeof(*pl->via_seat))) != NULL;
	ok = ok && (pl->seat_seen = mem_array(s, 1)) != NULL;
	ok = ok && (pl->open = mem_array(slots, 1)) != NULL;
	ok = ok && (pl->open_from = mem_array(slots, sizeof(*pl->open_from))) != NULL;
	ok = ok && (pl->queue = mem_array(s + slots, sizeof(*pl->queue))) != NULL;
	ok = ok && (pl->begin = mem_array(s + 1, sizeof(*pl->begin))) != NULL;
	ok = ok && (pl->list = mem_array(slots, sizeof(*pl->list))) != NULL;
	ok = ok && (pl->first = mem_array(s, sizeof(*pl->first))) != NULL;
	return ok ? 0 : DYN_ENOMEM;
}

/* --------------------------------------------------------------- 2 keep */

/* The parent's owners, translated; load is how many each seat had. */
static int
inherit(struct place *pl, const struct table *t, const struct table *parent)
{
	size_t slots = (size_t)pl->q * pl->n;
	uint16_t *now;

	memset(pl->old, 0xff, slots * sizeof(*pl->old));
	if (parent == NULL)
		return 0;
	now = mem_array(parent->seats_count, sizeof(*now));
	if (now == NULL)
		return DYN_ENOMEM;
	for (size_t i = 0; i < parent->seats_count; i++) {
		int at = table_find(t, &parent->seats[i].node);

		now[i] = at < 0 ? TABLE_NONE : (uint16_t)at;
	}
	for (unsigned p = 0; p < pl->q; p++) {
		uint16_t *old = pl->old + (size_t)p * pl->n;
		const uint16_t *owners;
		unsigned count = table_owners(parent, p, &owners);

		for (unsigned i = 0; i < count; i++) {
			old[i] = now[owners[i]];
			if (old[i] != TABLE_NONE)
				pl->load[old[i]]++;
		}
	}
	mem_free(now);
	return 0;
}

/* Is a the larger part of its quota above, or less below, than b? */
static bool
richer(const struct place *pl, unsigned a, unsigned b)
{
	return (uint64_t)pl->load[a] * pl->quota[b] >
	       (uint64_t)pl->load[b] * pl->quota[a];
}

/* Of owners that may not stay together, the richest go.  Taking those that fit one
 * by one keeps as many as can be kept (it is a matroid). */
static void
keep_some(struct place *pl, uint16_t *list, const uint16_t *seats, unsigned count)
{
	uint16_t order[DYN_N_MAX];
	unsigned kept = 0;

	for (unsigned i = 0; i < count; i++) {
		unsigned at = i;

		for (; at > 0 && richer(pl, order[at - 1], seats[i]); at--)
			order[at] = order[at - 1];
		order[at] = seats[i];
	}
	for (unsigned i = 0; i < count; i++) {
		if (kept < pl->k && fits(pl, list, order[i], TABLE_NONE))
			list[kept++] = order[i];
		else
			pl->load[order[i]]--;
	}
}

static void
keep(struct place *pl)
{
	for (unsigned p = 0; p < pl->q; p++) {
		const uint16_t *old = pl->old + (size_t)p * pl->n;
		uint16_t seats[DYN_N_MAX];
		unsigned count = 0;

		for (unsigned i = 0; i < pl->n; i++)
			if (old[i] != TABLE_NONE)
				seats[count++] = old[i];
		if (fit_together(pl, seats, count))
			memcpy(places(pl, p), seats, count * sizeof(*seats));
		else
			keep_some(pl, places(pl, p), seats, count);
	}
}

/* --------------------------------------------------------------- 3 fill */

/* Is the deficit of seat a a larger part of what it was, than that of b?
 * So all fill up at the same pace, and no partition gets only large nodes. */
static bool
hungrier(const struct place *pl, unsigned p, unsigned a, unsigned b)
{
	uint64_t x = (uint64_t)(pl->quota[a] - pl->load[a]) * pl->gap[b];
	uint64_t y = (uint64_t)(pl->quota[b] - pl->load[b]) * pl->gap[a];

	if (x != y)
		return x > y;
	return seat_rank(pl->hash[a], p) > seat_rank(pl->hash[b], p);
}

/* The best seat for a free place of p; holes = partitions with free places
 * from p on.  A machine that needs a place in every one of them goes first. */
static unsigned
hungriest(struct place *pl, unsigned p, unsigned holes)
{
	unsigned best = TABLE_NONE;
	bool best_must = false;

	fit_begin(pl);
	for (unsigned i = 0; i < pl->seats; i++) {
		bool must = pl->room[pl->in[MACHINE][i]] >= holes;

		if (pl->load[i] >= pl->quota[i])
			continue;
		if (best != TABLE_NONE && must == best_must && !hungrier(pl, p, i, best))
			continue;
		if (best != TABLE_NONE && best_must && !must)
			continue;
		if (!fits_next(pl, places(pl, p), i, TABLE_NONE))
			continue;
		best = i;
		best_must = must;
	}
	return best;
}

static void
fill(struct place *pl)
{
	unsigned holes = 0;

	memset(pl->room, 0, pl->machines * sizeof(*pl->room));
	for (unsigned i = 0; i < pl->seats; i++) {
		pl->gap[i] = pl->quota[i] > pl->load[i] ? pl->quota[i] - pl->load[i] : 0;
		pl->room[pl->in[MACHINE][i]] += pl->gap[i];
	}
	for (unsigned p = 0; p < pl->q; p++)
		holes += places(pl, p)[pl->k - 1] == TABLE_NONE;
	for (unsigned p = 0; p < pl->q; p++) {
		uint16_t *list = places(pl, p);
		unsigned at = position(pl, list, TABLE_NONE);

		if (at == pl->k)
			continue;
		for (; at < pl->k; at++) {
			unsigned i = hungriest(pl, p, holes);

			if (i == TABLE_NONE)
				break;
			list[at] = (uint16_t)i;
			pl->load[i]++;
			pl->room[pl->in[MACHINE][i]]--;
		}
		holes--;
	}
}

/* --------------------------------------------------------------- 4 take */

/* The owner of p above its quota by the largest part, whose place x can take. */
static unsigned
richest(const struct place *pl, unsigned p, unsigned x)
{
	const uint16_t *list = places(pl, p);
	unsigned best = TABLE_NONE;

	for (unsigned i = 0; i < pl->k && list[i] != TABLE_NONE; i++) {
		unsigned y = list[i];
		uint64_t mine, its;

		if (pl->load[y] <= pl->quota[y] || !fits(pl, list, x, y))
			continue;
		if (best != TABLE_NONE) {
			mine = (uint64_t)(pl->load[y] - pl->quota[y]) * pl->gap[best];
			its = (uint64_t)(pl->load[best] - pl->quota[best]) * pl->gap[y];
			if (mine <= its)
				continue;
		}
		best = y;
	}
	return best;
}

static void
take(struct place *pl)
{
	for (unsigned i = 0; i < pl->seats; i++)
		pl->gap[i] = pl->load[i] > pl->quota[i] ? pl->load[i] - pl->quota[i] : 0;
	for (unsigned x = 0; x < pl->seats; x++) {
		size_t count = 0;

		if (pl->load[x] >= pl->quota[x])
			continue;
		for (unsigned p = 0; p < pl->q; p++) {
			if (richest(pl, p, x) == TABLE_NONE)
				continue;
			pl->key[count].a = seat_rank(pl->hash[x], p);
			pl->key[count].b = 0;
			pl->key[count++].index = p;
		}
		sort_keys(pl->key, count);
		for (size_t i = 0; i < count && pl->load[x] < pl->quota[x]; i++) {
			unsigned p = pl->key[i].index, y = richest(pl, p, x);
			uint16_t *list = places(pl, p);

			if (y == TABLE_NONE)
				continue;
			list[position(pl, list, y)] = (uint16_t)x;
			pl->load[x]++;
			pl->load[y]--;
		}
	}
}

/* ---------------------------------------------------------------- the call */

/* Seats sorted by node id into the table; DYN_EINVAL if they are not valid. */
static int
seat_down(struct table *t, const struct seat *seats)
{
	struct sort_key *key = mem_array(t->seats_count, sizeof(*key));

	if (key == NULL)
		return DYN_ENOMEM;
	for (unsigned i = 0; i < t->seats_count; i++) {
		/* Ascending, while sort_keys sorts larger first. */
		key[i].a = ~load_be64(seats[i].node.bytes);
		key[i].b = ~load_be64(seats[i].node.bytes + 8);
		key[i].index = i;
	}
	sort_keys(key, t->seats_count);
	for (size_t i = 0; i < t->seats_count; i++)
		t->seats[i] = seats[key[i].index];
	mem_free(key);
	for (size_t i = 0; i < t->seats_count; i++) {
		if (t->seats[i].weight < 1 || t->seats[i].weight > WEIGHT_MAX)
			return DYN_EINVAL;
		if (i > 0 && memcmp(t->seats[i - 1].node.bytes, t->seats[i].node.bytes,
				 sizeof(t->seats[i].node.bytes)) == 0)
			return DYN_EINVAL;
	}
	return 0;
}

/* What the head of this file promises. */
static void
check(const struct place *pl)
{
	for (unsigned p = 0; p < pl->q; p++) {
		DYN_ASSERT(position(pl, places(pl, p), TABLE_NONE) == pl->k);
		DYN_ASSERT(fit_together(pl, places(pl, p), pl->k));
	}
}

static int
compute(struct table *t, const struct table *parent)
{
	struct place pl;
	int rc;

	rc = place_init(&pl, t);
	if (rc == 0)
		rc = place_number(&pl);
	if (rc == 0)
		rc = inherit(&pl, t, parent);
	if (rc == 0) {
		place_quotas(&pl);
		keep(&pl);
		fill(&pl);
		take(&pl);
		place_augment(&pl);
		place_regret(&pl);
		check(&pl);
		place_firsts(&pl);
	}
	place_fini(&pl);
	return rc;
}

int
table_next(struct table **out, const struct table *parent, unsigned partitions,
    unsigned n, const struct seat *seats, size_t count)
{
	struct table *t;
	int rc;

	*out = NULL;
	if (parent != NULL) {
		partitions = parent->partitions;
		n = parent->n;
	}
	if (count < 1 || count > LIMIT_MEMBERS || !partitions_valid(partitions) ||
	    n < 1 || n > DYN_N_MAX || (parent != NULL && parent->epoch >= EPOCH_MAX))
		return DYN_EINVAL;
	rc = table_alloc(&t, partitions, n, count);
	if (rc != 0)
		return rc;
	t->epoch = 1;
	if (parent != NULL) {
		t->epoch = parent->epoch + 1;
		t->collected = parent->collected;
		t->parent = parent->digest;
	}
	rc = seat_down(t, seats);
	if (rc == 0)
		rc = compute(t, parent);
	if (rc == 0)
		rc = table_seal(t);
	if (rc != 0) {
		table_unref(t);
		return rc;
	}
	*out = t;
	return 0;
}

int
table_verify(const struct table *t, const struct table *parent)
{
	struct table *own;
	int rc;

	rc = t->collected == t->epoch ? table_collect(&own, parent)
				      : table_next(&own, parent, t->partitions, t->n,
					    t->seats, t->seats_count);
	if (rc != 0)
		return rc;
	rc = table_compare(own, t) == 0;
	table_unref(own);
	return rc;
}
