/*
 * Stand-ins (standin.c; the sloppy quorum in write.c, read.c, ask.c, replica.c,
 * and the rows they keep in store.c).
 *
 * Goal: for an owner that is down the next node of the preference list keeps
 * the copy, counts for it unless the call is strict, and never speaks for it
 * alone.
 * Method: one node of four under a script; the key's owners are a, b and c, so d
 * is the only stand-in.
 */
#include "test/core_script.h"

#include "test/unit/notation.h"

#include <stdio.h>

static struct script *
node(char self)
{
	return script_new(&(struct script_options){
	    .self = self, .view = view_ring(4, 3, 16), .client = self == 'x' });
}

static const char *
key_of(struct script *s)
{
	return view_key(s->o.view, "abc");
}

/* A PUT of b to keep for an owner. */
static void
peer_hint(struct script *s, uint64_t request, const char *object, char owner)
{
	struct buf *name = key_name(key_of(s));
	union msg m = { .put = { .durability = DYN_DURABLE_DISK, .name = buf_slice(name),
		.object = script_object(object), .owner = node_id(owner) } };

	script_frame(s, 'b', 7, NULL, request, MSG_PUT, &m);
	buf_unref(name);
}

static void
peer_get_hints(struct script *s, uint64_t request)
{
	struct buf *name = key_name(key_of(s));
	union msg m = { .get = { .name = buf_slice(name), .hints = 1 } };

	script_frame(s, 'b', 7, NULL, request, MSG_GET, &m);
	buf_unref(name);
}

static const char *
kept(struct script *s, char owner)
{
	struct buf *name = key_name(key_of(s));
	struct dyn_id id = node_id(owner);
	unsigned char space[HINT_ID_MAX];
	struct place at = place_of_hint(&id, buf_slice(name), space);
	struct dyn_slice value = fake_find_in(s->fake, DYN_SPACE_HINT, at.id);

	buf_unref(name);
	return value.len > 0 ? versions_text(value) : "none";
}

/* Drop the hint for an owner if it still is this object. */
static void
drop(struct script *s, char owner, const char *object)
{
	struct buf *name = key_name(key_of(s)), *bytes;
	struct dyn_id id = node_id(owner);
	unsigned char space[HINT_ID_MAX];
	struct place at = place_of_hint(&id, buf_slice(name), space);
	struct digest digest;
	static struct rows rows;
	struct wr w;

	row_digest(at.id, script_object(object), &digest);
	wr_init(&w, 64);
	wr_slice(&w, at.id);
	wr_bytes(&w, digest.b, sizeof(digest.b));
	MUST(wr_finish(&w, &bytes) == 0);
	rows = (struct rows){ .of = ROWS_DROP, .bytes = bytes };
	work_take(s->work, &rows, s->m, &s->out);
	script_effects(s);
	buf_unref(bytes);
	buf_unref(name);
}

/* ---------------------------------------------------------------- writing */

START_TEST(an_owner_is_down)
{
	struct script *s = node('a');

	script_down(s, 'c', true);
	script_put(s, key_of(s), "x");
	script_turn(s);
	EXPECT(s, "0 SEND PUT b #1 a1 | a1=x\n"
	          "0 SEND PUT d #1 a1 | a1=x for c\n"
	          "0 COMMIT 1 rows=1 disk\n");
	script_put_ack(s, 'd', 1, 0);
	EXPECT(s, "");
	script_commit(s, 0);
	EXPECT(s, "0 DONE put ok owners=1 standins=1 disk=2\n");
	ck_assert_uint_eq(s->last->receipt.machines, 2);
	script_free(s);
}
END_TEST

START_TEST(a_strict_write_counts_owners_only)
{
	struct script *s = node('a');

	script_down(s, 'c', true);
	script_op(s, OP_PUT, key_of(s), &(struct with){ .value = "x", .flags = DYN_STRICT });
	script_turn(s);
	script_put_ack(s, 'd', 1, 0);
	script_commit(s, 0);
	EXPECT(s, "0 SEND PUT b #1 a1 | a1=x\n"
	          "0 SEND PUT d #1 a1 | a1=x for c\n"
	          "0 COMMIT 1 rows=1 disk\n");
	script_put_ack(s, 'b', 1, 0);
	EXPECT(s, "0 DONE put ok owners=2 standins=1 disk=3\n");
	/* Too few owners: nothing is begun. */
	script_down(s, 'b', true);
	script_op(s, OP_PUT, key_of(s), &(struct with){ .value = "y", .flags = DYN_STRICT });
	EXPECT(s, "0 DONE put EQUORUM owners=0 disk=0\n");
	script_free(s);
}
END_TEST

START_TEST(an_owner_is_lost_on_the_way)
{
	struct script *s = node('a');

	script_put(s, key_of(s), "x");
	script_turn(s);
	script_commit(s, 0);
	script_skip(s);
	script_down(s, 'b', false);
	EXPECT(s, "0 SEND PUT d #1 a1 | a1=x for b\n");
	/* One stand-in at a time, and there is no other. */
	script_down(s, 'c', true);
	EXPECT(s, "");
	script_put_ack(s, 'd', 1, 0);
	EXPECT(s, "0 DONE put ok owners=1 standins=1 disk=2\n");
	script_free(s);
}
END_TEST

START_TEST(an_owner_cannot_store)
{
	struct script *s = node('a');

	script_put(s, key_of(s), "x");
	script_turn(s);
	script_skip(s);
	script_put_ack(s, 'b', 1, DYN_EFULL);
	EXPECT(s, "0 SEND PUT d #1 a1 | a1=x for b\n");
	/* The stand-in cannot either; it was the last. */
	script_put_ack(s, 'd', 1, DYN_EFULL);
	EXPECT(s, "");
	script_commit(s, 0);
	script_put_ack(s, 'c', 1, 0);
	EXPECT(s, "0 DONE put ok owners=2 disk=2\n");
	/* An object that is refused is refused by all. */
	script_put(s, key_of(s), "y");
	script_turn(s);
	script_skip(s);
	script_put_ack(s, 'b', 2, DYN_ECLOCK);
	EXPECT(s, "");
	script_free(s);
}
END_TEST

START_TEST(this_node_cannot_store)
{
	struct script *s = node('a');

	script_put(s, key_of(s), "x");
	script_turn(s);
	script_skip(s);
	script_commit(s, DYN_EFULL);
	EXPECT(s, "0 LOG storage: commit failed: no space left for storage\n"
	          "0 SEND PUT d #1 a1 | a1=x for a\n");
	script_put_ack(s, 'd', 1, 0);
	script_put_ack(s, 'c', 1, 0);
	EXPECT(s, "0 DONE put ok owners=1 standins=1 disk=2\n");
	script_free(s);
}
END_TEST

START_TEST(no_owner_can_be_reached)
{
	struct script *s = node('d'), *x = node('x');

	for (const char *p = "abc"; *p != '\0'; p++) {
		script_down(s, *p, true);
		script_down(x, *p, true);
	}
	script_op(s, OP_PUT, key_of(s), &(struct with){ .value = "x", .w = 1 });
	script_turn(s);
	EXPECT(s, "0 COMMIT 1 rows=1 disk\n");
	script_commit(s, 0);
	EXPECT(s, "0 DONE put ok owners=0 standins=1 disk=1\n");
	ck_assert_uint_eq(s->last->dot.actor.incarnation, 101);
	/* Two machines there are not. */
	script_put(s, key_of(s), "y");
	EXPECT(s, "0 DONE put EQUORUM owners=0 disk=0\n");
	script_op(s, OP_PUT, key_of(s), &(struct with){ .value = "y", .w = 1, .flags = DYN_STRICT });
	EXPECT(s, "0 DONE put EQUORUM owners=0 disk=0\n");
	/* Who stores nothing asks the stand-in. */
	script_op(x, OP_PUT, key_of(x), &(struct with){ .value = "x", .w = 1 });
	EXPECT(x, "0 SEND ASK d #1 put n=3 w=1 ms=1000 x standin\n");
	script_ask_ack(x, 'd', 1, 0);
	script_skip(x);
	script_op(x, OP_PUT, key_of(x), &(struct with){ .value = "x", .w = 1, .flags = DYN_STRICT });
	EXPECT(x, "0 DONE put EQUORUM owners=0 disk=0\n");
	script_free(s);
	script_free(x);
}
END_TEST

/* ---------------------------------------------------------------- reading */

START_TEST(a_stand_in_answers_for_an_owner)
{
	struct script *s = node('a');

	script_down(s, 'c', true);
	script_get(s, key_of(s));
	EXPECT(s, "0 SEND GET b #1\n"
	          "0 SEND GET d #1 hints\n");
	script_get_ack(s, 'd', 1, 0, "c1 | c1=x");
	/* It is no owner: it is not repaired, this node is. */
	EXPECT(s, "0 DONE get ok owners=1 standins=1 c1 | c1=x\n");
	script_get_ack(s, 'b', 1, 0, "c1 | c1=x");
	script_turn(s);
	EXPECT(s, "0 COMMIT 1 rows=1 disk\n");
	script_free(s);
}
END_TEST

START_TEST(nothing_counts_beside_who_knows)
{
	struct script *s = node('a'), *x = node('x');

	script_down(s, 'c', true);
	script_down(s, 'b', true);
	script_get(s, key_of(s));
	script_get_ack(s, 'd', 1, 0, NULL);
	EXPECT(s, "0 SEND GET d #1 hints\n"
	          "0 DONE get ok owners=1 none\n");
	script_op(s, OP_GET, key_of(s), &(struct with){ .flags = DYN_STRICT });
	EXPECT(s, "0 SEND GET d #2 hints\n"
	          "0 DONE get EQUORUM owners=1\n");
	/* Alone it says nothing. */
	for (const char *p = "abc"; *p != '\0'; p++)
		script_down(x, *p, true);
	script_op(x, OP_GET, key_of(x), &(struct with){ .r = 1 });
	script_get_ack(x, 'd', 1, 0, NULL);
	EXPECT(x, "0 SEND GET d #1 hints\n"
	          "0 DONE get EQUORUM owners=0\n");
	script_op(x, OP_GET, key_of(x), &(struct with){ .r = 1 });
	script_get_ack(x, 'd', 2, 0, "a1 | a1=x");
	EXPECT(x, "0 SEND GET d #2 hints\n"
	          "0 DONE get ok owners=0 standins=1 a1 | a1=x\n");
	script_free(s);
	script_free(x);
}
END_TEST

/* ---------------------------------------------------------------- keeping */

START_TEST(what_is_kept_is_no_copy)
{
	struct script *s = node('d');

	peer_hint(s, 1, "a1 | a1=x", 'c');
	script_turn(s);
	EXPECT(s, "0 COMMIT 1 rows=1 disk\n");
	script_commit(s, 0);
	EXPECT(s, "0 REPLY PUT_ACK 7 #1 ok disk\n");
	ck_assert_str_eq(kept(s, 'c'), "a1 | a1=x");
	ck_assert_str_eq(script_stored(s, key_of(s)), "none");
	peer_hint(s, 2, "b1 | b1=y", 'a');
	script_turn(s);
	script_commit(s, 0);
	script_skip(s);
	/* Asked for it, this node tells all it keeps, and that it is no owner. */
	peer_get_hints(s, 3);
	EXPECT(s, "0 REPLY GET_ACK 7 #3 ok incomplete a1 b1 | a1=x b1=y\n");
	script_peer_get(s, 'b', NULL, 4, key_of(s));
	EXPECT(s, "0 REPLY GET_ACK 7 #4 EMOVED incomplete\n");
	script_free(s);
}
END_TEST

START_TEST(refusals)
{
	struct script *s = node('d');

	peer_hint(s, 1, "a1 | a1=x", 'z');
	EXPECT(s, "0 REPLY PUT_ACK 7 #1 EMOVED\n");
	work_hints_full(s->work, true);
	peer_hint(s, 2, "a1 | a1=x", 'c');
	EXPECT(s, "0 REPLY PUT_ACK 7 #2 EFULL\n");
	work_hints_full(s->work, false);
	peer_hint(s, 3, "a1 | a1=x", 'c');
	script_turn(s);
	EXPECT(s, "0 COMMIT 1 rows=1 disk\n");
	script_free(s);
	/* An owner keeps nothing for others: it has a copy. */
	s = node('a');
	peer_hint(s, 1, "b1 | b1=x", 'c');
	script_turn(s);
	script_commit(s, 0);
	EXPECT(s, "0 COMMIT 1 rows=1 disk\n"
	          "0 REPLY PUT_ACK 7 #1 ok disk\n");
	ck_assert_str_eq(script_stored(s, key_of(s)), "b1 | b1=x");
	ck_assert_str_eq(kept(s, 'c'), "none");
	script_free(s);
}
END_TEST

START_TEST(a_hint_goes_only_as_it_was_sent)
{
	struct script *s = node('d');

	peer_hint(s, 1, "a1 | a1=x", 'c');
	script_turn(s);
	script_commit(s, 0);
	/* Another version comes while the first is on its way to c. */
	peer_hint(s, 2, "b1 | b1=y", 'c');
	script_turn(s);
	script_skip(s);
	drop(s, 'c', "a1 | a1=x");
	EXPECT(s, "0 STORED ok\n");
	script_commit(s, 0);
	ck_assert_str_eq(kept(s, 'c'), "a1 b1 | a1=x b1=y");
	script_skip(s);
	drop(s, 'c', "a1 b1 | a1=x b1=y");
	script_turn(s);
	EXPECT(s, "0 COMMIT 3 rows=1 disk\n");
	/* Gone for who asks, before it is gone from the disk. */
	peer_get_hints(s, 3);
	EXPECT(s, "0 REPLY GET_ACK 7 #3 ok incomplete none\n");
	script_commit(s, 0);
	EXPECT(s, "0 STORED ok\n");
	ck_assert_str_eq(kept(s, 'c'), "none");
	/* Once more is no harm. */
	drop(s, 'c', "a1 b1 | a1=x b1=y");
	EXPECT(s, "0 STORED ok\n");
	script_free(s);
}
END_TEST

START_TEST(a_stand_in_forgets_its_actor_with_its_hints)
{
	struct script *s = node('d');
	struct with w = { .value = "x", .w = 1 };

	for (const char *p = "abc"; *p != '\0'; p++)
		script_down(s, *p, true);
	script_op(s, OP_PUT, key_of(s), &w);
	script_turn(s);
	script_commit(s, 0);
	ck_assert_uint_eq(s->last->dot.counter, 1);
	/* The same actor as long as it holds all that it did. */
	w.value = "y";
	script_op(s, OP_PUT, key_of(s), &w);
	script_turn(s);
	script_commit(s, 0);
	ck_assert_uint_eq(s->last->dot.counter, 2);
	ck_assert_uint_eq(s->last->dot.actor.incarnation, 101);
	for (const char *p = "abc"; *p != '\0'; p++) {
		struct buf *name = key_name(key_of(s));
		struct dyn_id id = node_id(*p);
		unsigned char space[HINT_ID_MAX];
		struct place at = place_of_hint(&id, buf_slice(name), space);
		struct dyn_slice row = fake_find_in(s->fake, DYN_SPACE_HINT, at.id);
		struct digest digest;
		uint64_t number = 0;

		row_digest(at.id, row, &digest);
		MUST(store_drop(&s->work->store, at, &digest, &number) == 0);
		buf_unref(name);
	}
	script_turn(s);
	script_commit(s, 0);
	script_op(s, OP_PUT, key_of(s), &w);
	script_turn(s);
	script_commit(s, 0);
	ck_assert_uint_eq(s->last->dot.counter, 1);
	ck_assert_uint_eq(s->last->dot.actor.incarnation, 102);
	/* The actor of the copies is another, and stays. */
	ck_assert_uint_eq(work_incarnation(s->work), 1);
	script_free(s);
}
END_TEST

static void
put_with_a_stand_in(struct script *s, const char *key)
{
	unsigned request;
	const char *sent;
	char to;

	script_op(s, OP_PUT, key, &(struct with){ .value = "x", .n = 1, .w = 1 });
	script_turn(s);
	sent = strstr(script_trace(s), "SEND PUT ");
	ck_assert_ptr_nonnull(sent);
	ck_assert_int_eq(sscanf(sent, "SEND PUT %c #%u", &to, &request), 2);
	script_commit(s, 0);
	script_put_ack(s, to, request, 0);
	ck_assert_int_eq(s->last->rc, 0);
}

/* Who is to own the partition again, and has no complete copy yet, takes the write if
 * nobody else can.  What its actor did there before went with the partition, and is on its
 * way back: a later counter would say that it is known. */
START_TEST(a_copy_that_is_being_filled)
{
	struct view *v = view_joins(view_ring(3, 1, 16), 'd');
	struct script *s = script_new(&(struct script_options){ .self = 'd', .view = v });
	uint64_t actor = work_incarnation(s->work);
	const struct dyn_id self = node_id('d');
	struct buf *name = NULL;
	char key[8] = "";
	struct group g;

	for (unsigned i = 0;
	     name == NULL || !view_owns(v, name_partition(buf_slice(name), 16), &self); i++) {
		buf_unref(name);
		snprintf(key, sizeof(key), "k%u", i % 1000);
		name = key_name(key);
	}
	view_readers(v, name_partition(buf_slice(name), 16), &g);
	buf_unref(name);
	s->work->store.floor = _i == 0 ? 0 : 18;
	script_down(s, node_letter(&v->records[g.member[0]].id), true);
	put_with_a_stand_in(s, key);
	ck_assert_uint_eq(s->last->dot.counter, 1);
	ck_assert_uint_eq(s->last->dot.actor.incarnation, actor + (_i == 0 ? 0 : 1));
	/* The new actor did nothing elsewhere. */
	put_with_a_stand_in(s, key);
	ck_assert_uint_eq(s->last->dot.counter, 2);
	script_free(s);
}
END_TEST

/* ---------------------------------------------------------------- suspected */

START_TEST(a_suspected_owner_is_not_asked)
{
	struct script *s = node('a');

	script_suspect(s, 'c', true);
	script_put(s, key_of(s), "x");
	script_turn(s);
	EXPECT(s, "0 SEND PUT b #1 a1 | a1=x\n"
	          "0 SEND PUT d #1 a1 | a1=x for c\n"
	          "0 COMMIT 1 rows=1 disk\n");
	script_get(s, key_of(s));
	EXPECT(s, "0 SEND GET b #2\n"
	          "0 SEND GET d #2 hints\n");
	script_suspect(s, 'c', false);
	script_get(s, key_of(s));
	EXPECT(s, "0 SEND GET b #3\n"
	          "0 SEND GET c #3\n");
	script_free(s);
}
END_TEST

/* A call that waits for it: another place for the copy is found, and its own
 * answer, should it come after all, counts too. */
START_TEST(an_owner_is_suspected_meanwhile)
{
	struct script *s = node('a');

	script_down(s, 'b', true);
	script_op(s, OP_PUT, key_of(s), &(struct with){ .value = "x", .w = 3 });
	script_turn(s);
	script_commit(s, 0);
	script_put_ack(s, 'd', 1, 0);
	EXPECT(s, "0 SEND PUT c #1 a1 | a1=x\n"
	          "0 SEND PUT d #1 a1 | a1=x for b\n"
	          "0 COMMIT 1 rows=1 disk\n");
	/* There is no further stand-in: it is waited for all the same. */
	script_suspect(s, 'c', true);
	EXPECT(s, "");
	script_put_ack(s, 'c', 1, 0);
	EXPECT(s, "0 DONE put ok owners=2 standins=1 disk=3\n");
	script_suspect(s, 'c', false);
	script_up(s, 'b');
	script_op(s, OP_PUT, key_of(s), &(struct with){ .value = "y", .w = 3 });
	script_turn(s);
	script_commit(s, 0);
	script_skip(s);
	script_suspect(s, 'c', true);
	EXPECT(s, "0 SEND PUT d #2 a2 | a1=x a2=y for c\n");
	script_put_ack(s, 'b', 2, 0);
	script_put_ack(s, 'd', 2, 0);
	EXPECT(s, "0 DONE put ok owners=2 standins=1 disk=3\n");
	script_free(s);
}
END_TEST

static Suite *
suite(void)
{
	Suite *s = suite_create("stand-ins");
	TCase *c = tcase_create("writing");

	suite_add_tcase(s, c);
	tcase_add_test(c, an_owner_is_down);
	tcase_add_test(c, a_strict_write_counts_owners_only);
	tcase_add_test(c, an_owner_is_lost_on_the_way);
	tcase_add_test(c, an_owner_cannot_store);
	tcase_add_test(c, this_node_cannot_store);
	tcase_add_test(c, no_owner_can_be_reached);
	tcase_add_loop_test(c, a_copy_that_is_being_filled, 0, 2);
	c = tcase_create("reading");
	suite_add_tcase(s, c);
	tcase_add_test(c, a_stand_in_answers_for_an_owner);
	tcase_add_test(c, nothing_counts_beside_who_knows);
	c = tcase_create("suspected");
	suite_add_tcase(s, c);
	tcase_add_test(c, a_suspected_owner_is_not_asked);
	tcase_add_test(c, an_owner_is_suspected_meanwhile);
	c = tcase_create("keeping");
	suite_add_tcase(s, c);
	tcase_add_test(c, what_is_kept_is_no_copy);
	tcase_add_test(c, refusals);
	tcase_add_test(c, a_hint_goes_only_as_it_was_sent);
	tcase_add_test(c, a_stand_in_forgets_its_actor_with_its_hints);
	return s;
}

TEST_MAIN(suite)
