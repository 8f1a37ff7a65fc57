/* Reading the SQLite file: connections and walks. */
#include "host/sqlread.h"

#include "host/memtable.h"
#include "host/sql.h"

#include <stdio.h>

static int
reader_code(struct reader *r, int rc)
{
	return sql_code(rc, sqlite3_system_errno(r->db));
}

int
reader_open(struct reader **out, const char *path)
{
	struct reader *r;
	char sql[64];
	int rc, code;

	*out = NULL;
	r = mem_zalloc(sizeof(*r));
	if (r == NULL)
		return DYN_ENOMEM;
	rc = sql_open(path, SQLITE_OPEN_READONLY, &r->db);
	if (r->db == NULL) {
		mem_free(r);
		return DYN_ENOMEM;
	}
	if (rc == SQLITE_OK)
		rc = sqlite3_exec(r->db,
		    "PRAGMA mmap_size = 0; PRAGMA cache_size = -1024;"
		    "PRAGMA cell_size_check = ON; PRAGMA trusted_schema = OFF",
		    NULL, NULL, NULL);
	for (int i = 0; i < DYN_SPACE_COUNT && rc == SQLITE_OK; i++) {
		snprintf(sql, sizeof(sql), "SELECT value FROM rows_%d WHERE id = ?1", i);
		rc = sqlite3_prepare_v3(
		    r->db, sql, -1, SQLITE_PREPARE_PERSISTENT, &r->get[i], NULL);
	}
	if (rc != SQLITE_OK) {
		code = reader_code(r, rc);
		reader_close(r);
		return code;
	}
	*out = r;
	return 0;
}

void
reader_close(struct reader *r)
{
	for (int i = 0; i < DYN_SPACE_COUNT; i++)
		sqlite3_finalize(r->get[i]);
	(void)sqlite3_close(r->db);
	mem_free(r);
}

static int
unseal(sqlite3_stmt *s, struct dyn_slice id, struct dyn_slice *value)
{
	struct dyn_slice stored = sql_column(s, 0);

	if (sqlite3_errcode(sqlite3_db_handle(s)) == SQLITE_NOMEM)
		return DYN_ENOMEM;
	return memtable_unseal(id, stored, value) ? 0 : DYN_ECORRUPT;
}

int
reader_get(
    struct reader *r, enum dyn_space space, struct dyn_slice id, struct dyn_buffer *out)
{
	sqlite3_stmt *s = r->get[space];
	struct dyn_slice value;
	int rc, code;

	rc = sql_bind(s, 1, id);
	if (rc == SQLITE_OK)
		rc = sqlite3_step(s);
	if (rc == SQLITE_ROW) {
		code = unseal(s, id, &value);
		if (code == 0)
			code = dyn_buffer_append(out, value.data, value.len);
	} else {
		code = rc == SQLITE_DONE ? DYN_ENOTFOUND : reader_code(r, rc);
	}
	sqlite3_reset(s);
	return code;
}

int
walk_open(struct walk *w, struct reader *r, enum dyn_space space, struct dyn_slice after)
{
	char sql[96];
	int rc;

	memset(w, 0, sizeof(*w));
	snprintf(sql, sizeof(sql), "SELECT id, value FROM rows_%d %s ORDER BY id",
	    (int)space, after.data != NULL ? "WHERE id > ?1" : "");
	rc = sqlite3_prepare_v2(r->db, sql, -1, &w->statement, NULL);
	if (rc == SQLITE_OK && after.data != NULL)
		rc = sql_bind(w->statement, 1, after);
	return reader_code(r, rc);
}

int
walk_step(struct walk *w)
{
	sqlite3 *db = sqlite3_db_handle(w->statement);
	int rc = sqlite3_step(w->statement);

	if (rc == SQLITE_ROW) {
		w->id = sql_column(w->statement, 0);
		w->stored = sql_column(w->statement, 1);
		return sqlite3_errcode(db) == SQLITE_NOMEM ? DYN_ENOMEM : 0;
	}
	w->end = true;
	return rc == SQLITE_DONE ? 0 : sql_code(rc, sqlite3_system_errno(db));
}

void
walk_close(struct walk *w)
{
	sqlite3_finalize(w->statement);
	w->statement = NULL;
}
