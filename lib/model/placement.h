/*
 * What table.c and the files of placement share: ranks, sorting, allocation.
 */
#ifndef DYN_PLACEMENT_H
#define DYN_PLACEMENT_H

#include "model/table.h"

#define WEIGHT_MAX 10000 /* dyn.h promises 1..10000 */
#define SEAT_BYTES 50    /* of a seat, as table_write writes it */
/* No ring gets there; beyond it view_stamp would wrap. */
#define EPOCH_MAX (UINT64_C(1) << 56)

/* To be sorted: larger a first, then larger b, then smaller index.  That is a
 * total order, so every sort gives the same result. */
struct sort_key {
	uint64_t a, b;
	uint32_t index;
};

void sort_keys(struct sort_key *, size_t count);

/* Rendezvous: a node's fixed half, and its rank in a partition. */
static inline uint64_t
seat_hash(const struct dyn_id *id)
{
	return mix64(load_be64(id->bytes) + mix64(load_be64(id->bytes + 8)));
}

static inline uint64_t
seat_rank(uint64_t hash, unsigned partition)
{
	return mix64(hash + (partition + 1) * UINT64_C(0x9e3779b97f4a7c15));
}

/* An empty table with room for seats and owners (all TABLE_NONE). */
int table_alloc(struct table **out, unsigned partitions, unsigned n,
    size_t seats) DYN_CHECK;
/* Compute the digest: the table is complete. */
int table_seal(struct table *) DYN_CHECK;

static inline bool
partitions_valid(uint64_t partitions)
{
	return partitions >= 16 && partitions <= 65536 &&
	    (partitions & (partitions - 1)) == 0;
}

#endif
