/* The rounds of who is first owner.  Why they are safe is in collect.h; what the
 * others do for them, and clearing, is in collect_serve.c. */
#include "core/collect_private.h"

int
collect_new(struct collect **out, const struct collect_options *options, struct moment m)
{
	struct collect *c = mem_zalloc(sizeof(*c));

	*out = NULL;
	DYN_ASSERT(options->workers > 0);
	if (c == NULL)
		return DYN_ENOMEM;
	c->o = *options;
	if (c->o.period == 0)
		c->o.period = COLLECT_PERIOD;
	c->gap = MIN(COLLECT_GAP, c->o.period / 2);
	c->next_at = m.now + c->o.period;
	c->next_number = 1;
	c->look_at = TIME_NEVER;
	list_init(&c->served);
	if (map_init(&c->wishes, 64) != 0) {
		collect_free(c);
		return DYN_ENOMEM;
	}
	*out = c;
	return 0;
}

/* ------------------------------------------------------------------ wishes */

struct wish {
	struct map_link link;
	struct buf *name;
	uint64_t not_before; /* wall clock: it will have expired then */
};

static void
wish_free(void *arg, struct map_link *l)
{
	struct wish *w = CONTAINER_OF(l, struct wish, link);

	map_remove(&((struct collect *)arg)->wishes, l);
	buf_unref(w->name);
	mem_free(w);
}

/* That one is forgotten for want of room or memory does no harm: the next walk
 * over the rows finds it. */
static void
wish(struct collect *c, struct dyn_slice name)
{
	uint64_t hash = load_be64(name.data);
	struct wish *w;

	for (struct map_link *l = map_first(&c->wishes, hash); l != NULL; l = map_next(l))
		if (slice_equal(buf_slice(CONTAINER_OF(l, struct wish, link)->name), name))
			return;
	if (c->wishes.count >= COLLECT_WISHES)
		return;
	w = mem_zalloc(sizeof(*w));
	if (w != NULL)
		w->name = buf_copy(name.data, name.len);
	if (w == NULL || w->name == NULL) {
		mem_free(w);
		return;
	}
	map_add(&c->wishes, &w->link, hash);
}

/* Is this node the one that takes the rounds for the partition? */
static bool
is_first(const struct collect *c, unsigned partition)
{
	return c->view != NULL && c->view->current != NULL &&
	    table_rank(c->view->current, partition, &c->o.self) == 0;
}

void
collect_changed(struct collect *c, const struct changes *changes)
{
	for (size_t i = 0; i < changes->count; i++) {
		const struct change *x = &changes->list[i];

		if (x->old && x->bytes_after > 0)
			wish(c, buf_slice(x->name));
	}
}

void
collect_row(void *arg, struct dyn_slice name, struct dyn_slice value)
{
	if (object_old(value, 0) != OBJECT_FRESH)
		wish(arg, name);
}

/* ------------------------------------------------------------------- rounds */

static void
drop_rows(struct collect *c)
{
	for (size_t i = 0; i < c->rows_count; i++)
		buf_unref(c->rows[i].name);
	mem_free(c->rows);
	c->rows = NULL;
	c->rows_count = c->rows_cap = 0;
	c->begin = c->end = 0;
}

void
collect_free(struct collect *c)
{
	if (c == NULL)
		return;
	drop_rows(c);
	collect_free_served(c);
	map_each(&c->wishes, wish_free, c);
	map_fini(&c->wishes);
	mem_free(c->asked);
	view_unref(c->view);
	mem_free(c);
}

static void
ends(struct collect *c, uint64_t again)
{
	drop_rows(c);
	c->state = IDLE;
	c->next_at = again;
	c->look_at = TIME_NEVER;
}

/* Nothing was forgotten; the wishes stay. */
static void
fails(struct collect *c, struct moment m)
{
	ends(c, m.now + c->gap);
}

static bool
is_settled(const struct collect *c)
{
	return c->view != NULL && c->view->current != NULL &&
	    view_phase(c->view) == VIEW_SETTLED && c->is_fenced;
}

static bool
row_add(struct collect *c, struct dyn_slice name, unsigned partition, const struct digest *digest)
{
	struct forgets *f;

	if (c->rows_count == c->rows_cap) {
		size_t cap = c->rows_cap == 0 ? 64 : 2 * c->rows_cap;
		void *p = mem_realloc(c->rows, cap * sizeof(*c->rows));

		if (p == NULL)
			return false;
		c->rows = p;
		c->rows_cap = cap;
	}
	f = &c->rows[c->rows_count];
	*f = (struct forgets){ .partition = partition, .digest = *digest };
	f->name = buf_copy(name.data, name.len);
	c->rows_count += f->name != NULL;
	return f->name != NULL;
}

struct gathering {
	struct collect *c;
	uint64_t now_ms;
	struct dyn_buffer value;
};

/* A wish becomes a row of the round, waits for its time, or is none any more. */
static void
gather_wish(void *arg, struct map_link *l)
{
	struct gathering *g = arg;
	struct collect *c = g->c;
	struct wish *w = CONTAINER_OF(l, struct wish, link);
	struct dyn_slice name = buf_slice(w->name);
	unsigned partition = name_partition(name, c->view->settings.partitions);
	enum object_old old = OBJECT_FRESH;
	struct digest digest;
	int rc = DYN_ENOTFOUND;

	if (c->rows_count >= COLLECT_ROWS || w->not_before > g->now_ms)
		return;
	g->value.len = 0;
	if (is_first(c, partition))
		rc = c->o.engine->get(c->o.engine->self, DYN_SPACE_DATA, name, &g->value);
	if (rc == 0)
		old = object_old(slice(g->value.data, g->value.len), g->now_ms);
	if (old == OBJECT_FRESH) {
		if (rc == 0 || rc == DYN_ENOTFOUND)
			wish_free(c, l);
		return;
	}
	if (old == OBJECT_OLD_LATER) {
		w->not_before = object_expires(slice(g->value.data, g->value.len));
		return;
	}
	row_digest(name, slice(g->value.data, g->value.len), &digest);
	(void)row_add(c, name, partition, &digest); /* else in the next round */
}

static bool
before(const struct forgets *a, const struct forgets *b)
{
	return slice_compare(buf_slice(a->name), buf_slice(b->name)) < 0;
}

/* What lies under i is a heap, the last name on top; now with i it is. */
static void
sift(struct forgets *rows, size_t count, size_t i)
{
	struct forgets row = rows[i];
	size_t child;

	for (; (child = 2 * i + 1) < count; i = child) {
		if (child + 1 < count && before(&rows[child], &rows[child + 1]))
			child++;
		if (!before(&row, &rows[child]))
			break;
		rows[i] = rows[child];
	}
	rows[i] = row;
}

static void
sort_by_name(struct forgets *rows, size_t count)
{
	for (size_t i = count / 2; i-- > 0;)
		sift(rows, count, i);
	while (count > 1) {
		struct forgets last = rows[0];

		rows[0] = rows[--count];
		sift(rows, count, 0);
		rows[count] = last;
	}
}

static void
gather(struct collect *c, struct moment m)
{
	struct gathering g = { .c = c,
		.now_ms = m.wall_ms - MIN(m.wall_ms, COLLECT_EXPIRY_MARGIN) };

	map_each(&c->wishes, gather_wish, &g);
	dyn_buffer_free(&g.value);
	sort_by_name(c->rows, c->rows_count);
}

/* Rows that stay in this round, from i on; rows_count: none. */
static size_t
next_row(const struct collect *c, size_t i)
{
	while (i < c->rows_count && c->rows[i].stays)
		i++;
	return i;
}

/* The rows of this partition are not forgotten this time. */
static void
spare(struct collect *c, unsigned partition)
{
	for (size_t i = 0; i < c->rows_count; i++)
		if (c->rows[i].partition == partition)
			c->rows[i].stays = true;
}

/* ------------------------------------------------------------------- asking */

/* Whose answers are waited for.  False: no memory. */
static bool
await(struct collect *c, const struct dyn_id *id)
{
	void *p = mem_realloc(c->asked, (c->asked_count + 1) * sizeof(*c->asked));

	if (p == NULL)
		return false;
	c->asked = p;
	c->asked[c->asked_count++] = *id;
	return true;
}

/* False: this answer is not waited for. */
static bool
answered(struct collect *c, const struct dyn_id *id)
{
	for (size_t i = 0; i < c->asked_count; i++) {
		if (!id_equal(&c->asked[i], id))
			continue;
		c->asked[i] = c->asked[--c->asked_count];
		return true;
	}
	return false;
}

static void
new_step(struct collect *c, struct moment m)
{
	c->asked_count = 0;
	c->number = c->next_number++;
	c->until = m.now + COLLECT_PATIENCE;
	c->look_at = TIME_NEVER;
}

static int
send(struct collect *c, const struct dyn_id *to, enum msg_kind kind, const union msg *msg,
    struct outbox *out)
{
	struct frame head = view_head(c->view, COLLECT_NUMBER | c->number);
	struct effect *e;
	struct buf *frame;

	if (!await(c, to))
		return DYN_ENOMEM;
	if (msg_encode(&frame, &head, kind, msg) != 0)
		return DYN_ENOMEM;
	e = outbox_add(out, FX_SEND);
	e->to = *to;
	e->frame = frame;
	return 0;
}

/* To this node's own worker. */
static int
give_worker(struct collect *c, enum rows_of of, unsigned partition, struct buf *bytes,
    struct outbox *out)
{
	struct rows *rows = rows_new(of, partition, c->number, buf_slice(bytes));

	if (rows == NULL || !await(c, &c->o.self)) {
		rows_free(rows);
		return DYN_ENOMEM;
	}
	outbox_add(out, FX_ROWS)->what = rows;
	return 0;
}

/* Partitions of the round, u32 each, in the order of rows. */
static int
list_partitions(const struct collect *c, struct buf **list)
{
	struct wr w;
	bool first = true;
	unsigned last = 0;

	wr_init(&w, 256);
	for (size_t i = next_row(c, 0); i < c->rows_count; i = next_row(c, i + 1)) {
		if (first || c->rows[i].partition != last)
			wr_u32(&w, c->rows[i].partition);
		last = c->rows[i].partition;
		first = false;
	}
	return wr_finish(&w, list);
}

static void agree(struct collect *, struct moment, struct outbox *);
static void drop(struct collect *, struct moment, struct outbox *);

/* Everybody has said what he keeps. */
static void
looked(struct collect *c, struct moment m, struct outbox *out)
{
	c->begin = c->end = 0;
	if (next_row(c, 0) == c->rows_count) {
		fails(c, m);
	} else if (c->state == LOOKING) {
		c->state = AGREEING;
		agree(c, m, out);
	} else {
		c->state = DROPPING;
		drop(c, m, out);
	}
}

static void
look(struct collect *c, struct moment m, struct outbox *out)
{
	union msg msg = { .collect = { .step = COLLECT_LOOK } };
	struct buf *list;
	int rc;

	new_step(c, m);
	c->until = MIN(c->until, c->look_until);
	for (size_t i = 0; i < c->rows_count; i++)
		c->rows[i].stays = c->rows[i].stays || hint_keeps(c->o.hint, c->rows[i].partition);
	rc = list_partitions(c, &list);
	if (rc == 0) {
		msg.collect.list = buf_slice(list);
		for (size_t i = 0; i < c->view->count && rc == 0; i++)
			if (record_is_member(&c->view->records[i]) &&
			    !id_equal(&c->view->records[i].id, &c->o.self))
				rc = send(c, &c->view->records[i].id, MSG_COLLECT, &msg, out);
		/* Bits are read by this list, as it is now. */
		for (size_t i = 0; i < c->rows_count; i++)
			c->rows[i].listed = !c->rows[i].stays;
		buf_unref(list);
	}
	if (rc != 0)
		fails(c, m);
	else if (c->asked_count == 0)
		looked(c, m, out);
}

/* A bit for each partition that was listed. */
static void
take_bits(struct collect *c, struct dyn_slice bits)
{
	const unsigned char *b = bits.data;
	size_t at = 0;
	bool first = true;
	unsigned last = 0;

	for (size_t i = 0; i < c->rows_count; i++) {
		if (!c->rows[i].listed)
			continue;
		if (!first && c->rows[i].partition != last)
			at++;
		last = c->rows[i].partition;
		first = false;
		if (at / 8 >= bits.len || (b[at / 8] >> at % 8 & 1) != 0)
			c->rows[i].stays = true;
	}
}

/* The next rows of one partition: begin..end.  False: no more. */
static bool
next_piece(struct collect *c)
{
	c->begin = next_row(c, c->end);
	if (c->begin == c->rows_count)
		return false;
	c->end = c->begin;
	while (c->end < c->rows_count && c->rows[c->end].partition == c->rows[c->begin].partition)
		c->end++;
	return true;
}

/* The piece as rows with their values.  What is not as it was is left out. */
static int
piece_rows(struct collect *c, struct buf **rows, struct moment m)
{
	struct dyn_engine *e = c->o.engine;
	struct dyn_buffer b = { NULL, 0, 0 };
	struct wr w;
	int rc = 0;

	wr_init(&w, 4096);
	for (size_t i = next_row(c, c->begin); i < c->end && rc == 0; i = next_row(c, i + 1)) {
		struct forgets *f = &c->rows[i];
		struct digest is;

		b.len = 0;
		rc = e->get(e->self, DYN_SPACE_DATA, buf_slice(f->name), &b);
		row_digest(buf_slice(f->name), slice(b.data, b.len), &is);
		f->stays = rc != 0 || digest_compare(&is, &f->digest) != 0 ||
		    (wr_len(&w) > 0 && wr_len(&w) + b.len > COLLECT_BYTES);
		if (rc == DYN_ENOTFOUND)
			rc = 0;
		if (f->stays)
			continue;
		wr_slice(&w, buf_slice(f->name));
		wr_slice(&w, slice(b.data, b.len));
	}
	dyn_buffer_free(&b);
	admit_pay(c->o.admit, wr_len(&w), m.now);
	if (rc == 0)
		return wr_finish(&w, rows);
	wr_abort(&w);
	return rc;
}

static int
piece_digests(const struct collect *c, struct buf **list)
{
	struct wr w;

	wr_init(&w, 4096);
	for (size_t i = next_row(c, c->begin); i < c->end; i = next_row(c, i + 1)) {
		wr_slice(&w, buf_slice(c->rows[i].name));
		wr_bytes(&w, c->rows[i].digest.b, sizeof(c->rows[i].digest.b));
	}
	return wr_finish(&w, list);
}

/* To all other owners of the piece's partition. */
static int
send_owners(struct collect *c, enum msg_kind kind, const union msg *msg, struct outbox *out)
{
	const struct table *t = c->view->current;
	const uint16_t *owners;
	unsigned count = table_owners(t, c->rows[c->begin].partition, &owners);
	int rc = 0;

	for (unsigned i = 0; i < count && rc == 0; i++)
		if (!id_equal(&t->seats[owners[i]].node, &c->o.self))
			rc = send(c, &t->seats[owners[i]].node, kind, msg, out);
	return rc;
}

static void
agree(struct collect *c, struct moment m, struct outbox *out)
{
	while (next_piece(c)) {
		union msg msg = { .repair = { .partition = c->rows[c->begin].partition } };
		struct buf *rows;
		int rc;

		new_step(c, m);
		rc = piece_rows(c, &rows, m);
		if (rc == 0 && rows->len > 0) {
			msg.repair.rows = buf_slice(rows);
			rc = send_owners(c, MSG_REPAIR, &msg, out);
			if (rc == 0)
				rc = give_worker(c, ROWS_AGREE, msg.repair.partition, rows, out);
		}
		if (rc == 0)
			buf_unref(rows);
		if (rc == 0 && c->asked_count > 0)
			return;
		spare(c, msg.repair.partition);
	}
	if (next_row(c, 0) == c->rows_count) {
		fails(c, m);
		return;
	}
	c->state = READY;
	c->table = c->view->current->digest;
	c->until = m.now + COLLECT_WAIT;
	c->wanted = false;
}

/* Somebody's copy has the piece, or will not. */
static void
agreed(struct collect *c, int rc, struct moment m, struct outbox *out)
{
	if (rc != 0)
		spare(c, c->rows[c->begin].partition);
	if (c->asked_count == 0)
		agree(c, m, out);
}

static void
drop(struct collect *c, struct moment m, struct outbox *out)
{
	while (next_piece(c)) {
		union msg msg = { .collect = { .step = COLLECT_DROP,
			.partition = c->rows[c->begin].partition } };
		struct buf *list;

		new_step(c, m);
		if (piece_digests(c, &list) != 0)
			continue; /* in another round */
		msg.collect.list = buf_slice(list);
		collect_say_forgot(c, out);
		for (size_t i = next_row(c, c->begin); i < c->end; i = next_row(c, i + 1))
			c->figures.asked++;
		/* Who is not told now is told in another round. */
		(void)send_owners(c, MSG_COLLECT, &msg, out);
		(void)give_worker(c, ROWS_FORGET, msg.collect.partition, list, out);
		buf_unref(list);
		if (c->asked_count > 0)
			return;
	}
	c->figures.rounds++;
	ends(c, m.now + c->o.period);
}

/* ------------------------------------------------------------------- events */

void
collect_go_on(struct collect *c, struct moment m, struct outbox *out)
{
	if (is_settled(c))
		collect_sweep(c, m, out);
	if (c->state == FENCING && is_settled(c) && c->is_swept) {
		c->state = LOOKING_AGAIN;
		c->look_until = m.now + COLLECT_LOOKING;
		look(c, m, out);
	}
}

void
collect_view(struct collect *c, struct view *v, struct moment m, struct outbox *out)
{
	bool other = c->view == NULL || c->view->current == NULL ||
	    table_compare(c->view->current, v->current) != 0;
	bool settles = view_phase(v) == VIEW_SETTLED &&
	    (other || view_phase(c->view) != VIEW_SETTLED);

	if (v->current == NULL)
		return;
	/* Those that wait for this fence get time to make use of it: the next one ends
	 * their rounds. */
	if (settles && v->current->collected == v->current->epoch)
		c->fence_at = m.now;
	view_ref(v);
	view_unref(c->view);
	c->view = v;
	if (other) {
		c->is_fenced = c->is_swept = c->clear.sweeping = false;
		if (c->state == READY && v->current->collected == v->current->epoch &&
		    digest_compare(&v->current->parent, &c->table) == 0)
			c->state = FENCING;
		else if (c->state != IDLE)
			fails(c, m);
	}
	collect_go_on(c, m, out);
}

void
collect_fenced(struct collect *c, struct view *v, struct moment m, struct outbox *out)
{
	if (c->view == NULL || table_compare(v->current, c->view->current) != 0)
		return;
	c->is_fenced = true;
	collect_go_on(c, m, out);
}

static void
on_answer(struct collect *c, const struct dyn_id *from, const struct frame *f,
    const union msg *msg, struct moment m, struct outbox *out)
{
	bool agreeing = f->kind == MSG_REPAIR_ACK;
	int rc = msg_rc(agreeing ? msg->repair_ack.rc : msg->collect_ack.rc);

	if (c->state == IDLE || f->request != (COLLECT_NUMBER | c->number) || !answered(c, from))
		return;
	if (agreeing) {
		if (c->state == AGREEING)
			agreed(c, rc, m, out);
	} else if (c->state == DROPPING) {
		if (c->asked_count == 0)
			drop(c, m, out);
	} else if (c->state == LOOKING || c->state == LOOKING_AGAIN) {
		if (rc == DYN_EBUSY || rc == DYN_EMOVED) {
			/* It is not so far yet (or this node is not, and will hear of it).
			 * No other answer to this step is waited for. */
			c->asked_count = 0;
			c->look_at = m.now + MIN(COLLECT_REST, c->gap / 4);
			return;
		}
		if (rc != 0) {
			fails(c, m);
			return;
		}
		take_bits(c, msg->collect_ack.bits);
		if (c->asked_count == 0)
			looked(c, m, out);
	}
}

int
collect_frame(struct collect *c, const struct dyn_id *from, uint64_t conn,
    const struct frame *f, const union msg *msg, struct moment m, struct outbox *out)
{
	if (f->kind == MSG_COLLECT)
		return collect_serve(c, from, conn, f, &msg->collect, out);
	on_answer(c, from, f, msg, m, out);
	return 0;
}

bool
collect_is_number(uint64_t request)
{
	return (request & COLLECT_NUMBER) != 0;
}

void
collect_stored(struct collect *c, struct rows *rows, int rc, struct moment m, struct outbox *out)
{
	bool ours = rows->number == c->number;
	enum rows_of of = rows->of;

	if (of == ROWS_CLEAR || of == ROWS_LEFT || of == ROWS_SETTLED) {
		collect_clear_stored(c, rows, rc, m, out);
		return;
	}
	if (of == ROWS_FORGET && collect_served(c, rows, rc, out))
		return;
	rows_free(rows);
	if (!ours || (of == ROWS_AGREE) != (c->state == AGREEING) ||
	    (of == ROWS_FORGET) != (c->state == DROPPING) || !answered(c, &c->o.self))
		return;
	if (of == ROWS_AGREE)
		agreed(c, rc, m, out);
	else if (c->asked_count == 0)
		drop(c, m, out);
}

void
collect_lost(struct collect *c, const struct dyn_id *id, struct moment m, struct outbox *out)
{
	if (c->state == IDLE || !answered(c, id))
		return;
	if (c->state == AGREEING)
		agreed(c, DYN_EQUORUM, m, out);
	else if (c->state != DROPPING)
		fails(c, m);
	else if (c->asked_count == 0)
		drop(c, m, out);
}

static bool
may_begin(const struct collect *c)
{
	return c->wishes.count > 0 && is_settled(c) && c->is_swept && !c->clear.on;
}

uint64_t
collect_wake(const struct collect *c)
{
	uint64_t clear = collect_clear_wake(c);

	if (c->state == IDLE)
		return MIN(clear, may_begin(c) ? c->next_at : TIME_NEVER);
	if (c->state == READY && !c->wanted)
		return MIN(clear, MIN(c->until, c->fence_at + c->gap));
	return MIN(clear, MIN(c->until, c->look_at));
}

static void
begin(struct collect *c, struct moment m, struct outbox *out)
{
	c->next_at = m.now + c->o.period;
	gather(c, m);
	if (c->rows_count == 0)
		return;
	c->state = LOOKING;
	c->look_until = m.now + COLLECT_LOOKING;
	look(c, m, out);
}

void
collect_tick(struct collect *c, struct moment m, struct outbox *out)
{
	collect_clear_tick(c, m, out);
	if (c->state == IDLE) {
		if (may_begin(c) && c->next_at <= m.now)
			begin(c, m, out);
	} else if (c->until <= m.now) {
		if (c->state == DROPPING)
			drop(c, m, out);
		else
			fails(c, m);
	} else if (c->look_at <= m.now) {
		look(c, m, out);
	} else if (c->state == READY && !c->wanted && c->fence_at + c->gap <= m.now) {
		c->wanted = true;
		outbox_add(out, FX_COLLECT)->view = view_ref(c->view);
	}
}

void
collect_figures(const struct collect *c, struct collect_figures *f)
{
	*f = c->figures;
	f->wishes = c->wishes.count;
}
