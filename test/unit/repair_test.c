/*
 * Anti-entropy between copies (paper 4.7).
 *
 * Goal: after one exchange both copies hold the same, at a cost of what differs;
 * whatever gets lost on the way, it comes to that in the end; what a peer makes up
 * is refused.
 * Method: test/copies.h.
 */
#include "test/copies.h"

#include <stdio.h>
#include <stdlib.h>

/* ----------------------------------------------------------------- exchanges */

START_TEST(equal_copies_cost_two_small_frames)
{
	struct copies *w = copies_of_two();

	for (unsigned i = 0; i < 200; i++) {
		copies_put_made(w, 0, i % PARTITIONS, i, 'a', 1000);
		copies_put_made(w, 1, i % PARTITIONS, i, 'a', 1000);
	}
	copies_begin(w);
	copies_pass(w, REPAIR_PERIOD / 2);
	ck_assert_uint_ge(w->frames[MSG_TREES], 1);
	ck_assert_uint_eq(w->frames[MSG_TREE], 0);
	/* From then on: one question a period for the two of them. */
	copies_forget_counts(w);
	copies_pass(w, REPAIR_PERIOD);
	ck_assert_uint_eq(w->frames[MSG_TREES], 1);
	ck_assert_uint_eq(w->frames[MSG_TREES_ACK], 1);
	ck_assert_uint_eq(copies_all_frames(w), 2);
	ck_assert_uint_le(w->bytes[MSG_TREES] + w->bytes[MSG_TREES_ACK], 128);
	ck_assert_uint_eq(copies_figures(w, 0).took + copies_figures(w, 1).took, 0);
	ck_assert_uint_eq(copies_figures(w, 0).differing, 0);
	copies_free(w);
}
END_TEST

START_TEST(missing_here_there_and_everywhere)
{
	struct copies *w = copies_of_two();

	copies_put(w, 0, "both", "a1 | a1=x");
	copies_put(w, 1, "both", "a1 | a1=x");
	copies_put(w, 0, "here", "a1 | a1=x");
	copies_put(w, 1, "there", "b1 | b1=y");
	copies_put(w, 0, "siblings", "a1 | a1=x");
	copies_put(w, 1, "siblings", "b1 | b1=y");
	copies_put(w, 0, "older", "a1 | a1=x");
	copies_put(w, 1, "older", "a2 | a2=y");
	copies_put(w, 0, "newer", "b2 | b2=x");
	copies_put(w, 1, "newer", "b1 | b1=y");
	/* A deleted one is a row like others. */
	copies_put(w, 0, "deleted", "a1 |");
	copies_put(w, 1, "deleted", "a1 | a1=x");
	copies_begin(w);
	/* One exchange, of whoever comes first. */
	for (unsigned i = 0;
	     i < 100 &&
	     copies_figures(w, 0).exchanges + copies_figures(w, 1).exchanges == 0;
	     i++)
		copies_pass(w, 10 * NS_PER_MS);
	ck_assert_uint_eq(copies_same(w, 0, 1), 7);
	for (unsigned i = 0; i < 2; i++) {
		ck_assert_str_eq(copies_get(w, i, "here"), "a1 | a1=x");
		ck_assert_str_eq(copies_get(w, i, "there"), "b1 | b1=y");
		ck_assert_str_eq(copies_get(w, i, "siblings"), "a1 b1 | a1=x b1=y");
		ck_assert_str_eq(copies_get(w, i, "older"), "a2 | a2=y");
		ck_assert_str_eq(copies_get(w, i, "newer"), "b2 | b2=x");
		ck_assert_str_eq(copies_get(w, i, "deleted"), "a1 |");
	}
	copies_pass(w, 2 * REPAIR_PERIOD);
	ck_assert_uint_eq(copies_same(w, 0, 1), 7);
	ck_assert_uint_eq(
	    copies_figures(w, 0).differing + copies_figures(w, 1).differing, 0);
	copies_free(w);
}
END_TEST

/* What cannot be read is as if it were not there: the other sends it. */
START_TEST(damaged_rows_are_missing)
{
	struct copies *w = copies_of_two();
	unsigned here = (unsigned)_i, there = 1 - here;

	copies_put(w, 0, "k", "a1 | a1=x");
	copies_put(w, 1, "k", "a1 | a1=x");
	w->node[here].damaged = "k";
	copies_begin(w);
	copies_pass(w, 2 * REPAIR_PERIOD);
	ck_assert_uint_ge(copies_figures(w, here).took + copies_figures(w, there).gave, 1);
	ck_assert_uint_eq(copies_figures(w, here).gave + copies_figures(w, there).took, 0);
	copies_free(w);
}
END_TEST

/* Only what differs travels. */
START_TEST(the_cost_is_what_differs)
{
	struct copies *w = copies_of_two();
	unsigned rows;

	for (unsigned i = 0; i < 2000; i++) {
		copies_put_made(w, 0, i % PARTITIONS, i, 'a', 2000);
		copies_put_made(w, 1, i % PARTITIONS, i, 'a', 2000);
	}
	copies_put_made(w, 0, 3, 5000, 'a', 2000);
	copies_put_made(w, 1, 3, 5001, 'b', 2000);
	copies_put_made(w, 1, 7, 5002, 'b', 2000);
	copies_begin(w);
	copies_pass(w, REPAIR_PERIOD / 2);
	rows = copies_same(w, 0, 1);
	ck_assert_uint_eq(rows, 2003);
	ck_assert_uint_eq(copies_figures(w, 0).took + copies_figures(w, 1).took +
			      copies_figures(w, 0).gave + copies_figures(w, 1).gave,
	    3);
	ck_assert_uint_eq(w->frames[MSG_TREE], 2);
	/* And each again, when the other is busy with what it just read. */
	ck_assert_uint_ge(w->frames[MSG_LEAVES], 2);
	ck_assert_uint_le(w->frames[MSG_LEAVES], 4);
	ck_assert_uint_lt(w->bytes[MSG_LEAVES_ACK] + w->bytes[MSG_REPAIR], 4 * 2200);
	ck_assert_uint_lt(w->bytes[MSG_LEAVES], 2000);
	copies_free(w);
}
END_TEST

/* Two that changed places are not taken for equal: the sum knows which is which. */
START_TEST(the_sum_knows_the_partition)
{
	struct copies *w = copies_of_two();
	struct dyn_id a = node_id('a'), b = node_id('b');
	struct digest left, right;
	uint32_t left_count, right_count;

	/* Rows that were never stored, but told: their digests are what we say. */
	copies_begin(w);
	copies_pass(w, NS_PER_S / 2);
	for (unsigned i = 0; i < 2; i++) {
		for (unsigned p = 0; p < 2; p++) {
			unsigned char space[24];
			struct dyn_slice name = copies_made_name(p, 1, space);
			struct change c = {.name = buf_copy(name.data, name.len),
			    .space = DYN_SPACE_DATA};
			struct changes all = { .list = &c, .count = 1 };

			memset(c.after.b, (int)(1 + (p ^ i)), sizeof(c.after.b));
			trees_changed(w->node[i].trees, &all);
			buf_unref(c.name);
		}
	}
	repair_sum(w->node[0].r, &b, &left, &left_count);
	repair_sum(w->node[1].r, &a, &right, &right_count);
	ck_assert_uint_eq(left_count, PARTITIONS);
	ck_assert_uint_eq(right_count, PARTITIONS);
	ck_assert_int_ne(digest_compare(&left, &right), 0);
	copies_free(w);
}
END_TEST

START_TEST(any_rows)
{
	static const char *const objects[] = {"a1 | a1=x", "a2 | a2=y", "b1 | b1=z",
	    "a1 b1 | a1=x b1=z", "c1 | c1=w", "a2 b1 | b1=z", "c3 | c3=v", "a1 |"};
	struct rng r = {test_seed() + (uint64_t)_i};
	struct copies *w = _i % 2 == 0 ? copies_of_two() : copies_of_three();
	char key[16];

	for (unsigned k = 0; k < 120; k++) {
		snprintf(key, sizeof(key), "k%u", k);
		for (unsigned i = 0; i < w->count; i++)
			if (rng_below(&r, 3) != 0)
				copies_put(w, i, key,
				    objects[rng_below(&r, ARRAY_LEN(objects))]);
	}
	copies_begin(w);
	if (w->count == 2) {
		while (
		    copies_figures(w, 0).exchanges + copies_figures(w, 1).exchanges == 0)
			copies_pass(w, NS_PER_MS);
	} else {
		copies_pass(w, 2 * REPAIR_PERIOD + REPAIR_PERIOD / 2);
		(void)copies_same(w, 0, 2);
	}
	(void)copies_same(w, 0, 1);
	copies_pass(w, 2 * REPAIR_PERIOD);
	for (unsigned i = 0; i < w->count; i++) {
		ck_assert_uint_eq(copies_figures(w, i).differing, 0);
		ck_assert_uint_le(
		    copies_figures(w, i).lag_ms, 2 * REPAIR_PERIOD / NS_PER_MS);
		ck_assert_uint_eq(w->node[i].logs, 0);
	}
	copies_free(w);
}
END_TEST

/* Writes go on while copies are compared. */
START_TEST(while_writes_go_on)
{
	static const char *const objects[] = {
	    "a1 | a1=x", "a2 | a2=y", "b1 | b1=z", "c1 | c1=w"};
	struct rng r = {test_seed() + (uint64_t)_i};
	struct copies *w = copies_of_three();
	char key[16];

	copies_begin(w);
	copies_pass(w, NS_PER_S);
	for (unsigned k = 0; k < 600; k++) {
		unsigned i = (unsigned)rng_below(&r, 3);
		struct buf *name;

		snprintf(key, sizeof(key), "k%u", (unsigned)rng_below(&r, 60));
		name = key_name(key);
		copies_merge_copy(&w->node[i], buf_slice(name),
		    script_object(objects[rng_below(&r, ARRAY_LEN(objects))]));
		buf_unref(name);
		copies_pass(w, rng_below(&r, 100) * NS_PER_MS);
		for (unsigned n = (unsigned)rng_below(&r, 3); n > 0 && w->head < w->tail;
		     n--)
			copies_deliver(w);
	}
	copies_pass(w, 4 * REPAIR_PERIOD);
	(void)copies_same(w, 0, 1);
	(void)copies_same(w, 0, 2);
	copies_free(w);
}
END_TEST

/* 0: the asked has them; 1: the asking; 2: both, others. */
START_TEST(long_lists_are_cut)
{
	unsigned rows = 3 * REPAIR_LIST / 40;
	struct copies *w = copies_of_two();

	for (unsigned i = 0; i < rows; i++) {
		bool left = _i == 0 ? false : _i == 1 ? true : i % 2 == 0;

		copies_put_made(w, left ? 0 : 1, 5, i, 'a', 10);
		if (_i == 2 && i % 10 == 0)
			copies_put_made(w, left ? 1 : 0, 5, i, 'b', 10);
	}
	copies_begin(w);
	for (unsigned i = 0;
	     i < 1000 &&
	     copies_figures(w, 0).exchanges + copies_figures(w, 1).exchanges == 0;
	     i++)
		copies_pass(w, 10 * NS_PER_MS);
	ck_assert_uint_eq(copies_same(w, 0, 1), rows);
	ck_assert_uint_ge(w->frames[MSG_LEAVES], 2);
	ck_assert_uint_le(w->frames[MSG_LEAVES], 40);
	ck_assert_uint_le(
	    w->bytes[MSG_LEAVES] / w->frames[MSG_LEAVES], REPAIR_LIST + 4096);
	copies_free(w);
}
END_TEST

START_TEST(many_bytes_are_cut)
{
	struct copies *w = copies_of_two();
	unsigned most = 0;

	/* Also one that is larger than a frame is to be. */
	for (unsigned i = 0; i < 40; i++)
		copies_put_made(w, i % 3 == 0 ? 0 : 1, 9, i, 'a',
		    i == 7 ? 2 * REPAIR_BYTES : REPAIR_BYTES / 5);
	for (unsigned i = 0; i < 12; i++)
		copies_put_made(w, i % 3 == 0 ? 1 : 0, 9, i, 'b', REPAIR_BYTES / 4);
	copies_begin(w);
	for (unsigned i = 0;
	     i < 1000 &&
	     copies_figures(w, 0).exchanges + copies_figures(w, 1).exchanges == 0;
	     i++) {
		size_t before = w->bytes[MSG_LEAVES_ACK];

		copies_pass(w, 10 * NS_PER_MS);
		most = MAX(most, (unsigned)(w->bytes[MSG_LEAVES_ACK] - before));
	}
	ck_assert_uint_eq(copies_same(w, 0, 1), 40);
	ck_assert_uint_ge(w->frames[MSG_LEAVES_ACK], 6);
	ck_assert_uint_ge(w->frames[MSG_REPAIR], 3);
	ck_assert_uint_gt(most, 0);
	copies_free(w);
}
END_TEST

/* ------------------------------------------------------------------- trouble */

static const uint8_t kinds[] = {MSG_TREES, MSG_TREES_ACK, MSG_TREE, MSG_TREE_ACK,
    MSG_LEAVES, MSG_LEAVES_ACK, MSG_REPAIR, MSG_REPAIR_ACK};

START_TEST(whatever_gets_lost)
{
	struct copies *w = copies_of_two();

	w->drop[kinds[_i]] = 3;
	copies_fill_and_begin(w);
	copies_pass(w, 5 * (REPAIR_PATIENCE + REPAIR_RETRY));
	ck_assert_uint_eq(w->drop[kinds[_i]], 0);
	ck_assert_uint_eq(copies_same(w, 0, 1), 3);
	copies_pass(w, REPAIR_PERIOD);
	ck_assert_uint_eq(
	    copies_figures(w, 0).differing + copies_figures(w, 1).differing, 0);
	copies_free(w);
}
END_TEST

START_TEST(a_lost_peer_is_asked_again)
{
	static const uint8_t asked[] = {MSG_TREES, MSG_TREE, MSG_LEAVES, MSG_REPAIR};
	struct dyn_id b = node_id('b');
	struct copies *w = copies_of_two();
	struct node *a = &w->node[0];
	unsigned sent;
	uint64_t at;

	copies_fill(w);
	copies_only_a_asks(w);
	ck_assert(copies_until_sent(w, 0, asked[_i % 4]));
	at = w->m.now;
	if (_i / 4 == 0)
		repair_lost(a->r, &b, w->m, &a->out);
	else
		repair_liveness(a->r, &b, DYN_SUSPECT, w->m);
	/* The answer to what was asked before says nothing any more. */
	sent = w->frames[MSG_TREES];
	while (w->head < w->tail)
		copies_deliver(w);
	ck_assert_uint_eq(w->frames[MSG_TREES], sent);
	ck_assert_uint_eq(copies_figures(w, 0).exchanges, 0);
	w->m.now = at + REPAIR_RETRY - 1;
	repair_tick(a->r, w->m, &a->out);
	copies_take_effects(w, 0);
	ck_assert_uint_eq(w->frames[MSG_TREES], sent);
	w->m.now++;
	repair_tick(a->r, w->m, &a->out);
	copies_take_effects(w, 0);
	ck_assert_uint_eq(w->frames[MSG_TREES], sent + 1);
	copies_pass(w, 2 * REPAIR_PERIOD);
	ck_assert_uint_eq(copies_same(w, 0, 1), 3);
	copies_free(w);
}
END_TEST

START_TEST(who_comes_back_is_asked_soon)
{
	struct dyn_id b = node_id('b'), z = node_id('z');
	struct copies *w = copies_of_two();
	struct node *a = &w->node[0];

	copies_begin(w);
	copies_pass(w, NS_PER_S);
	ck_assert_uint_gt(repair_wake(a->r), w->m.now + REPAIR_RETRY);
	repair_liveness(a->r, &b, DYN_LIVE, w->m);
	ck_assert_uint_le(repair_wake(a->r), w->m.now + REPAIR_RETRY);
	/* Strangers are none of our business. */
	repair_liveness(a->r, &z, DYN_SUSPECT, w->m);
	repair_lost(a->r, &z, w->m, &a->out);
	copies_free(w);
}
END_TEST

START_TEST(busy_is_asked_again)
{
	struct copies *w = copies_of_two();
	struct node *b = &w->node[1];

	copies_fill(w);
	copies_only_a_asks(w);
	ck_assert(copies_until_sent(w, 0, MSG_LEAVES));
	/* For a second b has enough to do. */
	b->admit.free_at = w->m.now + NS_PER_S;
	w->cut[0] = false;
	copies_forget_counts(w);
	copies_pass(w, NS_PER_S - REPAIR_REST);
	ck_assert_uint_ge(w->frames[MSG_LEAVES_ACK], 10);
	ck_assert_uint_le(w->frames[MSG_LEAVES_ACK], 21);
	ck_assert_uint_eq(w->frames[MSG_REPAIR], 0);
	ck_assert(copies_differ(w, 0, 1));
	copies_pass(w, 4 * REPAIR_REST);
	ck_assert_uint_eq(copies_same(w, 0, 1), 3);
	copies_free(w);
}
END_TEST

/* The asking itself waits for its turn. */
START_TEST(the_asking_pays_too)
{
	struct copies *w = copies_of_two();
	struct node *a = &w->node[0];

	copies_fill(w);
	copies_only_a_asks(w);
	ck_assert(copies_until_sent(w, 1, MSG_TREE_ACK));
	a->admit.free_at = w->m.now + NS_PER_S;
	while (w->head < w->tail)
		copies_deliver(w);
	ck_assert_uint_eq(w->frames[MSG_LEAVES], 0);
	ck_assert_uint_eq(repair_wake(a->r), a->admit.free_at);
	copies_pass(w, NS_PER_S + 10 * NS_PER_MS);
	ck_assert_uint_gt(w->frames[MSG_LEAVES], 0);
	ck_assert_uint_eq(copies_same(w, 0, 1), 3);
	copies_free(w);
}
END_TEST

/* 0: rows that were asked for; 1: rows that were given; 2: it takes too long. */
START_TEST(storing_fails)
{
	struct copies *w = copies_of_two();
	struct node *n = &w->node[_i == 1];

	copies_fill(w);
	if (_i == 2)
		n->hold = true;
	else
		n->store_rc = DYN_EFULL;
	copies_only_a_asks(w);
	ck_assert(copies_until_sent(w, 1, MSG_LEAVES_ACK));
	copies_deliver(w);
	copies_pass(w, REPAIR_RETRY / 2);
	ck_assert(copies_differ(w, 0, 1));
	ck_assert_uint_eq(copies_figures(w, 0).exchanges, 0);
	if (_i == 2) {
		struct rows *late = n->held;

		ck_assert_ptr_nonnull(late);
		n->held = NULL;
		copies_pass(w, REPAIR_PATIENCE);
		n->hold = false;
		copies_store(w, n, late);
		copies_take_effects(w, 0);
		rows_free(n->held);
		n->held = NULL;
	}
	n->store_rc = 0;
	copies_pass(w, 3 * REPAIR_PERIOD);
	ck_assert_uint_eq(copies_same(w, 0, 1), 3);
	ck_assert_uint_eq(copies_figures(w, 0).differing, 0);
	copies_free(w);
}
END_TEST

/* What cannot be read is not taken for absent. */
START_TEST(reading_fails)
{
	struct copies *w = copies_of_two();
	struct node *n = &w->node[_i % 2];

	copies_fill(w);
	copies_only_a_asks(w);
	ck_assert(copies_until_sent(w, 1, MSG_TREE_ACK));
	if (_i / 2 == 0)
		n->scan_rc = DYN_ECORRUPT;
	else
		n->get_rc = DYN_ECORRUPT;
	copies_pass(w, REPAIR_RETRY / 2);
	if (_i != 3) /* b reads by get nowhere */
		ck_assert(copies_differ(w, 0, 1));
	n->scan_rc = n->get_rc = 0;
	copies_pass(w, 3 * REPAIR_PERIOD);
	ck_assert_uint_eq(copies_same(w, 0, 1), 3);
	copies_free(w);
}
END_TEST

START_TEST(another_table_is_refused)
{
	struct copies *w = copies_of_two();
	struct view *other = view_ring(3, 3, PARTITIONS);
	struct node *b = &w->node[1];

	copies_fill(w);
	copies_begin(w);
	copies_see_view(w, 1, other);
	copies_pass(w, 3 * REPAIR_PERIOD);
	ck_assert_uint_gt(b->pokes, 0);
	ck_assert_uint_eq(w->frames[MSG_TREE], 0);
	ck_assert(copies_differ(w, 0, 1));
	ck_assert_uint_eq(copies_figures(w, 0).exchanges, 0);
	/* It has come; exchanges of before are over. */
	copies_see_view(w, 0, other);
	copies_pass(w, 3 * REPAIR_PERIOD);
	ck_assert_uint_eq(copies_same(w, 0, 1), 3);
	view_unref(other);
	copies_free(w);
}
END_TEST

START_TEST(nobody_is_asked_before_the_trees_stand)
{
	struct copies *w = copies_of_two();

	copies_fill(w);
	w->node[0].scan_rc = DYN_ENOMEM;
	copies_begin(w);
	copies_pass(w, 2 * REPAIR_PERIOD);
	/* b asks; a has no trees to compare with. */
	ck_assert_uint_eq(copies_figures(w, 0).exchanges, 0);
	ck_assert_uint_eq(w->frames[MSG_TREE], 0);
	ck_assert_uint_eq(copies_figures(w, 1).catching, 0);
	w->node[0].scan_rc = 0;
	copies_pass(w, 2 * REPAIR_PERIOD);
	ck_assert_uint_eq(copies_same(w, 0, 1), 3);
	copies_free(w);
}
END_TEST

/* Its copies are not relied on, and it says nothing of them, until they can be read and
 * were compared. */
START_TEST(rows_that_cannot_be_read)
{
	struct copies *w = copies_of_two();
	unsigned owned;

	copies_fill(w);
	w->node[0].scan_rc = DYN_ECORRUPT;
	copies_begin(w);
	copies_pass(w, REPAIR_PERIOD / 2);
	owned = copies_figures(w, 0).catching;
	ck_assert_uint_gt(owned, 0);
	copies_pass(w, 2 * REPAIR_PERIOD);
	ck_assert_uint_eq(copies_figures(w, 0).catching, owned);
	ck_assert_uint_eq(copies_figures(w, 1).catching, 0);
	ck_assert_uint_eq(w->frames[MSG_TREE], 0);
	w->node[0].scan_rc = 0;
	copies_pass(w, TREES_BROKEN + 2 * REPAIR_PERIOD);
	ck_assert_uint_eq(copies_figures(w, 0).catching, 0);
	ck_assert_uint_eq(copies_same(w, 0, 1), 3);
	copies_free(w);
}
END_TEST

/* Who owns it alone has nobody to catch up with. */
START_TEST(rows_of_one_owner_that_cannot_be_read)
{
	struct copies *w = copies_new(1, view_ring(1, 1, PARTITIONS));

	w->node[0].scan_rc = DYN_EIO;
	copies_begin(w);
	copies_pass(w, REPAIR_PERIOD / 2);
	ck_assert_uint_eq(copies_figures(w, 0).catching, 0);
	copies_free(w);
}
END_TEST

/* ----------------------------------------------------------------- malformed */

/* Names and digests, as in LEAVES; or bare names, as in `wants`. */
static struct buf *
names_of(const struct dyn_slice *names, size_t names_count, bool digests)
{
	static const unsigned char digest[16] = {1};
	struct buf *list;
	struct wr wr;

	wr_init(&wr, 64);
	for (size_t i = 0; i < names_count; i++) {
		wr_slice(&wr, names[i]);
		if (digests)
			wr_bytes(&wr, digest, sizeof(digest));
	}
	MUST(wr_finish(&wr, &list) == 0);
	return list;
}

static struct buf *
rows_of_names(const struct dyn_slice *names, size_t names_count)
{
	struct buf *list;
	struct wr wr;

	wr_init(&wr, 64);
	for (size_t i = 0; i < names_count; i++) {
		wr_slice(&wr, names[i]);
		wr_slice(&wr, script_object("a1 | a1=x"));
	}
	MUST(wr_finish(&wr, &list) == 0);
	return list;
}

/* Four names of partition 3, ascending; the last is of partition 4. */
static void
some_names(unsigned char space[4][24], struct dyn_slice names[4])
{
	for (unsigned i = 0; i < 4; i++) {
		names[i] = copies_made_name(i < 3 ? 3 : 4, 77, space[i]);
		space[i][2] = (unsigned char)(i + 1);
	}
}

START_TEST(malformed_questions)
{
	static const unsigned char nodes[300];
	struct copies *w = copies_of_two();
	unsigned char space[4][24];
	struct dyn_slice names[4], swapped[2];
	struct buf *order;
	union msg m;

	copies_fill_and_begin(w);
	copies_pass(w, NS_PER_S);
	m.tree = (struct msg_tree){ 3, slice(nodes, 256) };
	ck_assert_int_eq(copies_hand(w, 0, 1, 9, MSG_TREE, &m), 0);
	m.tree.nodes.len = 255;
	ck_assert_int_eq(copies_hand(w, 0, 1, 9, MSG_TREE, &m), DYN_EPROTO);
	m.tree.nodes.len = 0;
	ck_assert_int_eq(copies_hand(w, 0, 1, 9, MSG_TREE, &m), DYN_EPROTO);
	m.tree = (struct msg_tree){ PARTITIONS, slice(nodes, 256) };
	ck_assert_int_eq(copies_hand(w, 0, 1, 9, MSG_TREE, &m), DYN_EPROTO);

	m.behind.partitions = slice(nodes, 6);
	ck_assert_int_eq(copies_hand(w, 0, 1, 9, MSG_BEHIND, &m), DYN_EPROTO);
	m.behind.partitions = slice("\x10\0\0\0", 4);
	ck_assert_int_eq(copies_hand(w, 0, 1, 9, MSG_BEHIND, &m), DYN_EPROTO);

	some_names(space, names);
	swapped[0] = names[1];
	swapped[1] = names[0];
	order = names_of(swapped, 2, true);
	m.repair = (struct msg_repair){ PARTITIONS, slice(NULL, 0) };
	ck_assert_int_eq(copies_hand(w, 0, 1, 9, MSG_REPAIR, &m), DYN_EPROTO);
	m.repair = (struct msg_repair){ 3, buf_slice(order) };
	ck_assert_int_eq(copies_hand(w, 0, 1, 9, MSG_REPAIR, &m), DYN_EPROTO);
	buf_unref(order);
	copies_free(w);
}
END_TEST

/* LEAVES with this list. */
static int
hand_list(struct copies *w, union msg *m, const struct dyn_slice *names, size_t count)
{
	struct buf *list = names_of(names, count, true);
	int rc;

	m->leaves.rows = buf_slice(list);
	w->m.now += NS_PER_S; /* it is not busy */
	rc = copies_hand(w, 0, 1, 9, MSG_LEAVES, m);
	buf_unref(list);
	return rc;
}

START_TEST(malformed_lists)
{
	static const unsigned char bits[32];
	struct copies *w = copies_of_two();
	unsigned char space[4][24];
	struct dyn_slice names[4], bad[2];
	union msg m = { .leaves = { .partition = 3, .bytes_max = 1000, .bits = slice(bits, 32) } };
	struct buf *good;

	copies_fill_and_begin(w);
	copies_pass(w, NS_PER_S);
	some_names(space, names);
	ck_assert_int_eq(hand_list(w, &m, names, 3), 0);
	m.leaves.partition = PARTITIONS;
	ck_assert_int_eq(hand_list(w, &m, names, 3), DYN_EPROTO);
	m.leaves.partition = 4;
	ck_assert_int_eq(hand_list(w, &m, names, 3), DYN_EPROTO);
	m.leaves.partition = 3;
	m.leaves.bits.len = 31;
	ck_assert_int_eq(hand_list(w, &m, names, 3), DYN_EPROTO);
	m.leaves.bits.len = 0;
	ck_assert_int_eq(hand_list(w, &m, names, 3), DYN_EPROTO);
	m.leaves.bits.len = 32;
	ck_assert_int_eq(hand_list(w, &m, names, 4), DYN_EPROTO); /* of two partitions */
	bad[0] = names[1];
	bad[1] = names[0];
	ck_assert_int_eq(hand_list(w, &m, bad, 2), DYN_EPROTO); /* descending */
	bad[0] = names[0];
	ck_assert_int_eq(hand_list(w, &m, bad, 2), DYN_EPROTO); /* twice the same */
	bad[0] = slice(space[0], 16);
	ck_assert_int_eq(hand_list(w, &m, bad, 1), DYN_EPROTO); /* a hash, no name */
	good = names_of(names, 3, true);
	m.leaves.rows = buf_slice(good);
	for (size_t len = good->len - 1; len > 0; len--) {
		m.leaves.rows.len = len;
		w->m.now += NS_PER_S;
		if (len % (good->len / 3) != 0)
			ck_assert_int_eq(
			    copies_hand(w, 0, 1, 9, MSG_LEAVES, &m), DYN_EPROTO);
	}
	buf_unref(good);
	m.leaves.after = names[0]; /* the list begins with it */
	ck_assert_int_eq(hand_list(w, &m, names, 3), DYN_EPROTO);
	m.leaves.after = slice(NULL, 0);
	m.leaves.until = names[1]; /* the list goes beyond it */
	ck_assert_int_eq(hand_list(w, &m, names, 3), DYN_EPROTO);
	m.leaves.until = names[2];
	ck_assert_int_eq(hand_list(w, &m, names, 3), 0);
	copies_free(w);
}
END_TEST

/* a's request of that kind, which never gets there: its number. */
static uint64_t
unanswered(struct copies *w, uint8_t kind)
{
	struct frame f;
	struct parcel *p;

	MUST(copies_until_sent(w, 0, kind));
	p = &w->queue[w->head++ % ARRAY_LEN(w->queue)];
	MUST(frame_decode(&f, buf_slice(p->frame)) == 0);
	buf_unref(p->frame);
	return f.request;
}

static void
refuses(struct copies *w, uint64_t request, enum msg_kind kind, const union msg *m)
{
	struct counting before = copies_count(w, 0, 1);

	ck_assert_int_eq(copies_hand(w, 1, 0, request, kind, m), DYN_EPROTO);
	ck_assert_uint_eq(copies_count(w, 0, 1).rows, before.rows);
}

/* What is no answer to names and digests. */
static void
refuses_rows(struct copies *w)
{
	unsigned char space[4][24];
	struct dyn_slice names[4], swapped[2];
	struct buf *rows, *order, *wants;
	union msg m;
	uint64_t number;

	some_names(space, names);
	swapped[0] = names[1];
	swapped[1] = names[0];
	number = unanswered(w, MSG_LEAVES);
	memset(&m, 0, sizeof(m));
	refuses(w, number, MSG_LEAVES_ACK, &m); /* neither done nor further */
	m.leaves_ack.done = 1;
	rows = rows_of_names(names, 4);
	m.leaves_ack.rows = buf_slice(rows); /* the last of another partition */
	refuses(w, number, MSG_LEAVES_ACK, &m);
	order = rows_of_names(swapped, 2);
	m.leaves_ack.rows = buf_slice(order);
	refuses(w, number, MSG_LEAVES_ACK, &m);
	m.leaves_ack.rows = slice(rows->data, rows->len / 4 - 1);
	refuses(w, number, MSG_LEAVES_ACK, &m);
	m.leaves_ack.rows = slice(NULL, 0);
	wants = names_of(names, 4, false);
	m.leaves_ack.wants = buf_slice(wants);
	refuses(w, number, MSG_LEAVES_ACK, &m);
	m.leaves_ack.wants.len = wants->len / 4 - 1;
	refuses(w, number, MSG_LEAVES_ACK, &m);
	buf_unref(wants);
	wants = names_of(swapped, 2, false);
	m.leaves_ack.wants = buf_slice(wants);
	refuses(w, number, MSG_LEAVES_ACK, &m);
	buf_unref(wants);
	buf_unref(rows);
	buf_unref(order);
}

START_TEST(malformed_answers)
{
	static const unsigned char bytes[17 * 16 + 1] = {16};
	struct dyn_id b = node_id('b');
	struct copies *w = copies_of_two();
	union msg m = {.trees_ack = {.rc = 0}};
	uint64_t number;

	copies_put_made(w, 0, 3, 1, 'a', 10);
	copies_put_made(w, 1, 3, 2, 'b', 10);
	w->node[1].mute = true;
	copies_only_a_asks(w);
	number = unanswered(w, MSG_TREES);
	m.trees_ack.roots = slice(bytes, 19);
	refuses(w, number, MSG_TREES_ACK, &m);
	m.trees_ack.roots = slice(bytes, 20); /* no such partition: skipped */
	ck_assert_int_eq(copies_hand(w, 1, 0, number + 1, MSG_TREES_ACK, &m), 0);
	repair_lost(w->node[0].r, &b, w->m, &w->node[0].out);

	number = unanswered(w, MSG_TREE);
	memset(&m, 0, sizeof(m));
	m.tree_ack.leaves = slice(bytes, 16 * 16 + 1); /* inner node 16 */
	refuses(w, number, MSG_TREE_ACK, &m);
	m.tree_ack.leaves = slice(bytes + 1, 16 * 16); /* cut */
	refuses(w, number, MSG_TREE_ACK, &m);
	repair_lost(w->node[0].r, &b, w->m, &w->node[0].out);

	refuses_rows(w);
	/* Who sends such things is cut off; who answers well is believed again. */
	repair_lost(w->node[0].r, &b, w->m, &w->node[0].out);
	copies_pass(w, 2 * REPAIR_PERIOD);
	ck_assert_uint_eq(copies_same(w, 0, 1), 2);
	copies_free(w);
}
END_TEST

/* An answer that does not get on would make an exchange without end. */
START_TEST(answers_get_on)
{
	struct dyn_id b = node_id('b');
	struct copies *w = copies_of_two();
	struct frame f;
	union msg m, ask;
	uint64_t number;
	struct parcel *p;

	w->node[1].mute = true;
	for (unsigned i = 0; i < 2 * REPAIR_LIST / 40; i++)
		copies_put_made(w, 0, 3, i, 'a', 5);
	copies_only_a_asks(w);
	number = unanswered(w, MSG_LEAVES);
	memset(&m, 0, sizeof(m));
	m.leaves_ack.done = 1; /* but the list was cut: how far? */
	refuses(w, number, MSG_LEAVES_ACK, &m);
	repair_lost(w->node[0].r, &b, w->m, &w->node[0].out);
	/* The second part; where the first ended is the beginning of it. */
	ck_assert(copies_until_sent(w, 0, MSG_LEAVES));
	copies_deliver(w);
	ck_assert(copies_until_sent(w, 0, MSG_LEAVES));
	p = &w->queue[w->head % ARRAY_LEN(w->queue)];
	MUST(frame_decode(&f, buf_slice(p->frame)) == 0);
	MUST(msg_decode(f.kind, f.body, &ask) == 0);
	ck_assert_uint_gt(ask.leaves.after.len, 0);
	m.leaves_ack.done = 0;
	m.leaves_ack.last = ask.leaves.after;
	refuses(w, f.request, MSG_LEAVES_ACK, &m);
	copies_free(w);
}
END_TEST

/* Requests before this node has a view, and of who shares nothing with it. */
START_TEST(too_early_or_of_strangers)
{
	static const unsigned char nodes[256];
	struct copies *w = copies_of_three();
	union msg m = {.trees = {.count = 0}};
	struct frame f;
	unsigned i;

	for (i = 0; i < 3; i++) {
		static const enum msg_kind early[] = {MSG_TREES, MSG_TREE, MSG_BEHIND};
		union msg back;

		if (i == 1)
			m.tree = (struct msg_tree){3, slice(nodes, 256)};
		if (i == 2)
			m.behind.partitions = slice("\3\0\0\0", 4);
		ck_assert_int_eq(copies_hand(w, 0, 1, 9, early[i], &m), 0);
		ck_assert(w->head + 1 == w->tail);
		MUST(frame_decode(&f,
			 buf_slice(w->queue[w->head % ARRAY_LEN(w->queue)].frame)) == 0);
		MUST(msg_decode(f.kind, f.body, &back) == 0);
		ck_assert_int_eq(msg_rc(back.trees_ack.rc), DYN_EBUSY);
		ck_assert_uint_eq(f.request, 9);
		copies_deliver(w);
	}
	copies_begin(w);
	copies_pass(w, NS_PER_S);
	ck_assert_uint_eq(copies_figures(w, 1).catching, 0);
	copies_free(w);
}
END_TEST

static Suite *
suite(void)
{
	Suite *s = suite_create("repair");
	TCase *c = tcase_create("exchanges");

	suite_add_tcase(s, c);
	tcase_add_test(c, equal_copies_cost_two_small_frames);
	tcase_add_test(c, missing_here_there_and_everywhere);
	tcase_add_loop_test(c, damaged_rows_are_missing, 0, 2);
	tcase_add_test(c, the_cost_is_what_differs);
	tcase_add_test(c, the_sum_knows_the_partition);
	tcase_add_loop_test(c, any_rows, 0, 30);
	tcase_add_loop_test(c, while_writes_go_on, 0, 10);
	tcase_add_loop_test(c, long_lists_are_cut, 0, 3);
	tcase_add_test(c, many_bytes_are_cut);
	c = tcase_create("trouble");
	suite_add_tcase(s, c);
	tcase_add_loop_test(c, whatever_gets_lost, 0, ARRAY_LEN(kinds));
	tcase_add_loop_test(c, a_lost_peer_is_asked_again, 0, 8);
	tcase_add_test(c, who_comes_back_is_asked_soon);
	tcase_add_test(c, busy_is_asked_again);
	tcase_add_test(c, the_asking_pays_too);
	tcase_add_loop_test(c, storing_fails, 0, 3);
	tcase_add_loop_test(c, reading_fails, 0, 4);
	tcase_add_test(c, another_table_is_refused);
	tcase_add_test(c, nobody_is_asked_before_the_trees_stand);
	tcase_add_test(c, rows_that_cannot_be_read);
	tcase_add_test(c, rows_of_one_owner_that_cannot_be_read);
	c = tcase_create("malformed");
	suite_add_tcase(s, c);
	tcase_add_test(c, malformed_questions);
	tcase_add_test(c, malformed_lists);
	tcase_add_test(c, malformed_answers);
	tcase_add_test(c, answers_get_on);
	tcase_add_test(c, too_early_or_of_strangers);
	return s;
}

TEST_MAIN(suite)
