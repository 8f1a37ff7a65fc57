/* See proc.h.  Both ends are the same program, so plain structs travel. */
#include "cluster/proc.h"

#include "cluster/load.h"

#include "model/context.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <netinet/in.h>
#include <unistd.h>

#define ANSWER_WAIT_MS 40000

enum ask_kind { /* goes on after proc_kind */
	ASK_STATUS = PROC_DELETE + 1,
	ASK_STATS,
	ASK_MEMBERS,
	ASK_OWNERS,
	ASK_MEMBER_STATUS,
	ASK_CHANGE,
	ASK_LEAVE,
	ASK_LOAD,
	ASK_UNLOAD,
	ASK_WORK,
	ASK_WORK_END,
	ASK_CLOSE,
	ASK_CLOSE_BUSY
};

struct ask {
	int kind;
	struct dyn_call call;
	bool lww;
	char key[256];
	char value[2048];
	unsigned char context[PROC_CONTEXT_MAX];
	size_t context_len, size;
	struct dyn_id id;
	struct proc_order orders[PROC_ORDERS_MAX];
	size_t orders_count;
	struct load *load;
	unsigned writers, readers, ms;
	proc_work *work;
	void *work_arg;
};

/* The answer to anything but a call, and the hello. */
struct told {
	int rc;
	struct dyn_error error;
	struct dyn_id id;
	char address[DYN_ADDRESS_MAX];
	struct dyn_status status;
	struct dyn_stats stats;
	struct dyn_member members[16];
	struct dyn_id owners[16];
	struct dyn_plan_figures figures;
	size_t count;
};

static bool
move(int fd, void *bytes, size_t len, bool out)
{
	char *p = bytes;
	ssize_t n;

	while (len > 0) {
		n = out ? send(fd, p, len, MSG_NOSIGNAL) : read(fd, p, len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		p += n;
		len -= (size_t)n;
	}
	return true;
}

/* ----------------------------------------------------------------- the child */

struct child {
	int fd;
	dyn_node *node;
	dyn_bucket *bucket, *lww;
	struct load_run *run;
	proc_work *work;
	void *work_arg;
	pthread_t work_thread;
};

static void
log_line(void *arg, enum dyn_log_level level, const char *line)
{
	static const char *const names[] = {"error", "warning", "info", "debug"};

	fprintf(arg, "%d %llu %s: %s\n", (int)getpid(),
	    (unsigned long long)test_now() / 1000000 % 1000000, names[level], line);
}

static int
by_text(const void *a, const void *b)
{
	const struct dyn_slice *x = a, *y = b;

	return slice_compare(*x, *y);
}

static int
give_order(dyn_plan *p, const struct proc_order *o)
{
	switch (o->what) {
	case 'j':
		return dyn_plan_join(p, o->id);
	case 'l':
		return dyn_plan_leave(p, o->id);
	case 'f':
		return dyn_plan_forget(p, o->id);
	case 'r':
		return dyn_plan_replace(p, o->id, o->other);
	case 'w':
		return dyn_plan_weight(p, o->id, o->weight);
	default:
		return dyn_plan_location(p, o->id, o->location);
	}
}

static int
change(struct child *c, const struct ask *ask, struct dyn_plan_figures *figures)
{
	dyn_plan *p;
	int rc = dyn_plan_new(&p, c->node);

	for (size_t i = 0; i < ask->orders_count && rc == 0; i++)
		rc = give_order(p, &ask->orders[i]);
	figures->size = sizeof(*figures);
	if (rc == 0)
		rc = dyn_plan_show(p, figures);
	if (rc == 0 && ask->ms > 0)
		rc = dyn_plan_commit(p, ask->ms);
	dyn_plan_free(p);
	return rc;
}

static void
take_result(struct proc_answer *a, dyn_result *r)
{
	struct dyn_slice values[64];
	size_t len = 0;

	if (r == NULL)
		return;
	a->count = (unsigned)dyn_result_count(r);
	a->siblings = (unsigned)dyn_result_siblings(r);
	a->receipt = *dyn_result_receipt(r);
	a->size = dyn_result_value(r, 0).len;
	a->stamp = dyn_result_context(r)->time;
	for (size_t i = 0; i < MIN(a->count, 64u); i++)
		values[i] = dyn_result_value(r, i);
	qsort(values, MIN(a->count, 64u), sizeof(values[0]), by_text);
	for (size_t i = 0; i < MIN(a->count, 64u) && len < sizeof(a->values); i++)
		len += (size_t)snprintf(a->values + len, sizeof(a->values) - len,
		    "%s%.*s", i > 0 ? "|" : "", (int)values[i].len,
		    (const char *)values[i].data);
	if (dyn_context_encode(dyn_result_context(r), a->context, sizeof(a->context),
		&a->context_len) != 0)
		abort();
	dyn_result_free(r);
}

static void
do_call(struct child *c, const struct ask *ask, struct proc_answer *a)
{
	struct dyn_slice key = dyn_str(ask->key), value = dyn_str(ask->value);
	char *big = ask->size > 0 ? calloc(1, ask->size) : NULL;
	dyn_bucket *bucket = ask->lww ? c->lww : c->bucket;
	dyn_context *context = NULL;
	dyn_result *r = NULL;
	uint64_t began = test_now();

	if (ask->context_len > 0)
		a->rc = dyn_context_decode(&context, ask->context, ask->context_len);
	if (big != NULL)
		value = slice(big, ask->size);
	if (a->rc == 0 && ask->kind == PROC_GET)
		a->rc = dyn_get(bucket, key, &ask->call, &r);
	else if (a->rc == 0 && ask->kind == PROC_PUT)
		a->rc = dyn_put(bucket, key, context, value, &ask->call, &r);
	else if (a->rc == 0)
		a->rc = dyn_delete(bucket, key, context, &ask->call, &r);
	a->ms = (unsigned)((test_now() - began) / 1000000);
	dyn_context_free(context);
	free(big);
	take_result(a, r);
}

static int
tell_members(struct child *c, struct told *t)
{
	struct dyn_member *m;
	int rc = dyn_members(c->node, &m, &t->count);

	if (rc != 0)
		return rc;
	if (t->count > ARRAY_LEN(t->members))
		abort();
	memcpy(t->members, m, t->count * sizeof(*m));
	dyn_members_free(m);
	return 0;
}

/* Close with calls in flight: each must be answered, once, before dyn_close
 * returns. */
static void
count_answer(void *arg, int rc, dyn_result *r)
{
	(void)rc;
	dyn_result_free(r);
	atomic_fetch_add((atomic_uint *)arg, 1);
}

static int
close_busy(struct child *c, unsigned ms)
{
	atomic_uint answered = 0;
	unsigned started = 0;
	char key[32];
	int rc;

	for (unsigned i = 0; i < 30; i++) {
		snprintf(key, sizeof(key), "last-%u", i);
		started += dyn_put_async(c->bucket, dyn_str(key), NULL, dyn_str("value"),
			       NULL, count_answer, &answered) == 0;
		started += dyn_get_async(c->bucket, dyn_str(key), NULL, count_answer,
			       &answered) == 0;
	}
	rc = dyn_close(c->node, ms);
	if (atomic_load(&answered) != started)
		abort();
	return rc;
}

static void *
do_work(void *arg)
{
	struct child *c = arg;

	c->work(c->bucket, c->work_arg);
	return NULL;
}

/* False: the node is closed. */
static bool
do_other(struct child *c, const struct ask *ask, struct told *t)
{
	size_t all;

	t->status.size = sizeof(t->status);
	t->stats.size = sizeof(t->stats);
	switch (ask->kind) {
	case ASK_STATUS:
		t->rc = dyn_status(c->node, &t->status);
		return true;
	case ASK_STATS:
		t->rc = dyn_stats(c->node, &t->stats);
		return true;
	case ASK_MEMBERS:
		t->rc = tell_members(c, t);
		return true;
	case ASK_OWNERS:
		t->rc = dyn_locate(ask->lww ? c->lww : c->bucket, dyn_str(ask->key),
		    t->owners, ARRAY_LEN(t->owners), &all, &t->count, NULL);
		return true;
	case ASK_MEMBER_STATUS:
		t->rc = dyn_member_status(c->node, ask->id, 2000, &t->status, &t->stats);
		return true;
	case ASK_CHANGE:
		t->rc = change(c, ask, &t->figures);
		return true;
	case ASK_LEAVE:
		t->rc = dyn_leave(c->node, ask->ms);
		return true;
	case ASK_LOAD:
		c->run = load_start(ask->load, c->bucket, ask->writers, ask->readers);
		return true;
	case ASK_UNLOAD:
		load_stop(c->run);
		c->run = NULL;
		return true;
	case ASK_WORK:
		c->work = ask->work;
		c->work_arg = ask->work_arg;
		if (pthread_create(&c->work_thread, NULL, do_work, c) != 0)
			abort();
		return true;
	case ASK_WORK_END:
		pthread_join(c->work_thread, NULL);
		return true;
	default:
		load_stop(c->run);
		c->run = NULL;
		t->rc = ask->kind == ASK_CLOSE_BUSY ? close_busy(c, ask->ms)
						    : dyn_close(c->node, ask->ms);
		return false;
	}
}

static void
serve(struct child *c, struct ask *ask, struct told *t)
{
	struct proc_answer a;
	bool on = true;

	while (on) {
		memset(t, 0, sizeof(*t));
		if (!move(c->fd, ask, sizeof(*ask), false)) {
			/* The test is over; what the node does now is not its
			 * matter. */
			_exit(0);
		}
		if (ask->kind <= PROC_DELETE) {
			memset(&a, 0, sizeof(a));
			do_call(c, ask, &a);
			move(c->fd, &a, sizeof(a), true);
			continue;
		}
		on = do_other(c, ask, t);
		move(c->fd, t, sizeof(*t), true);
	}
}

static int
open_child(struct child *c, const struct dyn_options *options, struct dyn_error *error)
{
	struct dyn_bucket_options how = DYN_BUCKET_OPTIONS_INIT;
	int rc = dyn_open(&c->node, options, error);

	if (rc != 0)
		return rc;
	how.policy = DYN_SIBLINGS;
	rc = dyn_bucket_open(&c->bucket, c->node, "t", &how);
	how.policy = DYN_LWW;
	if (rc == 0)
		rc = dyn_bucket_open(&c->lww, c->node, "l", &how);
	if (rc != 0)
		abort();
	return 0;
}

static void
enter_net(const char *net)
{
	int fd;

	if (net == NULL)
		return;
	fd = open(net, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || setns(fd, CLONE_NEWNET) != 0)
		abort();
	close(fd);
}

static void
child_main(int fd, const char *log, const struct dyn_options *options)
{
	struct child c = {.fd = fd};
	struct dyn_options o = *options;
	struct told *t = calloc(1, sizeof(*t));
	struct ask *ask = calloc(1, sizeof(*ask));
	FILE *f = getenv("RING_LOG") != NULL ? stderr : fopen(log, "a");

	if (f == NULL || t == NULL || ask == NULL)
		abort();
	setvbuf(f, NULL, _IOLBF, 0);
	if (o.log == NULL) {
		o.log = log_line;
		o.log_arg = f;
		o.log_level = DYN_LOG_DEBUG;
	}
	t->rc = open_child(&c, &o, &t->error);
	if (t->rc == 0) {
		t->id = dyn_self(c.node);
		snprintf(t->address, sizeof(t->address), "%s", dyn_address(c.node));
	}
	if (move(fd, t, sizeof(*t), true) && t->rc == 0)
		serve(&c, ask, t);
	free(t);
	free(ask);
	if (f != stderr)
		fclose(f);
	exit(0); /* not _exit: a leak checker may look */
}

/* ---------------------------------------------------------------- the parent */

/* Everything of the parent but the own line goes: a test restarts nodes, and
 * other nodes' lines must end with the test. */
static void
become_child(int fd, pid_t parent)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(1);
	for (int i = 3; i < 256; i++)
		if (i != fd)
			close(i);
}

void
proc_start(struct proc *p, const struct dyn_options *o)
{
	proc_start_in(p, o, NULL, NULL);
}

void
proc_start_in(
    struct proc *p, const struct dyn_options *o, const char *net, const char *log)
{
	pid_t parent = getpid();
	int ends[2];

	memset(p, 0, sizeof(*p));
	if (log != NULL)
		snprintf(p->log, sizeof(p->log), "%s", log);
	else
		snprintf(p->log, sizeof(p->log), "%s/log", test_dir());
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
	fflush(NULL);
	p->pid = fork();
	ck_assert_int_ge(p->pid, 0);
	if (p->pid == 0) {
		become_child(ends[1], parent);
		enter_net(net);
		child_main(ends[1], p->log, o);
	}
	close(ends[1]);
	p->fd = ends[0];
}

/* Its end: the status must be 0 unless we killed it. */
static void
reap(struct proc *p, bool killed)
{
	int status;

	ck_assert_int_eq(waitpid(p->pid, &status, 0), p->pid);
	close(p->fd);
	p->pid = 0;
	p->fd = -1;
	if (!killed)
		ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0,
		    "the process ended with status %x", (unsigned)status);
}

static void
hear(struct proc *p, void *bytes, size_t len)
{
	struct pollfd fd = {.fd = p->fd, .events = POLLIN};
	int status;

	ck_assert_int_ne(p->pid, 0);
	if (poll(&fd, 1, ANSWER_WAIT_MS) == 1 && move(p->fd, bytes, len, false))
		return;
	if (waitpid(p->pid, &status, WNOHANG) == p->pid)
		ck_abort_msg("process %d died: status %x", (int)p->pid, (unsigned)status);
	ck_abort_msg("process %d does not answer", (int)p->pid);
}

int
proc_ready(struct proc *p, struct dyn_error *error)
{
	struct told t;

	hear(p, &t, sizeof(t));
	p->id = t.id;
	memcpy(p->address, t.address, sizeof(p->address));
	if (error != NULL)
		*error = t.error;
	if (t.rc != 0)
		reap(p, false);
	return t.rc;
}

void
proc_open(struct proc *p, const struct dyn_options *o)
{
	struct dyn_error error;
	int rc;

	proc_start(p, o);
	rc = proc_ready(p, &error);
	ck_assert_msg(rc == 0, "dyn_open: %d %s", rc, error.text);
}

void
proc_signal(struct proc *p, int number)
{
	siginfo_t info;

	ck_assert_int_gt(p->pid, 0);
	ck_assert_int_eq(kill(p->pid, number), 0);
	/* Its threads may run on for a moment, and answer. */
	if (number == SIGSTOP)
		ck_assert_int_eq(waitid(P_PID, (id_t)p->pid, &info, WSTOPPED), 0);
}

void
proc_kill(struct proc *p)
{
	if (p->pid <= 0)
		return;
	proc_signal(p, SIGKILL);
	reap(p, true);
}

static void
tell(struct proc *p, struct ask *ask)
{
	ck_assert_int_ne(p->pid, 0);
	ck_assert_msg(move(p->fd, ask, sizeof(*ask), true), "process %d: line is broken",
	    (int)p->pid);
}

static void
ask_told(struct proc *p, struct ask *ask, struct told *t)
{
	tell(p, ask);
	hear(p, t, sizeof(*t));
}

void
proc_closing(struct proc *p, unsigned deadline_ms)
{
	struct ask ask = {.kind = ASK_CLOSE_BUSY, .ms = deadline_ms};

	tell(p, &ask);
}

int
proc_closed(struct proc *p)
{
	struct told t;

	hear(p, &t, sizeof(t));
	reap(p, false);
	return t.rc;
}

int
proc_close(struct proc *p, unsigned deadline_ms)
{
	struct ask ask = {.kind = ASK_CLOSE, .ms = deadline_ms};

	tell(p, &ask);
	return proc_closed(p);
}

/* ------------------------------------------------------------------- calls */

void
proc_call_begin(struct proc *p, enum proc_kind kind, const struct proc_call *c)
{
	struct ask ask = {.kind = (int)kind, .call = c->call, .lww = c->lww, .size = c->size};

	snprintf(ask.key, sizeof(ask.key), "%s", c->key);
	snprintf(ask.value, sizeof(ask.value), "%s", c->value != NULL ? c->value : "");
	if (c->seen != NULL) {
		memcpy(ask.context, c->seen->context, c->seen->context_len);
		ask.context_len = c->seen->context_len;
	}
	tell(p, &ask);
}

void
proc_call_end(struct proc *p, struct proc_answer *a)
{
	hear(p, a, sizeof(*a));
}

static int
call(struct proc *p, enum proc_kind kind, const struct proc_call *c, struct proc_answer *a)
{
	proc_call_begin(p, kind, c);
	proc_call_end(p, a);
	return a->rc;
}

int
proc_get(struct proc *p, const struct proc_call *c, struct proc_answer *a)
{
	return call(p, PROC_GET, c, a);
}

int
proc_put(struct proc *p, const struct proc_call *c, struct proc_answer *a)
{
	return call(p, PROC_PUT, c, a);
}

int
proc_delete(struct proc *p, const struct proc_call *c, struct proc_answer *a)
{
	return call(p, PROC_DELETE, c, a);
}

void
proc_write(struct proc *p, const char *key, const char *value)
{
	struct proc_call c = {.key = key, .value = value};
	struct proc_answer a;

	ck_assert_msg(proc_put(p, &c, &a) == 0, "put %s: %s", key, dyn_strerror(a.rc));
}

const char *
proc_read(struct proc *p, const char *key, unsigned flags)
{
	static struct proc_answer a;
	struct proc_call c = {.key = key, .call = {.flags = flags}};

	ck_assert_msg(proc_get(p, &c, &a) == 0, "get %s: %s", key, dyn_strerror(a.rc));
	return a.values;
}

void
proc_status(struct proc *p, struct dyn_status *out)
{
	struct ask ask = {.kind = ASK_STATUS};
	struct told t;

	ask_told(p, &ask, &t);
	ck_assert_int_eq(t.rc, 0);
	*out = t.status;
}

unsigned
proc_reaches(struct proc *p)
{
	struct dyn_status s = DYN_STATUS_INIT;

	proc_status(p, &s);
	return s.reachable;
}

void
proc_stats(struct proc *p, struct dyn_stats *out)
{
	struct ask ask = {.kind = ASK_STATS};
	struct told t;

	ask_told(p, &ask, &t);
	ck_assert_int_eq(t.rc, 0);
	*out = t.stats;
}

size_t
proc_members(struct proc *p, struct dyn_member *out, size_t cap)
{
	struct ask ask = {.kind = ASK_MEMBERS};
	struct told t;

	ask_told(p, &ask, &t);
	ck_assert_int_eq(t.rc, 0);
	ck_assert_uint_le(t.count, cap);
	memcpy(out, t.members, t.count * sizeof(*out));
	return t.count;
}

size_t
proc_owners_in(struct proc *p, bool lww, const char *key, struct dyn_id *out, size_t cap)
{
	struct ask ask = {.kind = ASK_OWNERS, .lww = lww};
	struct told t;

	snprintf(ask.key, sizeof(ask.key), "%s", key);
	ask_told(p, &ask, &t);
	ck_assert_int_eq(t.rc, 0);
	ck_assert_uint_le(t.count, cap);
	memcpy(out, t.owners, t.count * sizeof(*out));
	return t.count;
}

size_t
proc_owners(struct proc *p, const char *key, struct dyn_id *out, size_t cap)
{
	return proc_owners_in(p, false, key, out, cap);
}

int
proc_member_status(struct proc *p, struct dyn_id id, struct dyn_status *out)
{
	struct ask ask = {.kind = ASK_MEMBER_STATUS, .id = id};
	struct told t;

	ask_told(p, &ask, &t);
	*out = t.status;
	return t.rc;
}

int
proc_change(struct proc *p, const struct proc_order *orders, size_t count, unsigned ms,
    struct dyn_plan_figures *figures)
{
	struct ask ask = {.kind = ASK_CHANGE, .orders_count = count, .ms = ms};
	struct told t;

	ck_assert_uint_le(count, PROC_ORDERS_MAX);
	memcpy(ask.orders, orders, count * sizeof(*orders));
	ask_told(p, &ask, &t);
	if (figures != NULL)
		*figures = t.figures;
	return t.rc;
}

int
proc_leave(struct proc *p, unsigned ms)
{
	struct ask ask = {.kind = ASK_LEAVE, .ms = ms};
	struct told t;

	ask_told(p, &ask, &t);
	return t.rc;
}

void
proc_load(struct proc *p, struct load *load, unsigned writers, unsigned readers)
{
	struct ask ask = {
	    .kind = ASK_LOAD, .load = load, .writers = writers, .readers = readers};
	struct told t;

	ask_told(p, &ask, &t);
}

void
proc_unload(struct proc *p)
{
	struct ask ask = {.kind = ASK_UNLOAD};
	struct told t;

	ask_told(p, &ask, &t);
}

void
proc_work_begin(struct proc *p, proc_work *work, void *arg)
{
	struct ask ask = {.kind = ASK_WORK, .work = work, .work_arg = arg};
	struct told t;

	ask_told(p, &ask, &t);
}

void
proc_work_end(struct proc *p)
{
	struct ask ask = {.kind = ASK_WORK_END};
	struct told t;

	ask_told(p, &ask, &t);
}

bool
proc_logged(const struct proc *p, const char *text)
{
	FILE *f = fopen(p->log, "r");
	char line[1024];
	bool found = getenv("RING_LOG") != NULL; /* cannot be looked at */

	while (f != NULL && !found && fgets(line, sizeof(line), f) != NULL)
		found = strstr(line, text) != NULL;
	if (f != NULL)
		fclose(f);
	return found;
}

/*
 * A socket that is bound but does not listen keeps the port from everybody but
 * those who say SO_REUSEADDR and mean it, as listeners of libdyn do.
 */
const char *
proc_address(void)
{
	static char texts[64][32];
	static unsigned count;
	struct sockaddr_in a = {.sin_family = AF_INET};
	socklen_t len = sizeof(a);
	int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	ck_assert_uint_lt(count, ARRAY_LEN(texts));
	ck_assert_int_ge(fd, 0);
	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	ck_assert_int_eq(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)), 0);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&a, &len), 0);
	snprintf(texts[count], sizeof(texts[0]), "127.0.0.1:%u", ntohs(a.sin_port));
	return texts[count++];
}
