/*
 * How long does it take to refill a member whose directory was lost, what do others
 * feel of it, and what does a ring that is equal everywhere say to itself?
 *
 * Three processes, N=3, KEYS keys of 1 KiB.  One is killed, its directory removed,
 * and it starts again with its id.  Figures: the time from its start until no copy
 * of it catches up any more (all rows there, each partition compared with both
 * other owners); the 99th percentile of puts through another peer meanwhile, as a
 * ratio to the same before; then, with nobody calling, the bytes that leave all
 * three in IDLE_S seconds, as bytes an hour and node.
 *
 *	make bench-repair [KEYS=100000]
 */
#include "test/cluster/ring.h"

#include "base/timer.h"

#include <stdio.h>
#include <stdlib.h>

enum { SIZE = 1024, SAMPLES = 2000, SAMPLES_MAX = 200000, IDLE_S = 60, VICTIM = 2 };

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
put(struct proc *p, unsigned number, enum dyn_durability durability, struct samples *s)
{
	struct proc_answer a;
	char key[32];
	struct proc_call c = {.key = key, .value = "", .size = SIZE,
	    .call = {.durability = durability, .w = durability == DYN_DURABLE_MEMORY ? 3 : 2}};
	uint64_t began = test_now();

	snprintf(key, sizeof(key), "row-%u", number);
	ck_assert_int_eq(proc_put(p, &c, &a), 0);
	if (s != NULL && s->count < SAMPLES_MAX)
		s->us[s->count++] = (test_now() - began) / NS_PER_US;
}

static void
fill(struct ring *r, unsigned keys)
{
	for (unsigned i = 0; i < keys; i++)
		put(&r->peer[i % 2], i, DYN_DURABLE_MEMORY, NULL);
}

/* Nothing differs any more, as far as each knows. */
static void
await_equal(struct ring *r)
{
	struct dyn_status s;
	unsigned equal = 0;

	while (equal < r->count) {
		test_sleep_ms(100);
		equal = 0;
		for (unsigned i = 0; i < r->count; i++) {
			proc_status(&r->peer[i], &s);
			equal += s.catching == 0 && s.differing == 0 && s.unhashed == 0 &&
			    s.unwritten_bytes == 0;
		}
	}
}

static void
refill(struct ring *r, unsigned keys)
{
	struct samples calm = {calloc(SAMPLES_MAX, 8), 0}, busy = {calloc(SAMPLES_MAX, 8), 0};
	struct dyn_options o = ring_options(r, VICTIM);
	uint64_t began, took, before, during;
	unsigned number = keys;
	struct dyn_status s;
	char id[33], line[600];

	for (unsigned i = 0; i < SAMPLES; i++)
		put(&r->peer[0], number++, DYN_DURABLE_DISK, &calm);
	await_equal(r);
	dyn_id_format(r->peer[VICTIM].id, id);
	proc_kill(&r->peer[VICTIM]);
	snprintf(line, sizeof(line), "rm -rf %s", r->dir[VICTIM]);
	ck_assert_int_eq(system(line), 0);
	o.id = id;
	began = test_now();
	proc_open(&r->peer[VICTIM], &o);
	do {
		for (unsigned i = 0; i < 20; i++)
			put(&r->peer[0], number++, DYN_DURABLE_DISK, &busy);
		proc_status(&r->peer[VICTIM], &s);
	} while (s.catching > 0);
	took = test_now() - began;
	before = percentile(&calm, 990);
	during = percentile(&busy, 990);
	printf("repair: %u keys of %d bytes in %.2f s, its start included; puts meanwhile: p99 %llu "
	       "us, before %llu us, ratio %.2f (%zu puts)\n",
	    keys, SIZE, (double)took / 1e9, (unsigned long long)during,
	    (unsigned long long)before, (double)during / (double)before, busy.count);
	free(calm.us);
	free(busy.us);
}

static void
idle(struct ring *r)
{
	uint64_t bytes[2] = {0, 0}, gossip[2] = {0, 0};
	struct dyn_stats s;

	await_equal(r);
	for (unsigned k = 0; k < 2; k++) {
		for (unsigned i = 0; i < r->count; i++) {
			proc_stats(&r->peer[i], &s);
			bytes[k] += s.bytes_out;
			gossip[k] += s.gossip_bytes;
		}
		if (k == 0)
			test_sleep_ms(IDLE_S * 1000);
	}
	printf("idle: %llu bytes an hour leave each of %u nodes, %llu of them gossip\n",
	    (unsigned long long)((bytes[1] - bytes[0]) * 3600 / IDLE_S / r->count), r->count,
	    (unsigned long long)((gossip[1] - gossip[0]) * 3600 / IDLE_S / r->count));
}

START_TEST(refilling)
{
	const char *given = getenv("KEYS");
	unsigned keys = given != NULL && atoi(given) > 0 ? (unsigned)atoi(given) : 100000;
	struct ring r;

	ring_init(&r, 3);
	ring_open_all(&r);
	fill(&r, keys);
	refill(&r, keys);
	idle(&r);
	ring_close(&r);
}
END_TEST

static Suite *
suite(void)
{
	Suite *s = suite_create("refilling");
	TCase *c = tcase_create("refilling");

	suite_add_tcase(s, c);
	tcase_add_test(c, refilling);
	return s;
}

TEST_MAIN(suite)
