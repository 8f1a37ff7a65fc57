/*
 * Connections: frames over TCP or TLS, from dialling to the last byte.
 *
 * A connection belongs to one loop's thread.  Life:
 *
 *	DIALLING  -> (TLS) -> GREETING -> OPEN -> closed
 *	accepted  -> (TLS) -> GREETING -> OPEN -> closed
 *
 * GREETING: who dialled sends HELLO; the other answers WELCOME.  Until then a
 * frame may have LIMIT_FRAME_HELLO bytes and the whole greeting 5 seconds.
 * After it, an accepted connection may be moved to another loop, once.
 *
 * Reading: as many bytes as are there, up to 256 KiB a turn; each whole frame
 * goes to events.frame.  A malformed frame closes the connection with
 * DYN_EPROTO and a log line, and costs nothing else.
 * Writing: conn_send queues a reference; all that is queued in one turn leaves
 * by one system call (sendmsg with MSG_NOSIGNAL; with TLS, gathered into
 * records first).  Queued bytes are bounded (out_max): beyond it conn_send
 * says DYN_EBUSY; and while more than half of it waits, nothing is read from
 * that connection, so a peer that does not take answers gets to ask nothing.
 *
 * TLS 1.3 over memory BIOs: OpenSSL never touches a socket, so there is no
 * SIGPIPE.  Both sides present certificates of the ring's authority; who
 * dials checks that the certificate names the host dialled; who accepts
 * checks that a peer's names the host in its HELLO's advertise (clients
 * advertise nothing: the authority's signature is enough).
 */
#ifndef DYN_CONN_H
#define DYN_CONN_H

#include "host/loop.h"
#include "model/msg.h"

struct conn;
struct tls; /* host/tls.h: contexts made from the three files */

struct conn_config {
	struct tls *tls;   /* NULL = plain */
	size_t frame_max;  /* largest frame once open */
	size_t out_max;    /* bytes queued */
	dyn_log *log;
	void *log_arg;
	/* Counters shared by all connections of the node; may not be NULL. */
	struct conn_counters *counters;
};

struct conn_counters {
	atomic_uint_fast64_t frames_in, frames_out, bytes_in, bytes_out;
	atomic_uint_fast64_t protocol_errors;
};

/* All are called in the loop's thread.  A callback may close the connection it
 * is called for (conn_close), but only `closed` says that it is gone. */
struct conn_events {
	/* Greeting done.  For who dialled: the WELCOME. */
	void (*opened)(void *arg, struct conn *, const struct msg_welcome *);
	/* A frame; its slices die when the callback returns. */
	void (*frame)(void *arg, struct conn *, const struct frame *);
	/* Gone, for whatever reason, exactly once; conn must not be used any
	 * more.  refused is true if nothing was ever sent beyond the greeting:
	 * whatever was queued has certainly not been acted on. */
	void (*closed)(void *arg, struct conn *, int rc, const char *why, bool refused);
};

/* Dial "host:port".  Names are resolved without blocking.  Frames sent before
 * `opened` are queued.  hello's slices are copied.
 * DYN_EINVAL (address), DYN_ENOMEM; all else comes through events.closed. */
int conn_dial(struct conn **out, struct loop *, const struct conn_config *, const char *address,
    const struct msg_hello *, const struct conn_events *, void *arg) DYN_CHECK;

/* What an acceptor decides about a HELLO. */
struct conn_admission {
	struct msg_welcome welcome; /* rc != 0: refused, then closed */
	char text[256];             /* welcome.text may point here */
	struct loop *loop;          /* move it there; its thread calls events */
	const struct conn_events *events;
	void *arg;
};

struct listener;
typedef void listener_greet(void *arg, struct conn *, const struct msg_hello *,
    struct conn_admission *out);
/* Listen on "host:port"; accepted connections are greeted on this loop.
 * bound: the address with the port filled in.
 * DYN_EADDRESS, DYN_EINVAL, DYN_ENOMEM. */
int listener_open(struct listener **out, struct loop *, const struct conn_config *,
    const char *address, listener_greet *, void *arg, char bound[DYN_ADDRESS_MAX],
    struct dyn_error *) DYN_CHECK;
void listener_close(struct listener *); /* also those still greeting; on its loop or after it */

/* Queue a frame (takes a reference).  Loop's thread only.  DYN_EBUSY: queue
 * full; DYN_ECLOSED: closing.  Then the reference is not taken. */
int conn_send(struct conn *, struct buf *frame) DYN_CHECK;
void conn_flush(struct conn *); /* write now what is queued; also done each turn by libevent if forgotten */
/* Close: after what is queued was written (at most a second) if linger. */
void conn_close(struct conn *, int rc, const char *why, bool linger);
size_t conn_queued(const struct conn *);
const char *conn_peer(const struct conn *); /* "host:port", for the log */
/* From the HELLO or WELCOME: who is there, and its role. */
struct dyn_id conn_node(const struct conn *);
enum dyn_role conn_role(const struct conn *);
uint64_t conn_token(const struct conn *); /* unique in the process, never 0 */

/* Addresses: "host:port", "[v6]:port"; port 0..65535.  DYN_EINVAL. */
int address_split(const char *address, char host[DYN_ADDRESS_MAX], unsigned *port) DYN_CHECK;
bool address_is_loopback(const char *address); /* by its text: 127/8, ::1, localhost */

#endif
