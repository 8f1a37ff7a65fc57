/*
 * A worker thread: the machines of core/work.h, their connections, and the
 * doors other threads knock at.
 *
 * Each turn: letters and frames become events; the machines' effects are
 * carried out until there are none; the open batch goes to storage; what was
 * queued on connections leaves.
 */
#ifndef DYN_WORKER_H
#define DYN_WORKER_H

#include "host/links.h"

struct worker;
struct rows;

/* To a worker and back; also the token of core/work.h. */
struct fence {
	struct letter letter;
	void *to;
	struct view *view;
	unsigned worker;
	int rc;
};
void fence_free(struct fence *);

int worker_new(struct worker **out, struct host *, unsigned index, uint64_t seed) DYN_CHECK;
int worker_start(struct worker *) DYN_CHECK;
/* Wait until requests have ended or the time is over, cut off the rest, close
 * the connections, end the thread.  Returns how many were cut off.  Storage
 * must still run. */
/* Any thread.  The node has failed: end what is in progress, close connections. */
void worker_fail(struct worker *);
/* Any thread.  FX_LOST: work_lost. */
void worker_lost(struct worker *);
size_t worker_stop(struct worker *, uint64_t until);
void worker_free(struct worker *); /* NULL is allowed; the thread has ended */
struct loop *worker_loop(struct worker *);
struct links *worker_links(struct worker *);

/* Any thread. */
void worker_op(struct worker *, struct op *);
void worker_view(struct worker *); /* host_view is another one */
/* letter: memory of at least that of the answer, which it becomes. */
void worker_committed(struct worker *, struct batch *, int rc, struct letter *);
/* Answers syncer_fenced with a struct fence; without memory it does not. */
void worker_fence(struct worker *, struct view *);
void worker_rows(struct worker *, struct rows *); /* answers syncer_stored */
void worker_hints_full(struct worker *, bool full); /* work_hints_full */
void worker_catching(struct worker *, struct buf *bits); /* work_catching; takes a ref */
/* What the detector thinks of a member now.  DYN_ENOMEM: tell it again. */
int worker_liveness(struct worker *, const struct dyn_id *, enum dyn_liveness) DYN_CHECK;
/* As this worker sees it; liveness may be NULL. */
bool worker_reachable(struct worker *, const struct dyn_id *, enum dyn_liveness *liveness);
/* Counters as of at most 50 ms ago. */
struct worker_figures {
	struct work_stats work;
	uint64_t bytes, unwritten, skewed, requests;
	uint64_t incarnation; /* of the actor */
	bool forgot;          /* work_forgot */
};
void worker_figures(struct worker *, struct worker_figures *);

/* Status of another member; answers arrive by done on the worker's thread. */
struct status_ask {
	struct letter letter;
	struct list link;
	struct worker *worker;
	struct dyn_id to;
	uint64_t number, until;
	int rc;
	struct buf *status, *stats; /* as in STATUS_ACK */
	void (*done)(struct status_ask *);
};
void worker_ask_status(struct worker *, struct status_ask *);

#endif
