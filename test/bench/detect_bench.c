/*
 * How long until the others know that a peer is silent, or gone?
 *
 * Five processes.  ROUNDS times each: SIGSTOP, at a random moment, until the
 * first and the last of the others suspect it; SIGKILL likewise, and how long the
 * slowest call took in the second after the kill (calls through the others go on
 * all the time).
 *
 *	make bench-detect
 */
#include "test/cluster/ring.h"

#include "base/rng.h"
#include "base/timer.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

enum { ROUNDS = 9 };

static int
by_size(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static enum dyn_liveness
thinks(struct ring *r, unsigned who)
{
	struct dyn_member list[RING_MAX];
	size_t count = proc_members(&r->peer[who], list, ARRAY_LEN(list));

	for (size_t i = 0; i < count; i++)
		if (memcmp(&list[i].id, &r->peer[4].id, sizeof(list[i].id)) == 0)
			return list[i].liveness;
	ck_abort_msg("peer 4 is no member");
}

/* ms until all of the others think so; the first in *first. */
static uint64_t
await(struct ring *r, enum dyn_liveness state, uint64_t began, uint64_t *first)
{
	unsigned have = 0;

	*first = 0;
	while (have != 15) {
		for (unsigned i = 0; i < 4; i++) {
			if ((have >> i & 1) != 0 || thinks(r, i) != state)
				continue;
			have |= 1u << i;
			if (*first == 0)
				*first = (test_now() - began) / NS_PER_MS;
		}
		ck_assert_uint_lt(test_now() - began, 60 * NS_PER_S);
		test_sleep_ms(1);
	}
	return (test_now() - began) / NS_PER_MS;
}

static uint64_t
slowest_call_ms(struct ring *r, uint64_t from)
{
	uint64_t most = 0;

	for (unsigned i = 0; test_now() < from + NS_PER_S; i++) {
		struct proc_answer a;
		char key[16];
		struct proc_call c = {.key = key, .value = "x"};

		snprintf(key, sizeof(key), "k%u", i % 200);
		ck_assert_int_eq(proc_put(&r->peer[i % 4], &c, &a), 0);
		most = MAX(most, a.ms);
	}
	return most;
}

static void
report(const char *what, uint64_t *list)
{
	qsort(list, ROUNDS, sizeof(*list), by_size);
	printf("  %-46s %6llu ms  (%llu to %llu)\n", what, (unsigned long long)list[ROUNDS / 2],
	    (unsigned long long)list[0], (unsigned long long)list[ROUNDS - 1]);
}

START_TEST(detecting)
{
	uint64_t first[2][ROUNDS], all[2][ROUNDS], back[ROUNDS], slowest[ROUNDS], unused;
	struct rng rng = {test_now()};
	struct ring r;

	ring_init(&r, 5);
	ring_open_all(&r);
	for (unsigned i = 0; i < ROUNDS; i++) {
		uint64_t began;

		test_sleep_ms(3000 + (unsigned)rng_below(&rng, 1000));
		began = test_now();
		proc_signal(&r.peer[4], SIGSTOP);
		all[0][i] = await(&r, DYN_SUSPECT, began, &first[0][i]);
		began = test_now();
		proc_signal(&r.peer[4], SIGCONT);
		back[i] = await(&r, DYN_LIVE, began, &unused);
		ring_settled(&r, 5);
	}
	for (unsigned i = 0; i < ROUNDS; i++) {
		uint64_t began;

		test_sleep_ms(500 + (unsigned)rng_below(&rng, 1000));
		began = test_now();
		proc_kill(&r.peer[4]);
		all[1][i] = await(&r, DYN_SUSPECT, began, &first[1][i]);
		slowest[i] = slowest_call_ms(&r, began);
		ring_open(&r, 4);
		ring_settled(&r, 5);
	}
	ring_close(&r);
	printf("five processes, medians of %d\n", ROUNDS);
	report("stopped: until the first suspects it", first[0]);
	report("stopped: until all four do", all[0]);
	report("going on: until all four believe it", back);
	report("killed: until the first suspects it", first[1]);
	report("killed: until all four do", all[1]);
	report("killed: the slowest put of the next second", slowest);
}
END_TEST

static Suite *
suite(void)
{
	Suite *s = suite_create("bench: detecting");

	tcase_set_timeout(test_case(s, "detecting", detecting), 300);
	return s;
}

TEST_MAIN(suite)
