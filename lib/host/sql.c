/* What all users of SQLite need: codes, opening, bytes in and out. */
#include "host/sql.h"

#include <errno.h>

/* Somebody may look into the file with another program: wait, do not fail. */
#define BUSY_MS 2000

static bool
no_space(int errnum)
{
	return errnum == ENOSPC || errnum == EDQUOT || errnum == EFBIG;
}

int
sql_code(int rc, int errnum)
{
	switch (rc & 0xff) {
	case SQLITE_OK:
	case SQLITE_ROW:
	case SQLITE_DONE:
		return 0;
	case SQLITE_NOMEM:
		return DYN_ENOMEM;
	case SQLITE_FULL:
		return DYN_EFULL;
	case SQLITE_TOOBIG:
		return DYN_ETOOBIG;
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return DYN_ELOCKED;
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
	case SQLITE_SCHEMA:
	case SQLITE_ERROR: /* our SQL is right, so the tables are not ours */
		return DYN_ECORRUPT;
	case SQLITE_READONLY:
		return rc == SQLITE_READONLY_DBMOVED ? DYN_EIO : DYN_EREADONLY;
	case SQLITE_PERM:
		return DYN_EREADONLY;
	case SQLITE_CANTOPEN:
		if (no_space(errnum))
			return DYN_EFULL;
		return errnum == EROFS || errnum == EACCES ? DYN_EREADONLY : DYN_EIO;
	default:
		break;
	}
	if (rc == SQLITE_IOERR_NOMEM)
		return DYN_ENOMEM;
	if (rc == SQLITE_IOERR_CORRUPTFS)
		return DYN_ECORRUPT;
	if (rc == SQLITE_IOERR_WRITE && no_space(errnum))
		return DYN_EFULL;
	if (rc == SQLITE_IOERR_WRITE && errnum == EROFS)
		return DYN_EREADONLY;
	return DYN_EIO;
}

int
sql_open(const char *path, int flags, sqlite3 **db)
{
	int rc;

	*db = NULL;
	/* NOMUTEX: each connection is used by one thread at a time. */
	rc = sqlite3_open_v2(path, db, flags | SQLITE_OPEN_NOMUTEX, NULL);
	if (*db == NULL)
		return SQLITE_NOMEM;
	sqlite3_extended_result_codes(*db, 1);
	sqlite3_busy_timeout(*db, BUSY_MS);
	return rc;
}

int
sql_bind(sqlite3_stmt *s, int i, struct dyn_slice bytes)
{
	/* A NULL pointer would be SQL's NULL. */
	return sqlite3_bind_blob64(
	    s, i, bytes.len > 0 ? bytes.data : "", bytes.len, SQLITE_STATIC);
}

struct dyn_slice
sql_column(sqlite3_stmt *s, int i)
{
	const void *data = sqlite3_column_blob(s, i);
	int len = sqlite3_column_bytes(s, i);

	return slice(data != NULL ? data : "", data != NULL ? (size_t)len : 0);
}
