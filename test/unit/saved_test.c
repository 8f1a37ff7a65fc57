/*
 * What has to be on disk before what (lib/host/gossip.c, syncer.c).
 *
 * Goal: the marks of the copies before a view that shows a new life of the node; the
 * view before what a node says behind its fence.  Also where the disk is full for the
 * one and not for the other.
 * Method: rings of two in this process; one node's engine stands before one in memory
 * that outlives the node, refuses what it is told to, and notes what it took.
 */
#include "api.h"

#include <pthread.h>

struct before {
	struct dyn_engine engine, *real;
	pthread_mutex_t lock;
	const char *refused;  /* batches with this row of META */
	int refusals;         /* so many; -1 = all */
	int passes;           /* these first are taken */
	char took[4096];      /* rows of META that were taken, in order: "id, view, " */
};

static bool
names(const struct dyn_row *rows, size_t count, const char *name)
{
	for (size_t i = 0; i < count; i++)
		if (rows[i].space == DYN_SPACE_META && slice_equal(rows[i].id, dyn_str(name)))
			return true;
	return false;
}

static bool
is_refused(struct before *b, const struct dyn_row *rows, size_t count)
{
	if (b->refused == NULL || !names(rows, count, b->refused))
		return false;
	if (b->passes > 0 || b->refusals == 0) {
		b->passes -= b->passes > 0;
		return false;
	}
	b->refusals -= b->refusals > 0;
	return true;
}

static void
note(struct before *b, const struct dyn_row *rows, size_t count)
{
	size_t at = strlen(b->took);

	for (size_t i = 0; i < count; i++) {
		if (rows[i].space != DYN_SPACE_META || at + rows[i].id.len + 3 > sizeof(b->took))
			continue;
		memcpy(b->took + at, rows[i].id.data, rows[i].id.len);
		at += rows[i].id.len;
		memcpy(b->took + at, ", ", 3);
		at += 2;
	}
}

static int
apply(void *self, const struct dyn_row *rows, size_t count, enum dyn_durability d)
{
	struct before *b = self;
	int rc = DYN_EFULL;

	pthread_mutex_lock(&b->lock);
	if (!is_refused(b, rows, count))
		rc = b->real->apply(b->real->self, rows, count, d);
	if (rc == 0)
		note(b, rows, count);
	pthread_mutex_unlock(&b->lock);
	return rc;
}

static int
get(void *self, enum dyn_space space, struct dyn_slice id, struct dyn_buffer *out)
{
	struct dyn_engine *e = ((struct before *)self)->real;

	return e->get(e->self, space, id, out);
}

static int
scan(void *self, enum dyn_space space, struct dyn_slice after, struct dyn_slice last,
    dyn_engine_row *visit, void *arg)
{
	struct dyn_engine *e = ((struct before *)self)->real;

	return e->scan(e->self, space, after, last, visit, arg);
}

static int
drop(void *self, enum dyn_space space, struct dyn_slice first, struct dyn_slice last)
{
	struct dyn_engine *e = ((struct before *)self)->real;

	return e->drop(e->self, space, first, last);
}

static int
sync_all(void *self)
{
	struct dyn_engine *e = ((struct before *)self)->real;

	return e->sync(e->self);
}

static int
info(void *self, struct dyn_engine_info *out)
{
	struct dyn_engine *e = ((struct before *)self)->real;

	return e->info(e->self, out);
}

/* The rows stay. */
static int
close_nothing(void *self)
{
	(void)self;
	return 0;
}

static void
before_init(struct before *b)
{
	memset(b, 0, sizeof(*b));
	pthread_mutex_init(&b->lock, NULL);
	ck_assert_int_eq(dyn_engine_memory(&b->real), 0);
	b->engine = (struct dyn_engine){ .size = sizeof(b->engine), .self = b, .get = get,
		.apply = apply, .scan = scan, .drop = drop, .sync = sync_all, .info = info,
		.close = close_nothing };
}

static void
before_fini(struct before *b)
{
	ck_assert_int_eq(b->real->close(b->real->self), 0);
	pthread_mutex_destroy(&b->lock);
}

/* From now on, n batches with this row do not go to the disk; -1: all. */
static void
refuse(struct before *b, const char *name, int n)
{
	pthread_mutex_lock(&b->lock);
	b->refused = name;
	b->refusals = n;
	pthread_mutex_unlock(&b->lock);
}

static bool
took(struct before *b, const char *name)
{
	bool found;

	pthread_mutex_lock(&b->lock);
	found = strstr(b->took, name) != NULL;
	pthread_mutex_unlock(&b->lock);
	return found;
}

static dyn_node *
member(struct before *b, const dyn_node *seed)
{
	struct dyn_options o = DYN_OPTIONS_INIT;

	o.listen = "127.0.0.1:0";
	o.n = 2;
	o.partitions = 16;
	o.id = b != NULL ? "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" : NULL;
	if (seed != NULL)
		o.seeds = dyn_address(seed);
	if (b != NULL)
		o.engine = &b->engine;
	return api_open(&o);
}

static unsigned
moving(dyn_node *n)
{
	struct dyn_status s = DYN_STATUS_INIT;

	ck_assert_int_eq(dyn_status(n, &s), 0);
	return s.members == 2 ? s.moving : 2;
}

/* An empty directory under the id of a member.  identity.c marks the copies at the start;
 * gossip shows that there is a later life, and the marks it asks for meet a full disk. */
START_TEST(marks_before_the_view_of_a_new_life)
{
	struct before first, second;
	dyn_node *other, *n;
	const char *marked;

	before_init(&first);
	before_init(&second);
	other = member(NULL, NULL);
	for (int i = 0; i < 2; i++) {
		n = member(&first, other);
		TEST_WAIT(moving(n) == 0, 10000);
		api_close(n);
	}
	second.passes = 1;
	refuse(&second, "catching", 2);
	n = member(&second, other);
	TEST_WAIT(moving(n) == 0, 10000);
	api_close(n);
	ck_assert_int_eq(second.refusals, 0);
	/* Before anybody is told that it is there, and before anybody tells it. */
	ck_assert_msg(strncmp(second.took, "id, incarnation, actor, catching, ", 34) == 0, "%s",
	    second.took);
	marked = strstr(second.took, "catching, ");
	ck_assert_ptr_nonnull(marked);
	/* Again, and before any view. */
	marked = strstr(marked + 1, "catching, ");
	ck_assert_ptr_nonnull(marked);
	ck_assert_msg(strstr(second.took, "view, ") > marked, "%s", second.took);
	api_close(other);
	before_fini(&first);
	before_fini(&second);
}
END_TEST

/* What a newcomer says once it is fenced and has all: only after its view is saved. */
START_TEST(a_view_before_what_is_said_behind_the_fence)
{
	struct before b;
	dyn_node *other = member(NULL, NULL), *n;

	before_init(&b);
	refuse(&b, "view", -1);
	n = member(&b, other);
	TEST_WAIT(moving(n) == 1, 10000);
	for (int i = 0; i < 50; i++) {
		ck_assert_uint_eq(moving(n), 1);
		test_sleep_ms(20);
	}
	ck_assert(!took(&b, "view, "));
	refuse(&b, NULL, 0);
	TEST_WAIT(moving(n) == 0 && moving(other) == 0, 10000);
	ck_assert(took(&b, "view, "));
	api_close(n);
	api_close(other);
	before_fini(&b);
}
END_TEST

static Suite *
suite(void)
{
	Suite *s = suite_create("saved");

	test_case(s, "marks", marks_before_the_view_of_a_new_life);
	test_case(s, "fence", a_view_before_what_is_said_behind_the_fence);
	return s;
}

TEST_MAIN(suite)
