/* The timer heap: 1-based binary heap of pointers, each knows its place. */
#include "base/timer.h"

int
timers_init(struct timers *ts)
{
	memset(ts, 0, sizeof(*ts));
	ts->cap = 64;
	ts->heap = mem_array(ts->cap, sizeof(struct timer *));
	return ts->heap != NULL ? 0 : DYN_ENOMEM;
}

void
timers_fini(struct timers *ts)
{
	mem_free(ts->heap);
	memset(ts, 0, sizeof(*ts));
}

static bool
before(const struct timer *a, const struct timer *b)
{
	return a->at != b->at ? a->at < b->at : a->order < b->order;
}

static void
place(struct timers *ts, struct timer *t, size_t pos)
{
	ts->heap[pos] = t;
	t->pos = pos;
}

static void
sift_up(struct timers *ts, struct timer *t, size_t pos)
{
	while (pos > 1 && before(t, ts->heap[pos / 2])) {
		place(ts, ts->heap[pos / 2], pos);
		pos /= 2;
	}
	place(ts, t, pos);
}

static void
sift_down(struct timers *ts, struct timer *t, size_t pos)
{
	for (;;) {
		size_t child = pos * 2;

		if (child > ts->count)
			break;
		if (child < ts->count && before(ts->heap[child + 1], ts->heap[child]))
			child++;
		if (!before(ts->heap[child], t))
			break;
		place(ts, ts->heap[child], pos);
		pos = child;
	}
	place(ts, t, pos);
}

static void
settle(struct timers *ts, struct timer *t, size_t pos)
{
	if (pos > 1 && before(t, ts->heap[pos / 2]))
		sift_up(ts, t, pos);
	else
		sift_down(ts, t, pos);
}

int
timer_set(struct timers *ts, struct timer *t, uint64_t at)
{
	if (t->pos == 0) {
		if (ts->count + 1 == ts->cap) {
			struct timer **heap;

			heap = mem_realloc(ts->heap, 2 * ts->cap * sizeof(struct timer *));
			if (heap == NULL)
				return DYN_ENOMEM;
			ts->heap = heap;
			ts->cap *= 2;
		}
		t->pos = ++ts->count;
		ts->heap[t->pos] = t;
	}
	t->at = at;
	t->order = ts->order++;
	settle(ts, t, t->pos);
	return 0;
}

void
timer_cancel(struct timers *ts, struct timer *t)
{
	size_t pos = t->pos;
	struct timer *last;

	if (pos == 0)
		return;
	last = ts->heap[ts->count--];
	t->pos = 0;
	if (last != t)
		settle(ts, last, pos);
}

uint64_t
timers_next(const struct timers *ts)
{
	return ts->count > 0 ? ts->heap[1]->at : TIME_NEVER;
}

struct timer *
timers_pop(struct timers *ts, uint64_t now)
{
	struct timer *t;

	if (ts->count == 0 || ts->heap[1]->at > now)
		return NULL;
	t = ts->heap[1];
	timer_cancel(ts, t);
	return t;
}
