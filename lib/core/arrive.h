/*
 * Rows that a peer sends to be merged here: HINT (paper 4.6) and REPAIR (4.7).  They
 * go to the worker of their partition, and are acknowledged when they are durable.
 *
 * Only an owner takes them: what is merged elsewhere nobody would look for.
 */
#ifndef DYN_ARRIVE_H
#define DYN_ARRIVE_H

#include "base/list.h"
#include "core/machine.h"
#include "core/rows.h"

#define ARRIVALS_MAX 64 /* frames being stored; more: DYN_EBUSY */

struct arrivals {
	struct dyn_id self;
	struct view *view; /* borrowed from who calls arrive_view */
	struct list list;
	unsigned count;
	uint64_t next_number;
};

void arrive_init(struct arrivals *, const struct dyn_id *self);
void arrive_fini(struct arrivals *);
void arrive_view(struct arrivals *, struct view *);
/* A HINT or REPAIR.  DYN_EPROTO: close the connection. */
int arrive_frame(struct arrivals *, uint64_t conn, const struct frame *, const union msg *,
    struct outbox *) DYN_CHECK;
/* Takes the rows over (ROWS_ARRIVED). */
void arrive_stored(struct arrivals *, struct rows *, int rc, struct outbox *);

#endif
