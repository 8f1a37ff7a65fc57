/* What the files of the machine of hints share. */
#ifndef DYN_HINT_PRIVATE_H
#define DYN_HINT_PRIVATE_H

#include "core/hint.h"

#include "core/arrive.h"

#include "base/list.h"
#include "base/map.h"
#include "core/store.h"

#define TARGETS_MAX (2 * DYN_N_MAX)

/* What is kept for one owner. */
struct due {
	struct map_link link;
	struct list all;
	struct dyn_id owner;
	uint64_t count, bytes;
	uint64_t since_ms;   /* wall clock at which the oldest came, or before */
	uint64_t next_at;    /* of the walk; TIME_NEVER: nothing to walk */
	struct buf *after;   /* where it is; NULL: at the beginning */
	unsigned flying;
	bool failed;         /* this walk left something behind */
	uint8_t *dirty;      /* a bit a partition, or NULL */
	uint64_t told;       /* number of the BEHIND that tells all of them; 0 = none */
	uint64_t tell_at;    /* when to tell (again) */
};

struct flight {
	struct list link;
	enum { SENT, DROPPING } state;
	struct due *due;
	unsigned partition;
	uint64_t number, until;
	uint64_t rows, lost; /* lost: could not be read, and go unsent */
	struct buf *drop;    /* as in work_drop */
	struct dyn_id targets[TARGETS_MAX];
	unsigned targets_count;
	uint32_t have;       /* targets that have it: one bit each */
	bool spilled;
};

/* A member that keeps hints for this node. */
struct keeper {
	struct map_link link;
	struct dyn_id id;
	uint64_t count, asked_at;
};

struct hint {
	struct hint_options o;
	struct view *view;
	struct map dues, keepers;
	struct list all, flights;
	uint64_t count, bytes, delivered;
	uint64_t waiting; /* sum of the keepers' counts */
	uint64_t next_number;
	uint64_t ledger_at;  /* when it may be told again */
	bool ledger_old, dirty_old, full;
	uint64_t dirty_count;
	unsigned damaged;    /* rows that were found so, not told yet */
};

/* hint.c */
struct due *hint_find(const struct hint *, const struct dyn_id *owner);
void hint_count_in(struct hint *, struct due *, uint64_t bytes, uint64_t came_ms, struct moment);
/* What is kept for an owner; made if there is nothing yet, of the room if there is
 * one (NULL then).  NULL: no memory. */
struct due *hint_due(struct hint *, const struct dyn_id *owner, struct due **room);

/* hint_load.c: count what is there; what is damaged goes. */
int hint_load(struct hint *, struct moment) DYN_CHECK;
/* The view is known: who of it is meant by marks for everybody. */
void hint_spread(struct hint *);

/* hint_books.c */
#define DIRTY_ROW "dirty"
#define DIRTY_BYTES (65536 / 8) /* a bit for each partition a ring may have */
/* The row of the marks, len bytes of bits each. */
int hint_dirty_row(const struct hint *, size_t len, struct buf **out) DYN_CHECK;
int hint_mark_dirty(struct hint *, struct due *, unsigned partition) DYN_CHECK;
/* Tell owners what they lack; they have noted it; the owner is no member any more. */
void hint_tell_behind(struct hint *, struct moment, struct outbox *);
void hint_told(struct hint *, const struct dyn_id *owner, uint64_t number, int rc, struct moment);
void hint_clean(struct hint *, struct due *);
int hint_load_dirty(struct hint *) DYN_CHECK;
void hint_free_keepers(struct hint *);
/* After each event: tell what changed. */
void hint_settle(struct hint *, struct moment, struct outbox *);

#endif
