/* Which machine of the sync thread an event is for. */
#include "core/sync.h"

struct sync {
	struct sync_options o;
	struct pull *pull;
};

int
sync_new(struct sync **out, const struct sync_options *options)
{
	struct pull_options po = { .self = options->self, .engine = options->engine,
		.w = options->w };
	struct sync *s = mem_zalloc(sizeof(*s));
	int rc;

	*out = NULL;
	if (s == NULL)
		return DYN_ENOMEM;
	s->o = *options;
	rc = pull_new(&s->pull, &po);
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
	mem_free(s);
}

void
sync_view(struct sync *s, struct view *v, struct moment m, struct outbox *out)
{
	pull_view(s->pull, v, m, out);
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
	default:
		return 0;
	}
}

void
sync_stored(struct sync *s, struct rows *rows, int rc, struct moment m, struct outbox *out)
{
	pull_stored(s->pull, rows, rc, m, out);
}

void
sync_changed(struct sync *s, struct changes *c, struct moment m, struct outbox *out)
{
	(void)s;
	(void)m;
	(void)out;
	changes_free(c);
}

void
sync_lost(struct sync *s, const struct dyn_id *id, struct moment m, struct outbox *out)
{
	pull_lost(s->pull, id, m, out);
}

uint64_t
sync_wake(const struct sync *s)
{
	return pull_wake(s->pull);
}

void
sync_tick(struct sync *s, struct moment m, struct outbox *out)
{
	if (pull_wake(s->pull) <= m.now)
		pull_tick(s->pull, m, out);
}

unsigned
sync_pending(const struct sync *s)
{
	return pull_pending(s->pull);
}
