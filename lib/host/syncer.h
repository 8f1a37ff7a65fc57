/*
 * The sync thread: core/sync.h.  It has its own connections, so bulk transfer never delays a
 * request or a heartbeat.
 */
#ifndef DYN_SYNCER_H
#define DYN_SYNCER_H

#include "core/sync.h"
#include "host/links.h"

struct syncer;
struct fence;

int syncer_new(struct syncer **out, struct host *, uint64_t seed) DYN_CHECK;
int syncer_start(struct syncer *) DYN_CHECK;
void syncer_stop(struct syncer *);
void syncer_free(struct syncer *);
struct loop *syncer_loop(struct syncer *);
struct links *syncer_links(struct syncer *);
/* Any thread. */
void syncer_view(struct syncer *); /* host_view is another one */
/* A worker is fenced by a view, or is not; takes the letter over. */
void syncer_fenced(struct syncer *, struct fence *, int rc);
void syncer_stored(struct syncer *, struct rows *, int rc);
/* A row that FX_META named is on disk, or is not.  letter: memory of at least that of the
 * answer, which it becomes. */
void syncer_saved(struct syncer *, enum saved_for, int rc, struct letter *);
void syncer_changed(struct syncer *, struct changes *);
void syncer_liveness(struct syncer *, const struct dyn_id *, enum dyn_liveness);
/* A row of this partition is damaged. */
void syncer_damaged(struct syncer *, unsigned partition);
/* gossip_marked with this number, or a later one's, when all copies are marked. */
void syncer_lost_all(struct syncer *, int number);
/* The copies are out of date: gossip_cleared when they are empty. */
void syncer_clear(struct syncer *);
/* No more frames: the node has failed. */
void syncer_fail(struct syncer *);
/* What a member said it keeps for whom; takes the buf over. */
void syncer_ledger(struct syncer *, const struct dyn_id *, struct buf *);

#endif
