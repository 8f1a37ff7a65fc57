/*
 * What the machines of a worker share: the request, and the worker's inside.
 * Only for work.c, work_rows.c, read.c, write.c, ask.c and replica.c.
 */
#ifndef DYN_REQUEST_H
#define DYN_REQUEST_H

#include "base/list.h"
#include "core/quorum.h"
#include "core/work.h"
#include "model/key.h"

enum request_kind { REQUEST_READ, REQUEST_WRITE, REQUEST_ASK, REQUEST_PARKED };

/* A conversation this node leads.  The first member of each machine. */
struct request {
	struct map_link link;  /* by number */
	struct list all;       /* in work.requests */
	struct timer timer;
	enum request_kind kind;
	uint64_t number;       /* repeated by the answers; never 0 */
	struct op *op;         /* NULL once it was answered */
	struct view *view;     /* the table this request goes by */
	unsigned partition;
	uint64_t deadline, sent_at;
	size_t bytes;          /* counted in work.bytes */
	bool moved;            /* somebody has a newer table: waiting for it */
	bool slow;             /* SLOW_AFTER is over: work.c has looked at it */
};

/* What one worker of a peer is to this worker. */
struct peer {
	struct map_link link;
	struct dyn_id id;
	unsigned worker;
	bool down;           /* its connection */
	bool suspect;        /* it does not answer: core/detect.h */
	uint64_t slow_until; /* it let a request wait: others are preferred */
	uint64_t latency;    /* ns, smoothed; 0 = unknown */
};

/* Somebody waits for a batch number.  In the order of arrival. */
struct waiter {
	enum { WAIT_REPLICA, WAIT_WRITE, WAIT_FENCE, WAIT_ROWS } kind;
	uint64_t number;
	uint64_t conn, request; /* REPLICA: where to answer; WRITE: which */
	bool on_disk;
	void *token;            /* FENCE, ROWS */
};

struct work {
	struct work_options o;
	struct view *view;
	struct store store;
	bool stores; /* the store is there */
	struct map requests_by_number;
	struct list requests;
	struct timers timers;
	struct map peers;
	struct waiter *waiters; /* a ring */
	size_t waiters_first, waiters_count, waiters_cap;
	uint64_t next_number;
	uint64_t bytes;
	uint64_t called; /* when somebody last wanted something */
	bool hints_full;
	struct buf *catching; /* a bit for each partition, or NULL */
	struct rng rng;
	struct work_stats stats;
};

/* work.c */
int request_start(struct work *, struct request *, struct op *, struct moment) DYN_CHECK;
/* Give the request another number, so that answers to the old one are lost. */
void request_renumber(struct work *, struct request *);
void request_end(struct work *, struct request *); /* frees the machine */
void request_timer(struct work *, struct request *, uint64_t at);
/* Answer the operation: to the application, or to the peer that asked. */
void op_done(struct work *, struct op *, int rc, struct moment, struct outbox *);
struct frame work_head(const struct work *, uint64_t request);
/* Takes over the frame. */
void work_send(const struct view *, const struct dyn_id *to, unsigned partition,
    struct buf *frame, struct outbox *);
void work_reply(struct work *, uint64_t conn, uint64_t request, enum msg_kind,
    const union msg *, struct outbox *);
/* An owner whose copy is complete coordinates writes (paper 4.5): is it this
 * node, by its newest view? */
bool coordinates(const struct work *, const struct op *);
int wait_for(struct work *, const struct waiter *) DYN_CHECK;
/* For work_rows.c: tell the sync thread (WAIT_ROWS) when the batch the waiter has the
 * number of is committed; at once if it is, or rc is an error. */
void rows_done(struct work *, const struct waiter *, int rc, struct moment,
    struct outbox *);
/* Is this node's copy of the partition one that may lack something? */
bool is_catching(const struct work *, unsigned partition);
/* Is the sender's table older than ours? */
bool frame_is_older(const struct work *, const struct frame *);
/* Is it newer, or further on the way to the same? */
bool frame_is_newer(const struct work *, const struct frame *);
/* Is a of a later table, or further on the way to the same? */
bool view_is_newer(const struct view *a, const struct view *b);
/* Only the first n owners of each group. */
void group_limit(struct group *, unsigned n);

/* peer.c */
/* Which worker of a member a partition's requests go to. */
unsigned peer_worker(const struct view *, const struct dyn_id *, unsigned partition);
/* What is known of that worker of a peer, made if need be; NULL without memory:
 * then the peer is taken for a good one. */
struct peer *peer_get(struct work *, const struct dyn_id *, unsigned worker);
void peers_free(struct work *);
/* The peer as this request meets it; NULL = nothing known. */
struct peer *peer_find(const struct request *, struct work *, const struct dyn_id *);
/* Neither sent to nor waited for. */
bool peer_is_down(const struct request *, struct work *, const struct dyn_id *);
/* It let this request wait for long. */
void peer_is_slow(const struct request *, struct work *, const struct dyn_id *, struct moment,
    struct outbox *);
/* The same for all that the tally waits for. */
void quorum_slow(struct work *, const struct request *, const struct quorum *, struct moment,
    struct outbox *);
/* How near it is: of "dc/zone/rack/machine" it shares the first 0 to 4 labels with
 * this node, or PEER_SELF. */
#define PEER_SELF 5
unsigned peer_nearness(const struct work *, const struct view *, const struct record *);
/* The nearest first; who are equally near stay as they were. */
void group_by_nearness(const struct work *, const struct view *, struct group *);
/* It answered this request: remember how fast. */
void peer_answered(const struct request *, struct work *, const struct dyn_id *, struct moment);

/* standin.c: paper 4.6.  Let another node stand in for the owner of this ballot,
 * which cannot be reached or cannot store, or for whom a stand-in could not;
 * NULL if nobody is left, or somebody does already.  Adding moves no ballot. */
struct ballot *standin_add(struct work *, const struct request *, struct quorum *,
    const struct ballot *failed);
/* The same for all owners that said no. */
void standin_add_all(struct work *, const struct request *, struct quorum *);
/* May this node itself stand in, as coordinator?  Not who leaves: nobody would wait for
 * what it takes then. */
bool standin_is_self(const struct work *);
/* The first stand-in that is not down and not refused by the caller. */
const struct record *standin_choose(struct work *, const struct request *,
    bool (*refused)(const void *arg, const struct dyn_id *), const void *arg);
/* All that this node keeps of a key for others, merged; *out NULL: nothing. */
int standin_known(struct work *, const struct view *, struct dyn_slice name,
    struct buf **out) DYN_CHECK;

/* read.c: paper 4.5, 5 */
void read_start(struct work *, struct op *, struct moment, struct outbox *);
void read_answer(struct work *, struct request *, const struct dyn_id *from,
    const struct msg_get_ack *, struct moment, struct outbox *);
void read_lost(struct work *, struct request *, const struct dyn_id *, bool sure,
    struct moment, struct outbox *);
/* It still waits: for whom?  peer_is_slow. */
void read_slow(struct work *, struct request *, struct moment, struct outbox *);
/* It is suspected: it may answer yet, but others are asked too. */
void read_suspect(struct work *, struct request *, const struct dyn_id *, struct moment,
    struct outbox *);
void read_view(struct work *, struct request *, struct moment, struct outbox *);
void read_timer(struct work *, struct request *, struct moment, struct outbox *);
void read_free(struct request *);

/* write.c: paper 4.4, 4.5 */
void write_start(struct work *, struct op *, struct moment, struct outbox *);
void write_answer(struct work *, struct request *, const struct dyn_id *from,
    const struct msg_put_ack *, struct moment, struct outbox *);
void write_stored(struct work *, struct request *, int rc, struct moment, struct outbox *);
void write_lost(struct work *, struct request *, const struct dyn_id *, bool sure,
    struct moment, struct outbox *);
void write_slow(struct work *, struct request *, struct moment, struct outbox *);
void write_suspect(struct work *, struct request *, const struct dyn_id *, struct moment,
    struct outbox *);
void write_view(struct work *, struct request *, struct moment, struct outbox *);
void write_timer(struct work *, struct request *, struct moment, struct outbox *);
void write_free(struct request *);

/* ask.c: paper 4.5, "forwarded"; 5, the coordinator of a write */
void ask_start(struct work *, struct op *, struct moment, struct outbox *);
void ask_answer(struct work *, struct request *, const struct dyn_id *from,
    const struct msg_ask_ack *, struct moment, struct outbox *);
void ask_lost(struct work *, struct request *, const struct dyn_id *, bool sure, struct moment,
    struct outbox *);
void ask_slow(struct work *, struct request *, struct moment, struct outbox *);
void ask_view(struct work *, struct request *, struct moment, struct outbox *);
void ask_timer(struct work *, struct request *, struct moment, struct outbox *);
void ask_free(struct request *);
/* The error of a coordinator that could not read its copy of the key: nothing was
 * applied, and another one may well have it. */
bool copy_is_unreadable(int rc);

/* park.c */
bool park_needed(const struct work *, const struct op *);
void park_start(struct work *, struct op *, struct moment, struct outbox *);
void park_view(struct work *, struct request *, struct moment, struct outbox *);
void park_timer(struct work *, struct request *, struct moment, struct outbox *);
void park_free(struct request *);

/* replica.c */
void replica_put(struct work *, uint64_t conn, const struct frame *, const struct msg_put *,
    struct moment, struct outbox *);
void replica_get(struct work *, const struct dyn_id *from, uint64_t conn,
    const struct frame *, const struct msg_get *, struct moment, struct outbox *);
void replica_ask(struct work *, uint64_t conn, const struct frame *, const struct msg_ask *,
    struct moment, struct outbox *);
void replica_stored(struct work *, const struct waiter *, int rc, struct outbox *);

#endif
