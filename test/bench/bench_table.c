/*
 * Medians of the runs, and the tables a person reads.
 */
#include "bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int
compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

/* The median of the number that lies at this place of each run. */
static double
median(const struct run *runs, unsigned count, size_t offset)
{
	double all[RUNS_MAX];
	unsigned i;

	for (i = 0; i < count; i++)
		memcpy(&all[i], (const char *)&runs[i] + offset, sizeof(double));
	qsort(all, count, sizeof(double), compare);
	return count % 2 != 0 ? all[count / 2]
			      : (all[count / 2 - 1] + all[count / 2]) / 2;
}

static void
outcome_median(struct run *out, struct outcome *o, const struct run *runs, unsigned count)
{
	double *number[] = {
	    &o->per_s, &o->p50, &o->p99, &o->p999, &o->cpu_us, &o->peak_mib};
	size_t at = (size_t)((char *)o - (char *)out);
	unsigned i;

	for (i = 0; i < sizeof(number) / sizeof(number[0]); i++)
		*number[i] =
		    median(runs, count, (size_t)((char *)number[i] - (char *)out));
	o->failed = 0;
	for (i = 0; i < count; i++)
		o->failed +=
		    ((const struct outcome *)((const char *)&runs[i] + at))->failed;
}

void
table_median(struct run *out, const struct run *runs, unsigned count)
{
	struct outcome *ring = &out->ring[0][0][0][0];
	size_t i;

	memset(out, 0, sizeof(*out));
	for (i = 0; i < 2; i++) {
		out->sync[i].p50 = median(
		    runs, count, (size_t)((char *)&out->sync[i].p50 - (char *)out));
		out->sync[i].p99 = median(
		    runs, count, (size_t)((char *)&out->sync[i].p99 - (char *)out));
	}
	for (i = 0; i < LEVELS; i++)
		outcome_median(out, &out->append[i], runs, count);
	for (i = 0; i < ECHO_LEVELS; i++)
		outcome_median(out, &out->echo[i], runs, count);
	for (i = 0; i < sizeof(out->ring) / sizeof(*ring); i++)
		outcome_median(out, &ring[i], runs, count);
}

static void
print_limits(const struct run *r)
{
	unsigned i;

	printf("\nLimits of this machine, without libdyn\n\n");
	printf("%-36s %10s %10s\n", "  fdatasync of a 4 KiB append", "p50 us", "p99 us");
	printf("%-36s %10.0f %10.0f\n", "    the file grows", r->sync[0].p50,
	    r->sync[0].p99);
	printf("%-36s %10.0f %10.0f\n", "    within a file written before",
	    r->sync[1].p50, r->sync[1].p99);
	printf("\n%-36s %10s %10s %10s\n", "  SQLite, 100-byte rows, on disk", "rows/s",
	    "CPU us/row", "p50 us");
	for (i = 0; i < LEVELS; i++)
		printf("    %3u rows a commit %25.0f %10.1f %10.0f\n", levels[i],
		    r->append[i].per_s, r->append[i].cpu_us, r->append[i].p50);
	printf("\n%-36s %10s %10s %10s\n", "  loopback echo of 100 bytes", "trips/s",
	    "CPU us", "p50 us");
	for (i = 0; i < ECHO_LEVELS; i++)
		printf("    %3u in flight %29.0f %10.1f %10.0f\n", echo_levels[i],
		    r->echo[i].per_s, r->echo[i].cpu_us, r->echo[i].p50);
}

static void
print_row(const struct outcome *o, const struct outcome *raw, const char *name)
{
	char failed[40] = "";

	if (o->failed > 0)
		snprintf(failed, sizeof(failed), "  %llu FAILED",
		    (unsigned long long)o->failed);
	printf("%-7s %8.0f %8.0f %8.0f %8.0f %7.1f %6.0f", name, o->per_s, o->p50, o->p99,
	    o->p999, o->cpu_us, o->peak_mib);
	if (o != raw && raw->per_s > 0)
		printf(" %7.2f %7.2f", o->per_s / raw->per_s, o->cpu_us / raw->cpu_us);
	printf("%s\n", failed);
}

static void
print_ring(const struct run *r, unsigned size, enum op op)
{
	const struct outcome *raw, *o;
	unsigned level, who;

	printf("\n%s of %u bytes\n\n", op == OP_PUT ? "Puts" : "Gets", sizes[size]);
	printf("  in flight     %8s %8s %8s %8s %7s %6s %7s %7s\n", "per s", "p50 us",
	    "p99 us", "p99.9 us", "CPU us", "MiB", "rate", "CPU");
	for (level = 0; level < LEVELS; level++) {
		raw = &r->ring[WHO_RAW][size][op][level];
		for (who = 0; who < WHO_COUNT; who++) {
			o = &r->ring[who][size][op][level];
			if (o->per_s <= 0 && o->failed == 0)
				continue;
			printf("  %4u  ", levels[level]);
			print_row(o, raw, who_name[who]);
		}
	}
}

void
table_print(const struct run *r)
{
	unsigned size, op, level, any;

	print_limits(r);
	printf(
	    "\nThe ring.  raw: the cheapest program of that shape, a client that sends "
	    "to\n"
	    "three processes with SQLite and waits for two; client: libdyn, three peers "
	    "and\n"
	    "a client; peer: libdyn, an application that is one of three peers.  CPU "
	    "and\n"
	    "memory are of all processes; the last two columns are multiples of raw.\n");
	for (size = 0; size < SIZES; size++)
		for (op = 0; op < OP_COUNT; op++) {
			for (any = level = 0; level < LEVELS; level++)
				any |= r->ring[WHO_RAW][size][op][level].per_s > 0 ||
				       r->ring[WHO_CLIENT][size][op][level].per_s > 0;
			if (any)
				print_ring(r, size, (enum op)op);
		}
}

static void
aim(const char *what, double is, double wanted, bool at_least)
{
	bool met = at_least ? is >= wanted : is <= wanted;

	printf("  %-52s %9.0f  %s %7.0f  %s\n", what, is, at_least ? ">=" : "<=", wanted,
	    met ? "met" : "NOT met");
}

void
table_aims(const struct run *r)
{
	const struct outcome *put, *get, *one;
	char what[80];
	unsigned who;

	printf("\nAims (values of %u bytes)\n\n", sizes[0]);
	for (who = WHO_CLIENT; who < WHO_COUNT; who++) {
		put = &r->ring[who][0][OP_PUT][2];
		get = &r->ring[who][0][OP_GET][2];
		one = &r->ring[who][0][OP_PUT][0];
		if (put->per_s <= 0)
			continue;
		snprintf(what, sizeof(what), "%s: puts/s, %u in flight", who_name[who],
		    levels[2]);
		aim(what, put->per_s, 15000, true);
		snprintf(what, sizeof(what), "%s: gets/s, %u in flight", who_name[who],
		    levels[2]);
		aim(what, get->per_s, 40000, true);
		snprintf(what, sizeof(what),
		    "%s: one put, p50 us (4 x (fdatasync + echo))", who_name[who]);
		aim(what, one->p50, 4 * (r->sync[0].p50 + r->echo[0].p50), false);
	}
}
