/*
 * A worker's table of conversations: who waits for what, and where an event
 * goes.  It decides nothing about quorums (quorum.c) or versions (model/).
 */
#include "core/request.h"

void
op_free(struct op *op)
{
	if (op == NULL)
		return;
	buf_unref(op->name);
	buf_unref(op->value);
	buf_unref(op->object);
	clock_fini(&op->context);
	mem_free(op);
}

int
work_new(struct work **out, const struct work_options *options)
{
	struct work *w = mem_zalloc(sizeof(*w));
	int rc = DYN_ENOMEM;

	*out = NULL;
	if (w == NULL)
		return rc;
	w->o = *options;
	w->rng.state = options->seed;
	w->next_number = 1;
	list_init(&w->requests);
	if (map_init(&w->requests_by_number, 256) != 0 || map_init(&w->peers, 16) != 0 ||
	    timers_init(&w->timers) != 0)
		goto fail;
	if (!options->client) {
		rc = store_init(&w->store, options->engine, options->actor, options->actor_kept,
		    options->standin, options->skew_max_ms);
		if (rc != 0)
			goto fail;
		w->stores = true;
	}
	*out = w;
	return 0;
fail:
	work_free(w);
	return rc;
}

void
work_free(struct work *w)
{
	if (w == NULL)
		return;
	while (!list_empty(&w->requests)) {
		struct request *r = CONTAINER_OF(w->requests.next, struct request, all);

		op_free(r->op);
		r->op = NULL;
		request_end(w, r);
	}
	map_fini(&w->requests_by_number);
	peers_free(w);
	timers_fini(&w->timers);
	mem_free(w->waiters);
	if (w->stores)
		store_fini(&w->store);
	view_unref(w->view);
	buf_unref(w->catching);
	mem_free(w);
}

/* -------------------------------------------------------------- sending */

struct frame
work_head(const struct work *w, uint64_t request)
{
	return view_head(w->view, request);
}

void
work_send(const struct view *v, const struct dyn_id *to, unsigned partition, struct buf *frame,
    struct outbox *out)
{
	struct effect *e = outbox_add(out, FX_SEND);

	e->to = *to;
	e->worker = (uint16_t)peer_worker(v, to, partition);
	e->frame = frame;
}

void
work_reply(struct work *w, uint64_t conn, uint64_t request, enum msg_kind kind,
    const union msg *m, struct outbox *out)
{
	struct frame head = work_head(w, request);
	struct effect *e;
	struct buf *frame;

	/* Out of memory: no answer is the same as a lost one. */
	if (msg_encode(&frame, &head, kind, m) != 0)
		return;
	e = outbox_add(out, FX_REPLY);
	e->conn = conn;
	e->frame = frame;
}

bool
frame_is_older(const struct work *w, const struct frame *f)
{
	return head_is_older(w->view, f);
}

bool
frame_is_newer(const struct work *w, const struct frame *f)
{
	const struct table *t = w->view != NULL ? w->view->current : NULL;
	uint64_t table;

	if (t == NULL || f->epoch >> 2 != t->epoch)
		return t == NULL || f->epoch >> 2 > t->epoch;
	table = load_be64(t->digest.b);
	return f->table > table || (f->table == table && f->epoch > view_stamp(w->view));
}

bool
view_is_newer(const struct view *a, const struct view *b)
{
	int c = table_compare(a->current, b->current);

	return c != 0 ? c > 0 : view_stamp(a) > view_stamp(b);
}

/* The sender has another table than ours: let gossip settle it. */
static void
compare_tables(struct work *w, const struct dyn_id *from, const struct frame *f,
    struct outbox *out)
{
	const struct table *t = w->view != NULL ? w->view->current : NULL;

	if (t == NULL || f->epoch == 0 || id_is_zero(from))
		return;
	if (f->epoch != view_stamp(w->view) || f->table != load_be64(t->digest.b))
		outbox_add(out, FX_POKE)->to = *from;
}

void
group_limit(struct group *g, unsigned n)
{
	g->count = MIN(g->count, n);
}

/* ------------------------------------------------------------- requests */

static size_t
op_bytes(const struct op *op)
{
	size_t bytes = sizeof(*op) + sizeof(struct request) + op->name->len;

	return bytes + (op->value != NULL ? 2 * op->value->len : 0);
}

void
request_renumber(struct work *w, struct request *r)
{
	if (r->number != 0)
		map_remove(&w->requests_by_number, &r->link);
	r->number = w->next_number++;
	map_add(&w->requests_by_number, &r->link, r->number);
}

int
request_start(struct work *w, struct request *r, struct op *op, struct moment m)
{
	int rc;

	list_init(&r->all);
	r->op = op;
	r->view = view_ref(w->view);
	r->partition = name_partition(buf_slice(op->name), w->view->settings.partitions);
	r->deadline = op->started + op->timeout_ms * NS_PER_MS;
	r->sent_at = m.now;
	rc = timer_set(&w->timers, &r->timer, MIN(r->deadline, m.now + WORK_SLOW_AFTER));
	if (rc != 0) {
		view_unref(r->view);
		return rc;
	}
	request_renumber(w, r);
	list_add(&w->requests, &r->all);
	r->bytes = op_bytes(op);
	w->bytes += r->bytes;
	return 0;
}

void
request_timer(struct work *w, struct request *r, uint64_t at)
{
	int rc = timer_set(&w->timers, &r->timer, at);

	DYN_ASSERT(rc == 0); /* it is set: moving needs no memory */
}

void
request_end(struct work *w, struct request *r)
{
	DYN_ASSERT(r->op == NULL);
	map_remove(&w->requests_by_number, &r->link);
	list_remove(&r->all);
	timer_cancel(&w->timers, &r->timer);
	w->bytes -= r->bytes;
	view_unref(r->view);
	switch (r->kind) {
	case REQUEST_READ:
		read_free(r);
		break;
	case REQUEST_WRITE:
		write_free(r);
		break;
	case REQUEST_ASK:
		ask_free(r);
		break;
	case REQUEST_PARKED:
		park_free(r);
		break;
	}
}

static struct request *
request_find(struct work *w, uint64_t number)
{
	struct map_link *l = map_first(&w->requests_by_number, number);

	return l != NULL ? CONTAINER_OF(l, struct request, link) : NULL;
}

/* ------------------------------------------------------------ operations */

static void
count_op(struct work *w, const struct op *op, int rc, struct moment m)
{
	uint64_t us = (m.now - op->started) / NS_PER_US;

	if (op->kind == OP_GET) {
		w->stats.gets++;
		histogram_add(&w->stats.get_us, us);
	} else {
		w->stats.puts += op->kind == OP_PUT;
		w->stats.deletes += op->kind == OP_DELETE;
		histogram_add(&w->stats.put_us, us);
	}
	w->stats.unknown += rc == DYN_EUNKNOWN;
	w->stats.refused += rc == DYN_EBUSY;
	w->stats.failed += rc != 0 && rc != DYN_EUNKNOWN;
}

static void
answer_ask(struct work *w, const struct op *op, struct outbox *out)
{
	union msg m = { .ask_ack = {
		.rc = (uint32_t)op->rc,
		.owners = (uint16_t)op->receipt.owners,
		.standins = (uint16_t)op->receipt.standins,
		.machines = (uint16_t)op->receipt.machines,
		.zones = (uint16_t)op->receipt.zones,
		.on_disk = (uint16_t)op->receipt.on_disk,
		.coordinator = op->receipt.coordinator,
		.dot_node = op->dot.actor.node,
		.dot_incarnation = op->dot.actor.incarnation,
		.dot_counter = op->dot.counter,
		.time = op->time,
	} };

	work_reply(w, op->conn, op->remote, MSG_ASK_ACK, &m, out);
}

void
op_done(struct work *w, struct op *op, int rc, struct moment m, struct outbox *out)
{
	op->rc = rc;
	if (op->conn != 0) {
		answer_ask(w, op, out);
		op_free(op);
		return;
	}
	count_op(w, op, rc, m);
	outbox_add(out, FX_DONE)->what = op;
}

bool
coordinates(const struct work *w, const struct op *op)
{
	struct group g;

	if (!w->stores)
		return false;
	view_readers(w->view,
	    name_partition(buf_slice(op->name), w->view->settings.partitions), &g);
	group_limit(&g, op->n);
	return group_has(w->view, &g, &w->o.self);
}

void
work_op(struct work *w, struct op *op, struct moment m, struct outbox *out)
{
	w->called = m.now;
	if (op->started == 0)
		op->started = m.now;
	if (w->view == NULL || w->view->base == NULL)
		op_done(w, op, DYN_EQUORUM, m, out);
	else if (work_bytes(w) > w->o.bytes_max)
		op_done(w, op, DYN_EBUSY, m, out);
	else if (park_needed(w, op))
		park_start(w, op, m, out);
	else if (op->kind == OP_GET)
		read_start(w, op, m, out);
	else if (coordinates(w, op) || (op->standin && standin_is_self(w)))
		write_start(w, op, m, out);
	else if (op->conn == 0)
		ask_start(w, op, m, out);
	else
		/* Forwarded once already. */
		op_done(w, op, DYN_EMOVED, m, out);
}

/* ---------------------------------------------------------------- frames */

static int
dispatch(struct work *w, const struct dyn_id *from, uint64_t conn, const struct frame *f,
    const union msg *msg, struct moment m, struct outbox *out)
{
	struct request *r;

	switch (f->kind) {
	case MSG_PING:
		ping_answer(conn, f, &msg->ping, out);
		return 0;
	case MSG_PUT:
		replica_put(w, conn, f, &msg->put, m, out);
		return 0;
	case MSG_GET:
		replica_get(w, from, conn, f, &msg->get, m, out);
		return 0;
	case MSG_ASK:
		replica_ask(w, conn, f, &msg->ask, m, out);
		return 0;
	default:
		break;
	}
	/* The rest are answers.  One that nobody waits for came late. */
	r = request_find(w, f->request);
	if (r == NULL)
		return 0;
	if (f->kind == MSG_GET_ACK && r->kind == REQUEST_READ)
		read_answer(w, r, from, &msg->get_ack, m, out);
	else if (f->kind == MSG_PUT_ACK && r->kind == REQUEST_WRITE)
		write_answer(w, r, from, &msg->put_ack, m, out);
	else if (f->kind == MSG_ASK_ACK && r->kind == REQUEST_ASK)
		ask_answer(w, r, from, &msg->ask_ack, m, out);
	return 0;
}

int
work_frame(struct work *w, const struct dyn_id *from, uint64_t conn, const struct frame *f,
    struct moment m, struct outbox *out)
{
	union msg msg;
	int rc;

	rc = msg_decode(f->kind, f->body, &msg);
	if (rc == DYN_EVERSION)
		return 0; /* of a newer peer: skipped */
	if (rc != 0)
		return rc;
	w->called = m.now;
	compare_tables(w, from, f, out);
	return dispatch(w, from, conn, f, &msg, m, out);
}

/* ----------------------------------------------------------- lost, moved */

static void
lost(struct work *w, struct request *r, const struct dyn_id *id, bool sure, struct moment m,
    struct outbox *out)
{
	switch (r->kind) {
	case REQUEST_READ:
		read_lost(w, r, id, sure, m, out);
		break;
	case REQUEST_WRITE:
		write_lost(w, r, id, sure, m, out);
		break;
	case REQUEST_ASK:
		ask_lost(w, r, id, sure, m, out);
		break;
	case REQUEST_PARKED:
		break;
	}
}

void
work_peer_down(struct work *w, const struct dyn_id *id, unsigned worker, bool sure,
    struct moment m, struct outbox *out)
{
	struct peer *p = peer_get(w, id, worker);

	if (p != NULL)
		p->down = true;
	LIST_EACH_SAFE(l, next, &w->requests) {
		struct request *r = CONTAINER_OF(l, struct request, all);

		if (peer_worker(r->view, id, r->partition) == worker)
			lost(w, r, id, sure, m, out);
	}
}

/* The request waits for somebody who does not answer: let others stand in. */
static void
suspected(struct work *w, struct request *r, const struct dyn_id *id, struct moment m,
    struct outbox *out)
{
	switch (r->kind) {
	case REQUEST_READ:
		read_suspect(w, r, id, m, out);
		break;
	case REQUEST_WRITE:
		write_suspect(w, r, id, m, out);
		break;
	case REQUEST_ASK: /* it may have it: nobody else can be asked (S6) */
	case REQUEST_PARKED:
		break;
	}
}

void
work_peer_suspect(struct work *w, const struct dyn_id *id, bool suspect, struct moment m,
    struct outbox *out)
{
	const struct record *rec = w->view != NULL ? view_find(w->view, id) : NULL;
	unsigned workers = rec != NULL ? MAX(rec->workers, 1u) : 1;

	for (unsigned i = 0; i < workers; i++) {
		struct peer *p = peer_get(w, id, i);

		if (p != NULL)
			p->suspect = suspect;
	}
	if (!suspect)
		return;
	LIST_EACH_SAFE(l, next, &w->requests)
		suspected(w, CONTAINER_OF(l, struct request, all), id, m, out);
}

void
work_send_failed(struct work *w, const struct dyn_id *id, uint64_t request, struct moment m,
    struct outbox *out)
{
	struct request *r = request_find(w, request);

	if (r != NULL)
		lost(w, r, id, true, m, out);
}

void
work_view(struct work *w, struct view *v, struct moment m, struct outbox *out)
{
	bool other = w->view == NULL || view_is_newer(v, w->view);

	if (!other && view_is_newer(w->view, v))
		return; /* it came late */
	view_ref(v);
	view_unref(w->view);
	w->view = v;
	if (!other)
		return;
	LIST_EACH_SAFE(l, next, &w->requests) {
		struct request *r = CONTAINER_OF(l, struct request, all);

		if (!r->moved)
			continue;
		w->stats.moved++;
		switch (r->kind) {
		case REQUEST_READ:
			read_view(w, r, m, out);
			break;
		case REQUEST_WRITE:
			write_view(w, r, m, out);
			break;
		case REQUEST_ASK:
			ask_view(w, r, m, out);
			break;
		case REQUEST_PARKED:
			park_view(w, r, m, out);
			break;
		}
	}
}

/* -------------------------------------------------------------- waiters */

int
wait_for(struct work *w, const struct waiter *waiter)
{
	if (w->waiters_count == w->waiters_cap) {
		size_t cap = w->waiters_cap == 0 ? 256 : 2 * w->waiters_cap;
		struct waiter *ring = mem_array(cap, sizeof(*ring));

		if (ring == NULL)
			return DYN_ENOMEM;
		for (size_t i = 0; i < w->waiters_count; i++)
			ring[i] = w->waiters[(w->waiters_first + i) % w->waiters_cap];
		mem_free(w->waiters);
		w->waiters = ring;
		w->waiters_cap = cap;
		w->waiters_first = 0;
	}
	w->waiters[(w->waiters_first + w->waiters_count++) % w->waiters_cap] = *waiter;
	return 0;
}

static void
wake(struct work *w, const struct waiter *waiter, int rc, struct moment m, struct outbox *out)
{
	struct request *r;
	struct effect *e;
	struct rows *rows;

	switch (waiter->kind) {
	case WAIT_REPLICA:
		replica_stored(w, waiter, rc, out);
		break;
	case WAIT_WRITE:
		r = request_find(w, waiter->request);
		if (r != NULL && r->kind == REQUEST_WRITE)
			write_stored(w, r, rc, m, out);
		break;
	case WAIT_FENCE:
		/* What was lost by a failure was not acknowledged: it holds. */
		outbox_add(out, FX_FENCED)->what = waiter->token;
		break;
	case WAIT_ROWS:
		rows = waiter->token;
		rows->quiet = m.now - w->called;
		e = outbox_add(out, FX_STORED);
		e->rc = rc;
		e->what = rows;
		break;
	}
}

/* Batches end in order, so the oldest waiter is never behind a younger one for
 * long: it is enough to look at the first. */
static void
wake_waiters(struct work *w, int rc, struct moment m, struct outbox *out)
{
	while (w->waiters_count > 0) {
		struct waiter first = w->waiters[w->waiters_first];
		int state = store_state(&w->store, first.number);

		if (state == 0)
			break;
		w->waiters_first = (w->waiters_first + 1) % w->waiters_cap;
		w->waiters_count--;
		DYN_ASSERT(state > 0 || rc != 0);
		wake(w, &first, state > 0 ? 0 : rc, m, out);
	}
}

void
work_committed(struct work *w, struct batch *b, int rc, struct moment m, struct outbox *out)
{
	bool late = b->number <= w->store.failed;
	struct changes *c = rc == 0 && !late ? batch_changes(b) : NULL;

	if (c != NULL)
		outbox_add(out, FX_CHANGED)->what = c;
	store_committed(&w->store, b, rc);
	if (late)
		return; /* whoever waited was told */
	if (rc != 0)
		outbox_log(out, DYN_LOG_ERROR, "storage: commit failed: %s", dyn_strerror(rc));
	/* After EIO a restart may find the batch on disk: it is not known to be lost. */
	if (rc == DYN_EIO || (rc != 0 && w->store.exposed))
		rc = DYN_EUNKNOWN;
	wake_waiters(w, rc, m, out);
}

void
work_turn(struct work *w, struct outbox *out)
{
	struct batch *b = w->stores ? store_take(&w->store) : NULL;
	const unsigned char *damaged = w->stores ? store_damaged(&w->store) : NULL;

	if (b != NULL)
		outbox_add(out, FX_COMMIT)->what = b;
	if (damaged != NULL && w->view != NULL)
		outbox_add(out, FX_DAMAGED)->rc =
		    (int)name_partition(slice(damaged, 16), w->view->settings.partitions);
}

void
work_fence(struct work *w, struct view *v, void *token, struct moment m, struct outbox *out)
{
	struct waiter waiter = { .kind = WAIT_FENCE, .token = token };

	if (w->view == NULL || view_is_newer(v, w->view))
		work_view(w, v, m, out);
	/* Whatever is in the open batch was accepted before. */
	waiter.number = w->store.given + (w->store.open != NULL);
	if (store_state(&w->store, waiter.number) != 0) {
		wake(w, &waiter, 0, m, out);
	} else if (wait_for(w, &waiter) != 0) {
		struct effect *e = outbox_add(out, FX_FENCED);

		e->rc = DYN_ENOMEM;
		e->what = token;
	}
}

void
rows_done(struct work *w, const struct waiter *waiter, int rc, struct moment m,
    struct outbox *out)
{
	if (rc == 0 && store_state(&w->store, waiter->number) == 0) {
		rc = wait_for(w, waiter);
		if (rc == 0)
			return;
	}
	wake(w, waiter, rc, m, out);
}

void
work_hints_full(struct work *w, bool full)
{
	w->hints_full = full;
}

bool
is_catching(const struct work *w, unsigned partition)
{
	return w->catching != NULL && partition / 8 < w->catching->len &&
	    (w->catching->data[partition / 8] >> partition % 8 & 1) != 0;
}

void
work_catching(struct work *w, struct buf *bits)
{
	buf_unref(w->catching);
	w->catching = bits;
}

/* ----------------------------------------------------------------- time */

void
work_lost(struct work *w)
{
	if (w->stores)
		store_renew_apart(&w->store, (uint32_t)rng_next(&w->rng));
}

uint64_t
work_wake(const struct work *w)
{
	return timers_next(&w->timers);
}

/* The first time a timer fires is before the deadline, to see who lets us wait. */
static void
slow(struct work *w, struct request *r, struct moment m, struct outbox *out)
{
	r->slow = true;
	request_timer(w, r, r->deadline);
	switch (r->kind) {
	case REQUEST_READ:
		read_slow(w, r, m, out);
		break;
	case REQUEST_WRITE:
		write_slow(w, r, m, out);
		break;
	case REQUEST_ASK:
		ask_slow(w, r, m, out);
		break;
	case REQUEST_PARKED:
		break;
	}
}

void
work_tick(struct work *w, struct moment m, struct outbox *out)
{
	struct timer *t;

	while ((t = timers_pop(&w->timers, m.now)) != NULL) {
		struct request *r = CONTAINER_OF(t, struct request, timer);

		if (r->op != NULL && !r->slow && m.now < r->deadline) {
			slow(w, r, m, out);
			continue;
		}
		switch (r->kind) {
		case REQUEST_READ:
			read_timer(w, r, m, out);
			break;
		case REQUEST_WRITE:
			write_timer(w, r, m, out);
			break;
		case REQUEST_ASK:
			ask_timer(w, r, m, out);
			break;
		case REQUEST_PARKED:
			park_timer(w, r, m, out);
			break;
		}
	}
}

void
work_close(struct work *w, struct moment m, struct outbox *out)
{
	LIST_EACH_SAFE(l, next, &w->requests) {
		struct request *r = CONTAINER_OF(l, struct request, all);
		struct op *op = r->op;

		r->op = NULL;
		if (op != NULL)
			op_done(w, op, op->kind == OP_GET ? DYN_ECLOSED : DYN_EUNKNOWN, m, out);
		request_end(w, r);
	}
}

const struct work_stats *
work_stats(const struct work *w)
{
	return &w->stats;
}

uint64_t
work_bytes(const struct work *w)
{
	return w->bytes + (w->stores ? w->store.overlay_bytes : 0);
}

size_t
work_requests(const struct work *w)
{
	return w->requests_by_number.count;
}

bool
work_committing(const struct work *w)
{
	const struct store *s = &w->store;

	return w->stores && (s->open != NULL || MAX(s->committed, s->failed) < s->given);
}

bool
work_forgot(const struct work *w)
{
	return w->store.floor > 0;
}

uint64_t
work_incarnation(const struct work *w)
{
	return w->stores ? w->store.actor.incarnation : 0;
}

uint64_t
work_skewed(const struct work *w)
{
	return w->stores ? w->store.skewed : 0;
}

int
work_read_error(struct work *w)
{
	int rc = w->store.read_error;

	w->store.read_error = 0;
	return rc;
}

uint64_t
work_unwritten(const struct work *w)
{
	return w->stores ? w->store.overlay_bytes : 0;
}
