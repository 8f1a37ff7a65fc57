/*
 * For tests of the public calls: nodes, buckets and values in one line each.
 * Whatever fails here fails the test.
 */
#ifndef DYN_TEST_API_H
#define DYN_TEST_API_H

#include "test/test.h"

#include "base/base.h"

#include <stdatomic.h>

/* A local store: in dir, or in memory if dir is NULL. */
dyn_node *api_local(const char *dir);
/* A peer that creates a ring of one on a free port, N=1. */
dyn_node *api_peer(const char *dir);
dyn_node *api_open(const struct dyn_options *);
/* Closes; the close must have gone well. */
void api_close(dyn_node *);
dyn_bucket *api_bucket(dyn_node *, const char *name, enum dyn_policy, dyn_merge *);

/* Put with a context; returns the context of the result as a copy. */
dyn_context *api_put(
    dyn_bucket *, const char *key, const dyn_context *, const char *value);
dyn_result *api_get(dyn_bucket *, const char *key);
/* The values of a key, sorted, joined by '|'; "" if there are none.  In one of
 * a few static buffers. */
const char *api_values(dyn_bucket *, const char *key);
/* Context that a get of the key brings, as a copy. */
dyn_context *api_context(dyn_bucket *, const char *key);

/* A merge callback: the union of the values, taken as sets of '|'-separated
 * words. */
int api_union(void *arg, struct dyn_slice key, const struct dyn_slice *values,
    size_t count, struct dyn_buffer *out);

/* Open file descriptors of this process; its threads. */
unsigned api_files(void);
unsigned api_threads(void);

/* A place where callbacks leave what they brought. */
struct api_call {
	atomic_int calls;
	int rc;
	dyn_result *result;
};
/* A dyn_done whose arg is a struct api_call. */
void api_done(void *arg, int rc, dyn_result *);
/* Wait for it and return rc; frees the result, clears for the next use. */
int api_wait(struct api_call *);

#endif
