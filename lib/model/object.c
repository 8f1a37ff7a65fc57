/*
 * Objects: decode, encode, merge, put (paper 4.4).
 *
 * Merging and putting work on small arrays in the caller's frame where they
 * fit; a merge that brings nothing new, or only new things, allocates nothing.
 * Expiry is only carried here: who reads decides (version_visible).
 */
#include "model/object.h"

#define OBJECT_FORMAT 1
#define VERSION_SIZE_MIN (DOT_SIZE_MIN + 8 + 1 + 1 + 1)
#define FRAME_VALUES 4

/* Space for one object in a function's frame. */
struct space {
	struct room room;
	struct version values[FRAME_VALUES];
};

/* ---------------------------------------------------------------- versions */

bool
version_visible(const struct version *v, uint64_t now_ms)
{
	if ((v->flags & VERSION_DELETED) != 0)
		return false;
	return v->expiry_ms == 0 || now_ms < v->expiry_ms;
}

static int
compare_u64(uint64_t a, uint64_t b)
{
	return a < b ? -1 : a > b;
}

/* Order of values in an object: by dot.  The rest only matters for versions
 * that wrongly have the same dot. */
static int
compare(const struct version *a, const struct version *b)
{
	int c = dot_compare(a->dot, b->dot);

	if (c == 0)
		c = compare_u64(a->time, b->time);
	if (c == 0)
		c = compare_u64(a->expiry_ms, b->expiry_ms);
	if (c == 0)
		c = compare_u64(a->flags, b->flags);
	if (c == 0 && (a->value.data != b->value.data || a->value.len != b->value.len))
		c = slice_compare(a->value, b->value);
	return c;
}

/* Does a win over b, both under last write wins? */
static bool
is_later(const struct version *a, const struct version *b)
{
	return a->time != b->time ? a->time > b->time : compare(a, b) > 0;
}

static bool
same_values(const struct version *a, size_t a_count, const struct version *b, size_t b_count)
{
	if (a_count != b_count)
		return false;
	for (size_t i = 0; i < a_count; i++)
		if (compare(&a[i], &b[i]) != 0)
			return false;
	return true;
}

/* Of the versions under last write wins only the latest stays.  Returns how
 * many versions are left. */
static size_t
keep_latest(struct version *values, size_t count)
{
	const struct version *best = NULL;
	struct version latest = { 0 };
	size_t left = 0;

	for (size_t i = 0; i < count; i++) {
		if ((values[i].flags & VERSION_LWW) == 0)
			continue;
		if (best == NULL || is_later(&values[i], best))
			best = &values[i];
	}
	if (best == NULL)
		return count;
	latest = *best;
	for (size_t i = 0; i < count; i++)
		if ((values[i].flags & VERSION_LWW) == 0 || compare(&values[i], &latest) == 0)
			values[left++] = values[i];
	return left;
}

/* ------------------------------------------------------------------- bytes */

void
object_fini(struct object *o)
{
	clock_fini(&o->clock);
	mem_free(o->heap);
	memset(o, 0, sizeof(*o));
}

/* Where count values go: into the frame if they fit. */
static int
reserve(struct object *o, size_t count, struct space *space)
{
	o->values = NULL;
	if (space != NULL && count <= FRAME_VALUES) {
		o->values = space->values;
		return 0;
	}
	if (count == 0)
		return 0;
	o->heap = mem_alloc(count * sizeof(*o->heap));
	o->values = o->heap;
	return o->heap != NULL ? 0 : DYN_ENOMEM;
}

static bool
read_version(struct rd *r, struct version *v)
{
	if (!dot_read(r, &v->dot))
		return false;
	v->time = rd_u64(r);
	v->expiry_ms = rd_var(r);
	v->flags = rd_u8(r);
	v->value = rd_slice(r, LIMIT_OBJECT);
	if (r->bad || (v->flags & ~(VERSION_DELETED | VERSION_LWW)) != 0)
		return false;
	if ((v->flags & VERSION_DELETED) != 0)
		return v->flags == (VERSION_DELETED | VERSION_LWW) && v->value.len == 0;
	return true;
}

static int
read_values(struct rd *r, struct object *o, struct space *space)
{
	uint64_t count = rd_var(r);
	int rc;

	if (r->bad)
		return DYN_EPROTO;
	if (count > OBJECT_VALUES_MAX)
		return DYN_ETOOBIG;
	if (count > rd_left(r) / VERSION_SIZE_MIN)
		return DYN_EPROTO;
	rc = reserve(o, (size_t)count, space);
	if (rc != 0)
		return rc;
	for (size_t i = 0; i < count; i++) {
		struct version *v = &o->values[i];

		if (!read_version(r, v) || !clock_covers(&o->clock, v->dot))
			return DYN_EPROTO;
		if (i > 0 && compare(&v[-1], v) >= 0)
			return DYN_EPROTO;
		if ((v->flags & VERSION_LWW) != 0) {
			if ((o->flags & OBJECT_LWW) != 0)
				return DYN_EPROTO;
			o->flags |= OBJECT_LWW;
		}
	}
	o->count = (size_t)count;
	return rd_end(r) ? 0 : DYN_EPROTO;
}

static int
decode(struct object *out, struct dyn_slice bytes, struct space *space)
{
	struct rd r = rd_from(bytes);
	uint8_t format;
	int rc;

	memset(out, 0, sizeof(*out));
	if (bytes.len == 0)
		return 0;
	if (bytes.len > LIMIT_OBJECT)
		return DYN_ETOOBIG;
	format = rd_u8(&r);
	if (format != OBJECT_FORMAT)
		return format > OBJECT_FORMAT ? DYN_EVERSION : DYN_EPROTO;
	rc = clock_read_room(&r, &out->clock, space != NULL ? &space->room : NULL);
	if (rc == 0 && out->clock.vector_count + out->clock.cloud_count == 0)
		rc = DYN_EPROTO;
	if (rc == 0)
		rc = read_values(&r, out, space);
	if (rc != 0)
		object_fini(out);
	return rc;
}

int
object_decode(struct object *out, struct dyn_slice bytes)
{
	return decode(out, bytes, NULL);
}

static size_t
version_size(const struct version *v)
{
	return dot_size(v->dot) + 8 + var_len(v->expiry_ms) + 1 + var_len(v->value.len) +
	    v->value.len;
}

int
object_encode(const struct object *o, struct buf **out)
{
	size_t size = 1 + clock_size(&o->clock) + var_len(o->count);
	struct wr w;

	*out = NULL;
	if (o->clock.vector_count + o->clock.cloud_count == 0) {
		DYN_ASSERT(o->count == 0);
		*out = buf_new(0);
		return *out != NULL ? 0 : DYN_ENOMEM;
	}
	for (size_t i = 0; i < o->count; i++)
		size += version_size(&o->values[i]);
	if (size > LIMIT_OBJECT || o->count > OBJECT_VALUES_MAX)
		return DYN_ETOOBIG;
	wr_init(&w, size);
	wr_u8(&w, OBJECT_FORMAT);
	clock_write(&w, &o->clock);
	wr_var(&w, o->count);
	for (size_t i = 0; i < o->count; i++) {
		const struct version *v = &o->values[i];

		dot_write(&w, v->dot);
		wr_u64(&w, v->time);
		wr_var(&w, v->expiry_ms);
		wr_u8(&w, v->flags);
		wr_slice(&w, v->value);
	}
	DYN_ASSERT(w.rc != 0 || wr_len(&w) == size);
	return wr_finish(&w, out);
}

/* ------------------------------------------------------------------- merge */

static bool
has_dot(const struct object *o, size_t at, struct dot d)
{
	if (at < o->count && dot_compare(o->values[at].dot, d) == 0)
		return true;
	return at > 0 && dot_compare(o->values[at - 1].dot, d) == 0;
}

/*
 * v is a value of one side only; `at` is its place among the other's values.
 * It stays if the other side has never heard of it.  If the other side has a
 * different value under the same dot, somebody minted one dot twice: then
 * dropping either could lose an acknowledged write, so both stay.
 */
static bool
survives(const struct version *v, const struct object *other, size_t at, bool *skewed)
{
	if (!clock_covers(&other->clock, v->dot))
		return true;
	if (!has_dot(other, at, v->dot))
		return false;
	*skewed = true;
	return true;
}

/* The values of the merge; out->values has space for all. */
static void
merge_values(struct object *out, const struct object *a, const struct object *b, bool *skewed)
{
	size_t i = 0, j = 0;
	int c;

	while (i < a->count || j < b->count) {
		c = i == a->count ? 1 : j == b->count ? -1 : compare(&a->values[i], &b->values[j]);
		if (c < 0) {
			if (survives(&a->values[i], b, j, skewed))
				out->values[out->count++] = a->values[i];
		} else if (c > 0) {
			if (survives(&b->values[j], a, i, skewed))
				out->values[out->count++] = b->values[j];
		} else {
			out->values[out->count++] = a->values[i];
		}
		i += c <= 0;
		j += c >= 0;
	}
	out->count = keep_latest(out->values, out->count);
}

static int
merge(const struct object *a, const struct object *b, struct buf **out)
{
	struct space space;
	struct object o = { 0 };
	bool skewed = false;
	int how = OBJECT_BOTH, rc;

	rc = reserve(&o, a->count + b->count, &space);
	if (rc != 0)
		goto out;
	merge_values(&o, a, b, &skewed);
	if (skewed) {
		how = OBJECT_SKEWED;
	} else if (clock_within(&b->clock, &a->clock) &&
	    same_values(o.values, o.count, a->values, a->count)) {
		how = OBJECT_LEFT;
		goto out;
	} else if (clock_within(&a->clock, &b->clock) &&
	    same_values(o.values, o.count, b->values, b->count)) {
		how = OBJECT_RIGHT;
		goto out;
	}
	rc = clock_union(&o.clock, &a->clock, &b->clock, &space.room);
	if (rc == 0)
		rc = object_encode(&o, out);
out:
	object_fini(&o);
	return rc != 0 ? rc : how;
}

int
object_merge(struct dyn_slice a, struct dyn_slice b, struct buf **out)
{
	struct space a_space, b_space;
	struct object left, right;
	int rc;

	*out = NULL;
	memset(&right, 0, sizeof(right));
	rc = decode(&left, a, &a_space);
	if (rc == 0 && slice_equal(a, b)) {
		rc = OBJECT_SAME;
		goto out;
	}
	if (rc == 0)
		rc = decode(&right, b, &b_space);
	if (rc != 0)
		goto out;
	if (a.len == 0 || b.len == 0)
		rc = a.len == 0 ? OBJECT_RIGHT : OBJECT_LEFT;
	else
		rc = merge(&left, &right, out);
out:
	object_fini(&left);
	object_fini(&right);
	return rc;
}

/* --------------------------------------------------------------------- put */

static bool
context_covers(const struct mint *m, struct dot d)
{
	return m->overwrite || (m->context != NULL && clock_covers(m->context, d));
}

/*
 * The next dot of the actor.  This copy must hold all that the actor ever did
 * to the key, or have forgotten it: if it or the context has heard of a later event
 * of the actor, events were lost, and the counter that looks free is taken.
 */
static int
mint_dot(const struct object *now, const struct mint *m, struct dot *dot)
{
	uint64_t made = MAX(clock_contiguous(&now->clock, m->actor), m->floor);

	if (clock_max(&now->clock, m->actor) > made)
		return DYN_ECORRUPT;
	if (m->context != NULL && clock_max(m->context, m->actor) > made)
		return DYN_ECORRUPT;
	if (made >= COUNTER_MAX)
		return DYN_ECORRUPT;
	dot->actor = m->actor;
	dot->counter = made + 1;
	return 0;
}

/* Later than all this copy knows and all the writer has seen. */
static int
mint_time(const struct object *now, const struct mint *m, uint64_t *time)
{
	uint64_t known = m->after;

	for (size_t i = 0; i < now->count; i++)
		known = MAX(known, now->values[i].time);
	if (known == UINT64_MAX)
		return DYN_ECLOCK;
	*time = MAX(m->time, known + 1);
	return 0;
}

static int
mint_version(const struct object *now, const struct mint *m, struct version *v)
{
	int rc;

	memset(v, 0, sizeof(*v));
	rc = mint_dot(now, m, &v->dot);
	if (rc == 0)
		rc = mint_time(now, m, &v->time);
	if (m->lww)
		v->flags |= VERSION_LWW;
	if (m->deleted) {
		v->flags |= VERSION_DELETED;
	} else {
		v->value = m->value;
		v->expiry_ms = m->expiry_ms;
	}
	return rc;
}

/* The values that stay, and the new one, if there is one, in its place. */
static void
put_values(struct object *out, const struct object *now, const struct mint *m,
    const struct version *made)
{
	for (size_t i = 0; i < now->count; i++) {
		const struct version *v = &now->values[i];

		if (made != NULL && compare(made, v) < 0) {
			out->values[out->count++] = *made;
			made = NULL;
		}
		if (!context_covers(m, v->dot))
			out->values[out->count++] = *v;
	}
	if (made != NULL)
		out->values[out->count++] = *made;
	out->count = keep_latest(out->values, out->count);
}

/* What is known after the put: now, the context, the new event. */
static int
put_clock(struct clock *out, const struct object *now, const struct mint *m,
    const struct version *made, struct room *room)
{
	static const struct clock nothing;
	struct clock seen, all = { 0 };
	struct room between;
	struct dot last;
	int rc;

	rc = clock_union(&seen, &now->clock, m->context != NULL ? m->context : &nothing,
	    made != NULL ? &between : room);
	if (rc != 0 || made == NULL) {
		*out = seen;
		return rc;
	}
	/* The new event includes all earlier ones, those that were forgotten too. */
	last = made->dot;
	all.vector = &last;
	all.vector_count = 1;
	rc = clock_union(out, &seen, &all, room);
	clock_fini(&seen);
	return rc;
}

static int
put(const struct object *now, const struct mint *m, const struct version *made, struct buf **out)
{
	size_t max = m->siblings_max > 0 ? m->siblings_max : LIMIT_SIBLINGS;
	struct space space;
	struct object o = { 0 };
	int rc;

	rc = reserve(&o, now->count + 1, &space);
	if (rc != 0)
		goto out;
	put_values(&o, now, m, made);
	if (o.count > max && o.count > now->count) {
		rc = DYN_ESIBLINGS;
		goto out;
	}
	rc = put_clock(&o.clock, now, m, made, &space.room);
	if (rc == 0)
		rc = object_encode(&o, out);
out:
	object_fini(&o);
	return rc;
}

int
object_put(struct dyn_slice now, const struct mint *m, struct buf **out, struct dot *dot)
{
	bool mints = !m->deleted || m->lww;
	struct version made = { 0 };
	struct space space;
	struct object old;
	int rc;

	*out = NULL;
	memset(dot, 0, sizeof(*dot));
	rc = decode(&old, now, &space);
	if (rc == 0 && mints)
		rc = mint_version(&old, m, &made);
	if (rc == 0)
		rc = put(&old, m, mints ? &made : NULL, out);
	if (rc == 0)
		*dot = made.dot;
	if (m->made_time != NULL)
		*m->made_time = rc == 0 ? made.time : 0;
	object_fini(&old);
	return rc;
}

/* -------------------------------------------------------------- forgetting */

static bool
made_one(const struct object *o, struct actor a)
{
	for (size_t i = 0; i < o->count; i++)
		if (actor_compare(o->values[i].dot.actor, a) == 0)
			return true;
	return false;
}

/* Dots of actors that made a version of the object come first; returns how many. */
static size_t
keep_makers(const struct object *o, struct dot *dots, size_t count)
{
	size_t left = 0;

	for (size_t i = 0; i < count; i++)
		if (made_one(o, dots[i].actor))
			dots[left++] = dots[i];
	return left;
}

static enum object_old
old_of(const struct object *o, uint64_t now_ms)
{
	bool later = false;
	size_t entries = o->clock.vector_count + o->clock.cloud_count, kept = 0;

	for (size_t i = 0; i < o->count; i++) {
		if (version_visible(&o->values[i], now_ms) && o->values[i].expiry_ms == 0)
			goto stays;
		later = later || version_visible(&o->values[i], now_ms);
	}
	return later ? OBJECT_OLD_LATER : OBJECT_OLD_ALL;
stays:
	if (entries <= CLOCK_ENTRIES)
		return OBJECT_FRESH;
	for (size_t i = 0; i < o->clock.vector_count; i++)
		kept += made_one(o, o->clock.vector[i].actor);
	for (size_t i = 0; i < o->clock.cloud_count; i++)
		kept += made_one(o, o->clock.cloud[i].actor);
	return kept < entries ? OBJECT_OLD_CLOCK : OBJECT_FRESH;
}

enum object_old
object_old(struct dyn_slice bytes, uint64_t now_ms)
{
	enum object_old old = OBJECT_FRESH;
	struct space space;
	struct object o;

	if (bytes.len > 0 && decode(&o, bytes, &space) == 0) {
		old = old_of(&o, now_ms);
		object_fini(&o);
	}
	return old;
}

uint64_t
object_expires(struct dyn_slice bytes)
{
	struct space space;
	struct object o;
	uint64_t last = 0;

	if (bytes.len == 0 || decode(&o, bytes, &space) != 0)
		return 0;
	for (size_t i = 0; i < o.count; i++) {
		const struct version *v = &o.values[i];

		if ((v->flags & VERSION_DELETED) != 0)
			continue;
		last = MAX(last, v->expiry_ms != 0 ? v->expiry_ms : UINT64_MAX);
	}
	object_fini(&o);
	return last == UINT64_MAX ? 0 : last;
}

int
object_forget(struct dyn_slice bytes, uint64_t now_ms, struct actor actor, struct buf **out,
    uint64_t *forgotten)
{
	enum object_old old;
	struct space space;
	struct object o;
	int rc;

	*out = NULL;
	*forgotten = 0;
	rc = decode(&o, bytes, &space);
	if (rc != 0)
		return rc;
	old = old_of(&o, now_ms);
	if (old == OBJECT_OLD_ALL) {
		*forgotten = clock_max(&o.clock, actor);
		*out = buf_new(0);
		rc = *out != NULL ? 0 : DYN_ENOMEM;
	} else if (old == OBJECT_OLD_CLOCK) {
		if (!made_one(&o, actor))
			*forgotten = clock_max(&o.clock, actor);
		o.clock.vector_count = keep_makers(&o, o.clock.vector, o.clock.vector_count);
		o.clock.cloud_count = keep_makers(&o, o.clock.cloud, o.clock.cloud_count);
		rc = object_encode(&o, out);
	} else {
		rc = DYN_EINVAL;
	}
	object_fini(&o);
	return rc;
}

static bool
is_among(struct actor a, const struct actor *actors, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (actor_compare(a, actors[i]) == 0)
			return true;
	return false;
}

/* The first of these values made by the actor; NULL: none.  They are ascending. */
static const struct version *
first_of(const struct version *values, size_t count, struct actor a)
{
	for (size_t i = 0; i < count; i++)
		if (actor_compare(values[i].dot.actor, a) == 0)
			return &values[i];
	return NULL;
}

static bool
is_dot_of(const struct version *values, size_t count, struct dot d)
{
	for (size_t i = 0; i < count; i++)
		if (dot_compare(values[i].dot, d) == 0)
			return true;
	return false;
}

#define GAP_MAX 1000 /* dots behind one that is taken out, kept one by one */

/* The clock without the dots of some values: what lies behind one of them in the
 * vector goes into the cloud.  Nothing is said of dots that would be too many. */
static int
take_out(struct clock *c, const struct version *values, size_t count)
{
	struct clock less = { 0 }, rest = { 0 }, both = { 0 };
	size_t dots = 0;
	int rc = DYN_ENOMEM;

	for (size_t i = 0; i < c->vector_count; i++) {
		const struct version *v = first_of(values, count, c->vector[i].actor);

		if (v != NULL && c->vector[i].counter >= v->dot.counter)
			dots += MIN(c->vector[i].counter - v->dot.counter, GAP_MAX);
	}
	less.vector = mem_array(c->vector_count + 1, sizeof(*less.vector));
	less.cloud = mem_array(dots + 1, sizeof(*less.cloud));
	if (less.vector == NULL || less.cloud == NULL)
		goto out;
	for (size_t i = 0; i < c->vector_count; i++) {
		const struct version *v = first_of(values, count, c->vector[i].actor);
		struct dot d = c->vector[i];
		uint64_t all = d.counter;

		if (v != NULL && v->dot.counter <= all)
			d.counter = v->dot.counter - 1;
		if (d.counter > 0)
			less.vector[less.vector_count++] = d;
		for (uint64_t n = d.counter + 1; n <= all && n <= d.counter + GAP_MAX; n++) {
			struct dot behind = { d.actor, n };

			if (!is_dot_of(values, count, behind))
				less.cloud[less.cloud_count++] = behind;
		}
	}
	/* The dots of c's own cloud lie behind its vector, and so behind those. */
	rest.cloud = c->cloud;
	for (size_t i = 0; i < c->cloud_count; i++)
		if (!is_dot_of(values, count, c->cloud[i]))
			rest.cloud[rest.cloud_count++] = c->cloud[i];
	rc = clock_union(&both, &less, &rest, NULL);
out:
	mem_free(less.vector);
	mem_free(less.cloud);
	clock_fini(c);
	if (rc == 0)
		*c = both;
	return rc;
}

/* Those the actors made come first, in order, and the others behind them. */
static size_t
others_last(struct version *values, size_t count, const struct actor *actors,
    size_t actors_count)
{
	size_t left = 0;

	for (size_t i = 0; i < count; i++) {
		struct version v = values[i];

		if (!is_among(v.dot.actor, actors, actors_count))
			continue;
		memmove(&values[left + 1], &values[left], (i - left) * sizeof(v));
		values[left++] = v;
	}
	return left;
}

int
object_only(struct dyn_slice bytes, const struct actor *actors, size_t count, struct buf **out)
{
	struct object o;
	size_t left;
	int rc;

	*out = NULL;
	rc = object_decode(&o, bytes);
	if (rc != 0)
		return rc;
	left = others_last(o.values, o.count, actors, count);
	rc = take_out(&o.clock, o.values + left, o.count - left);
	o.count = left;
	if (rc == 0)
		rc = object_encode(&o, out);
	object_fini(&o);
	return rc;
}
