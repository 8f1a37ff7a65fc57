/* Storage that fails on demand, views by letters, effects as words. */
#include "test/core_script.h"

#include "test/unit/notation.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* ---------------------------------------------------------------- storage */

static int
row_compare(const struct fake_row *r, enum dyn_space space, struct dyn_slice id)
{
	if (r->space != space)
		return r->space < space ? -1 : 1;
	return slice_compare(slice(r->id, r->id_len), id);
}

static size_t
place_of(const struct fake *f, enum dyn_space space, struct dyn_slice id)
{
	size_t i = 0;

	while (i < f->count && row_compare(&f->rows[i], space, id) < 0)
		i++;
	return i;
}

struct dyn_slice
fake_find_in(const struct fake *f, enum dyn_space space, struct dyn_slice id)
{
	size_t i = place_of(f, space, id);

	if (i == f->count || row_compare(&f->rows[i], space, id) != 0)
		return slice(NULL, 0);
	return slice(f->rows[i].value, f->rows[i].len);
}

struct dyn_slice
fake_find(const struct fake *f, struct dyn_slice id)
{
	return fake_find_in(f, DYN_SPACE_DATA, id);
}

static int
fake_get(void *self, enum dyn_space space, struct dyn_slice id, struct dyn_buffer *out)
{
	struct fake *f = self;
	struct dyn_slice value = fake_find_in(f, space, id);

	if (f->get_rc != 0)
		return f->get_rc;
	if (value.data == NULL)
		return DYN_ENOTFOUND;
	if (f->rows[place_of(f, space, id)].damaged)
		return DYN_ECORRUPT;
	return dyn_buffer_append(out, value.data, value.len);
}

static void
remove_row(struct fake *f, size_t i)
{
	free(f->rows[i].value);
	memmove(f->rows + i, f->rows + i + 1, (--f->count - i) * sizeof(*f->rows));
}

/* Not by mem_alloc: what fails there is to be the library's. */
static void
put_row(struct fake *f, const struct dyn_row *row)
{
	size_t i = place_of(f, row->space, row->id);
	bool is_there = i < f->count && row_compare(&f->rows[i], row->space, row->id) == 0;
	struct fake_row *r;

	if (row->value.data == NULL) {
		if (is_there)
			remove_row(f, i);
		return;
	}
	if (!is_there) {
		if (f->count == f->cap) {
			f->cap = f->cap == 0 ? 8 : 2 * f->cap;
			f->rows = realloc(f->rows, f->cap * sizeof(*f->rows));
			MUST(f->rows != NULL);
		}
		memmove(f->rows + i + 1, f->rows + i, (f->count++ - i) * sizeof(*f->rows));
		r = &f->rows[i];
		r->space = row->space;
		memcpy(r->id, row->id.data, row->id.len);
		r->id_len = row->id.len;
	} else {
		r = &f->rows[i];
		free(r->value);
	}
	r->damaged = false;
	r->len = row->value.len;
	r->value = malloc(r->len + 1);
	MUST(r->value != NULL);
	if (r->len > 0)
		memcpy(r->value, row->value.data, r->len);
}

static int
fake_apply(void *self, const struct dyn_row *rows, size_t count, enum dyn_durability d)
{
	struct fake *f = self;

	(void)d;
	if (f->apply_rc != 0)
		return f->apply_rc;
	for (size_t i = 0; i < count; i++)
		put_row(f, &rows[i]);
	f->applied++;
	return 0;
}

static int
fake_scan(void *self, enum dyn_space space, struct dyn_slice after, struct dyn_slice last,
    dyn_engine_row *visit, void *arg)
{
	struct fake *f = self;

	for (size_t i = 0; f->scan_rc == 0 && i < f->count; i++) {
		struct dyn_slice id = slice(f->rows[i].id, f->rows[i].id_len);

		if (f->rows[i].space != space ||
		    (after.data != NULL && slice_compare(id, after) <= 0) ||
		    (last.data != NULL && slice_compare(id, last) > 0))
			continue;
		if (visit(arg, id, f->rows[i].damaged ? slice(NULL, 0) :
		    slice(f->rows[i].value, f->rows[i].len)) != 0)
			break;
	}
	return f->scan_rc;
}

struct fake *
fake_new(void)
{
	struct fake *f = calloc(1, sizeof(*f));

	MUST(f != NULL);
	f->engine = (struct dyn_engine){ .size = sizeof(f->engine), .self = f, .get = fake_get,
		.apply = fake_apply, .scan = fake_scan };
	return f;
}

void
fake_free(struct fake *f)
{
	for (size_t i = 0; i < f->count; i++)
		free(f->rows[i].value);
	free(f->rows);
	free(f);
}

void
fake_damage(struct fake *f, struct dyn_slice id)
{
	size_t i = place_of(f, DYN_SPACE_DATA, id);

	MUST(i < f->count && row_compare(&f->rows[i], DYN_SPACE_DATA, id) == 0);
	f->rows[i].damaged = true;
}

/* ------------------------------------------------------------------ views */

struct dyn_id
node_id(char letter)
{
	struct dyn_id id = { { 0 } };

	id.bytes[7] = (unsigned char)letter;
	return id;
}

char
node_letter(const struct dyn_id *id)
{
	return id_is_zero(id) ? '-' : id->bytes[7] >= 'a' ? (char)id->bytes[7] : '?';
}

static struct record
record_of(char letter)
{
	struct record r = { .incarnation = 1, .stamp = 1, .state = RECORD_JOINED, .weight = 100,
		.workers = 1 };

	r.id = node_id(letter);
	snprintf(r.address, sizeof(r.address), "127.0.0.1:%d", 7000 + letter);
	r.location[0] = 0;
	return r;
}

static struct view *
with_record(struct view *v, const struct record *r)
{
	struct view *next, *settled;

	MUST(view_with(&next, v, r) == 0);
	view_unref(v);
	MUST(view_settle(&settled, next) == 0);
	view_unref(next);
	return settled;
}

struct view *
view_fenced(const struct view *v, bool settled)
{
	struct view *next;
	struct table *t;

	MUST(view_alloc(&next, &v->settings, v->count) == 0);
	memcpy(next->records, v->records, v->count * sizeof(*v->records));
	MUST(table_collect(&t, v->current) == 0);
	next->base = table_ref(settled ? t : v->current);
	next->reading = table_ref(settled ? t : v->current);
	next->current = t;
	MUST(view_seal(next) == 0);
	return next;
}

struct view *
view_ring(unsigned members, unsigned n, unsigned partitions)
{
	struct settings s = { .name = "test", .partitions = partitions, .n = (uint8_t)n,
		.hash = DYN_HASH_SHA256 };
	struct record r = record_of('a');
	struct view *v, *settled;

	s.ring_id = node_id('r');
	MUST(view_create(&v, &s, &r) == 0);
	/* All at once: one table for all. */
	for (unsigned i = 1; i < members; i++) {
		struct view *next;

		r = record_of((char)('a' + i));
		MUST(view_with(&next, v, &r) == 0);
		view_unref(v);
		v = next;
	}
	MUST(view_settle(&settled, v) == 0);
	view_unref(v);
	return members > 1 ? view_all_read(view_all_synced(settled)) : settled;
}

struct view *
view_joins(struct view *v, char letter)
{
	struct record r = record_of(letter);

	return with_record(v, &r);
}

struct view *
view_places(struct view *v, const char *const locations[])
{
	struct view *next, *settled;

	for (unsigned i = 0; locations[i] != NULL; i++) {
		struct order o = { .id = node_id((char)('a' + i)), .location = locations[i] };

		MUST(view_order(&next, v, &o, 1) == 0);
		view_unref(v);
		v = next;
	}
	MUST(view_settle(&settled, v) == 0);
	view_unref(v);
	return view_all_read(view_all_synced(settled));
}

struct view *
view_join_all(struct view *v, const char *letters)
{
	struct view *next;

	for (; letters[1] != '\0'; letters++) {
		struct record r = record_of(*letters);

		MUST(view_with(&next, v, &r) == 0);
		view_unref(v);
		v = next;
	}
	return view_joins(v, *letters);
}

static struct record
found(const struct view *v, char letter)
{
	struct dyn_id id = node_id(letter);
	const struct record *r = view_find(v, &id);
	struct record copy;

	MUST(r != NULL);
	copy = *r;
	copy.stamp++;
	return copy;
}

struct view *
view_leaves(struct view *v, char letter)
{
	struct record r = found(v, letter);

	r.state = RECORD_LEFT;
	return with_record(v, &r);
}

struct view *
view_synced(struct view *v, char letter)
{
	struct record r = found(v, letter);

	if (record_synced(&r, v->current))
		return v;
	r.synced_epoch = v->current->epoch;
	r.synced = v->current->digest;
	r.reading = 0;
	return with_record(v, &r);
}

struct view *
view_reads(struct view *v, char letter)
{
	struct record r = found(v, letter);

	if (r.reading != 0)
		return v;
	r.reading = 1;
	return with_record(v, &r);
}

struct view *
view_all_synced(struct view *v)
{
	size_t count = v->count;

	for (size_t i = 0; i < count; i++)
		if (v->records[i].state == RECORD_JOINED)
			v = view_synced(v, node_letter(&v->records[i].id));
	return v;
}

struct view *
view_all_read(struct view *v)
{
	size_t count = v->count;

	for (size_t i = 0; i < count; i++)
		if (v->records[i].state == RECORD_JOINED)
			v = view_reads(v, node_letter(&v->records[i].id));
	return v;
}

static int
compare_letters(const void *a, const void *b)
{
	return *(const char *)a - *(const char *)b;
}

static char *
add_group(char *p, const struct view *v, const struct group *g)
{
	for (unsigned i = 0; i < g->count; i++)
		p[i] = node_letter(&v->records[g->member[i]].id);
	qsort(p, g->count, 1, compare_letters);
	return p + g->count;
}

struct buf *
key_name(const char *key)
{
	struct buf *name;

	if (name_make(DYN_HASH_SHA256, dyn_str("b"), dyn_str(key), &name) != 0)
		return NULL;
	return name;
}

const char *
view_text(const struct view *v, const char *key)
{
	static char text[64];
	struct buf *name = key_name(key);
	unsigned partition = name_partition(buf_slice(name), v->settings.partitions);
	struct group g[2];
	char *p = text;

	if (view_writers(v, partition, g) == 1) {
		p = add_group(p, v, &g[0]);
	} else {
		p = add_group(p, v, &g[0]);
		*p++ = '/';
		p = add_group(p, v, &g[1]);
		*p++ = ' ';
		view_readers(v, partition, &g[0]);
		p = add_group(p, v, &g[0]);
	}
	*p = '\0';
	buf_unref(name);
	return text;
}

const char *
view_key(const struct view *v, const char *text)
{
	static char keys[4][16];
	static unsigned next;
	char *key = keys[next++ % ARRAY_LEN(keys)];

	for (unsigned i = 0; i < 2000; i++) {
		snprintf(key, sizeof(keys[0]), "k%u", i);
		if (strcmp(view_text(v, key), text) == 0)
			return key;
	}
	ck_abort_msg("no key with owners %s", text);
	return NULL;
}

/* ------------------------------------------------------------------ words */

const char *
rc_text(int rc)
{
	static char number[16];

	switch (rc) {
	case 0:
		return "ok";
#define X(name, code, text)                                                    \
	case code:                                                             \
		return &#name[4];
		DYN_ERRORS(X)
#undef X
	default:
		snprintf(number, sizeof(number), "%d", rc);
		return number;
	}
}

static const char *
op_text(enum op_kind kind)
{
	return kind == OP_GET ? "get" : kind == OP_PUT ? "put" : "delete";
}

static const char *
durability_text(enum dyn_durability d)
{
	static const char *const texts[] = { "?", "disk", "os", "memory" };

	return texts[d];
}

static const char *
object_or_none(struct dyn_slice object)
{
	return object.len > 0 ? versions_text(object) : "none";
}

static void __attribute__((format(printf, 2, 3)))
say(struct script *s, const char *fmt, ...)
{
	va_list args;

	MUST(s->len < TRACE_MAX - 512);
	va_start(args, fmt);
	s->len += (size_t)vsnprintf(s->trace + s->len, TRACE_MAX - s->len, fmt, args);
	va_end(args);
}

static void
say_message(struct script *s, const struct frame *f, const union msg *m)
{
	switch (f->kind) {
	case MSG_PUT:
		say(s, " %s", object_or_none(m->put.object));
		if (!id_is_zero(&m->put.owner))
			say(s, " for %c", node_letter(&m->put.owner));
		break;
	case MSG_GET:
		say(s, "%s", m->get.hints != 0 ? " hints" : "");
		break;
	case MSG_PUT_ACK:
		say(s, " %s%s", rc_text(msg_rc(m->put_ack.rc)), m->put_ack.on_disk ? " disk" : "");
		break;
	case MSG_GET_ACK:
		say(s, " %s%s", rc_text(msg_rc(m->get_ack.rc)),
		    m->get_ack.complete ? "" : " incomplete");
		if (m->get_ack.rc == 0)
			say(s, " %s", object_or_none(m->get_ack.object));
		break;
	case MSG_ASK:
		say(s, " %s n=%u w=%u ms=%u %.*s", op_text((enum op_kind)m->ask.op), m->ask.n,
		    m->ask.w, m->ask.timeout_ms, (int)m->ask.value.len,
		    (const char *)m->ask.value.data);
		say(s, "%s", m->ask.standin != 0 ? " standin" : "");
		break;
	case MSG_ASK_ACK:
		say(s, " %s owners=%u disk=%u by %c", rc_text(msg_rc(m->ask_ack.rc)),
		    m->ask_ack.owners, m->ask_ack.on_disk,
		    node_letter(&m->ask_ack.coordinator));
		break;
	default:
		break;
	}
}

static void
say_frame(struct script *s, struct buf *frame, const char *prefix)
{
	struct frame f;
	union msg m;

	MUST(frame_decode(&f, buf_slice(frame)) == 0);
	MUST(msg_decode(f.kind, f.body, &m) == 0);
	say(s, "%s #%llu", prefix, (unsigned long long)f.request);
	if (s->work->view != NULL && s->work->view->current != NULL &&
	    f.epoch >> 2 != s->work->view->current->epoch)
		say(s, " by table %llu", (unsigned long long)f.epoch >> 2);
	say_message(s, &f, &m);
}

static const char *
frame_name(const struct buf *frame)
{
	return msg_name(frame->data[4]);
}

static void
say_effect(struct script *s, const struct effect *e)
{
	char prefix[64];

	say(s, "%llu ", (unsigned long long)(s->m.now / NS_PER_MS));
	switch (e->kind) {
	case FX_SEND:
		snprintf(prefix, sizeof(prefix), "SEND %s %c", frame_name(e->frame),
		    node_letter(&e->to));
		say_frame(s, e->frame, prefix);
		break;
	case FX_REPLY:
		snprintf(prefix, sizeof(prefix), "REPLY %s %llu", frame_name(e->frame),
		    (unsigned long long)e->conn);
		say_frame(s, e->frame, prefix);
		break;
	case FX_COMMIT: {
		const struct batch *b = e->what;

		say(s, "COMMIT %llu rows=%zu %s", (unsigned long long)b->number, b->count,
		    durability_text(b->durability));
		break;
	}
	case FX_DONE: {
		const struct op *op = e->what;

		say(s, "DONE %s %s owners=%u", op_text(op->kind), rc_text(op->rc),
		    op->receipt.owners);
		if (op->receipt.standins > 0)
			say(s, " standins=%u", op->receipt.standins);
		if (op->kind != OP_GET)
			say(s, " disk=%u", op->receipt.on_disk);
		else if (op->rc == 0)
			say(s, " %s", object_or_none(buf_slice(op->object)));
		break;
	}
	case FX_POKE:
		say(s, "POKE %c", node_letter(&e->to));
		break;
	case FX_DOUBT:
		say(s, "DOUBT %c", node_letter(&e->to));
		break;
	case FX_LOG:
		say(s, "LOG %s", (const char *)e->frame->data);
		break;
	case FX_FENCED:
		say(s, "FENCED %s", rc_text(e->rc));
		break;
	case FX_STORED:
		say(s, "STORED %s", rc_text(e->rc));
		break;
	case FX_DAMAGED:
		say(s, "DAMAGED %d", e->rc);
		break;
	case FX_VIEW:
	case FX_FAIL:
	case FX_ROWS:
	case FX_SYNCED:
	case FX_CHANGED:
	case FX_LEDGER:
	case FX_META:
	case FX_HINTS_FULL:
	case FX_CATCHING:
	case FX_LIVENESS:
	case FX_LOST:
	case FX_MARKED:
	case FX_RESET:
	case FX_COLLECT:
	case FX_STALE:
	case FX_CLEARED:
		ck_abort_msg("not an effect of a worker: %d", e->kind);
	}
	say(s, "\n");
}

static void
take_effect(struct script *s, struct effect *e)
{
	if (!s->quiet && e->kind != FX_CHANGED)
		say_effect(s, e);
	if (e->kind == FX_COMMIT) {
		MUST(s->batches_count < ARRAY_LEN(s->batches));
		s->batches[s->batches_count++] = e->what;
	} else if (e->kind == FX_DONE) {
		op_free(s->last);
		s->last = e->what;
		s->done++;
	}
	effect_drop(e);
}

/* Which owner comes first is the table's affair: frames that leave together are
 * told in the order of letters. */
static void
sort_sends(struct outbox *out)
{
	for (size_t i = 1; i < out->count; i++) {
		struct effect e = out->list[i];
		size_t j = i;

		for (; j > 0 && e.kind == FX_SEND && out->list[j - 1].kind == FX_SEND &&
		    node_letter(&out->list[j - 1].to) > node_letter(&e.to); j--)
			out->list[j] = out->list[j - 1];
		out->list[j] = e;
	}
}

void
script_effects(struct script *s)
{
	struct effect e;

	if (!s->o.as_sent)
		sort_sends(&s->out);
	while (outbox_next(&s->out, &e))
		take_effect(s, &e);
}

const char *
script_trace(struct script *s)
{
	s->trace[s->len] = '\0';
	s->len = 0;
	return s->trace;
}

void
script_skip(struct script *s)
{
	s->len = 0;
}

/* An object by its text, made once and kept, so that a test whose allocations
 * fail can send it all the same. */
struct dyn_slice
script_object(const char *text)
{
	static struct {
		char text[120];
		struct buf *object;
	} known[64];
	size_t i = 0;

	while (i < ARRAY_LEN(known) && known[i].object != NULL &&
	    strcmp(known[i].text, text) != 0)
		i++;
	MUST(i < ARRAY_LEN(known));
	if (known[i].object == NULL) {
		MUST(strlen(text) < sizeof(known[0].text));
		memcpy(known[i].text, text, strlen(text) + 1);
		known[i].object = object_of(text);
	}
	return buf_slice(known[i].object);
}

/* ----------------------------------------------------------------- script */

struct script *
script_new(const struct script_options *options)
{
	struct script *s = calloc(1, sizeof(*s));
	struct work_options o = {
		.self = node_id(options->self),
		.client = options->client,
		.location = options->location,
		.actor = { (uint64_t)options->self, MAX(options->incarnation, 1u) },
		.standin = { (uint64_t)options->self, MAX(options->incarnation, 1u) + 100 },
		.workers = 1,
		.siblings_max = 10,
		.skew_max_ms = 60000,
		.bytes_max = options->bytes_max != 0 ? options->bytes_max : 1 << 20,
		.seed = 1,
	};

	MUST(s != NULL);
	s->o = *options;
	s->fake = fake_new();
	s->m.wall_ms = 1000000;
	o.engine = &s->fake->engine;
	outbox_init(&s->out);
	if (work_new(&s->work, &o) != 0) {
		fake_free(s->fake);
		free(s);
		return NULL;
	}
	/* Room enough: it is not the outbox that is to fail. */
	s->out.list = mem_array(64, sizeof(*s->out.list));
	s->out.cap = s->out.list != NULL ? 64 : 0;
	if (options->view != NULL) {
		work_view(s->work, options->view, s->m, &s->out);
		script_effects(s);
	}
	return s;
}

void
script_free(struct script *s)
{
	script_effects(s);
	for (unsigned i = 0; i < s->batches_count; i++)
		batch_free(s->batches[i]);
	work_free(s->work);
	outbox_fini(&s->out);
	op_free(s->last);
	view_unref(s->o.view);
	fake_free(s->fake);
	free(s);
}

struct op *
op_new(enum op_kind kind, const char *key, const struct with *w)
{
	struct op *op = mem_zalloc(sizeof(*op));

	if (op == NULL)
		return NULL;
	op->kind = kind;
	op->name = key_name(key);
	op->n = w->n != 0 ? w->n : 3;
	op->r = w->r != 0 ? w->r : 2;
	op->w = w->w != 0 ? w->w : 2;
	op->zone_w = 1;
	op->durability = w->durability != 0 ? w->durability : DYN_DURABLE_DISK;
	op->flags = w->flags;
	op->timeout_ms = w->timeout_ms != 0 ? w->timeout_ms : 1000;
	op->fastest = w->fastest != 0 ? (uint64_t)w->fastest : 0;
	op->lww = w->lww;
	if (kind == OP_PUT)
		op->value = buf_copy(w->value, strlen(w->value));
	if (w->context != NULL) {
		clock_of(&op->context, w->context);
		op->has_context = true;
	}
	if (op->name == NULL || (kind == OP_PUT && op->value == NULL)) {
		op_free(op);
		return NULL;
	}
	return op;
}

void
script_op(struct script *s, enum op_kind kind, const char *key, const struct with *w)
{
	struct op *op = op_new(kind, key, w);

	if (op == NULL)
		return;
	work_op(s->work, op, s->m, &s->out);
	script_effects(s);
}

void
script_put(struct script *s, const char *key, const char *value)
{
	script_op(s, OP_PUT, key, &(struct with){ .value = value });
}

void
script_get(struct script *s, const char *key)
{
	script_op(s, OP_GET, key, &(struct with){ 0 });
}

void
script_frame(struct script *s, char from, uint64_t conn, struct view *v, uint64_t request,
    enum msg_kind kind, const union msg *m)
{
	struct frame head = { .request = request }, f;
	struct dyn_id id = { { 0 } };
	struct buf *frame;

	if (from != '-')
		id = node_id(from);
	if (v == NULL)
		v = s->work->view;
	if (v != NULL) {
		head.epoch = view_stamp(v);
		head.table = load_be64(v->current->digest.b);
	}
	if (msg_encode(&frame, &head, kind, m) != 0)
		return;
	MUST(frame_decode(&f, buf_slice(frame)) == 0);
	MUST(work_frame(s->work, &id, conn, &f, s->m, &s->out) == 0);
	buf_unref(frame);
	script_effects(s);
}

void
script_put_ack(struct script *s, char from, uint64_t request, int rc)
{
	union msg m = { .put_ack = { .rc = (uint32_t)rc, .on_disk = rc == 0 } };

	script_frame(s, from, 0, NULL, request, MSG_PUT_ACK, &m);
}

void
script_get_ack(struct script *s, char from, uint64_t request, int rc, const char *object)
{
	union msg m = { .get_ack = { .rc = (uint32_t)rc, .complete = 1 } };

	if (object != NULL)
		m.get_ack.object = script_object(object);
	script_frame(s, from, 0, NULL, request, MSG_GET_ACK, &m);
}

void
script_ask_ack(struct script *s, char from, uint64_t request, int rc)
{
	union msg m = { .ask_ack = { .rc = (uint32_t)rc, .owners = rc == 0 ? 2 : 0 } };

	m.ask_ack.coordinator = node_id(from);
	m.ask_ack.dot_node = (uint64_t)from;
	m.ask_ack.dot_incarnation = 1;
	m.ask_ack.dot_counter = rc == 0;
	script_frame(s, from, 0, NULL, request, MSG_ASK_ACK, &m);
}

void
script_peer_put(struct script *s, char from, struct view *v, uint64_t request, const char *key,
    const char *object, enum dyn_durability d)
{
	struct buf *name = key_name(key);
	union msg m = { .put = { .durability = (uint8_t)d, .name = buf_slice(name),
		.object = script_object(object) } };

	if (name != NULL)
		script_frame(s, from, 7, v, request, MSG_PUT, &m);
	buf_unref(name);
}

void
script_peer_get(struct script *s, char from, struct view *v, uint64_t request, const char *key)
{
	struct buf *name = key_name(key);
	union msg m = { .get = { .name = buf_slice(name) } };

	if (name != NULL)
		script_frame(s, from, 7, v, request, MSG_GET, &m);
	buf_unref(name);
}

void
script_peer_ask(struct script *s, char from, struct view *v, uint64_t request,
    enum op_kind kind, const char *key, const struct with *w)
{
	struct op *op = op_new(kind, key, w);
	struct buf *context = NULL;
	union msg m;
	struct wr wr;

	if (op == NULL)
		return;
	if (op->has_context) {
		wr_init(&wr, 64);
		clock_write(&wr, &op->context);
		MUST(wr_finish(&wr, &context) == 0);
	}
	m.ask = (struct msg_ask){ .op = (uint8_t)kind, .durability = (uint8_t)op->durability,
		.n = op->n, .w = op->w, .zone_w = 1, .lww = op->lww,
		.has_context = op->has_context, .flags = op->flags,
		.timeout_ms = op->timeout_ms, .name = buf_slice(op->name),
		.context = buf_slice(context), .value = buf_slice(op->value) };
	script_frame(s, from, 7, v, request, MSG_ASK, &m);
	buf_unref(context);
	op_free(op);
}

void
script_view(struct script *s, struct view *v)
{
	work_view(s->work, v, s->m, &s->out);
	script_effects(s);
}

void
script_down(struct script *s, char letter, bool sure)
{
	struct dyn_id id = node_id(letter);

	work_peer_down(s->work, &id, 0, sure, s->m, &s->out);
	script_effects(s);
}

void
script_suspect(struct script *s, char letter, bool suspect)
{
	struct dyn_id id = node_id(letter);

	work_peer_suspect(s->work, &id, suspect, s->m, &s->out);
	script_effects(s);
}

void
script_up(struct script *s, char letter)
{
	struct dyn_id id = node_id(letter);

	work_peer_up(s->work, &id, 0);
}

void
script_turn(struct script *s)
{
	work_turn(s->work, &s->out);
	script_effects(s);
}

void
script_commit(struct script *s, int rc)
{
	struct batch *b;

	if (s->batches_count == 0)
		script_turn(s);
	if (s->batches_count == 0 && s->quiet)
		return;
	MUST(s->batches_count > 0);
	b = s->batches[0];
	memmove(s->batches, s->batches + 1, --s->batches_count * sizeof(s->batches[0]));
	/* Storage must refuse what was built on a failed batch. */
	if (rc == 0 && b->generation < s->work->store.generation)
		rc = DYN_EIO;
	if (rc == 0)
		rc = fake_apply(s->fake, b->rows, b->count, b->durability);
	work_committed(s->work, b, rc, s->m, &s->out);
	script_effects(s);
}

void
script_wait(struct script *s, uint64_t ms)
{
	uint64_t until = s->m.now + ms * NS_PER_MS, wake;

	while ((wake = work_wake(s->work)) <= until) {
		s->m.wall_ms += (wake - s->m.now) / NS_PER_MS;
		s->m.now = wake;
		work_tick(s->work, s->m, &s->out);
		script_effects(s);
	}
	s->m.wall_ms += (until - s->m.now) / NS_PER_MS;
	s->m.now = until;
}

void
script_row(struct script *s, const char *key, const char *object)
{
	struct buf *name = key_name(key);
	struct dyn_row row = { DYN_SPACE_DATA, buf_slice(name), script_object(object) };

	put_row(s->fake, &row);
	buf_unref(name);
}

const char *
script_stored(struct script *s, const char *key)
{
	struct buf *name = key_name(key);
	const char *text = object_or_none(fake_find(s->fake, buf_slice(name)));

	buf_unref(name);
	return text;
}
