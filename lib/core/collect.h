/*
 * Forgetting (DESIGN 7): tombstones and what has expired go away, and clocks that
 * have grown lose what no comparison needs any more.  One machine a node, on the
 * sync thread.
 *
 * WHEN IT IS SAFE.  A copy may forget events of a key when nothing that is older
 * than them can come to it any more: then nobody can bring back what they had
 * replaced.  Older objects may be in the copies of other owners, in hints, in
 * frames and requests on their way, and in directories that are put back.  So the
 * first owner of a partition takes these steps, and no clock has a say:
 *
 *	LOOKING   all members are there, none keeps a hint for the partition, and none
 *	          that does not own it has rows of it (SWEEPING)
 *	AGREEING  all owners have merged the rows as they are here, on disk.  From
 *	          here on whatever is read from a copy of theirs covers those events
 *	READY     a fence is wanted: the next table, with the same owners
 *	          (table_collect).  Everybody follows to it like to any other
 *	          (view.h).  From then on what was read before is known by its head,
 *	          and is refused or read again: PUT, repairs and hints by the receiver
 *	          (core/replica.c, arrive.c), what this node has in hand by core/read.c
 *	          and write.c, rows on their way to a worker by the worker's fence
 *	LOOKING_AGAIN  all members are behind the fence, have it on disk, and none
 *	          keeps a hint for the partition: none of those from before is left
 *	DROPPING  each owner forgets, of the rows that are still what they were
 *
 * Who has not heard yet that the table is settled says so, and is asked again in a
 * while: the first to hear of it is likely to be the one that waits for it.  And who
 * wants the next fence gives those that waited for this one the time to use it.
 *
 * A member that is down holds all of this up, as nobody else can say what it keeps
 * (PAINS 5-7).  A directory that is put back from before the fence is found out by
 * the table of its view, and cleared before it takes part (core/member.h, STALE).
 *
 * A forgotten event must not happen twice: a context that is kept for long would
 * cover the second.  So an owner mints nothing at or below the largest counter of
 * its actor that it has forgotten, of whatever key (struct store, floor); a start
 * after that is one under another actor (the row FORGOT_ROW).  The same holds for rows
 * that are swept away.
 *
 * What one owner has forgotten and another not yet differs, and the exchange of
 * trees may bring it back.  That costs a round and loses nothing.
 *
 * SWEEPING.  When a table is settled, the owners by it hold all that was acknowledged
 * (pull.h), and what lies here of partitions that this node does not own goes; it
 * would be an old copy if they came back.  First every worker says that it goes by the
 * settled table and that all it took before is committed: until it knew, it took what
 * owners by base do.  Until that is done this node takes part in no round.
 *
 * WISHES.  Names of rows that have something to forget are noted when they are
 * committed (struct change) and when a tree is built or verified, by the first owner,
 * and who becomes it looks at the rows then (core/trees.h); nothing of it is kept on
 * disk.  One fence serves all members that are READY, so they ask for it
 * no more often than once in GAP.
 */
#ifndef DYN_COLLECT_H
#define DYN_COLLECT_H

#include "core/admit.h"
#include "core/hint.h"
#include "core/machine.h"
#include "core/rows.h"

#define COLLECT_PERIOD (60 * NS_PER_S)   /* between rounds of this node */
#define COLLECT_GAP (30 * NS_PER_S)      /* between fences; at most half a period */
#define COLLECT_PATIENCE (10 * NS_PER_S) /* for the answers of one step */
#define COLLECT_REST (1 * NS_PER_S)      /* before a step is tried again */
#define COLLECT_LOOKING (30 * NS_PER_S)  /* at those that are not so far yet */
#define COLLECT_WAIT (120 * NS_PER_S)    /* for a fence */
#define COLLECT_WISHES 65536
#define COLLECT_ROWS 16384               /* in one round */
#define COLLECT_BYTES (200 << 10)        /* of rows of one partition, in one round, or one row */
#define COLLECT_EXPIRY_MARGIN 120000     /* ms; owners' clocks may differ */

/* There: the actor of this directory has forgotten something. */
#define FORGOT_ROW "forgot"

struct collect;

struct collect_options {
	struct dyn_id self;
	struct dyn_engine *engine; /* borrowed: read only */
	struct hint *hint;         /* borrowed */
	struct admit *admit;       /* borrowed */
	unsigned workers;
	uint64_t period;           /* ns; 0 = COLLECT_PERIOD */
};

struct collect_figures {
	uint64_t wishes; /* rows that have something to forget, as far as is known here */
	uint64_t rounds; /* that this node took to their end */
	uint64_t asked;  /* rows that owners were told to forget something of */
};

int collect_new(struct collect **out, const struct collect_options *, struct moment) DYN_CHECK;
void collect_free(struct collect *);
void collect_view(struct collect *, struct view *, struct moment, struct outbox *);
/* All workers of this node are behind the fence of this view, and it is on disk. */
void collect_fenced(struct collect *, struct view *, struct moment, struct outbox *);
void collect_changed(struct collect *, const struct changes *);
/* A row that was scanned: for trees_options.row. */
void collect_row(void *collect, struct dyn_slice name, struct dyn_slice value);
/* Is the number that of a REPAIR of this machine? */
bool collect_is_number(uint64_t request);
/* COLLECT, COLLECT_ACK, and REPAIR_ACK with such a number.  DYN_EPROTO: close the
 * connection. */
int collect_frame(struct collect *, const struct dyn_id *from, uint64_t conn,
    const struct frame *, const union msg *, struct moment, struct outbox *) DYN_CHECK;
/* ROWS_AGREE, ROWS_FORGET, ROWS_SETTLED, ROWS_LEFT, ROWS_CLEAR.  Takes them over. */
void collect_stored(struct collect *, struct rows *, int rc, struct moment, struct outbox *);
void collect_lost(struct collect *, const struct dyn_id *, struct moment, struct outbox *);
/* The copies here are out of date (core/member.h, STALE): clear them, then
 * FX_CLEARED. */
void collect_clear(struct collect *, struct moment, struct outbox *);
uint64_t collect_wake(const struct collect *);
void collect_tick(struct collect *, struct moment, struct outbox *);
void collect_figures(const struct collect *, struct collect_figures *);

#endif
