/* Building trees, keeping them, looking whether they are right.  Why is in trees.h. */
#include "core/trees.h"

#include "base/map.h"

enum tree_state { NOT_MINE, WANTED, BUILT, BROKEN };

/* A row of the piece between its scan and its fence. */
struct seen {
	struct map_link link;
	struct buf *name;
	struct digest digest;
};

struct build {
	enum { IDLE, RESTING, READY, FENCING } state;
	unsigned partition;
	bool again;             /* it has a tree: is it right? */
	bool due;               /* and it was due when this began */
	bool last;              /* the piece reaches the end of the partition */
	bool damaged;           /* rows of it are */
	struct merkle *tree;    /* of the pieces that are done */
	struct buf *from, *to;  /* the piece: from < name <= to; NULL = the bounds */
	struct map piece;       /* struct seen */
	uint64_t number, until; /* of the fence; or of the rest */
};

struct trees {
	struct trees_options o;
	struct view *view;
	uint8_t *state;       /* by partition */
	struct merkle **tree; /* NULL: not built, or no row yet */
	uint8_t *first;       /* this node is their first owner */
	uint64_t *due;        /* to be looked at again then; 0 = as all others */
	unsigned partitions, mine, wanted, dues, broken;
	uint64_t broken_at;   /* those that are broken are tried again */
	struct build b;
	unsigned cursor, walk_cursor;
	uint64_t walk_at;     /* the next partition to look at again */
	uint64_t next_number;
	uint64_t walked, wrong;
};

static const struct merkle empty;

int
trees_new(struct trees **out, const struct trees_options *options)
{
	struct trees *t = mem_zalloc(sizeof(*t));

	*out = NULL;
	if (t == NULL)
		return DYN_ENOMEM;
	if (map_init(&t->b.piece, 1024) != 0) {
		mem_free(t);
		return DYN_ENOMEM;
	}
	t->o = *options;
	if (t->o.walk == 0)
		t->o.walk = TREES_WALK;
	t->next_number = 1;
	t->walk_at = TIME_NEVER;
	*out = t;
	return 0;
}

/* ------------------------------------------------------------------ a build */

static void
seen_free(void *arg, struct map_link *l)
{
	struct seen *s = CONTAINER_OF(l, struct seen, link);

	map_remove(arg, l);
	buf_unref(s->name);
	mem_free(s);
}

static void
drop_piece(struct build *b)
{
	map_each(&b->piece, seen_free, &b->piece);
	buf_unref(b->to);
	b->to = NULL;
}

static void
build_end(struct build *b)
{
	drop_piece(b);
	buf_unref(b->from);
	b->from = NULL;
	mem_free(b->tree);
	b->tree = NULL;
	b->state = IDLE;
}

static struct seen *
seen_find(const struct build *b, struct dyn_slice name)
{
	struct map_link *l = map_first(&b->piece, load_be64(name.data));

	for (; l != NULL; l = map_next(l)) {
		struct seen *s = CONTAINER_OF(l, struct seen, link);

		if (slice_equal(buf_slice(s->name), name))
			return s;
	}
	return NULL;
}

static bool
seen_set(struct build *b, struct dyn_slice name, const struct digest *digest)
{
	struct seen *s = seen_find(b, name);

	if (s == NULL) {
		s = mem_zalloc(sizeof(*s));
		if (s == NULL)
			return false;
		s->name = buf_copy(name.data, name.len);
		if (s->name == NULL) {
			mem_free(s);
			return false;
		}
		map_add(&b->piece, &s->link, load_be64(name.data));
	}
	s->digest = *digest;
	return true;
}

/* Try again later, from the beginning: without memory, or the engine failed. */
static void
build_fails(struct trees *t, struct moment m)
{
	build_end(&t->b);
	t->b.state = RESTING;
	t->b.until = m.now + TREES_REST;
}

static void
set_due(struct trees *t, unsigned p, uint64_t at)
{
	t->dues += at != 0;
	t->dues -= t->due[p] != 0;
	t->due[p] = at;
}

/* Rows that cannot be read hold up no other partition. */
static void
build_breaks(struct trees *t, struct moment m)
{
	unsigned p = t->b.partition;

	build_end(&t->b);
	t->wanted -= t->state[p] == WANTED;
	set_due(t, p, 0);
	mem_free(t->tree[p]);
	t->tree[p] = NULL;
	t->state[p] = BROKEN;
	if (t->broken++ == 0)
		t->broken_at = m.now + TREES_BROKEN;
	if (t->o.broken != NULL)
		t->o.broken(t->o.broken_arg, p);
}

static void
try_broken_again(struct trees *t)
{
	for (unsigned p = 0; p < t->partitions; p++) {
		if (t->state[p] != BROKEN)
			continue;
		t->state[p] = WANTED;
		t->wanted++;
	}
	t->broken = 0;
}

struct piece {
	struct trees *t;
	struct build *b;
	struct dyn_slice last;
	size_t bytes;
	bool cut, failed;
	struct buf *to;
	struct wr damaged; /* names */
};

static int
piece_row(void *arg, struct dyn_slice name, struct dyn_slice value)
{
	struct piece *p = arg;
	struct digest digest;
	struct buf *to;

	if (p->bytes > TREES_PIECE) {
		p->cut = true;
		return 1;
	}
	row_digest(name, value, &digest);
	to = buf_copy(name.data, name.len);
	if (to == NULL || !seen_set(p->b, name, &digest)) {
		buf_unref(to);
		p->failed = true;
		return 1;
	}
	if (value.data == NULL)
		wr_slice(&p->damaged, name);
	else if (p->t->o.row != NULL)
		p->t->o.row(p->t->o.row_arg, name, value);
	buf_unref(p->to);
	p->to = to;
	p->bytes += name.len + value.len;
	return 0;
}

/* Rows that cannot be read count as missing.  Who compares has to know that the copy
 * lacks something before they go; until then the partition is looked at again. */
static void
damaged_rows(struct trees *t, struct wr *names, struct outbox *out)
{
	struct build *b = &t->b;
	struct rows *rows = NULL;
	struct buf *bytes = NULL;

	if (wr_len(names) > 0) {
		b->damaged = true;
		if (wr_finish(names, &bytes) == 0 && t->o.damaged != NULL &&
		    t->o.damaged(t->o.damaged_arg, b->partition))
			rows = rows_new(ROWS_DAMAGED, b->partition, 0, buf_slice(bytes));
		outbox_log(out, DYN_LOG_ERROR, "partition %u has damaged rows; %s", b->partition,
		    rows != NULL ? "they are removed, and filled again by the other owners" :
		    "its copy is marked");
	}
	wr_abort(names);
	buf_unref(bytes);
	if (rows != NULL)
		outbox_add(out, FX_ROWS)->what = rows;
}

static void
scan_piece(struct trees *t, struct admit *a, struct moment m, struct outbox *out)
{
	unsigned char first[16], last[KEY_NAME_MAX];
	struct piece p = { .t = t, .b = &t->b };
	struct build *b = &t->b;
	struct dyn_slice from = buf_slice(b->from);
	struct rows *fence;
	int rc;

	partition_bounds(b->partition, t->partitions, first, last);
	if (b->from == NULL)
		from = slice(first, sizeof(first));
	wr_init(&p.damaged, 64);
	rc = t->o.engine->scan(t->o.engine->self, DYN_SPACE_DATA, from, slice(last, sizeof(last)),
	    piece_row, &p);
	admit_pay(a, p.bytes + 4096, m.now);
	damaged_rows(t, &p.damaged, out);
	b->to = p.to;
	b->last = !p.cut;
	fence = rows_new(ROWS_FENCE, b->partition, t->next_number, slice(NULL, 0));
	if (rc != 0 || p.failed || fence == NULL) {
		if (rc != 0)
			outbox_log(out, DYN_LOG_ERROR, "partition %u cannot be read: %s",
			    b->partition, dyn_strerror(rc));
		rows_free(fence);
		if (rc == DYN_EIO || rc == DYN_ECORRUPT)
			build_breaks(t, m);
		else
			build_fails(t, m);
		return;
	}
	b->state = FENCING;
	b->number = t->next_number++;
	b->until = m.now + TREES_PATIENCE;
	outbox_add(out, FX_ROWS)->what = fence;
}

static void
build_begin(struct trees *t, unsigned partition, bool again)
{
	struct build *b = &t->b;

	b->partition = partition;
	b->again = again;
	b->damaged = false;
	b->due = t->due[partition] != 0;
	b->tree = mem_zalloc(sizeof(*b->tree));
	b->state = b->tree != NULL ? READY : IDLE;
}

void
trees_look_again(struct trees *t, unsigned partition)
{
	if (t->state != NULL && partition < t->partitions &&
	    (t->state[partition] == WANTED || t->state[partition] == BUILT))
		set_due(t, partition, 1);
}

/* All pieces are done. */
static void
build_ends_well(struct trees *t, struct moment m, struct outbox *out)
{
	struct build *b = &t->b;
	unsigned p = b->partition;
	const struct merkle *old = t->tree[p] != NULL ? t->tree[p] : &empty;

	if (b->due)
		set_due(t, p, 0);
	if (b->damaged)
		set_due(t, p, m.now + TREES_REST);
	if (!b->again) {
		t->state[p] = BUILT;
		t->wanted--;
	} else {
		t->walked++;
		if (memcmp(old, b->tree, sizeof(*old)) != 0) {
			/* Rows changed without anybody having written them, or a change
			 * was not told: what the rows say holds, and the exchange with
			 * the other owners mends them. */
			t->wrong++;
			outbox_log(out, DYN_LOG_ERROR,
			    "partition %u: the rows are not what was written", p);
		}
	}
	mem_free(t->tree[p]);
	t->tree[p] = NULL;
	if (memcmp(b->tree, &empty, sizeof(empty)) != 0) {
		t->tree[p] = b->tree;
		b->tree = NULL;
	}
	build_end(b);
}

/* What the piece has holds now: into the tree. */
static void
add_seen(void *arg, struct map_link *l)
{
	struct trees *t = arg;
	const struct seen *s = CONTAINER_OF(l, struct seen, link);
	static const struct digest none;

	merkle_change(t->b.tree, name_leaf(buf_slice(s->name), t->partitions), &none, &s->digest);
}

void
trees_stored(struct trees *t, struct rows *fence, int rc, struct moment m, struct outbox *out)
{
	struct build *b = &t->b;
	bool ours = b->state == FENCING && fence->number == b->number;

	rows_free(fence);
	if (!ours)
		return;
	if (rc != 0) {
		build_fails(t, m);
		return;
	}
	map_each(&b->piece, add_seen, t);
	buf_unref(b->from);
	b->from = b->to;
	b->to = NULL;
	drop_piece(b);
	b->state = READY;
	if (b->last)
		build_ends_well(t, m, out);
}

/* ----------------------------------------------------------------- changes */

static void
keep(struct trees *t, unsigned partition, const struct change *c)
{
	struct merkle **tree = &t->tree[partition];

	if (*tree == NULL) {
		*tree = mem_zalloc(sizeof(**tree));
		/* A change that is not counted would make the tree lie. */
		DYN_ASSERT(*tree != NULL);
	}
	merkle_change(*tree, name_leaf(buf_slice(c->name), t->partitions), &c->before, &c->after);
}

/* Where is the name: in what is done, in the piece, or ahead? */
static void
keep_building(struct trees *t, const struct change *c)
{
	struct build *b = &t->b;
	struct dyn_slice name = buf_slice(c->name);

	DYN_ASSERT(name.data != NULL);
	if (b->from != NULL && slice_compare(name, buf_slice(b->from)) <= 0) {
		merkle_change(b->tree, name_leaf(name, t->partitions), &c->before, &c->after);
		return;
	}
	if (b->state != FENCING)
		return;
	if (!b->last && slice_compare(name, buf_slice(b->to)) > 0)
		return;
	DYN_ASSERT(seen_set(b, name, &c->after));
}

void
trees_changed(struct trees *t, const struct changes *changes)
{
	for (size_t i = 0; i < changes->count; i++) {
		const struct change *c = &changes->list[i];
		unsigned p;

		if (c->space != DYN_SPACE_DATA || t->state == NULL)
			continue;
		p = name_partition(buf_slice(c->name), t->partitions);
		if (t->state[p] == BUILT)
			keep(t, p, c);
		if (t->b.tree != NULL && t->b.partition == p)
			keep_building(t, c);
	}
}

/* --------------------------------------------------------------- what is ours */

static void
forget_all(struct trees *t)
{
	build_end(&t->b);
	for (unsigned p = 0; p < t->partitions; p++)
		mem_free(t->tree[p]);
	mem_free(t->tree);
	mem_free(t->state);
	mem_free(t->first);
	mem_free(t->due);
	t->tree = NULL;
	t->state = t->first = NULL;
	t->due = NULL;
	t->partitions = t->mine = t->wanted = t->dues = t->broken = 0;
}

void
trees_free(struct trees *t)
{
	if (t == NULL)
		return;
	forget_all(t);
	map_fini(&t->b.piece);
	view_unref(t->view);
	mem_free(t);
}

static void
give_up(struct trees *t, unsigned p)
{
	if (t->b.tree != NULL && t->b.partition == p)
		build_end(&t->b);
	t->wanted -= t->state[p] == WANTED;
	t->broken -= t->state[p] == BROKEN;
	set_due(t, p, 0);
	mem_free(t->tree[p]);
	t->tree[p] = NULL;
	t->state[p] = NOT_MINE;
}

void
trees_view(struct trees *t, struct view *v, struct moment m)
{
	unsigned partitions = v->settings.partitions;

	if (v->current == NULL)
		return;
	if (partitions != t->partitions) {
		forget_all(t);
		t->state = mem_zalloc(partitions);
		t->tree = mem_zalloc(partitions * sizeof(*t->tree));
		t->first = mem_zalloc(partitions);
		t->due = mem_zalloc(partitions * sizeof(*t->due));
		if (t->state == NULL || t->tree == NULL || t->first == NULL || t->due == NULL) {
			forget_all(t);
			return; /* the next view tries again */
		}
		t->partitions = partitions;
		t->walk_at = m.now + t->o.walk;
	}
	view_ref(v);
	view_unref(t->view);
	t->view = v;
	t->mine = 0;
	for (unsigned p = 0; p < partitions; p++) {
		bool mine = view_owns(v, p, &t->o.self);
		bool first = mine && table_rank(v->current, p, &t->o.self) == 0;

		/* To forget is its task now, of what others may have noted (collect.h). */
		if (first && !t->first[p])
			trees_look_again(t, p);
		t->first[p] = first;
		t->mine += mine;
		if (!mine && t->state[p] != NOT_MINE) {
			give_up(t, p);
		} else if (mine && t->state[p] == NOT_MINE) {
			t->state[p] = WANTED;
			t->wanted++;
		}
	}
}

const struct merkle *
trees_find(const struct trees *t, unsigned partition)
{
	if (t->state == NULL || partition >= t->partitions || t->state[partition] != BUILT)
		return NULL;
	return t->tree[partition] != NULL ? t->tree[partition] : &empty;
}

void
trees_figures(const struct trees *t, struct trees_figures *f)
{
	f->wanted = t->wanted;
	f->broken = t->broken;
	f->walked = t->walked;
	f->wrong = t->wrong;
}

/* -------------------------------------------------------------------- time */

/* The next in this state, from the cursor on and round. */
static bool
next_in(const struct trees *t, enum tree_state state, unsigned *cursor)
{
	for (unsigned i = 0; i < t->partitions; i++) {
		unsigned p = (*cursor + i) % t->partitions;

		if (t->state[p] != state)
			continue;
		*cursor = p;
		return true;
	}
	return false;
}

static bool
next_due(const struct trees *t, uint64_t now, unsigned *cursor)
{
	for (unsigned i = 0; i < t->partitions; i++) {
		unsigned p = (*cursor + i) % t->partitions;

		if (t->due[p] == 0 || t->due[p] > now || t->state[p] != BUILT)
			continue;
		*cursor = p;
		return true;
	}
	return false;
}

static uint64_t
due_at(const struct trees *t)
{
	uint64_t at = TIME_NEVER;

	for (unsigned p = 0; p < t->partitions && t->dues > 0; p++)
		if (t->due[p] != 0 && t->state[p] == BUILT)
			at = MIN(at, t->due[p]);
	return at;
}

static void
choose(struct trees *t, struct moment m)
{
	if (t->broken > 0 && t->broken_at <= m.now)
		try_broken_again(t);
	if (t->wanted > 0 && next_in(t, WANTED, &t->cursor)) {
		build_begin(t, t->cursor, false);
		return;
	}
	if (t->dues > 0 && next_due(t, m.now, &t->cursor)) {
		build_begin(t, t->cursor, true);
		return;
	}
	if (t->walk_at > m.now)
		return;
	t->walk_at = m.now + t->o.walk / MAX(t->mine, 1u);
	if (next_in(t, BUILT, &t->walk_cursor)) {
		build_begin(t, t->walk_cursor, true);
		t->walk_cursor = (t->walk_cursor + 1) % t->partitions;
	}
}

uint64_t
trees_wake(const struct trees *t, const struct admit *a)
{
	uint64_t at;

	switch (t->b.state) {
	case RESTING:
	case FENCING:
		return t->b.until;
	case READY:
		return admit_at(a);
	default:
		if (t->wanted > 0)
			return admit_at(a);
		at = MIN(MAX(due_at(t), admit_at(a)), t->walk_at);
		return t->broken > 0 ? MIN(t->broken_at, at) : at;
	}
}

void
trees_tick(struct trees *t, struct admit *a, struct moment m, struct outbox *out)
{
	if (t->b.state == RESTING && t->b.until <= m.now)
		t->b.state = IDLE;
	if (t->b.state == FENCING && t->b.until <= m.now)
		build_fails(t, m); /* the fence got lost: without memory for a letter */
	if (t->b.state == IDLE && t->state != NULL)
		choose(t, m);
	if (t->b.state == READY && admit_may(a, m.now))
		scan_piece(t, a, m, out);
}
