/*
 * Results: what the machines found, as the application wants it.  Siblings
 * are merged here, at the reader (DESIGN 8; paper 4.4, semantic
 * reconciliation), on the thread that asked or that calls back.
 */
#include "node.h"

void
dyn_result_free(dyn_result *r)
{
	if (r == NULL)
		return;
	if (r->values != &r->one) {
		mem_free(r->values);
		mem_free(r->times);
	}
	buf_unref(r->hold);
	dyn_buffer_free(&r->made);
	dyn_context_free(r->context);
	mem_free(r);
}

size_t
dyn_result_count(const dyn_result *r)
{
	return r != NULL ? r->count : 0;
}

struct dyn_slice
dyn_result_value(const dyn_result *r, size_t i)
{
	return r != NULL && i < r->count ? r->values[i] : slice(NULL, 0);
}

uint64_t
dyn_result_time(const dyn_result *r, size_t i)
{
	return r != NULL && i < r->count ? r->times[i] : 0;
}

size_t
dyn_result_siblings(const dyn_result *r)
{
	return r != NULL ? r->siblings : 0;
}

const dyn_context *
dyn_result_context(const dyn_result *r)
{
	return r != NULL ? r->context : NULL;
}

const struct dyn_receipt *
dyn_result_receipt(const dyn_result *r)
{
	static const struct dyn_receipt none;

	return r != NULL ? &r->receipt : &none;
}

/* Room for count values; one needs no memory of its own. */
static int
make_room(dyn_result *r, size_t count)
{
	if (count <= 1) {
		r->values = &r->one;
		r->times = &r->one_time;
		return 0;
	}
	r->values = mem_array(count, sizeof(*r->values));
	r->times = mem_array(count, sizeof(*r->times));
	return r->values != NULL && r->times != NULL ? 0 : DYN_ENOMEM;
}

/* Siblings become one value, of the latest one's time. */
static int
merge(dyn_result *r, const struct result_source *s)
{
	struct dyn_slice bucket, key;
	uint64_t latest = 0;
	int rc;

	atomic_fetch_add_explicit(&s->node->host.merges, 1, memory_order_relaxed);
	if (!name_split(buf_slice(s->op->name), &bucket, &key))
		return DYN_EINVAL;
	callback_enter();
	rc = s->merge(s->merge_arg, key, r->values, r->count, &r->made);
	callback_leave();
	if (rc != 0)
		return DYN_EMERGE;
	for (size_t i = 0; i < r->count; i++)
		latest = MAX(latest, r->times[i]);
	mem_free(r->values);
	mem_free(r->times);
	r->values = &r->one;
	r->times = &r->one_time;
	r->one = slice(r->made.data, r->made.len);
	r->one_time = latest;
	r->count = 1;
	return 0;
}

static void
count_versions(dyn_node *n, size_t siblings)
{
	if (siblings > 0)
		atomic_fetch_add_explicit(&n->host.versions[MIN(siblings, 4) - 1], 1,
		    memory_order_relaxed);
}

static int
fill_get(dyn_result *r, const struct result_source *s)
{
	uint64_t wall_ms = clock_wall_ms();
	struct object o;
	int rc;

	rc = object_decode(&o, buf_slice(s->op->object));
	if (rc == 0)
		rc = make_room(r, o.count);
	if (rc == 0)
		rc = clock_copy(&r->context->clock, &o.clock);
	if (rc != 0) {
		object_fini(&o);
		return rc;
	}
	r->hold = s->op->object != NULL ? buf_ref(s->op->object) : NULL;
	for (size_t i = 0; i < o.count; i++) {
		r->context->time = MAX(r->context->time, o.values[i].time);
		if (!version_visible(&o.values[i], wall_ms))
			continue;
		r->values[r->count] = o.values[i].value;
		r->times[r->count++] = hlc_ms(o.values[i].time);
	}
	object_fini(&o);
	r->siblings = r->count;
	r->context->fastest = s->op->answered_first;
	count_versions(s->node, r->siblings);
	if (r->count > 1 && s->policy == DYN_MERGE && s->merge != NULL)
		return merge(r, s);
	return 0;
}

/* The context of a write: what it was given and the version it made. */
static int
fill_put(dyn_result *r, const struct result_source *s)
{
	int rc;

	(void)make_room(r, 0);
	rc = clock_copy(&r->context->clock, &s->op->context);
	if (rc == 0 && s->op->dot.counter != 0)
		rc = clock_add(&r->context->clock, s->op->dot);
	r->context->fastest = load_be64(s->op->receipt.coordinator.bytes);
	r->context->time = MAX(s->op->after, s->op->time);
	return rc;
}

/* The write is done, only its result is lost: that is not "not applied". */
static int
result_lost(const struct op *op, int rc)
{
	return op->kind == OP_GET ? rc : DYN_EUNKNOWN;
}

int
result_make(dyn_result **out, const struct result_source *s)
{
	const struct op *op = s->op;
	bool wanted = op->rc == 0 || (op->kind != OP_GET && op->rc == DYN_EUNKNOWN);
	struct digest key;
	dyn_result *r;
	int rc;

	*out = NULL;
	if (!wanted)
		return op->rc;
	r = mem_zalloc(sizeof(*r));
	if (r == NULL)
		return result_lost(op, DYN_ENOMEM);
	memcpy(key.b, op->name->data, sizeof(key.b));
	r->receipt = op->receipt;
	rc = context_new(&r->context, load_be64(s->node->ring.ring_id.bytes), &key,
	    s->node->ring.secret);
	if (rc == 0)
		rc = op->kind == OP_GET ? fill_get(r, s) : fill_put(r, s);
	if (rc != 0) {
		dyn_result_free(r);
		return result_lost(op, rc);
	}
	*out = r;
	return op->rc;
}
