/*
 * Tables for people: columns as wide as they have to be, numbers to the right.
 */
#ifndef COMMON_TABLE_H
#define COMMON_TABLE_H

#include <stdio.h>

enum { TABLE_COLUMNS = 16, TABLE_ROWS = 1024, TABLE_CELL = 72 };

struct table {
	char (*cells)[TABLE_COLUMNS][TABLE_CELL];
	size_t rows, columns;
	size_t at;        /* the next cell of the last row */
	const char *form; /* one letter a column: l left, r right */
};

/* The head is "NAME|NAME|...".  Ends the program if memory is short. */
void table_init(struct table *, const char *form, const char *head);
/* The next cell; rows beyond TABLE_ROWS and columns beyond form are dropped. */
void table_cell(struct table *, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Print with the indent before each row, and free. */
void table_print(struct table *, FILE *, const char *indent);

#endif
