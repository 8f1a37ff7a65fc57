/*
 * Clocks and objects as short text, so that tests read like the paper.
 *
 *	dot      a3     event 3 of actor a (a letter; its incarnation is 1)
 *	         a'3    of its incarnation 2, a''3 of 3
 *	clock    "a3 b1 +a5"        all of a up to 3, of b up to 1, and a's fifth
 *	object   "a3 b1 | a3=x b1=y"   and the values; "" = never seen.  Times are
 *	         10 unless given: "a3@12=x"; "a3@12!" is a last-write-wins delete,
 *	         "a3@12#x" a last-write-wins value
 */
#ifndef DYN_NOTATION_H
#define DYN_NOTATION_H

#include "model/object.h"

struct actor actor_of(const char *text);           /* "a", "a'" */
struct dot dot_of(const char *text);               /* "a3" */
void clock_of(struct clock *out, const char *text);
/* In one of a few static buffers. */
const char *clock_text(const struct clock *);
const char *object_text(struct dyn_slice);
const char *versions_text(struct dyn_slice); /* times left out */
/* The caller's.  Fails the test if the text makes no valid object. */
struct buf *object_of(const char *text);

#define assert_clock(c, text) ck_assert_str_eq(clock_text(c), text)
#define assert_object(bytes, text) ck_assert_str_eq(object_text(bytes), text)
#define assert_versions(bytes, text) ck_assert_str_eq(versions_text(bytes), text)

#endif
