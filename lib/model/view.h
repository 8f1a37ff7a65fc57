/*
 * The view: what a node knows of its ring (paper 4.8.1).  Immutable once made,
 * reference counted; a new one replaces it as a whole.
 *
 *	settings   fixed when the ring was created
 *	records    one a member, ascending by id
 *	base       owners by it hold everything; writes must meet W among them
 *	reading    the table that answers reads: base or current
 *	current    the newest table; writes must meet W among its owners too.
 *	           Owners by it that base does not have are still pulling, as long
 *	           as reading is base.  All three are equal when nothing moves
 *
 * view_merge is the join of a semilattice: what a node says of itself by
 * (incarnation, stamp, bytes), its state by the order below, what was ordered of it by
 * (ordered, bytes), tables by (epoch, digest), each larger.  So views converge whatever
 * the order of gossip, and two who order something at the same time both get it.
 *
 * Changing owners without losing a read or a write (DESIGN 6) takes three
 * steps; each is taken when all members said in their records that they have
 * followed to the one before (view_settle).  Why that is enough, also for two
 * halves of a split that made different tables, is argued in view.c.
 *
 *	SETTLED   read base, write base                (base = reading = current)
 *	MOVING    read base, write base and current    members pull, then say:
 *	          synced = current
 *	SWITCHED  read current, write base and current members say: reading
 *	SETTLED   base = current
 *
 * The next table is computed in SETTLED only; who joins meanwhile waits for it.
 * It is made when the members have changed, or when one of them wants a fence
 * (record.collect).
 *
 * view.c holds the object and its algebra, view_codec.c its bytes.
 */
#ifndef DYN_VIEW_H
#define DYN_VIEW_H

#include "model/table.h"

/*
 * Membership is explicit (paper 4.8.1); a state only goes on, never back:
 *
 *	WAITING    it may be asked to join; owns nothing, is waited for by nobody
 *	JOINED     it has a seat in the next table
 *	LEAVING    it has none, and goes on until nothing needs it any more
 *	LEFT       nothing does (view_settle)
 *	FORGOTTEN  it is not coming back: what only it had is lost
 *
 * Who has left or was forgotten never comes back under its id.
 */
enum record_state {
	RECORD_WAITING = 1,
	RECORD_JOINED,
	RECORD_LEAVING,
	RECORD_LEFT,
	RECORD_FORGOTTEN
};

struct record {
	struct dyn_id id;
	uint8_t state;
	/* Orders: 0 and "" leave it at what the node says of itself. */
	uint64_t ordered;     /* raised by each */
	uint16_t ordered_weight;
	char ordered_location[DYN_LOCATION_MAX];
	/* The node's own word. */
	uint64_t incarnation; /* raised at each start of the node */
	uint64_t stamp;       /* raised at each change of its word */
	uint16_t weight;
	uint8_t workers;      /* threads that take data connections, 1..64 */
	char address[DYN_ADDRESS_MAX];
	/* "dc/zone/rack/machine"; labels may be empty.  The host fills in the
	 * machine, but not where the address is a loopback address. */
	char location[DYN_LOCATION_MAX];
	uint64_t synced_epoch; /* 0 = never */
	struct digest synced;  /* digest of that table */
	uint16_t less;         /* knowing that so many of its seats are forgotten */
	uint8_t reading;       /* 1: and all its reads go by that table */
	uint64_t collect;      /* epoch after which it wants a table_collect */
};

struct settings {
	struct dyn_id ring_id; /* all zero = not known yet (joining) */
	char name[DYN_BUCKET_MAX + 1];
	uint32_t partitions;       /* joining: 0 = as the ring has it */
	uint8_t n;                 /* likewise */
	uint8_t hash;              /* enum dyn_hash; likewise */
	unsigned char secret[32];  /* seals contexts */
};

enum view_phase { VIEW_JOINING, VIEW_MOVING, VIEW_SWITCHED, VIEW_SETTLED };

struct view {
	atomic_uint refs;
	struct settings settings;
	struct record *records;
	size_t count;
	struct table *base, *reading, *current; /* NULL only while joining */
	struct digest digest;                   /* of the encoding */
	uint16_t *member[3]; /* seat of base, reading, current -> record */
};

/* Of what a node says of itself, the larger is the newer. */
int record_compare(const struct record *, const struct record *);
/* With what was ordered. */
unsigned record_weight(const struct record *);
const char *record_location(const struct record *);
/* Its word is waited for: JOINED, LEAVING. */
bool record_is_member(const struct record *);
/* It is talked to: neither LEFT nor FORGOTTEN. */
bool record_is_here(const struct record *);
/* Machine of a record as placement sees it: the whole location if it names a
 * machine.  Else a node with a loopback address is a machine of its own (that
 * is a trial; DESIGN 4), and other nodes are told apart by the host in their
 * address. */
void record_machine(const struct record *, struct digest *out);
/* First zone-level prefix ("dc/zone") of a location, as a digest.  Labels that
 * are missing at its end and empty ones are the same. */
void record_zone(const struct record *, struct digest *out);
/* Are all fields in range?  Records of peers are checked by view_decode. */
bool record_valid(const struct record *);
/* Has it said synced to this table? */
bool record_synced(const struct record *, const struct table *);

/* A ring of one: its creator.  DYN_EINVAL: settings or record not valid. */
int view_create(struct view **out, const struct settings *,
    const struct record *self) DYN_CHECK;
/* A view that knows only its own record: what a node brings to a join.  Of the
 * settings, name, partitions, n and hash count: what it expects. */
int view_joining(struct view **out, const struct settings *,
    const struct record *self) DYN_CHECK;
/* The join of two views; *out may be a ref of a or b if nothing is new.
 * DYN_ERING if they are of different rings or expect other settings.  A view
 * with a zero ring id takes the other's settings.  Computes no tables.
 * DYN_ETOOBIG beyond LIMIT_MEMBERS. */
int view_merge(struct view **out, struct view *a, struct view *b) DYN_CHECK;
/* With this record put in (if newer). */
int view_with(struct view **out, struct view *, const struct record *) DYN_CHECK;
/* How many seats of current are forgotten. */
unsigned view_forgotten(const struct view *);
/* Has this member said synced to current, knowing of all that are forgotten? */
bool view_says_synced(const struct view *, const struct record *);
/* Does the present step wait for this member's word? */
bool view_awaits(const struct view *, const struct record *);
/* The table that would come next, were nothing moving; a ref of current if none
 * would. */
int view_next(struct table **out, const struct view *) DYN_CHECK;
/* What is ordered of a member. */
struct order {
	struct dyn_id id;
	uint8_t state;        /* it goes on to this; 0 = as it is */
	uint16_t weight;      /* 0 = as it is */
	const char *location; /* NULL = as it is; "" = as the node itself says */
};
/* The view with these orders.  DYN_ENOTFOUND: no such member; DYN_EINVAL: it has left,
 * or was forgotten, or what is ordered is not valid. */
int view_order(struct view **out, struct view *, const struct order *, size_t count) DYN_CHECK;
/* Take the steps above that are due: MOVING to SWITCHED to SETTLED, and, if
 * the members then differ from those of current, the next table.  *out may be
 * a ref.  A joining view stays as it is. */
int view_settle(struct view **out, struct view *) DYN_CHECK;

struct view *view_ref(struct view *);
void view_unref(struct view *);
const struct record *view_find(const struct view *, const struct dyn_id *);
bool view_equal(const struct view *, const struct view *);
enum view_phase view_phase(const struct view *);
/* Grows with each table and each step: which of two views of a ring is behind?
 * 4 * epoch + phase; 0 while joining. */
uint64_t view_stamp(const struct view *);

/* A stamp that nobody can have while this is the view of a member that has lost
 * nothing: further steps than MOVING to the next table wait for its word. */
bool view_stamp_is_ahead(const struct view *, uint64_t stamp);

/* The nodes a request deals with, as indexes into records. */
struct group {
	uint16_t member[DYN_N_MAX];
	unsigned count;
};
bool group_has(const struct view *, const struct group *, const struct dyn_id *);
/* Who answers reads of a partition. */
void view_readers(const struct view *, unsigned partition, struct group *out);
/* Who must be asked to write: out[0] by base, and if they differ out[1] by
 * current.  Returns 1 or 2. */
unsigned view_writers(const struct view *, unsigned partition, struct group out[2]);
/* Does this member own the partition by base or current? */
bool view_owns(const struct view *, unsigned partition, const struct dyn_id *);

int view_encode(const struct view *, struct buf **out) DYN_CHECK;
/* Checks all (DYN_EPROTO; DYN_EVERSION: written by a newer libdyn). */
int view_decode(struct view **out, struct dyn_slice) DYN_CHECK;

/* For view.c and view_codec.c: a view without digest and maps, and the end of
 * its making (refuses a seat without record: DYN_EPROTO). */
int view_alloc(struct view **out, const struct settings *, size_t records) DYN_CHECK;
int view_seal(struct view *) DYN_CHECK;
bool settings_valid(const struct settings *);

#endif
