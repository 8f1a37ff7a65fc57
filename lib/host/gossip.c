/* The gossip thread: greeting, gossiping, publishing the view. */
#include "host/gossip.h"

#include <semaphore.h>
#include <stdio.h>

#include "host/storage.h"
#include "host/syncer.h"
#include "host/worker.h"

#define AGAIN_GAP (100 * NS_PER_MS)

struct gossip {
	struct host *host;
	struct loop loop;
	struct member *member;
	struct detect *detect;
	struct links links;
	struct listener *listener;
	struct outbox out;
	struct bell synced_bell, cleared_bell, marked_bell;
	struct view *synced;  /* what the bell is about; under the host's lock */
	int lost;             /* how often FX_LOST was told */
	atomic_int marked;    /* and up to which one the copies are marked on disk */
	struct view *unsaved; /* not published yet: they are not, or there was no memory */
	uint64_t again_at;    /* when to try again what there was no memory for */
	bool untold;          /* somebody's liveness was not told */
	bool closing, drained;
	sem_t closed;
};

static void turn(void *arg);
static int on_frame(void *arg, const struct dyn_id *, uint64_t conn, const struct frame *);
static void on_up(void *arg, const struct dyn_id *, unsigned worker);
static void on_down(void *arg, const struct dyn_id *, unsigned worker, const char *address,
    int rc, bool sure);

static void synced_heard(struct bell *);
static void cleared_heard(struct bell *);
static void marked_heard(struct bell *);

static const struct links_events link_events = { on_frame, on_up, NULL, on_down };

int
gossip_new(struct gossip **out, struct host *host)
{
	struct gossip *g = mem_zalloc(sizeof(*g));
	int rc;

	*out = NULL;
	if (g == NULL)
		return DYN_ENOMEM;
	g->host = host;
	g->again_at = TIME_NEVER;
	bell_init(&g->synced_bell, synced_heard);
	bell_init(&g->cleared_bell, cleared_heard);
	bell_init(&g->marked_bell, marked_heard);
	outbox_init(&g->out);
	rc = loop_init(&g->loop, "dyn-gossip", turn, g);
	if (rc != 0)
		goto fail_loop;
	rc = links_init(&g->links, host, &g->loop, PURPOSE_GOSSIP, false, &link_events, g);
	if (rc != 0)
		goto fail_links;
	sem_init(&g->closed, 0, 0);
	*out = g;
	return 0;
fail_links:
	loop_fini(&g->loop);
fail_loop:
	outbox_fini(&g->out);
	mem_free(g);
	return rc;
}

void
gossip_free(struct gossip *g)
{
	if (g == NULL)
		return;
	if (g->listener != NULL)
		listener_close(g->listener);
	loop_fini(&g->loop);
	links_fini(&g->links);
	member_free(g->member);
	detect_free(g->detect);
	outbox_fini(&g->out);
	view_unref(g->synced);
	view_unref(g->unsaved);
	sem_destroy(&g->closed);
	mem_free(g);
}

struct loop *
gossip_loop(struct gossip *g)
{
	return &g->loop;
}

/* --------------------------------------------------------------- greeting */

static void
refuse(struct conn_admission *a, int rc, const char *text)
{
	a->welcome.rc = (uint32_t)rc;
	snprintf(a->text, sizeof(a->text), "%s", text);
	a->welcome.text = slice(a->text, strlen(a->text));
}

static struct links *
target(struct gossip *g, const struct msg_hello *hello, struct loop **loop)
{
	struct host *h = g->host;
	struct worker *w = h->workers[hello->worker % h->workers_count];

	switch (hello->purpose) {
	case PURPOSE_DATA:
		*loop = worker_loop(w);
		return worker_links(w);
	case PURPOSE_SYNC:
		if (hello->role != DYN_PEER)
			return NULL; /* who owns nothing pulls nothing */
		*loop = h->syncer != NULL ? syncer_loop(h->syncer) : NULL;
		return h->syncer != NULL ? syncer_links(h->syncer) : NULL;
	case PURPOSE_GOSSIP:
		*loop = &g->loop;
		return &g->links;
	default:
		return NULL;
	}
}

/* Who may speak to us: nodes of the same ring name, and of the same ring where
 * both know which it is. */
static void
greet(void *arg, struct conn *c, const struct msg_hello *hello, struct conn_admission *a)
{
	struct gossip *g = arg;
	struct view *v = g->member != NULL ? member_view(g->member) : NULL;
	struct dyn_id none = { { 0 } };
	struct links *links;

	(void)c;
	a->welcome.node = g->host->self;
	a->welcome.workers = (uint16_t)g->host->workers_count;
	if (v != NULL)
		a->welcome.ring_id = v->settings.ring_id;
	if (!slice_equal(hello->ring, slice(g->host->ring, strlen(g->host->ring)))) {
		refuse(a, DYN_ERING, "this is a ring of another name");
		return;
	}
	if (!id_equal(&hello->ring_id, &none) && !id_equal(&a->welcome.ring_id, &none) &&
	    !id_equal(&hello->ring_id, &a->welcome.ring_id)) {
		refuse(a, DYN_ERING, "same name, but another ring");
		return;
	}
	links = target(g, hello, &a->loop);
	if (links == NULL) {
		refuse(a, DYN_EPROTO, "unknown purpose");
		return;
	}
	if (hello->role == DYN_PEER)
		host_heard(g->host, &hello->node, hello->level);
	a->events = links_accepting();
	a->arg = links;
}

int
gossip_listen(struct gossip *g, const char *address, char bound[DYN_ADDRESS_MAX],
    struct dyn_error *error)
{
	return listener_open(&g->listener, &g->loop, &g->host->config, address, greet, g, bound,
	    error);
}

/* ----------------------------------------------------------------- events */

static int
on_frame(void *arg, const struct dyn_id *from, uint64_t conn, const struct frame *f)
{
	struct gossip *g = arg;
	union msg m;
	int rc = msg_decode(f->kind, f->body, &m);

	if (rc == DYN_EVERSION)
		return 0;
	if (rc != 0)
		return rc;
	pthread_mutex_lock(&g->host->lock);
	g->host->gossip_rounds += f->kind == MSG_GOSSIP || f->kind == MSG_GOSSIP_ACK;
	g->host->gossip_bytes += FRAME_HEAD + f->body.len;
	pthread_mutex_unlock(&g->host->lock);
	detect_frame(g->detect, from, conn, f, &m, host_moment(&g->loop), &g->out);
	rc = member_frame(g->member, from, conn, f, &m, host_moment(&g->loop), &g->out);
	if (rc == 0 && (f->kind == MSG_GOSSIP_ACK || f->kind == MSG_VIEW))
		detect_answered(g->detect, from, host_moment(&g->loop), &g->out);
	return rc;
}

static void
on_up(void *arg, const struct dyn_id *id, unsigned worker)
{
	struct gossip *g = arg;

	(void)worker;
	detect_answered(g->detect, id, host_moment(&g->loop), &g->out);
}

/* Not reached, or lost. */
static void
unreachable(struct gossip *g, const struct dyn_id *id, const char *address, int rc)
{
	struct moment now = host_moment(&g->loop);

	if (rc == DYN_EADDRESS)
		detect_refused(g->detect, id, now, &g->out);
	else
		detect_lost(g->detect, id, now, &g->out);
	member_unreachable(g->member, id, address, rc, now, &g->out);
}

static void
on_down(void *arg, const struct dyn_id *id, unsigned worker, const char *address, int rc,
    bool sure)
{
	struct gossip *g = arg;

	(void)worker;
	(void)sure;
	unreachable(g, id, address, rc);
}

/* ---------------------------------------------------------------- effects */

/* Should it not get to the disk, the fence waits until it does (host/syncer.c). */
static int
save_view(struct gossip *g, const struct view *v)
{
	struct buf *bytes;
	int rc;

	if (g->host->storage == NULL)
		return 0;
	rc = view_encode(v, &bytes);
	if (rc == 0)
		rc = storage_meta(g->host->storage, "view", bytes, SAVED_FOR_NOBODY);
	return rc;
}

/* To the other threads, after it was given to storage: what they save is newer.
 *
 * A view that shows a new life of this node is not to be on disk before the marks of its
 * copies are: who starts from such a view is not overtaken again, and would take empty
 * copies for whole ones (a disk may be full for the one and not for the other).  The other
 * way round is harmless: without that view a start finds out once more. */
static void
publish(struct gossip *g)
{
	if (g->unsaved == NULL || atomic_load(&g->marked) != g->lost)
		return; /* marked_heard */
	if (save_view(g, g->unsaved) != 0) {
		g->again_at = g->loop.now + AGAIN_GAP;
		return;
	}
	host_publish(g->host, g->unsaved);
	view_unref(g->unsaved);
	g->unsaved = NULL;
}

static void
lost(struct gossip *g)
{
	struct host *h = g->host;

	g->lost++;
	for (unsigned i = 0; i < h->workers_count; i++)
		worker_lost(h->workers[i]);
	syncer_lost_all(h->syncer, g->lost);
}

/* Once for a failure, and again for the close. */
static void
close_all(struct gossip *g)
{
	g->closing = true;
	if (g->listener != NULL)
		listener_close(g->listener);
	g->listener = NULL;
	links_close(&g->links);
}

static void
send_effect(struct gossip *g, struct effect *e)
{
	int rc;

	if (id_is_zero(&e->to) && e->address == NULL)
		return; /* to a client, or one that gave no id: they ask again */
	rc = links_send(&g->links, &e->to, 0, e->address, e->frame);
	if (rc == 0)
		e->frame = NULL;
	else
		unreachable(g, &e->to, e->address, rc);
}

static void
carry_out(struct gossip *g, struct effect *e)
{
	switch (e->kind) {
	case FX_SEND:
		send_effect(g, e);
		break;
	case FX_REPLY:
		links_reply(&g->links, e->conn, e->frame);
		e->frame = NULL;
		break;
	case FX_VIEW:
		links_view(&g->links, e->view);
		detect_view(g->detect, e->view, host_moment(&g->loop), &g->out);
		view_unref(g->unsaved);
		g->unsaved = view_ref(e->view);
		publish(g);
		break;
	case FX_LEDGER:
		if (g->host->syncer != NULL) {
			syncer_ledger(g->host->syncer, &e->to, e->frame);
			e->frame = NULL;
		}
		break;
	case FX_LIVENESS:
		for (unsigned i = 0; i < g->host->workers_count; i++)
			if (worker_liveness(g->host->workers[i], &e->to,
			        (enum dyn_liveness)e->rc) != 0)
				g->untold = true;
		if (g->untold)
			g->again_at = g->loop.now + AGAIN_GAP;
		if (g->host->syncer != NULL)
			syncer_liveness(g->host->syncer, &e->to, (enum dyn_liveness)e->rc);
		break;
	case FX_LOST:
		lost(g);
		break;
	case FX_STALE:
		lost(g);
		syncer_clear(g->host->syncer);
		break;
	case FX_RESET:
		links_reset(&g->links, &e->to);
		break;
	case FX_LOG:
		host_log(g->host, (enum dyn_log_level)e->rc, "%.*s", (int)e->frame->len,
		    (const char *)e->frame->data);
		break;
	case FX_FAIL: {
		char text[200];

		snprintf(text, sizeof(text), "%.*s", (int)e->frame->len,
		    (const char *)e->frame->data);
		host_fail(g->host, e->rc, text);
		close_all(g);
		break;
	}
	default:
		DYN_ASSERT(false); /* not an effect of gossip */
		break;
	}
}

/* What there was no memory for. */
static void
again(struct gossip *g)
{
	g->again_at = TIME_NEVER;
	publish(g);
	if (g->untold) {
		g->untold = false;
		detect_tell(g->detect, &g->out);
	}
}

/* When member or detector want to be called. */
static uint64_t
wake(const struct gossip *g)
{
	return MIN(g->again_at, MIN(member_wake(g->member), detect_wake(g->detect)));
}

static void
turn(void *arg)
{
	struct gossip *g = arg;
	struct effect e;

	if (g->member == NULL)
		return;
	if (!g->closing && member_wake(g->member) <= g->loop.now)
		member_tick(g->member, host_moment(&g->loop), &g->out);
	if (!g->closing && detect_wake(g->detect) <= g->loop.now)
		detect_tick(g->detect, host_moment(&g->loop), &g->out);
	if (!g->closing && g->again_at <= g->loop.now)
		again(g);
	while (outbox_next(&g->out, &e)) {
		carry_out(g, &e);
		effect_drop(&e);
	}
	if (g->out.lost) {
		/* Somebody's liveness may have been among it. */
		g->out.lost = false;
		g->untold = true;
		g->again_at = g->loop.now + AGAIN_GAP;
	}
	loop_wake_at(&g->loop, g->closing ? TIME_NEVER : wake(g));
	if (g->closing && g->links.open == 0 && !g->drained) {
		g->drained = true;
		sem_post(&g->closed);
	}
}

int
gossip_begin(struct gossip *g, const struct member_options *options)
{
	struct detect_options o = { .self = g->host->self, .client = options->client,
		.seed = mix64(options->seed) };
	int rc;

	g->loop.now = clock_now();
	rc = detect_new(&g->detect, &o, host_moment(&g->loop));
	if (rc != 0)
		return rc;
	return member_new(&g->member, options, host_moment(&g->loop), &g->out);
}

int
gossip_start(struct gossip *g)
{
	return loop_start(&g->loop);
}

/* ---------------------------------------------------------------- letters */

struct gossip_letter {
	struct letter letter;
	struct gossip *gossip;
	struct dyn_id id;
	struct view *view;
	struct buf *ledger;
};

static void
poke_came(struct letter *l)
{
	struct gossip_letter *p = CONTAINER_OF(l, struct gossip_letter, letter);
	struct gossip *g = p->gossip;

	if (!g->closing && !id_is_zero(&p->id))
		member_poke(g->member, &p->id, host_moment(&g->loop), &g->out);
	mem_free(p);
}

void
gossip_poke(struct gossip *g, const struct dyn_id *id)
{
	struct gossip_letter *p;

	if (id_is_zero(id))
		return; /* a client has no table that others should know */
	p = mem_zalloc(sizeof(*p));
	if (p == NULL)
		return; /* the next frame pokes again */
	p->letter.run = poke_came;
	p->gossip = g;
	p->id = *id;
	loop_post(&g->loop, &p->letter);
}

static void
doubt_came(struct letter *l)
{
	struct gossip_letter *p = CONTAINER_OF(l, struct gossip_letter, letter);
	struct gossip *g = p->gossip;

	if (!g->closing)
		detect_doubt(g->detect, &p->id, host_moment(&g->loop), &g->out);
	mem_free(p);
}

void
gossip_doubt(struct gossip *g, const struct dyn_id *id)
{
	struct gossip_letter *p = mem_zalloc(sizeof(*p));

	if (p == NULL)
		return; /* its own period finds out */
	p->letter.run = doubt_came;
	p->gossip = g;
	p->id = *id;
	loop_post(&g->loop, &p->letter);
}

static void
synced_heard(struct bell *b)
{
	struct gossip *g = CONTAINER_OF(b, struct gossip, synced_bell);
	struct view *v;

	pthread_mutex_lock(&g->host->lock);
	v = g->synced;
	g->synced = NULL;
	pthread_mutex_unlock(&g->host->lock);
	if (v != NULL && !g->closing)
		member_synced(g->member, v, host_moment(&g->loop), &g->out);
	view_unref(v);
}

void
gossip_synced(struct gossip *g, struct view *v)
{
	struct view *old;

	pthread_mutex_lock(&g->host->lock);
	old = g->synced;
	g->synced = view_ref(v);
	pthread_mutex_unlock(&g->host->lock);
	view_unref(old);
	bell_ring(&g->loop, &g->synced_bell);
}

static void
collect_came(struct letter *l)
{
	struct gossip_letter *p = CONTAINER_OF(l, struct gossip_letter, letter);
	struct gossip *g = p->gossip;

	if (!g->closing)
		member_collect(g->member, p->view->current, host_moment(&g->loop), &g->out);
	view_unref(p->view);
	mem_free(p);
}

void
gossip_collect(struct gossip *g, struct view *v)
{
	struct gossip_letter *p = mem_zalloc(sizeof(*p));

	if (p == NULL)
		return; /* in another round */
	p->letter.run = collect_came;
	p->gossip = g;
	p->view = view_ref(v);
	loop_post(&g->loop, &p->letter);
}

static void
change_came(struct letter *l)
{
	struct gossip_letter *p = CONTAINER_OF(l, struct gossip_letter, letter);
	struct gossip *g = p->gossip;

	if (!g->closing)
		member_change(g->member, p->view, host_moment(&g->loop), &g->out);
	view_unref(p->view);
	mem_free(p);
}

int
gossip_change(struct gossip *g, struct view *v)
{
	struct gossip_letter *p = mem_zalloc(sizeof(*p));

	if (p == NULL)
		return DYN_ENOMEM;
	p->letter.run = change_came;
	p->gossip = g;
	p->view = view_ref(v);
	loop_post(&g->loop, &p->letter);
	return 0;
}

static void
cleared_heard(struct bell *b)
{
	struct gossip *g = CONTAINER_OF(b, struct gossip, cleared_bell);

	if (!g->closing)
		member_cleared(g->member, host_moment(&g->loop), &g->out);
}

void
gossip_cleared(struct gossip *g)
{
	bell_ring(&g->loop, &g->cleared_bell);
}

static void
marked_heard(struct bell *b)
{
	publish(CONTAINER_OF(b, struct gossip, marked_bell));
}

void
gossip_marked(struct gossip *g, int number)
{
	atomic_store(&g->marked, number);
	bell_ring(&g->loop, &g->marked_bell);
}

static void
ledger_came(struct letter *l)
{
	struct gossip_letter *p = CONTAINER_OF(l, struct gossip_letter, letter);

	member_ledger(p->gossip->member, p->ledger);
	mem_free(p);
}

void
gossip_ledger(struct gossip *g, struct buf *ledger)
{
	struct gossip_letter *p = mem_zalloc(sizeof(*p));

	if (p == NULL) {
		buf_unref(ledger);
		return; /* the next change tells it */
	}
	p->letter.run = ledger_came;
	p->gossip = g;
	p->ledger = ledger;
	loop_post(&g->loop, &p->letter);
}

static void
close_came(struct letter *l)
{
	struct gossip_letter *p = CONTAINER_OF(l, struct gossip_letter, letter);
	struct gossip *g = p->gossip;

	close_all(g);
}

void
gossip_stop(struct gossip *g)
{
	struct gossip_letter p = { .letter = { NULL, close_came }, .gossip = g };

	if (!g->loop.running)
		return;
	loop_post(&g->loop, &p.letter);
	while (sem_wait(&g->closed) != 0)
		continue;
	loop_stop(&g->loop);
}
