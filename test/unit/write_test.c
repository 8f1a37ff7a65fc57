/*
 * put and delete at an owner (write.c).
 *
 * Goal: a write is called stored only when W machines have it, failed only
 * when nobody has it, and everything between is called unknown.
 * Method: node a of three under a script; the effects are compared line by line.
 */
#include "test/core_script.h"

static struct script *
node_a(void)
{
	return script_new(&(struct script_options){ .self = 'a', .view = view_ring(3, 3, 16) });
}

START_TEST(stored_here_and_at_one_more)
{
	struct script *s = node_a();

	script_put(s, "k", "x");
	script_turn(s);
	EXPECT(s, "0 SEND PUT b #1 a1 | a1=x\n"
	          "0 SEND PUT c #1 a1 | a1=x\n"
	          "0 COMMIT 1 rows=1 disk\n");
	script_commit(s, 0);
	EXPECT(s, "");
	script_wait(s, 3);
	script_put_ack(s, 'c', 1, 0);
	EXPECT(s, "3 DONE put ok owners=2 disk=2\n");
	/* A late answer finds nobody. */
	script_put_ack(s, 'b', 1, 0);
	EXPECT(s, "");
	ck_assert_str_eq(script_stored(s, "k"), "a1 | a1=x");
	script_free(s);
}
END_TEST

static Suite *
suite(void)
{
	Suite *s = suite_create("write");
	TCase *c = tcase_create("write");

	suite_add_tcase(s, c);
	tcase_add_test(c, stored_here_and_at_one_more);
	return s;
}

TEST_MAIN(suite)
