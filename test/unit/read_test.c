/*
 * get (read.c).
 *
 * Goal: R complete copies make an answer, all their versions are in it, and
 * who was found behind is brought up to date, also by answers that come late.
 * Method: a node under a script; its effects are compared line by line.  Then
 * sequences with each allocation failing.
 */
#include "test/core_script.h"

#include <stdio.h>

static struct script *
node(char self)
{
	return script_new(
	    &(struct script_options){ .self = self, .view = view_ring(3, 3, 16) });
}

/* A client of the ring: no copy of its own. */
static struct script *
client(void)
{
	return script_new(&(struct script_options){ .self = 'z', .client = true,
	    .view = view_ring(3, 3, 16) });
}

START_TEST(own_copy_and_one_more)
{
	struct script *s = node('a');

	script_row(s, "k", "a1 | a1=x");
	script_get(s, "k");
	EXPECT(s, "0 SEND GET b #1\n"
	          "0 SEND GET c #1\n");
	script_get_ack(s, 'c', 1, 0, "a1 | a1=x");
	EXPECT(s, "0 DONE get ok owners=2 a1 | a1=x\n");
	ck_assert_uint_eq(s->last->answered_first, 'c');
	/* All agree: nothing more is said. */
	script_get_ack(s, 'b', 1, 0, "a1 | a1=x");
	EXPECT(s, "");
	ck_assert_uint_eq(work_requests(s->work), 0);
	script_turn(s);
	EXPECT(s, "");
	script_free(s);
}
END_TEST

/* A fence for collecting comes in between: a repair says of which table it is, and
 * this node's own copy takes none. */
START_TEST(repairs_of_before_a_fence)
{
	struct view *before = view_ring(4, 3, 16), *after = view_fenced(before, true);
	struct script *s = script_new(&(struct script_options){ .self = 'a', .view = before });
	const char *key = view_key(after, "abc");

	script_row(s, key, "b1 c1 |");
	script_get(s, key);
	script_skip(s);
	script_get_ack(s, 'b', 1, 0, "b1 | b1=x");
	EXPECT(s, "0 DONE get ok owners=2 b1 c1 |\n");
	script_view(s, after);
	script_get_ack(s, 'c', 1, 0, "b1 c1 d1 | d1=z");
	EXPECT(s, "0 SEND PUT b #0 by table 2 b1 c1 d1 | d1=z\n");
	script_turn(s);
	ck_assert_uint_eq(s->batches_count, 0);
	script_free(s);
	view_unref(after);
}
END_TEST

/* All are asked, those of the own rack and zone first; an answer counts whoever gives
 * it, and who is suspected is not asked. */
START_TEST(the_nearest_are_asked_first)
{
	static const char *const locations[] = { "dc/x/r/m", "dc/z/q/m", "dc/z/r/m", NULL };
	struct script *s = script_new(&(struct script_options){ .self = 'z', .client = true,
	    .location = "dc/z/r", .as_sent = true, .view = view_places(view_ring(3, 3, 16), locations) });

	script_get(s, "k");
	EXPECT(s, "0 SEND GET c #1\n"
	          "0 SEND GET b #1\n"
	          "0 SEND GET a #1\n");
	script_get_ack(s, 'a', 1, 0, "a1 | a1=x");
	script_get_ack(s, 'b', 1, 0, "a1 | a1=x");
	EXPECT(s, "0 DONE get ok owners=2 a1 | a1=x\n");
	script_suspect(s, 'c', true);
	script_skip(s);
	script_get(s, "k");
	EXPECT(s, "0 SEND GET b #2\n"
	          "0 SEND GET a #2\n");
	script_free(s);
}
END_TEST

START_TEST(all_concurrent_versions)
{
	struct script *s = client();

	script_get(s, "k");
	EXPECT(s, "0 SEND GET a #1\n"
	          "0 SEND GET b #1\n"
	          "0 SEND GET c #1\n");
	script_get_ack(s, 'b', 1, 0, "a1 | a1=x");
	EXPECT(s, "");
	script_get_ack(s, 'a', 1, 0, "b1 | b1=y");
	EXPECT(s, "0 DONE get ok owners=2 a1 b1 | a1=x b1=y\n");
	/* The last one is the same as the merge; the first two are not. */
	script_get_ack(s, 'c', 1, 0, "a1 b1 | a1=x b1=y");
	EXPECT(s, "0 SEND PUT a #0 a1 b1 | a1=x b1=y\n"
	          "0 SEND PUT b #0 a1 b1 | a1=x b1=y\n");
	ck_assert_uint_eq(work_requests(s->work), 0);
	ck_assert_uint_eq(work_stats(s->work)->repairs, 2);
	script_free(s);
}
END_TEST

START_TEST(a_late_answer_is_repaired_and_repairs)
{
	struct script *s = client();

	script_get(s, "k");
	script_get_ack(s, 'a', 1, 0, "a1 | a1=x");
	script_get_ack(s, 'b', 1, 0, "a1 | a1=x");
	script_skip(s);
	script_wait(s, 10);
	/* It knows better: the two others are behind. */
	script_get_ack(s, 'c', 1, 0, "a2 | a2=y");
	EXPECT(s, "10 SEND PUT a #0 a2 | a2=y\n"
	          "10 SEND PUT b #0 a2 | a2=y\n");
	script_get(s, "k");
	script_get_ack(s, 'a', 2, 0, "a2 | a2=y");
	script_get_ack(s, 'b', 2, 0, "a2 | a2=y");
	script_skip(s);
	script_get_ack(s, 'c', 2, 0, NULL);
	EXPECT(s, "10 SEND PUT c #0 a2 | a2=y\n");
	script_free(s);
}
END_TEST

START_TEST(who_does_not_answer_in_time_is_left_alone)
{
	struct script *s = client();

	script_get(s, "k");
	script_get_ack(s, 'a', 1, 0, NULL);
	script_get_ack(s, 'b', 1, 0, "b1 | b1=x");
	EXPECT(s, "0 SEND GET a #1\n"
	          "0 SEND GET b #1\n"
	          "0 SEND GET c #1\n"
	          "0 DONE get ok owners=2 b1 | b1=x\n");
	script_wait(s, 199);
	EXPECT(s, "");
	script_wait(s, 1);
	EXPECT(s, "200 SEND PUT a #0 b1 | b1=x\n");
	script_get_ack(s, 'c', 1, 0, NULL);
	EXPECT(s, "");
	script_free(s);
}
END_TEST

START_TEST(the_own_copy_is_repaired)
{
	struct script *s = node('a');

	script_get(s, "k");
	script_get_ack(s, 'b', 1, 0, "b1 | b1=x");
	script_get_ack(s, 'c', 1, 0, "b1 | b1=x");
	script_turn(s);
	EXPECT(s, "0 SEND GET b #1\n"
	          "0 SEND GET c #1\n"
	          "0 DONE get ok owners=2 b1 | b1=x\n"
	          "0 COMMIT 1 rows=1 disk\n");
	script_commit(s, 0);
	ck_assert_str_eq(script_stored(s, "k"), "b1 | b1=x");
	script_free(s);
}
END_TEST

/* An answer that comes after this node has ceased to own the key: what it has swept
 * away must not come back (core/collect.h). */
START_TEST(no_repair_of_what_others_own)
{
	struct view *v = view_ring(3, 3, 16), *joins = view_joins(view_ref(v), 'd');
	struct view *after = view_all_read(view_all_synced(view_ref(joins)));
	const char *key = view_key(joins, "abc/bcd abc");
	struct script *s = script_new(&(struct script_options){ .self = 'a', .view = v });

	script_get(s, key);
	script_get_ack(s, 'b', 1, 0, "b1 | b1=x");
	script_skip(s);
	script_view(s, _i == 0 ? joins : after);
	script_get_ack(s, 'c', 1, 0, "b1 | b1=x");
	script_turn(s);
	ck_assert_uint_eq(s->batches_count, _i == 0);
	if (_i == 0)
		script_commit(s, 0);
	script_free(s);
	view_unref(joins);
	view_unref(after);
}
END_TEST

START_TEST(repair_merges_what_came_meanwhile)
{
	struct script *s = node('a');

	script_get(s, "k");
	script_get_ack(s, 'b', 1, 0, "b1 | b1=x");
	script_skip(s);
	/* A newer version arrives while the read waits for c. */
	script_peer_put(s, 'b', NULL, 9, "k", "b2 | b2=y", DYN_DURABLE_DISK);
	script_get_ack(s, 'c', 1, 0, NULL);
	script_commit(s, 0);
	EXPECT(s, "0 SEND PUT c #0 b1 | b1=x\n"
	          "0 COMMIT 1 rows=1 disk\n"
	          "0 REPLY PUT_ACK 7 #9 ok disk\n");
	ck_assert_str_eq(script_stored(s, "k"), "b2 | b2=y");
	script_free(s);
}
END_TEST

START_TEST(a_tombstone_is_an_answer)
{
	struct script *s = client();

	script_get(s, "k");
	script_get_ack(s, 'a', 1, 0, "a1 | a1=x");
	script_get_ack(s, 'b', 1, 0, "a1 |");
	script_get_ack(s, 'c', 1, 0, "a1 |");
	EXPECT(s, "0 SEND GET a #1\n"
	          "0 SEND GET b #1\n"
	          "0 SEND GET c #1\n"
	          "0 DONE get ok owners=2 a1 |\n"
	          "0 SEND PUT a #0 a1 |\n");
	script_free(s);
}
END_TEST

/* "Not found" of a copy that is catching up. */
static void
incomplete_ack(struct script *s, char from, uint64_t request)
{
	union msg m = { .get_ack = { .rc = 0, .complete = 0 } };

	script_frame(s, from, 0, NULL, request, MSG_GET_ACK, &m);
}

START_TEST(an_incomplete_copy_does_not_count)
{
	struct script *s = client();

	script_get(s, "k");
	script_skip(s);
	incomplete_ack(s, 'a', 1);
	script_get_ack(s, 'b', 1, 0, NULL);
	EXPECT(s, "");
	script_get_ack(s, 'c', 1, 0, "c1 | c1=x");
	EXPECT(s, "0 DONE get ok owners=2 c1 | c1=x\n"
	          "0 SEND PUT a #0 c1 | c1=x\n"
	          "0 SEND PUT b #0 c1 | c1=x\n");
	script_get(s, "k");
	script_skip(s);
	incomplete_ack(s, 'a', 2);
	incomplete_ack(s, 'b', 2);
	EXPECT(s, "0 DONE get EQUORUM owners=0\n");
	script_free(s);
}
END_TEST

START_TEST(too_few_in_reach)
{
	struct script *s = client();

	script_down(s, 'a', true);
	script_get(s, "k");
	EXPECT(s, "0 SEND GET b #1\n"
	          "0 SEND GET c #1\n");
	script_down(s, 'b', false);
	EXPECT(s, "0 DONE get EQUORUM owners=0\n");
	script_get_ack(s, 'c', 1, 0, NULL);
	script_get(s, "k");
	EXPECT(s, "0 SEND GET c #2\n"
	          "0 DONE get EQUORUM owners=0\n");
	script_up(s, 'a');
	script_get(s, "k");
	EXPECT(s, "0 SEND GET a #3\n"
	          "0 SEND GET c #3\n");
	script_free(s);
}
END_TEST

START_TEST(errors_of_copies)
{
	struct script *s = client();

	script_get(s, "k");
	script_skip(s);
	script_get_ack(s, 'a', 1, DYN_ECORRUPT, NULL);
	script_get_ack(s, 'b', 1, 0, "b1 | b1=x");
	script_get_ack(s, 'c', 1, 0, NULL);
	/* a said nothing of its copy, so it is not written to. */
	EXPECT(s, "0 DONE get ok owners=2 b1 | b1=x\n"
	          "0 SEND PUT c #0 b1 | b1=x\n");
	script_free(s);
	s = node('a');
	s->fake->get_rc = DYN_EIO;
	script_get(s, "k");
	script_skip(s);
	script_get_ack(s, 'b', 1, 0, NULL);
	EXPECT(s, "");
	script_get_ack(s, 'c', 1, 0, NULL);
	EXPECT(s, "0 DONE get ok owners=2 none\n");
	script_free(s);
}
END_TEST

START_TEST(a_malformed_object_is_no_answer)
{
	struct script *s = client();
	union msg m = { .get_ack = { .complete = 1, .object = dyn_str("rubbish") } };

	script_get(s, "k");
	script_skip(s);
	script_frame(s, 'a', 0, NULL, 1, MSG_GET_ACK, &m);
	script_get_ack(s, 'b', 1, 0, "b1 | b1=x");
	EXPECT(s, "");
	script_get_ack(s, 'c', 1, 0, "b1 | b1=x");
	EXPECT(s, "0 DONE get ok owners=2 b1 | b1=x\n");
	script_free(s);
}
END_TEST

START_TEST(the_deadline_passes)
{
	struct script *s = client();

	script_get(s, "k");
	script_get_ack(s, 'b', 1, 0, "b1 | b1=x");
	script_skip(s);
	script_wait(s, 999);
	EXPECT(s, "250 DOUBT a\n"
	          "250 DOUBT c\n");
	script_wait(s, 1);
	EXPECT(s, "1000 DONE get ETIMEOUT owners=1\n");
	ck_assert_uint_eq(work_requests(s->work), 0);
	script_free(s);
}
END_TEST

START_TEST(r_one_at_an_owner_asks_nobody)
{
	struct script *s = node('a');

	script_row(s, "k", "a1 | a1=x");
	script_op(s, OP_GET, "k", &(struct with){ .r = 1 });
	EXPECT(s, "0 DONE get ok owners=1 a1 | a1=x\n");
	ck_assert_uint_eq(s->last->receipt.machines, 1);
	/* What was written but not committed is seen too. */
	script_put(s, "k", "y");
	script_skip(s);
	script_op(s, OP_GET, "k", &(struct with){ .r = 1 });
	EXPECT(s, "0 DONE get ok owners=1 a2 | a1=x a2=y\n");
	/* A copy that cannot be read is not the last word. */
	s->fake->get_rc = DYN_EIO;
	script_op(s, OP_GET, "j", &(struct with){ .r = 1 });
	EXPECT(s, "0 SEND GET b #2\n"
	          "0 SEND GET c #2\n");
	script_free(s);
}
END_TEST

START_TEST(here_means_here)
{
	struct view *v = view_all_read(view_all_synced(view_joins(view_ring(3, 3, 16), 'd')));
	const char *key = view_key(v, "bcd");
	struct script *s = script_new(&(struct script_options){ .self = 'a', .view = v });

	script_row(s, key, "b1 | b1=x");
	script_op(s, OP_GET, key, &(struct with){ .flags = DYN_HERE, .r = 3 });
	EXPECT(s, "0 DONE get ok owners=1 b1 | b1=x\n");
	s->fake->get_rc = DYN_ECORRUPT;
	script_op(s, OP_GET, key, &(struct with){ .flags = DYN_HERE });
	EXPECT(s, "0 DONE get ECORRUPT owners=0\n");
	/* Without it a copy that is no owner's does not count. */
	script_op(s, OP_GET, key, &(struct with){ .r = 1 });
	EXPECT(s, "0 SEND GET b #1\n"
	          "0 SEND GET c #1\n"
	          "0 SEND GET d #1\n");
	script_free(s);
	s = client();
	script_op(s, OP_GET, "k", &(struct with){ .flags = DYN_HERE });
	EXPECT(s, "0 DONE get EINVAL owners=0\n");
	script_free(s);
}
END_TEST

START_TEST(a_bucket_with_fewer_copies)
{
	struct script *s = client();
	unsigned asked = 0;

	script_op(s, OP_GET, "k", &(struct with){ .n = 2, .r = 2 });
	for (const char *p = script_trace(s); *p != '\0'; p++)
		asked += *p == '\n';
	ck_assert_uint_eq(asked, 2);
	script_free(s);
}
END_TEST

/* ------------------------------------------------------------- other views */

START_TEST(refused_then_asked_anew)
{
	struct view *after = view_joins(view_ring(3, 3, 16), 'd');
	struct script *s = client();
	const char *key;

	after = view_all_read(view_all_synced(after));
	key = view_key(after, "abd");
	script_get(s, key);
	script_get_ack(s, 'a', 1, 0, "a1 | a1=x");
	script_skip(s);
	script_frame(s, 'c', 0, after, 1, MSG_GET_ACK,
	    &(union msg){ .get_ack = { .rc = (uint32_t)DYN_EMOVED } });
	EXPECT(s, "0 POKE c\n");
	/* Two have answered now, but by a table nobody reads by. */
	script_get_ack(s, 'b', 1, 0, "a1 | a1=x");
	EXPECT(s, "");
	script_view(s, after);
	EXPECT(s, "0 SEND GET a #2\n"
	          "0 SEND GET b #2\n"
	          "0 SEND GET d #2\n");
	/* Answers to the old number are nobody's. */
	script_get_ack(s, 'b', 1, 0, "a1 | a1=x");
	script_get_ack(s, 'd', 2, 0, "a2 | a2=y");
	EXPECT(s, "");
	script_get_ack(s, 'a', 2, 0, "a1 | a1=x");
	EXPECT(s, "0 DONE get ok owners=2 a2 | a2=y\n");
	ck_assert_uint_eq(work_stats(s->work)->moved, 1);
	script_free(s);
	view_unref(after);
}
END_TEST

START_TEST(refused_when_the_view_is_there_already)
{
	struct view *after = view_joins(view_ring(3, 3, 16), 'd');
	struct script *s = client();
	const char *key;

	after = view_all_read(view_all_synced(after));
	key = view_key(after, "abd");
	script_get(s, key);
	script_skip(s);
	script_view(s, after);
	EXPECT(s, "");
	script_get_ack(s, 'b', 1, DYN_EMOVED, NULL);
	EXPECT(s, "0 SEND GET a #2\n"
	          "0 SEND GET b #2\n"
	          "0 SEND GET d #2\n");
	/* An older view that comes late changes nothing. */
	script_get_ack(s, 'a', 2, DYN_EMOVED, NULL);
	struct view *older = view_ring(3, 3, 16);
	script_view(s, older);
	EXPECT(s, "");
	script_wait(s, 1000);
	EXPECT(s, "250 DOUBT d\n"
	          "250 DOUBT b\n"
	          "1000 DONE get ETIMEOUT owners=0\n");
	script_free(s);
	view_unref(older);
	view_unref(after);
}
END_TEST

START_TEST(refusals_after_the_answer_are_nothing)
{
	struct script *s = client();

	script_get(s, "k");
	script_get_ack(s, 'a', 1, 0, NULL);
	script_get_ack(s, 'b', 1, 0, "b1 | b1=x");
	script_skip(s);
	script_get_ack(s, 'c', 1, DYN_EMOVED, NULL);
	EXPECT(s, "0 SEND PUT a #0 b1 | b1=x\n");
	ck_assert_uint_eq(work_requests(s->work), 0);
	script_free(s);
}
END_TEST

START_TEST(reads_go_by_base_until_all_have_it)
{
	struct view *v = view_joins(view_ring(3, 3, 16), 'd');
	struct script *s = script_new(&(struct script_options){ .self = 'z', .client = true });
	const char *key = view_key(v, "abc/abd abc");

	script_view(s, v);
	script_get(s, key);
	EXPECT(s, "0 SEND GET a #1\n"
	          "0 SEND GET b #1\n"
	          "0 SEND GET c #1\n");
	v = view_all_synced(v);
	ck_assert_int_eq(view_phase(v), VIEW_SWITCHED);
	script_view(s, v);
	script_get(s, key);
	EXPECT(s, "0 SEND GET a #2\n"
	          "0 SEND GET b #2\n"
	          "0 SEND GET d #2\n");
	script_free(s);
	view_unref(v);
}
END_TEST

/* ---------------------------------------------------------------- failures */

static void
get_sequence(struct view *v)
{
	struct script *s =
	    script_new(&(struct script_options){ .self = 'a', .view = view_ref(v) });

	if (s == NULL) {
		view_unref(v);
		return;
	}
	s->quiet = true;
	script_peer_put(s, 'b', NULL, 0, "k", "a1 b1 | b1=x", DYN_DURABLE_DISK);
	script_get(s, "k");
	script_get(s, "j");
	script_get_ack(s, 'b', 1, 0, "a2 | a2=y");
	script_get_ack(s, 'c', 1, 0, "a1 c1 | a1=x c1=z");
	script_get_ack(s, 'b', 2, DYN_EMOVED, NULL);
	script_wait(s, 1300);
	script_commit(s, 0);
	ck_assert_uint_eq(work_requests(s->work), 0);
	ck_assert(!work_committing(s->work));
	script_free(s);
}

/* The helpers' own allocations may fail too; they then say nothing. */
START_TEST(each_allocation_fails)
{
	struct view *v = view_ring(3, 3, 16);

	get_sequence(v); /* so that the helpers know their objects */
	TEST_ALLOC_FAILURES(n)
		get_sequence(v);
	view_unref(v);
}
END_TEST

static Suite *
suite(void)
{
	Suite *s = suite_create("read");
	TCase *c = tcase_create("read");

	suite_add_tcase(s, c);
	tcase_add_test(c, own_copy_and_one_more);
	tcase_add_test(c, the_nearest_are_asked_first);
	tcase_add_test(c, all_concurrent_versions);
	tcase_add_test(c, a_late_answer_is_repaired_and_repairs);
	tcase_add_test(c, who_does_not_answer_in_time_is_left_alone);
	tcase_add_test(c, the_own_copy_is_repaired);
	tcase_add_loop_test(c, no_repair_of_what_others_own, 0, 2);
	tcase_add_test(c, repair_merges_what_came_meanwhile);
	tcase_add_test(c, repairs_of_before_a_fence);
	tcase_add_test(c, a_tombstone_is_an_answer);
	tcase_add_test(c, an_incomplete_copy_does_not_count);
	tcase_add_test(c, too_few_in_reach);
	tcase_add_test(c, errors_of_copies);
	tcase_add_test(c, a_malformed_object_is_no_answer);
	tcase_add_test(c, the_deadline_passes);
	tcase_add_test(c, r_one_at_an_owner_asks_nobody);
	tcase_add_test(c, here_means_here);
	tcase_add_test(c, a_bucket_with_fewer_copies);
	c = tcase_create("other views");
	suite_add_tcase(s, c);
	tcase_add_test(c, refused_then_asked_anew);
	tcase_add_test(c, refused_when_the_view_is_there_already);
	tcase_add_test(c, refusals_after_the_answer_are_nothing);
	tcase_add_test(c, reads_go_by_base_until_all_have_it);
	c = tcase_create("failures");
	suite_add_tcase(s, c);
	tcase_add_test(c, each_allocation_fails);
	return s;
}

TEST_MAIN(suite)
