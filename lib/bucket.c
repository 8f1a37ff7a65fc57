/* Buckets: a name and a policy on this side only. */
#include "node.h"

int
node_check(const dyn_node *n)
{
	if (n == NULL)
		return DYN_EINVAL;
	if (n->pid != getpid())
		return DYN_EFORKED;
	return atomic_load_explicit(&n->closing, memory_order_acquire) ? DYN_ECLOSED : 0;
}

static unsigned
or_default(unsigned value, unsigned otherwise)
{
	return value != 0 ? value : otherwise;
}

/* Fill what is zero; say what is wrong. */
static int
complete(const dyn_node *n, struct dyn_bucket_options *o)
{
	if (o->n > n->ring.n || (unsigned)o->policy > DYN_SIBLINGS ||
	    (unsigned)o->durability > DYN_DURABLE_MEMORY || o->timeout_ms > 3600000)
		return DYN_EINVAL;
	o->n = or_default(o->n, n->ring.n);
	o->r = or_default(o->r, MIN(n->r, o->n));
	o->w = or_default(o->w, MIN(n->w, o->n));
	if (o->r > o->n || o->w > o->n)
		return DYN_EINVAL;
	if (o->durability == DYN_DURABLE_DEFAULT)
		o->durability = DYN_DURABLE_DISK;
	o->timeout_ms = or_default(o->timeout_ms, n->timeout_ms);
	return 0;
}

int
dyn_bucket_open(dyn_bucket **out, dyn_node *n, const char *name,
    const struct dyn_bucket_options *options)
{
	struct dyn_bucket_options o;
	dyn_bucket *b;
	int rc;

	if (out == NULL)
		return DYN_EINVAL;
	*out = NULL;
	rc = node_check(n);
	if (rc != 0)
		return rc;
	if (name == NULL || name[0] == '\0' || strlen(name) > DYN_BUCKET_MAX)
		return DYN_EINVAL;
	memset(&o, 0, sizeof(o));
	if (options != NULL) {
		if (options->size < offsetof(struct dyn_bucket_options, n))
			return DYN_EINVAL;
		memcpy(&o, options, MIN(options->size, sizeof(o)));
	}
	rc = complete(n, &o);
	if (rc != 0)
		return rc;
	b = mem_zalloc(sizeof(*b));
	if (b == NULL)
		return DYN_ENOMEM;
	b->node = n;
	b->o = o;
	memcpy(b->name, name, strlen(name) + 1);
	pthread_mutex_lock(&n->lock);
	list_init(&b->link);
	list_add(&n->buckets, &b->link);
	pthread_mutex_unlock(&n->lock);
	*out = b;
	return 0;
}

void
dyn_bucket_close(dyn_bucket *b)
{
	if (b == NULL || b->node->pid != getpid())
		return;
	pthread_mutex_lock(&b->node->lock);
	list_remove(&b->link);
	pthread_mutex_unlock(&b->node->lock);
	mem_free(b);
}

void
dyn_preset_balanced(struct dyn_bucket_options *o, unsigned n)
{
	o->n = n;
	o->r = n / 2 + 1;
	o->w = n / 2 + 1;
}

void
dyn_preset_read_mostly(struct dyn_bucket_options *o, unsigned n)
{
	o->n = n;
	o->r = 1;
	o->w = n;
}

void
dyn_preset_always_writable(struct dyn_bucket_options *o, unsigned n)
{
	o->n = n;
	o->r = n;
	o->w = 1;
}
