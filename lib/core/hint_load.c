/* Hints at the start: counting them, and letting go of what is damaged (hint.h). */
#include "core/hint_private.h"

struct loading {
	struct hint *h;
	struct moment m;
	struct wr doomed; /* (slice id)* */
	unsigned count;   /* of them */
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

/* ----------------------------------------------------------------- damage */

/* Marked for the zero id: everybody. */
static int
mark_all(struct hint *h, struct due *d, unsigned partitions)
{
	int rc = 0;

	for (unsigned p = 0; p < partitions && rc == 0; p++)
		rc = hint_mark_dirty(h, d, p);
	return rc;
}

static int
give_up(struct loading *l, struct dyn_slice id)
{
	struct hint *h = l->h;
	unsigned partitions = h->o.partitions;
	struct dyn_id owner = { { 0 } };
	struct dyn_slice name;
	struct due *d;

	wr_slice(&l->doomed, id);
	l->count++;
	if (id.len >= sizeof(owner.bytes))
		memcpy(owner.bytes, id.data, sizeof(owner.bytes));
	d = hint_due(h, &owner, NULL);
	if (d == NULL)
		return DYN_ENOMEM;
	if (partitions != 0 && hint_split(id, &owner, &name))
		return hint_mark_dirty(h, d, name_partition(name, partitions));
	return mark_all(h, d, partitions != 0 ? partitions : DIRTY_BYTES * 8);
}

/* ---------------------------------------------------------------- the walk */

static int
load_row(void *arg, struct dyn_slice id, struct dyn_slice value)
{
	struct loading *l = arg;
	struct dyn_slice name;
	struct dyn_id owner;
	struct due *d = NULL;
	uint64_t ms = 0;

	if (value.data == NULL || id.len > HINT_ID_MAX) {
		l->rc = give_up(l, id);
		return l->rc != 0;
	}
	l->rc = hint_split(id, &owner, &name) ? written_ms(value, &ms) : DYN_EPROTO;
	if (l->rc == DYN_EPROTO || l->rc == DYN_ECORRUPT) {
		l->rc = give_up(l, id);
	} else if (l->rc == 0 || l->rc == DYN_EVERSION) {
		/* Who gets it may know the newer form. */
		d = hint_due(l->h, &owner, NULL);
		l->rc = d != NULL ? 0 : DYN_ENOMEM;
	}
	if (d != NULL)
		hint_count_in(l->h, d, value.len,
		    ms == 0 ? l->m.wall_ms : MIN(ms, l->m.wall_ms), l->m);
	return l->rc != 0;
}

static int
walk(struct loading *l)
{
	struct dyn_engine *e = l->h->o.engine;
	struct dyn_slice none = { NULL, 0 };
	int rc = e->scan(e->self, DYN_SPACE_HINT, none, none, load_row, l);

	return rc == 0 ? l->rc : rc;
}

/* The rows go in one batch with the marks. */
static int
let_go(struct loading *l)
{
	struct hint *h = l->h;
	unsigned partitions = h->o.partitions;
	size_t len = partitions != 0 ? (partitions + 7) / 8 : DIRTY_BYTES, count = 0;
	struct dyn_row *rows = mem_array(l->count + 1, sizeof(*rows));
	struct buf *ids = NULL, *marks = NULL;
	int rc = wr_finish(&l->doomed, &ids);

	if (rc == 0)
		rc = rows != NULL ? hint_dirty_row(h, len, &marks) : DYN_ENOMEM;
	if (rc == 0) {
		struct rd r = rd_from(buf_slice(ids));

		rows[count++] = (struct dyn_row){ DYN_SPACE_META, dyn_str(DIRTY_ROW),
			buf_slice(marks) };
		while (rd_left(&r) > 0 && !r.bad)
			rows[count++] = (struct dyn_row){ .space = DYN_SPACE_HINT,
				.id = rd_slice(&r, UINT32_MAX) };
		DYN_ASSERT(count == l->count + 1);
		rc = h->o.engine->apply(h->o.engine->self, rows, count, DYN_DURABLE_DISK);
	}
	h->damaged = l->count;
	mem_free(rows);
	buf_unref(ids);
	buf_unref(marks);
	return rc;
}

int
hint_load(struct hint *h, struct moment m)
{
	struct loading l = { .h = h, .m = m };
	int rc;

	wr_init(&l.doomed, 64);
	rc = walk(&l);
	if (rc == 0 && l.count > 0)
		return let_go(&l);
	wr_abort(&l.doomed);
	return rc;
}

/* Partitions that are none, since it was not known how many there are. */
static void
trim(struct hint *h, struct due *d)
{
	for (unsigned p = h->view->settings.partitions; p < DIRTY_BYTES * 8; p++) {
		h->dirty_count -= d->dirty[p / 8] >> p % 8 & 1;
		d->dirty[p / 8] &= (uint8_t)~(1u << p % 8);
	}
}

void
hint_spread(struct hint *h)
{
	const struct dyn_id everybody = { { 0 } };
	const struct view *v = h->view;
	struct due *all = hint_find(h, &everybody);

	for (size_t i = 0; all != NULL && all->dirty != NULL && i < v->count; i++) {
		const struct record *r = &v->records[i];
		struct due *d;

		if (!record_is_member(r) || id_equal(&r->id, &h->o.self))
			continue;
		d = hint_due(h, &r->id, NULL);
		if (d == NULL || mark_all(h, d, v->settings.partitions) != 0)
			return; /* with the next view */
	}
	if (all != NULL)
		hint_clean(h, all);
	if (h->o.partitions == v->settings.partitions)
		return;
	h->o.partitions = v->settings.partitions;
	LIST_EACH(l, &h->all) {
		struct due *d = CONTAINER_OF(l, struct due, all);

		if (d->dirty != NULL)
			trim(h, d);
	}
}
