/* See rings.h. */
#include "test/figures/rings.h"

#include "model/view.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { POSITION_BYTES = 16 }; /* of a token: the paper's identifiers have 128 bits */

const char *const strategy_name[STRATEGIES] = {
    "1: T tokens", "2: T tokens, equal partitions", "3: Q/S tokens, equal partitions", "ours"};

struct token {
	uint64_t at;
	uint16_t node;
};

static void *
must(void *p)
{
	if (p == NULL) {
		fprintf(stderr, "out of memory\n");
		exit(1);
	}
	return p;
}

static void
good(int rc)
{
	if (rc == 0)
		return;
	fprintf(stderr, "%s\n", dyn_strerror(rc));
	exit(1);
}

static int
token_compare(const void *a, const void *b)
{
	const struct token *x = a, *y = b;

	return x->at < y->at ? -1 : x->at > y->at ? 1 : (int)x->node - (int)y->node;
}

static struct token *
tokens_draw(const struct rings_setup *o, struct rng *rng)
{
	size_t count = (size_t)o->nodes * o->tokens;
	struct token *t = must(calloc(count, sizeof(*t)));

	for (size_t i = 0; i < count; i++)
		t[i] = (struct token){rng_next(rng), (uint16_t)(i / o->tokens)};
	qsort(t, count, sizeof(*t), token_compare);
	return t;
}

/* The first n nodes that are met from token i on. */
static void
walk(const struct token *t, size_t count, size_t i, unsigned n, uint16_t *owners)
{
	unsigned have = 0, k;

	for (size_t met = 0; met < count && have < n; met++, i = (i + 1) % count) {
		for (k = 0; k < have && owners[k] != t[i].node; k++)
			;
		if (k == have)
			owners[have++] = t[i].node;
	}
	DYN_ASSERT(have == n);
}

/* The end of partition i of q equal ones. */
static uint64_t
equal_end(size_t i, size_t q)
{
	return i + 1 == q ? UINT64_MAX : (uint64_t)(i + 1) * (UINT64_MAX / q);
}

static void
place_by_tokens(struct spread *l, const struct rings_setup *o, struct rng *rng)
{
	struct token *t = tokens_draw(o, rng);
	size_t count = (size_t)o->nodes * o->tokens, next = 0;

	for (size_t i = 0; i < l->count; i++) {
		if (o->strategy == TOKENS) {
			l->end[i] = t[i].at;
			walk(t, count, i, o->n, &l->owners[i * o->n]);
			continue;
		}
		while (next < count && t[next].at < l->end[i])
			next++;
		walk(t, count, next % count, o->n, &l->owners[i * o->n]);
	}
	free(t);
}

static void
place_equally(struct spread *l, const struct rings_setup *o, struct rng *rng)
{
	struct token *t = must(calloc(l->count, sizeof(*t))), swap;
	size_t k;

	for (size_t i = 0; i < l->count; i++)
		t[i].node = (uint16_t)(i % o->nodes);
	for (size_t i = l->count - 1; i > 0; i--) {
		k = (size_t)rng_below(rng, i + 1);
		swap = t[i];
		t[i] = t[k];
		t[k] = swap;
	}
	for (size_t i = 0; i < l->count; i++)
		walk(t, l->count, i, o->n, &l->owners[i * o->n]);
	free(t);
}

/* -------------------------------------------------------------------- ours */

static struct record
record_make(unsigned i, struct rng *rng)
{
	struct record r = {.incarnation = 1, .stamp = 1, .state = RECORD_JOINED, .weight = 100,
	    .workers = 1};

	for (size_t k = 0; k < sizeof(r.id.bytes); k++)
		r.id.bytes[k] = (unsigned char)rng_next(rng);
	snprintf(r.address, sizeof(r.address), "10.0.%u.%u:7000", i / 250, 1 + i % 250);
	snprintf(r.location, sizeof(r.location), "dc1/z1/r1/m%u", i);
	return r;
}

static struct view *
settled(struct view *v)
{
	struct view *next;
	struct record r;

	good(view_settle(&next, v));
	view_unref(v);
	while (view_phase(v = next) != VIEW_SETTLED) {
		for (size_t i = 0; i < v->count; i++) {
			r = v->records[i];
			r.stamp++;
			r.synced_epoch = v->current->epoch;
			r.synced = v->current->digest;
			r.reading = 1;
			good(view_with(&next, v, &r));
			view_unref(v);
			v = next;
		}
		good(view_settle(&next, v));
		view_unref(v);
	}
	return v;
}

/* A ring of so many, as it is when nothing moves. */
static struct view *
view_make(const struct rings_setup *o, struct rng *rng)
{
	struct settings s = {.name = "figures", .partitions = o->partitions, .n = (uint8_t)o->n};
	struct record r = record_make(0, rng);
	struct view *v, *next;

	s.ring_id.bytes[0] = 1;
	good(view_create(&v, &s, &r));
	for (unsigned i = 1; i < o->nodes; i++) {
		r = record_make(i, rng);
		good(view_with(&next, v, &r));
		view_unref(v);
		v = next;
	}
	return settled(v);
}

static size_t
view_size(const struct view *v)
{
	struct buf *b;
	size_t size;

	good(view_encode(v, &b));
	size = b->len;
	buf_unref(b);
	return size;
}

static size_t
table_size(const struct table *t)
{
	struct buf *b;
	struct wr w;
	size_t size;

	wr_init(&w, 4096);
	table_write(&w, t);
	good(wr_finish(&w, &b));
	size = b->len;
	buf_unref(b);
	return size;
}

static void
place_ours(struct spread *l, const struct rings_setup *o, struct rng *rng)
{
	struct seat *seats = must(calloc(o->nodes, sizeof(*seats)));
	struct table *t;

	for (unsigned i = 0; i < o->nodes; i++) {
		struct record r = record_make(i, rng);

		seats[i].node = r.id;
		seats[i].weight = r.weight;
		record_machine(&r, &seats[i].machine);
	}
	good(table_next(&t, NULL, o->partitions, o->n, seats, o->nodes));
	DYN_ASSERT(table_short(t) == 0);
	memcpy(l->owners, t->owners, l->count * o->n * sizeof(*l->owners));
	table_unref(t);
	free(seats);
}

/* Ours as it is.  For the paper's strategies the same records, and in place of the
 * table the tokens of each node, or the node of each partition. */
static void
measure_sizes(struct spread *l, const struct rings_setup *o, struct rng *rng)
{
	struct rings_setup like = *o;
	struct view *v;

	if (o->strategy != OURS)
		like.partitions = 16;
	v = view_make(&like, rng);
	l->placement_bytes = o->strategy == OURS ? table_size(v->base) :
	    o->strategy == EQUAL ? (size_t)o->partitions * 2 :
	    (size_t)o->nodes * (2 + (size_t)o->tokens * POSITION_BYTES);
	l->view_bytes = view_size(v) - table_size(v->base) + l->placement_bytes;
	view_unref(v);
}

/* ------------------------------------------------------------------ layout */

void
spread_init(struct spread *l, const struct rings_setup *o, struct rng *rng)
{
	memset(l, 0, sizeof(*l));
	l->nodes = o->nodes;
	l->n = o->n;
	l->count = o->strategy == TOKENS ? (size_t)o->nodes * o->tokens : o->partitions;
	l->end = must(calloc(l->count, sizeof(*l->end)));
	l->owners = must(calloc(l->count * o->n, sizeof(*l->owners)));
	for (size_t i = 0; i < l->count; i++)
		l->end[i] = equal_end(i, l->count);
	if (o->strategy == OURS)
		place_ours(l, o, rng);
	else if (o->strategy == EQUAL)
		place_equally(l, o, rng);
	else
		place_by_tokens(l, o, rng);
	if (o->sizes)
		measure_sizes(l, o, rng);
}

void
spread_fini(struct spread *l)
{
	free(l->end);
	free(l->owners);
}

/* How many of these, ascending, are below v? */
static size_t
below(const uint64_t *list, size_t count, uint64_t v)
{
	size_t low = 0, high = count, middle;

	while (low < high) {
		middle = low + (high - low) / 2;
		if (list[middle] < v)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

size_t
spread_find(const struct spread *l, uint64_t position)
{
	/* What is behind the last token belongs to the first. */
	return below(l->end, l->count, position) % l->count;
}

/* Keys up to the end of partition i. */
static size_t
keys_until(const struct spread *l, const struct keys *k, size_t i)
{
	return l->end[i] == UINT64_MAX ? k->count : below(k->position, k->count, l->end[i] + 1);
}

double
spread_efficiency(const struct spread *l, const struct keys *k)
{
	double *load = must(calloc(l->nodes, sizeof(*load))), most = 0, part;
	size_t from = 0, to;

	for (size_t i = 0; i < l->count; i++, from = to) {
		to = keys_until(l, k, i);
		part = k->sum[to] - k->sum[from];
		/* The first partition begins behind the last. */
		if (i == 0)
			part += k->sum[k->count] - k->sum[keys_until(l, k, l->count - 1)];
		for (unsigned n = 0; n < l->n; n++)
			load[l->owners[i * l->n + n]] += part;
	}
	for (unsigned n = 0; n < l->nodes; n++)
		most = fmax(most, load[n]);
	free(load);
	return k->sum[k->count] * l->n / l->nodes / most;
}

/* -------------------------------------------------------------------- keys */

uint64_t
key_position(uint64_t set, uint64_t i)
{
	struct digest d;
	char text[64];

	snprintf(text, sizeof(text), "%llu-%llu", (unsigned long long)set, (unsigned long long)i);
	good(hash_digest(slice(text, strlen(text)), &d));
	return load_be64(d.b);
}

struct key {
	uint64_t at;
	double weight;
};

static int
key_compare(const void *a, const void *b)
{
	const struct key *x = a, *y = b;

	return x->at < y->at ? -1 : x->at > y->at;
}

void
keys_init(struct keys *k, size_t count, double exponent, uint64_t seed)
{
	struct key *list = must(calloc(count, sizeof(*list)));

	for (size_t i = 0; i < count; i++)
		list[i] = (struct key){key_position(seed, i), pow((double)i + 1, -exponent)};
	qsort(list, count, sizeof(*list), key_compare);
	k->count = count;
	k->position = must(calloc(count, sizeof(*k->position)));
	k->sum = must(calloc(count + 1, sizeof(*k->sum)));
	for (size_t i = 0; i < count; i++) {
		k->position[i] = list[i].at;
		k->sum[i + 1] = k->sum[i] + list[i].weight;
	}
	free(list);
}

void
keys_fini(struct keys *k)
{
	free(k->position);
	free(k->sum);
}
