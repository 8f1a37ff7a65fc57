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
 * Both a node that asked and a node that was asked may still be joining; who is
 * asked then says "not yet" (DYN_EBUSY).
 *
 * A frame GOSSIP carries the sender's digest, and its view where the receiver
 * probably lacks it (a push after a change).  The answer carries the receiver's
 * digest, and its view if the digests differ; what it lacks itself then comes
 * as a further GOSSIP.  So equal views cost two small frames a second.  Views
 * travel whole, about 2 bytes per replica slot and 150 per member: 12 KiB for 30
 * nodes and 1,024 partitions.  For rings of hundreds of nodes the records that
 * changed and the table by its digest should travel instead; the table then can
 * be computed from its parent.
 *
 * Both also carry the sender's ledger of hints, for the sync thread.
 *
 * A client asks a random member for its view every 10 seconds, and at once when
 * an answer shows that its own is old (paper 6.4).
 *
 * STALE.  Others forget what was deleted only after this node has followed to a table
 * that was made for that (core/collect.h).  So if a view comes in which such a table
 * is the base, and this node is not there yet, then its directory is an old copy, and
 * would bring back what was deleted.  It does not follow before its copies have been
 * cleared (FX_STALE, member_cleared); until then nobody takes what it sends.  (Who has
 * left, or waits to be asked to join, owns nothing, and is not waited for.)
 *
 * The caller sends FX_SEND frames on gossip connections and tells about those
 * that failed; the machine never waits for any of them.  Effects are in order:
 * a view is published before frames that say so are sent (view.c relies on it).
 *
 * member.c is the life of a node and its own record, member_gossip.c what it
 * says to others.
 */
#ifndef DYN_MEMBER_H
#define DYN_MEMBER_H

#include "base/rng.h"
#include "core/machine.h"

#define GOSSIP_PERIOD (1 * NS_PER_S)
#define JOIN_RETRY (500 * NS_PER_MS)
#define JOIN_CREATE_AFTER (2 * NS_PER_S)
#define CLIENT_POLL (10 * NS_PER_S) /* paper 6.4 */
#define PUSH_GAP (50 * NS_PER_MS)   /* changes within it leave together */
#define POKE_GAP (20 * NS_PER_MS)   /* pokes within it are one */
#define CHANGE_RETRY (500 * NS_PER_MS) /* a client tells its orders again */
#define GOSSIP_FANOUT 3             /* members told of a change at once */
#define SEED_ROUNDS 10              /* every so many rounds a seed is asked too */

struct member_options {
	struct record self;        /* address, location, weight, incarnation ... */
	struct settings settings;  /* name; n, partitions, hash: 0 or what must
	                            * match.  ring_id and secret, and whatever is 0
	                            * of the others by default: for a creator */
	struct view *saved;        /* from the last run, or NULL; a ref is taken */
	const char *seeds;         /* "host:port,..." or NULL; copied */
	enum dyn_join join;
	bool client;               /* never a member: polls the view; of self only
	                            * the address is read, "" if it has none */
	uint64_t seed;             /* of randomness */
};

struct member;

int member_new(struct member **out, const struct member_options *, struct moment,
    struct outbox *) DYN_CHECK;
void member_free(struct member *);
/* The current view (borrowed), NULL while joining. */
struct view *member_view(const struct member *);
/* Of this node's record now: raised if somebody had one newer than ours (a
 * directory that was rolled back, or a second process with our id). */
uint64_t member_incarnation(const struct member *);
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
/* What this node keeps for others (core/hint.h), to be told in gossip; takes the
 * buf over.  What others tell comes by FX_LEDGER. */
void member_ledger(struct member *, struct buf *);
/* Orders: a view made of ours (view_order).  A client has a member told, again and again
 * until one has taken it. */
void member_change(struct member *, struct view *, struct moment, struct outbox *);
/* A frame showed that this member has another table: gossip with it now. */
void member_poke(struct member *, const struct dyn_id *, struct moment, struct outbox *);
/* This node now holds all it owns by the current table of this view, and whatever it
 * coordinates goes by a view with this table.  Nothing happens if the table is not the
 * current one any more. */
void member_synced(struct member *, const struct view *by, struct moment, struct outbox *);
/* This node wants a fence after this table (core/collect.h), if it is still the
 * current one and settled. */
void member_collect(struct member *, const struct table *, struct moment, struct outbox *);
/* What FX_STALE asked for has been done. */
void member_cleared(struct member *, struct moment, struct outbox *);

#endif
