/* The data directory: lock, format, and whether the last close was clean. */
#include "host/dir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define FORMAT 1

/* Whose inode and change time the clean marker remembers: a copy of the
 * directory has other ones, and so has a file that was put back alone. */
static const char *const witnesses[] = {"lock", "data.db"};
#define MARKER_MAX 512

static int
code_of(int errnum)
{
	switch (errnum) {
	case ENOSPC:
	case EDQUOT:
		return DYN_EFULL;
	case EROFS:
	case EACCES:
	case EPERM:
		return DYN_EREADONLY;
	case ENOMEM:
		return DYN_ENOMEM;
	default:
		return DYN_EIO;
	}
}

static int
fail(const struct dir *d, const char *what, struct dyn_error *error)
{
	int errnum = errno;

	return error_set(
	    error, code_of(errnum), "%s: %s: %s", d->path, what, strerror(errnum));
}

/* ------------------------------------------------------------- small files */

/* Read a file of at most max - 1 bytes; its length, or -1 and errno. */
static ssize_t
read_file(int dir_fd, const char *name, char *text, size_t max)
{
	int fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	ssize_t len, all = 0;

	if (fd < 0)
		return -1;
	while ((len = read(fd, text + all, max - 1 - (size_t)all)) > 0)
		all += len;
	close(fd);
	text[all] = '\0';
	return len < 0 ? -1 : all;
}

static int
write_all(int fd, const char *text)
{
	size_t len = strlen(text);
	ssize_t n;

	while (len > 0) {
		n = write(fd, text, len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -1;
		text += n;
		len -= (size_t)n;
	}
	return fsync(fd);
}

/* A file is there whole and durable, or not at all.  0, or -1 and errno. */
static int
write_file(int dir_fd, const char *name, const char *text)
{
	char temporary[64];
	int fd, rc, errnum;

	snprintf(temporary, sizeof(temporary), "%s.new", name);
	fd = openat(dir_fd, temporary,
	    O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return -1;
	rc = write_all(fd, text);
	errnum = errno;
	if (close(fd) != 0 && rc == 0) {
		rc = -1;
		errnum = errno;
	}
	if (rc == 0 && renameat(dir_fd, temporary, dir_fd, name) == 0)
		return fsync(dir_fd);
	if (rc == 0)
		errnum = errno;
	unlinkat(dir_fd, temporary, 0);
	errno = errnum;
	return -1;
}

/* ----------------------------------------------------------- the directory */

static int
sync_parent(const char *path)
{
	char *copy = mem_strdup(path), *cut;
	int fd, rc = -1;

	if (copy == NULL) {
		errno = ENOMEM;
		return -1;
	}
	for (size_t len = strlen(copy); len > 1 && copy[len - 1] == '/'; len--)
		copy[len - 1] = '\0';
	cut = strrchr(copy, '/');
	if (cut != NULL)
		cut[cut == copy ? 1 : 0] = '\0';
	fd = open(cut != NULL ? copy : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd >= 0) {
		rc = fsync(fd);
		close(fd);
	}
	mem_free(copy);
	return rc;
}

/* Make it if it is missing; a descriptor of it. */
static int
open_directory(const struct dir *d, int *out, struct dyn_error *error)
{
	*out = -1;
	if (mkdir(d->path, 0700) == 0) {
		if (sync_parent(d->path) != 0)
			return fail(d, "cannot sync the folder above", error);
	} else if (errno != EEXIST) {
		return fail(d, "cannot create the directory", error);
	}
	*out = open(d->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return *out >= 0 ? 0 : fail(d, "cannot open the directory", error);
}

/* May be there before the format file is: a crash came in between. */
static bool
is_ours(const char *name)
{
	return strcmp(name, ".") == 0 || strcmp(name, "..") == 0 ||
	       strcmp(name, "lock") == 0 || strcmp(name, "format.new") == 0 ||
	       strcmp(name, "lost+found") == 0;
}

static int
check_empty(const struct dir *d, int dir_fd, struct dyn_error *error)
{
	int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc = 0;
	const struct dirent *entry;
	DIR *list = fd >= 0 ? fdopendir(fd) : NULL;

	if (list == NULL) {
		rc = fail(d, "cannot list the directory", error);
		if (fd >= 0)
			close(fd);
		return rc;
	}
	while (rc == 0 && (entry = readdir(list)) != NULL)
		if (!is_ours(entry->d_name))
			rc = error_set(error, DYN_ECORRUPT,
			    "%s is not empty and not libdyn's: it holds %.64s", d->path,
			    entry->d_name);
	closedir(list);
	return rc;
}

/* Look at the format file; *fresh: there is none and the directory is empty. */
static int
check_format(const struct dir *d, int dir_fd, bool *fresh, struct dyn_error *error)
{
	char text[64], again[64];
	unsigned format = 0;

	*fresh = false;
	if (read_file(dir_fd, "format", text, sizeof(text)) < 0) {
		if (errno != ENOENT)
			return fail(d, "cannot read format", error);
		*fresh = true;
		return check_empty(d, dir_fd, error);
	}
	if (sscanf(text, "libdyn %9u", &format) == 1)
		snprintf(again, sizeof(again), "libdyn %u\n", format);
	if (format == 0 || strcmp(text, again) != 0)
		return error_set(
		    error, DYN_ECORRUPT, "%s: the file format is not libdyn's", d->path);
	if (format > FORMAT)
		return error_set(error, DYN_EVERSION,
		    "%s has format %u, this libdyn knows up to %d", d->path, format,
		    FORMAT);
	return 0;
}

/*
 * An OFD lock belongs to the open file: unlike the older locks of processes
 * it does not go when somebody else in the process closes the same file.
 */
static int
take_lock(struct dir *d, int dir_fd, struct dyn_error *error)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

	d->lock_fd =
	    openat(dir_fd, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (d->lock_fd < 0)
		return fail(d, "cannot open lock", error);
	if (fcntl(d->lock_fd, F_OFD_SETLK, &lock) == 0)
		return 0;
	if (errno == EAGAIN || errno == EACCES)
		return error_set(
		    error, DYN_ELOCKED, "%s is in use by another process", d->path);
	return fail(d, "cannot lock", error);
}

static void
release_lock(struct dir *d)
{
	struct flock lock = {.l_type = F_UNLCK, .l_whence = SEEK_SET};

	if (d->lock_fd < 0)
		return;
	/* By name, not by closing: a forked child may hold the file too. */
	(void)fcntl(d->lock_fd, F_OFD_SETLK, &lock);
	close(d->lock_fd);
	d->lock_fd = -1;
}

/* ------------------------------------------------------------------- clean */

/* What the marker has to say for this directory as it is now. */
static int
describe(int dir_fd, char text[MARKER_MAX])
{
	size_t len = 0;
	struct stat st;

	text[0] = '\0';
	for (size_t i = 0; i < ARRAY_LEN(witnesses); i++) {
		if (fstatat(dir_fd, witnesses[i], &st, AT_SYMLINK_NOFOLLOW) != 0) {
			if (errno != ENOENT)
				return -1;
			continue;
		}
		len += (size_t)snprintf(text + len, MARKER_MAX - len,
		    "%s %llu %lld.%09ld %lld\n", witnesses[i],
		    (unsigned long long)st.st_ino, (long long)st.st_ctim.tv_sec,
		    st.st_ctim.tv_nsec, (long long)st.st_size);
		DYN_ASSERT(len < MARKER_MAX);
	}
	return 0;
}

/* What the place is, as a line for each witness. */
static int
describe_place(int dir_fd, char text[MARKER_MAX])
{
	size_t len = 0;
	struct stat st;

	text[0] = '\0';
	for (size_t i = 0; i < ARRAY_LEN(witnesses); i++) {
		if (fstatat(dir_fd, witnesses[i], &st, AT_SYMLINK_NOFOLLOW) != 0)
			return -1;
		len += (size_t)snprintf(text + len, MARKER_MAX - len, "%s %llu\n", witnesses[i],
		    (unsigned long long)st.st_ino);
		DYN_ASSERT(len < MARKER_MAX);
	}
	return 0;
}

/* Is it what was here at the last open?  After take_marker. */
static bool
was_moved(const struct dir *d, int dir_fd, bool marked)
{
	char found[MARKER_MAX], is[MARKER_MAX];
	struct stat st;

	/* No place: the first open was cut off before there was anything. */
	if (read_file(dir_fd, "place", found, sizeof(found)) < 0)
		return false;
	if (describe_place(dir_fd, is) != 0 || strcmp(found, is) != 0)
		return true;
	if (d->clean)
		return false;
	/* Closed well, and then changed by somebody else.  Or a crash: it leaves the
	 * log of what the last life has written. */
	return marked || fstatat(dir_fd, "data.db-wal", &st, AT_SYMLINK_NOFOLLOW) != 0;
}

/*
 * Read the marker and take it away for good: from now on, until a clean close,
 * whoever finds the directory must assume a crash.
 */
static int
take_marker(struct dir *d, int dir_fd, struct dyn_error *error)
{
	char found[MARKER_MAX], expected[MARKER_MAX];

	d->clean = false;
	if (read_file(dir_fd, "clean", found, sizeof(found)) < 0) {
		if (errno == ENOENT) {
			d->moved = was_moved(d, dir_fd, false);
			return 0;
		}
		/* Unreadable is as good as missing, if it can be removed. */
		found[0] = '\0';
	}
	d->clean = describe(dir_fd, expected) == 0 && strcmp(found, expected) == 0;
	d->moved = was_moved(d, dir_fd, true);
	if (unlinkat(dir_fd, "clean", 0) != 0 || fsync(dir_fd) != 0)
		return fail(d, "cannot remove clean", error);
	return 0;
}

/* ---------------------------------------------------------------- the calls */

static int
enter(struct dir *d, int dir_fd, struct dyn_error *error)
{
	char text[32];
	bool fresh;
	int rc;

	/* Before we leave a lock file in somebody else's directory. */
	rc = check_format(d, dir_fd, &fresh, error);
	if (rc != 0)
		return rc;
	rc = take_lock(d, dir_fd, error);
	if (rc != 0)
		return rc;
	/* Another process may have created it meanwhile. */
	rc = check_format(d, dir_fd, &fresh, error);
	if (rc != 0)
		return rc;
	if (!fresh)
		return take_marker(d, dir_fd, error);
	d->created = true;
	snprintf(text, sizeof(text), "libdyn %d\n", FORMAT);
	if (write_file(dir_fd, "format", text) != 0)
		return fail(d, "cannot write format", error);
	return 0;
}

int
dir_open(struct dir *d, const char *path, struct dyn_error *error)
{
	int dir_fd = -1, rc;

	memset(d, 0, sizeof(*d));
	d->lock_fd = -1;
	d->path = mem_strdup(path);
	if (d->path == NULL)
		return error_set(error, DYN_ENOMEM, "%s", dyn_strerror(DYN_ENOMEM));
	rc = open_directory(d, &dir_fd, error);
	if (rc == 0)
		rc = enter(d, dir_fd, error);
	if (dir_fd >= 0)
		close(dir_fd);
	if (rc != 0) {
		release_lock(d);
		mem_free(d->path);
		d->path = NULL;
	}
	return rc;
}

int
dir_settle(struct dir *d)
{
	char is[MARKER_MAX], found[MARKER_MAX];
	int fd = open(d->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc = 0;

	if (fd < 0)
		return code_of(errno);
	/* An engine of the application's keeps its data elsewhere. */
	if (describe_place(fd, is) == 0 &&
	    (read_file(fd, "place", found, sizeof(found)) < 0 || strcmp(found, is) != 0) &&
	    write_file(fd, "place", is) != 0)
		rc = code_of(errno);
	close(fd);
	return rc;
}

char *
dir_file(const struct dir *d, const char *name)
{
	size_t len = strlen(d->path) + 1 + strlen(name) + 1;
	char *path = mem_alloc(len);

	if (path != NULL)
		snprintf(path, len, "%s/%s", d->path, name);
	return path;
}

void
dir_close(struct dir *d, bool clean)
{
	char text[MARKER_MAX];
	int dir_fd;

	if (d->path == NULL)
		return;
	dir_fd = clean ? open(d->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
	/* If this fails the next start takes it for a crash: no harm. */
	if (dir_fd >= 0 && describe(dir_fd, text) == 0)
		(void)write_file(dir_fd, "clean", text);
	if (dir_fd >= 0)
		close(dir_fd);
	release_lock(d);
	mem_free(d->path);
	d->path = NULL;
}

void
dir_abandon(struct dir *d)
{
	/* Closing our descriptor leaves the parent's lock: both are one open
	 * file, which the parent still holds. */
	if (d->lock_fd >= 0)
		close(d->lock_fd);
	d->lock_fd = -1;
	mem_free(d->path);
	d->path = NULL;
}
