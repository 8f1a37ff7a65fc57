/*
 * Rings with zones, and what their tables should be.  See layout.h.
 */
#include "test/layout.h"

#include <stdlib.h>

void
layout_init(struct layout *l, uint64_t seed)
{
	memset(l, 0, sizeof(*l));
	l->rng.state = seed * 1000003 + 17;
}

void
layout_add(struct layout *l, unsigned zone, unsigned rack, unsigned weight)
{
	struct seat *s = &l->seat[l->count++];

	DYN_ASSERT(l->count <= LAYOUT_MAX);
	memset(s, 0, sizeof(*s));
	for (unsigned i = 0; i < 16; i++) {
		s->node.bytes[i] = (unsigned char)rng_next(&l->rng);
		s->machine.b[i] = (unsigned char)rng_next(&l->rng);
	}
	s->zone = mix64(zone + 100);
	s->rack = mix64(rack + 1000);
	s->weight = weight;
}

void
layout_fill(struct layout *l, const unsigned *nodes, unsigned zones, bool mixed)
{
	for (unsigned z = 0; z < zones; z++)
		for (unsigned i = 0; i < nodes[z]; i++)
			layout_add(l, z, 0, mixed ? 25u << (l->count % 3) : 100);
}

void
layout_remove(struct layout *l, unsigned at)
{
	l->seat[at] = l->seat[--l->count];
}

struct table *
layout_table(
    const struct layout *l, const struct table *parent, unsigned partitions, unsigned n)
{
	struct table *t;

	DYN_ASSERT(table_next(&t, parent, partitions, n, l->seat, l->count) == 0);
	return t;
}

/* ------------------------------------------------------------------- faults */

/* Parts are named by their first seats. */
struct parts {
	unsigned of[LAYOUT_MAX];       /* [seat] */
	unsigned machines[LAYOUT_MAX]; /* [part] */
};

struct map {
	unsigned seats;
	struct parts ring, zone, rack, machine;
};

static bool
same_zone(const struct table *t, unsigned a, unsigned b)
{
	return t->seats[a].zone == t->seats[b].zone;
}

static bool
same_rack(const struct table *t, unsigned a, unsigned b)
{
	return same_zone(t, a, b) && t->seats[a].rack == t->seats[b].rack;
}

static bool
same_machine(const struct table *t, unsigned a, unsigned b)
{
	return digest_compare(&t->seats[a].machine, &t->seats[b].machine) == 0;
}

static unsigned
first_seat(const struct table *t, unsigned of,
    bool (*same)(const struct table *, unsigned, unsigned))
{
	unsigned i = 0;

	while (!same(t, i, of))
		i++;
	return i;
}

static void
map_init(struct map *m, const struct table *t)
{
	memset(m, 0, sizeof(*m));
	m->seats = (unsigned)t->seats_count;
	DYN_ASSERT(m->seats <= LAYOUT_MAX);
	for (unsigned i = 0; i < m->seats; i++) {
		m->zone.of[i] = first_seat(t, i, same_zone);
		m->rack.of[i] = first_seat(t, i, same_rack);
		m->machine.of[i] = first_seat(t, i, same_machine);
		if (m->machine.of[i] != i)
			continue;
		m->ring.machines[0]++;
		m->zone.machines[m->zone.of[i]]++;
		m->rack.machines[m->rack.of[i]]++;
		m->machine.machines[i] = 1;
	}
}

/* Is i the name of a part of this whole? */
static bool
is_part(const struct parts *whole, unsigned of, const struct parts *part, unsigned i)
{
	return part->of[i] == i && whole->of[i] == of;
}

/* An even spread of `copies` over the parts of a whole: no part has more than
 * this, unless it has fewer machines. */
static unsigned
height(const struct map *m, const struct parts *whole, unsigned of,
    const struct parts *part, unsigned copies)
{
	for (unsigned h = 0;; h++) {
		unsigned sum = 0;

		for (unsigned i = 0; i < m->seats; i++)
			if (is_part(whole, of, part, i))
				sum += MIN(h, part->machines[i]);
		if (sum >= copies)
			return h;
	}
}

unsigned
layout_doubled(const struct table *t)
{
	unsigned doubled = 0;

	for (unsigned p = 0; p < t->partitions; p++) {
		const uint16_t *o;
		unsigned count = table_owners(t, p, &o);

		for (unsigned i = 0; i < count; i++)
			for (unsigned j = 0; j < i; j++)
				doubled += same_machine(t, o[i], o[j]);
	}
	return doubled;
}

/* Is a partition spread unevenly over the parts of a whole, though machines permit
 * better? */
static bool
uneven(const struct map *m, const uint16_t *owners, unsigned count,
    const struct parts *whole, unsigned of, const struct parts *part)
{
	unsigned copies[LAYOUT_MAX] = {0}, total = 0, h;

	for (unsigned i = 0; i < count; i++) {
		copies[part->of[owners[i]]]++;
		total += whole->of[owners[i]] == of;
	}
	h = height(m, whole, of, part, total);
	for (unsigned i = 0; i < m->seats; i++)
		if (is_part(whole, of, part, i) &&
		    (copies[i] > h ||
			(h > 0 && copies[i] < MIN(h - 1, part->machines[i]))))
			return true;
	return false;
}

unsigned
layout_zone_violations(const struct table *t)
{
	unsigned violations = 0;
	struct map m;

	map_init(&m, t);
	for (unsigned p = 0; p < t->partitions; p++) {
		const uint16_t *o;
		unsigned count = table_owners(t, p, &o);

		violations += uneven(&m, o, count, &m.ring, 0, &m.zone);
	}
	return violations;
}

unsigned
layout_rack_violations(const struct table *t)
{
	unsigned violations = 0;
	struct map m;

	map_init(&m, t);
	for (unsigned p = 0; p < t->partitions; p++) {
		const uint16_t *o;
		unsigned count = table_owners(t, p, &o);

		for (unsigned i = 0; i < m.seats; i++)
			if (m.zone.of[i] == i)
				violations += uneven(&m, o, count, &m.zone, i, &m.rack);
	}
	return violations;
}

/* ------------------------------------------------------------------- shares */

/* What the machines of a part get at this pace, none more than Q; `weight` are
 * those of the machines. */
static double
poured(const struct map *m, const double *weight, const struct parts *part, unsigned of,
    double q, double pace)
{
	double sum = 0;

	for (unsigned i = 0; i < m->seats; i++)
		if (m->machine.of[i] == i && part->of[i] == of)
			sum += weight[i] * pace < q ? weight[i] * pace : q;
	return sum;
}

static double
clip(double x, double least, double most)
{
	return x < least ? least : x > most ? most : x;
}

/* Divide what a whole has among its parts. */
static void
share_parts(const struct map *m, const double *weight, double q,
    const struct parts *whole, unsigned of, const struct parts *part, double have,
    double *share)
{
	double low = 0, high = 1e6, copies = have / q;
	unsigned up = (unsigned)copies + (copies - (unsigned)copies > 1e-9);
	unsigned h = height(m, whole, of, part, up);

	for (int round = 0; round < 100; round++) {
		double pace = (low + high) / 2, sum = 0;

		for (unsigned i = 0; i < m->seats; i++) {
			if (!is_part(whole, of, part, i))
				continue;
			share[i] = clip(poured(m, weight, part, i, q, pace),
			    MIN(h == 0 ? 0 : h - 1, part->machines[i]) * q,
			    MIN(h, part->machines[i]) * q);
			sum += share[i];
		}
		if (sum < have)
			low = pace;
		else
			high = pace;
	}
}

void
layout_shares(const struct table *t, double *share)
{
	double weight[LAYOUT_MAX] = {0}, zone[LAYOUT_MAX] = {0}, rack[LAYOUT_MAX] = {0};
	double machine[LAYOUT_MAX] = {0}, q = t->partitions;
	struct map m;

	map_init(&m, t);
	for (unsigned i = 0; i < m.seats; i++)
		weight[m.machine.of[i]] += t->seats[i].weight;
	share_parts(
	    &m, weight, q, &m.ring, 0, &m.zone, MIN(t->n, m.ring.machines[0]) * q, zone);
	for (unsigned i = 0; i < m.seats; i++)
		if (m.zone.of[i] == i)
			share_parts(&m, weight, q, &m.zone, i, &m.rack, zone[i], rack);
	for (unsigned i = 0; i < m.seats; i++)
		if (m.rack.of[i] == i)
			share_parts(
			    &m, weight, q, &m.rack, i, &m.machine, rack[i], machine);
	for (unsigned i = 0; i < m.seats; i++)
		share[i] = machine[m.machine.of[i]] * t->seats[i].weight /
			   weight[m.machine.of[i]];
}

double
layout_unbalance(const struct table *t)
{
	double share[LAYOUT_MAX], most = 0;

	layout_shares(t, share);
	for (unsigned i = 0; i < t->seats_count; i++) {
		double d = table_load(t, i) - share[i];

		d = d < 0 ? -d : d;
		most = d > most ? d : most;
	}
	return most;
}

/* -------------------------------------------------------------------- moves */

unsigned
layout_moves(const struct table *from, const struct table *to)
{
	unsigned moves = 0;

	for (unsigned p = 0; p < to->partitions; p++) {
		const uint16_t *o;
		unsigned count = table_owners(to, p, &o);

		for (unsigned i = 0; i < count; i++) {
			int at = table_find(from, &to->seats[o[i]].node);

			moves += at < 0 || !table_owns(from, p, (unsigned)at);
		}
	}
	return moves;
}

#define MUST 100000 /* the reward of a copy that a zone has to have */

struct arc {
	unsigned to, room;
	int cost;
	int next;
};

struct net {
	struct arc *arc;
	int *head, *dist, *by;
	unsigned *queue;
	bool *queued;
	unsigned nodes, arcs;
};

static void
net_arc(struct net *g, unsigned a, unsigned b, unsigned room, int cost)
{
	if (room == 0)
		return;
	g->arc[g->arcs] = (struct arc){b, room, cost, g->head[a]};
	g->head[a] = (int)g->arcs++;
	g->arc[g->arcs] = (struct arc){a, 0, -cost, g->head[b]};
	g->head[b] = (int)g->arcs++;
}

/* One more unit along the cheapest way from node 0 to node 1. */
static bool
net_step(struct net *g, int *cost)
{
	unsigned first = 0, count = 1;

	for (unsigned i = 0; i < g->nodes; i++) {
		g->dist[i] = INT32_MAX / 2;
		g->queued[i] = false;
	}
	g->dist[0] = 0;
	g->queue[0] = 0;
	while (count > 0) {
		unsigned a = g->queue[first];

		first = (first + 1) % g->nodes;
		count--;
		g->queued[a] = false;
		for (int i = g->head[a]; i >= 0; i = g->arc[i].next) {
			const struct arc *arc = &g->arc[i];
			int d = g->dist[a] + arc->cost;

			if (arc->room == 0 || d >= g->dist[arc->to])
				continue;
			g->dist[arc->to] = d;
			g->by[arc->to] = i;
			if (!g->queued[arc->to]) {
				g->queued[arc->to] = true;
				g->queue[(first + count++) % g->nodes] = arc->to;
			}
		}
	}
	if (g->dist[1] >= INT32_MAX / 2)
		return false;
	/* Without the rewards. */
	*cost += (g->dist[1] + MUST * 20 + MUST / 2) % MUST - MUST / 2;
	for (unsigned a = 1; a != 0; a = g->arc[g->by[a] ^ 1].to) {
		g->arc[g->by[a]].room--;
		g->arc[g->by[a] ^ 1].room++;
	}
	return true;
}

/* Copies that a part may have of each partition, over an arc from a to b. */
static void
net_part(struct net *g, const struct table *to, const struct parts *part, unsigned of,
    unsigned a, unsigned b)
{
	unsigned quota = 0;

	for (unsigned i = 0; i < to->seats_count; i++)
		quota += part->of[i] == of ? table_load(to, i) : 0;
	net_arc(g, a, b, quota / to->partitions, -MUST);
	net_arc(g, a, b, quota % to->partitions > 0, 0);
}

/* Nodes: source 0, sink 1, partitions, partition and zone, partition and rack,
 * seats. */
static void
net_build(struct net *g, const struct table *from, const struct table *to)
{
	unsigned q = to->partitions, s = (unsigned)to->seats_count;
	unsigned seats = 2 + q + 2 * q * s;
	struct map m;

	map_init(&m, to);
	for (unsigned i = 0; i < s; i++)
		net_arc(g, seats + i, 1, table_load(to, i), 0);
	for (unsigned p = 0; p < q; p++)
		for (unsigned i = 0; i < s; i++) {
			int was = table_find(from, &to->seats[i].node);
			unsigned zone = 2 + q + p * s + m.zone.of[i];
			unsigned rack = 2 + q + q * s + p * s + m.rack.of[i];

			if (m.zone.of[i] == i)
				net_part(g, to, &m.zone, i, 2 + p, zone);
			if (m.rack.of[i] == i)
				net_part(g, to, &m.rack, i, zone, rack);
			net_arc(g, rack, seats + i, 1,
			    was < 0 || !table_owns(from, p, (unsigned)was));
		}
}

unsigned
layout_least_moves(const struct table *from, const struct table *to)
{
	unsigned q = to->partitions, s = (unsigned)to->seats_count, places = 0;
	struct net g = {.nodes = 2 + q + 2 * q * s + s};
	int cost = 0;
	const uint16_t *o;

	g.arc = calloc((size_t)q * s * 10 + 2 * q + 2 * s, sizeof(*g.arc));
	g.head = malloc(g.nodes * sizeof(*g.head));
	g.dist = malloc(g.nodes * sizeof(*g.dist));
	g.by = calloc(g.nodes, sizeof(*g.by));
	g.queue = malloc(g.nodes * sizeof(*g.queue));
	g.queued = malloc(g.nodes * sizeof(*g.queued));
	DYN_ASSERT(g.arc && g.head && g.dist && g.by && g.queue && g.queued);
	memset(g.head, 0xff, g.nodes * sizeof(*g.head));
	for (unsigned p = 0; p < q; p++) {
		unsigned count = table_owners(to, p, &o);

		net_arc(&g, 0, 2 + p, count, 0);
		places += count;
	}
	net_build(&g, from, to);
	for (; places > 0; places--)
		DYN_ASSERT(net_step(&g, &cost));
	free(g.arc);
	free(g.head);
	free(g.dist);
	free(g.by);
	free(g.queue);
	free(g.queued);
	return (unsigned)cost;
}
