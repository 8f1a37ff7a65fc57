/*
 * put and delete on a node that does not own the key: an owner coordinates
 * (paper 4.5).  Which one: of those that let nobody wait, the nearest (its zone, then
 * its rack); of these the owner that answered fastest in the read before this write, as
 * the context remembers (section 5); else the one with the lowest latency measured
 * here; else the first of the list.
 *
 * When no owner can be reached, a stand-in does (paper 4.6), this node itself if
 * it stores anything; but not under DYN_STRICT.
 *
 *	ASKED --answer--> end
 *	  |  \--certainly not received, not an owner, or its copy of the key cannot
 *	  |     be read--> ASKED, the next
 *	  |  \--no owner is left--> ASKED, a stand-in
 *	  |  \--no other is left to ask--> MOVED --view--> ASKED
 *	  \--lost after it was sent / deadline--> end (DYN_EUNKNOWN)
 *
 * An owner that cannot read its own copy asks another one in the same way: what it
 * cannot read it can make no new version of.
 *
 * A request that may have been applied is never sent again: one call makes at
 * most one version (S6).
 */
#include "core/request.h"

#define ASK_TRIES (2 * DYN_N_MAX)

struct ask {
	struct request r;
	struct dyn_id asked;     /* who has it now */
	struct dyn_id tried[ASK_TRIES];
	unsigned tried_count;
	bool standin;            /* who has it now is no owner */
	int rc;                  /* what to say if nobody is left */
};

static struct ask *
ask_of(struct request *r)
{
	return CONTAINER_OF(r, struct ask, r);
}

void
ask_free(struct request *r)
{
	mem_free(ask_of(r));
}

static void
answer_op(struct work *w, struct ask *a, int rc, struct moment m, struct outbox *out)
{
	struct op *op = a->r.op;

	a->r.op = NULL;
	op_done(w, op, rc, m, out);
	request_end(w, &a->r);
}

bool
copy_is_unreadable(int rc)
{
	return rc == DYN_EIO || rc == DYN_ECORRUPT;
}

static bool
was_tried(const void *arg, const struct dyn_id *id)
{
	const struct ask *a = arg;

	for (unsigned i = 0; i < a->tried_count; i++)
		if (id_equal(&a->tried[i], id))
			return true;
	return false;
}

/* What is for an owner and against it. */
struct merit {
	bool slow;
	unsigned near;
	bool fastest; /* in the read before */
	uint64_t latency;
};

static bool
is_better(const struct merit *a, const struct merit *b)
{
	if (a->slow != b->slow)
		return b->slow;
	if (a->near != b->near)
		return a->near > b->near;
	if (a->fastest != b->fastest)
		return a->fastest;
	return a->latency < b->latency;
}

/* The best owner that was not tried and is not down, or NULL; one that let
 * somebody wait only if there is no other. */
static const struct record *
choose(struct work *w, const struct ask *a, struct moment m)
{
	const struct record *best = NULL;
	struct merit merit, of_best = { 0 };
	struct group g;

	view_readers(a->r.view, a->r.partition, &g);
	group_limit(&g, a->r.op->n);
	for (unsigned i = 0; i < g.count; i++) {
		const struct record *rec = &a->r.view->records[g.member[i]];
		const struct peer *p = peer_find(&a->r, w, &rec->id);

		if (was_tried(a, &rec->id) || id_equal(&rec->id, &w->o.self) ||
		    peer_is_down(&a->r, w, &rec->id))
			continue;
		merit.slow = p != NULL && p->slow_until > m.now;
		merit.near = peer_nearness(w, a->r.view, rec);
		merit.fastest = !merit.slow && load_be64(rec->id.bytes) == a->r.op->fastest;
		merit.latency = p != NULL ? p->latency : 0;
		if (best == NULL || is_better(&merit, &of_best)) {
			best = rec;
			of_best = merit;
		}
	}
	return best;
}

static int
encode(struct work *w, const struct ask *a, struct moment m, struct buf **frame)
{
	const struct op *op = a->r.op;
	struct frame head = work_head(w, a->r.number);
	uint64_t left_ms = (a->r.deadline - MIN(m.now, a->r.deadline)) / NS_PER_MS;
	struct buf *context = NULL;
	union msg msg;
	struct wr wr;
	int rc;

	if (op->has_context) {
		wr_init(&wr, 128);
		clock_write(&wr, &op->context);
		rc = wr_finish(&wr, &context);
		if (rc != 0)
			return rc;
	}
	msg.ask = (struct msg_ask){
		.op = (uint8_t)op->kind,
		.durability = (uint8_t)op->durability,
		.n = op->n,
		.w = op->w,
		.zone_w = op->zone_w,
		.lww = op->lww,
		.has_context = op->has_context,
		.flags = op->flags,
		.timeout_ms = (uint32_t)MAX(left_ms, 1),
		.expiry_ms = op->expiry_ms,
		.name = buf_slice(op->name),
		.context = buf_slice(context),
		.value = buf_slice(op->value),
		.after = op->after,
		.standin = a->standin,
	};
	rc = msg_encode(frame, &head, MSG_ASK, &msg);
	buf_unref(context);
	return rc;
}

/* No owner is left, and nobody has it: this node stands in. */
static void
stand_in(struct work *w, struct ask *a, struct moment m, struct outbox *out)
{
	struct op *op = a->r.op;

	a->r.op = NULL;
	request_end(w, &a->r);
	op->standin = true;
	write_start(w, op, m, out);
}

/* Ask the next; without one, nothing was applied.  May end the request. */
static void
ask_next(struct work *w, struct ask *a, struct moment m, struct outbox *out)
{
	const struct record *rec = choose(w, a, m);
	struct buf *frame;
	int rc;

	a->standin = rec == NULL;
	if (rec == NULL && (a->r.op->flags & DYN_STRICT) == 0) {
		if (standin_is_self(w) && !coordinates(w, a->r.op)) {
			stand_in(w, a, m, out);
			return;
		}
		rec = standin_choose(w, &a->r, was_tried, a);
	}
	if (rec == NULL || a->tried_count == ASK_TRIES) {
		answer_op(w, a, a->rc, m, out);
		return;
	}
	rc = encode(w, a, m, &frame);
	if (rc != 0) {
		answer_op(w, a, rc, m, out);
		return;
	}
	a->asked = rec->id;
	a->tried[a->tried_count++] = rec->id;
	a->r.sent_at = m.now;
	work_send(a->r.view, &rec->id, a->r.partition, frame, out);
}

void
ask_start(struct work *w, struct op *op, struct moment m, struct outbox *out)
{
	struct ask *a = mem_zalloc(sizeof(*a));
	int rc;

	w->stats.forwarded++;
	if (a == NULL) {
		op_done(w, op, DYN_ENOMEM, m, out);
		return;
	}
	a->r.kind = REQUEST_ASK;
	a->rc = op->rc != 0 ? op->rc : DYN_EQUORUM;
	rc = request_start(w, &a->r, op, m);
	if (rc != 0) {
		ask_free(&a->r);
		op_done(w, op, rc, m, out);
		return;
	}
	ask_next(w, a, m, out);
}

void
ask_answer(struct work *w, struct request *r, const struct dyn_id *from,
    const struct msg_ask_ack *ack, struct moment m, struct outbox *out)
{
	struct ask *a = ask_of(r);
	struct op *op = r->op;
	int rc = msg_rc(ack->rc);

	if (!id_equal(from, &a->asked))
		return;
	if (rc == DYN_EMOVED) {
		/* Not applied.  With a newer view, choose among its owners;
		 * else it may be that owner who is behind: ask the others. */
		memset(&a->asked, 0, sizeof(a->asked));
		if (view_is_newer(w->view, r->view))
			ask_view(w, r, m, out);
		else if (choose(w, a, m) != NULL)
			ask_next(w, a, m, out);
		else
			r->moved = true;
		return;
	}
	peer_answered(r, w, from, m);
	if (copy_is_unreadable(rc)) {
		a->rc = rc;
		ask_next(w, a, m, out);
		return;
	}
	op->receipt = (struct dyn_receipt){
		.owners = ack->owners,
		.standins = ack->standins,
		.machines = ack->machines,
		.zones = ack->zones,
		.on_disk = ack->on_disk,
		.coordinator = ack->coordinator,
	};
	op->dot.actor.node = ack->dot_node;
	op->dot.actor.incarnation = ack->dot_incarnation;
	op->dot.counter = ack->dot_counter;
	op->time = ack->time;
	answer_op(w, a, rc, m, out);
}

void
ask_lost(struct work *w, struct request *r, const struct dyn_id *id, bool sure,
    struct moment m, struct outbox *out)
{
	struct ask *a = ask_of(r);

	if (!id_equal(id, &a->asked) || r->moved)
		return;
	if (sure)
		ask_next(w, a, m, out);
	else
		answer_op(w, a, DYN_EUNKNOWN, m, out);
}

void
ask_slow(struct work *w, struct request *r, struct moment m, struct outbox *out)
{
	const struct ask *a = ask_of(r);

	if (!r->moved && !id_is_zero(&a->asked))
		peer_is_slow(r, w, &a->asked, m, out);
}

void
ask_view(struct work *w, struct request *r, struct moment m, struct outbox *out)
{
	struct ask *a = ask_of(r);
	struct op *op = r->op;

	view_unref(r->view);
	r->view = view_ref(w->view);
	r->moved = false;
	if (coordinates(w, op)) {
		/* Nobody has it, and now this node is an owner itself. */
		r->op = NULL;
		request_end(w, r);
		work_op(w, op, m, out);
		return;
	}
	a->tried_count = 0;
	request_renumber(w, r);
	ask_next(w, a, m, out);
}

void
ask_timer(struct work *w, struct request *r, struct moment m, struct outbox *out)
{
	/* While it waits for a view, nobody has it. */
	answer_op(w, ask_of(r), r->moved ? DYN_EQUORUM : DYN_EUNKNOWN, m, out);
}
