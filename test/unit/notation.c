/* Clocks and objects as short text, and back. */
#include "test/test.h"

#include "test/unit/notation.h"

#include <stdio.h>
#include <stdlib.h>

#define TEXT_MAX 4096

static char *
next_text(void)
{
	static char texts[8][TEXT_MAX];
	static unsigned next;

	return texts[next++ % ARRAY_LEN(texts)];
}

/* ---------------------------------------------------------------- from text */

static struct actor
read_actor(const char **p)
{
	struct actor a = { 0, 1 };

	ck_assert_msg(**p >= 'a' && **p <= 'z', "no actor: \"%s\"", *p);
	a.node = (uint64_t)(*p)[0];
	for (++*p; **p == '\''; ++*p)
		a.incarnation++;
	return a;
}

static uint64_t
read_number(const char **p)
{
	char *end;
	uint64_t n = strtoull(*p, &end, 10);

	ck_assert_msg(end != *p, "no number: \"%s\"", *p);
	*p = end;
	return n;
}

static struct dot
read_dot(const char **p)
{
	struct dot d;

	d.actor = read_actor(p);
	d.counter = read_number(p);
	return d;
}

static void
skip_spaces(const char **p)
{
	while (**p == ' ')
		++*p;
}

struct actor
actor_of(const char *text)
{
	return read_actor(&text);
}

struct dot
dot_of(const char *text)
{
	return read_dot(&text);
}

static void
read_clock(struct clock *out, const char **p)
{
	memset(out, 0, sizeof(*out));
	for (skip_spaces(p); **p != '\0' && **p != '|'; skip_spaces(p)) {
		bool single = **p == '+';
		struct dot d;

		*p += single;
		d = read_dot(p);
		for (uint64_t n = single ? d.counter : 1; n <= d.counter; n++) {
			struct dot one = { d.actor, n };

			ck_assert_int_eq(clock_add(out, one), 0);
		}
	}
}

void
clock_of(struct clock *out, const char *text)
{
	read_clock(out, &text);
}

static struct version
read_value(const char **p)
{
	struct version v = { .time = 10 };

	v.dot = read_dot(p);
	if (**p == '@') {
		++*p;
		v.time = read_number(p);
	}
	if (**p == '!')
		v.flags = VERSION_LWW | VERSION_DELETED;
	else if (**p == '#')
		v.flags = VERSION_LWW;
	else
		ck_assert_msg(**p == '=', "no value: \"%s\"", *p);
	++*p;
	v.value = slice(*p, strcspn(*p, " "));
	*p += v.value.len;
	return v;
}

struct buf *
object_of(const char *text)
{
	struct version values[64];
	struct object o = { 0 };
	struct object again;
	struct buf *b;

	read_clock(&o.clock, &text);
	o.values = values;
	if (*text == '|')
		for (text++, skip_spaces(&text); *text != '\0'; skip_spaces(&text)) {
			ck_assert_uint_lt(o.count, ARRAY_LEN(values));
			values[o.count++] = read_value(&text);
		}
	ck_assert_int_eq(object_encode(&o, &b), 0);
	ck_assert_int_eq(object_decode(&again, buf_slice(b)), 0);
	object_fini(&again);
	object_fini(&o);
	return b;
}

/* ------------------------------------------------------------------ to text */

static size_t
print_dot(char *out, size_t at, struct dot d)
{
	static const char marks[] = "''''''''";

	return at + (size_t)snprintf(out + at, TEXT_MAX - at, "%c%.*s%llu", (int)d.actor.node,
	    (int)d.actor.incarnation - 1, marks, (unsigned long long)d.counter);
}

static size_t
print_clock(char *out, size_t at, const struct clock *c)
{
	out[at] = '\0';
	for (size_t i = 0; i < c->vector_count; i++) {
		if (at > 0)
			out[at++] = ' ';
		at = print_dot(out, at, c->vector[i]);
	}
	for (size_t i = 0; i < c->cloud_count; i++) {
		if (at > 0)
			out[at++] = ' ';
		out[at++] = '+';
		at = print_dot(out, at, c->cloud[i]);
	}
	return at;
}

const char *
clock_text(const struct clock *c)
{
	char *out = next_text();

	print_clock(out, 0, c);
	return out;
}

static size_t
print_value(char *out, size_t at, const struct version *v, bool time)
{
	char mark = (v->flags & VERSION_DELETED) != 0 ? '!' :
	    (v->flags & VERSION_LWW) != 0 ? '#' : '=';

	out[at++] = ' ';
	at = print_dot(out, at, v->dot);
	if (time && v->time != 10)
		at += (size_t)snprintf(out + at, TEXT_MAX - at, "@%llu",
		    (unsigned long long)v->time);
	return at + (size_t)snprintf(out + at, TEXT_MAX - at, "%c%.*s", mark, (int)v->value.len,
	    v->value.len > 0 ? (const char *)v->value.data : "");
}

static const char *
print_object(struct dyn_slice bytes, bool times)
{
	char *out = next_text();
	struct object o;
	size_t at;

	ck_assert_int_eq(object_decode(&o, bytes), 0);
	at = print_clock(out, 0, &o.clock);
	if (bytes.len > 0) {
		at += (size_t)snprintf(out + at, TEXT_MAX - at, " |");
		for (size_t i = 0; i < o.count; i++)
			at = print_value(out, at, &o.values[i], times);
	}
	object_fini(&o);
	return out;
}

const char *
object_text(struct dyn_slice bytes)
{
	return print_object(bytes, true);
}

const char *
versions_text(struct dyn_slice bytes)
{
	return print_object(bytes, false);
}
