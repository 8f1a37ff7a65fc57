/* The asking side of an exchange, and which exchanges there are.  Why is in repair.h. */
#include "core/repair_private.h"

int
repair_new(struct repair **out, const struct repair_options *options, struct moment m)
{
	struct repair *r = mem_zalloc(sizeof(*r));
	int rc;

	(void)m;
	*out = NULL;
	if (r == NULL)
		return DYN_ENOMEM;
	r->o = *options;
	if (r->o.period == 0)
		r->o.period = REPAIR_PERIOD;
	r->next_number = 1;
	list_init(&r->exchanges);
	rc = repair_load_marks(r);
	if (rc != 0) {
		repair_free(r);
		return rc;
	}
	if (r->o.lost) {
		r->all = r->marks_old = true;
		r->marks_told_old = true;
	}
	*out = r;
	return 0;
}

static void
clear(struct exchange *x)
{
	struct buf **bufs[] = { &x->roots, &x->after, &x->list, &x->until_name, &x->last,
		&x->rows, &x->wants };

	for (size_t i = 0; i < ARRAY_LEN(bufs); i++) {
		buf_unref(*bufs[i]);
		*bufs[i] = NULL;
	}
	x->roots_at = x->rows_at = x->wants_at = 0;
	x->number = x->resting = 0;
}

static void
exchange_free(struct repair *r, struct exchange *x)
{
	r->active -= x->state != WAITING;
	list_remove(&x->link);
	clear(x);
	mem_free(x);
}

void
repair_free(struct repair *r)
{
	if (r == NULL)
		return;
	while (!list_empty(&r->exchanges))
		exchange_free(r, CONTAINER_OF(r->exchanges.next, struct exchange, link));
	repair_free_marks(r);
	view_unref(r->view);
	mem_free(r);
}

/* Do both own it, by base and by current? */
bool
repair_shares(const struct repair *r, unsigned partition, const struct dyn_id *peer)
{
	const struct table *base = r->view->base, *current = r->view->current;

	if (table_rank(current, partition, peer) == current->n ||
	    table_rank(current, partition, &r->o.self) == current->n)
		return false;
	return base == current || table_compare(base, current) == 0 ||
	    (table_rank(base, partition, peer) < base->n &&
	        table_rank(base, partition, &r->o.self) < base->n);
}

struct exchange *
repair_find(struct repair *r, const struct dyn_id *peer)
{
	LIST_EACH(l, &r->exchanges) {
		struct exchange *x = CONTAINER_OF(l, struct exchange, link);

		if (id_equal(&x->peer, peer))
			return x;
	}
	return NULL;
}

/* Roots bound to their partitions, so that two that changed places do not pass. */
void
repair_sum(const struct repair *r, const struct dyn_id *peer, struct digest *sum,
    uint32_t *count)
{
	memset(sum, 0, sizeof(*sum));
	*count = 0;
	for (unsigned p = 0; p < r->partitions; p++) {
		const struct merkle *tree = trees_find(r->o.trees, p);
		const unsigned char number[4] = { (unsigned char)p, (unsigned char)(p >> 8),
			(unsigned char)(p >> 16), (unsigned char)(p >> 24) };
		struct digest bound;

		if (tree == NULL || !repair_shares(r, p, peer))
			continue;
		row_digest(slice(number, sizeof(number)),
		    slice(tree->root.b, sizeof(tree->root.b)), &bound);
		sum_add(sum, &bound);
		++*count;
	}
}

void
repair_send(struct repair *r, const struct dyn_id *to, uint64_t request, enum msg_kind kind,
    const union msg *msg, struct outbox *out)
{
	struct frame head = view_head(r->view, request);
	struct effect *e;
	struct buf *frame;

	if (msg_encode(&frame, &head, kind, msg) != 0)
		return; /* patience ends */
	e = outbox_add(out, FX_SEND);
	e->to = *to;
	e->frame = frame;
}

/* ---------------------------------------------------------------- the steps */

static void
ask(struct repair *r, struct exchange *x, enum msg_kind kind, const union msg *msg,
    struct moment m, struct outbox *out)
{
	x->number = r->next_number++;
	x->until = m.now + REPAIR_PATIENCE;
	repair_send(r, &x->peer, x->number, kind, msg, out);
}

void
repair_end(struct repair *r, struct exchange *x, uint64_t again)
{
	clear(x);
	r->active -= x->state != WAITING;
	x->state = WAITING;
	x->until = again;
}

static void
fails(struct repair *r, struct exchange *x, struct moment m)
{
	repair_end(r, x, m.now + REPAIR_RETRY);
}

static void
begin(struct repair *r, struct exchange *x, struct moment m, struct outbox *out)
{
	union msg msg;

	r->active++;
	x->state = ROOTS;
	x->began = r->next_number;
	x->yielded = false;
	repair_sum(r, &x->peer, &msg.trees.sum, &msg.trees.count);
	ask(r, x, MSG_TREES, &msg, m, out);
}

static void
ask_nodes(struct repair *r, struct exchange *x, const struct merkle *tree, struct moment m,
    struct outbox *out)
{
	union msg msg = { .tree = { .partition = x->partition,
		.nodes = slice(tree->inner, sizeof(tree->inner)) } };

	x->state = NODES;
	ask(r, x, MSG_TREE, &msg, m, out);
}

/* The next partition that differs; or the exchange ends. */
static void
next_partition(struct repair *r, struct exchange *x, struct moment m, struct outbox *out)
{
	struct dyn_slice all = buf_slice(x->roots);
	const unsigned char *bytes = all.data;

	while (x->roots_at < all.len) {
		struct rd rd = rd_from(slice(bytes + x->roots_at, all.len - x->roots_at));
		const struct merkle *tree;
		struct digest root;

		x->partition = rd_u32(&rd);
		rd_copy(&rd, root.b, sizeof(root.b));
		if (rd.bad)
			break;
		x->roots_at += 4 + sizeof(root.b);
		tree = trees_find(r->o.trees, x->partition);
		if (tree == NULL || !repair_shares(r, x->partition, &x->peer))
			continue;
		if (digest_compare(&tree->root, &root) == 0) {
			repair_equal(r, x->partition, &x->peer, x->began, m);
			continue;
		}
		repair_differs(r, x->partition, &x->peer);
		ask_nodes(r, x, tree, m, out);
		return;
	}
	/* The trees of some do not stand yet: soon again. */
	if (x->partial) {
		fails(r, x, m);
		return;
	}
	r->exchanges_ended++;
	repair_end(r, x, m.now + r->o.period);
}

static void
partition_ends(struct repair *r, struct exchange *x, struct moment m, struct outbox *out)
{
	repair_equal(r, x->partition, &x->peer, x->began, m);
	buf_unref(x->after);
	x->after = NULL;
	next_partition(r, x, m, out);
}

/* Our rows of the leaves that differ, by name and digest. */
struct listing {
	struct wr rows;
	struct buf *last;
	size_t scanned;
	bool cut, failed;
};

static int
list_row(void *arg, struct dyn_slice name, struct dyn_slice value)
{
	struct listing *l = arg;
	struct digest digest;
	struct buf *last;

	if (wr_len(&l->rows) > REPAIR_LIST) {
		l->cut = true;
		return 1;
	}
	last = buf_copy(name.data, name.len);
	if (last == NULL) {
		l->failed = true;
		return 1;
	}
	buf_unref(l->last);
	l->last = last;
	l->scanned += name.len + value.len;
	row_digest(name, value, &digest);
	wr_slice(&l->rows, name);
	wr_bytes(&l->rows, digest.b, sizeof(digest.b));
	return 0;
}

static void
forget_list(struct exchange *x)
{
	buf_unref(x->list);
	buf_unref(x->until_name);
	x->list = x->until_name = NULL;
}

static int
make_list(struct repair *r, struct exchange *x, struct moment m)
{
	struct listing l = { .scanned = 0 };
	int rc;

	wr_init(&l.rows, 4096);
	rc = repair_scan(r, x->partition, x->bits, buf_slice(x->after), slice(NULL, 0), list_row,
	    &l);
	admit_pay(r->o.admit, l.scanned + 4096, m.now);
	if (rc == 0 && l.failed)
		rc = DYN_ENOMEM;
	if (rc == 0)
		rc = wr_finish(&l.rows, &x->list);
	else
		wr_abort(&l.rows);
	x->cut = l.cut;
	if (rc == 0 && l.cut)
		x->until_name = buf_ref(l.last);
	buf_unref(l.last);
	return rc;
}

/* A list that a busy peer refused is sent again as it is.  Made anew it would cost
 * anew, and two that ask each other, each busy with its own list whenever the other
 * asks, would refuse each other for ever. */
static void
ask_rows(struct repair *r, struct exchange *x, struct moment m, struct outbox *out)
{
	union msg msg;
	int rc = 0;

	x->state = ROWS;
	x->resting = 0;
	if (x->list == NULL) {
		if (!admit_may(r->o.admit, m.now)) {
			x->resting = admit_at(r->o.admit);
			return;
		}
		rc = make_list(r, x, m);
	}
	if (rc != 0) {
		outbox_log(out, DYN_LOG_WARNING, "partition %u cannot be compared: %s",
		    x->partition, dyn_strerror(rc));
		fails(r, x, m);
		return;
	}
	msg.leaves = (struct msg_leaves){ .partition = x->partition, .bytes_max = REPAIR_BYTES,
		.bits = slice(x->bits, sizeof(x->bits)), .after = buf_slice(x->after),
		.until = buf_slice(x->until_name), .rows = buf_slice(x->list) };
	ask(r, x, MSG_LEAVES, &msg, m, out);
}

/* ------------------------------------------------------------- giving back */

/* The next row to give back: of those they sent, if it is other now that it is
 * merged; then of those they want.  False: no more. */
static bool
next_to_give(struct exchange *x, struct dyn_slice *name, struct dyn_slice *theirs, bool *wanted)
{
	struct dyn_slice all = buf_slice(x->rows);
	struct rd rd;

	*wanted = x->rows_at >= all.len;
	*theirs = slice(NULL, 0);
	if (!*wanted) {
		rd = rd_from(slice((const char *)all.data + x->rows_at, all.len - x->rows_at));
		*name = rd_slice(&rd, KEY_NAME_MAX);
		*theirs = rd_slice(&rd, LIMIT_OBJECT);
		x->rows_at = all.len - rd_left(&rd);
		return true;
	}
	all = buf_slice(x->wants);
	if (x->wants_at >= all.len)
		return false;
	rd = rd_from(slice((const char *)all.data + x->wants_at, all.len - x->wants_at));
	*name = rd_slice(&rd, KEY_NAME_MAX);
	x->wants_at = all.len - rd_left(&rd);
	return true;
}

/* One frame's worth; ascending, so those they want are never in one frame with
 * those they sent. */
static int
gather(struct repair *r, struct exchange *x, struct wr *w, uint64_t *count)
{
	struct dyn_engine *e = r->o.engine;
	struct dyn_buffer b = { NULL, 0, 0 };
	int rc = 0;

	while (wr_len(w) < REPAIR_BYTES) {
		size_t wants_at = x->wants_at;
		struct dyn_slice name, theirs;
		bool wanted;

		if (!next_to_give(x, &name, &theirs, &wanted))
			break;
		if (wanted && wants_at == 0 && *count > 0) {
			x->wants_at = wants_at;
			break;
		}
		b.len = 0;
		rc = e->get(e->self, DYN_SPACE_DATA, name, &b);
		if (rc == DYN_ENOTFOUND)
			rc = 0; /* it was here a moment ago; so be it */
		else if (rc == 0 && !slice_equal(slice(b.data, b.len), theirs)) {
			wr_slice(w, name);
			wr_slice(w, slice(b.data, b.len));
			++*count;
		}
		if (rc != 0)
			break;
	}
	dyn_buffer_free(&b);
	return rc;
}

static void
give_back(struct repair *r, struct exchange *x, struct moment m, struct outbox *out)
{
	uint64_t count = 0;
	struct buf *rows;
	struct wr w;
	int rc;

	wr_init(&w, 4096);
	rc = gather(r, x, &w, &count);
	if (rc == 0)
		rc = wr_finish(&w, &rows);
	else
		wr_abort(&w);
	if (rc != 0) {
		fails(r, x, m);
		return;
	}
	if (count > 0) {
		union msg msg = { .repair = { .partition = x->partition,
			.rows = buf_slice(rows) } };

		x->state = PUSHING;
		r->gave += count;
		ask(r, x, MSG_REPAIR, &msg, m, out);
	} else if (x->done && !x->cut) {
		partition_ends(r, x, m, out);
	} else {
		buf_unref(x->after);
		x->after = x->last;
		x->last = NULL;
		ask_rows(r, x, m, out);
	}
	buf_unref(rows);
}

/* ----------------------------------------------------------------- answers */

static int
on_trees_ack(struct repair *r, struct exchange *x, const struct msg_trees_ack *a,
    struct moment m, struct outbox *out)
{
	if (a->roots.len % 20 != 0)
		return DYN_EPROTO;
	if (a->rc != 0) {
		fails(r, x, m);
	} else if (a->equal != 0) {
		repair_equal_all(r, &x->peer, x->began, m);
		r->exchanges_ended++;
		repair_end(r, x, m.now + r->o.period);
	} else {
		struct digest sum;
		uint32_t count;

		repair_sum(r, &x->peer, &sum, &count);
		x->partial = a->roots.len / 20 < count;
		x->roots = buf_copy(a->roots.data, a->roots.len);
		if (x->roots == NULL)
			fails(r, x, m);
		else
			next_partition(r, x, m, out);
	}
	return 0;
}

/* Which of the leaves are not as ours are? */
static bool
read_leaves(struct exchange *x, const struct merkle *tree, struct dyn_slice leaves, bool *any)
{
	struct rd rd = rd_from(leaves);

	memset(x->bits, 0, sizeof(x->bits));
	*any = false;
	while (rd_left(&rd) > 0) {
		unsigned inner = rd_u8(&rd);

		for (unsigned k = 0; k < MERKLE_FAN; k++) {
			unsigned leaf = inner * MERKLE_FAN + k;
			struct digest theirs;

			rd_copy(&rd, theirs.b, sizeof(theirs.b));
			if (rd.bad || inner >= MERKLE_FAN)
				return false;
			if (digest_compare(&theirs, &tree->leaf[leaf]) == 0)
				continue;
			x->bits[leaf / 8] |= (unsigned char)(1u << leaf % 8);
			*any = true;
		}
	}
	return true;
}

static int
on_tree_ack(struct repair *r, struct exchange *x, const struct msg_tree_ack *a, struct moment m,
    struct outbox *out)
{
	const struct merkle *tree = trees_find(r->o.trees, x->partition);
	bool any;

	if (a->rc != 0 || tree == NULL) {
		fails(r, x, m);
		return 0;
	}
	if (!read_leaves(x, tree, a->leaves, &any))
		return DYN_EPROTO;
	if (any)
		ask_rows(r, x, m, out);
	else
		partition_ends(r, x, m, out);
	return 0;
}

/* What they want lies in the partition too. */
static bool
wants_are_good(const struct repair *r, unsigned partition, struct dyn_slice wants)
{
	struct rd rd = rd_from(wants);
	struct dyn_slice before = slice(NULL, 0);

	while (rd_left(&rd) > 0) {
		struct dyn_slice name = rd_slice(&rd, KEY_NAME_MAX);

		if (rd.bad || !name_split(name, NULL, NULL) ||
		    name_partition(name, r->partitions) != partition ||
		    (before.len > 0 && slice_compare(before, name) >= 0))
			return false;
		before = name;
	}
	return rd_end(&rd);
}

static uint64_t
count_rows(struct dyn_slice rows)
{
	struct rd rd = rd_from(rows);
	uint64_t count = 0;

	for (; rd_left(&rd) > 0; count++) {
		(void)rd_slice(&rd, KEY_NAME_MAX);
		(void)rd_slice(&rd, LIMIT_OBJECT);
	}
	return count;
}

/* They must get on: else an exchange would never end. */
static bool
gets_on(const struct exchange *x, const struct msg_leaves_ack *a)
{
	if (a->done != 0 && !x->cut)
		return true;
	return a->last.len > 0 && slice_compare(a->last, buf_slice(x->after)) > 0;
}

static int
on_leaves_ack(struct repair *r, struct exchange *x, const struct msg_leaves_ack *a,
    struct moment m, struct outbox *out)
{
	struct dyn_slice last;
	struct rows *rows = NULL;

	if (msg_rc(a->rc) == DYN_EBUSY) {
		x->resting = m.now + REPAIR_REST;
		return 0;
	}
	if (a->rc != 0) {
		fails(r, x, m);
		return 0;
	}
	if (!rows_check(a->rows, x->partition, r->partitions, &last) ||
	    !wants_are_good(r, x->partition, a->wants) || !gets_on(x, a))
		return DYN_EPROTO;
	forget_list(x);
	x->done = a->done != 0;
	x->rows_at = x->wants_at = 0;
	buf_unref(x->last);
	buf_unref(x->rows);
	buf_unref(x->wants);
	x->last = buf_copy(a->last.data, a->last.len);
	x->rows = buf_copy(a->rows.data, a->rows.len);
	x->wants = buf_copy(a->wants.data, a->wants.len);
	if (a->rows.len > 0)
		rows = rows_new(ROWS_REPAIR, x->partition, x->number, a->rows);
	if (x->last == NULL || x->rows == NULL || x->wants == NULL ||
	    (a->rows.len > 0 && rows == NULL)) {
		rows_free(rows);
		fails(r, x, m);
		return 0;
	}
	if (rows == NULL) {
		give_back(r, x, m, out);
		return 0;
	}
	r->took += count_rows(a->rows);
	admit_pay(r->o.admit, a->rows.len, m.now);
	x->state = STORING;
	x->until = m.now + REPAIR_PATIENCE;
	outbox_add(out, FX_ROWS)->what = rows;
	return 0;
}

void
repair_stored(struct repair *r, struct rows *rows, int rc, struct moment m, struct outbox *out)
{
	LIST_EACH(l, &r->exchanges) {
		struct exchange *x = CONTAINER_OF(l, struct exchange, link);

		if (x->state != STORING || x->number != rows->number)
			continue;
		if (rc == 0)
			give_back(r, x, m, out);
		else
			fails(r, x, m);
		break;
	}
	rows_free(rows);
	repair_settle(r, m, out);
}

/* The exchange this answers, if it still waits for it. */
static int
on_answer(struct repair *r, const struct dyn_id *from, const struct frame *f,
    const union msg *msg, struct moment m, struct outbox *out)
{
	struct exchange *x = repair_find(r, from);

	if (x == NULL || x->number != f->request)
		return 0;
	if (f->kind == MSG_TREES_ACK && x->state == ROOTS)
		return on_trees_ack(r, x, &msg->trees_ack, m, out);
	if (f->kind == MSG_TREE_ACK && x->state == NODES)
		return on_tree_ack(r, x, &msg->tree_ack, m, out);
	if (f->kind == MSG_LEAVES_ACK && x->state == ROWS && x->resting == 0)
		return on_leaves_ack(r, x, &msg->leaves_ack, m, out);
	if (f->kind == MSG_REPAIR_ACK && x->state == PUSHING) {
		if (msg->repair_ack.rc == 0)
			give_back(r, x, m, out);
		else
			fails(r, x, m);
	}
	return 0;
}

int
repair_frame(struct repair *r, const struct dyn_id *from, uint64_t conn, const struct frame *f,
    const union msg *msg, struct moment m, struct outbox *out)
{
	int rc;

	switch (f->kind) {
	case MSG_TREES:
	case MSG_TREE:
	case MSG_LEAVES:
	case MSG_BEHIND:
		rc = repair_serve(r, from, conn, f, msg, m, out);
		break;
	default:
		rc = on_answer(r, from, f, msg, m, out);
		break;
	}
	repair_settle(r, m, out);
	return rc;
}

/* ------------------------------------------------------------ other events */

/* An exchange with this member, if it can be compared with. */
static void
want_with(struct repair *r, const struct dyn_id *id, struct moment m)
{
	const struct record *rec = view_find(r->view, id);
	struct exchange *x;

	if (rec == NULL || !record_is_member(rec) || id_equal(id, &r->o.self))
		return;
	x = repair_find(r, id);
	if (x == NULL) {
		x = mem_zalloc(sizeof(*x));
		if (x == NULL)
			return; /* the next view brings it */
		x->peer = *id;
		x->until = m.now; /* as soon as the trees stand */
		list_init(&x->link);
		list_add(&r->exchanges, &x->link);
	}
	x->wanted = true;
}

/* With whom do we share something?  By the other owners of what is ours: in a large
 * ring those are few, and asking all members about all partitions would be slow. */
static void
want(struct repair *r, struct moment m)
{
	const struct table *t = r->view->current;

	LIST_EACH(l, &r->exchanges)
		CONTAINER_OF(l, struct exchange, link)->wanted = false;
	for (unsigned p = 0; p < r->partitions; p++) {
		const uint16_t *owners;
		unsigned count = table_owners(t, p, &owners);

		if (!repair_shares(r, p, &r->o.self))
			continue;
		for (unsigned i = 0; i < count; i++)
			if (repair_shares(r, p, &t->seats[owners[i]].node))
				want_with(r, &t->seats[owners[i]].node, m);
	}
	LIST_EACH_SAFE(l, next, &r->exchanges) {
		struct exchange *x = CONTAINER_OF(l, struct exchange, link);

		if (!x->wanted)
			exchange_free(r, x);
	}
}

void
repair_view(struct repair *r, struct view *v, struct moment m, struct outbox *out)
{
	bool same = r->view != NULL && r->partitions > 0 &&
	    table_compare(r->view->current, v->current) == 0 &&
	    table_compare(r->view->base, v->base) == 0;

	if (v->current == NULL || v->base == NULL)
		return;
	view_ref(v);
	view_unref(r->view);
	r->view = v;
	if (!same) {
		LIST_EACH(l, &r->exchanges)
			repair_end(r, CONTAINER_OF(l, struct exchange, link), m.now);
		if (repair_reset_marks(r, m) != 0) {
			outbox_log(out, DYN_LOG_WARNING, "no memory to compare copies");
			r->partitions = 0; /* the next view tries again */
			return;
		}
	}
	r->foreign = false;
	if (r->all)
		repair_mark_all(r);
	repair_look_at_marks(r);
	want(r, m);
	repair_settle(r, m, out);
}

void
repair_lost(struct repair *r, const struct dyn_id *id, struct moment m, struct outbox *out)
{
	struct exchange *x = repair_find(r, id);

	(void)out;
	if (x != NULL && x->state != WAITING && x->state != STORING)
		fails(r, x, m);
}

void
repair_liveness(struct repair *r, const struct dyn_id *id, enum dyn_liveness state,
    struct moment m)
{
	struct exchange *x = repair_find(r, id);

	if (x == NULL)
		return;
	if (state == DYN_SUSPECT && x->state != WAITING && x->state != STORING)
		fails(r, x, m);
	if (state == DYN_LIVE && x->state == WAITING)
		x->until = MIN(x->until, m.now + REPAIR_RETRY); /* hints come first */
}

void
repair_lost_all(struct repair *r, int number, struct moment m, struct outbox *out)
{
	r->lost = number;
	repair_mark_all(r);
	/* This view may be as old as the copies: what else is ours, the next one tells. */
	for (unsigned p = 0; p < r->partitions; p++)
		if (!view_owns(r->view, p, &r->o.self))
			repair_mark(r, p);
	r->foreign = true;
	r->marks_old = r->marks_told_old = true;
	r->save_at = 0;
	repair_look_at_marks(r);
	LIST_EACH(l, &r->exchanges) {
		struct exchange *x = CONTAINER_OF(l, struct exchange, link);

		if (x->state == WAITING)
			x->until = m.now;
	}
	repair_settle(r, m, out);
}

/* Trees that do not stand yet would look like differences. */
static bool
is_ready(const struct repair *r)
{
	struct trees_figures f;

	trees_figures(r->o.trees, &f);
	return r->partitions > 0 && f.wanted == 0;
}

uint64_t
repair_wake(const struct repair *r)
{
	uint64_t at = r->marks_old ? MAX(r->save_at, 1) : TIME_NEVER;
	bool ready = is_ready(r);

	LIST_EACH(l, &r->exchanges) {
		const struct exchange *x = CONTAINER_OF(l, struct exchange, link);

		if (x->state == WAITING && (!ready || r->active >= REPAIR_AT_ONCE))
			continue;
		at = MIN(at, x->state == ROWS && x->resting != 0 ? x->resting : x->until);
	}
	return at;
}

void
repair_tick(struct repair *r, struct moment m, struct outbox *out)
{
	LIST_EACH_SAFE(l, next, &r->exchanges) {
		struct exchange *x = CONTAINER_OF(l, struct exchange, link);

		if (x->state == ROWS && x->resting != 0) {
			if (x->resting <= m.now)
				ask_rows(r, x, m, out);
		} else if (x->until > m.now) {
			continue;
		} else if (x->state != WAITING) {
			fails(r, x, m);
		} else if (is_ready(r) && r->active < REPAIR_AT_ONCE) {
			begin(r, x, m, out);
		}
	}
	repair_settle(r, m, out);
}
