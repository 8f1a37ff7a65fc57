/*
 * Causal clocks (paper 4.4): which events of which actors are known.
 *
 * An ACTOR is one incarnation of one node's copies: (first half of the node
 * id, incarnation).  A DOT is one event: (actor, counter), counters from 1.
 * A CLOCK is a set of dots, kept as
 *   - a vector: per actor the counter up to which all dots are in the set
 *     (0 is not stored), and
 *   - a cloud: the single dots beyond that.
 * The form is canonical: actors strictly ascending, cloud strictly ascending
 * by (actor, counter), no cloud dot that the vector covers or that adjoins it
 * (counter == vector + 1 is absorbed).  Hence equal sets are equal bytes.
 *
 * Why a cloud: the context of a put covers what was read plus the one dot
 * just made, and nothing else; a plain vector would also claim the actor's
 * earlier dots, and the next put would erase siblings nobody has read (S8).
 */
#ifndef DYN_CLOCK_H
#define DYN_CLOCK_H

#include "base/buf.h"

struct actor {
	uint64_t node; /* load_be64(id.bytes) */
	uint64_t incarnation;
};

struct dot {
	struct actor actor;
	uint64_t counter;
};

struct clock {
	struct dot *vector; /* counter = all up to here */
	size_t vector_count;
	struct dot *cloud;
	size_t cloud_count;
};

static inline int
actor_compare(struct actor a, struct actor b)
{
	if (a.node != b.node)
		return a.node < b.node ? -1 : 1;
	return a.incarnation < b.incarnation ? -1 : a.incarnation > b.incarnation;
}

int dot_compare(struct dot, struct dot);

/* Zeroed memory is an empty clock. */
void clock_fini(struct clock *);
int clock_copy(struct clock *out, const struct clock *) DYN_CHECK;
bool clock_covers(const struct clock *, struct dot);
/* Largest counter known of an actor, in vector or cloud; 0 = none. */
uint64_t clock_max(const struct clock *, struct actor);
int clock_add(struct clock *, struct dot) DYN_CHECK;
/* into |= from.  On DYN_ENOMEM into is unchanged.  DYN_ETOOBIG beyond
 * LIMIT_ACTORS or LIMIT_CLOUD. */
int clock_join(struct clock *into, const struct clock *from) DYN_CHECK;
/* Is every dot of a in b? */
bool clock_within(const struct clock *a, const struct clock *b);
bool clock_equal(const struct clock *, const struct clock *);

/* Bytes and back; decoding checks the canonical form (DYN_EPROTO). */
void clock_write(struct wr *, const struct clock *);
int clock_read(struct rd *, struct clock *out) DYN_CHECK;

#endif
