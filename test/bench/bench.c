/*
 * make bench: three peers on loopback, N=3 R=2 W=2, writes on disk, next to
 * what this machine can do without libdyn, measured in the same run.
 *
 *	bench [--quick] [--raw] [--runs N] [--ms N] [--keys N] [--dir DIR]
 *
 *	--quick    half a minute: one run, short phases, 100-byte values only
 *	--raw      only the limits and the cheapest ring, no libdyn
 *	--runs N   medians of so many runs, 1..15.  Default 3
 *	--ms N     length of a phase.  Default 2000
 *	--keys N   Default 20000
 *	--dir DIR  where the data goes while it runs; should be a real disk.
 *	           Default: the folder of this program
 *
 * The tables go to stdout, progress to stderr.  Ends non-zero if any request
 * failed.
 */
#include "bench.h"

#include <dyn.h>
#include <getopt.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <sys/vfs.h>
#include <unistd.h>

#define TMPFS 0x01021994

const unsigned sizes[SIZES] = {100, 1024};
const unsigned levels[LEVELS] = {1, 16, 64, 256};
const unsigned echo_levels[ECHO_LEVELS] = {1, 16, 64};
const char *const who_name[WHO_COUNT] = {"raw", "client", "peer"};

struct settings {
	unsigned runs, ms, keys, sizes_used, who_used;
	const char *dir;
};

/* Disks change their mind from second to second, so their limit is measured in
 * slices between the other experiments of a run. */
static void
sync_slice(const struct settings *s, struct samples sync[2])
{
	raw_sync(false, s->ms / 8, &sync[0]);
	raw_sync(true, s->ms / 8, &sync[1]);
}

static void
sync_end(struct samples *s, struct sync_outcome *out)
{
	samples_sort(s);
	out->p50 = samples_us(s, 0.5);
	out->p99 = samples_us(s, 0.99);
	samples_free(s);
}

static void
raw_limits(const struct settings *s, struct run *r)
{
	struct job job = {.op = OP_PUT, .ms = s->ms / 2, .keys = s->keys, .size = 100};
	struct herd h = {.count = 0};
	unsigned i;

	say("SQLite");
	for (i = 0; i < LEVELS; i++)
		raw_append(levels[i], s->ms / 2, &r->append[i]);
	say("loopback");
	raw_ring_start(&h, 1, 1, false);
	for (i = 0; i < ECHO_LEVELS; i++) {
		job.in_flight = echo_levels[i];
		herd_work(&h, &job, &r->echo[i]);
	}
	if (!herd_end(&h))
		die("an echo process has failed");
}

/* Fill, then puts and gets at each level. */
static void
measure(const struct settings *s, enum who who, unsigned size, struct run *r)
{
	struct job job = {.op = OP_PUT, .in_flight = 256, .keys = s->keys,
	    .size = sizes[size]};
	struct herd h = {.count = 0};
	struct outcome filled;
	unsigned level, op;
	char name[16];

	say("%s, %u bytes", who_name[who], sizes[size]);
	if (who == WHO_RAW)
		raw_ring_start(&h, 3, 2, true);
	else
		ring_start(&h, who);
	herd_work(&h, &job, &filled);
	if (filled.failed > 0)
		die("the keys could not be written: %s", filled.why);
	job.ms = s->ms;
	for (level = 0; level < LEVELS; level++) {
		job.in_flight = levels[level];
		for (op = 0; op < OP_COUNT; op++) {
			job.op = (enum op)op;
			herd_work(&h, &job, &r->ring[who][size][op][level]);
		}
	}
	if (!herd_end(&h))
		die("a process of the ring ended with an error");
	for (level = 0; level < 3; level++) {
		snprintf(name, sizeof(name), "peer%u", level);
		scratch_drop(name);
		snprintf(name, sizeof(name), "raw%u.db", level);
		scratch_drop(name);
	}
}

static void
one_run(const struct settings *s, struct run *r)
{
	struct samples sync[2] = {{.count = 0}, {.count = 0}};
	unsigned size, who;

	sync_slice(s, sync);
	raw_limits(s, r);
	for (size = 0; size < s->sizes_used; size++)
		for (who = 0; who < s->who_used; who++) {
			sync_slice(s, sync);
			measure(s, (enum who)who, size, r);
		}
	sync_slice(s, sync);
	sync_end(&sync[0], &r->sync[0]);
	sync_end(&sync[1], &r->sync[1]);
}

static unsigned
number(const char *text, unsigned low, unsigned high)
{
	char *end;
	unsigned long n = strtoul(text, &end, 10);

	if (*text == 0 || *end != 0 || n < low || n > high)
		die("%s is not a number from %u to %u", text, low, high);
	return (unsigned)n;
}

static void
read_options(struct settings *s, int argc, char **argv)
{
	static const struct option flags[] = {{"quick", no_argument, NULL, 'q'},
	    {"raw", no_argument, NULL, 'w'}, {"runs", required_argument, NULL, 'r'},
	    {"ms", required_argument, NULL, 'm'}, {"keys", required_argument, NULL, 'k'},
	    {"dir", required_argument, NULL, 'd'}, {NULL, 0, NULL, 0}};
	int c;

	while ((c = getopt_long(argc, argv, "", flags, NULL)) != -1) {
		if (c == 'q') {
			s->runs = 1;
			s->ms = 500;
			s->sizes_used = 1;
		} else if (c == 'w') {
			s->who_used = 1;
		} else if (c == 'r') {
			s->runs = number(optarg, 1, RUNS_MAX);
		} else if (c == 'm') {
			s->ms = number(optarg, 10, 60000);
		} else if (c == 'k') {
			s->keys = number(optarg, 1000, 10000000);
		} else if (c == 'd') {
			s->dir = optarg;
		} else {
			die("usage: bench [--quick] [--raw] [--runs N] [--ms N]"
			    " [--keys N] [--dir DIR]");
		}
	}
	if (optind != argc)
		die("%s: unknown argument", argv[optind]);
}

static void
print_head(const struct settings *s)
{
	struct utsname u;
	struct statfs fs;

	uname(&u);
	printf("libdyn %s: N=3 R=2 W=2, writes on disk, %u keys, %u ms a phase, ",
	    dyn_version(), s->keys, s->ms);
	printf("medians of %u\n", s->runs);
	printf("%s %s %s, %ld cores; all processes share them\n", u.sysname, u.release,
	    u.machine, sysconf(_SC_NPROCESSORS_ONLN));
	if (statfs(s->dir, &fs) == 0 && fs.f_type == TMPFS)
		printf("NOTE: %s is in memory: syncs cost nothing there\n", s->dir);
}

static bool
any_failed(const struct run *r)
{
	const struct outcome *o = &r->ring[0][0][0][0];
	size_t i;

	for (i = 0; i < sizeof(r->ring) / sizeof(*o); i++)
		if (o[i].failed > 0)
			return true;
	return false;
}

int
main(int argc, char **argv)
{
	struct settings s = {3, 2000, 20000, SIZES, WHO_COUNT, dirname(argv[0])};
	struct run *runs, medians;
	unsigned i;

	read_options(&s, argc, argv);
	herd_signals();
	runs = calloc(s.runs, sizeof(*runs));
	if (runs == NULL)
		die("out of memory");
	scratch_open(s.dir);
	for (i = 0; i < s.runs; i++) {
		say("run %u of %u", i + 1, s.runs);
		one_run(&s, &runs[i]);
	}
	table_median(&medians, runs, s.runs);
	print_head(&s);
	table_print(&medians);
	if (s.who_used > WHO_RAW + 1)
		table_aims(&medians);
	free(runs);
	return any_failed(&medians);
}
