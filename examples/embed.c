/*
 * An application with a loop of its own.  It runs libevent's loop for its own
 * work, here a thermometer, and stores each reading in a ring, without ever
 * blocking and without locks: with DYN_ON_DISPATCH all callbacks of libdyn run
 * inside dyn_dispatch, called when the descriptor dyn_fd becomes readable.
 *
 *	embed                              a ring of its own, in memory
 *	embed LISTEN SEEDS                 a peer of a ring that exists
 *
 * It ends after READINGS readings, non-zero if one came back otherwise.
 */
#include <dyn.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define READINGS 50
#define PERIOD_US 20000

struct app {
	struct event_base *base;
	dyn_node *node;
	dyn_bucket *bucket;
	struct event *tick;
	unsigned taken, stored, checked, wrong;
};

/* One reading on its way: lives from the write to the end of its check. */
struct reading {
	struct app *app;
	char key[32], value[32];
};

/* A callback gets the outcome and owns the result, if there is one. */
static void
on_read(void *arg, int rc, dyn_result *result)
{
	struct reading *r = arg;
	struct app *app = r->app;
	struct dyn_slice v = {.data = NULL};

	if (rc == 0)
		v = dyn_result_value(result, 0);
	if (v.len != strlen(r->value) || v.len == 0 || memcmp(v.data, r->value, v.len) != 0) {
		fprintf(stderr, "embed: %s is not %s, code %d\n", r->key, r->value, rc);
		app->wrong++;
	}
	app->checked++;
	dyn_result_free(result);
	free(r);
	if (app->checked == READINGS)
		event_base_loopbreak(app->base);
}

static void
give_up(struct reading *r, const char *what, int rc)
{
	fprintf(stderr, "embed: cannot %s %s: %s\n", what, r->key, dyn_strerror(rc));
	r->app->wrong++;
	event_base_loopbreak(r->app->base);
	free(r);
}

static void
on_stored(void *arg, int rc, dyn_result *result)
{
	struct reading *r = arg;

	dyn_result_free(result);
	if (rc != 0) {
		give_up(r, "store", rc);
		return;
	}
	r->app->stored++;
	/* A callback may start the next call, only not a blocking one. */
	rc = dyn_get_async(r->app->bucket, dyn_str(r->key), NULL, on_read, r);
	if (rc != 0)
		give_up(r, "read", rc);
}

/* The application's own work: its timer. */
static void
on_tick(evutil_socket_t fd, short what, void *arg)
{
	struct app *app = arg;
	struct reading *r = calloc(1, sizeof(*r));
	char id[33];
	int rc;

	(void)fd, (void)what;
	if (r == NULL)
		abort();
	r->app = app;
	dyn_id_format(dyn_self(app->node), id);
	snprintf(r->key, sizeof(r->key), "%.8s/%u", id, app->taken);
	snprintf(r->value, sizeof(r->value), "%u.%u degrees", 11 + app->taken % 3,
	    app->taken % 10);
	if (++app->taken == READINGS)
		event_del(app->tick);
	/* Key and value are copied.  Written once, it replaces nothing: no context. */
	rc = dyn_put_async(
	    app->bucket, dyn_str(r->key), NULL, dyn_str(r->value), NULL, on_stored, r);
	if (rc != 0)
		give_up(r, "write", rc); /* then the callback is not called */
}

static void
on_dispatch(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what;
	dyn_dispatch(arg);
}

int
main(int argc, char **argv)
{
	struct dyn_options o = DYN_OPTIONS_INIT;
	struct timeval period = {.tv_usec = PERIOD_US};
	struct dyn_error error;
	struct app app = {.taken = 0};
	struct event *dispatch;

	o.listen = argc > 1 ? argv[1] : "127.0.0.1:0";
	o.seeds = argc > 2 ? argv[2] : NULL;
	o.n = argc > 2 ? 0 : 1; /* alone: one replica; else as the ring has it */
	o.callbacks = DYN_ON_DISPATCH;
	if (dyn_open(&app.node, &o, &error) != 0 ||
	    dyn_bucket_open(&app.bucket, app.node, "temperature", NULL) != 0 ||
	    (app.base = event_base_new()) == NULL) {
		fprintf(stderr, "embed: cannot start: %s\n", error.text);
		return 1;
	}
	app.tick = event_new(app.base, -1, EV_PERSIST, on_tick, &app);
	dispatch = event_new(
	    app.base, dyn_fd(app.node), EV_READ | EV_PERSIST, on_dispatch, app.node);
	event_add(app.tick, &period);
	event_add(dispatch, NULL);
	event_base_dispatch(app.base);

	dyn_close(app.node, 1000);
	printf("taken %u, stored %u, read back %u, wrong %u\n", app.taken, app.stored,
	    app.checked, app.wrong);
	event_free(app.tick);
	event_free(dispatch);
	event_base_free(app.base);
	return app.checked == READINGS && app.wrong == 0 ? 0 : 1;
}
