/*
 * The table of conversations (work.c): fences, rows, budgets, peers.
 *
 * Goal: a fence holds when all that was accepted before is committed; rows are
 * told stored when they are durable; everything given to a worker comes back.
 * Method: node a under a script.
 */
#include "test/core_script.h"

#include <stdio.h>

static struct rows token;

static struct script *
node_a(void)
{
	return script_new(&(struct script_options){ .self = 'a', .view = view_ring(3, 3, 16) });
}

static void
fence(struct script *s, struct view *v)
{
	work_fence(s->work, v, &token, s->m, &s->out);
	script_effects(s);
}

START_TEST(a_fence_waits_for_what_was_accepted)
{
	struct script *s = node_a();
	struct view *v = view_joins(view_ring(3, 3, 16), 'd');

	fence(s, s->o.view);
	EXPECT(s, "0 FENCED ok\n");
	script_peer_put(s, 'b', NULL, 9, "k", "b1 | b1=x", DYN_DURABLE_DISK);
	script_turn(s);
	script_peer_put(s, 'b', NULL, 10, "k", "b2 | b2=y", DYN_DURABLE_MEMORY);
	script_skip(s);
	fence(s, v);
	EXPECT(s, "");
	/* By now it refuses, and goes by the new view itself. */
	ck_assert_ptr_eq(s->work->view, v);
	script_peer_put(s, 'b', s->o.view, 11, "k", "b3 | b3=z", DYN_DURABLE_DISK);
	EXPECT(s, "0 POKE b\n"
	          "0 REPLY PUT_ACK 7 #11 EMOVED\n");
	script_commit(s, 0);
	EXPECT(s, "0 REPLY PUT_ACK 7 #9 ok disk\n");
	script_turn(s);
	script_commit(s, 0);
	EXPECT(s, "0 COMMIT 2 rows=1 memory\n"
	          "0 FENCED ok\n");
	script_free(s);
	view_unref(v);
}
END_TEST

START_TEST(a_fence_after_a_failure)
{
	struct script *s = node_a();

	script_peer_put(s, 'b', NULL, 9, "k", "b1 | b1=x", DYN_DURABLE_DISK);
	script_turn(s);
	fence(s, s->o.view);
	script_skip(s);
	script_commit(s, DYN_EFULL);
	/* What was lost was not acknowledged. */
	EXPECT(s, "0 LOG storage: commit failed: no space left for storage\n"
	          "0 REPLY PUT_ACK 7 #9 EFULL\n"
	          "0 FENCED ok\n");
	fence(s, s->o.view);
	EXPECT(s, "0 FENCED ok\n");
	script_free(s);
}
END_TEST

START_TEST(a_fence_by_an_older_view_changes_nothing)
{
	struct view *v = view_joins(view_ring(3, 3, 16), 'd'), *old = view_ring(3, 3, 16);
	struct script *s = script_new(&(struct script_options){ .self = 'a', .view = v });

	fence(s, old);
	EXPECT(s, "0 FENCED ok\n");
	ck_assert_ptr_eq(s->work->view, v);
	script_view(s, old);
	ck_assert_ptr_eq(s->work->view, v);
	script_free(s);
	view_unref(old);
}
END_TEST

/* Rows as in PULL_ACK: pairs of key and object, NULL at the end. */
static struct buf *
rows_of(const char *const *pairs)
{
	struct buf *rows;
	struct wr w;

	wr_init(&w, 256);
	for (; *pairs != NULL; pairs += 2) {
		struct buf *name = key_name(pairs[0]);

		wr_slice(&w, buf_slice(name));
		wr_slice(&w, script_object(pairs[1]));
		buf_unref(name);
	}
	ck_assert_int_eq(wr_finish(&w, &rows), 0);
	return rows;
}

static void
take_rows(struct script *s, struct dyn_slice rows)
{
	buf_unref(token.bytes);
	token = (struct rows){ .of = ROWS_PULL, .bytes = buf_copy(rows.data, rows.len) };
	ck_assert_ptr_nonnull(token.bytes);
	work_take(s->work, &token, s->m, &s->out);
	script_effects(s);
}

START_TEST(rows_are_merged_and_durable)
{
	static const char *const pairs[] = { "k", "b1 | b1=x", "j", "b1 c1 | c1=y", NULL };
	struct buf *rows = rows_of(pairs);
	struct script *s = node_a();

	script_row(s, "k", "a1 | a1=w");
	take_rows(s, buf_slice(rows));
	script_turn(s);
	EXPECT(s, "0 COMMIT 1 rows=2 disk\n");
	script_commit(s, 0);
	EXPECT(s, "0 STORED ok\n");
	ck_assert_str_eq(script_stored(s, "k"), "a1 b1 | a1=w b1=x");
	ck_assert_str_eq(script_stored(s, "j"), "b1 c1 | c1=y");
	ck_assert_uint_eq(work_stats(s->work)->pulled_rows, 2);
	/* Again: there already, and on disk. */
	take_rows(s, buf_slice(rows));
	EXPECT(s, "0 STORED ok\n");
	take_rows(s, slice(NULL, 0));
	EXPECT(s, "0 STORED ok\n");
	buf_unref(rows);
	script_free(s);
}
END_TEST

/* The sync thread makes way for calls: it is told how long ago the last one was. */
START_TEST(rows_tell_of_calls)
{
	struct script *s = node_a();

	script_wait(s, 20);
	take_rows(s, slice(NULL, 0));
	ck_assert_uint_eq(token.quiet, 20 * NS_PER_MS);
	script_get(s, "k");
	script_wait(s, 7);
	take_rows(s, slice(NULL, 0));
	ck_assert_uint_eq(token.quiet, 7 * NS_PER_MS);
	script_peer_get(s, 'b', NULL, 1, "k");
	take_rows(s, slice(NULL, 0));
	ck_assert_uint_eq(token.quiet, 0);
	script_skip(s);
	script_free(s);
}
END_TEST

START_TEST(rows_that_are_not_stored)
{
	static const char *const pairs[] = { "k", "b1 | b1=x", NULL };
	struct buf *rows = rows_of(pairs);
	struct script *s = node_a();

	take_rows(s, buf_slice(rows));
	script_turn(s);
	script_skip(s);
	script_commit(s, DYN_EFULL);
	EXPECT(s, "0 LOG storage: commit failed: no space left for storage\n"
	          "0 STORED EFULL\n");
	take_rows(s, slice(rows->data, rows->len - 1));
	EXPECT(s, "0 STORED EPROTO\n");
	take_rows(s, dyn_str("\3abc"));
	EXPECT(s, "0 STORED EPROTO\n");
	s->fake->get_rc = DYN_EIO;
	take_rows(s, buf_slice(rows));
	EXPECT(s, "0 STORED EIO\n");
	buf_unref(rows);
	script_free(s);
}
END_TEST

START_TEST(a_stamp_too_far_ahead_does_not_hold_up_rows)
{
	static const char *const pairs[] = { "k", "b1 | b1@99999999999999#x", NULL };
	struct buf *rows = rows_of(pairs);
	struct script *s = node_a();

	take_rows(s, buf_slice(rows));
	script_commit(s, 0);
	EXPECT(s, "0 COMMIT 1 rows=1 disk\n"
	          "0 STORED ok\n");
	/* As a new write it is refused. */
	script_peer_put(s, 'b', NULL, 9, "j", "b1 | b1@99999999999999#x", DYN_DURABLE_DISK);
	EXPECT(s, "0 REPLY PUT_ACK 7 #9 ECLOCK\n");
	buf_unref(rows);
	script_free(s);
}
END_TEST

START_TEST(many_waiters_in_order)
{
	struct script *s = node_a();
	unsigned answers = 0;
	const char *p;

	s->quiet = true;
	for (unsigned i = 1; i <= 700; i++) {
		script_peer_put(s, 'b', NULL, i, "k", "b1 | b1=x", DYN_DURABLE_DISK);
		if (i % 100 == 0) {
			script_turn(s);
			if (s->batches_count > 0)
				script_commit(s, 0);
		}
	}
	s->quiet = false;
	script_peer_put(s, 'b', NULL, 701, "j", "b1 | b1=x", DYN_DURABLE_DISK);
	script_peer_put(s, 'b', NULL, 702, "j", "b1 | b1=x", DYN_DURABLE_DISK);
	script_commit(s, 0);
	for (p = script_trace(s); (p = strstr(p, "REPLY")) != NULL; p++)
		answers++;
	ck_assert_uint_eq(answers, 2);
	ck_assert_uint_eq(s->work->waiters_count, 0);
	script_free(s);
}
END_TEST

START_TEST(peers_are_told_apart_by_worker)
{
	struct script *s = node_a();
	struct dyn_id b = node_id('b');

	script_put(s, "k", "x");
	script_skip(s);
	/* Another worker's connection to b: none of ours uses it. */
	work_peer_down(s->work, &b, 3, true, s->m, &s->out);
	script_put_ack(s, 'b', 1, 0);
	script_commit(s, 0);
	EXPECT(s, "0 COMMIT 1 rows=1 disk\n"
	          "0 DONE put ok owners=2 disk=2\n");
	script_free(s);
}
END_TEST

START_TEST(frames_of_another_table_poke)
{
	struct view *next = view_joins(view_ring(3, 3, 16), 'd');
	struct script *s = node_a();

	script_peer_get(s, 'b', next, 3, "k");
	script_peer_get(s, '-', next, 4, "k");
	script_peer_get(s, 'b', NULL, 5, "k");
	EXPECT(s, "0 POKE b\n"
	          "0 REPLY GET_ACK 7 #3 ok none\n"
	          "0 REPLY GET_ACK 7 #4 ok none\n"
	          "0 REPLY GET_ACK 7 #5 ok none\n");
	script_free(s);
	view_unref(next);
}
END_TEST

START_TEST(counted)
{
	struct script *s = node_a();
	const struct work_stats *stats = work_stats(s->work);

	script_put(s, "k", "x");
	script_get(s, "k");
	script_op(s, OP_DELETE, "k", &(struct with){ .context = "a1", .w = 1 });
	script_commit(s, 0);
	script_get_ack(s, 'b', 2, 0, NULL);
	script_wait(s, 1000);
	ck_assert_uint_eq(stats->puts, 1);
	ck_assert_uint_eq(stats->deletes, 1);
	ck_assert_uint_eq(stats->gets, 1);
	ck_assert_uint_eq(stats->unknown, 1);
	ck_assert_uint_eq(stats->failed, 0);
	ck_assert_uint_eq(stats->coordinated, 3);
	script_free(s);
}
END_TEST

/* ------------------------------------------------------------------ parked */

START_TEST(waits_while_the_ring_grows)
{
	struct view *v = view_joins(view_ring(1, 3, 16), 'b');
	struct script *s =
	    script_new(&(struct script_options){ .self = 'a', .view = view_ref(v) });

	script_put(s, "k", "x");
	script_get(s, "k");
	script_op(s, OP_PUT, "j", &(struct with){ .value = "y", .timeout_ms = 50 });
	EXPECT(s, "");
	/* R=1 has its owner; nothing of the put is seen. */
	script_op(s, OP_GET, "k", &(struct with){ .r = 1 });
	script_op(s, OP_GET, "k", &(struct with){ .flags = DYN_HERE });
	EXPECT(s, "0 DONE get ok owners=1 none\n"
	          "0 DONE get ok owners=1 none\n");
	script_wait(s, 50);
	EXPECT(s, "50 DONE put EQUORUM owners=0 disk=0\n");
	v = view_all_synced(v);
	script_view(s, v);
	/* Reads have two owners now, writes to the old table have not. */
	EXPECT(s, "50 SEND GET b #4\n");
	v = view_all_read(v);
	script_view(s, v);
	EXPECT(s, "50 SEND PUT b #5 a1 | a1=x\n");
	script_put_ack(s, 'b', 5, 0);
	script_commit(s, 0);
	EXPECT(s, "50 COMMIT 1 rows=1 disk\n"
	          "50 DONE put ok owners=2 disk=2\n");
	script_free(s);
	view_unref(v);
}
END_TEST

START_TEST(a_settled_ring_that_is_too_small_is_not_waited_for)
{
	struct script *s =
	    script_new(&(struct script_options){ .self = 'a', .view = view_ring(1, 3, 16) });

	script_put(s, "k", "x");
	script_get(s, "k");
	EXPECT(s, "0 DONE put EQUORUM owners=0 disk=0\n"
	          "0 DONE get EQUORUM owners=1\n");
	script_free(s);
}
END_TEST

/* Behind all that was taken before; and not while the worker goes by another table. */
START_TEST(said_to_be_settled)
{
	struct view *v = view_ring(4, 3, 16), *moving = view_joins(view_ref(v), 'e');
	struct script *s = script_new(&(struct script_options){ .self = 'a', .view = v });

	script_peer_put(s, 'b', NULL, 0, view_key(v, "abc"), "b1 | b1=x", DYN_DURABLE_DISK);
	buf_unref(token.bytes);
	token = (struct rows){ .of = ROWS_SETTLED };
	if (_i == 1) {
		script_view(s, moving);
		script_skip(s);
	}
	work_take(s->work, &token, s->m, &s->out);
	script_effects(s);
	if (_i == 1) {
		EXPECT(s, "0 STORED EBUSY\n");
	} else {
		EXPECT(s, "");
		script_turn(s);
		EXPECT(s, "0 COMMIT 1 rows=1 disk\n");
		script_commit(s, 0);
		EXPECT(s, "0 STORED ok\n");
	}
	view_unref(moving);
	script_free(s);
}
END_TEST

/* What is left of a partition that others own goes; but not if it is ours again. */
START_TEST(rows_that_others_own)
{
	struct view *v = view_ring(4, 3, 16);
	const char *key = view_key(v, _i == 0 ? "bcd" : "abc");
	struct script *s = script_new(&(struct script_options){ .self = 'a', .view = v });
	struct buf *name = key_name(key);
	struct wr w;

	script_row(s, key, "b1 | b1=x");
	buf_unref(token.bytes);
	token = (struct rows){ .of = ROWS_LEFT,
		.partition = name_partition(buf_slice(name), 16) };
	wr_init(&w, 64);
	wr_slice(&w, buf_slice(name));
	ck_assert_int_eq(wr_finish(&w, &token.bytes), 0);
	work_take(s->work, &token, s->m, &s->out);
	script_effects(s);
	script_turn(s);
	if (_i == 0) {
		EXPECT(s, "0 COMMIT 1 rows=1 disk\n");
		script_commit(s, 0);
		EXPECT(s, "0 STORED ok\n");
		ck_assert_str_eq(script_stored(s, key), "none");
	} else {
		EXPECT(s, "0 STORED EMOVED\n");
		ck_assert_str_eq(script_stored(s, key), "b1 | b1=x");
	}
	buf_unref(name);
	script_free(s);
}
END_TEST

/* A row that cannot be read is told of, and goes only when that is asked for: under a
 * new actor, since ours may have been in it.  One that can be read stays. */
START_TEST(a_damaged_row)
{
	struct script *s = node_a();
	struct buf *name = key_name("k");
	uint64_t actor = work_incarnation(s->work);
	char told[64];
	struct wr w;

	script_row(s, "k", "a1 b1 | a1=x");
	if (_i == 0)
		fake_damage(s->fake, buf_slice(name));
	script_peer_get(s, 'b', NULL, 9, "k");
	script_turn(s);
	snprintf(told, sizeof(told), "0 REPLY GET_ACK 7 #9 ECORRUPT incomplete\n0 DAMAGED %u\n",
	    name_partition(buf_slice(name), 16));
	EXPECT(s, _i == 0 ? told : "0 REPLY GET_ACK 7 #9 ok a1 b1 | a1=x\n");
	script_turn(s);
	EXPECT(s, ""); /* told once */
	buf_unref(token.bytes);
	token = (struct rows){ .of = ROWS_DAMAGED };
	wr_init(&w, 64);
	wr_slice(&w, buf_slice(name));
	ck_assert_int_eq(wr_finish(&w, &token.bytes), 0);
	work_take(s->work, &token, s->m, &s->out);
	script_effects(s);
	script_turn(s);
	if (_i == 0) {
		EXPECT(s, "0 COMMIT 1 rows=1 disk\n");
		script_commit(s, 0);
		EXPECT(s, "0 STORED ok\n");
		ck_assert_str_eq(script_stored(s, "k"), "none");
		ck_assert_uint_gt(work_incarnation(s->work), actor);
	} else {
		EXPECT(s, "0 STORED ok\n");
		ck_assert_str_eq(script_stored(s, "k"), "a1 b1 | a1=x");
		ck_assert_uint_eq(work_incarnation(s->work), actor);
	}
	buf_unref(name);
	script_free(s);
}
END_TEST

/* ---------------------------------------------------------------- failures */

static void
rows_sequence(struct view *v, struct view *next, struct buf *rows)
{
	struct script *s =
	    script_new(&(struct script_options){ .self = 'a', .view = view_ref(v) });
	unsigned back = 0;

	if (s == NULL) {
		view_unref(v);
		return;
	}
	s->quiet = true;
	token = (struct rows){ .of = ROWS_PULL, .bytes = rows };
	work_take(s->work, &token, s->m, &s->out);
	work_fence(s->work, next, &token, s->m, &s->out);
	work_turn(s->work, &s->out);
	for (size_t i = 0; i < s->out.count; i++)
		back += s->out.list[i].what == &token;
	script_effects(s);
	if (s->batches_count > 0) {
		struct batch *b = s->batches[0];

		s->batches_count = 0;
		work_committed(s->work, b, 0, s->m, &s->out);
	}
	for (size_t i = 0; i < s->out.count; i++)
		back += s->out.list[i].what == &token;
	ck_assert_uint_eq(back, 2);
	ck_assert(!work_committing(s->work));
	script_free(s);
}

START_TEST(each_allocation_fails)
{
	static const char *const pairs[] = { "k", "b1 | b1=x", "j", "c1 | c1=y", NULL };
	struct view *v = view_ring(3, 3, 16), *next = view_joins(view_ref(v), 'd');
	struct buf *rows = rows_of(pairs);

	TEST_ALLOC_FAILURES(n)
		rows_sequence(v, next, rows);
	buf_unref(rows);
	view_unref(v);
	view_unref(next);
}
END_TEST

static Suite *
suite(void)
{
	Suite *s = suite_create("work");
	TCase *c = tcase_create("work");

	suite_add_tcase(s, c);
	tcase_add_test(c, a_fence_waits_for_what_was_accepted);
	tcase_add_test(c, a_fence_after_a_failure);
	tcase_add_test(c, a_fence_by_an_older_view_changes_nothing);
	tcase_add_test(c, rows_are_merged_and_durable);
	tcase_add_loop_test(c, rows_that_others_own, 0, 2);
	tcase_add_loop_test(c, a_damaged_row, 0, 2);
	tcase_add_loop_test(c, said_to_be_settled, 0, 2);
	tcase_add_test(c, rows_tell_of_calls);
	tcase_add_test(c, rows_that_are_not_stored);
	tcase_add_test(c, a_stamp_too_far_ahead_does_not_hold_up_rows);
	tcase_add_test(c, many_waiters_in_order);
	tcase_add_test(c, peers_are_told_apart_by_worker);
	tcase_add_test(c, frames_of_another_table_poke);
	tcase_add_test(c, counted);
	tcase_add_test(c, waits_while_the_ring_grows);
	tcase_add_test(c, a_settled_ring_that_is_too_small_is_not_waited_for);
	tcase_add_test(c, each_allocation_fails);
	return s;
}

TEST_MAIN(suite)
