/*
 * Connections: frames over TCP or TLS, from dialling to the last byte.
 *
 * A connection belongs to one loop's thread.  Life:
 *
 *	DIALLING -> (SHAKING) -> GREETING -> OPEN -> (LINGERING) -> CLOSED
 *	accepted -> (SHAKING) -> GREETING -> (MOVING) -> OPEN -> ...
 *
 * SHAKING is the TLS handshake.  GREETING: who dialled sends HELLO; the other
 * answers WELCOME.  Until then a frame may have LIMIT_FRAME_HELLO bytes, and
 * all of it may take 5 seconds.  After it, an accepted connection may be moved
 * to another loop, once.
 *
 * Reading: as many bytes as are there, up to 256 KiB a turn; each whole frame
 * goes to events.frame, also those of an unknown kind.  A malformed frame
 * closes the connection with DYN_EPROTO and a log line, and costs nothing
 * else.
 * Writing: conn_send queues a reference; all that is queued in one turn leaves
 * by one system call at its end (sendmsg with MSG_NOSIGNAL; with TLS, gathered
 * into records first).  Queued bytes are bounded (out_max): beyond it
 * conn_send says DYN_EBUSY.  While more than half of it waits on an accepted
 * connection, nothing is read from that connection, so a peer that does not
 * take answers gets to ask nothing.  Who dialled always reads: if both sides
 * could stop reading until the other one reads, both could stop for good.
 *
 * TLS 1.3 over memory BIOs: OpenSSL never touches a socket, so there is no
 * SIGPIPE.  Both sides present certificates of the ring's authority; who
 * dials checks that the certificate names the host dialled; who accepts
 * checks that a peer's names the host in its HELLO's advertise (clients
 * advertise nothing: the authority's signature is enough).
 */
#ifndef DYN_CONN_H
#define DYN_CONN_H

#include "host/address.h"
#include "host/loop.h"
#include "model/msg.h"

struct conn;
struct tls; /* host/tls.h */

struct conn_config {
	struct tls *tls;   /* NULL = plain; must outlive the connections */
	size_t frame_max;  /* largest frame once open */
	size_t out_max;    /* bytes queued; one frame may be larger, alone */
	unsigned greet_ms; /* for dialling and greeting; 0 = 5000 */
	int socket_buffer; /* bytes, each direction; 0 = the system's choice */
	dyn_log *log;      /* may be NULL */
	void *log_arg;
	/* Counters shared by all connections of the node; may not be NULL. */
	struct conn_counters *counters;
};

struct conn_counters {
	atomic_uint_fast64_t frames_in, frames_out, bytes_in, bytes_out;
	atomic_uint_fast64_t protocol_errors, frames_skipped; /* the latter: host/links.c */
	atomic_uint_fast64_t tokens; /* given out so far */
};

/* All are called in the loop's thread, never from inside conn_dial, conn_send,
 * conn_flush or conn_close.  A callback may close the connection it is called
 * for; after that it hears nothing but `closed`. */
struct conn_events {
	/* Greeting done.  For who dialled: the WELCOME; else NULL. */
	void (*opened)(void *arg, struct conn *, const struct msg_welcome *);
	/* A frame; its slices die when the callback returns. */
	void (*frame)(void *arg, struct conn *, const struct frame *);
	/* Gone, for whatever reason, exactly once, also if it was never opened;
	 * conn must not be used after it returns.  refused is true if nothing
	 * was ever sent beyond the greeting: whatever was queued has certainly
	 * not been acted on.  rc is never 0: DYN_ECLOSED (lost, not reached),
	 * DYN_EADDRESS (nobody listens there),
	 * DYN_EPROTO, DYN_ETLS, DYN_EVERSION, DYN_ETIMEOUT (greeting),
	 * DYN_ENOMEM, the WELCOME's, or what conn_close was given. */
	void (*closed)(void *arg, struct conn *, int rc, const char *why, bool refused);
};

/* Dial "host:port".  Names are resolved without blocking.  Frames sent before
 * `opened` are queued.  hello's slices are copied; its magic, versions and
 * levels are filled in.
 * DYN_EINVAL (address), DYN_ENOMEM; all else comes through events.closed. */
int conn_dial(struct conn **out, struct loop *, const struct conn_config *,
    const char *address, const struct msg_hello *, const struct conn_events *,
    void *arg) DYN_CHECK;

/* What an acceptor decides about a HELLO; starts zeroed but for version. */
struct conn_admission {
	struct msg_welcome welcome; /* rc != 0: refused, then closed */
	char text[256];             /* welcome.text may point here */
	struct loop *loop;          /* move it there; its thread calls events */
	const struct conn_events *events;
	void *arg;
};

/* Admitted (rc 0): events.opened follows, then events.closed; events.closed
 * alone if it breaks first.  Refused: nothing follows. */
struct listener;
typedef void listener_greet(
    void *arg, struct conn *, const struct msg_hello *, struct conn_admission *out);
/* Listen on "host:port"; accepted connections are greeted on this loop.
 * bound: the address with the port filled in.
 * DYN_EADDRESS, DYN_EINVAL, DYN_ENOMEM. */
int listener_open(struct listener **out, struct loop *, const struct conn_config *,
    const char *address, listener_greet *, void *arg, char bound[DYN_ADDRESS_MAX],
    struct dyn_error *) DYN_CHECK;
/* Also those still greeting; greet is not called any more. */
void listener_close(struct listener *);

/* Queue a frame (takes a reference).  Loop's thread only.  DYN_EBUSY: queue
 * full; DYN_ECLOSED: closing; DYN_ENOMEM.  Then the reference is not taken. */
int conn_send(struct conn *, struct buf *frame) DYN_CHECK;
void conn_flush(struct conn *); /* write now; else it happens at the end of the turn */
/* Close: if linger, after what is queued was written, or a second; but at once
 * where the greeting is not done.  rc is not 0.  events.closed follows at the
 * end of the turn, or of lingering. */
void conn_close(struct conn *, int rc, const char *why, bool linger);
size_t conn_queued(const struct conn *);
const char *conn_peer(const struct conn *); /* "host:port", for the log */
/* From the HELLO or WELCOME: who is there, and its role (who dialled is told
 * no role: DYN_PEER). */
struct dyn_id conn_node(const struct conn *);
enum dyn_role conn_role(const struct conn *);
uint64_t conn_token(const struct conn *); /* unique in the node, never 0 */

#endif
