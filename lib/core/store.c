/* The overlay, the open batch, minting and merging. */
#include "core/store.h"

#include "core/hint.h"

struct entry {
	struct map_link link;
	enum dyn_space space;
	struct buf *id, *object; /* an empty object: no row */
	uint64_t number; /* of the batch that holds the newest object */
	size_t index;    /* its row there, while that batch is open */
	struct digest digest; /* of the newest object */
	bool seen;       /* somebody was given what is not committed yet */
};

void
batch_free(struct batch *b)
{
	if (b == NULL)
		return;
	for (size_t i = 0; i < 2 * b->count; i++)
		buf_unref(b->hold[i]);
	mem_free(b->hold);
	mem_free(b->rows);
	changes_free(b->changes);
	mem_free(b);
}

struct changes *
batch_changes(struct batch *b)
{
	struct changes *c = b->changes;
	size_t kept = 0;

	b->changes = NULL;
	for (size_t i = 0; i < c->count; i++) {
		if (c->list[i].lost ||
		    digest_compare(&c->list[i].before, &c->list[i].after) != 0) {
			c->list[kept++] = c->list[i];
			continue;
		}
		buf_unref(c->list[i].name);
		mem_free(c->list[i].room);
	}
	c->count = kept;
	if (kept > 0)
		return c;
	changes_free(c);
	return NULL;
}

struct place
place_of_hint(const struct dyn_id *owner, struct dyn_slice name, unsigned char space[HINT_ID_MAX])
{
	DYN_ASSERT(name.len <= KEY_NAME_MAX);
	memcpy(space, owner->bytes, sizeof(owner->bytes));
	memcpy(space + sizeof(owner->bytes), name.data, name.len);
	return (struct place){ DYN_SPACE_HINT, slice(space, sizeof(owner->bytes) + name.len) };
}

bool
hint_split(struct dyn_slice id, struct dyn_id *owner, struct dyn_slice *name)
{
	if (id.len < sizeof(owner->bytes))
		return false;
	memcpy(owner->bytes, id.data, sizeof(owner->bytes));
	*name = slice((const unsigned char *)id.data + sizeof(owner->bytes),
	    id.len - sizeof(owner->bytes));
	return name_split(*name, NULL, NULL);
}

static void
add_mine(struct store *s, struct actor a)
{
	if (s->mine_count == STORE_ACTORS)
		memmove(s->mine, s->mine + 1, --s->mine_count * sizeof(s->mine[0]));
	s->mine[s->mine_count++] = a;
}

int
store_init(struct store *s, struct dyn_engine *engine, struct actor actor, bool kept,
    struct actor standin, uint64_t skew_max_ms)
{
	memset(s, 0, sizeof(*s));
	s->engine = engine;
	s->actor = actor;
	s->standin = standin;
	if (!kept)
		add_mine(s, actor);
	add_mine(s, standin);
	s->skew_max_ms = skew_max_ms;
	s->unsynced = true; /* of what an earlier process wrote, nobody knows */
	return map_init(&s->overlay, 1024);
}

static void
entry_free(struct store *s, struct entry *e)
{
	map_remove(&s->overlay, &e->link);
	s->overlay_bytes -= sizeof(*e) + e->id->len + e->object->len;
	buf_unref(e->id);
	buf_unref(e->object);
	mem_free(e);
}

static void
forget(void *arg, struct map_link *l)
{
	struct entry *e = CONTAINER_OF(l, struct entry, link);
	struct store *s = arg;

	s->exposed = s->exposed || e->seen;
	entry_free(s, e);
}

void
store_fini(struct store *s)
{
	map_each(&s->overlay, forget, s);
	map_fini(&s->overlay);
	batch_free(s->open);
	s->open = NULL;
	dyn_buffer_free(&s->scratch);
}

/* A name starts with its hash, a hint with its owner. */
static uint64_t
place_hash(struct place at)
{
	const unsigned char *p = at.id.data;

	DYN_ASSERT(at.id.len >= (at.space == DYN_SPACE_HINT ? 32u : 16u));
	return at.space == DYN_SPACE_HINT ? load_be64(p) ^ load_be64(p + 16) : load_be64(p);
}

static struct entry *
find(const struct store *s, struct place at)
{
	struct map_link *l;

	for (l = map_first(&s->overlay, place_hash(at)); l != NULL; l = map_next(l)) {
		struct entry *e = CONTAINER_OF(l, struct entry, link);

		if (e->space == at.space && slice_equal(buf_slice(e->id), at.id))
			return e;
	}
	return NULL;
}

/* The newest object, borrowed until the next call. */
static int
look(struct store *s, struct place at, struct entry **entry, struct dyn_slice *now)
{
	int rc;

	*now = slice(NULL, 0);
	*entry = find(s, at);
	if (*entry != NULL) {
		*now = buf_slice((*entry)->object);
		return 0;
	}
	s->scratch.len = 0;
	rc = s->engine->get(s->engine->self, at.space, at.id, &s->scratch);
	if (rc == DYN_ENOTFOUND)
		return 0;
	if (rc == 0)
		*now = slice(s->scratch.data, s->scratch.len);
	else
		s->read_error = rc;
	if (rc == DYN_ECORRUPT && at.space == DYN_SPACE_DATA) {
		s->damaged = true;
		memcpy(s->damaged_hash, at.id.data, sizeof(s->damaged_hash));
	}
	return rc;
}

const unsigned char *
store_damaged(struct store *s)
{
	bool damaged = s->damaged;

	s->damaged = false;
	return damaged ? s->damaged_hash : NULL;
}

int
store_get(struct store *s, struct place at, struct buf **out)
{
	struct entry *e;
	struct dyn_slice now;
	int rc;

	*out = NULL;
	rc = look(s, at, &e, &now);
	if (rc != 0)
		return rc;
	if (e != NULL) {
		e->seen = true;
		*out = now.len > 0 ? buf_ref(e->object) : NULL;
		return 0;
	}
	if (now.len == 0)
		return 0;
	*out = buf_copy(now.data, now.len);
	return *out != NULL ? 0 : DYN_ENOMEM;
}

/* A batch that could not be given its first row: nobody may wait for it. */
static void
drop_empty(struct store *s)
{
	if (s->open == NULL || s->open->count > 0)
		return;
	batch_free(s->open);
	s->open = NULL;
}

/* Room for one more row in the open batch. */
static int
open_batch(struct store *s)
{
	struct batch *b = s->open;
	size_t cap;
	void *p;

	if (b == NULL) {
		b = mem_zalloc(sizeof(*b));
		if (b != NULL)
			b->changes = mem_zalloc(sizeof(*b->changes));
		if (b == NULL || b->changes == NULL) {
			mem_free(b);
			return DYN_ENOMEM;
		}
		b->number = s->given + 1;
		b->generation = s->generation;
		b->durability = DYN_DURABLE_MEMORY;
		s->open = b;
	}
	if (b->count < b->cap)
		return 0;
	cap = b->cap == 0 ? 16 : 2 * b->cap;
	p = mem_realloc(b->rows, cap * sizeof(*b->rows));
	if (p == NULL)
		return DYN_ENOMEM;
	b->rows = p;
	p = mem_realloc(b->hold, 2 * cap * sizeof(struct buf *));
	if (p == NULL)
		return DYN_ENOMEM;
	b->hold = p;
	p = mem_realloc(b->changes->list, cap * sizeof(struct change));
	if (p == NULL)
		return DYN_ENOMEM;
	b->changes->list = p;
	b->cap = cap;
	return 0;
}

static struct entry *
entry_new(struct store *s, struct place at, struct buf *object)
{
	struct entry *e = mem_zalloc(sizeof(*e));

	if (e == NULL)
		return NULL;
	e->id = buf_copy(at.id.data, at.id.len);
	if (e->id == NULL) {
		mem_free(e);
		return NULL;
	}
	e->space = at.space;
	e->object = buf_ref(object);
	map_add(&s->overlay, &e->link, place_hash(at));
	s->overlay_bytes += sizeof(*e) + at.id.len + object->len;
	return e;
}

/* An empty object removes the row. */
static void
set_value(struct batch *b, size_t i, struct buf *object)
{
	b->hold[2 * i + 1] = buf_ref(object);
	b->rows[i].value = object->len > 0 ? buf_slice(object) : slice(NULL, 0);
}

static void
set_row(struct batch *b, size_t i, struct entry *e, const struct digest *before, size_t bytes,
    struct due *room)
{
	struct change *c = &b->changes->list[b->changes->count++];

	DYN_ASSERT(b->changes->count == i + 1);
	c->name = buf_ref(e->id);
	c->space = e->space;
	c->before = *before;
	c->bytes_before = (uint32_t)bytes;
	c->lost = false;
	c->room = room;
	b->hold[2 * i] = buf_ref(e->id);
	set_value(b, i, e->object);
	b->rows[i].space = e->space;
	b->rows[i].id = buf_slice(e->id);
	b->bytes += e->id->len + e->object->len;
}

static bool
is_new_hint(struct place at, size_t bytes)
{
	return at.space == DYN_SPACE_HINT && bytes == 0;
}

/* The key had now and has a new object: into overlay and open batch.  A key
 * changed twice in one batch is one row. */
static int
change(struct store *s, struct entry *e, struct place at, struct dyn_slice now,
    struct buf *object, uint64_t *number)
{
	struct digest before;
	size_t bytes = now.len; /* it may borrow from what goes now */
	struct due *room = NULL;
	struct batch *b;
	int rc;

	if (e == NULL)
		row_digest(at.id, now, &before);
	else
		before = e->digest;

	rc = open_batch(s);
	if (rc != 0) {
		drop_empty(s);
		return rc;
	}
	b = s->open;
	if (is_new_hint(at, bytes) && (e == NULL || e->number != b->number)) {
		room = hint_room();
		if (room == NULL) {
			drop_empty(s);
			return DYN_ENOMEM;
		}
	}
	if (e == NULL) {
		e = entry_new(s, at, object);
		if (e == NULL) {
			mem_free(room);
			drop_empty(s);
			return DYN_ENOMEM;
		}
	} else {
		s->overlay_bytes += object->len - e->object->len;
		buf_unref(e->object);
		e->object = buf_ref(object);
	}
	if (e->number == b->number) {
		b->bytes += object->len - b->hold[2 * e->index + 1]->len;
		buf_unref(b->hold[2 * e->index + 1]);
		set_value(b, e->index, object);
	} else {
		e->index = b->count++;
		e->number = b->number;
		set_row(b, e->index, e, &before, bytes, room);
	}
	row_digest(at.id, buf_slice(object), &e->digest);
	b->changes->list[e->index].after = e->digest;
	b->changes->list[e->index].bytes_after = (uint32_t)object->len;
	b->changes->list[e->index].old = at.space == DYN_SPACE_DATA &&
	    object_old(buf_slice(object), 0) != OBJECT_FRESH;
	*number = b->number;
	return 0;
}

/* Somebody waits for the open batch with this durability. */
static void
require(struct store *s, enum dyn_durability d)
{
	/* DISK < OS < MEMORY: smaller is stronger. */
	if (s->open != NULL && d < s->open->durability)
		s->open->durability = d;
}

/* A request found the key unchanged: it has to wait for the batch its newest
 * object is in, if that is still on its way; and if that object went, or goes,
 * to storage without fsync while this request wants it on disk, the row is
 * written once more. */
static int
unchanged(struct store *s, struct entry *e, struct place at, struct dyn_slice now,
    enum dyn_durability d, struct stored *out)
{
	bool open = e != NULL && s->open != NULL && e->number == s->open->number;
	bool weak = e != NULL ? !open && e->number <= s->weak : s->unsynced;

	out->number = e != NULL ? e->number : 0;
	out->object = e != NULL ? buf_ref(e->object) : buf_copy(now.data, now.len);
	if (out->object == NULL)
		return DYN_ENOMEM;
	if (weak && d == DYN_DURABLE_DISK) {
		int rc = change(s, e, at, now, out->object, &out->number);

		if (rc != 0) {
			buf_unref(out->object);
			out->object = NULL;
			return rc;
		}
		open = true;
	}
	if (open)
		require(s, d);
	return 0;
}

/* The key has a new object, whose reference is taken over. */
static int
changed(struct store *s, struct entry *e, struct place at, struct dyn_slice now,
    struct buf *object, enum dyn_durability d, struct stored *out)
{
	int rc;

	if (object == NULL)
		return DYN_ENOMEM;
	rc = change(s, e, at, now, object, &out->number);
	if (rc != 0) {
		buf_unref(object);
		return rc;
	}
	require(s, d);
	out->changed = true;
	out->object = object;
	return 0;
}

/* Last write wins: a stamp far in the future would win for ever (PAINS 9). */
static int
check_times(struct store *s, struct dyn_slice bytes, uint64_t wall_ms)
{
	struct object o;
	int rc = object_decode(&o, bytes);

	for (size_t i = 0; rc == 0 && i < o.count; i++) {
		int seen = hlc_see(&s->hlc, o.values[i].time, wall_ms, s->skew_max_ms);

		if (seen != 0 && (o.flags & OBJECT_LWW) != 0)
			rc = seen;
	}
	object_fini(&o);
	return rc;
}

static int
merge(struct store *s, struct place at, struct dyn_slice object, enum dyn_durability d,
    struct stored *out)
{
	struct dyn_slice now;
	struct buf *merged = NULL;
	struct entry *e;
	int how, rc;

	rc = look(s, at, &e, &now);
	if (rc != 0)
		return rc;
	how = object_merge(now, object, &merged);
	if (how < 0)
		return how;
	s->skewed += how == OBJECT_SKEWED;
	if (how == OBJECT_SAME || how == OBJECT_LEFT)
		return unchanged(s, e, at, now, d, out);
	if (how == OBJECT_RIGHT)
		merged = buf_copy(object.data, object.len);
	return changed(s, e, at, now, merged, d, out);
}

int
store_merge(struct store *s, struct place at, struct dyn_slice object, enum dyn_durability d,
    uint64_t wall_ms, struct stored *out)
{
	int rc;

	memset(out, 0, sizeof(*out));
	rc = check_times(s, object, wall_ms);
	return rc == 0 ? merge(s, at, object, d, out) : rc;
}

int
store_take_in(struct store *s, struct dyn_slice name, struct dyn_slice object,
    uint64_t wall_ms, struct stored *out)
{
	int rc;

	memset(out, 0, sizeof(*out));
	rc = check_times(s, object, wall_ms);
	if (rc != 0 && rc != DYN_ECLOCK)
		return rc;
	return merge(s, place_of_copy(name), object, DYN_DURABLE_DISK, out);
}

/* Under the actor of that space, and under a new one if copy or context know
 * events of it that this copy does not hold: it lost them.  Never mint under
 * that actor again (DESIGN 7). */
static int
put_event(struct store *s, struct place at, struct dyn_slice now, struct mint *m,
    struct buf **minted, struct dot *dot)
{
	bool standin = at.space == DYN_SPACE_HINT;
	int rc;

	m->actor = standin ? s->standin : s->actor;
	m->floor = standin ? 0 : s->floor;
	rc = object_put(now, m, minted, dot);
	if (rc == DYN_ECORRUPT) {
		store_renew(s);
		m->actor = standin ? s->standin : s->actor;
		m->floor = 0;
		rc = object_put(now, m, minted, dot);
	}
	s->standin_used = s->standin_used || standin;
	return rc;
}

int
store_mint(struct store *s, struct place at, struct dyn_slice known, const struct mint *asked,
    enum dyn_durability d, uint64_t wall_ms, struct stored *out)
{
	struct mint m = *asked;
	struct dyn_slice now, base;
	struct buf *minted = NULL, *both = NULL;
	struct entry *e;
	int rc;

	memset(out, 0, sizeof(*out));
	rc = look(s, at, &e, &now);
	if (rc != 0)
		return rc;
	if (e != NULL)
		e->seen = true; /* others will be sent what is built on it */
	base = now;
	if (known.len > 0) {
		rc = object_merge(now, known, &both);
		if (rc < 0)
			return rc;
		base = both != NULL ? buf_slice(both) : rc == OBJECT_RIGHT ? known : now;
	}
	m.time = hlc_next(&s->hlc, wall_ms);
	rc = put_event(s, at, base, &m, &minted, &out->dot);
	buf_unref(both);
	if (rc != 0)
		return rc;
	if (slice_equal(buf_slice(minted), now)) {
		/* A delete of what is already gone, or never was. */
		if (minted->len == 0) {
			out->object = minted;
			return 0;
		}
		buf_unref(minted);
		return unchanged(s, e, at, now, d, out);
	}
	return changed(s, e, at, now, minted, d, out);
}

int
store_drop(struct store *s, struct place at, const struct digest *digest, uint64_t *number)
{
	static const struct digest unreadable = { { 0 } };
	struct digest is;
	bool lost;
	struct dyn_slice now;
	struct entry *e;
	struct buf *none;
	int rc;

	*number = 0;
	rc = look(s, at, &e, &now);
	lost = rc == DYN_ECORRUPT && digest_compare(digest, &unreadable) == 0;
	if (rc != 0 && !lost)
		return rc;
	row_digest(at.id, now, &is);
	if (!lost && (now.len == 0 || digest_compare(&is, digest) != 0))
		return 0;
	none = buf_new(0);
	if (none == NULL)
		return DYN_ENOMEM;
	rc = change(s, e, at, now, none, number);
	buf_unref(none);
	if (rc != 0)
		return rc;
	if (lost)
		s->open->changes->list[find(s, at)->index].lost = true;
	/* A loss of power must not bring it back: this node may have said meanwhile that
	 * it keeps no hint, and what the hint holds may have been forgotten (collect.h). */
	require(s, DYN_DURABLE_DISK);
	if (s->standin_used) {
		/* It may have held what the stand-in's actor did. */
		s->standin.incarnation++;
		add_mine(s, s->standin);
		s->standin_used = false;
	}
	return 0;
}

int
store_forget(struct store *s, struct dyn_slice name, const struct digest *digest,
    uint64_t wall_ms, uint64_t *number)
{
	struct place at = place_of_copy(name);
	struct buf *left;
	uint64_t counter;
	struct digest is;
	struct dyn_slice now;
	struct entry *e;
	int rc;

	*number = 0;
	rc = look(s, at, &e, &now);
	if (rc != 0 || now.len == 0)
		return rc;
	row_digest(at.id, now, &is);
	if (digest_compare(&is, digest) != 0)
		return 0;
	rc = object_forget(now, wall_ms, s->actor, &left, &counter);
	if (rc == DYN_EINVAL)
		return 0; /* by our clock it has not expired */
	if (rc == 0) {
		rc = change(s, e, at, now, left, number);
		buf_unref(left);
	}
	if (rc != 0)
		return rc;
	/* No counter of ours is used again. */
	s->floor = MAX(s->floor, counter);
	require(s, DYN_DURABLE_OS);
	return 0;
}

/* The row goes, and what it knows of our events with it: should the key be ours again, it
 * comes from others, who may have forgotten them by then.  None of our numbers is used
 * again; if there is no telling which those were, under another actor. */
static void
part_with(struct store *s, struct dyn_slice now)
{
	struct object o;

	if (object_decode(&o, now) != 0) {
		store_renew(s);
		return;
	}
	s->floor = MAX(s->floor, clock_max(&o.clock, s->actor));
	object_fini(&o);
}

static int
remove_row(struct store *s, struct dyn_slice name, bool damaged_only, uint64_t *number)
{
	struct place at = place_of_copy(name);
	struct buf *none;
	struct dyn_slice now;
	struct entry *e;
	int rc;

	*number = 0;
	rc = look(s, at, &e, &now);
	if (rc == DYN_ECORRUPT) {
		s->damaged = false;
		store_renew(s);
	} else if (rc != 0 || now.len == 0 || damaged_only) {
		return rc;
	} else {
		part_with(s, now);
	}
	none = buf_new(0);
	if (none == NULL)
		return DYN_ENOMEM;
	rc = change(s, e, at, now, none, number);
	buf_unref(none);
	if (rc == 0)
		require(s, DYN_DURABLE_DISK);
	return rc;
}

int
store_remove(struct store *s, struct dyn_slice name, uint64_t *number)
{
	return remove_row(s, name, false, number);
}

int
store_remove_damaged(struct store *s, struct dyn_slice name, uint64_t *number)
{
	return remove_row(s, name, true, number);
}

int
store_clear(struct store *s, struct place at, uint64_t *number)
{
	struct dyn_slice now;
	struct entry *e;
	struct buf *left;
	int rc;

	*number = 0;
	rc = look(s, at, &e, &now);
	if (rc == DYN_ECORRUPT && at.space == DYN_SPACE_DATA)
		return store_remove(s, at.id, number);
	if (rc != 0 || now.len == 0)
		return rc;
	rc = object_only(now, s->mine, s->mine_count, &left);
	if (rc != 0)
		return rc;
	if (!slice_equal(buf_slice(left), now))
		rc = change(s, e, at, now, left, number);
	buf_unref(left);
	if (rc == 0)
		require(s, DYN_DURABLE_DISK);
	return rc;
}

struct batch *
store_take(struct store *s)
{
	struct batch *b = s->open;

	if (b == NULL)
		return NULL;
	s->open = NULL;
	s->given = b->number;
	if (b->durability != DYN_DURABLE_DISK)
		s->weak = b->number;
	return b;
}

/* Overlay entries whose newest object the batch holds are in the engine now. */
static void
settle(struct store *s, const struct batch *b)
{
	for (size_t i = 0; i < b->count; i++) {
		struct place at = { b->rows[i].space, b->rows[i].id };
		struct entry *e = find(s, at);

		if (e != NULL && e->number == b->number)
			entry_free(s, e);
	}
}

void
store_committed(struct store *s, struct batch *b, int rc)
{
	if (rc == 0 && b->number > s->failed) {
		settle(s, b);
		DYN_ASSERT(b->number > s->committed);
		s->committed = b->number;
		s->unsynced = b->durability != DYN_DURABLE_DISK;
	} else if (b->number > s->failed) {
		/* All that is out or open was built on what just failed. */
		batch_free(s->open);
		s->open = NULL;
		s->given++;
		s->failed = s->given;
		s->generation++;
		s->exposed = false;
		map_each(&s->overlay, forget, s);
		store_renew(s);
	}
	batch_free(b);
}

int
store_state(const struct store *s, uint64_t number)
{
	if (number <= s->committed)
		return 1;
	return number <= s->failed ? -1 : 0;
}

void
store_renew(struct store *s)
{
	s->actor.incarnation++;
	s->standin.incarnation++;
	add_mine(s, s->actor);
	add_mine(s, s->standin);
	s->standin_used = false;
	s->floor = 0;
}

static uint64_t
apart(uint64_t incarnation, uint32_t random)
{
	return ((incarnation >> 48) + 1) << 48 | (uint64_t)random << 16;
}

/* A counter is minted as one of all up to it, for the copy holds what its actor did before.
 * A copy that is only being filled does not: our part in it may have gone with the
 * partition, and be on its way back. */
void
store_renew_if_forgotten(struct store *s)
{
	if (s->floor > 0)
		store_renew(s);
}

void
store_renew_apart(struct store *s, uint32_t random)
{
	s->actor.incarnation = apart(s->actor.incarnation, random);
	s->standin.incarnation = apart(s->standin.incarnation, ~random);
	add_mine(s, s->actor);
	add_mine(s, s->standin);
	s->standin_used = false;
	s->floor = 0;
}
