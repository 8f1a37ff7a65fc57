/*
 * The oracle of test/oracle: who checks the checker?
 *
 * Method: small histories written by hand.  Each rule has one that breaks it and
 * nothing else, and the nearest good one, which differs in a single fact and
 * must pass.  A history is a line of words, told in order, time = position:
 *
 *	put1<2,3	put 1, whose get had returned 2 and 3; also del, over, lww, lwd (a
 *			delete where the last write wins)
 *	put1+4		it expires 4 after it was made
 *	ok1/2 weak1/2 fail1 unk1	how it ended; /W owners
 *	ok1/2@9		with stamp 9
 *	saw1@9		a get said that its stamp is 9
 *	get:1,2		a get of R = 2, N = 3, strict, that returned 1 and 2
 *	loose:1,2	the same, not strict
 *	end:1,2		what a node holds at the end
 */
#include "test/oracle/oracle.h"
#include "test/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEY 7

/* "1,2,3" */
static size_t
numbers(const char *text, uint64_t *ids)
{
	size_t count = 0;

	while (*text >= '0' && *text <= '9') {
		char *end;

		ids[count++] = strtoull(text, &end, 10);
		text = *end == ',' ? end + 1 : end;
	}
	return count;
}

static bool
is_write(struct oracle *o, const char *word, uint64_t now)
{
	static const struct {
		const char *name;
		enum oracle_kind kind;
	} kinds[] = { { "put", ORACLE_PUT }, { "del", ORACLE_DELETE }, { "over", ORACLE_OVERWRITE },
		{ "lww", ORACLE_LWW }, { "lwd", ORACLE_LWW_DELETE } };

	for (size_t i = 0; i < 5; i++) {
		uint64_t parents[8];
		const char *seen = strchr(word, '<'), *expiry = strchr(word, '+');
		size_t len = strlen(kinds[i].name);
		struct oracle_write w = { .key = KEY, .kind = kinds[i].kind, .parents = parents };

		if (strncmp(word, kinds[i].name, len) != 0)
			continue;
		w.id = strtoull(word + len, NULL, 10);
		w.parents_count = seen != NULL ? numbers(seen + 1, parents) : 0;
		w.expiry = expiry != NULL ? (uint64_t)atoi(expiry + 1) : 0;
		oracle_write_begin(o, now, &w);
		return true;
	}
	return false;
}

static bool
is_end(struct oracle *o, const char *word, uint64_t now)
{
	static const struct {
		const char *name;
		enum oracle_outcome outcome;
		bool durable;
	} ends[] = { { "ok", ORACLE_DONE, true }, { "weak", ORACLE_DONE, false },
		{ "fail", ORACLE_FAILED, false }, { "unk", ORACLE_UNKNOWN, false } };

	for (size_t i = 0; i < 4; i++) {
		size_t len = strlen(ends[i].name);
		const char *w = strchr(word, '/'), *stamp = strchr(word, '@');
		struct oracle_receipt receipt = { .durable = ends[i].durable };

		if (strncmp(word, ends[i].name, len) != 0)
			continue;
		receipt.w = w != NULL ? (unsigned)atoi(w + 1) : 0;
		receipt.stamp = stamp != NULL ? (uint64_t)atoi(stamp + 1) : 0;
		oracle_write_end(o, now, strtoull(word + len, NULL, 10), ends[i].outcome,
		    ends[i].outcome == ORACLE_DONE ? &receipt : NULL);
		return true;
	}
	return false;
}

static void
tell(struct oracle *o, const char *word, uint64_t now, unsigned *node)
{
	uint64_t ids[8];
	const char *colon = strchr(word, ':');
	struct oracle_read r = { .key = KEY, .n = 3, .began = now, .ended = now, .ids = ids };

	if (strncmp(word, "saw", 3) == 0) {
		oracle_stamp(o, strtoull(word + 3, NULL, 10), strtoull(strchr(word, '@') + 1, NULL, 10));
		return;
	}
	if (colon == NULL) {
		ck_assert(is_write(o, word, now) || is_end(o, word, now));
		return;
	}
	r.count = numbers(colon + 1, ids);
	if (strncmp(word, "end", 3) == 0) {
		oracle_final(o, now, KEY, (*node)++, ids, r.count);
		return;
	}
	r.strict_r = strncmp(word, "get", 3) == 0 ? 2 : 0;
	oracle_read(o, &r);
}

static struct oracle *
record(const char *history, const struct oracle_options *options)
{
	struct oracle *o = oracle_new(options);
	char text[400], *save = NULL;
	uint64_t now = 0;
	unsigned node = 0;

	snprintf(text, sizeof(text), "%s", history);
	for (char *word = strtok_r(text, " ", &save); word != NULL; word = strtok_r(NULL, " ", &save))
		tell(o, word, ++now, &node);
	return o;
}

static const struct {
	const char *rule;    /* all violations are of it; NULL: there is none */
	const char *history;
} cases[] = {
	/* S1: without a replacer an acknowledged write stays. */
	{ "S1", "put1 ok1/2 end:" },
	{ NULL, "put1 ok1/2 end:1" },
	{ NULL, "put1 unk1 end:" },
	{ NULL, "put1 weak1/2 end:" },
	{ NULL, "put1 ok1/2 put2<1 ok2/2 end:2" },
	{ NULL, "put1 ok1/2 put2<1 unk2 end:2" },
	{ NULL, "put1 ok1/2 put2<1 unk2 put3<2 ok3/2 end:3" },
	{ NULL, "put1 ok1/2 del2<1 unk2 end:" },
	/* A context wider than what was returned takes 2 away, which 3 never saw. */
	{ "S1", "put1 ok1/2 put2 ok2/2 put3<1 ok3/2 end:3" },
	{ "S1", "put1 ok1/2 put2<1 fail2 end:" },
	{ "S1", "put1 ok1/2 del2<1 fail2 end:" },
	{ NULL, "put1 ok1/2 over2 ok2/2 end:2" },
	{ NULL, "over2 put1 ok1/2 ok2/2 end:2" },
	{ "S1", "over2 ok2/2 put1 ok1/2 end:2" },
	/* S2 */
	{ "S2", "put1 ok1/2 del2<1 ok2/2 end:1" },
	{ NULL, "put1 ok1/2 del2<1 unk2 end:1" },
	{ NULL, "put1 ok1/2 del2 ok2/2 end:1" },
	{ "S2", "put1 ok1/2 put2<1 ok2/2 put3<2 ok3/2 del4<3 ok4/2 end:1" },
	/* S3 */
	{ "S3", "end:1" },
	{ "S3", "put1 unk1 del2<1 unk2 end:2" },
	{ "S3", "loose:1 put1 ok1/2 end:1" },
	/* S4 */
	{ "S4", "put1 fail1 end:1" },
	{ "S4", "put1 loose:1 fail1 end:" },
	{ NULL, "put1 fail1 end:" },
	/* S5 */
	{ "S5", "put1 ok1/1 put2<1 unk2 end:1,2" },
	{ NULL, "put1 ok1/1 put2 unk2 end:1,2" },
	{ "S5", "put1 unk1 put2<1 unk2 put3<2 unk3 loose:3,1 end:3" },
	/* S6 */
	{ "S6", "put1 unk1 end:1,1" },
	/* S7 */
	{ "S7", "put1 unk1 end:1 end:" },
	{ "S7", "put1 unk1 put2 unk2 end:1 end:2" },
	{ NULL, "put1 unk1 put2 unk2 end:1,2 end:2,1" },
	/* S8: 3 had seen all, and somebody kept an old value beside it. */
	{ "S8", "put1 fail1 put2 ok2/2 put3<2 ok3/2 end:3,4" },
	{ NULL, "put1 unk1 put2 ok2/2 put3<2 ok3/2 end:3,1" },
	/* S10 */
	{ "S10", "put1 ok1/2 get: end:1" },
	{ NULL, "put1 ok1/1 get: end:1" },
	{ NULL, "put1 ok1/2 loose: end:1" },
	{ NULL, "put1 get: ok1/2 end:1" },
	{ NULL, "put1 ok1/2 put2<1 unk2 get:2 end:2" },
	{ "S10", "put1 ok1/2 get: put2<1 ok2/2 end:2" },
	{ "S10", "put1 ok1/2 del2<1 ok2/2 get:1 end:" },
	{ NULL, "put1 ok1/2 del2<1 ok2/1 get:1 end:" },
	{ NULL, "put1 ok1/2 del2<1 get:1 ok2/2 end:" },
	/* S12: three siblings where two contexts were out. */
	{ "S12", "put1 unk1 put2 unk2 put3 unk3 end:1,2,3" },
	/* The last write wins. */
	{ "LWW", "lww1 ok1/2@5 lww2 ok2/2@6 end:1" },
	{ NULL, "lww1 ok1/2@5 lww2 ok2/2@6 end:2" },
	{ NULL, "lww1 ok1/2@6 lww2 ok2/2@5 end:1" },
	{ "LWW", "lww1 ok1/2 lww2 unk2 lww3 unk3 lww4 ok4/2 end:1" },
	{ NULL, "lww1 ok1/2 lww4 ok4/2 end:1" },
	{ "LWW", "lww1 ok1/2 end:" },
	{ "LWW", "lww1 ok1/2@5 lww2 ok2/2@5 end:1,2" },
	{ "LWW", "lww1 lww2 loose:1,2 unk1 unk2 end:1" },
	/* Who won was never acknowledged; a get said how late it is. */
	{ "LWW", "lww1 unk1 lww2 ok2/2@6 saw1@5 end:1" },
	{ NULL, "lww1 unk1 lww2 ok2/2@6 saw1@7 end:1" },
	{ NULL, "lww1 unk1 lww2 ok2/2@6 end:1" },
	{ "LWW", "lww1 saw1@5 ok1/2@6 end:1" },
	{ "LWW", "lww1 ok1/2@6 saw1@5 end:1" },
	{ NULL, "lww1 saw1@6 ok1/2@6 end:1" },
	/* Deletes are writes, and excuse that nothing is there. */
	{ NULL, "lww1 ok1/2@5 lwd2 ok2/2@6 end:" },
	{ "LWW", "lww1 ok1/2@5 lwd2 ok2/2@6 end:1" },
	{ "LWW", "lwd2 lww1 ok1/2@7 ok2/2@6 end:" },
	{ "LWW", "lww1 ok1/2@5 lwd2 fail2 end:" },
	{ NULL, "lww1 ok1/2@5 lwd2 unk2 end:" },
	{ NULL, "lww1 ok1/2@5 lwd2 unk2 end:1" },
	{ "LWW", "lww1 ok1/2@5 end: lwd2 ok2/2@6 end:" },
	/* It was forgotten, and a clock was behind. */
	{ NULL, "lwd1 ok1/2@9 lww2 ok2/2@8 end:2" },
	{ "LWW", "lww2 ok2/2@8 lwd1 ok1/2@9 end:2" },
	{ "S3", "lwd1 unk1 end:1" },
	/* Who had seen whom. */
	{ "LWW", "lww1 ok1/2@5 lww2<1 ok2/2@5 end:2" },
	{ "S2", "lww1 ok1/2 lww2<1 ok2/2 end:1" },
	{ NULL, "lww1 ok1/2 lww2<1 unk2 end:1" },
	/* A strict get brings the latest that it must have met, or a later one. */
	{ "S10", "lww1 ok1/2@5 get: end:1" },
	{ NULL, "lww1 ok1/2@5 loose: end:1" },
	{ NULL, "lww1 ok1/1@5 get: end:1" },
	{ NULL, "lww1 get: ok1/2@5 end:1" },
	{ NULL, "lww1 ok1/2@5 lwd2 get: unk2 end:1" },
	{ "S10", "lww1 ok1/2@5 lww2 ok2/2@6 get:1 end:2" },
	{ NULL, "lww1 ok1/2@5 lww2 ok2/1@6 get:1 end:2" },
	{ NULL, "lww1 ok1/2@5 lww2 unk2 get:2 end:2" },
	{ "S10", "lww1 ok1/2@5 lwd2 ok2/2@6 get:1 end:" },
	{ "S10", "lww1 ok1/2@5 get: lwd2 ok2/2@6 end:" },
	/* What expires may go when some clock, at most 3 behind or ahead, says so. */
	{ NULL, "put1+9 ok1/2 put2 unk2 put3 unk3 end:1" },
	{ "S1", "put1+9 ok1/2 put2 end:" },
	{ NULL, "put1+4 ok1/2 put2 unk2 end:" },
	{ "OLD", "put1+1 ok1/2 put2 unk2 put3 unk3 loose:1 end:" },
	{ NULL, "put1+1 ok1/2 put2 unk2 loose:1 end:" },
	{ "S10", "put1+9 ok1/2 get: end:1" },
	{ NULL, "put1+4 ok1/2 put2 unk2 get: end:" },
	{ NULL, "put1 ok1/2 put2+1<1 ok2/2 end:" },
	{ NULL, "lww1 ok1/2@5 lww2+1 ok2/2@6 end:" },
	{ "LWW", "lww1 ok1/2@7 lww2+1 ok2/2@6 end:" },
};

START_TEST(each_rule_fires_alone)
{
	const struct oracle_options options = { .siblings_max = 2, .skew = 3, .ahead = 3 };
	struct oracle *o = record(cases[_i].history, &options);
	size_t count = oracle_judge(o);
	bool found = false;

	for (size_t i = 0; i < count; i++) {
		struct oracle_violation v = oracle_violation(o, i);

		ck_assert_msg(cases[_i].rule != NULL, "%s: %s", cases[_i].history, v.story);
		/* S8's phantom is an S3 as well, by construction. */
		found = found || strcmp(v.rule, cases[_i].rule) == 0;
		ck_assert_msg(strcmp(v.rule, cases[_i].rule) == 0 || strcmp(cases[_i].rule, "S8") == 0,
		    "%s: %s", cases[_i].history, v.story);
		ck_assert(strstr(v.story, v.rule) == v.story);
	}
	ck_assert_msg(found == (cases[_i].rule != NULL), "%s: not noticed", cases[_i].history);
	oracle_free(o);
}
END_TEST

/* A story names the calls; the same record tells the same. */
START_TEST(a_story_can_be_read)
{
	for (int i = 0; i < 2; i++) {
		struct oracle *o = record("put1 ok1/2 put2<1 fail2 end:", NULL);

		ck_assert_uint_eq(oracle_judge(o), 1);
		ck_assert_str_eq(oracle_violation(o, 0).story,
		    "S1: an acknowledged write is lost"
		    "\n    put 1 of key 7 by session 0 at node 0 had seen {}, began 1, done 2 w=2 durable stamp=0"
		    "\n    at the end node 0 has of key 7: {}");
		ck_assert_uint_eq(oracle_writes(o), 2);
		ck_assert_uint_eq(oracle_reads(o), 0);
		oracle_free(o);
	}
}
END_TEST

/* Keys do not mix, and one that nobody looked at in the end is told. */
START_TEST(each_key_by_itself)
{
	struct oracle *o = oracle_new(NULL);
	struct oracle_write w = { .id = 1, .key = 1 };
	const uint64_t one = 1;
	const struct oracle_receipt receipt = { .w = 2, .durable = true };

	oracle_write_begin(o, 1, &w);
	oracle_write_end(o, 2, 1, ORACLE_DONE, &receipt);
	w = (struct oracle_write){ .id = 2, .key = 2 };
	oracle_write_begin(o, 3, &w);
	oracle_final(o, 4, 2, 0, &one, 1);
	oracle_final(o, 4, 1, 0, &one, 1);
	ck_assert_uint_eq(oracle_judge(o), 1);
	ck_assert_str_eq(oracle_violation(o, 0).rule, "S3");
	oracle_free(o);

	o = oracle_new(NULL);
	w.id = 1;
	oracle_write_begin(o, 1, &w);
	oracle_final(o, 2, 9, 0, NULL, 0);
	ck_assert_uint_eq(oracle_judge(o), 1);
	ck_assert_str_eq(oracle_violation(o, 0).rule, "S7");
	oracle_free(o);
}
END_TEST

/* A long chain, each write having seen the last two: paths are exponentially
 * many, the time must not be. */
START_TEST(long_histories_are_judged_quickly)
{
	struct oracle *o = oracle_new(NULL);
	const unsigned count = 20000;
	const uint64_t last[] = { count, count + 1 };
	const struct oracle_receipt receipt = { .w = 2, .durable = true };

	for (uint64_t i = 1; i <= count + 1; i++) {
		const uint64_t parents[] = { i - 1, i - 2 };
		const struct oracle_write w = { .id = i, .key = KEY, .parents = parents,
			.parents_count = i > 2 && i <= count ? 2 : 0 };
		const struct oracle_read r = { .key = KEY, .strict_r = 2, .n = 3, .began = 3 * i + 2,
			.ended = 3 * i + 2, .ids = &i, .count = 1 };

		oracle_write_begin(o, 3 * i, &w);
		oracle_write_end(o, 3 * i + 1, i, ORACLE_DONE, &receipt);
		if (i <= count && i > 2 && i % 100 == 0)
			oracle_read(o, &r);
	}
	oracle_final(o, 3 * (count + 2), KEY, 0, last, 2);
	ck_assert_uint_eq(oracle_judge(o), 0);
	oracle_free(o);
}
END_TEST

static Suite *
suite(void)
{
	Suite *s = suite_create("oracle");
	TCase *c = tcase_create("oracle");

	suite_add_tcase(s, c);
	tcase_add_loop_test(c, each_rule_fires_alone, 0, sizeof(cases) / sizeof(cases[0]));
	tcase_add_test(c, a_story_can_be_read);
	tcase_add_test(c, each_key_by_itself);
	tcase_add_test(c, long_histories_are_judged_quickly);
	return s;
}

TEST_MAIN(suite)
