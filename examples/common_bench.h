/*
 * A closed loop of puts and gets against a bucket: so many calls are always in
 * flight, each is followed by the next when it ends.
 */
#ifndef COMMON_BENCH_H
#define COMMON_BENCH_H

#include "common_hist.h"
#include <dyn.h>
#include <stdbool.h>
#include <stdio.h>

struct bench_options {
	unsigned inflight; /* calls in flight */
	unsigned keys;     /* distinct keys, all written once before the clock starts */
	size_t size;       /* bytes of a value */
	unsigned seconds;  /* of the measured run */
	unsigned gets;     /* of 100 calls */
	struct dyn_call call; /* passed to each of them */
	bool progress;        /* lines to stderr while it runs */
};

struct bench_result {
	struct hist get, put;                  /* latencies of calls that succeeded */
	uint64_t run_us;                       /* how long the run took */
	uint64_t load_us;                      /* and the writes before it */
	atomic_uint_least64_t failed, unknown; /* not applied; perhaps applied */
	atomic_uint_least64_t busy;            /* refused by DYN_EBUSY, tried again */
	atomic_uint_least64_t missing;         /* gets that found nothing */
	atomic_int first_error;
};

/* Zeroed *result in.  Returns 0, or the error that kept it from running. */
int bench_run(dyn_bucket *, const struct bench_options *, struct bench_result *);
void bench_print(FILE *, const struct bench_options *, struct bench_result *);
void bench_json(FILE *, const struct bench_options *, struct bench_result *);

#endif
