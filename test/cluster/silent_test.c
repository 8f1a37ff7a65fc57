/*
 * Goal: a peer that is stopped is suspected by the others within seconds, calls go
 * on meanwhile, and when it goes on it is believed at once and accuses nobody; a
 * peer that is killed is known to be gone by the next call (paper 4.8.3).
 * Method: five processes, N=3, R=W=2; SIGSTOP, SIGCONT, SIGKILL.
 */
#include "ring.h"

#include "base/timer.h"

#include <signal.h>
#include <stdio.h>

enum { KEYS = 40, PATIENCE_S = 15 };

/* How `who` sees peer 4. */
static struct dyn_member
member_of(struct ring *r, unsigned who)
{
	struct dyn_member list[RING_MAX];
	size_t count = proc_members(&r->peer[who], list, ARRAY_LEN(list));

	for (size_t i = 0; i < count; i++)
		if (memcmp(&list[i].id, &r->peer[4].id, sizeof(list[i].id)) == 0)
			return list[i];
	ck_abort_msg("peer 4 is no member");
}

static void
await_liveness(struct ring *r, unsigned who, enum dyn_liveness state)
{
	uint64_t until = test_now() + PATIENCE_S * NS_PER_S;

	while (member_of(r, who).liveness != state) {
		ck_assert_msg(test_now() < until, "peer %u: not so in %d s", who, PATIENCE_S);
		test_sleep_ms(10);
	}
}

/* Through all that run but 4; returns how many failed. */
static unsigned
write_round(struct ring *r, const char *value)
{
	unsigned failed = 0;

	for (unsigned i = 0; i < KEYS; i++) {
		struct proc_answer a;
		char key[16];
		struct proc_call c = {.key = key, .value = value};

		snprintf(key, sizeof(key), "k%u", i);
		failed += proc_get(&r->peer[i % 4], &c, &a) != 0;
		c.seen = &a;
		failed += proc_put(&r->peer[i % 4], &c, &a) != 0;
	}
	return failed;
}

START_TEST(stopped_and_going_on)
{
	struct ring r;

	ring_init(&r, 5);
	ring_open_all(&r);
	ck_assert_uint_eq(write_round(&r, "before"), 0);
	proc_signal(&r.peer[4], SIGSTOP);
	for (unsigned i = 0; i < 4; i++)
		await_liveness(&r, i, DYN_SUSPECT);
	ck_assert_int_eq(member_of(&r, 0).reachable, 0);
	/* From here on nobody waits for it: W=2 of 3, or a stand-in. */
	ck_assert_uint_eq(write_round(&r, "without it"), 0);
	proc_signal(&r.peer[4], SIGCONT);
	for (unsigned i = 0; i < 4; i++)
		await_liveness(&r, i, DYN_LIVE);
	ring_settled(&r, 5);
	ck_assert(!proc_logged(&r.peer[4], "requests go round it"));
	/* Its connections of before work, or were made anew. */
	for (unsigned i = 0; i < KEYS; i++) {
		char key[16];

		snprintf(key, sizeof(key), "k%u", i);
		ck_assert_str_eq(proc_read(&r.peer[4], key, 0), "without it");
	}
	ring_close(&r);
}
END_TEST

START_TEST(killed)
{
	struct ring r;

	ring_init(&r, 5);
	ring_open_all(&r);
	ck_assert_uint_eq(write_round(&r, "before"), 0);
	proc_kill(&r.peer[4]);
	/* The kernel has said so by now; what was on its way may fail. */
	test_sleep_ms(50);
	ck_assert_uint_eq(write_round(&r, "without it"), 0);
	for (unsigned i = 0; i < 4; i++)
		await_liveness(&r, i, DYN_SUSPECT);
	ring_open(&r, 4);
	ring_settled(&r, 5);
	for (unsigned i = 0; i < 4; i++)
		await_liveness(&r, i, DYN_LIVE);
	ring_close(&r);
}
END_TEST

static Suite *
suite(void)
{
	Suite *s = suite_create("silent peers");
	TCase *c = tcase_create("silent peers");

	suite_add_tcase(s, c);
	tcase_set_timeout(c, 120);
	tcase_add_test(c, stopped_and_going_on);
	tcase_add_test(c, killed);
	return s;
}

TEST_MAIN(suite)
