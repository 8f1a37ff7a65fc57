/*
 * Books of anti-entropy: which copies are catching up, and since when each was known
 * to be equal with each other owner's.
 */
#include "core/repair_private.h"

#define SAVE_GAP (1 * NS_PER_S) /* taken off: the next ones soon follow */

static bool
is_marked(const struct repair *r, unsigned p)
{
	return (r->catching[p / 8] >> p % 8 & 1) != 0;
}

static unsigned
rank(const struct repair *r, unsigned p, const struct dyn_id *id)
{
	return table_rank(r->view->current, p, id);
}

void
repair_mark(struct repair *r, unsigned p)
{
	/* Whom we asked before may have got since what we lack. */
	r->met[p] = 0;
	r->marked_at[p] = r->next_number;
	if (is_marked(r, p))
		return;
	r->catching[p / 8] |= (unsigned char)(1u << p % 8);
	r->catching_count++;
	r->marks_old = r->marks_told_old = true;
	r->save_at = 0;
}

static void
unmark(struct repair *r, unsigned p, struct moment m)
{
	r->catching[p / 8] &= (unsigned char)~(1u << p % 8);
	r->catching_count--;
	/* Forgotten by a crash, it is found out again; the last is worth a row. */
	if (r->catching_count == 0)
		r->save_at = 0;
	else if (!r->marks_old)
		r->save_at = m.now + SAVE_GAP;
	r->marks_old = r->marks_told_old = true;
}

/* Has every other owner been met, that still is a member? */
static bool
has_caught_up(const struct repair *r, unsigned p)
{
	const uint16_t *owners;
	unsigned count = table_owners(r->view->current, p, &owners);

	for (unsigned i = 0; i < count; i++) {
		const struct dyn_id *id = &r->view->current->seats[owners[i]].node;
		const struct record *rec = view_find(r->view, id);

		if (!id_equal(id, &r->o.self) && rec != NULL && record_is_member(rec) &&
		    (r->met[p] >> i & 1) == 0)
			return false;
	}
	return true;
}

void
repair_mark_all(struct repair *r)
{
	bool any = false;

	r->all = true;
	for (unsigned p = 0; p < r->partitions; p++) {
		if (!view_owns(r->view, p, &r->o.self))
			continue;
		repair_mark(r, p);
		any = true;
	}
	/* A view in which nothing is ours may be an old one. */
	if (!any)
		return;
	r->all = false;
	/* Also where there is nothing to mark: "all" was saved. */
	r->marks_old = true;
	r->save_at = 0;
}

void
repair_look_at_marks(struct repair *r)
{
	struct moment never = { .now = 0 };

	for (unsigned p = 0; p < r->partitions && r->catching_count > 0; p++)
		if (is_marked(r, p) && (view_owns(r->view, p, &r->o.self) ? has_caught_up(r, p) :
		                                                            !r->foreign))
			unmark(r, p, never);
}

/* (A mark that stands for another reason will do: it goes only when every other owner
 * was asked since.) */
bool
repair_damaged(struct repair *r, unsigned p)
{
	if (p >= r->partitions || !view_owns(r->view, p, &r->o.self) || r->all)
		return false;
	if (is_marked(r, p))
		return !r->marks_old && r->saves == 0;
	repair_mark(r, p);
	if (!has_caught_up(r, p))
		return false;
	/* There is no other copy: what was in those rows is lost. */
	repair_look_at_marks(r);
	return true;
}

void
repair_unreadable(struct repair *r, unsigned p)
{
	if (p >= r->partitions)
		return;
	repair_mark(r, p);
	/* Without another owner there is nothing to catch up with. */
	repair_look_at_marks(r);
}

void
repair_equal(struct repair *r, unsigned p, const struct dyn_id *id, uint64_t began,
    struct moment m)
{
	unsigned k = rank(r, p, id);

	if (k == r->n)
		return;
	r->equal_at[p * r->n + k] = m.now;
	r->differs[p] &= (uint8_t)~(1u << k);
	if (began >= MAX(r->marked_at[p], 1))
		r->met[p] |= (uint8_t)(1u << k);
	if (is_marked(r, p) && has_caught_up(r, p))
		unmark(r, p, m);
}

void
repair_equal_all(struct repair *r, const struct dyn_id *id, uint64_t began, struct moment m)
{
	for (unsigned p = 0; p < r->partitions; p++)
		if (repair_shares(r, p, id) && trees_find(r->o.trees, p) != NULL)
			repair_equal(r, p, id, began, m);
}

void
repair_differs(struct repair *r, unsigned p, const struct dyn_id *id)
{
	unsigned k = rank(r, p, id);

	if (k < r->n)
		r->differs[p] |= (uint8_t)(1u << k);
}

void
repair_free_marks(struct repair *r)
{
	mem_free(r->catching);
	mem_free(r->met);
	mem_free(r->marked_at);
	mem_free(r->differs);
	mem_free(r->equal_at);
}

/* Two bytes at least: see load_marks. */
static size_t
marks_len(unsigned partitions)
{
	return MAX((partitions + 7) / 8, 2u);
}

int
repair_reset_marks(struct repair *r, struct moment m)
{
	unsigned partitions = r->view->settings.partitions, n = r->view->current->n;
	struct repair fresh = { .partitions = partitions, .n = n,
		.catching_len = marks_len(partitions) };

	fresh.catching = mem_zalloc(fresh.catching_len);
	fresh.met = mem_zalloc(partitions);
	fresh.marked_at = mem_array(partitions, sizeof(*fresh.marked_at));
	fresh.differs = mem_zalloc(partitions);
	fresh.equal_at = mem_array((size_t)partitions * n, sizeof(*fresh.equal_at));
	if (fresh.catching == NULL || fresh.met == NULL || fresh.marked_at == NULL ||
	    fresh.differs == NULL || fresh.equal_at == NULL) {
		repair_free_marks(&fresh);
		return DYN_ENOMEM;
	}
	if (r->catching != NULL)
		memcpy(fresh.catching, r->catching, MIN(r->catching_len, fresh.catching_len));
	for (size_t i = 0; i < (size_t)partitions * n; i++)
		fresh.equal_at[i] = m.now;
	for (unsigned p = 0; p < partitions; p++)
		fresh.marked_at[p] = r->next_number;
	repair_free_marks(r);
	r->catching = fresh.catching;
	r->catching_len = fresh.catching_len;
	r->met = fresh.met;
	r->marked_at = fresh.marked_at;
	r->differs = fresh.differs;
	r->equal_at = fresh.equal_at;
	r->partitions = partitions;
	r->n = n;
	return 0;
}

int
repair_load_marks(struct repair *r)
{
	struct dyn_buffer b = { NULL, 0, 0 };
	int rc = r->o.engine->get(r->o.engine->self, DYN_SPACE_META, dyn_str(CATCHING_ROW), &b);

	if (rc == 0 && (b.len == 0 || b.len > 65536 / 8)) {
		rc = DYN_ECORRUPT;
	} else if (rc == 0 && b.len == 1) {
		r->all = true;
	} else if (rc == 0) {
		r->catching = mem_zalloc(b.len);
		if (r->catching != NULL) {
			memcpy(r->catching, b.data, b.len);
			r->catching_len = b.len;
			for (unsigned p = 0; p < 8 * b.len; p++)
				r->catching_count += is_marked(r, p);
		} else {
			rc = DYN_ENOMEM;
		}
	}
	r->marks_told_old = r->catching_count > 0;
	dyn_buffer_free(&b);
	return rc == DYN_ENOTFOUND ? 0 : rc;
}

struct buf *
repair_catching(const struct repair *r)
{
	struct buf *bits;

	if (r->all) {
		bits = buf_new(65536 / 8);
		if (bits != NULL)
			memset(bits->data, 0xff, bits->len);
		return bits;
	}
	return r->catching != NULL ? buf_copy(r->catching, r->catching_len) : NULL;
}

static struct buf *
marks(const struct repair *r)
{
	return r->all ? buf_copy(CATCHING_ALL, 1) : buf_copy(r->catching, r->catching_len);
}

void
repair_settle(struct repair *r, struct moment m, struct outbox *out)
{
	struct buf *bits;

	if (r->catching == NULL && !r->all)
		return; /* nothing was marked yet */
	if (r->marks_told_old) {
		bits = repair_catching(r);
		if (bits != NULL) {
			r->marks_told_old = false;
			outbox_add(out, FX_CATCHING)->frame = bits;
		}
	}
	if (r->marks_old && m.now >= r->save_at) {
		bits = marks(r);
		if (bits != NULL) {
			struct effect *e = outbox_add(out, FX_META);

			e->address = CATCHING_ROW;
			e->frame = bits;
			e->rc = SAVED_FOR_REPAIR;
			r->marks_old = false;
			r->saves++;
		}
	}
	/* Whoever told us forgets it then: not before it is safe here. */
	if (r->marks_old || r->saves > 0)
		return;
	repair_answer_behind(r, 0, out);
	if (r->lost != 0)
		outbox_add(out, FX_MARKED)->rc = r->lost;
	r->lost = 0;
}

void
repair_saved(struct repair *r, int rc, struct moment m, struct outbox *out)
{
	DYN_ASSERT(r->saves > 0);
	r->saves--;
	if (rc != 0) {
		repair_answer_behind(r, rc, out);
		r->marks_old = true;
		r->save_at = m.now + SAVE_GAP;
	}
	repair_settle(r, m, out);
}

void
repair_figures(const struct repair *r, struct moment m, struct repair_figures *f)
{
	memset(f, 0, sizeof(*f));
	f->catching = r->all ? MAX(r->catching_count, 1u) : r->catching_count;
	f->exchanges = r->exchanges_ended;
	f->took = r->took;
	f->gave = r->gave;
	for (unsigned p = 0; p < r->partitions && r->view != NULL; p++) {
		const uint16_t *owners;
		unsigned count = table_owners(r->view->current, p, &owners);
		unsigned own = rank(r, p, &r->o.self);

		if (own == r->n)
			continue;
		f->differing += r->differs[p] != 0;
		for (unsigned i = 0; i < count; i++)
			if (i != own)
				f->lag_ms = MAX(f->lag_ms,
				    (m.now - r->equal_at[p * r->n + i]) / NS_PER_MS);
	}
}
