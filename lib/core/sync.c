/* Which machine of the sync thread an event is for. */
#include "core/sync.h"

struct sync {
	struct sync_options o;
	struct pull *pull;
	struct hint *hint;
};

int
sync_new(struct sync **out, const struct sync_options *options, struct moment m)
{
	struct pull_options po = { .self = options->self, .engine = options->engine,
		.w = options->w };
	struct hint_options ho = { .self = options->self, .engine = options->engine,
		.bytes_max = options->hint_bytes_max, .age_max_ms = options->hint_age_max_ms };
	struct sync *s = mem_zalloc(sizeof(*s));
	int rc;

	*out = NULL;
	if (s == NULL)
		return DYN_ENOMEM;
	s->o = *options;
	rc = pull_new(&s->pull, &po);
	if (rc == 0)
		rc = hint_new(&s->hint, &ho, m);
	if (rc != 0) {
		sync_free(s);
		return rc;
	}
	*out = s;
	return 0;
}

void
sync_free(struct sync *s)
{
	if (s == NULL)
		return;
	pull_free(s->pull);
	hint_free(s->hint);
	mem_free(s);
}

void
sync_view(struct sync *s, struct view *v, struct moment m, struct outbox *out)
{
	pull_view(s->pull, v, m, out);
	hint_view(s->hint, v, m);
}

void
sync_fenced(struct sync *s, struct view *v, struct moment m, struct outbox *out)
{
	(void)m;
	(void)out;
	pull_fenced(s->pull, v);
}

int
sync_frame(struct sync *s, const struct dyn_id *from, uint64_t conn, const struct frame *f,
    struct moment m, struct outbox *out)
{
	union msg msg;
	int rc = msg_decode(f->kind, f->body, &msg);

	if (rc == DYN_EVERSION)
		return 0; /* of a newer peer: skipped */
	if (rc != 0)
		return rc;
	switch (f->kind) {
	case MSG_PULL:
	case MSG_PULL_ACK:
		return pull_frame(s->pull, from, conn, f, &msg, m, out);
	case MSG_HINT:
	case MSG_HINT_ACK:
	case MSG_HINTS:
		return hint_frame(s->hint, from, conn, f, &msg, m, out);
	default:
		return 0;
	}
}

void
sync_stored(struct sync *s, struct rows *rows, int rc, struct moment m, struct outbox *out)
{
	if (rows->of == ROWS_PULL)
		pull_stored(s->pull, rows, rc, m, out);
	else
		hint_stored(s->hint, rows, rc, m, out);
}

void
sync_changed(struct sync *s, struct changes *c, struct moment m, struct outbox *out)
{
	hint_changed(s->hint, c, m, out);
	changes_free(c);
}

void
sync_ledger(struct sync *s, const struct dyn_id *from, struct dyn_slice ledger, struct moment m,
    struct outbox *out)
{
	hint_ledger(s->hint, from, ledger, m, out);
}

void
sync_lost(struct sync *s, const struct dyn_id *id, struct moment m, struct outbox *out)
{
	pull_lost(s->pull, id, m, out);
	hint_lost(s->hint, id, m, out);
}

uint64_t
sync_wake(const struct sync *s)
{
	return MIN(pull_wake(s->pull), hint_wake(s->hint));
}

void
sync_tick(struct sync *s, struct moment m, struct outbox *out)
{
	if (pull_wake(s->pull) <= m.now)
		pull_tick(s->pull, m, out);
	if (hint_wake(s->hint) <= m.now)
		hint_tick(s->hint, m, out);
}

unsigned
sync_pending(const struct sync *s)
{
	return pull_pending(s->pull);
}

void
sync_hints(const struct sync *s, struct hint_figures *f)
{
	hint_figures(s->hint, f);
}
