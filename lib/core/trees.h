/*
 * The trees of this node's partitions (paper 4.7; model/merkle.h), on the sync
 * thread: built in the background, kept by what is committed, and compared with
 * the rows again and again, slowly.
 *
 *	WANTED --scanned piece by piece--> BUILT --a walk finds another sum--> BUILT
 *	 |  ^                                |
 *	 |  '----after a while---- BROKEN <--+  rows cannot be read: that is told, and
 *	 '-----------------------------^        in the way of no other partition
 *
 * INVARIANT: a tree that is built has exactly the rows of the engine as of the last
 * change told (sync_changed).  A scan sees the engine as it is now, changes come a
 * little later by letter; so a piece that was scanned waits for a FENCE: rows that
 * come back from the partition's worker when all it had given to storage before is
 * committed, and so told.  For a row of the piece that changed between scan and
 * fence, what the change says holds; all others are as they were scanned.  Behind
 * the pieces that are done changes are applied; ahead of them they are not needed,
 * since a later scan sees them.
 *
 * Who becomes the first owner of a partition looks at its rows once more: what there is
 * to forget of them (core/collect.h) was the task of another until then.
 *
 * A row that is damaged is one that this copy has lost.  A scan finds it, at the latest
 * in a day, or trees_look_again does because a request met it; then it is marked that
 * the copy lacks something (core/repair.h), and once that is on disk the row goes and
 * the other owners fill it again.
 *
 * A tree starts anew when the node starts: nothing of it is on disk, so nothing of
 * it can be wrong after a crash.
 */
#ifndef DYN_TREES_H
#define DYN_TREES_H

#include "core/admit.h"
#include "core/machine.h"
#include "core/rows.h"
#include "model/merkle.h"

#define TREES_PIECE (256 << 10)           /* bytes scanned at a time */
#define TREES_PATIENCE (30 * NS_PER_S)    /* for a fence */
#define TREES_REST (1 * NS_PER_S)         /* after a failure */
#define TREES_BROKEN (10 * NS_PER_S)      /* rows that could not be read are tried again */
#define TREES_WALK (UINT64_C(86400) * NS_PER_S) /* to look at all rows again */

struct trees;

struct trees_options {
	struct dyn_id self;
	struct dyn_engine *engine; /* borrowed: scanned only */
	uint64_t walk;             /* ns for a walk over all; 0 = TREES_WALK */
	/* Rows of it are damaged: may they be removed, that is, is it on disk that this
	 * copy lacks something?  Or NULL. */
	bool (*damaged)(void *arg, unsigned partition);
	void *damaged_arg;
	/* Called with each row that is scanned; or NULL. */
	void (*row)(void *arg, struct dyn_slice name, struct dyn_slice value);
	void *row_arg;
	/* Called when rows of a partition cannot be read; or NULL. */
	void (*broken)(void *arg, unsigned partition);
	void *broken_arg;
};

struct trees_figures {
	unsigned wanted;   /* not built yet */
	unsigned broken;   /* not built, since rows cannot be read */
	uint64_t walked;   /* partitions looked at again */
	uint64_t wrong;    /* of those, trees that were not as the rows are */
};

int trees_new(struct trees **out, const struct trees_options *) DYN_CHECK;
void trees_free(struct trees *);
/* Which partitions are this node's. */
void trees_view(struct trees *, struct view *, struct moment);
/* Look at the rows of this partition again, soon: some may be damaged. */
void trees_look_again(struct trees *, unsigned partition);
void trees_changed(struct trees *, const struct changes *);
/* A fence came back.  Takes it over. */
void trees_stored(struct trees *, struct rows *, int rc, struct moment, struct outbox *);
uint64_t trees_wake(const struct trees *, const struct admit *);
void trees_tick(struct trees *, struct admit *, struct moment, struct outbox *);
/* NULL: not this node's, or not built yet. */
const struct merkle *trees_find(const struct trees *, unsigned partition);
void trees_figures(const struct trees *, struct trees_figures *);

#endif
