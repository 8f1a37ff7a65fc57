/*
 * Goal: no bytes make the codec or the algebra of clocks misbehave.
 * Method: the input is two clocks, u16 length of the first before it.  What
 * decodes must encode to the same bytes, be made again by adding its dots one
 * by one, and keep the laws of union.
 */
#include "test/fuzz/driver.h"

#include "model/clock.h"

#define REBUILD_MAX 64 /* the events of an actor are added one by one: few */

static bool
decode(struct clock *out, struct dyn_slice s)
{
	struct rd r = rd_from(s);
	int rc = clock_read(&r, out);

	DYN_ASSERT(rc == 0 || rc == DYN_EPROTO || rc == DYN_ETOOBIG);
	if (rc == 0 && !rd_end(&r)) {
		clock_fini(out);
		return false;
	}
	return rc == 0;
}

static void
try_encode(const struct clock *c, struct dyn_slice s)
{
	struct buf *b;
	struct wr w;

	wr_init(&w, 0);
	clock_write(&w, c);
	DYN_ASSERT(clock_size(c) == wr_len(&w));
	DYN_ASSERT(wr_finish(&w, &b) == 0);
	DYN_ASSERT(slice_equal(buf_slice(b), s));
	buf_unref(b);
}

/* From the last dot to the first, so that much has to be absorbed. */
static void
try_rebuild(const struct clock *c)
{
	struct clock again = { 0 };

	for (size_t i = c->vector_count; i-- > 0;)
		if (c->vector[i].counter > REBUILD_MAX)
			return;
	for (size_t i = c->cloud_count; i-- > 0;)
		DYN_ASSERT(clock_add(&again, c->cloud[i]) == 0);
	for (size_t i = c->vector_count; i-- > 0;)
		for (uint64_t n = c->vector[i].counter; n > 0; n--)
			DYN_ASSERT(clock_add(&again, (struct dot){ c->vector[i].actor, n }) == 0);
	DYN_ASSERT(clock_equal(c, &again));
	clock_fini(&again);
}

static void
try_union(const struct clock *a, const struct clock *b)
{
	struct clock ab, ba;
	struct room room;

	DYN_ASSERT(clock_union(&ab, a, b, NULL) == 0);
	DYN_ASSERT(clock_union(&ba, b, a, &room) == 0);
	DYN_ASSERT(clock_equal(&ab, &ba));
	DYN_ASSERT(clock_within(a, &ab) && clock_within(b, &ab));
	DYN_ASSERT(clock_within(&ab, a) == clock_within(b, a));
	DYN_ASSERT(clock_equal(a, b) == (clock_within(a, b) && clock_within(b, a)));
	for (size_t i = 0; i < ab.vector_count; i++)
		DYN_ASSERT(clock_covers(&ab, ab.vector[i]));
	for (size_t i = 0; i < ab.cloud_count; i++) {
		DYN_ASSERT(clock_covers(a, ab.cloud[i]) || clock_covers(b, ab.cloud[i]));
		DYN_ASSERT(clock_max(&ab, ab.cloud[i].actor) >= ab.cloud[i].counter);
	}
	DYN_ASSERT(clock_join(&ab, a) == 0 && clock_equal(&ab, &ba));
	clock_fini(&ab);
	clock_fini(&ba);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct rd r = rd_from(slice(data, len));
	size_t first = rd_u16(&r);
	struct dyn_slice a = rd_bytes(&r, MIN(first, rd_left(&r)));
	struct dyn_slice b = rd_bytes(&r, rd_left(&r));
	long before = mem_balance();
	struct clock x, y;

	if (decode(&x, a)) {
		try_encode(&x, a);
		try_rebuild(&x);
		if (decode(&y, b)) {
			try_union(&x, &y);
			clock_fini(&y);
		}
		clock_fini(&x);
	}
	DYN_ASSERT(mem_balance() == before);
	return 0;
}
