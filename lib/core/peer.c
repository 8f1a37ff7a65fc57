/*
 * What a worker knows of the other members: which of their workers serves a
 * partition, whether it is down, suspected or slow, and how fast it answers.
 */
#include "core/request.h"

#define LATENCY_SMOOTH 8 /* new estimate = 7/8 old + 1/8 measured */

static void
peer_free(void *arg, struct map_link *l)
{
	(void)arg;
	mem_free(CONTAINER_OF(l, struct peer, link));
}

void
peers_free(struct work *w)
{
	map_each(&w->peers, peer_free, NULL);
	map_fini(&w->peers);
}

unsigned
peer_worker(const struct view *v, const struct dyn_id *id, unsigned partition)
{
	const struct record *r = view_find(v, id);

	return r != NULL && r->workers > 0 ? partition % r->workers : 0;
}

static struct peer *
find_peer(const struct work *w, const struct dyn_id *id, unsigned worker)
{
	struct map_link *l = map_first(&w->peers, load_be64(id->bytes) + worker);

	for (; l != NULL; l = map_next(l)) {
		struct peer *p = CONTAINER_OF(l, struct peer, link);

		if (id_equal(&p->id, id) && p->worker == worker)
			return p;
	}
	return NULL;
}

struct peer *
peer_get(struct work *w, const struct dyn_id *id, unsigned worker)
{
	struct peer *p = find_peer(w, id, worker);

	if (p != NULL)
		return p;
	p = mem_zalloc(sizeof(*p));
	if (p == NULL)
		return NULL;
	p->id = *id;
	p->worker = worker;
	map_add(&w->peers, &p->link, load_be64(id->bytes) + worker);
	return p;
}

struct peer *
peer_find(const struct request *r, struct work *w, const struct dyn_id *id)
{
	return find_peer(w, id, peer_worker(r->view, id, r->partition));
}

bool
peer_is_down(const struct request *r, struct work *w, const struct dyn_id *id)
{
	const struct peer *p = peer_find(r, w, id);

	return p != NULL && (p->down || p->suspect);
}

void
peer_is_slow(const struct request *r, struct work *w, const struct dyn_id *id, struct moment m,
    struct outbox *out)
{
	struct peer *p = peer_get(w, id, peer_worker(r->view, id, r->partition));

	/* Once for all that wait: the detector asks for itself from there on. */
	if (p != NULL && p->slow_until > m.now + WORK_SLOW_FOR - WORK_SLOW_AFTER)
		return;
	if (p != NULL)
		p->slow_until = m.now + WORK_SLOW_FOR;
	outbox_add(out, FX_DOUBT)->to = *id;
}

void
quorum_slow(struct work *w, const struct request *r, const struct quorum *q, struct moment m,
    struct outbox *out)
{
	for (unsigned i = 0; i < q->count; i++)
		if (q->ballot[i].vote == VOTE_WAITING && !id_equal(&q->ballot[i].node, &w->o.self))
			peer_is_slow(r, w, &q->ballot[i].node, m, out);
}

void
peer_answered(const struct request *r, struct work *w, const struct dyn_id *id, struct moment m)
{
	struct peer *p = peer_get(w, id, peer_worker(r->view, id, r->partition));
	uint64_t ns = m.now - r->sent_at;

	if (p == NULL)
		return;
	p->slow_until = 0;
	if (p->latency == 0)
		p->latency = ns;
	else
		p->latency += ns / LATENCY_SMOOTH - p->latency / LATENCY_SMOOTH;
}

void
work_peer_up(struct work *w, const struct dyn_id *id, unsigned worker)
{
	struct peer *p = peer_get(w, id, worker);

	if (p != NULL)
		p->down = false;
}

void
work_peer_leaving(struct work *w, const struct dyn_id *id, unsigned worker)
{
	struct peer *p = peer_get(w, id, worker);

	if (p != NULL)
		p->down = true;
}
