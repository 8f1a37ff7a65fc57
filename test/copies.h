/*
 * Copies of a ring that compare themselves (repair.c, repair_serve.c, repair_marks.c,
 * with trees.c and arrive.c below): up to three sets of machines with engines in
 * memory.  The test carries frames through the codec, stores rows, and moves the
 * clock.  A node is told by its number, 0 is 'a'.
 */
#ifndef DYN_TEST_COPIES_H
#define DYN_TEST_COPIES_H

#include "core/repair_private.h"
#include "test/core_script.h"

#define PARTITIONS 16
#define NODES_MAX 3

struct node {
	char letter;
	struct dyn_engine engine, *real; /* the one fails when told to */
	int scan_rc, get_rc, store_rc, meta_rc;
	const char *damaged; /* this key cannot be read */
	bool mute; /* it does not ask */
	bool hold_meta;      /* rows of META stay on their way */
	unsigned meta_held;  /* how many */
	bool hold; /* rows to store stay in `held` */
	struct rows *held;
	struct trees *trees;
	struct repair *r;
	struct arrivals arrivals;
	struct admit admit;
	struct outbox out;
	struct buf *told; /* FX_CATCHING */
	int marked;       /* the last FX_MARKED */
	unsigned saved, logs, pokes;
};

struct parcel {
	unsigned from, to;
	struct buf *frame;
	bool answer;
};

struct copies {
	unsigned count;
	struct node node[NODES_MAX];
	struct view *view;
	struct moment m;
	struct parcel queue[256];
	size_t head, tail;
	unsigned frames[256]; /* by kind */
	size_t bytes[256];
	unsigned drop[256];  /* so many of this kind get lost */
	bool cut[NODES_MAX]; /* nothing gets there, or from there */
	uint64_t last[256];  /* number of the last request, by kind */
};

struct counting {
	const struct node *other;
	unsigned rows, same;
};

void copies_write_row(
    struct node *n, enum dyn_space space, struct dyn_slice id, struct dyn_slice value);
/* A copy changes, and the tree is told. */
void copies_write_copy(struct node *n, struct dyn_slice name, struct dyn_slice value);
void copies_merge_copy(struct node *n, struct dyn_slice name, struct dyn_slice value);
void copies_start(struct copies *w, unsigned i, bool lost);
void copies_see_view(struct copies *w, unsigned i, struct view *v);
void copies_stop(struct node *n);
struct copies *copies_new(unsigned count, struct view *v);
/* Copies are filled by now. */
void copies_begin(struct copies *w);
struct copies *copies_of_two(void);
struct copies *copies_of_three(void);
void copies_free(struct copies *w);
/* A storage: all at once, or nothing. */
void copies_store(struct copies *w, struct node *n, struct rows *rows);
void copies_take_effects(struct copies *w, unsigned i);
int copies_receive(struct copies *w, unsigned from, unsigned to, struct buf *frame);
void copies_deliver(struct copies *w);
uint64_t copies_wake(const struct copies *w);
void copies_tick_all(struct copies *w);
void copies_pass(struct copies *w, uint64_t ns);
void copies_put(struct copies *w, unsigned i, const char *key, const char *object);
const char *copies_get(struct copies *w, unsigned i, const char *key);
unsigned copies_partition(const char *key);
/* A name of a partition, by number. */
struct dyn_slice copies_made_name(
    unsigned partition, unsigned number, unsigned char name[24]);
/* A version of an actor, of that many bytes. */
void copies_put_made(struct copies *w, unsigned i, unsigned partition, unsigned number,
    char actor, size_t len);
struct counting copies_count(struct copies *w, unsigned i, unsigned k);
/* Both hold the same bytes; returns how many rows. */
unsigned copies_same(struct copies *w, unsigned i, unsigned k);
bool copies_differ(struct copies *w, unsigned i, unsigned k);
struct repair_figures copies_figures(struct copies *w, unsigned i);
/* So many partitions are told to be catching up. */
unsigned copies_told(struct copies *w, unsigned i);
void copies_forget_counts(struct copies *w);
unsigned copies_all_frames(const struct copies *w);
/* Both roles have something to do. */
void copies_fill(struct copies *w);
void copies_fill_and_begin(struct copies *w);
/* Carried until a frame of that kind is on top; false: it never comes. */
bool copies_until_sent(struct copies *w, unsigned from, uint8_t kind);
/* Node a asks, node b does not. */
void copies_only_a_asks(struct copies *w);
int copies_hand(struct copies *w, unsigned from, unsigned to, uint64_t request,
    enum msg_kind kind, const union msg *msg);
/* A new machine over the same engine. */
void copies_restart(struct copies *w, unsigned i, bool lost);

#endif
