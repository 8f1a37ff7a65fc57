/*
 * Members (paper 4.8.1, 4.8.2): the life of a node in its ring, and what its
 * own record says.  Messages are in member_gossip.c.
 */
#include "core/member_private.h"

#include <stdarg.h>
#include <stdio.h>

#define PARTITIONS_DEFAULT 1024
#define N_DEFAULT 3
/* Two processes overtake each other about once a second; see overtake. */
#define OVERTAKEN_RAISE 1000
#define OVERTAKEN_MAX 5
#define OVERTAKEN_MAX_NEW 2
#define OVERTAKEN_NEW (60 * NS_PER_S)
#define OVERTAKEN_FORGET (2 * NS_PER_S)

void
member_fail(struct member *m, struct outbox *out, int rc, const char *fmt, ...)
{
	char text[200];
	struct effect *fx;
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	m->state = MEMBER_FAILED;
	fx = outbox_add(out, FX_FAIL);
	fx->rc = rc;
	fx->frame = buf_copy(text, strlen(text) + 1);
}

/* ------------------------------------------------------------ my own record */

/* The view with my record as I have it. */
static int
put_self(struct member *m, struct view **v)
{
	struct view *next;
	int rc = view_with(&next, *v, &m->self);

	if (rc != 0)
		return rc;
	view_unref(*v);
	*v = next;
	return 0;
}

/*
 * A record of mine that is newer than mine is one that I did not write in this
 * life.  Either my directory was rolled back or is new: then one step above it is
 * enough, and what I had may be gone.  It is a large step, since others may know of
 * later lives than this one does.  Or another process has my id (a copied
 * directory): then it comes again, and who was overtaken too often is fenced, the
 * one that came last before the one that was here.  The other goes on with copies
 * that lack what the fenced one stored, so it too has lost something.
 */
static void
overtake(struct member *m, const struct record *theirs, struct moment now, struct outbox *out)
{
	bool is_new = now.now < m->born_at + OVERTAKEN_NEW;
	uint64_t forgotten = (now.now - m->overtaken_at) / OVERTAKEN_FORGET;

	outbox_log(out, DYN_LOG_WARNING,
	    "somebody has a newer record of this node (incarnation %llu, at %s); mine was "
	    "%llu: lost, rolled back or copied data directory?",
	    (unsigned long long)theirs->incarnation, theirs->address,
	    (unsigned long long)m->self.incarnation);
	m->self.incarnation = theirs->incarnation + OVERTAKEN_RAISE;
	m->self.stamp = 1;
	m->overtaken -= (unsigned)MIN(m->overtaken, forgotten);
	m->overtaken_at = now.now;
	outbox_add(out, FX_LOST);
	if (++m->overtaken >= (is_new ? OVERTAKEN_MAX_NEW : OVERTAKEN_MAX) ||
	    m->self.incarnation < OVERTAKEN_RAISE)
		member_fail(m, out, DYN_EFENCED,
		    "another process, at %s, runs with this node's id: a copied data "
		    "directory",
		    theirs->address);
}

/* Nobody waits for who is no member, so it makes no table, and takes nobody in (view.c,
 * forks).  Nor does who leaves: at any moment it may have been let go. */
bool
member_is_joined(const struct member *m, const struct view *v)
{
	const struct record *self = view_find(v, &m->self.id);

	return self != NULL && self->state == RECORD_JOINED;
}

static bool
counts(const struct member *m, const struct view *v)
{
	const struct record *self = view_find(v, &m->self.id);

	return self != NULL && record_is_member(self);
}

/* All my reads go by current from now on: say so. */
static bool
mark_reading(struct member *m, const struct view *v)
{
	if (view_phase(v) != VIEW_SWITCHED || m->self.reading || !counts(m, v) ||
	    !record_synced(&m->self, v->current))
		return false;
	m->self.reading = 1;
	m->self.stamp++;
	return true;
}

/* My record and the steps that are due, until nothing changes. */
static int
settle(struct member *m, struct view **v, struct moment now, struct outbox *out)
{
	const struct record *mine = view_find(*v, &m->self.id);
	struct view *next;
	int rc;

	if (mine != NULL && record_compare(mine, &m->self) > 0)
		overtake(m, mine, now, out);
	do {
		rc = put_self(m, v);
		if (rc == 0 && member_is_joined(m, *v)) {
			rc = view_settle(&next, *v);
			if (rc == 0) {
				view_unref(*v);
				*v = next;
			}
		}
		if (rc != 0)
			return rc;
	} while (mark_reading(m, *v));
	return 0;
}

/* --------------------------------------------------------------- my view */

static void
publish(struct member *m, struct view *v, struct moment now, struct outbox *out)
{
	view_unref(m->view);
	buf_unref(m->bytes);
	m->bytes = NULL;
	m->view = v;
	outbox_add(out, FX_VIEW)->view = view_ref(v);
	if (m->state != MEMBER_IN)
		return;
	if (now.now >= m->pushed_at + PUSH_GAP)
		gossip_push(m, now, out);
	else
		m->push_at = MIN(m->push_at, m->pushed_at + PUSH_GAP);
}

/* What others decided of this node. */
static void
look_at_self(struct member *m, const struct view *v, struct outbox *out)
{
	const struct record *now = view_find(v, &m->self.id);

	if (now == NULL || now->state == m->self.state)
		return;
	m->self.state = now->state;
	if (now->state == RECORD_FORGOTTEN)
		member_fail(m, out, DYN_ELEFT, "this node was forgotten by the ring");
	else
		outbox_log(out, DYN_LOG_INFO, "this node %s",
		    now->state == RECORD_LEFT ? "has left the ring" :
		    now->state == RECORD_LEAVING ? "leaves the ring" : "joins the ring");
}

/* All members follow a table before it answers reads.  If one does that this node knows
 * nothing of, it was this node's directory that followed, as it was later than this. */
static bool
has_missed(const struct member *m, const struct view *v)
{
	const struct table *before = m->view != NULL ? m->view->base : NULL;

	return before != NULL && v->base != NULL && table_compare(v->base, before) != 0 &&
	    table_compare(v->base, m->view->current) != 0 &&
	    table_find(v->base, &m->self.id) >= 0;
}

/* v (owned) with all that follows from it is the view now. */
static int
adopt(struct member *m, struct view *v, struct moment now, struct outbox *out)
{
	struct record before = m->self;
	int rc;

	if (m->state == MEMBER_IN) {
		rc = settle(m, &v, now, out);
		if (rc != 0) {
			m->self = before;
			view_unref(v);
			return rc;
		}
	}
	if (m->state == MEMBER_IN && has_missed(m, v)) {
		outbox_log(out, DYN_LOG_WARNING,
		    "table %llu came to be without this node: rolled back data directory?",
		    (unsigned long long)v->base->epoch);
		outbox_add(out, FX_LOST);
	}
	if (m->view != NULL && view_equal(v, m->view))
		view_unref(v);
	else
		publish(m, v, now, out);
	if (m->state == MEMBER_IN)
		look_at_self(m, m->view, out);
	return 0;
}

/* A table that follows ours must be what we would make of it ourselves. */
static void
verify(struct member *m, const struct view *v, struct outbox *out)
{
	const struct table *mine = m->view->current, *its = v->current;

	if (its == NULL || mine == NULL ||
	    digest_compare(&its->parent, &mine->digest) != 0)
		return;
	if (table_verify(its, mine) == 0)
		outbox_log(out, DYN_LOG_ERROR,
		    "table %llu is not what this version of libdyn makes of table %llu",
		    (unsigned long long)its->epoch, (unsigned long long)mine->epoch);
}

/* See STALE in member.h. */
static bool
is_stale(const struct member *m, const struct view *v)
{
	return m->state == MEMBER_IN && counts(m, v) && v->base != NULL &&
	    v->base->collected > MAX(m->view->current->epoch, m->cleared);
}

static void
hold(struct member *m, struct view *v, struct outbox *out)
{
	if (m->held == NULL) {
		outbox_log(out, DYN_LOG_WARNING,
		    "the data directory is older than what the ring has forgotten: it is "
		    "cleared, and filled again by the others");
		outbox_add(out, FX_STALE);
	}
	view_unref(m->held);
	m->held = v;
}

int
member_take(struct member *m, struct view *v, struct moment now, struct outbox *out)
{
	struct view *merged;
	int rc;

	if (m->view == NULL)
		return adopt(m, view_ref(v), now, out);
	rc = view_merge(&merged, m->held != NULL ? m->held : m->view, v);
	if (rc != 0)
		return rc;
	if (is_stale(m, merged)) {
		hold(m, merged, out);
		return 0;
	}
	verify(m, v, out);
	return adopt(m, merged, now, out);
}

void
member_cleared(struct member *m, struct moment now, struct outbox *out)
{
	struct view *v = m->held;

	if (v == NULL || m->state != MEMBER_IN)
		return;
	m->held = NULL;
	m->cleared = v->base->collected;
	if (member_take(m, v, now, out) != 0)
		outbox_log(out, DYN_LOG_WARNING, "no memory for a new view");
	view_unref(v);
}

/* ------------------------------------------------------------ joining */

static void
other_settings(struct member *m, const struct settings *s, struct outbox *out)
{
	const struct settings *e = &m->expected;

	if (strcmp(s->name, e->name) != 0)
		member_fail(m, out, DYN_ERING, "the ring is named \"%s\", not \"%s\"",
		    s->name, e->name);
	else if (e->n != 0 && s->n != e->n)
		member_fail(m, out, DYN_ERING, "the ring has n = %u, not %u", s->n, e->n);
	else if (e->partitions != 0 && s->partitions != e->partitions)
		member_fail(m, out, DYN_ERING, "the ring has %u partitions, not %u",
		    (unsigned)s->partitions, (unsigned)e->partitions);
	else
		member_fail(m, out, DYN_ERING, "the ring has another hash");
}

int
member_enter(struct member *m, struct view *v, struct moment now, struct outbox *out)
{
	struct view *merged;
	int rc;

	rc = view_merge(&merged, v, m->joining);
	if (rc == DYN_ERING)
		other_settings(m, &v->settings, out);
	if (rc != 0)
		return rc;
	m->state = MEMBER_IN;
	rc = adopt(m, merged, now, out);
	if (rc != 0) {
		m->state = MEMBER_JOINING;
		return rc;
	}
	outbox_log(out, DYN_LOG_INFO, "in the ring \"%s\" of %zu members, table %llu",
	    m->view->settings.name, m->view->count,
	    (unsigned long long)m->view->current->epoch);
	m->next_at = now.now + rng_below(&m->rng, GOSSIP_PERIOD);
	return 0;
}

static void
create(struct member *m, struct moment now, struct outbox *out)
{
	struct settings s = m->expected;
	struct view *v;
	int rc;

	if (s.partitions == 0)
		s.partitions = PARTITIONS_DEFAULT;
	if (s.n == 0)
		s.n = N_DEFAULT;
	rc = view_create(&v, &s, &m->self);
	if (rc != 0) {
		member_fail(m, out, rc, "cannot create a ring: %s", dyn_strerror(rc));
		return;
	}
	m->self = v->records[0];
	m->state = MEMBER_IN;
	m->next_at = now.now + GOSSIP_PERIOD;
	publish(m, v, now, out);
	outbox_log(out, DYN_LOG_INFO, "created the ring \"%s\", n = %u, %u partitions",
	    s.name, s.n, (unsigned)s.partitions);
}

/* What it has may be older than what the ring has forgotten, and its seat is another's. */
static void
gone(struct member *m, const struct record *r, struct outbox *out)
{
	member_fail(m, out, DYN_ELEFT,
	    r->state == RECORD_LEFT
		? "this node has left the ring; it can join as a new one, with an empty directory"
		: "this node was forgotten by the ring; it can join as a new one, with an empty "
		  "directory");
}

/* Back with old data: nobody is needed; tell the others where I am now. */
static int
come_back(struct member *m, struct view *saved, struct moment now, struct outbox *out)
{
	const struct record *old = view_find(saved, &m->self.id);
	int rc;

	if (old != NULL && !record_is_here(old)) {
		gone(m, old, out);
		return 0;
	}
	if (old != NULL) {
		m->self.incarnation = MAX(m->self.incarnation, old->incarnation + 1);
		m->self.synced_epoch = old->synced_epoch;
		m->self.synced = old->synced;
		m->self.less = old->less;
		m->self.reading = old->reading;
	}
	rc = view_joining(&m->joining, &m->expected, &m->self);
	if (rc == 0)
		rc = member_enter(m, saved, now, out);
	if (m->state == MEMBER_FAILED)
		return 0; /* said by FX_FAIL */
	for (unsigned i = 0; rc == 0 && i < m->seeds_count; i++)
		gossip_to(m, NULL, m->seeds[i], true, out);
	return rc;
}

/* ------------------------------------------------------------------- life */

static void
add_seed(struct member *m, const char *seed, bool first)
{
	if (*seed == '\0' || m->seeds_count == SEEDS_MAX)
		return;
	if (strcmp(seed, m->self.address) == 0)
		m->seeded_by_me |= first;
	else
		m->seeds[m->seeds_count++] = seed;
}

/* Cut the list at commas and spaces, in place. */
static int
split_seeds(struct member *m, const char *seeds)
{
	char *seed;
	bool first = true, end = false;

	m->seeds_text = mem_strdup(seeds != NULL ? seeds : "");
	if (m->seeds_text == NULL)
		return DYN_ENOMEM;
	seed = m->seeds_text;
	for (char *p = seed; !end; p++) {
		end = *p == '\0';
		if (!end && *p != ',' && *p != ' ')
			continue;
		*p = '\0';
		add_seed(m, seed, first);
		first = first && seed == p;
		seed = p + 1;
	}
	return 0;
}

static void
start_joining(struct member *m, struct moment now, struct outbox *out)
{
	/* With nobody to ask there is nobody to wait for. */
	bool alone = m->seeds_count == 0 && m->join == DYN_JOIN_AUTO;

	if (m->join == DYN_JOIN_CREATE || alone) {
		create(m, now, out);
		return;
	}
	if (m->seeds_count == 0)
		outbox_log(out, DYN_LOG_WARNING, "no seeds to join through");
	if (m->join == DYN_JOIN_AUTO && m->seeded_by_me)
		m->create_at = now.now + JOIN_CREATE_AFTER;
}

static int
start(struct member *m, const struct member_options *o, struct moment now,
    struct outbox *out)
{
	int rc;

	m->next_at = now.now;
	if (o->client) {
		m->state = MEMBER_CLIENT;
		return 0;
	}
	if (o->saved != NULL)
		return come_back(m, o->saved, now, out);
	rc = view_joining(&m->joining, &m->expected, &m->self);
	if (rc == 0)
		start_joining(m, now, out);
	return rc;
}

int
member_new(struct member **out, const struct member_options *o, struct moment now,
    struct outbox *outbox)
{
	struct member *m = mem_zalloc(sizeof(*m));
	int rc;

	*out = NULL;
	if (m == NULL)
		return DYN_ENOMEM;
	m->self = o->self;
	m->self.state = o->join == DYN_JOIN_WAIT ? RECORD_WAITING : RECORD_JOINED;
	m->self.stamp = 1;
	m->expected = o->settings;
	m->join = o->join;
	m->rng.state = o->seed;
	m->push_at = m->create_at = m->change_at = TIME_NEVER;
	m->born_at = m->overtaken_at = now.now;
	rc = split_seeds(m, o->seeds);
	if (rc == 0)
		rc = start(m, o, now, outbox);
	if (rc != 0) {
		member_free(m);
		return rc;
	}
	*out = m;
	return 0;
}

void
member_free(struct member *m)
{
	if (m == NULL)
		return;
	view_unref(m->view);
	view_unref(m->joining);
	view_unref(m->held);
	view_unref(m->change);
	buf_unref(m->ledger);
	buf_unref(m->bytes);
	mem_free(m->seeds_text);
	mem_free(m);
}

struct view *
member_view(const struct member *m)
{
	return m->view;
}

uint64_t
member_incarnation(const struct member *m)
{
	return m->self.incarnation;
}

uint64_t
member_wake(const struct member *m)
{
	if (m->state == MEMBER_FAILED)
		return TIME_NEVER;
	return MIN(MIN(m->next_at, m->change_at), MIN(m->push_at, m->create_at));
}

/* My record changed.  If there is no memory for it, the next round tries. */
static void
refresh(struct member *m, struct moment now, struct outbox *out)
{
	if (adopt(m, view_ref(m->view), now, out) != 0)
		outbox_log(out, DYN_LOG_WARNING, "no memory for a new view");
}

void
member_tick(struct member *m, struct moment now, struct outbox *out)
{
	if (m->state == MEMBER_JOINING && now.now >= m->create_at) {
		m->create_at = TIME_NEVER;
		create(m, now, out);
	}
	if (m->state == MEMBER_IN && now.now >= m->push_at)
		gossip_push(m, now, out);
	if (m->state == MEMBER_CLIENT && now.now >= m->change_at)
		gossip_tell_change(m, now, out);
	if (m->state == MEMBER_FAILED || now.now < m->next_at)
		return;
	m->tries = 0;
	if (m->state == MEMBER_IN) {
		m->next_at = now.now + GOSSIP_PERIOD;
		if (record_compare(view_find(m->view, &m->self.id), &m->self) != 0)
			refresh(m, now, out);
		gossip_round(m, out);
	} else if (m->view == NULL) {
		m->next_at = now.now + JOIN_RETRY;
		gossip_ask_seed(m, out);
	} else {
		m->next_at = now.now + CLIENT_POLL;
		gossip_ask_view(m, gossip_partner(m), NULL, out);
	}
}

void
member_synced(struct member *m, const struct view *by, struct moment now, struct outbox *out)
{
	const struct table *t = by->current;
	unsigned less = view_forgotten(by);

	if (m->state != MEMBER_IN || table_compare(t, m->view->current) != 0 ||
	    (record_synced(&m->self, t) && m->self.less >= less))
		return;
	if (!record_synced(&m->self, t))
		m->self.reading = 0;
	m->self.synced_epoch = t->epoch;
	m->self.synced = t->digest;
	m->self.less = (uint16_t)less;
	m->self.stamp++;
	refresh(m, now, out);
}

void
member_change(struct member *m, struct view *v, struct moment now, struct outbox *out)
{
	if (m->state == MEMBER_IN) {
		member_learn(m, v, now, out);
	} else if (m->state == MEMBER_CLIENT) {
		struct view *both = NULL;

		/* With what was ordered before and nobody has taken yet. */
		if (m->change == NULL || view_merge(&both, m->change, v) != 0)
			both = view_ref(v);
		view_unref(m->change);
		m->change = both;
		gossip_tell_change(m, now, out);
	}
}

void
member_collect(struct member *m, const struct table *t, struct moment now, struct outbox *out)
{
	if (m->state != MEMBER_IN || view_phase(m->view) != VIEW_SETTLED ||
	    table_compare(t, m->view->current) != 0 || m->self.collect == t->epoch)
		return;
	m->self.collect = t->epoch;
	m->self.stamp++;
	refresh(m, now, out);
}
