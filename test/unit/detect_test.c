/*
 * The failure detector (core/detect.c).
 *
 * Goal: who does not answer is suspected within six seconds, who is not there at
 * once, who is back is believed at the first answer; nobody is accused because of
 * a pause of our own, of one bad path, or of lost packets.
 * Method: a ring of detectors over a network under a virtual clock (detect_net.h).
 */
#include "test/detect_net.h"

/* Until `who` thinks this of `of`; ms it took, at most `most`. */
static uint64_t
until(struct net *n, char who, char of, enum dyn_liveness state, uint64_t most)
{
	uint64_t began = net_watch_now(n);

	while (net_watch_thinks(n, who, of) != state) {
		ck_assert_uint_lt(net_watch_now(n) - began, most);
		net_watch_run(n, 10);
	}
	return net_watch_now(n) - began;
}

static void
cut_off(struct net *n, unsigned nodes, char who, bool cut)
{
	for (unsigned i = 0; i < nodes; i++) {
		net_watch_cut(n, who, (char)('a' + i), cut);
		net_watch_cut(n, (char)('a' + i), who, cut);
	}
}

START_TEST(quiet_ring_accuses_nobody)
{
	struct net *n = net_watch_new(5, 1);
	unsigned frames;

	net_watch_run(n, 600000);
	ck_assert_uint_eq(net_watch_accusations(n), 0);
	/* Five nodes, four others each, a PING and a PONG a second. */
	frames = net_watch_frames(n);
	ck_assert_uint_le(frames, 5 * 4 * 2 * 605);
	ck_assert_uint_ge(frames, 5 * 4 * 2 * 550);
	net_watch_free(n);
}
END_TEST

START_TEST(silent_one_is_suspected_in_time)
{
	uint64_t sum = 0;

	for (unsigned k = 0; k < 40; k++) {
		struct net *n = net_watch_new(5, 100 + k);
		uint64_t took;

		net_watch_run(n, 20000 + 37 * k);
		cut_off(n, 5, 'e', true);
		took = until(n, 'a', 'e', DYN_SUSPECT, 7000);
		/* Not on a whim either. */
		ck_assert_uint_ge(took, 2900);
		sum += took;
		net_watch_run(n, 5000);
		for (char who = 'a'; who <= 'd'; who++)
			for (char of = 'a'; of <= 'd'; of++)
				ck_assert_int_eq(net_watch_thinks(n, who, of), DYN_LIVE);
		/* The one that is cut off suspects all: it needs stand-ins too. */
		for (char of = 'a'; of <= 'd'; of++)
			ck_assert_int_eq(net_watch_thinks(n, 'e', of), DYN_SUSPECT);
		net_watch_run(n, 60000);
		cut_off(n, 5, 'e', false);
		(void)until(n, 'a', 'e', DYN_LIVE, 8000);
		(void)until(n, 'e', 'a', DYN_LIVE, 8000);
		net_watch_free(n);
	}
	ck_assert_uint_le(sum / 40, 4500);
}
END_TEST

START_TEST(request_that_waits_is_a_reason_to_look)
{
	struct net *n = net_watch_new(3, 7);

	net_watch_run(n, 10000);
	cut_off(n, 3, 'c', true);
	net_watch_run(n, 300);
	net_watch_doubt(n, 'a', 'c');
	ck_assert_int_eq(net_watch_thinks(n, 'a', 'c'), DYN_DOUBTED);
	net_watch_run(n, 2500);
	ck_assert_int_eq(net_watch_thinks(n, 'a', 'c'), DYN_DOUBTED);
	(void)until(n, 'a', 'c', DYN_SUSPECT, 1500);
	/* One that answers is believed, however slow the request. */
	net_watch_doubt(n, 'a', 'b');
	net_watch_run(n, 50);
	ck_assert_int_eq(net_watch_thinks(n, 'a', 'b'), DYN_LIVE);
	net_watch_free(n);
}
END_TEST

START_TEST(who_is_not_there_is_suspected_at_once)
{
	struct net *n = net_watch_new(3, 8);

	net_watch_run(n, 10000);
	net_watch_kill(n, 'c');
	net_watch_run(n, 20);
	ck_assert_int_eq(net_watch_thinks(n, 'a', 'c'), DYN_SUSPECT);
	ck_assert_int_eq(net_watch_thinks(n, 'b', 'c'), DYN_SUSPECT);
	net_watch_run(n, 30000);
	net_watch_start(n, 'c');
	(void)until(n, 'a', 'c', DYN_LIVE, 1100);
	net_watch_free(n);
}
END_TEST

START_TEST(paused_node_accuses_nobody)
{
	for (unsigned k = 0; k < 20; k++) {
		struct net *n = net_watch_new(5, 200 + k);

		net_watch_run(n, 15000);
		net_watch_pause(n, 'b', true);
		net_watch_run(n, 30000);
		ck_assert_int_eq(net_watch_thinks(n, 'a', 'b'), DYN_SUSPECT);
		ck_assert_uint_eq(net_watch_accusations(n), 4);
		net_watch_pause(n, 'b', false);
		net_watch_run(n, 30000);
		ck_assert_uint_eq(net_watch_accusations(n), 4);
		for (char who = 'a'; who <= 'e'; who++)
			for (char of = 'a'; of <= 'e'; of++)
				ck_assert_int_eq(net_watch_thinks(n, who, of), DYN_LIVE);
		net_watch_free(n);
	}
}
END_TEST

/* A machine that swaps: our node runs for moments, too short to read what came. */
START_TEST(node_that_is_mostly_away_accuses_nobody)
{
	struct net *n = net_watch_new(5, 12);
	unsigned before;

	net_watch_run(n, 15000);
	for (unsigned i = 0; i < 40; i++) {
		net_watch_pause(n, 'b', true);
		net_watch_run(n, 1000);
		net_watch_pause(n, 'b', false);
		net_watch_run(n, 2);
	}
	before = net_watch_accusations(n);
	for (char of = 'a'; of <= 'e'; of++)
		ck_assert_int_eq(net_watch_thinks(n, 'b', of), DYN_LIVE);
	net_watch_run(n, 30000);
	ck_assert_uint_eq(net_watch_accusations(n), before);
	net_watch_free(n);
}
END_TEST

/* Only the way from a to b is cut: b is well, as the others see, and a is not the
 * only one to find out: b gets no answers from a either. */
START_TEST(one_bad_path)
{
	struct net *n = net_watch_new(5, 9);
	uint64_t took;

	net_watch_run(n, 10000);
	net_watch_cut(n, 'a', 'b', true);
	took = until(n, 'a', 'b', DYN_SUSPECT, 9000);
	/* Others reach it: more time than for one that is silent to all. */
	ck_assert_uint_ge(took, 3400);
	net_watch_run(n, 20000);
	ck_assert_int_eq(net_watch_thinks(n, 'b', 'a'), DYN_SUSPECT);
	ck_assert_int_eq(net_watch_thinks(n, 'c', 'b'), DYN_LIVE);
	ck_assert_int_eq(net_watch_thinks(n, 'c', 'a'), DYN_LIVE);
	ck_assert_uint_eq(net_watch_accusations(n), 2);
	net_watch_cut(n, 'a', 'b', false);
	(void)until(n, 'a', 'b', DYN_LIVE, 8000);
	net_watch_free(n);
}
END_TEST

/* A short hole in one path: TCP would be slow to find that it is closed. */
START_TEST(short_hole_is_got_over)
{
	for (unsigned k = 0; k < 20; k++) {
		struct net *n = net_watch_new(5, 300 + k);

		net_watch_run(n, 10000 + 53 * k);
		net_watch_cut(n, 'a', 'b', true);
		net_watch_cut(n, 'b', 'a', true);
		net_watch_run(n, 2500);
		net_watch_cut(n, 'a', 'b', false);
		net_watch_cut(n, 'b', 'a', false);
		net_watch_run(n, 30000);
		ck_assert_uint_eq(net_watch_accusations(n), 0);
		net_watch_free(n);
	}
}
END_TEST

/* test/sim/accuse does this for thousands of hours. */
START_TEST(lost_packets_accuse_nobody)
{
	struct net *n = net_watch_new(5, 10);

	net_watch_loss(n, 50000);
	net_watch_run(n, 4 * 3600000);
	ck_assert_uint_eq(net_watch_accusations(n), 0);
	net_watch_free(n);
}
END_TEST

START_TEST(both_sides_of_a_split)
{
	struct net *n = net_watch_new(5, 11);

	net_watch_run(n, 10000);
	for (char x = 'a'; x <= 'b'; x++)
		for (char y = 'c'; y <= 'e'; y++) {
			net_watch_cut(n, x, y, true);
			net_watch_cut(n, y, x, true);
		}
	net_watch_run(n, 8000);
	for (char x = 'a'; x <= 'e'; x++)
		for (char y = 'a'; y <= 'e'; y++)
			ck_assert_int_eq(net_watch_thinks(n, x, y),
			    (x <= 'b') == (y <= 'b') ? DYN_LIVE : DYN_SUSPECT);
	net_watch_free(n);
}
END_TEST

/* --------------------------------------------------------------- one by hand */

struct one {
	struct detect *d;
	struct outbox out;
	struct moment m;
	struct view *view;
};

static void
begin_one(struct one *o, bool client)
{
	struct detect_options options = { .self = node_id(client ? 'x' : 'a'), .client = client,
		.seed = 1 };

	memset(o, 0, sizeof(*o));
	o->m = (struct moment){ NS_PER_S, 1000000 };
	o->view = view_ring(3, 3, 16);
	outbox_init(&o->out);
	ck_assert_int_eq(detect_new(&o->d, &options, o->m), 0);
	detect_view(o->d, o->view, o->m, &o->out);
}

static void
end_one(struct one *o)
{
	outbox_fini(&o->out);
	detect_free(o->d);
	view_unref(o->view);
}

static unsigned
count(const struct one *o, enum effect_kind kind)
{
	unsigned found = 0;

	for (size_t i = 0; i < o->out.count; i++)
		found += o->out.list[i].kind == kind;
	return found;
}

/* A frame of another node; connection 7. */
static void
frame_of(struct one *o, char from, enum msg_kind kind, const union msg *m)
{
	struct frame f = { .kind = (uint8_t)kind, .request = 5 };
	struct dyn_id id = node_id(from);

	detect_frame(o->d, &id, 7, &f, m, o->m, &o->out);
}

START_TEST(questions_are_answered_but_prove_nothing)
{
	struct one o;
	union msg m = { .ping = { .token = 9 } };

	begin_one(&o, false);
	for (unsigned i = 0; i < 3; i++) {
		o.m.now += NS_PER_S;
		frame_of(&o, 'b', MSG_PING, &m);
		detect_tick(o.d, o.m, &o.out);
	}
	ck_assert_uint_eq(count(&o, FX_REPLY), 3);
	ck_assert_int_eq(detect_liveness(o.d, &o.view->records[1].id), DYN_DOUBTED);
	end_one(&o);
}
END_TEST

START_TEST(helper_says_yes_and_no)
{
	struct one o;
	union msg m = { .probe = { .target = node_id('c') } };
	struct frame f;
	union msg got;

	begin_one(&o, false);
	frame_of(&o, 'b', MSG_PROBE, &m);
	ck_assert_uint_eq(count(&o, FX_SEND), 1);
	ck_assert_int_eq(frame_decode(&f, buf_slice(o.out.list[0].frame)), 0);
	ck_assert_int_eq(msg_decode(f.kind, f.body, &got), 0);
	ck_assert_uint_eq(f.kind, MSG_PING);
	/* The answer of another is none. */
	frame_of(&o, 'b', MSG_PONG, &got);
	ck_assert_uint_eq(count(&o, FX_REPLY), 0);
	frame_of(&o, 'c', MSG_PONG, &got);
	ck_assert_uint_eq(count(&o, FX_REPLY), 1);
	ck_assert_int_eq(frame_decode(&f, buf_slice(o.out.list[o.out.count - 1].frame)), 0);
	ck_assert_int_eq(msg_decode(f.kind, f.body, &got), 0);
	ck_assert_uint_eq(f.request, 5);
	ck_assert_uint_eq(got.probe_ack.rc, 0);
	/* Nobody answers. */
	frame_of(&o, 'b', MSG_PROBE, &m);
	o.m.now += DETECT_HELP;
	detect_tick(o.d, o.m, &o.out);
	ck_assert_uint_eq(count(&o, FX_REPLY), 2);
	ck_assert_int_eq(frame_decode(&f, buf_slice(o.out.list[o.out.count - 1].frame)), 0);
	ck_assert_int_eq(msg_decode(f.kind, f.body, &got), 0);
	ck_assert_int_eq(msg_rc(got.probe_ack.rc), DYN_ETIMEOUT);
	/* Of a stranger, and more than it can hold: no answer. */
	m.probe.target = node_id('z');
	frame_of(&o, 'b', MSG_PROBE, &m);
	m.probe.target = node_id('c');
	for (unsigned i = 0; i < DETECT_PROBES + 10; i++)
		frame_of(&o, 'b', MSG_PROBE, &m);
	ck_assert_uint_eq(count(&o, FX_SEND), 2 + DETECT_PROBES);
	end_one(&o);
}
END_TEST

START_TEST(who_leaves_and_returns_is_not_marked)
{
	struct one o;
	struct view *all;

	begin_one(&o, false);
	detect_refused(o.d, &o.view->records[2].id, o.m, &o.out);
	ck_assert_int_eq(o.out.list[o.out.count - 1].rc, DYN_SUSPECT);
	all = view_ref(o.view);
	o.view = view_leaves(o.view, 'c');
	detect_view(o.d, o.view, o.m, &o.out);
	ck_assert_uint_eq(count(&o, FX_LIVENESS), 2);
	ck_assert_int_eq(o.out.list[o.out.count - 1].rc, DYN_LIVE);
	detect_view(o.d, all, o.m, &o.out);
	ck_assert_int_eq(detect_liveness(o.d, &all->records[2].id), DYN_LIVE);
	view_unref(all);
	end_one(&o);
}
END_TEST

/* One was not heard: all states again, as they are. */
START_TEST(told_again)
{
	struct one o;
	struct dyn_id c = node_id('c');
	size_t from, suspects = 0;

	begin_one(&o, false);
	detect_refused(o.d, &c, o.m, &o.out);
	ck_assert_uint_eq(count(&o, FX_LIVENESS), 1);
	from = o.out.count;
	detect_tell(o.d, &o.out);
	ck_assert_uint_eq(o.out.count - from, o.view->count - 1);
	for (size_t i = from; i < o.out.count; i++) {
		const struct effect *e = &o.out.list[i];

		ck_assert_int_eq(e->kind, FX_LIVENESS);
		ck_assert_int_eq(e->rc, id_equal(&e->to, &c) ? DYN_SUSPECT : DYN_LIVE);
		suspects += e->rc == DYN_SUSPECT;
	}
	ck_assert_uint_eq(suspects, 1);
	end_one(&o);
}
END_TEST

START_TEST(client_asks_seldom)
{
	struct one o;
	union msg m = { .pong = { .token = 0 } };

	begin_one(&o, true);
	for (unsigned i = 0; i < 60; i++) {
		o.m.now = MAX(o.m.now, detect_wake(o.d));
		if (o.m.now > 61 * NS_PER_S)
			break;
		detect_tick(o.d, o.m, &o.out);
		for (char c = 'a'; c <= 'c'; c++)
			frame_of(&o, c, MSG_PONG, &m);
	}
	ck_assert_uint_ge(count(&o, FX_SEND), 3 * 5);
	ck_assert_uint_le(count(&o, FX_SEND), 3 * 7);
	end_one(&o);
}
END_TEST

static Suite *
suite(void)
{
	Suite *s = suite_create("detector");
	TCase *c = tcase_create("detector");

	suite_add_tcase(s, c);
	tcase_set_timeout(c, 60);
	tcase_add_test(c, quiet_ring_accuses_nobody);
	tcase_add_test(c, silent_one_is_suspected_in_time);
	tcase_add_test(c, request_that_waits_is_a_reason_to_look);
	tcase_add_test(c, who_is_not_there_is_suspected_at_once);
	tcase_add_test(c, paused_node_accuses_nobody);
	tcase_add_test(c, node_that_is_mostly_away_accuses_nobody);
	tcase_add_test(c, one_bad_path);
	tcase_add_test(c, short_hole_is_got_over);
	tcase_add_test(c, lost_packets_accuse_nobody);
	tcase_add_test(c, both_sides_of_a_split);
	tcase_add_test(c, questions_are_answered_but_prove_nothing);
	tcase_add_test(c, helper_says_yes_and_no);
	tcase_add_test(c, who_leaves_and_returns_is_not_marked);
	tcase_add_test(c, told_again);
	tcase_add_test(c, client_asks_seldom);
	return s;
}

TEST_MAIN(suite)
