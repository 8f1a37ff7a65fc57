/* The asked side of an exchange: it keeps nothing between two frames. */
#include "core/repair_private.h"

/* A scan that its visitor ended is not told from one that reached its bound. */
struct visitor {
	dyn_engine_row *visit;
	void *arg;
	bool ended;
};

static int
visit_row(void *arg, struct dyn_slice name, struct dyn_slice value)
{
	struct visitor *v = arg;

	if (value.data == NULL)
		return 0; /* damaged: as if it were not there */
	v->ended = v->visit(v->arg, name, value) != 0;
	return v->ended;
}

int
repair_scan(struct repair *r, unsigned partition, const unsigned char *bits,
    struct dyn_slice after, struct dyn_slice until, dyn_engine_row *visit, void *arg)
{
	struct dyn_engine *e = r->o.engine;
	struct visitor v = { visit, arg, false };
	unsigned char first[16], last[KEY_NAME_MAX];

	for (unsigned from = 0; from < MERKLE_LEAVES && !v.ended; from++) {
		unsigned to = from;
		struct dyn_slice low, high;
		int rc;

		if ((bits[from / 8] >> from % 8 & 1) == 0)
			continue;
		while (to + 1 < MERKLE_LEAVES && (bits[(to + 1) / 8] >> (to + 1) % 8 & 1) != 0)
			to++;
		leaf_bounds(partition, r->partitions, from, to, first, last);
		from = to;
		/* The bare hash sorts before every name that starts with it. */
		low = slice(first, sizeof(first));
		high = slice(last, sizeof(last));
		if (slice_compare(after, low) > 0)
			low = after;
		if (until.len > 0 && slice_compare(until, high) < 0)
			high = until;
		if (slice_compare(low, high) >= 0)
			continue;
		rc = e->scan(e->self, DYN_SPACE_DATA, low, high, visit_row, &v);
		if (rc != 0)
			return rc;
	}
	return 0;
}

static void
reply(struct repair *r, uint64_t conn, uint64_t request, enum msg_kind kind,
    const union msg *msg, struct outbox *out)
{
	struct frame head = view_head(r->view, request);
	struct effect *e;
	struct buf *frame;

	if (msg_encode(&frame, &head, kind, msg) != 0)
		return; /* patience ends, and it is asked again */
	e = outbox_add(out, FX_REPLY);
	e->conn = conn;
	e->frame = frame;
}

/* May it be served, by the table it comes with? */
static int
check(struct repair *r, const struct dyn_id *from, const struct frame *f, struct outbox *out)
{
	const struct table *t = r->view != NULL ? r->view->current : NULL;

	if (t == NULL || r->partitions == 0)
		return DYN_EBUSY;
	if (f->epoch >> 2 != t->epoch || f->table != load_be64(t->digest.b)) {
		outbox_add(out, FX_POKE)->to = *from;
		return DYN_EMOVED;
	}
	return 0;
}

/* The same for one partition: both own it, and its tree stands. */
static int
check_partition(struct repair *r, const struct dyn_id *from, const struct frame *f,
    unsigned partition, struct outbox *out)
{
	int rc = check(r, from, f, out);

	if (rc == 0 && partition >= r->partitions)
		rc = DYN_EPROTO;
	if (rc == 0 && !repair_shares(r, partition, from))
		rc = DYN_EMOVED;
	if (rc == 0 && trees_find(r->o.trees, partition) == NULL)
		rc = DYN_EBUSY;
	return rc;
}

/* ------------------------------------------------------------ roots, nodes */

static struct buf *
list_roots(const struct repair *r, const struct dyn_id *peer)
{
	struct buf *list;
	struct wr w;

	wr_init(&w, 4096);
	for (unsigned p = 0; p < r->partitions; p++) {
		const struct merkle *tree = trees_find(r->o.trees, p);

		if (tree == NULL || !repair_shares(r, p, peer))
			continue;
		wr_u32(&w, p);
		wr_bytes(&w, tree->root.b, sizeof(tree->root.b));
	}
	return wr_finish(&w, &list) == 0 ? list : NULL;
}

/* One exchange is enough for two: who is asked need not ask, and of two who ask at
 * once, the lower id does.  But not twice in a row, if theirs does not get us equal;
 * and who is catching up has to ask itself, since what they ask with may be of before
 * it was marked. */
static bool
yields(const struct repair *r, const struct exchange *x, bool equal)
{
	if (r->catching_count > 0 || (x->yielded && !equal))
		return false;
	return x->state == WAITING || (x->state == ROOTS &&
	    memcmp(x->peer.bytes, r->o.self.bytes, sizeof(x->peer.bytes)) < 0);
}

static void
on_trees(struct repair *r, const struct dyn_id *from, uint64_t conn, const struct frame *f,
    const struct msg_trees *trees, struct moment m, struct outbox *out)
{
	struct exchange *x = repair_find(r, from);
	union msg ack = { .trees_ack = { .rc = 0 } };
	struct buf *roots = NULL;
	struct digest sum;
	uint32_t count;
	int rc = check(r, from, f, out);

	if (rc == 0) {
		repair_sum(r, from, &sum, &count);
		ack.trees_ack.equal = count == trees->count &&
		    digest_compare(&sum, &trees->sum) == 0;
		if (ack.trees_ack.equal == 0) {
			roots = list_roots(r, from);
			rc = roots != NULL ? 0 : DYN_ENOMEM;
		}
	}
	if (rc == 0 && ack.trees_ack.equal != 0)
		repair_equal_all(r, from, 0, m);
	if (rc == 0 && x != NULL && yields(r, x, ack.trees_ack.equal != 0)) {
		x->yielded = ack.trees_ack.equal == 0;
		repair_end(r, x, m.now + r->o.period + r->o.period / 4);
	}
	ack.trees_ack.rc = (uint32_t)rc;
	ack.trees_ack.roots = buf_slice(roots);
	reply(r, conn, f->request, MSG_TREES_ACK, &ack, out);
	buf_unref(roots);
}

/* The leaves under the inner nodes that differ. */
static int
differing_leaves(const struct merkle *tree, struct dyn_slice nodes, struct buf **out)
{
	struct rd r = rd_from(nodes);
	struct wr w;

	wr_init(&w, 512);
	for (unsigned i = 0; i < MERKLE_FAN; i++) {
		struct digest theirs;

		rd_copy(&r, theirs.b, sizeof(theirs.b));
		if (digest_compare(&theirs, &tree->inner[i]) == 0)
			continue;
		wr_u8(&w, (uint8_t)i);
		for (unsigned k = 0; k < MERKLE_FAN; k++)
			wr_bytes(&w, tree->leaf[i * MERKLE_FAN + k].b, 16);
	}
	return wr_finish(&w, out);
}

static int
on_tree(struct repair *r, const struct dyn_id *from, uint64_t conn, const struct frame *f,
    const struct msg_tree *ask, struct outbox *out)
{
	union msg ack = { .tree_ack = { .rc = 0 } };
	struct buf *leaves = NULL;
	int rc;

	if (ask->nodes.len != MERKLE_FAN * 16)
		return DYN_EPROTO;
	rc = check_partition(r, from, f, ask->partition, out);
	if (rc == DYN_EPROTO)
		return rc;
	if (rc == 0)
		rc = differing_leaves(trees_find(r->o.trees, ask->partition), ask->nodes, &leaves);
	ack.tree_ack.rc = (uint32_t)rc;
	ack.tree_ack.leaves = buf_slice(leaves);
	reply(r, conn, f->request, MSG_TREE_ACK, &ack, out);
	buf_unref(leaves);
	return 0;
}

/* -------------------------------------------------------------------- rows */

/* Two lists in one order: theirs, by name and digest; ours, as they are scanned. */
struct comparing {
	struct rd theirs;
	struct dyn_slice name; /* the next of theirs; empty: no more */
	struct digest digest;
	struct wr rows, wants;
	size_t bytes_max, scanned;
	bool cut;
	struct buf *last;
	int rc;
};

static void
next_of_theirs(struct comparing *c)
{
	c->name = slice(NULL, 0);
	if (rd_left(&c->theirs) == 0)
		return;
	c->name = rd_slice(&c->theirs, KEY_NAME_MAX);
	rd_copy(&c->theirs, c->digest.b, sizeof(c->digest.b));
	DYN_ASSERT(!c->theirs.bad); /* checked before */
}

/* What they have before this name, we lack. */
static void
want_before(struct comparing *c, struct dyn_slice name)
{
	for (; c->name.len > 0 && (name.len == 0 || slice_compare(c->name, name) < 0);
	     next_of_theirs(c))
		wr_slice(&c->wants, c->name);
}

static int
compare_row(void *arg, struct dyn_slice name, struct dyn_slice value)
{
	struct comparing *c = arg;
	struct digest digest;
	struct buf *last;
	bool same;

	if (wr_len(&c->rows) > 0 && wr_len(&c->rows) + name.len + value.len > c->bytes_max) {
		c->cut = true;
		return 1;
	}
	last = buf_copy(name.data, name.len);
	if (last == NULL) {
		c->rc = DYN_ENOMEM;
		return 1;
	}
	buf_unref(c->last);
	c->last = last;
	c->scanned += name.len + value.len;
	want_before(c, name);
	row_digest(name, value, &digest);
	same = c->name.len > 0 && slice_equal(c->name, name);
	if (!same || digest_compare(&c->digest, &digest) != 0) {
		wr_slice(&c->rows, name);
		wr_slice(&c->rows, value);
	}
	if (same)
		next_of_theirs(c);
	return 0;
}

/* Names and digests, ascending, in the partition, after < name <= until. */
static bool
list_is_good(const struct repair *r, const struct msg_leaves *ask)
{
	struct rd rd = rd_from(ask->rows);
	struct dyn_slice before = ask->after;
	struct digest digest;

	while (rd_left(&rd) > 0) {
		struct dyn_slice name = rd_slice(&rd, KEY_NAME_MAX);

		rd_copy(&rd, digest.b, sizeof(digest.b));
		if (rd.bad || !name_split(name, NULL, NULL) ||
		    name_partition(name, r->partitions) != ask->partition ||
		    (before.len > 0 && slice_compare(before, name) >= 0) ||
		    (ask->until.len > 0 && slice_compare(name, ask->until) > 0))
			return false;
		before = name;
	}
	return rd_end(&rd) && ask->bits.len == MERKLE_LEAVES / 8;
}

static int
compare(struct repair *r, const struct msg_leaves *ask, struct comparing *c)
{
	int rc;

	c->theirs = rd_from(ask->rows);
	c->bytes_max = MIN(ask->bytes_max, 4u << 20);
	wr_init(&c->rows, 4096);
	wr_init(&c->wants, 256);
	next_of_theirs(c);
	rc = repair_scan(r, ask->partition, ask->bits.data, ask->after, ask->until, compare_row, c);
	if (rc == 0)
		rc = c->rc;
	if (rc == 0 && !c->cut)
		want_before(c, slice(NULL, 0));
	return rc;
}

static int
on_leaves(struct repair *r, const struct dyn_id *from, uint64_t conn, const struct frame *f,
    const struct msg_leaves *ask, struct moment m, struct outbox *out)
{
	union msg ack = { .leaves_ack = { .rc = 0 } };
	struct comparing c = { .scanned = 0 };
	struct buf *rows = NULL, *wants = NULL;
	int rc = check_partition(r, from, f, ask->partition, out);

	if (rc == DYN_EPROTO || (rc == 0 && !list_is_good(r, ask)))
		return DYN_EPROTO;
	if (rc == 0 && !admit_may(r->o.admit, m.now))
		rc = DYN_EBUSY;
	if (rc == 0) {
		rc = compare(r, ask, &c);
		admit_pay(r->o.admit, c.scanned + 4096, m.now);
		if (rc == 0)
			rc = wr_finish(&c.rows, &rows);
		if (rc == 0)
			rc = wr_finish(&c.wants, &wants);
		if (rc != 0) {
			wr_abort(&c.rows);
			wr_abort(&c.wants);
		}
	}
	ack.leaves_ack.rc = (uint32_t)rc;
	if (rc == 0) {
		ack.leaves_ack.done = !c.cut;
		ack.leaves_ack.last = c.cut ? buf_slice(c.last) : ask->until;
		ack.leaves_ack.rows = buf_slice(rows);
		ack.leaves_ack.wants = buf_slice(wants);
	}
	reply(r, conn, f->request, MSG_LEAVES_ACK, &ack, out);
	buf_unref(rows);
	buf_unref(wants);
	buf_unref(c.last);
	return 0;
}

static void
answer_behind(struct repair *r, const struct behind *b, int rc, struct outbox *out)
{
	union msg ack = { .behind_ack = { .rc = (uint32_t)rc } };

	reply(r, b->conn, b->request, MSG_BEHIND_ACK, &ack, out);
}

void
repair_answer_behind(struct repair *r, int rc, struct outbox *out)
{
	for (unsigned i = 0; i < r->behind_count; i++)
		answer_behind(r, &r->behind[i], rc, out);
	r->behind_count = 0;
}

/* Somebody gave up a hint of ours: other owners have what we lack. */
static int
on_behind(struct repair *r, uint64_t conn, const struct frame *f, const struct msg_behind *b,
    struct outbox *out)
{
	struct rd rd = rd_from(b->partitions);
	struct behind now = { conn, f->request };

	if (r->partitions == 0 || r->behind_count == BEHIND_MAX) {
		answer_behind(r, &now, DYN_EBUSY, out);
		return 0;
	}
	while (rd_left(&rd) > 0) {
		uint32_t p = rd_u32(&rd);

		if (rd.bad || p >= r->partitions)
			return DYN_EPROTO;
		if (view_owns(r->view, p, &r->o.self))
			repair_mark(r, p);
	}
	/* Those that have no other owner need not catch up. */
	repair_look_at_marks(r);
	r->behind[r->behind_count++] = now;
	return 0;
}

int
repair_serve(struct repair *r, const struct dyn_id *from, uint64_t conn, const struct frame *f,
    const union msg *msg, struct moment m, struct outbox *out)
{
	switch (f->kind) {
	case MSG_TREES:
		on_trees(r, from, conn, f, &msg->trees, m, out);
		return 0;
	case MSG_TREE:
		return on_tree(r, from, conn, f, &msg->tree, out);
	case MSG_LEAVES:
		return on_leaves(r, from, conn, f, &msg->leaves, m, out);
	default:
		return on_behind(r, conn, f, &msg->behind, out);
	}
}
