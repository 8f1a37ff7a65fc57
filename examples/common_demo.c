/*
 * See common_demo.h.
 */
#include "common_demo.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

volatile sig_atomic_t demo_stopped;

/* -------------------------------------------------------------------- telling */

/* A line of a step, indented. */
void
demo_say(const char *format, ...)
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
int
demo_fail(const char *format, ...)
{
	va_list args;

	fputs(isatty(1) ? "\r\033[K" : "", stdout);
	fflush(stdout);
	fputs("      WRONG: ", stderr);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	putc('\n', stderr);
	return -1;
}

/* total 0: not known. */
static void
show_progress(const struct demo *d, const char *what, size_t done, size_t total)
{
	char of[32] = "";

	if (total > 0)
		snprintf(of, sizeof(of), " of %zu", total);
	printf(d->tty ? "\r      %s %zu%s\033[K" : "      %s %zu%s\n", what, done, of);
	fflush(stdout);
}

static void
clear_progress(const struct demo *d)
{
	if (d->tty)
		fputs("\r\033[K", stdout);
}

double
seconds_since(uint64_t begun_us)
{
	return (double)(now_us() - begun_us) / 1e6;
}

/* ------------------------------------------------------------------- requests */

/* A live peer, for the turn-th request. */
size_t
demo_pick(const struct demo *d, size_t turn)
{
	size_t i = turn % PEERS;

	while (d->peers[i].pid == 0)
		i = (i + 1) % PEERS;
	return i;
}

/* One request, one answer. */
int
demo_ask(struct demo *d, size_t peer, const struct peer_request *request,
    struct peer_answer *answer)
{
	size_t from;

	if (peer_send(&d->peers[peer], request) == 0 &&
	    peer_receive(&d->peers[peer], 1, ANSWER_MS, &from, answer) == 0)
		return 0;
	return demo_fail("peer %zu: %s", peer + 1, strerror(errno));
}

struct batch_run {
	const struct demo_batch *batch;
	uint64_t *sent_us; /* of each object */
	uint64_t begun_us, shown_us;
	size_t next, inflight, done;
	struct demo_result result;
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
	return demo_fail("%s: peer %d: %s", run->batch->what, peer + 1, strerror(errno));
}

static int
take_next(struct demo *d, struct batch_run *run)
{
	struct peer_answer answer;
	double ms;
	size_t from;
	int rc;

	if (peer_receive(d->peers, PEERS, ANSWER_MS, &from, &answer) != 0)
		return demo_fail("%s: %s", run->batch->what, strerror(errno));
	if (answer.tag >= d->count) {
		rc = demo_fail("%s: an answer to no question", run->batch->what);
	} else if (answer.rc != 0) {
		rc = demo_fail("%s: %s through peer %zu: %s", run->batch->what,
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
	/* Where all objects are wanted, their number is the number to come. */
	show_progress(
	    d, run->batch->what, run->done, run->result.sent == run->next ? d->count : 0);
}

int
demo_run(struct demo *d, const struct demo_batch *batch, struct demo_result *result)
{
	struct batch_run run = {.batch = batch, .begun_us = now_us()};
	int rc = 0;

	run.shown_us = run.begun_us;
	run.sent_us = calloc(d->count, sizeof(*run.sent_us));
	if (run.sent_us == NULL)
		return demo_fail("out of memory");
	while (rc == 0 && (run.next < d->count || run.inflight > 0)) {
		while (rc == 0 && run.next < d->count && run.inflight < INFLIGHT)
			rc = send_next(d, &run);
		if (rc == 0 && run.inflight > 0)
			rc = take_next(d, &run);
		progress_now_and_then(d, &run);
		if (demo_stopped && rc == 0)
			rc = demo_fail("stopped by a signal");
	}
	clear_progress(d);
	free(run.sent_us);
	run.result.seconds = seconds_since(run.begun_us);
	*result = run.result;
	return rc;
}

/* A read has to bring exactly one version with exactly these bytes. */
int
demo_compare(struct demo *d, size_t i, const struct peer_answer *a)
{
	const struct object *o = &d->objects[i];

	if (a->count != 1 || a->siblings != 1)
		return demo_fail("%s: %u values of %u versions instead of one", o->key,
		    a->count, a->siblings);
	if (a->value.len != o->value.len ||
	    memcmp(a->value.data, o->value.data, o->value.len) != 0)
		return demo_fail("%s: %zu bytes came back, not the %zu bytes written",
		    o->key, a->value.len, o->value.len);
	return 0;
}

/* ------------------------------------------------------------- starting, status */

int
demo_status(struct demo *d, size_t peer, struct dyn_status *out)
{
	struct peer_request request = {.op = PEER_STATUS};
	struct peer_answer answer = {.rc = 0};
	int rc;

	if (demo_ask(d, peer, &request, &answer) != 0)
		return -1;
	memset(out, 0, sizeof(*out));
	rc = answer.rc;
	if (rc == 0 && answer.value.len == sizeof(*out))
		memcpy(out, answer.value.data, sizeof(*out));
	peer_answer_free(&answer);
	return rc == 0 ? 0
		       : demo_fail("status of peer %zu: %s", peer + 1, dyn_strerror(rc));
}

/* Do all peers use one table, hold all that it gives them, see each other? */
static int
settled(struct demo *d, bool *out)
{
	struct dyn_status first, s;

	*out = true;
	if (demo_status(d, 0, &first) != 0)
		return -1;
	for (size_t i = 0; i < PEERS; i++) {
		if (demo_status(d, i, &s) != 0)
			return -1;
		if (s.members != PEERS || s.agreed != PEERS || s.reachable != PEERS ||
		    s.pending != 0 || s.moving != 0 || s.under_replicated != 0 ||
		    s.epoch != first.epoch ||
		    memcmp(s.digest, first.digest, sizeof(s.digest)) != 0)
			*out = false;
	}
	return 0;
}

void
nap_ms(unsigned ms)
{
	struct timespec t = {.tv_nsec = (long)ms * 1000000};

	nanosleep(&t, NULL);
}

static int
tell_unsettled(struct demo *d)
{
	struct dyn_status s;

	for (size_t i = 0; i < PEERS; i++) {
		if (demo_status(d, i, &s) != 0)
			return -1;
		demo_say("peer %zu: epoch %" PRIu64
			 ", digest %02x%02x, members %u, agreed %u, "
			 "reachable %u, pending %u, moving %u, under-replicated %u",
		    i + 1, s.epoch, s.digest[0], s.digest[1], s.members, s.agreed,
		    s.reachable, s.pending, s.moving, s.under_replicated);
	}
	return demo_fail("the peers do not agree after %d s", SETTLE_MS / 1000);
}

int
demo_settle(struct demo *d)
{
	uint64_t begun = now_us();
	bool good;

	for (;;) {
		if (settled(d, &good) != 0)
			return -1;
		if (good)
			return 0;
		if (demo_stopped)
			return demo_fail("stopped by a signal");
		if (now_us() - begun > (uint64_t)SETTLE_MS * 1000)
			return tell_unsettled(d);
		nap_ms(20);
	}
}
