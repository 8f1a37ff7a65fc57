/*
 * Hinted handoff (paper 4.6; DESIGN 9): what this node keeps for owners that
 * were down gets to them.  One machine a node, on the sync thread.
 *
 * A hint is a row of DYN_SPACE_HINT: owner ‖ name -> object.  Workers write
 * them (replica.c, write.c); all this machine knows of them it knows from one
 * scan at the start and from what was committed since (hint_changed), so its
 * counts are those of the engine.
 *
 * One struct DUE for each owner there are hints for.  Its hints are walked in
 * order of names, in FLIGHTS: rows of one partition that travel as one HINT.
 *
 *	SENT --every target has them on disk--> DROPPING --dropped on disk--> end
 *	SENT --refused, lost, late--> end; the walk begins anew after a while
 *
 * A row is dropped only after the target said that it is durable there, and
 * only if it still is what was sent (digest): a version that came in between is
 * in the next walk.
 *
 * Targets: the owner, if it still owns the partition by base and by current;
 * else (it was forgotten, or owners change) everybody who does, so that the
 * present owners have it (DESIGN 9).
 *
 * Limits never lose a write, for a hint may be the copy that made up the W of a
 * write.  When the bytes come near the limit, or the hints of an owner get older
 * than the age allowed, they are SPILLED: the targets then are the other owners
 * of the partition, if there are two at least: else one disk would be all.  When all
 * of them have it, the hint goes, and (owner, partition) is marked dirty, durably: the
 * owner lacks something that the other owners have.  The mark is handed on to the
 * owner (BEHIND), which catches up (core/repair.h).  At the limit itself new hints are
 * refused, and the coordinator finds another stand-in.
 *
 * Who holds how much for whom travels with gossip (the ledger).  An owner that
 * is back and hears that somebody keeps hints for it asks for them (HINTS), so
 * that delivery does not wait for the next try.
 */
#ifndef DYN_HINT_H
#define DYN_HINT_H

#include "core/machine.h"
#include "core/rows.h"

#define HINT_BYTES (256 << 10)       /* of rows in one frame */
#define HINT_WINDOW 8                /* frames of one owner on their way */
#define HINT_PATIENCE (10 * NS_PER_S)
#define HINT_RETRY (2 * NS_PER_S)    /* between walks for an owner that is not there */
#define HINT_TELL_GAP (5 * NS_PER_S) /* between two BEHIND to one owner */
#define HINT_LEDGER_GAP (1 * NS_PER_S) /* between two ledgers told to gossip */
#define HINT_ASK_GAP (5 * NS_PER_S)  /* between two HINTS to one member */

struct hint;

/* A hint that is not counted would never be delivered, and counting the first one of an
 * owner takes memory: what comes with every hint that is new (struct change), reserved
 * when it is written (store.c), so that there either is no hint, or it is counted.
 * mem_free; NULL: no memory. */
struct due *hint_room(void);

struct hint_options {
	struct dyn_id self;
	struct dyn_engine *engine; /* borrowed: read only, but see hint_new */
	uint64_t bytes_max, age_max_ms;
	unsigned partitions; /* of the ring; 0 = not known yet */
};

struct hint_figures {
	uint64_t hints, bytes;   /* kept here for others */
	uint64_t since_ms;       /* wall clock; 0 = none kept: the oldest is no older */
	uint64_t waiting;        /* kept elsewhere for this node, as far as it heard */
	uint64_t dirty;          /* (owner, partition) pairs */
	uint64_t delivered;      /* rows, since the start */
};

/* Reads all hints of the engine once.  DYN_ENOMEM, engine errors.
 *
 * A hint that is damaged (the engine cannot give it, or it does not decode) is as good as
 * lost, and must not keep the node from starting, nor those behind it from getting to
 * their owners.  Its row is removed, in one batch with a mark, as if it had been spilled:
 * what its id tells of it is dirty, one partition of one owner; or all partitions of the
 * owner; or of all members, if not even that can be read.
 *
 * One that is damaged later is given up in the same way when its owner's turn comes, if
 * its id tells the key; else it waits, and those behind it, for the next start. */
int hint_new(struct hint **out, const struct hint_options *, struct moment) DYN_CHECK;
void hint_free(struct hint *);
void hint_view(struct hint *, struct view *, struct moment);
/* HINT_ACK, HINTS or BEHIND_ACK on a sync connection.  (HINT: core/arrive.h.) */
void hint_frame(struct hint *, const struct dyn_id *from, const struct frame *,
    const union msg *, struct moment, struct outbox *);
/* Takes the rows over (ROWS_HINT, ROWS_DROP). */
void hint_stored(struct hint *, struct rows *, int rc, struct moment, struct outbox *);
void hint_changed(struct hint *, struct changes *, struct moment, struct outbox *);
/* What a member said it keeps. */
void hint_ledger(struct hint *, const struct dyn_id *from, struct dyn_slice ledger,
    struct moment, struct outbox *);
/* Hints for who does not answer wait until it does. */
void hint_liveness(struct hint *, const struct dyn_id *, enum dyn_liveness, struct moment,
    struct outbox *);
void hint_lost(struct hint *, const struct dyn_id *, struct moment, struct outbox *);
uint64_t hint_wake(const struct hint *);
void hint_tick(struct hint *, struct moment, struct outbox *);
/* Is anything kept here for an owner of this partition?  (As committed.) */
bool hint_keeps(const struct hint *, unsigned partition);
void hint_figures(const struct hint *, struct hint_figures *);

#endif
