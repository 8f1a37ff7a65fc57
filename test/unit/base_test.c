/*
 * Goal: the base layer does what its headers say, also when memory is short
 * and when the bytes come from somebody who means harm.
 * Method: tables, published vectors, and random operations against models that
 * are too simple to be wrong.
 */
#include "test/test.h"

#include "base/buf.h"
#include "base/hash.h"
#include "base/list.h"
#include "base/map.h"
#include "base/rng.h"
#include "base/timer.h"

#include <stdio.h>
#include <stdlib.h>

/* ------------------------------------------------------------------ memory */

START_TEST(memory_fails_where_asked)
{
	long before = mem_balance();
	void *p[4];

	mem_fail_at(3);
	p[0] = mem_alloc(0);
	p[1] = mem_zalloc(8);
	p[2] = mem_array(2, 4);
	p[3] = mem_strdup("x");
	ck_assert(p[0] != NULL && p[1] != NULL && p[2] == NULL && p[3] != NULL);
	ck_assert_int_eq(mem_balance() - before, 3);
	mem_fail_at(1);
	ck_assert_ptr_null(mem_realloc(p[3], 100));
	ck_assert_str_eq(p[3], "x"); /* a failed realloc leaves the block */
	p[3] = mem_realloc(p[3], 100);
	ck_assert_str_eq(p[3], "x");
	ck_assert_int_eq(mem_balance() - before, 3);
	for (int i = 0; i < 4; i++)
		mem_free(p[i]);
	ck_assert_int_eq(mem_balance(), before);
}
END_TEST

START_TEST(memory_is_zeroed_and_bounded)
{
	volatile size_t huge = SIZE_MAX / 2 + 1;
	unsigned char *p = mem_zalloc(1000), *q = mem_array(10, 100);

	for (int i = 0; i < 1000; i++)
		ck_assert(p[i] == 0 && q[i] == 0);
	mem_free(p);
	mem_free(q);
	ck_assert_ptr_null(mem_array(huge, 2)); /* the product wraps to 0 */
	p = mem_realloc(NULL, 5);
	ck_assert_ptr_nonnull(p);
	mem_free(p);
}
END_TEST

/* The helper itself: it must count every allocation and stop after the last. */
START_TEST(failures_cover_each_allocation)
{
	int runs = 0, failed = 0;

	TEST_ALLOC_FAILURES(n) {
		void *a = mem_alloc(1), *b = mem_alloc(1), *c = mem_alloc(1);

		runs++;
		failed += (a == NULL) + (b == NULL) + (c == NULL);
		ck_assert_int_eq(n, runs);
		mem_free(a);
		mem_free(b);
		mem_free(c);
	}
	ck_assert_int_eq(runs, 4);
	ck_assert_int_eq(failed, 3);
}
END_TEST

START_TEST(slices_compare_like_memcmp)
{
	static const struct {
		const char *a, *b;
		int order;
	} t[] = {
		{ "", "", 0 }, { "", "a", -1 }, { "a", "", 1 }, { "a", "a", 0 },
		{ "a", "ab", -1 }, { "ab", "a", 1 }, { "b", "ab", 1 }, { "a\xff", "ab", 1 },
		{ "abcdefghijklmnop", "abc", 1 }, { "abc", "abcdefghijklmnop", -1 },
	};

	for (size_t i = 0; i < ARRAY_LEN(t); i++) {
		struct dyn_slice a = slice(t[i].a, strlen(t[i].a));
		struct dyn_slice b = slice(t[i].b, strlen(t[i].b));
		int c = slice_compare(a, b);

		ck_assert_int_eq((c > 0) - (c < 0), t[i].order);
		ck_assert(slice_equal(a, b) == (t[i].order == 0));
	}
	ck_assert(slice_equal(slice(NULL, 0), slice("", 0)));
	ck_assert_int_eq(slice_compare(slice(NULL, 0), slice(NULL, 0)), 0);
}
END_TEST

START_TEST(error_text_is_cut_not_overrun)
{
	struct dyn_error e;
	char longer[1000];

	memset(longer, 'x', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = 0;
	ck_assert_int_eq(error_set(NULL, DYN_EIO, "%s", longer), DYN_EIO);
	ck_assert_int_eq(error_set(&e, DYN_EIO, "%s", longer), DYN_EIO);
	ck_assert_int_eq(e.code, DYN_EIO);
	ck_assert_uint_eq(strlen(e.text), sizeof(e.text) - 1);
}
END_TEST

/* ------------------------------------------------------------------- bytes */

START_TEST(numbers_have_the_bytes_of_the_protocol)
{
	static const unsigned char expected[] = {
		0x01, 0x02, 0x01, 0x04, 0x03, 0x02, 0x01,         /* u8 u16 u32 */
		0x08, 0x07, 0x06, 0x05, 0x04, 0x03, 0x02, 0x01,   /* u64 */
		0xac, 0x02, 0x03, 'a', 'b', 'c', 0xff, 0xff,      /* var slice bytes */
	};
	struct buf *b;
	struct wr w;

	wr_init(&w, 0);
	wr_u8(&w, 1);
	wr_u16(&w, 0x0102);
	wr_u32(&w, 0);
	wr_u64(&w, UINT64_C(0x0102030405060708));
	wr_var(&w, 300);
	wr_slice(&w, dyn_str("abc"));
	wr_bytes(&w, "\xff\xff", 2);
	wr_bytes(&w, NULL, 0);
	wr_patch_u32(&w, 3, 0x01020304);
	ck_assert_uint_eq(wr_len(&w), sizeof(expected));
	ck_assert_int_eq(wr_finish(&w, &b), 0);
	ck_assert_uint_eq(b->len, sizeof(expected));
	ck_assert_mem_eq(b->data, expected, sizeof(expected));
	buf_unref(b);
}
END_TEST

static const uint64_t edges[] = { 0, 1, 127, 128, 16383, 16384, UINT32_MAX,
	UINT64_C(1) << 63, (UINT64_C(1) << 63) - 1, UINT64_MAX };

START_TEST(vars_come_back)
{
	struct rng rng = { test_seed() };

	for (size_t i = 0; i < 20000; i++) {
		uint64_t v = i < ARRAY_LEN(edges) ? edges[i]
						  : rng_next(&rng) >> rng_below(&rng, 64);
		struct buf *b;
		struct wr w;
		struct rd r;

		wr_init(&w, 0);
		wr_var(&w, v);
		ck_assert_int_eq(wr_finish(&w, &b), 0);
		ck_assert_uint_eq(b->len, var_len(v));
		r = rd_from(buf_slice(b));
		ck_assert_uint_eq(rd_var(&r), v);
		ck_assert(rd_end(&r));
		for (size_t cut = 0; cut < b->len; cut++) {
			r = rd_from(slice(b->data, cut));
			ck_assert_uint_eq(rd_var(&r), 0);
			ck_assert(r.bad && !rd_end(&r));
		}
		buf_unref(b);
	}
}
END_TEST

/* Each number has one encoding; everything else is refused. */
START_TEST(odd_vars_are_refused)
{
	static const struct {
		const char *bytes;
		size_t len;
	} bad[] = {
		{ "", 0 },
		{ "\x80", 1 },
		{ "\x80\x00", 2 },                              /* 0 in two bytes */
		{ "\xff\x00", 2 },                              /* 127 in two bytes */
		{ "\x80\x80\x00", 3 },
		{ "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", 10 }, /* 65 bits */
		{ "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x81", 10 },
		{ "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x80\x01", 11 },
		{ "\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01", 12 },
	};

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct rd r = rd_from(slice(bad[i].bytes, bad[i].len));

		ck_assert_uint_eq(rd_var(&r), 0);
		ck_assert_msg(r.bad, "row %zu was taken", i);
		ck_assert_uint_eq(rd_left(&r), 0);
	}
}
END_TEST

START_TEST(a_bad_reader_gives_zeros_for_ever)
{
	static const unsigned char input[] = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 };
	struct rd r = rd_from(slice(input, sizeof(input)));
	unsigned char copy[4] = "zzz";

	ck_assert_uint_eq(rd_u8(&r), 1);
	ck_assert_ptr_null(rd_bytes(&r, 10).data);
	ck_assert(r.bad);
	ck_assert_uint_eq(rd_u8(&r), 0);
	ck_assert_uint_eq(rd_u16(&r), 0);
	ck_assert_uint_eq(rd_u32(&r), 0);
	ck_assert_uint_eq(rd_u64(&r), 0);
	ck_assert_uint_eq(rd_var(&r), 0);
	ck_assert_uint_eq(rd_slice(&r, SIZE_MAX).len, 0);
	rd_copy(&r, copy, sizeof(copy));
	ck_assert_mem_eq(copy, "\0\0\0", 4);
	ck_assert(!rd_end(&r));
}
END_TEST

START_TEST(slices_keep_their_bound)
{
	struct dyn_slice s;
	struct rd r = rd_from(slice("\x03"
				    "abc",
	    4));

	s = rd_slice(&r, 3);
	ck_assert(slice_equal(s, dyn_str("abc")) && rd_end(&r));
	r = rd_from(slice("\x03"
			  "abc",
	    4));
	ck_assert_uint_eq(rd_slice(&r, 2).len, 0);
	ck_assert(r.bad);
	r = rd_from(slice("\x03"
			  "ab",
	    3));
	ck_assert_uint_eq(rd_slice(&r, 100).len, 0);
	ck_assert(r.bad);
	/* A length that would wrap the pointer. */
	r = rd_from(slice("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01x", 11));
	ck_assert_uint_eq(rd_slice(&r, SIZE_MAX).len, 0);
	ck_assert(r.bad);
	r = rd_from(slice("x", 1));
	ck_assert_ptr_null(rd_bytes(&r, SIZE_MAX).data);
	ck_assert(r.bad);
	r = rd_from(slice("\x00", 1));
	ck_assert_uint_eq(rd_slice(&r, 0).len, 0);
	ck_assert(rd_end(&r));
	r = rd_from(slice(NULL, 0));
	ck_assert(rd_end(&r));
}
END_TEST

/* Random fields written and read again; every shorter input fails cleanly. */
START_TEST(fields_come_back_and_prefixes_fail)
{
	struct rng rng = { test_seed() + (uint64_t)_i };
	unsigned kinds[40];
	uint64_t values[40];
	size_t count = 1 + (size_t)rng_below(&rng, 40);
	struct buf *b;
	struct wr w;

	wr_init(&w, 0);
	for (size_t i = 0; i < count; i++) {
		kinds[i] = (unsigned)rng_below(&rng, 5);
		values[i] = rng_next(&rng) >> rng_below(&rng, 64);
		switch (kinds[i]) {
		case 0: wr_u8(&w, (uint8_t)values[i]); break;
		case 1: wr_u16(&w, (uint16_t)values[i]); break;
		case 2: wr_u32(&w, (uint32_t)values[i]); break;
		case 3: wr_u64(&w, values[i]); break;
		default: wr_var(&w, values[i]); break;
		}
	}
	ck_assert_int_eq(wr_finish(&w, &b), 0);
	for (size_t len = 0; len <= b->len; len++) {
		struct rd r = rd_from(slice(b->data, len));

		for (size_t i = 0; i < count; i++) {
			uint64_t got, v = values[i];

			switch (kinds[i]) {
			case 0: got = rd_u8(&r), v = (uint8_t)v; break;
			case 1: got = rd_u16(&r), v = (uint16_t)v; break;
			case 2: got = rd_u32(&r), v = (uint32_t)v; break;
			case 3: got = rd_u64(&r); break;
			default: got = rd_var(&r); break;
			}
			ck_assert_uint_eq(got, r.bad ? 0 : v);
		}
		ck_assert(rd_end(&r) == (len == b->len));
	}
	buf_unref(b);
}
END_TEST

START_TEST(writer_runs_out_of_memory)
{
	static const unsigned char zeros[10000];

	TEST_ALLOC_FAILURES(n) {
		struct buf *out = NULL;
		struct wr w;
		int rc;

		wr_init(&w, 1);
		for (int i = 0; i < 100; i++)
			wr_u64(&w, 7);
		wr_bytes(&w, zeros, sizeof(zeros)); /* more than twice what there is */
		wr_patch_u32(&w, 4, 9);
		rc = wr_finish(&w, &out);
		if (rc == 0)
			ck_assert_uint_eq(out->len, 800 + sizeof(zeros));
		else
			ck_assert(rc == DYN_ENOMEM && out == NULL);
		buf_unref(out);
	}
	TEST_ALLOC_FAILURES(n) {
		struct wr w;

		wr_init(&w, 1);
		wr_bytes(&w, "abc", 3);
		wr_abort(&w);
	}
}
END_TEST

START_TEST(buffers_are_counted)
{
	long before = mem_balance();
	struct buf *b = buf_copy("abc", 3), *again = buf_ref(b);

	ck_assert_ptr_eq(b, again);
	buf_unref(b);
	ck_assert(slice_equal(buf_slice(again), dyn_str("abc")));
	buf_unref(again);
	buf_unref(NULL);
	ck_assert_uint_eq(buf_slice(NULL).len, 0);
	b = buf_copy(NULL, 0);
	ck_assert_uint_eq(b->len, 0);
	buf_unref(b);
	ck_assert_ptr_null(buf_new(SIZE_MAX));
	ck_assert_int_eq(mem_balance(), before);
}
END_TEST

/* --------------------------------------------------------------------- map */

struct thing {
	struct map_link link;
	unsigned key;
	bool in, seen;
};

/* Few hash values, so that chains hold equal and unequal hashes. */
static uint64_t
hash_of(unsigned key)
{
	return key % 3 == 0 ? key % 8 : mix64(key);
}

static struct thing *
lookup(const struct map *m, unsigned key)
{
	struct map_link *l;

	for (l = map_first(m, hash_of(key)); l != NULL; l = map_next(l)) {
		ck_assert_uint_eq(l->hash, hash_of(key));
		if (CONTAINER_OF(l, struct thing, link)->key == key)
			return CONTAINER_OF(l, struct thing, link);
	}
	return NULL;
}

static void
see(void *arg, struct map_link *l)
{
	struct thing *t = CONTAINER_OF(l, struct thing, link);

	ck_assert(t->in && !t->seen);
	t->seen = true;
	++*(size_t *)arg;
}

struct sweep {
	struct map *map;
	size_t removed;
};

static void
remove_odd(void *arg, struct map_link *l)
{
	struct thing *t = CONTAINER_OF(l, struct thing, link);
	struct sweep *s = arg;

	if (t->key % 2 == 0)
		return;
	map_remove(s->map, l);
	t->in = false;
	s->removed++;
}

/* The model is an array of flags. */
START_TEST(map_is_a_map)
{
	enum { KEYS = 500 };
	struct rng rng = { test_seed() + (uint64_t)_i };
	struct thing things[KEYS];
	struct sweep sweep = { NULL, 0 };
	size_t seen = 0, count = 0;
	struct map m;

	memset(things, 0, sizeof(things));
	ck_assert_int_eq(map_init(&m, (size_t)rng_below(&rng, 100)), 0);
	ck_assert_ptr_null(map_any(&m));
	for (int i = 0; i < 5000; i++) {
		struct thing *t;
		unsigned key = (unsigned)rng_below(&rng, KEYS);

		t = lookup(&m, key);
		ck_assert_ptr_eq(t, things[key].in ? &things[key] : NULL);
		things[key].key = key;
		if (t == NULL) {
			mem_fail_at(rng_below(&rng, 2) ? 1 : 0); /* growth may wait */
			map_add(&m, &things[key].link, hash_of(key));
			mem_fail_at(0);
		} else {
			map_remove(&m, &t->link);
		}
		things[key].in = t == NULL;
		count += t == NULL ? 1 : (size_t)-1;
		ck_assert_uint_eq(m.count, count);
	}
	map_each(&m, see, &seen);
	ck_assert_uint_eq(seen, count);
	sweep.map = &m;
	map_each(&m, remove_odd, &sweep);
	ck_assert_uint_eq(m.count, count - sweep.removed);
	for (struct map_link *l; (l = map_any(&m)) != NULL; count--)
		map_remove(&m, l);
	ck_assert_uint_eq(count, sweep.removed);
	map_fini(&m);
	map_fini(&m); /* again is fine */
}
END_TEST

START_TEST(map_runs_out_of_memory)
{
	TEST_ALLOC_FAILURES(n) {
		struct thing things[100];
		struct map m;
		int rc = map_init(&m, 0);

		if (rc != 0) {
			ck_assert_int_eq(rc, DYN_ENOMEM);
			continue;
		}
		for (unsigned i = 0; i < 100; i++) {
			things[i].key = i;
			map_add(&m, &things[i].link, hash_of(i));
		}
		for (unsigned i = 0; i < 100; i++)
			ck_assert_ptr_eq(lookup(&m, i), &things[i]);
		map_fini(&m);
	}
}
END_TEST

/* ------------------------------------------------------------------ timers */

/* The model looks at all timers each time: earliest, then set longest ago. */
struct model {
	struct timer timer;
	uint64_t at, set;
	bool on;
};

static struct model *
model_first(struct model *all, size_t count)
{
	struct model *best = NULL;

	for (size_t i = 0; i < count; i++)
		if (all[i].on && (best == NULL || all[i].at < best->at ||
				     (all[i].at == best->at && all[i].set < best->set)))
			best = &all[i];
	return best;
}

START_TEST(timers_fire_in_order)
{
	enum { TIMERS = 200 };
	struct rng rng = { test_seed() + (uint64_t)_i };
	struct model all[TIMERS];
	uint64_t now = 0, set = 0;
	struct timers ts;

	memset(all, 0, sizeof(all));
	ck_assert_int_eq(timers_init(&ts), 0);
	ck_assert_uint_eq(timers_next(&ts), TIME_NEVER);
	for (int i = 0; i < 5000; i++) {
		struct model *m = &all[rng_below(&rng, TIMERS)], *first;
		struct timer *t;

		switch (rng_below(&rng, 4)) {
		case 0:
		case 1: /* few different times, so that many are equal */
			m->at = now + rng_below(&rng, 20);
			m->set = ++set;
			m->on = true;
			ck_assert_int_eq(timer_set(&ts, &m->timer, m->at), 0);
			break;
		case 2:
			timer_cancel(&ts, &m->timer);
			m->on = false;
			break;
		default:
			now += rng_below(&rng, 3);
			first = model_first(all, TIMERS);
			t = timers_pop(&ts, now);
			if (first == NULL || first->at > now) {
				ck_assert_ptr_null(t);
			} else {
				ck_assert_ptr_eq(t, &first->timer);
				first->on = false;
			}
		}
		ck_assert(timer_is_set(&m->timer) == m->on);
		first = model_first(all, TIMERS);
		ck_assert_uint_eq(timers_next(&ts), first != NULL ? first->at : TIME_NEVER);
	}
	timers_fini(&ts);
}
END_TEST

/* Without memory a timer that is set can still be moved. */
START_TEST(timers_run_out_of_memory)
{
	TEST_ALLOC_FAILURES(n) {
		struct timer all[300];
		struct timers ts;
		size_t set = 0;

		memset(all, 0, sizeof(all));
		if (timers_init(&ts) != 0)
			continue;
		for (size_t i = 0; i < ARRAY_LEN(all); i++) {
			if (timer_set(&ts, &all[i], 1000 - i) == 0)
				set++;
			else
				ck_assert(!timer_is_set(&all[i]));
		}
		ck_assert_uint_ge(set, ARRAY_LEN(all) - 1);
		for (size_t i = 0; i < ARRAY_LEN(all); i++)
			if (timer_is_set(&all[i]))
				ck_assert_int_eq(timer_set(&ts, &all[i], i), 0);
		while (timers_pop(&ts, TIME_NEVER) != NULL)
			set--;
		ck_assert_uint_eq(set, 0);
		timers_fini(&ts);
	}
}
END_TEST

/* ------------------------------------------------------------------- lists */

START_TEST(lists_keep_order)
{
	struct list head, l[5];
	size_t i = 0;

	list_init(&head);
	ck_assert(list_empty(&head));
	ck_assert_ptr_null(list_pop(&head));
	for (i = 0; i < 5; i++)
		list_add(&head, &l[i]);
	list_remove(&l[2]);
	list_remove(&l[2]); /* a link on no list may be removed again */
	ck_assert(list_empty(&l[2]));
	list_add(&head, &l[2]);
	i = 0;
	LIST_EACH(at, &head) {
		static const size_t order[] = { 0, 1, 3, 4, 2 };

		ck_assert_ptr_eq(at, &l[order[i++]]);
	}
	ck_assert_uint_eq(i, 5);
	LIST_EACH_SAFE(at, next, &head)
		if (at == &l[0] || at == &l[2])
			list_remove(at);
	ck_assert_ptr_eq(list_pop(&head), &l[1]);
	ck_assert_ptr_eq(list_pop(&head), &l[3]);
	ck_assert_ptr_eq(list_pop(&head), &l[4]);
	ck_assert(list_empty(&head));
}
END_TEST

/* ------------------------------------------------------------------ hashes */

static void
check_hex(const struct digest *d, const char *expected)
{
	char text[33];

	for (size_t i = 0; i < sizeof(d->b); i++)
		snprintf(text + 2 * i, 3, "%02x", d->b[i]);
	ck_assert_str_eq(text, expected);
}

/* FIPS 180-4 and RFC 1321; libdyn keeps the first 128 bits. */
START_TEST(digests_are_the_published_ones)
{
	static const struct {
		const char *input, *sha256, *md5;
	} t[] = {
		{ "", "e3b0c44298fc1c149afbf4c8996fb924", "d41d8cd98f00b204e9800998ecf8427e" },
		{ "abc", "ba7816bf8f01cfea414140de5dae2223", "900150983cd24fb0d6963f7d28e17f72" },
		{ "message digest", "f7846f55cf23e14eebeab5b4e1550cad",
		    "f96b697d7cb7938d525a2f31aaf161d0" },
	};

	for (size_t i = 0; i < ARRAY_LEN(t); i++) {
		size_t len = strlen(t[i].input);
		struct digest d, whole;

		ck_assert_int_eq(hash_digest(slice(t[i].input, len), &whole), 0);
		check_hex(&whole, t[i].sha256);
		for (size_t cut = 0; cut <= len; cut++) {
			struct dyn_slice parts[] = { slice(t[i].input, cut),
				slice(t[i].input + cut, len - cut) };

			ck_assert_int_eq(hash_parts(DYN_HASH_SHA256, parts, 2, &d), 0);
			ck_assert_int_eq(digest_compare(&d, &whole), 0);
			ck_assert_int_eq(hash_parts(DYN_HASH_MD5, parts, 2, &d), 0);
			check_hex(&d, t[i].md5);
		}
	}
}
END_TEST

/*
 * RFC 4231, cases 1 and 2: their keys are shorter than 32 bytes, but HMAC fills
 * a key up to the block with zeros, so the zeros may be given as well.
 */
START_TEST(seals_are_the_published_ones)
{
	unsigned char key[32] = { 0 };
	struct digest d, other;

	memset(key, 0x0b, 20);
	ck_assert_int_eq(hash_seal(key, dyn_str("Hi There"), &d), 0);
	check_hex(&d, "b0344c61d8db38535ca8afceaf0bf12b");
	memset(key, 0, sizeof(key));
	memcpy(key, "Jefe", 4);
	ck_assert_int_eq(hash_seal(key, dyn_str("what do ya want for nothing?"), &d), 0);
	check_hex(&d, "5bdcc146bf60754e6a042426089575c7");
	ck_assert_int_eq(hash_seal(key, slice(NULL, 0), &d), 0);
	key[31] ^= 1;
	ck_assert_int_eq(hash_seal(key, slice(NULL, 0), &other), 0);
	ck_assert_int_ne(digest_compare(&d, &other), 0);
}
END_TEST

START_TEST(quick_sums_see_each_bit)
{
	unsigned char bytes[100];
	struct rng rng = { test_seed() };
	uint64_t sum;

	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (unsigned char)rng_next(&rng);
	sum = hash_quick(slice(bytes, sizeof(bytes)));
	for (size_t bit = 0; bit < 8 * sizeof(bytes); bit++) {
		bytes[bit / 8] ^= (unsigned char)(1 << bit % 8);
		ck_assert_uint_ne(hash_quick(slice(bytes, sizeof(bytes))), sum);
		bytes[bit / 8] ^= (unsigned char)(1 << bit % 8);
	}
	ck_assert_uint_ne(hash_quick(slice(bytes, 99)), sum);
	ck_assert_uint_eq(hash_quick(slice(NULL, 0)), hash_quick(slice("", 0)));
	ck_assert_uint_eq(load_be64((const unsigned char *)"\x01\x02\x03\x04\x05\x06\x07\x08"),
	    UINT64_C(0x0102030405060708));
}
END_TEST

/* Same seed, same numbers; bounds hold and all values come up. */
START_TEST(random_numbers_repeat_and_stay_below)
{
	static const uint64_t bounds[] = { 1, 2, 3, 10, UINT32_MAX, UINT64_C(1) << 40,
		UINT64_MAX };
	struct rng a = { 42 }, b = { 42 }, c = { 43 };
	unsigned hits[10] = { 0 };

	ck_assert_uint_eq(rng_next(&a), rng_next(&b));
	ck_assert_uint_ne(rng_next(&a), rng_next(&c));
	for (size_t i = 0; i < ARRAY_LEN(bounds); i++)
		for (int k = 0; k < 1000; k++)
			ck_assert_uint_lt(rng_below(&a, bounds[i]), bounds[i]);
	for (int k = 0; k < 10000; k++)
		hits[rng_below(&a, 10)]++;
	for (size_t i = 0; i < 10; i++)
		ck_assert(hits[i] > 850 && hits[i] < 1150); /* five sigma */
}
END_TEST

static Suite *
base_suite(void)
{
	Suite *s = suite_create("base");
	TCase *c = test_case(s, "memory", memory_fails_where_asked);

	tcase_add_test(c, memory_is_zeroed_and_bounded);
	tcase_add_test(c, failures_cover_each_allocation);
	tcase_add_test(c, slices_compare_like_memcmp);
	tcase_add_test(c, error_text_is_cut_not_overrun);
	c = test_case(s, "bytes", numbers_have_the_bytes_of_the_protocol);
	tcase_add_test(c, vars_come_back);
	tcase_add_test(c, odd_vars_are_refused);
	tcase_add_test(c, a_bad_reader_gives_zeros_for_ever);
	tcase_add_test(c, slices_keep_their_bound);
	tcase_add_loop_test(c, fields_come_back_and_prefixes_fail, 0, 40);
	tcase_add_test(c, writer_runs_out_of_memory);
	tcase_add_test(c, buffers_are_counted);
	c = test_case(s, "map", map_runs_out_of_memory);
	tcase_add_loop_test(c, map_is_a_map, 0, 10);
	c = test_case(s, "timer", timers_run_out_of_memory);
	tcase_add_loop_test(c, timers_fire_in_order, 0, 10);
	test_case(s, "list", lists_keep_order);
	c = test_case(s, "hash", digests_are_the_published_ones);
	tcase_add_test(c, seals_are_the_published_ones);
	tcase_add_test(c, quick_sums_see_each_bit);
	tcase_add_test(c, random_numbers_repeat_and_stay_below);
	return s;
}

TEST_MAIN(base_suite)
