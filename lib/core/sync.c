/* Which machine of the sync thread an event is for. */
#include "core/sync.h"

struct sync {
	struct sync_options o;
	struct pull *pull;
	struct hint *hint;
	struct arrivals arrivals;
	struct trees *trees;
	struct repair *repair;
	struct collect *collect;
	struct admit admit;
};

static bool
rows_damaged(void *arg, unsigned partition)
{
	struct sync *s = arg;

	return repair_damaged(s->repair, partition);
}

/* What cannot be read may be there: its copy says nothing. */
static void
rows_broken(void *arg, unsigned partition)
{
	struct sync *s = arg;

	repair_unreadable(s->repair, partition);
}

int
sync_new(struct sync **out, const struct sync_options *options, struct moment m)
{
	struct pull_options po = { .self = options->self, .engine = options->engine,
		.w = options->w };
	struct hint_options ho = { .self = options->self, .engine = options->engine,
		.bytes_max = options->hint_bytes_max, .age_max_ms = options->hint_age_max_ms,
		.partitions = options->partitions };
	struct trees_options to = { .self = options->self, .engine = options->engine,
		.walk = options->walk, .row = collect_row, .broken = rows_broken };
	struct collect_options co = { .self = options->self, .engine = options->engine,
		.workers = options->workers, .period = options->collect_period };
	struct repair_options ro = { .self = options->self, .engine = options->engine,
		.period = options->repair_period };
	struct sync *s = mem_zalloc(sizeof(*s));
	int rc;

	*out = NULL;
	if (s == NULL)
		return DYN_ENOMEM;
	s->o = *options;
	admit_init(&s->admit, m.now);
	arrive_init(&s->arrivals, &options->self);
	rc = hint_new(&s->hint, &ho, m);
	po.hint = co.hint = s->hint;
	if (rc == 0)
		rc = pull_new(&s->pull, &po);
	co.admit = &s->admit;
	if (rc == 0)
		rc = collect_new(&s->collect, &co, m);
	to.row_arg = s->collect;
	to.damaged = rows_damaged;
	to.damaged_arg = s;
	to.broken_arg = s;
	if (rc == 0)
		rc = trees_new(&s->trees, &to);
	ro.trees = s->trees;
	ro.admit = &s->admit;
	if (rc == 0)
		rc = repair_new(&s->repair, &ro, m);
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
	arrive_fini(&s->arrivals);
	repair_free(s->repair);
	trees_free(s->trees);
	collect_free(s->collect);
	mem_free(s);
}

void
sync_view(struct sync *s, struct view *v, struct moment m, struct outbox *out)
{
	pull_view(s->pull, v, m, out);
	hint_view(s->hint, v, m);
	arrive_view(&s->arrivals, v);
	trees_view(s->trees, v, m);
	repair_view(s->repair, v, m, out);
	collect_view(s->collect, v, m, out);
}

void
sync_fenced(struct sync *s, struct view *v, struct moment m, struct outbox *out)
{
	pull_fenced(s->pull, v);
	collect_fenced(s->collect, v, m, out);
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
	case MSG_PING:
		ping_answer(conn, f, &msg.ping, out);
		return 0;
	case MSG_PULL:
	case MSG_PULL_ACK:
		return pull_frame(s->pull, from, conn, f, &msg, m, out);
	case MSG_HINT:
	case MSG_REPAIR:
		return arrive_frame(&s->arrivals, conn, f, &msg, out);
	case MSG_HINT_ACK:
	case MSG_HINTS:
	case MSG_BEHIND_ACK:
		hint_frame(s->hint, from, f, &msg, m, out);
		return 0;
	case MSG_TREES:
	case MSG_TREES_ACK:
	case MSG_TREE:
	case MSG_TREE_ACK:
	case MSG_LEAVES:
	case MSG_LEAVES_ACK:
	case MSG_REPAIR_ACK:
	case MSG_BEHIND:
		if (f->kind == MSG_REPAIR_ACK && collect_is_number(f->request))
			return collect_frame(s->collect, from, conn, f, &msg, m, out);
		return repair_frame(s->repair, from, conn, f, &msg, m, out);
	case MSG_COLLECT:
	case MSG_COLLECT_ACK:
		return collect_frame(s->collect, from, conn, f, &msg, m, out);
	default:
		return 0;
	}
}

void
sync_stored(struct sync *s, struct rows *rows, int rc, struct moment m, struct outbox *out)
{
	switch (rows->of) {
	case ROWS_PULL:
		pull_stored(s->pull, rows, rc, m, out);
		break;
	case ROWS_HINT:
	case ROWS_DROP:
		hint_stored(s->hint, rows, rc, m, out);
		break;
	case ROWS_ARRIVED:
		arrive_stored(&s->arrivals, rows, rc, out);
		break;
	case ROWS_REPAIR:
		repair_stored(s->repair, rows, rc, m, out);
		break;
	case ROWS_AGREE:
	case ROWS_FORGET:
	case ROWS_SETTLED:
	case ROWS_LEFT:
	case ROWS_CLEAR:
		collect_stored(s->collect, rows, rc, m, out);
		break;
	case ROWS_DAMAGED: /* trees.c looks whether they are gone */
		rows_free(rows);
		break;
	case ROWS_FENCE:
		trees_stored(s->trees, rows, rc, m, out);
		break;
	}
}

void
sync_saved(struct sync *s, int rc, struct moment m, struct outbox *out)
{
	repair_saved(s->repair, rc, m, out);
}

void
sync_clear(struct sync *s, struct moment m, struct outbox *out)
{
	collect_clear(s->collect, m, out);
}

void
sync_changed(struct sync *s, struct changes *c, struct moment m, struct outbox *out)
{
	hint_changed(s->hint, c, m, out);
	trees_changed(s->trees, c);
	collect_changed(s->collect, c);
	changes_free(c);
}

void
sync_ledger(struct sync *s, const struct dyn_id *from, struct dyn_slice ledger, struct moment m,
    struct outbox *out)
{
	hint_ledger(s->hint, from, ledger, m, out);
}

void
sync_liveness(struct sync *s, const struct dyn_id *id, enum dyn_liveness state, struct moment m,
    struct outbox *out)
{
	hint_liveness(s->hint, id, state, m, out);
	repair_liveness(s->repair, id, state, m);
}

void
sync_lost(struct sync *s, const struct dyn_id *id, struct moment m, struct outbox *out)
{
	pull_lost(s->pull, id, m, out);
	hint_lost(s->hint, id, m, out);
	repair_lost(s->repair, id, m, out);
	collect_lost(s->collect, id, m, out);
}

void
sync_lost_all(struct sync *s, int number, struct moment m, struct outbox *out)
{
	repair_lost_all(s->repair, number, m, out);
}

void
sync_damaged(struct sync *s, unsigned partition)
{
	(void)repair_damaged(s->repair, partition);
	trees_look_again(s->trees, partition);
}

void
sync_foreground(struct sync *s, const struct histogram *latencies, struct moment m)
{
	admit_look(&s->admit, latencies, m.now);
}

uint64_t
sync_wake(const struct sync *s)
{
	uint64_t at = MIN(pull_wake(s->pull), hint_wake(s->hint));

	at = MIN(at, trees_wake(s->trees, &s->admit));
	at = MIN(at, collect_wake(s->collect));
	return MIN(at, repair_wake(s->repair));
}

void
sync_tick(struct sync *s, struct moment m, struct outbox *out)
{
	if (pull_wake(s->pull) <= m.now)
		pull_tick(s->pull, m, out);
	if (hint_wake(s->hint) <= m.now)
		hint_tick(s->hint, m, out);
	if (trees_wake(s->trees, &s->admit) <= m.now)
		trees_tick(s->trees, &s->admit, m, out);
	if (repair_wake(s->repair) <= m.now)
		repair_tick(s->repair, m, out);
	if (collect_wake(s->collect) <= m.now)
		collect_tick(s->collect, m, out);
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

void
sync_copies(const struct sync *s, struct moment m, struct copies_figures *f)
{
	trees_figures(s->trees, &f->trees);
	repair_figures(s->repair, m, &f->repair);
	collect_figures(s->collect, &f->collect);
	f->rate = s->admit.rate;
}

struct buf *
sync_catching(const struct sync *s)
{
	return repair_catching(s->repair);
}
