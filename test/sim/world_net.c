/* The heap of events, the letters, the network.  See world_private.h. */
#include "test/sim/world_private.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

uint64_t
world_below(struct world *w, uint64_t n)
{
	return rng_below(&w->rng, n);
}

bool
world_chance(struct world *w, unsigned in_thousand)
{
	return !w->calm && world_below(w, 1000) < in_thousand;
}

void
world_tell(struct world *w, const char *fmt, ...)
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

void
world_push_event(struct world *w, struct event *e)
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

struct event *
world_add_event(struct world *w, enum event_kind kind, unsigned node, uint64_t at)
{
	struct event *e = calloc(1, sizeof(*e));

	DEMAND(e != NULL);
	/* Of EV_CALL it is a session, of which there may be more than nodes. */
	*e = (struct event){ .at = at, .order = w->order++, .life = node < w->all ? w->nodes[node].life : 0,
		.kind = kind, .node = node };
	world_push_event(w, e);
	return e;
}

struct event *
world_pop_event(struct world *w)
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

void
world_free_event(struct event *e)
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

/* Letters as long as there are some: what is read in traces. */
struct dyn_id
world_id(unsigned i)
{
	struct dyn_id id = { { 0 } };

	id.bytes[6] = (unsigned char)(('a' + i) >> 8);
	id.bytes[7] = (unsigned char)('a' + i);
	return id;
}

const char *
world_name(const struct world *w, const struct node *n)
{
	static char text[4][16];
	static unsigned next;
	unsigned i = world_index_of(w, n);
	char *name = text[next++ % ARRAY_LEN(text)];

	if (i < 26)
		snprintf(name, sizeof(text[0]), "%c", 'a' + (int)i);
	else
		snprintf(name, sizeof(text[0]), "n%u", i);
	return name;
}

struct link *
world_link(const struct world *w, unsigned from, unsigned to, unsigned lane)
{
	return &w->links[((size_t)from * w->all + to) * w->lanes + lane];
}

bool *
world_cut(const struct world *w, unsigned from, unsigned to)
{
	return &w->cut[(size_t)from * w->all + to];
}

unsigned
world_lane(unsigned thread, unsigned worker)
{
	return thread < WORKER ? thread : WORKER + (thread - WORKER) * WORKERS_MOST + worker;
}

unsigned
world_lane_from(unsigned lane)
{
	return lane < WORKER ? lane : WORKER + (lane - WORKER) / WORKERS_MOST;
}

unsigned
world_lane_to(unsigned lane)
{
	return lane < WORKER ? lane : WORKER + (lane - WORKER) % WORKERS_MOST;
}

bool
world_has_lane(const struct world *w, unsigned from, unsigned to, unsigned lane)
{
	return from != to && !w->nodes[to].client && !(to == w->twin && w->nodes[to].gone) &&
	    !id_equal(&w->nodes[from].id, &w->nodes[to].id) &&
	    (lane != SYNC || !w->nodes[from].client) &&
	    world_lane_from(lane) < w->nodes[from].threads &&
	    world_lane_to(lane) < w->nodes[to].threads;
}

unsigned
world_worker(const struct node *n, unsigned partition)
{
	return partition % n->workers;
}

static struct node *
node_at(struct world *w, const char *address)
{
	unsigned i = (unsigned)atoi(strchr(address, ':') + 1) - 7000 - 'a';

	DEMAND(i < w->all);
	return &w->nodes[i];
}

unsigned
world_index_of(const struct world *w, const struct node *n)
{
	return (unsigned)(n - w->nodes);
}

struct node *
world_node_of(struct world *w, const struct dyn_id *id)
{
	unsigned i = (unsigned)(id->bytes[6] << 8 | id->bytes[7]) - 'a';

	if (w->twin != NODES_MAX && i == w->loser && w->nodes[i].gone && !w->nodes[w->twin].gone)
		i = w->twin;
	return &w->nodes[i];
}

struct node *
world_peer_of(struct world *w, const struct node *n, const struct dyn_id *id)
{
	const struct record *r = w->twin != NODES_MAX && n->view != NULL &&
	    id_equal(id, &w->nodes[w->twin].id) ? view_find(n->view, id) : NULL;

	return r != NULL ? node_at(w, r->address) : world_node_of(w, id);
}

void
world_readdress(struct world *w, const struct node *n)
{
	const unsigned both[2] = { w->loser, w->twin };
	unsigned from = world_index_of(w, n);

	if (w->twin == NODES_MAX || id_equal(&n->id, &w->nodes[w->twin].id))
		return;
	for (unsigned i = 0; i < 2; i++)
		for (unsigned lane = 0; lane < w->lanes; lane++) {
			struct node *to = &w->nodes[both[i]];
			struct link *l = world_link(w, from, both[i], lane);

			if (world_peer_of(w, n, &to->id) == to) {
				world_dial_later(w, from, both[i], lane);
				continue;
			}
			l->half = false; /* or it would be noticed later */
			world_break_link(w, from, both[i], lane, 0);
		}
}

/* What the node's own clocks say. */
struct moment
world_moment_of(const struct world *w, const struct node *n)
{
	uint64_t now = w->now * n->drift / 1000;

	return (struct moment){ now, (uint64_t)((int64_t)(1700000000000 + now / MS) + n->skew_ms) };
}

/* When its clock will say so. */
uint64_t
world_true_time(const struct node *n, uint64_t at)
{
	return at > UINT64_MAX / 1000 ? TIME_NEVER : (at * 1000 + n->drift - 1) / n->drift;
}

bool
world_due(const struct world *w, const struct node *n, uint64_t at)
{
	return at <= world_moment_of(w, n).now;
}

/* A letter to a thread of the same node; each mailbox keeps its order. */
struct event *
world_post(struct world *w, struct node *n, unsigned to, enum letter_kind kind, void *what, int rc,
    const struct dyn_id *id)
{
	uint64_t at = w->now + 1 + world_below(w, w->o.mailbox_us * NS_PER_US);
	struct event *e;

	n->mail_last[to] = at = MAX(at, n->mail_last[to] + 1);
	e = world_add_event(w, EV_LETTER, world_index_of(w, n), at);
	e->lane = to;
	e->letter = kind;
	e->what = what;
	e->rc = rc;
	if (id != NULL)
		e->id = *id;
	return e;
}

/* ---------------------------------------------------------------- network */

void
world_pipe_clear(struct pipe *p)
{
	for (size_t i = 0; i < p->count; i++)
		buf_unref(p->frames[i]);
	p->count = 0;
}

static void
pipe_add(struct world *w, unsigned from, unsigned to, unsigned lane, bool back, struct buf *frame)
{
	struct link *l = world_link(w, from, to, lane);
	struct pipe *p = &l->pipe[back];
	struct event *e;
	uint64_t at;

	if (l->half)
		return;
	w->gossip += lane == GOSSIP ? frame->len : 0;
	if (p->count == p->cap) {
		p->cap = p->cap == 0 ? 8 : p->cap * 2;
		p->frames = realloc(p->frames, p->cap * sizeof(*p->frames));
		DEMAND(p->frames != NULL);
	}
	p->frames[p->count++] = buf_ref(frame);
	at = w->now + (50 + world_below(w, 1000)) * NS_PER_US;
	if (world_chance(w, w->o.slow_frame))
		at += world_below(w, w->o.hang_ms + 1) * MS;
	p->last = MAX(p->last + 1, at);
	e = world_add_event(w, EV_DELIVER, back ? from : to, p->last);
	e->other = back ? to : from;
	e->lane = lane;
	e->back = back;
	e->epoch = l->epoch;
}

/* It breaks: who dialled hears of it, now or when it would have noticed. */
void
world_break_link(struct world *w, unsigned from, unsigned to, unsigned lane, uint64_t noticed)
{
	struct link *l = world_link(w, from, to, lane);
	struct event *e;

	if (!l->up || l->half)
		return;
	l->epoch++;
	l->half = true;
	world_pipe_clear(&l->pipe[0]);
	world_pipe_clear(&l->pipe[1]);
	e = world_add_event(w, EV_LOST, from, w->now + noticed);
	e->other = to;
	e->lane = lane;
	e->epoch = l->epoch;
}

void
world_dial_later(struct world *w, unsigned from, unsigned to, unsigned lane)
{
	struct link *l = world_link(w, from, to, lane);
	struct event *e;

	if (l->dialling || l->up || !world_has_lane(w, from, to, lane))
		return;
	l->dialling = true;
	e = world_add_event(w, EV_DIAL, from, w->now + (5 + world_below(w, 200)) * MS);
	e->other = to;
	e->lane = lane;
}

void
world_dial(struct world *w, struct event *e)
{
	struct link *l = world_link(w, e->node, e->other, e->lane);
	struct node *n = &w->nodes[e->node], *to = &w->nodes[e->other];

	l->dialling = false;
	if (!n->alive || l->up)
		return;
	if (world_peer_of(w, n, &to->id) != to)
		return;
	if (!to->alive && e->lane == GOSSIP) {
		detect_refused(n->detect, &to->id, world_moment_of(w, n), &n->out[GOSSIP]);
		world_carry_out(w, n);
	}
	if (!to->alive || *world_cut(w, e->node, e->other) || *world_cut(w, e->other, e->node) ||
	    to->paused_until > w->now) {
		world_dial_later(w, e->node, e->other, e->lane);
		return;
	}
	l->up = true;
	l->used = l->half = false;
	l->epoch++;
	if (e->lane >= WORKER)
		work_peer_up(n->work[world_lane_from(e->lane) - WORKER], &to->id,
		    world_lane_to(e->lane) - WORKER);
	else if (e->lane == GOSSIP)
		detect_answered(n->detect, &to->id, world_moment_of(w, n), &n->out[GOSSIP]);
	world_carry_out(w, n);
}

static void
unreachable(struct world *w, struct node *n, const struct dyn_id *id, const char *address)
{
	if (!id_is_zero(id))
		detect_lost(n->detect, id, world_moment_of(w, n), &n->out[GOSSIP]);
	member_unreachable(n->member, id, address, DYN_EIO, world_moment_of(w, n), &n->out[GOSSIP]);
}

void
world_link_lost(struct world *w, struct event *e)
{
	struct link *l = world_link(w, e->node, e->other, e->lane);
	struct node *n = &w->nodes[e->node], *to = &w->nodes[e->other];

	if (!n->alive || !l->up || l->epoch != e->epoch)
		return;
	l->up = l->half = false;
	if (e->lane >= WORKER)
		work_peer_down(n->work[world_lane_from(e->lane) - WORKER], &to->id,
		    world_lane_to(e->lane) - WORKER, !l->used, world_moment_of(w, n),
		    &n->out[world_lane_from(e->lane)]);
	else if (e->lane == SYNC)
		sync_lost(n->sync, &to->id, world_moment_of(w, n), &n->out[SYNC]);
	else
		unreachable(w, n, &to->id, NULL);
	world_dial_later(w, e->node, e->other, e->lane);
	world_carry_out(w, n);
}

void
world_send_frame(struct world *w, struct node *n, unsigned thread, struct effect *e)
{
	unsigned lane = world_lane(thread, e->worker);
	struct node *to;
	struct link *l;
	struct frame f;

	if (id_is_zero(&e->to) && e->address == NULL)
		return;
	to = id_is_zero(&e->to) ? node_at(w, e->address) : world_peer_of(w, n, &e->to);
	l = world_link(w, world_index_of(w, n), world_index_of(w, to), lane);
	DEMAND(frame_decode(&f, buf_slice(e->frame)) == 0);
	if (l->up) {
		l->used = true;
		pipe_add(w, world_index_of(w, n), world_index_of(w, to), lane, false, e->frame);
	} else if (lane == SYNC) {
		sync_lost(n->sync, &e->to, world_moment_of(w, n), &n->out[SYNC]);
	} else if (lane == GOSSIP) {
		unreachable(w, n, &e->to, e->address);
	} else if (f.request != 0) {
		work_send_failed(n->work[thread - WORKER], &e->to, f.request, world_moment_of(w, n),
		    &n->out[thread]);
	}
}

/* The token of a connection: who dialled it (12 bits), by which lane (4), and which
 * one of them. */
void
world_send_reply(struct world *w, struct node *n, struct effect *e)
{
	unsigned from = (unsigned)(e->conn & 0xfff) - 1, lane = (unsigned)(e->conn >> 12 & 0xf);

	if (world_link(w, from, world_index_of(w, n), lane)->epoch == e->conn >> 16)
		pipe_add(w, from, world_index_of(w, n), lane, true, e->frame);
}

static void
frame_came(struct world *w, struct event *e, struct buf *frame)
{
	struct node *n = &w->nodes[e->node], *from = &w->nodes[e->other];
	unsigned thread = e->back ? world_lane_from(e->lane) : world_lane_to(e->lane);
	uint64_t conn = e->epoch << 16 | e->lane << 12 | (e->other + 1);
	static const struct dyn_id stranger;
	const struct dyn_id *id = from->client ? &stranger : &from->id;
	struct moment m = world_moment_of(w, n);
	struct frame f;
	union msg msg;

	DEMAND(frame_decode(&f, buf_slice(frame)) == 0);
	w->digest = mix64(w->digest ^ f.kind);
	if (thread >= WORKER) {
		DEMAND(work_frame(n->work[thread - WORKER], id, conn, &f, m, &n->out[thread]) == 0);
	} else if (thread == SYNC) {
		DEMAND(sync_frame(n->sync, id, conn, &f, m, &n->out[SYNC]) == 0);
	} else {
		DEMAND(msg_decode(f.kind, f.body, &msg) == 0);
		detect_frame(n->detect, id, conn, &f, &msg, m, &n->out[GOSSIP]);
		DEMAND(member_frame(n->member, id, conn, &f, &msg, m, &n->out[GOSSIP]) == 0);
		if (f.kind == MSG_GOSSIP_ACK)
			detect_answered(n->detect, id, m, &n->out[GOSSIP]);
	}
	world_carry_out(w, n);
}

void
world_deliver(struct world *w, struct event *e)
{
	unsigned i = e->back ? e->node : e->other, j = e->back ? e->other : e->node;
	struct link *l = world_link(w, i, j, e->lane);
	struct pipe *p = &l->pipe[e->back];
	struct buf *frame;

	if (l->epoch != e->epoch || !w->nodes[e->node].alive || p->count == 0)
		return;
	if (*world_cut(w, e->other, e->node)) {
		struct event *again = world_add_event(w, EV_DELIVER, e->node, w->now + 20 * MS);

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
