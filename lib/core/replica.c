/*
 * The other end of a coordinator's requests: PUT and GET on this node's copy,
 * ASK to coordinate (paper 4.5).
 *
 * Which requests are refused (DYN_EMOVED), so that no coordinator with an old
 * table is misled (DESIGN 6):
 *   - PUT of a sender whose table is older than our current one: it may not
 *     know an owner that already counts on hearing of every write.  This is
 *     the fence a newcomer's transfer relies on.
 *   - GET of a sender that reads by a table which, as we know, is not written
 *     to any more: one older than our base.  In SWITCHED that may be so of our base
 *     too; a member that reads by it holds up the end of SWITCHED, but a client, or
 *     who has left, is waited for by nobody: it has to read by current then.
 *   - both, if we own the partition by neither table and do not know better.
 * A PUT with an owner's name on it is a hint (paper 4.6): this node keeps it for
 * that owner, unless it is an owner itself.
 *
 * Repairs (request 0) are taken of any table, as merging what somebody wrote can do
 * no harm; but not where this node owns nothing, and not of tables before the last
 * fence for collecting (core/collect.h): what they hold may have been deleted and
 * forgotten since.
 *
 * Who is further on than this node's own word allows shows that this node's
 * directory is an old copy (core/member.c, stale): until it has been cleared, it
 * takes nothing (DYN_EBUSY).
 */
#include "core/request.h"

/* Whatever a peer calls a name must be one, and lie where its hash says. */
static bool
name_is_good(const struct work *w, struct dyn_slice name)
{
	return name_split(name, NULL, NULL) && w->view != NULL && w->view->current != NULL &&
	    name_genuine((enum dyn_hash)w->view->settings.hash, name);
}

static bool
owns(const struct work *w, struct dyn_slice name)
{
	unsigned p = name_partition(name, w->view->settings.partitions);

	return view_owns(w->view, p, &w->o.self);
}

static void
put_reply(struct work *w, uint64_t conn, uint64_t request, int rc, bool on_disk,
    struct outbox *out)
{
	union msg m = { .put_ack = { .rc = (uint32_t)rc, .on_disk = on_disk } };

	if (request != 0)
		work_reply(w, conn, request, MSG_PUT_ACK, &m, out);
}

static bool
is_hint(const struct work *w, const struct msg_put *put)
{
	return !id_is_zero(&put->owner) && !id_equal(&put->owner, &w->o.self) &&
	    !owns(w, put->name);
}

static int
put_check(const struct work *w, const struct frame *f, const struct msg_put *put)
{
	if (!w->stores || put->object.len == 0 || put->durability < DYN_DURABLE_DISK ||
	    put->durability > DYN_DURABLE_MEMORY || !name_is_good(w, put->name))
		return DYN_EPROTO;
	if (view_stamp_is_ahead(w->view, f->epoch))
		return DYN_EBUSY;
	if (f->epoch >> 2 < w->view->current->collected)
		return DYN_EMOVED;
	if (f->request == 0)
		return owns(w, put->name) || frame_is_newer(w, f) ? 0 : DYN_EMOVED;
	if (frame_is_older(w, f))
		return DYN_EMOVED;
	if (is_hint(w, put)) {
		/* An owner that nobody knows will never come for it. */
		if (view_find(w->view, &put->owner) == NULL && !frame_is_newer(w, f))
			return DYN_EMOVED;
		if (w->hints_full)
			return DYN_EFULL;
	} else if (!owns(w, put->name) && !frame_is_newer(w, f)) {
		return DYN_EMOVED;
	}
	return work_bytes(w) > w->o.bytes_max ? DYN_EBUSY : 0;
}

void
replica_put(struct work *w, uint64_t conn, const struct frame *f, const struct msg_put *put,
    struct moment m, struct outbox *out)
{
	enum dyn_durability d = (enum dyn_durability)put->durability;
	struct waiter waiter = { .kind = WAIT_REPLICA, .conn = conn, .request = f->request };
	unsigned char id[HINT_ID_MAX];
	struct place at;
	struct stored s;
	int rc;

	w->stats.replica_puts++;
	rc = put_check(w, f, put);
	if (rc == 0) {
		bool hint = is_hint(w, put);

		at = hint ? place_of_hint(&put->owner, put->name, id)
		          : place_of_copy(put->name);
		w->stats.hinted += hint;
		rc = store_merge(&w->store, at, put->object, d, m.wall_ms, &s);
	}
	if (rc != 0) {
		put_reply(w, conn, f->request, rc, false, out);
		return;
	}
	buf_unref(s.object);
	waiter.number = s.number;
	waiter.on_disk = d == DYN_DURABLE_DISK;
	if (d == DYN_DURABLE_MEMORY || s.number == 0 || store_state(&w->store, s.number) != 0)
		put_reply(w, conn, f->request, 0, waiter.on_disk, out);
	else if (wait_for(w, &waiter) != 0)
		/* It will be stored, but nobody will know. */
		put_reply(w, conn, f->request, DYN_EUNKNOWN, false, out);
}

void
replica_stored(struct work *w, const struct waiter *waiter, int rc, struct outbox *out)
{
	put_reply(w, waiter->conn, waiter->request, rc, rc == 0 && waiter->on_disk, out);
}

/* Does the sender read by a table that is not read from any more? */
static bool
reads_by_old(const struct work *w, const struct dyn_id *from, const struct frame *f)
{
	const struct record *rec = view_find(w->view, from);
	bool is_member = rec != NULL && record_is_member(rec);
	/* Once this node has followed in SWITCHED, others may take it for settled. */
	const struct table *t = view_phase(w->view) == VIEW_SWITCHED && !is_member ?
	    w->view->current : w->view->base;

	/* From SWITCHED on a view's reads go by its own table. */
	return f->epoch < 4 * t->epoch + VIEW_SWITCHED;
}

static int
get_check(const struct work *w, const struct dyn_id *from, const struct frame *f,
    const struct msg_get *get)
{
	if (!w->stores || !name_is_good(w, get->name))
		return DYN_EPROTO;
	if (view_stamp_is_ahead(w->view, f->epoch))
		return DYN_EBUSY;
	if (reads_by_old(w, from, f) ||
	    (get->hints == 0 && !owns(w, get->name) && !frame_is_newer(w, f)))
		return DYN_EMOVED;
	return 0;
}

/* Does this copy hold all it should?  Readers ask it then; and a newcomer that
 * has pulled all knows it before the others do. */
static bool
is_complete(const struct work *w, struct dyn_slice name)
{
	const struct record *self = view_find(w->view, &w->o.self);
	unsigned p = name_partition(name, w->view->settings.partitions);
	struct group g;

	if (is_catching(w, p))
		return false;
	view_readers(w->view, p, &g);
	return group_has(w->view, &g, &w->o.self) ||
	    (self != NULL && record_synced(self, w->view->current) && owns(w, name));
}

/* This node's copy; or, where it stands in, what it keeps for others.  Who has
 * become an owner meanwhile is asked as a stand-in by who does not know it. */
static int
find_copy(struct work *w, const struct msg_get *get, struct buf **object)
{
	if (get->hints != 0 && !owns(w, get->name))
		return standin_known(w, w->view, get->name, object);
	return store_get(&w->store, place_of_copy(get->name), object);
}

void
replica_get(struct work *w, const struct dyn_id *from, uint64_t conn, const struct frame *f,
    const struct msg_get *get, struct moment m, struct outbox *out)
{
	union msg ack;
	struct buf *object = NULL;
	int rc;

	(void)m;
	w->stats.replica_gets++;
	rc = get_check(w, from, f, get);
	memset(&ack.get_ack, 0, sizeof(ack.get_ack));
	if (rc == 0)
		rc = find_copy(w, get, &object);
	if (rc == 0)
		ack.get_ack.complete = is_complete(w, get->name);
	ack.get_ack.rc = (uint32_t)rc;
	ack.get_ack.object = buf_slice(object);
	work_reply(w, conn, f->request, MSG_GET_ACK, &ack, out);
	buf_unref(object);
}

/* ------------------------------------------------------------------- ASK */

static void
ask_refuse(struct work *w, uint64_t conn, uint64_t request, int rc, struct outbox *out)
{
	union msg m = { .ask_ack = { .rc = (uint32_t)rc, .coordinator = w->o.self } };

	work_reply(w, conn, request, MSG_ASK_ACK, &m, out);
}

static bool
ask_is_good(const struct work *w, const struct msg_ask *ask)
{
	unsigned n = w->view != NULL ? w->view->settings.n : 0;

	return w->stores && name_is_good(w, ask->name) &&
	    (ask->op == OP_PUT || ask->op == OP_DELETE) && ask->n >= 1 && ask->n <= n &&
	    ask->w >= 1 && ask->w <= ask->n && ask->durability >= DYN_DURABLE_DISK &&
	    ask->durability <= DYN_DURABLE_MEMORY && ask->timeout_ms >= 1;
}

static int
op_from_ask(struct op **out, const struct msg_ask *ask)
{
	struct op *op = mem_zalloc(sizeof(*op));
	int rc = DYN_ENOMEM;

	*out = NULL;
	if (op == NULL)
		return rc;
	op->kind = (enum op_kind)ask->op;
	op->durability = (enum dyn_durability)ask->durability;
	op->n = ask->n;
	op->w = ask->w;
	op->zone_w = ask->zone_w;
	op->lww = ask->lww != 0;
	op->flags = ask->flags & (DYN_STRICT | DYN_OVERWRITE);
	op->timeout_ms = MIN(ask->timeout_ms, 3600000);
	op->expiry_ms = ask->expiry_ms;
	op->after = ask->after;
	op->standin = ask->standin != 0;
	op->name = buf_copy(ask->name.data, ask->name.len);
	op->value = buf_copy(ask->value.data, ask->value.len);
	if (op->name == NULL || op->value == NULL)
		goto fail;
	if (ask->has_context != 0) {
		struct rd r = rd_from(ask->context);

		rc = clock_read(&r, &op->context);
		if (rc == 0 && !rd_end(&r))
			rc = DYN_EPROTO;
		if (rc != 0)
			goto fail;
		op->has_context = true;
	}
	*out = op;
	return 0;
fail:
	op_free(op);
	return rc;
}

void
replica_ask(struct work *w, uint64_t conn, const struct frame *f, const struct msg_ask *ask,
    struct moment m, struct outbox *out)
{
	struct op *op;
	int rc;

	if (!ask_is_good(w, ask)) {
		ask_refuse(w, conn, f->request, DYN_EPROTO, out);
		return;
	}
	rc = op_from_ask(&op, ask);
	if (rc != 0) {
		ask_refuse(w, conn, f->request, rc, out);
		return;
	}
	op->conn = conn;
	op->remote = f->request;
	work_op(w, op, m, out);
}
