/*
 * dyn_update: read, merge, change, write with the context of the read.
 *
 * One place decides what a read means (decide); the blocking and the
 * asynchronous form differ only in how they wait.  The asynchronous form keeps
 * its own copy of the bucket's options, because the bucket may be closed
 * between its two halves.
 */
#include "calls.h"

enum step { STEP_END, STEP_WRITE, STEP_DELETE };

/* The deadline is one for both halves. */
struct halves {
	struct dyn_call call;
	uint64_t until;
};

static void
first_half(struct halves *h, const dyn_bucket *b, const struct dyn_call *call)
{
	static const struct dyn_call none;

	h->call = call != NULL ? *call : none;
	if (h->call.timeout_ms == 0)
		h->call.timeout_ms = b->o.timeout_ms;
	h->until = clock_now() + h->call.timeout_ms * NS_PER_MS;
}

/* What is left for the write.  DYN_ETIMEOUT: nothing. */
static int
second_half(struct halves *h)
{
	uint64_t now = clock_now();

	if (now >= h->until)
		return DYN_ETIMEOUT;
	h->call.timeout_ms = (unsigned)MAX((h->until - now) / NS_PER_MS, 1);
	return 0;
}

/* What to do after the read; rc in *rc for STEP_END. */
static enum step
decide(const dyn_result *found, struct dyn_slice key, dyn_change *change, void *arg,
    struct dyn_buffer *out, int *rc)
{
	struct dyn_slice value = dyn_result_value(found, 0);

	if (dyn_result_count(found) > 1) {
		*rc = DYN_EMERGE; /* no callback that could make one of them */
		return STEP_END;
	}
	callback_enter();
	*rc = change(arg, key, dyn_result_count(found) == 1 ? &value : NULL, out);
	callback_leave();
	if (*rc == DYN_CHANGE_WRITE)
		return STEP_WRITE;
	if (*rc == DYN_CHANGE_DELETE && dyn_result_count(found) == 1) {
		*rc = 0;
		return STEP_DELETE;
	}
	if (*rc > 0)
		*rc = *rc <= DYN_CHANGE_DELETE ? 0 : DYN_EINVAL;
	return STEP_END;
}

/* The result of an update holds the value it wrote. */
static void
show_written(dyn_result *r, struct dyn_buffer *written)
{
	if (r == NULL)
		return;
	r->made = *written;
	memset(written, 0, sizeof(*written));
	r->one = slice(r->made.data, r->made.len);
	r->values = &r->one;
	r->times = &r->one_time;
	r->count = 1;
}

int
dyn_update(dyn_bucket *b, struct dyn_slice key, dyn_change *change, void *arg,
    const struct dyn_call *call, dyn_result **out)
{
	struct dyn_buffer written = { NULL, 0, 0 };
	dyn_result *found = NULL, *made = NULL;
	struct halves h;
	struct call_args a = { .kind = OP_GET, .key = key, .call = &h.call };
	enum step step;
	int rc;

	if (out != NULL)
		*out = NULL;
	if (b == NULL || change == NULL)
		return DYN_EINVAL;
	first_half(&h, b, call);
	rc = call_wait(b, &a, &found);
	if (rc != 0) {
		dyn_result_free(found);
		return rc;
	}
	step = decide(found, key, change, arg, &written, &rc);
	a.kind = step == STEP_DELETE ? OP_DELETE : OP_PUT;
	a.context = dyn_result_context(found);
	a.value = slice(written.data, written.len);
	if (step == STEP_DELETE)
		a.value = slice(NULL, 0);
	if (step != STEP_END)
		rc = second_half(&h);
	if (step != STEP_END && rc == 0)
		rc = call_wait(b, &a, &made);
	if (step == STEP_END && rc == 0) {
		made = found;
		found = NULL;
	} else if (step == STEP_WRITE) {
		show_written(made, &written);
	}
	dyn_buffer_free(&written);
	dyn_result_free(found);
	if (out != NULL)
		*out = made;
	else
		dyn_result_free(made);
	return rc;
}

/* ------------------------------------------------------------ asynchronous */

struct update {
	struct dyn_bucket bucket; /* a copy: node, name, options */
	unsigned char key[DYN_KEY_MAX];
	size_t key_len;
	struct halves halves;
	dyn_change *change;
	void *change_arg;
	dyn_done *done;
	void *arg;
	struct dyn_buffer written;
};

static void
update_end(struct update *u, int rc, dyn_result *result)
{
	if (u->done != NULL)
		u->done(u->arg, rc, result);
	dyn_buffer_free(&u->written);
	mem_free(u);
}

static void
update_wrote(void *arg, int rc, dyn_result *result)
{
	struct update *u = arg;

	show_written(result, &u->written);
	update_end(u, rc, result);
}

static void
update_deleted(void *arg, int rc, dyn_result *result)
{
	update_end(arg, rc, result);
}

static void
update_read(void *arg, int rc, dyn_result *found)
{
	struct update *u = arg;
	struct call_args a = { .key = slice(u->key, u->key_len), .call = &u->halves.call };
	enum step step;

	if (rc != 0) {
		update_end(u, rc, found);
		return;
	}
	step = decide(found, a.key, u->change, u->change_arg, &u->written, &rc);
	if (step == STEP_END) {
		if (rc != 0) {
			dyn_result_free(found);
			found = NULL;
		}
		update_end(u, rc, found);
		return;
	}
	a.kind = step == STEP_DELETE ? OP_DELETE : OP_PUT;
	a.context = dyn_result_context(found);
	if (step == STEP_WRITE)
		a.value = slice(u->written.data, u->written.len);
	rc = second_half(&u->halves);
	if (rc == 0)
		rc = call_async(&u->bucket, &a,
		    step == STEP_WRITE ? update_wrote : update_deleted, u);
	dyn_result_free(found);
	if (rc != 0)
		update_end(u, rc, NULL);
}

int
dyn_update_async(dyn_bucket *b, struct dyn_slice key, dyn_change *change, void *change_arg,
    const struct dyn_call *call, dyn_done *done, void *arg)
{
	struct call_args a = { .kind = OP_GET, .key = key };
	struct update *u;
	int rc;

	if (b == NULL || change == NULL || done == NULL || key.data == NULL || key.len == 0)
		return DYN_EINVAL;
	if (key.len > DYN_KEY_MAX)
		return DYN_ETOOBIG;
	rc = node_check(b->node);
	if (rc != 0)
		return rc;
	u = mem_zalloc(sizeof(*u));
	if (u == NULL)
		return DYN_ENOMEM;
	u->bucket = *b;
	memcpy(u->key, key.data, key.len);
	u->key_len = key.len;
	first_half(&u->halves, b, call);
	a.call = &u->halves.call;
	u->change = change;
	u->change_arg = change_arg;
	u->done = done;
	u->arg = arg;
	rc = call_async(&u->bucket, &a, update_read, u);
	if (rc != 0)
		mem_free(u);
	return rc;
}
