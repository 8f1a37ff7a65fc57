/*
 * What the threads of one node share.  node.c fills it before the threads
 * start and empties it after they have ended; in between it is constant,
 * except for what is marked: counters, the published view, and the mailboxes
 * inside the threads' own structs.
 */
#ifndef DYN_HOST_H
#define DYN_HOST_H

#include "core/sync.h"
#include "core/work.h"
#include "host/conn.h"
#include "model/levels.h"

#include <time.h>

#define WORKERS_MAX 64

struct worker;
struct gossip;
struct syncer;
struct storage;

struct host {
	enum dyn_role role;
	struct dyn_id self;
	char ring[DYN_BUCKET_MAX + 1];
	char advertise[DYN_ADDRESS_MAX]; /* "" for a client */
	const char *location;            /* the options', "dc/zone/rack/machine" */
	struct conn_config config;
	struct conn_counters counters;   /* atomic */
	enum dyn_log_level log_level;
	dyn_log *log;
	void *log_arg;
	struct dyn_engine *engine;       /* NULL for a client */
	struct actor actor, standin;
	bool actor_kept; /* the actor is that of an earlier process */
	bool forgot;     /* at the end: events of it were forgotten (FORGOT_ROW) */
	uint64_t hint_bytes_max, hint_age_max_ms, collect_period_ms;
	unsigned workers_count, siblings_max, w;
	unsigned partitions;             /* of the saved view; 0 = there is none */
	uint64_t skew_max_ms, memory_max;
	uint64_t started;                /* ns */

	struct worker *workers[WORKERS_MAX];
	struct gossip *gossip;   /* NULL for a local store */
	struct syncer *syncer;   /* NULL unless a peer */
	struct storage *storage; /* NULL for a client */

	/* Operation of the application ended; on a worker's thread. */
	void (*done)(void *arg, struct op *);
	void *done_arg;
	/* What get found, counted where siblings are merged; atomic. */
	atomic_uint_fast64_t merges, versions[4];

	pthread_mutex_t lock;    /* of the following */
	pthread_cond_t changed;
	struct view *view;       /* NULL while joining */
	struct dyn_error failure; /* code != 0: the node cannot go on */
	atomic_int failed;       /* its code, for all that need not wait */
	int storage_error;       /* the last one */
	unsigned pending;        /* partitions still to be pulled */
	struct hint_figures hints;
	struct copies_figures copies;
	uint64_t gossip_rounds, gossip_bytes;
	struct levels levels;
	unsigned ring_level;     /* the lowest of the members of the view */
};

int host_init(struct host *) DYN_CHECK;
void host_fini(struct host *);
/* For waits on `changed`: so many ms from now. */
void host_deadline(struct timespec *, unsigned ms);
struct moment host_moment(const struct loop *);
void host_log(struct host *, enum dyn_log_level, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* A reference to the published view, or NULL. */
struct view *host_view(struct host *);
/* Publish: to waiting application threads, to workers, to the sync thread. */
void host_publish(struct host *, struct view *);
/* A peer said that it speaks this feature level. */
void host_heard(struct host *, const struct dyn_id *, unsigned level);
/* The node cannot go on: calls get this code, connections are closed. */
void host_fail(struct host *, int code, const char *text);
/* What letters that came after the last turn asked for is not done. */
void host_outbox_fini(struct outbox *);
void host_storage_error(struct host *, int code);

#endif
