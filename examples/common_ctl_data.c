/*
 * dynctl get, put, del, and the contexts they load and save.
 */
#include "common_ctl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static int
fail_file(const char *path)
{
	fprintf(stderr, "dynctl: %s: %s\n", path, strerror(errno));
	return EXIT_USAGE;
}

/* ----------------------------------------------------------------- contexts */

/* The context of --context, NULL without one.  An exit status. */
static int
load_context(const struct ctl *c, dyn_context **out)
{
	struct dyn_buffer bytes = {.data = NULL};
	int rc;

	*out = NULL;
	if (c->context_path == NULL)
		return EXIT_DONE;
	if (read_file(c->context_path, &bytes) != 0) {
		rc = fail_file(c->context_path);
		dyn_buffer_free(&bytes);
		return rc;
	}
	rc = dyn_context_decode(out, bytes.data, bytes.len);
	dyn_buffer_free(&bytes);
	return rc == 0 ? EXIT_DONE : ctl_fail_call(c, c->context_path, rc);
}

static int
save_context(const struct ctl *c, const dyn_result *result)
{
	const dyn_context *context = dyn_result_context(result);
	unsigned char *bytes;
	size_t len;
	int rc;

	if (c->save_context_path == NULL)
		return EXIT_DONE;
	/* The first call is for the size only, and is refused with it. */
	rc = dyn_context_encode(context, NULL, 0, &len);
	bytes = malloc(len + 1);
	if (bytes == NULL)
		return ctl_fail_call(c, "context", DYN_ENOMEM);
	if (rc == 0 || rc == DYN_ETOOBIG)
		rc = dyn_context_encode(context, bytes, len, &len);
	if (rc != 0)
		rc = ctl_fail_call(c, "context", rc);
	else if (write_file(c->save_context_path, bytes, len) != 0)
		rc = fail_file(c->save_context_path);
	free(bytes);
	return rc;
}

/* ------------------------------------------------------------ get, put, del */

static void
json_receipt(struct json *j, const struct dyn_receipt *r)
{
	json_open(j, "receipt", '{');
	json_number(j, "owners", r->owners);
	json_number(j, "standins", r->standins);
	json_number(j, "machines", r->machines);
	json_number(j, "zones", r->zones);
	json_number(j, "on_disk", r->on_disk);
	ctl_json_id(j, "coordinator", r->coordinator);
	json_close(j, '}');
}

static void
get_json(const char *key, const dyn_result *result)
{
	struct json j = {.out = stdout};

	json_open(&j, NULL, '{');
	json_bytes(&j, "key", dyn_str(key));
	json_bool(&j, "found", dyn_result_count(result) > 0);
	json_number(&j, "siblings", dyn_result_siblings(result));
	json_open(&j, "values", '[');
	for (size_t i = 0; i < dyn_result_count(result); i++) {
		json_open(&j, NULL, '{');
		json_bytes(&j, "value", dyn_result_value(result, i));
		json_number(&j, "time_ms", dyn_result_time(result, i));
		json_close(&j, '}');
	}
	json_close(&j, ']');
	json_receipt(&j, dyn_result_receipt(result));
	json_close(&j, '}');
	putchar('\n');
}

static void
when_text(uint64_t ms, char text[32])
{
	time_t t = (time_t)(ms / 1000);
	struct tm tm;

	gmtime_r(&t, &tm);
	strftime(text, 32, "%Y-%m-%d %H:%M:%S", &tm);
}

/* One value as it is; several with a line before each.  On a terminal each
 * ends its line. */
static void
get_text(const dyn_result *result)
{
	size_t count = dyn_result_count(result);
	bool several = count > 1;
	struct dyn_slice v;
	char when[32];

	for (size_t i = 0; i < count; i++) {
		v = dyn_result_value(result, i);
		if (several) {
			when_text(dyn_result_time(result, i), when);
			printf("--- sibling %zu of %zu, %zu bytes, written %s UTC\n",
			    i + 1, count, v.len, when);
		}
		fwrite(v.data, 1, v.len, stdout);
		if ((several || isatty(1)) &&
		    (v.len == 0 || ((const char *)v.data)[v.len - 1] != '\n'))
			putchar('\n');
	}
}

int
ctl_get(struct ctl *c)
{
	const char *key = c->words[0];
	dyn_result *result;
	int rc, status;

	rc = dyn_get(c->bucket, dyn_str(key), NULL, &result);
	if (rc != 0)
		return ctl_fail_call(c, key, rc);
	status = save_context(c, result);
	if (c->json)
		get_json(key, result);
	else
		get_text(result);
	if (status == EXIT_DONE && dyn_result_count(result) == 0) {
		status = EXIT_NO_KEY;
		if (!c->json)
			fprintf(stderr, "dynctl: %s: no such key\n", key);
	}
	dyn_result_free(result);
	return status;
}

static void
say_stored(const struct ctl *c, const char *key, const dyn_result *result)
{
	const struct dyn_receipt *r = dyn_result_receipt(result);
	struct json j = {.out = stdout};
	char id[33];

	if (c->json) {
		json_open(&j, NULL, '{');
		json_bytes(&j, "key", dyn_str(key));
		json_receipt(&j, r);
		json_close(&j, '}');
		putchar('\n');
		return;
	}
	ctl_short_id(r->coordinator, id);
	printf("stored by %u owners and %u stand-ins on %u machines, %u on disk; "
	       "coordinator %s\n",
	    r->owners, r->standins, r->machines, r->on_disk, id);
}

/*
 * What a write replaces: the context of --context, else what a read finds now;
 * with --blind nothing.  *read, where set, holds the context and is freed by
 * the caller, as is *loaded.
 */
static int
find_context(struct ctl *c, const char *key, dyn_result **read, dyn_context **loaded)
{
	int rc;

	*read = NULL;
	*loaded = NULL;
	if (c->context_path != NULL)
		return load_context(c, loaded);
	if (c->blind)
		return EXIT_DONE;
	rc = dyn_get(c->bucket, dyn_str(key), NULL, read);
	return rc == 0 ? EXIT_DONE : ctl_fail_call(c, key, rc);
}

/* value NULL: delete. */
static int
write_key(struct ctl *c, const char *key, const struct dyn_slice *value)
{
	const dyn_context *seen;
	dyn_context *loaded;
	dyn_result *read, *result = NULL;
	int rc, status;

	status = find_context(c, key, &read, &loaded);
	if (status != EXIT_DONE)
		return status;
	seen = read != NULL ? dyn_result_context(read) : loaded;
	if (value == NULL && read != NULL && dyn_result_count(read) == 0) {
		fprintf(stderr, "dynctl: %s: no such key\n", key);
		status = EXIT_NO_KEY;
		goto done;
	}
	if (value != NULL)
		rc = dyn_put(c->bucket, dyn_str(key), seen, *value, NULL, &result);
	else
		rc = dyn_delete(c->bucket, dyn_str(key), seen, NULL, &result);
	if (rc != 0) {
		status = ctl_fail_call(c, key, rc);
		goto done;
	}
	say_stored(c, key, result);
	status = save_context(c, result);
done:
	dyn_result_free(read);
	dyn_result_free(result);
	dyn_context_free(loaded);
	return status;
}

int
ctl_put(struct ctl *c)
{
	struct dyn_buffer bytes = {.data = NULL};
	struct dyn_slice value;
	int status;

	if (c->word_count > 1 && strcmp(c->words[1], "-") != 0) {
		value = dyn_str(c->words[1]);
		return write_key(c, c->words[0], &value);
	}
	if (read_file("-", &bytes) != 0) {
		status = fail_file("standard input");
	} else {
		value = (struct dyn_slice){.data = bytes.data, .len = bytes.len};
		status = write_key(c, c->words[0], &value);
	}
	dyn_buffer_free(&bytes);
	return status;
}

int
ctl_del(struct ctl *c)
{
	return write_key(c, c->words[0], NULL);
}
