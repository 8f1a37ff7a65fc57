/*
 * See common_hist.h.  Values below 32 have a slot each; above, a slot is named
 * by the position of the highest bit and the five bits that follow it.
 */
#include "common_hist.h"

static unsigned
slot_of(uint64_t value)
{
	unsigned shift;

	if (value < HIST_STEPS)
		return (unsigned)value;
	shift = 58 - (unsigned)__builtin_clzll(value);
	return shift * HIST_STEPS + (unsigned)(value >> shift);
}

/* The largest value that falls into the slot. */
static uint64_t
slot_top(unsigned slot)
{
	unsigned shift;

	if (slot < 2 * HIST_STEPS)
		return slot;
	shift = slot / HIST_STEPS - 1;
	return ((uint64_t)(slot - shift * HIST_STEPS + 1) << shift) - 1;
}

void
hist_add(struct hist *h, uint64_t value)
{
	uint64_t max = atomic_load_explicit(&h->max, memory_order_relaxed);

	atomic_fetch_add_explicit(&h->slots[slot_of(value)], 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&h->count, 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&h->sum, value, memory_order_relaxed);
	while (value > max && !atomic_compare_exchange_weak(&h->max, &max, value))
		;
}

uint64_t
hist_count(struct hist *h)
{
	return atomic_load_explicit(&h->count, memory_order_relaxed);
}

uint64_t
hist_mean(struct hist *h)
{
	uint64_t count = hist_count(h);

	if (count == 0)
		return 0;
	return atomic_load_explicit(&h->sum, memory_order_relaxed) / count;
}

uint64_t
hist_max(struct hist *h)
{
	return atomic_load_explicit(&h->max, memory_order_relaxed);
}

uint64_t
hist_percentile(struct hist *h, double share)
{
	uint64_t count = hist_count(h), seen = 0, top;
	uint64_t wanted = (uint64_t)((double)count * share + 0.5);

	for (unsigned i = 0; i < HIST_SLOTS; i++) {
		seen += atomic_load_explicit(&h->slots[i], memory_order_relaxed);
		if (seen >= wanted && seen > 0) {
			top = slot_top(i);
			return top < hist_max(h) ? top : hist_max(h);
		}
	}
	return hist_max(h);
}
