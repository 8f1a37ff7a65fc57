/*
 * Listening: accepts connections, greets them, and lets them go.
 *
 * Who has not greeted yet is a stranger: there may be few of them at a time
 * (the oldest makes room), each with a little memory and a little time.
 */
#include "host/conn_private.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <unistd.h>

#define BACKLOG 256
#define STRANGERS_MAX 256
#define ACCEPTS_A_TURN 32
#define RETRY_MS 100

struct listener {
	struct greeter greeter;
	struct loop *loop;
	struct conn_config config;
	int fd;
	struct event *event, *retry;
	listener_greet *greet;
	void *arg;
};

static void
greet(struct greeter *g, struct conn *c, const struct msg_hello *hello,
    struct conn_admission *out)
{
	struct listener *l = CONTAINER_OF(g, struct listener, greeter);

	l->greet(l->arg, c, hello, out);
}

static void
log_line(const struct listener *l, const char *what, const char *why)
{
	char line[128];

	if (l->config.log == NULL)
		return;
	snprintf(line, sizeof(line), "%s: %s", what, why);
	l->config.log(l->config.log_arg, DYN_LOG_WARNING, line);
}

/* Too few descriptors or too little memory: the connection waits in the
 * kernel, and so do we, instead of turning without end. */
static void
back_off(struct listener *l, const char *why)
{
	struct timeval tv = {0, RETRY_MS * 1000};

	log_line(l, "cannot accept a connection", why);
	if (event_add(l->retry, &tv) == 0)
		event_del(l->event);
}

static void
on_retry(evutil_socket_t fd, short what, void *arg)
{
	struct listener *l = arg;

	(void)fd;
	(void)what;
	loop_enter(l->loop);
	event_add(l->event, NULL);
}

/* False: there is no other one now. */
static bool
accept_one(struct listener *l)
{
	struct address from = {.len = sizeof(from.storage)};
	struct list *oldest = l->greeter.conns.next;
	int fd, rc;

	fd = accept4(l->fd, (struct sockaddr *)&from.storage, &from.len,
	    SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (fd < 0 &&
	    (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS))
		back_off(l, strerror(errno));
	/* Any other error is that of a connection that broke in the queue. */
	if (fd < 0)
		return errno == ECONNABORTED || errno == EINTR || errno == EPROTO;
	if (l->greeter.count >= STRANGERS_MAX)
		conn_fail(CONTAINER_OF(oldest, struct conn, link), DYN_EBUSY,
		    "too many connections that have not greeted");
	rc = conn_accept(&l->greeter, l->loop, &l->config, fd, &from);
	if (rc != 0)
		log_line(l, "cannot take a connection", dyn_strerror(rc));
	return rc == 0;
}

static void
on_connection(evutil_socket_t fd, short what, void *arg)
{
	struct listener *l = arg;

	(void)fd;
	(void)what;
	loop_enter(l->loop);
	for (int i = 0; i < ACCEPTS_A_TURN && accept_one(l); i++)
		;
}

static int
listen_on(struct listener *l, const struct addrinfo *a)
{
	int one = 1;

	l->fd = socket(a->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (l->fd < 0)
		return errno;
	/* A restart must not wait for old connections to time out. */
	setsockopt(l->fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(l->fd, a->ai_addr, a->ai_addrlen) == 0 && listen(l->fd, BACKLOG) == 0)
		return 0;
	one = errno;
	close(l->fd);
	l->fd = -1;
	return one;
}

/* The first address of the host that can be listened on.  This may block: it
 * happens once, in dyn_open. */
static int
open_socket(struct listener *l, const char *address, char bound[DYN_ADDRESS_MAX],
    struct dyn_error *error)
{
	struct addrinfo hints = {.ai_flags = AI_PASSIVE, .ai_socktype = SOCK_STREAM},
			*found;
	struct address at = {.len = sizeof(at.storage)};
	char host[DYN_ADDRESS_MAX], service[16];
	unsigned port;
	int err;

	if (address_split(address, host, &port) != 0)
		return error_set(
		    error, DYN_EINVAL, "listen: \"%s\" is not host:port", address);
	snprintf(service, sizeof(service), "%u", port);
	err = getaddrinfo(host, service, &hints, &found);
	if (err != 0)
		return error_set(
		    error, DYN_EADDRESS, "listen %s: %s", address, gai_strerror(err));
	err = EADDRNOTAVAIL;
	for (struct addrinfo *a = found; a != NULL && l->fd < 0; a = a->ai_next)
		err = listen_on(l, a);
	freeaddrinfo(found);
	if (err == 0 && getsockname(l->fd, (struct sockaddr *)&at.storage, &at.len) != 0)
		err = errno;
	if (err != 0)
		return error_set(
		    error, DYN_EADDRESS, "listen %s: %s", address, strerror(err));
	address_join(bound, host, address_port(&at));
	return 0;
}

int
listener_open(struct listener **out, struct loop *loop, const struct conn_config *config,
    const char *address, listener_greet *greet_fn, void *arg, char bound[DYN_ADDRESS_MAX],
    struct dyn_error *error)
{
	struct listener *l;
	int rc;

	DYN_ASSERT(loop_owned(loop));
	*out = NULL;
	l = mem_zalloc(sizeof(*l));
	if (l == NULL)
		return error_set(error, DYN_ENOMEM, "%s", dyn_strerror(DYN_ENOMEM));
	l->loop = loop;
	l->config = *config;
	l->greet = greet_fn;
	l->arg = arg;
	l->fd = -1;
	l->greeter.greet = greet;
	list_init(&l->greeter.conns);
	rc = open_socket(l, address, bound, error);
	if (rc == 0) {
		l->event =
		    event_new(loop->base, l->fd, EV_READ | EV_PERSIST, on_connection, l);
		l->retry = evtimer_new(loop->base, on_retry, l);
		if (l->event == NULL || l->retry == NULL ||
		    event_add(l->event, NULL) != 0)
			rc = error_set(error, DYN_ENOMEM, "%s", dyn_strerror(DYN_ENOMEM));
	}
	if (rc != 0) {
		listener_close(l);
		return rc;
	}
	*out = l;
	return 0;
}

void
listener_close(struct listener *l)
{
	if (l == NULL)
		return;
	DYN_ASSERT(loop_owned(l->loop));
	while (!list_empty(&l->greeter.conns))
		conn_close(CONTAINER_OF(l->greeter.conns.next, struct conn, link),
		    DYN_ECLOSED, "the node is closing", false);
	if (l->event != NULL)
		event_free(l->event);
	if (l->retry != NULL)
		event_free(l->retry);
	if (l->fd >= 0)
		close(l->fd);
	mem_free(l);
}
