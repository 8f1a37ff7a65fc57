/*
 * dynctl members, locate, status: what the ring looks like.
 */
#include "common_ctl.h"
#include "common_table.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { STANDINS_SHOWN = 3, PLACES_MAX = 64 };

/* ---------------------------------------------------------- members, locate */

/* All four labels are empty: a trial on loopback. */
static bool
is_unset(const char *location)
{
	return location[strspn(location, "/")] == '\0';
}

static const char *
state_text(const struct dyn_member *m)
{
	if (m->self)
		return "this client";
	if (m->membership == DYN_WAITING)
		return m->reachable ? "waits to join" : "not reachable";
	if (m->membership == DYN_LEAVING && m->reachable)
		return "leaving";
	if (m->liveness == DYN_SUSPECT)
		return "suspected";
	if (!m->reachable)
		return "not reachable";
	if (m->liveness == DYN_DOUBTED)
		return "doubted";
	return m->synced ? "in sync" : "catching up";
}

static const char *
membership_text(enum dyn_membership m)
{
	switch (m) {
	case DYN_WAITING:
		return "waiting";
	case DYN_JOINED:
		return "joined";
	case DYN_LEAVING:
		return "leaving";
	default:
		return "none";
	}
}

static const char *
liveness_text(enum dyn_liveness l)
{
	switch (l) {
	case DYN_DOUBTED:
		return "doubted";
	case DYN_SUSPECT:
		return "suspected";
	default:
		return "live";
	}
}

static void
json_member(struct json *j, const struct dyn_member *m)
{
	ctl_json_id(j, "id", m->id);
	json_string(j, "address", m->address);
	json_string(j, "location", m->location);
	json_number(j, "weight", m->weight);
	json_number(j, "partitions", m->partitions);
	json_number(j, "incarnation", m->incarnation);
	json_bool(j, "reachable", m->reachable);
	json_bool(j, "synced", m->synced);
	json_string(j, "membership", membership_text(m->membership));
	json_string(j, "liveness", liveness_text(m->liveness));
	json_string(j, "state", state_text(m));
}

int
ctl_members(struct ctl *c)
{
	struct json j = {.out = stdout};
	struct dyn_member *members;
	struct table t;
	char id[33];
	size_t count;
	int rc;

	rc = dyn_members(c->node, &members, &count);
	if (rc != 0)
		return ctl_fail_call(c, "members", rc);
	if (c->json)
		json_open(&j, NULL, '[');
	else
		table_init(&t, "lllrrl", "ID|ADDRESS|LOCATION|WEIGHT|OWNS|STATE");
	for (size_t i = 0; i < count; i++) {
		const struct dyn_member *m = &members[i];

		if (c->json) {
			json_open(&j, NULL, '{');
			json_member(&j, m);
			json_close(&j, '}');
			continue;
		}
		ctl_short_id(m->id, id);
		table_cell(&t, "%s", id);
		table_cell(&t, "%s", m->address);
		table_cell(&t, "%s", is_unset(m->location) ? "-" : m->location);
		table_cell(&t, "%u", m->weight);
		table_cell(&t, "%u", m->partitions);
		table_cell(&t, "%s", state_text(m));
	}
	if (c->json) {
		json_close(&j, ']');
		putchar('\n');
	} else {
		table_print(&t, stdout, "");
	}
	dyn_members_free(members);
	return EXIT_DONE;
}

static const struct dyn_member *
find_member(const struct dyn_member *members, size_t count, struct dyn_id id)
{
	for (size_t i = 0; i < count; i++)
		if (memcmp(members[i].id.bytes, id.bytes, sizeof(id.bytes)) == 0)
			return &members[i];
	return NULL;
}

/* The preference list: owners, then stand-ins. */
struct place {
	struct dyn_id ids[PLACES_MAX];
	size_t count, owners;
	unsigned partition;
};

static void
locate_json(const char *key, const struct place *p, const struct dyn_member *members,
    size_t count)
{
	struct json j = {.out = stdout};
	const struct dyn_member *m;

	json_open(&j, NULL, '{');
	json_bytes(&j, "key", dyn_str(key));
	json_number(&j, "partition", p->partition);
	json_open(&j, "nodes", '[');
	for (size_t i = 0; i < p->count; i++) {
		m = find_member(members, count, p->ids[i]);
		json_open(&j, NULL, '{');
		json_string(&j, "role", i < p->owners ? "owner" : "stand-in");
		ctl_json_id(&j, "id", p->ids[i]);
		json_string(&j, "address", m != NULL ? m->address : "");
		json_bool(&j, "reachable", m != NULL && m->reachable);
		json_string(&j, "state", m != NULL ? state_text(m) : "");
		json_close(&j, '}');
	}
	json_close(&j, ']');
	json_close(&j, '}');
	putchar('\n');
}

static void
locate_text(const struct place *p, const struct dyn_member *members, size_t count)
{
	const struct dyn_member *m;
	struct table t;
	char id[33];

	printf("partition %u\n", p->partition);
	table_init(&t, "rllll", "#|ROLE|ID|ADDRESS|STATE");
	for (size_t i = 0; i < p->count && i < p->owners + STANDINS_SHOWN; i++) {
		m = find_member(members, count, p->ids[i]);
		ctl_short_id(p->ids[i], id);
		table_cell(&t, "%zu", i + 1);
		table_cell(&t, "%s", i < p->owners ? "owner" : "stand-in");
		table_cell(&t, "%s", id);
		table_cell(&t, "%s", m != NULL ? m->address : "?");
		table_cell(&t, "%s", m != NULL ? state_text(m) : "?");
	}
	table_print(&t, stdout, "");
	if (p->count > p->owners + STANDINS_SHOWN)
		printf("and %zu more stand-ins\n", p->count - p->owners - STANDINS_SHOWN);
}

int
ctl_locate(struct ctl *c)
{
	struct dyn_member *members;
	struct place p;
	size_t count;
	int rc;

	rc = dyn_locate(c->bucket, dyn_str(c->words[0]), p.ids, PLACES_MAX, &p.count,
	    &p.owners, &p.partition);
	if (rc != 0)
		return ctl_fail_call(c, c->words[0], rc);
	if (p.count > PLACES_MAX)
		p.count = PLACES_MAX;
	rc = dyn_members(c->node, &members, &count);
	if (rc != 0)
		return ctl_fail_call(c, "members", rc);
	if (c->json)
		locate_json(c->words[0], &p, members, count);
	else
		locate_text(&p, members, count);
	dyn_members_free(members);
	return EXIT_DONE;
}

/* ------------------------------------------------------------------- status */

/* A member and what it said of itself. */
struct report {
	const struct dyn_member *member;
	struct dyn_status status;
	struct dyn_stats stats;
	int rc;
};

struct ring_report {
	struct report *nodes;
	size_t count;
	size_t answered, agreed;   /* of count; with the newest table */
	const struct report *best; /* one with the newest table, NULL if none */
	unsigned under_replicated, moving, pending;
	unsigned level, level_low, level_high; /* of the ring; its members speak */
};

static bool
newer(const struct dyn_status *a, const struct dyn_status *b)
{
	if (a->epoch != b->epoch)
		return a->epoch > b->epoch;
	return memcmp(a->digest, b->digest, sizeof(a->digest)) > 0;
}

/* The least that anybody thinks all speak: who started just now has not heard all. */
static void
level_in(struct ring_report *ring, const struct dyn_status *s)
{
	bool first = ring->answered == 0;

	if (first || s->ring_level < ring->level)
		ring->level = s->ring_level;
	if (first || s->level < ring->level_low)
		ring->level_low = s->level;
	if (first || s->level > ring->level_high)
		ring->level_high = s->level;
}

/* Sum up what the members said. */
static void
sum_up(struct ring_report *ring)
{
	for (size_t i = 0; i < ring->count; i++) {
		const struct report *n = &ring->nodes[i];

		if (n->rc != 0)
			continue;
		level_in(ring, &n->status);
		ring->answered++;
		if (ring->best == NULL || newer(&n->status, &ring->best->status))
			ring->best = n;
		ring->pending += n->status.pending;
		ring->moving |= n->status.moving;
	}
	if (ring->best == NULL)
		return;
	ring->under_replicated = ring->best->status.under_replicated;
	for (size_t i = 0; i < ring->count; i++) {
		const struct report *n = &ring->nodes[i];

		if (n->rc == 0 && !newer(&ring->best->status, &n->status))
			ring->agreed++;
	}
}

static bool
all_well(const struct ring_report *ring)
{
	return ring->count > 0 && ring->agreed == ring->count && ring->moving == 0 &&
	       ring->under_replicated == 0 && ring->pending == 0;
}

static void
digest_text(const unsigned char digest[16], char text[33])
{
	struct dyn_id id;

	memcpy(id.bytes, digest, sizeof(id.bytes));
	dyn_id_format(id, text);
}

static void
json_latency(struct json *j, const char *name, const struct dyn_latency *l)
{
	json_open(j, name, '{');
	json_number(j, "count", l->count);
	json_number(j, "mean_us", l->mean_us);
	json_number(j, "p50_us", l->p50_us);
	json_number(j, "p90_us", l->p90_us);
	json_number(j, "p99_us", l->p99_us);
	json_number(j, "p999_us", l->p999_us);
	json_number(j, "max_us", l->max_us);
	json_close(j, '}');
}

static void
json_stats(struct json *j, const struct dyn_stats *s)
{
	json_number(j, "gets", s->gets);
	json_number(j, "puts", s->puts);
	json_number(j, "deletes", s->deletes);
	json_number(j, "failed", s->failed);
	json_number(j, "unknown_outcomes", s->unknown);
	json_number(j, "refused", s->refused);
	json_number(j, "merges", s->merges);
	json_number(j, "coordinated", s->coordinated);
	json_number(j, "forwarded", s->forwarded);
	json_number(j, "repairs", s->repairs);
	json_number(j, "replica_gets", s->replica_gets);
	json_number(j, "replica_puts", s->replica_puts);
	json_number(j, "protocol_errors", s->protocol_errors);
	json_number(j, "frames_skipped", s->frames_skipped);
	json_latency(j, "get_latency", &s->get_latency);
	json_latency(j, "put_latency", &s->put_latency);
	json_latency(j, "commit_latency", &s->commit_latency);
}

static void
json_node(struct json *j, const struct report *n)
{
	char digest[33];

	json_open(j, NULL, '{');
	json_member(j, n->member);
	json_bool(j, "answered", n->rc == 0);
	if (n->rc != 0) {
		json_string(j, "error", ctl_error_name(n->rc));
		json_close(j, '}');
		return;
	}
	json_number(j, "level", n->status.level);
	json_number(j, "ring_level", n->status.ring_level);
	digest_text(n->status.digest, digest);
	json_number(j, "epoch", n->status.epoch);
	json_string(j, "digest", digest);
	json_number(j, "owned", n->status.owned);
	json_number(j, "pending", n->status.pending);
	json_number(j, "keys", n->status.keys);
	json_number(j, "bytes", n->status.bytes);
	json_number(j, "unwritten_bytes", n->status.unwritten_bytes);
	json_number(j, "memory_bytes", n->status.memory_bytes);
	json_number(j, "uptime_ms", n->status.uptime_ms);
	json_number(j, "hints", n->status.hints);
	json_number(j, "hint_bytes", n->status.hint_bytes);
	json_number(j, "hint_age_ms", n->status.hint_age_ms);
	json_number(j, "hints_waiting", n->status.hints_waiting);
	json_number(j, "hints_dirty", n->status.hints_dirty);
	json_number(j, "catching", n->status.catching);
	json_number(j, "differing", n->status.differing);
	json_number(j, "lag_ms", n->status.lag_ms);
	json_number(j, "unhashed", n->status.unhashed);
	json_number(j, "damaged", n->status.damaged);
	json_number(j, "safe_to_stop", (uint64_t)n->status.safe_to_stop);
	json_string(j, "storage_error",
	    n->status.storage_error != 0 ? ctl_error_name(n->status.storage_error) : "");
	json_stats(j, &n->stats);
	json_close(j, '}');
}

static void
status_json(const struct ring_report *ring)
{
	const struct dyn_status *s = ring->best != NULL ? &ring->best->status : NULL;
	struct json j = {.out = stdout};
	char digest[33];

	json_open(&j, NULL, '{');
	json_bool(&j, "well", all_well(ring));
	json_number(&j, "members", ring->count);
	json_number(&j, "answered", ring->answered);
	json_number(&j, "agreed", ring->agreed);
	json_number(&j, "under_replicated", ring->under_replicated);
	json_number(&j, "pending", ring->pending);
	json_bool(&j, "moving", ring->moving != 0);
	json_number(&j, "level", ring->level);
	if (s != NULL) {
		digest_text(s->digest, digest);
		ctl_json_id(&j, "ring_id", s->ring_id);
		json_number(&j, "epoch", s->epoch);
		json_string(&j, "digest", digest);
		json_number(&j, "n", s->n);
		json_number(&j, "partitions", s->partitions);
	}
	json_open(&j, "nodes", '[');
	for (size_t i = 0; i < ring->count; i++)
		json_node(&j, &ring->nodes[i]);
	json_close(&j, ']');
	json_close(&j, '}');
	putchar('\n');
}

/* "dc/zone/rack/machine" as zone and machine; the latter may be long. */
static void
place_text(const char *location, char text[TABLE_CELL])
{
	const char *zone = strchr(location, '/');
	const char *machine = strrchr(location, '/');

	if (zone == NULL || is_unset(location)) {
		snprintf(text, TABLE_CELL, "%.16s", zone == NULL ? location : "-");
		return;
	}
	snprintf(text, TABLE_CELL, "%.*s/%.12s", (int)strcspn(zone + 1, "/"), zone + 1,
	    machine + 1);
}

/* The 99th percentile, or nothing if there was no call. */
static void
latency_cell(struct table *t, const struct dyn_latency *l)
{
	char text[16];

	table_cell(t, "%s", l->count > 0 ? time_text(l->p99_us, text) : "-");
}

static void
node_row(struct table *t, const struct report *n)
{
	char text[TABLE_CELL];

	ctl_short_id(n->member->id, text);
	table_cell(t, "%s", text);
	table_cell(t, "%s", n->member->address);
	place_text(n->member->location, text);
	table_cell(t, "%s", text);
	table_cell(t, "%u", n->member->weight);
	if (n->rc != 0) {
		table_cell(t, "%u", n->member->partitions);
		for (int i = 0; i < 5; i++)
			table_cell(t, "-");
		table_cell(t, "%s",
		    n->rc == DYN_EQUORUM ? "not reachable" : dyn_strerror(n->rc));
		return;
	}
	table_cell(t, "%u", n->status.owned);
	table_cell(t, "%u", n->status.pending);
	table_cell(t, "%" PRIu64, n->status.keys);
	table_cell(t, "%s", bytes_text(n->status.bytes, text));
	latency_cell(t, &n->stats.get_latency);
	latency_cell(t, &n->stats.put_latency);
	if (n->status.storage_error != 0)
		table_cell(t, "%s", dyn_strerror(n->status.storage_error));
	else if (n->status.catching > 0)
		table_cell(t, "catches up, %u left", n->status.catching);
	else if (n->status.hints > 0)
		table_cell(t, "keeps %" PRIu64 " hints", n->status.hints);
	else if (n->status.hints_waiting > 0)
		table_cell(t, "waits for %" PRIu64 " hints", n->status.hints_waiting);
	else if (n->member->membership != DYN_JOINED)
		table_cell(t, "%s", state_text(n->member));
	else
		table_cell(t, "%s", n->status.pending > 0 ? "catching up" : "in sync");
}

static void
status_text(const struct ring_report *ring)
{
	const struct dyn_status *s = ring->best != NULL ? &ring->best->status : NULL;
	struct table t;
	char id[33], digest[33];

	if (s != NULL) {
		ctl_short_id(s->ring_id, id);
		digest_text(s->digest, digest);
		printf("ring    %s  N=%u, %u partitions\n", id, s->n, s->partitions);
		printf("table   epoch %" PRIu64 ", digest %.8s, ", s->epoch, digest);
		printf("%zu of %zu members agree%s\n", ring->agreed, ring->count,
		    ring->moving != 0 ? ", partitions are moving" : "");
		printf("level   %u, ", ring->level);
		if (ring->level_low == ring->level_high)
			printf("all that answered speak %u\n", ring->level_low);
		else
			printf("those that answered speak %u to %u\n", ring->level_low,
			    ring->level_high);
	}
	printf("health  %s: ", all_well(ring) ? "all is well" : "not all is well");
	printf("%zu of %zu members answered, %u partitions under-replicated\n",
	    ring->answered, ring->count, ring->under_replicated);
	table_init(&t, "lllrrrrrrrl",
	    "ID|ADDRESS|ZONE/MACHINE|WEIGHT|OWNS|PENDING|KEYS|"
	    "BYTES|GET P99|PUT P99|STATE");
	for (size_t i = 0; i < ring->count; i++)
		node_row(&t, &ring->nodes[i]);
	table_print(&t, stdout, "");
}

int
ctl_status(struct ctl *c)
{
	struct ring_report ring = {.nodes = NULL};
	struct dyn_member *members;
	size_t count;
	int rc;

	rc = dyn_members(c->node, &members, &count);
	if (rc != 0)
		return ctl_fail_call(c, "members", rc);
	ring.nodes = calloc(count + 1, sizeof(*ring.nodes));
	if (ring.nodes == NULL) {
		dyn_members_free(members);
		return ctl_fail_call(c, "status", DYN_ENOMEM);
	}
	for (size_t i = 0; i < count; i++) {
		struct report *n = &ring.nodes[ring.count];

		if (members[i].self) /* a client is no member, but be sure */
			continue;
		ring.count++;
		n->member = &members[i];
		n->status = (struct dyn_status)DYN_STATUS_INIT;
		n->stats = (struct dyn_stats)DYN_STATS_INIT;
		n->rc = dyn_member_status(
		    c->node, members[i].id, c->options.timeout_ms, &n->status, &n->stats);
	}
	sum_up(&ring);
	if (c->json)
		status_json(&ring);
	else
		status_text(&ring);
	rc = all_well(&ring) ? EXIT_DONE : EXIT_DEGRADED;
	free(ring.nodes);
	dyn_members_free(members);
	return rc;
}
