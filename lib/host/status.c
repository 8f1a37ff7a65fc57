/* Gathering, and the wire form by two lists of fields. */
#include "host/status.h"

#include "host/storage.h"
#include "host/worker.h"

/* B: 16 bytes.  N: a number. */
#define STATUS_FIELDS(B, N)                                                    \
	B(ring_id.bytes) B(node.bytes) N(epoch) B(digest) N(n) N(partitions)   \
	N(members) N(reachable) N(agreed) N(owned) N(pending)                  \
	N(under_replicated) N(moving) N(keys) N(bytes) N(unwritten_bytes)      \
	N(memory_bytes) N(uptime_ms) N(storage_error) N(hints) N(hint_bytes)   \
	N(hint_age_ms) N(hints_waiting) N(hints_dirty) N(safe_to_stop)   \
	N(catching) N(differing) N(lag_ms) N(unhashed) N(damaged) N(failure) \
	N(awaited) B(awaits.bytes) N(membership) N(level) N(ring_level)

#define LATENCY_FIELDS(N, l)                                                   \
	N(l.count) N(l.mean_us) N(l.p50_us) N(l.p90_us) N(l.p99_us)            \
	N(l.p999_us) N(l.max_us)

#define STATS_FIELDS(N)                                                        \
	N(gets) N(puts) N(deletes) N(failed) N(unknown) N(refused) N(merges)   \
	N(versions[0]) N(versions[1]) N(versions[2]) N(versions[3])            \
	N(coordinated) N(forwarded) N(moved) N(repairs) N(replica_gets)        \
	N(replica_puts) N(commits) N(commit_rows) N(pulled_rows) N(frames_in)  \
	N(frames_out) N(bytes_in) N(bytes_out) N(protocol_errors)              \
	N(gossip_rounds) N(gossip_bytes)                                       \
	LATENCY_FIELDS(N, get_latency) LATENCY_FIELDS(N, put_latency)          \
	LATENCY_FIELDS(N, commit_latency) N(hinted) N(hints_delivered)   \
	N(exchanges) N(exchange_took) N(exchange_gave) N(verified)             \
	N(forgotten) N(to_forget) N(frames_skipped)

#define WRITE_B(f) wr_bytes(w, s->f, 16);
#define WRITE_N(f) wr_var(w, (uint64_t)(s->f));
/* A field that is not there any more is zero. */
#define READ_B(f)                                                              \
	if (rd_left(&r) > 0)                                                   \
		rd_copy(&r, s->f, 16);
#define READ_N(f)                                                              \
	if (rd_left(&r) > 0)                                                   \
		s->f = (__typeof__(s->f))rd_var(&r);

static void
status_write(struct wr *w, const struct dyn_status *s)
{
	STATUS_FIELDS(WRITE_B, WRITE_N)
}

static void
stats_write(struct wr *w, const struct dyn_stats *s)
{
	STATS_FIELDS(WRITE_N)
}

int
status_read(struct dyn_slice bytes, struct dyn_status *s)
{
	struct rd r = rd_from(bytes);

	memset(s, 0, sizeof(*s));
	s->size = sizeof(*s);
	STATUS_FIELDS(READ_B, READ_N)
	return r.bad ? DYN_EPROTO : 0;
}

int
stats_read(struct dyn_slice bytes, struct dyn_stats *s)
{
	struct rd r = rd_from(bytes);

	memset(s, 0, sizeof(*s));
	s->size = sizeof(*s);
	STATS_FIELDS(READ_N)
	return r.bad ? DYN_EPROTO : 0;
}

static void
status_from_view(struct host *h, const struct view *v, struct dyn_status *s)
{
	int seat = table_find(v->current, &h->self);

	s->ring_id = v->settings.ring_id;
	s->epoch = v->current->epoch;
	memcpy(s->digest, v->current->digest.b, sizeof(s->digest));
	s->n = v->settings.n;
	s->partitions = v->settings.partitions;
	s->owned = seat >= 0 ? table_load(v->current, (unsigned)seat) : 0;
	s->under_replicated = table_short(v->current);
	s->moving = view_phase(v) != VIEW_SETTLED;
	for (size_t i = 0; i < v->count; i++) {
		const struct record *r = &v->records[i];

		if (id_equal(&r->id, &h->self) && record_is_here(r))
			s->membership = r->state;
		if (!record_is_member(r))
			continue;
		s->members++;
		if (view_awaits(v, r)) {
			s->awaited++;
			s->awaits = r->id;
		}
		s->reachable += id_equal(&r->id, &h->self) ||
		    worker_reachable(h->workers[0], &r->id, NULL);
		s->agreed += r->synced_epoch == v->current->epoch &&
		    digest_compare(&r->synced, &v->current->digest) == 0;
	}
}

/* Would the ring miss nothing but one of its n copies? */
static bool
is_safe_to_stop(const struct host *h, const struct dyn_status *s)
{
	return h->role == DYN_PEER && s->members > 0 && s->reachable == s->members &&
	    s->moving == 0 && s->pending == 0 && s->under_replicated == 0 && s->hints == 0 &&
	    s->hints_waiting == 0 && s->unwritten_bytes == 0 && s->catching == 0 &&
	    s->n > 1;
}

void
host_status(struct host *h, struct dyn_status *s)
{
	struct view *v = host_view(h);
	struct dyn_engine_info info = { 0, 0 };

	memset(s, 0, sizeof(*s));
	s->size = sizeof(*s);
	s->node = h->self;
	s->level = FEATURE_LEVEL;
	s->uptime_ms = (clock_now() - h->started) / NS_PER_MS;
	if (v != NULL && v->current != NULL)
		status_from_view(h, v, s);
	view_unref(v);
	if (h->engine != NULL && h->engine->info(h->engine->self, &info) == 0) {
		s->keys = info.rows;
		s->bytes = info.bytes;
	}
	for (unsigned i = 0; i < h->workers_count; i++) {
		struct worker_figures f;

		worker_figures(h->workers[i], &f);
		s->unwritten_bytes += f.unwritten;
		s->memory_bytes += f.bytes;
	}
	pthread_mutex_lock(&h->lock);
	s->pending = h->pending;
	s->storage_error = h->storage_error;
	s->hints = h->hints.hints;
	s->hint_bytes = h->hints.bytes;
	if (h->hints.since_ms != 0)
		s->hint_age_ms = MAX(clock_wall_ms(), h->hints.since_ms) - h->hints.since_ms;
	s->hints_waiting = h->hints.waiting;
	s->hints_dirty = h->hints.dirty;
	s->catching = h->copies.repair.catching;
	s->differing = h->copies.repair.differing;
	s->lag_ms = h->copies.repair.lag_ms;
	s->unhashed = h->copies.trees.wanted + h->copies.trees.broken;
	s->damaged = h->copies.trees.wrong;
	s->failure = h->failure.code;
	s->ring_level = h->ring_level;
	pthread_mutex_unlock(&h->lock);
	s->safe_to_stop = is_safe_to_stop(h, s);
}

static void
add_work(struct dyn_stats *s, const struct work_stats *w)
{
	s->gets += w->gets;
	s->puts += w->puts;
	s->deletes += w->deletes;
	s->failed += w->failed;
	s->unknown += w->unknown;
	s->refused += w->refused;
	s->coordinated += w->coordinated;
	s->forwarded += w->forwarded;
	s->moved += w->moved;
	s->repairs += w->repairs;
	s->replica_gets += w->replica_gets;
	s->replica_puts += w->replica_puts;
	s->pulled_rows += w->pulled_rows;
	s->hinted += w->hinted;
	s->forgotten += w->forgotten;
}

static void
add_connections(struct dyn_stats *s, struct conn_counters *c)
{
	s->frames_in = atomic_load(&c->frames_in);
	s->frames_out = atomic_load(&c->frames_out);
	s->bytes_in = atomic_load(&c->bytes_in);
	s->bytes_out = atomic_load(&c->bytes_out);
	s->protocol_errors = atomic_load(&c->protocol_errors);
	s->frames_skipped = atomic_load(&c->frames_skipped);
}

void
host_stats(struct host *h, struct dyn_stats *s)
{
	struct histogram get = { .count = 0 }, put = { .count = 0 }, commit = { .count = 0 };

	memset(s, 0, sizeof(*s));
	s->size = sizeof(*s);
	for (unsigned i = 0; i < h->workers_count; i++) {
		struct worker_figures f;

		worker_figures(h->workers[i], &f);
		add_work(s, &f.work);
		histogram_join(&get, &f.work.get_us);
		histogram_join(&put, &f.work.put_us);
	}
	if (h->storage != NULL)
		storage_figures(h->storage, &s->commits, &s->commit_rows, &commit);
	histogram_latency(&get, &s->get_latency);
	histogram_latency(&put, &s->put_latency);
	histogram_latency(&commit, &s->commit_latency);
	add_connections(s, &h->counters);
	s->merges = atomic_load(&h->merges);
	for (size_t i = 0; i < ARRAY_LEN(h->versions); i++)
		s->versions[i] = atomic_load(&h->versions[i]);
	pthread_mutex_lock(&h->lock);
	s->gossip_rounds = h->gossip_rounds;
	s->gossip_bytes = h->gossip_bytes;
	s->hints_delivered = h->hints.delivered;
	s->exchanges = h->copies.repair.exchanges;
	s->exchange_took = h->copies.repair.took;
	s->exchange_gave = h->copies.repair.gave;
	s->verified = h->copies.trees.walked;
	s->to_forget = h->copies.collect.wishes;
	pthread_mutex_unlock(&h->lock);
}

int
status_frame(struct host *h, const struct frame *head, struct buf **out)
{
	struct buf *status = NULL, *stats = NULL;
	struct dyn_status st;
	struct dyn_stats sa;
	union msg m;
	struct wr w;
	int rc;

	*out = NULL;
	host_status(h, &st);
	host_stats(h, &sa);
	wr_init(&w, 256);
	status_write(&w, &st);
	rc = wr_finish(&w, &status);
	if (rc != 0)
		return rc;
	wr_init(&w, 512);
	stats_write(&w, &sa);
	rc = wr_finish(&w, &stats);
	if (rc == 0) {
		m.status_ack.status = buf_slice(status);
		m.status_ack.stats = buf_slice(stats);
		rc = msg_encode(out, head, MSG_STATUS_ACK, &m);
	}
	buf_unref(status);
	buf_unref(stats);
	return rc;
}
