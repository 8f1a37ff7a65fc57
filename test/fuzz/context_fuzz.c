/*
 * Goal: no bytes given as a context make libdyn misbehave, and none that the
 * ring did not seal is taken for genuine.
 * Method: the input as it is, and again with its check sum made good, since
 * nearly no damaged input passes that.
 */
#include "test/fuzz/driver.h"

#include "model/context.h"

/* Not the secret of the corpus: nothing here is genuine. */
static const unsigned char secret[32] = "a secret that sealed none here";

static void
try(const uint8_t *data, size_t len)
{
	dyn_context *c, *copy;
	unsigned char *back;
	size_t need;
	int rc;

	rc = dyn_context_decode(&c, data, len);
	DYN_ASSERT(rc == 0 || rc == DYN_ECONTEXT || rc == DYN_EVERSION);
	DYN_ASSERT((rc == 0) == (c != NULL));
	if (rc != 0)
		return;
	DYN_ASSERT(context_check(c, c->ring, &c->key, secret) == DYN_ECONTEXT);
	DYN_ASSERT(dyn_context_encode(c, NULL, 0, &need) == DYN_ETOOBIG && need == len);
	DYN_ASSERT(dyn_context_copy(&copy, c) == 0);
	dyn_context_free(c);
	back = mem_alloc(need);
	DYN_ASSERT(dyn_context_encode(copy, back, need, &need) == 0);
	DYN_ASSERT(memcmp(back, data, len) == 0);
	mem_free(back);
	dyn_context_free(copy);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	long before = mem_balance();
	unsigned char *copy;
	uint64_t sum;

	try(data, len);
	if (len >= 8) {
		copy = mem_alloc(len);
		memcpy(copy, data, len);
		sum = hash_quick(slice(copy, len - 8));
		for (size_t i = 0; i < 8; i++)
			copy[len - 8 + i] = (unsigned char)(sum >> (8 * i));
		try(copy, len);
		mem_free(copy);
	}
	DYN_ASSERT(mem_balance() == before);
	return 0;
}
