/*
 * The demonstration: five peers on this machine, real input, a crash.
 *
 *	demo SAMPLE [INPUT]
 *
 * INPUT is a file of package records, by default /var/lib/dpkg/status; SAMPLE
 * is taken where INPUT is missing or small.  Each peer is a process of its own
 * (common_peer.h); this one stores nothing and only sends them requests.
 * Everything is checked, every number printed was measured.  Ends with 0 if
 * all was as it should be, else 1; leaves no process and no file behind.
 */
#include "common_peer.h"
#include "common_records.h"
#include "common_table.h"
#include "common_util.h"

#include <errno.h>
#include <ftw.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
	PEERS = 5,
	REPLICAS = 3,
	QUORUM = 2,
	VICTIM = 2,         /* index of the peer that is killed */
	RECORDS_MIN = 400,  /* of the input, else the sample is taken */
	RECORDS_MAX = 4000, /* so that it stays under a minute */
	CHANGE_EVERY = 10,  /* record changed while the victim is dead */
	NEW_OBJECTS = 25,   /* added meanwhile */
	INFLIGHT = 64,      /* requests sent and not yet answered */
	ANSWER_MS = 20000,  /* longest wait for an answer */
	SETTLE_MS = 20000,  /* longest wait for the ring to agree */
	REPAIR_MS = 10000,  /* longest wait for repairs after the reads */
	BAR_WIDTH = 30,
	LOG_TAIL = 12, /* lines of each log shown after a failure */
};

enum { PACKAGES, CARTS };

struct object {
	const char *key;
	struct dyn_slice value;    /* what a read has to bring */
	char *text;                /* value's bytes, if they are not the file's */
	struct dyn_buffer context; /* of the last read, where it is wanted */
	bool changed;              /* while the victim was dead */
	bool missed;               /* and the victim owns it */
	bool here;                 /* the victim has the right value itself */
};

struct demo {
	char root[64];
	char dirs[PEERS][96], logs[PEERS][96];
	struct peer_setup setups[PEERS];
	struct peer peers[PEERS];
	struct records records;
	const char *input;
	struct object *objects;
	size_t count, loaded; /* objects; those of the first load */
	struct dyn_buffer cart_context[2];
	bool tty;
	uint64_t begun_us;
};

static volatile sig_atomic_t stopped;

static void
on_signal(int number)
{
	stopped = number;
}

/* -------------------------------------------------------------------- telling */

/* A line of a step, indented. */
static void
say(const char *format, ...)
{
	va_list args;

	fputs("      ", stdout);
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	putchar('\n');
	fflush(stdout);
}

/* What went wrong; always -1. */
static int
fail(const char *format, ...)
{
	va_list args;

	fflush(stdout);
	fputs("      WRONG: ", stderr);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	putc('\n', stderr);
	return -1;
}

static void
show_progress(const struct demo *d, const char *what, size_t done, size_t count)
{
	if (d->tty)
		printf("\r      %s %zu of %zu\033[K", what, done, count);
	else
		printf("      %s %zu of %zu\n", what, done, count);
	fflush(stdout);
}

static void
clear_progress(const struct demo *d)
{
	if (d->tty)
		fputs("\r\033[K", stdout);
}

static double
seconds_since(uint64_t begun_us)
{
	return (double)(now_us() - begun_us) / 1e6;
}

/* ------------------------------------------------------------------- requests */

/* A live peer, for the turn-th request. */
static size_t
pick_peer(const struct demo *d, size_t turn)
{
	size_t i = turn % PEERS;

	while (d->peers[i].pid == 0)
		i = (i + 1) % PEERS;
	return i;
}

/* One request, one answer. */
static int
ask(struct demo *d, size_t peer, const struct peer_request *request,
    struct peer_answer *answer)
{
	size_t from;

	if (peer_send(&d->peers[peer], request) == 0 &&
	    peer_receive(&d->peers[peer], 1, ANSWER_MS, &from, answer) == 0)
		return 0;
	return fail("peer %zu: %s", peer + 1, strerror(errno));
}

/* The same for all objects that are wanted, many at a time. */
struct batch {
	const char *what;
	/* Fill the request for object i (key and tag are set) and return the
	 * peer to send it to, or -1 to leave it out. */
	int (*make)(struct demo *, size_t i, struct peer_request *);
	int (*take)(struct demo *, size_t i, const struct peer_answer *);
};

struct batch_result {
	size_t sent;
	double seconds;
	double slowest_ms;
};

struct batch_run {
	const struct batch *batch;
	uint64_t *sent_us; /* of each object */
	uint64_t begun_us, shown_us;
	size_t next, inflight, done;
	struct batch_result result;
};

static int
send_next(struct demo *d, struct batch_run *run)
{
	size_t i = run->next++;
	struct peer_request request = {.tag = (uint32_t)i};
	int peer;

	request.key = dyn_str(d->objects[i].key);
	peer = run->batch->make(d, i, &request);
	if (peer < 0)
		return 0;
	run->sent_us[i] = now_us();
	run->inflight++;
	run->result.sent++;
	if (peer_send(&d->peers[peer], &request) == 0)
		return 0;
	return fail("%s: peer %d: %s", run->batch->what, peer + 1, strerror(errno));
}

static int
take_next(struct demo *d, struct batch_run *run)
{
	struct peer_answer answer;
	double ms;
	size_t from;
	int rc;

	if (peer_receive(d->peers, PEERS, ANSWER_MS, &from, &answer) != 0)
		return fail("%s: %s", run->batch->what, strerror(errno));
	if (answer.tag >= d->count) {
		rc = fail("%s: an answer to no question", run->batch->what);
	} else if (answer.rc != 0) {
		rc = fail("%s: %s through peer %zu: %s", run->batch->what,
		    d->objects[answer.tag].key, from + 1, dyn_strerror(answer.rc));
	} else {
		ms = (double)(now_us() - run->sent_us[answer.tag]) / 1e3;
		if (ms > run->result.slowest_ms)
			run->result.slowest_ms = ms;
		rc = run->batch->take(d, answer.tag, &answer);
	}
	peer_answer_free(&answer);
	run->inflight--;
	run->done++;
	return rc;
}

static void
progress_now_and_then(struct demo *d, struct batch_run *run)
{
	uint64_t pause_us = d->tty ? 50000 : 2000000;

	if (now_us() - run->shown_us < pause_us)
		return;
	run->shown_us = now_us();
	show_progress(d, run->batch->what, run->done, d->count);
}

static int
run_batch(struct demo *d, const struct batch *batch, struct batch_result *result)
{
	struct batch_run run = {.batch = batch, .begun_us = now_us()};
	int rc = 0;

	run.shown_us = run.begun_us;
	run.sent_us = calloc(d->count, sizeof(*run.sent_us));
	if (run.sent_us == NULL)
		return fail("out of memory");
	while (rc == 0 && (run.next < d->count || run.inflight > 0)) {
		while (rc == 0 && run.next < d->count && run.inflight < INFLIGHT)
			rc = send_next(d, &run);
		if (rc == 0 && run.inflight > 0)
			rc = take_next(d, &run);
		progress_now_and_then(d, &run);
		if (stopped && rc == 0)
			rc = fail("stopped by a signal");
	}
	clear_progress(d);
	free(run.sent_us);
	run.result.seconds = seconds_since(run.begun_us);
	*result = run.result;
	return rc;
}

/* A read has to bring exactly one version with exactly these bytes. */
static int
compare(struct demo *d, size_t i, const struct peer_answer *a)
{
	const struct object *o = &d->objects[i];

	if (a->count != 1 || a->siblings != 1)
		return fail("%s: %u values of %u versions instead of one", o->key,
		    a->count, a->siblings);
	if (a->value.len != o->value.len ||
	    memcmp(a->value.data, o->value.data, o->value.len) != 0)
		return fail("%s: %zu bytes came back, not the %zu bytes written", o->key,
		    a->value.len, o->value.len);
	return 0;
}

/* ------------------------------------------------------------- starting, status */

static int
status_of(struct demo *d, size_t peer, struct dyn_status *out)
{
	struct peer_request request = {.op = PEER_STATUS};
	struct peer_answer answer;
	int rc;

	if (ask(d, peer, &request, &answer) != 0)
		return -1;
	rc = answer.rc;
	if (rc == 0 && answer.value.len == sizeof(*out))
		memcpy(out, answer.value.data, sizeof(*out));
	peer_answer_free(&answer);
	return rc == 0 ? 0 : fail("status of peer %zu: %s", peer + 1, dyn_strerror(rc));
}

/* Do all peers use one table, hold all that it gives them, see each other? */
static int
settled(struct demo *d, bool *out)
{
	struct dyn_status first, s;

	*out = true;
	if (status_of(d, 0, &first) != 0)
		return -1;
	for (size_t i = 0; i < PEERS; i++) {
		if (status_of(d, i, &s) != 0)
			return -1;
		if (s.members != PEERS || s.agreed != PEERS || s.reachable != PEERS ||
		    s.pending != 0 || s.moving != 0 || s.under_replicated != 0 ||
		    s.epoch != first.epoch ||
		    memcmp(s.digest, first.digest, sizeof(s.digest)) != 0)
			*out = false;
	}
	return 0;
}

static void
nap(unsigned ms)
{
	struct timespec t = {.tv_nsec = (long)ms * 1000000};

	nanosleep(&t, NULL);
}

static int
tell_unsettled(struct demo *d)
{
	struct dyn_status s;

	for (size_t i = 0; i < PEERS; i++) {
		if (status_of(d, i, &s) != 0)
			return -1;
		say("peer %zu: epoch %" PRIu64
		    ", digest %02x%02x, members %u, agreed %u, "
		    "reachable %u, pending %u, moving %u, under-replicated %u",
		    i + 1, s.epoch, s.digest[0], s.digest[1], s.members, s.agreed,
		    s.reachable, s.pending, s.moving, s.under_replicated);
	}
	return fail("the peers do not agree after %d s", SETTLE_MS / 1000);
}

static int
wait_settled(struct demo *d)
{
	uint64_t begun = now_us();
	bool good;

	for (;;) {
		if (settled(d, &good) != 0)
			return -1;
		if (good)
			return 0;
		if (stopped)
			return fail("stopped by a signal");
		if (now_us() - begun > (uint64_t)SETTLE_MS * 1000)
			return tell_unsettled(d);
		nap(20);
	}
}

static int
start_peer(struct demo *d, size_t i)
{
	char text[PEER_TEXT_MAX], id[33];

	if (peer_start(&d->peers[i], &d->setups[i], text) != 0)
		return fail("peer %zu: %s", i + 1, text);
	dyn_id_format(d->peers[i].id, id);
	say("peer %zu  process %-7ld  %-15s  id %.8s", i + 1, (long)d->peers[i].pid,
	    d->peers[i].address, id);
	return 0;
}

static int
do_start(struct demo *d)
{
	uint64_t begun = now_us();

	for (size_t i = 0; i < PEERS; i++) {
		/* The first creates the ring; the others know the first. */
		d->setups[i].seeds = i > 0 ? d->peers[0].address : NULL;
		if (start_peer(d, i) != 0)
			return -1;
	}
	if (wait_settled(d) != 0)
		return -1;
	say("one ring, one table, all in place after %.2f s", seconds_since(begun));
	return 0;
}

static int
do_show_ring(struct demo *d)
{
	static const char bar[] = "##############################";
	struct dyn_status s[PEERS];
	unsigned sum = 0, most = 1;
	struct table t;
	char text[16];

	for (size_t i = 0; i < PEERS; i++) {
		if (status_of(d, i, &s[i]) != 0)
			return -1;
		sum += s[i].owned;
		most = s[i].owned > most ? s[i].owned : most;
	}
	table_init(&t, "rrrrrl", "peer|owns|share|keys|bytes|");
	for (size_t i = 0; i < PEERS; i++) {
		table_cell(&t, "%zu", i + 1);
		table_cell(&t, "%u", s[i].owned);
		table_cell(&t, "%.1f %%", 100.0 * s[i].owned / (sum > 0 ? sum : 1));
		table_cell(&t, "%" PRIu64, s[i].keys);
		table_cell(&t, "%s", bytes_text(s[i].bytes, text));
		table_cell(&t, "%.*s", (int)(s[i].owned * BAR_WIDTH / most), bar);
	}
	table_print(&t, stdout, "      ");
	say("%u partitions, each stored by %u peers", s[0].partitions, s[0].n);
	if (sum != s[0].partitions * REPLICAS || s[0].n != REPLICAS)
		return fail(
		    "%u partition copies instead of %u", sum, s[0].partitions * REPLICAS);
	return 0;
}

/* -------------------------------------------------------------- load, read back */

static int
make_load(struct demo *d, size_t i, struct peer_request *r)
{
	r->op = PEER_PUT;
	r->bucket = PACKAGES;
	r->value = d->objects[i].value;
	return (int)pick_peer(d, i);
}

/* An acknowledged write is on W machines, and on their disks. */
static int
take_write(struct demo *d, size_t i, const struct peer_answer *a)
{
	if (a->receipt.machines < QUORUM || a->receipt.on_disk < QUORUM)
		return fail("%s: acknowledged by %u machines, %u disks",
		    d->objects[i].key, a->receipt.machines, a->receipt.on_disk);
	return 0;
}

static int
do_load(struct demo *d)
{
	static const struct batch batch = {"written", make_load, take_write};
	struct batch_result r;
	char text[16];

	say("%zu records of %s", d->count, d->input);
	if (run_batch(d, &batch, &r) != 0)
		return -1;
	say("%zu written, %s, through all five peers in turn:", r.sent,
	    bytes_text(d->records.bytes, text));
	say("%.2f s, %.0f a second, the slowest took %.1f ms", r.seconds,
	    (double)r.sent / r.seconds, r.slowest_ms);
	return 0;
}

/* Record i was written through peer i: two further is another one. */
static int
make_read(struct demo *d, size_t i, struct peer_request *r)
{
	r->op = PEER_GET;
	r->bucket = PACKAGES;
	return (int)pick_peer(d, i + 2);
}

static int
read_all_objects(struct demo *d, const char *how)
{
	static const struct batch batch = {"read", make_read, compare};
	struct batch_result r;

	if (run_batch(d, &batch, &r) != 0)
		return -1;
	say("%zu read %s, no error, every byte as written:", r.sent, how);
	say("%.2f s, %.0f a second, the slowest took %.1f ms", r.seconds,
	    (double)r.sent / r.seconds, r.slowest_ms);
	return 0;
}

static int
do_read_back(struct demo *d)
{
	return read_all_objects(d, "through another peer than the writer's");
}

/* ------------------------------------------------------------------------ carts */

static int
by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/*
 * The merge callback of the carts.  A cart is the list of what was done to it,
 * one line each, "DEVICE-NUMBER +ITEM" or "-ITEM"; merging is the union of the
 * lines, so nothing added is lost and nothing removed comes back.
 */
static int
merge_carts(void *arg, struct dyn_slice key, const struct dyn_slice *values, size_t count,
    struct dyn_buffer *out)
{
	char text[4096], *lines[256], *line, *save = NULL;
	size_t used = 0, n = 0;
	int rc = 0;

	(void)arg, (void)key;
	for (size_t i = 0; i < count; i++) {
		if (used + values[i].len + 2 > sizeof(text))
			return -1;
		memcpy(text + used, values[i].data, values[i].len);
		used += values[i].len;
		text[used++] = '\n';
	}
	text[used] = '\0';
	for (line = strtok_r(text, "\n", &save); line != NULL && n < 256;
	     line = strtok_r(NULL, "\n", &save))
		lines[n++] = line;
	if (line != NULL)
		return -1;
	qsort(lines, n, sizeof(lines[0]), by_text);
	for (size_t i = 0; i < n && rc == 0; i++) {
		if (i > 0 && strcmp(lines[i], lines[i - 1]) == 0)
			continue;
		rc = dyn_buffer_append(out, lines[i], strlen(lines[i]));
		if (rc == 0)
			rc = dyn_buffer_append(out, "\n", 1);
	}
	return rc;
}

/* A cart on one line. */
static void
say_cart(const char *who, struct dyn_slice value)
{
	char text[256];

	snprintf(text, sizeof(text), "%.*s", (int)value.len, (const char *)value.data);
	for (char *p = text; *p != '\0'; p++)
		if (*p == '\n')
			*p = p[1] == '\0' ? ' ' : '|';
	say("%-26s %s", who, text);
}

static int
put_cart(struct demo *d, size_t peer, const char *who, struct dyn_buffer *context,
    const char *cart)
{
	struct peer_request request = {.op = PEER_PUT, .bucket = CARTS};
	struct peer_answer answer;
	int rc;

	request.key = dyn_str("anna");
	request.value = dyn_str(cart);
	if (context != NULL)
		request.context = (struct dyn_slice){context->data, context->len};
	if (ask(d, peer, &request, &answer) != 0)
		return -1;
	rc = answer.rc;
	peer_answer_free(&answer);
	if (rc != 0)
		return fail("cart through peer %zu: %s", peer + 1, dyn_strerror(rc));
	say_cart(who, request.value);
	return 0;
}

/* Read the cart; *context, unless NULL, receives the context of the read. */
static int
get_cart(struct demo *d, size_t peer, const char *who, unsigned siblings,
    const char *cart, struct dyn_buffer *context)
{
	struct peer_request request = {.op = PEER_GET, .bucket = CARTS};
	struct peer_answer a;
	int rc = 0;

	request.key = dyn_str("anna");
	if (ask(d, peer, &request, &a) != 0)
		return -1;
	if (a.rc != 0)
		rc = fail("cart through peer %zu: %s", peer + 1, dyn_strerror(a.rc));
	else if (a.siblings != siblings || a.count != 1)
		rc = fail("%u versions, not %u", a.siblings, siblings);
	else if (a.value.len != strlen(cart) || memcmp(a.value.data, cart, strlen(cart)))
		rc = fail("the cart is\n%.*s", (int)a.value.len, (char *)a.value.data);
	else if (who != NULL)
		say_cart(who, (struct dyn_slice){a.value.data, a.value.len});
	if (rc == 0 && context != NULL) {
		free(context->data);
		*context = a.context;
		a.context = (struct dyn_buffer){.data = NULL};
	}
	peer_answer_free(&a);
	return rc;
}

static int
do_carts(struct demo *d)
{
	static const char begun[] = "phone-1 +book\n";
	static const char phone[] = "phone-1 +book\nphone-2 +pen\nphone-3 +pen\n";
	static const char laptop[] = "laptop-1 -book\nlaptop-2 +lamp\nphone-1 +book\n";
	static const char both[] = "laptop-1 -book\nlaptop-2 +lamp\nphone-1 +book\n"
				   "phone-2 +pen\nphone-3 +pen\n";
	struct dyn_buffer *context = d->cart_context;

	if (put_cart(d, 0, "peer 1 writes", NULL, begun) != 0)
		return -1;
	/* Both have seen the same cart before either writes. */
	if (get_cart(d, 1, "peer 2 (phone) reads", 1, begun, &context[0]) != 0 ||
	    get_cart(d, 3, "peer 4 (laptop) reads", 1, begun, &context[1]) != 0 ||
	    put_cart(d, 1, "peer 2 (phone) writes", &context[0], phone) != 0 ||
	    put_cart(d, 3, "peer 4 (laptop) writes", &context[1], laptop) != 0)
		return -1;
	if (get_cart(d, 4, "peer 5 reads 2, merges to", 2, both, &context[0]) != 0)
		return -1;
	if (put_cart(d, 4, "peer 5 writes that back", &context[0], both) != 0 ||
	    get_cart(d, 0, "peer 1 reads 1 version", 1, both, NULL) != 0)
		return -1;
	return 0;
}

/* ---------------------------------------------------------- crash and come back */

static int
do_kill(struct demo *d)
{
	long pid = (long)d->peers[VICTIM].pid;

	if (peer_kill(&d->peers[VICTIM]) != 0)
		return fail("process %ld was not killed, it had ended", pid);
	say("kill -9 %ld: peer %d is gone in the middle of its work", pid, VICTIM + 1);
	return read_all_objects(d, "through the other four");
}

static int
make_change(struct demo *d, size_t i, struct peer_request *r)
{
	struct object *o = &d->objects[i];

	if (!o->changed)
		return -1;
	r->op = PEER_PUT;
	r->bucket = PACKAGES;
	r->value = o->value;
	r->context = (struct dyn_slice){o->context.data, o->context.len};
	return (int)pick_peer(d, i);
}

static int
make_fetch(struct demo *d, size_t i, struct peer_request *r)
{
	if (i >= d->loaded || i % CHANGE_EVERY != 0)
		return -1;
	r->op = PEER_GET;
	r->bucket = PACKAGES;
	return (int)pick_peer(d, i + 1);
}

/* Keep the context of the read: the write that follows replaces what it saw. */
static int
take_fetch(struct demo *d, size_t i, const struct peer_answer *a)
{
	struct object *o = &d->objects[i];
	size_t len = o->value.len + 64;
	int rc = compare(d, i, a);

	if (rc != 0)
		return rc;
	o->context.data = malloc(a->context.len + 1);
	o->text = malloc(len);
	if (o->context.data == NULL || o->text == NULL)
		return fail("out of memory");
	memcpy(o->context.data, a->context.data, a->context.len);
	o->context.len = a->context.len;
	memcpy(o->text, o->value.data, o->value.len);
	len = o->value.len + (size_t)snprintf(o->text + o->value.len, 64,
				 "X-Demo: changed while peer %d was dead\n", VICTIM + 1);
	o->value = (struct dyn_slice){o->text, len};
	o->changed = true;
	return 0;
}

static int
add_new_objects(struct demo *d)
{
	enum { KEY_LEN = 32, TEXT_LEN = 128 };

	for (int i = 0; i < NEW_OBJECTS; i++) {
		struct object *o = &d->objects[d->count];
		char *text = malloc(KEY_LEN + TEXT_LEN);

		if (text == NULL)
			return fail("out of memory");
		snprintf(text, KEY_LEN, "demo-new-%03d", i);
		snprintf(text + KEY_LEN, TEXT_LEN,
		    "Package: %s\nX-Demo: added while peer %d was dead\n", text,
		    VICTIM + 1);
		*o = (struct object){.key = text, .text = text, .changed = true};
		o->value = dyn_str(text + KEY_LEN);
		d->count++;
	}
	return 0;
}

static int
do_write_without(struct demo *d)
{
	static const struct batch fetch = {"read", make_fetch, take_fetch};
	static const struct batch write = {"written", make_change, take_write};
	struct batch_result fetched, written;

	if (run_batch(d, &fetch, &fetched) != 0 || add_new_objects(d) != 0 ||
	    run_batch(d, &write, &written) != 0)
		return -1;
	say("%zu records changed, each with the context of a read; %d new ones",
	    fetched.sent, NEW_OBJECTS);
	say("%zu written in %.2f s, no error, the slowest took %.1f ms", written.sent,
	    written.seconds, written.slowest_ms);
	return 0;
}

static int
make_locate(struct demo *d, size_t i, struct peer_request *r)
{
	if (!d->objects[i].changed)
		return -1;
	r->op = PEER_LOCATE;
	r->bucket = PACKAGES;
	return (int)pick_peer(d, VICTIM + 1);
}

static int
take_locate(struct demo *d, size_t i, const struct peer_answer *a)
{
	const struct dyn_id *ids = (const struct dyn_id *)(const void *)a->value.data;

	for (size_t k = 0; k < a->value.len / sizeof(*ids); k++)
		if (memcmp(&ids[k], &d->peers[VICTIM].id, sizeof(*ids)) == 0)
			d->objects[i].missed = true;
	return 0;
}

/* The victim's own copy of what it missed. */
static int
make_here(struct demo *d, size_t i, struct peer_request *r)
{
	if (!d->objects[i].missed || d->objects[i].here)
		return -1;
	r->op = PEER_HERE;
	r->bucket = PACKAGES;
	return VICTIM;
}

static int
take_here(struct demo *d, size_t i, const struct peer_answer *a)
{
	struct object *o = &d->objects[i];

	o->here = a->count == 1 && a->siblings == 1 && a->value.len == o->value.len &&
		  memcmp(a->value.data, o->value.data, o->value.len) == 0;
	return 0;
}

/* How many writes the victim missed, and how many of them it has now. */
static int
count_here(struct demo *d, size_t *missed, size_t *here)
{
	static const struct batch batch = {"looked at", make_here, take_here};
	struct batch_result r;

	if (run_batch(d, &batch, &r) != 0)
		return -1;
	*missed = *here = 0;
	for (size_t i = 0; i < d->count; i++) {
		*missed += d->objects[i].missed;
		*here += d->objects[i].here;
	}
	return 0;
}

static int
do_restart(struct demo *d)
{
	static const struct batch locate = {"located", make_locate, take_locate};
	struct dyn_id before = d->peers[VICTIM].id;
	uint64_t begun = now_us();
	struct batch_result r;
	size_t missed, here;

	/* No seeds: a peer that was a member knows the others from its disk. */
	d->setups[VICTIM].seeds = NULL;
	if (start_peer(d, VICTIM) != 0)
		return -1;
	if (memcmp(&before, &d->peers[VICTIM].id, sizeof(before)) != 0)
		return fail("it came back as another node");
	if (wait_settled(d) != 0)
		return -1;
	say("the same node at its new port, known to all after %.2f s",
	    seconds_since(begun));
	if (run_batch(d, &locate, &r) != 0 || count_here(d, &missed, &here) != 0)
		return -1;
	if (missed == 0)
		return fail("it owns none of the %zu keys written meanwhile", r.sent);
	say("of %zu writes it missed the %zu it owns; in its own copy are %zu of them",
	    r.sent, missed, here);
	return 0;
}

static int
sum_repairs(struct demo *d, uint64_t *out)
{
	struct peer_request request = {.op = PEER_STATS};
	struct peer_answer answer;
	struct dyn_stats s;

	*out = 0;
	for (size_t i = 0; i < PEERS; i++) {
		if (ask(d, i, &request, &answer) != 0)
			return -1;
		if (answer.rc == 0 && answer.value.len == sizeof(s)) {
			memcpy(&s, answer.value.data, sizeof(s));
			*out += s.repairs;
		}
		peer_answer_free(&answer);
	}
	return 0;
}

/* Repairs are sent after the reader has its answer: give them a moment. */
static int
do_repair(struct demo *d)
{
	size_t missed, here;
	uint64_t begun, repairs;

	if (read_all_objects(d, "through all five") != 0)
		return -1;
	begun = now_us();
	for (;;) {
		if (count_here(d, &missed, &here) != 0)
			return -1;
		if (here == missed)
			break;
		if (now_us() - begun > (uint64_t)REPAIR_MS * 1000)
			return fail("it still lacks %zu of %zu", missed - here, missed);
		nap(20);
	}
	if (sum_repairs(d, &repairs) != 0)
		return -1;
	say("%.2f s later its own copy has %zu of the %zu it missed",
	    seconds_since(begun), here, missed);
	say("(the five count %" PRIu64 " repaired copies)", repairs);
	return 0;
}

static int
do_close(struct demo *d)
{
	int rc;

	for (size_t i = 0; i < PEERS; i++) {
		rc = peer_close(&d->peers[i], ANSWER_MS);
		if (rc != 0)
			return fail("peer %zu: %s", i + 1,
			    rc == -1 ? "did not end cleanly" : dyn_strerror(rc));
	}
	say("five processes ended by themselves");
	return 0;
}

/* ------------------------------------------------------------- the whole of it */

static const struct step {
	const char *title;
	int (*run)(struct demo *);
} steps[] = {
    {"Five processes become one ring", do_start},
    {"Real input is written", do_load},
    {"Everything is read back", do_read_back},
    {"Who stores how much", do_show_ring},
    {"Two carts diverge, and a callback merges them", do_carts},
    {"A peer is killed, nothing is missing", do_kill},
    {"Writes go on without it", do_write_without},
    {"It starts again on its directory", do_restart},
    {"Reading brings it up to date (read repair)", do_repair},
    {"The end", do_close},
};

enum { STEPS = sizeof(steps) / sizeof(steps[0]) };

/* The last lines of a peer's log, for whoever looks for the fault. */
static void
show_log(const char *path)
{
	struct dyn_buffer b = {.data = NULL};
	size_t from, lines = 0;

	if (read_file(path, &b) == 0 && b.len > 0) {
		for (from = b.len - 1; from > 0; from--)
			if (b.data[from - 1] == '\n' && ++lines == LOG_TAIL)
				break;
		fprintf(stderr, "--- %s\n%.*s", path, (int)(b.len - from), b.data + from);
	}
	dyn_buffer_free(&b);
}

static int
remove_one(const char *path, const struct stat *s, int kind, struct FTW *where)
{
	(void)s, (void)kind, (void)where;
	return remove(path);
}

static int
clean_up(struct demo *d, int rc)
{
	for (size_t i = 0; i < PEERS; i++)
		if (d->peers[i].pid != 0)
			peer_kill(&d->peers[i]);
	for (size_t i = 0; rc != 0 && i < PEERS; i++)
		show_log(d->logs[i]);
	if (d->root[0] != '\0' &&
	    nftw(d->root, remove_one, 16, FTW_DEPTH | FTW_PHYS) != 0)
		rc = fail("%s: %s", d->root, strerror(errno));
	for (size_t i = 0; i < d->count; i++) {
		free(d->objects[i].text);
		free(d->objects[i].context.data);
	}
	free(d->cart_context[0].data);
	free(d->cart_context[1].data);
	free(d->objects);
	records_free(&d->records);
	return rc;
}

/* The input, or the sample if that is not enough. */
static int
read_input(struct demo *d, const char *sample, const char *input)
{
	d->input = input;
	if (records_read(&d->records, input, RECORDS_MAX) != 0 ||
	    d->records.count < RECORDS_MIN) {
		records_free(&d->records);
		d->input = sample;
		if (records_read(&d->records, sample, RECORDS_MAX) != 0)
			return fail("%s: %s", sample, strerror(errno));
	}
	if (d->records.count < RECORDS_MIN)
		return fail("%s: only %zu records", d->input, d->records.count);
	d->objects = calloc(d->records.count + NEW_OBJECTS, sizeof(*d->objects));
	if (d->objects == NULL)
		return fail("out of memory");
	d->loaded = d->count = d->records.count;
	for (size_t i = 0; i < d->count; i++) {
		d->objects[i].key = d->records.all[i].key;
		d->objects[i].value = d->records.all[i].text;
	}
	return 0;
}

static int
prepare(struct demo *d)
{
	const char *tmp = getenv("TMPDIR");

	if (tmp == NULL || strlen(tmp) > 32)
		tmp = "/tmp";
	snprintf(d->root, sizeof(d->root), "%s/libdyn-demo-XXXXXX", tmp);
	if (mkdtemp(d->root) == NULL) {
		fail("%s: %s", d->root, strerror(errno));
		d->root[0] = '\0';
		return -1;
	}
	for (size_t i = 0; i < PEERS; i++) {
		snprintf(d->dirs[i], sizeof(d->dirs[i]), "%s/peer-%zu", d->root, i + 1);
		snprintf(d->logs[i], sizeof(d->logs[i]), "%s/log-%zu", d->root, i + 1);
		d->setups[i] = (struct peer_setup){.dir = d->dirs[i], .log = d->logs[i]};
		d->setups[i].n = REPLICAS;
		d->setups[i].r = d->setups[i].w = QUORUM;
		d->setups[i].buckets[PACKAGES] = "packages";
		d->setups[i].buckets[CARTS] = "carts";
		d->setups[i].merges[CARTS] = merge_carts;
	}
	return 0;
}

static int
run_steps(struct demo *d)
{
	const char *bold = d->tty ? "\033[1m" : "", *plain = d->tty ? "\033[0m" : "";

	printf("libdyn %s: %d peers on this machine, N=%d, R=W=%d; a write is\n",
	    dyn_version(), PEERS, REPLICAS, QUORUM);
	printf("acknowledged when %d of them have it on disk.  All is under %s.\n",
	    QUORUM, d->root);
	for (int i = 0; i < STEPS; i++) {
		printf("\n%s%2d/%d %s%s\n", bold, i + 1, STEPS, steps[i].title, plain);
		fflush(stdout);
		if (steps[i].run(d) != 0)
			return -1;
	}
	return 0;
}

int
main(int argc, char **argv)
{
	struct sigaction action = {.sa_handler = on_signal};
	struct demo d = {.tty = isatty(1), .begun_us = now_us()};
	int rc;

	if (argc < 2 || argc > 3) {
		fputs("usage: demo SAMPLE [INPUT]\n", stderr);
		return 1;
	}
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGHUP, &action, NULL);
	rc = prepare(&d);
	if (rc == 0)
		rc = read_input(&d, argv[1], argc > 2 ? argv[2] : "/var/lib/dpkg/status");
	if (rc == 0)
		rc = run_steps(&d);
	rc = clean_up(&d, rc);
	if (rc == 0)
		printf("\nAll %d steps as they should be, in %.1f s; nothing is left "
		       "behind.\n",
		    STEPS, seconds_since(d.begun_us));
	else
		fputs("\nThe demonstration FAILED.\n", stderr);
	return rc == 0 ? 0 : 1;
}
