/* Calls in progress, for calls.c and update.c. */
#ifndef DYN_CALLS_H
#define DYN_CALLS_H

#include "node.h"

#include "host/worker.h"

#include <semaphore.h>
#include <unistd.h>

struct call {
	dyn_node *node;
	struct op *op;   /* while it is ours */
	size_t bytes;    /* counted in node->bytes */
	enum dyn_policy policy;
	dyn_merge *merge;
	void *merge_arg;
	dyn_done *done;  /* NULL: somebody waits for `ended` */
	void *arg;
	sem_t ended;
	struct call *next; /* due */
};

struct call_args {
	enum op_kind kind;
	struct dyn_slice key;
	const dyn_context *context;
	struct dyn_slice value;
	const struct dyn_call *call;
};

int call_new(struct call **out, dyn_bucket *, const struct call_args *) DYN_CHECK;
int call_wait(dyn_bucket *, const struct call_args *, dyn_result **out) DYN_CHECK;
int call_async(dyn_bucket *, const struct call_args *, dyn_done *, void *arg) DYN_CHECK;

#endif
