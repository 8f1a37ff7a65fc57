/*
 * Section 6.3 of the paper: how many versions a read returns, under a load like that
 * of a shopping cart.
 *
 * Simulated rings (test/sim), as they are the only ones in which days pass in a
 * minute.  Each customer reads the own cart, thinks for up to a second, and writes it
 * back with the context of what was read; one time in so many it is the cart of
 * somebody else: a robot, a second browser.  Once as good as never, once often;
 * both without faults and with.  The paper says that the versions come from many
 * concurrent writers and not from failures; its failures are rarer than a crash every
 * 20 seconds, after which writes end without the customer knowing how.
 */
#include "test/figures/chart.h"
#include "test/sim/world.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { CASES = 4, COUNTS = 4 };

static const struct setting {
	const char *name;
	unsigned carts; /* one in so many is another's */
	bool faults;
} setting[CASES] = {
    {"one in 2,000", 2000, false},
    {"one in 2,000, faults", 2000, true},
    {"one in 20", 20, false},
    {"one in 20, faults", 20, true},
};

/* A crash every 20 seconds, connections that break, a split every 30 seconds. */
static struct swarm
swarm_of(const struct setting *s, unsigned seconds)
{
	struct swarm o = {.nodes = 5, .workers = 1, .copies = 3, .keys = SWARM_SESSIONS,
	    .sessions = SWARM_SESSIONS, .r = 2, .w = 2, .storm_ms = seconds * 1000, .op_gap_ms = 1000,
	    .hang_ms = 1, .commit_us = 2000, .mailbox_us = 50, .hint_bytes = 1 << 20,
	    .hint_age_ms = 86400000, .repair_ms = 10000, .walk_ms = 86400000, .collect_ms = 60000,
	    .carts = s->carts};

	if (s->faults) {
		o.crash_ms = 20000;
		o.break_ms = 5000;
		o.split_ms = 30000;
	}
	return o;
}

struct found {
	uint64_t reads, versions[COUNTS]; /* 1, 2, 3, more */
	double hours;
	unsigned calls, done;
};

static void
measure(struct found *f, const struct setting *s, unsigned runs, unsigned seconds)
{
	const struct swarm o = swarm_of(s, seconds);

	for (unsigned i = 0; i < runs; i++) {
		struct outcome out = world_run(&o, 6300 + i, false);

		if (out.broken > 0) {
			fprintf(stderr, "%u promises broken, %s, seed %u\n", out.broken, s->name, 6300 + i);
			exit(1);
		}
		/* A cart that was never written is no version. */
		for (unsigned k = 0; k < COUNTS; k++) {
			f->versions[k] += out.versions[k + 1];
			f->reads += out.versions[k + 1];
		}
		f->hours += seconds / 3600.0;
		f->calls += out.calls;
		f->done += out.done;
	}
}

static double
percent(const struct found *f, unsigned k)
{
	return f->reads > 0 ? 100 * (double)f->versions[k] / (double)f->reads : 0;
}

static void
draw(const struct figure *g, const struct found found[CASES])
{
	static const char *const groups[] = {"1 version", "2", "3", "4 or more"};
	static const double paper[] = {99.94, 0.00057, 0.00047, 0.00009};
	double y[CASES][COUNTS];
	struct chart c = {.title = "Section 6.3: versions that a read returned", .x_label = "",
	    .y_label = "% of reads", .groups = groups, .y_log = true, .count = CASES + 1};

	for (unsigned i = 0; i < CASES; i++) {
		for (unsigned k = 0; k < COUNTS; k++)
			y[i][k] = percent(&found[i], k);
		c.series[i] = (struct series){setting[i].name, NULL, y[i], COUNTS};
	}
	c.series[CASES] = (struct series){"the paper", NULL, paper, COUNTS};
	figure_chart(g, "versions", &c);
}

int
main(int argc, char **argv)
{
	struct figure g = figure_of(argc, argv);
	unsigned runs = g.small ? 1 : 20, seconds = g.small ? 60 : 900;
	struct found found[CASES] = {{.reads = 0}};

	printf("Section 6.3: versions returned by a read, in %% of reads\n");
	printf("    simulated rings of five, N=3 R=W=2, %d customers a ring who each read and write a cart, up to\n"
	       "    a second between; one time in so many that of another; %u rings of %u s for each line\n\n",
	    SWARM_SESSIONS, runs, seconds);
	printf("    %-20s  %10s  %9s  %8s  %8s  %8s  %8s\n", "another's cart", "reads", "calls ok", "1", "2", "3",
	    "more");
	for (unsigned i = 0; i < CASES; i++) {
		struct found *f = &found[i];

		measure(f, &setting[i], runs, seconds);
		printf("    %-20s  %10llu  %7.3f %%  %8.4f  %8.5f  %8.5f  %8.5f\n", setting[i].name,
		    (unsigned long long)f->reads, f->calls > 0 ? 100.0 * f->done / f->calls : 0, percent(f, 0),
		    percent(f, 1), percent(f, 2), percent(f, 3));
	}
	printf("    %-20s  %10s  %9s  %8.4f  %8.5f  %8.5f  %8.5f\n", "the paper, 24 h", "-", "-", 99.94, 0.00057,
	    0.00047, 0.00009);
	printf("    (the paper's numbers do not add up to 100; its carts are millions, of as many customers)\n");
	draw(&g, found);
	return 0;
}
