/*
 * Goal: one process at a time uses a data directory; foreign, newer, read-only
 * and full ones are refused in plain words; a copy or a crash is never taken
 * for a clean stop.
 * Method: real directories, a child process for the lock and the crash, small
 * or read-only mounts where the test may mount (skipped aloud where not).
 */
#include "../test.h"
#include "host/dir.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static void
write_text(const char *folder, const char *name, const char *text)
{
	FILE *f = fopen(test_path(folder, name), "w");

	ck_assert_ptr_nonnull(f);
	ck_assert_int_ge(fputs(text, f), 0);
	ck_assert_int_eq(fclose(f), 0);
}

static void
open_ok(struct dir *d, const char *path)
{
	struct dyn_error error = {0};
	int rc = dir_open(d, path, &error);

	ck_assert_msg(rc == 0, "%d %s", rc, error.text);
}

static void
open_fails(const char *path, int code, const char *word)
{
	struct dyn_error error = {0};
	struct dir d;

	ck_assert_int_eq(dir_open(&d, path, &error), code);
	ck_assert_int_eq(error.code, code);
	ck_assert_msg(
	    strstr(error.text, word) != NULL, "'%s' not in '%s'", word, error.text);
	ck_assert_ptr_null(d.path);
	dir_close(&d, true); /* harmless */
}

static void
run(const char *command, const char *a, const char *b)
{
	char text[1024];

	snprintf(text, sizeof(text), "%s '%s' '%s'", command, a, b);
	ck_assert_int_eq(system(text), 0);
}

/* Waits for the end of a child that must succeed. */
static void
child_ok(pid_t pid)
{
	int status;

	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

START_TEST(life)
{
	const char *path = test_path(test_dir(), "new/");
	struct dir d;
	struct stat st;
	char *file;

	open_ok(&d, path);
	ck_assert(d.created && !d.clean);
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_uint_eq(st.st_mode & 0777, 0700);
	file = dir_file(&d, "data.db");
	ck_assert_str_eq(strrchr(file, '/'), "/data.db");
	mem_free(file);
	write_text(path, "data.db", "something");
	dir_close(&d, true);

	open_ok(&d, path); /* after a clean close */
	ck_assert(!d.created && d.clean);
	dir_close(&d, false);
	open_ok(&d, path); /* after one that was not */
	ck_assert(!d.created && !d.clean);
	dir_close(&d, true);
	open_ok(&d, path);
	ck_assert(d.clean);
	dir_close(&d, true);
	ck_assert_int_eq(mem_balance(), 0);
}
END_TEST

START_TEST(no_parent)
{
	open_fails(test_path(test_dir(), "no/such"), DYN_EIO, "cannot create");
}
END_TEST

START_TEST(not_a_directory)
{
	const char *folder = test_dir();

	write_text(folder, "file", "x");
	open_fails(test_path(folder, "file"), DYN_EIO, "cannot open");
}
END_TEST

START_TEST(foreign_directory)
{
	const char *folder = test_dir();

	write_text(folder, "thesis.tex", "x");
	open_fails(folder, DYN_ECORRUPT, "thesis.tex");
	/* Nothing was left in there. */
	ck_assert_int_ne(access(test_path(folder, "lock"), F_OK), 0);
	ck_assert_int_ne(access(test_path(folder, "format"), F_OK), 0);
}
END_TEST

START_TEST(formats)
{
	static const struct {
		const char *text;
		int code;
	} cases[] = {
	    {"libdyn 2\n", DYN_EVERSION},
	    {"libdyn 999999\n", DYN_EVERSION},
	    {"", DYN_ECORRUPT},
	    {"libdyn 1", DYN_ECORRUPT},
	    {"libdyn 1\nx", DYN_ECORRUPT},
	    {"libdyn 0\n", DYN_ECORRUPT},
	    {"something else\n", DYN_ECORRUPT},
	    {"libdyn -1\n", DYN_ECORRUPT},
	    {"libdyn 01\n", DYN_ECORRUPT},
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		const char *folder = test_dir();

		write_text(folder, "format", cases[i].text);
		open_fails(folder, cases[i].code, "format");
	}
}
END_TEST

/* A crash while it was being created: the next start goes on. */
START_TEST(half_created)
{
	const char *folder = test_dir();
	struct dir d;

	write_text(folder, "lock", "");
	write_text(folder, "format.new", "lib");
	open_ok(&d, folder);
	ck_assert(d.created && !d.clean);
	dir_close(&d, true);
	open_ok(&d, folder);
	ck_assert(!d.created && d.clean);
	dir_close(&d, true);
}
END_TEST

START_TEST(lock_between_processes)
{
	const char *folder = test_dir();
	struct dir d;
	pid_t pid;

	open_ok(&d, folder);
	open_fails(folder, DYN_ELOCKED, "in use"); /* also in this process */
	pid = fork();
	if (pid == 0) {
		struct dir mine;

		_exit(dir_open(&mine, folder, NULL) == DYN_ELOCKED ? 0 : 1);
	}
	child_ok(pid);
	/* Somebody else opens and closes the lock file: ours stays. */
	close(open(test_path(folder, "lock"), O_RDWR));
	open_fails(folder, DYN_ELOCKED, "in use");
	dir_close(&d, true);
	open_ok(&d, folder);
	dir_close(&d, true);
}
END_TEST

/* A child that abandons, or just holds, the directory does not unlock or keep it. */
START_TEST(lock_and_fork)
{
	const char *folder = test_dir();
	struct dir d;
	int pipes[2];
	char c;
	pid_t pid;

	open_ok(&d, folder);
	pid = fork();
	if (pid == 0) {
		dir_abandon(&d);
		_exit(0);
	}
	child_ok(pid);
	open_fails(folder, DYN_ELOCKED, "in use");
	ck_assert_int_eq(pipe(pipes), 0);
	pid = fork();
	if (pid == 0) {
		close(pipes[1]);
		_exit(read(pipes[0], &c, 1) == 0 ? 0 : 1); /* until the parent is done */
	}
	dir_close(&d, true);
	open_ok(&d, folder);
	ck_assert(d.clean);
	dir_close(&d, true);
	close(pipes[1]);
	child_ok(pid);
	close(pipes[0]);
}
END_TEST

START_TEST(killed_is_not_clean)
{
	const char *folder = test_dir();
	struct dir d;
	int status;
	pid_t pid;

	open_ok(&d, folder);
	dir_close(&d, true);
	pid = fork();
	if (pid == 0) {
		struct dir mine;

		if (dir_open(&mine, folder, NULL) != 0 || !mine.clean)
			_exit(1);
		kill(getpid(), SIGKILL);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert(WIFSIGNALED(status));
	open_ok(&d, folder); /* the lock went with the process */
	ck_assert(!d.clean);
	dir_close(&d, true);
}
END_TEST

START_TEST(copies_are_not_clean)
{
	const char *folder = test_dir(), *copy = test_path(test_dir(), "copy");
	const char *moved = test_path(test_dir(), "moved");
	struct dir d;

	open_ok(&d, folder);
	write_text(folder, "data.db", "first");
	dir_close(&d, true);
	run("cp -a", folder, copy);
	open_ok(&d, copy);
	ck_assert(!d.created && !d.clean);
	dir_close(&d, true);
	/* Moving it is no copy. */
	run("mv", folder, moved);
	open_ok(&d, moved);
	ck_assert(d.clean);
	dir_close(&d, true);
	/* The data file alone put back from a copy, same size and times. */
	run("cp -a", test_path(copy, "data.db"), test_path(moved, "data.db"));
	open_ok(&d, moved);
	ck_assert(!d.clean);
	dir_close(&d, true);
}
END_TEST

START_TEST(damaged_marker)
{
	const char *folder = test_dir();
	static char big[5000];
	struct dir d;

	memset(big, 'x', sizeof(big) - 1);
	for (int i = 0; i < 3; i++) {
		open_ok(&d, folder);
		dir_close(&d, true);
		write_text(folder, "clean", i == 0 ? "" : i == 1 ? "lock 1 2 3\n" : big);
		open_ok(&d, folder);
		ck_assert(!d.clean);
		ck_assert_int_ne(access(test_path(folder, "clean"), F_OK), 0);
		dir_close(&d, false);
	}
}
END_TEST

/* -------------------------------------------------------------- mounts */

static bool
mount_or_skip(const char *folder, const char *options, unsigned long flags)
{
	if (mount("none", folder, "tmpfs", flags, options) == 0)
		return true;
	fprintf(
	    stderr, "dir_test: SKIPPED, this user may not mount: %s\n", strerror(errno));
	return false;
}

START_TEST(read_only)
{
	const char *folder = test_dir();
	struct dir d;

	if (!mount_or_skip(folder, "size=1m", 0))
		return;
	open_ok(&d, folder);
	dir_close(&d, true);
	ck_assert_int_eq(
	    mount("none", folder, "tmpfs", MS_REMOUNT | MS_RDONLY, "size=1m"), 0);
	open_fails(folder, DYN_EREADONLY, "lock");
	open_fails(test_path(folder, "new"), DYN_EREADONLY, "cannot create");
	umount2(folder, MNT_DETACH);
}
END_TEST

static void
fill(const char *folder)
{
	static char block[4096];
	int fd = open(test_path(folder, "filler"), O_WRONLY | O_CREAT, 0600);

	ck_assert_int_ge(fd, 0);
	while (write(fd, block, sizeof(block)) > 0)
		;
	ck_assert_int_eq(errno, ENOSPC);
	close(fd);
}

START_TEST(full_disk)
{
	const char *folder = test_dir(), *path = test_path(folder, "data");
	struct dir d;

	if (!mount_or_skip(folder, "size=64k", 0))
		return;
	/* A clean close that finds no room is a crash to the next start. */
	open_ok(&d, path);
	fill(folder);
	dir_close(&d, true);
	open_ok(&d, path);
	ck_assert(!d.clean && !d.created);
	dir_close(&d, true);
	/* A new one cannot be made, and leaves nothing that disturbs. */
	path = test_path(folder, "other");
	open_fails(path, DYN_EFULL, "format");
	ck_assert_int_eq(unlink(test_path(folder, "filler")), 0);
	open_ok(&d, path);
	ck_assert(d.created);
	dir_close(&d, true);
	umount2(folder, MNT_DETACH);
}
END_TEST

START_TEST(no_memory)
{
	const char *folder = test_dir();
	struct dir d;
	char *file;
	int rc;

	TEST_ALLOC_FAILURES (n) {
		rc = dir_open(&d, test_path(folder, "d"), NULL);
		ck_assert(rc == 0 || rc == DYN_ENOMEM);
		if (rc == 0) {
			file = dir_file(&d, "data.db");
			mem_free(file);
			dir_close(&d, true);
		}
		test_remove(test_path(folder, "d"));
	}
}
END_TEST

static Suite *
dir_suite(void)
{
	Suite *s = suite_create("dir");
	TCase *t = tcase_create("dir");

	tcase_add_test(t, life);
	tcase_add_test(t, no_parent);
	tcase_add_test(t, not_a_directory);
	tcase_add_test(t, foreign_directory);
	tcase_add_test(t, formats);
	tcase_add_test(t, half_created);
	tcase_add_test(t, lock_between_processes);
	tcase_add_test(t, lock_and_fork);
	tcase_add_test(t, killed_is_not_clean);
	tcase_add_test(t, copies_are_not_clean);
	tcase_add_test(t, damaged_marker);
	tcase_add_test(t, read_only);
	tcase_add_test(t, full_disk);
	tcase_add_test(t, no_memory);
	suite_add_tcase(s, t);
	return s;
}

TEST_MAIN(dir_suite)
