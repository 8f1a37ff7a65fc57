/*
 * A hash tree over the rows of one partition (paper 4.7): two copies whose roots
 * are equal hold the same rows; where they differ, so do the nodes above it.
 *
 *	root -- 16 inner nodes -- 256 leaves, each a sixteenth of its parent's range
 *
 * INVARIANT: a node is the sum modulo 2^128 of the digests (core/rows.h) of all
 * rows below it.  So a changed row costs one subtraction and one addition a level,
 * the order of changes does not matter, and a tree can be built from parts.  A sum
 * finds what was lost or damaged; it does not withstand somebody who makes up rows
 * to cancel each other out: peers of a ring trust each other that far.
 *
 * A tree takes 4.4 KiB.  With 1,024 partitions on three nodes that is 4.4 MiB a
 * node.
 */
#ifndef DYN_MERKLE_H
#define DYN_MERKLE_H

#include "base/hash.h"

#define MERKLE_FAN 16
#define MERKLE_LEAVES (MERKLE_FAN * MERKLE_FAN)

struct merkle {
	struct digest root, inner[MERKLE_FAN], leaf[MERKLE_LEAVES];
};

/* a += b, a -= b; as 128-bit little-endian integers. */
void sum_add(struct digest *a, const struct digest *b);
void sum_take(struct digest *a, const struct digest *b);
static inline bool
sum_is_zero(const struct digest *a)
{
	static const struct digest zero;

	return digest_compare(a, &zero) == 0;
}

/* A row of this leaf had the one digest and has the other now; zero = no row. */
void merkle_change(struct merkle *, unsigned leaf, const struct digest *before,
    const struct digest *after);

#endif
