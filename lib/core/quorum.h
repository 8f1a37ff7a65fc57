/*
 * The tally of one request (paper 4.5): who was asked, who answered how, is it
 * enough, can it still be.  A calculator: it sends nothing and knows no time.
 *
 * While owners change, a write must be met in two groups at once (owners by
 * the base table and by the current one; DESIGN 6).  A member of both counts
 * in both.  Distinct machines count, not processes; and where zones are asked
 * for, distinct zones.
 */
#ifndef DYN_QUORUM_H
#define DYN_QUORUM_H

#include "model/view.h"

#define QUORUM_NODES (2 * DYN_N_MAX)

enum vote {
	VOTE_IDLE,    /* not asked */
	VOTE_WAITING, /* asked, no answer yet */
	VOTE_YES,
	VOTE_NO,      /* certainly not stored; or no useful answer */
	VOTE_LOST     /* asked, and will not answer: may be stored */
};

struct ballot {
	struct dyn_id node;
	struct digest machine, zone;
	uint16_t member;  /* index into the view's records */
	uint8_t groups;   /* bit 0: first group, bit 1: second */
	uint8_t vote;     /* enum vote */
	bool on_disk;
	uint8_t round;    /* the caller's: which asking this was */
	int rc;           /* of a NO */
};

struct quorum {
	struct ballot ballot[QUORUM_NODES];
	unsigned count, groups, need, zones_need;
};

/* The members of the groups become ballots, all idle. */
void quorum_init(struct quorum *, const struct view *, const struct group *groups,
    unsigned count, unsigned need, unsigned zones_need);
/* The same for a newer view: votes of nodes that are still in stay. */
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
