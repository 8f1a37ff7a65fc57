/*
 * Goal: a node behaves in somebody's process as DESIGN 13 says: it opens and
 * closes cleanly in any state and without memory, leaves nothing behind, calls
 * back exactly once and never early, survives fork, touches no signals.
 * Method: local stores and rings of one in this process; counts of descriptors,
 * threads and blocks before and after; the N-th allocation failing for every N.
 */
#include "api.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* --------------------------------------------------------- open and close */

/* What libraries below keep for the whole process is there after a first run. */
static void
warm_up(void)
{
	api_close(api_peer(test_path(test_dir(), "warm")));
}

START_TEST(leaves_nothing_behind)
{
	const char *dir = test_path(test_dir(), "new");
	unsigned files, threads;
	long blocks;

	warm_up();
	files = api_files();
	threads = api_threads();
	blocks = mem_balance();
	for (int i = 0; i < 5; i++) {
		dyn_node *n = i % 2 == 0 ? api_peer(dir) : api_local(NULL);
		dyn_bucket *b = api_bucket(n, "b", DYN_SIBLINGS, NULL);

		ck_assert_uint_gt(api_threads(), threads);
		dyn_context_free(api_put(b, "key", NULL, "value"));
		api_close(n);
		ck_assert_uint_eq(api_files(), files);
		ck_assert_uint_eq(api_threads(), threads);
		ck_assert_int_eq(mem_balance(), blocks);
	}
}
END_TEST

/* While another node is open. */
static void
refused_beside(const struct dyn_options *o, int code)
{
	struct dyn_error error;
	dyn_node *n;
	int rc = dyn_open(&n, o, &error);

	ck_assert_msg(rc == code, "%d %s instead of %d", rc, error.text, code);
	ck_assert_int_eq(error.code, code);
	ck_assert_ptr_null(n);
}

static void
refused(const struct dyn_options *o, int code)
{
	unsigned files = api_files(), threads = api_threads();
	long blocks = mem_balance();

	refused_beside(o, code);
	ck_assert_uint_eq(api_files(), files);
	ck_assert_uint_eq(api_threads(), threads);
	ck_assert_int_eq(mem_balance(), blocks);
}

START_TEST(directories)
{
	struct dyn_options o = DYN_OPTIONS_INIT;
	const char *dir = test_dir(), *foreign = test_dir();
	dyn_node *n;
	int fd;

	warm_up();
	n = api_peer(test_path(dir, "data"));
	o.dir = test_path(dir, "data");
	o.role = DYN_LOCAL;
	refused_beside(&o, DYN_ELOCKED);
	o.role = DYN_PEER;
	o.listen = "127.0.0.1:0";
	o.n = 1;
	refused_beside(&o, DYN_ELOCKED);
	api_close(n);
	/* Of another ring, or other settings. */
	o.ring = "other";
	refused(&o, DYN_ERING);
	o.ring = NULL;
	o.n = 2;
	refused(&o, DYN_ERING);
	o.n = 1;
	o.partitions = 16;
	refused(&o, DYN_ERING);
	o.partitions = 0;
	o.hash = DYN_HASH_MD5;
	refused(&o, DYN_ERING);
	o.hash = DYN_HASH_SHA256;
	o.r = 2;
	refused(&o, DYN_EINVAL);
	o.r = 0;
	api_close(api_open(&o));
	/* Somebody else's, or not to be had. */
	fd = open(test_path(foreign, "thesis.txt"), O_CREAT | O_WRONLY, 0600);
	ck_assert_int_ge(fd, 0);
	close(fd);
	o.dir = foreign;
	refused(&o, DYN_ECORRUPT);
	o.dir = test_path(foreign, "thesis.txt");
	refused(&o, DYN_EIO);
	o.dir = test_path(foreign, "none/none");
	refused(&o, DYN_EIO);
}
END_TEST

/* What dyn_open returns can be used at once. */
START_TEST(first_call)
{
	const char *dir = test_path(test_dir(), "data");

	for (int i = 0; i < 60; i++) {
		dyn_node *n = api_peer(i % 2 == 0 ? NULL : dir);
		dyn_bucket *b = api_bucket(n, "b", DYN_LWW, NULL);

		dyn_context_free(api_put(b, "k", NULL, "v"));
		api_close(n);
	}
}
END_TEST

START_TEST(port_in_use)
{
	struct dyn_options o = DYN_OPTIONS_INIT;
	dyn_node *n = api_peer(NULL), *other;

	o.listen = dyn_address(n);
	o.n = 1;
	refused_beside(&o, DYN_EADDRESS);
	o.listen = "127.0.0.1:0";
	other = api_open(&o);
	ck_assert_str_ne(dyn_address(n), dyn_address(other));
	api_close(n);
	api_close(other);
}
END_TEST

START_TEST(nobody_answers)
{
	struct dyn_options o = DYN_OPTIONS_INIT;
	dyn_node *n = api_peer(NULL);
	char address[DYN_ADDRESS_MAX];
	uint64_t began;

	strcpy(address, dyn_address(n));
	api_close(n);
	o.listen = "127.0.0.1:0";
	o.seeds = address;
	o.open_timeout_ms = 300;
	began = test_now();
	refused(&o, DYN_ETIMEOUT);
	o.join = DYN_JOIN_ONLY;
	refused(&o, DYN_ETIMEOUT);
	o.seeds = NULL;
	refused(&o, DYN_ETIMEOUT);
	o.role = DYN_CLIENT;
	o.join = DYN_JOIN_AUTO;
	o.listen = NULL;
	o.seeds = address;
	refused(&o, DYN_ETIMEOUT);
	ck_assert_uint_lt((test_now() - began) / 1000000, 4 * 1300);
}
END_TEST

/* Each allocation of an open failing in turn: DYN_ENOMEM or another clean
 * error, or success without what failed; and no leak. */
static void
open_without_memory(struct dyn_options *o, const char *dir)
{
	unsigned failed = 0;

	TEST_ALLOC_FAILURES (at) {
		struct dyn_error error;
		dyn_node *n;
		char name[32];
		int rc;

		/* A new one each time: what a failed open leaves there makes the
		 * next one do more. */
		snprintf(name, sizeof(name), "%ld", at);
		o->dir = dir != NULL ? test_path(dir, name) : NULL;
		rc = dyn_open(&n, o, &error);
		ck_assert(rc != 0 || strcmp(error.text, dyn_strerror(0)) == 0);
		if (rc == 0)
			(void)dyn_close(n, 1000);
		else
			failed++;
		ck_assert_int_eq(rc, error.code);
		ck_assert_msg(rc == 0 || rc == DYN_ENOMEM || rc == DYN_ETIMEOUT,
		    "allocation %ld: %d %s", at, rc, error.text);
	}
	ck_assert_uint_gt(failed, 20);
}

START_TEST(open_local_without_memory)
{
	struct dyn_options o = DYN_OPTIONS_INIT;

	o.role = DYN_LOCAL;
	open_without_memory(&o, NULL);
	open_without_memory(&o, test_dir());
}
END_TEST

START_TEST(open_peer_without_memory)
{
	struct dyn_options o = DYN_OPTIONS_INIT;

	o.listen = "127.0.0.1:0";
	o.n = 1;
	o.partitions = 16;
	o.open_timeout_ms = 200;
	open_without_memory(&o, NULL);
}
END_TEST

/* ------------------------------------------------------------------ callbacks */

struct watcher {
	dyn_node *node;
	dyn_bucket *bucket;
	pthread_t caller;
	atomic_bool inside; /* the call that started it has not returned */
	atomic_uint started, calls, early, wrong;
};

static void
count_done(void *arg, int rc, dyn_result *r)
{
	struct watcher *w = arg;

	if (atomic_load(&w->inside) && pthread_equal(pthread_self(), w->caller))
		atomic_fetch_add(&w->early, 1);
	if (rc != 0 || r == NULL)
		atomic_fetch_add(&w->wrong, 1);
	dyn_result_free(r);
	atomic_fetch_add(&w->calls, 1);
}

static int
append_x(void *arg, struct dyn_slice key, const struct dyn_slice *value,
    struct dyn_buffer *out)
{
	(void)arg;
	(void)key;
	if (value != NULL && dyn_buffer_append(out, value->data, value->len) != 0)
		return DYN_ENOMEM;
	return dyn_buffer_append(out, "x", 1);
}

/* Start so many calls of each kind. */
static unsigned
start_calls(struct watcher *w, unsigned rounds)
{
	struct dyn_call over = {.flags = DYN_OVERWRITE};
	char key[32];

	w->caller = pthread_self();
	atomic_store(&w->inside, true);
	for (unsigned i = 0; i < rounds; i++) {
		snprintf(key, sizeof(key), "key-%u", i % 10);
		ck_assert_int_eq(dyn_put_async(w->bucket, dyn_str(key), NULL,
				     dyn_str("v"), &over, count_done, w),
		    0);
		ck_assert_int_eq(
		    dyn_get_async(w->bucket, dyn_str(key), NULL, count_done, w), 0);
		ck_assert_int_eq(
		    dyn_delete_async(w->bucket, dyn_str(key), NULL, &over, count_done, w),
		    0);
		/* A key of its own: updates of one key may meet as siblings. */
		snprintf(key, sizeof(key), "update-%u", i);
		ck_assert_int_eq(dyn_update_async(w->bucket, dyn_str(key), append_x, NULL,
				     NULL, count_done, w),
		    0);
	}
	atomic_store(&w->inside, false);
	return 4 * rounds;
}

START_TEST(callbacks_on_worker)
{
	struct watcher w = {.node = api_local(NULL)};
	unsigned count;

	w.bucket = api_bucket(w.node, "b", DYN_SIBLINGS, NULL);
	count = start_calls(&w, 200);
	TEST_WAIT(atomic_load(&w.calls) == count, 20000);
	test_sleep_ms(20);
	ck_assert_uint_eq(atomic_load(&w.calls), count);
	ck_assert_uint_eq(atomic_load(&w.early), 0);
	ck_assert_uint_eq(atomic_load(&w.wrong), 0);
	api_close(w.node);
}
END_TEST

static dyn_node *
open_dispatched(void)
{
	struct dyn_options o = DYN_OPTIONS_INIT;

	o.role = DYN_LOCAL;
	o.callbacks = DYN_ON_DISPATCH;
	return api_open(&o);
}

static bool
readable(int fd, int wait_ms)
{
	fd_set set;
	struct timeval tv = {wait_ms / 1000, wait_ms % 1000 * 1000};

	FD_ZERO(&set);
	FD_SET(fd, &set);
	return select(fd + 1, &set, NULL, NULL, &tv) == 1;
}

START_TEST(callbacks_on_dispatch)
{
	struct watcher w = {.node = open_dispatched()};
	unsigned count, ran = 0;
	int fd = dyn_fd(w.node);

	ck_assert_int_ge(fd, 0);
	w.bucket = api_bucket(w.node, "b", DYN_SIBLINGS, NULL);
	ck_assert_int_eq(dyn_dispatch(w.node), 0);
	count = start_calls(&w, 50);
	test_sleep_ms(50);
	ck_assert_uint_eq(atomic_load(&w.calls), 0); /* nobody dispatched */
	while (atomic_load(&w.calls) < count) {
		ck_assert(readable(fd, 20000));
		ran += (unsigned)dyn_dispatch(w.node);
	}
	/* An update is two of libdyn's own steps, one callback of ours. */
	ck_assert_uint_ge(ran, count);
	ck_assert(!readable(fd, 20));
	ck_assert_uint_eq(atomic_load(&w.wrong), 0);
	api_close(w.node);
}
END_TEST

static void
call_again(void *arg, int rc, dyn_result *r)
{
	struct watcher *w = arg;

	dyn_result_free(r);
	if (rc == 0 && atomic_fetch_add(&w->calls, 1) < 20 &&
	    dyn_get_async(w->bucket, dyn_str("k"), NULL, call_again, w) != 0)
		atomic_fetch_add(&w->wrong, 1);
}

/* Asynchronous calls may be made from callbacks. */
START_TEST(calls_from_callbacks)
{
	struct watcher w = {.node = api_local(NULL)};

	w.bucket = api_bucket(w.node, "b", DYN_SIBLINGS, NULL);
	call_again(&w, 0, NULL);
	TEST_WAIT(atomic_load(&w.calls) == 21, 10000);
	ck_assert_uint_eq(atomic_load(&w.wrong), 0);
	api_close(w.node);
}
END_TEST

/* Every blocking call, from inside: all must say DYN_EDEADLK. */
static unsigned
blocking_calls(dyn_node *n, dyn_bucket *b)
{
	struct dyn_call over = {.flags = DYN_OVERWRITE};
	struct dyn_status st = DYN_STATUS_INIT;
	struct dyn_slice k = dyn_str("k");
	unsigned other = 0;
	dyn_result *r;

	other += dyn_get(b, k, NULL, &r) != DYN_EDEADLK;
	other += dyn_put(b, k, NULL, k, NULL, NULL) != DYN_EDEADLK;
	other += dyn_delete(b, k, NULL, &over, NULL) != DYN_EDEADLK;
	other += dyn_update(b, k, append_x, NULL, NULL, NULL) != DYN_EDEADLK;
	other += dyn_member_status(n, dyn_self(n), 10, &st, NULL) != DYN_EDEADLK;
	other += dyn_close(n, 0) != DYN_EDEADLK;
	return other;
}

static void
block_in_done(void *arg, int rc, dyn_result *r)
{
	struct watcher *w = arg;

	(void)rc;
	dyn_result_free(r);
	atomic_fetch_add(&w->wrong, blocking_calls(w->node, w->bucket));
	if (dyn_dispatch(w->node) >= 0)
		atomic_fetch_add(&w->wrong, 100);
	atomic_fetch_add(&w->calls, 1);
}

static int
block_in_merge(void *arg, struct dyn_slice key, const struct dyn_slice *values,
    size_t count, struct dyn_buffer *out)
{
	struct watcher *w = arg;

	(void)key;
	(void)count;
	atomic_fetch_add(&w->wrong, blocking_calls(w->node, w->bucket));
	atomic_fetch_add(&w->calls, 1);
	return dyn_buffer_append(out, values[0].data, values[0].len);
}

static int
block_in_change(void *arg, struct dyn_slice key, const struct dyn_slice *value,
    struct dyn_buffer *out)
{
	struct watcher *w = arg;

	(void)key;
	(void)value;
	(void)out;
	atomic_fetch_add(&w->wrong, blocking_calls(w->node, w->bucket));
	atomic_fetch_add(&w->calls, 1);
	return DYN_CHANGE_NOTHING;
}

static void
block_everywhere(dyn_node *n)
{
	struct dyn_bucket_options o = DYN_BUCKET_OPTIONS_INIT;
	struct watcher w = {.node = n};
	dyn_result *r;

	o.merge = block_in_merge;
	o.arg = &w;
	ck_assert_int_eq(dyn_bucket_open(&w.bucket, n, "b", &o), 0);
	dyn_context_free(api_put(w.bucket, "two", NULL, "1"));
	dyn_context_free(api_put(w.bucket, "two", NULL, "2"));
	ck_assert_int_eq(dyn_get(w.bucket, dyn_str("two"), NULL, &r), 0);
	dyn_result_free(r);
	ck_assert_uint_eq(atomic_load(&w.calls), 1);
	ck_assert_int_eq(
	    dyn_update(w.bucket, dyn_str("k"), block_in_change, &w, NULL, NULL), 0);
	ck_assert_uint_eq(atomic_load(&w.calls), 2);
	ck_assert_int_eq(
	    dyn_get_async(w.bucket, dyn_str("k"), NULL, block_in_done, &w), 0);
	TEST_WAIT(atomic_load(&w.calls) == 3 || dyn_dispatch(n) < -100, 10000);
	ck_assert_uint_eq(atomic_load(&w.wrong), 0);
	/* And the thread is as it was. */
	ck_assert_int_eq(dyn_get(w.bucket, dyn_str("two"), NULL, &r), 0);
	dyn_result_free(r);
	api_close(n);
}

START_TEST(blocking_calls_from_callbacks)
{
	block_everywhere(api_local(NULL));
	block_everywhere(open_dispatched());
}
END_TEST

static void
chain(void *arg, int rc, dyn_result *r)
{
	struct watcher *w = arg;
	char key[32];

	(void)rc;
	dyn_result_free(r);
	atomic_fetch_add(&w->calls, 1);
	snprintf(key, sizeof(key), "%u", atomic_fetch_add(&w->started, 1));
	if (dyn_get_async(w->bucket, dyn_str(key), NULL, chain, w) != 0)
		atomic_fetch_sub(&w->started, 1);
}

/* Callbacks that go on making calls, to all workers, until they are refused. */
START_TEST(close_while_callbacks_call)
{
	struct dyn_options o = DYN_OPTIONS_INIT;

	o.role = DYN_LOCAL;
	o.workers = 4;
	for (int i = 0; i < 100; i++) {
		struct watcher w = {.node = api_open(&o)};

		w.bucket = api_bucket(w.node, "b", DYN_SIBLINGS, NULL);
		atomic_store(&w.started, 8);
		for (int k = 0; k < 8; k++)
			ck_assert_int_eq(
			    dyn_get_async(w.bucket, dyn_str("k"), NULL, chain, &w), 0);
		test_sleep_ms(5);
		ck_assert_int_ge(dyn_close(w.node, 1000), DYN_ETIMEOUT);
		ck_assert_uint_ge(atomic_load(&w.calls), 8);
		ck_assert_uint_eq(atomic_load(&w.calls), atomic_load(&w.started));
	}
}
END_TEST

/* Whatever is in flight at a close is answered, once, before dyn_close
 * returns. */
static void
close_in_flight(dyn_node *n)
{
	struct watcher w = {.node = n};
	unsigned count;

	w.bucket = api_bucket(n, "b", DYN_SIBLINGS, NULL);
	count = start_calls(&w, 100);
	ck_assert_int_ge(dyn_close(n, 5000), DYN_ETIMEOUT);
	ck_assert_uint_eq(atomic_load(&w.calls), count);
}

START_TEST(close_with_calls_in_flight)
{
	long blocks;

	warm_up();
	blocks = mem_balance();
	close_in_flight(api_local(test_path(test_dir(), "a")));
	close_in_flight(api_local(NULL));
	close_in_flight(open_dispatched());
	close_in_flight(api_peer(test_path(test_dir(), "b")));
	ck_assert_int_eq(mem_balance(), blocks);
}
END_TEST

/* ------------------------------------------------------------------ processes */

static void
in_child(dyn_node *n, dyn_bucket *b)
{
	struct dyn_status st = DYN_STATUS_INIT;
	struct dyn_stats sa = DYN_STATS_INIT;
	struct dyn_call over = {.flags = DYN_OVERWRITE};
	struct dyn_slice k = dyn_str("k");
	struct dyn_member *m;
	dyn_bucket *other;
	dyn_result *r;
	size_t count;
	unsigned wrong = 0;

	wrong += dyn_get(b, k, NULL, &r) != DYN_EFORKED;
	wrong += dyn_put(b, k, NULL, k, NULL, NULL) != DYN_EFORKED;
	wrong += dyn_delete(b, k, NULL, &over, NULL) != DYN_EFORKED;
	wrong += dyn_update(b, k, append_x, NULL, NULL, NULL) != DYN_EFORKED;
	wrong += dyn_get_async(b, k, NULL, count_done, NULL) != DYN_EFORKED;
	wrong += dyn_put_async(b, k, NULL, k, NULL, count_done, NULL) != DYN_EFORKED;
	wrong += dyn_delete_async(b, k, NULL, &over, count_done, NULL) != DYN_EFORKED;
	wrong +=
	    dyn_update_async(b, k, append_x, NULL, NULL, count_done, NULL) != DYN_EFORKED;
	wrong += dyn_bucket_open(&other, n, "c", NULL) != DYN_EFORKED;
	wrong += dyn_members(n, &m, &count) != DYN_EFORKED;
	wrong += dyn_locate(b, k, NULL, 0, &count, NULL, NULL) != DYN_EFORKED;
	wrong += dyn_status(n, &st) != DYN_EFORKED;
	wrong += dyn_stats(n, &sa) != DYN_EFORKED;
	wrong += dyn_member_status(n, dyn_self(n), 10, &st, NULL) != DYN_EFORKED;
	wrong += dyn_fd(n) != DYN_EFORKED;
	wrong += dyn_dispatch(n) != DYN_EFORKED;
	dyn_bucket_close(b);
	wrong += dyn_close(n, 1000) != DYN_EFORKED;
	_exit((int)wrong);
}

START_TEST(child_of_fork)
{
	const char *dir = test_path(test_dir(), "data");
	dyn_node *n = api_peer(dir);
	dyn_bucket *b = api_bucket(n, "b", DYN_SIBLINGS, NULL);
	int status;
	pid_t pid;

	dyn_context_free(api_put(b, "k", NULL, "before"));
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (pid == 0)
		in_child(n, b);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "status %x", status);
	/* The parent has lost nothing: not its lock, not its data. */
	ck_assert_str_eq(api_values(b, "k"), "before");
	dyn_context_free(api_put(b, "k2", NULL, "after"));
	{
		struct dyn_options o = DYN_OPTIONS_INIT;

		o.role = DYN_LOCAL;
		o.dir = dir;
		refused_beside(&o, DYN_ELOCKED);
	}
	api_close(n);
	n = api_peer(dir);
	b = api_bucket(n, "b", DYN_SIBLINGS, NULL);
	ck_assert_str_eq(api_values(b, "k2"), "after");
	api_close(n);
}
END_TEST

static void
no_signal(int number)
{
	(void)number;
}

static bool
blocks_all(const char *tid)
{
	char path[64], line[256];
	unsigned long long blocked = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/task/%s/status", tid);
	f = fopen(path, "r");
	ck_assert_ptr_nonnull(f);
	while (fgets(line, sizeof(line), f) != NULL)
		sscanf(line, "SigBlk: %llx", &blocked);
	fclose(f);
	/* All but KILL, STOP and the two that libc keeps for itself. */
	return (blocked | UINT64_C(0x1) << 8 | UINT64_C(0x1) << 18 |
		   UINT64_C(0x3) << 31) == UINT64_MAX;
}

START_TEST(signals_are_the_applications)
{
	struct sigaction before, after;
	sigset_t mask_before, mask_after;
	dyn_node *n;
	char tid[16];

	signal(SIGPIPE, SIG_DFL);
	signal(SIGCHLD, no_signal);
	pthread_sigmask(SIG_SETMASK, NULL, &mask_before);
	sigaction(SIGPIPE, NULL, &before);
	n = api_peer(NULL);
	sigaction(SIGPIPE, NULL, &after);
	ck_assert(after.sa_handler == before.sa_handler && after.sa_handler == SIG_DFL);
	sigaction(SIGCHLD, NULL, &after);
	ck_assert(after.sa_handler == no_signal);
	pthread_sigmask(SIG_SETMASK, NULL, &mask_after);
	for (int i = 1; i < SIGRTMAX; i++)
		ck_assert_int_eq(
		    sigismember(&mask_before, i), sigismember(&mask_after, i));
	for (int i = 1; i < 20; i++) {
		snprintf(tid, sizeof(tid), "%d", (int)getpid() + i);
		char path[64];
		snprintf(path, sizeof(path), "/proc/self/task/%s", tid);
		if (access(path, F_OK) == 0)
			ck_assert_msg(blocks_all(tid), "thread %s takes signals", tid);
	}
	api_close(n);
}
END_TEST

/* ---------------------------------------------------------- other libraries */

START_TEST(two_nodes)
{
	const char *dir = test_dir();
	dyn_node *a = api_peer(test_path(dir, "a")), *b = api_local(test_path(dir, "b"));
	dyn_bucket *in_a = api_bucket(a, "x", DYN_SIBLINGS, NULL);
	dyn_bucket *in_b = api_bucket(b, "x", DYN_SIBLINGS, NULL);
	struct dyn_id of_a = dyn_self(a), of_b = dyn_self(b);

	ck_assert_mem_ne(&of_a, &of_b, sizeof(of_a));
	dyn_context_free(api_put(in_a, "k", NULL, "a"));
	ck_assert_str_eq(api_values(in_b, "k"), "");
	dyn_context_free(api_put(in_b, "k", NULL, "b"));
	ck_assert_str_eq(api_values(in_a, "k"), "a");
	api_close(a);
	ck_assert_str_eq(api_values(in_b, "k"), "b");
	api_close(b);
}
END_TEST

/* An application that uses SQLite and OpenSSL on its own, before, while and
 * after a node is open. */
START_TEST(application_with_the_same_libraries)
{
	static const unsigned char text[] = "text";
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned len;
	sqlite3 *db;
	dyn_node *n;

	ck_assert_int_eq(sqlite3_open(test_path(test_dir(), "own.db"), &db), SQLITE_OK);
	for (int i = 0; i < 3; i++) {
		n = api_local(test_path(test_dir(), "data"));
		ck_assert_int_eq(
		    sqlite3_exec(db,
			"CREATE TABLE IF NOT EXISTS t (x); INSERT INTO t VALUES (1)",
			NULL, NULL, NULL),
		    SQLITE_OK);
		dyn_context_free(
		    api_put(api_bucket(n, "b", DYN_SIBLINGS, NULL), "k", NULL, "v"));
		ck_assert_int_eq(
		    EVP_Digest(text, sizeof(text), digest, &len, EVP_sha256(), NULL), 1);
		api_close(n);
		ck_assert_int_eq(
		    sqlite3_exec(db, "SELECT * FROM t", NULL, NULL, NULL), SQLITE_OK);
	}
	ck_assert_int_eq(sqlite3_close(db), SQLITE_OK);
}
END_TEST

static void
count_line(void *arg, enum dyn_log_level level, const char *line)
{
	ck_assert_uint_le(level, DYN_LOG_WARNING);
	ck_assert_ptr_null(strchr(line, '\n'));
	atomic_fetch_add((atomic_uint *)arg, 1);
}

START_TEST(log_levels)
{
	struct dyn_options o = DYN_OPTIONS_INIT;
	atomic_uint lines = 0;
	dyn_node *n;

	o.listen = "127.0.0.1:0";
	o.join = DYN_JOIN_ONLY; /* without seeds: worth a warning */
	o.open_timeout_ms = 50;
	o.log = count_line;
	o.log_arg = &lines;
	o.log_level = DYN_LOG_WARNING;
	ck_assert_int_eq(dyn_open(&n, &o, NULL), DYN_ETIMEOUT);
	ck_assert_uint_ge(atomic_load(&lines), 1);
}
END_TEST

static Suite *
suite(void)
{
	Suite *s = suite_create("node");

	test_case(s, "leaves nothing behind", leaves_nothing_behind);
	test_case(s, "directories", directories);
	test_case(s, "first call", first_call);
	test_case(s, "port in use", port_in_use);
	test_case(s, "nobody answers", nobody_answers);
	test_case(s, "open local without memory", open_local_without_memory);
	test_case(s, "open peer without memory", open_peer_without_memory);
	test_case(s, "callbacks on worker", callbacks_on_worker);
	test_case(s, "callbacks on dispatch", callbacks_on_dispatch);
	test_case(s, "calls from callbacks", calls_from_callbacks);
	test_case(s, "blocking calls from callbacks", blocking_calls_from_callbacks);
	test_case(s, "close while callbacks call", close_while_callbacks_call);
	test_case(s, "close with calls in flight", close_with_calls_in_flight);
	test_case(s, "child of fork", child_of_fork);
	test_case(s, "signals", signals_are_the_applications);
	test_case(s, "two nodes", two_nodes);
	test_case(s, "same libraries", application_with_the_same_libraries);
	test_case(s, "log levels", log_levels);
	return s;
}

TEST_MAIN(suite)
