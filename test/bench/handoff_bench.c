/*
 * How long does it take to hand 10,000 hints over, and what do others feel of it?
 *
 * Five processes, N=3, durable writes of 100 bytes.  One is killed; writes with
 * W=3 go on until the others keep COUNT hints for it; then it starts again.  Two
 * figures: the time until nobody keeps a hint any more, and the 99th percentile
 * of puts through another peer meanwhile, as a ratio to the same before it.
 *
 *	make bench-handoff
 */
#include "test/cluster/ring.h"

#include "base/timer.h"

#include <stdio.h>
#include <stdlib.h>

enum { COUNT = 10000, SAMPLES = 2000, SAMPLES_MAX = 200000 };

struct samples {
	uint64_t *us;
	size_t count;
};

static int
by_size(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static uint64_t
percentile(struct samples *s, unsigned per_thousand)
{
	ck_assert_uint_gt(s->count, 0);
	qsort(s->us, s->count, sizeof(*s->us), by_size);
	return s->us[(s->count - 1) * per_thousand / 1000];
}

static void
put(struct proc *p, unsigned number, unsigned w, struct samples *s)
{
	static char value[101];
	struct proc_answer a;
	char key[32];
	struct proc_call c = {.key = key, .value = value, .call = {.w = w}};
	uint64_t began = test_now();

	memset(value, 'v', sizeof(value) - 1);
	snprintf(key, sizeof(key), "row-%u", number);
	ck_assert_int_eq(proc_put(p, &c, &a), 0);
	if (s != NULL && s->count < SAMPLES_MAX)
		s->us[s->count++] = (test_now() - began) / NS_PER_US;
}

START_TEST(handing_over)
{
	struct samples calm = {calloc(SAMPLES_MAX, 8), 0}, busy = {calloc(SAMPLES_MAX, 8), 0};
	unsigned number = 0;
	uint64_t hints, began, took, before, during;
	struct ring r;

	ring_init(&r, 5);
	ring_open_all(&r);
	for (unsigned i = 0; i < SAMPLES; i++)
		put(&r.peer[0], number++, 2, i < SAMPLES / 4 ? NULL : &calm);
	proc_kill(&r.peer[4]);
	do
		for (unsigned i = 0; i < 500; i++)
			put(&r.peer[i % 4], number++, 3, NULL);
	while ((hints = ring_hints(&r)) < COUNT);
	began = test_now();
	ring_open(&r, 4);
	do
		for (unsigned i = 0; i < 20; i++)
			put(&r.peer[0], number++, 2, &busy);
	while (ring_hints(&r) > 0);
	took = test_now() - began;
	before = percentile(&calm, 990);
	during = percentile(&busy, 990);
	printf("handoff: %llu hints in %.2f s, the start of their owner included; puts meanwhile: "
	       "p99 %llu us, before %llu us, ratio %.2f (%zu puts)\n",
	    (unsigned long long)hints, (double)took / 1e9, (unsigned long long)during,
	    (unsigned long long)before, (double)during / (double)before, busy.count);
	ring_close(&r);
	free(calm.us);
	free(busy.us);
}
END_TEST

static Suite *
suite(void)
{
	Suite *s = suite_create("handing over");
	TCase *c = tcase_create("handing over");

	suite_add_tcase(s, c);
	tcase_add_test(c, handing_over);
	return s;
}

TEST_MAIN(suite)
