/* See ring.h. */
#include "cluster/ring.h"

#include <stdio.h>

void
ring_init(struct ring *r, unsigned count)
{
	struct dyn_options none = DYN_OPTIONS_INIT;

	memset(r, 0, sizeof(*r));
	ck_assert_uint_le(count, RING_MAX);
	r->base = none;
	r->base.n = 3;
	r->base.partitions = 64;
	r->count = count;
	r->first_creates = true;
	for (unsigned i = 0; i < count; i++) {
		size_t len = strlen(r->seeds);

		r->dir[i] = test_dir();
		r->address[i] = proc_address();
		snprintf(r->seeds + len, sizeof(r->seeds) - len, "%s%s", i > 0 ? "," : "",
		    r->address[i]);
	}
}

struct dyn_options
ring_options(const struct ring *r, unsigned i)
{
	struct dyn_options o = r->base;

	o.dir = r->dir[i];
	o.listen = r->address[i];
	o.seeds = r->seeds;
	/* Waits for nobody.  Read only where the directory is new. */
	o.join = i == 0 && r->first_creates ? DYN_JOIN_CREATE : DYN_JOIN_AUTO;
	return o;
}

void
ring_open(struct ring *r, unsigned i)
{
	struct dyn_options o = ring_options(r, i);

	proc_open(&r->peer[i], &o);
}

void
ring_open_all(struct ring *r)
{
	struct dyn_error error;

	for (unsigned i = 0; i < r->count; i++) {
		struct dyn_options o = ring_options(r, i);

		proc_start(&r->peer[i], &o);
	}
	for (unsigned i = 0; i < r->count; i++)
		ck_assert_msg(
		    proc_ready(&r->peer[i], &error) == 0, "peer %u: %s", i, error.text);
	ring_settled(r, r->count);
}

void
ring_client(const struct ring *r, struct proc *p)
{
	struct dyn_options o = r->base;

	o.role = DYN_CLIENT;
	o.seeds = r->seeds;
	o.n = 0;
	o.partitions = 0;
	proc_open(p, &o);
}

static bool
is_settled(struct ring *r, unsigned members, struct dyn_status *why)
{
	unsigned char digest[16];
	unsigned running = 0;
	bool first = true;

	for (unsigned i = 0; i < r->count; i++)
		running += r->peer[i].pid != 0;
	for (unsigned i = 0; i < r->count; i++) {
		if (r->peer[i].pid == 0)
			continue;
		proc_status(&r->peer[i], why);
		if (first)
			memcpy(digest, why->digest, sizeof(digest));
		first = false;
		if (why->members != members || why->agreed != members ||
		    why->pending != 0 || why->moving != 0 || why->reachable != running ||
		    memcmp(digest, why->digest, sizeof(digest)) != 0)
			return false;
	}
	return true;
}

void
ring_settled(struct ring *r, unsigned members)
{
	uint64_t until = test_now() + 30 * UINT64_C(1000000000);
	struct dyn_status s = DYN_STATUS_INIT;

	while (!is_settled(r, members, &s)) {
		ck_assert_msg(test_now() < until,
		    "not settled: %u members, %u reachable, %u agreed, %u pending, %u "
		    "moving, "
		    "epoch %llu",
		    s.members, s.reachable, s.agreed, s.pending, s.moving,
		    (unsigned long long)s.epoch);
		test_sleep_ms(20);
	}
}

uint64_t
ring_hints(struct ring *r)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < r->count; i++) {
		struct dyn_status s = DYN_STATUS_INIT;

		if (r->peer[i].pid == 0)
			continue;
		proc_status(&r->peer[i], &s);
		sum += s.hints;
	}
	return sum;
}

static int
count_row(void *arg, struct dyn_slice id, struct dyn_slice value)
{
	(void)id;
	(void)value;
	++*(uint64_t *)arg;
	return 0;
}

uint64_t
ring_rows(const struct ring *r, unsigned i)
{
	struct dyn_engine *e;
	struct dyn_error error;
	struct dyn_slice all = {NULL, 0};
	uint64_t count = 0;
	char path[700];

	ck_assert_int_eq(r->peer[i].pid, 0);
	snprintf(path, sizeof(path), "%s/data.db", r->dir[i]);
	ck_assert_msg(dyn_engine_sqlite(&e, path, &error) == 0, "%s", error.text);
	ck_assert_int_eq(e->scan(e->self, DYN_SPACE_DATA, all, all, count_row, &count), 0);
	ck_assert_int_eq(e->close(e->self), 0);
	return count;
}

void
ring_close(struct ring *r)
{
	for (unsigned i = 0; i < r->count; i++)
		if (r->peer[i].pid != 0)
			ck_assert_int_eq(proc_close(&r->peer[i], 5000), 0);
}

void
ring_kill(struct ring *r)
{
	for (unsigned i = 0; i < r->count; i++)
		proc_kill(&r->peer[i]);
}
