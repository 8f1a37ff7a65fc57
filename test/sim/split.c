/*
 * Does each side of a split go on taking writes (paper 4.6: "always writeable")?
 *
 *	split [SEEDS]		default 50
 *
 * Five simulated nodes, N=3, R=W=2, cut into two and three for a minute, otherwise
 * without faults; so many seeds.  Prints how many puts each side acknowledged, and
 * fails if after the healing anything of it is lost (test/oracle).
 */
#include "test/sim/world.h"

#include <stdio.h>
#include <stdlib.h>

int
main(int argc, char **argv)
{
	unsigned seeds = argc > 1 ? (unsigned)atoi(argv[1]) : 50, broken = 0;
	unsigned puts[2] = { 0, 0 }, done[2] = { 0, 0 };

	for (unsigned i = 1; i <= seeds; i++) {
		const struct swarm o = { .nodes = 5, .workers = 1, .copies = 3,
			.keys = 8, .sessions = 4, .r = 2, .w = 2,
			.storm_ms = 60000, .op_gap_ms = 100, .hang_ms = 1, .commit_us = 500,
			.mailbox_us = 50, .hint_bytes = 1 << 20, .hint_age_ms = 86400000,
			.repair_ms = 10000, .walk_ms = 86400000, .side = 3 };
		struct outcome out = world_run(&o, i, false);

		broken += out.broken;
		for (unsigned side = 0; side < 2; side++) {
			puts[side] += out.puts[side];
			done[side] += out.puts_done[side];
		}
	}
	printf("split: two nodes acknowledged %u of %u puts, three %u of %u; %u promises broken\n",
	    done[1], puts[1], done[0], puts[0], broken);
	return broken > 0;
}
