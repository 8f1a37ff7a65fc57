/*
 * How often does a detector accuse somebody who is well?  Rings of five whose
 * network loses packets, and nothing else is wrong with them.
 *
 *	accuse [ring-hours [loss in per cent [seed]]]
 */
#include "test/detect_net.h"

#include <stdio.h>
#include <stdlib.h>

#define NODES 5
#define HOUR_MS 3600000

int
main(int argc, char **argv)
{
	unsigned hours = argc > 1 ? (unsigned)atoi(argv[1]) : 20;
	double loss = argc > 2 ? atof(argv[2]) : 5;
	uint64_t seed = argc > 3 ? (uint64_t)atoll(argv[3]) : 1;
	unsigned long accused = 0;

	for (unsigned i = 0; i < hours; i++) {
		struct net *n = net_watch_new(NODES, mix64(seed + i));

		net_watch_loss(n, (unsigned)(loss * 10000));
		net_watch_run(n, HOUR_MS);
		if (net_watch_accusations(n) > 0)
			printf("accuse: %u in the hour of seed %llu\n", net_watch_accusations(n),
			    (unsigned long long)(seed + i));
		accused += net_watch_accusations(n);
		net_watch_free(n);
	}
	printf("accuse: %lu false accusations in %u node-hours at %.1f %% loss\n", accused,
	    hours * NODES, loss);
	return accused > 0;
}
