/*
 * table_next: who owns what after the members changed (paper 6.2, strategy 3).
 *
 *	1. quotas    how many partitions each node must own: proportional to its
 *	             weight, rounded up or down, at most Q for one machine
 *	2. inherit   the parent's owners, as far as they are still there
 *	3. fill      free places go to nodes below their quota
 *	4. take      nodes above their quota hand partitions to those below
 *	5. augment   what 3 and 4 could not place is placed by chains of
 *	             replacements (augmenting paths of the flow partition ->
 *	             machine -> node), so that nobody is left under-filled
 *	6. regret    undo pairs of moves that turned out to be needless
 *	7. firsts    the first owners, who coordinate, are spread evenly too
 *
 * Places exist for every quota that step 1 makes: each of M machines takes at
 * most Q of the Q * k places, k = min(N, M), and they add up to Q * k; then
 * dealing the places out in turn gives k distinct machines per partition.  So
 * as long as somebody is below the quota, an augmenting path exists.
 *
 * All is integer arithmetic with total orders: the result depends on the parent
 * and the seats, and on nothing else.  Zones are not looked at yet.
 */
#include "model/placement.h"

#define NOWHERE UINT32_MAX

struct place {
	unsigned q, n, k; /* partitions, places of a list, places that are used */
	unsigned seats, machines;
	const struct seat *seat;
	uint64_t *hash;    /* [seat] for ranks */
	uint16_t *machine; /* [seat] number of its machine */
	uint16_t *crew;    /* [machine] number of its seats */
	uint32_t *quota, *load;
	uint32_t *gap;        /* [seat] |quota - load| when a step began */
	uint64_t *room;       /* [machine] scratch: weight, then quota */
	uint32_t *share;      /* [machine] quota */
	uint16_t *owners;     /* [q * n], the table's own */
	uint16_t *old;        /* [q * n], the parent's, as seats of now */
	struct sort_key *key; /* [max(q, seats)] */
	/* Search: a seat is reached by taking the place of seat via_seat (none:
	 * a free place) in partition via_part. */
	uint32_t *via_part;
	uint16_t *via_seat;
	uint8_t *seat_seen, *part_seen;
	uint16_t *part_from;    /* who gave up the place in the partition */
	uint32_t *queue;        /* seats, or seats + partition */
	uint32_t *begin, *list; /* partitions of a seat */
	uint32_t *first;        /* [seat] partitions where it is first */
};

static void
place_fini(struct place *pl)
{
	mem_free(pl->hash);
	mem_free(pl->machine);
	mem_free(pl->crew);
	mem_free(pl->quota);
	mem_free(pl->load);
	mem_free(pl->gap);
	mem_free(pl->room);
	mem_free(pl->share);
	mem_free(pl->old);
	mem_free(pl->key);
	mem_free(pl->via_part);
	mem_free(pl->via_seat);
	mem_free(pl->seat_seen);
	mem_free(pl->part_seen);
	mem_free(pl->part_from);
	mem_free(pl->queue);
	mem_free(pl->begin);
	mem_free(pl->list);
	mem_free(pl->first);
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
	ok = (pl->hash = mem_array(s, sizeof(*pl->hash))) != NULL;
	ok = ok && (pl->machine = mem_array(s, sizeof(*pl->machine))) != NULL;
	ok = ok && (pl->crew = mem_array(s, sizeof(*pl->crew))) != NULL;
	ok = ok && (pl->quota = mem_array(s, sizeof(*pl->quota))) != NULL;
	ok = ok && (pl->load = mem_array(s, sizeof(*pl->load))) != NULL;
	ok = ok && (pl->gap = mem_array(s, sizeof(*pl->gap))) != NULL;
	ok = ok && (pl->room = mem_array(s, sizeof(*pl->room))) != NULL;
	ok = ok && (pl->share = mem_array(s, sizeof(*pl->share))) != NULL;
	ok = ok && (pl->old = mem_array(slots, sizeof(*pl->old))) != NULL;
	ok = ok && (pl->key = mem_array(MAX(q, s), sizeof(*pl->key))) != NULL;
	ok = ok && (pl->via_part = mem_array(s, sizeof(*pl->via_part))) != NULL;
	ok = ok && (pl->via_seat = mem_array(s, sizeof(*pl->via_seat))) != NULL;
	ok = ok && (pl->seat_seen = mem_array(s, 1)) != NULL;
	ok = ok && (pl->part_seen = mem_array(q, 1)) != NULL;
	ok = ok && (pl->part_from = mem_array(q, sizeof(*pl->part_from))) != NULL;
	ok = ok && (pl->queue = mem_array(s + q, sizeof(*pl->queue))) != NULL;
	ok = ok && (pl->begin = mem_array(s + 1, sizeof(*pl->begin))) != NULL;
	ok = ok && (pl->list = mem_array(slots, sizeof(*pl->list))) != NULL;
	ok = ok && (pl->first = mem_array(s, sizeof(*pl->first))) != NULL;
	return ok ? 0 : DYN_ENOMEM;
}

static uint16_t *
places(const struct place *pl, unsigned p)
{
	return pl->owners + (size_t)p * pl->n;
}

/* Where seat x (or TABLE_NONE: the first free place) stands, or k. */
static unsigned
position(const struct place *pl, const uint16_t *list, unsigned x)
{
	unsigned i = 0;

	while (i < pl->k && list[i] != x)
		i++;
	return i;
}

static bool
was_owner(const struct place *pl, unsigned p, unsigned x)
{
	const uint16_t *old = pl->old + (size_t)p * pl->n;

	for (unsigned i = 0; i < pl->n; i++)
		if (old[i] == x)
			return true;
	return false;
}

/* Is x's machine in the list, not counting the owner `but`? */
static bool
machine_in(const struct place *pl, const uint16_t *list, unsigned x, unsigned but)
{
	for (unsigned i = 0; i < pl->k; i++)
		if (list[i] != TABLE_NONE && list[i] != but &&
		    pl->machine[list[i]] == pl->machine[x])
			return true;
	return false;
}

static void
number_machines(struct place *pl)
{
	for (unsigned i = 0; i < pl->seats; i++) {
		pl->hash[i] = seat_hash(&pl->seat[i].node);
		pl->key[i].a = load_be64(pl->seat[i].machine.b);
		pl->key[i].b = load_be64(pl->seat[i].machine.b + 8);
		pl->key[i].index = i;
	}
	sort_keys(pl->key, pl->seats);
	for (unsigned i = 0; i < pl->seats; i++) {
		const struct sort_key *key = &pl->key[i];

		if (i == 0 || key->a != key[-1].a || key->b != key[-1].b)
			pl->machines++;
		pl->machine[key->index] = (uint16_t)(pl->machines - 1);
		pl->crew[pl->machines - 1]++;
	}
	pl->k = MIN(pl->n, pl->machines);
}

/* The parent's owners, translated; of two that have come to share a machine
 * the later in the list goes. */
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
		uint16_t *old = pl->old + (size_t)p * pl->n, *list = places(pl, p);
		const uint16_t *owners;
		unsigned count = table_owners(parent, p, &owners), kept = 0;

		for (unsigned i = 0; i < count; i++) {
			old[i] = now[owners[i]];
			if (old[i] == TABLE_NONE ||
			    machine_in(pl, list, old[i], TABLE_NONE))
				continue;
			list[kept++] = old[i];
			pl->load[old[i]]++;
		}
	}
	mem_free(now);
	return 0;
}

/* ------------------------------------------------------------- 1 quotas */

/*
 * Round shares up or down so that they add up.  Of those that could be rounded
 * up, whoever already owns that many comes first (no move), then the larger
 * remainder.  key[0..count) holds index and remainder (in a); left = how many
 * may be rounded up.
 */
static void
round_up(struct sort_key *key, size_t count, uint32_t *quota, const uint32_t *owned,
    uint64_t left)
{
	for (size_t i = 0; i < count; i++)
		if (key[i].a > 0 && owned[key[i].index] > quota[key[i].index])
			key[i].a |= UINT64_C(1) << 63;
	sort_keys(key, count);
	DYN_ASSERT(left <= count);
	for (size_t i = 0; i < left; i++) {
		DYN_ASSERT(key[i].a > 0);
		quota[key[i].index]++;
	}
}

/* Machines whose share would exceed Q get Q; the others share the rest, and so
 * on until it fits.  Leaves total and weight of those that are not full; a full
 * machine has room 0. */
static void
fill_machines(struct place *pl, uint64_t *total, uint64_t *weight)
{
	bool again = true;

	*total = (uint64_t)pl->q * pl->k;
	*weight = 0;
	memset(pl->room, 0, pl->machines * sizeof(*pl->room));
	for (unsigned i = 0; i < pl->seats; i++) {
		pl->room[pl->machine[i]] += pl->seat[i].weight;
		*weight += pl->seat[i].weight;
	}
	while (again) {
		uint64_t limit = pl->q * *weight, share = *total;

		again = false;
		for (unsigned m = 0; m < pl->machines; m++) {
			if (pl->room[m] == 0 || share * pl->room[m] <= limit)
				continue;
			*total -= pl->q;
			*weight -= pl->room[m];
			pl->room[m] = 0;
			again = true;
		}
	}
}

static void
machine_shares(struct place *pl, uint64_t total, uint64_t weight)
{
	uint32_t *owned = pl->first; /* scratch until step 7 */
	uint64_t left = total;
	size_t count = 0;

	memset(owned, 0, pl->machines * sizeof(*owned));
	for (unsigned i = 0; i < pl->seats; i++)
		owned[pl->machine[i]] += pl->load[i];
	for (unsigned m = 0; m < pl->machines; m++) {
		uint64_t exact = total * pl->room[m];

		if (pl->room[m] == 0) {
			pl->share[m] = pl->q;
			continue;
		}
		pl->share[m] = (uint32_t)(exact / weight);
		left -= pl->share[m];
		pl->key[count].a = exact % weight;
		pl->key[count].b = mix64(m + 1);
		pl->key[count++].index = m;
	}
	round_up(pl->key, count, pl->share, owned, left);
}

/* The seats of a machine share what it got; each share is the exact one of
 * the whole ring rounded up or down, as the remainders add up within a
 * machine to the machine's own. */
static void
seat_quotas(struct place *pl, unsigned m, uint64_t total, uint64_t weight)
{
	uint64_t left = pl->share[m];
	size_t count = 0;

	if (pl->room[m] == 0) {
		total = pl->q;
		weight = 0;
		for (unsigned i = 0; i < pl->seats; i++)
			weight += pl->machine[i] == m ? pl->seat[i].weight : 0;
	}
	DYN_ASSERT(weight > 0); /* a machine has a seat, a seat a weight */
	for (unsigned i = 0; i < pl->seats; i++) {
		uint64_t exact = total * pl->seat[i].weight;

		if (pl->machine[i] != m)
			continue;
		pl->quota[i] = (uint32_t)(exact / weight);
		left -= pl->quota[i];
		pl->key[count].a = exact % weight;
		pl->key[count].b = pl->hash[i];
		pl->key[count++].index = i;
	}
	round_up(pl->key, count, pl->quota, pl->load, left);
}

static void
set_quotas(struct place *pl)
{
	uint64_t total, weight;

	fill_machines(pl, &total, &weight);
	machine_shares(pl, total, weight);
	for (unsigned m = 0; m < pl->machines; m++)
		seat_quotas(pl, m, total, weight);
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
hungriest(const struct place *pl, unsigned p, unsigned holes)
{
	unsigned best = TABLE_NONE;
	bool best_must = false;

	for (unsigned i = 0; i < pl->seats; i++) {
		bool must = pl->room[pl->machine[i]] >= holes;

		if (pl->load[i] >= pl->quota[i] ||
		    machine_in(pl, places(pl, p), i, TABLE_NONE))
			continue;
		if (best != TABLE_NONE && must == best_must && !hungrier(pl, p, i, best))
			continue;
		if (best != TABLE_NONE && best_must && !must)
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
		pl->room[pl->machine[i]] += pl->gap[i];
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
			pl->room[pl->machine[i]]--;
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

		if (pl->load[y] <= pl->quota[y] || machine_in(pl, list, x, y))
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

/* ------------------------------------------------------------ 5 augment */

/* Partitions of each seat, in order. */
static void
invert(struct place *pl)
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

/* The place that x holds in p is free: who of x's machine could take it?
 * Then the place as such is free, for other machines. */
static unsigned
leave(struct place *pl, unsigned x, unsigned p, size_t *tail)
{
	for (unsigned y = 0; pl->crew[pl->machine[x]] > 1 && y < pl->seats; y++)
		if (pl->machine[y] == pl->machine[x] && !pl->seat_seen[y] &&
		    reach(pl, y, p, x, tail))
			return y;
	if (!pl->part_seen[p]) {
		pl->part_seen[p] = 1;
		pl->part_from[p] = (uint16_t)x;
		pl->queue[(*tail)++] = pl->seats + p;
	}
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
expand_partition(struct place *pl, unsigned p, size_t *tail)
{
	unsigned start = (unsigned)(seat_rank(1, p) % pl->seats);

	for (unsigned i = 0; i < pl->seats; i++) {
		unsigned y = (start + i) % pl->seats;

		if (!pl->seat_seen[y] && !machine_in(pl, places(pl, p), y, TABLE_NONE) &&
		    reach(pl, y, p, pl->part_from[p], tail))
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
	memset(pl->part_seen, 0, pl->q);
	for (unsigned p = 0; p < pl->q; p++)
		if (places(pl, p)[pl->k - 1] == TABLE_NONE) {
			pl->part_seen[p] = 1;
			pl->part_from[p] = TABLE_NONE;
			pl->queue[tail++] = pl->seats + p;
		}
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
			y = expand_partition(pl, at - pl->seats, &tail);
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

static void
augment(struct place *pl)
{
	while (below_quota(pl)) {
		unsigned y;

		invert(pl);
		y = search(pl);
		DYN_ASSERT(y != TABLE_NONE); /* see the head of this file */
		apply(pl, y);
	}
}

/* ------------------------------------------------------------- 6 regret */

/* x is new in p, where the old owner y lost its place.  Find a partition r
 * that is new to y and where x can stand in its stead; swap. */
static bool
swap_back(struct place *pl, unsigned p, unsigned x, unsigned y)
{
	uint16_t *here = places(pl, p);

	if (machine_in(pl, here, y, x))
		return false;
	for (uint32_t i = pl->begin[y]; i < pl->begin[y + 1]; i++) {
		unsigned r = pl->list[i], at;
		uint16_t *there = places(pl, r);

		at = position(pl, there, y);
		if (at == pl->k || was_owner(pl, r, y) || machine_in(pl, there, x, y))
			continue;
		there[at] = (uint16_t)x;
		here[position(pl, here, x)] = (uint16_t)y;
		return true;
	}
	return false;
}

static void
regret(struct place *pl)
{
	invert(pl);
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

/* ------------------------------------------------------------- 7 firsts */

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

static void
spread_firsts(struct place *pl)
{
	memset(pl->first, 0, pl->seats * sizeof(*pl->first));
	/* Who was first stays it, up to its share. */
	for (unsigned p = 0; p < pl->q; p++) {
		unsigned x = pl->old[(size_t)p * pl->n];
		bool stays = x != TABLE_NONE && position(pl, places(pl, p), x) < pl->k;

		pl->part_seen[p] = stays && pl->first[x] < firsts_max(pl, x);
		if (pl->part_seen[p]) {
			pl->first[x]++;
			put_first(pl, p, x);
		}
	}
	for (unsigned p = 0; p < pl->q; p++) {
		unsigned x;

		if (pl->part_seen[p])
			continue;
		x = least_first(pl, p);
		put_first(pl, p, x);
		pl->first[x]++;
	}
	invert(pl);
	for (unsigned x = 0; x < pl->seats; x++)
		while (pl->first[x] > firsts_max(pl, x))
			shift_first(pl, x, true);
	for (unsigned x = 0; x < pl->seats; x++)
		while (pl->first[x] < firsts_min(pl, x))
			shift_first(pl, x, false);
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

static int
compute(struct table *t, const struct table *parent)
{
	struct place pl;
	int rc;

	rc = place_init(&pl, t);
	if (rc == 0) {
		number_machines(&pl);
		rc = inherit(&pl, t, parent);
	}
	if (rc == 0) {
		set_quotas(&pl);
		fill(&pl);
		take(&pl);
		augment(&pl);
		regret(&pl);
		spread_firsts(&pl);
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

	rc = t->collected == t->epoch
		 ? table_collect(&own, parent)
		 : table_next(&own, parent, t->partitions, t->n, t->seats, t->seats_count);
	if (rc != 0)
		return rc;
	rc = table_compare(own, t) == 0;
	table_unref(own);
	return rc;
}
