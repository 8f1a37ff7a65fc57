/*
 * The benchmark: what its files share.
 *
 *	bench.c       options, the order of the runs, the aims
 *	bench_table.c medians and the tables
 *	bench_util.c  processes, what they cost, samples
 *	raw.c         the limits of this machine, without libdyn
 *	bench_ring.c  three peers and a load generator, with libdyn
 *
 * The main process only forks and measures.  It never opens a node, so that
 * every process it forks starts clean.
 */
#ifndef BENCH_H
#define BENCH_H

#include <dyn.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define HERD_MAX 8
#define NS_A_S 1000000000ull

/* ---------------------------------------------------------------- processes */

struct proc {
	pid_t pid;
	int to, from; /* pipes, from where the main process stands */
};

/* The processes of one experiment. */
struct herd {
	struct proc list[HERD_MAX];
	size_t count;
};

/* What a process does until its orders end (read gives 0), then it exits with
 * what this returns. */
typedef int herd_body(const void *arg, int orders, int answers);

/* Fork one more, with a name for what goes wrong. */
struct proc *herd_add(struct herd *, herd_body *, const void *arg);
/* End the orders of each, the last first, and wait for it.  False if one of
 * them failed. */
bool herd_end(struct herd *);
/* SIGINT and SIGTERM make the next answer of a process fail. */
void herd_signals(void);
/* CPU time of all of them so far, ns. */
uint64_t herd_cpu(const struct herd *);
/* Wait until they do nothing, at most so long. */
void herd_settle(const struct herd *, unsigned limit_ms);
/* Peak of memory: start anew; kibibytes summed over all. */
void herd_peak_reset(const struct herd *);
uint64_t herd_peak_kib(const struct herd *);

/* All bytes or false (the other side is gone). */
bool read_all(int fd, void *, size_t);
bool write_all(int fd, const void *, size_t);

/* A message to stderr, and out: exits the process that calls it; the main
 * process removes its folder. */
void die(const char *fmt, ...) __attribute__((noreturn, format(printf, 1, 2)));
void say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

uint64_t now_ns(void);
/* A new folder under `at` that is removed when the process that called this
 * exits; once a process. */
const char *scratch_open(const char *at);
void scratch_drop(const char *name); /* remove one folder or file in it */
const char *scratch_path(char *out, size_t cap, const char *name);

/* ------------------------------------------------------------------- samples */

struct samples {
	uint32_t *ns10; /* tens of ns: 42 seconds at most */
	size_t count, cap;
};

void samples_add(struct samples *, uint64_t ns);
/* Sort, and the value (us) below which this share lies. */
void samples_sort(struct samples *);
double samples_us(const struct samples *, double share);
void samples_free(struct samples *);

/* ---------------------------------------------------------------------- work */

enum op { OP_PUT, OP_GET, OP_COUNT };

/* One phase: a closed loop with so many requests in flight. */
struct job {
	enum op op;
	unsigned in_flight;
	unsigned ms; /* how long; 0 = once over all keys */
	unsigned keys;
	unsigned size; /* of a value */
	enum dyn_durability durability; /* of puts */
};

struct outcome {
	uint64_t count;               /* requests that succeeded */
	double per_s, p50, p99, p999; /* us */
	double cpu_us;                /* a request, all processes */
	double peak_mib;              /* all processes */
	uint64_t failed;              /* requests that did not */
	char why[128];                /* the first of those */
};

/* From a phase's samples; seconds it took. */
void outcome_of(struct outcome *, struct samples *, double seconds);
/* The last process of the herd serves jobs: order one, and add what it cost. */
void herd_work(struct herd *, const struct job *, struct outcome *);
/* The other end: serve jobs until the orders end. */
typedef void work_body(void *arg, const struct job *, struct outcome *);
void work_serve(int orders, int answers, work_body *, void *arg);

/* Key number i as text; value of `size` bytes that begins with it. */
#define KEY_CAP 16
size_t key_text(char out[KEY_CAP], unsigned i);
void value_fill(char *out, size_t size, unsigned i);
bool value_check(const void *, size_t len, size_t size, unsigned i);

/* ------------------------------------------------------------- experiments */

struct sync_outcome {
	double p50, p99; /* us */
};

/* fdatasync of a 4 KiB append, to a file that grows or that is full length. */
void raw_sync(bool preallocated, unsigned ms, struct samples *);
/* Appending rows with a rising integer key, so many a commit, on disk. */
void raw_append(unsigned rows_a_commit, unsigned ms, struct outcome *);
/* The cheapest ring: one client, `servers` processes, waits for `need`. */
void raw_ring_start(struct herd *, unsigned servers, unsigned need, bool stores);

enum who { WHO_RAW, WHO_CLIENT, WHO_PEER, WHO_COUNT };

/* Three peers, the generator beside them (client) or one of them (peer). */
void ring_start(struct herd *, enum who);

/* Rings of other programs are made of the same members. */
struct member_config {
	unsigned number; /* of the peer, from 0 */
	bool client;
	char seeds[HERD_MAX * 32];
};

/* What each of their processes writes first. */
struct ready {
	int rc;
	char address[DYN_ADDRESS_MAX];
	char text[256];
};

/* N=3, R=W=2; a peer's directory is peerNUMBER in the scratch folder.  The rc. */
int member_open(dyn_node **, struct member_config *, struct ready *);
/* Wait until that many members agree, hold what they own and reach each other. */
int member_settled(dyn_node *, unsigned members, struct ready *);
/* Fork it, wait until it is ready, and get the config ready for the next one. */
struct proc *member_start(struct herd *, herd_body *, struct member_config *);

/* -------------------------------------------------------------------- tables */

#define RUNS_MAX 15
#define SIZES 2
#define LEVELS 4
#define ECHO_LEVELS 3

extern const unsigned sizes[SIZES], levels[LEVELS], echo_levels[ECHO_LEVELS];
extern const char *const who_name[WHO_COUNT];

/* Everything one run found. */
struct run {
	struct sync_outcome sync[2]; /* grows, preallocated */
	struct outcome append[LEVELS], echo[ECHO_LEVELS];
	struct outcome ring[WHO_COUNT][SIZES][OP_COUNT][LEVELS];
};

/* The medians of all numbers. */
void table_median(struct run *out, const struct run *runs, unsigned count);
/* In a shortened run some cells were not measured: their per_s is 0. */
void table_print(const struct run *);
/* The aims, and whether they were met. */
void table_aims(const struct run *);

#endif
