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
/* Any thread.  The answer goes to worker_committed. */
void storage_commit(struct storage *, struct worker *, unsigned index, struct batch *);
/* Write a row of DYN_SPACE_META; a failure is logged.  Takes the buf over. */
void storage_meta(struct storage *, const char *name, struct buf *value, enum saved_for);
void storage_figures(struct storage *, uint64_t *commits, uint64_t *rows, struct histogram *us);

#endif
