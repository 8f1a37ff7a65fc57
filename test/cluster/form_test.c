/*
 * Goal: processes that know each other's addresses become one ring, whatever
 * the order; all agree on members and owners (S14); each serves every key;
 * clients and peers with several workers too.
 * Method: real processes on loopback, asked what they see.
 */
#include "ring.h"

#include <stdio.h>

/* All peers and the client name the same owners of a key, n of them, distinct. */
static void
same_owners(struct ring *r, struct proc *client, unsigned n)
{
	for (unsigned k = 0; k < 20; k++) {
		struct dyn_id owners[8], others[8];
		char key[32];

		snprintf(key, sizeof(key), "key-%u", k);
		ck_assert_uint_eq(proc_owners(client, key, owners, 8), n);
		for (unsigned i = 0; i < n; i++)
			for (unsigned j = 0; j < i; j++)
				ck_assert_mem_ne(
				    &owners[i], &owners[j], sizeof(owners[0]));
		for (unsigned i = 0; i < r->count; i++) {
			ck_assert_uint_eq(proc_owners(&r->peer[i], key, others, 8), n);
			ck_assert_mem_eq(owners, others, n * sizeof(owners[0]));
		}
	}
}

/* Written through one, read through another, for each pair. */
static void
all_serve(struct ring *r, struct proc *client)
{
	struct proc *all[RING_MAX + 1];
	unsigned count = 0;
	char key[32], value[32];

	for (unsigned i = 0; i < r->count; i++)
		all[count++] = &r->peer[i];
	all[count++] = client;
	for (unsigned i = 0; i < 5 * count; i++) {
		snprintf(key, sizeof(key), "key-%u", i);
		snprintf(value, sizeof(value), "value-%u", i);
		proc_write(all[i % count], key, value);
		for (unsigned j = 0; j < count; j++)
			ck_assert_str_eq(proc_read(all[j], key, 0), value);
	}
}

static void
in_place(struct ring *r, unsigned n)
{
	struct dyn_status s = DYN_STATUS_INIT;
	unsigned owned = 0;

	for (unsigned i = 0; i < r->count; i++) {
		proc_status(&r->peer[i], &s);
		ck_assert_uint_eq(s.n, n);
		/* Who came up before the others dials them again. */
		TEST_WAIT(proc_reaches(&r->peer[i]) == r->count, 5000);
		ck_assert_uint_eq(s.under_replicated, 0);
		owned += s.owned;
	}
	ck_assert_uint_eq(owned, n * s.partitions);
}

/* Each can ask each how it is. */
static void
ask_each_other(struct ring *r, struct proc *client)
{
	struct dyn_status own = DYN_STATUS_INIT, s = DYN_STATUS_INIT;
	struct dyn_id nobody = {{1}};

	for (unsigned i = 0; i < r->count; i++) {
		proc_status(&r->peer[i], &own);
		for (unsigned j = 0; j <= r->count; j++) {
			struct proc *p = j < r->count ? &r->peer[j] : client;

			ck_assert_int_eq(proc_member_status(p, r->peer[i].id, &s), 0);
			ck_assert_mem_eq(&s.node, &r->peer[i].id, sizeof(s.node));
			ck_assert_mem_eq(s.digest, own.digest, sizeof(s.digest));
			ck_assert_uint_eq(s.owned, own.owned);
		}
	}
	ck_assert_int_eq(proc_member_status(client, nobody, &s), DYN_ENOTFOUND);
}

static void
whole_life(struct ring *r)
{
	struct dyn_member m[RING_MAX];
	struct proc client;

	ring_client(r, &client);
	same_owners(r, &client, 3);
	all_serve(r, &client);
	in_place(r, 3);
	ask_each_other(r, &client);
	ck_assert_uint_eq(proc_members(&client, m, RING_MAX), r->count);
	ck_assert_int_eq(proc_close(&client, 1000), 0);
	ring_close(r);
}

START_TEST(one_by_one)
{
	struct ring r;

	ring_init(&r, 3);
	for (unsigned i = 0; i < r.count; i++)
		ring_open(&r, i);
	ring_settled(&r, r.count);
	whole_life(&r);
}
END_TEST

START_TEST(all_at_once)
{
	struct ring r;

	ring_init(&r, 5);
	r.first_creates = false;
	ring_open_all(&r);
	whole_life(&r);
}
END_TEST

START_TEST(two_workers)
{
	struct ring r;

	ring_init(&r, 6);
	r.first_creates = false;
	r.base.workers = 2;
	ring_open_all(&r);
	whole_life(&r);
}
END_TEST

/* As large as the option allows, through a node that does not own it too. */
START_TEST(large_values)
{
	enum { SIZE = 8 << 20 };
	struct proc_call c = {
	    .key = "large", .size = SIZE, .call = {.timeout_ms = 20000}};
	struct proc_answer a;
	struct proc client;
	struct ring r;

	ring_init(&r, 3);
	r.base.value_max = SIZE;
	ring_open_all(&r);
	ring_client(&r, &client);
	ck_assert_int_eq(proc_put(&client, &c, &a), 0);
	c.seen = &a;
	ck_assert_int_eq(proc_put(&r.peer[0], &c, &a), 0);
	for (unsigned i = 0; i < 3; i++) {
		ck_assert_int_eq(proc_get(&r.peer[i], &c, &a), 0);
		ck_assert_uint_eq(a.count, 1);
		ck_assert_uint_eq(a.size, SIZE);
	}
	c.size = SIZE + 1;
	ck_assert_int_eq(proc_put(&client, &c, &a), DYN_ETOOBIG);
	ck_assert_int_eq(proc_close(&client, 1000), 0);
	ring_close(&r);
}
END_TEST

static Suite *
suite(void)
{
	Suite *s = suite_create("form");

	test_case(s, "one by one", one_by_one);
	test_case(s, "all at once", all_at_once);
	test_case(s, "two workers", two_workers);
	test_case(s, "large values", large_values);
	return s;
}

TEST_MAIN(suite)
