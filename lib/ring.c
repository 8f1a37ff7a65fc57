/* Looking at the ring: members, owners of a key, status, statistics. */
#include "node.h"

#include "host/status.h"
#include "host/worker.h"

#include <semaphore.h>

_Static_assert((int)DYN_WAITING == RECORD_WAITING && (int)DYN_JOINED == RECORD_JOINED &&
    (int)DYN_LEAVING == RECORD_LEAVING, "membership is told as the view has it");

static void
fill_member(dyn_node *n, const struct view *v, const struct record *r, struct dyn_member *m)
{
	int seat = table_find(v->current, &r->id);

	m->id = r->id;
	memcpy(m->address, r->address, sizeof(m->address));
	memcpy(m->location, record_location(r), sizeof(m->location));
	m->weight = record_weight(r);
	m->membership = (enum dyn_membership)r->state;
	m->partitions = seat >= 0 ? table_load(v->current, (unsigned)seat) : 0;
	m->self = memcmp(&r->id, &n->host.self, sizeof(r->id)) == 0;
	m->liveness = DYN_LIVE;
	m->reachable = m->self ||
	    worker_reachable(n->host.workers[0], &r->id, &m->liveness);
	m->synced = r->synced_epoch == v->current->epoch &&
	    digest_compare(&r->synced, &v->current->digest) == 0;
	m->incarnation = r->incarnation;
}

int
dyn_members(dyn_node *n, struct dyn_member **out, size_t *count)
{
	struct dyn_member *list;
	struct view *v;
	int rc;

	if (out == NULL || count == NULL)
		return DYN_EINVAL;
	*out = NULL;
	*count = 0;
	rc = node_check(n);
	if (rc != 0)
		return rc;
	v = host_view(&n->host);
	DYN_ASSERT(v != NULL && v->current != NULL); /* dyn_open waited for it */
	list = mem_array(v->count, sizeof(*list));
	if (list == NULL) {
		view_unref(v);
		return DYN_ENOMEM;
	}
	for (size_t i = 0; i < v->count; i++)
		if (record_is_here(&v->records[i]))
			fill_member(n, v, &v->records[i], &list[(*count)++]);
	view_unref(v);
	*out = list;
	return 0;
}

void
dyn_members_free(struct dyn_member *list)
{
	mem_free(list);
}

int
dyn_locate(dyn_bucket *b, struct dyn_slice key, struct dyn_id *ids, size_t cap, size_t *count,
    size_t *owners, unsigned *partition)
{
	const uint16_t *list;
	struct buf *name;
	uint16_t *order;
	struct view *v;
	unsigned p;
	int rc;

	if (b == NULL || count == NULL || key.data == NULL || (ids == NULL && cap > 0))
		return DYN_EINVAL;
	rc = node_check(b->node);
	if (rc != 0)
		return rc;
	if (key.len > DYN_KEY_MAX)
		return DYN_ETOOBIG;
	rc = name_make((enum dyn_hash)b->node->ring.hash, dyn_str(b->name), key, &name);
	if (rc != 0)
		return rc;
	v = host_view(&b->node->host);
	p = name_partition(buf_slice(name), v->settings.partitions);
	buf_unref(name);
	order = mem_array(v->current->seats_count, sizeof(*order));
	if (order == NULL) {
		view_unref(v);
		return DYN_ENOMEM;
	}
	*count = table_preference(v->current, p, order);
	for (size_t i = 0; i < MIN(*count, cap); i++)
		ids[i] = v->current->seats[order[i]].node;
	if (owners != NULL)
		*owners = MIN(table_owners(v->current, p, &list), b->o.n);
	if (partition != NULL)
		*partition = p;
	mem_free(order);
	view_unref(v);
	return 0;
}

/* The caller's struct may be of an older or a newer header. */
static void
copy_out(void *to, size_t size, const void *from, size_t from_size)
{
	size_t len = MIN(size, from_size);

	memcpy((char *)to + sizeof(size_t), (const char *)from + sizeof(size_t),
	    len - sizeof(size_t));
}

int
dyn_status(dyn_node *n, struct dyn_status *out)
{
	struct dyn_status s;
	int rc;

	if (out == NULL || out->size <= sizeof(out->size))
		return DYN_EINVAL;
	rc = node_check(n);
	if (rc != 0)
		return rc;
	host_status(&n->host, &s);
	copy_out(out, out->size, &s, sizeof(s));
	return 0;
}

int
dyn_stats(dyn_node *n, struct dyn_stats *out)
{
	struct dyn_stats s;
	int rc;

	if (out == NULL || out->size <= sizeof(out->size))
		return DYN_EINVAL;
	rc = node_check(n);
	if (rc != 0)
		return rc;
	host_stats(&n->host, &s);
	copy_out(out, out->size, &s, sizeof(s));
	return 0;
}

/* ----------------------------------------------------------- other members */

struct waiting {
	struct status_ask ask;
	sem_t ended;
};

static void
status_ended(struct status_ask *a)
{
	sem_post(&CONTAINER_OF(a, struct waiting, ask)->ended);
}

static int
ask_member(dyn_node *n, const struct dyn_id *id, unsigned timeout_ms, struct dyn_status *st,
    struct dyn_stats *sa)
{
	struct waiting w;
	int rc;

	memset(&w, 0, sizeof(w));
	sem_init(&w.ended, 0, 0);
	w.ask.to = *id;
	w.ask.until = clock_now() + timeout_ms * NS_PER_MS;
	w.ask.done = status_ended;
	worker_ask_status(n->host.workers[0], &w.ask);
	while (sem_wait(&w.ended) != 0)
		continue;
	sem_destroy(&w.ended);
	rc = w.ask.rc;
	if (rc == 0)
		rc = status_read(buf_slice(w.ask.status), st);
	if (rc == 0)
		rc = stats_read(buf_slice(w.ask.stats), sa);
	buf_unref(w.ask.status);
	buf_unref(w.ask.stats);
	return rc;
}

int
dyn_member_status(dyn_node *n, struct dyn_id id, unsigned timeout_ms, struct dyn_status *status,
    struct dyn_stats *stats)
{
	struct dyn_status st;
	struct dyn_stats sa;
	struct view *v;
	bool known;
	int rc;

	if (status == NULL || status->size <= sizeof(status->size) ||
	    (stats != NULL && stats->size <= sizeof(stats->size)))
		return DYN_EINVAL;
	rc = node_check(n);
	if (rc != 0)
		return rc;
	if (callback_inside())
		return DYN_EDEADLK;
	v = host_view(&n->host);
	known = view_find(v, &id) != NULL;
	view_unref(v);
	if (memcmp(&id, &n->host.self, sizeof(id)) == 0) {
		host_status(&n->host, &st);
		host_stats(&n->host, &sa);
	} else {
		rc = known ? ask_member(n, &id, timeout_ms != 0 ? timeout_ms : n->timeout_ms,
		                 &st, &sa)
		           : DYN_ENOTFOUND;
	}
	if (rc != 0)
		return rc;
	copy_out(status, status->size, &st, sizeof(st));
	if (stats != NULL)
		copy_out(stats, stats->size, &sa, sizeof(sa));
	return 0;
}
