/* Collect, apply, answer. */
#include "host/storage.h"

#include "base/list.h"
#include "host/syncer.h"
#include "host/worker.h"

#define IDLE_PAUSE (20 * NS_PER_MS) /* between slices of the engine's own work */

struct commit {
	struct letter letter;
	struct list link;
	struct storage *storage;
	struct worker *worker; /* NULL: a META row */
	unsigned index;
	struct batch *batch;
	char name[32];
	struct buf *value;
	enum saved_for saved_for; /* META: the sync thread is told */
};

struct storage {
	struct host *host;
	struct loop loop;
	struct list commits; /* come since the last turn */
	struct dyn_row *rows;
	size_t rows_cap;
	uint64_t failed[WORKERS_MAX]; /* generation + 1 that must not be applied */
	pthread_mutex_t lock;         /* of the figures */
	uint64_t commits_done, rows_done;
	struct histogram us;
};

static void commit_all(void *arg);

int
storage_new(struct storage **out, struct host *host)
{
	struct storage *s = mem_zalloc(sizeof(*s));
	int rc;

	*out = NULL;
	if (s == NULL)
		return DYN_ENOMEM;
	s->host = host;
	list_init(&s->commits);
	pthread_mutex_init(&s->lock, NULL);
	rc = loop_init(&s->loop, "dyn-storage", commit_all, s);
	if (rc != 0) {
		pthread_mutex_destroy(&s->lock);
		mem_free(s);
		return rc;
	}
	*out = s;
	return 0;
}

int
storage_start(struct storage *s)
{
	return loop_start(&s->loop);
}

void
storage_stop(struct storage *s)
{
	loop_stop(&s->loop);
}

void
storage_free(struct storage *s)
{
	if (s == NULL)
		return;
	loop_fini(&s->loop);
	pthread_mutex_destroy(&s->lock);
	mem_free(s->rows);
	mem_free(s);
}

struct loop *
storage_loop(struct storage *s)
{
	return &s->loop;
}

void
storage_figures(struct storage *s, uint64_t *commits, uint64_t *rows, struct histogram *us)
{
	pthread_mutex_lock(&s->lock);
	*commits = s->commits_done;
	*rows = s->rows_done;
	*us = s->us;
	pthread_mutex_unlock(&s->lock);
}

static void
commit_came(struct letter *l)
{
	struct commit *c = CONTAINER_OF(l, struct commit, letter);

	list_add(&c->storage->commits, &c->link);
}

int
storage_commit(struct storage *s, struct worker *w, unsigned index, struct batch *b)
{
	struct commit *c = mem_zalloc(sizeof(*c));

	if (c == NULL)
		return DYN_ENOMEM;
	c->letter.run = commit_came;
	list_init(&c->link);
	c->storage = s;
	c->worker = w;
	c->index = index;
	c->batch = b;
	loop_post(&s->loop, &c->letter);
	return 0;
}

int
storage_meta(struct storage *s, const char *name, struct buf *value, enum saved_for whom)
{
	struct commit *c = mem_zalloc(sizeof(*c));

	if (c == NULL) {
		buf_unref(value);
		return DYN_ENOMEM;
	}
	c->saved_for = whom;
	DYN_ASSERT(strlen(name) < sizeof(c->name));
	memcpy(c->name, name, strlen(name) + 1);
	c->letter.run = commit_came;
	list_init(&c->link);
	c->storage = s;
	c->value = value;
	loop_post(&s->loop, &c->letter);
	return 0;
}

/* A batch built on what a failed one of the same worker would have stored. */
static bool
is_poisoned(const struct storage *s, const struct commit *c)
{
	return c->worker != NULL && c->batch->generation < s->failed[c->index];
}

static size_t
count_rows(const struct commit *c)
{
	return c->worker != NULL ? c->batch->count : 1;
}

/* All rows of all commits, in the order they came. */
static int
gather(struct storage *s, size_t count)
{
	size_t n = 0;

	if (count > s->rows_cap) {
		struct dyn_row *rows = mem_realloc(s->rows, count * sizeof(*rows));

		if (rows == NULL)
			return DYN_ENOMEM;
		s->rows = rows;
		s->rows_cap = count;
	}
	LIST_EACH(l, &s->commits) {
		struct commit *c = CONTAINER_OF(l, struct commit, link);

		if (is_poisoned(s, c))
			continue;
		if (c->worker == NULL) {
			s->rows[n++] = (struct dyn_row){ DYN_SPACE_META,
				slice(c->name, strlen(c->name)), buf_slice(c->value) };
			continue;
		}
		memcpy(s->rows + n, c->batch->rows, c->batch->count * sizeof(*s->rows));
		n += c->batch->count;
	}
	return 0;
}

static void
answer(struct storage *s, struct commit *c, int rc)
{
	list_remove(&c->link);
	if (c->worker == NULL) {
		if (rc != 0)
			host_log(s->host, DYN_LOG_ERROR, "cannot save %s: %s", c->name,
			    dyn_strerror(rc));
		buf_unref(c->value);
		if (c->saved_for != SAVED_FOR_NOBODY)
			syncer_saved(s->host->syncer, c->saved_for, rc, &c->letter);
		else
			mem_free(c);
		return;
	}
	if (is_poisoned(s, c))
		rc = DYN_EIO;
	else if (rc != 0)
		s->failed[c->index] = c->batch->generation + 1;
	worker_committed(c->worker, c->batch, rc, &c->letter);
}

static int
apply(struct storage *s, size_t rows, enum dyn_durability d)
{
	struct dyn_engine *e = s->host->engine;
	uint64_t began = clock_now();
	int rc = gather(s, rows);

	if (rc == 0 && rows > 0)
		rc = e->apply(e->self, s->rows, rows, d);
	if (rc != 0)
		host_storage_error(s->host, rc);
	pthread_mutex_lock(&s->lock);
	s->commits_done++;
	s->rows_done += rows;
	histogram_add(&s->us, (clock_now() - began) / NS_PER_US);
	pthread_mutex_unlock(&s->lock);
	return rc;
}

/* The engine's own work, when nobody waits. */
static void
idle(struct storage *s)
{
	struct dyn_engine *e = s->host->engine;
	bool more = e->idle != NULL && e->idle(e->self) == 1;

	loop_wake_at(&s->loop, more ? s->loop.now + IDLE_PAUSE : TIME_NEVER);
}

static void
commit_all(void *arg)
{
	struct storage *s = arg;
	enum dyn_durability d = DYN_DURABLE_MEMORY;
	size_t rows = 0;
	int rc;

	if (list_empty(&s->commits)) {
		idle(s);
		return;
	}
	LIST_EACH(l, &s->commits) {
		struct commit *c = CONTAINER_OF(l, struct commit, link);

		if (is_poisoned(s, c))
			continue;
		rows += count_rows(c);
		d = MIN(d, c->worker != NULL ? c->batch->durability : DYN_DURABLE_DISK);
	}
	rc = apply(s, rows, d);
	while (!list_empty(&s->commits))
		answer(s, CONTAINER_OF(s->commits.next, struct commit, link), rc);
	loop_wake_at(&s->loop, s->loop.now + IDLE_PAUSE);
}
