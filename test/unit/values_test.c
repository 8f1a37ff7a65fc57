/*
 * Goal: what one node promises about values: contexts replace what they cover
 * and nothing else, three policies, merges, updates, deletes, expiry, limits,
 * durability; contexts that are truncated, forged or foreign overwrite
 * nothing; a restart loses nothing and repeats no event.
 * Method: a local store, each behaviour by its public calls.
 */
#include "api.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define CALL(...) (&(struct dyn_call){__VA_ARGS__})

/* ----------------------------------------------------------------- contexts */

START_TEST(contexts_replace_what_they_cover)
{
	dyn_node *n = api_local(NULL);
	dyn_bucket *b = api_bucket(n, "b", DYN_SIBLINGS, NULL);
	dyn_context *first = api_put(b, "k", NULL, "1"), *two, *both, *none;

	ck_assert_str_eq(api_values(b, "k"), "1");
	two = api_put(b, "k", first, "2");
	ck_assert_str_eq(api_values(b, "k"), "2");
	/* The old context covers 1 only: 2 stays. */
	dyn_context_free(api_put(b, "k", first, "3"));
	ck_assert_str_eq(api_values(b, "k"), "2|3");
	dyn_context_free(api_put(b, "k", NULL, "4"));
	ck_assert_str_eq(api_values(b, "k"), "2|3|4");
	dyn_context_free(api_put(b, "k", two, "5"));
	ck_assert_str_eq(api_values(b, "k"), "3|4|5");
	both = api_context(b, "k");
	dyn_context_free(api_put(b, "k", both, "6"));
	ck_assert_str_eq(api_values(b, "k"), "6");
	/* The same context again: a sibling, since it has not seen 6. */
	dyn_context_free(api_put(b, "k", both, "7"));
	ck_assert_str_eq(api_values(b, "k"), "6|7");
	/* A context of a key that is not there covers nothing. */
	none = api_context(b, "other");
	dyn_context_free(api_put(b, "other", NULL, "1"));
	dyn_context_free(api_put(b, "other", none, "2"));
	ck_assert_str_eq(api_values(b, "other"), "1|2");
	dyn_context_free(first);
	dyn_context_free(two);
	dyn_context_free(both);
	dyn_context_free(none);
	api_close(n);
}
END_TEST

/* The same context over bytes. */
static dyn_context *
through_bytes(const dyn_context *c)
{
	unsigned char bytes[4096];
	dyn_context *out;
	size_t len;

	ck_assert_int_eq(dyn_context_encode(c, bytes, sizeof(bytes), &len), 0);
	ck_assert_int_eq(dyn_context_decode(&out, bytes, len), 0);
	return out;
}

static void
context_refused(dyn_bucket *b, const char *key, const dyn_context *c)
{
	dyn_result *r = (dyn_result *)&r;

	ck_assert_int_eq(
	    dyn_put(b, dyn_str(key), c, dyn_str("no"), NULL, &r), DYN_ECONTEXT);
	ck_assert_ptr_null(r);
	ck_assert_int_eq(dyn_delete(b, dyn_str(key), c, NULL, NULL), DYN_ECONTEXT);
	ck_assert_int_eq(
	    dyn_put_async(b, dyn_str(key), c, dyn_str("no"), NULL, api_done, NULL),
	    DYN_ECONTEXT);
	ck_assert_int_eq(
	    dyn_delete_async(b, dyn_str(key), c, NULL, api_done, NULL), DYN_ECONTEXT);
}

START_TEST(foreign_contexts)
{
	dyn_node *n = api_local(NULL), *other = api_local(NULL);
	dyn_bucket *b = api_bucket(n, "b", DYN_SIBLINGS, NULL);
	dyn_bucket *c = api_bucket(n, "c", DYN_SIBLINGS, NULL);
	dyn_bucket *o = api_bucket(other, "b", DYN_SIBLINGS, NULL);
	dyn_context *seen = api_put(b, "k", NULL, "1"), *bytes = through_bytes(seen);
	const dyn_context *both[2] = {seen, bytes};

	dyn_context_free(api_put(o, "k", NULL, "1"));
	for (int i = 0; i < 2; i++) {
		context_refused(b, "other", both[i]); /* key */
		context_refused(c, "k", both[i]);     /* bucket */
		context_refused(o, "k", both[i]);     /* ring */
	}
	ck_assert_str_eq(api_values(o, "k"), "1");
	dyn_context_free(api_put(b, "k", bytes, "2"));
	ck_assert_str_eq(api_values(b, "k"), "2");
	api_close(n);
	api_close(other);
	dyn_context_free(seen); /* they need no node */
	dyn_context_free(bytes);
}
END_TEST

/* No change of a bit is taken: refused at once, or by the call. */
START_TEST(forged_contexts)
{
	dyn_node *n = api_local(NULL);
	dyn_bucket *b = api_bucket(n, "b", DYN_SIBLINGS, NULL);
	dyn_context *seen = api_put(b, "k", NULL, "1"), *forged;
	unsigned char bytes[1024];
	size_t len;

	ck_assert_int_eq(dyn_context_encode(seen, bytes, sizeof(bytes), &len), 0);
	for (size_t bit = 0; bit < 8 * len; bit++) {
		int rc;

		bytes[bit / 8] ^= (unsigned char)(1 << bit % 8);
		rc = dyn_context_decode(&forged, bytes, len);
		ck_assert(rc == 0 || rc == DYN_ECONTEXT || rc == DYN_EVERSION);
		if (rc == 0)
			context_refused(b, "k", forged);
		dyn_context_free(forged);
		bytes[bit / 8] ^= (unsigned char)(1 << bit % 8);
	}
	ck_assert_str_eq(api_values(b, "k"), "1");
	dyn_context_free(seen);
	api_close(n);
}
END_TEST

/* ------------------------------------------------------------------ policies */

START_TEST(last_write_wins)
{
	dyn_node *n = api_local(NULL);
	dyn_bucket *b = api_bucket(n, "b", DYN_LWW, NULL);
	dyn_result *r;
	uint64_t time;
	dyn_context *old;

	for (int i = 0; i < 20; i++)
		dyn_context_free(api_put(b, "k", NULL, i % 2 ? "a" : "b"));
	ck_assert_str_eq(api_values(b, "k"), "a");
	r = api_get(b, "k");
	time = dyn_result_time(r, 0);
	dyn_result_free(r);
	ck_assert_uint_gt(time, 1600000000000);
	/* Contexts change nothing: the later one wins. */
	old = api_context(b, "k");
	dyn_context_free(api_put(b, "k", NULL, "later"));
	dyn_context_free(api_put(b, "k", old, "latest"));
	ck_assert_str_eq(api_values(b, "k"), "latest");
	dyn_context_free(old);
	/* A delete needs no context, and is a write. */
	ck_assert_int_eq(dyn_delete(b, dyn_str("k"), NULL, NULL, NULL), 0);
	ck_assert_str_eq(api_values(b, "k"), "");
	dyn_context_free(api_put(b, "k", NULL, "again"));
	ck_assert_str_eq(api_values(b, "k"), "again");
	api_close(n);
}
END_TEST

START_TEST(merged_at_the_reader)
{
	dyn_node *n = api_local(NULL);
	dyn_bucket *b = api_bucket(n, "b", DYN_MERGE, api_union);
	dyn_bucket *raw = api_bucket(n, "b", DYN_SIBLINGS, NULL);
	struct dyn_stats s = DYN_STATS_INIT;
	dyn_result *r;

	dyn_context_free(api_put(b, "k", NULL, "x|z"));
	dyn_context_free(api_put(b, "k", NULL, "y"));
	dyn_context_free(api_put(b, "k", NULL, "z"));
	r = api_get(b, "k");
	ck_assert_uint_eq(dyn_result_count(r), 1);
	ck_assert_uint_eq(dyn_result_siblings(r), 3);
	ck_assert_uint_gt(dyn_result_time(r, 0), 0);
	ck_assert(slice_equal(dyn_result_value(r, 0), dyn_str("x|y|z")));
	/* Nothing was written. */
	ck_assert_str_eq(api_values(raw, "k"), "x|z|y|z");
	/* The context covers all three. */
	dyn_context_free(api_put(b, "k", dyn_result_context(r), "x|y|z"));
	dyn_result_free(r);
	ck_assert_str_eq(api_values(raw, "k"), "x|y|z");
	ck_assert_int_eq(dyn_stats(n, &s), 0);
	ck_assert_uint_eq(s.merges, 1);
	api_close(n);
}
END_TEST

static int
no_merge(void *arg, struct dyn_slice key, const struct dyn_slice *values, size_t count,
    struct dyn_buffer *out)
{
	(void)key;
	(void)values;
	ck_assert_uint_ge(count, 2);
	ck_assert_int_eq(dyn_buffer_append(out, "half", 4), 0);
	return *(int *)arg;
}

START_TEST(merge_that_fails)
{
	static const int codes[] = {-1, 1, DYN_ENOMEM, DYN_EIO};
	struct dyn_bucket_options o = DYN_BUCKET_OPTIONS_INIT;
	dyn_node *n = api_local(NULL);
	struct api_call call = {0};
	dyn_bucket *b;
	dyn_result *r;
	int code;

	o.merge = no_merge;
	o.arg = &code;
	ck_assert_int_eq(dyn_bucket_open(&b, n, "b", &o), 0);
	dyn_context_free(api_put(b, "k", NULL, "1"));
	dyn_context_free(api_put(b, "k", NULL, "2"));
	for (size_t i = 0; i < ARRAY_LEN(codes); i++) {
		code = codes[i];
		ck_assert_int_eq(dyn_get(b, dyn_str("k"), NULL, &r), DYN_EMERGE);
		ck_assert_ptr_null(r);
		ck_assert_int_eq(
		    dyn_get_async(b, dyn_str("k"), NULL, api_done, &call), 0);
		ck_assert_int_eq(api_wait(&call), DYN_EMERGE);
	}
	api_close(n);
}
END_TEST

/* ------------------------------------------------------------ delete, update */

START_TEST(deletes)
{
	dyn_node *n = api_local(NULL);
	dyn_bucket *b = api_bucket(n, "b", DYN_SIBLINGS, NULL);
	dyn_context *one = api_put(b, "k", NULL, "1"), *gone;
	dyn_result *r;

	dyn_context_free(api_put(b, "k", NULL, "2"));
	ck_assert_int_eq(dyn_delete(b, dyn_str("k"), NULL, NULL, NULL), DYN_EINVAL);
	ck_assert_int_eq(dyn_delete(b, dyn_str("k"), one, NULL, &r), 0);
	ck_assert_ptr_nonnull(dyn_result_context(r));
	dyn_result_free(r);
	ck_assert_str_eq(api_values(b, "k"), "2");
	/* Once more, and of what was never there: nothing. */
	ck_assert_int_eq(dyn_delete(b, dyn_str("k"), one, NULL, NULL), 0);
	ck_assert_str_eq(api_values(b, "k"), "2");
	ck_assert_int_eq(
	    dyn_delete(b, dyn_str("none"), NULL, CALL(.flags = DYN_OVERWRITE), NULL), 0);
	ck_assert_int_eq(
	    dyn_delete(b, dyn_str("k"), NULL, CALL(.flags = DYN_OVERWRITE), NULL), 0);
	ck_assert_str_eq(api_values(b, "k"), "");
	/* What was deleted stays so: an old put's retry is a sibling of nothing. */
	gone = api_context(b, "k");
	dyn_context_free(api_put(b, "k", one, "3"));
	ck_assert_str_eq(api_values(b, "k"), "3");
	dyn_context_free(api_put(b, "k", gone, "4"));
	ck_assert_str_eq(api_values(b, "k"), "3|4");
	dyn_context_free(one);
	dyn_context_free(gone);
	api_close(n);
}
END_TEST

START_TEST(overwrite)
{
	dyn_node *n = api_local(NULL);
	dyn_bucket *b = api_bucket(n, "b", DYN_SIBLINGS, NULL);
	struct dyn_call over = {.flags = DYN_OVERWRITE};

	for (int i = 0; i < 5; i++)
		dyn_context_free(api_put(b, "k", NULL, "x"));
	ck_assert_str_eq(api_values(b, "k"), "x|x|x|x|x");
	ck_assert_int_eq(dyn_put(b, dyn_str("k"), NULL, dyn_str("y"), &over, NULL), 0);
	ck_assert_str_eq(api_values(b, "k"), "y");
	ck_assert_int_eq(dyn_put(b, dyn_str("new"), NULL, dyn_str("z"), &over, NULL), 0);
	ck_assert_str_eq(api_values(b, "new"), "z");
	api_close(n);
}
END_TEST

static int
change_by(void *arg, struct dyn_slice key, const struct dyn_slice *value,
    struct dyn_buffer *out)
{
	int todo = *(int *)arg;
	char text[32];
	int number = 0;

	(void)key;
	if (todo != DYN_CHANGE_WRITE)
		return todo;
	if (value != NULL) {
		snprintf(text, sizeof(text), "%.*s", (int)value->len,
		    (const char *)value->data);
		number = atoi(text);
	}
	snprintf(text, sizeof(text), "%d", number + 1);
	return dyn_buffer_append(out, text, strlen(text));
}

START_TEST(updates)
{
	dyn_node *n = api_local(NULL);
	dyn_bucket *b = api_bucket(n, "b", DYN_SIBLINGS, NULL);
	int todo = DYN_CHANGE_WRITE;
	struct api_call call = {0};
	dyn_result *r;

	for (int i = 0; i < 5; i++)
		ck_assert_int_eq(
		    dyn_update(b, dyn_str("k"), change_by, &todo, NULL, NULL), 0);
	ck_assert_int_eq(dyn_update(b, dyn_str("k"), change_by, &todo, NULL, &r), 0);
	ck_assert_uint_eq(dyn_result_count(r), 1);
	ck_assert(slice_equal(dyn_result_value(r, 0), dyn_str("6")));
	dyn_context_free(api_put(b, "k", dyn_result_context(r), "7"));
	dyn_result_free(r);
	ck_assert_str_eq(api_values(b, "k"), "7");
	ck_assert_int_eq(
	    dyn_update_async(b, dyn_str("k"), change_by, &todo, NULL, api_done, &call),
	    0);
	ck_assert_int_eq(api_wait(&call), 0);
	ck_assert_str_eq(api_values(b, "k"), "8");
	todo = DYN_CHANGE_NOTHING;
	ck_assert_int_eq(dyn_update(b, dyn_str("k"), change_by, &todo, NULL, &r), 0);
	ck_assert(slice_equal(dyn_result_value(r, 0), dyn_str("8")));
	dyn_result_free(r);
	todo = DYN_EIO;
	ck_assert_int_eq(
	    dyn_update(b, dyn_str("k"), change_by, &todo, NULL, &r), DYN_EIO);
	ck_assert_ptr_null(r);
	ck_assert_int_eq(
	    dyn_update_async(b, dyn_str("k"), change_by, &todo, NULL, api_done, &call),
	    0);
	ck_assert_int_eq(api_wait(&call), DYN_EIO);
	todo = DYN_CHANGE_DELETE;
	ck_assert_int_eq(dyn_update(b, dyn_str("k"), change_by, &todo, NULL, NULL), 0);
	ck_assert_str_eq(api_values(b, "k"), "");
	ck_assert_int_eq(dyn_update(b, dyn_str("none"), change_by, &todo, NULL, NULL), 0);
	/* Siblings and nobody to merge them. */
	dyn_context_free(api_put(b, "two", NULL, "1"));
	dyn_context_free(api_put(b, "two", NULL, "2"));
	ck_assert_int_eq(
	    dyn_update(b, dyn_str("two"), change_by, &todo, NULL, &r), DYN_EMERGE);
	ck_assert_str_eq(api_values(b, "two"), "1|2");
	api_close(n);
}
END_TEST

static int
slow_change(void *arg, struct dyn_slice key, const struct dyn_slice *value,
    struct dyn_buffer *out)
{
	(void)arg;
	(void)key;
	(void)value;
	test_sleep_ms(80);
	return dyn_buffer_append(out, "x", 1);
}

/* The deadline is the call's, not of each of its halves. */
START_TEST(update_has_one_deadline)
{
	dyn_node *n = api_local(NULL);
	dyn_bucket *b = api_bucket(n, "b", DYN_SIBLINGS, NULL);
	struct dyn_call call = {.timeout_ms = 50};
	struct api_call done = {0};

	ck_assert_int_eq(
	    dyn_update(b, dyn_str("k"), slow_change, NULL, &call, NULL), DYN_ETIMEOUT);
	ck_assert_int_eq(
	    dyn_update_async(b, dyn_str("k"), slow_change, NULL, &call, api_done, &done),
	    0);
	ck_assert_int_eq(api_wait(&done), DYN_ETIMEOUT);
	ck_assert_str_eq(api_values(b, "k"), "");
	call.timeout_ms = 1000;
	ck_assert_int_eq(dyn_update(b, dyn_str("k"), slow_change, NULL, &call, NULL), 0);
	api_close(n);
}
END_TEST

/* -------------------------------------------------------------------- limits */

START_TEST(expiry)
{
	struct dyn_bucket_options o = DYN_BUCKET_OPTIONS_INIT;
	dyn_node *n = api_local(test_path(test_dir(), "data"));
	dyn_bucket *b = api_bucket(n, "b", DYN_SIBLINGS, NULL), *brief;
	uint64_t began = test_now();

	o.policy = DYN_LWW;
	o.expiry_ms = 150;
	ck_assert_int_eq(dyn_bucket_open(&brief, n, "c", &o), 0);
	ck_assert_int_eq(dyn_put(b, dyn_str("k"), NULL, dyn_str("brief"),
			     CALL(.expiry_ms = 150), NULL),
	    0);
	dyn_context_free(api_put(b, "k", NULL, "stays"));
	dyn_context_free(api_put(brief, "k", NULL, "brief"));
	if ((test_now() - began) / 1000000 < 100) { /* else it may be over */
		ck_assert_str_eq(api_values(b, "k"), "brief|stays");
		ck_assert_str_eq(api_values(brief, "k"), "brief");
	}
	ck_assert_int_eq(dyn_put(b, dyn_str("never"), NULL, dyn_str("ends"),
			     CALL(.expiry_ms = UINT64_MAX), NULL),
	    0);
	test_sleep_ms(200);
	ck_assert_str_eq(api_values(b, "never"), "ends");
	ck_assert_str_eq(api_values(b, "k"), "stays");
	ck_assert_str_eq(api_values(brief, "k"), "");
	dyn_context_free(api_put(brief, "k", NULL, "brief"));
	ck_assert_str_eq(api_values(brief, "k"), "brief");
	api_close(n);
}
END_TEST

START_TEST(limits)
{
	struct dyn_options o = DYN_OPTIONS_INIT;
	dyn_context *one;
	dyn_bucket *b;
	dyn_node *n;
	char *value = malloc(3000001);
	dyn_result *r;

	ck_assert_ptr_nonnull(value);
	memset(value, 'v', 3000001);
	o.role = DYN_LOCAL;
	o.value_max = 3000000;
	o.siblings_max = 3;
	n = api_open(&o);
	b = api_bucket(n, "b", DYN_SIBLINGS, NULL);
	ck_assert_int_eq(
	    dyn_put(b, dyn_str("k"), NULL, slice(value, 3000001), NULL, NULL),
	    DYN_ETOOBIG);
	ck_assert_int_eq(
	    dyn_put(b, dyn_str("k"), NULL, slice(value, 3000000), NULL, NULL), 0);
	r = api_get(b, "k");
	ck_assert(slice_equal(dyn_result_value(r, 0), slice(value, 3000000)));
	dyn_result_free(r);
	ck_assert_int_eq(
	    dyn_put(b, dyn_str("empty"), NULL, slice(NULL, 0), NULL, NULL), 0);
	r = api_get(b, "empty");
	ck_assert_uint_eq(dyn_result_count(r), 1);
	ck_assert_uint_eq(dyn_result_value(r, 0).len, 0);
	ck_assert_uint_eq(dyn_result_value(r, 1).len, 0);
	dyn_result_free(r);
	/* Siblings: the one that would be too many is refused, others are not. */
	one = api_put(b, "s", NULL, "1");
	dyn_context_free(api_put(b, "s", NULL, "2"));
	dyn_context_free(api_put(b, "s", NULL, "3"));
	ck_assert_int_eq(
	    dyn_put(b, dyn_str("s"), NULL, dyn_str("4"), NULL, NULL), DYN_ESIBLINGS);
	ck_assert_str_eq(api_values(b, "s"), "1|2|3");
	dyn_context_free(api_put(b, "s", one, "4"));
	ck_assert_str_eq(api_values(b, "s"), "2|3|4");
	dyn_context_free(one);
	api_close(n);
	free(value);
}
END_TEST

/* More than memory_max in flight: DYN_EBUSY, and then as before. */
START_TEST(too_much_work)
{
	enum { CALLS = 40 };
	struct dyn_options o = DYN_OPTIONS_INIT;
	struct api_call calls[CALLS] = {{0}};
	unsigned taken = 0, busy = 0;
	static char value[1 << 20];
	dyn_bucket *b;
	dyn_node *n;
	char key[16];

	o.role = DYN_LOCAL;
	o.memory_max = 16 << 20;
	o.dir = test_path(test_dir(), "data");
	n = api_open(&o);
	b = api_bucket(n, "b", DYN_SIBLINGS, NULL);
	for (unsigned i = 0; i < CALLS; i++) {
		int rc;

		snprintf(key, sizeof(key), "%u", i);
		rc = dyn_put_async(b, dyn_str(key), NULL, slice(value, sizeof(value)),
		    NULL, api_done, &calls[taken]);
		ck_assert(rc == 0 || rc == DYN_EBUSY);
		taken += rc == 0;
		busy += rc == DYN_EBUSY;
	}
	for (unsigned i = 0; i < taken; i++) {
		int rc = api_wait(&calls[i]);

		ck_assert_msg(rc == 0 || rc == DYN_EBUSY, "%s", dyn_strerror(rc));
		busy += rc == DYN_EBUSY;
	}
	ck_assert_uint_gt(busy, 0);
	dyn_context_free(api_put(b, "after", NULL, "fine"));
	ck_assert_str_eq(api_values(b, "after"), "fine");
	api_close(n);
}
END_TEST

START_TEST(durability)
{
	dyn_node *n = api_local(test_path(test_dir(), "data"));
	dyn_bucket *b = api_bucket(n, "b", DYN_SIBLINGS, NULL);
	dyn_result *r;

	for (int d = DYN_DURABLE_DISK; d <= DYN_DURABLE_MEMORY; d++) {
		ck_assert_int_eq(dyn_put(b, dyn_str("k"), NULL, dyn_str("v"),
				     CALL(.durability = (enum dyn_durability)d,
					 .flags = DYN_OVERWRITE),
				     &r),
		    0);
		ck_assert_uint_eq(dyn_result_receipt(r)->owners, 1);
		ck_assert_uint_eq(dyn_result_receipt(r)->machines, 1);
		ck_assert_uint_eq(dyn_result_receipt(r)->on_disk, d == DYN_DURABLE_DISK);
		ck_assert_mem_eq(
		    dyn_result_receipt(r)->coordinator.bytes, dyn_self(n).bytes, 16);
		dyn_result_free(r);
	}
	api_close(n);
}
END_TEST

/* ------------------------------------------------------------------ lifetimes */

START_TEST(results_outlive_the_node)
{
	dyn_node *n = api_local(NULL);
	dyn_bucket *b = api_bucket(n, "b", DYN_SIBLINGS, NULL);
	unsigned char bytes[1024];
	dyn_result *r;
	size_t len;

	dyn_context_free(api_put(b, "k", NULL, "1"));
	dyn_context_free(api_put(b, "k", NULL, "2"));
	r = api_get(b, "k");
	dyn_bucket_close(b);
	api_close(n);
	ck_assert_uint_eq(dyn_result_count(r), 2);
	ck_assert_uint_eq(dyn_result_value(r, 0).len, 1);
	ck_assert_uint_eq(dyn_result_receipt(r)->owners, 1);
	ck_assert_int_eq(
	    dyn_context_encode(dyn_result_context(r), bytes, sizeof(bytes), &len), 0);
	dyn_result_free(r);
}
END_TEST

/* Calls in progress need no bucket: it may be closed at once. */
START_TEST(bucket_closed_early)
{
	dyn_node *n = api_local(NULL);
	dyn_bucket *b = api_bucket(n, "b", DYN_SIBLINGS, NULL);
	struct api_call put = {0}, update = {0};
	int todo = DYN_CHANGE_WRITE;

	ck_assert_int_eq(
	    dyn_put_async(b, dyn_str("k"), NULL, dyn_str("v"), NULL, api_done, &put), 0);
	ck_assert_int_eq(
	    dyn_update_async(b, dyn_str("u"), change_by, &todo, NULL, api_done, &update),
	    0);
	dyn_bucket_close(b);
	ck_assert_int_eq(api_wait(&put), 0);
	ck_assert_int_eq(api_wait(&update), 0);
	b = api_bucket(n, "b", DYN_SIBLINGS, NULL);
	ck_assert_str_eq(api_values(b, "k"), "v");
	ck_assert_str_eq(api_values(b, "u"), "1");
	api_close(n);
}
END_TEST

/* After a clean stop, and after a crash: values are there, old contexts are
 * still good, and no event is made twice. */
static void
restarts(const char *dir, bool crash)
{
	dyn_node *n = api_local(dir);
	dyn_bucket *b = api_bucket(n, "b", DYN_SIBLINGS, NULL);
	dyn_context *old = api_put(b, "k", NULL, "1"), *kept = through_bytes(old);
	struct dyn_id id = dyn_self(n), again;
	int status;
	pid_t pid;

	api_close(n);
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		n = api_local(dir);
		b = api_bucket(n, "b", DYN_SIBLINGS, NULL);
		dyn_context_free(api_put(b, "k", NULL, "2"));
		if (crash)
			_exit(0);
		api_close(n);
		_exit(0);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	n = api_local(dir);
	b = api_bucket(n, "b", DYN_SIBLINGS, NULL);
	again = dyn_self(n);
	ck_assert_mem_eq(&id, &again, sizeof(id));
	ck_assert_str_eq(api_values(b, "k"), "1|2");
	dyn_context_free(api_put(b, "k", kept, "3"));
	ck_assert_str_eq(api_values(b, "k"), "2|3");
	dyn_context_free(api_put(b, "k", old, "4"));
	ck_assert_str_eq(api_values(b, "k"), "2|3|4");
	dyn_context_free(old);
	dyn_context_free(kept);
	api_close(n);
}

START_TEST(restart_after_close)
{
	restarts(test_path(test_dir(), "data"), false);
}
END_TEST

START_TEST(restart_after_crash)
{
	restarts(test_path(test_dir(), "data"), true);
}
END_TEST

/* An engine that forgets what it was not told to sync, once told to. */
struct forgetful {
	struct dyn_engine engine, *real;
	bool lose;
};

static int
forget_apply(void *self, const struct dyn_row *rows, size_t count, enum dyn_durability d)
{
	struct forgetful *f = self;

	if (f->lose && d != DYN_DURABLE_DISK)
		return 0;
	return f->real->apply(f->real->self, rows, count, d);
}

static int
forget_get(void *self, enum dyn_space space, struct dyn_slice id, struct dyn_buffer *out)
{
	struct forgetful *f = self;

	return f->real->get(f->real->self, space, id, out);
}

static int
forget_info(void *self, struct dyn_engine_info *info)
{
	struct forgetful *f = self;

	return f->real->info(f->real->self, info);
}

static int
forget_close(void *self)
{
	(void)self;
	return 0; /* the test's, over restarts */
}

static dyn_node *
open_forgetful(struct forgetful *f, const char *dir)
{
	struct dyn_options o = DYN_OPTIONS_INIT;

	f->engine = *f->real;
	f->engine.self = f;
	f->engine.apply = forget_apply;
	f->engine.get = forget_get;
	f->engine.info = forget_info;
	f->engine.close = forget_close;
	f->engine.idle = NULL;
	o.role = DYN_LOCAL;
	o.dir = dir;
	o.engine = &f->engine;
	return api_open(&o);
}

/*
 * A crash took an event whose context somebody holds.  The next life must not
 * make that event again: the context would cover what its holder never saw.
 */
START_TEST(no_event_is_made_twice)
{
	struct forgetful f = {.lose = false};
	const char *dir = test_path(test_dir(), "data");
	struct dyn_call weak = {.durability = DYN_DURABLE_MEMORY};
	dyn_context *lost, *first;
	dyn_bucket *b;
	dyn_result *r;
	dyn_node *n;

	ck_assert_int_eq(dyn_engine_memory(&f.real), 0);
	n = open_forgetful(&f, dir);
	b = api_bucket(n, "b", DYN_SIBLINGS, NULL);
	first = api_put(b, "k", NULL, "1");
	f.lose = true;
	ck_assert_int_eq(dyn_put(b, dyn_str("k"), first, dyn_str("2"), &weak, &r), 0);
	ck_assert_int_eq(dyn_context_copy(&lost, dyn_result_context(r)), 0);
	dyn_result_free(r);
	api_close(n);
	ck_assert_int_eq(unlink(test_path(dir, "clean")), 0); /* it was a crash */
	f.lose = false;
	n = open_forgetful(&f, dir);
	b = api_bucket(n, "b", DYN_SIBLINGS, NULL);
	ck_assert_str_eq(api_values(b, "k"), "1");
	dyn_context_free(api_put(b, "k", first, "3"));
	dyn_context_free(api_put(b, "k", lost, "4"));
	ck_assert_str_eq(api_values(b, "k"), "3|4");
	dyn_context_free(first);
	dyn_context_free(lost);
	api_close(n);
	ck_assert_int_eq(f.real->close(f.real->self), 0);
}
END_TEST

/* ------------------------------------------------------------- without memory */

/* Each allocation of a call failing in turn: an error, or it went well; what
 * it says is true; and nothing leaks. */
START_TEST(calls_without_memory)
{
	dyn_node *n = api_local(NULL);
	dyn_bucket *b = api_bucket(n, "b", DYN_SIBLINGS, NULL);
	unsigned errors = 0;

	for (long at = 1; at < 60; at++) {
		char key[32];
		dyn_result *r = NULL;
		const char *now;
		int rc;

		snprintf(key, sizeof(key), "k%ld", at);
		mem_fail_at(at);
		rc = dyn_put(b, dyn_str(key), NULL, dyn_str("v"), NULL, &r);
		mem_fail_at(0);
		dyn_result_free(r);
		errors += rc != 0;
		now = api_values(b, key);
		if (rc == 0)
			ck_assert_str_eq(now, "v");
		else if (rc != DYN_EUNKNOWN)
			ck_assert_msg(now[0] == '\0',
			    "allocation %ld: %s, but it is there", at, dyn_strerror(rc));
		mem_fail_at(at);
		rc = dyn_get(b, dyn_str(key), NULL, &r);
		mem_fail_at(0);
		ck_assert(rc == 0 || rc == DYN_ENOMEM || rc == DYN_EQUORUM);
		dyn_result_free(r);
		errors += rc != 0;
	}
	ck_assert_uint_gt(errors, 10);
	api_close(n);
}
END_TEST

static Suite *
suite(void)
{
	Suite *s = suite_create("values");

	test_case(s, "contexts replace", contexts_replace_what_they_cover);
	test_case(s, "foreign contexts", foreign_contexts);
	test_case(s, "forged contexts", forged_contexts);
	test_case(s, "last write wins", last_write_wins);
	test_case(s, "merged at the reader", merged_at_the_reader);
	test_case(s, "merge that fails", merge_that_fails);
	test_case(s, "deletes", deletes);
	test_case(s, "overwrite", overwrite);
	test_case(s, "updates", updates);
	test_case(s, "one deadline", update_has_one_deadline);
	test_case(s, "expiry", expiry);
	test_case(s, "limits", limits);
	test_case(s, "too much work", too_much_work);
	test_case(s, "durability", durability);
	test_case(s, "results outlive", results_outlive_the_node);
	test_case(s, "bucket closed early", bucket_closed_early);
	test_case(s, "restart after close", restart_after_close);
	test_case(s, "restart after crash", restart_after_crash);
	test_case(s, "no event twice", no_event_is_made_twice);
	test_case(s, "calls without memory", calls_without_memory);
	return s;
}

TEST_MAIN(suite)
