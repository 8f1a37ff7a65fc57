/*
 * Status and statistics of a node, gathered from its threads, and their form
 * on the wire: the fields of the public structs in order, numbers as var, ids
 * and digests as 16 bytes.  Fields a newer node appends are skipped; fields an
 * older one does not send stay zero.
 */
#ifndef DYN_STATUS_H
#define DYN_STATUS_H

#include "host/host.h"

void host_status(struct host *, struct dyn_status *);
void host_stats(struct host *, struct dyn_stats *);
/* The whole STATUS_ACK frame of this node. */
int status_frame(struct host *, const struct frame *head, struct buf **out) DYN_CHECK;
int status_read(struct dyn_slice, struct dyn_status *) DYN_CHECK;
int stats_read(struct dyn_slice, struct dyn_stats *) DYN_CHECK;

#endif
