/*
 * The other end of a coordinator's requests (replica.c).
 *
 * Goal: an acknowledgement means what was asked for (disk, os, memory); who
 * goes by an old table is refused, and nobody else; what is malformed changes
 * nothing.
 * Method: node a, or a newcomer d, under a script.
 */
#include "test/core_script.h"

#include <stdio.h>

static struct script *
node_a(void)
{
	return script_new(&(struct script_options){ .self = 'a', .view = view_ring(3, 3, 16) });
}

START_TEST(acknowledged_when_committed)
{
	struct script *s = node_a();

	script_peer_put(s, 'b', NULL, 9, "k", "b1 | b1=x", DYN_DURABLE_DISK);
	script_turn(s);
	EXPECT(s, "0 COMMIT 1 rows=1 disk\n");
	script_wait(s, 4);
	script_commit(s, 0);
	EXPECT(s, "4 REPLY PUT_ACK 7 #9 ok disk\n");
	ck_assert_str_eq(script_stored(s, "k"), "b1 | b1=x");
	script_free(s);
}
END_TEST

START_TEST(one_commit_for_all_that_waits)
{
	struct script *s = node_a();

	script_peer_put(s, 'b', NULL, 9, "k", "b1 | b1=x", DYN_DURABLE_DISK);
	script_peer_put(s, 'b', NULL, 10, "k", "b2 | b2=y", DYN_DURABLE_OS);
	script_peer_put(s, 'c', NULL, 3, "j", "c1 | c1=z", DYN_DURABLE_DISK);
	script_turn(s);
	EXPECT(s, "0 COMMIT 1 rows=2 disk\n");
	script_peer_put(s, 'b', NULL, 11, "k", "b3 | b3=w", DYN_DURABLE_DISK);
	script_turn(s);
	EXPECT(s, "0 COMMIT 2 rows=1 disk\n");
	script_commit(s, 0);
	EXPECT(s, "0 REPLY PUT_ACK 7 #9 ok disk\n"
	          "0 REPLY PUT_ACK 7 #10 ok\n"
	          "0 REPLY PUT_ACK 7 #3 ok disk\n");
	/* What is on its way is seen before it is committed. */
	script_peer_get(s, 'c', NULL, 4, "k");
	EXPECT(s, "0 REPLY GET_ACK 7 #4 ok b3 | b3=w\n");
	script_commit(s, 0);
	EXPECT(s, "0 REPLY PUT_ACK 7 #11 ok disk\n");
	script_peer_get(s, 'c', NULL, 5, "k");
	EXPECT(s, "0 REPLY GET_ACK 7 #5 ok b3 | b3=w\n");
	ck_assert_uint_eq(work_unwritten(s->work), 0);
	script_free(s);
}
END_TEST

START_TEST(memory_is_acknowledged_at_once)
{
	struct script *s = node_a();

	script_peer_put(s, 'b', NULL, 9, "k", "b1 | b1=x", DYN_DURABLE_MEMORY);
	EXPECT(s, "0 REPLY PUT_ACK 7 #9 ok\n");
	script_turn(s);
	EXPECT(s, "0 COMMIT 1 rows=1 memory\n");
	script_free(s);
}
END_TEST

START_TEST(known_already)
{
	struct script *s = node_a();

	script_peer_put(s, 'b', NULL, 9, "k", "b1 | b1=x", DYN_DURABLE_DISK);
	script_turn(s);
	/* The same, and an older one: they wait for the same batch. */
	script_peer_put(s, 'c', NULL, 3, "k", "b1 | b1=x", DYN_DURABLE_DISK);
	script_turn(s);
	EXPECT(s, "0 COMMIT 1 rows=1 disk\n");
	script_commit(s, 0);
	EXPECT(s, "0 REPLY PUT_ACK 7 #9 ok disk\n"
	          "0 REPLY PUT_ACK 7 #3 ok disk\n");
	/* In the engine, and on disk. */
	script_peer_put(s, 'c', NULL, 4, "k", "b1 | b1=x", DYN_DURABLE_DISK);
	script_turn(s);
	EXPECT(s, "0 REPLY PUT_ACK 7 #4 ok disk\n");
	script_free(s);
}
END_TEST

START_TEST(known_but_not_on_disk)
{
	struct script *s = node_a();

	script_peer_put(s, 'b', NULL, 9, "k", "b1 | b1=x", DYN_DURABLE_OS);
	script_turn(s);
	/* On its way without fsync: written once more. */
	script_peer_put(s, 'b', NULL, 10, "k", "b1 | b1=x", DYN_DURABLE_DISK);
	script_turn(s);
	EXPECT(s, "0 COMMIT 1 rows=1 os\n"
	          "0 COMMIT 2 rows=1 disk\n");
	script_commit(s, 0);
	EXPECT(s, "0 REPLY PUT_ACK 7 #9 ok\n");
	script_commit(s, 0);
	EXPECT(s, "0 REPLY PUT_ACK 7 #10 ok disk\n");
	/* The same when it has gone to the engine. */
	script_peer_put(s, 'b', NULL, 11, "j", "b1 | b1=x", DYN_DURABLE_OS);
	script_commit(s, 0);
	script_skip(s);
	script_peer_put(s, 'b', NULL, 12, "j", "b1 | b1=x", DYN_DURABLE_DISK);
	script_turn(s);
	EXPECT(s, "0 COMMIT 4 rows=1 disk\n");
	/* Still open: the batch becomes stronger. */
	script_peer_put(s, 'b', NULL, 13, "i", "b1 | b1=x", DYN_DURABLE_OS);
	script_peer_put(s, 'b', NULL, 14, "i", "b1 | b1=x", DYN_DURABLE_DISK);
	script_turn(s);
	EXPECT(s, "0 COMMIT 5 rows=1 disk\n");
	script_free(s);
}
END_TEST

START_TEST(what_an_earlier_life_wrote_may_not_be_on_disk)
{
	struct script *s = node_a();

	script_row(s, "k", "b1 | b1=x");
	script_peer_put(s, 'b', NULL, 9, "k", "b1 | b1=x", DYN_DURABLE_DISK);
	script_turn(s);
	EXPECT(s, "0 COMMIT 1 rows=1 disk\n");
	script_commit(s, 0);
	EXPECT(s, "0 REPLY PUT_ACK 7 #9 ok disk\n");
	script_peer_put(s, 'b', NULL, 10, "k", "b1 | b1=x", DYN_DURABLE_DISK);
	EXPECT(s, "0 REPLY PUT_ACK 7 #10 ok disk\n");
	script_free(s);
}
END_TEST

START_TEST(a_commit_fails)
{
	struct script *s = node_a();

	script_peer_put(s, 'b', NULL, 9, "k", "b1 | b1=x", DYN_DURABLE_DISK);
	script_turn(s);
	script_peer_put(s, 'b', NULL, 10, "j", "b1 | b1=y", DYN_DURABLE_DISK);
	script_turn(s);
	script_peer_put(s, 'b', NULL, 11, "i", "b1 | b1=z", DYN_DURABLE_DISK);
	script_skip(s);
	/* All that came after it was built on it. */
	script_commit(s, DYN_EFULL);
	EXPECT(s, "0 LOG storage: commit failed: no space left for storage\n"
	          "0 REPLY PUT_ACK 7 #9 EFULL\n"
	          "0 REPLY PUT_ACK 7 #10 EFULL\n"
	          "0 REPLY PUT_ACK 7 #11 EFULL\n");
	script_turn(s);
	EXPECT(s, "");
	script_peer_get(s, 'b', NULL, 12, "k");
	EXPECT(s, "0 REPLY GET_ACK 7 #12 ok none\n");
	/* The second batch, refused by storage, changes nothing. */
	script_commit(s, 0);
	EXPECT(s, "");
	ck_assert_str_eq(script_stored(s, "j"), "none");
	ck_assert_uint_eq(work_incarnation(s->work), 2);
	ck_assert(!work_committing(s->work));
	/* It goes on. */
	script_peer_put(s, 'b', NULL, 13, "k", "b1 | b1=x", DYN_DURABLE_DISK);
	script_commit(s, 0);
	EXPECT(s, "0 COMMIT 4 rows=1 disk\n"
	          "0 REPLY PUT_ACK 7 #13 ok disk\n");
	script_free(s);
}
END_TEST

START_TEST(what_a_reader_saw_may_live_on)
{
	struct script *s = node_a();

	script_peer_put(s, 'b', NULL, 9, "k", "b1 | b1=x", DYN_DURABLE_DISK);
	script_peer_get(s, 'c', NULL, 3, "k");
	script_turn(s);
	script_skip(s);
	script_commit(s, DYN_EFULL);
	EXPECT(s, "0 LOG storage: commit failed: no space left for storage\n"
	          "0 REPLY PUT_ACK 7 #9 EUNKNOWN\n");
	script_free(s);
}
END_TEST

START_TEST(repairs_are_not_answered)
{
	struct script *s = node_a();

	script_peer_put(s, 'b', NULL, 0, "k", "b1 | b1=x", DYN_DURABLE_DISK);
	script_commit(s, 0);
	EXPECT(s, "0 COMMIT 1 rows=1 disk\n");
	ck_assert_str_eq(script_stored(s, "k"), "b1 | b1=x");
	script_free(s);
}
END_TEST

START_TEST(malformed_requests)
{
	struct script *s = node_a();
	struct buf *name = key_name("k");
	union msg m;

#define TRY(change)                                                            \
	m.put = (struct msg_put){ .durability = DYN_DURABLE_DISK,              \
		.name = buf_slice(name), .object = dyn_str("\1\377") };        \
	change;                                                                \
	script_frame(s, 'b', 7, NULL, 3, MSG_PUT, &m);                         \
	EXPECT(s, "0 REPLY PUT_ACK 7 #3 EPROTO\n")

	TRY((void)0);
	TRY(m.put.object.len = 0);
	TRY(m.put.name.len--);
	TRY(m.put.name.len = 0);
	TRY(m.put.durability = DYN_DURABLE_DEFAULT);
	TRY(m.put.durability = 4);
#undef TRY
	name->data[0] ^= 1; /* a hash that is not the key's */
	m.get.name = buf_slice(name);
	script_frame(s, 'b', 7, NULL, 4, MSG_GET, &m);
	EXPECT(s, "0 REPLY GET_ACK 7 #4 EPROTO incomplete\n");
	script_turn(s);
	EXPECT(s, "");
	buf_unref(name);
	script_free(s);
}
END_TEST

START_TEST(cut_frames_close_the_connection)
{
	struct script *s = node_a();
	struct frame f = { .kind = MSG_PUT, .request = 3, .body = dyn_str("\1\377") };
	struct dyn_id b = node_id('b');

	ck_assert_int_eq(work_frame(s->work, &b, 7, &f, s->m, &s->out), DYN_EPROTO);
	/* Of a newer version: skipped. */
	f.kind = 200;
	ck_assert_int_eq(work_frame(s->work, &b, 7, &f, s->m, &s->out), 0);
	/* Answers of the wrong kind find nobody. */
	script_get(s, "k");
	script_skip(s);
	script_put_ack(s, 'b', 1, 0);
	script_ask_ack(s, 'b', 1, 0);
	EXPECT(s, "");
	script_free(s);
}
END_TEST

START_TEST(copies_that_fail)
{
	struct script *s = node_a();

	s->fake->get_rc = DYN_EIO;
	script_peer_get(s, 'b', NULL, 3, "k");
	script_peer_put(s, 'b', NULL, 4, "k", "b1 | b1=x", DYN_DURABLE_DISK);
	EXPECT(s, "0 REPLY GET_ACK 7 #3 EIO incomplete\n"
	          "0 REPLY PUT_ACK 7 #4 EIO\n");
	script_free(s);
}
END_TEST

START_TEST(before_there_is_a_table)
{
	struct settings join = { .name = "test" };
	struct record r = { .incarnation = 1, .stamp = 1, .state = RECORD_JOINED,
		.weight = 100, .workers = 1, .address = "127.0.0.1:1" };
	struct script *s = script_new(&(struct script_options){ .self = 'a' });
	struct view *ring = view_ring(3, 3, 16), *v;

	r.id = node_id('a');
	ck_assert_int_eq(view_joining(&v, &join, &r), 0);
	for (unsigned i = 0; i < 2; i++) {
		script_peer_get(s, 'b', ring, 3, "k");
		script_peer_put(s, 'b', ring, 4, "k", "b1 | b1=x", DYN_DURABLE_DISK);
		script_peer_put(s, 'b', ring, 0, "k", "b1 | b1=x", DYN_DURABLE_DISK);
		script_peer_ask(s, 'b', ring, 5, OP_PUT, "k", &(struct with){ .value = "x" });
		EXPECT(s, "0 REPLY GET_ACK 7 #3 EPROTO incomplete\n"
		          "0 REPLY PUT_ACK 7 #4 EPROTO\n"
		          "0 REPLY ASK_ACK 7 #5 EPROTO owners=0 disk=0 by a\n");
		work_view(s->work, v, s->m, &s->out);
	}
	script_free(s);
	view_unref(ring);
	view_unref(v);
}
END_TEST

START_TEST(a_client_keeps_nothing)
{
	struct script *s = script_new(&(struct script_options){ .self = 'z', .client = true,
	    .view = view_ring(3, 3, 16) });

	script_peer_put(s, 'b', NULL, 4, "k", "b1 | b1=x", DYN_DURABLE_DISK);
	script_peer_get(s, 'b', NULL, 3, "k");
	EXPECT(s, "0 REPLY PUT_ACK 7 #4 EPROTO\n"
	          "0 REPLY GET_ACK 7 #3 EPROTO incomplete\n");
	script_free(s);
}
END_TEST

/* ------------------------------------------------------------- other views */

/* All phases of a ring that d joins: [0] settled before, [1] moving, [2]
 * switched, [3] settled after. */
static void
phases(struct view *v[4])
{
	v[0] = view_ring(3, 3, 16);
	v[1] = view_joins(view_ref(v[0]), 'd');
	v[2] = view_all_synced(view_ref(v[1]));
	v[3] = view_all_read(view_ref(v[2]));
	ck_assert_int_eq(view_phase(v[1]), VIEW_MOVING);
	ck_assert_int_eq(view_phase(v[2]), VIEW_SWITCHED);
	ck_assert_int_eq(view_phase(v[3]), VIEW_SETTLED);
}

static void
drop(struct view *v[4])
{
	for (unsigned i = 0; i < 4; i++)
		view_unref(v[i]);
}

/* Whom this node refuses, by its own phase and the sender's: 'p' a put, 'g' a
 * get, "." nothing; "all": everything, as its own view must be an old one. */
static const char *
refusals(struct view *own, struct view *sender, char self, const char *key)
{
	struct script *s =
	    script_new(&(struct script_options){ .self = self, .view = view_ref(own) });
	const struct dyn_id id = node_id(self);
	struct buf *name = key_name(key);
	bool takes_repairs = view_is_newer(sender, own) ||
	    view_owns(own, name_partition(buf_slice(name), own->settings.partitions), &id);
	static char text[3];
	char *p = text;
	const char *said;

	buf_unref(name);
	script_peer_put(s, 'b', sender, 3, key, "b1 | b1=x", DYN_DURABLE_MEMORY);
	said = script_trace(s);
	if (strstr(said, "EBUSY") != NULL) {
		script_peer_get(s, 'b', sender, 4, key);
		ck_assert_ptr_nonnull(strstr(script_trace(s), "EBUSY"));
		script_peer_put(s, 'b', sender, 0, key, "b2 | b2=y", DYN_DURABLE_DISK);
		script_turn(s);
		ck_assert_uint_eq(s->batches_count, 0);
		script_free(s);
		return "all";
	}
	if (strstr(said, "EMOVED") != NULL)
		*p++ = 'p';
	script_peer_get(s, 'b', sender, 4, key);
	if (strstr(script_trace(s), "EMOVED") != NULL)
		*p++ = 'g';
	*p = '\0';
	/* Repairs of any table, but not for nothing. */
	script_peer_put(s, 'b', sender, 0, key, "b2 | b2=y", DYN_DURABLE_DISK);
	script_turn(s);
	ck_assert_uint_eq(s->batches_count, takes_repairs);
	if (takes_repairs) {
		script_commit(s, 0);
		ck_assert_str_eq(script_stored(s, key), "b2 | b2=y");
	}
	script_free(s);
	return p == text ? "." : text;
}

START_TEST(who_goes_by_an_old_table_is_refused)
{
	/* [own phase][sender's phase] */
	static const char *const kept[4][4] = {
		{ ".", ".", "all", "all" },
		{ "p", ".", ".", "." },
		{ "p", ".", ".", "." },
		{ "pg", "g", ".", "." },
	};
	/* For who owns it by the new table only: */
	static const char *const newcomer[4][4] = {
		{ "pg", ".", "all", "all" },
		{ "p", ".", ".", "." },
		{ "p", ".", ".", "." },
		{ "pg", "g", ".", "." },
	};
	/* And by the old one only: */
	static const char *const former[4][4] = {
		{ ".", ".", "all", "all" },
		{ "p", ".", ".", "." },
		{ "p", ".", ".", "." },
		{ "pg", "pg", "pg", "pg" },
	};
	struct view *v[4];
	const char *key;

	phases(v);
	key = view_key(v[1], "abc/abd abc");
	for (unsigned own = 0; own < 4; own++) {
		for (unsigned from = 0; from < 4; from++) {
			ck_assert_msg(strcmp(refusals(v[own], v[from], 'a', key),
			    kept[own][from]) == 0, "a in %u, sender in %u", own, from);
			ck_assert_msg(strcmp(refusals(v[own], v[from], 'd', key),
			    newcomer[own][from]) == 0, "d in %u, sender in %u: %s", own, from,
			    refusals(v[own], v[from], 'd', key));
			ck_assert_msg(strcmp(refusals(v[own], v[from], 'c', key),
			    former[own][from]) == 0, "c in %u, sender in %u: %s", own, from,
			    refusals(v[own], v[from], 'c', key));
		}
	}
	drop(v);
}
END_TEST

/* What was read before a fence may have been deleted and forgotten since: not even
 * as a repair is it taken. */
START_TEST(nothing_from_before_a_fence_is_taken)
{
	struct view *old = view_ring(4, 3, 16), *new = view_fenced(old, _i == 1);
	const char *key = view_key(old, "abc");
	struct script *s =
	    script_new(&(struct script_options){ .self = 'a', .view = view_ref(new) });

	script_peer_put(s, 'b', old, 3, key, "b1 | b1=x", DYN_DURABLE_DISK);
	ck_assert_ptr_nonnull(strstr(script_trace(s), "EMOVED"));
	script_peer_put(s, 'b', old, 0, key, "b1 | b1=x", DYN_DURABLE_DISK);
	script_turn(s);
	ck_assert_uint_eq(s->batches_count, 0);
	script_peer_put(s, 'b', new, 0, key, "b1 | b1=x", DYN_DURABLE_DISK);
	script_commit(s, 0);
	ck_assert_str_eq(script_stored(s, key), "b1 | b1=x");
	script_free(s);
	view_unref(old);
	view_unref(new);
}
END_TEST

START_TEST(a_client_two_tables_behind)
{
	struct view *v[4], *next;
	const char *key;

	phases(v);
	key = view_key(v[3], "abd");
	next = view_joins(view_ref(v[3]), 'e');
	ck_assert_int_eq(view_phase(next), VIEW_MOVING);
	/* It reads by a table that is not written to since v[3]. */
	ck_assert_str_eq(refusals(next, v[0], 'a', key), "pg");
	ck_assert_str_eq(refusals(next, v[1], 'a', key), "pg");
	ck_assert_str_eq(refusals(next, v[2], 'a', key), "p");
	next = view_all_synced(next);
	ck_assert_str_eq(refusals(next, v[1], 'a', key), "pg");
	ck_assert_str_eq(refusals(next, v[3], 'a', key), "p");
	view_unref(next);
	drop(v);
}
END_TEST

START_TEST(the_larger_table_of_a_fork_is_not_refused)
{
	struct view *settled = view_ring(3, 3, 16);
	struct view *one = view_joins(view_ref(settled), 'd');
	struct view *other = view_joins(view_ref(settled), 'e');
	struct view *low = table_compare(one->current, other->current) < 0 ? one : other;
	struct view *high = low == one ? other : one;
	char newcomer = low == one ? 'd' : 'e', winner = low == one ? 'e' : 'd';
	char text[16];

	/* A member of neither table's list for the key; the sender knows better. */
	ck_assert_int_ne(winner, newcomer);
	snprintf(text, sizeof(text), "abc/ab%c abc", winner);
	const char *key = view_key(high, text);

	ck_assert_str_eq(refusals(low, high, winner, key), ".");
	ck_assert_str_eq(refusals(high, low, winner, key), "p");
	view_unref(settled);
	view_unref(one);
	view_unref(other);
}
END_TEST

START_TEST(a_newcomer_is_complete_when_it_has_all)
{
	struct view *v[4];
	struct script *s;
	const char *key;

	phases(v);
	key = view_key(v[1], "abc/abd abc");
	s = script_new(&(struct script_options){ .self = 'd', .view = view_ref(v[1]) });
	script_peer_get(s, 'b', NULL, 3, key);
	EXPECT(s, "0 REPLY GET_ACK 7 #3 ok incomplete none\n");
	/* It has said that it is synced, the others have not yet. */
	v[1] = view_synced(v[1], 'd');
	ck_assert_int_eq(view_phase(v[1]), VIEW_MOVING);
	script_view(s, v[1]);
	script_peer_get(s, 'b', NULL, 4, key);
	EXPECT(s, "0 REPLY GET_ACK 7 #4 ok none\n");
	/* Of what is not its own it knows nothing. */
	script_peer_get(s, 'b', v[2], 5, view_key(v[1], "abc"));
	EXPECT(s, "0 POKE b\n"
	          "0 REPLY GET_ACK 7 #5 ok incomplete none\n");
	script_free(s);
	drop(v);
}
END_TEST

/* ---------------------------------------------------------------- failures */

static void
replica_sequence(struct view *v)
{
	struct script *s =
	    script_new(&(struct script_options){ .self = 'a', .view = view_ref(v) });

	if (s == NULL) {
		view_unref(v);
		return;
	}
	s->quiet = true;
	script_peer_put(s, 'b', NULL, 3, "k", "b1 | b1=x", DYN_DURABLE_DISK);
	script_peer_put(s, 'c', NULL, 4, "k", "c1 | c1=x", DYN_DURABLE_OS);
	script_peer_get(s, 'c', NULL, 5, "k");
	script_turn(s);
	script_peer_put(s, 'b', NULL, 6, "k", "b1 | b1=x", DYN_DURABLE_DISK);
	script_peer_ask(s, 'c', NULL, 7, OP_PUT, "k", &(struct with){ .value = "y", .w = 1 });
	script_commit(s, 0);
	script_commit(s, 0);
	script_wait(s, 1000);
	while (s->batches_count > 0 || work_committing(s->work))
		script_commit(s, 0);
	ck_assert_uint_eq(work_bytes(s->work), 0);
	script_free(s);
}

START_TEST(each_allocation_fails)
{
	struct view *v = view_ring(3, 3, 16);

	replica_sequence(v);
	TEST_ALLOC_FAILURES(n)
		replica_sequence(v);
	view_unref(v);
}
END_TEST

/* In SWITCHED a member may still read by the table before, as its word is waited for;
 * a client, or somebody who has left, may not. */
START_TEST(strangers_read_by_the_newer_table)
{
	struct view *v[4];
	struct script *s;

	phases(v);
	s = script_new(&(struct script_options){ .self = 'a', .view = view_ref(v[2]) });
	script_peer_get(s, 'b', v[1], 1, "k");
	ck_assert(strstr(script_trace(s), "GET_ACK 7 #1 ok") != NULL);
	for (char from = 'y'; from <= 'z'; from++) {
		script_peer_get(s, from, v[1], 2, "k");
		ck_assert(strstr(script_trace(s), "GET_ACK 7 #2 EMOVED") != NULL);
		script_peer_get(s, from, v[2], 3, "k");
		ck_assert(strstr(script_trace(s), "GET_ACK 7 #3 ok") != NULL);
	}
	script_free(s);
	drop(v);
}
END_TEST

static Suite *
suite(void)
{
	Suite *s = suite_create("replica");
	TCase *c = tcase_create("replica");

	suite_add_tcase(s, c);
	tcase_add_test(c, acknowledged_when_committed);
	tcase_add_test(c, one_commit_for_all_that_waits);
	tcase_add_test(c, memory_is_acknowledged_at_once);
	tcase_add_test(c, known_already);
	tcase_add_test(c, known_but_not_on_disk);
	tcase_add_test(c, what_an_earlier_life_wrote_may_not_be_on_disk);
	tcase_add_test(c, a_commit_fails);
	tcase_add_test(c, what_a_reader_saw_may_live_on);
	tcase_add_test(c, repairs_are_not_answered);
	tcase_add_test(c, malformed_requests);
	tcase_add_test(c, cut_frames_close_the_connection);
	tcase_add_test(c, copies_that_fail);
	tcase_add_test(c, before_there_is_a_table);
	tcase_add_test(c, a_client_keeps_nothing);
	c = tcase_create("other views");
	suite_add_tcase(s, c);
	tcase_add_test(c, who_goes_by_an_old_table_is_refused);
	tcase_add_loop_test(c, nothing_from_before_a_fence_is_taken, 0, 2);
	tcase_add_test(c, a_client_two_tables_behind);
	tcase_add_test(c, the_larger_table_of_a_fork_is_not_refused);
	tcase_add_test(c, a_newcomer_is_complete_when_it_has_all);
	c = tcase_create("failures");
	suite_add_tcase(s, c);
	tcase_add_test(c, each_allocation_fails);
	tcase_add_test(c, strangers_read_by_the_newer_table);
	return s;
}

TEST_MAIN(suite)
