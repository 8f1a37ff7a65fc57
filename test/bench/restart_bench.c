/*
 * How long from the start of a process with much data until it serves?
 *
 * One process, a ring of its own, fills its directory with GIB of values of 64 KiB,
 * is killed (with all of the last commits in its log), or closed, and started again:
 * until dyn_open returned, and until the first get and put were answered.
 *
 *	make bench-restart [GIB=1]
 */
#include "test/cluster/ring.h"

#include "base/timer.h"

#include <stdio.h>
#include <stdlib.h>

enum { VALUE = 64 << 10, ROUNDS = 3 };

static void
fill(struct proc *p, unsigned first, unsigned count)
{
	for (unsigned i = first; i < first + count; i++) {
		struct proc_answer a;
		char key[16];
		struct proc_call c = {.key = key, .size = VALUE,
		    .call = {.durability = DYN_DURABLE_OS}};

		snprintf(key, sizeof(key), "k%u", i);
		ck_assert_int_eq(proc_put(p, &c, &a), 0);
	}
}

/* ms until open, until served. */
static void
restart(struct ring *r, uint64_t ms[2])
{
	struct proc_call c = {.key = "k7", .value = "x"};
	struct proc_answer a;
	uint64_t began = test_now();

	ring_open(r, 0);
	ms[0] = (test_now() - began) / NS_PER_MS;
	ck_assert_int_eq(proc_get(&r->peer[0], &c, &a), 0);
	ck_assert_uint_ge(a.size, 1);
	c.seen = &a;
	ck_assert_int_eq(proc_put(&r->peer[0], &c, &a), 0);
	ms[1] = (test_now() - began) / NS_PER_MS;
}

START_TEST(restarting)
{
	const char *text = getenv("GIB");
	unsigned gib = text != NULL && *text != '\0' ? (unsigned)strtoul(text, NULL, 10) : 1;
	unsigned count = gib << 14;
	struct ring r;

	ring_init(&r, 1);
	r.base.n = 1;
	ring_open_all(&r);
	fill(&r.peer[0], 0, count);
	for (unsigned i = 0; i < ROUNDS; i++) {
		uint64_t killed[2], closed[2];

		fill(&r.peer[0], count + i * 1000, 1000);
		proc_kill(&r.peer[0]);
		restart(&r, killed);
		ck_assert_int_eq(proc_close(&r.peer[0], 30000), 0);
		restart(&r, closed);
		printf("restart with %u GiB: killed: open after %llu ms, serving after %llu ms; "
		       "closed: %llu ms, %llu ms\n", gib, (unsigned long long)killed[0],
		    (unsigned long long)killed[1], (unsigned long long)closed[0],
		    (unsigned long long)closed[1]);
	}
	ring_close(&r);
}
END_TEST

static Suite *
suite(void)
{
	Suite *s = suite_create("bench: restarting");

	tcase_set_timeout(test_case(s, "restarting", restarting), 900);
	return s;
}

TEST_MAIN(suite)
