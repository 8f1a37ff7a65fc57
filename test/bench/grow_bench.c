/*
 * What do those who call feel of a ring that grows and shrinks, and is anything lost?
 *
 * Five processes, N=3, R=W=2, KEYS keys of 1 KiB; two clients with FLIGHT calls at a
 * time between them, half of them gets.  Three more join, each by itself; in the middle
 * one that moves data is killed and started again: in the first and third run one that
 * joins, in the second an old owner, which sends.  When nothing moves any more, three of
 * the old five leave by one plan.  At the end each key is read.
 *
 * Figures: calls; those that failed, and failed again in each of three more tries; keys
 * whose last acknowledged write, or one that replaced it, was not found at the end; the
 * 99th percentile of gets and puts while it grows and shrinks, as a multiple of that
 * before; and how long that took.  The time of a call is that until it went well.
 *
 *	make bench-grow [KEYS=20000] [RUNS=3]
 */
#include "test/bench/traffic.h"

#include "base/timer.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

enum { OLD = 5, NEW = 3, ALL = OLD + NEW, FLIGHT = 16, RUNS_MAX = 15 };
enum { PAUSE_US = 1000, CALM_MS = 10000, DEAD_MS = 500, SETTLE_S = 300 };
enum phase { ASIDE, BEFORE, GROWING, SHRINKING };

struct figures {
	double grow_s, shrink_s, grow_ratio, shrink_ratio;
};

static unsigned
given(const char *name, unsigned otherwise, unsigned most)
{
	const char *text = getenv(name);

	return text != NULL && atoi(text) > 0 ? MIN((unsigned)atoi(text), most) : otherwise;
}

static double
since(uint64_t began)
{
	return (double)(test_now() - began) / (double)NS_PER_S;
}

/* All that run know of so many members, and nothing moves any more. */
static bool
is_settled(struct ring *r, unsigned members, struct dyn_status *s)
{
	for (unsigned i = 0; i < r->count; i++) {
		if (r->peer[i].pid == 0)
			continue;
		proc_status(&r->peer[i], s);
		if (s->members != members || s->agreed != members || s->pending > 0 ||
		    s->moving != 0)
			return false;
	}
	return true;
}

static void
settle(struct ring *r, unsigned members)
{
	uint64_t until = test_now() + SETTLE_S * NS_PER_S;
	struct dyn_status s = DYN_STATUS_INIT;

	while (!is_settled(r, members, &s)) {
		ck_assert_msg(test_now() < until,
		    "the change does not end: %u members, %u reachable, %u agreed, %u pending, "
		    "%u moving, %u awaited, epoch %llu",
		    s.members, s.reachable, s.agreed, s.pending, s.moving, s.awaited,
		    (unsigned long long)s.epoch);
		test_sleep_ms(20);
	}
}

/* -------------------------------------------------------------------- growing */

/* Newcomers whose dyn_open has returned. */
static void
see_ready(struct ring *r, bool ready[ALL])
{
	struct dyn_error error;

	for (unsigned i = OLD; i < ALL; i++) {
		struct pollfd fd = {.fd = r->peer[i].fd, .events = POLLIN};

		if (ready[i] || poll(&fd, 1, 0) != 1)
			continue;
		ck_assert_msg(
		    proc_ready(&r->peer[i], &error) == 0, "peer %u: %s", i, error.text);
		ready[i] = true;
	}
}

/* The newcomer that has got half of what it waits for, or ALL. */
static unsigned
half_way(struct ring *r, const bool ready[ALL], unsigned most[ALL])
{
	struct dyn_status s = DYN_STATUS_INIT;

	for (unsigned i = OLD; i < ALL; i++) {
		if (!ready[i])
			continue;
		proc_status(&r->peer[i], &s);
		most[i] = MAX(most[i], s.pending);
		if (s.pending > 0 && s.pending <= most[i] / 2)
			return i;
	}
	return ALL;
}

/* Three join, one process is killed in the middle of it, and comes back. */
static void
grow(struct ring *r, bool kill_old)
{
	uint64_t until = test_now() + SETTLE_S * NS_PER_S;
	bool ready[ALL] = {false};
	unsigned most[ALL] = {0}, victim;

	for (unsigned i = OLD; i < ALL; i++) {
		struct dyn_options o = ring_options(r, i);

		proc_start(&r->peer[i], &o);
	}
	do {
		ck_assert_msg(test_now() < until, "no newcomer gets half of its share");
		see_ready(r, ready);
	} while ((victim = half_way(r, ready, most)) == ALL);
	if (kill_old)
		victim = 1;
	proc_kill(&r->peer[victim]);
	test_sleep_ms(DEAD_MS);
	ring_open(r, victim);
	while (!ready[OLD] || !ready[OLD + 1] || !ready[OLD + 2])
		see_ready(r, ready);
	settle(r, ALL);
}

/* ------------------------------------------------------------------- shrinking */

static void
shrink(struct ring *r)
{
	struct proc_order orders[NEW];
	struct dyn_status s = DYN_STATUS_INIT;
	uint64_t until = test_now() + SETTLE_S * NS_PER_S;

	memset(orders, 0, sizeof(orders));
	for (unsigned i = 0; i < NEW; i++) {
		orders[i].what = 'l';
		orders[i].id = r->peer[2 + i].id;
	}
	ck_assert_int_eq(proc_change(&r->peer[0], orders, NEW, 30000, NULL), 0);
	for (unsigned i = 2; i < 2 + NEW; i++) {
		while (proc_status(&r->peer[i], &s), s.membership != 0) {
			ck_assert_msg(test_now() < until, "peer %u does not come to leave", i);
			test_sleep_ms(20);
		}
		ck_assert_int_eq(proc_close(&r->peer[i], 5000), 0);
	}
	settle(r, OLD);
}

/* --------------------------------------------------------------------- a run */

static void
report(const struct traffic *t, enum phase phase, const char *name, double seconds)
{
	const struct traffic_count *g = &t->count[phase][TRAFFIC_GET];
	const struct traffic_count *p = &t->count[phase][TRAFFIC_PUT];
	unsigned calls = atomic_load(&g->calls) + atomic_load(&p->calls);
	uint64_t all = traffic_percentile(t, phase, 990);

	printf("  %-10s %6.2f %8u %7.0f %6u %6u %6u %8llu %8llu %8llu %6.2f\n", name, seconds,
	    calls, calls / seconds, atomic_load(&g->again) + atomic_load(&p->again),
	    atomic_load(&g->failed) + atomic_load(&p->failed), atomic_load(&g->stale),
	    (unsigned long long)traffic_percentile_of(t, phase, TRAFFIC_GET, 990),
	    (unsigned long long)traffic_percentile_of(t, phase, TRAFFIC_PUT, 990),
	    (unsigned long long)all,
	    (double)all / (double)traffic_percentile(t, BEFORE, 990));
}

static void
print_run(struct traffic *t, unsigned run, const struct figures *f)
{
	unsigned unread = atomic_load(&t->count[ASIDE][TRAFFIC_GET].failed);
	int rc = atomic_load(&t->last_rc);

	printf("run %u: %s is killed in the middle\n", run + 1,
	    run % 2 == 1 ? "an old owner, which sends," : "one that joins");
	printf("  %-10s %6s %8s %7s %6s %6s %6s %8s %8s %8s %6s\n", "", "s", "calls", "a s",
	    "again", "failed", "stale", "get p99", "put p99", "both us", "ratio");
	report(t, BEFORE, "before", CALM_MS / 1000.0);
	report(t, GROWING, "grows", f->grow_s);
	report(t, SHRINKING, "shrinks", f->shrink_s);
	printf("  at the end: %u of %u keys lost, %u not readable%s%s\n", atomic_load(&t->lost),
	    t->keys, unread, rc != 0 ? "; the last error of a call: " : "",
	    rc != 0 ? dyn_strerror(rc) : "");
	fflush(stdout);
}

static void
one_run(unsigned run, unsigned keys, struct figures *f)
{
	struct traffic *t = traffic_new(keys, FLIGHT);
	double before;
	uint64_t began;
	struct ring r;

	t->pause_us = PAUSE_US;
	ring_init(&r, ALL);
	r.base.partitions = 0; /* the default of the library */
	r.count = OLD;
	ring_open_all(&r);
	r.count = ALL;
	traffic_open(t, &r);
	traffic_do(t, TRAFFIC_FILL);
	traffic_do(t, TRAFFIC_RUN);
	test_sleep_ms(CALM_MS / 5); /* warm */
	atomic_store(&t->phase, BEFORE);
	test_sleep_ms(CALM_MS);
	atomic_store(&t->phase, GROWING);
	began = test_now();
	grow(&r, run % 2 == 1);
	f->grow_s = since(began);
	atomic_store(&t->phase, ASIDE);
	test_sleep_ms(CALM_MS / 5);
	atomic_store(&t->phase, SHRINKING);
	began = test_now();
	shrink(&r);
	f->shrink_s = since(began);
	atomic_store(&t->phase, ASIDE);
	traffic_do(t, TRAFFIC_REST);
	traffic_do(t, TRAFFIC_CHECK);
	before = (double)traffic_percentile(t, BEFORE, 990);
	f->grow_ratio = (double)traffic_percentile(t, GROWING, 990) / before;
	f->shrink_ratio = (double)traffic_percentile(t, SHRINKING, 990) / before;
	print_run(t, run, f);
	ck_assert_uint_eq(atomic_load(&t->lost), 0);
	traffic_close(t);
	ring_close(&r);
}

static int
by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

/* Of the number at this offset in each. */
static double
median(const struct figures *f, unsigned count, size_t offset)
{
	double all[RUNS_MAX];

	for (unsigned i = 0; i < count; i++)
		memcpy(&all[i], (const char *)&f[i] + offset, sizeof(double));
	qsort(all, count, sizeof(double), by_size);
	return all[count / 2];
}

START_TEST(growing)
{
	unsigned keys = given("KEYS", 20000, TRAFFIC_KEYS), runs = given("RUNS", 3, RUNS_MAX);
	struct figures f[RUNS_MAX];

	for (unsigned i = 0; i < runs; i++)
		one_run(i, keys, &f[i]);
	printf("median of %u: five and three that join in %.1f s, p99 %.2f x; three leave in "
	       "%.1f s, p99 %.2f x\n",
	    runs, median(f, runs, offsetof(struct figures, grow_s)),
	    median(f, runs, offsetof(struct figures, grow_ratio)),
	    median(f, runs, offsetof(struct figures, shrink_s)),
	    median(f, runs, offsetof(struct figures, shrink_ratio)));
}
END_TEST

static Suite *
suite(void)
{
	Suite *s = suite_create("bench: growing");

	test_case(s, "growing", growing);
	return s;
}

TEST_MAIN(suite)
