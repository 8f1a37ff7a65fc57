/*
 * What the files of a connection share: conn.c (life and reading), greeting.c,
 * writing.c, listener.c.  Nobody else includes this.
 *
 * Two queues lead out: `out` holds frames, `wire` bytes for the socket.  The
 * greeting goes straight to `wire`; `out` is held back until the greeting is
 * done, then plain connections write it as it is, and those with TLS encrypt
 * it into `wire`, a bounded piece at a time.
 *
 * Closing is in two steps: conn_fail ends everything at once, but the owner is
 * told, and the memory freed, at the end of the turn.  So no callback comes
 * from inside a call of the owner's, and after each callback the connection is
 * still there to be asked for its state.
 */
#ifndef DYN_CONN_PRIVATE_H
#define DYN_CONN_PRIVATE_H

#include "host/conn.h"
#include "host/dial.h"
#include "host/inq.h"
#include "host/outq.h"
#include "host/tls.h"

/* In the order of life: comparisons rely on it. */
enum state { DIALLING, SHAKING, GREETING, MOVING, OPEN, LINGERING, CLOSED };

/* What greets accepted connections: the listener. */
struct greeter {
	void (*greet)(struct greeter *, struct conn *, const struct msg_hello *,
	    struct conn_admission *);
	struct list conns; /* not admitted, or refused and lingering; oldest first */
	size_t count;
};

struct conn {
	struct deferred late; /* at the end of the turn: write, or go */
	struct letter letter; /* takes it to its new loop */
	struct list link;     /* greeter.conns */
	struct loop *loop;
	struct conn_config config;
	const struct conn_events *events; /* NULL: not admitted */
	void *arg;
	struct greeter *greeter; /* NULL: dialled, or admitted */
	struct loop *next_loop;  /* MOVING: to this one */

	enum state state;
	bool accepted;
	bool paused;           /* nothing is read: too much is queued */
	bool stalled;          /* paused with frames left in `in` */
	bool used;             /* bytes beyond the greeting were sent */
	bool shut;             /* the end of output was sent */
	bool reading, writing; /* events that are added */
	int fd;
	struct event *read_event, *write_event, *timer_event;
	struct dial *dial;
	struct tls_stream *tls;
	struct inq in;
	struct outq out, wire;
	struct buf *hello;              /* to be sent when connected */
	size_t frame_max;               /* now */
	unsigned frames_in, frames_out; /* not yet added to the counters */

	uint64_t token;
	struct dyn_id node;
	enum dyn_role role;
	int rc;
	char why[224];
	char peer[DYN_ADDRESS_MAX];
};

/* conn.c */
/* Take over a connected socket, to be greeted.  It is closed also on failure. */
int conn_accept(struct greeter *, struct loop *, const struct conn_config *, int fd,
    const struct address *) DYN_CHECK;
/* End it, for this reason; the first reason counts. */
void conn_fail(struct conn *, int rc, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void conn_set_timer(struct conn *, unsigned ms); /* 0: none */

static inline void
counter_add(atomic_uint_fast64_t *counter, size_t n)
{
	atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

/* greeting.c */
int greeting_hello(struct conn *, const struct msg_hello *) DYN_CHECK; /* prepare it */
void greeting_start(struct conn *); /* socket and TLS stand */
void greeting_frame(struct conn *, const struct frame *);

/* writing.c */
void writing_flush(struct conn *); /* write what can be written, watch for the rest */
void writing_count(struct conn *); /* add the frames to the counters */

#endif
