/*
 * Figure 8 of the paper: load balancing efficiency of the partitioning strategies
 * against the size of the membership data that each node keeps; S=30, N=3.
 *
 * Loads are exact: each key weighs what its popularity is, and all its owners bear
 * it.  Popularity falls with the rank as 1 / rank ^ 0.5: the hottest of a million
 * keys has 0.05 % of all requests.  (With an exponent of 1 it has 7 %, and which
 * node that key is on is all that one sees: the paper too says that there must be
 * enough keys at the popular end.)
 */
#include "test/figures/chart.h"
#include "test/figures/rings.h"

#include <math.h>
#include <stdio.h>

enum { NODES = 30, COPIES = 3, POINTS_MAX = 16, EQUAL_Q = 1024 };

struct point {
	unsigned parameter; /* T or Q */
	double efficiency;  /* sum, then mean */
	double worst;
	double placement_bytes, view_bytes;
};

struct curve {
	enum strategy strategy;
	size_t count;
	struct point point[POINTS_MAX];
};

static struct rings_setup
setup_of(const struct curve *c, const struct point *p)
{
	struct rings_setup o = {.strategy = c->strategy, .nodes = NODES, .n = COPIES,
	    .partitions = p->parameter, .sizes = p->view_bytes <= 0};

	if (c->strategy == TOKENS || c->strategy == TOKENS_EQUAL) {
		o.tokens = p->parameter;
		o.partitions = EQUAL_Q;
	}
	return o;
}

static void
curves_begin(struct curve curve[STRATEGIES], bool small)
{
	static const unsigned first[STRATEGIES] = {1, 1, NODES, 16};
	static const unsigned last[STRATEGIES] = {1024, 1024, NODES * 2048, 65536};

	for (unsigned s = 0; s < STRATEGIES; s++) {
		curve[s] = (struct curve){.strategy = (enum strategy)s};
		for (unsigned v = first[s]; v <= last[s]; v *= small ? 8 : 2)
			curve[s].point[curve[s].count++] = (struct point){.parameter = v, .worst = 1};
	}
}

static void
measure(struct curve *c, const struct keys *k, struct rng *rng)
{
	for (size_t i = 0; i < c->count; i++) {
		struct rings_setup o = setup_of(c, &c->point[i]);
		struct spread l;
		double e;

		spread_init(&l, &o, rng);
		e = spread_efficiency(&l, k);
		c->point[i].efficiency += e;
		c->point[i].worst = fmin(c->point[i].worst, e);
		if (o.sizes) {
			c->point[i].placement_bytes = (double)l.placement_bytes;
			c->point[i].view_bytes = (double)l.view_bytes;
		}
		spread_fini(&l);
	}
}

static void
print_curves(const struct curve curve[STRATEGIES])
{
	for (unsigned s = 0; s < STRATEGIES; s++) {
		const struct curve *c = &curve[s];

		printf("\n    %s\n    %7s  %15s  %12s  %10s  %6s\n", strategy_name[s],
		    s < EQUAL ? "T" : "Q", "placement bytes", "with records", "efficiency", "worst");
		for (size_t i = 0; i < c->count; i++)
			printf("    %7u  %15.0f  %12.0f  %10.3f  %6.3f\n", c->point[i].parameter,
			    c->point[i].placement_bytes, c->point[i].view_bytes,
			    c->point[i].efficiency, c->point[i].worst);
	}
}

static void
print_summary(const struct curve curve[STRATEGIES])
{
	static const char *const paper[STRATEGIES] = {"0.52, 0.96, 0.96", "-, 0.88, 0.84",
	    "0.86, 0.99, 0.99", "-"};

	printf("\n    %-32s  %-18s  %-18s  %s\n", "efficiency: least, most, last", "paper (read off)",
	    "here", "placement bytes for 0.85 and more");
	for (unsigned s = 0; s < STRATEGIES; s++) {
		const struct curve *c = &curve[s];
		double least = 1, most = 0, enough = 0;

		for (size_t i = c->count; i-- > 0;) {
			least = fmin(least, c->point[i].efficiency);
			most = fmax(most, c->point[i].efficiency);
		}
		for (size_t i = c->count; i-- > 0 && c->point[i].efficiency >= 0.85;)
			enough = c->point[i].placement_bytes;
		printf("    %-32s  %-18s  %.2f, %.2f, %.2f    ", strategy_name[s], paper[s], least, most,
		    c->point[c->count - 1].efficiency);
		if (enough > 0)
			printf("%.0f\n", enough);
		else
			printf("never for good\n");
	}
}

static void
draw(const struct figure *g, const struct curve curve[STRATEGIES])
{
	double x[STRATEGIES][POINTS_MAX], y[STRATEGIES][POINTS_MAX];
	struct chart chart = {.title = "Figure 8: load balancing efficiency, S=30, N=3",
	    .x_label = "membership data of a node, encoded, in bytes", .y_label = "average / maximum load",
	    .x_log = true, .y_low = 0.4, .y_high = 1, .count = STRATEGIES};

	for (unsigned s = 0; s < STRATEGIES; s++) {
		for (size_t i = 0; i < curve[s].count; i++) {
			x[s][i] = curve[s].point[i].view_bytes;
			y[s][i] = curve[s].point[i].efficiency;
		}
		chart.series[s] = (struct series){strategy_name[s], x[s], y[s], curve[s].count};
	}
	figure_chart(g, "figure8", &chart);
}

/* The same keys, but the most popular ones are more so. */
static void
print_skewed(size_t keys_count, struct rng *rng)
{
	static const double exponents[] = {0, 0.5, 0.8, 1};

	printf("\n    ours, Q=1024, by popularity 1 / rank ^ exponent\n    %8s  %16s  %10s\n", "exponent",
	    "of hottest key, %", "efficiency");
	for (size_t i = 0; i < sizeof(exponents) / sizeof(exponents[0]); i++) {
		const struct rings_setup o = {.strategy = OURS, .nodes = NODES, .n = COPIES,
		    .partitions = 1024};
		struct spread l;
		struct keys k;

		keys_init(&k, keys_count, exponents[i], 1);
		spread_init(&l, &o, rng);
		printf("    %8.1f  %16.4f  %10.3f\n", exponents[i], 100 / k.sum[k.count],
		    spread_efficiency(&l, &k));
		spread_fini(&l);
		keys_fini(&k);
	}
}

int
main(int argc, char **argv)
{
	struct figure g = figure_of(argc, argv);
	unsigned seeds = g.small ? 2 : 10;
	size_t keys = g.small ? 50000 : 1000000;
	struct curve curve[STRATEGIES];
	struct rng rng = {.state = 8};

	curves_begin(curve, g.small);
	for (unsigned seed = 0; seed < seeds; seed++) {
		struct keys k;

		keys_init(&k, keys, 0.5, seed);
		for (unsigned s = 0; s < STRATEGIES; s++)
			measure(&curve[s], &k, &rng);
		keys_fini(&k);
	}
	for (unsigned s = 0; s < STRATEGIES; s++)
		for (size_t i = 0; i < curve[s].count; i++)
			curve[s].point[i].efficiency /= seeds;
	printf("Figure 8: load balancing efficiency (average / maximum load of a node), S=%d, N=%d\n",
	    NODES, COPIES);
	printf("    %zu keys, popularity 1 / rank ^ 0.5, means of %u random rings; strategy 2: Q=%d;\n"
	       "    bytes as encoded: a token 16, a node 2; with records: and what is told of members\n",
	    keys, seeds, EQUAL_Q);
	print_summary(curve);
	print_curves(curve);
	print_skewed(keys, &rng);
	draw(&g, curve);
	return 0;
}
