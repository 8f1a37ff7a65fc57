/*
 * A ring of processes: N=3, R=W=2 unless said otherwise, each peer with a
 * directory and an address of its own that stay over its restarts.
 */
#ifndef DYN_TEST_RING_H
#define DYN_TEST_RING_H

#include "load.h"
#include "proc.h"

enum { RING_MAX = 8 };

struct ring {
	unsigned count;
	bool first_creates;      /* default; else the first of the seeds does, later */
	struct dyn_options base; /* what all have in common */
	struct proc peer[RING_MAX];
	const char *dir[RING_MAX], *address[RING_MAX];
	char seeds[RING_MAX * 32];
};

/* Names count places; starts nothing. */
void ring_init(struct ring *, unsigned count);
/* The options of a peer. */
struct dyn_options ring_options(const struct ring *, unsigned i);
void ring_open(struct ring *, unsigned i);
/* Peers 0..count-1, at once; then ring_settled. */
void ring_open_all(struct ring *);
/* A client of the ring, whose seeds are all peers. */
void ring_client(const struct ring *, struct proc *);
/* Wait until all that run have the same view, in which so many members hold
 * all they own and nothing moves, and reach each other. */
void ring_settled(struct ring *, unsigned members);
/* Hints that those that run keep for others, all together. */
uint64_t ring_hints(struct ring *);
/* Rows in the directory of a peer that is closed, tombstones included. */
uint64_t ring_rows(const struct ring *, unsigned i);
/* Close all that run, in order; kill all that run. */
void ring_close(struct ring *);
void ring_kill(struct ring *);

#endif
