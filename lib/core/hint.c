/* Counting hints, walking them, delivering, taking in.  Why is in hint.h. */
#include "core/hint.h"

#include "base/list.h"
#include "base/map.h"
#include "core/store.h"

#define TARGETS_MAX (2 * DYN_N_MAX)
#define DIRTY_ROW "dirty"
#define DIRTY_BYTES (65536 / 8) /* a bit for each partition a ring may have */

/* What is kept for one owner. */
struct due {
	struct map_link link;
	struct list all;
	struct dyn_id owner;
	uint64_t count, bytes;
	uint64_t since_ms;   /* wall clock at which the oldest came, or before */
	uint64_t next_at;    /* of the walk; TIME_NEVER: nothing to walk */
	struct buf *after;   /* where it is; NULL: at the beginning */
	unsigned flying;
	bool failed;         /* this walk left something behind */
	uint8_t *dirty;      /* a bit a partition, or NULL */
};

struct flight {
	struct list link;
	enum { SENT, DROPPING } state;
	struct due *due;
	unsigned partition;
	uint64_t number, until;
	uint64_t rows;
	struct buf *drop;    /* as in work_drop */
	struct dyn_id targets[TARGETS_MAX];
	unsigned targets_count;
	uint32_t have;       /* targets that have it: one bit each */
	bool spilled;
};

/* Rows of a peer on their way to the worker. */
struct arrival {
	struct list link;
	uint64_t number, conn, request;
};

/* A member that keeps hints for this node. */
struct keeper {
	struct map_link link;
	struct dyn_id id;
	uint64_t count, asked_at;
};

struct hint {
	struct hint_options o;
	struct view *view;
	struct map dues, keepers;
	struct list all, flights, arrivals;
	unsigned arrivals_count;
	uint64_t count, bytes, delivered;
	uint64_t waiting; /* sum of the keepers' counts */
	uint64_t next_number;
	uint64_t ledger_at;  /* when it may be told again */
	bool ledger_old, dirty_old, full;
	uint64_t dirty_count;
};

/* ----------------------------------------------------------------- counting */

static struct due *
due_find(const struct hint *h, const struct dyn_id *owner)
{
	struct map_link *l = map_first(&h->dues, load_be64(owner->bytes));

	for (; l != NULL; l = map_next(l)) {
		struct due *d = CONTAINER_OF(l, struct due, link);

		if (id_equal(&d->owner, owner))
			return d;
	}
	return NULL;
}

static struct due *
due_get(struct hint *h, const struct dyn_id *owner)
{
	struct due *d = due_find(h, owner);

	if (d != NULL)
		return d;
	d = mem_zalloc(sizeof(*d));
	/* A hint that is not counted would never be delivered. */
	DYN_ASSERT(d != NULL);
	d->owner = *owner;
	d->next_at = TIME_NEVER;
	list_init(&d->all);
	list_add(&h->all, &d->all);
	map_add(&h->dues, &d->link, load_be64(owner->bytes));
	return d;
}

static void
count_in(struct hint *h, struct due *d, uint64_t bytes, uint64_t came_ms, struct moment m)
{
	if (d->count == 0) {
		d->since_ms = came_ms;
		d->next_at = m.now;
	}
	d->since_ms = MIN(d->since_ms, came_ms);
	d->count++;
	d->bytes += bytes;
	h->count++;
	h->bytes += bytes;
}

static void
count_out(struct hint *h, struct due *d, uint64_t bytes)
{
	DYN_ASSERT(d->count > 0 && d->bytes >= bytes);
	d->count--;
	d->bytes -= bytes;
	h->count--;
	h->bytes -= bytes;
}

struct loading {
	struct hint *h;
	struct moment m;
	int rc;
};

/* When the newest version of an object was written, ms: about when the hint
 * came. */
static int
written_ms(struct dyn_slice object, uint64_t *ms)
{
	struct object o;
	int rc = object_decode(&o, object);

	for (size_t i = 0; rc == 0 && i < o.count; i++)
		*ms = MAX(*ms, hlc_ms(o.values[i].time));
	object_fini(&o);
	return rc;
}

static int
load_row(void *arg, struct dyn_slice id, struct dyn_slice value)
{
	struct loading *l = arg;
	struct dyn_slice name;
	struct dyn_id owner;
	uint64_t ms = 0;

	if (!hint_split(id, &owner, &name))
		l->rc = DYN_ECORRUPT;
	else
		l->rc = written_ms(value, &ms);
	if (l->rc == DYN_EPROTO)
		l->rc = DYN_ECORRUPT;
	if (l->rc == 0)
		count_in(l->h, due_get(l->h, &owner), value.len,
		    ms == 0 ? l->m.wall_ms : MIN(ms, l->m.wall_ms), l->m);
	return l->rc != 0;
}

/* ------------------------------------------------------------ dirty marks */

static void
mark_dirty(struct hint *h, struct due *d, unsigned partition)
{
	if (d->dirty == NULL)
		d->dirty = mem_zalloc(DIRTY_BYTES);
	if (d->dirty == NULL || (d->dirty[partition / 8] >> partition % 8 & 1) != 0)
		return;
	d->dirty[partition / 8] |= (uint8_t)(1u << partition % 8);
	h->dirty_count++;
	h->dirty_old = true;
}

/* The row: (id, slice of bits)*. */
static void
save_dirty(struct hint *h, struct outbox *out)
{
	size_t len = h->view != NULL ? (h->view->settings.partitions + 7) / 8 : 0;
	struct effect *e;
	struct buf *bytes;
	struct wr w;

	if (!h->dirty_old || h->view == NULL)
		return;
	wr_init(&w, 64);
	LIST_EACH(l, &h->all) {
		const struct due *d = CONTAINER_OF(l, struct due, all);

		if (d->dirty == NULL)
			continue;
		wr_bytes(&w, d->owner.bytes, sizeof(d->owner.bytes));
		wr_slice(&w, slice(d->dirty, len));
	}
	if (wr_finish(&w, &bytes) != 0)
		return; /* at the next change */
	h->dirty_old = false;
	e = outbox_add(out, FX_META);
	e->address = DIRTY_ROW;
	e->frame = bytes;
}

static unsigned
bits_in(struct dyn_slice bits)
{
	const unsigned char *p = bits.data;
	unsigned count = 0;

	for (size_t i = 0; i < bits.len; i++)
		count += (unsigned)__builtin_popcount(p[i]);
	return count;
}

static int
load_dirty(struct hint *h)
{
	struct dyn_buffer b = { NULL, 0, 0 };
	struct rd r;
	int rc = h->o.engine->get(h->o.engine->self, DYN_SPACE_META, dyn_str(DIRTY_ROW), &b);

	r = rd_from(slice(b.data, rc == 0 ? b.len : 0));
	while (rd_left(&r) > 0) {
		struct dyn_id owner;
		struct dyn_slice bits;
		struct due *d;

		rd_copy(&r, owner.bytes, sizeof(owner.bytes));
		bits = rd_slice(&r, DIRTY_BYTES);
		if (r.bad)
			break;
		d = due_get(h, &owner);
		mem_free(d->dirty);
		d->dirty = mem_zalloc(DIRTY_BYTES);
		if (d->dirty == NULL) {
			rc = DYN_ENOMEM;
			break;
		}
		memcpy(d->dirty, bits.data, bits.len);
		h->dirty_count += bits_in(bits);
	}
	if (rc == 0 && !rd_end(&r))
		rc = DYN_ECORRUPT;
	dyn_buffer_free(&b);
	return rc == DYN_ENOTFOUND ? 0 : rc;
}

/* ------------------------------------------------------------- birth, death */

int
hint_new(struct hint **out, const struct hint_options *options, struct moment m)
{
	struct hint *h = mem_zalloc(sizeof(*h));
	struct loading l = { h, m, 0 };
	int rc = DYN_ENOMEM;

	*out = NULL;
	if (h == NULL)
		return rc;
	h->o = *options;
	h->next_number = 1;
	list_init(&h->all);
	list_init(&h->flights);
	list_init(&h->arrivals);
	if (map_init(&h->dues, 16) != 0 || map_init(&h->keepers, 16) != 0)
		goto fail;
	rc = h->o.engine->scan(h->o.engine->self, DYN_SPACE_HINT, slice(NULL, 0), slice(NULL, 0),
	    load_row, &l);
	if (rc == 0)
		rc = l.rc;
	if (rc == 0)
		rc = load_dirty(h);
	if (rc != 0)
		goto fail;
	h->ledger_old = h->count > 0;
	*out = h;
	return 0;
fail:
	hint_free(h);
	return rc;
}

static void
flight_free(struct flight *f)
{
	list_remove(&f->link);
	f->due->flying--;
	buf_unref(f->drop);
	mem_free(f);
}

static void
keeper_free(void *arg, struct map_link *l)
{
	(void)arg;
	mem_free(CONTAINER_OF(l, struct keeper, link));
}

void
hint_free(struct hint *h)
{
	if (h == NULL)
		return;
	while (!list_empty(&h->flights))
		flight_free(CONTAINER_OF(h->flights.next, struct flight, link));
	while (!list_empty(&h->arrivals))
		mem_free(CONTAINER_OF(list_pop(&h->arrivals), struct arrival, link));
	while (!list_empty(&h->all)) {
		struct due *d = CONTAINER_OF(list_pop(&h->all), struct due, all);

		buf_unref(d->after);
		mem_free(d->dirty);
		mem_free(d);
	}
	map_fini(&h->dues);
	map_each(&h->keepers, keeper_free, NULL);
	map_fini(&h->keepers);
	view_unref(h->view);
	mem_free(h);
}

void
hint_figures(const struct hint *h, struct hint_figures *f)
{
	memset(f, 0, sizeof(*f));
	f->hints = h->count;
	f->bytes = h->bytes;
	f->dirty = h->dirty_count;
	f->delivered = h->delivered;
	f->waiting = h->waiting;
	LIST_EACH(l, &h->all) {
		const struct due *d = CONTAINER_OF(l, struct due, all);

		if (d->count > 0 && (f->since_ms == 0 || d->since_ms < f->since_ms))
			f->since_ms = d->since_ms;
	}
}

/* ----------------------------------------------------------------- the walk */

/* One frame's worth of an owner's hints, all of one partition. */
struct gather {
	unsigned partitions, partition;
	struct wr rows, drop;
	uint64_t count;
	struct buf *after;
	int rc;
};

static int
gather_row(void *arg, struct dyn_slice id, struct dyn_slice value)
{
	struct gather *g = arg;
	struct digest digest;
	struct dyn_slice name;
	struct dyn_id owner;
	struct buf *after;

	if (!hint_split(id, &owner, &name)) {
		g->rc = DYN_ECORRUPT;
		return 1;
	}
	if (g->count > 0 && (name_partition(name, g->partitions) != g->partition ||
	                        wr_len(&g->rows) + name.len + value.len > HINT_BYTES))
		return 1;
	after = buf_copy(id.data, id.len);
	if (after == NULL) {
		g->rc = DYN_ENOMEM;
		return 1;
	}
	buf_unref(g->after);
	g->after = after;
	g->partition = name_partition(name, g->partitions);
	g->count++;
	row_digest(id, value, &digest);
	wr_slice(&g->rows, name);
	wr_slice(&g->rows, value);
	wr_slice(&g->drop, id);
	wr_bytes(&g->drop, digest.b, sizeof(digest.b));
	return 0;
}

static int
gather(struct hint *h, struct due *d, struct gather *g, struct buf **rows, struct buf **drop)
{
	unsigned char last[16 + HINT_ID_MAX];
	struct dyn_slice after = buf_slice(d->after);
	int rc;

	memset(g, 0, sizeof(*g));
	g->partitions = h->view->settings.partitions;
	wr_init(&g->rows, 4096);
	wr_init(&g->drop, 1024);
	memset(last, 0xff, sizeof(last));
	memcpy(last, d->owner.bytes, sizeof(d->owner.bytes));
	if (after.len == 0)
		after = slice(d->owner.bytes, sizeof(d->owner.bytes));
	rc = h->o.engine->scan(h->o.engine->self, DYN_SPACE_HINT, after,
	    slice(last, sizeof(last)), gather_row, g);
	if (rc == 0)
		rc = g->rc;
	*rows = *drop = NULL;
	if (rc == 0) {
		rc = wr_finish(&g->rows, rows);
		if (rc == 0)
			rc = wr_finish(&g->drop, drop);
		if (rc == 0)
			return 0;
	}
	wr_abort(&g->rows);
	wr_abort(&g->drop);
	buf_unref(*rows);
	buf_unref(g->after);
	return rc;
}

static void
add_targets(struct hint *h, struct flight *f, const struct group *g, const struct dyn_id *but)
{
	for (unsigned i = 0; i < g->count; i++) {
		const struct dyn_id *id = &h->view->records[g->member[i]].id;
		unsigned j = 0;

		if (but != NULL && id_equal(id, but))
			continue;
		while (j < f->targets_count && !id_equal(&f->targets[j], id))
			j++;
		if (j == f->targets_count)
			f->targets[f->targets_count++] = *id;
	}
}

static bool
should_spill(const struct hint *h, const struct due *d, struct moment m)
{
	return h->bytes > h->o.bytes_max / 4 * 3 || m.wall_ms > d->since_ms + h->o.age_max_ms;
}

/* To whom it goes: see hint.h. */
static void
set_targets(struct hint *h, struct flight *f, struct moment m)
{
	const struct dyn_id *owner = &f->due->owner;
	const struct record *rec = view_find(h->view, owner);
	struct group g[2];
	unsigned groups = view_writers(h->view, f->partition, g);
	bool present = rec != NULL && rec->state == RECORD_JOINED;

	for (unsigned k = 0; k < groups && present; k++)
		present = group_has(h->view, &g[k], owner);
	f->spilled = present && should_spill(h, f->due, m);
	if (present && !f->spilled) {
		f->targets[f->targets_count++] = *owner;
		return;
	}
	for (unsigned k = 0; k < groups; k++)
		add_targets(h, f, &g[k], f->spilled ? owner : NULL);
	/* The only owner there is: there is nowhere to spill to. */
	if (f->spilled && f->targets_count == 0) {
		f->spilled = false;
		f->targets[f->targets_count++] = *owner;
	}
}

static struct frame
head_of(const struct hint *h, uint64_t request)
{
	struct frame head = { .request = request };

	if (h->view != NULL && h->view->current != NULL) {
		head.epoch = view_stamp(h->view);
		head.table = load_be64(h->view->current->digest.b);
	}
	return head;
}

static int
send_rows(struct hint *h, struct flight *f, struct buf *rows, struct outbox *out)
{
	struct frame head = head_of(h, f->number);
	union msg msg = { .hint = { .partition = f->partition, .rows = buf_slice(rows) } };
	struct buf *frame;
	int rc = msg_encode(&frame, &head, MSG_HINT, &msg);

	if (rc != 0)
		return rc;
	for (unsigned i = 0; i < f->targets_count; i++) {
		struct effect *e;

		if (!id_equal(&f->targets[i], &h->o.self)) {
			e = outbox_add(out, FX_SEND);
			e->to = f->targets[i];
			e->frame = buf_ref(frame);
			continue;
		}
		/* This node has become an owner itself. */
		struct rows *here = rows_new(ROWS_HINT, f->partition, f->number,
		    buf_slice(rows));

		if (here == NULL) {
			rc = DYN_ENOMEM;
			break;
		}
		outbox_add(out, FX_ROWS)->what = here;
	}
	buf_unref(frame);
	return rc;
}

/* The next frame of a walk.  False: there is nothing more to send now. */
static bool
take_off(struct hint *h, struct due *d, struct moment m, struct outbox *out)
{
	struct buf *rows, *drop;
	struct flight *f;
	struct gather g;
	int rc = gather(h, d, &g, &rows, &drop);

	if (rc != 0) {
		outbox_log(out, DYN_LOG_WARNING, "hints cannot be read: %s", dyn_strerror(rc));
		d->failed = true;
		return false;
	}
	f = g.count > 0 ? mem_zalloc(sizeof(*f)) : NULL;
	if (f == NULL) {
		d->failed = d->failed || g.count > 0;
		buf_unref(rows);
		buf_unref(drop);
		buf_unref(g.after);
		return false;
	}
	buf_unref(d->after);
	d->after = g.after;
	f->due = d;
	f->partition = g.partition;
	f->rows = g.count;
	f->drop = drop;
	f->number = h->next_number++;
	f->until = m.now + HINT_PATIENCE;
	list_add(&h->flights, &f->link);
	d->flying++;
	set_targets(h, f, m);
	rc = send_rows(h, f, rows, out);
	buf_unref(rows);
	if (rc == 0)
		return true;
	d->failed = true;
	flight_free(f);
	return false;
}

/* Start anew, sooner or later. */
static void
walk_ended(struct due *d, struct moment m)
{
	buf_unref(d->after);
	d->after = NULL;
	d->next_at = d->count == 0 ? TIME_NEVER : d->failed ? m.now + HINT_RETRY : m.now;
	d->failed = false;
}

static void
walk(struct hint *h, struct due *d, struct moment m, struct outbox *out)
{
	bool more = true;

	if (h->view == NULL || d->next_at > m.now)
		return;
	/* After a failure, what is on its way ends first. */
	while (more && !d->failed && d->flying < HINT_WINDOW)
		more = take_off(h, d, m, out);
	d->next_at = TIME_NEVER; /* until a flight ends */
	if (d->flying > 0)
		return;
	/* Counted, but nothing in the engine: it is on its way there, or a count
	 * is wrong.  Look again, but not all the time. */
	d->failed = d->failed || d->count > 0;
	walk_ended(d, m);
}

static void
landed(struct hint *h, struct flight *f, bool well, struct moment m)
{
	struct due *d = f->due;

	if (well) {
		h->delivered += f->rows;
		if (f->spilled)
			mark_dirty(h, d, f->partition);
	}
	d->failed = d->failed || !well;
	flight_free(f);
	if (d->flying == 0 && d->failed)
		walk_ended(d, m);
	else if (!d->failed)
		d->next_at = m.now;
}

static struct flight *
flight_find(struct hint *h, uint64_t number)
{
	LIST_EACH(l, &h->flights) {
		struct flight *f = CONTAINER_OF(l, struct flight, link);

		if (f->number == number)
			return f;
	}
	return NULL;
}

/* A target has all rows of the flight on disk: once all have, forget them. */
static void
target_has(struct hint *h, struct flight *f, const struct dyn_id *id, struct moment m,
    struct outbox *out)
{
	struct rows *drop;

	for (unsigned i = 0; i < f->targets_count; i++)
		if (id_equal(&f->targets[i], id))
			f->have |= 1u << i;
	if (f->state != SENT || f->have != (1u << f->targets_count) - 1)
		return;
	drop = rows_new(ROWS_DROP, f->partition, f->number, buf_slice(f->drop));
	if (drop == NULL) {
		landed(h, f, false, m);
		return;
	}
	f->state = DROPPING;
	f->until = m.now + HINT_PATIENCE;
	outbox_add(out, FX_ROWS)->what = drop;
}

static void
on_ack(struct hint *h, const struct dyn_id *from, const struct frame *f, int rc, struct moment m,
    struct outbox *out)
{
	struct flight *fl = flight_find(h, f->request);

	if (fl == NULL || fl->state != SENT)
		return;
	if (rc == DYN_EMOVED)
		outbox_add(out, FX_POKE)->to = *from;
	if (rc != 0)
		landed(h, fl, false, m);
	else
		target_has(h, fl, from, m, out);
}

/* --------------------------------------------------------------- taking in */

static void
answer(struct hint *h, uint64_t conn, uint64_t request, int rc, struct outbox *out)
{
	struct frame head = head_of(h, request);
	union msg msg = { .hint_ack = { .rc = (uint32_t)rc } };
	struct buf *frame;
	struct effect *e;

	if (msg_encode(&frame, &head, MSG_HINT_ACK, &msg) != 0)
		return; /* they come again */
	e = outbox_add(out, FX_REPLY);
	e->conn = conn;
	e->frame = frame;
}

/* May it be merged here? */
static int
check_rows(const struct hint *h, const struct msg_hint *hint)
{
	struct dyn_slice last;

	if (h->view == NULL || h->view->current == NULL)
		return DYN_EBUSY;
	if (hint->partition >= h->view->settings.partitions ||
	    !rows_check(hint->rows, hint->partition, h->view->settings.partitions, &last))
		return DYN_EPROTO;
	if (!view_owns(h->view, hint->partition, &h->o.self))
		return DYN_EMOVED;
	return h->arrivals_count >= HINT_ARRIVALS_MAX ? DYN_EBUSY : 0;
}

static int
on_hint(struct hint *h, uint64_t conn, const struct frame *f, const struct msg_hint *hint,
    struct outbox *out)
{
	struct arrival *a = NULL;
	struct rows *rows = NULL;
	int rc = check_rows(h, hint);

	if (rc == DYN_EPROTO)
		return rc;
	if (rc == 0) {
		a = mem_zalloc(sizeof(*a));
		rows = rows_new(ROWS_HINT, hint->partition, h->next_number++, hint->rows);
		if (a == NULL || rows == NULL)
			rc = DYN_ENOMEM;
	}
	if (rc != 0) {
		mem_free(a);
		rows_free(rows);
		answer(h, conn, f->request, rc, out);
		return 0;
	}
	a->number = rows->number;
	a->conn = conn;
	a->request = f->request;
	list_add(&h->arrivals, &a->link);
	h->arrivals_count++;
	outbox_add(out, FX_ROWS)->what = rows;
	return 0;
}

static bool
arrived(struct hint *h, uint64_t number, int rc, struct outbox *out)
{
	LIST_EACH(l, &h->arrivals) {
		struct arrival *a = CONTAINER_OF(l, struct arrival, link);

		if (a->number != number)
			continue;
		answer(h, a->conn, a->request, rc, out);
		list_remove(&a->link);
		h->arrivals_count--;
		mem_free(a);
		return true;
	}
	return false;
}

/* ----------------------------------------------------------------- ledger */

static struct keeper *
keeper_find(const struct hint *h, const struct dyn_id *id)
{
	struct map_link *l = map_first(&h->keepers, load_be64(id->bytes));

	for (; l != NULL; l = map_next(l)) {
		struct keeper *k = CONTAINER_OF(l, struct keeper, link);

		if (id_equal(&k->id, id))
			return k;
	}
	return NULL;
}

static void
ask_for_hints(struct hint *h, struct keeper *k, struct moment m, struct outbox *out)
{
	struct frame head = head_of(h, 0);
	union msg msg = { .hints = { 0 } };
	struct buf *frame;
	struct effect *e;

	if (k->asked_at != 0 && m.now < k->asked_at + HINT_ASK_GAP)
		return;
	k->asked_at = MAX(m.now, 1);
	if (msg_encode(&frame, &head, MSG_HINTS, &msg) != 0)
		return;
	e = outbox_add(out, FX_SEND);
	e->to = k->id;
	e->frame = frame;
}

/* How many hints a member's ledger has for this node. */
static uint64_t
kept_for_us(const struct hint *h, struct dyn_slice ledger)
{
	struct rd r = rd_from(ledger);

	while (rd_left(&r) > 0) {
		struct dyn_id owner;
		uint64_t count;

		rd_copy(&r, owner.bytes, sizeof(owner.bytes));
		count = rd_var(&r);
		(void)rd_var(&r);
		if (!r.bad && id_equal(&owner, &h->o.self))
			return count;
	}
	return 0;
}

void
hint_ledger(struct hint *h, const struct dyn_id *from, struct dyn_slice ledger, struct moment m,
    struct outbox *out)
{
	struct keeper *k = keeper_find(h, from);
	uint64_t count = kept_for_us(h, ledger);

	if (count == 0) {
		if (k != NULL) {
			h->waiting -= k->count;
			map_remove(&h->keepers, &k->link);
			mem_free(k);
		}
		return;
	}
	if (h->view == NULL || view_find(h->view, from) == NULL)
		return; /* only of members: so it is bounded */
	if (k == NULL) {
		k = mem_zalloc(sizeof(*k));
		if (k == NULL)
			return; /* it is told again */
		k->id = *from;
		map_add(&h->keepers, &k->link, load_be64(from->bytes));
	}
	h->waiting += count - k->count;
	k->count = count;
	ask_for_hints(h, k, m, out);
}

static void
tell_ledger(struct hint *h, struct moment m, struct outbox *out)
{
	struct buf *bytes;
	struct wr w;

	if (!h->ledger_old || m.now < h->ledger_at)
		return;
	wr_init(&w, 64);
	LIST_EACH(l, &h->all) {
		const struct due *d = CONTAINER_OF(l, struct due, all);

		if (d->count == 0 || wr_len(&w) + 36 > LIMIT_LEDGER)
			continue;
		wr_bytes(&w, d->owner.bytes, sizeof(d->owner.bytes));
		wr_var(&w, d->count);
		wr_var(&w, d->bytes);
	}
	if (wr_finish(&w, &bytes) != 0)
		return;
	h->ledger_old = false;
	h->ledger_at = m.now + HINT_LEDGER_GAP;
	outbox_add(out, FX_LEDGER)->frame = bytes;
}

/* After each event: tell what changed. */
static void
settle(struct hint *h, struct moment m, struct outbox *out)
{
	bool full = h->bytes > h->o.bytes_max;

	if (full != h->full)
		outbox_add(out, FX_HINTS_FULL)->rc = full;
	h->full = full;
	save_dirty(h, out);
	tell_ledger(h, m, out);
}

/* ------------------------------------------------------------------ events */

void
hint_view(struct hint *h, struct view *v, struct moment m)
{
	if (v->current == NULL)
		return;
	view_ref(v);
	view_unref(h->view);
	h->view = v;
	/* Who was away may be back, or forgotten. */
	LIST_EACH(l, &h->all) {
		struct due *d = CONTAINER_OF(l, struct due, all);

		if (d->count > 0 && d->flying == 0)
			d->next_at = MIN(d->next_at, m.now);
	}
}

int
hint_frame(struct hint *h, const struct dyn_id *from, uint64_t conn, const struct frame *f,
    const union msg *msg, struct moment m, struct outbox *out)
{
	struct due *d;
	int rc = 0;

	switch (f->kind) {
	case MSG_HINT:
		rc = on_hint(h, conn, f, &msg->hint, out);
		break;
	case MSG_HINT_ACK:
		on_ack(h, from, f, msg_rc(msg->hint_ack.rc), m, out);
		break;
	case MSG_HINTS:
		d = due_find(h, from);
		if (d != NULL && d->count > 0 && d->flying == 0)
			d->next_at = m.now;
		break;
	default:
		break;
	}
	settle(h, m, out);
	return rc;
}

void
hint_stored(struct hint *h, struct rows *rows, int rc, struct moment m, struct outbox *out)
{
	struct flight *f = flight_find(h, rows->number);

	if (rows->of == ROWS_DROP) {
		if (f != NULL)
			landed(h, f, rc == 0, m);
	} else if (!arrived(h, rows->number, rc, out) && f != NULL && f->state == SENT) {
		/* This node's own. */
		if (rc == 0)
			target_has(h, f, &h->o.self, m, out);
		else
			landed(h, f, false, m);
	}
	rows_free(rows);
	settle(h, m, out);
}

void
hint_changed(struct hint *h, const struct changes *c, struct moment m, struct outbox *out)
{
	for (size_t i = 0; i < c->count; i++) {
		const struct change *ch = &c->list[i];
		struct dyn_slice name;
		struct dyn_id owner;
		struct due *d;

		if (ch->space != DYN_SPACE_HINT)
			continue;
		DYN_ASSERT(hint_split(buf_slice(ch->name), &owner, &name));
		d = due_get(h, &owner);
		if (ch->bytes_after > 0)
			count_in(h, d, ch->bytes_after, m.wall_ms, m);
		if (ch->bytes_before > 0)
			count_out(h, d, ch->bytes_before);
		h->ledger_old = true;
	}
	settle(h, m, out);
}

void
hint_lost(struct hint *h, const struct dyn_id *id, struct moment m, struct outbox *out)
{
	LIST_EACH_SAFE(l, next, &h->flights) {
		struct flight *f = CONTAINER_OF(l, struct flight, link);

		for (unsigned i = 0; i < f->targets_count && f->state == SENT; i++) {
			if (!id_equal(&f->targets[i], id) || (f->have >> i & 1) != 0)
				continue;
			landed(h, f, false, m);
			break;
		}
	}
	settle(h, m, out);
}

uint64_t
hint_wake(const struct hint *h)
{
	uint64_t at = h->ledger_old ? h->ledger_at : TIME_NEVER;

	if (h->view == NULL)
		return at;
	LIST_EACH(l, &h->all)
		at = MIN(at, CONTAINER_OF(l, struct due, all)->next_at);
	LIST_EACH(l, &h->flights)
		at = MIN(at, CONTAINER_OF(l, struct flight, link)->until);
	return at;
}

void
hint_tick(struct hint *h, struct moment m, struct outbox *out)
{
	LIST_EACH_SAFE(l, next, &h->flights) {
		struct flight *f = CONTAINER_OF(l, struct flight, link);

		/* What is being dropped ends by itself, or is dropped again. */
		if (f->until <= m.now)
			landed(h, f, false, m);
	}
	LIST_EACH(l, &h->all)
		walk(h, CONTAINER_OF(l, struct due, all), m, out);
	settle(h, m, out);
}
