/*
 * The storage engine over SQLite (paper 4.9, 5: the local persistence engine).
 *
 * Writing rows straight into a table ordered by hash costs a page for each
 * row.  So:
 *
 *	apply   one transaction appends the whole batch to the journal table,
 *	        then the rows become visible in a table in memory (active)
 *	freeze  active has grown enough: it becomes frozen, a new one is begun
 *	fold    frozen goes, sorted and only the newest value of each id, into
 *	        the ordered tables; in slices, between the applies
 *	trim    the journal rows of what was folded are deleted, oldest first
 *	get     active, then frozen, then the ordered table
 *
 *	          apply                 slices
 *	rows ---> journal + active ---> frozen ---> rows_0, rows_1, rows_2
 *
 * Why a crash at any point is harmless: a start replays the journal.  Until a
 * generation is folded whole its journal is whole, and replaying over a part
 * that was folded gives the same values.  After that, what is left of its
 * journal is its end, and the last value of an id in there is the one that
 * was folded.
 *
 * Threads: apply, drop, sync, idle, close by the storage thread.  get and scan
 * by any: they take references to both generations under `lock`, which nobody
 * holds across I/O, and a connection of their own from a small pool.
 *
 * A scan is a snapshot.  Rows are added to memory only, so memory at sequence
 * number s and the file at some time after are consistent, unless a freeze in
 * between let rows newer than s reach the file; then the scan begins again.
 *
 * Durability: everything goes through one log (sqlfile.h); DYN_DURABLE_MEMORY
 * is treated as DYN_DURABLE_OS, the difference is one write into the page
 * cache.
 *
 * Errors of apply.  DYN_EIO: nobody knows whether the batch, whole, will be
 * there after a restart; it is not visible now.  If a write or a sync failed,
 * all further writing is refused with DYN_EIO until the engine is opened
 * again; DYN_EREADONLY likewise, if the file system turned read-only.  After every
 * error but DYN_EIO nothing of the batch is there, now or later.
 */
#include "host/engine.h"
#include "host/memtable.h"
#include "host/sqlfile.h"
#include "host/sqlread.h"

#include <pthread.h>

/*
 * Measured by engine_bench -l: 64 rows of 132 bytes a synced commit, 800,000
 * rows with new ids, 2 cores, fsync 100-200 us; the better of two runs.  Rows
 * a second (thousands) / CPU us a row / 99.9th percentile and longest apply:
 *
 *	fold MiB    checkpoint at 1000    4000 pages            16000 pages
 *	16          111 / 6.6 / 9, 10 ms  98 / 7.5 / 25, 29     105 / 7.0 / 57, 79
 *	32          136 / 5.6 / 7, 9      124 / 6.0 / 18, 24    123 / 6.0 / 2, 70
 *	64          132 / 5.8 / 6, 7      136 / 5.6 / 15, 18    121 / 6.2 / 3, 64
 *
 * A journal page is met once and a folded page once in a generation, so a
 * longer log saves nothing and stalls longer.  64 MiB would win little for
 * twice the memory and twice the restart (0.1 s for 100,000 rows).
 */
static const struct engine_tuning defaults = {
    .fold_bytes = (size_t)32 << 20,
    .idle_bytes = (size_t)4 << 20,
    .checkpoint_pages = 1000,
};

/* An apply pays for itself: it folds this many times the bytes it brought, so
 * that frozen is gone before active is full. */
#define PAY_FACTOR 3
#define PAY_MIN 1024
/* One slice when idle: some milliseconds, since an apply may come any time. */
#define IDLE_SLICE ((size_t)64 << 10)
/* Deleting from the journal is so much cheaper than folding. */
#define TRIM_FACTOR 4
/* If folding fails, memory may grow to this many times fold_bytes. */
#define UNFOLDED_MAX 4
/* Connections kept for readers; more threads at once open and close more. */
#define READERS_KEPT 8
/* Rows a drop removes in one transaction. */
#define DROP_ROWS 1024

struct engine {
	struct dyn_engine base;
	struct engine_tuning tuning;
	char *path;

	pthread_mutex_t lock; /* guards from here */
	struct memtable *active, *frozen;
	struct reader *readers;
	unsigned readers_count;
	struct sqlfile_total total;
	struct mem_count folded; /* rows of frozen that are in total by now */
	/* to here; active and frozen are changed by the storage thread only */

	/* The storage thread's. */
	struct sqlfile file;
	int64_t seq;        /* of the last journal row */
	int64_t frozen_seq; /* of the last one in frozen */
	struct mem_iter fold_at;
	enum dyn_space fold_space;
	int64_t trimmed, trim_to; /* journal rows deleted; to be deleted */
	size_t trim_bytes;        /* of one such row, on average */
	int fold_error;           /* of the last slice */
	size_t fold_again;        /* size of active to try again at */
};

/* ----------------------------------------------------------------- readers */

/* Both generations as they are now.  Unref both. */
struct snapshot {
	struct memtable *active, *frozen;
	uint64_t now; /* in active */
};

static void
take_snapshot(struct engine *e, struct snapshot *s)
{
	pthread_mutex_lock(&e->lock);
	s->active = memtable_ref(e->active);
	s->frozen = e->frozen != NULL ? memtable_ref(e->frozen) : NULL;
	s->now = memtable_now(s->active);
	pthread_mutex_unlock(&e->lock);
}

static void
drop_snapshot(struct snapshot *s)
{
	memtable_unref(s->active);
	memtable_unref(s->frozen);
}

static bool
is_current(struct engine *e, const struct snapshot *s)
{
	bool current;

	pthread_mutex_lock(&e->lock);
	current = e->active == s->active;
	pthread_mutex_unlock(&e->lock);
	return current;
}

static int
take_reader(struct engine *e, struct reader **out)
{
	struct reader *r;

	pthread_mutex_lock(&e->lock);
	r = e->readers;
	if (r != NULL) {
		e->readers = r->next;
		e->readers_count--;
	}
	pthread_mutex_unlock(&e->lock);
	*out = r;
	return r != NULL ? 0 : reader_open(out, e->path);
}

/* A reader that failed is not kept: the next one begins afresh. */
static void
give_reader(struct engine *e, struct reader *r, bool keep)
{
	pthread_mutex_lock(&e->lock);
	keep = keep && e->readers_count < READERS_KEPT;
	if (keep) {
		r->next = e->readers;
		e->readers = r;
		e->readers_count++;
	}
	pthread_mutex_unlock(&e->lock);
	if (!keep)
		reader_close(r);
}

static enum mem_found
find_in_memory(const struct snapshot *s, enum dyn_space space, struct dyn_slice id,
    struct dyn_slice *value)
{
	enum mem_found found = memtable_find(s->active, s->now, space, id, value);

	if (found == MEM_NONE && s->frozen != NULL)
		found = memtable_find(s->frozen, UINT64_MAX, space, id, value);
	return found;
}

static int
get(void *self, enum dyn_space space, struct dyn_slice id, struct dyn_buffer *out)
{
	struct engine *e = self;
	struct snapshot s;
	struct dyn_slice value;
	struct reader *r;
	enum mem_found found;
	int rc = DYN_ENOTFOUND;

	if ((unsigned)space >= DYN_SPACE_COUNT)
		return DYN_EINVAL;
	take_snapshot(e, &s);
	found = find_in_memory(&s, space, id, &value);
	if (found == MEM_ROW)
		rc = dyn_buffer_append(out, value.data, value.len);
	drop_snapshot(&s);
	if (found != MEM_NONE)
		return rc;
	/* What frozen held before we looked is in the file by now or was found:
	 * it is dropped after the commit. */
	rc = take_reader(e, &r);
	if (rc != 0)
		return rc;
	rc = reader_get(r, space, id, out);
	give_reader(e, r, rc == 0 || rc == DYN_ENOTFOUND);
	return rc;
}

/* -------------------------------------------------------------------- scan */

/* A merge of three sorted sources; of one id the first source wins. */
struct merge {
	struct snapshot snapshot;
	struct mem_iter active, frozen;
	struct walk walk;
	struct dyn_slice id, value; /* value.data NULL: removed, or damaged */
	bool sealed;                /* as it lies in the file */
	bool end;
};

static int
open_merge(struct engine *e, struct reader *r, enum dyn_space space,
    struct dyn_slice after, struct merge *m)
{
	int rc;

	for (;;) {
		memset(m, 0, sizeof(*m));
		take_snapshot(e, &m->snapshot);
		rc = walk_open(&m->walk, r, space, after);
		if (rc == 0)
			rc = walk_step(&m->walk); /* from here the file stands still */
		if (rc == 0 && is_current(e, &m->snapshot))
			break;
		walk_close(&m->walk);
		drop_snapshot(&m->snapshot);
		if (rc != 0)
			return rc;
	}
	mem_iter_init(&m->active, m->snapshot.active, m->snapshot.now, space, after);
	mem_iter_init(&m->frozen, m->snapshot.frozen, UINT64_MAX, space, after);
	return 0;
}

static void
close_merge(struct merge *m)
{
	walk_close(&m->walk);
	drop_snapshot(&m->snapshot);
}

/* The smallest id of the three. */
static void
pick(struct merge *m)
{
	bool any = false;

	if (!m->walk.end) {
		m->id = m->walk.id;
		m->value = m->walk.stored;
		any = true;
	}
	m->sealed = any;
	if (m->frozen.node != NULL && (!any || slice_compare(m->frozen.id, m->id) <= 0)) {
		m->id = m->frozen.id;
		m->value = m->frozen.value;
		m->sealed = false;
		any = true;
	}
	if (m->active.node != NULL && (!any || slice_compare(m->active.id, m->id) <= 0)) {
		m->id = m->active.id;
		m->value = m->active.value;
		m->sealed = false;
		any = true;
	}
	m->end = !any;
}

/* Leave the picked id in all sources; the file last, since its step ends the
 * life of the slices. */
static int
leave(struct merge *m)
{
	bool in_file = !m->walk.end && slice_equal(m->walk.id, m->id);

	if (m->frozen.node != NULL && slice_equal(m->frozen.id, m->id))
		mem_iter_next(&m->frozen);
	if (m->active.node != NULL && slice_equal(m->active.id, m->id))
		mem_iter_next(&m->active);
	return in_file ? walk_step(&m->walk) : 0;
}

static int
visit_all(struct merge *m, struct dyn_slice last, dyn_engine_row *visit, void *arg)
{
	bool damaged;
	int rc;

	for (;;) {
		pick(m);
		if (m->end || (last.data != NULL && slice_compare(m->id, last) > 0))
			return 0;
		/* A damaged row matters only while it is the newest: it is shown as one. */
		damaged = m->sealed && !memtable_unseal(m->id, m->value, &m->value);
		if (damaged)
			m->value = slice(NULL, 0);
		if ((m->value.data != NULL || damaged) && visit(arg, m->id, m->value) != 0)
			return 0;
		rc = leave(m);
		if (rc != 0)
			return rc;
	}
}

static int
scan(void *self, enum dyn_space space, struct dyn_slice after, struct dyn_slice last,
    dyn_engine_row *visit, void *arg)
{
	struct engine *e = self;
	struct merge m;
	struct reader *r;
	int rc;

	if ((unsigned)space >= DYN_SPACE_COUNT)
		return DYN_EINVAL;
	rc = take_reader(e, &r);
	if (rc != 0)
		return rc;
	rc = open_merge(e, r, space, after, &m);
	if (rc == 0) {
		rc = visit_all(&m, last, visit, arg);
		close_merge(&m);
	}
	give_reader(e, r, rc == 0);
	return rc;
}

/* ----------------------------------------------------- folding in slices */

static bool
is_folding(const struct engine *e)
{
	return e->frozen != NULL || e->trimmed < e->trim_to;
}

/* No memory for a new generation: the old one grows until there is some. */
static void
freeze(struct engine *e)
{
	struct memtable *fresh = memtable_new();

	if (fresh == NULL)
		return;
	pthread_mutex_lock(&e->lock);
	e->frozen = e->active;
	e->active = fresh;
	pthread_mutex_unlock(&e->lock);
	e->frozen_seq = e->seq;
	e->fold_space = 0;
	mem_iter_init(&e->fold_at, e->frozen, UINT64_MAX, 0, slice(NULL, 0));
}

/* All of frozen is in the file. */
static void
end_fold(struct engine *e)
{
	struct memtable *done = e->frozen;
	int64_t rows = e->frozen_seq - e->trim_to;

	e->trim_bytes = memtable_size(done) / (size_t)MAX(rows, 1);
	e->trim_to = e->frozen_seq;
	pthread_mutex_lock(&e->lock);
	e->frozen = NULL;
	memset(&e->folded, 0, sizeof(e->folded));
	pthread_mutex_unlock(&e->lock);
	memtable_unref(done);
}

/* Where a slice stands; the engine's is replaced when it is committed. */
struct fold {
	struct mem_iter at;
	enum dyn_space space;
	struct sqlfile_total total;
	struct mem_count folded;
};

/* As memtable_count counts it. */
static void
count_folded(struct fold *f)
{
	bool live = f->at.value.data != NULL;

	if (f->space != DYN_SPACE_DATA)
		return;
	f->folded.rows += live;
	f->folded.removed += !live;
	f->folded.bytes += live ? f->at.id.len + f->at.value.len : 0;
}

static int
fold_rows(struct engine *e, struct fold *f, size_t budget)
{
	size_t done = 0;
	int rc;

	while (done < budget) {
		if (f->at.node == NULL) {
			if (++f->space == DYN_SPACE_COUNT)
				return 0;
			mem_iter_init(
			    &f->at, e->frozen, UINT64_MAX, f->space, slice(NULL, 0));
			continue;
		}
		rc = sqlfile_fold(&e->file, f->space, f->at.id, f->at.value, &f->total);
		if (rc != 0)
			return rc;
		done += 64 + f->at.id.len + f->at.value.len;
		count_folded(f);
		mem_iter_next(&f->at);
	}
	return 0;
}

static int
fold_slice(struct engine *e, size_t budget)
{
	struct fold f = {e->fold_at, e->fold_space, e->total, e->folded};
	int rc;

	rc = sqlfile_begin(&e->file, false);
	if (rc != 0)
		return rc;
	rc = fold_rows(e, &f, budget);
	if (rc == 0)
		rc = sqlfile_write_total(&e->file, &f.total);
	if (rc == 0)
		rc = sqlfile_commit(&e->file);
	if (rc != 0) {
		sqlfile_abort(&e->file);
		return rc;
	}
	e->fold_at = f.at;
	e->fold_space = f.space;
	pthread_mutex_lock(&e->lock);
	e->total = f.total;
	e->folded = f.folded;
	pthread_mutex_unlock(&e->lock);
	if (f.space == DYN_SPACE_COUNT)
		end_fold(e);
	return 0;
}

static int
trim_slice(struct engine *e, size_t budget)
{
	size_t rows = budget / MAX(e->trim_bytes, 1) + 1;
	int64_t last = MIN(e->trim_to, e->trimmed + (int64_t)rows);
	int rc;

	rc = sqlfile_begin(&e->file, false);
	if (rc != 0)
		return rc;
	rc = sqlfile_trim(&e->file, last);
	if (rc == 0)
		rc = sqlfile_commit(&e->file);
	if (rc != 0) {
		sqlfile_abort(&e->file);
		return rc;
	}
	e->trimmed = last;
	return 0;
}

/* The journal before the rows: what is trimmed is free for what is folded. */
static void
work_slice(struct engine *e, size_t budget)
{
	if (e->trimmed < e->trim_to)
		e->fold_error = trim_slice(e, budget * TRIM_FACTOR);
	else
		e->fold_error = fold_slice(e, budget);
	if (e->fold_error != 0)
		e->fold_again = memtable_size(e->active) + e->tuning.fold_bytes / 8;
}

static bool
may_fold(const struct engine *e)
{
	return e->fold_error == 0 || memtable_size(e->active) >= e->fold_again;
}

static void
checkpoint_at(struct engine *e, int pages)
{
	if (e->file.wal_pages - e->file.wal_done >= pages)
		sqlfile_checkpoint(&e->file);
}

/* After an apply that brought so many bytes. */
static void
pay(struct engine *e, size_t bytes)
{
	if (e->frozen == NULL && memtable_size(e->active) >= e->tuning.fold_bytes)
		freeze(e);
	if (is_folding(e) && may_fold(e))
		work_slice(e, bytes * PAY_FACTOR + PAY_MIN);
	checkpoint_at(e, e->tuning.checkpoint_pages);
}

static int
idle(void *self)
{
	struct engine *e = self;

	if (e->file.failed != 0)
		return 0;
	if (!is_folding(e) && memtable_size(e->active) >= e->tuning.idle_bytes)
		freeze(e);
	if (is_folding(e) && may_fold(e)) {
		work_slice(e, IDLE_SLICE);
		checkpoint_at(e, e->tuning.checkpoint_pages);
		return e->fold_error == 0;
	}
	checkpoint_at(e, e->tuning.checkpoint_pages / 4);
	return 0;
}

/* ----------------------------------------------------------------- writing */

static int
append_parts(struct engine *e, const struct mem_batch *batch, bool synced, int64_t *seq)
{
	int rc;

	rc = sqlfile_begin(&e->file, synced);
	if (rc != 0)
		return rc;
	for (struct mem_part *p = batch->first; p != NULL && rc == 0; p = p->next)
		rc = sqlfile_append(&e->file, ++*seq, buf_slice(p->blob));
	if (rc == 0)
		rc = sqlfile_commit(&e->file);
	if (rc != 0)
		sqlfile_abort(&e->file);
	return rc;
}

static int
apply(
    void *self, const struct dyn_row *rows, size_t count, enum dyn_durability durability)
{
	struct engine *e = self;
	bool synced = durability == DYN_DURABLE_DEFAULT || durability == DYN_DURABLE_DISK;
	struct mem_batch batch;
	int64_t seq = e->seq;
	size_t bytes;
	int rc;

	if (e->file.failed != 0)
		return e->file.failed;
	if (count == 0)
		return synced ? sqlfile_sync(&e->file) : 0;
	/* Folding fails for long: better to refuse than to grow for ever. */
	if (e->fold_error != 0 &&
	    memtable_size(e->active) > e->tuning.fold_bytes * UNFOLDED_MAX) {
		work_slice(e, IDLE_SLICE);
		if (e->fold_error != 0)
			return e->fold_error;
	}
	rc = memtable_stage(e->active, rows, count, &batch);
	if (rc != 0)
		return rc;
	rc = append_parts(e, &batch, synced, &seq);
	if (rc != 0) {
		memtable_discard(&batch);
		return rc;
	}
	bytes = batch.bytes;
	memtable_publish(e->active, &batch);
	e->seq = seq;
	pay(e, bytes);
	return 0;
}

/* Some ids to remove. */
struct doomed {
	struct dyn_row rows[DROP_ROWS];
	struct buf *ids[DROP_ROWS];
	size_t count;
	int rc;
};

static int
collect(void *arg, struct dyn_slice id, struct dyn_slice value)
{
	struct doomed *d = arg;
	struct buf *copy = buf_copy(id.data, id.len);

	(void)value;
	if (copy == NULL) {
		d->rc = DYN_ENOMEM;
		return 1;
	}
	d->ids[d->count] = copy;
	d->rows[d->count].id = buf_slice(copy);
	return ++d->count == DROP_ROWS;
}

/* Remove the next rows after *after, which becomes the last of them. */
static int
drop_some(struct engine *e, struct doomed *d, enum dyn_space space, struct buf **after,
    struct dyn_slice last)
{
	int rc;

	memset(d, 0, sizeof(*d));
	rc = scan(e, space, buf_slice(*after), last, collect, d);
	if (rc == 0)
		rc = d->rc;
	for (size_t i = 0; i < d->count; i++)
		d->rows[i].space = space;
	if (rc == 0 && d->count > 0)
		rc = apply(e, d->rows, d->count, DYN_DURABLE_OS);
	if (d->count > 0) {
		buf_unref(*after);
		*after = buf_ref(d->ids[d->count - 1]);
	}
	for (size_t i = 0; i < d->count; i++)
		buf_unref(d->ids[i]);
	return rc;
}

static int
drop_after(
    struct engine *e, enum dyn_space space, struct dyn_slice first, struct dyn_slice last)
{
	struct buf *after = buf_copy(first.data, first.len);
	struct doomed *d = mem_alloc(sizeof(*d));
	int rc = after != NULL && d != NULL ? 0 : DYN_ENOMEM;

	while (rc == 0) {
		rc = drop_some(e, d, space, &after, last);
		if (rc == 0 && d->count < DROP_ROWS)
			break;
	}
	buf_unref(after);
	mem_free(d);
	return rc;
}

/*
 * A drop is a row of removals for each row there is: it needs no form of its
 * own in journal, memory and file.  Not atomic: a crash, or a scan at the same
 * time, may find a part of it done.
 */
static int
drop(void *self, enum dyn_space space, struct dyn_slice first, struct dyn_slice last)
{
	struct engine *e = self;
	struct dyn_row row = {.space = space, .id = first};
	int rc;

	if ((unsigned)space >= DYN_SPACE_COUNT || first.data == NULL || last.data == NULL)
		return DYN_EINVAL;
	if (slice_compare(first, last) > 0)
		return 0;
	/* A scan begins after an id: the first goes by itself. */
	rc = apply(e, &row, 1, DYN_DURABLE_OS);
	return rc != 0 ? rc : drop_after(e, space, first, last);
}

static int
sync_all(void *self)
{
	struct engine *e = self;

	return sqlfile_sync(&e->file);
}

static int
info(void *self, struct dyn_engine_info *out)
{
	struct engine *e = self;
	struct mem_count active, frozen = {0, 0, 0};
	uint64_t removed;

	pthread_mutex_lock(&e->lock);
	active = memtable_count(e->active);
	if (e->frozen != NULL)
		frozen = memtable_count(e->frozen);
	out->rows = e->total.rows + active.rows + frozen.rows - e->folded.rows;
	out->bytes = e->total.bytes + active.bytes + frozen.bytes - e->folded.bytes;
	/* A removal in memory most likely removes something below. */
	removed = active.removed + frozen.removed - e->folded.removed;
	out->rows -= MIN(out->rows, removed);
	pthread_mutex_unlock(&e->lock);
	return 0;
}

/* ---------------------------------------------------------- open and close */

static int
close_engine(void *self)
{
	struct engine *e = self;
	struct reader *r;
	int rc;

	while ((r = e->readers) != NULL) {
		e->readers = r->next;
		reader_close(r);
	}
	rc = sqlfile_close(&e->file);
	memtable_unref(e->active);
	memtable_unref(e->frozen);
	pthread_mutex_destroy(&e->lock);
	mem_free(e->path);
	mem_free(e);
	return rc;
}

static int
replay_row(void *arg, int64_t seq, struct dyn_slice part)
{
	struct engine *e = arg;
	struct mem_batch batch;
	int rc;

	/* The rows are consecutive: a hole is a batch that was lost. */
	if (e->seq != 0 && seq != e->seq + 1)
		return DYN_ECORRUPT;
	rc = memtable_restage(e->active, part, &batch);
	if (rc != 0)
		return rc;
	memtable_publish(e->active, &batch);
	if (e->seq == 0)
		e->trimmed = e->trim_to = seq - 1;
	e->seq = seq;
	return 0;
}

static int
recover(struct engine *e, const char *path, struct dyn_error *error)
{
	int rc;

	rc = sqlfile_read_total(&e->file, &e->total);
	if (rc != 0)
		return error_set(error, rc, "%s: cannot read the table of totals", path);
	rc = sqlfile_replay(&e->file, replay_row, e);
	if (rc == DYN_ECORRUPT)
		return error_set(error, rc, "%s: the journal is damaged after row %lld",
		    path, (long long)e->seq);
	if (rc != 0)
		return error_set(error, rc, "%s: journal: %s", path, dyn_strerror(rc));
	return 0;
}

static void
fill_base(struct engine *e)
{
	e->base = (struct dyn_engine){
	    .size = sizeof(struct dyn_engine),
	    .self = e,
	    .get = get,
	    .apply = apply,
	    .scan = scan,
	    .drop = drop,
	    .sync = sync_all,
	    .idle = idle,
	    .info = info,
	    .close = close_engine,
	};
}

int
engine_sqlite_open(struct dyn_engine **out, const char *path,
    const struct engine_tuning *tuning, struct dyn_error *error)
{
	struct engine *e;
	int rc;

	*out = NULL;
	e = mem_zalloc(sizeof(*e));
	if (e == NULL)
		return error_set(error, DYN_ENOMEM, "out of memory");
	fill_base(e);
	e->tuning = tuning != NULL ? *tuning : defaults;
	pthread_mutex_init(&e->lock, NULL);
	e->path = mem_strdup(path);
	e->active = memtable_new();
	if (e->path == NULL || e->active == NULL)
		rc = error_set(error, DYN_ENOMEM, "out of memory");
	else
		rc = sqlfile_open(&e->file, path, error);
	if (rc == 0)
		rc = recover(e, path, error);
	if (rc != 0) {
		(void)close_engine(e);
		return rc;
	}
	*out = &e->base;
	return error_set(error, 0, "%s", "");
}

int
dyn_engine_sqlite(struct dyn_engine **out, const char *path, struct dyn_error *error)
{
	if (out == NULL || path == NULL)
		return error_set(error, DYN_EINVAL, "%s", dyn_strerror(DYN_EINVAL));
	return engine_sqlite_open(out, path, NULL, error);
}
