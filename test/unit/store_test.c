/*
 * The copies of one worker (store.c).
 *
 * Goal: what is read is the newest, committed or not; batches hold what was
 * waited for; a failed commit loses all that was built on it, and nothing else.
 * Method: by hand; then random changes against a plain map, with commits that
 * come late, fail, or are built on ones that failed.
 */
#include "test/core_script.h"

#include "test/unit/notation.h"

#include <stdio.h>

#define KEYS 6

struct world {
	struct store s;
	struct fake *f;
	struct buf *name[KEYS];
};

static void
begin(struct world *w)
{
	struct actor a = { 'a', 1 }, standin = { 'a', 1000 };

	memset(w, 0, sizeof(*w));
	w->f = fake_new();
	ck_assert_int_eq(store_init(&w->s, &w->f->engine, a, false, standin, 60000), 0);
	for (unsigned i = 0; i < KEYS; i++) {
		char key[8];

		snprintf(key, sizeof(key), "k%u", i);
		w->name[i] = key_name(key);
	}
}

static void
end(struct world *w)
{
	store_fini(&w->s);
	for (unsigned i = 0; i < KEYS; i++)
		buf_unref(w->name[i]);
	fake_free(w->f);
}

static int
put(struct world *w, unsigned key, const char *value, struct stored *out)
{
	struct mint m = { .value = dyn_str(value), .overwrite = true };

	return store_mint(&w->s, place_of_copy(buf_slice(w->name[key])), slice(NULL, 0), &m,
	    DYN_DURABLE_DISK, 1000, out);
}

static void
must_put(struct world *w, unsigned key, const char *value)
{
	struct stored s;

	ck_assert_int_eq(put(w, key, value, &s), 0);
	ck_assert(s.changed);
	buf_unref(s.object);
}

static void
must_merge(struct world *w, unsigned key, const char *object)
{
	struct buf *b = object_of(object);
	struct stored s;

	ck_assert_int_eq(store_merge(&w->s, place_of_copy(buf_slice(w->name[key])), buf_slice(b),
	    DYN_DURABLE_DISK, 1000, &s), 0);
	buf_unref(s.object);
	buf_unref(b);
}

static const char *
get(struct world *w, unsigned key)
{
	static char text[256];
	struct buf *b;

	ck_assert_int_eq(store_get(&w->s, place_of_copy(buf_slice(w->name[key])), &b), 0);
	snprintf(text, sizeof(text), "%s", versions_text(buf_slice(b)));
	buf_unref(b);
	return text;
}

static void
commit(struct world *w, struct batch *b, int rc)
{
	if (rc == 0)
		rc = w->f->engine.apply(w->f, b->rows, b->count, b->durability);
	store_committed(&w->s, b, rc);
}

START_TEST(newest_first)
{
	struct world w;
	struct batch *one, *two;

	begin(&w);
	ck_assert_str_eq(get(&w, 0), "");
	must_put(&w, 0, "x");
	ck_assert_str_eq(get(&w, 0), "a1 | a1=x");
	one = store_take(&w.s);
	must_put(&w, 0, "y");
	must_put(&w, 0, "z"); /* one row in the batch */
	must_put(&w, 1, "w");
	two = store_take(&w.s);
	ck_assert_ptr_null(store_take(&w.s));
	ck_assert_uint_eq(one->count, 1);
	ck_assert_uint_eq(two->count, 2);
	ck_assert_str_eq(versions_text(two->rows[0].value), "a3 | a3=z");
	commit(&w, one, 0);
	ck_assert_int_eq(store_state(&w.s, 1), 1);
	ck_assert_int_eq(store_state(&w.s, 2), 0);
	ck_assert_msg(w.s.overlay.count == 2, "the overlay is newer than what was committed");
	ck_assert_str_eq(get(&w, 0), "a3 | a3=z");
	commit(&w, two, 0);
	ck_assert_uint_eq(w.s.overlay.count, 0);
	ck_assert_uint_eq(w.s.overlay_bytes, 0);
	ck_assert_str_eq(get(&w, 0), "a3 | a3=z");
	ck_assert_str_eq(get(&w, 1), "a1 | a1=w");
	end(&w);
}
END_TEST

START_TEST(a_failure_takes_what_came_after_with_it)
{
	struct world w;
	struct batch *b[3];

	begin(&w);
	must_put(&w, 0, "x");
	commit(&w, store_take(&w.s), 0);
	must_put(&w, 0, "y");
	b[0] = store_take(&w.s);
	must_put(&w, 0, "z");
	b[1] = store_take(&w.s);
	must_put(&w, 1, "open");
	store_committed(&w.s, b[0], DYN_EFULL);
	ck_assert_int_eq(store_state(&w.s, 1), 1);
	for (uint64_t number = 2; number <= 4; number++)
		ck_assert_int_eq(store_state(&w.s, number), -1);
	ck_assert_str_eq(get(&w, 0), "a1 | a1=x");
	ck_assert_str_eq(get(&w, 1), "");
	ck_assert_uint_eq(w.s.overlay_bytes, 0);
	/* The next batch is of a new generation and a new actor. */
	must_put(&w, 0, "v");
	b[2] = store_take(&w.s);
	ck_assert_uint_gt(b[2]->generation, b[1]->generation);
	ck_assert_uint_gt(b[2]->number, 4);
	/* Whatever is said of the old one now changes nothing. */
	store_committed(&w.s, b[1], 0);
	ck_assert_str_eq(get(&w, 0), "a1 a'1 | a'1=v");
	commit(&w, b[2], 0);
	ck_assert_int_eq(store_state(&w.s, 5), 1);
	ck_assert_str_eq(get(&w, 0), "a1 a'1 | a'1=v");
	end(&w);
}
END_TEST

START_TEST(was_it_seen)
{
	struct world w;

	begin(&w);
	must_put(&w, 0, "x");
	store_committed(&w.s, store_take(&w.s), DYN_EIO);
	ck_assert(!w.s.exposed);
	must_put(&w, 0, "x");
	(void)get(&w, 0);
	store_committed(&w.s, store_take(&w.s), DYN_EIO);
	ck_assert(w.s.exposed);
	must_put(&w, 0, "x");
	store_committed(&w.s, store_take(&w.s), DYN_EIO);
	ck_assert(!w.s.exposed);
	/* A later version was built on it. */
	must_put(&w, 0, "x");
	must_put(&w, 0, "y");
	store_committed(&w.s, store_take(&w.s), DYN_EIO);
	ck_assert(w.s.exposed);
	/* Merging tells nobody. */
	must_merge(&w, 0, "b1 | b1=x");
	must_merge(&w, 0, "c1 | c1=x");
	store_committed(&w.s, store_take(&w.s), DYN_EIO);
	ck_assert(!w.s.exposed);
	end(&w);
}
END_TEST

START_TEST(what_is_merged_and_what_is_not)
{
	struct world w;
	struct stored s;
	struct buf *b = object_of("b1 | b1=x");
	struct dyn_slice name;

	begin(&w);
	name = buf_slice(w.name[0]);
	must_merge(&w, 0, "b1 | b1=x");
	must_merge(&w, 0, "c1 | c1=y");
	ck_assert_str_eq(get(&w, 0), "b1 c1 | b1=x c1=y");
	ck_assert_int_eq(store_merge(&w.s, place_of_copy(name), buf_slice(b), DYN_DURABLE_DISK, 1000, &s), 0);
	ck_assert(!s.changed);
	ck_assert_uint_eq(s.number, 1);
	ck_assert_str_eq(versions_text(buf_slice(s.object)), "b1 c1 | b1=x c1=y");
	buf_unref(s.object);
	buf_unref(b);
	ck_assert_int_eq(store_merge(&w.s, place_of_copy(name), dyn_str("\1"), DYN_DURABLE_DISK, 1000, &s),
	    DYN_EPROTO);
	ck_assert_ptr_null(s.object);
	/* Equal dots, unequal bytes: an alarm, and nothing is dropped. */
	must_merge(&w, 0, "b1 | b1=other");
	ck_assert_uint_eq(w.s.skewed, 1);
	ck_assert_str_eq(get(&w, 0), "b1 c1 | b1=other b1=x c1=y");
	end(&w);
}
END_TEST

START_TEST(stamps_too_far_ahead)
{
	struct world w;
	struct stored s;
	/* 61 s and 59 s ahead of a wall at 1 s. */
	struct buf *far = object_of("b1 | b1@4063232000#x"), *near = object_of("c1 | c1@3932160000#x");
	struct dyn_slice name;

	begin(&w);
	name = buf_slice(w.name[0]);
	ck_assert_int_eq(store_merge(&w.s, place_of_copy(name), buf_slice(far), DYN_DURABLE_DISK, 1000, &s),
	    DYN_ECLOCK);
	ck_assert_int_eq(store_merge(&w.s, place_of_copy(name), buf_slice(near), DYN_DURABLE_DISK, 1000, &s), 0);
	buf_unref(s.object);
	ck_assert_uint_eq(w.s.hlc.last, 3932160000u);
	/* What the ring holds already is taken, but nothing is learnt from it. */
	ck_assert_int_eq(store_take_in(&w.s, name, buf_slice(far), 1000, &s), 0);
	ck_assert(s.changed);
	buf_unref(s.object);
	ck_assert_uint_eq(w.s.hlc.last, 3932160000u);
	ck_assert_str_eq(get(&w, 0), "b1 c1 | b1#x");
	/* A version of siblings may have any stamp. */
	must_merge(&w, 1, "b1 | b1@4063232000=x");
	ck_assert_int_eq(store_take_in(&w.s, name, dyn_str("\1"), 1000, &s), DYN_EPROTO);
	buf_unref(far);
	buf_unref(near);
	end(&w);
}
END_TEST

START_TEST(errors_of_the_engine_change_nothing)
{
	struct world w;
	struct stored s;
	struct buf *b;

	begin(&w);
	w.f->get_rc = DYN_EIO;
	ck_assert_int_eq(put(&w, 0, "x", &s), DYN_EIO);
	ck_assert_int_eq(store_get(&w.s, place_of_copy(buf_slice(w.name[0])), &b), DYN_EIO);
	ck_assert_ptr_null(b);
	ck_assert_ptr_null(store_take(&w.s));
	end(&w);
}
END_TEST

/* ------------------------------------------------------------------ random */

struct model {
	char committed[KEYS][24], newest[KEYS][24];
};

/* Batches that are out, and what the keys were when each was taken. */
struct out {
	struct batch *batch[32];
	char state[32][KEYS][24];
	unsigned count;
};

static const char *
value_of(struct world *w, unsigned key)
{
	const char *text = get(w, key), *p = strrchr(text, '=');

	return p != NULL ? p + 1 : "";
}

static void
finish_oldest(struct world *w, struct model *m, struct out *out, bool fails)
{
	struct batch *b = out->batch[0];
	/* Storage refuses what was built on a failed batch. */
	bool poisoned = b->generation < w->s.generation;

	commit(w, b, fails || poisoned ? DYN_EIO : 0);
	if (!fails && !poisoned) {
		memcpy(m->committed, out->state[0], sizeof(m->committed));
	} else if (!poisoned) {
		memcpy(m->newest, m->committed, sizeof(m->newest));
		ck_assert_uint_eq(w->s.overlay.count, 0);
	}
	out->count--;
	memmove(out->batch, out->batch + 1, out->count * sizeof(out->batch[0]));
	memmove(out->state, out->state + 1, out->count * sizeof(out->state[0]));
}

START_TEST(random_changes)
{
	struct rng rng = { test_seed() + (uint64_t)_i };
	struct model m = { { { 0 } }, { { 0 } } };
	struct out out = { .count = 0 };
	struct world w;

	begin(&w);
	for (unsigned step = 0; step < 1500; step++) {
		unsigned key = (unsigned)rng_below(&rng, KEYS);

		switch (rng_below(&rng, 6)) {
		case 0:
		case 1:
			snprintf(m.newest[key], sizeof(m.newest[0]), "v%u", step);
			must_put(&w, key, m.newest[key]);
			break;
		case 2:
		case 3:
			MUST(strcmp(value_of(&w, key), m.newest[key]) == 0);
			break;
		case 4:
			if (out.count == ARRAY_LEN(out.batch))
				break;
			memcpy(out.state[out.count], m.newest, sizeof(m.newest));
			out.batch[out.count] = store_take(&w.s);
			out.count += out.batch[out.count] != NULL;
			break;
		default:
			if (out.count > 0)
				finish_oldest(&w, &m, &out, rng_below(&rng, 20) == 0);
			break;
		}
	}
	while (out.count > 0)
		finish_oldest(&w, &m, &out, false);
	for (unsigned key = 0; key < KEYS; key++)
		ck_assert_str_eq(value_of(&w, key), m.newest[key]);
	end(&w);
}
END_TEST

static Suite *
suite(void)
{
	Suite *s = suite_create("store");
	TCase *c = tcase_create("store");

	suite_add_tcase(s, c);
	tcase_add_test(c, newest_first);
	tcase_add_test(c, a_failure_takes_what_came_after_with_it);
	tcase_add_test(c, was_it_seen);
	tcase_add_test(c, what_is_merged_and_what_is_not);
	tcase_add_test(c, stamps_too_far_ahead);
	tcase_add_test(c, errors_of_the_engine_change_nothing);
	tcase_add_loop_test(c, random_changes, 0, 20);
	return s;
}

TEST_MAIN(suite)
