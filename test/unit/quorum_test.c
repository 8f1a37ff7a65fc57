/*
 * The tally (quorum.c).
 *
 * Goal: distinct machines count, in every group at once; what may still come
 * is told from what cannot.
 * Method: small groups by hand, then random ones against a count over all
 * subsets of answers.
 */
#include "test/core_script.h"

#include <stdio.h>

/* A view of nodes that share machines as the text says: "aab" puts the first
 * two on one machine. */
static struct view *
nodes_on(const char *machines)
{
	struct settings s = { .name = "test", .partitions = 16, .n = 1 };
	struct record r = { .incarnation = 1, .stamp = 1, .state = RECORD_JOINED,
		.weight = 100, .workers = 1, .address = "10.0.0.1:1" };
	struct view *v = NULL, *next;

	s.ring_id = node_id('r');
	for (unsigned i = 0; machines[i] != '\0'; i++) {
		r.id = node_id((char)('a' + i));
		snprintf(r.location, sizeof(r.location), "dc/z%c/r/%c",
		    machines[i] < 'd' ? '1' : '2', machines[i]);
		if (v == NULL) {
			ck_assert_int_eq(view_create(&v, &s, &r), 0);
			continue;
		}
		ck_assert_int_eq(view_with(&next, v, &r), 0);
		view_unref(v);
		v = next;
	}
	return v;
}

static struct group
group_from(const char *letters)
{
	struct group g = { .count = 0 };

	for (; *letters != '\0'; letters++)
		g.member[g.count++] = (uint16_t)(*letters - 'a');
	return g;
}

static void
say(struct quorum *q, char who, enum vote vote)
{
	struct dyn_id id = node_id(who);
	struct ballot *b = quorum_find(q, &id);

	ck_assert_ptr_nonnull(b);
	b->vote = (uint8_t)vote;
}

START_TEST(counts_machines_not_nodes)
{
	struct view *v = nodes_on("aabc");
	struct group g = group_from("abcd");
	struct dyn_receipt receipt;
	struct quorum q;

	quorum_init(&q, v, &g, 1, 2, 0);
	ck_assert(!quorum_enough(&q));
	ck_assert(quorum_possible(&q, true));
	ck_assert(!quorum_possible(&q, false));
	say(&q, 'a', VOTE_YES);
	say(&q, 'b', VOTE_YES);
	ck_assert_msg(!quorum_enough(&q), "two nodes of one machine are not two machines");
	say(&q, 'c', VOTE_WAITING);
	ck_assert(quorum_possible(&q, false));
	say(&q, 'c', VOTE_YES);
	ck_assert(quorum_enough(&q));
	quorum_receipt(&q, &receipt);
	ck_assert_uint_eq(receipt.owners, 3);
	ck_assert_uint_eq(receipt.machines, 2);
	ck_assert_uint_eq(receipt.zones, 1);
	view_unref(v);
}
END_TEST

START_TEST(every_group_must_be_met)
{
	struct view *v = nodes_on("abcd");
	struct group g[2] = { group_from("abc"), group_from("abd") };
	struct dyn_receipt receipt;
	struct quorum q;

	quorum_init(&q, v, g, 2, 2, 0);
	ck_assert_uint_eq(q.count, 4);
	say(&q, 'a', VOTE_YES);
	say(&q, 'c', VOTE_YES);
	ck_assert_msg(!quorum_enough(&q), "the second group has only a");
	say(&q, 'd', VOTE_NO);
	ck_assert(quorum_possible(&q, true));
	say(&q, 'b', VOTE_LOST);
	ck_assert_msg(!quorum_possible(&q, true), "a alone is left of the second group");
	say(&q, 'b', VOTE_YES);
	ck_assert(quorum_enough(&q));
	quorum_receipt(&q, &receipt);
	ck_assert_uint_eq(receipt.machines, 3);
	ck_assert_msg(receipt.owners == 2, "of abd, which may answer reads, only a and b");
	view_unref(v);
}
END_TEST

START_TEST(votes_stay_when_the_view_changes)
{
	struct view *v = nodes_on("abcd");
	struct group before = group_from("abc"), after[2] = { before, group_from("bcd") };
	struct quorum q;
	struct dyn_id a = node_id('a');

	quorum_init(&q, v, &before, 1, 2, 0);
	say(&q, 'a', VOTE_YES);
	say(&q, 'b', VOTE_YES);
	quorum_find(&q, &a)->on_disk = true;
	quorum_rebase(&q, v, after, 2);
	ck_assert_msg(!quorum_enough(&q), "of the second group only b has it");
	ck_assert(quorum_find(&q, &a)->on_disk);
	ck_assert_uint_eq(quorum_votes(&q, VOTE_YES), 2);
	ck_assert_uint_eq(quorum_votes(&q, VOTE_IDLE), 2);
	quorum_rebase(&q, v, after + 1, 1);
	ck_assert_ptr_null(quorum_find(&q, &a));
	ck_assert_uint_eq(quorum_votes(&q, VOTE_YES), 1);
	view_unref(v);
}
END_TEST

START_TEST(zones_where_asked_for)
{
	struct view *v = nodes_on("abd");
	struct group g = group_from("abc");
	struct quorum q;

	quorum_init(&q, v, &g, 1, 2, 2);
	say(&q, 'a', VOTE_YES);
	say(&q, 'b', VOTE_YES);
	ck_assert_msg(!quorum_enough(&q), "a and b are in one zone");
	ck_assert(quorum_possible(&q, true));
	say(&q, 'c', VOTE_NO);
	ck_assert(!quorum_possible(&q, true));
	say(&q, 'c', VOTE_YES);
	ck_assert(quorum_enough(&q));
	view_unref(v);
}
END_TEST

/* Distinct machines of a group among those whose vote is in the set. */
static unsigned
count_machines(const char *machines, const struct group *g, const uint8_t *votes, unsigned set)
{
	bool seen[128] = { false };
	unsigned count = 0;

	for (unsigned i = 0; i < g->count; i++) {
		unsigned char m = (unsigned char)machines[g->member[i]];

		if ((set >> votes[g->member[i]] & 1) == 0 || seen[m])
			continue;
		seen[m] = true;
		count++;
	}
	return count;
}

START_TEST(random_groups_agree_with_a_plain_count)
{
	struct rng rng = { test_seed() + (uint64_t)_i };
	char machines[9] = "";
	struct group g[2] = { { .count = 0 }, { .count = 0 } };
	unsigned count = 2 + (unsigned)rng_below(&rng, 7);
	unsigned groups = 1 + (unsigned)rng_below(&rng, 2), need;
	bool enough = true, possible = true, maybe = true;
	uint8_t votes[8];
	struct quorum q;
	struct view *v;

	for (unsigned i = 0; i < count; i++)
		machines[i] = (char)('a' + rng_below(&rng, 5));
	v = nodes_on(machines);
	for (unsigned k = 0; k < groups; k++)
		for (unsigned i = 0; i < count; i++)
			if (rng_below(&rng, 3) > 0 || (i == 0 && k == 0))
				g[k].member[g[k].count++] = (uint16_t)i;
	need = 1 + (unsigned)rng_below(&rng, 4);
	quorum_init(&q, v, g, groups, need, 0);
	for (unsigned i = 0; i < count; i++) {
		struct dyn_id id = node_id((char)('a' + i));

		votes[i] = (uint8_t)rng_below(&rng, 5);
		if (quorum_find(&q, &id) != NULL)
			say(&q, (char)('a' + i), (enum vote)votes[i]);
	}
	for (unsigned k = 0; k < groups; k++) {
		unsigned yes = 1u << VOTE_YES, open = yes | 1u << VOTE_WAITING;

		enough = enough && count_machines(machines, &g[k], votes, yes) >= need;
		possible = possible && count_machines(machines, &g[k], votes, open) >= need;
		maybe = maybe && count_machines(machines, &g[k], votes,
		    open | 1u << VOTE_IDLE) >= need;
	}
	ck_assert_int_eq(quorum_enough(&q), enough);
	ck_assert_int_eq(quorum_possible(&q, false), possible);
	ck_assert_int_eq(quorum_possible(&q, true), maybe);
	view_unref(v);
}
END_TEST

static Suite *
suite(void)
{
	Suite *s = suite_create("quorum");
	TCase *c = tcase_create("quorum");

	suite_add_tcase(s, c);
	tcase_add_test(c, counts_machines_not_nodes);
	tcase_add_test(c, every_group_must_be_met);
	tcase_add_test(c, votes_stay_when_the_view_changes);
	tcase_add_test(c, zones_where_asked_for);
	tcase_add_loop_test(c, random_groups_agree_with_a_plain_count, 0, 400);
	return s;
}

TEST_MAIN(suite)
