/*
 * Package records: a file of paragraphs "Field: value", separated by empty
 * lines, as in /var/lib/dpkg/status.  The key of a record is its Package.
 */
#ifndef COMMON_RECORDS_H
#define COMMON_RECORDS_H

#include <dyn.h>

enum { RECORD_KEY_MAX = 128 };

struct record {
	char key[RECORD_KEY_MAX];
	struct dyn_slice text; /* into the file's bytes; without the empty line */
};

struct records {
	struct record *all;
	size_t count;
	size_t bytes; /* of all texts */
	struct dyn_buffer file;
};

/* At most max records of the file.  A package that is there more than once
 * (one record an architecture) gets ":ARCHITECTURE" behind its name, a second
 * of the same is left out.  0, or -1 with errno; zeroed memory in. */
int records_read(struct records *, const char *path, size_t max);
void records_free(struct records *);

#endif
