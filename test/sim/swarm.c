/* What a seed draws: its own ring, workload and faults.  See world.h. */
#include "test/sim/world.h"

#include "base/base.h"
#include "base/hash.h"
#include "base/rng.h"

/* Larger and other rings than of three copies and one worker. */
static void
draw_ring(struct swarm *o, struct rng *r)
{
	o->workers = rng_below(r, 2) == 0 ? 1 : 2 + (unsigned)rng_below(r, 2);
	o->drift = rng_below(r, 2) == 0 ? 0 : 1 + (unsigned)rng_below(r, 100);
	o->joins = rng_below(r, 2) == 0 ? 0 : 1 + (unsigned)rng_below(r, 3);
	o->copies = 3;
	if (rng_below(r, 3) == 0) {
		o->copies = 1 + (unsigned)rng_below(r, SWARM_COPIES);
		o->w = 1 + (unsigned)rng_below(r, o->copies);
		o->r = rng_below(r, 4) == 0 ? 1 : o->copies + 1 - o->w;
		o->nodes = MAX(o->nodes, o->copies);
	}
	o->full_ms = rng_below(r, 3) == 0 ? 2000 + (unsigned)rng_below(r, 20000) : 0;
	o->fail_read = rng_below(r, 3) == 0 ? 1 + (unsigned)rng_below(r, 100) : 0;
	o->big = rng_below(r, 8) == 0 ? 1000 + (unsigned)rng_below(r, 400000) : 0;
	if (rng_below(r, 16) == 0)
		o->nodes += (unsigned)rng_below(r, 16);
	o->clients = rng_below(r, 3) == 0 ? 1 + (unsigned)rng_below(r, 3) : 0;
	o->mixed = o->workers > 1 && rng_below(r, 2) == 0;
	o->expiry = rng_below(r, 3) == 0 ? 1 + (unsigned)rng_below(r, 500) : 0;
	o->partitions = 16;
	o->zones = rng_below(r, 3) == 0 ? 2 + (unsigned)rng_below(r, 4) : 0;
	o->leaves = rng_below(r, 2) == 0 ? 0 : 1 + (unsigned)rng_below(r, 3);
	o->forget = o->leaves > 0 && o->w >= 2 && o->lose == 0 && rng_below(r, 2) == 0;
	if (o->forget)
		o->weak = 0; /* as with lose */
	if (rng_below(r, 256) == 0) {
		o->nodes += 20 + (unsigned)rng_below(r, 60);
		o->partitions = 64U << rng_below(r, 3);
		o->storm_ms = 10000 + (unsigned)rng_below(r, 10000);
	}
	if (o->w < 2)
		o->lose = 0; /* what is on one disk only does not survive the loss of it */
}

void
swarm_draw(struct swarm *o, uint64_t seed)
{
	struct rng r = { mix64(seed) };
	/* Each fault is there in about half of the runs. */
	#define DRAW(least, most) (rng_below(&r, 2) == 0 ? 0 : \
	    (unsigned)((least) + rng_below(&r, (most) - (least) + 1)))
	*o = (struct swarm){ .nodes = 3 + (unsigned)rng_below(&r, 5), .keys = 1 + (unsigned)rng_below(&r, 8),
		.sessions = 1 + (unsigned)rng_below(&r, SWARM_SESSIONS) };
	o->w = 1 + (unsigned)rng_below(&r, 3);
	o->r = rng_below(&r, 4) == 0 ? 1 : 4 - o->w;
	o->storm_ms = 20000 + (unsigned)rng_below(&r, 40000);
	o->op_gap_ms = 200 + (unsigned)rng_below(&r, 800);
	o->crash_ms = DRAW(1000, 15000);
	o->break_ms = DRAW(200, 5000);
	o->split_ms = DRAW(2000, 20000);
	o->pause_ms = DRAW(2000, 20000);
	o->jump_ms = DRAW(1000, 20000);
	o->slow_frame = DRAW(1, 50);
	o->hang_ms = 10 + (unsigned)rng_below(&r, 2000);
	o->fail_commit = DRAW(1, 100);
	o->commit_us = 100 + (unsigned)rng_below(&r, 30000);
	o->mailbox_us = 10 + (unsigned)rng_below(&r, 3000);
	o->weak = DRAW(10, 400);
	o->keep_context = DRAW(50, 500);
	o->lww = rng_below(&r, 3) == 0;
	o->deletes = rng_below(&r, 2) == 0;
	o->power = rng_below(&r, 2) == 0;
	o->strict = (unsigned)rng_below(&r, 3) * 500;
	o->hint_bytes = rng_below(&r, 4) == 0 ? 200 : 1 << 20;
	o->hint_age_ms = rng_below(&r, 4) == 0 ? 2000 : 86400000;
	o->repair_ms = 500 + (unsigned)rng_below(&r, 10000);
	o->walk_ms = rng_below(&r, 2) == 0 ? 86400000 : 1000 + (unsigned)rng_below(&r, 20000);
	o->reads_repair = rng_below(&r, 3) == 0;
	/* Only what is on two disks survives the loss of one. */
	if (o->w >= 2 && rng_below(&r, 3) == 0) {
		o->lose = 1 + (unsigned)rng_below(&r, 3);
		o->weak = 0;
	}
	o->collect_ms = rng_below(&r, 3) == 0 ? 3600000 : 500 + (unsigned)rng_below(&r, 5000);
	draw_ring(o, &r);
	o->lww_deletes = o->lww && o->deletes && rng_below(&r, 2) == 0;
	/* Two processes with one id, see lib/README: until that is known a read may miss what
	 * the other one has, and nothing is to be forgotten with one of them only. */
	if (o->lose > 0 && rng_below(&r, 4) == 0) {
		o->lose = 4;
		o->strict = 0;
		o->collect_ms = 3600000;
	}
	#undef DRAW
}
