/*
 * Goal: the base layer does what its headers say.
 * Method: tables, and random operations against naive models.
 */
#include "test/test.h"

#include "base/buf.h"

START_TEST(writer_fails_cleanly)
{
	TEST_ALLOC_FAILURES(n) {
		struct buf *out;
		struct wr w;
		int rc;

		wr_init(&w, 1);
		wr_u64(&w, 7);
		rc = wr_finish(&w, &out);
		ck_assert(rc == 0 ? out != NULL : rc == DYN_ENOMEM && out == NULL);
		buf_unref(out);
	}
}
END_TEST

static Suite *
base_suite(void)
{
	Suite *s = suite_create("base");

	test_case(s, "writer out of memory", writer_fails_cleanly);
	return s;
}

TEST_MAIN(base_suite)
