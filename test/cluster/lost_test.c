/*
 * Goal: a member that has lost what it had - its directory is gone, or an old copy
 * of it was put back - takes no part in reads until it has been refilled, and is
 * refilled without anybody reading (paper 4.7).  Of two processes that run as the
 * same node one is fenced, and what both acknowledged is kept.
 * Method: three processes, N=3; a directory is removed, copied, put back.
 */
#include "ring.h"

#include "base/timer.h"

#include <stdio.h>
#include <stdlib.h>

enum { KEYS = 400, VICTIM = 2 };

static const char *
key_of(unsigned i)
{
	static char key[16];

	snprintf(key, sizeof(key), "k%u", i);
	return key;
}

static void
write_keys(struct ring *r, unsigned first, unsigned count, const char *value)
{
	for (unsigned i = first; i < first + count; i++) {
		struct proc_answer a;
		struct proc_call c = {.key = key_of(i), .value = value};

		ck_assert_int_eq(proc_get(&r->peer[i % 2], &c, &a), 0);
		c.seen = &a;
		ck_assert_int_eq(proc_put(&r->peer[i % 2], &c, &a), 0);
	}
}

static void
shell(const char *fmt, const char *a, const char *b)
{
	char line[1024];

	snprintf(line, sizeof(line), fmt, a, b);
	ck_assert_int_eq(system(line), 0);
}

/* The copies here, not counting what others would say.  False: pages of the file cannot
 * be read, so they stay as they are. */
static bool
fills(struct ring *r, const char *value)
{
	uint64_t began = test_now();
	struct dyn_status s;
	struct dyn_stats t;

	for (;;) {
		uint64_t waited = test_now() - began;
		unsigned good = 0;

		for (unsigned i = 0; i < KEYS; i++)
			good += strcmp(proc_read(&r->peer[VICTIM], key_of(i), DYN_HERE), value) == 0;
		proc_status(&r->peer[VICTIM], &s);
		if (good == KEYS && s.catching == 0)
			return true;
		if (waited > 20 * NS_PER_S && s.unhashed > 0 && s.storage_error == DYN_ECORRUPT)
			return false;
		proc_stats(&r->peer[VICTIM], &t);
		ck_assert_msg(waited < 80 * NS_PER_S,
		    "%u of %u keys, %u partitions catch up, %u differ, %u unhashed; moving %u, epoch "
		    "%llu, %llu exchanges, %llu rows taken, storage error %d",
		    good, (unsigned)KEYS, s.catching, s.differing, s.unhashed, s.moving,
		    (unsigned long long)s.epoch, (unsigned long long)t.exchanges,
		    (unsigned long long)t.exchange_took, s.storage_error);
		test_sleep_ms(50);
	}
}

static void
holds_all(struct ring *r, const char *value)
{
	ck_assert(fills(r, value));
}

/* As long as it catches up, R=1 must not be satisfied by it alone: each read, through
 * whomever, finds what is there. */
static void
reads_find_all(struct ring *r, const char *value)
{
	for (unsigned i = 0; i < KEYS; i++) {
		struct proc_answer a;
		struct proc_call c = {.key = key_of(i), .call = {.r = 1}};

		ck_assert_int_eq(proc_get(&r->peer[VICTIM], &c, &a), 0);
		ck_assert_msg(strcmp(a.values, value) == 0, "%s: \"%s\"", key_of(i), a.values);
	}
}

START_TEST(an_empty_directory_is_filled)
{
	struct dyn_options o;
	struct dyn_error error;
	struct dyn_status s;
	struct dyn_id id;
	struct ring r;
	char text[33];

	ring_init(&r, 3);
	ring_open_all(&r);
	write_keys(&r, 0, KEYS, "v");
	holds_all(&r, "v");
	id = r.peer[VICTIM].id;
	dyn_id_format(id, text);
	proc_kill(&r.peer[VICTIM]);
	shell("rm -rf %s", r.dir[VICTIM], "");
	o = ring_options(&r, VICTIM);
	o.id = text;
	proc_start(&r.peer[VICTIM], &o);
	ck_assert_int_eq(proc_ready(&r.peer[VICTIM], &error), 0);
	ck_assert_mem_eq(&r.peer[VICTIM].id, &id, sizeof(id));
	reads_find_all(&r, "v");
	ring_settled(&r, 3); /* the same three: nobody new */
	holds_all(&r, "v");
	/* The option may stay; and the directory is not another's. */
	ck_assert_int_eq(proc_close(&r.peer[VICTIM], 5000), 0);
	proc_open(&r.peer[VICTIM], &o);
	proc_status(&r.peer[VICTIM], &s);
	ck_assert_uint_eq(s.catching, 0);
	ck_assert_int_eq(proc_close(&r.peer[VICTIM], 5000), 0);
	text[0] = text[0] == '0' ? '1' : '0';
	proc_start(&r.peer[VICTIM], &o);
	ck_assert_int_eq(proc_ready(&r.peer[VICTIM], &error), DYN_EINVAL);
	ck_assert_ptr_nonnull(strstr(error.text, "the directory is of node"));
	ring_close(&r);
}
END_TEST

/* A copy of the directory from before half of the writes, taken while it ran or
 * while it did not, is put back in its place. */
START_TEST(an_old_directory_catches_up)
{
	bool running = _i == 1;
	struct ring r;
	char backup[600];

	ring_init(&r, 3);
	ring_open_all(&r);
	write_keys(&r, 0, KEYS, "old");
	holds_all(&r, "old");
	snprintf(backup, sizeof(backup), "%s.backup", r.dir[VICTIM]);
	if (!running)
		ck_assert_int_eq(proc_close(&r.peer[VICTIM], 5000), 0);
	shell("cp -a %s %s", r.dir[VICTIM], backup);
	if (!running)
		ring_open(&r, VICTIM);
	write_keys(&r, 0, KEYS, "new");
	holds_all(&r, "new");
	proc_kill(&r.peer[VICTIM]);
	shell("rm -rf %s", r.dir[VICTIM], "");
	shell("mv %s %s", backup, r.dir[VICTIM]);
	ring_open(&r, VICTIM);
	/* Never "old": it is known to be a copy that lacks something. */
	reads_find_all(&r, "new");
	holds_all(&r, "new");
	ring_close(&r);
}
END_TEST

/* The log of what was written last is cleaned away after a crash. */
/* A log that goes in the middle of a checkpoint may leave a damaged file too: then the
 * directory has to go. */
START_TEST(a_lost_log_is_noticed)
{
	struct dyn_options o;
	struct dyn_error error;
	struct ring r;
	char id[33];
	int rc;

	ring_init(&r, 3);
	ring_open_all(&r);
	write_keys(&r, 0, KEYS, "v");
	holds_all(&r, "v");
	dyn_id_format(r.peer[VICTIM].id, id);
	proc_kill(&r.peer[VICTIM]);
	shell("rm %s/data.db-wal %s/data.db-shm", r.dir[VICTIM], r.dir[VICTIM]);
	o = ring_options(&r, VICTIM);
	proc_start(&r.peer[VICTIM], &o);
	rc = proc_ready(&r.peer[VICTIM], &error);
	ck_assert_msg(rc == 0 || rc == DYN_ECORRUPT, "%d %s", rc, error.text);
	if (rc == 0)
		reads_find_all(&r, "v");
	if (rc != 0 || !fills(&r, "v")) {
		proc_kill(&r.peer[VICTIM]);
		test_remove(r.dir[VICTIM]);
		o.id = id;
		proc_open(&r.peer[VICTIM], &o);
		reads_find_all(&r, "v");
		holds_all(&r, "v");
	}
	ring_close(&r);
}
END_TEST

/* A second process on a copy of the directory, while the first runs. */
START_TEST(a_copied_directory_is_fenced)
{
	uint64_t until;
	struct proc copy = {.pid = 0};
	struct proc *fenced, *stays;
	struct dyn_status s = DYN_STATUS_INIT, t = DYN_STATUS_INIT;
	unsigned through_copy = 0;
	struct dyn_options o;
	struct ring r;
	char dir[600];

	ring_init(&r, 3);
	ring_open_all(&r);
	write_keys(&r, 0, KEYS, "v");
	snprintf(dir, sizeof(dir), "%s.copy", r.dir[VICTIM]);
	shell("cp -a %s %s", r.dir[VICTIM], dir);
	o = ring_options(&r, VICTIM);
	o.dir = dir;
	o.listen = proc_address();
	proc_start(&copy, &o);
	ck_assert_int_eq(proc_ready(&copy, NULL), 0);
	until = test_now() + 10 * NS_PER_S;
	while (s.failure == 0 && t.failure == 0) {
		struct proc *p = through_copy % 2 == 0 ? &copy : &r.peer[VICTIM];
		struct proc_answer a;
		struct proc_call c = {.key = key_of(KEYS + through_copy), .value = "v"};

		ck_assert_msg(test_now() < until, "nobody was fenced");
		/* What is acknowledged by either is to be kept. */
		if (proc_put(p, &c, &a) == 0)
			through_copy++;
		proc_status(&r.peer[VICTIM], &s);
		proc_status(&copy, &t);
		test_sleep_ms(5);
	}
	ck_assert_int_eq(s.failure != 0 ? s.failure : t.failure, DYN_EFENCED);
	fenced = s.failure != 0 ? &r.peer[VICTIM] : &copy;
	stays = s.failure != 0 ? &copy : &r.peer[VICTIM];
	for (unsigned i = 0; i < 20; i++) {
		struct proc_answer a;
		struct proc_call c = {.key = key_of(i), .value = "no", .call = {.r = 1}};

		ck_assert_int_eq(proc_get(fenced, &c, &a), DYN_EFENCED);
		ck_assert_int_eq(proc_put(fenced, &c, &a), DYN_EFENCED);
	}
	proc_kill(fenced);
	until = test_now() + 30 * NS_PER_S;
	do {
		test_sleep_ms(50);
		proc_status(stays, &s);
		ck_assert_int_eq(s.failure, 0);
		ck_assert_msg(test_now() < until, "%u partitions catch up", s.catching);
	} while (s.catching > 0);
	for (unsigned i = 0; i < KEYS + through_copy; i++) {
		struct proc_answer a;
		struct proc_call c = {.key = key_of(i)};

		ck_assert_int_eq(proc_get(stays, &c, &a), 0);
		ck_assert_msg(strcmp(a.values, "v") == 0, "%s: \"%s\"", key_of(i), a.values);
	}
	if (stays == &copy)
		ck_assert_int_eq(proc_close(&copy, 5000), 0);
	ring_close(&r);
}
END_TEST

static Suite *
suite(void)
{
	Suite *s = suite_create("lost directories");
	TCase *c = tcase_create("directories");

	tcase_set_timeout(c, 120);
	tcase_add_test(c, an_empty_directory_is_filled);
	tcase_add_loop_test(c, an_old_directory_catches_up, 0, 2);
	tcase_add_test(c, a_lost_log_is_noticed);
	tcase_add_test(c, a_copied_directory_is_fenced);
	suite_add_tcase(s, c);
	return s;
}

TEST_MAIN(suite)
