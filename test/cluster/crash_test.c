/*
 * Goal: a killed peer costs no read and no acknowledged write; the others go
 * on, and it gets what it missed when it is back.  All killed at once: what
 * was acknowledged as on disk is there, and the copies agree after reads (S1,
 * S7, S16).
 * Method: five processes under the load of load.h, SIGKILL, restart on the same
 * directory.
 */
#include "ring.h"

#include <signal.h>
#include <stdio.h>

/* Every copy of every key, at each owner, is the same. */
static void
copies_agree(struct ring *r, unsigned keys)
{
	for (unsigned k = 0; k < keys; k++) {
		char name[32], first[4096];
		struct dyn_id owners[8];
		size_t count;
		bool have = false;

		snprintf(name, sizeof(name), "counter-%u", k);
		count = proc_owners(&r->peer[0], name, owners, 8);
		ck_assert_uint_eq(count, 3);
		for (unsigned i = 0; i < r->count; i++) {
			const char *values;

			if (memcmp(&r->peer[i].id, &owners[0], 16) != 0 &&
			    memcmp(&r->peer[i].id, &owners[1], 16) != 0 &&
			    memcmp(&r->peer[i].id, &owners[2], 16) != 0)
				continue;
			values = proc_read(&r->peer[i], name, DYN_HERE);
			if (!have)
				snprintf(first, sizeof(first), "%s", values);
			have = true;
			ck_assert_str_eq(first, values);
		}
	}
}

/* Read all through one peer, so that what differs is repaired. */
static void
repair(struct ring *r, struct load *l)
{
	load_verify(l, &r->peer[0], 0);
	/* Late answers have a moment, then repairs have to be stored. */
	test_sleep_ms(400);
}

START_TEST(one_of_five)
{
	struct load *l = load_new(40, 4, 3000);
	struct proc client;
	struct ring r;

	ring_init(&r, 5);
	ring_open_all(&r);
	ring_client(&r, &client);
	proc_load(&client, l, 2, 2);
	proc_load(&r.peer[0], l, 2, 1);
	proc_load(&r.peer[1], l, 0, 1);
	load_await(l, 200, 200);
	proc_kill(&r.peer[4]);
	/* Until every connection noticed, a write that went to the dead peer
	 * may end as unknown; a read asks three at once and needs two. */
	load_phase(l, 1);
	test_sleep_ms(100);
	load_phase(l, 2);
	load_await(l, 300, 300);
	ck_assert_uint_eq(atomic_load(&l->count[0].get_failed), 0);
	ck_assert_uint_eq(atomic_load(&l->count[1].get_failed), 0);
	ck_assert_uint_eq(atomic_load(&l->count[2].get_failed), 0);
	ck_assert_uint_eq(atomic_load(&l->count[2].put_failed), 0);
	ck_assert_uint_eq(atomic_load(&l->count[2].put_unknown), 0);
	load_phase(l, 3);
	ring_open(&r, 4);
	ring_settled(&r, 5);
	load_await(l, 200, 200);
	atomic_store(&l->stop, true);
	proc_unload(&client);
	proc_unload(&r.peer[0]);
	proc_unload(&r.peer[1]);
	ck_assert_uint_eq(atomic_load(&l->count[3].get_failed), 0);
	ck_assert_uint_eq(atomic_load(&l->count[3].put_failed), 0);
	load_check(l);
	/* The one that was away, through itself. */
	load_verify(l, &r.peer[4], 0);
	repair(&r, l);
	copies_agree(&r, l->keys);
	load_check(l);
	ck_assert_int_eq(proc_close(&client, 1000), 0);
	ring_close(&r);
}
END_TEST

/* What a peer misses while it is down comes by read repair, or by an exchange that
 * happens to be first (read_test has read repair alone). */
START_TEST(repaired_by_reading)
{
	struct dyn_id owners[8];
	struct ring r;
	unsigned dead = 0;
	char key[32];

	ring_init(&r, 3);
	ring_open_all(&r);
	for (unsigned k = 0; k < 10; k++) {
		snprintf(key, sizeof(key), "k%u", k);
		proc_write(&r.peer[0], key, "old");
	}
	ck_assert_uint_eq(proc_owners(&r.peer[0], key, owners, 8), 3);
	dead = 1;
	proc_kill(&r.peer[dead]);
	for (unsigned k = 0; k < 10; k++) {
		struct proc_answer a;
		struct proc_call c = {.key = key, .value = "new"};

		snprintf(key, sizeof(key), "k%u", k);
		ck_assert_int_eq(proc_get(&r.peer[0], &c, &a), 0);
		c.seen = &a;
		ck_assert_int_eq(proc_put(&r.peer[2], &c, &a), 0);
		ck_assert_uint_eq(a.receipt.owners, 2);
		ck_assert_uint_eq(a.receipt.on_disk, 2);
	}
	ring_open(&r, dead);
	ring_settled(&r, 3);
	for (unsigned k = 0; k < 10; k++) {
		snprintf(key, sizeof(key), "k%u", k);
		ck_assert_str_eq(proc_read(&r.peer[0], key, 0), "new");
		TEST_WAIT(
		    strcmp(proc_read(&r.peer[dead], key, DYN_HERE), "new") == 0, 3000);
	}
	ring_close(&r);
}
END_TEST

START_TEST(all_of_five)
{
	struct load *l = load_new(40, 5, 3000);
	struct ring r;

	ring_init(&r, 5);
	ring_open_all(&r);
	for (int round = 0; round < 2; round++) {
		load_phase(l, (unsigned)round);
		for (unsigned i = 0; i < r.count; i++)
			proc_load(&r.peer[i], l, 1, 1);
		load_await(l, 300, 300);
		ring_kill(&r);
		load_check(l);
		ring_open_all(&r);
		for (unsigned i = 0; i < r.count; i++)
			load_verify(l, &r.peer[i], 0);
		repair(&r, l);
		copies_agree(&r, l->keys);
	}
	load_check(l);
	ring_close(&r);
}
END_TEST

static Suite *
suite(void)
{
	Suite *s = suite_create("crash");

	test_case(s, "one of five", one_of_five);
	test_case(s, "repaired by reading", repaired_by_reading);
	test_case(s, "all of five", all_of_five);
	return s;
}

TEST_MAIN(suite)
