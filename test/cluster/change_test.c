/*
 * Goal: members leave, are forgotten, replaced, weighed and moved while the ring is in
 * use, by orders of any peer or client; nothing is lost, no read is stale (S10), and who
 * is gone stays gone.
 * Method: processes under the load of load.h, orders in between.
 */
#include "ring.h"

#include <stdio.h>

enum { ROWS = 200 };

static void
fill(struct ring *r)
{
	char key[32];

	for (unsigned i = 0; i < ROWS; i++) {
		snprintf(key, sizeof(key), "row-%u", i);
		proc_write(&r->peer[i % 3], key, key);
	}
}

/* Each row is there, at each of its owners. */
static void
all_is_there(struct ring *r)
{
	for (unsigned i = 0; i < ROWS; i++) {
		struct dyn_id owners[8];
		unsigned found = 0;
		size_t count;
		char key[32];

		snprintf(key, sizeof(key), "row-%u", i);
		count = proc_owners(&r->peer[0], key, owners, 8);
		for (size_t k = 0; k < count; k++)
			for (unsigned p = 0; p < r->count; p++)
				if (r->peer[p].pid != 0 &&
				    memcmp(&owners[k], &r->peer[p].id, 16) == 0)
					found += strcmp(
					    proc_read(&r->peer[p], key, DYN_HERE), key) == 0;
		ck_assert_uint_eq(found, 3);
	}
}

static struct ring *
ring_of(unsigned count, unsigned places)
{
	static struct ring r;

	ring_init(&r, places);
	for (unsigned i = 0; i < count; i++)
		ring_open(&r, i);
	ring_settled(&r, count);
	fill(&r);
	return &r;
}

/* It waits to be asked to join. */
static void
open_waiting(struct ring *r, unsigned i)
{
	struct dyn_options o = ring_options(r, i);

	o.join = DYN_JOIN_WAIT;
	proc_open(&r->peer[i], &o);
}

static void
order(struct proc *by, char what, const struct proc *of)
{
	struct proc_order o = {.what = what, .id = of->id};

	ck_assert_int_eq(proc_change(by, &o, 1, 10000, NULL), 0);
}

/* Under load; it may be closed when dyn_leave returns, and does not come back. */
START_TEST(one_leaves_under_load)
{
	struct load *l = load_new(40, 4, 3000); /* before there are processes */
	struct ring *r = ring_of(4, 4);
	struct dyn_status s = DYN_STATUS_INIT;
	struct dyn_options o;
	struct dyn_error error;
	struct proc client;

	ring_client(r, &client);
	proc_load(&r->peer[0], l, 2, 1);
	proc_load(&r->peer[1], l, 1, 1);
	proc_load(&client, l, 1, 2);
	load_await(l, 100, 100);
	ck_assert_int_eq(proc_leave(&r->peer[3], 30000), 0);
	proc_status(&r->peer[3], &s);
	ck_assert_int_eq(s.membership, 0);
	ck_assert_uint_eq(s.hints, 0);
	/* It still answers, as a client would. */
	ck_assert_str_eq(proc_read(&r->peer[3], "row-0", 0), "row-0");
	proc_write(&r->peer[3], "late", "x");
	ck_assert_int_eq(proc_close(&r->peer[3], 5000), 0);
	load_phase(l, 1);
	load_await(l, 100, 100);
	atomic_store(&l->stop, true);
	proc_unload(&r->peer[0]);
	proc_unload(&r->peer[1]);
	proc_unload(&client);
	load_check(l);
	for (unsigned i = 0; i < LOAD_PHASES; i++) {
		ck_assert_uint_eq(atomic_load(&l->count[i].get_failed), 0);
		ck_assert_uint_eq(atomic_load(&l->count[i].put_failed), 0);
		/* Where the machine is busy one may reach its deadline. */
		ck_assert_uint_le(atomic_load(&l->count[i].put_unknown), 3);
	}
	ring_settled(r, 3);
	o = ring_options(r, 3);
	proc_start(&r->peer[3], &o);
	ck_assert_int_eq(proc_ready(&r->peer[3], &error), DYN_ELEFT);
	ck_assert_int_eq(proc_close(&client, 1000), 0);
	ring_settled(r, 3);
	/* Without it, each key has three owners, which are all there are. */
	for (unsigned i = 1; i < ROWS; i++) {
		char key[32];

		snprintf(key, sizeof(key), "row-%u", i);
		for (unsigned p = 0; p < 3; p++)
			ck_assert_str_eq(proc_read(&r->peer[p], key, DYN_HERE), key);
	}
	ring_close(r);
}
END_TEST

/* A dead one is forgotten, by a client; the others have three copies again. */
START_TEST(a_dead_one_is_forgotten)
{
	struct ring *r = ring_of(4, 4);
	struct dyn_error error;
	struct dyn_options o;
	struct proc client;

	proc_kill(&r->peer[3]);
	ring_client(r, &client);
	order(&client, 'f', &r->peer[3]);
	ring_settled(r, 3);
	all_is_there(r);
	/* It comes back with what it had: that is refused. */
	o = ring_options(r, 3);
	proc_start(&r->peer[3], &o);
	if (proc_ready(&r->peer[3], &error) == 0) {
		struct dyn_status s = DYN_STATUS_INIT;

		/* It opened by what it had saved, and is told. */
		TEST_WAIT((proc_status(&r->peer[3], &s), s.failure == DYN_ELEFT), 10000);
		proc_kill(&r->peer[3]);
	} else {
		ck_assert_int_eq(error.code, DYN_ELEFT);
	}
	ring_settled(r, 3);
	ck_assert_int_eq(proc_close(&client, 1000), 0);
	ring_close(r);
}
END_TEST

/* Two wait; one plan has them join, one of them in the place of a dead one. */
START_TEST(several_at_once)
{
	struct ring *r = ring_of(4, 6);
	struct dyn_status s = DYN_STATUS_INIT;
	struct dyn_plan_figures f = DYN_PLAN_FIGURES_INIT;
	struct proc_order orders[3];
	uint64_t epoch;

	open_waiting(r, 4);
	open_waiting(r, 5);
	proc_status(&r->peer[5], &s);
	ck_assert_int_eq(s.membership, DYN_WAITING);
	ck_assert_uint_eq(s.owned, 0);
	ck_assert_str_eq(proc_read(&r->peer[5], "row-7", 0), "row-7");
	TEST_WAIT((proc_status(&r->peer[0], &s), s.moving == 0), 10000);
	epoch = s.epoch;
	proc_kill(&r->peer[3]);
	memset(orders, 0, sizeof(orders));
	orders[0] = (struct proc_order){.what = 'r', .id = r->peer[3].id, .other = r->peer[4].id};
	orders[1] = (struct proc_order){.what = 'j', .id = r->peer[5].id};
	orders[2] = (struct proc_order){.what = 'w', .id = r->peer[0].id, .weight = 200};
	/* The first peer knows of them as soon as gossip has told it. */
	TEST_WAIT(proc_change(&r->peer[0], orders, 3, 0, &f) == 0, 10000);
	ck_assert_uint_eq(f.members, 4);
	ck_assert_uint_eq(f.members_then, 5);
	ck_assert_uint_gt(f.moves, 0);
	ck_assert_uint_eq(f.under_replicated, 0);
	ck_assert_uint_eq(f.zones, 1);
	ck_assert_uint_eq(f.zones_then, 1);
	ck_assert_uint_eq(f.crowded + f.crowded_then, 0);
	ck_assert_uint_gt(f.bytes, 0);
	/* Showing orders nothing. */
	proc_status(&r->peer[0], &s);
	ck_assert_uint_eq(s.epoch, epoch);
	ck_assert_int_eq(proc_change(&r->peer[0], orders, 3, 10000, &f), 0);
	ring_settled(r, 5);
	all_is_there(r);
	proc_status(&r->peer[0], &s);
	/* One change of owners; rounds of forgetting make epochs too. */
	ck_assert_uint_gt(s.epoch, epoch);
	ring_close(r);
}
END_TEST

/* A newcomer that dies for good holds up the change, until it is forgotten. */
START_TEST(a_change_that_cannot_end)
{
	struct ring *r = ring_of(3, 4);
	struct dyn_status s = DYN_STATUS_INIT;
	struct dyn_member m[8];
	struct proc dead;
	size_t count;

	open_waiting(r, 3);
	dead = r->peer[3];
	TEST_WAIT((count = proc_members(&r->peer[0], m, 8)) == 4, 10000);
	proc_kill(&r->peer[3]);
	order(&r->peer[0], 'j', &dead);
	TEST_WAIT((proc_status(&r->peer[1], &s), s.moving && s.awaited == 1), 10000);
	ck_assert_mem_eq(&s.awaits, &dead.id, sizeof(dead.id));
	proc_write(&r->peer[1], "late", "x");
	order(&r->peer[2], 'f', &dead);
	ring_settled(r, 3);
	proc_status(&r->peer[1], &s);
	ck_assert_uint_eq(s.awaited, 0);
	all_is_there(r);
	ring_close(r);
}
END_TEST

START_TEST(orders_that_are_refused)
{
	struct ring *r = ring_of(3, 3);
	struct proc_order o = {.what = 'l'};
	struct proc_order all[3];

	o.id.bytes[0] = 1;
	ck_assert_int_eq(proc_change(&r->peer[0], &o, 1, 1000, NULL), DYN_ENOTFOUND);
	o = (struct proc_order){.what = 'w', .id = r->peer[0].id, .weight = 0};
	ck_assert_int_eq(proc_change(&r->peer[0], &o, 1, 1000, NULL), DYN_EINVAL);
	o = (struct proc_order){.what = 'o', .id = r->peer[0].id, .location = "a//\nb"};
	ck_assert_int_eq(proc_change(&r->peer[0], &o, 1, 1000, NULL), DYN_EINVAL);
	ck_assert_int_eq(proc_change(&r->peer[0], &o, 0, 1000, NULL), DYN_EINVAL);
	for (unsigned i = 0; i < 3; i++)
		all[i] = (struct proc_order){.what = 'l', .id = r->peer[i].id};
	ck_assert_int_eq(proc_change(&r->peer[0], all, 3, 1000, NULL), DYN_EINVAL);
	ring_settled(r, 3);
	ring_close(r);
}
END_TEST

/* What the application feels of a location: the receipt counts zones. */
START_TEST(a_location_is_ordered)
{
	struct ring *r = ring_of(3, 3);
	struct proc_call put = {.key = "k", .value = "v", .call = {.w = 3}};
	struct proc_answer a;

	for (unsigned i = 0; i < 3; i++) {
		struct proc_order o = {.what = 'o', .id = r->peer[i].id};

		snprintf(o.location, sizeof(o.location), "dc/z%u/r/m%u", i, i);
		ck_assert_int_eq(proc_change(&r->peer[0], &o, 1, 10000, NULL), 0);
	}
	ring_settled(r, 3);
	ck_assert_int_eq(proc_put(&r->peer[1], &put, &a), 0);
	ck_assert_uint_eq(a.receipt.zones, 3);
	ring_close(r);
}
END_TEST

static Suite *
suite(void)
{
	Suite *s = suite_create("change");
	TCase *c = tcase_create("change");

	tcase_set_timeout(c, 120);
	suite_add_tcase(s, c);
	tcase_add_test(c, one_leaves_under_load);
	tcase_add_test(c, a_dead_one_is_forgotten);
	tcase_add_test(c, several_at_once);
	tcase_add_test(c, a_change_that_cannot_end);
	tcase_add_test(c, orders_that_are_refused);
	tcase_add_test(c, a_location_is_ordered);
	return s;
}

TEST_MAIN(suite)
