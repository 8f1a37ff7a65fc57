/*
 * Goal: no bytes make the codec, the merge or the put of objects misbehave.
 * Method: the input is two objects, u16 length of the first before it.  What
 * decodes must encode to the same bytes; merges must keep their laws and put
 * must give an object that decodes and has what was written.
 */
#include "test/fuzz/driver.h"

#include "model/object.h"

static struct buf *
merge(struct dyn_slice a, struct dyn_slice b, int *how)
{
	struct buf *out;

	*how = object_merge(a, b, &out);
	DYN_ASSERT(*how >= 0);
	if (out != NULL)
		return out;
	return *how == OBJECT_RIGHT ? buf_copy(b.data, b.len) : buf_copy(a.data, a.len);
}

static bool
try_codec(struct dyn_slice s)
{
	struct object o;
	struct buf *b;
	int rc = object_decode(&o, s);

	DYN_ASSERT(rc == 0 || rc == DYN_EPROTO || rc == DYN_EVERSION || rc == DYN_ETOOBIG);
	if (rc == 0) {
		DYN_ASSERT(object_encode(&o, &b) == 0);
		DYN_ASSERT(slice_equal(buf_slice(b), s));
		buf_unref(b);
	}
	object_fini(&o);
	return rc == 0;
}

static void
try_merge(struct dyn_slice a, struct dyn_slice b)
{
	int how, other, again;
	struct buf *ab = merge(a, b, &how), *ba = merge(b, a, &other);
	struct buf *m = merge(buf_slice(ab), a, &again);

	DYN_ASSERT(slice_equal(buf_slice(ab), buf_slice(ba)));
	DYN_ASSERT(slice_equal(buf_slice(ab), buf_slice(m)));
	DYN_ASSERT((how == OBJECT_SAME) == slice_equal(a, b));
	DYN_ASSERT((how == OBJECT_LEFT) == (other == OBJECT_RIGHT));
	DYN_ASSERT((how == OBJECT_SKEWED) == (other == OBJECT_SKEWED));
	DYN_ASSERT(try_codec(buf_slice(ab)));
	buf_unref(ab);
	buf_unref(ba);
	buf_unref(m);
}

static void
try_put(struct dyn_slice now, struct dyn_slice seen, unsigned kind)
{
	static const struct clock nothing;
	struct mint m = { .actor = { 'a', 1 }, .value = slice("v", 1), .deleted = kind & 1,
		.lww = kind & 2, .overwrite = kind & 4 };
	struct object context, made;
	struct buf *out;
	struct dot dot;
	int rc;

	DYN_ASSERT(object_decode(&context, seen) == 0);
	m.context = (kind & 8) != 0 ? &context.clock : &nothing;
	rc = object_put(now, &m, &out, &dot);
	DYN_ASSERT(rc == 0 || rc == DYN_ECORRUPT || rc == DYN_ECLOCK);
	DYN_ASSERT((rc == 0) == (out != NULL));
	if (rc == 0) {
		bool found = dot.counter == 0;

		DYN_ASSERT(object_decode(&made, buf_slice(out)) == 0);
		DYN_ASSERT(clock_within(m.context, &made.clock));
		for (size_t i = 0; i < made.count; i++)
			found |= dot_compare(made.values[i].dot, dot) == 0;
		DYN_ASSERT(found);
		object_fini(&made);
	}
	buf_unref(out);
	object_fini(&context);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct rd r = rd_from(slice(data, len));
	size_t first = rd_u16(&r);
	struct dyn_slice a = rd_bytes(&r, MIN(first, rd_left(&r)));
	struct dyn_slice b = rd_bytes(&r, rd_left(&r));
	long before = mem_balance();
	bool first_good = try_codec(a), second_good = try_codec(b);

	if (first_good && second_good) {
		try_merge(a, b);
		for (unsigned kind = 0; kind < 16; kind++)
			try_put(a, b, kind);
	}
	DYN_ASSERT(mem_balance() == before);
	return 0;
}
