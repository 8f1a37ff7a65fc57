/*
 * Who stands in for an owner that cannot be reached (paper 4.6: "the first N
 * healthy nodes from the preference list").
 *
 * Every node derives the same endless preference list of a partition (table.h):
 * its owners, then all others in rendezvous order, other machines first.  So a
 * reader who finds the same owner down asks the same stand-in as the writer
 * did, without having heard of it.
 *
 * Invariant: at most one stand-in an owner that has the copy or may still get
 * it; a further one is taken only when that one failed.
 */
#include "core/request.h"

/* Does somebody already stand in for this owner, or may it yet? */
static bool
is_covered(const struct quorum *q, const struct dyn_id *owner)
{
	for (unsigned i = 0; i < q->count; i++) {
		const struct ballot *b = &q->ballot[i];

		if (b->standin && id_equal(&b->owner, owner) && b->vote != VOTE_NO &&
		    b->vote != VOTE_LOST)
			return true;
	}
	return false;
}

/* Two copies on one machine are one copy. */
static bool
machine_is_in(const struct quorum *q, const struct record *r)
{
	struct digest machine;

	record_machine(r, &machine);
	for (unsigned i = 0; i < q->count; i++)
		if (digest_compare(&q->ballot[i].machine, &machine) == 0)
			return true;
	return false;
}

struct ballot *
standin_add(struct work *w, const struct request *r, struct quorum *q, const struct ballot *failed)
{
	const struct table *t = r->view->current;
	const struct dyn_id owner = failed->standin ? failed->owner : failed->node;
	uint16_t seats[LIMIT_MEMBERS];
	const uint16_t *owners;
	unsigned skip = table_owners(t, r->partition, &owners);
	size_t count;

	if (is_covered(q, &owner))
		return NULL;
	count = table_preference(t, r->partition, seats);
	for (size_t i = skip; i < count; i++) {
		uint16_t member = r->view->member[2][seats[i]];
		const struct record *rec = &r->view->records[member];

		if (rec->state != RECORD_JOINED || quorum_find(q, &rec->id) != NULL ||
		    machine_is_in(q, rec) || peer_is_down(r, w, &rec->id))
			continue;
		return quorum_stand_in(q, r->view, member, quorum_find(q, &owner));
	}
	return NULL;
}

void
standin_add_all(struct work *w, const struct request *r, struct quorum *q)
{
	unsigned owners = q->count;

	for (unsigned i = 0; i < owners; i++)
		if (!q->ballot[i].standin && q->ballot[i].vote == VOTE_NO)
			(void)standin_add(w, r, q, &q->ballot[i]);
}

bool
standin_is_self(const struct work *w)
{
	const struct record *rec = w->view != NULL ? view_find(w->view, &w->o.self) : NULL;

	return w->stores && rec != NULL && rec->state == RECORD_JOINED;
}

const struct record *
standin_choose(struct work *w, const struct request *r,
    bool (*refused)(const void *arg, const struct dyn_id *), const void *arg)
{
	const struct table *t = r->view->current;
	uint16_t seats[LIMIT_MEMBERS];
	const uint16_t *owners;
	unsigned skip = table_owners(t, r->partition, &owners);
	size_t count = table_preference(t, r->partition, seats);

	for (size_t i = skip; i < count; i++) {
		const struct record *rec = &r->view->records[r->view->member[2][seats[i]]];

		if (rec->state == RECORD_JOINED && !refused(arg, &rec->id) &&
		    !peer_is_down(r, w, &rec->id))
			return rec;
	}
	return NULL;
}

/* What the stand-in knows of a key lies in one row an owner. */
int
standin_known(struct work *w, const struct view *v, struct dyn_slice name, struct buf **out)
{
	unsigned partition = name_partition(name, v->settings.partitions);
	struct group g[2];
	unsigned groups = view_writers(v, partition, g);
	unsigned char id[HINT_ID_MAX];
	int rc = 0;

	*out = NULL;
	for (unsigned k = 0; k < groups; k++)
		for (unsigned i = 0; i < g[k].count && rc >= 0; i++) {
			const struct dyn_id *owner = &v->records[g[k].member[i]].id;
			struct buf *hint, *both = NULL;

			rc = store_get(&w->store, place_of_hint(owner, name, id), &hint);
			if (rc != 0 || hint == NULL)
				continue;
			rc = object_merge(buf_slice(*out), buf_slice(hint), &both);
			if (rc == OBJECT_RIGHT)
				both = buf_ref(hint);
			if (both != NULL) {
				buf_unref(*out);
				*out = both;
			}
			buf_unref(hint);
		}
	if (rc >= 0)
		return 0;
	buf_unref(*out);
	*out = NULL;
	return rc;
}
