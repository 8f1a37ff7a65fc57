/* A disk in memory that can fail. */
#include "disk.h"

#include <check.h>
#include <errno.h>
#include <sqlite3.h>
#include <stdlib.h>

#define FILES_MAX 8
#define SECTOR 512
#define SHM_MAX 64
#define LOCKS SQLITE_SHM_NLOCK

struct disk_faults disk = {.after = -1, .capacity = -1};

struct bytes {
	unsigned char *data;
	size_t len, cap;
};

/* A write or (data NULL) a truncation that was not synced. */
struct pending {
	struct pending *next;
	size_t at, len;
	unsigned char *data;
};

struct file {
	char name[128];
	bool exists;
	struct bytes now, synced;
	struct pending *first, *last;
	int handles, shared;
	struct handle *reserved, *exclusive;
	void *shm[SHM_MAX];
	int shm_users, shm_shared[LOCKS];
	struct handle *shm_exclusive[LOCKS];
};

struct handle {
	sqlite3_file base;
	struct file *file;
	int level;
	bool delete_at_close, shm;
	unsigned shm_shared, shm_exclusive;
};

static struct file files[FILES_MAX];

static bool
must_fail(unsigned op)
{
	if (disk.dead) {
		disk.failures++;
		return true;
	}
	if ((disk.ops & op) == 0 || disk.after < 0)
		return false;
	if (disk.after > 0) {
		disk.after--;
		return false;
	}
	if (!disk.lasting)
		disk.after = -1;
	disk.failures++;
	return true;
}

static void
resize(struct bytes *b, size_t len)
{
	if (len > b->cap) {
		b->cap = len * 2;
		b->data = realloc(b->data, b->cap);
		ck_assert_ptr_nonnull(b->data);
	}
	if (len > b->len)
		memset(b->data + b->len, 0, len - b->len);
	b->len = len;
}

static void
write_at(struct bytes *b, size_t at, const void *data, size_t len)
{
	if (at + len > b->len)
		resize(b, at + len);
	memcpy(b->data + at, data, len);
}

static void
forget_pending(struct file *f)
{
	struct pending *p;

	while ((p = f->first) != NULL) {
		f->first = p->next;
		free(p->data);
		free(p);
	}
	f->last = NULL;
}

static void
add_pending(struct file *f, size_t at, const void *data, size_t len)
{
	struct pending *p = calloc(1, sizeof(*p));

	p->at = at;
	p->len = len;
	if (data != NULL) {
		p->data = malloc(len + 1);
		memcpy(p->data, data, len);
	}
	if (f->last != NULL)
		f->last->next = p;
	else
		f->first = p;
	f->last = p;
}

long
disk_used(void)
{
	long used = 0;

	for (int i = 0; i < FILES_MAX; i++)
		used += files[i].exists ? (long)files[i].now.len : 0;
	return used;
}

long
disk_handles(void)
{
	long handles = 0;

	for (int i = 0; i < FILES_MAX; i++)
		handles += files[i].handles;
	return handles;
}

/* ---------------------------------------------------------------- one file */

static int
x_close(sqlite3_file *base)
{
	struct handle *h = (struct handle *)base;

	if (h->delete_at_close)
		h->file->exists = false;
	h->file->handles--;
	return SQLITE_OK;
}

static int
x_read(sqlite3_file *base, void *to, int len, sqlite3_int64 at)
{
	struct bytes *b = &((struct handle *)base)->file->now;
	size_t from = (size_t)at, want = (size_t)len, have;

	if (must_fail(DISK_READ))
		return SQLITE_IOERR_READ;
	have = from < b->len ? MIN(want, b->len - from) : 0;
	if (have > 0)
		memcpy(to, b->data + from, have);
	if (have == want)
		return SQLITE_OK;
	memset((char *)to + have, 0, want - have);
	return SQLITE_IOERR_SHORT_READ;
}

static int
x_write(sqlite3_file *base, const void *from, int len, sqlite3_int64 at)
{
	struct file *f = ((struct handle *)base)->file;
	size_t end = (size_t)at + (size_t)len;
	bool failed = must_fail(DISK_WRITE);

	if (!failed && disk.capacity >= 0 && end > f->now.len &&
	    disk_used() + (long)(end - f->now.len) > disk.capacity) {
		disk.failures++;
		return SQLITE_FULL;
	}
	if (!failed || (disk.half && !disk.dead)) {
		if (failed)
			len /= 2;
		write_at(&f->now, (size_t)at, from, (size_t)len);
		add_pending(f, (size_t)at, from, (size_t)len);
	}
	if (failed)
		return disk.no_space ? SQLITE_FULL : SQLITE_IOERR_WRITE;
	return SQLITE_OK;
}

static int
x_truncate(sqlite3_file *base, sqlite3_int64 len)
{
	struct file *f = ((struct handle *)base)->file;

	if (must_fail(DISK_TRUNCATE))
		return SQLITE_IOERR_TRUNCATE;
	resize(&f->now, (size_t)len);
	add_pending(f, (size_t)len, NULL, 0);
	return SQLITE_OK;
}

static int
x_sync(sqlite3_file *base, int flags)
{
	struct file *f = ((struct handle *)base)->file;

	(void)flags;
	if (must_fail(DISK_SYNC)) {
		/* What Linux does: the error is told once, and what was not
		 * written passes for clean until it leaves the cache. */
		if (disk.undone)
			forget_pending(f);
		return SQLITE_IOERR_FSYNC;
	}
	/* Not a copy of now: what a failed sync dropped stays dropped. */
	for (struct pending *p = f->first; p != NULL; p = p->next) {
		if (p->data != NULL)
			write_at(&f->synced, p->at, p->data, p->len);
		else
			resize(&f->synced, p->at);
	}
	forget_pending(f);
	return SQLITE_OK;
}

static int
x_size(sqlite3_file *base, sqlite3_int64 *out)
{
	*out = (sqlite3_int64)((struct handle *)base)->file->now.len;
	return SQLITE_OK;
}

static int
x_lock(sqlite3_file *base, int level)
{
	struct handle *h = (struct handle *)base;
	struct file *f = h->file;

	if (level <= h->level)
		return SQLITE_OK;
	if (f->exclusive != NULL && f->exclusive != h)
		return SQLITE_BUSY;
	if (level >= SQLITE_LOCK_RESERVED && f->reserved != NULL && f->reserved != h)
		return SQLITE_BUSY;
	if (level == SQLITE_LOCK_EXCLUSIVE &&
	    f->shared > (h->level >= SQLITE_LOCK_SHARED))
		return SQLITE_BUSY;
	if (h->level == SQLITE_LOCK_NONE)
		f->shared++;
	if (level >= SQLITE_LOCK_RESERVED)
		f->reserved = h;
	if (level == SQLITE_LOCK_EXCLUSIVE)
		f->exclusive = h;
	h->level = level;
	return SQLITE_OK;
}

static int
x_unlock(sqlite3_file *base, int level)
{
	struct handle *h = (struct handle *)base;
	struct file *f = h->file;

	if (level >= h->level)
		return SQLITE_OK;
	if (f->reserved == h)
		f->reserved = NULL;
	if (f->exclusive == h)
		f->exclusive = NULL;
	if (level == SQLITE_LOCK_NONE)
		f->shared--;
	h->level = level;
	return SQLITE_OK;
}

static int
x_reserved(sqlite3_file *base, int *out)
{
	*out = ((struct handle *)base)->file->reserved != NULL;
	return SQLITE_OK;
}

static int
x_control(sqlite3_file *base, int what, void *arg)
{
	(void)base;
	(void)what;
	(void)arg;
	return SQLITE_NOTFOUND;
}

static int
x_sector(sqlite3_file *base)
{
	(void)base;
	return SECTOR;
}

static int
x_device(sqlite3_file *base)
{
	(void)base;
	return SQLITE_IOCAP_POWERSAFE_OVERWRITE;
}

static int
x_shm_map(sqlite3_file *base, int region, int size, int extend, void volatile **out)
{
	struct handle *h = (struct handle *)base;

	ck_assert_int_lt(region, SHM_MAX);
	*out = NULL;
	if (h->file->shm[region] == NULL && extend) {
		if (must_fail(DISK_SHM))
			return SQLITE_IOERR_SHMSIZE;
		h->file->shm[region] = calloc(1, (size_t)size);
		disk.regions++;
	}
	if (!h->shm) {
		h->shm = true;
		h->file->shm_users++;
	}
	*out = h->file->shm[region];
	return SQLITE_OK;
}

/* The first shared lock of a connection on the log is that of a reader. */
static void
tell_reader(int flags)
{
	void (*call)(void *) = disk.reading;

	if (call == NULL || flags != (SQLITE_SHM_LOCK | SQLITE_SHM_SHARED))
		return;
	disk.reading = NULL;
	call(disk.arg);
}

static int
x_shm_lock(sqlite3_file *base, int offset, int n, int flags)
{
	struct handle *h = (struct handle *)base;
	struct file *f = h->file;

	tell_reader(flags);
	for (int i = offset; i < offset + n && (flags & SQLITE_SHM_LOCK) != 0; i++) {
		bool mine = (h->shm_shared >> i & 1) != 0;

		if (f->shm_exclusive[i] != NULL && f->shm_exclusive[i] != h)
			return SQLITE_BUSY;
		if ((flags & SQLITE_SHM_EXCLUSIVE) != 0 && f->shm_shared[i] > mine)
			return SQLITE_BUSY;
	}
	for (int i = offset; i < offset + n; i++) {
		if ((flags & SQLITE_SHM_EXCLUSIVE) != 0) {
			f->shm_exclusive[i] = (flags & SQLITE_SHM_LOCK) != 0 ? h : NULL;
		} else if ((flags & SQLITE_SHM_LOCK) != 0) {
			f->shm_shared[i] += (h->shm_shared >> i & 1) == 0;
			h->shm_shared |= 1u << i;
		} else {
			f->shm_shared[i] -= (h->shm_shared >> i & 1) != 0;
			h->shm_shared &= ~(1u << i);
		}
	}
	return SQLITE_OK;
}

static void
x_shm_barrier(sqlite3_file *base)
{
	(void)base;
}

static int
x_shm_unmap(sqlite3_file *base, int delete)
{
	struct handle *h = (struct handle *)base;
	struct file *f = h->file;

	(void)delete;
	if (!h->shm)
		return SQLITE_OK;
	h->shm = false;
	if (--f->shm_users > 0)
		return SQLITE_OK;
	for (int i = 0; i < SHM_MAX; i++) {
		free(f->shm[i]);
		f->shm[i] = NULL;
	}
	return SQLITE_OK;
}

static const sqlite3_io_methods methods = {
    .iVersion = 2,
    .xClose = x_close,
    .xRead = x_read,
    .xWrite = x_write,
    .xTruncate = x_truncate,
    .xSync = x_sync,
    .xFileSize = x_size,
    .xLock = x_lock,
    .xUnlock = x_unlock,
    .xCheckReservedLock = x_reserved,
    .xFileControl = x_control,
    .xSectorSize = x_sector,
    .xDeviceCharacteristics = x_device,
    .xShmMap = x_shm_map,
    .xShmLock = x_shm_lock,
    .xShmBarrier = x_shm_barrier,
    .xShmUnmap = x_shm_unmap,
};

/* ------------------------------------------------------------ the directory */

static struct file *
find(const char *name)
{
	for (int i = 0; i < FILES_MAX; i++)
		if (files[i].exists && strcmp(files[i].name, name) == 0)
			return &files[i];
	return NULL;
}

static void
clear(struct file *f)
{
	forget_pending(f);
	free(f->now.data);
	free(f->synced.data);
	memset(f, 0, sizeof(*f));
}

static struct file *
create(const char *name)
{
	for (int i = 0; i < FILES_MAX; i++) {
		if (files[i].exists || files[i].handles > 0)
			continue;
		clear(&files[i]);
		strncpy(files[i].name, name, sizeof(files[i].name) - 1);
		files[i].exists = true;
		return &files[i];
	}
	ck_abort_msg("too many files");
	return NULL;
}

static int
x_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *base, int flags, int *out_flags)
{
	struct handle *h = (struct handle *)base;
	struct file *f = name != NULL ? find(name) : NULL;

	(void)vfs;
	memset(h, 0, sizeof(*h));
	if (must_fail(DISK_OPEN) || (f == NULL && (flags & SQLITE_OPEN_CREATE) == 0))
		return SQLITE_CANTOPEN;
	h->file = f != NULL ? f : create(name != NULL ? name : "temporary");
	h->file->handles++;
	h->delete_at_close = (flags & SQLITE_OPEN_DELETEONCLOSE) != 0;
	h->base.pMethods = &methods;
	if (out_flags != NULL)
		*out_flags = flags;
	return SQLITE_OK;
}

static int
x_delete(sqlite3_vfs *vfs, const char *name, int sync)
{
	struct file *f = find(name);

	(void)vfs;
	(void)sync;
	if (must_fail(DISK_DELETE))
		return SQLITE_IOERR_DELETE;
	if (f == NULL)
		return SQLITE_IOERR_DELETE_NOENT;
	f->exists = false;
	return SQLITE_OK;
}

static int
x_access(sqlite3_vfs *vfs, const char *name, int flags, int *out)
{
	const struct file *f = find(name);

	(void)vfs;
	*out = f != NULL && (flags != SQLITE_ACCESS_EXISTS || f->now.len > 0);
	return SQLITE_OK;
}

static int
x_full_path(sqlite3_vfs *vfs, const char *name, int len, char *out)
{
	(void)vfs;
	sqlite3_snprintf(len, out, "%s", name);
	return SQLITE_OK;
}

static int
x_random(sqlite3_vfs *vfs, int len, char *out)
{
	static struct rng rng = {4711};

	(void)vfs;
	for (int i = 0; i < len; i++)
		out[i] = (char)rng_next(&rng);
	return len;
}

static int
x_sleep(sqlite3_vfs *vfs, int us)
{
	(void)vfs;
	return us;
}

static int
x_time(sqlite3_vfs *vfs, sqlite3_int64 *out)
{
	(void)vfs;
	*out = INT64_C(210866803200000);
	return SQLITE_OK;
}

static int
x_last_error(sqlite3_vfs *vfs, int len, char *text)
{
	(void)vfs;
	(void)len;
	(void)text;
	return EIO;
}

void
disk_install(void)
{
	static sqlite3_vfs vfs = {
	    .iVersion = 2,
	    .szOsFile = sizeof(struct handle),
	    .mxPathname = 100,
	    .zName = "disk",
	    .xOpen = x_open,
	    .xDelete = x_delete,
	    .xAccess = x_access,
	    .xFullPathname = x_full_path,
	    .xRandomness = x_random,
	    .xSleep = x_sleep,
	    .xGetLastError = x_last_error,
	    .xCurrentTimeInt64 = x_time,
	};

	ck_assert_int_eq(sqlite3_vfs_register(&vfs, 1), SQLITE_OK);
}

void
disk_calm(void)
{
	disk = (struct disk_faults){.after = -1, .capacity = -1};
}

void
disk_wipe(void)
{
	ck_assert_int_eq(disk_handles(), 0);
	for (int i = 0; i < FILES_MAX; i++)
		clear(&files[i]);
	disk_calm();
}

/* ----------------------------------------------------------------- power cut */

static void
keep_some(struct file *f, struct rng *rng)
{
	/* From all to nothing: each cut has its own luck. */
	uint64_t luck = rng_below(rng, 5);

	for (struct pending *p = f->first; p != NULL; p = p->next) {
		if (p->data == NULL) {
			if (rng_below(rng, 4) < luck)
				resize(&f->synced, p->at);
			continue;
		}
		for (size_t at = 0; at < p->len; at += SECTOR)
			if (rng_below(rng, 4) < luck)
				write_at(&f->synced, p->at + at, p->data + at,
				    MIN(SECTOR, p->len - at));
	}
}

void
disk_power_cut(struct rng *rng)
{
	ck_assert_int_eq(disk_handles(), 0);
	for (int i = 0; i < FILES_MAX; i++) {
		struct file *f = &files[i];

		if (!f->exists)
			continue;
		keep_some(f, rng);
		forget_pending(f);
		resize(&f->now, f->synced.len);
		if (f->synced.len > 0)
			memcpy(f->now.data, f->synced.data, f->synced.len);
	}
	disk_calm();
}
