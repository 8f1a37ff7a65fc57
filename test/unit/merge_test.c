/*
 * Goal: the small public functions, and a checker that finds every broken law
 * of a merge callback and blames no good one.
 * Method: callbacks that keep the laws, and one callback for each way to break
 * one of them.
 */
#include "test/test.h"

#include "base/base.h"

#include <stdio.h>

/* -------------------------------------------------------------- small functions */

START_TEST(strings_are_slices)
{
	struct dyn_slice s = dyn_str("abc");

	ck_assert_uint_eq(s.len, 3);
	ck_assert_mem_eq(s.data, "abc", 3);
	ck_assert_uint_eq(dyn_str("").len, 0);
	ck_assert_uint_eq(dyn_str(NULL).len, 0);
}
END_TEST

START_TEST(buffers_grow)
{
	struct dyn_buffer b = { 0 };

	for (int i = 0; i < 1000; i++)
		ck_assert_int_eq(dyn_buffer_append(&b, "0123456789", (size_t)i % 11), 0);
	ck_assert_uint_eq(b.len, 4950 + 45); /* 90 rounds of 55, and 0 to 9 */
	ck_assert_uint_ge(b.cap, b.len);
	ck_assert_mem_eq(b.data, "001012", 6);
	ck_assert_int_eq(dyn_buffer_append(&b, NULL, 0), 0);
	ck_assert_int_eq(dyn_buffer_append(&b, NULL, 1), DYN_EINVAL);
	ck_assert_int_eq(dyn_buffer_append(NULL, "x", 1), DYN_EINVAL);
	ck_assert_int_eq(dyn_buffer_append(&b, "x", SIZE_MAX), DYN_ENOMEM);
	dyn_buffer_free(&b);
	ck_assert_ptr_null(b.data);
	ck_assert_int_eq(dyn_buffer_append(&b, "again", 5), 0);
	dyn_buffer_free(&b);
	dyn_buffer_free(&b);
	dyn_buffer_free(NULL);
}
END_TEST

START_TEST(a_buffer_that_cannot_grow_is_as_before)
{
	TEST_ALLOC_FAILURES(n) {
		static const char filler[100];
		struct dyn_buffer b = { 0 };
		size_t len = 0;

		for (int i = 0; i < 10; i++) {
			int rc = dyn_buffer_append(&b, filler, sizeof(filler));

			ck_assert(rc == 0 || rc == DYN_ENOMEM);
			len += rc == 0 ? sizeof(filler) : 0;
			ck_assert_uint_eq(b.len, len);
		}
		dyn_buffer_free(&b);
	}
}
END_TEST

START_TEST(errors_have_sentences)
{
	ck_assert_str_eq(dyn_strerror(0), "success");
	for (int code = -28; code < 0; code++)
		ck_assert_str_ne(dyn_strerror(code), dyn_strerror(code + 1));
	ck_assert_str_eq(dyn_strerror(DYN_EQUORUM),
	    "too few owners reachable; nothing was applied");
	ck_assert_str_eq(dyn_strerror(1), "unknown error");
	ck_assert_str_eq(dyn_strerror(-29), "unknown error");
	ck_assert_str_eq(dyn_strerror(INT32_MIN), "unknown error");
	ck_assert_str_eq(dyn_version(), DYN_VERSION_STRING);
}
END_TEST

START_TEST(ids_as_text)
{
	struct dyn_id id = { { 0x00, 0x01, 0x0a, 0xf0, 0xff, [15] = 0x9b } }, back;
	char text[33];

	dyn_id_format(id, text);
	ck_assert_str_eq(text, "00010af0ff000000000000000000009b");
	ck_assert_int_eq(dyn_id_parse(&back, text), 0);
	ck_assert_mem_eq(back.bytes, id.bytes, 16);
	ck_assert_int_eq(dyn_id_parse(&back, "00010AF0FF000000000000000000009B"), 0);
	ck_assert_mem_eq(back.bytes, id.bytes, 16);
	ck_assert_int_eq(dyn_id_parse(&back, ""), DYN_EINVAL);
	ck_assert_int_eq(dyn_id_parse(&back, "00010af0ff000000000000000000009"), DYN_EINVAL);
	ck_assert_int_eq(dyn_id_parse(&back, "00010af0ff000000000000000000009b0"), DYN_EINVAL);
	ck_assert_int_eq(dyn_id_parse(&back, "00010af0ff000000000000000000009g"), DYN_EINVAL);
	ck_assert_int_eq(dyn_id_parse(&back, " 0010af0ff000000000000000000009b"), DYN_EINVAL);
	ck_assert_int_eq(dyn_id_parse(&back, NULL), DYN_EINVAL);
	ck_assert_int_eq(dyn_id_parse(NULL, text), DYN_EINVAL);
}
END_TEST

/* -------------------------------------------------------------------- callbacks */

/* Union of letters, written in order: keeps all laws. */
static int
letters(void *arg, struct dyn_slice key, const struct dyn_slice *values, size_t count,
    struct dyn_buffer *out)
{
	bool have[256] = { false };
	int rc = 0;

	(void)arg;
	(void)key;
	for (size_t i = 0; i < count; i++)
		for (size_t j = 0; j < values[i].len; j++)
			have[((const unsigned char *)values[i].data)[j]] = true;
	for (int c = 0; c < 256 && rc == 0; c++) {
		unsigned char byte = (unsigned char)c;

		if (have[c])
			rc = dyn_buffer_append(out, &byte, 1);
	}
	return rc;
}

static int
largest(void *arg, struct dyn_slice key, const struct dyn_slice *values, size_t count,
    struct dyn_buffer *out)
{
	struct dyn_slice best = values[0];

	(void)arg;
	(void)key;
	for (size_t i = 1; i < count; i++)
		if (slice_compare(values[i], best) > 0)
			best = values[i];
	return dyn_buffer_append(out, best.data, best.len);
}

/* The first that came: depends on order. */
static int
first(void *arg, struct dyn_slice key, const struct dyn_slice *values, size_t count,
    struct dyn_buffer *out)
{
	(void)arg;
	(void)key;
	(void)count;
	return dyn_buffer_append(out, values[0].data, values[0].len);
}

static int
number(struct dyn_slice s)
{
	int n = 0;

	for (size_t i = 0; i < s.len; i++)
		n = n * 10 + ((const char *)s.data)[i] - '0';
	return n;
}

static int
append_number(struct dyn_buffer *out, int n)
{
	char text[16];

	return dyn_buffer_append(out, text, (size_t)snprintf(text, sizeof(text), "%d", n));
}

/* Sums: merging what was merged already counts it twice. */
static int
sum(void *arg, struct dyn_slice key, const struct dyn_slice *values, size_t count,
    struct dyn_buffer *out)
{
	int n = 0;

	(void)arg;
	(void)key;
	for (size_t i = 0; i < count; i++)
		n = (n + number(values[i])) % 1000;
	return append_number(out, n);
}

/* Means: of three in pairs they depend on the grouping. */
static int
mean(void *arg, struct dyn_slice key, const struct dyn_slice *values, size_t count,
    struct dyn_buffer *out)
{
	int n = 0;

	(void)arg;
	(void)key;
	for (size_t i = 0; i < count; i++)
		n += number(values[i]);
	return append_number(out, n / (int)count);
}

/* Rock, paper, scissors: the winner of two is clear, of three it depends. */
static int
game(void *arg, struct dyn_slice key, const struct dyn_slice *values, size_t count,
    struct dyn_buffer *out)
{
	int best = number(values[0]);

	(void)arg;
	(void)key;
	for (size_t i = 1; i < count; i++)
		if (number(values[i]) == (best + 1) % 3)
			best = number(values[i]);
	return append_number(out, best);
}

/* Right for two, but of three it forgets the last. */
static int
two_only(void *arg, struct dyn_slice key, const struct dyn_slice *values, size_t count,
    struct dyn_buffer *out)
{
	return letters(arg, key, values, MIN(count, 2), out);
}

static int
refuses(void *arg, struct dyn_slice key, const struct dyn_slice *values, size_t count,
    struct dyn_buffer *out)
{
	(void)key;
	(void)values;
	(void)count;
	(void)out;
	return *(int *)arg;
}

/* Gives up when there are more than two. */
static int
not_three(void *arg, struct dyn_slice key, const struct dyn_slice *values, size_t count,
    struct dyn_buffer *out)
{
	return count > 2 ? -1 : letters(arg, key, values, count, out);
}

/* Gives up on what was merged before. */
static int
not_again(void *arg, struct dyn_slice key, const struct dyn_slice *values, size_t count,
    struct dyn_buffer *out)
{
	return values[0].len > 1 ? -1 : letters(arg, key, values, count, out);
}

static const struct {
	dyn_merge *merge;
	const char *samples[4];
	const char *says; /* NULL: all laws are kept */
} checks[] = {
	{ letters, { "ab", "bc", "", "dab" }, NULL },
	{ letters, { "ba", "ba", "cb", "zz" }, NULL }, /* not in the form it writes */
	{ largest, { "1", "5", "30", "4" }, NULL },
	{ first, { "1", "2", "1", "2" }, "not commutative" },
	{ sum, { "1", "2", "3", "4" }, "not idempotent" },
	{ mean, { "8", "4", "2", "1" }, "not idempotent" },
	{ game, { "0", "1", "2", "0" }, "not associative" },
	{ two_only, { "a", "b", "c", "d" }, "merged at once differ" },
	{ not_three, { "a", "b", "c", "d" }, "returned -1" },
	{ not_again, { "a", "b", "c", "d" }, "returned -1" },
};

START_TEST(laws)
{
	struct dyn_slice samples[4];
	struct dyn_error error;
	int rc;

	for (size_t i = 0; i < 4; i++)
		samples[i] = dyn_str(checks[_i].samples[i]);
	rc = dyn_merge_check(checks[_i].merge, NULL, dyn_str("key"), samples, 4, &error);
	ck_assert_int_eq(rc, checks[_i].says == NULL ? 0 : DYN_EMERGE);
	ck_assert_int_eq(error.code, rc);
	ck_assert_msg(checks[_i].says == NULL || strstr(error.text, checks[_i].says) != NULL,
	    "%s", error.text);
	ck_assert_int_eq(dyn_merge_check(checks[_i].merge, NULL, dyn_str("key"), samples, 4, NULL),
	    rc);
}
END_TEST

/* The law may be broken for the last triple only; samples beyond 32 are left. */
START_TEST(all_of_the_first_32_samples_are_tried)
{
	struct dyn_slice samples[33];

	for (size_t i = 0; i < 33; i++)
		samples[i] = dyn_str("0");
	ck_assert_int_eq(dyn_merge_check(game, NULL, dyn_str("k"), samples, 33, NULL), 0);
	samples[32] = dyn_str("1");
	samples[31] = dyn_str("2");
	ck_assert_int_eq(dyn_merge_check(game, NULL, dyn_str("k"), samples, 33, NULL), 0);
	samples[30] = dyn_str("1");
	ck_assert_int_eq(dyn_merge_check(game, NULL, dyn_str("k"), samples, 33, NULL), DYN_EMERGE);
}
END_TEST

START_TEST(checker_with_bad_arguments)
{
	struct dyn_slice samples[2] = { { "a", 1 }, { "b", 1 } };
	struct dyn_error error;
	int back = 5;

	ck_assert_int_eq(dyn_merge_check(NULL, NULL, samples[0], samples, 2, &error),
	    DYN_EINVAL);
	ck_assert_int_eq(dyn_merge_check(letters, NULL, samples[0], NULL, 2, &error),
	    DYN_EINVAL);
	ck_assert_int_eq(dyn_merge_check(letters, NULL, samples[0], samples, 1, &error),
	    DYN_EINVAL);
	ck_assert_int_eq(error.code, DYN_EINVAL);
	ck_assert_int_eq(dyn_merge_check(refuses, &back, samples[0], samples, 2, &error),
	    DYN_EMERGE);
	ck_assert_ptr_nonnull(strstr(error.text, "returned 5"));
	back = DYN_ENOMEM;
	ck_assert_int_eq(dyn_merge_check(refuses, &back, samples[0], samples, 2, &error),
	    DYN_ENOMEM);
}
END_TEST

START_TEST(checker_out_of_memory)
{
	struct dyn_slice samples[2] = { { "a", 1 }, { "b", 1 } };

	TEST_ALLOC_FAILURES(n) {
		int rc = dyn_merge_check(letters, NULL, samples[0], samples, 2, NULL);

		ck_assert(rc == 0 || rc == DYN_ENOMEM);
	}
}
END_TEST

static Suite *
merge_suite(void)
{
	Suite *s = suite_create("merge");
	TCase *c = test_case(s, "small", strings_are_slices);

	tcase_add_test(c, buffers_grow);
	tcase_add_test(c, a_buffer_that_cannot_grow_is_as_before);
	tcase_add_test(c, errors_have_sentences);
	tcase_add_test(c, ids_as_text);
	c = test_case(s, "checker", checker_with_bad_arguments);
	tcase_add_loop_test(c, laws, 0, ARRAY_LEN(checks));
	tcase_add_test(c, all_of_the_first_32_samples_are_tried);
	tcase_add_test(c, checker_out_of_memory);
	return s;
}

TEST_MAIN(merge_suite)
