/*
 * Table 2 of the paper: latency when servers coordinate, and when the client does.
 *
 * Five peers, each a process that also answers a small protocol of its own on another
 * port, as a server would that embeds libdyn.  One more process calls
 *
 *	client   as a DYN_CLIENT: it knows the table, coordinates its reads, and sends
 *	         writes to an owner
 *	any      by that protocol, one of the five at random, as through a balancer
 *	stranger the same, but always a peer that does not own the key
 *
 * one call after the other in each of two threads, in slices of each way in turn.
 */
#include "test/bench/bench.h"
#include "test/figures/chart.h"

#include "base/rng.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { PEERS = 5, THREADS = 2, KEYS = 1000, VALUE = 1024, RUNS = 15 };
enum way { CLIENT, ANY, STRANGER, WAYS };
enum what { READ, WRITE, WRITE_MEMORY, WHATS };

static const char *const way_name[WAYS] = {"client", "any peer", "no owner"};
static const char *const what_name[WHATS] = {"read", "write to disk", "write to memory"};

/* Asked of a peer; after a write follow VALUE bytes, and after the answer to a read. */
struct question {
	uint32_t what, key;
};

static dyn_bucket *
bucket_open(dyn_node *node)
{
	dyn_bucket *b;

	if (dyn_bucket_open(&b, node, "figures", NULL) != 0)
		die("cannot open the bucket");
	return b;
}

/* One call; value is what to write, or what was read.  True if all went well. */
static bool
call(dyn_bucket *b, uint32_t what, uint32_t number, char value[VALUE])
{
	const struct dyn_call how = {.flags = DYN_OVERWRITE,
	    .durability = what == WRITE_MEMORY ? DYN_DURABLE_MEMORY : DYN_DURABLE_DISK};
	struct dyn_slice key, v = {value, VALUE};
	dyn_result *r = NULL;
	char text[KEY_CAP];
	bool good;

	key.data = text;
	key.len = key_text(text, number);
	if (what != READ)
		return dyn_put(b, key, NULL, v, &how, NULL) == 0;
	/* Two writes of a key at once leave siblings, which are equal. */
	good = dyn_get(b, key, NULL, &r) == 0 && dyn_result_count(r) > 0;
	if (good) {
		v = dyn_result_value(r, 0);
		good = value_check(v.data, v.len, VALUE, number);
		if (good)
			memcpy(value, v.data, VALUE);
	}
	dyn_result_free(r);
	return good;
}

/* -------------------------------------------------------------------- peers */

struct served {
	int fd;
	dyn_bucket *bucket;
};

static void *
serve(void *arg)
{
	struct served s = *(struct served *)arg;
	struct question q;
	char bytes[1 + VALUE];

	free(arg);
	while (read_all(s.fd, &q, sizeof(q)) &&
	    (q.what == READ || read_all(s.fd, bytes + 1, VALUE))) {
		bytes[0] = call(s.bucket, q.what, q.key, bytes + 1);
		if (!write_all(s.fd, bytes, q.what == READ ? sizeof(bytes) : 1))
			break;
	}
	close(s.fd);
	return NULL;
}

static void
no_delay(int fd)
{
	int on = 1;

	if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) != 0)
		die("cannot set up a socket");
}

static int
listen_anywhere(struct sockaddr_in *at)
{
	socklen_t len = sizeof(*at);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	*at = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	if (fd < 0 || bind(fd, (struct sockaddr *)at, len) != 0 || listen(fd, 16) != 0 ||
	    getsockname(fd, (struct sockaddr *)at, &len) != 0)
		die("cannot listen on loopback");
	return fd;
}

/* What the others need to know of a peer. */
struct place {
	struct sockaddr_in at;
	struct dyn_id id;
};

static int
server_body(const void *arg, int orders, int answers)
{
	struct member_config c = *(const struct member_config *)arg;
	pthread_t thread[THREADS];
	struct place place;
	struct ready ready;
	dyn_bucket *bucket;
	dyn_node *node;
	char order;
	int rc, fd;

	rc = member_open(&node, &c, &ready);
	if (!write_all(answers, &ready, sizeof(ready)) || rc != 0)
		return 1;
	bucket = bucket_open(node);
	place.id = dyn_self(node);
	fd = listen_anywhere(&place.at);
	if (!write_all(answers, &place, sizeof(place)))
		return 1;
	for (unsigned i = 0; i < THREADS; i++) {
		struct served *s = malloc(sizeof(*s));

		if (s == NULL)
			die("out of memory");
		*s = (struct served){accept(fd, NULL, NULL), bucket};
		if (s->fd < 0)
			die("nobody calls");
		no_delay(s->fd);
		if (pthread_create(&thread[i], NULL, serve, s) != 0)
			die("cannot start a thread");
	}
	while (read_all(orders, &order, 1))
		;
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(thread[i], NULL);
	return dyn_close(node, 5000) != 0;
}

/* ------------------------------------------------------------------- caller */

struct order {
	enum way way;
	enum what what;
	unsigned ms; /* 0: once over all keys */
};

struct answer {
	uint64_t count, failed;
	double mean_us, p999_us;
};

struct caller {
	dyn_bucket *bucket;
	const struct place *place; /* [PEERS] */
	int fd[PEERS];
	unsigned number;
	struct rng rng;
	struct order order;
	struct samples samples;
	uint64_t failed, sum_ns;
};

/* A peer for this key, as the way has it. */
static unsigned
choose(struct caller *c, unsigned key)
{
	struct dyn_id owner[DYN_N_MAX];
	size_t count, owners, k;
	char text[KEY_CAP];
	const struct dyn_slice name = {text, key_text(text, key)};
	unsigned peer;

	if (c->order.way == ANY)
		return (unsigned)rng_below(&c->rng, PEERS);
	if (dyn_locate(c->bucket, name, owner, DYN_N_MAX, &count, &owners, NULL) != 0)
		die("dyn_locate fails");
	do {
		peer = (unsigned)rng_below(&c->rng, PEERS);
		for (k = 0; k < owners && memcmp(&owner[k], &c->place[peer].id, sizeof(owner[k])) != 0; k++)
			;
	} while (k < owners);
	return peer;
}

static bool
ask(int fd, enum what what, unsigned key, char value[VALUE])
{
	struct {
		struct question q;
		char value[VALUE];
	} out = {.q = {what, key}};
	char good;

	memcpy(out.value, value, VALUE);
	return write_all(fd, &out, what == READ ? sizeof(out.q) : sizeof(out)) && read_all(fd, &good, 1) &&
	    (what != READ || read_all(fd, value, VALUE)) && good != 0;
}

static void *
caller_run(void *arg)
{
	struct caller *c = arg;
	const struct order *o = &c->order;
	uint64_t end = now_ns() + o->ms * UINT64_C(1000000), from, took;
	char value[VALUE];
	bool good;

	c->failed = c->sum_ns = 0;
	for (unsigned i = c->number; o->ms == 0 ? i < KEYS : now_ns() < end; i += THREADS) {
		unsigned key = o->ms == 0 ? i : (unsigned)rng_below(&c->rng, KEYS), peer = 0;

		value_fill(value, VALUE, key);
		if (o->way != CLIENT)
			peer = choose(c, key);
		from = now_ns();
		good = o->way == CLIENT ? call(c->bucket, o->what, key, value)
					: ask(c->fd[peer], o->what, key, value);
		took = now_ns() - from;
		c->failed += !good;
		c->sum_ns += took;
		samples_add(&c->samples, took);
	}
	return NULL;
}

static struct answer
order_run(struct caller caller[THREADS], const struct order *o)
{
	pthread_t thread[THREADS];
	struct samples all = {.count = 0};
	struct answer a = {.count = 0};
	uint64_t sum = 0;

	for (unsigned i = 0; i < THREADS; i++) {
		caller[i].order = *o;
		if (pthread_create(&thread[i], NULL, caller_run, &caller[i]) != 0)
			die("cannot start a thread");
	}
	for (unsigned i = 0; i < THREADS; i++) {
		struct samples *s = &caller[i].samples;

		pthread_join(thread[i], NULL);
		for (size_t k = 0; k < s->count; k++)
			samples_add(&all, (uint64_t)s->ns10[k] * 10);
		sum += caller[i].sum_ns;
		a.failed += caller[i].failed;
		samples_free(s);
	}
	samples_sort(&all);
	a.count = all.count;
	a.mean_us = all.count > 0 ? (double)sum / 1000 / (double)all.count : 0;
	a.p999_us = samples_us(&all, 0.999);
	samples_free(&all);
	return a;
}

static int
caller_body(const void *arg, int orders, int answers)
{
	struct member_config c = *(const struct member_config *)arg;
	struct caller caller[THREADS];
	struct place place[PEERS];
	struct ready ready;
	struct order o;
	dyn_node *node;
	int rc;

	rc = member_open(&node, &c, &ready);
	if (rc == 0)
		rc = member_settled(node, PEERS, &ready);
	if (!write_all(answers, &ready, sizeof(ready)) || rc != 0 ||
	    !read_all(orders, place, sizeof(place)))
		return 1;
	memset(caller, 0, sizeof(caller));
	for (unsigned i = 0; i < THREADS; i++) {
		caller[i].bucket = bucket_open(node);
		caller[i].number = i;
		caller[i].place = place;
		caller[i].rng.state = i + 1;
		for (unsigned p = 0; p < PEERS; p++) {
			int fd = caller[i].fd[p] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

			if (fd < 0 || connect(fd, (struct sockaddr *)&place[p].at, sizeof(place[p].at)) != 0)
				die("cannot connect to peer %u", p);
			no_delay(fd);
		}
	}
	while (read_all(orders, &o, sizeof(o))) {
		const struct answer a = order_run(caller, &o);

		if (!write_all(answers, &a, sizeof(a)))
			return 1;
	}
	return dyn_close(node, 5000) != 0;
}

/* -------------------------------------------------------------------- main */

/* ms of each run, and then their medians in the first. */
struct cells {
	double mean[WAYS][WHATS][RUNS], p999[WAYS][WHATS][RUNS];
	unsigned long long calls, failed;
};

static struct answer
order_give(struct proc *p, enum way way, enum what what, unsigned ms)
{
	const struct order o = {way, what, ms};
	struct answer a;

	if (!write_all(p->to, &o, sizeof(o)) || !read_all(p->from, &a, sizeof(a)))
		die("the caller is gone");
	return a;
}

static void
measure(struct cells *cells, unsigned runs, unsigned ms)
{
	struct member_config c = {.number = 0};
	struct herd h = {.count = 0};
	struct place place[PEERS];
	struct proc *p;

	for (unsigned i = 0; i < PEERS; i++) {
		p = member_start(&h, server_body, &c);
		if (!read_all(p->from, &place[i], sizeof(place[i])))
			die("peer %u is gone", i);
	}
	c.client = true;
	p = member_start(&h, caller_body, &c);
	if (!write_all(p->to, place, sizeof(place)))
		die("the caller is gone");
	order_give(p, CLIENT, WRITE, 0);
	for (unsigned r = 0; r < runs; r++)
		for (unsigned what = 0; what < WHATS; what++)
			for (unsigned way = 0; way < WAYS; way++) {
				struct answer a = order_give(p, (enum way)way, (enum what)what, ms);

				cells->mean[way][what][r] = a.mean_us / 1000;
				cells->p999[way][what][r] = a.p999_us / 1000;
				cells->calls += a.count;
				cells->failed += a.failed;
			}
	if (!herd_end(&h))
		die("a process of the ring ended with an error");
	for (unsigned what = 0; what < WHATS; what++)
		for (unsigned way = 0; way < WAYS; way++) {
			cells->mean[way][what][0] = figure_median(cells->mean[way][what], runs);
			cells->p999[way][what][0] = figure_median(cells->p999[way][what], runs);
		}
}

static void
draw(const struct figure *g, const struct cells *cells)
{
	static const char *const groups[] = {"read mean", "read 99.9th", "disk mean", "disk 99.9th",
	    "memory mean", "memory 99.9th"};
	double y[WAYS][2 * WHATS];
	struct chart c = {.title = "Table 2: who coordinates; latency of a call on loopback",
	    .x_label = "reads, writes to disk, writes to memory", .y_label = "ms", .groups = groups,
	    .y_log = true, .count = WAYS};

	for (unsigned way = 0; way < WAYS; way++) {
		for (unsigned what = 0; what < WHATS; what++) {
			y[way][2 * what] = cells->mean[way][what][0];
			y[way][2 * what + 1] = cells->p999[way][what][0];
		}
		c.series[way] = (struct series){way_name[way], NULL, y[way], 2 * WHATS};
	}
	figure_chart(g, "table2", &c);
}

static void
print(const struct cells *cells)
{
	static const char *const paper[WHATS] = {"0.40, 0.44", "0.47, 0.44", "0.47, 0.44"};

	printf("    %-16s  %-24s  %-24s  %s\n", "ms", "mean: client, any, none", "99.9th: client, any, none",
	    "client / any: mean, 99.9th; paper's");
	for (unsigned what = 0; what < WHATS; what++) {
		double mean[WAYS], p999[WAYS];

		for (unsigned way = 0; way < WAYS; way++) {
			mean[way] = cells->mean[way][what][0];
			p999[way] = cells->p999[way][what][0];
		}
		printf("    %-16s  %6.3f  %6.3f  %6.3f    %6.2f  %6.2f  %6.2f     %.2f, %.2f; %s\n",
		    what_name[what], mean[CLIENT], mean[ANY], mean[STRANGER], p999[CLIENT], p999[ANY],
		    p999[STRANGER], mean[CLIENT] / mean[ANY], p999[CLIENT] / p999[ANY], paper[what]);
	}
	printf("    paper, ms: reads 3.9 -> 1.55 mean, 68.9 -> 30.4 at 99.9; writes 4.02 -> 1.9, 68.5 -> 30.4\n");
	printf("    %llu calls; %llu of them failed, with the time that took\n", cells->calls, cells->failed);
}

int
main(int argc, char **argv)
{
	struct figure g = figure_of(argc, argv);
	unsigned runs = g.small ? 1 : 7, ms = g.small ? 150 : 1000;
	struct cells *cells = calloc(1, sizeof(*cells));

	if (cells == NULL)
		die("out of memory");
	herd_signals();
	scratch_open(g.dir);
	measure(cells, runs, ms);
	printf("Table 2: client-driven against server-driven coordination\n");
	printf("    five peers on loopback, N=3 R=2 W=2, %d callers one call after the other, %d keys of %d bytes;\n"
	       "    client: a DYN_CLIENT calls; any: a peer at random is told to, no owner: one that is none;\n"
	       "    medians of %u runs of %u ms each\n\n", THREADS, KEYS, VALUE, runs, ms);
	print(cells);
	draw(&g, cells);
	free(cells);
	return 0;
}
