/*
 * What the files of placement share.
 *
 *	placement.c          the steps, and why they end where they should
 *	placement_quota.c    step 1: who must own how much
 *	placement_fit.c      who may own a partition together
 *	placement_augment.c  step 5: chains of replacements
 *	placement_regret.c   step 6: rounds of replacements that save moves
 *	placement_first.c    step 7: who is first
 */
#ifndef DYN_PLACEMENT_PRIVATE_H
#define DYN_PLACEMENT_PRIVATE_H

#include "model/placement.h"

#define NOWHERE UINT32_MAX

enum { ROOT, ZONE, RACK, MACHINE, LEVELS };

/* Places for each unit of weight, as a fraction; den 0 is without end. */
struct pace {
	uint64_t num, den;
};

/* A part of the ring: all of it, a zone, a rack of a zone, a machine of a rack. */
struct group {
	unsigned up;             /* number of the group it is a part of */
	unsigned kids, kids_end; /* its parts: numbers, one level below */
	unsigned begin, end;     /* its machines */
	uint64_t weight;         /* of its seats */
	uint64_t tie;            /* decides between equal groups */
	uint32_t owned;          /* places that its seats had before */
	uint32_t share;          /* places that it must have: its quota */
	unsigned least, most;    /* copies of a partition, by an even spread */
	unsigned lo, hi;         /* copies of a partition: share / Q down and up */
	unsigned base;           /* lo of its parts together (of machines: 0) */
	struct pace bare;        /* up to this pace it has `least` of all partitions */
	struct pace full;        /* from this pace on it has `most` */
	struct pace pace;        /* of its parts that are neither */
};

struct place {
	unsigned q, n, k; /* partitions, places of a list, places that are used */
	unsigned seats, machines;
	const struct seat *seat;
	unsigned groups[LEVELS];
	struct group *group[LEVELS];
	uint16_t *in[LEVELS]; /* [seat] number of its group */
	uint64_t *hash;       /* [seat] for ranks */
	uint16_t *crew;       /* [machine] number of its seats */
	uint32_t *quota, *load;
	uint32_t *gap;        /* [seat] |quota - load| when a step began */
	uint64_t *room;       /* [machine] quota minus load */
	uint16_t *owners;     /* [q * n], the table's own */
	uint16_t *old;        /* [q * n], the parent's, as seats of now */
	struct sort_key *key; /* [max(q, seats)] */
	/* fits: what was found out about racks since fit_begin. */
	uint32_t *fit_asked; /* [rack] in which round */
	uint8_t *fit_answer;
	uint32_t fit_round;
	/* Search: a seat is reached by taking the place of seat via_seat (none:
	 * a free place) in partition via_part. */
	uint32_t *via_part;
	uint16_t *via_seat;
	uint8_t *seat_seen;
	uint8_t *open; /* [q * n] see placement_augment.c */
	uint16_t *open_from;
	uint32_t *queue;        /* seats, or seats + index of open */
	uint32_t *begin, *list; /* partitions of a seat */
	uint32_t *first;        /* [seat] partitions where it is first */
};

static inline uint16_t *
places(const struct place *pl, unsigned p)
{
	return pl->owners + (size_t)p * pl->n;
}

/* Where seat x (or TABLE_NONE: the first free place) stands, or k. */
static inline unsigned
position(const struct place *pl, const uint16_t *list, unsigned x)
{
	unsigned i = 0;

	while (i < pl->k && list[i] != x)
		i++;
	return i;
}

static inline bool
was_owner(const struct place *pl, unsigned p, unsigned x)
{
	const uint16_t *old = pl->old + (size_t)p * pl->n;

	for (unsigned i = 0; i < pl->n; i++)
		if (old[i] == x)
			return true;
	return false;
}

/* Number zones, racks and machines; sets k. */
int place_number(struct place *) DYN_CHECK;
/* Quotas of all groups and seats; load is what the seats had before. */
void place_quotas(struct place *);

/* May x be added to the list when the owner `but` (or TABLE_NONE) has left it? */
bool fits(const struct place *, const uint16_t *list, unsigned x, unsigned but);
/* The same for many x: begin with the list and `but`, then ask. */
void fit_begin(struct place *);
bool fits_next(struct place *, const uint16_t *list, unsigned x, unsigned but);
/* May these seats own a partition together, with more to come up to k? */
bool fit_together(const struct place *, const uint16_t *seats, unsigned count);

/* Partitions of each seat, in order: list[begin[x]..begin[x + 1]). */
void place_invert(struct place *);
void place_augment(struct place *);
void place_regret(struct place *);
void place_firsts(struct place *);

#endif
