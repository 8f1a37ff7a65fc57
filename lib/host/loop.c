/*
 * Threads, event bases, mailboxes.
 *
 * libevent is used for what it does best, telling which sockets are ready; it
 * holds no locks here (EVENT_BASE_FLAG_NOLOCK), since nothing but the mailbox
 * is reached from outside.
 */
#include "host/loop.h"

#include <signal.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

static _Thread_local const struct loop *current;

uint64_t
clock_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

uint64_t
clock_wall_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / NS_PER_MS;
}

bool
loop_inside(const struct loop *l)
{
	return current == l;
}

bool
loop_inside_any(void)
{
	return current != NULL;
}

bool
loop_owned(const struct loop *l)
{
	return !l->running || loop_inside(l);
}

/* The eventfd is edge triggered: each write wakes, nobody needs to read it. */
static void
on_wake(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	loop_enter(arg);
}

static void
on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct loop *l = arg;

	(void)fd;
	(void)what;
	loop_enter(l);
	l->timer_set = TIME_NEVER;
}

static struct event_base *
make_base(void)
{
	struct event_config *config = event_config_new();
	struct event_base *base = NULL;

	if (config == NULL)
		return NULL;
	if (event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK) == 0 &&
	    event_config_set_flag(config, EVENT_BASE_FLAG_IGNORE_ENV) == 0 &&
	    event_config_require_features(config, EV_FEATURE_ET) == 0)
		base = event_base_new_with_config(config);
	event_config_free(config);
	return base;
}

int
loop_init(struct loop *l, const char *name, void (*turn)(void *), void *arg)
{
	memset(l, 0, sizeof(*l));
	l->wake_fd = -1;
	l->timer_at = l->timer_set = TIME_NEVER;
	l->turn = turn;
	l->arg = arg;
	l->now = clock_now();
	list_init(&l->deferred);
	DYN_ASSERT(strlen(name) < sizeof(l->name));
	memcpy(l->name, name, strlen(name) + 1);
	for (size_t i = 0; i < ARRAY_LEN(l->scratch); i++) {
		l->scratch[i] = mem_alloc(LOOP_SCRATCH);
		if (l->scratch[i] == NULL)
			goto fail;
	}
	l->base = make_base();
	if (l->base == NULL)
		goto fail;
	l->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (l->wake_fd < 0)
		goto fail;
	l->wake_event =
	    event_new(l->base, l->wake_fd, EV_READ | EV_ET | EV_PERSIST, on_wake, l);
	l->timer_event = evtimer_new(l->base, on_timer, l);
	if (l->wake_event == NULL || l->timer_event == NULL ||
	    event_add(l->wake_event, NULL) != 0)
		goto fail;
	return 0;
fail:
	loop_fini(l);
	return DYN_ENOMEM;
}

/* Run the letters that are there; the stack is turned round so that those of
 * one sender come in order. */
static void
drain(struct loop *l)
{
	struct letter *stack, *next, *queue = NULL;

	if (atomic_load_explicit(&l->mailbox, memory_order_relaxed) == NULL)
		return;
	stack = atomic_exchange_explicit(&l->mailbox, NULL, memory_order_acquire);
	for (; stack != NULL; stack = next) {
		next = stack->next;
		stack->next = queue;
		queue = stack;
	}
	for (; queue != NULL; queue = next) {
		next = queue->next;
		queue->run(queue);
	}
}

static void
run_deferred(struct loop *l)
{
	struct list *link;

	while ((link = list_pop(&l->deferred)) != NULL) {
		struct deferred *d = CONTAINER_OF(link, struct deferred, link);

		d->run(d);
	}
}

static bool
has_mail(const struct loop *l)
{
	return atomic_load_explicit(&l->mailbox, memory_order_relaxed) != NULL;
}

/* Set the timer event if the owner wants to be woken before it would fire.  If
 * it wants it later, the event is left: one turn for nothing costs less than
 * moving it each time the first of many deadlines goes. */
static bool
timer_due(struct loop *l)
{
	struct timeval tv;
	uint64_t us;

	if (l->timer_at >= l->timer_set)
		return false;
	if (l->timer_at <= l->now)
		return true;
	us = (l->timer_at - l->now + NS_PER_US - 1) / NS_PER_US;
	tv.tv_sec = (time_t)(us / 1000000);
	tv.tv_usec = (suseconds_t)(us % 1000000);
	if (event_add(l->timer_event, &tv) != 0)
		return true; /* no memory: do not sleep, try again */
	l->timer_set = l->timer_at;
	return false;
}

static void
finish_turn(struct loop *l)
{
	loop_enter(l);
	drain(l);
	if (l->turn != NULL)
		l->turn(l->arg);
	run_deferred(l);
}

static void *
thread_main(void *arg)
{
	struct loop *l = arg;
	bool poll;

	current = l;
	pthread_setname_np(pthread_self(), l->name);
	for (;;) {
		finish_turn(l);
		poll = has_mail(l);
		if (!poll && atomic_load_explicit(&l->stop, memory_order_acquire) &&
		    !has_mail(l))
			break;
		poll |= timer_due(l);
		l->awake = false;
		event_base_loop(
		    l->base, poll ? EVLOOP_ONCE | EVLOOP_NONBLOCK : EVLOOP_ONCE);
	}
	current = NULL;
	return NULL;
}

int
loop_start(struct loop *l)
{
	sigset_t all, old;
	int err;

	DYN_ASSERT(!l->running);
	atomic_store(&l->stop, false);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	/* Set before the thread is there: it asks loop_owned. */
	l->running = true;
	err = pthread_create(&l->thread, NULL, thread_main, l);
	if (err != 0)
		l->running = false;
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return err == 0 ? 0 : DYN_ENOMEM;
}

static void
wake(struct loop *l)
{
	uint64_t one = 1;
	ssize_t n;

	/* Fails only when the counter is about to overflow: after 2^64 wakes. */
	n = write(l->wake_fd, &one, sizeof(one));
	(void)n;
}

void
loop_post(struct loop *l, struct letter *letter)
{
	struct letter *head = atomic_load_explicit(&l->mailbox, memory_order_relaxed);

	do {
		letter->next = head;
	} while (!atomic_compare_exchange_weak_explicit(
	    &l->mailbox, &head, letter, memory_order_release, memory_order_relaxed));
	/* The thread itself looks into the mailbox before it sleeps. */
	if (head == NULL && !loop_inside(l))
		wake(l);
}

static void
bell_came(struct letter *l)
{
	struct bell *b = CONTAINER_OF(l, struct bell, letter);

	/* First: who rings from now on is not heard by this call. */
	(void)atomic_exchange(&b->rung, false);
	b->heard(b);
}

void
bell_init(struct bell *b, void (*heard)(struct bell *))
{
	b->letter.run = bell_came;
	b->heard = heard;
	atomic_init(&b->rung, false);
}

void
bell_ring(struct loop *l, struct bell *b)
{
	if (!atomic_exchange(&b->rung, true))
		loop_post(l, &b->letter);
}

void
loop_stop(struct loop *l)
{
	if (!l->running)
		return;
	DYN_ASSERT(!loop_inside(l));
	atomic_store_explicit(&l->stop, true, memory_order_release);
	wake(l);
	pthread_join(l->thread, NULL);
	l->running = false;
}

bool
loop_settle(struct loop *l)
{
	bool any = false;

	DYN_ASSERT(!l->running);
	while (has_mail(l) || !list_empty(&l->deferred)) {
		any = true;
		drain(l);
		run_deferred(l);
	}
	return any;
}

void
loop_fini(struct loop *l)
{
	(void)loop_settle(l);
	while (l->unfinished > 0) {
		event_base_loop(l->base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
		(void)loop_settle(l);
	}
	if (l->wake_event != NULL)
		event_free(l->wake_event);
	if (l->timer_event != NULL)
		event_free(l->timer_event);
	if (l->base != NULL)
		event_base_free(l->base);
	if (l->wake_fd >= 0)
		close(l->wake_fd);
	for (size_t i = 0; i < ARRAY_LEN(l->scratch); i++)
		mem_free(l->scratch[i]);
	memset(l, 0, sizeof(*l));
	l->wake_fd = -1;
	list_init(&l->deferred);
}

void
loop_wake_at(struct loop *l, uint64_t at)
{
	DYN_ASSERT(loop_owned(l));
	l->timer_at = at;
}

void
loop_defer(struct loop *l, struct deferred *d)
{
	DYN_ASSERT(loop_owned(l));
	if (list_empty(&d->link))
		list_add(&l->deferred, &d->link);
}
