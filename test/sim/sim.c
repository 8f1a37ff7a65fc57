/*
 * Runs rings of test/sim/world.h, one a seed.
 *
 *	sim [-j JOBS] FIRST SEEDS	so many seeds; the first of all is run twice and
 *					must tell the same story
 *	sim -t SEED			one, with its trace
 *
 * A seed that fails prints what was broken and the command that repeats it.
 */
#include "test/sim/world.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static uint64_t seed_now;

static void
repeat(void)
{
	fprintf(stderr, "seed %" PRIu64 " fails; it is repeated by: sim -t %" PRIu64 "\n", seed_now, seed_now);
}

/* An assertion: of the library or of the world. */
static void
aborted(int number)
{
	(void)number;
	repeat();
	_exit(1);
}

static struct outcome
run(uint64_t seed, bool trace)
{
	struct swarm o;

	seed_now = seed;
	swarm_draw(&o, seed);
	return world_run(&o, seed, trace);
}

static double
seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Every jobs-th seed; 0 if all passed. */
static int
run_some(uint64_t first, uint64_t count, unsigned job, unsigned jobs)
{
	double began = seconds(), virtual_s = 0;
	uint64_t calls = 0, done = 0, seeds = 0, failed = 0;

	for (uint64_t i = job; i < count; i += jobs) {
		struct outcome out = run(first + i, false);

		seeds++;
		calls += out.calls;
		done += out.done;
		virtual_s += (double)out.virtual_ns / 1e9;
		if (i == 0 && run(first, false).digest != out.digest) {
			fprintf(stderr, "the same seed went two ways\n");
			out.broken++;
		}
		if (out.broken > 0) {
			repeat();
			failed++;
		}
	}
	printf("sim: %" PRIu64 " of %" PRIu64 " seeds passed, %.2f virtual hours, %.0f x real time; %" PRIu64
	    " of %" PRIu64 " calls done\n", seeds - failed, seeds, virtual_s / 3600,
	    virtual_s / (seconds() - began), done, calls);
	return failed > 0;
}

int
main(int argc, char **argv)
{
	unsigned jobs = 1;
	int rc = 0, status;

	signal(SIGABRT, aborted);
	if (argc == 3 && strcmp(argv[1], "-t") == 0) {
		struct outcome out = run(strtoull(argv[2], NULL, 10), true);

		printf("digest %016" PRIx64 ", %u broken\n", out.digest, out.broken);
		return out.broken > 0;
	}
	if (argc > 3 && strcmp(argv[1], "-j") == 0) {
		jobs = (unsigned)atoi(argv[2]);
		argc -= 2;
		argv += 2;
	}
	if (argc != 3 || jobs == 0) {
		fprintf(stderr, "usage: sim [-j JOBS] FIRST SEEDS | sim -t SEED\n");
		return 2;
	}
	for (unsigned i = 0; i < jobs; i++)
		if (fork() == 0)
			exit(run_some(strtoull(argv[1], NULL, 10), strtoull(argv[2], NULL, 10), i, jobs));
	while (wait(&status) > 0)
		rc |= !WIFEXITED(status) || WEXITSTATUS(status) != 0;
	return rc;
}
