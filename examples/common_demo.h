/*
 * The demonstration, inside: its peers and objects, what it prints, requests
 * to one peer and to all.
 */
#ifndef COMMON_DEMO_H
#define COMMON_DEMO_H

#include "common_peer.h"
#include "common_records.h"
#include "common_util.h"

#include <signal.h>

enum {
	PEERS = 5,
	REPLICAS = 3,
	QUORUM = 2,
	INFLIGHT = 64,     /* requests sent and not yet answered */
	ANSWER_MS = 20000, /* longest wait for an answer */
	SETTLE_MS = 20000, /* longest wait for the ring to agree */
};

enum { PACKAGES, CARTS };

struct object {
	const char *key;
	struct dyn_slice value;    /* what a read has to bring */
	char *text;                /* value's bytes, if they are not the file's */
	struct dyn_buffer context; /* of the last read, where it is wanted */
	bool changed;              /* while the victim was dead */
	bool missed;               /* and the victim owns it */
	bool here;                 /* the victim has the right value itself */
};

struct demo {
	char root[64];
	char dirs[PEERS][96], logs[PEERS][96];
	struct peer_setup setups[PEERS];
	struct peer peers[PEERS];
	struct records records;
	const char *input;
	struct object *objects;
	size_t count, loaded; /* objects; those of the first load */
	struct dyn_buffer cart_context[2];
	bool tty;
	uint64_t begun_us;
};

/* Set by a signal: everything comes to its end. */
extern volatile sig_atomic_t demo_stopped;

/* A line of a step. */
void demo_say(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* What went wrong; always -1. */
int demo_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
double seconds_since(uint64_t begun_us);
void nap_ms(unsigned ms);

/* A live peer, for the turn-th request. */
size_t demo_pick(const struct demo *, size_t turn);
/* One request, one answer.  0, or -1 and it was told. */
int demo_ask(
    struct demo *, size_t peer, const struct peer_request *, struct peer_answer *);

/* The same for all objects that are wanted, many at a time. */
struct demo_batch {
	const char *what;
	/* Fill the request for object i (key and tag are set) and return the
	 * peer to send it to, or -1 to leave it out. */
	int (*make)(struct demo *, size_t i, struct peer_request *);
	int (*take)(struct demo *, size_t i, const struct peer_answer *);
};

struct demo_result {
	size_t sent;
	double seconds;
	double slowest_ms;
};

int demo_run(struct demo *, const struct demo_batch *, struct demo_result *);
/* For take: exactly one version with exactly the object's bytes came back. */
int demo_compare(struct demo *, size_t i, const struct peer_answer *);

int demo_status(struct demo *, size_t peer, struct dyn_status *);
/* Wait until all peers use one table, hold what it gives them, see each other. */
int demo_settle(struct demo *);

/* The carts: their merge callback, and the step. */
int demo_merge_carts(void *arg, struct dyn_slice key, const struct dyn_slice *values,
    size_t count, struct dyn_buffer *out);
int demo_carts(struct demo *);

#endif
