/*
 * Goal: a ring is upgraded one process at a time, and back, while it is in use: nothing
 * acknowledged is lost, no read is stale (S10), no call fails; the level of the ring is
 * that of its oldest member.
 * Method: peers are dynd of two builds (PREVIOUS=, PRESENT=: folders with dynd and dynctl),
 * which take over each other's directory and address under the load of load.h, whose
 * clients are of this build.  At each step a client of the one build reads what one of the
 * other has written, and `dynctl bench` of the previous build works during the change.
 * Some are killed instead of closed.
 */
#include "cluster/ring.h"

#include "model/msg.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PEERS = 4, WELL_MS = 30000 };

/* Which build; the level that the previous one speaks goes with test/upgrade/PREVIOUS. */
enum build { OLD, NEW };
static const unsigned levels[] = {0, FEATURE_LEVEL};

static struct ring ring;
static struct proc client;
static enum build runs[PEERS];
static unsigned step;

static const char *
program(enum build build, const char *name)
{
	const char *folder = getenv(build == OLD ? "PREVIOUS" : "PRESENT");

	ck_assert_msg(folder != NULL, "by itself this program has no builds: make upgrade");
	return test_path(folder, name);
}

/* Its output is appended to a file; the descriptor keep, if not -1, it inherits. */
static pid_t
run(const char *const *argv, const char *output, int keep)
{
	pid_t pid = fork();
	int fd;

	ck_assert_int_ge(pid, 0);
	if (pid != 0)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (keep >= 0)
		keep = dup2(keep, 3);
	fd = open(output, O_WRONLY | O_CREAT | O_APPEND, 0600);
	if (fd < 0 || dup2(fd, 1) < 0 || dup2(fd, 2) < 0)
		_exit(127);
	for (fd = keep >= 0 ? 4 : 3; fd < 256; fd++)
		close(fd);
	execv(argv[0], (char *const *)argv);
	_exit(127);
}

/* The exit status. */
static int
ended(pid_t pid)
{
	int status;

	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* -------------------------------------------------------------------- peers */

static void
start(unsigned i, enum build build)
{
	struct proc *p = &ring.peer[i];
	const char *argv[] = {program(build, "dynd"), "--listen", ring.address[i], "--dir",
	    ring.dir[i], "--seeds", ring.seeds, "--partitions", "64", "--ready-fd", "3",
	    "--join", i == 0 ? "create" : "auto", NULL};
	char line[200], id[33];
	size_t len = 0;
	ssize_t n;
	int ready[2];

	snprintf(p->log, sizeof(p->log), "%s.log", ring.dir[i]);
	ck_assert_int_eq(pipe(ready), 0);
	p->pid = run(argv, p->log, ready[1]);
	close(ready[1]);
	while ((len == 0 || line[len - 1] != '\n') &&
	    (n = read(ready[0], line + len, sizeof(line) - 1 - len)) > 0)
		len += (size_t)n;
	close(ready[0]);
	line[len] = '\0';
	ck_assert_msg(sscanf(line, "ready %*s %32s", id) == 1, "peer %u: see %s", i, p->log);
	ck_assert_int_eq(dyn_id_parse(&p->id, id), 0);
	runs[i] = build;
}

static void
stop(unsigned i, int number)
{
	pid_t pid = ring.peer[i].pid;

	ring.peer[i].pid = 0;
	ck_assert_int_eq(kill(pid, number), 0);
	ck_assert_int_eq(ended(pid), number == SIGTERM ? 0 : 128 + number);
}

static unsigned
lowest(void)
{
	unsigned low = levels[NEW];

	for (unsigned i = 0; i < PEERS; i++)
		low = MIN(low, levels[runs[i]]);
	return low;
}

/* All hold what they own, and know of the level that the oldest speaks.  Those of the
 * previous build say nothing of levels if they have none. */
static bool
is_well(struct dyn_status *s)
{
	for (unsigned i = 0; i < PEERS; i++) {
		unsigned own = levels[runs[i]];

		if (proc_member_status(&client, ring.peer[i].id, s) != 0 ||
		    !s->safe_to_stop || s->members != PEERS || s->level != own ||
		    (own > 0 && s->ring_level != lowest()))
			return false;
	}
	proc_status(&client, s);
	return s->level == levels[NEW] && s->ring_level == lowest();
}

static void
wait_until_well(void)
{
	uint64_t until = test_now() + WELL_MS * UINT64_C(1000000);
	struct dyn_status s = DYN_STATUS_INIT;

	while (!is_well(&s)) {
		ck_assert_msg(test_now() < until,
		    "step %u: %u members, %u reachable, %u catching, %llu hints, level %u of "
		    "%u, should be %u",
		    step, s.members, s.reachable, s.catching, (unsigned long long)s.hints,
		    s.level, s.ring_level, lowest());
		test_sleep_ms(20);
	}
}

/* ------------------------------------------------------------------ clients */

static int
ctl(enum build build, const char *output, const char *const *words)
{
	const char *argv[16] = {program(build, "dynctl"), "--seeds", ring.seeds};

	for (unsigned i = 0; words[i] != NULL; i++)
		argv[3 + i] = words[i];
	return ended(run(argv, output, -1));
}

/* What a client of the one build wrote, one of the other reads. */
static void
exchange(enum build writer)
{
	enum build reader = writer == OLD ? NEW : OLD;
	char key[32], text[64] = "";
	const char *put[] = {"put", key, key, NULL}, *get[] = {"get", key, NULL};
	const char *output = test_path(ring.dir[0], "../get.txt");
	FILE *f;

	snprintf(key, sizeof(key), "step-%u-%d", step, writer);
	unlink(output);
	ck_assert_int_eq(ctl(writer, "/dev/null", put), 0);
	ck_assert_int_eq(ctl(reader, output, get), 0);
	f = fopen(output, "r");
	ck_assert_ptr_nonnull(f);
	ck_assert_ptr_nonnull(fgets(text, sizeof(text), f));
	fclose(f);
	unlink(output);
	text[strcspn(text, "\n")] = '\0';
	ck_assert_str_eq(text, key);
}

/* ---------------------------------------------------------------- the change */

static void
replace(struct load *l, unsigned i, enum build build, int number)
{
	const char *bench[] = {program(OLD, "dynctl"), "--seeds", ring.seeds, "bench",
	    "--keys", "50", "--time", "2", "--inflight", "4", NULL};
	const char *output = test_path(ring.dir[0], "../bench.txt");
	pid_t pid = run(bench, output, -1);
	int rc;

	step++;
	test_sleep_ms(500);
	stop(i, number);
	test_sleep_ms(300);
	start(i, build);
	rc = ended(pid);
	/* 5: a put whose answer was on its way from who was killed. */
	ck_assert_msg(rc == 0 || (rc == 5 && number == SIGKILL),
	    "step %u: bench ended with %d: %s", step, rc, output);
	unlink(output);
	wait_until_well();
	exchange(OLD);
	exchange(NEW);
	load_check(l);
}

/* Calls of clients never have to fail: there are others to ask.  A put whose answer was
 * on its way from who is killed may be unknown. */
static void
look_at_counts(const struct load *l, unsigned phases)
{
	for (unsigned i = 0; i < phases; i++) {
		const struct load_count *c = &l->count[i];

		ck_assert_msg(atomic_load(&c->get_failed) + atomic_load(&c->put_failed) == 0 &&
		        atomic_load(&c->put_unknown) <= 8,
		    "phase %u: %u gets and %u puts failed, %u unknown, the last by: %s", i,
		    atomic_load(&c->get_failed), atomic_load(&c->put_failed),
		    atomic_load(&c->put_unknown), dyn_strerror(atomic_load(&l->last_rc)));
	}
}

static void
replace_all(struct load *l, enum build build, unsigned phase)
{
	load_phase(l, phase);
	for (unsigned i = 0; i < PEERS; i++)
		replace(l, i, build, i == 1 ? SIGKILL : SIGTERM);
	load_await(l, 100, 100);
	load_verify(l, &client, 0);
}

START_TEST(one_at_a_time_and_back)
{
	struct load *l = load_new(40, 4, 5000); /* before there are processes */

	ring_init(&ring, PEERS);
	for (unsigned i = 0; i < PEERS; i++)
		start(i, OLD);
	ring_client(&ring, &client);
	wait_until_well();
	proc_load(&client, l, 4, 3);
	load_await(l, 50, 50);
	replace_all(l, NEW, 1);
	replace_all(l, OLD, 2);
	atomic_store(&l->stop, true);
	proc_unload(&client);
	load_check(l);
	load_verify(l, &client, 0);
	look_at_counts(l, 3);
	ck_assert_int_eq(proc_close(&client, 5000), 0);
	for (unsigned i = 0; i < PEERS; i++)
		stop(i, SIGTERM);
}
END_TEST

static Suite *
suite(void)
{
	Suite *s = suite_create("upgrade");
	TCase *c = tcase_create("upgrade");

	tcase_set_timeout(c, 150);
	suite_add_tcase(s, c);
	tcase_add_test(c, one_at_a_time_and_back);
	return s;
}

TEST_MAIN(suite)
