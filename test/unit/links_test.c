/*
 * One thread's connections (host/links.c), and the worker that has them.
 *
 * Goal: what follows from the end of a connection is done at once; who leaves says BYE;
 * a view that is late takes no connection away; a call that comes to a closed worker
 * ends all the same.
 * Method: links on a loop of the test's own against a plain socket; nodes in this
 * process whose threads are given by hand what others would give them at an unlikely
 * moment.
 */
#include "api.h"
#include "test/net.h"

#include "host/syncer.h"
#include "host/worker.h"
#include "node.h"

#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

/* ------------------------------------------------------ links on their own */

struct alone {
	struct host host;
	struct loop loop;
	struct links links;
	char address[DYN_ADDRESS_MAX];
	atomic_int down, after; /* connections that ended; turns since */
};

static int
frame_came(void *arg, const struct dyn_id *from, uint64_t conn, const struct frame *f)
{
	(void)arg;
	(void)from;
	(void)conn;
	(void)f;
	return 0;
}

static void
came_up(void *arg, const struct dyn_id *id, unsigned worker)
{
	(void)arg;
	(void)id;
	(void)worker;
}

static void
went_down(void *arg, const struct dyn_id *id, unsigned worker, const char *address, int rc,
    bool sure)
{
	struct alone *a = arg;

	(void)id;
	(void)worker;
	(void)address;
	(void)rc;
	(void)sure;
	atomic_fetch_add(&a->down, 1);
}

/* As the owners of links do: only in a turn is carried out what `down` brought. */
static void
turn(void *arg)
{
	struct alone *a = arg;

	if (atomic_load(&a->down) > 0)
		atomic_fetch_add(&a->after, 1);
	loop_wake_at(&a->loop, links_wake(&a->links));
}

static const struct links_events events = { frame_came, came_up, NULL, went_down };

static void
send_something(void *arg)
{
	struct alone *a = arg;
	struct dyn_id nobody = { { 0 } };

	ck_assert_int_eq(
	    links_send(&a->links, &nobody, 0, a->address, net_frame(1, 1, 10)), 0);
}

static void
stop_links(void *arg)
{
	links_close(&((struct alone *)arg)->links);
}

/* Nothing else wakes this loop for seconds. */
START_TEST(the_end_of_a_connection_has_a_turn)
{
	static struct alone a;
	struct buf *welcome = net_welcome(0, WIRE_VERSION);
	char hello[FRAME_HEAD];
	int listener = raw_listen(a.address), fd;

	a.host.config = (struct conn_config){ .frame_max = 1 << 20, .out_max = 1 << 20,
		.counters = &a.host.counters };
	strcpy(a.host.ring, "test");
	ck_assert_int_eq(loop_init(&a.loop, "links", turn, &a), 0);
	ck_assert_int_eq(
	    links_init(&a.links, &a.host, &a.loop, PURPOSE_GOSSIP, false, &events, &a), 0);
	ck_assert_int_eq(loop_start(&a.loop), 0);
	net_inside(&a.loop, send_something, &a);
	fd = accept(listener, NULL, NULL);
	ck_assert_int_ge(fd, 0);
	ck_assert_uint_eq(raw_read(fd, hello, sizeof(hello)), sizeof(hello));
	if (_i == 0)
		raw_send(fd, welcome->data, welcome->len);
	close(fd);
	TEST_WAIT(atomic_load(&a.down) == 1, 5000);
	TEST_WAIT(atomic_load(&a.after) > 0, 2000);
	net_inside(&a.loop, stop_links, &a);
	loop_stop(&a.loop);
	while (loop_settle(&a.loop))
		continue;
	links_fini(&a.links);
	loop_fini(&a.loop);
	buf_unref(welcome);
	close(listener);
}
END_TEST

/* ------------------------------------------------------------------ goodbye */

/* The kind of the next frame, 0 at the end. */
static unsigned
next_kind(int fd)
{
	unsigned char head[FRAME_HEAD];
	char body[4096];
	size_t len;

	if (raw_read(fd, head, sizeof(head)) < sizeof(head))
		return 0;
	len = head[0] | (size_t)head[1] << 8 | (size_t)head[2] << 16;
	ck_assert_uint_le(len - FRAME_HEAD, sizeof(body));
	ck_assert_uint_eq(raw_read(fd, body, len - FRAME_HEAD), len - FRAME_HEAD);
	return head[4];
}

static void *
close_node(void *n)
{
	api_close(n);
	return NULL;
}

static struct buf *
hello_of_a_client(dyn_node *n)
{
	union msg m = { .hello = { .magic = HELLO_MAGIC, .version_min = WIRE_VERSION,
		            .version_max = WIRE_VERSION, .role = DYN_CLIENT,
		            .purpose = PURPOSE_DATA, .ring = dyn_str(n->host.ring) } };
	struct frame head = { .version = WIRE_VERSION };
	struct buf *b;

	m.hello.node.bytes[0] = 'c';
	ck_assert_int_eq(msg_encode(&b, &head, MSG_HELLO, &m), 0);
	return b;
}

START_TEST(who_leaves_says_so)
{
	dyn_node *n = api_peer(NULL);
	struct buf *hello = hello_of_a_client(n), *ping = net_frame(1, 1, 8);
	int fd = raw_dial(dyn_address(n));
	pthread_t closer;

	raw_send(fd, hello->data, hello->len);
	ck_assert_uint_eq(next_kind(fd), MSG_WELCOME);
	/* The thread it was given to has it once it answers. */
	raw_send(fd, ping->data, ping->len);
	ck_assert_uint_eq(next_kind(fd), MSG_PONG);
	ck_assert_int_eq(pthread_create(&closer, NULL, close_node, n), 0);
	ck_assert_uint_eq(next_kind(fd), MSG_BYE);
	ck_assert_uint_eq(next_kind(fd), 0);
	close(fd);
	pthread_join(closer, NULL);
	buf_unref(hello);
	buf_unref(ping);
}
END_TEST

/* ---------------------------------------------------------------- late views */

static unsigned
reachable(dyn_node *n)
{
	struct dyn_status s = DYN_STATUS_INIT;

	ck_assert_int_eq(dyn_status(n, &s), 0);
	return s.moving != 0 ? 0 : s.reachable;
}

/* The sync thread asks a worker for a fence by the view it had before a member came. */
START_TEST(an_old_fence_takes_no_connection_away)
{
	struct dyn_options o = DYN_OPTIONS_INIT;
	dyn_node *a, *b;
	struct view *before;

	o.listen = "127.0.0.1:0";
	o.n = 2;
	o.workers = 1;
	a = api_open(&o);
	before = host_view(&a->host);
	o.seeds = dyn_address(a);
	b = api_open(&o);
	TEST_WAIT(reachable(a) == 2, 10000);
	worker_fence(a->host.workers[0], before);
	/* A connection that is given up may linger for a second. */
	for (int i = 0; i < 60; i++) {
		ck_assert_uint_eq(reachable(a), 2);
		test_sleep_ms(20);
	}
	view_unref(before);
	api_close(b);
	api_close(a);
}
END_TEST

/* ---------------------------------------------------------------- late calls */

static unsigned ended;

static void
op_ended(void *arg, struct op *op)
{
	(void)arg;
	ck_assert_int_eq(op->rc, DYN_ECLOSED);
	ended++;
	op_free(op);
}

/* It was on its way when the worker closed. */
START_TEST(a_call_to_a_closed_worker_ends)
{
	dyn_node *n = api_peer(NULL);
	struct worker *w = n->host.workers[0];
	struct op *op = mem_zalloc(sizeof(*op));

	op->kind = OP_GET;
	op->n = op->r = op->w = 1;
	op->timeout_ms = 1000;
	ck_assert_int_eq(name_make(DYN_HASH_SHA256, dyn_str("b"), dyn_str("k"), &op->name), 0);
	n->host.done = op_ended;
	ck_assert_uint_eq(worker_stop(w, 0), 0);
	worker_op(w, op);
	while (loop_settle(worker_loop(w)))
		continue;
	ck_assert_uint_eq(ended, 1);
	api_close(n);
}
END_TEST

static Suite *
suite(void)
{
	Suite *s = suite_create("links");
	TCase *t = tcase_create("links");

	tcase_add_loop_test(t, the_end_of_a_connection_has_a_turn, 0, 2);
	tcase_add_test(t, who_leaves_says_so);
	tcase_add_test(t, an_old_fence_takes_no_connection_away);
	tcase_add_test(t, a_call_to_a_closed_worker_ends);
	suite_add_tcase(s, t);
	return s;
}

TEST_MAIN(suite)
