/*
 * See common_bench.h.  A slot is one call in flight; its callback runs on a
 * thread of libdyn and starts the slot's next call there, so that the loop
 * costs no wake-up of another thread.  The main thread only watches the clock
 * and starts again the slots that were refused with DYN_EBUSY.
 *
 * The latency of a call is counted from its first try: waiting because of
 * DYN_EBUSY is part of it.
 */
#include "common_bench.h"
#include "common_table.h"
#include "common_util.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum slot_state { SLOT_RUNS, SLOT_PARKED, SLOT_ENDED };

struct run {
	dyn_bucket *bucket;
	const struct bench_options *options;
	struct bench_result *result;
	unsigned char *value;
	bool loading;               /* each key once, puts only */
	atomic_uint next_key;       /* of loading */
	atomic_uint_least64_t done; /* calls that ended */
	atomic_bool over;
};

struct slot {
	struct run *run;
	atomic_int state;
	uint64_t random;
	uint64_t started_us;
	bool get;
	char key[32];
};

static uint64_t
next_random(struct slot *s)
{
	uint64_t x = s->random += UINT64_C(0x9e3779b97f4a7c15);

	x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
	return x ^ x >> 31;
}

/* Choose the slot's next call; false if there is none. */
static bool
choose(struct slot *s)
{
	struct run *run = s->run;
	unsigned key;

	if (atomic_load(&run->over))
		return false;
	if (run->loading) {
		key = atomic_fetch_add(&run->next_key, 1);
		if (key >= run->options->keys)
			return false;
		s->get = false;
	} else {
		key = (unsigned)(next_random(s) % run->options->keys);
		s->get = next_random(s) % 100 < run->options->gets;
	}
	snprintf(s->key, sizeof(s->key), "bench/%09u", key);
	s->started_us = now_us();
	return true;
}

static void on_done(void *arg, int rc, dyn_result *result);

static int
start(struct slot *s)
{
	struct run *run = s->run;
	struct dyn_slice value = {.data = run->value, .len = run->options->size};
	struct dyn_call call = run->options->call;

	if (s->get)
		return dyn_get_async(run->bucket, dyn_str(s->key), &call, on_done, s);
	/* A blind write of a load generator; an application has a context. */
	call.flags |= DYN_OVERWRITE;
	return dyn_put_async(
	    run->bucket, dyn_str(s->key), NULL, value, &call, on_done, s);
}

static void
count(struct slot *s, int rc, const dyn_result *result)
{
	struct bench_result *r = s->run->result;
	int none = 0;

	atomic_fetch_add_explicit(&s->run->done, 1, memory_order_relaxed);
	if (rc != 0) {
		atomic_fetch_add(rc == DYN_EUNKNOWN ? &r->unknown : &r->failed, 1);
		atomic_compare_exchange_strong(&r->first_error, &none, rc);
		return;
	}
	if (s->run->loading)
		return;
	hist_add(s->get ? &r->get : &r->put, now_us() - s->started_us);
	if (s->get && dyn_result_count(result) == 0)
		atomic_fetch_add(&r->missing, 1);
}

/* Start calls until one is under way, or none is left, or libdyn is full. */
static void
advance(struct slot *s, bool again)
{
	int rc;

	while (again || choose(s)) {
		again = false;
		rc = start(s);
		if (rc == 0)
			return;
		if (rc == DYN_EBUSY) {
			atomic_fetch_add(&s->run->result->busy, 1);
			atomic_store(&s->state, SLOT_PARKED);
			return;
		}
		count(s, rc, NULL);
		atomic_store(&s->run->over, true); /* it would fail for ever */
	}
	atomic_store(&s->state, SLOT_ENDED);
}

static void
on_done(void *arg, int rc, dyn_result *result)
{
	struct slot *s = arg;

	if (rc == DYN_EBUSY) {
		atomic_fetch_add(&s->run->result->busy, 1);
		atomic_store(&s->state, SLOT_PARKED);
		return;
	}
	count(s, rc, result);
	dyn_result_free(result);
	advance(s, false);
}

static void
show_progress(struct run *run, uint64_t begun_us)
{
	double seconds = (double)(now_us() - begun_us) / 1e6;
	uint64_t done = atomic_load(&run->done);

	fprintf(stderr, "\r%s %.0f s, %" PRIu64 " calls, %.0f/s   ",
	    run->loading ? "writing the keys:" : "running:", seconds, done,
	    (double)done / seconds);
}

/* Wake parked slots; true if all have ended. */
static bool
tend(struct slot *slots, unsigned count_of)
{
	unsigned ended = 0;

	for (unsigned i = 0; i < count_of; i++) {
		switch (atomic_load(&slots[i].state)) {
		case SLOT_ENDED:
			ended++;
			break;
		case SLOT_PARKED:
			atomic_store(&slots[i].state, SLOT_RUNS);
			advance(&slots[i], true);
			break;
		default:
			break;
		}
	}
	return ended == count_of;
}

/* One phase: returns its microseconds. */
static uint64_t
drive(struct run *run, struct slot *slots, uint64_t limit_us)
{
	static const struct timespec nap = {.tv_nsec = 1000000};
	uint64_t begun = now_us(), shown = begun;
	unsigned inflight = run->options->inflight;

	atomic_store(&run->done, 0);
	for (unsigned i = 0; i < inflight; i++) {
		slots[i].run = run;
		slots[i].random = i;
		atomic_store(&slots[i].state, SLOT_RUNS);
		advance(&slots[i], false);
	}
	while (!tend(slots, inflight)) {
		nanosleep(&nap, NULL);
		if (limit_us > 0 && now_us() - begun >= limit_us)
			atomic_store(&run->over, true);
		if (run->options->progress && now_us() - shown > 500000) {
			shown = now_us();
			show_progress(run, begun);
		}
	}
	if (run->options->progress && shown != begun)
		fputs("\r\033[K", stderr);
	return now_us() - begun;
}

int
bench_run(
    dyn_bucket *bucket, const struct bench_options *options, struct bench_result *result)
{
	struct run run = {.bucket = bucket, .options = options, .result = result};
	struct slot *slots = calloc(options->inflight, sizeof(*slots));
	int rc = DYN_ENOMEM;

	run.value = malloc(options->size + 1);
	if (slots == NULL || run.value == NULL)
		goto done;
	for (size_t i = 0; i < options->size; i++)
		run.value[i] = (unsigned char)(i * 131 >> 3 ^ i);
	run.loading = true;
	result->load_us = drive(&run, slots, 0);
	rc = atomic_load(&result->first_error);
	if (rc != 0)
		goto done;
	run.loading = false;
	result->run_us = drive(&run, slots, (uint64_t)options->seconds * 1000000);
	rc = 0;
done:
	free(run.value);
	free(slots);
	return rc;
}

/* ------------------------------------------------------------------ results */

static double
per_second(uint64_t calls, uint64_t us)
{
	return us == 0 ? 0 : (double)calls * 1e6 / (double)us;
}

static void
print_row(struct table *t, const char *name, struct hist *h, uint64_t run_us)
{
	char text[16];
	double shares[] = {0.5, 0.99, 0.999};

	table_cell(t, "%s", name);
	table_cell(t, "%" PRIu64, hist_count(h));
	table_cell(t, "%.0f", per_second(hist_count(h), run_us));
	table_cell(t, "%s", time_text(hist_mean(h), text));
	for (int i = 0; i < 3; i++)
		table_cell(t, "%s", time_text(hist_percentile(h, shares[i]), text));
	table_cell(t, "%s", time_text(hist_max(h), text));
}

void
bench_print(FILE *out, const struct bench_options *o, struct bench_result *r)
{
	int error = atomic_load(&r->first_error);
	struct table t;

	fprintf(out, "%u keys of %zu bytes written in %.2f s (%.0f puts/s)\n", o->keys,
	    o->size, (double)r->load_us / 1e6, per_second(o->keys, r->load_us));
	fprintf(out, "then %.2f s of %u %% gets and %u %% puts, %u in flight:\n",
	    (double)r->run_us / 1e6, o->gets, 100 - o->gets, o->inflight);
	table_init(&t, "lrrrrrrr", "CALL|COUNT|PER SECOND|MEAN|P50|P99|P99.9|MAX");
	if (hist_count(&r->get) > 0)
		print_row(&t, "get", &r->get, r->run_us);
	if (hist_count(&r->put) > 0)
		print_row(&t, "put", &r->put, r->run_us);
	table_print(&t, out, "");
	fprintf(out, "failed %" PRIu64 ", unknown %" PRIu64, atomic_load(&r->failed),
	    atomic_load(&r->unknown));
	fprintf(out, ", busy and tried again %" PRIu64 ", not found %" PRIu64 "\n",
	    atomic_load(&r->busy), atomic_load(&r->missing));
	if (error != 0)
		fprintf(out, "first error: %s\n", dyn_strerror(error));
}

static void
json_hist(struct json *j, const char *name, struct hist *h, uint64_t run_us)
{
	json_open(j, name, '{');
	json_number(j, "count", hist_count(h));
	json_real(j, "per_second", per_second(hist_count(h), run_us));
	json_number(j, "mean_us", hist_mean(h));
	json_number(j, "p50_us", hist_percentile(h, 0.5));
	json_number(j, "p90_us", hist_percentile(h, 0.9));
	json_number(j, "p99_us", hist_percentile(h, 0.99));
	json_number(j, "p999_us", hist_percentile(h, 0.999));
	json_number(j, "max_us", hist_max(h));
	json_close(j, '}');
}

void
bench_json(FILE *out, const struct bench_options *o, struct bench_result *r)
{
	struct json j = {.out = out};

	json_open(&j, NULL, '{');
	json_number(&j, "inflight", o->inflight);
	json_number(&j, "keys", o->keys);
	json_number(&j, "size", o->size);
	json_number(&j, "gets_percent", o->gets);
	json_number(&j, "load_us", r->load_us);
	json_number(&j, "run_us", r->run_us);
	json_hist(&j, "get", &r->get, r->run_us);
	json_hist(&j, "put", &r->put, r->run_us);
	json_number(&j, "failed", atomic_load(&r->failed));
	json_number(&j, "unknown", atomic_load(&r->unknown));
	json_number(&j, "busy", atomic_load(&r->busy));
	json_number(&j, "missing", atomic_load(&r->missing));
	json_string(&j, "first_error", dyn_strerror(atomic_load(&r->first_error)));
	json_close(&j, '}');
	putc('\n', out);
}
