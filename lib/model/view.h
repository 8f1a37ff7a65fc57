/*
 * The view: what a node knows of its ring (paper 4.8.1).  Immutable once made,
 * reference counted; a new one replaces it as a whole.
 *
 *	settings   fixed when the ring was created
 *	records    one a member, ascending by id
 *	base       the table that answers reads: all its owners are complete
 *	current    the newest table; owners by it that base does not have are
 *	           still pulling.  base == current when nothing moves
 *
 * view_merge is the join of a semilattice: records by (incarnation, stamp,
 * bytes), tables by (epoch, digest), each larger.  So views converge whatever
 * the order of gossip.
 *
 * Changing owners without losing a read or a write (DESIGN 6): a write must
 * meet W among the owners by base and W among those by current; a read asks
 * the owners by base.  A member that holds all it owns by current says so in
 * its record (synced = that table's epoch and digest); when every owner by
 * current has, base becomes current (view_settle).
 */
#ifndef DYN_VIEW_H
#define DYN_VIEW_H

#include "model/table.h"

enum record_state { RECORD_JOINED = 1, RECORD_LEFT = 2 };

struct record {
	struct dyn_id id;
	uint64_t incarnation; /* raised at each start of the node */
	uint64_t stamp;       /* raised at each change of the record */
	uint8_t state;
	uint16_t weight;
	uint8_t workers;      /* threads that take data connections */
	char address[DYN_ADDRESS_MAX];
	char location[DYN_LOCATION_MAX]; /* "dc/zone/rack/machine", filled */
	uint64_t synced_epoch; /* 0 = never */
	struct digest synced;  /* digest of that table */
};

struct settings {
	struct dyn_id ring_id; /* all zero = not known yet (joining) */
	char name[DYN_BUCKET_MAX + 1];
	uint32_t partitions;
	uint8_t n;
	uint8_t hash;              /* enum dyn_hash */
	unsigned char secret[32];  /* seals contexts */
};

struct view {
	atomic_uint refs;
	struct settings settings;
	struct record *records;
	size_t count;
	struct table *base, *current; /* NULL only while joining */
	struct digest digest;         /* of the encoding */
};

int record_compare(const struct record *, const struct record *); /* same id: which wins */
/* Machine of a record as placement sees it: the whole location if it names a
 * machine; a loopback address counts as a machine of its own (DESIGN 4). */
void record_machine(const struct record *, struct digest *out);
/* First zone-level prefix ("dc/zone") of a location, as a digest. */
void record_zone(const struct record *, struct digest *out);

/* A ring of one: its creator. */
int view_create(struct view **out, const struct settings *, const struct record *self) DYN_CHECK;
/* A view that knows only its own record: what a node brings to a join. */
int view_joining(struct view **out, const char *ring_name, const struct record *self) DYN_CHECK;
/* The join of two views; *out may be a ref of a or b if nothing is new.
 * DYN_ERING if they are of different rings. A view with a zero ring id takes
 * the other's settings if the names agree. Does not compute tables. */
int view_merge(struct view **out, struct view *a, struct view *b) DYN_CHECK;
/* With this record put in (if newer). */
int view_with(struct view **out, struct view *, const struct record *) DYN_CHECK;
/* If the members differ from those of current: compute the next table.  If all
 * owners by current are synced to it: base = current.  *out may be a ref. */
int view_settle(struct view **out, struct view *) DYN_CHECK;

struct view *view_ref(struct view *);
void view_unref(struct view *);
const struct record *view_find(const struct view *, const struct dyn_id *);
bool view_equal(const struct view *, const struct view *);

/* The nodes a request deals with, as indexes into records. */
struct group {
	uint16_t member[DYN_N_MAX];
	unsigned count;
};
/* Who answers reads of a partition. */
void view_readers(const struct view *, unsigned partition, struct group *out);
/* Who must be asked to write: out[0] by base, and if they differ out[1] by
 * current.  Returns 1 or 2. */
unsigned view_writers(const struct view *, unsigned partition, struct group out[2]);
/* Does this member own the partition by base or current? */
bool view_owns(const struct view *, unsigned partition, const struct dyn_id *);

int view_encode(const struct view *, struct buf **out) DYN_CHECK;
/* Checks all (DYN_EPROTO). */
int view_decode(struct view **out, struct dyn_slice) DYN_CHECK;

#endif
