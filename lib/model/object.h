/*
 * An object: all that is known of one key (paper 4.4; a dotted version vector
 * set with explicit dots).
 *
 *	clock    every event of the key that this copy knows of
 *	values   the versions that no known event has replaced, each with its
 *	         dot, time and expiry, ascending by dot
 *
 * Invariant: every value's dot is in the clock.  A dot in the clock without a
 * value is an event that was replaced or deleted; so an object with no values
 * is a tombstone.
 *
 * Merge of a and b: clock = union; a value stays if both have it, or if one
 * has it and the other's clock does not cover its dot.  That is total,
 * commutative, associative and idempotent.  Two values with the same dot but
 * different bytes cannot be made by correct nodes (PAINS 4); both stay, as if
 * they were siblings, until a put covers the dot, and the merge that sees it
 * first says OBJECT_SKEWED.
 *
 * Rule that everything rests on (DESIGN 7): a new event of an actor on a key
 * includes all earlier events of that actor on that key.  object_put enforces
 * it: if clock or context know a dot of the minting actor beyond what the
 * actor itself has made contiguously, it refuses with DYN_ECORRUPT and the
 * caller must take a new incarnation.
 *
 * Last write wins: the flag VERSION_LWW travels with the version, so that every
 * replica treats it alike; of such versions an object keeps the one with the
 * largest (time, dot).  A delete then is a version with VERSION_DELETED.  Plain
 * versions beside it are siblings as ever, so a bucket opened with the wrong
 * policy loses nothing.  The laws of merge hold for last-write-wins versions
 * too, since a version is always later than what its context covers (see
 * mint.after); where plain and last-write-wins versions are mixed in one key,
 * grouping may matter for a moment, but copies still converge.
 *
 * Objects travel and rest as bytes; the encoding is canonical (equal objects
 * are equal bytes), so agreement of replicas is memcmp.  NULL/0 bytes = a key
 * never seen.
 *
 * Bytes: u8 format (1), the clock, var count of values, and each value as dot,
 * u64 time, var expiry, u8 flags, slice of value.
 */
#ifndef DYN_OBJECT_H
#define DYN_OBJECT_H

#include "model/clock.h"

enum {
	VERSION_DELETED = 1, /* a last-write-wins delete: holds its time, no bytes */
	VERSION_LWW = 2      /* written under last write wins */
};

/* Puts stop at mint.siblings_max, each coordinator by what it knows; merging
 * what several made meanwhile must never fail for being a few more. */
#define OBJECT_VALUES_MAX (32 * LIMIT_SIBLINGS)

struct version {
	struct dot dot;
	uint64_t time;      /* hybrid logical clock, see hlc.h */
	uint64_t expiry_ms; /* ms since 1970, 0 = never */
	uint8_t flags;
	struct dyn_slice value; /* borrowed from the bytes decoded, or the caller's */
};

enum { OBJECT_LWW = 1 };

struct object {
	uint8_t flags; /* OBJECT_LWW: some version is VERSION_LWW.  Set by decode only */
	struct clock clock;
	struct version *values;
	size_t count;
	struct version *heap; /* where values are, or NULL: in the caller's frame */
};

/* Decode and check everything (DYN_EPROTO, DYN_EVERSION, DYN_ENOMEM, limits:
 * DYN_ETOOBIG).  Values borrow from bytes.  Empty bytes give an empty object.
 * object_fini is due in any case. */
int object_decode(struct object *out, struct dyn_slice bytes) DYN_CHECK;
void object_fini(struct object *);
/* DYN_ENOMEM, DYN_ETOOBIG (LIMIT_OBJECT).  An empty object is no bytes. */
int object_encode(const struct object *, struct buf **out) DYN_CHECK;

enum object_merged {
	OBJECT_SAME,   /* a and b are equal */
	OBJECT_LEFT,   /* the result is a: b brings nothing */
	OBJECT_RIGHT,  /* the result is b */
	OBJECT_BOTH,   /* the result is new, in *out */
	OBJECT_SKEWED  /* as BOTH, and equal dots had unequal bytes: raise an alarm */
};

/* Merge two encoded objects (either may be empty).  *out is set for BOTH and
 * SKEWED only.  Returns an enum object_merged, or a negative error; both are
 * checked as object_decode does. */
int object_merge(struct dyn_slice a, struct dyn_slice b, struct buf **out) DYN_CHECK;

/* What a put writes. */
struct mint {
	struct actor actor;
	uint64_t time;      /* at least; object_put raises it above all it knows */
	uint64_t after;     /* time of the context (dyn_context.time): the new
	                     * version's is larger; 0 = has seen nothing */
	uint64_t expiry_ms;
	struct dyn_slice value;
	bool deleted;       /* delete instead of a new value */
	bool lww;
	unsigned siblings_max;  /* 0 = LIMIT_SIBLINGS */
	const struct clock *context; /* NULL = has seen nothing */
	bool overwrite;     /* context = everything in `now`, besides the one given */
	uint64_t floor;     /* events of the actor up to this one were forgotten, of
	                     * some key: the next is later (core/collect.h) */
	uint64_t *made_time; /* may be NULL; out: the new version's time, 0 if none */
};

/*
 * Apply a put or delete to what this copy knows.  The new object is in *out,
 * the dot made in *dot (counter 0: none was made, a plain delete needs none;
 * one that knows nothing of a key never seen gives an empty buffer).
 * Returns 0; DYN_ECORRUPT (the actor forgot events or has used up its
 * counters: new incarnation; never for a plain delete); DYN_ESIBLINGS;
 * DYN_ETOOBIG; DYN_ECLOCK (no later time exists); DYN_ENOMEM; DYN_EPROTO,
 * DYN_EVERSION (now is damaged, or newer).
 */
int object_put(struct dyn_slice now, const struct mint *, struct buf **out,
    struct dot *dot) DYN_CHECK;

/* Is a version visible to a reader at now_ms: not deleted, not expired? */
bool version_visible(const struct version *, uint64_t now_ms);

/*
 * What can be forgotten of an object that all owners hold alike, when nothing
 * older than it is on its way any more (DESIGN 7; core/collect.h): all of it, if no
 * version is visible; else, of a clock that has grown, the entries of actors that
 * made none of the versions.  (The paper's threshold for a clock that has grown is
 * ten entries: 4.4.)
 */
#define CLOCK_ENTRIES 10
enum object_old { OBJECT_FRESH, OBJECT_OLD_LATER, OBJECT_OLD_CLOCK, OBJECT_OLD_ALL };
/* Which of it at now_ms; LATER: all versions will have expired some day.  Bytes that
 * cannot be read are FRESH. */
enum object_old object_old(struct dyn_slice bytes, uint64_t now_ms);
/* When all its versions will have expired, in ms; 0: some never, or there are none. */
uint64_t object_expires(struct dyn_slice bytes);
/* The object without that; empty: no row is left.  *forgotten: largest counter of
 * the actor in what went, 0 = none.  DYN_EINVAL: there is nothing to forget. */
int object_forget(struct dyn_slice bytes, uint64_t now_ms, struct actor, struct buf **out,
    uint64_t *forgotten) DYN_CHECK;
/* An object without the versions that others than these actors made, as if it had
 * never heard of those; what it knows to be replaced stays known.  Empty: nothing is
 * left. */
int object_only(struct dyn_slice bytes, const struct actor *, size_t count,
    struct buf **out) DYN_CHECK;

#endif
