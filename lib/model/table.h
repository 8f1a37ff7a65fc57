/*
 * The table: who owns what (paper 6.2, strategy 3, made explicit; DESIGN 5).
 *
 * Q partitions, each with its own list of up to N owners, as 16-bit indexes
 * into the table's sorted list of nodes.  A table is immutable and named by
 * (epoch, digest); its parent's digest says what it was computed from.
 *
 *	table(e+1) = table_next(table(e), seats)
 *
 * is pure integer arithmetic: the same bytes on every node, so every node can
 * compute and verify it.  Goals in order: the owners of a partition are on
 * distinct machines (never relaxed: with too few machines a partition has
 * fewer owners); they are spread evenly over the zones, and in a zone over its
 * racks, as far as there are machines; load in proportion to weight within one
 * partition where that permits; few moves; ties by rendezvous rank.  Seats
 * without a zone share one, and likewise for racks.
 *
 * Stand-ins are not stored: all other nodes in rendezvous order (highest
 * random weight by mix64 of partition and node id), so every node derives the
 * same endless preference list.  Nodes in zones that the list does not have yet
 * come first, then those on other machines: the paper's list too skips positions
 * of the same host (4.3), and spreads over data centres (4.6).
 *
 * table.c holds the object and its bytes, placement.c computes the next one.
 */
#ifndef DYN_TABLE_H
#define DYN_TABLE_H

#include "base/buf.h"
#include "base/hash.h"

#include <stdatomic.h>

#define TABLE_NONE UINT16_MAX

/* A node as placement sees it. */
struct seat {
	struct dyn_id node;
	struct digest machine; /* equal = the same machine */
	uint64_t zone, rack;   /* likewise; racks are told apart within a zone */
	uint32_t weight;       /* 1..10000 */
};

struct table {
	atomic_uint refs;
	uint64_t epoch; /* 1 = the first */
	uint64_t collected; /* of the last table made by table_collect, this one
	                     * included; 0 = none */
	struct digest digest, parent;
	unsigned partitions, n;
	struct seat *seats; /* ascending by node id */
	size_t seats_count;
	uint16_t *owners;   /* [partition * n + i], TABLE_NONE at the end */
};

/* parent NULL: the first table, for partitions and n given; else those of the
 * parent.  seats: in any order, distinct ids, weights in range, 1 to
 * LIMIT_MEMBERS of them, else DYN_EINVAL.  (Also after epoch 2^56.) */
int table_next(struct table **out, const struct table *parent, unsigned partitions,
    unsigned n, const struct seat *seats, size_t count) DYN_CHECK;
/* The same owners once more, under the next epoch: a table that is a fence and
 * nothing else (core/collect.h).  DYN_EINVAL: after epoch 2^56. */
int table_collect(struct table **out, const struct table *parent) DYN_CHECK;
/* Is the table what table_next makes of this parent and the table's own seats, or
 * table_collect of this parent?  1 yes, 0 no, negative error. */
int table_verify(const struct table *, const struct table *parent) DYN_CHECK;
/* Do the seats differ from those the table was made for? */
bool table_outdated(const struct table *, const struct seat *seats, size_t count);
struct table *table_ref(struct table *);
void table_unref(struct table *);
/* (epoch, digest) order; NULL is before all. */
int table_compare(const struct table *, const struct table *);

/* Index of a node, or -1. */
int table_find(const struct table *, const struct dyn_id *);
/* Owners of a partition: seat indexes; returns how many. */
unsigned table_owners(const struct table *, unsigned partition, const uint16_t **owners);
bool table_owns(const struct table *, unsigned partition, unsigned seat);
/* Place of a node among the owners of a partition, or n if it is none. */
unsigned table_rank(const struct table *, unsigned partition, const struct dyn_id *);
unsigned table_load(const struct table *, unsigned seat); /* partitions owned */
/* The whole preference list: owners (the first is the preferred coordinator),
 * then stand-ins; out has room for seats_count; returns seats_count. */
size_t table_preference(const struct table *, unsigned partition, uint16_t *out);
/* Partitions with fewer than n owners. */
unsigned table_short(const struct table *);
/* Zones of its seats. */
unsigned table_zones(const struct table *);
/* Partitions whose owners are in fewer zones than n owners could be. */
unsigned table_crowded(const struct table *);

void table_write(struct wr *, const struct table *);
/* Checks all: order, ranges, distinct machines; computes the digest, which is
 * the name of these bytes.  DYN_EPROTO, DYN_ENOMEM. */
int table_read(struct rd *, struct table **out) DYN_CHECK;

#endif
