/* Pulling partitions, and serving those who pull. */
#include "core/pull.h"

#include "core/hint.h"

enum progress { NOT_MINE, PENDING, ACTIVE, COMPLETE };
enum source_state { SOURCE_NEW, SOURCE_FAILED, SOURCE_BROKEN, SOURCE_SCANNED };

struct task {
	struct list link;
	enum { ASKING, STORING, PAUSING, RESTING } state;
	unsigned partition;
	uint64_t number; /* of the request in progress */
	uint64_t until;  /* ASKING, STORING: patience; PAUSING, RESTING: its end */
	uint64_t began;  /* STORING */
	struct group sources;
	uint8_t source_state[DYN_N_MAX];
	unsigned source; /* the one asked */
	bool last;       /* STORING, PAUSING: the rows were the source's last */
	struct buf *after;
};

struct pull {
	struct pull_options o;
	struct view *view;
	bool fenced, said;
	bool called;       /* the worker was, when rows last came back: be modest */
	uint8_t *progress; /* by partition */
	unsigned pending;  /* PENDING and ACTIVE */
	unsigned cursor;
	struct list tasks;
	unsigned tasks_count;
	uint64_t next_number;
	uint64_t again; /* out of memory: when to try again; else TIME_NEVER */
};

int
pull_new(struct pull **out, const struct pull_options *options)
{
	struct pull *p = mem_zalloc(sizeof(*p));

	*out = p;
	if (p == NULL)
		return DYN_ENOMEM;
	p->o = *options;
	p->next_number = 1;
	p->again = TIME_NEVER;
	list_init(&p->tasks);
	return 0;
}

static void
task_free(struct pull *p, struct task *t)
{
	list_remove(&t->link);
	p->tasks_count--;
	buf_unref(t->after);
	mem_free(t);
}

void
pull_free(struct pull *p)
{
	if (p == NULL)
		return;
	while (!list_empty(&p->tasks))
		task_free(p, CONTAINER_OF(p->tasks.next, struct task, link));
	mem_free(p->progress);
	view_unref(p->view);
	mem_free(p);
}

unsigned
pull_pending(const struct pull *p)
{
	return p->pending;
}

/* ------------------------------------------------------------- the newcomer */

/* Who leaves first hands over what it keeps for others: it may be one of the copies that
 * made up the W of a write. */
static bool
keeps_hints(const struct pull *p)
{
	const struct record *self = view_find(p->view, &p->o.self);
	struct hint_figures f;

	if (p->o.hint == NULL || self == NULL || self->state != RECORD_LEAVING)
		return false;
	hint_figures(p->o.hint, &f);
	return f.hints > 0;
}

/* Synced means two things (view.c): this node holds all that is its, and what
 * its workers coordinate goes by this table, which the fence tells. */
static bool
is_synced(const struct pull *p)
{
	return p->progress != NULL && p->pending == 0 && p->fenced && !keeps_hints(p);
}

/* Does the view say so of this node?  If what was said got lost on the way, the
 * next view shows it, and it is said again. */
static bool
is_marked(const struct pull *p)
{
	const struct record *self = view_find(p->view, &p->o.self);

	return self != NULL && view_says_synced(p->view, self);
}

static void
say_synced(struct pull *p, struct outbox *out)
{
	struct effect *e;

	if (p->said || !is_synced(p))
		return;
	p->said = true;
	e = outbox_add(out, FX_SYNCED);
	e->view = view_ref(p->view);
}

static const struct dyn_id *
source_id(const struct pull *p, const struct task *t)
{
	return &p->view->records[t->sources.member[t->source]].id;
}

static void
send_pull(struct pull *p, struct task *t, struct moment m, struct outbox *out)
{
	struct frame head = view_head(p->view, p->next_number++);
	union msg msg = { .pull = { .partition = t->partition, .after = buf_slice(t->after),
		.bytes_max = p->called ? PULL_BYTES_CALLED : PULL_BYTES } };
	struct effect *e;
	struct buf *frame;

	t->state = ASKING;
	t->number = head.request;
	t->until = m.now + PULL_PATIENCE;
	if (msg_encode(&frame, &head, MSG_PULL, &msg) != 0)
		return; /* tried again when patience ends */
	e = outbox_add(out, FX_SEND);
	e->to = *source_id(p, t);
	e->frame = frame;
}

static unsigned
sources_in(const struct task *t, enum source_state state)
{
	unsigned count = 0;

	for (unsigned i = 0; i < t->sources.count; i++)
		count += t->source_state[i] == state;
	return count;
}

/* Were all scanned without which an acknowledged write could be missed?  Who is no
 * member any more is not waited for: where too few are left for that, or none, what
 * only those had is lost, and whoever had them forgotten was told. */
static bool
is_complete(const struct pull *p, const struct task *t)
{
	unsigned count = t->sources.count, there = 0;

	for (unsigned i = 0; i < count; i++) {
		if (!record_is_member(&p->view->records[t->sources.member[i]]))
			continue;
		if (t->source_state[i] == SOURCE_FAILED)
			return false;
		there++;
	}
	return sources_in(t, SOURCE_SCANNED) >=
	       MIN(there, count > p->o.w ? count - p->o.w + 1 : 1);
}

/* The next source; or this partition is complete; or rest and try again those
 * that failed.  Returns true if the task is gone. */
static bool
go_on(struct pull *p, struct task *t, struct moment m, struct outbox *out)
{
	for (unsigned i = 0; i < t->sources.count; i++) {
		if (t->source_state[i] != SOURCE_NEW)
			continue;
		t->source = i;
		buf_unref(t->after);
		t->after = NULL;
		send_pull(p, t, m, out);
		return false;
	}
	if (is_complete(p, t)) {
		p->progress[t->partition] = COMPLETE;
		p->pending--;
		task_free(p, t);
		return true;
	}
	for (unsigned i = 0; i < t->sources.count; i++)
		if (t->source_state[i] != SOURCE_SCANNED)
			t->source_state[i] = SOURCE_NEW;
	t->state = RESTING;
	t->until = m.now + PULL_REST;
	return false;
}

static void
start_tasks(struct pull *p, struct moment m, struct outbox *out)
{
	unsigned partitions = p->view->settings.partitions;
	unsigned most = p->called ? PULL_TASKS_CALLED : PULL_TASKS;

	for (; p->cursor < partitions && p->tasks_count < most; p->cursor++) {
		struct task *t;

		if (p->progress[p->cursor] != PENDING)
			continue;
		t = mem_zalloc(sizeof(*t));
		if (t == NULL) {
			p->again = m.now + PULL_REST;
			return;
		}
		t->partition = p->cursor;
		view_readers(p->view, t->partition, &t->sources);
		for (unsigned i = 0; i < t->sources.count; i++)
			if (id_equal(&p->view->records[t->sources.member[i]].id, &p->o.self))
				t->source_state[i] = SOURCE_SCANNED; /* it is here */
		p->progress[p->cursor] = ACTIVE;
		list_add(&p->tasks, &t->link);
		p->tasks_count++;
		(void)go_on(p, t, m, out);
	}
}

/* Is an owner of the partition by current forgotten? */
static bool
lacks_owner(const struct view *v, unsigned partition)
{
	const uint16_t *owners;
	unsigned count = table_owners(v->current, partition, &owners);

	for (unsigned i = 0; i < count; i++)
		if (v->records[v->member[2][owners[i]]].state == RECORD_FORGOTTEN)
			return true;
	return false;
}

/* Which partitions are mine by current and were not by base?  Also those where
 * this node moves forward in the list: a bucket with fewer copies than the ring
 * has goes by the first owners only; and those that somebody was to own with us who is
 * forgotten (view.c). */
static int
set_progress(struct pull *p)
{
	const struct view *v = p->view;
	uint8_t *progress = mem_zalloc(v->settings.partitions);
	unsigned forgotten = view_forgotten(v);

	/* What was known of another table must not be taken for this one. */
	mem_free(p->progress);
	p->progress = progress;
	p->pending = 0;
	p->cursor = 0;
	if (progress == NULL)
		return DYN_ENOMEM;
	if (view_phase(v) != VIEW_MOVING || is_marked(p))
		return 0;
	for (unsigned i = 0; i < v->settings.partitions; i++) {
		unsigned rank = table_rank(v->current, i, &p->o.self);

		if (rank == v->current->n || (rank >= table_rank(v->base, i, &p->o.self) &&
		    (forgotten == 0 || !lacks_owner(v, i))))
			continue;
		progress[i] = PENDING;
		p->pending++;
	}
	return 0;
}

/* After each step: fill up, or say that all is here. */
static void
step(struct pull *p, struct moment m, struct outbox *out)
{
	if (p->view == NULL)
		return;
	p->again = TIME_NEVER;
	if (p->progress == NULL && set_progress(p) != 0) {
		p->again = m.now + PULL_REST;
		return;
	}
	start_tasks(p, m, out);
	say_synced(p, out);
	if (!p->said && p->pending == 0 && p->fenced)
		p->again = m.now + PULL_REST; /* for the hints to go */
}

static struct task *
task_find(struct pull *p, uint64_t number)
{
	LIST_EACH(l, &p->tasks) {
		struct task *t = CONTAINER_OF(l, struct task, link);

		if (t->number == number)
			return t;
	}
	return NULL;
}

static void
source_ended(struct pull *p, struct task *t, enum source_state state, struct moment m,
    struct outbox *out)
{
	t->source_state[t->source] = (uint8_t)state;
	(void)go_on(p, t, m, out);
}

static void
source_failed(struct pull *p, struct task *t, struct moment m, struct outbox *out)
{
	source_ended(p, t, SOURCE_FAILED, m, out);
}

static void
take_rows(struct pull *p, struct task *t, const struct msg_pull_ack *ack, struct moment m,
    struct outbox *out)
{
	struct rows *rows;
	struct dyn_slice last;
	struct buf *after;
	struct effect *e;

	t->last = ack->done != 0;
	if (!rows_check(ack->rows, t->partition, p->view->settings.partitions, &last) ||
	    (last.len == 0 && !t->last)) {
		source_failed(p, t, m, out);
		return;
	}
	if (last.len == 0) {
		source_ended(p, t, SOURCE_SCANNED, m, out);
		return;
	}
	rows = rows_new(ROWS_PULL, t->partition, t->number, ack->rows);
	after = buf_copy(last.data, last.len);
	if (rows == NULL || after == NULL) {
		rows_free(rows);
		buf_unref(after);
		source_failed(p, t, m, out);
		return;
	}
	buf_unref(t->after);
	t->after = after;
	t->state = STORING;
	t->until = m.now + 2 * PULL_PATIENCE;
	t->began = m.now;
	e = outbox_add(out, FX_ROWS);
	e->what = rows;
}

/* After rows that took so long to store: see pull.h. */
static uint64_t
pause_after(const struct pull *p, uint64_t took)
{
	uint64_t pause = MIN(took, PULL_EASY * PULL_PAUSE_TIMES) * took / PULL_EASY;

	return !p->called || pause < NS_PER_MS ? 0 : pause;
}

/* The next rows of this source, or the next source. */
static void
pause_ended(struct pull *p, struct task *t, struct moment m, struct outbox *out)
{
	if (t->last)
		source_ended(p, t, SOURCE_SCANNED, m, out);
	else
		send_pull(p, t, m, out);
}

void
pull_stored(struct pull *p, struct rows *rows, int rc, struct moment m, struct outbox *out)
{
	struct task *t = task_find(p, rows->number);
	uint64_t pause;

	p->called = rows->quiet < PULL_QUIET;
	rows_free(rows);
	if (t == NULL || t->state != STORING)
		return;
	if (rc != 0) {
		outbox_log(out, DYN_LOG_WARNING, "pull: rows not stored: %s", dyn_strerror(rc));
		source_failed(p, t, m, out);
	} else if ((pause = pause_after(p, m.now - t->began)) > 0) {
		t->state = PAUSING;
		t->until = m.now + pause;
	} else {
		pause_ended(p, t, m, out);
	}
	step(p, m, out);
}

void
pull_view(struct pull *p, struct view *v, struct moment m, struct outbox *out)
{
	bool same = p->view != NULL && table_compare(p->view->current, v->current) == 0;
	bool as_before = same && view_forgotten(p->view) == view_forgotten(v);

	if (v->current == NULL)
		return; /* still joining */
	view_ref(v);
	view_unref(p->view);
	p->view = v;
	if (!is_marked(p))
		p->said = false;
	if (as_before && view_phase(v) == VIEW_MOVING && p->progress != NULL) {
		/* Indexes of members may have moved: look the sources up anew. */
		LIST_EACH(l, &p->tasks) {
			struct task *t = CONTAINER_OF(l, struct task, link);

			view_readers(v, t->partition, &t->sources);
		}
		step(p, m, out);
		return;
	}
	while (!list_empty(&p->tasks))
		task_free(p, CONTAINER_OF(p->tasks.next, struct task, link));
	if (!same)
		p->fenced = false;
	mem_free(p->progress);
	p->progress = NULL;
	step(p, m, out);
}

void
pull_lost(struct pull *p, const struct dyn_id *id, struct moment m, struct outbox *out)
{
	LIST_EACH_SAFE(l, next, &p->tasks) {
		struct task *t = CONTAINER_OF(l, struct task, link);

		if (t->state == ASKING && id_equal(id, source_id(p, t)))
			source_failed(p, t, m, out);
	}
	step(p, m, out);
}

uint64_t
pull_wake(const struct pull *p)
{
	uint64_t at = p->again;

	if (!p->said && is_synced(p))
		return 0;
	LIST_EACH(l, &p->tasks) {
		const struct task *t = CONTAINER_OF(l, struct task, link);

		at = MIN(at, t->until);
	}
	return at;
}

void
pull_tick(struct pull *p, struct moment m, struct outbox *out)
{
	LIST_EACH_SAFE(l, next, &p->tasks) {
		struct task *t = CONTAINER_OF(l, struct task, link);

		if (t->until > m.now)
			continue;
		if (t->state == RESTING)
			(void)go_on(p, t, m, out);
		else if (t->state == PAUSING)
			pause_ended(p, t, m, out);
		else
			source_failed(p, t, m, out);
	}
	step(p, m, out);
}

/* --------------------------------------------------------------- the source */

void
pull_fenced(struct pull *p, struct view *v)
{
	if (p->view != NULL && table_compare(p->view->current, v->current) == 0)
		p->fenced = true;
}

struct gather {
	struct wr wr;
	size_t bytes_max;
	bool cut, damaged;
};

static int
gather_row(void *arg, struct dyn_slice id, struct dyn_slice value)
{
	struct gather *g = arg;

	/* Who pulls must not take what is left for all there was. */
	g->damaged = value.data == NULL;
	if (g->damaged)
		return 1;
	if (wr_len(&g->wr) > 0 && wr_len(&g->wr) + id.len + value.len > g->bytes_max) {
		g->cut = true;
		return 1;
	}
	wr_slice(&g->wr, id);
	wr_slice(&g->wr, value);
	return 0;
}

static int
scan(struct pull *p, const struct msg_pull *pull, struct buf **rows, bool *done)
{
	unsigned char first[16], last[KEY_NAME_MAX];
	struct gather g = { .bytes_max = MIN(pull->bytes_max, 4u << 20) };
	struct dyn_slice after = pull->after;
	int rc;

	/* The bare hash sorts before every name that starts with it. */
	partition_bounds(pull->partition, p->view->settings.partitions, first, last);
	if (after.len == 0)
		after = slice(first, sizeof(first));
	wr_init(&g.wr, 4096);
	rc = p->o.engine->scan(p->o.engine->self, DYN_SPACE_DATA, after,
	    slice(last, sizeof(last)), gather_row, &g);
	if (rc == 0 && g.damaged)
		rc = DYN_ECORRUPT;
	if (rc != 0) {
		wr_abort(&g.wr);
		return rc;
	}
	*done = !g.cut;
	return wr_finish(&g.wr, rows);
}

/* May this request be served now, by the table it comes with? */
static int
serve_check(struct pull *p, const struct dyn_id *from, const struct frame *f,
    const struct msg_pull *pull, struct outbox *out)
{
	const struct table *t = p->view != NULL ? p->view->current : NULL;

	if (t == NULL)
		return DYN_EBUSY;
	if (pull->partition >= p->view->settings.partitions)
		return DYN_EPROTO;
	if (f->epoch >> 2 != t->epoch || f->table != load_be64(t->digest.b)) {
		outbox_add(out, FX_POKE)->to = *from;
		return DYN_EMOVED;
	}
	return p->fenced ? 0 : DYN_EBUSY;
}

static void
serve(struct pull *p, const struct dyn_id *from, uint64_t conn, const struct frame *f,
    const struct msg_pull *pull, struct outbox *out)
{
	struct frame head = { .request = f->request };
	struct buf *rows = NULL, *frame;
	union msg ack;
	bool done = false;
	int rc;

	rc = serve_check(p, from, f, pull, out);
	if (rc == 0)
		rc = scan(p, pull, &rows, &done);
	if (p->view != NULL) {
		/* The view has a table: see pull_view. */
		head.epoch = view_stamp(p->view);
		head.table = load_be64(p->view->current->digest.b);
	}
	memset(&ack.pull_ack, 0, sizeof(ack.pull_ack));
	ack.pull_ack.rc = (uint32_t)rc;
	ack.pull_ack.done = done;
	ack.pull_ack.rows = buf_slice(rows);
	if (msg_encode(&frame, &head, MSG_PULL_ACK, &ack) == 0) {
		struct effect *e = outbox_add(out, FX_REPLY);

		e->conn = conn;
		e->frame = frame;
	}
	buf_unref(rows);
}

int
pull_frame(struct pull *p, const struct dyn_id *from, uint64_t conn, const struct frame *f,
    const union msg *msg, struct moment m, struct outbox *out)
{
	struct task *t;
	int rc;

	if (f->kind == MSG_PULL) {
		serve(p, from, conn, f, &msg->pull, out);
		return 0;
	}
	if (f->kind != MSG_PULL_ACK)
		return 0;
	t = task_find(p, f->request);
	if (t == NULL || t->state != ASKING || !id_equal(from, source_id(p, t)))
		return 0;
	rc = msg_rc(msg->pull_ack.rc);
	if (rc == 0)
		take_rows(p, t, &msg->pull_ack, m, out);
	else if (rc == DYN_EIO || rc == DYN_ECORRUPT)
		source_ended(p, t, SOURCE_BROKEN, m, out);
	else
		source_failed(p, t, m, out);
	step(p, m, out);
	return 0;
}
