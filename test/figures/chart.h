/*
 * Plots as SVG, and what the programs of `make figures` have in common.
 *
 *	chart.c         lines or bars on linear or logarithmic axes
 *	rings.c         the paper's partitioning strategies, and ours
 *	strategies.c    Figure 8: efficiency against the size of membership data
 *	imbalance.c     Figure 6: nodes out of balance over a day
 *	durability.c    Figure 5: the 99.9th percentile of puts, by durability
 *	coordination.c  Table 2: who coordinates
 *	versions.c      6.3: versions returned by a read
 *	wellformed.c    is a file well-formed XML?
 *
 * Each program but the last is called as `PROGRAM [--small] DIR`: it writes its
 * plots to DIR and its part of the text table to stdout.  --small is for tests:
 * seconds instead of a minute, and numbers that say little.
 */
#ifndef FIGURES_CHART_H
#define FIGURES_CHART_H

#include <stdbool.h>
#include <stddef.h>

enum { SERIES_MAX = 6 };

struct series {
	const char *name;
	const double *x; /* of bars: NULL */
	const double *y;
	size_t count;
};

/* Lines if groups is NULL, else bars: y[i] of each series stands above groups[i].
 * Points that a logarithmic axis cannot show are left out. */
struct chart {
	const char *title, *x_label, *y_label;
	const char *const *groups;
	bool x_log, y_log;
	double y_low, y_high; /* both 0: from the data */
	struct series series[SERIES_MAX];
	size_t count;
};

struct figure {
	bool small;
	const char *dir;
};

/* Reads the command line; exits if it is wrong. */
struct figure figure_of(int argc, char **argv);
/* Writes DIR/name.svg; exits with a message if it cannot. */
void figure_chart(const struct figure *, const char *name, const struct chart *);
/* The same to any file; false and errno if it could not be written. */
bool chart_write(const struct chart *, const char *path);

/* Of so many numbers, which it sorts. */
double figure_median(double *, size_t count);

#endif
