/*
 * A peer in a process of its own, and the other end of the line to it.
 *
 * peer_start forks; the child opens a node and serves requests that come over
 * a socket pair, as many at once as are sent.  The caller must not have opened
 * a node itself: a process that did must not fork and go on.  The child ends
 * when its line is closed, and is killed if its parent dies.
 */
#ifndef COMMON_PEER_H
#define COMMON_PEER_H

#include <dyn.h>
#include <stdbool.h>
#include <sys/types.h>

enum peer_op {
	PEER_GET,    /* answer: value, context, siblings */
	PEER_HERE,   /* the same, its own copy only */
	PEER_PUT,    /* answer: receipt */
	PEER_LOCATE, /* value: struct dyn_id of each owner */
	PEER_STATUS, /* value: struct dyn_status */
	PEER_STATS,  /* value: struct dyn_stats */
	PEER_CLOSE,  /* dyn_close; the process ends */
};

enum { PEER_BUCKETS = 4, PEER_TEXT_MAX = 512 };

/* What a child needs to open its node; the same for all but dir and seeds. */
struct peer_setup {
	const char *dir;
	const char *seeds; /* NULL: none */
	const char *log;   /* file its log lines are appended to */
	unsigned n, r, w;
	const char *buckets[PEER_BUCKETS]; /* names; requests tell them by index */
	dyn_merge *merges[PEER_BUCKETS];   /* NULL: siblings are returned */
};

struct peer {
	pid_t pid; /* 0: not running */
	int fd;
	struct dyn_id id;
	char address[DYN_ADDRESS_MAX];
};

struct peer_request {
	uint32_t tag; /* comes back in the answer */
	enum peer_op op;
	unsigned bucket;
	struct dyn_slice key, context, value;
};

struct peer_answer {
	uint32_t tag;
	int rc;
	unsigned count, siblings;
	struct dyn_receipt receipt;
	struct dyn_buffer context, value; /* free with peer_answer_free */
};

/* Start and wait until the node is open.  0, or -1 and a sentence in text. */
int peer_start(struct peer *, const struct peer_setup *, char text[PEER_TEXT_MAX]);
/* 0, or -1 with errno: the line is broken. */
int peer_send(struct peer *, const struct peer_request *);
/*
 * The next answer of any of the peers that run.  *from says whose.  0, or -1
 * with errno: ETIMEDOUT, EINTR (a signal came), ECONNRESET (a peer is gone).
 */
int peer_receive(struct peer *peers, size_t count, int timeout_ms, size_t *from,
    struct peer_answer *out);
void peer_answer_free(struct peer_answer *);
/* Kill with SIGKILL and reap.  0 if it was alive until then. */
int peer_kill(struct peer *);
/* Ask it to close and reap.  The result of its dyn_close, or -1. */
int peer_close(struct peer *, int timeout_ms);

#endif
