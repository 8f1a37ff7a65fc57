/*
 * Connecting.
 *
 *	RESOLVING -> CONNECTING to address 1 .. n -> done
 *	a numeric address starts at CONNECTING
 *
 * The time that is left is divided by the addresses that are left, so that one
 * that swallows packets does not use up the turn of the next.
 */
#include "host/dial.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <unistd.h>

struct dial {
	struct loop *loop;
	struct deferred finish;
	struct resolve *resolve;
	struct event *event; /* of the attempt under way */
	int fd, socket_buffer;
	uint64_t until;
	struct address list[RESOLVE_MAX];
	size_t count, next;
	dial_done *done;
	void *arg;
	int rc;
	char why[DYN_ADDRESS_MAX + 96];
};

static void try_next(struct dial *);

void
socket_prepare(int fd, int socket_buffer)
{
	/* Failure of any leaves a socket that works less well. */
	static const struct {
		int level, name, value;
	} options[] = {
	    {IPPROTO_TCP, TCP_NODELAY, 1},
	    {SOL_SOCKET, SO_KEEPALIVE, 1},
	    /* Idle and the other side gone: noticed after a minute. */
	    {IPPROTO_TCP, TCP_KEEPIDLE, 30},
	    {IPPROTO_TCP, TCP_KEEPINTVL, 10},
	    {IPPROTO_TCP, TCP_KEEPCNT, 3},
	    /* Bytes that nobody acknowledges: half a minute. */
	    {IPPROTO_TCP, TCP_USER_TIMEOUT, 30000},
	};

	for (size_t i = 0; i < ARRAY_LEN(options); i++)
		setsockopt(fd, options[i].level, options[i].name, &options[i].value,
		    sizeof(options[i].value));
	if (socket_buffer > 0) {
		setsockopt(
		    fd, SOL_SOCKET, SO_SNDBUF, &socket_buffer, sizeof(socket_buffer));
		setsockopt(
		    fd, SOL_SOCKET, SO_RCVBUF, &socket_buffer, sizeof(socket_buffer));
	}
}

static void
drop_attempt(struct dial *d)
{
	if (d->event != NULL)
		event_free(d->event);
	d->event = NULL;
	if (d->fd >= 0)
		close(d->fd);
	d->fd = -1;
}

static void
dial_free(struct dial *d)
{
	list_remove(&d->finish.link);
	if (d->resolve != NULL)
		resolve_cancel(d->resolve);
	drop_attempt(d);
	mem_free(d);
}

/* The end of a turn: the caller may do anything from here. */
static void
finish(struct deferred *deferred)
{
	struct dial *d = CONTAINER_OF(deferred, struct dial, finish);
	dial_done *done = d->done;
	void *arg = d->arg;
	char why[sizeof(d->why)];
	int fd = d->fd, rc = d->rc;

	memcpy(why, d->why, sizeof(why));
	d->fd = -1;
	dial_free(d);
	done(arg, fd, rc, why);
}

static void
attempt_failed(struct dial *d, int err)
{
	char text[DYN_ADDRESS_MAX];

	address_format(&d->list[d->next - 1], text);
	snprintf(d->why, sizeof(d->why), "cannot connect to %s: %s", text, strerror(err));
	d->rc = err == ECONNREFUSED ? DYN_EADDRESS : DYN_ECLOSED;
	drop_attempt(d);
	try_next(d);
}

/* A port of the range for outgoing connections where nobody listens can
 * connect to itself. */
static bool
is_itself(int fd)
{
	struct address us, them;

	us.len = them.len = sizeof(us.storage);
	if (getsockname(fd, (struct sockaddr *)&us.storage, &us.len) != 0 ||
	    getpeername(fd, (struct sockaddr *)&them.storage, &them.len) != 0)
		return false;
	return us.len == them.len && memcmp(&us.storage, &them.storage, us.len) == 0;
}

static void
on_connect(evutil_socket_t fd, short what, void *arg)
{
	struct dial *d = arg;
	int err = 0;
	socklen_t len = sizeof(err);

	loop_enter(d->loop);
	if ((what & EV_WRITE) == 0)
		err = ETIMEDOUT;
	else if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len) != 0)
		err = errno;
	else if (err == 0 && is_itself(fd))
		err = ECONNREFUSED;
	if (err != 0) {
		attempt_failed(d, err);
		return;
	}
	event_free(d->event);
	d->event = NULL;
	loop_defer(d->loop, &d->finish);
}

/* Wait for the socket, for this attempt's share of the time. */
static int
wait_connected(struct dial *d)
{
	uint64_t left = d->until > d->loop->now ? d->until - d->loop->now : 0;
	uint64_t us = left / NS_PER_US / (d->count - d->next + 1);
	struct timeval tv = {(time_t)(us / 1000000), (suseconds_t)(us % 1000000)};

	d->event = event_new(d->loop->base, d->fd, EV_WRITE, on_connect, d);
	if (d->event == NULL || event_add(d->event, &tv) != 0)
		return ENOMEM;
	return 0;
}

static void
try_next(struct dial *d)
{
	const struct address *a;
	int err;

	if (d->next == d->count) {
		loop_defer(d->loop, &d->finish);
		return;
	}
	a = &d->list[d->next++];
	d->fd =
	    socket(a->storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	err = d->fd < 0 ? errno : 0;
	if (err == 0) {
		socket_prepare(d->fd, d->socket_buffer);
		if (connect(d->fd, (const struct sockaddr *)&a->storage, a->len) != 0 &&
		    errno != EINPROGRESS)
			err = errno;
	}
	if (err == 0)
		err = wait_connected(d);
	if (err != 0)
		attempt_failed(d, err);
}

static void
on_resolved(void *arg, const struct address *list, size_t count, const char *why)
{
	struct dial *d = arg;

	d->resolve = NULL;
	memcpy(d->list, list, count * sizeof(*list));
	d->count = count;
	if (count == 0)
		snprintf(d->why, sizeof(d->why), "%s", why);
	try_next(d);
}

static struct dial *
dial_new(
    struct loop *l, unsigned timeout_ms, int socket_buffer, dial_done *done, void *arg)
{
	struct dial *d = mem_zalloc(sizeof(*d));

	if (d == NULL)
		return NULL;
	d->loop = l;
	d->fd = -1;
	d->rc = DYN_ECLOSED;
	d->socket_buffer = socket_buffer;
	d->until = clock_now() + timeout_ms * NS_PER_MS;
	d->done = done;
	d->arg = arg;
	deferred_init(&d->finish, finish);
	return d;
}

int
dial_list(struct dial **out, struct loop *l, const struct address *list, size_t count,
    unsigned timeout_ms, int socket_buffer, dial_done *done, void *arg)
{
	struct dial *d = dial_new(l, timeout_ms, socket_buffer, done, arg);

	*out = d;
	if (d == NULL)
		return DYN_ENOMEM;
	DYN_ASSERT(count > 0 && count <= RESOLVE_MAX);
	memcpy(d->list, list, count * sizeof(*list));
	d->count = count;
	try_next(d);
	return 0;
}

int
dial_start(struct dial **out, struct loop *l, const char *address, unsigned timeout_ms,
    int socket_buffer, dial_done *done, void *arg)
{
	char host[DYN_ADDRESS_MAX];
	struct address a;
	struct dial *d;
	unsigned port;
	int rc;

	*out = NULL;
	rc = address_split(address, host, &port);
	if (rc != 0)
		return rc;
	if (port == 0)
		return DYN_EINVAL;
	if (address_numeric(host, port, &a))
		return dial_list(out, l, &a, 1, timeout_ms, socket_buffer, done, arg);
	d = dial_new(l, timeout_ms, socket_buffer, done, arg);
	if (d == NULL)
		return DYN_ENOMEM;
	rc = resolve_start(&d->resolve, l, host, port, on_resolved, d);
	if (rc != 0) {
		dial_free(d);
		return rc;
	}
	*out = d;
	return 0;
}

void
dial_cancel(struct dial *d)
{
	dial_free(d);
}
