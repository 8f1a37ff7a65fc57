/* The rows an engine holds in memory: skip lists of versions. */
#include "host/memtable.h"

#include "base/rng.h"

#include <endian.h>

/* One node in four rises a level: 12 levels are good for 16 million. */
#define HEIGHT_MAX 12
/* A part stays well below SQLite's limit of 10^9 bytes for one value, and
 * small enough for its memory to be found. */
#define PART_BYTES ((size_t)8 << 20)
#define ROW_BYTES_MAX ((size_t)512 << 20)
#define TAG_REMOVED 0x80
#define SUM_LEN 8

/* Where an empty id points: not NULL. */
static const unsigned char nothing[1];

struct mem_node {
	uint64_t prefix; /* first bytes of the id: decides nearly always */
	uint64_t seq;
	struct dyn_slice id;
	struct dyn_slice value;
	uint8_t space;
	uint8_t height;
	_Atomic(struct mem_node *) next[];
};

struct memtable {
	atomic_uint refs;
	atomic_uint_fast64_t now;
	atomic_size_t size, useful;
	atomic_uint_fast64_t rows, bytes, removed;
	struct rng rng;
	struct mem_part *parts;
	_Atomic(struct mem_node *) head[DYN_SPACE_COUNT][HEIGHT_MAX];
};

struct memtable *
memtable_new(void)
{
	struct memtable *t = mem_zalloc(sizeof(*t));

	if (t == NULL)
		return NULL;
	atomic_init(&t->refs, 1);
	t->rng.state = UINT64_C(0x6d656d7461626c65);
	return t;
}

struct memtable *
memtable_ref(struct memtable *t)
{
	atomic_fetch_add_explicit(&t->refs, 1, memory_order_relaxed);
	return t;
}

static void
free_parts(struct mem_part *part)
{
	struct mem_part *next;

	for (; part != NULL; part = next) {
		next = part->next;
		buf_unref(part->blob);
		mem_free(part);
	}
}

void
memtable_unref(struct memtable *t)
{
	if (t == NULL)
		return;
	if (atomic_fetch_sub_explicit(&t->refs, 1, memory_order_acq_rel) != 1)
		return;
	free_parts(t->parts);
	mem_free(t);
}

/* ------------------------------------------------------------- encoding */

/* Eight bytes a step; finds damage, not forgery. */
static uint64_t
check_sum(const unsigned char *p, size_t len)
{
	uint64_t h = len, word;

	for (; len >= sizeof(word); p += sizeof(word), len -= sizeof(word)) {
		memcpy(&word, p, sizeof(word));
		h = (h ^ le64toh(word)) * UINT64_C(0x9fb21c651e98df25);
		h ^= h >> 32;
	}
	word = 0;
	for (size_t i = 0; i < len; i++)
		word |= (uint64_t)p[i] << (8 * i);
	return mix64(h ^ word);
}

static uint64_t
seal(struct dyn_slice id, struct dyn_slice value)
{
	return check_sum(id.data, id.len) * 3 + check_sum(value.data, value.len);
}

static void
put_u64(unsigned char *p, uint64_t v)
{
	for (size_t i = 0; i < 8; i++)
		p[i] = (unsigned char)(v >> (8 * i));
}

bool
memtable_unseal(struct dyn_slice id, struct dyn_slice stored, struct dyn_slice *value)
{
	unsigned char expected[SEAL_LEN];

	if (stored.len < SEAL_LEN)
		return false;
	*value =
	    slice((const unsigned char *)stored.data + SEAL_LEN, stored.len - SEAL_LEN);
	put_u64(expected, seal(id, *value));
	return memcmp(stored.data, expected, SEAL_LEN) == 0;
}

static size_t
row_len(const struct dyn_row *row)
{
	size_t len = 1 + var_len(row->id.len) + row->id.len;

	if (row->value.data != NULL)
		len += var_len(row->value.len) + SEAL_LEN + row->value.len;
	return len;
}

static void
put_row(struct wr *w, const struct dyn_row *row)
{
	bool removed = row->value.data == NULL;

	wr_u8(w, (uint8_t)(row->space | (removed ? TAG_REMOVED : 0)));
	wr_slice(w, row->id);
	if (removed)
		return;
	wr_var(w, row->value.len);
	wr_u64(w, seal(row->id, row->value));
	wr_bytes(w, row->value.data, row->value.len);
}

static int
encode(const struct dyn_row *rows, size_t count, size_t bytes, struct buf **out)
{
	struct wr w;
	uint64_t sum;
	int rc;

	wr_init(&w, SUM_LEN + var_len(count) + bytes);
	wr_u64(&w, 0);
	wr_var(&w, count);
	for (size_t i = 0; i < count; i++)
		put_row(&w, &rows[i]);
	rc = wr_finish(&w, out);
	if (rc != 0)
		return rc;
	sum = check_sum((*out)->data + SUM_LEN, (*out)->len - SUM_LEN);
	put_u64((*out)->data, sum);
	return 0;
}

static uint64_t
prefix_of(struct dyn_slice id)
{
	unsigned char first[8] = {0};

	if (id.len > 0)
		memcpy(first, id.data, MIN(id.len, sizeof(first)));
	return load_be64(first);
}

/* The next row of an encoded part.  False if it is malformed. */
static bool
get_row(struct rd *r, struct mem_node *node)
{
	uint8_t tag = rd_u8(r);
	uint64_t len;

	node->space = tag & (uint8_t)~TAG_REMOVED;
	node->id = rd_slice(r, ROW_BYTES_MAX);
	node->value = slice(NULL, 0);
	if ((tag & TAG_REMOVED) == 0) {
		len = rd_var(r);
		(void)rd_bytes(r, SEAL_LEN);
		node->value.data = r->p; /* also if it is empty */
		node->value.len = rd_bytes(r, (size_t)MIN(len, SIZE_MAX)).len;
	}
	if (node->id.data == NULL)
		node->id.data = nothing;
	node->prefix = prefix_of(node->id);
	return !r->bad && node->space < DYN_SPACE_COUNT;
}

static uint8_t
draw_height(struct rng *rng)
{
	uint64_t bits = rng_next(rng);
	uint8_t height = 1;

	for (; height < HEIGHT_MAX && (bits & 3) == 0; bits >>= 2)
		height++;
	return height;
}

static size_t
node_len(unsigned height)
{
	return sizeof(struct mem_node) + height * sizeof(_Atomic(struct mem_node *));
}

/* Nodes for all rows of a checked blob, in one piece of memory. */
static int
build_nodes(struct memtable *t, struct buf *blob, size_t count, struct rd *r,
    struct mem_part **out, size_t *bytes)
{
	struct rng rng = t->rng; /* twice the same heights */
	size_t len = sizeof(struct mem_part);
	struct mem_part *part;
	unsigned char *at;

	for (size_t i = 0; i < count; i++)
		len += node_len(draw_height(&rng));
	part = mem_alloc(len);
	if (part == NULL)
		return DYN_ENOMEM;
	at = (unsigned char *)(part + 1);
	for (size_t i = 0; i < count; i++) {
		struct mem_node *node = (struct mem_node *)(void *)at;

		node->height = draw_height(&t->rng);
		if (!get_row(r, node)) {
			mem_free(part);
			return DYN_ECORRUPT;
		}
		at += node_len(node->height);
	}
	part->next = NULL;
	part->blob = blob;
	part->count = count;
	*out = part;
	*bytes = len + sizeof(*blob) + blob->len;
	return 0;
}

/* Check a blob and append it to the batch, which then owns it. */
static int
add_part(struct memtable *t, struct buf *blob, struct mem_batch *batch)
{
	struct rd r = rd_from(buf_slice(blob));
	uint64_t sum = rd_u64(&r), count;
	struct mem_part *part = NULL;
	size_t bytes = 0;
	int rc;

	if (r.bad || sum != check_sum(r.p, rd_left(&r)))
		return DYN_ECORRUPT;
	count = rd_var(&r);
	/* A row takes two bytes at least: a bound for what we allocate. */
	if (count > rd_left(&r) / 2)
		return DYN_ECORRUPT;
	rc = build_nodes(t, blob, (size_t)count, &r, &part, &bytes);
	if (rc != 0)
		return rc;
	if (!rd_end(&r)) {
		mem_free(part);
		return DYN_ECORRUPT;
	}
	if (batch->last != NULL)
		batch->last->next = part;
	else
		batch->first = part;
	batch->last = part;
	batch->bytes += bytes;
	return 0;
}

static int
stage_part(struct memtable *t, const struct dyn_row *rows, size_t count, size_t bytes,
    struct mem_batch *batch)
{
	struct buf *blob;
	int rc;

	rc = encode(rows, count, bytes, &blob);
	if (rc != 0)
		return rc;
	rc = add_part(t, blob, batch);
	DYN_ASSERT(rc != DYN_ECORRUPT);
	if (rc != 0)
		buf_unref(blob);
	return rc;
}

int
memtable_stage(
    struct memtable *t, const struct dyn_row *rows, size_t count, struct mem_batch *batch)
{
	size_t from = 0, bytes = 0, len;
	int rc = 0;

	memset(batch, 0, sizeof(*batch));
	for (size_t i = 0; i < count && rc == 0; i++) {
		if ((unsigned)rows[i].space >= DYN_SPACE_COUNT)
			rc = DYN_EINVAL;
		else if (rows[i].id.len + rows[i].value.len > ROW_BYTES_MAX)
			rc = DYN_ETOOBIG;
	}
	for (size_t i = 0; i < count && rc == 0; i++) {
		len = row_len(&rows[i]);
		if (bytes > 0 && bytes + len > PART_BYTES) {
			rc = stage_part(t, &rows[from], i - from, bytes, batch);
			from = i;
			bytes = 0;
		}
		bytes += len;
	}
	if (rc == 0 && count > from)
		rc = stage_part(t, &rows[from], count - from, bytes, batch);
	if (rc != 0)
		memtable_discard(batch);
	return rc;
}

int
memtable_restage(struct memtable *t, struct dyn_slice stored, struct mem_batch *batch)
{
	struct buf *blob;
	int rc;

	memset(batch, 0, sizeof(*batch));
	blob = buf_copy(stored.data, stored.len);
	if (blob == NULL)
		return DYN_ENOMEM;
	rc = add_part(t, blob, batch);
	if (rc != 0)
		buf_unref(blob);
	return rc;
}

void
memtable_discard(struct mem_batch *batch)
{
	free_parts(batch->first);
	memset(batch, 0, sizeof(*batch));
}

/* ----------------------------------------------------------- the skip list */

/* Is the node before (id, seq)?  Of one id the newest comes first. */
static bool
is_before(const struct mem_node *node, uint64_t prefix, struct dyn_slice id, uint64_t seq)
{
	int c;

	if (node->prefix != prefix)
		return node->prefix < prefix;
	c = slice_compare(node->id, id);
	if (c != 0)
		return c < 0;
	return node->seq > seq;
}

static struct mem_node *
load_next(const _Atomic(struct mem_node *) *from)
{
	/* Acquire: with the pointer we see what was written before it was
	 * stored, the node itself. */
	return atomic_load_explicit(from, memory_order_acquire);
}

/*
 * The first node not before (id, seq).  If prev is not NULL it gets, for each
 * level, the pointer that leads past the place.
 */
static struct mem_node *
seek(const struct memtable *t, enum dyn_space space, struct dyn_slice id, uint64_t seq,
    _Atomic(struct mem_node *) **prev)
{
	const _Atomic(struct mem_node *) *tower = t->head[space];
	uint64_t prefix = prefix_of(id);
	struct mem_node *node = NULL, *beyond = NULL;

	for (int level = HEIGHT_MAX - 1; level >= 0; level--) {
		/* What stopped us a level above stops us here: no need to
		 * touch its memory again. */
		while ((node = load_next(&tower[level])) != NULL && node != beyond &&
		       is_before(node, prefix, id, seq))
			tower = node->next;
		beyond = node;
		if (prev != NULL)
			prev[level] = (_Atomic(struct mem_node *) *)&tower[level];
	}
	return node;
}

static bool
same_id(const struct mem_node *a, const struct mem_node *b)
{
	return a->prefix == b->prefix && slice_equal(a->id, b->id);
}

static size_t
payload(const struct mem_node *node)
{
	return node->value.data != NULL ? node->id.len + node->value.len : 0;
}

static void
add_to(atomic_uint_fast64_t *counter, uint64_t by)
{
	atomic_fetch_add_explicit(counter, by, memory_order_relaxed);
}

/* A node was put in front of the older version, if there is one. */
static void
count_node(struct memtable *t, const struct mem_node *node, const struct mem_node *older)
{
	bool live = node->value.data != NULL;
	bool was_live = older != NULL && older->value.data != NULL;

	if (live)
		t->useful += sizeof(*node) + payload(node);
	if (was_live)
		t->useful -= sizeof(*older) + payload(older);
	if (node->space != DYN_SPACE_DATA)
		return;
	add_to(&t->rows, (uint64_t)live - (uint64_t)was_live);
	add_to(&t->bytes, payload(node) - (older != NULL ? payload(older) : 0));
	add_to(&t->removed, (uint64_t)!live - (uint64_t)(older != NULL && !was_live));
}

static void
link_node(struct memtable *t, struct mem_node *node, uint64_t seq)
{
	_Atomic(struct mem_node *) *prev[HEIGHT_MAX];
	struct mem_node *after;

	node->seq = seq;
	after = seek(t, node->space, node->id, seq, prev);
	for (unsigned level = 0; level < node->height; level++) {
		atomic_init(&node->next[level],
		    atomic_load_explicit(prev[level], memory_order_relaxed));
		atomic_store_explicit(prev[level], node, memory_order_release);
	}
	count_node(t, node, after != NULL && same_id(after, node) ? after : NULL);
}

void
memtable_publish(struct memtable *t, struct mem_batch *batch)
{
	uint64_t seq = atomic_load_explicit(&t->now, memory_order_relaxed);

	if (batch->first == NULL)
		return;
	for (struct mem_part *part = batch->first; part != NULL; part = part->next) {
		unsigned char *at = (unsigned char *)(part + 1);

		for (size_t i = 0; i < part->count; i++) {
			struct mem_node *node = (struct mem_node *)(void *)at;

			link_node(t, node, ++seq);
			at += node_len(node->height);
		}
	}
	batch->last->next = t->parts;
	t->parts = batch->first;
	t->size += batch->bytes;
	memset(batch, 0, sizeof(*batch));
	/* Readers look only at rows up to here: now they see the batch. */
	atomic_store_explicit(&t->now, seq, memory_order_release);
}

/* ---------------------------------------------------------------- reading */

uint64_t
memtable_now(const struct memtable *t)
{
	return atomic_load_explicit(&t->now, memory_order_acquire);
}

size_t
memtable_size(const struct memtable *t)
{
	return atomic_load_explicit(&t->size, memory_order_relaxed);
}

size_t
memtable_useful(const struct memtable *t)
{
	return atomic_load_explicit(&t->useful, memory_order_relaxed);
}

struct mem_count
memtable_count(const struct memtable *t)
{
	return (struct mem_count){
	    .rows = atomic_load_explicit(&t->rows, memory_order_relaxed),
	    .bytes = atomic_load_explicit(&t->bytes, memory_order_relaxed),
	    .removed = atomic_load_explicit(&t->removed, memory_order_relaxed),
	};
}

enum mem_found
memtable_find(const struct memtable *t, uint64_t now, enum dyn_space space,
    struct dyn_slice id, struct dyn_slice *value)
{
	const struct mem_node *node = seek(t, space, id, now, NULL);

	if (node == NULL || !slice_equal(node->id, id))
		return MEM_NONE;
	*value = node->value;
	return node->value.data != NULL ? MEM_ROW : MEM_REMOVED;
}

/* Go on to a version that may be seen.  Versions of one id follow each other
 * from the newest, so the first that may be seen is the right one. */
static void
settle(struct mem_iter *it)
{
	while (it->node != NULL && it->node->seq > it->now)
		it->node = load_next(&it->node->next[0]);
	if (it->node != NULL) {
		it->id = it->node->id;
		it->value = it->node->value;
	}
}

static void
skip_id(struct mem_iter *it)
{
	const struct mem_node *from = it->node;

	do
		it->node = load_next(&it->node->next[0]);
	while (it->node != NULL && same_id(it->node, from));
}

void
mem_iter_init(struct mem_iter *it, const struct memtable *t, uint64_t now,
    enum dyn_space space, struct dyn_slice after)
{
	memset(it, 0, sizeof(*it));
	it->now = now;
	if (t == NULL)
		return;
	if (after.data == NULL) {
		it->node = load_next(&t->head[space][0]);
	} else {
		it->node = seek(t, space, after, UINT64_MAX, NULL);
		if (it->node != NULL && slice_equal(it->node->id, after))
			skip_id(it);
	}
	settle(it);
}

void
mem_iter_next(struct mem_iter *it)
{
	skip_id(it);
	settle(it);
}
