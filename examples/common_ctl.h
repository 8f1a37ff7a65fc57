/*
 * dynctl, inside: what its files share.
 */
#ifndef COMMON_CTL_H
#define COMMON_CTL_H

#include "common_bench.h"
#include "common_util.h"

enum exit_status {
	EXIT_DONE = 0,
	EXIT_USAGE = 1,    /* wrong arguments, a file that cannot be read or written */
	EXIT_OPEN = 2,     /* no way into the ring */
	EXIT_NO_KEY = 3,   /* get, del: no such key */
	EXIT_FAILED = 4,   /* the call failed; nothing was applied */
	EXIT_UNKNOWN = 5,  /* the write may be applied */
	EXIT_DEGRADED = 6, /* status: the ring answers, but not all is well */
};

struct ctl {
	struct dyn_options options;
	struct dyn_bucket_options how;
	struct bench_options bench;
	const char *bucket_name;
	const char *context_path, *save_context_path;
	bool json, blind;
	dyn_node *node;
	dyn_bucket *bucket;
	char **words; /* what follows the command */
	int word_count;
};

/* The commands; each returns an enum exit_status. */
int ctl_get(struct ctl *);
int ctl_put(struct ctl *);
int ctl_del(struct ctl *);
int ctl_members(struct ctl *);
int ctl_locate(struct ctl *);
int ctl_status(struct ctl *);
int ctl_plan(struct ctl *);
int ctl_change(struct ctl *);

/* The DYN_ name of a code. */
const char *ctl_error_name(int code);
/* Say that a call failed, in words of its own or dyn_strerror's; returns the
 * exit status for it. */
int ctl_fail(const struct ctl *, const char *what, int rc, const char *text);
int ctl_fail_call(const struct ctl *, const char *what, int rc);

/* The first digits of an id; the whole of it. */
void ctl_short_id(struct dyn_id, char text[33]);
void ctl_json_id(struct json *, const char *name, struct dyn_id);

#endif
