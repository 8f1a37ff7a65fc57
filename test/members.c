/* See members.h. */
#include "test/members.h"

#include <stdio.h>
#include <stdlib.h>

struct sim *
sim_new(uint64_t seed)
{
	struct sim *s = calloc(1, sizeof(*s));

	ck_assert_ptr_nonnull(s);
	s->rng.state = seed * 2654435761u + test_seed();
	s->now = 5 * NS_PER_S;
	s->delay_max = 20 * MS;
	ck_assert_int_eq(timers_init(&s->timers), 0);
	outbox_init(&s->out);
	return s;
}

static void
happening_free(struct happening *h)
{
	buf_unref(h->frame);
	view_unref(h->view);
	free(h);
}

void
sim_free(struct sim *s)
{
	struct timer *t;

	while ((t = timers_pop(&s->timers, TIME_NEVER)) != NULL)
		happening_free(CONTAINER_OF(t, struct happening, timer));
	timers_fini(&s->timers);
	for (unsigned i = 0; i < s->count; i++) {
		member_free(s->node[i].m);
		view_unref(s->node[i].view);
	}
	outbox_fini(&s->out);
	free(s);
	ck_assert_int_eq(mem_balance(), 0);
}

struct moment
sim_moment(const struct sim *s)
{
	struct moment m = {s->now, s->now / MS};

	return m;
}

static struct happening *
plan(struct sim *s, enum what what, unsigned to, uint64_t delay)
{
	struct happening *h = calloc(1, sizeof(*h));

	ck_assert_ptr_nonnull(h);
	h->what = what;
	h->to = to;
	h->life = s->node[to].incarnation;
	ck_assert_int_eq(timer_set(&s->timers, &h->timer, s->now + delay), 0);
	return h;
}

static uint64_t
delay(struct sim *s)
{
	uint64_t most = rng_below(&s->rng, 20) == 0 ? s->delay_max * 20 : s->delay_max;

	return MS + rng_below(&s->rng, most);
}

static struct node *
node_at(struct sim *s, const char *address)
{
	for (unsigned i = 0; i < s->count; i++)
		if (s->node[i].up && strcmp(s->node[i].address, address) == 0)
			return &s->node[i];
	return NULL;
}

/* A message on its way, by the address the sender knows. */
static void
post(struct sim *s, unsigned from, const struct effect *e)
{
	const struct record *r = NULL;
	const char *address = e->address;
	struct node *to;
	struct happening *h;

	if (address == NULL && s->node[from].view != NULL) {
		r = view_find(s->node[from].view, &e->to);
		address = r != NULL ? r->address : NULL;
	}
	to = address != NULL ? node_at(s, address) : NULL;
	if (to == NULL || to->side != s->node[from].side ||
	    (e->address == NULL && !id_equal(&to->id, &e->to))) {
		h = plan(s, UNREACHABLE, from, delay(s));
		h->id = e->to;
		h->address = e->address;
		return;
	}
	if (rng_below(&s->rng, 100) < s->loss)
		return;
	h = plan(s, DELIVER, (unsigned)(to - s->node), delay(s));
	h->from = from;
	h->conn = from + 1;
	h->frame = buf_ref(e->frame);
}

static void
post_reply(struct sim *s, unsigned from, const struct effect *e)
{
	unsigned to = (unsigned)e->conn - 1;
	struct happening *h;

	if (!s->node[to].up || s->node[to].side != s->node[from].side ||
	    rng_below(&s->rng, 100) < s->loss)
		return;
	h = plan(s, DELIVER, to, delay(s));
	h->from = from;
	h->conn = from + 1;
	h->frame = buf_ref(e->frame);
}

/* Reads by the view of a must be met by writes by the view of b. */
static bool
met(const struct view *a, const struct view *b)
{
	return table_compare(a->reading, b->base) == 0 ||
	       table_compare(a->reading, b->current) == 0;
}

static void
check_safety(struct sim *s, unsigned i)
{
	const struct node *me = &s->node[i];

	for (unsigned j = 0; j < s->count && me->member && !s->unsafe; j++) {
		const struct node *other = &s->node[j];

		if (!other->member || other->view == NULL ||
		    !id_equal(
			&other->view->settings.ring_id, &me->view->settings.ring_id))
			continue;
		s->breaches += !met(me->view, other->view) || !met(other->view, me->view);
	}
}

static void
publish(struct sim *s, unsigned i, struct view *v)
{
	struct node *n = &s->node[i];
	const struct record *mine = view_find(v, &n->id);
	struct happening *h;

	ck_assert(v->current != NULL);
	ck_assert(n->view == NULL || view_stamp(v) >= view_stamp(n->view));
	view_unref(n->view);
	n->view = view_ref(v);
	n->views++;
	n->member = !n->client;
	check_safety(s, i);
	if (n->client)
		return;
	ck_assert_ptr_nonnull(mine);
	if (record_synced(mine, v->current) ||
	    digest_compare(&n->last, &v->current->digest) == 0)
		return;
	n->last = v->current->digest;
	h = plan(s, SYNCED, i, 10 * MS + rng_below(&s->rng, 300 * MS));
	h->view = view_ref(v);
}

static void
describe(struct sim *s, unsigned i, const struct effect *e)
{
	char *at = s->script + strlen(s->script);
	struct frame f;
	union msg m;

	at += sprintf(at, "%u ", i);
	switch (e->kind) {
	case FX_SEND:
	case FX_REPLY:
		ck_assert_int_eq(frame_decode(&f, buf_slice(e->frame)), 0);
		ck_assert_int_eq(msg_decode(f.kind, f.body, &m), 0);
		at += sprintf(at, "%s %s e%u", e->kind == FX_SEND ? "send" : "reply",
		    msg_name(f.kind), (unsigned)(f.epoch / 4));
		if (f.kind == MSG_GOSSIP)
			at += sprintf(at, "%s", m.gossip.view.len > 0 ? " view" : "");
		if (f.kind == MSG_GOSSIP_ACK)
			at += sprintf(at, " rc=%d%s", msg_rc(m.gossip_ack.rc),
			    m.gossip_ack.view.len > 0 ? " view" : "");
		if (f.kind == MSG_VIEW)
			at += sprintf(at, "%s", m.view.view.len > 0 ? " view" : "");
		break;
	case FX_VIEW:
		at += sprintf(at, "view e%u phase %d of %u",
		    (unsigned)e->view->current->epoch, (int)view_phase(e->view),
		    (unsigned)e->view->count);
		break;
	case FX_FAIL:
		at += sprintf(at, "fail %d", e->rc);
		break;
	default:
		at[-2] = '\0';
		return;
	}
	sprintf(at, "\n");
}

void
sim_carry_out(struct sim *s, unsigned i)
{
	struct node *n = &s->node[i];

	for (size_t k = 0; k < s->out.count; k++) {
		struct effect *e = &s->out.list[k];

		if (s->script != NULL)
			describe(s, i, e);
		switch (e->kind) {
		case FX_SEND:
			post(s, i, e);
			break;
		case FX_REPLY:
			post_reply(s, i, e);
			break;
		case FX_VIEW:
			publish(s, i, e->view);
			break;
		case FX_LOG:
			n->errors += e->rc == DYN_LOG_ERROR;
			n->warnings += e->rc == DYN_LOG_WARNING;
			break;
		case FX_LOST:
			n->lost++;
			break;
		case FX_STALE:
			n->stale++;
			break;
		case FX_FAIL:
			n->failed = true;
			n->rc = e->rc;
			snprintf(
			    n->text, sizeof(n->text), "%s", (const char *)e->frame->data);
			break;
		default:
			ck_abort_msg("effect %d", (int)e->kind);
		}
		effect_drop(e);
	}
	s->out.count = 0;
}

/* ------------------------------------------------------------------ nodes */

/* A new node at an address; not started. */
struct node *
sim_node(struct sim *s, const char *address)
{
	struct node *n = &s->node[s->count++];

	ck_assert_uint_le(s->count, NODES);
	n->id.bytes[0] = (unsigned char)rng_next(&s->rng);
	n->id.bytes[14] = 1;
	n->id.bytes[15] = (unsigned char)s->count;
	strcpy(n->address, address);
	return n;
}

void
sim_options(struct sim *s, struct node *n, const char *seeds, struct member_options *o)
{
	memset(o, 0, sizeof(*o));
	o->self.id = n->id;
	o->self.incarnation = n->incarnation;
	o->self.weight = 100;
	o->self.workers = 1;
	strcpy(o->self.address, n->address);
	strcpy(o->settings.name, s->ring != NULL ? s->ring : "test");
	o->settings.partitions = s->partitions;
	o->settings.n = (uint8_t)s->n;
	memcpy(o->settings.ring_id.bytes, n->id.bytes, 16);
	o->settings.secret[0] = 5;
	o->saved = n->view;
	o->seeds = seeds;
	o->client = n->client;
	o->seed = rng_next(&s->rng);
}

void
sim_begin(struct sim *s, struct node *n, const struct member_options *o)
{
	n->up = true;
	n->failed = false;
	memset(&n->last, 0, sizeof(n->last));
	ck_assert_int_eq(member_new(&n->m, o, sim_moment(s), &s->out), 0);
	sim_carry_out(s, (unsigned)(n - s->node));
}

void
sim_start(struct sim *s, struct node *n, const char *seeds)
{
	struct member_options o;

	n->incarnation++;
	sim_options(s, n, seeds, &o);
	sim_begin(s, n, &o);
}

struct node *
sim_add(struct sim *s, const char *seeds)
{
	char address[32];
	struct node *n;

	snprintf(address, sizeof(address), "127.0.0.1:%u", 7000 + s->count);
	n = sim_node(s, address);
	sim_start(s, n, seeds);
	return n;
}

void
sim_stop(struct node *n)
{
	member_free(n->m);
	n->m = NULL;
	n->up = false;
}

static void
happen(struct sim *s, struct happening *h)
{
	struct node *n = &s->node[h->to];
	struct frame f;
	union msg m;

	if (!n->up || (h->what != DELIVER && h->life != n->incarnation))
		return;
	s->trace = mix64(
	    s->trace ^ (s->now + h->what * 3 + h->to * 7 +
			   (h->frame != NULL ? hash_quick(buf_slice(h->frame)) : 0)));
	switch (h->what) {
	case DELIVER:
		ck_assert_int_eq(frame_decode(&f, buf_slice(h->frame)), 0);
		ck_assert_int_eq(msg_decode(f.kind, f.body, &m), 0);
		ck_assert_int_eq(member_frame(n->m, &s->node[h->from].id, h->conn, &f, &m,
				     sim_moment(s), &s->out),
		    0);
		break;
	case UNREACHABLE:
		member_unreachable(
		    n->m, &h->id, h->address, DYN_EIO, sim_moment(s), &s->out);
		break;
	case SYNCED:
		member_synced(n->m, h->view, sim_moment(s), &s->out);
		break;
	}
	sim_carry_out(s, h->to);
}

void
sim_run(struct sim *s, uint64_t ns)
{
	uint64_t end = s->now + ns;

	for (;;) {
		uint64_t next = timers_next(&s->timers);
		struct timer *t;

		for (unsigned i = 0; i < s->count; i++)
			if (s->node[i].up)
				next = MIN(next, member_wake(s->node[i].m));
		if (next > end)
			break;
		s->now = MAX(s->now, next);
		while ((t = timers_pop(&s->timers, s->now)) != NULL) {
			struct happening *h = CONTAINER_OF(t, struct happening, timer);

			happen(s, h);
			happening_free(h);
		}
		for (unsigned i = 0; i < s->count; i++) {
			struct node *n = &s->node[i];

			if (!n->up || member_wake(n->m) > s->now)
				continue;
			member_tick(n->m, sim_moment(s), &s->out);
			sim_carry_out(s, i);
			ck_assert_uint_gt(member_wake(n->m), s->now);
		}
	}
	s->now = end;
}

/* All members up have one view, settled, with a seat for each. */
bool
sim_agreed(const struct sim *s)
{
	const struct view *v = NULL;
	unsigned members = 0;

	for (unsigned i = 0; i < s->count; i++) {
		const struct node *n = &s->node[i];

		members += n->member || (n->up && !n->client);
		if (!n->up || n->client)
			continue;
		if (n->view == NULL || (v != NULL && !view_equal(v, n->view)))
			return false;
		v = n->view;
	}
	return v != NULL && view_phase(v) == VIEW_SETTLED &&
	       v->current->seats_count == members;
}

/* Run until they agree; how long it took. */
uint64_t
sim_agree(struct sim *s, uint64_t limit)
{
	uint64_t start = s->now;

	while (!sim_agreed(s)) {
		ck_assert_msg(s->now < start + limit, "no agreement after %llu ms",
		    (unsigned long long)(limit / MS));
		sim_run(s, 50 * MS);
	}
	ck_assert_uint_eq(s->breaches, 0);
	return s->now - start;
}

uint64_t
sim_epoch(const struct sim *s)
{
	return s->node[0].view->current->epoch;
}

void
sim_check_quiet(const struct sim *s)
{
	for (unsigned i = 0; i < s->count; i++) {
		ck_assert_uint_eq(s->node[i].errors, 0);
		ck_assert(!s->node[i].failed);
	}
}
