/*
 * Goal: whatever the disk does, the SQLite engine tells the truth (DESIGN
 * 12: S1, S3, S4, S13, S16).
 *
 *  - What was acknowledged as synced is there after any power cut; what is
 *    there is a beginning of the sequence of batches, each whole.
 *  - A batch refused with anything but DYN_EIO is not there, now or later; one
 *    refused with DYN_EIO is there after a restart whole or not at all.
 *  - A read gives the right value or an error.
 *  - When the fault has gone, writing works again, but after DYN_EIO perhaps
 *    only when the engine was opened again.
 *
 * Method: a disk in memory (disk.h), sizes so small that all background work
 * happens all the time, and the same history of batches again and again, with
 * the n-th operation of a kind failing for n = 0, 1, 2, ... until none fails.
 * Every row of batch b has a value that begins with b, so that the state after
 * each batch is known.
 */
#include "../test.h"
#include "disk.h"
#include "host/engine.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>

#define IDS 60
#define ROWS_MAX 12
#define HISTORY 4000
#define NAME "data.db"

static const struct engine_tuning tiny = {
    .fold_bytes = 5000, .idle_bytes = 1200, .checkpoint_pages = 30};

/* The batch that wrote each id last; 0 = not there. */
struct state {
	uint32_t batch[IDS];
};

/* What the engine should hold, and how it may differ after a restart. */
struct story {
	struct dyn_engine *e;
	struct state states[HISTORY]; /* after each batch, the last one current */
	uint32_t now;                 /* index of the current state */
	uint32_t durable;             /* states before this one are over */
	struct state doubtful;        /* the state if the refused batch is there */
	bool doubt;
	uint32_t batch; /* number of the last batch tried */
	struct rng rng;
};

static struct dyn_slice
id_of(unsigned i, char text[16])
{
	return slice(
	    text, (size_t)snprintf(text, 16, "%c-id-%u", 'a' + (int)(i % 26), i));
}

static struct dyn_slice
value_of(uint32_t batch, unsigned i, char text[400])
{
	memset(text, 'a' + (int)(i % 26), 400);
	memcpy(text, &batch, sizeof(batch));
	return slice(text, 4 + (batch * 7 + i * 13) % 300);
}

static int
try_open(struct story *s)
{
	struct dyn_error error = {0};
	int rc = engine_sqlite_open(&s->e, NAME, &tiny, &error);

	ck_assert_msg(
	    rc == 0 || rc == error.code, "%d %d %s", rc, error.code, error.text);
	ck_assert((rc == 0) == (s->e != NULL));
	return rc;
}

static void
must_open(struct story *s)
{
	ck_assert_int_eq(try_open(s), 0);
}

static struct story *
begin_story(uint64_t seed)
{
	struct story *s = calloc(1, sizeof(*s));

	disk_wipe();
	s->rng.state = seed;
	return s;
}

static void
end_story(struct story *s)
{
	if (s->e != NULL)
		(void)s->e->close(s->e->self);
	free(s);
	ck_assert_int_eq(disk_handles(), 0);
	ck_assert_int_eq(mem_balance(), 0);
}

/* A random batch: rows, and the state after it. */
static size_t
make_batch(struct story *s, struct dyn_row *rows, struct state *after)
{
	static char ids[ROWS_MAX][16], values[ROWS_MAX][400];
	size_t count = 1 + rng_below(&s->rng, ROWS_MAX);

	*after = s->states[s->now];
	s->batch++;
	for (size_t k = 0; k < count; k++) {
		unsigned i = (unsigned)rng_below(&s->rng, IDS);
		bool remove = rng_below(&s->rng, 5) == 0;

		rows[k].space = i % 5 == 0 ? DYN_SPACE_META : DYN_SPACE_DATA;
		rows[k].id = id_of(i, ids[k]);
		rows[k].value =
		    remove ? slice(NULL, 0) : value_of(s->batch, i, values[k]);
		after->batch[i] = remove ? 0 : s->batch;
	}
	return count;
}

static int
apply_batch(struct story *s, enum dyn_durability durability)
{
	struct dyn_row rows[ROWS_MAX];
	struct state after;
	size_t count = make_batch(s, rows, &after);
	int rc = s->e->apply(s->e->self, rows, count, durability);

	if (rc == 0) {
		ck_assert_uint_lt(s->now + 1, HISTORY);
		s->states[++s->now] = after;
		s->doubt = false;
		if (durability == DYN_DURABLE_DISK)
			s->durable = s->now;
	} else if (rc == DYN_EIO && !s->doubt) {
		/* Only the first: the engine refuses the others unseen. */
		s->doubtful = after;
		s->doubt = true;
	}
	return rc;
}

/* The value of one id: its batch, 0 = none, or an error. */
static int
read_id(struct dyn_engine *e, unsigned i, uint32_t *batch)
{
	struct dyn_buffer b = {0};
	char id[16], text[400];
	int rc = e->get(
	    e->self, i % 5 == 0 ? DYN_SPACE_META : DYN_SPACE_DATA, id_of(i, id), &b);

	*batch = 0;
	if (rc == 0) {
		ck_assert_uint_ge(b.len, 4);
		memcpy(batch, b.data, 4);
		ck_assert(slice_equal(slice(b.data, b.len), value_of(*batch, i, text)));
	}
	dyn_buffer_free(&b);
	return rc == DYN_ENOTFOUND ? 0 : rc;
}

/* Reads are right, or errors; without faults, right. */
static void
check_reads(struct story *s, bool errors_allowed)
{
	for (unsigned i = 0; i < IDS; i++) {
		uint32_t batch;
		int rc = read_id(s->e, i, &batch);

		ck_assert_msg(rc == 0 || errors_allowed, "id %u: %d", i, rc);
		if (rc == 0)
			ck_assert_uint_eq(batch, s->states[s->now].batch[i]);
	}
}

static void
read_state(struct dyn_engine *e, struct state *out)
{
	for (unsigned i = 0; i < IDS; i++)
		ck_assert_int_eq(read_id(e, i, &out->batch[i]), 0);
}

static bool
same_state(const struct state *a, const struct state *b)
{
	return memcmp(a, b, sizeof(*a)) == 0;
}

static int
count_rows(void *arg, struct dyn_slice id, struct dyn_slice value)
{
	(void)id;
	(void)value;
	(*(unsigned *)arg)++;
	return 0;
}

/* A scan finds as many rows as gets do. */
static void
check_scan(struct story *s, const struct state *state)
{
	unsigned expected = 0, found = 0;

	for (unsigned i = 0; i < IDS; i++)
		expected += state->batch[i] != 0 && i % 5 != 0;
	ck_assert_int_eq(s->e->scan(s->e->self, DYN_SPACE_DATA, slice(NULL, 0),
			     slice(NULL, 0), count_rows, &found),
	    0);
	ck_assert_uint_eq(found, expected);
}

/* After a restart: what is there must be one of the states allowed. */
static void
check_restart(struct story *s, bool power_cut)
{
	struct state found;
	uint32_t first = power_cut ? s->durable : s->now;
	bool match = false;

	read_state(s->e, &found);
	for (uint32_t k = first; k <= s->now && !match; k++)
		match = same_state(&found, &s->states[k]);
	if (!match && s->doubt)
		match = same_state(&found, &s->doubtful);
	ck_assert_msg(match,
	    "after batch %u (durable %u of %u, doubt %d): a state that never was",
	    s->batch, s->durable, s->now, s->doubt);
	check_scan(s, &found);
	/* Go on from there. */
	s->states[0] = found;
	s->now = s->durable = 0;
	s->doubt = false;
}

/* ---------------------------------------------------------------- power cuts */

/* Work until the disk is dead, at an operation that nobody chose. */
static void
work_until_dead(struct story *s)
{
	disk.ops = DISK_WRITE | DISK_SYNC | DISK_TRUNCATE | DISK_DELETE;
	disk.after = (long)rng_below(&s->rng, 1200);
	disk.lasting = true;
	while (disk.failures == 0 && s->now + 2 < HISTORY) {
		(void)apply_batch(
		    s, rng_below(&s->rng, 4) == 0 ? DYN_DURABLE_DISK : DYN_DURABLE_OS);
		if (rng_below(&s->rng, 10) == 0)
			(void)s->e->idle(s->e->self);
		if (rng_below(&s->rng, 50) == 0 && s->e->sync(s->e->self) == 0)
			s->durable = s->now;
	}
	disk.dead = true;
}

START_TEST(power_cuts)
{
	struct story *s = begin_story(test_seed() + (uint64_t)_i);

	must_open(s);
	for (int round = 0; round < 25; round++) {
		work_until_dead(s);
		(void)s->e->close(s->e->self);
		disk_power_cut(&s->rng);
		must_open(s);
		check_restart(s, true);
	}
	end_story(s);
}
END_TEST

/* Also while it opens for the first time, and while it recovers. */
START_TEST(power_cut_at_open)
{
	struct story *s = begin_story(test_seed());

	for (long n = 0; n < 400; n++) {
		disk.ops = DISK_WRITE | DISK_SYNC | DISK_TRUNCATE | DISK_DELETE;
		disk.after = n % 40;
		disk.lasting = true;
		if (n % 80 == 0)
			disk_wipe();
		if (try_open(s) == 0) {
			disk.dead = true;
			(void)s->e->close(s->e->self);
			s->e = NULL;
		}
		disk.dead = true;
		disk_power_cut(&s->rng);
	}
	must_open(s);
	ck_assert_int_eq(apply_batch(s, DYN_DURABLE_DISK), 0);
	check_reads(s, false);
	end_story(s);
}
END_TEST

/* A stop without any sync (kill -9): nothing that was applied is lost. */
START_TEST(process_crash)
{
	struct story *s = begin_story(test_seed() + (uint64_t)_i);

	must_open(s);
	for (int round = 0; round < 10; round++) {
		uint64_t batches = rng_below(&s->rng, 150);

		for (uint64_t b = 0; b < batches; b++)
			ck_assert_int_eq(apply_batch(s, DYN_DURABLE_OS), 0);
		disk.dead = true; /* closing does no harm, and no good */
		(void)s->e->close(s->e->self);
		disk_calm();
		must_open(s);
		check_restart(s, false);
	}
	end_story(s);
}
END_TEST

/* ------------------------------------------------------------ one fault each */

static const struct {
	const char *name;
	struct disk_faults faults;
	bool may_fail[32]; /* by -code: what apply may say */
} kinds[] = {
#define EIO_ONLY                                                                         \
	{                                                                                \
		[-DYN_EIO] = true                                                        \
	}
    {"write EIO", {.ops = DISK_WRITE}, EIO_ONLY},
    {"write EIO, half written", {.ops = DISK_WRITE, .half = true}, EIO_ONLY},
    {"write EIO, lasting", {.ops = DISK_WRITE, .lasting = true}, EIO_ONLY},
    {"no space", {.ops = DISK_WRITE, .no_space = true, .half = true},
	{[-DYN_EFULL] = true}},
    {"no space, lasting", {.ops = DISK_WRITE, .no_space = true, .lasting = true},
	{[-DYN_EFULL] = true}},
    {"sync EIO", {.ops = DISK_SYNC}, EIO_ONLY},
    {"sync EIO, data dropped", {.ops = DISK_SYNC, .undone = true}, EIO_ONLY},
    {"read EIO", {.ops = DISK_READ}, EIO_ONLY},
    {"read EIO, lasting", {.ops = DISK_READ, .lasting = true}, EIO_ONLY},
    {"truncate EIO", {.ops = DISK_TRUNCATE}, EIO_ONLY},
    {"delete EIO", {.ops = DISK_DELETE}, EIO_ONLY},
    {"index does not grow", {.ops = DISK_SHM}, EIO_ONLY},
    {"open fails", {.ops = DISK_OPEN}, EIO_ONLY},
};

/* A history under fire; the same for all n of one kind.  What apply says must
 * be allowed, and what is read be right. */
static void
work_under_fire(struct story *s, const bool may_fail[32])
{
	for (int b = 0; b < 120; b++) {
		int rc = apply_batch(s, b % 3 == 0 ? DYN_DURABLE_DISK : DYN_DURABLE_OS);

		ck_assert_msg(rc == 0 || may_fail[-rc], "apply: %d", rc);
		if (b % 8 == 0)
			check_reads(s, disk.failures > 0 || disk.after >= 0);
		if (b % 5 == 0)
			(void)s->e->idle(s->e->self);
	}
}

static void
one_fault(int kind, long n, long *failures)
{
	struct story *s = begin_story(99);
	int rc;

	must_open(s);
	for (int b = 0; b < 60; b++)
		ck_assert_int_eq(apply_batch(s, DYN_DURABLE_OS), 0);
	disk = kinds[kind].faults;
	disk.after = n;
	disk.capacity = -1;
	work_under_fire(s, kinds[kind].may_fail);
	*failures = disk.failures;
	disk_calm();
	check_reads(s, false);
	/* Without EIO it must have healed by itself. */
	rc = apply_batch(s, DYN_DURABLE_DISK);
	ck_assert_msg(rc == 0 || (rc == DYN_EIO && *failures > 0), "afterwards: %d", rc);
	ck_assert(rc == 0 || kinds[kind].may_fail[-DYN_EIO]);
	(void)s->e->close(s->e->self);
	must_open(s);
	check_restart(s, false);
	ck_assert_int_eq(apply_batch(s, DYN_DURABLE_DISK), 0);
	check_reads(s, false);
	end_story(s);
}

START_TEST(faults)
{
	long failures = 1, n;

	/* The first operations one by one, then with growing steps. */
	for (n = 0; failures > 0; n += 1 + n / 20) {
		one_fault(_i, n, &failures);
		ck_assert_int_lt(n, 100000);
	}
	/* The kind of operation must occur, or the test tests nothing. */
	if (kinds[_i].faults.ops != DISK_TRUNCATE &&
	    kinds[_i].faults.ops != DISK_DELETE && kinds[_i].faults.ops != DISK_SHM)
		ck_assert_msg(n > 2, "%s: never happened", kinds[_i].name);
}
END_TEST

/* After a failed sync nothing is written, however good the disk looks. */
START_TEST(failed_sync_is_final)
{
	struct story *s = begin_story(5);

	must_open(s);
	ck_assert_int_eq(apply_batch(s, DYN_DURABLE_DISK), 0);
	disk.ops = DISK_SYNC;
	disk.after = 0;
	disk.undone = true;
	ck_assert_int_eq(apply_batch(s, DYN_DURABLE_DISK), DYN_EIO);
	disk_calm();
	ck_assert_int_eq(apply_batch(s, DYN_DURABLE_DISK), DYN_EIO);
	ck_assert_int_eq(apply_batch(s, DYN_DURABLE_OS), DYN_EIO);
	ck_assert_int_eq(s->e->sync(s->e->self), DYN_EIO);
	ck_assert_int_eq(s->e->idle(s->e->self), 0);
	check_reads(s, false); /* reading goes on */
	ck_assert_int_eq(s->e->close(s->e->self), DYN_EIO);
	disk_power_cut(&s->rng);
	must_open(s);
	check_restart(s, true);
	ck_assert_int_eq(apply_batch(s, DYN_DURABLE_DISK), 0);
	end_story(s);
}
END_TEST

/* Failures while it opens: an error, nothing left behind, then it opens. */
START_TEST(faults_at_open)
{
	struct story *s = begin_story(17);
	long failures = 1;
	int rc;

	must_open(s);
	for (int b = 0; b < 30; b++)
		ck_assert_int_eq(apply_batch(s, DYN_DURABLE_OS), 0);
	for (long n = 0; failures > 0; n++) {
		/* A log to recover. */
		disk.dead = true;
		(void)s->e->close(s->e->self);
		disk = kinds[_i].faults;
		disk.after = n;
		disk.capacity = -1;
		rc = try_open(s);
		failures = disk.failures;
		if (rc == 0 && failures == 0)
			break;
		if (rc == 0)
			(void)s->e->close(s->e->self);
		else
			ck_assert_int_eq(disk_handles(), 0);
		disk_calm();
		must_open(s);
		check_restart(s, false);
		for (int b = 0; b < 8; b++)
			ck_assert_int_eq(apply_batch(s, DYN_DURABLE_OS), 0);
	}
	disk_calm();
	end_story(s);
}
END_TEST

/* --------------------------------------------------- a scan at a bad moment */

static void
busy_moment(void *arg)
{
	struct story *s = arg;

	for (int b = 0; b < 30; b++) {
		ck_assert_int_eq(apply_batch(s, DYN_DURABLE_OS), 0);
		while (s->e->idle(s->e->self) == 1)
			;
	}
}

/* The id's number is behind its last '-'. */
static int
note_row(void *arg, struct dyn_slice id, struct dyn_slice value)
{
	struct state *found = arg;
	char text[16] = {0};

	memcpy(text, id.data, id.len);
	memcpy(&found->batch[atoi(strrchr(text, '-') + 1)], value.data, 4);
	return 0;
}

/* Between the moment a scan takes what is in memory and the moment it takes
 * the file, many batches are applied and folded: it must not see a part. */
START_TEST(scan_beside_folding)
{
	struct story *s = begin_story(test_seed());
	struct state found;
	bool match;

	must_open(s);
	for (int round = 0; round < 40; round++) {
		for (int b = 0; b < round % 4; b++)
			ck_assert_int_eq(apply_batch(s, DYN_DURABLE_OS), 0);
		memset(&found, 0, sizeof(found));
		disk.reading = busy_moment;
		disk.arg = s;
		ck_assert_int_eq(s->e->scan(s->e->self, DYN_SPACE_DATA, slice(NULL, 0),
				     slice(NULL, 0), note_row, &found),
		    0);
		ck_assert(disk.reading == NULL);
		match = false;
		for (uint32_t k = 0; k <= s->now && !match; k++) {
			match = true;
			for (unsigned i = 0; i < IDS; i++)
				match &=
				    i % 5 == 0 || found.batch[i] == s->states[k].batch[i];
		}
		ck_assert_msg(match, "round %d: not the rows of any moment", round);
	}
	end_story(s);
}
END_TEST

/* ------------------------------------------------------------ a full disk */

START_TEST(full_disk)
{
	struct story *s = begin_story(test_seed() + (uint64_t)_i);
	int rc;

	must_open(s);
	for (int round = 0; round < 6; round++) {
		disk.capacity = disk_used() + (long)rng_below(&s->rng, 60000);
		do
			rc = apply_batch(s, DYN_DURABLE_OS);
		while (rc == 0 && s->now + 2 < HISTORY);
		ck_assert_int_eq(rc, DYN_EFULL);
		check_reads(s, false);
		for (int b = 0; b < 5; b++) {
			rc = apply_batch(s, DYN_DURABLE_DISK);
			ck_assert(rc == 0 || rc == DYN_EFULL);
			(void)s->e->idle(s->e->self);
		}
		check_reads(s, false);
		if (round % 2 == 0) { /* a restart on the full disk */
			disk.dead = true;
			(void)s->e->close(s->e->self);
			disk.dead = false;
			rc = try_open(s);
			ck_assert(rc == 0 || rc == DYN_EFULL);
			disk.capacity = -1;
			if (rc != 0)
				must_open(s);
			check_restart(s, false);
		}
		disk.capacity = -1;
		ck_assert_int_eq(apply_batch(s, DYN_DURABLE_DISK), 0);
		check_reads(s, false);
	}
	end_story(s);
}
END_TEST

/* ------------------------------------------------- memory of SQLite's own */

static sqlite3_mem_methods real_memory;
static long memory_countdown = -1;
static bool memory_failed;

static void *
failing_alloc(int size)
{
	if (memory_countdown == 0)
		memory_failed = true;
	if (memory_countdown >= 0 && memory_countdown-- == 0)
		return NULL;
	return real_memory.xMalloc(size);
}

static void *
failing_realloc(void *p, int size)
{
	if (memory_countdown == 0)
		memory_failed = true;
	if (memory_countdown >= 0 && memory_countdown-- == 0)
		return NULL;
	return real_memory.xRealloc(p, size);
}

static void
install_memory(void)
{
	sqlite3_mem_methods mine;

	(void)sqlite3_shutdown();
	ck_assert_int_eq(
	    sqlite3_config(SQLITE_CONFIG_GETMALLOC, &real_memory), SQLITE_OK);
	mine = real_memory;
	mine.xMalloc = failing_alloc;
	mine.xRealloc = failing_realloc;
	ck_assert_int_eq(sqlite3_config(SQLITE_CONFIG_MALLOC, &mine), SQLITE_OK);
	/* No arena in front of malloc: each request must be able to fail. */
	ck_assert_int_eq(sqlite3_config(SQLITE_CONFIG_LOOKASIDE, 0, 0), SQLITE_OK);
	disk_install();
}

START_TEST(no_memory_in_sqlite)
{
	bool failed = true;
	int rc;

	install_memory();
	for (long n = 0; failed; n += 1 + n / 30) {
		struct story *s = begin_story(23);

		memory_failed = false;
		memory_countdown = n;
		rc = try_open(s);
		ck_assert(rc == 0 || rc == DYN_ENOMEM);
		if (rc != 0)
			must_open(s);
		for (int b = 0; b < 60; b++) {
			rc = apply_batch(s, DYN_DURABLE_OS);
			ck_assert_msg(rc == 0 || rc == DYN_ENOMEM, "apply %d", rc);
			if (b % 6 == 0)
				check_reads(s, memory_countdown >= 0 || memory_failed);
			if (b % 9 == 0)
				(void)s->e->idle(s->e->self);
		}
		failed = memory_failed;
		memory_countdown = -1;
		check_reads(s, false);
		ck_assert_int_eq(apply_batch(s, DYN_DURABLE_DISK), 0);
		(void)s->e->close(s->e->self);
		must_open(s);
		check_restart(s, false);
		end_story(s);
	}
}
END_TEST

/*
 * The one place where SQLite writes a whole commit record and then wants
 * memory: when the index of a long log grows.  A batch refused there must not
 * come back after a crash.
 */
static const struct engine_tuning long_log = {
    .fold_bytes = (size_t)1 << 30,
    .idle_bytes = (size_t)1 << 30,
    .checkpoint_pages = 1 << 20,
};

/* Fill the log nearly up to the place. */
static void
fill_log(struct story *s)
{
	static unsigned char value[4000 * 1000];
	struct dyn_row r = {DYN_SPACE_HINT, slice("big", 3), slice(value, sizeof(value))};

	disk_wipe();
	ck_assert_int_eq(engine_sqlite_open(&s->e, NAME, &long_log, NULL), 0);
	for (int i = 0; i < 4; i++)
		ck_assert_int_eq(s->e->apply(s->e->self, &r, 1, DYN_DURABLE_OS), 0);
	disk.regions = 0;
}

static void
crash_and_check(struct story *s)
{
	disk.dead = true;
	(void)s->e->close(s->e->self);
	disk_calm();
	must_open(s);
	check_restart(s, false);
}

/* Batches until the index grows; their number. */
static int
batches_until_growth(struct story *s)
{
	int batches = 0;

	fill_log(s);
	while (disk.regions == 0) {
		ck_assert_int_eq(apply_batch(s, DYN_DURABLE_OS), 0);
		ck_assert_int_lt(++batches, 1000);
	}
	crash_and_check(s);
	return batches;
}

START_TEST(no_memory_after_the_record)
{
	struct story *s = begin_story(41);
	int batches, rc = DYN_ENOMEM;

	install_memory();
	batches = batches_until_growth(s);
	(void)s->e->close(s->e->self);
	s->e = NULL;
	end_story(s);
	for (long n = 0; rc != 0; n++) {
		s = begin_story(41);
		fill_log(s);
		for (int b = 1; b < batches; b++)
			ck_assert_int_eq(apply_batch(s, DYN_DURABLE_OS), 0);
		memory_countdown = n;
		rc = apply_batch(s, DYN_DURABLE_OS);
		memory_countdown = -1;
		ck_assert_msg(rc == 0 || rc == DYN_ENOMEM, "apply %d", rc);
		crash_and_check(s);
		end_story(s);
	}
}
END_TEST

/* ------------------------------------------------------ memory of our own */

START_TEST(no_memory)
{
	int rc;

	disk_install();
	TEST_ALLOC_FAILURES (n) {
		struct story *s = begin_story(31);

		rc = try_open(s);
		ck_assert(rc == 0 || rc == DYN_ENOMEM);
		if (rc != 0)
			must_open(s);
		for (int b = 0; b < 40; b++) {
			rc = apply_batch(s, DYN_DURABLE_OS);
			ck_assert_msg(rc == 0 || rc == DYN_ENOMEM, "apply %d", rc);
			if (b % 10 == 0)
				check_reads(s, true);
		}
		rc = s->e->drop(s->e->self, DYN_SPACE_HINT, slice("a", 1), slice("b", 1));
		ck_assert(rc == 0 || rc == DYN_ENOMEM);
		(void)s->e->close(s->e->self);
		s->e = NULL;
		free(s);
	}
}
END_TEST

static Suite *
fault_suite(void)
{
	Suite *s = suite_create("engine under faults");
	TCase *t = tcase_create("disk"), *m = tcase_create("memory");

	tcase_set_timeout(t, 120);
	tcase_set_timeout(m, 120);
	tcase_add_checked_fixture(t, disk_install, NULL);
	tcase_add_loop_test(t, power_cuts, 0, 6);
	tcase_add_test(t, power_cut_at_open);
	tcase_add_loop_test(t, process_crash, 0, 4);
	tcase_add_loop_test(t, faults, 0, (int)ARRAY_LEN(kinds));
	tcase_add_test(t, failed_sync_is_final);
	tcase_add_test(t, scan_beside_folding);
	tcase_add_loop_test(t, faults_at_open, 0, (int)ARRAY_LEN(kinds));
	tcase_add_loop_test(t, full_disk, 0, 6);
	suite_add_tcase(s, t);
	tcase_add_test(m, no_memory_in_sqlite);
	tcase_add_test(m, no_memory_after_the_record);
	tcase_add_test(m, no_memory);
	suite_add_tcase(s, m);
	return s;
}

TEST_MAIN(fault_suite)
