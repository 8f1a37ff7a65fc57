/*
 * What a simulated ring is made of (world.h).  world_net.c has the heap of events and
 * the network; world.c the nodes, their storage, the calls, the faults and the verdict.
 *
 * Design.  A heap of events, ordered by time and then by the order in which
 * they were made; all randomness from one generator.  A node's threads are its
 * three machines; what they say to each other travels as letters, each mailbox
 * in order.  A connection belongs to who dialled it; it is in order, and when it
 * breaks, all that was on its way is lost.  A direction that is cut holds back
 * what is sent into it until it is mended or the connection breaks.
 */
#ifndef DYN_SIM_WORLD_PRIVATE_H
#define DYN_SIM_WORLD_PRIVATE_H

#include "test/sim/world.h"

#include "base/base.h"
#include "core/detect.h"
#include "core/member.h"
#include "core/sync.h"
#include "test/core_script.h"
#include "test/oracle/oracle.h"
#include "test/sim/disk.h"

#define MS NS_PER_MS
#define NODES_MAX 1024
#define SEEDS 30
#define IDS_MAX 256 /* values in one answer */
#define HEAL_LIMIT (120 * NS_PER_S)

/* WORKER is the first of them. */
enum { WORKERS_MOST = 3 };
enum thread { GOSSIP, SYNC, WORKER, THREADS = WORKER + WORKERS_MOST };

/* Between two nodes there is a lane for gossip, one for sync, and one for each worker
 * of the one and each of the other, by world_lane. */
enum { LANES = WORKER + WORKERS_MOST * WORKERS_MOST };

enum event_kind {
	EV_DELIVER, /* the first frame of a pipe */
	EV_LETTER,  /* for a thread of a node */
	EV_WAKE,    /* a timer of a thread */
	EV_TURN,    /* the worker hands out its batch */
	EV_APPLY,   /* storage commits all that has come */
	EV_SAVE,    /* and the view; back: for the fence */
	EV_DIAL,
	EV_LOST,    /* who dialled notices that a connection is gone */
	EV_START,
	EV_CALL,    /* the next call of a session */
	EV_CRASH, EV_BREAK, EV_SPLIT, EV_MEND, EV_PAUSE, EV_JUMP, EV_FULL, EV_COPY, EV_LOSE,
	EV_LEAVE,   /* somebody is asked to leave, or is forgotten (back) */
	EV_FORGET,  /* the order to forget it */
	EV_STOP     /* a process ends for good */
};

enum letter_kind { L_VIEW, L_FENCE, L_FENCED, L_ROWS, L_STORED, L_CHANGED, L_SYNCED, L_POKE,
	L_COMMITTED, L_LEDGER, L_FULL, L_LOST, L_SAVED, L_LIVENESS, L_DOUBT, L_CATCHING, L_COLLECT, L_CLEAR, L_CLEARED,
	L_MARKED, L_DAMAGED };

struct event {
	uint64_t at, order, life, epoch;
	enum event_kind kind;
	unsigned node, other, lane;
	bool back;
	enum letter_kind letter;
	int rc;
	void *what;
	struct dyn_id id;
};

/* One direction of a connection. */
struct pipe {
	struct buf **frames;
	size_t count, cap;
	uint64_t last;
};

struct link {
	bool up, used, dialling;
	bool half; /* broken, and who dialled does not know: it swallows */
	uint64_t epoch;
	struct pipe pipe[2]; /* there, back */
};

struct node {
	struct dyn_id id;
	bool alive, client;
	bool gone; /* it does not start again */
	unsigned workers, threads;
	uint64_t life, incarnation, actor, paused_until;
	int64_t skew_ms;
	struct disk *disk;
	struct { struct disk *disk; struct view *saved; uint64_t incarnation; } copy;
	struct member *member;
	struct detect *detect;
	struct sync *sync;
	struct work *work[WORKERS_MOST];
	struct view *view, *sync_view, *saved; /* NULL: it has not joined yet */
	struct view *unsaved; /* not published yet: the copies are not marked */
	int lost, marked;
	struct view *fence; /* all workers are behind it; it is on its way to the disk */
	uint64_t full_until; /* its disk is */
	unsigned fenced;    /* workers, a bit each */
	unsigned turning;   /* too */
	unsigned drift;     /* of its clock: 1,000 is none */
	bool applying;
	struct outbox out[THREADS];
	uint64_t mail_last[THREADS], wake_set[THREADS];
	struct { struct batch *batch; unsigned worker; } queue[512];
	unsigned queued;
	uint64_t failed_generation[WORKERS_MOST];
};

struct context {
	bool there;
	struct clock clock;
	uint64_t time, ids[IDS_MAX];
	size_t count;
};

struct session {
	unsigned key;
	struct context last[SWARM_KEYS], kept[SWARM_KEYS];
	bool busy, has_read; /* this key, last of all: a customer writes it next */
};

struct call {
	struct world *w;
	uint64_t id, began;
	unsigned session, key, node, strict_r;
	enum op_kind kind;
	bool settled_read; /* of the healing: the oracle is not told */
	bool ended;
	bool durable, unanswered;
	struct call *next;
};

struct world {
	struct swarm o;
	struct rng rng;
	uint64_t now, order, digest, ids;
	struct event **heap;
	size_t count, cap;
	struct node *nodes;
	struct link *links; /* world_link */
	bool *cut;          /* world_cut */
	struct session sessions[SWARM_SESSIONS];
	struct call *calls;
	struct oracle *oracle;
	struct outcome out;
	struct view *ring; /* the first one */
	char seeds[SEEDS * 20];
	bool settled;     /* in the end all had the same view */
	unsigned members; /* of the first ring and those that join it */
	unsigned all;     /* with clients, which come after them, and the twin */
	unsigned lanes;
	bool calm, trace;
	unsigned open; /* calls not ended */
	uint64_t gossip;   /* bytes so far */
	uint64_t last_start, last_view, gossip_then; /* of the last that joined */
	unsigned loser; /* of its directory */
	unsigned twin;  /* the node that runs with a copy of it; NODES_MAX: none */
	unsigned leaving; /* so many were asked to, or forgotten */
	unsigned forgotten; /* this one is to be, or was; NODES_MAX: none */
};

/* world.c */
void world_carry_out(struct world *, struct node *);
void world_run_for(struct world *, uint64_t ns);
void world_node_start(struct world *, struct node *);
void world_start_call(struct world *w, struct node *n, unsigned session, enum op_kind kind,
    unsigned key, const struct with *with, const struct context *seen);
/* The order to forget that node, by whoever can give it; false: nobody can. */
bool world_forget(struct world *w);
bool world_is_lww(const struct world *w, unsigned key);
const char *world_key(unsigned key);
size_t world_values(const struct buf *object, uint64_t now_ms, uint64_t *ids, size_t max);
/* By how much the clocks of two nodes may differ, in ns, in a run of a few minutes. */
uint64_t world_skew(const struct swarm *);
uint64_t world_forgotten_by(const struct node *n);

/* world_end.c */
void world_judge_trees(struct world *w, struct node *n);
/* Somebody whose word counts at the end. */
struct node *world_reference(struct world *w);
/* Everything works again, for good, and is judged. */
void world_heal(struct world *w);

/* world_net.c */
uint64_t world_below(struct world *w, uint64_t n);
bool world_chance(struct world *w, unsigned in_thousand);
void world_tell(struct world *w, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
void world_push_event(struct world *w, struct event *e);
struct event *world_add_event(struct world *w, enum event_kind kind, unsigned node,
    uint64_t at);
struct event *world_pop_event(struct world *w);
void world_free_event(struct event *e);
struct dyn_id world_id(unsigned i);
const char *world_name(const struct world *w, const struct node *n);
struct link *world_link(const struct world *w, unsigned from, unsigned to, unsigned lane);
bool *world_cut(const struct world *w, unsigned from, unsigned to);
/* Is there such a lane from one to the other?  Nobody dials a client. */
bool world_has_lane(const struct world *w, unsigned from, unsigned to, unsigned lane);
/* Of a thread, to this worker of the other. */
unsigned world_lane(unsigned thread, unsigned worker);
/* Which threads speak by it. */
unsigned world_lane_from(unsigned lane);
unsigned world_lane_to(unsigned lane);
/* The worker of a node that a partition is. */
unsigned world_worker(const struct node *n, unsigned partition);
unsigned world_index_of(const struct world *w, const struct node *n);
/* The process with this id; of two, the one that was not fenced. */
struct node *world_node_of(struct world *w, const struct dyn_id *id);
/* The one that a node sends to: where its view says that the id is. */
struct node *world_peer_of(struct world *w, const struct node *n, const struct dyn_id *id);
/* It has another view: of two processes with one id it may send to the other now. */
void world_readdress(struct world *w, const struct node *n);
struct moment world_moment_of(const struct world *w, const struct node *n);
uint64_t world_true_time(const struct node *n, uint64_t at);
bool world_due(const struct world *w, const struct node *n, uint64_t at);
struct event *world_post(struct world *w, struct node *n, unsigned to,
    enum letter_kind kind, void *what, int rc, const struct dyn_id *id);
void world_pipe_clear(struct pipe *p);
void world_break_link(struct world *w, unsigned from, unsigned to, unsigned lane,
    uint64_t noticed);
void world_dial_later(struct world *w, unsigned from, unsigned to, unsigned lane);
void world_dial(struct world *w, struct event *e);
void world_link_lost(struct world *w, struct event *e);
void world_send_frame(struct world *w, struct node *n, unsigned thread, struct effect *e);
void world_send_reply(struct world *w, struct node *n, struct effect *e);
void world_deliver(struct world *w, struct event *e);

#endif
