/*
 * Goal: the pure parts of a connection: bytes in are cut into the same frames
 * however they arrive, bytes out leave in order however little the socket
 * takes, and addresses are read as they are meant.
 * Method: random streams and random cuts from a seed, compared with the stream
 * as a whole; tables for the addresses.
 */
#include "test/net.h"

#include "base/rng.h"
#include "host/inq.h"
#include "host/outq.h"

#include <stdio.h>

#define STREAM_MAX (1 << 20)
#define FRAME_MAX_HERE (200 << 10)

/* --------------------------------------------------------------- bytes in */

struct stream {
	unsigned char *bytes;
	size_t len, frames;
	size_t starts[4096];
};

static void
make_stream(struct stream *s, struct rng *r)
{
	static const size_t sizes[] = {
	    1, 60, 500, 5000, 100 << 10, FRAME_MAX_HERE - FRAME_HEAD + 1};
	struct buf *b;
	size_t body;

	s->bytes = mem_alloc(STREAM_MAX);
	s->len = s->frames = 0;
	for (;;) {
		body = rng_below(r, sizes[rng_below(r, ARRAY_LEN(sizes))]);
		if (s->len + FRAME_HEAD + body > STREAM_MAX ||
		    s->frames == ARRAY_LEN(s->starts))
			break;
		b = net_frame(3, s->frames, body);
		memcpy(s->bytes + s->len, b->data, b->len);
		s->starts[s->frames++] = s->len;
		s->len += b->len;
		buf_unref(b);
	}
}

/* Take the frames that are there, but at most `most` of them. */
static size_t
take(struct inq *q, const struct stream *s, size_t done, size_t most)
{
	struct frame f;
	const unsigned char *want;
	size_t n;
	int rc = 0;

	for (n = 0; n < most; n++) {
		rc = inq_next(q, FRAME_MAX_HERE, &f);
		ck_assert_int_ge(rc, 0);
		if (rc == 0)
			break;
		want = s->bytes + s->starts[done + n];
		ck_assert_uint_eq(f.request, done + n);
		if (f.body.len > 0)
			ck_assert_int_eq(
			    memcmp(f.body.data, want + FRAME_HEAD, f.body.len), 0);
	}
	return n;
}

START_TEST(any_cut_gives_the_same_frames)
{
	static unsigned char scratch[8192];
	struct rng r = {test_seed() + (uint64_t)_i};
	struct stream s;
	struct inq q = {.rest = NULL};
	unsigned char *at;
	size_t room, n, sent = 0, done = 0, most, piece = 100 + rng_below(&r, 4) * 3000;

	make_stream(&s, &r);
	while (sent < s.len) {
		ck_assert_int_eq(
		    inq_space(&q, scratch, sizeof(scratch), FRAME_MAX_HERE, &at, &room),
		    0);
		ck_assert_uint_gt(room, 0);
		n = 1 + rng_below(&r, piece);
		n = MIN(n, MIN(room, s.len - sent));
		memcpy(at, s.bytes + sent, n);
		sent += n;
		inq_filled(&q, n);
		/* Now and then leave some, as back-pressure does. */
		most = rng_below(&r, 4) == 0 ? rng_below(&r, 3) : SIZE_MAX;
		done += take(&q, &s, done, most);
		ck_assert_int_eq(inq_keep(&q), 0);
		memset(scratch, 0xee, sizeof(scratch));
		if (rng_below(&r, 8) == 0) {
			inq_again(&q);
			done += take(&q, &s, done, SIZE_MAX);
			ck_assert_int_eq(inq_keep(&q), 0);
		}
		/* A promise of much is not believed before much has come. */
		ck_assert_uint_le(q.cap, 2 * (size_t)FRAME_MAX_HERE + (64 << 10));
	}
	inq_again(&q);
	done += take(&q, &s, done, SIZE_MAX);
	ck_assert_int_eq(inq_keep(&q), 0);
	ck_assert_uint_eq(done, s.frames);
	ck_assert_uint_eq(q.len, 0);
	ck_assert_ptr_null(q.rest); /* idle: holds nothing */
	inq_fini(&q);
	mem_free(s.bytes);
}
END_TEST

START_TEST(a_length_alone_allocates_little)
{
	static unsigned char scratch[8192];
	unsigned char head[4] = {0, 0, 0, 4}; /* 64 MiB */
	struct inq q = {.rest = NULL};
	unsigned char *at;
	size_t room, got = 0, max = 64 << 20;
	struct frame f;

	for (int i = 0; i < 40; i++) {
		ck_assert_int_eq(
		    inq_space(&q, scratch, sizeof(scratch), max, &at, &room), 0);
		ck_assert_uint_le(room, got + (64 << 10));
		memset(at, 0, room);
		if (i == 0)
			memcpy(at, head, 4);
		inq_filled(&q, room);
		got += room;
		ck_assert_int_eq(inq_next(&q, max, &f), got < max ? 0 : 1);
		if (got >= max)
			break;
		ck_assert_int_eq(inq_keep(&q), 0);
		ck_assert_uint_le(q.cap, 2 * got + (64 << 10));
	}
	ck_assert_uint_eq(got, max);
	inq_fini(&q);
}
END_TEST

START_TEST(bad_lengths_are_refused)
{
	static const uint32_t lengths[] = {
	    0, 1, 31, 2049, 0x7fffffff, 0x80000000, 0xffffffff};
	static unsigned char scratch[8192];

	for (size_t i = 0; i < ARRAY_LEN(lengths); i++) {
		struct inq q = {.rest = NULL};
		unsigned char *at;
		struct frame f;
		size_t room;

		ck_assert_int_eq(
		    inq_space(&q, scratch, sizeof(scratch), 2048, &at, &room), 0);
		for (int k = 0; k < 4; k++)
			at[k] = (unsigned char)(lengths[i] >> (8 * k));
		inq_filled(&q, 3);
		ck_assert_int_eq(inq_next(&q, 2048, &f), 0);
		inq_filled(&q, 1);
		ck_assert_int_eq(inq_next(&q, 2048, &f), DYN_EPROTO);
		inq_fini(&q);
	}
}
END_TEST

START_TEST(in_without_memory)
{
	static unsigned char scratch[8192];

	TEST_ALLOC_FAILURES (n) {
		struct inq q = {.rest = NULL};
		unsigned char *at;
		size_t room, sum = 0;
		int rc = 0;

		while (rc == 0 && sum < 150 << 10) {
			rc = inq_space(&q, scratch, sizeof(scratch), 1 << 20, &at, &room);
			if (rc != 0)
				break;
			room = MIN(room, 5000);
			memset(at, 0, room);
			if (sum == 0)
				memcpy(at, "\0\0\4\0", 4); /* 256 KiB */
			sum += room;
			inq_filled(&q, room);
			rc = inq_keep(&q);
		}
		ck_assert(rc == 0 || rc == DYN_ENOMEM);
		inq_fini(&q);
	}
}
END_TEST

/* -------------------------------------------------------------- bytes out */

/* What a queue shows first must be the stream from `at` on. */
static void
check_peek(const struct outq *q, const unsigned char *stream, size_t at)
{
	struct iovec iov[5];
	size_t n = outq_peek(q, iov, ARRAY_LEN(iov));

	ck_assert((n == 0) == (q->bytes == 0));
	for (size_t i = 0; i < n; i++) {
		ck_assert_uint_gt(iov[i].iov_len, 0);
		ck_assert_int_eq(memcmp(iov[i].iov_base, stream + at, iov[i].iov_len), 0);
		at += iov[i].iov_len;
	}
}

START_TEST(out_in_order_however_little_goes)
{
	struct rng r = {test_seed() + (uint64_t)_i};
	unsigned char *stream = mem_alloc(4 << 20);
	struct outq q = {.ring = NULL};
	size_t in = 0, gone = 0, n;
	struct buf *b;

	for (int i = 0; i < 2000; i++) {
		if (rng_below(&r, 2) == 0 && in < 3 << 20) {
			n = rng_below(&r, 8) == 0 ? 40000 : 600;
			b = net_frame(9, (uint64_t)i, rng_below(&r, n));
			memcpy(stream + in, b->data, b->len);
			in += b->len;
			ck_assert_int_eq(outq_add(&q, b), 0);
		} else {
			n = rng_below(&r, MIN(q.bytes, 30000) + 1);
			outq_drop(&q, n);
			gone += n;
		}
		ck_assert_uint_eq(q.bytes, in - gone);
		check_peek(&q, stream, gone);
	}
	outq_drop(&q, q.bytes);
	check_peek(&q, stream, in);
	outq_fini(&q);
	mem_free(stream);
}
END_TEST

START_TEST(small_frames_share_blocks)
{
	struct outq q = {.ring = NULL};
	struct iovec iov[64];

	for (uint64_t i = 0; i < 100; i++)
		ck_assert_int_eq(outq_add(&q, net_frame(1, i, 100)), 0);
	ck_assert_uint_eq(outq_peek(&q, iov, 64), 1);
	ck_assert_int_eq(outq_add(&q, net_frame(1, 0, 5000)), 0);
	ck_assert_int_eq(outq_add(&q, net_frame(1, 0, 100)), 0);
	ck_assert_uint_eq(outq_peek(&q, iov, 64), 3);
	outq_fini(&q);
}
END_TEST

START_TEST(out_without_memory)
{
	TEST_ALLOC_FAILURES (n) {
		struct outq q = {.ring = NULL};
		size_t bytes = 0;

		for (uint64_t i = 0; i < 60; i++) {
			size_t len = i % 3 == 0 ? 3000 : 700;
			struct buf *b = buf_new(len);

			if (b == NULL)
				continue;
			memset(b->data, 1, len);
			if (outq_add(&q, b) == 0)
				bytes += len;
			else
				buf_unref(b);
			ck_assert_uint_eq(q.bytes, bytes);
		}
		outq_fini(&q);
	}
}
END_TEST

/* -------------------------------------------------------------- addresses */

START_TEST(addresses_are_split)
{
	static const struct {
		const char *text, *host;
		unsigned port;
		bool loopback;
	} good[] = {
	    {"127.0.0.1:7000", "127.0.0.1", 7000, true},
	    {"127.9.9.9:1", "127.9.9.9", 1, true},
	    {"localhost:0", "localhost", 0, true},
	    {"LocalHost:65535", "LocalHost", 65535, true},
	    {"[::1]:7000", "::1", 7000, true},
	    {"[2001:db8::7]:80", "2001:db8::7", 80, false},
	    {"[fe80::1%eth0]:80", "fe80::1%eth0", 80, false},
	    {"0.0.0.0:80", "0.0.0.0", 80, false},
	    {"[::]:80", "::", 80, false},
	    {"10.1.2.3:80", "10.1.2.3", 80, false},
	    {"db-1.example_net.org:00080", "db-1.example_net.org", 80, false},
	    {"localhost.example.org:1", "localhost.example.org", 1, false},
	    {"128.0.0.1:1", "128.0.0.1", 1, false},
	};
	char host[DYN_ADDRESS_MAX], joined[DYN_ADDRESS_MAX];
	unsigned port;

	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		ck_assert_int_eq(address_split(good[i].text, host, &port), 0);
		ck_assert_str_eq(host, good[i].host);
		ck_assert_uint_eq(port, good[i].port);
		ck_assert_msg(address_is_loopback(good[i].text) == good[i].loopback, "%s",
		    good[i].text);
		address_join(joined, host, port);
		ck_assert_int_eq(address_split(joined, host, &port), 0);
		ck_assert_str_eq(host, good[i].host);
	}
}
END_TEST

START_TEST(bad_addresses_are_refused)
{
	static const char *const bad[] = {"", ":", "x", "x:", ":1", "h:65536",
	    "h:99999999999", "h:-1", "h:+1", "h: 1", "h:1 ", "h:1x", "a b:1", "h/x:1",
	    "[::1:1", "[::1]1", "[::1]", "[]:1", "::1:1", "[::1]:", "h\n:1", "user@h:1",
	    "[::1/64]:1"};
	char host[DYN_ADDRESS_MAX], text[400];
	unsigned port;

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		ck_assert_msg(
		    address_split(bad[i], host, &port) == DYN_EINVAL, "%s", bad[i]);
		ck_assert(!address_is_loopback(bad[i]));
	}
	memset(text, 'a', sizeof(text));
	memcpy(text + 380, ":1", 3);
	ck_assert_int_eq(address_split(text, host, &port), DYN_EINVAL);
}
END_TEST

static Suite *
suite(void)
{
	Suite *s = suite_create("queues");
	TCase *in = tcase_create("in"), *out = tcase_create("out"),
	      *a = tcase_create("address");

	tcase_set_timeout(in, 60);
	tcase_add_loop_test(in, any_cut_gives_the_same_frames, 0, 20);
	tcase_add_test(in, a_length_alone_allocates_little);
	tcase_add_test(in, bad_lengths_are_refused);
	tcase_add_test(in, in_without_memory);
	tcase_add_loop_test(out, out_in_order_however_little_goes, 0, 8);
	tcase_add_test(out, small_frames_share_blocks);
	tcase_add_test(out, out_without_memory);
	tcase_add_test(a, addresses_are_split);
	tcase_add_test(a, bad_addresses_are_refused);
	suite_add_tcase(s, in);
	suite_add_tcase(s, out);
	suite_add_tcase(s, a);
	return s;
}

TEST_MAIN(suite)
