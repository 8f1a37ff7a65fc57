/*
 * Design.  A heap of events, ordered by time and then by the order in which
 * they were made; all randomness from one generator.  A node's threads are its
 * three machines; what they say to each other travels as letters, each mailbox
 * in order.  A connection belongs to who dialled it; it is in order, and when it
 * breaks, all that was on its way is lost.  A direction that is cut holds back
 * what is sent into it until it is mended or the connection breaks.
 */
#include "test/sim/world.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/base.h"
#include "core/detect.h"
#include "core/member.h"
#include "core/sync.h"
#include "test/core_script.h"
#include "test/oracle/oracle.h"
#include "test/sim/disk.h"

#define MS NS_PER_MS
#define NODES_MAX 26 /* letters */
#define IDS_MAX 256 /* values in one answer */
#define PARTITIONS 16
#define HEAL_LIMIT (120 * NS_PER_S)

/* WORKER is the first of them; each talks to the same one of another node. */
enum { WORKERS_MOST = 3 };
enum thread { GOSSIP, SYNC, WORKER, THREADS = WORKER + WORKERS_MOST };

enum event_kind {
	EV_DELIVER, /* the first frame of a pipe */
	EV_LETTER,  /* for a thread of a node */
	EV_WAKE,    /* a timer of a thread */
	EV_TURN,    /* the worker hands out its batch */
	EV_APPLY,   /* storage commits all that has come */
	EV_SAVE,    /* and the view; back: for the fence */
	EV_DIAL,
	EV_LOST,    /* who dialled notices that a connection is gone */
	EV_START,
	EV_CALL,    /* the next call of a session */
	EV_CRASH, EV_BREAK, EV_SPLIT, EV_MEND, EV_PAUSE, EV_JUMP, EV_FULL, EV_COPY, EV_LOSE
};

enum letter_kind { L_VIEW, L_FENCE, L_FENCED, L_ROWS, L_STORED, L_CHANGED, L_SYNCED, L_POKE,
	L_COMMITTED, L_LEDGER, L_FULL, L_LOST, L_SAVED, L_LIVENESS, L_DOUBT, L_CATCHING, L_COLLECT, L_CLEAR, L_CLEARED };

struct event {
	uint64_t at, order, life, epoch;
	enum event_kind kind;
	unsigned node, other, lane;
	bool back;
	enum letter_kind letter;
	int rc;
	void *what;
	struct dyn_id id;
};

/* One direction of a connection. */
struct pipe {
	struct buf **frames;
	size_t count, cap;
	uint64_t last;
};

struct link {
	bool up, used, dialling;
	bool half; /* broken, and who dialled does not know: it swallows */
	uint64_t epoch;
	struct pipe pipe[2]; /* there, back */
};

struct node {
	struct dyn_id id;
	bool alive;
	uint64_t life, incarnation, actor, paused_until;
	int64_t skew_ms;
	struct disk *disk;
	struct { struct disk *disk; struct view *saved; uint64_t incarnation; } copy;
	struct member *member;
	struct detect *detect;
	struct sync *sync;
	struct work *work[WORKERS_MOST];
	struct view *view, *sync_view, *saved; /* NULL: it has not joined yet */
	struct view *fence; /* all workers are behind it; it is on its way to the disk */
	uint64_t full_until; /* its disk is */
	unsigned fenced;    /* workers, a bit each */
	unsigned turning;   /* too */
	unsigned drift;     /* of its clock: 1,000 is none */
	bool applying;
	struct outbox out[THREADS];
	uint64_t mail_last[THREADS], wake_set[THREADS];
	struct { struct batch *batch; unsigned worker; } queue[512];
	unsigned queued;
	uint64_t failed_generation[WORKERS_MOST];
};

struct context {
	bool there;
	struct clock clock;
	uint64_t time, ids[IDS_MAX];
	size_t count;
};

struct session {
	unsigned key;
	struct context last[SWARM_KEYS], kept[SWARM_KEYS];
	bool busy;
};

struct call {
	struct world *w;
	uint64_t id, began;
	unsigned session, key, node, strict_r;
	enum op_kind kind;
	bool settled_read; /* of the healing: the oracle is not told */
	bool ended;
	bool durable, unanswered;
	struct call *next;
};

struct world {
	struct swarm o;
	struct rng rng;
	uint64_t now, order, digest, ids;
	struct event **heap;
	size_t count, cap;
	struct node nodes[NODES_MAX];
	struct link links[NODES_MAX][NODES_MAX][THREADS];
	bool cut[NODES_MAX][NODES_MAX];
	struct session sessions[SWARM_SESSIONS];
	struct call *calls;
	struct oracle *oracle;
	struct outcome out;
	struct view *ring; /* the first one */
	char seeds[2 * DYN_ADDRESS_MAX];
	bool settled;     /* in the end all had the same view */
	unsigned all;     /* nodes: of the first ring and those that join it */
	unsigned threads; /* of a node */
	bool calm, trace;
	unsigned open; /* calls not ended */
	unsigned loser; /* of its directory */
};

static void carry_out(struct world *, struct node *);

static uint64_t
below(struct world *w, uint64_t n)
{
	return rng_below(&w->rng, n);
}

static bool
chance(struct world *w, unsigned in_thousand)
{
	return !w->calm && below(w, 1000) < in_thousand;
}

static void __attribute__((format(printf, 2, 3)))
tell(struct world *w, const char *fmt, ...)
{
	va_list args;

	if (!w->trace)
		return;
	fprintf(stderr, "%10.3f ", (double)w->now / 1e6);
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

static void
push_event(struct world *w, struct event *e)
{
	size_t i;

	if (w->count + 2 > w->cap) {
		w->cap = w->cap == 0 ? 1024 : w->cap * 2;
		w->heap = realloc(w->heap, w->cap * sizeof(*w->heap));
		DEMAND(w->heap != NULL);
	}
	for (i = ++w->count; i > 1 && before(e, w->heap[i / 2]); i /= 2)
		w->heap[i] = w->heap[i / 2];
	w->heap[i] = e;
}

static struct event *
add_event(struct world *w, enum event_kind kind, unsigned node, uint64_t at)
{
	struct event *e = calloc(1, sizeof(*e));

	DEMAND(e != NULL);
	*e = (struct event){ .at = at, .order = w->order++, .life = w->nodes[node].life, .kind = kind,
		.node = node };
	push_event(w, e);
	return e;
}

static struct event *
pop_event(struct world *w)
{
	struct event *first = w->heap[1], *last = w->heap[w->count--];
	size_t i = 1, child;

	for (; (child = 2 * i) <= w->count; i = child) {
		if (child < w->count && before(w->heap[child + 1], w->heap[child]))
			child++;
		if (!before(w->heap[child], last))
			break;
		w->heap[i] = w->heap[child];
	}
	w->heap[i] = last;
	return first;
}

static void
free_event(struct event *e)
{
	if (e->kind == EV_LETTER && e->what != NULL) {
		if (e->letter == L_ROWS || e->letter == L_STORED)
			rows_free(e->what);
		else if (e->letter == L_CHANGED)
			changes_free(e->what);
		else if (e->letter == L_COMMITTED)
			batch_free(e->what);
		else if (e->letter == L_LEDGER || e->letter == L_CATCHING)
			buf_unref(e->what);
		else
			view_unref(e->what);
	}
	free(e);
}

static struct node *
node_at(struct world *w, const char *address)
{
	unsigned i = (unsigned)atoi(strchr(address, ':') + 1) - 7000 - 'a';

	DEMAND(i < w->all);
	return &w->nodes[i];
}

static unsigned
index_of(const struct world *w, const struct node *n)
{
	return (unsigned)(n - w->nodes);
}

static struct node *
node_of(struct world *w, const struct dyn_id *id)
{
	return &w->nodes[node_letter(id) - 'a'];
}

/* What the node's own clocks say. */
static struct moment
moment_of(const struct world *w, const struct node *n)
{
	uint64_t now = w->now * n->drift / 1000;

	return (struct moment){ now, (uint64_t)((int64_t)(1700000000000 + now / MS) + n->skew_ms) };
}

/* When its clock will say so. */
static uint64_t
true_time(const struct node *n, uint64_t at)
{
	return at > UINT64_MAX / 1000 ? TIME_NEVER : (at * 1000 + n->drift - 1) / n->drift;
}

static bool
due(const struct world *w, const struct node *n, uint64_t at)
{
	return at <= moment_of(w, n).now;
}

/* A letter to a thread of the same node; each mailbox keeps its order. */
static struct event *
post(struct world *w, struct node *n, unsigned to, enum letter_kind kind, void *what, int rc,
    const struct dyn_id *id)
{
	uint64_t at = w->now + 1 + below(w, w->o.mailbox_us * NS_PER_US);
	struct event *e;

	n->mail_last[to] = at = MAX(at, n->mail_last[to] + 1);
	e = add_event(w, EV_LETTER, index_of(w, n), at);
	e->lane = to;
	e->letter = kind;
	e->what = what;
	e->rc = rc;
	if (id != NULL)
		e->id = *id;
	return e;
}

/* ---------------------------------------------------------------- network */

static void
pipe_clear(struct pipe *p)
{
	for (size_t i = 0; i < p->count; i++)
		buf_unref(p->frames[i]);
	p->count = 0;
}

static void
pipe_add(struct world *w, unsigned from, unsigned to, unsigned lane, bool back, struct buf *frame)
{
	struct link *l = &w->links[from][to][lane];
	struct pipe *p = &l->pipe[back];
	struct event *e;
	uint64_t at;

	if (l->half)
		return;
	if (p->count == p->cap) {
		p->cap = p->cap == 0 ? 8 : p->cap * 2;
		p->frames = realloc(p->frames, p->cap * sizeof(*p->frames));
		DEMAND(p->frames != NULL);
	}
	p->frames[p->count++] = buf_ref(frame);
	at = w->now + (50 + below(w, 1000)) * NS_PER_US;
	if (chance(w, w->o.slow_frame))
		at += below(w, w->o.hang_ms + 1) * MS;
	p->last = MAX(p->last + 1, at);
	e = add_event(w, EV_DELIVER, back ? from : to, p->last);
	e->other = back ? to : from;
	e->lane = lane;
	e->back = back;
	e->epoch = l->epoch;
}

/* It breaks: who dialled hears of it, now or when it would have noticed. */
static void
break_link(struct world *w, unsigned from, unsigned to, unsigned lane, uint64_t noticed)
{
	struct link *l = &w->links[from][to][lane];
	struct event *e;

	if (!l->up || l->half)
		return;
	l->epoch++;
	l->half = true;
	pipe_clear(&l->pipe[0]);
	pipe_clear(&l->pipe[1]);
	e = add_event(w, EV_LOST, from, w->now + noticed);
	e->other = to;
	e->lane = lane;
	e->epoch = l->epoch;
}

static void
dial_later(struct world *w, unsigned from, unsigned to, unsigned lane)
{
	struct link *l = &w->links[from][to][lane];
	struct event *e;

	if (l->dialling || l->up || from == to)
		return;
	l->dialling = true;
	e = add_event(w, EV_DIAL, from, w->now + (5 + below(w, 200)) * MS);
	e->other = to;
	e->lane = lane;
}

static void
dial(struct world *w, struct event *e)
{
	struct link *l = &w->links[e->node][e->other][e->lane];
	struct node *n = &w->nodes[e->node], *to = &w->nodes[e->other];

	l->dialling = false;
	if (!n->alive || l->up)
		return;
	if (!to->alive && e->lane == GOSSIP) {
		detect_refused(n->detect, &to->id, moment_of(w, n), &n->out[GOSSIP]);
		carry_out(w, n);
	}
	if (!to->alive || w->cut[e->node][e->other] || w->cut[e->other][e->node] ||
	    to->paused_until > w->now) {
		dial_later(w, e->node, e->other, e->lane);
		return;
	}
	l->up = true;
	l->used = l->half = false;
	l->epoch++;
	if (e->lane >= WORKER)
		work_peer_up(n->work[e->lane - WORKER], &to->id, e->lane - WORKER);
	else if (e->lane == GOSSIP)
		detect_answered(n->detect, &to->id, moment_of(w, n), &n->out[GOSSIP]);
	carry_out(w, n);
}

static void
unreachable(struct world *w, struct node *n, const struct dyn_id *id, const char *address)
{
	if (!id_is_zero(id))
		detect_lost(n->detect, id, moment_of(w, n), &n->out[GOSSIP]);
	member_unreachable(n->member, id, address, DYN_EIO, moment_of(w, n), &n->out[GOSSIP]);
}

static void
link_lost(struct world *w, struct event *e)
{
	struct link *l = &w->links[e->node][e->other][e->lane];
	struct node *n = &w->nodes[e->node], *to = &w->nodes[e->other];

	if (!n->alive || !l->up || l->epoch != e->epoch)
		return;
	l->up = l->half = false;
	if (e->lane >= WORKER)
		work_peer_down(n->work[e->lane - WORKER], &to->id, e->lane - WORKER, !l->used,
		    moment_of(w, n), &n->out[e->lane]);
	else if (e->lane == SYNC)
		sync_lost(n->sync, &to->id, moment_of(w, n), &n->out[SYNC]);
	else
		unreachable(w, n, &to->id, NULL);
	dial_later(w, e->node, e->other, e->lane);
	carry_out(w, n);
}

static void
send_frame(struct world *w, struct node *n, unsigned lane, struct effect *e)
{
	struct node *to;
	struct link *l;
	struct frame f;

	if (id_is_zero(&e->to) && e->address == NULL)
		return;
	to = id_is_zero(&e->to) ? node_at(w, e->address) : node_of(w, &e->to);
	DEMAND(lane < WORKER || e->worker == lane - WORKER);
	l = &w->links[index_of(w, n)][index_of(w, to)][lane];
	DEMAND(frame_decode(&f, buf_slice(e->frame)) == 0);
	if (l->up) {
		l->used = true;
		pipe_add(w, index_of(w, n), index_of(w, to), lane, false, e->frame);
	} else if (lane == SYNC) {
		sync_lost(n->sync, &e->to, moment_of(w, n), &n->out[SYNC]);
	} else if (lane == GOSSIP) {
		unreachable(w, n, &e->to, e->address);
	} else if (f.request != 0) {
		work_send_failed(n->work[lane - WORKER], &e->to, f.request, moment_of(w, n),
		    &n->out[lane]);
	}
}

static void
send_reply(struct world *w, struct node *n, unsigned lane, struct effect *e)
{
	unsigned from = (unsigned)(e->conn & 0xff) - 1;

	if (w->links[from][index_of(w, n)][lane].epoch == e->conn >> 8)
		pipe_add(w, from, index_of(w, n), lane, true, e->frame);
}

static void
frame_came(struct world *w, struct event *e, struct buf *frame)
{
	struct node *n = &w->nodes[e->node], *from = &w->nodes[e->other];
	uint64_t conn = e->epoch << 8 | (e->other + 1);
	struct moment m = moment_of(w, n);
	struct frame f;
	union msg msg;

	DEMAND(frame_decode(&f, buf_slice(frame)) == 0);
	w->digest = mix64(w->digest ^ f.kind);
	if (e->lane >= WORKER) {
		DEMAND(work_frame(n->work[e->lane - WORKER], &from->id, conn, &f, m,
		    &n->out[e->lane]) == 0);
	} else if (e->lane == SYNC) {
		DEMAND(sync_frame(n->sync, &from->id, conn, &f, m, &n->out[SYNC]) == 0);
	} else {
		DEMAND(msg_decode(f.kind, f.body, &msg) == 0);
		detect_frame(n->detect, &from->id, conn, &f, &msg, m, &n->out[GOSSIP]);
		DEMAND(member_frame(n->member, &from->id, conn, &f, &msg, m, &n->out[GOSSIP]) == 0);
		if (f.kind == MSG_GOSSIP_ACK)
			detect_answered(n->detect, &from->id, m, &n->out[GOSSIP]);
	}
	carry_out(w, n);
}

static void
deliver(struct world *w, struct event *e)
{
	unsigned i = e->back ? e->node : e->other, j = e->back ? e->other : e->node;
	struct link *l = &w->links[i][j][e->lane];
	struct pipe *p = &l->pipe[e->back];
	struct buf *frame;

	if (l->epoch != e->epoch || !w->nodes[e->node].alive || p->count == 0)
		return;
	if (w->cut[e->other][e->node]) {
		struct event *again = add_event(w, EV_DELIVER, e->node, w->now + 20 * MS);

		again->other = e->other;
		again->lane = e->lane;
		again->back = e->back;
		again->epoch = e->epoch;
		return;
	}
	frame = p->frames[0];
	memmove(p->frames, p->frames + 1, --p->count * sizeof(*p->frames));
	frame_came(w, e, frame);
	buf_unref(frame);
}

/* ----------------------------------------------------------------- storage */

/* As host/storage.c: all that has come is one transaction. */
static void
apply(struct world *w, struct node *n)
{
	struct dyn_engine *e = disk_engine(n->disk);
	enum dyn_durability d = DYN_DURABLE_MEMORY;
	unsigned count = n->queued;
	int rc = 0;

	n->applying = false;
	n->queued = 0;
	for (unsigned i = 0; i < count; i++)
		if (n->queue[i].batch->generation >= n->failed_generation[n->queue[i].worker])
			d = MIN(d, n->queue[i].batch->durability);
	if (n->full_until > w->now)
		rc = DYN_EFULL;
	else if (chance(w, w->o.fail_commit)) {
		rc = below(w, 2) == 0 ? DYN_EFULL : DYN_EIO;
		tell(w, "commit at %c fails", node_letter(&n->id));
	}
	for (unsigned i = 0; i < count; i++) {
		struct batch *b = n->queue[i].batch;
		unsigned k = n->queue[i].worker;
		int of_this = rc;

		if (b->generation < n->failed_generation[k])
			of_this = DYN_EIO;
		else if (rc != 0)
			n->failed_generation[k] = b->generation + 1;
		else
			of_this = e->apply(e->self, b->rows, b->count, d);
		post(w, n, WORKER + k, L_COMMITTED, b, of_this, NULL);
	}
}

static void
to_storage(struct world *w, struct node *n, unsigned worker, struct batch *b)
{
	DEMAND(n->queued < ARRAY_LEN(n->queue));
	n->queue[n->queued].batch = b;
	n->queue[n->queued++].worker = worker;
	if (n->applying)
		return;
	n->applying = true;
	add_event(w, EV_APPLY, index_of(w, n), w->now + 20 * NS_PER_US + below(w, w->o.commit_us) * NS_PER_US);
}

/* ------------------------------------------------------------------- calls */

static size_t
values_of(const struct buf *object, uint64_t *ids, size_t max)
{
	struct object o;
	size_t count = 0;

	if (object == NULL || object->len == 0)
		return 0;
	DEMAND(object_decode(&o, buf_slice(object)) == 0);
	for (size_t i = 0; i < o.count; i++) {
		if (o.values[i].value.len < sizeof(uint64_t))
			continue; /* a delete */
		DEMAND(count < max);
		memcpy(&ids[count++], o.values[i].value.data, sizeof(uint64_t));
	}
	object_fini(&o);
	return count;
}

static void
remember(struct context *to, const struct op *op, const uint64_t *ids, size_t count)
{
	struct object o;

	clock_fini(&to->clock);
	memset(to, 0, sizeof(*to));
	if (op->object == NULL || op->object->len == 0)
		return;
	DEMAND(object_decode(&o, buf_slice(op->object)) == 0);
	DEMAND(clock_copy(&to->clock, &o.clock) == 0);
	for (size_t i = 0; i < o.count; i++)
		to->time = MAX(to->time, o.values[i].time);
	object_fini(&o);
	to->there = true;
	to->count = count;
	memcpy(to->ids, ids, count * sizeof(*ids));
}

static void
get_ended(struct world *w, struct call *c, const struct op *op)
{
	struct session *s = &w->sessions[c->session];
	uint64_t ids[IDS_MAX];
	size_t count = values_of(op->object, ids, ARRAY_LEN(ids));
	struct oracle_read r = { .key = c->key, .session = c->session, .node = c->node,
		.strict_r = c->strict_r, .n = w->o.copies, .began = c->began, .ended = w->now, .ids = ids,
		.count = count };

	oracle_read(w->oracle, &r);
	if (!s->kept[c->key].there || below(w, 20) == 0)
		remember(&s->kept[c->key], op, ids, count);
	remember(&s->last[c->key], op, ids, count);
	w->out.entries = MAX(w->out.entries, (unsigned)(s->last[c->key].clock.vector_count +
	    s->last[c->key].clock.cloud_count));
}

static void
call_ended(struct world *w, struct op *op)
{
	struct call *c = op->call;

	w->digest = mix64(w->digest ^ (uint64_t)op->rc ^ w->now);
	tell(w, "call %" PRIu64 " ends: %s", c->id, rc_text(op->rc));
	DEMAND(!c->ended);
	c->ended = true;
	w->open--;
	w->out.done += op->rc == 0;
	if (op->kind == OP_PUT && !w->calm) {
		w->out.puts[w->o.side >> c->node & 1]++;
		w->out.puts_done[w->o.side >> c->node & 1] += op->rc == 0;
	}
	/* A paused process cannot keep time; a slow clock is in what is allowed. */
	if (w->o.pause_ms == 0)
		DEMAND(w->now <= c->began + (op->timeout_ms + 1000) * MS);
	if (op->kind == OP_GET && op->rc == 0) {
		get_ended(w, c, op);
	} else if (op->kind != OP_GET) {
		const struct oracle_receipt receipt = {
			.w = op->receipt.standins > 0 ? 0 : op->receipt.owners, .durable = c->durable,
			.stamp = op->time };

		oracle_write_end(w->oracle, w->now, c->id, op->rc == 0 ? ORACLE_DONE :
		    op->rc == DYN_EUNKNOWN ? ORACLE_UNKNOWN : ORACLE_FAILED, op->rc == 0 ? &receipt : NULL);
	}
	op_free(op);
}

static const char *
key_text(unsigned key)
{
	static char text[16];

	snprintf(text, sizeof(text), "k%u", key);
	return text;
}

/* The id, and now and then much more. */
static struct buf *
value_of(struct world *w, uint64_t id)
{
	size_t len = sizeof(id);
	struct buf *value;

	if (w->o.big > 0 && below(w, 4) == 0)
		len += below(w, w->o.big);
	value = buf_new(len);
	DEMAND(value != NULL);
	memset(value->data, (int)(id & 0xff), len);
	memcpy(value->data, &id, sizeof(id));
	return value;
}

static void
start_call(struct world *w, struct node *n, unsigned session, enum op_kind kind, unsigned key,
    const struct with *with, const struct context *seen)
{
	struct call *c = calloc(1, sizeof(*c));
	struct with how = *with;
	struct op *op;
	unsigned i;

	DEMAND(c != NULL);
	how.value = "";
	op = op_new(kind, key_text(key), &how);
	*c = (struct call){ .w = w, .id = ++w->ids, .began = w->now, .session = session, .key = key,
		.node = index_of(w, n), .kind = kind, .next = w->calls };
	if ((op->flags & DYN_STRICT) != 0)
		c->strict_r = op->r;
	w->calls = c;
	w->open++;
	w->out.calls++;
	c->durable = op->durability == DYN_DURABLE_DISK;
	op->call = c;
	if (kind == OP_PUT) {
		buf_unref(op->value);
		op->value = value_of(w, c->id);
	}
	if (seen != NULL && seen->there) {
		DEMAND(clock_copy(&op->context, &seen->clock) == 0);
		op->has_context = true;
		op->after = seen->time;
	}
	if (kind != OP_GET) {
		const struct oracle_write x = { .id = c->id, .key = key,
			.kind = how.lww ? ORACLE_LWW : kind == OP_DELETE ? ORACLE_DELETE : ORACLE_PUT,
			.session = session, .node = c->node, .parents = seen != NULL ? seen->ids : NULL,
			.parents_count = seen != NULL ? seen->count : 0 };

		oracle_write_begin(w->oracle, w->now, &x);
	}
	tell(w, "call %" PRIu64 ": %s k%u at %c by session %u R=%u W=%u", c->id,
	    kind == OP_GET ? "get" : kind == OP_PUT ? "put" : "delete", key, node_letter(&n->id), session,
	    op->r, op->w);
	i = name_partition(buf_slice(op->name), PARTITIONS) % w->o.workers;
	work_op(n->work[i], op, moment_of(w, n), &n->out[WORKER + i]);
	carry_out(w, n);
}

static bool
is_lww(const struct world *w, unsigned key)
{
	return w->o.lww && key % 2 == 1;
}

static void
next_call(struct world *w, unsigned session)
{
	struct session *s = &w->sessions[session];
	unsigned key = (unsigned)below(w, w->o.keys), what = (unsigned)below(w, 10);
	struct node *n = &w->nodes[below(w, w->all)];
	const struct context *seen = &s->last[key];
	struct with how = { .n = (uint8_t)w->o.copies, .r = (uint8_t)w->o.r, .w = (uint8_t)w->o.w,
		.lww = is_lww(w, key), .timeout_ms = 50 + (uint32_t)below(w, 2000) };

	add_event(w, EV_CALL, session, w->now + 1 + below(w, w->o.op_gap_ms * MS));
	if (w->calm || !n->alive || n->view == NULL || n->paused_until > w->now)
		return;
	if (chance(w, w->o.strict))
		how.flags = DYN_STRICT;
	if (chance(w, w->o.weak))
		how.durability = DYN_DURABLE_OS + (enum dyn_durability)below(w, 2);
	if (chance(w, w->o.keep_context) && s->kept[key].there)
		seen = below(w, 2) == 0 ? &s->kept[key] : &w->sessions[below(w, w->o.sessions)].last[key];
	if (what < 4)
		start_call(w, n, session, OP_GET, key, &how, NULL);
	else if (what < 9 || !w->o.deletes || !seen->there || is_lww(w, key))
		start_call(w, n, session, OP_PUT, key, &how, below(w, 10) == 0 ? NULL : seen);
	else
		start_call(w, n, session, OP_DELETE, key, &how, seen);
}

/* ------------------------------------------------------------------- nodes */

static bool
commit_fails(struct world *w, const struct node *n)
{
	return n->full_until > w->now || chance(w, w->o.fail_commit);
}

static void
save_later(struct world *w, struct node *n, bool fence)
{
	add_event(w, EV_SAVE, index_of(w, n), w->now + 20 * NS_PER_US + below(w, w->o.commit_us) * NS_PER_US)
	    ->back = fence;
}

/* All workers are behind it: now it must be on disk. */
static void
begin_fence(struct world *w, struct node *n)
{
	if (n->fenced != (1U << w->o.workers) - 1 || n->fence != NULL)
		return;
	n->fence = view_ref(n->sync_view);
	save_later(w, n, true);
}

/* As host/gossip.c, which tries once, and host/syncer.c, which must have it. */
static void
save_view(struct world *w, struct node *n, bool fence)
{
	struct view *v = fence ? n->fence : n->view;

	if (fence && table_compare(v->current, n->sync_view->current) != 0) {
		n->fence = NULL;
		view_unref(v);
		begin_fence(w, n);
		return;
	}
	if (commit_fails(w, n)) {
		tell(w, "view at %c is not saved", node_letter(&n->id));
		if (fence)
			add_event(w, EV_SAVE, index_of(w, n), w->now + 100 * MS)->back = true;
		return;
	}
	view_unref(n->saved);
	n->saved = view_ref(v);
	if (!fence)
		return;
	n->fence = NULL;
	sync_fenced(n->sync, n->sync_view, moment_of(w, n), &n->out[SYNC]);
	view_unref(v);
}

static void
save_meta(struct world *w, struct node *n, const struct effect *e)
{
	const struct dyn_row row = { DYN_SPACE_META, dyn_str(e->address), buf_slice(e->frame) };
	struct dyn_engine *engine = disk_engine(n->disk);

	int rc = 0;

	if (commit_fails(w, n))
		rc = DYN_EFULL;
	else
		DEMAND(engine->apply(engine->self, &row, 1, DYN_DURABLE_DISK) == 0);
	if (e->rc != SAVED_FOR_NOBODY)
		post(w, n, SYNC, L_SAVED, NULL, rc, NULL);
}

/* To each of them. */
static void
to_workers(struct world *w, struct node *n, enum letter_kind kind, int rc, const struct dyn_id *id)
{
	for (unsigned t = WORKER; t < w->threads; t++)
		post(w, n, t, kind, NULL, rc, id);
}

static void
view_to_workers(struct world *w, struct node *n, enum letter_kind kind, struct view *v)
{
	for (unsigned t = WORKER; t < w->threads; t++)
		post(w, n, t, kind, view_ref(v), 0, NULL);
}

static void
forgetting(struct world *w, struct node *n, struct effect *e)
{
	if (e->kind == FX_COLLECT) {
		post(w, n, GOSSIP, L_COLLECT, view_ref(e->view), 0, NULL);
	} else if (e->kind == FX_CLEARED) {
		post(w, n, GOSSIP, L_CLEARED, NULL, 0, NULL);
	} else {
		w->out.cleared++;
		to_workers(w, n, L_LOST, 0, NULL);
		post(w, n, SYNC, L_LOST, NULL, 0, NULL);
		post(w, n, SYNC, L_CLEAR, NULL, 0, NULL);
	}
}

/* A worker's answer: which one is in the letter's other. */
static void
fenced_by(struct world *w, struct node *n, unsigned t, struct view *v, int rc)
{
	post(w, n, SYNC, L_FENCED, v, rc, NULL)->other = t - WORKER;
}

static void
effect(struct world *w, struct node *n, unsigned t, struct effect *e)
{
	unsigned k;

	switch (e->kind) {
	case FX_SEND:
		send_frame(w, n, t, e);
		break;
	case FX_REPLY:
		send_reply(w, n, t, e);
		break;
	case FX_COMMIT:
		to_storage(w, n, t - WORKER, e->what);
		break;
	case FX_DONE:
		call_ended(w, e->what);
		break;
	case FX_VIEW:
		view_unref(n->view);
		n->view = view_ref(e->view);
		save_later(w, n, false);
		detect_view(n->detect, e->view, moment_of(w, n), &n->out[GOSSIP]);
		view_to_workers(w, n, L_VIEW, e->view);
		post(w, n, SYNC, L_VIEW, view_ref(e->view), 0, NULL);
		break;
	case FX_POKE:
		if (!id_is_zero(&e->to))
			post(w, n, GOSSIP, L_POKE, NULL, 0, &e->to);
		break;
	case FX_FENCED:
		fenced_by(w, n, t, e->what, e->rc);
		break;
	case FX_ROWS:
		k = ((struct rows *)e->what)->partition % w->o.workers;
		post(w, n, WORKER + k, L_ROWS, e->what, 0, NULL);
		break;
	case FX_STORED:
		post(w, n, SYNC, L_STORED, e->what, e->rc, NULL);
		break;
	case FX_SYNCED:
		post(w, n, GOSSIP, L_SYNCED, view_ref(e->view), 0, NULL);
		break;
	case FX_CHANGED:
		post(w, n, SYNC, L_CHANGED, e->what, 0, NULL);
		e->what = NULL;
		break;
	case FX_LEDGER:
		post(w, n, t == SYNC ? GOSSIP : SYNC, L_LEDGER, e->frame, 0, &e->to);
		e->frame = NULL;
		break;
	case FX_META:
		save_meta(w, n, e);
		break;
	case FX_HINTS_FULL:
		to_workers(w, n, L_FULL, e->rc, NULL);
		break;
	case FX_CATCHING:
		for (k = WORKER; k < w->threads; k++)
			post(w, n, k, L_CATCHING, buf_ref(e->frame), 0, NULL);
		break;
	case FX_LIVENESS:
		to_workers(w, n, L_LIVENESS, e->rc, &e->to);
		post(w, n, SYNC, L_LIVENESS, NULL, e->rc, &e->to);
		break;
	case FX_LOST:
		to_workers(w, n, L_LOST, 0, NULL);
		post(w, n, SYNC, L_LOST, NULL, 0, NULL);
		break;
	case FX_COLLECT:
	case FX_STALE:
	case FX_CLEARED:
		forgetting(w, n, e);
		break;
	case FX_RESET:
		break_link(w, index_of(w, n), index_of(w, node_of(w, &e->to)), GOSSIP, 0);
		break;
	case FX_DOUBT:
		post(w, n, GOSSIP, L_DOUBT, NULL, 0, &e->to);
		break;
	case FX_LOG:
		tell(w, "%c: %.*s", node_letter(&n->id), (int)e->frame->len, (const char *)e->frame->data);
		break;
	case FX_FAIL:
		DEMAND(e->kind != FX_FAIL); /* no fault drawn here ends a node */
		break;
	}
}

static void
wake_at(struct world *w, struct node *n, unsigned t, uint64_t at)
{
	struct event *e;

	at = true_time(n, at);
	if (at == TIME_NEVER || (n->wake_set[t] <= at && n->wake_set[t] > w->now))
		return;
	n->wake_set[t] = MAX(at, w->now + 1);
	e = add_event(w, EV_WAKE, index_of(w, n), n->wake_set[t]);
	e->lane = t;
}

static void
carry_out(struct world *w, struct node *n)
{
	bool again = true;

	while (again) {
		again = false;
		for (unsigned t = 0; t < w->threads; t++) {
			for (size_t i = 0; i < n->out[t].count; i++) {
				/* By value: carrying out may add more and move the list. */
				struct effect e = n->out[t].list[i];

				memset(&n->out[t].list[i], 0, sizeof(e));
				effect(w, n, t, &e);
				effect_drop(&e);
				again = true;
			}
			n->out[t].count = 0;
		}
	}
	for (unsigned k = 0; k < w->o.workers; k++) {
		if ((n->turning >> k & 1) == 0 && n->work[k]->store.open != NULL) {
			n->turning |= 1U << k;
			add_event(w, EV_TURN, index_of(w, n), w->now + 1 + below(w, 200) * NS_PER_US)
			    ->lane = k;
		}
		wake_at(w, n, WORKER + k, work_wake(n->work[k]));
	}
	wake_at(w, n, SYNC, sync_wake(n->sync));
	wake_at(w, n, GOSSIP, MIN(member_wake(n->member), detect_wake(n->detect)));
}

/* As lib/identity.c: the actor is kept only over a clean stop, and there is
 * none here. */
static void
node_start(struct world *w, struct node *n)
{
	uint64_t random = below(w, UINT32_MAX);
	struct work_options o = { .self = n->id, .engine = disk_engine(n->disk), .workers = w->o.workers,
		.siblings_max = 50, .skew_max_ms = 60000, .bytes_max = 1 << 22, .seed = rng_next(&w->rng) };
	struct sync_options s = { .self = n->id, .engine = o.engine, .w = w->o.w, .workers = w->o.workers,
		.seed = rng_next(&w->rng), .hint_bytes_max = w->o.hint_bytes,
		.hint_age_max_ms = w->o.hint_age_ms, .repair_period = w->o.repair_ms * MS,
		.walk = w->o.walk_ms * MS, .collect_period = w->o.collect_ms * MS };
	struct detect_options d = { .self = n->id, .seed = mix64(o.seed) };
	struct member_options m = { .saved = n->saved, .seed = rng_next(&w->rng) };

	n->actor = ((n->actor >> 48) + 1) << 48 | random << 16;
	n->incarnation++;
	o.actor = (struct actor){ load_be64(n->id.bytes), n->actor };
	o.standin = (struct actor){ o.actor.node, n->actor ^ UINT64_C(1) << 47 };
	m.settings = w->ring->settings;
	m.self = *view_find(n->saved != NULL ? n->saved : w->ring,
	    n->saved != NULL ? &n->id : &w->nodes[0].id);
	if (n->saved == NULL) {
		m.self.id = n->id;
		snprintf(m.self.address, sizeof(m.self.address), "127.0.0.1:%d",
		    7000 + node_letter(&n->id));
		m.seeds = w->seeds;
		m.join = DYN_JOIN_ONLY;
	}
	m.self.incarnation = n->incarnation;
	n->life++;
	n->alive = true;
	n->turning = n->fenced = 0;
	n->applying = false;
	memset(n->failed_generation, 0, sizeof(n->failed_generation));
	memset(n->wake_set, 0, sizeof(n->wake_set));
	for (unsigned t = 0; t < THREADS; t++)
		outbox_init(&n->out[t]);
	/* A start that cannot read is none. */
	disk_fail_reads(n->disk, NULL, 0);
	DEMAND(sync_new(&n->sync, &s, moment_of(w, n)) == 0);
	for (o.index = 0; o.index < o.workers; o.index++) {
		DEMAND(work_new(&n->work[o.index], &o) == 0);
		work_catching(n->work[o.index], sync_catching(n->sync));
		o.seed = mix64(o.seed);
	}
	DEMAND(detect_new(&n->detect, &d, moment_of(w, n)) == 0);
	DEMAND(member_new(&n->member, &m, moment_of(w, n), &n->out[GOSSIP]) == 0);
	if (!w->calm)
		disk_fail_reads(n->disk, &w->rng, w->o.fail_read);
	w->out.actors++;
	tell(w, "%c starts", node_letter(&n->id));
	for (unsigned i = 0; i < w->all; i++)
		for (unsigned t = 0; t < w->threads; t++) {
			dial_later(w, index_of(w, n), i, t);
			/* Those that were there when it came. */
			if (w->nodes[i].alive)
				dial_later(w, i, index_of(w, n), t);
		}
	carry_out(w, n);
}

/* What others gave the worker to hold. */
static void
drop_tokens(struct work *work)
{
	for (size_t i = 0; i < work->waiters_count; i++) {
		const struct waiter *x = &work->waiters[(work->waiters_first + i) % work->waiters_cap];

		if (x->kind == WAIT_FENCE)
			view_unref(x->token);
		else if (x->kind == WAIT_ROWS)
			rows_free(x->token);
	}
}

static void
free_machines(struct node *n)
{
	for (unsigned i = 0; i < n->queued; i++)
		batch_free(n->queue[i].batch);
	n->queued = 0;
	for (unsigned k = 0; k < WORKERS_MOST; k++) {
		if (n->work[k] != NULL)
			drop_tokens(n->work[k]);
		work_free(n->work[k]);
		n->work[k] = NULL;
	}
	sync_free(n->sync);
	member_free(n->member);
	detect_free(n->detect);
	view_unref(n->sync_view);
	view_unref(n->fence);
	view_unref(n->view);
	n->view = n->sync_view = n->fence = NULL;
	for (unsigned t = 0; t < THREADS; t++)
		outbox_fini(&n->out[t]);
}

/* No disk here damages a row, so a tree that was found to be wrong was kept wrongly. */
static void
judge_trees(struct world *w, struct node *n)
{
	struct copies_figures f;

	sync_copies(n->sync, moment_of(w, n), &f);
	if (f.trees.wrong == 0)
		return;
	fprintf(stderr, "trees: %c kept %u wrongly\n", node_letter(&n->id), (unsigned)f.trees.wrong);
	w->out.broken++;
}

static uint64_t
forgotten_by(const struct world *w, const struct node *n)
{
	uint64_t rows = 0;

	for (unsigned k = 0; k < w->o.workers; k++)
		rows += work_stats(n->work[k])->forgotten;
	return rows;
}

static void
crash(struct world *w, struct node *n)
{
	unsigned i = index_of(w, n);

	if (!n->alive)
		return;
	tell(w, "%c crashes", node_letter(&n->id));
	n->alive = false;
	n->life++;
	for (unsigned j = 0; j < w->all; j++)
		for (unsigned t = 0; t < w->threads; t++) {
			uint64_t noticed = w->o.power ? below(w, 3000) * MS : 50 * NS_PER_US;

			break_link(w, i, j, t, 0);
			w->links[i][j][t].up = w->links[i][j][t].half = false;
			w->links[i][j][t].epoch++;
			break_link(w, j, i, t, noticed);
		}
	for (struct call *c = w->calls; c != NULL; c = c->next)
		if (!c->ended && c->node == i) {
			c->ended = true; /* nobody will be told: pending for good */
			w->open--;
		}
	judge_trees(w, n);
	w->out.forgotten += forgotten_by(w, n);
	free_machines(n);
	if (w->o.power)
		disk_crash(n->disk, &w->rng);
	add_event(w, EV_START, i, w->now + (10 + below(w, 5000)) * MS);
}

/* As host/syncer.c, where the view is saved once all are. */
static void
fenced_letter(struct world *w, struct node *n, const struct event *e, struct view *v)
{
	unsigned before = n->fenced;

	if (e->rc != 0)
		post(w, n, WORKER + e->other, L_FENCE, view_ref(n->sync_view), 0, NULL);
	else if (table_compare(v->current, n->sync_view->current) == 0)
		n->fenced |= 1U << e->other;
	if (n->fenced != before)
		begin_fence(w, n);
	view_unref(v);
}

static void
forgetting_letter(struct node *n, const struct event *e, struct view *v, struct moment m)
{
	if (e->letter == L_LOST && e->lane == SYNC)
		sync_lost_all(n->sync, m, &n->out[SYNC]);
	else if (e->letter == L_LOST)
		work_lost(n->work[e->lane - WORKER]);
	else if (e->letter == L_COLLECT)
		member_collect(n->member, v->current, m, &n->out[GOSSIP]);
	else if (e->letter == L_CLEAR)
		sync_clear(n->sync, m, &n->out[SYNC]);
	else
		member_cleared(n->member, m, &n->out[GOSSIP]);
	view_unref(v);
}

static void
liveness_letter(struct node *n, const struct event *e, struct moment m)
{
	if (e->lane == SYNC)
		sync_liveness(n->sync, &e->id, (enum dyn_liveness)e->rc, m, &n->out[SYNC]);
	else if (e->rc != DYN_DOUBTED)
		work_peer_suspect(n->work[e->lane - WORKER], &e->id, e->rc == DYN_SUSPECT, m,
		    &n->out[e->lane]);
}

static void
letter(struct world *w, struct event *e)
{
	struct node *n = &w->nodes[e->node];
	struct moment m = moment_of(w, n);
	struct work *work = e->lane >= WORKER ? n->work[e->lane - WORKER] : NULL;
	struct outbox *out = &n->out[e->lane];
	void *what = e->what;
	bool same;

	e->what = NULL;
	switch (e->letter) {
	case L_VIEW:
		if (work != NULL) {
			work_view(work, what, m, out);
			view_unref(what);
			break;
		}
		same = n->sync_view != NULL &&
		    table_compare(n->sync_view->current, ((struct view *)what)->current) == 0;
		view_unref(n->sync_view);
		n->sync_view = what;
		sync_view(n->sync, what, m, out);
		if (same)
			break;
		n->fenced = 0;
		view_to_workers(w, n, L_FENCE, what);
		break;
	case L_FENCE:
		work_fence(work, what, what, m, out);
		break;
	case L_FENCED:
		fenced_letter(w, n, e, what);
		break;
	case L_ROWS:
		work_take(work, what, m, out);
		break;
	case L_LEDGER:
		if (e->lane == GOSSIP) {
			member_ledger(n->member, what);
		} else {
			sync_ledger(n->sync, &e->id, buf_slice(what), m, &n->out[SYNC]);
			buf_unref(what);
		}
		break;
	case L_CATCHING:
		work_catching(work, what);
		break;
	case L_SAVED:
		sync_saved(n->sync, e->rc, m, &n->out[SYNC]);
		break;
	case L_FULL:
		work_hints_full(work, e->rc != 0);
		break;
	case L_LIVENESS:
		liveness_letter(n, e, m);
		break;
	case L_DOUBT:
		detect_doubt(n->detect, &e->id, m, &n->out[GOSSIP]);
		break;
	case L_STORED:
		sync_stored(n->sync, what, e->rc, m, &n->out[SYNC]);
		break;
	case L_CHANGED:
		sync_changed(n->sync, what, m, &n->out[SYNC]);
		break;
	case L_SYNCED:
		member_synced(n->member, ((struct view *)what)->current, m, &n->out[GOSSIP]);
		view_unref(what);
		break;
	case L_COLLECT:
	case L_CLEAR:
	case L_CLEARED:
	case L_LOST:
		forgetting_letter(n, e, what, m);
		break;
	case L_POKE:
		member_poke(n->member, &e->id, m, &n->out[GOSSIP]);
		break;
	case L_COMMITTED:
		work_committed(work, what, e->rc, m, out);
		break;
	}
	carry_out(w, n);
}

/* ------------------------------------------------------------------ faults */

static void
forget_copy(struct node *n)
{
	view_unref(n->copy.saved);
	disk_free(n->copy.disk);
	n->copy.saved = NULL;
	n->copy.disk = NULL;
}

/* Somebody copies the directory while the node runs, or is down. */
static void
copy_directory(struct node *n)
{
	forget_copy(n);
	n->copy.disk = disk_copy(n->disk);
	n->copy.saved = view_ref(n->saved);
	n->copy.incarnation = n->incarnation;
}

/* The node dies and its directory is as it was copied.  lib/identity.c finds that
 * out and says so in a row. */
static void
lose_directory(struct world *w, struct node *n)
{
	const struct dyn_row all = { DYN_SPACE_META, dyn_str(CATCHING_ROW),
		dyn_str(CATCHING_ALL) };
	struct dyn_engine *e;

	crash(w, n);
	tell(w, "%c has lost its directory", node_letter(&n->id));
	disk_free(n->disk);
	view_unref(n->saved);
	n->disk = n->copy.disk;
	n->saved = n->copy.saved;
	n->incarnation = n->copy.incarnation;
	n->copy.disk = NULL;
	n->copy.saved = NULL;
	e = disk_engine(n->disk);
	DEMAND(e->apply(e->self, &all, 1, DYN_DURABLE_DISK) == 0);
}

static void
fault_again(struct world *w, enum event_kind kind, unsigned mean_ms)
{
	if (mean_ms > 0 && !w->calm)
		add_event(w, kind, 0, w->now + 1 + below(w, 2 * (uint64_t)mean_ms) * MS);
}

/* In both directions, on the spot; nothing breaks. */
static void
split_for_good(struct world *w)
{
	for (unsigned i = 0; i < w->all; i++)
		for (unsigned j = 0; j < w->all; j++)
			w->cut[i][j] = (w->o.side >> i & 1) != (w->o.side >> j & 1);
}

/* Cut some directions between two sides, or one, or all of one node. */
static void
split(struct world *w)
{
	unsigned kind = (unsigned)below(w, 3);
	uint64_t side = below(w, (uint64_t)1 << w->all);

	for (unsigned i = 0; i < w->all; i++)
		for (unsigned j = 0; j < w->all; j++) {
			if (i == j || (side >> i & 1) == (side >> j & 1))
				continue;
			if (kind == 0 || (kind == 1 && (side >> i & 1) == 0) || (kind == 2 && below(w, 2) == 0))
				w->cut[i][j] = true;
		}
	tell(w, "split %" PRIx64 " kind %u", side, kind);
	for (unsigned i = 0; i < w->all; i++)
		for (unsigned j = 0; j < w->all; j++)
			for (unsigned t = 0; t < w->threads; t++)
				if ((w->cut[i][j] || w->cut[j][i]) && below(w, 2) == 0)
					break_link(w, i, j, t, below(w, 3000) * MS);
	add_event(w, EV_MEND, 0, w->now + below(w, 8000) * MS);
}

static void
fault(struct world *w, enum event_kind kind)
{
	unsigned i = (unsigned)below(w, w->all), j = (unsigned)below(w, w->all);
	uint64_t until;

	switch (kind) {
	case EV_CRASH:
		crash(w, &w->nodes[i]);
		fault_again(w, kind, w->o.crash_ms);
		break;
	case EV_COPY:
		copy_directory(&w->nodes[w->loser]);
		break;
	case EV_LOSE:
		lose_directory(w, &w->nodes[w->loser]);
		break;
	case EV_BREAK:
		break_link(w, i, j, (unsigned)below(w, w->threads), below(w, 4) == 0 ? below(w, 2000) * MS : 0);
		fault_again(w, kind, w->o.break_ms);
		break;
	case EV_SPLIT:
		split(w);
		fault_again(w, kind, w->o.split_ms);
		break;
	case EV_FULL:
		w->nodes[i].full_until = w->now + below(w, 8000) * MS;
		tell(w, "the disk of %c is full", node_letter(&w->nodes[i].id));
		fault_again(w, kind, w->o.full_ms);
		break;
	case EV_PAUSE:
		/* Never shortened: its letters wait for that time, in order. */
		until = w->now + below(w, 4000) * MS;
		w->nodes[i].paused_until = MAX(w->nodes[i].paused_until, until);
		tell(w, "%c pauses", node_letter(&w->nodes[i].id));
		fault_again(w, kind, w->o.pause_ms);
		break;
	default:
		w->nodes[i].skew_ms = (int64_t)below(w, 40000) - 20000;
		fault_again(w, kind, w->o.jump_ms);
		break;
	}
}

/* ------------------------------------------------------------------- a run */

static void
run_of_node(struct world *w, struct event *e)
{
	struct node *n = &w->nodes[e->node];
	struct moment m = moment_of(w, n);

	switch (e->kind) {
	case EV_LETTER:
		letter(w, e);
		return;
	case EV_WAKE:
		n->wake_set[e->lane] = 0;
		if (e->lane >= WORKER && due(w, n, work_wake(n->work[e->lane - WORKER])))
			work_tick(n->work[e->lane - WORKER], m, &n->out[e->lane]);
		else if (e->lane == SYNC && due(w, n, sync_wake(n->sync)))
			sync_tick(n->sync, m, &n->out[SYNC]);
		else if (e->lane == GOSSIP && due(w, n, member_wake(n->member)))
			member_tick(n->member, m, &n->out[GOSSIP]);
		if (e->lane == GOSSIP && due(w, n, detect_wake(n->detect)))
			detect_tick(n->detect, m, &n->out[GOSSIP]);
		break;
	case EV_SAVE:
		save_view(w, n, e->back);
		break;
	case EV_TURN:
		n->turning &= ~(1U << e->lane);
		work_turn(n->work[e->lane], &n->out[WORKER + e->lane]);
		break;
	default:
		apply(w, n);
		break;
	}
	carry_out(w, n);
}

static bool
step(struct world *w, uint64_t until)
{
	struct event *e;
	struct node *n;

	if (w->count == 0 || w->heap[1]->at > until)
		return false;
	e = pop_event(w);
	w->now = e->at;
	n = &w->nodes[e->node];
	if (n->paused_until > w->now && e->kind <= EV_SAVE) {
		/* With its old place in the order: what waited longer comes first. */
		e->at = n->paused_until;
		push_event(w, e);
		return true;
	}
	w->digest = mix64(w->digest ^ e->at ^ (uint64_t)e->kind << 56 ^ (uint64_t)e->node << 48);
	if (e->kind == EV_DELIVER) {
		deliver(w, e);
	} else if (e->kind <= EV_SAVE) {
		if (n->alive && n->life == e->life)
			run_of_node(w, e);
	} else if (e->kind == EV_DIAL) {
		dial(w, e);
	} else if (e->kind == EV_LOST) {
		link_lost(w, e);
	} else if (e->kind == EV_START) {
		if (!n->alive)
			node_start(w, n);
	} else if (e->kind == EV_CALL) {
		next_call(w, e->node);
	} else if (e->kind == EV_MEND) {
		split_for_good(w);
	} else if (!w->calm) {
		fault(w, e->kind);
	}
	free_event(e);
	return true;
}

static void
run_for(struct world *w, uint64_t ns)
{
	uint64_t until = w->now + ns;

	while (step(w, until))
		continue;
	w->now = until;
}

static struct dyn_slice
copy_of(struct world *w, const struct view *v, unsigned key, unsigned i, struct node **owner)
{
	struct buf *name = key_name(key_text(key));
	struct dyn_slice s;
	struct group g;

	view_readers(v, name_partition(buf_slice(name), PARTITIONS), &g);
	DEMAND(g.count == w->o.copies);
	*owner = node_of(w, &v->records[g.member[i]].id);
	s = disk_find((*owner)->disk, DYN_SPACE_DATA, buf_slice(name));
	buf_unref(name);
	return s;
}

/* S14: all have the same members and the same table, and nothing moves. */
static bool
agreed(struct world *w)
{
	const struct view *first = w->nodes[0].view;

	if (view_phase(first) != VIEW_SETTLED || first->count != w->all)
		return false;
	for (unsigned i = 1; i < w->all; i++)
		if (w->nodes[i].view == NULL || !view_equal(w->nodes[i].view, first))
			return false;
	return true;
}

static bool
converged(struct world *w)
{
	struct node *owner;

	if (!w->settled)
		return false;
	for (unsigned k = 0; k < w->o.keys; k++)
		for (unsigned i = 1; i < w->o.copies; i++)
			if (!slice_equal(copy_of(w, w->nodes[0].view, k, 0, &owner),
			    copy_of(w, w->nodes[0].view, k, i, &owner)))
				return false;
	for (unsigned i = 0; i < w->all; i++) {
		struct hint_figures f;
		struct copies_figures c;

		sync_hints(w->nodes[i].sync, &f);
		if (f.hints > 0)
			return false;
		sync_copies(w->nodes[i].sync, moment_of(w, &w->nodes[i]), &c);
		if (c.repair.catching > 0)
			return false;
	}
	return w->open == 0;
}

/* Rows that exchanges and reads repaired, of all nodes. */
static uint64_t
moved(struct world *w)
{
	uint64_t rows = 0;

	for (unsigned i = 0; i < w->all; i++) {
		struct copies_figures c;

		sync_copies(w->nodes[i].sync, moment_of(w, &w->nodes[i]), &c);
		rows += c.repair.took + c.repair.gave;
		for (unsigned k = 0; k < w->o.workers; k++)
			rows += work_stats(w->nodes[i].work[k])->repairs;
	}
	return rows;
}

/* Does a copy hold what could be forgotten? */
static bool
remembers(struct world *w)
{
	for (unsigned k = 0; k < w->o.keys; k++)
		for (unsigned i = 0; i < w->o.copies; i++) {
			struct node *owner;

			if (object_old(copy_of(w, w->nodes[0].view, k, i, &owner), 0) == OBJECT_FRESH)
				continue;
			tell(w, "k%u at %c has something to forget", k, node_letter(&owner->id));
			return true;
		}
	return false;
}

/* With everybody there, and no writes, all that was deleted goes away. */
static void
await_forgetting(struct world *w)
{
	uint64_t until = w->now + HEAL_LIMIT;

	if (w->o.collect_ms > 10000)
		return;
	while (remembers(w) && w->now < until)
		run_for(w, NS_PER_S);
	if (!remembers(w))
		return;
	fprintf(stderr, "tombstones or old clocks are left %u s after all was healed\n",
	    (unsigned)(HEAL_LIMIT / NS_PER_S));
	w->out.broken++;
}

/* S9: where nothing differs, nothing is moved. */
static void
judge_quiet(struct world *w)
{
	uint64_t before = moved(w);

	if (!converged(w) || remembers(w))
		return;
	run_for(w, 3 * w->o.repair_ms * MS);
	if (moved(w) == before)
		return;
	fprintf(stderr, "S9: %u rows moved between equal copies\n", (unsigned)(moved(w) - before));
	w->out.broken++;
}

/* What a node does not own any more goes, where rounds of forgetting need that. */
static void
judge_owners(struct world *w)
{
	const struct view *v = w->nodes[0].view;

	if (w->o.collect_ms > 10000 || remembers(w))
		return;
	for (unsigned k = 0; k < w->o.keys; k++) {
		struct buf *name = key_name(key_text(k));

		for (unsigned i = 0; i < w->all; i++) {
			const struct node *n = &w->nodes[i];

			if (view_owns(v, name_partition(buf_slice(name), PARTITIONS), &n->id) ||
			    disk_find(n->disk, DYN_SPACE_DATA, buf_slice(name)).len == 0)
				continue;
			fprintf(stderr, "%c still has k%u, of which it is no owner\n",
			    node_letter(&n->id), k);
			w->out.broken++;
		}
		buf_unref(name);
	}
}

/* Everything works again, for good; what differs, reads of all copies repair, or in
 * most runs the exchanges of trees alone. */
static void
heal(struct world *w)
{
	uint64_t until = w->now + HEAL_LIMIT;

	w->calm = true;
	for (unsigned i = 0; i < w->all; i++) {
		w->nodes[i].full_until = 0;
		disk_fail_reads(w->nodes[i].disk, NULL, 0);
	}
	tell(w, "calm");
	w->o.side = 0;
	memset(w->cut, 0, sizeof(w->cut));
	for (unsigned i = 0; i < w->all; i++) {
		if (!w->nodes[i].alive)
			node_start(w, &w->nodes[i]);
	}
	/* Those that pause go on in this time. */
	run_for(w, 10 * NS_PER_S);
	while (w->now < until) {
		for (unsigned k = 0; w->o.reads_repair && k < w->o.keys; k++) {
			const struct with how = { .n = (uint8_t)w->o.copies, .r = (uint8_t)w->o.copies, .w = (uint8_t)w->o.w, .lww = is_lww(w, k),
				.flags = DYN_STRICT };

			start_call(w, &w->nodes[below(w, w->all)], 0, OP_GET, k, &how, NULL);
		}
		run_for(w, 2 * NS_PER_S);
		w->settled |= agreed(w);
		if (converged(w))
			break;
	}
	if (!w->settled) {
		fprintf(stderr, "S14: no agreement on members and table %u s after all was healed\n",
		    (unsigned)(HEAL_LIMIT / NS_PER_S));
		w->out.broken++;
		return;
	}
	await_forgetting(w);
	judge_quiet(w);
	judge_owners(w);
	for (unsigned k = 0; k < w->o.keys; k++)
		for (unsigned i = 0; i < w->o.copies; i++) {
			struct node *owner;
			struct dyn_slice s = copy_of(w, w->nodes[0].view, k, i, &owner);
			struct buf *object = buf_copy(s.data, s.len);
			uint64_t ids[IDS_MAX];

			DEMAND(object != NULL);
			oracle_final(w->oracle, k, index_of(w, owner), ids, values_of(object, ids, IDS_MAX));
			buf_unref(object);
		}
	for (unsigned i = 0; i < w->all; i++)
		judge_trees(w, &w->nodes[i]);
	for (unsigned i = 0; i < w->all; i++)
		w->out.forgotten += forgotten_by(w, &w->nodes[i]);
	if (!converged(w)) {
		fprintf(stderr, "S7: copies differ %u s after all was healed\n", (unsigned)(HEAL_LIMIT / NS_PER_S));
		w->out.broken++;
	}
}

static void
world_free(struct world *w)
{
	while (w->count > 0)
		free_event(pop_event(w));
	for (unsigned i = 0; i < w->all; i++) {
		free_machines(&w->nodes[i]);
		view_unref(w->nodes[i].saved);
		disk_free(w->nodes[i].disk);
		forget_copy(&w->nodes[i]);
		for (unsigned j = 0; j < w->all; j++)
			for (unsigned t = 0; t < 2 * THREADS; t++) {
				struct pipe *p = &w->links[i][j][t / 2].pipe[t % 2];

				pipe_clear(p);
				free(p->frames);
			}
	}
	for (unsigned s = 0; s < SWARM_SESSIONS; s++)
		for (unsigned k = 0; k < SWARM_KEYS; k++) {
			clock_fini(&w->sessions[s].last[k].clock);
			clock_fini(&w->sessions[s].kept[k].clock);
		}
	while (w->calls != NULL) {
		struct call *next = w->calls->next;

		free(w->calls);
		w->calls = next;
	}
	oracle_free(w->oracle);
	view_unref(w->ring);
	free(w->heap);
	free(w);
}

/* All members at once, with one table. */
static struct view *
first_ring(const struct swarm *o)
{
	struct view *v = view_ring(o->nodes, o->copies, PARTITIONS), *next;

	for (unsigned i = 0; o->workers > 1 && i < o->nodes; i++) {
		struct record r = v->records[i];

		r.workers = (uint8_t)o->workers;
		r.stamp++;
		DEMAND(view_with(&next, v, &r) == 0);
		view_unref(v);
		v = next;
	}
	return v;
}

struct outcome
world_run(const struct swarm *o, uint64_t seed, bool trace)
{
	const struct oracle_options options = { .skew = UINT64_MAX };
	struct world *w = calloc(1, sizeof(*w));
	struct outcome out;
	size_t broken;

	DEMAND(w != NULL && o->nodes + o->joins <= NODES_MAX && o->workers <= WORKERS_MOST);
	w->o = *o;
	w->trace = trace;
	w->rng.state = mix64(seed ^ 0x5eed);
	w->now = NS_PER_S;
	w->oracle = oracle_new(&options);
	w->all = o->nodes + o->joins;
	w->threads = WORKER + o->workers;
	w->ring = first_ring(o);
	snprintf(w->seeds, sizeof(w->seeds), "%s,%s", w->ring->records[0].address,
	    w->ring->records[o->nodes - 1].address);
	for (unsigned i = 0; i < w->all; i++) {
		w->nodes[i].id = node_id((char)('a' + i));
		w->nodes[i].disk = disk_new();
		w->nodes[i].incarnation = 1;
		w->nodes[i].drift = 1000;
		if (o->drift > 0)
			w->nodes[i].drift += (unsigned)below(w, 2 * (uint64_t)o->drift + 1) - o->drift;
		if (i >= o->nodes) {
			add_event(w, EV_START, i, w->now + below(w, o->storm_ms * MS));
			continue;
		}
		w->nodes[i].saved = view_ref(w->ring);
		node_start(w, &w->nodes[i]);
	}
	/* A new directory is one from before everything. */
	w->loser = (unsigned)below(w, o->nodes);
	if (o->lose > 0) {
		copy_directory(&w->nodes[w->loser]);
		add_event(w, EV_LOSE, 0, w->now + (o->storm_ms / 4 + below(w, o->storm_ms / 2)) * MS);
	}
	if (o->lose == 2)
		add_event(w, EV_COPY, 0, w->now + below(w, o->storm_ms / 4) * MS);
	run_for(w, 2 * NS_PER_S);
	split_for_good(w);
	for (unsigned i = 0; i < o->sessions; i++)
		add_event(w, EV_CALL, i, w->now + below(w, o->op_gap_ms * MS));
	fault_again(w, EV_CRASH, o->crash_ms);
	fault_again(w, EV_BREAK, o->break_ms);
	fault_again(w, EV_SPLIT, o->split_ms);
	fault_again(w, EV_PAUSE, o->pause_ms);
	fault_again(w, EV_JUMP, o->jump_ms);
	fault_again(w, EV_FULL, o->full_ms);
	run_for(w, o->storm_ms * MS);
	heal(w);
	broken = oracle_judge(w->oracle);
	for (size_t i = 0; i < broken; i++)
		fprintf(stderr, "%s\n", oracle_violation(w->oracle, i).story);
	out = w->out;
	out.broken += (unsigned)broken;
	out.digest = w->digest;
	out.virtual_ns = w->now;
	world_free(w);
	return out;
}
