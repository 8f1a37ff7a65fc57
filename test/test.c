/* The main of the test programs, their folders, the failing allocations. */
#include "test/test.h"

#include "base/base.h"

#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/*
 * The sanitizers ask these for their options.  Allocations may fail in tests;
 * a race ends the test that finds it.
 */
const char *__asan_default_options(void);
const char *__tsan_default_options(void);

const char *
__asan_default_options(void)
{
	return "allocator_may_return_null=1:detect_stack_use_after_return=1";
}

const char *
__tsan_default_options(void)
{
	return "allocator_may_return_null=1:halt_on_error=1:second_deadlock_stack=1";
}

/* One folder a program; tests, which Check runs in children, make theirs in it. */
static char root[256];

static void
make_root(void)
{
	const char *tmp = getenv("TMPDIR");

	snprintf(root, sizeof(root), "%s/libdyn-test-XXXXXX", tmp != NULL ? tmp : "/tmp");
	if (mkdtemp(root) == NULL) {
		perror(root);
		exit(1);
	}
}

int
test_main(Suite *(*make)(void))
{
	SRunner *runner;
	int failed;

	/* Check's 4 seconds a test are too few under the sanitizers. */
	setenv("CK_DEFAULT_TIMEOUT", "120", 0);
	setvbuf(stdout, NULL, _IOLBF, 0);
	make_root();
	runner = srunner_create(make());
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	test_remove(root);
	return failed == 0 ? 0 : 1;
}

TCase *
test_case(Suite *suite, const char *name, const TTest *test)
{
	TCase *c = tcase_create(name);

	tcase_add_test(c, test);
	suite_add_tcase(suite, c);
	return c;
}

const char *
test_dir(void)
{
	static char paths[64][sizeof(root) + 64];
	static unsigned count;
	char *path;

	ck_assert_uint_lt(count, ARRAY_LEN(paths));
	path = paths[count];
	snprintf(path, sizeof(paths[0]), "%s/%ld-%u", root, (long)getpid(), count++);
	ck_assert_msg(mkdir(path, 0700) == 0, "%s: %s", path, strerror(errno));
	return path;
}

const char *
test_path(const char *folder, const char *name)
{
	static char paths[8][1024];
	static unsigned next;
	char *path = paths[next++ % ARRAY_LEN(paths)];

	snprintf(path, sizeof(paths[0]), "%s/%s", folder, name);
	return path;
}

static int
remove_one(const char *path, const struct stat *st, int kind, struct FTW *at)
{
	(void)st;
	(void)kind;
	(void)at;
	(void)remove(path);
	return 0;
}

void
test_remove(const char *path)
{
	nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

uint64_t
test_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

void
test_sleep_ms(unsigned ms)
{
	struct timespec ts = { ms / 1000, (long)(ms % 1000) * 1000000 };

	while (nanosleep(&ts, &ts) != 0 && errno == EINTR)
		;
}

uint64_t
test_seed(void)
{
	const char *seed = getenv("TEST_SEED");

	return seed != NULL ? strtoull(seed, NULL, 0) : 20070923;
}

/*
 * Whether the failure asked for is still to come shows by asking for memory
 * until it comes: mem_fail_at counts allocations wherever they are made.
 */
static bool
failure_is_pending(long n)
{
	for (long i = 0; i < n; i++) {
		void *p = mem_alloc(1);

		if (p == NULL)
			return true;
		mem_free(p);
	}
	return false;
}

bool
test_alloc_next(long n)
{
	static long before;
	bool pending;

	if (n == 1) {
		before = mem_balance();
	} else {
		pending = failure_is_pending(n - 1);
		mem_fail_at(0);
		ck_assert_msg(mem_balance() == before, "allocation %ld failing: %ld blocks leaked",
		    n - 1, mem_balance() - before);
		if (pending)
			return false;
	}
	mem_fail_at(n);
	return true;
}
