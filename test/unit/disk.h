/*
 * A disk in memory that can fail: an SQLite VFS for tests.
 *
 * It knows what was synced and what was only written, so that a power cut can
 * lose any part of the latter; and it can let the n-th operation fail.  One
 * thread.  The disk is the default VFS of the process from disk_install on.
 */
#ifndef DYN_TEST_DISK_H
#define DYN_TEST_DISK_H

#include "base/rng.h"

enum disk_op {
	DISK_OPEN = 1,
	DISK_READ = 2,
	DISK_WRITE = 4,
	DISK_SYNC = 8,
	DISK_TRUNCATE = 16,
	DISK_DELETE = 32,
	DISK_SHM = 64, /* growing the shared index of the log */
	DISK_ANY = 127
};

struct disk_faults {
	unsigned ops;  /* which operations count and fail */
	long after;    /* the one after so many fails; -1 = none */
	bool lasting;  /* and all after it too */
	bool no_space; /* writes fail for want of space, not with EIO */
	bool half;     /* a write that fails leaves its first half */
	bool undone;   /* a sync that fails drops what it should have written */
	bool dead;     /* everything fails: the power is off */
	long capacity; /* bytes of all files; -1 = no end */
	/* Called once, when a reader is about to fix what it sees of the file. */
	void (*reading)(void *arg);
	void *arg;
	long regions;  /* out: how often the shared index of the log grew */
	long failures; /* out: how many operations failed */
};

extern struct disk_faults disk;

void disk_install(void);
void disk_wipe(void); /* no files, no faults */
void disk_calm(void); /* no faults */
/* Everything written and not synced is kept or lost by sectors at random.
 * All handles must be closed. */
void disk_power_cut(struct rng *);
long disk_used(void);
long disk_handles(void);

#endif
