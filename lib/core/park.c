/*
 * A request that comes while the ring still grows towards enough owners.
 *
 * Just after the first peers have met, the table that is read and written by
 * may have fewer owners than R or W, and in a moment it will not.  Refusing at
 * once would make the first call of every new ring fail; so the request waits
 * for the next view, at most until its deadline.
 *
 *	PARKED --view with enough owners--> starts anew, as if it came now
 *	PARKED --deadline--> end (DYN_EQUORUM: nothing was sent to anybody)
 *
 * Owners that exist but cannot be reached are not waited for: that is for the
 * quorum to say.
 */
#include "core/request.h"

bool
park_needed(const struct work *w, const struct op *op)
{
	unsigned p = name_partition(buf_slice(op->name), w->view->settings.partitions);
	unsigned need = op->kind == OP_GET ? op->r : op->w, count = 1;
	struct group g[2];

	if (view_phase(w->view) == VIEW_SETTLED || (op->flags & DYN_HERE) != 0)
		return false;
	if (op->kind == OP_GET)
		view_readers(w->view, p, &g[0]);
	else
		count = view_writers(w->view, p, g);
	for (unsigned i = 0; i < count; i++)
		if (MIN(g[i].count, op->n) < need)
			return true;
	return false;
}

void
park_start(struct work *w, struct op *op, struct moment m, struct outbox *out)
{
	struct request *r = mem_zalloc(sizeof(*r));
	int rc = DYN_ENOMEM;

	if (r != NULL) {
		r->kind = REQUEST_PARKED;
		rc = request_start(w, r, op, m);
	}
	if (rc != 0) {
		mem_free(r);
		op_done(w, op, rc, m, out);
		return;
	}
	r->moved = true; /* work_view looks at those */
}

void
park_view(struct work *w, struct request *r, struct moment m, struct outbox *out)
{
	struct op *op = r->op;

	if (park_needed(w, op))
		return;
	r->op = NULL;
	request_end(w, r);
	work_op(w, op, m, out);
}

void
park_timer(struct work *w, struct request *r, struct moment m, struct outbox *out)
{
	struct op *op = r->op;

	r->op = NULL;
	op_done(w, op, DYN_EQUORUM, m, out);
	request_end(w, r);
}

void
park_free(struct request *r)
{
	mem_free(r);
}
