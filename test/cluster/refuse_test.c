/*
 * Goal: who does not belong to a ring stays out of it, is told why, and harms
 * nobody: other names, other rings of the same name, other settings, a
 * directory in use or copied, wrong certificates (S17), and whoever sends
 * garbage.
 * Method: a ring of three and a stranger; plain sockets for garbage.
 */
#include "ring.h"

#include "certs.h"
#include "net.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static void
open_three(struct ring *r)
{
	ring_init(r, 3);
	ring_open_all(r);
	proc_write(&r->peer[0], "k", "ring");
}

/* All as before, and of three. */
static void
unharmed(struct ring *r)
{
	for (unsigned i = 0; i < 3; i++)
		ck_assert_str_eq(proc_read(&r->peer[i], "k", 0), "ring");
	ring_settled(r, 3);
}

static void
stays_out(const struct dyn_options *o, int code, const char *word)
{
	struct dyn_error error;
	struct proc p;
	int rc;

	proc_start(&p, o);
	rc = proc_ready(&p, &error);
	ck_assert_msg(rc == code, "%s: %d %s instead of %d", word, rc, error.text, code);
	ck_assert_msg(
	    strstr(error.text, word) != NULL, "'%s' not in '%s'", word, error.text);
}

START_TEST(other_settings)
{
	struct dyn_options o;
	struct ring r;

	open_three(&r);
	o = ring_options(&r, 0);
	o.listen = proc_address();
	o.open_timeout_ms = 3000;
#define OUT(word, ...)                                                                   \
	do {                                                                             \
		struct dyn_options saved = o;                                            \
		o.dir = test_path(test_dir(), "new");                                    \
		o.join = DYN_JOIN_AUTO;                                                  \
		__VA_ARGS__;                                                             \
		stays_out(&o, DYN_ERING, word);                                          \
		o = saved;                                                               \
	} while (0)
	OUT("ring", o.ring = "other");
	OUT("n = 3", o.n = 2);
	OUT("64 partitions", o.partitions = 128);
	OUT("hash", o.hash = DYN_HASH_MD5);
	OUT("ring", o.ring = "other"; o.role = DYN_CLIENT; o.dir = NULL; o.listen = NULL;
	    o.n = 0; o.partitions = 0);
#undef OUT
	unharmed(&r);
	ring_close(&r);
}
END_TEST

/* Two rings of one name, one of which is told to look for the other. */
START_TEST(rings_that_meet)
{
	struct proc_call alone = {.key = "alone", .value = "0", .call = {.w = 1}};
	struct proc_answer a;
	struct dyn_options o;
	struct proc other;
	struct ring r;

	open_three(&r);
	o = ring_options(&r, 0);
	o.dir = test_dir();
	o.listen = proc_address();
	o.seeds = NULL;
	proc_open(&other, &o);
	ck_assert_int_eq(proc_put(&other, &alone, &a), 0);
	ck_assert_int_eq(proc_close(&other, 1000), 0);
	o.seeds = r.seeds;
	proc_open(&other, &o);
	TEST_WAIT(proc_logged(&other, "another ring"), 8000);
	unharmed(&r);
	ck_assert_str_eq(proc_read(&other, "alone", DYN_HERE), "0");
	ck_assert_str_eq(proc_read(&other, "k", DYN_HERE), "");
	ck_assert_int_eq(proc_close(&other, 1000), 0);
	ring_close(&r);
}
END_TEST

START_TEST(one_directory)
{
	struct dyn_options o;
	struct ring r;

	open_three(&r);
	o = ring_options(&r, 1);
	o.listen = "127.0.0.1:0";
	stays_out(&o, DYN_ELOCKED, "in use");
	o = ring_options(&r, 1);
	o.dir = test_dir();
	stays_out(&o, DYN_EADDRESS, "listen"); /* the port is in use too */
	unharmed(&r);
	ring_close(&r);
}
END_TEST

/* A copy of a member's directory runs beside it: noticed, and one gives up. */
START_TEST(copied_directory)
{
	char command[512];
	struct dyn_options o;
	struct proc copy;
	struct ring r;

	open_three(&r);
	ck_assert_int_eq(proc_close(&r.peer[1], 1000), 0);
	o = ring_options(&r, 1);
	o.dir = test_path(test_dir(), "copy");
	o.listen = proc_address();
	snprintf(command, sizeof(command), "cp -r '%s' '%s'", r.dir[1], o.dir);
	ck_assert_int_eq(system(command), 0);
	ring_open(&r, 1);
	proc_open(&copy, &o);
	TEST_WAIT(proc_logged(&copy, "copied data directory") ||
		      proc_logged(&r.peer[1], "copied data directory"),
	    10000);
	TEST_WAIT(proc_logged(&copy, "runs with this node's id") ||
		      proc_logged(&r.peer[1], "runs with this node's id"),
	    20000);
	ck_assert_str_eq(proc_read(&r.peer[0], "k", 0), "ring");
	proc_kill(&copy);
	ring_kill(&r);
}
END_TEST

/* ---------------------------------------------------------------------- TLS */

struct paths {
	char ca[256], cert[256], key[256];
};

static void
use(struct dyn_options *o, struct paths *p, const char *folder, const char *ca,
    const char *name)
{
	snprintf(p->ca, sizeof(p->ca), "%s/%s.pem", folder, ca);
	snprintf(p->cert, sizeof(p->cert), "%s/%s.pem", folder, name);
	snprintf(p->key, sizeof(p->key), "%s/%s.key", folder, name);
	o->tls_ca = p->ca;
	o->tls_cert = p->cert;
	o->tls_key = p->key;
}

static void
make_certs(const char *folder)
{
	certs_authority(folder, "ca");
	certs_issue(folder, "ca", "peer", "IP:127.0.0.1", 1);
	certs_issue(folder, "ca", "elsewhere", "DNS:elsewhere.example", 1);
	certs_issue(folder, "ca", "expired", "IP:127.0.0.1", -1);
	certs_authority(folder, "foreign");
	certs_issue(folder, "foreign", "stranger", "IP:127.0.0.1", 1);
}

static void
tries(const struct ring *r, const char *folder, const char *ca, const char *cert)
{
	struct dyn_options o = ring_options(r, 0);
	struct dyn_error error;
	struct paths p;
	struct proc stranger;
	int rc;

	o.dir = test_dir();
	o.listen = proc_address();
	o.join = DYN_JOIN_ONLY;
	o.open_timeout_ms = 1000;
	o.tls_ca = o.tls_cert = o.tls_key = NULL;
	if (cert != NULL)
		use(&o, &p, folder, ca, cert);
	proc_start(&stranger, &o);
	rc = proc_ready(&stranger, &error);
	ck_assert_msg(rc == DYN_ETLS || rc == DYN_ETIMEOUT, "%s: %d %s",
	    cert != NULL ? cert : "plain", rc, error.text);
}

START_TEST(certificates)
{
	const char *folder = test_dir();
	struct dyn_stats s = DYN_STATS_INIT;
	struct proc client;
	struct paths p;
	struct ring r;

	make_certs(folder);
	ring_init(&r, 3);
	use(&r.base, &p, folder, "ca", "peer");
	ring_open_all(&r);
	proc_write(&r.peer[0], "k", "ring");
	ring_client(&r, &client);
	ck_assert_str_eq(proc_read(&client, "k", 0), "ring");
	ck_assert_int_eq(proc_close(&client, 1000), 0);
	tries(&r, folder, "foreign", "stranger"); /* neither trusts the other */
	tries(&r, folder, "ca", "stranger");      /* only we do not trust it */
	tries(&r, folder, "ca", "expired");
	tries(&r, folder, "ca", "elsewhere"); /* does not name its host */
	tries(&r, folder, NULL, NULL);        /* plain text */
	unharmed(&r);
	proc_kill(&r.peer[2]);
	ring_open(&r, 2);
	unharmed(&r);
	proc_stats(&r.peer[0], &s);
	ck_assert_uint_gt(s.frames_in, 0);
	ring_close(&r);
}
END_TEST

/* ------------------------------------------------------------------- garbage */

/* Bytes that are no frame; that are, but not for a stranger; that stop. */
static void throw(const char *address, unsigned kind, unsigned *seed)
{
	unsigned char bytes[4096];
	int fd = raw_dial(address);

	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (unsigned char)rand_r(seed);
	switch (kind % 5) {
	case 0: /* noise */
		raw_send(fd, bytes, sizeof(bytes));
		break;
	case 1: /* the largest length there is */
		memset(bytes, 0xff, 4);
		raw_send(fd, bytes, 64);
		break;
	case 2: /* a length, and then nothing */
		memcpy(bytes, "\x40\x00\x00\x00\x01\x00\x01\x00", 8);
		raw_send(fd, bytes, 10);
		close(fd);
		return;
	case 3: /* a GET before any HELLO */
		memcpy(bytes, "\x40\x00\x00\x00\x0c\x00\x01\x00", 8);
		raw_send(fd, bytes, 64);
		break;
	default: /* another protocol */
		raw_send(fd, "GET / HTTP/1.1\r\nHost: x\r\n\r\n", 28);
		break;
	}
	ck_assert(raw_ends(fd, 10000));
	close(fd);
}

START_TEST(garbage)
{
	struct load *l = load_new(20, 2, 3000);
	struct dyn_stats before = DYN_STATS_INIT, after = DYN_STATS_INIT;
	unsigned seed = (unsigned)test_seed();
	struct ring r;

	open_three(&r);
	proc_load(&r.peer[0], l, 1, 1);
	proc_load(&r.peer[1], l, 1, 1);
	load_await(l, 50, 50);
	proc_stats(&r.peer[0], &before);
	for (unsigned i = 0; i < 100; i++)
		throw(r.address[0], i, &seed);
	proc_stats(&r.peer[0], &after);
	ck_assert_uint_ge(after.protocol_errors, before.protocol_errors + 80);
	load_await(l, 100, 100);
	atomic_store(&l->stop, true);
	proc_unload(&r.peer[0]);
	proc_unload(&r.peer[1]);
	load_check(l);
	ck_assert_uint_eq(atomic_load(&l->count[0].put_failed), 0);
	ck_assert_uint_eq(atomic_load(&l->count[0].put_unknown), 0);
	ck_assert_uint_eq(atomic_load(&l->count[0].get_failed), 0);
	ck_assert(proc_logged(&r.peer[0], "malformed") ||
		  proc_logged(&r.peer[0], "during the greeting"));
	unharmed(&r);
	ring_close(&r);
}
END_TEST

static Suite *
suite(void)
{
	Suite *s = suite_create("refuse");

	test_case(s, "other settings", other_settings);
	test_case(s, "rings that meet", rings_that_meet);
	test_case(s, "one directory", one_directory);
	test_case(s, "copied directory", copied_directory);
	test_case(s, "certificates", certificates);
	test_case(s, "garbage", garbage);
	return s;
}

TEST_MAIN(suite)
