/* What the machine of hints writes down: dirty marks in the engine, the ledger for
 * gossip; and what it hears of others' ledgers. */
#include "core/hint_private.h"

/* ------------------------------------------------------------ dirty marks */

int
hint_mark_dirty(struct hint *h, struct due *d, unsigned partition)
{
	if (d->dirty == NULL)
		d->dirty = mem_zalloc(DIRTY_BYTES);
	if (d->dirty == NULL)
		return DYN_ENOMEM;
	if ((d->dirty[partition / 8] >> partition % 8 & 1) != 0)
		return 0;
	d->dirty[partition / 8] |= (uint8_t)(1u << partition % 8);
	h->dirty_count++;
	h->dirty_old = true;
	/* An answer to what was told before says nothing of this one. */
	d->told = d->tell_at = 0;
	return 0;
}

/* (id, slice of bits)*. */
int
hint_dirty_row(const struct hint *h, size_t len, struct buf **out)
{
	struct wr w;

	wr_init(&w, 64);
	LIST_EACH(l, &h->all) {
		const struct due *d = CONTAINER_OF(l, struct due, all);

		if (d->dirty == NULL)
			continue;
		wr_bytes(&w, d->owner.bytes, sizeof(d->owner.bytes));
		wr_slice(&w, slice(d->dirty, len));
	}
	return wr_finish(&w, out);
}

static void
save_dirty(struct hint *h, struct outbox *out)
{
	struct effect *e;
	struct buf *bytes;

	if (!h->dirty_old || h->view == NULL ||
	    hint_dirty_row(h, (h->view->settings.partitions + 7) / 8, &bytes) != 0)
		return; /* at the next change */
	h->dirty_old = false;
	e = outbox_add(out, FX_META);
	e->address = DIRTY_ROW;
	e->frame = bytes;
}

void
hint_clean(struct hint *h, struct due *d)
{
	if (d->dirty == NULL)
		return;
	for (unsigned p = 0; p < DIRTY_BYTES * 8; p++)
		h->dirty_count -= d->dirty[p / 8] >> p % 8 & 1;
	mem_free(d->dirty);
	d->dirty = NULL;
	d->told = 0;
	h->dirty_old = true;
}

/* The owner itself is the one to keep the mark: it knows when it has caught up
 * (core/repair.h). */
static void
tell(struct hint *h, struct due *d, struct moment m, struct outbox *out)
{
	struct buf *list, *frame;
	struct frame head;
	union msg msg;
	struct wr w;

	d->tell_at = m.now + HINT_TELL_GAP;
	wr_init(&w, 64);
	for (unsigned p = 0; p < h->view->settings.partitions; p++)
		if ((d->dirty[p / 8] >> p % 8 & 1) != 0)
			wr_u32(&w, p);
	if (wr_finish(&w, &list) != 0)
		return;
	d->told = h->next_number++;
	head = view_head(h->view, d->told);
	msg.behind.partitions = buf_slice(list);
	if (msg_encode(&frame, &head, MSG_BEHIND, &msg) == 0) {
		struct effect *e = outbox_add(out, FX_SEND);

		e->to = d->owner;
		e->frame = frame;
	}
	buf_unref(list);
}

void
hint_tell_behind(struct hint *h, struct moment m, struct outbox *out)
{
	LIST_EACH(l, &h->all) {
		struct due *d = CONTAINER_OF(l, struct due, all);

		if (d->dirty != NULL && d->tell_at <= m.now && h->view != NULL &&
		    !id_is_zero(&d->owner))
			tell(h, d, m, out);
	}
}

void
hint_told(struct hint *h, const struct dyn_id *owner, uint64_t number, int rc, struct moment m)
{
	LIST_EACH(l, &h->all) {
		struct due *d = CONTAINER_OF(l, struct due, all);

		if (!id_equal(&d->owner, owner) || d->told == 0 || d->told != number)
			continue;
		if (rc == 0)
			hint_clean(h, d);
		else
			d->tell_at = m.now + HINT_TELL_GAP;
	}
}

static unsigned
bits_in(struct dyn_slice bits)
{
	const unsigned char *p = bits.data;
	unsigned count = 0;

	for (size_t i = 0; i < bits.len; i++)
		for (unsigned b = p[i]; b != 0; b &= b - 1)
			count++;
	return count;
}

int
hint_load_dirty(struct hint *h)
{
	struct dyn_buffer b = { NULL, 0, 0 };
	struct rd r;
	int rc = h->o.engine->get(h->o.engine->self, DYN_SPACE_META, dyn_str(DIRTY_ROW), &b);

	r = rd_from(slice(b.data, rc == 0 ? b.len : 0));
	while (rd_left(&r) > 0) {
		struct dyn_id owner;
		struct dyn_slice bits;
		struct due *d;

		rd_copy(&r, owner.bytes, sizeof(owner.bytes));
		bits = rd_slice(&r, DIRTY_BYTES);
		if (r.bad)
			break;
		d = hint_due(h, &owner, NULL);
		if (d != NULL) {
			mem_free(d->dirty);
			d->dirty = mem_zalloc(DIRTY_BYTES);
		}
		if (d == NULL || d->dirty == NULL) {
			rc = DYN_ENOMEM;
			break;
		}
		memcpy(d->dirty, bits.data, bits.len);
		h->dirty_count += bits_in(bits);
	}
	if (rc == 0 && !rd_end(&r))
		rc = DYN_ECORRUPT;
	dyn_buffer_free(&b);
	return rc == DYN_ENOTFOUND ? 0 : rc;
}

/* ----------------------------------------------------------------- ledger */

static struct keeper *
keeper_find(const struct hint *h, const struct dyn_id *id)
{
	struct map_link *l = map_first(&h->keepers, load_be64(id->bytes));

	for (; l != NULL; l = map_next(l)) {
		struct keeper *k = CONTAINER_OF(l, struct keeper, link);

		if (id_equal(&k->id, id))
			return k;
	}
	return NULL;
}

static void
ask_for_hints(struct hint *h, struct keeper *k, struct moment m, struct outbox *out)
{
	struct frame head = view_head(h->view, 0);
	union msg msg = { .hints = { 0 } };
	struct buf *frame;
	struct effect *e;

	if (k->asked_at != 0 && m.now < k->asked_at + HINT_ASK_GAP)
		return;
	k->asked_at = MAX(m.now, 1);
	if (msg_encode(&frame, &head, MSG_HINTS, &msg) != 0)
		return;
	e = outbox_add(out, FX_SEND);
	e->to = k->id;
	e->frame = frame;
}

/* How many hints a member's ledger has for this node. */
static uint64_t
kept_for_us(const struct hint *h, struct dyn_slice ledger)
{
	struct rd r = rd_from(ledger);

	while (rd_left(&r) > 0) {
		struct dyn_id owner;
		uint64_t count;

		rd_copy(&r, owner.bytes, sizeof(owner.bytes));
		count = rd_var(&r);
		(void)rd_var(&r);
		if (!r.bad && id_equal(&owner, &h->o.self))
			return count;
	}
	return 0;
}

void
hint_ledger(struct hint *h, const struct dyn_id *from, struct dyn_slice ledger, struct moment m,
    struct outbox *out)
{
	struct keeper *k = keeper_find(h, from);
	uint64_t count = kept_for_us(h, ledger);

	if (count == 0) {
		if (k != NULL) {
			h->waiting -= k->count;
			map_remove(&h->keepers, &k->link);
			mem_free(k);
		}
		return;
	}
	if (h->view == NULL || view_find(h->view, from) == NULL)
		return; /* only of members: so it is bounded */
	if (k == NULL) {
		k = mem_zalloc(sizeof(*k));
		if (k == NULL)
			return; /* it is told again */
		k->id = *from;
		map_add(&h->keepers, &k->link, load_be64(from->bytes));
	}
	h->waiting += count - k->count;
	k->count = count;
	ask_for_hints(h, k, m, out);
}

static void
tell_ledger(struct hint *h, struct moment m, struct outbox *out)
{
	struct buf *bytes;
	struct wr w;

	if (!h->ledger_old || m.now < h->ledger_at)
		return;
	wr_init(&w, 64);
	LIST_EACH(l, &h->all) {
		const struct due *d = CONTAINER_OF(l, struct due, all);

		if (d->count == 0 || wr_len(&w) + 36 > LIMIT_LEDGER)
			continue;
		wr_bytes(&w, d->owner.bytes, sizeof(d->owner.bytes));
		wr_var(&w, d->count);
		wr_var(&w, d->bytes);
	}
	if (wr_finish(&w, &bytes) != 0)
		return;
	h->ledger_old = false;
	h->ledger_at = m.now + HINT_LEDGER_GAP;
	outbox_add(out, FX_LEDGER)->frame = bytes;
}

void
hint_settle(struct hint *h, struct moment m, struct outbox *out)
{
	bool full = h->bytes > h->o.bytes_max;

	if (full != h->full)
		outbox_add(out, FX_HINTS_FULL)->rc = full;
	h->full = full;
	if (h->damaged > 0)
		outbox_log(out, DYN_LOG_ERROR,
		    "%u hints were damaged: they are gone, and the owners will compare their "
		    "copies", h->damaged);
	h->damaged = 0;
	save_dirty(h, out);
	tell_ledger(h, m, out);
}

static void
keeper_free(void *arg, struct map_link *l)
{
	(void)arg;
	mem_free(CONTAINER_OF(l, struct keeper, link));
}

void
hint_free_keepers(struct hint *h)
{
	map_each(&h->keepers, keeper_free, NULL);
	map_fini(&h->keepers);
}
