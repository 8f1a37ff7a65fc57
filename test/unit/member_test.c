/*
 * Members: joining, gossip, coming back.
 *
 * Goal: whatever the order and loss of messages, all members end with the same
 * view; epochs do not run away; and at no moment can a read by one member's
 * view miss a write by another's (the argument at the head of view.c).
 * Method: up to 30 machines (test/members.h); single conversations are scripted and
 * their traces compared.
 */
#include "test/members.h"

#include <stdio.h>
#include <stdlib.h>

#define FIRST "127.0.0.1:7000"

/* ------------------------------------------------------------- converging */

START_TEST(all_at_once)
{
	struct sim *s = sim_new((uint64_t)_i);
	unsigned count = 1 + (unsigned)rng_below(&s->rng, 30);

	s->partitions = 64;
	s->loss = (unsigned)_i % 3 * 10;
	for (unsigned i = 0; i < count; i++)
		sim_add(s, FIRST ",127.0.0.1:7001");
	sim_agree(s, 60 * NS_PER_S);
	ck_assert_uint_eq(s->node[0].view->count, count);
	ck_assert_uint_le(sim_epoch(s), count);
	sim_check_quiet(s);
	sim_free(s);
}
END_TEST

START_TEST(one_by_one)
{
	struct sim *s = sim_new(100 + (uint64_t)_i);

	s->partitions = 64;
	s->loss = (unsigned)_i % 2 * 10;
	for (unsigned i = 0; i < 12; i++) {
		sim_add(s, FIRST);
		sim_agree(s, 30 * NS_PER_S);
		ck_assert_uint_eq(sim_epoch(s), i + 1);
	}
	sim_check_quiet(s);
	sim_free(s);
}
END_TEST

/* Two sides, joins on both; then they meet. */
START_TEST(splits_heal)
{
	struct sim *s = sim_new(200 + (uint64_t)_i);
	unsigned joins = 6;

	s->partitions = 64;
	s->loss = 5;
	for (unsigned i = 0; i < 6; i++)
		sim_add(s, FIRST ",127.0.0.1:7001");
	sim_agree(s, 60 * NS_PER_S);
	for (unsigned round = 0; round < 3; round++) {
		uint64_t before = sim_epoch(s);

		for (unsigned i = 0; i < s->count; i++)
			s->node[i].side = (unsigned)rng_below(&s->rng, 2);
		s->node[0].side = 0;
		s->node[1].side = 1;
		for (unsigned i = 0; i < joins; i++) {
			struct node *n = sim_add(s, FIRST ",127.0.0.1:7001");

			n->side = i % 2;
			sim_run(s, rng_below(&s->rng, 3 * NS_PER_S));
		}
		sim_run(s, rng_below(&s->rng, 8 * NS_PER_S));
		for (unsigned i = 0; i < s->count; i++)
			s->node[i].side = 0;
		sim_agree(s, 90 * NS_PER_S);
		ck_assert_uint_le(sim_epoch(s), before + joins);
	}
	sim_check_quiet(s);
	sim_free(s);
}
END_TEST

static void
want_fence(struct sim *s, unsigned i)
{
	struct node *n = &s->node[i];

	member_collect(n->m, member_view(n->m)->current, sim_moment(s), &s->out);
	sim_carry_out(s, i);
}

/* Crashes, restarts at other addresses, splits and joins, all at random. */
START_TEST(storms)
{
	struct sim *s = sim_new(300 + (uint64_t)_i);
	unsigned port = 20000, fences = 0;

	s->partitions = 32;
	s->loss = 10;
	for (unsigned i = 0; i < 5; i++)
		sim_add(s, FIRST ",127.0.0.1:7001");
	for (unsigned step = 0; step < 60; step++) {
		struct node *n = &s->node[rng_below(&s->rng, s->count)];

		switch (rng_below(&s->rng, 6)) {
		case 0:
			if (s->count < 24)
				sim_add(s, FIRST ",127.0.0.1:7001");
			break;
		case 1:
			if (n->up && n->member)
				sim_stop(n);
			break;
		case 2:
			if (!n->up) {
				if (n >= &s->node[2])
					snprintf(n->address, sizeof(n->address),
					    "127.0.0.1:%u", port++);
				sim_start(s, n, FIRST ",127.0.0.1:7001");
			}
			break;
		case 3:
			n->side = !n->side;
			break;
		case 4:
			if (n->up && n->m != NULL && member_view(n->m) != NULL) {
				want_fence(s, (unsigned)(n - s->node));
				fences++;
			}
			break;
		default:
			sim_run(s, rng_below(&s->rng, 2 * NS_PER_S));
		}
		sim_run(s, rng_below(&s->rng, 200 * MS));
	}
	for (unsigned i = 0; i < s->count; i++) {
		s->node[i].side = 0;
		if (!s->node[i].up)
			sim_start(s, &s->node[i], FIRST ",127.0.0.1:7001");
	}
	sim_agree(s, 120 * NS_PER_S);
	ck_assert_uint_le(sim_epoch(s), s->count + fences + 1);
	for (unsigned i = 0; i < s->count; i++)
		ck_assert_uint_eq(s->node[i].stale, 0);
	sim_check_quiet(s);
	sim_free(s);
}
END_TEST

/* The same seed gives the same run, to the last byte. */
START_TEST(runs_repeat)
{
	uint64_t trace[3];

	for (unsigned i = 0; i < 3; i++) {
		struct sim *s = sim_new(i < 2 ? 400 : 401);

		s->partitions = 32;
		s->loss = 10;
		for (unsigned k = 0; k < 8; k++)
			sim_add(s, FIRST);
		sim_run(s, 20 * NS_PER_S);
		trace[i] = s->trace;
		sim_free(s);
	}
	ck_assert_uint_eq(trace[0], trace[1]);
	ck_assert_uint_ne(trace[0], trace[2]);
}
END_TEST

/* Once all agree, a second costs two frames without views per member. */
START_TEST(agreement_is_quiet)
{
	struct sim *s = sim_new(450);
	char *words;
	unsigned frames = 0;

	s->partitions = 32;
	for (unsigned i = 0; i < 10; i++)
		sim_add(s, FIRST);
	sim_agree(s, 60 * NS_PER_S);
	sim_run(s, 5 * NS_PER_S);
	words = s->script = calloc(1, 1 << 20);
	ck_assert_ptr_nonnull(words);
	sim_run(s, 10 * NS_PER_S);
	ck_assert_ptr_null(strstr(words, "view"));
	for (const char *p = words; *p != '\0'; p++)
		frames += *p == '\n';
	ck_assert_uint_le(frames, 10 * 2 * 12);
	ck_assert_uint_ge(frames, 10 * 2 * 9);
	free(words);
	sim_free(s);
}
END_TEST

/* -------------------------------------------------------------- coming back */

START_TEST(restart_with_another_address)
{
	struct sim *s = sim_new(500 + (uint64_t)_i);
	const struct record *r;
	struct node *n;

	s->partitions = 32;
	for (unsigned i = 0; i < 5; i++)
		sim_add(s, FIRST);
	sim_agree(s, 60 * NS_PER_S);
	n = &s->node[3];
	sim_stop(n);
	sim_run(s, 3 * NS_PER_S);
	strcpy(n->address, "127.0.0.1:9999");
	sim_start(s, n, NULL);
	/* It works at once, with nobody's help. */
	ck_assert_ptr_nonnull(member_view(n->m));
	sim_agree(s, 10 * NS_PER_S);
	r = view_find(s->node[0].view, &n->id);
	ck_assert_str_eq(r->address, "127.0.0.1:9999");
	ck_assert_uint_eq(r->incarnation, 2);
	/* The same machine, the same data: nothing moves. */
	ck_assert_uint_eq(r->synced_epoch, sim_epoch(s));
	ck_assert_uint_eq(s->node[0].view->current->seats_count, 5);
	sim_free(s);
}
END_TEST

/* All at once, all elsewhere but the seed. */
START_TEST(everybody_moves)
{
	struct sim *s = sim_new(600 + (uint64_t)_i);
	uint64_t before;

	s->partitions = 32;
	for (unsigned i = 0; i < 8; i++)
		sim_add(s, FIRST);
	sim_agree(s, 60 * NS_PER_S);
	before = sim_epoch(s);
	for (unsigned i = 0; i < s->count; i++)
		sim_stop(&s->node[i]);
	for (unsigned i = 0; i < s->count; i++) {
		if (i > 0)
			snprintf(s->node[i].address, DYN_ADDRESS_MAX, "127.0.0.1:%u",
			    9000 + i);
		sim_start(s, &s->node[i], FIRST);
	}
	sim_agree(s, 30 * NS_PER_S);
	ck_assert_uint_eq(sim_epoch(s), before);
	for (unsigned i = 0; i < s->count; i++)
		ck_assert_str_eq(view_find(s->node[0].view, &s->node[i].id)->address,
		    s->node[i].address);
	sim_free(s);
}
END_TEST

/* The same, and the one who comes to live at the seed's address is the last, and
 * knows nobody's new address: the others must keep trying the seed. */
START_TEST(everybody_moves_and_the_seed_is_late)
{
	struct sim *s = sim_new(620 + (uint64_t)_i);

	s->partitions = 32;
	for (unsigned i = 0; i < 6; i++)
		sim_add(s, FIRST);
	sim_agree(s, 60 * NS_PER_S);
	for (unsigned i = 0; i < s->count; i++)
		sim_stop(&s->node[i]);
	for (unsigned i = 1; i < s->count; i++) {
		snprintf(s->node[i].address, DYN_ADDRESS_MAX, "127.0.0.1:%u", 9000 + i);
		sim_start(s, &s->node[i], "127.0.0.1:9000");
	}
	sim_run(s, 20 * NS_PER_S);
	strcpy(s->node[0].address, "127.0.0.1:9000");
	sim_start(s, &s->node[0], NULL);
	sim_agree(s, 30 * NS_PER_S);
	sim_free(s);
}
END_TEST

/* Whatever the host says, the incarnation is above the saved one. */
START_TEST(incarnations_rise)
{
	struct sim *s = sim_new(640);
	struct node *n;

	s->partitions = 32;
	n = sim_add(s, NULL);
	for (unsigned i = 2; i < 5; i++) {
		sim_stop(n);
		n->incarnation = 0;
		sim_start(s, n, NULL);
		ck_assert_uint_eq(member_incarnation(n->m), i);
		ck_assert_uint_eq(n->view->records[0].incarnation, i);
		ck_assert_uint_eq(n->view->records[0].synced_epoch, 1);
	}
	sim_free(s);
}
END_TEST

/* A change that was under way when all went down goes on. */
START_TEST(restart_in_the_middle_of_a_change)
{
	struct sim *s = sim_new(650 + (uint64_t)_i);

	s->partitions = 32;
	for (unsigned i = 0; i < 4; i++)
		sim_add(s, FIRST);
	sim_agree(s, 60 * NS_PER_S);
	sim_add(s, FIRST);
	sim_run(s, rng_below(&s->rng, 800 * MS));
	for (unsigned i = 0; i < s->count; i++)
		sim_stop(&s->node[i]);
	for (unsigned i = 0; i < s->count; i++)
		sim_start(s, &s->node[i], FIRST);
	sim_agree(s, 60 * NS_PER_S);
	ck_assert_uint_eq(s->node[0].view->current->seats_count, 5);
	sim_free(s);
}
END_TEST

/* A directory from a backup: its record is older than what the ring has. */
START_TEST(rolled_back_directory)
{
	struct sim *s = sim_new(700);
	struct view *backup;
	struct node *n;

	s->unsafe = true;
	s->partitions = 32;
	for (unsigned i = 0; i < 3; i++)
		sim_add(s, FIRST);
	sim_agree(s, 60 * NS_PER_S);
	n = &s->node[1];
	backup = view_ref(n->view);
	for (int i = 0; i < 5; i++) {
		sim_stop(n);
		sim_start(s, n, NULL);
		sim_run(s, 2 * NS_PER_S);
	}
	sim_stop(n);
	view_unref(n->view);
	n->view = backup;
	n->incarnation = 1;
	sim_start(s, n, NULL);
	ck_assert_uint_eq(member_incarnation(n->m), 2);
	sim_agree(s, 10 * NS_PER_S);
	/* 6, and a step over all lives that others may know of. */
	ck_assert_uint_eq(member_incarnation(n->m), 1006);
	ck_assert_uint_ge(n->warnings, 1);
	ck_assert_uint_eq(n->lost, 1); /* its copies are old too */
	sim_check_quiet(s);
	sim_free(s);
}
END_TEST

/* The same where nobody has a newer record, but tables that must have been followed. */
START_TEST(tables_that_were_missed)
{
	struct sim *s = sim_new(701);
	struct view *backup;
	struct node *n;

	s->unsafe = true;
	s->partitions = 32;
	for (unsigned i = 0; i < 3; i++)
		sim_add(s, FIRST);
	sim_agree(s, 60 * NS_PER_S);
	n = &s->node[1];
	backup = view_ref(n->view);
	for (unsigned i = 0; i < 2; i++) {
		sim_add(s, FIRST);
		sim_agree(s, 60 * NS_PER_S);
	}
	ck_assert_uint_eq(n->lost, 0);
	sim_stop(n);
	view_unref(n->view);
	n->view = backup;
	sim_start(s, n, NULL);
	sim_agree(s, 10 * NS_PER_S);
	ck_assert_uint_eq(n->lost, 1);
	sim_check_quiet(s);
	sim_free(s);
}
END_TEST

/* A fence is a next table with the same owners, to which all follow as to any. */
START_TEST(a_fence)
{
	struct sim *s = sim_new(720 + (uint64_t)_i);
	const struct table *before, *after;
	struct view *old;
	uint64_t first;

	s->partitions = 32;
	s->loss = 10;
	for (unsigned i = 0; i < 4; i++)
		sim_add(s, FIRST);
	sim_agree(s, 60 * NS_PER_S);
	first = sim_epoch(s);
	old = view_ref(s->node[0].view);
	before = old->current;
	ck_assert_uint_eq(before->collected, 0);
	/* Two who want the same get one. */
	want_fence(s, 1);
	want_fence(s, 3);
	sim_agree(s, 60 * NS_PER_S);
	after = s->node[2].view->base;
	ck_assert_uint_eq(sim_epoch(s), first + 1);
	ck_assert_uint_eq(after->collected, first + 1);
	ck_assert_int_eq(digest_compare(&after->parent, &before->digest), 0);
	for (unsigned p = 0; p < 32; p++)
		for (unsigned k = 0; k < s->count; k++)
			ck_assert_uint_eq(table_rank(before, p, &s->node[k].id),
			    table_rank(after, p, &s->node[k].id));
	/* The wish is one for that table, and no other. */
	member_collect(s->node[0].m, before, sim_moment(s), &s->out);
	sim_carry_out(s, 0);
	sim_run(s, 5 * NS_PER_S);
	ck_assert_uint_eq(sim_epoch(s), first + 1);
	/* Who joins later finds it in its first table. */
	sim_add(s, FIRST);
	sim_agree(s, 60 * NS_PER_S);
	ck_assert_uint_eq(s->node[4].view->base->collected, first + 1);
	for (unsigned i = 0; i < s->count; i++)
		ck_assert_uint_eq(s->node[i].stale, 0);
	sim_check_quiet(s);
	view_unref(old);
	sim_free(s);
}
END_TEST

/* A directory from before a fence: it is held back until its copies were cleared. */
START_TEST(a_directory_of_before_a_fence)
{
	struct sim *s = sim_new(730 + (uint64_t)_i);
	struct view *backup;
	struct node *n;

	s->unsafe = true;
	s->partitions = 32;
	for (unsigned i = 0; i < 3; i++)
		sim_add(s, FIRST);
	sim_agree(s, 60 * NS_PER_S);
	n = &s->node[1];
	backup = view_ref(n->view);
	want_fence(s, 0);
	sim_agree(s, 60 * NS_PER_S);
	sim_stop(n);
	view_unref(n->view);
	n->view = backup;
	sim_start(s, n, FIRST);
	sim_run(s, 10 * NS_PER_S);
	ck_assert_uint_eq(n->stale, 1);
	ck_assert_uint_eq(n->view->current->epoch + 1, s->node[0].view->current->epoch);
	/* A crash before it was done: all of it once more. */
	if (_i == 1) {
		sim_stop(n);
		sim_start(s, n, FIRST);
		sim_run(s, 10 * NS_PER_S);
		ck_assert_uint_eq(n->stale, 2);
	}
	member_cleared(n->m, sim_moment(s), &s->out);
	sim_carry_out(s, 1);
	sim_agree(s, 60 * NS_PER_S);
	ck_assert_uint_eq(n->view->base->collected, n->view->base->epoch);
	ck_assert_uint_eq(n->stale, 1 + (unsigned)_i);
	/* It is a member like the others again. */
	want_fence(s, 1);
	sim_agree(s, 60 * NS_PER_S);
	ck_assert_uint_eq(n->stale, 1 + (unsigned)_i);
	sim_check_quiet(s);
	sim_free(s);
}
END_TEST

/* A copied directory: two live processes with one id.  One of them gives up
 * within 10 seconds, and says why: the one that came last, if the other has been
 * here for long.  The other stays, and knows that it lacks what the copy took. */
START_TEST(copied_directory)
{
	struct sim *s = sim_new(710 + (uint64_t)_i);
	bool old = _i % 2 == 0;
	struct node *n, *copy;

	s->unsafe = true;
	s->partitions = 32;
	for (unsigned i = 0; i < 4; i++)
		sim_add(s, FIRST);
	sim_agree(s, 60 * NS_PER_S);
	if (old)
		sim_run(s, 61 * NS_PER_S);
	n = &s->node[2];
	copy = sim_node(s, "127.0.0.1:9100");
	copy->id = n->id;
	copy->incarnation = n->incarnation;
	copy->view = view_ref(n->view);
	sim_start(s, copy, FIRST);
	sim_run(s, 10 * NS_PER_S);
	ck_assert_int_ne(n->failed, copy->failed);
	ck_assert(!old || copy->failed);
	ck_assert_uint_ge((n->failed ? copy : n)->lost, 1);
	sim_run(s, 20 * NS_PER_S);
	ck_assert_int_ne(n->failed, copy->failed);
	if (n->failed)
		copy = n;
	ck_assert_int_eq(copy->rc, DYN_EFENCED);
	ck_assert_ptr_nonnull(strstr(copy->text, "copied data directory"));
	sim_free(s);
}
END_TEST

/* --------------------------------------------------------- joining, in words */

static void
expect(const char *words, const char *expected)
{
	ck_assert_msg(
	    strcmp(words, expected) == 0, "got:\n%sexpected:\n%s", words, expected);
}

/* 0 has created a ring, 1 joins through it. */
START_TEST(a_join_in_words)
{
	struct sim *s = sim_new(800);
	static char words[1 << 16];

	s->partitions = 16;
	s->delay_max = 1;
	s->script = words;
	words[0] = '\0';
	sim_add(s, FIRST);
	expect(words, "0 view e1 phase 3 of 1\n");
	sim_run(s, 100 * MS);
	words[0] = '\0';
	sim_add(s, FIRST);
	sim_run(s, 5 * MS);
	expect(words, "1 send GOSSIP e0 view\n"
		      "0 view e2 phase 1 of 2\n"
		      "0 send GOSSIP e2 view\n"
		      "0 reply GOSSIP_ACK e2 rc=0 view\n"
		      "1 view e2 phase 1 of 2\n"
		      "1 send GOSSIP e2 view\n"
		      "1 reply GOSSIP_ACK e2 rc=0\n"
		      "0 reply GOSSIP_ACK e2 rc=0\n");
	sim_agree(s, 5 * NS_PER_S);
	sim_free(s);
}
END_TEST

/* Both are new: who is asked says "not yet"; the first seed creates. */
START_TEST(nobody_is_there_yet)
{
	struct sim *s = sim_new(810);
	static char words[1 << 16];

	s->partitions = 16;
	s->delay_max = 1;
	s->script = words;
	words[0] = '\0';
	sim_add(s, FIRST ",127.0.0.1:7001");
	sim_add(s, FIRST ",127.0.0.1:7001");
	sim_run(s, 400 * MS);
	expect(words, "0 send GOSSIP e0 view\n"
		      "1 send GOSSIP e0 view\n"
		      "1 reply GOSSIP_ACK e0 rc=-6\n"
		      "0 reply GOSSIP_ACK e0 rc=-6\n");
	sim_run(s, 1500 * MS);
	ck_assert_ptr_null(s->node[0].view);
	sim_run(s, 200 * MS);
	ck_assert_ptr_nonnull(s->node[0].view);
	sim_agree(s, 5 * NS_PER_S);
	ck_assert_uint_eq(s->node[1].view->count, 2);
	sim_free(s);
}
END_TEST

START_TEST(who_creates_a_ring)
{
	struct {
		enum dyn_join join;
		const char *seeds;
		uint64_t after; /* ms until it is there; 0 = never */
	} cases[] = {
	    {DYN_JOIN_AUTO, NULL, 1},
	    {DYN_JOIN_AUTO, "", 1},
	    {DYN_JOIN_AUTO, "127.0.0.1:7000", 1},
	    {DYN_JOIN_AUTO, " 127.0.0.1:7000 , 127.0.0.1:7001", 2100},
	    {DYN_JOIN_AUTO, "127.0.0.1:7001,127.0.0.1:7000", 0},
	    {DYN_JOIN_AUTO, "127.0.0.1:7001", 0},
	    {DYN_JOIN_CREATE, "127.0.0.1:7001", 1},
	    {DYN_JOIN_ONLY, "127.0.0.1:7000", 0},
	    {DYN_JOIN_ONLY, NULL, 0},
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct sim *s = sim_new(820);
		struct member_options o;
		struct node *n = sim_node(s, FIRST);

		n->incarnation = 1;
		sim_options(s, n, cases[i].seeds, &o);
		o.join = cases[i].join;
		sim_begin(s, n, &o);
		sim_run(s, cases[i].after > 2000 ? 1900 * MS : 0);
		ck_assert_msg((n->view != NULL) == (cases[i].after == 1), "case %zu", i);
		sim_run(s, 30 * NS_PER_S);
		ck_assert_msg((n->view != NULL) == (cases[i].after > 0), "case %zu", i);
		if (n->view != NULL) {
			ck_assert_uint_eq(n->view->settings.partitions, 1024);
			ck_assert_uint_eq(n->view->settings.n, 3);
		}
		sim_free(s);
	}
}
END_TEST

START_TEST(wrong_expectations)
{
	struct {
		const char *ring;
		unsigned partitions, n;
		const char *text;
	} wrong[] = {
	    {"test", 64, 0, "the ring has 32 partitions, not 64"},
	    {"test", 0, 5, "the ring has n = 3, not 5"},
	    {"tess", 0, 0, "a seed refused"},
	};

	for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
		struct sim *s = sim_new(830 + i);
		struct digest before;
		struct node *n;

		s->partitions = 32;
		sim_add(s, NULL);
		sim_run(s, 2 * NS_PER_S);
		before = s->node[0].view->digest;
		s->partitions = wrong[i].partitions;
		s->n = wrong[i].n;
		s->ring = wrong[i].ring;
		n = sim_add(s, FIRST);
		sim_run(s, 2 * NS_PER_S);
		ck_assert(n->failed);
		ck_assert_int_eq(n->rc, DYN_ERING);
		ck_assert_msg(
		    strstr(n->text, wrong[i].text) != NULL, "said: %s", n->text);
		ck_assert_ptr_null(n->view);
		ck_assert_uint_eq(member_wake(n->m), TIME_NEVER);
		ck_assert_int_eq(digest_compare(&before, &s->node[0].view->digest), 0);
		sim_free(s);
	}
}
END_TEST

/* A directory of another ring, or opened with other settings. */
START_TEST(wrong_expectations_of_saved_data)
{
	struct sim *s = sim_new(840);
	struct node *n;

	s->partitions = 32;
	n = sim_add(s, NULL);
	sim_stop(n);
	s->n = 2;
	sim_start(s, n, NULL);
	ck_assert(n->failed);
	ck_assert_int_eq(n->rc, DYN_ERING);
	ck_assert_ptr_nonnull(strstr(n->text, "the ring has n = 3, not 2"));
	sim_stop(n);
	s->n = 0;
	s->ring = "other";
	sim_start(s, n, NULL);
	ck_assert(n->failed);
	ck_assert_str_eq(n->text, "the ring is named \"test\", not \"other\"");
	sim_free(s);
}
END_TEST

/* Two rings with one name meet through a wrong seed: both stay as they are,
 * and say so, not too often. */
START_TEST(two_rings_meet)
{
	struct sim *s = sim_new(850);
	struct node *a, *b;
	struct digest first, second;

	s->partitions = 32;
	a = sim_add(s, NULL);
	b = sim_add(s, NULL);
	ck_assert(!id_equal(&a->view->settings.ring_id, &b->view->settings.ring_id));
	sim_stop(a);
	sim_start(s, a, "127.0.0.1:7001");
	first = a->view->digest;
	second = b->view->digest;
	sim_run(s, 50 * NS_PER_S);
	ck_assert_int_eq(digest_compare(&first, &a->view->digest), 0);
	ck_assert_int_eq(digest_compare(&second, &b->view->digest), 0);
	ck_assert_uint_eq(a->warnings, 1);
	ck_assert_uint_eq(b->warnings, 1);
	sim_check_quiet(s);
	/* By another way, too. */
	member_learn(a->m, b->view, sim_moment(s), &s->out);
	sim_carry_out(s, 0);
	ck_assert_int_eq(digest_compare(&first, &a->view->digest), 0);
	sim_free(s);
}
END_TEST

START_TEST(seeds_that_are_down)
{
	struct sim *s = sim_new(860);
	struct node *n;
	uint64_t start;

	s->partitions = 32;
	sim_add(s, NULL);
	sim_run(s, NS_PER_S);
	start = s->now;
	/* The third works; it is reached without waiting for each retry. */
	n = sim_add(s, "127.0.0.1:1,127.0.0.1:2," FIRST);
	while (n->view == NULL) {
		ck_assert_uint_lt(s->now - start, 2 * NS_PER_S);
		sim_run(s, 10 * MS);
	}
	sim_free(s);
}
END_TEST

/* ------------------------------------------------------------------ clients */

START_TEST(a_client_follows)
{
	struct sim *s = sim_new(900 + (uint64_t)_i);
	struct node *c;
	uint64_t start;

	s->partitions = 32;
	for (unsigned i = 0; i < 3; i++)
		sim_add(s, FIRST);
	sim_agree(s, 30 * NS_PER_S);
	c = sim_node(s, "");
	c->client = true;
	sim_start(s, c, "127.0.0.1:1," FIRST);
	sim_run(s, NS_PER_S);
	ck_assert_ptr_nonnull(c->view);
	ck_assert(view_equal(c->view, s->node[0].view));
	ck_assert_uint_eq(s->node[0].view->count, 3);

	/* By the poll every 10 s. */
	sim_add(s, FIRST);
	sim_run(s, 5 * NS_PER_S);
	ck_assert(sim_agreed(s));
	sim_run(s, CLIENT_POLL + NS_PER_S);
	ck_assert(view_equal(c->view, s->node[0].view));

	/* At once when an answer shows another table. */
	sim_add(s, FIRST);
	sim_agree(s, 5 * NS_PER_S);
	start = s->now;
	member_poke(c->m, &s->node[1].id, sim_moment(s), &s->out);
	sim_carry_out(s, 3);
	while (!view_equal(c->view, s->node[1].view)) {
		ck_assert_uint_lt(s->now - start, NS_PER_S);
		sim_run(s, MS);
	}

	/* With most of the ring down. */
	sim_add(s, FIRST);
	sim_agree(s, 5 * NS_PER_S);
	for (unsigned i = 1; i < s->count; i++)
		if (!s->node[i].client)
			sim_stop(&s->node[i]);
	sim_run(s, 2 * CLIENT_POLL);
	ck_assert(view_equal(c->view, s->node[0].view));
	sim_free(s);
}
END_TEST

START_TEST(a_client_of_another_ring)
{
	struct sim *s = sim_new(910);
	struct node *c;

	s->partitions = 32;
	sim_add(s, NULL);
	s->ring = "other";
	c = sim_node(s, "");
	c->client = true;
	sim_start(s, c, FIRST);
	sim_run(s, 10 * NS_PER_S);
	ck_assert_ptr_null(c->view);
	ck_assert(!c->failed);
	ck_assert_uint_eq(c->warnings, 1);
	sim_free(s);
}
END_TEST

/* ------------------------------------------------------------- single events */

static int
frame_to(
    struct sim *s, unsigned to, unsigned from, enum msg_kind kind, const union msg *m)
{
	struct frame head = {.request = 7}, f;
	union msg decoded;
	struct buf *b;
	int rc;

	ck_assert_int_eq(msg_encode(&b, &head, kind, m), 0);
	ck_assert_int_eq(frame_decode(&f, buf_slice(b)), 0);
	ck_assert_int_eq(msg_decode(f.kind, f.body, &decoded), 0);
	rc = member_frame(s->node[to].m, &s->node[from].id, from + 1, &f, &decoded,
	    sim_moment(s), &s->out);
	sim_carry_out(s, to);
	buf_unref(b);
	return rc;
}

START_TEST(garbage_closes_the_connection)
{
	static const enum msg_kind kinds[] = {MSG_GOSSIP, MSG_GOSSIP_ACK, MSG_VIEW};
	struct sim *s = sim_new(950);
	struct view *before;
	union msg m;

	s->partitions = 32;
	sim_add(s, NULL);
	sim_add(s, FIRST);
	sim_agree(s, 10 * NS_PER_S);
	before = s->node[0].view;
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		memset(&m, 0, sizeof(m));
		switch (kinds[i]) {
		case MSG_GOSSIP:
			m.gossip.view = slice("\3garbage", 8);
			break;
		case MSG_GOSSIP_ACK:
			m.gossip_ack.view = slice("\3garbage", 8);
			break;
		default:
			m.view.view = slice("\3garbage", 8);
		}
		ck_assert_int_eq(frame_to(s, 0, 1, kinds[i], &m),
		    kinds[i] == MSG_VIEW ? 0 : DYN_EPROTO);
	}
	/* Kinds that are not ours are nothing to us. */
	memset(&m, 0, sizeof(m));
	ck_assert_int_eq(frame_to(s, 0, 1, MSG_PING, &m), 0);
	ck_assert_ptr_eq(s->node[0].view, before);
	sim_free(s);
}
END_TEST

/* A stranger gets a digest, and the view only for its own. */
START_TEST(strangers_get_no_view)
{
	struct sim *s = sim_new(960);
	static char words[4096];
	union msg m;

	s->partitions = 32;
	sim_add(s, NULL);
	sim_node(s, "127.0.0.1:7005");
	s->script = words;
	words[0] = '\0';
	memset(&m, 0, sizeof(m));
	ck_assert_int_eq(frame_to(s, 0, 1, MSG_GOSSIP, &m), 0);
	expect(words, "0 reply GOSSIP_ACK e1 rc=0\n");
	sim_free(s);
}
END_TEST

static void
order(struct sim *s, unsigned by, const struct node *of, uint8_t state)
{
	const struct order o = { .id = of->id, .state = state };
	struct view *v;

	ck_assert_int_eq(view_order(&v, s->node[by].view, &o, 1), 0);
	member_change(s->node[by].m, v, sim_moment(s), &s->out);
	view_unref(v);
	sim_carry_out(s, by);
}

/* Nobody waits for its word: it makes no table, and takes nobody in. */
START_TEST(who_has_left_admits_nobody)
{
	struct sim *s = sim_new(971);
	struct node *left, *late;
	uint64_t epoch;

	s->partitions = 32;
	sim_add(s, NULL);
	sim_add(s, FIRST);
	left = sim_add(s, FIRST);
	sim_agree(s, 30 * NS_PER_S);
	order(s, 0, left, RECORD_LEAVING);
	sim_run(s, 10 * NS_PER_S);
	ck_assert_int_eq(view_find(left->view, &left->id)->state, RECORD_LEFT);
	ck_assert(!left->failed);
	epoch = s->node[0].view->current->epoch;
	late = sim_node(s, "127.0.0.1:7003");
	sim_start(s, late, left->address);
	sim_run(s, 5 * NS_PER_S);
	ck_assert_ptr_null(late->view);
	ck_assert_uint_eq(s->node[0].view->current->epoch, epoch);
	/* Back it is not itself any more. */
	sim_stop(left);
	sim_start(s, left, FIRST);
	ck_assert(left->failed);
	ck_assert_int_eq(left->rc, DYN_ELEFT);
	sim_free(s);
}
END_TEST

/* It hears of it, and goes no further. */
START_TEST(who_was_forgotten_ends)
{
	struct sim *s = sim_new(972);
	struct node *gone;

	s->partitions = 32;
	sim_add(s, NULL);
	gone = sim_add(s, FIRST);
	sim_agree(s, 30 * NS_PER_S);
	order(s, 0, gone, RECORD_FORGOTTEN);
	sim_run(s, 5 * NS_PER_S);
	ck_assert(gone->failed);
	ck_assert_int_eq(gone->rc, DYN_ELEFT);
	ck_assert_uint_eq(s->node[0].view->current->seats_count, 1);
	ck_assert_int_eq(view_phase(s->node[0].view), VIEW_SETTLED);
	sim_free(s);
}
END_TEST

/* Data that is complete by a table that was replaced meanwhile says nothing. */
START_TEST(synced_counts_for_current_only)
{
	struct sim *s = sim_new(965);
	struct view *old;
	unsigned views;
	struct node *n;

	s->partitions = 32;
	n = sim_add(s, NULL);
	old = view_ref(n->view);
	sim_add(s, FIRST);
	while (n->view->current->epoch == 1)
		sim_run(s, MS);
	views = n->views;
	member_synced(n->m, old, sim_moment(s), &s->out);
	sim_carry_out(s, 0);
	ck_assert_uint_eq(n->views, views);
	ck_assert(!record_synced(view_find(n->view, &n->id), n->view->current));
	member_synced(n->m, n->view, sim_moment(s), &s->out);
	sim_carry_out(s, 0);
	ck_assert_uint_eq(n->views, views + 1);
	ck_assert(record_synced(view_find(n->view, &n->id), n->view->current));
	view_unref(old);
	sim_free(s);
}
END_TEST

/* Digests differ and the other lacks what I have: it gets it at once. */
START_TEST(what_the_other_lacks_is_sent)
{
	struct sim *s = sim_new(966);
	static char words[1 << 16];

	s->partitions = 32;
	s->delay_max = 1;
	sim_add(s, NULL);
	sim_add(s, FIRST);
	sim_agree(s, 10 * NS_PER_S);
	s->node[1].side = 1;
	sim_add(s, FIRST);
	sim_run(s, 2 * NS_PER_S);
	s->node[2].side = 1; /* 0 alone is to tell 1 */
	s->node[1].side = 0;
	s->script = words;
	words[0] = '\0';
	member_poke(s->node[0].m, &s->node[1].id, sim_moment(s), &s->out);
	sim_carry_out(s, 0);
	sim_run(s, 5 * MS);
	ck_assert_ptr_eq(strstr(words, "0 send GOSSIP e3\n"
				       "1 reply GOSSIP_ACK e2 rc=0 view\n"
				       "0 send GOSSIP e3 view\n"
				       "1 view e3 phase 1 of 3\n"),
	    words);
	sim_free(s);
}
END_TEST

/* Pokes by a storm of answers are one frame. */
START_TEST(pokes_are_damped)
{
	struct sim *s = sim_new(970);
	static char words[4096];

	s->partitions = 32;
	sim_add(s, NULL);
	sim_add(s, FIRST);
	sim_agree(s, 10 * NS_PER_S);
	sim_run(s, NS_PER_S);
	s->script = words;
	words[0] = '\0';
	for (int i = 0; i < 100; i++) {
		member_poke(s->node[0].m, &s->node[1].id, sim_moment(s), &s->out);
		sim_carry_out(s, 0);
	}
	expect(words, "0 send GOSSIP e2\n");
	s->now += POKE_GAP;
	member_poke(s->node[0].m, &s->node[1].id, sim_moment(s), &s->out);
	sim_carry_out(s, 0);
	expect(words, "0 send GOSSIP e2\n0 send GOSSIP e2\n");
	sim_free(s);
}
END_TEST

/* A table that no correct node can have made is reported. */
START_TEST(foreign_tables_are_reported)
{
	struct sim *s = sim_new(980);
	struct view *v, *w;
	struct record r;
	struct table *t;

	s->partitions = 32;
	sim_add(s, NULL);
	r = s->node[0].view->records[0];
	r.id.bytes[0] ^= 1;
	r.synced_epoch = 0;
	memset(&r.synced, 0, sizeof(r.synced));
	r.reading = 0;
	ck_assert_int_eq(view_with(&v, s->node[0].view, &r), 0);
	ck_assert_int_eq(view_settle(&w, v), 0);
	t = w->current;
	for (unsigned p = 0; p < 32; p++) {
		uint16_t first = t->owners[p * 3];

		t->owners[p * 3] = t->owners[p * 3 + 1];
		t->owners[p * 3 + 1] = first;
	}
	hash_digest(slice("turned", 6), &t->digest);
	member_learn(s->node[0].m, w, sim_moment(s), &s->out);
	sim_carry_out(s, 0);
	ck_assert_uint_eq(s->node[0].errors, 1);
	view_unref(v);
	view_unref(w);
	sim_free(s);
}
END_TEST

START_TEST(bad_options)
{
	struct sim *s = sim_new(990);
	struct node *n = sim_node(s, FIRST);
	struct member_options o;
	struct member *m;

	sim_options(s, n, FIRST, &o);
	o.self.weight = 0;
	ck_assert_int_eq(member_new(&m, &o, sim_moment(s), &s->out), DYN_EINVAL);
	ck_assert_ptr_null(m);
	sim_options(s, n, FIRST, &o);
	o.settings.partitions = 100;
	ck_assert_int_eq(member_new(&m, &o, sim_moment(s), &s->out), DYN_EINVAL);
	/* Nothing to create a ring with: no id was drawn for it. */
	sim_options(s, n, NULL, &o);
	memset(&o.settings.ring_id, 0, 16);
	memset(o.settings.secret, 0, 32);
	sim_begin(s, n, &o);
	ck_assert(n->failed);
	ck_assert_int_eq(n->rc, DYN_EINVAL);
	sim_free(s);
}
END_TEST

/* The n-th allocation fails, in every event of a join and a restart.  What is
 * lost is repeated: in the end both have the same view. */
START_TEST(out_of_memory)
{
	for (long n = 1; n < 400; n++) {
		struct sim *s = sim_new(1000);
		struct member_options o;
		struct node *a, *b;

		s->partitions = 16;
		s->delay_max = 1;
		a = sim_add(s, NULL);
		b = sim_node(s, "127.0.0.1:7001");
		b->incarnation = 1;
		sim_options(s, b, FIRST, &o);
		b->up = true;
		/* The outbox asserts on memory; it is the host's to reserve it. */
		for (int i = 0; i < 40; i++)
			(void)outbox_add(&s->out, FX_LOG);
		s->out.count = 0;
		mem_fail_at(n);
		while (member_new(&b->m, &o, sim_moment(s), &s->out) != 0)
			ck_assert_ptr_null(b->m);
		sim_carry_out(s, 1);
		if (n % 2 == 0)
			sim_run(s, 3 * NS_PER_S);
		mem_fail_at(0);
		sim_agree(s, 20 * NS_PER_S);
		ck_assert(view_equal(a->view, b->view));
		sim_free(s);
	}
}
END_TEST

static Suite *
suite(void)
{
	Suite *s = suite_create("member");
	TCase *c = tcase_create("converging");

	suite_add_tcase(s, c);
	tcase_add_loop_test(c, all_at_once, 0, 8);
	tcase_add_loop_test(c, one_by_one, 0, 4);
	tcase_add_loop_test(c, splits_heal, 0, 6);
	tcase_add_loop_test(c, storms, 0, 12);
	tcase_add_test(c, runs_repeat);
	tcase_add_test(c, agreement_is_quiet);
	c = tcase_create("coming back");
	suite_add_tcase(s, c);
	tcase_add_loop_test(c, restart_with_another_address, 0, 5);
	tcase_add_loop_test(c, everybody_moves, 0, 5);
	tcase_add_loop_test(c, everybody_moves_and_the_seed_is_late, 0, 5);
	tcase_add_test(c, incarnations_rise);
	tcase_add_loop_test(c, restart_in_the_middle_of_a_change, 0, 10);
	tcase_add_test(c, rolled_back_directory);
	tcase_add_test(c, tables_that_were_missed);
	tcase_add_loop_test(c, a_fence, 0, 5);
	tcase_add_loop_test(c, a_directory_of_before_a_fence, 0, 2);
	tcase_add_loop_test(c, copied_directory, 0, 5);
	c = tcase_create("joining");
	suite_add_tcase(s, c);
	tcase_add_test(c, a_join_in_words);
	tcase_add_test(c, nobody_is_there_yet);
	tcase_add_test(c, who_creates_a_ring);
	tcase_add_test(c, wrong_expectations);
	tcase_add_test(c, wrong_expectations_of_saved_data);
	tcase_add_test(c, two_rings_meet);
	tcase_add_test(c, seeds_that_are_down);
	c = tcase_create("clients");
	suite_add_tcase(s, c);
	tcase_add_loop_test(c, a_client_follows, 0, 5);
	tcase_add_test(c, a_client_of_another_ring);
	c = tcase_create("events");
	suite_add_tcase(s, c);
	tcase_add_test(c, garbage_closes_the_connection);
	tcase_add_test(c, strangers_get_no_view);
	tcase_add_test(c, synced_counts_for_current_only);
	tcase_add_test(c, who_has_left_admits_nobody);
	tcase_add_test(c, who_was_forgotten_ends);
	tcase_add_test(c, what_the_other_lacks_is_sent);
	tcase_add_test(c, pokes_are_damped);
	tcase_add_test(c, foreign_tables_are_reported);
	tcase_add_test(c, bad_options);
	tcase_add_test(c, out_of_memory);
	return s;
}

TEST_MAIN(suite)
