/*
 * Goal: no bytes from a socket make the cutting of frames or the decoding of
 * messages misbehave, and how the bytes arrive makes no difference.
 * Method: the first byte says in which pieces the others arrive and how many
 * frames are taken at a time; the frames found must be those of the input in
 * one piece.  Every message that decodes must print, encode, and decode again
 * to the same bytes.
 */
#include "test/fuzz/driver.h"

#include "host/inq.h"

#define MOST (64 << 10)

struct sum {
	uint64_t frames, bytes, mixed;
	int rc;
};

static void
try_message(const struct frame *f)
{
	union msg m, again;
	struct buf *first, *second;
	struct frame g;
	char text[200];
	int rc = msg_decode(f->kind, f->body, &m);

	DYN_ASSERT(rc == 0 || rc == DYN_EPROTO || rc == DYN_EVERSION);
	if (rc != 0)
		return;
	DYN_ASSERT(msg_print(text, sizeof(text), f->kind, &m) > 0);
	DYN_ASSERT(msg_encode(&first, f, f->kind, &m) == 0);
	DYN_ASSERT(frame_decode(&g, buf_slice(first)) == 0);
	DYN_ASSERT(g.kind == f->kind && g.request == f->request && g.epoch == f->epoch);
	DYN_ASSERT(msg_decode(g.kind, g.body, &again) == 0);
	DYN_ASSERT(msg_encode(&second, &g, g.kind, &again) == 0);
	DYN_ASSERT(slice_equal(buf_slice(first), buf_slice(second)));
	buf_unref(first);
	buf_unref(second);
}

static void
take(struct inq *q, struct sum *s, size_t most)
{
	struct frame f;

	for (size_t n = 0; n < most && s->rc == 0; n++) {
		int rc = inq_next(q, MOST, &f);

		if (rc == 0)
			return;
		if (rc < 0) {
			s->rc = rc;
			return;
		}
		s->frames++;
		s->bytes += f.body.len;
		s->mixed = mix64(s->mixed + hash_quick(f.body) + f.kind + f.request);
		try_message(&f);
	}
}

static struct sum
feed(struct dyn_slice bytes, size_t piece, size_t most)
{
	static unsigned char scratch[8192];
	struct inq q = {.rest = NULL};
	struct sum s = {.frames = 0};
	const unsigned char *p = bytes.data;
	unsigned char *at;
	size_t room, n;

	for (size_t done = 0; done < bytes.len && s.rc == 0; done += n) {
		s.rc = inq_space(&q, scratch, sizeof(scratch), MOST, &at, &room);
		if (s.rc != 0)
			break;
		n = MIN(bytes.len - done, MIN(piece, room));
		memcpy(at, p + done, n);
		inq_filled(&q, n);
		take(&q, &s, most);
		DYN_ASSERT(inq_keep(&q) == 0);
		DYN_ASSERT(q.cap <= 3 * (done + n) + (128 << 10));
	}
	inq_again(&q);
	take(&q, &s, SIZE_MAX);
	inq_fini(&q);
	return s;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	long before = mem_balance();
	struct sum whole, cut;

	if (len == 0)
		return 0;
	whole = feed(slice(data + 1, len - 1), SIZE_MAX, SIZE_MAX);
	cut = feed(
	    slice(data + 1, len - 1), 1 + (data[0] & 0x3fu) * 5, 1 + (data[0] >> 6u));
	DYN_ASSERT(whole.rc == cut.rc && whole.frames == cut.frames);
	DYN_ASSERT(whole.bytes == cut.bytes && whole.mixed == cut.mixed);
	DYN_ASSERT(mem_balance() == before);
	return 0;
}
