/* What the files of anti-entropy share. */
#ifndef DYN_REPAIR_PRIVATE_H
#define DYN_REPAIR_PRIVATE_H

#include "core/repair.h"

#define BEHIND_MAX 64

struct exchange {
	struct list link;
	struct dyn_id peer;
	enum { WAITING, ROOTS, NODES, ROWS, STORING, PUSHING } state;
	uint64_t number;       /* of the request in progress */
	uint64_t began;        /* number of its first request */
	uint64_t until;        /* WAITING: it begins; else patience */
	bool yielded;          /* theirs was to do it, this time */
	bool partial;          /* they did not list all that we share */
	bool wanted;           /* repair_view: still somebody to compare with */
	struct buf *roots;     /* what the peer listed */
	size_t roots_at;       /* how far we are in it */
	unsigned partition;
	uint64_t resting;      /* ROWS: it was busy; asked again then.  0 = asked */
	unsigned char bits[MERKLE_LEAVES / 8];
	struct buf *after;     /* names up to it are done; NULL: none is */
	struct buf *list;      /* ours that were asked about, until they are answered */
	struct buf *until_name; /* up to this one, if `cut` */
	bool cut;              /* our list did not reach the end */
	bool done;             /* the answer reached the end of our list */
	struct buf *last;      /* of the answer: it becomes `after` */
	struct buf *rows, *wants;
	size_t rows_at, wants_at; /* how far they were given back */
};

struct repair {
	struct repair_options o;
	struct view *view;
	struct list exchanges;
	unsigned active;
	uint64_t next_number;
	/* By partition. */
	unsigned partitions, n;
	unsigned char *catching; /* a bit each */
	size_t catching_len;     /* bytes */
	uint8_t *met;            /* catching: other owners by rank, a bit each */
	uint64_t *marked_at;     /* next_number when it was marked last */
	uint8_t *differs;        /* other owners by rank, a bit each */
	uint64_t *equal_at;      /* [partition * n + rank] */
	bool all;                /* to be marked as soon as it is known what is ours */
	bool foreign;            /* until the next view marks stay also where nothing is */
	unsigned catching_count;
	bool marks_old, marks_told_old;
	uint64_t save_at;
	unsigned saves;          /* on their way to the disk */
	int lost;                /* who waits for all of it to be there: FX_MARKED; 0 = none */
	/* BEHINDs that are answered once it is saved what they said. */
	struct behind { uint64_t conn, request; } behind[BEHIND_MAX];
	unsigned behind_count;
	uint64_t exchanges_ended, took, gave;
};

/* repair.c */
bool repair_shares(const struct repair *, unsigned partition, const struct dyn_id *peer);
struct exchange *repair_find(struct repair *, const struct dyn_id *);
/* It ends, for better or worse; the next begins then. */
void repair_end(struct repair *, struct exchange *, uint64_t again);
void repair_send(struct repair *, const struct dyn_id *, uint64_t request, enum msg_kind,
    const union msg *, struct outbox *);
/* Sum over the roots of all partitions shared with this peer, and how many. */
void repair_sum(const struct repair *, const struct dyn_id *peer, struct digest *sum,
    uint32_t *count);

/* repair_marks.c: catching up, and what is known to be equal. */
int repair_load_marks(struct repair *) DYN_CHECK;
void repair_free_marks(struct repair *);
/* The table is another. */
int repair_reset_marks(struct repair *, struct moment) DYN_CHECK;
void repair_mark(struct repair *, unsigned partition);
void repair_mark_all(struct repair *);
/* What an exchange of ours found that began with this request; 0: one of theirs. */
void repair_equal(struct repair *, unsigned partition, const struct dyn_id *, uint64_t began,
    struct moment);
void repair_equal_all(struct repair *, const struct dyn_id *, uint64_t began, struct moment);
void repair_differs(struct repair *, unsigned partition, const struct dyn_id *);
/* Marks whose reason is gone. */
void repair_look_at_marks(struct repair *);
/* After each event: tell and save what changed. */
void repair_settle(struct repair *, struct moment, struct outbox *);

/* repair_serve.c: the asked. */
void repair_answer_behind(struct repair *, int rc, struct outbox *);
int repair_serve(struct repair *, const struct dyn_id *from, uint64_t conn,
    const struct frame *, const union msg *, struct moment, struct outbox *) DYN_CHECK;
/* Rows of leaves after one name up to another (empty: the bound of the leaves), in
 * order, until visit says otherwise. */
int repair_scan(struct repair *, unsigned partition, const unsigned char *bits,
    struct dyn_slice after, struct dyn_slice until, dyn_engine_row *visit, void *arg) DYN_CHECK;

#endif
