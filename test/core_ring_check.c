/*
 * The promises, on a record of calls (DESIGN 12).
 *
 * A write x REPLACED a write v if x's context came from a get that returned v.
 * The first write that makes a value vanish did exactly that, so a value that
 * is missing without a replacer is lost.
 */
#include "test/core_ring.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

void
history_fail(const struct history *h, const char *fmt, ...)
{
	char text[400];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	ck_abort_msg("DYN_SEED=%llu repeats it: %s", (unsigned long long)h->seed, text);
	abort();
}

static bool
returned(const struct call_record *get, unsigned put)
{
	for (unsigned i = 0; i < get->values_count; i++)
		if (get->values[i] == put)
			return true;
	return false;
}

static bool
replaces(const struct history *h, const struct call_record *x, unsigned put)
{
	return x->kind != OP_GET && x->seen >= 0 && returned(&h->calls[x->seen], put);
}

/* Is there a write, not known to have failed, that replaced it and began before
 * `before`? */
static bool
may_be_replaced(const struct history *h, unsigned put, uint64_t before)
{
	for (unsigned i = 0; i < h->count; i++) {
		const struct call_record *x = &h->calls[i];

		if (x->started < before && x->outcome != DONE_FAILED && replaces(h, x, put))
			return true;
	}
	return false;
}

/* A get that began after a write was acknowledged, R + W > N (S10); for the
 * last gets, all acknowledged writes (S1). */
static void
check_seen(const struct history *h, unsigned put, unsigned get, bool last)
{
	const struct call_record *w = &h->calls[put], *g = &h->calls[get];

	if (w->outcome != DONE_OK || !w->durable || w->ended >= g->started)
		return;
	if (!last && (w->w + g->r <= h->copies || !w->strict || !g->strict))
		return;
	if (returned(g, put) || may_be_replaced(h, put, g->ended))
		return;
	history_fail(h, "%s: get %u at %c misses put %u (W=%u at %c, acknowledged)",
	    last ? "S1 lost write" : "S10 stale read", get, g->node, put, w->w, w->node);
}

/* What an acknowledged write replaced does not come back (S2). */
static void
check_gone(const struct history *h, unsigned by, unsigned get, bool last)
{
	const struct call_record *x = &h->calls[by], *g = &h->calls[get];

	if (x->outcome != DONE_OK || !x->durable || x->ended >= g->started || x->seen < 0)
		return;
	if (!last && (x->w + g->r <= h->copies || !x->strict || !g->strict))
		return;
	for (unsigned i = 0; i < g->values_count; i++)
		if (replaces(h, x, g->values[i]))
			history_fail(h, "S2: get %u at %c returned put %u, replaced by %u", get,
			    g->node, g->values[i], by);
}

/* Values are of that key, once each, and not of a write that failed (S3, S4). */
static void
check_values(const struct history *h, unsigned get)
{
	const struct call_record *g = &h->calls[get];

	for (unsigned i = 0; i < g->values_count; i++) {
		const struct call_record *w = &h->calls[g->values[i]];

		if (g->values[i] >= h->count || w->kind != OP_PUT || w->key != g->key)
			history_fail(h, "S3: get %u returned %u, which nobody wrote", get,
			    g->values[i]);
		if (w->outcome == DONE_FAILED && w->ended < g->started)
			history_fail(h, "S4: get %u returned put %u, which failed with %s", get,
			    g->values[i], rc_text(w->rc));
		for (unsigned j = 0; j < i; j++)
			if (g->values[j] == g->values[i])
				history_fail(h, "S6: put %u made two versions", g->values[i]);
	}
}

void
history_check(const struct history *h, unsigned healed)
{
	for (unsigned i = 0; i < h->count; i++) {
		const struct call_record *g = &h->calls[i];

		if (g->outcome == PENDING)
			history_fail(h, "S13: call %u never ended", i);
		if (g->kind != OP_GET || g->outcome != DONE_OK)
			continue;
		check_values(h, i);
		for (unsigned j = 0; j < h->count; j++) {
			if (h->calls[j].key != g->key || h->calls[j].kind == OP_GET)
				continue;
			if (h->calls[j].kind == OP_PUT)
				check_seen(h, j, i, i >= healed);
			check_gone(h, j, i, i >= healed);
		}
	}
	for (unsigned i = healed; i < h->count; i++)
		if (h->calls[i].outcome != DONE_OK)
			history_fail(h, "after healing, get %u at %c: %s", i, h->calls[i].node,
			    rc_text(h->calls[i].rc));
}
