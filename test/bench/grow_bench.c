/*
 * What does it cost to grow and to shrink under load, and how fast do copies travel?
 *
 * Growing: five processes, N=3, ROWS rows of 1 KiB, a client whose threads write and
 * read as fast as they are answered (test/cluster/load.h, which also judges: nothing
 * acknowledged is lost, no read is stale), and a second client that is the measure: one
 * call after the other, a put and a get in turn, one that fails is called again up to
 * TRIES times.  Three more join at once; one of them is killed while it is pulling, and
 * starts again.  Then the three leave, in one change; one of them is killed before it
 * has handed over what it owns, and starts again.  Figures: calls that failed for good,
 * and the 99th percentile of the measure while owners change, as a ratio to the same
 * before.
 *
 * Travelling: three processes with ROWS rows and nobody who calls; a fourth replaces
 * one of them and so gets all rows.  From the order until all have followed, as bytes
 * of values a second; beside it one process that reads the same rows in order from one
 * SQLite file and appends them to another (WAL, synchronous=FULL, 256 KiB a commit).
 *
 *	make bench-grow [ROWS=60000]
 */
#include "test/cluster/ring.h"

#include "base/timer.h"

#include <poll.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>

enum { SIZE = 1024, CALM = 3000, SAMPLES_MAX = 400000, TRIES = 3, OLD = 5, ALL = 8 };

struct measure {
	uint64_t *us;
	size_t count;
	unsigned retried, failed;
};

static unsigned
rows_wanted(void)
{
	const char *given = getenv("ROWS");

	return given != NULL && atoi(given) > 0 ? (unsigned)atoi(given) : 60000;
}

/* ---------------------------------------------------------------- the measure */

static int
by_size(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static uint64_t
p99(struct measure *m)
{
	ck_assert_uint_gt(m->count, 0);
	qsort(m->us, m->count, sizeof(*m->us), by_size);
	return m->us[(m->count - 1) * 99 / 100];
}

static void
call(struct proc *p, unsigned number, struct measure *m)
{
	struct proc_answer a;
	char key[32];
	struct proc_call c = {.key = key, .value = "", .size = SIZE};
	uint64_t began = test_now();
	int rc = -1;

	snprintf(key, sizeof(key), "measure-%u", number / 2);
	for (unsigned i = 0; i < TRIES && rc != 0; i++) {
		m->retried += i > 0;
		rc = number % 2 == 0 ? proc_put(p, &c, &a) : proc_get(p, &c, &a);
	}
	m->failed += rc != 0;
	if (m->count < SAMPLES_MAX)
		m->us[m->count++] = (test_now() - began) / NS_PER_US;
}

/* All that run have the same table, hold what they own, and nothing moves. */
static bool
settled(struct ring *r, unsigned members)
{
	struct dyn_status s;

	for (unsigned i = 0; i < r->count; i++) {
		if (r->peer[i].pid == 0)
			continue;
		proc_status(&r->peer[i], &s);
		if (s.membership == 0)
			continue;
		if (s.members != members || s.agreed != members || s.pending > 0 || s.moving)
			return false;
	}
	return true;
}

static unsigned
measure_until_settled(
    struct ring *r, struct proc *client, unsigned members, unsigned number, struct measure *m)
{
	do {
		for (unsigned i = 0; i < 50; i++)
			call(client, number++, m);
	} while (!settled(r, members));
	return number;
}

/* The same until a peer has something to pull, or has begun to leave. */
static unsigned
measure_until_it_moves(struct proc *p, struct proc *client, unsigned number, struct measure *m)
{
	struct dyn_status s;

	do {
		call(client, number++, m);
		proc_status(p, &s);
	} while (!s.moving && s.pending == 0);
	return number;
}

/* -------------------------------------------------------------------- growing */

static void
fill(struct ring *r, unsigned peers, unsigned rows)
{
	for (unsigned i = 0; i < rows; i++) {
		struct proc_answer a;
		char key[32];
		struct proc_call c = {.key = key, .value = "", .size = SIZE,
		    .call = {.durability = DYN_DURABLE_MEMORY, .w = 3}};

		snprintf(key, sizeof(key), "row-%u", i);
		ck_assert_int_eq(proc_put(&r->peer[i % peers], &c, &a), 0);
	}
}

/* The measure goes on while it starts. */
static unsigned
again(struct ring *r, unsigned i, struct proc *client, unsigned number, struct measure *m)
{
	struct dyn_options o = ring_options(r, i);
	struct pollfd ready;
	struct dyn_error error;

	proc_kill(&r->peer[i]);
	proc_start(&r->peer[i], &o);
	ready = (struct pollfd){.fd = r->peer[i].fd, .events = POLLIN};
	while (poll(&ready, 1, 0) == 0)
		call(client, number++, m);
	ck_assert_msg(proc_ready(&r->peer[i], &error) == 0, "%s", error.text);
	return number;
}

static void
tell(const char *what, struct measure *m, uint64_t before, uint64_t took)
{
	uint64_t p = p99(m);

	printf("grow: %s %6.2f s, %6zu calls, %u called again, %u failed for good, p99 %llu us, "
	       "ratio %.2f\n",
	    what, (double)took / 1e9, m->count, m->retried, m->failed, (unsigned long long)p,
	    (double)p / (double)before);
}

static void
leave_at_once(struct ring *r)
{
	struct proc_order o[ALL - OLD];

	for (unsigned i = OLD; i < ALL; i++)
		o[i - OLD] = (struct proc_order){.what = 'l', .id = r->peer[i].id};
	ck_assert_int_eq(proc_change(&r->peer[0], o, ALL - OLD, 10000, NULL), 0);
}

static unsigned
bad_calls(const struct load *l)
{
	unsigned sum = 0;

	for (unsigned i = 0; i < LOAD_PHASES; i++)
		sum += l->count[i].put_failed + l->count[i].put_unknown + l->count[i].get_failed;
	return sum;
}

START_TEST(growing)
{
	struct measure calm = {calloc(SAMPLES_MAX, 8), 0, 0, 0}, grow = calm, shrink = calm;
	struct load *l = load_new(64, 4, 5000);
	unsigned rows = rows_wanted(), number = 0, calls = 0;
	struct proc loader, client;
	uint64_t began, before;
	struct ring r;

	grow.us = calloc(SAMPLES_MAX, 8);
	shrink.us = calloc(SAMPLES_MAX, 8);
	l->pause_us = 0;
	ring_init(&r, ALL);
	for (unsigned i = 0; i < OLD; i++)
		ring_open(&r, i);
	ring_settled(&r, OLD);
	fill(&r, OLD, rows);
	ring_client(&r, &loader);
	ring_client(&r, &client);
	proc_load(&loader, l, 4, 4);
	load_await(l, 1000, 1000);
	while (number < CALM)
		call(&client, number++, &calm);
	before = p99(&calm);

	load_phase(l, 1);
	began = test_now();
	for (unsigned i = OLD; i < ALL; i++) {
		struct dyn_options o = ring_options(&r, i);

		proc_start(&r.peer[i], &o);
	}
	for (unsigned i = OLD; i < ALL; i++)
		ck_assert_int_eq(proc_ready(&r.peer[i], NULL), 0);
	number = measure_until_it_moves(&r.peer[ALL - 1], &client, number, &grow);
	number = again(&r, ALL - 1, &client, number, &grow);
	number = measure_until_settled(&r, &client, ALL, number, &grow);
	tell("5 to 8:", &grow, before, test_now() - began);

	load_phase(l, 2);
	began = test_now();
	leave_at_once(&r);
	number = measure_until_it_moves(&r.peer[ALL - 2], &client, number, &shrink);
	number = again(&r, ALL - 2, &client, number, &shrink);
	number = measure_until_settled(&r, &client, OLD, number, &shrink);
	tell("8 to 5:", &shrink, before, test_now() - began);

	atomic_store(&l->stop, true);
	proc_unload(&loader);
	load_check(l);
	for (unsigned i = OLD; i < ALL; i++)
		ck_assert_int_eq(proc_close(&r.peer[i], 5000), 0);
	load_verify(l, &client, DYN_STRICT);
	for (unsigned i = 0; i < LOAD_PHASES; i++)
		calls += l->count[i].puts + l->count[i].gets;
	printf("grow: the load made %u calls besides, %u of them failed, nothing is lost, no "
	       "read was stale; p99 before %llu us\n",
	    calls, bad_calls(l), (unsigned long long)before);
	ck_assert_int_eq(proc_close(&loader, 5000), 0);
	ck_assert_int_eq(proc_close(&client, 5000), 0);
	ring_close(&r);
	free(calm.us);
	free(grow.us);
	free(shrink.us);
}
END_TEST

/* ------------------------------------------------------------------ travelling */

static sqlite3 *
database(const char *path)
{
	sqlite3 *db;

	ck_assert_int_eq(sqlite3_open(path, &db), SQLITE_OK);
	ck_assert_int_eq(sqlite3_exec(db,
	                     "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"
	                     "CREATE TABLE row(id INTEGER PRIMARY KEY, name BLOB, value BLOB)",
	                     NULL, NULL, NULL),
	    SQLITE_OK);
	return db;
}

static sqlite3_stmt *
prepared(sqlite3 *db, const char *sql)
{
	sqlite3_stmt *s;

	ck_assert_int_eq(sqlite3_prepare_v2(db, sql, -1, &s, NULL), SQLITE_OK);
	return s;
}

static void
exec(sqlite3 *db, const char *sql)
{
	ck_assert_int_eq(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
}

/* Seconds to read so many rows in order and append them elsewhere. */
static double
raw(unsigned rows)
{
	enum { A_COMMIT = (256 << 10) / SIZE };
	const char *dir = test_dir();
	sqlite3 *from = database(test_path(dir, "from.db"));
	sqlite3 *to = database(test_path(dir, "to.db"));
	static const char insert[] = "INSERT INTO row VALUES(?1, ?2, ?3)";
	sqlite3_stmt *in = prepared(from, insert), *out = prepared(to, insert), *scan;
	static char value[SIZE];
	uint64_t began;
	unsigned i = 0;

	exec(from, "BEGIN");
	for (unsigned k = 0; k < rows; k++) {
		char name[32];
		int len = snprintf(name, sizeof(name), "name of row %u", k);

		sqlite3_bind_int64(in, 1, (sqlite3_int64)k);
		sqlite3_bind_blob(in, 2, name, len, SQLITE_TRANSIENT);
		sqlite3_bind_blob(in, 3, value, SIZE, SQLITE_STATIC);
		ck_assert_int_eq(sqlite3_step(in), SQLITE_DONE);
		sqlite3_reset(in);
	}
	exec(from, "COMMIT");
	began = test_now();
	scan = prepared(from, "SELECT id, name, value FROM row ORDER BY id");
	exec(to, "BEGIN");
	for (; sqlite3_step(scan) == SQLITE_ROW; i++) {
		if (i % A_COMMIT == A_COMMIT - 1)
			exec(to, "COMMIT; BEGIN");
		sqlite3_bind_int64(out, 1, sqlite3_column_int64(scan, 0));
		sqlite3_bind_value(out, 2, sqlite3_column_value(scan, 1));
		sqlite3_bind_value(out, 3, sqlite3_column_value(scan, 2));
		ck_assert_int_eq(sqlite3_step(out), SQLITE_DONE);
		sqlite3_reset(out);
	}
	exec(to, "COMMIT");
	ck_assert_uint_eq(i, rows);
	began = test_now() - began;
	sqlite3_finalize(scan);
	sqlite3_finalize(in);
	sqlite3_finalize(out);
	sqlite3_close(from);
	sqlite3_close(to);
	return (double)began / 1e9;
}

START_TEST(travelling)
{
	unsigned rows = rows_wanted();
	struct dyn_status s;
	struct dyn_options o;
	double ring_s, raw_s;
	uint64_t began;
	struct ring r;

	ring_init(&r, 4);
	for (unsigned i = 0; i < 3; i++)
		ring_open(&r, i);
	ring_settled(&r, 3);
	fill(&r, 3, rows);
	o = ring_options(&r, 3);
	o.join = DYN_JOIN_WAIT;
	proc_open(&r.peer[3], &o);
	for (unsigned i = 0; i < 3; i++)
		do
			proc_status(&r.peer[i], &s);
		while (s.unwritten_bytes > 0);
	raw_s = raw(rows);
	began = test_now();
	ck_assert_int_eq(proc_change(&r.peer[0],
	                     (struct proc_order[]){{.what = 'r', .id = r.peer[2].id,
	                         .other = r.peer[3].id}},
	                     1, 10000, NULL),
	    0);
	/* It has been forgotten, and may end before it is asked. */
	proc_kill(&r.peer[2]);
	do {
		test_sleep_ms(5);
		proc_status(&r.peer[3], &s);
	} while (s.members != 3 || s.agreed != 3 || s.pending > 0 || s.moving || s.owned == 0);
	ring_s = (double)(test_now() - began) / 1e9;
	ck_assert_uint_ge(s.keys, rows * 9 / 10);
	printf("travel: %u rows of %d bytes to a new owner in %.2f s, %.1f MiB/s; read from one file "
	       "and appended to another %.2f s, %.1f MiB/s; ratio %.2f\n",
	    rows, SIZE, ring_s, rows * (double)SIZE / 1048576 / ring_s, raw_s,
	    rows * (double)SIZE / 1048576 / raw_s, raw_s / ring_s);
	ring_close(&r);
}
END_TEST

static Suite *
suite(void)
{
	Suite *s = suite_create("growing");
	TCase *c = tcase_create("growing");

	suite_add_tcase(s, c);
	tcase_add_test(c, growing);
	tcase_add_test(c, travelling);
	return s;
}

TEST_MAIN(suite)
