/* The controller: additive up, multiplicative down. */
#include "core/admit.h"

void
admit_init(struct admit *a, uint64_t now)
{
	memset(a, 0, sizeof(*a));
	a->window_at = now + ADMIT_WINDOW;
	a->rate = ADMIT_MOST / 8;
}

static void
subtract(struct histogram *h, const struct histogram *from)
{
	for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++)
		h->bucket[i] -= from->bucket[i];
	h->count -= from->count;
	h->sum -= from->sum;
}

void
admit_look(struct admit *a, const struct histogram *all, uint64_t now)
{
	struct histogram news = *all, sum = { .count = 0 };

	if (now >= a->window_at) {
		a->window_at = now + ADMIT_WINDOW;
		a->current = (a->current + 1) % ADMIT_WINDOWS;
		memset(&a->window[a->current], 0, sizeof(a->window[a->current]));
	}
	subtract(&news, &a->seen);
	a->seen = *all;
	histogram_join(&a->window[a->current], &news);
	for (unsigned i = 0; i < ADMIT_WINDOWS; i++)
		histogram_join(&sum, &a->window[i]);
	a->p99 = sum.count >= ADMIT_FEW ? histogram_quantile(&sum, 990) : 0;
	if (a->p99 > ADMIT_LIMIT_US)
		a->rate = MAX(a->rate / 2, ADMIT_LEAST);
	else
		a->rate = MIN(a->rate + a->rate / 10, ADMIT_MOST);
}

bool
admit_may(const struct admit *a, uint64_t now)
{
	return now >= a->free_at;
}

uint64_t
admit_at(const struct admit *a)
{
	return a->free_at;
}

void
admit_pay(struct admit *a, uint64_t bytes, uint64_t now)
{
	/* In microseconds, so that no product overflows. */
	uint64_t us = bytes * 1000000 / a->rate;

	a->free_at = MAX(a->free_at, now) + us * NS_PER_US;
}
