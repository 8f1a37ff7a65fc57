/* What member.c and member_gossip.c share. */
#ifndef DYN_MEMBER_PRIVATE_H
#define DYN_MEMBER_PRIVATE_H

#include "core/member.h"

#define SEEDS_MAX 64

enum member_state { MEMBER_JOINING, MEMBER_IN, MEMBER_CLIENT, MEMBER_FAILED };

struct member {
	enum member_state state;
	struct record self;       /* my record; the view holds a copy */
	struct settings expected; /* what the ring must be like, or will be */
	struct view *view;        /* NULL: none yet */
	struct view *joining;     /* what I bring to a join */
	struct buf *bytes;        /* of view, made when first sent; or NULL */
	struct buf *ledger;       /* of hints; NULL: nothing was told yet */
	bool ledgers_heard;       /* somebody keeps, or kept, hints */
	enum dyn_join join;
	struct rng rng;
	char *seeds_text;
	const char *seeds[SEEDS_MAX]; /* without me */
	unsigned seeds_count, seed_next;
	bool seeded_by_me;        /* I am the first of the seeds */
	unsigned tries;           /* sends to others since the last timer */
	uint64_t next_at;         /* of the next round, join attempt or poll */
	uint64_t create_at;       /* when to create a ring if nobody answered */
	uint64_t push_at;         /* TIME_NEVER: nothing to push */
	uint64_t pushed_at, poked_at;
	uint64_t request;         /* the last number used */
	unsigned rounds;
	bool lost;                /* somebody was unreachable since the last round */
	unsigned overtaken;       /* times my record came back newer than mine, of
	                           * late: see overtake */
	uint64_t overtaken_at, born_at;
	struct view *held;        /* STALE: to be followed when copies are cleared */
	uint64_t cleared;         /* they were, for fences up to this epoch */
	uint64_t foreign_at;      /* another ring was last logged */
	struct view *change;      /* a client's orders that nobody has taken yet */
	uint64_t change_at;       /* to be told again */
};

/* member.c */
/* May this node make tables, and take somebody in? */
bool member_is_joined(const struct member *, const struct view *);
/* Merge a view into ours; publish and plan a push if it is news.  DYN_ERING,
 * DYN_ETOOBIG, DYN_ENOMEM: nothing happened. */
int member_take(struct member *, struct view *, struct moment, struct outbox *) DYN_CHECK;
/* The view of a ring that has our record: we are in.  DYN_ERING: other
 * settings; the node has failed. */
int member_enter(struct member *, struct view *, struct moment,
    struct outbox *) DYN_CHECK;
void member_fail(struct member *, struct outbox *, int rc, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* member_gossip.c */
/* GOSSIP to a member, or to an address if id is NULL. */
void gossip_to(struct member *, const struct dyn_id *, const char *address, bool whole,
    struct outbox *);
void gossip_push(struct member *, struct moment, struct outbox *);
void gossip_round(struct member *, struct outbox *);
/* Joining, or a client without view: ask the next seed. */
void gossip_ask_seed(struct member *, struct outbox *);
void gossip_ask_view(struct member *, const struct dyn_id *, const char *address,
    struct outbox *);
/* A client: its orders to some member. */
void gossip_tell_change(struct member *, struct moment, struct outbox *);
/* A random member but me; NULL if there is none. */
const struct dyn_id *gossip_partner(struct member *);

#endif
