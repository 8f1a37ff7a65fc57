/*
 * Hinted handoff (core/hint.c).
 *
 * Goal: what is kept for an owner gets to it, or to who owns the partition now;
 * it goes only when it is on disk there and still what was sent; limits hand it
 * to the other owners first.
 * Method: the machine of node d of four (n = 3) over an engine filled by hand;
 * its effects are looked at one by one.
 */
#include "test/core_script.h"

#include "core/arrive.h"
#include "core/hint.h"
#include "host/engine.h"
#include "test/unit/notation.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>

struct world {
	struct fake *fake;
	struct hint *h;
	struct arrivals arrivals;
	struct view *view;
	struct outbox out;
	struct moment m;
	struct hint_options o;
};

static void
begin(struct world *w)
{
	memset(w, 0, sizeof(*w));
	w->fake = fake_new();
	w->view = view_ring(4, 3, 16);
	w->m = (struct moment){ NS_PER_S, 1000000 };
	w->o = (struct hint_options){ node_id('d'), &w->fake->engine, 1 << 20, 60000, 16 };
	outbox_init(&w->out);
	arrive_init(&w->arrivals, &w->o.self);
	arrive_view(&w->arrivals, w->view);
}

static void
start(struct world *w)
{
	ck_assert_int_eq(hint_new(&w->h, &w->o, w->m), 0);
	hint_view(w->h, w->view, w->m);
}

static void
end(struct world *w)
{
	for (size_t i = 0; i < w->out.count; i++)
		if (w->out.list[i].kind == FX_ROWS)
			rows_free(w->out.list[i].what);
	outbox_fini(&w->out);
	hint_free(w->h);
	arrive_fini(&w->arrivals);
	view_unref(w->view);
	fake_free(w->fake);
}

/* The next effect of a kind, taken out; those before it are dropped. */
static struct effect
next(struct world *w, enum effect_kind kind)
{
	for (size_t i = 0; i < w->out.count; i++) {
		struct effect e = w->out.list[i];

		memmove(w->out.list + i, w->out.list + i + 1,
		    (--w->out.count - i) * sizeof(e));
		if (e.kind == kind)
			return e;
		effect_drop(&e);
		i--;
	}
	ck_abort_msg("no effect %d", kind);
	abort();
}

static size_t
effects(const struct world *w, enum effect_kind kind)
{
	size_t count = 0;

	for (size_t i = 0; i < w->out.count; i++)
		count += w->out.list[i].kind == kind;
	return count;
}

static struct place
place(const struct world *w, char owner, const char *key, unsigned char space[HINT_ID_MAX])
{
	struct buf *name = key_name(key);
	struct dyn_id id = node_id(owner);
	struct place at = place_of_hint(&id, buf_slice(name), space);

	(void)w;
	buf_unref(name);
	return at;
}

/* A row in the engine; told to the machine, if it runs. */
static void
keep(struct world *w, char owner, const char *key, const char *object)
{
	unsigned char space[HINT_ID_MAX];
	struct place at = place(w, owner, key, space);
	struct dyn_slice before = fake_find_in(w->fake, at.space, at.id);
	struct dyn_row row = { at.space, at.id,
		object != NULL ? script_object(object) : slice(NULL, 0) };
	struct change c = { .name = buf_copy(at.id.data, at.id.len), .space = at.space,
		.bytes_before = (uint32_t)before.len, .bytes_after = (uint32_t)row.value.len };
	struct changes all = { .list = &c, .count = 1 };

	MUST(w->fake->engine.apply(w->fake, &row, 1, DYN_DURABLE_DISK) == 0);
	if (before.len == 0)
		c.room = hint_room();
	if (w->h != NULL)
		hint_changed(w->h, &all, w->m, &w->out);
	buf_unref(c.name);
	mem_free(c.room);
}

static void
pass(struct world *w, uint64_t ms)
{
	w->m.now += ms * NS_PER_MS;
	w->m.wall_ms += ms;
	if (hint_wake(w->h) <= w->m.now)
		hint_tick(w->h, w->m, &w->out);
}

/* What is sent next: to whom, how many rows; returns the request's number. */
static uint64_t
sent(struct world *w, char to)
{
	struct effect e = next(w, FX_SEND);
	struct frame f;

	MUST(frame_decode(&f, buf_slice(e.frame)) == 0);
	ck_assert_int_eq(f.kind, MSG_HINT);
	ck_assert_int_eq(node_letter(&e.to), to);
	buf_unref(e.frame);
	return f.request;
}

static int
frame_from(struct world *w, char from, uint64_t request, enum msg_kind kind, const union msg *m)
{
	struct frame head = view_head(w->view, request), f;
	struct dyn_id id = node_id(from);
	struct buf *frame;
	union msg back;
	int rc = 0;

	MUST(msg_encode(&frame, &head, kind, m) == 0);
	MUST(frame_decode(&f, buf_slice(frame)) == 0);
	MUST(msg_decode(f.kind, f.body, &back) == 0);
	if (kind == MSG_HINT || kind == MSG_REPAIR)
		rc = arrive_frame(&w->arrivals, 7, &f, &back, &w->out);
	else
		hint_frame(w->h, &id, &f, &back, w->m, &w->out);
	buf_unref(frame);
	return rc;
}

static void
ack(struct world *w, char from, uint64_t request, int code)
{
	union msg m = { .hint_ack = { .rc = (uint32_t)code } };

	ck_assert_int_eq(frame_from(w, from, request, MSG_HINT_ACK, &m), 0);
}

/* The same to each of these, in whatever order. */
static uint64_t
sent_to_all(struct world *w, const char *letters)
{
	uint64_t number = 0;
	char got[8] = "";

	for (size_t i = 0; i < strlen(letters); i++) {
		struct effect e = next(w, FX_SEND);
		struct frame f;

		MUST(frame_decode(&f, buf_slice(e.frame)) == 0);
		ck_assert_int_eq(f.kind, MSG_HINT);
		number = f.request;
		got[i] = node_letter(&e.to);
		buf_unref(e.frame);
	}
	for (size_t i = 0; i < strlen(letters); i++)
		ck_assert_ptr_nonnull(strchr(got, letters[i]));
	ck_assert_uint_eq(effects(w, FX_SEND), 0);
	return number;
}

/* The worker drops what it was told to, or fails. */
static void
dropped(struct world *w, int rc)
{
	struct effect e = next(w, FX_ROWS);
	struct rows *rows = e.what;
	struct rd r = rd_from(buf_slice(rows->bytes));

	ck_assert_int_eq(rows->of, ROWS_DROP);
	while (rc == 0 && rd_left(&r) > 0) {
		struct dyn_slice id = rd_slice(&r, HINT_ID_MAX), name;
		struct digest sent_digest, is;
		struct dyn_slice row = fake_find_in(w->fake, DYN_SPACE_HINT, id);
		struct dyn_id owner;

		rd_copy(&r, sent_digest.b, sizeof(sent_digest.b));
		row_digest(id, row, &is);
		if (digest_compare(&is, &sent_digest) != 0)
			continue;
		MUST(hint_split(id, &owner, &name));
		keep(w, node_letter(&owner),
		    (const char *)memcpy((char[64]){ 0 }, (const char *)name.data + 18, name.len - 18),
		    NULL);
	}
	hint_stored(w->h, rows, rc, w->m, &w->out);
}

static struct hint_figures
figures(const struct world *w)
{
	struct hint_figures f;

	hint_figures(w->h, &f);
	return f;
}

START_TEST(delivered_and_then_forgotten)
{
	struct world w;
	const char *key;
	uint64_t number;

	begin(&w);
	key = view_key(w.view, "abc");
	start(&w);
	ck_assert_uint_eq(hint_wake(w.h), TIME_NEVER);
	keep(&w, 'c', key, "a1 | a1=x");
	ck_assert_uint_eq(figures(&w).hints, 1);
	ck_assert_uint_eq(figures(&w).since_ms, w.m.wall_ms);
	pass(&w, 0);
	number = sent(&w, 'c');
	ck_assert_uint_eq(effects(&w, FX_ROWS), 0);
	/* Of another, or late, or again: nothing. */
	ack(&w, 'b', number + 1, 0);
	ck_assert_uint_eq(effects(&w, FX_ROWS), 0);
	ack(&w, 'c', number, 0);
	ack(&w, 'c', number, 0);
	ck_assert_uint_eq(effects(&w, FX_ROWS), 1);
	dropped(&w, 0);
	ck_assert_uint_eq(figures(&w).hints, 0);
	ck_assert_uint_eq(figures(&w).bytes, 0);
	ck_assert_uint_eq(figures(&w).since_ms, 0);
	ck_assert_uint_eq(figures(&w).delivered, 1);
	pass(&w, 0);
	ck_assert_uint_eq(effects(&w, FX_SEND), 0);
	end(&w);
}
END_TEST

START_TEST(an_acknowledgement_of_another_node_is_none)
{
	struct world w;
	uint64_t number;

	begin(&w);
	start(&w);
	keep(&w, 'c', view_key(w.view, "abc"), "a1 | a1=x");
	pass(&w, 0);
	number = sent(&w, 'c');
	ack(&w, 'b', number, 0);
	ck_assert_uint_eq(effects(&w, FX_ROWS), 0);
	ck_assert_uint_eq(figures(&w).hints, 1);
	end(&w);
}
END_TEST

START_TEST(an_owner_that_is_not_there_is_tried_again)
{
	static const int refusals[] = { DYN_EIO, DYN_EBUSY, DYN_EMOVED };
	struct dyn_id c = node_id('c');
	uint64_t number;
	struct world w;

	begin(&w);
	start(&w);
	keep(&w, 'c', view_key(w.view, "abc"), "a1 | a1=x");
	pass(&w, 0);
	number = sent(&w, 'c');
	hint_lost(w.h, &c, w.m, &w.out);
	pass(&w, HINT_RETRY / NS_PER_MS - 1);
	ck_assert_uint_eq(effects(&w, FX_SEND), 0);
	pass(&w, 1);
	ck_assert_uint_ne(sent(&w, 'c'), number);
	/* The answer to the first is too late: it says nothing of now. */
	ack(&w, 'c', number, 0);
	ck_assert_uint_eq(effects(&w, FX_ROWS), 0);
	/* No answer at all. */
	pass(&w, HINT_PATIENCE / NS_PER_MS);
	pass(&w, HINT_RETRY / NS_PER_MS);
	number = sent(&w, 'c');
	for (size_t i = 0; i < ARRAY_LEN(refusals); i++) {
		ack(&w, 'c', number, refusals[i]);
		ck_assert_uint_eq(effects(&w, FX_ROWS), 0);
		pass(&w, HINT_RETRY / NS_PER_MS);
		number = sent(&w, 'c');
	}
	ck_assert_uint_eq(figures(&w).hints, 1);
	/* Stored there, but the drop fails: it stays, and goes again. */
	ack(&w, 'c', number, 0);
	dropped(&w, DYN_EIO);
	ck_assert_uint_eq(figures(&w).hints, 1);
	pass(&w, HINT_RETRY / NS_PER_MS);
	(void)sent(&w, 'c');
	end(&w);
}
END_TEST

START_TEST(found_again_after_a_restart_and_asked_for)
{
	union msg ask = { .hints = { 0 } };
	struct dyn_id c = node_id('c');
	struct world w;

	begin(&w);
	keep(&w, 'c', view_key(w.view, "abc"), "a1 | a1=x");
	keep(&w, 'a', view_key(w.view, "abc"), "b1 | b1=x");
	start(&w);
	ck_assert_uint_eq(figures(&w).hints, 2);
	pass(&w, 0);
	hint_lost(w.h, &c, w.m, &w.out);
	ck_assert_uint_eq(effects(&w, FX_SEND), 2);
	while (effects(&w, FX_SEND) > 0)
		effect_drop(&(struct effect[]){ next(&w, FX_SEND) }[0]);
	/* It is back, and does not wait for the next try. */
	ck_assert_int_eq(frame_from(&w, 'c', 0, MSG_HINTS, &ask), 0);
	pass(&w, 0);
	(void)sent(&w, 'c');
	end(&w);
}
END_TEST

START_TEST(what_came_in_between_goes_with_the_next)
{
	const char *key;
	uint64_t number;
	struct world w;

	begin(&w);
	key = view_key(w.view, "abc");
	start(&w);
	keep(&w, 'c', key, "a1 | a1=x");
	pass(&w, 0);
	number = sent(&w, 'c');
	keep(&w, 'c', key, "a2 | a2=y");
	ack(&w, 'c', number, 0);
	dropped(&w, 0);
	ck_assert_uint_eq(figures(&w).hints, 1);
	pass(&w, 0);
	pass(&w, HINT_RETRY / NS_PER_MS);
	number = sent(&w, 'c');
	ack(&w, 'c', number, 0);
	dropped(&w, 0);
	ck_assert_uint_eq(figures(&w).hints, 0);
	end(&w);
}
END_TEST

START_TEST(a_forgotten_owner_leaves_it_to_the_present_ones)
{
	const char *key;
	uint64_t number;
	struct world w;

	begin(&w);
	start(&w);
	key = view_key(w.view, "abc");
	keep(&w, 'z', key, "a1 | a1=x");
	pass(&w, 0);
	number = sent_to_all(&w, "abc");
	ack(&w, 'a', number, 0);
	ack(&w, 'b', number, 0);
	ack(&w, 'b', number, 0);
	ck_assert_uint_eq(effects(&w, FX_ROWS), 0); /* not before all have it */
	ack(&w, 'c', number, 0);
	dropped(&w, 0);
	ck_assert_uint_eq(figures(&w).hints, 0);
	ck_assert_uint_eq(figures(&w).dirty, 0);
	end(&w);
}
END_TEST

START_TEST(an_owner_itself_takes_it_in)
{
	struct effect e;
	struct rows *rows;
	const char *key;
	uint64_t number;
	struct world w;

	begin(&w);
	start(&w);
	key = view_key(w.view, "abd"); /* this node owns it now */
	keep(&w, 'z', key, "a1 | a1=x");
	pass(&w, 0);
	e = next(&w, FX_ROWS);
	rows = e.what;
	ck_assert_int_eq(rows->of, ROWS_HINT);
	number = rows->number;
	ack(&w, 'a', number, 0);
	ack(&w, 'b', number, 0);
	ck_assert_uint_eq(effects(&w, FX_ROWS), 0);
	hint_stored(w.h, rows, 0, w.m, &w.out);
	dropped(&w, 0);
	ck_assert_uint_eq(figures(&w).hints, 0);
	end(&w);
}
END_TEST

START_TEST(too_old_or_too_many_go_to_the_others_and_leave_a_mark)
{
	struct effect e;
	struct dyn_row row;
	uint64_t number;
	struct world w;

	begin(&w);
	if (_i == 1)
		w.o.bytes_max = 8;
	start(&w);
	keep(&w, 'c', view_key(w.view, "abc"), "a1 | a1=x");
	ck_assert_uint_eq(effects(&w, FX_HINTS_FULL), _i == 1);
	if (_i == 0)
		pass(&w, 60001);
	pass(&w, 0);
	number = sent_to_all(&w, "ab");
	ack(&w, 'a', number, 0);
	ck_assert_uint_eq(effects(&w, FX_ROWS), 0);
	ack(&w, 'b', number, 0);
	dropped(&w, 0);
	ck_assert_uint_eq(figures(&w).hints, 0);
	ck_assert_uint_eq(figures(&w).dirty, 1);
	/* The mark is there after a restart. */
	e = next(&w, FX_META);
	row = (struct dyn_row){ DYN_SPACE_META, dyn_str(e.address), buf_slice(e.frame) };
	MUST(w.fake->engine.apply(w.fake, &row, 1, DYN_DURABLE_DISK) == 0);
	buf_unref(e.frame);
	hint_free(w.h);
	start(&w);
	ck_assert_uint_eq(figures(&w).dirty, 1);
	end(&w);
}
END_TEST

/* With N = 2 the other owner would be the only one to have it. */
START_TEST(never_to_one_other_alone)
{
	struct world w;

	begin(&w);
	view_unref(w.view);
	w.view = view_ring(4, 2, 16);
	start(&w);
	keep(&w, 'b', view_key(w.view, "ab"), "a1 | a1=x");
	pass(&w, 60001);
	pass(&w, 0);
	ack(&w, 'b', sent_to_all(&w, "b"), 0);
	dropped(&w, 0);
	ck_assert_uint_eq(figures(&w).dirty, 0);
	end(&w);
}
END_TEST

START_TEST(taken_in_and_answered_when_durable)
{
	const char *key, *other;
	struct buf *name, *bytes;
	struct effect e;
	struct frame f;
	union msg m;
	struct wr wr;
	struct world w;

	begin(&w);
	start(&w);
	key = view_key(w.view, "abd");
	name = key_name(key);
	wr_init(&wr, 64);
	wr_slice(&wr, buf_slice(name));
	wr_slice(&wr, script_object("a1 | a1=x"));
	MUST(wr_finish(&wr, &bytes) == 0);
	m.hint = (struct msg_hint){ name_partition(buf_slice(name), 16), buf_slice(bytes) };
	ck_assert_int_eq(frame_from(&w, 'a', 9, MSG_HINT, &m), 0);
	ck_assert_uint_eq(effects(&w, FX_REPLY), 0);
	e = next(&w, FX_ROWS);
	arrive_stored(&w.arrivals, e.what, _i == 0 ? 0 : DYN_EFULL, &w.out);
	e = next(&w, FX_REPLY);
	ck_assert_uint_eq(e.conn, 7);
	MUST(frame_decode(&f, buf_slice(e.frame)) == 0);
	MUST(msg_decode(f.kind, f.body, &m) == 0);
	ck_assert_uint_eq(f.request, 9);
	ck_assert_int_eq(msg_rc(m.hint_ack.rc), _i == 0 ? 0 : DYN_EFULL);
	buf_unref(e.frame);
	/* Not of the partition it says: broken. */
	m.hint = (struct msg_hint){ (name_partition(buf_slice(name), 16) + 1) % 16,
		buf_slice(bytes) };
	ck_assert_int_eq(frame_from(&w, 'a', 9, MSG_HINT, &m), DYN_EPROTO);
	m.hint = (struct msg_hint){ 16, buf_slice(bytes) };
	ck_assert_int_eq(frame_from(&w, 'a', 9, MSG_HINT, &m), DYN_EPROTO);
	buf_unref(bytes);
	buf_unref(name);
	/* Not this node's: refused. */
	other = view_key(w.view, "abc");
	name = key_name(other);
	m.hint = (struct msg_hint){ name_partition(buf_slice(name), 16), slice(NULL, 0) };
	ck_assert_int_eq(frame_from(&w, 'a', 10, MSG_HINT, &m), 0);
	e = next(&w, FX_REPLY);
	MUST(frame_decode(&f, buf_slice(e.frame)) == 0);
	MUST(msg_decode(f.kind, f.body, &m) == 0);
	ck_assert_int_eq(msg_rc(m.hint_ack.rc), DYN_EMOVED);
	buf_unref(e.frame);
	buf_unref(name);
	end(&w);
}
END_TEST

/* Who sent it knows nothing of the table that is being followed to: its owners may have
 * pulled the row already, without what the hint says.  A repair's sender has it too. */
START_TEST(a_hint_by_an_older_table)
{
	bool hint = _i == 0;
	struct view *later;
	struct buf *name, *bytes;
	struct effect e;
	struct frame f;
	union msg m;
	struct wr wr;
	struct world w;

	begin(&w);
	name = key_name(view_key(w.view, "abd"));
	later = view_joins(view_ref(w.view), 'e');
	ck_assert_int_eq(view_phase(later), VIEW_MOVING);
	arrive_view(&w.arrivals, later);
	wr_init(&wr, 64);
	wr_slice(&wr, buf_slice(name));
	wr_slice(&wr, script_object("a1 | a1=x"));
	MUST(wr_finish(&wr, &bytes) == 0);
	if (hint)
		m.hint = (struct msg_hint){ name_partition(buf_slice(name), 16),
			buf_slice(bytes) };
	else
		m.repair = (struct msg_repair){ name_partition(buf_slice(name), 16),
			buf_slice(bytes) };
	ck_assert_int_eq(frame_from(&w, 'a', 9, hint ? MSG_HINT : MSG_REPAIR, &m), 0);
	ck_assert_uint_eq(effects(&w, FX_ROWS), !hint);
	if (hint) {
		e = next(&w, FX_REPLY);
		MUST(frame_decode(&f, buf_slice(e.frame)) == 0);
		MUST(msg_decode(f.kind, f.body, &m) == 0);
		ck_assert_int_eq(msg_rc(m.hint_ack.rc), DYN_EMOVED);
		buf_unref(e.frame);
	}
	buf_unref(bytes);
	buf_unref(name);
	view_unref(later);
	end(&w);
}
END_TEST

START_TEST(the_ledger_tells_and_is_heard)
{
	struct dyn_id a = node_id('a'), d = node_id('d'), z = node_id('z');
	struct effect e;
	struct frame f;
	struct buf *bytes;
	struct world w;
	struct wr wr;

	begin(&w);
	start(&w);
	keep(&w, 'c', view_key(w.view, "abc"), "a1 | a1=x");
	e = next(&w, FX_LEDGER);
	hint_ledger(w.h, &a, buf_slice(e.frame), w.m, &w.out);
	ck_assert_uint_eq(figures(&w).waiting, 0); /* not for this node */
	buf_unref(e.frame);
	wr_init(&wr, 64);
	wr_bytes(&wr, d.bytes, sizeof(d.bytes));
	wr_var(&wr, 5);
	wr_var(&wr, 500);
	MUST(wr_finish(&wr, &bytes) == 0);
	hint_ledger(w.h, &z, buf_slice(bytes), w.m, &w.out); /* a stranger */
	ck_assert_uint_eq(figures(&w).waiting, 0);
	hint_ledger(w.h, &a, buf_slice(bytes), w.m, &w.out);
	hint_ledger(w.h, &a, buf_slice(bytes), w.m, &w.out);
	ck_assert_uint_eq(figures(&w).waiting, 5);
	e = next(&w, FX_SEND);
	MUST(frame_decode(&f, buf_slice(e.frame)) == 0);
	ck_assert_int_eq(f.kind, MSG_HINTS);
	buf_unref(e.frame);
	ck_assert_uint_eq(effects(&w, FX_SEND), 0); /* asked once */
	hint_ledger(w.h, &a, slice(bytes->data, 7), w.m, &w.out); /* broken: nothing */
	ck_assert_uint_eq(figures(&w).waiting, 0);
	buf_unref(bytes);
	end(&w);
}
END_TEST

/* A hint by way of a worker's store, each of its allocations failing in turn; when it is
 * committed, there is no memory at all. */
START_TEST(there_is_no_hint_or_it_is_counted)
{
	struct actor a = { 1, 1 }, b = { 1, 2 };
	unsigned char space[HINT_ID_MAX];
	int failed = 0, rc = DYN_ENOMEM;
	struct dyn_slice object;
	struct changes *changes;
	struct batch *batch;
	struct store store;
	struct stored s;
	struct place at;
	struct world w;

	begin(&w);
	start(&w);
	at = place(&w, 'c', "k", space);
	object = script_object("a1 | a1=x");
	MUST(store_init(&store, w.o.engine, a, false, b, 60000) == 0);
	for (long n = 1; rc != 0; n++) {
		mem_fail_at(n);
		rc = store_merge(&store, at, object, DYN_DURABLE_DISK, w.m.wall_ms, &s);
		mem_fail_at(0);
		failed += rc == DYN_ENOMEM;
		ck_assert(rc == 0 || rc == DYN_ENOMEM);
		ck_assert(rc == 0 || store.open == NULL);
	}
	ck_assert_int_gt(failed, 5);
	buf_unref(s.object);
	batch = store_take(&store);
	changes = batch_changes(batch);
	ck_assert_uint_eq(changes->count, 1);
	mem_fail_at(-1);
	hint_changed(w.h, changes, w.m, &w.out);
	mem_fail_at(0);
	store_committed(&store, batch, 0);
	changes_free(changes);
	ck_assert_uint_eq(figures(&w).hints, 1);
	store_fini(&store);
	end(&w);
}
END_TEST

/* Nor does a hint go if its owner cannot be marked. */
START_TEST(without_memory_for_the_mark_it_stays)
{
	uint64_t number;
	struct world w;

	begin(&w);
	start(&w);
	keep(&w, 'c', view_key(w.view, "abc"), "a1 | a1=x");
	pass(&w, 60001);
	pass(&w, 0);
	number = sent_to_all(&w, "ab");
	ack(&w, 'a', number, 0);
	mem_fail_at(_i == 0 ? 4 : 0); /* the frame, two for the rows, the mark */
	ack(&w, 'b', number, 0);
	mem_fail_at(0);
	ck_assert_uint_eq(effects(&w, FX_ROWS), _i == 1);
	ck_assert_uint_eq(figures(&w).dirty, _i == 1);
	ck_assert_uint_eq(figures(&w).hints, 1);
	if (_i == 0) {
		pass(&w, 2000);
		pass(&w, 0);
		number = sent_to_all(&w, "ab");
		ack(&w, 'a', number, 0);
		ack(&w, 'b', number, 0);
	}
	dropped(&w, 0);
	ck_assert_uint_eq(figures(&w).dirty, 1);
	end(&w);
}
END_TEST

/* ----------------------------------------------------------------- damage */

/* An engine that cannot read rows of this value. */
struct damage {
	dyn_engine_row *visit;
	void *arg;
};

static int
unless_damaged(void *arg, struct dyn_slice id, struct dyn_slice value)
{
	const struct damage *d = arg;
	bool damaged = slice_equal(value, dyn_str("damaged"));

	return d->visit(d->arg, id, damaged ? slice(NULL, 0) : value);
}

static int (*fake_scan)(void *, enum dyn_space, struct dyn_slice, struct dyn_slice,
    dyn_engine_row *, void *);

static int
damaged_scan(void *self, enum dyn_space space, struct dyn_slice after, struct dyn_slice last,
    dyn_engine_row *visit, void *arg)
{
	struct damage d = { visit, arg };

	return fake_scan(self, space, after, last, unless_damaged, &d);
}

static void
row(struct world *w, struct dyn_slice id, struct dyn_slice value)
{
	struct dyn_row row = { DYN_SPACE_HINT, id, value };

	MUST(w->fake->engine.apply(w->fake, &row, 1, DYN_DURABLE_DISK) == 0);
}

static unsigned
rows(const struct world *w, enum dyn_space space)
{
	unsigned count = 0;

	for (size_t i = 0; i < w->fake->count; i++)
		count += w->fake->rows[i].space == space && w->fake->rows[i].len > 0;
	return count;
}

/* Who is told of how many partitions: "a1 c16". */
static const char *
told(struct world *w)
{
	static char text[64];
	struct effect e;
	int at = 0;

	text[0] = '\0';
	while (outbox_next(&w->out, &e)) {
		struct frame f;
		union msg m;

		if (e.kind == FX_SEND) {
			MUST(frame_decode(&f, buf_slice(e.frame)) == 0);
			MUST(msg_decode(f.kind, f.body, &m) == 0);
			if (f.kind == MSG_BEHIND)
				at += sprintf(text + at, "%s%c%zu", at > 0 ? " " : "",
				    node_letter(&e.to), m.behind.partitions.len / 4);
		}
		effect_drop(&e);
	}
	return text;
}

/* Values that do not decode. */
START_TEST(a_damaged_hint_is_given_up)
{
	/* What its id still tells: all; all, but not how many partitions there are; the
	 * owner; nothing. */
	static const char *const expected[] = { "c1", "c16", "c16", "b16 a16 c16" };
	struct dyn_id c = node_id('c');
	unsigned char space[HINT_ID_MAX];
	struct dyn_slice cut;
	struct place at;
	struct world w;

	begin(&w);
	w.o.partitions = _i == 1 ? 0 : 16;
	at = place(&w, 'c', view_key(w.view, "abc"), space);
	if (_i == 2)
		at.id = slice(c.bytes, sizeof(c.bytes));
	else if (_i == 3)
		at.id = dyn_str("?");
	cut = script_object("a1 | a1=x");
	row(&w, at.id, slice(cut.data, cut.len - 1));
	keep(&w, 'b', view_key(w.view, "bcd"), "a1 | a1=x");
	ck_assert_int_eq(hint_new(&w.h, &w.o, w.m), 0);
	ck_assert_uint_eq(figures(&w).hints, 1);
	ck_assert_uint_eq(rows(&w, DYN_SPACE_HINT), 1);
	ck_assert_uint_eq(rows(&w, DYN_SPACE_META), 1);
	/* The mark lives on its own. */
	hint_free(w.h);
	start(&w);
	ck_assert_uint_eq(figures(&w).dirty, _i == 0 ? 1 : _i < 3 ? 16 : 48);
	pass(&w, 0);
	ck_assert_str_eq(told(&w), expected[_i]);
	end(&w);
}
END_TEST

/* Rows that the engine cannot give: none, some, all of them, side by side. */
START_TEST(hints_that_cannot_be_read_are_given_up)
{
	static const char owners[] = "abbcc";
	static const char *const keys[] = { "k1", "k2", "k3", "k4", "k5" };
	struct world w;
	unsigned good = 0, logs;

	begin(&w);
	w.o.partitions = 16;
	fake_scan = w.fake->engine.scan;
	w.fake->engine.scan = damaged_scan;
	for (unsigned i = 0; i < 5; i++) {
		unsigned char space[HINT_ID_MAX];
		struct place at = place(&w, owners[i], keys[i], space);
		bool bad = (_i >> i & 1) != 0;

		good += !bad;
		row(&w, at.id, bad ? dyn_str("damaged") : script_object("a1 | a1=x"));
	}
	start(&w);
	ck_assert_uint_eq(figures(&w).hints, good);
	ck_assert_uint_eq(rows(&w, DYN_SPACE_HINT), good);
	ck_assert_uint_eq(figures(&w).dirty, 5 - good);
	pass(&w, 0);
	logs = (unsigned)effects(&w, FX_LOG);
	ck_assert_uint_eq(logs, good < 5);
	/* Delivery does not meet them any more. */
	ck_assert_uint_eq(effects(&w, FX_SEND) > 0, true);
	w.fake->engine.scan = fake_scan;
	end(&w);
}
END_TEST

/* The worker drops what it can, and tells of a row that it could not read. */
static void
dropped_unread(struct world *w, unsigned expected)
{
	struct effect e = next(w, FX_ROWS);
	struct rows *rows_of = e.what;
	struct rd r = rd_from(buf_slice(rows_of->bytes));
	unsigned count = 0;

	ck_assert_int_eq(rows_of->of, ROWS_DROP);
	for (; rd_left(&r) > 0; count++) {
		struct dyn_slice id = rd_slice(&r, HINT_ID_MAX);
		struct dyn_slice is = fake_find_in(w->fake, DYN_SPACE_HINT, id);
		struct change c = { .name = buf_copy(id.data, id.len), .space = DYN_SPACE_HINT };
		struct changes all = { .list = &c, .count = 1 };
		struct digest digest;

		rd_copy(&r, digest.b, sizeof(digest.b));
		c.lost = slice_equal(is, dyn_str("damaged"));
		c.bytes_before = c.lost ? 0 : (uint32_t)is.len;
		ck_assert_int_eq(digest_compare(&digest, &(struct digest){ { 0 } }) == 0, c.lost);
		row(w, id, slice(NULL, 0));
		hint_changed(w->h, &all, w->m, &w->out);
		buf_unref(c.name);
	}
	ck_assert_uint_eq(count, expected);
	hint_stored(w->h, rows_of, 0, w->m, &w->out);
}

/* Two keys of one partition of c, one of another. */
static void
three_keys(const struct world *w, char key[3][8])
{
	const struct dyn_id c = node_id('c');
	unsigned partition = 0, found = 0;

	key[2][0] = '\0';
	for (unsigned i = 0; found < 2 || key[2][0] == '\0'; i++) {
		char text[8];
		struct buf *name;
		unsigned p;

		snprintf(text, sizeof(text), "k%u", i % 1000);
		name = key_name(text);
		p = name_partition(buf_slice(name), 16);
		buf_unref(name);
		if (!view_owns(w->view, p, &c))
			continue;
		if (found == 0)
			partition = p;
		if (p != partition)
			memcpy(key[2], text, sizeof(text));
		else if (found < 2)
			memcpy(key[found++], text, sizeof(text));
	}
}

/* Found while running: what lies beside it gets to the owner, it goes with a mark. */
START_TEST(a_hint_that_turns_unreadable_is_given_up)
{
	unsigned char space[HINT_ID_MAX];
	uint64_t number = 0;
	struct frame f;
	struct world w;
	char key[3][8];

	begin(&w);
	fake_scan = w.fake->engine.scan;
	w.fake->engine.scan = damaged_scan;
	start(&w);
	three_keys(&w, key);
	for (unsigned i = 0; i < 3; i++)
		keep(&w, 'c', key[i], "a1 | a1=x");
	row(&w, place(&w, 'c', key[_i], space).id, dyn_str("damaged"));
	row(&w, place(&w, 'c', key[2], space).id, dyn_str("damaged"));
	pass(&w, 0);
	/* Alone there is nothing to wait for; the mark is told at once. */
	ck_assert_uint_eq(effects(&w, FX_SEND), 2);
	ck_assert_uint_eq(effects(&w, FX_ROWS), 1);
	ck_assert_uint_eq(figures(&w).dirty, 1);
	for (size_t i = 0; i < w.out.count; i++)
		if (w.out.list[i].kind == FX_SEND) {
			MUST(frame_decode(&f, buf_slice(w.out.list[i].frame)) == 0);
			number = f.kind == MSG_HINT ? f.request : number;
		}
	dropped_unread(&w, 1);
	ack(&w, 'c', number, 0);
	dropped_unread(&w, 2);
	ck_assert_uint_eq(figures(&w).hints, 0);
	ck_assert_uint_eq(figures(&w).bytes, 0);
	ck_assert_uint_eq(figures(&w).delivered, 1);
	ck_assert_uint_eq(figures(&w).dirty, 2);
	pass(&w, 0);
	ck_assert_uint_eq(effects(&w, FX_ROWS), 0);
	w.fake->engine.scan = fake_scan;
	end(&w);
}
END_TEST

/* In a file: the seal of a row is broken. */
START_TEST(a_broken_seal_is_given_up)
{
	static const struct engine_tuning tiny = { .fold_bytes = 100, .idle_bytes = 1,
		.checkpoint_pages = 1 };
	const char *path = test_path(test_dir(), "data.db");
	struct dyn_engine *e;
	struct dyn_error error;
	sqlite3 *db;
	struct world w;

	begin(&w);
	w.o.partitions = 16;
	ck_assert_int_eq(engine_sqlite_open(&e, path, &tiny, &error), 0);
	for (unsigned i = 0; i < 3; i++) {
		unsigned char space[HINT_ID_MAX];
		struct place at = place(&w, "abc"[i], "k", space);
		struct dyn_row r = { at.space, at.id, script_object("a1 | a1=x") };

		ck_assert_int_eq(e->apply(e->self, &r, 1, DYN_DURABLE_DISK), 0);
	}
	for (unsigned i = 0; i < 100; i++)
		(void)e->idle(e->self);
	ck_assert_int_eq(e->close(e->self), 0);
	ck_assert_int_eq(sqlite3_open(path, &db), SQLITE_OK);
	ck_assert_int_eq(sqlite3_exec(db,
	    "UPDATE rows_2 SET value = x'0102030405060708090a' WHERE id IN "
	    "(SELECT id FROM rows_2 ORDER BY id LIMIT 1 OFFSET 1)", NULL, NULL, NULL),
	    SQLITE_OK);
	ck_assert_int_eq(sqlite3_changes(db), 1);
	sqlite3_close(db);
	ck_assert_int_eq(engine_sqlite_open(&e, path, &tiny, &error), 0);
	w.o.engine = e;
	for (int i = 0; i < 2; i++) {
		start(&w);
		ck_assert_uint_eq(figures(&w).hints, 2);
		ck_assert_uint_eq(figures(&w).dirty, 1);
		hint_free(w.h);
	}
	w.h = NULL;
	ck_assert_int_eq(e->close(e->self), 0);
	end(&w);
}
END_TEST

static Suite *
suite(void)
{
	Suite *s = suite_create("hints");
	TCase *c = tcase_create("hints");

	suite_add_tcase(s, c);
	tcase_add_test(c, delivered_and_then_forgotten);
	tcase_add_test(c, an_acknowledgement_of_another_node_is_none);
	tcase_add_test(c, an_owner_that_is_not_there_is_tried_again);
	tcase_add_test(c, found_again_after_a_restart_and_asked_for);
	tcase_add_test(c, what_came_in_between_goes_with_the_next);
	tcase_add_test(c, a_forgotten_owner_leaves_it_to_the_present_ones);
	tcase_add_test(c, an_owner_itself_takes_it_in);
	tcase_add_loop_test(c, too_old_or_too_many_go_to_the_others_and_leave_a_mark, 0, 2);
	tcase_add_test(c, never_to_one_other_alone);
	tcase_add_loop_test(c, taken_in_and_answered_when_durable, 0, 2);
	tcase_add_loop_test(c, a_hint_by_an_older_table, 0, 2);
	tcase_add_test(c, the_ledger_tells_and_is_heard);
	tcase_add_loop_test(c, a_damaged_hint_is_given_up, 0, 4);
	tcase_add_loop_test(c, a_hint_that_turns_unreadable_is_given_up, 0, 2);
	tcase_add_loop_test(c, hints_that_cannot_be_read_are_given_up, 0, 32);
	tcase_add_test(c, a_broken_seal_is_given_up);
	tcase_add_test(c, there_is_no_hint_or_it_is_counted);
	tcase_add_loop_test(c, without_memory_for_the_mark_it_stays, 0, 2);
	return s;
}

TEST_MAIN(suite)
