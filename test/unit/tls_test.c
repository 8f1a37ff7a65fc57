/*
 * Goal: with TLS, frames arrive as without, and nobody gets in whom the ring's
 * authority did not sign, whose certificate names somebody else, or who does
 * not speak TLS; whoever is refused harms nobody else.
 * Method: throw-away certificates, real sockets on loopback.
 */
#include "test/certs.h"
#include "test/net.h"

#include "host/tls.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static struct side a, b, c; /* a listens, b dials, c is there to move to */
static struct side *const sides[] = {&a, &b, &c};
static struct tls *identities[2];
static const char *folder;
static size_t files_before;
static long blocks_before;

static void
make_certificates(void)
{
	folder = test_dir();
	certs_authority(folder, "ring");
	certs_authority(folder, "foreign");
	certs_issue(folder, "ring", "good", "IP:127.0.0.1,IP:::1,DNS:localhost", 30);
	certs_issue(folder, "ring", "other", "IP:127.0.0.2,DNS:example.org", 30);
	certs_issue(folder, "ring", "nobody", NULL, 30);
	certs_issue(folder, "ring", "wild", "DNS:*.example.org", 30);
	certs_issue(folder, "ring", "expired", "IP:127.0.0.1,DNS:localhost", -2);
	certs_issue(folder, "foreign", "stranger", "IP:127.0.0.1,DNS:localhost", 30);
	certs_issue(folder, "ring", "locked", "IP:127.0.0.1", 30);
	certs_lock_key(folder, "locked");
}

static char *
path(const char *name, const char *ending, char to[512])
{
	snprintf(to, 512, "%s/%s.%s", folder, name, ending);
	return to;
}

static int
open_identity(struct tls **out, const char *ca, const char *cert, const char *key,
    struct dyn_error *error)
{
	char one[512], two[512], three[512];

	return tls_new(out, path(ca, "pem", one), path(cert, "pem", two),
	    path(key, "key", three), error);
}

/* The identities of both sides; NULL: plain. */
static void
begin(const char *listens, const char *dials)
{
	const char *names[] = {listens, dials};
	struct dyn_error error = {0, ""};

	make_certificates();
	files_before = net_open_files();
	blocks_before = mem_balance();
	for (size_t i = 0; i < 2; i++)
		if (names[i] != NULL)
			ck_assert_msg(open_identity(&identities[i], "ring", names[i],
					  names[i], &error) == 0,
			    "%s", error.text);
	side_init(&a, "a");
	side_init(&b, "b");
	side_init(&c, "c");
	a.config.tls = identities[0];
	b.config.tls = identities[1];
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
	tls_free(identities[0]);
	tls_free(identities[1]);
	ck_assert_int_eq(mem_balance(), blocks_before);
	ck_assert_uint_eq(net_open_files(), files_before);
}

/* ----------------------------------------------------------------- traffic */

static const struct {
	uint64_t frames;
	size_t size_max, out_max;
	int socket_buffer;
	bool moves;
} traffics[] = {
    {1, 0, 8 << 20, 0, false},
    {20000, 100, 1 << 20, 0, false},
    {5000, 5000, 128 << 10, 0, true},
    {500, 200 << 10, 1 << 20, 0, false},
    {60, 2 << 20, 4 << 20, 0, true},
    {1000, 20 << 10, 64 << 10, 32 << 10, false},
};

START_TEST(frames_arrive_whole_and_in_order)
{
	uint64_t frames = traffics[_i].frames;
	struct end both = {
	    .to_send = frames, .size_max = traffics[_i].size_max, .tag = 5};
	struct side *at = traffics[_i].moves ? &c : &a;
	struct end *y;

	begin("good", "good");
	a.config.out_max = b.config.out_max = traffics[_i].out_max;
	a.config.socket_buffer = b.config.socket_buffer = traffics[_i].socket_buffer;
	a.accept_as = both;
	if (traffics[_i].moves)
		a.accept_to = &c.loop;
	start();
	y = side_dial(&b, a.bound, &both);
	TEST_WAIT(atomic_load(&at->count) == 1 &&
		      atomic_load(&at->ends[0].got) == frames &&
		      atomic_load(&y->got) == frames,
	    60000);
	ck_assert_uint_eq(atomic_load(&y->bad) + atomic_load(&at->ends[0].bad), 0);
	ck_assert_int_eq(atomic_load(&y->closed) + atomic_load(&at->ends[0].closed), 0);
	side_close(&b, y, true);
	TEST_WAIT(
	    atomic_load(&at->ends[0].closed) == 1 && atomic_load(&y->closed) == 1, 3000);
	ck_assert_int_eq(atomic_load(&at->ends[0].rc), DYN_ECLOSED);
	finish();
}
END_TEST

START_TEST(lingering_delivers_what_was_queued)
{
	struct end asks = {.to_send = 150, .size_max = 100 << 10, .tag = 1};
	struct end *y;

	begin("good", "good");
	b.config.out_max = 64 << 20;
	b.config.socket_buffer = 32 << 10;
	a.accept_as.tag = 1;
	start();
	y = side_dial(&b, a.bound, &asks);
	TEST_WAIT(atomic_load(&y->opened) == 1, 3000);
	TEST_WAIT(atomic_load(&a.count) == 1 && atomic_load(&a.ends[0].got) > 0, 3000);
	side_close(&b, y, true);
	TEST_WAIT(
	    atomic_load(&y->closed) == 1 && atomic_load(&a.ends[0].closed) == 1, 3000);
	ck_assert_uint_eq(atomic_load(&a.ends[0].got), 150);
	ck_assert_uint_eq(atomic_load(&a.ends[0].bad), 0);
	finish();
}
END_TEST

START_TEST(a_peer_that_does_not_read_is_bounded)
{
	struct end asks = {.to_send = 100000, .size_max = 2000, .tag = 6, .hold = false};
	struct end *y;

	begin("good", "good");
	a.config.out_max = 256 << 10;
	b.config.out_max = 512 << 10;
	a.accept_as = (struct end){.echo = true, .tag = 6};
	start();
	asks.close_at = 20000;
	y = side_dial(&b, a.bound, &asks);
	TEST_WAIT(atomic_load(&y->closed) == 1, 20000);
	ck_assert_uint_eq(atomic_load(&y->bad), 0);
	ck_assert_uint_le(atomic_load(&y->queued_most), 512 << 10);
	ck_assert_uint_le(atomic_load(&a.ends[0].queued_most), 256 << 10);
	ck_assert_int_eq(atomic_load(&a.ends[0].busy), 0);
	finish();
}
END_TEST

/* ----------------------------------------------------------------- refusals */

struct meeting {
	const char *listens, *dials; /* certificates; NULL: plain */
	const char *host;            /* dialled */
	const char *advertise;       /* of the HELLO; NULL: a client */
	bool opens;
	int rc;                    /* the dialler's */
	const char *a_log, *b_log; /* what must be in the logs */
};

static const struct meeting meetings[] = {
    {"good", "good", "127.0.0.1", NULL, true, 0, NULL, NULL},
    {"good", "good", "localhost", NULL, true, 0, NULL, NULL},
    {"good", "good", "127.0.0.1", "localhost:1", true, 0, NULL, NULL},
    {"good", "good", "127.0.0.1", "127.0.0.1:1", true, 0, NULL, NULL},
    {"good", "good", "127.0.0.1", "[::1]:1", true, 0, NULL, NULL},
    /* A client need not be named. */
    {"good", "nobody", "127.0.0.1", NULL, true, 0, NULL, NULL},
    {"good", "other", "127.0.0.1", NULL, true, 0, NULL, NULL},
    /* A peer must be, by what it advertises. */
    {"good", "other", "127.0.0.1", "127.0.0.2:1", true, 0, NULL, NULL},
    {"good", "other", "127.0.0.1", "example.org:1", true, 0, NULL, NULL},
    {"good", "wild", "127.0.0.1", "a.example.org:1", true, 0, NULL, NULL},
    {"good", "wild", "127.0.0.1", "a.b.example.org:1", false, DYN_ETLS, "does not name",
	"does not name"},
    {"good", "other", "127.0.0.1", "127.0.0.1:1", false, DYN_ETLS, "does not name",
	"does not name"},
    {"good", "nobody", "127.0.0.1", "localhost:1", false, DYN_ETLS, "does not name", ""},
    {"good", "good", "127.0.0.1", "", false, DYN_ETLS, "does not name", ""},
    {"good", "good", "127.0.0.1", "localhost", false, DYN_ETLS, "does not name", ""},
    /* So must be who is dialled. */
    {"other", "good", "127.0.0.1", NULL, false, DYN_ETLS, "TLS", "IP address mismatch"},
    {"other", "good", "localhost", NULL, false, DYN_ETLS, "TLS", "hostname mismatch"},
    {"nobody", "good", "localhost", NULL, false, DYN_ETLS, "TLS", "hostname mismatch"},
    {"expired", "good", "127.0.0.1", NULL, false, DYN_ETLS, "TLS", "expired"},
    {"good", "expired", "127.0.0.1", NULL, false, DYN_ETLS, "expired", "expired"},
    /* And both must speak it. */
    {"good", NULL, "127.0.0.1", NULL, false, 0, "TLS: ", NULL},
    {NULL, "good", "127.0.0.1", NULL, false, DYN_ETLS, "speaks TLS", "TLS"},
};

START_TEST(who_may_come_in)
{
	const struct meeting *m = &meetings[_i];
	struct msg_hello hello = {.role = DYN_CLIENT, .ring = slice("test", 4)};
	struct end asks = {.to_send = 10, .tag = 1, .size_max = 20}, *y;
	char address[DYN_ADDRESS_MAX];

	begin(m->listens, m->dials);
	a.accept_as.tag = 1;
	start();
	if (m->advertise != NULL) {
		hello.role = DYN_PEER;
		hello.advertise = slice(m->advertise, strlen(m->advertise));
	}
	snprintf(address, sizeof(address), "%s:%s", m->host, strchr(a.bound, ':') + 1);
	ck_assert_int_eq(side_dial_as(&b, address, &asks, &hello, &y), 0);
	if (m->opens) {
		TEST_WAIT(atomic_load(&y->opened) == 1 && atomic_load(&a.count) == 1 &&
			      atomic_load(&a.ends[0].got) == 10,
		    5000);
		ck_assert_int_eq(
		    atomic_load(&a.log_lines) + atomic_load(&b.log_lines), 0);
	} else {
		TEST_WAIT(atomic_load(&y->closed) == 1, 5000);
		ck_assert_int_eq(atomic_load(&y->opened), 0);
		ck_assert_int_eq(atomic_load(&y->refused), 1);
		if (m->rc != 0)
			ck_assert_int_eq(atomic_load(&y->rc), m->rc);
		ck_assert_uint_eq(atomic_load(&a.count), 0);
		TEST_WAIT(side_logged(&a, m->a_log), 3000);
		if (m->b_log != NULL)
			ck_assert_msg(side_logged(&b, m->b_log), "%s", b.log);
	}
	finish();
}
END_TEST

/* Signed by another authority, either side. */
START_TEST(foreign_authorities)
{
	struct dyn_error error = {0, ""};
	struct end *y;

	begin("good", "good");
	tls_free(identities[_i]);
	ck_assert_msg(open_identity(&identities[_i], _i == 0 ? "ring" : "foreign",
			  "stranger", "stranger", &error) == 0,
	    "%s", error.text);
	a.config.tls = identities[0];
	b.config.tls = identities[1];
	start();
	y = side_dial(&b, a.bound, NULL);
	TEST_WAIT(atomic_load(&y->closed) == 1, 5000);
	ck_assert_int_eq(atomic_load(&y->opened), 0);
	ck_assert_int_eq(atomic_load(&y->rc), DYN_ETLS);
	TEST_WAIT(side_logged(&a, "TLS: "), 3000);
	ck_assert_msg(side_logged(&b, "certificate refused"), "%s", b.log);
	finish();
}
END_TEST

/* A TLS client of our own making; version 0: what is newest. */
static SSL *
plain_client(const char *cert, int version, int *fd, SSL_CTX **context)
{
	char name[512];
	SSL *ssl;

	*context = SSL_CTX_new(TLS_client_method());
	ck_assert_ptr_nonnull(*context);
	if (version != 0)
		SSL_CTX_set_max_proto_version(*context, version);
	if (cert != NULL) {
		ck_assert_int_eq(
		    SSL_CTX_use_certificate_chain_file(*context, path(cert, "pem", name)),
		    1);
		ck_assert_int_eq(SSL_CTX_use_PrivateKey_file(
				     *context, path(cert, "key", name), SSL_FILETYPE_PEM),
		    1);
	}
	*fd = raw_dial(a.bound);
	ssl = SSL_new(*context);
	SSL_set_fd(ssl, *fd);
	return ssl;
}

/* Neither without a certificate, nor with an old TLS, nor with a foreign
 * certificate that this client itself would never be ashamed of. */
static const struct {
	const char *cert;
	int version;
	bool shakes; /* this side thinks the handshake went well (TLS 1.3) */
	const char *log;
} clients[] = {
    {NULL, 0, true, "peer did not return a certificate"},
    {"good", TLS1_2_VERSION, false, "unsupported protocol"},
    {"stranger", 0, true, "certificate refused: "},
    {"expired", 0, true, "certificate refused: certificate has expired"},
};

START_TEST(clients_that_are_not_of_the_ring)
{
	struct buf *hello;
	struct end *y;
	SSL_CTX *context;
	SSL *ssl;
	char byte;
	int fd;

	begin("good", "good");
	hello = net_hello(HELLO_MAGIC, 1, 1);
	start();
	ssl = plain_client(clients[_i].cert, clients[_i].version, &fd, &context);
	ck_assert_int_eq(SSL_connect(ssl) == 1, clients[_i].shakes);
	if (clients[_i].shakes)
		SSL_write(ssl, hello->data, (int)hello->len);
	ck_assert_int_le(SSL_read(ssl, &byte, 1), 0);
	TEST_WAIT(side_logged(&a, clients[_i].log), 2000);
	ck_assert_uint_eq(atomic_load(&a.count), 0);
	/* Nobody else is harmed. */
	y = side_dial(&b, a.bound, NULL);
	TEST_WAIT(atomic_load(&y->opened) == 1, 3000);
	SSL_free(ssl);
	SSL_CTX_free(context);
	buf_unref(hello);
	close(fd);
	finish();
}
END_TEST

/* What goes wrong after the handshake: garbage inside TLS, a damaged record,
 * silence, an end in the middle. */
START_TEST(bad_manners_inside_tls)
{
	static const char *const logs[] = {"malformed or too large a greeting",
	    "TLS: ", "no greeting in time", "closed"};
	SSL_CTX *context;
	SSL *ssl;
	int fd;

	begin("good", "good");
	a.config.greet_ms = 300;
	start();
	ssl = plain_client("good", 0, &fd, &context);
	ck_assert_int_eq(SSL_connect(ssl), 1);
	switch (_i) {
	case 0:
		SSL_write(ssl, "GET / HTTP/1.0\r\n\r\n", 18);
		break;
	case 1:
		raw_send(fd, "\x17\x03\x03\0\x20garbage garbage garbage garbage!", 37);
		break;
	case 3:
		SSL_write(ssl, "\x60\0\0\0\x01", 5);
		SSL_shutdown(ssl);
		break;
	}
	ck_assert(raw_ends(fd, 3000));
	ck_assert_msg(side_logged(&a, logs[_i]), "%s", a.log);
	SSL_free(ssl);
	SSL_CTX_free(context);
	close(fd);
	finish();
}
END_TEST

/* Each byte by itself, with a change of keys in between. */
START_TEST(records_in_small_pieces)
{
	struct buf *hello, *frame;
	SSL_CTX *context;
	SSL *ssl;
	BIO *out;
	char *bytes;
	long len;
	int fd;

	begin("good", "good");
	a.accept_as = (struct end){.echo = true, .tag = 3};
	a.accept_to = &c.loop;
	start();
	hello = net_hello(HELLO_MAGIC, 1, 1);
	ssl = plain_client("good", 0, &fd, &context);
	ck_assert_int_eq(SSL_connect(ssl), 1);
	/* Written to memory, sent by hand. */
	out = BIO_new(BIO_s_mem());
	SSL_set0_wbio(ssl, out);
	SSL_write(ssl, hello->data, (int)hello->len);
	for (uint64_t i = 0; i < 5; i++) {
		frame = net_frame(3, i, 40);
		SSL_write(ssl, frame->data, (int)frame->len);
		SSL_key_update(ssl, SSL_KEY_UPDATE_REQUESTED);
		buf_unref(frame);
	}
	len = BIO_get_mem_data(out, &bytes);
	for (long i = 0; i < len; i++)
		raw_send(fd, bytes + i, 1);
	TEST_WAIT(atomic_load(&c.count) == 1 && atomic_load(&c.ends[0].got) == 5, 3000);
	ck_assert_uint_eq(atomic_load(&c.ends[0].bad), 0);
	SSL_free(ssl);
	SSL_CTX_free(context);
	buf_unref(hello);
	close(fd);
	finish();
}
END_TEST

/* ----------------------------------------------------------------- identity */

START_TEST(identities_that_cannot_be)
{
	static const struct {
		const char *ca, *cert, *key, *in_text;
	} bad[] = {
	    {"missing", "good", "good", "tls_ca "},
	    {"ring", "missing", "good", "tls_cert "},
	    {"ring", "good", "missing", "tls_key "},
	    {"ring", "good", "other", "tls_key "},
	    {"ring", "good", "locked", "tls_key "},
	    {"garbage", "good", "good", "tls_ca "},
	    {"ring", "garbage", "good", "tls_cert "},
	    {"ring", "good", "garbage", "tls_key "},
	};
	struct dyn_error error;
	struct tls *t;
	char name[512];
	FILE *f;

	make_certificates();
	f = fopen(path("garbage", "pem", name), "w");
	fputs("-----BEGIN CERTIFICATE-----\nbm8=\n", f);
	fclose(f);
	f = fopen(path("garbage", "key", name), "w");
	fputs("no key\n", f);
	fclose(f);
	ERR_clear_error();
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		memset(&error, 0, sizeof(error));
		ck_assert_int_eq(
		    open_identity(&t, bad[i].ca, bad[i].cert, bad[i].key, &error),
		    DYN_ETLS);
		ck_assert_ptr_null(t);
		ck_assert_int_eq(error.code, DYN_ETLS);
		ck_assert_msg(
		    strncmp(error.text, bad[i].in_text, strlen(bad[i].in_text)) == 0,
		    "%s", error.text);
		ck_assert_uint_eq(ERR_peek_error(), 0); /* nothing is left behind */
	}
	ck_assert_int_eq(open_identity(&t, "missing", "good", "good", NULL), DYN_ETLS);
}
END_TEST

START_TEST(identity_without_memory)
{
	struct tls_stream *s;
	struct tls *t;

	make_certificates();
	TEST_ALLOC_FAILURES (n) {
		if (open_identity(&t, "ring", "good", "good", NULL) == 0) {
			if (tls_stream_new(
				&s, t, n % 2 == 0, n % 2 == 0 ? NULL : "host") == 0) {
				struct buf *out;

				if (tls_stream_handshake(s) == 0 &&
				    tls_stream_take(s, &out) == 0)
					buf_unref(out);
				tls_stream_free(s);
			}
			tls_free(t);
		}
	}
}
END_TEST

static Suite *
suite(void)
{
	Suite *s = suite_create("tls");
	TCase *t = tcase_create("traffic"), *r = tcase_create("refusal");
	TCase *i = tcase_create("identity");

	tcase_set_timeout(t, 120);
	tcase_add_loop_test(
	    t, frames_arrive_whole_and_in_order, 0, (int)ARRAY_LEN(traffics));
	tcase_add_test(t, lingering_delivers_what_was_queued);
	tcase_add_test(t, a_peer_that_does_not_read_is_bounded);
	tcase_add_test(t, records_in_small_pieces);
	suite_add_tcase(s, t);
	tcase_set_timeout(r, 30);
	tcase_add_loop_test(r, who_may_come_in, 0, (int)ARRAY_LEN(meetings));
	tcase_add_loop_test(r, foreign_authorities, 0, 2);
	tcase_add_loop_test(
	    r, clients_that_are_not_of_the_ring, 0, (int)ARRAY_LEN(clients));
	tcase_add_loop_test(r, bad_manners_inside_tls, 0, 4);
	suite_add_tcase(s, r);
	tcase_set_timeout(i, 30);
	tcase_add_test(i, identities_that_cannot_be);
	tcase_add_test(i, identity_without_memory);
	suite_add_tcase(s, i);
	return s;
}

TEST_MAIN(suite)
