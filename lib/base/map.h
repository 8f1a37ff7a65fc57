/*
 * A hash map of links embedded in the caller's structs.
 *
 * The caller brings the hash (keys here are random ids, digests or mixed
 * integers) and compares keys while walking the links of one hash:
 *
 *	for (l = map_first(m, hash); l != NULL; l = map_next(l))
 *		if (same(CONTAINER_OF(l, struct thing, link), key)) ...
 *
 * Growth that finds no memory is put off, never an error.
 */
#ifndef DYN_MAP_H
#define DYN_MAP_H

#include "base/base.h"

struct map_link {
	struct map_link *next;
	uint64_t hash;
};

struct map {
	struct map_link **slots;
	size_t mask, count;
};

int map_init(struct map *, size_t expected);
void map_fini(struct map *); /* the entries are the caller's */
void map_add(struct map *, struct map_link *, uint64_t hash);
void map_remove(struct map *, struct map_link *);
struct map_link *map_first(const struct map *, uint64_t hash);
struct map_link *map_next(const struct map_link *);
/* Any entry, or NULL: for emptying. */
struct map_link *map_any(const struct map *);
/* Visit all; the visitor may remove the link it is given. */
void map_each(struct map *, void (*visit)(void *arg, struct map_link *), void *arg);

#endif
