/*
 * libdyn: a process that links it becomes a peer of a Dynamo ring.
 *
 * This header is the manual.  It is ordered by how deep a reader has to go:
 *
 *	1  slices, buffers, errors
 *	2  a node: open, close
 *	3  a bucket: a named set of keys with its own policy
 *	4  get, put, delete, update; results, receipts, contexts
 *	5  the same without blocking
 *	6  looking at the ring: members, status, statistics; changing it
 *	7  storage engines of your own
 *
 * Words.  The RING is the set of nodes that share one set of keys.  A NODE is
 * a process: a PEER stores data, a CLIENT only routes.  The keys are cut into
 * PARTITIONS; each has N OWNERS.  A VERSION is one write; versions of which
 * none has seen the other are SIBLINGS.  A CONTEXT says which versions
 * somebody has seen; passing the context of a read to the next write is what
 * makes the write replace what was read, and only that.
 *
 * Caveats, first:
 *  - get may return siblings.  Give the bucket a merge callback, or ask for
 *    last write wins, or handle the list.
 *  - DYN_EUNKNOWN is not DYN_EQUORUM: the first means "may have been applied",
 *    the second "certainly was not".
 *  - A put without a context replaces nothing that it has not seen.  It is
 *    nearly never what a program that read the key before wants.
 *  - After fork() the child may only free: every call returns DYN_EFORKED.
 *
 * Every call may be made from any thread unless it says otherwise; a blocking
 * call made from one of libdyn's callbacks returns DYN_EDEADLK.  libdyn
 * installs no signal handler, writes nothing to stderr, never calls exit().
 */
#ifndef DYN_H
#define DYN_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define DYN_VERSION_MAJOR 0
#define DYN_VERSION_MINOR 1
#define DYN_VERSION_PATCH 0
#define DYN_VERSION_STRING "0.1.0"

#if defined(__GNUC__)
#define DYN_API __attribute__((visibility("default")))
#define DYN_CHECK __attribute__((warn_unused_result))
#else
#define DYN_API
#define DYN_CHECK
#endif

/* ---------------------------------------------------------------- 1 basics */

/* Bytes somebody else owns. */
struct dyn_slice {
	const void *data;
	size_t len;
};

/* The bytes of a C string, without its final zero. */
DYN_API struct dyn_slice dyn_str(const char *s);

/* Bytes that grow.  Zeroed memory is an empty buffer. */
struct dyn_buffer {
	unsigned char *data;
	size_t len;
	size_t cap;
};

/* Append len bytes.  Returns 0 or DYN_ENOMEM (the buffer is as before). */
DYN_API int dyn_buffer_append(struct dyn_buffer *, const void *, size_t len) DYN_CHECK;
/* Free the bytes; the buffer is empty and may be used again. */
DYN_API void dyn_buffer_free(struct dyn_buffer *);

/*
 * Errors.  0 is success.  A number never changes its meaning.
 * dyn_strerror gives the sentence; it is a constant, never NULL.
 */
#define DYN_ERRORS(X)                                                          \
	X(DYN_EINVAL, -1, "invalid argument")                                  \
	X(DYN_ENOMEM, -2, "out of memory")                                     \
	X(DYN_ECLOSED, -3, "the node is closed or closing")                    \
	X(DYN_EFORKED, -4, "the node belongs to the parent process")           \
	X(DYN_EDEADLK, -5, "blocking call from a libdyn callback")             \
	X(DYN_EBUSY, -6, "too much work in progress, try again")               \
	X(DYN_ETOOBIG, -7, "key or value larger than the limit")               \
	X(DYN_ECONTEXT, -8, "damaged, forged or foreign context")              \
	X(DYN_ERING, -9, "another ring, or other settings of the ring")        \
	X(DYN_ELOCKED, -10, "the directory is in use by another process")      \
	X(DYN_EVERSION, -11, "format or protocol version not supported")       \
	X(DYN_EIO, -12, "storage input/output error")                          \
	X(DYN_EFULL, -13, "no space left for storage")                         \
	X(DYN_ETLS, -14, "TLS: certificate or handshake refused")              \
	X(DYN_ESIBLINGS, -15, "too many siblings, read and merge first")       \
	X(DYN_EQUORUM, -16, "too few owners reachable; nothing was applied")   \
	X(DYN_EUNKNOWN, -17, "outcome unknown; the write may be applied")      \
	X(DYN_ETIMEOUT, -18, "no answer within the deadline")                  \
	X(DYN_EADDRESS, -19, "address not usable")                             \
	X(DYN_EPROTO, -20, "malformed message from a peer")                    \
	X(DYN_ECORRUPT, -21, "stored data is damaged or not libdyn's")         \
	X(DYN_ECLOCK, -22, "time stamp too far in the future")                 \
	X(DYN_EMERGE, -23, "the merge or change callback failed")              \
	X(DYN_EREADONLY, -24, "the directory cannot be written")               \
	X(DYN_EMOVED, -25, "the partition has other owners now")               \
	X(DYN_ENOTFOUND, -26, "no such entry")                                 \
	X(DYN_EFENCED, -27, "another process runs as this node")               \
	X(DYN_ELEFT, -28, "the node has left the ring, or was forgotten by it")

enum dyn_error_code {
	DYN_OK = 0,
#define X(name, number, text) name = number,
	DYN_ERRORS(X)
#undef X
};

/* What went wrong, in words with the particulars (path, address, ...). */
struct dyn_error {
	int code;
	char text[256];
};

DYN_API const char *dyn_strerror(int code);
DYN_API const char *dyn_version(void);

/* Sizes that are part of the interface, in bytes. */
#define DYN_KEY_MAX 1024          /* a key has 1..1024 bytes */
#define DYN_BUCKET_MAX 64         /* a bucket's name has 1..64 bytes */
#define DYN_VALUE_DEFAULT 1048576 /* value_max where the option is 0 */
#define DYN_VALUE_LIMIT 67108864  /* the largest value_max: 64 MiB */
#define DYN_N_MAX 8               /* the largest N */
#define DYN_ADDRESS_MAX 256       /* "host:port" with its final zero */
#define DYN_LOCATION_MAX 256      /* "dc/zone/rack/machine", likewise */

/* ---------------------------------------------------------------- 2 a node */

typedef struct dyn_node dyn_node;       /* a peer, a client or a local store */
typedef struct dyn_bucket dyn_bucket;   /* a named set of keys, its policy */
typedef struct dyn_result dyn_result;   /* what one call brought */
typedef struct dyn_context dyn_context; /* causal context: opaque */
typedef struct dyn_plan dyn_plan;       /* orders that change the ring */
struct dyn_engine;                      /* section 7 */

/* Names a node for its whole life, whatever its address; random. */
struct dyn_id {
	unsigned char bytes[16];
};

enum dyn_role {
	DYN_PEER = 0, /* stores its share of the ring */
	DYN_CLIENT,   /* stores nothing, routes by the same table */
	DYN_LOCAL     /* stores everything here, talks to nobody */
};

enum dyn_join {
	DYN_JOIN_AUTO = 0, /* new directory: join through the seeds; without
	                    * seeds, or if this node is the first of them and
	                    * no other answers, create the ring */
	DYN_JOIN_CREATE,   /* new directory: create a ring, ask nobody */
	DYN_JOIN_ONLY,     /* new directory: join, never create */
	DYN_JOIN_WAIT      /* new directory: be known to the ring, and join when
	                    * that is ordered (dyn_plan_join): so several join by
	                    * one change */
};

/* When may a write be called stored at one node? */
enum dyn_durability {
	DYN_DURABLE_DEFAULT = 0, /* the bucket's; a bucket's default is disk */
	DYN_DURABLE_DISK,        /* fsync has returned (commits are shared) */
	DYN_DURABLE_OS,          /* the operating system has it */
	DYN_DURABLE_MEMORY       /* the process has it */
};

enum dyn_hash {
	DYN_HASH_SHA256 = 0, /* first 128 bits; works where MD5 is forbidden */
	DYN_HASH_MD5         /* as in the paper (section 4.1) */
};

/* Where the callbacks of the calls in section 5 run. */
enum dyn_callbacks {
	DYN_ON_WORKER = 0, /* on a thread of libdyn */
	DYN_ON_DISPATCH    /* inside dyn_dispatch(), on your own loop */
};

enum dyn_log_level { DYN_LOG_ERROR = 0, DYN_LOG_WARNING, DYN_LOG_INFO, DYN_LOG_DEBUG };

/* One line, no newline, valid until the callback returns.  Any thread, also
 * several at once.  It must not call libdyn. */
typedef void dyn_log(void *arg, enum dyn_log_level level, const char *line);

/*
 * Options of dyn_open.  Start from DYN_OPTIONS_INIT; zero means the default.
 * All strings are copied.  None may be changed while the node is open.
 */
struct dyn_options {
	size_t size; /* set by DYN_OPTIONS_INIT */

	/* What the node is.  Default DYN_PEER. */
	enum dyn_role role;
	/* Name of the ring, 1..64 bytes.  Nodes with another name refuse each
	 * other with DYN_ERING.  Default "dyn". */
	const char *ring;
	/* Data directory, created (mode 0700) if missing.  One process at a
	 * time.  NULL: a client, or a peer that keeps its share in memory and
	 * is a new node at each start.  Default NULL. */
	const char *dir;
	/* "host:port" to accept peers on; port 0 takes any free one.  IPv6 as
	 * "[::1]:7000".  Needed by a peer; must be NULL for the others. */
	const char *listen;
	/* "host:port" the other nodes use to reach this one.  Default: the
	 * address listened on.  Needed when listening on 0.0.0.0 or [::]. */
	const char *advertise;
	/* "host:port,host:port": addresses to try first.  They need not be up,
	 * nor all be known; a node that knows the ring does not need any. */
	const char *seeds;
	/* See enum dyn_join.  Only read when the directory is new. */
	enum dyn_join join;
	/* "dc/zone/rack/machine", labels of 1..63 bytes without '/'; fewer
	 * labels fill from the left.  Two peers with the same machine never
	 * hold the same key; its copies are spread evenly over zones, then over
	 * the racks of a zone, which comes before weights.  Peers without a zone
	 * share one.  A node that does not own a key has its writes coordinated by
	 * the owner that is nearest to it (machine, rack, zone, dc), if that one
	 * answers, and a get asks the nearest first; so give a client its location
	 * too.  Default: zone unset, machine = this host's
	 * machine id, or, if the advertised address is a loopback address,
	 * a machine of its own. */
	const char *location;
	/* Share of the ring relative to others, 1..10000; twice the weight is
	 * twice the data.  Default 100. */
	unsigned weight;

	/* Replicas of each key, 1..DYN_N_MAX.  Larger survives more losses and
	 * costs more.  Read when the ring is created; a peer that gives
	 * another number than the ring has gets DYN_ERING.  Default 3
	 * (1 for DYN_LOCAL). */
	unsigned n;
	/* Answers that make a read (r) and a write (w) succeed, 1..n.  With
	 * r + w > n a read sees the latest acknowledged write.  Default 2, or
	 * n if that is smaller. */
	unsigned r, w;
	/* Number of partitions, a power of two, 16..65536; like n read when
	 * the ring is created.  Larger balances better between many nodes and
	 * costs 2n bytes each in every node.  Default 1024. */
	unsigned partitions;
	/* Like n, read when the ring is created.  Default DYN_HASH_SHA256. */
	enum dyn_hash hash;

	/* Threads that serve requests, 1..64.  Default 1. */
	unsigned workers;
	/* Deadline of a call that gives none, 1..3600000 ms.  Default 5000. */
	unsigned timeout_ms;
	/* How long dyn_open waits for a seed when it has to join,
	 * 1..3600000 ms.  Default 10000. */
	unsigned open_timeout_ms;
	/* Bytes that requests in progress, queues and unwritten data may take
	 * before calls get DYN_EBUSY; at least 16 MiB.  Default 256 MiB. */
	size_t memory_max;
	/* Largest value in bytes, up to DYN_VALUE_LIMIT.
	 * Default DYN_VALUE_DEFAULT. */
	size_t value_max;
	/* Siblings of one key at which a put without the context that covers
	 * them is refused with DYN_ESIBLINGS, 2..1000.  Default 100. */
	unsigned siblings_max;
	/* Last-write-wins time stamps further ahead of this node's clock are
	 * refused with DYN_ECLOCK, in ms, 1..86400000.  Default 60000. */
	unsigned skew_max_ms;

	/* PEM files: the ring's authority, this node's certificate and key.
	 * All three or none.  With them every connection is TLS 1.3 in which
	 * both sides prove a certificate of that authority, and a peer's
	 * certificate must name the host it advertises. */
	const char *tls_ca, *tls_cert, *tls_key;
	/* Non-zero: listen on other than loopback addresses without TLS.
	 * Whoever reaches the port can then read and write everything. */
	int insecure;

	/* Lines about what happens.  Default: none. */
	dyn_log *log;
	void *log_arg;
	/* Least important level that is logged.  Default DYN_LOG_ERROR; most
	 * programs want DYN_LOG_INFO. */
	enum dyn_log_level log_level;
	/* See enum dyn_callbacks.  Default DYN_ON_WORKER. */
	enum dyn_callbacks callbacks;
	/* Storage of your own (section 7), used instead of SQLite.  It belongs
	 * to the node once dyn_open was called, also if that fails: its close
	 * is called.  Default NULL: SQLite in dir, or memory without one. */
	struct dyn_engine *engine;

	/* Bytes of hints this node keeps for owners that are down.  From three
	 * quarters of it on they are handed to the other owners of their keys
	 * instead, and at it new ones are refused: writes then look for another
	 * stand-in.  Where n is less than 3 none are handed over: that could leave
	 * one copy.  Larger lets more nodes be away for longer.
	 * Default 256 MiB. */
	uint64_t hint_bytes_max;
	/* Hints of an owner that has been away longer are handed to the other
	 * owners too, in ms, at most 10 years.  Default 86400000, a day. */
	uint64_t hint_age_max_ms;
	/* 32 hexadecimal digits: the id that a new directory (or a peer in
	 * memory) takes instead of a random one.  With the id of a member whose
	 * directory was lost, it is that member again: its share comes back from
	 * the others, and until it has, "not found" here counts for no read.  Give
	 * DYN_JOIN_ONLY too: a first seed that meets nobody would found another
	 * ring.  A directory of another node is refused with DYN_EINVAL, so the
	 * option may stay where it is.  Default NULL: a new node. */
	const char *id;
	/* How often this node collects tombstones, expired versions, and entries
	 * of clocks that have grown, in ms, 100..86400000.  It takes all members
	 * to be there, and a step of all of them to a next table (with the same
	 * owners) at most twice as often as this.  Larger: they stay for longer,
	 * and it costs less.  Default 60000. */
	uint64_t collect_period_ms;
};

#ifdef __cplusplus
#define DYN_OPTIONS_INIT {sizeof(struct dyn_options)}
#else
#define DYN_OPTIONS_INIT {.size = sizeof(struct dyn_options)}
#endif

/*
 * Open a node: take the directory, recover, listen, and, where the directory
 * is new, join or create the ring.  Blocks while it does (a join at most
 * open_timeout_ms).  A node that was a member before comes back without
 * needing anybody.
 *   out      the node; NULL on failure
 *   options  see there; NULL is allowed for all defaults, which fail for want
 *            of a listen address
 *   error    may be NULL; else gets the code and a sentence, also on success
 * Returns    0; DYN_EINVAL; DYN_ENOMEM; DYN_EADDRESS (cannot listen there, or
 *            not loopback and neither TLS nor insecure); DYN_ERING;
 *            DYN_ELEFT (it was removed from the ring); DYN_ELOCKED;
 *            DYN_EREADONLY; DYN_EFULL; DYN_EIO; DYN_ECORRUPT; DYN_EVERSION;
 *            DYN_ETLS; DYN_ETIMEOUT (no seed answered)
 * Lifetime   until dyn_close.
 */
DYN_API int dyn_open(dyn_node **out, const struct dyn_options *options,
    struct dyn_error *error) DYN_CHECK;

/*
 * Stop: refuse new calls, let those in progress end, write everything, tell
 * the peers, join the threads, free.  The node's share of the ring stays its
 * own; opening the directory again resumes it.
 *   deadline_ms  how long calls in progress may take; then they are answered
 *                with DYN_ECLOSED (writes with DYN_EUNKNOWN).  0 = at once
 * Returns    0; DYN_ETIMEOUT if calls had to be cut off; DYN_EIO or DYN_EFULL
 *            if not all could be written; DYN_EDEADLK from a callback (then
 *            nothing happened); DYN_EFORKED in a child (memory is freed).
 *            In all cases but DYN_EDEADLK the node is gone, and with it its
 *            buckets.  Results and contexts stay valid.
 * Threads    any, but no other call on the node may come after it started.
 */
DYN_API int dyn_close(dyn_node *, unsigned deadline_ms);

/* This node's id, the address it listens on (port filled in; "" if none). */
DYN_API struct dyn_id dyn_self(const dyn_node *);
DYN_API const char *dyn_address(const dyn_node *);
/* An id as 32 hexadecimal digits, and back (DYN_EINVAL). */
DYN_API void dyn_id_format(struct dyn_id, char text[33]);
DYN_API int dyn_id_parse(struct dyn_id *, const char *text) DYN_CHECK;

/* --------------------------------------------------------------- 3 buckets */

enum dyn_policy {
	DYN_MERGE = 0, /* siblings go through the merge callback at the reader */
	DYN_LWW,       /* the version with the latest time stays; others go */
	DYN_SIBLINGS   /* get returns all siblings as they are */
};

/*
 * Make one value out of two or more concurrent ones.  It must not depend on
 * their order or grouping (dyn_merge_check tries that), since every reader
 * merges for itself.
 *   values   count of them, 2 or more, in an order that means nothing
 *   out      empty; append the merged value
 * Returns    0, or anything else: the get fails with DYN_EMERGE.
 * Threads    the thread of the blocking call; a worker or dyn_dispatch for
 *            the asynchronous ones.  It must not make blocking calls.
 */
typedef int dyn_merge(void *arg, struct dyn_slice key, const struct dyn_slice *values,
    size_t count, struct dyn_buffer *out);

/* Zero means default.  The policy is stamped on every version written. */
struct dyn_bucket_options {
	size_t size;    /* set by DYN_BUCKET_OPTIONS_INIT */
	unsigned n;     /* replicas, 1..the ring's n.  Default the ring's */
	unsigned r, w;  /* 1..n.  Default the node's r and w, at most n */
	enum dyn_policy policy; /* Default DYN_MERGE */
	dyn_merge *merge;       /* NULL with DYN_MERGE acts as DYN_SIBLINGS */
	void *arg;              /* passed to merge */
	enum dyn_durability durability; /* Default DYN_DURABLE_DISK */
	/* Versions written through this bucket expire so many ms after their
	 * write, on every replica at the same time stamp.  Default 0: never. */
	uint64_t expiry_ms;
	unsigned timeout_ms;    /* Default the node's */
};

#ifdef __cplusplus
#define DYN_BUCKET_OPTIONS_INIT {sizeof(struct dyn_bucket_options)}
#else
#define DYN_BUCKET_OPTIONS_INIT {.size = sizeof(struct dyn_bucket_options)}
#endif

/* Presets: fill r and w for a bucket of n replicas.
 *   balanced       (3,2,2): survives one loss for both (paper section 6)
 *   read_mostly    R=1, W=N: the read engine of section 6
 *   always_writable W=1: refuses only if no owner is reachable (4.6) */
DYN_API void dyn_preset_balanced(struct dyn_bucket_options *, unsigned n);
DYN_API void dyn_preset_read_mostly(struct dyn_bucket_options *, unsigned n);
DYN_API void dyn_preset_always_writable(struct dyn_bucket_options *, unsigned n);

/*
 * Name a set of keys and say how to treat it.  Nothing is created anywhere: a
 * bucket exists as long as it has keys.  The same name may be opened twice
 * with different options.
 *   name     1..DYN_BUCKET_MAX bytes
 *   options  NULL for all defaults
 * Returns    0; DYN_EINVAL (also r or w above n); DYN_ENOMEM; DYN_ECLOSED;
 *            DYN_EFORKED
 * Lifetime   until dyn_bucket_close or dyn_close, whichever is first.
 */
DYN_API int dyn_bucket_open(dyn_bucket **out, dyn_node *, const char *name,
    const struct dyn_bucket_options *options) DYN_CHECK;
/* Forget the handle.  Calls in progress go on.  NULL is allowed. */
DYN_API void dyn_bucket_close(dyn_bucket *);

/*
 * Try a merge callback for commutativity, associativity and idempotence on
 * every triple of the samples (at most the first 32 samples).
 *   error    may be NULL; else says which law failed on which samples
 * Returns    0 if no law was broken; DYN_EMERGE; DYN_EINVAL (fewer than 2
 *            samples); DYN_ENOMEM
 * Threads    any; calls merge on this thread.
 */
DYN_API int dyn_merge_check(dyn_merge *merge, void *arg, struct dyn_slice key,
    const struct dyn_slice *samples, size_t count, struct dyn_error *error) DYN_CHECK;

/* ----------------------------------------------------- 4 get, put and kin */

enum {
	/* Count only owners towards r and w, no stand-ins.  Only then a read
	 * with r + w > n is sure to see the latest acknowledged write. */
	DYN_STRICT = 1,
	/* put, delete: replace what the coordinator knows when it handles the
	 * call, as if its context had been given. */
	DYN_OVERWRITE = 2,
	/* get: this node's own copy only, no network, no repair. */
	DYN_HERE = 4
};

/* Zero means: as the bucket has it.  A NULL struct dyn_call is all zero. */
struct dyn_call {
	unsigned r, w;       /* answers to wait for, 1..n */
	unsigned timeout_ms; /* the call returns by then, plus at most a second */
	unsigned zone_w;     /* w must come from so many zones.  Default 1 */
	enum dyn_durability durability;
	unsigned flags;      /* DYN_STRICT | DYN_OVERWRITE | DYN_HERE */
	uint64_t expiry_ms;  /* of this version; 0 = as the bucket has it */
};

/* Who had stored or answered when the call was answered. */
struct dyn_receipt {
	unsigned owners;   /* owners of the key; while it gets others: of the old or of
	                    * the new ones, whichever are fewer */
	unsigned standins; /* others that stand in for an owner */
	unsigned machines; /* distinct machines among them */
	unsigned zones;    /* distinct zones among them */
	unsigned on_disk;  /* of those, how many have it on disk */
	struct dyn_id coordinator;
};

/*
 * Read a key: ask its owners, and the stand-ins of those that are down, wait
 * for r of them, return every version that no other version has seen, run the
 * merge callback if there are several, and bring stale owners up to date
 * afterwards (read repair).
 *   key      1..DYN_KEY_MAX bytes
 *   call     may be NULL
 *   out      the result; free it with dyn_result_free.  NULL on failure
 * Returns    0, also if there is no such key (dyn_result_count is 0);
 *            DYN_EINVAL; DYN_ENOMEM; DYN_ETOOBIG; DYN_EQUORUM (fewer than r
 *            can be reached that know the key; with DYN_STRICT, owners);
 *            DYN_ETIMEOUT; DYN_EMERGE; DYN_EIO or DYN_ECORRUPT (with
 *            DYN_HERE, or DYN_LOCAL); DYN_EBUSY; DYN_ECLOSED; DYN_EFORKED; DYN_EDEADLK
 * Threads    any but a callback of libdyn.
 */
DYN_API int dyn_get(dyn_bucket *, struct dyn_slice key, const struct dyn_call *call,
    dyn_result **out) DYN_CHECK;

/*
 * Write a version: it replaces exactly the versions the context covers, and
 * is a sibling of all others.  Coordinated by an owner of the key.  For owners
 * that are down stand-ins keep it until those are back (hinted handoff); if no
 * owner can be reached, a stand-in coordinates.  DYN_STRICT counts owners only.
 *   context  from a result of the same ring, bucket and key; NULL = this
 *            write has seen nothing
 *   value    0..value_max bytes, copied before the call returns
 *   out      may be NULL.  Else the result holds the receipt and a context
 *            that covers what was given plus this version: a later put with
 *            it replaces this version.  Set on 0 and, with the receipt of
 *            what is known, on DYN_EUNKNOWN; else NULL
 * Returns    0: stored on w machines;
 *            DYN_EQUORUM: certainly not applied;
 *            DYN_EUNKNOWN: may be applied, now or later; a retry with the
 *            same context is safe and makes a sibling at worst;
 *            DYN_ECONTEXT; DYN_ESIBLINGS; DYN_ETOOBIG; DYN_EINVAL;
 *            DYN_ENOMEM; DYN_EFULL; DYN_EIO; DYN_ECORRUPT; DYN_EREADONLY;
 *            DYN_ECLOCK; DYN_EBUSY; DYN_ECLOSED; DYN_EFORKED; DYN_EDEADLK:
 *            not applied
 * Threads    any but a callback of libdyn.
 */
DYN_API int dyn_put(dyn_bucket *, struct dyn_slice key, const dyn_context *context,
    struct dyn_slice value, const struct dyn_call *call, dyn_result **out) DYN_CHECK;

/*
 * Delete: remove exactly the versions the context covers; siblings that it
 * does not cover stay.  A delete without context and without DYN_OVERWRITE
 * has seen nothing, could remove nothing, and is refused with DYN_EINVAL.
 * (With DYN_LWW a delete is a write that removes all with an earlier time;
 * there the context may be NULL.)
 * Arguments, results, threads: like dyn_put.
 */
DYN_API int dyn_delete(dyn_bucket *, struct dyn_slice key, const dyn_context *context,
    const struct dyn_call *call, dyn_result **out) DYN_CHECK;

/*
 * Change a value: called by dyn_update with what a read found.
 *   value    NULL if there is no such key
 *   out      empty; append the new value
 * Returns    DYN_CHANGE_WRITE: write out; DYN_CHANGE_NOTHING: leave the key;
 *            DYN_CHANGE_DELETE: delete it; negative: give up, dyn_update
 *            returns that number
 */
enum { DYN_CHANGE_WRITE = 0, DYN_CHANGE_NOTHING = 1, DYN_CHANGE_DELETE = 2 };
typedef int dyn_change(void *arg, struct dyn_slice key, const struct dyn_slice *value,
    struct dyn_buffer *out);

/*
 * Read, merge, change, write with the read's context.  Concurrent updates
 * become siblings that the next reader merges: no update is lost.  This is
 * not a transaction: the change of another update may be concurrent.
 *   out      may be NULL; else holds the value written, context and receipt
 * Returns    as dyn_get and dyn_put; DYN_EMERGE if siblings are left because
 *            the bucket has no merge callback; or what change returned
 */
DYN_API int dyn_update(dyn_bucket *, struct dyn_slice key, dyn_change *change, void *arg,
    const struct dyn_call *call, dyn_result **out) DYN_CHECK;

/* Values of a result: 0 = no such key.  After a merge, 1. */
DYN_API size_t dyn_result_count(const dyn_result *);
/* The i-th, 0 <= i < count; empty slice outside.  Lives with the result. */
DYN_API struct dyn_slice dyn_result_value(const dyn_result *, size_t i);
/* When the i-th was written: ms since 1970 by its coordinator's clock, or 0. */
DYN_API uint64_t dyn_result_time(const dyn_result *, size_t i);
/* Siblings the read found before merging: the paper's health figure (6.3). */
DYN_API size_t dyn_result_siblings(const dyn_result *);
/* Covers exactly the versions returned.  Lives with the result; never NULL. */
DYN_API const dyn_context *dyn_result_context(const dyn_result *);
DYN_API const struct dyn_receipt *dyn_result_receipt(const dyn_result *);
/* NULL is allowed. */
DYN_API void dyn_result_free(dyn_result *);

/*
 * A context as bytes: to be kept in a session or sent to a browser.  Opaque,
 * versioned, bound to ring, bucket and key, and sealed with the ring's secret:
 * changing it makes it useless, not dangerous.
 *   buf, cap  where to; NULL and 0 to learn the size
 *   len       out: bytes needed or written
 * Returns    0; DYN_ETOOBIG if cap is too small (len says how much);
 *            DYN_EINVAL; DYN_ENOMEM
 */
DYN_API int dyn_context_encode(const dyn_context *, void *buf, size_t cap, size_t *len) DYN_CHECK;
/*
 * Back from bytes.  Truncated or damaged bytes are refused here; a context of
 * another ring or key, or a forged one, by the call that it is given to.
 * Returns    0; DYN_ECONTEXT; DYN_EVERSION (made by a newer libdyn);
 *            DYN_EINVAL; DYN_ENOMEM
 * Lifetime   until dyn_context_free; it does not need the node.
 */
DYN_API int dyn_context_decode(dyn_context **out, const void *bytes, size_t len) DYN_CHECK;
/* A copy that outlives the result.  Free it with dyn_context_free. */
DYN_API int dyn_context_copy(dyn_context **out, const dyn_context *) DYN_CHECK;
/* Only for contexts from decode and copy.  NULL is allowed. */
DYN_API void dyn_context_free(dyn_context *);

/* ------------------------------------------------------- 5 without blocking */

/*
 * Called exactly once for each call below that returned 0, never before that
 * call has returned.
 *   rc, result  as the blocking call would return; the result, where there
 *               is one, now belongs to the callee: dyn_result_free it
 * Threads    see enum dyn_callbacks.  It may make asynchronous calls.
 */
typedef void dyn_done(void *arg, int rc, dyn_result *result);

/* As above, but return at once: 0 (done will be called), or DYN_EINVAL,
 * DYN_ENOMEM, DYN_ETOOBIG, DYN_ECONTEXT, DYN_EBUSY, DYN_ECLOSED, DYN_EFORKED:
 * then done is not called.  Key, value, context and call are copied.  Callable
 * from callbacks. */
DYN_API int dyn_get_async(dyn_bucket *, struct dyn_slice key, const struct dyn_call *call,
    dyn_done *done, void *arg) DYN_CHECK;
DYN_API int dyn_put_async(dyn_bucket *, struct dyn_slice key, const dyn_context *context,
    struct dyn_slice value, const struct dyn_call *call, dyn_done *done, void *arg) DYN_CHECK;
DYN_API int dyn_delete_async(dyn_bucket *, struct dyn_slice key, const dyn_context *context,
    const struct dyn_call *call, dyn_done *done, void *arg) DYN_CHECK;
/* change runs where done runs; change_arg must live until done is called. */
DYN_API int dyn_update_async(dyn_bucket *, struct dyn_slice key, dyn_change *change,
    void *change_arg, const struct dyn_call *call, dyn_done *done, void *arg) DYN_CHECK;

/*
 * Callbacks on the application's own loop (options.callbacks =
 * DYN_ON_DISPATCH): wait until the descriptor is readable, then call
 * dyn_dispatch, which runs the callbacks that are due.
 * dyn_fd returns the descriptor (do not read or close it), or DYN_EINVAL,
 * DYN_EFORKED.  dyn_dispatch returns how many callbacks it ran, or DYN_EINVAL,
 * DYN_EFORKED, DYN_EDEADLK (called from inside a callback).
 */
DYN_API int dyn_fd(dyn_node *);
DYN_API int dyn_dispatch(dyn_node *);

/* -------------------------------------------------------- 6 seeing the ring */

/* What a node thinks of another: its own judgement, from whether it answers. */
enum dyn_liveness {
	DYN_LIVE = 0, /* it answers */
	DYN_DOUBTED,  /* silent for a while; being asked, also by way of others */
	DYN_SUSPECT   /* silent for seconds, or nobody is at its address: requests go
	               * round it, others stand in; it is asked again for good */
};

/* Whether a node takes part in the ring. */
enum dyn_membership {
	DYN_WAITING = 1, /* it may be asked to join (DYN_JOIN_WAIT) */
	DYN_JOINED,
	DYN_LEAVING      /* others take over what it owns */
};

/* One member of the ring as this node sees it. */
struct dyn_member {
	struct dyn_id id;
	char address[DYN_ADDRESS_MAX];
	char location[DYN_LOCATION_MAX];
	unsigned weight;
	unsigned partitions; /* how many it owns by the current table */
	int self;            /* it is this node */
	int reachable;       /* a connection stands, and it is not suspected */
	int synced;          /* it holds all it owns by the current table */
	uint64_t incarnation;
	enum dyn_liveness liveness; /* this node itself: DYN_LIVE */
	enum dyn_membership membership;
};

/* The members, and those that wait to be asked to join, ordered by id.  Free with dyn_members_free.
 * Returns 0, DYN_ENOMEM, DYN_EINVAL, DYN_ECLOSED, DYN_EFORKED. */
DYN_API int dyn_members(dyn_node *, struct dyn_member **out, size_t *count) DYN_CHECK;
DYN_API void dyn_members_free(struct dyn_member *);

/*
 * Who stores a key: its preference list (paper 4.3), computed here without
 * asking anybody.  The first *owners are the owners, the rest the stand-ins
 * in the order they would be used.
 *   ids, cap   where to; cap 0 to learn the count
 *   count      out: how many there are in all (may exceed cap)
 *   owners     out: how many of them are owners; may be NULL
 *   partition  out: the key's partition; may be NULL
 * Returns 0, DYN_EINVAL, DYN_ETOOBIG, DYN_ECLOSED, DYN_EFORKED.
 */
DYN_API int dyn_locate(dyn_bucket *, struct dyn_slice key, struct dyn_id *ids, size_t cap,
    size_t *count, size_t *owners, unsigned *partition) DYN_CHECK;

/* State of a node.  Set size first (DYN_STATUS_INIT). */
struct dyn_status {
	size_t size;
	struct dyn_id ring_id;       /* drawn when the ring was created */
	struct dyn_id node;
	uint64_t epoch;              /* of the table in use */
	unsigned char digest[16];    /* of that table */
	unsigned n, partitions;
	unsigned members;            /* of the ring, this node included */
	unsigned reachable;          /* of those */
	unsigned agreed;             /* members known to use the same table */
	unsigned owned;              /* partitions this node owns */
	unsigned pending;            /* of those, not yet pulled completely */
	unsigned under_replicated;   /* partitions with fewer than n owners */
	unsigned moving;             /* 1 while an older table still answers reads */
	uint64_t keys;               /* stored here, tombstones included; estimate */
	uint64_t bytes;              /* of their objects; estimate */
	uint64_t unwritten_bytes;    /* accepted, not yet on disk */
	uint64_t memory_bytes;       /* counted against memory_max */
	uint64_t uptime_ms;
	int storage_error;           /* the last one, of reading too, or 0 */
	uint64_t hints, hint_bytes;  /* copies kept here for owners that were down */
	uint64_t hint_age_ms;        /* of the oldest of them, at most; 0 = none */
	uint64_t hints_waiting;      /* kept by others for this node, as heard */
	uint64_t hints_dirty;        /* (owner, partition) pairs whose hints went
	                              * to the other owners instead */
	int safe_to_stop;            /* 1: nothing moves or catches up, every
	                              * member can be reached, no hints wait here
	                              * or for this node, nothing is unwritten:
	                              * stopping this node now leaves all keys on
	                              * n - 1 others */
	unsigned catching;           /* partitions owned whose copy here may lack
	                              * something; it counts for no read until it
	                              * was compared with every other owner's */
	unsigned differing;          /* partitions owned that were not equal with
	                              * another owner's when last compared */
	uint64_t lag_ms;             /* for how long some copy here was not known
	                              * to be equal with all others, at most */
	unsigned unhashed;           /* partitions owned that cannot be compared
	                              * yet: their hash tree is being built */
	uint64_t damaged;            /* partitions whose rows were found not to be
	                              * what was written, since the start */
	int failure;                 /* why the node takes no more calls
	                              * (DYN_EFENCED, DYN_ELEFT), or 0 */
	unsigned awaited;            /* moving: members that have not followed to the
	                              * present step of the change of owners */
	struct dyn_id awaits;        /* one of them: if it is dead for good, have it
	                              * forgotten */
	int membership;              /* enum dyn_membership; 0: this node has left the
	                              * ring, or is a client */
	unsigned level;              /* feature level this node speaks */
	unsigned ring_level;         /* the lowest that its members speak, as heard;
	                              * 0 until all have been heard once */
};
#ifdef __cplusplus
#define DYN_STATUS_INIT {sizeof(struct dyn_status)}
#else
#define DYN_STATUS_INIT {.size = sizeof(struct dyn_status)}
#endif

/* Returns 0, DYN_EINVAL, DYN_ECLOSED, DYN_EFORKED. */
DYN_API int dyn_status(dyn_node *, struct dyn_status *) DYN_CHECK;

/* A latency histogram: microseconds below which the share of calls stays. */
struct dyn_latency {
	uint64_t count;
	uint64_t mean_us, p50_us, p90_us, p99_us, p999_us, max_us;
};

/* Counters since the node was opened.  Set size first (DYN_STATS_INIT). */
struct dyn_stats {
	size_t size;
	uint64_t gets, puts, deletes;      /* calls that ended, on this node */
	uint64_t failed, unknown, refused; /* of those: not applied, unknown,
	                                    * refused as DYN_EBUSY */
	uint64_t merges;                   /* gets that had to merge siblings */
	uint64_t versions[4];              /* gets that found 1, 2, 3, more */
	uint64_t coordinated;              /* requests this node coordinated */
	uint64_t forwarded;                /* requests sent on to an owner */
	uint64_t moved;                    /* requests repeated with a newer table */
	uint64_t repairs;                  /* stale copies brought up to date */
	uint64_t replica_gets, replica_puts; /* served for other coordinators */
	uint64_t commits, commit_rows;     /* storage transactions, their rows */
	uint64_t pulled_rows;              /* got while joining */
	uint64_t frames_in, frames_out, bytes_in, bytes_out;
	uint64_t protocol_errors;          /* connections closed for bad frames */
	uint64_t gossip_rounds, gossip_bytes;
	struct dyn_latency get_latency, put_latency; /* of calls on this node */
	struct dyn_latency commit_latency;
	uint64_t hinted;                   /* writes taken as a stand-in */
	uint64_t hints_delivered;
	uint64_t exchanges;                /* comparisons with others that ended */
	uint64_t exchange_took, exchange_gave; /* rows that were brought by them */
	uint64_t verified;                 /* partitions read again and checked */
	uint64_t forgotten;                /* rows whose tombstone, or old entries of
	                                    * whose clock, were collected here */
	uint64_t to_forget;                /* rows that wait for that, as far as this
	                                    * node leads their partition */
	uint64_t frames_skipped;           /* of kinds that only newer nodes know */
};
#ifdef __cplusplus
#define DYN_STATS_INIT {sizeof(struct dyn_stats)}
#else
#define DYN_STATS_INIT {.size = sizeof(struct dyn_stats)}
#endif

/* Returns 0, DYN_EINVAL, DYN_ECLOSED, DYN_EFORKED. */
DYN_API int dyn_stats(dyn_node *, struct dyn_stats *) DYN_CHECK;

/*
 * Status and statistics of another member, asked over the ring.
 *   stats    may be NULL
 * Returns 0; DYN_ENOTFOUND (no such member); DYN_EQUORUM (not reachable);
 * DYN_ETIMEOUT; and what dyn_status returns.  Blocks.
 */
DYN_API int dyn_member_status(dyn_node *, struct dyn_id, unsigned timeout_ms,
    struct dyn_status *, struct dyn_stats *stats) DYN_CHECK;

/*
 * Changing the ring (paper 4.8.1: membership is explicit).  A node that opens a new
 * directory with seeds joins by itself; all else is ordered, by any peer or client:
 *
 *	join      a node that waits (DYN_JOIN_WAIT) becomes an owner
 *	leave     others take over what a node owns, and what it keeps for others; then
 *	          it has left, and may be closed
 *	forget    a node that is dead for good is not waited for any more.  What only
 *	          it had is lost; if it lives, it stops (DYN_ELEFT) once it hears of it,
 *	          and until then may read what is old, or have others do so
 *	replace   join and forget at once: the one gets what the other had
 *	weight    a node's share, relative to those of others
 *	location  "dc/zone/rack/machine" of a node; "" = as its options say
 *
 * There is no way back: who has left, or was forgotten, can only join as a new node,
 * with an empty directory.  A plan collects orders; committed, they are one change of
 * owners.  Orders given at the same time elsewhere, also on the other side of a split,
 * all hold in the end.  While owners change, reads and writes go on; a change that
 * waits for a dead node (dyn_status awaits) is brought to its end by having that node
 * forgotten.
 *
 *   dyn_plan_new     DYN_EINVAL: a local store
 *   the orders       0, or why it cannot be given: DYN_ENOTFOUND (no such node),
 *                    DYN_EINVAL (it has left; weight not 1..10000; bad location)
 *   dyn_plan_show    what committing it would mean, computed here without asking
 *                    anybody
 *   dyn_plan_commit  gives the orders; returns once the ring has them, which then
 *                    carries them out by itself (dyn_status moving).
 *                    timeout_ms  0 = options timeout_ms
 *                    DYN_ETIMEOUT: they may still be carried out; DYN_EINVAL: no
 *                    order, or nobody would be left
 *   dyn_leave        leave for this node itself; returns once it has left and may be
 *                    closed, or DYN_ETIMEOUT (it goes on leaving).  timeout_ms > 0.
 *                    DYN_EINVAL: a client, or the last member
 *
 * Also DYN_ENOMEM, DYN_ECLOSED, DYN_EFORKED, and of the last two DYN_EDEADLK and why
 * the node has failed.  A plan is used by one thread at a time, and freed before its
 * node is closed; it stays as it is when it is committed.
 */
struct dyn_plan_figures {
	size_t size;             /* DYN_PLAN_FIGURES_INIT */
	uint64_t epoch;          /* of the table now */
	int moving;              /* owners change already; this change comes after it,
	                          * and the figures are for what comes then */
	unsigned members, members_then; /* that own something */
	unsigned partitions;
	unsigned moves;          /* copies of partitions that a node gets */
	unsigned under_replicated; /* partitions with fewer than n owners then */
	uint64_t bytes;          /* to be moved, by the share of this node; 0 = not
	                          * known (a client) */
	uint64_t seconds;        /* about how long that takes, without other load; 0 =
	                          * not known */
	unsigned zones, zones_then; /* of what owns something */
	unsigned crowded, crowded_then; /* partitions whose owners are in fewer zones
	                          * than there could be: min(n, zones) */
};
#ifdef __cplusplus
#define DYN_PLAN_FIGURES_INIT {sizeof(struct dyn_plan_figures)}
#else
#define DYN_PLAN_FIGURES_INIT {.size = sizeof(struct dyn_plan_figures)}
#endif

DYN_API int dyn_plan_new(dyn_plan **out, dyn_node *) DYN_CHECK;
DYN_API void dyn_plan_free(dyn_plan *);
DYN_API int dyn_plan_join(dyn_plan *, struct dyn_id) DYN_CHECK;
DYN_API int dyn_plan_leave(dyn_plan *, struct dyn_id) DYN_CHECK;
DYN_API int dyn_plan_forget(dyn_plan *, struct dyn_id) DYN_CHECK;
DYN_API int dyn_plan_replace(dyn_plan *, struct dyn_id old, struct dyn_id by) DYN_CHECK;
DYN_API int dyn_plan_weight(dyn_plan *, struct dyn_id, unsigned weight) DYN_CHECK;
DYN_API int dyn_plan_location(dyn_plan *, struct dyn_id, const char *location) DYN_CHECK;
DYN_API int dyn_plan_show(dyn_plan *, struct dyn_plan_figures *) DYN_CHECK;
DYN_API int dyn_plan_commit(dyn_plan *, unsigned timeout_ms) DYN_CHECK;
DYN_API int dyn_leave(dyn_node *, unsigned timeout_ms) DYN_CHECK;

/* -------------------------------------------------------- 7 storage engines */

/*
 * What a storage engine must do.  libdyn brings two: SQLite and memory.
 * An engine holds rows (id, value), both opaque byte strings, in a few
 * separate spaces, ordered by memcmp of the ids (a prefix sorts first).
 * libdyn never asks it to understand a row.
 *
 * Threads: apply, drop and sync are called by one thread, one at a time; get
 * and scan by any thread at any time, also while apply runs; then they see
 * all of a batch or nothing of it, and all of it once apply has returned.
 * Every function returns 0 or a DYN_E code: DYN_EIO, DYN_EFULL, DYN_ECORRUPT,
 * DYN_ENOMEM, DYN_EREADONLY.
 */
enum dyn_space {
	DYN_SPACE_DATA = 0, /* keys: 16 bytes of hash first, so a partition is
	                     * a range */
	DYN_SPACE_META,     /* the node's own small records */
	DYN_SPACE_HINT,     /* copies held for others */
	DYN_SPACE_COUNT
};

struct dyn_row {
	enum dyn_space space;
	struct dyn_slice id;
	struct dyn_slice value; /* data == NULL: remove the row */
};

/* Called for each row of a scan; the slices die when it returns.
 * Non-zero ends the scan.  value.data == NULL: the row is there, but damaged
 * (get says DYN_ECORRUPT); libdyn has the other owners fill it again. */
typedef int dyn_engine_row(void *arg, struct dyn_slice id, struct dyn_slice value);

struct dyn_engine_info {
	uint64_t rows, bytes; /* of DYN_SPACE_DATA; estimates */
};

struct dyn_engine {
	size_t size; /* sizeof(struct dyn_engine) */
	void *self;  /* passed to all */
	/* Append the row's value to out, or DYN_ENOTFOUND; DYN_ECORRUPT: this row
	 * is damaged. */
	int (*get)(void *self, enum dyn_space, struct dyn_slice id, struct dyn_buffer *out);
	/* Store all rows or, on failure, none; a later row of the same id wins.
	 * With DYN_DURABLE_DISK all applied so far is on disk at return. */
	int (*apply)(void *self, const struct dyn_row *rows, size_t count, enum dyn_durability);
	/* Visit rows with after < id (after NULL: from the first) and id <= last
	 * (last.data NULL: to the end), in order. */
	int (*scan)(void *self, enum dyn_space, struct dyn_slice after, struct dyn_slice last,
	    dyn_engine_row *visit, void *arg);
	/* Remove all rows with first <= id <= last. */
	int (*drop)(void *self, enum dyn_space, struct dyn_slice first, struct dyn_slice last);
	/* Everything applied is on disk at return. */
	int (*sync)(void *self);
	/* A little background work, if there is any: called when idle.  Returns
	 * 1 if it wants to be called again soon.  May be NULL. */
	int (*idle)(void *self);
	int (*info)(void *self, struct dyn_engine_info *);
	/* Write what is left and free, self included. */
	int (*close)(void *self);
};

/* The engines libdyn brings, for engines that wrap one, and for tests.
 *   path     of the database file, created if missing
 * Returns    0; DYN_ENOMEM; DYN_EIO; DYN_EFULL; DYN_EREADONLY; DYN_ECORRUPT;
 *            DYN_EVERSION (written by a newer libdyn) */
DYN_API int dyn_engine_sqlite(struct dyn_engine **out, const char *path,
    struct dyn_error *error) DYN_CHECK;
DYN_API int dyn_engine_memory(struct dyn_engine **out) DYN_CHECK;

#ifdef __cplusplus
}
#endif
#endif
