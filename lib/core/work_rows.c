/* What the sync thread wants done with rows: see work_take, and core/rows.h. */
#include "core/request.h"

static void
merge_rows(struct work *w, struct dyn_slice rows, void *token, struct moment m,
    struct outbox *out)
{
	struct waiter waiter = { .kind = WAIT_ROWS, .token = token };
	struct rd r = rd_from(rows);
	int rc = 0;

	while (rd_left(&r) > 0 && rc == 0) {
		struct dyn_slice name = rd_slice(&r, KEY_NAME_MAX);
		struct dyn_slice object = rd_slice(&r, LIMIT_OBJECT);
		struct stored s;

		if (r.bad || !name_split(name, NULL, NULL)) {
			rc = DYN_EPROTO;
			break;
		}
		rc = store_take_in(&w->store, name, object, m.wall_ms, &s);
		if (rc != 0)
			break;
		waiter.number = MAX(waiter.number, s.number);
		w->stats.pulled_rows += s.changed;
		buf_unref(s.object);
	}
	rows_done(w, &waiter, rc, m, out);
}

static void
barrier(struct work *w, void *token, struct moment m, struct outbox *out)
{
	struct waiter waiter = { .kind = WAIT_ROWS, .token = token,
		.number = w->store.given + (w->store.open != NULL) };

	rows_done(w, &waiter, 0, m, out);
}

static void
drop_hints(struct work *w, struct dyn_slice hints, void *token, struct moment m,
    struct outbox *out)
{
	struct waiter waiter = { .kind = WAIT_ROWS, .token = token };
	struct rd r = rd_from(hints);
	int rc = 0;

	while (rd_left(&r) > 0 && rc == 0) {
		struct place at = { DYN_SPACE_HINT, rd_slice(&r, HINT_ID_MAX) };
		struct digest digest;
		uint64_t number;

		rd_copy(&r, digest.b, sizeof(digest.b));
		DYN_ASSERT(!r.bad);
		rc = store_drop(&w->store, at, &digest, &number);
		waiter.number = MAX(waiter.number, number);
	}
	rows_done(w, &waiter, rc, m, out);
}

static void
forget_rows(struct work *w, struct dyn_slice rows, void *token, struct moment m,
    struct outbox *out)
{
	struct waiter waiter = { .kind = WAIT_ROWS, .token = token };
	struct rd r = rd_from(rows);
	int rc = 0;

	while (rd_left(&r) > 0 && rc == 0) {
		struct dyn_slice name = rd_slice(&r, KEY_NAME_MAX);
		struct digest digest;
		uint64_t number;

		rd_copy(&r, digest.b, sizeof(digest.b));
		DYN_ASSERT(!r.bad); /* the sync thread has looked */
		rc = store_forget(&w->store, name, &digest, m.wall_ms, &number);
		w->stats.forgotten += number != 0;
		waiter.number = MAX(waiter.number, number);
	}
	rows_done(w, &waiter, rc, m, out);
}

/* With these rows a partition that came back would bring back what was deleted, and
 * forgotten, while it was others'. */
static void
leave_rows(struct work *w, struct rows *rows, struct moment m, struct outbox *out)
{
	struct waiter waiter = { .kind = WAIT_ROWS, .token = rows };
	struct rd r = rd_from(buf_slice(rows->bytes));
	int rc = view_owns(w->view, rows->partition, &w->o.self) ? DYN_EMOVED : 0;

	while (rd_left(&r) > 0 && rc == 0) {
		struct dyn_slice name = rd_slice(&r, KEY_NAME_MAX);
		uint64_t number;

		DYN_ASSERT(!r.bad);
		rc = store_remove(&w->store, name, &number);
		waiter.number = MAX(waiter.number, number);
	}
	rows_done(w, &waiter, rc, m, out);
}

static void
clear_rows(struct work *w, struct dyn_slice rows, void *token, struct moment m,
    struct outbox *out)
{
	struct waiter waiter = { .kind = WAIT_ROWS, .token = token };
	struct rd r = rd_from(rows);
	int rc = 0;

	while (rd_left(&r) > 0 && rc == 0) {
		struct place at = { .space = (enum dyn_space)rd_u8(&r) };
		uint64_t number;

		at.id = rd_slice(&r, HINT_ID_MAX);
		DYN_ASSERT(!r.bad);
		rc = store_clear(&w->store, at, &number);
		waiter.number = MAX(waiter.number, number);
	}
	rows_done(w, &waiter, rc, m, out);
}

void
work_take(struct work *w, struct rows *rows, struct moment m, struct outbox *out)
{
	struct dyn_slice bytes = buf_slice(rows->bytes);

	switch (rows->of) {
	case ROWS_DROP:
		drop_hints(w, bytes, rows, m, out);
		break;
	case ROWS_FORGET:
		forget_rows(w, bytes, rows, m, out);
		break;
	case ROWS_LEFT:
		leave_rows(w, rows, m, out);
		break;
	case ROWS_CLEAR:
		clear_rows(w, bytes, rows, m, out);
		break;
	case ROWS_FENCE:
		barrier(w, rows, m, out);
		break;
	case ROWS_PULL:
	case ROWS_HINT:
	case ROWS_ARRIVED:
	case ROWS_REPAIR:
	case ROWS_AGREE:
		merge_rows(w, bytes, rows, m, out);
		break;
	}
}
