/*
 * Goal: with an owner dead, writes with its W go on through stand-ins; what they
 * keep survives their own restart, is seen in the status, and gets to the owner
 * when it is back, without anybody reading (paper 4.6).  A ring in which no owner
 * of a key can be reached still takes writes.
 * Method: five processes, N=3; some are killed and started again.
 */
#include "ring.h"

#include "base/timer.h"

#include <stdio.h>

enum { KEYS = 60 };

static void
await_hints(struct ring *r, bool any)
{
	uint64_t until = test_now() + 20 * NS_PER_S;

	while ((ring_hints(r) > 0) != any) {
		ck_assert_msg(test_now() < until, "hints: %llu",
		    (unsigned long long)ring_hints(r));
		test_sleep_ms(20);
	}
}

/* Does a peer own the key, and is its own copy this value? */
static bool
owns(struct ring *r, unsigned asked, unsigned peer, const char *key)
{
	struct dyn_id ids[8];
	size_t owners = proc_owners(&r->peer[asked], key, ids, ARRAY_LEN(ids));

	for (size_t i = 0; i < owners; i++)
		if (memcmp(&ids[i], &r->peer[peer].id, sizeof(ids[i])) == 0)
			return true;
	return false;
}

static void
write_all(struct ring *r, unsigned through, const char *value, unsigned w)
{
	for (unsigned i = 0; i < KEYS; i++) {
		struct proc_answer a;
		char key[16];
		struct proc_call c = {.key = key, .value = value, .call = {.w = w}};

		snprintf(key, sizeof(key), "k%u", i);
		ck_assert_int_eq(proc_get(&r->peer[through], &c, &a), 0);
		c.seen = &a;
		ck_assert_msg(proc_put(&r->peer[through], &c, &a) == 0, "%s: %s", key,
		    dyn_strerror(a.rc));
	}
}

START_TEST(what_an_owner_missed_comes_by_itself)
{
	unsigned missed = 0;
	struct ring r;

	ring_init(&r, 5);
	ring_open_all(&r);
	write_all(&r, 0, "old", 2);
	proc_kill(&r.peer[4]);
	/* W=3 with an owner dead: only with stand-ins. */
	write_all(&r, 0, "new", 3);
	await_hints(&r, true);
	/* Who keeps them is killed too, and comes back first. */
	for (unsigned i = 0; i < 4; i++) {
		uint64_t before = ring_hints(&r);

		proc_kill(&r.peer[i]);
		ring_open(&r, i);
		ck_assert_uint_eq(ring_hints(&r), before);
	}
	ring_open(&r, 4);
	await_hints(&r, false);
	for (unsigned i = 0; i < KEYS; i++) {
		char key[16];

		snprintf(key, sizeof(key), "k%u", i);
		if (!owns(&r, 0, 4, key))
			continue;
		missed++;
		ck_assert_str_eq(proc_read(&r.peer[4], key, DYN_HERE), "new");
	}
	ck_assert_uint_gt(missed, 0);
	ring_close(&r);
}
END_TEST

START_TEST(no_owner_is_left_and_writes_go_on)
{
	struct dyn_status s = DYN_STATUS_INIT;
	struct ring r;

	ring_init(&r, 5);
	ring_open_all(&r);
	write_all(&r, 0, "old", 2);
	for (unsigned i = 0; i < 3; i++)
		proc_kill(&r.peer[i]);
	/* Some keys are owned by the three that died. */
	for (unsigned i = 0; i < KEYS; i++) {
		struct proc_answer a;
		char key[16];
		struct proc_call c = {.key = key, .value = "new", .call = {.w = 2}};

		snprintf(key, sizeof(key), "k%u", i);
		ck_assert_msg(proc_put(&r.peer[3 + i % 2], &c, &a) == 0, "%s: %s", key,
		    dyn_strerror(a.rc));
		c.call.flags = DYN_STRICT;
		if (!owns(&r, 3, 3, key) && !owns(&r, 3, 4, key))
			ck_assert_int_eq(proc_put(&r.peer[3], &c, &a), DYN_EQUORUM);
	}
	proc_status(&r.peer[3], &s);
	ck_assert_int_eq(s.safe_to_stop, 0);
	for (unsigned i = 0; i < 3; i++)
		ring_open(&r, i);
	await_hints(&r, false);
	ring_settled(&r, 5);
	/* Blind writes: beside what they had not seen. */
	for (unsigned i = 0; i < KEYS; i++) {
		char key[16];

		snprintf(key, sizeof(key), "k%u", i);
		ck_assert_str_eq(proc_read(&r.peer[i % 5], key, DYN_STRICT), "new|old");
	}
	for (uint64_t until = test_now() + 10 * NS_PER_S; s.safe_to_stop == 0; test_sleep_ms(50)) {
		ck_assert(test_now() < until);
		proc_status(&r.peer[3], &s);
	}
	ring_close(&r);
}
END_TEST

static Suite *
suite(void)
{
	Suite *s = suite_create("hints of processes");
	TCase *c = tcase_create("hints");

	suite_add_tcase(s, c);
	tcase_add_test(c, what_an_owner_missed_comes_by_itself);
	tcase_add_test(c, no_owner_is_left_and_writes_go_on);
	return s;
}

TEST_MAIN(suite)
