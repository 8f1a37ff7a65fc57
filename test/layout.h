/*
 * Rings with zones and racks for tests of placement, and what their tables should
 * be, found in other ways than the library finds it.
 */
#ifndef DYN_TEST_LAYOUT_H
#define DYN_TEST_LAYOUT_H

#include "model/table.h"
#include "base/rng.h"

#define LAYOUT_MAX 320

struct layout {
	struct rng rng;
	unsigned count;
	struct seat seat[LAYOUT_MAX];
};

void layout_init(struct layout *, uint64_t seed);
/* One more node, on a machine of its own. */
void layout_add(struct layout *, unsigned zone, unsigned rack, unsigned weight);
/* Zone i gets nodes[i] of them, with weights 1, 2, 4 in turn if mixed. */
void layout_fill(struct layout *, const unsigned *nodes, unsigned zones, bool mixed);
void layout_remove(struct layout *, unsigned at);
struct table *layout_table(
    const struct layout *, const struct table *parent, unsigned partitions, unsigned n);

/* Faults of a table, in pairs of owners (machines) and in partitions. */
unsigned layout_doubled(const struct table *);
unsigned layout_zone_violations(const struct table *);
unsigned layout_rack_violations(const struct table *);
/* The best shares that machines, zones and racks allow, by bisection. */
void layout_shares(const struct table *, double *share);
/* How far the load of a seat is from its best share, at most. */
double layout_unbalance(const struct table *);

/* Owners of `to` that `from` does not have, and the fewest by which the loads of `to`
 * can be had with its spread over zones: a minimum-cost flow.  One seat a machine. */
unsigned layout_moves(const struct table *from, const struct table *to);
unsigned layout_least_moves(const struct table *from, const struct table *to);

#endif
