/*
 * How many calls fail while one of five peers is dead (paper section 2.2: the
 * aim is that nobody notices)?
 *
 * Five processes under a load of counters (test/cluster/load.h) that goes
 * through the other four.  The fifth is killed, or stopped so that it is
 * silent; the first timeout after that is counted apart from what follows.
 * Every call is judged as the load judges it.
 *
 *	make bench-outage
 */
#include "test/cluster/ring.h"

#include "base/timer.h"

#include <signal.h>
#include <stdio.h>

enum { TIMEOUT_MS = 2000, CALM_MS = 3000, LONG_MS = 15000 };
enum phase { BEFORE, FIRST, AFTER, BACK };

static void
report(const struct load *l, const char *what)
{
	static const char *const names[] = {
	    "before", "the first timeout", "after it", "it is back"};

	printf("%s\n", what);
	for (unsigned i = BEFORE; i <= BACK; i++) {
		const struct load_count *c = &l->count[i];
		unsigned good = atomic_load(&c->puts) + atomic_load(&c->gets);
		unsigned bad = atomic_load(&c->put_failed) +
			       atomic_load(&c->put_unknown) + atomic_load(&c->get_failed);

		printf("  %-18s %8u calls, %u failed, %u unknown, %u reads failed: %.4f %%\n",
		    names[i], good + bad, atomic_load(&c->put_failed),
		    atomic_load(&c->put_unknown), atomic_load(&c->get_failed),
		    100.0 * good / MAX(good + bad, 1u));
	}
}

static void
outage(bool silent)
{
	struct load *l = load_new(LOAD_KEYS, 8, TIMEOUT_MS);
	struct ring r;

	ring_init(&r, 5);
	ring_open_all(&r);
	for (unsigned i = 0; i < 4; i++)
		proc_load(&r.peer[i], l, 2, 2);
	test_sleep_ms(CALM_MS);
	load_phase(l, FIRST);
	if (silent)
		proc_signal(&r.peer[4], SIGSTOP);
	else
		proc_kill(&r.peer[4]);
	test_sleep_ms(TIMEOUT_MS);
	load_phase(l, AFTER);
	test_sleep_ms(LONG_MS);
	load_phase(l, BACK);
	if (silent)
		proc_signal(&r.peer[4], SIGCONT);
	else
		ring_open(&r, 4);
	test_sleep_ms(CALM_MS);
	for (unsigned i = 0; i < 4; i++)
		proc_unload(&r.peer[i]);
	load_check(l);
	report(l, silent ? "one of five is silent" : "one of five is killed");
	ring_close(&r);
}

START_TEST(one_is_killed)
{
	outage(false);
}
END_TEST

START_TEST(one_is_silent)
{
	outage(true);
}
END_TEST

static Suite *
suite(void)
{
	Suite *s = suite_create("bench: outage");

	test_case(s, "killed", one_is_killed);
	test_case(s, "silent", one_is_silent);
	return s;
}

TEST_MAIN(suite)
