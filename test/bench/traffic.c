/* Clients, and the judge. */
#include "bench/traffic.h"

#include "base/timer.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

enum { THREADS_MAX = 64, RETRY_MS = 100, FILL_WAIT_S = 600, TIMEOUT_MS = 2000 };

/* A thread of a client: it has the keys number, number + threads, ... */
struct hand {
	struct traffic *traffic;
	dyn_bucket *bucket;
	pthread_t thread;
	unsigned number, seed;
};

/* ------------------------------------------------------------------- values */

static void
key_name(char name[32], unsigned key)
{
	snprintf(name, 32, "row-%u", key);
}

/* "key number", and a filling that depends on both. */
static void
make_value(char value[TRAFFIC_SIZE], unsigned key, unsigned number)
{
	int len = snprintf(value, TRAFFIC_SIZE, "%u %u ", key, number);

	memset(value + len, 'a' + (int)((key + number) % 26), (size_t)(TRAFFIC_SIZE - len));
}

/* The number a value holds, 0 if nobody wrote it like that. */
static unsigned
read_value(unsigned key, struct dyn_slice value)
{
	char text[32], expected[TRAFFIC_SIZE];
	unsigned k = 0, number = 0;

	if (value.len != TRAFFIC_SIZE)
		return 0;
	memcpy(text, value.data, sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	if (sscanf(text, "%u %u ", &k, &number) != 2 || k != key)
		return 0;
	make_value(expected, key, number);
	return memcmp(expected, value.data, TRAFFIC_SIZE) == 0 ? number : 0;
}

static unsigned
newest_of(unsigned key, const dyn_result *r)
{
	unsigned newest = 0;

	for (size_t i = 0; i < dyn_result_count(r); i++)
		newest = MAX(newest, read_value(key, dyn_result_value(r, i)));
	return newest;
}

/* -------------------------------------------------------------------- calls */

static struct traffic_count *
count_of(const struct hand *h, enum traffic_op op)
{
	return &h->traffic->count[atomic_load(&h->traffic->phase)][op];
}

static void
ended(struct traffic_count *c, unsigned tries, uint64_t began, int rc)
{
	unsigned at;

	atomic_fetch_add(&c->calls, 1);
	atomic_fetch_add(&c->again, tries > 0);
	atomic_fetch_add(&c->failed, rc != 0);
	if (rc == 0) {
		at = atomic_fetch_add(&c->samples, 1u);
		if (at < TRAFFIC_SAMPLES)
			c->us[at] = (uint32_t)((test_now() - began) / NS_PER_US);
	}
}

/* Whether a call that brought rc is made again. */
static bool
again(struct hand *h, int rc, unsigned *tries)
{
	if (rc == 0)
		return false;
	atomic_store(&h->traffic->last_rc, rc);
	if (*tries == TRAFFIC_RETRIES)
		return false;
	++*tries;
	test_sleep_ms(RETRY_MS);
	return true;
}

/* NULL: it failed each time. */
static dyn_result *
get(struct hand *h, unsigned key)
{
	struct traffic_count *c = count_of(h, TRAFFIC_GET);
	unsigned acked = atomic_load(&h->traffic->acked[key]), tries = 0;
	struct dyn_call call = {.timeout_ms = TIMEOUT_MS};
	uint64_t began = test_now();
	dyn_result *r = NULL;
	char name[32];
	int rc;

	key_name(name, key);
	do
		rc = dyn_get(h->bucket, dyn_str(name), &call, &r);
	while (again(h, rc, &tries));
	ended(c, tries, began, rc);
	if (rc == 0 && newest_of(key, r) < acked)
		atomic_fetch_add(&c->stale, 1);
	return r;
}

static void
put(struct hand *h, unsigned key, const dyn_context *seen)
{
	struct traffic *t = h->traffic;
	struct traffic_count *c = count_of(h, TRAFFIC_PUT);
	struct dyn_call call = {.timeout_ms = TIMEOUT_MS, .durability = t->durability};
	unsigned number = atomic_fetch_add(&t->started[key], 1) + 1, tries = 0;
	char name[32], value[TRAFFIC_SIZE];
	uint64_t began = test_now();
	int rc;

	key_name(name, key);
	make_value(value, key, number);
	do
		rc = dyn_put(h->bucket, dyn_str(name), seen, slice(value, sizeof(value)),
		    &call, NULL);
	while (again(h, rc, &tries));
	ended(c, tries, began, rc);
	if (rc == 0)
		atomic_store(&t->acked[key], number);
}

/* ------------------------------------------------------------------ a client */

static void
rest(const struct traffic *t)
{
	struct timespec pause = {0, (long)t->pause_us * 1000};

	nanosleep(&pause, NULL);
}

static void
fill(struct hand *h)
{
	for (unsigned k = h->number; k < h->traffic->keys; k += h->traffic->threads)
		put(h, k, NULL);
}

static void
check(struct hand *h)
{
	struct traffic *t = h->traffic;

	for (unsigned k = h->number; k < t->keys; k += t->threads) {
		unsigned acked = atomic_load(&t->acked[k]);
		dyn_result *r = get(h, k);
		unsigned newest = r != NULL ? newest_of(k, r) : 0;

		if (newest < acked || newest > atomic_load(&t->started[k]))
			atomic_fetch_add(&t->lost, 1);
		dyn_result_free(r);
	}
}

/* Read one of its keys, write it. */
static void
turn(struct hand *h)
{
	struct traffic *t = h->traffic;
	unsigned mine = (t->keys - h->number + t->threads - 1) / t->threads;
	unsigned key = h->number + (unsigned)rand_r(&h->seed) % mine * t->threads;
	dyn_result *r = get(h, key);

	rest(t);
	if (r == NULL)
		return;
	put(h, key, dyn_result_context(r));
	dyn_result_free(r);
	rest(t);
}

static void *
obey(void *arg)
{
	struct hand *h = arg;
	struct traffic *t = h->traffic;
	unsigned order, last = TRAFFIC_REST;

	while ((order = atomic_load(&t->order)) != TRAFFIC_END) {
		if (order == TRAFFIC_RUN) {
			turn(h);
		} else if (order == last) {
			test_sleep_ms(1);
		} else {
			if (order == TRAFFIC_FILL)
				fill(h);
			else if (order == TRAFFIC_CHECK)
				check(h);
			atomic_fetch_add(&t->at_rest, 1);
		}
		last = order;
	}
	return NULL;
}

static void
work(dyn_bucket *bucket, void *arg)
{
	struct traffic *t = arg;
	struct hand hands[THREADS_MAX];
	unsigned count = t->threads / TRAFFIC_CLIENTS;

	for (unsigned i = 0; i < count; i++) {
		hands[i] = (struct hand){.traffic = t, .bucket = bucket};
		hands[i].number = hands[i].seed = atomic_fetch_add(&t->next_thread, 1);
		if (pthread_create(&hands[i].thread, NULL, obey, &hands[i]) != 0)
			abort();
	}
	for (unsigned i = 0; i < count; i++)
		pthread_join(hands[i].thread, NULL);
}

/* --------------------------------------------------------------- the test's */

struct traffic *
traffic_new(unsigned keys, unsigned threads)
{
	struct traffic *t = mmap(NULL, sizeof(*t), PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	ck_assert_ptr_ne(t, MAP_FAILED);
	ck_assert_uint_le(keys, TRAFFIC_KEYS);
	ck_assert_uint_ge(keys, threads);
	ck_assert_uint_eq(threads % TRAFFIC_CLIENTS, 0);
	ck_assert_uint_le(threads / TRAFFIC_CLIENTS, THREADS_MAX);
	t->keys = keys;
	t->threads = threads;
	t->client = calloc(TRAFFIC_CLIENTS, sizeof(*t->client));
	ck_assert_ptr_nonnull(t->client);
	return t;
}

void
traffic_open(struct traffic *t, const struct ring *r)
{
	for (unsigned i = 0; i < TRAFFIC_CLIENTS; i++) {
		ring_client(r, &t->client[i]);
		proc_work_begin(&t->client[i], work, t);
	}
}

void
traffic_do(struct traffic *t, enum traffic_order order)
{
	uint64_t until = test_now() + FILL_WAIT_S * NS_PER_S;

	atomic_store(&t->at_rest, 0);
	atomic_store(&t->order, order);
	while (order != TRAFFIC_RUN && order != TRAFFIC_END &&
	       atomic_load(&t->at_rest) < t->threads) {
		ck_assert_msg(test_now() < until, "the clients do not end: %s",
		    dyn_strerror(atomic_load(&t->last_rc)));
		test_sleep_ms(5);
	}
}

void
traffic_close(struct traffic *t)
{
	traffic_do(t, TRAFFIC_END);
	for (unsigned i = 0; i < TRAFFIC_CLIENTS; i++) {
		proc_work_end(&t->client[i]);
		ck_assert_int_eq(proc_close(&t->client[i], 5000), 0);
	}
	free(t->client);
	munmap(t, sizeof(*t));
}

static int
by_size(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

static uint64_t
percentile(const struct traffic *t, unsigned phase, unsigned first, unsigned end,
    unsigned per_thousand)
{
	uint32_t *all = malloc(TRAFFIC_OPS * sizeof(t->count[0][0].us)), us;
	size_t count = 0;

	ck_assert_ptr_nonnull(all);
	for (unsigned op = first; op < end; op++) {
		const struct traffic_count *c = &t->count[phase][op];
		unsigned n = MIN(atomic_load(&c->samples), (unsigned)TRAFFIC_SAMPLES);

		memcpy(all + count, c->us, n * sizeof(*all));
		count += n;
	}
	ck_assert_uint_gt(count, 0);
	qsort(all, count, sizeof(*all), by_size);
	us = all[(count - 1) * per_thousand / 1000];
	free(all);
	return us;
}

uint64_t
traffic_percentile(const struct traffic *t, unsigned phase, unsigned per_thousand)
{
	return percentile(t, phase, 0, TRAFFIC_OPS, per_thousand);
}

uint64_t
traffic_percentile_of(
    const struct traffic *t, unsigned phase, enum traffic_op op, unsigned per_thousand)
{
	return percentile(t, phase, op, (unsigned)op + 1, per_thousand);
}
