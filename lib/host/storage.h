/*
 * The storage thread: the only one that changes the engine.  All batches that
 * have come when it looks become one transaction (group commit): a lone
 * request never waits for company, and under load one fsync serves many.
 */
#ifndef DYN_STORAGE_H
#define DYN_STORAGE_H

#include "base/histogram.h"
#include "host/host.h"

struct storage;

int storage_new(struct storage **out, struct host *) DYN_CHECK;
int storage_start(struct storage *) DYN_CHECK;
void storage_stop(struct storage *); /* after what is in its mailbox */
void storage_free(struct storage *);
struct loop *storage_loop(struct storage *);
/* Any thread.  The answer goes to worker_committed.  DYN_ENOMEM: there will be none. */
int storage_commit(struct storage *, struct worker *, unsigned index, struct batch *) DYN_CHECK;
/* Write a row of DYN_SPACE_META; a failure is logged, and told to whom it was for.  Takes
 * the buf over.  DYN_ENOMEM: nothing will be written or told. */
int storage_meta(struct storage *, const char *name, struct buf *value, enum saved_for) DYN_CHECK;
void storage_figures(struct storage *, uint64_t *commits, uint64_t *rows, struct histogram *us);

#endif
