/*
 * Names of rows: where a key lies on the ring (paper 4.2).
 *
 *	name = 16 bytes of hash ‖ 1 byte length of the bucket ‖ bucket ‖ key
 *
 * The hash is over (bucket length, bucket, key) by the ring's hash; the
 * partition is its top bits, so a partition is one range of names.
 */
#ifndef DYN_KEY_H
#define DYN_KEY_H

#include "base/buf.h"
#include "base/hash.h"

#define KEY_NAME_MIN (16 + 1 + 1 + 1)
#define KEY_NAME_MAX (16 + 1 + DYN_BUCKET_MAX + DYN_KEY_MAX)

/* DYN_EINVAL for lengths out of range, DYN_ENOMEM. */
int name_make(enum dyn_hash, struct dyn_slice bucket, struct dyn_slice key,
    struct buf **out) DYN_CHECK;
/* Check lengths (not the hash) and take apart; either out may be NULL. */
bool name_split(struct dyn_slice name, struct dyn_slice *bucket, struct dyn_slice *key);
/* Does the hash in the name belong to the rest? For what peers send. */
bool name_genuine(enum dyn_hash, struct dyn_slice name);
/* partitions is a power of two, at most 65536. */
unsigned name_partition(struct dyn_slice name, unsigned partitions);
/* First and last possible hash of a partition: bounds of a scan, 16 bytes of
 * first and KEY_NAME_MAX bytes of last (0xff filled). */
void partition_bounds(unsigned partition, unsigned partitions, unsigned char first[16],
    unsigned char last[KEY_NAME_MAX]);

/* A partition is cut into 256 leaves, by the 8 bits of the hash that follow those
 * of the partition (model/merkle.h). */
unsigned name_leaf(struct dyn_slice name, unsigned partitions);
/* The same bounds for the leaves from..to of a partition. */
void leaf_bounds(unsigned partition, unsigned partitions, unsigned from, unsigned to,
    unsigned char first[16], unsigned char last[KEY_NAME_MAX]);

#endif
