/*
 * The virtual world of core_ring.h: events in order of time, nodes that crash,
 * connections that break, storage that takes its time or fails.
 */
#include "test/core_ring.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define MS NS_PER_MS
#define EVENTS_MAX 16384
#define STORM_END (250 * MS)
#define HEAL_LIMIT (60 * NS_PER_S)

enum event_kind {
	EV_FRAME,     /* data = frame */
	EV_GOSSIP,    /* a node tells another its view */
	EV_VIEW,      /* data = view: it arrives */
	EV_WORKER,    /* data = view: for the worker */
	EV_SYNC,      /* ... for the sync thread */
	EV_FENCE,     /* ... the order to fence */
	EV_TURN,      /* batch to storage */
	EV_APPLY,     /* storage applies the oldest batch */
	EV_COMMITTED, /* data = batch, rc: the worker hears of it */
	EV_OP,        /* the next call of the history */
	EV_BREAK,     /* a link breaks */
	EV_MEND,
	EV_CRASH,
	EV_START,
	EV_JOIN,
	EV_LEAVE,
	EV_STOP       /* who left stops */
};

struct event {
	uint64_t at, order;
	enum event_kind kind;
	unsigned node, from; /* indexes */
	uint64_t life, conn; /* conn: FRAME: 0 = a request on a link */
	uint64_t epoch;      /* FRAME: of the link it travels on */
	bool sync;           /* FRAME: for the sync thread */
	int rc;
	void *data;
};

/* A connection dialled by one node to another. */
struct link_state {
	bool up;
	uint64_t epoch; /* raised when it breaks */
	uint64_t last[2]; /* arrival of the last frame there and back */
	bool used;
};

struct queue {
	struct batch *list[256];
	unsigned count;
};

struct node {
	char letter;
	bool alive, client, member, left;
	uint64_t life, incarnation, failed_generation;
	struct work *work;
	struct sync *sync;
	struct fake *fake;
	struct view *view;   /* what its gossip knows */
	struct outbox out, sync_out;
	struct queue storage;
	uint64_t local_last, apply_last, told_last;
	bool turning;
};

struct ring {
	struct storm storm;
	struct rng rng;
	struct moment m;
	struct event *heap[EVENTS_MAX];
	unsigned events;
	uint64_t order;
	struct node nodes[RING_NODES];
	struct link_state links[RING_NODES][RING_NODES][2]; /* [2]: data, sync */
	struct history h;
	bool calm, loud;
	unsigned joined;
	int last_get[3][RING_KEYS]; /* by session */
};

static void carry_out(struct ring *, struct node *);

static uint64_t
below(struct ring *r, uint64_t n)
{
	return rng_below(&r->rng, n);
}

static bool
chance(struct ring *r, unsigned in_thousand)
{
	return !r->calm && below(r, 1000) < in_thousand;
}

static void __attribute__((format(printf, 2, 3)))
tell(struct ring *r, const char *fmt, ...)
{
	va_list args;

	if (!r->loud)
		return;
	fprintf(stderr, "%9.3f ", (double)r->m.now / 1e6);
	va_start(args, fmt);
	vfprintf(stderr, fmt, args);
	va_end(args);
	fputc('\n', stderr);
}

/* ----------------------------------------------------------------- events */

static bool
before(const struct event *a, const struct event *b)
{
	return a->at != b->at ? a->at < b->at : a->order < b->order;
}

static struct event *
add_event(struct ring *r, enum event_kind kind, unsigned node, uint64_t at)
{
	struct event *e = calloc(1, sizeof(*e));
	unsigned i;

	MUST(e != NULL);
	MUST(r->events + 1 < EVENTS_MAX);
	e->kind = kind;
	e->node = node;
	e->at = at;
	e->order = r->order++;
	e->life = r->nodes[node].life;
	for (i = ++r->events; i > 1 && before(e, r->heap[i / 2]); i /= 2)
		r->heap[i] = r->heap[i / 2];
	r->heap[i] = e;
	return e;
}

static struct event *
pop_event(struct ring *r)
{
	struct event *first = r->heap[1], *last = r->heap[r->events--];
	unsigned i = 1, child;

	for (; (child = 2 * i) <= r->events; i = child) {
		if (child < r->events && before(r->heap[child + 1], r->heap[child]))
			child++;
		if (!before(r->heap[child], last))
			break;
		r->heap[i] = r->heap[child];
	}
	r->heap[i] = last;
	return first;
}

static void
free_event(struct event *e)
{
	switch (e->kind) {
	case EV_FRAME:
		buf_unref(e->data);
		break;
	case EV_VIEW:
	case EV_WORKER:
	case EV_SYNC:
	case EV_FENCE:
		view_unref(e->data);
		break;
	case EV_COMMITTED:
		batch_free(e->data);
		break;
	default:
		break;
	}
	free(e);
}

static unsigned
index_of(const struct ring *r, const struct node *n)
{
	return (unsigned)(n - r->nodes);
}

/* Usually quick; now and then a data frame hangs. */
static uint64_t
delay(struct ring *r, bool data)
{
	uint64_t ns = (50 + below(r, 2000)) * NS_PER_US;

	if (data && chance(r, r->storm.slow_frame))
		ns += below(r, r->storm.hang_ms) * MS;
	return ns;
}

/* ---------------------------------------------------------------- network */

static struct link_state *
link_of(struct ring *r, unsigned from, unsigned to, bool sync)
{
	return &r->links[from][to][sync];
}

/* Put a frame on a link, there (back = 0) or back. */
static void
travel(struct ring *r, unsigned from, unsigned to, struct link_state *l, unsigned back,
    struct buf *frame, uint64_t conn, bool sync)
{
	uint8_t kind = frame->data[4];
	bool again = kind != MSG_ASK && kind != MSG_PUT && chance(r, r->storm.repeat_frame);

	if (chance(r, r->storm.lose_frame)) {
		tell(r, "lost on the way: %s %c to %c", msg_name(kind), r->nodes[from].letter,
		    r->nodes[to].letter);
		return;
	}
	for (unsigned i = 0; i <= again; i++) {
		uint64_t at = r->m.now + delay(r, !sync);
		struct event *e;

		if (!r->storm.reorder)
			at = MAX(at, l->last[back] + 1);
		l->last[back] = at;
		e = add_event(r, EV_FRAME, to, at);
		e->from = from;
		e->epoch = l->epoch;
		e->conn = conn;
		e->sync = sync;
		e->data = buf_ref(frame);
	}
}

static struct node *
node_of(struct ring *r, const struct dyn_id *id)
{
	return &r->nodes[node_letter(id) - 'a'];
}

static void
send_frame(struct ring *r, struct node *n, struct effect *e, bool sync)
{
	struct node *to = node_of(r, &e->to);
	unsigned i = index_of(r, n), j = index_of(r, to);
	struct link_state *l = link_of(r, i, j, sync);
	struct frame f;

	MUST(n != to);
	if (l->up) {
		l->used = true;
		travel(r, i, j, l, 0, e->frame, 0, sync);
		return;
	}
	MUST(frame_decode(&f, buf_slice(e->frame)) == 0);
	if (sync)
		sync_lost(n->sync, &e->to, r->m, &n->sync_out);
	else if (f.request != 0)
		work_send_failed(n->work, &e->to, f.request, r->m, &n->out);
}

/* conn = 1 + index of who asked, and the link's epoch above. */
static void
send_reply(struct ring *r, struct node *n, struct effect *e, bool sync)
{
	unsigned to = (unsigned)(e->conn & 0xff) - 1, from = index_of(r, n);
	struct link_state *l = link_of(r, to, from, sync);

	if (l->epoch == e->conn >> 8 && l->up)
		travel(r, from, to, l, 1, e->frame, 1, sync);
}

static void
break_link(struct ring *r, unsigned i, unsigned j, bool sync)
{
	struct link_state *l = link_of(r, i, j, sync);
	struct dyn_id to = node_id(r->nodes[j].letter);
	struct node *n = &r->nodes[i];
	bool sure = !l->used;

	if (!l->up)
		return;
	tell(r, "link %c to %c broke%s", n->letter, r->nodes[j].letter, sync ? " (sync)" : "");
	l->up = false;
	l->used = false;
	l->epoch++;
	if (!n->alive)
		return;
	if (sync && n->sync != NULL)
		sync_lost(n->sync, &to, r->m, &n->sync_out);
	else if (!sync)
		work_peer_down(n->work, &to, 0, sure, r->m, &n->out);
	carry_out(r, n);
}

static void
mend_link(struct ring *r, unsigned i, unsigned j, bool sync)
{
	struct link_state *l = link_of(r, i, j, sync);
	struct dyn_id to = node_id(r->nodes[j].letter);

	if (i == j || l->up || !r->nodes[i].alive || !r->nodes[j].alive ||
	    r->nodes[j].client)
		return;
	l->up = true;
	l->last[0] = l->last[1] = r->m.now;
	if (!sync)
		work_peer_up(r->nodes[i].work, &to, 0);
}

static void
mend_all(struct ring *r, unsigned i)
{
	for (unsigned j = 0; j < RING_NODES; j++)
		for (unsigned sync = 0; sync < 2; sync++) {
			mend_link(r, i, j, sync != 0);
			mend_link(r, j, i, sync != 0);
		}
}

static void
frame_came(struct ring *r, struct event *e)
{
	struct node *n = &r->nodes[e->node];
	struct dyn_id from = node_id(r->nodes[e->from].letter);
	bool reply = e->conn != 0;
	struct link_state *l = reply ? link_of(r, e->node, e->from, e->sync)
	                             : link_of(r, e->from, e->node, e->sync);
	uint64_t conn = l->epoch << 8 | (e->from + 1);
	struct frame f;

	if (!n->alive || l->epoch != e->epoch || !l->up)
		return;
	MUST(frame_decode(&f, buf_slice(e->data)) == 0);
	if (r->nodes[e->from].client && !reply)
		memset(&from, 0, sizeof(from));
	if (!e->sync) {
		MUST(work_frame(n->work, &from, conn, &f, r->m, &n->out) == 0);
	} else if (n->sync != NULL) {
		MUST(sync_frame(n->sync, &from, conn, &f, r->m, &n->sync_out) == 0);
	}
	carry_out(r, n);
}

/* ------------------------------------------------------------------ views */

static void
send_view(struct ring *r, struct node *from, struct node *to)
{
	struct event *e;

	if (from->view == NULL || !from->alive || !to->alive || from == to)
		return;
	if (!to->client && !link_of(r, index_of(r, from), index_of(r, to), false)->up)
		return;
	if (to->view != NULL && view_equal(from->view, to->view))
		return;
	e = add_event(r, EV_VIEW, index_of(r, to), r->m.now + delay(r, false));
	e->data = view_ref(from->view);
}

/* To worker and pull, each in its own time, but in order. */
static void
publish(struct ring *r, struct node *n)
{
	static const enum event_kind kinds[] = { EV_WORKER, EV_SYNC };
	uint64_t at = MAX(n->local_last, r->m.now);

	for (unsigned i = 0; i < (n->sync != NULL ? 2u : 1u); i++) {
		struct event *e;

		at += !r->calm && below(r, 4) == 0 ? below(r, r->storm.lag_ms) * MS : below(r, 300) * NS_PER_US;
		e = add_event(r, kinds[i], index_of(r, n), at);
		e->data = view_ref(n->view);
	}
	n->local_last = at;
}

static bool
in_view(const struct node *n)
{
	struct dyn_id id = node_id(n->letter);
	const struct record *rec = n->view != NULL ? view_find(n->view, &id) : NULL;

	return rec != NULL && rec->state == RECORD_JOINED;
}

/* Say reading: when this node's worker goes by a view that reads by current. */
static void
mark_reading(struct ring *r, struct node *n)
{
	struct dyn_id id = node_id(n->letter);
	const struct record *rec;
	struct view *by = r->storm.early_reading ? n->view : n->work->view;

	if (!in_view(n) || view_phase(n->view) != VIEW_SWITCHED || by == NULL ||
	    table_compare(by->reading, n->view->current) != 0)
		return;
	rec = view_find(n->view, &id);
	if (rec->reading != 0 || !record_synced(rec, n->view->current))
		return;
	n->view = view_reads(n->view, n->letter);
	tell(r, "%c reads by %llu", n->letter, (unsigned long long)n->view->current->epoch);
	publish(r, n);
}

static void
view_came(struct ring *r, struct node *n, struct view *v)
{
	struct view *merged, *settled;

	if (!n->alive)
		return;
	if (n->view == NULL) {
		settled = view_ref(v);
	} else {
		MUST(view_merge(&merged, n->view, v) == 0);
		/* A client takes no steps: it is told. */
		if (n->client)
			settled = view_ref(merged);
		else
			MUST(view_settle(&settled, merged) == 0);
		view_unref(merged);
		if (view_equal(settled, n->view)) {
			view_unref(settled);
			return;
		}
		view_unref(n->view);
	}
	n->view = settled;
	publish(r, n);
	mark_reading(r, n);
}

static void
gossip(struct ring *r, struct node *n)
{
	struct node *to = &r->nodes[below(r, RING_NODES)];

	if (n->alive && n->client) {
		send_view(r, to, n);
	} else if (n->alive && !to->client) {
		send_view(r, n, to);
		send_view(r, to, n);
	}
	add_event(r, EV_GOSSIP, index_of(r, n),
	    r->m.now + MS + below(r, n->client ? r->storm.poll_ms : r->storm.gossip_ms) * MS);
}

static void
say_synced(struct ring *r, struct node *n, struct view *v)
{
	struct dyn_id id = node_id(n->letter);

	if (!in_view(n) || table_compare(n->view->current, v->current) != 0 ||
	    record_synced(view_find(n->view, &id), v->current))
		return;
	n->view = view_synced(n->view, n->letter);
	tell(r, "%c is synced to %llu", n->letter, (unsigned long long)v->current->epoch);
	publish(r, n);
	mark_reading(r, n);
}

static void
join(struct ring *r)
{
	struct node *seed = &r->nodes[below(r, r->storm.members)];
	unsigned count = r->storm.together ? r->storm.joins : 1;
	char letters[RING_NODES] = "";

	if (!seed->alive || seed->left || seed->view == NULL) {
		add_event(r, EV_JOIN, 0, r->m.now + 10 * MS);
		return;
	}
	for (unsigned i = 0; i < count; i++)
		letters[i] = r->nodes[r->storm.members + r->joined + i].letter;
	seed->view = view_join_all(seed->view, letters);
	tell(r, "%s joins through %c", letters, seed->letter);
	publish(r, seed);
	for (unsigned i = 0; i < count; i++) {
		struct node *n = &r->nodes[r->storm.members + r->joined++];
		struct event *e =
		    add_event(r, EV_VIEW, index_of(r, n), r->m.now + delay(r, false));

		n->member = true;
		e->data = view_ref(seed->view);
		add_event(r, EV_GOSSIP, index_of(r, n), r->m.now + 20 * MS);
	}
}

static void
leave(struct ring *r)
{
	struct node *n = &r->nodes[below(r, r->storm.members)];

	if (!n->alive || !in_view(n) || view_phase(n->view) != VIEW_SETTLED) {
		if (!r->calm)
			add_event(r, EV_LEAVE, 0, r->m.now + 20 * MS);
		return;
	}
	n->left = true;
	n->view = view_leaves(n->view, n->letter);
	tell(r, "%c leaves", n->letter);
	publish(r, n);
	add_event(r, EV_STOP, index_of(r, n), r->m.now + (50 + below(r, 150)) * MS);
}

/* Does another member know that it left? */
static bool
is_heard(struct ring *r, const struct node *n)
{
	struct dyn_id id = node_id(n->letter);

	for (unsigned i = 0; i < RING_NODES; i++) {
		const struct node *other = &r->nodes[i];

		if (other != n && other->member && other->view != NULL &&
		    view_find(other->view, &id) != NULL &&
		    view_find(other->view, &id)->state == RECORD_LEFT)
			return true;
	}
	return false;
}

/* ----------------------------------------------------------------- storage */

static void
to_storage(struct ring *r, struct node *n, struct batch *b)
{
	MUST(n->storage.count < ARRAY_LEN(n->storage.list));
	n->storage.list[n->storage.count++] = b;
	n->apply_last = MAX(n->apply_last, r->m.now) + 20 * NS_PER_US + below(r, r->storm.commit_ms * 1000) * NS_PER_US;
	add_event(r, EV_APPLY, index_of(r, n), n->apply_last);
}

static struct batch *
oldest(struct node *n)
{
	struct batch *b = n->storage.list[0];

	memmove(n->storage.list, n->storage.list + 1,
	    --n->storage.count * sizeof(n->storage.list[0]));
	return b;
}

static void
apply(struct ring *r, struct node *n)
{
	struct batch *b = oldest(n);
	struct event *e;
	uint64_t told;
	int rc = 0;

	if (b->generation < n->failed_generation) {
		rc = DYN_EIO;
	} else if (chance(r, r->storm.fail_commit)) {
		rc = DYN_EFULL;
		n->failed_generation = b->generation + 1;
		tell(r, "commit at %c failed", n->letter);
	} else {
		rc = n->fake->engine.apply(n->fake, b->rows, b->count, b->durability);
	}
	told = r->m.now + below(r, 300) * NS_PER_US;
	n->told_last = MAX(n->told_last, told) + 1;
	e = add_event(r, EV_COMMITTED, index_of(r, n), n->told_last);
	e->data = b;
	e->rc = rc;
}

/* ------------------------------------------------------------------- calls */

static const char *
key_text(unsigned key)
{
	static char text[16];

	snprintf(text, sizeof(text), "k%u", key);
	return text;
}

static void
remember_values(struct ring *r, struct call_record *c, const struct op *op)
{
	struct object o;

	MUST(object_decode(&o, buf_slice(op->object)) == 0);
	for (size_t i = 0; i < o.count; i++) {
		char text[16] = "";

		MUST(o.values[i].value.len < sizeof(text));
		memcpy(text, o.values[i].value.data, o.values[i].value.len);
		MUST(c->values_count < ARRAY_LEN(c->values));
		if (text[0] != 'v')
			history_fail(&r->h, "S3: a value nobody wrote: %s", text);
		c->values[c->values_count++] = (unsigned)atoi(text + 1);
	}
	MUST(clock_copy(&c->clock, &o.clock) == 0);
	object_fini(&o);
}

static void
call_ended(struct ring *r, struct op *op)
{
	struct call_record *c = op->call;
	unsigned number = (unsigned)(c - r->h.calls);

	if (c->outcome != PENDING)
		history_fail(&r->h, "S13: call %u ended twice", number);
	c->rc = op->rc;
	c->ended = r->m.now;
	c->outcome = op->rc == 0 ? DONE_OK :
	    op->rc == DYN_EUNKNOWN ? DONE_UNKNOWN : DONE_FAILED;
	c->dot = op->dot;
	if (c->kind == OP_GET && op->rc == 0)
		remember_values(r, c, op);
	tell(r, "call %u ends: %s", number, rc_text(op->rc));
	if (c->ended > c->started + op->timeout_ms * MS)
		history_fail(&r->h, "S13: call %u outlived its deadline", number);
	if (op->rc == 0 && c->kind != OP_GET && op->receipt.machines < c->w &&
	    op->receipt.machines != 1)
		history_fail(&r->h, "call %u is done with %u of W=%u", number,
		    op->receipt.machines, c->w);
	op_free(op);
}

static struct call_record *
start_call(struct ring *r, struct node *n, enum op_kind kind, unsigned key,
    const struct with *with, int seen)
{
	struct call_record *c = &r->h.calls[r->h.count];
	struct op *op;
	char value[16];
	struct with w = *with;

	MUST(r->h.count < RING_OPS);
	snprintf(value, sizeof(value), "v%u", r->h.count++);
	w.value = value;
	w.n = (uint8_t)r->storm.copies;
	w.r = (uint8_t)MIN(w.r, w.n);
	w.w = (uint8_t)MIN(w.w, w.n);
	op = op_new(kind, key_text(key), &w);
	*c = (struct call_record){ .kind = kind, .key = key, .node = n->letter,
		.started = r->m.now, .r = op->r, .w = op->w, .seen = seen };
	c->durable = op->durability == DYN_DURABLE_DISK;
	c->strict = (op->flags & DYN_STRICT) != 0;
	if (seen >= 0) {
		MUST(clock_copy(&op->context, &r->h.calls[seen].clock) == 0);
		op->has_context = true;
	}
	op->call = c;
	tell(r, "call %s: %s %s at %c R=%u W=%u after %d", value,
	    kind == OP_GET ? "get" : kind == OP_PUT ? "put" : "delete", key_text(key),
	    n->letter, c->r, c->w, seen);
	work_op(n->work, op, r->m, &n->out);
	carry_out(r, n);
	return c;
}

static struct node *
some_node(struct ring *r)
{
	for (unsigned tries = 0; tries < 50; tries++) {
		struct node *n = &r->nodes[below(r, RING_NODES)];

		if (n->alive && (n->member || n->client))
			return n;
	}
	return NULL;
}

static void
next_call(struct ring *r)
{
	static const uint8_t quorums[][2] = { { 2, 2 }, { 2, 2 }, { 1, 3 }, { 3, 1 }, { 2, 1 } };
	unsigned key = (unsigned)below(r, r->storm.keys), session = (unsigned)below(r, 3);
	const uint8_t *q = quorums[below(r, ARRAY_LEN(quorums))];
	unsigned what = (unsigned)below(r, 10);
	/* Who leaves may have the only copy of a write with W=1. */
	uint8_t w_least = r->storm.leaves > 0 ? 2 : 1;
	struct with w = { .r = q[0], .w = MAX(q[1], w_least), .timeout_ms = 20 + (uint32_t)below(r, 4 * r->storm.hang_ms) };
	struct node *n = some_node(r);
	int seen = r->last_get[session][key];

	if (n == NULL)
		return;
	/* Who leaves takes its hints with it. */
	if (r->storm.leaves > 0 || below(r, 2) == 0)
		w.flags = DYN_STRICT;
	if (below(r, 10) == 0)
		w.durability = DYN_DURABLE_OS + (enum dyn_durability)below(r, 2);
	if (seen >= 0 && r->h.calls[seen].outcome != DONE_OK)
		seen = -1;
	if (what < 4) {
		r->last_get[session][key] = (int)r->h.count;
		start_call(r, n, OP_GET, key, &w, -1);
	} else if (what < 9) {
		start_call(r, n, OP_PUT, key, &w, below(r, 5) == 0 ? -1 : seen);
	} else if (seen >= 0) {
		start_call(r, n, OP_DELETE, key, &w, seen);
	}
}

/* ------------------------------------------------------------------- nodes */

static void
worker_effect(struct ring *r, struct node *n, struct effect *e)
{
	switch (e->kind) {
	case FX_SEND:
		send_frame(r, n, e, false);
		break;
	case FX_REPLY:
		send_reply(r, n, e, false);
		break;
	case FX_COMMIT:
		to_storage(r, n, e->what);
		break;
	case FX_DONE:
		call_ended(r, e->what);
		break;
	case FX_POKE:
		send_view(r, n, node_of(r, &e->to));
		send_view(r, node_of(r, &e->to), n);
		break;
	case FX_FENCED:
		if (e->rc == 0)
			sync_fenced(n->sync, e->what, r->m, &n->sync_out);
		view_unref(e->what);
		break;
	case FX_STORED:
		sync_stored(n->sync, e->what, e->rc, r->m, &n->sync_out);
		break;
	case FX_LOG:
	case FX_DOUBT:
		break;
	case FX_DAMAGED:
		if (n->sync != NULL)
			sync_damaged(n->sync, (unsigned)e->rc);
		break;
	case FX_CHANGED:
		if (n->sync != NULL) {
			sync_changed(n->sync, e->what, r->m, &n->sync_out);
			e->what = NULL;
		}
		break;
	default:
		ck_abort_msg("not an effect of a worker: %d", e->kind);
	}
}

/* Gossip brings it to those who can be reached. */
static void
hear_ledger(struct ring *r, struct node *n, const struct buf *ledger)
{
	struct dyn_id id = node_id(n->letter);

	for (unsigned i = 0; i < RING_NODES; i++) {
		struct node *to = &r->nodes[i];

		if (to != n && to->alive && to->sync != NULL &&
		    link_of(r, index_of(r, n), i, true)->up)
			sync_ledger(to->sync, &id, buf_slice(ledger), r->m, &to->sync_out);
	}
}

static void
sync_effect(struct ring *r, struct node *n, struct effect *e)
{
	switch (e->kind) {
	case FX_SEND:
		send_frame(r, n, e, true);
		break;
	case FX_REPLY:
		send_reply(r, n, e, true);
		break;
	case FX_ROWS:
		work_take(n->work, e->what, r->m, &n->out);
		break;
	case FX_CATCHING:
		work_catching(n->work, buf_ref(e->frame));
		break;
	case FX_LEDGER:
		hear_ledger(r, n, e->frame);
		break;
	case FX_META:
		MUST(n->fake->engine.apply(n->fake, &(struct dyn_row){ DYN_SPACE_META,
		    dyn_str(e->address), buf_slice(e->frame) }, 1, DYN_DURABLE_DISK) == 0);
		if (e->rc != SAVED_FOR_NOBODY)
			sync_saved(n->sync, 0, r->m, &n->out);
		break;
	case FX_HINTS_FULL:
		work_hints_full(n->work, e->rc != 0);
		break;
	case FX_SYNCED:
		say_synced(r, n, e->view);
		break;
	case FX_POKE:
		send_view(r, node_of(r, &e->to), n);
		break;
	default:
		break;
	}
}

static void
carry_out(struct ring *r, struct node *n)
{
	size_t i = 0, j = 0;

	while (i < n->out.count || j < n->sync_out.count) {
		struct effect e;
		bool worker = i < n->out.count;

		/* By value: carrying out may add more and move the list. */
		e = worker ? n->out.list[i] : n->sync_out.list[j];
		memset(worker ? &n->out.list[i] : &n->sync_out.list[j], 0, sizeof(e));
		i += worker;
		j += !worker;
		if (worker)
			worker_effect(r, n, &e);
		else
			sync_effect(r, n, &e);
		effect_drop(&e);
	}
	n->out.count = n->sync_out.count = 0;
	if (!n->turning && work_committing(n->work) && n->work->store.open != NULL) {
		n->turning = true;
		add_event(r, EV_TURN, index_of(r, n), r->m.now + below(r, 500) * NS_PER_US);
	}
}

static void
node_start(struct ring *r, struct node *n)
{
	struct work_options o = { .self = node_id(n->letter), .client = n->client,
		.engine = &n->fake->engine, .actor = { (uint64_t)n->letter, n->incarnation },
		.workers = 1, .siblings_max = 50, .skew_max_ms = 60000, .bytes_max = 1 << 20,
		.seed = rng_next(&r->rng) };
	struct sync_options p = { .self = o.self, .engine = &n->fake->engine, .w = 2,
		.workers = 1, .hint_bytes_max = 1 << 20, .hint_age_max_ms = 86400000 };

	o.standin = (struct actor){ o.actor.node, n->incarnation + (UINT64_C(1) << 40) };
	MUST(work_new(&n->work, &o) == 0);
	if (!n->client)
		MUST(sync_new(&n->sync, &p, r->m) == 0);
	n->alive = true;
	n->life++;
	n->turning = false;
	n->local_last = n->apply_last = n->told_last = r->m.now;
	n->failed_generation = 0;
	if (n->view != NULL)
		publish(r, n);
}

/* What others gave the worker to hold. */
static void
drop_tokens(struct work *w)
{
	for (size_t i = 0; i < w->waiters_count; i++) {
		const struct waiter *waiter =
		    &w->waiters[(w->waiters_first + i) % w->waiters_cap];

		if (waiter->kind == WAIT_FENCE)
			view_unref(waiter->token);
		else if (waiter->kind == WAIT_ROWS)
			rows_free(waiter->token);
	}
}

/* Whatever is in memory is gone; the engine stays. */
static void
node_stop(struct ring *r, struct node *n)
{
	unsigned i = index_of(r, n);

	tell(r, "%c stops", n->letter);
	n->alive = false;
	for (unsigned j = 0; j < RING_NODES; j++)
		for (unsigned sync = 0; sync < 2; sync++) {
			link_of(r, i, j, sync != 0)->up = false;
			link_of(r, i, j, sync != 0)->epoch++;
			break_link(r, j, i, sync != 0);
		}
	for (unsigned c = 0; c < r->h.count; c++)
		if (r->h.calls[c].node == n->letter && r->h.calls[c].outcome == PENDING) {
			r->h.calls[c].outcome = DONE_UNKNOWN;
			r->h.calls[c].ended = r->m.now;
		}
	while (n->storage.count > 0)
		batch_free(oldest(n));
	drop_tokens(n->work);
	work_free(n->work);
	sync_free(n->sync);
	n->work = NULL;
	n->sync = NULL;
	outbox_fini(&n->out);
	outbox_fini(&n->sync_out);
	n->life++;
}

static void
local_view(struct ring *r, struct node *n, struct event *e)
{
	struct view *v = e->data;

	if (e->kind == EV_WORKER) {
		work_view(n->work, v, r->m, &n->out);
	} else if (e->kind == EV_SYNC) {
		struct event *fence;

		sync_view(n->sync, v, r->m, &n->sync_out);
		fence = add_event(r, EV_FENCE, e->node, r->m.now + below(r, 5) * MS);
		fence->data = view_ref(v);
	} else {
		work_fence(n->work, v, view_ref(v), r->m, &n->out);
	}
	carry_out(r, n);
	mark_reading(r, n);
}

static void
crash(struct ring *r, struct node *n)
{
	if (!n->alive || n->client || r->calm)
		return;
	node_stop(r, n);
	n->incarnation += 1 << 16;
	add_event(r, EV_START, index_of(r, n), r->m.now + (5 + below(r, 60)) * MS);
}

static void
run_event(struct ring *r, struct event *e)
{
	struct node *n = &r->nodes[e->node];
	bool of_this_life = n->alive && n->life == e->life;

	switch (e->kind) {
	case EV_FRAME:
		frame_came(r, e);
		break;
	case EV_GOSSIP:
		gossip(r, n);
		break;
	case EV_VIEW:
		view_came(r, n, e->data);
		break;
	case EV_WORKER:
	case EV_SYNC:
	case EV_FENCE:
		if (of_this_life)
			local_view(r, n, e);
		break;
	case EV_TURN:
		if (of_this_life) {
			n->turning = false;
			work_turn(n->work, &n->out);
			carry_out(r, n);
		}
		break;
	case EV_APPLY:
		if (of_this_life)
			apply(r, n);
		break;
	case EV_COMMITTED:
		if (of_this_life) {
			work_committed(n->work, e->data, e->rc, r->m, &n->out);
			e->data = NULL;
			carry_out(r, n);
		}
		break;
	case EV_OP:
		next_call(r);
		break;
	case EV_BREAK:
		break_link(r, e->from, e->node, below(r, 3) == 0);
		break;
	case EV_MEND:
		mend_all(r, e->node);
		break;
	case EV_CRASH:
		crash(r, n);
		break;
	case EV_START:
		if (!n->alive && !(n->left && r->calm)) {
			node_start(r, n);
			tell(r, "%c starts", n->letter);
			mend_all(r, e->node);
		}
		break;
	case EV_JOIN:
		join(r);
		break;
	case EV_LEAVE:
		leave(r);
		break;
	case EV_STOP:
		if (n->alive && is_heard(r, n))
			node_stop(r, n);
		else if (n->alive)
			add_event(r, EV_STOP, e->node, r->m.now + 20 * MS);
		break;
	}
	free_event(e);
}

/* The next event or timer not after `until`; false if there is none. */
static bool
step(struct ring *r, uint64_t until)
{
	uint64_t at = r->events > 0 ? r->heap[1]->at : TIME_NEVER;
	struct node *due = NULL;

	for (unsigned i = 0; i < RING_NODES; i++) {
		struct node *n = &r->nodes[i];
		uint64_t wake = TIME_NEVER;

		if (n->alive)
			wake = MIN(work_wake(n->work),
			    n->sync != NULL ? sync_wake(n->sync) : TIME_NEVER);
		if (wake < at) {
			at = MAX(wake, r->m.now);
			due = n;
		}
	}
	if (at > until)
		return false;
	r->m.now = at;
	r->m.wall_ms = 1000000 + at / MS;
	if (due == NULL) {
		run_event(r, pop_event(r));
		return true;
	}
	work_tick(due->work, r->m, &due->out);
	if (due->sync != NULL)
		sync_tick(due->sync, r->m, &due->sync_out);
	carry_out(r, due);
	return true;
}

/* --------------------------------------------------------------- a history */

static void
plan(struct ring *r)
{
	for (unsigned i = 0; i < r->storm.ops; i++)
		add_event(r, EV_OP, 0, below(r, STORM_END));
	for (unsigned i = 0; i < r->storm.joins; i += r->storm.together ? r->storm.joins : 1)
		add_event(r, EV_JOIN, 0, below(r, STORM_END / 4));
	for (unsigned i = 0; i < r->storm.leaves; i++)
		add_event(r, EV_LEAVE, 0, below(r, STORM_END));
	for (unsigned i = 0; i < r->storm.break_link; i++) {
		struct event *e = add_event(r, EV_BREAK, (unsigned)below(r, RING_NODES - 1),
		    below(r, STORM_END));

		e->from = (unsigned)below(r, RING_NODES);
		add_event(r, EV_MEND, e->node, e->at + below(r, 100) * MS);
	}
	for (unsigned i = 0; i < r->storm.crash; i++)
		add_event(r, EV_CRASH, (unsigned)below(r, RING_NODES - 1), below(r, STORM_END));
}

static void
set_default(unsigned *field, unsigned value)
{
	if (*field == 0)
		*field = value;
}

static void
ring_init(struct ring *r, const struct storm *storm, uint64_t seed)
{
	struct view *v = view_ring(storm->members, 3, storm->partitions);

	memset(r, 0, sizeof(*r));
	r->storm = *storm;
	set_default(&r->storm.lag_ms, 40);
	set_default(&r->storm.slow_frame, 25);
	set_default(&r->storm.hang_ms, 60);
	set_default(&r->storm.gossip_ms, 40);
	set_default(&r->storm.poll_ms, 40);
	set_default(&r->storm.commit_ms, 3);
	set_default(&r->storm.keys, 4);
	set_default(&r->storm.copies, 3);
	r->h.copies = r->storm.copies;
	r->rng.state = mix64(seed + 1);
	r->h.seed = seed;
	r->loud = getenv("DYN_SEED") != NULL;
	memset(r->last_get, -1, sizeof(r->last_get));
	for (unsigned i = 0; i < RING_NODES; i++) {
		struct node *n = &r->nodes[i];

		n->letter = (char)('a' + i);
		n->client = i == RING_NODES - 1;
		n->member = i < storm->members;
		n->incarnation = 1;
		n->fake = fake_new();
		if (n->member || n->client)
			n->view = view_ref(v);
		node_start(r, n);
		if (n->member || n->client)
			add_event(r, EV_GOSSIP, i, below(r, 40 * MS));
	}
	for (unsigned i = 0; i < RING_NODES; i++)
		mend_all(r, i);
	view_unref(v);
	plan(r);
}

static void
ring_fini(struct ring *r)
{
	while (r->events > 0)
		free_event(pop_event(r));
	for (unsigned i = 0; i < RING_NODES; i++) {
		struct node *n = &r->nodes[i];

		while (n->storage.count > 0)
			batch_free(oldest(n));
		if (n->work != NULL)
			drop_tokens(n->work);
		work_free(n->work);
		sync_free(n->sync);
		outbox_fini(&n->out);
		outbox_fini(&n->sync_out);
		view_unref(n->view);
		fake_free(n->fake);
	}
	for (unsigned i = 0; i < r->h.count; i++)
		clock_fini(&r->h.calls[i].clock);
}

static bool
keeps_hints(const struct node *n)
{
	struct hint_figures f;

	if (n->sync == NULL)
		return false;
	sync_hints(n->sync, &f);
	return f.hints > 0;
}

/* All members know one settled view and go by it, nothing is on its way, every
 * hint is delivered. */
static bool
settled(struct ring *r)
{
	struct view *v = NULL;

	for (unsigned i = 0; i < RING_NODES; i++) {
		struct node *n = &r->nodes[i];

		if (!n->alive || !(n->member || n->client) || n->left)
			continue;
		if (n->view == NULL || view_phase(n->view) != VIEW_SETTLED ||
		    n->work->view == NULL || !view_equal(n->work->view, n->view) ||
		    (v != NULL && !view_equal(v, n->view)) || work_requests(n->work) > 0 ||
		    work_committing(n->work) || keeps_hints(n))
			return false;
		v = n->view;
	}
	return true;
}

static void
calm_down(struct ring *r)
{
	uint64_t until = r->m.now + HEAL_LIMIT;

	r->calm = true;
	tell(r, "calm");
	for (unsigned i = 0; i < RING_NODES; i++)
		if (!r->nodes[i].alive && !r->nodes[i].left) {
			node_start(r, &r->nodes[i]);
			tell(r, "%c starts", r->nodes[i].letter);
		}
	for (unsigned i = 0; i < RING_NODES; i++)
		mend_all(r, i);
	while (!settled(r)) {
		if (r->m.now > until || !step(r, TIME_NEVER - 1))
			history_fail(&r->h, "does not settle");
		if (r->m.now % (100 * MS) < MS)
			for (unsigned i = 0; i < RING_NODES; i++)
				mend_all(r, i);
	}
}

/* Every copy that an owner holds of a key is the same (S7). */
static void
check_copies(struct ring *r)
{
	struct view *v = r->nodes[0].left ? r->nodes[1].view : r->nodes[0].view;

	for (unsigned k = 0; k < r->storm.keys; k++) {
		struct buf *name = key_name(key_text(k));
		struct dyn_slice first = { 0 };
		struct group g;

		view_readers(v, name_partition(buf_slice(name), v->settings.partitions), &g);
		group_limit(&g, r->storm.copies);
		for (unsigned i = 0; i < g.count; i++) {
			struct node *n = node_of(r, &v->records[g.member[i]].id);
			struct dyn_slice copy = fake_find(n->fake, buf_slice(name));

			if (i == 0)
				first = copy;
			else if (!slice_equal(first, copy))
				history_fail(&r->h, "S7: copies of %s differ at %c", key_text(k),
				    n->letter);
		}
		buf_unref(name);
	}
}

/* Each key, at several nodes, with this R. */
static void
read_all(struct ring *r, uint8_t quorum, unsigned times)
{
	struct with w = { .r = quorum, .timeout_ms = 1000, .flags = DYN_STRICT };

	for (unsigned k = 0; k < r->storm.keys; k++)
		for (unsigned i = 0; i < times; i++) {
			struct node *n = some_node(r);

			if (n != NULL && n->view != NULL && !n->left)
				start_call(r, n, OP_GET, k, &w, -1);
		}
	for (uint64_t until = r->m.now + NS_PER_S; step(r, until) || !settled(r);)
		if (r->m.now >= until)
			until += NS_PER_S;
}

static void
summary(struct ring *r)
{
	unsigned by[4] = { 0 };
	struct work_stats all = { 0 };

	for (unsigned i = 0; i < r->h.count; i++)
		by[r->h.calls[i].outcome]++;
	for (unsigned i = 0; i < RING_NODES; i++) {
		const struct work_stats *one;

		if (!r->nodes[i].alive)
			continue;
		one = work_stats(r->nodes[i].work);
		all.moved += one->moved;
		all.repairs += one->repairs;
		all.forwarded += one->forwarded;
		all.pulled_rows += one->pulled_rows;
		all.hinted += one->hinted;
	}
	tell(r, "calls: %u ok, %u failed, %u unknown; %llu moved, %llu repairs, %llu forwarded, "
	    "%llu rows pulled, %llu hints", by[DONE_OK], by[DONE_FAILED], by[DONE_UNKNOWN],
	    (unsigned long long)all.moved, (unsigned long long)all.repairs,
	    (unsigned long long)all.forwarded, (unsigned long long)all.pulled_rows,
	    (unsigned long long)all.hinted);
}

void
ring_run(const struct storm *storm, uint64_t seed)
{
	long balance = mem_balance();
	static struct ring world;
	struct ring *r = &world;
	unsigned healed;

	ring_init(r, storm, seed);
	while (step(r, STORM_END + 100 * MS))
		continue;
	calm_down(r);
	/* A strict quorum, before anything is repaired. */
	read_all(r, 2, 1);
	/* Reading all repairs all; what is read after that is what is kept. */
	read_all(r, 3, 2);
	healed = r->h.count;
	read_all(r, 3, 2);
	history_check(&r->h, healed);
	check_copies(r);
	if (r->loud)
		summary(r);
	ring_fini(r);
	if (mem_balance() != balance)
		history_fail(&r->h, "%ld blocks of memory leaked", mem_balance() - balance);
}
