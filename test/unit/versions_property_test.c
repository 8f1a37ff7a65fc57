/*
 * Goal: whatever happens to the copies of a key, an object holds exactly the
 * versions that nobody has written a successor of: none is lost, none comes
 * back, siblings are truly concurrent, copies that met are equal bytes.
 *
 * Method: random histories of one key over a few replicas, on the real bytes,
 * beside an oracle that keeps what clocks only summarise: for every event the
 * full set of events in its causal past.  What a replica should hold follows
 * from the set of events that have reached it:
 *
 *	live = its writes that are in the past of none of its events
 *
 * The oracle knows no counters, vectors or dots.  A history has puts that are
 * blind, that use contexts of reads of any replica, old or new, contexts of
 * puts, and overwrites; deletes; merges of copies current, late and doubled;
 * replicas that lose everything, or go back to an old copy, and go on under a
 * new incarnation; and those that try to go on under the old one.
 *
 * Three policies: plain versions, last write wins, and both in one key.  For the
 * last the laws hold only up to convergence (see model/object.h).
 *
 * A failure prints the history's seed; DYN_SEED=that repeats it alone, with a
 * line for each step.  DYN_HISTORIES changes how many there are.
 */
#include "test/test.h"

#include "base/rng.h"
#include "model/object.h"

#include <stdio.h>
#include <stdlib.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define HISTORIES 20000
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define HISTORIES 20000
#endif
#endif
#ifndef HISTORIES
#define HISTORIES 200000
#endif

#define CHUNKS 12 /* each is a test of its own, with its own time limit */
#define EVENTS_MAX 64
#define REPLICAS_MAX 4
#define CONTEXTS 8
#define MESSAGES 8

typedef uint64_t set; /* of events: bit i = event i */

enum policy { PLAIN, LWW, MIXED, POLICIES };

struct event {
	bool deletes; /* a plain delete: no version, no dot */
	bool lww, removed; /* removed: a last-write-wins delete */
	set past;     /* itself not included */
	struct dot dot; /* as the code under test gave it, to name it in failures */
	uint64_t time;
};

/* A copy of the key with the events that have reached it. */
struct copy {
	struct buf *bytes;
	set known;
};

struct replica {
	struct copy now;
	struct actor actor;
	set made; /* all events ever minted under this actor */
	uint64_t wall; /* its clock, fast or slow */
};

/* What a client keeps: the clock is the code's, the set the oracle's. */
struct context {
	struct clock clock;
	set past;
	uint64_t time;
};

struct history {
	uint64_t seed;
	struct rng rng;
	bool loud;
	enum policy policy;
	int step;
	struct event events[EVENTS_MAX];
	size_t events_count;
	struct replica replicas[REPLICAS_MAX];
	size_t replicas_count;
	struct context contexts[CONTEXTS];
	struct copy messages[MESSAGES];
	uint64_t incarnations;
};

static unsigned long forgetful; /* tries to mint that had to be refused */

/* Check's own assertions write to a file each time; there are 10^8 here. */
#define CHECK(h, condition)                                                    \
	do {                                                                   \
		if (!(condition))                                              \
			failed(h, #condition);                                 \
	} while (0)
#define SAY(h, ...)                                                            \
	do {                                                                   \
		if ((h)->loud) {                                               \
			printf("%3d ", (h)->step);                             \
			printf(__VA_ARGS__);                                   \
			printf("\n");                                          \
		}                                                              \
	} while (0)

static void
failed(const struct history *h, const char *what)
{
	ck_abort_msg("DYN_SEED=0x%llx step %d: %s", (unsigned long long)h->seed, h->step, what);
}

static size_t
pick(struct history *h, size_t below)
{
	return (size_t)rng_below(&h->rng, below);
}

static bool
chance(struct history *h, unsigned percent)
{
	return rng_below(&h->rng, 100) < percent;
}

static struct dyn_slice
bytes_of(const struct copy *c)
{
	return buf_slice(c->bytes);
}

/* ------------------------------------------------------------------ the oracle */

static set
one(size_t event)
{
	return UINT64_C(1) << event;
}

#define EACH_EVENT(e, s)                                                       \
	for (set e##_left = (s), e = 0;                                        \
	    e##_left != 0 && (e = (set)__builtin_ctzll(e##_left), true);       \
	    e##_left &= e##_left - 1)

/* These events and all in their past. */
static set
closure(const struct history *h, set s)
{
	set all = s;

	EACH_EVENT(e, s)
		all |= h->events[e].past;
	return all;
}

static set
writes(const struct history *h, set s)
{
	set found = 0;

	EACH_EVENT(e, s)
		if (!h->events[e].deletes)
			found |= one(e);
	return found;
}

/* Writes among them that none of them has seen. */
static set
leaves(const struct history *h, set known)
{
	set replaced = 0;

	EACH_EVENT(e, known)
		replaced |= h->events[e].past;
	return writes(h, known) & ~replaced;
}

static set
of_lww(const struct history *h, set s)
{
	set found = 0;

	EACH_EVENT(e, s)
		if (h->events[e].lww)
			found |= one(e);
	return found;
}

/* Under last write wins: the one with the largest (time, dot). */
static set
latest(const struct history *h, set s)
{
	const struct event *best = NULL;
	set found = 0;

	EACH_EVENT(e, s) {
		const struct event *x = &h->events[e];

		if (best != NULL && (x->time < best->time || (x->time == best->time &&
		    dot_compare(x->dot, best->dot) < 0)))
			continue;
		best = x;
		found = one(e);
	}
	return found;
}

/* The largest time of the versions a reader of these events has seen. */
static uint64_t
newest_time(const struct history *h, set s)
{
	uint64_t newest = 0;

	EACH_EVENT(e, writes(h, s))
		newest = MAX(newest, h->events[e].time);
	return newest;
}

/* -------------------------------------------------------- objects against it */

/* A value is the number of its event. */
static set
values_of(const struct history *h, const struct object *o)
{
	set found = 0;

	for (size_t i = 0; i < o->count; i++) {
		const struct version *v = &o->values[i];
		size_t e = EVENTS_MAX;

		if ((v->flags & VERSION_DELETED) == 0) {
			CHECK(h, v->value.len == 1);
			e = *(const unsigned char *)v->value.data;
		} else {
			for (e = 0; e < h->events_count; e++)
				if (h->events[e].removed &&
				    dot_compare(h->events[e].dot, v->dot) == 0)
					break;
		}
		CHECK(h, e < h->events_count);
		CHECK(h, dot_compare(v->dot, h->events[e].dot) == 0);
		CHECK(h, v->time == h->events[e].time);
		CHECK(h, (found & one(e)) == 0);
		found |= one(e);
	}
	return found;
}

/* The clock is the set of all writes known, directly or by their successors. */
static void
check_clock(const struct history *h, const struct clock *c, set past)
{
	uint64_t dots = 0, in_clock = c->cloud_count;

	for (size_t i = 0; i < c->vector_count; i++)
		in_clock += c->vector[i].counter;
	EACH_EVENT(e, writes(h, past)) {
		CHECK(h, clock_covers(c, h->events[e].dot));
		dots++;
	}
	CHECK(h, in_clock == dots);
}

static void
check_values(const struct history *h, set live, set known)
{
	set expected = leaves(h, known);

	switch (h->policy) {
	case PLAIN:
		CHECK(h, live == expected);
		break;
	case LWW:
		CHECK(h, live == latest(h, writes(h, known)));
		break;
	default: /* plain ones exactly; of the others at most one */
		CHECK(h, (live & ~of_lww(h, live)) == (expected & ~of_lww(h, expected)));
		CHECK(h, (of_lww(h, live) & ~expected) == 0);
		CHECK(h, (of_lww(h, live) & (of_lww(h, live) - 1)) == 0);
		break;
	}
	EACH_EVENT(e, live)
		CHECK(h, (h->events[e].past & live) == 0);
}

static void
check_copy(const struct history *h, const struct copy *c)
{
	struct object o;
	struct buf *again;

	CHECK(h, object_decode(&o, bytes_of(c)) == 0);
	check_clock(h, &o.clock, closure(h, c->known));
	check_values(h, values_of(h, &o), c->known);
	CHECK(h, object_encode(&o, &again) == 0);
	CHECK(h, slice_equal(buf_slice(again), bytes_of(c)));
	buf_unref(again);
	object_fini(&o);
}

/* ------------------------------------------------------------------- merging */

/* The merge of two byte strings, with its laws about who is who. */
static struct buf *
merge_bytes(const struct history *h, struct buf *a, struct buf *b)
{
	struct buf *out;
	int how = object_merge(buf_slice(a), buf_slice(b), &out);

	CHECK(h, how >= 0 && how != OBJECT_SKEWED);
	CHECK(h, (how == OBJECT_SAME) == slice_equal(buf_slice(a), buf_slice(b)));
	CHECK(h, (how == OBJECT_BOTH) == (out != NULL));
	if (how == OBJECT_BOTH) {
		CHECK(h, !slice_equal(buf_slice(out), buf_slice(a)));
		CHECK(h, !slice_equal(buf_slice(out), buf_slice(b)));
		return out;
	}
	return buf_ref(how == OBJECT_RIGHT ? b : a);
}

static void
check_same(const struct history *h, struct buf *a, struct buf *b)
{
	CHECK(h, slice_equal(buf_slice(a), buf_slice(b)));
	buf_unref(a);
	buf_unref(b);
}

/* Commutative, idempotent; all it consists of is in it. */
static struct buf *
merge_both_ways(const struct history *h, struct buf *a, struct buf *b)
{
	struct buf *m = merge_bytes(h, a, b), *none;

	check_same(h, buf_ref(m), merge_bytes(h, b, a));
	CHECK(h, object_merge(buf_slice(m), buf_slice(m), &none) == OBJECT_SAME);
	if (!slice_equal(buf_slice(m), buf_slice(a)))
		CHECK(h, object_merge(buf_slice(m), buf_slice(a), &none) == OBJECT_LEFT);
	if (!slice_equal(buf_slice(m), buf_slice(b)))
		CHECK(h, object_merge(buf_slice(b), buf_slice(m), &none) == OBJECT_RIGHT);
	return m;
}

static void
check_associative(const struct history *h, struct buf *a, struct buf *b, struct buf *c)
{
	struct buf *ab = merge_bytes(h, a, b), *bc = merge_bytes(h, b, c);

	check_same(h, merge_bytes(h, ab, c), merge_bytes(h, a, bc));
	buf_unref(ab);
	buf_unref(bc);
}

static void
copy_set(struct copy *to, struct buf *bytes, set known)
{
	buf_unref(to->bytes);
	to->bytes = bytes;
	to->known = known;
}

static void
merge_into(struct history *h, struct copy *to, const struct copy *from)
{
	struct buf *m = merge_both_ways(h, to->bytes, from->bytes);

	copy_set(to, m, to->known | from->known);
	check_copy(h, to);
}

static const struct copy *
any_copy(struct history *h)
{
	size_t i = pick(h, h->replicas_count + MESSAGES);

	return i < h->replicas_count ? &h->replicas[i].now :
	    &h->messages[i - h->replicas_count];
}

/* ------------------------------------------------------------------ contexts */

static void
context_set(struct context *c, struct clock *clock, set past, uint64_t time)
{
	clock_fini(&c->clock);
	c->clock = *clock;
	c->past = past;
	c->time = time;
}

/* A read of one replica or of two.  What it returns are the values; they and
 * the deletes they come after are what its reader has seen. */
static void
step_read(struct history *h)
{
	struct context *c = &h->contexts[pick(h, CONTEXTS)];
	struct copy seen = { 0 };
	struct object o;
	struct clock clock;
	uint64_t time = 0;
	const struct copy *from = &h->replicas[pick(h, h->replicas_count)].now;

	copy_set(&seen, buf_ref(from->bytes), from->known);
	if (chance(h, 50))
		merge_into(h, &seen, any_copy(h));
	CHECK(h, object_decode(&o, bytes_of(&seen)) == 0);
	CHECK(h, clock_copy(&clock, &o.clock) == 0);
	for (size_t i = 0; i < o.count; i++)
		time = MAX(time, o.values[i].time);
	context_set(c, &clock, closure(h, seen.known), time);
	object_fini(&o);
	SAY(h, "read: context %zu covers %llx", (size_t)(c - h->contexts),
	    (unsigned long long)c->past);
	buf_unref(seen.bytes);
}

/* What a put returns: what was given, and the version just made. */
static void
keep_context(struct history *h, const struct context *given, size_t e)
{
	struct context *c = &h->contexts[pick(h, CONTEXTS)];
	struct clock clock = { 0 };

	if (given != NULL)
		CHECK(h, clock_copy(&clock, &given->clock) == 0);
	CHECK(h, clock_add(&clock, h->events[e].dot) == 0);
	context_set(c, &clock, (given != NULL ? given->past : 0) | one(e),
	    MAX(given != NULL ? given->time : 0, h->events[e].time));
	check_clock(h, &c->clock, c->past);
}

/* ------------------------------------------------------------ puts and deletes */

/* Events of the actor are numbered as they are made; how many are known without
 * a gap, and is one known beyond that? */
static bool
has_forgotten(const struct history *h, const struct replica *r, set context)
{
	set mine = closure(h, r->now.known) & r->made;
	set heard = (mine | context) & r->made;
	bool gap = false;

	/* events are numbered in the order of their making, over all actors */
	EACH_EVENT(e, r->made) {
		if ((mine & one(e)) == 0)
			gap = true;
		if (gap && (heard & one(e)) != 0)
			return true;
	}
	return false;
}

static void
renew(struct history *h, struct replica *r)
{
	r->actor.incarnation = ++h->incarnations;
	r->made = 0;
	SAY(h, "replica %zu: incarnation %llu", (size_t)(r - h->replicas),
	    (unsigned long long)r->actor.incarnation);
}

/* The past of an event made now: what its writer has seen; a writer that says
 * "overwrite" has seen what its coordinator knows. */
static set
past_of(const struct history *h, const struct replica *r, const struct context *c, bool overwrite)
{
	set past = c != NULL ? c->past : 0;

	return overwrite ? past | closure(h, r->now.known) : past;
}

static void
record(struct history *h, struct replica *r, const struct mint *m, set past, struct dot dot,
    uint64_t time)
{
	struct event *e = &h->events[h->events_count];
	bool minted = dot.counter != 0;

	CHECK(h, minted == (!m->deleted || m->lww));
	*e = (struct event){ .deletes = !minted, .lww = m->lww, .removed = minted && m->deleted,
		.past = past, .dot = dot, .time = time };
	for (size_t i = 0; minted && i < h->events_count; i++)
		CHECK(h, h->events[i].deletes || dot_compare(h->events[i].dot, dot) != 0);
	if (minted)
		r->made |= one(h->events_count);
	/* Later than what is here, and under last write wins than all it has seen;
	 * a plain delete leaves no time. */
	CHECK(h, !minted || h->policy == MIXED || time > newest_time(h,
	    h->policy == LWW ? past : leaves(h, r->now.known)));
	h->events_count++;
}

/* Try under an actor that has lost events: refused, if anything shows it. */
static void
try_forgetful(struct history *h, struct replica *r, const struct mint *m, const struct context *c)
{
	struct mint mine = *m;
	struct buf *out;
	struct dot dot;
	int rc;

	mine.actor = r->actor;
	if (m->deleted && !m->lww)
		return;
	if (has_forgotten(h, r, c != NULL ? c->past : 0)) {
		rc = object_put(bytes_of(&r->now), &mine, &out, &dot);
		CHECK(h, rc == DYN_ECORRUPT && out == NULL);
		forgetful++;
		renew(h, r);
	} else if ((r->made & ~closure(h, r->now.known)) != 0) {
		/* Lost, and nothing shows it: a host must know by other means. */
		renew(h, r);
	}
}

static void
step_change(struct history *h, struct replica *r, bool deletes)
{
	const struct context *c = chance(h, 30) ? NULL : &h->contexts[pick(h, CONTEXTS)];
	unsigned char value = (unsigned char)h->events_count;
	uint64_t time = 0;
	struct mint m = { .value = slice(&value, 1), .deleted = deletes, .made_time = &time };
	struct buf *out;
	struct dot dot;
	set past;

	if (h->events_count == EVENTS_MAX)
		return;
	m.lww = h->policy == LWW || (h->policy == MIXED && chance(h, 50));
	m.overwrite = chance(h, 10);
	m.context = c != NULL ? &c->clock : NULL;
	m.after = c != NULL ? c->time : 0;
	r->wall += pick(h, 4);
	m.time = r->wall;
	try_forgetful(h, r, &m, c);
	m.actor = r->actor;
	past = past_of(h, r, c, m.overwrite);
	CHECK(h, object_put(bytes_of(&r->now), &m, &out, &dot) == 0);
	record(h, r, &m, past, dot, time);
	copy_set(&r->now, out, r->now.known | one(h->events_count - 1));
	SAY(h, "replica %zu: event %zu%s%s past %llx dot %llx'%llu.%llu",
	    (size_t)(r - h->replicas), h->events_count - 1, deletes ? " delete" : "",
	    m.lww ? " lww" : "", (unsigned long long)past, (unsigned long long)dot.actor.node,
	    (unsigned long long)dot.actor.incarnation, (unsigned long long)dot.counter);
	check_copy(h, &r->now);
	if (dot.counter != 0 && !m.overwrite && chance(h, 50))
		keep_context(h, c, h->events_count - 1);
}

/* -------------------------------------------------------------------- the rest */

static void
step_send(struct history *h)
{
	const struct copy *from = any_copy(h);
	size_t to = pick(h, MESSAGES);

	copy_set(&h->messages[to], buf_ref(from->bytes), from->known);
}

static void
step_deliver(struct history *h, struct replica *r)
{
	const struct copy *from = any_copy(h);

	SAY(h, "replica %zu: gets %llx", (size_t)(r - h->replicas),
	    (unsigned long long)from->known);
	merge_into(h, &r->now, from);
}

/* The copy is lost, or an old one is put back.  The actor stays: try_forgetful
 * finds out. */
static void
step_lose(struct history *h, struct replica *r)
{
	const struct copy *old = &h->messages[pick(h, MESSAGES)];

	/* An old copy of its own is one that is no newer. */
	if (chance(h, 50) && (old->known & ~r->now.known) == 0)
		copy_set(&r->now, buf_ref(old->bytes), old->known);
	else
		copy_set(&r->now, buf_copy(NULL, 0), 0);
	SAY(h, "replica %zu: back to %llx", (size_t)(r - h->replicas),
	    (unsigned long long)r->now.known);
	check_copy(h, &r->now);
}

static void
step(struct history *h)
{
	struct replica *r = &h->replicas[pick(h, h->replicas_count)];
	size_t what = pick(h, 100);

	if (what < 30)
		step_change(h, r, false);
	else if (what < 36)
		step_change(h, r, true);
	else if (what < 55)
		step_read(h);
	else if (what < 70)
		step_send(h);
	else if (what < 93)
		step_deliver(h, r);
	else if (what < 97)
		step_lose(h, r);
	else if (what < 98)
		renew(h, r);
	else if (h->policy != MIXED)
		check_associative(h, any_copy(h)->bytes, any_copy(h)->bytes, any_copy(h)->bytes);
}

/* Two rounds of everybody with everybody, in two orders: all equal.  Then a put
 * with what a last read returned leaves one value (S8). */
static void
converge(struct history *h)
{
	size_t n = h->replicas_count;
	struct replica *r = &h->replicas[pick(h, n)];
	struct mint m = { .actor = { 99, 1 }, .value = slice("", 1), .overwrite = true };
	struct object o;
	struct buf *out;
	struct dot dot;

	h->step++;
	for (size_t i = 0; i < 2 * n * n; i++)
		merge_into(h, &h->replicas[i / n % n].now, &h->replicas[i % n].now);
	for (size_t i = 1; i < n; i++)
		CHECK(h, slice_equal(bytes_of(&h->replicas[i].now),
		    bytes_of(&h->replicas[0].now)));
	CHECK(h, object_put(bytes_of(&r->now), &m, &out, &dot) == 0);
	CHECK(h, object_decode(&o, buf_slice(out)) == 0);
	CHECK(h, o.count == 1 && dot_compare(o.values[0].dot, dot) == 0);
	object_fini(&o);
	buf_unref(out);
}

static void
begin(struct history *h, uint64_t seed, enum policy policy, bool loud)
{
	memset(h, 0, sizeof(*h));
	h->seed = seed;
	h->rng.state = seed;
	h->policy = policy;
	h->loud = loud;
	h->replicas_count = 2 + pick(h, REPLICAS_MAX - 1);
	h->incarnations = 1;
	for (size_t i = 0; i < h->replicas_count; i++) {
		h->replicas[i].actor = (struct actor){ i + 1, 1 };
		h->replicas[i].wall = 1 + pick(h, 20);
		h->replicas[i].now.bytes = buf_copy(NULL, 0);
	}
	for (size_t i = 0; i < MESSAGES; i++)
		h->messages[i].bytes = buf_copy(NULL, 0);
}

static void
end(struct history *h)
{
	for (size_t i = 0; i < h->replicas_count; i++)
		buf_unref(h->replicas[i].now.bytes);
	for (size_t i = 0; i < MESSAGES; i++)
		buf_unref(h->messages[i].bytes);
	for (size_t i = 0; i < CONTEXTS; i++)
		clock_fini(&h->contexts[i].clock);
}

static void
run(uint64_t seed, bool loud)
{
	/* Ten in sixteen plain, four last write wins, two mixed. */
	static const enum policy policies[16] = { [10] = LWW, LWW, LWW, LWW, MIXED, MIXED };
	long before = mem_balance();
	struct history h;
	int steps;

	begin(&h, seed, policies[mix64(seed) % 16], loud);
	steps = 10 + (int)pick(&h, 50);
	for (h.step = 0; h.step < steps; h.step++)
		step(&h);
	converge(&h);
	end(&h);
	ck_assert_msg(mem_balance() == before, "DYN_SEED=0x%llx leaks", (unsigned long long)seed);
}

START_TEST(histories)
{
	const char *alone = getenv("DYN_SEED"), *many = getenv("DYN_HISTORIES");
	unsigned long count = many != NULL ? strtoul(many, NULL, 0) : HISTORIES;

	if (alone != NULL) {
		if (_i == 0)
			run(strtoull(alone, NULL, 0), true);
		return;
	}
	for (unsigned long i = 0; i < count / CHUNKS; i++)
		run(mix64(test_seed() + (uint64_t)_i * count + i), false);
	/* The rule of minting was tried, not only obeyed. */
	ck_assert(count < 1000 || forgetful > count / CHUNKS / 100);
}
END_TEST

static Suite *
versions_suite(void)
{
	Suite *s = suite_create("versions");
	TCase *c = tcase_create("histories");

	tcase_set_timeout(c, 300);
	tcase_add_loop_test(c, histories, 0, CHUNKS);
	suite_add_tcase(s, c);
	return s;
}

TEST_MAIN(versions_suite)
