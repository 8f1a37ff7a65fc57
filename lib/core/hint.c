/* Counting hints, walking them, delivering, taking in.  Why is in hint.h. */
#include "core/hint_private.h"

/* ----------------------------------------------------------------- counting */

struct due *
hint_find(const struct hint *h, const struct dyn_id *owner)
{
	struct map_link *l = map_first(&h->dues, load_be64(owner->bytes));

	for (; l != NULL; l = map_next(l)) {
		struct due *d = CONTAINER_OF(l, struct due, link);

		if (id_equal(&d->owner, owner))
			return d;
	}
	return NULL;
}

struct due *
hint_room(void)
{
	return mem_zalloc(sizeof(struct due));
}

struct due *
hint_due(struct hint *h, const struct dyn_id *owner, struct due **room)
{
	struct due *d = hint_find(h, owner);

	if (d != NULL)
		return d;
	if (room != NULL && *room != NULL) {
		d = *room;
		*room = NULL;
	} else {
		d = hint_room();
	}
	if (d == NULL)
		return NULL;
	d->owner = *owner;
	d->next_at = TIME_NEVER;
	list_init(&d->all);
	list_add(&h->all, &d->all);
	map_add(&h->dues, &d->link, load_be64(owner->bytes));
	return d;
}

void
hint_count_in(struct hint *h, struct due *d, uint64_t bytes, uint64_t came_ms, struct moment m)
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
	if (d->count > 0)
		return;
	/* Of those that could not be read nobody knew how long they were. */
	h->bytes -= d->bytes;
	d->bytes = 0;
}

/* ------------------------------------------------------------- birth, death */

int
hint_new(struct hint **out, const struct hint_options *options, struct moment m)
{
	struct hint *h = mem_zalloc(sizeof(*h));
	int rc = DYN_ENOMEM;

	*out = NULL;
	if (h == NULL)
		return rc;
	h->o = *options;
	h->next_number = 1;
	list_init(&h->all);
	list_init(&h->flights);
	if (map_init(&h->dues, 16) != 0 || map_init(&h->keepers, 16) != 0)
		goto fail;
	rc = hint_load_dirty(h);
	if (rc == 0)
		rc = hint_load(h, m);
	if (rc != 0)
		goto fail;
	h->ledger_old = h->count > 0 || h->damaged > 0;
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

void
hint_free(struct hint *h)
{
	if (h == NULL)
		return;
	while (!list_empty(&h->flights))
		flight_free(CONTAINER_OF(h->flights.next, struct flight, link));
	while (!list_empty(&h->all)) {
		struct due *d = CONTAINER_OF(list_pop(&h->all), struct due, all);

		buf_unref(d->after);
		mem_free(d->dirty);
		mem_free(d);
	}
	map_fini(&h->dues);
	hint_free_keepers(h);
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
	uint64_t count, lost;
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
	if (g->count + g->lost > 0 && (name_partition(name, g->partitions) != g->partition ||
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
	if (value.data != NULL) {
		g->count++;
		wr_slice(&g->rows, name);
		wr_slice(&g->rows, value);
	} else {
		g->lost++;
	}
	row_digest(id, value, &digest);
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
		const struct record *rec = &h->view->records[g->member[i]];
		const struct dyn_id *id = &rec->id;
		unsigned j = 0;

		/* Who was forgotten will never take it. */
		if ((but != NULL && id_equal(id, but)) || !record_is_member(rec))
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
	bool present = rec != NULL && record_is_member(rec);
	bool enough = true;

	for (unsigned k = 0; k < groups; k++) {
		present = present && group_has(h->view, &g[k], owner);
		enough = enough && g[k].count > 2;
	}
	/* A write of W = 2 must not come to depend on one disk. */
	f->spilled = present && enough && should_spill(h, f->due, m);
	if (present && !f->spilled) {
		f->targets[f->targets_count++] = *owner;
		return;
	}
	for (unsigned k = 0; k < groups; k++)
		add_targets(h, f, &g[k], f->spilled ? owner : NULL);
}

/* Forget the rows of the flight.  The mark is saved before they go: it has the shorter
 * way. */
static bool
drop_rows(struct hint *h, struct flight *f, struct moment m, struct outbox *out)
{
	struct rows *drop = rows_new(ROWS_DROP, f->partition, f->number, buf_slice(f->drop));

	if (drop == NULL || ((f->spilled || f->lost > 0) &&
	                        hint_mark_dirty(h, f->due, f->partition) != 0)) {
		rows_free(drop);
		return false;
	}
	f->state = DROPPING;
	f->until = m.now + HINT_PATIENCE;
	outbox_add(out, FX_ROWS)->what = drop;
	return true;
}

static int
send_rows(struct hint *h, struct flight *f, struct buf *rows, struct outbox *out)
{
	struct frame head = view_head(h->view, f->number);
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
	f = g.count + g.lost > 0 ? mem_zalloc(sizeof(*f)) : NULL;
	if (f == NULL) {
		d->failed = d->failed || g.count + g.lost > 0;
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
	f->lost = g.lost;
	f->drop = drop;
	f->number = h->next_number++;
	f->until = m.now + HINT_PATIENCE;
	list_add(&h->flights, &f->link);
	d->flying++;
	set_targets(h, f, m);
	if (f->rows > 0)
		rc = send_rows(h, f, rows, out);
	else if (!drop_rows(h, f, m, out))
		rc = DYN_ENOMEM;
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

	if (well)
		h->delivered += f->rows;
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
	for (unsigned i = 0; i < f->targets_count; i++)
		if (id_equal(&f->targets[i], id))
			f->have |= 1u << i;
	if (f->state == SENT && f->have == (1u << f->targets_count) - 1 &&
	    !drop_rows(h, f, m, out))
		landed(h, f, false, m);
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

/* ------------------------------------------------------------------ events */

void
hint_view(struct hint *h, struct view *v, struct moment m)
{
	if (v->current == NULL)
		return;
	view_ref(v);
	view_unref(h->view);
	h->view = v;
	hint_spread(h);
	/* Who was away may be back, or forgotten. */
	LIST_EACH(l, &h->all) {
		struct due *d = CONTAINER_OF(l, struct due, all);

		const struct record *owner = view_find(v, &d->owner);

		if (d->count > 0 && d->flying == 0)
			d->next_at = MIN(d->next_at, m.now);
		/* Forgotten: nobody will ask what it lacks. */
		if ((owner == NULL || !record_is_member(owner)) && !id_is_zero(&d->owner))
			hint_clean(h, d);
	}
}

void
hint_frame(struct hint *h, const struct dyn_id *from, const struct frame *f, const union msg *msg,
    struct moment m, struct outbox *out)
{
	struct due *d;

	switch (f->kind) {
	case MSG_HINT_ACK:
		on_ack(h, from, f, msg_rc(msg->hint_ack.rc), m, out);
		break;
	case MSG_HINTS:
		d = hint_find(h, from);
		if (d != NULL && d->count > 0 && d->flying == 0)
			d->next_at = m.now;
		break;
	case MSG_BEHIND_ACK:
		hint_told(h, from, f->request, msg_rc(msg->behind_ack.rc), m);
		break;
	default:
		break;
	}
	hint_settle(h, m, out);
}

void
hint_stored(struct hint *h, struct rows *rows, int rc, struct moment m, struct outbox *out)
{
	struct flight *f = flight_find(h, rows->number);

	if (rows->of == ROWS_DROP) {
		if (f != NULL)
			landed(h, f, rc == 0, m);
	} else if (f != NULL && f->state == SENT) {
		if (rc == 0)
			target_has(h, f, &h->o.self, m, out);
		else
			landed(h, f, false, m);
	}
	rows_free(rows);
	hint_settle(h, m, out);
}

void
hint_changed(struct hint *h, struct changes *c, struct moment m, struct outbox *out)
{
	for (size_t i = 0; i < c->count; i++) {
		struct change *ch = &c->list[i];
		struct dyn_slice name;
		struct dyn_id owner;
		struct due *d;

		if (ch->space != DYN_SPACE_HINT)
			continue;
		DYN_ASSERT(hint_split(buf_slice(ch->name), &owner, &name));
		/* The first of an owner is new, and so has brought the room. */
		d = hint_due(h, &owner, &ch->room);
		DYN_ASSERT(d != NULL);
		if (ch->bytes_after > 0)
			hint_count_in(h, d, ch->bytes_after, m.wall_ms, m);
		if (ch->bytes_before > 0)
			count_out(h, d, ch->bytes_before);
		if (ch->lost)
			count_out(h, d, 0);
		h->damaged += ch->lost;
		h->ledger_old = true;
	}
	hint_settle(h, m, out);
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
	hint_settle(h, m, out);
}

void
hint_liveness(struct hint *h, const struct dyn_id *id, enum dyn_liveness state, struct moment m,
    struct outbox *out)
{
	struct due *d = hint_find(h, id);

	if (state == DYN_SUSPECT)
		hint_lost(h, id, m, out);
	else if (state == DYN_LIVE && d != NULL && d->count > 0 && d->flying == 0)
		d->next_at = m.now;
}

uint64_t
hint_wake(const struct hint *h)
{
	uint64_t at = h->ledger_old ? h->ledger_at : TIME_NEVER;

	if (h->view == NULL)
		return at;
	LIST_EACH(l, &h->all) {
		const struct due *d = CONTAINER_OF(l, struct due, all);

		at = MIN(at, d->next_at);
		if (d->dirty != NULL && !id_is_zero(&d->owner))
			at = MIN(at, d->tell_at);
	}
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
	hint_tell_behind(h, m, out);
	hint_settle(h, m, out);
}

static int
keep_row(void *arg, struct dyn_slice id, struct dyn_slice value)
{
	(void)id;
	(void)value;
	*(bool *)arg = true;
	return 1;
}

bool
hint_keeps(const struct hint *h, unsigned partition)
{
	unsigned char first[32], last[HINT_ID_MAX];
	bool keeps = false;
	int rc = 0;

	if (h->count == 0)
		return false;
	if (h->view == NULL)
		return true;
	partition_bounds(partition, h->view->settings.partitions, first + 16, last + 16);
	LIST_EACH(l, &h->all) {
		const struct due *d = CONTAINER_OF(l, struct due, all);

		memcpy(first, d->owner.bytes, 16);
		memcpy(last, d->owner.bytes, 16);
		/* What cannot be read may be there. */
		if (d->count > 0)
			rc = h->o.engine->scan(h->o.engine->self, DYN_SPACE_HINT,
			    slice(first, sizeof(first)), slice(last, sizeof(last)), keep_row,
			    &keeps);
		if (rc != 0 || keeps)
			return true;
	}
	return false;
}
