/*
 * The gossip thread: membership (core/member.h), who answers (core/detect.h), and the
 * listening socket.
 * Nothing here waits for a disk or for a worker, so that a stalled disk never
 * silences the node.
 */
#ifndef DYN_GOSSIP_H
#define DYN_GOSSIP_H

#include "core/detect.h"
#include "core/member.h"
#include "host/links.h"

struct gossip;

int gossip_new(struct gossip **out, struct host *) DYN_CHECK;
/* Before start: listen (address filled in), then begin as this member. */
int gossip_listen(struct gossip *, const char *address, char bound[DYN_ADDRESS_MAX],
    struct dyn_error *) DYN_CHECK;
int gossip_begin(struct gossip *, const struct member_options *) DYN_CHECK;
int gossip_start(struct gossip *) DYN_CHECK;
void gossip_stop(struct gossip *); /* closes listener and connections */
void gossip_free(struct gossip *);
struct loop *gossip_loop(struct gossip *);
/* Any thread. */
void gossip_poke(struct gossip *, const struct dyn_id *);
/* A request waits for this member. */
void gossip_doubt(struct gossip *, const struct dyn_id *);
void gossip_synced(struct gossip *, struct view *);
void gossip_collect(struct gossip *, struct view *);
/* Orders: member_change. */
int gossip_change(struct gossip *, struct view *) DYN_CHECK;
void gossip_cleared(struct gossip *);
/* The answer to syncer_lost_all. */
void gossip_marked(struct gossip *, int number);
/* What this node keeps for whom; takes the buf over. */
void gossip_ledger(struct gossip *, struct buf *);

#endif
