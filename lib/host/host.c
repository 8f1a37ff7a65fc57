/* The shared part of a node: log, published view, failure. */
#include "host/host.h"

#include "core/rows.h"
#include "host/syncer.h"
#include "host/worker.h"

#include <stdarg.h>
#include <stdio.h>

int
host_init(struct host *h)
{
	pthread_condattr_t attr;

	/* The waits have deadlines by the monotonic clock. */
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&h->changed, &attr);
	pthread_condattr_destroy(&attr);
	return pthread_mutex_init(&h->lock, NULL) == 0 ? 0 : DYN_ENOMEM;
}

void
host_fini(struct host *h)
{
	view_unref(h->view);
	pthread_cond_destroy(&h->changed);
	pthread_mutex_destroy(&h->lock);
}

void
host_deadline(struct timespec *until, unsigned ms)
{
	clock_gettime(CLOCK_MONOTONIC, until);
	until->tv_sec += (time_t)(ms / 1000);
	until->tv_nsec += (long)(ms % 1000) * 1000000;
	if (until->tv_nsec >= 1000000000) {
		until->tv_sec++;
		until->tv_nsec -= 1000000000;
	}
}

struct moment
host_moment(const struct loop *l)
{
	struct moment m = { l->now, clock_wall_ms() };

	return m;
}

void
host_log(struct host *h, enum dyn_log_level level, const char *fmt, ...)
{
	char line[512];
	va_list args;

	if (h->log == NULL || level > h->log_level)
		return;
	va_start(args, fmt);
	vsnprintf(line, sizeof(line), fmt, args);
	va_end(args);
	h->log(h->log_arg, level, line);
}

struct view *
host_view(struct host *h)
{
	struct view *v;

	pthread_mutex_lock(&h->lock);
	v = h->view != NULL ? view_ref(h->view) : NULL;
	pthread_mutex_unlock(&h->lock);
	return v;
}

/* Under the lock.  Returns whether it has changed. */
static bool
find_ring_level(struct host *h)
{
	unsigned before = h->ring_level;

	if (h->view != NULL)
		h->ring_level = levels_lowest(&h->levels, h->view, &h->self, FEATURE_LEVEL);
	return h->ring_level != before;
}

static void
tell_ring_level(struct host *h, unsigned level)
{
	host_log(h, DYN_LOG_INFO, "the feature level of the ring is %u, of this node %u",
	    level, FEATURE_LEVEL);
}

void
host_heard(struct host *h, const struct dyn_id *id, unsigned level)
{
	unsigned now;
	bool changed;

	pthread_mutex_lock(&h->lock);
	levels_heard(&h->levels, h->view, id, level);
	changed = find_ring_level(h);
	now = h->ring_level;
	pthread_mutex_unlock(&h->lock);
	if (changed)
		tell_ring_level(h, now);
}

void
host_publish(struct host *h, struct view *v)
{
	struct view *old;
	unsigned level;
	bool changed;

	/* Under the lock: dyn_open waits for h->view, and the calls made after it must
	 * find a worker that knows of it. */
	pthread_mutex_lock(&h->lock);
	old = h->view;
	h->view = view_ref(v);
	changed = find_ring_level(h);
	level = h->ring_level;
	for (unsigned i = 0; i < h->workers_count; i++)
		worker_view(h->workers[i]);
	if (h->syncer != NULL)
		syncer_view(h->syncer);
	pthread_cond_broadcast(&h->changed);
	pthread_mutex_unlock(&h->lock);
	view_unref(old);
	if (changed)
		tell_ring_level(h, level);
}

void
host_fail(struct host *h, int code, const char *text)
{
	pthread_mutex_lock(&h->lock);
	if (h->failure.code == 0)
		(void)error_set(&h->failure, code, "%s", text);
	pthread_cond_broadcast(&h->changed);
	pthread_mutex_unlock(&h->lock);
	atomic_store(&h->failed, code);
	for (unsigned i = 0; i < h->workers_count; i++)
		worker_fail(h->workers[i]);
	if (h->syncer != NULL)
		syncer_fail(h->syncer);
	host_log(h, DYN_LOG_ERROR, "%s", text);
}

void
host_outbox_fini(struct outbox *out)
{
	struct effect e;

	while (outbox_next(out, &e)) {
		if (e.kind == FX_ROWS || e.kind == FX_STORED)
			rows_free(e.what);
		else if (e.kind == FX_FENCED)
			fence_free(e.what);
		effect_drop(&e);
	}
	outbox_fini(out);
}

void
host_storage_error(struct host *h, int code)
{
	pthread_mutex_lock(&h->lock);
	h->storage_error = code;
	pthread_mutex_unlock(&h->lock);
}
