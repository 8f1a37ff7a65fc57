/*
 * Goal: peers join under load without a lost or a stale read (S10), without a
 * failed call, and get their share; also if the newcomer is killed in the
 * middle and starts again.
 * Method: three processes under the load of load.h; a fourth and a fifth join.
 */
#include "ring.h"

#include <signal.h>
#include <stdio.h>

/* Rows besides the counters, so that a pull takes a while. */
static void
fill(struct ring *r, unsigned rows)
{
	char key[32], value[2000];

	memset(value, 'x', sizeof(value) - 1);
	value[sizeof(value) - 1] = '\0';
	for (unsigned i = 0; i < rows; i++) {
		snprintf(key, sizeof(key), "row-%u", i);
		proc_write(&r->peer[i % 3], key, value);
	}
}

static void
start_load(struct ring *r, struct load *l, struct proc *client)
{
	ring_client(r, client);
	proc_load(&r->peer[0], l, 2, 1);
	proc_load(&r->peer[1], l, 0, 2);
	proc_load(&r->peer[2], l, 1, 1);
	proc_load(client, l, 1, 2);
	load_await(l, 100, 100);
}

static void
end_load(struct ring *r, struct load *l, struct proc *client)
{
	atomic_store(&l->stop, true);
	for (unsigned i = 0; i < 3; i++)
		proc_unload(&r->peer[i]);
	proc_unload(client);
	ck_assert_int_eq(proc_close(client, 1000), 0);
}

/* What it owns it holds, and reads of its own copy are as good. */
static void
holds_its_share(struct ring *r, unsigned newcomer, struct load *l)
{
	struct dyn_status s = DYN_STATUS_INIT;
	unsigned mine = 0;

	proc_status(&r->peer[newcomer], &s);
	ck_assert_uint_gt(s.owned, 0);
	ck_assert_uint_eq(s.under_replicated, 0);
	for (unsigned k = 0; k < l->keys; k++) {
		struct dyn_id owners[8];
		char key[32];

		snprintf(key, sizeof(key), "row-%u", k);
		ck_assert_uint_eq(proc_owners(&r->peer[0], key, owners, 8), 3);
		for (unsigned i = 0; i < 3; i++)
			if (memcmp(&owners[i], &r->peer[newcomer].id, 16) == 0) {
				mine++;
				ck_assert_uint_eq(
				    strlen(proc_read(&r->peer[newcomer], key, DYN_HERE)),
				    1999);
			}
	}
	ck_assert_uint_gt(mine, 0);
}

/* Those that own a key no more have let it go. */
static void
nothing_is_left(struct ring *r)
{
	struct dyn_status s = DYN_STATUS_INIT;
	char text[80];

	proc_status(&r->peer[0], &s);
	snprintf(text, sizeof(text), "table %llu: nothing is left", (unsigned long long)s.epoch);
	for (unsigned i = 0; i < r->count; i++)
		TEST_WAIT(proc_logged(&r->peer[i], text), 30000);
}

START_TEST(two_join_under_load)
{
	struct load *l = load_new(40, 4, 3000);
	struct proc client;
	uint64_t rows = 0;
	struct ring r;

	ring_init(&r, 5);
	r.base.workers = 2;
	for (unsigned i = 0; i < 3; i++)
		ring_open(&r, i);
	ring_settled(&r, 3);
	fill(&r, 300);
	start_load(&r, l, &client);
	for (unsigned i = 3; i < 5; i++) {
		load_phase(l, i);
		ring_open(&r, i);
		/* It serves at once. */
		load_verify(l, &r.peer[i], 0);
		ring_settled(&r, i + 1);
		load_await(l, 100, 100);
		load_verify(l, &r.peer[i], 0);
	}
	end_load(&r, l, &client);
	load_check(l);
	for (unsigned i = 0; i < LOAD_PHASES; i++) {
		ck_assert_uint_eq(atomic_load(&l->count[i].get_failed), 0);
		ck_assert_uint_eq(atomic_load(&l->count[i].put_failed), 0);
		ck_assert_uint_eq(atomic_load(&l->count[i].put_unknown), 0);
	}
	holds_its_share(&r, 3, l);
	holds_its_share(&r, 4, l);
	nothing_is_left(&r);
	for (unsigned i = 0; i < 5; i++)
		load_verify(l, &r.peer[i], 0);
	ring_close(&r);
	for (unsigned i = 0; i < 5; i++)
		rows += ring_rows(&r, i);
	ck_assert_uint_eq(rows, 3 * (300 + 40));
}
END_TEST

START_TEST(newcomer_is_killed)
{
	static const unsigned lives_ms[] = {5, 15, 40, 80, 150};
	struct load *l = load_new(40, 4, 3000);
	struct dyn_options o;
	struct proc client;
	struct ring r;

	ring_init(&r, 4);
	for (unsigned i = 0; i < 3; i++)
		ring_open(&r, i);
	ring_settled(&r, 3);
	fill(&r, 300);
	start_load(&r, l, &client);
	o = ring_options(&r, 3);
	for (size_t i = 0; i < ARRAY_LEN(lives_ms); i++) {
		proc_start(&r.peer[3], &o);
		test_sleep_ms(lives_ms[i]);
		proc_kill(&r.peer[3]);
		load_await(l, 10, 10);
	}
	load_phase(l, 1);
	ring_open(&r, 3);
	ring_settled(&r, 4);
	load_await(l, 100, 100);
	end_load(&r, l, &client);
	load_check(l);
	/* A dead newcomer that owns a share counts as one of three: reads and
	 * writes need two.  Only what it coordinated may be unknown. */
	ck_assert_uint_eq(atomic_load(&l->count[0].get_failed), 0);
	ck_assert_uint_eq(atomic_load(&l->count[0].put_failed), 0);
	ck_assert_uint_eq(atomic_load(&l->count[1].get_failed), 0);
	ck_assert_uint_eq(atomic_load(&l->count[1].put_failed), 0);
	holds_its_share(&r, 3, l);
	for (unsigned i = 0; i < 4; i++)
		load_verify(l, &r.peer[i], 0);
	ring_close(&r);
}
END_TEST

/* From the moment the newcomer is known, reads of rows by one of the others in
 * turn; each row once, since a read repairs. */
static void
read_meanwhile(struct ring *r, unsigned rows)
{
	struct dyn_status s = DYN_STATUS_INIT;

	do {
		proc_status(&r->peer[0], &s);
	} while (s.members < 4);
	for (unsigned row = 0; row < rows; row++) {
		char key[32];

		snprintf(key, sizeof(key), "row-%u", row);
		ck_assert_str_eq(proc_read(&r->peer[row % 3], key, 0), "new");
	}
}

/*
 * A newcomer next to a copy that missed the last writes: while it has not
 * pulled, the two together would outvote the one that knows.
 */
START_TEST(newcomer_beside_a_stale_copy)
{
	enum { ROWS = 1500 };
	struct dyn_options o;
	struct ring r;
	char key[32];

	ring_init(&r, 4);
	for (unsigned i = 0; i < 3; i++)
		ring_open(&r, i);
	ring_settled(&r, 3);
	proc_kill(&r.peer[1]);
	for (unsigned i = 0; i < ROWS; i++) {
		snprintf(key, sizeof(key), "row-%u", i);
		proc_write(&r.peer[i % 2 * 2], key, "new");
	}
	ring_open(&r, 1);
	ring_settled(&r, 3);
	o = ring_options(&r, 3);
	proc_start(&r.peer[3], &o);
	read_meanwhile(&r, ROWS);
	ck_assert_int_eq(proc_ready(&r.peer[3], NULL), 0);
	ring_settled(&r, 4);
	for (unsigned i = 0; i < ROWS; i++) {
		snprintf(key, sizeof(key), "row-%u", i);
		ck_assert_str_eq(proc_read(&r.peer[3], key, 0), "new");
	}
	ring_close(&r);
}
END_TEST

static Suite *
suite(void)
{
	Suite *s = suite_create("join");

	test_case(s, "two join", two_join_under_load);
	test_case(s, "beside a stale copy", newcomer_beside_a_stale_copy);
	test_case(s, "newcomer is killed", newcomer_is_killed);
	return s;
}

TEST_MAIN(suite)
