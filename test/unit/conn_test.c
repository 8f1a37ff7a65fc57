/*
 * Goal: connections carry frames whole and in order whatever their sizes, in
 * both directions, and neither garbage nor silence nor slowness of the other
 * side costs more than that connection.
 * Method: real sockets on loopback, two loops in this process; misbehaving
 * peers are plain sockets.  Each test ends with as many open files and memory
 * blocks as it began with.
 */
#include "test/net.h"

#include "host/dial.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static struct side a, b, c; /* a listens, b dials, c is there to move to */
static struct side *const sides[] = {&a, &b, &c};
static size_t files_before;
static long blocks_before;

static void
begin(void)
{
	files_before = net_open_files();
	blocks_before = mem_balance();
	side_init(&a, "a");
	side_init(&b, "b");
	side_init(&c, "c");
}

static void
start(void)
{
	side_listen(&a, "127.0.0.1:0");
	for (size_t i = 0; i < ARRAY_LEN(sides); i++)
		side_start(sides[i]);
}

static void
finish(void)
{
	sides_fini(sides, ARRAY_LEN(sides));
	ck_assert_int_eq(mem_balance(), blocks_before);
	ck_assert_uint_eq(net_open_files(), files_before);
}

/* The first connection that a accepted, once it is there. */
static struct end *
accepted(void)
{
	TEST_WAIT(atomic_load(&a.count) > 0 && atomic_load(&a.ends[0].opened) > 0, 20000);
	return &a.ends[0];
}

/* ----------------------------------------------------------------- traffic */

struct traffic {
	uint64_t frames;
	size_t size_max, out_max;
	int socket_buffer;
};

static const struct traffic traffics[] = {
    {1, 0, 8 << 20, 0},
    {1, 2 << 20, 8 << 20, 0},
    {100000, 30, 1 << 20, 0},
    {20000, 2000, 100 << 10, 0},
    {3000, 200 << 10, 1 << 20, 0},
    {400, 2 << 20, 4 << 20, 0},
    {2000, 20 << 10, 64 << 10, 32 << 10},
    {30, 2 << 20, 64 << 10, 64 << 10},
};

static void
run_traffic(const struct traffic *t)
{
	struct end both = {.to_send = t->frames, .size_max = t->size_max, .tag = 5};
	struct end *x, *y;

	a.config.out_max = b.config.out_max = t->out_max;
	a.config.socket_buffer = b.config.socket_buffer = t->socket_buffer;
	a.accept_as = both;
	start();
	y = side_dial(&b, a.bound, &both);
	x = accepted();
	TEST_WAIT(atomic_load(&x->got) == t->frames && atomic_load(&y->got) == t->frames,
	    60000);
	ck_assert_uint_eq(atomic_load(&x->bad), 0);
	ck_assert_uint_eq(atomic_load(&y->bad), 0);
	ck_assert_int_eq(atomic_load(&x->closed) + atomic_load(&y->closed), 0);
	/* The greeting is a frame too. */
	ck_assert_uint_eq(atomic_load(&a.counters.frames_in), t->frames + 1);
	ck_assert_uint_eq(atomic_load(&b.counters.frames_in), t->frames + 1);
	/* The sender counts after the receiver may have read. */
	TEST_WAIT(atomic_load(&a.counters.frames_out) == t->frames + 1, 20000);
	TEST_WAIT(atomic_load(&a.counters.bytes_in) ==
	              atomic_load(&b.counters.bytes_out), 20000);
	TEST_WAIT(atomic_load(&b.counters.bytes_in) ==
	              atomic_load(&a.counters.bytes_out), 20000);
}

START_TEST(frames_arrive_whole_and_in_order)
{
	begin();
	run_traffic(&traffics[_i]);
	finish();
}
END_TEST

/* Frames of both sides, on a connection that moved to a third loop. */
START_TEST(a_moved_connection_goes_on)
{
	struct end both = {.to_send = 5000, .size_max = 3000, .tag = 8};
	struct end *y;

	begin();
	a.accept_to = &c.loop;
	a.accept_as = both;
	start();
	y = side_dial(&b, a.bound, &both);
	TEST_WAIT(atomic_load(&y->got) == 5000, 10000);
	TEST_WAIT(
	    atomic_load(&c.count) == 1 && atomic_load(&c.ends[0].got) == 5000, 10000);
	ck_assert_uint_eq(atomic_load(&y->bad) + atomic_load(&c.ends[0].bad), 0);
	finish();
}
END_TEST

/* HELLO and what follows it in one packet, then byte by byte: nothing that was
 * read before the move may be lost. */
START_TEST(bytes_behind_the_hello_are_kept)
{
	unsigned char all[8192];
	size_t len = 0;
	struct buf *parts[20];
	int fd;

	begin();
	a.accept_to = _i == 0 ? NULL : &c.loop;
	a.accept_as.tag = 4;
	start();
	parts[0] = net_hello(HELLO_MAGIC, 1, 1);
	for (uint64_t i = 1; i < ARRAY_LEN(parts); i++)
		parts[i] = net_frame(4, i - 1, i * 10);
	for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
		memcpy(all + len, parts[i]->data, parts[i]->len);
		len += parts[i]->len;
		buf_unref(parts[i]);
	}
	fd = raw_dial(a.bound);
	if (_i < 2)
		raw_send(fd, all, len);
	else
		for (size_t i = 0; i < len; i++)
			raw_send(fd, all + i, 1);
	struct side *at = _i == 0 ? &a : &c;
	TEST_WAIT(
	    atomic_load(&at->count) == 1 && atomic_load(&at->ends[0].got) == 19, 20000);
	ck_assert_uint_eq(atomic_load(&at->ends[0].bad), 0);
	close(fd);
	TEST_WAIT(atomic_load(&at->ends[0].closed) == 1, 20000);
	finish();
}
END_TEST

/* The loop that the connection is to move to has ended: closed is all that its
 * owner hears. */
START_TEST(moving_to_a_loop_that_stopped)
{
	struct end *y;

	begin();
	a.accept_to = &c.loop;
	start();
	loop_stop(&c.loop);
	y = side_dial(&b, a.bound, NULL);
	TEST_WAIT(atomic_load(&c.count) == 1, 20000);
	test_sleep_ms(20);
	ck_assert_int_eq(atomic_load(&y->closed), 0);
	finish();
	ck_assert_int_eq(atomic_load(&c.ends[0].opened), 0);
	ck_assert_int_eq(atomic_load(&c.ends[0].rc), DYN_ECLOSED);
}
END_TEST

/* ----------------------------------------------------------- bad greetings */

static const struct {
	const char *bytes;
	size_t len;
	const char *log; /* NULL: it is enough that it is closed */
} strangers[] = {
    {"GET / HTTP/1.0\r\n\r\n", 18, "malformed or too large a greeting"},
    {"\0\0\0\0", 4, "malformed or too large a greeting"},
    {"\x1f\0\0\0", 4, "malformed or too large a greeting"},
    {"\x01\x08\0\0", 4, "malformed or too large a greeting"},
    {"\xff\xff\xff\xff", 4, "malformed or too large a greeting"},
    {"\x16\x03\x01\x02\0\x01", 6, "speaks TLS"},
    {"\x20\0\0\0\x2a\0\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 32,
	"does not begin with HELLO"},
    {"\x20\0\0\0\x01\0\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 32,
	"does not begin with HELLO"}, /* a HELLO without a body */
    {"\x22\0\0\0\x01\0\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x44\x59", 34,
	"does not begin with HELLO"}, /* cut in its magic */
    {"\x20\0\0\0\xc8\0\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 32,
	"does not begin with HELLO"}, /* unknown kind */
};

START_TEST(garbage_costs_only_its_connection)
{
	struct end asks = {.to_send = 100, .tag = 1};
	struct end *y, *z;
	int fd;

	begin();
	a.accept_as = (struct end){.echo = true, .tag = 1};
	start();
	y = side_dial(&b, a.bound, &asks);
	accepted();
	fd = raw_dial(a.bound);
	raw_send(fd, strangers[_i].bytes, strangers[_i].len);
	ck_assert(raw_ends(fd, 2000));
	close(fd);
	ck_assert_msg(side_logged(&a, strangers[_i].log), "%s", a.log);
	ck_assert(side_logged(&a, "from 127.0.0.1:"));
	ck_assert_int_eq(atomic_load(&a.log_lines), 1);
	ck_assert_uint_eq(atomic_load(&a.counters.protocol_errors), 1);
	/* The others are as they were. */
	z = side_dial(&b, a.bound, &asks);
	TEST_WAIT(atomic_load(&y->got) == 100 && atomic_load(&z->got) == 100, 20000);
	ck_assert_int_eq(atomic_load(&y->closed), 0);
	ck_assert_uint_eq(atomic_load(&y->bad) + atomic_load(&z->bad), 0);
	finish();
}
END_TEST

static const struct {
	uint32_t magic;
	unsigned min, max;
	int code; /* of the WELCOME; 0: none comes */
} hellos[] = {
    {HELLO_MAGIC, 1, 1, 1},
    {HELLO_MAGIC, 1, 900, 1},
    {HELLO_MAGIC, 2, 3, DYN_EVERSION},
    {HELLO_MAGIC, 0, 0, DYN_EVERSION},
    {HELLO_MAGIC + 1, 1, 1, 0},
    {0, 1, 1, 0},
};

START_TEST(versions_are_agreed_on)
{
	unsigned char answer[2048];
	struct buf *hello;
	struct frame f;
	union msg m;
	size_t len;
	int fd, rc;

	begin();
	start();
	hello = net_hello(hellos[_i].magic, hellos[_i].min, hellos[_i].max);
	fd = raw_dial(a.bound);
	raw_send(fd, hello->data, hello->len);
	buf_unref(hello);
	if (hellos[_i].code != 0) {
		ck_assert_uint_eq(raw_read(fd, answer, 4), 4);
		len = frame_length(slice(answer, 4), sizeof(answer), &rc);
		ck_assert_int_eq(rc, 0);
		ck_assert_uint_eq(raw_read(fd, answer + 4, len - 4), len - 4);
		ck_assert_int_eq(frame_decode(&f, slice(answer, len)), 0);
		ck_assert_int_eq(msg_decode(f.kind, f.body, &m), 0);
		ck_assert_uint_eq(f.kind, MSG_WELCOME);
		if (hellos[_i].code == 1) {
			ck_assert_uint_eq(m.welcome.rc, 0);
			ck_assert_uint_eq(m.welcome.version, 1);
		} else
			ck_assert_int_eq(msg_rc(m.welcome.rc), hellos[_i].code);
	}
	if (hellos[_i].code != 1)
		ck_assert(raw_ends(fd, 500));
	close(fd);
	finish();
}
END_TEST

START_TEST(silence_is_not_waited_for)
{
	uint64_t began;
	int silent, half;

	begin();
	a.config.greet_ms = 150;
	start();
	began = test_now();
	silent = raw_dial(a.bound);
	half = raw_dial(a.bound);
	raw_send(half, "\x60\0\0\0\x01\0\x01\0", 8);
	ck_assert(raw_ends(silent, 2000));
	ck_assert(raw_ends(half, 2000));
	ck_assert_uint_ge(test_now() - began, 100 * NS_PER_MS);
	ck_assert(side_logged(&a, "no greeting in time"));
	close(silent);
	close(half);
	finish();
}
END_TEST

/* More strangers than there may be: the oldest make room, and a friend still
 * gets in. */
START_TEST(strangers_are_bounded)
{
	int fds[300];
	struct end *y;

	begin();
	start();
	for (size_t i = 0; i < ARRAY_LEN(fds); i++)
		fds[i] = raw_dial(a.bound);
	ck_assert(raw_ends(fds[0], 2000));
	ck_assert(raw_ends(fds[30], 2000));
	ck_assert(!raw_ends(fds[299], 30));
	y = side_dial(&b, a.bound, NULL);
	TEST_WAIT(atomic_load(&y->opened) == 1, 20000);
	for (size_t i = 0; i < ARRAY_LEN(fds); i++)
		close(fds[i]);
	finish();
}
END_TEST

/* Out of file descriptors: connections wait, and are served when there are
 * some again. */
START_TEST(listening_without_descriptors)
{
	struct rlimit old, few;
	struct end *y;
	int fd;

	begin();
	start();
	/* The first descriptor free is for dialling; none is left to accept. */
	fd = dup(0);
	close(fd);
	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &old), 0);
	few = old;
	few.rlim_cur = (rlim_t)fd + 1;
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &few), 0);
	y = side_dial(&b, a.bound, NULL);
	TEST_WAIT(side_logged(&a, "cannot accept a connection"), 20000);
	test_sleep_ms(150);
	ck_assert_int_eq(atomic_load(&y->opened), 0);
	ck_assert_int_le(atomic_load(&a.log_lines), 6); /* it does not turn without end */
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &old), 0);
	TEST_WAIT(atomic_load(&y->opened) == 1, 20000);
	finish();
}
END_TEST

/* -------------------------------------------------------------- bad frames */

static const struct {
	const char *bytes;
	size_t len;
	bool closes;
} rude[] = {
    {"\x05\0\0\0\x0a", 5, true},
    {"\xff\xff\xff\xff", 4, true},
    {"\x01\0\x10\0", 4, true}, /* 1 MiB + 1: more than frame_max here */
    {"\x20\0\0\0\xc8\0\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 32, false},
    {"\x20\0\0\0\x01\0\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 32, true},
    {"\x20\0\0\0\x02\0\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 32, true},
};

START_TEST(bad_frames_close_the_connection)
{
	struct buf *hello, *good;
	struct end *x;
	int fd;

	begin();
	a.config.frame_max = 1 << 20;
	a.accept_as.tag = 2;
	start();
	hello = net_hello(HELLO_MAGIC, 1, 1);
	good = net_frame(2, 0, 50);
	fd = raw_dial(a.bound);
	raw_send(fd, hello->data, hello->len);
	raw_send(fd, good->data, good->len);
	x = accepted();
	TEST_WAIT(atomic_load(&x->got) == 1, 20000);
	raw_send(fd, rude[_i].bytes, rude[_i].len);
	if (rude[_i].closes) {
		ck_assert(raw_ends(fd, 2000));
		TEST_WAIT(atomic_load(&x->closed) == 1, 20000);
		ck_assert_int_eq(atomic_load(&x->rc), DYN_EPROTO);
		ck_assert(side_logged(&a, "closed: "));
		ck_assert_uint_eq(atomic_load(&a.counters.protocol_errors), 1);
	} else {
		TEST_WAIT(atomic_load(&x->got) == 2, 20000);
		ck_assert_int_eq(atomic_load(&x->closed), 0);
	}
	ck_assert_uint_eq(atomic_load(&x->bad), 0);
	buf_unref(hello);
	buf_unref(good);
	close(fd);
	finish();
}
END_TEST

/* -------------------------------------------------------------- bad dials */

START_TEST(dial_to_nobody)
{
	char address[DYN_ADDRESS_MAX];
	struct end asks = {.to_send = 5, .tag = 1};
	struct end *y;

	begin();
	close(raw_listen(address)); /* a port where nobody listens */
	start();
	y = side_dial(&b, address, &asks);
	TEST_WAIT(atomic_load(&y->closed) == 1, 20000);
	ck_assert_int_eq(atomic_load(&y->opened), 0);
	ck_assert_int_eq(atomic_load(&y->rc), DYN_EADDRESS);
	ck_assert_int_eq(atomic_load(&y->refused), 1);
	ck_assert_msg(
	    strstr(y->why, address) != NULL && strstr(y->why, "refused") != NULL, "%s",
	    y->why);
	finish();
}
END_TEST

struct outcome {
	atomic_int fd; /* -2: not yet */
	int rc;
	char why[256];
};

static void
dialled(void *arg, int fd, int rc, const char *why)
{
	struct outcome *o = arg;

	o->rc = rc;
	snprintf(o->why, sizeof(o->why), "%s", why);
	atomic_store(&o->fd, fd);
}

static struct address
address_of(const char *text)
{
	char host[DYN_ADDRESS_MAX];
	struct address at;
	unsigned port;

	ck_assert_int_eq(address_split(text, host, &port), 0);
	ck_assert(address_numeric(host, port, &at));
	return at;
}

/* A host with several addresses: one that refuses, one that does not even say
 * no (its queue is full), one that answers; and the same without that. */
START_TEST(addresses_are_tried_in_turn)
{
	char refuses[DYN_ADDRESS_MAX], ignores[DYN_ADDRESS_MAX],
	    answers_at[DYN_ADDRESS_MAX];
	struct outcome o = {-2, 0, ""};
	struct address list[3];
	struct dial *d;
	int full, open, fill[3];
	uint64_t began;

	begin();
	close(raw_listen(refuses));
	full = raw_listen(ignores);
	open = raw_listen(answers_at);
	ck_assert_int_eq(listen(full, 0), 0);
	for (size_t i = 0; i < ARRAY_LEN(fill); i++)
		fill[i] = raw_dial_away(ignores);
	list[0] = address_of(refuses);
	list[1] = address_of(ignores);
	list[2] = address_of(answers_at);
	began = test_now();
	ck_assert_int_eq(
	    dial_list(&d, &b.loop, list, _i == 0 ? 3 : 2, 600, 0, dialled, &o), 0);
	ck_assert_int_eq(atomic_load(&o.fd), -2); /* not from inside */
	start();
	TEST_WAIT(atomic_load(&o.fd) != -2, 20000);
	ck_assert_uint_le(test_now() - began, 1200 * NS_PER_MS);
	if (_i == 0) {
		ck_assert_msg(atomic_load(&o.fd) >= 0, "%s", o.why);
		close(atomic_load(&o.fd));
	} else {
		ck_assert_int_eq(atomic_load(&o.fd), -1);
		ck_assert_msg(strstr(o.why, ignores) != NULL, "%s", o.why);
		ck_assert_int_eq(o.rc, DYN_ECLOSED);
		ck_assert_uint_ge(test_now() - began, 400 * NS_PER_MS);
	}
	for (size_t i = 0; i < ARRAY_LEN(fill); i++)
		close(fill[i]);
	close(full);
	close(open);
	finish();
}
END_TEST

START_TEST(dial_to_nonsense)
{
	static const char *const bad[] = {"", "127.0.0.1", "127.0.0.1:", "127.0.0.1:0",
	    "127.0.0.1:65536", ":7000", "[::1", "a b:1"};
	struct msg_hello hello = {.ring = slice("test", 4)};
	struct end *y;

	begin();
	start();
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		ck_assert_int_eq(side_dial_as(&b, bad[i], NULL, &hello, &y), DYN_EINVAL);
	finish();
}
END_TEST

START_TEST(names_are_resolved)
{
	char address[DYN_ADDRESS_MAX];
	struct end *y;

	begin();
	start();
	snprintf(address, sizeof(address), "localhost:%s", strchr(a.bound, ':') + 1);
	for (int i = 0; i < 3; i++) {
		y = side_dial(&b, address, NULL);
		TEST_WAIT(atomic_load(&y->opened) == 1, 20000);
	}
	finish();
}
END_TEST

START_TEST(names_that_do_not_exist)
{
	struct end *y, *z;

	begin();
	b.config.greet_ms = 200; /* nobody may answer at all */
	start();
	y = side_dial(&b, "no-such-host.invalid:7000", NULL);
	TEST_WAIT(atomic_load(&y->closed) == 1, 20000);
	ck_assert_int_eq(atomic_load(&y->rc), DYN_ECLOSED);
	ck_assert_int_eq(atomic_load(&y->refused), 1);
	/* And one that is still being asked for when the loop ends. */
	z = side_dial(&b, "another.invalid:7000", NULL);
	side_close(&b, z, false);
	side_dial(&b, "third.invalid:7000", NULL);
	finish();
}
END_TEST

START_TEST(listening_on_names_and_numbers)
{
	static const char *const good[] = {
	    "127.0.0.1:0", "localhost:0", "[::1]:0", "0.0.0.0:0"};
	char address[DYN_ADDRESS_MAX], host[DYN_ADDRESS_MAX];
	struct end *y;
	unsigned port;

	begin();
	side_listen(&a, good[_i]);
	for (size_t i = 0; i < ARRAY_LEN(sides); i++)
		side_start(sides[i]);
	/* The host as it was given, the port filled in. */
	ck_assert_int_eq(strncmp(a.bound, good[_i], strlen(good[_i]) - 1), 0);
	ck_assert_int_eq(address_split(a.bound, host, &port), 0);
	ck_assert_uint_gt(port, 0);
	address_join(address, _i == 3 ? "127.0.0.1" : host, port);
	y = side_dial(&b, address, NULL);
	TEST_WAIT(atomic_load(&y->opened) == 1, 20000);
	finish();
}
END_TEST

START_TEST(listening_where_one_cannot)
{
	struct {
		const char *address;
		int rc;
	} bad[] = {{"192.0.2.7:0", DYN_EADDRESS}, {"127.0.0.1", DYN_EINVAL},
	    {"127.0.0.1:x", DYN_EINVAL}, {":1", DYN_EINVAL},
	    {"no-such-host.invalid:0", DYN_EADDRESS}, {NULL, DYN_EADDRESS}};
	char bound[DYN_ADDRESS_MAX], taken[DYN_ADDRESS_MAX];
	struct listener *l;
	struct dyn_error error;
	int fd;

	begin();
	fd = raw_listen(taken);
	bad[ARRAY_LEN(bad) - 1].address = taken;
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		error.code = 0;
		ck_assert_int_eq(listener_open(&l, &a.loop, &a.config, bad[i].address,
				     NULL, NULL, bound, &error),
		    bad[i].rc);
		ck_assert_ptr_null(l);
		ck_assert_int_eq(error.code, bad[i].rc);
		ck_assert_msg(
		    strstr(error.text, bad[i].address) != NULL, "%s", error.text);
	}
	close(fd);
	finish();
}
END_TEST

START_TEST(refusal_is_told)
{
	struct end asks = {.to_send = 5, .tag = 1};
	struct end *y;

	begin();
	a.refuse = (uint32_t)DYN_ERING;
	start();
	y = side_dial(&b, a.bound, &asks);
	TEST_WAIT(atomic_load(&y->closed) == 1, 20000);
	ck_assert_int_eq(atomic_load(&y->opened), 0);
	ck_assert_int_eq(atomic_load(&y->rc), DYN_ERING);
	ck_assert_int_eq(atomic_load(&y->refused), 1);
	ck_assert_str_eq(y->why, "refused: not you");
	TEST_WAIT(side_logged(&a, "refused: not you"), 20000);
	finish();
}
END_TEST

enum answer { SILENT, GARBAGE, CLOSES, PINGS, OLD, NEW, NEW_LEVEL, ODD_CODE, TLS_ALERT };
static const struct {
	enum answer answer;
	int rc;
} answers[] = {
    {SILENT, DYN_ETIMEOUT},
    {GARBAGE, DYN_EPROTO},
    {CLOSES, DYN_ECLOSED},
    {PINGS, DYN_EPROTO},
    {OLD, DYN_EVERSION},
    {NEW, DYN_EVERSION},
    {NEW_LEVEL, DYN_EVERSION},
    {ODD_CODE, DYN_EPROTO},
    {TLS_ALERT, DYN_EPROTO},
};

static struct buf *
welcome_of_level(unsigned level, unsigned level_min)
{
	union msg m = {.welcome = {.version = WIRE_VERSION, .level = (uint16_t)level,
			   .level_min = (uint16_t)level_min}};
	struct frame head = {.version = WIRE_VERSION};
	struct buf *frame;

	ck_assert_int_eq(msg_encode(&frame, &head, MSG_WELCOME, &m), 0);
	return frame;
}

static struct buf *
make_answer(enum answer answer)
{
	switch (answer) {
	case GARBAGE:
		return buf_copy("HTTP/1.0 400 Bad Request", 24);
	case PINGS:
		return net_frame(1, 0, 8);
	case OLD:
		return net_welcome(0, 0);
	case NEW:
		return net_welcome(0, 2);
	case NEW_LEVEL:
		return welcome_of_level(FEATURE_LEVEL + 2, FEATURE_LEVEL + 1);
	case ODD_CODE:
		return net_welcome(17, 1);
	case TLS_ALERT:
		return buf_copy("\x15\x03\x03\0\x02\x02\x46", 7);
	default:
		return NULL;
	}
}

START_TEST(odd_acceptors)
{
	struct end asks = {.to_send = 5, .tag = 1};
	char address[DYN_ADDRESS_MAX];
	struct buf *answer;
	struct end *y;
	int listening, fd;

	begin();
	answer = make_answer(answers[_i].answer);
	b.config.greet_ms = 200;
	listening = raw_listen(address);
	start();
	y = side_dial(&b, address, &asks);
	fd = accept(listening, NULL, NULL);
	if (answer != NULL)
		raw_send(fd, answer->data, answer->len);
	if (answers[_i].answer == CLOSES)
		shutdown(fd, SHUT_WR);
	TEST_WAIT(atomic_load(&y->closed) == 1, 20000);
	ck_assert_int_eq(atomic_load(&y->rc), answers[_i].rc);
	ck_assert_int_eq(atomic_load(&y->opened), 0);
	ck_assert_int_eq(atomic_load(&y->refused), 1);
	buf_unref(answer);
	close(fd);
	close(listening);
	finish();
}
END_TEST

/* ------------------------------------------------------------ back-pressure */

/* A peer that asks and does not read: what waits for it is bounded, it is not
 * listened to meanwhile, and when it reads it gets every answer. */
START_TEST(who_does_not_read_may_not_ask)
{
	struct buf *hello, *ask;
	static unsigned char sink[1 << 20];
	uint64_t asked = 0, want = 0;
	clock_t used;
	struct end *x;
	int fd;

	begin();
	hello = net_hello(HELLO_MAGIC, 1, 1);
	a.config.out_max = 256 << 10;
	a.accept_as = (struct end){.echo = true, .tag = 6};
	start();
	fd = raw_dial(a.bound);
	raw_send(fd, hello->data, hello->len);
	x = accepted();
	/* Until it takes no more for a while; the system's buffers are not small. */
	for (; asked < 200000; asked++) {
		ask = net_frame(6, asked, 1000);
		if (!raw_send_soon(fd, ask->data, ask->len, 200))
			break;
		buf_unref(ask);
	}
	buf_unref(ask);
	ck_assert_uint_lt(asked, 200000);
	test_sleep_ms(50);
	want = atomic_load(&x->got);
	ck_assert_uint_lt(want, asked); /* it stopped listening */
	used = clock();
	test_sleep_ms(100);
	ck_assert_int_lt(clock() - used, CLOCKS_PER_SEC / 25); /* and does not spin */
	ck_assert_uint_eq(atomic_load(&x->got), want);
	ck_assert_uint_le(atomic_load(&x->queued_most), 256 << 10);
	ck_assert_int_eq(atomic_load(&x->busy), 0);
	while (atomic_load(&x->got) < asked)
		ck_assert_int_gt(recv(fd, sink, sizeof(sink), 0), 0);
	ck_assert_int_eq(atomic_load(&x->busy), 0);
	ck_assert_uint_eq(atomic_load(&x->bad), 0);
	ck_assert_uint_le(atomic_load(&x->queued_most), 256 << 10);
	buf_unref(hello);
	close(fd);
	finish();
}
END_TEST

/* Who dialled gets DYN_EBUSY when the other side does not read. */
START_TEST(the_queue_is_bounded)
{
	struct end asks = {.to_send = 100000, .size_max = 2000, .tag = 1};
	struct buf *welcome;
	char address[DYN_ADDRESS_MAX];
	struct end *y;
	int listening, fd;

	begin();
	welcome = net_welcome(0, 1);
	b.config.out_max = 100 << 10;
	listening = raw_listen(address);
	start();
	y = side_dial(&b, address, &asks);
	fd = accept(listening, NULL, NULL);
	raw_send(fd, welcome->data, welcome->len);
	TEST_WAIT(atomic_load(&y->busy) > 10, 20000);
	ck_assert_uint_le(atomic_load(&y->queued_most), 100 << 10);
	ck_assert_uint_ge(atomic_load(&y->queued_most), 90 << 10);
	ck_assert_int_eq(atomic_load(&y->closed), 0);
	side_close(&b, y, false);
	ck_assert_int_eq(atomic_load(&y->refused), 0);
	buf_unref(welcome);
	close(fd);
	close(listening);
	finish();
}
END_TEST

/* ----------------------------------------------------------------- closing */

START_TEST(lingering_delivers_what_was_queued)
{
	struct end asks = {.to_send = 150, .size_max = 100 << 10, .tag = 1};
	struct end *x, *y;

	begin();
	b.config.out_max = 64 << 20;
	b.config.socket_buffer = _i == 0 ? 0 : 16 << 10;
	a.accept_as.tag = 1;
	if (_i == 2) {
		/* Closing with these unread would reset the connection. */
		a.config.out_max = 64 << 20; /* it goes on reading */
		a.accept_as.to_send = 5000;
		a.accept_as.size_max = 20000;
	}
	start();
	y = side_dial(&b, a.bound, &asks);
	x = accepted();
	TEST_WAIT(atomic_load(&y->opened) == 1 && atomic_load(&y->sent) == 150, 20000);
	side_close(&b, y, true);
	TEST_WAIT(atomic_load(&y->closed) == 1, 20000);
	TEST_WAIT(atomic_load(&x->closed) == 1, 20000);
	ck_assert_uint_eq(atomic_load(&x->got), 150);
	ck_assert_uint_eq(atomic_load(&x->bad), 0);
	ck_assert_int_eq(atomic_load(&y->refused), 0);
	ck_assert_str_eq(y->why, "test closes");
	finish();
}
END_TEST

START_TEST(lingering_ends_after_a_second)
{
	struct end asks = {.to_send = 4000, .size_max = 4000, .tag = 1};
	struct buf *welcome;
	char address[DYN_ADDRESS_MAX];
	uint64_t began;
	struct end *y;
	int listening, fd;

	begin();
	welcome = net_welcome(0, 1);
	b.config.out_max = 1 << 20;
	b.config.socket_buffer = 16 << 10;
	listening = raw_listen(address);
	start();
	y = side_dial(&b, address, &asks);
	fd = accept(listening, NULL, NULL);
	raw_send(fd, welcome->data, welcome->len);
	TEST_WAIT(atomic_load(&y->busy) > 0, 20000);
	began = test_now();
	side_close(&b, y, true);
	TEST_WAIT(atomic_load(&y->closed) == 1, 20000);
	ck_assert_uint_ge(test_now() - began, 900 * NS_PER_MS);
	ck_assert_uint_le(test_now() - began, 1900 * NS_PER_MS);
	ck_assert_str_eq(y->why, "test closes");
	buf_unref(welcome);
	close(fd);
	close(listening);
	finish();
}
END_TEST

/* Closing in the middle of a batch of frames: not one more is heard. */
START_TEST(closing_inside_a_callback)
{
	struct end asks = {.to_send = 500, .size_max = 100, .tag = 1};
	struct end *x, *y;

	begin();
	a.accept_as =
	    (struct end){.tag = 1, .close_at = (uint64_t)_i + 1, .echo = _i % 2};
	start();
	y = side_dial(&b, a.bound, &asks);
	x = accepted();
	TEST_WAIT(atomic_load(&x->closed) == 1 && atomic_load(&y->closed) == 1, 20000);
	ck_assert_uint_eq(atomic_load(&x->got), (uint64_t)_i + 1);
	ck_assert_str_eq(x->why, "enough");
	finish();
}
END_TEST

static void
send_closed(void *arg)
{
	struct end *e = arg;
	struct conn *conn = e->conn;
	struct buf *f = net_frame(0, 0, 10);

	ck_assert_int_eq(conn_send(conn, buf_ref(f)), 0);
	conn_close(conn, DYN_EBUSY, "first", false);
	conn_close(conn, DYN_EIO, "second", true);
	ck_assert_int_eq(atomic_load(&e->closed), 0); /* not from inside */
	ck_assert_int_eq(conn_send(conn, f), DYN_ECLOSED);
	conn_flush(conn);
	buf_unref(f);
}

START_TEST(closing_twice_is_closing_once)
{
	struct end *y;

	begin();
	start();
	y = side_dial(&b, a.bound, NULL);
	TEST_WAIT(atomic_load(&y->opened) == 1, 20000);
	net_inside(&b.loop, send_closed, y);
	TEST_WAIT(atomic_load(&y->closed) == 1, 20000);
	ck_assert_int_eq(atomic_load(&y->rc), DYN_EBUSY);
	ck_assert_str_eq(y->why, "first");
	ck_assert_int_eq(atomic_load(&y->refused), 1); /* nothing had been sent */
	finish();
}
END_TEST

/* Close while dialling, while greeting, while open. */
START_TEST(closing_at_any_time)
{
	struct end *y;

	begin();
	start();
	for (unsigned i = 0; i < 40; i++) {
		y = side_dial(&b, a.bound, NULL);
		if (i % 4 != 0)
			usleep((i % 4) * 60);
		side_close(&b, y, i % 2 == 0);
		TEST_WAIT(atomic_load(&y->closed) == 1, 20000);
	}
	finish();
}
END_TEST

/* ------------------------------------------------------------------ memory */

START_TEST(without_memory)
{
	struct buf *hello = net_hello(HELLO_MAGIC, 1, 1), *ask = net_frame(0, 0, 30000);
	char text[DYN_ADDRESS_MAX];
	struct msg_hello h = {.ring = slice("test", 4)};
	struct dyn_error error;
	struct end *y;
	int fd;

	/* Before any thread runs. */
	begin();
	for (long n = 1; n < 12; n++) {
		mem_fail_at(n);
		if (a.listener == NULL &&
		    listener_open(&a.listener, &a.loop, &a.config, "127.0.0.1:0", NULL,
			NULL, text, &error) == 0) {
			listener_close(a.listener);
			a.listener = NULL;
		}
		mem_fail_at(n);
		if (side_dial_as(&b, "127.0.0.1:9", NULL, &h, &y) != 0)
			y = NULL;
	}
	mem_fail_at(0);
	finish();

	for (long n = 1; n < 40; n++) {
		begin();
		a.accept_as.echo = true;
		start();
		fd = raw_dial(a.bound);
		mem_fail_at(n);
		raw_send(fd, hello->data, hello->len);
		raw_send(fd, ask->data, 1000);
		test_sleep_ms(1);
		raw_send(fd, ask->data + 1000, ask->len - 1000);
		raw_ends(fd, 3);
		mem_fail_at(0);
		close(fd);
		finish();
	}
	buf_unref(hello);
	buf_unref(ask);
}
END_TEST

static Suite *
suite(void)
{
	Suite *s = suite_create("conn");
	TCase *t = tcase_create("traffic"), *g = tcase_create("greeting");
	TCase *d = tcase_create("dial"), *e = tcase_create("close");

	tcase_set_timeout(t, 120);
	tcase_add_loop_test(
	    t, frames_arrive_whole_and_in_order, 0, (int)ARRAY_LEN(traffics));
	tcase_add_test(t, a_moved_connection_goes_on);
	tcase_add_loop_test(t, bytes_behind_the_hello_are_kept, 0, 3);
	tcase_add_test(t, moving_to_a_loop_that_stopped);
	tcase_add_test(t, who_does_not_read_may_not_ask);
	tcase_add_test(t, the_queue_is_bounded);
	suite_add_tcase(s, t);
	tcase_set_timeout(g, 30);
	tcase_add_loop_test(
	    g, garbage_costs_only_its_connection, 0, (int)ARRAY_LEN(strangers));
	tcase_add_loop_test(g, versions_are_agreed_on, 0, (int)ARRAY_LEN(hellos));
	tcase_add_test(g, silence_is_not_waited_for);
	tcase_add_test(g, strangers_are_bounded);
	tcase_add_test(g, listening_without_descriptors);
	tcase_add_loop_test(g, bad_frames_close_the_connection, 0, (int)ARRAY_LEN(rude));
	suite_add_tcase(s, g);
	tcase_set_timeout(d, 30);
	tcase_add_test(d, dial_to_nobody);
	tcase_add_loop_test(d, addresses_are_tried_in_turn, 0, 2);
	tcase_add_test(d, dial_to_nonsense);
	tcase_add_test(d, names_are_resolved);
	tcase_add_test(d, names_that_do_not_exist);
	tcase_add_loop_test(d, listening_on_names_and_numbers, 0, 4);
	tcase_add_test(d, listening_where_one_cannot);
	tcase_add_test(d, refusal_is_told);
	tcase_add_loop_test(d, odd_acceptors, 0, (int)ARRAY_LEN(answers));
	suite_add_tcase(s, d);
	tcase_set_timeout(e, 30);
	tcase_add_loop_test(e, lingering_delivers_what_was_queued, 0, 3);
	tcase_add_test(e, lingering_ends_after_a_second);
	tcase_add_loop_test(e, closing_inside_a_callback, 0, 6);
	tcase_add_test(e, closing_twice_is_closing_once);
	tcase_add_test(e, closing_at_any_time);
	tcase_add_test(e, without_memory);
	suite_add_tcase(s, e);
	return s;
}

TEST_MAIN(suite)
