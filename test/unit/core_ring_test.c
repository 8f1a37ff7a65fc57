/*
 * Random histories of a small ring (test/core_ring.h).
 *
 * Goal: no write that was acknowledged is lost, nothing that was replaced comes
 * back, what failed never appears, strict quorums read what was written, also
 * while owners change; every call ends once and in time; copies converge.
 * Method: storms of several kinds, each over many seeds, checked against a plain
 * record of the calls.  DYN_SEED=n runs that seed alone and tells the story.
 */
#include "test/core_ring.h"

#include <stdlib.h>

static const struct storm storms[] = {
	/* Slow, nothing else. */
	{ .members = 3, .ops = 100, .reorder = true },
	/* Connections break, frames get lost or come twice. */
	{ .members = 4, .ops = 100, .break_link = 12, .lose_frame = 10, .repeat_frame = 50 },
	/* Storage fails. */
	{ .members = 4, .ops = 120, .fail_commit = 60, .break_link = 4, .lose_frame = 10 },
	/* Nodes crash. */
	{ .members = 4, .ops = 100, .crash = 6, .break_link = 4 },
	/* Newcomers. */
	{ .members = 3, .ops = 120, .joins = 1, .lose_frame = 5 },
	{ .members = 3, .ops = 120, .joins = 2, .break_link = 8, .lose_frame = 5,
	    .repeat_frame = 20, .reorder = true },
	/* Owners change within the time that a frame hangs; a client hears late. */
	{ .members = 3, .keys = 20, .ops = 120, .joins = 2, .gossip_ms = 2, .lag_ms = 3,
	    .slow_frame = 200, .hang_ms = 150, .poll_ms = 300 },
	{ .members = 4, .keys = 20, .ops = 120, .joins = 1, .leaves = 1, .gossip_ms = 2, .lag_ms = 10,
	    .slow_frame = 100, .hang_ms = 200, .poll_ms = 400, .reorder = true },
	/* The same with slow and failing storage, and two places changed at once. */
	{ .members = 3, .keys = 20, .ops = 150, .joins = 2, .together = true, .gossip_ms = 2, .lag_ms = 3,
	    .slow_frame = 300, .hang_ms = 100, .commit_ms = 30, .fail_commit = 100 },
	{ .members = 3, .keys = 20, .ops = 150, .joins = 2, .together = true, .gossip_ms = 2, .lag_ms = 3,
	    .slow_frame = 200, .hang_ms = 100, .commit_ms = 30, .poll_ms = 300 },
	/* A bucket with fewer copies than the ring has. */
	{ .members = 4, .copies = 2, .keys = 20, .ops = 120, .joins = 1, .leaves = 1 },
	/* Newcomers, crashes, failing storage. */
	{ .members = 3, .ops = 120, .joins = 2, .break_link = 8, .crash = 3,
	    .fail_commit = 20, .lose_frame = 5 },
	/* Some leave. */
	{ .members = 5, .ops = 120, .leaves = 1, .break_link = 4 },
	{ .members = 4, .ops = 120, .joins = 1, .leaves = 1, .break_link = 4,
	    .fail_commit = 10 },
	/* Owners are away most of the time: stand-ins, and what they hand over. */
	{ .members = 5, .ops = 150, .crash = 14, .break_link = 20 },
	{ .members = 5, .ops = 150, .crash = 10, .break_link = 60, .lose_frame = 20,
	    .repeat_frame = 50, .fail_commit = 40, .reorder = true },
	{ .members = 4, .ops = 120, .joins = 1, .crash = 8, .break_link = 30 },
};

START_TEST(histories)
{
	const char *one = getenv("DYN_SEED"), *many = getenv("DYN_SEEDS");
	uint64_t count = many != NULL ? strtoull(many, NULL, 0) : 200;
	struct storm storm = storms[_i];

	storm.partitions = 16;
	if (getenv("DYN_LAG") != NULL)
		storm.lag_ms = (unsigned)atoi(getenv("DYN_LAG"));
	storm.early_reading = getenv("DYN_EARLY") != NULL;
	if (one != NULL) {
		uint64_t seed = strtoull(one, NULL, 0);

		if (seed / 1000000 == (uint64_t)_i)
			ring_run(&storm, seed);
		return;
	}
	for (uint64_t i = 0; i < count; i++)
		ring_run(&storm, (uint64_t)_i * 1000000 + (test_seed() + i) % 1000000);
}
END_TEST

static Suite *
suite(void)
{
	Suite *s = suite_create("core ring");
	TCase *c = tcase_create("histories");

	suite_add_tcase(s, c);
	tcase_add_loop_test(c, histories, 0, (int)ARRAY_LEN(storms));
	return s;
}

TEST_MAIN(suite)
