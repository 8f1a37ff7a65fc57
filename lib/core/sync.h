/*
 * What the sync thread does (DESIGN 3, 6, 9): everything that moves copies of
 * keys between nodes in the background.  Its own connections and its own
 * thread, so bulk transfer never delays a request or a heartbeat.
 *
 * One small machine for each concern, each in its own file; sync.c hands
 * every event to the machine it is for:
 *
 *	pull.c    a newcomer gets its share, an owner hands it out (paper 4.9)
 *	hint.c    what is kept for others gets to them (paper 4.6)
 *	arrive.c  what others bring is merged and acknowledged
 *	trees.c   a hash tree for each partition (paper 4.7)
 *	repair.c  trees are compared, what differs is exchanged (paper 4.7)
 *	collect.c what was deleted is forgotten, clocks stay small
 *	admit.c   how much of this the foreground bears (paper 6.5)
 */
#ifndef DYN_SYNC_H
#define DYN_SYNC_H

#include "core/collect.h"
#include "core/hint.h"
#include "core/pull.h"
#include "core/repair.h"
#include "core/rows.h"

struct sync_options {
	struct dyn_id self;
	struct dyn_engine *engine; /* borrowed: scanned only, but see hint_new */
	unsigned w;                /* the usual W */
	unsigned workers;          /* of this node: partition p is p mod workers */
	uint64_t seed;
	uint64_t hint_bytes_max, hint_age_max_ms;
	unsigned partitions;       /* of the ring; 0 = not known yet */
	/* ns; 0 = the defaults of trees.h, repair.h, collect.h */
	uint64_t walk, repair_period, collect_period;
};

struct copies_figures {
	struct trees_figures trees;
	struct repair_figures repair;
	struct collect_figures collect;
	uint64_t rate; /* bytes a second that background work may do */
};

struct sync;

int sync_new(struct sync **out, const struct sync_options *, struct moment) DYN_CHECK;
void sync_free(struct sync *);
/* The view changed.  The caller must then fence every worker by it, see that it is
 * on disk, and call sync_fenced: what this node says after that holds for its next
 * life too. */
void sync_view(struct sync *, struct view *, struct moment, struct outbox *);
void sync_fenced(struct sync *, struct view *, struct moment, struct outbox *);
/* A frame on a sync connection.  conn names the connection for FX_REPLY.
 * DYN_EPROTO: close it. */
int sync_frame(struct sync *, const struct dyn_id *from, uint64_t conn, const struct frame *,
    struct moment, struct outbox *) DYN_CHECK;
/* Rows that went out by FX_ROWS are durable, or not (rc).  Takes them over. */
void sync_stored(struct sync *, struct rows *, int rc, struct moment, struct outbox *);
/* An FX_META for REPAIR is on disk, or is not (rc). */
void sync_saved(struct sync *, int rc, struct moment, struct outbox *);
/* FX_STALE: empties the copies, then FX_CLEARED. */
void sync_clear(struct sync *, struct moment, struct outbox *);
/* A worker committed changes.  Takes them over. */
void sync_changed(struct sync *, struct changes *, struct moment, struct outbox *);
/* What a member said it keeps for others (FX_LEDGER of core/member.h). */
void sync_ledger(struct sync *, const struct dyn_id *from, struct dyn_slice ledger,
    struct moment, struct outbox *);
/* What this node thinks of a member changed (core/detect.h). */
void sync_liveness(struct sync *, const struct dyn_id *, enum dyn_liveness, struct moment,
    struct outbox *);
/* The connection to this member is gone, or a frame to it could not be sent. */
void sync_lost(struct sync *, const struct dyn_id *, struct moment, struct outbox *);
/* This node may have lost what it had: its directory is an old copy. */
void sync_lost_all(struct sync *, int number, struct moment, struct outbox *);
/* A row of this partition was found to be damaged. */
void sync_damaged(struct sync *, unsigned partition);
/* All latencies of this node's application so far, about once a second. */
void sync_foreground(struct sync *, const struct histogram *, struct moment);
uint64_t sync_wake(const struct sync *);
void sync_tick(struct sync *, struct moment, struct outbox *);
unsigned sync_pending(const struct sync *); /* partitions not complete yet */
void sync_hints(const struct sync *, struct hint_figures *);
void sync_copies(const struct sync *, struct moment, struct copies_figures *);
/* What FX_CATCHING tells, for the start: a new buf or NULL. */
struct buf *sync_catching(const struct sync *);

#endif
