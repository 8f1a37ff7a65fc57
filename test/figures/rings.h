/*
 * The paper's three ways to cut the ring and to place what was cut (6.2, Figure 7),
 * and ours.  Only here: what ships is lib/model/table.
 *
 *	1  T random tokens a node; a partition lies between two tokens, its owners
 *	   are the first N nodes met from its end on
 *	2  T random tokens a node; Q partitions of equal size, whose owners are the
 *	   first N nodes met from their end on
 *	3  Q partitions of equal size; each node has the tokens of Q / S of them, drawn
 *	   at random; the owners are the first N nodes met
 *	ours: Q partitions of equal size, the owners of each by table_next
 */
#ifndef FIGURES_RINGS_H
#define FIGURES_RINGS_H

#include "base/rng.h"

enum strategy { TOKENS = 0, TOKENS_EQUAL, EQUAL, OURS, STRATEGIES };

extern const char *const strategy_name[STRATEGIES];

struct rings_setup {
	enum strategy strategy;
	unsigned nodes, n;
	unsigned tokens;     /* T; of strategies 1 and 2 */
	unsigned partitions; /* Q; of the others, and of 2.  Ours: a power of two */
	bool sizes;          /* wanted */
};

/* Partitions, ascending, each up to and with its end. */
struct spread {
	unsigned nodes, n;
	size_t count;
	uint64_t *end;
	uint16_t *owners;       /* [partition * n] */
	/* If they were wanted: bytes that say who owns what, encoded; and with the
	 * records of all members, as ours are encoded. */
	size_t placement_bytes, view_bytes;
};

void spread_init(struct spread *, const struct rings_setup *, struct rng *);
void spread_fini(struct spread *);
/* Its partition. */
size_t spread_find(const struct spread *, uint64_t position);

/* Keys ascending by their place on the ring, each with how often it is asked for,
 * by its rank in a random order: 1 / rank ^ exponent. */
struct keys {
	size_t count;
	uint64_t *position;
	double *sum; /* [count + 1]: of the weights of those before */
};

void keys_init(struct keys *, size_t count, double exponent, uint64_t seed);
void keys_fini(struct keys *);
/* Load balancing efficiency: average load of a node to that of the hottest, if
 * all owners of a key serve its requests. */
double spread_efficiency(const struct spread *, const struct keys *);

/* The place of key number i of a set on the ring, by the library's hash. */
uint64_t key_position(uint64_t set, uint64_t i);

#endif
