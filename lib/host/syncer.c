/* The sync thread: fences, and the machines of core/sync.h. */
#include "host/syncer.h"

#include <semaphore.h>

#include "host/gossip.h"
#include "host/storage.h"
#include "host/worker.h"

#define FENCE_RETRY (100 * NS_PER_MS)
#define FIGURES_GAP (200 * NS_PER_MS) /* they walk over all partitions */
#define LOOK_GAP (1 * NS_PER_S)

struct syncer {
	struct host *host;
	struct loop loop;
	struct sync *sync;
	struct links links;
	struct outbox out;
	struct view *view;
	uint64_t fenced;      /* workers, by this view: one bit each */
	uint64_t fence_again; /* when to ask those again that did not answer */
	struct view *saving;  /* all are: this row is on its way to the disk */
	uint64_t figures_at, look_at;
	struct bell view_bell, lost_bell, clear_bell, close_bell;
	atomic_int lost_number; /* what the bell is about */
	bool closing, drained;
	sem_t closed;
};

static void turn(void *arg);
static int on_frame(void *arg, const struct dyn_id *, uint64_t conn, const struct frame *);
static void on_up(void *arg, const struct dyn_id *, unsigned worker);
static void on_down(void *arg, const struct dyn_id *, unsigned worker, const char *address,
    int rc, bool sure);

static void view_heard(struct bell *);
static void lost_heard(struct bell *);
static void clear_heard(struct bell *);
static void close_heard(struct bell *);

static const struct links_events link_events = { on_frame, on_up, NULL, on_down };

int
syncer_new(struct syncer **out, struct host *host, uint64_t seed)
{
	struct sync_options o = { .self = host->self, .engine = host->engine, .w = host->w,
		.workers = host->workers_count, .seed = seed,
		.hint_bytes_max = host->hint_bytes_max,
		.hint_age_max_ms = host->hint_age_max_ms, .partitions = host->partitions,
		.collect_period = host->collect_period_ms * NS_PER_MS };
	struct buf *catching;
	struct syncer *s = mem_zalloc(sizeof(*s));
	int rc;

	*out = NULL;
	if (s == NULL)
		return DYN_ENOMEM;
	s->host = host;
	s->fence_again = TIME_NEVER;
	bell_init(&s->view_bell, view_heard);
	bell_init(&s->lost_bell, lost_heard);
	bell_init(&s->clear_bell, clear_heard);
	bell_init(&s->close_bell, close_heard);
	outbox_init(&s->out);
	rc = loop_init(&s->loop, "dyn-sync", turn, s);
	if (rc != 0)
		goto fail_loop;
	rc = links_init(&s->links, host, &s->loop, PURPOSE_SYNC, false, &link_events, s);
	if (rc != 0)
		goto fail_links;
	s->loop.now = clock_now();
	rc = sync_new(&s->sync, &o, host_moment(&s->loop));
	if (rc != 0)
		goto fail_sync;
	sync_hints(s->sync, &host->hints); /* known before the first turn */
	catching = sync_catching(s->sync);
	for (unsigned i = 0; i < host->workers_count && catching != NULL; i++)
		worker_catching(host->workers[i], catching);
	buf_unref(catching);
	sem_init(&s->closed, 0, 0);
	*out = s;
	return 0;
fail_sync:
	links_fini(&s->links);
fail_links:
	loop_fini(&s->loop);
fail_loop:
	outbox_fini(&s->out);
	mem_free(s);
	return rc;
}

void
syncer_free(struct syncer *s)
{
	if (s == NULL)
		return;
	loop_fini(&s->loop);
	links_fini(&s->links);
	sync_free(s->sync);
	host_outbox_fini(&s->out);
	view_unref(s->view);
	view_unref(s->saving);
	sem_destroy(&s->closed);
	mem_free(s);
}

int
syncer_start(struct syncer *s)
{
	return loop_start(&s->loop);
}

struct loop *
syncer_loop(struct syncer *s)
{
	return &s->loop;
}

struct links *
syncer_links(struct syncer *s)
{
	return &s->links;
}

/* ----------------------------------------------------------------- events */

static int
on_frame(void *arg, const struct dyn_id *from, uint64_t conn, const struct frame *f)
{
	struct syncer *s = arg;

	return sync_frame(s->sync, from, conn, f, host_moment(&s->loop), &s->out);
}

static void
on_up(void *arg, const struct dyn_id *id, unsigned worker)
{
	(void)arg;
	(void)id;
	(void)worker;
}

static void
on_down(void *arg, const struct dyn_id *id, unsigned worker, const char *address, int rc,
    bool sure)
{
	struct syncer *s = arg;

	(void)worker;
	(void)address;
	(void)rc;
	(void)sure;
	sync_lost(s->sync, id, host_moment(&s->loop), &s->out);
}

static void
fence_saved(struct syncer *s, int rc)
{
	bool same = table_compare(s->saving->current, s->view->current) == 0;

	view_unref(s->saving);
	s->saving = NULL;
	if (rc == 0 && same)
		sync_fenced(s->sync, s->view, host_moment(&s->loop), &s->out);
	else
		s->fence_again = s->loop.now + FENCE_RETRY;
}

/* Behind its fence this node says things for good (pull.h, collect.h): before that the
 * view must be on disk, or a start after a crash would know less than was said.  It was
 * given to storage when it was published, but may have found the disk full. */
static void
save_fence(struct syncer *s)
{
	unsigned workers = s->host->workers_count;
	uint64_t all;
	struct buf *row;
	int rc;

	DYN_ASSERT(workers >= 1 && workers <= 64);
	all = UINT64_MAX >> (64 - workers);
	if (s->fenced != all || s->saving != NULL)
		return;
	if (view_encode(s->view, &row) != 0)
		return; /* fence_again */
	s->fence_again = TIME_NEVER;
	s->saving = view_ref(s->view);
	rc = storage_meta(s->host->storage, "view", row, SAVED_FOR_FENCE);
	if (rc != 0)
		fence_saved(s, rc);
}

static void
fence(struct syncer *s)
{
	s->fence_again = s->loop.now + FENCE_RETRY;
	for (unsigned i = 0; i < s->host->workers_count; i++)
		if ((s->fenced >> i & 1) == 0)
			worker_fence(s->host->workers[i], s->view);
	save_fence(s);
}

static void
saved(struct syncer *s, enum saved_for whom, int rc)
{
	if (whom == SAVED_FOR_FENCE)
		fence_saved(s, rc);
	else if (whom == SAVED_FOR_REPAIR)
		sync_saved(s->sync, rc, host_moment(&s->loop), &s->out);
}

/* ---------------------------------------------------------------- effects */

static void
carry_out(struct syncer *s, struct effect *e)
{
	struct rows *rows;
	int rc;

	switch (e->kind) {
	case FX_SEND:
		if (links_send(&s->links, &e->to, 0, NULL, e->frame) == 0)
			e->frame = NULL;
		else
			sync_lost(s->sync, &e->to, host_moment(&s->loop), &s->out);
		break;
	case FX_REPLY:
		links_reply(&s->links, e->conn, e->frame);
		e->frame = NULL;
		break;
	case FX_ROWS:
		rows = e->what;
		worker_rows(s->host->workers[rows->partition % s->host->workers_count], rows);
		break;
	case FX_SYNCED:
		gossip_synced(s->host->gossip, e->view);
		break;
	case FX_COLLECT:
		gossip_collect(s->host->gossip, e->view);
		break;
	case FX_CLEARED:
		gossip_cleared(s->host->gossip);
		break;
	case FX_MARKED:
		gossip_marked(s->host->gossip, e->rc);
		break;
	case FX_POKE:
		gossip_poke(s->host->gossip, &e->to);
		break;
	case FX_LEDGER:
		gossip_ledger(s->host->gossip, e->frame);
		e->frame = NULL;
		break;
	case FX_META:
		rc = storage_meta(s->host->storage, e->address, e->frame, (enum saved_for)e->rc);
		e->frame = NULL;
		if (rc != 0)
			saved(s, (enum saved_for)e->rc, rc);
		break;
	case FX_HINTS_FULL:
		for (unsigned i = 0; i < s->host->workers_count; i++)
			worker_hints_full(s->host->workers[i], e->rc != 0);
		break;
	case FX_CATCHING:
		for (unsigned i = 0; i < s->host->workers_count; i++)
			worker_catching(s->host->workers[i], e->frame);
		break;
	case FX_LOG:
		host_log(s->host, (enum dyn_log_level)e->rc, "%.*s", (int)e->frame->len,
		    (const char *)e->frame->data);
		break;
	default:
		DYN_ASSERT(false); /* not an effect of sync */
		break;
	}
}

/* What the application feels: how fast may background work go?  Only while there is
 * some: an idle node is not woken for it. */
static void
look_at_foreground(struct syncer *s)
{
	struct histogram all = { .count = 0 };

	if (s->loop.now < s->look_at)
		return;
	s->look_at = s->loop.now + LOOK_GAP;
	for (unsigned i = 0; i < s->host->workers_count; i++) {
		struct worker_figures f;

		worker_figures(s->host->workers[i], &f);
		histogram_join(&all, &f.work.get_us);
		histogram_join(&all, &f.work.put_us);
	}
	sync_foreground(s->sync, &all, host_moment(&s->loop));
}

static void
turn(void *arg)
{
	struct syncer *s = arg;
	uint64_t wake = TIME_NEVER;
	struct effect e;

	if (!s->closing) {
		if (s->fence_again <= s->loop.now)
			fence(s);
		look_at_foreground(s);
		if (sync_wake(s->sync) <= s->loop.now)
			sync_tick(s->sync, host_moment(&s->loop), &s->out);
		links_tick(&s->links);
	}
	while (outbox_next(&s->out, &e)) {
		carry_out(s, &e);
		effect_drop(&e);
	}
	pthread_mutex_lock(&s->host->lock);
	s->host->pending = sync_pending(s->sync);
	sync_hints(s->sync, &s->host->hints);
	if (s->loop.now >= s->figures_at) {
		sync_copies(s->sync, host_moment(&s->loop), &s->host->copies);
		s->figures_at = s->loop.now + FIGURES_GAP;
	}
	pthread_mutex_unlock(&s->host->lock);
	if (!s->closing)
		wake = MIN(sync_wake(s->sync), MIN(s->fence_again, links_wake(&s->links)));
	loop_wake_at(&s->loop, wake);
	if (s->closing && s->links.open == 0 && !s->drained) {
		s->drained = true;
		sem_post(&s->closed);
	}
}

/* ---------------------------------------------------------------- letters */

struct sync_letter {
	struct letter letter;
	struct syncer *syncer;
	struct dyn_id from;
	struct buf *ledger;
	unsigned partition;
	enum dyn_liveness liveness;
};

static struct sync_letter *
sync_letter(struct syncer *s, void (*run)(struct letter *))
{
	struct sync_letter *l = mem_zalloc(sizeof(*l));

	if (l != NULL) {
		l->letter.run = run;
		l->syncer = s;
	}
	return l;
}

static void
view_heard(struct bell *b)
{
	struct syncer *s = CONTAINER_OF(b, struct syncer, view_bell);
	struct view *v = host_view(s->host);
	bool other = s->view == NULL || table_compare(s->view->current, v->current) != 0;

	view_unref(s->view);
	s->view = v;
	if (s->closing)
		return;
	links_view(&s->links, s->view);
	sync_view(s->sync, s->view, host_moment(&s->loop), &s->out);
	if (other) {
		s->fenced = 0;
		fence(s);
	}
}

void
syncer_view(struct syncer *s)
{
	bell_ring(&s->loop, &s->view_bell);
}

static void
fenced_came(struct letter *l)
{
	struct fence *f = CONTAINER_OF(l, struct fence, letter);
	struct syncer *s = f->to;

	if (f->rc == 0 && table_compare(f->view->current, s->view->current) == 0)
		s->fenced |= UINT64_C(1) << f->worker;
	if (!s->closing)
		save_fence(s);
	fence_free(f);
}

void
syncer_fenced(struct syncer *s, struct fence *f, int rc)
{
	f->letter.run = fenced_came;
	f->to = s;
	f->rc = rc;
	loop_post(&s->loop, &f->letter);
}

static void
stored_came(struct letter *l)
{
	struct rows *rows = CONTAINER_OF(
	    (struct letter_space *)(void *)l, struct rows, letter);
	struct syncer *s = rows->to;

	sync_stored(s->sync, rows, rows->rc, host_moment(&s->loop), &s->out);
}

void
syncer_stored(struct syncer *s, struct rows *rows, int rc)
{
	struct letter *l = (struct letter *)(void *)&rows->letter;

	rows->to = s;
	rows->rc = rc;
	l->run = stored_came;
	loop_post(&s->loop, l);
}

struct saved_letter {
	struct letter letter;
	struct syncer *syncer;
	int rc;
	enum saved_for whom;
};

static void
saved_came(struct letter *l)
{
	struct saved_letter *c = CONTAINER_OF(l, struct saved_letter, letter);

	saved(c->syncer, c->whom, c->rc);
	mem_free(c);
}

void
syncer_saved(struct syncer *s, enum saved_for whom, int rc, struct letter *letter)
{
	struct saved_letter *c = (struct saved_letter *)(void *)letter;

	c->letter.run = saved_came;
	c->syncer = s;
	c->rc = rc;
	c->whom = whom;
	loop_post(&s->loop, &c->letter);
}

static void
changed_came(struct letter *l)
{
	struct changes *c = CONTAINER_OF(
	    (struct letter_space *)(void *)l, struct changes, letter);
	struct syncer *s = c->to;

	sync_changed(s->sync, c, host_moment(&s->loop), &s->out);
}

void
syncer_changed(struct syncer *s, struct changes *c)
{
	struct letter *l = (struct letter *)(void *)&c->letter;

	c->to = s;
	l->run = changed_came;
	loop_post(&s->loop, l);
}

static void
ledger_came(struct letter *l)
{
	struct sync_letter *c = CONTAINER_OF(l, struct sync_letter, letter);
	struct syncer *s = c->syncer;

	sync_ledger(s->sync, &c->from, buf_slice(c->ledger), host_moment(&s->loop), &s->out);
	buf_unref(c->ledger);
	mem_free(c);
}

void
syncer_ledger(struct syncer *s, const struct dyn_id *from, struct buf *ledger)
{
	struct sync_letter *l = sync_letter(s, ledger_came);

	if (l == NULL) {
		buf_unref(ledger);
		return; /* it is told again */
	}
	l->from = *from;
	l->ledger = ledger;
	loop_post(&s->loop, &l->letter);
}

static void
liveness_came(struct letter *l)
{
	struct sync_letter *c = CONTAINER_OF(l, struct sync_letter, letter);
	struct syncer *s = c->syncer;

	links_probe(&s->links, &c->from);
	sync_liveness(s->sync, &c->from, c->liveness, host_moment(&s->loop), &s->out);
	mem_free(c);
}

void
syncer_liveness(struct syncer *s, const struct dyn_id *id, enum dyn_liveness state)
{
	struct sync_letter *l = sync_letter(s, liveness_came);

	if (l == NULL)
		return; /* what it does then waits for its own patience */
	l->from = *id;
	l->liveness = state;
	loop_post(&s->loop, &l->letter);
}

static void
damaged_came(struct letter *l)
{
	struct sync_letter *d = CONTAINER_OF(l, struct sync_letter, letter);

	if (!d->syncer->closing)
		sync_damaged(d->syncer->sync, d->partition);
	mem_free(d);
}

void
syncer_damaged(struct syncer *s, unsigned partition)
{
	struct sync_letter *l = sync_letter(s, damaged_came);

	if (l == NULL)
		return; /* the next request for the row tells */
	l->partition = partition;
	loop_post(&s->loop, &l->letter);
}

static void
lost_heard(struct bell *b)
{
	struct syncer *s = CONTAINER_OF(b, struct syncer, lost_bell);

	if (!s->closing)
		sync_lost_all(s->sync, atomic_load(&s->lost_number), host_moment(&s->loop),
		    &s->out);
}

void
syncer_lost_all(struct syncer *s, int number)
{
	atomic_store(&s->lost_number, number);
	bell_ring(&s->loop, &s->lost_bell);
}

static void
clear_heard(struct bell *b)
{
	struct syncer *s = CONTAINER_OF(b, struct syncer, clear_bell);

	if (!s->closing)
		sync_clear(s->sync, host_moment(&s->loop), &s->out);
}

void
syncer_clear(struct syncer *s)
{
	bell_ring(&s->loop, &s->clear_bell);
}

static void
close_heard(struct bell *b)
{
	struct syncer *s = CONTAINER_OF(b, struct syncer, close_bell);

	s->closing = true;
	links_close(&s->links);
}

void
syncer_fail(struct syncer *s)
{
	bell_ring(&s->loop, &s->close_bell);
}

void
syncer_stop(struct syncer *s)
{
	if (!s->loop.running)
		return;
	bell_ring(&s->loop, &s->close_bell);
	while (sem_wait(&s->closed) != 0)
		continue;
	loop_stop(&s->loop);
}
