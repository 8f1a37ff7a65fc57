/* The worker thread: events in, effects carried out. */
#include "host/worker.h"

#include <semaphore.h>

#include "core/rows.h"
#include "host/gossip.h"
#include "host/status.h"
#include "host/storage.h"
#include "host/syncer.h"

#define FIGURES_PERIOD (50 * NS_PER_MS)
#define POKE_PERIOD (20 * NS_PER_MS)
#define READ_ERROR_GAP (1 * NS_PER_S)
#define BYE_GRACE (30 * NS_PER_MS) /* what was sent before BYE was heard comes in it */

struct away {
	struct dyn_id id;
	bool down; /* no connection */
	enum dyn_liveness liveness;
};

struct worker {
	struct host *host;
	struct loop loop;
	struct work *work;
	struct links links;
	struct outbox out;
	uint64_t poked_at;
	unsigned index;
	bool closing;
	bool drained;        /* said so */
	bool figures_old;
	atomic_bool hints_full; /* what full_bell is about */
	size_t left;         /* requests when the time was over */
	uint64_t close_until;
	uint64_t close_from; /* not before: see BYE_GRACE; 0 = BYE is not said yet */
	sem_t closed;        /* everything has ended; the thread may stop */
	struct bell view_bell, fail_bell, lost_bell, catching_bell, full_bell;
	struct buf *catching; /* what catching_bell is about; under lock */
	struct list asks;    /* struct status_ask */
	uint64_t next_ask;
	uint64_t figures_at;
	uint64_t read_error_at; /* when the next may be logged */
	pthread_mutex_t lock; /* of figures, away, catching */
	struct worker_figures figures;
	struct away *away;    /* members with whom something is wrong */
	size_t away_count, away_cap;
};

static void turn(void *arg);
static int on_frame(void *arg, const struct dyn_id *, uint64_t conn, const struct frame *);
static void on_up(void *arg, const struct dyn_id *, unsigned worker);
static void on_leaving(void *arg, const struct dyn_id *, unsigned worker);
static void on_down(void *arg, const struct dyn_id *, unsigned worker, const char *address,
    int rc, bool sure);

static void view_heard(struct bell *);
static void fail_heard(struct bell *);
static void lost_heard(struct bell *);
static void catching_heard(struct bell *);
static void full_heard(struct bell *);

static const struct links_events link_events = { on_frame, on_up, on_leaving, on_down };

int
worker_new(struct worker **out, struct host *host, unsigned index, uint64_t seed)
{
	struct work_options o = {
		.self = host->self,
		.client = host->role == DYN_CLIENT,
		.location = host->location,
		.engine = host->engine,
		.actor = host->actor,
		.standin = host->standin,
		.actor_kept = host->actor_kept,
		.index = index,
		.workers = host->workers_count,
		.siblings_max = host->siblings_max,
		.skew_max_ms = host->skew_max_ms,
		.bytes_max = host->memory_max / host->workers_count,
		.seed = seed,
	};
	struct worker *w = mem_zalloc(sizeof(*w));
	int rc;

	*out = NULL;
	if (w == NULL)
		return DYN_ENOMEM;
	w->host = host;
	w->index = index;
	list_init(&w->asks);
	bell_init(&w->view_bell, view_heard);
	bell_init(&w->fail_bell, fail_heard);
	bell_init(&w->lost_bell, lost_heard);
	bell_init(&w->catching_bell, catching_heard);
	bell_init(&w->full_bell, full_heard);
	outbox_init(&w->out);
	pthread_mutex_init(&w->lock, NULL);
	rc = loop_init(&w->loop, "dyn-worker", turn, w);
	if (rc != 0)
		goto fail_loop;
	rc = links_init(&w->links, host, &w->loop, PURPOSE_DATA, true, &link_events, w);
	if (rc != 0)
		goto fail_links;
	rc = work_new(&w->work, &o);
	if (rc != 0)
		goto fail_work;
	w->figures.incarnation = host->actor.incarnation;
	sem_init(&w->closed, 0, 0);
	*out = w;
	return 0;
fail_work:
	links_fini(&w->links);
fail_links:
	loop_fini(&w->loop);
fail_loop:
	outbox_fini(&w->out);
	pthread_mutex_destroy(&w->lock);
	mem_free(w);
	return rc;
}

int
worker_start(struct worker *w)
{
	return loop_start(&w->loop);
}

void
worker_free(struct worker *w)
{
	if (w == NULL)
		return;
	loop_fini(&w->loop);
	links_fini(&w->links);
	work_free(w->work);
	host_outbox_fini(&w->out);
	buf_unref(w->catching);
	sem_destroy(&w->closed);
	pthread_mutex_destroy(&w->lock);
	mem_free(w->away);
	mem_free(w);
}

struct loop *
worker_loop(struct worker *w)
{
	return &w->loop;
}

struct links *
worker_links(struct worker *w)
{
	return &w->links;
}

/* ------------------------------------------------------------ connections */

static void
answer_status(struct worker *w, uint64_t conn, const struct frame *f)
{
	struct frame head = { .request = f->request };
	struct buf *frame;

	if (status_frame(w->host, &head, &frame) == 0)
		links_reply(&w->links, conn, frame);
}

static void
end_ask(struct status_ask *a, int rc)
{
	list_remove(&a->link);
	a->rc = rc;
	a->done(a);
}

static int
status_came(struct worker *w, const struct frame *f)
{
	union msg m;
	int rc = msg_decode(f->kind, f->body, &m);

	if (rc != 0)
		return rc;
	LIST_EACH_SAFE(l, next, &w->asks) {
		struct status_ask *a = CONTAINER_OF(l, struct status_ask, link);

		if (a->number != f->request)
			continue;
		a->status = buf_copy(m.status_ack.status.data, m.status_ack.status.len);
		a->stats = buf_copy(m.status_ack.stats.data, m.status_ack.stats.len);
		end_ask(a, a->status != NULL && a->stats != NULL ? 0 : DYN_ENOMEM);
	}
	return 0;
}

static int
on_frame(void *arg, const struct dyn_id *from, uint64_t conn, const struct frame *f)
{
	struct worker *w = arg;

	if (f->kind == MSG_STATUS) {
		answer_status(w, conn, f);
		return 0;
	}
	if (f->kind == MSG_STATUS_ACK)
		return status_came(w, f);
	w->figures_old = true;
	return work_frame(w->work, from, conn, f, host_moment(&w->loop), &w->out);
}

static size_t
away_find(const struct worker *w, const struct dyn_id *id)
{
	size_t i = 0;

	while (i < w->away_count && !id_equal(&w->away[i].id, id))
		i++;
	return i;
}

/* Only a display: without memory the member is shown as reachable. */
static void
away_set(struct worker *w, const struct away *a)
{
	size_t i = away_find(w, &a->id);

	if (!a->down && a->liveness == DYN_LIVE) {
		if (i < w->away_count)
			w->away[i] = w->away[--w->away_count];
		return;
	}
	if (i == w->away_cap) {
		void *p = mem_realloc(w->away, (2 * i + 4) * sizeof(*w->away));

		if (p == NULL)
			return;
		w->away = p;
		w->away_cap = 2 * i + 4;
	}
	w->away_count = MAX(w->away_count, i + 1);
	w->away[i] = *a;
}

static struct away
away_get(const struct worker *w, const struct dyn_id *id)
{
	size_t i = away_find(w, id);

	return i < w->away_count ? w->away[i] : (struct away){ .id = *id };
}

static void
down_set(struct worker *w, const struct dyn_id *id, bool down)
{
	struct away a;

	pthread_mutex_lock(&w->lock);
	a = away_get(w, id);
	a.down = down;
	away_set(w, &a);
	pthread_mutex_unlock(&w->lock);
}

static void
on_up(void *arg, const struct dyn_id *id, unsigned worker)
{
	struct worker *w = arg;

	work_peer_up(w->work, id, worker);
	down_set(w, id, false);
}

static void
on_leaving(void *arg, const struct dyn_id *id, unsigned worker)
{
	struct worker *w = arg;

	work_peer_leaving(w->work, id, worker);
}

static void
on_down(void *arg, const struct dyn_id *id, unsigned worker, const char *address, int rc,
    bool sure)
{
	struct worker *w = arg;

	(void)address;
	(void)rc;
	work_peer_down(w->work, id, worker, sure, host_moment(&w->loop), &w->out);
	down_set(w, id, true);
	LIST_EACH_SAFE(l, next, &w->asks) {
		struct status_ask *a = CONTAINER_OF(l, struct status_ask, link);

		if (id_equal(&a->to, id))
			end_ask(a, DYN_EQUORUM);
	}
}

/* ------------------------------------------------------------------ effects */

static void
send_effect(struct worker *w, struct effect *e)
{
	/* Before the frame is given away: whom to tell if it does not go. */
	struct rd r = rd_from(slice(e->frame->data + 8, 8));
	uint64_t request = rd_u64(&r);

	if (links_send(&w->links, &e->to, e->worker, NULL, e->frame) == 0)
		e->frame = NULL;
	else if (request != 0)
		work_send_failed(w->work, &e->to, request, host_moment(&w->loop), &w->out);
}

static void
poke_effect(struct worker *w, const struct dyn_id *to)
{
	/* Every frame of a busy peer would say the same. */
	if (w->host->gossip == NULL || w->loop.now < w->poked_at + POKE_PERIOD)
		return;
	w->poked_at = w->loop.now;
	gossip_poke(w->host->gossip, to);
}

static void
carry_out(struct worker *w, struct effect *e)
{
	int rc;

	switch (e->kind) {
	case FX_SEND:
		send_effect(w, e);
		break;
	case FX_REPLY:
		links_reply(&w->links, e->conn, e->frame);
		e->frame = NULL;
		break;
	case FX_COMMIT:
		rc = storage_commit(w->host->storage, w, w->index, e->what);
		if (rc != 0)
			work_committed(w->work, e->what, rc, host_moment(&w->loop), &w->out);
		break;
	case FX_DONE:
		w->host->done(w->host->done_arg, e->what);
		break;
	case FX_POKE:
		poke_effect(w, &e->to);
		break;
	case FX_DOUBT:
		if (w->host->gossip != NULL)
			gossip_doubt(w->host->gossip, &e->to);
		links_probe(&w->links, &e->to);
		break;
	case FX_LOG:
		host_log(w->host, (enum dyn_log_level)e->rc, "%.*s", (int)e->frame->len,
		    (const char *)e->frame->data);
		break;
	case FX_FENCED:
		syncer_fenced(w->host->syncer, e->what, e->rc);
		break;
	case FX_STORED:
		syncer_stored(w->host->syncer, e->what, e->rc);
		break;
	case FX_CHANGED:
		if (w->host->syncer != NULL) {
			syncer_changed(w->host->syncer, e->what);
			e->what = NULL;
		}
		break;
	case FX_DAMAGED:
		if (w->host->syncer != NULL)
			syncer_damaged(w->host->syncer, (unsigned)e->rc);
		break;
	case FX_VIEW:
	case FX_FAIL:
	case FX_ROWS:
	case FX_SYNCED:
	case FX_LEDGER:
	case FX_META:
	case FX_HINTS_FULL:
	case FX_CATCHING:
	case FX_LIVENESS:
	case FX_LOST:
	case FX_MARKED:
	case FX_RESET:
	case FX_COLLECT:
	case FX_STALE:
	case FX_CLEARED:
		DYN_ASSERT(false); /* not an effect of a worker */
		break;
	}
}

static void
carry_out_all(struct worker *w)
{
	struct effect e;

	while (outbox_next(&w->out, &e)) {
		carry_out(w, &e);
		effect_drop(&e);
	}
}

static void
publish_figures(struct worker *w)
{
	if (!w->figures_old)
		return;
	if (w->loop.now < w->figures_at + FIGURES_PERIOD)
		return;
	pthread_mutex_lock(&w->lock);
	w->figures.work = *work_stats(w->work);
	w->figures.bytes = work_bytes(w->work);
	w->figures.unwritten = work_unwritten(w->work);
	w->figures.skewed = work_skewed(w->work);
	w->figures.requests = work_requests(w->work);
	w->figures.incarnation = work_incarnation(w->work);
	w->figures.forgot = work_forgot(w->work);
	pthread_mutex_unlock(&w->lock);
	w->figures_at = w->loop.now;
	w->figures_old = false;
}

static uint64_t
expire_asks(struct worker *w)
{
	uint64_t next_at = TIME_NEVER;

	LIST_EACH_SAFE(l, next, &w->asks) {
		struct status_ask *a = CONTAINER_OF(l, struct status_ask, link);

		if (a->until <= w->loop.now)
			end_ask(a, DYN_ETIMEOUT);
		else
			next_at = MIN(next_at, a->until);
	}
	return next_at;
}

/* Closing: first no more requests (BYE), then the end of those that are there
 * and of what they left in the store, then the connections, then the thread.
 * So a clean close leaves no other node in doubt about what it asked of us. */
static void
close_step(struct worker *w)
{
	bool late = w->loop.now >= w->close_until;

	if (w->close_from == 0)
		w->close_from = w->loop.now + (links_bye(&w->links) > 0 ? BYE_GRACE : 0);
	if (!w->links.closing) {
		bool busy = work_requests(w->work) > 0 || work_committing(w->work) ||
		    w->loop.now < w->close_from;

		if (busy && !late)
			return;
		w->left = work_requests(w->work);
		work_close(w->work, host_moment(&w->loop), &w->out);
		carry_out_all(w);
		links_close(&w->links);
	}
	if (w->links.open == 0 && !work_committing(w->work) && !w->drained) {
		w->drained = true;
		sem_post(&w->closed);
	}
}

/* Rows that cannot be read: each request has its error, or was answered by others. */
static void
tell_read_error(struct worker *w)
{
	int rc = work_read_error(w->work);

	if (rc == 0)
		return;
	host_storage_error(w->host, rc);
	if (w->loop.now < w->read_error_at)
		return;
	w->read_error_at = w->loop.now + READ_ERROR_GAP;
	host_log(w->host, DYN_LOG_ERROR, "storage: a row cannot be read: %s", dyn_strerror(rc));
}

static void
turn(void *arg)
{
	struct worker *w = arg;
	uint64_t wake;

	if (work_wake(w->work) <= w->loop.now)
		work_tick(w->work, host_moment(&w->loop), &w->out);
	links_tick(&w->links);
	carry_out_all(w);
	if (w->closing)
		close_step(w);
	work_turn(w->work, &w->out);
	carry_out_all(w);
	tell_read_error(w);
	publish_figures(w);
	wake = MIN(work_wake(w->work), links_wake(&w->links));
	wake = MIN(wake, expire_asks(w));
	if (w->figures_old)
		wake = MIN(wake, w->figures_at + FIGURES_PERIOD);
	if (w->closing && !w->links.closing) {
		wake = MIN(wake, w->close_until);
		if (w->loop.now < w->close_from)
			wake = MIN(wake, w->close_from);
	}
	loop_wake_at(&w->loop, wake);
}

/* ---------------------------------------------------------------- letters */

static void
op_came(struct letter *l)
{
	struct op *op = CONTAINER_OF((struct letter_space *)(void *)l, struct op, letter);
	struct worker *w = op->worker;

	if (w->links.closing) {
		/* Of a callback, on another worker, that was faster than the close,
		 * or the node has failed: all requests have been ended already. */
		op->rc = w->host->failed != 0 ? w->host->failed : DYN_ECLOSED;
		w->host->done(w->host->done_arg, op);
		return;
	}
	w->figures_old = true;
	work_op(w->work, op, host_moment(&w->loop), &w->out);
}

void
worker_op(struct worker *w, struct op *op)
{
	struct letter *l = (struct letter *)(void *)&op->letter;

	op->worker = w;
	l->run = op_came;
	loop_post(&w->loop, l);
}

static void
view_heard(struct bell *b)
{
	struct worker *w = CONTAINER_OF(b, struct worker, view_bell);
	struct view *v = host_view(w->host);

	links_view(&w->links, v);
	work_view(w->work, v, host_moment(&w->loop), &w->out);
	view_unref(v);
}

void
worker_view(struct worker *w)
{
	bell_ring(&w->loop, &w->view_bell);
}

static void
fence_came(struct letter *l)
{
	struct fence *f = CONTAINER_OF(l, struct fence, letter);
	struct worker *w = f->to;

	/* It comes by way of the sync thread: the view may be older than the one the
	 * links have. */
	work_fence(w->work, f->view, f, host_moment(&w->loop), &w->out);
}

void
worker_fence(struct worker *w, struct view *view)
{
	struct fence *f = mem_zalloc(sizeof(*f));

	if (f == NULL)
		return; /* it is asked again */
	f->letter.run = fence_came;
	f->to = w;
	f->worker = w->index;
	f->view = view_ref(view);
	loop_post(&w->loop, &f->letter);
}

void
fence_free(struct fence *f)
{
	view_unref(f->view);
	mem_free(f);
}

struct commit_letter {
	struct letter letter;
	struct worker *worker;
	struct batch *batch;
	int rc;
};

static void
commit_came(struct letter *l)
{
	struct commit_letter *c = CONTAINER_OF(l, struct commit_letter, letter);
	struct worker *w = c->worker;

	w->figures_old = true;
	work_committed(w->work, c->batch, c->rc, host_moment(&w->loop), &w->out);
	mem_free(c);
}

void
worker_committed(struct worker *w, struct batch *b, int rc, struct letter *letter)
{
	struct commit_letter *c = (struct commit_letter *)(void *)letter;

	c->letter.run = commit_came;
	c->worker = w;
	c->batch = b;
	c->rc = rc;
	loop_post(&w->loop, &c->letter);
}

static void
rows_came(struct letter *l)
{
	struct rows *rows = CONTAINER_OF(
	    (struct letter_space *)(void *)l, struct rows, letter);
	struct worker *w = rows->to;

	w->figures_old = true;
	work_take(w->work, rows, host_moment(&w->loop), &w->out);
}

void
worker_rows(struct worker *w, struct rows *rows)
{
	struct letter *l = (struct letter *)(void *)&rows->letter;

	rows->to = w;
	l->run = rows_came;
	loop_post(&w->loop, l);
}

static void
full_heard(struct bell *b)
{
	struct worker *w = CONTAINER_OF(b, struct worker, full_bell);

	work_hints_full(w->work, atomic_load(&w->hints_full));
}

void
worker_hints_full(struct worker *w, bool full)
{
	atomic_store(&w->hints_full, full);
	bell_ring(&w->loop, &w->full_bell);
}

/* All bits each time: the newest will do. */
static void
catching_heard(struct bell *b)
{
	struct worker *w = CONTAINER_OF(b, struct worker, catching_bell);
	struct buf *bits;

	pthread_mutex_lock(&w->lock);
	bits = w->catching;
	w->catching = NULL;
	pthread_mutex_unlock(&w->lock);
	if (bits != NULL)
		work_catching(w->work, bits);
}

void
worker_catching(struct worker *w, struct buf *bits)
{
	struct buf *old;

	pthread_mutex_lock(&w->lock);
	old = w->catching;
	w->catching = buf_ref(bits);
	pthread_mutex_unlock(&w->lock);
	buf_unref(old);
	bell_ring(&w->loop, &w->catching_bell);
}

static void
ask_came(struct letter *l)
{
	struct status_ask *a = CONTAINER_OF(l, struct status_ask, letter);
	struct worker *w = a->worker;
	/* Far from the numbers of requests, which count up from 1. */
	struct frame head = { .request = (UINT64_C(1) << 63) + w->next_ask++ };
	union msg m = { .status = { 0 } };
	struct buf *frame = NULL;
	int rc;

	list_init(&a->link);
	list_add(&w->asks, &a->link);
	a->number = head.request;
	rc = msg_encode(&frame, &head, MSG_STATUS, &m);
	if (rc == 0)
		rc = links_send(&w->links, &a->to, 0, NULL, frame);
	if (rc != 0) {
		buf_unref(frame);
		end_ask(a, rc == DYN_ENOMEM ? rc : DYN_EQUORUM);
	}
}

void
worker_ask_status(struct worker *w, struct status_ask *a)
{
	a->letter.run = ask_came;
	a->worker = w;
	loop_post(&w->loop, &a->letter);
}

struct liveness_letter {
	struct letter letter;
	struct worker *worker;
	struct dyn_id id;
	enum dyn_liveness state;
};

static void
liveness_came(struct letter *l)
{
	struct liveness_letter *v = CONTAINER_OF(l, struct liveness_letter, letter);
	struct worker *w = v->worker;
	struct away a;

	pthread_mutex_lock(&w->lock);
	a = away_get(w, &v->id);
	a.liveness = v->state;
	away_set(w, &a);
	pthread_mutex_unlock(&w->lock);
	if (v->state != DYN_DOUBTED)
		work_peer_suspect(w->work, &v->id, v->state == DYN_SUSPECT,
		    host_moment(&w->loop), &w->out);
	/* The connection may be of before a silence, and as dead as it. */
	links_probe(&w->links, &v->id);
	mem_free(v);
}

int
worker_liveness(struct worker *w, const struct dyn_id *id, enum dyn_liveness state)
{
	struct liveness_letter *v = mem_zalloc(sizeof(*v));

	if (v == NULL)
		return DYN_ENOMEM;
	v->letter.run = liveness_came;
	v->worker = w;
	v->id = *id;
	v->state = state;
	loop_post(&w->loop, &v->letter);
	return 0;
}

bool
worker_reachable(struct worker *w, const struct dyn_id *id, enum dyn_liveness *liveness)
{
	struct away a;

	pthread_mutex_lock(&w->lock);
	a = away_get(w, id);
	pthread_mutex_unlock(&w->lock);
	if (liveness != NULL)
		*liveness = a.liveness;
	return !a.down && a.liveness != DYN_SUSPECT;
}

void
worker_figures(struct worker *w, struct worker_figures *out)
{
	pthread_mutex_lock(&w->lock);
	*out = w->figures;
	pthread_mutex_unlock(&w->lock);
}

struct close_letter {
	struct letter letter;
	struct worker *worker;
	uint64_t until;
};

static void
close_came(struct letter *l)
{
	struct close_letter *c = CONTAINER_OF(l, struct close_letter, letter);

	c->worker->closing = true;
	c->worker->close_until = c->until;
}

size_t
worker_stop(struct worker *w, uint64_t until)
{
	struct close_letter c = { { NULL, close_came }, w, until };

	if (!w->loop.running)
		return 0; /* the node could not be opened */
	loop_post(&w->loop, &c.letter);
	while (sem_wait(&w->closed) != 0)
		continue; /* a signal of the application's */
	loop_stop(&w->loop);
	return w->left;
}

/* As if closed with no time left, but the thread goes on: dyn_close ends it. */
static void
fail_heard(struct bell *b)
{
	struct worker *w = CONTAINER_OF(b, struct worker, fail_bell);

	w->closing = true;
	w->close_until = 0;
}

static void
lost_heard(struct bell *b)
{
	work_lost(CONTAINER_OF(b, struct worker, lost_bell)->work);
}

void
worker_fail(struct worker *w)
{
	bell_ring(&w->loop, &w->fail_bell);
}

void
worker_lost(struct worker *w)
{
	bell_ring(&w->loop, &w->lost_bell);
}
