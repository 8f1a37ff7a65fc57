/*
 * Is each of these files a well-formed SVG?  What chart.c writes and no more: one
 * root element <svg>, elements that nest, attributes in double quotes, the five
 * entities; no comments, no CDATA, no DTD.
 *
 *	wellformed FILE ...
 */
#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

enum { DEPTH_MAX = 16, NAME_MAX_LEN = 32, FILE_MAX = 1 << 20 };

struct reader {
	const char *p;
	char open[DEPTH_MAX][NAME_MAX_LEN];
	unsigned depth, elements, roots;
};

static bool
skip(struct reader *r, const char *text)
{
	size_t len = strlen(text);

	if (strncmp(r->p, text, len) != 0)
		return false;
	r->p += len;
	return true;
}

static void
blanks(struct reader *r)
{
	while (isspace((unsigned char)*r->p))
		r->p++;
}

static bool
name(struct reader *r, char out[NAME_MAX_LEN])
{
	size_t len = 0;

	if (!isalpha((unsigned char)*r->p))
		return false;
	while (isalnum((unsigned char)*r->p) || strchr("-:_", *r->p) != NULL) {
		if (*r->p == 0 || len + 1 == NAME_MAX_LEN)
			return false;
		out[len++] = *r->p++;
	}
	out[len] = 0;
	return true;
}

/* Up to one of the characters of end, or the end of the file. */
static bool
text(struct reader *r, const char *end)
{
	static const char *const entity[] = {"amp;", "lt;", "gt;", "quot;", "apos;"};
	size_t i;

	while (*r->p != 0 && strchr(end, *r->p) == NULL) {
		if (*r->p == '<' || ((unsigned char)*r->p < ' ' && !isspace((unsigned char)*r->p)))
			return false;
		if (*r->p++ != '&')
			continue;
		for (i = 0; i < 5 && !skip(r, entity[i]); i++)
			;
		if (i == 5)
			return false;
	}
	return true;
}

static bool
attributes(struct reader *r)
{
	char word[NAME_MAX_LEN];

	for (blanks(r); isalpha((unsigned char)*r->p); blanks(r))
		if (!name(r, word) || !skip(r, "=\"") || !text(r, "\"") || !skip(r, "\""))
			return false;
	return true;
}

/* Behind "<". */
static bool
tag(struct reader *r)
{
	char word[NAME_MAX_LEN];

	if (skip(r, "/"))
		return name(r, word) && r->depth > 0 && strcmp(word, r->open[--r->depth]) == 0 &&
		    skip(r, ">");
	if (!name(r, word) || !attributes(r))
		return false;
	r->elements++;
	r->roots += r->depth == 0;
	if (r->depth == 0 && (strcmp(word, "svg") != 0 || r->roots > 1))
		return false;
	if (skip(r, "/>"))
		return true;
	if (r->depth == DEPTH_MAX)
		return false;
	strcpy(r->open[r->depth++], word);
	return skip(r, ">");
}

static bool
document(struct reader *r)
{
	if (skip(r, "<?xml") && (!attributes(r) || !skip(r, "?>")))
		return false;
	for (;;) {
		const char *from = r->p;

		if (!text(r, "<"))
			return false;
		for (; r->depth == 0 && from < r->p; from++)
			if (!isspace((unsigned char)*from))
				return false;
		if (*r->p == 0)
			return r->depth == 0 && r->roots == 1;
		r->p++;
		if (!tag(r))
			return false;
	}
}

static bool
check(const char *path)
{
	static char bytes[FILE_MAX];
	struct reader r = {.p = bytes};
	FILE *f = fopen(path, "r");
	size_t len;

	if (f == NULL) {
		perror(path);
		return false;
	}
	len = fread(bytes, 1, sizeof(bytes) - 1, f);
	fclose(f);
	bytes[len] = 0;
	if (len < sizeof(bytes) - 1 && strlen(bytes) == len && document(&r))
		return true;
	fprintf(stderr, "%s: not well-formed at byte %zu of %zu\n", path, (size_t)(r.p - bytes), len);
	return false;
}

int
main(int argc, char **argv)
{
	bool good = argc > 1;

	for (int i = 1; i < argc; i++)
		good = check(argv[i]) && good;
	return !good;
}
