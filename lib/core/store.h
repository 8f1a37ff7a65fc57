/*
 * The copies one worker keeps: reading, minting and merging over an engine
 * whose commits take time.
 *
 * Structure: an OVERLAY (name -> newest object) of all that was changed and is
 * not committed yet, over the engine.  Invariants:
 *   - what store_get returns is the newest object, committed or not, so two
 *     events on one key can never be minted from the same state;
 *   - an overlay entry lives until the batch that holds its newest object is
 *     committed; then the engine gives the same bytes.
 *
 * Changes collect in the open BATCH; store_take hands it out (FX_COMMIT) once a
 * turn.  The storage thread applies whatever batches have come as one
 * transaction, so all that waits when a commit starts shares it.
 * A request waits for a batch number; numbers are committed in order.
 *
 * A failed commit: everything not committed is forgotten at once, the overlay
 * with it, and the actor is renewed, because peers may hold events of it that
 * this node just lost (DESIGN 7).  Batches that were built on the lost state
 * carry the same generation; storage must refuse them too.  So what was
 * reported failed cannot come back later from here (S4).  But it may come back
 * from elsewhere if a reader was given it meanwhile, or if a later version, sent
 * to others, was built on it: then it is not known to be lost (`exposed`).
 *
 * The actor: (node, incarnation).  The host gives an incarnation that no
 * earlier or cloned copy has used; renewals count up in its low 16 bits.
 */
#ifndef DYN_STORE_H
#define DYN_STORE_H

#include "base/hash.h"
#include "base/map.h"
#include "core/rows.h"
#include "model/hlc.h"
#include "model/object.h"

struct batch {
	uint64_t number;
	uint64_t generation; /* grows with each failure: see above */
	enum dyn_durability durability; /* the strongest that somebody waits for */
	struct dyn_row *rows;           /* ids and values borrow from hold */
	struct buf **hold;              /* [2 * i] name, [2 * i + 1] object */
	struct changes *changes;        /* one a row */
	size_t count, cap, bytes;
};

void batch_free(struct batch *);
/* What it changed, now the caller's; rows that stayed as they were are left
 * out.  NULL if none is left. */
struct changes *batch_changes(struct batch *);

struct store {
	struct dyn_engine *engine;
	struct actor actor;
	struct hlc hlc;
	uint64_t skew_max_ms;
	struct map overlay;
	size_t overlay_bytes;
	struct batch *open;
	uint64_t committed; /* all batches up to this number are done */
	uint64_t given;     /* number of the last batch handed out */
	uint64_t failed;    /* batches up to this number, not committed, failed */
	uint64_t generation;
	uint64_t weak;      /* last batch handed out without DURABLE_DISK */
	bool unsynced;      /* the last committed batch was such a one */
	bool exposed;       /* of what the last failure lost, somebody was given some */
	struct dyn_buffer scratch;
	uint64_t skewed;    /* equal dots with unequal bytes: an alarm */
};

int store_init(struct store *, struct dyn_engine *, struct actor, uint64_t skew_max_ms) DYN_CHECK;
void store_fini(struct store *);

/* The newest object of a name; *out NULL if there is none. */
int store_get(struct store *, struct dyn_slice name, struct buf **out) DYN_CHECK;

/* What a change waits for. */
struct stored {
	uint64_t number;    /* batch, 0 = nothing to wait for */
	struct buf *object; /* the object now; the caller's reference */
	bool changed;
	struct dot dot;     /* store_mint */
};

/* Merge an object somebody sent.  DYN_EPROTO (malformed), DYN_ECLOCK (last
 * write wins: too far ahead), DYN_ENOMEM, engine errors. */
int store_merge(struct store *, struct dyn_slice name, struct dyn_slice object,
    enum dyn_durability, uint64_t wall_ms, struct stored *out) DYN_CHECK;
/* The same for what the ring holds already, to disk.  A stamp too far ahead is
 * no reason to refuse it: that would hold up the change of owners. */
int store_take_in(struct store *, struct dyn_slice name, struct dyn_slice object,
    uint64_t wall_ms, struct stored *out) DYN_CHECK;
/* Make a new event (actor and time are filled in here). */
int store_mint(struct store *, struct dyn_slice name, const struct mint *,
    enum dyn_durability, uint64_t wall_ms, struct stored *out) DYN_CHECK;
/* The open batch, now the caller's, or NULL if it is empty. */
struct batch *store_take(struct store *);
/* A batch was applied (0) or not (error); frees it.  After an error the batches
 * still out count as failed too, whatever is said of them later. */
void store_committed(struct store *, struct batch *, int rc);
/* Has this number been committed: 1, failed: -1, not yet: 0. */
int store_state(const struct store *, uint64_t number);
/* Mint under a new actor from now on. */
void store_renew(struct store *);

#endif
