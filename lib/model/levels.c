/* A sorted array: see levels.h. */
#include "model/levels.h"

static int
compare(const struct dyn_id *a, const struct dyn_id *b)
{
	return memcmp(a->bytes, b->bytes, sizeof(a->bytes));
}

/* Where it is, or belongs. */
static size_t
place(const struct levels *l, const struct dyn_id *id, bool *found)
{
	size_t low = 0, high = l->count;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (compare(&l->of[middle].id, id) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	*found = low < l->count && compare(&l->of[low].id, id) == 0;
	return low;
}

/* Keep those that the view knows. */
static void
thin_out(struct levels *l, const struct view *v)
{
	size_t kept = 0;

	for (size_t i = 0; i < l->count; i++) {
		const struct record *r = v != NULL ? view_find(v, &l->of[i].id) : NULL;

		if (r != NULL && record_is_here(r))
			l->of[kept++] = l->of[i];
	}
	l->count = kept;
}

void
levels_heard(struct levels *l, const struct view *v, const struct dyn_id *id, unsigned level)
{
	bool found;
	size_t at = place(l, id, &found);

	if (!found && l->count == ARRAY_LEN(l->of)) {
		thin_out(l, v);
		at = place(l, id, &found);
		if (l->count == ARRAY_LEN(l->of))
			return;
	}
	if (!found) {
		memmove(&l->of[at + 1], &l->of[at], (l->count - at) * sizeof(l->of[0]));
		l->count++;
		l->of[at].id = *id;
	}
	l->of[at].level = (uint16_t)MIN(level, UINT16_MAX);
}

unsigned
levels_find(const struct levels *l, const struct dyn_id *id)
{
	bool found;
	size_t at = place(l, id, &found);

	return found ? l->of[at].level : 0;
}

unsigned
levels_lowest(const struct levels *l, const struct view *v, const struct dyn_id *self,
    unsigned own)
{
	unsigned lowest = own;

	for (size_t i = 0; i < v->count; i++) {
		const struct record *r = &v->records[i];

		if (record_is_here(r) && compare(&r->id, self) != 0)
			lowest = MIN(lowest, levels_find(l, &r->id));
	}
	return lowest;
}
