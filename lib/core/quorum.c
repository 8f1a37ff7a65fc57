/* The tally: counting, nothing else. */
#include "core/quorum.h"

static struct ballot *
enter(struct quorum *q, const struct view *v, uint16_t member, unsigned groups)
{
	const struct record *r = &v->records[member];
	struct ballot *b = quorum_find(q, &r->id);

	if (b == NULL) {
		DYN_ASSERT(q->count < QUORUM_NODES);
		b = &q->ballot[q->count++];
		memset(b, 0, sizeof(*b));
		b->node = r->id;
		record_machine(r, &b->machine);
		record_zone(r, &b->zone);
	}
	b->member = member;
	b->groups |= (uint8_t)groups;
	return b;
}

void
quorum_init(struct quorum *q, const struct view *v, const struct group *groups, unsigned count,
    unsigned need, unsigned zones_need)
{
	DYN_ASSERT(count >= 1 && count <= 2 && need >= 1);
	q->count = 0;
	q->groups = count;
	q->need = need;
	q->zones_need = zones_need;
	q->strict = false;
	for (unsigned g = 0; g < count; g++)
		for (unsigned i = 0; i < groups[g].count; i++)
			(void)enter(q, v, groups[g].member[i], 1u << g);
}

struct ballot *
quorum_stand_in(struct quorum *q, const struct view *v, uint16_t member,
    const struct ballot *owner)
{
	struct ballot *b;

	DYN_ASSERT(quorum_find(q, &v->records[member].id) == NULL);
	if (q->count == QUORUM_NODES)
		return NULL;
	b = enter(q, v, member, owner->groups);
	b->standin = true;
	b->owner = owner->node;
	return b;
}

/* In the newer view too? */
static bool
still_stands_in(struct quorum *q, const struct ballot *old, const struct view *v, long *member)
{
	const struct record *r = view_find(v, &old->node);

	if (r == NULL || quorum_find(q, &old->node) != NULL)
		return false;
	*member = r - v->records;
	return quorum_find(q, &old->owner) != NULL;
}

void
quorum_rebase(struct quorum *q, const struct view *v, const struct group *groups, unsigned count)
{
	struct quorum old = *q;

	quorum_init(q, v, groups, count, old.need, old.zones_need);
	q->strict = old.strict;
	for (unsigned i = 0; i < old.count; i++) {
		struct ballot *b = quorum_find(q, &old.ballot[i].node);
		long member;

		if (b == NULL && old.ballot[i].standin &&
		    still_stands_in(q, &old.ballot[i], v, &member))
			b = quorum_stand_in(q, v, (uint16_t)member,
			    quorum_find(q, &old.ballot[i].owner));
		if (b == NULL || b->standin != old.ballot[i].standin)
			continue;
		b->vote = old.ballot[i].vote;
		b->on_disk = old.ballot[i].on_disk;
		b->round = old.ballot[i].round;
		b->rc = old.ballot[i].rc;
	}
}

struct ballot *
quorum_find(struct quorum *q, const struct dyn_id *node)
{
	for (unsigned i = 0; i < q->count; i++)
		if (memcmp(&q->ballot[i].node, node, sizeof(*node)) == 0)
			return &q->ballot[i];
	return NULL;
}

static bool
votes_in(const struct ballot *b, unsigned votes)
{
	return (votes >> b->vote & 1) != 0;
}

/* Distinct machines (or zones) among the ballots of a group whose vote is in
 * the set.  Quadratic in at most 16. */
static unsigned
distinct(const struct quorum *q, unsigned groups, unsigned votes, bool zones)
{
	const struct digest *seen[QUORUM_NODES];
	unsigned count = 0;

	for (unsigned i = 0; i < q->count; i++) {
		const struct ballot *b = &q->ballot[i];
		const struct digest *d = zones ? &b->zone : &b->machine;
		unsigned j = 0;

		if ((b->groups & groups) == 0 || !votes_in(b, votes) ||
		    (q->strict && b->standin))
			continue;
		while (j < count && digest_compare(seen[j], d) != 0)
			j++;
		if (j == count)
			seen[count++] = d;
	}
	return count;
}

static bool
meets(const struct quorum *q, unsigned votes)
{
	for (unsigned g = 0; g < q->groups; g++) {
		if (distinct(q, 1u << g, votes, false) < q->need)
			return false;
		if (q->zones_need > 1 && distinct(q, 1u << g, votes, true) < q->zones_need)
			return false;
	}
	return true;
}

/* EMPTY counts beside one who knows, in each group. */
static bool
meets_beside(const struct quorum *q, unsigned votes)
{
	for (unsigned g = 0; g < q->groups; g++)
		if (distinct(q, 1u << g, votes, false) == 0)
			return false;
	return meets(q, votes | 1u << VOTE_EMPTY);
}

bool
quorum_enough(const struct quorum *q)
{
	return meets_beside(q, 1u << VOTE_YES);
}

bool
quorum_possible(const struct quorum *q, bool idle_too)
{
	return meets_beside(q,
	    1u << VOTE_YES | 1u << VOTE_WAITING | (idle_too ? 1u << VOTE_IDLE : 0));
}

unsigned
quorum_votes(const struct quorum *q, enum vote vote)
{
	unsigned count = 0;

	for (unsigned i = 0; i < q->count; i++)
		count += q->ballot[i].vote == vote;
	return count;
}

static unsigned
owners_with(const struct quorum *q, unsigned group)
{
	unsigned count = 0;

	for (unsigned i = 0; i < q->count; i++)
		count += q->ballot[i].vote == VOTE_YES && !q->ballot[i].standin &&
		    (q->ballot[i].groups >> group & 1) != 0;
	return count;
}

void
quorum_receipt(const struct quorum *q, struct dyn_receipt *r)
{
	/* Reads go by one group, and the caller cannot know by which: what all owners
	 * have, those of both groups have. */
	r->owners = owners_with(q, 0);
	for (unsigned g = 1; g < q->groups; g++)
		r->owners = MIN(r->owners, owners_with(q, g));
	r->standins = 0;
	r->machines = distinct(q, 3, 1u << VOTE_YES, false);
	r->zones = distinct(q, 3, 1u << VOTE_YES, true);
	r->on_disk = 0;
	for (unsigned i = 0; i < q->count; i++) {
		const struct ballot *b = &q->ballot[i];

		r->standins += b->vote == VOTE_YES && b->standin;
		r->on_disk += b->vote == VOTE_YES && b->on_disk;
	}
}
