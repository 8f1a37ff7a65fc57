/*
 * The outbox (core/machine.h) with and without memory.
 *
 * Goal: effects come out in the order they were added; when the list cannot grow,
 * what may be lost is lost and what must arrive arrives.
 * Method: an outbox by hand, filled while no allocation succeeds; then a worker's
 * machines, most of whose calls end while there is no memory.
 */
#include "test/core_script.h"

#include <stdio.h>

#define FULL 64 /* the list as it is made first */
#define CALLS 150

static void
fill(struct outbox *box)
{
	for (unsigned i = 0; i < FULL; i++)
		outbox_add(box, FX_POKE)->rc = (int)i;
	mem_fail_at(-1);
}

static struct effect
next(struct outbox *box)
{
	struct effect e;

	ck_assert(outbox_next(box, &e));
	return e;
}

static void
pass_the_list(struct outbox *box)
{
	for (unsigned i = 0; i < FULL; i++)
		ck_assert_int_eq(next(box).rc, (int)i);
}

static void
ends(struct outbox *box)
{
	struct effect e;

	ck_assert(!outbox_next(box, &e));
	mem_fail_at(0);
}

START_TEST(in_order_and_more_meanwhile)
{
	struct outbox box;

	outbox_init(&box);
	for (int i = 0; i < 200; i++)
		outbox_add(&box, FX_POKE)->rc = i;
	for (int i = 0; i < 400; i++) {
		ck_assert_int_eq(next(&box).rc, i);
		if (i < 200)
			outbox_add(&box, FX_POKE)->rc = 200 + i;
	}
	ends(&box);
	ck_assert(!box.lost);
	outbox_fini(&box);
}
END_TEST

START_TEST(frames_are_lost)
{
	struct outbox box;
	struct buf *frame = buf_copy("x", 1);
	long before = mem_balance();

	outbox_init(&box);
	fill(&box);
	for (unsigned i = 0; i < 3; i++)
		outbox_add(&box, i == 0 ? FX_SEND : FX_REPLY)->frame = buf_ref(frame);
	pass_the_list(&box);
	ends(&box);
	ck_assert(box.lost);
	/* Emptied, it is as before. */
	outbox_add(&box, FX_REPLY)->conn = 7;
	ck_assert_uint_eq(next(&box).conn, 7);
	outbox_fini(&box);
	ck_assert_int_eq(mem_balance(), before);
	buf_unref(frame);
}
END_TEST

START_TEST(what_carries_something_arrives)
{
	static struct batch batch;
	static struct op op[2];
	static struct rows rows[2];
	static struct letter_space token;
	struct changes *changes = mem_zalloc(sizeof(*changes));
	const struct effect sent[] = {
		{ .kind = FX_DONE, .what = &op[0] },
		{ .kind = FX_COMMIT, .what = &batch },
		{ .kind = FX_CHANGED, .what = changes },
		{ .kind = FX_STORED, .what = &rows[0], .rc = DYN_ENOMEM },
		{ .kind = FX_FENCED, .what = &token, .rc = DYN_EIO },
		{ .kind = FX_DONE, .what = &op[1] },
		{ .kind = FX_ROWS, .what = &rows[1] },
	};
	struct outbox box;

	outbox_init(&box);
	fill(&box);
	for (size_t i = 0; i < ARRAY_LEN(sent); i++) {
		outbox_add(&box, sent[i].kind)->what = sent[i].what;
		box.fresh.rc = sent[i].rc;
		(void)outbox_add(&box, FX_POKE);
	}
	pass_the_list(&box);
	for (size_t i = 0; i < ARRAY_LEN(sent); i++) {
		struct effect e = next(&box);

		ck_assert_int_eq(e.kind, sent[i].kind);
		ck_assert_ptr_eq(e.what, sent[i].what);
		ck_assert_int_eq(e.rc, sent[i].rc);
	}
	ends(&box);
	changes_free(changes);
	outbox_fini(&box);
}
END_TEST

static void
meta(struct outbox *box, const char *row, int rc)
{
	struct effect *e = outbox_add(box, FX_META);

	e->address = row;
	e->rc = rc;
}

/* "kind rc row" of what is there, in order. */
static const char *
states(struct outbox *box)
{
	static char text[200];
	struct effect e;
	int at = 0;

	while (outbox_next(box, &e)) {
		at += sprintf(text + at, "%s%s %d%s%s", at > 0 ? ", " : "",
		    e.kind == FX_META       ? "meta"
		    : e.kind == FX_LOST     ? "lost"
		    : e.kind == FX_FAIL     ? "fail"
		    : e.kind == FX_CATCHING ? "catching"
		                            : "full",
		    e.rc, e.address != NULL ? " " : "", e.address != NULL ? e.address : "");
		effect_drop(&e);
	}
	text[at] = '\0';
	return text;
}

START_TEST(the_newest_word_is_kept)
{
	struct buf *bits = buf_copy("x", 1);
	struct outbox box;

	outbox_init(&box);
	fill(&box);
	for (int i = 0; i < 100; i++) {
		outbox_add(&box, FX_HINTS_FULL)->rc = i;
		meta(&box, "a", i);
		if (i == 50)
			(void)outbox_add(&box, FX_LOST);
		outbox_add(&box, FX_CATCHING)->frame = buf_ref(bits);
		if (i < 40)
			meta(&box, "b", i);
		if (i > 90 && i < 95)
			outbox_add(&box, FX_FAIL)->rc = i;
	}
	mem_fail_at(0); /* too late for the order */
	outbox_add(&box, FX_HINTS_FULL)->rc = 100;
	pass_the_list(&box);
	ck_assert_str_eq(states(&box), "meta 39 b, lost 0, fail 94, meta 99 a, catching 0, "
	                               "full 100");
	outbox_fini(&box);
	buf_unref(bits);
}
END_TEST

static unsigned
put_while(struct script *s, bool short_of_memory, int rc)
{
	unsigned done = s->done;

	for (unsigned i = 0; i < CALLS; i++) {
		char key[8];

		sprintf(key, "k%u", i);
		script_put(s, key, "x");
	}
	script_turn(s);
	if (short_of_memory)
		mem_fail_at(-1);
	script_commit(s, rc);
	mem_fail_at(0);
	return s->done - done;
}

START_TEST(all_calls_of_a_commit_end)
{
	struct script *s =
	    script_new(&(struct script_options){ .self = 'a', .view = view_ring(1, 1, 16) });

	s->quiet = true;
	ck_assert_uint_eq(put_while(s, false, _i == 0 ? 0 : DYN_EFULL), CALLS);
	/* Another one: the list is larger by now. */
	mem_free(s->out.list);
	s->out.list = NULL;
	s->out.cap = 0;
	ck_assert_uint_eq(put_while(s, true, _i == 0 ? 0 : DYN_EFULL), CALLS);
	script_free(s);
}
END_TEST

static Suite *
suite(void)
{
	Suite *s = suite_create("outbox");
	TCase *t;

	test_case(s, "order", in_order_and_more_meanwhile);
	test_case(s, "frames", frames_are_lost);
	test_case(s, "carriers", what_carries_something_arrives);
	test_case(s, "newest", the_newest_word_is_kept);
	t = tcase_create("worker");
	tcase_add_loop_test(t, all_calls_of_a_commit_end, 0, 2);
	suite_add_tcase(s, t);
	return s;
}

TEST_MAIN(suite)
