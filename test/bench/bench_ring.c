/*
 * The ring to be measured: three peers with SQLite on the scratch folder's
 * disk, and a load generator that uses asynchronous calls in a closed loop.
 *
 *	client   three peers and a generator that stores nothing
 *	peer     two peers and a generator that is the third: an application
 *	         that embeds libdyn
 *
 * Puts overwrite the keys in turn (DYN_OVERWRITE: the coordinator's knowledge
 * is the context), so that the amount of data stays the same and the levels
 * can be compared.  Each value that comes back is checked.
 */
#include "bench.h"

#include <dyn.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define OPEN_MS 20000
#define CLOSE_MS 5000

/* ---------------------------------------------------------------- processes */

static void
log_line(void *arg, enum dyn_log_level level, const char *line)
{
	const struct member_config *c = arg;

	(void)level;
	say("%s %u: %s", c->client ? "client" : "peer", c->number, line);
}

int
member_open(dyn_node **node, struct member_config *c, struct ready *ready)
{
	struct dyn_options o = DYN_OPTIONS_INIT;
	struct dyn_error error = {0, ""};
	char dir[600], name[32];

	memset(ready, 0, sizeof(*ready));
	snprintf(name, sizeof(name), "peer%u", c->number);
	o.role = c->client ? DYN_CLIENT : DYN_PEER;
	o.ring = "bench";
	o.n = 3;
	o.r = 2;
	o.w = 2;
	o.open_timeout_ms = OPEN_MS;
	o.log = log_line;
	o.log_arg = c;
	o.log_level = DYN_LOG_WARNING;
	if (!c->client) {
		o.dir = scratch_path(dir, sizeof(dir), name);
		o.listen = "127.0.0.1:0";
		o.join = c->number == 0 ? DYN_JOIN_CREATE : DYN_JOIN_ONLY;
	}
	o.seeds = c->seeds[0] != 0 ? c->seeds : NULL;
	ready->rc = dyn_open(node, &o, &error);
	snprintf(ready->text, sizeof(ready->text), "%s", error.text);
	if (ready->rc == 0)
		snprintf(
		    ready->address, sizeof(ready->address), "%s", dyn_address(*node));
	return ready->rc;
}

static int
peer_body(const void *arg, int orders, int answers)
{
	struct member_config c = *(const struct member_config *)arg;
	struct ready ready;
	dyn_node *node;
	char order;
	int rc;

	rc = member_open(&node, &c, &ready);
	if (!write_all(answers, &ready, sizeof(ready)) || rc != 0)
		return 1;
	while (read_all(orders, &order, 1))
		;
	rc = dyn_close(node, CLOSE_MS);
	if (rc != 0)
		say("peer %u: close: %s", c.number, dyn_strerror(rc));
	return rc != 0;
}

/* ---------------------------------------------------------------- generator */

struct load;

/* One request in flight. */
struct slot {
	struct load *load;
	uint64_t start;
	unsigned key;
};

struct load {
	dyn_bucket *bucket;
	pthread_mutex_t lock;
	pthread_cond_t idle;
	/* of the job in hand */
	const struct job *job;
	struct slot *slots;
	struct samples samples;
	uint64_t issued, end, last, failed;
	unsigned live;
	char *value;
	char why[128];
};

/* All below with the lock held, except `done` itself. */

static void done(void *arg, int rc, dyn_result *result);

static void
fail(struct load *l, const char *what, int rc)
{
	if (l->failed++ == 0)
		snprintf(l->why, sizeof(l->why), "%s: %s", what, dyn_strerror(rc));
}

static int
start(struct slot *s)
{
	struct load *l = s->load;
	const struct dyn_call overwrite = {
	    .flags = DYN_OVERWRITE, .durability = l->job->durability};
	struct dyn_slice key, value;
	char text[KEY_CAP];

	key.data = text;
	key.len = key_text(text, s->key);
	s->start = now_ns();
	if (l->job->op == OP_GET)
		return dyn_get_async(l->bucket, key, NULL, done, s);
	value_fill(l->value, l->job->size, s->key);
	value.data = l->value;
	value.len = l->job->size;
	return dyn_put_async(l->bucket, key, NULL, value, &overwrite, done, s);
}

/* Give the slot its next request, or retire it. */
static void
next(struct slot *s)
{
	struct load *l = s->load;
	const struct job *j = l->job;
	int rc;

	if (j->ms == 0 ? l->issued < j->keys : now_ns() < l->end) {
		s->key = (unsigned)(l->issued++ % j->keys);
		rc = start(s);
		if (rc == 0)
			return;
		fail(l, "start", rc);
	}
	if (--l->live == 0)
		pthread_cond_signal(&l->idle);
}

static bool
right(const struct slot *s, const dyn_result *result)
{
	struct dyn_slice v;

	if (s->load->job->op == OP_PUT)
		return true;
	if (dyn_result_count(result) != 1)
		return false;
	v = dyn_result_value(result, 0);
	return value_check(v.data, v.len, s->load->job->size, s->key);
}

static void
done(void *arg, int rc, dyn_result *result)
{
	struct slot *s = arg;
	struct load *l = s->load;

	pthread_mutex_lock(&l->lock);
	l->last = now_ns();
	if (rc != 0)
		fail(l, l->job->op == OP_GET ? "get" : "put", rc);
	else if (!right(s, result))
		fail(l, "get: a value came back otherwise", 0);
	else
		samples_add(&l->samples, l->last - s->start);
	dyn_result_free(result);
	next(s);
	pthread_mutex_unlock(&l->lock);
}

static void
load_work(void *arg, const struct job *job, struct outcome *out)
{
	struct load *l = arg;
	uint64_t begun;
	unsigned i;

	l->job = job;
	l->slots = calloc(job->in_flight, sizeof(*l->slots));
	l->value = malloc(job->size);
	if (l->slots == NULL || l->value == NULL)
		die("out of memory");
	pthread_mutex_lock(&l->lock);
	begun = now_ns();
	l->end = begun + job->ms * 1000000ull;
	l->last = begun + 1;
	l->issued = l->failed = 0;
	l->live = job->in_flight;
	for (i = 0; i < job->in_flight; i++) {
		l->slots[i].load = l;
		next(&l->slots[i]);
	}
	while (l->live > 0)
		pthread_cond_wait(&l->idle, &l->lock);
	pthread_mutex_unlock(&l->lock);
	outcome_of(out, &l->samples, (double)(l->last - begun) / (double)NS_A_S);
	out->failed = l->failed;
	memcpy(out->why, l->why, sizeof(out->why));
	samples_free(&l->samples);
	free(l->slots);
	free(l->value);
}

/* All members agree, and nothing is on the move? */
static bool
settled(dyn_node *node, unsigned members)
{
	struct dyn_status s = DYN_STATUS_INIT;
	struct dyn_member *m;
	size_t count, i;
	bool all;

	if (dyn_status(node, &s) != 0 || s.members != members || s.under_replicated != 0 ||
	    s.moving != 0 || dyn_members(node, &m, &count) != 0)
		return false;
	all = count == members;
	for (i = 0; i < count; i++)
		all = all && m[i].reachable && m[i].synced;
	dyn_members_free(m);
	return all;
}

int
member_settled(dyn_node *node, unsigned members, struct ready *ready)
{
	unsigned waited;

	for (waited = 0; !settled(node, members); waited += 10) {
		poll(NULL, 0, 10);
		if (waited < OPEN_MS)
			continue;
		snprintf(ready->text, sizeof(ready->text), "the ring does not settle");
		return ready->rc = DYN_ETIMEOUT;
	}
	return 0;
}

static int
generator_body(const void *arg, int orders, int answers)
{
	struct member_config c = *(const struct member_config *)arg;
	struct load load = {.live = 0};
	struct ready ready;
	dyn_node *node;
	int rc;

	rc = member_open(&node, &c, &ready);
	if (rc == 0)
		rc = ready.rc = dyn_bucket_open(&load.bucket, node, "bench", NULL);
	if (rc == 0)
		rc = member_settled(node, 3, &ready);
	if (!write_all(answers, &ready, sizeof(ready)) || rc != 0)
		return 1;
	pthread_mutex_init(&load.lock, NULL);
	pthread_cond_init(&load.idle, NULL);
	work_serve(orders, answers, load_work, &load);
	rc = dyn_close(node, CLOSE_MS);
	if (rc != 0)
		say("generator: close: %s", dyn_strerror(rc));
	return rc != 0;
}

/* --------------------------------------------------------------------- start */

struct proc *
member_start(struct herd *h, herd_body *body, struct member_config *c)
{
	struct proc *p = herd_add(h, body, c);
	struct ready ready;
	size_t len = strlen(c->seeds);

	if (!read_all(p->from, &ready, sizeof(ready)))
		die("peer %u has died while it opened", c->number);
	if (ready.rc != 0)
		die("peer %u cannot open: %s (%s)", c->number, dyn_strerror(ready.rc),
		    ready.text);
	snprintf(c->seeds + len, sizeof(c->seeds) - len, "%s%s", len > 0 ? "," : "",
	    ready.address);
	c->number++;
	return p;
}

void
ring_start(struct herd *h, enum who who)
{
	struct member_config c = {.number = 0};
	unsigned peers = who == WHO_PEER ? 2 : 3;

	while (c.number < peers)
		member_start(h, peer_body, &c);
	c.client = who == WHO_CLIENT;
	member_start(h, generator_body, &c);
}
