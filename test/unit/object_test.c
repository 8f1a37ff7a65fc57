/*
 * Goal: objects keep exactly the versions nobody has seen the successor of, in
 * canonical bytes, and puts obey the rule of minting.
 * Method: the paper's figure 3 and small cases in notation (notation.h); golden
 * bytes and all their prefixes; every kind of malformed byte string.  Random
 * histories are in versions_property_test.c.
 */
#include "test/test.h"

#include "test/golden/golden.h"
#include "test/unit/notation.h"

static struct dyn_slice
bytes(const struct buf *b)
{
	return buf_slice(b);
}

/* A put by notation; *now is replaced by the new object. */
static struct dot
put(struct buf **now, struct mint m, const char *actor, const char *context, const char *value)
{
	struct clock seen = { 0 };
	struct buf *out;
	struct dot dot;

	m.actor = actor_of(actor);
	m.value = dyn_str(value);
	if (m.time == 0)
		m.time = 10;
	if (context != NULL) {
		clock_of(&seen, context);
		m.context = &seen;
	}
	ck_assert_int_eq(object_put(bytes(*now), &m, &out, &dot), 0);
	clock_fini(&seen);
	buf_unref(*now);
	*now = out;
	return dot;
}

static int
try_put(const char *now, const char *actor, const char *context, struct mint m)
{
	struct buf *before = object_of(now), *out;
	struct clock seen = { 0 };
	struct dot dot;
	int rc;

	m.actor = actor_of(actor);
	if (context != NULL) {
		clock_of(&seen, context);
		m.context = &seen;
	}
	rc = object_put(bytes(before), &m, &out, &dot);
	ck_assert(rc == 0 ? out != NULL : out == NULL && dot.counter == 0);
	buf_unref(out);
	buf_unref(before);
	clock_fini(&seen);
	return rc;
}

static struct buf *
merged(struct dyn_slice a, struct dyn_slice b)
{
	struct buf *out;

	switch (object_merge(a, b, &out)) {
	case OBJECT_SAME:
	case OBJECT_LEFT:
		ck_assert_ptr_null(out);
		return buf_copy(a.data, a.len);
	case OBJECT_RIGHT:
		ck_assert_ptr_null(out);
		return buf_copy(b.data, b.len);
	case OBJECT_BOTH:
	case OBJECT_SKEWED:
		ck_assert_ptr_nonnull(out);
		return out;
	default:
		ck_abort_msg("merge failed");
	}
}

/* ------------------------------------------------------------------- the paper */

/*
 * Paper 4.4, figure 3: a client writes D1 and D2 through Sx; then D3 through Sy
 * and D4 through Sz are written from D2; who reads both writes D5 through Sx.
 */
START_TEST(figure_3)
{
	struct buf *x = object_of(""), *y, *z, *both;
	struct mint plain = { 0 };

	put(&x, plain, "x", NULL, "D1");
	assert_versions(bytes(x), "x1 | x1=D1");
	put(&x, plain, "x", "x1", "D2");
	assert_versions(bytes(x), "x2 | x2=D2");
	y = merged(bytes(x), slice(NULL, 0));
	z = merged(bytes(x), slice(NULL, 0));
	put(&y, plain, "y", "x2", "D3");
	assert_versions(bytes(y), "x2 y1 | y1=D3");
	put(&z, plain, "z", "x2", "D4");
	assert_versions(bytes(z), "x2 z1 | z1=D4");
	both = merged(bytes(y), bytes(z));
	assert_versions(bytes(both), "x2 y1 z1 | y1=D3 z1=D4");
	put(&both, plain, "x", "x2 y1 z1", "D5");
	assert_versions(bytes(both), "x3 y1 z1 | x3=D5");
	/* Who has D3 or D4 only learns that D5 replaces it. */
	buf_unref(x);
	x = merged(bytes(both), bytes(z));
	assert_versions(bytes(x), "x3 y1 z1 | x3=D5");
	buf_unref(x);
	buf_unref(y);
	buf_unref(z);
	buf_unref(both);
}
END_TEST

/* ----------------------------------------------------------------------- merge */

static const struct {
	const char *a, *b, *out;
	enum object_merged how;
} merges[] = {
	{ "", "", "", OBJECT_SAME },
	{ "", "a1 | a1=x", "a1 | a1=x", OBJECT_RIGHT },
	{ "a1 | a1=x", "a1 | a1=x", "a1 | a1=x", OBJECT_SAME },
	/* an ancestor is replaced */
	{ "a1 | a1=x", "a2 | a2=y", "a2 | a2=y", OBJECT_RIGHT },
	/* siblings of two coordinators, and of one */
	{ "a1 | a1=x", "b1 | b1=y", "a1 b1 | a1=x b1=y", OBJECT_BOTH },
	{ "a1 | a1=x", "a2 | a1=x a2=y", "a2 | a1=x a2=y", OBJECT_RIGHT },
	/* one side has replaced x without knowing y */
	{ "a1 b1 | a1=x b1=y", "a2 | a2=z", "a2 b1 | a2=z b1=y", OBJECT_BOTH },
	/* a tombstone removes what it covers and nothing else */
	{ "a1 | a1=x", "a1 |", "a1 |", OBJECT_RIGHT },
	{ "a2 | a1=x a2=y", "a1 |", "a2 | a2=y", OBJECT_BOTH },
	{ "a1 |", "b1 |", "a1 b1 |", OBJECT_BOTH },
	/* a dot of the cloud covers that version and not the earlier ones */
	{ "a2 | a1=x a2=y", "b1 +a2 | b1=z", "a2 b1 | a1=x b1=z", OBJECT_BOTH },
	/* the same values, but more is known */
	{ "a1 b1 | b1=y", "b1 | b1=y", "a1 b1 | b1=y", OBJECT_LEFT },
	/* last write wins: later, or the larger dot at the same time */
	{ "a1 | a1@5#x", "b1 | b1@4#y", "a1 b1 | a1@5#x", OBJECT_BOTH },
	{ "a1 | a1@5#x", "b1 | b1@5#y", "a1 b1 | b1@5#y", OBJECT_BOTH },
	{ "a1 | a1@5#x", "b1 | b1@6!", "a1 b1 | b1@6!", OBJECT_BOTH },
	/* ... among its own kind */
	{ "a1 | a1@5#x", "b1 | b1@9=y", "a1 b1 | a1@5#x b1@9=y", OBJECT_BOTH },
	{ "a1 | a1@5#x", "a1 b1 | b1@9=y", "a1 b1 | b1@9=y", OBJECT_RIGHT },
};

START_TEST(merge_cases)
{
	static const enum object_merged mirror[] = {
		[OBJECT_SAME] = OBJECT_SAME, [OBJECT_LEFT] = OBJECT_RIGHT,
		[OBJECT_RIGHT] = OBJECT_LEFT, [OBJECT_BOTH] = OBJECT_BOTH,
	};
	struct buf *a = object_of(merges[_i].a), *b = object_of(merges[_i].b), *out;

	ck_assert_int_eq(object_merge(bytes(a), bytes(b), &out), (int)merges[_i].how);
	buf_unref(out);
	ck_assert_int_eq(object_merge(bytes(b), bytes(a), &out), (int)mirror[merges[_i].how]);
	buf_unref(out);
	out = merged(bytes(a), bytes(b));
	assert_object(bytes(out), merges[_i].out);
	buf_unref(out);
	out = merged(bytes(b), bytes(a));
	assert_object(bytes(out), merges[_i].out);
	buf_unref(out);
	buf_unref(a);
	buf_unref(b);
}
END_TEST

/* PAINS 4: one dot, two contents.  Neither may be dropped, the alarm is given
 * once, the merge stays a merge, and the next put ends it. */
START_TEST(equal_dots_with_unequal_bytes_both_stay)
{
	struct buf *a = object_of("a1 | a1=x"), *b = object_of("a1 | a1=y");
	struct buf *both, *other, *none;

	ck_assert_int_eq(object_merge(bytes(a), bytes(b), &both), OBJECT_SKEWED);
	assert_versions(bytes(both), "a1 | a1=x a1=y");
	ck_assert_int_eq(object_merge(bytes(b), bytes(a), &other), OBJECT_SKEWED);
	ck_assert(slice_equal(bytes(both), bytes(other)));
	buf_unref(other);
	ck_assert_int_eq(object_merge(bytes(both), bytes(both), &none), OBJECT_SAME);
	ck_assert_int_eq(object_merge(bytes(both), bytes(a), &other), OBJECT_SKEWED);
	ck_assert(slice_equal(bytes(both), bytes(other)));
	buf_unref(other);
	put(&both, (struct mint){ 0 }, "b", "a1", "z");
	assert_versions(bytes(both), "a1 b1 | b1=z");
	ck_assert_int_eq(object_merge(bytes(both), bytes(a), &none), OBJECT_LEFT);
	buf_unref(a);
	buf_unref(b);
	buf_unref(both);
}
END_TEST

/* Copies of coordinators that each stopped at the limit merge all the same. */
START_TEST(merge_does_not_count_siblings)
{
	struct buf *now[2] = { object_of(""), object_of("") }, *both;
	struct object o;

	for (int n = 0; n < LIMIT_SIBLINGS; n++) {
		put(&now[0], (struct mint){ 0 }, "a", NULL, "x");
		put(&now[1], (struct mint){ 0 }, "b", NULL, "y");
	}
	both = merged(bytes(now[0]), bytes(now[1]));
	ck_assert_int_eq(object_decode(&o, bytes(both)), 0);
	ck_assert_uint_eq(o.count, 2 * LIMIT_SIBLINGS);
	object_fini(&o);
	for (size_t i = 0; i < 2; i++)
		buf_unref(now[i]);
	buf_unref(both);
}
END_TEST

START_TEST(merge_of_the_usual_kinds_allocates_nothing)
{
	struct buf *old = object_of("a3 b1 | a3=x"), *new = object_of("a4 b1 | a4=y"), *out;

	mem_fail_at(1);
	ck_assert_int_eq(object_merge(bytes(old), bytes(new), &out), OBJECT_RIGHT);
	ck_assert_int_eq(object_merge(bytes(new), bytes(old), &out), OBJECT_LEFT);
	ck_assert_int_eq(object_merge(bytes(new), bytes(new), &out), OBJECT_SAME);
	ck_assert_int_eq(object_merge(bytes(new), slice(NULL, 0), &out), OBJECT_LEFT);
	ck_assert_int_eq(object_merge(slice(NULL, 0), bytes(new), &out), OBJECT_RIGHT);
	mem_fail_at(0);
	buf_unref(old);
	buf_unref(new);
}
END_TEST

/* ------------------------------------------------------------------------- put */

START_TEST(put_replaces_what_its_context_covers)
{
	struct buf *o = object_of("a2 b1 | a1=x a2=y b1=z");
	struct dot d;

	d = put(&o, (struct mint){ 0 }, "b", "+a2", "w");
	ck_assert_int_eq(dot_compare(d, dot_of("b2")), 0);
	assert_versions(bytes(o), "a2 b2 | a1=x b1=z b2=w");
	put(&o, (struct mint){ 0 }, "a", NULL, "v");
	assert_versions(bytes(o), "a3 b2 | a1=x a3=v b1=z b2=w");
	put(&o, (struct mint){ .overwrite = true }, "c", NULL, "u");
	assert_versions(bytes(o), "a3 b2 c1 | c1=u");
	buf_unref(o);
}
END_TEST

/* A context may know more than this copy: that is known here from now on. */
START_TEST(put_learns_from_its_context)
{
	struct buf *o = object_of("a1 | a1=x"), *late = object_of("a1 b2 | a1=x b2=y"), *both;

	put(&o, (struct mint){ 0 }, "a", "a1 b2", "z");
	assert_versions(bytes(o), "a2 b2 | a2=z");
	both = merged(bytes(o), bytes(late));
	assert_versions(bytes(both), "a2 b2 | a2=z");
	buf_unref(both);
	buf_unref(late);
	buf_unref(o);
}
END_TEST

/*
 * The context of a put covers what was given and the new dot.  Two clients that
 * each write twice without reading keep one value each; neither erases the
 * other's (PAINS 1).
 */
START_TEST(contexts_of_puts_replace_only_their_own)
{
	struct buf *o = object_of("");

	put(&o, (struct mint){ 0 }, "a", NULL, "one");
	put(&o, (struct mint){ 0 }, "a", NULL, "two");
	put(&o, (struct mint){ 0 }, "a", "a1", "one'");
	assert_versions(bytes(o), "a3 | a2=two a3=one'");
	put(&o, (struct mint){ 0 }, "a", "+a2", "two'");
	assert_versions(bytes(o), "a4 | a3=one' a4=two'");
	put(&o, (struct mint){ 0 }, "a", "a1 +a3", "one''");
	assert_versions(bytes(o), "a5 | a4=two' a5=one''");
	buf_unref(o);
}
END_TEST

static const struct {
	const char *now, *actor, *context;
	bool deleted, lww, overwrite;
	int rc;
} mints[] = {
	{ "", "a", NULL, false, false, false, 0 },
	{ "a2 | a2=x", "a", "a2 b5", false, false, false, 0 },
	/* the context has seen an event of mine that I lost */
	{ "a2 | a2=x", "a", "a3", false, false, false, DYN_ECORRUPT },
	{ "", "a", "a1", false, false, false, DYN_ECORRUPT },
	{ "b1 | b1=x", "a", "+a2", false, false, false, DYN_ECORRUPT },
	{ "a2 | a2=x", "a", "a3", false, true, false, DYN_ECORRUPT },
	{ "a2 | a2=x", "a", "a3", true, true, false, DYN_ECORRUPT },
	{ "a2 | a2=x", "a", "a3", false, false, true, DYN_ECORRUPT },
	/* this copy itself has a hole where I made something */
	{ "a1 +a3 | a3=x", "a", NULL, false, false, false, DYN_ECORRUPT },
	{ "b1 +a2 | b1=x", "a", NULL, false, false, true, DYN_ECORRUPT },
	/* under a new incarnation, or by somebody else, it may */
	{ "a1 +a3 | a3=x", "a'", NULL, false, false, false, 0 },
	{ "a2 | a2=x", "a'", "a3", false, false, false, 0 },
	{ "a2 | a2=x", "b", "a3", false, false, false, 0 },
	/* a plain delete makes no event */
	{ "a2 | a2=x", "a", "a3", true, false, false, 0 },
	{ "a1 +a3 | a3=x", "a", NULL, true, false, true, 0 },
};

START_TEST(only_who_holds_all_its_events_may_mint)
{
	struct mint m = { .deleted = mints[_i].deleted, .lww = mints[_i].lww,
		.overwrite = mints[_i].overwrite };

	ck_assert_int_eq(try_put(mints[_i].now, mints[_i].actor, mints[_i].context, m),
	    mints[_i].rc);
}
END_TEST

START_TEST(an_actor_ends_with_its_counters)
{
	struct dot last = { { 'a', 1 }, COUNTER_MAX };
	struct object o = { 0 };
	struct buf *now, *out;
	struct dot dot;
	struct mint m = { .actor = last.actor };

	o.clock.vector = &last;
	o.clock.vector_count = 1;
	ck_assert_int_eq(object_encode(&o, &now), 0);
	ck_assert_int_eq(object_put(bytes(now), &m, &out, &dot), DYN_ECORRUPT);
	m.actor.incarnation++;
	ck_assert_int_eq(object_put(bytes(now), &m, &out, &dot), 0);
	buf_unref(out);
	buf_unref(now);
}
END_TEST

START_TEST(delete_removes_what_its_context_covers)
{
	struct buf *o = object_of("a2 b1 | a1=x a2=y b1=z");
	struct dot d;

	d = put(&o, (struct mint){ .deleted = true }, "a", "a1", "");
	ck_assert_uint_eq(d.counter, 0);
	assert_versions(bytes(o), "a2 b1 | a2=y b1=z");
	put(&o, (struct mint){ .deleted = true }, "a", "b1 +a2 c7", "");
	assert_versions(bytes(o), "a2 b1 c7 |");
	buf_unref(o);
	o = object_of("a2 b1 | a1=x a2=y b1=z");
	put(&o, (struct mint){ .deleted = true, .overwrite = true }, "a", NULL, "");
	assert_versions(bytes(o), "a2 b1 |");
	buf_unref(o);
	o = object_of("");
	put(&o, (struct mint){ .deleted = true, .overwrite = true }, "a", NULL, "");
	ck_assert_uint_eq(o->len, 0);
	buf_unref(o);
}
END_TEST

/* Later than the clock given, than all this copy has, and than the context. */
START_TEST(times_never_go_back)
{
	struct buf *o = object_of("a2 | a1@30=x a2@20=y");
	uint64_t made;
	struct mint m = { .made_time = &made };

	m.time = 40;
	put(&o, m, "a", NULL, "p");
	ck_assert_uint_eq(made, 40);
	m.time = 12;
	put(&o, m, "a", "a3", "q");
	ck_assert_uint_eq(made, 41);
	m.after = 100;
	put(&o, m, "a", "a4", "r");
	ck_assert_uint_eq(made, 101);
	assert_object(bytes(o), "a5 | a5@101=r");
	m.deleted = true;
	put(&o, m, "a", "a5", "");
	ck_assert_uint_eq(made, 0);
	buf_unref(o);
	ck_assert_int_eq(try_put("a1 | a1@18446744073709551615=x", "a", NULL,
	    (struct mint){ 0 }), DYN_ECLOCK);
	ck_assert_int_eq(try_put("", "a", NULL, (struct mint){ .after = UINT64_MAX }), DYN_ECLOCK);
}
END_TEST

START_TEST(last_write_wins)
{
	struct mint lww = { .lww = true, .time = 50 };
	struct buf *o = object_of("");

	put(&o, lww, "a", NULL, "x");
	assert_object(bytes(o), "a1 | a1@50#x");
	lww.time = 20; /* a clock behind */
	put(&o, lww, "b", NULL, "y");
	assert_object(bytes(o), "a1 b1 | b1@51#y");
	lww.deleted = true;
	put(&o, lww, "a", NULL, "ignored");
	assert_object(bytes(o), "a2 b1 | a2@52!");
	lww.deleted = false;
	put(&o, lww, "b", NULL, "z");
	assert_object(bytes(o), "a2 b2 | b2@53#z");
	/* a plain version beside it is neither replaced nor replaces */
	put(&o, (struct mint){ .time = 90 }, "c", NULL, "plain");
	assert_object(bytes(o), "a2 b2 c1 | b2@53#z c1@90=plain");
	put(&o, lww, "a", NULL, "w");
	assert_object(bytes(o), "a3 b2 c1 | a3@91#w c1@90=plain");
	put(&o, lww, "a", "a3 c1", "v");
	assert_object(bytes(o), "a4 b2 c1 | a4@92#v");
	buf_unref(o);
}
END_TEST

START_TEST(siblings_have_a_limit)
{
	struct mint m = { .siblings_max = 3 };

	ck_assert_int_eq(try_put("a2 | a1=x a2=y", "a", NULL, m), 0);
	ck_assert_int_eq(try_put("a3 | a1=x a2=y a3=z", "a", NULL, m), DYN_ESIBLINGS);
	/* a context that covers one makes room for one */
	ck_assert_int_eq(try_put("a3 | a1=x a2=y a3=z", "a", "+a2", m), 0);
	/* also beyond the limit, as merging may bring it */
	ck_assert_int_eq(try_put("a4 | a1=x a2=y a3=z a4=w", "a", "+a2", m), 0);
	ck_assert_int_eq(try_put("a4 | a1=x a2=y a3=z a4=w", "a", "b1", m), DYN_ESIBLINGS);
	m.deleted = true;
	ck_assert_int_eq(try_put("a4 | a1=x a2=y a3=z a4=w", "a", "a1", m), 0);
	/* last write wins does not add to its own kind */
	m = (struct mint){ .siblings_max = 2, .lww = true };
	ck_assert_int_eq(try_put("a2 | a1#x a2=y", "a", NULL, m), 0);
}
END_TEST

START_TEST(expiry_travels_with_the_version)
{
	struct buf *now, *out;
	struct object o;
	struct dot dot;
	struct mint m = { .actor = actor_of("a"), .expiry_ms = 5000, .value = dyn_str("x") };

	now = object_of("");
	ck_assert_int_eq(object_put(bytes(now), &m, &out, &dot), 0);
	ck_assert_int_eq(object_decode(&o, bytes(out)), 0);
	ck_assert_uint_eq(o.values[0].expiry_ms, 5000);
	ck_assert(version_visible(&o.values[0], 4999));
	ck_assert(!version_visible(&o.values[0], 5000));
	object_fini(&o);
	buf_unref(out);
	m.deleted = m.lww = true;
	ck_assert_int_eq(object_put(bytes(now), &m, &out, &dot), 0);
	ck_assert_int_eq(object_decode(&o, bytes(out)), 0);
	ck_assert(!version_visible(&o.values[0], 0));
	ck_assert_uint_eq(o.flags, OBJECT_LWW);
	object_fini(&o);
	buf_unref(out);
	buf_unref(now);
}
END_TEST

START_TEST(too_large_is_refused)
{
	struct mint m = { .actor = actor_of("a"), .value = { "", LIMIT_OBJECT } };
	struct buf *out;
	struct dot dot;

	struct object o;

	ck_assert_int_eq(object_put(slice(NULL, 0), &m, &out, &dot), DYN_ETOOBIG);
	ck_assert_ptr_null(out);
	/* refused by the length alone */
	ck_assert_int_eq(object_decode(&o, slice("", LIMIT_OBJECT + 1)), DYN_ETOOBIG);
}
END_TEST

/* ----------------------------------------------------------------------- bytes */

static const struct {
	const char *name, *text;
} goldens[] = {
	{ "one", "a1 | a1=hello" },
	{ "empty-value", "a1 | a1=" },
	{ "tombstone", "a3 b1 |" },
	{ "siblings", "a2 b1 | a1@1=x a2@2=yy b1@281474976710656=zzz" },
	{ "cloud", "a1 +a3 +b2 | a3=x" },
	{ "incarnations", "a300 a'1 a''''2 | a'1=x" },
	{ "lww", "a1 b1 | b1@77#x" },
	{ "lww-delete", "a1 b2 | b2@78!" },
	{ "skewed", "a1 | a1=x a1=y" },
};

START_TEST(bytes_are_golden)
{
	const struct golden_file *f = golden_load("object.txt");
	struct buf *b = object_of(goldens[_i].text);

	golden_expect(f, goldens[_i].name, bytes(b));
	ck_assert_uint_eq(f->count, ARRAY_LEN(goldens));
	buf_unref(b);
}
END_TEST

/* Decoding and encoding again gives the same bytes; no proper prefix decodes,
 * nor do the bytes with one more. */
START_TEST(golden_bytes_decode_whole_or_not_at_all)
{
	const struct golden_file *f = golden_load("object.txt");
	const struct golden *g = &f->list[_i];
	unsigned char more[sizeof(g->bytes) + 1];
	struct object o;
	struct buf *b;

	ck_assert_int_eq(object_decode(&o, slice(g->bytes, g->len)), 0);
	ck_assert_int_eq(object_encode(&o, &b), 0);
	ck_assert(slice_equal(bytes(b), slice(g->bytes, g->len)));
	object_fini(&o);
	buf_unref(b);
	for (size_t len = 1; len < g->len; len++) {
		/* in memory of its own, so that a sanitizer sees a read beyond */
		b = buf_copy(g->bytes, len);
		ck_assert_msg(object_decode(&o, bytes(b)) == DYN_EPROTO, "prefix %zu", len);
		ck_assert_ptr_null(o.clock.heap);
		ck_assert_ptr_null(o.heap);
		buf_unref(b);
	}
	memcpy(more, g->bytes, g->len);
	more[g->len] = 0;
	ck_assert_int_eq(object_decode(&o, slice(more, g->len + 1)), DYN_EPROTO);
}
END_TEST

#define NODE(n) n, 0, 0, 0, 0, 0, 0, 0
#define CLOCK 1, 1, NODE('a'), 1, 2, 0 /* format 1, a2 */
#define TIME 10, 0, 0, 0, 0, 0, 0, 0
static const struct {
	const char *why;
	unsigned char bytes[80];
	size_t len;
	int rc;
} malformed[] = {
	{ "format 0", { 0, 1, NODE('a'), 1, 2, 0, 0 }, 14, DYN_EPROTO },
	{ "newer format", { 2, 1, NODE('a'), 1, 2, 0, 0 }, 14, DYN_EVERSION },
	{ "nothing known", { 1, 0, 0, 0 }, 4, DYN_EPROTO },
	{ "count without values", { CLOCK, 1 }, 14, DYN_EPROTO },
	{ "too many values", { CLOCK, 0x81, 0xfa, 1 }, 16, DYN_ETOOBIG },
	{ "value not in the clock", { CLOCK, 1, NODE('a'), 1, 3, TIME, 0, 0, 0 }, 35, DYN_EPROTO },
	{ "value of an unknown actor",
	    { CLOCK, 1, NODE('b'), 1, 1, TIME, 0, 0, 0 }, 35, DYN_EPROTO },
	{ "dot 0", { CLOCK, 1, NODE('a'), 1, 0, TIME, 0, 0, 0 }, 35, DYN_EPROTO },
	{ "a value twice", { CLOCK, 2, NODE('a'), 1, 1, TIME, 0, 0, 0, NODE('a'), 1, 1, TIME, 0, 0,
	    0 }, 56, DYN_EPROTO },
	{ "values descend", { CLOCK, 2, NODE('a'), 1, 2, TIME, 0, 0, 0, NODE('a'), 1, 1, TIME, 0,
	    0, 0 }, 56, DYN_EPROTO },
	{ "unknown flag", { CLOCK, 1, NODE('a'), 1, 1, TIME, 0, 4, 0 }, 35, DYN_EPROTO },
	{ "plain delete as a value", { CLOCK, 1, NODE('a'), 1, 1, TIME, 0, 1, 0 }, 35, DYN_EPROTO },
	{ "deleted with bytes", { CLOCK, 1, NODE('a'), 1, 1, TIME, 0, 3, 1, 'x' }, 36, DYN_EPROTO },
	{ "two that won", { CLOCK, 2, NODE('a'), 1, 1, TIME, 0, 2, 0, NODE('a'), 1, 2, TIME, 0, 2,
	    0 }, 56, DYN_EPROTO },
	{ "value longer than the bytes",
	    { CLOCK, 1, NODE('a'), 1, 1, TIME, 0, 0, 2, 'x' }, 36, DYN_EPROTO },
	{ "bytes left over", { CLOCK, 1, NODE('a'), 1, 1, TIME, 0, 0, 0, 0 }, 36, DYN_EPROTO },
};

START_TEST(malformed_bytes_are_refused)
{
	struct dyn_slice bad = slice(malformed[_i].bytes, malformed[_i].len);
	struct buf *good = object_of("b1 | b1=x"), *out;
	struct mint m = { .actor = actor_of("b") };
	struct object o;
	struct dot dot;

	ck_assert_msg(object_decode(&o, bad) == malformed[_i].rc, "%s", malformed[_i].why);
	object_fini(&o);
	ck_assert_int_eq(object_merge(bad, bytes(good), &out), malformed[_i].rc);
	ck_assert_int_eq(object_merge(bytes(good), bad, &out), malformed[_i].rc);
	ck_assert_int_eq(object_merge(bad, bad, &out), malformed[_i].rc);
	ck_assert_int_eq(object_merge(bad, slice(NULL, 0), &out), malformed[_i].rc);
	ck_assert_int_eq(object_merge(slice(NULL, 0), bad, &out), malformed[_i].rc);
	ck_assert_int_eq(object_put(bad, &m, &out, &dot), malformed[_i].rc);
	buf_unref(good);
}
END_TEST

/* -------------------------------------------------------------- forgetting */

#define ELEVEN "a1 b1 c1 d1 e1 f1 g1 h1 i1 j1 k1"

/* What is left of an object that all owners hold alike; actor: whose largest
 * forgotten counter is asked for. */
static const struct {
	const char *object;
	enum object_old old;
	const char *left, *actor;
	uint64_t forgotten;
} olds[] = {
	/* Tombstones go as a whole. */
	{ "a3 b1", OBJECT_OLD_ALL, "", "a", 3 },
	{ "a3 b1 +a7", OBJECT_OLD_ALL, "", "a", 7 },
	{ "a3 b1 | b1!", OBJECT_OLD_ALL, "", "c", 0 },
	{ "", OBJECT_FRESH, NULL, "a", 0 },
	/* What can be seen stays, and so do short clocks. */
	{ "a3 b1 | b1=x", OBJECT_FRESH, NULL, "a", 0 },
	{ ELEVEN " | a1=x b1=x c1=x d1=x e1=x f1=x g1=x h1=x i1=x j1=x k1=x", OBJECT_FRESH, NULL,
	    "a", 0 },
	/* Of long ones, who made what is there. */
	{ ELEVEN " | b1=x", OBJECT_OLD_CLOCK, "b1 | b1=x", "a", 1 },
	{ ELEVEN " | b1=x", OBJECT_OLD_CLOCK, "b1 | b1=x", "b", 0 },
	{ "a1 b5 c1 d1 e1 f1 g1 h1 i1 +a5 +b7 +b9 | b7=x i1=y", OBJECT_OLD_CLOCK,
	    "b5 i1 +b7 +b9 | b7=x i1=y", "a", 5 },
};

START_TEST(what_can_be_forgotten)
{
	struct buf *o = object_of(olds[_i].object), *left;
	uint64_t forgotten;
	int rc;

	ck_assert_int_eq(object_old(bytes(o), 1000), olds[_i].old);
	if (olds[_i].left != NULL) {
		rc = object_forget(bytes(o), 1000, actor_of(olds[_i].actor), &left, &forgotten);
		ck_assert_int_eq(rc, 0);
		assert_versions(bytes(left), olds[_i].left);
		ck_assert_uint_eq(forgotten, olds[_i].forgotten);
		buf_unref(left);
	} else if (o->len > 0) {
		rc = object_forget(bytes(o), 1000, actor_of("a"), &left, &forgotten);
		ck_assert_int_eq(rc, DYN_EINVAL);
		ck_assert_ptr_null(left);
	}
	buf_unref(o);
}
END_TEST

START_TEST(the_expired_is_a_tombstone_when_its_time_has_come)
{
	struct buf *o = object_of(""), *left;
	uint64_t forgotten;

	put(&o, (struct mint){ .expiry_ms = 500 }, "a", NULL, "x");
	put(&o, (struct mint){ .expiry_ms = 700 }, "b", NULL, "y");
	ck_assert_int_eq(object_old(bytes(o), 0), OBJECT_OLD_LATER);
	ck_assert_uint_eq(object_expires(bytes(o)), 700);
	ck_assert_int_eq(object_old(bytes(o), 699), OBJECT_OLD_LATER);
	ck_assert_int_eq(object_forget(bytes(o), 699, actor_of("a"), &left, &forgotten), DYN_EINVAL);
	ck_assert_int_eq(object_old(bytes(o), 700), OBJECT_OLD_ALL);
	ck_assert_int_eq(object_forget(bytes(o), 700, actor_of("a"), &left, &forgotten), 0);
	ck_assert_uint_eq(left->len, 0);
	ck_assert_uint_eq(forgotten, 1);
	buf_unref(left);
	/* One that stays is enough to keep the others. */
	put(&o, (struct mint){ .expiry_ms = 0 }, "c", NULL, "z");
	ck_assert_int_eq(object_old(bytes(o), 700), OBJECT_FRESH);
	ck_assert_uint_eq(object_expires(bytes(o)), 0);
	buf_unref(o);
}
END_TEST

/* Contexts are kept for long, and may know what the copy has forgotten: no counter is
 * used twice, whatever of the actor came back by a context. */
static const struct {
	const char *now, *context;
	uint64_t floor;
	const char *then; /* NULL: the actor has lost something */
} floors[] = {
	{ "", NULL, 5, "a6 | a6=v" },
	{ "", "a4 b2", 5, "a6 b2 | a6=v" },
	{ "", "a5", 5, "a6 | a6=v" },
	{ "", "a6", 5, NULL },
	{ "a2 b1 | b1=x", NULL, 5, "a6 b1 | a6=v b1=x" },
	{ "b1 +a3 | b1=x", NULL, 5, "a6 b1 | a6=v b1=x" },
	{ "b1 +a7 | b1=x", NULL, 5, NULL },
	{ "a7 b1 | a7=x", NULL, 5, "a8 b1 | a7=x a8=v" },
};

START_TEST(no_counter_is_used_twice)
{
	struct buf *now = object_of(floors[_i].now);

	if (floors[_i].then == NULL) {
		ck_assert_int_eq(try_put(floors[_i].now, "a", floors[_i].context,
		    (struct mint){ .floor = floors[_i].floor }), DYN_ECORRUPT);
	} else {
		put(&now, (struct mint){ .floor = floors[_i].floor }, "a", floors[_i].context, "v");
		assert_versions(bytes(now), floors[_i].then);
	}
	buf_unref(now);
}
END_TEST

/* A copy that is out of date: what others made may have been deleted since, what was
 * replaced stays so. */
static const struct {
	const char *object, *left;
} onlys[] = {
	{ "", "" },
	{ "b1 | b1=x", "" },
	{ "a3 b2 | a2=x a3=y", "a3 b2 | a2=x a3=y" },
	{ "a3 b2 | a3=y b2=x", "a3 b1 | a3=y" },
	{ "a3 b4 | a3=y b2=x", "a3 b1 +b3 +b4 | a3=y" },
	{ "b5 c1 | b2=x b4=y c1=z", "b1 +b3 +b5 |" },
	{ "b5 +b7 +b9 | b7=x b9=y", "b5 |" },
	{ "b5 +b7 +b9 | b4=x b9=y", "b3 +b5 +b7 |" },
	{ "a1 b2", "a1 b2 |" },
};

START_TEST(only_what_we_did)
{
	const struct actor us[2] = { actor_of("z"), actor_of("a") };
	struct buf *o = object_of(onlys[_i].object), *left;

	ck_assert_int_eq(object_only(bytes(o), us, 2, &left), 0);
	assert_versions(bytes(left), onlys[_i].left);
	buf_unref(left);
	buf_unref(o);
}
END_TEST

/* -------------------------------------------------------------- out of memory */

#define WIDE "a1 b1 c1 d1 e1 f1 g1 h1 i1 j1 k1 l1 m1"

START_TEST(failing_allocations)
{
	struct buf *a = object_of(WIDE " | a1=x b1=x c1=x d1=x e1=x");
	struct buf *b = object_of(WIDE " n1 +a3 | f1=x g1=x h1=x i1=x n1=x");

	TEST_ALLOC_FAILURES(n) {
		struct mint m = { .actor = { 'z', 1 }, .overwrite = n % 2 == 0 };
		struct buf *out;
		struct object o;
		struct dot dot;
		int rc;

		rc = object_decode(&o, bytes(a));
		ck_assert(rc == 0 || (rc == DYN_ENOMEM && o.count == 0));
		object_fini(&o);
		rc = object_merge(bytes(a), bytes(b), &out);
		ck_assert(rc == OBJECT_BOTH || (rc == DYN_ENOMEM && out == NULL));
		buf_unref(out);
		rc = object_forget(bytes(b), 0, actor_of("z"), &out, &(uint64_t){ 0 });
		ck_assert(rc == 0 || (rc == DYN_ENOMEM && out == NULL));
		buf_unref(out);
		rc = object_only(bytes(b), &m.actor, 1, &out);
		ck_assert(rc == 0 || (rc == DYN_ENOMEM && out == NULL));
		buf_unref(out);
		rc = object_put(bytes(b), &m, &out, &dot);
		ck_assert(rc == 0 || (rc == DYN_ENOMEM && out == NULL && dot.counter == 0));
		buf_unref(out);
	}
	buf_unref(a);
	buf_unref(b);
}
END_TEST

static Suite *
object_suite(void)
{
	Suite *s = suite_create("object");
	TCase *c = test_case(s, "paper", figure_3);

	c = test_case(s, "merge", equal_dots_with_unequal_bytes_both_stay);
	tcase_add_loop_test(c, merge_cases, 0, ARRAY_LEN(merges));
	tcase_add_test(c, merge_does_not_count_siblings);
	tcase_add_test(c, merge_of_the_usual_kinds_allocates_nothing);
	c = test_case(s, "put", put_replaces_what_its_context_covers);
	tcase_add_test(c, put_learns_from_its_context);
	tcase_add_test(c, contexts_of_puts_replace_only_their_own);
	tcase_add_loop_test(c, only_who_holds_all_its_events_may_mint, 0, ARRAY_LEN(mints));
	tcase_add_test(c, an_actor_ends_with_its_counters);
	tcase_add_test(c, delete_removes_what_its_context_covers);
	tcase_add_test(c, times_never_go_back);
	tcase_add_test(c, last_write_wins);
	tcase_add_test(c, siblings_have_a_limit);
	tcase_add_test(c, expiry_travels_with_the_version);
	tcase_add_test(c, too_large_is_refused);
	c = test_case(s, "forgetting", the_expired_is_a_tombstone_when_its_time_has_come);
	tcase_add_loop_test(c, what_can_be_forgotten, 0, ARRAY_LEN(olds));
	tcase_add_loop_test(c, no_counter_is_used_twice, 0, ARRAY_LEN(floors));
	tcase_add_loop_test(c, only_what_we_did, 0, ARRAY_LEN(onlys));
	c = test_case(s, "bytes", failing_allocations);
	tcase_add_loop_test(c, bytes_are_golden, 0, ARRAY_LEN(goldens));
	tcase_add_loop_test(c, golden_bytes_decode_whole_or_not_at_all, 0, ARRAY_LEN(goldens));
	tcase_add_loop_test(c, malformed_bytes_are_refused, 0, ARRAY_LEN(malformed));
	return s;
}

TEST_MAIN(object_suite)
