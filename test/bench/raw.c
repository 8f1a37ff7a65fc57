/*
 * The limits of this machine, without libdyn: what a disk, SQLite and loopback
 * sockets can do, and the cheapest program of the shape of a ring.
 *
 * That program: a client sends each request to three processes and waits for
 * two answers.  A process is one thread and one connection: it reads what is
 * there, appends all puts in one transaction (synchronous=FULL), and answers
 * all of it in one write; what arrives during a commit shares the next.  No
 * versions, no members, no repair, no security, keys by a rising integer: what
 * libdyn costs beyond it is the price of being libdyn.
 */
#include "bench.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define SERVERS 3
#define BUFFER (1 << 20)
#define LAG_MAX 8192 /* requests that the slowest server may be behind */
#define TABLE 65536  /* of requests; above what can be in flight, and lag */

/* A request, then `len` bytes of value; an answer is the same head. */
struct head {
	uint64_t id;
	uint32_t key, len, op, rc;
};

/* --------------------------------------------------------------------- disk */

void
raw_sync(bool preallocated, unsigned ms, struct samples *s)
{
	const size_t block = 4096, length = 64u << 20;
	uint64_t end, start;
	char data[4096], path[600];
	size_t at = 0;
	int fd;

	memset(data, 'x', sizeof(data));
	fd = open(
	    scratch_path(path, sizeof(path), "sync"), O_CREAT | O_TRUNC | O_RDWR, 0600);
	if (fd < 0)
		die("%s: %s", path, strerror(errno));
	for (at = 0; preallocated && at < length; at += block)
		if (!write_all(fd, data, block))
			die("%s: %s", path, strerror(errno));
	(void)fsync(fd);
	end = now_ns() + ms * 1000000ull;
	for (at = 0; now_ns() < end && at < length; at += block) {
		start = now_ns();
		if (pwrite(fd, data, block, (off_t)at) != (ssize_t)block ||
		    fdatasync(fd) != 0)
			die("%s: %s", path, strerror(errno));
		samples_add(s, now_ns() - start);
	}
	close(fd);
	scratch_drop("sync");
}

/* ------------------------------------------------------------------- SQLite */

struct journal {
	sqlite3 *db;
	sqlite3_stmt *begin, *commit, *put, *get;
};

static void
check(struct journal *j, int rc, int wanted)
{
	if (rc != wanted)
		die("SQLite: %s", sqlite3_errmsg(j->db));
}

static void
step(struct journal *j, sqlite3_stmt *st)
{
	check(j, sqlite3_step(st), SQLITE_DONE);
	sqlite3_reset(st);
}

static sqlite3_stmt *
prepare(struct journal *j, const char *sql)
{
	sqlite3_stmt *st;

	check(j, sqlite3_prepare_v3(j->db, sql, -1, SQLITE_PREPARE_PERSISTENT, &st, NULL),
	    SQLITE_OK);
	return st;
}

static void
journal_open(struct journal *j, const char *name)
{
	char path[600];

	check(j, sqlite3_open(scratch_path(path, sizeof(path), name), &j->db), SQLITE_OK);
	check(j,
	    sqlite3_exec(j->db,
		"PRAGMA locking_mode=EXCLUSIVE; PRAGMA journal_mode=WAL; PRAGMA "
		"synchronous=FULL;"
		"PRAGMA wal_autocheckpoint=4000;"
		"CREATE TABLE j(id INTEGER PRIMARY KEY, name BLOB, value BLOB)",
		NULL, NULL, NULL),
	    SQLITE_OK);
	j->begin = prepare(j, "BEGIN");
	j->commit = prepare(j, "COMMIT");
	j->put = prepare(j, "INSERT INTO j(name, value) VALUES(?, ?)");
	j->get = prepare(j, "SELECT value FROM j WHERE id = ?");
}

static void
journal_put(struct journal *j, unsigned key, const void *value, size_t len)
{
	char text[KEY_CAP];
	size_t n = key_text(text, key);

	sqlite3_bind_blob(j->put, 1, text, (int)n, SQLITE_STATIC);
	sqlite3_bind_blob(j->put, 2, value, (int)len, SQLITE_STATIC);
	step(j, j->put);
}

static void
journal_close(struct journal *j)
{
	sqlite3_finalize(j->begin);
	sqlite3_finalize(j->commit);
	sqlite3_finalize(j->put);
	sqlite3_finalize(j->get);
	sqlite3_close(j->db);
}

/* In a process of its own, so that its CPU time is only this. */
static void
append(void *arg, const struct job *job, struct outcome *out)
{
	struct journal *j = arg;
	struct samples s = {0};
	uint64_t begun = now_ns(), end = begun + job->ms * 1000000ull, start, rows = 0;
	char value[4096];
	unsigned i;

	value_fill(value, job->size, 0);
	do {
		start = now_ns();
		step(j, j->begin);
		for (i = 0; i < job->in_flight; i++)
			journal_put(j, (unsigned)rows++, value, job->size);
		step(j, j->commit);
		samples_add(&s, now_ns() - start);
	} while (now_ns() < end);
	outcome_of(out, &s, (double)(now_ns() - begun) / (double)NS_A_S);
	out->count = rows;
	out->per_s *= job->in_flight;
	samples_free(&s);
}

static int
append_body(const void *arg, int orders, int answers)
{
	struct journal j;

	(void)arg;
	journal_open(&j, "append.db");
	work_serve(orders, answers, append, &j);
	journal_close(&j);
	return 0;
}

void
raw_append(unsigned rows_a_commit, unsigned ms, struct outcome *out)
{
	struct job job = {.op = OP_PUT, .in_flight = rows_a_commit, .ms = ms, .size = 100};
	struct herd h = {.count = 0};

	herd_add(&h, append_body, NULL);
	herd_work(&h, &job, out);
	if (!herd_end(&h))
		die("the process that appends has failed");
	scratch_drop("append.db");
}

/* ------------------------------------------------------------------- server */

struct server_config {
	unsigned number;
	bool stores;
};

struct server {
	struct journal journal;
	bool stores, writing;
	char *in, *out;
	size_t in_len, out_len;
};

static int
listen_any(struct sockaddr_in *bound)
{
	socklen_t len = sizeof(*bound);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	memset(bound, 0, sizeof(*bound));
	bound->sin_family = AF_INET;
	bound->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (fd < 0 || bind(fd, (struct sockaddr *)bound, sizeof(*bound)) != 0 ||
	    listen(fd, 1) != 0 || getsockname(fd, (struct sockaddr *)bound, &len) != 0)
		die("cannot listen: %s", strerror(errno));
	return fd;
}

/* Do a request; the answer is appended to out. */
static void
serve(struct server *s, const struct head *h, const char *value)
{
	struct head answer = {h->id, h->key, 0, h->op, 0};
	const void *found = value;

	if (s->stores && h->op == OP_PUT) {
		if (!s->writing)
			step(&s->journal, s->journal.begin);
		s->writing = true;
		journal_put(&s->journal, h->key, value, h->len);
	} else if (s->stores) {
		sqlite3_bind_int64(s->journal.get, 1, (sqlite3_int64)h->key + 1);
		check(&s->journal, sqlite3_step(s->journal.get), SQLITE_ROW);
		found = sqlite3_column_blob(s->journal.get, 0);
		answer.len = (uint32_t)sqlite3_column_bytes(s->journal.get, 0);
	} else {
		answer.len = h->len;
	}
	memcpy(s->out + s->out_len, &answer, sizeof(answer));
	memcpy(s->out + s->out_len + sizeof(answer), found, answer.len);
	s->out_len += sizeof(answer) + answer.len;
	if (s->stores && h->op == OP_GET)
		sqlite3_reset(s->journal.get);
}

/* The whole requests in the buffer as far as the answers have room; one commit;
 * one write.  Returns how many bytes were used, -1 if the client is gone. */
static ssize_t
serve_some(struct server *s, int fd)
{
	struct head h;
	size_t at = 0;

	s->out_len = 0;
	while (s->in_len - at >= sizeof(h)) {
		memcpy(&h, s->in + at, sizeof(h));
		if (s->in_len - at - sizeof(h) < h.len || s->out_len > BUFFER)
			break;
		serve(s, &h, s->in + at + sizeof(h));
		at += sizeof(h) + h.len;
	}
	memmove(s->in, s->in + at, s->in_len - at);
	s->in_len -= at;
	if (s->writing)
		step(&s->journal, s->journal.commit);
	s->writing = false;
	return write_all(fd, s->out, s->out_len) ? (ssize_t)at : -1;
}

static int
server_body(const void *arg, int orders, int answers)
{
	const struct server_config *c = arg;
	struct server s = {.stores = c->stores};
	struct sockaddr_in bound;
	int on = 1, listener = listen_any(&bound), fd;
	char name[32];
	ssize_t n, used = 0;

	(void)orders;
	snprintf(name, sizeof(name), "raw%u.db", c->number);
	if (s.stores)
		journal_open(&s.journal, name);
	s.in = malloc(BUFFER);
	s.out = malloc(2 * BUFFER);
	if (s.in == NULL || s.out == NULL || !write_all(answers, &bound, sizeof(bound)))
		die("a server cannot start");
	fd = accept(listener, NULL, NULL);
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	while (used >= 0 && (n = read(fd, s.in + s.in_len, BUFFER - s.in_len)) > 0) {
		s.in_len += (size_t)n;
		while ((used = serve_some(&s, fd)) > 0)
			;
	}
	free(s.in);
	free(s.out);
	if (s.stores)
		journal_close(&s.journal);
	return 0;
}

/* ------------------------------------------------------------------- client */

struct client_config {
	struct sockaddr_in server[SERVERS];
	unsigned servers, need;
};

struct request {
	uint64_t id, start;
	unsigned answers;
	bool live;
};

struct link {
	int fd;
	char *in, *out;
	size_t in_len, out_len, out_at;
	uint64_t answered;
};

struct client {
	struct link link[SERVERS];
	unsigned servers, need;
	struct request *table;
	/* of the job in hand */
	const struct job *job;
	struct samples samples;
	uint64_t sent, done, end, last, failed;
	char value[65536];
};

/* How many the slowest server has still to answer. */
static uint64_t
lag(const struct client *c)
{
	uint64_t most = 0;
	unsigned i;

	for (i = 0; i < c->servers; i++)
		if (c->sent - c->link[i].answered > most)
			most = c->sent - c->link[i].answered;
	return most;
}

static void
issue(struct client *c)
{
	struct request *r = &c->table[c->sent % TABLE];
	unsigned i, key = (unsigned)(c->sent % c->job->keys);
	struct head h = {c->sent, key, 0, c->job->op, 0};
	struct link *l;

	if (c->job->op == OP_PUT) {
		h.len = c->job->size;
		value_fill(c->value, h.len, key);
	}
	*r = (struct request){.id = c->sent, .start = now_ns(), .live = true};
	for (i = 0; i < c->servers; i++) {
		l = &c->link[i];
		memcpy(l->out + l->out_len, &h, sizeof(h));
		memcpy(l->out + l->out_len + sizeof(h), c->value, h.len);
		l->out_len += sizeof(h) + h.len;
	}
	c->sent++;
}

static bool
may_issue(const struct client *c)
{
	const struct job *j = c->job;
	unsigned i;

	if (c->sent - c->done >= j->in_flight || lag(c) >= LAG_MAX)
		return false;
	if (j->ms == 0 ? c->sent >= j->keys : now_ns() >= c->end)
		return false;
	for (i = 0; i < c->servers; i++)
		if (c->link[i].out_len + sizeof(struct head) + j->size > BUFFER)
			return false;
	return true;
}

static void
flush(struct link *l)
{
	ssize_t n;

	while (l->out_at < l->out_len) {
		n = send(l->fd, l->out + l->out_at, l->out_len - l->out_at,
		    MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n < 0 && errno != EAGAIN && errno != EINTR)
			die("a server is gone: %s", strerror(errno));
		if (n <= 0)
			break;
		l->out_at += (size_t)n;
	}
	memmove(l->out, l->out + l->out_at, l->out_len - l->out_at);
	l->out_len -= l->out_at;
	l->out_at = 0;
}

/* One answer more; late ones find their request gone. */
static void
answered(struct client *c, const struct head *h, const char *value)
{
	struct request *r = &c->table[h->id % TABLE];

	if (h->op == OP_GET && h->len > 0 && !value_check(value, h->len, h->len, h->key))
		c->failed++;
	if (r->id != h->id || !r->live || ++r->answers < c->need)
		return;
	r->live = false;
	c->last = now_ns();
	samples_add(&c->samples, c->last - r->start);
	c->done++;
}

static void
receive(struct client *c, struct link *l)
{
	ssize_t n = recv(l->fd, l->in + l->in_len, BUFFER - l->in_len, MSG_DONTWAIT);
	struct head h;
	size_t at = 0;

	if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
		die("a server is gone");
	if (n < 0)
		return;
	l->in_len += (size_t)n;
	while (l->in_len - at >= sizeof(h)) {
		memcpy(&h, l->in + at, sizeof(h));
		if (l->in_len - at - sizeof(h) < h.len)
			break;
		answered(c, &h, l->in + at + sizeof(h));
		l->answered++;
		at += sizeof(h) + h.len;
	}
	memmove(l->in, l->in + at, l->in_len - at);
	l->in_len -= at;
}

static void
client_work(void *arg, const struct job *job, struct outcome *out)
{
	struct client *c = arg;
	struct pollfd p[SERVERS];
	uint64_t begun = now_ns();
	unsigned i;

	c->job = job;
	c->end = begun + job->ms * 1000000ull;
	c->sent = c->done = c->failed = 0;
	for (i = 0; i < c->servers; i++)
		c->link[i].answered = 0;
	for (;;) {
		while (may_issue(c))
			issue(c);
		if (lag(c) == 0)
			break;
		for (i = 0; i < c->servers; i++) {
			flush(&c->link[i]);
			p[i].fd = c->link[i].fd;
			p[i].events = POLLIN | (c->link[i].out_len > 0 ? POLLOUT : 0);
		}
		poll(p, c->servers, -1);
		for (i = 0; i < c->servers; i++)
			if (p[i].revents & (POLLIN | POLLHUP | POLLERR))
				receive(c, &c->link[i]);
	}
	outcome_of(out, &c->samples, (double)(c->last - begun) / (double)NS_A_S);
	out->failed = c->failed;
	snprintf(out->why, sizeof(out->why), "a value came back otherwise");
	samples_free(&c->samples);
}

static void
link_open(struct link *l, const struct sockaddr_in *to)
{
	int on = 1;

	l->fd = socket(AF_INET, SOCK_STREAM, 0);
	if (l->fd < 0 || connect(l->fd, (const struct sockaddr *)to, sizeof(*to)) != 0)
		die("cannot connect: %s", strerror(errno));
	setsockopt(l->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	l->in = malloc(BUFFER);
	l->out = malloc(BUFFER);
	if (l->in == NULL || l->out == NULL)
		die("out of memory");
}

static int
client_body(const void *arg, int orders, int answers)
{
	const struct client_config *config = arg;
	struct client *c = calloc(1, sizeof(*c));
	unsigned i;

	if (c == NULL || (c->table = calloc(TABLE, sizeof(*c->table))) == NULL)
		die("out of memory");
	c->servers = config->servers;
	c->need = config->need;
	for (i = 0; i < c->servers; i++)
		link_open(&c->link[i], &config->server[i]);
	work_serve(orders, answers, client_work, c);
	for (i = 0; i < c->servers; i++) {
		close(c->link[i].fd);
		free(c->link[i].in);
		free(c->link[i].out);
	}
	free(c->table);
	free(c);
	return 0;
}

void
raw_ring_start(struct herd *h, unsigned servers, unsigned need, bool stores)
{
	struct client_config client = {.servers = servers, .need = need};
	struct server_config server = {.stores = stores};
	struct proc *p;

	for (; server.number < servers; server.number++) {
		p = herd_add(h, server_body, &server);
		if (!read_all(
			p->from, &client.server[server.number], sizeof(client.server[0])))
			die("a server did not start");
	}
	herd_add(h, client_body, &client);
}
