/*
 * The engines of the library, as tests and benches need them.  Everybody else
 * uses <dyn.h>, section 7.
 */
#ifndef DYN_ENGINE_H
#define DYN_ENGINE_H

#include "base/base.h"

/* Sizes that decide when the SQLite engine does its background work. */
struct engine_tuning {
	/* Memory of rows not folded at which a generation is closed and folded;
	 * there are at most two, and twice this is about what a restart reads. */
	size_t fold_bytes;
	/* The same when there is nothing else to do. */
	size_t idle_bytes;
	/* Pages in SQLite's log at which it is copied into the file. */
	int checkpoint_pages;
};

/* tuning NULL: the defaults. */
int engine_sqlite_open(struct dyn_engine **out, const char *path,
    const struct engine_tuning *, struct dyn_error *) DYN_CHECK;

#endif
