/*
 * Open and close: the parts of a node are made in the order in which they
 * need each other, and taken down in the reverse.
 *
 *	directory, engine, identity -> threads (made) -> listening socket
 *	-> membership -> threads (started) -> the ring is known
 *
 * Each part is NULL until it is made, so one teardown serves a failed open
 * and a close.
 */
#include "calls.h"

#include "core/member.h"
#include "host/gossip.h"
#include "host/storage.h"
#include "host/syncer.h"
#include "host/tls.h"

#include <openssl/rand.h>
#include <stdio.h>
#include <sys/eventfd.h>

static uint64_t
random_seed(void)
{
	uint64_t seed = 0;

	/* Not for secrets: a weak seed only makes gossip less random. */
	if (RAND_bytes((unsigned char *)&seed, sizeof(seed)) != 1)
		seed = clock_now();
	return seed;
}

/* ------------------------------------------------------------------ storage */

static int
open_engine(dyn_node *n, const struct dyn_options *o, struct dyn_error *error)
{
	char *path;
	int rc;

	if (o->dir != NULL) {
		rc = dir_open(&n->dir, o->dir, error);
		if (rc != 0)
			return rc;
		n->has_dir = true;
	}
	if (n->host.engine != NULL || n->host.role == DYN_CLIENT)
		return 0; /* the application's own, or none */
	if (!n->has_dir)
		return dyn_engine_memory(&n->host.engine);
	path = dir_file(&n->dir, "data.db");
	if (path == NULL)
		return DYN_ENOMEM;
	rc = dyn_engine_sqlite(&n->host.engine, path, error);
	mem_free(path);
	return rc;
}

/* ------------------------------------------------------------------ threads */

static int
make_threads(dyn_node *n)
{
	struct host *h = &n->host;
	int rc = 0;

	if (h->role != DYN_CLIENT)
		rc = storage_new(&h->storage, h);
	for (unsigned i = 0; i < h->workers_count && rc == 0; i++)
		rc = worker_new(&h->workers[i], h, i, random_seed());
	if (rc == 0 && h->role == DYN_PEER)
		rc = syncer_new(&h->syncer, h, random_seed());
	if (rc == 0 && h->role != DYN_LOCAL)
		rc = gossip_new(&h->gossip, h);
	return rc;
}

static int
start_threads(dyn_node *n)
{
	struct host *h = &n->host;
	int rc = 0;

	if (h->storage != NULL)
		rc = storage_start(h->storage);
	for (unsigned i = 0; i < h->workers_count && rc == 0; i++)
		rc = worker_start(h->workers[i]);
	if (rc == 0 && h->syncer != NULL)
		rc = syncer_start(h->syncer);
	if (rc == 0 && h->gossip != NULL)
		rc = gossip_start(h->gossip);
	return rc;
}

/* -------------------------------------------------------------- membership */

static void
fill_record(const dyn_node *n, struct record *r)
{
	memset(r, 0, sizeof(*r));
	r->id = n->host.self;
	r->incarnation = n->incarnation;
	r->stamp = 1;
	r->state = RECORD_JOINED;
	r->weight = (uint16_t)n->weight;
	r->workers = (uint8_t)n->host.workers_count;
	memcpy(r->address, n->host.advertise, sizeof(r->address));
	memcpy(r->location, n->location, sizeof(r->location));
}

/* The settings of a ring this node may have to create; what is zero in them is
 * "whatever the ring has" for a node that joins. */
static int
fill_settings(const dyn_node *n, struct settings *s)
{
	*s = n->ring;
	if (RAND_bytes(s->ring_id.bytes, sizeof(s->ring_id.bytes)) != 1 ||
	    RAND_bytes(s->secret, sizeof(s->secret)) != 1)
		return DYN_EIO;
	return 0;
}

/* A ring of one that nobody else is told about. */
static int
begin_local(dyn_node *n, const struct identity *id)
{
	struct settings s;
	struct record self;
	struct view *v;
	int rc;

	if (id->saved != NULL) {
		host_publish(&n->host, id->saved);
		return 0;
	}
	fill_record(n, &self);
	snprintf(self.address, sizeof(self.address), "127.0.0.1:0");
	rc = fill_settings(n, &s);
	if (s.partitions == 0)
		s.partitions = 1024;
	if (rc == 0)
		rc = view_create(&v, &s, &self);
	if (rc != 0)
		return rc;
	if (n->host.storage != NULL) {
		struct buf *bytes;

		rc = view_encode(v, &bytes);
		if (rc == 0)
			rc = storage_meta(n->host.storage, "view", bytes, SAVED_FOR_NOBODY);
		if (rc != 0) {
			view_unref(v);
			return rc;
		}
	}
	host_publish(&n->host, v);
	view_unref(v);
	return rc;
}

static int
begin_member(dyn_node *n, const struct dyn_options *o, const struct identity *id)
{
	struct member_options m;
	int rc;

	memset(&m, 0, sizeof(m));
	fill_record(n, &m.self);
	rc = fill_settings(n, &m.settings);
	if (rc != 0)
		return rc;
	m.saved = id->saved;
	m.seeds = o->seeds;
	m.join = o->join;
	m.client = n->host.role == DYN_CLIENT;
	m.seed = random_seed();
	return gossip_begin(n->host.gossip, &m);
}

/* A saved view must be of the ring the options speak of. */
static int
check_saved(const dyn_node *n, const struct view *v, struct dyn_error *error)
{
	const struct settings *s = &v->settings;

	if (strcmp(s->name, n->ring.name) != 0)
		return error_set(error, DYN_ERING, "the directory belongs to ring \"%s\"",
		    s->name);
	if (n->ring.n != 0 && n->ring.n != s->n)
		return error_set(error, DYN_ERING, "the ring has n=%u", s->n);
	if (n->ring.partitions != 0 && n->ring.partitions != s->partitions)
		return error_set(error, DYN_ERING, "the ring has %u partitions", s->partitions);
	if (n->ring.hash != 0 && n->ring.hash != s->hash)
		return error_set(error, DYN_ERING, "the ring has another hash");
	return 0;
}

static int
listen_on(dyn_node *n, const struct dyn_options *o, struct dyn_error *error)
{
	char host[DYN_ADDRESS_MAX];
	unsigned port, bound_port;
	int rc;

	rc = gossip_listen(n->host.gossip, o->listen, n->bound, error);
	if (rc != 0)
		return rc;
	/* Port 0 was asked for: tell the others which one it became. */
	if (address_split(n->host.advertise, host, &port) == 0 && port == 0 &&
	    address_split(n->bound, host, &bound_port) == 0) {
		(void)!address_split(n->host.advertise, host, &port);
		address_join(n->host.advertise, host, bound_port);
	}
	return 0;
}

/* Until the ring is known, or it is clear that it will not be. */
static int
wait_for_ring(dyn_node *n, struct dyn_error *error)
{
	struct host *h = &n->host;
	struct timespec until;
	int rc = 0;

	host_deadline(&until, n->open_timeout_ms);
	pthread_mutex_lock(&h->lock);
	while (rc == 0 && h->failure.code == 0 && (h->view == NULL || h->view->base == NULL))
		rc = pthread_cond_timedwait(&h->changed, &h->lock, &until);
	if (h->failure.code != 0)
		rc = error_set(error, h->failure.code, "%s", h->failure.text);
	else if (rc != 0)
		rc = error_set(error, DYN_ETIMEOUT, "no seed answered within %u ms",
		    n->open_timeout_ms);
	else
		n->ring = h->view->settings;
	pthread_mutex_unlock(&h->lock);
	return rc;
}

/* r and w default to a majority of the ring's n, now that it is known. */
static int
finish_numbers(dyn_node *n, struct dyn_error *error)
{
	n->n = n->ring.n;
	if (n->r > n->n || n->w > n->n)
		return error_set(error, DYN_EINVAL, "r or w is above the ring's n=%u", n->n);
	if (n->r == 0)
		n->r = MIN(2u, n->n);
	if (n->w == 0)
		n->w = MIN(2u, n->n);
	return 0;
}

static int
start(dyn_node *n, const struct dyn_options *o, struct dyn_error *error)
{
	struct identity id = { NULL, false };
	int rc;

	rc = open_engine(n, o, error);
	if (rc == 0)
		rc = identity_load(n, &id, error);
	if (rc == 0 && id.saved != NULL)
		rc = check_saved(n, id.saved, error);
	n->host.w = n->w != 0 ? n->w : 2;
	n->host.partitions = id.saved != NULL ? id.saved->settings.partitions : 0;
	if (rc == 0)
		rc = make_threads(n);
	if (rc == 0 && n->host.role == DYN_PEER)
		rc = listen_on(n, o, error);
	if (rc == 0)
		rc = n->host.role == DYN_LOCAL ? begin_local(n, &id) : begin_member(n, o, &id);
	if (rc == 0)
		rc = start_threads(n);
	view_unref(id.saved);
	if (rc == 0)
		rc = wait_for_ring(n, error);
	if (rc == 0)
		rc = finish_numbers(n, error);
	return rc;
}

/* ------------------------------------------------------------------ closing */

/* The threads in the order that lets each answer the last letters of those
 * before it.  Returns how many requests were cut off. */
static size_t
stop_threads(dyn_node *n, uint64_t until)
{
	struct host *h = &n->host;
	size_t left = 0;

	if (h->syncer != NULL)
		syncer_stop(h->syncer);
	if (h->gossip != NULL)
		gossip_stop(h->gossip);
	for (unsigned i = 0; i < h->workers_count; i++)
		if (h->workers[i] != NULL)
			left += worker_stop(h->workers[i], until);
	if (h->storage != NULL)
		storage_stop(h->storage);
	for (unsigned i = 0; i < h->workers_count && h->workers[i] != NULL; i++) {
		struct worker_figures f;

		worker_figures(h->workers[i], &f);
		h->actor.incarnation = MAX(h->actor.incarnation, f.incarnation);
		h->forgot = h->forgot || f.forgot;
	}
	return left;
}

/* Letters that came after a thread had ended are run now.  They may post to any
 * of the others, so nothing is freed before there are none left. */
static void
settle_threads(struct host *h)
{
	bool any;

	do {
		any = h->gossip != NULL && loop_settle(gossip_loop(h->gossip));
		for (unsigned i = 0; i < h->workers_count; i++)
			any |= h->workers[i] != NULL && loop_settle(worker_loop(h->workers[i]));
		any |= h->storage != NULL && loop_settle(storage_loop(h->storage));
		any |= h->syncer != NULL && loop_settle(syncer_loop(h->syncer));
	} while (any);
}

static void
free_threads(struct host *h)
{
	settle_threads(h);
	gossip_free(h->gossip);
	for (unsigned i = 0; i < h->workers_count; i++)
		worker_free(h->workers[i]);
	storage_free(h->storage);
	syncer_free(h->syncer);
}

static int
close_storage(dyn_node *n, bool orderly)
{
	struct dyn_engine *e = n->host.engine;
	int rc = 0, closed = 0;

	if (e != NULL) {
		rc = orderly ? identity_save_clean(n) : 0;
		closed = e->close(e->self);
		n->host.engine = NULL;
	}
	if (rc == 0)
		rc = closed;
	if (n->has_dir)
		dir_close(&n->dir, orderly && rc == 0);
	return rc;
}

static void
node_free(dyn_node *n)
{
	while (!list_empty(&n->buckets)) {
		dyn_bucket *b = CONTAINER_OF(n->buckets.next, dyn_bucket, link);

		list_remove(&b->link);
		mem_free(b);
	}
	if (n->due_fd >= 0)
		close(n->due_fd);
	pthread_mutex_destroy(&n->lock);
	host_fini(&n->host);
	tls_free(n->tls);
	mem_free(n);
}

/* orderly: the node was open. */
static int
take_down(dyn_node *n, uint64_t until, bool orderly, size_t *left)
{
	int rc;

	*left = stop_threads(n, until);
	calls_dispatch_all(n);
	free_threads(&n->host);
	calls_dispatch_all(n);
	rc = close_storage(n, orderly);
	node_free(n);
	return rc;
}

int
dyn_open(dyn_node **out, const struct dyn_options *options, struct dyn_error *error)
{
	struct dyn_options o;
	struct dyn_error none;
	dyn_node *n;
	size_t left;
	int rc;

	if (error == NULL)
		error = &none;
	(void)error_set(error, 0, "%s", dyn_strerror(0));
	if (out == NULL)
		return error_set(error, DYN_EINVAL, "out is NULL");
	*out = NULL;
	rc = options_copy(&o, options, error);
	if (rc != 0)
		return rc;
	n = mem_zalloc(sizeof(*n));
	if (n == NULL) {
		if (o.engine != NULL)
			(void)o.engine->close(o.engine->self);
		return error_set(error, DYN_ENOMEM, "%s", dyn_strerror(DYN_ENOMEM));
	}
	n->pid = getpid();
	n->host.started = clock_now();
	n->host.config.counters = &n->host.counters;
	n->host.config.log = o.log;
	n->host.config.log_arg = o.log_arg;
	n->host.done = calls_done;
	n->host.done_arg = n;
	n->host.engine = o.engine;
	list_init(&n->buckets);
	pthread_mutex_init(&n->lock, NULL);
	n->due_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	rc = host_init(&n->host);
	if (rc == 0 && n->due_fd < 0)
		rc = DYN_ENOMEM;
	if (rc == 0)
		rc = options_apply(n, &o, error);
	if (rc == 0)
		rc = start(n, &o, error);
	if (rc != 0) {
		if (error->code != rc)
			(void)error_set(error, rc, "%s", dyn_strerror(rc));
		(void)take_down(n, 0, false, &left);
		return rc;
	}
	*out = n;
	return error_set(error, 0, "%s", dyn_strerror(0));
}

/* In a forked child the threads are not there, their locks may be held, and
 * the files and sockets are the parent's: let go of the memory that is surely
 * whole, and of nothing else. */
static int
abandon(dyn_node *n)
{
	if (n->has_dir)
		dir_abandon(&n->dir);
	mem_free(n);
	return DYN_EFORKED;
}

int
dyn_close(dyn_node *n, unsigned deadline_ms)
{
	size_t left;
	int rc;

	if (n == NULL)
		return DYN_EINVAL;
	if (n->pid != getpid())
		return abandon(n);
	if (callback_inside())
		return DYN_EDEADLK;
	atomic_store_explicit(&n->closing, true, memory_order_release);
	rc = take_down(n, clock_now() + deadline_ms * NS_PER_MS, true, &left);
	if (rc != 0)
		return rc;
	return left > 0 ? DYN_ETIMEOUT : 0;
}

struct dyn_id
dyn_self(const dyn_node *n)
{
	struct dyn_id none = { { 0 } };

	return n != NULL ? n->host.self : none;
}

const char *
dyn_address(const dyn_node *n)
{
	return n != NULL ? n->bound : "";
}
