/*
 * Views.
 *
 * Goal: merging is a join (commutative, associative, idempotent) over any views
 * of a ring, forked tables included; the steps from table to table are taken
 * when all have followed and not before; bytes are checked; groups are right.
 * Method: a pool of views grown at random from one ring (joins, new addresses,
 * marks, settling on different sides), all pairs and triples of it merged in
 * all orders; scripted changes; each rule of the bytes broken once.
 */
#include "model/view.h"
#include "base/rng.h"
#include "test/test.h"

#include <stdio.h>

static struct record
record(unsigned number)
{
	struct record r;

	memset(&r, 0, sizeof(r));
	r.id.bytes[0] = (unsigned char)(number * 73);
	r.id.bytes[15] = (unsigned char)number;
	r.incarnation = 1;
	r.stamp = 1;
	r.state = RECORD_JOINED;
	r.weight = 100;
	r.workers = 1;
	snprintf(r.address, sizeof(r.address), "127.0.0.1:%u", 7000 + number);
	return r;
}

static struct settings
settings(void)
{
	struct settings s;

	memset(&s, 0, sizeof(s));
	s.ring_id.bytes[3] = 9;
	strcpy(s.name, "test");
	s.partitions = 16;
	s.n = 3;
	memset(s.secret, 7, sizeof(s.secret));
	return s;
}

static struct view *
ring_of_one(unsigned number)
{
	struct settings s = settings();
	struct record r = record(number);
	struct view *v;

	ck_assert_int_eq(view_create(&v, &s, &r), 0);
	return v;
}

/* Steps that replace *v. */
static void
with(struct view **v, const struct record *r)
{
	struct view *next;

	ck_assert_int_eq(view_with(&next, *v, r), 0);
	view_unref(*v);
	*v = next;
}

static void
settle(struct view **v)
{
	struct view *next;

	ck_assert_int_eq(view_settle(&next, *v), 0);
	view_unref(*v);
	*v = next;
}

static void
join(struct view **v, struct view *other)
{
	struct view *next;

	ck_assert_int_eq(view_merge(&next, *v, other), 0);
	view_unref(*v);
	*v = next;
}

/* Member `at` says that it has followed to current. */
static void
mark(struct view **v, size_t at, bool reading)
{
	struct record r = (*v)->records[at];

	r.stamp++;
	r.synced_epoch = (*v)->current->epoch;
	r.synced = (*v)->current->digest;
	r.reading = reading;
	with(v, &r);
}

static void
mark_all(struct view **v, bool reading)
{
	for (size_t i = 0; i < (*v)->count; i++)
		if ((*v)->records[i].state == RECORD_JOINED)
			mark(v, i, reading);
	settle(v);
}

/* All have followed all the way. */
static void
finish(struct view **v)
{
	mark_all(v, false);
	mark_all(v, true);
}

/* ----------------------------------------------------------------- algebra */

#define POOL 24

static void
grow(struct rng *g, struct view **v, unsigned *next)
{
	struct record r;

	struct order o = { .id = (*v)->records[rng_below(g, (*v)->count)].id };
	struct view *ordered;

	switch (rng_below(g, 8)) {
	case 6:
		o.state = (uint8_t)rng_below(g, RECORD_FORGOTTEN + 1);
		o.weight = (uint16_t)rng_below(g, 3);
		o.location = rng_below(g, 2) == 0 ? NULL : "a/b";
		if (view_order(&ordered, *v, &o, 1) == 0) {
			view_unref(*v);
			*v = ordered;
		}
		break;
	case 0:
		r = record((*next)++);
		with(v, &r);
		break;
	case 1: /* a restart elsewhere */
		r = (*v)->records[rng_below(g, (*v)->count)];
		r.incarnation++;
		r.stamp = 1;
		snprintf(r.address, sizeof(r.address), "10.0.0.%u:1",
		    (unsigned)rng_below(g, 250));
		with(v, &r);
		break;
	case 2: /* two lives with one incarnation: must not happen, must merge */
		r = (*v)->records[rng_below(g, (*v)->count)];
		r.weight = (uint16_t)(1 + rng_below(g, 3));
		with(v, &r);
		break;
	case 3:
		mark(v, rng_below(g, (*v)->count), rng_below(g, 2) == 0);
		break;
	case 4:
		finish(v);
		break;
	default:
		settle(v);
	}
}

/* Views of one ring that went different ways, and met now and then. */
static void
fill_pool(struct view **pool, uint64_t seed)
{
	struct rng g = {seed};
	unsigned next = 2;

	pool[0] = ring_of_one(1);
	for (int i = 1; i < POOL; i++) {
		pool[i] = view_ref(pool[rng_below(&g, (uint64_t)i)]);
		for (uint64_t steps = 1 + rng_below(&g, 4); steps > 0; steps--)
			grow(&g, &pool[i], &next);
		if (rng_below(&g, 4) == 0)
			join(&pool[i], pool[rng_below(&g, (uint64_t)i)]);
	}
}

static void
empty_pool(struct view **pool)
{
	for (int i = 0; i < POOL; i++)
		view_unref(pool[i]);
}

static struct view *
merged(struct view *a, struct view *b)
{
	struct view *v;

	ck_assert_int_eq(view_merge(&v, a, b), 0);
	return v;
}

START_TEST(merging_is_a_join)
{
	struct view *pool[POOL];
	struct rng g = {test_seed() + (uint64_t)_i};
	unsigned forks = 0, bad = 0;

	fill_pool(pool, test_seed() + (uint64_t)_i * 7919);
	for (int i = 0; i < POOL; i++)
		for (int j = 0; j < POOL; j++) {
			struct view *ab = merged(pool[i], pool[j]),
				    *ba = merged(pool[j], pool[i]);
			struct view *again = merged(ab, pool[i]);

			bad += !view_equal(ab, ba);
			bad += !view_equal(again, ab) || again != ab;
			bad += i == j && ab != pool[i];
			bad += view_stamp(ab) <
				   MAX(view_stamp(pool[i]), view_stamp(pool[j])) &&
			       table_compare(ab->current, pool[i]->current) == 0 &&
			       table_compare(ab->current, pool[j]->current) == 0;
			forks += pool[i]->current->epoch == pool[j]->current->epoch &&
				 table_compare(pool[i]->current, pool[j]->current) != 0;
			view_unref(ab);
			view_unref(ba);
			view_unref(again);
		}
	for (int n = 0; n < 400; n++) {
		struct view *a = pool[rng_below(&g, POOL)],
			    *b = pool[rng_below(&g, POOL)];
		struct view *c = pool[rng_below(&g, POOL)];
		struct view *ab = merged(a, b), *bc = merged(b, c);
		struct view *left = merged(ab, c), *right = merged(a, bc);

		bad += !view_equal(left, right);
		view_unref(ab);
		view_unref(bc);
		view_unref(left);
		view_unref(right);
	}
	ck_assert_uint_eq(bad, 0);
	ck_assert_uint_gt(forks, 0);
	empty_pool(pool);
}
END_TEST

/* Whatever the order of gossip, all end with the same bytes. */
START_TEST(all_orders_give_the_same)
{
	struct view *pool[POOL];
	struct rng g = {test_seed() + 99 + (uint64_t)_i};
	struct digest first;

	fill_pool(pool, test_seed() + 31 + (uint64_t)_i * 104729);
	for (int n = 0; n < 20; n++) {
		unsigned order[POOL];
		struct view *v;

		for (unsigned i = 0; i < POOL; i++) {
			uint64_t at = rng_below(&g, i + 1);

			order[i] = order[at];
			order[at] = i;
		}
		v = view_ref(pool[order[0]]);
		for (unsigned i = 1; i < POOL; i++)
			join(&v, pool[order[i]]);
		settle(&v);
		if (n == 0)
			first = v->digest;
		ck_assert_int_eq(digest_compare(&first, &v->digest), 0);
		view_unref(v);
	}
	empty_pool(pool);
}
END_TEST

START_TEST(records_have_an_order)
{
	struct record a = record(1), b = a;

	ck_assert_int_eq(record_compare(&a, &b), 0);
	b.stamp++;
	ck_assert_int_lt(record_compare(&a, &b), 0);
	a.incarnation++;
	ck_assert_int_gt(record_compare(&a, &b), 0);
	b = a;
	strcpy(b.location, "x");
	ck_assert_int_lt(record_compare(&a, &b), 0);
	ck_assert_int_gt(record_compare(&b, &a), 0);
}
END_TEST

/* A newer incarnation keeps nothing of the old one. */
START_TEST(a_new_life_replaces_the_old)
{
	struct view *v = ring_of_one(1);
	struct record r = record(1);

	ck_assert_uint_eq(v->records[0].synced_epoch, 1);
	r.incarnation = 2;
	with(&v, &r);
	ck_assert_uint_eq(v->count, 1);
	ck_assert_uint_eq(v->records[0].synced_epoch, 0);
	r.incarnation = 1;
	r.stamp = 100;
	with(&v, &r);
	ck_assert_uint_eq(v->records[0].incarnation, 2);
	view_unref(v);
}
END_TEST

/* ---------------------------------------------------------------- settings */

START_TEST(different_rings_do_not_merge)
{
	struct settings s = settings();
	struct record r = record(2);
	struct view *ours = ring_of_one(1), *other, *joiner, *v;

	s.ring_id.bytes[3] = 10;
	ck_assert_int_eq(view_create(&other, &s, &r), 0);
	ck_assert_int_eq(view_merge(&v, ours, other), DYN_ERING);
	ck_assert_ptr_null(v);
	view_unref(other);

	s = settings();
	strcpy(s.name, "tess");
	ck_assert_int_eq(view_joining(&joiner, &s, &r), 0);
	ck_assert_int_eq(view_merge(&v, ours, joiner), DYN_ERING);
	view_unref(joiner);

	s = settings();
	s.secret[5] = 0;
	ck_assert_int_eq(view_create(&other, &s, &r), 0);
	ck_assert_int_eq(view_merge(&v, ours, other), DYN_ERING);
	view_unref(other);
	view_unref(ours);
}
END_TEST

START_TEST(a_joiner_says_what_it_expects)
{
	struct {
		unsigned partitions, n, hash;
		int rc;
	} expect[] = {
	    {0, 0, 0, 0}, {16, 3, 0, 0}, {32, 0, 0, DYN_ERING}, {0, 2, 0, DYN_ERING},
	    {0, 0, DYN_HASH_MD5, DYN_ERING}, /* the ring's 0 is SHA-256 */
	};

	for (size_t i = 0; i < ARRAY_LEN(expect); i++) {
		struct settings s = settings();
		struct record r = record(2);
		struct view *ours = ring_of_one(1), *joiner, *v, *w;

		s.partitions = expect[i].partitions;
		s.n = (uint8_t)expect[i].n;
		s.hash = (uint8_t)expect[i].hash;
		ck_assert_int_eq(view_joining(&joiner, &s, &r), 0);
		ck_assert_int_eq(view_phase(joiner), VIEW_JOINING);
		ck_assert_uint_eq(view_stamp(joiner), 0);
		ck_assert_int_eq(view_merge(&v, joiner, ours), expect[i].rc);
		ck_assert_int_eq(view_merge(&w, ours, joiner), expect[i].rc);
		if (expect[i].rc == 0) {
			ck_assert(view_equal(v, w));
			ck_assert_uint_eq(v->count, 2);
			ck_assert_uint_eq(v->settings.partitions, 16);
			ck_assert_int_eq(
			    memcmp(v->settings.secret, ours->settings.secret, 32), 0);
			ck_assert_uint_eq(v->current->epoch, 1);
		}
		view_unref(v);
		view_unref(w);
		view_unref(joiner);
		view_unref(ours);
	}
}
END_TEST

START_TEST(bad_arguments)
{
	struct settings s = settings();
	struct record r = record(1);
	struct view *v, *w;

	memset(&s.ring_id, 0, sizeof(s.ring_id));
	ck_assert_int_eq(view_create(&v, &s, &r), DYN_EINVAL);
	s = settings();
	s.partitions = 17;
	ck_assert_int_eq(view_create(&v, &s, &r), DYN_EINVAL);
	ck_assert_int_eq(view_joining(&v, &s, &r), DYN_EINVAL);
	s = settings();
	s.name[0] = '\0';
	ck_assert_int_eq(view_joining(&v, &s, &r), DYN_EINVAL);
	s = settings();
	r.weight = 0;
	ck_assert_int_eq(view_create(&v, &s, &r), DYN_EINVAL);
	ck_assert_ptr_null(v);
	v = ring_of_one(1);
	ck_assert_int_eq(view_with(&w, v, &r), DYN_EINVAL);
	ck_assert_ptr_null(w);
	view_unref(v);
}
END_TEST

START_TEST(too_many_members)
{
	struct settings s = settings();
	struct record r = record(1);
	struct view *v = ring_of_one(1), *many, *w;

	memset(&s.ring_id, 0, sizeof(s.ring_id));
	memset(s.secret, 0, sizeof(s.secret));
	ck_assert_int_eq(view_alloc(&many, &s, LIMIT_MEMBERS), 0);
	for (unsigned i = 0; i < LIMIT_MEMBERS; i++) {
		many->records[i] = r;
		memset(many->records[i].id.bytes, 0, 16);
		many->records[i].id.bytes[1] = (unsigned char)(1 + (i >> 8));
		many->records[i].id.bytes[2] = (unsigned char)i;
	}
	ck_assert_int_eq(view_seal(many), 0);
	ck_assert_int_eq(view_merge(&w, v, many), DYN_ETOOBIG);
	ck_assert_ptr_null(w);
	view_unref(many);
	view_unref(v);
}
END_TEST

/* ------------------------------------------------------------------- steps */

START_TEST(a_ring_of_one_is_settled)
{
	struct view *v = ring_of_one(1);

	ck_assert_int_eq(view_phase(v), VIEW_SETTLED);
	ck_assert_uint_eq(v->current->epoch, 1);
	ck_assert(record_synced(&v->records[0], v->current));
	settle(&v);
	ck_assert_uint_eq(v->current->epoch, 1);
	view_unref(v);
}
END_TEST

START_TEST(a_join_takes_three_steps)
{
	struct view *v = ring_of_one(1);
	struct record r = record(2);
	struct table *old = v->current;

	with(&v, &r);
	settle(&v);
	ck_assert_int_eq(view_phase(v), VIEW_MOVING);
	ck_assert_ptr_eq(v->base, old);
	ck_assert_ptr_eq(v->reading, old);
	ck_assert_uint_eq(v->current->epoch, 2);
	ck_assert_uint_eq(v->current->seats_count, 2);

	mark(&v, 0, false);
	settle(&v);
	ck_assert_int_eq(view_phase(v), VIEW_MOVING);
	mark(&v, 1, false);
	settle(&v);
	ck_assert_int_eq(view_phase(v), VIEW_SWITCHED);
	ck_assert_uint_eq(v->base->epoch, 1);
	ck_assert_uint_eq(v->reading->epoch, 2);

	mark(&v, 1, true);
	settle(&v);
	ck_assert_int_eq(view_phase(v), VIEW_SWITCHED);
	mark(&v, 0, true);
	settle(&v);
	ck_assert_int_eq(view_phase(v), VIEW_SETTLED);
	ck_assert_uint_eq(v->base->epoch, 2);
	view_unref(v);
}
END_TEST

/* Who joins while owners change waits; who joins in SWITCHED does not undo it. */
START_TEST(joins_wait_for_the_change_in_progress)
{
	struct view *v = ring_of_one(1);
	struct record r = record(2);

	with(&v, &r);
	settle(&v);
	r = record(3);
	with(&v, &r);
	settle(&v);
	ck_assert_uint_eq(v->current->epoch, 2);
	ck_assert_uint_eq(v->current->seats_count, 2);
	mark_all(&v, false);
	ck_assert_int_eq(view_phase(v), VIEW_SWITCHED);
	r = record(4);
	with(&v, &r);
	settle(&v);
	ck_assert_int_eq(view_phase(v), VIEW_SWITCHED);
	mark_all(&v, true);
	/* Both waiting ones are in the one next table. */
	ck_assert_int_eq(view_phase(v), VIEW_MOVING);
	ck_assert_uint_eq(v->current->epoch, 3);
	ck_assert_uint_eq(v->current->seats_count, 4);
	view_unref(v);
}
END_TEST

/* A mark of another table does not count. */
START_TEST(old_marks_do_not_count)
{
	struct view *v = ring_of_one(1);
	struct record r = record(2);

	with(&v, &r);
	settle(&v);
	mark(&v, 1, true);
	/* Member 0 still says: epoch 1. */
	settle(&v);
	ck_assert_int_eq(view_phase(v), VIEW_MOVING);
	r = v->records[0];
	r.stamp++;
	r.synced_epoch = 2; /* the epoch of another table */
	with(&v, &r);
	settle(&v);
	ck_assert_int_eq(view_phase(v), VIEW_MOVING);
	view_unref(v);
}
END_TEST

/* Two halves of a split: the larger table wins, is finished first, and then
 * those who joined the losing side get their seats. */
START_TEST(forks_heal)
{
	struct view *a = ring_of_one(1), *b;
	struct record r = record(2);
	struct digest winner;

	with(&a, &r);
	settle(&a);
	finish(&a);
	b = view_ref(a);
	r = record(3);
	with(&a, &r);
	settle(&a);
	r = record(4);
	with(&b, &r);
	settle(&b);
	ck_assert_uint_eq(a->current->epoch, 3);
	ck_assert_uint_eq(b->current->epoch, 3);
	winner = table_compare(a->current, b->current) > 0 ? a->current->digest
							   : b->current->digest;
	join(&a, b);
	settle(&a);
	join(&b, a);
	settle(&b);
	ck_assert(view_equal(a, b));
	ck_assert_int_eq(digest_compare(&a->current->digest, &winner), 0);
	ck_assert_uint_eq(a->base->epoch, 2);
	finish(&a);
	ck_assert_uint_eq(a->current->epoch, 4);
	ck_assert_uint_eq(a->current->seats_count, 4);
	finish(&a);
	ck_assert_int_eq(view_phase(a), VIEW_SETTLED);
	view_unref(a);
	view_unref(b);
}
END_TEST

START_TEST(who_left_has_no_seat)
{
	struct view *v = ring_of_one(1);
	struct record r = record(2);

	with(&v, &r);
	settle(&v);
	finish(&v);
	r = *view_find(v, &r.id);
	r.state = RECORD_LEFT;
	r.stamp++;
	with(&v, &r);
	settle(&v);
	ck_assert_uint_eq(v->current->seats_count, 1);
	/* It need not follow any more. */
	finish(&v);
	ck_assert_int_eq(view_phase(v), VIEW_SETTLED);
	ck_assert_uint_eq(v->base->epoch, 3);
	view_unref(v);
}
END_TEST

/* ------------------------------------------------------------------ orders */

static void
give(struct view **v, unsigned number, uint8_t state, uint16_t weight, const char *location)
{
	struct order o = { record(number).id, state, weight, location };
	struct view *next;

	ck_assert_int_eq(view_order(&next, *v, &o, 1), 0);
	view_unref(*v);
	*v = next;
}

static const struct record *
of(const struct view *v, unsigned number)
{
	struct dyn_id id = record(number).id;

	return view_find(v, &id);
}

static struct view *
ring_of_three(void)
{
	struct view *v = ring_of_one(1);

	for (unsigned i = 2; i <= 3; i++) {
		struct record r = record(i);

		with(&v, &r);
	}
	settle(&v);
	finish(&v);
	return v;
}

START_TEST(who_waits_joins_when_asked_to)
{
	struct view *v = ring_of_one(1);
	struct record r = record(2);

	r.state = RECORD_WAITING;
	with(&v, &r);
	settle(&v);
	ck_assert_int_eq(view_phase(v), VIEW_SETTLED);
	ck_assert_uint_eq(v->current->epoch, 1);
	give(&v, 2, RECORD_JOINED, 0, NULL);
	/* What it says of itself after that, not knowing it yet, changes nothing. */
	r.stamp = 9;
	with(&v, &r);
	settle(&v);
	ck_assert_uint_eq(v->current->seats_count, 2);
	view_unref(v);
}
END_TEST

/* It has no seat, and is waited for until nothing needs it. */
START_TEST(who_leaves_goes_on_until_all_have_followed)
{
	struct view *v = ring_of_three();
	uint64_t epoch = v->current->epoch;

	give(&v, 2, RECORD_LEAVING, 0, NULL);
	settle(&v);
	ck_assert_uint_eq(v->current->epoch, epoch + 1);
	ck_assert_uint_eq(v->current->seats_count, 2);
	ck_assert_uint_eq(v->base->seats_count, 3);
	for (unsigned reading = 0; reading < 2; reading++) {
		mark(&v, (size_t)(of(v, 1) - v->records), reading);
		mark(&v, (size_t)(of(v, 3) - v->records), reading);
		settle(&v);
		ck_assert_int_eq(view_phase(v), reading ? VIEW_SWITCHED : VIEW_MOVING);
		ck_assert_uint_eq(of(v, 2)->state, RECORD_LEAVING);
		mark(&v, (size_t)(of(v, 2) - v->records), reading);
		settle(&v);
	}
	ck_assert_int_eq(view_phase(v), VIEW_SETTLED);
	ck_assert_uint_eq(of(v, 2)->state, RECORD_LEFT);
	view_unref(v);
}
END_TEST

START_TEST(the_last_one_cannot_leave)
{
	struct view *v = ring_of_one(1);

	give(&v, 1, RECORD_LEAVING, 0, NULL);
	settle(&v);
	ck_assert_int_eq(view_phase(v), VIEW_SETTLED);
	ck_assert_uint_eq(v->current->seats_count, 1);
	ck_assert_uint_eq(of(v, 1)->state, RECORD_LEAVING);
	view_unref(v);
}
END_TEST

/* A newcomer dies for good. */
START_TEST(a_forgotten_seat_is_not_taken_for_one_that_followed)
{
	struct view *v = ring_of_three();
	struct record r = record(4);

	with(&v, &r);
	settle(&v);
	/* All but the newcomer follow; then it is forgotten: that is not enough. */
	for (unsigned i = 1; i <= 3; i++)
		mark(&v, (size_t)(of(v, i) - v->records), false);
	give(&v, 4, RECORD_FORGOTTEN, 0, NULL);
	settle(&v);
	ck_assert_int_eq(view_phase(v), VIEW_MOVING);
	ck_assert_uint_eq(view_forgotten(v), 1);
	for (unsigned i = 1; i <= 3; i++) {
		ck_assert_int_eq(view_phase(v), VIEW_MOVING);
		ck_assert(!view_says_synced(v, of(v, i)));
		r = *of(v, i);
		r.stamp++;
		r.less = 1;
		with(&v, &r);
		ck_assert(view_says_synced(v, of(v, i)));
		settle(&v);
	}
	ck_assert_int_eq(view_phase(v), VIEW_SWITCHED);
	for (unsigned i = 1; i <= 3; i++) {
		r = *of(v, i);
		r.stamp++;
		r.reading = 1;
		with(&v, &r);
	}
	settle(&v);
	/* And now to a table without it. */
	ck_assert_int_eq(view_phase(v), VIEW_MOVING);
	ck_assert_uint_eq(v->current->seats_count, 3);
	ck_assert_uint_eq(view_forgotten(v), 0);
	view_unref(v);
}
END_TEST

/* One side orders a weight, the other that it leaves: both hold. */
START_TEST(orders_given_at_once_all_hold)
{
	struct view *a = ring_of_three(), *b = view_ref(a);
	struct digest zone, same;
	struct record r;

	give(&a, 2, 0, 300, NULL);
	give(&a, 2, 0, 0, "dc/z/r/m");
	give(&b, 2, RECORD_LEAVING, 0, NULL);
	r = *of(b, 2);
	r.stamp += 5;
	strcpy(r.address, "10.0.0.9:1");
	with(&b, &r);
	join(&a, b);
	join(&b, a);
	ck_assert(view_equal(a, b));
	ck_assert_uint_eq(of(a, 2)->state, RECORD_LEAVING);
	ck_assert_uint_eq(record_weight(of(a, 2)), 300);
	ck_assert_str_eq(record_location(of(a, 2)), "dc/z/r/m");
	r = *of(a, 2);
	record_zone(&r, &zone);
	strcpy(r.location, "dc/other/r/m");
	record_zone(&r, &same);
	ck_assert_int_eq(digest_compare(&zone, &same), 0);
	r.ordered_location[3] = 'y';
	record_zone(&r, &same);
	ck_assert_int_ne(digest_compare(&zone, &same), 0);
	ck_assert_str_eq(of(a, 2)->address, "10.0.0.9:1");
	give(&a, 2, 0, 0, "");
	ck_assert_str_eq(record_location(of(a, 2)), "");
	ck_assert_uint_eq(record_weight(of(a, 2)), 300);
	view_unref(a);
	view_unref(b);
}
END_TEST

START_TEST(orders_that_cannot_be_given)
{
	struct view *v = ring_of_three(), *next;
	struct order o = { record(9).id, RECORD_LEAVING, 0, NULL };

	ck_assert_int_eq(view_order(&next, v, &o, 1), DYN_ENOTFOUND);
	give(&v, 2, RECORD_FORGOTTEN, 0, NULL);
	o.id = record(2).id;
	for (uint8_t state = 0; state <= RECORD_FORGOTTEN; state++) {
		o.state = state;
		ck_assert_int_eq(view_order(&next, v, &o, 1), DYN_EINVAL);
		ck_assert_ptr_null(next);
	}
	o = (struct order){ record(1).id, 0, 10001, NULL };
	ck_assert_int_eq(view_order(&next, v, &o, 1), DYN_EINVAL);
	o = (struct order){ record(1).id, 0, 0, "a/b/c/d/e" };
	ck_assert_int_eq(view_order(&next, v, &o, 1), DYN_EINVAL);
	view_unref(v);
}
END_TEST

/* A weight that was ordered makes another table, once. */
START_TEST(a_weight_that_is_ordered_moves_partitions)
{
	struct view *v = ring_of_three();
	uint64_t epoch = v->current->epoch;
	struct table *next;

	ck_assert_int_eq(view_next(&next, v), 0);
	ck_assert_ptr_eq(next, v->current);
	table_unref(next);
	give(&v, 2, 0, 300, NULL);
	ck_assert_int_eq(view_next(&next, v), 0);
	ck_assert_uint_eq(next->epoch, epoch + 1);
	settle(&v);
	ck_assert_int_eq(table_compare(v->current, next), 0);
	table_unref(next);
	finish(&v);
	ck_assert_uint_eq(v->current->epoch, epoch + 1);
	view_unref(v);
}
END_TEST

/* ------------------------------------------------------------------ groups */

static bool
has_seat(const struct group *g, size_t member)
{
	for (unsigned i = 0; i < g->count; i++)
		if (g->member[i] == member)
			return true;
	return false;
}

START_TEST(groups_follow_the_tables)
{
	struct view *v = ring_of_one(1);
	struct group read, write[2];
	unsigned both = 0;

	for (unsigned i = 2; i <= 4; i++) {
		struct record r = record(i);

		with(&v, &r);
	}
	settle(&v);
	finish(&v);
	for (unsigned i = 5; i <= 6; i++) {
		struct record r = record(i);

		with(&v, &r);
	}
	settle(&v);
	for (int step = 0; step < 2; step++) {
		for (unsigned p = 0; p < 16; p++) {
			const struct table *t = step == 0 ? v->base : v->current;
			const uint16_t *o;
			unsigned count = table_owners(t, p, &o), lists;

			view_readers(v, p, &read);
			ck_assert_uint_eq(read.count, count);
			for (unsigned i = 0; i < count; i++)
				ck_assert_int_eq(memcmp(&v->records[read.member[i]].id,
						     &t->seats[o[i]].node, 16),
				    0);
			lists = view_writers(v, p, write);
			both += lists == 2;
			for (size_t m = 0; m < v->count; m++) {
				bool in = has_seat(&write[0], m) ||
					  (lists == 2 && has_seat(&write[1], m));

				ck_assert_int_eq(view_owns(v, p, &v->records[m].id), in);
			}
		}
		mark_all(&v, false);
		ck_assert_int_eq(view_phase(v), VIEW_SWITCHED);
	}
	ck_assert_uint_gt(both, 8);
	mark_all(&v, true);
	for (unsigned p = 0; p < 16; p++)
		ck_assert_uint_eq(view_writers(v, p, write), 1);
	view_unref(v);
}
END_TEST

static bool
same_machine(const struct record *a, const struct record *b)
{
	struct digest x, y;

	record_machine(a, &x);
	record_machine(b, &y);
	return digest_compare(&x, &y) == 0;
}

START_TEST(machines)
{
	struct record a = record(1), b = record(2);

	/* Loopback: each its own, and an address change does not matter. */
	ck_assert(!same_machine(&a, &b));
	b = a;
	strcpy(b.address, "127.0.0.1:9");
	ck_assert(same_machine(&a, &b));
	/* A location that names a machine counts, wherever. */
	b = record(2);
	strcpy(a.location, "dc/z/r/m");
	strcpy(b.location, "dc/z/r/m");
	ck_assert(same_machine(&a, &b));
	strcpy(b.location, "dc/z2/r/m");
	ck_assert(!same_machine(&a, &b));
	strcpy(a.location, "dc/z/r");
	strcpy(b.location, "dc/z/r/");
	ck_assert(!same_machine(&a, &b));
	/* No machine named: the host in the address. */
	strcpy(a.address, "10.0.0.1:1");
	strcpy(b.address, "10.0.0.1:2");
	ck_assert(same_machine(&a, &b));
	strcpy(b.address, "10.0.0.2:1");
	ck_assert(!same_machine(&a, &b));
	strcpy(a.address, "[::1]:1");
	strcpy(b.address, "[::1]:2");
	ck_assert(!same_machine(&a, &b));
}
END_TEST

START_TEST(zones)
{
	struct record a = record(1), b = record(2);
	struct digest x, y;

	strcpy(a.location, "dc/z/r1/m1");
	strcpy(b.location, "dc/z/r2");
	record_zone(&a, &x);
	record_zone(&b, &y);
	ck_assert_int_eq(digest_compare(&x, &y), 0);
	strcpy(b.location, "dc/z2/r1/m1");
	record_zone(&b, &y);
	ck_assert_int_ne(digest_compare(&x, &y), 0);
	/* Empty labels and missing ones are the same. */
	strcpy(a.location, "");
	strcpy(b.location, "///m1");
	record_zone(&a, &x);
	record_zone(&b, &y);
	ck_assert_int_eq(digest_compare(&x, &y), 0);
	strcpy(a.location, "dc");
	strcpy(b.location, "dc//r1");
	record_zone(&a, &x);
	record_zone(&b, &y);
	ck_assert_int_eq(digest_compare(&x, &y), 0);
}
END_TEST

/* Tables know the zones and racks of their members. */
START_TEST(seats_have_locations)
{
	static const char *const location[] = {"a/z/r/m1", "a/z/r/m2", "a/z/r2/m3", "a/y/r/m4"};
	struct view *v = ring_of_one(1), *w;
	struct record r[4];
	const struct seat *s[4];

	for (unsigned i = 0; i < 4; i++) {
		r[i] = record(i + 1);
		r[i].stamp += 10;
		strcpy(r[i].location, location[i]);
		ck_assert_int_eq(view_with(&w, v, &r[i]), 0);
		view_unref(v);
		v = w;
	}
	ck_assert_int_eq(view_settle(&w, v), 0);
	ck_assert_uint_eq(w->current->seats_count, 4);
	for (unsigned i = 0; i < 4; i++)
		s[i] = &w->current->seats[table_find(w->current, &r[i].id)];
	ck_assert(s[0]->zone == s[1]->zone && s[0]->zone == s[2]->zone);
	ck_assert(s[0]->zone != s[3]->zone);
	ck_assert(s[0]->rack == s[1]->rack && s[0]->rack != s[2]->rack);
	view_unref(v);
	view_unref(w);
}
END_TEST

/* -------------------------------------------------------------------- bytes */

static struct buf *
encode(const struct view *v)
{
	struct buf *b;

	ck_assert_int_eq(view_encode(v, &b), 0);
	return b;
}

START_TEST(bytes_and_back)
{
	struct view *pool[POOL], *v;

	fill_pool(pool, test_seed() + 5 + (uint64_t)_i);
	for (int i = 0; i < POOL; i++) {
		struct buf *b = encode(pool[i]), *c;

		ck_assert_int_eq(view_decode(&v, buf_slice(b)), 0);
		ck_assert(view_equal(v, pool[i]));
		c = encode(v);
		ck_assert(slice_equal(buf_slice(b), buf_slice(c)));
		ck_assert_int_eq(view_phase(v), view_phase(pool[i]));
		view_unref(v);
		buf_unref(b);
		buf_unref(c);
	}
	empty_pool(pool);
}
END_TEST

START_TEST(every_prefix_is_refused)
{
	struct view *v = ring_of_one(1), *w;
	struct record r = record(2);
	struct buf *b;
	unsigned bad = 0;

	strcpy(r.location, "dc/z/r/m");
	with(&v, &r);
	settle(&v);
	b = encode(v);
	for (size_t len = 0; len < b->len; len++)
		bad += view_decode(&w, slice(b->data, len)) != DYN_EPROTO || w != NULL;
	ck_assert_uint_eq(bad, 0);
	buf_unref(b);
	view_unref(v);
}
END_TEST

START_TEST(damaged_bytes_are_refused_or_canonical)
{
	struct rng g = {test_seed() + 17};
	struct view *v = ring_of_one(1), *w;
	struct record r = record(2);
	struct buf *b, *c;
	unsigned refused = 0, odd = 0;

	with(&v, &r);
	settle(&v);
	mark_all(&v, false);
	b = encode(v);
	for (int i = 0; i < 5000; i++) {
		size_t at = rng_below(&g, b->len);
		unsigned char was = b->data[at];

		b->data[at] ^= (unsigned char)(1 + rng_below(&g, 255));
		if (view_decode(&w, buf_slice(b)) == 0) {
			c = encode(w);
			odd += !slice_equal(buf_slice(b), buf_slice(c));
			odd += view_equal(v, w);
			buf_unref(c);
			view_unref(w);
		} else {
			refused++;
		}
		b->data[at] = was;
	}
	ck_assert_uint_eq(odd, 0);
	ck_assert_uint_gt(refused, 500);
	buf_unref(b);
	view_unref(v);
}
END_TEST

/* Encoders write what they are given: so a broken view makes broken bytes. */
static int
decode_broken(const struct view *v)
{
	struct buf *b = encode(v);
	struct view *w;
	int rc = view_decode(&w, buf_slice(b));

	view_unref(w);
	buf_unref(b);
	return rc;
}

#define BREAK(field, value)                                                              \
	do {                                                                             \
		struct record was = v->records[1];                                       \
		v->records[1].field = value;                                             \
		ck_assert_int_eq(decode_broken(v), DYN_EPROTO);                          \
		v->records[1] = was;                                                     \
		ck_assert_int_eq(decode_broken(v), 0);                                   \
	} while (0)

START_TEST(each_rule_of_records_is_checked)
{
	struct view *v = ring_of_one(1);
	struct record r = record(2);

	strcpy(r.location, "a/b/c/d");
	with(&v, &r);
	BREAK(state, 0);
	BREAK(state, 6);
	BREAK(ordered_weight, 1); /* by no order */
	BREAK(ordered_location[0], 'x');
	BREAK(less, 1);
	BREAK(weight, 0);
	BREAK(weight, 10001);
	BREAK(workers, 0);
	BREAK(workers, 65);
	BREAK(reading, 1); /* never synced */
	BREAK(synced.b[0], 1);
	BREAK(address[0], '\0');
	BREAK(address[3], '\n');
	BREAK(address[3], 0x7f);
	BREAK(location[0], '\t');
	BREAK(id, v->records[0].id);
	r = v->records[1];
	strcpy(v->records[1].location, "a/b/c/d/e");
	ck_assert_int_eq(decode_broken(v), DYN_EPROTO);
	memset(v->records[1].location, 'x', 64);
	v->records[1].location[64] = '\0';
	ck_assert_int_eq(decode_broken(v), DYN_EPROTO);
	v->records[1].location[63] = '\0';
	ck_assert_int_eq(decode_broken(v), 0);
	v->records[1] = r;
	v->records[1].reading = 2;
	v->records[1].synced_epoch = 1;
	ck_assert_int_eq(decode_broken(v), DYN_EPROTO);
	view_unref(v);
}
END_TEST

START_TEST(each_rule_of_tables_is_checked)
{
	struct view *v = ring_of_one(1);
	struct record r = record(2);
	struct table *old, *now;

	with(&v, &r);
	settle(&v);
	old = v->base;
	now = v->current;
	ck_assert_int_eq(decode_broken(v), 0);
	/* base after current */
	v->base = v->reading = now;
	v->current = old;
	ck_assert_int_eq(decode_broken(v), DYN_EPROTO);
	/* reading outside of base..current */
	v->base = v->current = now;
	v->reading = old;
	ck_assert_int_eq(decode_broken(v), DYN_EPROTO);
	v->base = v->reading = old;
	v->current = now;
	/* a seat without a record */
	v->count = 1;
	ck_assert_int_eq(decode_broken(v), DYN_EPROTO);
	v->count = 0;
	ck_assert_int_eq(decode_broken(v), DYN_EPROTO);
	v->count = 2;
	/* tables of other settings */
	v->settings.n = 2;
	ck_assert_int_eq(decode_broken(v), DYN_EPROTO);
	v->settings.n = 3;
	v->settings.partitions = 32;
	ck_assert_int_eq(decode_broken(v), DYN_EPROTO);
	v->settings.partitions = 16;
	/* a ring without tables, tables without a ring */
	memset(&v->settings.ring_id, 0, 16);
	ck_assert_int_eq(decode_broken(v), DYN_EPROTO);
	v->settings.ring_id.bytes[3] = 9;
	v->base = NULL;
	ck_assert_int_eq(decode_broken(v), DYN_EPROTO);
	v->base = old;
	v->settings.hash = 2;
	ck_assert_int_eq(decode_broken(v), DYN_EPROTO);
	v->settings.hash = 0;
	ck_assert_int_eq(decode_broken(v), 0);
	view_unref(v);
}
END_TEST

START_TEST(newer_bytes_say_so)
{
	struct view *v = ring_of_one(1), *w;
	struct buf *b = encode(v);

	b->data[0] = 4;
	ck_assert_int_eq(view_decode(&w, buf_slice(b)), DYN_EVERSION);
	b->data[0] = 0;
	ck_assert_int_eq(view_decode(&w, buf_slice(b)), DYN_EPROTO);
	buf_unref(b);
	view_unref(v);
}
END_TEST

START_TEST(out_of_memory)
{
	struct view *a = ring_of_one(1), *b;
	struct record r = record(2);
	struct buf *bytes;
	long before;

	b = view_ref(a);
	with(&a, &r);
	r = record(3);
	with(&b, &r);
	settle(&b);
	bytes = encode(b);
	before = mem_balance();
	TEST_ALLOC_FAILURES (n) {
		struct settings s = settings();
		struct view *v[6] = {NULL};
		int rc[6];

		rc[0] = view_merge(&v[0], a, b);
		rc[1] = view_with(&v[1], a, &r);
		rc[2] = view_settle(&v[2], a);
		rc[3] = view_decode(&v[3], buf_slice(bytes));
		rc[4] = view_create(&v[4], &s, &r);
		rc[5] = view_joining(&v[5], &s, &r);
		for (int i = 0; i < 6; i++) {
			bool good = rc[i] == 0;

			ck_assert((v[i] != NULL) == good);
			ck_assert(good || rc[i] == DYN_ENOMEM);
			view_unref(v[i]);
		}
		ck_assert_int_eq(mem_balance(), before);
	}
	buf_unref(bytes);
	view_unref(a);
	view_unref(b);
}
END_TEST

static Suite *
suite(void)
{
	Suite *s = suite_create("view");
	TCase *c = tcase_create("algebra");

	suite_add_tcase(s, c);
	tcase_add_loop_test(c, merging_is_a_join, 0, 10);
	tcase_add_loop_test(c, all_orders_give_the_same, 0, 10);
	tcase_add_test(c, records_have_an_order);
	tcase_add_test(c, a_new_life_replaces_the_old);
	c = tcase_create("settings");
	suite_add_tcase(s, c);
	tcase_add_test(c, different_rings_do_not_merge);
	tcase_add_test(c, a_joiner_says_what_it_expects);
	tcase_add_test(c, bad_arguments);
	tcase_add_test(c, too_many_members);
	c = tcase_create("steps");
	suite_add_tcase(s, c);
	tcase_add_test(c, a_ring_of_one_is_settled);
	tcase_add_test(c, a_join_takes_three_steps);
	tcase_add_test(c, joins_wait_for_the_change_in_progress);
	tcase_add_test(c, old_marks_do_not_count);
	tcase_add_test(c, forks_heal);
	tcase_add_test(c, who_left_has_no_seat);
	tcase_add_test(c, who_waits_joins_when_asked_to);
	tcase_add_test(c, who_leaves_goes_on_until_all_have_followed);
	tcase_add_test(c, the_last_one_cannot_leave);
	tcase_add_test(c, a_forgotten_seat_is_not_taken_for_one_that_followed);
	tcase_add_test(c, orders_given_at_once_all_hold);
	tcase_add_test(c, orders_that_cannot_be_given);
	tcase_add_test(c, a_weight_that_is_ordered_moves_partitions);
	c = tcase_create("groups");
	suite_add_tcase(s, c);
	tcase_add_test(c, groups_follow_the_tables);
	tcase_add_test(c, machines);
	tcase_add_test(c, zones);
	tcase_add_test(c, seats_have_locations);
	c = tcase_create("bytes");
	suite_add_tcase(s, c);
	tcase_add_loop_test(c, bytes_and_back, 0, 4);
	tcase_add_test(c, every_prefix_is_refused);
	tcase_add_test(c, damaged_bytes_are_refused_or_canonical);
	tcase_add_test(c, each_rule_of_records_is_checked);
	tcase_add_test(c, each_rule_of_tables_is_checked);
	tcase_add_test(c, newer_bytes_say_so);
	tcase_add_test(c, out_of_memory);
	return s;
}

TEST_MAIN(suite)
