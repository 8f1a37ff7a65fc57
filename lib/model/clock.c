/*
 * Causal clocks: sets of dots in canonical form.
 *
 * All growth goes through clock_union, which walks two canonical clocks and
 * writes a third; nothing else has to know how dots are absorbed.
 */
#include "model/clock.h"

static const struct clock empty;

int
dot_compare(struct dot a, struct dot b)
{
	int c = actor_compare(a.actor, b.actor);

	return c != 0 ? c : a.counter < b.counter ? -1 : a.counter > b.counter;
}

void
clock_fini(struct clock *c)
{
	mem_free(c->heap);
	*c = empty;
}

/* An empty clock with space for so many dots, vector first. */
static int
reserve(struct clock *c, size_t vector, size_t cloud, struct room *room)
{
	*c = empty;
	if (vector + cloud == 0)
		return 0;
	if (room != NULL && vector + cloud <= ROOM_DOTS) {
		c->vector = room->dots;
	} else {
		c->heap = mem_alloc((vector + cloud) * sizeof(*c->heap));
		if (c->heap == NULL)
			return DYN_ENOMEM;
		c->vector = c->heap;
	}
	c->cloud = c->vector + vector;
	return 0;
}

int
clock_copy(struct clock *out, const struct clock *c)
{
	return clock_union(out, c, &empty, NULL);
}

/* Index of the first dot that is not before d. */
static size_t
lower_bound(const struct dot *dots, size_t count, struct dot d)
{
	size_t low = 0, high = count;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (dot_compare(dots[mid], d) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

uint64_t
clock_contiguous(const struct clock *c, struct actor actor)
{
	struct dot first = { actor, 0 };
	size_t i = lower_bound(c->vector, c->vector_count, first);

	if (i == c->vector_count || actor_compare(c->vector[i].actor, actor) != 0)
		return 0;
	return c->vector[i].counter;
}

bool
clock_covers(const struct clock *c, struct dot d)
{
	size_t i;

	if (d.counter <= clock_contiguous(c, d.actor))
		return true;
	i = lower_bound(c->cloud, c->cloud_count, d);
	return i < c->cloud_count && dot_compare(c->cloud[i], d) == 0;
}

uint64_t
clock_max(const struct clock *c, struct actor actor)
{
	struct dot beyond = { actor, UINT64_MAX };
	size_t i = lower_bound(c->cloud, c->cloud_count, beyond);

	if (i > 0 && actor_compare(c->cloud[i - 1].actor, actor) == 0)
		return c->cloud[i - 1].counter;
	return clock_contiguous(c, actor);
}

/* The vector of the union: of each actor the larger counter. */
static void
unite_vectors(struct clock *out, const struct clock *a, const struct clock *b)
{
	size_t i = 0, j = 0;

	while (i < a->vector_count || j < b->vector_count) {
		int c = i == a->vector_count ? 1 : j == b->vector_count ? -1 :
		    actor_compare(a->vector[i].actor, b->vector[j].actor);
		struct dot d = c <= 0 ? a->vector[i] : b->vector[j];

		if (c == 0)
			d.counter = MAX(d.counter, b->vector[j].counter);
		out->vector[out->vector_count++] = d;
		i += c <= 0;
		j += c >= 0;
	}
}

/*
 * Put a dot, larger than all put before, where it belongs: nowhere if the
 * vector has it, onto the vector if it adjoins, else into the cloud.  *at is
 * where the last one stood in the vector.  A canonical cloud has no counter 1
 * without the actor in a vector, so the vector never gets a new actor here.
 */
static void
absorb(struct clock *out, struct dot d, size_t *at)
{
	struct dot *v = NULL;

	while (*at < out->vector_count && actor_compare(out->vector[*at].actor, d.actor) < 0)
		++*at;
	if (*at < out->vector_count && actor_compare(out->vector[*at].actor, d.actor) == 0)
		v = &out->vector[*at];
	if (v == NULL || d.counter > v->counter + 1)
		out->cloud[out->cloud_count++] = d;
	else if (d.counter == v->counter + 1)
		v->counter = d.counter;
}

static void
unite_clouds(struct clock *out, const struct clock *a, const struct clock *b)
{
	size_t i = 0, j = 0, at = 0;

	while (i < a->cloud_count || j < b->cloud_count) {
		int c = i == a->cloud_count ? 1 : j == b->cloud_count ? -1 :
		    dot_compare(a->cloud[i], b->cloud[j]);

		absorb(out, c <= 0 ? a->cloud[i] : b->cloud[j], &at);
		i += c <= 0;
		j += c >= 0;
	}
}

int
clock_union(struct clock *out, const struct clock *a, const struct clock *b, struct room *room)
{
	int rc = reserve(out, a->vector_count + b->vector_count, a->cloud_count + b->cloud_count,
	    room);

	if (rc != 0)
		return rc;
	unite_vectors(out, a, b);
	unite_clouds(out, a, b);
	if (out->vector_count > LIMIT_ACTORS || out->cloud_count > LIMIT_CLOUD) {
		clock_fini(out);
		return DYN_ETOOBIG;
	}
	return 0;
}

int
clock_with(struct clock *out, const struct clock *a, struct dot d, struct room *room)
{
	struct clock one = { 0 };

	DYN_ASSERT(d.counter >= 1 && d.counter <= COUNTER_MAX);
	if (d.counter == 1) {
		one.vector = &d;
		one.vector_count = 1;
	} else {
		one.cloud = &d;
		one.cloud_count = 1;
	}
	return clock_union(out, a, &one, room);
}

/* The union takes the place of the clock, or the clock stays as it is. */
static int
replace(struct clock *c, struct clock *bigger, int rc)
{
	if (rc != 0)
		return rc;
	clock_fini(c);
	*c = *bigger;
	return 0;
}

int
clock_add(struct clock *c, struct dot d)
{
	struct clock bigger;

	if (clock_covers(c, d))
		return 0;
	return replace(c, &bigger, clock_with(&bigger, c, d, NULL));
}

int
clock_join(struct clock *into, const struct clock *from)
{
	struct clock bigger;

	if (clock_within(from, into))
		return 0;
	return replace(into, &bigger, clock_union(&bigger, into, from, NULL));
}

/* A vector's entry is within b only by b's vector: where b's vector ends, a dot
 * is missing in b, because clouds hold none that adjoins. */
bool
clock_within(const struct clock *a, const struct clock *b)
{
	size_t at = 0;

	for (size_t i = 0; i < a->vector_count; i++) {
		struct dot d = a->vector[i];

		while (at < b->vector_count && actor_compare(b->vector[at].actor, d.actor) < 0)
			at++;
		if (at == b->vector_count || actor_compare(b->vector[at].actor, d.actor) != 0 ||
		    b->vector[at].counter < d.counter)
			return false;
	}
	for (size_t i = 0; i < a->cloud_count; i++)
		if (!clock_covers(b, a->cloud[i]))
			return false;
	return true;
}

static bool
dots_equal(const struct dot *a, size_t a_count, const struct dot *b, size_t b_count)
{
	if (a_count != b_count)
		return false;
	for (size_t i = 0; i < a_count; i++)
		if (dot_compare(a[i], b[i]) != 0)
			return false;
	return true;
}

bool
clock_equal(const struct clock *a, const struct clock *b)
{
	return dots_equal(a->vector, a->vector_count, b->vector, b->vector_count) &&
	    dots_equal(a->cloud, a->cloud_count, b->cloud, b->cloud_count);
}

void
dot_write(struct wr *w, struct dot d)
{
	wr_u64(w, d.actor.node);
	wr_var(w, d.actor.incarnation);
	wr_var(w, d.counter);
}

bool
dot_read(struct rd *r, struct dot *d)
{
	d->actor.node = rd_u64(r);
	d->actor.incarnation = rd_var(r);
	d->counter = rd_var(r);
	return !r->bad && d->counter >= 1 && d->counter <= COUNTER_MAX;
}

size_t
dot_size(struct dot d)
{
	return 8 + var_len(d.actor.incarnation) + var_len(d.counter);
}

void
clock_write(struct wr *w, const struct clock *c)
{
	wr_var(w, c->vector_count);
	for (size_t i = 0; i < c->vector_count; i++)
		dot_write(w, c->vector[i]);
	wr_var(w, c->cloud_count);
	for (size_t i = 0; i < c->cloud_count; i++)
		dot_write(w, c->cloud[i]);
}

size_t
clock_size(const struct clock *c)
{
	size_t size = var_len(c->vector_count) + var_len(c->cloud_count);

	for (size_t i = 0; i < c->vector_count; i++)
		size += dot_size(c->vector[i]);
	for (size_t i = 0; i < c->cloud_count; i++)
		size += dot_size(c->cloud[i]);
	return size;
}

/* A count of things to come that take at least `each` bytes: so that a few bad
 * bytes cannot ask for much memory. */
static int
read_count(struct rd *r, size_t limit, size_t *out)
{
	uint64_t count = rd_var(r);

	*out = 0;
	if (r->bad)
		return DYN_EPROTO;
	if (count > limit)
		return DYN_ETOOBIG;
	if (count > rd_left(r) / DOT_SIZE_MIN)
		return DYN_EPROTO;
	*out = (size_t)count;
	return 0;
}

static int
read_vector(struct rd *r, struct clock *c, size_t count)
{
	struct dot *v = c->vector;

	for (size_t i = 0; i < count; i++) {
		if (!dot_read(r, &v[i]))
			return DYN_EPROTO;
		if (i > 0 && actor_compare(v[i - 1].actor, v[i].actor) >= 0)
			return DYN_EPROTO;
	}
	c->vector_count = count;
	return 0;
}

static int
read_cloud(struct rd *r, struct clock *c, size_t count)
{
	struct dot *d = c->cloud;

	for (size_t i = 0; i < count; i++) {
		if (!dot_read(r, &d[i]))
			return DYN_EPROTO;
		if (i > 0 && dot_compare(d[i - 1], d[i]) >= 0)
			return DYN_EPROTO;
		if (d[i].counter <= clock_contiguous(c, d[i].actor) + 1)
			return DYN_EPROTO;
	}
	c->cloud_count = count;
	return 0;
}

/* Space for the cloud, whose count comes after the vector. */
static int
extend(struct clock *c, size_t cloud, struct room *room)
{
	struct clock bigger;
	int rc;

	rc = reserve(&bigger, c->vector_count, cloud, room);
	if (rc != 0)
		return rc;
	if (c->vector_count > 0 && bigger.vector != c->vector)
		memcpy(bigger.vector, c->vector, c->vector_count * sizeof(*c->vector));
	bigger.vector_count = c->vector_count;
	clock_fini(c);
	*c = bigger;
	return 0;
}

int
clock_read_room(struct rd *r, struct clock *out, struct room *room)
{
	size_t count;
	int rc;

	*out = empty;
	rc = read_count(r, LIMIT_ACTORS, &count);
	if (rc == 0)
		rc = reserve(out, count, 0, room);
	if (rc == 0)
		rc = read_vector(r, out, count);
	if (rc == 0)
		rc = read_count(r, LIMIT_CLOUD, &count);
	if (rc == 0 && count > 0)
		rc = extend(out, count, room);
	if (rc == 0)
		rc = read_cloud(r, out, count);
	if (rc != 0)
		clock_fini(out);
	return rc;
}

int
clock_read(struct rd *r, struct clock *out)
{
	return clock_read_room(r, out, NULL);
}
