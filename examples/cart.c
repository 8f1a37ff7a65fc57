/*
 * The shopping cart of the Dynamo paper (sections 1 and 4.4): to be read first.
 * Three peers form a ring inside this process.  A phone and a laptop change one
 * cart at the same time; both are accepted, and the merge callback makes one.
 *
 * The paper unites the items, and admits that removed ones come back.  Here
 * they do not: "book@phone 2 1" says that the phone added two books and removed
 * one.  Only the phone raises these counters, so the larger number is the later
 * one; merging takes it.  What was removed stays as a line of equal counters.
 */
#include <dyn.h>
#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PEERS = 3, LINES_MAX = 100 };
#define LARGER(a, b) ((a) > (b) ? (a) : (b))

struct line {
	char name[48];
	unsigned added, removed;
};
struct cart {
	struct line lines[LINES_MAX];
	size_t count;
};

static void
check(int good, const char *what)
{
	if (!good)
		errx(1, "not as it should be: %s", what);
}

/* Append the lines of a stored cart. */
static int
read_cart(struct cart *c, struct dyn_slice value)
{
	char text[8192], *p = text;
	struct line l;
	int used = 0;

	snprintf(text, sizeof(text), "%.*s", (int)value.len, (const char *)value.data);
	while (sscanf(p, "%47s %u %u\n%n", l.name, &l.added, &l.removed, &used) == 3) {
		if (c->count == LINES_MAX)
			return -1;
		c->lines[c->count++] = l;
		p += used;
	}
	return p == text + value.len ? 0 : -1;
}

static int
by_name(const void *a, const void *b)
{
	return strcmp(((const struct line *)a)->name, ((const struct line *)b)->name);
}

/* Called when a read finds siblings.  Sorted, their order does not matter. */
static int
merge(void *arg, struct dyn_slice key, const struct dyn_slice *values, size_t count,
    struct dyn_buffer *out)
{
	struct cart c = {.count = 0};
	struct line *l;
	char text[96];

	(void)arg, (void)key;
	for (size_t i = 0; i < count; i++)
		if (read_cart(&c, values[i]) != 0)
			return -1;
	qsort(c.lines, c.count, sizeof(c.lines[0]), by_name);
	for (l = c.lines; l < c.lines + c.count; l++) {
		if (l + 1 < c.lines + c.count && by_name(l, l + 1) == 0) {
			l[1].added = LARGER(l->added, l[1].added);
			l[1].removed = LARGER(l->removed, l[1].removed);
			continue;
		}
		snprintf(text, sizeof(text), "%s %u %u\n", l->name, l->added, l->removed);
		if (dyn_buffer_append(out, text, strlen(text)) != 0)
			return -1;
	}
	return 0;
}

/* Read Anna's cart through some peer, show it, compare it. */
static dyn_result *
show(dyn_bucket *carts, const char *who, const char *expected)
{
	dyn_result *r;
	struct dyn_slice v;
	char text[1024];

	check(dyn_get(carts, dyn_str("anna"), NULL, &r) == 0, "a read");
	v = dyn_result_value(r, 0);
	snprintf(text, sizeof(text), "%.*s", (int)v.len, v.len > 0 ? (char *)v.data : "");
	printf("%s: %zu version(s), the cart is\n%s", who, dyn_result_siblings(r), text);
	check(strcmp(text, expected) == 0, "the cart");
	return r;
}

/* Write Anna's cart in place of what the read r saw, and of nothing else. */
static void
write_over(dyn_bucket *carts, dyn_result *r, struct dyn_slice value)
{
	check(!dyn_put(carts, dyn_str("anna"), dyn_result_context(r), value, NULL, NULL),
	    "a write");
	dyn_result_free(r);
}

int
main(void)
{
	struct dyn_bucket_options how = DYN_BUCKET_OPTIONS_INIT;
	struct dyn_error error;
	dyn_node *node[PEERS];
	dyn_bucket *carts[PEERS];
	dyn_result *phone, *laptop, *desk;

	how.merge = merge;
	for (int i = 0; i < PEERS; i++) {
		struct dyn_options o = DYN_OPTIONS_INIT; /* no dir: kept in memory */
		o.listen = "127.0.0.1:0";
		o.seeds = i > 0 ? dyn_address(node[0]) : NULL;
		check(dyn_open(&node[i], &o, &error) == 0, error.text);
		check(!dyn_bucket_open(&carts[i], node[i], "carts", &how), "a bucket");
	}
	write_over(carts[0], show(carts[0], "phone", ""), dyn_str("book@phone 1 0\n"));

	/* Both devices read the same cart, and write with what they have seen. */
	phone = show(carts[0], "phone", "book@phone 1 0\n");
	laptop = show(carts[1], "laptop", "book@phone 1 0\n");
	write_over(carts[0], phone, dyn_str("book@phone 1 1\npen@phone 2 0\n"));
	write_over(carts[1], laptop, dyn_str("book@phone 1 0\nlamp@laptop 1 0\n"));

	/* Neither saw the other: two versions, merged: no book, two pens, a lamp. */
	desk = show(carts[2], "desk", "book@phone 1 1\nlamp@laptop 1 0\npen@phone 2 0\n");
	check(dyn_result_siblings(desk) == 2, "two versions before the merge");

	/* Written back with its context, the merged cart replaces both. */
	write_over(carts[2], desk, dyn_result_value(desk, 0));
	desk = show(carts[0], "end", "book@phone 1 1\nlamp@laptop 1 0\npen@phone 2 0\n");
	check(dyn_result_siblings(desk) == 1, "one version after it");
	dyn_result_free(desk);
	for (int i = 0; i < PEERS; i++)
		check(dyn_close(node[i], 1000) == 0, "a clean close");
	return 0;
}
