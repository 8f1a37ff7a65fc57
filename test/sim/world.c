/* Nodes, their storage, calls, faults, the verdict.  See world_private.h. */
#include "test/sim/world_private.h"

#include <inttypes.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>

/* ----------------------------------------------------------------- storage */

/* As host/storage.c: all that has come is one transaction. */
static void
apply(struct world *w, struct node *n)
{
	struct dyn_engine *e = disk_engine(n->disk);
	enum dyn_durability d = DYN_DURABLE_MEMORY;
	unsigned count = n->queued;
	int rc = 0;

	n->applying = false;
	n->queued = 0;
	for (unsigned i = 0; i < count; i++)
		if (n->queue[i].batch->generation >= n->failed_generation[n->queue[i].worker])
			d = MIN(d, n->queue[i].batch->durability);
	if (n->full_until > w->now)
		rc = DYN_EFULL;
	else if (world_chance(w, w->o.fail_commit)) {
		rc = world_below(w, 2) == 0 ? DYN_EFULL : DYN_EIO;
		world_tell(w, "commit at %s fails", world_name(w, n));
	}
	for (unsigned i = 0; i < count; i++) {
		struct batch *b = n->queue[i].batch;
		unsigned k = n->queue[i].worker;
		int of_this = rc;

		if (b->generation < n->failed_generation[k])
			of_this = DYN_EIO;
		else if (rc != 0)
			n->failed_generation[k] = b->generation + 1;
		else
			of_this = e->apply(e->self, b->rows, b->count, d);
		world_post(w, n, WORKER + k, L_COMMITTED, b, of_this, NULL);
	}
}

static void
to_storage(struct world *w, struct node *n, unsigned worker, struct batch *b)
{
	uint64_t takes;

	DEMAND(n->queued < ARRAY_LEN(n->queue));
	n->queue[n->queued].batch = b;
	n->queue[n->queued++].worker = worker;
	if (n->applying)
		return;
	n->applying = true;
	takes = 20 * NS_PER_US + world_below(w, w->o.commit_us) * NS_PER_US;
	world_add_event(w, EV_APPLY, world_index_of(w, n), w->now + takes);
}

/* ------------------------------------------------------------------- calls */

size_t
world_values(const struct buf *object, uint64_t now_ms, uint64_t *ids, size_t max)
{
	struct object o;
	size_t count = 0;

	if (object == NULL || object->len == 0)
		return 0;
	DEMAND(object_decode(&o, buf_slice(object)) == 0);
	for (size_t i = 0; i < o.count; i++) {
		if (!version_visible(&o.values[i], now_ms))
			continue;
		DEMAND(count < max && o.values[i].value.len >= sizeof(uint64_t));
		memcpy(&ids[count++], o.values[i].value.data, sizeof(uint64_t));
	}
	object_fini(&o);
	return count;
}

static void
remember(struct context *to, const struct op *op, const uint64_t *ids, size_t count)
{
	struct object o;

	clock_fini(&to->clock);
	memset(to, 0, sizeof(*to));
	if (op->object == NULL || op->object->len == 0)
		return;
	DEMAND(object_decode(&o, buf_slice(op->object)) == 0);
	DEMAND(clock_copy(&to->clock, &o.clock) == 0);
	for (size_t i = 0; i < o.count; i++)
		to->time = MAX(to->time, o.values[i].time);
	object_fini(&o);
	to->there = true;
	to->count = count;
	memcpy(to->ids, ids, count * sizeof(*ids));
}

static void
get_ended(struct world *w, struct call *c, const struct op *op)
{
	struct session *s = &w->sessions[c->session];
	uint64_t ids[IDS_MAX];
	uint64_t wall_ms = world_moment_of(w, &w->nodes[c->node]).wall_ms;
	size_t count = world_values(op->object, wall_ms, ids, ARRAY_LEN(ids));
	struct oracle_read r = { .key = c->key, .session = c->session, .node = c->node,
		.strict_r = c->strict_r, .n = w->o.copies, .began = c->began, .ended = w->now, .ids = ids,
		.count = count };

	oracle_read(w->oracle, &r);
	w->out.versions[MIN(count, ARRAY_LEN(w->out.versions) - 1)] += !w->calm;
	if (!s->kept[c->key].there || world_below(w, 20) == 0)
		remember(&s->kept[c->key], op, ids, count);
	remember(&s->last[c->key], op, ids, count);
	s->key = c->key;
	s->has_read = true;
	w->out.entries = MAX(w->out.entries, (unsigned)(s->last[c->key].clock.vector_count +
	    s->last[c->key].clock.cloud_count));
}

/* Of a ring that is cut in two all the time. */
static bool
is_on_side(const struct world *w, unsigned i)
{
	return i < 32 && (w->o.side >> i & 1) != 0;
}

static void
call_ended(struct world *w, struct op *op)
{
	struct call *c = op->call;

	w->digest = mix64(w->digest ^ (uint64_t)op->rc ^ w->now);
	world_tell(w, "call %" PRIu64 " ends: %s", c->id, rc_text(op->rc));
	DEMAND(!c->ended);
	c->ended = true;
	w->open--;
	w->out.done += op->rc == 0;
	if (op->kind == OP_PUT && !w->calm) {
		w->out.puts[is_on_side(w, c->node)]++;
		w->out.puts_done[is_on_side(w, c->node)] += op->rc == 0;
	}
	/* A paused process cannot keep time; a slow clock is in what is allowed. */
	if (w->o.pause_ms == 0)
		DEMAND(w->now <= c->began + (op->timeout_ms + 1000) * MS);
	if (op->kind == OP_GET && op->rc == 0) {
		get_ended(w, c, op);
	} else if (op->kind != OP_GET) {
		const struct oracle_receipt receipt = {
			.w = op->receipt.standins > 0 ? 0 : op->receipt.owners, .durable = c->durable,
			.stamp = op->time };

		oracle_write_end(w->oracle, w->now, c->id, op->rc == 0 ? ORACLE_DONE :
		    op->rc == DYN_EUNKNOWN ? ORACLE_UNKNOWN : ORACLE_FAILED, op->rc == 0 ? &receipt : NULL);
	}
	op_free(op);
}

const char *
world_key(unsigned key)
{
	static char text[16];

	snprintf(text, sizeof(text), "k%u", key);
	return text;
}

/* The id, and now and then much more. */
static struct buf *
value_of(struct world *w, uint64_t id)
{
	size_t len = sizeof(id);
	struct buf *value;

	if (w->o.big > 0 && world_below(w, 4) == 0)
		len += world_below(w, w->o.big);
	value = buf_new(len);
	DEMAND(value != NULL);
	memset(value->data, (int)(id & 0xff), len);
	memcpy(value->data, &id, sizeof(id));
	return value;
}

/* It, or who it asks: a member that was forgotten and lives answers by its old table until
 * it hears of that (dyn_plan_forget), and so may a client that has not heard either. */
static bool
may_be_forgotten(const struct world *w, const struct node *n)
{
	return w->forgotten != NODES_MAX && (n->client || world_index_of(w, n) == w->forgotten);
}

void
world_start_call(struct world *w, struct node *n, unsigned session, enum op_kind kind, unsigned key,
    const struct with *with, const struct context *seen)
{
	struct call *c = calloc(1, sizeof(*c));
	struct with how = *with;
	struct op *op;
	unsigned i;

	DEMAND(c != NULL);
	how.value = "";
	op = op_new(kind, world_key(key), &how);
	*c = (struct call){ .w = w, .id = ++w->ids, .began = w->now, .session = session, .key = key,
		.node = world_index_of(w, n), .kind = kind, .next = w->calls };
	if ((op->flags & DYN_STRICT) != 0 && !may_be_forgotten(w, n))
		c->strict_r = op->r;
	w->calls = c;
	w->open++;
	w->out.calls++;
	c->durable = op->durability == DYN_DURABLE_DISK;
	op->call = c;
	if (kind == OP_PUT) {
		buf_unref(op->value);
		op->value = value_of(w, c->id);
		if (world_chance(w, w->o.expiry))
			op->expiry_ms = 1 + world_below(w, EXPIRY_MAX_MS);
	}
	if (seen != NULL && seen->there) {
		DEMAND(clock_copy(&op->context, &seen->clock) == 0);
		op->has_context = true;
		op->after = seen->time;
	}
	if (kind != OP_GET) {
		const struct oracle_write x = { .id = c->id, .key = key,
			.kind = kind == OP_DELETE ? how.lww ? ORACLE_LWW_DELETE : ORACLE_DELETE :
			    how.lww ? ORACLE_LWW : ORACLE_PUT,
			.session = session, .node = c->node, .parents = seen != NULL ? seen->ids : NULL,
			.parents_count = seen != NULL ? seen->count : 0, .expiry = op->expiry_ms * MS };

		oracle_write_begin(w->oracle, w->now, &x);
	}
	world_tell(w, "call %" PRIu64 ": %s k%u at %s by session %u R=%u W=%u", c->id,
	    kind == OP_GET ? "get" : kind == OP_PUT ? "put" : "delete", key, world_name(w, n), session,
	    op->r, op->w);
	i = world_worker(n, name_partition(buf_slice(op->name), w->o.partitions));
	work_op(n->work[i], op, world_moment_of(w, n), &n->out[WORKER + i]);
	world_carry_out(w, n);
}

bool
world_is_lww(const struct world *w, unsigned key)
{
	return w->o.lww && key % 2 == 1;
}

/* A customer: reads the cart, thinks, writes it back with what was read as context. */
static void
next_of_cart(struct world *w, unsigned session, struct node *n, const struct with *how)
{
	struct session *s = &w->sessions[session];
	unsigned cart = session % w->o.keys;

	if (s->has_read) {
		s->has_read = false;
		world_start_call(w, n, session, OP_PUT, s->key, how, &s->last[s->key]);
		return;
	}
	if (world_below(w, w->o.carts) == 0)
		cart = (unsigned)world_below(w, w->o.keys);
	world_start_call(w, n, session, OP_GET, cart, how, NULL);
}

static void
next_call(struct world *w, unsigned session)
{
	struct session *s = &w->sessions[session];
	unsigned key = (unsigned)world_below(w, w->o.keys), what = (unsigned)world_below(w, 10);
	struct node *n = &w->nodes[world_below(w, w->all)];
	const struct context *seen = &s->last[key];
	struct with how = { .n = (uint8_t)w->o.copies, .r = (uint8_t)w->o.r, .w = (uint8_t)w->o.w,
		.lww = world_is_lww(w, key), .timeout_ms = 50 + (uint32_t)world_below(w, 2000) };

	world_add_event(w, EV_CALL, session, w->now + 1 + world_below(w, w->o.op_gap_ms * MS));
	if (w->calm || !n->alive || n->view == NULL || n->paused_until > w->now)
		return;
	if (w->o.carts > 0) {
		next_of_cart(w, session, n, &how);
		return;
	}
	if (world_chance(w, w->o.strict))
		how.flags = DYN_STRICT;
	if (world_chance(w, w->o.weak))
		how.durability = DYN_DURABLE_OS + (enum dyn_durability)world_below(w, 2);
	if (world_chance(w, w->o.keep_context) && s->kept[key].there)
		seen = world_below(w, 2) == 0 ? &s->kept[key] : &w->sessions[world_below(w, w->o.sessions)].last[key];
	if (what < 4)
		world_start_call(w, n, session, OP_GET, key, &how, NULL);
	else if (what < 9 || !w->o.deletes || !seen->there || (world_is_lww(w, key) && !w->o.lww_deletes))
		world_start_call(w, n, session, OP_PUT, key, &how, world_below(w, 10) == 0 ? NULL : seen);
	else
		world_start_call(w, n, session, OP_DELETE, key, &how, seen);
}

/* ------------------------------------------------------------------- nodes */

static bool
commit_fails(struct world *w, const struct node *n)
{
	return n->full_until > w->now || world_chance(w, w->o.fail_commit);
}

static void
save_later(struct world *w, struct node *n, bool fence)
{
	uint64_t takes = 20 * NS_PER_US + world_below(w, w->o.commit_us) * NS_PER_US;

	world_add_event(w, EV_SAVE, world_index_of(w, n), w->now + takes)->back = fence;
}

/* All workers are behind it: now it must be on disk. */
static void
begin_fence(struct world *w, struct node *n)
{
	if (n->fenced != (1U << n->workers) - 1 || n->fence != NULL)
		return;
	n->fence = view_ref(n->sync_view);
	save_later(w, n, true);
}

/* As host/gossip.c, which tries once, and host/syncer.c, which must have it. */
static void
save_view(struct world *w, struct node *n, bool fence)
{
	struct view *v = fence ? n->fence : n->view;

	if (fence && table_compare(v->current, n->sync_view->current) != 0) {
		n->fence = NULL;
		view_unref(v);
		begin_fence(w, n);
		return;
	}
	if (commit_fails(w, n)) {
		world_tell(w, "view at %s is not saved", world_name(w, n));
		if (fence)
			world_add_event(w, EV_SAVE, world_index_of(w, n), w->now + 100 * MS)->back = true;
		return;
	}
	view_unref(n->saved);
	n->saved = view_ref(v);
	if (!fence)
		return;
	n->fence = NULL;
	sync_fenced(n->sync, n->sync_view, world_moment_of(w, n), &n->out[SYNC]);
	view_unref(v);
}

static void
save_meta(struct world *w, struct node *n, const struct effect *e)
{
	const struct dyn_row row = { DYN_SPACE_META, dyn_str(e->address), buf_slice(e->frame) };
	struct dyn_engine *engine = disk_engine(n->disk);

	int rc = 0;

	if (commit_fails(w, n))
		rc = DYN_EFULL;
	else
		DEMAND(engine->apply(engine->self, &row, 1, DYN_DURABLE_DISK) == 0);
	if (e->rc != SAVED_FOR_NOBODY)
		world_post(w, n, SYNC, L_SAVED, NULL, rc, NULL);
}

/* To each of them. */
static void
to_workers(struct world *w, struct node *n, enum letter_kind kind, int rc, const struct dyn_id *id)
{
	for (unsigned t = WORKER; t < n->threads; t++)
		world_post(w, n, t, kind, NULL, rc, id);
}

static void
view_to_workers(struct world *w, struct node *n, enum letter_kind kind, struct view *v)
{
	for (unsigned t = WORKER; t < n->threads; t++)
		world_post(w, n, t, kind, view_ref(v), 0, NULL);
}

/* As host/gossip.c: not before the copies are marked. */
static void
publish(struct world *w, struct node *n)
{
	if (n->unsaved == NULL || n->marked != n->lost)
		return;
	view_unref(n->view);
	n->view = n->unsaved;
	n->unsaved = NULL;
	view_to_workers(w, n, L_VIEW, n->view);
	world_readdress(w, n);
	if (n->client)
		return;
	save_later(w, n, false);
	world_post(w, n, SYNC, L_VIEW, view_ref(n->view), 0, NULL);
}

static void
forgetting(struct world *w, struct node *n, struct effect *e)
{
	if (e->kind == FX_DAMAGED) {
		world_post(w, n, SYNC, L_DAMAGED, NULL, e->rc, NULL);
	} else if (e->kind == FX_COLLECT) {
		world_post(w, n, GOSSIP, L_COLLECT, view_ref(e->view), 0, NULL);
	} else if (e->kind == FX_CLEARED) {
		world_post(w, n, GOSSIP, L_CLEARED, NULL, 0, NULL);
	} else if (e->kind == FX_MARKED) {
		world_post(w, n, GOSSIP, L_MARKED, NULL, e->rc, NULL);
	} else {
		n->lost++;
		to_workers(w, n, L_LOST, 0, NULL);
		world_post(w, n, SYNC, L_LOST, NULL, n->lost, NULL);
		if (e->kind != FX_STALE)
			return;
		w->out.cleared++;
		world_post(w, n, SYNC, L_CLEAR, NULL, 0, NULL);
	}
}

/* A worker's answer: which one is in the letter's other. */
static void
fenced_by(struct world *w, struct node *n, unsigned t, struct view *v, int rc)
{
	world_post(w, n, SYNC, L_FENCED, v, rc, NULL)->other = t - WORKER;
}

/* Only who has left, was forgotten, or is one of two ends by itself here. */
static void
failed(struct world *w, struct node *n, int rc)
{
	DEMAND(rc == DYN_ELEFT || (rc == DYN_EFENCED && w->twin != NODES_MAX));
	n->gone = true;
	world_add_event(w, EV_STOP, world_index_of(w, n), w->now + 1);
}

static void
effect(struct world *w, struct node *n, unsigned t, struct effect *e)
{
	unsigned k;

	switch (e->kind) {
	case FX_SEND:
		world_send_frame(w, n, t, e);
		break;
	case FX_REPLY:
		world_send_reply(w, n, e);
		break;
	case FX_COMMIT:
		to_storage(w, n, t - WORKER, e->what);
		break;
	case FX_DONE:
		call_ended(w, e->what);
		break;
	case FX_VIEW:
		w->last_view = w->now;
		w->out.gossip_join = w->gossip - w->gossip_then;
		detect_view(n->detect, e->view, world_moment_of(w, n), &n->out[GOSSIP]);
		view_unref(n->unsaved);
		n->unsaved = view_ref(e->view);
		publish(w, n);
		break;
	case FX_POKE:
		if (!id_is_zero(&e->to))
			world_post(w, n, GOSSIP, L_POKE, NULL, 0, &e->to);
		break;
	case FX_FENCED:
		fenced_by(w, n, t, e->what, e->rc);
		break;
	case FX_ROWS:
		k = world_worker(n, ((struct rows *)e->what)->partition);
		world_post(w, n, WORKER + k, L_ROWS, e->what, 0, NULL);
		break;
	case FX_STORED:
		world_post(w, n, SYNC, L_STORED, e->what, e->rc, NULL);
		break;
	case FX_SYNCED:
		world_post(w, n, GOSSIP, L_SYNCED, view_ref(e->view), 0, NULL);
		break;
	case FX_CHANGED:
		world_post(w, n, SYNC, L_CHANGED, e->what, 0, NULL);
		e->what = NULL;
		break;
	case FX_LEDGER:
		world_post(w, n, t == SYNC ? GOSSIP : SYNC, L_LEDGER, e->frame, 0, &e->to);
		e->frame = NULL;
		break;
	case FX_META:
		save_meta(w, n, e);
		break;
	case FX_HINTS_FULL:
		to_workers(w, n, L_FULL, e->rc, NULL);
		break;
	case FX_CATCHING:
		for (k = WORKER; k < n->threads; k++)
			world_post(w, n, k, L_CATCHING, buf_ref(e->frame), 0, NULL);
		break;
	case FX_LIVENESS:
		to_workers(w, n, L_LIVENESS, e->rc, &e->to);
		if (!n->client)
			world_post(w, n, SYNC, L_LIVENESS, NULL, e->rc, &e->to);
		break;
	case FX_DAMAGED: case FX_LOST: case FX_MARKED:
	case FX_COLLECT: case FX_STALE: case FX_CLEARED:
		forgetting(w, n, e);
		break;
	case FX_RESET:
		world_break_link(w, world_index_of(w, n), world_index_of(w, world_peer_of(w, n, &e->to)), GOSSIP, 0);
		break;
	case FX_DOUBT:
		world_post(w, n, GOSSIP, L_DOUBT, NULL, 0, &e->to);
		break;
	case FX_LOG:
		world_tell(w, "%s: %.*s", world_name(w, n), (int)e->frame->len, (const char *)e->frame->data);
		break;
	case FX_FAIL:
		failed(w, n, e->rc);
	}
}

static void
wake_at(struct world *w, struct node *n, unsigned t, uint64_t at)
{
	struct event *e;

	at = world_true_time(n, at);
	if (at == TIME_NEVER || (n->wake_set[t] <= at && n->wake_set[t] > w->now))
		return;
	n->wake_set[t] = MAX(at, w->now + 1);
	e = world_add_event(w, EV_WAKE, world_index_of(w, n), n->wake_set[t]);
	e->lane = t;
}

void
world_carry_out(struct world *w, struct node *n)
{
	bool again = true;

	while (again) {
		again = false;
		for (unsigned t = 0; t < n->threads; t++) {
			struct effect e;

			while (outbox_next(&n->out[t], &e)) {
				effect(w, n, t, &e);
				effect_drop(&e);
				again = true;
			}
		}
	}
	for (unsigned k = 0; k < n->workers; k++) {
		if ((n->turning >> k & 1) == 0 &&
		    (n->work[k]->store.open != NULL || n->work[k]->store.damaged)) {
			n->turning |= 1U << k;
			world_add_event(w, EV_TURN, world_index_of(w, n), w->now + 1 + world_below(w, 200) * NS_PER_US)
			    ->lane = k;
		}
		wake_at(w, n, WORKER + k, work_wake(n->work[k]));
	}
	if (!n->client)
		wake_at(w, n, SYNC, sync_wake(n->sync));
	wake_at(w, n, GOSSIP, MIN(member_wake(n->member), detect_wake(n->detect)));
}

static struct record
record_of(const struct world *w, const struct node *n)
{
	struct record r = { .id = n->id, .incarnation = n->incarnation, .stamp = 1,
		.state = RECORD_JOINED, .weight = 100, .workers = (uint8_t)n->workers };

	snprintf(r.address, sizeof(r.address), "127.0.0.1:%u", 7000 + 'a' + world_index_of(w, n));
	if (w->o.zones > 0)
		snprintf(r.location, sizeof(r.location), "dc/z%u",
		    (world_index_of(w, n) == w->twin ? w->loser : world_index_of(w, n)) % w->o.zones);
	return r;
}

/* What it says of itself: as its directory has it, or as a newcomer. */
static void
introduce(struct world *w, struct node *n, struct member_options *m)
{
	m->settings = w->ring->settings;
	m->self = record_of(w, n);
	m->client = n->client;
	if (n->client)
		m->self.address[0] = '\0';
	if (n->saved != NULL)
		return;
	m->seeds = w->seeds;
	m->join = DYN_JOIN_ONLY;
}

/* As lib/identity.c: the actor is kept only over a clean stop, and there is
 * none here. */
void
world_node_start(struct world *w, struct node *n)
{
	uint64_t random = world_below(w, UINT32_MAX);
	struct work_options o = { .self = n->id, .client = n->client,
		.engine = n->client ? NULL : disk_engine(n->disk), .workers = n->workers,
		.siblings_max = 50, .skew_max_ms = 60000, .bytes_max = 1 << 22, .seed = rng_next(&w->rng) };
	struct sync_options s = { .self = n->id, .engine = o.engine, .w = w->o.w, .workers = n->workers,
		.seed = rng_next(&w->rng), .hint_bytes_max = w->o.hint_bytes,
		.hint_age_max_ms = w->o.hint_age_ms, .repair_period = w->o.repair_ms * MS,
		.walk = w->o.walk_ms * MS, .collect_period = w->o.collect_ms * MS };
	struct detect_options d = { .self = n->id, .client = n->client, .seed = mix64(o.seed) };
	struct member_options m = { .saved = n->saved, .seed = rng_next(&w->rng) };

	n->actor = ((n->actor >> 48) + 1) << 48 | random << 16;
	n->incarnation++;
	o.actor = (struct actor){ load_be64(n->id.bytes), n->actor };
	o.standin = (struct actor){ o.actor.node, n->actor ^ UINT64_C(1) << 47 };
	introduce(w, n, &m);
	n->life++;
	n->alive = true;
	n->turning = n->fenced = 0;
	n->applying = false;
	memset(n->failed_generation, 0, sizeof(n->failed_generation));
	memset(n->wake_set, 0, sizeof(n->wake_set));
	for (unsigned t = 0; t < THREADS; t++)
		outbox_init(&n->out[t]);
	/* A start that cannot read is none. */
	disk_fail_reads(n->disk, NULL, 0);
	if (!n->client)
		DEMAND(sync_new(&n->sync, &s, world_moment_of(w, n)) == 0);
	for (o.index = 0; o.index < o.workers; o.index++) {
		DEMAND(work_new(&n->work[o.index], &o) == 0);
		if (!n->client)
			work_catching(n->work[o.index], sync_catching(n->sync));
		o.seed = mix64(o.seed);
	}
	DEMAND(detect_new(&n->detect, &d, world_moment_of(w, n)) == 0);
	DEMAND(member_new(&n->member, &m, world_moment_of(w, n), &n->out[GOSSIP]) == 0);
	if (!w->calm)
		disk_fail_reads(n->disk, &w->rng, w->o.fail_read);
	w->out.actors++;
	if (n->saved == NULL && !n->client) {
		w->last_start = w->now;
		w->gossip_then = w->gossip;
	}
	world_tell(w, "%s starts", world_name(w, n));
	for (unsigned i = 0; i < w->all; i++)
		for (unsigned lane = 0; lane < w->lanes; lane++) {
			world_dial_later(w, world_index_of(w, n), i, lane);
			/* Those that were there when it came. */
			if (w->nodes[i].alive)
				world_dial_later(w, i, world_index_of(w, n), lane);
		}
	world_carry_out(w, n);
}

/* What others gave the worker to hold. */
static void
drop_tokens(struct work *work)
{
	for (size_t i = 0; i < work->waiters_count; i++) {
		const struct waiter *x = &work->waiters[(work->waiters_first + i) % work->waiters_cap];

		if (x->kind == WAIT_FENCE)
			view_unref(x->token);
		else if (x->kind == WAIT_ROWS)
			rows_free(x->token);
	}
}

static void
free_machines(struct node *n)
{
	for (unsigned i = 0; i < n->queued; i++)
		batch_free(n->queue[i].batch);
	n->queued = 0;
	for (unsigned k = 0; k < WORKERS_MOST; k++) {
		if (n->work[k] != NULL)
			drop_tokens(n->work[k]);
		work_free(n->work[k]);
		n->work[k] = NULL;
	}
	sync_free(n->sync);
	member_free(n->member);
	detect_free(n->detect);
	n->sync = NULL;
	n->member = NULL;
	n->detect = NULL;
	view_unref(n->sync_view);
	view_unref(n->fence);
	view_unref(n->view);
	view_unref(n->unsaved);
	n->view = n->sync_view = n->fence = n->unsaved = NULL;
	n->lost = n->marked = 0;
	for (unsigned t = 0; t < THREADS; t++)
		outbox_fini(&n->out[t]);
}

uint64_t
world_forgotten_by(const struct node *n)
{
	uint64_t rows = 0;

	for (unsigned k = 0; k < n->workers; k++)
		rows += work_stats(n->work[k])->forgotten;
	return rows;
}

static void
crash(struct world *w, struct node *n)
{
	unsigned i = world_index_of(w, n);

	if (!n->alive)
		return;
	world_tell(w, "%s crashes", world_name(w, n));
	n->alive = false;
	n->life++;
	for (unsigned j = 0; j < w->all; j++)
		for (unsigned lane = 0; lane < w->lanes; lane++) {
			uint64_t noticed = w->o.power ? world_below(w, 3000) * MS : 50 * NS_PER_US;
			struct link *mine = world_link(w, i, j, lane);

			world_break_link(w, i, j, lane, 0);
			mine->up = mine->half = false;
			mine->epoch++;
			world_break_link(w, j, i, lane, noticed);
		}
	for (struct call *c = w->calls; c != NULL; c = c->next)
		if (!c->ended && c->node == i) {
			c->ended = true; /* nobody will be told: pending for good */
			w->open--;
		}
	world_judge_trees(w, n);
	w->out.forgotten += world_forgotten_by(n);
	free_machines(n);
	if (w->o.power)
		disk_crash(n->disk, &w->rng);
	if (!n->gone)
		world_add_event(w, EV_START, i, w->now + (10 + world_below(w, 5000)) * MS);
}

/* As host/syncer.c, where the view is saved once all are. */
static void
fenced_letter(struct world *w, struct node *n, const struct event *e, struct view *v)
{
	unsigned before = n->fenced;

	if (e->rc != 0)
		world_post(w, n, WORKER + e->other, L_FENCE, view_ref(n->sync_view), 0, NULL);
	else if (table_compare(v->current, n->sync_view->current) == 0)
		n->fenced |= 1U << e->other;
	if (n->fenced != before)
		begin_fence(w, n);
	view_unref(v);
}

static void
forgetting_letter(struct world *w, struct node *n, const struct event *e, struct view *v,
    struct moment m)
{
	if (e->letter == L_LOST && e->lane == SYNC)
		sync_lost_all(n->sync, e->rc, m, &n->out[SYNC]);
	else if (e->letter == L_LOST)
		work_lost(n->work[e->lane - WORKER]);
	else if (e->letter == L_MARKED) {
		n->marked = e->rc;
		publish(w, n);
	} else if (e->letter == L_COLLECT)
		member_collect(n->member, v->current, m, &n->out[GOSSIP]);
	else if (e->letter == L_CLEAR)
		sync_clear(n->sync, m, &n->out[SYNC]);
	else
		member_cleared(n->member, m, &n->out[GOSSIP]);
	view_unref(v);
}

static void
liveness_letter(struct node *n, const struct event *e, struct moment m)
{
	if (e->lane == SYNC)
		sync_liveness(n->sync, &e->id, (enum dyn_liveness)e->rc, m, &n->out[SYNC]);
	else if (e->rc != DYN_DOUBTED)
		work_peer_suspect(n->work[e->lane - WORKER], &e->id, e->rc == DYN_SUSPECT, m,
		    &n->out[e->lane]);
}

static void
ledger_letter(struct node *n, const struct event *e, struct buf *ledger, struct moment m)
{
	if (e->lane == GOSSIP) {
		member_ledger(n->member, ledger);
		return;
	}
	sync_ledger(n->sync, &e->id, buf_slice(ledger), m, &n->out[SYNC]);
	buf_unref(ledger);
}

static void
letter(struct world *w, struct event *e)
{
	struct node *n = &w->nodes[e->node];
	struct moment m = world_moment_of(w, n);
	struct work *work = e->lane >= WORKER ? n->work[e->lane - WORKER] : NULL;
	struct outbox *out = &n->out[e->lane];
	void *what = e->what;
	bool same;

	e->what = NULL;
	switch (e->letter) {
	case L_VIEW:
		if (work != NULL) {
			work_view(work, what, m, out);
			view_unref(what);
			break;
		}
		same = n->sync_view != NULL &&
		    table_compare(n->sync_view->current, ((struct view *)what)->current) == 0;
		view_unref(n->sync_view);
		n->sync_view = what;
		sync_view(n->sync, what, m, out);
		if (same)
			break;
		n->fenced = 0;
		view_to_workers(w, n, L_FENCE, what);
		break;
	case L_FENCE:
		work_fence(work, what, what, m, out);
		break;
	case L_FENCED:
		fenced_letter(w, n, e, what);
		break;
	case L_ROWS:
		work_take(work, what, m, out);
		break;
	case L_LEDGER:
		ledger_letter(n, e, what, m);
		break;
	case L_CATCHING:
		work_catching(work, what);
		break;
	case L_SAVED:
		sync_saved(n->sync, e->rc, m, &n->out[SYNC]);
		break;
	case L_FULL:
		work_hints_full(work, e->rc != 0);
		break;
	case L_LIVENESS:
		liveness_letter(n, e, m);
		break;
	case L_DOUBT:
		detect_doubt(n->detect, &e->id, m, &n->out[GOSSIP]);
		break;
	case L_STORED:
		sync_stored(n->sync, what, e->rc, m, &n->out[SYNC]);
		break;
	case L_CHANGED:
		sync_changed(n->sync, what, m, &n->out[SYNC]);
		break;
	case L_SYNCED:
		member_synced(n->member, what, m, &n->out[GOSSIP]);
		view_unref(what);
		break;
	case L_COLLECT:
	case L_CLEAR:
	case L_CLEARED:
	case L_LOST:
	case L_MARKED:
		forgetting_letter(w, n, e, what, m);
		break;
	case L_DAMAGED:
		sync_damaged(n->sync, (unsigned)e->rc);
		break;
	case L_POKE:
		member_poke(n->member, &e->id, m, &n->out[GOSSIP]);
		break;
	case L_COMMITTED:
		work_committed(work, what, e->rc, m, out);
		break;
	}
	world_carry_out(w, n);
}

/* ------------------------------------------------------------------ faults */

static void
forget_copy(struct node *n)
{
	view_unref(n->copy.saved);
	disk_free(n->copy.disk);
	n->copy.saved = NULL;
	n->copy.disk = NULL;
}

/* Somebody copies the directory while the node runs, or is down. */
static void
copy_directory(struct node *n)
{
	forget_copy(n);
	n->copy.disk = disk_copy(n->disk);
	n->copy.saved = view_ref(n->saved);
	n->copy.incarnation = n->incarnation;
}

/* The node's directory is what was copied.  lib/identity.c finds out, and says so in a
 * row. */
static void
take_copy(struct node *n, struct node *of)
{
	const struct dyn_row all = { DYN_SPACE_META, dyn_str(CATCHING_ROW),
		dyn_str(CATCHING_ALL) };
	struct dyn_engine *e;

	disk_free(n->disk);
	view_unref(n->saved);
	n->disk = of->copy.disk;
	n->saved = of->copy.saved;
	n->incarnation = of->copy.incarnation;
	of->copy.disk = NULL;
	of->copy.saved = NULL;
	e = disk_engine(n->disk);
	DEMAND(e->apply(e->self, &all, 1, DYN_DURABLE_DISK) == 0);
}

static void
start_twin(struct world *w, struct node *of)
{
	struct node *n = &w->nodes[w->twin];

	world_tell(w, "%s is copied: a second process", world_name(w, of));
	take_copy(n, of);
	n->actor = of->actor;
	n->gone = false;
	world_node_start(w, n);
}

/* The node dies, and finds its directory as it was copied; or it goes on. */
static void
lose_directory(struct world *w, struct node *n)
{
	if (n->gone)
		return;
	if (w->o.lose == 3) {
		world_tell(w, "%s has %u rows damaged", world_name(w, n),
		    disk_damage(n->disk, &w->rng));
		return;
	}
	if (w->o.lose == 4) {
		start_twin(w, n);
		return;
	}
	crash(w, n);
	world_tell(w, "%s has lost its directory", world_name(w, n));
	take_copy(n, n);
}

/* Somebody who can give orders: it runs, is a member, and knows of all. */
static struct node *
commander(struct world *w, const struct node *but)
{
	unsigned from = (unsigned)world_below(w, w->members);

	for (unsigned i = 0; i < w->members; i++) {
		struct node *n = &w->nodes[(from + i) % w->members];

		if (n->alive && !n->gone && n != but && n->view != NULL &&
		    view_find(n->view, &but->id) != NULL && n->paused_until <= w->now)
			return n;
	}
	return NULL;
}

static bool
order(struct world *w, const struct node *of, uint8_t state)
{
	const struct order o = { .id = of->id, .state = state };
	struct node *by = commander(w, of);
	struct view *v;

	if (by == NULL)
		return false;
	if (view_find(by->view, &of->id)->state >= state)
		return true;
	if (view_order(&v, by->view, &o, 1) != 0)
		return false;
	world_tell(w, "%s orders that %s %s", world_name(w, by), world_name(w, of),
	    state == RECORD_LEAVING ? "leaves" : "is forgotten");
	member_change(by->member, v, world_moment_of(w, by), &by->out[GOSSIP]);
	view_unref(v);
	world_carry_out(w, by);
	return true;
}

bool
world_forget(struct world *w)
{
	return w->forgotten == NODES_MAX ||
	    order(w, &w->nodes[w->forgotten], RECORD_FORGOTTEN);
}

/* One less, but never fewer than a key has copies, as far as anybody knows. */
static void
leave(struct world *w, bool forget)
{
	struct node *n = &w->nodes[world_below(w, w->members)], *by = commander(w, n);
	unsigned seats = 0, came = 0;

	for (unsigned i = 0; i < w->members; i++)
		came += w->nodes[i].view != NULL || w->nodes[i].gone;
	for (size_t i = 0; by != NULL && i < by->view->count; i++)
		seats += by->view->records[i].state == RECORD_JOINED;
	if (seats <= w->o.copies || n->gone || w->leaving + w->o.copies >= came ||
	    view_find(by->view, &n->id)->state != RECORD_JOINED)
		return;
	w->leaving++;
	if (!forget) {
		(void)order(w, n, RECORD_LEAVING);
		return;
	}
	/* Dead, or only thought to be; but then nothing else changes (model/view.c). */
	w->forgotten = world_index_of(w, n);
	if (w->o.joins > 0 || w->o.leaves > 1 || world_below(w, 2) == 0) {
		n->gone = true;
		crash(w, n);
	}
	world_add_event(w, EV_FORGET, 0, w->now + world_below(w, 10000) * MS);
}

static void
fault_again(struct world *w, enum event_kind kind, unsigned mean_ms)
{
	if (mean_ms > 0 && !w->calm)
		world_add_event(w, kind, 0, w->now + 1 + world_below(w, 2 * (uint64_t)mean_ms) * MS);
}

/* In both directions, on the spot; nothing breaks. */
static void
split_for_good(struct world *w)
{
	for (unsigned i = 0; i < w->all; i++)
		for (unsigned j = 0; j < w->all; j++)
			*world_cut(w, i, j) = is_on_side(w, i) != is_on_side(w, j);
}

/* Cut some directions between two sides, or one, or all of one node. */
static void
split(struct world *w)
{
	unsigned kind = (unsigned)world_below(w, 3);
	bool side[NODES_MAX];

	for (unsigned i = 0; i < w->all; i++)
		side[i] = world_below(w, 2) == 0;
	for (unsigned i = 0; i < w->all; i++)
		for (unsigned j = 0; j < w->all; j++) {
			if (i == j || side[i] == side[j])
				continue;
			if (kind == 0 || (kind == 1 && !side[i]) || (kind == 2 && world_below(w, 2) == 0))
				*world_cut(w, i, j) = true;
		}
	world_tell(w, "split of kind %u", kind);
	for (unsigned i = 0; i < w->all && w->trace; i++)
		if (side[i])
			world_tell(w, "on the one side: %s", world_name(w, &w->nodes[i]));
	for (unsigned i = 0; i < w->all; i++)
		for (unsigned j = 0; j < w->all; j++)
			for (unsigned lane = 0; lane < w->lanes; lane++)
				if ((*world_cut(w, i, j) || *world_cut(w, j, i)) && world_below(w, 2) == 0)
					world_break_link(w, i, j, lane, world_below(w, 3000) * MS);
	world_add_event(w, EV_MEND, 0, w->now + world_below(w, 8000) * MS);
}

static void
fault(struct world *w, enum event_kind kind)
{
	unsigned i = (unsigned)world_below(w, w->all), j = (unsigned)world_below(w, w->all);
	unsigned lane;
	uint64_t until;

	switch (kind) {
	case EV_CRASH:
		crash(w, &w->nodes[i]);
		fault_again(w, kind, w->o.crash_ms);
		break;
	case EV_LEAVE:
		leave(w, w->o.forget && w->forgotten == NODES_MAX);
		break;
	case EV_FORGET:
		if (!world_forget(w))
			world_add_event(w, EV_FORGET, 0, w->now + NS_PER_S);
		break;
	case EV_COPY:
		copy_directory(&w->nodes[w->loser]);
		break;
	case EV_LOSE:
		lose_directory(w, &w->nodes[w->loser]);
		break;
	case EV_BREAK:
		until = world_below(w, 4) == 0 ? world_below(w, 2000) * MS : 0;
		lane = (unsigned)world_below(w, w->lanes);
		world_break_link(w, i, j, lane, until);
		fault_again(w, kind, w->o.break_ms);
		break;
	case EV_SPLIT:
		split(w);
		fault_again(w, kind, w->o.split_ms);
		break;
	case EV_FULL:
		w->nodes[i].full_until = w->now + world_below(w, 8000) * MS;
		world_tell(w, "the disk of %s is full", world_name(w, &w->nodes[i]));
		fault_again(w, kind, w->o.full_ms);
		break;
	case EV_PAUSE:
		/* Never shortened: its letters wait for that time, in order. */
		until = w->now + world_below(w, 4000) * MS;
		w->nodes[i].paused_until = MAX(w->nodes[i].paused_until, until);
		world_tell(w, "%s pauses", world_name(w, &w->nodes[i]));
		fault_again(w, kind, w->o.pause_ms);
		break;
	default:
		w->nodes[i].skew_ms = (int64_t)world_below(w, 40000) - 20000;
		fault_again(w, kind, w->o.jump_ms);
		break;
	}
}

/* ------------------------------------------------------------------- a run */

static void
run_of_node(struct world *w, struct event *e)
{
	struct node *n = &w->nodes[e->node];
	struct moment m = world_moment_of(w, n);

	switch (e->kind) {
	case EV_LETTER:
		letter(w, e);
		return;
	case EV_WAKE:
		n->wake_set[e->lane] = 0;
		if (e->lane >= WORKER && world_due(w, n, work_wake(n->work[e->lane - WORKER])))
			work_tick(n->work[e->lane - WORKER], m, &n->out[e->lane]);
		else if (e->lane == SYNC && world_due(w, n, sync_wake(n->sync)))
			sync_tick(n->sync, m, &n->out[SYNC]);
		else if (e->lane == GOSSIP && world_due(w, n, member_wake(n->member)))
			member_tick(n->member, m, &n->out[GOSSIP]);
		if (e->lane == GOSSIP && world_due(w, n, detect_wake(n->detect)))
			detect_tick(n->detect, m, &n->out[GOSSIP]);
		break;
	case EV_SAVE:
		save_view(w, n, e->back);
		break;
	case EV_TURN:
		n->turning &= ~(1U << e->lane);
		work_turn(n->work[e->lane], &n->out[WORKER + e->lane]);
		break;
	default:
		apply(w, n);
		break;
	}
	world_carry_out(w, n);
}

static bool
step(struct world *w, uint64_t until)
{
	struct event *e;
	struct node *n;

	if (w->count == 0 || w->heap[1]->at > until)
		return false;
	e = world_pop_event(w);
	w->now = e->at;
	n = &w->nodes[e->node];
	if (e->kind <= EV_SAVE && n->paused_until > w->now) {
		/* With its old place in the order: what waited longer comes first. */
		e->at = n->paused_until;
		world_push_event(w, e);
		return true;
	}
	w->digest = mix64(w->digest ^ e->at ^ (uint64_t)e->kind << 56 ^ (uint64_t)e->node << 48);
	if (e->kind == EV_DELIVER) {
		world_deliver(w, e);
	} else if (e->kind <= EV_SAVE) {
		if (n->alive && n->life == e->life)
			run_of_node(w, e);
	} else if (e->kind == EV_DIAL) {
		world_dial(w, e);
	} else if (e->kind == EV_LOST) {
		world_link_lost(w, e);
	} else if (e->kind == EV_START) {
		if (!n->alive && !n->gone)
			world_node_start(w, n);
	} else if (e->kind == EV_STOP) {
		crash(w, n);
	} else if (e->kind == EV_CALL) {
		next_call(w, e->node);
	} else if (e->kind == EV_MEND) {
		split_for_good(w);
	} else if (!w->calm) {
		fault(w, e->kind);
	}
	world_free_event(e);
	return true;
}

void
world_run_for(struct world *w, uint64_t ns)
{
	uint64_t until = w->now + ns;

	while (step(w, until))
		continue;
	w->now = until;
}

static void
world_free(struct world *w)
{
	while (w->count > 0)
		world_free_event(world_pop_event(w));
	for (unsigned i = 0; i < w->all; i++) {
		free_machines(&w->nodes[i]);
		view_unref(w->nodes[i].saved);
		disk_free(w->nodes[i].disk);
		forget_copy(&w->nodes[i]);
		for (unsigned j = 0; j < w->all * w->lanes; j++)
			for (unsigned back = 0; back < 2; back++) {
				struct pipe *p = &world_link(w, i, 0, j)->pipe[back];

				world_pipe_clear(p);
				free(p->frames);
			}
	}
	free(w->links);
	free(w->cut);
	free(w->nodes);
	for (unsigned s = 0; s < SWARM_SESSIONS; s++)
		for (unsigned k = 0; k < SWARM_KEYS; k++) {
			clock_fini(&w->sessions[s].last[k].clock);
			clock_fini(&w->sessions[s].kept[k].clock);
		}
	while (w->calls != NULL) {
		struct call *next = w->calls->next;

		free(w->calls);
		w->calls = next;
	}
	oracle_free(w->oracle);
	view_unref(w->ring);
	free(w->heap);
	free(w);
}

/* v, taken over, with each of its members having followed so far. */
static struct view *
all_follow(struct view *v, bool reading)
{
	size_t count = v->count;
	struct view *next;

	for (size_t i = 0; i < count; i++) {
		struct record r = v->records[i];

		r.synced_epoch = v->current->epoch;
		r.synced = v->current->digest;
		r.reading = reading;
		r.stamp++;
		DEMAND(view_with(&next, v, &r) == 0);
		view_unref(v);
		v = next;
	}
	DEMAND(view_settle(&next, v) == 0);
	view_unref(v);
	return next;
}

/* All members at once, with one table. */
static struct view *
first_ring(const struct world *w)
{
	struct settings s = { .name = "test", .partitions = w->o.partitions,
		.n = (uint8_t)w->o.copies, .hash = DYN_HASH_SHA256 };
	struct record r = record_of(w, &w->nodes[0]);
	struct view *v, *next;

	s.ring_id = node_id('r');
	DEMAND(view_create(&v, &s, &r) == 0);
	for (unsigned i = 1; i < w->o.nodes; i++) {
		r = record_of(w, &w->nodes[i]);
		DEMAND(view_with(&next, v, &r) == 0);
		view_unref(v);
		v = next;
	}
	DEMAND(view_settle(&next, v) == 0);
	view_unref(v);
	return w->o.nodes > 1 ? all_follow(all_follow(next, false), true) : next;
}

uint64_t
world_skew(const struct swarm *o)
{
	return 10 * MS + (uint64_t)o->drift * 600 * MS + (o->jump_ms > 0 ? 40 * NS_PER_S : 0);
}

static void
begin_node(struct world *w, unsigned i)
{
	struct node *n = &w->nodes[i];

	n->id = world_id(i);
	n->disk = disk_new();
	n->incarnation = 1;
	n->drift = 1000;
	n->client = i >= w->members && i != w->twin;
	n->gone = i == w->twin; /* so far */
	n->workers = w->o.mixed ? 1 + (unsigned)world_below(w, w->o.workers) : w->o.workers;
	n->threads = WORKER + n->workers;
	if (w->o.drift > 0)
		n->drift += (unsigned)world_below(w, 2 * (uint64_t)w->o.drift + 1) - w->o.drift;
}

static void
begin_twin(struct node *n, const struct node *of)
{
	n->id = of->id;
	n->workers = of->workers;
	n->threads = of->threads;
}

static void
begin_faults(struct world *w)
{
	const struct swarm *o = &w->o;

	/* A new directory is one from before everything. */
	w->forgotten = NODES_MAX;
	w->loser = (unsigned)world_below(w, o->nodes);
	if (w->twin != NODES_MAX)
		begin_twin(&w->nodes[w->twin], &w->nodes[w->loser]);
	if (o->lose > 0) {
		copy_directory(&w->nodes[w->loser]);
		world_add_event(w, EV_LOSE, 0, w->now + (o->storm_ms / 4 + world_below(w, o->storm_ms / 2)) * MS);
	}
	if (o->lose == 2 || o->lose == 4)
		world_add_event(w, EV_COPY, 0, w->now + world_below(w, o->storm_ms / 4) * MS);
	for (unsigned i = 0; i < o->leaves; i++)
		world_add_event(w, EV_LEAVE, 0, w->now + world_below(w, o->storm_ms * MS));
	world_run_for(w, 2 * NS_PER_S);
	split_for_good(w);
	for (unsigned i = 0; i < o->sessions; i++)
		world_add_event(w, EV_CALL, i, w->now + world_below(w, o->op_gap_ms * MS));
	fault_again(w, EV_CRASH, o->crash_ms);
	fault_again(w, EV_BREAK, o->break_ms);
	fault_again(w, EV_SPLIT, o->split_ms);
	fault_again(w, EV_PAUSE, o->pause_ms);
	fault_again(w, EV_JUMP, o->jump_ms);
	fault_again(w, EV_FULL, o->full_ms);
}

/* Two of the first ring; where members leave, so many that some are left. */
static void
give_seeds(struct world *w)
{
	unsigned step = w->o.leaves > 0 ? 1 : MAX(w->o.nodes - 1, 1u);
	size_t len = 0;

	for (unsigned i = 0; i < w->members && i < SEEDS; i += step) {
		if (i >= w->o.nodes && w->o.leaves == 0)
			break;
		len += (size_t)snprintf(w->seeds + len, sizeof(w->seeds) - len, "%s127.0.0.1:%u",
		    len > 0 ? "," : "", 7000 + 'a' + i);
	}
}

static struct world *
world_new(const struct swarm *o, uint64_t seed, bool trace)
{
	const struct oracle_options options = { .skew = world_skew(o), .ahead = world_skew(o) };
	struct world *w = calloc(1, sizeof(*w));

	DEMAND(w != NULL && o->nodes > 0 && o->workers > 0 && o->workers <= WORKERS_MOST);
	w->o = *o;
	if (o->partitions == 0)
		w->o.partitions = 16;
	w->trace = trace;
	w->rng.state = mix64(seed ^ 0x5eed);
	w->now = NS_PER_S;
	w->oracle = oracle_new(&options);
	w->members = o->nodes + o->joins;
	w->twin = o->lose == 4 ? w->members + o->clients : NODES_MAX;
	w->all = w->members + o->clients + (o->lose == 4);
	DEMAND(w->all <= NODES_MAX);
	w->lanes = o->workers == 1 ? world_lane(WORKER, 0) + 1 : LANES;
	w->nodes = calloc(w->all, sizeof(*w->nodes));
	w->links = calloc((size_t)w->all * w->all * w->lanes, sizeof(*w->links));
	w->cut = calloc((size_t)w->all * w->all, sizeof(*w->cut));
	DEMAND(w->nodes != NULL && w->links != NULL && w->cut != NULL);
	for (unsigned i = 0; i < w->all; i++)
		begin_node(w, i);
	w->ring = first_ring(w);
	give_seeds(w);
	return w;
}

static void
storm(struct world *w)
{
	uint64_t last = MIN(10 * NS_PER_S, w->o.storm_ms * MS), before;

	world_run_for(w, w->o.storm_ms * MS - last);
	before = w->gossip;
	world_run_for(w, last);
	w->out.gossip_idle = (w->gossip - before) * NS_PER_S / MAX(last, 1);
	w->out.joined_ns = w->last_view > w->last_start ? w->last_view - w->last_start : 0;
	w->out.memory = mallinfo2().uordblks;
}

struct outcome
world_run(const struct swarm *o, uint64_t seed, bool trace)
{
	struct world *w = world_new(o, seed, trace);
	struct outcome out;
	size_t broken;

	for (unsigned i = 0; i < w->all; i++) {
		if (i >= o->nodes) {
			world_add_event(w, EV_START, i, w->now + world_below(w,
			    (o->join_by_ms > 0 && i < w->members ? o->join_by_ms : o->storm_ms) * MS));
			continue;
		}
		w->nodes[i].saved = view_ref(w->ring);
		world_node_start(w, &w->nodes[i]);
	}
	begin_faults(w);
	storm(w);
	world_heal(w);
	broken = oracle_judge(w->oracle);
	for (size_t i = 0; i < broken; i++)
		fprintf(stderr, "%s\n", oracle_violation(w->oracle, i).story);
	out = w->out;
	out.broken += (unsigned)broken;
	out.digest = w->digest;
	out.virtual_ns = w->now;
	world_free(w);
	return out;
}
