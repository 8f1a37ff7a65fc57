/* Sums, and the three nodes above a row. */
#include "model/merkle.h"

static uint64_t
load(const unsigned char *p)
{
	uint64_t v = 0;

	for (unsigned i = 0; i < 8; i++)
		v |= (uint64_t)p[i] << (8 * i);
	return v;
}

static void
save(unsigned char *p, uint64_t v)
{
	for (unsigned i = 0; i < 8; i++)
		p[i] = (unsigned char)(v >> (8 * i));
}

void
sum_add(struct digest *a, const struct digest *b)
{
	uint64_t low = load(a->b) + load(b->b);
	uint64_t carry = low < load(b->b);

	save(a->b + 8, load(a->b + 8) + load(b->b + 8) + carry);
	save(a->b, low);
}

void
sum_take(struct digest *a, const struct digest *b)
{
	uint64_t low = load(a->b) - load(b->b);
	uint64_t borrow = load(a->b) < load(b->b);

	save(a->b + 8, load(a->b + 8) - load(b->b + 8) - borrow);
	save(a->b, low);
}

static void
change(struct digest *node, const struct digest *before, const struct digest *after)
{
	sum_take(node, before);
	sum_add(node, after);
}

void
merkle_change(struct merkle *m, unsigned leaf, const struct digest *before,
    const struct digest *after)
{
	DYN_ASSERT(leaf < MERKLE_LEAVES);
	change(&m->leaf[leaf], before, after);
	change(&m->inner[leaf / MERKLE_FAN], before, after);
	change(&m->root, before, after);
}
