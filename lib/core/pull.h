/*
 * A newcomer gets its share (paper 4.9, 6.2; DESIGN 6), and the other end of
 * that: an owner hands rows out.  One machine a node, on the sync thread.
 *
 * When the current table gives this node partitions that it does not own by
 * base, or a place nearer the front of their lists, it pulls each from the
 * owners by base, row by row in name order, and merges the rows into its own
 * copy.  Meanwhile writes reach it already
 * (view_writers), reads do not (view_readers).  When all are complete it says
 * so (FX_SYNCED); when all members have, reads go by current, and when all do
 * that, the old owners are let go (view.h).
 *
 * Why nothing acknowledged is missed.  An owner serves PULL only when fenced:
 * all its workers refuse writes of older tables, and what they took before is
 * committed, so the scan sees it.  Hence a write that this owner acknowledged
 * is either in the scan or was sent by a coordinator that also had to meet W
 * among the current owners.  A write acknowledged by W of n base owners is met
 * if n - W + 1 of them were scanned.  But a call may have asked for a smaller W
 * than is usual, down to one copy; so every owner by base that is still a member
 * is scanned, however long that takes: it holds up the next step anyway
 * (view.h).  Only those that left, or whose storage is broken, are done without; of the
 * latter so many that n - W + 1 were scanned.  Where fewer than that are still members,
 * because the others were forgotten, those have to do: nobody else has anything.
 *
 * What was pulled under one table does not count for the next one: a fork may
 * have had coordinators that knew nothing of us.  (Rows stay; merging them
 * again changes nothing.)
 *
 * Who calls comes first: while the worker is called, few rows are on their way, and a
 * pause follows them.  How long they took to be stored tells how busy the worker and the
 * disk are, with these rows too; the pause grows with the square of it.
 *
 * A task is one partition on its way:
 *
 *	ASKING  --rows--> STORING --durable--> PAUSING
 *	PAUSING --timer--> ASKING (after the last name; or the next source; or DONE)
 *	ASKING  --refused, lost, late--> the next source; RESTING when none is left
 *	RESTING --timer--> ASKING
 */
#ifndef DYN_PULL_H
#define DYN_PULL_H

#include "base/list.h"
#include "core/machine.h"
#include "core/rows.h"
#include "model/key.h"

/* Partitions on their way at once, and bytes of rows in one answer, where nobody calls;
 * and where the worker was called within PULL_QUIET: calls wait behind rows, in the worker
 * and in the commit. */
#define PULL_TASKS 8
#define PULL_BYTES (256 << 10)
#define PULL_TASKS_CALLED 2
#define PULL_BYTES_CALLED (64 << 10)
#define PULL_QUIET (100 * NS_PER_MS)
#define PULL_PATIENCE (5 * NS_PER_S)
#define PULL_REST (50 * NS_PER_MS) /* a refusal (not fenced yet) passes quickly */
/* There, rows that took so long to store are followed by a pause as long; such that took
 * twice as long, by one of four times as long. */
#define PULL_EASY (10 * NS_PER_MS)
#define PULL_PAUSE_TIMES 4         /* what they took: the longest pause */

struct pull;

struct hint;

struct pull_options {
	struct dyn_id self;
	struct dyn_engine *engine; /* borrowed: scanned for others */
	unsigned w;                /* the usual W: see above */
	const struct hint *hint;   /* borrowed: who leaves hands them over first; or NULL */
};

int pull_new(struct pull **out, const struct pull_options *) DYN_CHECK;
void pull_free(struct pull *);
/* The view changed.  The caller must then fence every worker by it and call
 * pull_fenced. */
void pull_view(struct pull *, struct view *, struct moment, struct outbox *);
void pull_fenced(struct pull *, struct view *);
/* PULL or PULL_ACK on a sync connection. */
int pull_frame(struct pull *, const struct dyn_id *from, uint64_t conn, const struct frame *,
    const union msg *, struct moment, struct outbox *) DYN_CHECK;
void pull_stored(struct pull *, struct rows *, int rc, struct moment, struct outbox *);
void pull_lost(struct pull *, const struct dyn_id *, struct moment, struct outbox *);
uint64_t pull_wake(const struct pull *);
void pull_tick(struct pull *, struct moment, struct outbox *);
unsigned pull_pending(const struct pull *); /* partitions not complete yet */

#endif
