/*
 * How does the cost of a ring grow with its nodes (paper 6.6; M45)?
 *
 *	scale [NODES ...]		default 10 30 100 300
 *
 * For each size a simulated ring that nobody disturbs, which one node joins: how long
 * until all nodes have followed to the table with it, what gossip costs while nothing
 * happens and what the join cost, by node; memory, of which a part is the simulator's;
 * and how long the next table takes to compute, on this machine.
 */
#include "test/sim/world.h"

#include "model/view.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { PARTITIONS = 1024, COPIES = 3 };

static double
seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void
fill(struct seat *seats, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		uint64_t hash = mix64(i + 1);

		memset(&seats[i], 0, sizeof(seats[i]));
		memcpy(seats[i].node.bytes, &hash, sizeof(hash));
		memcpy(seats[i].machine.b, &hash, sizeof(hash));
		seats[i].weight = 100;
	}
}

/* Of one node more; the quickest of a few. */
static double
table_ms(unsigned nodes)
{
	struct seat *seats = calloc(nodes + 1, sizeof(*seats));
	struct table *from, *to;
	double best = 1e9;

	if (seats == NULL)
		abort();
	fill(seats, nodes + 1);
	if (table_next(&from, NULL, PARTITIONS, COPIES, seats, nodes) != 0)
		abort();
	for (unsigned i = 0; i < 5; i++) {
		double began = seconds();

		if (table_next(&to, from, 0, 0, seats, nodes + 1) != 0)
			abort();
		best = MIN(best, seconds() - began);
		table_unref(to);
	}
	table_unref(from);
	free(seats);
	return best * 1000;
}

static unsigned
measure(unsigned nodes)
{
	const struct swarm o = { .nodes = nodes, .joins = 1, .join_by_ms = 1000, .workers = 1,
		.partitions = PARTITIONS, .copies = COPIES, .keys = 1, .sessions = 1, .r = 2, .w = 2,
		.storm_ms = 30000, .op_gap_ms = 5000, .commit_us = 2000, .mailbox_us = 100,
		.hint_bytes = 1 << 20, .hint_age_ms = 86400000, .repair_ms = 10000,
		.walk_ms = 86400000, .collect_ms = 86400000 };
	double began = seconds();
	struct outcome out = world_run(&o, 1, false);

	printf("%6u %10.2f %12.0f %14.0f %10.0f %10.2f %10.1f\n", nodes,
	    (double)out.joined_ns / 1e9, (double)out.gossip_idle / nodes,
	    (double)out.gossip_join / nodes / 1024, (double)out.memory / nodes / 1024,
	    table_ms(nodes), seconds() - began);
	return out.broken;
}

int
main(int argc, char **argv)
{
	static const unsigned sizes[] = { 10, 30, 100, 300 };
	unsigned broken = 0;

	printf("%6s %10s %12s %14s %10s %10s %10s\n", "nodes", "join, s", "idle, B/s",
	    "join, KiB", "KiB", "table, ms", "took, s");
	for (int i = 1; i < argc; i++)
		broken += measure((unsigned)strtoul(argv[i], NULL, 10));
	for (unsigned i = 0; argc < 2 && i < ARRAY_LEN(sizes); i++)
		broken += measure(sizes[i]);
	return broken > 0;
}
