/*
 * One thread's connections: those it dialled to members (one to each worker of
 * each), and those it was given by the acceptor.
 *
 * Frames to a member go out on the connection dialled to it; answers come back
 * on the same.  A member that cannot be reached is dialled again, at first
 * after 50 ms, then less often, up to once a second; while it is down,
 * links_send refuses at once.  up and down tell the owner about changes; sure
 * means that nothing sent since the last `down` can have been acted on.
 *
 * A connection that is doubted is asked (links_probe), and broken off if nothing at
 * all comes on it for three seconds: a path that was cut for a while may leave TCP
 * waiting for much longer than the path was away.
 *
 * A thread that keeps its links (the workers) dials every member it hears of
 * and holds the connection; the others dial when they have something to send.
 */
#ifndef DYN_LINKS_H
#define DYN_LINKS_H

#include "base/list.h"
#include "base/map.h"
#include "host/host.h"

struct links;

struct links_events {
	/* A frame from a member or client, by whichever connection.  conn is
	 * for links_reply.  An error closes the connection. */
	int (*frame)(void *arg, const struct dyn_id *from, uint64_t conn, const struct frame *);
	void (*up)(void *arg, const struct dyn_id *, unsigned worker);
	/* It said BYE: it answers what it was sent, and wants no more.  May be
	 * NULL. */
	void (*leaving)(void *arg, const struct dyn_id *, unsigned worker);
	/* id is zero for a link by address. */
	void (*down)(void *arg, const struct dyn_id *, unsigned worker, const char *address,
	    int rc, bool sure);
};

struct links {
	struct host *host;
	struct loop *loop;
	enum purpose purpose;
	bool keep;
	const struct links_events *events;
	void *arg;
	struct map by_peer;  /* struct link, by id and worker, or by address */
	struct map by_token; /* struct given, accepted connections */
	struct view *view;
	bool closing;
	size_t open; /* connections not yet closed */
};

int links_init(struct links *, struct host *, struct loop *, enum purpose, bool keep,
    const struct links_events *, void *arg) DYN_CHECK;
/* Say BYE to all that dialled us.  Returns to how many. */
size_t links_bye(struct links *);
/* Ask all connections to close; links_fini when links_open is 0. */
void links_close(struct links *);
void links_fini(struct links *);
/* Addresses, and with keep which members to hold connections to. */
void links_view(struct links *, struct view *);
/* To a member's worker, or if id is zero to an address.  Takes the frame over
 * if it returns 0; else it was certainly not sent: DYN_ECLOSED (down),
 * DYN_EBUSY (queue full), DYN_ENOMEM. */
int links_send(struct links *, const struct dyn_id *, unsigned worker, const char *address,
    struct buf *frame) DYN_CHECK;
/* On the connection a request came by; drops the frame if it is gone.  Takes
 * the frame over. */
void links_reply(struct links *, uint64_t conn, struct buf *frame);
/* Do the open connections to this member still carry anything? */
void links_probe(struct links *, const struct dyn_id *);
/* Break off the connections to it, also those being made; the next frame dials
 * anew. */
void links_reset(struct links *, const struct dyn_id *);
uint64_t links_wake(const struct links *);
void links_tick(struct links *);
/* For the acceptor: what an accepted connection is to call, on our thread. */
const struct conn_events *links_accepting(void);

#endif
