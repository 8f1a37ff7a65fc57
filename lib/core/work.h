/*
 * What one worker thread does (paper 4.5, 5): it coordinates the requests of
 * its own application, serves those of other coordinators from the copies it
 * keeps, and owns the partitions p with p mod workers == its number.
 *
 * One small machine a conversation, each in its own file:
 *
 *	read.c    get: ask the owners, wait for R, answer, repair
 *	write.c   put, delete at an owner: mint, send, wait for W, answer
 *	standin.c who takes the place of an owner that is down
 *	ask.c     put, delete elsewhere: have an owner coordinate
 *	park.c    a call that comes before there are enough owners
 *	replica.c the other end: PUT, GET, ASK of coordinators
 *
 * work_rows.c what the sync thread wants done with rows.
 *
 * work.c is the table of requests in progress, the timers, the peers and the
 * view they share.
 */
#ifndef DYN_WORK_H
#define DYN_WORK_H

#include "base/histogram.h"
#include "base/rng.h"
#include "core/machine.h"
#include "core/store.h"

/* Who lets a request wait longer is doubted (core/detect.h), and for the next
 * seconds others are preferred as coordinators. */
#define WORK_SLOW_AFTER (250 * NS_PER_MS)
#define WORK_SLOW_FOR (2 * NS_PER_S)

enum op_kind { OP_GET, OP_PUT, OP_DELETE };

/* One call, from the application or from a peer that asks us to coordinate.
 * Filled by whoever makes it; the outcome by the machines. */
struct op {
	struct letter_space letter;
	enum op_kind kind;
	struct buf *name;       /* model/key.h */
	struct clock context;   /* put, delete */
	bool has_context;
	uint64_t fastest;       /* from the context: node that should coordinate */
	uint64_t after;         /* from the context: the new version is later */
	struct buf *value;      /* put */
	bool lww;
	uint8_t n, r, w, zone_w;
	enum dyn_durability durability;
	unsigned flags;         /* DYN_STRICT, DYN_OVERWRITE, DYN_HERE */
	bool standin;           /* no owner could be reached: coordinate without */
	uint32_t timeout_ms;
	uint64_t expiry_ms;     /* of the version, relative; 0 = never */
	/* Outcome. */
	int rc;
	struct buf *object;     /* get: the merge of all answers, NULL = none */
	struct dot dot;         /* put: the version made, counter 0 = none */
	uint64_t time;          /* put: of the version made, 0 = none */
	struct dyn_receipt receipt;
	uint64_t answered_first; /* get: node that answered fastest */
	/* The machine's own. */
	uint64_t started;
	uint64_t conn, remote;  /* a peer's ASK: where to answer; 0 = our own */
	/* The host's own. */
	void *worker, *call;
};

void op_free(struct op *);

struct work_options {
	struct dyn_id self;
	bool client;              /* stores nothing */
	const char *location;     /* of a client, borrowed; NULL = nowhere.  A member's
	                           * is in the view */
	struct dyn_engine *engine; /* borrowed; NULL for a client */
	struct actor actor, standin; /* see core/store.h */
	bool actor_kept;          /* the actor is one of an earlier process */
	unsigned index, workers;  /* this worker, of so many */
	unsigned siblings_max;
	uint64_t skew_max_ms;
	uint64_t bytes_max;       /* requests and unwritten data, then DYN_EBUSY */
	uint64_t seed;
};

struct work_stats {
	uint64_t gets, puts, deletes, failed, unknown, refused;
	uint64_t coordinated, forwarded, moved, repairs, replica_gets, replica_puts;
	uint64_t pulled_rows, hinted;
	uint64_t forgotten; /* rows of which something was (core/collect.h) */
	struct histogram get_us, put_us;
};

struct work;

int work_new(struct work **out, const struct work_options *) DYN_CHECK;
/* Ends every request with DYN_ECLOSED first (effects go to the outbox). */
void work_close(struct work *, struct moment, struct outbox *);
void work_free(struct work *);

/* An operation of the application.  It comes back by FX_DONE, exactly once. */
void work_op(struct work *, struct op *, struct moment, struct outbox *);
/* A frame from a peer or client on a data connection.  conn names the
 * connection for FX_REPLY.  DYN_EPROTO: close it. */
int work_frame(struct work *, const struct dyn_id *from, uint64_t conn, const struct frame *,
    struct moment, struct outbox *) DYN_CHECK;
/* The connection to this worker of a member stands, or is gone.  sure: what was
 * sent since it was last down has certainly not been received. */
void work_peer_up(struct work *, const struct dyn_id *, unsigned worker);
/* It is going down cleanly: it will answer what it has, and is sent no more. */
void work_peer_leaving(struct work *, const struct dyn_id *, unsigned worker);
void work_peer_down(struct work *, const struct dyn_id *, unsigned worker, bool sure,
    struct moment, struct outbox *);
/* Does it answer at all (core/detect.h)?  Who does not is not asked, and where it
 * is waited for, others stand in. */
void work_peer_suspect(struct work *, const struct dyn_id *, bool suspect, struct moment,
    struct outbox *);
/* One frame could not be queued to this member (it was never sent). */
void work_send_failed(struct work *, const struct dyn_id *, uint64_t request, struct moment,
    struct outbox *);
void work_committed(struct work *, struct batch *, int rc, struct moment, struct outbox *);
void work_view(struct work *, struct view *, struct moment, struct outbox *);
uint64_t work_wake(const struct work *);
void work_tick(struct work *, struct moment, struct outbox *);
/* End of a turn: hands out the open batch (FX_COMMIT), and says that a row was found
 * damaged (FX_DAMAGED). */
void work_turn(struct work *, struct outbox *);

/* From now on requests of tables older than the view's current are refused
 * here.  FX_FENCED with the token once all that was accepted before is
 * committed: then a scan of the engine misses no acknowledged write.  The token
 * begins with a struct letter_space (machine.h, CARRIER). */
void work_fence(struct work *, struct view *, void *token, struct moment, struct outbox *);
/* What the sync thread wants done with rows (core/rows.h): FX_STORED with rc, and
 * them, when that is durable.  By `of`:
 *	DROP     hints that were delivered: (slice id, 16 bytes of the row's digest)*;
 *	         what has changed since stays; zero: if it cannot be read
 *	FORGET   (slice name, digest)*: what can be forgotten of rows that are still
 *	         as they were (object_forget)
 *	LEFT     (slice name)*: remove; DYN_EMOVED, and nothing, if this node owns
 *	         the partition again
 *	DAMAGED  (slice name)*: remove those that are damaged; what we minted before is
 *	         not counted on from
 *	CLEAR    (u8 space, slice id)*: keep what was minted here since the start
 *	FENCE    nothing; all that was accepted before is committed then
 *	others   rows as in PULL_ACK, to be merged into the copies */
void work_take(struct work *, struct rows *, struct moment, struct outbox *);
/* There is no room for more hints (they are refused with DYN_EFULL), or there is
 * again. */
void work_hints_full(struct work *, bool full);

/* Copies that may lack what others have: a bit for each partition.  They answer
 * GET as incomplete, and no read ends with them alone.  Takes the buf over. */
void work_catching(struct work *, struct buf *bits);

/* This node has lost what it had, or another process runs as it: its actors are
 * not to be used again (FX_LOST). */
void work_lost(struct work *);

const struct work_stats *work_stats(const struct work *);
uint64_t work_bytes(const struct work *);  /* held now, against bytes_max */
size_t work_requests(const struct work *); /* in progress */
uint64_t work_unwritten(const struct work *);
bool work_committing(const struct work *); /* a batch is open or out */
uint64_t work_incarnation(const struct work *); /* of the actor now */
bool work_forgot(const struct work *); /* events of the actor: it is not to be kept */
uint64_t work_skewed(const struct work *); /* equal dots, unequal bytes: an alarm */
/* Why a row could not be read since this was asked last, or 0. */
int work_read_error(struct work *);

#endif
