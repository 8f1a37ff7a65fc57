/*
 * Timers: a heap of deadlines embedded in the caller's structs.
 *
 * Times are nanoseconds of whatever clock the caller lives by; nothing here
 * reads one.  Equal times fire in the order they were set, so that a
 * simulation is the same at each run.
 */
#ifndef DYN_TIMER_H
#define DYN_TIMER_H

#include "base/base.h"

#define TIME_NEVER UINT64_MAX
#define NS_PER_US UINT64_C(1000)
#define NS_PER_MS UINT64_C(1000000)
#define NS_PER_S UINT64_C(1000000000)

struct timer {
	uint64_t at, order;
	size_t pos; /* 1-based; 0 = not set */
};

struct timers {
	struct timer **heap;
	size_t count, cap;
	uint64_t order;
};

int timers_init(struct timers *);
void timers_fini(struct timers *);
/* Set or move. DYN_ENOMEM only if t was not set before. */
int timer_set(struct timers *, struct timer *t, uint64_t at) DYN_CHECK;
void timer_cancel(struct timers *, struct timer *); /* fine if not set */
/* When the first is due, or TIME_NEVER. */
uint64_t timers_next(const struct timers *);
/* Take off the first that is due at now, or NULL. */
struct timer *timers_pop(struct timers *, uint64_t now);

static inline bool
timer_is_set(const struct timer *t)
{
	return t->pos != 0;
}

#endif
