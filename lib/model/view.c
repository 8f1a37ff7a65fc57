/*
 * Views: merging what nodes know, and moving from one table to the next
 * (paper 4.8.1; DESIGN 4 to 6).  Bytes are in view_codec.c.
 *
 * WHY A CHANGE OF OWNERS LOSES NOTHING
 *
 * Promise: a read that meets R owners by `reading` sees every write that was
 * acknowledged before it began and met W of the owners, R + W > N.
 *
 * Views only grow (merge is a join), a node publishes its view before it sends
 * it, and views are sent whole.  Hence causality (C): who knows a mark that m
 * set in its record knows every record that m knew when it set it.  And a
 * member is admitted with the whole view of who admits it.  Together: if T
 * changed to T' and p finds that all members it knows have followed to T',
 * then so has every member there is: whoever p does not know was admitted,
 * directly or by a chain, by a known one after that had followed, so with a
 * view that contained the step.
 *
 *  - MOVING to SWITCHED needs `synced` of all.  So every member writes by base
 *    and current from here on, and every owner by current holds all that was
 *    written before (it pulled from enough owners by base, each of which by
 *    then refused writers of an older table; core/pull.h).  So reads by current
 *    see everything.  Members that do not know it yet read by base: still met
 *    by every write, as writes go to both.
 *  - SWITCHED to SETTLED needs `reading` of all.  So nobody reads by base any
 *    more, and writes may stop to go there.  Members that do not know it yet
 *    write to both, which is more than needed.
 *  - A next table is made in SETTLED only.  Otherwise T' could be given up for
 *    T'' by some while others, who have seen that all are synced to T', start
 *    to read by it; and writes by (T, T'') need not meet those reads.
 *
 * Somebody forgotten (FORGOTTEN) is not waited for.  If it has a seat in T' and never
 * said synced to it, then of the copies by T' some may be empty that were counted on:
 * writes of before need not have reached the owners that are left.  So those pull the
 * partitions that it would have owned, as newcomers do, and members say synced once
 * more, `less` how many seats of T' they know to be forgotten; what others said before
 * they heard of it does not do (view_says_synced).  To give T' up for another table instead
 * would be wrong as long as T is read: somebody may have seen that all are synced.
 * What only the forgotten one had is lost; if it lives, it is as a client that was cut
 * off. Who has LEFT, or is WAITING, is one too: it makes no tables and admits nobody
 * (core/member.c), since nobody would wait for its word, and a table of its own could
 * win against one that is read by already. Nor does who is LEAVING: others may have
 * let it go. Only who was forgotten while it lives, cut off, and makes a table just
 * then, could do that; hence dead nodes only are to be forgotten.
 *
 * Forks.  Both halves of a split may make a table from T, say T' and T'' with
 * T' < T'' by (epoch, digest).  Who made T'' holds T'' or more ever after, so it
 * never says synced to T'; it is a member, so by (C) nobody ever finds that all
 * have.  So of the tables made from T only the largest that exists can be read
 * by, base and reading are never from the losing side, and pulling for the
 * loser is given up when its owners hear of the winner.  Who joined the losing
 * side is not in the winner; it gets its seat in the next table.  So epochs are
 * at most one for each change of members, plus none for a fork.
 *
 * Clients, and who has left, are not members: one that was cut off during a whole
 * change may want to read by a table that is not written to any more.  Replicas refuse
 * that (core/replica.c): an owner by the old table has said reading before it ceased to
 * be written to, so it is in SWITCHED at least.  A directory that was
 * rolled back forgets which marks it set; its incarnation is raised, and repair
 * (paper 4.7) is to bring its data up to date, after it was cleared if it is from
 * before a fence (STALE, in core/member.h).  A member that is down holds up
 * the steps until it is back, as nobody else can say what it would do; reads
 * and writes go on meanwhile.
 */
#include "model/view.h"

#include "model/placement.h"

int
record_compare(const struct record *a, const struct record *b)
{
	int c;

#define ORDER(field)                                                                     \
	if (a->field != b->field)                                                        \
	return a->field < b->field ? -1 : 1
	ORDER(incarnation);
	ORDER(stamp);
	/* Correct nodes never get here: any total order will do. */
	ORDER(weight);
	ORDER(workers);
	ORDER(synced_epoch);
	ORDER(reading);
	ORDER(less);
	ORDER(collect);
#undef ORDER
	c = digest_compare(&a->synced, &b->synced);
	if (c == 0)
		c = strcmp(a->address, b->address);
	return c != 0 ? c : strcmp(a->location, b->location);
}

/* Of what was ordered. */
static int
order_compare(const struct record *a, const struct record *b)
{
	if (a->ordered != b->ordered)
		return a->ordered < b->ordered ? -1 : 1;
	if (a->ordered_weight != b->ordered_weight)
		return a->ordered_weight < b->ordered_weight ? -1 : 1;
	return strcmp(a->ordered_location, b->ordered_location);
}

/* The join of two of the same node: each part by itself. */
static void
record_join(struct record *out, const struct record *a, const struct record *b)
{
	const struct record *order = order_compare(a, b) >= 0 ? a : b;
	uint8_t state = MAX(a->state, b->state);

	*out = record_compare(a, b) >= 0 ? *a : *b;
	out->state = state;
	out->ordered = order->ordered;
	out->ordered_weight = order->ordered_weight;
	memcpy(out->ordered_location, order->ordered_location, sizeof(out->ordered_location));
}

unsigned
record_weight(const struct record *r)
{
	return r->ordered_weight != 0 ? r->ordered_weight : r->weight;
}

const char *
record_location(const struct record *r)
{
	return r->ordered_location[0] != '\0' ? r->ordered_location : r->location;
}

bool
record_is_member(const struct record *r)
{
	return r->state == RECORD_JOINED || r->state == RECORD_LEAVING;
}

bool
record_is_here(const struct record *r)
{
	return r->state < RECORD_LEFT;
}

bool
record_synced(const struct record *r, const struct table *t)
{
	return r->synced_epoch == t->epoch && digest_compare(&r->synced, &t->digest) == 0;
}

/* 128 bits by which texts are told apart. */
static void
name_digest(const char *text, size_t len, struct digest *out)
{
	uint64_t a = hash_quick(slice(text, len));
	uint64_t b = mix64(a ^ len);

	/* From the other end, so that both halves do not collide together. */
	for (size_t i = len; i-- > 0;)
		b = mix64(b + (unsigned char)text[i]);
	memcpy(out->b, &a, 8);
	memcpy(out->b + 8, &b, 8);
}

/* Length of the first `labels` labels, or of all if there are fewer. */
static size_t
labels_len(const char *location, unsigned labels)
{
	size_t len = 0;

	for (; location[len] != '\0'; len++)
		if (location[len] == '/' && --labels == 0)
			break;
	return len;
}

static bool
loopback(const char *address)
{
	return strncmp(address, "127.", 4) == 0 || strncmp(address, "[::1]", 5) == 0 ||
	       strncmp(address, "localhost:", 10) == 0;
}

void
record_machine(const struct record *r, struct digest *out)
{
	const char *location = record_location(r), *port;
	size_t rack = labels_len(location, 3);

	if (location[rack] == '/' && location[rack + 1] != '\0') {
		name_digest(location, strlen(location), out);
	} else if (loopback(r->address)) {
		memcpy(out->b, r->id.bytes, sizeof(out->b));
	} else {
		port = strrchr(r->address, ':');
		name_digest(r->address,
		    port != NULL ? (size_t)(port - r->address) : strlen(r->address), out);
	}
}

/* The first labels of a location, without the empty ones at the end. */
static void
prefix_digest(const struct record *r, unsigned labels, struct digest *out)
{
	const char *location = record_location(r);
	size_t len = labels_len(location, labels);

	while (len > 0 && location[len - 1] == '/')
		len--;
	name_digest(location, len, out);
}

void
record_zone(const struct record *r, struct digest *out)
{
	prefix_digest(r, 2, out);
}

/* ------------------------------------------------------------------ making */

int
view_alloc(struct view **out, const struct settings *settings, size_t records)
{
	struct view *v;

	*out = NULL;
	v = mem_zalloc(sizeof(*v));
	if (v == NULL)
		return DYN_ENOMEM;
	atomic_init(&v->refs, 1);
	v->settings = *settings;
	v->count = records;
	v->records = mem_array(records, sizeof(*v->records));
	if (v->records == NULL) {
		view_unref(v);
		return DYN_ENOMEM;
	}
	*out = v;
	return 0;
}

struct view *
view_ref(struct view *v)
{
	atomic_fetch_add_explicit(&v->refs, 1, memory_order_relaxed);
	return v;
}

void
view_unref(struct view *v)
{
	if (v == NULL || atomic_fetch_sub_explicit(&v->refs, 1, memory_order_acq_rel) > 1)
		return;
	for (unsigned i = 0; i < ARRAY_LEN(v->member); i++)
		mem_free(v->member[i]);
	table_unref(v->base);
	table_unref(v->reading);
	table_unref(v->current);
	mem_free(v->records);
	mem_free(v);
}

static int
map_seats(const struct view *v, const struct table *t, uint16_t **out)
{
	uint16_t *map = mem_array(t->seats_count, sizeof(*map));

	*out = map;
	if (map == NULL)
		return DYN_ENOMEM;
	for (size_t i = 0; i < t->seats_count; i++) {
		const struct record *r = view_find(v, &t->seats[i].node);

		if (r == NULL)
			return DYN_EPROTO;
		map[i] = (uint16_t)(r - v->records);
	}
	return 0;
}

int
view_seal(struct view *v)
{
	const struct table *tables[] = {v->base, v->reading, v->current};
	struct buf *bytes;
	int rc;

	for (unsigned i = 0; v->base != NULL && i < ARRAY_LEN(tables); i++) {
		DYN_ASSERT(tables[i] != NULL); /* with base come the others */
		rc = map_seats(v, tables[i], &v->member[i]);
		if (rc != 0)
			return rc;
	}
	rc = view_encode(v, &bytes);
	if (rc != 0)
		return rc;
	rc = hash_digest(buf_slice(bytes), &v->digest);
	buf_unref(bytes);
	return rc;
}

/* Seal and hand out, or free. */
static int
finish(struct view **out, struct view *v)
{
	int rc = view_seal(v);

	if (rc == 0)
		*out = v;
	else
		view_unref(v);
	return rc;
}

static struct table *
larger(struct table *a, struct table *b)
{
	struct table *t = table_compare(a, b) >= 0 ? a : b;

	return t != NULL ? table_ref(t) : NULL;
}

static void
copy_tables(struct view *to, const struct view *from)
{
	to->base = larger(from->base, NULL);
	to->reading = larger(from->reading, NULL);
	to->current = larger(from->current, NULL);
}

static void
seat_of(const struct record *r, struct seat *out)
{
	struct digest d;

	out->node = r->id;
	out->weight = record_weight(r);
	record_machine(r, &out->machine);
	record_zone(r, &d);
	out->zone = load_be64(d.b);
	prefix_digest(r, 3, &d);
	out->rack = load_be64(d.b);
}

static int
check_new(const struct settings *s, const struct record *self, bool joining)
{
	static const struct dyn_id none;
	bool no_ring = memcmp(s->ring_id.bytes, none.bytes, sizeof(none.bytes)) == 0;

	if (no_ring != joining || !settings_valid(s) || !record_valid(self) ||
	    (self->state != RECORD_JOINED && !joining))
		return DYN_EINVAL;
	return 0;
}

int
view_create(struct view **out, const struct settings *settings, const struct record *self)
{
	struct record *r;
	struct seat seat;
	struct view *v;
	int rc;

	*out = NULL;
	rc = check_new(settings, self, false);
	if (rc == 0)
		rc = view_alloc(&v, settings, 1);
	if (rc != 0)
		return rc;
	r = &v->records[0];
	*r = *self;
	seat_of(r, &seat);
	rc = table_next(&v->base, NULL, settings->partitions, settings->n, &seat, 1);
	if (rc != 0) {
		view_unref(v);
		return rc;
	}
	v->reading = table_ref(v->base);
	v->current = table_ref(v->base);
	r->synced_epoch = v->base->epoch;
	r->synced = v->base->digest;
	r->reading = 1;
	return finish(out, v);
}

int
view_joining(
    struct view **out, const struct settings *settings, const struct record *self)
{
	struct settings expected = *settings;
	struct view *v;
	int rc;

	*out = NULL;
	memset(&expected.ring_id, 0, sizeof(expected.ring_id));
	memset(expected.secret, 0, sizeof(expected.secret));
	rc = check_new(&expected, self, true);
	if (rc == 0)
		rc = view_alloc(&v, &expected, 1);
	if (rc != 0)
		return rc;
	v->records[0] = *self;
	return finish(out, v);
}

/* ----------------------------------------------------------------- merging */

/* One expects x (0: whatever there is), the other y. */
#define AGREE(x, y) ((x) == 0 || (y) == 0 || (x) == (y))

static bool
settings_equal(const struct settings *a, const struct settings *b)
{
	return memcmp(a->ring_id.bytes, b->ring_id.bytes, sizeof(a->ring_id.bytes)) ==
		   0 &&
	       strcmp(a->name, b->name) == 0 && a->partitions == b->partitions &&
	       a->n == b->n && a->hash == b->hash &&
	       memcmp(a->secret, b->secret, sizeof(a->secret)) == 0;
}

/* A hash of 0 is "whatever" to who joins, and SHA-256 to a ring. */
static bool
hashes_agree(const struct settings *a, bool a_none, const struct settings *b, bool b_none)
{
	return a->hash == b->hash || (a_none && a->hash == 0) || (b_none && b->hash == 0);
}

static int
merge_settings(struct settings *out, const struct settings *a, const struct settings *b)
{
	static const struct dyn_id none;
	bool a_none = memcmp(a->ring_id.bytes, none.bytes, sizeof(none.bytes)) == 0;
	bool b_none = memcmp(b->ring_id.bytes, none.bytes, sizeof(none.bytes)) == 0;

	if (strcmp(a->name, b->name) != 0)
		return DYN_ERING;
	if (!a_none && !b_none) {
		*out = *a;
		return settings_equal(a, b) ? 0 : DYN_ERING;
	}
	if (!AGREE(a->partitions, b->partitions) || !AGREE(a->n, b->n) ||
	    !hashes_agree(a, a_none, b, b_none))
		return DYN_ERING;
	*out = a_none ? *b : *a;
	if (a_none && b_none) {
		out->partitions = MAX(a->partitions, b->partitions);
		out->n = MAX(a->n, b->n);
		out->hash = MAX(a->hash, b->hash);
	}
	return 0;
}

/* Records of both, ascending, of each the winner; returns how many. */
static size_t
merge_records(struct record *out, const struct view *a, const struct view *b)
{
	size_t i = 0, j = 0, count = 0;

	while (i < a->count || j < b->count) {
		int c;

		if (i == a->count)
			c = 1;
		else if (j == b->count)
			c = -1;
		else
			c = memcmp(a->records[i].id.bytes, b->records[j].id.bytes, 16);
		if (c < 0) {
			out[count++] = a->records[i++];
		} else if (c > 0) {
			out[count++] = b->records[j++];
		} else {
			record_join(&out[count++], &a->records[i++], &b->records[j++]);
		}
	}
	return count;
}

int
view_merge(struct view **out, struct view *a, struct view *b)
{
	struct settings settings;
	struct view *v;
	int rc;

	*out = NULL;
	if (view_equal(a, b)) {
		*out = view_ref(a);
		return 0;
	}
	rc = merge_settings(&settings, &a->settings, &b->settings);
	if (rc == 0)
		rc = view_alloc(&v, &settings, a->count + b->count);
	if (rc != 0)
		return rc;
	v->count = merge_records(v->records, a, b);
	if (v->count > LIMIT_MEMBERS) {
		view_unref(v);
		return DYN_ETOOBIG;
	}
	v->base = larger(a->base, b->base);
	v->reading = larger(a->reading, b->reading);
	v->current = larger(a->current, b->current);
	rc = finish(&v, v);
	if (rc != 0)
		return rc;
	if (view_equal(v, a) || view_equal(v, b)) {
		*out = view_ref(view_equal(v, a) ? a : b);
		view_unref(v);
	} else {
		*out = v;
	}
	return 0;
}

int
view_with(struct view **out, struct view *v, const struct record *record)
{
	struct view *one;
	int rc;

	*out = NULL;
	if (!record_valid(record))
		return DYN_EINVAL;
	rc = view_alloc(&one, &v->settings, 1);
	if (rc != 0)
		return rc;
	one->records[0] = *record;
	/* Not a view to be sent: tables without their members' records. */
	rc = view_merge(out, v, one);
	view_unref(one);
	return rc;
}

static int
give_order(struct record *r, const struct order *o)
{
	if (!record_is_here(r) && o->state <= r->state)
		return DYN_EINVAL;
	r->state = MAX(r->state, o->state);
	if (o->weight == 0 && o->location == NULL)
		return 0;
	r->ordered++;
	if (o->weight != 0)
		r->ordered_weight = o->weight;
	if (o->location == NULL)
		return 0;
	if (strlen(o->location) >= sizeof(r->ordered_location))
		return DYN_EINVAL;
	memset(r->ordered_location, 0, sizeof(r->ordered_location));
	memcpy(r->ordered_location, o->location, strlen(o->location));
	return 0;
}

int
view_order(struct view **out, struct view *v, const struct order *orders, size_t count)
{
	struct view *now = view_ref(v);
	int rc = 0;

	*out = NULL;
	for (size_t i = 0; i < count && rc == 0; i++) {
		const struct record *r = view_find(now, &orders[i].id);
		struct record next;
		struct view *with;

		if (r == NULL) {
			rc = DYN_ENOTFOUND;
			break;
		}
		next = *r;
		rc = give_order(&next, &orders[i]);
		if (rc == 0)
			rc = view_with(&with, now, &next);
		if (rc != 0)
			break;
		view_unref(now);
		now = with;
	}
	if (rc == 0)
		*out = now;
	else
		view_unref(now);
	return rc;
}

/* ---------------------------------------------------------------- settling */

enum view_phase
view_phase(const struct view *v)
{
	if (v->current == NULL)
		return VIEW_JOINING;
	if (table_compare(v->base, v->current) == 0)
		return VIEW_SETTLED;
	return table_compare(v->reading, v->current) == 0 ? VIEW_SWITCHED : VIEW_MOVING;
}

uint64_t
view_stamp(const struct view *v)
{
	return v->current != NULL ? v->current->epoch * 4 + view_phase(v) : 0;
}

bool
view_stamp_is_ahead(const struct view *v, uint64_t stamp)
{
	return v->current != NULL && stamp > 4 * (v->current->epoch + 1) + VIEW_MOVING;
}

unsigned
view_forgotten(const struct view *v)
{
	unsigned count = 0;

	for (size_t i = 0; i < v->current->seats_count; i++) {
		const struct record *r = view_find(v, &v->current->seats[i].node);

		count += r != NULL && r->state == RECORD_FORGOTTEN;
	}
	return count;
}

bool
view_says_synced(const struct view *v, const struct record *r)
{
	return record_synced(r, v->current) && r->less >= view_forgotten(v);
}

/* Have all members followed to current: hold its data, or also read by it? */
static bool
all_followed(const struct view *v, bool reading)
{
	unsigned forgotten = view_forgotten(v);
	size_t members = 0;

	for (size_t i = 0; i < v->count; i++) {
		const struct record *r = &v->records[i];

		if (!record_is_member(r))
			continue;
		members++;
		if (!record_synced(r, v->current) || (reading && r->reading == 0) ||
		    (!reading && r->less < forgotten))
			return false;
	}
	return members > 0;
}

/* Seats of all members; *out is to be freed. */
static int
seats_of(const struct view *v, struct seat **out, size_t *count)
{
	struct seat *seats = mem_array(v->count, sizeof(*seats));

	*out = seats;
	*count = 0;
	if (seats == NULL)
		return DYN_ENOMEM;
	for (size_t i = 0; i < v->count; i++)
		if (v->records[i].state == RECORD_JOINED)
			seat_of(&v->records[i], &seats[(*count)++]);
	return 0;
}

static void
replace(struct table **table, struct table *by)
{
	table_unref(*table);
	*table = by;
}

/* Does a member want a fence after the current table? */
static bool
fence_wanted(const struct view *v)
{
	for (size_t i = 0; i < v->count; i++)
		if (record_is_member(&v->records[i]) &&
		    v->records[i].collect == v->current->epoch)
			return true;
	return false;
}

bool
view_awaits(const struct view *v, const struct record *r)
{
	if (!record_is_member(r) || view_phase(v) == VIEW_SETTLED)
		return false;
	return !view_says_synced(v, r) || (view_phase(v) == VIEW_SWITCHED && r->reading == 0);
}

int
view_next(struct table **out, const struct view *v)
{
	struct seat *seats;
	size_t count;
	int rc;

	*out = NULL;
	rc = seats_of(v, &seats, &count);
	if (rc == 0 && count > 0 && table_outdated(v->current, seats, count))
		rc = table_next(out, v->current, 0, 0, seats, count);
	else if (rc == 0)
		*out = table_ref(v->current);
	mem_free(seats);
	return rc;
}

/* In SETTLED: the next table, if members differ from those of current, or one of
 * them wants it. */
static int
next_table(struct view *v, bool *changed)
{
	struct table *next = NULL;
	int rc = view_next(&next, v);

	if (rc == 0 && next == v->current && fence_wanted(v)) {
		table_unref(next);
		rc = table_collect(&next, v->current);
	}
	if (rc != 0)
		return rc;
	*changed = *changed || next != v->current;
	replace(&v->current, next);
	return 0;
}

/* In SETTLED, and nothing comes next: who has no seat any more is needed no more. */
static void
let_go(struct view *v, bool *changed)
{
	for (size_t i = 0; i < v->count; i++) {
		struct record *r = &v->records[i];

		if (r->state != RECORD_LEAVING || table_find(v->current, &r->id) >= 0)
			continue;
		r->state = RECORD_LEFT;
		*changed = true;
	}
}

static int
take_steps(struct view *v, bool *changed)
{
	if (view_phase(v) == VIEW_MOVING && all_followed(v, false)) {
		replace(&v->reading, table_ref(v->current));
		*changed = true;
	}
	if (view_phase(v) == VIEW_SWITCHED && all_followed(v, true)) {
		replace(&v->base, table_ref(v->current));
		*changed = true;
	}
	if (view_phase(v) == VIEW_SETTLED) {
		int rc = next_table(v, changed);

		if (rc != 0)
			return rc;
	}
	if (view_phase(v) == VIEW_SETTLED)
		let_go(v, changed);
	return 0;
}

int
view_settle(struct view **out, struct view *v)
{
	bool changed = false;
	struct view *next;
	int rc;

	*out = NULL;
	if (v->current == NULL) {
		*out = view_ref(v);
		return 0;
	}
	rc = view_alloc(&next, &v->settings, v->count);
	if (rc != 0)
		return rc;
	memcpy(next->records, v->records, v->count * sizeof(*v->records));
	copy_tables(next, v);
	rc = take_steps(next, &changed);
	if (rc == 0 && changed)
		return finish(out, next);
	view_unref(next);
	if (rc == 0)
		*out = view_ref(v);
	return rc;
}

/* --------------------------------------------------------------- questions */

const struct record *
view_find(const struct view *v, const struct dyn_id *id)
{
	size_t low = 0, high = v->count;

	while (low < high) {
		size_t mid = (low + high) / 2;
		int c = memcmp(v->records[mid].id.bytes, id->bytes, sizeof(id->bytes));

		if (c == 0)
			return &v->records[mid];
		if (c < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return NULL;
}

bool
view_equal(const struct view *a, const struct view *b)
{
	return digest_compare(&a->digest, &b->digest) == 0;
}

static void
group_of(
    const struct table *t, const uint16_t *member, unsigned partition, struct group *out)
{
	const uint16_t *owners;

	out->count = table_owners(t, partition, &owners);
	for (unsigned i = 0; i < out->count; i++)
		out->member[i] = member[owners[i]];
}

bool
group_has(const struct view *v, const struct group *g, const struct dyn_id *id)
{
	for (unsigned i = 0; i < g->count; i++)
		if (memcmp(&v->records[g->member[i]].id, id, sizeof(*id)) == 0)
			return true;
	return false;
}

void
view_readers(const struct view *v, unsigned partition, struct group *out)
{
	group_of(v->reading, v->member[1], partition, out);
}

static bool
in_group(const struct group *g, unsigned member)
{
	for (unsigned i = 0; i < g->count; i++)
		if (g->member[i] == member)
			return true;
	return false;
}

unsigned
view_writers(const struct view *v, unsigned partition, struct group out[2])
{
	group_of(v->base, v->member[0], partition, &out[0]);
	if (view_phase(v) == VIEW_SETTLED)
		return 1;
	group_of(v->current, v->member[2], partition, &out[1]);
	if (out[0].count != out[1].count)
		return 2;
	for (unsigned i = 0; i < out[1].count; i++)
		if (!in_group(&out[0], out[1].member[i]))
			return 2;
	return 1;
}

static bool
table_has(const struct table *t, unsigned partition, const struct dyn_id *id)
{
	int seat = table_find(t, id);

	return seat >= 0 && table_owns(t, partition, (unsigned)seat);
}

bool
view_owns(const struct view *v, unsigned partition, const struct dyn_id *id)
{
	return v->current != NULL && (table_has(v->base, partition, id) ||
					 table_has(v->current, partition, id));
}
