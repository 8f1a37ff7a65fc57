/*
 * A thread, its event base and its mailbox.
 *
 * The thread runs: handle what is ready (sockets, letters), then turn() once,
 * where the owner empties its outbox and flushes its connections: one wake is
 * one batch.  All signals are blocked in it.
 *
 * The mailbox is the only door for other threads: a lock-free stack of letters
 * and an eventfd that is written only when the mailbox was empty.
 */
#ifndef DYN_LOOP_H
#define DYN_LOOP_H

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

struct loop {
	struct event_base *base;
	pthread_t thread;
	bool running; /* the thread was started and not joined */
	_Atomic(struct letter *) mailbox;
	int wake_fd;
	struct event *wake_event, *timer_event;
	uint64_t timer_at;
	uint64_t now; /* monotonic ns, read once a turn */
	atomic_bool stop;
	void (*turn)(void *arg);
	void *arg;
	char name[16];
};

/* turn may be NULL.  name: at most 15 characters. */
int loop_init(struct loop *, const char *name, void (*turn)(void *), void *arg) DYN_CHECK;
int loop_start(struct loop *) DYN_CHECK;
/* End the thread after what is in its mailbox; join it.  Not from inside. */
void loop_stop(struct loop *);
void loop_fini(struct loop *); /* runs letters that came after loop_stop */
/* Any thread; in order for one sender; never fails. */
void loop_post(struct loop *, struct letter *);
bool loop_inside(const struct loop *); /* am I this loop's thread? */
bool loop_inside_any(void);            /* am I a thread of any loop? */
/* From the loop's thread: be woken (a turn) at this time, TIME_NEVER = not. */
void loop_wake_at(struct loop *, uint64_t at);
uint64_t clock_now(void);      /* monotonic, ns */
uint64_t clock_wall_ms(void);  /* since 1970 */

#endif
