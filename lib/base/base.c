/*
 * Assertions, memory, slices.
 *
 * The only global state of the library lives here: the counters that tests
 * use to make allocations fail and to find leaks.
 */
#include "base/base.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

static atomic_long fail_countdown;
static atomic_long blocks;

void
base_assert_failed(const char *what, const char *file, int line)
{
	/* The one place that may write to stderr: the process is lost. */
	fprintf(stderr, "libdyn: assertion failed: %s (%s:%d)\n", what, file, line);
	abort();
}

void
mem_fail_at(long n)
{
	atomic_store_explicit(&fail_countdown, n, memory_order_relaxed);
}

long
mem_balance(void)
{
	return atomic_load_explicit(&blocks, memory_order_relaxed);
}

static bool
must_fail(void)
{
	long n = atomic_load_explicit(&fail_countdown, memory_order_relaxed);

	if (n <= 0)
		return n < 0;
	return atomic_fetch_sub_explicit(&fail_countdown, 1, memory_order_relaxed) == 1;
}

static void *
counted(void *p)
{
	if (p != NULL)
		atomic_fetch_add_explicit(&blocks, 1, memory_order_relaxed);
	return p;
}

void *
mem_alloc(size_t size)
{
	return must_fail() ? NULL : counted(malloc(size > 0 ? size : 1));
}

void *
mem_zalloc(size_t size)
{
	return must_fail() ? NULL : counted(calloc(1, size > 0 ? size : 1));
}

void *
mem_array(size_t count, size_t size)
{
	if (must_fail())
		return NULL;
	return counted(calloc(count > 0 ? count : 1, size > 0 ? size : 1));
}

void *
mem_realloc(void *p, size_t size)
{
	void *q;

	if (p == NULL)
		return mem_alloc(size);
	if (must_fail())
		return NULL;
	q = realloc(p, size > 0 ? size : 1);
	return q;
}

char *
mem_strdup(const char *s)
{
	size_t len = strlen(s) + 1;
	char *p = mem_alloc(len);

	if (p != NULL)
		memcpy(p, s, len);
	return p;
}

void
mem_free(void *p)
{
	if (p == NULL)
		return;
	atomic_fetch_sub_explicit(&blocks, 1, memory_order_relaxed);
	free(p);
}

int
slice_compare(struct dyn_slice a, struct dyn_slice b)
{
	size_t len = MIN(a.len, b.len);
	int c = len > 0 ? memcmp(a.data, b.data, len) : 0;

	if (c != 0)
		return c;
	return a.len < b.len ? -1 : a.len > b.len;
}

int
error_set(struct dyn_error *error, int code, const char *fmt, ...)
{
	va_list args;

	if (error == NULL)
		return code;
	error->code = code;
	va_start(args, fmt);
	vsnprintf(error->text, sizeof(error->text), fmt, args);
	va_end(args);
	return code;
}
