/*
 * What members say to each other (paper 4.8.1): digests and views.  See
 * member.h for the conversation; deciding what a view means is in member.c.
 */
#include "core/member_private.h"

#define FOREIGN_LOG_GAP (60 * NS_PER_S)
#define TRIES_MAX 3

/* ----------------------------------------------------------------- sending */

static struct frame
make_head(const struct member *m, uint64_t request)
{
	struct frame head = {.version = WIRE_VERSION, .request = request};

	if (m->view != NULL && m->view->current != NULL) {
		head.epoch = view_stamp(m->view);
		head.table = load_be64(m->view->current->digest.b);
	}
	return head;
}

/* A message that finds no memory is one that got lost: gossip repeats itself. */
static void
send(struct member *m, const struct dyn_id *id, const char *address, enum msg_kind kind,
    const union msg *msg, struct outbox *out)
{
	struct frame head = make_head(m, ++m->request);
	struct effect *fx;
	struct buf *frame;

	if (msg_encode(&frame, &head, kind, msg) != 0)
		return;
	fx = outbox_add(out, FX_SEND);
	fx->frame = frame;
	if (id != NULL)
		fx->to = *id;
	else
		fx->address = address;
}

static void
reply(struct member *m, uint64_t conn, uint64_t request, enum msg_kind kind,
    const union msg *msg, struct outbox *out)
{
	struct frame head = make_head(m, request);
	struct effect *fx;
	struct buf *frame;

	if (msg_encode(&frame, &head, kind, msg) != 0)
		return;
	fx = outbox_add(out, FX_REPLY);
	fx->frame = frame;
	fx->conn = conn;
}

/* What I bring: my view, or what I join with. */
static const struct view *
offer(const struct member *m)
{
	return m->view != NULL ? m->view : m->joining;
}

/* Its bytes, empty if there is no memory for them. */
static struct dyn_slice
offer_bytes(struct member *m)
{
	if (m->bytes == NULL && view_encode(offer(m), &m->bytes) != 0)
		m->bytes = NULL;
	return buf_slice(m->bytes);
}

void
gossip_to(struct member *m, const struct dyn_id *id, const char *address, bool whole,
    struct outbox *out)
{
	union msg msg;

	memset(&msg.gossip, 0, sizeof(msg.gossip));
	msg.gossip.digest = offer(m)->digest;
	msg.gossip.ledger = buf_slice(m->ledger);
	if (whole)
		msg.gossip.view = offer_bytes(m);
	send(m, id, address, MSG_GOSSIP, &msg, out);
}

void
gossip_tell_change(struct member *m, struct moment now, struct outbox *out)
{
	const struct dyn_id *to = m->view != NULL ? gossip_partner(m) : NULL;
	struct buf *bytes;
	union msg msg;

	m->change_at = now.now + CHANGE_RETRY;
	if (to == NULL || view_encode(m->change, &bytes) != 0)
		return;
	memset(&msg.gossip, 0, sizeof(msg.gossip));
	msg.gossip.digest = m->change->digest;
	msg.gossip.view = buf_slice(bytes);
	send(m, to, NULL, MSG_GOSSIP, &msg, out);
	buf_unref(bytes);
}

/* A member's answer to that.  Its view now shows what was ordered. */
static void
change_answer(struct member *m, const struct dyn_id *from, int rc, struct outbox *out)
{
	if (m->change == NULL || rc == DYN_EBUSY)
		return;
	if (rc != 0)
		outbox_log(out, DYN_LOG_WARNING, "orders were refused: %s", dyn_strerror(rc));
	view_unref(m->change);
	m->change = NULL;
	m->change_at = TIME_NEVER;
	gossip_ask_view(m, from, NULL, out);
}

void
gossip_ask_view(
    struct member *m, const struct dyn_id *id, const char *address, struct outbox *out)
{
	union msg msg;

	memset(&msg.view_ask, 0, sizeof(msg.view_ask));
	if (m->view != NULL)
		msg.view_ask.digest = m->view->digest;
	if (id != NULL || address != NULL)
		send(m, id, address, MSG_VIEW_ASK, &msg, out);
}

void
gossip_ask_seed(struct member *m, struct outbox *out)
{
	const char *seed;

	if (m->seeds_count == 0)
		return;
	seed = m->seeds[m->seed_next++ % m->seeds_count];
	m->tries++;
	if (m->state == MEMBER_CLIENT)
		gossip_ask_view(m, NULL, seed, out);
	else
		gossip_to(m, NULL, seed, true, out);
}

/* Members but me, as indexes of records; returns how many. */
static unsigned
partners(const struct member *m, uint16_t *index)
{
	unsigned count = 0;

	for (size_t i = 0; i < m->view->count; i++) {
		const struct record *r = &m->view->records[i];

		if (record_is_here(r) && !id_equal(&r->id, &m->self.id))
			index[count++] = (uint16_t)i;
	}
	return count;
}

const struct dyn_id *
gossip_partner(struct member *m)
{
	uint16_t index[LIMIT_MEMBERS];
	unsigned count = partners(m, index);

	if (count == 0)
		return NULL;
	return &m->view->records[index[rng_below(&m->rng, count)]].id;
}

void
gossip_push(struct member *m, struct moment now, struct outbox *out)
{
	uint16_t index[LIMIT_MEMBERS];
	unsigned count = partners(m, index);

	m->pushed_at = now.now;
	m->push_at = TIME_NEVER;
	for (unsigned i = 0; i < count && i < GOSSIP_FANOUT; i++) {
		unsigned pick = i + (unsigned)rng_below(&m->rng, count - i);
		uint16_t chosen = index[pick];

		index[pick] = index[i];
		gossip_to(m, &m->view->records[chosen].id, NULL, true, out);
	}
}

/*
 * Digests with one random member.  Now and then, and when somebody could not be
 * reached, with a seed too: all the others may have changed their addresses,
 * and two halves that have lost each other's addresses meet at a seed.
 */
void
gossip_round(struct member *m, struct outbox *out)
{
	const struct dyn_id *id = gossip_partner(m);

	if (id != NULL)
		gossip_to(m, id, NULL, false, out);
	if (m->seeds_count > 0 && (m->lost || ++m->rounds % SEED_ROUNDS == 0))
		gossip_to(
		    m, NULL, m->seeds[rng_below(&m->rng, m->seeds_count)], false, out);
	m->lost = false;
}

/* --------------------------------------------------------------- receiving */

/* Another ring: neither side changes.  One line a minute. */
static void
log_foreign(struct member *m, const char *what, struct moment now, struct outbox *out)
{
	if (m->foreign_at != 0 && now.now < m->foreign_at + FOREIGN_LOG_GAP)
		return;
	m->foreign_at = MAX(now.now, 1);
	outbox_log(out, DYN_LOG_WARNING,
	    "%s another ring: a wrong address among the seeds?", what);
}

/* Does the view show that a ring has taken us in? */
static bool
admits(const struct member *m, const struct view *v)
{
	return v->current != NULL && view_find(v, &m->self.id) != NULL;
}

static void
ack(struct member *m, uint64_t conn, uint64_t request, int rc, bool whole,
    struct outbox *out)
{
	union msg msg;

	memset(&msg.gossip_ack, 0, sizeof(msg.gossip_ack));
	msg.gossip_ack.rc = (uint32_t)rc;
	msg.gossip_ack.ledger = buf_slice(m->ledger);
	if (m->view != NULL) {
		msg.gossip_ack.digest = m->view->digest;
		if (whole)
			msg.gossip_ack.view = offer_bytes(m);
	}
	reply(m, conn, request, MSG_GOSSIP_ACK, &msg, out);
}

/* A view came with GOSSIP.  Refusals: a joiner learns by our view what it
 * expected wrongly; a ring gets no view of another. */
static void
answer_view(struct member *m, uint64_t conn, uint64_t request, struct view *v,
    struct moment now, struct outbox *out)
{
	bool joiner = v->current == NULL, tell;
	int rc;

	if (m->state == MEMBER_JOINING)
		rc = admits(m, v) ? member_enter(m, v, now, out) : DYN_EBUSY;
	else if (joiner && !member_is_joined(m, m->view))
		rc = DYN_EBUSY; /* it is to ask a member */
	else
		rc = member_take(m, v, now, out);
	if (rc == DYN_ERING && !joiner)
		log_foreign(m, "gossip came from", now, out);
	tell = rc == DYN_ERING && joiner && m->view != NULL &&
	       strcmp(m->view->settings.name, v->settings.name) == 0;
	ack(m, conn, request, rc, rc == 0 ? !view_equal(m->view, v) : tell, out);
}

static int
on_gossip(struct member *m, const struct dyn_id *from, uint64_t conn,
    const struct frame *f, const struct msg_gossip *g, struct moment now,
    struct outbox *out)
{
	struct view *v;
	int rc;

	if (m->state == MEMBER_CLIENT)
		return DYN_EPROTO;
	if (g->view.len == 0) {
		if (m->state == MEMBER_JOINING)
			ack(m, conn, f->request, DYN_EBUSY, false, out);
		else /* to a stranger, the view only once it has shown its own */
			ack(m, conn, f->request, 0,
			    digest_compare(&g->digest, &m->view->digest) != 0 &&
				view_find(m->view, from) != NULL,
			    out);
		return 0;
	}
	rc = view_decode(&v, g->view);
	if (rc == DYN_EPROTO)
		return rc;
	if (rc != 0) {
		ack(m, conn, f->request, rc, false, out);
		return 0;
	}
	answer_view(m, conn, f->request, v, now, out);
	view_unref(v);
	return 0;
}

static void
enter(struct member *m, struct view *v, struct moment now, struct outbox *out)
{
	int rc = member_enter(m, v, now, out);

	if (rc != 0 && m->state != MEMBER_FAILED)
		outbox_log(out, DYN_LOG_WARNING, "cannot take the view of the ring: %s",
		    dyn_strerror(rc)); /* and ask again */
}

/* A seed refused us. */
static void
refused(struct member *m, int rc, struct view *v, struct moment now, struct outbox *out)
{
	if (rc != DYN_ERING) {
		outbox_log(out, DYN_LOG_DEBUG, "a seed said: %s", dyn_strerror(rc));
		return;
	}
	/* Its view says what is different, and so fails us. */
	if (v != NULL && v->current != NULL)
		enter(m, v, now, out);
	if (m->state == MEMBER_JOINING)
		member_fail(m, out, DYN_ERING, "a seed refused: %s", dyn_strerror(rc));
}

static void
join_answer(
    struct member *m, int rc, struct view *v, struct moment now, struct outbox *out)
{
	if (rc != 0)
		refused(m, rc, v, now, out);
	else if (v != NULL && admits(m, v))
		enter(m, v, now, out);
}

/* The answer to a member: learn what it had, and send what it lacks. */
static void
gossip_answer(struct member *m, const struct dyn_id *from, int rc,
    const struct digest *digest, struct view *v, struct moment now, struct outbox *out)
{
	if (rc == 0 && v != NULL)
		rc = member_take(m, v, now, out);
	if (rc == DYN_ERING)
		log_foreign(m, "gossip went to", now, out);
	if (rc == 0 && m->state == MEMBER_IN &&
	    digest_compare(digest, &m->view->digest) != 0)
		gossip_to(m, from, NULL, true, out);
}

static int
on_gossip_ack(struct member *m, const struct dyn_id *from, const struct msg_gossip_ack *a,
    struct moment now, struct outbox *out)
{
	struct view *v = NULL;
	int rc;

	if (a->view.len > 0) {
		rc = view_decode(&v, a->view);
		if (rc != 0)
			return rc == DYN_EPROTO ? rc : 0;
	}
	if (m->state == MEMBER_JOINING)
		join_answer(m, msg_rc(a->rc), v, now, out);
	else if (m->state == MEMBER_IN)
		gossip_answer(m, from, msg_rc(a->rc), &a->digest, v, now, out);
	else if (m->state == MEMBER_CLIENT)
		change_answer(m, from, msg_rc(a->rc), out);
	view_unref(v);
	return 0;
}

static void
on_view_ask(struct member *m, uint64_t conn, const struct frame *f,
    const struct msg_view_ask *a, struct outbox *out)
{
	union msg msg;

	memset(&msg.view, 0, sizeof(msg.view));
	if (m->view != NULL) {
		msg.view.digest = m->view->digest;
		if (digest_compare(&a->digest, &m->view->digest) != 0)
			msg.view.view = offer_bytes(m);
	}
	reply(m, conn, f->request, MSG_VIEW, &msg, out);
}

static int
on_view(struct member *m, const struct msg_view *a, struct moment now, struct outbox *out)
{
	struct view *v;
	int rc;

	if (m->state != MEMBER_CLIENT || a->view.len == 0)
		return 0;
	rc = view_decode(&v, a->view);
	if (rc != 0)
		return rc == DYN_EPROTO ? rc : 0;
	member_learn(m, v, now, out);
	view_unref(v);
	return 0;
}

/* What a member keeps for others.  Rings without hints are spared the effect. */
static void
hear_ledger(struct member *m, const struct dyn_id *from, struct dyn_slice ledger,
    struct outbox *out)
{
	struct effect *e;
	struct buf *copy;

	if (m->state != MEMBER_IN || view_find(m->view, from) == NULL ||
	    (ledger.len == 0 && !m->ledgers_heard))
		return;
	copy = buf_copy(ledger.data, ledger.len);
	if (copy == NULL)
		return; /* it is told again */
	m->ledgers_heard = true;
	e = outbox_add(out, FX_LEDGER);
	e->to = *from;
	e->frame = copy;
}

int
member_frame(struct member *m, const struct dyn_id *from, uint64_t conn,
    const struct frame *f, const union msg *msg, struct moment now, struct outbox *out)
{
	if (m->state == MEMBER_FAILED)
		return 0;
	switch (f->kind) {
	case MSG_GOSSIP:
		hear_ledger(m, from, msg->gossip.ledger, out);
		return on_gossip(m, from, conn, f, &msg->gossip, now, out);
	case MSG_GOSSIP_ACK:
		hear_ledger(m, from, msg->gossip_ack.ledger, out);
		return on_gossip_ack(m, from, &msg->gossip_ack, now, out);
	case MSG_VIEW_ASK:
		on_view_ask(m, conn, f, &msg->view_ask, out);
		return 0;
	case MSG_VIEW:
		return on_view(m, &msg->view, now, out);
	default:
		return 0;
	}
}

/* ------------------------------------------------------------ other events */

void
member_ledger(struct member *m, struct buf *ledger)
{
	buf_unref(m->ledger);
	m->ledger = ledger;
}

void
member_learn(struct member *m, struct view *v, struct moment now, struct outbox *out)
{
	int rc = 0;

	if (m->state == MEMBER_FAILED || v->current == NULL)
		return;
	if (m->state == MEMBER_CLIENT && strcmp(v->settings.name, m->expected.name) != 0)
		rc = DYN_ERING;
	else if (m->state == MEMBER_JOINING)
		rc = admits(m, v) ? member_enter(m, v, now, out) : 0;
	else
		rc = member_take(m, v, now, out);
	if (rc == DYN_ERING && m->state != MEMBER_FAILED)
		log_foreign(m, "a view came from", now, out);
}

void
member_poke(
    struct member *m, const struct dyn_id *id, struct moment now, struct outbox *out)
{
	if (m->view == NULL || m->state == MEMBER_FAILED ||
	    (m->poked_at != 0 && now.now < m->poked_at + POKE_GAP))
		return;
	m->poked_at = MAX(now.now, 1);
	if (m->state == MEMBER_CLIENT)
		gossip_ask_view(m, id, NULL, out);
	else
		gossip_to(m, id, NULL, false, out);
}

/* Try another one at once, but not more than a few before the next timer. */
void
member_unreachable(struct member *m, const struct dyn_id *id, const char *address, int rc,
    struct moment now, struct outbox *out)
{
	(void)id;
	(void)now;
	if (m->state == MEMBER_FAILED)
		return;
	m->lost = true;
	if (m->view == NULL && address != NULL) {
		outbox_log(out, rc == DYN_ERING ? DYN_LOG_WARNING : DYN_LOG_DEBUG,
		    "seed %s: %s", address, dyn_strerror(rc));
		if (rc == DYN_ERING)
			member_fail(m, out, rc, "seed %s is of another ring", address);
		else if (m->tries < m->seeds_count)
			gossip_ask_seed(m, out);
	} else if (m->state == MEMBER_CLIENT && m->view != NULL && m->tries < TRIES_MAX) {
		m->tries++;
		if (m->tries == TRIES_MAX && m->seeds_count > 0)
			gossip_ask_view(
			    m, NULL, m->seeds[m->seed_next++ % m->seeds_count], out);
		else
			gossip_ask_view(m, gossip_partner(m), NULL, out);
	}
}
