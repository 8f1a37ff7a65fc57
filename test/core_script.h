/*
 * The machines of one node under a script: events are fed by hand, effects come
 * back as lines of plain words, and a test compares the lines.
 *
 * Nodes are letters, 'a' to 'z', so that objects read like those of
 * unit/notation.h: "a1 | a1=x" is node a's first version, of value x.
 *
 *	0 SEND PUT b #1 a1 | a1=x        ms, what, to whom, request
 *	0 COMMIT 1 rows=1 disk           a batch for storage
 *	3 REPLY PUT_ACK 7 #9 EMOVED      an answer on connection 7
 *	5 DONE put EQUORUM owners=0      an operation ended
 *
 * Storage is a sorted array that fails when told to; batches wait until the
 * script commits them.
 */
#ifndef DYN_CORE_SCRIPT_H
#define DYN_CORE_SCRIPT_H

#include "base/rng.h"
#include "core/sync.h"
#include "core/request.h"
#include "test/test.h"

#define TRACE_MAX 32768

/* Check's assertions write to a pipe each time, which is too slow for what is
 * done a million times. */
#define MUST(x)                                                                \
	do {                                                                   \
		if (!(x))                                                      \
			ck_abort_msg("not so: %s", #x);                        \
	} while (0)

/* ---------------------------------------------------------------- storage */

struct fake_row {
	enum dyn_space space;
	unsigned char id[HINT_ID_MAX];
	size_t id_len, len;
	unsigned char *value;
	bool damaged;
};

struct fake {
	struct dyn_engine engine;
	struct fake_row *rows;
	size_t count, cap;
	int get_rc, apply_rc, scan_rc; /* what the calls answer until it is changed */
	unsigned applied;              /* batches */
};

struct fake *fake_new(void);
void fake_free(struct fake *);
/* The row is there and cannot be read, until it is written. */
void fake_damage(struct fake *, struct dyn_slice id);
/* The bytes of a row; an empty slice if there is none.  find: of a copy. */
struct dyn_slice fake_find(const struct fake *, struct dyn_slice id);
struct dyn_slice fake_find_in(const struct fake *, enum dyn_space, struct dyn_slice id);

/* ------------------------------------------------------------------ views */

struct dyn_id node_id(char);
char node_letter(const struct dyn_id *); /* '?' for none, '-' for a client */
/* A settled view of nodes a, b, ... with so many copies. */
struct view *view_ring(unsigned members, unsigned n, unsigned partitions);
/* The view with a fence for collecting after this one, as far as all have followed. */
struct view *view_fenced(const struct view *, bool settled);
/* The next view, the given one being unref'd: a node more; a node less; a
 * node says that it holds all (and reads) by current. */
struct view *view_joins(struct view *, char);
struct view *view_join_all(struct view *, const char *letters); /* one table */
struct view *view_leaves(struct view *, char);
struct view *view_synced(struct view *, char);
struct view *view_reads(struct view *, char);
struct view *view_places(struct view *, const char *const locations[]); /* a, b, ...: NULL ends */
struct view *view_all_synced(struct view *);
struct view *view_all_read(struct view *);
/* "abc/abd abd": owners of a key by base, current if it differs, and reading. */
const char *view_text(const struct view *, const char *key);
/* The first key "k<i>" for which view_text is this. */
const char *view_key(const struct view *, const char *text);
struct buf *key_name(const char *key);

/* ----------------------------------------------------------------- script */

struct script_options {
	char self;
	bool client;
	const char *location; /* of a client; NULL = nowhere */
	bool as_sent;         /* tell frames in the order they leave, not of letters */
	struct view *view; /* taken over */
	uint64_t bytes_max;
	uint64_t incarnation; /* 0 = 1 */
};

struct script {
	struct script_options o;
	struct work *work;
	struct fake *fake;
	struct outbox out;
	struct moment m;
	struct batch *batches[64]; /* given to storage, oldest first */
	unsigned batches_count;
	struct op *last;           /* that ended; freed by the next */
	unsigned done;             /* operations that ended */
	bool quiet;                /* no trace: for failing allocations */
	char trace[TRACE_MAX];
	size_t len;
};

/* What an operation has beside kind and key; zero is the default. */
struct with {
	const char *value;
	const char *context;   /* as clock_of; NULL = none */
	uint8_t n, r, w;       /* 3, 2, 2 */
	enum dyn_durability durability;
	unsigned flags;
	uint32_t timeout_ms;   /* 1000 */
	char fastest;
	bool lww;
};

struct script *script_new(const struct script_options *);
void script_free(struct script *);
struct op *op_new(enum op_kind, const char *key, const struct with *);
void script_op(struct script *, enum op_kind, const char *key, const struct with *);
void script_put(struct script *, const char *key, const char *value);
void script_get(struct script *, const char *key);
/* Frames.  View NULL: the script's own. */
void script_frame(struct script *, char from, uint64_t conn, struct view *, uint64_t request,
    enum msg_kind, const union msg *);
void script_put_ack(struct script *, char from, uint64_t request, int rc);
/* object as object_of; NULL = not found */
void script_get_ack(struct script *, char from, uint64_t request, int rc, const char *object);
void script_ask_ack(struct script *, char from, uint64_t request, int rc);
/* A peer's requests, on connection 7. */
void script_peer_put(struct script *, char from, struct view *, uint64_t request,
    const char *key, const char *object, enum dyn_durability);
void script_peer_get(struct script *, char from, struct view *, uint64_t request,
    const char *key);
void script_peer_ask(struct script *, char from, struct view *, uint64_t request, enum op_kind,
    const char *key, const struct with *);
void script_view(struct script *, struct view *); /* a ref is taken */
void script_down(struct script *, char, bool sure);
void script_up(struct script *, char);
void script_suspect(struct script *, char, bool suspect);
void script_turn(struct script *);              /* batch to storage */
void script_commit(struct script *, int rc);    /* the oldest batch */
void script_wait(struct script *, uint64_t ms); /* timers fire on the way */
/* An object by its text (unit/notation.h), made once and kept. */
struct dyn_slice script_object(const char *text);
/* A row in the engine, without the machines. */
void script_row(struct script *, const char *key, const char *object);
/* What the engine holds of a key, as versions_text. */
const char *script_stored(struct script *, const char *key);
/* Print what the outbox holds, and empty it. */
void script_effects(struct script *);
/* The trace since the last time. */
const char *script_trace(struct script *);
/* Forget it. */
void script_skip(struct script *);

#define EXPECT(s, text) ck_assert_str_eq(script_trace(s), text)

const char *rc_text(int rc); /* "ok", "EQUORUM" */

#endif
