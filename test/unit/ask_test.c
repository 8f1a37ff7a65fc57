/*
 * put and delete elsewhere (ask.c), and an owner that is asked (replica.c).
 *
 * Goal: an owner coordinates; which one is told by the context, or by latency;
 * a request that may have been received is never sent again (S6).
 * Method: a client, or a member that owns nothing of the key, under a script.
 */
#include "test/core_script.h"

static struct script *
client(void)
{
	return script_new(&(struct script_options){ .self = 'z', .client = true,
	    .view = view_ring(3, 3, 16) });
}

/* The letter in "0 SEND ASK b #1 ..." */
static char
asked(struct script *s)
{
	const char *trace = script_trace(s), *p = strstr(trace, "SEND ASK ");

	ck_assert_msg(p != NULL, "nobody was asked: %s", trace);
	return p[9];
}

START_TEST(asked_and_answered)
{
	struct script *s = client();

	script_op(s, OP_PUT, "k",
	    &(struct with){ .value = "x", .fastest = 'b', .timeout_ms = 700 });
	EXPECT(s, "0 SEND ASK b #1 put n=3 w=2 ms=700 x\n");
	script_wait(s, 5);
	/* Somebody else's answer is none. */
	script_ask_ack(s, 'a', 1, 0);
	EXPECT(s, "");
	script_ask_ack(s, 'b', 1, 0);
	EXPECT(s, "5 DONE put ok owners=2 disk=0\n");
	ck_assert_uint_eq(s->last->dot.actor.node, 'b');
	ck_assert_uint_eq(s->last->dot.counter, 1);
	ck_assert_int_eq(node_letter(&s->last->receipt.coordinator), 'b');
	ck_assert_uint_eq(work_stats(s->work)->forwarded, 1);
	script_free(s);
}
END_TEST

START_TEST(a_member_that_does_not_own_the_key_asks)
{
	struct view *v = view_all_read(view_all_synced(view_joins(view_ring(3, 3, 16), 'd')));
	const char *key = view_key(v, "bcd");
	struct script *s = script_new(&(struct script_options){ .self = 'a', .view = v });

	script_op(s, OP_PUT, key, &(struct with){ .value = "x", .fastest = 'c' });
	EXPECT(s, "0 SEND ASK c #1 put n=3 w=2 ms=1000 x\n");
	script_free(s);
}
END_TEST

START_TEST(an_error_is_the_outcome)
{
	struct script *s = client();

	script_op(s, OP_DELETE, "k", &(struct with){ .context = "a1", .fastest = 'a' });
	EXPECT(s, "0 SEND ASK a #1 delete n=3 w=2 ms=1000 \n");
	script_ask_ack(s, 'a', 1, DYN_ESIBLINGS);
	EXPECT(s, "0 DONE delete ESIBLINGS owners=0 disk=0\n");
	script_op(s, OP_PUT, "k", &(struct with){ .value = "x", .fastest = 'a' });
	script_skip(s);
	script_ask_ack(s, 'a', 2, DYN_EUNKNOWN);
	EXPECT(s, "0 DONE put EUNKNOWN owners=0 disk=0\n");
	script_free(s);
}
END_TEST

START_TEST(the_fastest_by_latency)
{
	struct script *s = client();
	static const char *const each = "abc";

	/* Nobody knows anything yet; then a takes 9 ms, b 2, c 5. */
	script_get(s, "k");
	script_wait(s, 2);
	script_get_ack(s, 'b', 1, 0, NULL);
	script_wait(s, 3);
	script_get_ack(s, 'c', 1, 0, NULL);
	script_wait(s, 4);
	script_get_ack(s, 'a', 1, 0, NULL);
	ck_assert_uint_eq(s->last->answered_first, 'b');
	script_skip(s);
	script_put(s, "k", "x");
	ck_assert_int_eq(asked(s), 'b');
	/* The context knows better. */
	script_op(s, OP_PUT, "k", &(struct with){ .value = "x", .fastest = 'a' });
	ck_assert_int_eq(asked(s), 'a');
	/* The fastest is down: the next fastest. */
	script_down(s, 'b', true);
	ck_assert_int_eq(asked(s), 'c');
	for (const char *p = each; *p != '\0'; p++)
		script_down(s, *p, true);
	script_skip(s);
	script_put(s, "k", "x");
	EXPECT(s, "9 DONE put EQUORUM owners=0 disk=0\n");
	script_free(s);
}
END_TEST

/* a far, b in the data centre, c in the zone, d in the rack, e on the machine. */
static struct view *
places(void)
{
	static const char *const locations[] = { "x/z/r/m", "dc/y/r/m", "dc/z/q/m", "dc/z/r/l",
		"dc/z/r/m", NULL };

	return view_places(view_ring(5, 5, 16), locations);
}

START_TEST(the_nearest_before_the_fastest)
{
	struct script *s = script_new(&(struct script_options){ .self = 'z', .client = true,
	    .location = "dc/z/r/m", .view = places() });
	struct with w = { .value = "x", .n = 5, .fastest = 'a', .timeout_ms = 10000 };

	for (const char *p = "edcba"; *p != '\0'; p++) {
		script_op(s, OP_PUT, "k", &w);
		ck_assert_int_eq(asked(s), *p);
		script_down(s, *p, true);
		script_skip(s);
	}
	/* Who is suspected, and who let somebody wait, is not near. */
	for (const char *p = "edcba"; *p != '\0'; p++)
		script_up(s, *p);
	script_suspect(s, 'e', true);
	script_op(s, OP_PUT, "k", &w);
	ck_assert_int_eq(asked(s), 'd');
	script_wait(s, 250);
	script_skip(s);
	script_op(s, OP_PUT, "k", &w);
	ck_assert_int_eq(asked(s), 'c');
	script_free(s);
}
END_TEST

/* Who is nowhere, or elsewhere, goes by the context and by latency as ever. */
START_TEST(nobody_is_near)
{
	static const char *const where[] = { NULL, "", "///m", "other", "other/z/r/m" };

	for (size_t i = 0; i < ARRAY_LEN(where); i++) {
		struct script *s = script_new(&(struct script_options){ .self = 'z',
		    .client = true, .location = where[i], .view = places() });

		script_op(s, OP_PUT, "k", &(struct with){ .value = "x", .n = 5, .fastest = 'c' });
		ck_assert_int_eq(asked(s), 'c');
		script_free(s);
	}
}
END_TEST

/* A member is where the view says, also when that was ordered. */
START_TEST(a_member_asks_its_zone)
{
	static const char *const locations[] = { "dc/z/r/m", "dc/x/r/m", "dc/y/r/m", "dc/z/r/l",
		NULL };
	struct view *v = view_places(view_ring(4, 3, 16), locations);
	const char *key = view_key(v, "bcd");
	struct script *s = script_new(
	    &(struct script_options){ .self = 'a', .location = "dc/x/r/m", .view = v });

	script_op(s, OP_PUT, key, &(struct with){ .value = "x", .fastest = 'b' });
	ck_assert_int_eq(asked(s), 'd');
	script_free(s);
}
END_TEST

START_TEST(certainly_not_received_goes_to_the_next)
{
	struct script *s = client();
	char first, second, third;

	script_put(s, "k", "x");
	first = asked(s);
	script_down(s, first, true);
	second = asked(s);
	ck_assert_int_ne(first, second);
	work_send_failed(s->work, &(struct dyn_id){ .bytes = { [7] = (unsigned char)second } }, 1,
	    s->m, &s->out);
	script_effects(s);
	third = asked(s);
	ck_assert(third != first && third != second);
	script_down(s, third, true);
	EXPECT(s, "0 DONE put EQUORUM owners=0 disk=0\n");
	script_free(s);
}
END_TEST

START_TEST(lost_after_it_was_sent_is_unknown)
{
	struct script *s = client();
	char first;

	script_put(s, "k", "x");
	first = asked(s);
	script_down(s, first, false);
	EXPECT(s, "0 DONE put EUNKNOWN owners=0 disk=0\n");
	script_ask_ack(s, first, 1, 0);
	EXPECT(s, "");
	/* Another node's loss is none of this request's business. */
	script_up(s, first);
	script_op(s, OP_PUT, "k", &(struct with){ .value = "x", .fastest = 'a' });
	script_skip(s);
	script_down(s, 'b', false);
	EXPECT(s, "");
	script_free(s);
}
END_TEST

START_TEST(the_deadline_passes)
{
	struct script *s = client();

	script_put(s, "k", "x");
	script_skip(s);
	script_wait(s, 1000);
	EXPECT(s, "250 DOUBT b\n"
	          "1000 DONE put EUNKNOWN owners=0 disk=0\n");
	ck_assert_uint_eq(work_requests(s->work), 0);
	script_free(s);
}
END_TEST

/* Who let a call wait is not the first choice of the next. */
START_TEST(a_slow_owner_is_not_asked_again_at_once)
{
	struct script *s = client();
	struct with w = { .value = "x", .fastest = 'b', .timeout_ms = 10000 };

	script_op(s, OP_PUT, "k", &w);
	EXPECT(s, "0 SEND ASK b #1 put n=3 w=2 ms=10000 x\n");
	script_wait(s, 250);
	EXPECT(s, "250 DOUBT b\n");
	script_op(s, OP_PUT, "k", &w);
	EXPECT(s, "250 SEND ASK a #2 put n=3 w=2 ms=10000 x\n");
	/* For a while only; and sooner if it answers. */
	script_wait(s, 2000);
	script_skip(s);
	script_op(s, OP_PUT, "k", &w);
	EXPECT(s, "2250 SEND ASK b #3 put n=3 w=2 ms=10000 x\n");
	script_wait(s, 250);
	script_skip(s);
	script_ask_ack(s, 'b', 3, 0);
	script_skip(s);
	script_op(s, OP_PUT, "k", &w);
	EXPECT(s, "2500 SEND ASK b #4 put n=3 w=2 ms=10000 x\n");
	script_free(s);
}
END_TEST

START_TEST(not_an_owner_any_more)
{
	struct view *after = view_joins(view_ring(3, 3, 16), 'd');
	struct script *s = client();
	const char *key;

	after = view_all_read(view_all_synced(after));
	key = view_key(after, "bcd");
	script_op(s, OP_PUT, key, &(struct with){ .value = "x", .fastest = 'a' });
	script_skip(s);
	script_view(s, after);
	EXPECT(s, "");
	script_wait(s, 10);
	script_ask_ack(s, 'a', 1, DYN_EMOVED);
	/* A new number: an answer to the old one is nobody's. */
	ck_assert_ptr_nonnull(strstr(s->trace, "#2 put n=3 w=2 ms=990 x"));
	ck_assert_int_ne(asked(s), 'a');
	script_free(s);
	view_unref(after);
}
END_TEST

/* Who cannot read its copy has made no version: the next is asked, and what was wrong
 * is told when there is none. */
START_TEST(an_owner_that_cannot_read_its_copy)
{
	struct script *s = client();
	char first, second, third;

	script_put(s, "k", "x");
	first = asked(s);
	script_ask_ack(s, first, 1, DYN_EIO);
	second = asked(s);
	ck_assert_int_ne(second, first);
	script_ask_ack(s, second, 1, DYN_ECORRUPT);
	third = asked(s);
	ck_assert(third != first && third != second);
	script_ask_ack(s, first, 1, DYN_EIO); /* not who is waited for */
	EXPECT(s, "");
	script_ask_ack(s, third, 1, _i == 0 ? 0 : DYN_ECORRUPT);
	EXPECT(s, _i == 0 ? "0 DONE put ok owners=2 disk=0\n" :
	    "0 DONE put ECORRUPT owners=0 disk=0\n");
	script_free(s);
}
END_TEST

/* The same for the owner whose application calls; it stands in for nobody there. */
START_TEST(the_own_copy_cannot_be_read)
{
	struct script *s = script_new(&(struct script_options){ .self = 'a',
	    .view = view_ring(3, 3, 16) });
	struct buf *name = key_name("k");
	char other;

	script_row(s, "k", "a1 b1 | a1=x");
	fake_damage(s->fake, buf_slice(name));
	script_op(s, OP_PUT, "k", &(struct with){ .value = "y", .fastest = 'b' });
	EXPECT(s, "0 SEND ASK b #2 put n=3 w=2 ms=1000 y\n");
	if (_i == 0) {
		script_ask_ack(s, 'b', 2, 0);
		EXPECT(s, "0 DONE put ok owners=2 disk=0\n");
	} else {
		script_ask_ack(s, 'b', 2, DYN_EIO);
		other = asked(s);
		ck_assert_int_eq(other, 'c');
		script_down(s, 'c', true);
		EXPECT(s, "0 DONE put EIO owners=0 disk=0\n");
	}
	buf_unref(name);
	script_free(s);
}
END_TEST

START_TEST(refused_by_one_who_is_behind)
{
	struct script *s = client();
	char first, second, third;

	script_put(s, "k", "x");
	first = asked(s);
	script_ask_ack(s, first, 1, DYN_EMOVED);
	second = asked(s);
	ck_assert_int_ne(second, first);
	/* The same answer once more is not the one that is waited for. */
	script_ask_ack(s, first, 1, DYN_EMOVED);
	EXPECT(s, "");
	script_ask_ack(s, second, 1, DYN_EMOVED);
	third = asked(s);
	script_ask_ack(s, third, 1, DYN_EMOVED);
	EXPECT(s, "");
	/* All refused: nobody has it, and a new view may help. */
	script_down(s, third, false);
	EXPECT(s, "");
	script_wait(s, 1000);
	EXPECT(s, "1000 DONE put EQUORUM owners=0 disk=0\n");
	script_free(s);
}
END_TEST

START_TEST(all_refused_until_the_view_comes)
{
	struct view *after = view_joins(view_ring(3, 3, 16), 'd');
	struct script *s = client();
	const char *key;

	after = view_all_read(view_all_synced(after));
	key = view_key(after, "bcd");
	script_put(s, key, "x");
	for (unsigned i = 0; i < 3; i++)
		script_ask_ack(s, asked(s), 1, DYN_EMOVED);
	EXPECT(s, "");
	script_view(s, after);
	ck_assert_ptr_nonnull(strstr(s->trace, "#2 put"));
	script_ask_ack(s, asked(s), 2, 0);
	EXPECT(s, "0 DONE put ok owners=2 disk=0\n");
	script_free(s);
	view_unref(after);
}
END_TEST

/* ------------------------------------------------------------ the asked end */

static struct script *
node_a(void)
{
	return script_new(&(struct script_options){ .self = 'a', .view = view_ring(3, 3, 16) });
}

START_TEST(coordinates_for_another)
{
	struct script *s = node_a();

	script_row(s, "k", "a1 b1 | a1=x b1=y");
	script_peer_ask(s, '-', NULL, 40, OP_PUT, "k",
	    &(struct with){ .value = "z", .context = "a1" });
	EXPECT(s, "0 SEND PUT b #1 a2 b1 | a2=z b1=y\n"
	          "0 SEND PUT c #1 a2 b1 | a2=z b1=y\n");
	script_put_ack(s, 'b', 1, 0);
	script_put_ack(s, 'c', 1, 0);
	EXPECT(s, "0 REPLY ASK_ACK 7 #40 ok owners=2 disk=2 by a\n");
	/* It is not this node's own operation. */
	ck_assert_uint_eq(s->done, 0);
	ck_assert_uint_eq(work_stats(s->work)->puts, 0);
	script_free(s);
}
END_TEST

START_TEST(refuses_what_it_does_not_own)
{
	struct view *v = view_all_read(view_all_synced(view_joins(view_ring(3, 3, 16), 'd')));
	const char *key = view_key(v, "bcd");
	struct script *s = script_new(&(struct script_options){ .self = 'a', .view = v });

	/* Forwarded once, and not again. */
	script_peer_ask(s, '-', NULL, 40, OP_PUT, key, &(struct with){ .value = "z" });
	EXPECT(s, "0 REPLY ASK_ACK 7 #40 EMOVED owners=0 disk=0 by -\n");
	script_free(s);
}
END_TEST

START_TEST(refuses_what_is_malformed)
{
	struct script *s = node_a();
	struct buf *name = key_name("k");
	struct msg_ask good = { .op = OP_PUT, .durability = DYN_DURABLE_DISK, .n = 3, .w = 2,
		.timeout_ms = 1000, .name = buf_slice(name), .value = dyn_str("x") };
	union msg m;

#define TRY(change)                                                            \
	m.ask = good;                                                          \
	change;                                                                \
	script_frame(s, 'b', 7, NULL, 3, MSG_ASK, &m);                         \
	EXPECT(s, "0 REPLY ASK_ACK 7 #3 EPROTO owners=0 disk=0 by a\n")

	TRY(m.ask.op = OP_GET);
	TRY(m.ask.op = 9);
	TRY(m.ask.n = 0);
	TRY(m.ask.n = 4);
	TRY(m.ask.w = 0);
	TRY(m.ask.w = 4);
	TRY(m.ask.durability = DYN_DURABLE_DEFAULT);
	TRY(m.ask.durability = 4);
	TRY(m.ask.timeout_ms = 0);
	TRY(m.ask.name.len--);
	TRY(m.ask.name.len = 0);
#undef TRY
	m.ask = good;
	m.ask.has_context = 1;
	m.ask.context = dyn_str("\1");
	script_frame(s, 'b', 7, NULL, 3, MSG_ASK, &m);
	EXPECT(s, "0 REPLY ASK_ACK 7 #3 EPROTO owners=0 disk=0 by a\n");
	buf_unref(name);
	script_free(s);
}
END_TEST

START_TEST(busy_and_hopeless_are_told)
{
	struct script *s = script_new(&(struct script_options){ .self = 'a',
	    .view = view_ring(3, 3, 16), .bytes_max = 1 });

	script_put(s, "j", "y");
	script_skip(s);
	script_peer_ask(s, '-', NULL, 40, OP_PUT, "k", &(struct with){ .value = "z" });
	EXPECT(s, "0 REPLY ASK_ACK 7 #40 EBUSY owners=0 disk=0 by -\n");
	script_free(s);
	s = node_a();
	script_down(s, 'b', true);
	script_down(s, 'c', true);
	script_peer_ask(s, '-', NULL, 41, OP_PUT, "k", &(struct with){ .value = "z" });
	EXPECT(s, "0 REPLY ASK_ACK 7 #41 EQUORUM owners=0 disk=0 by a\n");
	script_free(s);
}
END_TEST

/* ---------------------------------------------------------------- failures */

static void
ask_sequence(struct view *v, struct view *after, const char *key, char self)
{
	struct script *s = script_new(&(struct script_options){ .self = self,
	    .client = self == 'z', .view = view_ref(v) });

	if (s == NULL) {
		view_unref(v);
		return;
	}
	s->quiet = true;
	script_op(s, OP_PUT, key, &(struct with){ .value = "x", .fastest = 'b' });
	script_op(s, OP_PUT, key, &(struct with){ .value = "y", .fastest = 'c' });
	script_peer_ask(s, '-', NULL, 40, OP_PUT, key, &(struct with){ .value = "z" });
	script_ask_ack(s, 'b', 1, DYN_EMOVED);
	script_down(s, 'c', true);
	script_view(s, after);
	script_turn(s);
	script_ask_ack(s, 'b', 3, 0);
	script_wait(s, 1000);
	if (s->batches_count > 0)
		script_commit(s, 0);
	ck_assert_uint_eq(work_requests(s->work), 0);
	script_free(s);
}

START_TEST(each_allocation_fails)
{
	struct view *v = view_ring(3, 3, 16);
	struct view *after = view_joins(view_ref(v), 'd');
	const char *key = view_key(after, "abc/abd abc");

	ask_sequence(v, after, key, "za"[_i]);
	TEST_ALLOC_FAILURES(n)
		ask_sequence(v, after, key, "za"[_i]);
	view_unref(v);
	view_unref(after);
}
END_TEST

static Suite *
suite(void)
{
	Suite *s = suite_create("ask");
	TCase *c = tcase_create("asking");

	suite_add_tcase(s, c);
	tcase_add_test(c, asked_and_answered);
	tcase_add_test(c, a_member_that_does_not_own_the_key_asks);
	tcase_add_test(c, an_error_is_the_outcome);
	tcase_add_test(c, the_fastest_by_latency);
	tcase_add_test(c, the_nearest_before_the_fastest);
	tcase_add_test(c, nobody_is_near);
	tcase_add_test(c, a_member_asks_its_zone);
	tcase_add_test(c, certainly_not_received_goes_to_the_next);
	tcase_add_test(c, lost_after_it_was_sent_is_unknown);
	tcase_add_test(c, the_deadline_passes);
	tcase_add_test(c, a_slow_owner_is_not_asked_again_at_once);
	tcase_add_test(c, not_an_owner_any_more);
	tcase_add_loop_test(c, an_owner_that_cannot_read_its_copy, 0, 2);
	tcase_add_loop_test(c, the_own_copy_cannot_be_read, 0, 2);
	tcase_add_test(c, refused_by_one_who_is_behind);
	tcase_add_test(c, all_refused_until_the_view_comes);
	c = tcase_create("asked");
	suite_add_tcase(s, c);
	tcase_add_test(c, coordinates_for_another);
	tcase_add_test(c, refuses_what_it_does_not_own);
	tcase_add_test(c, refuses_what_is_malformed);
	tcase_add_test(c, busy_and_hopeless_are_told);
	c = tcase_create("failures");
	suite_add_tcase(s, c);
	tcase_add_loop_test(c, each_allocation_fails, 0, 2);
	return s;
}

TEST_MAIN(suite)
