/*
 * Goal: no bytes make the codec or the algebra of views misbehave.
 * Method: the input is two views, u32 length of the first before it.  What
 * decodes must encode to the same bytes and answer for every partition; two
 * that merge must merge alike both ways, settle, and decode again.
 */
#include "test/fuzz/driver.h"

#include "model/view.h"

#define WORK_MAX (1 << 16)

static struct view *
decode(struct dyn_slice s)
{
	struct view *v;
	int rc = view_decode(&v, s);

	DYN_ASSERT(rc == 0 ? v != NULL : v == NULL);
	DYN_ASSERT(rc == 0 || rc == DYN_EPROTO || rc == DYN_EVERSION);
	return v;
}

static void
try_encode(const struct view *v, struct dyn_slice s)
{
	struct buf *b;

	DYN_ASSERT(view_encode(v, &b) == 0);
	DYN_ASSERT(slice_equal(buf_slice(b), s));
	buf_unref(b);
}

static void
try_groups(const struct view *v)
{
	for (unsigned p = 0; v->current != NULL && p < v->settings.partitions; p++) {
		struct group read, write[2];
		unsigned lists;

		view_readers(v, p, &read);
		lists = view_writers(v, p, write);
		DYN_ASSERT(lists == 1 || lists == 2);
		DYN_ASSERT(read.count > 0 && write[0].count > 0);
		for (unsigned i = 0; i < read.count; i++)
			DYN_ASSERT(read.member[i] < v->count);
		for (unsigned i = 0; i < write[0].count; i++)
			DYN_ASSERT(view_owns(v, p, &v->records[write[0].member[i]].id));
	}
}

static void
try_settle(struct view *v)
{
	struct view *settled, *again;
	struct buf *b;

	if (v->current == NULL || v->current->epoch >= UINT64_C(1) << 56 ||
	    v->settings.partitions * v->settings.n * v->count > WORK_MAX)
		return;
	DYN_ASSERT(view_settle(&settled, v) == 0);
	DYN_ASSERT(view_stamp(settled) >= view_stamp(v));
	DYN_ASSERT(view_encode(settled, &b) == 0);
	again = decode(buf_slice(b));
	DYN_ASSERT(again != NULL && view_equal(again, settled));
	try_groups(again);
	view_unref(again);
	view_unref(settled);
	buf_unref(b);
}

static void
try_merge(struct view *a, struct view *b)
{
	struct view *ab, *ba, *again;
	int rc = view_merge(&ab, a, b);

	DYN_ASSERT(view_merge(&ba, b, a) == rc);
	if (rc != 0) {
		DYN_ASSERT(rc == DYN_ERING || rc == DYN_ETOOBIG);
		return;
	}
	DYN_ASSERT(view_equal(ab, ba));
	DYN_ASSERT(view_merge(&again, ab, b) == 0 && again == ab);
	try_settle(ab);
	view_unref(again);
	view_unref(ab);
	view_unref(ba);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct rd r = rd_from(slice(data, len));
	size_t first = rd_u32(&r);
	struct dyn_slice x = rd_bytes(&r, MIN(first, rd_left(&r)));
	struct dyn_slice y = rd_bytes(&r, rd_left(&r));
	long before = mem_balance();
	struct view *a = decode(x), *b = decode(y);

	if (a != NULL) {
		try_encode(a, x);
		try_groups(a);
		try_settle(a);
	}
	if (a != NULL && b != NULL)
		try_merge(a, b);
	view_unref(a);
	view_unref(b);
	DYN_ASSERT(mem_balance() == before);
	return 0;
}
