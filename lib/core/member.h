/*
 * Membership and gossip (paper 4.8.1, 4.8.2): who is in the ring.
 *
 * One machine a node, on the gossip thread.  It owns the view.  Each second it
 * exchanges digests with one random member (push-pull: equal digests cost two
 * small frames; else views are exchanged whole and merged), and at once with a
 * few members after every change.  A node that joins sends its own record to
 * the seeds in turn; the first member that answers merges it, computes the
 * next table (view_settle) and answers with the whole view: concurrent joins
 * through one seed are ordered by it.
 *
 *	JOINING --view of a ring--> MEMBER        [member_frame]
 *	JOINING --first seed is me, nobody else answers--> MEMBER  [member_tick]
 *	MEMBER for good
 *
 * The caller sends FX_SEND frames on gossip connections and tells about those
 * that failed; the machine never waits for any of them.
 */
#ifndef DYN_MEMBER_H
#define DYN_MEMBER_H

#include "base/rng.h"
#include "core/machine.h"

#define GOSSIP_PERIOD (1 * NS_PER_S)
#define JOIN_RETRY (500 * NS_PER_MS)
#define JOIN_CREATE_AFTER (2 * NS_PER_S)
#define CLIENT_POLL (10 * NS_PER_S) /* paper 6.4 */

struct member_options {
	struct record self;        /* address, location, weight, incarnation ... */
	struct settings settings;  /* for a creator; else only name (n, partitions
	                            * and hash: 0 or what must match) */
	struct view *saved;        /* from the last run, or NULL; a ref is taken */
	const char *seeds;         /* "host:port,..." or NULL */
	enum dyn_join join;
	bool client;               /* never a member: polls the view */
	uint64_t seed;             /* of randomness */
};

struct member;

int member_new(struct member **out, const struct member_options *, struct moment,
    struct outbox *) DYN_CHECK;
void member_free(struct member *);
/* The current view (borrowed), NULL while joining. */
struct view *member_view(const struct member *);
/* When member_tick wants to be called, ns. */
uint64_t member_wake(const struct member *);
void member_tick(struct member *, struct moment, struct outbox *);
/* A gossip frame: GOSSIP, GOSSIP_ACK, VIEW_ASK, VIEW.  conn names the
 * connection for FX_REPLY; from is all zero for a client.  DYN_EPROTO: close
 * the connection. */
int member_frame(struct member *, const struct dyn_id *from, uint64_t conn,
    const struct frame *, const union msg *, struct moment, struct outbox *) DYN_CHECK;
/* A connection asked for by FX_SEND failed or broke; address as given there. */
void member_unreachable(struct member *, const struct dyn_id *, const char *address,
    int rc, struct moment, struct outbox *);
/* A view came by another way (attached to an answer). */
void member_learn(struct member *, struct view *, struct moment, struct outbox *);
/* A frame showed that this member has another table: gossip with it now. */
void member_poke(struct member *, const struct dyn_id *, struct moment, struct outbox *);
/* This node now holds all it owns by this table. */
void member_synced(struct member *, const struct table *, struct moment, struct outbox *);

#endif
