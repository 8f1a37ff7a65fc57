/* Checking what a peer sends, and answering when it is stored. */
#include "core/arrive.h"

struct arrival {
	struct list link;
	uint64_t number, conn, request;
	uint8_t kind; /* of the frame */
};

void
arrive_init(struct arrivals *a, const struct dyn_id *self)
{
	memset(a, 0, sizeof(*a));
	a->self = *self;
	a->next_number = 1;
	list_init(&a->list);
}

void
arrive_fini(struct arrivals *a)
{
	while (!list_empty(&a->list))
		mem_free(CONTAINER_OF(list_pop(&a->list), struct arrival, link));
	view_unref(a->view);
	a->view = NULL;
}

void
arrive_view(struct arrivals *a, struct view *v)
{
	view_ref(v);
	view_unref(a->view);
	a->view = v;
}

static void
answer(struct arrivals *a, const struct arrival *x, int rc, struct outbox *out)
{
	struct frame head = view_head(a->view, x->request);
	bool hint = x->kind == MSG_HINT;
	union msg msg;
	struct buf *frame;
	struct effect *e;

	if (hint)
		msg.hint_ack.rc = (uint32_t)rc;
	else
		msg.repair_ack.rc = (uint32_t)rc;
	if (msg_encode(&frame, &head, hint ? MSG_HINT_ACK : MSG_REPAIR_ACK, &msg) != 0)
		return; /* they come again */
	e = outbox_add(out, FX_REPLY);
	e->conn = x->conn;
	e->frame = frame;
}

/* May it be merged here?  Not what was sent before the last fence for collecting: see
 * replica.c.  And not a hint by an older table: it is part of the W of a write, and who
 * owns the row by the table of this node may have been here for it already (pull.h).
 * Repairs come from who has it too, and keeps it. */
static int
check(const struct arrivals *a, const struct frame *f, bool hint, unsigned partition,
    struct dyn_slice rows)
{
	unsigned partitions;
	struct dyn_slice last;

	if (a->view == NULL || a->view->current == NULL)
		return DYN_EBUSY;
	partitions = a->view->settings.partitions;
	if (partition >= partitions || !rows_check(rows, partition, partitions, &last))
		return DYN_EPROTO;
	if (view_stamp_is_ahead(a->view, f->epoch))
		return DYN_EBUSY;
	if (!view_owns(a->view, partition, &a->self) ||
	    f->epoch >> 2 < a->view->current->collected || (hint && head_is_older(a->view, f)))
		return DYN_EMOVED;
	return a->count >= ARRIVALS_MAX ? DYN_EBUSY : 0;
}

int
arrive_frame(struct arrivals *a, uint64_t conn, const struct frame *f, const union msg *msg,
    struct outbox *out)
{
	bool hint = f->kind == MSG_HINT;
	unsigned partition = hint ? msg->hint.partition : msg->repair.partition;
	struct dyn_slice bytes = hint ? msg->hint.rows : msg->repair.rows;
	struct arrival now = { .conn = conn, .request = f->request, .kind = f->kind }, *x = NULL;
	struct rows *rows = NULL;
	int rc = check(a, f, hint, partition, bytes);

	if (rc == DYN_EPROTO)
		return rc;
	if (rc == 0) {
		x = mem_zalloc(sizeof(*x));
		rows = rows_new(ROWS_ARRIVED, partition, a->next_number++, bytes);
		if (x == NULL || rows == NULL)
			rc = DYN_ENOMEM;
	}
	if (rc != 0) {
		mem_free(x);
		rows_free(rows);
		answer(a, &now, rc, out);
		return 0;
	}
	*x = now;
	x->number = rows->number;
	list_init(&x->link);
	list_add(&a->list, &x->link);
	a->count++;
	outbox_add(out, FX_ROWS)->what = rows;
	return 0;
}

void
arrive_stored(struct arrivals *a, struct rows *rows, int rc, struct outbox *out)
{
	LIST_EACH_SAFE(l, next, &a->list) {
		struct arrival *x = CONTAINER_OF(l, struct arrival, link);

		if (x->number != rows->number)
			continue;
		answer(a, x, rc, out);
		list_remove(&x->link);
		a->count--;
		mem_free(x);
	}
	rows_free(rows);
}
