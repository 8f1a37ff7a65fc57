/*
 * Detectors of a ring (core/detect.h) over a network under a virtual clock, and
 * nothing else: fast enough for thousands of node-hours.
 *
 * A connection is TCP as the detector meets it: in order, a lost segment is sent
 * again after 200 ms, then after twice that, and so on up to 30 s; all that comes
 * behind it waits for it.  A new connection (FX_RESET) needs an answer to its SYN,
 * which is sent again after 1 s, 3 s, 7 s.
 */
#ifndef DYN_DETECT_NET_H
#define DYN_DETECT_NET_H

#include "core/detect.h"
#include "test/core_script.h"

#define NET_NODES 26

struct net;

struct net *net_watch_new(unsigned nodes, uint64_t seed);
void net_watch_free(struct net *);
void net_watch_run(struct net *, uint64_t ms);
uint64_t net_watch_now(const struct net *); /* ms */
/* Of a segment, in a million. */
void net_watch_loss(struct net *, unsigned ppm);
/* One direction. */
void net_watch_cut(struct net *, char from, char to, bool cut);
/* It does nothing (SIGSTOP), and goes on. */
void net_watch_pause(struct net *, char, bool pause);
/* The process is gone: nobody listens.  Or is there again. */
void net_watch_kill(struct net *, char);
void net_watch_start(struct net *, char);
/* As when a request of `who` waits for `whom`. */
void net_watch_doubt(struct net *, char who, char whom);
enum dyn_liveness net_watch_thinks(const struct net *, char who, char of);
/* Times that a node was suspected by any other. */
unsigned net_watch_accusations(const struct net *);
unsigned net_watch_frames(const struct net *);

#endif
