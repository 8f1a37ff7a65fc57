/*
 * Gets and puts of many keys by a few clients, whose outcome can be judged after
 * processes were killed and owners have changed.
 *
 * Each key has one writer, a thread, which reads it and then writes the next number
 * with the context of that read.  A call that fails is repeated a few times, as a
 * program would; its time is that until it went well.  What was begun and what was
 * acknowledged is in memory that all processes share.  test/cluster/load.h judges
 * more, and of fewer keys.
 */
#ifndef DYN_BENCH_TRAFFIC_H
#define DYN_BENCH_TRAFFIC_H

#include "test/cluster/ring.h"

#include <stdatomic.h>

enum { TRAFFIC_KEYS = 200000, TRAFFIC_SAMPLES = 1 << 20, TRAFFIC_PHASES = 4 };
enum { TRAFFIC_SIZE = 1024, TRAFFIC_RETRIES = 3, TRAFFIC_CLIENTS = 2 };
enum traffic_op { TRAFFIC_GET, TRAFFIC_PUT, TRAFFIC_OPS };

struct traffic_count {
	atomic_uint calls;
	atomic_uint again;   /* that failed at first */
	atomic_uint failed;  /* that failed each time */
	atomic_uint stale;   /* gets of less than was acknowledged before */
	atomic_uint samples; /* how many there are in us */
	uint32_t us[TRAFFIC_SAMPLES];
};

enum traffic_order { TRAFFIC_REST, TRAFFIC_FILL, TRAFFIC_RUN, TRAFFIC_CHECK, TRAFFIC_END };

struct traffic {
	unsigned keys, threads; /* in all clients together */
	unsigned pause_us;      /* after each call, while it runs */
	enum dyn_durability durability;
	atomic_uint order, next_thread, at_rest, phase;
	atomic_uint lost; /* keys of which a check did not find what was acknowledged */
	atomic_int last_rc;
	atomic_uint started[TRAFFIC_KEYS], acked[TRAFFIC_KEYS];
	struct traffic_count count[TRAFFIC_PHASES][TRAFFIC_OPS];
	struct proc *client; /* TRAFFIC_CLIENTS, the test's: not shared */
};

/* Shared; before the first process is started.  So many calls at once. */
struct traffic *traffic_new(unsigned keys, unsigned threads);
/* Start the clients. */
void traffic_open(struct traffic *, const struct ring *);
/* RUN goes on until the next order; others are carried out when this returns:
 * FILL writes each key once, CHECK reads each. */
void traffic_do(struct traffic *, enum traffic_order);
/* The clients end, and the memory is given back. */
void traffic_close(struct traffic *);

/* Of both kinds of calls, or of one: the time (us) below which the share lies. */
uint64_t traffic_percentile(const struct traffic *, unsigned phase, unsigned per_thousand);
uint64_t traffic_percentile_of(
    const struct traffic *, unsigned phase, enum traffic_op, unsigned per_thousand);

#endif
