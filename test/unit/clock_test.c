/*
 * Goal: clocks are exact sets of dots in canonical form.
 * Method: small cases in notation; random sets against a plain bitmap; all bytes
 * that must not decode.
 */
#include "test/test.h"

#include "base/rng.h"
#include "test/unit/notation.h"

static struct dyn_slice
bytes(const struct buf *b)
{
	return buf_slice(b);
}

static struct buf *
encode(const struct clock *c)
{
	struct buf *b;
	struct wr w;

	wr_init(&w, 0);
	clock_write(&w, c);
	ck_assert_uint_eq(wr_len(&w), clock_size(c));
	ck_assert_int_eq(wr_finish(&w, &b), 0);
	return b;
}

static int
decode(struct dyn_slice s, struct clock *out)
{
	struct rd r = rd_from(s);
	int rc = clock_read(&r, out);

	if (rc == 0 && !rd_end(&r)) {
		clock_fini(out);
		rc = DYN_EPROTO;
	}
	return rc;
}

START_TEST(dots_beyond_the_vector_are_absorbed_when_they_adjoin)
{
	struct clock c = { 0 };

	ck_assert_int_eq(clock_add(&c, dot_of("a3")), 0);
	assert_clock(&c, "+a3");
	ck_assert_int_eq(clock_add(&c, dot_of("a1")), 0);
	assert_clock(&c, "a1 +a3");
	ck_assert_int_eq(clock_add(&c, dot_of("b2")), 0);
	assert_clock(&c, "a1 +a3 +b2");
	ck_assert_int_eq(clock_add(&c, dot_of("a2")), 0);
	assert_clock(&c, "a3 +b2");
	ck_assert_int_eq(clock_add(&c, dot_of("b1")), 0);
	assert_clock(&c, "a3 b2");
	ck_assert_int_eq(clock_add(&c, dot_of("a2")), 0);
	assert_clock(&c, "a3 b2");
	clock_fini(&c);
}
END_TEST

START_TEST(incarnations_are_other_actors)
{
	struct clock c;

	clock_of(&c, "a2 a'1");
	ck_assert(clock_covers(&c, dot_of("a2")));
	ck_assert(!clock_covers(&c, dot_of("a'2")));
	ck_assert_uint_eq(clock_max(&c, actor_of("a'")), 1);
	ck_assert_uint_eq(clock_max(&c, actor_of("a''")), 0);
	clock_fini(&c);
}
END_TEST

START_TEST(max_and_contiguous)
{
	struct clock c;

	clock_of(&c, "a2 c1 +a4 +a7 +b9");
	ck_assert_uint_eq(clock_max(&c, actor_of("a")), 7);
	ck_assert_uint_eq(clock_max(&c, actor_of("b")), 9);
	ck_assert_uint_eq(clock_max(&c, actor_of("c")), 1);
	ck_assert_uint_eq(clock_max(&c, actor_of("d")), 0);
	ck_assert_uint_eq(clock_contiguous(&c, actor_of("a")), 2);
	ck_assert_uint_eq(clock_contiguous(&c, actor_of("b")), 0);
	clock_fini(&c);
}
END_TEST

static const struct {
	const char *a, *b, *both;
	bool a_within, b_within;
} unions[] = {
	{ "", "", "", true, true },
	{ "a1", "", "a1", false, true },
	{ "a3 b1", "a2 b1", "a3 b1", false, true },
	{ "a1", "b1", "a1 b1", false, false },
	{ "a1 +a3", "a2", "a3", false, false },
	{ "a1 +a3 +a4 +a6", "a2", "a4 +a6", false, false },
	{ "+a2", "+a3", "+a2 +a3", false, false },
	{ "+a2 +b2", "a1", "a2 +b2", false, false },
	{ "+b5", "b5", "b5", true, false },
	{ "a2 c4 +b3", "a2 b3 c4", "a2 b3 c4", true, false },
	{ "a1 c1", "b1 d1", "a1 b1 c1 d1", false, false },
	{ "a'1", "a2", "a2 a'1", false, false },
};

START_TEST(union_within_equal)
{
	struct clock a, b, both, other;
	struct room room;

	clock_of(&a, unions[_i].a);
	clock_of(&b, unions[_i].b);
	ck_assert_int_eq(clock_union(&both, &a, &b, &room), 0);
	assert_clock(&both, unions[_i].both);
	ck_assert_int_eq(clock_union(&other, &b, &a, NULL), 0);
	ck_assert(clock_equal(&both, &other));
	ck_assert_int_eq(clock_within(&a, &b), unions[_i].a_within);
	ck_assert_int_eq(clock_within(&b, &a), unions[_i].b_within);
	ck_assert_int_eq(clock_equal(&a, &b), unions[_i].a_within && unions[_i].b_within);
	ck_assert_int_eq(clock_join(&a, &b), 0);
	ck_assert(clock_equal(&a, &both));
	clock_fini(&a);
	clock_fini(&b);
	clock_fini(&both);
	clock_fini(&other);
}
END_TEST

/*
 * Random sets over 3 actors and counters 1..16, as 3 x 16 bits, beside clocks
 * that are made by additions and unions in any order.
 */
#define ACTORS 3
#define COUNTERS 16

static uint64_t
bit(uint64_t actor, uint64_t counter)
{
	return UINT64_C(1) << (actor * COUNTERS + counter - 1);
}

static struct dot
nth_dot(uint64_t actor, uint64_t counter)
{
	struct dot d = { { 'a' + actor, 1 }, counter };

	return d;
}

static void
check_set(const struct clock *c, uint64_t set)
{
	struct clock again;
	struct buf *b;

	for (uint64_t a = 0; a < ACTORS; a++) {
		uint64_t max = 0, contiguous = 0;

		for (uint64_t n = 1; n <= COUNTERS; n++) {
			bool in = (set & bit(a, n)) != 0;

			ck_assert_int_eq(clock_covers(c, nth_dot(a, n)), in);
			max = in ? n : max;
			contiguous += in && contiguous == n - 1;
		}
		ck_assert_uint_eq(clock_max(c, nth_dot(a, 1).actor), max);
		ck_assert_uint_eq(clock_contiguous(c, nth_dot(a, 1).actor), contiguous);
	}
	b = encode(c);
	ck_assert_int_eq(decode(bytes(b), &again), 0);
	ck_assert(clock_equal(c, &again));
	clock_fini(&again);
	buf_unref(b);
}

START_TEST(random_sets_are_as_a_bitmap)
{
	struct rng rng = { test_seed() + (uint64_t)_i };
	struct clock c[4] = { { 0 } };
	uint64_t set[4] = { 0 };

	for (int step = 0; step < 60; step++) {
		size_t i = rng_below(&rng, 4), j = rng_below(&rng, 4);

		if (rng_below(&rng, 5) == 0) {
			ck_assert_int_eq(clock_join(&c[i], &c[j]), 0);
			set[i] |= set[j];
		} else {
			uint64_t a = rng_below(&rng, ACTORS);
			uint64_t n = 1 + rng_below(&rng, COUNTERS);

			ck_assert_int_eq(clock_add(&c[i], nth_dot(a, n)), 0);
			set[i] |= bit(a, n);
		}
		check_set(&c[i], set[i]);
		ck_assert_int_eq(clock_within(&c[i], &c[j]), (set[i] & ~set[j]) == 0);
		ck_assert_int_eq(clock_equal(&c[i], &c[j]), set[i] == set[j]);
	}
	for (size_t i = 0; i < 4; i++)
		clock_fini(&c[i]);
}
END_TEST

/* Equal sets are equal bytes, whatever the order they were made in. */
START_TEST(equal_sets_are_equal_bytes)
{
	static const char *const dots[] = { "a1", "a2", "a4", "b1", "b3", "b4", "c2" };
	struct rng rng = { test_seed() + (uint64_t)_i };
	struct clock c = { 0 }, in_order;
	struct buf *x, *y;

	clock_of(&in_order, "a2 b1 +a4 +b3 +b4 +c2");
	for (int n = 0; n < 100; n++)
		ck_assert_int_eq(clock_add(&c, dot_of(dots[rng_below(&rng, 7)])), 0);
	for (size_t i = 0; i < ARRAY_LEN(dots); i++)
		ck_assert_int_eq(clock_add(&c, dot_of(dots[i])), 0);
	x = encode(&c);
	y = encode(&in_order);
	ck_assert(slice_equal(bytes(x), bytes(y)));
	buf_unref(x);
	buf_unref(y);
	clock_fini(&c);
	clock_fini(&in_order);
}
END_TEST

/* Bytes that say a set in a form that is not the canonical one, or nonsense. */
#define NODE(n) n, 0, 0, 0, 0, 0, 0, 0
#define MANY 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff
static const struct {
	const char *why;
	unsigned char bytes[48];
	size_t len;
	int rc;
} malformed[] = {
	{ "nothing", { 0 }, 0, DYN_EPROTO },
	{ "no cloud count", { 0 }, 1, DYN_EPROTO },
	{ "counter 0", { 1, NODE(1), 1, 0, 0 }, 12, DYN_EPROTO },
	{ "counter beyond the limit", { 1, NODE(1), 1, MANY, 0xff, 1, 0 }, 21, DYN_EPROTO },
	{ "actors descend", { 2, NODE(2), 1, 1, NODE(1), 1, 1, 0 }, 22, DYN_EPROTO },
	{ "an actor twice", { 2, NODE(1), 1, 1, NODE(1), 1, 2, 0 }, 22, DYN_EPROTO },
	{ "incarnations descend", { 2, NODE(1), 2, 1, NODE(1), 1, 1, 0 }, 22, DYN_EPROTO },
	{ "cloud covered", { 1, NODE(1), 1, 3, 1, NODE(1), 1, 2 }, 22, DYN_EPROTO },
	{ "cloud adjoins", { 1, NODE(1), 1, 3, 1, NODE(1), 1, 4 }, 22, DYN_EPROTO },
	{ "cloud has a first event", { 0, 1, NODE(1), 1, 1 }, 12, DYN_EPROTO },
	{ "cloud descends", { 0, 2, NODE(1), 1, 4, NODE(1), 1, 3 }, 22, DYN_EPROTO },
	{ "a cloud dot twice", { 0, 2, NODE(1), 1, 3, NODE(1), 1, 3 }, 22, DYN_EPROTO },
	{ "more dots than bytes", { 3, NODE(1), 1, 1, 0 }, 12, DYN_EPROTO },
	{ "long var", { 0x81, 0, NODE(1), 1, 1, 0 }, 13, DYN_EPROTO },
	{ "4097 actors", { 0x81, 0x20, NODE(1), 1, 1, 0 }, 13, DYN_ETOOBIG },
	{ "4097 cloud dots", { 0, 0x81, 0x20, NODE(1), 1, 2 }, 13, DYN_ETOOBIG },
};

START_TEST(only_the_canonical_form_decodes)
{
	struct clock c;

	ck_assert_msg(decode(slice(malformed[_i].bytes, malformed[_i].len), &c) ==
	    malformed[_i].rc, "%s", malformed[_i].why);
	ck_assert_ptr_null(c.heap);
	ck_assert_uint_eq(c.vector_count + c.cloud_count, 0);
}
END_TEST

START_TEST(room_is_used_up_to_its_size)
{
	struct clock small, large, c;
	struct room room;
	struct rd r;
	struct buf *b;
	long before;

	clock_of(&small, "a2 b2 c2 d2 e2 +a4 +b4 +c4 +d4 +e4 +f4 +g4");
	clock_of(&large, "a2 b2 c2 d2 e2 +a4 +b4 +c4 +d4 +e4 +f4 +g4 +h4");
	b = encode(&small);
	r = rd_from(bytes(b));
	before = mem_balance();
	ck_assert_int_eq(clock_read_room(&r, &c, &room), 0);
	ck_assert_int_eq(mem_balance(), before);
	ck_assert(clock_equal(&c, &small));
	clock_fini(&c);
	buf_unref(b);
	b = encode(&large);
	r = rd_from(bytes(b));
	ck_assert_int_eq(clock_read_room(&r, &c, &room), 0);
	ck_assert(clock_equal(&c, &large));
	clock_fini(&c);
	buf_unref(b);
	clock_fini(&small);
	clock_fini(&large);
}
END_TEST

/* A clock at the limits can be kept, sent and read; one dot more is refused and
 * changes nothing. */
START_TEST(limits)
{
	struct dot *dots = mem_array(LIMIT_ACTORS, sizeof(*dots));
	struct clock full = { 0 }, again;
	struct buf *b;

	for (size_t i = 0; i < LIMIT_ACTORS; i++)
		dots[i] = (struct dot){ { i, 1 }, _i == 0 ? 1 : 2 };
	full.heap = dots;
	if (_i == 0) {
		full.vector = dots;
		full.vector_count = LIMIT_ACTORS;
	} else {
		full.cloud = dots;
		full.cloud_count = LIMIT_CLOUD;
	}
	b = encode(&full);
	ck_assert_int_eq(decode(bytes(b), &again), 0);
	ck_assert(clock_equal(&again, &full));
	ck_assert_int_eq(clock_add(&again, (struct dot){ { 9999, 1 }, _i == 0 ? 1 : 2 }),
	    DYN_ETOOBIG);
	ck_assert(clock_equal(&again, &full));
	clock_fini(&again);
	clock_fini(&full);
	buf_unref(b);
}
END_TEST

START_TEST(failing_allocations_change_nothing)
{
	TEST_ALLOC_FAILURES(n) {
		struct clock a = { 0 }, b = { 0 }, copy = { 0 };
		int rc;

		rc = clock_add(&a, dot_of("a3"));
		ck_assert_int_eq(clock_covers(&a, dot_of("a3")), rc == 0);
		rc = clock_add(&b, dot_of("b1"));
		ck_assert_int_eq(clock_covers(&b, dot_of("b1")), rc == 0);
		rc = clock_join(&a, &b);
		ck_assert(rc == 0 || !clock_covers(&a, dot_of("b1")));
		rc = clock_copy(&copy, &a);
		ck_assert(rc == 0 ? clock_equal(&copy, &a) : copy.heap == NULL);
		clock_fini(&a);
		clock_fini(&b);
		clock_fini(&copy);
	}
}
END_TEST

START_TEST(failing_allocations_while_reading)
{
	static const unsigned char in[] = { 1, NODE(1), 1, 1, 1, NODE(2), 1, 5 };

	TEST_ALLOC_FAILURES(n) {
		struct clock c;
		int rc = decode(slice(in, sizeof(in)), &c);

		ck_assert(rc == 0 || (rc == DYN_ENOMEM && c.heap == NULL));
		clock_fini(&c);
	}
}
END_TEST

static Suite *
clock_suite(void)
{
	Suite *s = suite_create("clock");
	TCase *c = test_case(s, "cases", dots_beyond_the_vector_are_absorbed_when_they_adjoin);

	tcase_add_test(c, incarnations_are_other_actors);
	tcase_add_test(c, max_and_contiguous);
	tcase_add_loop_test(c, union_within_equal, 0, ARRAY_LEN(unions));
	tcase_add_loop_test(c, random_sets_are_as_a_bitmap, 0, 100);
	tcase_add_loop_test(c, equal_sets_are_equal_bytes, 0, 20);
	tcase_add_loop_test(c, only_the_canonical_form_decodes, 0, ARRAY_LEN(malformed));
	tcase_add_test(c, room_is_used_up_to_its_size);
	tcase_add_loop_test(c, limits, 0, 2);
	tcase_add_test(c, failing_allocations_change_nothing);
	tcase_add_test(c, failing_allocations_while_reading);
	return s;
}

TEST_MAIN(clock_suite)
