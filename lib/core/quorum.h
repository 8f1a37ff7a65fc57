/*
 * The tally of one request (paper 4.5): who was asked, who answered how, is it
 * enough, can it still be.  A calculator: it sends nothing and knows no time.
 *
 * While owners change, a write must be met in two groups at once (owners by
 * the base table and by the current one; DESIGN 6).  A member of both counts
 * in both.  Distinct machines count, not processes; and where zones are asked
 * for, distinct zones.
 *
 * A stand-in (paper 4.6) votes in the groups of the owner it stands in for,
 * unless the quorum is strict.  When a stand-in of a read has nothing, that says
 * little: it may never have been asked to keep anything.  Such a vote (EMPTY)
 * counts only beside a YES of somebody who knows.
 */
#ifndef DYN_QUORUM_H
#define DYN_QUORUM_H

#include "model/view.h"

#define QUORUM_NODES (4 * DYN_N_MAX) /* owners of two groups, and as many stand-ins */

enum vote {
	VOTE_IDLE,    /* not asked */
	VOTE_WAITING, /* asked, no answer yet */
	VOTE_YES,
	VOTE_NO,      /* certainly not stored; or no useful answer */
	VOTE_LOST,    /* asked, and will not answer: may be stored */
	VOTE_EMPTY    /* reads: a stand-in keeps nothing of this key */
};

struct ballot {
	struct dyn_id node;
	struct digest machine, zone;
	uint16_t member;  /* index into the view's records */
	uint8_t groups;   /* bit 0: first group, bit 1: second */
	uint8_t vote;     /* enum vote */
	bool on_disk;
	uint8_t round;    /* the caller's: which asking this was */
	bool standin;
	struct dyn_id owner; /* of a stand-in: for whom */
	int rc;           /* of a NO */
};

struct quorum {
	struct ballot ballot[QUORUM_NODES];
	unsigned count, groups, need, zones_need;
	bool strict; /* only owners count */
};

/* The members of the groups become ballots, all idle. */
void quorum_init(struct quorum *, const struct view *, const struct group *groups,
    unsigned count, unsigned need, unsigned zones_need);
/* Let this member of the view stand in for an owner; NULL if there is no room.
 * It must not be in already. */
struct ballot *quorum_stand_in(struct quorum *, const struct view *, uint16_t member,
    const struct ballot *owner);
/* The same for a newer view: votes of nodes that are still in stay, also of
 * stand-ins if their owner still is one and they are not. */
void quorum_rebase(struct quorum *, const struct view *, const struct group *groups,
    unsigned count);
/* The ballot of a node, or NULL. */
struct ballot *quorum_find(struct quorum *, const struct dyn_id *);
/* Every group has `need` machines (and enough zones) that said yes. */
bool quorum_enough(const struct quorum *);
/* It could be enough if all that are waiting (and, where idle_too, all that
 * were not asked) said yes. */
bool quorum_possible(const struct quorum *, bool idle_too);
unsigned quorum_votes(const struct quorum *, enum vote);
void quorum_receipt(const struct quorum *, struct dyn_receipt *);

#endif
