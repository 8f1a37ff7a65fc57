/*
 * Goal: a member is who its directory says, wherever it is.  It is reached by the address
 * it advertises and by no other; who stands at an address that a ring knows but is not of
 * that ring is told so and harms nobody; who was forgotten stays out with all it had; who
 * comes with an empty directory is new; and members find each other by what they stored.
 * Method: processes on several loopback addresses, one behind a forwarder of TCP.
 * Others: life_test (new, exchanged addresses), refuse_test (rings that meet by seeds),
 * lost_test (an empty directory under the old id).
 */
#include "ring.h"

#include "net.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { KEYS = 20, PAIRS_MAX = 64 };

static void
write_all(struct proc *p, const char *value)
{
	char key[32];

	for (unsigned i = 0; i < KEYS; i++) {
		snprintf(key, sizeof(key), "k%u", i);
		proc_write(p, key, value);
	}
}

static void
read_all(struct proc *p, const char *value)
{
	char key[32];

	for (unsigned i = 0; i < KEYS; i++) {
		snprintf(key, sizeof(key), "k%u", i);
		ck_assert_str_eq(proc_read(p, key, 0), value);
	}
}

static void
open_three(struct ring *r)
{
	ring_init(r, 3);
	ring_open_all(r);
	write_all(&r->peer[0], "v");
}

/* What p believes of the member's address; "" if it knows no such member. */
static const char *
address_by(struct proc *p, const struct dyn_id *id)
{
	static struct dyn_member m[16];
	size_t count = proc_members(p, m, 16);

	for (size_t i = 0; i < count; i++)
		if (memcmp(&m[i].id, id, sizeof(*id)) == 0)
			return m[i].address;
	return "";
}

static size_t
members_by(struct proc *p)
{
	struct dyn_member m[16];

	return proc_members(p, m, 16);
}

/* ------------------------------------------------------------------ forwarder */

struct pair {
	int fd[2];
};

/* Bytes from one end to the other; false: over. */
static bool
copy(int from, int to)
{
	char bytes[16384];
	ssize_t n = read(from, bytes, sizeof(bytes)), m;

	for (ssize_t done = 0; done < n; done += m) {
		m = send(to, bytes + done, (size_t)(n - done), MSG_NOSIGNAL);
		if (m <= 0)
			return false;
	}
	return n > 0;
}

/* Connections to `listener` go on to `address`, all in one process. */
static void
forward(int listener, const char *address)
{
	struct pollfd polled[1 + 2 * PAIRS_MAX] = {{.fd = listener, .events = POLLIN}};
	unsigned count = 0;

	for (;;) {
		if (poll(polled, 1 + 2 * count, -1) < 0)
			_exit(1);
		if (polled[0].revents != 0 && count < PAIRS_MAX) {
			polled[1 + 2 * count].fd = accept(listener, NULL, NULL);
			polled[2 + 2 * count].fd = raw_dial_away(address);
			polled[1 + 2 * count].events = polled[2 + 2 * count].events = POLLIN;
			polled[1 + 2 * count].revents = polled[2 + 2 * count].revents = 0;
			count++;
		}
		for (unsigned i = 1; i < 1 + 2 * count; i++) {
			unsigned other = i % 2 == 1 ? i + 1 : i - 1;

			if (polled[i].revents == 0 || polled[i].fd < 0)
				continue;
			if (copy(polled[i].fd, polled[other].fd))
				continue;
			close(polled[i].fd);
			close(polled[other].fd);
			polled[i].fd = polled[other].fd = -1;
		}
	}
}

/* A process that forwards to `address`; *bound: where it listens.  It ends with us. */
static pid_t
start_forwarder(const char *address, char bound[DYN_ADDRESS_MAX])
{
	pid_t parent = getpid(), pid;
	int listener = raw_listen(bound);

	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() == parent)
			forward(listener, address);
		_exit(1);
	}
	close(listener);
	return pid;
}

static void
end_forwarder(pid_t pid)
{
	ck_assert_int_eq(kill(pid, SIGKILL), 0);
	ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
}

/* A peer listens at one address and is reached at another one only: where the others and
 * clients are told to look for it.  When that way is cut, it cannot be reached. */
START_TEST(behind_a_forwarder)
{
	char bound[DYN_ADDRESS_MAX], inside[32];
	struct dyn_status s = DYN_STATUS_INIT;
	struct dyn_options o;
	struct proc client;
	struct ring r;
	pid_t pid;

	ring_init(&r, 3);
	snprintf(inside, sizeof(inside), "127.0.0.2%s", strchr(r.address[2], ':'));
	pid = start_forwarder(inside, bound);
	ring_open(&r, 0);
	ring_open(&r, 1);
	o = ring_options(&r, 2);
	o.listen = inside;
	o.advertise = bound;
	proc_open(&r.peer[2], &o);
	ck_assert_str_eq(r.peer[2].address, inside);
	ring_settled(&r, 3);
	write_all(&r.peer[2], "v");
	ring_client(&r, &client);
	TEST_WAIT(proc_reaches(&client) == 3, 20000);
	ck_assert_int_eq(proc_member_status(&client, r.peer[2].id, &s), 0);
	for (unsigned i = 0; i < 3; i++)
		ck_assert_str_eq(address_by(&r.peer[i], &r.peer[2].id), bound);
	ck_assert_str_eq(address_by(&client, &r.peer[2].id), bound);
	end_forwarder(pid);
	TEST_WAIT(proc_reaches(&client) == 2, 20000);
	TEST_WAIT(proc_reaches(&r.peer[0]) == 2 && proc_reaches(&r.peer[1]) == 2, 20000);
	read_all(&client, "v");
	ck_assert_int_eq(proc_close(&client, 1000), 0);
	ring_kill(&r);
}
END_TEST

/* ----------------------------------------------------------- another ring's peer */

/* Where a member of ring A was, a peer of ring B starts, of the same name: A's members
 * find it there, and neither ring takes anything of the other. */
START_TEST(a_stranger_at_a_members_address)
{
	struct proc_call alone = {.key = "k0", .value = "B", .call = {.w = 1}};
	struct proc_answer a;
	struct dyn_options o;
	struct proc other;
	struct ring r;

	open_three(&r);
	ck_assert_int_eq(proc_close(&r.peer[2], 2000), 0);
	o = ring_options(&r, 2);
	o.dir = test_dir();
	o.seeds = NULL;
	o.join = DYN_JOIN_CREATE;
	proc_open(&other, &o);
	ck_assert_int_eq(proc_put(&other, &alone, &a), 0);
	/* Both sides say so; a member of A that has already warned of the dead one does not
	 * warn again. */
	TEST_WAIT(proc_logged(&other, "same name, but another ring"), 30000);
	ck_assert_uint_eq(members_by(&other), 1);
	ck_assert_uint_eq(members_by(&r.peer[0]), 3);
	ck_assert_str_eq(proc_read(&other, "k0", DYN_HERE), "B");
	ck_assert_str_eq(proc_read(&other, "k1", DYN_HERE), "");
	read_all(&r.peer[0], "v");
	read_all(&r.peer[1], "v");
	/* The member comes back elsewhere, and is found there. */
	r.address[2] = proc_address();
	ring_open(&r, 2);
	ring_settled(&r, 3);
	read_all(&r.peer[2], "v");
	ck_assert_int_eq(proc_close(&other, 1000), 0);
	ring_close(&r);
}
END_TEST

/* ------------------------------------------------------------------- forgotten */

static void
delete_one(struct proc *p, const char *key)
{
	struct proc_answer a;
	struct proc_call c = {.key = key, .seen = &a};
	struct proc_call get = {.key = key};

	ck_assert_int_eq(proc_get(p, &get, &a), 0);
	ck_assert_int_eq(proc_delete(p, &c, &a), 0);
}

/* A forgotten one comes back with the rows of a key that was deleted, and of which the
 * others have forgotten everything meanwhile: it is told that it has left, and brings
 * nothing back; with an empty directory it is let in as a new one. */
START_TEST(a_forgotten_one_brings_nothing_back)
{
	struct dyn_stats stats = DYN_STATS_INIT;
	struct dyn_status s = DYN_STATUS_INIT;
	struct proc_order forget = {.what = 'f'};
	struct dyn_options o;
	struct dyn_error error;
	struct dyn_id old;
	struct ring r;

	ring_init(&r, 4);
	r.base.collect_period_ms = 500;
	ring_open_all(&r);
	write_all(&r.peer[0], "v");
	old = forget.id = r.peer[3].id;
	proc_kill(&r.peer[3]);
	ck_assert_int_eq(proc_change(&r.peer[0], &forget, 1, 20000, NULL), 0);
	ring_settled(&r, 3);
	for (unsigned i = 0; i < KEYS; i++) {
		char key[32];

		snprintf(key, sizeof(key), "k%u", i);
		delete_one(&r.peer[i % 3], key);
	}
	for (unsigned i = 0; i < 3; i++)
		TEST_WAIT((proc_stats(&r.peer[i], &stats), stats.forgotten >= KEYS), 60000);
	o = ring_options(&r, 3);
	proc_start(&r.peer[3], &o);
	if (proc_ready(&r.peer[3], &error) == 0) {
		/* It opened by what it had saved, and is told. */
		TEST_WAIT((proc_status(&r.peer[3], &s), s.failure == DYN_ELEFT), 20000);
		proc_kill(&r.peer[3]);
	} else {
		ck_assert_int_eq(error.code, DYN_ELEFT);
		ck_assert_str_ne(error.text, "");
	}
	ring_settled(&r, 3);
	for (unsigned i = 0; i < 3; i++) {
		read_all(&r.peer[i], "");
		ck_assert_str_eq(address_by(&r.peer[i], &old), "");
	}
	o.dir = test_dir();
	proc_open(&r.peer[3], &o);
	ck_assert_mem_ne(&r.peer[3].id, &old, sizeof(old));
	ring_settled(&r, 4);
	for (unsigned i = 0; i < 4; i++)
		read_all(&r.peer[i], "");
	ring_close(&r);
}
END_TEST

/* ------------------------------------------------------------- an empty directory */

/* At the address of a dead member one starts that has nothing: it is another node, and
 * the dead one is waited for until it is forgotten. */
START_TEST(a_new_one_at_the_old_address)
{
	struct proc_order forget = {.what = 'f'};
	struct dyn_options o;
	struct dyn_id old;
	struct ring r;

	open_three(&r);
	old = forget.id = r.peer[2].id;
	proc_kill(&r.peer[2]);
	o = ring_options(&r, 2);
	o.dir = test_dir();
	proc_start(&r.peer[2], &o);
	ck_assert_int_eq(proc_ready(&r.peer[2], NULL), 0);
	ck_assert_mem_ne(&r.peer[2].id, &old, sizeof(old));
	TEST_WAIT(members_by(&r.peer[0]) == 4, 20000);
	read_all(&r.peer[2], "v");
	ck_assert_int_eq(proc_change(&r.peer[0], &forget, 1, 20000, NULL), 0);
	ring_settled(&r, 3);
	for (unsigned i = 0; i < 3; i++) {
		ck_assert_str_eq(address_by(&r.peer[i], &old), "");
		ck_assert_str_eq(address_by(&r.peer[i], &r.peer[2].id), r.address[2]);
		read_all(&r.peer[i], "v");
	}
	for (unsigned i = 0; i < KEYS; i++) {
		char key[32];

		snprintf(key, sizeof(key), "k%u", i);
		ck_assert_str_eq(proc_read(&r.peer[2], key, DYN_HERE), "v");
	}
	ring_close(&r);
}
END_TEST

/* ---------------------------------------------------------------------- dead seeds */

/* All stop; they start again with seeds that are dead, one of them elsewhere. */
START_TEST(they_find_each_other_by_what_they_stored)
{
	struct ring r;

	open_three(&r);
	ring_kill(&r);
	snprintf(r.seeds, sizeof(r.seeds), "%s", proc_address());
	r.address[1] = proc_address();
	ring_open_all(&r);
	for (unsigned i = 0; i < 3; i++) {
		ck_assert_str_eq(address_by(&r.peer[i], &r.peer[1].id), r.address[1]);
		read_all(&r.peer[i], "v");
	}
	ring_close(&r);
}
END_TEST

/* A first start whose seeds are dead ends with an error that says so, makes no ring of
 * its own, and leaves a directory that may be used again. */
START_TEST(a_first_start_with_dead_seeds)
{
	struct dyn_options o;
	struct dyn_error error;
	struct proc p;
	struct ring r;

	open_three(&r);
	o = ring_options(&r, 0);
	o.dir = test_dir();
	o.listen = proc_address();
	o.seeds = proc_address();
	o.join = DYN_JOIN_AUTO;
	o.open_timeout_ms = 4000; /* twice as long as the first seed waits to create one */
	proc_start(&p, &o);
	ck_assert_int_eq(proc_ready(&p, &error), DYN_ETIMEOUT);
	ck_assert_ptr_nonnull(strstr(error.text, "no seed answered"));
	o.seeds = r.seeds;
	o.open_timeout_ms = 20000;
	proc_open(&p, &o);
	TEST_WAIT(members_by(&p) == 4, 20000);
	read_all(&p, "v");
	proc_kill(&p);
	ring_kill(&r);
}
END_TEST

static Suite *
suite(void)
{
	Suite *s = suite_create("address");
	TCase *c = tcase_create("address");

	tcase_set_timeout(c, 180);
	suite_add_tcase(s, c);
	tcase_add_test(c, behind_a_forwarder);
	tcase_add_test(c, a_stranger_at_a_members_address);
	tcase_add_test(c, a_forgotten_one_brings_nothing_back);
	tcase_add_test(c, a_new_one_at_the_old_address);
	tcase_add_test(c, they_find_each_other_by_what_they_stored);
	tcase_add_test(c, a_first_start_with_dead_seeds);
	return s;
}

TEST_MAIN(suite)
