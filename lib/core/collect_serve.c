/* What every member does for those that lead a round, and clearing a copy that is
 * out of date. */
#include "core/collect_private.h"

/* ----------------------------------------------------------------- answering */

static void
reply(struct collect *c, const struct served *s, int rc, struct outbox *out)
{
	struct frame head = view_head(c->view, s->request);
	union msg ack = { .collect_ack = { .rc = (uint32_t)rc, .step = (uint8_t)s->step,
		.bits = buf_slice(s->bits) } };
	struct effect *e;
	struct buf *frame;

	if (msg_encode(&frame, &head, MSG_COLLECT_ACK, &ack) != 0)
		return; /* patience ends */
	e = outbox_add(out, FX_REPLY);
	e->conn = s->conn;
	e->frame = frame;
}

static void
served_free(struct collect *c, struct served *s)
{
	list_remove(&s->link);
	c->served_count--;
	mem_free(s);
}

void
collect_free_served(struct collect *c)
{
	while (!list_empty(&c->served))
		served_free(c, CONTAINER_OF(c->served.next, struct served, link));
	buf_unref(c->clear.after);
	buf_unref(c->clear.last);
}

static struct served *
served_add(struct collect *c, const struct served *now)
{
	struct served *s = mem_alloc(sizeof(*s));

	if (s == NULL)
		return NULL;
	*s = *now;
	list_init(&s->link);
	list_add(&c->served, &s->link);
	c->served_count++;
	return s;
}

/* Only of who is where this node is, and there for good. */
static int
check(struct collect *c, const struct dyn_id *from, const struct frame *f, struct outbox *out)
{
	const struct table *t = c->view != NULL ? c->view->current : NULL;

	if (t == NULL)
		return DYN_EBUSY;
	if (f->epoch != view_stamp(c->view) || f->table != load_be64(t->digest.b)) {
		outbox_add(out, FX_POKE)->to = *from;
		return DYN_EMOVED;
	}
	if (!c->is_fenced || !c->is_swept || c->served_count >= COLLECT_SERVED_MAX)
		return DYN_EBUSY;
	return view_phase(c->view) == VIEW_SETTLED ? 0 : DYN_EBUSY;
}

static int
look(struct collect *c, const struct msg_collect *ask, struct served *now, struct outbox *out)
{
	size_t count = ask->list.len / 4;
	struct rd r = rd_from(ask->list);
	unsigned char *bits;

	now->bits = buf_new((count + 7) / 8);
	if (now->bits == NULL)
		return DYN_ENOMEM;
	bits = now->bits->data;
	memset(bits, 0, now->bits->len);
	for (size_t i = 0; i < count; i++) {
		unsigned p = rd_u32(&r);

		if (p >= c->view->settings.partitions)
			return DYN_EPROTO;
		if (hint_keeps(c->o.hint, p))
			bits[i / 8] |= (unsigned char)(1u << i % 8);
	}
	reply(c, now, 0, out);
	return 0;
}

/* Names of one partition, ascending, with a digest each. */
static bool
list_is_good(const struct collect *c, const struct msg_collect *ask)
{
	struct rd r = rd_from(ask->list);
	struct dyn_slice before = slice(NULL, 0);
	struct digest digest;

	while (rd_left(&r) > 0) {
		struct dyn_slice name = rd_slice(&r, KEY_NAME_MAX);

		rd_copy(&r, digest.b, sizeof(digest.b));
		if (r.bad || !name_split(name, NULL, NULL) ||
		    name_partition(name, c->view->settings.partitions) != ask->partition ||
		    (before.len > 0 && slice_compare(before, name) >= 0))
			return false;
		before = name;
	}
	return rd_end(&r);
}

void
collect_say_forgot(struct collect *c, struct outbox *out)
{
	struct buf *row = c->said_forgot ? NULL : buf_copy("\1", 1);
	struct effect *e;

	if (row == NULL)
		return; /* without memory: the next time; see FORGOT_ROW */
	c->said_forgot = true;
	e = outbox_add(out, FX_META);
	e->address = FORGOT_ROW;
	e->frame = row;
}

static int
forget(struct collect *c, const struct dyn_id *from, const struct msg_collect *ask,
    struct served *now, struct outbox *out)
{
	struct rows *rows;

	if (ask->partition >= c->view->settings.partitions || !list_is_good(c, ask))
		return DYN_EPROTO;
	if (c->view->current->collected != c->view->current->epoch ||
	    table_rank(c->view->current, ask->partition, from) != 0 ||
	    !view_owns(c->view, ask->partition, &c->o.self))
		return DYN_EMOVED;
	collect_say_forgot(c, out);
	if (!c->said_forgot)
		return DYN_ENOMEM;
	now->number = c->next_number++;
	rows = rows_new(ROWS_FORGET, ask->partition, now->number, ask->list);
	if (rows == NULL || served_add(c, now) == NULL) {
		rows_free(rows);
		return DYN_ENOMEM;
	}
	outbox_add(out, FX_ROWS)->what = rows;
	return 0;
}

int
collect_serve(struct collect *c, const struct dyn_id *from, uint64_t conn,
    const struct frame *f, const struct msg_collect *ask, struct outbox *out)
{
	struct served now = { .step = (enum collect_step)ask->step, .conn = conn,
		.request = f->request };
	int rc = check(c, from, f, out);

	if (rc == 0 && ask->step == COLLECT_LOOK)
		rc = look(c, ask, &now, out);
	else if (rc == 0 && ask->step == COLLECT_DROP)
		rc = forget(c, from, ask, &now, out);
	else if (rc == 0)
		rc = DYN_EPROTO;
	if (rc != 0 && rc != DYN_EPROTO)
		reply(c, &now, rc, out);
	buf_unref(now.bits);
	return rc == DYN_EPROTO ? rc : 0;
}

bool
collect_served(struct collect *c, struct rows *rows, int rc, struct outbox *out)
{
	LIST_EACH(l, &c->served) {
		struct served *s = CONTAINER_OF(l, struct served, link);

		if (s->number != rows->number)
			continue;
		reply(c, s, rc, out);
		served_free(c, s);
		rows_free(rows);
		return true;
	}
	return false;
}

/* ------------------------------------------------------------------ clearing */

struct piece {
	struct collect *c;
	struct wr ids;
	struct buf *last;
	unsigned partition;
	bool cut, failed;
};

static int
clear_row(void *arg, struct dyn_slice id, struct dyn_slice value)
{
	struct piece *p = arg;
	struct dyn_slice name = id;
	struct dyn_id owner;
	struct buf *last;
	unsigned partition;

	(void)value;
	if (p->c->clear.hints && !hint_split(id, &owner, &name))
		return 0; /* nobody could deliver it */
	partition = name_partition(name, p->c->view->settings.partitions);
	if (wr_len(&p->ids) > 0 &&
	    (partition != p->partition || wr_len(&p->ids) > COLLECT_CLEAR_BYTES)) {
		p->cut = true;
		return 1;
	}
	p->partition = partition;
	last = buf_copy(id.data, id.len);
	if (last == NULL) {
		p->failed = true;
		return 1;
	}
	buf_unref(p->last);
	p->last = last;
	wr_u8(&p->ids, p->c->clear.hints ? DYN_SPACE_HINT : DYN_SPACE_DATA);
	wr_slice(&p->ids, id);
	return 0;
}

/* Rows of one partition go to its worker; the end of the rows ends it. */
static void
clear_piece(struct collect *c, struct moment m, struct outbox *out)
{
	struct piece p = { .c = c };
	struct dyn_engine *e = c->o.engine;
	struct rows *rows = NULL;
	struct buf *ids = NULL;
	int rc;

	c->clear.next_at = m.now + COLLECT_REST;
	wr_init(&p.ids, 4096);
	rc = e->scan(e->self, c->clear.hints ? DYN_SPACE_HINT : DYN_SPACE_DATA,
	    buf_slice(c->clear.after), slice(NULL, 0), clear_row, &p);
	if (rc == 0 && !p.failed)
		rc = wr_finish(&p.ids, &ids);
	else
		wr_abort(&p.ids);
	if (rc != 0 || ids == NULL) {
		buf_unref(p.last);
		return;
	}
	if (ids->len > 0) {
		rows = rows_new(ROWS_CLEAR, p.partition, c->next_number, buf_slice(ids));
		if (rows != NULL) {
			c->clear.number = c->next_number++;
			c->clear.next_at = m.now + COLLECT_PATIENCE; /* then once more */
			buf_unref(c->clear.last);
			c->clear.last = p.last;
			p.last = NULL;
			outbox_add(out, FX_ROWS)->what = rows;
		}
	} else {
		buf_unref(c->clear.after);
		c->clear.after = NULL;
		c->clear.next_at = m.now;
		if (c->clear.hints) {
			c->clear.on = false;
			outbox_add(out, FX_CLEARED);
		}
		c->clear.hints = true;
	}
	buf_unref(p.last);
	buf_unref(ids);
}

void
collect_clear(struct collect *c, struct moment m, struct outbox *out)
{
	if (c->clear.on || c->view == NULL)
		return;
	buf_unref(c->clear.after);
	c->clear.after = NULL;
	c->clear.on = true;
	c->clear.sweeping = false;
	c->clear.hints = false;
	c->clear.number = 0;
	clear_piece(c, m, out);
}

/* ------------------------------------------------------------------ sweeping */

#define SWEEP_PARTITIONS 1024 /* looked at in one go, as long as nothing is found */

static int
left_row(void *arg, struct dyn_slice name, struct dyn_slice value)
{
	struct wr *names = arg;

	(void)value;
	wr_slice(names, name);
	return wr_len(names) > COLLECT_CLEAR_BYTES;
}

/* What lies here of this partition, to its worker.  False: nothing. */
static bool
sweep_partition(struct collect *c, unsigned partition, struct moment m, struct outbox *out)
{
	unsigned char first[16], last[KEY_NAME_MAX];
	struct dyn_engine *e = c->o.engine;
	struct buf *names = NULL;
	struct rows *rows = NULL;
	struct wr w;
	int rc;

	wr_init(&w, 64);
	partition_bounds(partition, c->view->settings.partitions, first, last);
	rc = e->scan(e->self, DYN_SPACE_DATA, slice(first, sizeof(first)),
	    slice(last, sizeof(last)), left_row, &w);
	if (rc == 0)
		rc = wr_finish(&w, &names);
	else
		wr_abort(&w);
	if (rc == 0 && names->len == 0) {
		buf_unref(names);
		return false;
	}
	c->clear.found = true;
	/* With the rows goes what they know of our events; see FORGOT_ROW. */
	collect_say_forgot(c, out);
	if (rc == 0 && c->said_forgot)
		rows = rows_new(ROWS_LEFT, partition, c->next_number, buf_slice(names));
	c->clear.next_at = m.now + COLLECT_REST; /* without memory, or it cannot be read */
	if (rows != NULL) {
		admit_pay(c->o.admit, 4 * names->len, m.now);
		c->clear.number = c->next_number++;
		c->clear.next_at = m.now + COLLECT_PATIENCE;
		outbox_add(out, FX_ROWS)->what = rows;
	}
	buf_unref(names);
	return true;
}

static void
sweep(struct collect *c, struct moment m, struct outbox *out)
{
	unsigned partitions = c->view->settings.partitions;

	c->clear.next_at = m.now;
	if (!admit_may(c->o.admit, m.now)) {
		c->clear.next_at = admit_at(c->o.admit);
		return;
	}
	for (unsigned i = 0; i < SWEEP_PARTITIONS && c->clear.partition < partitions; i++) {
		if (!view_owns(c->view, c->clear.partition, &c->o.self) &&
		    sweep_partition(c, c->clear.partition, m, out))
			return; /* and then look again */
		c->clear.partition++;
	}
	if (c->clear.partition < partitions)
		return;
	c->clear.sweeping = false;
	c->is_swept = true;
	outbox_log(out, c->clear.found ? DYN_LOG_INFO : DYN_LOG_DEBUG,
	    "table %llu: nothing is left here of what others own",
	    (unsigned long long)c->view->current->epoch);
}

/* A fence for each worker. */
static void
settle(struct collect *c, struct moment m, struct outbox *out)
{
	c->clear.settling = true;
	c->clear.fences = 0;
	c->clear.number = c->next_number++;
	c->clear.next_at = m.now + COLLECT_PATIENCE;
	for (unsigned i = 0; i < c->o.workers; i++) {
		struct rows *rows = rows_new(ROWS_SETTLED, i, c->clear.number, slice(NULL, 0));

		if (rows == NULL) {
			c->clear.number = 0; /* all once more */
			c->clear.next_at = m.now + COLLECT_REST;
			return;
		}
		outbox_add(out, FX_ROWS)->what = rows;
		c->clear.fences++;
	}
}

void
collect_sweep(struct collect *c, struct moment m, struct outbox *out)
{
	if (c->is_swept || c->clear.sweeping || c->clear.on)
		return;
	c->clear.sweeping = true;
	c->clear.found = false;
	c->clear.partition = 0;
	settle(c, m, out);
}

/* ------------------------------------------------- both, when rows are stored */

void
collect_clear_stored(struct collect *c, struct rows *rows, int rc, struct moment m,
    struct outbox *out)
{
	bool cleared = rows->of == ROWS_CLEAR;
	bool ours = c->clear.number != 0 && rows->number == c->clear.number &&
	    (cleared ? c->clear.on : c->clear.sweeping);

	rows_free(rows);
	if (!ours)
		return;
	if (rc == 0 && !cleared && c->clear.settling && --c->clear.fences > 0)
		return;
	c->clear.number = 0;
	if (rc != 0) {
		c->clear.next_at = m.now + COLLECT_REST; /* the same once more */
		return;
	}
	if (!cleared) {
		c->clear.settling = false;
		sweep(c, m, out);
		collect_go_on(c, m, out);
		return;
	}
	buf_unref(c->clear.after);
	c->clear.after = c->clear.last;
	c->clear.last = NULL;
	clear_piece(c, m, out);
}

uint64_t
collect_clear_wake(const struct collect *c)
{
	return c->clear.on || c->clear.sweeping ? c->clear.next_at : TIME_NEVER;
}

void
collect_clear_tick(struct collect *c, struct moment m, struct outbox *out)
{
	if (collect_clear_wake(c) > m.now)
		return;
	if (c->clear.on) {
		clear_piece(c, m, out);
	} else if (c->clear.settling) {
		settle(c, m, out);
	} else {
		sweep(c, m, out);
		collect_go_on(c, m, out);
	}
}
