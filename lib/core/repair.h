/*
 * Anti-entropy (paper 4.7): copies of the same partition come to hold the same,
 * whatever was lost on the way; and which copies of this node are not to be relied
 * on until they do.
 *
 * EXCHANGE.  Every PERIOD with each member that owns a partition this node owns
 * too, one at a time with each:
 *
 *	WAITING --TREES--> ROOTS --the sums are equal--> WAITING
 *	                     |     \--for each partition whose root differs:
 *	                     +--TREE--> NODES --LEAVES--> ROWS --> STORING --> PUSHING --+
 *	                     |                  ^-------- more of the partition ---------+
 *	                     +<------------------------------------- the partition ends --+
 *
 * The sum of all roots is 16 bytes, so a pair that agrees exchanges two small
 * frames.  Else the answer lists the roots; a partition that differs costs a frame
 * with 16 nodes and its answer; then the names and digests of the rows in the
 * leaves that differ are compared, and only rows that differ travel: the asked
 * sends those that the asking lacks or has otherwise, the asking merges them, and
 * sends back what the asked lacks, merged.  So one exchange makes both equal, at a
 * cost of what differs times the depth.  So one of a pair asks, and the other leaves
 * it at that for a while (yields, in repair_serve.c).  Only partitions that both own by base and
 * by current take part; while owners change, pull.c moves the rest.
 *
 * CATCHING UP.  A copy is marked when it may lack what it once had, or was owed:
 * the directory was lost or is an old one (everything), somebody spilled hints for
 * it (BEHIND), rows cannot be read.  A marked copy takes writes, and what it has is
 * merged into reads, but its answers do not count towards R: its "not found" says
 * nothing (core/replica.h).  The mark is durable, and is taken off when an exchange
 * about the partition, begun here since it was marked, has ended well with every
 * other owner: any acknowledged write that this copy lacks is at one of them, or on
 * its way to this node as a hint.  What was asked before, or what they asked with,
 * may be older than the loss.
 *
 * Pieces are paid for (core/admit.h) on both sides.
 */
#ifndef DYN_REPAIR_H
#define DYN_REPAIR_H

#include "core/arrive.h"
#include "core/trees.h"

#define REPAIR_PERIOD (10 * NS_PER_S)
#define REPAIR_PATIENCE (10 * NS_PER_S) /* for an answer, for rows to be stored */
#define REPAIR_RETRY (2 * NS_PER_S)     /* after a failure */
#define REPAIR_REST (50 * NS_PER_MS)    /* it is busy */
#define REPAIR_BYTES (256 << 10)        /* of rows in one frame */
#define REPAIR_LIST (128 << 10)         /* of names and digests in one frame */
#define REPAIR_AT_ONCE 3                /* exchanges in progress */

/* The row of the marks: a bit for each partition; or this byte for all of them, as
 * long as it is not known how many there are. */
#define CATCHING_ROW "catching"
#define CATCHING_ALL "\1"

struct repair;

struct repair_options {
	struct dyn_id self;
	struct dyn_engine *engine; /* borrowed: read only */
	struct trees *trees;       /* borrowed */
	struct admit *admit;       /* borrowed */
	bool lost;                 /* all copies may lack something: repair_lost_all */
	uint64_t period;           /* 0 = REPAIR_PERIOD */
};

struct repair_figures {
	unsigned catching;    /* partitions marked */
	unsigned differing;   /* partitions that were not equal with somebody last time */
	uint64_t lag_ms;      /* since when one was not known to be equal with all others */
	uint64_t exchanges, took, gave; /* that ended; rows taken, rows given */
};

/* Reads the marks.  DYN_ENOMEM, engine errors. */
int repair_new(struct repair **out, const struct repair_options *, struct moment) DYN_CHECK;
void repair_free(struct repair *);
void repair_view(struct repair *, struct view *, struct moment, struct outbox *);
/* TREES to BEHIND and their answers, but not REPAIR (core/arrive.h) and BEHIND_ACK
 * (core/hint.h).  DYN_EPROTO: close the connection. */
int repair_frame(struct repair *, const struct dyn_id *from, uint64_t conn,
    const struct frame *, const union msg *, struct moment, struct outbox *) DYN_CHECK;
/* ROWS_REPAIR.  Takes them over. */
void repair_stored(struct repair *, struct rows *, int rc, struct moment, struct outbox *);
/* A row that went out by FX_META with rc = 1 is on disk, or is not (rc). */
void repair_saved(struct repair *, int rc, struct moment, struct outbox *);
void repair_lost(struct repair *, const struct dyn_id *, struct moment, struct outbox *);
void repair_liveness(struct repair *, const struct dyn_id *, enum dyn_liveness, struct moment);
/* Rows of a partition cannot be read: from the next tick on its copy is marked, until
 * they can be, and were compared. */
void repair_unreadable(struct repair *, unsigned partition);
/* The copy of this partition was found to lack something: is that on disk already?
 * Else it is marked, by the next tick. */
bool repair_damaged(struct repair *, unsigned partition);
/* This node has lost what it had (all of it, as far as it knows).  FX_MARKED with the
 * number (not 0), or a later one's, once that is on disk. */
void repair_lost_all(struct repair *, int number, struct moment, struct outbox *);
/* A bit for each partition: copies that may lack something (FX_CATCHING).  A new
 * buf, or NULL: none, or no memory. */
struct buf *repair_catching(const struct repair *);
uint64_t repair_wake(const struct repair *);
void repair_tick(struct repair *, struct moment, struct outbox *);
void repair_figures(const struct repair *, struct moment, struct repair_figures *);

#endif
