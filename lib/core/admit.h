/*
 * How fast background work may go (paper 6.5): fast while nobody feels it.
 *
 * Each second it is told all latencies so far of the foreground (reads and writes
 * of this node's application, microseconds).  If the 99th percentile of those of
 * the last 60 seconds is above the limit, the rate is halved; else it grows by a
 * tenth.  What a machine wants to do, it pays for in bytes; who has paid waits
 * until that much time is over.
 */
#ifndef DYN_ADMIT_H
#define DYN_ADMIT_H

#include "base/histogram.h"
#include "base/timer.h"

#define ADMIT_LIMIT_US 50000          /* the paper's 50 ms */
#define ADMIT_MOST (UINT64_C(512) << 20) /* bytes a second */
#define ADMIT_LEAST (UINT64_C(1) << 20)
#define ADMIT_WINDOWS 6               /* of 10 s: the last 60 s */
#define ADMIT_WINDOW (10 * NS_PER_S)
#define ADMIT_FEW 100                 /* calls; fewer say nothing */

struct admit {
	struct histogram window[ADMIT_WINDOWS], seen;
	unsigned current;
	uint64_t window_at; /* the current one ends */
	uint64_t rate;      /* bytes a second */
	uint64_t free_at;   /* what was paid for is done */
	uint64_t p99;
};

void admit_init(struct admit *, uint64_t now);
/* All latencies since the start, now and then. */
void admit_look(struct admit *, const struct histogram *all, uint64_t now);
/* May something begin now?  If not, admit_at says when. */
bool admit_may(const struct admit *, uint64_t now);
uint64_t admit_at(const struct admit *);
void admit_pay(struct admit *, uint64_t bytes, uint64_t now);

#endif
