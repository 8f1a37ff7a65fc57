/* Writers, readers, and the judge. */
#include "cluster/load.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

enum { THREADS_MAX = 16 };

struct load_run {
	struct load *load;
	dyn_bucket *bucket;
	atomic_bool stop;
	pthread_t threads[THREADS_MAX];
	unsigned count;
};

struct load *
load_new(unsigned keys, unsigned writers, unsigned timeout_ms)
{
	struct load *l = mmap(
	    NULL, sizeof(*l), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	ck_assert_ptr_ne(l, MAP_FAILED);
	ck_assert_uint_le(keys, LOAD_KEYS);
	l->keys = keys;
	l->writers = writers;
	l->timeout_ms = timeout_ms;
	l->pause_us = 1000;
	return l;
}

static void
key_name(const struct load *l, char name[32], unsigned key)
{
	snprintf(name, 32, "counter-%u", l->first_key + key);
}

/* "key number", and a filling that depends on both. */
static size_t
make_value(char value[LOAD_SIZE], unsigned key, unsigned number)
{
	int len = snprintf(value, LOAD_SIZE, "%u %u ", key, number);

	memset(value + len, 'a' + (int)((key + number) % 26), (size_t)(LOAD_SIZE - len));
	return LOAD_SIZE;
}

/* The number a value holds, 0 if nobody wrote it like that. */
static unsigned
read_value(unsigned key, struct dyn_slice value)
{
	char text[32], expected[LOAD_SIZE];
	unsigned k = 0, number = 0;

	if (value.len != LOAD_SIZE)
		return 0;
	memcpy(text, value.data, sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	if (sscanf(text, "%u %u ", &k, &number) != 2 || k != key)
		return 0;
	make_value(expected, key, number);
	return memcmp(expected, value.data, LOAD_SIZE) == 0 ? number : 0;
}

/* ------------------------------------------------------------------ judging */

static void
broken(struct load *l, atomic_uint *which, const char *what, unsigned key, unsigned got,
    unsigned bound)
{
	if (atomic_fetch_add(which, 1) == 0)
		snprintf(l->text, sizeof(l->text),
		    "%s: key %u, got %u, bound %u, phase %u", what, key, got, bound,
		    atomic_load(&l->phase));
}

static void
judge_time(struct load *l, uint64_t began, unsigned key, int rc)
{
	unsigned ms = (unsigned)((test_now() - began) / 1000000);

	if (rc != 0)
		atomic_store(&l->last_rc, rc);
	if (ms > l->timeout_ms + 1000)
		broken(l, &l->late, "late", key, ms, l->timeout_ms);
}

/* What a read of a key brought; acked: before it began. */
static unsigned
judge(struct load *l, unsigned key, const dyn_result *r, unsigned acked)
{
	struct load_key *k = &l->key[key];
	unsigned newest = 0, started;

	for (size_t i = 0; i < dyn_result_count(r); i++) {
		unsigned number = read_value(key, dyn_result_value(r, i));

		if (number == 0 || number >= LOAD_VALUES)
			broken(l, &l->phantom, "not a value", key, number, 0);
		else if (atomic_load(&k->failed[number]))
			broken(l, &l->revived, "failed, but there", key, number, 0);
		newest = MAX(newest, number);
	}
	started = atomic_load(&k->started);
	if (newest > started)
		broken(l, &l->phantom, "never written", key, newest, started);
	if (newest < acked)
		broken(l, &l->stale, "stale", key, newest, acked);
	return newest;
}

/* ------------------------------------------------------------------ threads */

static bool
stopped(const struct load_run *run)
{
	return atomic_load(&run->stop) || atomic_load(&run->load->stop);
}

static void
rest(const struct load *l)
{
	struct timespec t = {0, (long)l->pause_us * 1000};

	nanosleep(&t, NULL);
}

/* Read a key; the result is the caller's. */
static dyn_result *
read_key(struct load_run *run, unsigned key)
{
	struct load *l = run->load;
	struct dyn_call call = {.timeout_ms = l->timeout_ms, .flags = DYN_STRICT};
	struct load_count *c = &l->count[atomic_load(&l->phase)];
	unsigned acked = atomic_load(&l->key[key].acked);
	uint64_t began = test_now();
	dyn_result *r = NULL;
	char name[32];
	int rc;

	key_name(l, name, key);
	rc = dyn_get(run->bucket, dyn_str(name), &call, &r);
	judge_time(l, began, key, rc);
	if (rc == 0) {
		judge(l, key, r, acked);
		atomic_fetch_add(&c->gets, 1);
	} else if (!stopped(run) || rc != DYN_ECLOSED) {
		atomic_fetch_add(&c->get_failed, 1);
	}
	return r;
}

static void *
read_keys(void *arg)
{
	struct load_run *run = arg;
	unsigned seed = (unsigned)test_now();

	while (!stopped(run)) {
		dyn_result_free(read_key(run, (unsigned)rand_r(&seed) % run->load->keys));
		rest(run->load);
	}
	return NULL;
}

/* One write; *seen is the context, which is replaced.  False: a context has to
 * be read first. */
static bool
write_key(struct load_run *run, unsigned key, dyn_context **seen)
{
	struct load *l = run->load;
	struct load_key *k = &l->key[key];
	struct load_count *c = &l->count[atomic_load(&l->phase)];
	struct dyn_call call = {.timeout_ms = l->timeout_ms, .flags = DYN_STRICT};
	unsigned number = atomic_fetch_add(&k->started, 1) + 1;
	char name[32], value[LOAD_SIZE];
	dyn_result *r = NULL;
	uint64_t began = test_now();
	size_t len;
	int rc;

	if (number >= LOAD_VALUES)
		abort();
	key_name(l, name, key);
	len = make_value(value, key, number);
	rc = dyn_put(run->bucket, dyn_str(name), *seen, slice(value, len), &call, &r);
	judge_time(l, began, key, rc);
	if (rc == 0) {
		atomic_store(&k->acked, number);
		atomic_fetch_add(&c->puts, 1);
		dyn_context_free(*seen);
		*seen = NULL;
		if (dyn_context_copy(seen, dyn_result_context(r)) != 0)
			abort();
	} else if (rc == DYN_EUNKNOWN) {
		atomic_fetch_add(&c->put_unknown, 1);
	} else {
		atomic_store(&k->failed[number], true);
		atomic_fetch_add(&c->put_failed, 1);
	}
	dyn_result_free(r);
	return rc == 0;
}

static void
write_or_read(struct load_run *run, unsigned key, dyn_context **seen, bool *unsure)
{
	dyn_result *r;

	if (*unsure) {
		r = read_key(run, key);
		if (r == NULL)
			return;
		dyn_context_free(*seen);
		*seen = NULL;
		if (dyn_context_copy(seen, dyn_result_context(r)) != 0)
			abort();
		dyn_result_free(r);
	}
	*unsure = !write_key(run, key, seen);
}

static void *
write_keys(void *arg)
{
	struct load_run *run = arg;
	struct load *l = run->load;
	unsigned me = atomic_fetch_add(&l->next_writer, 1) % l->writers;
	dyn_context *seen[LOAD_KEYS] = {NULL};
	bool unsure[LOAD_KEYS];

	for (unsigned k = 0; k < LOAD_KEYS; k++)
		unsure[k] = true; /* an earlier process may have written */
	for (unsigned k = me; !stopped(run); k += l->writers) {
		if (k >= l->keys)
			k = me;
		write_or_read(run, k, &seen[k], &unsure[k]);
		rest(l);
	}
	for (unsigned k = 0; k < LOAD_KEYS; k++)
		dyn_context_free(seen[k]);
	return NULL;
}

struct load_run *
load_start(struct load *l, dyn_bucket *b, unsigned writers, unsigned readers)
{
	struct load_run *run = calloc(1, sizeof(*run));

	if (run == NULL || writers + readers > THREADS_MAX)
		abort();
	run->load = l;
	run->bucket = b;
	for (unsigned i = 0; i < writers + readers; i++)
		if (pthread_create(&run->threads[run->count++], NULL,
			i < writers ? write_keys : read_keys, run) != 0)
			abort();
	return run;
}

void
load_stop(struct load_run *run)
{
	if (run == NULL)
		return;
	atomic_store(&run->stop, true);
	for (unsigned i = 0; i < run->count; i++)
		pthread_join(run->threads[i], NULL);
	free(run);
}

/* --------------------------------------------------------------- the test's */

void
load_check(const struct load *l)
{
	ck_assert_msg(atomic_load(&l->stale) == 0 && atomic_load(&l->phantom) == 0 &&
			  atomic_load(&l->revived) == 0 && atomic_load(&l->late) == 0,
	    "%u stale, %u phantom, %u revived, %u late; first: %s",
	    atomic_load(&l->stale), atomic_load(&l->phantom), atomic_load(&l->revived),
	    atomic_load(&l->late), l->text);
}

/* The largest number among the values of an answer. */
static unsigned
newest_of(unsigned key, const char *values)
{
	unsigned newest = 0;

	while (*values != '\0') {
		size_t len = strcspn(values, "|");

		newest = MAX(newest, read_value(key, slice(values, len)));
		values += len + (values[len] == '|');
	}
	return newest;
}

void
load_verify(struct load *l, struct proc *p, unsigned flags)
{
	for (unsigned key = 0; key < l->keys; key++) {
		struct proc_answer a;
		char name[32];
		struct proc_call c = {.key = name, .call = {.flags = flags}};
		unsigned acked = atomic_load(&l->key[key].acked), newest;

		key_name(l, name, key);
		ck_assert_msg(proc_get(p, &c, &a) == 0, "get: %s", dyn_strerror(a.rc));
		newest = newest_of(key, a.values);
		ck_assert_msg(newest >= acked, "key %u: read %u, acknowledged %u", key,
		    newest, acked);
		ck_assert_uint_le(newest, atomic_load(&l->key[key].started));
	}
}

void
load_await(struct load *l, unsigned puts, unsigned gets)
{
	struct load_count *c = &l->count[atomic_load(&l->phase)];

	TEST_WAIT(atomic_load(&c->puts) >= puts && atomic_load(&c->gets) >= gets, 30000);
}

void
load_phase(struct load *l, unsigned phase)
{
	ck_assert_uint_lt(phase, LOAD_PHASES);
	atomic_store(&l->phase, phase);
}
