/*
 * A load whose outcome can be judged: counters, one a key.
 *
 * Each key has one writer, which writes 1, 2, 3, ... with the context of its
 * last write, and any number of readers in any process.  What was begun, what
 * was acknowledged and what went wrong is in memory shared by all processes
 * of a test, so that a killed process takes nothing of it along.
 *
 * Judged: a read returns at least what was acknowledged before it began (S10)
 * and nothing that was not written (S3) or was reported as failed (S4); at the
 * end nothing acknowledged is missing (S1); no call outlives its deadline by
 * more than a second (S13).
 *
 * Outcomes are counted by phase, which the test moves on: a call counts in
 * the phase in which it began.
 */
#ifndef DYN_TEST_LOAD_H
#define DYN_TEST_LOAD_H

#include "proc.h"

#include <stdatomic.h>

enum { LOAD_KEYS = 64, LOAD_VALUES = 8192, LOAD_PHASES = 8, LOAD_SIZE = 200 };

struct load_key {
	atomic_uint started, acked;
	atomic_bool failed[LOAD_VALUES]; /* this number was reported as failed */
};

struct load_count {
	atomic_uint puts, gets; /* that went well */
	/* EQUORUM and its kin; EUNKNOWN; reads that brought an error */
	atomic_uint put_failed, put_unknown, get_failed;
};

struct load {
	unsigned keys, writers; /* writers in all processes together */
	unsigned timeout_ms, pause_us;
	unsigned first_key; /* for a second load beside another */
	atomic_uint next_writer;
	atomic_bool stop;
	atomic_uint phase;
	struct load_count count[LOAD_PHASES];
	/* Broken promises. */
	atomic_uint stale, phantom, revived, late;
	atomic_int last_rc; /* the last error a call brought */
	char text[256];     /* about the first broken promise */
	struct load_key key[LOAD_KEYS];
};

/* In shared memory; ends with the test. */
struct load *load_new(unsigned keys, unsigned writers, unsigned timeout_ms);
/* No promise was broken so far. */
void load_check(const struct load *);
/* Every acknowledged write can be read through this process.  All keys must
 * have one visible version at least as new. */
void load_verify(struct load *, struct proc *, unsigned flags);
/* Wait until so many puts and gets went well in this phase. */
void load_await(struct load *, unsigned puts, unsigned gets);
void load_phase(struct load *, unsigned phase);

/* For proc.c, in the child: run until load.stop or *stop. */
struct load_run;
struct load_run *load_start(
    struct load *, dyn_bucket *, unsigned writers, unsigned readers);
void load_stop(struct load_run *);

#endif
