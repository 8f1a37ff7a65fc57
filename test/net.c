/* Ends of connections that remember (see net.h). */
#include "test/net.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

struct visit {
	struct letter letter;
	void (*f)(void *);
	void *arg;
	sem_t done;
};

static void
visit_run(struct letter *letter)
{
	struct visit *v = CONTAINER_OF(letter, struct visit, letter);

	v->f(v->arg);
	sem_post(&v->done);
}

void
net_inside(struct loop *l, void (*f)(void *), void *arg)
{
	struct visit v = {.letter.run = visit_run, .f = f, .arg = arg};

	if (loop_owned(l)) {
		f(arg);
		return;
	}
	sem_init(&v.done, 0, 0);
	loop_post(l, &v.letter);
	while (sem_wait(&v.done) != 0)
		ck_assert_int_eq(errno, EINTR);
	sem_destroy(&v.done);
}

/* ------------------------------------------------------------------ frames */

static void
fill(unsigned char *to, size_t len, uint64_t tag, uint64_t number)
{
	uint64_t x = mix64(tag * 1000003 + number);

	for (size_t i = 0; i < len; i++) {
		if (i % 8 == 0)
			x = x * UINT64_C(6364136223846793005) + 1442695040888963407;
		to[i] = (unsigned char)(x >> (i % 8 * 8));
	}
}

static struct buf *
make_frame(uint64_t tag, uint64_t number, size_t body)
{
	struct buf *b = buf_new(FRAME_HEAD + body);
	uint32_t len = (uint32_t)(FRAME_HEAD + body);

	if (b == NULL)
		return NULL;
	memset(b->data, 0, FRAME_HEAD);
	for (int i = 0; i < 4; i++)
		b->data[i] = (unsigned char)(len >> (8 * i));
	b->data[4] = MSG_PING;
	b->data[6] = WIRE_VERSION;
	for (int i = 0; i < 8; i++)
		b->data[8 + i] = (unsigned char)(number >> (8 * i));
	fill(b->data + FRAME_HEAD, body, tag, number);
	return b;
}

struct buf *
net_frame(uint64_t tag, uint64_t number, size_t body)
{
	struct buf *b = make_frame(tag, number, body);

	ck_assert_ptr_nonnull(b);
	return b;
}

struct buf *
net_hello(uint32_t magic, unsigned version_min, unsigned version_max)
{
	union msg m = {.hello = {.magic = magic,
			   .version_min = (uint16_t)version_min,
			   .version_max = (uint16_t)version_max,
			   .role = DYN_CLIENT,
			   .ring = slice("test", 4)}};
	struct frame head = {.version = WIRE_VERSION};
	struct buf *b;

	ck_assert_int_eq(msg_encode(&b, &head, MSG_HELLO, &m), 0);
	return b;
}

struct buf *
net_welcome(int code, unsigned version)
{
	union msg m = {.welcome = {.rc = (uint32_t)code,
			   .version = (uint16_t)version,
			   .text = slice("come in", 7)}};
	struct frame head = {.version = WIRE_VERSION};
	struct buf *b;

	ck_assert_int_eq(msg_encode(&b, &head, MSG_WELCOME, &m), 0);
	return b;
}

static bool
frame_is(const struct frame *f, uint64_t tag, uint64_t number)
{
	unsigned char *want = malloc(f->body.len + 1); /* not counted, never failed */
	bool same;

	fill(want, f->body.len, tag, number);
	same = f->request == number && slice_equal(f->body, slice(want, f->body.len));
	free(want);
	return same;
}

/* Sizes with something of everything: mostly small, now and then the largest. */
static size_t
body_size(uint64_t number, size_t most)
{
	uint64_t r = mix64(number + 77);

	if (most == 0)
		return 0;
	switch (r % 16) {
	case 0:
		return most;
	case 1:
		return (r >> 8) % most;
	case 2:
		return (r >> 8) % MIN(most, 5000);
	}
	return (r >> 8) % MIN(most, 300);
}

/* ------------------------------------------------------------------ events */

static void
on_opened(void *arg, struct conn *c, const struct msg_welcome *w)
{
	struct end *e = arg;

	(void)w;
	if (!loop_inside(&e->side->loop))
		atomic_fetch_add(&e->bad, 1);
	e->conn = c;
	atomic_fetch_add(&e->opened, 1);
}

static void
send_back(struct end *e, struct conn *c, const struct frame *f)
{
	struct buf *b = make_frame(e->tag, f->request, f->body.len);

	if (b == NULL || conn_send(c, b) != 0) {
		atomic_fetch_add(&e->busy, 1);
		buf_unref(b);
	}
}

static void
on_frame(void *arg, struct conn *c, const struct frame *f)
{
	struct end *e = arg;
	uint64_t number = atomic_load(&e->got);

	if (f->kind == MSG_PING && !frame_is(f, e->tag, number))
		atomic_fetch_add(&e->bad, 1);
	if (atomic_load(&e->opened) != 1 || atomic_load(&e->closed) != 0)
		atomic_fetch_add(&e->bad, 1);
	if (e->echo)
		send_back(e, c, f);
	atomic_store(&e->got, number + 1);
	if (conn_queued(c) > atomic_load(&e->queued_most))
		atomic_store(&e->queued_most, conn_queued(c));
	if (e->close_at == number + 1)
		conn_close(c, DYN_ECLOSED, "enough", false);
}

static void
on_closed(void *arg, struct conn *c, int rc, const char *why, bool refused)
{
	struct end *e = arg;

	(void)c;
	snprintf(e->why, sizeof(e->why), "%s", why);
	e->conn = NULL;
	atomic_store(&e->rc, rc);
	atomic_store(&e->refused, refused);
	atomic_fetch_add(&e->closed, 1);
}

static const struct conn_events events = {on_opened, on_frame, on_closed};

static void
pump(struct end *e)
{
	struct buf *b;
	int rc = 0;

	if (e->conn == NULL || e->echo || e->hold || atomic_load(&e->closed) > 0)
		return;
	for (int i = 0; i < 200 && e->sent < e->to_send; i++) {
		b = net_frame(e->tag, e->sent, body_size(e->sent, e->size_max));
		rc = conn_send(e->conn, b);
		if (conn_queued(e->conn) > atomic_load(&e->queued_most))
			atomic_store(&e->queued_most, conn_queued(e->conn));
		if (rc != 0) {
			atomic_fetch_add(&e->busy, 1);
			buf_unref(b);
			break;
		}
		e->sent++;
	}
	/* Nobody says when a queue has room again: ask, soon. */
	if (e->sent < e->to_send)
		loop_wake_at(
		    &e->side->loop, e->side->loop.now + (rc != 0 ? 200 * NS_PER_US : 0));
}

static void
turn(void *arg)
{
	struct side *s = arg;
	size_t n = atomic_load(&s->count);

	loop_wake_at(&s->loop, TIME_NEVER);
	for (size_t i = 0; i < n; i++)
		pump(&s->ends[i]);
}

static struct end *
new_end(struct side *s, const struct end *as)
{
	size_t i = atomic_load(&s->count);
	struct end *e = &s->ends[i];

	ck_assert_uint_lt(i, ENDS_MAX);
	if (as != NULL) {
		e->to_send = as->to_send;
		e->size_max = as->size_max;
		e->close_at = as->close_at;
		e->tag = as->tag;
		e->echo = as->echo;
		e->hold = as->hold;
	}
	e->side = s;
	atomic_store(&s->count, i + 1);
	return e;
}

static void
greet(
    void *arg, struct conn *c, const struct msg_hello *hello, struct conn_admission *out)
{
	struct side *s = arg, *to = s;

	(void)c;
	if (s->refuse != 0 || !slice_equal(hello->ring, slice("test", 4))) {
		out->welcome.rc = s->refuse != 0 ? s->refuse : (uint32_t)DYN_ERING;
		snprintf(out->text, sizeof(out->text), "not you");
		out->welcome.text = slice(out->text, strlen(out->text));
		return;
	}
	if (s->accept_to != NULL)
		to = CONTAINER_OF(s->accept_to, struct side, loop);
	out->loop = s->accept_to;
	out->events = &events;
	out->arg = new_end(to, &s->accept_as);
}

static void
log_line(void *arg, enum dyn_log_level level, const char *line)
{
	struct side *s = arg;
	size_t at;

	(void)level;
	pthread_mutex_lock(&s->log_lock);
	at = strlen(s->log);
	snprintf(s->log + at, sizeof(s->log) - at, "%s\n", line);
	atomic_fetch_add(&s->log_lines, 1);
	pthread_mutex_unlock(&s->log_lock);
}

bool
side_logged(struct side *s, const char *text)
{
	bool found;

	pthread_mutex_lock(&s->log_lock);
	found = strstr(s->log, text) != NULL;
	pthread_mutex_unlock(&s->log_lock);
	return found;
}

/* ------------------------------------------------------------------- sides */

void
side_init(struct side *s, const char *name)
{
	memset(s, 0, sizeof(*s));
	pthread_mutex_init(&s->log_lock, NULL);
	ck_assert_int_eq(loop_init(&s->loop, name, turn, s), 0);
	s->config = (struct conn_config){.frame_max = 4 << 20,
	    .out_max = 8 << 20,
	    .log = log_line,
	    .log_arg = s,
	    .counters = &s->counters};
}

void
side_listen(struct side *s, const char *address)
{
	struct dyn_error error = {0, ""};
	int rc = listener_open(
	    &s->listener, &s->loop, &s->config, address, greet, s, s->bound, &error);

	ck_assert_msg(rc == 0, "%s", error.text);
}

void
side_start(struct side *s)
{
	ck_assert_int_eq(loop_start(&s->loop), 0);
}

struct dialling {
	struct side *side;
	const char *address;
	const struct end *as;
	const struct msg_hello *hello;
	struct end *end;
	int rc;
};

static void
dial_inside(void *arg)
{
	struct dialling *d = arg;
	struct side *s = d->side;
	struct end *e = new_end(s, d->as);

	d->end = e;
	d->rc =
	    conn_dial(&e->conn, &s->loop, &s->config, d->address, d->hello, &events, e);
	if (d->rc != 0) /* the end was never there */
		atomic_fetch_sub(&s->count, 1);
}

int
side_dial_as(struct side *s, const char *address, const struct end *as,
    const struct msg_hello *hello, struct end **out)
{
	struct dialling d = {s, address, as, hello, NULL, 0};

	net_inside(&s->loop, dial_inside, &d);
	*out = d.rc == 0 ? d.end : NULL;
	return d.rc;
}

struct end *
side_dial(struct side *s, const char *address, const struct end *as)
{
	struct msg_hello hello = {.role = DYN_CLIENT, .ring = slice("test", 4)};
	struct end *e;

	ck_assert_int_eq(side_dial_as(s, address, as, &hello, &e), 0);
	return e;
}

struct closing {
	struct side *side;
	struct end *end;
	bool linger;
};

static void
close_inside(void *arg)
{
	struct closing *c = arg;

	if (c->end->conn != NULL)
		conn_close(c->end->conn, DYN_ECLOSED, "test closes", c->linger);
}

void
side_close(struct side *s, struct end *e, bool linger)
{
	struct closing c = {s, e, linger};

	net_inside(&s->loop, close_inside, &c);
}

static void
close_all(void *arg)
{
	struct side *s = arg;

	listener_close(s->listener);
	s->listener = NULL;
	for (size_t i = 0; i < atomic_load(&s->count); i++)
		if (s->ends[i].conn != NULL)
			conn_close(s->ends[i].conn, DYN_ECLOSED, "test ends", false);
}

static void
side_free(struct side *s)
{
	loop_fini(&s->loop);
	for (size_t i = 0; i < atomic_load(&s->count); i++) {
		ck_assert_int_eq(atomic_load(&s->ends[i].closed), 1);
		ck_assert_int_le(atomic_load(&s->ends[i].opened), 1);
	}
	pthread_mutex_destroy(&s->log_lock);
}

void
sides_fini(struct side *const *sides, size_t count)
{
	bool any = true;

	for (size_t i = 0; i < count; i++) {
		net_inside(&sides[i]->loop, close_all, sides[i]);
		loop_stop(&sides[i]->loop);
	}
	while (any) {
		any = false;
		for (size_t i = 0; i < count; i++) {
			close_all(sides[i]); /* those that arrived since */
			any |= loop_settle(&sides[i]->loop);
		}
	}
	for (size_t i = 0; i < count; i++)
		side_free(sides[i]);
}

/* ------------------------------------------------------------- raw sockets */

size_t
net_open_files(void)
{
	DIR *d = opendir("/proc/self/fd");
	size_t n = 0;

	ck_assert_ptr_nonnull(d);
	while (readdir(d) != NULL)
		n++;
	closedir(d);
	return n;
}

static int
dial_raw(const char *address, int flags)
{
	char host[DYN_ADDRESS_MAX];
	struct address a;
	unsigned port;
	int fd;

	ck_assert_int_eq(address_split(address, host, &port), 0);
	ck_assert(address_numeric(host, port, &a));
	fd = socket(a.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);
	ck_assert_int_ge(fd, 0);
	if (connect(fd, (struct sockaddr *)&a.storage, a.len) != 0)
		ck_assert_int_eq(errno, EINPROGRESS);
	return fd;
}

int
raw_dial(const char *address)
{
	return dial_raw(address, 0);
}

int
raw_dial_away(const char *address)
{
	return dial_raw(address, SOCK_NONBLOCK);
}

int
raw_listen(char bound[DYN_ADDRESS_MAX])
{
	struct address a;
	int fd;

	ck_assert(address_numeric("127.0.0.1", 0, &a));
	fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&a.storage, a.len), 0);
	ck_assert_int_eq(listen(fd, 8), 0);
	a.len = sizeof(a.storage);
	ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&a.storage, &a.len), 0);
	address_format(&a, bound);
	return fd;
}

void
raw_send(int fd, const void *data, size_t len)
{
	const char *p = data;
	ssize_t n;

	for (; len > 0; p += n, len -= (size_t)n) {
		n = send(fd, p, len, MSG_NOSIGNAL);
		if (n < 0)
			return; /* the other side had enough */
	}
}

bool
raw_send_soon(int fd, const void *data, size_t len, int patience_ms)
{
	struct pollfd p = {.fd = fd, .events = POLLOUT};
	const char *at = data;
	ssize_t n;

	while (len > 0) {
		n = send(fd, at, len, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n < 0 && (errno != EAGAIN || poll(&p, 1, patience_ms) <= 0))
			return false;
		if (n > 0) {
			at += n;
			len -= (size_t)n;
		}
	}
	return true;
}

size_t
raw_read(int fd, void *to, size_t len)
{
	size_t got = 0;
	ssize_t n;

	while (got < len) {
		n = recv(fd, (char *)to + got, len - got, 0);
		if (n <= 0)
			break;
		got += (size_t)n;
	}
	return got;
}

bool
raw_ends(int fd, int timeout_ms)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	uint64_t until = test_now() + (uint64_t)timeout_ms * NS_PER_MS;
	char dump[4096];

	while (test_now() < until)
		if (poll(&p, 1, 20) > 0 && recv(fd, dump, sizeof(dump), 0) <= 0)
			return true;
	return false;
}
