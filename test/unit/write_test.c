/*
 * put and delete at an owner (write.c).
 *
 * Goal: a write is called stored only when W machines have it, failed only
 * when nobody can have it, and everything between is called unknown.
 * Method: node a of three under a script; its effects are compared line by
 * line.  Then sequences with each allocation failing.
 */
#include "test/core_script.h"

static struct script *
node_a(void)
{
	return script_new(&(struct script_options){ .self = 'a', .view = view_ring(3, 3, 16) });
}

/* A put of x on its way to b and c, a's own commit with storage. */
static struct script *
put_sent(void)
{
	struct script *s = node_a();

	script_put(s, "k", "x");
	script_turn(s);
	script_skip(s);
	return s;
}

START_TEST(stored_here_and_at_one_more)
{
	struct script *s = node_a();

	script_put(s, "k", "x");
	script_turn(s);
	EXPECT(s, "0 SEND PUT b #1 a1 | a1=x\n"
	          "0 SEND PUT c #1 a1 | a1=x\n"
	          "0 COMMIT 1 rows=1 disk\n");
	script_commit(s, 0);
	EXPECT(s, "");
	script_wait(s, 3);
	script_put_ack(s, 'c', 1, 0);
	EXPECT(s, "3 DONE put ok owners=2 disk=2\n");
	ck_assert_uint_eq(s->last->dot.counter, 1);
	ck_assert_uint_eq(s->last->dot.actor.node, 'a');
	ck_assert_uint_eq(s->last->receipt.machines, 2);
	/* A late answer finds nobody. */
	script_put_ack(s, 'b', 1, 0);
	EXPECT(s, "");
	ck_assert_str_eq(script_stored(s, "k"), "a1 | a1=x");
	script_free(s);
}
END_TEST

START_TEST(stored_at_two_others_before_this_commit)
{
	struct script *s = put_sent();

	script_put_ack(s, 'b', 1, 0);
	EXPECT(s, "");
	script_put_ack(s, 'b', 1, 0);
	EXPECT(s, ""); /* one node is one vote */
	script_put_ack(s, 'c', 1, 0);
	EXPECT(s, "0 DONE put ok owners=2 disk=2\n");
	script_commit(s, 0);
	EXPECT(s, "");
	script_free(s);
}
END_TEST

START_TEST(an_answer_of_a_stranger_is_no_vote)
{
	struct script *s = put_sent();

	script_commit(s, 0);
	script_put_ack(s, 'x', 1, 0);
	script_put_ack(s, 'b', 2, 0);
	EXPECT(s, "");
	script_put_ack(s, 'b', 1, 0);
	EXPECT(s, "0 DONE put ok owners=2 disk=2\n");
	script_free(s);
}
END_TEST

START_TEST(too_few_in_reach_is_refused_before_anything_happens)
{
	struct script *s = node_a();

	script_down(s, 'b', true);
	script_down(s, 'c', false);
	script_put(s, "k", "x");
	script_turn(s);
	EXPECT(s, "0 DONE put EQUORUM owners=0 disk=0\n");
	ck_assert_uint_eq(s->last->dot.counter, 0);
	script_up(s, 'c');
	script_put(s, "k", "y");
	script_turn(s);
	EXPECT(s, "0 SEND PUT c #2 a1 | a1=y\n"
	          "0 COMMIT 1 rows=1 disk\n");
	script_free(s);
}
END_TEST

START_TEST(w_out_of_reach_after_minting_is_unknown)
{
	struct script *s = put_sent();

	script_commit(s, 0);
	script_put_ack(s, 'b', 1, DYN_EFULL);
	EXPECT(s, "");
	script_put_ack(s, 'c', 1, DYN_EBUSY);
	EXPECT(s, "0 DONE put EUNKNOWN owners=1 disk=1\n");
	script_free(s);
}
END_TEST

START_TEST(unknown_while_the_own_commit_may_succeed)
{
	struct script *s = put_sent();

	script_put_ack(s, 'b', 1, DYN_EFULL);
	script_put_ack(s, 'c', 1, DYN_EBUSY);
	EXPECT(s, "0 DONE put EUNKNOWN owners=0 disk=0\n");
	script_commit(s, 0);
	ck_assert_str_eq(script_stored(s, "k"), "a1 | a1=x");
	script_free(s);
}
END_TEST

START_TEST(unknown_while_others_may_have_it)
{
	struct script *s = put_sent();

	script_put_ack(s, 'b', 1, DYN_EFULL);
	script_commit(s, DYN_EFULL);
	EXPECT(s, "0 LOG storage: commit failed: no space left for storage\n"
	          "0 DONE put EUNKNOWN owners=0 disk=0\n"); /* c may have it */
	script_put(s, "k", "y");
	script_turn(s);
	EXPECT(s, "0 SEND PUT b #2 a'1 | a'1=y\n"
	          "0 SEND PUT c #2 a'1 | a'1=y\n"
	          "0 COMMIT 3 rows=1 disk\n");
	script_down(s, 'c', true);
	EXPECT(s, "");
	script_commit(s, DYN_EFULL);
	EXPECT(s, "0 LOG storage: commit failed: no space left for storage\n"
	          "0 DONE put EUNKNOWN owners=0 disk=0\n"); /* b may have it */
	script_free(s);
}
END_TEST

/* The log may have it: a restart would find what was told as not applied. */
START_TEST(nobody_knows_what_eio_left)
{
	struct script *s;

	s = script_new(&(struct script_options){ .self = 'a', .view = view_ring(1, 1, 16) });
	script_op(s, OP_PUT, "k", &(struct with){ .value = "x", .n = 1, .r = 1, .w = 1 });
	script_commit(s, DYN_EIO);
	EXPECT(s, "0 COMMIT 1 rows=1 disk\n"
	          "0 LOG storage: commit failed: storage input/output error\n"
	          "0 DONE put EUNKNOWN owners=0 disk=0\n");
	script_free(s);
}
END_TEST

START_TEST(the_only_copy_says_why)
{
	struct script *s;

	s = script_new(&(struct script_options){ .self = 'a', .view = view_ring(1, 1, 16) });
	script_op(s, OP_PUT, "k", &(struct with){ .value = "x", .n = 1, .r = 1, .w = 1 });
	script_commit(s, DYN_EFULL);
	EXPECT(s, "0 COMMIT 1 rows=1 disk\n"
	          "0 LOG storage: commit failed: no space left for storage\n"
	          "0 DONE put EFULL owners=0 disk=0\n");
	script_get(s, "k");
	EXPECT(s, "0 DONE get EQUORUM owners=1\n"); /* r=2 of one */
	script_op(s, OP_GET, "k", &(struct with){ .n = 1, .r = 1 });
	EXPECT(s, "0 DONE get ok owners=1 none\n");
	script_free(s);
}
END_TEST

START_TEST(a_reader_saw_what_was_lost)
{
	struct script *s =
	    script_new(&(struct script_options){ .self = 'a', .view = view_ring(3, 3, 16) });

	script_op(s, OP_PUT, "k", &(struct with){ .value = "x", .w = 1 });
	script_turn(s);
	script_put_ack(s, 'b', 1, DYN_EBUSY);
	script_put_ack(s, 'c', 1, DYN_EBUSY);
	/* c reads, and may write back to b what it sees. */
	script_peer_get(s, 'c', NULL, 5, "k");
	script_commit(s, DYN_EFULL);
	EXPECT(s, "0 SEND PUT b #1 a1 | a1=x\n"
	          "0 SEND PUT c #1 a1 | a1=x\n"
	          "0 COMMIT 1 rows=1 disk\n"
	          "0 REPLY GET_ACK 7 #5 ok a1 | a1=x\n"
	          "0 LOG storage: commit failed: no space left for storage\n"
	          "0 DONE put EUNKNOWN owners=0 disk=0\n");
	script_free(s);
}
END_TEST

START_TEST(a_later_version_carried_what_was_lost)
{
	struct script *s =
	    script_new(&(struct script_options){ .self = 'a', .view = view_ring(3, 3, 16) });

	script_op(s, OP_PUT, "k", &(struct with){ .value = "x", .w = 1 });
	script_turn(s);
	script_put_ack(s, 'b', 1, DYN_EBUSY);
	script_put_ack(s, 'c', 1, DYN_EBUSY);
	script_skip(s);
	script_op(s, OP_PUT, "k", &(struct with){ .value = "y", .w = 3 });
	EXPECT(s, "0 SEND PUT b #2 a2 | a1=x a2=y\n"
	          "0 SEND PUT c #2 a2 | a1=x a2=y\n");
	script_commit(s, DYN_EFULL);
	EXPECT(s, "0 LOG storage: commit failed: no space left for storage\n"
	          "0 DONE put EUNKNOWN owners=0 disk=0\n"
	          "0 DONE put EUNKNOWN owners=0 disk=0\n");
	script_free(s);
}
END_TEST

START_TEST(w_one_and_nobody_has_it)
{
	struct script *s = node_a();

	script_op(s, OP_PUT, "k", &(struct with){ .value = "x", .w = 1 });
	script_turn(s);
	script_put_ack(s, 'b', 1, DYN_EBUSY);
	script_down(s, 'c', true);
	script_skip(s);
	script_commit(s, DYN_EFULL);
	EXPECT(s, "0 LOG storage: commit failed: no space left for storage\n"
	          "0 DONE put EFULL owners=0 disk=0\n");
	ck_assert_str_eq(script_stored(s, "k"), "none");
	script_get(s, "k");
	EXPECT(s, "0 SEND GET b #2\n");
	script_get_ack(s, 'b', 2, 0, NULL);
	EXPECT(s, "0 DONE get ok owners=2 none\n");
	script_free(s);
}
END_TEST

START_TEST(the_own_commit_failed_but_two_have_it)
{
	struct script *s = put_sent();

	script_commit(s, DYN_EIO);
	EXPECT(s, "0 LOG storage: commit failed: storage input/output error\n");
	script_put_ack(s, 'b', 1, 0);
	EXPECT(s, "");
	script_put_ack(s, 'c', 1, 0);
	EXPECT(s, "0 DONE put ok owners=2 disk=2\n");
	script_free(s);
}
END_TEST

START_TEST(the_deadline_passes)
{
	struct script *s = put_sent();

	script_commit(s, 0);
	script_wait(s, 999);
	EXPECT(s, "250 DOUBT b\n"
	          "250 DOUBT c\n");
	script_wait(s, 1);
	EXPECT(s, "1000 DONE put EUNKNOWN owners=1 disk=1\n");
	script_put_ack(s, 'b', 1, 0);
	EXPECT(s, "");
	ck_assert_uint_eq(work_requests(s->work), 0);
	script_free(s);
}
END_TEST

START_TEST(lost_on_the_way)
{
	struct script *s = put_sent();

	/* Certainly not received by b; c may have got it. */
	script_down(s, 'b', true);
	EXPECT(s, "");
	script_commit(s, 0);
	script_down(s, 'c', false);
	EXPECT(s, "0 DONE put EUNKNOWN owners=1 disk=1\n");
	script_free(s);

	s = put_sent();
	work_send_failed(s->work, &(struct dyn_id){ .bytes = { [7] = 'b' } }, 1, s->m, &s->out);
	script_commit(s, 0);
	script_put_ack(s, 'c', 1, 0);
	EXPECT(s, "0 DONE put ok owners=2 disk=2\n");
	script_free(s);
}
END_TEST

START_TEST(lost_after_it_was_sent_is_never_failed)
{
	struct script *s = node_a();

	script_op(s, OP_PUT, "k", &(struct with){ .value = "x", .w = 1 });
	script_turn(s);
	script_put_ack(s, 'c', 1, DYN_EBUSY);
	script_commit(s, DYN_EFULL);
	script_skip(s);
	script_down(s, 'b', false);
	EXPECT(s, "0 DONE put EUNKNOWN owners=0 disk=0\n");
	script_free(s);
}
END_TEST

START_TEST(an_answer_by_a_node_that_was_lost_comes_too_late)
{
	struct script *s = put_sent();

	script_down(s, 'b', false);
	script_put_ack(s, 'b', 1, 0);
	script_commit(s, 0);
	EXPECT(s, "");
	script_put_ack(s, 'c', 1, 0);
	EXPECT(s, "0 DONE put ok owners=2 disk=2\n");
	script_free(s);
}
END_TEST

START_TEST(a_remote_copy_that_may_have_lost_it)
{
	struct script *s = put_sent();

	script_commit(s, DYN_EFULL);
	script_skip(s);
	script_put_ack(s, 'b', 1, DYN_EUNKNOWN);
	EXPECT(s, "0 DONE put EUNKNOWN owners=0 disk=0\n");
	script_free(s);
}
END_TEST

START_TEST(durability_memory_and_os)
{
	struct script *s = node_a();

	script_op(s, OP_PUT, "k",
	    &(struct with){ .value = "x", .w = 1, .durability = DYN_DURABLE_MEMORY });
	EXPECT(s, "0 SEND PUT b #1 a1 | a1=x\n"
	          "0 SEND PUT c #1 a1 | a1=x\n"
	          "0 DONE put ok owners=1 disk=0\n");
	script_turn(s);
	EXPECT(s, "0 COMMIT 1 rows=1 memory\n");
	script_op(s, OP_PUT, "j",
	    &(struct with){ .value = "y", .w = 1, .durability = DYN_DURABLE_OS });
	script_turn(s);
	EXPECT(s, "0 SEND PUT b #2 a1 | a1=y\n"
	          "0 SEND PUT c #2 a1 | a1=y\n"
	          "0 COMMIT 2 rows=1 os\n");
	script_commit(s, 0);
	EXPECT(s, "");
	script_commit(s, 0);
	EXPECT(s, "0 DONE put ok owners=1 disk=0\n");
	/* The strongest that somebody in the batch waits for. */
	script_op(s, OP_PUT, "k",
	    &(struct with){ .value = "z", .w = 1, .durability = DYN_DURABLE_MEMORY });
	script_op(s, OP_PUT, "j", &(struct with){ .value = "z", .w = 1 });
	script_skip(s);
	script_turn(s);
	EXPECT(s, "0 COMMIT 3 rows=2 disk\n");
	script_commit(s, 0);
	EXPECT(s, "0 DONE put ok owners=1 disk=1\n");
	script_free(s);
}
END_TEST

START_TEST(a_delete_removes_what_it_has_seen)
{
	struct script *s = node_a();

	script_row(s, "k", "a1 b1 | a1=x b1=y");
	script_op(s, OP_DELETE, "k", &(struct with){ .context = "a1" });
	EXPECT(s, "0 SEND PUT b #1 a1 b1 | b1=y\n"
	          "0 SEND PUT c #1 a1 b1 | b1=y\n");
	script_put_ack(s, 'b', 1, 0);
	script_put_ack(s, 'c', 1, 0);
	script_skip(s);
	/* Again: nothing changes, and the others are told all the same. */
	script_commit(s, 0);
	script_skip(s);
	script_op(s, OP_DELETE, "k", &(struct with){ .context = "a1" });
	script_turn(s);
	EXPECT(s, "0 SEND PUT b #2 a1 b1 | b1=y\n"
	          "0 SEND PUT c #2 a1 b1 | b1=y\n");
	script_put_ack(s, 'c', 2, 0);
	EXPECT(s, "0 DONE delete ok owners=2 disk=2\n");
	script_free(s);
}
END_TEST

START_TEST(a_delete_with_nothing_to_remove)
{
	struct script *s = node_a();

	script_op(s, OP_DELETE, "k", &(struct with){ .context = "" });
	script_turn(s);
	EXPECT(s, "0 DONE delete ok owners=1 disk=0\n");
	ck_assert_str_eq(script_stored(s, "k"), "none");
	/* What was seen is remembered even if this copy never had it. */
	script_op(s, OP_DELETE, "k", &(struct with){ .context = "b3" });
	EXPECT(s, "0 SEND PUT b #2 b3 |\n"
	          "0 SEND PUT c #2 b3 |\n");
	script_free(s);
}
END_TEST

START_TEST(a_put_replaces_what_it_has_seen_and_no_more)
{
	struct script *s = node_a();

	script_row(s, "k", "a1 b1 | a1=x b1=y");
	script_op(s, OP_PUT, "k", &(struct with){ .value = "z", .context = "b1" });
	EXPECT(s, "0 SEND PUT b #1 a2 b1 | a1=x a2=z\n"
	          "0 SEND PUT c #1 a2 b1 | a1=x a2=z\n");
	script_op(s, OP_PUT, "k", &(struct with){ .value = "w", .flags = DYN_OVERWRITE });
	EXPECT(s, "0 SEND PUT b #2 a3 b1 | a3=w\n"
	          "0 SEND PUT c #2 a3 b1 | a3=w\n");
	script_free(s);
}
END_TEST

START_TEST(an_actor_that_forgot_is_renewed)
{
	struct script *s = node_a();

	/* Somebody has seen a's third event; this copy knows but one. */
	script_row(s, "k", "a1 | a1=x");
	script_op(s, OP_PUT, "k", &(struct with){ .value = "y", .context = "a3" });
	EXPECT(s, "0 SEND PUT b #1 a3 a'1 | a'1=y\n"
	          "0 SEND PUT c #1 a3 a'1 | a'1=y\n");
	ck_assert_uint_eq(work_incarnation(s->work), 2);
	script_put(s, "j", "z");
	EXPECT(s, "0 SEND PUT b #2 a'1 | a'1=z\n"
	          "0 SEND PUT c #2 a'1 | a'1=z\n");
	/* The same where the copy itself was told so by another. */
	script_peer_put(s, 'b', NULL, 0, "i", "+a'7 | a'7=v", DYN_DURABLE_DISK);
	script_put(s, "i", "z");
	EXPECT(s, "0 SEND PUT b #3 a''1 +a'7 | a'7=v a''1=z\n"
	          "0 SEND PUT c #3 a''1 +a'7 | a'7=v a''1=z\n");
	script_free(s);
}
END_TEST

START_TEST(errors_before_minting_are_failures)
{
	struct script *s = node_a();

	script_row(s, "k", "b10 | b1=a b2=b b3=c b4=d b5=e b6=f b7=g b8=h b9=i b10=j");
	script_put(s, "k", "x");
	EXPECT(s, "0 DONE put ESIBLINGS owners=0 disk=0\n");
	s->fake->get_rc = DYN_EIO;
	script_put(s, "j", "x");
	/* Nobody else is asked of what a peer has asked here: it asks itself. */
	ck_assert_ptr_nonnull(strstr(script_trace(s), "SEND ASK "));
	script_peer_ask(s, 'b', NULL, 9, OP_PUT, "j", &(struct with){ .value = "z" });
	EXPECT(s, "0 REPLY ASK_ACK 7 #9 EIO owners=0 disk=0 by a\n");
	script_turn(s);
	EXPECT(s, "");
	script_free(s);
}
END_TEST

START_TEST(beyond_the_budget)
{
	struct script *s = script_new(&(struct script_options){ .self = 'a',
	    .view = view_ring(3, 3, 16), .bytes_max = 3000 });
	char value[2000];
	unsigned busy = 0;

	memset(value, 'v', sizeof(value) - 1);
	value[sizeof(value) - 1] = '\0';
	s->quiet = true;
	for (unsigned i = 0; i < 4; i++) {
		script_put(s, "k", value);
		if (s->done > 0 && s->last->rc == DYN_EBUSY)
			busy++;
	}
	s->quiet = false;
	ck_assert_uint_ge(busy, 2);
	script_peer_put(s, 'b', NULL, 3, "j", "b1 | b1=x", DYN_DURABLE_DISK);
	EXPECT(s, "0 REPLY PUT_ACK 7 #3 EBUSY\n");
	/* When the rest has gone, there is room. */
	script_wait(s, 1000);
	script_commit(s, 0);
	script_skip(s);
	ck_assert_uint_eq(work_bytes(s->work), 0);
	script_put(s, "i", "x");
	EXPECT(s, "1000 SEND PUT b #2 a1 | a1=x\n"
	          "1000 SEND PUT c #2 a1 | a1=x\n");
	script_free(s);
}
END_TEST

/* ------------------------------------------------------------- other views */

/* A ring of three, and the same with d on its way in. */
static void
ring_and_newcomer(struct view **before, struct view **after)
{
	*before = view_ring(3, 3, 16);
	*after = view_joins(view_ref(*before), 'd');
	ck_assert_int_eq(view_phase(*after), VIEW_MOVING);
}

START_TEST(refused_then_sent_to_the_newcomer_too)
{
	struct view *before, *after;
	struct script *s;
	const char *key;

	ring_and_newcomer(&before, &after);
	s = script_new(&(struct script_options){ .self = 'a', .view = before });
	key = view_key(after, "abc/abd abc");
	script_put(s, key, "x");
	script_turn(s);
	script_skip(s);
	script_frame(s, 'b', 0, after, 1, MSG_PUT_ACK,
	    &(union msg){ .put_ack = { .rc = (uint32_t)DYN_EMOVED } });
	EXPECT(s, "0 POKE b\n");
	script_wait(s, 20);
	script_view(s, after);
	EXPECT(s, "20 SEND PUT b #1 a1 | a1=x\n"
	          "20 SEND PUT d #1 a1 | a1=x\n");
	script_commit(s, 0);
	EXPECT(s, "");
	script_put_ack(s, 'c', 1, 0);
	EXPECT(s, ""); /* of abd only a has it */
	script_put_ack(s, 'd', 1, 0);
	/* Three have it: two of abc, two of abd. */
	EXPECT(s, "20 DONE put ok owners=2 disk=3\n");
	script_free(s);
	view_unref(after);
}
END_TEST

START_TEST(refused_after_the_view_came)
{
	struct view *before, *after;
	struct script *s;
	const char *key;

	ring_and_newcomer(&before, &after);
	s = script_new(&(struct script_options){ .self = 'a', .view = before });
	key = view_key(after, "abc/abd abc");
	script_put(s, key, "x");
	script_turn(s);
	script_skip(s);
	script_view(s, after);
	EXPECT(s, "");
	script_put_ack(s, 'b', 1, DYN_EMOVED);
	EXPECT(s, "0 SEND PUT b #1 a1 | a1=x\n"
	          "0 SEND PUT d #1 a1 | a1=x\n");
	/* This refusal belongs to what was sent under the view before. */
	script_put_ack(s, 'c', 1, DYN_EMOVED);
	EXPECT(s, "0 SEND PUT c #1 a1 | a1=x\n");
	script_commit(s, 0);
	script_put_ack(s, 'd', 1, 0);
	EXPECT(s, "");
	script_put_ack(s, 'c', 1, 0);
	EXPECT(s, "0 DONE put ok owners=2 disk=3\n");
	script_free(s);
	view_unref(after);
}
END_TEST

START_TEST(started_while_owners_change)
{
	struct view *before, *after;
	struct script *s;
	const char *key;

	ring_and_newcomer(&before, &after);
	view_unref(before);
	s = script_new(&(struct script_options){ .self = 'a', .view = view_ref(after) });
	key = view_key(after, "abc/abd abc");
	script_down(s, 'd', true);
	script_down(s, 'b', true);
	script_put(s, key, "x");
	EXPECT(s, "0 DONE put EQUORUM owners=0 disk=0\n");
	script_up(s, 'd');
	script_put(s, key, "x");
	script_commit(s, 0);
	script_skip(s);
	script_put_ack(s, 'd', 2, 0);
	EXPECT(s, ""); /* of abc only a has it */
	script_put_ack(s, 'c', 2, 0);
	EXPECT(s, "0 DONE put ok owners=2 disk=3\n");
	script_free(s);
	view_unref(after);
}
END_TEST

START_TEST(what_former_owners_have_is_not_forgotten)
{
	struct view *before, *after;
	struct script *s;
	const char *key;

	/* d takes the place of a, which coordinated. */
	ring_and_newcomer(&before, &after);
	after = view_all_read(view_all_synced(after));
	ck_assert_int_eq(view_phase(after), VIEW_SETTLED);
	s = script_new(&(struct script_options){ .self = 'a', .view = before });
	key = view_key(after, "bcd");
	script_op(s, OP_PUT, key, &(struct with){ .value = "x", .w = 1 });
	script_turn(s);
	script_skip(s);
	script_view(s, after);
	script_put_ack(s, 'b', 1, DYN_EMOVED);
	script_put_ack(s, 'c', 1, DYN_EMOVED);
	EXPECT(s, "0 SEND PUT b #1 a1 | a1=x\n"
	          "0 SEND PUT d #1 a1 | a1=x\n"
	          "0 SEND PUT c #1 a1 | a1=x\n");
	script_put_ack(s, 'b', 1, DYN_EBUSY);
	script_put_ack(s, 'c', 1, DYN_EBUSY);
	EXPECT(s, "");
	script_put_ack(s, 'd', 1, DYN_EBUSY);
	/* Its own copy will have it. */
	EXPECT(s, "0 DONE put EUNKNOWN owners=0 disk=0\n");
	script_free(s);
	view_unref(after);
}
END_TEST

START_TEST(moved_and_no_view_until_the_deadline)
{
	struct script *s = put_sent();

	script_commit(s, 0);
	script_put_ack(s, 'b', 1, DYN_EMOVED);
	script_put_ack(s, 'c', 1, DYN_EMOVED);
	EXPECT(s, "");
	script_wait(s, 1000);
	EXPECT(s, "1000 DONE put EUNKNOWN owners=1 disk=1\n");
	script_free(s);
}
END_TEST

/* A fence for collecting comes in between: what others have forgotten since must not
 * be sent to them once more, so what is sent is what the copy here holds by now. */
START_TEST(read_again_after_a_fence)
{
	struct view *before = view_ring(4, 3, 16), *after = view_fenced(before, true);
	struct script *s = script_new(&(struct script_options){ .self = 'a', .view = before });
	const char *key = view_key(after, "abc");

	script_row(s, key, "b1 | b1=old");
	script_put(s, key, "x");
	EXPECT(s, "0 SEND PUT b #1 a1 b1 | a1=x b1=old\n"
	          "0 SEND PUT c #1 a1 b1 | a1=x b1=old\n");
	script_commit(s, _i == 1 ? DYN_EIO : 0);
	/* "old" is deleted. */
	script_peer_put(s, 'b', NULL, 9, key, "b1 c1 |", DYN_DURABLE_MEMORY);
	script_skip(s);
	script_view(s, after);
	script_put_ack(s, 'b', 1, DYN_EMOVED);
	if (_i == 1)
		/* The version is not here any more. */
		EXPECT(s, "0 DONE put EUNKNOWN owners=0 disk=0\n");
	else
		EXPECT(s, "0 SEND PUT b #1 a1 b1 c1 | a1=x\n");
	script_free(s);
	view_unref(after);
}
END_TEST

/* The row was damaged meanwhile, and filled again by others who had not got the version:
 * what the copy holds is no proof of it. */
START_TEST(read_again_without_the_version)
{
	struct view *before = view_ring(4, 3, 16), *after = view_fenced(before, true);
	struct script *s = script_new(&(struct script_options){ .self = 'a', .view = before });
	const char *key = view_key(after, "abc");

	script_put(s, key, "x");
	script_commit(s, 0);
	script_row(s, key, "b1 | b1=old");
	script_view(s, after);
	script_skip(s);
	script_put_ack(s, 'b', 1, DYN_EMOVED);
	EXPECT(s, "0 DONE put EUNKNOWN owners=1 disk=1\n");
	script_free(s);
	view_unref(after);
}
END_TEST

/* The same for a copy that goes to a stand-in later. */
START_TEST(read_again_for_a_stand_in)
{
	struct view *before = view_ring(4, 3, 16), *after = view_fenced(before, true);
	struct script *s = script_new(&(struct script_options){ .self = 'a', .view = before });
	const char *key = view_key(after, "abc");

	script_row(s, key, "b1 | b1=old");
	script_put(s, key, "x");
	script_commit(s, 0);
	script_peer_put(s, 'b', NULL, 9, key, "b1 c1 |", DYN_DURABLE_MEMORY);
	script_view(s, after);
	script_skip(s);
	script_down(s, 'c', true);
	EXPECT(s, "0 SEND PUT d #1 a1 b1 c1 | a1=x for c\n");
	script_free(s);
	view_unref(after);
}
END_TEST

START_TEST(no_table_yet)
{
	struct script *s = script_new(&(struct script_options){ .self = 'a' });

	script_put(s, "k", "x");
	EXPECT(s, "0 DONE put EQUORUM owners=0 disk=0\n");
	script_free(s);
}
END_TEST

/* ---------------------------------------------------------------- failures */

static void
put_sequence(struct view *v, bool commit_fails)
{
	struct script *s =
	    script_new(&(struct script_options){ .self = 'a', .view = view_ref(v) });

	if (s == NULL) {
		view_unref(v);
		return;
	}
	s->quiet = true;
	script_put(s, "k", "x");
	script_put(s, "k", "y");
	script_turn(s);
	script_put_ack(s, 'b', 1, 0);
	script_put(s, "j", "z");
	script_put_ack(s, 'b', 2, DYN_EMOVED);
	script_commit(s, commit_fails ? DYN_EIO : 0);
	script_put_ack(s, 'c', 1, 0);
	script_put_ack(s, 'c', 2, 0);
	script_turn(s);
	script_commit(s, 0);
	script_wait(s, 1000);
	ck_assert_uint_eq(work_requests(s->work), 0);
	/* Nothing is left that nobody will hand out. */
	script_turn(s);
	while (s->batches_count > 0)
		script_commit(s, 0);
	ck_assert(!work_committing(s->work));
	ck_assert_uint_eq(work_bytes(s->work), 0);
	script_free(s);
}

START_TEST(each_allocation_fails)
{
	struct view *v = view_ring(3, 3, 16);

	TEST_ALLOC_FAILURES(n)
		put_sequence(v, _i == 1);
	view_unref(v);
}
END_TEST

START_TEST(closing_ends_what_is_left)
{
	struct script *s = put_sent();

	script_get(s, "k");
	script_skip(s);
	work_close(s->work, s->m, &s->out);
	script_effects(s);
	EXPECT(s, "0 DONE put EUNKNOWN owners=0 disk=0\n"
	          "0 DONE get ECLOSED owners=0\n");
	script_commit(s, 0);
	EXPECT(s, "");
	script_free(s);
}
END_TEST

static Suite *
suite(void)
{
	Suite *s = suite_create("write");
	TCase *c = tcase_create("write");

	suite_add_tcase(s, c);
	tcase_add_test(c, stored_here_and_at_one_more);
	tcase_add_test(c, stored_at_two_others_before_this_commit);
	tcase_add_test(c, an_answer_of_a_stranger_is_no_vote);
	tcase_add_test(c, too_few_in_reach_is_refused_before_anything_happens);
	tcase_add_test(c, w_out_of_reach_after_minting_is_unknown);
	tcase_add_test(c, unknown_while_the_own_commit_may_succeed);
	tcase_add_test(c, unknown_while_others_may_have_it);
	tcase_add_test(c, nobody_knows_what_eio_left);
	tcase_add_test(c, the_only_copy_says_why);
	tcase_add_test(c, a_reader_saw_what_was_lost);
	tcase_add_test(c, a_later_version_carried_what_was_lost);
	tcase_add_test(c, w_one_and_nobody_has_it);
	tcase_add_test(c, the_own_commit_failed_but_two_have_it);
	tcase_add_test(c, the_deadline_passes);
	tcase_add_test(c, lost_on_the_way);
	tcase_add_test(c, lost_after_it_was_sent_is_never_failed);
	tcase_add_test(c, an_answer_by_a_node_that_was_lost_comes_too_late);
	tcase_add_test(c, a_remote_copy_that_may_have_lost_it);
	tcase_add_test(c, durability_memory_and_os);
	tcase_add_test(c, a_delete_removes_what_it_has_seen);
	tcase_add_test(c, a_delete_with_nothing_to_remove);
	tcase_add_test(c, a_put_replaces_what_it_has_seen_and_no_more);
	tcase_add_test(c, an_actor_that_forgot_is_renewed);
	tcase_add_test(c, errors_before_minting_are_failures);
	tcase_add_test(c, beyond_the_budget);
	c = tcase_create("other views");
	suite_add_tcase(s, c);
	tcase_add_test(c, refused_then_sent_to_the_newcomer_too);
	tcase_add_test(c, refused_after_the_view_came);
	tcase_add_test(c, started_while_owners_change);
	tcase_add_test(c, what_former_owners_have_is_not_forgotten);
	tcase_add_test(c, moved_and_no_view_until_the_deadline);
	tcase_add_loop_test(c, read_again_after_a_fence, 0, 2);
	tcase_add_test(c, read_again_without_the_version);
	tcase_add_test(c, read_again_for_a_stand_in);
	tcase_add_test(c, no_table_yet);
	c = tcase_create("failures");
	suite_add_tcase(s, c);
	tcase_add_loop_test(c, each_allocation_fails, 0, 2);
	tcase_add_test(c, closing_ends_what_is_left);
	return s;
}

TEST_MAIN(suite)
