/*
 * The SQLite file under the engine: its tables, statements and failures.
 *
 *	journal  (seq, batch)   what was applied and not folded yet; seq rises
 *	                        by one, so a lost row is noticed
 *	rows_0.. (id, value)    a space each, ordered by id; a value has its
 *	                        seal in front (memtable.h)
 *	total    one row        rows and bytes of rows_0; a counter to write when
 *	                        there is nothing else to write
 *
 * WAL mode.  A commit is either synced (synchronous=FULL) or left to the
 * operating system (NORMAL); since all go to one log, a synced commit makes
 * the earlier ones durable too.  SQLite never checkpoints by itself: it would
 * hide the errors.
 *
 * After an error while writing:
 *	no space, no memory, damaged page: nothing of the transaction is left,
 *	    the next one may succeed
 *	a write or sync that failed (EIO): the kernel may have dropped what it
 *	    could not write, and a commit record may or may not be there.
 *	    Nothing is written through this file any more: DYN_EIO until it is
 *	    opened again.  Reading goes on.  The same if the file system turned
 *	    read-only, but what was refused is not there: DYN_EREADONLY.
 *
 * One thread writes; sqlread.h is for the others.
 */
#ifndef DYN_SQLFILE_H
#define DYN_SQLFILE_H

#include "base/base.h"

#include <sqlite3.h>

enum sqlfile_statement {
	SQLF_BEGIN,
	SQLF_COMMIT,
	SQLF_ROLLBACK,
	SQLF_APPEND,
	SQLF_TRIM,
	SQLF_TOTAL,
	SQLF_BUMP,
	SQLF_LENGTH,                              /* of a value in rows_0 */
	SQLF_PUT,                                 /* + space */
	SQLF_REMOVE = SQLF_PUT + DYN_SPACE_COUNT, /* + space */
	SQLF_COUNT = SQLF_REMOVE + DYN_SPACE_COUNT
};

struct sqlfile_total {
	uint64_t rows, bytes;
};

struct sqlfile {
	char *path;
	sqlite3 *db;
	sqlite3_stmt *statements[SQLF_COUNT];
	bool full;     /* commits are synced now */
	bool unsynced; /* there are commits that were not */
	bool doubt;    /* a failed commit may have left its record */
	int failed;    /* writing is over: this code for all */
	int wal_pages; /* in the log after the last commit */
	int wal_done;  /* of those, copied or tried in vain */
};

/* Open or create; recovers the log.  All codes of dyn_engine_sqlite. */
int sqlfile_open(struct sqlfile *, const char *path, struct dyn_error *) DYN_CHECK;
/* 0 or why not all is in the file. */
int sqlfile_close(struct sqlfile *);

/* Visit the journal in order. */
typedef int sqlfile_visit(void *arg, int64_t seq, struct dyn_slice batch);
int sqlfile_replay(struct sqlfile *, sqlfile_visit *, void *arg) DYN_CHECK;
int sqlfile_read_total(struct sqlfile *, struct sqlfile_total *) DYN_CHECK;

/*
 * A transaction: begin, then any of the others, then commit or abort.  After
 * an error of any of them: abort.
 */
int sqlfile_begin(struct sqlfile *, bool synced) DYN_CHECK;
int sqlfile_append(struct sqlfile *, int64_t seq, struct dyn_slice batch) DYN_CHECK;
int sqlfile_trim(struct sqlfile *, int64_t last_seq) DYN_CHECK; /* seq <= last_seq */
/* Put or (value.data NULL) remove; keeps count for the data space.  value is
 * one of a memtable: its seal goes with it. */
int sqlfile_fold(struct sqlfile *, enum dyn_space, struct dyn_slice id,
    struct dyn_slice value, struct sqlfile_total *) DYN_CHECK;
int sqlfile_write_total(struct sqlfile *, const struct sqlfile_total *) DYN_CHECK;
int sqlfile_commit(struct sqlfile *) DYN_CHECK;
void sqlfile_abort(struct sqlfile *);

/* Sync what is not. */
int sqlfile_sync(struct sqlfile *) DYN_CHECK;
/* Copy the log into the file, as far as readers permit.  Of errors only a
 * failed disk matters (f->failed); else the log keeps all that is left. */
void sqlfile_checkpoint(struct sqlfile *);

#endif
