/*
 * From "host:port" to a connected socket: resolve, try each address in turn.
 */
#ifndef DYN_DIAL_H
#define DYN_DIAL_H

#include "host/resolve.h"

struct dial;
/* fd >= 0: connected, non-blocking, the receiver's to close.  Else why, and rc:
 * DYN_EADDRESS if the last address refused (nobody listens there), DYN_ECLOSED. */
typedef void dial_done(void *arg, int fd, int rc, const char *why);

/* done is called once, later, unless cancelled; before the time is over if no
 * address answers.  socket_buffer: see struct conn_config.
 * DYN_EINVAL (address), DYN_ENOMEM. */
int dial_start(struct dial **out, struct loop *, const char *address, unsigned timeout_ms,
    int socket_buffer, dial_done *, void *arg) DYN_CHECK;
/* The same for addresses that are known, at most RESOLVE_MAX.  DYN_ENOMEM. */
int dial_list(struct dial **out, struct loop *, const struct address *list, size_t count,
    unsigned timeout_ms, int socket_buffer, dial_done *, void *arg) DYN_CHECK;
void dial_cancel(struct dial *); /* not once done was called */

/* What every socket of ours is: non-blocking, not inherited, no delay, noticed
 * when the other machine is gone. */
void socket_prepare(int fd, int socket_buffer);

#endif
