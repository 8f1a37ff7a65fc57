/*
 * get, put, delete: from the application's thread to a worker and back.
 *
 * A call is made on the caller's thread (arguments checked and copied), given
 * to the worker that owns the key's partition, and ends in calls_done on that
 * worker's thread.  Then a blocking caller is woken, or the callback runs
 * there, or the call is put where dyn_dispatch finds it.
 */
#include "calls.h"

#include <semaphore.h>
#include <sys/eventfd.h>

#define FLAGS_ALL (DYN_STRICT | DYN_OVERWRITE | DYN_HERE)

/* ---------------------------------------------------------------- making */

static void
call_free(struct call *c)
{
	if (c == NULL)
		return;
	op_free(c->op);
	mem_free(c);
}

/* The numbers of the call: the caller's, or else the bucket's. */
static int
set_policy(struct op *op, const dyn_bucket *b, const struct dyn_call *given)
{
	static const struct dyn_call none;
	const struct dyn_call *k = given != NULL ? given : &none;

	if (k->r > b->o.n || k->w > b->o.n || k->zone_w > b->o.n || k->timeout_ms > 3600000 ||
	    (k->flags & ~(unsigned)FLAGS_ALL) != 0 ||
	    (unsigned)k->durability > DYN_DURABLE_MEMORY)
		return DYN_EINVAL;
	op->n = (uint8_t)b->o.n;
	op->r = (uint8_t)(k->r != 0 ? k->r : b->o.r);
	op->w = (uint8_t)(k->w != 0 ? k->w : b->o.w);
	op->zone_w = (uint8_t)MAX(k->zone_w, 1u);
	op->timeout_ms = k->timeout_ms != 0 ? k->timeout_ms : b->o.timeout_ms;
	op->durability =
	    k->durability != DYN_DURABLE_DEFAULT ? k->durability : b->o.durability;
	op->flags = k->flags;
	op->expiry_ms = k->expiry_ms != 0 ? k->expiry_ms : b->o.expiry_ms;
	op->lww = b->o.policy == DYN_LWW;
	return 0;
}

static int
set_context(struct op *op, const dyn_node *n, const dyn_context *context)
{
	struct digest key;
	int rc;

	if (context == NULL)
		return 0;
	memcpy(key.b, op->name->data, sizeof(key.b));
	rc = context_check(context, load_be64(n->ring.ring_id.bytes), &key, n->ring.secret);
	if (rc != 0)
		return rc;
	op->has_context = true;
	op->fastest = context->fastest;
	op->after = context->time;
	return clock_copy(&op->context, &context->clock);
}

static int
set_value(struct op *op, const dyn_node *n, struct dyn_slice value)
{
	if (value.data == NULL && value.len > 0)
		return DYN_EINVAL;
	if (value.len > n->value_max)
		return DYN_ETOOBIG;
	op->value = buf_copy(value.data, value.len);
	return op->value != NULL ? 0 : DYN_ENOMEM;
}

static int
fill(struct call *c, const dyn_bucket *b, const struct call_args *a)
{
	struct op *op = c->op;
	int rc;

	op->kind = a->kind;
	op->call = c;
	rc = set_policy(op, b, a->call);
	if (rc == 0)
		rc = name_make((enum dyn_hash)b->node->ring.hash, dyn_str(b->name), a->key,
		    &op->name);
	if (rc == 0)
		rc = set_context(op, b->node, a->context);
	if (rc == 0)
		rc = set_value(op, b->node, a->value);
	if (rc != 0)
		return rc;
	if ((op->flags & DYN_HERE) != 0 &&
	    (op->kind != OP_GET || b->node->host.role == DYN_CLIENT))
		return DYN_EINVAL;
	if (op->kind == OP_DELETE && !op->has_context && !op->lww &&
	    (op->flags & DYN_OVERWRITE) == 0)
		return DYN_EINVAL;
	return 0;
}

static int
check_args(const dyn_bucket *b, const struct call_args *a)
{
	int rc = b != NULL ? node_check(b->node) : DYN_EINVAL;

	if (rc == 0)
		rc = atomic_load_explicit(&b->node->host.failed, memory_order_acquire);
	if (rc != 0)
		return rc;
	if (a->key.data == NULL || a->key.len == 0)
		return DYN_EINVAL;
	return a->key.len > DYN_KEY_MAX ? DYN_ETOOBIG : 0;
}

/* Count the call against the node's memory before it takes any. */
static int
reserve(dyn_node *n, struct call *c, const struct call_args *a)
{
	size_t before;

	c->bytes = sizeof(*c) + sizeof(struct op) + a->key.len + a->value.len;
	before = atomic_fetch_add_explicit(&n->bytes, c->bytes, memory_order_relaxed);
	if (before + c->bytes <= n->host.memory_max)
		return 0;
	atomic_fetch_sub_explicit(&n->bytes, c->bytes, memory_order_relaxed);
	return DYN_EBUSY;
}

int
call_new(struct call **out, dyn_bucket *b, const struct call_args *a)
{
	struct call *c;
	int rc;

	*out = NULL;
	rc = check_args(b, a);
	if (rc != 0)
		return rc;
	c = mem_zalloc(sizeof(*c));
	if (c == NULL)
		return DYN_ENOMEM;
	c->op = mem_zalloc(sizeof(*c->op));
	rc = c->op != NULL ? reserve(b->node, c, a) : DYN_ENOMEM;
	if (rc != 0) {
		call_free(c);
		return rc;
	}
	c->node = b->node;
	c->policy = b->o.policy;
	c->merge = b->o.merge;
	c->merge_arg = b->o.arg;
	rc = fill(c, b, a);
	if (rc != 0) {
		atomic_fetch_sub_explicit(&b->node->bytes, c->bytes, memory_order_relaxed);
		call_free(c);
		return rc;
	}
	*out = c;
	return 0;
}

static void
submit(struct call *c)
{
	dyn_node *n = c->node;
	struct op *op = c->op;
	unsigned p = name_partition(buf_slice(op->name), n->ring.partitions);

	c->op = NULL; /* the worker's until calls_done */
	worker_op(n->host.workers[p % n->host.workers_count], op);
}

/* ---------------------------------------------------------------- ending */

static _Thread_local unsigned callbacks_entered;

void
callback_enter(void)
{
	callbacks_entered++;
}

void
callback_leave(void)
{
	callbacks_entered--;
}

bool
callback_inside(void)
{
	return callbacks_entered > 0 || loop_inside_any();
}

static int
make_result(struct call *c, dyn_result **out)
{
	struct result_source s = { c->node, c->op, c->policy, c->merge, c->merge_arg };

	return result_make(out, &s);
}

/* The callback, once; the call is gone after it. */
static void
call_back(struct call *c)
{
	dyn_result *result;
	int rc = make_result(c, &result);

	callback_enter();
	c->done(c->arg, rc, result);
	callback_leave();
	call_free(c);
}

static void
make_due(struct call *c)
{
	dyn_node *n = c->node;
	struct call *head = atomic_load_explicit(&n->due, memory_order_relaxed);
	uint64_t one = 1;
	ssize_t written;

	do {
		c->next = head;
	} while (!atomic_compare_exchange_weak_explicit(&n->due, &head, c,
	    memory_order_release, memory_order_relaxed));
	if (head != NULL)
		return;
	written = write(n->due_fd, &one, sizeof(one));
	(void)written;
}

void
calls_done(void *node, struct op *op)
{
	struct call *c = op->call;
	dyn_node *n = node;

	atomic_fetch_sub_explicit(&n->bytes, c->bytes, memory_order_relaxed);
	c->op = op;
	if (c->done == NULL)
		sem_post(&c->ended);
	else if (n->callbacks == DYN_ON_DISPATCH)
		make_due(c);
	else
		call_back(c);
}

static int
run_due(dyn_node *n)
{
	struct call *stack, *queue = NULL, *next;
	int count = 0;

	stack = atomic_exchange_explicit(&n->due, NULL, memory_order_acquire);
	for (; stack != NULL; stack = next) {
		next = stack->next;
		stack->next = queue;
		queue = stack;
	}
	for (; queue != NULL; queue = next) {
		next = queue->next;
		call_back(queue);
		count++;
	}
	return count;
}

void
calls_dispatch_all(dyn_node *n)
{
	while (run_due(n) > 0)
		continue;
}

int
dyn_fd(dyn_node *n)
{
	int rc = node_check(n);

	if (rc != 0)
		return rc;
	return n->callbacks == DYN_ON_DISPATCH ? n->due_fd : DYN_EINVAL;
}

int
dyn_dispatch(dyn_node *n)
{
	int rc = node_check(n);
	uint64_t wakes;
	ssize_t got;

	if (rc != 0)
		return rc;
	if (n->callbacks != DYN_ON_DISPATCH)
		return DYN_EINVAL;
	if (callback_inside())
		return DYN_EDEADLK;
	/* First the descriptor, then the stack: what comes in between makes it
	 * readable again. */
	got = read(n->due_fd, &wakes, sizeof(wakes));
	(void)got;
	return run_due(n);
}

/* ----------------------------------------------------------------- calling */

int
call_async(dyn_bucket *b, const struct call_args *a, dyn_done *done, void *arg)
{
	struct call *c;
	int rc;

	if (done == NULL)
		return DYN_EINVAL;
	rc = call_new(&c, b, a);
	if (rc != 0)
		return rc;
	c->done = done;
	c->arg = arg;
	submit(c);
	return 0;
}

int
call_wait(dyn_bucket *b, const struct call_args *a, dyn_result **out)
{
	struct call *c;
	int rc;

	if (out != NULL)
		*out = NULL;
	if (callback_inside())
		return DYN_EDEADLK;
	rc = call_new(&c, b, a);
	if (rc != 0)
		return rc;
	sem_init(&c->ended, 0, 0);
	submit(c);
	while (sem_wait(&c->ended) != 0)
		continue; /* a signal of the application's */
	sem_destroy(&c->ended);
	rc = out != NULL ? make_result(c, out) : c->op->rc;
	call_free(c);
	return rc;
}

int
dyn_get(dyn_bucket *b, struct dyn_slice key, const struct dyn_call *call, dyn_result **out)
{
	struct call_args a = { .kind = OP_GET, .key = key, .call = call };

	return out != NULL ? call_wait(b, &a, out) : DYN_EINVAL;
}

int
dyn_put(dyn_bucket *b, struct dyn_slice key, const dyn_context *context, struct dyn_slice value,
    const struct dyn_call *call, dyn_result **out)
{
	struct call_args a = { OP_PUT, key, context, value, call };

	return call_wait(b, &a, out);
}

int
dyn_delete(dyn_bucket *b, struct dyn_slice key, const dyn_context *context,
    const struct dyn_call *call, dyn_result **out)
{
	struct call_args a = { .kind = OP_DELETE, .key = key, .context = context, .call = call };

	return call_wait(b, &a, out);
}

int
dyn_get_async(dyn_bucket *b, struct dyn_slice key, const struct dyn_call *call, dyn_done *done,
    void *arg)
{
	struct call_args a = { .kind = OP_GET, .key = key, .call = call };

	return call_async(b, &a, done, arg);
}

int
dyn_put_async(dyn_bucket *b, struct dyn_slice key, const dyn_context *context,
    struct dyn_slice value, const struct dyn_call *call, dyn_done *done, void *arg)
{
	struct call_args a = { OP_PUT, key, context, value, call };

	return call_async(b, &a, done, arg);
}

int
dyn_delete_async(dyn_bucket *b, struct dyn_slice key, const dyn_context *context,
    const struct dyn_call *call, dyn_done *done, void *arg)
{
	struct call_args a = { .kind = OP_DELETE, .key = key, .context = context, .call = call };

	return call_async(b, &a, done, arg);
}
