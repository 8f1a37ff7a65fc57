/*
 * The shape of all machines: an event goes in, effects come out.
 *
 * A machine has no clock, file, socket, thread or lock.  `now` (monotonic ns)
 * and `wall_ms` (ms since 1970) come with each call, randomness from a seed
 * given at its birth.  It puts effects into the outbox, which the caller owns
 * and empties; it must have carried them out, or handed them on, before the
 * memory they borrow may go.
 *
 * The same machines run under lib/host (threads, sockets, SQLite) and under
 * the simulator.
 */
#ifndef DYN_MACHINE_H
#define DYN_MACHINE_H

#include "base/buf.h"
#include "base/timer.h"
#include "model/msg.h"
#include "model/view.h"

struct moment {
	uint64_t now;     /* monotonic, ns */
	uint64_t wall_ms; /* ms since 1970 */
};

enum effect_kind {
	FX_SEND,   /* a frame to a member (or, without id, to an address) */
	FX_REPLY,  /* a frame on the connection a request came by */
	FX_VIEW,   /* this is the view now: publish and save it */
	FX_LOG,    /* a line for the log */
	FX_FAIL,   /* the node cannot go on: rc and text */
	FX_COMMIT, /* rows for storage (core/store.h) */
	FX_DONE,   /* an operation of this node ended (core/work.h) */
	FX_POKE,   /* `to` has another table: gossip with it now (member_poke) */
	FX_FENCED, /* what work_fence asked for holds now (what = its token) */
	FX_ROWS,   /* rows pulled from a peer, for a worker to merge (core/rows.h) */
	FX_STORED, /* such rows are durable (what = the rows' token) */
	FX_SYNCED, /* all of this node's share is here (view->current) */
	FX_COLLECT, /* a fence is wanted after this table: member_collect (view) */
	FX_STALE,  /* the copies here are older than what others have forgotten:
	            * sync_clear; then member_cleared */
	FX_CLEARED, /* they have been cleared: member_cleared */
	FX_CHANGED, /* rows were committed (what = struct changes *, core/rows.h) */
	FX_LEDGER, /* who keeps how much for whom: ours, or (to) a member's */
	FX_META,   /* save frame as the row `address` of DYN_SPACE_META; rc =
	            * SAVED_FOR_REPAIR: and tell sync_saved, also that it failed */
	FX_HINTS_FULL, /* no room for hints (rc = 1), or again (0): work_hints_full */
	FX_LIVENESS, /* what this node thinks of `to` now: rc = enum dyn_liveness */
	FX_CATCHING, /* copies that may lack something: frame = a bit a partition, for
	              * work_catching */
	FX_DAMAGED, /* a row of partition rc is damaged: sync_damaged */
	FX_LOST,   /* this node's copies may lack something: sync_lost_all, work_lost; views
	            * that follow are saved and published after the answer: */
	FX_MARKED, /* the marks of all copies are on disk (rc = the number it was asked by) */
	FX_RESET,  /* make the gossip connection to `to` anew */
	FX_DOUBT   /* a request waits long for `to`: detect_doubt */
};

enum saved_for { SAVED_FOR_NOBODY, SAVED_FOR_REPAIR, SAVED_FOR_FENCE };

struct effect {
	enum effect_kind kind;
	int rc;              /* LOG: level; FAIL: why */
	uint16_t worker;     /* SEND on a data connection: thread of the receiver */
	struct dyn_id to;    /* SEND; all zero = use address */
	const char *address; /* SEND by address; META; lives as long as the machine */
	uint64_t conn;       /* REPLY: the token the request came with */
	struct buf *frame;   /* SEND, REPLY; LOG, FAIL: text; LEDGER, META: bytes.
	                      * Owned by the effect */
	struct view *view;   /* VIEW: owned by the effect */
	void *what;          /* COMMIT: struct batch *; DONE: struct op * */
};

/*
 * Adding an effect cannot fail, though there is no bound for what one event causes (one
 * commit ends thousands of requests).  The list grows; when there is no memory for that,
 * the outbox is CRAMPED until it has been emptied, and a further effect is treated by
 * its kind (standing_of, in machine.c):
 *
 *	LOSSY    is lost, as a frame can be on its way: frames, log lines, hints to other
 *	         threads.  Whoever sent it has its own patience.  `lost` tells that there
 *	         was one, for who must repeat it
 *	NEWEST   tells how something is now, so the last one of its kind (META: of its row)
 *	         is enough: a place for each is part of the outbox
 *	CARRIER  carries an object that must arrive, and is strung on it: the object has a
 *	         struct letter_space, which nobody uses while it is an effect
 */
enum { OUTBOX_KEPT = 16 }; /* more than there are NEWEST in one outbox, by kind and row */

struct outbox {
	struct effect *list;
	size_t count, cap;
	size_t at;         /* outbox_next: the first that is still there */
	bool cramped, lost;
	bool filling;      /* added while cramped, not put where it belongs yet: */
	struct effect fresh;
	struct effect kept[OUTBOX_KEPT];
	unsigned kept_count;
	struct strung *first, *last;
};

void outbox_init(struct outbox *);
void outbox_fini(struct outbox *); /* drops what is still in it */
/* A zeroed effect to fill before anything else is done with the outbox. */
struct effect *outbox_add(struct outbox *, enum effect_kind);
/* Take the next one out; it is the caller's then.  More may be added meanwhile. */
bool outbox_next(struct outbox *, struct effect *);
void outbox_log(struct outbox *, enum dyn_log_level, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void effect_drop(struct effect *); /* frees frame, view, changes */

/* The head of a frame of who goes by this view (NULL: none yet). */
struct frame view_head(const struct view *, uint64_t request);
/* Was it sent by an older table than that of the view?  (Epoch, then digest.) */
bool head_is_older(const struct view *, const struct frame *);
/* Whoever reads a connection answers a PING on it. */
void ping_answer(uint64_t conn, const struct frame *, const struct msg_ping *, struct outbox *);

static inline bool
id_equal(const struct dyn_id *a, const struct dyn_id *b)
{
	return memcmp(a->bytes, b->bytes, sizeof(a->bytes)) == 0;
}

static inline bool
id_is_zero(const struct dyn_id *a)
{
	static const struct dyn_id zero;

	return id_equal(a, &zero);
}

#endif
