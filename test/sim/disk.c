/*
 * Design.  One sorted array of rows, as they are now; and the log: of each
 * transaction since the last one that went to disk, the rows as they were
 * before it.  A crash takes transactions back from the last one.
 */
#include "test/sim/disk.h"

#include "test/core_script.h"

#include <stdlib.h>

struct item {
	enum dyn_space space;
	struct buf *id, *value;
	bool damaged; /* what was written is there, and cannot be read */
};

struct undo {
	bool begins; /* the first of its transaction */
	struct item before; /* value NULL: it was not there */
};

struct disk {
	struct dyn_engine engine;
	struct item *items;
	size_t count, cap;
	struct undo *log;
	size_t log_count, log_cap;
	struct rng *rng;
	unsigned fail_read; /* in 1,000 */
};

static int
compare(const struct item *a, enum dyn_space space, struct dyn_slice id)
{
	if (a->space != space)
		return a->space < space ? -1 : 1;
	return slice_compare(buf_slice(a->id), id);
}

/* The first item not before this one. */
static size_t
lower(const struct disk *d, enum dyn_space space, struct dyn_slice id)
{
	size_t from = 0, to = d->count;

	while (from < to) {
		size_t middle = (from + to) / 2;

		if (compare(&d->items[middle], space, id) < 0)
			from = middle + 1;
		else
			to = middle;
	}
	return from;
}

static struct item *
find(const struct disk *d, enum dyn_space space, struct dyn_slice id)
{
	size_t i = lower(d, space, id);

	return i < d->count && compare(&d->items[i], space, id) == 0 ? &d->items[i] : NULL;
}

static void *
grow(void *list, size_t count, size_t *cap, size_t size)
{
	if (count < *cap)
		return list;
	*cap = *cap == 0 ? 16 : *cap * 2;
	list = realloc(list, *cap * size);
	DEMAND(list != NULL);
	return list;
}

/* Takes over the value; NULL removes the row. */
static void
set(struct disk *d, enum dyn_space space, struct dyn_slice id, struct buf *value)
{
	size_t i = lower(d, space, id);
	bool there = i < d->count && compare(&d->items[i], space, id) == 0;

	if (there && value != NULL) {
		buf_unref(d->items[i].value);
		d->items[i].value = value;
		d->items[i].damaged = false;
	} else if (there) {
		buf_unref(d->items[i].id);
		buf_unref(d->items[i].value);
		memmove(d->items + i, d->items + i + 1, (--d->count - i) * sizeof(*d->items));
	} else if (value != NULL) {
		d->items = grow(d->items, d->count, &d->cap, sizeof(*d->items));
		memmove(d->items + i + 1, d->items + i, (d->count++ - i) * sizeof(*d->items));
		d->items[i] = (struct item){ .space = space, .id = buf_copy(id.data, id.len),
			.value = value };
		DEMAND(d->items[i].id != NULL);
	}
}

static void
log_before(struct disk *d, enum dyn_space space, struct dyn_slice id, bool begins)
{
	const struct item *now = find(d, space, id);
	struct undo *u;

	d->log = grow(d->log, d->log_count, &d->log_cap, sizeof(*d->log));
	u = &d->log[d->log_count++];
	*u = (struct undo){ begins, { .space = space, .id = buf_copy(id.data, id.len) } };
	DEMAND(u->before.id != NULL);
	if (now != NULL) {
		u->before.value = buf_ref(now->value);
		u->before.damaged = now->damaged;
	}
}

static int
disk_sync(void *self)
{
	struct disk *d = self;

	while (d->log_count > 0) {
		struct undo *u = &d->log[--d->log_count];

		buf_unref(u->before.id);
		buf_unref(u->before.value);
	}
	return 0;
}

static bool
read_fails(struct disk *d)
{
	return d->fail_read > 0 && rng_below(d->rng, 1000) < d->fail_read;
}

static int
disk_get(void *self, enum dyn_space space, struct dyn_slice id, struct dyn_buffer *out)
{
	const struct item *i = find(self, space, id);

	if (read_fails(self))
		return DYN_EIO;
	if (i != NULL && i->damaged)
		return DYN_ECORRUPT;
	return i == NULL ? DYN_ENOTFOUND : dyn_buffer_append(out, i->value->data, i->value->len);
}

static int
disk_apply(void *self, const struct dyn_row *rows, size_t count, enum dyn_durability durability)
{
	struct disk *d = self;

	for (size_t i = 0; i < count; i++) {
		struct buf *value = NULL;

		if (rows[i].value.data != NULL) {
			value = buf_copy(rows[i].value.data, rows[i].value.len);
			DEMAND(value != NULL);
		}
		log_before(d, rows[i].space, rows[i].id, i == 0);
		set(d, rows[i].space, rows[i].id, value);
	}
	return durability == DYN_DURABLE_DISK ? disk_sync(d) : 0;
}

static int
disk_scan(void *self, enum dyn_space space, struct dyn_slice after, struct dyn_slice last,
    dyn_engine_row *visit, void *arg)
{
	struct disk *d = self;
	size_t fails = read_fails(d) ? rng_below(d->rng, 4) : SIZE_MAX; /* after so many rows */

	for (size_t i = lower(d, space, after); i < d->count && d->items[i].space == space; i++) {
		struct dyn_slice id = buf_slice(d->items[i].id);

		if (after.data != NULL && slice_compare(id, after) == 0)
			continue;
		if (last.data != NULL && slice_compare(id, last) > 0)
			break;
		if (fails-- == 0)
			return DYN_EIO;
		if (visit(arg, id, d->items[i].damaged ? slice(NULL, 0) :
		    buf_slice(d->items[i].value)) != 0)
			break; /* which is no error */
	}
	return 0;
}

static int
disk_drop(void *self, enum dyn_space space, struct dyn_slice first, struct dyn_slice last)
{
	struct disk *d = self;
	bool begins = true;
	size_t i;

	while ((i = lower(d, space, first)) < d->count && compare(&d->items[i], space, last) <= 0) {
		struct buf *id = buf_ref(d->items[i].id);

		log_before(d, space, buf_slice(id), begins);
		set(d, space, buf_slice(id), NULL);
		buf_unref(id);
		begins = false;
	}
	return 0;
}

static int
disk_info(void *self, struct dyn_engine_info *info)
{
	(void)self;
	(void)info;
	return 0;
}

static int
disk_close(void *self)
{
	return disk_sync(self);
}

struct disk *
disk_new(void)
{
	struct disk *d = calloc(1, sizeof(*d));

	DEMAND(d != NULL);
	d->engine = (struct dyn_engine){ .size = sizeof(d->engine), .self = d, .get = disk_get,
		.apply = disk_apply, .scan = disk_scan, .drop = disk_drop, .sync = disk_sync,
		.info = disk_info, .close = disk_close };
	return d;
}

void
disk_free(struct disk *d)
{
	if (d == NULL)
		return;
	disk_sync(d);
	for (size_t i = 0; i < d->count; i++) {
		buf_unref(d->items[i].id);
		buf_unref(d->items[i].value);
	}
	free(d->items);
	free(d->log);
	free(d);
}

struct disk *
disk_copy(const struct disk *d)
{
	struct disk *copy = disk_new();

	for (size_t i = 0; i < d->count; i++)
		set(copy, d->items[i].space, buf_slice(d->items[i].id),
		    buf_ref(d->items[i].value));
	DEMAND(copy->count == d->count);
	for (size_t i = 0; i < d->count; i++)
		copy->items[i].damaged = d->items[i].damaged;
	return copy;
}

void
disk_fail_reads(struct disk *d, struct rng *rng, unsigned in_thousand)
{
	d->rng = rng;
	d->fail_read = in_thousand;
}

struct dyn_engine *
disk_engine(struct disk *d)
{
	return &d->engine;
}

void
disk_crash(struct disk *d, struct rng *rng)
{
	size_t transactions = 0, lost;

	for (size_t i = 0; i < d->log_count; i++)
		transactions += d->log[i].begins;
	for (lost = rng_below(rng, transactions + 1); lost > 0;) {
		struct undo *u = &d->log[--d->log_count];

		lost -= u->begins;
		set(d, u->before.space, buf_slice(u->before.id), u->before.value);
		if (u->before.damaged)
			find(d, u->before.space, buf_slice(u->before.id))->damaged = true;
		buf_unref(u->before.id);
	}
	disk_sync(d);
}

unsigned
disk_damage(struct disk *d, struct rng *rng)
{
	unsigned rows = 0;

	for (size_t i = 0; i < d->count; i++)
		if (d->items[i].space == DYN_SPACE_DATA && rng_below(rng, 2) == 0) {
			d->items[i].damaged = true;
			rows++;
		}
	return rows;
}

struct dyn_slice
disk_find(struct disk *d, enum dyn_space space, struct dyn_slice id)
{
	const struct item *i = find(d, space, id);

	return i != NULL && !i->damaged ? buf_slice(i->value) : slice(NULL, 0);
}
