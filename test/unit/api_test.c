/*
 * Goal: every public call answers each kind of bad argument with the error
 * that dyn.h names, and touches nothing; every option keeps its limits.
 * Method: one node of each role that needs no network, and tables of wrong and
 * of just allowed values.
 */
#include "api.h"

#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

static void
nothing(void *arg, int rc, dyn_result *r)
{
	(void)arg;
	(void)rc;
	(void)r;
	ck_abort_msg("the callback of a refused call was called");
}

static int
unchanged(void *arg, struct dyn_slice key, const struct dyn_slice *value,
    struct dyn_buffer *out)
{
	(void)arg;
	(void)key;
	(void)value;
	(void)out;
	return DYN_CHANGE_NOTHING;
}

/* ------------------------------------------------------------------ options */

/* The limits may not be met by anything but an error and a sentence. */
static void
refuse(const struct dyn_options *o, int code, int line)
{
	struct dyn_error error = {0};
	dyn_node *n = (dyn_node *)&error;
	long before = mem_balance();
	int rc = dyn_open(&n, o, &error);

	ck_assert_msg(
	    rc == code, "line %d: %d %s instead of %d", line, rc, error.text, code);
	ck_assert_int_eq(error.code, code);
	ck_assert_msg(error.text[0] != '\0', "line %d: no text", line);
	ck_assert_ptr_null(n);
	ck_assert_msg(mem_balance() == before, "line %d: leak", line);
	/* The error is optional. */
	ck_assert_int_eq(dyn_open(&n, o, NULL), code);
}

static struct dyn_options
local_options(void)
{
	struct dyn_options o = DYN_OPTIONS_INIT;

	o.role = DYN_LOCAL;
	return o;
}

static struct dyn_options
peer_options(void)
{
	struct dyn_options o = DYN_OPTIONS_INIT;

	o.listen = "127.0.0.1:0";
	return o;
}

#define REFUSED(kind, code, ...)                                                         \
	do {                                                                             \
		struct dyn_options o = kind##_options();                                 \
		__VA_ARGS__;                                                             \
		refuse(&o, code, __LINE__);                                              \
	} while (0)
#define TAKEN(kind, ...)                                                                 \
	do {                                                                             \
		struct dyn_options o = kind##_options();                                 \
		__VA_ARGS__;                                                             \
		api_close(api_open(&o));                                                 \
	} while (0)

#define TEXT_64 "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define TEXT_63 "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcde"

START_TEST(options_of_roles)
{
	dyn_node *n;

	ck_assert_int_eq(dyn_open(NULL, NULL, NULL), DYN_EINVAL);
	ck_assert_int_eq(dyn_open(&n, NULL, NULL), DYN_EINVAL);
	REFUSED(local, DYN_EINVAL, o.size = 0);
	REFUSED(local, DYN_EINVAL, o.size = sizeof(size_t));
	REFUSED(local, DYN_EINVAL, o.role = (enum dyn_role)(DYN_LOCAL + 1));
	REFUSED(local, DYN_EINVAL, o.role = (enum dyn_role) - 1);
	REFUSED(local, DYN_EINVAL, o.join = (enum dyn_join)(DYN_JOIN_WAIT + 1));
	REFUSED(local, DYN_EINVAL, o.listen = "127.0.0.1:0");
	REFUSED(local, DYN_EINVAL, o.advertise = "127.0.0.1:7000");
	REFUSED(local, DYN_EINVAL, o.seeds = "127.0.0.1:7000");
	REFUSED(peer, DYN_EINVAL, o.listen = NULL);
	REFUSED(peer, DYN_EINVAL, o.role = DYN_CLIENT; o.seeds = "127.0.0.1:7000");
	REFUSED(local, DYN_EINVAL, o.role = DYN_CLIENT);
	REFUSED(local, DYN_EINVAL, o.role = DYN_CLIENT; o.seeds = "");
	REFUSED(local, DYN_EINVAL, o.role = DYN_CLIENT; o.seeds = "127.0.0.1:7000";
		o.dir = test_path(test_dir(), "none"));
	TAKEN(local, o.ring = TEXT_64);
	REFUSED(local, DYN_EINVAL, o.ring = "");
	REFUSED(local, DYN_EINVAL, o.ring = TEXT_64 "x");
}
END_TEST

START_TEST(options_of_numbers)
{
	REFUSED(local, DYN_EINVAL, o.weight = 10001);
	TAKEN(local, o.weight = 10000);
	REFUSED(local, DYN_EINVAL, o.n = 2);
	REFUSED(local, DYN_EINVAL, o.r = 2);
	REFUSED(local, DYN_EINVAL, o.w = 2);
	TAKEN(local, o.n = o.r = o.w = 1);
	REFUSED(peer, DYN_EINVAL, o.n = DYN_N_MAX + 1);
	REFUSED(peer, DYN_EINVAL, o.n = 3; o.r = 4);
	REFUSED(peer, DYN_EINVAL, o.n = 3; o.w = 4);
	REFUSED(peer, DYN_EINVAL, o.r = 4); /* n is 3 then */
	TAKEN(peer, o.n = DYN_N_MAX; o.r = o.w = DYN_N_MAX);
	for (unsigned bad = 1; bad <= 15; bad += 7)
		REFUSED(local, DYN_EINVAL, o.partitions = bad);
	REFUSED(local, DYN_EINVAL, o.partitions = 1000);
	REFUSED(local, DYN_EINVAL, o.partitions = 131072);
	TAKEN(local, o.partitions = 16);
	TAKEN(local, o.partitions = 65536);
	REFUSED(local, DYN_EINVAL, o.hash = (enum dyn_hash)(DYN_HASH_MD5 + 1));
	TAKEN(local, o.hash = DYN_HASH_MD5);
	REFUSED(local, DYN_EINVAL, o.workers = 65);
	TAKEN(local, o.workers = 64);
	REFUSED(local, DYN_EINVAL, o.timeout_ms = 3600001);
	TAKEN(local, o.timeout_ms = 3600000);
	REFUSED(local, DYN_EINVAL, o.open_timeout_ms = 3600001);
	TAKEN(local, o.open_timeout_ms = 3600000);
}
END_TEST

START_TEST(options_of_limits)
{
	REFUSED(local, DYN_EINVAL, o.memory_max = (16 << 20) - 1);
	TAKEN(local, o.memory_max = 16 << 20);
	REFUSED(local, DYN_EINVAL, o.value_max = (size_t)DYN_VALUE_LIMIT + 1);
	TAKEN(local, o.value_max = DYN_VALUE_LIMIT);
	REFUSED(local, DYN_EINVAL, o.siblings_max = 1);
	REFUSED(local, DYN_EINVAL, o.siblings_max = 1001);
	TAKEN(local, o.siblings_max = 2);
	TAKEN(local, o.siblings_max = 1000);
	REFUSED(local, DYN_EINVAL, o.skew_max_ms = 86400001);
	TAKEN(local, o.skew_max_ms = 86400000);
	REFUSED(
	    local, DYN_EINVAL, o.callbacks = (enum dyn_callbacks)(DYN_ON_DISPATCH + 1));
	REFUSED(local, DYN_EINVAL, o.log_level = (enum dyn_log_level)(DYN_LOG_DEBUG + 1));
}
END_TEST

START_TEST(options_of_places)
{
	REFUSED(local, DYN_EINVAL, o.location = "a/b/c/d/e");
	REFUSED(local, DYN_EINVAL, o.location = TEXT_64);
	REFUSED(local, DYN_EINVAL, o.location = "a/" TEXT_64);
	REFUSED(local, DYN_EINVAL, o.location = "with blank");
	REFUSED(local, DYN_EINVAL, o.location = "tab\t");
	TAKEN(local, o.location = TEXT_63);
	TAKEN(local, o.location = TEXT_63 "/" TEXT_63 "/" TEXT_63 "/" TEXT_63);
	TAKEN(local, o.location = "a//b");
	static const char *const bad[] = {"", "nonsense", "127.0.0.1",
	    "127.0.0.1:", "127.0.0.1:70000", ":7000", "127.0.0.1:7000x", "[::1:7000",
	    "127.0.0.1:-1", "a b:1"};

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		REFUSED(peer, DYN_EINVAL, o.listen = bad[i]);
		REFUSED(peer, DYN_EINVAL, o.advertise = bad[i]);
	}
	REFUSED(peer, DYN_EINVAL, o.seeds = "127.0.0.1");
	REFUSED(peer, DYN_EINVAL, o.seeds = "127.0.0.1:1,nonsense");
	REFUSED(peer, DYN_EADDRESS, o.listen = "0.0.0.0:0");
	REFUSED(peer, DYN_EADDRESS, o.listen = "0.0.0.0:0"; o.insecure = 1);
	REFUSED(peer, DYN_EADDRESS, o.listen = "[::]:0"; o.insecure = 1);
	REFUSED(peer, DYN_EADDRESS, o.listen = "192.0.2.1:0");
	REFUSED(peer, DYN_EADDRESS, o.listen = "192.0.2.1:0"; o.insecure = 1);
	TAKEN(peer, o.listen = "0.0.0.0:0"; o.insecure = 1; o.advertise = "127.0.0.1:1");
	TAKEN(peer, o.listen = "localhost:0");
}
END_TEST

START_TEST(options_of_tls)
{
	const char *none = test_path(test_dir(), "none.pem");

	for (unsigned which = 1; which < 7; which++)
		REFUSED(peer, DYN_EINVAL, o.tls_ca = which & 1 ? none : NULL;
			o.tls_cert = which & 2 ? none : NULL;
			o.tls_key = which & 4 ? none : NULL);
	REFUSED(peer, DYN_ETLS, o.tls_ca = o.tls_cert = o.tls_key = none);
}
END_TEST

static int
count_close(void *self)
{
	++*(int *)self;
	return 0;
}

/* "It belongs to the node once dyn_open was called, also if that fails." */
START_TEST(engine_is_closed_when_open_fails)
{
	int closed = 0;
	struct dyn_engine engine = {
	    .size = sizeof(engine), .self = &closed, .close = count_close};
	struct dyn_options o = local_options();
	dyn_node *n;

	o.engine = &engine;
	o.role = DYN_CLIENT;
	o.seeds = "127.0.0.1:1";
	ck_assert_int_eq(dyn_open(&n, &o, NULL), DYN_EINVAL);
	ck_assert_int_eq(closed, 1);
	o.size = offsetof(struct dyn_options, engine); /* an older program */
	o.role = DYN_LOCAL;
	o.seeds = NULL;
	api_close(api_open(&o)); /* has not heard of engines */
	ck_assert_int_eq(closed, 1);
}
END_TEST

/* ------------------------------------------------------------ small functions */

START_TEST(functions_without_node)
{
	struct dyn_slice none = dyn_str(NULL);
	struct dyn_buffer b = {NULL, 0, 0};
	struct dyn_id id;
	char text[33];

	ck_assert(none.data == NULL && none.len == 0);
	ck_assert_uint_eq(dyn_str("abc").len, 3);
	ck_assert_str_eq(dyn_version(), DYN_VERSION_STRING);
	ck_assert_int_eq(dyn_buffer_append(NULL, "x", 1), DYN_EINVAL);
	ck_assert_int_eq(dyn_buffer_append(&b, NULL, 1), DYN_EINVAL);
	ck_assert_int_eq(dyn_buffer_append(&b, NULL, 0), 0);
	ck_assert_int_eq(dyn_buffer_append(&b, "x", 1), 0);
	ck_assert_int_eq(dyn_buffer_append(&b, "x", SIZE_MAX), DYN_ENOMEM);
	ck_assert_uint_eq(b.len, 1);
	dyn_buffer_free(&b);
	ck_assert_ptr_null(b.data);
	dyn_buffer_free(&b);
	dyn_buffer_free(NULL);
	ck_assert_int_eq(dyn_id_parse(NULL, TEXT_63), DYN_EINVAL);
	ck_assert_int_eq(dyn_id_parse(&id, NULL), DYN_EINVAL);
	ck_assert_int_eq(dyn_id_parse(&id, ""), DYN_EINVAL);
	ck_assert_int_eq(
	    dyn_id_parse(&id, "0123456789abcdef0123456789abcde"), DYN_EINVAL);
	ck_assert_int_eq(
	    dyn_id_parse(&id, "0123456789abcdef0123456789abcdef0"), DYN_EINVAL);
	ck_assert_int_eq(
	    dyn_id_parse(&id, "0123456789abcdef0123456789abcdeg"), DYN_EINVAL);
	ck_assert_int_eq(dyn_id_parse(&id, "0123456789ABCDEF0123456789abcdef"), 0);
	dyn_id_format(id, text);
	ck_assert_str_eq(text, "0123456789abcdef0123456789abcdef");
}
END_TEST

START_TEST(errors_have_words)
{
	static const int codes[] = {
#define X(name, number, text) name,
	    DYN_ERRORS(X)
#undef X
	};

	for (size_t i = 0; i < ARRAY_LEN(codes); i++) {
		ck_assert_str_ne(dyn_strerror(codes[i]), dyn_strerror(-10000));
		for (size_t j = 0; j < i; j++)
			ck_assert_str_ne(dyn_strerror(codes[i]), dyn_strerror(codes[j]));
	}
	ck_assert_str_eq(dyn_strerror(0), "success");
	ck_assert_ptr_nonnull(dyn_strerror(12345));
}
END_TEST

START_TEST(nothing_is_harmless)
{
	struct dyn_id zero = {{0}};

	ck_assert_int_eq(dyn_close(NULL, 0), DYN_EINVAL);
	dyn_bucket_close(NULL);
	dyn_result_free(NULL);
	dyn_context_free(NULL);
	dyn_members_free(NULL);
	ck_assert_uint_eq(dyn_result_count(NULL), 0);
	ck_assert_uint_eq(dyn_result_value(NULL, 0).len, 0);
	ck_assert_uint_eq(dyn_result_time(NULL, 0), 0);
	ck_assert_uint_eq(dyn_result_siblings(NULL), 0);
	ck_assert_str_eq(dyn_address(NULL), "");
	ck_assert_mem_eq(dyn_self(NULL).bytes, zero.bytes, sizeof(zero.bytes));
	ck_assert_int_eq(dyn_fd(NULL), DYN_EINVAL);
	ck_assert_int_eq(dyn_dispatch(NULL), DYN_EINVAL);
}
END_TEST

START_TEST(presets)
{
	struct dyn_bucket_options o = DYN_BUCKET_OPTIONS_INIT;

	dyn_preset_balanced(&o, 3);
	ck_assert(o.n == 3 && o.r == 2 && o.w == 2);
	dyn_preset_read_mostly(&o, 3);
	ck_assert(o.n == 3 && o.r == 1 && o.w == 3);
	dyn_preset_always_writable(&o, 3);
	ck_assert(o.n == 3 && o.w == 1 && o.r >= 1 && o.r <= 3);
}
END_TEST

/* ------------------------------------------------------------------ buckets */

START_TEST(buckets)
{
	dyn_node *n = api_local(NULL);
	dyn_bucket *b = NULL, *same = NULL;

	ck_assert_int_eq(dyn_bucket_open(NULL, n, "x", NULL), DYN_EINVAL);
	ck_assert_int_eq(dyn_bucket_open(&b, NULL, "x", NULL), DYN_EINVAL);
	ck_assert_int_eq(dyn_bucket_open(&b, n, NULL, NULL), DYN_EINVAL);
	ck_assert_int_eq(dyn_bucket_open(&b, n, "", NULL), DYN_EINVAL);
	ck_assert_int_eq(dyn_bucket_open(&b, n, TEXT_64 "x", NULL), DYN_EINVAL);
#define BAD(...)                                                                         \
	do {                                                                             \
		struct dyn_bucket_options o = DYN_BUCKET_OPTIONS_INIT;                   \
		__VA_ARGS__;                                                             \
		ck_assert_int_eq(dyn_bucket_open(&b, n, "x", &o), DYN_EINVAL);           \
		ck_assert_ptr_null(b);                                                   \
	} while (0)
	BAD(o.size = 0);
	BAD(o.n = 2);
	BAD(o.r = 2);
	BAD(o.w = 2);
	BAD(o.policy = (enum dyn_policy)(DYN_SIBLINGS + 1));
	BAD(o.durability = (enum dyn_durability)(DYN_DURABLE_MEMORY + 1));
	BAD(o.timeout_ms = 3600001);
#undef BAD
	ck_assert_int_eq(dyn_bucket_open(&b, n, TEXT_64, NULL), 0);
	ck_assert_int_eq(dyn_bucket_open(&same, n, TEXT_64, NULL), 0);
	dyn_context_free(api_put(b, "key", NULL, "value"));
	dyn_bucket_close(b);
	ck_assert_str_eq(api_values(same, "key"), "value");
	api_close(n); /* closes the other bucket too */
}
END_TEST

/* -------------------------------------------------------------- get and kin */

/* All seven calls refuse the key with this error. */
static void
key_refused(dyn_bucket *b, struct dyn_slice key, int code)
{
	dyn_result *none = (dyn_result *)&code, *r = none;
	struct dyn_call over = {.flags = DYN_OVERWRITE};
	size_t count;

	ck_assert_int_eq(dyn_get(b, key, NULL, &r), code);
	ck_assert_ptr_null(r);
	r = none;
	ck_assert_int_eq(dyn_put(b, key, NULL, dyn_str("v"), NULL, &r), code);
	ck_assert_ptr_null(r);
	r = none;
	ck_assert_int_eq(dyn_delete(b, key, NULL, &over, &r), code);
	ck_assert_ptr_null(r);
	r = none;
	ck_assert_int_eq(dyn_update(b, key, unchanged, NULL, NULL, &r), code);
	ck_assert_ptr_null(r);
	ck_assert_int_eq(dyn_get_async(b, key, NULL, nothing, NULL), code);
	ck_assert_int_eq(
	    dyn_put_async(b, key, NULL, dyn_str("v"), NULL, nothing, NULL), code);
	ck_assert_int_eq(dyn_delete_async(b, key, NULL, &over, nothing, NULL), code);
	ck_assert_int_eq(
	    dyn_update_async(b, key, unchanged, NULL, NULL, nothing, NULL), code);
	ck_assert_int_eq(dyn_locate(b, key, NULL, 0, &count, NULL, NULL), code);
}

START_TEST(keys)
{
	static const char long_key[DYN_KEY_MAX + 1] = {0};
	dyn_node *n = api_local(NULL);
	dyn_bucket *b = api_bucket(n, "x", DYN_SIBLINGS, NULL);
	dyn_result *r;

	key_refused(NULL, dyn_str("k"), DYN_EINVAL);
	key_refused(b, slice(NULL, 0), DYN_EINVAL);
	key_refused(b, slice(NULL, 1), DYN_EINVAL);
	key_refused(b, slice("", 0), DYN_EINVAL);
	key_refused(b, slice(long_key, sizeof(long_key)), DYN_ETOOBIG);
	ck_assert_int_eq(
	    dyn_put(b, slice(long_key, DYN_KEY_MAX), NULL, dyn_str("v"), NULL, NULL), 0);
	ck_assert_int_eq(dyn_get(b, slice(long_key, DYN_KEY_MAX), NULL, &r), 0);
	ck_assert_uint_eq(dyn_result_count(r), 1);
	dyn_result_free(r);
	ck_assert_int_eq(dyn_get(b, slice(long_key, 1), NULL, &r), 0);
	ck_assert_uint_eq(dyn_result_count(r), 0);
	dyn_result_free(r);
	api_close(n);
}
END_TEST

/* All seven calls refuse this struct dyn_call. */
static void
call_refused(dyn_bucket *b, const struct dyn_call *c, int line)
{
	struct dyn_slice k = dyn_str("k"), v = dyn_str("v");
	struct dyn_call over = *c;
	dyn_result *r;

	over.flags |= DYN_OVERWRITE;
	ck_assert_msg(dyn_get(b, k, c, &r) == DYN_EINVAL, "line %d", line);
	ck_assert_int_eq(dyn_put(b, k, NULL, v, c, &r), DYN_EINVAL);
	ck_assert_int_eq(dyn_delete(b, k, NULL, &over, &r), DYN_EINVAL);
	ck_assert_int_eq(dyn_update(b, k, unchanged, NULL, c, &r), DYN_EINVAL);
	ck_assert_int_eq(dyn_get_async(b, k, c, nothing, NULL), DYN_EINVAL);
	ck_assert_int_eq(dyn_put_async(b, k, NULL, v, c, nothing, NULL), DYN_EINVAL);
	ck_assert_int_eq(dyn_delete_async(b, k, NULL, &over, nothing, NULL), DYN_EINVAL);
	ck_assert_int_eq(
	    dyn_update_async(b, k, unchanged, NULL, c, nothing, NULL), DYN_EINVAL);
}

START_TEST(calls)
{
	dyn_node *n = api_local(NULL);
	dyn_bucket *b = api_bucket(n, "x", DYN_SIBLINGS, NULL);
#define BAD(...)                                                                         \
	do {                                                                             \
		struct dyn_call c = {__VA_ARGS__};                                       \
		call_refused(b, &c, __LINE__);                                           \
	} while (0)
	BAD(.r = 2);
	BAD(.w = 2);
	BAD(.zone_w = 2);
	BAD(.timeout_ms = 3600001);
	BAD(.flags = 8);
	BAD(.flags = 1u << 31);
	BAD(.durability = (enum dyn_durability)(DYN_DURABLE_MEMORY + 1));
#undef BAD
	api_close(n);
}
END_TEST

START_TEST(get_and_kin)
{
	dyn_node *n = api_local(NULL);
	dyn_bucket *b = api_bucket(n, "x", DYN_SIBLINGS, NULL);
	struct dyn_slice k = dyn_str("k"), v = dyn_str("v"), bad = slice(NULL, 1);
	struct dyn_call here = {.flags = DYN_HERE};

	ck_assert_int_eq(dyn_get(b, k, NULL, NULL), DYN_EINVAL);
	ck_assert_int_eq(dyn_get_async(b, k, NULL, NULL, NULL), DYN_EINVAL);
	ck_assert_int_eq(dyn_put(b, k, NULL, bad, NULL, NULL), DYN_EINVAL);
	ck_assert_int_eq(dyn_put(b, k, NULL, v, &here, NULL), DYN_EINVAL);
	ck_assert_int_eq(dyn_put_async(b, k, NULL, bad, NULL, nothing, NULL), DYN_EINVAL);
	ck_assert_int_eq(dyn_put_async(b, k, NULL, v, NULL, NULL, NULL), DYN_EINVAL);
	ck_assert_int_eq(dyn_delete(b, k, NULL, NULL, NULL), DYN_EINVAL);
	ck_assert_int_eq(dyn_delete_async(b, k, NULL, NULL, nothing, NULL), DYN_EINVAL);
	ck_assert_int_eq(dyn_delete_async(b, k, NULL, NULL, NULL, NULL), DYN_EINVAL);
	ck_assert_int_eq(dyn_update(b, k, NULL, NULL, NULL, NULL), DYN_EINVAL);
	ck_assert_int_eq(
	    dyn_update_async(b, k, NULL, NULL, NULL, nothing, NULL), DYN_EINVAL);
	ck_assert_int_eq(
	    dyn_update_async(b, k, unchanged, NULL, NULL, NULL, NULL), DYN_EINVAL);
	ck_assert_str_eq(api_values(b, "k"), "");
	api_close(n);
}
END_TEST

/* ----------------------------------------------------------------- contexts */

START_TEST(contexts)
{
	dyn_node *n = api_local(NULL);
	dyn_bucket *b = api_bucket(n, "x", DYN_SIBLINGS, NULL);
	dyn_context *c = api_put(b, "k", NULL, "v"), *d;
	unsigned char bytes[1024];
	size_t len = 0, need = 0;

	ck_assert_int_eq(
	    dyn_context_encode(NULL, bytes, sizeof(bytes), &len), DYN_EINVAL);
	ck_assert_int_eq(dyn_context_encode(c, bytes, sizeof(bytes), NULL), DYN_EINVAL);
	ck_assert_int_eq(dyn_context_encode(c, NULL, 10, &len), DYN_EINVAL);
	ck_assert_int_eq(dyn_context_encode(c, NULL, 0, &need), DYN_ETOOBIG);
	ck_assert_int_eq(dyn_context_encode(c, bytes, need - 1, &len), DYN_ETOOBIG);
	ck_assert_uint_eq(len, need);
	ck_assert_int_eq(dyn_context_encode(c, bytes, need, &len), 0);
	ck_assert_uint_eq(len, need);
	ck_assert_int_eq(dyn_context_decode(NULL, bytes, len), DYN_EINVAL);
	ck_assert_int_eq(dyn_context_decode(&d, NULL, len), DYN_EINVAL);
	ck_assert_int_eq(dyn_context_decode(&d, bytes, 0), DYN_ECONTEXT);
	for (size_t i = 0; i < len; i++) {
		ck_assert_int_eq(dyn_context_decode(&d, bytes, i), DYN_ECONTEXT);
		ck_assert_ptr_null(d);
	}
	ck_assert_int_eq(dyn_context_decode(&d, bytes, len), 0);
	dyn_context_free(d);
	ck_assert_int_eq(dyn_context_copy(NULL, c), DYN_EINVAL);
	ck_assert_int_eq(dyn_context_copy(&d, NULL), DYN_EINVAL);
	dyn_context_free(c);
	api_close(n);
}
END_TEST

/* -------------------------------------------------------------- seeing a ring */

START_TEST(looking)
{
	dyn_node *n = api_local(NULL);
	dyn_bucket *b = api_bucket(n, "x", DYN_SIBLINGS, NULL);
	struct dyn_status st = DYN_STATUS_INIT, bad_st = DYN_STATUS_INIT;
	struct dyn_stats sa = DYN_STATS_INIT, bad_sa = DYN_STATS_INIT;
	struct dyn_id id = {{1, 2, 3}}, ids[2];
	struct dyn_member *m;
	size_t count, owners;
	unsigned partition;

	bad_st.size = sizeof(size_t);
	bad_sa.size = 0;
	ck_assert_int_eq(dyn_members(NULL, &m, &count), DYN_EINVAL);
	ck_assert_int_eq(dyn_members(n, NULL, &count), DYN_EINVAL);
	ck_assert_int_eq(dyn_members(n, &m, NULL), DYN_EINVAL);
	ck_assert_int_eq(
	    dyn_locate(b, dyn_str("k"), ids, 2, NULL, NULL, NULL), DYN_EINVAL);
	ck_assert_int_eq(
	    dyn_locate(b, dyn_str("k"), NULL, 2, &count, NULL, NULL), DYN_EINVAL);
	ck_assert_int_eq(
	    dyn_locate(b, dyn_str("k"), ids, 2, &count, &owners, &partition), 0);
	ck_assert_uint_eq(count, 1);
	ck_assert_uint_eq(owners, 1);
	ck_assert_mem_eq(&ids[0], dyn_self(n).bytes, sizeof(id));
	ck_assert_int_eq(dyn_locate(b, dyn_str("k"), NULL, 0, &count, NULL, NULL), 0);
	ck_assert_int_eq(dyn_status(NULL, &st), DYN_EINVAL);
	ck_assert_int_eq(dyn_status(n, NULL), DYN_EINVAL);
	ck_assert_int_eq(dyn_status(n, &bad_st), DYN_EINVAL);
	ck_assert_int_eq(dyn_stats(NULL, &sa), DYN_EINVAL);
	ck_assert_int_eq(dyn_stats(n, NULL), DYN_EINVAL);
	ck_assert_int_eq(dyn_stats(n, &bad_sa), DYN_EINVAL);
	ck_assert_int_eq(dyn_member_status(NULL, id, 100, &st, NULL), DYN_EINVAL);
	ck_assert_int_eq(dyn_member_status(n, id, 100, NULL, NULL), DYN_EINVAL);
	ck_assert_int_eq(dyn_member_status(n, id, 100, &bad_st, NULL), DYN_EINVAL);
	ck_assert_int_eq(dyn_member_status(n, id, 100, &st, &bad_sa), DYN_EINVAL);
	ck_assert_int_eq(dyn_member_status(n, id, 100, &st, NULL), DYN_ENOTFOUND);
	ck_assert_int_eq(dyn_member_status(n, dyn_self(n), 100, &st, &sa), 0);
	ck_assert_uint_eq(st.members, 1);
	/* These are for DYN_ON_DISPATCH. */
	ck_assert_int_eq(dyn_fd(n), DYN_EINVAL);
	ck_assert_int_eq(dyn_dispatch(n), DYN_EINVAL);
	api_close(n);
}
END_TEST

static Suite *
suite(void)
{
	Suite *s = suite_create("api");

	test_case(s, "options of roles", options_of_roles);
	test_case(s, "options of numbers", options_of_numbers);
	test_case(s, "options of limits", options_of_limits);
	test_case(s, "options of places", options_of_places);
	test_case(s, "options of TLS", options_of_tls);
	test_case(s, "engine is closed", engine_is_closed_when_open_fails);
	test_case(s, "functions without node", functions_without_node);
	test_case(s, "errors have words", errors_have_words);
	test_case(s, "nothing is harmless", nothing_is_harmless);
	test_case(s, "presets", presets);
	test_case(s, "buckets", buckets);
	test_case(s, "keys", keys);
	test_case(s, "calls", calls);
	test_case(s, "get and kin", get_and_kin);
	test_case(s, "contexts", contexts);
	test_case(s, "looking", looking);
	return s;
}

TEST_MAIN(suite)
