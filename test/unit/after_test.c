/*
 * Goal: a write with a context is later than all the context has seen, whoever
 * coordinates it and whatever the clocks say: else last write wins would drop a
 * write in favour of one that its writer had read.
 * Method: the time travels from context to version and back, step by step:
 * through ASK, the mint, ASK_ACK and the result.
 */
#include "test/core_script.h"

#include "api.h"
#include "model/context.h"
#include "model/hlc.h"

/* Of a clock ahead of the script's, as much as is borne, and more. */
#define LATE hlc_from_ms(1000000 + 60000)
#define TOO_LATE hlc_from_ms(1000000 + 60001)

/* The first effect of a kind, or NULL. */
static const struct effect *
effect(const struct script *s, enum effect_kind kind)
{
	for (size_t i = 0; i < s->out.count; i++)
		if (s->out.list[i].kind == kind)
			return &s->out.list[i];
	return NULL;
}

static void
decode(const struct effect *e, enum msg_kind kind, union msg *m)
{
	struct frame f;

	ck_assert_ptr_nonnull(e);
	ck_assert_int_eq(frame_decode(&f, buf_slice(e->frame)), 0);
	ck_assert_uint_eq(f.kind, kind);
	ck_assert_int_eq(msg_decode(f.kind, f.body, m), 0);
}

START_TEST(who_asks_says_it)
{
	struct script *s = script_new(&(struct script_options){
	    .self = 'z', .client = true, .view = view_ring(3, 3, 16)});
	struct op *op = op_new(OP_PUT, "k", &(struct with){.value = "x", .lww = true});
	union msg m;

	op->after = LATE;
	work_op(s->work, op, s->m, &s->out);
	decode(effect(s, FX_SEND), MSG_ASK, &m);
	ck_assert_uint_eq(m.ask.after, LATE);
	script_free(s);
}
END_TEST

/* The time of the only version in an object. */
static uint64_t
time_of(struct dyn_slice object)
{
	struct object o;
	uint64_t time;

	ck_assert_int_eq(object_decode(&o, object), 0);
	ck_assert_uint_eq(o.count, 1);
	time = o.values[0].time;
	object_fini(&o);
	return time;
}

START_TEST(who_mints_keeps_to_it)
{
	struct script *s = script_new(
	    &(struct script_options){.self = 'a', .view = view_ring(3, 3, 16)});
	struct op *op = op_new(OP_PUT, "k", &(struct with){.value = "x", .lww = true});
	union msg m;

	op->after = LATE;
	work_op(s->work, op, s->m, &s->out);
	decode(effect(s, FX_SEND), MSG_PUT, &m);
	ck_assert_uint_gt(time_of(m.put.object), LATE);
	script_skip(s);
	script_effects(s);
	script_turn(s);
	script_commit(s, 0);
	script_put_ack(s, 'b', 1, 0);
	ck_assert_ptr_nonnull(s->last);
	ck_assert_uint_gt(s->last->time, LATE);
	script_free(s);
}
END_TEST

/* Put with what a clock has seen that is too far ahead. */
static struct script *
put_too_late(bool lww)
{
	struct script *s = script_new(
	    &(struct script_options){.self = 'a', .view = view_ring(1, 1, 16)});
	struct op *op = op_new(OP_PUT, "k",
	    &(struct with){.value = "x",
		.lww = lww,
		.n = 1,
		.r = 1,
		.w = 1,
		.durability = DYN_DURABLE_MEMORY});

	op->after = TOO_LATE;
	work_op(s->work, op, s->m, &s->out);
	script_effects(s);
	ck_assert_ptr_nonnull(s->last);
	return s;
}

START_TEST(nobody_is_drawn_far_ahead)
{
	struct script *s = put_too_late(true);

	ck_assert_int_eq(s->last->rc, DYN_ECLOCK);
	ck_assert_str_eq(script_stored(s, "k"), "none");
	script_free(s);
	s = put_too_late(false); /* where times do not decide, it is written */
	ck_assert_int_eq(s->last->rc, 0);
	ck_assert_uint_le(hlc_ms(s->last->time), s->m.wall_ms + 1);
	script_free(s);
}
END_TEST

START_TEST(who_asked_hears_it)
{
	struct script *s = script_new(&(struct script_options){
	    .self = 'z', .client = true, .view = view_ring(3, 3, 16)});
	union msg m;

	script_op(s, OP_PUT, "k", &(struct with){.value = "x", .fastest = 'b'});
	memset(&m, 0, sizeof(m));
	m.ask_ack.dot_counter = 1;
	m.ask_ack.time = LATE;
	script_frame(s, 'b', 1, NULL, 1, MSG_ASK_ACK, &m);
	ck_assert_ptr_nonnull(s->last);
	ck_assert_uint_eq(s->last->time, LATE);
	script_free(s);
}
END_TEST

START_TEST(an_owner_that_is_asked)
{
	struct script *s = script_new(
	    &(struct script_options){.self = 'a', .view = view_ring(1, 1, 16)});
	struct buf *name = key_name("k"), *frame;
	struct frame head = work_head(s->work, 40), f;
	struct dyn_id from = {{0}};
	union msg m;

	memset(&m, 0, sizeof(m));
	m.ask = (struct msg_ask){.op = OP_PUT,
	    .durability = DYN_DURABLE_MEMORY,
	    .n = 1,
	    .w = 1,
	    .lww = 1,
	    .timeout_ms = 100,
	    .name = buf_slice(name),
	    .value = dyn_str("x"),
	    .after = LATE};
	ck_assert_int_eq(msg_encode(&frame, &head, MSG_ASK, &m), 0);
	ck_assert_int_eq(frame_decode(&f, buf_slice(frame)), 0);
	ck_assert_int_eq(work_frame(s->work, &from, 7, &f, s->m, &s->out), 0);
	decode(effect(s, FX_REPLY), MSG_ASK_ACK, &m);
	ck_assert_int_eq(msg_rc(m.ask_ack.rc), 0);
	ck_assert_uint_gt(m.ask_ack.time, LATE);
	buf_unref(frame);
	buf_unref(name);
	script_free(s);
}
END_TEST

/* What results put into contexts: the time of the version read or written. */
START_TEST(contexts_of_results)
{
	dyn_node *n = api_local(NULL);
	dyn_bucket *b = api_bucket(n, "b", DYN_LWW, NULL);
	dyn_context *put = api_put(b, "k", NULL, "1"), *got = api_context(b, "k"), *gone;
	dyn_result *r = api_get(b, "k");

	ck_assert_uint_gt(put->time, 0);
	ck_assert_uint_eq(put->time, got->time);
	ck_assert_uint_eq(hlc_ms(put->time), dyn_result_time(r, 0));
	dyn_result_free(r);
	/* Also where the version is a delete, which no value shows. */
	ck_assert_int_eq(dyn_delete(b, dyn_str("k"), NULL, NULL, NULL), 0);
	gone = api_context(b, "k");
	ck_assert_uint_gt(gone->time, got->time);
	dyn_context_free(put);
	dyn_context_free(got);
	dyn_context_free(gone);
	api_close(n);
}
END_TEST

static Suite *
suite(void)
{
	Suite *s = suite_create("after");

	test_case(s, "who asks", who_asks_says_it);
	test_case(s, "who mints", who_mints_keeps_to_it);
	test_case(s, "nobody far ahead", nobody_is_drawn_far_ahead);
	test_case(s, "who asked", who_asked_hears_it);
	test_case(s, "an owner that is asked", an_owner_that_is_asked);
	test_case(s, "contexts of results", contexts_of_results);
	return s;
}

TEST_MAIN(suite)
