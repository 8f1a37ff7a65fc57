/*
 * What every test program includes: Check, a main, folders to write in, and
 * the loop that makes each allocation fail in turn.
 *
 * A test program is one file that ends with TEST_MAIN(f), where f makes the
 * Suite.  CK_FORK, CK_RUN_SUITE, CK_RUN_CASE and CK_VERBOSITY work as Check
 * describes them; `CK_FORK=no` is for the debugger.
 */
#ifndef DYN_TEST_H
#define DYN_TEST_H

#include <check.h>
#include <dyn.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TEST_MAIN(suite)                                                       \
	int main(void)                                                         \
	{                                                                      \
		return test_main(suite);                                       \
	}

/* Runs the suite; the exit status of the program: 0 if all passed. */
int test_main(Suite *(*make)(void));

/* A test case of one function, the form most suites need. */
TCase *test_case(Suite *, const char *name, const TTest *);

/*
 * A new empty folder, removed with all it holds when the program ends.  The
 * name is the library's: it stays until the process ends.
 */
const char *test_dir(void);
/* "folder/name" in one of a few static buffers. */
const char *test_path(const char *folder, const char *name);
/* Remove a file or a folder with all it holds; fine if there is none. */
void test_remove(const char *path);

/* Nanoseconds of the monotonic clock; sleep; wait until a condition holds. */
uint64_t test_now(void);
void test_sleep_ms(unsigned);
#define TEST_WAIT(condition, limit_ms)                                         \
	do {                                                                   \
		uint64_t until_ = test_now() + (uint64_t)(limit_ms) * 1000000; \
		while (!(condition)) {                                         \
			ck_assert_msg(test_now() < until_,                     \
			    "waited too long for: %s", #condition);            \
			test_sleep_ms(2);                                      \
		}                                                              \
	} while (0)

/*
 * A seed for random tests: the environment's TEST_SEED if set, else fixed, so
 * that a failure repeats.  Loops mix their _i into it.
 */
uint64_t test_seed(void);

/*
 * TEST_ALLOC_FAILURES(n) body: runs the body with the n-th allocation failing
 * for n = 1, 2, ... until a run in which none failed (the last run).  After
 * each run the body must have freed all that it allocated.  Only for code
 * that runs in this thread alone; do not leave the body by break.
 */
#define TEST_ALLOC_FAILURES(n) for (long n = 1; test_alloc_next(n); n++)
bool test_alloc_next(long n);

#endif
