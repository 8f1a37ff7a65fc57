/*
 * Goal: an engine keeps the contract of <dyn.h> section 7, whatever it does in
 * the background.
 * Method: the same tests for the memory engine, the SQLite engine as shipped,
 * and the SQLite engine with sizes so small that it folds, trims and
 * checkpoints all the time.  Random operations are compared with a model that
 * is an array; then readers in threads beside the writer.
 */
#include "../test.h"
#include "base/rng.h"
#include "host/engine.h"

#include <pthread.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum kind { MEMORY, SQLITE, BUSY_SQLITE, KINDS };

static const struct engine_tuning tiny = {
    .fold_bytes = 6000, .idle_bytes = 1500, .checkpoint_pages = 200};

static struct dyn_engine *
open_engine(enum kind kind, const char *path)
{
	struct dyn_engine *e = NULL;
	struct dyn_error error = {0};
	int rc;

	if (kind == MEMORY)
		rc = dyn_engine_memory(&e);
	else
		rc = engine_sqlite_open(
		    &e, path, kind == BUSY_SQLITE ? &tiny : NULL, &error);
	ck_assert_msg(rc == 0, "open: %d %s", rc, error.text);
	ck_assert_uint_eq(e->size, sizeof(*e));
	return e;
}

static struct dyn_row
row(enum dyn_space space, const char *id, const char *value)
{
	struct dyn_row r = {.space = space, .id = slice(id, strlen(id))};

	if (value != NULL)
		r.value = slice(value, strlen(value));
	return r;
}

static void
put(struct dyn_engine *e, const char *id, const char *value)
{
	struct dyn_row r = row(DYN_SPACE_DATA, id, value);

	ck_assert_int_eq(e->apply(e->self, &r, 1, DYN_DURABLE_OS), 0);
}

/* The value as a string, "-" if there is none, "!<code>" for an error. */
static const char *
value_of(struct dyn_engine *e, enum dyn_space space, const char *id)
{
	static char text[4096];
	struct dyn_buffer b = {0};
	int rc = e->get(e->self, space, slice(id, strlen(id)), &b);

	if (rc == 0)
		snprintf(text, sizeof(text), "%.*s", (int)b.len, (const char *)b.data);
	else if (rc == DYN_ENOTFOUND)
		snprintf(text, sizeof(text), "-");
	else
		snprintf(text, sizeof(text), "!%d", rc);
	dyn_buffer_free(&b);
	return text;
}

static int
list(void *arg, struct dyn_slice id, struct dyn_slice value)
{
	char *text = arg;
	size_t len = strlen(text);

	snprintf(text + len, 4096 - len, "%.*s=%.*s ", (int)id.len, (const char *)id.data,
	    (int)value.len, (const char *)value.data);
	return 0;
}

static const char *
scan_text(struct dyn_engine *e, enum dyn_space space, const char *after, const char *last)
{
	static char text[4096];
	struct dyn_slice none = slice(NULL, 0);

	text[0] = '\0';
	ck_assert_int_eq(
	    e->scan(e->self, space, after != NULL ? slice(after, strlen(after)) : none,
		last != NULL ? slice(last, strlen(last)) : none, list, text),
	    0);
	return text;
}

/* ---------------------------------------------------------------- examples */

START_TEST(put_get_remove)
{
	struct dyn_engine *e =
	    open_engine((enum kind)_i, test_path(test_dir(), "data.db"));
	struct dyn_row rows[] = {
	    row(DYN_SPACE_DATA, "a", "1"),
	    row(DYN_SPACE_DATA, "b", "2"),
	    row(DYN_SPACE_META, "a", "meta"),
	    row(DYN_SPACE_DATA, "b", "3"),
	    row(DYN_SPACE_DATA, "c", "4"),
	    row(DYN_SPACE_DATA, "c", NULL),
	    row(DYN_SPACE_HINT, "", ""),
	};
	struct dyn_engine_info info;

	ck_assert_str_eq(value_of(e, DYN_SPACE_DATA, "a"), "-");
	ck_assert_int_eq(e->apply(e->self, rows, ARRAY_LEN(rows), DYN_DURABLE_DISK), 0);
	ck_assert_str_eq(value_of(e, DYN_SPACE_DATA, "a"), "1");
	ck_assert_str_eq(value_of(e, DYN_SPACE_DATA, "b"), "3"); /* the later one */
	ck_assert_str_eq(value_of(e, DYN_SPACE_DATA, "c"), "-");
	ck_assert_str_eq(value_of(e, DYN_SPACE_META, "a"), "meta");
	ck_assert_str_eq(value_of(e, DYN_SPACE_META, "b"), "-");
	ck_assert_str_eq(value_of(e, DYN_SPACE_HINT, ""), ""); /* empty is a value */
	put(e, "a", NULL);
	put(e, "never there", NULL);
	ck_assert_str_eq(value_of(e, DYN_SPACE_DATA, "a"), "-");
	ck_assert_int_eq(e->info(e->self, &info), 0);
	ck_assert_uint_le(info.rows, 1);
	ck_assert_int_eq(e->apply(e->self, NULL, 0, DYN_DURABLE_DISK), 0);
	ck_assert_int_eq(e->sync(e->self), 0);
	ck_assert_int_eq(e->close(e->self), 0);
}
END_TEST

static uint64_t
rows_of(struct dyn_engine *e)
{
	struct dyn_engine_info info;

	ck_assert_int_eq(e->info(e->self, &info), 0);
	return info.rows;
}

/* Rows that come and go once are counted right at any moment of a fold. */
START_TEST(counts_while_it_folds)
{
	static const struct engine_tuning slow = {
	    .fold_bytes = 1 << 20, .idle_bytes = 1, .checkpoint_pages = 200};
	struct dyn_engine *e = NULL;
	struct dyn_error error;
	unsigned slices = 0;
	char id[16];

	ck_assert_int_eq(engine_sqlite_open(
	    &e, test_path(test_dir(), "data.db"), &slow, &error), 0);
	for (int pass = 0; pass < 2; pass++) {
		for (int i = pass * 1000; i < 4000; i++) {
			snprintf(id, sizeof(id), "%05d", i);
			put(e, id, pass == 0 ? "0123456789012345678901234567890123456789" : NULL);
		}
		do {
			ck_assert_uint_eq(rows_of(e), pass == 0 ? 4000 : 1000);
			slices++;
		} while (e->idle(e->self) == 1);
		ck_assert_uint_eq(rows_of(e), pass == 0 ? 4000 : 1000);
	}
	ck_assert_uint_gt(slices, 6);
	ck_assert_int_eq(e->close(e->self), 0);
}
END_TEST

/* get appends: what is in the buffer stays. */
START_TEST(get_appends)
{
	struct dyn_engine *e =
	    open_engine((enum kind)_i, test_path(test_dir(), "data.db"));
	struct dyn_buffer b = {0};

	put(e, "k", "world");
	ck_assert_int_eq(dyn_buffer_append(&b, "hello ", 6), 0);
	ck_assert_int_eq(e->get(e->self, DYN_SPACE_DATA, slice("k", 1), &b), 0);
	ck_assert(slice_equal(slice(b.data, b.len), slice("hello world", 11)));
	ck_assert_int_eq(
	    e->get(e->self, DYN_SPACE_DATA, slice("q", 1), &b), DYN_ENOTFOUND);
	ck_assert_uint_eq(b.len, 11);
	dyn_buffer_free(&b);
	ck_assert_int_eq(e->close(e->self), 0);
}
END_TEST

START_TEST(scan_limits)
{
	struct dyn_engine *e =
	    open_engine((enum kind)_i, test_path(test_dir(), "data.db"));

	put(e, "a", "1");
	put(e, "aa", "2");
	put(e, "ab", "3");
	put(e, "b", "4");
	ck_assert_str_eq(scan_text(e, DYN_SPACE_DATA, NULL, NULL), "a=1 aa=2 ab=3 b=4 ");
	ck_assert_str_eq(scan_text(e, DYN_SPACE_DATA, "a", "ab"), "aa=2 ab=3 ");
	ck_assert_str_eq(scan_text(e, DYN_SPACE_DATA, "a0", "aaz"), "aa=2 ");
	ck_assert_str_eq(scan_text(e, DYN_SPACE_DATA, "b", NULL), "");
	ck_assert_str_eq(scan_text(e, DYN_SPACE_META, NULL, NULL), "");
	ck_assert_int_eq(
	    e->drop(e->self, DYN_SPACE_DATA, slice("a", 1), slice("ab", 2)), 0);
	ck_assert_str_eq(scan_text(e, DYN_SPACE_DATA, NULL, NULL), "b=4 ");
	ck_assert_int_eq(
	    e->drop(e->self, DYN_SPACE_DATA, slice("z", 1), slice("b", 1)), 0);
	ck_assert_str_eq(scan_text(e, DYN_SPACE_DATA, NULL, NULL), "b=4 ");
	ck_assert_int_eq(
	    e->drop(e->self, DYN_SPACE_DATA, slice("b", 1), slice("b", 1)), 0);
	ck_assert_str_eq(scan_text(e, DYN_SPACE_DATA, NULL, NULL), "");
	ck_assert_int_eq(e->close(e->self), 0);
}
END_TEST

/* The visitor may call the engine, and may end the scan. */
static int
visit_and_get(void *arg, struct dyn_slice id, struct dyn_slice value)
{
	struct dyn_engine *e = arg;
	struct dyn_buffer b = {0};

	ck_assert_int_eq(e->get(e->self, DYN_SPACE_DATA, id, &b), 0);
	ck_assert(slice_equal(slice(b.data, b.len), value));
	dyn_buffer_free(&b);
	return ((const char *)id.data)[0] == 'b';
}

START_TEST(scan_visitor_may_call)
{
	struct dyn_engine *e =
	    open_engine((enum kind)_i, test_path(test_dir(), "data.db"));

	put(e, "a", "1");
	put(e, "b", "2");
	put(e, "c", "3");
	ck_assert_int_eq(e->scan(e->self, DYN_SPACE_DATA, slice(NULL, 0), slice(NULL, 0),
			     visit_and_get, e),
	    0);
	ck_assert_int_eq(e->close(e->self), 0);
}
END_TEST

/* Values from nothing to several parts of one batch. */
START_TEST(big_values)
{
	static const size_t lens[] = {
	    0, 1, 4000, 5000, 100000, 9u << 20, 3u << 20, 6u << 20};
	const char *path = test_path(test_dir(), "data.db");
	struct dyn_engine *e = open_engine((enum kind)_i, path);
	struct dyn_row rows[ARRAY_LEN(lens)];
	unsigned char *bytes = malloc((9u << 20) + 16);
	char id[ARRAY_LEN(lens)];

	for (size_t i = 0; i < (9u << 20) + 16; i++)
		bytes[i] = (unsigned char)(i * 2654435761u >> 13);
	for (size_t i = 0; i < ARRAY_LEN(lens); i++) {
		id[i] = (char)('a' + i);
		rows[i] = (struct dyn_row){
		    DYN_SPACE_DATA, slice(&id[i], 1), slice(bytes + i, lens[i])};
	}
	ck_assert_int_eq(e->apply(e->self, rows, ARRAY_LEN(lens), DYN_DURABLE_DISK), 0);
	for (int round = 0; round < 2; round++) {
		for (size_t i = 0; i < ARRAY_LEN(lens); i++) {
			struct dyn_buffer b = {0};

			ck_assert_int_eq(
			    e->get(e->self, DYN_SPACE_DATA, slice(&id[i], 1), &b), 0);
			ck_assert(slice_equal(slice(b.data, b.len), rows[i].value));
			dyn_buffer_free(&b);
		}
		if (_i == MEMORY)
			break;
		while (e->idle(e->self) == 1)
			;
		if (round == 0) {
			ck_assert_int_eq(e->close(e->self), 0);
			e = open_engine((enum kind)_i, path);
		}
	}
	ck_assert_int_eq(e->close(e->self), 0);
	free(bytes);
}
END_TEST

/* What is overwritten does not stay in memory for ever. */
START_TEST(memory_is_bounded)
{
	struct dyn_engine *e =
	    open_engine((enum kind)_i, test_path(test_dir(), "data.db"));
	static char value[1000];
	struct dyn_row r = {DYN_SPACE_DATA, slice("k", 1), slice(value, sizeof(value))};

	for (int i = 0; i < 20000; i++)
		ck_assert_int_eq(e->apply(e->self, &r, 1, DYN_DURABLE_MEMORY), 0);
	ck_assert_int_lt(mem_balance(), _i == SQLITE ? 50000 : 12000);
	ck_assert_int_eq(e->close(e->self), 0);
}
END_TEST

START_TEST(bad_arguments)
{
	struct dyn_engine *e =
	    open_engine((enum kind)_i, test_path(test_dir(), "data.db"));
	struct dyn_row bad = row((enum dyn_space)7, "a", "1");
	struct dyn_buffer b = {0};

	ck_assert_int_eq(e->apply(e->self, &bad, 1, DYN_DURABLE_DISK), DYN_EINVAL);
	ck_assert_int_eq(
	    e->get(e->self, (enum dyn_space)7, slice("a", 1), &b), DYN_EINVAL);
	ck_assert_int_eq(e->scan(e->self, (enum dyn_space)7, slice(NULL, 0),
			     slice(NULL, 0), list, NULL),
	    DYN_EINVAL);
	ck_assert_int_eq(
	    e->drop(e->self, DYN_SPACE_DATA, slice(NULL, 0), slice("a", 1)), DYN_EINVAL);
	ck_assert_int_eq(e->close(e->self), 0);
	ck_assert_int_eq(dyn_engine_memory(NULL), DYN_EINVAL);
	ck_assert_int_eq(dyn_engine_sqlite(NULL, "x", NULL), DYN_EINVAL);
	ck_assert_int_eq(dyn_engine_sqlite(&e, NULL, NULL), DYN_EINVAL);
}
END_TEST

/* ------------------------------------------------------------ random model */

#define MODEL_IDS 300

/* Ids: "" , prefixes of each other, and ids that share the first 8 bytes. */
static struct dyn_slice
model_id(unsigned i, char text[32])
{
	size_t len = 0;

	if (i % 3 == 0)
		len = (size_t)snprintf(text, 32, "samefirst8bytes%u", i);
	else if (i > 2)
		len = (size_t)snprintf(text, 32, "%c%u", 'a' + (int)(i % 7), i / 3);
	text[len] = '\0';
	if (i == 1)
		len = 0;
	if (i == 2)
		len = 1; /* a zero byte */
	return slice(text, len);
}

struct model {
	uint64_t value[DYN_SPACE_COUNT][MODEL_IDS]; /* 0 = none */
};

static struct dyn_slice
model_value(uint64_t v, char text[600])
{
	size_t len = (size_t)(v % 500);

	memset(text, 'v', 600);
	memcpy(text, &v, sizeof(v));
	return slice(text, sizeof(v) + len);
}

static void
model_apply(struct model *m, struct dyn_engine *e, struct rng *rng)
{
	static char ids[40][32], values[40][600];
	struct dyn_row rows[40];
	size_t count = 1 + rng_below(rng, rng_below(rng, 4) == 0 ? 40 : 4);

	for (size_t i = 0; i < count; i++) {
		unsigned id = (unsigned)rng_below(rng, MODEL_IDS);
		uint64_t v = rng_below(rng, 4) == 0 ? 0 : rng_next(rng) | 1;

		rows[i].space = (enum dyn_space)rng_below(rng, DYN_SPACE_COUNT);
		rows[i].id = model_id(id, ids[i]);
		rows[i].value = v != 0 ? model_value(v, values[i]) : slice(NULL, 0);
		m->value[rows[i].space][id] = v;
	}
	ck_assert_int_eq(
	    e->apply(e->self, rows, count,
		rng_below(rng, 100) == 0 ? DYN_DURABLE_DISK : DYN_DURABLE_OS),
	    0);
}

static void
model_check_get(const struct model *m, struct dyn_engine *e, unsigned space, unsigned id)
{
	char text[32], value[600];
	struct dyn_buffer b = {0};
	uint64_t v = m->value[space][id];
	int rc = e->get(e->self, (enum dyn_space)space, model_id(id, text), &b);

	ck_assert_int_eq(rc, v != 0 ? 0 : DYN_ENOTFOUND);
	ck_assert(v == 0 || slice_equal(slice(b.data, b.len), model_value(v, value)));
	dyn_buffer_free(&b);
}

struct seen {
	const struct model *model;
	unsigned space;
	size_t count, stop;
	char previous[32];
	size_t previous_len;
	bool started;
};

static int
model_visit(void *arg, struct dyn_slice id, struct dyn_slice value)
{
	struct seen *s = arg;
	char text[32], bytes[600];
	unsigned i = 0;

	ck_assert(
	    !s->started || slice_compare(slice(s->previous, s->previous_len), id) < 0);
	while (i < MODEL_IDS && !slice_equal(model_id(i, text), id))
		i++;
	ck_assert_uint_lt(i, MODEL_IDS);
	ck_assert_uint_ne(s->model->value[s->space][i], 0);
	ck_assert(slice_equal(value, model_value(s->model->value[s->space][i], bytes)));
	memcpy(s->previous, id.data, id.len);
	s->previous_len = id.len;
	s->started = true;
	return ++s->count == s->stop;
}

static bool
in_range(struct dyn_slice id, struct dyn_slice after, struct dyn_slice last)
{
	return (after.data == NULL || slice_compare(after, id) < 0) &&
	       (last.data == NULL || slice_compare(id, last) <= 0);
}

static void
model_check_scan(
    const struct model *m, struct dyn_engine *e, unsigned space, struct rng *rng)
{
	char a[32], l[32], text[32];
	struct dyn_slice after = slice(NULL, 0), last = slice(NULL, 0);
	struct seen seen = {.model = m, .space = space};
	size_t expected = 0;

	if (rng_below(rng, 3) > 0)
		after = model_id((unsigned)rng_below(rng, MODEL_IDS), a);
	if (rng_below(rng, 3) > 0)
		last = model_id((unsigned)rng_below(rng, MODEL_IDS), l);
	if (rng_below(rng, 4) == 0)
		seen.stop = 1 + rng_below(rng, 20);
	for (unsigned i = 0; i < MODEL_IDS; i++)
		if (m->value[space][i] != 0 && in_range(model_id(i, text), after, last))
			expected++;
	ck_assert_int_eq(
	    e->scan(e->self, (enum dyn_space)space, after, last, model_visit, &seen), 0);
	ck_assert_uint_eq(
	    seen.count, seen.stop != 0 ? MIN(seen.stop, expected) : expected);
}

static void
model_drop(struct model *m, struct dyn_engine *e, struct rng *rng)
{
	char f[32], l[32], text[32];
	struct dyn_slice first = model_id((unsigned)rng_below(rng, MODEL_IDS), f);
	struct dyn_slice last = model_id((unsigned)rng_below(rng, MODEL_IDS), l);
	unsigned space = (unsigned)rng_below(rng, DYN_SPACE_COUNT);

	ck_assert_int_eq(e->drop(e->self, (enum dyn_space)space, first, last), 0);
	for (unsigned i = 0; i < MODEL_IDS; i++) {
		struct dyn_slice id = model_id(i, text);

		if (slice_compare(first, id) <= 0 && slice_compare(id, last) <= 0)
			m->value[space][i] = 0;
	}
}

static void
model_check_all(const struct model *m, struct dyn_engine *e)
{
	for (unsigned space = 0; space < DYN_SPACE_COUNT; space++) {
		struct seen seen = {.model = m, .space = space};
		size_t expected = 0;

		for (unsigned i = 0; i < MODEL_IDS; i++) {
			model_check_get(m, e, space, i);
			expected += m->value[space][i] != 0;
		}
		ck_assert_int_eq(e->scan(e->self, (enum dyn_space)space, slice(NULL, 0),
				     slice(NULL, 0), model_visit, &seen),
		    0);
		ck_assert_uint_eq(seen.count, expected);
	}
}

static void
model_step(struct model *m, struct dyn_engine **e, enum kind kind, const char *path,
    struct rng *rng)
{
	uint64_t what = rng_below(rng, 1000);

	if (what < 600) {
		model_apply(m, *e, rng);
	} else if (what < 900) {
		model_check_get(m, *e, (unsigned)rng_below(rng, DYN_SPACE_COUNT),
		    (unsigned)rng_below(rng, MODEL_IDS));
	} else if (what < 950) {
		model_check_scan(m, *e, (unsigned)rng_below(rng, DYN_SPACE_COUNT), rng);
	} else if (what < 954) {
		model_drop(m, *e, rng);
	} else if (what < 956 && kind != MEMORY) {
		ck_assert_int_eq((*e)->close((*e)->self), 0);
		*e = open_engine(kind, path);
	} else if (what < 990 && (*e)->idle != NULL) {
		ck_assert_int_ge((*e)->idle((*e)->self), 0);
	} else if (what < 992) {
		ck_assert_int_eq((*e)->sync((*e)->self), 0);
	}
}

/* After everything is folded, the totals are exact. */
static void
check_info(const struct model *m, struct dyn_engine *e, enum kind kind)
{
	struct dyn_engine_info info;
	uint64_t rows = 0;

	if (kind == SQLITE)
		return;
	while (e->idle != NULL && e->idle(e->self) == 1)
		;
	for (unsigned i = 0; i < MODEL_IDS; i++)
		rows += m->value[DYN_SPACE_DATA][i] != 0;
	ck_assert_int_eq(e->info(e->self, &info), 0);
	/* A few rows may still be in memory and counted twice. */
	ck_assert_uint_le(info.rows, rows + 20);
	ck_assert_uint_ge(info.rows + 20, rows);
}

START_TEST(random_operations)
{
	enum kind kind = (enum kind)(_i % KINDS);
	struct rng rng = {test_seed() + (uint64_t)_i};
	const char *path = test_path(test_dir(), "data.db");
	struct dyn_engine *e = open_engine(kind, path);
	struct model m = {0};

	for (int step = 0; step < 4000; step++)
		model_step(&m, &e, kind, path, &rng);
	model_check_all(&m, e);
	check_info(&m, e, kind);
	if (kind != MEMORY) {
		ck_assert_int_eq(e->close(e->self), 0);
		e = open_engine(kind, path);
		model_check_all(&m, e);
	}
	ck_assert_int_eq(e->close(e->self), 0);
	ck_assert_int_eq(mem_balance(), 0);
}
END_TEST

/* ------------------------------------------------------------------ threads */

#define SHARED_IDS 24

struct shared {
	struct dyn_engine *e;
	atomic_uint applied; /* batches for which apply has returned */
	atomic_bool stop;
	unsigned errors, reads;
};

static int
check_equal(void *arg, struct dyn_slice id, struct dyn_slice value)
{
	uint32_t *expected = arg, number;

	(void)id;
	memcpy(&number, value.data, sizeof(number));
	if (expected[0] == 0)
		expected[0] = number;
	expected[1] += number != expected[0];
	expected[2]++;
	return 0;
}

/* Scans see whole batches, and all that was applied before they began. */
static void *
scanner(void *arg)
{
	struct shared *s = arg;

	while (!atomic_load(&s->stop)) {
		uint32_t seen[3] = {0, 0, 0};
		unsigned before = atomic_load(&s->applied);
		int rc = s->e->scan(s->e->self, DYN_SPACE_DATA, slice(NULL, 0),
		    slice("m shared", 8), check_equal, seen);

		if (rc != 0 || seen[1] != 0 || seen[0] < before ||
		    (before > 0 && seen[2] != 13))
			s->errors++;
		s->reads++;
	}
	return NULL;
}

static void *
getter(void *arg)
{
	struct shared *s = arg;
	uint32_t last = 0, number;

	for (unsigned i = 0; !atomic_load(&s->stop); i++) {
		char id[] = "a shared";
		struct dyn_buffer b = {0};
		unsigned before = atomic_load(&s->applied);

		id[0] = (char)('a' + (int)(i % SHARED_IDS));
		if (s->e->get(s->e->self, DYN_SPACE_DATA, slice(id, 8), &b) == 0) {
			memcpy(&number, b.data, sizeof(number));
			if (number < before || number < last)
				s->errors++;
			last = number;
		} else if (before > 0) {
			s->errors++;
		}
		dyn_buffer_free(&b);
		s->reads++;
	}
	return NULL;
}

/* Batch b: all ids get b. */
static int
apply_shared(struct dyn_engine *e, uint32_t b)
{
	char ids[SHARED_IDS][9];
	struct dyn_row rows[SHARED_IDS];

	for (unsigned i = 0; i < SHARED_IDS; i++) {
		memcpy(ids[i], "a shared", 9);
		ids[i][0] = (char)('a' + (int)i);
		rows[i] = (struct dyn_row){
		    DYN_SPACE_DATA, slice(ids[i], 8), slice(&b, sizeof(b))};
	}
	return e->apply(e->self, rows, SHARED_IDS, DYN_DURABLE_OS);
}

START_TEST(readers_and_writer)
{
	struct dyn_engine *e =
	    open_engine((enum kind)_i, test_path(test_dir(), "data.db"));
	struct shared shared[4];
	pthread_t threads[4];
	uint64_t until = test_now() + 1000000000;
	uint32_t b = 1;

	memset(shared, 0, sizeof(shared));
	for (int i = 0; i < 4; i++) {
		shared[i].e = e;
		ck_assert_int_eq(pthread_create(&threads[i], NULL,
				     i % 2 ? getter : scanner, &shared[i]),
		    0);
	}
	for (; test_now() < until; b++) {
		ck_assert_int_eq(apply_shared(e, b), 0);
		for (int i = 0; i < 4; i++)
			atomic_store(&shared[i].applied, b);
		if (e->idle != NULL)
			(void)e->idle(e->self);
	}
	for (int i = 0; i < 4; i++) {
		atomic_store(&shared[i].stop, true);
		pthread_join(threads[i], NULL);
		ck_assert_uint_eq(shared[i].errors, 0);
		ck_assert_uint_gt(shared[i].reads, 10);
	}
	ck_assert_uint_gt(b, 50);
	ck_assert_int_eq(e->close(e->self), 0);
}
END_TEST

/* One bit of a value in the file. */
static void
flip(const char *path, const char *id)
{
	char sql[256];
	sqlite3 *db;

	snprintf(sql, sizeof(sql),
	    "UPDATE rows_0 SET value = CAST(substr(value, 1, length(value) - 1) || '~' AS BLOB) "
	    "WHERE id = CAST('%s' AS BLOB)", id);
	ck_assert_int_eq(sqlite3_open(path, &db), SQLITE_OK);
	ck_assert_int_eq(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
	ck_assert_int_eq(sqlite3_changes(db), 1);
	sqlite3_close(db);
}

/* A row that is not what was written is told by itself: all others can be read, and it
 * can be written, or removed, like any other. */
START_TEST(a_damaged_row_by_itself)
{
	const char *path = test_path(test_dir(), "data.db");
	struct dyn_engine *e = open_engine(SQLITE, path);
	struct dyn_error error;
	char damaged[32];

	put(e, "a", "1234");
	put(e, "b", "5678");
	put(e, "c", "9999");
	while (e->idle(e->self) == 1)
		continue;
	ck_assert_int_eq(e->close(e->self), 0);
	/* With nothing left to fold, the file has them. */
	ck_assert_int_eq(engine_sqlite_open(&e, path, &tiny, &error), 0);
	for (unsigned i = 0; i < 20; i++)
		put(e, "z", "much, so that the rest is folded; much, so that the rest is folded");
	while (e->idle(e->self) == 1)
		continue;
	ck_assert_int_eq(e->close(e->self), 0);
	flip(path, "b");
	e = open_engine(SQLITE, path);
	snprintf(damaged, sizeof(damaged), "!%d", DYN_ECORRUPT);
	ck_assert_str_eq(value_of(e, DYN_SPACE_DATA, "b"), damaged);
	ck_assert_str_eq(value_of(e, DYN_SPACE_DATA, "a"), "1234");
	ck_assert_str_eq(scan_text(e, DYN_SPACE_DATA, NULL, "c"), "a=1234 b= c=9999 ");
	put(e, "b", _i == 0 ? "new" : NULL);
	ck_assert_str_eq(value_of(e, DYN_SPACE_DATA, "b"), _i == 0 ? "new" : "-");
	ck_assert_str_eq(scan_text(e, DYN_SPACE_DATA, NULL, "c"),
	    _i == 0 ? "a=1234 b=new c=9999 " : "a=1234 c=9999 ");
	ck_assert_int_eq(e->close(e->self), 0);
}
END_TEST

static Suite *
engine_suite(void)
{
	Suite *s = suite_create("engine");
	TCase *t = tcase_create("contract");

	tcase_set_timeout(t, 120);
	tcase_add_loop_test(t, put_get_remove, 0, KINDS);
	tcase_add_loop_test(t, get_appends, 0, KINDS);
	tcase_add_test(t, counts_while_it_folds);
	tcase_add_loop_test(t, scan_limits, 0, KINDS);
	tcase_add_loop_test(t, scan_visitor_may_call, 0, KINDS);
	tcase_add_loop_test(t, big_values, 0, KINDS);
	tcase_add_loop_test(t, memory_is_bounded, 0, KINDS);
	tcase_add_loop_test(t, bad_arguments, 0, KINDS);
	tcase_add_loop_test(t, a_damaged_row_by_itself, 0, 2);
	tcase_add_loop_test(t, random_operations, 0, 4 * KINDS);
	tcase_add_loop_test(t, readers_and_writer, 0, KINDS);
	suite_add_tcase(s, t);
	return s;
}

TEST_MAIN(engine_suite)
