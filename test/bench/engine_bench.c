/*
 * How fast is the SQLite engine, next to what SQLite itself can do on this
 * disk in the same run?
 *
 *	raw append   INSERT into a table with a rising integer key
 *	raw keyed    REPLACE into a table ordered by random ids
 *	engine       apply with random ids; nothing is folded yet at first,
 *	             the sustained run is long enough for several generations
 *
 * All commits are synced.  Values of 100 bytes, ids of 32.
 *
 *	engine_bench [-s seconds of a short run] [-n thousand rows of the long run]
 *	             [-f fold MiB] [-c checkpoint pages] [-d folder] [-l] (long run only)
 */
#include "../test.h"
#include "base/rng.h"
#include "host/engine.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#define ID_LEN 32
#define VALUE_LEN 100
#define ROWS_MAX 512
#define SAMPLES_MAX (1 << 20)

static struct {
	double seconds;
	uint64_t rows;
	struct engine_tuning tuning;
	const char *folder;
	bool long_only;
} options = {1.5, 1000000, {(size_t)32 << 20, (size_t)4 << 20, 4000}, NULL, false};

static uint32_t *samples; /* microseconds of each commit */

struct result {
	uint64_t rows, commits, ns;
	double cpu;
};

static void
die(const char *what, int rc)
{
	fprintf(stderr, "engine_bench: %s: %d\n", what, rc);
	exit(1);
}

static double
cpu_seconds(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
	       (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static int
by_number(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

static void
print_result(const char *name, unsigned per_commit, const struct result *r)
{
	size_t n = MIN(r->commits, SAMPLES_MAX);

	qsort(samples, n, sizeof(*samples), by_number);
	printf("%-18s %5u %10.0f %9.1f %9u %9u %9u %9u\n", name, per_commit,
	    (double)r->rows * 1e9 / (double)r->ns, r->cpu * 1e6 / (double)r->rows,
	    samples[n / 2], samples[n * 99 / 100], samples[n * 999 / 1000],
	    samples[n - 1]);
	fflush(stdout);
}

/* The id of a number, spread by mixing. */
static void
make_id(uint64_t number, unsigned char id[ID_LEN])
{
	uint64_t w;

	for (size_t i = 0; i < ID_LEN / 8; i++) {
		w = mix64(number * 4 + i + 1);
		memcpy(id + 8 * i, &w, sizeof(w));
	}
}

/* ------------------------------------------------------------------- the raw */

struct raw {
	sqlite3 *db;
	sqlite3_stmt *begin, *insert, *commit;
	bool keyed;
};

static void
raw_open(struct raw *r, const char *path, bool keyed)
{
	const char *sql = keyed ? "REPLACE INTO t VALUES (?1, ?2)"
				: "INSERT INTO t VALUES (NULL, ?1, ?2)";
	int rc;

	r->keyed = keyed;
	rc = sqlite3_open(path, &r->db);
	if (rc == SQLITE_OK)
		rc = sqlite3_exec(r->db,
		    "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;", NULL, NULL,
		    NULL);
	if (rc == SQLITE_OK)
		rc = sqlite3_exec(r->db,
		    keyed
			? "CREATE TABLE t (id BLOB PRIMARY KEY, value BLOB) WITHOUT ROWID"
			: "CREATE TABLE t (seq INTEGER PRIMARY KEY, id BLOB, value BLOB)",
		    NULL, NULL, NULL);
	if (rc == SQLITE_OK)
		rc = sqlite3_prepare_v2(r->db, "BEGIN", -1, &r->begin, NULL);
	if (rc == SQLITE_OK)
		rc = sqlite3_prepare_v2(r->db, sql, -1, &r->insert, NULL);
	if (rc == SQLITE_OK)
		rc = sqlite3_prepare_v2(r->db, "COMMIT", -1, &r->commit, NULL);
	if (rc != SQLITE_OK)
		die("raw open", rc);
}

static void
step(sqlite3_stmt *s)
{
	int rc = sqlite3_step(s);

	sqlite3_reset(s);
	if (rc != SQLITE_DONE)
		die("raw step", rc);
}

static int
raw_apply(void *arg, const struct dyn_row *rows, size_t count)
{
	struct raw *r = arg;

	step(r->begin);
	for (size_t i = 0; i < count; i++) {
		sqlite3_bind_blob(
		    r->insert, 1, rows[i].id.data, (int)rows[i].id.len, SQLITE_STATIC);
		sqlite3_bind_blob(r->insert, 2, rows[i].value.data,
		    (int)rows[i].value.len, SQLITE_STATIC);
		step(r->insert);
	}
	step(r->commit);
	return 0;
}

static void
raw_close(struct raw *r)
{
	sqlite3_finalize(r->begin);
	sqlite3_finalize(r->insert);
	sqlite3_finalize(r->commit);
	sqlite3_close(r->db);
}

/* ---------------------------------------------------------------- measuring */

static int
engine_apply(void *arg, const struct dyn_row *rows, size_t count)
{
	struct dyn_engine *e = arg;

	return e->apply(e->self, rows, count, DYN_DURABLE_DISK);
}

/* Rows with ids below `ids`, until the time or the rows are over. */
static void
measure(int (*apply)(void *, const struct dyn_row *, size_t), void *arg,
    unsigned per_commit, double seconds, uint64_t rows_max, uint64_t ids,
    struct result *r)
{
	static unsigned char id[ROWS_MAX][ID_LEN], value[VALUE_LEN];
	static struct rng rng = {42};
	struct dyn_row rows[ROWS_MAX];
	uint64_t start = test_now(), before, now = start;
	double cpu = cpu_seconds();
	int rc;

	memset(r, 0, sizeof(*r));
	while (r->rows < rows_max && (double)(now - start) < seconds * 1e9) {
		for (unsigned i = 0; i < per_commit; i++) {
			make_id(rng_below(&rng, ids), id[i]);
			rows[i] = (struct dyn_row){DYN_SPACE_DATA, slice(id[i], ID_LEN),
			    slice(value, VALUE_LEN)};
		}
		memcpy(value, &now, sizeof(now));
		before = test_now();
		rc = apply(arg, rows, per_commit);
		if (rc != 0)
			die("apply", rc);
		now = test_now();
		samples[MIN(r->commits, SAMPLES_MAX - 1)] =
		    (uint32_t)((now - before) / 1000);
		r->commits++;
		r->rows += per_commit;
	}
	r->ns = now - start;
	r->cpu = cpu_seconds() - cpu;
}

static struct dyn_engine *
open_engine(const char *path)
{
	struct dyn_engine *e;
	struct dyn_error error;
	int rc = engine_sqlite_open(&e, path, &options.tuning, &error);

	if (rc != 0)
		die(error.text, rc);
	return e;
}

static void
short_runs(unsigned per_commit)
{
	struct raw raw;
	struct dyn_engine *e;
	struct result r;

	for (int keyed = 0; keyed < 2; keyed++) {
		const char *path = test_path(options.folder, keyed ? "keyed" : "append");

		test_remove(path);
		raw_open(&raw, path, keyed);
		measure(raw_apply, &raw, per_commit, options.seconds, UINT64_MAX,
		    UINT64_MAX >> 2, &r);
		raw_close(&raw);
		print_result(keyed ? "raw keyed" : "raw append", per_commit, &r);
		test_remove(path);
	}
	e = open_engine(test_path(options.folder, "short"));
	measure(engine_apply, e, per_commit, options.seconds, UINT64_MAX, UINT64_MAX >> 2,
	    &r);
	print_result("engine", per_commit, &r);
	e->close(e->self);
	test_remove(test_path(options.folder, "short"));
}

static void
gets(struct dyn_engine *e, uint64_t ids, const char *name)
{
	struct rng rng = {7};
	struct dyn_buffer b = {0};
	unsigned char id[ID_LEN];
	uint64_t start = test_now(), count = 0, found = 0;
	int rc;

	while (test_now() - start < 1000000000) {
		make_id(rng_below(&rng, ids), id);
		b.len = 0;
		rc = e->get(e->self, DYN_SPACE_DATA, slice(id, ID_LEN), &b);
		if (rc != 0 && rc != DYN_ENOTFOUND)
			die("get", rc);
		found += rc == 0;
		count++;
	}
	printf("%-30s %9.0f gets/s, %.0f%% found\n", name,
	    (double)count * 1e9 / (double)(test_now() - start),
	    100.0 * (double)found / (double)count);
	dyn_buffer_free(&b);
}

/* Until nothing is left to do. */
static void
settle(struct dyn_engine *e)
{
	uint64_t start = test_now(), before, longest = 0;
	uint64_t turns = 0;
	int more = 1;

	for (; more == 1; turns++) {
		before = test_now();
		more = e->idle(e->self);
		longest = MAX(longest, test_now() - before);
	}
	printf("idle work: %.0f ms in %llu turns, the longest %.1f ms\n",
	    (double)(test_now() - start) / 1e6, (unsigned long long)turns,
	    (double)longest / 1e6);
}

static void
long_run(unsigned per_commit, bool fresh_ids)
{
	const char *path = test_path(options.folder, "long");
	uint64_t ids = fresh_ids ? UINT64_MAX >> 2 : options.rows / 4;
	struct dyn_engine *e = open_engine(path);
	struct result r;
	struct dyn_engine_info info;

	measure(engine_apply, e, per_commit, 60, options.rows, ids, &r);
	print_result(fresh_ids ? "sustained, new" : "sustained, x4", per_commit, &r);
	e->info(e->self, &info);
	printf("rows by info: %llu\n", (unsigned long long)info.rows);
	if (!fresh_ids)
		gets(e, ids, "gets while part is in memory");
	settle(e);
	if (!fresh_ids)
		gets(e, ids, "gets, all in the file");
	e->info(e->self, &info);
	printf("rows by info: %llu\n", (unsigned long long)info.rows);
	e->close(e->self);
	test_remove(path);
}

static void
restarts(void)
{
	struct engine_tuning keep = options.tuning;
	const char *path = test_path(options.folder, "restart");
	struct dyn_engine *e = NULL;
	struct result r;
	uint64_t start;

	options.tuning.fold_bytes = SIZE_MAX;
	for (uint64_t rows = 20000; rows <= 500000; rows *= 5) {
		e = open_engine(path);
		measure(engine_apply, e, 64, 60, rows, UINT64_MAX >> 2, &r);
		e->close(e->self);
		start = test_now();
		e = open_engine(path);
		printf("restart with %8llu rows in the journal: %.0f ms\n",
		    (unsigned long long)rows, (double)(test_now() - start) / 1e6);
		e->close(e->self);
		test_remove(path);
	}
	options.tuning = keep;
}

static void
read_options(int argc, char **argv)
{
	int c;

	while ((c = getopt(argc, argv, "s:n:f:c:d:l")) != -1) {
		switch (c) {
		case 's':
			options.seconds = atof(optarg);
			break;
		case 'n':
			options.rows = (uint64_t)atoll(optarg) * 1000;
			break;
		case 'f':
			options.tuning.fold_bytes = (size_t)atoll(optarg) << 20;
			break;
		case 'c':
			options.tuning.checkpoint_pages = atoi(optarg);
			break;
		case 'd':
			options.folder = optarg;
			break;
		case 'l':
			options.long_only = true;
			break;
		default:
			exit(2);
		}
	}
}

int
main(int argc, char **argv)
{
	static const unsigned sizes[] = {1, 8, 64, 512};
	static char made[256];

	read_options(argc, argv);
	if (options.folder == NULL) {
		snprintf(made, sizeof(made), "%s/libdyn-bench-XXXXXX",
		    getenv("TMPDIR") != NULL ? getenv("TMPDIR") : "/tmp");
		options.folder = mkdtemp(made);
		if (options.folder == NULL)
			die("mkdtemp", -1);
	}
	samples = calloc(SAMPLES_MAX, sizeof(*samples));
	printf("%-18s %5s %10s %9s %9s %9s %9s %9s\n", "", "rows/", "rows/s", "CPU us/",
	    "p50 us/", "p99", "p99.9", "max");
	printf("%-18s %5s %10s %9s %9s\n", "", "commit", "", "row", "commit");
	for (size_t i = 0; i < ARRAY_LEN(sizes) && !options.long_only; i++)
		short_runs(sizes[i]);
	long_run(64, true);
	long_run(64, false);
	if (!options.long_only)
		restarts();
	free(samples);
	if (made[0] != '\0')
		test_remove(made);
	return 0;
}
