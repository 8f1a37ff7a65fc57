/*
 * Golden bytes: encodings that must never change, because they lie on disks and
 * travel between releases.
 *
 * A file has lines "name hex"; '#' starts a comment.  A line for what the code
 * makes today is printed when the bytes differ, to be put into the file by hand
 * where a change is meant.
 */
#ifndef DYN_GOLDEN_H
#define DYN_GOLDEN_H

#include "base/base.h"

#define GOLDEN_MAX 64

struct golden {
	char name[64];
	unsigned char bytes[1024];
	size_t len;
};

struct golden_file {
	char path[256];
	struct golden list[GOLDEN_MAX];
	size_t count;
};

/* The file of test/golden, which is found from the project's root.  Fails the
 * test if it is not there or malformed.  Static memory: the next load reuses it. */
const struct golden_file *golden_load(const char *name);
void golden_expect(const struct golden_file *, const char *name, struct dyn_slice bytes);

#endif
