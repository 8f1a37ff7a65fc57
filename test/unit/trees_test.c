/*
 * Building, keeping and verifying hash trees (trees.c).
 *
 * Goal: a tree that is built has exactly the rows that were told, whatever changed
 * while it was built and however often that failed; damage is found.
 * Method: an engine that is changed at once, and told of by letters that come later
 * and in order, as fences do; after each step every tree is compared with one added
 * up from what was told so far.
 */
#include "test/core_script.h"

#include "core/trees.h"

#include <stdlib.h>

#define PARTITIONS 16
#define KEYS 192
#define BIG 90000 /* three such rows are a piece */

struct key {
	unsigned char name[32];
	struct digest told, is;
};

/* What is on its way to the machine: a change, or a fence. */
struct letter {
	unsigned key;
	struct digest before, after;
	struct rows *fence; /* NULL: a change */
	int rc;
};

struct world {
	struct fake *fake;
	struct trees *t;
	struct view *view;
	struct admit admit;
	struct outbox out;
	struct moment m;
	struct key keys[KEYS];
	struct letter queue[1024];
	size_t head, tail;
	struct rows *fence; /* at the worker */
	unsigned fences;
	unsigned logs, broken;
	unsigned damages, removals; /* that were told; rows that were asked to go */
	bool marked; /* that is known on disk */
	struct rng rng;
	unsigned char value[2 * BIG];
};

static struct dyn_slice
name_of(const struct world *w, unsigned k)
{
	return slice(w->keys[k].name, sizeof(w->keys[k].name));
}

static unsigned
partition_of(const struct world *w, unsigned k)
{
	return name_partition(name_of(w, k), PARTITIONS);
}

static bool
damaged(void *arg, unsigned partition)
{
	struct world *w = arg;

	MUST(partition < PARTITIONS);
	w->damages++;
	return w->marked;
}

static void
count_broken(void *arg, unsigned partition)
{
	struct world *w = arg;

	MUST(trees_find(w->t, partition) == NULL);
	w->broken++;
}

static struct world *
world_new(struct view *v, uint64_t seed, uint64_t walk)
{
	struct world *w = calloc(1, sizeof(*w));
	struct trees_options o = { .self = node_id('a'), .walk = walk };

	MUST(w != NULL);
	w->rng.state = seed;
	w->fake = fake_new();
	w->view = v;
	w->m = (struct moment){ NS_PER_S, 1000000 };
	admit_init(&w->admit, w->m.now);
	outbox_init(&w->out);
	o.engine = &w->fake->engine;
	o.damaged = damaged;
	o.damaged_arg = w;
	o.broken = count_broken;
	o.broken_arg = w;
	/* Names in order within a partition: by their number. */
	for (unsigned k = 0; k < KEYS; k++) {
		unsigned char *name = w->keys[k].name;

		for (unsigned i = 0; i < sizeof(w->keys[k].name); i++)
			name[i] = (unsigned char)rng_next(&w->rng);
		name[0] = (unsigned char)(16 * (k % PARTITIONS) + k / PARTITIONS);
		name[16] = 1;
	}
	MUST(trees_new(&w->t, &o) == 0);
	trees_view(w->t, v, w->m);
	return w;
}

static void
world_free(struct world *w)
{
	for (; w->head < w->tail; w->head++)
		rows_free(w->queue[w->head % ARRAY_LEN(w->queue)].fence);
	rows_free(w->fence);
	trees_free(w->t);
	outbox_fini(&w->out);
	view_unref(w->view);
	fake_free(w->fake);
	free(w);
}

/* A row changes in the engine; nobody is told. */
static void
damage(struct world *w, unsigned k, size_t len)
{
	struct dyn_row row = { DYN_SPACE_DATA, name_of(w, k), slice(NULL, 0) };

	if (len > 0) {
		uint64_t n = rng_next(&w->rng);

		memcpy(w->value, &n, sizeof(n));
		row.value = slice(w->value, MAX(len, sizeof(n)));
	}
	MUST(w->fake->engine.apply(w->fake, &row, 1, DYN_DURABLE_DISK) == 0);
	row_digest(row.id, row.value, &w->keys[k].is);
}

static struct letter *
post(struct world *w)
{
	struct letter *l = &w->queue[w->tail++ % ARRAY_LEN(w->queue)];

	MUST(w->tail - w->head < ARRAY_LEN(w->queue));
	memset(l, 0, sizeof(*l));
	return l;
}

/* A commit: the letter is on its way. */
static void
put(struct world *w, unsigned k, size_t len)
{
	struct digest before = w->keys[k].is;
	struct letter *l;

	damage(w, k, len);
	l = post(w);
	l->key = k;
	l->before = before;
	l->after = w->keys[k].is;
}

/* The machine's effects: at most one fence, sometimes a line. */
static void
take_effects(struct world *w)
{
	for (size_t i = 0; i < w->out.count; i++) {
		struct effect *e = &w->out.list[i];

		if (e->kind == FX_ROWS) {
			struct rows *rows = e->what;

			if (rows->of == ROWS_DAMAGED) {
				MUST(w->marked);
				w->removals++;
				rows_free(rows);
				continue;
			}
			MUST(rows->of == ROWS_FENCE);
			MUST(rows->partition < PARTITIONS);
			rows_free(w->fence); /* the earlier one got lost */
			w->fence = rows;
			w->fences++;
		} else {
			MUST(e->kind == FX_LOG);
			w->logs++;
		}
		effect_drop(e);
	}
	w->out.count = 0;
}

/* The worker gives the fence back: behind all that was committed by now. */
static void
release(struct world *w, int rc)
{
	struct letter *l;

	MUST(w->fence != NULL);
	l = post(w);
	l->fence = w->fence;
	l->rc = rc;
	w->fence = NULL;
}

static void
deliver(struct world *w)
{
	struct letter *l = &w->queue[w->head % ARRAY_LEN(w->queue)];

	if (w->head == w->tail)
		return;
	w->head++;
	if (l->fence != NULL) {
		trees_stored(w->t, l->fence, l->rc, w->m, &w->out);
		take_effects(w);
	} else {
		struct dyn_slice name = name_of(w, l->key);
		struct change c = { .name = buf_copy(name.data, name.len),
			.space = DYN_SPACE_DATA, .before = l->before, .after = l->after };
		struct changes all = { .list = &c, .count = 1 };

		w->keys[l->key].told = l->after;
		trees_changed(w->t, &all);
		buf_unref(c.name);
	}
}

static void
deliver_all(struct world *w)
{
	while (w->head < w->tail)
		deliver(w);
}

static void
tick(struct world *w)
{
	if (trees_wake(w->t, &w->admit) <= w->m.now)
		trees_tick(w->t, &w->admit, w->m, &w->out);
	take_effects(w);
}

/* Until a fence is out, or nothing is to do for so long. */
static void
run_to_fence(struct world *w, uint64_t patience)
{
	uint64_t until = w->m.now + patience, wake;

	while (w->fence == NULL && (wake = trees_wake(w->t, &w->admit)) <= until) {
		w->m.now = MAX(w->m.now, wake);
		tick(w);
	}
}

static void
run_all(struct world *w, uint64_t patience)
{
	deliver_all(w);
	for (run_to_fence(w, patience); w->fence != NULL; run_to_fence(w, patience)) {
		release(w, 0);
		deliver_all(w);
	}
}

static struct trees_figures
figures(const struct world *w)
{
	struct trees_figures f;

	trees_figures(w->t, &f);
	return f;
}

/* A tree from the rows: as told, or as the engine has them. */
static void
by_force(const struct world *w, unsigned partition, bool told, struct merkle *m)
{
	static const struct digest none;

	memset(m, 0, sizeof(*m));
	for (unsigned k = 0; k < KEYS; k++)
		if (partition_of(w, k) == partition)
			merkle_change(m, name_leaf(name_of(w, k), PARTITIONS), &none,
			    told ? &w->keys[k].told : &w->keys[k].is);
}

/* How many are built; all of them are right. */
static unsigned
check(const struct world *w, bool told)
{
	unsigned built = 0;

	for (unsigned p = 0; p < PARTITIONS; p++) {
		const struct merkle *tree = trees_find(w->t, p);
		struct merkle m;

		if (tree == NULL)
			continue;
		by_force(w, p, told, &m);
		MUST(memcmp(tree, &m, sizeof(m)) == 0);
		built++;
	}
	return built;
}

START_TEST(built_from_what_is_there)
{
	struct world *w = world_new(view_ring(1, 1, PARTITIONS), test_seed(), 0);

	for (unsigned k = 0; k < KEYS; k++)
		put(w, k, k % 3 == 0 ? BIG : 100 + k);
	ck_assert_uint_eq(figures(w).wanted, PARTITIONS);
	ck_assert_ptr_null(trees_find(w->t, 0));
	run_all(w, NS_PER_S);
	ck_assert_uint_eq(figures(w).wanted, 0);
	ck_assert_uint_eq(check(w, true), PARTITIONS);
	/* More than one piece in each. */
	ck_assert_uint_ge(w->fences, 2 * PARTITIONS);
	ck_assert_ptr_null(trees_find(w->t, PARTITIONS));
	ck_assert_uint_eq(w->logs, 0);
	/* From now on it is kept, also to the last row. */
	for (unsigned k = 0; k < KEYS; k++)
		put(w, k, k % 2 == 0 ? 0 : 50);
	while (w->head < w->tail) {
		deliver(w);
		ck_assert_uint_eq(check(w, true), PARTITIONS);
	}
	for (unsigned k = 0; k < KEYS; k++)
		put(w, k, 0);
	deliver_all(w);
	ck_assert_uint_eq(check(w, true), PARTITIONS);
	ck_assert(sum_is_zero(&trees_find(w->t, 1)->root));
	world_free(w);
}
END_TEST

/* A row that just fills a piece, or does not any more; and one larger than a piece. */
START_TEST(pieces_end_where_they_may)
{
	struct world *w = world_new(view_ring(1, 1, PARTITIONS), test_seed(), 0);
	size_t name_len = sizeof(w->keys[0].name);

	put(w, 0, TREES_PIECE / 2 - name_len);
	put(w, PARTITIONS, TREES_PIECE / 2 - name_len + (size_t)_i);
	put(w, 2 * PARTITIONS, 10);
	put(w, 1, 2 * BIG);
	put(w, 1 + PARTITIONS, 2 * BIG);
	put(w, 1 + 2 * PARTITIONS, 2 * BIG);
	put(w, 1 + 3 * PARTITIONS, 2 * BIG);
	run_all(w, NS_PER_S);
	ck_assert_uint_eq(check(w, true), PARTITIONS);
	/* One or two pieces, two of the larger ones, and one of each empty partition. */
	ck_assert_uint_eq(w->fences, (_i > 0 ? 2 : 1) + 2 + PARTITIONS - 2);
	world_free(w);
}
END_TEST

/* Nothing but DATA counts. */
START_TEST(other_spaces_are_not_in_it)
{
	struct world *w = world_new(view_ring(1, 1, PARTITIONS), test_seed(), 0);
	struct dyn_slice name = name_of(w, 0);
	struct change c = { .name = buf_copy(name.data, name.len), .space = DYN_SPACE_HINT };
	struct changes all = { .list = &c, .count = 1 };

	memset(&c.after, 1, sizeof(c.after));
	run_all(w, NS_PER_S);
	trees_changed(w->t, &all);
	ck_assert_uint_eq(check(w, true), PARTITIONS);
	buf_unref(c.name);
	world_free(w);
}
END_TEST

/*
 * Every place of a change by every time of it, by every kind:
 * where  0 in what is done, 1 in the piece, 2 its last row, 3 just behind it, 4 the end
 * when   0 before the scan, told after it; 1 after the scan, told before the fence;
 *        2 the same, told after the fence; 3 after the fence
 * kind   0 a new row, 1 another value, 2 no row
 */
START_TEST(changes_at_any_place_and_time)
{
	static const unsigned places[] = { 1, 4, 5, 6, 11 };
	unsigned where = (unsigned)_i % 5, when = (unsigned)_i / 5 % 4, kind = (unsigned)_i / 20;
	unsigned k = PARTITIONS * places[where];
	struct world *w = world_new(view_ring(1, 1, PARTITIONS), test_seed(), 0);

	for (unsigned i = 0; i < 12; i++)
		if (kind != 0 || PARTITIONS * i != k)
			put(w, PARTITIONS * i, BIG);
	deliver_all(w);
	run_to_fence(w, NS_PER_S);
	release(w, 0);
	deliver_all(w);
	/* The first piece (three rows) is done, the second is to be scanned. */
	if (when == 0)
		put(w, k, kind == 2 ? 0 : BIG);
	run_to_fence(w, NS_PER_S);
	if (when == 1)
		put(w, k, kind == 2 ? 0 : BIG);
	if (when == 2) {
		release(w, 0);
		put(w, k, kind == 2 ? 0 : BIG);
		deliver_all(w);
	} else {
		deliver_all(w);
		release(w, 0);
		deliver_all(w);
		if (when == 3)
			put(w, k, kind == 2 ? 0 : BIG);
	}
	run_all(w, NS_PER_S);
	ck_assert_uint_eq(check(w, true), PARTITIONS);
	ck_assert_uint_ge(w->fences, PARTITIONS - 1 + 4);
	world_free(w);
}
END_TEST

/* The same row again and again, on both sides of scan and fence. */
START_TEST(a_row_that_does_not_rest)
{
	struct world *w = world_new(view_ring(1, 1, PARTITIONS), test_seed(), 0);

	put(w, 0, 10);
	run_to_fence(w, NS_PER_S);
	put(w, 0, 20);
	put(w, 0, 0);
	put(w, 0, 30);
	deliver(w);
	deliver(w);
	release(w, 0);
	put(w, 0, 0);
	put(w, 0, 40);
	while (w->head < w->tail) {
		deliver(w);
		(void)check(w, true);
	}
	run_all(w, NS_PER_S);
	ck_assert_uint_eq(check(w, true), PARTITIONS);
	world_free(w);
}
END_TEST

static void
random_step(struct world *w, struct view *views[2])
{
	static const size_t sizes[] = { 0, 0, 20, 500, BIG, 2 * BIG };
	unsigned what = (unsigned)rng_below(&w->rng, 100);

	if (what < 20) {
		/* In this order, whatever the compiler. */
		unsigned key = (unsigned)rng_below(&w->rng, KEYS);

		put(w, key, sizes[rng_below(&w->rng, ARRAY_LEN(sizes))]);
	} else if (what < 52) {
		deliver(w);
	} else if (what < 70) {
		unsigned fate = (unsigned)rng_below(&w->rng, 60);

		if (w->fence != NULL && fate > 0) {
			release(w, fate == 1 ? DYN_EIO : 0);
		} else {
			rows_free(w->fence);
			w->fence = NULL;
		}
	} else if (what < 98) {
		uint64_t wake = trees_wake(w->t, &w->admit);

		if (wake < w->m.now + (w->fence != NULL ? NS_PER_S : 2 * TREES_PATIENCE))
			w->m.now = MAX(w->m.now, wake);
		tick(w);
	} else if (what == 98) {
		w->fake->scan_rc = rng_below(&w->rng, 8) == 0 ? DYN_EIO : 0;
	} else if (rng_below(&w->rng, 3) == 0) {
		trees_view(w->t, views[rng_below(&w->rng, 2)], w->m);
	}
}

START_TEST(any_sequence)
{
	/* Two rings: of the one, this node owns all, of the other only some. */
	struct view *views[2] = { view_ring(1, 1, PARTITIONS), view_ring(5, 2, PARTITIONS) };
	struct world *w = world_new(views[0], test_seed() + (uint64_t)_i, 20 * NS_PER_S);

	for (unsigned i = 0; i < 1500; i++) {
		random_step(w, views);
		(void)check(w, true);
	}
	w->fake->scan_rc = 0;
	trees_view(w->t, views[0], w->m);
	for (unsigned i = 0; figures(w).wanted > 0 && i < 100; i++) {
		w->m.now += TREES_PATIENCE / 4;
		run_all(w, 0);
	}
	ck_assert_uint_eq(check(w, true), PARTITIONS);
	deliver_all(w);
	ck_assert_uint_eq(check(w, true), PARTITIONS);
	ck_assert_uint_eq(check(w, false), PARTITIONS);
	ck_assert_uint_eq(figures(w).wrong, 0);
	view_unref(views[1]);
	world_free(w);
}
END_TEST

START_TEST(a_fence_that_fails_or_gets_lost)
{
	struct world *w = world_new(view_ring(1, 1, PARTITIONS), test_seed(), 0);
	struct rows *late = NULL;

	for (unsigned i = 0; i < 12; i++)
		put(w, PARTITIONS * i, BIG);
	deliver_all(w);
	/* In the second piece, so that there is something to throw away. */
	run_to_fence(w, NS_PER_S);
	release(w, 0);
	deliver_all(w);
	run_to_fence(w, NS_PER_S);
	if (_i == 0) {
		release(w, DYN_EIO);
		deliver_all(w);
		ck_assert_uint_eq(trees_wake(w->t, &w->admit), w->m.now + TREES_REST);
	} else {
		late = w->fence;
		w->fence = NULL;
		ck_assert_uint_eq(trees_wake(w->t, &w->admit), w->m.now + TREES_PATIENCE);
		w->m.now += TREES_PATIENCE;
		tick(w);
		ck_assert_ptr_null(w->fence);
	}
	ck_assert_ptr_null(trees_find(w->t, 0));
	ck_assert_uint_eq(figures(w).wanted, PARTITIONS);
	/* Changes meanwhile; and the lost one after all, while the next is out. */
	put(w, 0, 10);
	put(w, 4 * PARTITIONS, 0);
	deliver_all(w);
	run_to_fence(w, 2 * TREES_REST);
	ck_assert_ptr_nonnull(w->fence);
	if (late != NULL) {
		struct rows *now = w->fence;

		put(w, PARTITIONS, 10); /* not told yet: the late one must not count */
		w->fence = late;
		trees_stored(w->t, late, 0, w->m, &w->out);
		w->fence = now;
		take_effects(w);
	}
	run_all(w, NS_PER_S);
	ck_assert_uint_eq(check(w, true), PARTITIONS);
	world_free(w);
}
END_TEST

/* No piece counts before its fence, and the next is not scanned either. */
START_TEST(nothing_goes_on_before_the_fence)
{
	struct world *w = world_new(view_ring(1, 1, PARTITIONS), test_seed(), 0);
	unsigned fences;

	put(w, 0, 100);
	deliver_all(w);
	run_to_fence(w, NS_PER_S);
	fences = w->fences;
	w->m.now += TREES_PATIENCE - 1;
	tick(w);
	ck_assert_uint_eq(w->fences, fences);
	ck_assert_ptr_null(trees_find(w->t, 0));
	release(w, 0);
	deliver_all(w);
	ck_assert_ptr_nonnull(trees_find(w->t, 0));
	ck_assert_uint_eq(check(w, true), 1);
	world_free(w);
}
END_TEST

START_TEST(an_engine_that_fails)
{
	struct world *w = world_new(view_ring(1, 1, PARTITIONS), test_seed(), 0);

	for (unsigned k = 0; k < KEYS; k++)
		put(w, k, 100);
	deliver_all(w);
	w->fake->scan_rc = DYN_ENOMEM;
	tick(w);
	ck_assert_ptr_null(w->fence);
	ck_assert_uint_eq(w->logs, 1);
	run_to_fence(w, 10 * TREES_REST);
	ck_assert_uint_ge(w->logs, 9);
	ck_assert_uint_le(w->logs, 12);
	w->fake->scan_rc = 0;
	run_all(w, 2 * TREES_REST);
	ck_assert_uint_eq(check(w, true), PARTITIONS);
	ck_assert_uint_eq(w->broken, 0);
	world_free(w);
}
END_TEST

/* One partition whose rows cannot be read, at once (0) or when it is walked over (1):
 * the others stand; it is told, tried again, and built when they can be. */
START_TEST(rows_that_cannot_be_read)
{
	struct world *w = world_new(view_ring(1, 1, PARTITIONS), test_seed(), 20 * NS_PER_S);

	for (unsigned k = 0; k < KEYS; k++)
		put(w, k, 100);
	deliver_all(w);
	if (_i == 1) {
		run_all(w, NS_PER_S);
		ck_assert_uint_eq(check(w, true), PARTITIONS);
		w->m.now = MAX(w->m.now, trees_wake(w->t, &w->admit));
	}
	w->fake->scan_rc = _i == 0 ? DYN_ECORRUPT : DYN_EIO;
	tick(w);
	ck_assert_uint_eq(w->broken, 1);
	w->fake->scan_rc = 0;
	run_all(w, NS_PER_S / 10);
	ck_assert_uint_eq(figures(w).wanted, 0);
	ck_assert_uint_eq(figures(w).broken, 1);
	ck_assert_uint_eq(w->logs, 1);
	ck_assert_uint_eq(check(w, true), PARTITIONS - 1);
	for (unsigned k = 0; k < KEYS; k++)
		put(w, k, 200);
	deliver_all(w);
	ck_assert_uint_eq(check(w, true), PARTITIONS - 1);
	/* Nothing is to do until then. */
	ck_assert_uint_gt(trees_wake(w->t, &w->admit), w->m.now + NS_PER_S / 2);
	w->m.now += TREES_BROKEN;
	run_all(w, NS_PER_S / 10);
	ck_assert_uint_eq(figures(w).broken, 0);
	ck_assert_uint_eq(check(w, true), PARTITIONS);
	ck_assert_uint_eq(w->broken, 1);
	world_free(w);
}
END_TEST

START_TEST(given_up_in_the_middle)
{
	struct view *all = view_ring(1, 1, PARTITIONS), *none = view_ring(2, 1, PARTITIONS);
	struct world *w = world_new(all, test_seed(), 0);
	struct dyn_id a = node_id('a');
	unsigned mine = 0;

	for (unsigned k = 0; k < KEYS; k++)
		put(w, k, BIG);
	deliver_all(w);
	/* To the partition that is going away. */
	for (unsigned p = 0; p < PARTITIONS; p++) {
		run_to_fence(w, NS_PER_S);
		release(w, 0);
		deliver_all(w);
		run_to_fence(w, NS_PER_S);
		if (!view_owns(none, w->fence->partition, &a))
			break;
		while (trees_find(w->t, p) == NULL) {
			release(w, 0);
			deliver_all(w);
			run_to_fence(w, NS_PER_S);
		}
	}
	trees_view(w->t, none, w->m);
	for (unsigned p = 0; p < PARTITIONS; p++) {
		mine += view_owns(none, p, &a);
		ck_assert(view_owns(none, p, &a) || trees_find(w->t, p) == NULL);
	}
	ck_assert_uint_gt(mine, 0);
	ck_assert_uint_lt(mine, PARTITIONS);
	/* Its fence comes back all the same. */
	release(w, 0);
	deliver_all(w);
	run_all(w, NS_PER_S);
	ck_assert_uint_eq(figures(w).wanted, 0);
	ck_assert_uint_eq(check(w, true), mine);
	/* And it comes back, with other rows. */
	for (unsigned k = 0; k < KEYS; k += 3)
		put(w, k, 30);
	trees_view(w->t, all, w->m);
	ck_assert_uint_eq(figures(w).wanted, PARTITIONS - mine);
	run_all(w, NS_PER_S);
	ck_assert_uint_eq(check(w, true), PARTITIONS);
	view_unref(none);
	world_free(w);
}
END_TEST

/* 0: all is well; else a row is changed, lost, or came by itself. */
START_TEST(a_walk_finds_damage)
{
	uint64_t walk = 100 * NS_PER_S;
	struct world *w = world_new(view_ring(1, 1, PARTITIONS), test_seed(), walk);
	unsigned logs;

	for (unsigned k = 0; k < KEYS - 1; k++)
		put(w, k, BIG);
	run_all(w, NS_PER_S);
	ck_assert_uint_eq(check(w, true), PARTITIONS);
	ck_assert_uint_eq(figures(w).walked, 0);
	if (_i == 1)
		damage(w, 2, BIG);
	if (_i == 2)
		damage(w, 2, 0);
	if (_i == 3)
		damage(w, KEYS - 1, 10);
	logs = w->logs;
	for (unsigned i = 0; figures(w).walked < PARTITIONS && i < 1000; i++) {
		w->m.now += NS_PER_S;
		/* Writes do not disturb it, nor does it them. */
		put(w, PARTITIONS * (i % 12), 20 + i);
		run_all(w, 0);
	}
	ck_assert_uint_eq(figures(w).walked, PARTITIONS);
	ck_assert_uint_eq(figures(w).wrong, _i > 0);
	ck_assert_uint_eq(w->logs - logs, _i > 0);
	ck_assert_uint_eq(check(w, false), PARTITIONS);
	/* It is told once; the next walk finds nothing. */
	while (figures(w).walked < 2 * PARTITIONS) {
		w->m.now += NS_PER_S;
		run_all(w, 0);
	}
	ck_assert_uint_eq(figures(w).wrong, _i > 0);
	ck_assert_uint_eq(check(w, false), PARTITIONS);
	world_free(w);
}
END_TEST

/* To forget what is old is the first owner's: who becomes it looks at all rows, once,
 * also at those of a tree that is just being built. */
START_TEST(a_new_first_owner_looks_again)
{
	struct view *two = view_ring(2, 2, PARTITIONS), *one;
	struct world *w = world_new(view_ref(two), test_seed(), 0);
	struct dyn_id a = node_id('a');
	unsigned others = 0;

	for (unsigned k = 0; k < KEYS; k++)
		put(w, k, BIG);
	deliver_all(w);
	if (_i == 0)
		run_all(w, NS_PER_S);
	else
		run_to_fence(w, NS_PER_S);
	/* Of the latter only the one in hand has rows that were looked at too early. */
	while (_i == 1 && table_rank(two->current, w->fence->partition, &a) == 0) {
		release(w, 0);
		deliver_all(w);
		run_to_fence(w, NS_PER_S);
	}
	ck_assert_uint_eq(figures(w).walked, 0);
	for (unsigned p = 0; p < PARTITIONS; p++)
		others += table_rank(two->current, p, &a) != 0 &&
		    (w->fence == NULL || p == w->fence->partition);
	ck_assert_uint_gt(others, 0);
	one = view_leaves(two, 'b');
	for (unsigned i = 0; i < 2; i++) {
		trees_view(w->t, one, w->m);
		if (i == 0 && w->fence != NULL)
			release(w, 0);
		run_all(w, NS_PER_S);
		ck_assert_uint_eq(figures(w).walked, others);
		ck_assert_uint_eq(check(w, false), PARTITIONS);
	}
	ck_assert_uint_eq(figures(w).wrong, 0);
	view_unref(one);
	world_free(w);
}
END_TEST

/* While it walks, the tree of before stands and is kept. */
/* The same for so long, however much there is to do. */
static void
run_for(struct world *w, uint64_t ns)
{
	uint64_t until = w->m.now + ns;

	while (w->m.now < until) {
		run_all(w, 0);
		w->m.now = MAX(w->m.now + 1, MIN(until, trees_wake(w->t, &w->admit)));
	}
}

/* Rows that cannot be read count as missing, whether a first scan meets them or a later
 * one that was asked for; they go when it is on disk that the copy lacks something, and
 * until then, and until they are gone, the partition is looked at again. */
START_TEST(damaged_rows_go_once_that_is_known)
{
	struct world *w = world_new(view_ring(1, 1, PARTITIONS), test_seed(), 0);
	unsigned p = partition_of(w, 2), looked;

	for (unsigned k = 0; k < KEYS; k++)
		put(w, k, 100);
	deliver_all(w);
	if (_i == 1)
		run_all(w, 10 * NS_PER_S);
	fake_damage(w->fake, name_of(w, 2));
	memset(&w->keys[2].is, 0, sizeof(w->keys[2].is));
	trees_look_again(w->t, p);
	run_for(w, NS_PER_S / 2);
	ck_assert_uint_eq(check(w, false), PARTITIONS);
	ck_assert_uint_eq(w->removals, 0);
	ck_assert_uint_ge(w->damages, 1);
	looked = w->damages;
	run_for(w, 10 * TREES_REST);
	/* Not all the time. */
	ck_assert_uint_gt(w->damages, looked);
	ck_assert_uint_le(w->damages, looked + 11);
	w->marked = true;
	run_for(w, 2 * TREES_REST);
	ck_assert_uint_ge(w->removals, 1);
	damage(w, 2, 0); /* it is gone, as it was told to be */
	run_for(w, 2 * TREES_REST);
	looked = w->damages;
	run_for(w, 10 * TREES_REST);
	ck_assert_uint_eq(w->damages, looked);
	put(w, 2, 100);
	deliver_all(w);
	ck_assert_uint_eq(check(w, false), PARTITIONS);
	world_free(w);
}
END_TEST

START_TEST(a_walk_takes_nothing_away)
{
	struct world *w = world_new(view_ring(1, 1, PARTITIONS), test_seed(), 10 * NS_PER_S);

	for (unsigned k = 0; k < KEYS; k++)
		put(w, k, BIG);
	run_all(w, NS_PER_S);
	run_to_fence(w, 20 * NS_PER_S);
	for (unsigned k = 0; k < KEYS; k++)
		put(w, k, 7 * (size_t)(k % 5));
	while (w->head < w->tail) {
		deliver(w);
		ck_assert_uint_eq(check(w, true), PARTITIONS);
	}
	/* A walk that fails leaves it as it was. */
	release(w, DYN_EIO);
	deliver_all(w);
	ck_assert_uint_eq(check(w, true), PARTITIONS);
	ck_assert_uint_eq(figures(w).walked, 0);
	for (unsigned i = 0; i < 60; i++) {
		w->m.now += NS_PER_S;
		run_all(w, 0);
	}
	ck_assert_uint_ge(figures(w).walked, PARTITIONS);
	ck_assert_uint_eq(figures(w).wrong, 0);
	ck_assert_uint_eq(check(w, true), PARTITIONS);
	world_free(w);
}
END_TEST

/* Scans are paid for: the slower the node may be, the later the next piece. */
START_TEST(it_waits_for_its_turn)
{
	struct world *w = world_new(view_ring(1, 1, PARTITIONS), test_seed(), 0);

	for (unsigned i = 0; i < 12; i++)
		put(w, PARTITIONS * i, BIG);
	deliver_all(w);
	w->admit.rate = ADMIT_LEAST;
	run_to_fence(w, NS_PER_S);
	release(w, 0);
	deliver_all(w);
	ck_assert_uint_eq(trees_wake(w->t, &w->admit), admit_at(&w->admit));
	ck_assert_uint_ge(admit_at(&w->admit), w->m.now + NS_PER_S / 5);
	trees_tick(w->t, &w->admit, w->m, &w->out);
	take_effects(w);
	ck_assert_ptr_null(w->fence);
	world_free(w);
}
END_TEST

START_TEST(each_allocation_fails)
{
	struct view *v = view_ring(1, 1, PARTITIONS);
	struct world *w = world_new(v, test_seed(), 0);
	struct trees_options o = { .self = node_id('a'), .engine = &w->fake->engine };

	for (unsigned k = 0; k < KEYS; k++)
		put(w, k, k < 40 ? BIG : 10);
	deliver_all(w);
	w->out.list = mem_array(64, sizeof(*w->out.list));
	w->out.cap = 64;
	trees_free(w->t);
	w->t = NULL;
	TEST_ALLOC_FAILURES(n) {
		int rc = trees_new(&w->t, &o);

		ck_assert(rc == 0 || rc == DYN_ENOMEM);
		if (rc == 0) {
			trees_view(w->t, v, w->m);
			trees_view(w->t, v, w->m);
			for (unsigned i = 0; i < 200 && check(w, true) < PARTITIONS; i++) {
				run_to_fence(w, NS_PER_S);
				if (w->fence == NULL)
					continue;
				trees_stored(w->t, w->fence, 0, w->m, &w->out);
				w->fence = NULL;
				take_effects(w);
			}
			ck_assert_uint_eq(check(w, true), PARTITIONS);
		}
		trees_free(w->t);
		w->t = NULL;
	}
	world_free(w);
}
END_TEST

static Suite *
suite(void)
{
	Suite *s = suite_create("trees");
	TCase *c = tcase_create("building");

	suite_add_tcase(s, c);
	tcase_add_test(c, built_from_what_is_there);
	tcase_add_loop_test(c, pieces_end_where_they_may, 0, 2);
	tcase_add_test(c, other_spaces_are_not_in_it);
	tcase_add_loop_test(c, changes_at_any_place_and_time, 0, 60);
	tcase_add_test(c, a_row_that_does_not_rest);
	tcase_add_test(c, nothing_goes_on_before_the_fence);
	tcase_add_test(c, given_up_in_the_middle);
	tcase_add_test(c, it_waits_for_its_turn);
	c = tcase_create("at random");
	suite_add_tcase(s, c);
	tcase_set_timeout(c, 60);
	tcase_add_loop_test(c, any_sequence, 0, 60);
	c = tcase_create("failures");
	suite_add_tcase(s, c);
	tcase_add_loop_test(c, a_fence_that_fails_or_gets_lost, 0, 2);
	tcase_add_test(c, an_engine_that_fails);
	tcase_add_loop_test(c, rows_that_cannot_be_read, 0, 2);
	tcase_add_test(c, each_allocation_fails);
	c = tcase_create("walks");
	suite_add_tcase(s, c);
	tcase_add_loop_test(c, a_walk_finds_damage, 0, 4);
	tcase_add_loop_test(c, damaged_rows_go_once_that_is_known, 0, 2);
	tcase_add_test(c, a_walk_takes_nothing_away);
	tcase_add_loop_test(c, a_new_first_owner_looks_again, 0, 2);
	return s;
}

TEST_MAIN(suite)
