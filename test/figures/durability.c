/*
 * Figure 5 of the paper: the 99.9th percentile of writes with and without a write
 * buffer, over a day.
 *
 * libdyn has no such buffer yet.  What is here is the nearest that it has: the level
 * of durability that a put asks for.  `disk` waits for an fsync at W nodes, `os` for
 * the operating system, `memory` for the process, which writes in the background as
 * the paper's buffer does; but it writes everything at once, and does not collect
 * writes for later.
 *
 * Three peers and a load generator on loopback, a closed loop of puts; slices of each
 * level in turn, so that what else this machine does meets all alike.
 */
#include "test/bench/bench.h"
#include "test/figures/chart.h"

#include <stdio.h>

enum { LEVELS_COUNT = 3, SLICES_MAX = 16, IN_FLIGHT = 16, KEYS = 2000, VALUE = 1024 };

static const char *const level_name[LEVELS_COUNT] = {"disk", "os", "memory"};
static const enum dyn_durability level_of[LEVELS_COUNT] = {
    DYN_DURABLE_DISK, DYN_DURABLE_OS, DYN_DURABLE_MEMORY};

/* Of each slice, ms. */
struct found {
	double p999[LEVELS_COUNT][SLICES_MAX], p50[LEVELS_COUNT][SLICES_MAX];
	unsigned long long puts[LEVELS_COUNT], failed[LEVELS_COUNT];
};

static void
measure(struct found *f, unsigned slices, unsigned ms)
{
	struct job job = {.op = OP_PUT, .in_flight = IN_FLIGHT, .keys = KEYS, .size = VALUE};
	struct herd h = {.count = 0};
	struct outcome o;

	ring_start(&h, WHO_CLIENT);
	herd_work(&h, &job, &o);
	job.ms = ms;
	for (unsigned i = 0; i < slices; i++)
		for (unsigned l = 0; l < LEVELS_COUNT; l++) {
			job.durability = level_of[l];
			herd_work(&h, &job, &o);
			f->failed[l] += o.failed;
			f->p999[l][i] = o.p999 / 1000;
			f->p50[l][i] = o.p50 / 1000;
			f->puts[l] += o.count;
		}
	if (!herd_end(&h))
		die("a process of the ring ended with an error");
}

static void
draw(const struct figure *g, const struct found *f, unsigned slices)
{
	double x[SLICES_MAX];
	struct chart c = {.title = "Figure 5, with levels of durability in place of a write buffer",
	    .x_label = "slice of the run", .y_label = "99.9th percentile of puts, ms", .y_log = true,
	    .count = LEVELS_COUNT};

	for (unsigned i = 0; i < slices; i++)
		x[i] = i + 1;
	for (unsigned l = 0; l < LEVELS_COUNT; l++)
		c.series[l] = (struct series){level_name[l], x, f->p999[l], slices};
	figure_chart(g, "figure5", &c);
}

int
main(int argc, char **argv)
{
	struct figure g = figure_of(argc, argv);
	unsigned slices = g.small ? 2 : 10, ms = g.small ? 300 : 1200;
	double middle[LEVELS_COUNT];
	struct found f = {.puts = {0}};

	herd_signals();
	scratch_open(g.dir);
	measure(&f, slices, ms);
	draw(&g, &f, slices);
	printf("Figure 5: 99.9th percentile of puts by durability.  NOT the paper's write buffer, which\n"
	       "    libdyn does not have: here `memory` stands for buffered, `disk` for direct\n");
	printf("    three peers on loopback, N=3 W=2, %d puts of %d bytes in flight; medians of %u slices of "
	       "%u ms,\n    of each level in turn\n\n", IN_FLIGHT, VALUE, slices, ms);
	printf("    level      puts   p50 ms  p99.9 ms: least  median    most   of disk's   no answer in 5 s\n");
	for (unsigned l = 0; l < LEVELS_COUNT; l++) {
		double p50 = figure_median(f.p50[l], slices);

		middle[l] = figure_median(f.p999[l], slices);
		printf("    %-6s  %7llu  %7.2f  %15.2f  %6.2f  %6.2f  %8.2f x   %llu\n", level_name[l], f.puts[l],
		    p50, f.p999[l][0], middle[l], f.p999[l][slices - 1], middle[l] / middle[0], f.failed[l]);
	}
	printf("    paper, with a buffer of 1,000 objects: direct up to about 190 ms, buffered about 60 to 85 ms:"
	       "\n    \"a factor of 5 during peak traffic\"; here disk to memory: a factor of %.1f\n",
	    middle[0] / middle[2]);
	return 0;
}
