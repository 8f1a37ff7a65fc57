/*
 * Goal: a context comes back from its bytes exactly, and only to the ring and key
 * it was made for; damage is found at once, forgery when it is used.
 * Method: golden bytes, all their prefixes, every single bit flipped with and
 * without a check sum made good again.
 */
#include "test/test.h"

#include "model/context.h"
#include "test/golden/golden.h"
#include "test/unit/notation.h"

static const unsigned char secret[32] = "thirty-two bytes known to peers";
static const unsigned char other_secret[32] = "thirty-two bytes of another ring";
static const struct digest key = { "0123456789abcde" };
#define RING UINT64_C(0x1122334455667788)

static dyn_context *
make(const char *clock)
{
	dyn_context *c;

	ck_assert_int_eq(context_new(&c, RING, &key, secret), 0);
	clock_of(&c->clock, clock);
	c->fastest = 'b';
	c->time = 77;
	return c;
}

struct encoded {
	unsigned char bytes[1024];
	size_t len;
};

static struct encoded
encode(const dyn_context *c)
{
	struct encoded e;

	ck_assert_int_eq(dyn_context_encode(c, e.bytes, sizeof(e.bytes), &e.len), 0);
	return e;
}

static const struct {
	const char *name, *clock;
} goldens[] = {
	{ "empty", "" },
	{ "one", "a1" },
	{ "usual", "a3 b1 c200" },
	{ "cloud", "a1 c1 +a3 +b2" },
};

START_TEST(bytes_are_golden)
{
	const struct golden_file *f = golden_load("context.txt");
	dyn_context *c = make(goldens[_i].clock);
	struct encoded e = encode(c);

	golden_expect(f, goldens[_i].name, slice(e.bytes, e.len));
	ck_assert_uint_eq(f->count, ARRAY_LEN(goldens));
	dyn_context_free(c);
}
END_TEST

START_TEST(a_context_comes_back)
{
	dyn_context *c = make(goldens[_i].clock), *back, *copy;
	struct encoded e = encode(c), again;

	ck_assert_int_eq(dyn_context_decode(&back, e.bytes, e.len), 0);
	ck_assert_uint_eq(back->ring, RING);
	ck_assert_uint_eq(back->fastest, 'b');
	ck_assert_uint_eq(back->time, 77);
	ck_assert(clock_equal(&back->clock, &c->clock));
	ck_assert_int_eq(context_check(back, RING, &key, secret), 0);
	again = encode(back);
	ck_assert(slice_equal(slice(e.bytes, e.len), slice(again.bytes, again.len)));
	ck_assert_int_eq(dyn_context_copy(&copy, back), 0);
	dyn_context_free(back);
	ck_assert_int_eq(context_check(copy, RING, &key, secret), 0);
	again = encode(copy);
	ck_assert(slice_equal(slice(e.bytes, e.len), slice(again.bytes, again.len)));
	dyn_context_free(copy);
	ck_assert_int_eq(dyn_context_copy(&copy, c), 0);
	dyn_context_free(c);
	again = encode(copy);
	ck_assert(slice_equal(slice(e.bytes, e.len), slice(again.bytes, again.len)));
	dyn_context_free(copy);
}
END_TEST

START_TEST(only_for_its_ring_and_key)
{
	static const struct digest other_key = { "0123456789abcdX" };
	dyn_context *c = make("a3 b1"), *back;
	struct encoded e = encode(c);

	ck_assert_int_eq(dyn_context_decode(&back, e.bytes, e.len), 0);
	for (int i = 0; i < 2; i++) {
		const dyn_context *x = i == 0 ? c : back;

		ck_assert_int_eq(context_check(x, RING, &key, secret), 0);
		ck_assert_int_eq(context_check(x, RING + 1, &key, secret), DYN_ECONTEXT);
		ck_assert_int_eq(context_check(x, RING, &other_key, secret), DYN_ECONTEXT);
	}
	ck_assert_int_eq(context_check(back, RING, &key, other_secret), DYN_ECONTEXT);
	dyn_context_free(c);
	dyn_context_free(back);
}
END_TEST

START_TEST(golden_bytes_decode_whole_or_not_at_all)
{
	const struct golden_file *f = golden_load("context.txt");
	const struct golden *g = &f->list[_i];
	unsigned char more[sizeof(g->bytes) + 1];
	dyn_context *c;
	struct buf *b;

	for (size_t len = 0; len < g->len; len++) {
		b = buf_copy(g->bytes, len);
		ck_assert_int_eq(dyn_context_decode(&c, b->data, len), DYN_ECONTEXT);
		ck_assert_ptr_null(c);
		buf_unref(b);
	}
	memcpy(more, g->bytes, g->len);
	more[g->len] = 0;
	ck_assert_int_eq(dyn_context_decode(&c, more, g->len + 1), DYN_ECONTEXT);
}
END_TEST

/* A flipped bit is found without the secret. */
START_TEST(damage_is_found)
{
	dyn_context *c = make("a3 b1 +c5"), *back;
	struct encoded e = encode(c);

	for (size_t bit = 0; bit < 8 * e.len; bit++) {
		int rc;

		e.bytes[bit / 8] ^= (unsigned char)(1 << bit % 8);
		rc = dyn_context_decode(&back, e.bytes, e.len);
		ck_assert(rc == DYN_ECONTEXT || (rc == DYN_EVERSION && bit / 8 == 2));
		ck_assert_ptr_null(back);
		e.bytes[bit / 8] ^= (unsigned char)(1 << bit % 8);
	}
	dyn_context_free(c);
}
END_TEST

/* Who makes the check sum good but has no secret gets nowhere: no bit of what
 * the context says, nor of its seal, can be changed. */
START_TEST(forgery_is_found_when_used)
{
	dyn_context *c = make("a3 b1 +c5"), *back;
	struct encoded e = encode(c);
	unsigned decoded = 0;

	for (size_t bit = 0; bit < 8 * (e.len - 8); bit++) {
		struct encoded forged = e;
		uint64_t sum;
		int rc;

		forged.bytes[bit / 8] ^= (unsigned char)(1 << bit % 8);
		sum = hash_quick(slice(forged.bytes, forged.len - 8));
		for (size_t i = 0; i < 8; i++)
			forged.bytes[forged.len - 8 + i] = (unsigned char)(sum >> (8 * i));
		rc = dyn_context_decode(&back, forged.bytes, forged.len);
		if (rc != 0)
			continue;
		decoded++;
		ck_assert_int_eq(context_check(back, RING, &key, secret), DYN_ECONTEXT);
		dyn_context_free(back);
	}
	ck_assert_uint_gt(decoded, 400);
	dyn_context_free(c);
}
END_TEST

START_TEST(size_is_told_before)
{
	dyn_context *c = make("a3 b1");
	unsigned char bytes[256];
	size_t need = 0, len = 0;

	ck_assert_int_eq(dyn_context_encode(c, NULL, 0, &need), DYN_ETOOBIG);
	ck_assert_uint_gt(need, 0);
	ck_assert_int_eq(dyn_context_encode(c, bytes, need - 1, &len), DYN_ETOOBIG);
	ck_assert_uint_eq(len, need);
	ck_assert_int_eq(dyn_context_encode(c, bytes, need, &len), 0);
	ck_assert_uint_eq(len, need);
	dyn_context_free(c);
}
END_TEST

/* The largest clock there may be fits into the largest context there may be. */
START_TEST(the_largest_context_travels)
{
	struct dot *dots = mem_array(LIMIT_ACTORS + LIMIT_CLOUD, sizeof(*dots));
	unsigned char *bytes = mem_alloc(LIMIT_CONTEXT);
	dyn_context *c = make(""), *back;
	size_t len;

	for (size_t i = 0; i < LIMIT_ACTORS + LIMIT_CLOUD; i++)
		dots[i] = (struct dot){ { i, UINT64_MAX }, COUNTER_MAX };
	c->clock.heap = c->clock.vector = dots;
	c->clock.cloud = dots + LIMIT_ACTORS;
	c->clock.vector_count = LIMIT_ACTORS;
	c->clock.cloud_count = LIMIT_CLOUD;
	ck_assert_int_eq(dyn_context_encode(c, bytes, LIMIT_CONTEXT, &len), 0);
	ck_assert_int_eq(dyn_context_decode(&back, bytes, len), 0);
	ck_assert(clock_equal(&back->clock, &c->clock));
	dyn_context_free(back);
	dyn_context_free(c);
	ck_assert_int_eq(dyn_context_decode(&back, bytes, LIMIT_CONTEXT + 1), DYN_ECONTEXT);
	mem_free(bytes);
}
END_TEST

START_TEST(bad_arguments)
{
	dyn_context *c = make("a1"), *out;
	unsigned char bytes[256];
	size_t len;

	ck_assert_int_eq(dyn_context_encode(NULL, bytes, sizeof(bytes), &len), DYN_EINVAL);
	ck_assert_int_eq(dyn_context_encode(c, NULL, 1, &len), DYN_EINVAL);
	ck_assert_int_eq(dyn_context_encode(c, bytes, sizeof(bytes), NULL), DYN_EINVAL);
	ck_assert_int_eq(dyn_context_decode(NULL, bytes, sizeof(bytes)), DYN_EINVAL);
	out = c;
	ck_assert_int_eq(dyn_context_decode(&out, NULL, 3), DYN_EINVAL);
	ck_assert_ptr_null(out);
	ck_assert_int_eq(dyn_context_copy(NULL, c), DYN_EINVAL);
	out = c;
	ck_assert_int_eq(dyn_context_copy(&out, NULL), DYN_EINVAL);
	ck_assert_ptr_null(out);
	dyn_context_free(NULL);
	dyn_context_free(c);
}
END_TEST

START_TEST(a_newer_format_is_told_from_damage)
{
	dyn_context *c = make("a1"), *back;
	struct encoded e = encode(c);

	e.bytes[2] = 2;
	ck_assert_int_eq(dyn_context_decode(&back, e.bytes, e.len), DYN_EVERSION);
	e.bytes[2] = 0;
	ck_assert_int_eq(dyn_context_decode(&back, e.bytes, e.len), DYN_ECONTEXT);
	dyn_context_free(c);
}
END_TEST

START_TEST(failing_allocations)
{
	dyn_context *c = make("a3 b1 +c5");
	struct encoded e = encode(c);

	TEST_ALLOC_FAILURES(n) {
		dyn_context *fresh, *back, *copy;
		struct encoded again;
		int rc;

		rc = context_new(&fresh, RING, &key, secret);
		ck_assert(rc == 0 ? fresh != NULL : rc == DYN_ENOMEM && fresh == NULL);
		rc = dyn_context_copy(&copy, c);
		ck_assert(rc == 0 ? copy != NULL : rc == DYN_ENOMEM && copy == NULL);
		rc = dyn_context_decode(&back, e.bytes, e.len);
		ck_assert(rc == 0 ? back != NULL : rc == DYN_ENOMEM && back == NULL);
		rc = dyn_context_encode(c, again.bytes, sizeof(again.bytes), &again.len);
		ck_assert(rc == 0 || rc == DYN_ENOMEM);
		if (back != NULL) {
			rc = context_check(back, RING, &key, secret);
			ck_assert(rc == 0 || rc == DYN_ENOMEM);
		}
		dyn_context_free(fresh);
		dyn_context_free(copy);
		dyn_context_free(back);
	}
	dyn_context_free(c);
}
END_TEST

static Suite *
context_suite(void)
{
	Suite *s = suite_create("context");
	TCase *c = test_case(s, "contexts", only_for_its_ring_and_key);

	tcase_add_loop_test(c, bytes_are_golden, 0, ARRAY_LEN(goldens));
	tcase_add_loop_test(c, a_context_comes_back, 0, ARRAY_LEN(goldens));
	tcase_add_loop_test(c, golden_bytes_decode_whole_or_not_at_all, 0, ARRAY_LEN(goldens));
	tcase_add_test(c, damage_is_found);
	tcase_add_test(c, forgery_is_found_when_used);
	tcase_add_test(c, size_is_told_before);
	tcase_add_test(c, the_largest_context_travels);
	tcase_add_test(c, bad_arguments);
	tcase_add_test(c, a_newer_format_is_told_from_damage);
	tcase_add_test(c, failing_allocations);
	return s;
}

TEST_MAIN(context_suite)
