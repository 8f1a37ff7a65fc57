/*
 * Goal: rows are forgotten when all owners have them, nobody keeps a hint, and
 * everybody is behind a fence; each step waits for all, and whatever goes otherwise
 * ends the round with nothing forgotten.
 * Method: the machine of node 'a' in a ring of four, the test plays the others.
 * Whole rings are forgetful in test/sim.
 */
#include "test/core_script.h"

#include "core/arrive.h"
#include "core/collect_private.h"
#include "test/unit/notation.h"

#include <stdio.h>
#include <stdlib.h>

#define PARTITIONS 16
#define PERIOD (10 * NS_PER_S)
#define WORKERS 3

/* A request that went out, or rows for the worker. */
struct asked {
	char to; /* 'a': its own worker */
	enum msg_kind kind;
	unsigned step;
	uint64_t number;
	struct rows *rows;
};

struct node {
	struct dyn_engine *e;
	struct collect *c;
	struct hint *hint;
	struct admit admit;
	struct outbox out;
	struct moment m;
	struct view *v;
	struct asked asked[64];
	size_t count;
	unsigned metas, fences, cleared, replies;
	int reply_rc;
	unsigned char reply_bits;
	bool slow; /* its workers do not say at once that they go by the settled table */
	struct buf *name; /* of a key whose first owner a is */
	unsigned partition;
};

static void
see(struct node *n, struct effect *e)
{
	struct asked *x = &n->asked[n->count];
	struct frame f;
	union msg msg;

	switch (e->kind) {
	case FX_SEND:
	case FX_REPLY:
		MUST(frame_decode(&f, buf_slice(e->frame)) == 0);
		MUST(msg_decode(f.kind, f.body, &msg) == 0);
		if (e->kind == FX_REPLY) {
			n->replies++;
			n->reply_rc = msg_rc(msg.collect_ack.rc);
			n->reply_bits = msg.collect_ack.bits.len > 0
			                    ? *(const unsigned char *)msg.collect_ack.bits.data
			                    : 0;
			break;
		}
		*x = (struct asked){ .to = node_letter(&e->to), .kind = (enum msg_kind)f.kind,
			.number = f.request };
		if (f.kind == MSG_COLLECT)
			x->step = msg.collect.step;
		n->count++;
		break;
	case FX_ROWS:
		if (((struct rows *)e->what)->of == ROWS_SETTLED && !n->slow) {
			collect_stored(n->c, e->what, 0, n->m, &n->out);
			break;
		}
		*x = (struct asked){ .to = 'a', .rows = e->what };
		n->count++;
		break;
	case FX_META:
		n->metas++;
		break;
	case FX_COLLECT:
		n->fences++;
		break;
	case FX_CLEARED:
		n->cleared++;
		break;
	default:
		break;
	}
}

static void
effects(struct node *n)
{
	for (size_t i = 0; i < n->out.count; i++) {
		struct effect e = n->out.list[i];

		/* By value: what is seen may add more and move the list. */
		memset(&n->out.list[i], 0, sizeof(e));
		see(n, &e);
		effect_drop(&e);
	}
	n->out.count = 0;
}

/* The next thing that goes to this node, taken off the list. */
static struct asked
next_to(struct node *n, char to)
{
	for (size_t i = 0; i < n->count; i++) {
		struct asked x = n->asked[i];

		if (x.to != to)
			continue;
		memmove(&n->asked[i], &n->asked[i + 1], (--n->count - i) * sizeof(x));
		return x;
	}
	ck_abort_msg("nothing for %c", to);
}

static void
store(struct node *n, const char *object)
{
	struct buf *o = object_of(object);
	struct dyn_row row = { DYN_SPACE_DATA, buf_slice(n->name), buf_slice(o) };
	struct change x = { .name = n->name, .space = DYN_SPACE_DATA,
		.bytes_after = (uint32_t)o->len,
		.old = object_old(buf_slice(o), 0) != OBJECT_FRESH };
	const struct changes changes = { .list = &x, .count = 1 };

	ck_assert_int_eq(n->e->apply(n->e->self, &row, 1, DYN_DURABLE_DISK), 0);
	collect_changed(n->c, &changes);
	buf_unref(o);
}

static void
see_view(struct node *n, struct view *v)
{
	view_unref(n->v);
	n->v = v;
	collect_view(n->c, v, n->m, &n->out);
	effects(n);
}

static void
fenced(struct node *n)
{
	collect_fenced(n->c, n->v, n->m, &n->out);
	effects(n);
}

static void
pass(struct node *n, uint64_t ns)
{
	uint64_t until = n->m.now + ns;

	for (uint64_t at; (at = collect_wake(n->c)) <= until;) {
		n->m.now = MAX(n->m.now, at);
		collect_tick(n->c, n->m, &n->out);
		effects(n);
	}
	n->m.now = until;
}

/* Until something is asked. */
static void
begin(struct node *n)
{
	while (n->count == 0) {
		uint64_t at = collect_wake(n->c);

		ck_assert_uint_ne(at, TIME_NEVER);
		pass(n, at > n->m.now ? at - n->m.now : 0);
	}
}

static struct node *
node_new(void)
{
	struct node *n = calloc(1, sizeof(*n));
	struct collect_options o = { .self = node_id('a'), .workers = WORKERS, .period = PERIOD };
	struct hint_options h = { .self = node_id('a'), .bytes_max = 1 << 20,
		.age_max_ms = 1000000 };
	struct view *v = view_ring(4, 3, PARTITIONS);
	const struct dyn_id self = node_id('a');

	ck_assert_ptr_nonnull(n);
	n->m = (struct moment){ NS_PER_S, 1700000000000 };
	ck_assert_int_eq(dyn_engine_memory(&n->e), 0);
	h.engine = o.engine = n->e;
	ck_assert_int_eq(hint_new(&n->hint, &h, n->m), 0);
	hint_view(n->hint, v, n->m);
	admit_init(&n->admit, n->m.now);
	o.hint = n->hint;
	o.admit = &n->admit;
	outbox_init(&n->out);
	ck_assert_int_eq(collect_new(&n->c, &o, n->m), 0);
	for (unsigned i = 0; n->name == NULL; i++) {
		char key[16];

		snprintf(key, sizeof(key), "k%u", i);
		n->name = key_name(key);
		n->partition = name_partition(buf_slice(n->name), PARTITIONS);
		if (table_rank(v->current, n->partition, &self) == 0)
			break;
		buf_unref(n->name);
		n->name = NULL;
	}
	see_view(n, v);
	fenced(n);
	return n;
}

static void
node_free(struct node *n)
{
	for (size_t i = 0; i < n->count; i++)
		rows_free(n->asked[i].rows);
	collect_free(n->c);
	hint_free(n->hint);
	outbox_fini(&n->out);
	view_unref(n->v);
	buf_unref(n->name);
	ck_assert_int_eq(n->e->close(n->e->self), 0);
	free(n);
}

static bool
is_owner(struct node *n, char who)
{
	const struct dyn_id id = node_id(who);

	return table_rank(n->v->current, n->partition, &id) < 3;
}

static void
answer_look(struct node *n, char who, unsigned step, int rc, unsigned char bits)
{
	struct asked x = next_to(n, who);
	struct frame f = { .kind = MSG_COLLECT_ACK, .request = x.number };
	union msg msg = { .collect_ack = { .rc = (uint32_t)rc, .step = (uint8_t)step,
		.bits = slice(&bits, 1) } };
	const struct dyn_id id = node_id(who);

	ck_assert_int_eq(x.kind, MSG_COLLECT);
	ck_assert_uint_eq(x.step, step);
	ck_assert_int_eq(collect_frame(n->c, &id, 0, &f, &msg, n->m, &n->out), 0);
	effects(n);
}

static void
answer_agree(struct node *n, char who, int rc)
{
	struct asked x = next_to(n, who);
	struct frame f = { .kind = MSG_REPAIR_ACK, .request = x.number };
	union msg msg = { .repair_ack = { .rc = (uint32_t)rc } };
	const struct dyn_id id = node_id(who);

	ck_assert_int_eq(x.kind, MSG_REPAIR);
	ck_assert(collect_is_number(x.number));
	ck_assert_int_eq(collect_frame(n->c, &id, 0, &f, &msg, n->m, &n->out), 0);
	effects(n);
}

static void
stored(struct node *n, enum rows_of of, int rc)
{
	struct asked x = next_to(n, 'a');

	ck_assert_ptr_nonnull(x.rows);
	ck_assert_int_eq(x.rows->of, of);
	collect_stored(n->c, x.rows, rc, n->m, &n->out);
	effects(n);
}

static void
all_look(struct node *n)
{
	for (char who = 'b'; who <= 'd'; who++)
		answer_look(n, who, COLLECT_LOOK, 0, 0);
}

static void
all_agree(struct node *n)
{
	for (char who = 'b'; who <= 'd'; who++)
		if (is_owner(n, who))
			answer_agree(n, who, 0);
	stored(n, ROWS_AGREE, 0);
}

static void
follow(struct node *n)
{
	struct view *before = view_ref(n->v);

	see_view(n, view_fenced(before, false));
	fenced(n);
	see_view(n, view_fenced(before, true));
	view_unref(before);
}

static uint64_t
rounds(struct node *n)
{
	struct collect_figures f;

	collect_figures(n->c, &f);
	return f.rounds;
}

/* Nothing of the row went to anybody, and the next round takes it up again. */
static void
nothing_is_forgotten(struct node *n)
{
	ck_assert_int_eq(n->c->state, IDLE);
	ck_assert_uint_eq(n->count, 0);
	ck_assert_uint_eq(n->metas, 0);
	ck_assert_uint_eq(rounds(n), 0);
	begin(n);
	ck_assert_uint_ge(n->count, 3);
	ck_assert_uint_eq(n->asked[0].step, COLLECT_LOOK);
}

START_TEST(a_round)
{
	struct node *n = node_new();

	pass(n, 10 * PERIOD);
	ck_assert_uint_eq(n->count, 0); /* no wishes, no rounds */
	store(n, "a1 | a1=x");
	pass(n, PERIOD);
	ck_assert_uint_eq(n->count, 0); /* it can be seen */
	store(n, "a2");
	begin(n);
	all_look(n);
	ck_assert_uint_eq(n->count, 3); /* two owners, itself */
	ck_assert_uint_eq(n->fences, 0);
	all_agree(n);
	pass(n, PERIOD / 2);
	ck_assert_uint_eq(n->fences, 1);
	ck_assert_uint_eq(n->count, 0);
	/* On its way to the fence, nothing. */
	see_view(n, view_fenced(n->v, false));
	fenced(n);
	ck_assert_uint_eq(n->count, 0);
	node_free(n);
	/* And with it, all of it. */
	n = node_new();
	store(n, "a2");
	begin(n);
	all_look(n);
	all_agree(n);
	pass(n, PERIOD / 2);
	follow(n);
	ck_assert_uint_eq(n->metas, 0);
	all_look(n);
	ck_assert_uint_eq(n->metas, 1); /* FORGOT_ROW, before the rows */
	ck_assert_uint_eq(n->count, 3);
	for (char who = 'b'; who <= 'd'; who++)
		if (is_owner(n, who))
			answer_look(n, who, COLLECT_DROP, 0, 0);
	ck_assert_uint_eq(rounds(n), 0);
	stored(n, ROWS_FORGET, 0);
	ck_assert_uint_eq(rounds(n), 1);
	ck_assert_uint_eq(n->fences, 1);
	node_free(n);
}
END_TEST

/* A row that is larger than what goes at once goes alone. */
START_TEST(a_large_row)
{
	static char text[COLLECT_BYTES + 1000] = "a1 b1 c1 d1 e1 f1 g1 h1 i1 j1 k1 l1 | a1=";
	struct node *n = node_new();

	memset(text + strlen(text), 'x', sizeof(text) - strlen(text) - 1);
	store(n, text);
	begin(n);
	all_look(n);
	ck_assert_uint_eq(n->count, 3);
	all_agree(n);
	ck_assert_int_eq(n->c->state, READY);
	node_free(n);
}
END_TEST

/* Another table would end their rounds: the gap is between one that is settled and the
 * next, however long it took. */
START_TEST(others_get_time_to_use_a_fence)
{
	struct node *n = node_new();
	struct view *before = view_ref(n->v);

	see_view(n, view_fenced(before, false));
	fenced(n);
	pass(n, 2 * PERIOD);
	see_view(n, view_fenced(before, true));
	view_unref(before);
	store(n, "a2");
	begin(n);
	all_look(n);
	all_agree(n);
	pass(n, PERIOD / 2 - 1);
	ck_assert_uint_eq(n->fences, 0);
	pass(n, 1);
	ck_assert_uint_eq(n->fences, 1);
	node_free(n);
}
END_TEST

/* [0]: before the fence, [1]: after it. */
static struct node *
up_to_looking(bool again)
{
	struct node *n = node_new();

	store(n, "a2");
	begin(n);
	if (again) {
		all_look(n);
		all_agree(n);
		pass(n, PERIOD / 2);
		follow(n);
	}
	return n;
}

START_TEST(somebody_keeps_a_hint)
{
	struct node *n = up_to_looking(_i == 1);

	answer_look(n, 'b', COLLECT_LOOK, 0, 0);
	answer_look(n, 'c', COLLECT_LOOK, 0, 1);
	answer_look(n, 'd', COLLECT_LOOK, 0, 0);
	nothing_is_forgotten(n);
	node_free(n);
}
END_TEST

START_TEST(this_node_keeps_a_hint)
{
	struct node *n = node_new();
	const struct dyn_id owner = node_id('b');
	unsigned char id[HINT_ID_MAX];
	struct place at = place_of_hint(&owner, buf_slice(n->name), id);
	struct change x = { .name = buf_copy(at.id.data, at.id.len), .space = DYN_SPACE_HINT,
		.after = { { 1 } }, .bytes_after = 10 };
	struct changes changes = { .list = &x, .count = 1 };
	struct buf *o = object_of("a1 | a1=x");
	struct dyn_row row = { DYN_SPACE_HINT, at.id, buf_slice(o) };

	ck_assert_int_eq(n->e->apply(n->e->self, &row, 1, DYN_DURABLE_DISK), 0);
	hint_changed(n->hint, &changes, n->m, &n->out);
	effects(n);
	n->metas = 0;
	ck_assert(hint_keeps(n->hint, n->partition));
	ck_assert(!hint_keeps(n->hint, (n->partition + 1) % PARTITIONS));
	store(n, "a2");
	begin(n);
	while (n->count > 0)
		answer_look(n, n->asked[0].to, COLLECT_LOOK, 0, 0);
	ck_assert_uint_eq(n->count, 0);
	ck_assert_uint_eq(n->fences, 0);
	buf_unref(x.name);
	buf_unref(o);
	node_free(n);
}
END_TEST

START_TEST(a_member_is_not_there)
{
	struct node *n = up_to_looking(_i % 2 == 1);
	const struct dyn_id d = node_id('d');

	answer_look(n, 'b', COLLECT_LOOK, 0, 0);
	answer_look(n, 'c', COLLECT_LOOK, 0, 0);
	if (_i / 2 == 0) {
		answer_look(n, 'd', COLLECT_LOOK, DYN_EIO, 0);
	} else if (_i / 2 == 1) {
		(void)next_to(n, 'd');
		collect_lost(n->c, &d, n->m, &n->out);
		effects(n);
	} else {
		struct asked late = next_to(n, 'd');

		pass(n, COLLECT_PATIENCE - 1);
		ck_assert_uint_eq(n->count, 0);
		pass(n, 1);
		n->asked[n->count++] = late;
		answer_look(n, 'd', COLLECT_LOOK, 0, 0); /* too late */
	}
	nothing_is_forgotten(n);
	node_free(n);
}
END_TEST

/* It has not heard yet that the table is settled: it is asked again, and so are all,
 * whose answers may be others by now; but not for ever. */
START_TEST(a_member_is_not_so_far)
{
	struct node *n = up_to_looking(_i % 2 == 1);
	uint64_t began = n->m.now;

	answer_look(n, 'b', COLLECT_LOOK, 0, 0);
	answer_look(n, 'd', COLLECT_LOOK, _i / 2 == 0 ? DYN_EMOVED : DYN_EBUSY, 0);
	answer_look(n, 'c', COLLECT_LOOK, 0, 0); /* too late */
	ck_assert_uint_eq(n->count, 0);
	pass(n, COLLECT_REST);
	if (_i / 4 == 0) {
		answer_look(n, 'b', COLLECT_LOOK, 0, 0);
		answer_look(n, 'd', COLLECT_LOOK, 0, 0);
		ck_assert_uint_eq(n->count, 1);
		answer_look(n, 'c', COLLECT_LOOK, 0, 0);
		ck_assert_int_eq(n->c->state, _i % 2 == 1 ? DROPPING : AGREEING);
		node_free(n);
		return;
	}
	while (n->c->state != IDLE) {
		ck_assert_uint_le(n->m.now, began + COLLECT_LOOKING);
		if (n->count > 0) {
			(void)next_to(n, 'b');
			(void)next_to(n, 'c');
			answer_look(n, 'd', COLLECT_LOOK, DYN_EBUSY, 0);
		}
		pass(n, COLLECT_REST / 4);
	}
	nothing_is_forgotten(n);
	node_free(n);
}
END_TEST

START_TEST(an_owner_does_not_agree)
{
	struct node *n = up_to_looking(false);
	char who = is_owner(n, 'b') ? 'b' : 'c';
	const struct dyn_id id = node_id(who);

	all_look(n);
	if (_i == 0) {
		answer_agree(n, who, DYN_EFULL);
	} else if (_i == 1) {
		(void)next_to(n, who);
		collect_lost(n->c, &id, n->m, &n->out);
		effects(n);
	}
	for (char other = 'b'; other <= 'd'; other++)
		if (is_owner(n, other) && (other != who || _i == 2))
			answer_agree(n, other, 0);
	stored(n, ROWS_AGREE, _i == 2 ? DYN_EIO : 0);
	ck_assert_uint_eq(n->fences, 0);
	nothing_is_forgotten(n);
	node_free(n);
}
END_TEST

START_TEST(a_row_that_changed_is_left_out)
{
	struct node *n = up_to_looking(false);

	/* Between the beginning and the agreement. */
	store(n, "a3 | a3=y");
	all_look(n);
	ck_assert_uint_eq(n->count, 0);
	ck_assert_uint_eq(n->fences, 0);
	pass(n, 3 * PERIOD);
	ck_assert_uint_eq(n->count, 0); /* no wish is left of it */
	node_free(n);
}
END_TEST

/* What will expire is left alone until all clocks are past that, and is not even read
 * again before. */
START_TEST(expiry_is_waited_for)
{
	struct node *n = node_new();
	const struct mint mint = { .actor = { 1, 1 }, .time = 10, .value = dyn_str("x"),
		.expiry_ms = n->m.wall_ms + 5000 };
	struct buf *o;
	struct dot dot;
	struct dyn_row row = { DYN_SPACE_DATA, buf_slice(n->name), { NULL, 0 } };
	struct collect_figures f;

	ck_assert_int_eq(object_put(row.value, &mint, &o, &dot), 0);
	row.value = buf_slice(o);
	ck_assert_int_eq(n->e->apply(n->e->self, &row, 1, DYN_DURABLE_DISK), 0);
	collect_row(n->c, row.id, row.value);
	pass(n, 3 * PERIOD);
	ck_assert_uint_eq(n->count, 0);
	n->m.wall_ms += 5000 + COLLECT_EXPIRY_MARGIN - 1;
	pass(n, 3 * PERIOD);
	ck_assert_uint_eq(n->count, 0);
	collect_figures(n->c, &f);
	ck_assert_uint_eq(f.wishes, 1);
	n->m.wall_ms += 1;
	begin(n);
	ck_assert_uint_eq(n->count, 3);
	buf_unref(o);
	node_free(n);
}
END_TEST

/* Another table than the fence: owners may be others. */
START_TEST(another_table_comes)
{
	struct node *n = up_to_looking(false);
	struct view *v;

	all_look(n);
	all_agree(n);
	pass(n, PERIOD / 2);
	v = view_fenced(n->v, true);
	/* A fence, but not the one after what was agreed. */
	see_view(n, view_fenced(v, true));
	view_unref(v);
	fenced(n);
	nothing_is_forgotten(n);
	node_free(n);
}
END_TEST

/* Nobody follows: it is given up, and asked for again. */
START_TEST(the_fence_does_not_come)
{
	struct node *n = up_to_looking(false);

	all_look(n);
	all_agree(n);
	pass(n, COLLECT_WAIT + 1);
	ck_assert_uint_eq(n->fences, 1);
	nothing_is_forgotten(n);
	node_free(n);
}
END_TEST

/* Answers to DROP say nothing that matters. */
START_TEST(drops_that_fail)
{
	struct node *n = up_to_looking(true);

	all_look(n);
	for (char who = 'b'; who <= 'd'; who++)
		if (is_owner(n, who))
			answer_look(n, who, COLLECT_DROP, DYN_EMOVED, 0);
	stored(n, ROWS_FORGET, DYN_EIO);
	ck_assert_uint_eq(rounds(n), 1);
	/* It is still there, so it is tried again. */
	begin(n);
	ck_assert_uint_eq(n->count, 3);
	node_free(n);
}
END_TEST

/* ------------------------------------------------------------------ the asked */

static int
ask(struct node *n, char who, const struct view *v, unsigned step, struct dyn_slice list)
{
	struct frame f = view_head(v, 77);
	union msg msg = { .collect = { .step = (uint8_t)step, .partition = n->partition,
		.list = list } };
	const struct dyn_id id = node_id(who);
	int rc;

	f.kind = MSG_COLLECT;
	rc = collect_frame(n->c, &id, 5, &f, &msg, n->m, &n->out);
	effects(n);
	return rc;
}

START_TEST(looking_is_answered_behind_the_fence)
{
	struct node *n = node_new();
	struct view *old = view_ref(n->v), *moving;
	const unsigned char list[4] = { 3, 0, 0, 0 }, far[4] = { PARTITIONS, 0, 0, 0 };

	ck_assert_int_eq(ask(n, 'b', n->v, COLLECT_LOOK, slice(list, 4)), 0);
	ck_assert_uint_eq(n->replies, 1);
	ck_assert_int_eq(n->reply_rc, 0);
	ck_assert_uint_eq(n->reply_bits, 0);
	ck_assert_int_eq(ask(n, 'b', n->v, COLLECT_LOOK, slice(far, 4)), DYN_EPROTO);
	ck_assert_int_eq(ask(n, 'b', n->v, 9, slice(list, 4)), DYN_EPROTO);
	/* Not before all of this node is behind the fence, and settled. */
	moving = view_fenced(n->v, false);
	see_view(n, moving);
	ck_assert_int_eq(ask(n, 'b', n->v, COLLECT_LOOK, slice(list, 4)), 0);
	ck_assert_int_eq(n->reply_rc, DYN_EBUSY);
	fenced(n);
	ck_assert_int_eq(ask(n, 'b', n->v, COLLECT_LOOK, slice(list, 4)), 0);
	ck_assert_int_eq(n->reply_rc, DYN_EBUSY);
	ck_assert_int_eq(ask(n, 'b', old, COLLECT_LOOK, slice(list, 4)), 0);
	ck_assert_int_eq(n->reply_rc, DYN_EMOVED);
	view_unref(old);
	node_free(n);
}
END_TEST

/* b leads: a partition of its own, which a owns too. */
START_TEST(dropping_is_for_the_first_owner_under_a_fence)
{
	struct node *n = node_new();
	const struct dyn_id a = node_id('a'), b = node_id('b');
	const struct digest digest = { { 7 } };
	struct buf *list;
	struct wr w;

	for (unsigned i = 0;; i++) {
		char key[16];

		buf_unref(n->name);
		snprintf(key, sizeof(key), "j%u", i);
		n->name = key_name(key);
		n->partition = name_partition(buf_slice(n->name), PARTITIONS);
		if (table_rank(n->v->current, n->partition, &b) == 0 &&
		    table_rank(n->v->current, n->partition, &a) < 3)
			break;
	}
	wr_init(&w, 64);
	wr_slice(&w, buf_slice(n->name));
	wr_bytes(&w, digest.b, sizeof(digest.b));
	ck_assert_int_eq(wr_finish(&w, &list), 0);
	/* No fence was here yet. */
	ck_assert_int_eq(ask(n, 'b', n->v, COLLECT_DROP, buf_slice(list)), 0);
	ck_assert_int_eq(n->reply_rc, DYN_EMOVED);
	follow(n);
	ck_assert_int_eq(ask(n, 'c', n->v, COLLECT_DROP, buf_slice(list)), 0);
	ck_assert_int_eq(n->reply_rc, DYN_EMOVED);
	ck_assert_int_eq(ask(n, 'b', n->v, COLLECT_DROP, slice(list->data, list->len - 1)),
	    DYN_EPROTO);
	ck_assert_uint_eq(n->count + n->metas, 0);
	ck_assert_int_eq(ask(n, 'b', n->v, COLLECT_DROP, buf_slice(list)), 0);
	ck_assert_uint_eq(n->metas, 1);
	ck_assert_uint_eq(n->replies, 2);
	stored(n, ROWS_FORGET, 0);
	ck_assert_uint_eq(n->replies, 3);
	ck_assert_int_eq(n->reply_rc, 0);
	buf_unref(list);
	node_free(n);
}
END_TEST

/* ----------------------------------------------------- from before the fence */

/* What the machine of arrivals says to a hint, or to rows to repair, sent under this
 * view; 1: they went to the worker. */
static int
arrives(struct node *n, const struct view *sender, enum msg_kind kind)
{
	struct arrivals a;
	struct frame f = view_head(sender, 9);
	union msg msg, ack;
	struct buf *object = object_of("b1 | b1=x"), *rows;
	const struct dyn_id self = node_id('a');
	struct wr w;
	int rc = 1;

	wr_init(&w, 64);
	wr_slice(&w, buf_slice(n->name));
	wr_slice(&w, buf_slice(object));
	ck_assert_int_eq(wr_finish(&w, &rows), 0);
	memset(&msg, 0, sizeof(msg));
	if (kind == MSG_HINT)
		msg.hint = (struct msg_hint){ n->partition, buf_slice(rows) };
	else
		msg.repair = (struct msg_repair){ n->partition, buf_slice(rows) };
	f.kind = (uint8_t)kind;
	arrive_init(&a, &self);
	arrive_view(&a, n->v);
	ck_assert_int_eq(arrive_frame(&a, 5, &f, &msg, &n->out), 0);
	ck_assert_uint_eq(n->out.count, 1);
	if (n->out.list[0].kind == FX_ROWS) {
		rows_free(n->out.list[0].what);
	} else {
		ck_assert_int_eq(frame_decode(&f, buf_slice(n->out.list[0].frame)), 0);
		ck_assert_int_eq(msg_decode(f.kind, f.body, &ack), 0);
		rc = msg_rc(kind == MSG_HINT ? ack.hint_ack.rc : ack.repair_ack.rc);
	}
	effect_drop(&n->out.list[0]);
	n->out.count = 0;
	arrive_fini(&a);
	buf_unref(object);
	buf_unref(rows);
	return rc;
}

START_TEST(rows_from_before_the_fence)
{
	static const enum msg_kind kinds[] = { MSG_HINT, MSG_REPAIR };
	struct node *n = node_new();
	struct view *old = view_ref(n->v), *next;

	ck_assert_int_eq(arrives(n, old, kinds[_i]), 1);
	next = view_fenced(old, false);
	ck_assert_int_eq(arrives(n, next, kinds[_i]), 1); /* a step ahead */
	view_unref(next);
	/* Further on than this node's word allows: its own view must be an old one. */
	next = view_fenced(old, true);
	ck_assert_int_eq(arrives(n, next, kinds[_i]), DYN_EBUSY);
	view_unref(next);
	see_view(n, view_fenced(old, false));
	ck_assert_int_eq(arrives(n, old, kinds[_i]), DYN_EMOVED);
	ck_assert_int_eq(arrives(n, n->v, kinds[_i]), 1);
	view_unref(old);
	node_free(n);
}
END_TEST

/* ------------------------------------------------------------------- sweeping */

/* A partition of others, of which rows are left here: they go, and until they have,
 * this node neither leads nor answers. */
START_TEST(what_others_own_goes)
{
	struct node *n = node_new();
	const struct dyn_id a = node_id('a');
	const unsigned char list[4] = { 3, 0, 0, 0 };
	struct buf *mine = n->name, *o = object_of("b1 | b1=x");
	struct dyn_row row = { DYN_SPACE_DATA, { NULL, 0 }, buf_slice(o) };
	struct rows *rows;

	store(n, "a2");
	for (unsigned i = 0; row.id.len == 0; i++) {
		char key[16];

		snprintf(key, sizeof(key), "j%u", i);
		n->name = key_name(key);
		if (table_rank(n->v->current, name_partition(buf_slice(n->name), PARTITIONS), &a) == 3)
			row.id = buf_slice(n->name);
		else
			buf_unref(n->name);
	}
	ck_assert_int_eq(n->e->apply(n->e->self, &row, 1, DYN_DURABLE_DISK), 0);
	see_view(n, view_fenced(n->v, true));
	fenced(n);
	ck_assert_uint_eq(n->count, 1);
	rows = n->asked[0].rows;
	ck_assert_int_eq(rows->of, ROWS_LEFT);
	ck_assert_uint_eq(rows->partition, name_partition(row.id, PARTITIONS));
	pass(n, 1);
	ck_assert_uint_eq(n->count, 1);
	ck_assert_int_eq(ask(n, 'b', n->v, COLLECT_LOOK, slice(list, 4)), 0);
	ck_assert_int_eq(n->reply_rc, DYN_EBUSY);
	if (_i == 0) { /* once more if it failed */
		stored(n, ROWS_LEFT, DYN_EIO);
		pass(n, COLLECT_REST);
		ck_assert_uint_eq(n->count, 1);
	}
	row.value = slice(NULL, 0);
	ck_assert_int_eq(n->e->apply(n->e->self, &row, 1, DYN_DURABLE_DISK), 0);
	stored(n, ROWS_LEFT, 0);
	pass(n, NS_PER_MS); /* it is paid for */
	ck_assert_int_eq(ask(n, 'b', n->v, COLLECT_LOOK, slice(list, 4)), 0);
	ck_assert_int_eq(n->reply_rc, 0);
	begin(n);
	ck_assert_uint_eq(n->asked[0].step, COLLECT_LOOK);
	buf_unref(n->name);
	n->name = mine;
	buf_unref(o);
	node_free(n);
}
END_TEST

/* Until a worker goes by the settled table, and what it took before is committed, it may
 * still leave something here. */
START_TEST(all_workers_are_waited_for)
{
	struct node *n = node_new();
	const unsigned char list[4] = { 3, 0, 0, 0 };

	n->slow = true;
	see_view(n, view_fenced(n->v, true));
	fenced(n);
	ck_assert_uint_eq(n->count, WORKERS);
	for (unsigned i = 0; i < WORKERS; i++)
		ck_assert_uint_eq(n->asked[i].rows->partition, i);
	stored(n, ROWS_SETTLED, 0);
	/* One that is not so far, or is not heard of: all again. */
	if (_i == 0)
		stored(n, ROWS_SETTLED, DYN_EBUSY);
	pass(n, _i == 0 ? COLLECT_REST : COLLECT_PATIENCE);
	for (unsigned late = _i == 0 ? 1 : 2; late > 0; late--)
		stored(n, ROWS_SETTLED, 0);
	for (unsigned i = 0; i < WORKERS; i++) {
		ck_assert_int_eq(ask(n, 'b', n->v, COLLECT_LOOK, slice(list, 4)), 0);
		ck_assert_int_eq(n->reply_rc, DYN_EBUSY);
		stored(n, ROWS_SETTLED, 0);
	}
	ck_assert_int_eq(ask(n, 'b', n->v, COLLECT_LOOK, slice(list, 4)), 0);
	ck_assert_int_eq(n->reply_rc, 0);
	ck_assert_uint_eq(n->count, 0);
	node_free(n);
}
END_TEST

/* ------------------------------------------------------------------- clearing */

START_TEST(all_rows_are_cleared)
{
	struct node *n = node_new();
	const struct dyn_id owner = node_id('b');
	unsigned char id[HINT_ID_MAX];
	struct place at = place_of_hint(&owner, buf_slice(n->name), id);
	struct buf *o = object_of("a1 | a1=x");
	struct dyn_row row = { DYN_SPACE_HINT, at.id, buf_slice(o) };

	store(n, "a1 | a1=x");
	ck_assert_int_eq(n->e->apply(n->e->self, &row, 1, DYN_DURABLE_DISK), 0);
	collect_clear(n->c, n->m, &n->out);
	effects(n);
	ck_assert_uint_eq(n->count, 1);
	/* What fails is tried again. */
	stored(n, ROWS_CLEAR, DYN_EIO);
	ck_assert_uint_eq(n->count, 0);
	pass(n, COLLECT_REST);
	ck_assert_uint_eq(n->asked[0].rows->bytes->data[0], DYN_SPACE_DATA);
	stored(n, ROWS_CLEAR, 0);
	pass(n, 0);
	ck_assert_uint_eq(n->cleared, 0);
	ck_assert_uint_eq(n->asked[0].rows->bytes->data[0], DYN_SPACE_HINT);
	stored(n, ROWS_CLEAR, 0);
	pass(n, 0);
	ck_assert_uint_eq(n->cleared, 1);
	ck_assert_uint_eq(n->count, 0);
	buf_unref(o);
	node_free(n);
}
END_TEST

static Suite *
suite(void)
{
	Suite *s = suite_create("forgetting");
	TCase *c = test_case(s, "rounds", a_round);

	tcase_add_loop_test(c, somebody_keeps_a_hint, 0, 2);
	tcase_add_test(c, this_node_keeps_a_hint);
	tcase_add_loop_test(c, a_member_is_not_there, 0, 6);
	tcase_add_test(c, a_large_row);
	tcase_add_test(c, others_get_time_to_use_a_fence);
	tcase_add_loop_test(c, a_member_is_not_so_far, 0, 8);
	tcase_add_loop_test(c, an_owner_does_not_agree, 0, 3);
	tcase_add_test(c, a_row_that_changed_is_left_out);
	tcase_add_test(c, expiry_is_waited_for);
	tcase_add_test(c, another_table_comes);
	tcase_add_test(c, the_fence_does_not_come);
	tcase_add_test(c, drops_that_fail);
	c = test_case(s, "asked", looking_is_answered_behind_the_fence);
	tcase_add_test(c, dropping_is_for_the_first_owner_under_a_fence);
	tcase_add_loop_test(c, rows_from_before_the_fence, 0, 2);
	c = test_case(s, "clearing", all_rows_are_cleared);
	tcase_add_loop_test(c, what_others_own_goes, 0, 2);
	tcase_add_loop_test(c, all_workers_are_waited_for, 0, 2);
	return s;
}

TEST_MAIN(suite)
