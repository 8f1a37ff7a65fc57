/*
 * A node in a process of its own, and the line to it.
 *
 * proc_start forks; the child opens a node with the options given, opens the
 * buckets "t" (policy: siblings) and "l" (the last write wins), and does what it is asked, one thing at a
 * time.  It ends when its line is closed and is killed when its parent dies.
 * The parent, a test, must never open a node itself: it goes on forking.
 *
 * What a child finds wrong with itself (a leak, a race) makes it end with a
 * status; proc_close looks at it.
 */
#ifndef DYN_TEST_PROC_H
#define DYN_TEST_PROC_H

#include "test/test.h"

#include "base/base.h"

#include <sys/types.h>

struct load;

struct proc {
	pid_t pid; /* 0: not running */
	int fd;
	struct dyn_id id;
	char address[DYN_ADDRESS_MAX];
	char log[512]; /* file its log lines are in; RING_LOG=1: stderr */
};

/* Fork and begin to open; proc_ready waits for the end of it: dyn_open's rc.
 * A process that could not open its node has ended. */
void proc_start(struct proc *, const struct dyn_options *);
/* In a network namespace (a file of /run/netns), with a log that may be there
 * already; NULL: in that of the test, with one of its own. */
void proc_start_in(struct proc *, const struct dyn_options *, const char *net,
    const char *log);
int proc_ready(struct proc *, struct dyn_error *);
/* Both; it must go well. */
void proc_open(struct proc *, const struct dyn_options *);

void proc_kill(struct proc *); /* SIGKILL, reap; nothing if it does not run */
void proc_signal(struct proc *, int number);
/* dyn_close; its rc.  The process must then end with 0. */
int proc_close(struct proc *, unsigned deadline_ms);
/* Order it to close with calls of its own in flight, without waiting;
 * proc_closed waits. */
void proc_closing(struct proc *, unsigned deadline_ms);
int proc_closed(struct proc *);

enum { PROC_CONTEXT_MAX = 16384 };
enum proc_kind { PROC_GET, PROC_PUT, PROC_DELETE };

/* What a call brought. */
struct proc_answer {
	int rc;
	unsigned count, siblings;
	struct dyn_receipt receipt;
	unsigned ms;       /* how long it took */
	size_t size;       /* of the first value */
	uint64_t stamp;    /* time of the version made, or of the latest found */
	char values[4096]; /* sorted, joined by '|' */
	unsigned char context[PROC_CONTEXT_MAX];
	size_t context_len;
};
struct proc_call {
	const char *key, *value;
	bool lww;                       /* of the bucket where the last write wins */
	size_t size;                    /* not 0: put so many bytes instead of value */
	const struct proc_answer *seen; /* whose context to give; NULL: none */
	struct dyn_call call;
};
int proc_get(struct proc *, const struct proc_call *, struct proc_answer *);
int proc_put(struct proc *, const struct proc_call *, struct proc_answer *);
int proc_delete(struct proc *, const struct proc_call *, struct proc_answer *);
/* Begin a call without waiting for it: until proc_call_end, which waits, the
 * process must be asked nothing else.  Its fd is readable when the call has
 * ended. */
void proc_call_begin(struct proc *, enum proc_kind, const struct proc_call *);
void proc_call_end(struct proc *, struct proc_answer *);
/* In short: must go well. */
void proc_write(struct proc *, const char *key, const char *value);
const char *proc_read(struct proc *, const char *key, unsigned flags);

void proc_status(struct proc *, struct dyn_status *);
unsigned proc_reaches(struct proc *); /* members it can reach */
void proc_stats(struct proc *, struct dyn_stats *);
/* The members it knows; returns how many. */
size_t proc_members(struct proc *, struct dyn_member *out, size_t cap);
/* Owners of a key as it sees them; returns how many. */
size_t proc_owners(struct proc *, const char *key, struct dyn_id *out, size_t cap);
size_t proc_owners_in(
    struct proc *, bool lww, const char *key, struct dyn_id *out, size_t cap);
int proc_member_status(struct proc *, struct dyn_id, struct dyn_status *);
enum { PROC_ORDERS_MAX = 8 };
/* One call of dyn_plan_*, by its letter: 'j'oin, 'l'eave, 'f'orget, 'r'eplace (by other),
 * 'w'eight, l'o'cation. */
struct proc_order {
	char what;
	struct dyn_id id, other;
	unsigned weight;
	char location[64];
};
/* A plan of them, shown, and (ms > 0) committed within so long: the first error. */
int proc_change(struct proc *, const struct proc_order *, size_t count, unsigned ms,
    struct dyn_plan_figures *);
int proc_leave(struct proc *, unsigned ms);

/* Begin and end the part of a load that this process carries: see load.h. */
void proc_load(struct proc *, struct load *, unsigned writers, unsigned readers);
void proc_unload(struct proc *);

/* Have it do some work of the test's in a thread; end: wait until that has returned. */
typedef void proc_work(dyn_bucket *, void *arg);
void proc_work_begin(struct proc *, proc_work *, void *arg);
void proc_work_end(struct proc *);

/* Does a line of its log contain the text? */
bool proc_logged(const struct proc *, const char *text);
/* "127.0.0.1:port" that nobody else gets while this test runs. */
const char *proc_address(void);

#endif
