/* The hash map: chains in a table of a power of two. */
#include "base/map.h"

int
map_init(struct map *m, size_t expected)
{
	size_t size = 16;

	while (size < expected)
		size *= 2;
	m->count = 0;
	m->mask = size - 1;
	m->slots = mem_array(size, sizeof(*m->slots));
	return m->slots != NULL ? 0 : DYN_ENOMEM;
}

void
map_fini(struct map *m)
{
	mem_free(m->slots);
	memset(m, 0, sizeof(*m));
}

static void
grow(struct map *m)
{
	size_t size = (m->mask + 1) * 2;
	struct map_link **slots = mem_array(size, sizeof(*slots));

	if (slots == NULL)
		return;
	for (size_t i = 0; i <= m->mask; i++) {
		struct map_link *l = m->slots[i], *next;

		for (; l != NULL; l = next) {
			next = l->next;
			l->next = slots[l->hash & (size - 1)];
			slots[l->hash & (size - 1)] = l;
		}
	}
	mem_free(m->slots);
	m->slots = slots;
	m->mask = size - 1;
}

void
map_add(struct map *m, struct map_link *l, uint64_t hash)
{
	struct map_link **slot;

	if (m->count > m->mask)
		grow(m);
	slot = &m->slots[hash & m->mask];
	l->hash = hash;
	l->next = *slot;
	*slot = l;
	m->count++;
}

void
map_remove(struct map *m, struct map_link *l)
{
	struct map_link **at = &m->slots[l->hash & m->mask];

	while (*at != l) {
		DYN_ASSERT(*at != NULL);
		at = &(*at)->next;
	}
	*at = l->next;
	l->next = NULL;
	m->count--;
}

static struct map_link *
same_hash(struct map_link *l, uint64_t hash)
{
	while (l != NULL && l->hash != hash)
		l = l->next;
	return l;
}

struct map_link *
map_first(const struct map *m, uint64_t hash)
{
	return same_hash(m->slots[hash & m->mask], hash);
}

struct map_link *
map_next(const struct map_link *l)
{
	return same_hash(l->next, l->hash);
}

struct map_link *
map_any(const struct map *m)
{
	if (m->slots == NULL || m->count == 0)
		return NULL;
	for (size_t i = 0; i <= m->mask; i++)
		if (m->slots[i] != NULL)
			return m->slots[i];
	return NULL;
}

void
map_each(struct map *m, void (*visit)(void *, struct map_link *), void *arg)
{
	if (m->slots == NULL)
		return;
	for (size_t i = 0; i <= m->mask; i++) {
		struct map_link *l = m->slots[i], *next;

		for (; l != NULL; l = next) {
			next = l->next;
			visit(arg, l);
		}
	}
}
