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
 *
 * Bytes: var count, then that many dots of the vector; var count, then those of
 * the cloud.  A dot: u64 node, var incarnation, var counter.
 */
#ifndef DYN_CLOCK_H
#define DYN_CLOCK_H

#include "base/buf.h"

/* A counter that reaches this ends its actor; half the range of u64, so that
 * arithmetic on what peers send cannot wrap. */
#define COUNTER_MAX ((uint64_t)INT64_MAX)

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
	struct dot *heap; /* the block that holds both; NULL: see struct room */
};

/*
 * Room for a clock that lives no longer than its caller's frame.  A clock made
 * with a room is kept there if it fits and on the heap if not; clock_fini is
 * due all the same.  Clocks of a few actors are handled for every replicated
 * write, so they should cost no allocation.
 */
#define ROOM_DOTS 12
struct room {
	struct dot dots[ROOM_DOTS];
};

static inline int
actor_compare(struct actor a, struct actor b)
{
	if (a.node != b.node)
		return a.node < b.node ? -1 : 1;
	return a.incarnation < b.incarnation ? -1 : a.incarnation > b.incarnation;
}

int dot_compare(struct dot, struct dot);

/* Zeroed memory is an empty clock; so is a clock after clock_fini. */
void clock_fini(struct clock *);
int clock_copy(struct clock *out, const struct clock *) DYN_CHECK;
bool clock_covers(const struct clock *, struct dot);
/* All events of the actor from 1 to the result are in the clock. */
uint64_t clock_contiguous(const struct clock *, struct actor);
/* Largest counter known of an actor, in vector or cloud; 0 = none. */
uint64_t clock_max(const struct clock *, struct actor);
/* On an error the clock is unchanged.  DYN_ETOOBIG as clock_join. */
int clock_add(struct clock *, struct dot) DYN_CHECK;
/* into |= from.  On an error into is unchanged: DYN_ENOMEM; DYN_ETOOBIG beyond
 * LIMIT_ACTORS or LIMIT_CLOUD. */
int clock_join(struct clock *into, const struct clock *from) DYN_CHECK;
/* *out = a | b; room may be NULL.  Errors as clock_join; *out is then empty. */
int clock_union(struct clock *out, const struct clock *a, const struct clock *b,
    struct room *room) DYN_CHECK;
/* *out = a | {d}, likewise. */
int clock_with(struct clock *out, const struct clock *a, struct dot d, struct room *room) DYN_CHECK;
/* Is every dot of a in b? */
bool clock_within(const struct clock *a, const struct clock *b);
bool clock_equal(const struct clock *, const struct clock *);

/* Bytes and back; decoding checks the canonical form (DYN_EPROTO) and the
 * limits (DYN_ETOOBIG).  On an error *out is empty.  room may be NULL. */
void clock_write(struct wr *, const struct clock *);
size_t clock_size(const struct clock *);
int clock_read(struct rd *, struct clock *out) DYN_CHECK;
int clock_read_room(struct rd *, struct clock *out, struct room *room) DYN_CHECK;

/* One dot, as in a clock.  dot_read gives false for a counter out of range. */
void dot_write(struct wr *, struct dot);
bool dot_read(struct rd *, struct dot *);
size_t dot_size(struct dot);
#define DOT_SIZE_MIN (8 + 1 + 1)

#endif
