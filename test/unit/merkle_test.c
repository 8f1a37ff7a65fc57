/*
 * Sums of digests, hash trees and leaves (merkle.c; key.c).
 *
 * Goal: a tree is the sum of its rows, however it came to be; a name lies in the
 * leaf whose bounds hold it, and in no other.
 * Method: arithmetic of the compiler against ours; a tree changed at random against
 * one that is added up from the rows that are left.
 */
#include "test/core_script.h"

#include "model/key.h"
#include "model/merkle.h"

typedef unsigned __int128 u128;

static struct digest
digest_of(u128 v)
{
	struct digest d;

	for (unsigned i = 0; i < 16; i++)
		d.b[i] = (unsigned char)(v >> (8 * i));
	return d;
}

static u128
value_of(const struct digest *d)
{
	u128 v = 0;

	for (unsigned i = 0; i < 16; i++)
		v |= (u128)d->b[i] << (8 * i);
	return v;
}

/* Many zeros and many ones, so that there is something to carry. */
static u128
random_value(struct rng *r)
{
	static const u128 borders[] = { 0, 1, UINT64_MAX, (u128)UINT64_MAX + 1, ~(u128)0,
		(u128)1 << 127, ((u128)UINT64_MAX) << 64 };
	u128 v = (u128)rng_next(r) << 64;

	v |= rng_next(r);
	switch (rng_below(r, 3)) {
	case 0:
		return v;
	case 1:
		return borders[rng_below(r, ARRAY_LEN(borders))];
	default:
		return v >> rng_below(r, 128);
	}
}

START_TEST(sums_carry)
{
	struct rng r = { test_seed() };

	for (unsigned i = 0; i < 20000; i++) {
		u128 a = random_value(&r), b = random_value(&r);
		struct digest sum = digest_of(a), other = digest_of(b);

		sum_add(&sum, &other);
		MUST(value_of(&sum) == a + b);
		sum_take(&sum, &other);
		MUST(value_of(&sum) == a);
		sum_take(&sum, &other);
		MUST(value_of(&sum) == a - b);
		sum_add(&sum, &other);
		MUST(value_of(&sum) == a);
		MUST(sum_is_zero(&sum) == (a == 0));
		/* The same on both sides. */
		sum_add(&sum, &sum);
		MUST(value_of(&sum) == a + a);
		sum_take(&sum, &sum);
		MUST(sum_is_zero(&sum));
	}
}
END_TEST

START_TEST(sums_that_are_written_down)
{
	struct digest a = { { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff } };
	struct digest one = { { 1 } }, carried = { { 0, 0, 0, 0, 0, 0, 0, 0, 1 } };
	struct digest all, zero = { { 0 } };

	sum_add(&a, &one);
	ck_assert_mem_eq(a.b, carried.b, 16);
	memset(all.b, 0xff, 16);
	sum_add(&all, &one);
	ck_assert(sum_is_zero(&all));
	sum_take(&zero, &one);
	memset(all.b, 0xff, 16);
	ck_assert_mem_eq(zero.b, all.b, 16);
}
END_TEST

#define ROWS 400

static void
add_up(struct merkle *m, const unsigned *leaf, const struct digest *row)
{
	memset(m, 0, sizeof(*m));
	for (unsigned i = 0; i < ROWS; i++) {
		sum_add(&m->leaf[leaf[i]], &row[i]);
		sum_add(&m->inner[leaf[i] / MERKLE_FAN], &row[i]);
		sum_add(&m->root, &row[i]);
	}
}

/* inner and root are the sums of the leaves below. */
static void
check_sums(const struct merkle *m)
{
	struct digest root = { { 0 } };

	for (unsigned i = 0; i < MERKLE_FAN; i++) {
		struct digest inner = { { 0 } };

		for (unsigned k = 0; k < MERKLE_FAN; k++)
			sum_add(&inner, &m->leaf[i * MERKLE_FAN + k]);
		MUST(digest_compare(&inner, &m->inner[i]) == 0);
		sum_add(&root, &inner);
	}
	MUST(digest_compare(&root, &m->root) == 0);
}

START_TEST(changes_are_take_and_add)
{
	static const struct digest none;
	struct rng r = { test_seed() + (uint64_t)_i };
	struct digest row[ROWS] = { { { 0 } } };
	unsigned leaf[ROWS];
	struct merkle m = { .root = { { 0 } } }, sum;

	for (unsigned i = 0; i < ROWS; i++)
		leaf[i] = (unsigned)rng_below(&r, MERKLE_LEAVES);
	for (unsigned i = 0; i < 5000; i++) {
		unsigned k = (unsigned)rng_below(&r, ROWS);
		struct digest after = digest_of(rng_below(&r, 4) == 0 ? 0 : random_value(&r));

		merkle_change(&m, leaf[k], &row[k], &after);
		row[k] = after;
	}
	add_up(&sum, leaf, row);
	ck_assert_mem_eq(&m, &sum, sizeof(m));
	check_sums(&m);
	/* All gone: as if there never had been any. */
	for (unsigned i = 0; i < ROWS; i++)
		merkle_change(&m, leaf[i], &row[i], &none);
	memset(&sum, 0, sizeof(sum));
	ck_assert_mem_eq(&m, &sum, sizeof(m));
}
END_TEST

START_TEST(the_order_does_not_matter)
{
	static const struct digest none;
	struct rng r = { test_seed() + (uint64_t)_i };
	struct digest row[ROWS];
	unsigned leaf[ROWS], order[ROWS];
	struct merkle m = { .root = { { 0 } } }, other = { .root = { { 0 } } };

	for (unsigned i = 0; i < ROWS; i++) {
		leaf[i] = (unsigned)rng_below(&r, MERKLE_LEAVES);
		row[i] = digest_of(random_value(&r));
		order[i] = i;
	}
	for (unsigned i = ROWS - 1; i > 0; i--) {
		unsigned k = (unsigned)rng_below(&r, i + 1), t = order[i];

		order[i] = order[k];
		order[k] = t;
	}
	for (unsigned i = 0; i < ROWS; i++) {
		merkle_change(&m, leaf[i], &none, &row[i]);
		merkle_change(&other, leaf[order[i]], &none, &row[order[i]]);
	}
	ck_assert_mem_eq(&m, &other, sizeof(m));
	/* What is lost shows at all three nodes above it, and nowhere else. */
	merkle_change(&other, leaf[7], &row[7], &none);
	for (unsigned i = 0; i < MERKLE_LEAVES; i++)
		MUST((digest_compare(&m.leaf[i], &other.leaf[i]) == 0) ==
		    (i != leaf[7] || sum_is_zero(&row[7])));
	for (unsigned i = 0; i < MERKLE_FAN; i++)
		MUST((digest_compare(&m.inner[i], &other.inner[i]) == 0) ==
		    (i != leaf[7] / MERKLE_FAN || sum_is_zero(&row[7])));
	MUST((digest_compare(&m.root, &other.root) == 0) == sum_is_zero(&row[7]));
}
END_TEST

static const unsigned partitions_of[] = { 1, 2, 8, 64, 1024, 65536 };

/* The smallest and the largest name that there can be with these first 3 bytes. */
static void
border_names(unsigned top, unsigned char low[KEY_NAME_MAX], unsigned char high[KEY_NAME_MAX])
{
	memset(low, 0, KEY_NAME_MAX);
	memset(high, 0xff, KEY_NAME_MAX);
	low[0] = high[0] = (unsigned char)(top >> 16);
	low[1] = high[1] = (unsigned char)(top >> 8);
	low[2] = high[2] = (unsigned char)top;
}

static void
lies_in(struct dyn_slice name, unsigned partition, unsigned partitions, unsigned leaf)
{
	MUST(name_partition(name, partitions) == partition);
	MUST(name_leaf(name, partitions) == leaf);
}

/* All leaves of a partition follow each other without a gap, from its first bound to
 * its last; and names at the borders lie where the bounds say. */
static void
check_leaves(unsigned partition, unsigned partitions)
{
	unsigned char first[16], last[KEY_NAME_MAX], whole_first[16], whole_last[KEY_NAME_MAX];
	unsigned char low[KEY_NAME_MAX], high[KEY_NAME_MAX];
	unsigned next;

	partition_bounds(partition, partitions, whole_first, whole_last);
	leaf_bounds(partition, partitions, 0, 255, first, last);
	MUST(memcmp(first, whole_first, 16) == 0);
	MUST(memcmp(last, whole_last, KEY_NAME_MAX) == 0);
	next = (unsigned)whole_first[0] << 16 | (unsigned)whole_first[1] << 8;
	for (unsigned leaf = 0; leaf < 256; leaf++) {
		unsigned from, to;

		leaf_bounds(partition, partitions, leaf, leaf, first, last);
		from = (unsigned)first[0] << 16 | (unsigned)first[1] << 8 | first[2];
		to = (unsigned)last[0] << 16 | (unsigned)last[1] << 8 | last[2];
		MUST(from == next && to >= from);
		next = to + 1;
		border_names(from, low, high);
		/* The bound itself is before every name: a scan begins after it. */
		MUST(memcmp(first, low, 16) == 0);
		lies_in(slice(low, KEY_NAME_MIN), partition, partitions, leaf);
		lies_in(slice(high, KEY_NAME_MAX), partition, partitions, leaf);
		border_names(to, low, high);
		MUST(memcmp(last, high, KEY_NAME_MAX) == 0);
		lies_in(slice(low, KEY_NAME_MIN), partition, partitions, leaf);
		lies_in(slice(high, KEY_NAME_MAX), partition, partitions, leaf);
	}
	MUST(next - 1 == ((unsigned)whole_last[0] << 16 | (unsigned)whole_last[1] << 8 | 0xff));
}

START_TEST(leaves_fill_their_partition)
{
	unsigned partitions = partitions_of[_i];
	/* All of them, but of very many only some. */
	unsigned step = partitions > 1024 ? 257 : 1;

	for (unsigned p = 0; p < partitions; p += step)
		check_leaves(p, partitions);
	check_leaves(partitions - 1, partitions);
}
END_TEST

START_TEST(random_names_lie_in_their_leaf)
{
	struct rng r = { test_seed() + (uint64_t)_i };
	unsigned partitions = partitions_of[_i];

	for (unsigned i = 0; i < 20000; i++) {
		unsigned char name[40], first[16], last[KEY_NAME_MAX];
		struct dyn_slice s = slice(name, sizeof(name));
		unsigned p, leaf, from, to;

		for (unsigned k = 0; k < sizeof(name); k++)
			name[k] = (unsigned char)rng_next(&r);
		p = name_partition(s, partitions);
		leaf = name_leaf(s, partitions);
		from = (unsigned)rng_below(&r, 256);
		to = from + (unsigned)rng_below(&r, 256 - from);
		leaf_bounds(p, partitions, from, to, first, last);
		MUST((from <= leaf && leaf <= to) ==
		    (slice_compare(s, slice(first, 16)) > 0 &&
		        slice_compare(s, slice(last, sizeof(last))) <= 0));
	}
}
END_TEST

static Suite *
suite(void)
{
	Suite *s = suite_create("merkle");
	TCase *c = tcase_create("trees");

	suite_add_tcase(s, c);
	tcase_add_test(c, sums_carry);
	tcase_add_test(c, sums_that_are_written_down);
	tcase_add_loop_test(c, changes_are_take_and_add, 0, 8);
	tcase_add_loop_test(c, the_order_does_not_matter, 0, 8);
	c = tcase_create("leaves");
	suite_add_tcase(s, c);
	tcase_add_loop_test(c, leaves_fill_their_partition, 0, ARRAY_LEN(partitions_of));
	tcase_add_loop_test(c, random_names_lie_in_their_leaf, 0, ARRAY_LEN(partitions_of));
	return s;
}

TEST_MAIN(suite)
