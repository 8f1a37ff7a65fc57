/*
 * Names to addresses, without blocking the loop.
 *
 * Each question has a resolver of its own, which reads resolv.conf and hosts
 * anew: a process that lives for months meets other name servers than it
 * started with.  Names are asked for at each dial, never remembered.
 */
#ifndef DYN_RESOLVE_H
#define DYN_RESOLVE_H

#include "host/address.h"
#include "host/loop.h"

#define RESOLVE_MAX 8

struct resolve;
/* count addresses, at most RESOLVE_MAX; 0: why says what is wrong. */
typedef void resolve_done(
    void *arg, const struct address *list, size_t count, const char *why);

/* done is called once, later, unless cancelled.  DYN_ENOMEM. */
int resolve_start(struct resolve **out, struct loop *, const char *host, unsigned port,
    resolve_done *, void *arg) DYN_CHECK;
void resolve_cancel(struct resolve *); /* not once done was called */

#endif
