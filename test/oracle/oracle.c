/*
 * Design.  Writes stand in an array in the order in which they began, found by
 * id through a map; reads and final states each in theirs, their ids in one
 * pool.  A parent always began before its child, so one pass from the last
 * write to the first carries to each write what its descendants say of it:
 *
 *	replaced	the earliest time from which a write that had seen it, and did
 *			not fail, may have been there
 *	gone[w]		the earliest time at which such a write was acknowledged by
 *			at least w owners
 *	covered		a descendant stands in the final state, or is a delete that
 *			did not fail, or may have expired
 *
 * With these each rule is a comparison per (write, answer) of one key.
 *
 * Every rule errs on the side of the store: an unknown write may or may not
 * have happened, and a delete that may have happened excuses a loss, as does what
 * may have expired.
 */
#include "test/oracle/oracle.h"

#include "base/base.h"
#include "base/hash.h"
#include "base/map.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define NEVER UINT64_MAX
#define W_MAX 16
#define NONE SIZE_MAX

struct span {
	size_t at, count; /* in the pool of ids */
};

struct write {
	struct map_link link;
	struct oracle_write is; /* parents: in the pool */
	struct span parents;
	uint64_t began, ended;
	enum oracle_outcome outcome;
	struct oracle_receipt receipt;
	size_t next;            /* older write of the same key, or NONE */
	uint64_t replaced, gone[W_MAX + 1];
	bool in_final, covered;
	bool restamped;         /* it was seen with two stamps */
	uint64_t visited;       /* by which walk, last */
};

struct read {
	struct oracle_read is; /* ids: in the pool */
	struct span ids;
};

struct final {
	uint64_t at, key;
	unsigned node;
	struct span ids;
};

struct key {
	struct map_link link;
	uint64_t key;
	size_t last;            /* write, or NONE */
	size_t overwrite;       /* is there one? the last, or NONE */
	size_t final;           /* the first final state, or NONE */
};

struct array {
	void *items;
	size_t count, cap, size;
};

struct oracle {
	struct oracle_options o;
	struct map by_id, keys;
	struct array writes;    /* struct write *: the map holds their addresses */
	struct array key_list;  /* struct key * */
	struct array reads, finals, pool, violations;
	uint64_t walk;          /* number of the present one */
};

static void
need(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "oracle: %s\n", what);
	abort();
}

/* Room for one more item. */
static void *
array_add(struct array *a, size_t size)
{
	if (a->count == a->cap) {
		a->cap = a->cap == 0 ? 64 : a->cap * 2;
		a->items = realloc(a->items, a->cap * size);
		need(a->items != NULL, "out of memory");
	}
	return memset((char *)a->items + size * a->count++, 0, size);
}

static struct write *
write_at(const struct oracle *o, size_t i)
{
	return ((struct write **)o->writes.items)[i];
}

static struct write *
write_find(const struct oracle *o, uint64_t id)
{
	for (struct map_link *l = map_first(&o->by_id, mix64(id)); l != NULL; l = map_next(l)) {
		struct write *w = CONTAINER_OF(l, struct write, link);

		if (w->is.id == id)
			return w;
	}
	return NULL;
}

static struct key *
key_get(struct oracle *o, uint64_t key)
{
	struct key *k;

	for (struct map_link *l = map_first(&o->keys, mix64(key)); l != NULL; l = map_next(l)) {
		k = CONTAINER_OF(l, struct key, link);
		if (k->key == key)
			return k;
	}
	k = calloc(1, sizeof(*k));
	need(k != NULL, "out of memory");
	*k = (struct key){ .key = key, .last = NONE, .overwrite = NONE, .final = NONE };
	map_add(&o->keys, &k->link, mix64(key));
	*(struct key **)array_add(&o->key_list, sizeof(struct key *)) = k;
	return k;
}

static struct span
keep(struct oracle *o, const uint64_t *ids, size_t count)
{
	struct span s = { o->pool.count, count };

	for (size_t i = 0; i < count; i++)
		*(uint64_t *)array_add(&o->pool, sizeof(uint64_t)) = ids[i];
	return s;
}

static uint64_t
id_at(const struct oracle *o, struct span s, size_t i)
{
	return ((const uint64_t *)o->pool.items)[s.at + i];
}

static bool
holds(const struct oracle *o, struct span s, uint64_t id)
{
	for (size_t i = 0; i < s.count; i++)
		if (id_at(o, s, i) == id)
			return true;
	return false;
}

struct oracle *
oracle_new(const struct oracle_options *options)
{
	struct oracle *o = calloc(1, sizeof(*o));

	need(o != NULL, "out of memory");
	if (options != NULL)
		o->o = *options;
	need(map_init(&o->by_id, 1024) == 0 && map_init(&o->keys, 64) == 0, "out of memory");
	return o;
}

void
oracle_free(struct oracle *o)
{
	if (o == NULL)
		return;
	for (size_t i = 0; i < o->writes.count; i++)
		free(write_at(o, i));
	for (size_t i = 0; i < o->key_list.count; i++)
		free(((struct key **)o->key_list.items)[i]);
	for (size_t i = 0; i < o->violations.count; i++)
		free((char *)(uintptr_t)((struct oracle_violation *)o->violations.items)[i].story);
	free(o->writes.items);
	free(o->key_list.items);
	free(o->reads.items);
	free(o->finals.items);
	free(o->pool.items);
	free(o->violations.items);
	map_fini(&o->by_id);
	map_fini(&o->keys);
	free(o);
}

/* ------------------------------------------------------------- the record */

void
oracle_write_begin(struct oracle *o, uint64_t now, const struct oracle_write *w)
{
	struct write *x = calloc(1, sizeof(*x));
	struct key *k = key_get(o, w->key);

	need(x != NULL, "out of memory");
	need(w->id != 0 && write_find(o, w->id) == NULL, "a write id is used twice");
	for (size_t i = 0; i < w->parents_count; i++)
		need(write_find(o, w->parents[i]) != NULL, "a parent that nobody wrote");
	x->is = *w;
	x->parents = keep(o, w->parents, w->parents_count);
	x->is.parents = NULL;
	x->began = now;
	x->ended = NEVER;
	x->next = k->last;
	k->last = o->writes.count;
	if (w->kind == ORACLE_OVERWRITE)
		k->overwrite = k->last;
	map_add(&o->by_id, &x->link, mix64(w->id));
	*(struct write **)array_add(&o->writes, sizeof(struct write *)) = x;
}

void
oracle_write_end(struct oracle *o, uint64_t now, uint64_t id, enum oracle_outcome outcome,
    const struct oracle_receipt *receipt)
{
	struct write *x = write_find(o, id);

	need(x != NULL && x->outcome == ORACLE_PENDING, "an end without a begin");
	need((outcome == ORACLE_DONE) == (receipt != NULL), "a receipt is for what was done");
	x->ended = now;
	x->outcome = outcome;
	if (receipt != NULL) {
		uint64_t seen = x->receipt.stamp;

		x->receipt = *receipt;
		if (seen != 0)
			oracle_stamp(o, id, seen);
	}
}

void
oracle_read(struct oracle *o, const struct oracle_read *r)
{
	struct span ids = keep(o, r->ids, r->count);
	struct read *x = array_add(&o->reads, sizeof(*x));

	x->is = *r;
	x->is.ids = NULL;
	x->ids = ids;
}

void
oracle_final(struct oracle *o, uint64_t now, uint64_t key, unsigned node, const uint64_t *ids,
    size_t count)
{
	struct key *k = key_get(o, key);
	struct span kept = keep(o, ids, count);
	struct final *f = array_add(&o->finals, sizeof(*f));

	*f = (struct final){ now, key, node, kept };
	if (k->final == NONE)
		k->final = o->finals.count - 1;
}

void
oracle_stamp(struct oracle *o, uint64_t id, uint64_t stamp)
{
	struct write *x = write_find(o, id);

	/* What nobody wrote is judged with the answer that it came by. */
	if (x == NULL)
		return;
	x->restamped = x->restamped || (x->receipt.stamp != 0 && x->receipt.stamp != stamp);
	x->receipt.stamp = stamp;
}

size_t
oracle_writes(const struct oracle *o)
{
	return o->writes.count;
}

size_t
oracle_reads(const struct oracle *o)
{
	return o->reads.count;
}

/* ---------------------------------------------------------------- stories */

static const char *
kind_text(const struct write *w)
{
	static const char *const names[] = { "put", "delete", "overwrite", "lww put", "lww delete" };

	return names[w->is.kind];
}

static void
tell_ids(const struct oracle *o, FILE *f, struct span s)
{
	fputc('{', f);
	for (size_t i = 0; i < s.count; i++)
		fprintf(f, "%s%llu", i > 0 ? " " : "", (unsigned long long)id_at(o, s, i));
	fputc('}', f);
}

static void
tell_write(const struct oracle *o, FILE *f, const struct write *w)
{
	static const char *const ends[] = { "no answer", "done", "failed", "unknown" };

	fprintf(f, "\n    %s %llu of key %llu by session %u at node %u had seen ", kind_text(w),
	    (unsigned long long)w->is.id, (unsigned long long)w->is.key, w->is.session, w->is.node);
	tell_ids(o, f, w->parents);
	fprintf(f, ", began %llu, %s", (unsigned long long)w->began, ends[w->outcome]);
	if (w->outcome != ORACLE_PENDING)
		fprintf(f, " %llu", (unsigned long long)w->ended);
	if (w->outcome == ORACLE_DONE)
		fprintf(f, " w=%u%s stamp=%llu", w->receipt.w, w->receipt.durable ? " durable" : "",
		    (unsigned long long)w->receipt.stamp);
}

/* An answer, of a get or of a node at the end. */
struct answer {
	const struct read *read;   /* NULL: final */
	const struct final *final;
	uint64_t key, began, ended;
	struct span ids;
};

static void
tell_answer(const struct oracle *o, FILE *f, const struct answer *a)
{
	if (a->read != NULL)
		fprintf(f, "\n    get of key %llu by session %u at node %u, strict r=%u, %llu..%llu: ",
		    (unsigned long long)a->key, a->read->is.session, a->read->is.node,
		    a->read->is.strict_r, (unsigned long long)a->began, (unsigned long long)a->ended);
	else
		fprintf(f, "\n    at the end node %u has of key %llu: ", a->final->node,
		    (unsigned long long)a->key);
	tell_ids(o, f, a->ids);
}

/* One violation: a sentence, and the writes and the answer that it is about. */
static void __attribute__((format(printf, 6, 7)))
accuse(struct oracle *o, const char *rule, const struct answer *a, const struct write *w1,
    const struct write *w2, const char *fmt, ...)
{
	struct oracle_violation *v = array_add(&o->violations, sizeof(*v));
	char *text = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&text, &len);
	va_list args;

	need(f != NULL, "out of memory");
	fprintf(f, "%s: ", rule);
	va_start(args, fmt);
	vfprintf(f, fmt, args);
	va_end(args);
	if (w1 != NULL)
		tell_write(o, f, w1);
	if (w2 != NULL)
		tell_write(o, f, w2);
	if (a != NULL)
		tell_answer(o, f, a);
	need(fclose(f) == 0, "out of memory");
	*v = (struct oracle_violation){ rule, text };
}

struct oracle_violation
oracle_violation(const struct oracle *o, size_t i)
{
	need(i < o->violations.count, "no such violation");
	return ((const struct oracle_violation *)o->violations.items)[i];
}

/* --------------------------------------------------------------- ancestry */

/* The graph is no tree: a walk visits each write once.  Nothing that began before
 * v can have seen it. */
static bool
walk_to(const struct oracle *o, struct write *x, const struct write *v)
{
	if (x->visited == o->walk || x->began < v->began)
		return false;
	x->visited = o->walk;
	for (size_t i = 0; i < x->parents.count; i++) {
		struct write *p = write_find(o, id_at(o, x->parents, i));

		if (p == v || walk_to(o, p, v))
			return true;
	}
	return false;
}

/* Had x, directly or through what it had seen, seen v? */
static bool
had_seen(struct oracle *o, struct write *x, const struct write *v)
{
	o->walk++;
	return walk_to(o, x, v);
}

static void
lower(uint64_t *to, uint64_t value)
{
	*to = MIN(*to, value);
}

/* What x says of v, which it had seen or may have. */
static void
carry(const struct write *x, struct write *v, bool surely)
{
	if (x->outcome != ORACLE_FAILED) {
		lower(&v->replaced, x->began);
		v->covered = v->covered || x->in_final || x->is.kind == ORACLE_DELETE ||
		    x->is.expiry > 0;
	}
	lower(&v->replaced, x->replaced);
	v->covered = v->covered || x->covered;
	if (!surely)
		return;
	for (unsigned w = 0; w <= W_MAX; w++) {
		if (x->outcome == ORACLE_DONE && x->receipt.durable && x->receipt.w >= w)
			lower(&v->gone[w], x->ended);
		lower(&v->gone[w], x->gone[w]);
	}
}

static void
judge_ancestry(struct oracle *o)
{
	for (size_t i = 0; i < o->writes.count; i++) {
		struct write *w = write_at(o, i);

		w->replaced = NEVER;
		for (unsigned j = 0; j <= W_MAX; j++)
			w->gone[j] = NEVER;
	}
	for (size_t i = 0; i < o->finals.count; i++) {
		const struct final *f = (const struct final *)o->finals.items + i;

		for (size_t j = 0; j < f->ids.count; j++) {
			struct write *w = write_find(o, id_at(o, f->ids, j));

			if (w != NULL)
				w->in_final = true;
		}
	}
	for (size_t i = o->writes.count; i-- > 0;) {
		struct write *x = write_at(o, i);

		for (size_t j = 0; j < x->parents.count; j++)
			carry(x, write_find(o, id_at(o, x->parents, j)), true);
		if (x->is.kind != ORACLE_OVERWRITE || x->outcome == ORACLE_FAILED)
			continue;
		/* Also what began later, if it was quicker; but not itself. */
		for (size_t j = key_get(o, x->is.key)->last; j != NONE; j = write_at(o, j)->next)
			if (j != i && write_at(o, j)->began <= x->ended)
				carry(x, write_at(o, j), false);
	}
}

/* ------------------------------------------------------------------ rules */

static bool
is_delete(const struct write *w)
{
	return w->is.kind == ORACLE_DELETE || w->is.kind == ORACLE_LWW_DELETE;
}

static bool
is_lww(const struct write *w)
{
	return w->is.kind == ORACLE_LWW || w->is.kind == ORACLE_LWW_DELETE;
}

static uint64_t
plus(uint64_t a, uint64_t b)
{
	return a + MIN(b, NEVER - a);
}

/* Some clock may have said so before that time. */
static bool
may_be_expired(const struct oracle *o, const struct write *w, uint64_t before)
{
	return w->is.expiry > 0 && plus(before, o->o.skew) >= plus(w->began, w->is.expiry);
}

/* Acknowledged, on disk, by enough owners for R others of N to meet one of them, before
 * the get began. */
static bool
must_be_met(const struct write *w, const struct answer *a, unsigned enough)
{
	return w->outcome == ORACLE_DONE && w->receipt.durable && w->ended < a->began &&
	    w->receipt.w >= MAX(enough, 1);
}

static unsigned
enough_owners(const struct oracle_read *r)
{
	return r->n >= r->strict_r ? r->n - r->strict_r + 1 : 0;
}

/* S3 to S6: what is wrong with an answer by itself. */
static void
judge_values(struct oracle *o, const struct answer *a)
{
	for (size_t i = 0; i < a->ids.count; i++) {
		uint64_t id = id_at(o, a->ids, i);
		struct write *w = write_find(o, id);

		if (w == NULL || w->is.key != a->key || is_delete(w) || (a->read != NULL && w->began > a->ended)) {
			accuse(o, "S3", a, w, NULL, "nobody had written %llu to this key",
			    (unsigned long long)id);
			continue;
		}
		if (w->outcome == ORACLE_FAILED)
			accuse(o, "S4", a, w, NULL, "a write that failed is there");
		if (w->is.expiry > 0 && w->outcome == ORACLE_DONE &&
		    a->began > plus(w->ended, plus(w->is.expiry, o->o.ahead)))
			accuse(o, "OLD", a, w, NULL, "it has expired");
		for (size_t j = 0; j < a->ids.count; j++) {
			const struct write *v = write_find(o, id_at(o, a->ids, j));

			if (v == w && j < i)
				accuse(o, "S6", a, w, NULL, "one write, two versions");
			else if (v != NULL && v != w && had_seen(o, w, v))
				accuse(o, "S5", a, v, w, "siblings, but the second had seen the first");
		}
	}
	if (o->o.siblings_max > 0 && a->ids.count > o->o.siblings_max)
		accuse(o, "S12", a, NULL, NULL, "%zu siblings, at most %u contexts were out",
		    a->ids.count, o->o.siblings_max);
}

/* S10: a get by R owners after W owners had it, or had what replaced it. */
static void
judge_strict(struct oracle *o, const struct answer *a)
{
	const struct oracle_read *r = &a->read->is;
	unsigned enough = enough_owners(r);

	if (r->strict_r == 0)
		return;
	for (size_t i = key_get(o, a->key)->last; i != NONE; i = write_at(o, i)->next) {
		const struct write *w = write_at(o, i);
		bool there = holds(o, a->ids, w->is.id);

		if (there && enough <= W_MAX && w->gone[MAX(enough, 1)] < a->began)
			accuse(o, "S10", a, w, NULL, "a strict get returns what was replaced or deleted");
		if (is_delete(w) || is_lww(w) || !must_be_met(w, a, enough) ||
		    may_be_expired(o, w, a->ended))
			continue;
		if (!there && w->replaced >= a->ended)
			accuse(o, "S10", a, w, NULL, "a strict get misses a write that had ended (%s)",
			    w->is.session == r->session ? "its own session's" : "another session's");
	}
}

/* S1, S2, S7, S8 of one key. */
static void
judge_final(struct oracle *o, const struct answer *a)
{
	struct key *k = key_get(o, a->key);

	for (size_t i = k->last; i != NONE; i = write_at(o, i)->next) {
		const struct write *w = write_at(o, i);
		bool there = holds(o, a->ids, w->is.id);

		if (there && w->gone[0] != NEVER)
			accuse(o, "S2", a, w, NULL, "replaced or deleted, and back");
		if (!there && w->outcome == ORACLE_DONE && w->receipt.durable && !w->covered &&
		    !is_delete(w) && !is_lww(w) && !may_be_expired(o, w, a->ended))
			accuse(o, "S1", a, w, NULL, "an acknowledged write is lost");
	}
}

/* S8: the last write of a key, begun after all others had ended, with the
 * context of a get that returned all there was, is alone.  (That it is there at
 * all is S1's; that a delete leaves nothing, S2's.) */
static void
judge_honest(struct oracle *o, const struct answer *a)
{
	struct key *k = key_get(o, a->key);
	struct write *x = k->last != NONE ? write_at(o, k->last) : NULL;

	if (x == NULL || x->outcome != ORACLE_DONE || !x->receipt.durable ||
	    x->is.kind != ORACLE_PUT)
		return;
	for (size_t i = x->next; i != NONE; i = write_at(o, i)->next) {
		const struct write *w = write_at(o, i);

		/* An unknown write may arrive after the get. */
		if (w->outcome == ORACLE_PENDING || w->outcome == ORACLE_UNKNOWN || w->ended >= x->began)
			return;
		if (w->outcome == ORACLE_DONE && w->is.kind != ORACLE_DELETE && !had_seen(o, x, w))
			return;
	}
	if (a->ids.count > 1)
		accuse(o, "S8", a, x, NULL, "it had seen all there was, and is not alone");
}

/* Can nothing be there although w was, because something not older has removed it, or
 * has expired, before that time? */
static bool
may_have_gone(const struct oracle *o, const struct key *k, const struct write *w, uint64_t before)
{
	for (size_t i = k->last; i != NONE; i = write_at(o, i)->next) {
		const struct write *d = write_at(o, i);

		if (d->outcome == ORACLE_FAILED || d->began >= before ||
		    (d->is.kind != ORACLE_LWW_DELETE && !may_be_expired(o, d, before)))
			continue;
		if (d->receipt.stamp == 0 || d->receipt.stamp >= w->receipt.stamp)
			return true;
	}
	return false;
}

/* w is in nobody's way, won (NULL: nothing) is what is there: is that right? */
static void
judge_winner(struct oracle *o, const struct answer *a, const char *rule, const struct write *w,
    const struct write *won)
{
	const struct key *k = key_get(o, a->key);
	uint64_t won_ended = won == NULL ? a->ended : won->outcome == ORACLE_DONE ? won->ended : NEVER;
	uint64_t older = won == NULL ? 0 : won->receipt.stamp;

	if (won == NULL) {
		if (w->is.kind == ORACLE_LWW && !may_have_gone(o, k, w, won_ended))
			accuse(o, rule, a, w, NULL, "an acknowledged write, and there is none");
	} else if (older > 0 && w->receipt.stamp > older) {
		if (!may_have_gone(o, k, w, won_ended))
			accuse(o, rule, a, w, won, "the first has the later stamp, the second won");
	} else if (won_ended != NEVER && w->began > plus(won_ended, o->o.skew)) {
		accuse(o, rule, a, w, won, "the first began long after the second, which won");
	}
}

/* The last write wins: the largest stamp where it is known; else whatever began
 * later than the clocks' skew after another had ended beats that.  At the end that
 * is so of all that was acknowledged; for a strict get, of what it must have met. */
static void
judge_lww(struct oracle *o, const struct answer *a)
{
	const struct write *won = a->ids.count > 0 ? write_find(o, id_at(o, a->ids, 0)) : NULL;
	bool strict = a->read != NULL && a->read->is.strict_r > 0, lww = false;

	for (size_t i = key_get(o, a->key)->last; i != NONE; i = write_at(o, i)->next) {
		const struct write *w = write_at(o, i);

		if (!is_lww(w))
			continue;
		lww = true;
		if (w == won || w->outcome != ORACLE_DONE || !w->receipt.durable)
			continue;
		if (a->read == NULL)
			judge_winner(o, a, "LWW", w, won);
		else if (strict && must_be_met(w, a, enough_owners(&a->read->is)))
			judge_winner(o, a, "S10", w, won);
	}
	if (lww && a->ids.count > 1)
		accuse(o, "LWW", a, NULL, NULL, "siblings in a bucket where the last write wins");
}

/* A version has one stamp, later than those of what its writer had seen. */
static void
judge_stamps(struct oracle *o)
{
	for (size_t i = 0; i < o->writes.count; i++) {
		const struct write *w = write_at(o, i);

		if (w->restamped)
			accuse(o, "LWW", NULL, w, NULL, "one version, two stamps");
		for (size_t j = 0; is_lww(w) && w->receipt.stamp > 0 && j < w->parents.count; j++) {
			const struct write *p = write_find(o, id_at(o, w->parents, j));

			if (p->receipt.stamp >= w->receipt.stamp)
				accuse(o, "LWW", NULL, p, w, "the second had seen the first, and is not later");
		}
	}
}

static bool
same_set(const struct oracle *o, struct span a, struct span b)
{
	if (a.count != b.count)
		return false;
	for (size_t i = 0; i < a.count; i++)
		if (!holds(o, b, id_at(o, a, i)))
			return false;
	return true;
}

static void
judge_end(struct oracle *o)
{
	for (size_t i = 0; i < o->finals.count; i++) {
		const struct final *f = (const struct final *)o->finals.items + i;
		const struct answer a = { .final = f, .key = f->key, .began = f->at, .ended = f->at,
			.ids = f->ids };
		const struct final *first =
		    (const struct final *)o->finals.items + key_get(o, f->key)->final;

		judge_values(o, &a);
		judge_final(o, &a);
		judge_honest(o, &a);
		judge_lww(o, &a);
		if (!same_set(o, f->ids, first->ids))
			accuse(o, "S7", &a, NULL, NULL, "node %u holds %zu values, not the same",
			    first->node, first->ids.count);
	}
	for (size_t i = 0; i < o->key_list.count && o->finals.count > 0; i++) {
		const struct key *k = ((struct key **)o->key_list.items)[i];

		if (k->final == NONE && k->last != NONE)
			accuse(o, "S7", NULL, write_at(o, k->last), NULL, "nobody looked at the end");
	}
}

size_t
oracle_judge(struct oracle *o)
{
	judge_ancestry(o);
	judge_stamps(o);
	for (size_t i = 0; i < o->reads.count; i++) {
		const struct read *r = (const struct read *)o->reads.items + i;
		const struct answer a = { .read = r, .key = r->is.key, .began = r->is.began,
			.ended = r->is.ended, .ids = r->ids };

		judge_values(o, &a);
		judge_strict(o, &a);
		judge_lww(o, &a);
	}
	judge_end(o);
	return o->violations.count;
}
