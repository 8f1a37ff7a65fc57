/* Connections: life and reading (see conn.h, conn_private.h). */
#include "host/conn_private.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#define GREET_MS 5000
#define LINGER_MS 1000

const char *
conn_peer(const struct conn *c)
{
	return c->peer;
}

struct dyn_id
conn_node(const struct conn *c)
{
	return c->node;
}

enum dyn_role
conn_role(const struct conn *c)
{
	return c->role;
}

uint64_t
conn_token(const struct conn *c)
{
	return c->token;
}

/* --------------------------------------------------------- birth and death */

static void
free_events(struct conn *c)
{
	struct event **all[] = {&c->read_event, &c->write_event, &c->timer_event};

	for (size_t i = 0; i < ARRAY_LEN(all); i++) {
		if (*all[i] != NULL)
			event_free(*all[i]);
		*all[i] = NULL;
	}
	c->reading = c->writing = false;
}

/* Let go of all but the memory and what the owner may still ask for. */
static void
release(struct conn *c)
{
	if (c->greeter != NULL) {
		list_remove(&c->link);
		c->greeter->count--;
		c->greeter = NULL;
	}
	free_events(c);
	if (c->dial != NULL)
		dial_cancel(c->dial);
	c->dial = NULL;
	tls_stream_free(c->tls);
	c->tls = NULL;
	if (c->fd >= 0)
		close(c->fd);
	c->fd = -1;
	outq_fini(&c->out);
	outq_fini(&c->wire);
	buf_unref(c->hello);
	c->hello = NULL;
}

static void
conn_free(struct conn *c)
{
	list_remove(&c->late.link);
	release(c);
	inq_fini(&c->in);
	mem_free(c);
}

/* Bad frames are always worth a line; else the owner hears why, if there is
 * one. */
static void
log_closed(const struct conn *c)
{
	char line[sizeof(c->why) + DYN_ADDRESS_MAX + 64];
	bool bad = c->rc == DYN_EPROTO || c->rc == DYN_ETLS;

	if (c->config.log == NULL || (!bad && c->events != NULL))
		return;
	snprintf(line, sizeof(line), "connection %s %s closed: %s",
	    c->accepted ? "from" : "to", c->peer, c->why);
	c->config.log(c->config.log_arg,
	    c->rc == DYN_ECLOSED ? DYN_LOG_DEBUG : DYN_LOG_WARNING, line);
}

/* Gone from now on; the owner hears of it at the end of the turn. */
static void
drop(struct conn *c)
{
	if (c->state == CLOSED)
		return;
	c->state = CLOSED;
	/* The alert that tells the other side why, if it fits. */
	if (c->tls != NULL && c->rc == DYN_ETLS)
		writing_flush(c);
	writing_count(c);
	if (c->rc == DYN_EPROTO)
		counter_add(&c->config.counters->protocol_errors, 1);
	log_closed(c);
	release(c);
	loop_defer(c->loop, &c->late);
}

void
conn_fail(struct conn *c, int rc, const char *fmt, ...)
{
	va_list args;

	if (c->state == CLOSED)
		return;
	if (c->state != LINGERING) {
		c->rc = rc;
		va_start(args, fmt);
		vsnprintf(c->why, sizeof(c->why), fmt, args);
		va_end(args);
	}
	drop(c);
}

void
conn_close(struct conn *c, int rc, const char *why, bool linger)
{
	DYN_ASSERT(loop_owned(c->loop) && rc != 0);
	if (c->state == CLOSED)
		return;
	if (c->state == LINGERING) {
		if (!linger)
			drop(c);
		return;
	}
	/* Nobody would be there to wait once the thread has ended; and before
	 * the greeting nothing that is queued may be sent. */
	if (linger && !c->loop->running)
		conn_flush(c);
	if (!linger || !c->loop->running ||
	    !(c->state == OPEN || (c->state == GREETING && c->accepted))) {
		conn_fail(c, rc, "%s", why);
		return;
	}
	c->rc = rc;
	snprintf(c->why, sizeof(c->why), "%s", why);
	c->state = LINGERING;
	c->paused = c->stalled = false;
	conn_set_timer(c, LINGER_MS);
	if (c->state != CLOSED)
		loop_defer(c->loop, &c->late);
}

/* ----------------------------------------------------------------- reading */

/* Does it take so little of what it asked for that it must wait? */
static bool
is_blocked(struct conn *c)
{
	size_t most = c->config.out_max / 2;

	if (c->state != OPEN || !c->accepted || conn_queued(c) <= most)
		return false;
	writing_flush(c);
	c->stalled = c->state == OPEN && conn_queued(c) > most;
	return c->stalled || c->state != OPEN;
}

static void
take_frame(struct conn *c, const struct frame *f)
{
	c->frames_in++;
	if (c->state == GREETING)
		greeting_frame(c, f);
	else if (f->kind == MSG_HELLO || f->kind == MSG_WELCOME)
		conn_fail(c, DYN_EPROTO, "greets a second time");
	else
		c->events->frame(c->arg, c, f);
}

static void
fail_frame(struct conn *c)
{
	const unsigned char *p = c->in.p;

	/* Record types alert and handshake, version 3.x. */
	if (c->state == GREETING && (p[0] == 0x15 || p[0] == 0x16) && p[1] == 3)
		conn_fail(c, DYN_EPROTO, "speaks TLS, this side does not");
	else if (c->state == GREETING)
		conn_fail(c, DYN_EPROTO, "malformed or too large a greeting");
	else
		conn_fail(c, DYN_EPROTO, "malformed or too large a frame");
}

/* Take the frames that are there. */
static void
parse(struct conn *c)
{
	struct frame f;
	int rc = 0;

	while ((c->state == GREETING || c->state == OPEN) && !is_blocked(c)) {
		rc = inq_next(&c->in, c->frame_max, &f);
		if (rc <= 0)
			break;
		take_frame(c, &f);
	}
	if (rc < 0)
		fail_frame(c);
	if (c->state == CLOSED)
		return;
	writing_count(c);
	rc = inq_keep(&c->in);
	if (rc != 0)
		conn_fail(c, rc, "%s", dyn_strerror(rc));
}

static void
fail_read(struct conn *c, ssize_t n)
{
	const char *why = n == 0 ? "the other side closed it" : strerror(errno);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (c->state == SHAKING)
		conn_fail(c, DYN_ETLS, "during the TLS handshake: %s", why);
	else if (c->state == GREETING)
		conn_fail(c, DYN_ECLOSED, "during the greeting: %s", why);
	else
		conn_fail(c, DYN_ECLOSED, "%s", why);
}

static size_t
receive(struct conn *c, void *to, size_t room)
{
	ssize_t n = recv(c->fd, to, room, 0);

	if (n <= 0) {
		fail_read(c, n);
		return 0;
	}
	counter_add(&c->config.counters->bytes_in, (size_t)n);
	return (size_t)n;
}

static void
pull_plain(struct conn *c)
{
	unsigned char *at;
	size_t room, n;
	int rc;

	rc = inq_space(
	    &c->in, c->loop->scratch[0], LOOP_SCRATCH, c->frame_max, &at, &room);
	if (rc != 0) {
		conn_fail(c, rc, "%s", dyn_strerror(rc));
		return;
	}
	n = receive(c, at, room);
	if (n == 0)
		return;
	inq_filled(&c->in, n);
	parse(c);
}

/* Go on with the handshake.  True: it is done. */
static bool
shake(struct conn *c)
{
	int rc = tls_stream_handshake(c->tls);

	loop_defer(c->loop, &c->late);
	if (rc < 0)
		conn_fail(c, rc, "TLS: %s", tls_stream_why(c->tls));
	else if (rc > 0)
		greeting_start(c);
	return rc > 0;
}

/* Decrypt as much as there is room for.  True: there may be more. */
static bool
decrypt(struct conn *c)
{
	unsigned char *at;
	size_t room, n = 1;
	int rc;

	rc = inq_space(
	    &c->in, c->loop->scratch[1], LOOP_SCRATCH, c->frame_max, &at, &room);
	for (; rc == 0 && room > 0; at += n, room -= n) {
		rc = tls_stream_read(c->tls, at, room, &n);
		if (rc != 0 || n == 0)
			break;
		inq_filled(&c->in, n);
	}
	parse(c);
	if (c->state == CLOSED || c->state == LINGERING)
		return false;
	if (rc == DYN_ECLOSED)
		fail_read(c, 0);
	else if (rc != 0)
		conn_fail(c, rc, "TLS: %s",
		    rc == DYN_ETLS ? tls_stream_why(c->tls) : dyn_strerror(rc));
	return rc == 0 && n > 0;
}

/* All that was received is decrypted at once, since the block it lies in is
 * not ours: what must wait, waits decrypted. */
static void
pull_tls(struct conn *c)
{
	unsigned char *block = c->loop->scratch[0];
	size_t n = receive(c, block, LOOP_SCRATCH);

	if (n == 0)
		return;
	tls_stream_feed(c->tls, slice(block, n));
	if (c->state == SHAKING && !shake(c))
		return;
	while (decrypt(c))
		;
}

/* ------------------------------------------------------------------ events */

static void arrive(struct letter *);

/* Leave for the loop that was chosen; nothing of this one may stay behind. */
static void
depart(struct conn *c)
{
	free_events(c);
	list_remove(&c->late.link);
	c->loop = c->next_loop;
	c->letter.run = arrive;
	loop_post(c->loop, &c->letter);
}

static void
on_read(evutil_socket_t fd, short what, void *arg)
{
	struct conn *c = arg;

	(void)fd;
	(void)what;
	loop_enter(c->loop);
	if (c->state == LINGERING)
		(void)receive(c, c->loop->scratch[0], LOOP_SCRATCH);
	else if (c->tls != NULL)
		pull_tls(c);
	else
		pull_plain(c);
	if (c->state == MOVING)
		depart(c);
}

static void
on_write(evutil_socket_t fd, short what, void *arg)
{
	struct conn *c = arg;

	(void)fd;
	(void)what;
	loop_enter(c->loop);
	writing_flush(c);
}

static void
on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct conn *c = arg;

	(void)fd;
	(void)what;
	loop_enter(c->loop);
	if (c->state == DIALLING)
		conn_fail(c, DYN_ECLOSED, "no connection in time");
	else
		conn_fail(c, DYN_ETIMEOUT, "no greeting in time");
}

void
conn_set_timer(struct conn *c, unsigned ms)
{
	struct timeval tv = {ms / 1000, (suseconds_t)(ms % 1000 * 1000)};

	if (c->state == CLOSED)
		return;
	if (c->timer_event == NULL) {
		if (ms == 0)
			return;
		c->timer_event = evtimer_new(c->loop->base, on_timer, c);
	}
	if (c->timer_event == NULL || event_del(c->timer_event) != 0 ||
	    (ms > 0 && event_add(c->timer_event, &tv) != 0))
		conn_fail(c, DYN_ENOMEM, "%s", dyn_strerror(DYN_ENOMEM));
}

static int
make_events(struct conn *c)
{
	c->read_event = event_new(c->loop->base, c->fd, EV_READ | EV_PERSIST, on_read, c);
	c->write_event =
	    event_new(c->loop->base, c->fd, EV_WRITE | EV_PERSIST, on_write, c);
	return c->read_event != NULL && c->write_event != NULL ? 0 : DYN_ENOMEM;
}

/* The end of a turn: write what was queued, or be gone. */
static void
end_turn(struct deferred *d)
{
	struct conn *c = CONTAINER_OF(d, struct conn, late);

	if (c->state == CLOSED) {
		if (c->events != NULL)
			c->events->closed(c->arg, c, c->rc, c->why, !c->used);
		conn_free(c);
		return;
	}
	writing_flush(c);
	if (c->state == OPEN && c->stalled && !c->paused) {
		c->stalled = false;
		inq_again(&c->in);
		parse(c);
	}
}

/* On the new loop.  The listener's thread is done with it. */
static void
arrive(struct letter *letter)
{
	struct conn *c = CONTAINER_OF(letter, struct conn, letter);
	struct loop *l = c->loop;
	int rc = make_events(c);

	c->state = OPEN;
	if (rc != 0) {
		conn_fail(c, rc, "%s", dyn_strerror(rc));
		return;
	}
	if (!l->running && atomic_load(&l->stop)) {
		conn_fail(c, DYN_ECLOSED, "the node is closing");
		return;
	}
	loop_defer(l, &c->late);
	c->events->opened(c->arg, c, NULL);
	if (c->state == OPEN) {
		inq_again(&c->in);
		parse(c);
	}
}

/* --------------------------------------------------------------- beginning */

static struct conn *
conn_new(struct loop *l, const struct conn_config *config)
{
	struct conn *c = mem_zalloc(sizeof(*c));

	if (c == NULL)
		return NULL;
	deferred_init(&c->late, end_turn);
	list_init(&c->link);
	c->loop = l;
	c->config = *config;
	if (c->config.greet_ms == 0)
		c->config.greet_ms = GREET_MS;
	c->fd = -1;
	if (config->tls != NULL)
		c->out.copy_max = OUTQ_COPY_TLS;
	c->frame_max = LIMIT_FRAME_HELLO;
	c->token = 1 + atomic_fetch_add_explicit(
			   &config->counters->tokens, 1, memory_order_relaxed);
	return c;
}

/* There is a socket; with TLS, the handshake begins.  host: see tls.h. */
static int
attach(struct conn *c, int fd, const char *host)
{
	int rc;

	c->fd = fd;
	rc = make_events(c);
	if (rc != 0)
		return rc;
	if (c->config.tls == NULL) {
		greeting_start(c);
		return 0;
	}
	rc = tls_stream_new(&c->tls, c->config.tls, c->accepted, host);
	if (rc != 0)
		return rc;
	c->state = SHAKING;
	(void)shake(c);
	return 0;
}

static void
on_dialled(void *arg, int fd, int rc, const char *why)
{
	struct conn *c = arg;
	char host[DYN_ADDRESS_MAX];
	unsigned port;

	c->dial = NULL;
	if (fd < 0) {
		conn_fail(c, rc, "%s", why);
		return;
	}
	rc = address_split(c->peer, host, &port);
	DYN_ASSERT(rc == 0);
	rc = attach(c, fd, host);
	if (rc != 0)
		conn_fail(c, rc, "%s", dyn_strerror(rc));
}

int
conn_dial(struct conn **out, struct loop *l, const struct conn_config *config,
    const char *address, const struct msg_hello *hello, const struct conn_events *events,
    void *arg)
{
	struct conn *c;
	int rc;

	DYN_ASSERT(loop_owned(l));
	*out = NULL;
	c = conn_new(l, config);
	if (c == NULL)
		return DYN_ENOMEM;
	rc = greeting_hello(c, hello);
	if (rc == 0)
		rc = dial_start(&c->dial, l, address, c->config.greet_ms,
		    c->config.socket_buffer, on_dialled, c);
	if (rc == 0) {
		memcpy(c->peer, address, strlen(address) + 1);
		conn_set_timer(c, c->config.greet_ms);
		if (c->state == CLOSED)
			rc = DYN_ENOMEM;
	}
	if (rc != 0) {
		conn_free(c);
		return rc;
	}
	c->events = events;
	c->arg = arg;
	*out = c;
	return 0;
}

int
conn_accept(struct greeter *g, struct loop *l, const struct conn_config *config, int fd,
    const struct address *from)
{
	struct conn *c = conn_new(l, config);
	int rc;

	if (c == NULL) {
		close(fd);
		return DYN_ENOMEM;
	}
	c->accepted = true;
	address_format(from, c->peer);
	socket_prepare(fd, config->socket_buffer);
	c->greeter = g;
	list_add(&g->conns, &c->link);
	g->count++;
	rc = attach(c, fd, NULL);
	if (rc != 0) {
		conn_free(c);
		return rc;
	}
	conn_set_timer(c, c->config.greet_ms);
	return 0;
}
