/*
 * How large does a clock get when ever new actors write one key (PAINS 2: clocks
 * that grow without bound)?  Rings of five whose nodes crash again and again, each
 * start a new actor, with the rounds of core/collect.h and without them.
 *
 *	churn [RUNS]
 */
#include "test/sim/world.h"

#include <stdio.h>
#include <stdlib.h>

enum { ACTORS = 200, CRASH_MS = 4000 };

static struct outcome
run(uint64_t seed, unsigned collect_ms)
{
	const struct swarm o = {.nodes = 5, .workers = 1, .copies = 3,
	    .keys = 1, .sessions = 2, .r = 2, .w = 2,
	    .storm_ms = ACTORS * CRASH_MS, .op_gap_ms = 400, .crash_ms = CRASH_MS,
	    .commit_us = 2000, .mailbox_us = 100, .hint_bytes = 1 << 20,
	    .hint_age_ms = 86400000, .repair_ms = 5000, .walk_ms = 86400000,
	    .collect_ms = collect_ms};

	return world_run(&o, seed, false);
}

int
main(int argc, char **argv)
{
	unsigned runs = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 5;
	unsigned actors = 0, with = 0, without = 0, broken = 0;

	for (unsigned i = 0; i < runs; i++) {
		struct outcome a = run(1000 + i, 2000), b = run(1000 + i, 86400000);

		actors += a.actors;
		with = a.entries > with ? a.entries : with;
		without = b.entries > without ? b.entries : without;
		broken += a.broken + b.broken;
	}
	printf("churn: %u actors to a key on average; entries in a clock that was read, at most: "
	       "%u with rounds of forgetting, %u without; %u promises broken\n",
	    actors / (runs > 0 ? runs : 1), with, without, broken);
	return broken > 0;
}
