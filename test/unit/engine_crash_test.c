/*
 * Goal: after a crash the SQLite engine has all that was acknowledged, batches
 * whole; a damaged, foreign, newer, cut, full or read-only file gives a clear
 * error and never a wrong value.
 * Method: a child process that applies batches and reports each through a pipe
 * is killed at random moments, on one file, round after round.  Damage is done
 * with SQL, truncate and write; every row is read afterwards.  Full and
 * read-only disks are small mounts (skipped aloud where the test may not mount).
 */
#include "../test.h"
#include "base/rng.h"
#include "host/engine.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum kind { SQLITE, BUSY_SQLITE };

/* All background work all the time. */
static const struct engine_tuning tiny = {
    .fold_bytes = 6000, .idle_bytes = 1500, .checkpoint_pages = 200};

static struct dyn_engine *
open_engine(enum kind kind, const char *path)
{
	struct dyn_engine *e = NULL;
	struct dyn_error error = {0};
	int rc = engine_sqlite_open(&e, path, kind == BUSY_SQLITE ? &tiny : NULL, &error);

	ck_assert_msg(rc == 0, "open: %d %s", rc, error.text);
	return e;
}

/* ------------------------------------------------------------------- crashes */

#define SHARED_IDS 24

/* Batch b: all shared ids get b, and b's own three rows are added. */
static int
apply_numbered(struct dyn_engine *e, uint32_t b)
{
	static char ids[SHARED_IDS + 3][32];
	struct dyn_row rows[SHARED_IDS + 3];

	for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
		if (i < SHARED_IDS)
			snprintf(ids[i], 32, "%c shared", 'a' + (int)i);
		else
			snprintf(ids[i], 32, "own %u of %u", i, b);
		rows[i] = (struct dyn_row){
		    DYN_SPACE_DATA, slice(ids[i], strlen(ids[i])), slice(&b, sizeof(b))};
	}
	return e->apply(e->self, rows, ARRAY_LEN(rows), DYN_DURABLE_DISK);
}

static uint32_t
read_number(struct dyn_engine *e, const char *id)
{
	struct dyn_buffer b = {0};
	uint32_t number = 0;
	int rc = e->get(e->self, DYN_SPACE_DATA, slice(id, strlen(id)), &b);

	ck_assert(rc == 0 || rc == DYN_ENOTFOUND);
	if (rc == 0) {
		ck_assert_uint_eq(b.len, sizeof(number));
		memcpy(&number, b.data, sizeof(number));
	}
	dyn_buffer_free(&b);
	return number;
}

static void
crash_child(const char *path, uint32_t first, int ack)
{
	struct dyn_engine *e;

	if (engine_sqlite_open(&e, path, &tiny, NULL) != 0)
		_exit(1);
	for (uint32_t b = first;; b++) {
		if (apply_numbered(e, b) != 0 || write(ack, &b, sizeof(b)) != sizeof(b))
			_exit(2);
		(void)e->idle(e->self);
	}
}

/* Runs a child for some milliseconds, kills it; the last batch it reported. */
static uint32_t
run_and_kill(const char *path, uint32_t last, unsigned ms)
{
	uint32_t acked = last, b;
	int pipes[2], status;
	pid_t pid;

	ck_assert_int_eq(pipe(pipes), 0);
	pid = fork();
	if (pid == 0)
		crash_child(path, last + 1, pipes[1]);
	close(pipes[1]);
	test_sleep_ms(ms);
	kill(pid, SIGKILL);
	while (read(pipes[0], &b, sizeof(b)) == sizeof(b)) {
		ck_assert_uint_eq(b, acked + 1);
		acked = b;
	}
	close(pipes[0]);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	return acked;
}

START_TEST(kill_nine)
{
	const char *path = test_path(test_dir(), "data.db");
	struct rng rng = {test_seed()};
	uint32_t last = 0, acked;
	char id[32];

	path = strdup(path);
	for (int round = 0; round < 40; round++) {
		struct dyn_engine *e;

		acked = run_and_kill(path, last, (unsigned)rng_below(&rng, 40));
		e = open_engine(BUSY_SQLITE, path);
		last = read_number(e, "a shared");
		/* The one under way may be there too. */
		ck_assert_msg(last == acked || last == acked + 1, "acked %u, found %u",
		    acked, last);
		for (unsigned i = 0; i < SHARED_IDS; i++) {
			snprintf(id, sizeof(id), "%c shared", 'a' + (int)i);
			ck_assert_uint_eq(read_number(e, id), last);
		}
		for (uint32_t b = 1; b <= last + 2; b++) {
			for (unsigned i = SHARED_IDS; i < SHARED_IDS + 3; i++) {
				snprintf(id, sizeof(id), "own %u of %u", i, b);
				ck_assert_uint_eq(read_number(e, id), b <= last ? b : 0);
			}
		}
		ck_assert_int_eq(e->close(e->self), 0);
	}
	ck_assert_uint_gt(last, 40);
	free((void *)(uintptr_t)path);
}
END_TEST

/* ------------------------------------------------------------------- damage */

static void
sql(const char *path, const char *text)
{
	sqlite3 *db;
	char *message = NULL;

	ck_assert_int_eq(sqlite3_open(path, &db), SQLITE_OK);
	ck_assert_msg(
	    sqlite3_exec(db, text, NULL, NULL, &message) == SQLITE_OK, "%s", message);
	ck_assert_int_eq(sqlite3_close(db), SQLITE_OK);
}

static void
open_fails(const char *path, int code, const char *word)
{
	struct dyn_error error = {0};
	struct dyn_engine *e;

	ck_assert_msg(
	    dyn_engine_sqlite(&e, path, &error) == code, "%d %s", error.code, error.text);
	ck_assert_ptr_null(e);
	ck_assert_int_eq(error.code, code);
	ck_assert_msg(
	    strstr(error.text, word) != NULL, "'%s' not in '%s'", word, error.text);
	ck_assert_int_eq(mem_balance(), 0);
}

/* Batches in the journal, nothing folded. */
static void
make_journal(const char *path)
{
	struct dyn_engine *e = open_engine(SQLITE, path);

	for (uint32_t b = 1; b <= 10; b++)
		ck_assert_int_eq(apply_numbered(e, b), 0);
	ck_assert_int_eq(e->close(e->self), 0);
}

START_TEST(damaged_journal)
{
	static const char *const damages[] = {
	    "UPDATE journal SET batch = zeroblob(length(batch)) WHERE seq = 5",
	    "UPDATE journal SET batch = substr(batch, 1, length(batch) - 1) WHERE seq = "
	    "5",
	    "UPDATE journal SET batch = x'' WHERE seq = 5",
	    "UPDATE journal SET batch = CAST(batch || x'00' AS BLOB) WHERE seq = 5",
	    "UPDATE journal SET batch = (SELECT batch FROM journal WHERE seq = 4)"
	    " || x'00' WHERE seq = 5",
	    "DELETE FROM journal WHERE seq = 5",
	};
	const char *path = test_path(test_dir(), "data.db");

	make_journal(path);
	sql(path, damages[_i]);
	open_fails(path, DYN_ECORRUPT, "journal is damaged after row 4");
}
END_TEST

/* Each byte of a journal row changed, one at a time: found, each time. */
START_TEST(damaged_journal_bytes)
{
	const char *path = test_path(test_dir(), "data.db");
	struct dyn_engine *e;
	char text[256];

	make_journal(path);
	for (unsigned at = 1; at < 600; at += 13) {
		snprintf(text, sizeof(text),
		    "CREATE TABLE keep AS SELECT batch FROM journal WHERE"
		    " seq = 10; UPDATE journal SET batch = CAST(substr(batch, 1, %u) ||"
		    " x'%02x' || substr(batch, %u) AS BLOB) WHERE seq = 10 AND"
		    " substr(batch, %u, 1) <> x'%02x'",
		    at - 1, at & 255, at + 1, at, at & 255);
		sql(path, text);
		open_fails(path, DYN_ECORRUPT, "damaged");
		sql(path,
		    "UPDATE journal SET batch = (SELECT batch FROM keep) WHERE seq = 10;"
		    "DROP TABLE keep");
	}
	e = open_engine(SQLITE, path);
	ck_assert_uint_eq(read_number(e, "b shared"), 10);
	ck_assert_int_eq(e->close(e->self), 0);
}
END_TEST

START_TEST(foreign_files)
{
	struct dyn_engine *e;
	const char *path = test_path(test_dir(), "data.db");
	FILE *f;

	sql(path, "CREATE TABLE mine (x); INSERT INTO mine VALUES (1)");
	open_fails(path, DYN_ECORRUPT, "another program");
	sql(path, "SELECT x FROM mine"); /* untouched */
	test_remove(path);
	f = fopen(path, "w");
	for (int i = 0; i < 1000; i++)
		fprintf(f, "this is a letter to my aunt\n");
	fclose(f);
	open_fails(path, DYN_ECORRUPT, path);
	test_remove(path);
	sql(path, "PRAGMA application_id = 1685679665; PRAGMA user_version = 2");
	open_fails(path, DYN_EVERSION, "format 2");
	sql(path, "PRAGMA user_version = 0");
	open_fails(path, DYN_ECORRUPT, "no format");
	sql(path, "PRAGMA user_version = 1"); /* ours, they say, but no tables */
	open_fails(path, DYN_ECORRUPT, path);
	open_fails(test_path(path, "below a file"), DYN_EIO, "below");
	/* An empty file is a new one. */
	test_remove(path);
	fclose(fopen(path, "w"));
	e = open_engine(SQLITE, path);
	ck_assert_int_eq(e->close(e->self), 0);
}
END_TEST

#define FOLDED_ROWS 20000

static struct dyn_slice
folded_id(unsigned i, char text[32])
{
	return slice(text, (size_t)snprintf(text, 32, "%08x", i * 2654435761u));
}

static struct dyn_slice
folded_value(unsigned i, char text[256])
{
	return slice(text, (size_t)snprintf(text, 256, "%0*u", 100 + (int)(i % 90), i));
}

/* A folded file of some thousand pages: more than a connection caches. */
static void
make_folded(const char *path)
{
	struct dyn_engine *e = open_engine(BUSY_SQLITE, path);
	static char ids[50][32], values[50][256];
	struct dyn_row rows[50];

	for (unsigned i = 0; i < FOLDED_ROWS; i += 50) {
		for (unsigned k = 0; k < 50; k++)
			rows[k] = (struct dyn_row){DYN_SPACE_DATA,
			    folded_id(i + k, ids[k]), folded_value(i + k, values[k])};
		ck_assert_int_eq(e->apply(e->self, rows, 50, DYN_DURABLE_OS), 0);
	}
	while (e->idle(e->self) == 1)
		;
	ck_assert_int_eq(e->close(e->self), 0);
}

/* Every get is right, or an error; how many were errors. */
static unsigned
check_folded(struct dyn_engine *e, unsigned *missing)
{
	char id[32], value[256];
	unsigned errors = 0;

	*missing = 0;
	for (unsigned i = 0; i < FOLDED_ROWS; i++) {
		struct dyn_buffer b = {0};
		int rc = e->get(e->self, DYN_SPACE_DATA, folded_id(i, id), &b);

		if (rc == 0)
			ck_assert(
			    slice_equal(slice(b.data, b.len), folded_value(i, value)));
		else if (rc == DYN_ENOTFOUND)
			++*missing;
		else
			ck_assert_int_eq(rc, DYN_ECORRUPT);
		errors += rc == DYN_ECORRUPT;
		dyn_buffer_free(&b);
	}
	return errors;
}

START_TEST(truncated_file)
{
	const char *path = test_path(test_dir(), "data.db");
	struct dyn_error error;
	struct dyn_engine *e;
	struct stat st;
	unsigned missing, noticed = 0, cuts = 0;

	make_folded(path);
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_int_gt(st.st_size, 500000);
	for (off_t cut = st.st_size - 1; cut > 0; cut -= st.st_size / 9 + 1) {
		ck_assert_int_eq(truncate(path, cut), 0);
		cuts++;
		if (dyn_engine_sqlite(&e, path, &error) != 0) {
			ck_assert_int_eq(error.code, DYN_ECORRUPT);
			noticed++;
			continue;
		}
		noticed += check_folded(e, &missing) > 0;
		ck_assert_uint_eq(missing, 0);
		(void)e->close(e->self);
	}
	/* The very last page may be one that is not in use. */
	ck_assert_uint_ge(noticed, cuts - 1);
}
END_TEST

/* The file cut while the engine runs: reads fail, nobody dies (no SIGBUS). */
START_TEST(cut_while_running)
{
	const char *path = test_path(test_dir(), "data.db");
	struct dyn_engine *e;
	struct stat st;
	unsigned missing;

	make_folded(path);
	e = open_engine(SQLITE, path);
	ck_assert_int_eq(apply_numbered(e, 7), 0);
	ck_assert_int_eq(stat(path, &st), 0);
	/* A page that was read once is mapped, if any ever is. */
	ck_assert_uint_eq(check_folded(e, &missing), 0);
	ck_assert_int_eq(truncate(path, st.st_size / 2), 0);
	ck_assert_uint_gt(check_folded(e, &missing), 100);
	ck_assert_uint_eq(read_number(e, "a shared"), 7);
	(void)e->close(e->self);
}
END_TEST

/* Bytes changed on the disk: an error or the right value, never a wrong one.
 * A damaged id looks like a missing row, which no check of rows can see. */
START_TEST(flipped_bytes)
{
	const char *path = test_path(test_dir(), "data.db");
	struct rng rng = {test_seed()};
	struct dyn_error error;
	struct dyn_engine *e;
	unsigned missing, errors = 0;
	struct stat st;
	unsigned char c;
	int fd;

	make_folded(path);
	fd = open(path, O_RDWR);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(fstat(fd, &st), 0);
	for (int round = 0; round < 30; round++) {
		off_t at = 200 + (off_t)rng_below(&rng, (uint64_t)st.st_size - 200);

		ck_assert_int_eq(pread(fd, &c, 1, at), 1);
		c ^= (unsigned char)(1 + rng_below(&rng, 255));
		ck_assert_int_eq(pwrite(fd, &c, 1, at), 1);
		if (dyn_engine_sqlite(&e, path, &error) == 0) {
			errors += check_folded(e, &missing);
			(void)e->close(e->self);
		} else {
			ck_assert_int_eq(error.code, DYN_ECORRUPT);
			errors++;
		}
	}
	close(fd);
	ck_assert_uint_gt(errors, 10);
}
END_TEST

/* ------------------------------------------------------- full and read-only */

static bool
mount_or_skip(const char *folder, const char *options)
{
	if (mount("none", folder, "tmpfs", 0, options) == 0)
		return true;
	fprintf(stderr, "engine_test: SKIPPED, this user may not mount: %s\n",
	    strerror(errno));
	return false;
}

START_TEST(full_disk)
{
	const char *folder = test_dir(), *path = test_path(folder, "data.db");
	struct dyn_engine *e;
	static char value[4000];
	uint32_t b = 1, last;
	int rc, fd;

	if (!mount_or_skip(folder, "size=3m"))
		return;
	memset(value, 'x', sizeof(value) - 1);
	e = open_engine(BUSY_SQLITE, path);
	fd = open(test_path(folder, "ballast"), O_WRONLY | O_CREAT, 0600);
	for (int i = 0; i < 250; i++)
		ck_assert_int_eq(write(fd, value, sizeof(value)), sizeof(value));
	close(fd);
	do
		rc = apply_numbered(e, b++);
	while (rc == 0 && b < 100000);
	ck_assert_int_eq(rc, DYN_EFULL);
	last = b - 2;
	ck_assert_uint_gt(last, 5);
	ck_assert_uint_eq(read_number(e, "a shared"), last);
	ck_assert_uint_eq(read_number(e, "b shared"), last);
	ck_assert_int_eq(unlink(test_path(folder, "ballast")), 0);
	ck_assert_int_eq(apply_numbered(e, last + 1), 0); /* room again */
	ck_assert_int_eq(e->close(e->self), 0);
	e = open_engine(SQLITE, path);
	ck_assert_uint_eq(read_number(e, "a shared"), last + 1);
	ck_assert_int_eq(e->close(e->self), 0);
	umount2(folder, MNT_DETACH);
}
END_TEST

START_TEST(read_only)
{
	const char *folder = test_dir(), *path = test_path(folder, "data.db");

	if (!mount_or_skip(folder, "size=3m"))
		return;
	make_journal(path);
	ck_assert_int_eq(
	    mount("none", folder, "tmpfs", MS_REMOUNT | MS_RDONLY, "size=3m"), 0);
	open_fails(path, DYN_EREADONLY, "data.db");
	open_fails(test_path(folder, "new.db"), DYN_EREADONLY, "new.db");
	umount2(folder, MNT_DETACH);
}
END_TEST

static Suite *
crash_suite(void)
{
	Suite *s = suite_create("engine, crashes and damage");
	TCase *t = tcase_create("crash and damage");

	tcase_set_timeout(t, 120);
	tcase_add_test(t, kill_nine);
	tcase_add_loop_test(t, damaged_journal, 0, 6);
	tcase_add_test(t, damaged_journal_bytes);
	tcase_add_test(t, foreign_files);
	tcase_add_test(t, truncated_file);
	tcase_add_test(t, cut_while_running);
	tcase_add_test(t, flipped_bytes);
	tcase_add_test(t, full_disk);
	tcase_add_test(t, read_only);
	suite_add_tcase(s, t);
	return s;
}

TEST_MAIN(crash_suite)
