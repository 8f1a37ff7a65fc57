/*
 * See common_records.h.
 */
#include "common_records.h"
#include "common_util.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* The length of the paragraph at p. */
static size_t
paragraph(const char *p, size_t len)
{
	const char *end = memmem(p, len, "\n\n", 2);

	return end != NULL ? (size_t)(end - p) + 1 : len;
}

/* The value of a field, "" if the paragraph does not have it. */
static struct dyn_slice
field(struct dyn_slice text, const char *name)
{
	const char *p = text.data, *end = p + text.len, *line_end;
	size_t len = strlen(name);

	for (; p < end; p = line_end + 1) {
		line_end = memchr(p, '\n', (size_t)(end - p));
		if (line_end == NULL)
			line_end = end;
		if ((size_t)(line_end - p) > len + 2 && memcmp(p, name, len) == 0 &&
		    memcmp(p + len, ": ", 2) == 0) {
			p += len + 2;
			return (struct dyn_slice){p, (size_t)(line_end - p)};
		}
	}
	return dyn_str("");
}

static int
known(const struct records *r, const char *key)
{
	for (size_t i = 0; i < r->count; i++)
		if (strcmp(r->all[i].key, key) == 0)
			return 1;
	return 0;
}

static void
take(struct records *r, struct dyn_slice text)
{
	struct dyn_slice name = field(text, "Package");
	struct dyn_slice arch = field(text, "Architecture");
	struct record *n = &r->all[r->count];

	if (name.len == 0 || name.len + arch.len + 2 > sizeof(n->key))
		return;
	snprintf(n->key, sizeof(n->key), "%.*s", (int)name.len, (const char *)name.data);
	if (known(r, n->key)) {
		snprintf(n->key, sizeof(n->key), "%.*s:%.*s", (int)name.len,
		    (const char *)name.data, (int)arch.len, (const char *)arch.data);
		if (known(r, n->key))
			return;
	}
	n->text = text;
	r->bytes += text.len;
	r->count++;
}

int
records_read(struct records *r, const char *path, size_t max)
{
	const char *p;
	size_t left, len;

	if (read_file(path, &r->file) != 0)
		return -1;
	r->all = calloc(max + 1, sizeof(*r->all));
	if (r->all == NULL) {
		errno = ENOMEM;
		return -1;
	}
	p = (const char *)r->file.data;
	for (left = r->file.len; left > 0 && r->count < max; p += len, left -= len) {
		for (len = 0; len < left && p[len] == '\n'; len++)
			;
		p += len;
		left -= len;
		len = paragraph(p, left);
		if (len > 0)
			take(r, (struct dyn_slice){.data = p, .len = len});
	}
	return 0;
}

void
records_free(struct records *r)
{
	free(r->all);
	dyn_buffer_free(&r->file);
	memset(r, 0, sizeof(*r));
}
