/*
 * How fast background work may go (admit.c).
 *
 * Goal: slower when the foreground feels it, faster when not; a past minute is
 * forgotten; who pays waits.
 * Method: latencies are made up, a second at a time.
 */
#include "core/admit.h"
#include "test/test.h"

struct world {
	struct admit a;
	struct histogram all;
	uint64_t now;
};

static void
begin(struct world *w)
{
	memset(w, 0, sizeof(*w));
	w->now = 5 * NS_PER_S;
	admit_init(&w->a, w->now);
}

/* A second with so many calls of that latency. */
static void
second(struct world *w, unsigned calls, uint64_t us)
{
	for (unsigned i = 0; i < calls; i++)
		histogram_add(&w->all, us);
	w->now += NS_PER_S;
	admit_look(&w->a, &w->all, w->now);
}

START_TEST(halves_above_the_limit)
{
	struct world w;
	uint64_t rate;

	begin(&w);
	rate = w.a.rate;
	ck_assert_uint_gt(rate, 2 * ADMIT_LEAST);
	second(&w, ADMIT_FEW, 2 * ADMIT_LIMIT_US);
	ck_assert_uint_eq(w.a.rate, rate / 2);
	ck_assert_uint_gt(w.a.p99, ADMIT_LIMIT_US);
	second(&w, ADMIT_FEW, 2 * ADMIT_LIMIT_US);
	ck_assert_uint_eq(w.a.rate, rate / 4);
	/* It never stops altogether. */
	for (unsigned i = 0; i < 40; i++)
		second(&w, ADMIT_FEW, 2 * ADMIT_LIMIT_US);
	ck_assert_uint_eq(w.a.rate, ADMIT_LEAST);
}
END_TEST

START_TEST(grows_below_the_limit)
{
	struct world w;
	uint64_t rate;

	begin(&w);
	rate = w.a.rate;
	second(&w, 1000, ADMIT_LIMIT_US / 2);
	ck_assert_uint_eq(w.a.rate, rate + rate / 10);
	/* Without any calls too: nobody feels it. */
	rate = w.a.rate;
	second(&w, 0, 0);
	ck_assert_uint_eq(w.a.rate, rate + rate / 10);
	for (unsigned i = 0; i < 100; i++)
		second(&w, 1000, ADMIT_LIMIT_US / 2);
	ck_assert_uint_eq(w.a.rate, ADMIT_MOST);
}
END_TEST

/* One in a hundred may be slow; two may not. */
START_TEST(it_is_the_99th_percentile)
{
	struct world w;
	uint64_t rate;

	begin(&w);
	rate = w.a.rate;
	for (unsigned i = 0; i < 10; i++)
		histogram_add(&w.all, 4 * ADMIT_LIMIT_US);
	second(&w, 990, 1000);
	ck_assert_uint_gt(w.a.rate, rate);
	rate = w.a.rate;
	for (unsigned i = 0; i < 30; i++)
		histogram_add(&w.all, 4 * ADMIT_LIMIT_US);
	second(&w, 970, 1000);
	ck_assert_uint_lt(w.a.rate, rate);
}
END_TEST

START_TEST(a_few_calls_say_nothing)
{
	struct world w;
	uint64_t rate;

	begin(&w);
	rate = w.a.rate;
	second(&w, ADMIT_FEW - 1, 10 * ADMIT_LIMIT_US);
	ck_assert_uint_gt(w.a.rate, rate);
	ck_assert_uint_eq(w.a.p99, 0);
	rate = w.a.rate;
	second(&w, 1, 10 * ADMIT_LIMIT_US);
	ck_assert_uint_lt(w.a.rate, rate);
}
END_TEST

/* What was before the node's last minute is not in the sum any more; and calls that
 * were counted once are not counted again. */
START_TEST(a_minute_later_it_is_forgotten)
{
	struct world w;
	unsigned seconds = 0;
	uint64_t rate;

	begin(&w);
	second(&w, 1000, 10 * ADMIT_LIMIT_US);
	while (w.a.p99 > ADMIT_LIMIT_US) {
		second(&w, 0, 0);
		ck_assert_uint_lt(++seconds, 100);
	}
	ck_assert_uint_ge(seconds, 50);
	ck_assert_uint_le(seconds, 61);
	rate = w.a.rate;
	second(&w, 0, 0);
	ck_assert_uint_ge(w.a.rate, MIN(rate + rate / 10, ADMIT_MOST));
}
END_TEST

START_TEST(who_has_paid_waits)
{
	struct world w;
	uint64_t at;

	begin(&w);
	ck_assert(admit_may(&w.a, w.now));
	/* Half a second's worth. */
	admit_pay(&w.a, w.a.rate / 2, w.now);
	at = admit_at(&w.a);
	ck_assert_uint_eq(at, w.now + NS_PER_S / 2);
	ck_assert(!admit_may(&w.a, w.now));
	ck_assert(!admit_may(&w.a, at - 1));
	ck_assert(admit_may(&w.a, at));
	/* Two at once are paid one after the other. */
	admit_pay(&w.a, w.a.rate / 4, w.now);
	ck_assert_uint_eq(admit_at(&w.a), at + NS_PER_S / 4);
	/* Time that nobody used is not saved up. */
	w.now += 100 * NS_PER_S;
	ck_assert(admit_may(&w.a, w.now));
	admit_pay(&w.a, w.a.rate / 2, w.now);
	ck_assert_uint_eq(admit_at(&w.a), w.now + NS_PER_S / 2);
	/* Much costs much, without an overflow. */
	admit_pay(&w.a, UINT64_C(1) << 40, w.now);
	ck_assert_uint_gt(admit_at(&w.a), w.now + ((UINT64_C(1) << 40) / w.a.rate) * NS_PER_S);
}
END_TEST

/* The slower, the longer for the same. */
START_TEST(the_price_goes_by_the_rate)
{
	struct world w;
	uint64_t before, after;

	begin(&w);
	admit_pay(&w.a, 1 << 20, w.now);
	before = admit_at(&w.a) - w.now;
	w.now = admit_at(&w.a);
	second(&w, ADMIT_FEW, 2 * ADMIT_LIMIT_US);
	admit_pay(&w.a, 1 << 20, w.now);
	after = admit_at(&w.a) - w.now;
	ck_assert_uint_ge(after, 2 * before - NS_PER_US);
}
END_TEST

static Suite *
suite(void)
{
	Suite *s = suite_create("admit");
	TCase *c = tcase_create("admit");

	suite_add_tcase(s, c);
	tcase_add_test(c, halves_above_the_limit);
	tcase_add_test(c, grows_below_the_limit);
	tcase_add_test(c, it_is_the_99th_percentile);
	tcase_add_test(c, a_few_calls_say_nothing);
	tcase_add_test(c, a_minute_later_it_is_forgotten);
	tcase_add_test(c, who_has_paid_waits);
	tcase_add_test(c, the_price_goes_by_the_rate);
	return s;
}

TEST_MAIN(suite)
