/* The SQLite file under the engine. */
#include "host/sqlfile.h"

#include "host/memtable.h"
#include "host/sql.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

/* In the file's header: whose it is, and which format. */
#define APPLICATION_ID 0x64796e31 /* "dyn1" */
#define FORMAT 1

static const char *const create_sql =
    "CREATE TABLE journal (seq INTEGER PRIMARY KEY, batch BLOB NOT NULL);"
    "CREATE TABLE rows_0 (id BLOB PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE rows_1 (id BLOB PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE rows_2 (id BLOB PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE total (rows INTEGER NOT NULL, bytes INTEGER NOT NULL,"
    " bump INTEGER NOT NULL);"
    "INSERT INTO total VALUES (0, 0, 0);";

/* Those before SQLF_PUT have no space. */
static const char *const statement_sql[SQLF_PUT] = {
    [SQLF_BEGIN] = "BEGIN IMMEDIATE",
    [SQLF_COMMIT] = "COMMIT",
    [SQLF_ROLLBACK] = "ROLLBACK",
    [SQLF_APPEND] = "INSERT INTO journal (seq, batch) VALUES (?1, ?2)",
    [SQLF_TRIM] = "DELETE FROM journal WHERE seq <= ?1",
    [SQLF_TOTAL] = "UPDATE total SET rows = ?1, bytes = ?2",
    [SQLF_BUMP] = "UPDATE total SET bump = bump + 1",
    [SQLF_LENGTH] = "SELECT length(value) FROM rows_0 WHERE id = ?1",
};

/* ------------------------------------------------------------------ errors */

/* After these nobody knows what is on the disk. */
static bool
is_fatal(int rc)
{
	return rc == SQLITE_IOERR || rc == SQLITE_IOERR_WRITE ||
	       rc == SQLITE_IOERR_FSYNC || rc == SQLITE_IOERR_DIR_FSYNC ||
	       rc == SQLITE_IOERR_TRUNCATE;
}

/* The last error of writing the log: SQLite does not tell that of a commit. */
static int
log_errno(struct sqlfile *f)
{
	sqlite3_file *log = NULL;
	int errnum = 0, rc;

	rc = sqlite3_file_control(f->db, "main", SQLITE_FCNTL_JOURNAL_POINTER, &log);
	if (rc == SQLITE_OK && log != NULL && log->pMethods != NULL)
		(void)log->pMethods->xFileControl(log, SQLITE_FCNTL_LAST_ERRNO, &errnum);
	return errnum;
}

/* The code for what SQLite said while writing. */
static int
judge(struct sqlfile *f, int rc)
{
	int errnum = rc != SQLITE_OK ? sqlite3_system_errno(f->db) : 0, code;

	if (rc == SQLITE_IOERR_WRITE && errnum == 0)
		errnum = log_errno(f);
	code = sql_code(rc, errnum);

	/* A file system turns read-only after errors of its own. */
	if ((code == DYN_EIO || code == DYN_EREADONLY) && is_fatal(rc))
		f->failed = code;
	return code;
}

static int
explain(struct sqlfile *f, int code, struct dyn_error *error)
{
	return error_set(error, code, "%s: %s", f->path,
	    f->db != NULL && sqlite3_errcode(f->db) != SQLITE_OK ? sqlite3_errmsg(f->db)
								 : dyn_strerror(code));
}

/* -------------------------------------------------------------- statements */

/* Run a statement that yields nothing; SQLite's code. */
static int
run(struct sqlfile *f, int which)
{
	sqlite3_stmt *s = f->statements[which];
	int rc = sqlite3_step(s);

	if (rc == SQLITE_DONE || rc == SQLITE_ROW)
		rc = SQLITE_OK;
	sqlite3_reset(s);
	return rc;
}

/* The number a statement yields first. */
static int
query_number(sqlite3 *db, const char *sql, int64_t *out)
{
	sqlite3_stmt *s = NULL;
	int rc;

	*out = 0;
	rc = sqlite3_prepare_v2(db, sql, -1, &s, NULL);
	if (rc == SQLITE_OK)
		rc = sqlite3_step(s);
	if (rc == SQLITE_ROW)
		*out = sqlite3_column_int64(s, 0);
	sqlite3_finalize(s);
	return rc == SQLITE_ROW || rc == SQLITE_DONE ? SQLITE_OK : rc;
}

static int
prepare(struct sqlfile *f, int which, const char *sql)
{
	return sqlite3_prepare_v3(
	    f->db, sql, -1, SQLITE_PREPARE_PERSISTENT, &f->statements[which], NULL);
}

static int
prepare_all(struct sqlfile *f)
{
	char sql[96];
	int rc = SQLITE_OK;

	for (int i = 0; i < SQLF_PUT && rc == SQLITE_OK; i++)
		rc = prepare(f, i, statement_sql[i]);
	for (int space = 0; space < DYN_SPACE_COUNT && rc == SQLITE_OK; space++) {
		snprintf(sql, sizeof(sql),
		    "REPLACE INTO rows_%d (id, value) VALUES (?1, ?2)", space);
		rc = prepare(f, SQLF_PUT + space, sql);
		if (rc != SQLITE_OK)
			break;
		snprintf(sql, sizeof(sql), "DELETE FROM rows_%d WHERE id = ?1", space);
		rc = prepare(f, SQLF_REMOVE + space, sql);
	}
	return rc;
}

/* ---------------------------------------------------------- open and close */

static int
count_wal(void *arg, sqlite3 *db, const char *name, int pages)
{
	struct sqlfile *f = arg;

	(void)db;
	(void)name;
	f->wal_pages = pages;
	if (pages < f->wal_done)
		f->wal_done = 0; /* it began from the start again */
	return SQLITE_OK;
}

/* Is it ours, or empty (*fresh)? */
static int
check_format(struct sqlfile *f, bool *fresh, struct dyn_error *error)
{
	int64_t application, format, tables;
	int rc;

	*fresh = false;
	if (sqlite3_db_readonly(f->db, "main") == 1)
		return error_set(error, DYN_EREADONLY, "%s cannot be written", f->path);
	rc = query_number(f->db, "PRAGMA application_id", &application);
	if (rc == SQLITE_OK)
		rc = query_number(f->db, "PRAGMA user_version", &format);
	if (rc == SQLITE_OK)
		rc = query_number(f->db, "SELECT count(*) FROM sqlite_master", &tables);
	if (rc != SQLITE_OK)
		return explain(f, judge(f, rc), error);
	if (application == 0 && format == 0 && tables == 0) {
		*fresh = true;
		return 0;
	}
	if (application != APPLICATION_ID)
		return error_set(error, DYN_ECORRUPT,
		    "%s is an SQLite file of another program", f->path);
	if (format > FORMAT)
		return error_set(error, DYN_EVERSION,
		    "%s has format %lld, this libdyn knows up to %d", f->path,
		    (long long)format, FORMAT);
	if (format < 1)
		return error_set(error, DYN_ECORRUPT, "%s has no format number", f->path);
	return 0;
}

static int
set_up(struct sqlfile *f)
{
	/* page_size counts only for a new file.  The cache holds the inner
	 * pages and the transaction under way; leaves are rarely met twice. */
	static const char *const pragmas =
	    "PRAGMA page_size = 4096; PRAGMA auto_vacuum = NONE;"
	    "PRAGMA mmap_size = 0; PRAGMA cache_size = -8192;"
	    "PRAGMA secure_delete = OFF; PRAGMA cell_size_check = ON;"
	    "PRAGMA temp_store = MEMORY; PRAGMA trusted_schema = OFF;"
	    "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;";
	int rc;

	rc = sqlite3_exec(f->db, pragmas, NULL, NULL, NULL);
	if (rc != SQLITE_OK)
		return rc;
	f->full = true;
	/* Takes the place of the automatic checkpoint. */
	sqlite3_wal_hook(f->db, count_wal, f);
	return SQLITE_OK;
}

static int
create_tables(struct sqlfile *f)
{
	char sql[128];
	int rc;

	snprintf(sql, sizeof(sql),
	    "PRAGMA application_id = %d; PRAGMA user_version = %d;", APPLICATION_ID,
	    FORMAT);
	rc = sqlite3_exec(f->db, "BEGIN IMMEDIATE", NULL, NULL, NULL);
	if (rc == SQLITE_OK)
		rc = sqlite3_exec(f->db, create_sql, NULL, NULL, NULL);
	if (rc == SQLITE_OK)
		rc = sqlite3_exec(f->db, sql, NULL, NULL, NULL);
	if (rc == SQLITE_OK)
		rc = sqlite3_exec(f->db, "COMMIT", NULL, NULL, NULL);
	return rc;
}

/* Touch both ends of each table: finds most files that were cut short. */
static int
look_around(struct sqlfile *f)
{
	static const char *const sql[] = {
	    "SELECT length(min(id)) FROM rows_0",
	    "SELECT length(max(id)) FROM rows_0",
	    "SELECT length(min(id)) FROM rows_1",
	    "SELECT length(max(id)) FROM rows_1",
	    "SELECT length(min(id)) FROM rows_2",
	    "SELECT length(max(id)) FROM rows_2",
	    "SELECT min(seq) FROM journal",
	    "SELECT max(seq) FROM journal",
	};
	int64_t ignored;
	int rc = SQLITE_OK;

	for (size_t i = 0; i < ARRAY_LEN(sql) && rc == SQLITE_OK; i++)
		rc = query_number(f->db, sql[i], &ignored);
	return rc;
}

/* SQLite says only that it cannot open a file; is it the folder? */
static bool
is_read_only(const char *path)
{
	char *folder = mem_strdup(path), *cut;
	bool read_only;

	if (folder == NULL)
		return false;
	cut = strrchr(folder, '/');
	if (cut != NULL)
		cut[cut == folder ? 1 : 0] = '\0';
	read_only = access(cut != NULL ? folder : ".", W_OK) != 0 &&
		    (errno == EROFS || errno == EACCES);
	mem_free(folder);
	return read_only;
}

int
sqlfile_open(struct sqlfile *f, const char *path, struct dyn_error *error)
{
	bool fresh = false;
	int rc, code;

	memset(f, 0, sizeof(*f));
	f->path = mem_strdup(path);
	if (f->path == NULL)
		return error_set(error, DYN_ENOMEM, "%s", dyn_strerror(DYN_ENOMEM));
	rc = sql_open(path, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, &f->db);
	if (rc != SQLITE_OK)
		goto fail;
	code = check_format(f, &fresh, error);
	if (code != 0)
		goto out;
	rc = set_up(f);
	if (rc == SQLITE_OK && fresh)
		rc = create_tables(f);
	if (rc == SQLITE_OK)
		rc = look_around(f);
	if (rc == SQLITE_OK)
		rc = prepare_all(f);
	if (rc == SQLITE_OK) /* what a crash left in the log */
		rc = sqlite3_wal_checkpoint_v2(
		    f->db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
	if (rc == SQLITE_OK)
		return 0;
fail:
	if ((rc & 0xff) == SQLITE_CANTOPEN && is_read_only(path)) {
		code = error_set(error, DYN_EREADONLY, "%s cannot be written", path);
		goto out;
	}
	code = f->db != NULL ? explain(f, judge(f, rc), error)
			     : error_set(error, DYN_ENOMEM, "%s: out of memory", path);
	DYN_ASSERT(code != 0);
out:
	(void)sqlfile_close(f);
	return code;
}

int
sqlfile_close(struct sqlfile *f)
{
	int code = f->failed;

	if (f->db != NULL && code == 0 && f->unsynced)
		code = sqlfile_sync(f);
	for (int i = 0; i < SQLF_COUNT; i++)
		sqlite3_finalize(f->statements[i]);
	/* A disk that failed gets no last checkpoint: the log is the truth. */
	if (f->db != NULL && f->failed != 0)
		sqlite3_db_config(f->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
	if (f->db != NULL && sqlite3_close(f->db) != SQLITE_OK)
		code = code != 0 ? code : DYN_EIO;
	mem_free(f->path);
	memset(f, 0, sizeof(*f));
	return code;
}

int
sqlfile_replay(struct sqlfile *f, sqlfile_visit *visit, void *arg)
{
	sqlite3_stmt *s = NULL;
	int rc, code = 0;

	rc = sqlite3_prepare_v2(
	    f->db, "SELECT seq, batch FROM journal ORDER BY seq", -1, &s, NULL);
	if (rc != SQLITE_OK)
		return judge(f, rc);
	while (code == 0 && (rc = sqlite3_step(s)) == SQLITE_ROW)
		code = visit(arg, sqlite3_column_int64(s, 0), sql_column(s, 1));
	if (code == 0)
		code = judge(f, rc);
	sqlite3_finalize(s);
	return code;
}

int
sqlfile_read_total(struct sqlfile *f, struct sqlfile_total *total)
{
	int64_t rows, bytes;
	int rc;

	rc = query_number(f->db, "SELECT rows FROM total", &rows);
	if (rc == SQLITE_OK)
		rc = query_number(f->db, "SELECT bytes FROM total", &bytes);
	if (rc != SQLITE_OK)
		return judge(f, rc);
	total->rows = (uint64_t)rows;
	total->bytes = (uint64_t)bytes;
	return 0;
}

/* ------------------------------------------------------------ transactions */

static int
set_synced(struct sqlfile *f, bool synced)
{
	int rc;

	if (f->full == synced)
		return SQLITE_OK;
	rc = sqlite3_exec(f->db,
	    synced ? "PRAGMA synchronous = FULL" : "PRAGMA synchronous = NORMAL", NULL,
	    NULL, NULL);
	if (rc == SQLITE_OK)
		f->full = synced;
	return rc;
}

static int
start(struct sqlfile *f, bool synced)
{
	int rc;

	if (f->failed != 0)
		return f->failed;
	rc = set_synced(f, synced);
	if (rc == SQLITE_OK)
		rc = run(f, SQLF_BEGIN);
	return judge(f, rc);
}

void
sqlfile_abort(struct sqlfile *f)
{
	if (sqlite3_get_autocommit(f->db))
		return; /* SQLite rolled back by itself */
	(void)run(f, SQLF_ROLLBACK);
	if (!sqlite3_get_autocommit(f->db))
		f->failed = DYN_EIO;
}

/* SQLite's code; after a failure the transaction is rolled back. */
static int
try_commit(struct sqlfile *f)
{
	int rc = run(f, SQLF_COMMIT);

	if (rc == SQLITE_OK)
		f->unsynced = !f->full;
	else
		sqlfile_abort(f);
	return rc;
}

/* A transaction that changes nothing but writes a page and syncs the log. */
static int
write_bump(struct sqlfile *f)
{
	int rc, code;

	code = start(f, true);
	if (code != 0)
		return code;
	rc = run(f, SQLF_BUMP);
	if (rc == SQLITE_OK)
		rc = try_commit(f);
	else
		sqlfile_abort(f);
	return judge(f, rc);
}

/*
 * After a failed commit: write another in its place, which ends the doubt.
 * What the failed one left in the log is overwritten, and what is left behind
 * that does not continue the new record's check sum.
 */
static int
settle(struct sqlfile *f)
{
	int code;

	if (!f->doubt || f->failed != 0)
		return f->failed;
	code = write_bump(f);
	if (code == 0)
		f->doubt = false;
	return code;
}

int
sqlfile_commit(struct sqlfile *f)
{
	int rc = try_commit(f), code = judge(f, rc);

	if (code == 0 || f->failed != 0)
		return code;
	/* SQLite refused to begin, or a part of the record did not fit. */
	if (rc == SQLITE_BUSY || code == DYN_EFULL)
		return code;
	/* SQLite failed, most likely for want of memory, and maybe when the
	 * record was complete in the log: a restart would find it. */
	f->doubt = true;
	return settle(f) == 0 ? code : DYN_EIO;
}

int
sqlfile_begin(struct sqlfile *f, bool synced)
{
	int code;

	code = settle(f);
	return code != 0 ? code : start(f, synced);
}

int
sqlfile_sync(struct sqlfile *f)
{
	int code;

	code = settle(f);
	if (code != 0 || !f->unsynced)
		return code;
	return write_bump(f);
}

int
sqlfile_append(struct sqlfile *f, int64_t seq, struct dyn_slice batch)
{
	sqlite3_stmt *s = f->statements[SQLF_APPEND];
	int rc;

	rc = sqlite3_bind_int64(s, 1, seq);
	if (rc == SQLITE_OK)
		rc = sql_bind(s, 2, batch);
	if (rc == SQLITE_OK)
		rc = run(f, SQLF_APPEND);
	return judge(f, rc);
}

int
sqlfile_trim(struct sqlfile *f, int64_t last_seq)
{
	int rc;

	rc = sqlite3_bind_int64(f->statements[SQLF_TRIM], 1, last_seq);
	if (rc == SQLITE_OK)
		rc = run(f, SQLF_TRIM);
	return judge(f, rc);
}

/* How the row that is there counts. */
static int
old_length(struct sqlfile *f, struct dyn_slice id, struct sqlfile_total *old)
{
	sqlite3_stmt *s = f->statements[SQLF_LENGTH];
	int rc;

	old->rows = old->bytes = 0;
	rc = sql_bind(s, 1, id);
	if (rc == SQLITE_OK)
		rc = sqlite3_step(s);
	if (rc == SQLITE_ROW) {
		old->rows = 1;
		old->bytes = id.len + (uint64_t)sqlite3_column_int64(s, 0) - SEAL_LEN;
	}
	sqlite3_reset(s);
	return rc == SQLITE_ROW || rc == SQLITE_DONE ? SQLITE_OK : rc;
}

int
sqlfile_fold(struct sqlfile *f, enum dyn_space space, struct dyn_slice id,
    struct dyn_slice value, struct sqlfile_total *total)
{
	bool put = value.data != NULL;
	int which = (put ? SQLF_PUT : SQLF_REMOVE) + (int)space, rc = SQLITE_OK;
	struct sqlfile_total old = {0, 0};

	if (space == DYN_SPACE_DATA)
		rc = old_length(f, id, &old);
	if (rc == SQLITE_OK)
		rc = sql_bind(f->statements[which], 1, id);
	if (rc == SQLITE_OK && put)
		rc = sql_bind(f->statements[which], 2, memtable_stored(value));
	if (rc == SQLITE_OK)
		rc = run(f, which);
	if (rc == SQLITE_OK && space == DYN_SPACE_DATA) {
		total->rows += (put ? 1 : 0) - old.rows;
		total->bytes += (put ? id.len + value.len : 0) - old.bytes;
	}
	return judge(f, rc);
}

int
sqlfile_write_total(struct sqlfile *f, const struct sqlfile_total *total)
{
	sqlite3_stmt *s = f->statements[SQLF_TOTAL];
	int rc;

	rc = sqlite3_bind_int64(s, 1, (int64_t)total->rows);
	if (rc == SQLITE_OK)
		rc = sqlite3_bind_int64(s, 2, (int64_t)total->bytes);
	if (rc == SQLITE_OK)
		rc = run(f, SQLF_TOTAL);
	return judge(f, rc);
}

void
sqlfile_checkpoint(struct sqlfile *f)
{
	int rc;

	if (f->failed != 0)
		return;
	rc =
	    sqlite3_wal_checkpoint_v2(f->db, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
	/* Where readers hold it back the rest waits for the next time. */
	f->wal_done = f->wal_pages;
	(void)judge(f, rc);
}
