#include "test/copies.h"

#include "test/unit/notation.h"

#include <stdio.h>
#include <stdlib.h>

/* ------------------------------------------------------------------- engine */

static int
node_get(void *self, enum dyn_space space, struct dyn_slice id, struct dyn_buffer *out)
{
	struct node *n = self;

	return n->get_rc != 0 ? n->get_rc : n->real->get(n->real->self, space, id, out);
}

struct damaging {
	struct buf *name;
	dyn_engine_row *visit;
	void *arg;
};

static int
visit_damaged(void *arg, struct dyn_slice id, struct dyn_slice value)
{
	const struct damaging *d = arg;

	return d->visit(d->arg, id, slice_equal(id, buf_slice(d->name)) ? slice(NULL, 0) : value);
}

static int
node_scan(void *self, enum dyn_space space, struct dyn_slice after, struct dyn_slice last,
    dyn_engine_row *visit, void *arg)
{
	struct node *n = self;

	if (n->scan_rc != 0)
		return n->scan_rc;
	if (n->damaged != NULL) {
		struct damaging d = { key_name(n->damaged), visit, arg };
		int rc = n->real->scan(n->real->self, space, after, last, visit_damaged, &d);

		buf_unref(d.name);
		return rc;
	}
	return n->real->scan(n->real->self, space, after, last, visit, arg);
}

void
copies_write_row(
    struct node *n, enum dyn_space space, struct dyn_slice id, struct dyn_slice value)
{
	struct dyn_row row = {space, id, value};

	MUST(n->real->apply(n->real->self, &row, 1, DYN_DURABLE_DISK) == 0);
}

/* A copy changes, and the tree is told. */
void
copies_write_copy(struct node *n, struct dyn_slice name, struct dyn_slice value)
{
	struct dyn_buffer b = {NULL, 0, 0};
	struct change c = {
	    .name = buf_copy(name.data, name.len), .space = DYN_SPACE_DATA};
	struct changes all = { .list = &c, .count = 1 };

	(void)n->real->get(n->real->self, DYN_SPACE_DATA, name, &b);
	row_digest(name, slice(b.data, b.len), &c.before);
	row_digest(name, value, &c.after);
	copies_write_row(n, DYN_SPACE_DATA, name, value);
	trees_changed(n->trees, &all);
	dyn_buffer_free(&b);
	buf_unref(c.name);
}

void
copies_merge_copy(struct node *n, struct dyn_slice name, struct dyn_slice value)
{
	struct dyn_buffer b = {NULL, 0, 0};
	struct buf *merged = NULL;
	int rc;

	(void)n->real->get(n->real->self, DYN_SPACE_DATA, name, &b);
	rc = object_merge(slice(b.data, b.len), value, &merged);
	MUST(rc >= 0);
	if (rc == OBJECT_RIGHT)
		copies_write_copy(n, name, value);
	else if (rc == OBJECT_BOTH)
		copies_write_copy(n, name, buf_slice(merged));
	buf_unref(merged);
	dyn_buffer_free(&b);
}

/* -------------------------------------------------------------------- nodes */

static void
rows_broken(void *arg, unsigned partition)
{
	struct node *n = arg;

	repair_unreadable(n->r, partition);
}

void
copies_start(struct copies *w, unsigned i, bool lost)
{
	struct node *n = &w->node[i];
	struct trees_options to = {.self = node_id(n->letter),
	    .engine = &n->engine,
	    .broken = rows_broken,
	    .broken_arg = n};
	struct repair_options ro = {.self = node_id(n->letter),
	    .engine = &n->engine,
	    .admit = &n->admit,
	    .lost = lost};

	admit_init(&n->admit, w->m.now);
	n->admit.rate = ADMIT_MOST;
	arrive_init(&n->arrivals, &ro.self);
	MUST(trees_new(&n->trees, &to) == 0);
	ro.trees = n->trees;
	MUST(repair_new(&n->r, &ro, w->m) == 0);
}

void
copies_see_view(struct copies *w, unsigned i, struct view *v)
{
	struct node *n = &w->node[i];

	arrive_view(&n->arrivals, v);
	trees_view(n->trees, v, w->m);
	repair_view(n->r, v, w->m, &n->out);
}

void
copies_stop(struct node *n)
{
	for (size_t i = 0; i < n->out.count; i++) {
		if (n->out.list[i].kind == FX_ROWS)
			rows_free(n->out.list[i].what);
		effect_drop(&n->out.list[i]);
	}
	n->out.count = 0;
	rows_free(n->held);
	n->held = NULL;
	repair_free(n->r);
	trees_free(n->trees);
	arrive_fini(&n->arrivals);
}

struct copies *
copies_new(unsigned count, struct view *v)
{
	struct copies *w = calloc(1, sizeof(*w));

	MUST(w != NULL);
	w->count = count;
	w->view = v;
	w->m = (struct moment){NS_PER_S, 1000000};
	for (unsigned i = 0; i < count; i++) {
		struct node *n = &w->node[i];

		n->letter = (char)('a' + i);
		MUST(dyn_engine_memory(&n->real) == 0);
		n->engine = *n->real;
		n->engine.self = n;
		n->engine.get = node_get;
		n->engine.scan = node_scan;
		outbox_init(&n->out);
		copies_start(w, i, false);
	}
	return w;
}

/* Copies are filled by now. */
void
copies_begin(struct copies *w)
{
	for (unsigned i = 0; i < w->count; i++)
		copies_see_view(w, i, w->view);
}

struct copies *
copies_of_two(void)
{
	return copies_new(2, view_ring(2, 3, PARTITIONS));
}

struct copies *
copies_of_three(void)
{
	return copies_new(3, view_ring(3, 3, PARTITIONS));
}

void
copies_free(struct copies *w)
{
	for (; w->head < w->tail; w->head++)
		buf_unref(w->queue[w->head % ARRAY_LEN(w->queue)].frame);
	for (unsigned i = 0; i < w->count; i++) {
		struct node *n = &w->node[i];

		copies_stop(n);
		outbox_fini(&n->out);
		buf_unref(n->told);
		MUST(n->real->close(n->real->self) == 0);
	}
	view_unref(w->view);
	free(w);
}

/* ------------------------------------------------------------------ carrying */

static void
pack(struct copies *w, unsigned from, unsigned to, struct buf *frame, bool answer)
{
	struct parcel *p = &w->queue[w->tail++ % ARRAY_LEN(w->queue)];
	struct frame f;

	MUST(w->tail - w->head <= ARRAY_LEN(w->queue));
	MUST(frame_decode(&f, buf_slice(frame)) == 0);
	w->frames[f.kind]++;
	w->bytes[f.kind] += frame->len;
	w->last[f.kind] = f.request;
	*p = (struct parcel){from, to, buf_ref(frame), answer};
}

/* A storage: all at once, or nothing. */
void
copies_store(struct copies *w, struct node *n, struct rows *rows)
{
	struct rd rd = rd_from(buf_slice(rows->bytes));
	int rc = rows->of == ROWS_FENCE ? 0 : n->store_rc;

	while (rc == 0 && rd_left(&rd) > 0) {
		struct dyn_slice name = rd_slice(&rd, KEY_NAME_MAX);

		copies_merge_copy(n, name, rd_slice(&rd, LIMIT_OBJECT));
	}
	MUST(rc != 0 || rd_end(&rd));
	if (rows->of == ROWS_FENCE)
		trees_stored(n->trees, rows, rc, w->m, &n->out);
	else if (rows->of == ROWS_REPAIR)
		repair_stored(n->r, rows, rc, w->m, &n->out);
	else
		arrive_stored(&n->arrivals, rows, rc, &n->out);
}

static void
take_effect(struct copies *w, unsigned i, struct effect *e)
{
	struct node *n = &w->node[i];

	switch (e->kind) {
	case FX_SEND:
		for (unsigned k = 0; k < w->count; k++)
			if (w->node[k].letter == node_letter(&e->to))
				pack(w, i, k, e->frame, false);
		break;
	case FX_REPLY:
		pack(w, i, (unsigned)e->conn, e->frame, true);
		break;
	case FX_ROWS:
		if (n->hold && ((struct rows *)e->what)->of != ROWS_FENCE) {
			MUST(n->held == NULL);
			n->held = e->what;
		} else {
			copies_store(w, n, e->what);
		}
		break;
	case FX_CATCHING:
		buf_unref(n->told);
		n->told = buf_ref(e->frame);
		break;
	case FX_META:
		if (n->hold_meta) {
			n->meta_held++;
			break;
		}
		if (n->meta_rc == 0) {
			copies_write_row(
			    n, DYN_SPACE_META, dyn_str(e->address), buf_slice(e->frame));
			n->saved++;
		}
		if (e->rc == 1)
			repair_saved(n->r, n->meta_rc, w->m, &n->out);
		break;
	case FX_LOG:
		n->logs++;
		break;
	case FX_MARKED:
		n->marked = e->rc;
		break;
	case FX_POKE:
		n->pokes++;
		break;
	default:
		ck_abort_msg("not an effect of sync: %d", e->kind);
	}
	effect_drop(e);
}

void
copies_take_effects(struct copies *w, unsigned i)
{
	struct outbox *out = &w->node[i].out;

	for (size_t k = 0; k < out->count; k++) {
		struct effect e = out->list[k]; /* storing adds some */

		memset(&out->list[k], 0, sizeof(e));
		out->list[k].kind = FX_LOG;
		take_effect(w, i, &e);
	}
	out->count = 0;
}

int
copies_receive(struct copies *w, unsigned from, unsigned to, struct buf *frame)
{
	struct node *n = &w->node[to];
	struct dyn_id id = node_id(w->node[from].letter);
	struct frame f;
	union msg msg;
	int rc;

	MUST(frame_decode(&f, buf_slice(frame)) == 0);
	MUST(msg_decode(f.kind, f.body, &msg) == 0);
	if (f.kind == MSG_REPAIR)
		rc = arrive_frame(&n->arrivals, from, &f, &msg, &n->out);
	else
		rc = repair_frame(n->r, &id, from, &f, &msg, w->m, &n->out);
	copies_take_effects(w, to);
	return rc;
}

void
copies_deliver(struct copies *w)
{
	struct parcel p = w->queue[w->head++ % ARRAY_LEN(w->queue)];
	uint8_t kind = p.frame->data[4];

	if (w->drop[kind] > 0)
		w->drop[kind]--;
	else if (!w->cut[p.from] && !w->cut[p.to])
		MUST(copies_receive(w, p.from, p.to, p.frame) == 0);
	buf_unref(p.frame);
}

uint64_t
copies_wake(const struct copies *w)
{
	uint64_t at = TIME_NEVER;

	for (unsigned i = 0; i < w->count; i++) {
		const struct node *n = &w->node[i];

		at = MIN(at, trees_wake(n->trees, &n->admit));
		if (!n->mute)
			at = MIN(at, repair_wake(n->r));
	}
	return at;
}

void
copies_tick_all(struct copies *w)
{
	for (unsigned i = 0; i < w->count; i++) {
		struct node *n = &w->node[i];

		if (trees_wake(n->trees, &n->admit) <= w->m.now)
			trees_tick(n->trees, &n->admit, w->m, &n->out);
		copies_take_effects(w, i);
		if (!n->mute && repair_wake(n->r) <= w->m.now)
			repair_tick(n->r, w->m, &n->out);
		copies_take_effects(w, i);
	}
}

void
copies_pass(struct copies *w, uint64_t ns)
{
	uint64_t until = w->m.now + ns;

	for (unsigned turns = 0;; turns++) {
		MUST(turns < 100000);
		for (unsigned i = 0; i < w->count; i++)
			copies_take_effects(w, i);
		if (w->head < w->tail) {
			copies_deliver(w);
			continue;
		}
		if (copies_wake(w) > until)
			break;
		w->m.now = MAX(w->m.now, copies_wake(w));
		copies_tick_all(w);
	}
	w->m.now = until;
}

/* ------------------------------------------------------------------- looking */

void
copies_put(struct copies *w, unsigned i, const char *key, const char *object)
{
	struct buf *name = key_name(key);

	copies_write_copy(&w->node[i], buf_slice(name), script_object(object));
	buf_unref(name);
}

const char *
copies_get(struct copies *w, unsigned i, const char *key)
{
	struct buf *name = key_name(key);
	struct dyn_buffer b = {NULL, 0, 0};
	struct node *n = &w->node[i];
	const char *text = "none";

	if (n->real->get(n->real->self, DYN_SPACE_DATA, buf_slice(name), &b) == 0)
		text = versions_text(slice(b.data, b.len));
	dyn_buffer_free(&b);
	buf_unref(name);
	return text;
}

unsigned
copies_partition(const char *key)
{
	struct buf *name = key_name(key);
	unsigned p = name_partition(buf_slice(name), PARTITIONS);

	buf_unref(name);
	return p;
}

/* A name of a partition, by number. */
struct dyn_slice
copies_made_name(unsigned partition, unsigned number, unsigned char name[24])
{
	uint64_t h = mix64(number + 1);

	memset(name, 0, 24);
	memcpy(name, &h, 8);
	name[0] = (unsigned char)(partition << 4 | (name[0] & 15));
	memcpy(name + 8, &number, 4);
	name[16] = 1;
	name[17] = 'b';
	memcpy(name + 18, &number, 4);
	return slice(name, 22);
}

/* A version of an actor, of that many bytes. */
void
copies_put_made(struct copies *w, unsigned i, unsigned partition, unsigned number,
    char actor, size_t len)
{
	unsigned char name[24], *value = calloc(1, len + 1);
	struct mint mint = {
	    .actor = {(uint64_t)actor, 1}, .time = 10, .value = slice(value, len)};
	struct buf *object;
	struct dot dot;

	MUST(value != NULL && object_put(slice(NULL, 0), &mint, &object, &dot) == 0);
	copies_write_copy(
	    &w->node[i], copies_made_name(partition, number, name), buf_slice(object));
	buf_unref(object);
	free(value);
}

static int
count_row(void *arg, struct dyn_slice id, struct dyn_slice value)
{
	struct counting *c = arg;
	struct dyn_buffer b = {NULL, 0, 0};
	struct dyn_engine *e = c->other->real;

	c->rows++;
	c->same += e->get(e->self, DYN_SPACE_DATA, id, &b) == 0 &&
		   slice_equal(slice(b.data, b.len), value);
	dyn_buffer_free(&b);
	return 0;
}

struct counting
copies_count(struct copies *w, unsigned i, unsigned k)
{
	struct counting c = {.other = &w->node[k]};
	struct dyn_engine *e = w->node[i].real;

	MUST(e->scan(e->self, DYN_SPACE_DATA, slice(NULL, 0), slice(NULL, 0), count_row,
		 &c) == 0);
	return c;
}

/* Both hold the same bytes; returns how many rows. */
unsigned
copies_same(struct copies *w, unsigned i, unsigned k)
{
	struct counting left = copies_count(w, i, k), right = copies_count(w, k, i);

	ck_assert_uint_eq(left.rows, left.same);
	ck_assert_uint_eq(left.rows, right.rows);
	return left.rows;
}

bool
copies_differ(struct copies *w, unsigned i, unsigned k)
{
	struct counting left = copies_count(w, i, k);

	return left.rows != left.same || left.rows != copies_count(w, k, i).rows;
}

struct repair_figures
copies_figures(struct copies *w, unsigned i)
{
	struct repair_figures f;

	repair_figures(w->node[i].r, w->m, &f);
	return f;
}

/* So many partitions are told to be catching up. */
unsigned
copies_told(struct copies *w, unsigned i)
{
	unsigned bits = 0;

	for (unsigned p = 0; w->node[i].told != NULL && p < PARTITIONS; p++)
		bits += w->node[i].told->data[p / 8] >> p % 8 & 1;
	return bits;
}

void
copies_forget_counts(struct copies *w)
{
	memset(w->frames, 0, sizeof(w->frames));
	memset(w->bytes, 0, sizeof(w->bytes));
}

unsigned
copies_all_frames(const struct copies *w)
{
	unsigned sum = 0;

	for (unsigned k = 0; k < 256; k++)
		sum += w->frames[k];
	return sum;
}

/* Both roles have something to do. */
void
copies_fill(struct copies *w)
{
	copies_put(w, 0, "here", "a1 | a1=x");
	copies_put(w, 1, "there", "b1 | b1=y");
	copies_put(w, 0, "siblings", "a1 | a1=x");
	copies_put(w, 1, "siblings", "b1 | b1=y");
}

void
copies_fill_and_begin(struct copies *w)
{
	copies_fill(w);
	copies_begin(w);
}

/* Carried until a frame of that kind is on top; false: it never comes. */
bool
copies_until_sent(struct copies *w, unsigned from, uint8_t kind)
{
	for (unsigned i = 0; i < 10000; i++) {
		while (w->head < w->tail) {
			const struct parcel *p = &w->queue[w->head % ARRAY_LEN(w->queue)];

			if (p->from == from && p->frame->data[4] == kind)
				return true;
			copies_deliver(w);
		}
		w->m.now = MAX(w->m.now, copies_wake(w));
		copies_tick_all(w);
	}
	return false;
}

/* Node a asks, node b does not. */
void
copies_only_a_asks(struct copies *w)
{
	copies_begin(w);
	while (w->head == w->tail) {
		struct node *a = &w->node[0];

		for (unsigned i = 0; i < w->count; i++) {
			struct node *n = &w->node[i];

			if (trees_wake(n->trees, &n->admit) <= w->m.now)
				trees_tick(n->trees, &n->admit, w->m, &n->out);
			copies_take_effects(w, i);
		}
		repair_tick(a->r, w->m, &a->out);
		copies_take_effects(w, 0);
		w->m.now += NS_PER_MS;
	}
}

int
copies_hand(struct copies *w, unsigned from, unsigned to, uint64_t request,
    enum msg_kind kind, const union msg *msg)
{
	struct frame head = view_head(w->view, request);
	struct buf *frame;
	int rc;

	MUST(msg_encode(&frame, &head, kind, msg) == 0);
	rc = copies_receive(w, from, to, frame);
	buf_unref(frame);
	return rc;
}

/* A new machine over the same engine. */
void
copies_restart(struct copies *w, unsigned i, bool lost)
{
	copies_stop(&w->node[i]);
	buf_unref(w->node[i].told);
	w->node[i].told = NULL;
	copies_start(w, i, lost);
	copies_see_view(w, i, w->view);
	copies_take_effects(w, i);
}
