/*
 * What a store promised, computed from what its callers saw (DESIGN 12).
 *
 * The oracle knows nothing of versions, clocks or nodes' insides.  A caller
 * tells it of each call: a write, by an id that is unique among all writes and
 * is the value written; the writes that the get returned whose context the
 * write used (its parents); how it ended; and which ids each get returned.
 * From parents alone follows which write may have replaced which.  So the same
 * oracle judges a simulated ring and real processes.
 *
 * Times are the observer's own, of one clock that never goes back, in any
 * unit; a call must be told as begun before it is sent, and as ended after its
 * answer arrived.  Nothing is judged before oracle_judge.
 *
 *	S1	an acknowledged write is lost
 *	S2	what was replaced or deleted is back
 *	S3	a value that nobody wrote to that key
 *	S4	a write reported as failed appears
 *	S5	siblings, although one was written with the other in its context
 *	S6	one write appears twice in one answer
 *	S7	nodes differ at the end
 *	S8	a write that had seen all there was is not alone at the end
 *	S10	a strict get, R + W > N, misses a write that had ended before
 *	S12	more siblings than contexts were out
 *	LWW	another write won than the rule says
 *	OLD	a value that has expired is returned
 *
 * Where the last write wins there are no siblings, and S1 and the second half of S8
 * cannot be asked for: a put that went well may have lost to another at once.  What
 * can be, by the stamps of versions where they are known, and else by who had seen
 * whom and by times that are further apart than clocks may be:
 *
 *	- at the end all have the same, and it is the put with the latest stamp of those
 *	  that were acknowledged, or a later one whose caller did not hear of it
 *	- nothing, only if a delete may have been later than all of them (or what was
 *	  later has expired)
 *	- a strict get brings nothing older than what W owners had when it began
 *	- a put is later than what it had seen, and that does not come back (S2)
 *	- a version keeps its stamp, and what is returned is one that was written to the
 *	  key and did not fail (S3, S4)
 *
 * A delete is forgotten some time, and its stamp with it; so a put that ended after
 * the delete began may win with an older stamp.
 */
#ifndef DYN_ORACLE_H
#define DYN_ORACLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum oracle_kind {
	ORACLE_PUT,       /* value; parents: what its context's get returned */
	ORACLE_DELETE,    /* no value, so its id is never returned */
	ORACLE_OVERWRITE, /* replaces what its coordinator held, whatever that was */
	ORACLE_LWW,       /* put of a bucket where the last write wins */
	ORACLE_LWW_DELETE /* removes all that is older */
};

enum oracle_outcome {
	ORACLE_PENDING, /* no answer came: judged as unknown */
	ORACLE_DONE,
	ORACLE_FAILED,  /* the store said that it did not happen */
	ORACLE_UNKNOWN
};

struct oracle_options {
	/* Most values a get may return, or 0.  The caller knows how many contexts
	 * its workload has out at once (S12). */
	unsigned siblings_max;
	/* By how much wall clocks of nodes may differ, in the observer's unit, and
	 * by how old a moment may be that a process goes by when it was stopped: an
	 * LWW write that began later than this after another ended must win. */
	uint64_t skew;
	/* How far a clock may be ahead of the one that a version expires by. */
	uint64_t ahead;
};

struct oracle_write {
	uint64_t id;      /* not 0 */
	uint64_t key;
	enum oracle_kind kind;
	unsigned session; /* who calls: sequential; only for the story */
	unsigned node;
	const uint64_t *parents;
	size_t parents_count;
	uint64_t expiry;  /* how long after it was made it expires; 0: never */
};

/* What an acknowledgement promised. */
struct oracle_receipt {
	unsigned w;    /* distinct owners that have it; 0 if stand-ins counted */
	bool durable;  /* must survive crashes: without it S1, S2 do not ask for it */
	uint64_t stamp; /* LWW: the version's time, by which the latest is chosen, or 0 */
};

struct oracle_read {
	uint64_t key;
	unsigned session, node;
	unsigned strict_r, n; /* R owners answered and no stand-in; 0: not strict */
	uint64_t began, ended;
	const uint64_t *ids;
	size_t count;
};

struct oracle;

/* Memory that cannot be had ends the program: this is a test. */
struct oracle *oracle_new(const struct oracle_options *); /* NULL: all zero */
void oracle_free(struct oracle *);

void oracle_write_begin(struct oracle *, uint64_t now, const struct oracle_write *);
/* receipt: NULL unless DONE */
void oracle_write_end(struct oracle *, uint64_t now, uint64_t id, enum oracle_outcome,
    const struct oracle_receipt *);
void oracle_read(struct oracle *, const struct oracle_read *);
/* A get that returned this LWW write alone says what its stamp is. */
void oracle_stamp(struct oracle *, uint64_t id, uint64_t stamp);
/* After healing: what a node's own copy holds, or what a get at R = N returned.
 * Every key that was written wants at least one. */
void oracle_final(struct oracle *, uint64_t now, uint64_t key, unsigned node,
    const uint64_t *ids, size_t count);

struct oracle_violation {
	const char *rule;  /* "S1" */
	const char *story; /* lines: what happened to whom */
};

/* How many promises were broken; the same record gives the same verdicts in
 * the same order.  To be called once, at the end. */
size_t oracle_judge(struct oracle *);
struct oracle_violation oracle_violation(const struct oracle *, size_t i);
/* What was recorded, so that a test can say that it looked at something. */
size_t oracle_writes(const struct oracle *);
size_t oracle_reads(const struct oracle *);

#endif
