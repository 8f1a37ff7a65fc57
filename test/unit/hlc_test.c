/*
 * Goal: stamps rise whatever the wall clock does; stamps too far ahead teach
 * nothing.
 * Method: cases, and random walks of a bad clock.
 */
#include "test/test.h"

#include "base/rng.h"
#include "model/hlc.h"

START_TEST(stamps_rise_when_the_wall_stands_or_steps_back)
{
	struct hlc h = { 0 };
	uint64_t first = hlc_next(&h, 1000);

	ck_assert_uint_eq(first, hlc_from_ms(1000));
	ck_assert_uint_eq(hlc_next(&h, 1000), first + 1);
	ck_assert_uint_eq(hlc_next(&h, 900), first + 2);
	ck_assert_uint_eq(hlc_next(&h, 1001), hlc_from_ms(1001));
	ck_assert_uint_eq(hlc_ms(h.last), 1001);
}
END_TEST

START_TEST(a_stamp_seen_is_passed)
{
	struct hlc h = { 0 };

	ck_assert_int_eq(hlc_see(&h, hlc_from_ms(1050) + 7, 1000, 60), 0);
	ck_assert_uint_eq(hlc_next(&h, 1000), hlc_from_ms(1050) + 8);
	ck_assert_int_eq(hlc_see(&h, hlc_from_ms(500), 1000, 60), 0);
	ck_assert_uint_eq(hlc_next(&h, 1000), hlc_from_ms(1050) + 9);
}
END_TEST

START_TEST(a_stamp_too_far_ahead_is_refused)
{
	struct hlc h = { 0 };

	ck_assert_int_eq(hlc_see(&h, hlc_from_ms(1060) + 65535, 1000, 60), 0);
	ck_assert_int_eq(hlc_see(&h, hlc_from_ms(1061), 1000, 60), DYN_ECLOCK);
	ck_assert_int_eq(hlc_see(&h, UINT64_MAX, 1000, 60), DYN_ECLOCK);
	ck_assert_uint_eq(h.last, hlc_from_ms(1060) + 65535);
	/* as much as one ms of counting: the next is in the next ms */
	ck_assert_uint_eq(hlc_ms(hlc_next(&h, 1000)), 1061);
}
END_TEST

START_TEST(nonsense_from_the_wall_does_not_wrap)
{
	struct hlc h = { 0 };
	uint64_t last = 0;

	for (int n = 0; n < 70000; n++) {
		uint64_t next = hlc_next(&h, UINT64_MAX);

		ck_assert(next > last || last == UINT64_MAX);
		last = next;
	}
	ck_assert_uint_eq(hlc_next(&h, 5), UINT64_MAX);
	ck_assert_int_eq(hlc_see(&h, 1, UINT64_MAX, UINT64_MAX), 0);
}
END_TEST

START_TEST(random_walk)
{
	struct rng rng = { test_seed() + (uint64_t)_i };
	struct hlc h = { 0 };
	uint64_t wall = 1000000, last = 0, next;

	for (int n = 0; n < 2000; n++) {
		wall += rng_below(&rng, 50);
		wall -= rng_below(&rng, 50);
		if (rng_below(&rng, 3) == 0) {
			uint64_t ms = wall + rng_below(&rng, 200);
			uint64_t stamp = hlc_from_ms(ms) + rng_below(&rng, 9);

			if (hlc_see(&h, stamp, wall, 100) == 0)
				last = last > stamp ? last : stamp;
			else
				ck_assert_uint_gt(hlc_ms(stamp), wall + 100);
		}
		next = hlc_next(&h, wall);
		if (!(next > last && hlc_ms(next) >= wall))
			ck_abort_msg("step %d", n);
		last = next;
	}
}
END_TEST

static Suite *
hlc_suite(void)
{
	Suite *s = suite_create("hlc");
	TCase *c = test_case(s, "stamps", stamps_rise_when_the_wall_stands_or_steps_back);

	tcase_add_test(c, a_stamp_seen_is_passed);
	tcase_add_test(c, a_stamp_too_far_ahead_is_refused);
	tcase_add_test(c, nonsense_from_the_wall_does_not_wrap);
	tcase_add_loop_test(c, random_walk, 0, 10);
	return s;
}

TEST_MAIN(hlc_suite)
