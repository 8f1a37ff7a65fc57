/*
 * Changing the ring: who joins, leaves, is forgotten, weighs more, stands elsewhere.
 *
 * A plan is a list of orders (model/view.h) in the caller's hands until it is committed;
 * then all of them reach the ring in one view, and so are one change of owners.
 */
#include "node.h"

#include "host/gossip.h"

/* What one node takes in while nothing else is to do, cautiously. */
#define BYTES_PER_S (16u << 20)

struct dyn_plan {
	dyn_node *node;
	struct order *orders;
	size_t count, cap;
};

int
dyn_plan_new(dyn_plan **out, dyn_node *n)
{
	int rc;

	if (out == NULL)
		return DYN_EINVAL;
	*out = NULL;
	rc = node_check(n);
	if (rc != 0)
		return rc;
	if (n->host.role == DYN_LOCAL)
		return DYN_EINVAL;
	*out = mem_zalloc(sizeof(**out));
	if (*out == NULL)
		return DYN_ENOMEM;
	(*out)->node = n;
	return 0;
}

void
dyn_plan_free(dyn_plan *p)
{
	if (p == NULL)
		return;
	for (size_t i = 0; i < p->count; i++)
		mem_free((char *)(uintptr_t)p->orders[i].location);
	mem_free(p->orders);
	mem_free(p);
}

/* Takes the order if it can be given after those before it; location is copied. */
static int
add(dyn_plan *p, const struct order *order)
{
	struct order o = *order;
	struct view *v, *next;
	int rc;

	if (p == NULL)
		return DYN_EINVAL;
	rc = node_check(p->node);
	if (rc != 0)
		return rc;
	if (p->count == p->cap) {
		size_t cap = p->cap == 0 ? 8 : 2 * p->cap;
		void *list = mem_realloc(p->orders, cap * sizeof(*p->orders));

		if (list == NULL)
			return DYN_ENOMEM;
		p->orders = list;
		p->cap = cap;
	}
	if (o.location != NULL) {
		o.location = mem_strdup(o.location);
		if (o.location == NULL)
			return DYN_ENOMEM;
	}
	p->orders[p->count] = o;
	v = host_view(&p->node->host);
	rc = view_order(&next, v, p->orders, p->count + 1);
	view_unref(v);
	if (rc != 0) {
		mem_free((char *)(uintptr_t)o.location);
		return rc;
	}
	view_unref(next);
	p->count++;
	return 0;
}

int
dyn_plan_join(dyn_plan *p, struct dyn_id id)
{
	return add(p, &(struct order){ .id = id, .state = RECORD_JOINED });
}

int
dyn_plan_leave(dyn_plan *p, struct dyn_id id)
{
	return add(p, &(struct order){ .id = id, .state = RECORD_LEAVING });
}

int
dyn_plan_forget(dyn_plan *p, struct dyn_id id)
{
	return add(p, &(struct order){ .id = id, .state = RECORD_FORGOTTEN });
}

int
dyn_plan_replace(dyn_plan *p, struct dyn_id old, struct dyn_id by)
{
	int rc;

	if (id_equal(&old, &by))
		return DYN_EINVAL;
	rc = dyn_plan_join(p, by);
	if (rc != 0)
		return rc;
	rc = dyn_plan_forget(p, old);
	if (rc != 0)
		p->count--; /* it holds no location */
	return rc;
}

int
dyn_plan_weight(dyn_plan *p, struct dyn_id id, unsigned weight)
{
	if (weight == 0 || weight > UINT16_MAX)
		return DYN_EINVAL;
	return add(p, &(struct order){ .id = id, .weight = (uint16_t)weight });
}

int
dyn_plan_location(dyn_plan *p, struct dyn_id id, const char *location)
{
	if (location == NULL)
		return DYN_EINVAL;
	return add(p, &(struct order){ .id = id, .location = location });
}

/* ---------------------------------------------------------------- what it means */

static bool
owned(const struct table *t, unsigned partition, const struct dyn_id *id)
{
	return table_rank(t, partition, id) < t->n;
}

static unsigned
seats_wanted(const struct view *v)
{
	unsigned count = 0;

	for (size_t i = 0; i < v->count; i++)
		count += v->records[i].state == RECORD_JOINED;
	return count;
}

/* Copies that get to a node which had none, in all and to one at most. */
static void
count_moves(const struct table *from, const struct table *to, unsigned *all, unsigned *most)
{
	*all = *most = 0;
	for (size_t seat = 0; seat < to->seats_count; seat++) {
		unsigned here = 0;

		for (unsigned p = 0; p < to->partitions; p++)
			here += table_owns(to, p, (unsigned)seat) &&
			    !owned(from, p, &to->seats[seat].node);
		*all += here;
		*most = MAX(*most, here);
	}
}

static void
estimate(dyn_node *n, const struct view *v, unsigned most, struct dyn_plan_figures *f)
{
	struct dyn_engine *e = n->host.engine;
	struct dyn_engine_info info = { 0, 0 };
	int seat = table_find(v->base, &n->host.self);
	unsigned here = seat >= 0 ? table_load(v->base, (unsigned)seat) : 0;

	if (e == NULL || here == 0 || e->info(e->self, &info) != 0)
		return;
	f->bytes = info.bytes / here * f->moves;
	f->seconds = info.bytes / here * most / BYTES_PER_S + 1;
}

int
dyn_plan_show(dyn_plan *p, struct dyn_plan_figures *out)
{
	struct dyn_plan_figures f = { .size = sizeof(f) };
	struct view *v, *next;
	struct table *t;
	unsigned most;
	int rc;

	if (p == NULL || out == NULL || out->size <= sizeof(out->size))
		return DYN_EINVAL;
	rc = node_check(p->node);
	if (rc != 0)
		return rc;
	v = host_view(&p->node->host);
	rc = view_order(&next, v, p->orders, p->count);
	if (rc == 0) {
		rc = view_next(&t, next);
		view_unref(next);
	}
	if (rc == 0) {
		f.epoch = v->current->epoch;
		f.moving = view_phase(v) != VIEW_SETTLED;
		f.members = (unsigned)v->current->seats_count;
		f.members_then = (unsigned)t->seats_count;
		f.partitions = t->partitions;
		f.under_replicated = table_short(t);
		f.zones = table_zones(v->current);
		f.zones_then = table_zones(t);
		f.crowded = table_crowded(v->current);
		f.crowded_then = table_crowded(t);
		count_moves(v->current, t, &f.moves, &most);
		estimate(p->node, v, most, &f);
		table_unref(t);
		memcpy((char *)out + sizeof(size_t), (char *)&f + sizeof(size_t),
		    MIN(out->size, sizeof(f)) - sizeof(size_t));
	}
	view_unref(v);
	return rc;
}

/* ------------------------------------------------------------------ committing */

static bool
covers(const struct view *v, const struct order *o)
{
	const struct record *r = view_find(v, &o->id);

	return r != NULL && r->state >= o->state &&
	    (o->weight == 0 || record_weight(r) == o->weight) &&
	    (o->location == NULL || strcmp(r->ordered_location, o->location) == 0);
}

static bool
has_left(const struct view *v, const struct order *o)
{
	const struct record *r = view_find(v, &o->id);

	return r != NULL && !record_is_here(r);
}

/* Until the published view is so for all orders, or the node has failed. */
static int
await(struct host *h, const struct dyn_plan *p,
    bool (*is_so)(const struct view *, const struct order *), const struct timespec *until)
{
	int rc = 0;

	pthread_mutex_lock(&h->lock);
	for (;;) {
		size_t i = 0;

		while (i < p->count && is_so(h->view, &p->orders[i]))
			i++;
		if (i == p->count || rc != 0 || h->failure.code != 0)
			break;
		rc = pthread_cond_timedwait(&h->changed, &h->lock, until);
	}
	/* A node that was forgotten has failed, and that may be what was asked for. */
	if (h->failure.code != 0 && h->failure.code != DYN_ELEFT)
		rc = h->failure.code;
	else if (rc != 0)
		rc = DYN_ETIMEOUT;
	pthread_mutex_unlock(&h->lock);
	return rc;
}

static int
commit(dyn_plan *p, const struct timespec *until)
{
	struct view *v = host_view(&p->node->host), *next;
	int rc = view_order(&next, v, p->orders, p->count);

	if (rc == 0 && seats_wanted(next) == 0)
		rc = DYN_EINVAL;
	else if (rc == 0)
		rc = gossip_change(p->node->host.gossip, next);
	if (rc == 0)
		rc = await(&p->node->host, p, covers, until);
	view_unref(next);
	view_unref(v);
	return rc;
}

int
dyn_plan_commit(dyn_plan *p, unsigned timeout_ms)
{
	struct timespec until;
	int rc;

	if (p == NULL || p->count == 0)
		return DYN_EINVAL;
	rc = node_check(p->node);
	if (rc == 0 && callback_inside())
		rc = DYN_EDEADLK;
	if (rc != 0)
		return rc;
	host_deadline(&until, timeout_ms != 0 ? timeout_ms : p->node->timeout_ms);
	return commit(p, &until);
}

int
dyn_leave(dyn_node *n, unsigned timeout_ms)
{
	struct timespec until;
	dyn_plan *p;
	int rc;

	rc = dyn_plan_new(&p, n);
	if (rc == 0 && (n->host.role != DYN_PEER || timeout_ms == 0))
		rc = DYN_EINVAL;
	if (rc == 0 && callback_inside())
		rc = DYN_EDEADLK;
	if (rc == 0)
		rc = dyn_plan_leave(p, n->host.self);
	if (rc == 0) {
		host_deadline(&until, timeout_ms);
		rc = commit(p, &until);
	}
	if (rc == 0)
		rc = await(&n->host, p, has_left, &until);
	dyn_plan_free(p);
	return rc;
}
