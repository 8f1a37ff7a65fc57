/* Golden bytes: load and compare. */
#include "test/golden/golden.h"

#include "test/test.h"

#include <stdio.h>

static int
digit(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static void
parse(struct golden *g, const char *hex)
{
	for (g->len = 0; digit(hex[0]) >= 0; hex += 2) {
		ck_assert_uint_lt(g->len, sizeof(g->bytes));
		ck_assert_int_ge(digit(hex[1]), 0);
		g->bytes[g->len++] = (unsigned char)(digit(hex[0]) << 4 | digit(hex[1]));
	}
	ck_assert_msg(hex[0] == '\0' || hex[0] == '\n', "%s: not hexadecimal", g->name);
}

const struct golden_file *
golden_load(const char *name)
{
	static struct golden_file f;
	char line[4096], hex[4096];
	FILE *in;

	memset(&f, 0, sizeof(f));
	snprintf(f.path, sizeof(f.path), "test/golden/%s", name);
	in = fopen(f.path, "r");
	ck_assert_msg(in != NULL, "%s: not found; run from the project's root", f.path);
	while (fgets(line, sizeof(line), in) != NULL) {
		struct golden *g = &f.list[f.count];

		if (line[0] == '#' || line[0] == '\n')
			continue;
		ck_assert_uint_lt(f.count, GOLDEN_MAX);
		ck_assert_int_eq(sscanf(line, "%63s %4095s", g->name, hex), 2);
		parse(g, hex);
		f.count++;
	}
	fclose(in);
	return &f;
}

void
golden_expect(const struct golden_file *f, const char *name, struct dyn_slice bytes)
{
	const unsigned char *p = bytes.data;

	for (size_t i = 0; i < f->count; i++)
		if (strcmp(f->list[i].name, name) == 0 &&
		    slice_equal(bytes, slice(f->list[i].bytes, f->list[i].len)))
			return;
	printf("%s ", name);
	for (size_t i = 0; i < bytes.len; i++)
		printf("%02x", p[i]);
	printf("\n");
	ck_abort_msg("%s: the bytes of %s are not those above", f->path, name);
}
