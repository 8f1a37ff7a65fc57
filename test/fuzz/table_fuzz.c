/*
 * Goal: no bytes make the codec of tables or the placement function misbehave.
 * Method: what decodes must encode to the same bytes, give a preference list of
 * everybody, and be a fit parent: the next table for the same and for fewer
 * seats must decode again and verify.
 */
#include "test/fuzz/driver.h"

#include "model/table.h"

#define WORK_MAX (1 << 16) /* places times seats: larger tables are only decoded */

static struct buf *
encode(const struct table *t)
{
	struct buf *b;
	struct wr w;

	wr_init(&w, 0);
	table_write(&w, t);
	DYN_ASSERT(wr_finish(&w, &b) == 0);
	return b;
}

static void
try_preference(const struct table *t)
{
	uint16_t list[LIMIT_MEMBERS];
	uint8_t seen[LIMIT_MEMBERS] = {0};
	unsigned p = (unsigned)(t->epoch % t->partitions);

	DYN_ASSERT(table_preference(t, p, list) == t->seats_count);
	for (size_t i = 0; i < t->seats_count; i++) {
		DYN_ASSERT(list[i] < t->seats_count && !seen[list[i]]);
		seen[list[i]] = 1;
	}
}

static void
try_next(const struct table *t, size_t seats)
{
	struct table *next, *again;
	struct buf *b;
	struct rd r;

	/* The last epoch has no next one. */
	if (seats == 0 || t->epoch >= UINT64_C(1) << 56)
		return;
	DYN_ASSERT(table_next(&next, t, 0, 0, t->seats, seats) == 0);
	DYN_ASSERT(next->epoch == t->epoch + 1 && table_verify(next, t) == 1);
	b = encode(next);
	r = rd_from(buf_slice(b));
	DYN_ASSERT(table_read(&r, &again) == 0 && rd_end(&r));
	DYN_ASSERT(table_compare(next, again) == 0);
	table_unref(again);
	table_unref(next);
	buf_unref(b);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct rd r = rd_from(slice(data, len));
	long before = mem_balance();
	struct table *t;
	struct buf *b;
	int rc;

	rc = table_read(&r, &t);
	DYN_ASSERT(rc == 0 ? t != NULL : rc == DYN_EPROTO && t == NULL);
	if (rc != 0)
		return 0;
	b = encode(t);
	DYN_ASSERT(b->len <= len && memcmp(b->data, data, b->len) == 0);
	buf_unref(b);
	try_preference(t);
	if ((size_t)t->partitions * t->n * t->seats_count <= WORK_MAX) {
		try_next(t, t->seats_count);
		try_next(t, t->seats_count - 1);
	}
	table_unref(t);
	DYN_ASSERT(mem_balance() == before);
	return 0;
}
