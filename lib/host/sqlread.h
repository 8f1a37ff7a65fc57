/*
 * Reading the SQLite file, beside the one who writes it (sqlfile.h).
 *
 * Nothing is mapped into memory: reading a mapped page that the disk cannot
 * deliver, or that was cut off, kills the process (SIGBUS).  We live in
 * somebody's process; a read must fail with an error.
 */
#ifndef DYN_SQLREAD_H
#define DYN_SQLREAD_H

#include "base/base.h"

#include <sqlite3.h>

/* A connection to read by: one thread at a time. */
struct reader {
	struct reader *next; /* the owner's list */
	sqlite3 *db;
	sqlite3_stmt *get[DYN_SPACE_COUNT];
};

int reader_open(struct reader **out, const char *path) DYN_CHECK;
void reader_close(struct reader *);
/* Append the value to out, or DYN_ENOTFOUND. */
int reader_get(struct reader *, enum dyn_space, struct dyn_slice id,
    struct dyn_buffer *out) DYN_CHECK;

/* A walk in order of ids that sees the file as it was at the first step. */
struct walk {
	sqlite3_stmt *statement;
	bool end;
	struct dyn_slice id, stored; /* sealed (memtable.h); die with the next step */
};

int walk_open(
    struct walk *, struct reader *, enum dyn_space, struct dyn_slice after) DYN_CHECK;
int walk_step(struct walk *) DYN_CHECK;
void walk_close(struct walk *);

#endif
