/*
 * A histogram of latencies: 32 steps for each doubling, so that a percentile
 * is off by at most a thirtieth, from 1 microsecond to days, in 15 KiB.  Any
 * thread may add.
 */
#ifndef COMMON_HIST_H
#define COMMON_HIST_H

#include <stdatomic.h>
#include <stdint.h>

enum { HIST_STEPS = 32, HIST_SLOTS = 60 * HIST_STEPS };

/* Zeroed memory is an empty histogram. */
struct hist {
	atomic_uint_least64_t slots[HIST_SLOTS];
	atomic_uint_least64_t count, sum, max;
};

void hist_add(struct hist *, uint64_t value);
uint64_t hist_count(struct hist *);
uint64_t hist_mean(struct hist *);
uint64_t hist_max(struct hist *);
/* The value below which the share (0..1) of all stays; 0 if it is empty. */
uint64_t hist_percentile(struct hist *, double share);

#endif
