/*
 * Hashes.  hash.c is the one file of the lower layers that calls libcrypto:
 * a digest is a pure function.
 */
#ifndef DYN_HASH_H
#define DYN_HASH_H

#include "base/base.h"

struct digest {
	unsigned char b[16];
};

/* First 128 bits of the digest of the parts, one after the other. */
int hash_parts(enum dyn_hash, const struct dyn_slice *parts, size_t count, struct digest *out);
/* The same by SHA-256 of one slice: names of objects such as tables. */
int hash_digest(struct dyn_slice, struct digest *out);
/* HMAC-SHA-256, first 128 bits. */
int hash_seal(const unsigned char secret[32], struct dyn_slice, struct digest *out);

static inline int
digest_compare(const struct digest *a, const struct digest *b)
{
	return memcmp(a->b, b->b, sizeof(a->b));
}

static inline uint64_t
load_be64(const unsigned char *p)
{
	uint64_t v = 0;

	for (int i = 0; i < 8; i++)
		v = v << 8 | p[i];
	return v;
}

/* A good 64-bit mix (bijective); not for adversaries. */
static inline uint64_t
mix64(uint64_t x)
{
	x ^= x >> 30;
	x *= UINT64_C(0xbf58476d1ce4e5b9);
	x ^= x >> 27;
	x *= UINT64_C(0x94d049bb133111eb);
	x ^= x >> 31;
	return x;
}

/* A quick check sum of bytes (FNV-1a, mixed): finds damage, not forgery. */
uint64_t hash_quick(struct dyn_slice);

#endif
