/*
 * Placement, step 1: how many places each zone, rack, machine and seat must have.
 *
 * The ring is a tree: zones, their racks, their machines, their seats.  From the
 * top down, each group divides what it must have among its parts:
 *
 *	1. spread  Let c be the copies that a group has of a partition, rounded up.
 *	           With an even spread a part has h or h - 1 of them, or as many as
 *	           it has machines, if those are fewer; h is the smallest number
 *	           that is enough.  So its quota lies between `least` and `most`
 *	           times Q.  (For machines that is 0 and Q.)
 *	2. weight  Within these bounds each part gets in proportion to its weight:
 *	           there is a pace, in places for each unit of weight, at which they
 *	           add up.  A part that would get less than its bound gets the bound;
 *	           so does one that would get more, also because its machines are
 *	           full.  The pace is found exactly, as a fraction.
 *	3. round   What is left of rounding down goes to those with a remainder.
 *
 * A part that is at no bound goes on with the pace it was given, so that rounding
 * does not add up on the way down: the load of a seat is its exact share rounded
 * up or down, also in a tree of one zone and one rack.
 *
 * Fractions stay small: a numerator is at most Q * N <= 2^19, a denominator is a
 * sum of weights < 2^24, and products of both with a weight < 2^58.
 */
#include "model/placement_private.h"

/* -------------------------------------------------------------- the tree */

static void
key_set(struct sort_key *key, uint64_t a, uint64_t b, unsigned index)
{
	key->a = a;
	key->b = b;
	key->index = index;
}

/* Of the machines in key: equal a and b are one group.  Writes group numbers by the
 * index of the key; returns how many. */
static unsigned
number_runs(const struct sort_key *key, unsigned count, uint16_t *number)
{
	unsigned groups = 0;

	for (unsigned i = 0; i < count; i++) {
		if (i == 0 || key[i].a != key[i - 1].a || key[i].b != key[i - 1].b)
			groups++;
		number[key[i].index] = (uint16_t)(groups - 1);
	}
	return groups;
}

/* Numbers of zones, racks, machines for each seat.  Parts of a group have numbers
 * in a row.  All seats of a machine are where its first seat says. */
static void
number_seats(struct place *pl, uint16_t *digest_rank, uint16_t *where)
{
	struct sort_key *key = pl->key;
	unsigned s = pl->seats, *groups = pl->groups;

	for (unsigned i = 0; i < s; i++)
		key_set(&key[i], load_be64(pl->seat[i].machine.b),
		    load_be64(pl->seat[i].machine.b + 8), i);
	sort_keys(key, s);
	(void)number_runs(key, s, digest_rank);
	for (unsigned i = s; i-- > 0;)
		where[digest_rank[i]] = (uint16_t)i;
	for (unsigned i = 0; i < s; i++)
		key_set(&key[i], 0, pl->seat[where[digest_rank[i]]].zone, i);
	sort_keys(key, s);
	groups[ZONE] = number_runs(key, s, pl->in[ZONE]);
	/* Larger keys come first. */
	for (unsigned i = 0; i < s; i++)
		key_set(&key[i], ~(uint64_t)pl->in[ZONE][i],
		    pl->seat[where[digest_rank[i]]].rack, i);
	sort_keys(key, s);
	groups[RACK] = number_runs(key, s, pl->in[RACK]);
	for (unsigned i = 0; i < s; i++)
		key_set(
		    &key[i], ~(uint64_t)pl->in[RACK][i], ~(uint64_t)digest_rank[i], i);
	sort_keys(key, s);
	groups[MACHINE] = number_runs(key, s, pl->in[MACHINE]);
	groups[ROOT] = 1;
	memset(pl->in[ROOT], 0, s * sizeof(*pl->in[ROOT]));
	pl->machines = groups[MACHINE];
}

/* The groups themselves, from the bottom up. */
static void
link_groups(struct place *pl, const uint16_t *digest_rank)
{
	for (unsigned i = 0; i < pl->seats; i++) {
		unsigned m = pl->in[MACHINE][i];
		struct group *g = &pl->group[MACHINE][m];

		g->begin = m;
		g->end = m + 1;
		g->weight += pl->seat[i].weight;
		g->tie = mix64(digest_rank[i] + UINT64_C(1));
		pl->crew[m]++;
		for (unsigned level = ZONE; level < LEVELS; level++)
			pl->group[level][pl->in[level][i]].up = pl->in[level - 1][i];
	}
	for (unsigned level = MACHINE; level > ROOT; level--)
		for (unsigned i = 0; i < pl->groups[level]; i++) {
			const struct group *part = &pl->group[level][i];
			struct group *g = &pl->group[level - 1][part->up];

			if (g->kids_end == 0) {
				g->kids = i;
				g->begin = part->begin;
				g->tie = mix64(part->up + UINT64_C(1));
			}
			g->kids_end = i + 1;
			g->end = part->end;
			g->weight += part->weight;
		}
}

int
place_number(struct place *pl)
{
	uint16_t *digest_rank = mem_array(pl->seats, sizeof(*digest_rank));
	uint16_t *where = mem_array(pl->seats, sizeof(*where));
	int rc = digest_rank != NULL && where != NULL ? 0 : DYN_ENOMEM;

	if (rc == 0) {
		for (unsigned i = 0; i < pl->seats; i++)
			pl->hash[i] = seat_hash(&pl->seat[i].node);
		number_seats(pl, digest_rank, where);
		link_groups(pl, digest_rank);
		pl->k = MIN(pl->n, pl->machines);
	}
	mem_free(digest_rank);
	mem_free(where);
	return rc;
}

/* --------------------------------------------------------------- the pace */

/* What groups get at a pace: a number of places, and so many for the weight. */
struct amount {
	uint64_t fixed, weight;
};

static bool
reached(struct pace a, struct pace b)
{
	return a.num * b.den >= b.num * a.den;
}

/* In units of 1 / at.den. */
static uint64_t
total(struct amount s, struct pace at)
{
	return s.fixed * at.den + s.weight * at.num;
}

/* Machines begin..end at this pace, each Q at most. */
static void
add_machines(
    const struct place *pl, const struct group *g, struct pace at, struct amount *s)
{
	for (unsigned m = g->begin; m < g->end; m++) {
		uint64_t weight = pl->group[MACHINE][m].weight;

		if (weight * at.num >= pl->q * at.den)
			s->fixed += pl->q;
		else
			s->weight += weight;
	}
}

static struct amount
part_amount(const struct place *pl, const struct group *g, struct pace at)
{
	struct amount s = {0, 0};

	if (reached(at, g->full))
		s.fixed = (uint64_t)g->most * pl->q;
	else if (!reached(at, g->bare))
		s.fixed = (uint64_t)g->least * pl->q;
	else
		add_machines(pl, g, at, &s);
	return s;
}

static struct amount
parts_amount(
    const struct place *pl, unsigned level, const struct group *g, struct pace at)
{
	struct amount s = {0, 0};

	for (unsigned i = g->kids; i < g->kids_end; i++) {
		struct amount part = part_amount(pl, &pl->group[level + 1][i], at);

		s.fixed += part.fixed;
		s.weight += part.weight;
	}
	return s;
}

/* The least pace at which the machines of the group get so much.  What they get
 * grows slower and slower, so each step from below stops below, at a machine that
 * is full, or there. */
static struct pace
machines_pace(const struct place *pl, const struct group *g, uint64_t places)
{
	struct pace at = {0, 1};

	for (;;) {
		struct amount s = {0, 0};
		struct pace next;

		add_machines(pl, g, at, &s);
		if (s.weight == 0)
			return at;
		next.num = places - s.fixed;
		next.den = s.weight;
		if (reached(at, next))
			return next;
		at = next;
	}
}

/* Between which paces do the parts together get `places`?  `to` is one at which
 * some part begins or ends to grow. */
static void
narrow(const struct place *pl, unsigned level, const struct group *g, struct pace to,
    struct pace *low, struct pace *high)
{
	if (reached(*low, to) || reached(to, *high))
		return;
	if (total(parts_amount(pl, level, g, to), to) <= g->share * to.den)
		*low = to;
	else
		*high = to;
}

/* The pace at which the parts get what the group has. */
static struct pace
parts_pace(const struct place *pl, unsigned level, const struct group *g)
{
	struct pace low = {0, 1}, high = {1, 0};
	struct amount s;

	for (unsigned i = g->kids; i < g->kids_end; i++) {
		narrow(pl, level, g, pl->group[level + 1][i].bare, &low, &high);
		narrow(pl, level, g, pl->group[level + 1][i].full, &low, &high);
	}
	for (unsigned m = g->begin; m < g->end; m++) {
		struct pace full = {pl->q, pl->group[MACHINE][m].weight};

		narrow(pl, level, g, full, &low, &high);
	}
	/* From low on all parts grow evenly, up to high. */
	s = parts_amount(pl, level, g, low);
	if (s.weight == 0)
		return low;
	DYN_ASSERT(s.fixed <= g->share);
	return (struct pace){g->share - s.fixed, s.weight};
}

/* At this pace they get `share` rounded up or down?  Then it stays. */
static bool
agrees(struct amount s, struct pace at, uint64_t share)
{
	uint64_t exact = total(s, at), want = share * at.den;

	return exact < want + at.den && want < exact + at.den;
}

/* ---------------------------------------------------------------- dividing */

/* 1. spread: bounds for the parts of a group. */
static void
bound_parts(struct place *pl, unsigned level, const struct group *g)
{
	unsigned copies = (g->share + pl->q - 1) / pl->q, high = 0, sum = 0;

	while (high == 0 || sum < copies) {
		DYN_ASSERT(high < copies || high == 0); /* there are enough machines */
		high++;
		sum = 0;
		for (unsigned i = g->kids; i < g->kids_end; i++) {
			const struct group *part = &pl->group[level + 1][i];

			sum += MIN(high, part->end - part->begin);
		}
	}
	for (unsigned i = g->kids; i < g->kids_end; i++) {
		struct group *part = &pl->group[level + 1][i];

		part->least = MIN(high - 1, part->end - part->begin);
		part->most = MIN(high, part->end - part->begin);
		part->bare = machines_pace(pl, part, (uint64_t)part->least * pl->q);
		part->full = machines_pace(pl, part, (uint64_t)part->most * pl->q);
	}
}

/* A key for who is rounded up: of those with a remainder, whoever already owns that
 * many comes first (no move), then the larger remainder. */
static void
remainder_key(
    struct sort_key *key, uint64_t remainder, bool owned, uint64_t tie, unsigned index)
{
	key_set(key, remainder, tie, index);
	if (remainder > 0 && owned)
		key->a |= UINT64_C(1) << 63;
}

static void
round_up(struct sort_key *key, size_t count, uint64_t left)
{
	sort_keys(key, count);
	DYN_ASSERT(left <= count);
	for (size_t i = 0; i < left; i++)
		DYN_ASSERT(key[i].a > 0);
}

/* 3. round */
static void
divide(struct place *pl, unsigned level, const struct group *g, struct pace at)
{
	uint64_t left = g->share;
	size_t count = 0;

	for (unsigned i = g->kids; i < g->kids_end; i++) {
		struct group *part = &pl->group[level + 1][i];
		uint64_t exact = total(part_amount(pl, part, at), at);

		part->pace = at;
		if (reached(at, part->full) || !reached(at, part->bare))
			part->pace = (struct pace){0, 1}; /* at a bound: its own */
		part->share = (uint32_t)(exact / at.den);
		left -= part->share;
		remainder_key(&pl->key[count++], exact % at.den,
		    part->owned > part->share, part->tie, i);
	}
	round_up(pl->key, count, left);
	for (size_t i = 0; i < left; i++)
		pl->group[level + 1][pl->key[i].index].share++;
	for (unsigned i = g->kids; i < g->kids_end; i++) {
		struct group *part = &pl->group[level + 1][i];

		part->lo = part->share / pl->q;
		part->hi = (part->share + pl->q - 1) / pl->q;
		DYN_ASSERT(part->lo >= part->least && part->hi <= part->most);
	}
}

/* The seats of a machine share what it got. */
static void
divide_machine(struct place *pl, unsigned m)
{
	const struct group *g = &pl->group[MACHINE][m];
	struct amount s = {0, g->weight};
	struct pace at = g->pace;
	uint64_t left = g->share;
	size_t count = 0;

	if (!agrees(s, at, g->share))
		at = (struct pace){g->share, g->weight};
	for (unsigned i = 0; i < pl->seats; i++) {
		uint64_t exact = at.num * pl->seat[i].weight;

		if (pl->in[MACHINE][i] != m)
			continue;
		pl->quota[i] = (uint32_t)(exact / at.den);
		left -= pl->quota[i];
		remainder_key(&pl->key[count++], exact % at.den,
		    pl->load[i] > pl->quota[i], pl->hash[i], i);
	}
	round_up(pl->key, count, left);
	for (size_t i = 0; i < left; i++)
		pl->quota[pl->key[i].index]++;
}

void
place_quotas(struct place *pl)
{
	struct group *root = &pl->group[ROOT][0];

	for (unsigned level = ROOT; level < LEVELS; level++)
		for (unsigned i = 0; i < pl->seats; i++)
			pl->group[level][pl->in[level][i]].owned += pl->load[i];
	root->share = pl->q * pl->k;
	root->lo = root->hi = pl->k;
	root->pace = (struct pace){0, 1};
	for (unsigned level = ROOT; level < MACHINE; level++)
		for (unsigned i = 0; i < pl->groups[level]; i++) {
			struct group *g = &pl->group[level][i];
			struct pace at = g->pace;

			bound_parts(pl, level, g);
			if (!agrees(parts_amount(pl, level, g, at), at, g->share))
				at = parts_pace(pl, level, g);
			divide(pl, level, g, at);
			for (unsigned j = g->kids; level + 1 < MACHINE && j < g->kids_end;
			     j++)
				g->base += pl->group[level + 1][j].lo;
		}
	for (unsigned m = 0; m < pl->machines; m++)
		divide_machine(pl, m);
}
