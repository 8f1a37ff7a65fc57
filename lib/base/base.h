/*
 * What every file includes: assertions, memory, the limits.
 *
 * DYN_ASSERT states what we believe about ourselves; it stays on in release
 * builds.  What a peer or a file says is checked with an `if` and an error.
 */
#ifndef DYN_BASE_H
#define DYN_BASE_H

#include <dyn.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define DYN_ASSERT(x) ((x) ? (void)0 : base_assert_failed(#x, __FILE__, __LINE__))
void base_assert_failed(const char *what, const char *file, int line)
    __attribute__((noreturn, cold));

#define CONTAINER_OF(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))
#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))

/*
 * Memory.  All heap memory of the library comes from here.  mem_fail_at(n)
 * makes the n-th allocation from now fail, once (0 = none; -1 = all, until it is called
 * again): how the tests try every path out of memory.  mem_balance counts blocks not
 * yet freed.
 */
void *mem_alloc(size_t) __attribute__((malloc, warn_unused_result));
void *mem_zalloc(size_t) __attribute__((malloc, warn_unused_result));
void *mem_array(size_t count, size_t size) __attribute__((malloc, warn_unused_result));
void *mem_realloc(void *, size_t) __attribute__((warn_unused_result));
char *mem_strdup(const char *) __attribute__((malloc, warn_unused_result));
void mem_free(void *);
void mem_fail_at(long n);
long mem_balance(void);

static inline struct dyn_slice
slice(const void *data, size_t len)
{
	struct dyn_slice s = { data, len };
	return s;
}

static inline bool
slice_equal(struct dyn_slice a, struct dyn_slice b)
{
	return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

/* memcmp order, a prefix first. */
int slice_compare(struct dyn_slice, struct dyn_slice);

/* Fill the error, if there is one, and return code. */
int error_set(struct dyn_error *, int code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/*
 * Limits.  Every queue, list and field that a peer can fill has its bound here.
 */
#define LIMIT_MEMBERS 1024             /* members of a ring, clients not counted */
#define LIMIT_FRAME_HELLO 2048         /* a frame before the hello is accepted */
#define LIMIT_FRAME_EXTRA (1 << 20)    /* a data frame beyond its value: clocks, siblings */
#define LIMIT_ACTORS 4096              /* actors in one clock */
#define LIMIT_CLOUD 4096               /* dots outside the vector in one clock */
#define LIMIT_SIBLINGS 1000            /* values in one object */
#define LIMIT_LEDGER (64 << 10)        /* bytes of who keeps how much for whom */
#define LIMIT_CONTEXT (256 << 10)      /* bytes of an encoded context */
#define LIMIT_OBJECT ((size_t)256 << 20) /* bytes of an encoded object */

#endif
