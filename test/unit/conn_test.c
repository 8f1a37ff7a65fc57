/*
 * Goal: connections carry frames whole and in order whatever their sizes, in
 * both directions, and neither garbage nor silence nor slowness of the other
 * side costs more than that connection.
 * Method: real sockets on loopback, two loops in this process; misbehaving
 * peers are plain sockets.  Each test ends with as many open files and memory
 * blocks as it began with.
 */
#include "test/net.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static struct side a, b; /* a listens, b dials */
static size_t files_before;
static long blocks_before;

static void
begin(void)
{
	files_before = net_open_files();
	blocks_before = mem_balance();
	side_init(&a, "a");
	side_init(&b, "b");
}

static void
start(void)
{
	side_listen(&a, "127.0.0.1:0");
	side_start(&a);
	side_start(&b);
}

static void
finish(void)
{
	side_fini(&b);
	side_fini(&a);
	ck_assert_int_eq(mem_balance(), blocks_before);
	ck_assert_uint_eq(net_open_files(), files_before);
}

/* The first connection that a accepted, once it is there. */
static struct end *
accepted(void)
{
	TEST_WAIT(atomic_load(&a.count) > 0 && atomic_load(&a.ends[0].opened) > 0, 5000);
	return &a.ends[0];
}

/* ----------------------------------------------------------------- traffic */

struct traffic {
	uint64_t frames;
	size_t size_max, out_max;
	int socket_buffer;
};

static const struct traffic traffics[] = {
	{ 1, 0, 8 << 20, 0 },
	{ 1, 2 << 20, 8 << 20, 0 },
	{ 100000, 30, 1 << 20, 0 },
	{ 20000, 2000, 100 << 10, 0 },
	{ 3000, 200 << 10, 1 << 20, 0 },
	{ 400, 2 << 20, 4 << 20, 0 },
	{ 2000, 20 << 10, 64 << 10, 32 << 10 },
	{ 30, 2 << 20, 64 << 10, 64 << 10 },
};

static void
run_traffic(const struct traffic *t)
{
	struct end both = { .to_send = t->frames, .size_max = t->size_max, .tag = 5 };
	struct end *x, *y;

	a.config.out_max = b.config.out_max = t->out_max;
	a.config.socket_buffer = b.config.socket_buffer = t->socket_buffer;
	a.accept_as = both;
	start();
	y = side_dial(&b, a.bound, &both);
	x = accepted();
	TEST_WAIT(atomic_load(&x->got) == t->frames && atomic_load(&y->got) == t->frames, 60000);
	ck_assert_uint_eq(atomic_load(&x->bad), 0);
	ck_assert_uint_eq(atomic_load(&y->bad), 0);
	ck_assert_int_eq(atomic_load(&x->closed) + atomic_load(&y->closed), 0);
	/* The greeting is a frame too. */
	ck_assert_uint_eq(atomic_load(&a.counters.frames_in), t->frames + 1);
	ck_assert_uint_eq(atomic_load(&b.counters.frames_in), t->frames + 1);
	ck_assert_uint_eq(atomic_load(&a.counters.frames_out), t->frames + 1);
	ck_assert_uint_eq(atomic_load(&a.counters.bytes_in), atomic_load(&b.counters.bytes_out));
	ck_assert_uint_eq(atomic_load(&b.counters.bytes_in), atomic_load(&a.counters.bytes_out));
}

START_TEST(frames_arrive_whole_and_in_order)
{
	begin();
	run_traffic(&traffics[_i]);
	finish();
}
END_TEST

static Suite *
suite(void)
{
	Suite *s = suite_create("conn");
	TCase *t = tcase_create("traffic");

	tcase_set_timeout(t, 120);
	tcase_add_loop_test(t, frames_arrive_whole_and_in_order, 0, (int)ARRAY_LEN(traffics));
	suite_add_tcase(s, t);
	return s;
}

TEST_MAIN(suite)
