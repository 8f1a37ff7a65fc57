/*
 * A whole ring in one process, from one seed: the machines that ship (member,
 * work, sync) with their codec, over a virtual network, virtual disks
 * (disk.h) and a virtual clock; what the callers saw goes to the oracle
 * (test/oracle).
 *
 * Each seed draws its own ring, workload and faults (struct swarm): a run in
 * which every fault happens all the time finds less than many runs with a few
 * (swarm testing).  First it storms, and safety must hold; then everything is
 * healed for good, and within bounded virtual time all owners of each key must
 * hold the same bytes.
 */
#ifndef DYN_SIM_WORLD_H
#define DYN_SIM_WORLD_H

#include <stdbool.h>
#include <stdint.h>

enum { SWARM_KEYS = 8, SWARM_SESSIONS = 6, SWARM_COPIES = 5, EXPIRY_MAX_MS = 8000 };

struct swarm {
	unsigned nodes, keys, sessions;
	unsigned joins;         /* nodes that come while it storms */
	unsigned join_by_ms;    /* they come until then; 0: until its end.  Not drawn */
	unsigned leaves;        /* members that are told to leave, while it storms */
	bool forget;            /* one of them is forgotten instead, dead or not */
	unsigned clients;       /* too, and are never members */
	unsigned workers;       /* of a node */
	unsigned mixed;         /* or fewer, each its own number */
	unsigned partitions;    /* 0 = 16 */
	unsigned zones;         /* nodes are dealt out to so many; 0: none has one */
	unsigned copies, r, w;
	unsigned drift;         /* of a node's clock, in 1,000, at most */
	unsigned storm_ms;      /* how long it storms */
	unsigned op_gap_ms;     /* between two calls of a session, at most */
	/* Mean time between two of a kind, over the whole ring; 0 = never. */
	unsigned crash_ms, break_ms, split_ms, pause_ms, jump_ms, full_ms;
	unsigned slow_frame;    /* in 1,000 */
	unsigned hang_ms;       /* of a slow frame, at most */
	unsigned fail_commit, fail_read; /* in 1,000 */
	unsigned big;           /* bytes of a value, at most; 0: all are small */
	unsigned commit_us;     /* at most */
	unsigned mailbox_us;    /* a letter between two threads takes, at most */
	unsigned expiry;        /* puts of what expires within EXPIRY_MAX_MS, in 1,000 */
	unsigned weak;          /* puts not to disk, in 1,000 */
	unsigned strict;        /* calls with DYN_STRICT, in 1,000 */
	unsigned hint_bytes, hint_age_ms; /* limits of hints, now and then tiny */
	unsigned repair_ms, walk_ms; /* between exchanges; a walk over all rows */
	unsigned collect_ms;    /* between rounds of forgetting, of each node */
	bool reads_repair;      /* in the end reads repair; else exchanges alone */
	unsigned keep_context;  /* contexts older than the last get, in 1,000 */
	unsigned side;          /* members (a bit each) cut off from the rest all the time */
	unsigned lose;          /* once, a directory is: 1 gone, 2 put back as it was,
	                         * 3 damaged in about half of its rows, 4 copied, and a
	                         * second process runs with the copy */
	unsigned carts;         /* not 0: session s reads, then writes cart s, but another one
	                         * in so many times; for figures, not drawn */
	bool lww, deletes, power; /* power: a crash is of the machine, not of the process */
	bool lww_deletes;       /* deletes: also where the last write wins */
};

/* Each by name: a run that fails is told, and made smaller, by them. */
#define SWARM_FIELDS(X)                                                        \
	X(nodes) X(joins) X(join_by_ms) X(leaves) X(forget) X(clients) X(workers) X(mixed)   \
	X(partitions) X(zones) X(expiry) X(copies) X(drift) X(keys) X(sessions)         \
	X(r) X(w) X(storm_ms) X(op_gap_ms)                                     \
	X(crash_ms) X(break_ms) X(split_ms) X(pause_ms) X(jump_ms) X(full_ms)  \
	X(slow_frame) X(hang_ms) X(fail_commit) X(fail_read) X(big)            \
	X(commit_us) X(mailbox_us)                                             \
	X(weak) X(strict) X(hint_bytes) X(hint_age_ms) X(repair_ms) X(walk_ms) \
	X(collect_ms) X(reads_repair) X(keep_context) X(carts) X(side) X(lose) \
	X(lww) X(deletes) X(power) X(lww_deletes)

struct outcome {
	uint64_t digest;     /* of all that happened */
	uint64_t virtual_ns;
	unsigned calls, done;
	uint64_t forgotten, cleared; /* rows, at all nodes together; directories */
	unsigned actors, entries;    /* all that there were; the most in a clock read */
	unsigned puts[2], puts_done[2]; /* on nodes that are not, and are, of `side` */
	uint64_t versions[5]; /* reads that returned none, 1, 2, 3, more */
	/* For rings that are not disturbed: from the start of the last that joined until the
	 * last view before the calm; bytes of gossip until then, and in each second of
	 * the ten before the calm, of all nodes; memory in use then. */
	uint64_t joined_ns, gossip_join, gossip_idle, memory;
	unsigned broken;     /* promises; the stories went to stderr */
};

/* swarm.c */
void swarm_draw(struct swarm *, uint64_t seed);
/* trace: each event to stderr. */
struct outcome world_run(const struct swarm *, uint64_t seed, bool trace);

#endif
