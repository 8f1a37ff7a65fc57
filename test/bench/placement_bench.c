/*
 * How good are tables, how much do changes move, and how long does it take?
 *
 * For rings of some layouts: the largest and the smallest load against the best
 * share that machines and zones allow (test/layout.c), faults, and moves when
 * single nodes join and leave against the exact minimum; the times are processor
 * times of one table_next.
 *
 *	make placement
 */
#include "test/layout.h"

#include <stdio.h>
#include <time.h>

static double
seconds(void)
{
	return (double)clock() / CLOCKS_PER_SEC;
}

/* Largest load / best share rounded up, smallest / rounded down: the worst of all
 * seats, 1 is perfect. */
static void
loads(const struct table *t, double *above, double *below)
{
	double share[LAYOUT_MAX];

	layout_shares(t, share);
	for (unsigned i = 0; i < t->seats_count; i++) {
		unsigned floor = (unsigned)(share[i] + 1e-6), load = table_load(t, i);
		double ceil = floor + (share[i] - floor > 1e-6);

		*above = MAX(*above, load / ceil);
		*below = MIN(*below, load / (double)floor);
	}
}

static void
balance(unsigned zones, bool mixed)
{
	double above = 0, below = 2;
	unsigned doubled = 0, violations = 0;

	for (unsigned s = MAX(3, zones); s <= 100; s++) {
		struct layout l;
		struct table *t;

		layout_init(&l, s);
		for (unsigned i = 0; i < s; i++)
			layout_add(&l, i < zones ? i : (unsigned)rng_below(&l.rng, zones),
			    0, mixed ? 25u << (i % 3) : 100);
		t = layout_table(&l, NULL, 1024, 3);
		loads(t, &above, &below);
		doubled += layout_doubled(t);
		violations += layout_zone_violations(t);
		table_unref(t);
	}
	printf("Q 1024, N 3, to 100 nodes, %u zone%s, weights %-5s  %.3f %.3f  %u %u\n",
	    zones, zones == 1 ? " " : "s", mixed ? "1:2:4" : "equal", above, below,
	    doubled, violations);
}

static void
layout(const char *name, const unsigned *nodes, unsigned zones, unsigned n)
{
	double above = 0, below = 2;
	struct layout l;
	struct table *t;

	layout_init(&l, 1);
	layout_fill(&l, nodes, zones, false);
	t = layout_table(&l, NULL, 512, n);
	loads(t, &above, &below);
	printf("Q 512, N %u, zones of %-27s      %.3f %.3f  %u %u\n", n, name, above,
	    below, layout_doubled(t), layout_zone_violations(t));
	table_unref(t);
}

static void
moves(unsigned zones, bool mixed, bool join)
{
	unsigned all = 0, least = 0, changes = 0;
	double worst = 0;

	for (unsigned s = 6; s <= 30; s += 3) {
		struct layout l;
		struct table *t, *u;
		unsigned m, best;

		layout_init(&l, s * 7 + zones);
		for (unsigned i = 0; i < s; i++)
			layout_add(&l, i % zones, 0, mixed ? 25u << (i % 3) : 100);
		t = layout_table(&l, NULL, 1024, 3);
		if (join)
			layout_add(&l, s % zones, 0, 100);
		else
			layout_remove(&l, s / 2);
		u = layout_table(&l, t, 0, 0);
		m = layout_moves(t, u);
		best = layout_least_moves(t, u);
		worst = MAX(worst, (double)m / best);
		all += m;
		least += best;
		changes++;
		table_unref(t);
		table_unref(u);
	}
	printf("Q 1024, 6 to 30 nodes, %u zone%s, weights %-5s, one %s  %6u of %6u  %.3f "
	       " %.3f\n",
	    zones, zones == 1 ? " " : "s", mixed ? "1:2:4" : "equal",
	    join ? "joins " : "leaves", all, least, (double)all / least, worst);
}

static void
times(unsigned racks)
{
	struct layout l;
	struct table *t, *u, *v;
	double start, first, join, weights;

	layout_init(&l, 1);
	for (unsigned i = 0; i < 299; i++)
		layout_add(&l, i % 5, i / 5 % racks, 25u << (i % 3));
	start = seconds();
	t = layout_table(&l, NULL, 4096, 3);
	first = seconds() - start;
	layout_add(&l, 4, 0, 100);
	start = seconds();
	u = layout_table(&l, t, 0, 0);
	join = seconds() - start;
	for (unsigned i = 0; i < 300; i++)
		l.seat[i].weight = 25u << rng_below(&l.rng, 3);
	start = seconds();
	v = layout_table(&l, u, 0, 0);
	weights = seconds() - start;
	printf("Q 4096, 300 nodes, 5 zones, racks %u: first %.3f s, a join %.3f s, all "
	       "weights "
	       "new %.3f s\n",
	    racks, first, join, weights);
	table_unref(t);
	table_unref(u);
	table_unref(v);
}

int
main(void)
{
	static const unsigned hard[] = {3, 3, 3, 4}, even[] = {3, 3, 3};

	printf(
	    "largest load / best, smallest / best, doubled machines, zone violations\n");
	balance(1, false);
	balance(3, false);
	balance(5, false);
	balance(3, true);
	balance(5, true);
	layout("[3,3,3,4]", hard, 4, 4);
	layout("[3,3,3]", even, 3, 3);
	printf("moves of fewest, average, worst\n");
	for (unsigned zones = 1; zones <= 5; zones += 2)
		for (unsigned i = 0; i < 4; i++)
			moves(zones, i & 1, i < 2);
	for (unsigned racks = 1; racks <= 4; racks += 3)
		times(racks);
	return 0;
}
