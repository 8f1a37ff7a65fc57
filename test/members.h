/*
 * Members on a virtual clock and a lossy, slow network that is drawn from a seed.
 * Each time a view is published it is held against those of all others: could a read
 * by the one miss a write by the other?
 */
#ifndef DYN_TEST_MEMBERS_H
#define DYN_TEST_MEMBERS_H

#include "core/member.h"
#include "test/test.h"

#define NODES 32
#define MS NS_PER_MS

struct node {
	struct member *m;
	struct dyn_id id;
	char address[DYN_ADDRESS_MAX];
	uint64_t incarnation;
	struct view *view;  /* last published: survives a crash, as if on disk */
	struct digest last; /* table whose data was asked for */
	bool member, client, up, failed;
	int rc; /* of FX_FAIL */
	char text[256];
	unsigned side; /* of a split */
	unsigned warnings, errors, views, lost, stale;
};

enum what { DELIVER, UNREACHABLE, SYNCED };

struct happening {
	struct timer timer;
	enum what what;
	unsigned to, from;
	uint64_t life; /* incarnation of `to` that this is for */
	uint64_t conn;
	struct buf *frame;
	struct dyn_id id;
	const char *address;
	struct view *view; /* SYNCED */
};

struct sim {
	struct rng rng;
	uint64_t now;
	struct timers timers;
	struct node node[NODES];
	unsigned count;
	struct outbox out;
	unsigned loss; /* per cent */
	uint64_t delay_max;
	uint64_t trace;
	bool unsafe; /* a test that rolls a directory back */
	unsigned breaches;
	char *script; /* where a trace in words goes, or NULL */
	const char *ring;
	unsigned partitions, n;
};

struct sim *sim_new(uint64_t);
void sim_free(struct sim *);
struct moment sim_moment(const struct sim *);
void sim_carry_out(struct sim *, unsigned);
struct node *sim_node(struct sim *, const char *);
void sim_options(struct sim *, struct node *, const char *, struct member_options *);
void sim_begin(struct sim *, struct node *, const struct member_options *);
void sim_start(struct sim *, struct node *, const char *);
struct node *sim_add(struct sim *, const char *);
void sim_stop(struct node *);
void sim_run(struct sim *, uint64_t);
bool sim_agreed(const struct sim *);
uint64_t sim_agree(struct sim *, uint64_t);
uint64_t sim_epoch(const struct sim *);
void sim_check_quiet(const struct sim *);

#endif
