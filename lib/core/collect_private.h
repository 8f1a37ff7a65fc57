/* What the files of forgetting share. */
#ifndef DYN_COLLECT_PRIVATE_H
#define DYN_COLLECT_PRIVATE_H

#include "base/list.h"
#include "base/map.h"
#include "core/collect.h"
#include "core/store.h"

/* In the numbers of this machine's requests, so that answers to its REPAIRs are
 * told from those of core/repair. */
#define COLLECT_NUMBER (UINT64_C(1) << 63)
#define COLLECT_SERVED_MAX 64
#define COLLECT_CLEAR_BYTES (64 << 10) /* of names in one piece */

enum collect_step { COLLECT_LOOK = 1, COLLECT_DROP = 2 };

/* A row of a round. */
struct forgets {
	struct buf *name;
	struct digest digest; /* of the row when the round began */
	unsigned partition;
	bool stays;           /* not in this round */
	bool listed;          /* its partition was asked about */
};

/* Who asked; to DROP it is answered when the rows are stored. */
struct served {
	struct list link;
	enum collect_step step;
	uint64_t conn, request, number; /* number: of the rows */
	struct buf *bits;               /* LOOK: the answer */
};

struct collect {
	struct collect_options o;
	struct view *view;
	bool is_fenced;    /* by the current table of it */
	struct map wishes;
	enum { IDLE, LOOKING, AGREEING, READY, FENCING, LOOKING_AGAIN, DROPPING } state;
	struct forgets *rows; /* ascending by name */
	size_t rows_count, rows_cap;
	size_t begin, end; /* AGREEING, DROPPING: the piece in progress */
	struct dyn_id *asked; /* whose answers are missing */
	size_t asked_count;
	uint64_t number;   /* of the step in progress */
	uint64_t next_number, next_at, until;
	uint64_t look_at, look_until; /* LOOKING: once more; and how long */
	struct digest table; /* READY: the table under which all agreed */
	bool wanted;         /* READY: the fence has been asked for */
	uint64_t gap, fence_at; /* when the last one was seen settled */
	struct list served;
	size_t served_count;
	bool said_forgot;
	bool is_swept;     /* nothing is left here of what others own by the table */
	struct {
		bool on, hints;    /* all of it (STALE); hints: copies are done */
		bool sweeping, found; /* found: something was left */
		bool settling;     /* sweeping: not before all workers are there */
		unsigned fences;   /* whose answers are missing */
		unsigned partition; /* sweeping: up to here it is done */
		struct buf *after; /* NULL: at the beginning */
		struct buf *last;  /* of the piece in progress */
		uint64_t number;   /* of the piece in progress; 0 = none */
		uint64_t next_at;  /* when the next is due, or this one once more */
	} clear;
	struct collect_figures figures;
};

/* collect.c: whatever a step waited for may be there. */
void collect_go_on(struct collect *, struct moment, struct outbox *);

/* collect_serve.c */
int collect_serve(struct collect *, const struct dyn_id *from, uint64_t conn,
    const struct frame *, const struct msg_collect *, struct outbox *) DYN_CHECK;
/* Were these rows somebody's, who is answered now?  Takes them over then. */
bool collect_served(struct collect *, struct rows *, int rc, struct outbox *);
void collect_free_served(struct collect *);
/* Once in a process, before the first row is forgotten: the row FORGOT_ROW. */
void collect_say_forgot(struct collect *, struct outbox *);
/* The table is settled and all of this node is behind its fence. */
void collect_sweep(struct collect *, struct moment, struct outbox *);
void collect_clear_stored(struct collect *, struct rows *, int rc, struct moment,
    struct outbox *);
uint64_t collect_clear_wake(const struct collect *);
void collect_clear_tick(struct collect *, struct moment, struct outbox *);

#endif
