/*
 * The codec: msg.h's list expanded into encoders, decoders and printers.
 *
 * The macros stay in this file.  Nothing here decides what a message means.
 */
#include "model/msg.h"

#include <stdio.h>

size_t
frame_length(struct dyn_slice bytes, size_t max, int *rc)
{
	struct rd r = rd_from(bytes);
	uint32_t len;

	*rc = 0;
	if (bytes.len < 4)
		return 0;
	len = rd_u32(&r);
	if (len < FRAME_HEAD || len > max)
		*rc = DYN_EPROTO;
	return len;
}

int
frame_decode(struct frame *f, struct dyn_slice whole)
{
	struct rd r = rd_from(whole);
	uint32_t len = rd_u32(&r);

	f->kind = rd_u8(&r);
	f->flags = rd_u8(&r);
	f->version = rd_u16(&r);
	f->request = rd_u64(&r);
	f->epoch = rd_u64(&r);
	f->table = rd_u64(&r);
	if (r.bad || len != whole.len)
		return DYN_EPROTO;
	f->body = rd_bytes(&r, rd_left(&r));
	return 0;
}

static void
wr_id(struct wr *w, struct dyn_id id)
{
	wr_bytes(w, id.bytes, sizeof(id.bytes));
}

static void
wr_digest(struct wr *w, struct digest d)
{
	wr_bytes(w, d.b, sizeof(d.b));
}

static struct dyn_id
rd_id(struct rd *r)
{
	struct dyn_id id;

	rd_copy(r, id.bytes, sizeof(id.bytes));
	return id;
}

static struct digest
rd_digest(struct rd *r)
{
	struct digest d;

	rd_copy(r, d.b, sizeof(d.b));
	return d;
}

/* Encoders, one a message: the fields in order. */
#define F(type, name) wr_##type(w, m->name);
#define S(name, max)                                                           \
	DYN_ASSERT(m->name.len <= (max));                                      \
	wr_slice(w, m->name);
#define M(number, KIND, name, fields)                                          \
	static void wr_msg_##name(struct wr *w, const struct msg_##name *m)    \
	{                                                                      \
		fields                                                         \
	}
MSG_SCHEMA(M)
#undef M
#undef F
#undef S

/* Decoders: a field that is missing because the sender is older is zero, so a
 * read is only tried while there is input; a field cut in its middle is an
 * error. */
#define F(type, name)                                                          \
	if (rd_left(r) > 0)                                                    \
		m->name = rd_##type(r);
#define S(name, max)                                                           \
	if (rd_left(r) > 0)                                                    \
		m->name = rd_slice(r, max);
#define M(number, KIND, name, fields)                                          \
	static void rd_msg_##name(struct rd *r, struct msg_##name *m)          \
	{                                                                      \
		fields                                                         \
	}
MSG_SCHEMA(M)
#undef M
#undef F
#undef S

/* A guess of the size that spares the writer from growing. */
#define F(type, name) size += 16;
#define S(name, max) size += 10 + m->name.len;
#define M(number, KIND, name, fields)                                          \
	static size_t size_msg_##name(const struct msg_##name *m)              \
	{                                                                      \
		size_t size = FRAME_HEAD;                                      \
		(void)m;                                                       \
		fields return size;                                            \
	}
MSG_SCHEMA(M)
#undef M
#undef F
#undef S

static size_t
size_guess(enum msg_kind kind, const union msg *m)
{
	switch (kind) {
#define M(number, KIND, name, fields)                                          \
	case MSG_##KIND:                                                       \
		return size_msg_##name(&m->name);
		MSG_SCHEMA(M)
#undef M
	}
	return FRAME_HEAD;
}

int
msg_encode(struct buf **out, const struct frame *head, enum msg_kind kind, const union msg *m)
{
	struct wr w;

	wr_init(&w, size_guess(kind, m));
	wr_u32(&w, 0);
	wr_u8(&w, (uint8_t)kind);
	wr_u8(&w, head->flags);
	wr_u16(&w, WIRE_VERSION);
	wr_u64(&w, head->request);
	wr_u64(&w, head->epoch);
	wr_u64(&w, head->table);
	switch (kind) {
#define M(number, KIND, name, fields)                                          \
	case MSG_##KIND:                                                       \
		wr_msg_##name(&w, &m->name);                                   \
		break;
		MSG_SCHEMA(M)
#undef M
	}
	wr_patch_u32(&w, 0, (uint32_t)wr_len(&w));
	return wr_finish(&w, out);
}

int
msg_decode(uint8_t kind, struct dyn_slice body, union msg *out)
{
	struct rd r = rd_from(body);

	switch (kind) {
#define M(number, KIND, name, fields)                                          \
	case number:                                                           \
		memset(&out->name, 0, sizeof(out->name));                      \
		rd_msg_##name(&r, &out->name);                                 \
		break;
		MSG_SCHEMA(M)
#undef M
	default:
		return DYN_EVERSION;
	}
	return r.bad ? DYN_EPROTO : 0;
}

bool
msg_known(uint8_t kind)
{
	switch (kind) {
#define M(number, KIND, name, fields) case number:
		MSG_SCHEMA(M)
#undef M
		return true;
	default:
		return false;
	}
}

bool
msg_levels_meet(unsigned level, unsigned level_min, unsigned other, unsigned other_min)
{
	return level >= other_min && other >= level_min;
}

const char *
msg_name(uint8_t kind)
{
	switch (kind) {
#define M(number, KIND, name, fields)                                          \
	case number:                                                           \
		return #KIND;
		MSG_SCHEMA(M)
#undef M
	default:
		return "?";
	}
}

struct text {
	char *out;
	size_t cap, len;
};

/* Append as snprintf would; len counts also what did not fit. */
static void
say(struct text *t, const char *name, unsigned long long value)
{
	size_t left = t->len < t->cap ? t->cap - t->len : 0;
	int n = snprintf(left > 0 ? t->out + t->len : NULL, left, " %s=%llu", name, value);

	if (n > 0)
		t->len += (size_t)n;
}

static void
say_bytes(struct text *t, const char *name, const unsigned char *b)
{
	say(t, name, load_be64(b));
}

#define say_u8 say
#define say_u16 say
#define say_u32 say
#define say_u64 say
#define say_id(t, name, v) say_bytes(t, name, (v).bytes)
#define say_digest(t, name, v) say_bytes(t, name, (v).b)
#define F(type, name) say_##type(t, #name, m->name);
#define S(name, max) say(t, #name, m->name.len);
#define M(number, KIND, name, fields)                                          \
	static void say_msg_##name(struct text *t, const struct msg_##name *m) \
	{                                                                      \
		fields                                                         \
	}
MSG_SCHEMA(M)
#undef M
#undef F
#undef S

int
msg_print(char *out, size_t cap, uint8_t kind, const union msg *m)
{
	struct text t = { out, cap, 0 };
	int n = snprintf(out, cap, "%s", msg_name(kind));

	t.len = n > 0 ? (size_t)n : 0;
	switch (kind) {
#define M(number, KIND, name, fields)                                          \
	case number:                                                           \
		say_msg_##name(&t, &m->name);                                  \
		break;
		MSG_SCHEMA(M)
#undef M
	default:
		break;
	}
	return (int)t.len;
}
