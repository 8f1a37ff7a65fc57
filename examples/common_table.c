/*
 * See common_table.h.
 */
#include "common_table.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

void
table_init(struct table *t, const char *form, const char *head)
{
	size_t len;

	memset(t, 0, sizeof(*t));
	t->form = form;
	t->columns = strlen(form) < TABLE_COLUMNS ? strlen(form) : TABLE_COLUMNS;
	t->cells = calloc(TABLE_ROWS, sizeof(t->cells[0]));
	if (t->cells == NULL) {
		fputs("out of memory\n", stderr);
		exit(1);
	}
	for (;;) {
		len = strcspn(head, "|");
		table_cell(t, "%.*s", (int)len, head);
		if (head[len] == '\0')
			return;
		head += len + 1;
	}
}

void
table_cell(struct table *t, const char *format, ...)
{
	va_list args;

	if (t->rows * t->columns + t->at >= TABLE_ROWS * t->columns)
		return;
	va_start(args, format);
	vsnprintf(t->cells[t->rows][t->at], TABLE_CELL, format, args);
	va_end(args);
	if (++t->at == t->columns) {
		t->at = 0;
		t->rows++;
	}
}

static int
width(const struct table *t, size_t column)
{
	size_t max = 0, len;

	for (size_t i = 0; i < t->rows; i++) {
		len = strlen(t->cells[i][column]);
		max = len > max ? len : max;
	}
	return (int)max;
}

void
table_print(struct table *t, FILE *out, const char *indent)
{
	for (size_t i = 0; i < t->rows; i++) {
		fputs(indent, out);
		for (size_t j = 0; j < t->columns; j++) {
			int w = t->form[j] == 'r' ? width(t, j) : -width(t, j);

			if (t->form[j] == 'l' && j + 1 == t->columns)
				w = 0; /* no blanks at the end of a line */
			if (w != 0 || t->cells[i][j][0] != '\0')
				fprintf(
				    out, "%s%*s", j > 0 ? "  " : "", w, t->cells[i][j]);
		}
		putc('\n', out);
	}
	free(t->cells);
	memset(t, 0, sizeof(*t));
}
