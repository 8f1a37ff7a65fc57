/* Nodes, buckets and values for tests of the public calls. */
#include "api.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

dyn_node *
api_open(const struct dyn_options *o)
{
	struct dyn_error error = {0};
	dyn_node *n = NULL;
	int rc = dyn_open(&n, o, &error);

	ck_assert_msg(rc == 0, "dyn_open: %d %s", rc, error.text);
	ck_assert_int_eq(error.code, 0);
	ck_assert_ptr_nonnull(n);
	return n;
}

dyn_node *
api_local(const char *dir)
{
	struct dyn_options o = DYN_OPTIONS_INIT;

	o.role = DYN_LOCAL;
	o.dir = dir;
	return api_open(&o);
}

dyn_node *
api_peer(const char *dir)
{
	struct dyn_options o = DYN_OPTIONS_INIT;

	o.dir = dir;
	o.listen = "127.0.0.1:0";
	o.n = 1;
	return api_open(&o);
}

void
api_close(dyn_node *n)
{
	ck_assert_int_eq(dyn_close(n, 5000), 0);
}

dyn_bucket *
api_bucket(dyn_node *n, const char *name, enum dyn_policy policy, dyn_merge *merge)
{
	struct dyn_bucket_options o = DYN_BUCKET_OPTIONS_INIT;
	dyn_bucket *b = NULL;

	o.policy = policy;
	o.merge = merge;
	ck_assert_int_eq(dyn_bucket_open(&b, n, name, &o), 0);
	return b;
}

static dyn_context *
take_context(dyn_result *r)
{
	dyn_context *c;

	ck_assert_int_eq(dyn_context_copy(&c, dyn_result_context(r)), 0);
	dyn_result_free(r);
	return c;
}

dyn_context *
api_put(dyn_bucket *b, const char *key, const dyn_context *context, const char *value)
{
	dyn_result *r = NULL;

	ck_assert_int_eq(dyn_put(b, dyn_str(key), context, dyn_str(value), NULL, &r), 0);
	return take_context(r);
}

dyn_result *
api_get(dyn_bucket *b, const char *key)
{
	dyn_result *r = NULL;

	ck_assert_int_eq(dyn_get(b, dyn_str(key), NULL, &r), 0);
	return r;
}

dyn_context *
api_context(dyn_bucket *b, const char *key)
{
	return take_context(api_get(b, key));
}

static int
by_text(const void *a, const void *b)
{
	const struct dyn_slice *x = a, *y = b;

	return slice_compare(*x, *y);
}

const char *
api_values(dyn_bucket *b, const char *key)
{
	static char texts[4][4096];
	static unsigned next;
	char *text = texts[next++ % ARRAY_LEN(texts)];
	struct dyn_slice values[64];
	dyn_result *r = api_get(b, key);
	size_t count = dyn_result_count(r), len = 0;

	ck_assert_uint_le(count, ARRAY_LEN(values));
	for (size_t i = 0; i < count; i++)
		values[i] = dyn_result_value(r, i);
	qsort(values, count, sizeof(values[0]), by_text);
	text[0] = '\0';
	for (size_t i = 0; i < count; i++)
		len += (size_t)snprintf(text + len, sizeof(texts[0]) - len, "%s%.*s",
		    i > 0 ? "|" : "", (int)values[i].len, (const char *)values[i].data);
	ck_assert_uint_lt(len, sizeof(texts[0]));
	dyn_result_free(r);
	return text;
}

/* ------------------------------------------------------------------- merge */

static bool
has_word(const struct dyn_slice *words, size_t count, struct dyn_slice word)
{
	for (size_t i = 0; i < count; i++)
		if (slice_equal(words[i], word))
			return true;
	return false;
}

int
api_union(void *arg, struct dyn_slice key, const struct dyn_slice *values, size_t count,
    struct dyn_buffer *out)
{
	struct dyn_slice words[128];
	size_t n = 0;

	(void)arg;
	(void)key;
	for (size_t i = 0; i < count; i++) {
		const char *p = values[i].data, *end = p + values[i].len;

		for (const char *word = p; p <= end && n < ARRAY_LEN(words); p++) {
			if (p < end && *p != '|')
				continue;
			if (!has_word(words, n, slice(word, (size_t)(p - word))))
				words[n++] = slice(word, (size_t)(p - word));
			word = p + 1;
		}
	}
	qsort(words, n, sizeof(words[0]), by_text);
	for (size_t i = 0; i < n; i++)
		if ((i > 0 && dyn_buffer_append(out, "|", 1) != 0) ||
		    dyn_buffer_append(out, words[i].data, words[i].len) != 0)
			return DYN_ENOMEM;
	return 0;
}

/* ----------------------------------------------------------------- counting */

static unsigned
count_entries(const char *path)
{
	DIR *d = opendir(path);
	unsigned count = 0;

	ck_assert_ptr_nonnull(d);
	while (readdir(d) != NULL)
		count++;
	closedir(d);
	return count;
}

unsigned
api_files(void)
{
	return count_entries("/proc/self/fd");
}

unsigned
api_threads(void)
{
	return count_entries("/proc/self/task");
}

/* ----------------------------------------------------------------- callbacks */

void
api_done(void *arg, int rc, dyn_result *result)
{
	struct api_call *c = arg;

	c->rc = rc;
	c->result = result;
	atomic_fetch_add(&c->calls, 1);
}

int
api_wait(struct api_call *c)
{
	TEST_WAIT(atomic_load(&c->calls) > 0, 20000);
	ck_assert_int_eq(atomic_load(&c->calls), 1);
	dyn_result_free(c->result);
	c->result = NULL;
	atomic_store(&c->calls, 0);
	return c->rc;
}
