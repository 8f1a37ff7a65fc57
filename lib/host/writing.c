/* Connections: what goes out (see conn_private.h). */
#include "host/conn_private.h"

#include <errno.h>

#define IOV_MAX_USED 64
/* Bytes encrypted ahead of the socket. */
#define TLS_AHEAD (256 << 10)

size_t
conn_queued(const struct conn *c)
{
	return c->out.bytes + c->wire.bytes;
}

void
writing_count(struct conn *c)
{
	if (c->frames_in > 0)
		counter_add(&c->config.counters->frames_in, c->frames_in);
	if (c->frames_out > 0)
		counter_add(&c->config.counters->frames_out, c->frames_out);
	c->frames_in = c->frames_out = 0;
}

/* One system call.  Bytes written, or -1. */
static ssize_t
write_some(struct conn *c, const struct outq *q, size_t *asked)
{
	struct iovec iov[IOV_MAX_USED];
	struct msghdr m = {.msg_iov = iov};
	ssize_t n;

	m.msg_iovlen = outq_peek(q, iov, IOV_MAX_USED);
	*asked = 0;
	for (size_t i = 0; i < m.msg_iovlen; i++)
		*asked += iov[i].iov_len;
	do {
		n = sendmsg(c->fd, &m, MSG_NOSIGNAL);
	} while (n < 0 && errno == EINTR);
	return n;
}

/* Write until nothing is left (true), or the socket is full or broken. */
static bool
write_queue(struct conn *c, struct outq *q)
{
	size_t asked;
	ssize_t n;

	while (q->bytes > 0) {
		n = write_some(c, q, &asked);
		if (n < 0) {
			if (errno != EAGAIN && errno != ENOBUFS)
				conn_fail(c, DYN_ECLOSED, "write: %s", strerror(errno));
			return false;
		}
		if (c->state == OPEN || c->state == LINGERING)
			c->used = true;
		counter_add(&c->config.counters->bytes_out, (size_t)n);
		outq_drop(q, (size_t)n);
		if ((size_t)n < asked)
			return false;
	}
	return true;
}

/* What TLS has produced goes to the wire. */
static int
collect(struct conn *c)
{
	struct buf *b;
	int rc;

	if (c->tls == NULL)
		return 0;
	rc = tls_stream_take(c->tls, &b);
	if (rc != 0 || b == NULL)
		return rc;
	rc = outq_add(&c->wire, b);
	if (rc != 0)
		buf_unref(b);
	return rc;
}

/* Encrypt a piece of what waits. */
static int
encrypt(struct conn *c)
{
	struct iovec iov[IOV_MAX_USED];
	size_t pieces = outq_peek(&c->out, iov, IOV_MAX_USED), done = 0, len;
	int rc;

	for (size_t i = 0; i < pieces && done < TLS_AHEAD; i++) {
		len = MIN(iov[i].iov_len, TLS_AHEAD - done);
		rc = tls_stream_write(c->tls, iov[i].iov_base, len);
		if (rc != 0)
			return rc;
		done += len;
	}
	outq_drop(&c->out, done);
	return collect(c);
}

/* The queues, in order, until one blocks.  True: all is written. */
static bool
write_queues(struct conn *c)
{
	int rc = collect(c);

	while (rc == 0) {
		if (!write_queue(c, &c->wire))
			return false;
		if ((c->state != OPEN && c->state != LINGERING) || c->out.bytes == 0)
			return true;
		if (c->tls == NULL)
			return write_queue(c, &c->out);
		rc = encrypt(c);
	}
	conn_fail(
	    c, rc, "%s", rc == DYN_ETLS ? tls_stream_why(c->tls) : dyn_strerror(rc));
	return false;
}

static int
set_event(struct event *e, bool on)
{
	return on ? event_add(e, NULL) : event_del(e);
}

/* Listen for what can be done next, and for nothing else. */
static void
watch(struct conn *c, bool more_to_write)
{
	bool read = !c->paused;
	int rc = 0;

	if (read != c->reading)
		rc = set_event(c->read_event, read);
	c->reading = read;
	if (rc == 0 && more_to_write != c->writing)
		rc = set_event(c->write_event, more_to_write);
	c->writing = more_to_write;
	if (rc != 0)
		conn_fail(c, DYN_ENOMEM, "%s", dyn_strerror(DYN_ENOMEM));
}

/* All is written that lingered: say that nothing follows, and wait for the
 * other side to close, since closing first could destroy what it has not read
 * yet.  False: not all could be said. */
static bool
end_output(struct conn *c)
{
	if (c->tls != NULL && !c->shut) {
		c->shut = true;
		tls_stream_end(c->tls);
		if (collect(c) != 0 || !write_queue(c, &c->wire))
			return false;
	}
	c->shut = true;
	shutdown(c->fd, SHUT_WR);
	return true;
}

void
writing_flush(struct conn *c)
{
	bool all;

	if (c->fd < 0 || c->state == DIALLING || c->state == MOVING)
		return;
	writing_count(c);
	all = write_queues(c);
	if (all && c->state == LINGERING)
		all = end_output(c);
	if (c->state == CLOSED)
		return;
	if (c->state == OPEN && c->accepted)
		c->paused = conn_queued(c) > c->config.out_max / 2;
	if (c->stalled && !c->paused)
		loop_defer(c->loop, &c->late);
	watch(c, !all);
}

void
conn_flush(struct conn *c)
{
	DYN_ASSERT(loop_owned(c->loop));
	if (c->state == OPEN)
		writing_flush(c);
}

int
conn_send(struct conn *c, struct buf *frame)
{
	size_t queued = conn_queued(c);
	int rc;

	DYN_ASSERT(loop_owned(c->loop));
	if (c->state >= LINGERING)
		return DYN_ECLOSED;
	if (queued > 0 && queued + frame->len > c->config.out_max)
		return DYN_EBUSY;
	rc = outq_add(&c->out, frame);
	if (rc != 0)
		return rc;
	c->frames_out++;
	if (c->state == OPEN && !c->writing)
		loop_defer(c->loop, &c->late);
	return 0;
}
