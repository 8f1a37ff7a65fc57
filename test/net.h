/*
 * For tests of loops and connections: ends of connections on loops of their
 * own, that remember what happened to them.
 */
#ifndef DYN_TEST_NET_H
#define DYN_TEST_NET_H

#include "test/test.h"

#include "host/conn.h"

#include <pthread.h>

/* Call f(arg) in the loop's thread and wait for it. */
void net_inside(struct loop *, void (*f)(void *), void *arg);

/* One connection as its owner sees it. */
struct end {
	struct side *side;
	struct conn *conn; /* NULL once closed */
	atomic_int opened, closed, refused, rc;
	char why[256]; /* valid once closed */
	/* What it sends, in its loop's turns, and what it has got. */
	uint64_t to_send;
	atomic_uint_fast64_t sent;
	atomic_uint_fast64_t got, bad; /* frames; those that were wrong */
	size_t size_max;               /* of the bodies sent */
	uint64_t close_at;             /* close when this many were got; 0 = never */
	atomic_size_t queued_most;
	atomic_int busy; /* conn_send said DYN_EBUSY this often */
	uint64_t tag;    /* of the frames to send and to expect */
	bool echo;       /* send each frame back instead */
	bool hold;       /* send nothing by itself */
};

#define ENDS_MAX 64

/* A loop, perhaps a listener, and its ends. */
struct side {
	struct loop loop;
	struct conn_config config;
	struct conn_counters counters;
	struct listener *listener;
	char bound[DYN_ADDRESS_MAX];
	struct loop *accept_to; /* move accepted connections there */
	uint32_t refuse;        /* answer HELLO with this */
	struct end ends[ENDS_MAX];
	atomic_size_t count;
	struct end accept_as; /* what accepted ends begin as */
	pthread_mutex_t log_lock;
	char log[8192];
	atomic_int log_lines;
};

/* Initialised; change the configuration, then start. */
void side_init(struct side *, const char *name);
void side_listen(struct side *, const char *address);
void side_start(struct side *);
/* Dial and return the end; a: what it begins as (NULL: zeroed). */
struct end *side_dial(struct side *, const char *address, const struct end *as);
/* As side_dial, with this HELLO; returns what conn_dial does. */
int side_dial_as(struct side *, const char *address, const struct end *as,
    const struct msg_hello *, struct end **out);
void side_close(struct side *, struct end *, bool linger);
/* Close all, stop, free; asserts that each end heard `closed` once.  Who
 * listens comes first in the list. */
void sides_fini(struct side *const *, size_t count);
bool side_logged(struct side *, const char *text);

/* A frame with a body that only this tag and number have. */
struct buf *net_frame(uint64_t tag, uint64_t number, size_t body);
/* A HELLO or WELCOME that the sides accept; with this magic, these versions. */
struct buf *net_hello(uint32_t magic, unsigned version_min, unsigned version_max);
struct buf *net_welcome(int code, unsigned version);
size_t net_open_files(void);

/* Plain sockets, blocking: for peers that misbehave.  -1 is asserted away. */
int raw_dial(const char *address);
int raw_listen(char bound[DYN_ADDRESS_MAX]);
int raw_dial_away(const char *address); /* does not wait for the connection */
void raw_send(int fd, const void *, size_t);
/* All of it, if that goes before the other side was busy for so long. */
bool raw_send_soon(int fd, const void *, size_t, int patience_ms);
size_t raw_read(int fd, void *, size_t); /* all of it, or what came before the end */
/* Wait until the other side closes; what it sent on the way is dropped. */
bool raw_ends(int fd, int timeout_ms);

#endif
