/*
 * Goal: processes of different builds understand each other: the level of a ring is the
 * lowest of its members, and nothing that a newer one appends disturbs an older one.
 * Method: levels beside a plain array; every message with a tail and cut at its end; a
 * node that is sent frames of unknown kinds and tails, and peers of other levels.
 */
#include "api.h"
#include "test/net.h"

#include "base/rng.h"
#include "model/levels.h"
#include "model/msg.h"

#include <stdio.h>
#include <unistd.h>

enum { MEMBERS = 5 };

static struct dyn_id
id_of(unsigned n)
{
	struct dyn_id id = {{(unsigned char)(n >> 8), (unsigned char)n}};

	return id;
}

/* Members 1..5, of which 4 waits and 5 has left. */
static struct view *
ring_of_five(void)
{
	static const uint8_t states[] = {RECORD_JOINED, RECORD_JOINED, RECORD_LEAVING,
	    RECORD_WAITING, RECORD_LEFT};
	struct settings s = {.partitions = 16, .n = 1, .name = "test"};
	struct view *v;

	s.ring_id = id_of(99);
	ck_assert_int_eq(view_alloc(&v, &s, MEMBERS), 0);
	for (unsigned i = 0; i < MEMBERS; i++) {
		v->records[i].id = id_of(i + 1);
		v->records[i].state = states[i];
	}
	return v;
}

START_TEST(the_lowest_of_the_members)
{
	static struct levels l;
	struct view *v = ring_of_five();
	struct dyn_id self = id_of(1), stranger = id_of(50);

	memset(&l, 0, sizeof(l));
	ck_assert_uint_eq(levels_lowest(&l, v, &self, 7), 0);
	levels_heard(&l, v, &v->records[1].id, 7);
	levels_heard(&l, v, &v->records[2].id, 9);
	ck_assert_uint_eq(levels_lowest(&l, v, &self, 7), 0); /* 4 was not heard */
	levels_heard(&l, v, &v->records[3].id, 8);
	ck_assert_uint_eq(levels_lowest(&l, v, &self, 7), 7); /* 5 does not count */
	ck_assert_uint_eq(levels_lowest(&l, v, &self, 20), 7);
	ck_assert_uint_eq(levels_lowest(&l, v, &self, 3), 3);
	levels_heard(&l, v, &stranger, 1);
	levels_heard(&l, v, &self, 1); /* it knows better */
	ck_assert_uint_eq(levels_lowest(&l, v, &self, 7), 7);
	levels_heard(&l, v, &v->records[2].id, 2); /* an older build again */
	ck_assert_uint_eq(levels_lowest(&l, v, &self, 7), 2);
	levels_heard(&l, v, &v->records[2].id, 70000);
	ck_assert_uint_eq(levels_find(&l, &v->records[2].id), UINT16_MAX);
	view_unref(v);
}
END_TEST

/* Each is found as it was heard last; of too many, members stay. */
START_TEST(as_heard_last)
{
	static struct levels l;
	static unsigned known[2 * LIMIT_MEMBERS];
	struct view *v = ring_of_five();
	struct rng r = {test_seed()};
	struct dyn_id id;

	memset(&l, 0, sizeof(l));
	for (unsigned i = 0; i < 4 * LIMIT_MEMBERS; i++) {
		unsigned n = 1 + (unsigned)rng_below(&r, LIMIT_MEMBERS);

		id = id_of(n);
		known[n] = (unsigned)rng_below(&r, 100);
		levels_heard(&l, v, &id, known[n]);
	}
	for (unsigned n = 0; n < ARRAY_LEN(known); n++) {
		id = id_of(n);
		ck_assert_uint_eq(levels_find(&l, &id), known[n]);
	}
	for (unsigned n = 1; n < 3 * LIMIT_MEMBERS; n++) {
		id = id_of(n);
		levels_heard(&l, v, &id, n % 200 + 1);
	}
	ck_assert_uint_le(l.count, LIMIT_MEMBERS);
	for (unsigned n = 1; n < 5; n++) {
		id = id_of(n);
		ck_assert_uint_eq(levels_find(&l, &id), n + 1);
	}
	view_unref(v);
}
END_TEST

/* --------------------------------------------------------------- the messages */

/* Of every kind: with more at its end it is the same message. */
START_TEST(tails_are_skipped)
{
	unsigned kinds = 0;

	for (unsigned kind = 0; kind < 256; kind++) {
		struct frame head = {.request = 7}, f;
		struct buf *plain, *again;
		unsigned char bytes[8192];
		char text[400], same[400];
		union msg m, back;
		size_t len;

		memset(&m, 0, sizeof(m));
		ck_assert_int_eq(msg_decode((uint8_t)kind, slice("", 0), &m),
		    msg_known((uint8_t)kind) ? 0 : DYN_EVERSION);
		if (!msg_known((uint8_t)kind))
			continue;
		kinds++;
		ck_assert_int_eq(msg_encode(&plain, &head, (enum msg_kind)kind, &m), 0);
		ck_assert_int_eq(frame_decode(&f, buf_slice(plain)), 0);
		len = f.body.len;
		ck_assert_uint_lt(len + 40, sizeof(bytes));
		memcpy(bytes, f.body.data, len);
		memset(bytes + len, 0xff, 40);
		msg_print(text, sizeof(text), f.kind, &m);
		ck_assert_int_eq(msg_decode(f.kind, slice(bytes, len + 40), &back), 0);
		msg_print(same, sizeof(same), f.kind, &back);
		ck_assert_str_eq(text, same);
		ck_assert_int_eq(msg_encode(&again, &head, (enum msg_kind)kind, &back), 0);
		ck_assert(slice_equal(buf_slice(plain), buf_slice(again)));
		buf_unref(plain);
		buf_unref(again);
	}
	ck_assert_uint_gt(kinds, 30);
}
END_TEST

/* A HELLO as the last build without levels wrote it. */
START_TEST(no_level_is_level_0)
{
	struct buf *hello = net_hello(HELLO_MAGIC, 1, 1);
	struct frame f;
	union msg m;

	memset(&m, 0xff, sizeof(m));
	ck_assert_int_eq(frame_decode(&f, buf_slice(hello)), 0);
	ck_assert_int_eq(
	    msg_decode(f.kind, slice(f.body.data, f.body.len - 4), &m), 0);
	ck_assert_uint_eq(m.hello.level, 0);
	ck_assert_uint_eq(m.hello.level_min, 0);
	ck_assert_uint_eq(m.hello.ring.len, 4);
	buf_unref(hello);
}
END_TEST

START_TEST(levels_that_meet)
{
	ck_assert(msg_levels_meet(0, 0, 0, 0));
	ck_assert(msg_levels_meet(3, 2, 2, 0));
	ck_assert(msg_levels_meet(2, 0, 3, 2));
	ck_assert(!msg_levels_meet(3, 2, 1, 0));
	ck_assert(!msg_levels_meet(1, 0, 3, 2));
}
END_TEST

/* --------------------------------------------------------------------- nodes */

struct from {
	enum dyn_role role;
	unsigned purpose, level, level_min;
};

static struct buf *
hello_from(const struct from *from, unsigned char id)
{
	union msg m = {.hello = {.magic = HELLO_MAGIC, .version_min = WIRE_VERSION,
		.version_max = WIRE_VERSION, .role = (uint8_t)from->role,
		.purpose = (uint8_t)from->purpose, .ring = dyn_str("dyn"),
		.level = (uint16_t)from->level, .level_min = (uint16_t)from->level_min}};
	struct frame head = {.version = WIRE_VERSION};
	struct buf *b;

	memset(m.hello.node.bytes, id, sizeof(m.hello.node.bytes));
	if (from->role == DYN_PEER)
		m.hello.advertise = dyn_str("127.0.0.1:1");
	ck_assert_int_eq(msg_encode(&b, &head, MSG_HELLO, &m), 0);
	return b;
}

/* The next frame, in a static buffer; its kind, 0 at the end. */
static unsigned
next(int fd, struct frame *f)
{
	static unsigned char bytes[8192];
	size_t len;
	int rc;

	if (raw_read(fd, bytes, FRAME_HEAD) < FRAME_HEAD)
		return 0;
	len = frame_length(slice(bytes, FRAME_HEAD), sizeof(bytes), &rc);
	ck_assert_int_eq(rc, 0);
	ck_assert_uint_eq(raw_read(fd, bytes + FRAME_HEAD, len - FRAME_HEAD), len - FRAME_HEAD);
	ck_assert_int_eq(frame_decode(f, slice(bytes, len)), 0);
	return f->kind;
}

/* Dial and greet; -1: refused, and the WELCOME was as it has to be. */
static int
enter(const char *address, const struct from *from)
{
	struct buf *hello = hello_from(from, 'x');
	int fd = raw_dial(address);
	struct frame f;
	union msg m;

	raw_send(fd, hello->data, hello->len);
	buf_unref(hello);
	ck_assert_uint_eq(next(fd, &f), MSG_WELCOME);
	ck_assert_int_eq(msg_decode(f.kind, f.body, &m), 0);
	ck_assert_uint_eq(m.welcome.level, FEATURE_LEVEL);
	ck_assert_uint_eq(m.welcome.level_min, FEATURE_LEVEL_MIN);
	if (m.welcome.rc == 0)
		return fd;
	ck_assert_int_eq(msg_rc(m.welcome.rc), DYN_EVERSION);
	ck_assert_ptr_nonnull(
	    memmem(m.welcome.text.data, m.welcome.text.len, "feature level", 13));
	ck_assert_uint_eq(next(fd, &f), 0);
	close(fd);
	return -1;
}

/* What it does not know it passes over, on each sort of connection; and answers what
 * it does. */
START_TEST(unknown_kinds_are_skipped)
{
	struct from from = {DYN_PEER, (unsigned)_i, 0, 0};
	dyn_node *n = api_peer(NULL);
	struct buf *ping = net_frame(1, 1, 8), *odd = net_frame(1, 1, 60),
		   *long_ping = net_frame(2, 2, 60);
	struct dyn_stats s = DYN_STATS_INIT;
	struct frame f;
	int fd;

	fd = enter(dyn_address(n), &from);
	ck_assert_int_ge(fd, 0);
	odd->data[4] = 200;
	long_ping->data[4] = ping->data[4] = MSG_PING;
	raw_send(fd, odd->data, odd->len);
	raw_send(fd, ping->data, ping->len);
	odd->data[4] = 255;
	raw_send(fd, odd->data, odd->len);
	raw_send(fd, long_ping->data, long_ping->len);
	ck_assert_uint_eq(next(fd, &f), MSG_PONG);
	ck_assert_uint_eq(next(fd, &f), MSG_PONG);
	ck_assert_int_eq(dyn_stats(n, &s), 0);
	ck_assert_uint_eq(s.frames_skipped, 2);
	ck_assert_uint_eq(s.protocol_errors, 0);
	close(fd);
	buf_unref(ping);
	buf_unref(odd);
	buf_unref(long_ping);
	api_close(n);
}
END_TEST

START_TEST(who_is_out_of_reach_is_refused)
{
	struct from older = {DYN_PEER, PURPOSE_DATA, 0, 0},
		    newer = {DYN_PEER, PURPOSE_DATA, FEATURE_LEVEL + 3, FEATURE_LEVEL},
		    too_new = {DYN_PEER, PURPOSE_DATA, FEATURE_LEVEL + 3, FEATURE_LEVEL + 1};
	struct dyn_status s = DYN_STATUS_INIT;
	dyn_node *n = api_peer(NULL);
	int fd;

	fd = enter(dyn_address(n), &older);
	ck_assert_int_ge(fd, 0);
	close(fd);
	fd = enter(dyn_address(n), &newer);
	ck_assert_int_ge(fd, 0);
	close(fd);
	ck_assert_int_eq(enter(dyn_address(n), &too_new), -1);
	/* None of them is a member. */
	ck_assert_int_eq(dyn_status(n, &s), 0);
	ck_assert_uint_eq(s.level, FEATURE_LEVEL);
	ck_assert_uint_eq(s.ring_level, FEATURE_LEVEL);
	api_close(n);
}
END_TEST

static Suite *
suite(void)
{
	Suite *s = suite_create("levels");
	TCase *c = tcase_create("levels");

	suite_add_tcase(s, c);
	tcase_set_timeout(c, 60);
	tcase_add_test(c, the_lowest_of_the_members);
	tcase_add_test(c, as_heard_last);
	tcase_add_test(c, tails_are_skipped);
	tcase_add_test(c, no_level_is_level_0);
	tcase_add_test(c, levels_that_meet);
	tcase_add_loop_test(c, unknown_kinds_are_skipped, PURPOSE_DATA, PURPOSE_SYNC + 1);
	tcase_add_test(c, who_is_out_of_reach_is_refused);
	return s;
}

TEST_MAIN(suite)
