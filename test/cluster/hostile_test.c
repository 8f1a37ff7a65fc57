/*
 * Goal: a stranger that greets properly and then sends nonsense, as a client or
 * as a peer, on each sort of connection, costs the ring nothing: no crash, no
 * leak, no change to what is stored, no failed call of others.
 * Method: raw sockets with a good HELLO, then messages whose fields are random,
 * some of them real (names that lie where their hash says), while a load runs.
 */
#include "ring.h"

#include "model/key.h"
#include "model/msg.h"
#include "net.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

struct stranger {
	int fd;
	unsigned seed;
	unsigned char bytes[600]; /* what slices of its messages borrow */
	struct buf *name;
};

static void
say(struct stranger *s, const struct frame *head, enum msg_kind kind, const union msg *m)
{
	struct buf *frame;

	ck_assert_int_eq(msg_encode(&frame, head, kind, m), 0);
	raw_send(s->fd, frame->data, frame->len);
	buf_unref(frame);
}

static void
greet(struct stranger *s, const char *address, enum dyn_role role, enum purpose purpose)
{
	struct frame head = {.request = 0};
	unsigned char welcome[FRAME_HEAD];
	union msg m;

	memset(&m, 0, sizeof(m));
	m.hello.magic = HELLO_MAGIC;
	m.hello.version_min = WIRE_VERSION_MIN;
	m.hello.version_max = WIRE_VERSION;
	m.hello.role = (uint8_t)role;
	m.hello.purpose = (uint8_t)purpose;
	m.hello.worker = (uint16_t)rand_r(&s->seed);
	memset(m.hello.node.bytes, 0x5a, sizeof(m.hello.node.bytes));
	m.hello.ring = dyn_str("dyn");
	if (role == DYN_PEER)
		m.hello.advertise = dyn_str("127.0.0.1:1");
	s->fd = raw_dial(address);
	say(s, &head, MSG_HELLO, &m);
	ck_assert_uint_eq(raw_read(s->fd, welcome, sizeof(welcome)), sizeof(welcome));
}

static struct dyn_slice
some_bytes(struct stranger *s)
{
	size_t from = (size_t)rand_r(&s->seed) % 300;

	return slice(s->bytes + from, (size_t)rand_r(&s->seed) % 300);
}

static uint64_t
some_number(struct stranger *s)
{
	uint64_t r = (uint64_t)rand_r(&s->seed) << 32 | (uint64_t)rand_r(&s->seed);

	return r >> (r & 63); /* of any size */
}

static struct dyn_slice
some_name(struct stranger *s)
{
	return rand_r(&s->seed) % 4 != 0 ? buf_slice(s->name) : some_bytes(s);
}

static void
fill_ask(struct stranger *s, struct msg_ask *a)
{
	a->op = (uint8_t)(rand_r(&s->seed) % 4);
	a->durability = (uint8_t)(rand_r(&s->seed) % 5);
	a->n = (uint8_t)(rand_r(&s->seed) % 5);
	a->w = (uint8_t)(rand_r(&s->seed) % 5);
	a->zone_w = (uint8_t)rand_r(&s->seed);
	a->lww = (uint8_t)(rand_r(&s->seed) % 2);
	a->has_context = (uint8_t)(rand_r(&s->seed) % 2);
	a->flags = (uint32_t)some_number(s);
	a->timeout_ms = (uint32_t)(rand_r(&s->seed) % 50);
	a->expiry_ms = some_number(s);
	a->name = some_name(s);
	a->context = some_bytes(s);
	a->value = some_bytes(s);
	a->after = some_number(s);
}

static void
say_something(struct stranger *s)
{
	static const enum msg_kind kinds[] = {MSG_HELLO, MSG_WELCOME, MSG_PUT,
	    MSG_PUT_ACK, MSG_GET, MSG_GET_ACK, MSG_ASK, MSG_ASK_ACK, MSG_VIEW_ASK,
	    MSG_VIEW, MSG_GOSSIP, MSG_GOSSIP_ACK, MSG_PULL, MSG_PULL_ACK, MSG_STATUS,
	    MSG_STATUS_ACK, MSG_PING, MSG_PONG, MSG_BYE, MSG_HINT, MSG_HINT_ACK, MSG_HINTS};
	struct frame head = {
	    .request = some_number(s), .epoch = some_number(s), .table = some_number(s)};
	enum msg_kind kind = kinds[(unsigned)rand_r(&s->seed) % ARRAY_LEN(kinds)];
	union msg m;

	memset(&m, 0, sizeof(m));
	switch (kind) {
	case MSG_PUT:
		m.put = (struct msg_put){.durability = (uint8_t)(rand_r(&s->seed) % 5),
		    .name = some_name(s), .object = some_bytes(s)};
		m.put.owner.bytes[0] = (unsigned char)(rand_r(&s->seed) % 2);
		break;
	case MSG_GET:
		m.get.name = some_name(s);
		m.get.hints = (uint8_t)(rand_r(&s->seed) % 2);
		break;
	case MSG_ASK:
		fill_ask(s, &m.ask);
		break;
	case MSG_GET_ACK:
		m.get_ack.object = some_bytes(s);
		break;
	case MSG_VIEW:
		m.view.view = some_bytes(s);
		break;
	case MSG_GOSSIP:
		m.gossip.view = some_bytes(s);
		m.gossip.ledger = some_bytes(s);
		break;
	case MSG_GOSSIP_ACK:
		m.gossip_ack.view = some_bytes(s);
		break;
	case MSG_PULL:
		m.pull = (struct msg_pull){
		    (uint32_t)some_number(s), (uint32_t)some_number(s), some_name(s)};
		break;
	case MSG_HINT:
		m.hint = (struct msg_hint){(uint32_t)some_number(s), some_bytes(s)};
		break;
	case MSG_PULL_ACK:
		m.pull_ack.rows = some_bytes(s);
		break;
	case MSG_STATUS_ACK:
		m.status_ack.status = some_bytes(s);
		m.status_ack.stats = some_bytes(s);
		break;
	default:
		break;
	}
	say(s, &head, kind, &m);
}

/* A conversation of up to 30 messages, then the end of it. */
static void
visit(struct stranger *s, const char *address, unsigned i)
{
	static const enum purpose purposes[] = {
	    PURPOSE_DATA, PURPOSE_GOSSIP, PURPOSE_SYNC};
	unsigned messages = (unsigned)rand_r(&s->seed) % 30;

	for (size_t k = 0; k < sizeof(s->bytes); k++)
		s->bytes[k] = (unsigned char)rand_r(&s->seed);
	greet(s, address, i % 2 == 0 ? DYN_PEER : DYN_CLIENT, purposes[i % 3]);
	for (unsigned k = 0; k < messages; k++)
		say_something(s);
	/* Some leave without waiting, some in good order. */
	if (i % 4 == 0) {
		ck_assert_int_ge(shutdown(s->fd, SHUT_WR), -1);
		ck_assert(raw_ends(s->fd, 10000));
	}
	close(s->fd);
}

START_TEST(nonsense_after_a_greeting)
{
	struct load *l = load_new(20, 2, 3000);
	struct stranger s = {.seed = (unsigned)test_seed()};
	struct ring r;

	ck_assert_int_eq(
	    name_make(DYN_HASH_SHA256, dyn_str("t"), dyn_str("victim"), &s.name), 0);
	ring_init(&r, 3);
	ring_open_all(&r);
	proc_load(&r.peer[0], l, 1, 1);
	proc_load(&r.peer[1], l, 1, 1);
	load_await(l, 20, 20);
	for (unsigned i = 0; i < 300; i++)
		visit(&s, r.address[i % 3], i);
	load_await(l, 100, 100);
	atomic_store(&l->stop, true);
	proc_unload(&r.peer[0]);
	proc_unload(&r.peer[1]);
	load_check(l);
	ck_assert_uint_eq(atomic_load(&l->count[0].put_failed), 0);
	ck_assert_uint_eq(atomic_load(&l->count[0].put_unknown), 0);
	ck_assert_uint_eq(atomic_load(&l->count[0].get_failed), 0);
	ring_settled(&r, 3);
	load_verify(l, &r.peer[2], 0);
	ring_close(&r);
	buf_unref(s.name);
}
END_TEST

static Suite *
suite(void)
{
	Suite *s = suite_create("hostile");

	test_case(s, "nonsense after a greeting", nonsense_after_a_greeting);
	return s;
}

TEST_MAIN(suite)
