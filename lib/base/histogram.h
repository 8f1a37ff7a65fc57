/*
 * A histogram of latencies: 16 steps to each doubling, so a quantile is right
 * to about 6 percent.  Values are microseconds or whatever the caller counts.
 */
#ifndef DYN_HISTOGRAM_H
#define DYN_HISTOGRAM_H

#include "base/base.h"

#define HISTOGRAM_BUCKETS 640 /* up to 2^40 */

struct histogram {
	uint64_t bucket[HISTOGRAM_BUCKETS];
	uint64_t count, sum, max;
};

void histogram_add(struct histogram *, uint64_t value);
void histogram_join(struct histogram *, const struct histogram *);
/* Smallest value that at least share/1000 of all do not exceed; 0 if empty. */
uint64_t histogram_quantile(const struct histogram *, unsigned share);
void histogram_latency(const struct histogram *, struct dyn_latency *);

#endif
