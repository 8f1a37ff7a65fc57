/*
 * The storage engine that forgets: rows in memory only.
 *
 * The same table as in front of the SQLite file (memtable.h), alone.  What was
 * overwritten or removed stays in it until it is more than what is useful;
 * then the useful rows are copied to a new table.  A reader keeps the table
 * it began with.
 */
#include "host/engine.h"
#include "host/memtable.h"

#include <pthread.h>

/* Less waste than this is not worth a copy. */
#define WASTE_MIN ((size_t)1 << 20)
/* Rows copied at once. */
#define COPY_ROWS 256

struct memory {
	struct dyn_engine base;
	pthread_mutex_t lock; /* guards table; only the storage thread changes it */
	struct memtable *table;
	size_t copy_at; /* size of the table at which to look for waste */
};

static struct memtable *
take(struct memory *m)
{
	struct memtable *t;

	pthread_mutex_lock(&m->lock);
	t = memtable_ref(m->table);
	pthread_mutex_unlock(&m->lock);
	return t;
}

static int
get(void *self, enum dyn_space space, struct dyn_slice id, struct dyn_buffer *out)
{
	struct memtable *t;
	struct dyn_slice value;
	int rc = DYN_ENOTFOUND;

	if ((unsigned)space >= DYN_SPACE_COUNT)
		return DYN_EINVAL;
	t = take(self);
	if (memtable_find(t, memtable_now(t), space, id, &value) == MEM_ROW)
		rc = dyn_buffer_append(out, value.data, value.len);
	memtable_unref(t);
	return rc;
}

static int
scan(void *self, enum dyn_space space, struct dyn_slice after, struct dyn_slice last,
    dyn_engine_row *visit, void *arg)
{
	struct memtable *t;
	struct mem_iter it;

	if ((unsigned)space >= DYN_SPACE_COUNT)
		return DYN_EINVAL;
	t = take(self);
	mem_iter_init(&it, t, memtable_now(t), space, after);
	for (; it.node != NULL; mem_iter_next(&it)) {
		if (last.data != NULL && slice_compare(it.id, last) > 0)
			break;
		if (it.value.data != NULL && visit(arg, it.id, it.value) != 0)
			break;
	}
	memtable_unref(t);
	return 0;
}

static int
add(struct memtable *t, const struct dyn_row *rows, size_t count)
{
	struct mem_batch batch;
	int rc;

	rc = memtable_stage(t, rows, count, &batch);
	if (rc == 0)
		memtable_publish(t, &batch);
	return rc;
}

static int
copy_space(struct memtable *to, const struct memtable *from, enum dyn_space space)
{
	struct dyn_row rows[COPY_ROWS];
	struct mem_iter it;
	size_t count = 0;
	int rc = 0;

	mem_iter_init(&it, from, UINT64_MAX, space, slice(NULL, 0));
	for (; it.node != NULL && rc == 0; mem_iter_next(&it)) {
		if (it.value.data == NULL)
			continue;
		rows[count++] = (struct dyn_row){space, it.id, it.value};
		if (count == COPY_ROWS) {
			rc = add(to, rows, count);
			count = 0;
		}
	}
	return rc == 0 ? add(to, rows, count) : rc;
}

/* Drop what is useless.  Without memory for it: later. */
static void
shrink(struct memory *m)
{
	struct memtable *old = m->table, *fresh = memtable_new();

	if (fresh == NULL)
		return;
	for (int space = 0; space < DYN_SPACE_COUNT; space++) {
		if (copy_space(fresh, old, (enum dyn_space)space) != 0) {
			memtable_unref(fresh);
			return;
		}
	}
	pthread_mutex_lock(&m->lock);
	m->table = fresh;
	pthread_mutex_unlock(&m->lock);
	memtable_unref(old);
}

static int
apply(
    void *self, const struct dyn_row *rows, size_t count, enum dyn_durability durability)
{
	struct memory *m = self;
	size_t size;
	int rc;

	(void)durability;
	rc = add(m->table, rows, count);
	if (rc != 0)
		return rc;
	size = memtable_size(m->table);
	if (size < m->copy_at)
		return 0;
	if (size > 4 * memtable_useful(m->table) + WASTE_MIN)
		shrink(m);
	/* Look again when it has grown by half: copying costs a share. */
	m->copy_at = memtable_size(m->table) / 2 * 3 + WASTE_MIN;
	return 0;
}

static int
drop(void *self, enum dyn_space space, struct dyn_slice first, struct dyn_slice last)
{
	struct memory *m = self;
	struct dyn_row row = {.space = space, .id = first};
	struct mem_iter it;
	struct memtable *t;
	int rc;

	if ((unsigned)space >= DYN_SPACE_COUNT || first.data == NULL || last.data == NULL)
		return DYN_EINVAL;
	if (slice_compare(first, last) > 0)
		return 0;
	rc = apply(m, &row, 1, DYN_DURABLE_MEMORY);
	t = take(m); /* apply may replace it */
	mem_iter_init(&it, t, memtable_now(t), space, first);
	for (; rc == 0 && it.node != NULL; mem_iter_next(&it)) {
		if (slice_compare(it.id, last) > 0)
			break;
		row.id = it.id;
		if (it.value.data != NULL)
			rc = apply(m, &row, 1, DYN_DURABLE_MEMORY);
	}
	memtable_unref(t);
	return rc;
}

static int
sync_nothing(void *self)
{
	(void)self;
	return 0;
}

static int
info(void *self, struct dyn_engine_info *out)
{
	struct memtable *t = take(self);
	struct mem_count count = memtable_count(t);

	out->rows = count.rows;
	out->bytes = count.bytes;
	memtable_unref(t);
	return 0;
}

static int
close_engine(void *self)
{
	struct memory *m = self;

	memtable_unref(m->table);
	pthread_mutex_destroy(&m->lock);
	mem_free(m);
	return 0;
}

int
dyn_engine_memory(struct dyn_engine **out)
{
	struct memory *m;

	if (out == NULL)
		return DYN_EINVAL;
	*out = NULL;
	m = mem_zalloc(sizeof(*m));
	if (m == NULL)
		return DYN_ENOMEM;
	m->table = memtable_new();
	if (m->table == NULL) {
		mem_free(m);
		return DYN_ENOMEM;
	}
	pthread_mutex_init(&m->lock, NULL);
	m->base = (struct dyn_engine){
	    .size = sizeof(struct dyn_engine),
	    .self = m,
	    .get = get,
	    .apply = apply,
	    .scan = scan,
	    .drop = drop,
	    .sync = sync_nothing,
	    .info = info,
	    .close = close_engine,
	};
	*out = &m->base;
	return 0;
}
