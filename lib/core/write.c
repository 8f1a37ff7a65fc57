/*
 * put and delete at an owner (paper 4.4, 4.5): make the new version, store it
 * here, send it to the other owners, answer when W distinct machines have it.
 *
 *	start --too few owners reachable--> end (DYN_EQUORUM, nothing applied)
 *	start --own copy unreadable--> another owner is asked (ask.c), or end
 *	start --minted--> SENT --W stored--> end
 *	                   | \--W impossible / deadline--> end (DYN_EUNKNOWN)
 *	                   \--somebody has a newer table--> SENT, in more groups
 *
 * SENT   The version exists: it is in this node's overlay at least.  From here
 *        on "failed" can only be said if every node that was asked, this one
 *        included, is known not to have stored it.
 *
 * The whole object is sent, not the new version alone: it carries all values
 * of this actor, which a receiver needs to believe the clock (DESIGN 7).
 * Sending does not wait for this node's own commit: if the node dies before
 * it, its next life has another incarnation, so the dot cannot be made twice.
 *
 * For an owner that is down, or cannot store, a stand-in gets the object with
 * the owner's name on it (paper 4.6): its copy counts towards W like any other,
 * but not under DYN_STRICT.  A node that owns nothing of the key does all of
 * this when no owner can be reached; its own copy then is such a hint.
 *
 * While owners change, W must be met in the old list and in the new one
 * (DESIGN 6); a refusal with DYN_EMOVED brings a newer view, and with it the
 * groups it asks for.
 */
#include "core/request.h"

struct write {
	struct request r;
	struct quorum q;
	struct buf *object; /* what is sent */
	struct dot dot;
	uint64_t time;      /* of the version */
	uint64_t epoch;     /* of the table when the object was read from the copy */
	uint8_t n, round;   /* round: views it went by so far */
	bool elsewhere;     /* a node that is no owner any more may have it */
	enum dyn_durability durability;
};

static struct write *
write_of(struct request *r)
{
	return CONTAINER_OF(r, struct write, r);
}

void
write_free(struct request *r)
{
	buf_unref(write_of(r)->object);
	mem_free(write_of(r));
}

static unsigned
writers(const struct request *r, unsigned n, struct group g[2])
{
	unsigned count = view_writers(r->view, r->partition, g);

	for (unsigned i = 0; i < count; i++)
		group_limit(&g[i], n);
	return count;
}

static void
answer_op(struct work *w, struct write *wr, int rc, struct moment m, struct outbox *out)
{
	struct op *op = wr->r.op;

	wr->r.op = NULL;
	quorum_receipt(&wr->q, &op->receipt);
	op->receipt.coordinator = w->o.self;
	op->dot = wr->dot;
	op->time = wr->time;
	op_done(w, op, rc, m, out);
	request_end(w, &wr->r);
}

static bool
may_have(const struct ballot *b)
{
	return b->vote != VOTE_NO && b->vote != VOTE_IDLE;
}

/* What an error says of a copy: it lacks the version, unless it is the one
 * error that leaves it open (store.h). */
static enum vote
vote_of(int rc)
{
	if (rc == 0)
		return VOTE_YES;
	return rc == DYN_EUNKNOWN ? VOTE_LOST : VOTE_NO;
}

/* What to say when W cannot be met: nothing was stored anywhere, or we do not
 * know (DESIGN 8, three outcomes). */
static int
failure(const struct write *wr)
{
	int rc = DYN_EQUORUM;

	if (wr->elsewhere)
		return DYN_EUNKNOWN;
	for (unsigned i = 0; i < wr->q.count; i++) {
		const struct ballot *b = &wr->q.ballot[i];

		if (may_have(b))
			return DYN_EUNKNOWN;
		if (b->rc != 0)
			rc = b->rc;
	}
	return rc;
}

static void
check(struct work *w, struct write *wr, struct moment m, struct outbox *out)
{
	if (quorum_enough(&wr->q))
		answer_op(w, wr, 0, m, out);
	else if (!wr->r.moved && !quorum_possible(&wr->q, false) &&
	    (failure(wr) == DYN_EUNKNOWN || quorum_votes(&wr->q, VOTE_WAITING) == 0))
		answer_op(w, wr, failure(wr), m, out);
}

/* Does the object know of the version that was made? */
static bool
knows(const struct buf *object, struct dot dot)
{
	struct object o;
	bool is_known;

	if (object_decode(&o, buf_slice(object)) != 0)
		return false;
	is_known = clock_covers(&o.clock, dot);
	object_fini(&o);
	return is_known;
}

/* Copies have forgotten what was deleted (core/collect.h) since the object was read:
 * then it may hold what they would take for new.  This node's copy is not behind
 * theirs, and has the version, if its commit has not failed and the row is not one that
 * was damaged since; what a stand-in has kept may be behind. */
static int
refresh(struct work *w, struct write *wr)
{
	const struct ballot *mine = quorum_find(&wr->q, &w->o.self);
	struct buf *now;
	int rc;

	if (wr->epoch >= w->view->current->collected)
		return 0;
	if (mine == NULL || mine->standin ||
	    (mine->vote != VOTE_YES && mine->vote != VOTE_WAITING))
		return DYN_EUNKNOWN;
	rc = store_get(&w->store, place_of_copy(buf_slice(wr->r.op->name)), &now);
	if (rc != 0)
		return rc;
	if (now == NULL || !knows(now, wr->dot)) {
		buf_unref(now);
		return DYN_EUNKNOWN; /* written over, deleted, forgotten; or lost */
	}
	buf_unref(wr->object);
	wr->object = now;
	wr->epoch = w->view->current->epoch;
	return 0;
}

/* The frame for an owner, or for who stands in for one. */
static int
encode(struct work *w, const struct write *wr, const struct ballot *b, struct buf **frame)
{
	struct frame head = work_head(w, wr->r.number);
	union msg msg = { .put = {
		.durability = (uint8_t)wr->durability,
		.name = buf_slice(wr->r.op->name),
		.object = buf_slice(wr->object),
	} };

	if (b->standin)
		msg.put.owner = b->owner;
	return msg_encode(frame, &head, MSG_PUT, &msg);
}

/* Send the object to everybody who has not been asked yet; all owners are sent
 * the same bytes. */
static int
send_all(struct work *w, struct write *wr, struct outbox *out)
{
	struct buf *same = NULL;
	int rc = refresh(w, wr);

	for (unsigned i = 0; i < wr->q.count && rc == 0; i++) {
		struct ballot *b = &wr->q.ballot[i];
		struct buf *frame = NULL;

		if (b->vote != VOTE_IDLE || id_equal(&b->node, &w->o.self))
			continue;
		if (peer_is_down(&wr->r, w, &b->node)) {
			b->vote = VOTE_NO;
			(void)standin_add(w, &wr->r, &wr->q, b);
			continue;
		}
		if (b->standin || same == NULL)
			rc = encode(w, wr, b, &frame);
		if (!b->standin && frame != NULL)
			same = frame;
		if (rc != 0)
			break;
		b->vote = VOTE_WAITING;
		b->round = wr->round;
		work_send(wr->r.view, &b->node, wr->r.partition,
		    b->standin ? frame : buf_ref(same), out);
	}
	buf_unref(same);
	return rc;
}

/* The copy that was to lie there lies nowhere: find it another place. */
static void
replace(struct work *w, struct write *wr, const struct ballot *failed, struct outbox *out)
{
	if (standin_add(w, &wr->r, &wr->q, failed) != NULL)
		(void)send_all(w, wr, out); /* it failed: one place less */
}

/* When the version expires, 0 = never.  The largest there is means never too. */
static uint64_t
expiry_at(const struct op *op, struct moment m)
{
	if (op->expiry_ms == 0)
		return 0;
	return m.wall_ms + MIN(op->expiry_ms, UINT64_MAX - m.wall_ms);
}

/* The version is later than what its writer has seen; but no clock may draw all
 * that follows far into the future (PAINS 9).  Where times decide, that is
 * refused; where they only inform, it is not kept to. */
static int
seen_until(const struct work *w, const struct op *op, struct moment m, uint64_t *after)
{
	bool ahead = hlc_ms(op->after) > m.wall_ms + w->o.skew_max_ms;

	*after = ahead ? 0 : op->after;
	return ahead && op->lww ? DYN_ECLOCK : 0;
}

/* Where this node's own copy lies: among its copies if it is an owner. */
static struct place
own_place(struct work *w, struct write *wr, struct dyn_slice name, unsigned char id[HINT_ID_MAX])
{
	const struct ballot *b = quorum_find(&wr->q, &w->o.self);

	return b->standin ? place_of_hint(&b->owner, name, id) : place_of_copy(name);
}

/* Make the version.  *number: the batch to wait for, 0 = nothing. */
static int
mint(struct work *w, struct write *wr, const struct op *op, struct moment m, uint64_t *number)
{
	struct mint mint = {
		.expiry_ms = expiry_at(op, m),
		.value = buf_slice(op->value),
		.deleted = op->kind == OP_DELETE,
		.lww = op->lww,
		.siblings_max = w->o.siblings_max,
		.context = op->has_context ? &op->context : NULL,
		.overwrite = (op->flags & DYN_OVERWRITE) != 0,
		.made_time = &wr->time,
	};
	unsigned char id[HINT_ID_MAX];
	struct place at = own_place(w, wr, buf_slice(op->name), id);
	struct buf *known = NULL;
	struct stored s;
	int rc;

	rc = seen_until(w, op, m, &mint.after);
	/* A new event includes all earlier ones of its actor on the key, also
	 * those that lie in hints for other owners (DESIGN 7). */
	if (rc == 0 && at.space == DYN_SPACE_HINT)
		rc = standin_known(w, wr->r.view, buf_slice(op->name), &known);
	if (rc != 0)
		return rc;
	if (at.space == DYN_SPACE_DATA && !coordinates(w, op))
		store_renew_if_forgotten(&w->store);
	rc = store_mint(&w->store, at, buf_slice(known), &mint, op->durability, m.wall_ms, &s);
	buf_unref(known);
	if (rc != 0)
		return rc;
	wr->object = s.object;
	wr->epoch = w->view->current->epoch;
	wr->dot = s.dot;
	*number = op->durability == DYN_DURABLE_MEMORY ? 0 : s.number;
	return 0;
}

/* Who is to get it: owners, and stand-ins for those that are down.  This node,
 * if it owns nothing of the key, for the first of them. */
static void
enlist(struct work *w, struct write *wr)
{
	for (unsigned i = 0; i < wr->q.count; i++)
		if (!id_equal(&wr->q.ballot[i].node, &w->o.self) &&
		    peer_is_down(&wr->r, w, &wr->q.ballot[i].node))
			wr->q.ballot[i].vote = VOTE_NO;
	if (quorum_find(&wr->q, &w->o.self) == NULL) {
		const struct record *self = view_find(wr->r.view, &w->o.self);
		const struct ballot *owner = &wr->q.ballot[0];

		for (unsigned i = 0; i < wr->q.count && owner->vote != VOTE_NO; i++)
			owner = &wr->q.ballot[i];
		(void)quorum_stand_in(&wr->q, wr->r.view,
		    (uint16_t)(self - wr->r.view->records), owner);
	}
	standin_add_all(w, &wr->r, &wr->q);
}

/* This node's own copy: its vote comes with the commit. */
static int
store_here(struct work *w, struct write *wr, uint64_t number)
{
	struct ballot *b = quorum_find(&wr->q, &w->o.self);
	struct waiter waiter = { .kind = WAIT_WRITE, .number = number,
		.request = wr->r.number };

	DYN_ASSERT(b != NULL);
	b->vote = VOTE_WAITING;
	if (number != 0 && store_state(&w->store, number) == 0)
		return wait_for(w, &waiter);
	b->vote = VOTE_YES;
	b->on_disk = wr->durability == DYN_DURABLE_DISK;
	return 0;
}

/* Until the version is minted, every error means "not applied". */
static int
begin(struct work *w, struct write *wr, struct op *op, struct moment m, struct outbox *out)
{
	struct group g[2];
	uint64_t number = 0;
	int rc;

	quorum_init(&wr->q, wr->r.view, g, writers(&wr->r, wr->n, g), op->w, op->zone_w);
	wr->q.strict = (op->flags & DYN_STRICT) != 0;
	enlist(w, wr);
	/* Too few within reach: say so before anything is applied. */
	if (!quorum_possible(&wr->q, true))
		return DYN_EQUORUM;
	rc = mint(w, wr, op, m, &number);
	if (rc != 0)
		return rc;
	if (wr->object->len == 0) {
		/* A delete of a key never seen by who has seen nothing: there is
		 * nothing to remove, nor to remember. */
		quorum_find(&wr->q, &w->o.self)->vote = VOTE_YES;
		return 0;
	}
	if (store_here(w, wr, number) != 0 || send_all(w, wr, out) != 0)
		return DYN_EUNKNOWN; /* no memory to follow what was begun */
	return 0;
}

/* Nothing was minted, as this node cannot read its copy: another owner coordinates. */
static void
pass_on(struct work *w, struct write *wr, int rc, struct moment m, struct outbox *out)
{
	struct op *op = wr->r.op;

	wr->r.op = NULL;
	request_end(w, &wr->r);
	op->rc = rc; /* if there is no other */
	ask_start(w, op, m, out);
}

void
write_start(struct work *w, struct op *op, struct moment m, struct outbox *out)
{
	struct write *wr = mem_zalloc(sizeof(*wr));
	int rc;

	w->stats.coordinated++;
	if (wr == NULL) {
		op_done(w, op, DYN_ENOMEM, m, out);
		return;
	}
	if (!coordinates(w, op) && view_find(w->view, &w->o.self) == NULL) {
		/* Not a member of the ring it knows: nobody's stand-in. */
		mem_free(wr);
		op_done(w, op, DYN_EQUORUM, m, out);
		return;
	}
	wr->r.kind = REQUEST_WRITE;
	wr->n = op->n;
	wr->durability = op->durability;
	rc = request_start(w, &wr->r, op, m);
	if (rc != 0) {
		write_free(&wr->r);
		op_done(w, op, rc, m, out);
		return;
	}
	rc = begin(w, wr, op, m, out);
	if (copy_is_unreadable(rc) && op->conn == 0 && !op->standin)
		pass_on(w, wr, rc, m, out);
	else if (rc != 0 || wr->object->len == 0)
		answer_op(w, wr, rc, m, out);
	else
		check(w, wr, m, out);
}

/* ----------------------------------------------------------------- events */

/* Would another node's storage do better?  (Not if the object is refused.) */
static bool
is_its_own_trouble(int rc)
{
	return rc == DYN_EFULL || rc == DYN_EIO || rc == DYN_ECORRUPT || rc == DYN_EREADONLY ||
	    rc == DYN_EBUSY || rc == DYN_ENOMEM || rc == DYN_EUNKNOWN;
}

void
write_answer(struct work *w, struct request *r, const struct dyn_id *from,
    const struct msg_put_ack *ack, struct moment m, struct outbox *out)
{
	struct write *wr = write_of(r);
	struct ballot *b = quorum_find(&wr->q, from);
	int rc = msg_rc(ack->rc);

	if (b == NULL || b->vote != VOTE_WAITING)
		return;
	if (rc == DYN_EMOVED) {
		/* To be sent again under a newer view: the one this request
		 * goes by already, if this answer is to an earlier sending. */
		b->vote = VOTE_IDLE;
		r->moved = r->moved || b->round == wr->round;
		if (!r->moved || view_is_newer(w->view, r->view))
			write_view(w, r, m, out);
		return;
	}
	b->rc = rc;
	b->on_disk = ack->on_disk != 0;
	b->vote = (uint8_t)vote_of(rc);
	if (rc == 0)
		peer_answered(r, w, from, m);
	else if (is_its_own_trouble(rc))
		replace(w, wr, b, out);
	check(w, wr, m, out);
}

void
write_stored(struct work *w, struct request *r, int rc, struct moment m, struct outbox *out)
{
	struct write *wr = write_of(r);
	struct ballot *b = quorum_find(&wr->q, &w->o.self);

	if (b == NULL || b->vote != VOTE_WAITING)
		return; /* not an owner any more */
	b->rc = rc;
	b->vote = (uint8_t)vote_of(rc);
	b->on_disk = rc == 0 && wr->durability == DYN_DURABLE_DISK;
	if (is_its_own_trouble(rc))
		replace(w, wr, b, out);
	check(w, wr, m, out);
}

void
write_lost(struct work *w, struct request *r, const struct dyn_id *id, bool sure,
    struct moment m, struct outbox *out)
{
	struct ballot *b = quorum_find(&write_of(r)->q, id);

	if (b == NULL || b->vote != VOTE_WAITING)
		return;
	b->vote = sure ? VOTE_NO : VOTE_LOST;
	replace(w, write_of(r), b, out);
	check(w, write_of(r), m, out);
}

void
write_slow(struct work *w, struct request *r, struct moment m, struct outbox *out)
{
	quorum_slow(w, r, &write_of(r)->q, m, out);
}

void
write_suspect(struct work *w, struct request *r, const struct dyn_id *id, struct moment m,
    struct outbox *out)
{
	struct ballot *b = quorum_find(&write_of(r)->q, id);

	if (b == NULL || b->vote != VOTE_WAITING)
		return;
	replace(w, write_of(r), b, out);
	check(w, write_of(r), m, out);
}

void
write_view(struct work *w, struct request *r, struct moment m, struct outbox *out)
{
	struct write *wr = write_of(r);
	struct quorum old = wr->q;
	struct group g[2];

	view_unref(r->view);
	r->view = view_ref(w->view);
	r->moved = false;
	wr->round++;
	quorum_rebase(&wr->q, r->view, g, writers(r, wr->n, g));
	for (unsigned i = 0; i < old.count; i++)
		if (may_have(&old.ballot[i]) && quorum_find(&wr->q, &old.ballot[i].node) == NULL)
			wr->elsewhere = true;
	if (send_all(w, wr, out) != 0)
		answer_op(w, wr, DYN_EUNKNOWN, m, out);
	else
		check(w, wr, m, out);
}

void
write_timer(struct work *w, struct request *r, struct moment m, struct outbox *out)
{
	answer_op(w, write_of(r), DYN_EUNKNOWN, m, out);
}
