/*
 * The small public functions that need no node: slices, buffers, errors, ids,
 * and the checker of merge callbacks.
 */
#include "base/base.h"

#include <stdio.h>

struct dyn_slice
dyn_str(const char *s)
{
	return slice(s, s != NULL ? strlen(s) : 0);
}

int
dyn_buffer_append(struct dyn_buffer *b, const void *data, size_t len)
{
	unsigned char *bigger;
	size_t cap;

	if (b == NULL || (data == NULL && len > 0))
		return DYN_EINVAL;
	if (len == 0)
		return 0;
	if (len > SIZE_MAX - b->len)
		return DYN_ENOMEM;
	if (len > b->cap - b->len) {
		cap = MAX(b->len + len, b->cap <= SIZE_MAX / 2 ? b->cap * 2 : 0);
		bigger = mem_realloc(b->data, MAX(cap, 64));
		if (bigger == NULL)
			return DYN_ENOMEM;
		b->data = bigger;
		b->cap = MAX(cap, 64);
	}
	memcpy(b->data + b->len, data, len);
	b->len += len;
	return 0;
}

void
dyn_buffer_free(struct dyn_buffer *b)
{
	if (b == NULL)
		return;
	mem_free(b->data);
	memset(b, 0, sizeof(*b));
}

const char *
dyn_strerror(int code)
{
	switch (code) {
	case DYN_OK:
		return "success";
#define X(name, number, text)                                                  \
	case name:                                                             \
		return text;
	DYN_ERRORS(X)
#undef X
	default:
		return "unknown error";
	}
}

const char *
dyn_version(void)
{
	return DYN_VERSION_STRING;
}

void
dyn_id_format(struct dyn_id id, char text[33])
{
	for (size_t i = 0; i < sizeof(id.bytes); i++)
		snprintf(text + 2 * i, 3, "%02x", id.bytes[i]);
}

static int
hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

int
dyn_id_parse(struct dyn_id *out, const char *text)
{
	struct dyn_id id;

	if (out == NULL || text == NULL || strnlen(text, 33) != 32)
		return DYN_EINVAL;
	for (size_t i = 0; i < sizeof(id.bytes); i++) {
		int high = hex_digit(text[2 * i]), low = hex_digit(text[2 * i + 1]);

		if (high < 0 || low < 0)
			return DYN_EINVAL;
		id.bytes[i] = (unsigned char)(high << 4 | low);
	}
	*out = id;
	return 0;
}

/* --------------------------------------------------------- the merge checker */

#define SAMPLES_MAX 32

struct checker {
	dyn_merge *merge;
	void *arg;
	struct dyn_slice key;
	const struct dyn_slice *samples;
	size_t count;
	struct dyn_buffer *pairs; /* [i * count + j]: samples i and j merged */
	struct dyn_error *error;
};

static struct dyn_slice
bytes_of(const struct dyn_buffer *b)
{
	return slice(b->data, b->len);
}

/* Merge into out, which is emptied first. */
static int
merge_all(const struct checker *c, const struct dyn_slice *values, size_t count,
    struct dyn_buffer *out)
{
	int rc;

	out->len = 0;
	rc = c->merge(c->arg, c->key, values, count, out);
	if (rc == 0)
		return 0;
	if (rc == DYN_ENOMEM)
		return error_set(c->error, DYN_ENOMEM, "the callback ran out of memory");
	return error_set(c->error, DYN_EMERGE, "the callback refused to merge: it returned %d", rc);
}

static int
merge_two(const struct checker *c, struct dyn_slice a, struct dyn_slice b, struct dyn_buffer *out)
{
	struct dyn_slice both[2] = { a, b };

	return merge_all(c, both, 2, out);
}

static struct dyn_slice
pair(const struct checker *c, size_t i, size_t j)
{
	return bytes_of(&c->pairs[i * c->count + j]);
}

static int
check_pairs(const struct checker *c)
{
	int rc;

	for (size_t i = 0; i < c->count; i++)
		for (size_t j = 0; j < c->count; j++) {
			rc = merge_two(c, c->samples[i], c->samples[j],
			    &c->pairs[i * c->count + j]);
			if (rc != 0)
				return rc;
		}
	for (size_t i = 0; i < c->count; i++)
		for (size_t j = 0; j < i; j++)
			if (!slice_equal(pair(c, i, j), pair(c, j, i)))
				return error_set(c->error, DYN_EMERGE,
				    "not commutative: samples %zu and %zu give another value "
				    "in the other order", j, i);
	return 0;
}

/*
 * A merge may write a value in another form than it was given (sorted, say), so
 * merging a sample with itself need not give the same bytes.  But merging the
 * outcome again, with itself or with a sample it was made of, must.
 */
static int
check_idempotence(const struct checker *c, size_t i, size_t j, struct dyn_buffer *out)
{
	struct dyn_slice once = pair(c, i, j);
	struct dyn_slice again[2] = { once, c->samples[i] };
	int rc;

	for (size_t k = 0; k < 2; k++) {
		rc = merge_two(c, once, again[k], out);
		if (rc != 0)
			return rc;
		if (!slice_equal(once, bytes_of(out)))
			return error_set(c->error, DYN_EMERGE,
			    "not idempotent: samples %zu and %zu merged change when merged "
			    "again with %s", i, j, k == 0 ? "themselves" : "the first");
	}
	return 0;
}

/* (i j) k, i (j k) and i j k at once must be the same. */
static int
check_triple(const struct checker *c, size_t i, size_t j, size_t k, struct dyn_buffer *left,
    struct dyn_buffer *right)
{
	struct dyn_slice all[3] = { c->samples[i], c->samples[j], c->samples[k] };
	int rc;

	rc = merge_two(c, pair(c, i, j), c->samples[k], left);
	if (rc == 0)
		rc = merge_two(c, c->samples[i], pair(c, j, k), right);
	if (rc != 0)
		return rc;
	if (!slice_equal(bytes_of(left), bytes_of(right)))
		return error_set(c->error, DYN_EMERGE,
		    "not associative: samples %zu, %zu and %zu", i, j, k);
	rc = merge_all(c, all, 3, right);
	if (rc != 0)
		return rc;
	if (!slice_equal(bytes_of(left), bytes_of(right)))
		return error_set(c->error, DYN_EMERGE,
		    "samples %zu, %zu and %zu merged at once differ from merging them in pairs",
		    i, j, k);
	return 0;
}

static int
check_laws(const struct checker *c)
{
	struct dyn_buffer left = { 0 }, right = { 0 };
	size_t n = c->count;
	int rc = check_pairs(c);

	for (size_t i = 0; rc == 0 && i < n * n; i++)
		rc = check_idempotence(c, i / n, i % n, &left);
	for (size_t i = 0; rc == 0 && i < n * n * n; i++)
		rc = check_triple(c, i / n / n, i / n % n, i % n, &left, &right);
	dyn_buffer_free(&left);
	dyn_buffer_free(&right);
	return rc;
}

int
dyn_merge_check(dyn_merge *merge, void *arg, struct dyn_slice key,
    const struct dyn_slice *samples, size_t count, struct dyn_error *error)
{
	struct checker c = { merge, arg, key, samples, MIN(count, SAMPLES_MAX), NULL, error };
	int rc;

	if (merge == NULL || samples == NULL || count < 2)
		return error_set(error, DYN_EINVAL, "a callback and two samples are needed");
	c.pairs = mem_array(c.count * c.count, sizeof(*c.pairs));
	if (c.pairs == NULL)
		return error_set(error, DYN_ENOMEM, "out of memory");
	rc = check_laws(&c);
	for (size_t i = 0; i < c.count * c.count; i++)
		dyn_buffer_free(&c.pairs[i]);
	mem_free(c.pairs);
	return rc != 0 ? rc : error_set(error, 0, "the callback keeps the laws");
}
