/*
 * Chaos: a ring of real processes under real faults, judged by the oracle that
 * judges the simulator (test/oracle).
 *
 * Five peers and three clients, each a process in a network namespace of its
 * own, behind one bridge; each peer's directory is a small tmpfs.  Up to two more
 * peers join while it storms, and are then peers like the others.  Each process
 * carries a session, which calls one thing at a time: gets, puts with the
 * context of an earlier get (of this session, or of another), blind puts,
 * deletes, puts that expire after seconds; in a bucket of siblings, and in one
 * where the last write wins.  Some rows are written at first and then only read,
 * so that there is something to move.  From a seed come the faults: SIGKILL, SIGSTOP, a clean restart, a
 * link that is down, a split, frames that vanish in one direction, a full disk;
 * and now and then, when all copies are whole, a directory is wiped, or an old copy
 * of it is put back.  Meanwhile what was deleted is forgotten, every second if all are
 * there.  Then everything is healed for good: within a minute all owners must hold the same,
 * and the oracle judges all that was seen.
 *
 * What is drawn repeats with the seed; when things happen does not.
 *
 * Environment: SECONDS, of faults; SEED.  Needs root, for namespaces and mounts,
 * which are this process' own and go with it; skipped aloud without.
 */
#include "cluster/ring.h"

#include "base/rng.h"
#include "base/timer.h"
#include "test/oracle/oracle.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define MS NS_PER_MS

enum {
	FIRST = 5, /* they make the ring */
	JOINERS = 2,
	PEERS = FIRST + JOINERS,
	CLIENTS = 3,
	LINES = PEERS + CLIENTS,
	LWW_KEYS = 24, /* from this key on the last write wins */
	KEYS = 48,
	ROWS = 300, /* keys from KEYS on, which nobody changes */
	ROW_SIZE = 800,
	IDS_MAX = 64,
	TIMEOUT_MS = 2000,
	LATE_MS = 5000, /* beyond its timeout: no load explains that */
	EXPIRY_MS = 4000, /* at most */
	FAULT_MS = 8200   /* the longest */
};

enum fault { KILL, STOP, RESTART, DOWN, SPLIT, ONE_WAY, FULL, FAULTS };

static const char *const fault_names[] = {
    "kills", "stops", "restarts", "links down", "splits", "one-way losses", "full disks"};

/* What a get brought. */
struct seen {
	bool there;
	struct proc_answer answer;
	uint64_t ids[IDS_MAX];
	size_t count;
};

/* A process, and the session that calls through it. */
struct line {
	struct proc *proc;
	struct dyn_options options;
	char net[32], log[600], mount[600], dir[640], id[33], location[32];
	enum { ENDED, OPENING, OPEN, ABSENT } state; /* ABSENT: has not joined */
	uint64_t next;           /* when to call, to start again, to join */
	uint64_t until[FAULTS];  /* when a fault of this line ends; 0: there is none */
	uint64_t hurt_at;        /* when a newcomer gets its first fault; 0: it does not */
	enum fault hurt_by;
	bool busy;               /* a call is under way */
	bool was_stopped;        /* meanwhile */
	struct {
		enum proc_kind kind;
		uint64_t id, began;
		unsigned key, flags;
	} call;
	struct seen last[KEYS];
};

/* The ring is FIRST peers, joined those that came later. */
struct chaos {
	struct ring ring;
	struct proc clients[CLIENTS];
	struct line lines[LINES];
	struct rng rng;
	struct oracle *oracle;
	uint64_t ids, began, moves_until;
	bool lost[LINES][LINES]; /* frames from i to j vanish */
	uint64_t mend_at;
	bool calm;
	struct proc_answer answer;
	struct seen row;
	unsigned faults[FAULTS], wipes, put_back, joined;
	struct line *copied; /* whose directory was copied; NULL: none's yet */
	unsigned calls, done, failed, unknown, unanswered;
	int last_open;
};

static uint64_t
below(struct chaos *c, uint64_t n)
{
	return rng_below(&c->rng, n);
}

static void __attribute__((format(printf, 2, 3)))
tell(struct chaos *c, const char *fmt, ...)
{
	va_list args;

	if (getenv("CHAOS_TRACE") == NULL)
		return;
	fprintf(stderr, "%8.3f ", (double)(test_now() - c->began) / 1e9);
	va_start(args, fmt);
	vfprintf(stderr, fmt, args);
	va_end(args);
	fputc('\n', stderr);
}

static void __attribute__((format(printf, 1, 2)))
shell(const char *fmt, ...)
{
	char line[2048];
	va_list args;

	va_start(args, fmt);
	vsnprintf(line, sizeof(line), fmt, args);
	va_end(args);
	ck_assert_msg(system(line) == 0, "failed: %s", line);
}

/* ------------------------------------------------------------------- a world */

/* Namespaces and mounts are made inside ones of this process, which nobody else
 * sees and which end with it. */
static bool
enter_world(void)
{
	if (unshare(CLONE_NEWNS | CLONE_NEWNET) == 0 &&
	    mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
	    mount("none", "/run", "tmpfs", 0, NULL) == 0) {
		if (system("ip link add bridge0 type bridge && ip link set bridge0 up") == 0)
			return true;
		errno = ENOTSUP;
	}
	fprintf(stderr, "chaos: SKIPPED, no namespaces and bridges here: %s\n",
	    strerror(errno));
	return false;
}

/* Addresses are 10.0.0.1 on; the last byte of a hardware address tells whose. */
static void
make_host(struct line *l, unsigned i)
{
	snprintf(l->net, sizeof(l->net), "/run/netns/n%u", i);
	shell("ip netns add n%u && "
	      "ip link add p%u type veth peer name eth0 netns n%u && "
	      "ip link set p%u master bridge0 up && "
	      "ip -n n%u addr add 10.0.0.%u/24 dev eth0 && "
	      "ip -n n%u link set eth0 address 02:00:00:00:00:%02x up && "
	      "ip -n n%u link set lo up",
	    i, i, i, i, i, i + 1, i, i + 1, i);
}

static void
make_directory(struct line *l)
{
	snprintf(l->mount, sizeof(l->mount), "%s", test_dir());
	ck_assert_int_eq(mount("none", l->mount, "tmpfs", 0, "size=64m"), 0);
	snprintf(l->dir, sizeof(l->dir), "%s/dir", l->mount);
}

static void
make_lines(struct chaos *c)
{
	struct ring *r = &c->ring;
	static char addresses[PEERS][32];
	size_t len = 0;

	ring_init(r, FIRST);
	r->base.insecure = 1;
	r->base.collect_period_ms = 1000;
	for (unsigned i = 0; i < PEERS; i++) {
		snprintf(addresses[i], sizeof(addresses[i]), "10.0.0.%u:7000", i + 1);
		r->address[i] = addresses[i];
		if (i >= FIRST)
			continue;
		len += (size_t)snprintf(r->seeds + len, sizeof(r->seeds) - len, "%s%s",
		    i > 0 ? "," : "", addresses[i]);
	}
	for (unsigned i = 0; i < LINES; i++) {
		struct line *l = &c->lines[i];

		make_host(l, i);
		snprintf(l->log, sizeof(l->log), "%s/log", test_dir());
		if (i < PEERS) {
			make_directory(l);
			r->dir[i] = l->dir;
			l->proc = &r->peer[i];
			l->options = ring_options(r, i);
			/* Else all would be one machine, which holds no key twice. */
			snprintf(l->location, sizeof(l->location), "dc/zone/rack/n%u", i);
			l->options.location = l->location;
			if (i < FIRST)
				continue;
			l->options.join = DYN_JOIN_ONLY;
			l->state = ABSENT;
			l->next = UINT64_MAX;
			continue;
		}
		l->proc = &c->clients[i - PEERS];
		l->options = r->base;
		l->options.role = DYN_CLIENT;
		l->options.seeds = r->seeds;
		l->options.n = l->options.partitions = 0;
	}
}

/* Hosts find each other by asking the link; told a wrong answer they send to
 * nobody, and hear of nothing. */
static void
set_lost(struct chaos *c, unsigned from, unsigned to, bool lost)
{
	if (from == to || c->lost[from][to] == lost)
		return;
	c->lost[from][to] = lost;
	if (lost)
		shell("ip -n n%u neigh replace 10.0.0.%u lladdr 02:00:00:00:01:00 dev eth0 "
		      "nud permanent", from, to + 1);
	else
		shell("ip -n n%u neigh del 10.0.0.%u dev eth0", from, to + 1);
}

static void
mend(struct chaos *c)
{
	for (unsigned i = 0; i < LINES; i++)
		for (unsigned j = 0; j < LINES; j++)
			set_lost(c, i, j, false);
	c->mend_at = 0;
	tell(c, "mended");
}

/* A file that takes all the room there is. */
static void
set_full(struct line *l, bool full)
{
	char name[700];
	struct statvfs v;
	int fd;

	snprintf(name, sizeof(name), "%s/filler", l->mount);
	if (!full) {
		unlink(name);
		return;
	}
	ck_assert_int_eq(statvfs(l->mount, &v), 0);
	fd = open(name, O_CREAT | O_WRONLY, 0600);
	ck_assert_int_ge(fd, 0);
	if (v.f_bavail > 0)
		ck_assert_int_eq(posix_fallocate(fd, 0, (off_t)(v.f_bavail * v.f_bsize)), 0);
	close(fd);
}

/* ----------------------------------------------------------------- processes */

static void
start(struct chaos *c, struct line *l)
{
	proc_start_in(l->proc, &l->options, l->net, l->log);
	l->state = OPENING;
	tell(c, "n%u starts", (unsigned)(l - c->lines));
}

/* Who joins, and when: early enough to be hurt afterwards; every other time both
 * at once, so that they are two of three owners.  Most have a first fault of their
 * own, while they open or get their rows. */
static void
draw_joins(struct chaos *c, unsigned seconds)
{
	static const enum fault first[] = {KILL, KILL, STOP, DOWN, FULL};
	unsigned count = (unsigned)below(c, 4);
	bool together = below(c, 2) == 0;
	uint64_t at[JOINERS];

	for (unsigned i = 0; i < JOINERS; i++)
		at[i] = test_now() + below(c, seconds * 750 + 1) * MS;
	for (unsigned i = 0; i < MIN(count, (unsigned)JOINERS); i++) {
		struct line *l = &c->lines[FIRST + i];

		l->next = at[together ? 0 : i];
		l->hurt_by = first[below(c, ARRAY_LEN(first))];
		if (below(c, 4) > 0)
			l->hurt_at = l->next + below(c, 600) * MS;
	}
}

/* Its dyn_open has ended. */
static void
opened(struct chaos *c, struct line *l)
{
	struct dyn_error error;
	int rc = proc_ready(l->proc, &error);

	if (rc != 0) {
		/* Its disk is full, or nobody can be reached. */
		tell(c, "n%u: %s", (unsigned)(l - c->lines), error.text);
		ck_assert_msg(rc == DYN_EFULL || rc == DYN_EIO || rc == DYN_ETIMEOUT,
		    "n%u: %s", (unsigned)(l - c->lines), error.text);
		l->state = ENDED;
		l->next = test_now() + 500 * MS;
		return;
	}
	l->state = OPEN;
	l->next = test_now();
	/* Its first time: what was there before is now read where it is new. */
	if (l >= c->lines + FIRST && l < c->lines + PEERS && l->options.id == NULL)
		c->moves_until = test_now() + 5 * NS_PER_S;
	if (l < c->lines + PEERS) {
		/* Only read where the directory is new, that is, wiped. */
		dyn_id_format(l->proc->id, l->id);
		l->options.id = l->id;
		/* A seed that is alone must not found another ring. */
		l->options.join = DYN_JOIN_ONLY;
	}
}

/* The answer of its call, if there was one, will not come. */
static void
ended(struct chaos *c, struct line *l, uint64_t down)
{
	c->unanswered += l->busy;
	l->busy = false;
	l->state = ENDED;
	l->next = test_now() + down;
}

static void
stop(struct line *l, bool stopped)
{
	proc_signal(l->proc, stopped ? SIGSTOP : SIGCONT);
	l->was_stopped = true;
}

/* --------------------------------------------------------------------- calls */

static size_t
ids_of(const struct proc_answer *a, uint64_t ids[IDS_MAX])
{
	const char *p = a->values;
	size_t count = 0;
	char *end;

	ck_assert_uint_le(a->count, IDS_MAX);
	while (*p != '\0') {
		ids[count++] = strtoull(p, &end, 10);
		ck_assert_ptr_ne(end, p);
		end += strspn(end, "x"); /* what makes it long */
		ck_assert(*end == '|' || *end == '\0');
		p = end + (*end == '|');
	}
	ck_assert_uint_eq(count, a->count);
	return count;
}

static const struct seen *
draw_context(struct chaos *c, struct line *l, unsigned key)
{
	const struct seen *s = &l->last[key];
	uint64_t what = below(c, 20);

	if (what == 0)
		return NULL;
	if (what == 1)
		s = &c->lines[below(c, LINES)].last[key];
	return s->there ? s : NULL;
}

static bool
is_lww(unsigned key)
{
	return key >= LWW_KEYS && key < KEYS;
}

static void
tell_begun(struct chaos *c, struct line *l, const struct seen *seen, uint64_t expiry_ms)
{
	bool put = l->call.kind == PROC_PUT;
	const struct oracle_write w = {.id = l->call.id, .key = l->call.key,
	    .kind = is_lww(l->call.key) ? put ? ORACLE_LWW : ORACLE_LWW_DELETE :
	    put ? ORACLE_PUT : ORACLE_DELETE,
	    .session = (unsigned)(l - c->lines), .node = (unsigned)(l - c->lines),
	    .parents = seen != NULL ? seen->ids : NULL,
	    .parents_count = seen != NULL ? seen->count : 0, .expiry = expiry_ms * MS};

	oracle_write_begin(c->oracle, l->call.began, &w);
}

static void
tell_ended(struct chaos *c, const struct line *l, const struct proc_answer *a, uint64_t now)
{
	const struct oracle_receipt receipt = {
	    .w = a->receipt.standins > 0 ? 0 : a->receipt.owners, .durable = true,
	    .stamp = is_lww(l->call.key) ? a->stamp : 0};

	oracle_write_end(c->oracle, now, l->call.id,
	    a->rc == 0 ? ORACLE_DONE : a->rc == DYN_EUNKNOWN ? ORACLE_UNKNOWN : ORACLE_FAILED,
	    a->rc == 0 ? &receipt : NULL);
}

static void
call(struct chaos *c, struct line *l)
{
	unsigned key = (unsigned)below(c, KEYS), what = (unsigned)below(c, 10);
	const struct seen *seen = draw_context(c, l, key);
	char name[16], value[24];
	struct proc_call p = {.key = name, .value = value, .lww = is_lww(key),
	    .call = {.timeout_ms = TIMEOUT_MS}};

	l->call.began = test_now();
	if (below(c, l->call.began < c->moves_until ? 2 : 10) == 0) {
		key = KEYS + (unsigned)below(c, ROWS);
		p.lww = false;
		what = 0;
	}
	l->call.kind = what < 4 ? PROC_GET : what < 9 || (seen == NULL && !p.lww) ? PROC_PUT :
	    PROC_DELETE;
	l->call.id = ++c->ids;
	l->call.key = key;
	l->call.flags = p.call.flags = below(c, 2) == 0 ? DYN_STRICT : 0;
	l->busy = true;
	l->was_stopped = false;
	snprintf(name, sizeof(name), "k%u", key);
	snprintf(value, sizeof(value), "%" PRIu64, l->call.id);
	if (l->call.kind == PROC_PUT && below(c, 8) == 0)
		p.call.expiry_ms = 100 + below(c, EXPIRY_MS - 100);
	if (l->call.kind != PROC_GET) {
		p.seen = seen != NULL ? &seen->answer : NULL;
		tell_begun(c, l, seen, p.call.expiry_ms);
	}
	c->calls++;
	proc_call_begin(l->proc, l->call.kind, &p);
}

static void
get_ended(struct chaos *c, struct line *l, const struct proc_answer *a, uint64_t now)
{
	struct seen *s = l->call.key < KEYS ? &l->last[l->call.key] : &c->row;
	struct oracle_read r = {.key = l->call.key, .session = (unsigned)(l - c->lines),
	    .node = (unsigned)(l - c->lines), .n = 3, .began = l->call.began, .ended = now};

	s->there = true;
	s->answer = *a;
	s->count = ids_of(a, s->ids);
	r.ids = s->ids;
	r.count = s->count;
	r.strict_r = (l->call.flags & DYN_STRICT) != 0 ? 2 : 0;
	oracle_read(c->oracle, &r);
	if (is_lww(l->call.key) && s->count == 1)
		oracle_stamp(c->oracle, s->ids[0], a->stamp);
}

/* Written once, by all in turn, while nothing is broken. */
static void
write_rows(struct chaos *c)
{
	for (unsigned i = 0; i < ROWS; i++) {
		struct line *l = &c->lines[i % FIRST];
		char name[16], value[ROW_SIZE];
		struct proc_call p = {.key = name, .value = value};

		l->call.kind = PROC_PUT;
		l->call.id = ++c->ids;
		l->call.key = KEYS + i;
		l->call.began = test_now();
		memset(value, 'x', sizeof(value) - 1);
		value[sizeof(value) - 1] = '\0';
		value[snprintf(value, sizeof(value), "%" PRIu64, l->call.id)] = 'x';
		snprintf(name, sizeof(name), "k%u", l->call.key);
		tell_begun(c, l, NULL, 0);
		ck_assert_int_eq(proc_put(l->proc, &p, &c->answer), 0);
		tell_ended(c, l, &c->answer, test_now());
	}
}

static void
called(struct chaos *c, struct line *l)
{
	struct proc_answer *a = &c->answer;
	uint64_t now;

	proc_call_end(l->proc, a);
	now = test_now();
	l->busy = false;
	l->next = now + below(c, 100) * MS;
	c->done += a->rc == 0;
	c->unknown += a->rc == DYN_EUNKNOWN;
	c->failed += a->rc != 0 && a->rc != DYN_EUNKNOWN;
	if (a->rc != 0)
		tell(c, "n%u: %s of k%u: %s", (unsigned)(l - c->lines),
		    l->call.kind == PROC_GET ? "get" : "put", l->call.key, dyn_strerror(a->rc));
	if (!l->was_stopped)
		ck_assert_msg(a->ms <= TIMEOUT_MS + LATE_MS, "n%u: a call took %u ms",
		    (unsigned)(l - c->lines), a->ms);
	if (l->call.kind != PROC_GET) {
		tell_ended(c, l, a, now);
	} else if (a->rc == 0) {
		get_ended(c, l, a, now);
	}
}

/* -------------------------------------------------------------------- faults */

static bool
is_hurt(const struct line *l)
{
	bool hurt = l->state != OPEN && l->state != ABSENT;

	for (unsigned f = 0; f < FAULTS; f++)
		hurt = hurt || l->until[f] != 0;
	return hurt;
}

static void
set_link(unsigned i, bool up)
{
	shell("ip link set p%u %s", i, up ? "up" : "down");
}

static void
end_fault(struct chaos *c, unsigned i, enum fault f)
{
	struct line *l = &c->lines[i];

	l->until[f] = 0;
	tell(c, "n%u: end of %s", i, fault_names[f]);
	if (f == STOP)
		stop(l, false);
	else if (f == DOWN)
		set_link(i, true);
	else if (f == FULL)
		set_full(l, false);
}

/* What is lost between hosts: all between two sides, or one direction of that, or
 * some pairs. */
static void
cut(struct chaos *c, enum fault f, uint64_t until)
{
	uint64_t side = below(c, 1 << LINES);

	for (unsigned i = 0; i < LINES; i++)
		for (unsigned j = 0; j < LINES; j++)
			if ((side >> i & 1) > (side >> j & 1)) {
				set_lost(c, i, j, true);
				set_lost(c, j, i, f == SPLIT);
			}
	c->mend_at = until;
	tell(c, "%s: %" PRIx64, fault_names[f], side);
}

/* One process: it, its link or its disk. */
static void
hurt(struct chaos *c, unsigned i, enum fault f, uint64_t down)
{
	struct line *l = &c->lines[i];

	/* Who is about to open may be killed, cut off or given a full disk. */
	if (l->state == ENDED || l->state == ABSENT || l->until[f] != 0 || l->until[STOP] != 0 ||
	    (l->state == OPENING && (f == RESTART || f == STOP)) || (f == RESTART && l->busy))
		return;
	tell(c, "n%u: %s", i, fault_names[f]);
	c->faults[f]++;
	switch (f) {
	case KILL:
		proc_kill(l->proc);
		ended(c, l, down);
		return;
	case RESTART:
		proc_close(l->proc, 500);
		ended(c, l, down / 4);
		return;
	case STOP:
		stop(l, true);
		break;
	case DOWN:
		set_link(i, false);
		break;
	default:
		set_full(l, true);
		break;
	}
	l->until[f] = test_now() + down;
}

static void
make_fault(struct chaos *c)
{
	enum fault f = (enum fault)below(c, FAULTS);
	unsigned i = (unsigned)below(c, f == FULL ? PEERS : LINES);
	uint64_t down = (200 + below(c, FAULT_MS - 200)) * MS;

	if (f != SPLIT && f != ONE_WAY) {
		hurt(c, i, f, down);
	} else if (c->mend_at == 0) {
		cut(c, f, test_now() + down);
		c->faults[f]++;
	}
}

/* ------------------------------------------------------------------ the storm */

/* Everything that is due, and all answers that come within a moment. */
static void
turn(struct chaos *c, bool calling)
{
	struct pollfd fds[LINES];
	uint64_t now = test_now();

	if (c->mend_at != 0 && now >= c->mend_at)
		mend(c);
	for (unsigned i = 0; i < LINES; i++) {
		struct line *l = &c->lines[i];

		for (unsigned f = 0; f < FAULTS; f++)
			if (l->until[f] != 0 && now >= l->until[f])
				end_fault(c, i, (enum fault)f);
		if (l->state == ABSENT && now >= l->next) {
			c->joined++;
			start(c, l);
		} else if (l->hurt_at != 0 && now >= l->hurt_at) {
			l->hurt_at = 0;
			hurt(c, i, l->hurt_by, (200 + below(c, FAULT_MS - 200)) * MS);
		} else if (l->state == ENDED && now >= l->next)
			start(c, l);
		else if (calling && l->state == OPEN && !l->busy && l->until[STOP] == 0 &&
		    now >= l->next)
			call(c, l);
		fds[i].fd = l->busy || l->state == OPENING ? l->proc->fd : -1;
		fds[i].events = POLLIN;
	}
	if (poll(fds, LINES, 10) <= 0)
		return;
	for (unsigned i = 0; i < LINES; i++) {
		if (fds[i].fd < 0 || fds[i].revents == 0)
			continue;
		if (c->lines[i].state == OPENING)
			opened(c, &c->lines[i]);
		else
			called(c, &c->lines[i]);
	}
}

static void
turns(struct chaos *c, uint64_t ns)
{
	uint64_t until = test_now() + ns;

	while (test_now() < until)
		turn(c, true);
}

/* No call is under way, so that processes can be asked. */
static void
drain(struct chaos *c)
{
	uint64_t until = test_now() + 30 * NS_PER_S;
	unsigned busy = 1;

	while (busy > 0) {
		ck_assert_msg(test_now() < until, "%u calls do not end", busy);
		turn(c, false);
		busy = 0;
		for (unsigned i = 0; i < LINES; i++)
			busy += c->lines[i].busy;
	}
}

/* A peer is one of all that there are, and lacks nothing. */
static bool
is_whole_peer(struct chaos *c, struct line *l, const struct dyn_status *first, char why[256])
{
	unsigned members = FIRST + c->joined;
	struct dyn_status s = DYN_STATUS_INIT;

	proc_status(l->proc, &s);
	snprintf(why, 256,
	    "n%u: %u of %u reachable, %u there, %u agreed, %u owned, %u pending, %u moving, "
	    "%" PRIu64 " hints, %u catching up, %u with few owners, failure %d",
	    (unsigned)(l - c->lines), s.reachable, s.members, members, s.agreed, s.owned,
	    s.pending, s.moving, s.hints, s.catching, s.under_replicated, s.failure);
	return s.members == members && s.reachable == members && s.agreed == members &&
	    memcmp(s.digest, first->digest, sizeof(s.digest)) == 0 && s.owned > 0 &&
	    s.pending == 0 && s.moving == 0 && s.hints == 0 && s.catching == 0 &&
	    s.under_replicated == 0 && s.failure == 0;
}

/* Nothing is broken, all know all, and every copy holds what the others hold. */
static bool
is_whole(struct chaos *c, char why[256])
{
	struct dyn_status first = DYN_STATUS_INIT;

	snprintf(why, 256, "faults go on");
	if (c->mend_at != 0)
		return false;
	for (unsigned i = 0; i < LINES; i++) {
		if (is_hurt(&c->lines[i])) {
			snprintf(why, 256, "n%u is hurt", i);
			return false;
		}
	}
	drain(c);
	proc_status(c->lines[0].proc, &first);
	for (unsigned i = 0; i < PEERS; i++) {
		if (c->lines[i].state == ABSENT)
			continue;
		/* It joined, or was hurt at it, just now. */
		if (is_hurt(&c->lines[i]) || !is_whole_peer(c, &c->lines[i], &first, why))
			return false;
	}
	return true;
}

static void
await_whole(struct chaos *c, bool calling)
{
	uint64_t until = test_now() + 60 * NS_PER_S;
	char why[256];

	while (!is_whole(c, why)) {
		ck_assert_msg(test_now() < until, "not whole after a minute: %s", why);
		for (unsigned i = 0; i < 50; i++)
			turn(c, calling);
	}
}

/* One that is there. */
static struct line *
draw_peer(struct chaos *c)
{
	unsigned i = (unsigned)below(c, PEERS);

	return &c->lines[c->lines[i].state == ABSENT ? i - FIRST : i];
}

/* Only when each write is on two disks that will not be lost may one be. */
static void
wipe(struct chaos *c)
{
	struct line *l = draw_peer(c);
	bool back = c->copied != NULL && below(c, 2) == 0;

	await_whole(c, true);
	if (back)
		l = c->copied;
	proc_kill(l->proc);
	ended(c, l, below(c, 2000) * MS);
	shell("rm -rf %s", l->dir);
	if (back)
		shell("mv %s/copy %s", l->mount, l->dir);
	c->put_back += back;
	c->wipes += !back;
	tell(c, "n%u: %s", (unsigned)(l - c->lines), back ? "put back" : "wiped");
	if (c->copied != NULL)
		shell("rm -rf %s/copy", c->copied->mount);
	do
		c->copied = draw_peer(c);
	while (c->copied == l);
	shell("cp -a %s %s/copy", c->copied->dir, c->copied->mount);
}

static void
storm(struct chaos *c, uint64_t ns)
{
	uint64_t until = test_now() + ns, next = 0;

	while (test_now() < until) {
		if (test_now() >= next) {
			make_fault(c);
			next = test_now() + below(c, 3000) * MS;
		}
		turn(c, true);
	}
}

static void
heal(struct chaos *c)
{
	mend(c);
	for (unsigned i = 0; i < LINES; i++) {
		struct line *l = &c->lines[i];

		for (unsigned f = 0; f < FAULTS; f++)
			if (l->until[f] != 0)
				end_fault(c, i, (enum fault)f);
		l->hurt_at = 0;
		if (l->state != ABSENT)
			l->next = 0;
	}
}

/* -------------------------------------------------------------------- the end */

static unsigned
owners_of(struct chaos *c, bool lww, const char *key, struct line *out[3])
{
	struct dyn_id ids[8];
	size_t count = proc_owners_in(c->lines[0].proc, lww, key, ids, ARRAY_LEN(ids));

	ck_assert_uint_eq(count, 3);
	for (unsigned n = 0; n < 3; n++) {
		out[n] = NULL;
		for (unsigned i = 0; i < PEERS; i++)
			if (memcmp(&ids[n], &c->lines[i].proc->id, sizeof(ids[n])) == 0)
				out[n] = &c->lines[i];
		ck_assert_ptr_nonnull(out[n]);
	}
	return 3;
}

/* What an owner holds at the end. */
static void
tell_final(struct chaos *c, unsigned key, const struct line *l, const struct proc_answer *a)
{
	uint64_t ids[IDS_MAX];
	size_t count = ids_of(a, ids);

	oracle_final(c->oracle, test_now(), key, (unsigned)(l - c->lines), ids, count);
	if (is_lww(key) && count == 1)
		oracle_stamp(c->oracle, ids[0], a->stamp);
}

/* Do all owners of all keys hold the same?  finally: tell the oracle. */
static bool
compare(struct chaos *c, bool finally, char why[256])
{
	struct proc_answer first;

	for (unsigned k = 0; k < KEYS + ROWS; k++) {
		struct line *owners[3];
		char name[16];
		struct proc_call p = {.key = name, .lww = is_lww(k), .call = {.flags = DYN_HERE}};

		snprintf(name, sizeof(name), "k%u", k);
		for (unsigned n = owners_of(c, p.lww, name, owners); n-- > 0;) {
			struct proc_answer *a = &c->answer;

			ck_assert_int_eq(proc_get(owners[n]->proc, &p, a), 0);
			if (finally)
				tell_final(c, k, owners[n], a);
			else if (n < 2 && strcmp(a->values, first.values) != 0) {
				snprintf(why, 256, "%s: \"%.80s\" and \"%.80s\"", name,
				    a->values, first.values);
				return false;
			}
			first = *a;
		}
	}
	return true;
}

static uint64_t
converge(struct chaos *c)
{
	uint64_t began = test_now(), took;
	char why[256] = "";

	heal(c);
	await_whole(c, false);
	while (!compare(c, false, why)) {
		ck_assert_msg(test_now() < began + 60 * NS_PER_S, "%s", why);
		test_sleep_ms(100);
	}
	took = test_now() - began;
	/* Nothing expires while it is looked at. */
	while (test_now() < began + (TIMEOUT_MS + EXPIRY_MS) * MS)
		test_sleep_ms(100);
	compare(c, true, why);
	return took;
}

static unsigned
setting(const char *name, unsigned otherwise)
{
	const char *text = getenv(name);

	return text != NULL && *text != '\0' ? (unsigned)strtoul(text, NULL, 10) : otherwise;
}

/* By the processes that run now. */
static uint64_t
forgotten(struct chaos *c)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < PEERS; i++) {
		struct dyn_stats s = DYN_STATS_INIT;

		if (c->lines[i].state == ABSENT)
			continue;
		proc_stats(c->lines[i].proc, &s);
		sum += s.forgotten;
	}
	return sum;
}

static void
report(struct chaos *c, unsigned seed, uint64_t converged)
{
	printf("chaos: seed %u, %u s: %u calls, %u went well (%.2f %%), %u failed, %u unknown, "
	       "%u without an answer; ", seed, (unsigned)((test_now() - c->began) / NS_PER_S),
	    c->calls, c->done, 100.0 * c->done / MAX(c->calls, 1u), c->failed, c->unknown,
	    c->unanswered);
	for (unsigned f = 0; f < FAULTS; f++)
		printf("%u %s, ", c->faults[f], fault_names[f]);
	printf("%u wipes, %u old directories put back, %u joins; %" PRIu64 " rows forgotten; "
	       "the same everywhere %.1f s after the last\n", c->wipes, c->put_back, c->joined,
	    forgotten(c), (double)converged / 1e9);
}

static void
first_start(struct chaos *c)
{
	/* The first peer creates the ring; the others find it. */
	for (unsigned i = 0; i < FIRST; i++)
		start(c, &c->lines[i]);
	for (unsigned i = 0; i < FIRST; i++) {
		while (c->lines[i].state == OPENING)
			turn(c, false);
		ck_assert_int_eq(c->lines[i].state, OPEN);
	}
	ring_settled(&c->ring, FIRST);
}

START_TEST(everything_breaks)
{
	unsigned seconds = setting("SECONDS", 180), seed = setting("SEED", 1);
	unsigned wipes = 1 + seconds / 60;
	/* All go by one clock; but who was stopped goes on by the moment it had. */
	const struct oracle_options options = {
	    .skew = (FAULT_MS + LATE_MS) * MS, .ahead = 100 * MS};
	struct chaos *c;
	uint64_t converged;
	size_t broken;

	if (!enter_world())
		return;
	c = calloc(1, sizeof(*c));
	ck_assert_ptr_nonnull(c);
	c->rng.state = mix64(seed);
	c->oracle = oracle_new(&options);
	c->began = test_now();
	make_lines(c);
	first_start(c);
	write_rows(c);
	draw_joins(c, seconds);
	turns(c, NS_PER_S);
	for (unsigned i = 0; i < wipes; i++) {
		storm(c, seconds * NS_PER_S / (wipes + 1));
		wipe(c);
	}
	storm(c, seconds * NS_PER_S / (wipes + 1));
	converged = converge(c);
	broken = oracle_judge(c->oracle);
	for (size_t i = 0; i < broken; i++)
		fprintf(stderr, "%s\n", oracle_violation(c->oracle, i).story);
	report(c, seed, converged);
	ck_assert_uint_eq(broken, 0);
	for (unsigned i = 0; i < LINES; i++)
		if (c->lines[i].state != ABSENT)
			proc_close(c->lines[i].proc, 5000);
	oracle_free(c->oracle);
	free(c);
}
END_TEST

static Suite *
suite(void)
{
	Suite *s = suite_create("chaos");
	TCase *t = tcase_create("chaos");

	tcase_set_timeout(t, 0);
	tcase_add_test(t, everything_breaks);
	suite_add_tcase(s, t);
	return s;
}

TEST_MAIN(suite)
