/*
 * get (paper 4.5, 5): ask the owners, wait for R, return all versions that no
 * other has seen, bring stale copies up to date.
 *
 *	ASKING ----R answers----------> REPAIRING --all in, or grace over--> end
 *	  |  \--somebody has a newer table--> MOVED --view--> ASKING
 *	  \--R impossible / deadline--> end (an error)
 *
 * ASKING     op is set, moved is false.  Answers are merged as they come.
 * MOVED      op is set, moved is true: an owner refused because our table is
 *            no longer read from.  What came so far does not count; the next
 *            view starts anew under a new number.
 * REPAIRING  op is NULL.  Late answers still count for repair: the paper's
 *            coordinator "waits for a small period" (section 5).
 *
 * Any node may do this, also one that owns nothing (paper 6.4): a read needs
 * no owner to coordinate it.
 *
 * For an owner that is down its stand-in is asked for what it keeps for it (paper
 * 4.6).  What it has counts towards R, but not under DYN_STRICT; "nothing" counts
 * only beside a copy that knows (quorum.h).
 *
 * An answer of a copy that may be incomplete (it is catching up) is merged but
 * does not count towards R: its "not found" says nothing.
 */
#include "core/request.h"

#define REPAIR_GRACE (200 * NS_PER_MS)

struct read {
	struct request r;
	struct buf *name;
	struct quorum q;
	struct buf *merged;                /* of all answers; NULL = nothing yet */
	struct buf *answers[QUORUM_NODES]; /* by ballot, NULL = "not found" */
	bool answered[QUORUM_NODES];
	uint64_t fastest;                  /* first to answer; 0 = none */
	uint8_t n, need;
	bool strict;
};

static struct read *
read_of(struct request *r)
{
	return CONTAINER_OF(r, struct read, r);
}

static void
drop_answers(struct read *rd)
{
	for (unsigned i = 0; i < QUORUM_NODES; i++) {
		buf_unref(rd->answers[i]);
		rd->answers[i] = NULL;
		rd->answered[i] = false;
	}
	buf_unref(rd->merged);
	rd->merged = NULL;
}

void
read_free(struct request *r)
{
	struct read *rd = read_of(r);

	drop_answers(rd);
	buf_unref(rd->name);
	mem_free(rd);
}

/* -------------------------------------------------------------- repairing */

static void
repair_here(struct work *w, struct read *rd, struct moment m, struct outbox *out)
{
	struct stored s;

	/* What was deleted meanwhile may have been forgotten too; and what this node does
	 * not own any more it has swept away. */
	if (rd->r.view->current->epoch < w->view->current->collected ||
	    !view_owns(w->view, rd->r.partition, &w->o.self))
		return;
	if (store_merge(&w->store, place_of_copy(buf_slice(rd->name)), buf_slice(rd->merged),
	        DYN_DURABLE_DISK, m.wall_ms, &s) != 0)
		outbox_log(out, DYN_LOG_WARNING, "read repair: own copy cannot be written");
	else
		buf_unref(s.object);
}

static void
repair_peer(struct read *rd, const struct ballot *b, struct outbox *out)
{
	/* Number 0: nobody waits for the answer.  The table: that of the answers, so
	 * that who has forgotten something since can tell. */
	struct frame head = view_head(rd->r.view, 0);
	union msg m = { .put = {
		.durability = DYN_DURABLE_DISK,
		.name = buf_slice(rd->name),
		.object = buf_slice(rd->merged),
	} };
	struct buf *frame;

	if (msg_encode(&frame, &head, MSG_PUT, &m) == 0)
		work_send(rd->r.view, &b->node, rd->r.partition, frame, out);
}

/* All that will answer has answered: write the merge back where it is not. */
static void
finish(struct work *w, struct read *rd, struct moment m, struct outbox *out)
{
	for (unsigned i = 0; i < rd->q.count && rd->merged != NULL; i++) {
		const struct ballot *b = &rd->q.ballot[i];

		if (!rd->answered[i] || b->standin ||
		    slice_equal(buf_slice(rd->answers[i]), buf_slice(rd->merged)))
			continue;
		w->stats.repairs++;
		if (id_equal(&b->node, &w->o.self))
			repair_here(w, rd, m, out);
		else
			repair_peer(rd, b, out);
	}
	request_end(w, &rd->r);
}

/* --------------------------------------------------------------- counting */

static void
answer_op(struct work *w, struct read *rd, int rc, struct moment m, struct outbox *out)
{
	struct op *op = rd->r.op;

	rd->r.op = NULL;
	op->answered_first = rd->fastest;
	quorum_receipt(&rd->q, &op->receipt);
	op->receipt.coordinator = w->o.self;
	if (rc == 0 && rd->merged != NULL)
		op->object = buf_ref(rd->merged);
	op_done(w, op, rc, m, out);
}

/* Why a read cannot succeed: the copy's own error if there is but one copy. */
static int
failure(const struct read *rd)
{
	if (rd->q.count == 1 && rd->q.ballot[0].rc != 0)
		return rd->q.ballot[0].rc;
	return DYN_EQUORUM;
}

/* After each change of the tally.  May end the request. */
static void
check(struct work *w, struct read *rd, struct moment m, struct outbox *out)
{
	if (rd->r.op != NULL) {
		if (rd->r.moved)
			return;
		if (quorum_enough(&rd->q)) {
			answer_op(w, rd, 0, m, out);
			request_timer(w, &rd->r, m.now + REPAIR_GRACE);
		} else if (!quorum_possible(&rd->q, false)) {
			answer_op(w, rd, failure(rd), m, out);
		} else {
			return;
		}
	}
	if (quorum_votes(&rd->q, VOTE_WAITING) == 0)
		finish(w, rd, m, out);
}

/* An answer's object joins the merge; answers[i] remembers what that copy has.
 * Returns an error if the object is malformed or there is no memory. */
static int
merge_answer(struct read *rd, unsigned i, struct dyn_slice object)
{
	struct buf *merged = NULL, *copy;
	int how;

	rd->answered[i] = true;
	if (object.len == 0)
		return 0;
	how = object_merge(buf_slice(rd->merged), object, &merged);
	if (how < 0)
		return how;
	if (how == OBJECT_SAME) {
		rd->answers[i] = buf_ref(rd->merged);
		return 0;
	}
	copy = buf_copy(object.data, object.len);
	if (copy == NULL) {
		buf_unref(merged);
		return DYN_ENOMEM;
	}
	rd->answers[i] = copy;
	if (how == OBJECT_LEFT)
		return 0;
	buf_unref(rd->merged);
	rd->merged = how == OBJECT_RIGHT ? buf_ref(copy) : merged;
	return 0;
}

static void
vote(struct read *rd, struct ballot *b, int rc, bool complete, struct dyn_slice object)
{
	unsigned i = (unsigned)(b - rd->q.ballot);

	if (rc == 0)
		rc = merge_answer(rd, i, object);
	if (rc != 0)
		rd->answered[i] = false;
	b->rc = rc;
	if (b->standin)
		b->vote = rc != 0 ? VOTE_NO : object.len > 0 ? VOTE_YES : VOTE_EMPTY;
	else
		b->vote = rc == 0 && complete ? VOTE_YES : VOTE_NO;
}

/* ----------------------------------------------------------------- asking */

static void
ask_here(struct work *w, struct read *rd, struct ballot *b)
{
	struct buf *object;
	int rc;

	if (b->standin)
		rc = standin_known(w, rd->r.view, buf_slice(rd->name), &object);
	else
		rc = store_get(&w->store, place_of_copy(buf_slice(rd->name)), &object);
	vote(rd, b, rc, b->standin || !is_catching(w, rd->r.partition), buf_slice(object));
	buf_unref(object);
}

/* Ask whom we have not asked yet, but not who is down. */
static int
ask_idle(struct work *w, struct read *rd, struct outbox *out)
{
	struct frame head = work_head(w, rd->r.number);
	union msg msg = { .get = { .name = buf_slice(rd->name) } };
	struct buf *frame[2] = { NULL, NULL };
	int rc = 0;

	for (unsigned i = 0; i < rd->q.count && rc == 0; i++) {
		struct ballot *b = &rd->q.ballot[i];

		if (b->vote != VOTE_IDLE)
			continue;
		if (id_equal(&b->node, &w->o.self) && w->stores) {
			ask_here(w, rd, b);
			continue;
		}
		if (peer_is_down(&rd->r, w, &b->node)) {
			b->vote = VOTE_NO;
			(void)standin_add(w, &rd->r, &rd->q, b);
			continue;
		}
		msg.get.hints = b->standin;
		if (frame[b->standin] == NULL)
			rc = msg_encode(&frame[b->standin], &head, MSG_GET, &msg);
		if (rc != 0)
			break;
		b->vote = VOTE_WAITING;
		work_send(rd->r.view, &b->node, rd->r.partition, buf_ref(frame[b->standin]),
		    out);
	}
	buf_unref(frame[0]);
	buf_unref(frame[1]);
	return rc;
}

/* Ask every owner that can be reached (paper 4.5), the nearest first, and who stands
 * in for the others. */
static int
ask_all(struct work *w, struct read *rd, struct moment m, struct outbox *out)
{
	struct group g;

	view_readers(rd->r.view, rd->r.partition, &g);
	group_limit(&g, rd->n);
	group_by_nearness(w, rd->r.view, &g);
	quorum_init(&rd->q, rd->r.view, &g, 1, rd->need, 0);
	rd->q.strict = rd->strict;
	rd->r.sent_at = m.now;
	return ask_idle(w, rd, out);
}

/* DYN_HERE, and R=1 at an owner: no conversation at all. */
static bool
read_local(struct work *w, struct op *op, struct moment m, struct outbox *out)
{
	bool here = (op->flags & DYN_HERE) != 0;
	int rc;

	if (!w->stores) {
		if (here)
			op_done(w, op, DYN_EINVAL, m, out);
		return here;
	}
	if (!here && (op->r > 1 || !coordinates(w, op) ||
	                 is_catching(w, name_partition(buf_slice(op->name),
	                                    w->view->settings.partitions))))
		return false;
	rc = store_get(&w->store, place_of_copy(buf_slice(op->name)), &op->object);
	if (rc != 0 && !here && op->n > 1)
		return false; /* others may know */
	op->receipt = (struct dyn_receipt){ .owners = rc == 0, .machines = rc == 0,
		.zones = rc == 0, .coordinator = w->o.self };
	op_done(w, op, rc, m, out);
	return true;
}

void
read_start(struct work *w, struct op *op, struct moment m, struct outbox *out)
{
	struct read *rd;
	int rc;

	w->stats.coordinated++;
	if (read_local(w, op, m, out))
		return;
	rd = mem_zalloc(sizeof(*rd));
	if (rd == NULL) {
		op_done(w, op, DYN_ENOMEM, m, out);
		return;
	}
	rd->r.kind = REQUEST_READ;
	rd->n = op->n;
	rd->need = op->r;
	rd->strict = (op->flags & DYN_STRICT) != 0;
	rd->name = buf_ref(op->name);
	rc = request_start(w, &rd->r, op, m);
	if (rc != 0) {
		read_free(&rd->r);
		op_done(w, op, rc, m, out);
		return;
	}
	rc = ask_all(w, rd, m, out);
	if (rc != 0) {
		answer_op(w, rd, rc, m, out);
		request_end(w, &rd->r);
		return;
	}
	check(w, rd, m, out);
}

/* ----------------------------------------------------------------- events */

void
read_answer(struct work *w, struct request *r, const struct dyn_id *from,
    const struct msg_get_ack *ack, struct moment m, struct outbox *out)
{
	struct read *rd = read_of(r);
	struct ballot *b = quorum_find(&rd->q, from);
	int rc = msg_rc(ack->rc);

	if (b == NULL || b->vote != VOTE_WAITING)
		return;
	if (rc == DYN_EMOVED && r->op != NULL) {
		b->vote = VOTE_NO;
		r->moved = true;
		if (view_is_newer(w->view, r->view))
			read_view(w, r, m, out);
		return;
	}
	peer_answered(r, w, from, m);
	vote(rd, b, rc, ack->complete != 0, ack->object);
	if (rd->fastest == 0 && b->vote == VOTE_YES && !b->standin)
		rd->fastest = load_be64(from->bytes);
	check(w, rd, m, out);
}

void
read_lost(struct work *w, struct request *r, const struct dyn_id *id, bool sure,
    struct moment m, struct outbox *out)
{
	struct ballot *b = quorum_find(&read_of(r)->q, id);

	(void)sure; /* an answer that does not come is none */
	if (b == NULL || b->vote != VOTE_WAITING)
		return;
	b->vote = VOTE_LOST;
	/* Without a call that waits, only owners are of interest, for repair. */
	if (r->op != NULL && standin_add(w, r, &read_of(r)->q, b) != NULL)
		(void)ask_idle(w, read_of(r), out); /* without memory: one less */
	check(w, read_of(r), m, out);
}

void
read_slow(struct work *w, struct request *r, struct moment m, struct outbox *out)
{
	quorum_slow(w, r, &read_of(r)->q, m, out);
}

void
read_suspect(struct work *w, struct request *r, const struct dyn_id *id, struct moment m,
    struct outbox *out)
{
	struct ballot *b = quorum_find(&read_of(r)->q, id);

	if (b == NULL || b->vote != VOTE_WAITING || r->op == NULL)
		return;
	if (standin_add(w, r, &read_of(r)->q, b) != NULL)
		(void)ask_idle(w, read_of(r), out); /* without memory: one less */
	check(w, read_of(r), m, out);
}

void
read_view(struct work *w, struct request *r, struct moment m, struct outbox *out)
{
	struct read *rd = read_of(r);
	int rc;

	if (r->op == NULL)
		return;
	drop_answers(rd);
	view_unref(r->view);
	r->view = view_ref(w->view);
	r->moved = false;
	request_renumber(w, r);
	rc = ask_all(w, rd, m, out);
	if (rc != 0) {
		answer_op(w, rd, rc, m, out);
		request_end(w, r);
		return;
	}
	check(w, rd, m, out);
}

void
read_timer(struct work *w, struct request *r, struct moment m, struct outbox *out)
{
	if (r->op != NULL)
		answer_op(w, read_of(r), DYN_ETIMEOUT, m, out);
	finish(w, read_of(r), m, out);
}
