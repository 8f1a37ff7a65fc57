/*
 * Goal: what was deleted goes away on all owners, and never comes back: not by an
 * owner that was away, not by a directory that is put back, and what is written
 * with a context from before is treated as ever (paper 4.7 keeps silent about it;
 * DESIGN 7).
 * Method: three processes, N=3, rounds of core/collect.h twice a second.
 */
#include "ring.h"

#include "base/timer.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

enum { KEYS = 200, VICTIM = 2 };

static struct proc_answer seen[KEYS];

static const char *
key_of(unsigned i)
{
	static char key[16];

	snprintf(key, sizeof(key), "k%u", i);
	return key;
}

static void
open_all(struct ring *r)
{
	ring_init(r, 3);
	r->base.collect_period_ms = 500;
	ring_open_all(r);
}

static void
write_all(struct ring *r)
{
	for (unsigned i = 0; i < KEYS; i++) {
		struct proc_call c = {.key = key_of(i), .value = "v"};

		ck_assert_int_eq(proc_put(&r->peer[i % 3], &c, &seen[i]), 0);
		ck_assert_int_eq(proc_get(&r->peer[i % 3], &c, &seen[i]), 0);
		ck_assert_str_eq(seen[i].values, "v");
	}
}

static void
delete_all(struct ring *r, unsigned peers)
{
	for (unsigned i = 0; i < KEYS; i++) {
		struct proc_call c = {.key = key_of(i), .seen = &seen[i]};
		struct proc_answer a;

		ck_assert_int_eq(proc_delete(&r->peer[i % peers], &c, &a), 0);
	}
}

static uint64_t
keys_at(struct ring *r, unsigned i)
{
	struct dyn_status s = DYN_STATUS_INIT;

	proc_status(&r->peer[i], &s);
	return s.keys;
}

/* No row is left anywhere, tombstones included; the figure is an estimate, so what
 * counts is looked at when all are closed. */
static void
await_nothing(struct ring *r)
{
	uint64_t until = test_now() + 60 * NS_PER_S, keys = 1;

	while (keys > 0) {
		ck_assert_msg(test_now() < until, "%" PRIu64 " rows are left", keys);
		test_sleep_ms(50);
		keys = 0;
		for (unsigned i = 0; i < r->count; i++)
			keys += keys_at(r, i);
	}
}

static uint64_t
forgotten_by_all(struct ring *r)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < r->count; i++) {
		struct dyn_stats s = DYN_STATS_INIT;

		proc_stats(&r->peer[i], &s);
		sum += s.forgotten;
	}
	return sum;
}

static bool
waits_for_nothing(struct ring *r)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < r->count; i++) {
		struct dyn_stats s = DYN_STATS_INIT;

		proc_stats(&r->peer[i], &s);
		sum += s.to_forget + keys_at(r, i);
	}
	return sum == 0;
}

static void
close_empty(struct ring *r)
{
	ring_close(r);
	for (unsigned i = 0; i < r->count; i++)
		ck_assert_uint_eq(ring_rows(r, i), 0);
}

static void
nothing_can_be_read(struct ring *r, unsigned flags)
{
	for (unsigned i = 0; i < KEYS; i++)
		for (unsigned k = 0; k < r->count; k++)
			ck_assert_str_eq(proc_read(&r->peer[k], key_of(i), flags), "");
}

START_TEST(deleted_keys_go_away)
{
	struct proc_call c = {.key = "k0", .value = "new"};
	struct proc_answer a;
	struct ring r;

	open_all(&r);
	write_all(&r);
	delete_all(&r, 3);
	await_nothing(&r);
	nothing_can_be_read(&r, 0);
	TEST_WAIT(forgotten_by_all(&r) >= 3 * KEYS, 10000);
	/* A context from before covers what it covered, and not what is new; though
	 * the owners' counters for this key would start anew. */
	for (unsigned i = 0; i < 3; i++)
		ck_assert_int_eq(proc_put(&r.peer[i], &c, &a), 0);
	c.value = "late";
	c.seen = &seen[0];
	ck_assert_int_eq(proc_put(&r.peer[0], &c, &a), 0);
	ck_assert_str_eq(proc_read(&r.peer[1], "k0", DYN_STRICT), "late|new|new|new");
	ring_close(&r);
	/* Nor after a clean restart, which keeps what it can of its actors. */
	for (unsigned i = 0; i < 3; i++)
		ring_open(&r, i);
	ring_settled(&r, 3);
	c.key = "k1";
	c.seen = NULL;
	c.value = "new";
	for (unsigned i = 0; i < 3; i++)
		ck_assert_int_eq(proc_put(&r.peer[i], &c, &a), 0);
	c.value = "late";
	c.seen = &seen[1];
	ck_assert_int_eq(proc_put(&r.peer[0], &c, &a), 0);
	ck_assert_str_eq(proc_read(&r.peer[1], "k1", DYN_STRICT), "late|new|new|new");
	ring_close(&r);
}
END_TEST

START_TEST(an_owner_that_is_away_holds_it_up)
{
	struct ring r;

	open_all(&r);
	write_all(&r);
	proc_signal(&r.peer[VICTIM], SIGSTOP);
	delete_all(&r, 2);
	test_sleep_ms(3000);
	for (unsigned i = 0; i < 2; i++)
		ck_assert_uint_eq(keys_at(&r, i), KEYS);
	proc_signal(&r.peer[VICTIM], SIGCONT);
	TEST_WAIT(forgotten_by_all(&r) >= 3 * KEYS, 60000);
	await_nothing(&r);
	nothing_can_be_read(&r, DYN_HERE);
	close_empty(&r);
}
END_TEST

START_TEST(an_old_directory_brings_nothing_back)
{
	struct dyn_status s = DYN_STATUS_INIT;
	uint64_t until;
	struct ring r;
	char line[1400];

	open_all(&r);
	write_all(&r);
	ring_settled(&r, 3);
	snprintf(line, sizeof(line), "cp -a %s %s.backup", r.dir[VICTIM], r.dir[VICTIM]);
	ck_assert_int_eq(system(line), 0);
	delete_all(&r, 3);
	TEST_WAIT(forgotten_by_all(&r) >= 3 * KEYS, 60000);
	proc_kill(&r.peer[VICTIM]);
	snprintf(line, sizeof(line), "rm -rf %s && mv %s.backup %s", r.dir[VICTIM],
	    r.dir[VICTIM], r.dir[VICTIM]);
	ck_assert_int_eq(system(line), 0);
	ring_open(&r, VICTIM);
	ring_settled(&r, 3);
	until = test_now() + 30 * NS_PER_S;
	do {
		test_sleep_ms(50);
		proc_status(&r.peer[VICTIM], &s);
		ck_assert_msg(test_now() < until, "%u partitions catch up", s.catching);
	} while (s.catching > 0);
	ck_assert(proc_logged(&r.peer[VICTIM], "older than what the ring has forgotten"));
	nothing_can_be_read(&r, DYN_HERE);
	nothing_can_be_read(&r, 0);
	/* What it knew to be replaced went round once more, and is forgotten again. */
	for (unsigned quiet = 0; quiet < 20; quiet = waits_for_nothing(&r) ? quiet + 1 : 0) {
		ck_assert_msg(test_now() < until + 60 * NS_PER_S, "rows wait to be forgotten");
		test_sleep_ms(100);
	}
	close_empty(&r);
}
END_TEST

static Suite *
suite(void)
{
	Suite *s = suite_create("forgetting");
	TCase *c = tcase_create("forgetting");

	tcase_set_timeout(c, 180);
	tcase_add_test(c, deleted_keys_go_away);
	tcase_add_test(c, an_owner_that_is_away_holds_it_up);
	tcase_add_test(c, an_old_directory_brings_nothing_back);
	suite_add_tcase(s, c);
	return s;
}

TEST_MAIN(suite)
