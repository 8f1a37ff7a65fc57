/*
 * Goal: a name says bucket and key, its hash the partition; bounds hold exactly
 * the names of a partition.
 * Method: known digests, limits of lengths, damaged names, random names against
 * the bounds.
 */
#include "test/test.h"

#include "base/rng.h"
#include "model/key.h"

static struct dyn_slice
bytes(const struct buf *b)
{
	return buf_slice(b);
}

static struct buf *
make(enum dyn_hash hash, const char *bucket, const char *key)
{
	struct buf *name;

	ck_assert_int_eq(name_make(hash, dyn_str(bucket), dyn_str(key), &name), 0);
	return name;
}

/* printf '\004cartalice' | sha256sum, md5sum: written here once and for all. */
START_TEST(names_are_golden)
{
	static const unsigned char sha256[16] = {
		0xa2, 0x9e, 0x1d, 0x3c, 0x85, 0xa0, 0x98, 0x44,
		0x1c, 0xed, 0x53, 0xb8, 0xf2, 0xec, 0x13, 0xab,
	};
	static const unsigned char md5[16] = {
		0x03, 0xb6, 0xb4, 0x50, 0x96, 0x90, 0x98, 0x3b,
		0x73, 0xf1, 0x0b, 0x9c, 0xc9, 0x1f, 0xd8, 0x81,
	};
	struct buf *name = make(_i == 0 ? DYN_HASH_SHA256 : DYN_HASH_MD5, "cart", "alice");

	ck_assert_uint_eq(name->len, 16 + 1 + 4 + 5);
	ck_assert_mem_eq(name->data, _i == 0 ? sha256 : md5, 16);
	ck_assert_mem_eq(name->data + 16, "\004cartalice", 10);
	buf_unref(name);
}
END_TEST

START_TEST(bucket_and_key_come_back)
{
	struct buf *name = make(DYN_HASH_SHA256, "cart", "alice");
	struct dyn_slice bucket, key;

	ck_assert(name_split(bytes(name), &bucket, &key));
	ck_assert(slice_equal(bucket, dyn_str("cart")));
	ck_assert(slice_equal(key, dyn_str("alice")));
	ck_assert(name_split(bytes(name), NULL, NULL));
	buf_unref(name);
}
END_TEST

/* "a" + "bc" is not "ab" + "c". */
START_TEST(buckets_are_apart)
{
	struct buf *a = make(DYN_HASH_SHA256, "a", "bc"), *b = make(DYN_HASH_SHA256, "ab", "c");

	ck_assert_mem_ne(a->data, b->data, 16);
	buf_unref(a);
	buf_unref(b);
}
END_TEST

START_TEST(lengths)
{
	static const struct {
		size_t bucket, key;
		int rc;
	} cases[] = {
		{ 1, 1, 0 },
		{ DYN_BUCKET_MAX, DYN_KEY_MAX, 0 },
		{ 0, 1, DYN_EINVAL },
		{ 1, 0, DYN_EINVAL },
		{ DYN_BUCKET_MAX + 1, 1, DYN_EINVAL },
		{ 1, DYN_KEY_MAX + 1, DYN_EINVAL },
	};
	static const unsigned char any[DYN_KEY_MAX + 1];

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct buf *name;

		ck_assert_int_eq(name_make(DYN_HASH_SHA256, slice(any, cases[i].bucket),
		    slice(any, cases[i].key), &name), cases[i].rc);
		ck_assert_int_eq(name != NULL, cases[i].rc == 0);
		if (name != NULL) {
			ck_assert_uint_ge(name->len, KEY_NAME_MIN);
			ck_assert_uint_le(name->len, KEY_NAME_MAX);
			ck_assert(name_genuine(DYN_HASH_SHA256, bytes(name)));
		}
		buf_unref(name);
	}
}
END_TEST

START_TEST(malformed_names)
{
	unsigned char name[KEY_NAME_MAX + 1] = { 0 };

	for (size_t len = 0; len < KEY_NAME_MIN; len++)
		ck_assert(!name_split(slice(name, len), NULL, NULL));
	ck_assert(!name_split(slice(name, KEY_NAME_MAX + 1), NULL, NULL));
	name[16] = 0; /* no bucket */
	ck_assert(!name_split(slice(name, 40), NULL, NULL));
	name[16] = DYN_BUCKET_MAX + 1;
	ck_assert(!name_split(slice(name, 200), NULL, NULL));
	name[16] = 10; /* no byte left for the key */
	ck_assert(!name_split(slice(name, 16 + 1 + 10), NULL, NULL));
	ck_assert(name_split(slice(name, 16 + 1 + 10 + 1), NULL, NULL));
	name[16] = 1; /* key too long, name not */
	ck_assert(!name_split(slice(name, 16 + 1 + 1 + DYN_KEY_MAX + 1), NULL, NULL));
}
END_TEST

START_TEST(only_the_right_hash_is_genuine)
{
	struct buf *name = make(DYN_HASH_SHA256, "cart", "alice");

	ck_assert(name_genuine(DYN_HASH_SHA256, bytes(name)));
	ck_assert(!name_genuine(DYN_HASH_MD5, bytes(name)));
	ck_assert(!name_genuine(DYN_HASH_SHA256, slice(name->data, KEY_NAME_MIN - 1)));
	for (size_t i = 0; i < name->len; i++) {
		name->data[i] ^= 1;
		ck_assert(!name_genuine(DYN_HASH_SHA256, bytes(name)));
		name->data[i] ^= 1;
	}
	buf_unref(name);
}
END_TEST

START_TEST(partitions_are_the_top_bits)
{
	const unsigned char low[16] = { 0 }, mid[16] = { 0x80, 0x40 }, high[16] = { 0xff, 0xff };

	ck_assert_uint_eq(name_partition(slice(low, 16), 1024), 0);
	ck_assert_uint_eq(name_partition(slice(mid, 16), 1024), 513);
	ck_assert_uint_eq(name_partition(slice(high, 16), 1024), 1023);
	ck_assert_uint_eq(name_partition(slice(mid, 16), 16), 8);
	ck_assert_uint_eq(name_partition(slice(mid, 16), 65536), 0x8040);
	ck_assert_uint_eq(name_partition(slice(high, 16), 1), 0);
}
END_TEST

/* A name lies between the bounds of its partition and of no other. */
START_TEST(bounds_hold_exactly_their_partition)
{
	static const unsigned sizes[] = { 1, 2, 16, 256, 1024, 65536 };
	unsigned partitions = sizes[_i];
	struct rng rng = { test_seed() };
	unsigned char first[16], last[KEY_NAME_MAX], name[KEY_NAME_MAX];

	for (int n = 0; n < 2000; n++) {
		unsigned p = (unsigned)rng_below(&rng, partitions), q;
		size_t len = KEY_NAME_MIN + rng_below(&rng, KEY_NAME_MAX - KEY_NAME_MIN + 1);
		struct dyn_slice s = slice(name, len);
		bool between;

		partition_bounds(p, partitions, first, last);
		memset(name, n % 2 == 0 ? 0xff : 0, sizeof(name));
		q = n % 3 == 0 ? (unsigned)rng_below(&rng, partitions) : p;
		name[0] = (unsigned char)(q * (65536 / partitions) >> 8);
		name[1] = (unsigned char)(q * (65536 / partitions));
		if (n % 2 == 0 && n % 3 != 0)
			memcpy(name, last, 2);
		between = slice_compare(slice(first, 16), s) < 0 &&
		    slice_compare(s, slice(last, KEY_NAME_MAX)) <= 0;
		if (between != (name_partition(s, partitions) == p))
			ck_abort_msg("%u of %u", p, partitions);
	}
}
END_TEST

START_TEST(failing_allocations)
{
	TEST_ALLOC_FAILURES(n) {
		struct buf *name;
		int rc = name_make(DYN_HASH_SHA256, dyn_str("b"), dyn_str("k"), &name);

		ck_assert(rc == 0 ? name != NULL : rc == DYN_ENOMEM && name == NULL);
		buf_unref(name);
	}
}
END_TEST

static Suite *
key_suite(void)
{
	Suite *s = suite_create("key");
	TCase *c = test_case(s, "names", bucket_and_key_come_back);

	tcase_add_loop_test(c, names_are_golden, 0, 2);
	tcase_add_test(c, buckets_are_apart);
	tcase_add_test(c, lengths);
	tcase_add_test(c, malformed_names);
	tcase_add_test(c, only_the_right_hash_is_genuine);
	tcase_add_test(c, partitions_are_the_top_bits);
	tcase_add_loop_test(c, bounds_hold_exactly_their_partition, 0, 6);
	tcase_add_test(c, failing_allocations);
	return s;
}

TEST_MAIN(key_suite)
