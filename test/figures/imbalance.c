/*
 * Figure 6 of the paper: the fraction of nodes out of balance (load more than 15 %
 * off the average of a window of 30 minutes), while the load of a day goes from an
 * eighth of its peak to the peak and back.
 *
 * The paper's explanation: with much load many popular keys are in use, which even
 * each other out; with little load there are few.  So here the number of keys in use
 * in a window is in proportion to its load; it is the one number that the paper does
 * not tell, hence several are tried.  A key in use gets ten requests on average, by
 * 1 / rank ^ 0.5 among the keys in use, and all its owners bear each.
 */
#include "test/figures/chart.h"
#include "test/figures/rings.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NODES = 200, COPIES = 3, WINDOWS = 48, TOKENS_EACH = 128, PARTITIONS = 4096, REQUESTS = 10 };
enum { KINDS = 2 }; /* tokens; ours */

struct day {
	unsigned keys;                 /* in use at the peak */
	double load[WINDOWS];          /* 1 = the peak */
	double off[KINDS][WINDOWS];    /* sum, then mean */
};

/* A day of traffic: least at its ends. */
static double
load_at(unsigned window)
{
	double wave = 0.5 - 0.5 * cos(2 * M_PI * window / WINDOWS);

	return 0.125 + 0.875 * wave;
}

static double
off_balance(const struct spread *l, const uint64_t *load)
{
	double mean = 0;
	unsigned off = 0;

	for (unsigned i = 0; i < l->nodes; i++)
		mean += (double)load[i] / l->nodes;
	for (unsigned i = 0; i < l->nodes; i++)
		off += fabs((double)load[i] - mean) > 0.15 * mean;
	return (double)off / l->nodes;
}

/* The keys in use are others in each window; which, is the same for both layouts. */
static void
window_run(struct day *d, unsigned window, const struct spread l[KINDS], struct rng *rng)
{
	size_t keys = (size_t)(d->load[window] * d->keys), rank;
	uint64_t load[KINDS][NODES], set = rng_next(rng);
	unsigned *hits = calloc(keys, sizeof(*hits));

	if (hits == NULL)
		exit(1);
	memset(load, 0, sizeof(load));
	for (size_t i = 0; i < keys * REQUESTS; i++) {
		double u = (double)(rng_next(rng) >> 11) * 0x1p-53;

		/* The sum of 1 / sqrt(rank) up to r is as sqrt(r). */
		rank = (size_t)(u * u * (double)keys);
		hits[rank < keys ? rank : keys - 1]++;
	}
	for (size_t i = 0; i < keys; i++) {
		uint64_t at = mix64(set + i);

		for (unsigned k = 0; k < KINDS; k++) {
			size_t p = spread_find(&l[k], at);

			for (unsigned n = 0; n < COPIES; n++)
				load[k][l[k].owners[p * COPIES + n]] += hits[i];
		}
	}
	for (unsigned k = 0; k < KINDS; k++)
		d->off[k][window] += off_balance(&l[k], load[k]);
	free(hits);
}

/* Mean of the windows with a load between these. */
static double
mean_of(const struct day *d, unsigned kind, double from, double to)
{
	double sum = 0;
	unsigned count = 0;

	for (unsigned i = 0; i < WINDOWS; i++)
		if (d->load[i] >= from && d->load[i] <= to) {
			sum += d->off[kind][i];
			count++;
		}
	return 100 * sum / count;
}

static void
draw(const struct figure *g, const struct day *d)
{
	double x[WINDOWS];
	char title[100];
	struct chart chart = {.title = title, .x_label = "hour", .y_label = "fraction", .y_low = 0,
	    .y_high = 1, .count = 3};

	snprintf(title, sizeof(title), "Figure 6: nodes out of balance, %u keys in use at the peak", d->keys);
	for (unsigned i = 0; i < WINDOWS; i++)
		x[i] = i * 24.0 / WINDOWS;
	chart.series[0] = (struct series){"nodes out of balance: strategy 1", x, d->off[0], WINDOWS};
	chart.series[1] = (struct series){"ours", x, d->off[1], WINDOWS};
	chart.series[2] = (struct series){"load, of its peak", x, d->load, WINDOWS};
	figure_chart(g, "figure6", &chart);
}

int
main(int argc, char **argv)
{
	static const unsigned keys[] = {10000, 30000, 100000, 300000};
	struct figure g = figure_of(argc, argv);
	const struct rings_setup setup[KINDS] = {
	    {.strategy = TOKENS, .nodes = NODES, .n = COPIES, .tokens = TOKENS_EACH},
	    {.strategy = OURS, .nodes = NODES, .n = COPIES, .partitions = PARTITIONS}};
	unsigned days = g.small ? 1 : 3;
	struct rng rng = {.state = 6};

	printf("Figure 6: nodes whose load is more than 15 %% off the average, in %%; S=%d, N=%d\n",
	    NODES, COPIES);
	printf("    simulated days: %u, each of other rings; strategy 1: T=%d; ours: Q=%d;\n"
	       "    low: load at most a quarter of the peak, high: at least three quarters\n\n",
	    days, TOKENS_EACH, PARTITIONS);
	printf("    keys in use at the peak   strategy 1: low  high   ours: low  high\n");
	for (size_t i = 0; i < (g.small ? 2 : sizeof(keys) / sizeof(keys[0])); i++) {
		struct day d = {.keys = keys[i]};

		for (unsigned w = 0; w < WINDOWS; w++)
			d.load[w] = load_at(w);
		for (unsigned day = 0; day < days; day++) {
			struct spread l[KINDS];

			for (unsigned k = 0; k < KINDS; k++)
				spread_init(&l[k], &setup[k], &rng);
			for (unsigned w = 0; w < WINDOWS; w++)
				window_run(&d, w, l, &rng);
			for (unsigned k = 0; k < KINDS; k++)
				spread_fini(&l[k]);
		}
		for (unsigned k = 0; k < KINDS; k++)
			for (unsigned w = 0; w < WINDOWS; w++)
				d.off[k][w] /= days;
		printf("    %23u   %15.1f  %4.1f   %9.1f  %4.1f\n", d.keys, mean_of(&d, 0, 0, 0.25),
		    mean_of(&d, 0, 0.75, 1), mean_of(&d, 1, 0, 0.25), mean_of(&d, 1, 0.75, 1));
		if (i == (g.small ? 1 : 2))
			draw(&g, &d);
	}
	printf("    paper: about 20 at low load, about 10 at high load (its number of keys is not told)\n");
	return 0;
}
