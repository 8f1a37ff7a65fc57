/*
 * Processes of an experiment and what they cost, samples, and the scratch
 * folder.
 *
 * CPU time is that of the kernel's clock of each process, all its threads; the
 * work that a phase leaves behind (folding, check points) is waited for and
 * counted too, so that a store cannot look cheap by putting work off.
 */
#include "bench.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* The folder of this process, and who made it: a forked child must not remove
 * its parent's. */
static struct {
	char path[512];
	pid_t owner;
} scratch;

/* The herd that lives: ended with the main process, however that ends. */
static struct herd *living;
static volatile sig_atomic_t stopped;

static void
print(const char *fmt, va_list ap)
{
	fputs("bench: ", stderr);
	vfprintf(stderr, fmt, ap);
	fputc('\n', stderr);
}

void
say(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	print(fmt, ap);
	va_end(ap);
}

void
die(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	print(fmt, ap);
	va_end(ap);
	if (scratch.owner == getpid())
		exit(1);
	_exit(1);
}

uint64_t
now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * NS_A_S + (uint64_t)t.tv_nsec;
}

/* ------------------------------------------------------------------ scratch */

static int
remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
	(void)st;
	(void)type;
	(void)at;
	(void)remove(path);
	return 0;
}

static void
remove_scratch(void)
{
	if (scratch.owner != getpid())
		return;
	for (size_t i = 0; living != NULL && i < living->count; i++) {
		kill(living->list[i].pid, SIGKILL);
		waitpid(living->list[i].pid, NULL, 0);
	}
	nftw(scratch.path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

const char *
scratch_open(const char *at)
{
	snprintf(scratch.path, sizeof(scratch.path), "%s/bench-XXXXXX", at);
	if (mkdtemp(scratch.path) == NULL)
		die("cannot make a folder in %s: %s", at, strerror(errno));
	scratch.owner = getpid();
	atexit(remove_scratch);
	return scratch.path;
}

const char *
scratch_path(char *out, size_t cap, const char *name)
{
	if ((size_t)snprintf(out, cap, "%s/%s", scratch.path, name) >= cap)
		die("the path %s is too long", scratch.path);
	return out;
}

void
scratch_drop(const char *name)
{
	char path[600];

	nftw(
	    scratch_path(path, sizeof(path), name), remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* ---------------------------------------------------------------- processes */

static void
stop(int sig)
{
	(void)sig;
	stopped = 1;
}

void
herd_signals(void)
{
	struct sigaction action = {.sa_handler = stop};

	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	signal(SIGPIPE, SIG_IGN);
}

/* In the child: only its own pipes, default signals, and death with the
 * parent. */
static void
become_child(const struct herd *h, pid_t parent)
{
	size_t i;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(1);
	signal(SIGINT, SIG_DFL);
	signal(SIGTERM, SIG_DFL);
	signal(SIGPIPE, SIG_IGN);
	for (i = 0; i < h->count; i++) {
		close(h->list[i].to);
		close(h->list[i].from);
	}
}

struct proc *
herd_add(struct herd *h, herd_body *body, const void *arg)
{
	struct proc *p = &h->list[h->count];
	pid_t parent = getpid();
	int orders[2], answers[2];

	if (h->count == HERD_MAX || pipe(orders) != 0 || pipe(answers) != 0)
		die("cannot start a process: %s", strerror(errno));
	fflush(NULL);
	p->pid = fork();
	if (p->pid < 0)
		die("cannot fork: %s", strerror(errno));
	if (p->pid == 0) {
		become_child(h, parent);
		close(orders[1]);
		close(answers[0]);
		_exit(body(arg, orders[0], answers[1]));
	}
	close(orders[0]);
	close(answers[1]);
	p->to = orders[1];
	p->from = answers[0];
	h->count++;
	living = h;
	return p;
}

bool
herd_end(struct herd *h)
{
	bool good = true;
	int status;
	size_t i;

	for (i = h->count; i-- > 0;) {
		close(h->list[i].to);
		while (waitpid(h->list[i].pid, &status, 0) < 0 && errno == EINTR)
			;
		if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
			good = false;
		close(h->list[i].from);
	}
	h->count = 0;
	living = NULL;
	return good;
}

uint64_t
herd_cpu(const struct herd *h)
{
	uint64_t sum = 0;
	struct timespec t;
	clockid_t clock;
	size_t i;

	for (i = 0; i < h->count; i++) {
		if (clock_getcpuclockid(h->list[i].pid, &clock) != 0 ||
		    clock_gettime(clock, &t) != 0)
			die("process %d is gone", (int)h->list[i].pid);
		sum += (uint64_t)t.tv_sec * NS_A_S + (uint64_t)t.tv_nsec;
	}
	return sum;
}

void
herd_settle(const struct herd *h, unsigned limit_ms)
{
	const unsigned step_ms = 50;
	uint64_t before = herd_cpu(h), after;
	unsigned waited;

	/* Quiet is less than 2 ms of CPU in 50: gossip and timers go on. */
	for (waited = 0; waited < limit_ms; waited += step_ms) {
		poll(NULL, 0, (int)step_ms);
		after = herd_cpu(h);
		if (after - before < 2000000)
			return;
		before = after;
	}
}

void
herd_peak_reset(const struct herd *h)
{
	char path[64];
	size_t i;
	int fd;

	for (i = 0; i < h->count; i++) {
		snprintf(path, sizeof(path), "/proc/%d/clear_refs", (int)h->list[i].pid);
		fd = open(path, O_WRONLY);
		/* Where the kernel cannot, the peak is that since the start. */
		if (fd >= 0) {
			(void)write_all(fd, "5", 1);
			close(fd);
		}
	}
}

uint64_t
herd_peak_kib(const struct herd *h)
{
	unsigned long long kib;
	uint64_t sum = 0;
	char line[256];
	size_t i;
	FILE *f;

	for (i = 0; i < h->count; i++) {
		snprintf(line, sizeof(line), "/proc/%d/status", (int)h->list[i].pid);
		f = fopen(line, "r");
		while (f != NULL && fgets(line, sizeof(line), f) != NULL)
			if (sscanf(line, "VmHWM: %llu", &kib) == 1)
				sum += kib;
		if (f != NULL)
			fclose(f);
	}
	return sum;
}

bool
read_all(int fd, void *to, size_t len)
{
	char *p = to;
	ssize_t n;

	while (len > 0) {
		n = stopped ? 0 : read(fd, p, len);
		if (n == 0 || (n < 0 && errno != EINTR))
			return false;
		if (n > 0) {
			p += n;
			len -= (size_t)n;
		}
	}
	return true;
}

bool
write_all(int fd, const void *from, size_t len)
{
	const char *p = from;
	ssize_t n;

	while (len > 0) {
		n = write(fd, p, len);
		if (n < 0 && errno != EINTR)
			return false;
		if (n > 0) {
			p += n;
			len -= (size_t)n;
		}
	}
	return true;
}

/* ------------------------------------------------------------------ samples */

void
samples_add(struct samples *s, uint64_t ns)
{
	size_t cap = s->cap == 0 ? 65536 : 2 * s->cap;
	uint32_t *more;

	if (s->count == s->cap) {
		more = realloc(s->ns10, cap * sizeof(*more));
		if (more == NULL)
			die("out of memory");
		s->ns10 = more;
		s->cap = cap;
	}
	s->ns10[s->count++] = ns / 10 > UINT32_MAX ? UINT32_MAX : (uint32_t)(ns / 10);
}

static int
compare(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

void
samples_sort(struct samples *s)
{
	if (s->count > 0)
		qsort(s->ns10, s->count, sizeof(*s->ns10), compare);
}

double
samples_us(const struct samples *s, double share)
{
	size_t i = (size_t)(share * (double)s->count);

	if (s->count == 0)
		return 0;
	return (double)s->ns10[i < s->count ? i : s->count - 1] / 100;
}

void
samples_free(struct samples *s)
{
	free(s->ns10);
	memset(s, 0, sizeof(*s));
}

/* --------------------------------------------------------------------- work */

void
outcome_of(struct outcome *o, struct samples *s, double seconds)
{
	samples_sort(s);
	o->count = s->count;
	o->per_s = (double)s->count / seconds;
	o->p50 = samples_us(s, 0.5);
	o->p99 = samples_us(s, 0.99);
	o->p999 = samples_us(s, 0.999);
}

void
herd_work(struct herd *h, const struct job *job, struct outcome *out)
{
	struct proc *generator = &h->list[h->count - 1];
	uint64_t cpu;

	herd_peak_reset(h);
	cpu = herd_cpu(h);
	if (!write_all(generator->to, job, sizeof(*job)) ||
	    !read_all(generator->from, out, sizeof(*out)))
		die(stopped ? "stopped" : "the load generator is gone");
	herd_settle(h, 3000);
	cpu = herd_cpu(h) - cpu;
	out->cpu_us = out->count > 0 ? (double)cpu / 1000 / (double)out->count : 0;
	out->peak_mib = (double)herd_peak_kib(h) / 1024;
	if (out->failed > 0)
		say("%llu requests failed: %s", (unsigned long long)out->failed,
		    out->why);
}

void
work_serve(int orders, int answers, work_body *body, void *arg)
{
	struct outcome outcome;
	struct job job;

	while (read_all(orders, &job, sizeof(job))) {
		memset(&outcome, 0, sizeof(outcome));
		body(arg, &job, &outcome);
		if (!write_all(answers, &outcome, sizeof(outcome)))
			return;
	}
}

size_t
key_text(char out[KEY_CAP], unsigned i)
{
	return (size_t)snprintf(out, KEY_CAP, "key-%07u", i);
}

void
value_fill(char *out, size_t size, unsigned i)
{
	char text[KEY_CAP];
	size_t len = key_text(text, i);

	memset(out, 'a' + (int)(i % 26), size);
	memcpy(out, text, len < size ? len : size);
}

bool
value_check(const void *value, size_t len, size_t size, unsigned i)
{
	char text[KEY_CAP];
	size_t n = key_text(text, i);

	return len == size && memcmp(value, text, n < size ? n : size) == 0;
}
