/*
 * The copies one worker keeps: reading, minting and merging over an engine
 * whose commits take time.
 *
 * Two spaces of rows hold objects: DATA by name, this node's own copies, and
 * HINT by owner ‖ name, what it keeps for an owner that was down (paper 4.6).
 * They are treated alike; struct place says which row is meant.
 *
 * Structure: an OVERLAY (place -> newest object) of all that was changed and is
 * not committed yet, over the engine; an empty object there is a row removed.
 * Invariants:
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
 * to others, was built on it: then it is not known to be lost (`exposed`).  Nor is
 * what met DYN_EIO: the log may hold it, and a restart find it (work_committed).
 *
 * The actors: (node, incarnation).  The host gives incarnations that no
 * earlier or cloned copy has used; renewals count up in their low 16 bits.
 * What is minted as a stand-in has an actor of its own, because hints go when
 * they were delivered: with them goes what that actor did, so it is renewed
 * (DESIGN 7).  The actor of the owner's copies is not touched by that.
 */
#ifndef DYN_STORE_H
#define DYN_STORE_H

#include "base/hash.h"
#include "base/map.h"
#include "core/rows.h"
#include "model/hlc.h"
#include "model/key.h"
#include "model/object.h"

struct batch {
	uint64_t number;
	uint64_t generation; /* grows with each failure: see above */
	enum dyn_durability durability; /* the strongest that somebody waits for */
	struct dyn_row *rows;           /* ids and values borrow from hold */
	struct buf **hold;              /* [2 * i] name, [2 * i + 1] object */
	struct changes *changes;        /* one a row */
	size_t count, cap, bytes;
	struct letter_space letter;     /* core/machine.h, CARRIER */
};

void batch_free(struct batch *);
/* What it changed, now the caller's; rows that stayed as they were are left
 * out.  NULL if none is left. */
struct changes *batch_changes(struct batch *);

#define HINT_ID_MAX (16 + KEY_NAME_MAX)

/* Which row.  name: from its hash on, whatever comes before it in the id. */
struct place {
	enum dyn_space space;
	struct dyn_slice id;
};

static inline struct place
place_of_copy(struct dyn_slice name)
{
	return (struct place){ DYN_SPACE_DATA, name };
}

/* space: where the id is made; it lives as long as the place. */
struct place place_of_hint(const struct dyn_id *owner, struct dyn_slice name,
    unsigned char space[HINT_ID_MAX]);
/* Take the id of a hint apart; false if it is none. */
bool hint_split(struct dyn_slice id, struct dyn_id *owner, struct dyn_slice *name);

#define STORE_ACTORS 16

struct store {
	struct dyn_engine *engine;
	struct actor actor, standin;
	struct actor mine[STORE_ACTORS]; /* the last that only this process has used */
	size_t mine_count;
	bool standin_used;  /* it has minted since it was renewed */
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
	uint64_t floor;     /* largest counter of the actor that was forgotten */
	bool damaged;       /* a row of the copies was found to be: store_damaged */
	unsigned char damaged_hash[16];
	int read_error;     /* of the last read that failed: see work_read_error */
};

/* kept: the actor is one of an earlier process. */
int store_init(struct store *, struct dyn_engine *, struct actor, bool kept,
    struct actor standin, uint64_t skew_max_ms) DYN_CHECK;
void store_fini(struct store *);

/* The newest object of a row; *out NULL if there is none. */
int store_get(struct store *, struct place, struct buf **out) DYN_CHECK;

/* What a change waits for. */
struct stored {
	uint64_t number;    /* batch, 0 = nothing to wait for */
	struct buf *object; /* the object now; the caller's reference */
	bool changed;
	struct dot dot;     /* store_mint */
};

/* Merge an object somebody sent.  DYN_EPROTO (malformed), DYN_ECLOCK (last
 * write wins: too far ahead), DYN_ENOMEM, engine errors. */
int store_merge(struct store *, struct place, struct dyn_slice object, enum dyn_durability,
    uint64_t wall_ms, struct stored *out) DYN_CHECK;
/* The same for what the ring holds already, to disk.  A stamp too far ahead is
 * no reason to refuse it: that would hold up the change of owners. */
int store_take_in(struct store *, struct dyn_slice name, struct dyn_slice object,
    uint64_t wall_ms, struct stored *out) DYN_CHECK;
/* Make a new event (actor and time are filled in here).  known: what is known
 * of the key besides that row (a stand-in's other hints), or empty. */
int store_mint(struct store *, struct place, struct dyn_slice known, const struct mint *,
    enum dyn_durability, uint64_t wall_ms, struct stored *out) DYN_CHECK;
/* Remove a hint if its newest object still has this digest, or cannot be read and the
 * digest is zero; number 0: it has not, and stays. */
int store_drop(struct store *, struct place, const struct digest *, uint64_t *number) DYN_CHECK;
/* Forget what all owners may forget of a row (object_forget), if its newest object
 * still has this digest; number 0: it has not, and stays. */
int store_forget(struct store *, struct dyn_slice name, const struct digest *, uint64_t wall_ms,
    uint64_t *number) DYN_CHECK;
/* Remove a row, whatever it is by now, and also if it is damaged. */
int store_remove(struct store *, struct dyn_slice name, uint64_t *number) DYN_CHECK;
/* Remove a row if it is damaged; number 0: it is not. */
int store_remove_damaged(struct store *, struct dyn_slice name, uint64_t *number) DYN_CHECK;
/* Has a row of the copies been found damaged since this was asked last?  Its hash, of
 * 16 bytes, or NULL. */
const unsigned char *store_damaged(struct store *);
/* Of a row drop the versions that this process has not minted (object_only; of late:
 * STORE_ACTORS). */
int store_clear(struct store *, struct place, uint64_t *number) DYN_CHECK;
/* The open batch, now the caller's, or NULL if it is empty. */
struct batch *store_take(struct store *);
/* A batch was applied (0) or not (error); frees it.  After an error the batches
 * still out count as failed too, whatever is said of them later. */
void store_committed(struct store *, struct batch *, int rc);
/* Has this number been committed: 1, failed: -1, not yet: 0. */
int store_state(const struct store *, uint64_t number);
/* Mint under new actors from now on. */
void store_renew(struct store *);
/* Before minting in a copy that is not complete. */
void store_renew_if_forgotten(struct store *);
/* The same where another process may count up from the same actors. */
void store_renew_apart(struct store *, uint32_t random);

#endif
