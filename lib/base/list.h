/*
 * Doubly linked lists embedded in the caller's structs.  A head is a link to
 * itself; a link that is on no list points to itself too.
 */
#ifndef DYN_LIST_H
#define DYN_LIST_H

#include "base/base.h"

struct list {
	struct list *next, *prev;
};

static inline void
list_init(struct list *l)
{
	l->next = l->prev = l;
}

static inline bool
list_empty(const struct list *l)
{
	return l->next == l;
}

/* At the end. */
static inline void
list_add(struct list *head, struct list *l)
{
	l->prev = head->prev;
	l->next = head;
	head->prev->next = l;
	head->prev = l;
}

static inline void
list_remove(struct list *l)
{
	l->prev->next = l->next;
	l->next->prev = l->prev;
	list_init(l);
}

/* The first link, taken off, or NULL. */
static inline struct list *
list_pop(struct list *head)
{
	struct list *l = head->next;

	if (l == head)
		return NULL;
	list_remove(l);
	return l;
}

#define LIST_EACH(l, head) for (struct list *l = (head)->next; l != (head); l = l->next)
/* The body may remove l. */
#define LIST_EACH_SAFE(l, n, head)                                             \
	for (struct list *l = (head)->next, *n = l->next; l != (head); l = n, n = l->next)

#endif
