/*
 * Goal: letters reach the loop's thread, all of them, in order for each
 * sender, whoever sends and however the thread sleeps; time wakes it; a stop
 * loses nothing.
 * Method: real threads; letters carry their sender and number.
 */
#include "test/net.h"

#include "base/rng.h"

#include <sched.h>
#include <signal.h>
#include <unistd.h>

struct note {
	struct letter letter;
	struct desk *desk;
	unsigned sender;
	uint64_t number;
	int hops; /* post again from inside this often */
};

#define SENDERS 3

struct desk {
	struct loop loop;
	atomic_uint_fast64_t got, turns, wrong;
	uint64_t next[SENDERS];
	atomic_uint_fast64_t woken_at;
	uint64_t wake_at;
};

static void
desk_turn(void *arg)
{
	struct desk *d = arg;

	atomic_fetch_add(&d->turns, 1);
	if (d->wake_at != 0 && d->loop.now >= d->wake_at) {
		atomic_store(&d->woken_at, clock_now());
		d->wake_at = 0;
		loop_wake_at(&d->loop, TIME_NEVER);
	}
}

static void
read_note(struct letter *letter)
{
	struct note *n = CONTAINER_OF(letter, struct note, letter);
	struct desk *d = n->desk;

	if (!loop_inside(&d->loop) || !loop_inside_any())
		atomic_fetch_add(&d->wrong, 1);
	if (n->hops > 0) {
		n->hops--;
		loop_post(&d->loop, &n->letter);
		return;
	}
	if (d->next[n->sender]++ != n->number)
		atomic_fetch_add(&d->wrong, 1);
	atomic_fetch_add(&d->got, 1);
	mem_free(n);
}

static void
post_note(struct desk *d, unsigned sender, uint64_t number, int hops)
{
	struct note *n = mem_zalloc(sizeof(*n));

	n->letter.run = read_note;
	n->desk = d;
	n->sender = sender;
	n->number = number;
	n->hops = hops;
	loop_post(&d->loop, &n->letter);
}

static void
desk_open(struct desk *d)
{
	memset(d, 0, sizeof(*d));
	ck_assert_int_eq(loop_init(&d->loop, "desk", desk_turn, d), 0);
}

struct sender {
	struct desk *desk;
	unsigned number;
	uint64_t letters;
};

static void *
send_letters(void *arg)
{
	struct sender *s = arg;
	struct rng r = {test_seed() + s->number};

	for (uint64_t i = 0; i < s->letters; i++) {
		post_note(s->desk, s->number, i, 0);
		/* Pauses, so that the loop falls asleep now and then. */
		if (rng_below(&r, 200) == 0)
			usleep((useconds_t)rng_below(&r, 200));
	}
	return NULL;
}

START_TEST(letters_arrive_in_order)
{
	struct desk d;
	struct sender senders[SENDERS];
	pthread_t threads[SENDERS];

	desk_open(&d);
	ck_assert_int_eq(loop_start(&d.loop), 0);
	for (unsigned i = 0; i < SENDERS; i++) {
		senders[i] = (struct sender){&d, i, 30000};
		ck_assert_int_eq(
		    pthread_create(&threads[i], NULL, send_letters, &senders[i]), 0);
	}
	for (unsigned i = 0; i < SENDERS; i++)
		pthread_join(threads[i], NULL);
	TEST_WAIT(atomic_load(&d.got) == SENDERS * 30000, 10000);
	loop_stop(&d.loop);
	loop_fini(&d.loop);
	ck_assert_uint_eq(atomic_load(&d.wrong), 0);
}
END_TEST

struct tower {
	struct loop loop;
	struct bell bell;
	atomic_ulong told, known, heard;
};

static void
tower_heard(struct bell *b)
{
	struct tower *t = CONTAINER_OF(b, struct tower, bell);

	atomic_fetch_add(&t->heard, 1);
	atomic_store(&t->known, atomic_load(&t->told));
}

/* What was told before a ring is known after it, also when the ring comes just as
 * the one before it is heard. */
START_TEST(bells_are_heard)
{
	struct tower t = { .told = 1 };
	unsigned long rings = 10000;
	uint64_t until = test_now() + 50 * NS_PER_S;

	ck_assert_int_eq(loop_init(&t.loop, "tower", NULL, NULL), 0);
	bell_init(&t.bell, tower_heard);
	bell_ring(&t.loop, &t.bell); /* twice in the mailbox would be a circle */
	bell_ring(&t.loop, &t.bell);
	ck_assert_int_eq(loop_start(&t.loop), 0);
	for (unsigned long i = 1; i < rings; i++) {
		while (atomic_load(&t.known) != i) {
			ck_assert_msg(test_now() < until, "ring %lu was not heard", i);
			sched_yield();
		}
		atomic_store(&t.told, i + 1);
		bell_ring(&t.loop, &t.bell);
	}
	loop_stop(&t.loop);
	loop_fini(&t.loop);
	ck_assert_uint_eq(atomic_load(&t.known), rings);
	ck_assert_uint_le(atomic_load(&t.heard), rings);
}
END_TEST

/* A post from the thread itself writes no eventfd: it must be seen before the
 * thread sleeps, and a post from outside must still wake. */
START_TEST(own_letters_are_not_slept_on)
{
	struct desk d;

	desk_open(&d);
	ck_assert_int_eq(loop_start(&d.loop), 0);
	for (uint64_t i = 0; i < 2000; i++) {
		post_note(&d, 0, i, 1 + (int)(i % 3));
		TEST_WAIT(atomic_load(&d.got) == i + 1, 2000);
	}
	loop_stop(&d.loop);
	loop_fini(&d.loop);
	ck_assert_uint_eq(atomic_load(&d.wrong), 0);
}
END_TEST

START_TEST(one_turn_serves_many_letters)
{
	struct desk d;

	desk_open(&d);
	for (uint64_t i = 0; i < 1000; i++)
		post_note(&d, 0, i, 0);
	ck_assert_int_eq(loop_start(&d.loop), 0);
	TEST_WAIT(atomic_load(&d.got) == 1000, 2000);
	ck_assert_uint_le(atomic_load(&d.turns), 5);
	loop_stop(&d.loop);
	loop_fini(&d.loop);
}
END_TEST

START_TEST(stop_reads_what_was_posted)
{
	struct desk d;
	long before = mem_balance();

	for (int round = 0; round < 50; round++) {
		desk_open(&d);
		ck_assert_int_eq(loop_start(&d.loop), 0);
		for (uint64_t i = 0; i < 20; i++)
			post_note(&d, 0, i, 2);
		loop_stop(&d.loop);
		ck_assert_uint_eq(atomic_load(&d.got), 20);
		/* Too late for the thread: loop_fini's. */
		post_note(&d, 0, 20, 0);
		d.wrong = 0;
		loop_fini(&d.loop);
		ck_assert_uint_eq(atomic_load(&d.got), 21);
		ck_assert_int_eq(mem_balance(), before);
	}
}
END_TEST

static void
set_wake(void *arg)
{
	struct desk *d = arg;

	d->wake_at = clock_now() + 30 * NS_PER_MS;
	loop_wake_at(&d->loop, clock_now() + 500 * NS_PER_MS);
	loop_wake_at(&d->loop, d->wake_at);
}

START_TEST(time_wakes)
{
	struct desk d;
	uint64_t asked, turns;

	desk_open(&d);
	ck_assert_int_eq(loop_start(&d.loop), 0);
	for (int i = 0; i < 3; i++) {
		atomic_store(&d.woken_at, 0);
		net_inside(&d.loop, set_wake, &d);
		asked = test_now();
		TEST_WAIT(atomic_load(&d.woken_at) != 0, 2000);
		ck_assert_uint_ge(atomic_load(&d.woken_at) - asked, 25 * NS_PER_MS);
		ck_assert_uint_le(atomic_load(&d.woken_at) - asked, 300 * NS_PER_MS);
	}
	/* Never: the thread sleeps. */
	turns = atomic_load(&d.turns);
	test_sleep_ms(100);
	ck_assert_uint_le(atomic_load(&d.turns) - turns, 1);
	loop_stop(&d.loop);
	loop_fini(&d.loop);
}
END_TEST

static atomic_int signals_seen;

static void
on_signal(int number)
{
	(void)number;
	if (loop_inside_any())
		atomic_fetch_add(&signals_seen, 1);
}

static void
read_mask(void *arg)
{
	pthread_sigmask(SIG_SETMASK, NULL, arg);
}

START_TEST(signals_are_blocked_inside)
{
	struct sigaction action = {.sa_handler = on_signal};
	struct desk d;
	sigset_t inside, before, after;

	sigaction(SIGUSR1, &action, NULL);
	desk_open(&d);
	pthread_sigmask(SIG_SETMASK, NULL, &before);
	ck_assert_int_eq(loop_start(&d.loop), 0);
	pthread_sigmask(SIG_SETMASK, NULL, &after);
	ck_assert_int_eq(sigismember(&after, SIGUSR1), sigismember(&before, SIGUSR1));
	net_inside(&d.loop, read_mask, &inside);
	ck_assert_int_eq(sigismember(&inside, SIGUSR1), 1);
	ck_assert_int_eq(sigismember(&inside, SIGTERM), 1);
	ck_assert_int_eq(sigismember(&inside, SIGPIPE), 1);
	for (int i = 0; i < 50; i++)
		kill(getpid(), SIGUSR1);
	loop_stop(&d.loop);
	loop_fini(&d.loop);
	ck_assert_int_eq(atomic_load(&signals_seen), 0);
}
END_TEST

struct late {
	struct deferred deferred;
	struct loop *loop;
	int runs, again;
};

static void
run_late(struct deferred *deferred)
{
	struct late *l = CONTAINER_OF(deferred, struct late, deferred);

	l->runs++;
	if (l->again-- > 0)
		loop_defer(l->loop, deferred);
}

static void
defer_thrice(void *arg)
{
	struct late *l = arg;

	for (int i = 0; i < 3; i++)
		loop_defer(l->loop, &l->deferred);
	ck_assert_int_eq(l->runs, 0);
}

START_TEST(deferred_runs_once_a_turn)
{
	struct desk d;
	struct late l = {.loop = &d.loop};

	desk_open(&d);
	deferred_init(&l.deferred, run_late);
	ck_assert_int_eq(loop_start(&d.loop), 0);
	net_inside(&d.loop, defer_thrice, &l);
	loop_stop(&d.loop);
	ck_assert_int_eq(l.runs, 1);
	/* It may ask for another go; and loop_fini runs what is left. */
	l.again = 2;
	loop_defer(&d.loop, &l.deferred);
	loop_fini(&d.loop);
	ck_assert_int_eq(l.runs, 4);
}
END_TEST

START_TEST(loop_without_memory)
{
	struct loop l;
	size_t files = net_open_files();

	TEST_ALLOC_FAILURES (n) {
		if (loop_init(&l, "poor", NULL, NULL) == 0)
			loop_fini(&l);
	}
	ck_assert_uint_eq(net_open_files(), files);
}
END_TEST

static Suite *
suite(void)
{
	Suite *s = suite_create("loop");
	TCase *t = tcase_create("loop");

	tcase_set_timeout(t, 60);
	tcase_add_test(t, letters_arrive_in_order);
	tcase_add_test(t, bells_are_heard);
	tcase_add_test(t, own_letters_are_not_slept_on);
	tcase_add_test(t, one_turn_serves_many_letters);
	tcase_add_test(t, stop_reads_what_was_posted);
	tcase_add_test(t, time_wakes);
	tcase_add_test(t, signals_are_blocked_inside);
	tcase_add_test(t, deferred_runs_once_a_turn);
	tcase_add_test(t, loop_without_memory);
	suite_add_tcase(s, t);
	return s;
}

TEST_MAIN(suite)
