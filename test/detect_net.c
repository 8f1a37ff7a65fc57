/*
 * A heap of events.  Of each direction of a connection only the first frame has an
 * event: when it gets through, all that were sent behind it are there too.
 */
#include "test/detect_net.h"

#include <stdlib.h>

#define MS NS_PER_MS
#define RTO_FIRST (200 * MS)
#define RTO_MOST (30 * NS_PER_S)
#define SYN_FIRST (1 * NS_PER_S)
#define DIAL_PATIENCE (5 * NS_PER_S)
#define QUEUE_MAX 512

enum what { HEAD, DIALLED, WAKE };

struct happening {
	uint64_t at, order, epoch;
	enum what what;
	unsigned from, to;
	bool back;
};

struct direction {
	struct buf *frames[QUEUE_MAX];
	unsigned count;
	uint64_t rto;
};

/* Of who dialled. */
struct line {
	bool up, dialling;
	uint64_t epoch, rto, since;
	struct direction way[2];
};

struct peer_node {
	struct detect *d;
	struct outbox out;
	bool alive, paused;
	uint64_t wake_set, life, resumed_at;
};

struct net {
	unsigned nodes, loss_ppm, accusations, frames;
	struct view *view;
	struct peer_node node[NET_NODES];
	struct line line[NET_NODES][NET_NODES];
	bool cut[NET_NODES][NET_NODES];
	struct happening *heap;
	size_t count, cap;
	uint64_t now, order;
	struct rng rng;
};

static void carry_out(struct net *, unsigned i);

static bool
before(const struct happening *a, const struct happening *b)
{
	return a->at != b->at ? a->at < b->at : a->order < b->order;
}

static void
happen(struct net *n, const struct happening *h)
{
	struct happening x = *h;
	size_t i;

	if (n->count + 2 > n->cap) {
		n->cap = n->cap == 0 ? 256 : 2 * n->cap;
		n->heap = realloc(n->heap, n->cap * sizeof(*n->heap));
		MUST(n->heap != NULL);
	}
	x.order = n->order++;
	for (i = ++n->count; i > 1 && before(&x, &n->heap[i / 2]); i /= 2)
		n->heap[i] = n->heap[i / 2];
	n->heap[i] = x;
}

static struct happening
next_happening(struct net *n)
{
	struct happening first = n->heap[1], last = n->heap[n->count--];
	size_t i = 1, child;

	for (; (child = 2 * i) <= n->count; i = child) {
		if (child < n->count && before(&n->heap[child + 1], &n->heap[child]))
			child++;
		if (!before(&n->heap[child], &last))
			break;
		n->heap[i] = n->heap[child];
	}
	n->heap[i] = last;
	return first;
}

static struct moment
moment_of(const struct net *n)
{
	return (struct moment){ n->now, 1700000000000 + n->now / MS };
}

static uint64_t
trip(struct net *n)
{
	return 100 * NS_PER_US + rng_below(&n->rng, 2000) * NS_PER_US;
}

static bool
gets_through(struct net *n, unsigned from, unsigned to)
{
	return !n->cut[from][to] && rng_below(&n->rng, 1000000) >= n->loss_ppm;
}

/* -------------------------------------------------------------- connections */

static void
empty(struct direction *d)
{
	for (unsigned i = 0; i < d->count; i++)
		buf_unref(d->frames[i]);
	d->count = 0;
}

static void
put(struct net *n, unsigned from, unsigned to, bool back, struct buf *frame)
{
	struct line *l = &n->line[from][to];
	struct direction *d = &l->way[back];

	n->frames++;
	if (d->count == QUEUE_MAX)
		return; /* what is said over and over is not missed */
	d->frames[d->count++] = buf_ref(frame);
	if (d->count > 1 || !l->up)
		return;
	d->rto = RTO_FIRST;
	happen(n, &(struct happening){ .at = n->now + trip(n), .epoch = l->epoch, .what = HEAD,
		.from = from, .to = to, .back = back });
}

static void
hang_up(struct net *n, unsigned from, unsigned to)
{
	struct line *l = &n->line[from][to];

	(void)n;
	l->epoch++;
	l->up = l->dialling = false;
	empty(&l->way[0]);
	empty(&l->way[1]);
}

static void
dial(struct net *n, unsigned from, unsigned to)
{
	struct line *l = &n->line[from][to];

	l->epoch++;
	l->dialling = true;
	l->rto = SYN_FIRST;
	l->since = n->now;
	happen(n, &(struct happening){ .at = n->now + 2 * trip(n), .epoch = l->epoch,
		.what = DIALLED, .from = from, .to = to });
}

static void
dialled(struct net *n, const struct happening *h)
{
	struct line *l = &n->line[h->from][h->to];
	struct detect *d = n->node[h->from].d;
	struct dyn_id to = node_id((char)('a' + h->to));
	struct happening again = *h;

	/* The kernel of a stopped process takes the SYN, but nobody says WELCOME. */
	if (n->node[h->to].paused || !gets_through(n, h->from, h->to) ||
	    !gets_through(n, h->to, h->from)) {
		if (n->now > l->since + DIAL_PATIENCE) {
			hang_up(n, h->from, h->to);
			detect_lost(d, &to, moment_of(n), &n->node[h->from].out);
			return;
		}
		again.at += n->node[h->to].paused ? 10 * MS : l->rto;
		l->rto *= 2;
		happen(n, &again);
		return;
	}
	if (!n->node[h->to].alive) {
		hang_up(n, h->from, h->to);
		detect_refused(d, &to, moment_of(n), &n->node[h->from].out);
		return;
	}
	l->dialling = false;
	l->up = true;
	detect_answered(d, &to, moment_of(n), &n->node[h->from].out);
	if (l->way[0].count > 0) {
		l->way[0].rto = RTO_FIRST;
		happen(n, &(struct happening){ .at = n->now + trip(n), .epoch = l->epoch,
			.what = HEAD, .from = h->from, .to = h->to });
	}
}

static void
arrive(struct net *n, unsigned at, unsigned from, uint64_t conn, struct buf *bytes)
{
	struct dyn_id id = node_id((char)('a' + from));
	struct frame f;
	union msg m;

	MUST(frame_decode(&f, buf_slice(bytes)) == 0);
	MUST(msg_decode(f.kind, f.body, &m) == 0);
	detect_frame(n->node[at].d, &id, conn, &f, &m, moment_of(n), &n->node[at].out);
	carry_out(n, at);
}

static void
head(struct net *n, const struct happening *h)
{
	struct line *l = &n->line[h->from][h->to];
	struct direction *d = &l->way[h->back];
	unsigned from = h->back ? h->to : h->from, to = h->back ? h->from : h->to;
	uint64_t conn = l->epoch << 8 | (h->from + 1);
	struct happening again = *h;
	struct buf *frames[QUEUE_MAX];
	unsigned count = d->count;

	/* It lies in the socket's buffer; after a pause timers come first. */
	if (n->node[to].paused || n->now < n->node[to].resumed_at + 5 * MS) {
		again.at += 5 * MS;
		happen(n, &again);
		return;
	}
	if (!gets_through(n, from, to)) {
		again.at += d->rto;
		d->rto = MIN(2 * d->rto, RTO_MOST);
		happen(n, &again);
		return;
	}
	memcpy(frames, d->frames, count * sizeof(*frames));
	d->count = 0;
	for (unsigned i = 0; i < count; i++) {
		if (n->node[to].alive)
			arrive(n, to, from, conn, frames[i]);
		buf_unref(frames[i]);
	}
}

/* ----------------------------------------------------------------- effects */

static unsigned
index_of(const struct dyn_id *id)
{
	return (unsigned)(node_letter(id) - 'a');
}

static void
effect(struct net *n, unsigned i, const struct effect *e)
{
	unsigned to = e->kind == FX_REPLY || e->kind == FX_LOG ? 0 : index_of(&e->to);

	switch (e->kind) {
	case FX_SEND:
		if (!n->line[i][to].up && !n->line[i][to].dialling)
			dial(n, i, to);
		put(n, i, to, false, e->frame);
		break;
	case FX_REPLY:
		to = (unsigned)(e->conn & 0xff) - 1;
		if (n->line[to][i].epoch == e->conn >> 8 && n->line[to][i].up)
			put(n, to, i, true, e->frame);
		break;
	case FX_RESET:
		if (n->line[i][to].up || n->line[i][to].dialling)
			hang_up(n, i, to);
		break;
	case FX_LIVENESS:
		n->accusations += e->rc == DYN_SUSPECT;
		break;
	case FX_LOG:
		break;
	default:
		ck_abort_msg("not an effect of a detector: %d", e->kind);
	}
}

static void
carry_out(struct net *n, unsigned i)
{
	struct peer_node *p = &n->node[i];
	uint64_t wake;

	for (size_t k = 0; k < p->out.count; k++) {
		struct effect e = p->out.list[k];

		memset(&p->out.list[k], 0, sizeof(e));
		effect(n, i, &e);
		effect_drop(&e);
	}
	p->out.count = 0;
	wake = MAX(detect_wake(p->d), n->now + 1);
	if (p->wake_set <= wake && p->wake_set > n->now)
		return;
	p->wake_set = wake;
	happen(n, &(struct happening){ .at = wake, .epoch = p->life, .what = WAKE, .from = i });
}

static void
wake_up(struct net *n, const struct happening *h)
{
	struct peer_node *p = &n->node[h->from];

	if (!p->alive || p->life != h->epoch)
		return;
	p->wake_set = 0;
	if (!p->paused && detect_wake(p->d) <= n->now)
		detect_tick(p->d, moment_of(n), &p->out);
	if (!p->paused)
		carry_out(n, h->from);
}

/* ------------------------------------------------------------------ the ring */

static void
start(struct net *n, unsigned i)
{
	struct detect_options o = { .self = node_id((char)('a' + i)), .seed = rng_next(&n->rng) };
	struct peer_node *p = &n->node[i];

	p->alive = true;
	p->paused = false;
	p->life++;
	p->wake_set = 0;
	outbox_init(&p->out);
	MUST(detect_new(&p->d, &o, moment_of(n)) == 0);
	detect_view(p->d, n->view, moment_of(n), &p->out);
	carry_out(n, i);
}

struct net *
net_watch_new(unsigned nodes, uint64_t seed)
{
	struct net *n = calloc(1, sizeof(*n));

	MUST(n != NULL && nodes <= NET_NODES);
	n->nodes = nodes;
	n->now = NS_PER_S;
	n->rng.state = seed;
	n->view = view_ring(nodes, MIN(nodes, 3), 16);
	for (unsigned i = 0; i < nodes; i++)
		start(n, i);
	return n;
}

static void
stop(struct net *n, unsigned i)
{
	n->node[i].alive = false;
	outbox_fini(&n->node[i].out);
	detect_free(n->node[i].d);
	n->node[i].d = NULL;
}

void
net_watch_free(struct net *n)
{
	for (unsigned i = 0; i < n->nodes; i++) {
		if (n->node[i].alive)
			stop(n, i);
		for (unsigned j = 0; j < n->nodes; j++)
			hang_up(n, i, j);
	}
	view_unref(n->view);
	free(n->heap);
	free(n);
}

void
net_watch_run(struct net *n, uint64_t ms)
{
	uint64_t until = n->now + ms * MS;

	while (n->count > 0 && n->heap[1].at <= until) {
		struct happening h = next_happening(n);

		n->now = h.at;
		if (h.what == WAKE) {
			wake_up(n, &h);
		} else if (n->line[h.from][h.to].epoch == h.epoch) {
			if (h.what == HEAD)
				head(n, &h);
			else if (n->node[h.from].alive)
				dialled(n, &h);
			if (n->node[h.from].alive)
				carry_out(n, h.from);
		}
	}
	n->now = until;
}

uint64_t
net_watch_now(const struct net *n)
{
	return n->now / MS;
}

void
net_watch_loss(struct net *n, unsigned ppm)
{
	n->loss_ppm = ppm;
}

void
net_watch_cut(struct net *n, char from, char to, bool cut)
{
	n->cut[from - 'a'][to - 'a'] = cut;
}

void
net_watch_pause(struct net *n, char who, bool pause)
{
	unsigned i = (unsigned)(who - 'a');

	n->node[i].paused = pause;
	n->node[i].resumed_at = n->now;
	if (!pause)
		happen(n, &(struct happening){ .at = n->now + 1, .epoch = n->node[i].life,
			.what = WAKE, .from = i });
}

void
net_watch_kill(struct net *n, char who)
{
	unsigned i = (unsigned)(who - 'a');
	struct dyn_id id = node_id(who);

	stop(n, i);
	for (unsigned j = 0; j < n->nodes; j++) {
		hang_up(n, i, j);
		if (!n->line[j][i].up)
			continue;
		hang_up(n, j, i);
		if (n->node[j].alive) {
			detect_lost(n->node[j].d, &id, moment_of(n), &n->node[j].out);
			carry_out(n, j);
		}
	}
}

void
net_watch_start(struct net *n, char who)
{
	start(n, (unsigned)(who - 'a'));
}

void
net_watch_doubt(struct net *n, char who, char whom)
{
	unsigned i = (unsigned)(who - 'a');
	struct dyn_id id = node_id(whom);

	detect_doubt(n->node[i].d, &id, moment_of(n), &n->node[i].out);
	carry_out(n, i);
}

enum dyn_liveness
net_watch_thinks(const struct net *n, char who, char of)
{
	struct dyn_id id = node_id(of);

	return detect_liveness(n->node[who - 'a'].d, &id);
}

unsigned
net_watch_accusations(const struct net *n)
{
	return n->accusations;
}

unsigned
net_watch_frames(const struct net *n)
{
	return n->frames;
}
