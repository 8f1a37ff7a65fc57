/*
 * Failure detection (paper 4.8.3; DESIGN 4): who answers.  One machine a node, on
 * the gossip thread.  Its judgement is this node's own and is told to nobody: what
 * is up is decided from where one stands (the paper's "purely local notion").
 *
 *	ALIVE ---silent beyond the limit, or doubted by others here---> DOUBTED
 *	DOUBTED --answers--> ALIVE
 *	DOUBTED --enough rounds without an answer--> SUSPECT
 *	SUSPECT --answers--> ALIVE
 *	any --nobody listens at its address--> SUSPECT
 *
 * INVARIANT: only an answer to a question of ours makes a member alive (PONG,
 * GOSSIP_ACK, VIEW, WELCOME): it proves the way there and back.  That it asks us
 * something proves only that it runs.
 *
 * ALIVE    Who has not answered anything for half a period is sent a PING each
 *          period; all in one turn, so an idle node wakes up once a second.  The
 *          limit follows what is measured, as phi does: the mean of the
 *          intervals and seven times their mean deviation, within bounds.
 * DOUBTED  A PING each round (250 ms), and every second round three others are
 *          asked to try as well (PROBE).  If one of them reaches it, the trouble
 *          is ours: the connection is made anew (FX_RESET), and again after
 *          three seconds, since a SYN may be lost too; and there is much more
 *          time: it lives, and does its part for others.  If none of them
 *          answers at all, it is probably we who are cut off: also more time.
 *          A request that waits for an answer for 250 ms makes its member
 *          doubted at once.
 * SUSPECT  Skipped (work_peer_suspect), but asked for good, at first every 250
 *          ms, then every period: paper 4.8.3, "periodically retries".
 *
 * A node whose own tick comes late was itself away (stopped, swapped out): it
 * distrusts what it thinks of others, starts all of them anew, and is slower to
 * judge for ten seconds (as in Lifeguard).
 *
 * With more than 20 members the period grows, so that a node sends and gets
 * about 20 PINGs a second at most; requests doubt as fast as ever.
 */
#ifndef DYN_DETECT_H
#define DYN_DETECT_H

#include "base/rng.h"
#include "core/machine.h"

#define DETECT_PERIOD (1 * NS_PER_S)
#define DETECT_PERIOD_CLIENT (10 * NS_PER_S)
#define DETECT_MEMBERS 20             /* beyond these the period grows */
#define DETECT_ROUND (250 * NS_PER_MS)
#define DETECT_ROUNDS 6               /* without an answer */
#define DETECT_ROUNDS_SEEN 24         /* a helper reaches it */
#define DETECT_ROUNDS_RESET 12        /* between two new connections then */
#define DETECT_ROUNDS_ALONE 12        /* no helper answers */
#define DETECT_SILENCE (3 * NS_PER_S) /* since the first PING without answer; at least */
#define DETECT_LATE (500 * NS_PER_MS) /* of our own tick: we were away */
#define DETECT_SLACK (10 * NS_PER_S)  /* after that */
#define DETECT_HELPERS 3
#define DETECT_HELP (400 * NS_PER_MS) /* a helper says no after it */
#define DETECT_PROBES 64              /* for others, at a time; more are not tried */
#define DETECT_RESET_GAP (5 * NS_PER_S)

struct detect;

struct detect_options {
	struct dyn_id self;
	bool client;
	uint64_t seed;
};

int detect_new(struct detect **out, const struct detect_options *, struct moment) DYN_CHECK;
void detect_free(struct detect *);
/* Who is to be watched.  Who is new counts as alive. */
void detect_view(struct detect *, struct view *, struct moment, struct outbox *);
/* PING, PONG, PROBE or PROBE_ACK on a gossip connection; all others are nothing
 * to it.  FX_SEND, FX_REPLY, FX_LIVENESS, FX_RESET. */
void detect_frame(struct detect *, const struct dyn_id *from, uint64_t conn,
    const struct frame *, const union msg *, struct moment, struct outbox *);
/* It answered something, or took our connection. */
void detect_answered(struct detect *, const struct dyn_id *, struct moment, struct outbox *);
/* The connection to it broke, or it cannot be reached. */
void detect_lost(struct detect *, const struct dyn_id *, struct moment, struct outbox *);
/* A request waits for it.  Nothing happens if it answered a moment ago. */
void detect_doubt(struct detect *, const struct dyn_id *, struct moment, struct outbox *);
/* Nobody, or somebody else, is at its address. */
void detect_refused(struct detect *, const struct dyn_id *, struct moment, struct outbox *);
/* FX_LIVENESS of all once more: one was not heard. */
void detect_tell(const struct detect *, struct outbox *);
uint64_t detect_wake(const struct detect *);
void detect_tick(struct detect *, struct moment, struct outbox *);
/* DYN_LIVE for whom it does not watch. */
enum dyn_liveness detect_liveness(const struct detect *, const struct dyn_id *);

#endif
