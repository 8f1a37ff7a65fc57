/*
 * A small ring in one process: several nodes' workers and sync machines over a virtual
 * network, virtual storage and a virtual clock, all from one seed.
 *
 * What the caller decides is how hard it is (struct storm); the ring runs a
 * random history, heals, and then checks the promises of a distributed store
 * against a plain record of what was asked and answered (core_ring_check.c).
 *
 * Members gossip whole views by themselves here (core/member.c has tests of its
 * own); the rules by which they say synced and reading are the real ones.
 */
#ifndef DYN_CORE_RING_H
#define DYN_CORE_RING_H

#include "test/core_script.h"

#define RING_NODES 6   /* 'a' ...; the last is a client */
#define RING_KEYS 24           /* at most */
#define RING_OPS 400

struct storm {
	unsigned members;       /* at the start */
	unsigned keys;          /* 0 = 4 */
	unsigned ops;
	unsigned joins;         /* newcomers while it storms */
	unsigned leaves;
	unsigned break_link, crash; /* so many times */
	/* In 1,000: */
	unsigned lose_frame, repeat_frame, fail_commit;
	unsigned slow_frame;    /* a data frame that hangs; 0 = 25 */
	unsigned hang_ms;       /* at most; 0 = 60 */
	unsigned gossip_ms;     /* between two exchanges at most; 0 = 40 */
	unsigned poll_ms;       /* of the client; 0 = 40 */
	unsigned commit_ms;     /* at most; 0 = 3 */
	unsigned copies;        /* N of the bucket, 2 or 3; 0 = 3 */
	bool together;          /* all newcomers at once: one table for them */
	bool reorder;
	bool early_reading;     /* say reading before the worker goes by it */
	unsigned lag_ms;        /* at most, of a worker behind its own node's view; 0 = 40 */
	unsigned partitions;
};

enum outcome { PENDING, DONE_OK, DONE_FAILED, DONE_UNKNOWN };

/* One call, as its caller saw it. */
struct call_record {
	enum op_kind kind;
	enum outcome outcome;
	int rc;
	unsigned key;
	char node;
	uint64_t started, ended;
	uint8_t r, w;
	bool durable, strict;
	int seen;               /* put, delete: the get its context came from, or -1 */
	struct dot dot;
	unsigned values[64];    /* get: the puts whose values came back */
	unsigned values_count;
	struct clock clock;     /* get: what the context covers */
};

struct history {
	struct call_record calls[RING_OPS];
	unsigned count, copies;
	uint64_t seed;
};

/* Run one history; fails the test with the seed if a promise is broken. */
void ring_run(const struct storm *, uint64_t seed);

/* core_ring_check.c: what the record must satisfy.  last: index of the first
 * call made after healing. */
void history_check(const struct history *, unsigned healed);
void __attribute__((format(printf, 2, 3), noreturn))
history_fail(const struct history *, const char *fmt, ...);

#endif
