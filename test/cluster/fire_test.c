/*
 * Goal: storage under fire.  Whatever happens to the disk of one peer of a ring - reads,
 * writes or syncs that fail, a file system that turned read-only, damaged pages, no
 * descriptors left, SIGKILL while it starts - it says what is wrong, acknowledges nothing
 * it does not have, never takes a sync for good after one has failed, and costs no read;
 * when the fault has gone, or its directory was replaced, it holds what the others hold.
 * Method: three processes, N=3.  This program has pread, pwrite and fdatasync of its own,
 * which SQLite calls instead of the C library's, and which fail in the directory that is
 * named in shared memory.  Limits of descriptors are set from outside (prlimit).
 */
#include "ring.h"

#include "base/rng.h"
#include "base/timer.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { VICTIM = 1, KEYS = 40, BIG_KEYS = 420, BIG = 12000 };

/* ---------------------------------------------------------------- the disk */

/* Seen by all processes of a test.  An errno, 0: it works. */
static struct disk {
	char dir[256];     /* only files below it fail */
	atomic_int read, write, sync;
	atomic_bool once;  /* the first failure ends it: as the kernel tells of a sync */
	atomic_uint calls; /* that came here at all */
	atomic_uint failed_reads, failed_writes;
	atomic_int broken; /* pid whose write or sync has failed */
	atomic_uint after; /* writes and syncs of that process that went well since */
} *disk;

ssize_t disk_pread(int fd, void *to, size_t len, off_t at) __asm__("pread64");
ssize_t disk_pwrite(int fd, const void *from, size_t len, off_t at) __asm__("pwrite64");
int disk_fdatasync(int fd) __asm__("fdatasync");

static bool
is_data(int fd)
{
	char link[64], path[512];
	ssize_t len;
	const char *name;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	len = readlink(link, path, sizeof(path) - 1);
	if (len <= 0)
		return false;
	path[len] = '\0';
	name = strrchr(path, '/');
	return strncmp(path, disk->dir, strlen(disk->dir)) == 0 &&
	       (strcmp(name, "/data.db") == 0 || strcmp(name, "/data.db-wal") == 0);
}

/* True: fail, errno is set. */
static bool
fails(int fd, atomic_int *fault, atomic_uint *count)
{
	int code = atomic_load(fault);

	if (code == 0 || !is_data(fd))
		return false;
	if (atomic_load(&disk->once) && !atomic_compare_exchange_strong(fault, &code, 0))
		return false;
	atomic_fetch_add(count, 1);
	errno = code;
	return true;
}

static bool
write_fails(int fd, atomic_int *fault)
{
	if (fails(fd, fault, &disk->failed_writes)) {
		atomic_store(&disk->broken, (int)getpid());
		return true;
	}
	if (atomic_load(&disk->broken) == (int)getpid() && is_data(fd))
		atomic_fetch_add(&disk->after, 1);
	return false;
}

ssize_t
disk_pread(int fd, void *to, size_t len, off_t at)
{
	if (disk != NULL && fails(fd, &disk->read, &disk->failed_reads))
		return -1;
	return syscall(SYS_pread64, fd, to, len, at);
}

ssize_t
disk_pwrite(int fd, const void *from, size_t len, off_t at)
{
	if (disk != NULL)
		atomic_fetch_add(&disk->calls, 1);
	if (disk != NULL && write_fails(fd, &disk->write))
		return -1;
	return syscall(SYS_pwrite64, fd, from, len, at);
}

int
disk_fdatasync(int fd)
{
	if (disk != NULL && write_fails(fd, &disk->sync))
		return -1;
	return (int)syscall(SYS_fdatasync, fd);
}

/* Before the processes are started. */
static void
disk_init(const struct ring *r)
{
	disk = mmap(NULL, sizeof(*disk), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ck_assert_ptr_ne(disk, MAP_FAILED);
	snprintf(disk->dir, sizeof(disk->dir), "%s/", r->dir[VICTIM]);
}

static bool
disk_is_ours(const char *test)
{
	if (atomic_load(&disk->calls) > 0)
		return true;
	fprintf(stderr, "fire_test: SKIPPED, %s: SQLite writes by other calls\n", test);
	return false;
}

/* ----------------------------------------------------------------- the ring */

static int
storage_error(struct proc *p)
{
	struct dyn_status s = DYN_STATUS_INIT;

	proc_status(p, &s);
	return s.storage_error;
}

static const char *
key_of(unsigned i)
{
	static char key[16];

	snprintf(key, sizeof(key), "k%u", i);
	return key;
}

/* With the context of what is there. */
static int
put(struct proc *p, unsigned i, const char *value, unsigned w, struct proc_answer *a)
{
	struct proc_call c = {.key = key_of(i), .value = value, .call = {.w = w}};

	ck_assert_int_eq(proc_get(p, &c, a), 0);
	c.seen = a;
	return proc_put(p, &c, a);
}

/* Through all peers; or, if it cannot read the key, not through the victim: it would ask
 * another owner, since it has nothing to mint the next version from. */
static void
write_keys(struct ring *r, const char *value, unsigned w, bool reads)
{
	struct proc_answer a;

	for (unsigned i = 0; i < KEYS; i++) {
		int rc = put(&r->peer[reads ? i % 3 : i % 2 * 2], i, value, w, &a);

		ck_assert_msg(rc == 0, "put %u: %s", i, dyn_strerror(rc));
		ck_assert_uint_ge(a.receipt.on_disk, w);
	}
}

static void
reads_find(struct ring *r, const char *value)
{
	for (unsigned i = 0; i < KEYS; i++)
		ck_assert_str_eq(proc_read(&r->peer[i % 3], key_of(i), 0), value);
}

/* Its own copies, without anybody having read them. */
static void
holds(struct proc *p, const char *value)
{
	for (unsigned i = 0; i < KEYS; i++)
		TEST_WAIT(strcmp(proc_read(p, key_of(i), DYN_HERE), value) == 0, 20000);
}

/* Values that are told by their length, large enough to be folded into the file. */
static void
write_big(struct ring *r)
{
	struct proc_answer a;

	for (unsigned i = 0; i < BIG_KEYS; i++) {
		char key[16];
		struct proc_call c = {.key = key, .size = BIG + i, .call = {.w = 3}};

		snprintf(key, sizeof(key), "big%u", i);
		ck_assert_int_eq(proc_put(&r->peer[i % 3], &c, &a), 0);
	}
}

static int
read_big(struct proc *p, unsigned i, unsigned r, unsigned flags, size_t *size)
{
	static struct proc_answer a;
	char key[16];
	struct proc_call c = {.key = key, .call = {.r = r, .flags = flags}};

	snprintf(key, sizeof(key), "big%u", i);
	proc_get(p, &c, &a);
	*size = a.count == 1 ? a.size : 0;
	return a.rc;
}

/* Through whomever, with so many answers. */
static void
big_are_found(struct ring *r, unsigned answers)
{
	size_t size;

	for (unsigned i = 0; i < BIG_KEYS; i++) {
		int rc = read_big(&r->peer[i % 3], i, answers, 0, &size);

		ck_assert_msg(rc == 0 && size == BIG + i, "big%u: %s, %zu bytes", i,
		    dyn_strerror(rc), size);
	}
}

/* How many of its copies can be read; none may be wrong. */
static unsigned
big_here(struct proc *p, int *error)
{
	unsigned good = 0;
	size_t size;

	*error = 0;
	for (unsigned i = 0; i < BIG_KEYS; i++) {
		int rc = read_big(p, i, 0, DYN_HERE, &size);

		if (rc != 0)
			*error = rc;
		ck_assert_msg(rc != 0 || size == 0 || size == BIG + i, "big%u: %zu bytes", i, size);
		good += rc == 0 && size == BIG + i;
	}
	return good;
}

static void
await_big_here(struct proc *p)
{
	struct dyn_status s = DYN_STATUS_INIT;
	int error;

	TEST_WAIT(big_here(p, &error) == BIG_KEYS && (proc_status(p, &s), s.catching == 0), 30000);
}

/* When the log of the victim was written last. */
static uint64_t
log_written(const struct ring *r)
{
	char path[600];
	struct stat st;

	snprintf(path, sizeof(path), "%s/data.db-wal", r->dir[VICTIM]);
	ck_assert_int_eq(stat(path, &st), 0);
	return (uint64_t)st.st_mtim.tv_sec * NS_PER_S + (uint64_t)st.st_mtim.tv_nsec;
}

/* Until the first rows have gone from memory to the tables, and most of those from the
 * log to the file: the work of when there is nothing else to do has ended. */
static void
await_folded(const struct ring *r)
{
	uint64_t written = log_written(r), quiet = test_now(), until = quiet + 20 * NS_PER_S;

	while (test_now() < quiet + 300 * NS_PER_MS) {
		ck_assert_msg(test_now() < until, "it does not come to rest");
		test_sleep_ms(20);
		if (log_written(r) == written)
			continue;
		written = log_written(r);
		quiet = test_now();
	}
}

/* ----------------------------------------------------- writes and syncs fail */

struct failure {
	const char *what;
	int write, sync; /* errno */
	int told;        /* by status and log */
};
static const struct failure failures[] = {
    {"a write fails", EIO, 0, DYN_EIO},
    {"a sync fails", 0, EIO, DYN_EIO},
    {"the disk is read-only", EROFS, 0, DYN_EREADONLY},
};

/* The fault is gone, but what it did is not: no acknowledgement of the victim's. */
static void
victim_counts_for_nothing(struct ring *r)
{
	struct proc_answer a;

	for (unsigned i = 0; i < KEYS; i++) {
		ck_assert_int_eq(put(&r->peer[i % 3], i, "new", 2, &a), 0);
		ck_assert_uint_eq(a.receipt.owners, 2);
		ck_assert_uint_eq(a.receipt.on_disk, 2);
		ck_assert_uint_eq(a.receipt.standins, 0);
	}
	for (unsigned i = 0; i < 6; i++)
		ck_assert_int_eq(put(&r->peer[i % 3], i, "new", 3, &a), DYN_EUNKNOWN);
}

START_TEST(writing_fails)
{
	const struct failure *f = &failures[_i];
	struct load *l = load_new(20, 2, 3000);
	struct ring r;
	int rc;

	ring_init(&r, 3);
	disk_init(&r);
	ring_open_all(&r);
	if (!disk_is_ours(f->what))
		return;
	write_keys(&r, "old", 3, true);
	proc_load(&r.peer[0], l, 1, 1);
	proc_load(&r.peer[2], l, 1, 1);
	load_await(l, 50, 50);
	atomic_store(&disk->once, true);
	atomic_store(&disk->write, f->write);
	atomic_store(&disk->sync, f->sync);
	TEST_WAIT(storage_error(&r.peer[VICTIM]) != 0, 5000);
	ck_assert_int_eq(storage_error(&r.peer[VICTIM]), f->told);
	ck_assert(proc_logged(&r.peer[VICTIM], dyn_strerror(f->told)));
	ck_assert_uint_eq(atomic_load(&disk->failed_writes), 1);
	load_phase(l, 1);
	victim_counts_for_nothing(&r);
	reads_find(&r, "new");
	/* What it had, it has, and nothing since.  A read sees what is on its way to the disk
	 * (core/store.h): that of a read repair goes when its commit is refused. */
	for (unsigned i = 0; i < KEYS; i++)
		TEST_WAIT(strcmp(proc_read(&r.peer[VICTIM], key_of(i), DYN_HERE), "old") == 0, 2000);
	load_await(l, 50, 50);
	ck_assert_uint_eq(atomic_load(&disk->after), 0);
	atomic_store(&l->stop, true);
	proc_unload(&r.peer[0]);
	proc_unload(&r.peer[2]);
	for (unsigned phase = 0; phase < 2; phase++) {
		ck_assert_uint_eq(atomic_load(&l->count[phase].get_failed), 0);
		ck_assert_uint_eq(atomic_load(&l->count[phase].put_failed), 0);
		ck_assert_uint_eq(atomic_load(&l->count[phase].put_unknown), 0);
	}
	rc = proc_close(&r.peer[VICTIM], 3000);
	ck_assert_int_eq(rc, f->told);
	ck_assert_uint_eq(atomic_load(&disk->after), 0);
	/* A new process, and the disk works. */
	ring_open(&r, VICTIM);
	ring_settled(&r, 3);
	holds(&r.peer[VICTIM], "new");
	write_keys(&r, "newest", 3, true);
	load_check(l);
	load_verify(l, &r.peer[VICTIM], 0);
	ck_assert_int_eq(storage_error(&r.peer[VICTIM]), 0);
	ring_close(&r);
}
END_TEST

/* A ring of one: nobody else has what could not be synced, but a restart may find it in
 * the log.  So it must not be told that it was not applied. */
START_TEST(nobody_knows)
{
	struct proc_answer a;
	struct proc_call c = {.key = "k", .value = "v"};
	struct dyn_options o;
	struct proc p;
	struct ring r;

	ring_init(&r, 2);
	disk_init(&r);
	r.base.n = 1;
	o = ring_options(&r, VICTIM);
	o.join = DYN_JOIN_CREATE;
	o.seeds = NULL;
	proc_open(&p, &o);
	if (!disk_is_ours("nobody knows"))
		return;
	proc_write(&p, "other", "v");
	atomic_store(&disk->once, true);
	atomic_store(&disk->sync, EIO);
	proc_put(&p, &c, &a);
	ck_assert_int_ne(a.rc, 0);
	ck_assert_str_eq(proc_read(&p, "k", 0), "");
	ck_assert_str_eq(proc_read(&p, "other", 0), "v");
	proc_kill(&p);
	proc_open(&p, &o);
	ck_assert_msg(a.rc == DYN_EUNKNOWN || strcmp(proc_read(&p, "k", 0), "") == 0,
	    "it said \"%s\", and has it", dyn_strerror(a.rc));
	ck_assert_str_eq(proc_read(&p, "other", 0), "v");
	ck_assert_int_eq(proc_close(&p, 3000), 0);
}
END_TEST

/* A file system that is read-only when the peer starts. */
START_TEST(mounted_read_only)
{
	struct dyn_error error;
	struct dyn_options o;
	struct ring r;

	ring_init(&r, 3);
	disk_init(&r);
	if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
	    mount("none", r.dir[VICTIM], "tmpfs", 0, "size=64m") != 0) {
		fprintf(stderr, "fire_test: SKIPPED, mounted read-only: this user may not mount: %s\n",
		    strerror(errno));
		return;
	}
	ring_open_all(&r);
	write_keys(&r, "old", 3, true);
	proc_kill(&r.peer[VICTIM]);
	ck_assert_int_eq(mount("none", r.dir[VICTIM], NULL, MS_REMOUNT | MS_RDONLY, NULL), 0);
	o = ring_options(&r, VICTIM);
	proc_start(&r.peer[VICTIM], &o);
	ck_assert_int_eq(proc_ready(&r.peer[VICTIM], &error), DYN_EREADONLY);
	ck_assert_msg(strstr(error.text, r.dir[VICTIM]) != NULL, "%s", error.text);
	for (unsigned i = 0; i < KEYS; i++) {
		struct proc_answer a;

		ck_assert_int_eq(put(&r.peer[i % 2 * 2], i, "new", 2, &a), 0);
	}
	ck_assert_int_eq(mount("none", r.dir[VICTIM], NULL, MS_REMOUNT, NULL), 0);
	ring_open(&r, VICTIM);
	ring_settled(&r, 3);
	holds(&r.peer[VICTIM], "new");
	ring_close(&r);
	umount2(r.dir[VICTIM], MNT_DETACH);
}
END_TEST

/* -------------------------------------------------------------- reads fail */

START_TEST(reading_fails)
{
	struct proc_answer a;
	struct ring r;
	size_t size;
	int error;

	ring_init(&r, 3);
	disk_init(&r);
	ring_open_all(&r);
	if (!disk_is_ours("reading fails"))
		return;
	write_big(&r);
	await_folded(&r);
	atomic_store(&disk->read, EIO);
	ck_assert_uint_lt(big_here(&r.peer[VICTIM], &error), BIG_KEYS);
	ck_assert(error == DYN_EIO || error == DYN_ECORRUPT);
	ck_assert_uint_gt(atomic_load(&disk->failed_reads), 0);
	ck_assert_int_ne(storage_error(&r.peer[VICTIM]), 0);
	/* One line a second; and SQLite may take the first for a damaged page. */
	TEST_WAIT((big_here(&r.peer[VICTIM], &error),
		      proc_logged(&r.peer[VICTIM], dyn_strerror(DYN_EIO))),
	    3000);
	big_are_found(&r, 1);
	big_are_found(&r, 2);
	/* Three copies are wanted, and there are two that can be read. */
	for (unsigned i = 0; i < BIG_KEYS; i++)
		if (read_big(&r.peer[VICTIM], i, 0, DYN_HERE, &size) != 0)
			ck_assert_int_ne(read_big(&r.peer[0], i, 3, 0, &size), 0);
	write_keys(&r, "v", 2, false);
	reads_find(&r, "v");
	/* Another owner takes the write; or there is none that can. */
	error = put(&r.peer[VICTIM], 0, "no", 3, &a);
	ck_assert_msg(error != 0, "three wrote");
	error = put(&r.peer[VICTIM], 0, "v", 2, &a);
	ck_assert_msg(error == 0, "%s", dyn_strerror(error));
	ck_assert_str_eq(proc_read(&r.peer[0], key_of(0), 0), "v");
	atomic_store(&disk->read, 0);
	await_big_here(&r.peer[VICTIM]);
	holds(&r.peer[VICTIM], "v");
	write_keys(&r, "w", 3, true);
	ring_close(&r);
}
END_TEST

/* ------------------------------------------------------------ damaged pages */

/* Some bytes in the middle of every third page, but of those where the tables begin. */
static void
damage(const struct ring *r)
{
	unsigned char noise[64];
	char path[600];
	struct stat st;
	int fd;

	memset(noise, 0xa5, sizeof(noise));
	snprintf(path, sizeof(path), "%s/data.db", r->dir[VICTIM]);
	fd = open(path, O_RDWR);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(fstat(fd, &st), 0);
	for (off_t at = 4096 * 16; at + 4096 <= st.st_size; at += 4096 * 3)
		ck_assert_int_eq(pwrite(fd, noise, sizeof(noise), at + 2000), sizeof(noise));
	close(fd);
}

/* Every third row that was folded is another, as its seal tells; the file is in order. */
static void
damage_rows(const struct ring *r)
{
	sqlite3 *db;
	char path[600];

	snprintf(path, sizeof(path), "%s/data.db", r->dir[VICTIM]);
	ck_assert_int_eq(sqlite3_open(path, &db), SQLITE_OK);
	ck_assert_int_eq(sqlite3_exec(db,
			     "UPDATE rows_0 SET value = zeroblob(length(value))"
			     " WHERE length(value) > 10000 AND length(value) % 3 = 0",
			     NULL, NULL, NULL),
	    SQLITE_OK);
	ck_assert_int_gt(sqlite3_changes(db), 20);
	/* The log stays, as after the crash: its absence would be noticed. */
	ck_assert_int_eq(sqlite3_db_config(db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL), SQLITE_OK);
	ck_assert_int_eq(sqlite3_close(db), SQLITE_OK);
}

/* The directory goes; the peer comes back as who it was. */
static void
replace_directory(struct ring *r, const char *id)
{
	struct dyn_options o = ring_options(r, VICTIM);

	test_remove(r->dir[VICTIM]);
	o.id = id;
	proc_open(&r->peer[VICTIM], &o);
	ring_settled(r, 3);
	big_are_found(r, 1);
	await_big_here(&r->peer[VICTIM]);
}

/* Pages after a close (0), when it is also seen that somebody has touched the file; rows
 * after a kill (1), when nothing shows at the start; pages while it runs (2). */
START_TEST(damaged_pages)
{
	bool running = _i == 2;
	struct dyn_status s = DYN_STATUS_INIT;
	struct dyn_error error;
	struct dyn_options o;
	struct ring r;
	char id[33];
	int code;

	ring_init(&r, 3);
	disk_init(&r);
	ring_open_all(&r);
	write_big(&r);
	await_folded(&r);
	dyn_id_format(r.peer[VICTIM].id, id);
	if (_i == 0)
		ck_assert_int_eq(proc_close(&r.peer[VICTIM], 3000), 0);
	else if (_i == 1)
		proc_kill(&r.peer[VICTIM]);
	if (_i == 1)
		damage_rows(&r);
	else
		damage(&r);
	if (!running) {
		o = ring_options(&r, VICTIM);
		proc_start(&r.peer[VICTIM], &o);
		code = proc_ready(&r.peer[VICTIM], &error);
		ck_assert_msg(code == 0 || (code == DYN_ECORRUPT && _i == 0), "%d %s", code,
		    error.text);
		if (code != 0) {
			ck_assert_msg(strstr(error.text, r.dir[VICTIM]) != NULL, "%s", error.text);
			replace_directory(&r, id);
			ring_close(&r);
			return;
		}
	}
	big_are_found(&r, 2);
	if (_i == 1) {
		/* Rows by themselves are filled again where they are. */
		await_big_here(&r.peer[VICTIM]);
		ck_assert(proc_logged(&r.peer[VICTIM], "filled again by the other owners"));
		TEST_WAIT((proc_status(&r.peer[VICTIM], &s), s.catching == 0 && s.unhashed == 0), 60000);
		big_are_found(&r, 1);
		write_keys(&r, "v", 3, true);
		holds(&r.peer[VICTIM], "v");
		ring_close(&r);
		return;
	}
	if (big_here(&r.peer[VICTIM], &code) < BIG_KEYS)
		ck_assert_msg(code == 0 || code == DYN_ECORRUPT, "%d", code);
	/* Rows are filled again where they are.  Pages that cannot be read are not; from when
	 * it has looked at them their copies count for no read. */
	if (!running) {
		TEST_WAIT((proc_status(&r.peer[VICTIM], &s), s.unhashed == s.catching &&
		    (s.catching > 0 || big_here(&r.peer[VICTIM], &code) == BIG_KEYS)), 60000);
		big_are_found(&r, 1);
	}
	ck_assert(proc_logged(&r.peer[VICTIM], dyn_strerror(DYN_ECORRUPT)) ||
	    proc_logged(&r.peer[VICTIM], "damaged rows"));
	/* What is written now, elsewhere in the file, is compared all the same. */
	write_keys(&r, "v", 2, false);
	reads_find(&r, "v");
	proc_kill(&r.peer[VICTIM]);
	replace_directory(&r, id);
	holds(&r.peer[VICTIM], "v");
	ring_close(&r);
}
END_TEST

/* ------------------------------------------------------------ no descriptors */

static void
limit_descriptors(const struct proc *p, rlim_t limit, rlim_t *old)
{
	struct rlimit now, before;

	ck_assert_int_eq(prlimit(p->pid, RLIMIT_NOFILE, NULL, &before), 0);
	now = before;
	now.rlim_cur = limit;
	ck_assert_int_eq(prlimit(p->pid, RLIMIT_NOFILE, &now, NULL), 0);
	if (old != NULL)
		*old = before.rlim_cur;
}

static double
cpu_seconds(const struct proc *p)
{
	unsigned long user, kernel;
	char path[64], text[1024];
	const char *at;
	size_t len;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)p->pid);
	f = fopen(path, "r");
	ck_assert_ptr_nonnull(f);
	len = fread(text, 1, sizeof(text) - 1, f);
	fclose(f);
	text[len] = '\0';
	at = strrchr(text, ')');
	ck_assert_ptr_nonnull(at);
	ck_assert_int_eq(sscanf(at, ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user,
			     &kernel),
	    2);
	return (double)(user + kernel) / (double)sysconf(_SC_CLK_TCK);
}

/* They wait in its queue. */
static void
knock(const char *address, int *fds, unsigned count)
{
	struct sockaddr_in a = {.sin_family = AF_INET};
	unsigned port;

	ck_assert_int_eq(sscanf(address, "127.0.0.1:%u", &port), 1);
	a.sin_port = htons((uint16_t)port);
	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	for (unsigned i = 0; i < count; i++) {
		fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		ck_assert_int_ge(fds[i], 0);
		(void)connect(fds[i], (struct sockaddr *)&a, sizeof(a));
	}
}

START_TEST(no_descriptors)
{
	struct proc *victim;
	int fds[20];
	rlim_t old;
	double used;
	struct ring r;

	ring_init(&r, 3);
	disk_init(&r);
	ring_open_all(&r);
	victim = &r.peer[VICTIM];
	write_keys(&r, "old", 3, true);
	limit_descriptors(victim, 5, &old);
	knock(r.address[VICTIM], fds, ARRAY_LEN(fds));
	used = cpu_seconds(victim);
	test_sleep_ms(1500);
	used = cpu_seconds(victim) - used;
	ck_assert_msg(used < 0.5, "%.2f s of CPU in 1.5 s", used);
	ck_assert(proc_logged(victim, strerror(EMFILE)));
	/* Connections and files that it has serve on. */
	write_keys(&r, "new", 3, true);
	reads_find(&r, "new");
	holds(victim, "new");
	/* Somebody's connections break; new ones cannot be had. */
	proc_kill(&r.peer[0]);
	for (unsigned i = 0; i < KEYS; i++)
		ck_assert_str_eq(proc_read(&r.peer[1 + i % 2], key_of(i), 0), "new");
	limit_descriptors(victim, 5, NULL);
	ring_open(&r, 0);
	used = cpu_seconds(victim);
	test_sleep_ms(1500);
	used = cpu_seconds(victim) - used;
	ck_assert_msg(used < 0.5, "%.2f s of CPU in 1.5 s", used);
	for (unsigned i = 0; i < KEYS; i++)
		ck_assert_str_eq(proc_read(&r.peer[i % 3], key_of(i), 0), "new");
	limit_descriptors(victim, old, NULL);
	ring_settled(&r, 3);
	write_keys(&r, "newest", 3, true);
	for (unsigned i = 0; i < ARRAY_LEN(fds); i++)
		close(fds[i]);
	ring_close(&r);
}
END_TEST

/* -------------------------------------------------------------- SIGKILL */

/* At any instant of a start, again and again, while the others write. */
START_TEST(killed_while_it_starts)
{
	struct load *l = load_new(20, 2, 3000);
	struct rng rng = {test_seed()};
	struct ring r;

	ring_init(&r, 3);
	disk_init(&r);
	ring_open_all(&r);
	proc_load(&r.peer[0], l, 1, 1);
	proc_load(&r.peer[2], l, 1, 1);
	load_await(l, 50, 50);
	for (unsigned round = 0; round < 20; round++) {
		struct dyn_options o = ring_options(&r, VICTIM);

		proc_kill(&r.peer[VICTIM]);
		proc_start(&r.peer[VICTIM], &o);
		test_sleep_ms((unsigned)rng_below(&rng, 60));
	}
	proc_kill(&r.peer[VICTIM]);
	ring_open(&r, VICTIM);
	ring_settled(&r, 3);
	load_phase(l, 1);
	load_await(l, 50, 50);
	atomic_store(&l->stop, true);
	proc_unload(&r.peer[0]);
	proc_unload(&r.peer[2]);
	ck_assert_uint_eq(atomic_load(&l->count[0].get_failed), 0);
	ck_assert_uint_eq(atomic_load(&l->count[1].get_failed), 0);
	ck_assert_uint_eq(atomic_load(&l->count[1].put_failed), 0);
	load_check(l);
	for (unsigned i = 0; i < 3; i++)
		load_verify(l, &r.peer[i], 0);
	ring_close(&r);
}
END_TEST

static Suite *
suite(void)
{
	Suite *s = suite_create("fire");
	TCase *c = tcase_create("storage");

	tcase_set_timeout(c, 90);
	tcase_add_loop_test(c, writing_fails, 0, (int)ARRAY_LEN(failures));
	tcase_add_test(c, nobody_knows);
	tcase_add_test(c, mounted_read_only);
	tcase_add_test(c, reading_fails);
	tcase_add_loop_test(c, damaged_pages, 0, 3);
	tcase_add_test(c, no_descriptors);
	tcase_add_test(c, killed_while_it_starts);
	suite_add_tcase(s, c);
	return s;
}

TEST_MAIN(suite)
