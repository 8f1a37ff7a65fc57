/*
 * Who speaks which feature level (msg.h), as heard in HELLO and WELCOME, and the lowest
 * of a ring.
 *
 * Whom nothing was heard of since the start counts as level 0, which is what those speak
 * that say none.  So the lowest of a ring rises only when all members have been heard,
 * and falls when one is replaced by an older build.  Between two members it may differ
 * for a while: nothing may rest on all of them thinking the same.
 */
#ifndef DYN_LEVELS_H
#define DYN_LEVELS_H

#include "model/view.h"

struct levels {
	size_t count;
	struct {
		struct dyn_id id;
		uint16_t level;
	} of[LIMIT_MEMBERS]; /* ascending by id */
};

/* Heard last of this node.  v (may be NULL) tells who is forgotten if there are too
 * many. */
void levels_heard(struct levels *, const struct view *v, const struct dyn_id *, unsigned level);
/* 0: nothing was heard. */
unsigned levels_find(const struct levels *, const struct dyn_id *);
/* The lowest of self, which speaks `own`, and of all others of the view that are talked
 * to. */
unsigned levels_lowest(const struct levels *, const struct view *, const struct dyn_id *self,
    unsigned own);

#endif
