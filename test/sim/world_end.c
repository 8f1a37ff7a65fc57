/* The end of a run: all is healed, and judged.  See world_private.h. */
#include "test/sim/world_private.h"

#include <stdio.h>

/* Where no disk damages a row, a tree that was found to be wrong was kept wrongly. */
void
world_judge_trees(struct world *w, struct node *n)
{
	struct copies_figures f;

	if (n->client || n->sync == NULL)
		return;
	sync_copies(n->sync, world_moment_of(w, n), &f);
	if (f.trees.wrong == 0 || (w->o.lose == 3 && n == &w->nodes[w->loser]))
		return;
	fprintf(stderr, "trees: %s kept %u wrongly\n", world_name(w, n), (unsigned)f.trees.wrong);
	w->out.broken++;
}

static struct dyn_slice
copy_of(struct world *w, const struct view *v, unsigned key, unsigned i, struct node **owner)
{
	struct buf *name = key_name(world_key(key));
	struct dyn_slice s;
	struct group g;

	view_readers(v, name_partition(buf_slice(name), w->o.partitions), &g);
	DEMAND(g.count == w->o.copies);
	*owner = world_node_of(w, &v->records[g.member[i]].id);
	s = disk_find((*owner)->disk, DYN_SPACE_DATA, buf_slice(name));
	buf_unref(name);
	return s;
}

struct node *
world_reference(struct world *w)
{
	unsigned i = 0;

	while (i + 1 < w->members && (w->nodes[i].gone || w->nodes[i].view == NULL))
		i++;
	return &w->nodes[i];
}

/* A member, and not for good away. */
static bool
is_there(const struct node *n)
{
	return !n->gone && !n->client;
}

/* S14: all have the same members and the same table, and nothing moves. */
static bool
agreed(struct world *w)
{
	const struct view *first = world_reference(w)->view;

	if (first == NULL || view_phase(first) != VIEW_SETTLED || first->count != w->members)
		return false;
	for (size_t i = 0; i < first->count; i++)
		if (first->records[i].state == RECORD_LEAVING)
			return false;
	for (unsigned i = 0; i < w->all; i++)
		if (is_there(&w->nodes[i]) &&
		    (w->nodes[i].view == NULL || !view_equal(w->nodes[i].view, first)))
			return false;
	return true;
}

/* Who has left keeps the mark of a lost directory: of what, it cannot tell any more. */
static bool
is_owner(struct world *w, const struct node *n)
{
	return view_find(world_reference(w)->view, &n->id)->state == RECORD_JOINED;
}

static bool
converged(struct world *w)
{
	struct node *owner;

	if (!w->settled)
		return false;
	for (unsigned k = 0; k < w->o.keys; k++)
		for (unsigned i = 1; i < w->o.copies; i++)
			if (!slice_equal(copy_of(w, world_reference(w)->view, k, 0, &owner),
			    copy_of(w, world_reference(w)->view, k, i, &owner)))
				return false;
	for (unsigned i = 0; i < w->all; i++) {
		struct hint_figures f;

		if (!is_there(&w->nodes[i]))
			continue;
		struct copies_figures c;

		sync_hints(w->nodes[i].sync, &f);
		if (f.hints > 0)
			return false;
		sync_copies(w->nodes[i].sync, world_moment_of(w, &w->nodes[i]), &c);
		if (c.repair.catching > 0 && is_owner(w, &w->nodes[i]))
			return false;
	}
	return w->open == 0;
}

/* Rows that exchanges and reads repaired, of all nodes. */
static uint64_t
moved(struct world *w)
{
	uint64_t rows = 0;

	for (unsigned i = 0; i < w->all; i++) {
		struct copies_figures c;

		if (!is_there(&w->nodes[i]))
			continue;
		sync_copies(w->nodes[i].sync, world_moment_of(w, &w->nodes[i]), &c);
		rows += c.repair.took + c.repair.gave;
		for (unsigned k = 0; k < w->nodes[i].workers; k++)
			rows += work_stats(w->nodes[i].work[k])->repairs;
	}
	return rows;
}

/* Does a copy hold what could be forgotten? */
static bool
remembers(struct world *w)
{
	for (unsigned k = 0; k < w->o.keys; k++)
		for (unsigned i = 0; i < w->o.copies; i++) {
			struct node *owner;

			if (object_old(copy_of(w, world_reference(w)->view, k, i, &owner), 0) == OBJECT_FRESH)
				continue;
			world_tell(w, "k%u at %s has something to forget", k, world_name(w, owner));
			return true;
		}
	return false;
}

/* With everybody there, and no writes, all that was deleted goes away. */
static void
await_forgetting(struct world *w)
{
	uint64_t until = w->now + HEAL_LIMIT;

	if (w->o.collect_ms > 10000)
		return;
	/* What expires waits until it has by all clocks. */
	if (w->o.expiry > 0)
		until += (COLLECT_EXPIRY_MARGIN + EXPIRY_MAX_MS) * MS + world_skew(&w->o);
	while (remembers(w) && w->now < until)
		world_run_for(w, NS_PER_S);
	if (!remembers(w))
		return;
	fprintf(stderr, "tombstones or old clocks are left long after all was healed\n");
	w->out.broken++;
}

/* S9: where nothing differs, nothing is moved. */
static void
judge_quiet(struct world *w)
{
	uint64_t before = moved(w);

	if (!converged(w) || remembers(w))
		return;
	world_run_for(w, 3 * w->o.repair_ms * MS);
	if (moved(w) == before)
		return;
	fprintf(stderr, "S9: %u rows moved between equal copies\n", (unsigned)(moved(w) - before));
	w->out.broken++;
}

/* What a node does not own any more goes, where rounds of forgetting need that. */
static void
judge_owners(struct world *w)
{
	const struct view *v = world_reference(w)->view;

	if (w->o.collect_ms > 10000 || remembers(w))
		return;
	for (unsigned k = 0; k < w->o.keys; k++) {
		struct buf *name = key_name(world_key(k));

		for (unsigned i = 0; i < w->all; i++) {
			const struct node *n = &w->nodes[i];

			if (!is_there(n) || view_owns(v, name_partition(buf_slice(name), w->o.partitions), &n->id) ||
			    disk_find(n->disk, DYN_SPACE_DATA, buf_slice(name)).len == 0)
				continue;
			fprintf(stderr, "%s still has k%u, of which it is no owner\n",
			    world_name(w, n), k);
			w->out.broken++;
		}
		buf_unref(name);
	}
}

/* Why is there no agreement? */
static void
tell_views(struct world *w)
{
	for (unsigned i = 0; i < w->all; i++) {
		const struct node *n = &w->nodes[i];
		const struct view *v = n->view;
		const struct record *r = v != NULL ? view_find(v, &n->id) : NULL;

		world_tell(w, "%s: %s, knows of %zu, table %u in phase %d, itself in state %d, synced "
		    "to %u, reading %d", world_name(w, n), n->gone ? "gone" : n->alive ? "runs" : "is down",
		    v != NULL ? v->count : 0, v != NULL ? (unsigned)v->current->epoch : 0,
		    v != NULL ? (int)view_phase(v) : 0, r != NULL ? r->state : 0,
		    r != NULL ? (unsigned)r->synced_epoch : 0, r != NULL ? r->reading : 0);
	}
}

/* Why not? */
static void
tell_differences(struct world *w)
{
	const struct view *v = world_reference(w)->view;

	for (unsigned k = 0; k < w->o.keys; k++)
		for (unsigned i = 0; i < w->o.copies; i++) {
			struct node *first, *owner;
			struct dyn_slice a = copy_of(w, v, k, 0, &first), b = copy_of(w, v, k, i, &owner);

			if (!slice_equal(a, b))
				world_tell(w, "k%u differs at %s and %s", k, world_name(w, first),
				    world_name(w, owner));
		}
	for (unsigned i = 0; i < w->all; i++) {
		struct hint_figures f;
		struct copies_figures c;

		if (!is_there(&w->nodes[i]))
			continue;
		sync_hints(w->nodes[i].sync, &f);
		sync_copies(w->nodes[i].sync, world_moment_of(w, &w->nodes[i]), &c);
		if (f.hints > 0 || c.repair.catching > 0)
			world_tell(w, "%s keeps %u hints, and is catching up in %u partitions",
			    world_name(w, &w->nodes[i]), (unsigned)f.hints, (unsigned)c.repair.catching);
	}
	world_tell(w, "%u calls have not ended", w->open);
}

/* Everything works again, for good; what differs, reads of all copies repair, or in
 * most runs the exchanges of trees alone. */
void
world_heal(struct world *w)
{
	uint64_t until = w->now + HEAL_LIMIT;

	w->calm = true;
	for (unsigned i = 0; i < w->all; i++) {
		w->nodes[i].full_until = 0;
		disk_fail_reads(w->nodes[i].disk, NULL, 0);
	}
	world_tell(w, "calm");
	w->o.side = 0;
	memset(w->cut, 0, (size_t)w->all * w->all * sizeof(*w->cut));
	for (unsigned i = 0; i < w->all; i++) {
		if (!w->nodes[i].alive && !w->nodes[i].gone)
			world_node_start(w, &w->nodes[i]);
	}
	/* Those that pause go on in this time. */
	world_run_for(w, 10 * NS_PER_S);
	DEMAND(world_forget(w));
	while (w->now < until) {
		for (unsigned k = 0; w->o.reads_repair && k < w->o.keys; k++) {
			const struct with how = { .n = (uint8_t)w->o.copies,
				.r = (uint8_t)w->o.copies, .w = (uint8_t)w->o.w,
				.lww = world_is_lww(w, k), .flags = DYN_STRICT };
			struct node *n = &w->nodes[world_below(w, w->all)];

			if (n->alive && n->view != NULL)
				world_start_call(w, n, 0, OP_GET, k, &how, NULL);
		}
		world_run_for(w, 2 * NS_PER_S);
		w->settled |= agreed(w);
		if (converged(w))
			break;
	}
	if (!w->settled) {
		tell_views(w);
		fprintf(stderr, "S14: no agreement on members and table %u s after all was healed\n",
		    (unsigned)(HEAL_LIMIT / NS_PER_S));
		w->out.broken++;
		return;
	}
	await_forgetting(w);
	judge_quiet(w);
	judge_owners(w);
	for (unsigned k = 0; k < w->o.keys; k++)
		for (unsigned i = 0; i < w->o.copies; i++) {
			struct node *owner;
			struct dyn_slice s = copy_of(w, world_reference(w)->view, k, i, &owner);
			struct buf *object = buf_copy(s.data, s.len);
			uint64_t ids[IDS_MAX];

			DEMAND(object != NULL);
			oracle_final(w->oracle, w->now, k, world_index_of(w, owner), ids,
			    world_values(object, UINT64_MAX - 1, ids, IDS_MAX));
			buf_unref(object);
		}
	for (unsigned i = 0; i < w->all; i++) {
		if (w->nodes[i].gone)
			continue;
		world_judge_trees(w, &w->nodes[i]);
		w->out.forgotten += world_forgotten_by(&w->nodes[i]);
	}
	if (!converged(w)) {
		tell_differences(w);
		fprintf(stderr, "S7: copies differ %u s after all was healed\n", (unsigned)(HEAL_LIMIT / NS_PER_S));
		w->out.broken++;
	}
}
