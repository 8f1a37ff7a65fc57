/*
 * How fast do partitions move to new owners, as a ratio to the cheapest program that
 * does as much?
 *
 * Three processes, N=3, KEYS keys of 1 KiB, nobody calls.  A fourth waits, and is
 * ordered to join: three quarters of the rows become its own.  The time is that from
 * before the order is given until it holds all of them; the bytes are those of the rows
 * it then has, each once, whatever went over the wire.  Beside it, in the same run:
 * SQLite alone scans those rows in one file and appends them in another, with the
 * settings of libdyn's files and a synced commit every 4 MiB.
 *
 *	make bench-transfer [KEYS=100000] [RUNS=3]
 */
#include "test/bench/traffic.h"

#include "base/timer.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>

enum { PEERS = 4, NEWCOMER = 3, FLIGHT = 64, RUNS_MAX = 15, COMMIT_BYTES = 4 << 20 };

struct figures {
	double rows, bytes;
	double pull_s;  /* until the newcomer has all */
	double moved_s; /* until all have done with the change */
	double wire;    /* bytes that came to the newcomer */
	double raw_s, ordered_s, ratio;
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

/* ------------------------------------------------------------------ the ring */

static void
fill(struct ring *r, unsigned keys)
{
	struct traffic *t = traffic_new(keys, FLIGHT);
	struct dyn_status s = DYN_STATUS_INIT;

	t->durability = DYN_DURABLE_OS;
	r->count = NEWCOMER;
	ring_open_all(r);
	r->count = PEERS;
	traffic_open(t, r);
	traffic_do(t, TRAFFIC_FILL);
	ck_assert_uint_eq(atomic_load(&t->count[0][TRAFFIC_PUT].failed), 0);
	traffic_close(t);
	for (unsigned i = 0; i < NEWCOMER; i++)
		do {
			test_sleep_ms(500); /* what it puts off: let it be done */
			proc_status(&r->peer[i], &s);
		} while (s.unwritten_bytes > 0 || s.catching > 0 || s.unhashed > 0);
	test_sleep_ms(3000);
}

static void
join(struct ring *r, struct figures *f)
{
	struct proc_order order = {.what = 'j'};
	struct dyn_options o = ring_options(r, NEWCOMER);
	struct proc *p = &r->peer[NEWCOMER];
	struct dyn_status s = DYN_STATUS_INIT;
	struct dyn_stats stats = DYN_STATS_INIT;
	uint64_t began;

	o.join = DYN_JOIN_WAIT;
	proc_open(p, &o);
	order.id = p->id;
	TEST_WAIT(proc_change(&r->peer[0], &order, 1, 0, NULL) == 0, 10000);
	began = test_now();
	ck_assert_int_eq(proc_change(&r->peer[0], &order, 1, 10000, NULL), 0);
	TEST_WAIT((proc_status(p, &s), s.pending > 0), 10000);
	TEST_WAIT((proc_status(p, &s), s.pending == 0), 300000);
	f->pull_s = since(began);
	TEST_WAIT((proc_status(p, &s), s.moving == 0 && s.agreed == PEERS), 300000);
	f->moved_s = since(began);
	proc_stats(p, &stats);
	f->wire = (double)stats.bytes_in;
}

/* ------------------------------------------------------------- SQLite alone */

struct table {
	sqlite3 *db;
	sqlite3_stmt *insert;
	uint64_t rows, bytes;
	size_t uncommitted;
};

static void
check(const struct table *t, int rc, int wanted)
{
	ck_assert_msg(rc == wanted, "SQLite: %s", sqlite3_errmsg(t->db));
}

static void
run_sql(const struct table *t, const char *sql)
{
	check(t, sqlite3_exec(t->db, sql, NULL, NULL, NULL), SQLITE_OK);
}

static void
table_open(struct table *t, const char *path, bool ordered)
{
	const char *make = ordered
	    ? "CREATE TABLE IF NOT EXISTS t (id BLOB PRIMARY KEY, value BLOB) WITHOUT ROWID"
	    : "CREATE TABLE t (id BLOB, value BLOB)";

	memset(t, 0, sizeof(*t));
	check(t, sqlite3_open(path, &t->db), SQLITE_OK);
	run_sql(t, "PRAGMA locking_mode = EXCLUSIVE; PRAGMA page_size = 4096;"
		   "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
		   "PRAGMA mmap_size = 0; PRAGMA cache_size = -8192; PRAGMA secure_delete = OFF");
	run_sql(t, make);
	check(t, sqlite3_prepare_v2(t->db, "INSERT INTO t VALUES (?, ?)", -1, &t->insert, NULL),
	    SQLITE_OK);
	run_sql(t, "BEGIN");
}

static int
table_add(void *arg, struct dyn_slice id, struct dyn_slice value)
{
	struct table *t = arg;

	check(t, sqlite3_bind_blob(t->insert, 1, id.data, (int)id.len, SQLITE_STATIC), SQLITE_OK);
	check(t, sqlite3_bind_blob(t->insert, 2, value.data, (int)value.len, SQLITE_STATIC),
	    SQLITE_OK);
	check(t, sqlite3_step(t->insert), SQLITE_DONE);
	check(t, sqlite3_reset(t->insert), SQLITE_OK);
	t->rows++;
	t->bytes += id.len + value.len;
	t->uncommitted += id.len + value.len;
	if (t->uncommitted >= COMMIT_BYTES) {
		run_sql(t, "COMMIT; BEGIN");
		t->uncommitted = 0;
	}
	return 0;
}

static void
table_close(struct table *t)
{
	run_sql(t, "COMMIT");
	check(t, sqlite3_finalize(t->insert), SQLITE_OK);
	ck_assert_int_eq(sqlite3_close(t->db), SQLITE_OK);
}

/* The newcomer's rows, ordered, in a file without anything else. */
static void
extract(const struct ring *r, const char *path)
{
	struct dyn_slice all = {NULL, 0};
	struct dyn_engine *e;
	struct dyn_error error;
	struct table to;

	table_open(&to, path, true);
	ck_assert_msg(dyn_engine_sqlite(&e, test_path(r->dir[NEWCOMER], "data.db"), &error) == 0,
	    "%s", error.text);
	ck_assert_int_eq(e->scan(e->self, DYN_SPACE_DATA, all, all, table_add, &to), 0);
	ck_assert_int_eq(e->close(e->self), 0);
	table_close(&to);
}

static struct dyn_slice
column(sqlite3_stmt *st, int i)
{
	struct dyn_slice s = {sqlite3_column_blob(st, i), (size_t)sqlite3_column_bytes(st, i)};

	return s;
}

/* Seconds it takes. */
static double
copy(const char *from_path, const char *to_path, bool ordered, struct figures *f)
{
	uint64_t began = test_now();
	struct table from, to;
	sqlite3_stmt *st;
	double took;
	int rc;

	table_open(&from, from_path, true);
	table_open(&to, to_path, ordered);
	check(&from, sqlite3_prepare_v2(from.db, "SELECT id, value FROM t", -1, &st, NULL),
	    SQLITE_OK);
	while ((rc = sqlite3_step(st)) == SQLITE_ROW)
		table_add(&to, column(st, 0), column(st, 1));
	check(&from, rc, SQLITE_DONE);
	sqlite3_finalize(st);
	f->rows = (double)to.rows;
	f->bytes = (double)to.bytes;
	run_sql(&to, "COMMIT; BEGIN");
	took = since(began);
	table_close(&to);
	table_close(&from);
	return took;
}

/* ---------------------------------------------------------------------- runs */

static void
one_run(unsigned run, unsigned keys, struct figures *f)
{
	const char *dir = test_dir();
	const char *from = test_path(dir, "from.db");
	double mib;
	struct ring r;

	ring_init(&r, PEERS);
	r.base.partitions = 0; /* the default of the library */
	fill(&r, keys);
	join(&r, f);
	ring_close(&r);
	extract(&r, from);
	f->raw_s = copy(from, test_path(dir, "to.db"), false, f);
	f->ordered_s = copy(from, test_path(dir, "ordered.db"), true, f);
	f->ratio = f->raw_s / f->pull_s;
	mib = f->bytes / (1 << 20);
	printf("run %u: %.0f rows, %.1f MiB, in %.2f s (%.2f s until the change has ended; %.1f MiB "
	       "over the wire)\n       SQLite alone in %.2f s, ratio %.2f; to an ordered table in "
	       "%.2f s, ratio %.2f\n",
	    run + 1, f->rows, mib, f->pull_s, f->moved_s, f->wire / (1 << 20), f->raw_s, f->ratio,
	    f->ordered_s, f->ordered_s / f->pull_s);
	fflush(stdout);
	for (unsigned i = 0; i < PEERS; i++)
		test_remove(r.dir[i]);
	test_remove(dir);
}

static int
by_ratio(const void *a, const void *b)
{
	const struct figures *x = a, *y = b;

	return x->ratio < y->ratio ? -1 : x->ratio > y->ratio;
}

START_TEST(moving)
{
	unsigned keys = given("KEYS", 100000, TRAFFIC_KEYS), runs = given("RUNS", 3, RUNS_MAX);
	struct figures f[RUNS_MAX], *m = &f[runs / 2];

	for (unsigned i = 0; i < runs; i++)
		one_run(i, keys, &f[i]);
	qsort(f, runs, sizeof(*f), by_ratio);
	printf("median of %u: %.1f MiB/s, SQLite alone %.1f MiB/s, ratio %.2f\n", runs,
	    m->bytes / (1 << 20) / m->pull_s, m->bytes / (1 << 20) / m->raw_s, m->ratio);
}
END_TEST

static Suite *
suite(void)
{
	Suite *s = suite_create("bench: moving");

	test_case(s, "moving", moving);
	return s;
}

TEST_MAIN(suite)
