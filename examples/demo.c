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
#include "common_demo.h"
#include "common_table.h"

#include <errno.h>
#include <ftw.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
	VICTIM = 2,         /* index of the peer that is killed */
	RECORDS_MIN = 400,  /* of the input, else the sample is taken */
	RECORDS_MAX = 4000, /* so that it stays under a minute */
	CHANGE_EVERY = 10,  /* record changed while the victim is dead */
	NEW_OBJECTS = 25,   /* added meanwhile */
	HANDOFF_MS = 10000, /* longest wait for what the others kept for it */
	BAR_WIDTH = 30,
	LOG_TAIL = 12, /* lines of each log shown after a failure */
};

static void
on_signal(int number)
{
	demo_stopped = number;
}

static int
start_peer(struct demo *d, size_t i)
{
	char text[PEER_TEXT_MAX], id[33];

	if (peer_start(&d->peers[i], &d->setups[i], text) != 0)
		return demo_fail("peer %zu: %s", i + 1, text);
	dyn_id_format(d->peers[i].id, id);
	demo_say("peer %zu  process %-7ld  %-15s  id %.8s", i + 1, (long)d->peers[i].pid,
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
	if (demo_settle(d) != 0)
		return -1;
	demo_say("one ring, one table, all in place after %.2f s", seconds_since(begun));
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
		if (demo_status(d, i, &s[i]) != 0)
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
	demo_say("%u partitions, each stored by %u peers", s[0].partitions, s[0].n);
	if (sum != s[0].partitions * REPLICAS || s[0].n != REPLICAS)
		return demo_fail(
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
	return (int)demo_pick(d, i);
}

/* An acknowledged write is on W machines, and on their disks. */
static int
take_write(struct demo *d, size_t i, const struct peer_answer *a)
{
	if (a->receipt.machines < QUORUM || a->receipt.on_disk < QUORUM)
		return demo_fail("%s: acknowledged by %u machines, %u disks",
		    d->objects[i].key, a->receipt.machines, a->receipt.on_disk);
	return 0;
}

static int
do_load(struct demo *d)
{
	static const struct demo_batch batch = {"written", make_load, take_write};
	struct demo_result r;
	char text[16];

	demo_say("%zu records of %s", d->count, d->input);
	if (demo_run(d, &batch, &r) != 0)
		return -1;
	demo_say("%zu written, %s, through all five peers in turn:", r.sent,
	    bytes_text(d->records.bytes, text));
	demo_say("%.2f s, %.0f a second, the slowest took %.1f ms", r.seconds,
	    (double)r.sent / r.seconds, r.slowest_ms);
	return 0;
}

/* Record i was written through peer i: two further is another one. */
static int
make_read(struct demo *d, size_t i, struct peer_request *r)
{
	r->op = PEER_GET;
	r->bucket = PACKAGES;
	return (int)demo_pick(d, i + 2);
}

static int
read_all_objects(struct demo *d, const char *how)
{
	static const struct demo_batch batch = {"read", make_read, demo_compare};
	struct demo_result r;

	if (demo_run(d, &batch, &r) != 0)
		return -1;
	demo_say("%zu read %s; every byte as written:", r.sent, how);
	demo_say("%.2f s, %.0f a second, the slowest took %.1f ms", r.seconds,
	    (double)r.sent / r.seconds, r.slowest_ms);
	return 0;
}

static int
do_read_back(struct demo *d)
{
	return read_all_objects(d, "through another peer than the writer's");
}

/* ---------------------------------------------------------- crash and come back */

static int
do_kill(struct demo *d)
{
	long pid = (long)d->peers[VICTIM].pid;

	if (peer_kill(&d->peers[VICTIM]) != 0)
		return demo_fail("process %ld was not killed, it had ended", pid);
	demo_say("kill -9 %ld: peer %d is gone, without a word to the others", pid,
	    VICTIM + 1);
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
	return (int)demo_pick(d, i);
}

static int
make_fetch(struct demo *d, size_t i, struct peer_request *r)
{
	if (i >= d->loaded || i % CHANGE_EVERY != 0)
		return -1;
	r->op = PEER_GET;
	r->bucket = PACKAGES;
	return (int)demo_pick(d, i + 1);
}

/* Keep the context of the read: the write that follows replaces what it saw. */
static int
take_fetch(struct demo *d, size_t i, const struct peer_answer *a)
{
	struct object *o = &d->objects[i];
	size_t len = o->value.len + 64;
	int rc = demo_compare(d, i, a);

	if (rc != 0)
		return rc;
	o->context.data = malloc(a->context.len + 1);
	o->text = malloc(len);
	if (o->context.data == NULL || o->text == NULL)
		return demo_fail("out of memory");
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
			return demo_fail("out of memory");
		snprintf(text, KEY_LEN, "demo-new-%03d", i);
		snprintf(text + KEY_LEN, TEXT_LEN,
		    "Package: demo-new-%03d\nX-Demo: added while peer %d was dead\n", i,
		    VICTIM + 1);
		*o = (struct object){.key = text, .text = text, .changed = true};
		o->value = dyn_str(text + KEY_LEN);
		d->count++;
	}
	return 0;
}

/* What the peers that run count, all together. */
static int
sum_stats(struct demo *d, struct dyn_stats *sum)
{
	struct peer_request request = {.op = PEER_STATS};
	struct peer_answer answer;
	struct dyn_stats s;

	memset(sum, 0, sizeof(*sum));
	nap_ms(100); /* figures may be 50 ms old */
	for (size_t i = 0; i < PEERS; i++) {
		if (d->peers[i].pid == 0)
			continue;
		if (demo_ask(d, i, &request, &answer) != 0)
			return -1;
		if (answer.rc == 0 && answer.value.len == sizeof(s)) {
			memcpy(&s, answer.value.data, sizeof(s));
			sum->repairs += s.repairs;
			sum->hinted += s.hinted;
		}
		peer_answer_free(&answer);
	}
	return 0;
}

static int
do_write_without(struct demo *d)
{
	static const struct demo_batch fetch = {"read", make_fetch, take_fetch};
	static const struct demo_batch write = {"written", make_change, take_write};
	struct demo_result fetched, written;
	struct dyn_stats sum;

	if (demo_run(d, &fetch, &fetched) != 0 || add_new_objects(d) != 0 ||
	    demo_run(d, &write, &written) != 0)
		return -1;
	demo_say("%zu records changed, each with the context of a read; %d new ones",
	    fetched.sent, NEW_OBJECTS);
	demo_say("%zu written in %.2f s, no error, the slowest took %.1f ms",
	    written.sent, written.seconds, written.slowest_ms);
	if (sum_stats(d, &sum) != 0)
		return -1;
	if (sum.hinted == 0)
		return demo_fail("nobody stood in for peer %d", VICTIM + 1);
	demo_say("for peer %d others have taken %" PRIu64 " copies, with its name on them",
	    VICTIM + 1, sum.hinted);
	return 0;
}

static int
make_locate(struct demo *d, size_t i, struct peer_request *r)
{
	if (!d->objects[i].changed)
		return -1;
	r->op = PEER_LOCATE;
	r->bucket = PACKAGES;
	return (int)demo_pick(d, VICTIM + 1);
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
	static const struct demo_batch batch = {"looked at", make_here, take_here};
	struct demo_result r;

	if (demo_run(d, &batch, &r) != 0)
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
	static const struct demo_batch locate = {"located", make_locate, take_locate};
	struct dyn_id before = d->peers[VICTIM].id;
	uint64_t begun = now_us();
	struct demo_result r;
	size_t missed = 0;

	/* No seeds: a peer that was a member knows the others from its disk. */
	d->setups[VICTIM].seeds = NULL;
	if (start_peer(d, VICTIM) != 0)
		return -1;
	if (memcmp(&before, &d->peers[VICTIM].id, sizeof(before)) != 0)
		return demo_fail("it came back as another node");
	if (demo_settle(d) != 0)
		return -1;
	demo_say("the same node at its new port, known to all after %.2f s",
	    seconds_since(begun));
	if (demo_run(d, &locate, &r) != 0)
		return -1;
	for (size_t i = 0; i < d->count; i++)
		missed += d->objects[i].missed;
	if (missed == 0)
		return demo_fail(
		    "it owns none of the %zu keys written meanwhile", r.sent);
	demo_say("of %zu writes it missed the %zu it owns", r.sent, missed);
	return 0;
}

/* Hinted handoff (paper 4.6): nobody has to read for it. */
static int
do_handoff(struct demo *d)
{
	struct dyn_stats sum;
	uint64_t begun = now_us();
	size_t missed, here;

	for (;;) {
		if (count_here(d, &missed, &here) != 0)
			return -1;
		if (here == missed)
			break;
		if (now_us() - begun > (uint64_t)HANDOFF_MS * 1000)
			return demo_fail(
			    "it still lacks %zu of %zu", missed - here, missed);
		nap_ms(20);
	}
	demo_say("%.2f s later its own copy has %zu of the %zu it missed",
	    seconds_since(begun), here, missed);
	if (read_all_objects(d, "through all five") != 0 || sum_stats(d, &sum) != 0)
		return -1;
	demo_say("(the five repaired %" PRIu64 " copies for readers, in all)", sum.repairs);
	return 0;
}

static int
do_close(struct demo *d)
{
	int rc;

	for (size_t i = 0; i < PEERS; i++) {
		rc = peer_close(&d->peers[i], ANSWER_MS);
		if (rc != 0)
			return demo_fail("peer %zu: %s", i + 1,
			    rc == -1 ? "did not end cleanly" : dyn_strerror(rc));
	}
	demo_say("five processes ended by themselves");
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
    {"Two carts diverge, and a callback merges them", demo_carts},
    {"A peer is killed, nothing is missing", do_kill},
    {"Writes go on without it", do_write_without},
    {"It starts again on its directory", do_restart},
    {"What others kept for it comes by itself", do_handoff},
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
		rc = demo_fail("%s: %s", d->root, strerror(errno));
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
			return demo_fail("%s: %s", sample, strerror(errno));
	}
	if (d->records.count < RECORDS_MIN)
		return demo_fail("%s: only %zu records", d->input, d->records.count);
	d->objects = calloc(d->records.count + NEW_OBJECTS, sizeof(*d->objects));
	if (d->objects == NULL)
		return demo_fail("out of memory");
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
		demo_fail("%s: %s", d->root, strerror(errno));
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
		d->setups[i].merges[CARTS] = demo_merge_carts;
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
