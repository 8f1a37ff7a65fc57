/*
 * Runs rings of test/sim/world.h, one a seed.
 *
 *	sim [-j JOBS] [-o NAME=VALUE ...] FIRST SEEDS	so many seeds; the first of all is run twice and
 *					must tell the same story
 *	sim -f FILE			the runs that a file lists: SEED [NAME=VALUE ...]
 *	sim -t SEED [NAME=VALUE ...]	one, with its trace
 *	sim -s SEED [NAME=VALUE ...]	one that fails: make it smaller
 *
 * NAME=VALUE sets a field of struct swarm that the seed would draw otherwise.  A
 * seed that fails prints what was broken and the command that repeats it.
 *
 * Smaller: fields are set, one after the other and again as long as it helps, to
 * values that make less happen; what still fails is kept.  Each try is a process of
 * its own, since an assertion may end it.
 */
#include "test/sim/world.h"

#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define TRY_S 60 /* a try that takes longer is none */

static uint64_t seed_now;

static const char *always[16]; /* -o */
static unsigned always_count;

static void
repeat(void)
{
	fprintf(stderr, "seed %" PRIu64 " fails; it is repeated by: sim -t %" PRIu64, seed_now,
	    seed_now);
	for (unsigned i = 0; i < always_count; i++)
		fprintf(stderr, " %s", always[i]);
	fprintf(stderr, ", made smaller by -s in place of -t\n");
}

/* An assertion: of the library or of the world. */
static void
aborted(int number)
{
	(void)number;
	repeat();
	_exit(1);
}

/* ------------------------------------------------------------ swarms by name */

/* "name=value"; false: no such name. */
static bool
set(struct swarm *o, const char *text)
{
	const char *value = strchr(text, '=');
	size_t len = value != NULL ? (size_t)(value - text) : 0;

#define SET(name)                                                              \
	if (len == strlen(#name) && strncmp(text, #name, len) == 0) {          \
		o->name = (__typeof__(o->name))strtoul(value + 1, NULL, 10);   \
		return true;                                                   \
	}
	SWARM_FIELDS(SET)
#undef SET
	fprintf(stderr, "sim: '%s' is no field of a swarm\n", text);
	return false;
}

/* What differs from what the seed draws. */
static void
print(FILE *out, const struct swarm *o, uint64_t seed)
{
	struct swarm drawn;

	swarm_draw(&drawn, seed);
	fprintf(out, "%" PRIu64, seed);
#define PRINT(name)                                                            \
	if (o->name != drawn.name)                                             \
		fprintf(out, " " #name "=%u", (unsigned)o->name);
	SWARM_FIELDS(PRINT)
#undef PRINT
	fprintf(out, "\n");
}

/* ------------------------------------------------------------- made smaller */

static bool
fails(const struct swarm *o, uint64_t seed)
{
	int status = 0, null;
	pid_t pid = fork();

	if (pid == 0) {
		signal(SIGABRT, SIG_DFL);
		alarm(TRY_S);
		null = open("/dev/null", O_WRONLY);
		if (null >= 0)
			dup2(null, 2);
		_exit(world_run(o, seed, false).broken > 0);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return false;
	return WIFEXITED(status) ? WEXITSTATUS(status) == 1 : WTERMSIG(status) == SIGABRT;
}

static bool
try(struct swarm *o, const struct swarm *smaller, uint64_t seed)
{
	if (memcmp(o, smaller, sizeof(*o)) == 0 || !fails(smaller, seed))
		return false;
	*o = *smaller;
	return true;
}

/* One round over all that can be less; did anything help? */
static bool
shrink_once(struct swarm *o, uint64_t seed)
{
	bool helped = false;

	/* Faults and the like: not at all. */
#define OFF(name)                                                              \
	{                                                                      \
		struct swarm less = *o;                                        \
		less.name = 0;                                                 \
		helped |= try(o, &less, seed);                                 \
	}
	OFF(crash_ms) OFF(break_ms) OFF(split_ms) OFF(pause_ms) OFF(jump_ms) OFF(slow_frame)
	OFF(fail_commit) OFF(weak) OFF(strict) OFF(keep_context) OFF(lose) OFF(lww) OFF(deletes)
	OFF(lww_deletes)
	OFF(power) OFF(joins) OFF(drift) OFF(full_ms) OFF(fail_read) OFF(big)
	OFF(leaves) OFF(forget) OFF(zones) OFF(clients) OFF(mixed) OFF(expiry)
#undef OFF
	/* Sizes: half, then one less. */
#define LESS(name, least)                                                      \
	{                                                                      \
		struct swarm less = *o;                                        \
		less.name = o->name / 2 > (least) ? o->name / 2 : (least);     \
		if (try(o, &less, seed)) {                                     \
			helped = true;                                         \
		} else {                                                       \
			less = *o;                                             \
			less.name -= o->name > (least);                        \
			helped |= try(o, &less, seed);                         \
		}                                                              \
	}
	LESS(nodes, o->copies) LESS(keys, 1) LESS(sessions, 1) LESS(workers, 1) LESS(joins, 0)
#undef LESS
	for (unsigned by = 2; by <= 4; by *= 2) {
		struct swarm less = *o;

		less.storm_ms -= o->storm_ms / by;
		helped |= try(o, &less, seed);
	}
	return helped;
}

static int
shrink(struct swarm *o, uint64_t seed)
{
	if (!fails(o, seed)) {
		fprintf(stderr, "sim: seed %" PRIu64 " does not fail\n", seed);
		return 2;
	}
	while (shrink_once(o, seed))
		print(stderr, o, seed);
	printf("sim -t ");
	print(stdout, o, seed);
	return 1;
}

/* ------------------------------------------------------------ lists of runs */

/* Lines of a file: SEED [NAME=VALUE ...] [# why]. */
static int
run_file(const char *path)
{
	FILE *f = fopen(path, "r");
	unsigned count = 0, failed = 0;
	char line[1024];

	if (f == NULL) {
		perror(path);
		return 2;
	}
	while (fgets(line, sizeof(line), f) != NULL) {
		struct swarm o;
		char *word;

		line[strcspn(line, "#\n")] = '\0';
		word = strtok(line, " \t");
		if (word == NULL)
			continue;
		seed_now = strtoull(word, NULL, 10);
		swarm_draw(&o, seed_now);
		while ((word = strtok(NULL, " \t")) != NULL)
			if (!set(&o, word))
				failed++;
		count++;
		if (world_run(&o, seed_now, false).broken > 0) {
			fprintf(stderr, "a run of %s fails: sim -t ", path);
			print(stderr, &o, seed_now);
			failed++;
		}
	}
	fclose(f);
	printf("sim: %u of %u listed runs passed\n", count - (failed < count ? failed : count), count);
	return failed > 0;
}

static double
seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static bool first_only; /* -x */

static struct outcome
run(uint64_t seed, bool trace)
{
	struct swarm o;

	seed_now = seed;
	swarm_draw(&o, seed);
	for (unsigned i = 0; i < always_count; i++)
		if (!set(&o, always[i]))
			exit(2);
	return world_run(&o, seed, trace);
}


/* Every jobs-th seed; 0 if all passed. */
static int
run_some(uint64_t first, uint64_t count, unsigned job, unsigned jobs)
{
	double began = seconds(), virtual_s = 0;
	uint64_t forgotten = 0, cleared = 0, calls = 0, done = 0, seeds = 0, failed = 0;

	for (uint64_t i = job; i < count; i += jobs) {
		struct outcome out = run(first + i, false);

		seeds++;
		calls += out.calls;
		done += out.done;
		forgotten += out.forgotten;
		cleared += out.cleared;
		virtual_s += (double)out.virtual_ns / 1e9;
		if (i == 0 && run(first, false).digest != out.digest) {
			fprintf(stderr, "the same seed went two ways\n");
			out.broken++;
		}
		if (out.broken > 0) {
			repeat();
			failed++;
			if (first_only)
				break;
		}
	}
	printf("sim: %" PRIu64 " of %" PRIu64 " seeds passed, %.2f virtual hours, %.0f x real time; %" PRIu64
	    " of %" PRIu64 " calls done, %" PRIu64 " rows forgotten, %" PRIu64
	    " directories cleared\n", seeds - failed, seeds, virtual_s / 3600,
	    virtual_s / (seconds() - began), done, calls, forgotten, cleared);
	return failed > 0;
}

/* -t or -s. */
static int
run_one(int how, int count, char **words)
{
	struct swarm o;
	struct outcome out;

	seed_now = strtoull(words[0], NULL, 10);
	swarm_draw(&o, seed_now);
	for (int i = 1; i < count; i++)
		if (!set(&o, words[i]))
			return 2;
	if (how == 's')
		return shrink(&o, seed_now);
	out = world_run(&o, seed_now, true);
	printf("digest %016" PRIx64 ", %u broken\n", out.digest, out.broken);
	return out.broken > 0;
}

int
main(int argc, char **argv)
{
	unsigned jobs = 1;
	int rc = 0, status;

	signal(SIGABRT, aborted);
	first_only = argc > 1 && strcmp(argv[1], "-x") == 0;
	argc -= first_only;
	argv += first_only;
	if (argc == 3 && strcmp(argv[1], "-f") == 0)
		return run_file(argv[2]);
	if (argc >= 3 && (strcmp(argv[1], "-t") == 0 || strcmp(argv[1], "-s") == 0))
		return run_one(argv[1][1], argc - 2, argv + 2);
	if (argc > 3 && strcmp(argv[1], "-j") == 0) {
		jobs = (unsigned)atoi(argv[2]);
		argc -= 2;
		argv += 2;
	}
	while (argc > 3 && strcmp(argv[1], "-o") == 0 && always_count < 16) {
		always[always_count++] = argv[2];
		argc -= 2;
		argv += 2;
	}
	if (argc != 3 || jobs == 0) {
		fprintf(stderr, "usage: sim [-x] [-j JOBS] [-o NAME=VALUE ...] FIRST SEEDS | sim -f FILE |"
		    " sim -t|-s SEED [NAME=VALUE ...]\n");
		return 2;
	}
	for (unsigned i = 0; i < jobs; i++)
		if (fork() == 0)
			exit(run_some(strtoull(argv[1], NULL, 10), strtoull(argv[2], NULL, 10), i, jobs));
	while (wait(&status) > 0)
		rc |= !WIFEXITED(status) || WEXITSTATUS(status) != 0;
	return rc;
}
