/*
 * What travels between the sync thread and the workers: rows to merge into the
 * copies, and the changes of rows that were committed.
 *
 * ROWS go from the sync thread to the worker of their partition (FX_ROWS) and
 * come back when they are durable (FX_STORED); which machine they are of stays
 * with them.
 *
 * CHANGES go the other way, after each commit (FX_CHANGED): of every row that
 * the batch changed, the digest of its value before and after.  Only what is
 * committed is told, in the order of commits, so who adds them up (trees,
 * ledgers of hints) knows the state of the engine and never more.
 */
#ifndef DYN_ROWS_H
#define DYN_ROWS_H

#include "base/buf.h"
#include "model/key.h"

enum rows_of {
	ROWS_PULL,
	ROWS_HINT,    /* hints of this node that are for itself by now */
	ROWS_DROP,    /* hints of this node to forget: bytes as in work_drop */
	ROWS_ARRIVED, /* a peer sent them to be merged (core/arrive.h) */
	ROWS_REPAIR,  /* this node asked for them (core/repair.h) */
	ROWS_AGREE,   /* rows of this node that are to be on disk (core/collect.h) */
	ROWS_FORGET,  /* rows of which something can be forgotten: (slice name, digest)* */
	ROWS_SETTLED, /* none: as FENCE, of each worker; the view here is a settled one */
	ROWS_LEFT,    /* rows of a partition that this node does not own any more: (slice
	               * name)* */
	ROWS_DAMAGED, /* rows that cannot be read, to be removed if that is so: (slice
	               * name)* */
	ROWS_CLEAR,   /* rows of a copy that is out of date: (u8 space, slice id)* */
	ROWS_FENCE    /* none: they come back when all is committed that was given
	               * to storage before */
};

/* Room for the host's struct letter. */
struct letter_space {
	void *space[2];
};

/* The effect's `what`. */
struct rows {
	enum rows_of of;
	struct buf *bytes; /* (slice name, slice object)*, as in PULL_ACK; or see DROP */
	unsigned partition;
	uint64_t number;   /* the machine's own */
	struct letter_space letter; /* to the worker and back: must not need memory */
	void *to;                   /* the host's */
	int rc;
	uint64_t quiet; /* back from the worker: for how long nobody has called it, ns */
};

struct rows *rows_new(enum rows_of, unsigned partition, uint64_t number, struct dyn_slice bytes);
void rows_free(struct rows *);
/* What a peer sends: are these rows of that partition, in ascending order?  The
 * last name is borrowed; empty if there are none. */
bool rows_check(struct dyn_slice bytes, unsigned partition, unsigned partitions,
    struct dyn_slice *last) DYN_CHECK;

struct change {
	struct buf *name;             /* the row's id */
	enum dyn_space space;
	struct digest before, after;  /* of the value; all zero = no row */
	uint32_t bytes_before, bytes_after; /* of the value */
	bool old;                     /* something of it can be forgotten, now or later */
	bool lost;                    /* a hint that could not be read has gone */
	struct due *room;             /* a new hint's: see hint_room */
};

/* The effect's `what`. */
struct changes {
	struct change *list;
	size_t count;
	struct letter_space letter; /* telling them must not need memory */
	void *to;                   /* the host's */
};

void changes_free(struct changes *);

/* Of a row's value, bound to its id; zero for an empty value (no row).  Equal
 * rows have equal digests at every node; not for adversaries. */
void row_digest(struct dyn_slice id, struct dyn_slice value, struct digest *out);

#endif
