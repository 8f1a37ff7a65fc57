/*
 * The rows an engine holds in memory, in order of their ids.
 *
 * One writer, any number of readers, no lock: a skip list per space whose
 * nodes are never changed nor unlinked.  A new value is a new node in front
 * of the old one, with a higher sequence number; a reader takes the number of
 * the last whole batch (memtable_now) and looks through what is newer.  That
 * makes batches atomic and scans stable for nothing.  The price is that
 * overwritten values stay until the whole table is dropped, so the owner
 * bounds a table's size.
 *
 * A batch is encoded once.  The encoded part is what the journal stores, and
 * the nodes point into it:
 *
 *	u64 check sum of the rest, var count, rows:
 *	u8 space (| 0x80: removed), var-length id, and unless removed:
 *	var length of the value, u64 seal, value
 *
 * The seal is a check sum of id and value.  Seal and value lie side by side
 * because that is what the file keeps (memtable_stored): SQLite has no check
 * sums of its own, and a flipped bit must not become an answer.
 */
#ifndef DYN_MEMTABLE_H
#define DYN_MEMTABLE_H

#include "base/buf.h"

#include <stdatomic.h>

struct memtable;

/* A piece of a batch: one journal row. */
struct mem_part {
	struct mem_part *next;
	struct buf *blob;
	size_t count;
	/* nodes follow */
};

/* Rows about to become visible.  Everything that can fail is behind them. */
struct mem_batch {
	struct mem_part *first, *last;
	size_t bytes; /* memory it takes */
};

struct memtable *memtable_new(void);
struct memtable *memtable_ref(struct memtable *);
void memtable_unref(struct memtable *); /* NULL is allowed */

/* Writer: encode rows; they are not visible yet.  DYN_EINVAL (no such space),
 * DYN_ENOMEM, DYN_ETOOBIG. */
int memtable_stage(struct memtable *, const struct dyn_row *rows, size_t count,
    struct mem_batch *) DYN_CHECK;
/* Writer: the same from a part that was stored.  DYN_ECORRUPT, DYN_ENOMEM. */
int memtable_restage(
    struct memtable *, struct dyn_slice part, struct mem_batch *) DYN_CHECK;
void memtable_discard(struct mem_batch *);
/* Writer: show all rows at once; the batch belongs to the table. */
void memtable_publish(struct memtable *, struct mem_batch *);

/* Number of the last row shown. */
uint64_t memtable_now(const struct memtable *);
/* Memory taken, and how much of it is the newest values. */
size_t memtable_size(const struct memtable *);
size_t memtable_useful(const struct memtable *);
/* Of DYN_SPACE_DATA: ids with a value, their bytes; ids removed. */
struct mem_count {
	uint64_t rows, bytes, removed;
};
struct mem_count memtable_count(const struct memtable *);

/* Bytes of the seal, which is kept in front of a value in the file. */
#define SEAL_LEN 8
/* A value that came from the table, with its seal. */
static inline struct dyn_slice
memtable_stored(struct dyn_slice value)
{
	return slice((const unsigned char *)value.data - SEAL_LEN, value.len + SEAL_LEN);
}
/* Take the seal off.  False if it does not fit id and value. */
bool memtable_unseal(
    struct dyn_slice id, struct dyn_slice stored, struct dyn_slice *value);

enum mem_found { MEM_NONE, MEM_ROW, MEM_REMOVED };
/* value borrows from the table. */
enum mem_found memtable_find(const struct memtable *, uint64_t now, enum dyn_space,
    struct dyn_slice id, struct dyn_slice *value);

/* One row for each id, removed ones too (value.data == NULL). */
struct mem_iter {
	const struct mem_node *node; /* NULL = at the end */
	uint64_t now;
	struct dyn_slice id, value; /* of the current row; borrowed */
};

/* At the first row after an id (after.data NULL: at the very first).
 * memtable NULL: at the end. */
void mem_iter_init(struct mem_iter *, const struct memtable *, uint64_t now,
    enum dyn_space, struct dyn_slice after);
void mem_iter_next(struct mem_iter *);

#endif
