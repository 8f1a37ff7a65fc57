/*
 * What a worker knows of the other members: which of their workers serves a
 * partition, whether it is down, suspected or slow, how near it is and how fast it
 * answers.
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

/* Labels from the left that two locations share.  Empty ones are equal, as they are to
 * placement, but an unknown machine is no machine. */
static unsigned
labels_shared(const char *a, const char *b)
{
	for (unsigned label = 0; label < 4; label++) {
		size_t len = strcspn(a, "/");

		if (strcspn(b, "/") != len || memcmp(a, b, len) != 0 || (label == 3 && len == 0))
			return label;
		a += len + (a[len] == '/');
		b += len + (b[len] == '/');
	}
	return 4;
}

unsigned
peer_nearness(const struct work *w, const struct view *v, const struct record *r)
{
	const struct record *self = view_find(v, &w->o.self);
	const char *here = self != NULL ? record_location(self) : w->o.location;

	if (self == r)
		return PEER_SELF;
	return labels_shared(here != NULL ? here : "", record_location(r));
}

void
group_by_nearness(const struct work *w, const struct view *v, struct group *g)
{
	unsigned near[DYN_N_MAX];

	for (unsigned i = 0; i < g->count; i++) {
		uint16_t member = g->member[i];
		unsigned how = peer_nearness(w, v, &v->records[member]), at = i;

		for (; at > 0 && near[at - 1] < how; at--) {
			near[at] = near[at - 1];
			g->member[at] = g->member[at - 1];
		}
		near[at] = how;
		g->member[at] = member;
	}
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
