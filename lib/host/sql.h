/*
 * What all users of SQLite need: codes, opening, bytes in and out.
 */
#ifndef DYN_SQL_H
#define DYN_SQL_H

#include "base/base.h"

#include <sqlite3.h>

/* The DYN_E code for SQLite's (extended) code; errnum: sqlite3_system_errno. */
int sql_code(int rc, int errnum) DYN_CHECK;
/* A connection for one thread at a time; SQLite's code.  *db may be set also on
 * failure. */
int sql_open(const char *path, int flags, sqlite3 **db) DYN_CHECK;
/* Bytes as a parameter; they must live until the statement was reset. */
int sql_bind(sqlite3_stmt *, int parameter, struct dyn_slice) DYN_CHECK;
/* Bytes of a column; they die with the next step. */
struct dyn_slice sql_column(sqlite3_stmt *, int column);

#endif
