/*
 * A thread, its event base and its mailbox.
 *
 * The thread runs turns: handle the sockets that are ready, the letters in the
 * mailbox, then turn() once, where the owner empties its outbox, then what was
 * put off to the end of the turn (loop_defer: connections write what was
 * queued in the turn).  One wake is one batch.  All signals are blocked.
 *
 * The mailbox is the only door for other threads: a lock-free stack of letters
 * and an eventfd that is written only when the mailbox was empty.
 *
 * A letter that must not fail is part of what it tells (a batch, its changes), or a
 * bell: where a lost letter would be a lie for good, no memory is asked for.
 *
 * Whose thread.  Before loop_start and after loop_stop the loop belongs to the
 * thread that makes these calls: it may open, dial and close there what else
 * only the loop's thread may.  In a forked child none of it may be touched:
 * the other thread may have been in the middle of anything.
 */
#ifndef DYN_LOOP_H
#define DYN_LOOP_H

#include "base/list.h"
#include "base/timer.h"

#include <event2/event.h>
#include <pthread.h>
#include <stdatomic.h>

/* Embedded in what is sent.  run is called once, in the loop's thread, and
 * then owns the letter. */
struct letter {
	struct letter *next;
	void (*run)(struct letter *);
};

/* A letter that needs no memory and can be sent again before it was read: heard is
 * called in the loop's thread, once or more after each ring. */
struct bell {
	struct letter letter;
	atomic_bool rung; /* and not heard yet */
	void (*heard)(struct bell *);
};

/* Embedded in what wants to be called at the end of a turn. */
struct deferred {
	struct list link;
	void (*run)(struct deferred *);
};

#define LOOP_SCRATCH (256 << 10)

struct loop {
	struct event_base *base;
	pthread_t thread;
	bool running; /* the thread was started and not joined */
	_Atomic(struct letter *) mailbox;
	int wake_fd;
	struct event *wake_event, *timer_event;
	uint64_t timer_at;  /* when the owner wants a turn */
	uint64_t timer_set; /* when the event is set for; never later */
	uint64_t now;       /* monotonic ns, read once a turn */
	bool awake;         /* now was read since the thread last slept */
	atomic_bool stop;
	struct list deferred;
	unsigned unfinished; /* cancelled work inside libevent (resolve.c) */
	/* Two blocks of LOOP_SCRATCH bytes that connections read into: what is
	 * in them is gone when the callback that filled them returns. */
	unsigned char *scratch[2];
	void (*turn)(void *arg);
	void *arg;
	char name[16];
};

/* turn may be NULL.  name: at most 15 characters.  DYN_ENOMEM (memory or file
 * descriptors). */
int loop_init(struct loop *, const char *name, void (*turn)(void *), void *arg) DYN_CHECK;
int loop_start(struct loop *) DYN_CHECK;
/* End the thread after what is in its mailbox; join it.  Not from inside. */
void loop_stop(struct loop *);
/* Runs letters and deferred work that came after loop_stop; false: there was
 * nothing. */
bool loop_settle(struct loop *);
/* Nobody may still post to it; its connections and listeners must have been
 * closed.  Where loops post to each other: stop all, settle all until none had
 * anything, then fini all. */
void loop_fini(struct loop *);
/* Any thread; in order for one sender; never fails. */
void loop_post(struct loop *, struct letter *);
void bell_init(struct bell *, void (*heard)(struct bell *));
void bell_ring(struct loop *, struct bell *); /* any thread */
bool loop_inside(const struct loop *); /* am I this loop's thread? */
bool loop_inside_any(void);            /* am I a thread of any loop? */
/* May I touch what belongs to this loop?  For assertions. */
bool loop_owned(const struct loop *);
/* From the loop's thread: */
/* Be woken (a turn) at this time, TIME_NEVER = not. */
void loop_wake_at(struct loop *, uint64_t at);
/* Call d at the end of this turn, after turn(); once, however often asked. */
void loop_defer(struct loop *, struct deferred *d);

uint64_t clock_now(void);     /* monotonic, ns */
uint64_t clock_wall_ms(void); /* since 1970 */

static inline void
deferred_init(struct deferred *d, void (*run)(struct deferred *))
{
	list_init(&d->link);
	d->run = run;
}

/* First thing in every libevent callback: makes `now` this turn's. */
static inline void
loop_enter(struct loop *l)
{
	if (!l->awake) {
		l->awake = true;
		l->now = clock_now();
	}
}

#endif
