/*
 * The data directory: who may use it, and what it remembers of us.
 *
 *	lock     held (fcntl OFD lock) while a process has the directory
 *	format   "libdyn 1\n": foreign directories and newer formats are refused
 *	data.db  the SQLite engine's file
 *	clean    written by a clean close, removed and synced at open before
 *	         anything else: says that no event was lost since
 *	place    inodes of lock and data.db: says that they are still the ones that
 *	         were here, also after a crash
 *
 * Node id, incarnation and the saved view are rows of DYN_SPACE_META, in the
 * engine, so that they share its crash safety.
 *
 * A copy that may have lost events must not mint under its old actor (DESIGN
 * 7).  `clean` therefore holds inode, ctime and size of lock and data.db,
 * which no copy or restore of files preserves: a restored directory looks like
 * a crash, and a crash always takes a new incarnation.
 *
 * Copies that lack what was acknowledged must not answer "not found" for it
 * either (core/repair.h).  A crash loses nothing that was on disk, but a file put
 * in the place of another does, and so does a write-ahead log that somebody has
 * cleaned away; `moved` tells both.  What the directory cannot see is a whole file
 * system or virtual machine put back to an earlier snapshot, and after a crash an
 * old data.db written over the bytes of the new one; the first is found out by the
 * ring, if the node was started since (core/member.c, overtake).
 */
#ifndef DYN_DIR_H
#define DYN_DIR_H

#include "base/base.h"

struct dir {
	char *path;
	int lock_fd;
	bool clean;   /* the last user closed it cleanly, here */
	bool created; /* it is new */
	bool moved;   /* files were copied here, put back or removed */
};

/* DYN_ELOCKED, DYN_EREADONLY, DYN_ECORRUPT (not libdyn's: not empty and no
 * format file), DYN_EVERSION, DYN_EFULL, DYN_EIO, DYN_ENOMEM. */
int dir_open(struct dir *, const char *path, struct dyn_error *) DYN_CHECK;
/* This is its place from now on: to be called once `moved` was acted on. */
int dir_settle(struct dir *) DYN_CHECK;
/* Path of a file in it; free with mem_free. */
char *dir_file(const struct dir *, const char *name);
/* clean: the engine has closed without error. */
void dir_close(struct dir *, bool clean);
/* In a forked child: free memory, leave the lock alone. */
void dir_abandon(struct dir *);

#endif
