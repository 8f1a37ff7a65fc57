/*
 * Goal: a peer whose disk is full says so and stores nothing more; the others
 * go on, no read fails or lies (S1, S10); with room again it goes on, and gets
 * what it missed.
 * Method: one of three peers has its directory on a small tmpfs, in a mount
 * namespace of the test's own; skipped aloud where it may not mount.
 */
#include "ring.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <sys/mount.h>

static bool
mount_small(const char *folder)
{
	if (unshare(CLONE_NEWNS) == 0 &&
	    mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
	    mount("none", folder, "tmpfs", 0, "size=1m") == 0)
		return true;
	fprintf(
	    stderr, "full_test: SKIPPED, this user may not mount: %s\n", strerror(errno));
	return false;
}

static int
storage_error(struct proc *p)
{
	struct dyn_status s = DYN_STATUS_INIT;

	proc_status(p, &s);
	return s.storage_error;
}

static void
write_row(struct proc *p, unsigned i, unsigned w, int expected)
{
	static char value[2000];
	struct proc_answer a;
	char key[32];
	struct proc_call c = {.key = key, .value = value, .call = {.w = w}};

	memset(value, 'x', sizeof(value) - 1);
	snprintf(key, sizeof(key), "row-%u", i);
	ck_assert_int_eq(proc_get(p, &c, &a), 0);
	c.seen = &a;
	proc_put(p, &c, &a);
	ck_assert_msg(a.rc == expected, "row %u: %s", i, dyn_strerror(a.rc));
	if (a.rc == 0)
		ck_assert_uint_ge(a.receipt.on_disk, w);
}

START_TEST(one_disk_is_full)
{
	struct load *l = load_new(20, 2, 3000);
	unsigned rows = 0;
	struct ring r;

	ring_init(&r, 3);
	if (!mount_small(r.dir[1]))
		return;
	ring_open_all(&r);
	proc_load(&r.peer[0], l, 1, 1);
	proc_load(&r.peer[2], l, 1, 1);
	load_await(l, 50, 50);
	/* Through all of them: the full one coordinates too. */
	for (; storage_error(&r.peer[1]) == 0; rows++) {
		ck_assert_uint_lt(rows, 3000);
		write_row(&r.peer[rows % 3], rows, 2, 0);
	}
	ck_assert_int_eq(storage_error(&r.peer[1]), DYN_EFULL);
	load_phase(l, 1);
	for (unsigned i = 0; i < 60; i++)
		write_row(&r.peer[i % 3], rows++, 2, 0);
	/* All three are wanted: the two that stored it will not unstore it. */
	write_row(&r.peer[0], rows++, 3, DYN_EUNKNOWN);
	write_row(&r.peer[1], rows++, 3, DYN_EUNKNOWN);
	load_await(l, 100, 100);
	ck_assert_uint_eq(atomic_load(&l->count[1].put_failed), 0);
	ck_assert_uint_eq(atomic_load(&l->count[1].put_unknown), 0);
	ck_assert_uint_eq(atomic_load(&l->count[1].get_failed), 0);
	load_verify(l, &r.peer[1], 0);
	ck_assert(proc_logged(&r.peer[1], dyn_strerror(DYN_EFULL)));
	/* Room again. */
	ck_assert_int_eq(mount("none", r.dir[1], "tmpfs", MS_REMOUNT, "size=64m"), 0);
	load_phase(l, 2);
	for (unsigned i = 0; i < 30; i++)
		write_row(&r.peer[i % 3], rows++, 3, 0);
	load_await(l, 100, 100);
	atomic_store(&l->stop, true);
	proc_unload(&r.peer[0]);
	proc_unload(&r.peer[2]);
	load_check(l);
	ck_assert_int_eq(proc_close(&r.peer[1], 3000), 0);
	ring_open(&r, 1);
	ring_settled(&r, 3);
	load_verify(l, &r.peer[0], 0);
	test_sleep_ms(400);
	load_verify(l, &r.peer[1], DYN_HERE); /* repaired */
	ring_close(&r);
	umount2(r.dir[1], MNT_DETACH);
}
END_TEST

static Suite *
suite(void)
{
	Suite *s = suite_create("full");

	test_case(s, "one disk is full", one_disk_is_full);
	return s;
}

TEST_MAIN(suite)
