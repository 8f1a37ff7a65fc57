/*
 * Goal: peers leave and return with their data; a member comes back without
 * needing anybody; a new address is found by the others and by clients; a ring
 * closes under load without a hang; a stopped process costs its callers their
 * deadline and no more (S13), and is used again when it goes on.
 * Method: three processes and a client, closed, moved, stopped.
 */
#include "ring.h"

#include <signal.h>
#include <stdio.h>

static void
read_all(struct proc *p, unsigned keys, const char *value)
{
	char key[32];

	for (unsigned k = 0; k < keys; k++) {
		snprintf(key, sizeof(key), "k%u", k);
		ck_assert_str_eq(proc_read(p, key, 0), value);
	}
}

static void
write_all(struct ring *r, unsigned keys, const char *value)
{
	for (unsigned k = 0; k < keys; k++) {
		struct proc_answer a;
		char key[32];
		struct proc_call c = {.key = key, .value = value};

		snprintf(key, sizeof(key), "k%u", k);
		ck_assert_int_eq(proc_get(&r->peer[0], &c, &a), 0);
		c.seen = &a;
		ck_assert_int_eq(proc_put(&r->peer[0], &c, &a), 0);
	}
}

START_TEST(leave_and_return)
{
	struct dyn_id id;
	struct ring r;

	ring_init(&r, 3);
	ring_open_all(&r);
	write_all(&r, 20, "first");
	id = r.peer[1].id;
	ck_assert_int_eq(proc_close(&r.peer[1], 1000), 0);
	read_all(&r.peer[2], 20, "first");
	write_all(&r, 20, "second");
	ring_open(&r, 1);
	ck_assert_mem_eq(&r.peer[1].id, &id, sizeof(id));
	ring_settled(&r, 3);
	read_all(&r.peer[1], 20, "second");
	ring_close(&r);
}
END_TEST

/* Members need nobody to open; one of three can do nothing but say so. */
START_TEST(return_alone)
{
	struct proc_call c = {.key = "k0", .value = "alone"};
	struct proc_answer a;
	struct ring r;
	uint64_t began;

	ring_init(&r, 3);
	ring_open_all(&r);
	write_all(&r, 10, "first");
	ring_close(&r);
	began = test_now();
	ring_open(&r, 1);
	ck_assert_uint_lt((test_now() - began) / 1000000, 2000);
	ck_assert_str_eq(proc_read(&r.peer[1], "k0", DYN_HERE), "first");
	TEST_WAIT(proc_get(&r.peer[1], &c, &a) == DYN_EQUORUM, 3000);
	ck_assert_int_eq(proc_put(&r.peer[1], &c, &a), DYN_EQUORUM);
	ck_assert_str_eq(proc_read(&r.peer[1], "k0", DYN_HERE), "first");
	/* R=1 and W=1 do not need the others. */
	c.call.r = c.call.w = 1;
	ck_assert_int_eq(proc_get(&r.peer[1], &c, &a), 0);
	ck_assert_int_eq(proc_get(&r.peer[1], &c, &a), 0);
	c.seen = &a;
	ck_assert_int_eq(proc_put(&r.peer[1], &c, &a), 0);
	ring_open(&r, 0);
	ring_open(&r, 2);
	ring_settled(&r, 3);
	c.call.r = 3; /* R + W > N */
	ck_assert_int_eq(proc_get(&r.peer[2], &c, &a), 0);
	ck_assert_str_eq(a.values, "alone");
	ring_close(&r);
}
END_TEST

static bool
knows_address(struct proc *p, const struct proc *other)
{
	struct dyn_member m[RING_MAX];
	size_t count = proc_members(p, m, RING_MAX);

	for (size_t i = 0; i < count; i++)
		if (memcmp(&m[i].id, &other->id, sizeof(other->id)) == 0)
			return strcmp(m[i].address, other->address) == 0;
	return false;
}

START_TEST(another_address)
{
	struct proc client;
	struct ring r;

	ring_init(&r, 3);
	ring_open_all(&r);
	ring_client(&r, &client);
	write_all(&r, 20, "value");
	for (unsigned i = 0; i < 2; i++) {
		struct dyn_options o;

		ck_assert_int_eq(proc_close(&r.peer[i], 1000), 0);
		r.address[i] = proc_address();
		o = ring_options(&r, i);
		o.seeds = NULL; /* it knows the members */
		proc_open(&r.peer[i], &o);
		ring_settled(&r, 3);
		for (unsigned j = 0; j < 3; j++)
			ck_assert(knows_address(&r.peer[j], &r.peer[i]));
		read_all(&r.peer[i], 20, "value");
	}
	/* The client polls every 10 seconds, and may find the peer of its choice gone. */
	TEST_WAIT(
	    knows_address(&client, &r.peer[0]) && knows_address(&client, &r.peer[1]),
	    40000);
	TEST_WAIT(proc_reaches(&client) == 3, 5000);
	read_all(&client, 20, "value");
	ck_assert_int_eq(proc_close(&client, 1000), 0);
	ring_close(&r);
}
END_TEST

/* Who dials an old address finds somebody else there, and is not misled. */
START_TEST(exchanged_addresses)
{
	const char *first;
	struct ring r;

	ring_init(&r, 3);
	ring_open_all(&r);
	write_all(&r, 20, "value");
	ck_assert_int_eq(proc_close(&r.peer[0], 1000), 0);
	ck_assert_int_eq(proc_close(&r.peer[1], 1000), 0);
	first = r.address[0];
	r.address[0] = r.address[1];
	r.address[1] = first;
	ring_open(&r, 0);
	ring_open(&r, 1);
	ring_settled(&r, 3);
	for (unsigned i = 0; i < 3; i++) {
		for (unsigned j = 0; j < 3; j++)
			ck_assert(knows_address(&r.peer[i], &r.peer[j]));
		read_all(&r.peer[i], 20, "value");
	}
	ring_close(&r);
}
END_TEST

static void
all_went_well(const struct load *l, unsigned phases)
{
	for (unsigned i = 0; i < phases; i++) {
		ck_assert_uint_eq(atomic_load(&l->count[i].get_failed), 0);
		ck_assert_uint_eq(atomic_load(&l->count[i].put_failed), 0);
		ck_assert_uint_eq(atomic_load(&l->count[i].put_unknown), 0);
	}
}

START_TEST(close_under_load)
{
	struct load *l = load_new(30, 3, 3000), *busy = load_new(30, 10, 3000);
	struct proc client;
	struct ring r;
	uint64_t began;

	ring_init(&r, 3);
	ring_open_all(&r);
	ring_client(&r, &client);
	busy->pause_us = 0;
	busy->first_key = 30;
	proc_load(&client, busy, 10, 4);
	for (unsigned i = 0; i < 3; i++)
		proc_load(&r.peer[i], l, 1, 2);
	load_await(l, 100, 100);
	load_await(busy, 100, 100);
	/* One goes: no call of the others fails, or ends in doubt. */
	began = test_now();
	proc_closing(&r.peer[0], 2000);
	ck_assert_int_eq(proc_closed(&r.peer[0]), 0);
	load_phase(l, 1);
	test_sleep_ms(50);
	load_phase(l, 2);
	load_await(l, 100, 100);
	atomic_store(&busy->stop, true);
	proc_unload(&client);
	ck_assert_int_eq(proc_close(&client, 1000), 0);
	load_check(busy);
	all_went_well(busy, 1);
	all_went_well(l, 3);
	/* The others follow: nothing hangs. */
	load_phase(l, 3);
	proc_closing(&r.peer[1], 2000);
	ck_assert_int_eq(proc_closed(&r.peer[1]), 0);
	proc_closing(&r.peer[2], 2000);
	ck_assert_int_eq(proc_closed(&r.peer[2]), 0);
	ck_assert_uint_lt((test_now() - began) / 1000000, 12000);
	load_check(l);
	/* All at once, with no time for calls. */
	ring_open_all(&r);
	for (unsigned i = 0; i < 3; i++)
		proc_load(&r.peer[i], l, 1, 2);
	load_phase(l, 4);
	load_await(l, 50, 50);
	for (unsigned i = 0; i < 3; i++)
		proc_closing(&r.peer[i], 0);
	for (unsigned i = 0; i < 3; i++)
		ck_assert_int_le(proc_closed(&r.peer[i]), 0);
	load_check(l);
	ring_open_all(&r);
	load_verify(l, &r.peer[0], 0);
	ring_close(&r);
}
END_TEST

START_TEST(stopped_process)
{
	struct load *l = load_new(30, 3, 1000);
	struct proc client;
	struct ring r;

	ring_init(&r, 3);
	ring_open_all(&r);
	ring_client(&r, &client);
	proc_load(&client, l, 1, 2);
	proc_load(&r.peer[0], l, 1, 1);
	proc_load(&r.peer[1], l, 1, 1);
	load_await(l, 100, 100);
	proc_signal(&r.peer[2], SIGSTOP);
	load_phase(l, 1);
	test_sleep_ms(3500);
	load_phase(l, 2);
	proc_signal(&r.peer[2], SIGCONT);
	load_phase(l, 3);
	test_sleep_ms(300);
	load_phase(l, 4);
	load_await(l, 200, 200);
	atomic_store(&l->stop, true);
	proc_unload(&client);
	proc_unload(&r.peer[0]);
	proc_unload(&r.peer[1]);
	load_check(l);
	/* Reads never needed it; a write may have waited for it to coordinate. */
	for (unsigned i = 0; i < LOAD_PHASES; i++) {
		ck_assert_uint_eq(atomic_load(&l->count[i].get_failed), 0);
		ck_assert_uint_eq(atomic_load(&l->count[i].put_failed), 0);
	}
	ck_assert_uint_gt(atomic_load(&l->count[1].gets), 0);
	ck_assert_uint_gt(atomic_load(&l->count[1].puts), 0);
	ck_assert_uint_eq(atomic_load(&l->count[4].put_unknown), 0);
	ring_settled(&r, 3);
	load_verify(l, &r.peer[2], 0);
	ck_assert_int_eq(proc_close(&client, 1000), 0);
	ring_close(&r);
}
END_TEST

/* With a seed and members that are there and do not answer: opening, asking
 * and closing are bounded. */
START_TEST(beside_a_stopped_process)
{
	struct dyn_status s = DYN_STATUS_INIT;
	struct dyn_options o;
	struct ring r;
	uint64_t began;

	ring_init(&r, 4);
	for (unsigned i = 0; i < 3; i++)
		ring_open(&r, i);
	ring_settled(&r, 3);
	proc_signal(&r.peer[0], SIGSTOP);
	ck_assert_int_eq(proc_member_status(&r.peer[1], r.peer[0].id, &s), DYN_ETIMEOUT);
	ck_assert_int_eq(proc_member_status(&r.peer[1], r.peer[2].id, &s), 0);
	ck_assert_mem_eq(&s.node, &r.peer[2].id, sizeof(s.node));
	began = test_now();
	o = ring_options(&r, 3);
	proc_open(&r.peer[3], &o); /* the stopped one is its first seed */
	ck_assert_uint_lt((test_now() - began) / 1000000, 3000);
	proc_write(&r.peer[3], "k", "v");
	began = test_now();
	for (unsigned i = 3; i > 0; i--)
		ck_assert_int_eq(proc_close(&r.peer[i], 1000), 0);
	/* Each of its three sorts of connections lingers a second at most. */
	ck_assert_uint_lt((test_now() - began) / 1000000, 3 * 4500);
	proc_kill(&r.peer[0]);
}
END_TEST

static Suite *
suite(void)
{
	Suite *s = suite_create("life");

	test_case(s, "leave and return", leave_and_return);
	test_case(s, "return alone", return_alone);
	test_case(s, "another address", another_address);
	test_case(s, "exchanged addresses", exchanged_addresses);
	test_case(s, "close under load", close_under_load);
	test_case(s, "stopped process", stopped_process);
	test_case(s, "beside a stopped process", beside_a_stopped_process);
	return s;
}

TEST_MAIN(suite)
