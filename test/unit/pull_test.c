/*
 * A newcomer gets its share, and an owner hands it out (pull.c).
 *
 * Goal: a partition counts as here only when every owner that can be asked was
 * scanned to its end and the rows are durable; a node says synced only then,
 * and only when its workers go by the new table.
 * Method: the machine alone, its effects as lines; sources are played by hand,
 * or are a second machine over storage of its own.
 */
#include "test/core_script.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

struct script_pull {
	struct pull *p;
	struct fake *fake;
	struct view *view;
	struct outbox out;
	struct moment m;
	struct rows *rows[16]; /* out to be stored */
	unsigned rows_count, synced;
	uint64_t asked;             /* number of the PULL that is answered */
	uint64_t newest;            /* of the last that was sent */
	unsigned bytes_max;         /* likewise */
	uint64_t quiet;             /* for how long nobody has called when rows are stored */
	char asked_whom;
	struct buf *answer;         /* the last REPLY */
	char trace[TRACE_MAX];
	size_t len;
};

static void __attribute__((format(printf, 2, 3)))
say(struct script_pull *s, const char *fmt, ...)
{
	va_list args;

	MUST(s->len < TRACE_MAX - 256);
	va_start(args, fmt);
	s->len += (size_t)vsnprintf(s->trace + s->len, TRACE_MAX - s->len, fmt, args);
	va_end(args);
}

static void
say_frame(struct script_pull *s, const struct effect *e)
{
	struct frame f;
	union msg m;

	ck_assert_int_eq(frame_decode(&f, buf_slice(e->frame)), 0);
	ck_assert_int_eq(msg_decode(f.kind, f.body, &m), 0);
	if (f.kind == MSG_PULL) {
		say(s, "PULL %c p%u%s\n", node_letter(&e->to), m.pull.partition,
		    m.pull.after.len > 0 ? " more" : "");
		s->asked = s->newest = f.request;
		s->bytes_max = m.pull.bytes_max;
		s->asked_whom = node_letter(&e->to);
		return;
	}
	say(s, "ANSWER %s%s bytes=%zu\n", rc_text(msg_rc(m.pull_ack.rc)),
	    m.pull_ack.done ? " done" : "", m.pull_ack.rows.len);
	buf_unref(s->answer);
	s->answer = buf_ref(e->frame);
}

static void
effects(struct script_pull *s)
{
	for (size_t i = 0; i < s->out.count; i++) {
		struct effect *e = &s->out.list[i];

		switch (e->kind) {
		case FX_SEND:
		case FX_REPLY:
			say_frame(s, e);
			break;
		case FX_ROWS:
			s->rows[s->rows_count++] = e->what;
			say(s, "ROWS\n");
			break;
		case FX_SYNCED:
			s->synced++;
			say(s, "SYNCED\n");
			break;
		case FX_POKE:
			say(s, "POKE %c\n", node_letter(&e->to));
			break;
		default:
			say(s, "LOG\n");
			break;
		}
		effect_drop(e);
	}
	s->out.count = 0;
}

static const char *
trace(struct script_pull *s)
{
	s->trace[s->len] = '\0';
	s->len = 0;
	return s->trace;
}

#define TRACE(s, text) ck_assert_str_eq(trace(s), text)

static struct script_pull *
pull_begin(char self)
{
	struct script_pull *s = calloc(1, sizeof(*s));
	struct pull_options o = { .self = node_id(self), .w = 2 };

	s->fake = fake_new();
	s->quiet = PULL_QUIET;
	o.engine = &s->fake->engine;
	outbox_init(&s->out);
	ck_assert_int_eq(pull_new(&s->p, &o), 0);
	return s;
}

static void
pull_end(struct script_pull *s)
{
	while (s->rows_count > 0)
		rows_free(s->rows[--s->rows_count]);
	pull_free(s->p);
	outbox_fini(&s->out);
	view_unref(s->view);
	buf_unref(s->answer);
	fake_free(s->fake);
	free(s);
}

/* The view, taken over. */
static void
show(struct script_pull *s, struct view *v)
{
	view_unref(s->view);
	s->view = v;
	pull_view(s->p, v, s->m, &s->out);
	effects(s);
}

static void
wake(struct script_pull *s)
{
	while (pull_wake(s->p) <= s->m.now)
		pull_tick(s->p, s->m, &s->out);
	effects(s);
}

static void
fenced(struct script_pull *s)
{
	pull_fenced(s->p, s->view);
	wake(s);
}

static void
wait_ms(struct script_pull *s, uint64_t ms)
{
	s->m.now += ms * NS_PER_MS;
	wake(s);
}

/* An answer to the last PULL. */
static void
answer_by(struct script_pull *s, char from, int rc, bool done, struct dyn_slice rows)
{
	struct frame f = { .kind = MSG_PULL_ACK, .request = s->asked };
	struct dyn_id id = node_id(from);
	union msg m = { .pull_ack = { .rc = (uint32_t)rc, .done = done, .rows = rows } };

	ck_assert_int_eq(pull_frame(s->p, &id, 1, &f, &m, s->m, &s->out), 0);
	effects(s);
}

static void
nothing_there(struct script_pull *s)
{
	answer_by(s, s->asked_whom, 0, true, slice(NULL, 0));
}

static void
refused(struct script_pull *s, int rc)
{
	answer_by(s, s->asked_whom, rc, false, slice(NULL, 0));
}

static void
stored(struct script_pull *s, int rc)
{
	struct rows *rows = s->rows[--s->rows_count];

	rows->quiet = s->quiet;
	pull_stored(s->p, rows, rc, s->m, &s->out);
	effects(s);
}

static void
lost(struct script_pull *s, char from)
{
	struct dyn_id id = node_id(from);

	pull_lost(s->p, &id, s->m, &s->out);
	effects(s);
}

/* One row of a partition, as in PULL_ACK. */
static struct buf *
a_row(const struct view *v, unsigned partition, unsigned which)
{
	struct buf *name = NULL, *rows;
	unsigned found = 0;
	struct wr w;

	for (unsigned i = 0;; i++) {
		char key[16];

		snprintf(key, sizeof(key), "k%u", i);
		name = key_name(key);
		if (name_partition(buf_slice(name), v->settings.partitions) == partition &&
		    found++ == which)
			break;
		buf_unref(name);
	}
	wr_init(&w, 128);
	wr_slice(&w, buf_slice(name));
	wr_slice(&w, script_object("b1 | b1=x"));
	ck_assert_int_eq(wr_finish(&w, &rows), 0);
	buf_unref(name);
	return rows;
}

/* d joins a ring of a, b and c: of 16 partitions it gets some. */
static struct view *
d_joins(void)
{
	struct view *v = view_joins(view_ring(3, 3, 16), 'd');

	ck_assert_int_eq(view_phase(v), VIEW_MOVING);
	return v;
}

/* Answer "nothing" until no question is left. */
static void
pull_rest(struct script_pull *s)
{
	for (unsigned i = 0; i < 200 && pull_pending(s->p) > 0; i++) {
		/* Several tasks run at once: the numbers go up by one each. */
		for (uint64_t n = s->newest; n > 0; n--)
			for (const char *p = "abc"; *p != '\0'; p++) {
				s->asked = n;
				answer_by(s, *p, 0, true, slice(NULL, 0));
			}
	}
}

START_TEST(all_owners_are_scanned)
{
	struct script_pull *s = pull_begin('d');
	unsigned mine = 0, asked = 0;
	const char *p;

	show(s, d_joins());
	for (unsigned i = 0; i < 16; i++) {
		struct dyn_id d = node_id('d');

		mine += view_owns(s->view, i, &d);
	}
	ck_assert_uint_gt(mine, PULL_TASKS);
	ck_assert_uint_eq(pull_pending(s->p), mine);
	for (p = trace(s); (p = strstr(p, "PULL")) != NULL; p++)
		asked++;
	ck_assert_uint_eq(asked, PULL_TASKS);
	pull_rest(s);
	ck_assert_uint_eq(pull_pending(s->p), 0);
	/* Three questions for each, to a, b and c. */
	for (p = trace(s); (p = strstr(p, "PULL")) != NULL; p++)
		asked++;
	ck_assert_uint_eq(asked, 3 * mine);
	ck_assert_uint_eq(s->synced, 0);
	fenced(s);
	TRACE(s, "SYNCED\n");
	fenced(s);
	TRACE(s, "");
	/* It was not heard: said again. */
	show(s, view_ref(s->view));
	TRACE(s, "SYNCED\n");
	show(s, view_synced(view_ref(s->view), 'd'));
	TRACE(s, "");
	pull_end(s);
}
END_TEST

/* A ring whose newcomer gets exactly one partition: many members. */
static struct view *
little_share(char *first)
{
	struct view *v = view_ring(3, 3, 16);

	/* Nodes join until the newest has one partition only. */
	for (char letter = 'd'; letter < 'z'; letter++) {
		struct dyn_id id = node_id(letter);
		unsigned mine = 0;

		v = view_joins(v, letter);
		for (unsigned i = 0; i < 16; i++)
			mine += view_owns(v, i, &id);
		if (mine == 2) {
			*first = letter;
			return v;
		}
		v = view_all_read(view_all_synced(v));
	}
	ck_abort_msg("nobody gets two partitions");
	return NULL;
}

struct one {
	struct script_pull *s;
	unsigned partition;
	char self, source[3];
};

/* The first of two partitions has its three sources in the order of asking; the
 * second is answered at once. */
static struct one
one_task(void)
{
	struct one o = { .s = NULL };
	struct view *v = little_share(&o.self);
	struct dyn_id id = node_id(o.self);
	struct group g;

	o.s = pull_begin(o.self);
	show(o.s, v);
	/* Numbers 1 and 2 were sent; finish the second task. */
	for (unsigned i = 0; i < 3; i++)
		nothing_there(o.s);
	(void)trace(o.s);
	ck_assert_uint_eq(pull_pending(o.s->p), 1);
	while (!view_owns(v, o.partition, &id))
		o.partition++;
	view_readers(v, o.partition, &g);
	ck_assert_uint_eq(g.count, 3);
	for (unsigned i = 0; i < 3; i++)
		o.source[i] = node_letter(&v->records[g.member[i]].id);
	o.s->asked = 1;
	o.s->asked_whom = o.source[0];
	return o;
}

/* "PULL <source> p<partition>\n" with the one task's names. */
static const char *
pulls(const struct one *o, unsigned source, const char *more)
{
	static char text[4][40];
	static unsigned next;
	char *out = text[next++ % ARRAY_LEN(text)];

	snprintf(out, sizeof(text[0]), "PULL %c p%u%s\n", o->source[source], o->partition, more);
	return out;
}

START_TEST(row_by_row)
{
	struct one o = one_task();
	struct script_pull *s = o.s;
	struct buf *first = a_row(s->view, o.partition, 0);

	answer_by(s, o.source[0], 0, false, buf_slice(first));
	TRACE(s, "ROWS\n");
	/* Nothing is asked before they are durable. */
	wait_ms(s, 1000);
	TRACE(s, "");
	stored(s, 0);
	TRACE(s, pulls(&o, 0, " more"));
	nothing_there(s);
	TRACE(s, pulls(&o, 1, ""));
	answer_by(s, o.source[1], 0, true, buf_slice(first));
	TRACE(s, "ROWS\n");
	ck_assert_uint_eq(pull_pending(s->p), 1);
	stored(s, 0);
	TRACE(s, pulls(&o, 2, ""));
	nothing_there(s);
	ck_assert_uint_eq(pull_pending(s->p), 0);
	TRACE(s, "");
	fenced(s);
	TRACE(s, "SYNCED\n");
	buf_unref(first);
	pull_end(s);
}
END_TEST

/* While the worker is called: small answers, and a pause, also before the next source. */
START_TEST(calls_come_first)
{
	struct one o = one_task();
	struct script_pull *s = o.s;
	struct buf *first = a_row(s->view, o.partition, 0);

	s->quiet = PULL_QUIET - 1;
	answer_by(s, o.source[0], 0, false, buf_slice(first));
	wait_ms(s, 20); /* twice PULL_EASY */
	stored(s, 0);
	wait_ms(s, 39);
	TRACE(s, "ROWS\n");
	wait_ms(s, 1);
	TRACE(s, pulls(&o, 0, " more"));
	ck_assert_uint_eq(s->bytes_max, PULL_BYTES_CALLED);
	answer_by(s, o.source[0], 0, true, buf_slice(first));
	wait_ms(s, 100); /* the pause does not grow without bound */
	stored(s, 0);
	wait_ms(s, 100 * PULL_PAUSE_TIMES - 1);
	TRACE(s, "ROWS\n");
	wait_ms(s, 1);
	TRACE(s, pulls(&o, 1, ""));
	/* They have stopped calling. */
	s->quiet = PULL_QUIET;
	answer_by(s, o.source[1], 0, false, buf_slice(first));
	wait_ms(s, 20);
	stored(s, 0);
	ck_assert_str_eq(strchr(trace(s), 'P'), pulls(&o, 1, " more"));
	ck_assert_uint_eq(s->bytes_max, PULL_BYTES);
	/* No pause after what was stored at once. */
	s->quiet = 0;
	answer_by(s, o.source[1], 0, true, buf_slice(first));
	stored(s, 0);
	ck_assert_str_eq(strchr(trace(s), 'P'), pulls(&o, 2, ""));
	buf_unref(first);
	pull_end(s);
}
END_TEST

/* Answer all that was asked so far: "nothing there".  Returns how much is asked then. */
static unsigned
sweep(struct script_pull *s)
{
	unsigned asked = 0;

	for (uint64_t n = s->newest; n > 0; n--)
		for (const char *p = "abc"; *p != '\0'; p++) {
			s->asked = n;
			answer_by(s, *p, 0, true, slice(NULL, 0));
		}
	for (const char *p = trace(s); (p = strstr(p, "PULL")) != NULL; p++)
		asked++;
	return asked;
}

/* And few partitions are on their way. */
START_TEST(calls_make_it_modest)
{
	struct script_pull *s = pull_begin('d');
	struct dyn_id d = node_id('d');
	unsigned partition = 0;
	struct buf *rows;

	show(s, d_joins());
	while (!view_owns(s->view, partition, &d))
		partition++;
	rows = a_row(s->view, partition, 0);
	s->quiet = 0;
	s->asked = 1;
	for (const char *p = "abc"; *p != '\0'; p++)
		answer_by(s, *p, 0, true, buf_slice(rows));
	stored(s, 0);
	(void)trace(s);
	for (unsigned i = 0; i < 3; i++)
		(void)sweep(s);
	ck_assert_uint_gt(pull_pending(s->p), PULL_TASKS_CALLED);
	ck_assert_uint_eq(sweep(s), PULL_TASKS_CALLED);
	buf_unref(rows);
	pull_end(s);
}
END_TEST

START_TEST(two_of_three_are_not_enough)
{
	struct one o = one_task();
	struct script_pull *s = o.s;

	fenced(s);
	refused(s, DYN_EBUSY); /* not fenced there yet */
	TRACE(s, pulls(&o, 1, ""));
	nothing_there(s);
	TRACE(s, pulls(&o, 2, ""));
	nothing_there(s);
	ck_assert_uint_eq(pull_pending(s->p), 1);
	wait_ms(s, 49);
	TRACE(s, "");
	wait_ms(s, 1);
	TRACE(s, pulls(&o, 0, ""));
	refused(s, DYN_EMOVED);
	TRACE(s, "");
	wait_ms(s, 50);
	TRACE(s, pulls(&o, 0, ""));
	nothing_there(s);
	TRACE(s, "SYNCED\n");
	pull_end(s);
}
END_TEST

START_TEST(one_whose_storage_is_broken_is_done_without)
{
	struct one o = one_task();
	struct script_pull *s = o.s;

	fenced(s);
	refused(s, DYN_ECORRUPT);
	(void)trace(s);
	nothing_there(s);
	TRACE(s, pulls(&o, 2, ""));
	nothing_there(s);
	TRACE(s, "SYNCED\n");
	pull_end(s);

	/* But not two of three. */
	o = one_task();
	s = o.s;
	refused(s, DYN_ECORRUPT);
	refused(s, DYN_EIO);
	nothing_there(s);
	ck_assert_uint_eq(pull_pending(s->p), 1);
	(void)trace(s);
	wait_ms(s, 50);
	TRACE(s, pulls(&o, 0, ""));
	pull_end(s);
}
END_TEST

START_TEST(one_that_left_is_done_without)
{
	struct one o = one_task();
	struct script_pull *s = o.s;

	show(s, view_leaves(view_ref(s->view), o.source[0]));
	ck_assert_int_eq(view_phase(s->view), VIEW_MOVING);
	lost(s, o.source[0]);
	TRACE(s, pulls(&o, 1, ""));
	nothing_there(s);
	TRACE(s, pulls(&o, 2, ""));
	nothing_there(s);
	ck_assert_uint_eq(pull_pending(s->p), 0);
	pull_end(s);
}
END_TEST

/* n - W + 1 would be two: there is but one. */
START_TEST(what_is_left_has_to_do)
{
	struct one o = one_task();
	struct script_pull *s = o.s;

	show(s, view_leaves(view_ref(s->view), o.source[0]));
	show(s, view_leaves(view_ref(s->view), o.source[1]));
	lost(s, o.source[0]);
	TRACE(s, pulls(&o, 1, ""));
	lost(s, o.source[1]);
	TRACE(s, pulls(&o, 2, ""));
	nothing_there(s);
	ck_assert_uint_eq(pull_pending(s->p), 0);
	pull_end(s);
}
END_TEST

START_TEST(sources_that_fail)
{
	struct one o = one_task();
	struct script_pull *s = o.s;
	struct buf *row = a_row(s->view, o.partition, 0);

	/* Lost; another's loss does not matter. */
	lost(s, o.source[1]);
	TRACE(s, "");
	lost(s, o.source[0]);
	TRACE(s, pulls(&o, 1, ""));
	/* Silent. */
	wait_ms(s, 4999);
	TRACE(s, "");
	wait_ms(s, 1);
	TRACE(s, pulls(&o, 2, ""));
	/* The rows cannot be stored. */
	answer_by(s, o.source[2], 0, true, buf_slice(row));
	stored(s, DYN_EFULL);
	TRACE(s, "ROWS\nLOG\n");
	wait_ms(s, 50);
	TRACE(s, pulls(&o, 0, ""));
	/* A stranger's answer is none. */
	answer_by(s, o.source[1], 0, true, slice(NULL, 0));
	TRACE(s, "");
	ck_assert_uint_eq(pull_pending(s->p), 1);
	/* Stored too late: the source is asked from the start. */
	answer_by(s, o.source[0], 0, false, buf_slice(row));
	wait_ms(s, 10000);
	(void)trace(s);
	stored(s, 0);
	TRACE(s, "");
	buf_unref(row);
	pull_end(s);
}
END_TEST

START_TEST(malformed_rows)
{
	struct one o = one_task();
	struct script_pull *s = o.s;
	struct buf *row = a_row(s->view, o.partition, 0), *other, *twice;
	unsigned source = 0;

	other = a_row(s->view, (o.partition + 1) % 16, 0);
	twice = buf_new(2 * row->len);
	memcpy(twice->data, row->data, row->len);
	memcpy(twice->data + row->len, row->data, row->len);
	struct dyn_slice bad[] = {
		slice(row->data, row->len - 1), /* cut */
		buf_slice(other),               /* of another partition */
		buf_slice(twice),               /* not in order */
		dyn_str("\3abc\1x"),            /* not a name */
		slice(NULL, 0),                 /* nothing, and not the end */
	};
	for (unsigned i = 0; i < ARRAY_LEN(bad); i++) {
		answer_by(s, o.source[source], 0, false, bad[i]);
		source = (source + 1) % 3;
		if (source == 0)
			wait_ms(s, 50);
		TRACE(s, pulls(&o, source, ""));
		ck_assert_uint_eq(s->rows_count, 0);
	}
	buf_unref(row);
	buf_unref(other);
	buf_unref(twice);
	pull_end(s);
}
END_TEST

START_TEST(a_new_table_starts_anew)
{
	struct one o = one_task();
	struct script_pull *s = o.s;
	struct view *v;
	uint64_t old = s->asked;

	fenced(s);
	/* The same table in a view with other records: it goes on. */
	v = view_synced(view_ref(s->view), o.source[1]);
	show(s, v);
	TRACE(s, "");
	nothing_there(s);
	TRACE(s, pulls(&o, 1, ""));
	/* Another table: what was scanned does not count. */
	v = view_joins(view_all_read(view_all_synced(view_ref(s->view))), (char)(o.self + 1));
	show(s, v);
	ck_assert_ptr_null(strstr(trace(s), "SYNCED"));
	s->asked = old;
	answer_by(s, o.source[0], 0, true, slice(NULL, 0));
	TRACE(s, "");
	pull_rest(s);
	ck_assert_uint_eq(s->synced, 0);
	(void)trace(s);
	fenced(s);
	TRACE(s, "SYNCED\n");
	pull_end(s);
}
END_TEST

START_TEST(who_has_nothing_to_pull_waits_for_its_fence)
{
	struct script_pull *s = pull_begin('a');

	show(s, view_ring(3, 3, 16));
	TRACE(s, "");
	fenced(s);
	TRACE(s, "SYNCED\n");
	pull_end(s);
}
END_TEST

/* Owners of a partition in order. */
static const char *
in_order(const struct table *t, unsigned partition)
{
	static char text[4][8];
	static unsigned next;
	char *out = text[next++ % ARRAY_LEN(text)];
	const uint16_t *owners;
	unsigned count = table_owners(t, partition, &owners);

	for (unsigned i = 0; i < count; i++)
		out[i] = node_letter(&t->seats[owners[i]].node);
	out[count] = '\0';
	return out;
}

START_TEST(who_moves_forward_pulls_from_the_others)
{
	struct view *v = view_leaves(view_ring(4, 3, 16), 'b');
	unsigned forward = 0;

	ck_assert_int_eq(view_phase(v), VIEW_MOVING);
	for (const char *self = "acd"; *self != '\0'; self++) {
		struct script_pull *s = pull_begin(*self);
		unsigned pending = 0;

		show(s, view_ref(v));
		for (unsigned p = 0; p < 16; p++) {
			const char *before = in_order(v->base, p), *after = in_order(v->current, p);
			const char *was = strchr(before, *self), *is = strchr(after, *self);

			if (is == NULL || (was != NULL && was - before <= is - after))
				continue;
			pending++;
			forward += was != NULL;
		}
		ck_assert_uint_eq(pull_pending(s->p), pending);
		/* Never from itself. */
		for (const char *p = trace(s); (p = strstr(p, "PULL ")) != NULL; p++)
			ck_assert_int_ne(p[5], *self);
		pull_end(s);
	}
	ck_assert_uint_gt(forward, 0);
	view_unref(v);
}
END_TEST

START_TEST(a_fence_of_another_table_is_none)
{
	struct script_pull *s = pull_begin('a');
	struct view *old = view_ring(3, 3, 16);

	show(s, d_joins());
	pull_rest(s);
	(void)trace(s);
	pull_fenced(s->p, old);
	wake(s);
	TRACE(s, "");
	view_unref(old);
	pull_end(s);
}
END_TEST

/* ----------------------------------------------------------- the other end */

static void
ask(struct script_pull *s, struct view *v, unsigned partition, uint32_t bytes_max,
    struct dyn_slice after)
{
	struct frame f = { .kind = MSG_PULL, .request = 5, .epoch = view_stamp(v),
		.table = load_be64(v->current->digest.b) };
	struct dyn_id id = node_id('d');
	union msg m = { .pull = { .partition = partition, .bytes_max = bytes_max,
		.after = after } };

	ck_assert_int_eq(pull_frame(s->p, &id, 1, &f, &m, s->m, &s->out), 0);
	effects(s);
}

/* A row that is there, but damaged. */
static void
damaged_row(struct script_pull *s, struct dyn_slice name)
{
	struct dyn_row row = { DYN_SPACE_DATA, name, dyn_str("x") };

	MUST(s->fake->engine.apply(s->fake, &row, 1, DYN_DURABLE_DISK) == 0);
	fake_damage(s->fake, name);
}

START_TEST(serves_when_fenced)
{
	struct script_pull *s = pull_begin('a');
	struct view *v = d_joins(), *old = view_ring(3, 3, 16);
	struct buf *row;
	struct rd r;

	ask(s, v, 0, 1000, slice(NULL, 0));
	TRACE(s, "ANSWER EBUSY bytes=0\n");
	show(s, view_ref(v));
	(void)trace(s);
	ask(s, v, 0, 1000, slice(NULL, 0));
	TRACE(s, "ANSWER EBUSY bytes=0\n");
	fenced(s);
	(void)trace(s);
	ask(s, v, 0, 1000, slice(NULL, 0));
	TRACE(s, "ANSWER ok done bytes=0\n");
	/* Not the rest alone: what is left out would be taken for missing. */
	row = a_row(v, 0, 0);
	r = rd_from(buf_slice(row));
	damaged_row(s, rd_slice(&r, KEY_NAME_MAX));
	ask(s, v, 0, 1000, slice(NULL, 0));
	TRACE(s, "ANSWER ECORRUPT bytes=0\n");
	ask(s, old, 0, 1000, slice(NULL, 0));
	TRACE(s, "POKE d\nANSWER EMOVED bytes=0\n");
	ask(s, v, 16, 1000, slice(NULL, 0));
	TRACE(s, "ANSWER EPROTO bytes=0\n");
	s->fake->scan_rc = DYN_EIO;
	ask(s, v, 0, 1000, slice(NULL, 0));
	TRACE(s, "ANSWER EIO bytes=0\n");
	buf_unref(row);
	view_unref(v);
	view_unref(old);
	pull_end(s);
}
END_TEST

/* Rows of an answer; the last one's name, which lives as long as the answer. */
static unsigned
count_rows(const struct script_pull *s, struct dyn_slice *last, bool *done)
{
	struct frame f;
	struct rd r;
	union msg m;
	unsigned count = 0;

	ck_assert_int_eq(frame_decode(&f, buf_slice(s->answer)), 0);
	ck_assert_int_eq(msg_decode(f.kind, f.body, &m), 0);
	*done = m.pull_ack.done != 0;
	for (r = rd_from(m.pull_ack.rows); rd_left(&r) > 0; count++) {
		*last = rd_slice(&r, KEY_NAME_MAX);
		(void)rd_slice(&r, LIMIT_OBJECT);
	}
	ck_assert(rd_end(&r));
	return count;
}

START_TEST(hands_out_all_rows_of_a_partition_once)
{
	struct script_pull *s = pull_begin('a');
	struct script rows = { .fake = s->fake };
	struct view *v = d_joins();
	unsigned in[16] = { 0 }, answers = 0;

	for (unsigned i = 0; i < 300; i++) {
		struct buf *name;
		char key[16];

		snprintf(key, sizeof(key), "k%u", i);
		script_row(&rows, key, "b1 | b1=x");
		name = key_name(key);
		in[name_partition(buf_slice(name), 16)]++;
		buf_unref(name);
	}
	show(s, view_ref(v));
	fenced(s);
	for (unsigned p = 0; p < 16; p++) {
		struct buf *after = NULL;
		unsigned seen = 0;
		bool done = false;

		while (!done) {
			struct dyn_slice last = { 0 };
			unsigned count;

			ask(s, v, p, 200, buf_slice(after));
			count = count_rows(s, &last, &done);
			ck_assert(count > 0 || done);
			ck_assert_uint_le(count, 4);
			seen += count;
			answers++;
			buf_unref(after);
			after = buf_copy(last.data, last.len);
		}
		buf_unref(after);
		ck_assert_uint_eq(seen, in[p]);
	}
	ck_assert_uint_gt(answers, 60);
	view_unref(v);
	pull_end(s);
}
END_TEST

/* ---------------------------------------------------------------- failures */

static void
sequence(struct view *v, struct view *again, char self, struct dyn_slice row, char source)
{
	struct pull_options o = { .self = node_id(self), .w = 2 };
	struct fake *fake = fake_new();
	struct dyn_id from = node_id(source);
	struct outbox out;
	struct pull *p;
	struct moment m = { 0, 0 };

	o.engine = &fake->engine;
	outbox_init(&out);
	out.list = mem_array(64, sizeof(*out.list));
	out.cap = 64;
	if (out.list == NULL || pull_new(&p, &o) != 0) {
		outbox_fini(&out);
		fake_free(fake);
		return;
	}
	pull_view(p, v, m, &out);
	for (unsigned step = 0; step < 400 && pull_pending(p) + (step < 4) > 0; step++) {
		struct frame f = { .kind = MSG_PULL_ACK, .request = step / 3 + 1 };
		union msg msg = { .pull_ack = { .done = 1 } };

		/* Every question is answered by everyone; one gets a row. */
		from = node_id("abc"[step % 3]);
		if (step == 1)
			msg.pull_ack.rows = row;
		MUST(pull_frame(p, &from, 1, &f, &msg, m, &out) == 0);
		for (size_t i = 0; i < out.count; i++) {
			if (out.list[i].kind == FX_ROWS)
				pull_stored(p, out.list[i].what, 0, m, &out);
			effect_drop(&out.list[i]);
		}
		out.count = 0;
		m.now += 6 * NS_PER_S;
		if (pull_wake(p) <= m.now)
			pull_tick(p, m, &out);
		if (step == 2)
			pull_view(p, again, m, &out);
	}
	pull_fenced(p, again);
	pull_tick(p, m, &out);
	pull_free(p);
	outbox_fini(&out);
	fake_free(fake);
}

START_TEST(each_allocation_fails)
{
	struct view *v = d_joins(), *again = view_synced(view_ref(v), 'a');
	struct buf *row = a_row(v, 0, 0);

	TEST_ALLOC_FAILURES(n)
		sequence(v, again, 'd', buf_slice(row), 'b');
	buf_unref(row);
	view_unref(v);
	view_unref(again);
}
END_TEST

START_TEST(no_memory_for_the_progress_is_not_progress)
{
	struct script_pull *s = pull_begin('d');
	struct view *v = d_joins();

	mem_fail_at(1);
	show(s, v);
	mem_fail_at(0);
	TRACE(s, "");
	pull_fenced(s->p, s->view);
	lost(s, 'a');
	ck_assert_uint_gt(pull_pending(s->p), 0);
	ck_assert_uint_eq(s->synced, 0);
	pull_end(s);
}
END_TEST

static Suite *
suite(void)
{
	Suite *s = suite_create("pull");
	TCase *c = tcase_create("newcomer");

	suite_add_tcase(s, c);
	tcase_add_test(c, all_owners_are_scanned);
	tcase_add_test(c, row_by_row);
	tcase_add_test(c, calls_come_first);
	tcase_add_test(c, calls_make_it_modest);
	tcase_add_test(c, two_of_three_are_not_enough);
	tcase_add_test(c, one_whose_storage_is_broken_is_done_without);
	tcase_add_test(c, one_that_left_is_done_without);
	tcase_add_test(c, what_is_left_has_to_do);
	tcase_add_test(c, sources_that_fail);
	tcase_add_test(c, malformed_rows);
	tcase_add_test(c, a_new_table_starts_anew);
	tcase_add_test(c, who_has_nothing_to_pull_waits_for_its_fence);
	tcase_add_test(c, who_moves_forward_pulls_from_the_others);
	tcase_add_test(c, a_fence_of_another_table_is_none);
	c = tcase_create("source");
	suite_add_tcase(s, c);
	tcase_add_test(c, serves_when_fenced);
	tcase_add_test(c, hands_out_all_rows_of_a_partition_once);
	c = tcase_create("failures");
	suite_add_tcase(s, c);
	tcase_add_test(c, each_allocation_fails);
	tcase_add_test(c, no_memory_for_the_progress_is_not_progress);
	return s;
}

TEST_MAIN(suite)
