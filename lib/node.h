/*
 * The insides of the public handles, for the files of lib itself only.
 *
 * A node is its host (the threads) plus what the calls need: limits, the
 * queue of callbacks to dispatch, the buckets to free.  Everything else the
 * calls touch is copied into the call when it starts, so that a call never
 * needs its bucket again.
 */
#ifndef DYN_NODE_H
#define DYN_NODE_H

#include "host/dir.h"
#include "host/host.h"
#include "model/context.h"
#include "model/key.h"

#include <sys/types.h>
#include <unistd.h>

struct call;

struct dyn_node {
	struct host host;
	struct tls *tls;
	struct dir dir;
	bool has_dir;
	pid_t pid;
	char bound[DYN_ADDRESS_MAX];
	char location[DYN_LOCATION_MAX];
	unsigned weight;
	uint64_t incarnation;  /* of the member record */
	struct dyn_id given_id; /* option id; zero: none */

	/* Known once the ring is; constant then. */
	struct settings ring;
	unsigned n, r, w;
	unsigned timeout_ms, open_timeout_ms;
	size_t value_max;
	enum dyn_callbacks callbacks;

	atomic_bool closing;
	atomic_size_t bytes;   /* of calls in progress, against host.memory_max */

	/* Callbacks for dyn_dispatch: a stack, newest first, and the
	 * descriptor that is readable while it is not empty. */
	_Atomic(struct call *) due;
	int due_fd;

	pthread_mutex_t lock;  /* of buckets */
	struct list buckets;
};

struct dyn_bucket {
	struct list link;
	dyn_node *node;
	char name[DYN_BUCKET_MAX + 1];
	struct dyn_bucket_options o; /* nothing in it is zero for "default" */
};

struct dyn_result {
	struct dyn_slice *values;
	uint64_t *times;       /* ms */
	size_t count, siblings;
	struct buf *hold;      /* what the values borrow from */
	struct dyn_buffer made; /* or this: merged, or written by an update */
	struct dyn_slice one;  /* room for values of a result of one */
	uint64_t one_time;
	dyn_context *context;
	struct dyn_receipt receipt;
};

/* May the node be used?  0, DYN_EINVAL (NULL), DYN_EFORKED, DYN_ECLOSED. */
int node_check(const dyn_node *);

/* result.c: what an ended operation means to the caller.  *out may be NULL for
 * errors without a result. */
struct result_source {
	dyn_node *node;
	const struct op *op;
	enum dyn_policy policy;
	dyn_merge *merge;
	void *merge_arg;
};
int result_make(dyn_result **out, const struct result_source *) DYN_CHECK;

/* calls.c.  Around each of the application's callbacks: a blocking call inside
 * it is refused, whatever thread it runs on. */
void callback_enter(void);
void callback_leave(void);
bool callback_inside(void); /* or on a thread of libdyn */
void calls_done(void *node, struct op *op); /* host.done */
void calls_dispatch_all(dyn_node *);        /* at close: run what is due */

/* options.c: a copy that is safe to read whatever the size of what was given (NULL
 * is all zero); then check it and fill in node and host. */
int options_copy(struct dyn_options *out, const struct dyn_options *given,
    struct dyn_error *) DYN_CHECK;
int options_apply(dyn_node *, const struct dyn_options *, struct dyn_error *) DYN_CHECK;

/* identity.c: who this node is, kept in DYN_SPACE_META. */
struct identity {
	struct view *saved; /* or NULL */
	bool fresh;         /* nothing was kept */
};
int identity_load(dyn_node *, struct identity *, struct dyn_error *) DYN_CHECK;
int identity_save_clean(dyn_node *) DYN_CHECK; /* the actor, at a clean close */

#endif
