/* Dialling, redialling, and finding the connection a frame goes out by. */
#include "host/links.h"

#include "base/hash.h"

#define REDIAL_FIRST (50 * NS_PER_MS)
#define REDIAL_MOST (1 * NS_PER_S)
#define PROBE_PATIENCE (3 * NS_PER_S)

/* To a member's worker, or to an address whose node is not known yet. */
struct link {
	struct map_link map;
	struct links *links;
	struct dyn_id id;
	unsigned worker;
	char address[DYN_ADDRESS_MAX];
	struct conn *conn;   /* NULL: not dialled */
	bool opened, down;
	bool wanted;         /* keep: still a member */
	uint64_t redial_at, pause;
	uint64_t silent_at;  /* asked by links_probe: broken off then */
};

/* Accepted by the acceptor, given to this thread. */
struct given {
	struct map_link map;
	struct conn *conn;
};

static const struct conn_events dialled_events, accepted_events;

int
links_init(struct links *ls, struct host *host, struct loop *loop, enum purpose purpose,
    bool keep, const struct links_events *events, void *arg)
{
	memset(ls, 0, sizeof(*ls));
	ls->host = host;
	ls->loop = loop;
	ls->purpose = purpose;
	ls->keep = keep;
	ls->events = events;
	ls->arg = arg;
	if (map_init(&ls->by_peer, 16) != 0)
		return DYN_ENOMEM;
	if (map_init(&ls->by_token, 16) != 0) {
		map_fini(&ls->by_peer);
		return DYN_ENOMEM;
	}
	return 0;
}

static uint64_t
link_hash(const struct dyn_id *id, unsigned worker, const char *address)
{
	if (!id_is_zero(id))
		return load_be64(id->bytes) + worker;
	return hash_quick(slice(address, strlen(address)));
}

static struct link *
link_find(const struct links *ls, const struct dyn_id *id, unsigned worker,
    const char *address)
{
	struct map_link *l = map_first(&ls->by_peer, link_hash(id, worker, address));

	for (; l != NULL; l = map_next(l)) {
		struct link *k = CONTAINER_OF(l, struct link, map);

		if (id_equal(&k->id, id) && k->worker == worker &&
		    (!id_is_zero(id) || strcmp(k->address, address) == 0))
			return k;
	}
	return NULL;
}

static struct link *
link_new(struct links *ls, const struct dyn_id *id, unsigned worker, const char *address)
{
	struct link *k = mem_zalloc(sizeof(*k));

	if (k == NULL)
		return NULL;
	k->links = ls;
	k->id = *id;
	k->worker = worker;
	k->pause = REDIAL_FIRST;
	k->redial_at = k->silent_at = TIME_NEVER;
	memcpy(k->address, address, strlen(address) + 1);
	map_add(&ls->by_peer, &k->map, link_hash(id, worker, address));
	return k;
}

static void
hello_fill(const struct links *ls, const struct link *k, struct msg_hello *hello)
{
	const struct host *h = ls->host;

	memset(hello, 0, sizeof(*hello));
	hello->role = (uint8_t)h->role;
	hello->purpose = (uint8_t)ls->purpose;
	hello->worker = (uint16_t)k->worker;
	hello->node = h->self;
	if (ls->view != NULL)
		hello->ring_id = ls->view->settings.ring_id;
	hello->ring = slice(h->ring, strlen(h->ring));
	hello->advertise = slice(h->advertise, strlen(h->advertise));
}

/* Connections tell about their end after the owner's turn (loop_defer): have
 * another one, in which the owner carries out what follows from it. */
static void
another_turn(struct links *ls)
{
	loop_wake_at(ls->loop, ls->loop->now);
}

static void
mark_down(struct link *k, int rc, bool sure)
{
	struct links *ls = k->links;
	bool by_address = id_is_zero(&k->id);

	k->down = true;
	k->opened = false;
	k->silent_at = TIME_NEVER;
	k->redial_at = ls->keep && k->wanted ? ls->loop->now + k->pause : TIME_NEVER;
	k->pause = MIN(2 * k->pause, REDIAL_MOST);
	if (!ls->closing)
		ls->events->down(ls->arg, &k->id, k->worker, by_address ? k->address : NULL, rc,
		    sure);
}

static void
dial(struct link *k)
{
	struct links *ls = k->links;
	struct msg_hello hello;
	int rc;

	hello_fill(ls, k, &hello);
	k->redial_at = TIME_NEVER;
	rc = conn_dial(&k->conn, ls->loop, &ls->host->config, k->address, &hello,
	    &dialled_events, k);
	if (rc != 0) {
		k->conn = NULL;
		mark_down(k, rc, true);
		return;
	}
	ls->open++;
}

/* ------------------------------------------------- events of connections */

static void
dialled_opened(void *arg, struct conn *c, const struct msg_welcome *welcome)
{
	struct link *k = arg;
	struct links *ls = k->links;

	if (id_equal(&welcome->node, &ls->host->self)) {
		conn_close(c, DYN_EADDRESS, "that is this node", false);
		return;
	}
	if (!id_is_zero(&k->id) && !id_equal(&welcome->node, &k->id)) {
		conn_close(c, DYN_EADDRESS, "another node answers at this address", false);
		return;
	}
	host_heard(ls->host, &welcome->node, welcome->level);
	k->opened = true;
	k->down = false;
	k->pause = REDIAL_FIRST;
	if (!id_is_zero(&k->id))
		ls->events->up(ls->arg, &k->id, k->worker);
}

/* To the owner; but not what only newer nodes know. */
static void
deliver(struct links *ls, const struct dyn_id *from, struct conn *c, const struct frame *f)
{
	int rc;

	if (!msg_known(f->kind)) {
		atomic_fetch_add_explicit(
		    &ls->host->counters.frames_skipped, 1, memory_order_relaxed);
		return;
	}
	rc = ls->events->frame(ls->arg, from, conn_token(c), f);
	if (rc != 0)
		conn_close(c, rc, "malformed message", false);
}

static void
dialled_frame(void *arg, struct conn *c, const struct frame *f)
{
	struct link *k = arg;
	struct links *ls = k->links;
	struct dyn_id from = conn_node(c);

	k->silent_at = TIME_NEVER;
	if (f->kind == MSG_BYE) {
		if (ls->events->leaving != NULL && !id_is_zero(&k->id))
			ls->events->leaving(ls->arg, &k->id, k->worker);
		return;
	}
	deliver(ls, &from, c, f);
}

static void
dialled_closed(void *arg, struct conn *c, int rc, const char *why, bool refused)
{
	struct link *k = arg;
	struct links *ls = k->links;
	bool was_open = k->opened;

	(void)c;
	k->conn = NULL;
	ls->open--;
	another_turn(ls);
	if (was_open && !ls->closing)
		host_log(ls->host, DYN_LOG_INFO, "lost %s: %s", k->address, why);
	/* Once: dialled again and again, it fails again and again. */
	if (!was_open && rc != DYN_ECLOSED && !k->down && !ls->closing)
		host_log(ls->host, DYN_LOG_WARNING, "%s: %s", k->address, why);
	mark_down(k, rc, refused);
}

static const struct conn_events dialled_events = { dialled_opened, dialled_frame,
	dialled_closed };

static void
accepted_opened(void *arg, struct conn *c, const struct msg_welcome *welcome)
{
	struct links *ls = arg;
	struct given *g = mem_zalloc(sizeof(*g));

	(void)welcome;
	if (g == NULL) {
		conn_close(c, DYN_ENOMEM, "out of memory", false);
		return;
	}
	ls->open++;
	g->conn = c;
	map_add(&ls->by_token, &g->map, conn_token(c));
	if (ls->closing)
		conn_close(c, DYN_ECLOSED, "closing", false);
}

static void
accepted_frame(void *arg, struct conn *c, const struct frame *f)
{
	struct links *ls = arg;
	struct dyn_id from = conn_node(c);

	if (conn_role(c) == DYN_CLIENT)
		memset(&from, 0, sizeof(from));
	deliver(ls, &from, c, f);
}

static struct given *
given_find(const struct links *ls, uint64_t token)
{
	struct map_link *l = map_first(&ls->by_token, token);

	return l != NULL ? CONTAINER_OF(l, struct given, map) : NULL;
}

static void
accepted_closed(void *arg, struct conn *c, int rc, const char *why, bool refused)
{
	struct links *ls = arg;
	struct given *g = given_find(ls, conn_token(c));

	(void)rc;
	(void)why;
	(void)refused;
	if (g == NULL)
		return; /* broke before it was opened here, or had no memory */
	ls->open--;
	another_turn(ls);
	map_remove(&ls->by_token, &g->map);
	mem_free(g);
}

static const struct conn_events accepted_events = { accepted_opened, accepted_frame,
	accepted_closed };

const struct conn_events *
links_accepting(void)
{
	return &accepted_events;
}

/* ---------------------------------------------------------------- the view */

static void
not_wanted(void *arg, struct map_link *l)
{
	(void)arg;
	CONTAINER_OF(l, struct link, map)->wanted = false;
}

/* Members that left: let go of them. */
static void
let_go(void *arg, struct map_link *l)
{
	struct links *ls = arg;
	struct link *k = CONTAINER_OF(l, struct link, map);

	if (k->wanted || id_is_zero(&k->id))
		return;
	if (k->conn != NULL) {
		conn_close(k->conn, DYN_ECLOSED, "not a member any more", true);
		return;
	}
	map_remove(&ls->by_peer, &k->map);
	mem_free(k);
}

static void
want(struct links *ls, const struct record *r, unsigned worker)
{
	struct link *k = link_find(ls, &r->id, worker, r->address);

	if (k == NULL && !ls->keep)
		return;
	if (k == NULL)
		k = link_new(ls, &r->id, worker, r->address);
	if (k == NULL)
		return;
	k->wanted = true;
	if (strcmp(k->address, r->address) != 0) {
		/* It moved: try there at once (PAINS 19). */
		memcpy(k->address, r->address, sizeof(k->address));
		k->pause = REDIAL_FIRST;
		if (k->conn != NULL)
			conn_close(k->conn, DYN_ECLOSED, "the member changed its address", false);
		else
			k->redial_at = ls->loop->now;
	}
	if (ls->keep && k->conn == NULL && !k->down)
		dial(k);
}

void
links_view(struct links *ls, struct view *v)
{
	view_ref(v);
	view_unref(ls->view);
	ls->view = v;
	if (ls->closing)
		return;
	map_each(&ls->by_peer, not_wanted, NULL);
	for (size_t i = 0; i < v->count; i++) {
		const struct record *r = &v->records[i];

		if (!record_is_here(r) || id_equal(&r->id, &ls->host->self))
			continue;
		for (unsigned k = 0; k < MAX(r->workers, 1u); k++) {
			want(ls, r, k);
			if (ls->purpose != PURPOSE_DATA)
				break;
		}
	}
	map_each(&ls->by_peer, let_go, ls);
}

/* --------------------------------------------------------------- sending */

static struct link *
link_for(struct links *ls, const struct dyn_id *id, unsigned worker, const char *address)
{
	const struct record *r;
	struct link *k;

	if (id_is_zero(id)) {
		if (address == NULL)
			return NULL; /* a client: it cannot be dialled */
		k = link_find(ls, id, worker, address);
		return k != NULL ? k : link_new(ls, id, worker, address);
	}
	k = link_find(ls, id, worker, "");
	if (k != NULL)
		return k;
	r = ls->view != NULL ? view_find(ls->view, id) : NULL;
	if (r == NULL)
		return NULL;
	k = link_new(ls, id, worker, r->address);
	if (k != NULL)
		k->wanted = true;
	return k;
}

int
links_send(struct links *ls, const struct dyn_id *id, unsigned worker, const char *address,
    struct buf *frame)
{
	struct link *k;

	if (ls->closing)
		return DYN_ECLOSED;
	k = link_for(ls, id, worker, address);
	if (k == NULL)
		return DYN_ECLOSED;
	if (k->conn == NULL) {
		/* Kept links are dialled by their own clock. */
		if (k->down && ls->keep && k->redial_at != TIME_NEVER)
			return DYN_ECLOSED;
		dial(k);
		if (k->conn == NULL)
			return DYN_ECLOSED;
	}
	return conn_send(k->conn, frame);
}


void
links_reply(struct links *ls, uint64_t token, struct buf *frame)
{
	struct given *g = given_find(ls, token);
	int rc = g != NULL ? conn_send(g->conn, frame) : DYN_ECLOSED;

	if (rc != 0)
		buf_unref(frame);
	/* Who takes no answers loses them: the queue is bounded. */
	if (rc == DYN_EBUSY)
		conn_close(g->conn, rc, "takes no answers", false);
}

/* ------------------------------------------------------------------ time */

struct earliest {
	uint64_t at;
};

static void
look_at(void *arg, struct map_link *l)
{
	struct earliest *e = arg;

	const struct link *k = CONTAINER_OF(l, struct link, map);

	e->at = MIN(e->at, MIN(k->redial_at, k->silent_at));
}

uint64_t
links_wake(const struct links *ls)
{
	struct earliest e = { TIME_NEVER };
	struct map by_peer = ls->by_peer;

	if (!ls->closing)
		map_each(&by_peer, look_at, &e);
	return e.at;
}

static void
redial(void *arg, struct map_link *l)
{
	struct links *ls = arg;
	struct link *k = CONTAINER_OF(l, struct link, map);

	if (k->conn == NULL && k->redial_at <= ls->loop->now)
		dial(k);
	else if (k->conn != NULL && k->silent_at <= ls->loop->now)
		conn_close(k->conn, DYN_ECLOSED, "silent", false);
}

void
links_tick(struct links *ls)
{
	if (!ls->closing)
		map_each(&ls->by_peer, redial, ls);
}

/* Links to a member: one a worker. */
struct visit {
	struct links *links;
	const struct dyn_id *id;
	struct buf *ping; /* NULL: break off */
};

static void
visit(void *arg, struct map_link *l)
{
	struct visit *v = arg;
	struct link *k = CONTAINER_OF(l, struct link, map);

	if (!id_equal(&k->id, v->id) || k->conn == NULL)
		return;
	if (v->ping == NULL) {
		conn_close(k->conn, DYN_ECLOSED, "silent", false);
	} else if (k->opened && k->silent_at == TIME_NEVER) {
		k->silent_at = v->links->loop->now + PROBE_PATIENCE;
		/* If its queue is full it has been silent for long already. */
		if (conn_send(k->conn, buf_ref(v->ping)) != 0)
			buf_unref(v->ping);
	}
}

void
links_probe(struct links *ls, const struct dyn_id *id)
{
	struct frame head = { .version = WIRE_VERSION };
	union msg m = { .ping = { .token = 0 } };
	struct visit v = { ls, id, NULL };

	if (ls->closing || msg_encode(&v.ping, &head, MSG_PING, &m) != 0)
		return;
	map_each(&ls->by_peer, visit, &v);
	buf_unref(v.ping);
}

void
links_reset(struct links *ls, const struct dyn_id *id)
{
	struct visit v = { ls, id, NULL };

	map_each(&ls->by_peer, visit, &v);
}

/* ----------------------------------------------------------------- closing */

static void
say_bye(void *arg, struct map_link *l)
{
	struct buf *frame = arg;
	struct given *g = CONTAINER_OF(l, struct given, map);

	/* Who cannot be told sees the connection end. */
	if (conn_send(g->conn, buf_ref(frame)) != 0)
		buf_unref(frame);
}

size_t
links_bye(struct links *ls)
{
	struct frame head = { .request = 0 };
	union msg m = { .bye = { 0, { NULL, 0 } } };
	struct buf *frame;

	if (ls->by_token.count == 0 || msg_encode(&frame, &head, MSG_BYE, &m) != 0)
		return 0;
	map_each(&ls->by_token, say_bye, frame);
	buf_unref(frame);
	return ls->by_token.count;
}

static void
close_link(void *arg, struct map_link *l)
{
	struct link *k = CONTAINER_OF(l, struct link, map);

	(void)arg;
	if (k->conn != NULL)
		conn_close(k->conn, DYN_ECLOSED, "closing", true);
}

static void
close_given(void *arg, struct map_link *l)
{
	(void)arg;
	conn_close(CONTAINER_OF(l, struct given, map)->conn, DYN_ECLOSED, "closing", true);
}

void
links_close(struct links *ls)
{
	ls->closing = true;
	map_each(&ls->by_peer, close_link, NULL);
	map_each(&ls->by_token, close_given, NULL);
}

static void
free_link(void *arg, struct map_link *l)
{
	struct link *k = CONTAINER_OF(l, struct link, map);

	(void)arg;
	DYN_ASSERT(k->conn == NULL);
	mem_free(k);
}

void
links_fini(struct links *ls)
{
	DYN_ASSERT(ls->open == 0);
	map_each(&ls->by_peer, free_link, NULL);
	map_fini(&ls->by_peer);
	map_fini(&ls->by_token);
	view_unref(ls->view);
}
