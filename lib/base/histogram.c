/* The histogram: values below 16 exactly, above by exponent and 4 bits. */
#include "base/histogram.h"

static unsigned
bucket_of(uint64_t v)
{
	unsigned shift, b;

	if (v < 16)
		return (unsigned)v;
	shift = 63 - (unsigned)__builtin_clzll(v) - 4;
	b = 16 * (shift + 1) + (unsigned)(v >> shift & 15);
	return MIN(b, HISTOGRAM_BUCKETS - 1);
}

/* The largest value a bucket holds. */
static uint64_t
bucket_top(unsigned b)
{
	unsigned shift;

	if (b < 16)
		return b;
	shift = b / 16 - 1;
	return ((uint64_t)(16 + b % 16 + 1) << shift) - 1;
}

void
histogram_add(struct histogram *h, uint64_t value)
{
	h->bucket[bucket_of(value)]++;
	h->count++;
	h->sum += value;
	h->max = MAX(h->max, value);
}

void
histogram_join(struct histogram *h, const struct histogram *from)
{
	for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++)
		h->bucket[i] += from->bucket[i];
	h->count += from->count;
	h->sum += from->sum;
	h->max = MAX(h->max, from->max);
}

uint64_t
histogram_quantile(const struct histogram *h, unsigned share)
{
	uint64_t want = (h->count * share + 999) / 1000, seen = 0;

	for (unsigned i = 0; i < HISTOGRAM_BUCKETS && want > 0; i++) {
		seen += h->bucket[i];
		if (seen >= want)
			return MIN(bucket_top(i), h->max);
	}
	return 0;
}

void
histogram_latency(const struct histogram *h, struct dyn_latency *out)
{
	out->count = h->count;
	out->mean_us = h->count > 0 ? h->sum / h->count : 0;
	out->p50_us = histogram_quantile(h, 500);
	out->p90_us = histogram_quantile(h, 900);
	out->p99_us = histogram_quantile(h, 990);
	out->p999_us = histogram_quantile(h, 999);
	out->max_us = h->max;
}
