/* What the sync thread wants done with rows: see work_take, and core/rows.h. */
#include "core/request.h"

/* The next row of the list: what is wanted of it, and the batch that does it (0: there
 * was nothing to do).  All but those to be merged were listed by this node itself, or
 * looked at by its sync thread. */
typedef int row_job(struct work *, struct rd *, struct moment, uint64_t *number);

static int
merge_row(struct work *w, struct rd *r, struct moment m, uint64_t *number)
{
	struct dyn_slice name = rd_slice(r, KEY_NAME_MAX);
	struct dyn_slice object = rd_slice(r, LIMIT_OBJECT);
	struct stored s;
	int rc;

	if (r->bad || !name_split(name, NULL, NULL))
		return DYN_EPROTO;
	rc = store_take_in(&w->store, name, object, m.wall_ms, &s);
	if (rc != 0)
		return rc;
	*number = s.number;
	w->stats.pulled_rows += s.changed;
	buf_unref(s.object);
	return 0;
}

static int
drop_hint(struct work *w, struct rd *r, struct moment m, uint64_t *number)
{
	struct place at = { DYN_SPACE_HINT, rd_slice(r, HINT_ID_MAX) };
	struct digest digest;

	(void)m;
	rd_copy(r, digest.b, sizeof(digest.b));
	DYN_ASSERT(!r->bad);
	return store_drop(&w->store, at, &digest, number);
}

static int
forget_row(struct work *w, struct rd *r, struct moment m, uint64_t *number)
{
	struct dyn_slice name = rd_slice(r, KEY_NAME_MAX);
	struct digest digest;
	int rc;

	rd_copy(r, digest.b, sizeof(digest.b));
	DYN_ASSERT(!r->bad);
	rc = store_forget(&w->store, name, &digest, m.wall_ms, number);
	w->stats.forgotten += *number != 0;
	return rc;
}

static int
leave_row(struct work *w, struct rd *r, struct moment m, uint64_t *number)
{
	struct dyn_slice name = rd_slice(r, KEY_NAME_MAX);

	(void)m;
	DYN_ASSERT(!r->bad);
	return store_remove(&w->store, name, number);
}

static int
damaged_row(struct work *w, struct rd *r, struct moment m, uint64_t *number)
{
	struct dyn_slice name = rd_slice(r, KEY_NAME_MAX);

	(void)m;
	DYN_ASSERT(!r->bad);
	return store_remove_damaged(&w->store, name, number);
}

static int
clear_row(struct work *w, struct rd *r, struct moment m, uint64_t *number)
{
	struct place at = { .space = (enum dyn_space)rd_u8(r) };

	(void)m;
	at.id = rd_slice(r, HINT_ID_MAX);
	DYN_ASSERT(!r->bad);
	return store_clear(&w->store, at, number);
}

static row_job *
job_of(enum rows_of of)
{
	switch (of) {
	case ROWS_DROP:
		return drop_hint;
	case ROWS_FORGET:
		return forget_row;
	case ROWS_LEFT:
		return leave_row;
	case ROWS_DAMAGED:
		return damaged_row;
	case ROWS_CLEAR:
		return clear_row;
	case ROWS_FENCE: /* has none */
	case ROWS_SETTLED:
	case ROWS_PULL:
	case ROWS_HINT:
	case ROWS_ARRIVED:
	case ROWS_REPAIR:
	case ROWS_AGREE:
		break;
	}
	return merge_row;
}

void
work_take(struct work *w, struct rows *rows, struct moment m, struct outbox *out)
{
	struct waiter waiter = { .kind = WAIT_ROWS, .token = rows };
	row_job *job = job_of(rows->of);
	struct rd r = rd_from(buf_slice(rows->bytes));
	int rc = 0;

	/* The worker heard of the view before this came (host_publish). */
	if (rows->of == ROWS_SETTLED && view_phase(w->view) != VIEW_SETTLED)
		rc = DYN_EBUSY;
	if (rows->of == ROWS_FENCE || rows->of == ROWS_SETTLED)
		waiter.number = w->store.given + (w->store.open != NULL);
	/* What is ours again must not go; left here it would have brought back what was
	 * deleted, and forgotten, while it was others'. */
	if (rows->of == ROWS_LEFT && view_owns(w->view, rows->partition, &w->o.self))
		rc = DYN_EMOVED;
	while (rd_left(&r) > 0 && rc == 0) {
		uint64_t number = 0;

		rc = job(w, &r, m, &number);
		waiter.number = MAX(waiter.number, number);
	}
	rows_done(w, &waiter, rc, m, out);
}
