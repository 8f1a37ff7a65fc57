/*
 * Copies that catch up.
 *
 * Goal: the mark of a copy that may lack something goes when all other owners were
 * met since, and not before; it outlives crashes.
 * Method: test/copies.h.
 */
#include "test/copies.h"

START_TEST(a_lost_copy_catches_up_with_all)
{
	struct copies *w = copies_of_three();
	struct node *a = &w->node[0];

	copies_put(w, 1, "k", "b1 | b1=x");
	copies_put(w, 2, "k", "b1 | b1=x");
	copies_put(w, 2, "j", "c1 | c1=y");
	copies_restart(w, 0, true);
	/* It is told and saved before anything else. */
	ck_assert_uint_eq(copies_figures(w, 0).catching, PARTITIONS);
	ck_assert_uint_eq(copies_told(w, 0), PARTITIONS);
	ck_assert_uint_eq(a->saved, 1);
	w->cut[2] = true;
	copies_see_view(w, 1, w->view);
	copies_see_view(w, 2, w->view);
	copies_pass(w, 3 * REPAIR_PERIOD);
	/* b alone is not enough. */
	ck_assert_str_eq(copies_get(w, 0, "k"), "b1 | b1=x");
	ck_assert_uint_gt(copies_figures(w, 0).exchanges, 0);
	ck_assert_uint_eq(copies_figures(w, 0).catching, PARTITIONS);
	ck_assert_uint_eq(copies_told(w, 0), PARTITIONS);
	ck_assert_uint_gt(copies_figures(w, 0).lag_ms, 2 * REPAIR_PERIOD / NS_PER_MS);
	/* A crash now: the mark is there, the meeting is forgotten. */
	copies_restart(w, 0, false);
	ck_assert_uint_eq(copies_figures(w, 0).catching, PARTITIONS);
	ck_assert_uint_eq(copies_told(w, 0), PARTITIONS);
	w->cut[2] = false;
	w->cut[1] = true;
	copies_pass(w, 2 * REPAIR_PERIOD + REPAIR_PATIENCE);
	ck_assert_str_eq(copies_get(w, 0, "j"), "c1 | c1=y");
	ck_assert_uint_eq(copies_figures(w, 0).catching, PARTITIONS);
	w->cut[1] = false;
	copies_pass(w, 2 * REPAIR_PERIOD + REPAIR_PATIENCE);
	ck_assert_uint_eq(copies_figures(w, 0).catching, 0);
	ck_assert_uint_eq(copies_told(w, 0), 0);
	/* And that is saved too. */
	copies_restart(w, 0, false);
	ck_assert_uint_eq(copies_figures(w, 0).catching, 0);
	ck_assert_uint_eq(copies_told(w, 0), 0);
	/* The others never were. */
	ck_assert_uint_eq(
	    copies_figures(w, 1).catching + copies_figures(w, 2).catching, 0);
	ck_assert_ptr_null(w->node[1].told);
	copies_free(w);
}
END_TEST

/* Before a view is there, all of them are. */
START_TEST(lost_before_the_first_view)
{
	struct copies *w = copies_of_three();
	struct node *a = &w->node[0];
	struct buf *bits;

	copies_stop(a);
	copies_start(w, 0, true);
	ck_assert_uint_le(repair_wake(a->r), w->m.now);
	bits = repair_catching(a->r);
	ck_assert_ptr_nonnull(bits);
	ck_assert_uint_ge(bits->len, PARTITIONS / 8);
	ck_assert_uint_eq(bits->data[0], 0xff);
	ck_assert_uint_eq(bits->data[PARTITIONS / 8 - 1], 0xff);
	buf_unref(bits);
	repair_tick(a->r, w->m, &a->out);
	copies_take_effects(w, 0);
	ck_assert_uint_eq(a->saved, 1);
	ck_assert_uint_eq(copies_told(w, 0), PARTITIONS);
	/* It crashes before it ever had a view: not forgotten. */
	copies_restart(w, 0, false);
	ck_assert_uint_eq(copies_figures(w, 0).catching, PARTITIONS);
	copies_begin(w);
	copies_pass(w, 2 * REPAIR_PERIOD);
	ck_assert_uint_eq(copies_figures(w, 0).catching, 0);
	copies_restart(w, 0, false);
	ck_assert_uint_eq(copies_figures(w, 0).catching, 0);
	copies_free(w);
}
END_TEST

/* While some marks are known of before. */
START_TEST(all_lost_between_start_and_view)
{
	struct copies *w = copies_of_three();
	struct node *a = &w->node[0];

	copies_write_row(a, DYN_SPACE_META, dyn_str("catching"), slice("\1\0", 2));
	copies_stop(a);
	copies_start(w, 0, false);
	if (_i == 0) {
		repair_lost_all(a->r, 1, w->m, &a->out);
		copies_take_effects(w, 0);
		ck_assert_uint_eq(copies_told(w, 0), PARTITIONS);
	}
	copies_see_view(w, 0, w->view);
	copies_take_effects(w, 0);
	ck_assert_uint_eq(copies_figures(w, 0).catching, _i == 0 ? PARTITIONS : 1);
	ck_assert_uint_eq(copies_told(w, 0), _i == 0 ? PARTITIONS : 1);
	copies_free(w);
}
END_TEST

/* Damaged rows may go when it is on disk that the copy lacks something. */
START_TEST(a_damaged_row_is_marked_first)
{
	struct copies *w = copies_of_three();
	struct node *a = &w->node[0];

	copies_fill_and_begin(w);
	copies_pass(w, 2 * REPAIR_PERIOD);
	a->hold_meta = true;
	ck_assert(!repair_damaged(a->r, 3));
	repair_tick(a->r, w->m, &a->out);
	copies_take_effects(w, 0);
	ck_assert_uint_eq(a->meta_held, 1);
	ck_assert_uint_eq(copies_told(w, 0), 1);
	ck_assert(!repair_damaged(a->r, 3));
	a->hold_meta = false;
	repair_saved(a->r, DYN_EFULL, w->m, &a->out);
	ck_assert(!repair_damaged(a->r, 3));
	w->m.now += NS_PER_S;
	repair_tick(a->r, w->m, &a->out);
	copies_take_effects(w, 0);
	ck_assert(repair_damaged(a->r, 3));
	copies_pass(w, 2 * REPAIR_PERIOD);
	ck_assert_uint_eq(copies_figures(w, 0).catching, 0);
	copies_free(w);
}
END_TEST

/* With nobody else to ask there is nothing to wait for. */
START_TEST(a_damaged_row_of_the_only_copy)
{
	struct copies *w = copies_new(1, view_ring(1, 1, PARTITIONS));

	copies_begin(w);
	ck_assert(repair_damaged(w->node[0].r, 3));
	ck_assert_uint_eq(copies_figures(w, 0).catching, 0);
	copies_free(w);
}
END_TEST

START_TEST(all_lost_while_running)
{
	struct copies *w = copies_of_three();
	struct node *a = &w->node[0];

	copies_fill_and_begin(w);
	copies_pass(w, 2 * REPAIR_PERIOD);
	ck_assert_ptr_null(a->told);
	repair_lost_all(a->r, 1, w->m, &a->out);
	copies_take_effects(w, 0);
	ck_assert_uint_eq(copies_figures(w, 0).catching, PARTITIONS);
	ck_assert_uint_eq(copies_told(w, 0), PARTITIONS);
	ck_assert_uint_eq(a->saved, 1);
	/* The others are asked at once. */
	copies_pass(w, NS_PER_S / 2);
	ck_assert_uint_eq(copies_figures(w, 0).catching, 0);
	ck_assert_uint_eq(copies_told(w, 0), 0);
	copies_free(w);
}
END_TEST

/* The directory is several tables old: by the next view it owns other partitions, and
 * their copies lack something too. */
START_TEST(all_lost_under_an_old_table)
{
	struct view *before = view_all_read(view_all_synced(view_joins(
	    view_ring(4, 3, PARTITIONS), 'e')));
	struct view *after = view_ring(4, 3, PARTITIONS);
	struct copies *w = copies_new(1, view_ref(before));
	struct node *a = &w->node[0];
	unsigned owned = 0, came = 0;

	copies_see_view(w, 0, before);
	repair_lost_all(a->r, 1, w->m, &a->out);
	copies_take_effects(w, 0);
	ck_assert_uint_eq(copies_told(w, 0), PARTITIONS);
	copies_see_view(w, 0, after);
	copies_take_effects(w, 0);
	for (unsigned p = 0; p < PARTITIONS; p++) {
		owned += view_owns(after, p, &a->r->o.self);
		came += view_owns(after, p, &a->r->o.self) &&
		    !view_owns(before, p, &a->r->o.self);
	}
	ck_assert_uint_gt(came, 0);
	ck_assert_uint_eq(copies_figures(w, 0).catching, owned);
	ck_assert_uint_eq(copies_told(w, 0), owned);
	view_unref(before);
	view_unref(after);
	copies_free(w);
}
END_TEST

/* An answer to what this node asked when it still had all says nothing of now; nor
 * does what a peer asked before it knew. */
START_TEST(answers_of_before_do_not_count)
{
	struct copies *w = copies_of_two();
	struct node *a = &w->node[0];
	unsigned char name[24];
	struct dyn_slice lost;

	copies_put_made(w, 0, 3, 1, 'a', 10);
	copies_put_made(w, 1, 3, 1, 'a', 10);
	lost = copies_made_name(3, 1, name);
	copies_only_a_asks(w);
	ck_assert(copies_until_sent(w, 1, MSG_TREES_ACK));
	copies_write_copy(a, lost, slice(NULL, 0));
	if (_i == 0) {
		repair_lost_all(a->r, 1, w->m, &a->out);
		copies_take_effects(w, 0);
	} else {
		union msg m = {.behind = {.partitions = slice("\3\0\0\0", 4)}};

		ck_assert_int_eq(copies_hand(w, 1, 0, 5, MSG_BEHIND, &m), 0);
	}
	ck_assert_uint_gt(copies_figures(w, 0).catching, 0);
	copies_deliver(w);
	ck_assert_uint_gt(copies_figures(w, 0).catching, 0);
	ck_assert_uint_gt(copies_told(w, 0), 0);
	copies_pass(w, REPAIR_PERIOD + NS_PER_S);
	ck_assert_uint_eq(copies_same(w, 0, 1), 1);
	ck_assert_uint_eq(copies_figures(w, 0).catching, 0);
	copies_free(w);
}
END_TEST

/* Who is marked does not take a peer's word for it, which may be of before; and asks
 * itself, also when others ask often. */
START_TEST(the_marked_asks_itself)
{
	struct copies *w = copies_of_two();
	union msg m = {.behind = {.partitions = slice("\3\0\0\0", 4)}}, sum;

	copies_begin(w);
	copies_pass(w, NS_PER_S);
	ck_assert_int_eq(copies_hand(w, 1, 0, 5, MSG_BEHIND, &m), 0);
	repair_sum(w->node[1].r, &(struct dyn_id[]){node_id('a')}[0], &sum.trees.sum,
	    &sum.trees.count);
	w->cut[1] = true;
	for (unsigned i = 0; i < 30; i++) {
		ck_assert_int_eq(copies_hand(w, 1, 0, 100 + i, MSG_TREES, &sum), 0);
		copies_pass(w, NS_PER_S);
		ck_assert_uint_eq(copies_figures(w, 0).catching, 1);
	}
	ck_assert_uint_ge(w->frames[MSG_TREES], 1);
	w->cut[1] = false;
	for (unsigned i = 0; i < 30; i++) {
		ck_assert_int_eq(copies_hand(w, 1, 0, 200 + i, MSG_TREES, &sum), 0);
		copies_pass(w, NS_PER_S);
	}
	ck_assert_uint_eq(copies_figures(w, 0).catching, 0);
	copies_free(w);
}
END_TEST

START_TEST(behind_marks_what_it_names)
{
	struct copies *w = copies_of_three();
	struct node *a = &w->node[0];
	union msg m = {.behind = {.partitions = slice("\3\0\0\0\7\0\0\0", 8)}};

	copies_begin(w);
	copies_pass(w, NS_PER_S);
	ck_assert_int_eq(copies_hand(w, 1, 0, 5, MSG_BEHIND, &m), 0);
	ck_assert_uint_eq(w->frames[MSG_BEHIND_ACK], 1);
	ck_assert_uint_eq(w->last[MSG_BEHIND_ACK], 5);
	ck_assert_uint_eq(copies_figures(w, 0).catching, 2);
	ck_assert_uint_eq(copies_told(w, 0), 2);
	ck_assert_uint_eq(a->told->data[0], 1 << 3 | 1 << 7);
	ck_assert_uint_eq(a->saved, 1);
	/* Said again: nothing new to tell or to save. */
	w->head++;
	buf_unref(w->queue[(w->head - 1) % ARRAY_LEN(w->queue)].frame);
	ck_assert_int_eq(copies_hand(w, 2, 0, 6, MSG_BEHIND, &m), 0);
	ck_assert_uint_eq(a->saved, 1);
	copies_pass(w, 3 * REPAIR_PERIOD);
	ck_assert_uint_eq(copies_figures(w, 0).catching, 0);
	ck_assert_uint_eq(copies_told(w, 0), 0);
	copies_free(w);
}
END_TEST

/* Whoever gave up a hint forgets it then; so the mark is on disk before it is told so. */
START_TEST(behind_is_answered_when_it_is_safe)
{
	struct copies *w = copies_of_two();
	struct node *a = &w->node[0];
	union msg m = { .behind = { .partitions = slice("\3\0\0\0", 4) } }, ack;
	struct frame f;

	copies_begin(w);
	copies_pass(w, NS_PER_S);
	a->hold_meta = true;
	ck_assert_int_eq(copies_hand(w, 1, 0, 5, MSG_BEHIND, &m), 0);
	ck_assert_uint_eq(a->meta_held, 1);
	ck_assert_uint_eq(w->frames[MSG_BEHIND_ACK], 0);
	repair_saved(a->r, _i == 0 ? 0 : DYN_EFULL, w->m, &a->out);
	a->hold_meta = false;
	copies_take_effects(w, 0);
	ck_assert_uint_eq(w->frames[MSG_BEHIND_ACK], 1);
	MUST(frame_decode(&f, buf_slice(w->queue[w->head % ARRAY_LEN(w->queue)].frame)) == 0);
	MUST(msg_decode(f.kind, f.body, &ack) == 0);
	ck_assert_int_eq(msg_rc(ack.behind_ack.rc), _i == 0 ? 0 : DYN_EFULL);
	/* What could not be saved is saved later. */
	ck_assert_uint_eq(a->saved, 0);
	w->cut[1] = true;
	copies_pass(w, 3 * NS_PER_S);
	ck_assert_uint_eq(a->saved, (unsigned)_i);
	ck_assert_uint_eq(copies_figures(w, 0).catching, 1);
	copies_free(w);
}
END_TEST

/* A view that shows the new life waits for the word that all is marked on disk. */
START_TEST(marked_is_said_when_it_is_safe)
{
	struct copies *w = copies_of_two();
	struct node *a = &w->node[0];

	if (_i < 2) {
		copies_begin(w);
		copies_pass(w, NS_PER_S);
	}
	a->hold_meta = true;
	repair_lost_all(a->r, 1, w->m, &a->out);
	copies_take_effects(w, 0);
	ck_assert_uint_eq(a->meta_held, 1);
	repair_lost_all(a->r, 2, w->m, &a->out);
	copies_take_effects(w, 0);
	ck_assert_int_eq(a->marked, 0);
	/* The first is there: of the second that says nothing. */
	repair_saved(a->r, 0, w->m, &a->out);
	copies_take_effects(w, 0);
	ck_assert_int_eq(a->marked, 0);
	repair_saved(a->r, _i % 2 == 0 ? 0 : DYN_EFULL, w->m, &a->out);
	a->hold_meta = false;
	copies_take_effects(w, 0);
	ck_assert_int_eq(a->marked, _i % 2 == 0 ? 2 : 0);
	w->m.now += 2 * NS_PER_S;
	if (repair_wake(a->r) <= w->m.now)
		repair_tick(a->r, w->m, &a->out);
	copies_take_effects(w, 0);
	ck_assert_int_eq(a->marked, 2);
	ck_assert_uint_eq(a->saved, (unsigned)_i % 2);
	copies_free(w);
}
END_TEST

/* Each is busy with its own list when the other asks. */
START_TEST(two_that_ask_each_other_get_on)
{
	struct copies *w = copies_of_two();

	copies_fill(w);
	copies_begin(w);
	for (unsigned i = 0; i < 2; i++) {
		w->node[i].admit.rate = 64 << 10; /* a list takes it longer than REPAIR_REST */
		repair_lost_all(w->node[i].r, 1, w->m, &w->node[i].out);
	}
	copies_pass(w, REPAIR_PERIOD);
	ck_assert_uint_eq(copies_same(w, 0, 1), 3);
	for (unsigned i = 0; i < 2; i++)
		ck_assert_uint_eq(copies_figures(w, i).catching, 0);
	copies_free(w);
}
END_TEST

/* Who was met before the mark has to be met again. */
START_TEST(what_was_equal_before_does_not_count)
{
	struct copies *w = copies_of_three();
	union msg m = {.behind = {.partitions = slice("\3\0\0\0", 4)}};

	copies_begin(w);
	copies_pass(w, 2 * REPAIR_PERIOD);
	w->cut[2] = true;
	ck_assert_int_eq(copies_hand(w, 1, 0, 5, MSG_BEHIND, &m), 0);
	copies_pass(w, 3 * REPAIR_PERIOD);
	ck_assert_uint_eq(copies_figures(w, 0).catching, 1);
	w->cut[2] = false;
	copies_pass(w, 3 * REPAIR_PERIOD);
	ck_assert_uint_eq(copies_figures(w, 0).catching, 0);
	copies_free(w);
}
END_TEST

/* With rows to fetch, the mark goes when they are here, partition by partition. */
START_TEST(marks_go_one_by_one)
{
	struct copies *w = copies_of_two();
	struct node *a = &w->node[0];

	copies_put(w, 1, "k", "b1 | b1=x");
	copies_restart(w, 0, true);
	a->hold = true;
	copies_see_view(w, 1, w->view);
	copies_pass(w, NS_PER_S);
	ck_assert_ptr_nonnull(a->held);
	ck_assert_uint_eq(copies_figures(w, 0).catching >= 1, 1);
	ck_assert_uint_eq(
	    a->told->data[copies_partition("k") / 8] >> copies_partition("k") % 8 & 1, 1);
	a->hold = false;
	copies_store(w, a, a->held);
	a->held = NULL;
	copies_pass(w, NS_PER_S);
	ck_assert_uint_eq(copies_figures(w, 0).catching, 0);
	ck_assert_uint_eq(copies_same(w, 0, 1), 1);
	copies_free(w);
}
END_TEST

START_TEST(alone_there_is_nobody_to_catch_up_with)
{
	struct copies *w = copies_new(1, view_ring(1, 3, PARTITIONS));
	struct node *a = &w->node[0];
	union msg m = {.behind = {.partitions = slice("\3\0\0\0", 4)}};

	copies_stop(a);
	copies_start(w, 0, _i == 0);
	copies_see_view(w, 0, w->view);
	copies_take_effects(w, 0);
	ck_assert_uint_eq(copies_figures(w, 0).catching, 0);
	if (_i == 1)
		repair_lost_all(a->r, 1, w->m, &a->out);
	if (_i == 2)
		ck_assert_int_eq(copies_hand(w, 0, 0, 5, MSG_BEHIND, &m), 0);
	copies_take_effects(w, 0);
	ck_assert_uint_eq(copies_figures(w, 0).catching, 0);
	ck_assert_uint_eq(copies_told(w, 0), 0);
	copies_pass(w, 2 * REPAIR_PERIOD);
	ck_assert_uint_eq(w->frames[MSG_TREES], 0);
	copies_restart(w, 0, false);
	ck_assert_uint_eq(copies_figures(w, 0).catching, 0);
	copies_free(w);
}
END_TEST

START_TEST(a_partition_given_away_loses_its_mark)
{
	struct copies *w = copies_of_three();
	struct view *five = view_ring(5, 2, PARTITIONS);
	struct dyn_id a = node_id('a');
	unsigned mine = 0;

	copies_restart(w, 0, true);
	ck_assert_uint_eq(copies_figures(w, 0).catching, PARTITIONS);
	copies_see_view(w, 0, five);
	copies_take_effects(w, 0);
	for (unsigned p = 0; p < PARTITIONS; p++)
		mine += view_owns(five, p, &a);
	ck_assert_uint_gt(mine, 0);
	ck_assert_uint_lt(mine, PARTITIONS);
	ck_assert_uint_eq(copies_figures(w, 0).catching, mine);
	ck_assert_uint_eq(copies_told(w, 0), mine);
	view_unref(five);
	copies_free(w);
}
END_TEST

/* c is forgotten for good; where it is an owner still by the table, nobody waits. */
START_TEST(forgotten_members_do_not_block)
{
	struct copies *w = copies_of_three();
	struct view *v;
	unsigned without_d = 0;

	view_ref(w->view);
	v = view_joins(w->view, 'd'); /* it owns parts by the new table only */
	copies_restart(w, 0, true);
	w->cut[2] = true;
	copies_see_view(w, 1, w->view);
	copies_pass(w, 3 * REPAIR_PERIOD);
	ck_assert_uint_eq(copies_figures(w, 0).catching, PARTITIONS);
	copies_see_view(w, 0, v);
	copies_see_view(w, 1, v);
	copies_pass(w, 3 * REPAIR_PERIOD);
	ck_assert_uint_eq(copies_figures(w, 0).catching, PARTITIONS);
	v = view_leaves(v, 'c');
	copies_see_view(w, 0, v);
	copies_see_view(w, 1, v);
	copies_pass(w, 3 * REPAIR_PERIOD);
	for (unsigned p = 0; p < PARTITIONS; p++) {
		struct dyn_id a = node_id('a'), d = node_id('d');

		without_d += table_rank(v->current, p, &d) == v->current->n &&
			     table_rank(v->current, p, &a) < v->current->n;
	}
	ck_assert_uint_gt(without_d, 0);
	ck_assert_uint_lt(without_d, PARTITIONS);
	ck_assert_uint_eq(copies_figures(w, 0).catching, PARTITIONS - without_d);
	view_unref(v);
	copies_free(w);
}
END_TEST

static Suite *
suite(void)
{
	Suite *s = suite_create("catching up");
	TCase *c = tcase_create("marks");

	suite_add_tcase(s, c);
	tcase_add_test(c, a_lost_copy_catches_up_with_all);
	tcase_add_test(c, lost_before_the_first_view);
	tcase_add_loop_test(c, all_lost_between_start_and_view, 0, 2);
	tcase_add_test(c, all_lost_while_running);
	tcase_add_test(c, all_lost_under_an_old_table);
	tcase_add_test(c, a_damaged_row_is_marked_first);
	tcase_add_test(c, a_damaged_row_of_the_only_copy);
	tcase_add_loop_test(c, answers_of_before_do_not_count, 0, 2);
	tcase_add_test(c, the_marked_asks_itself);
	tcase_add_test(c, behind_marks_what_it_names);
	tcase_add_loop_test(c, behind_is_answered_when_it_is_safe, 0, 2);
	tcase_add_loop_test(c, marked_is_said_when_it_is_safe, 0, 4);
	tcase_add_test(c, two_that_ask_each_other_get_on);
	tcase_add_test(c, what_was_equal_before_does_not_count);
	tcase_add_test(c, marks_go_one_by_one);
	tcase_add_loop_test(c, alone_there_is_nobody_to_catch_up_with, 0, 3);
	tcase_add_test(c, a_partition_given_away_loses_its_mark);
	tcase_add_test(c, forgotten_members_do_not_block);
	return s;
}

TEST_MAIN(suite)
