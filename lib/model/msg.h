/*
 * The wire: one list of messages yields struct, encoder, decoder, printer and,
 * in the tests, a random generator (DESIGN 11).
 *
 * A frame is a head of 32 bytes and a body, little-endian:
 *
 *	 0 u32 length of the frame, head included
 *	 4 u8  kind
 *	 5 u8  flags (0)
 *	 6 u16 wire version the sender speaks on this connection
 *	 8 u64 request: chosen by who asks, repeated by who answers
 *	16 u64 4 * epoch of the sender's newest table + phase of its view, see
 *	       view.h (0 = has none)
 *	24 u64 first half of that table's digest, big-endian bytes as read
 *
 * A body is its fields in order.  Fields are only ever appended: a decoder
 * skips a tail it does not know, and takes fields that are missing at the end
 * as zero.  Unknown kinds are skipped by the receiver.
 *
 * FEATURE LEVELS count what was appended.  Who dials and who accepts say which
 * they speak, and the lowest that they still take (appended to HELLO and WELCOME;
 * who says none speaks 0), and refuse who is out of it.  A frame that the other
 * side has to understand goes to those whose level has it; what all members have
 * to understand waits until the lowest of them has (levels.h).  lib/README,
 * "Upgrading", tells what a change of a format has to do.
 *
 *	0	before there were levels
 *	1	tells its level
 *
 * Field types: u8 u16 u32 u64 fixed; id and digest 16 bytes; slice(max) = var
 * length and bytes, borrowed from the frame.  Error codes travel as u32
 * (two's complement).
 */
#ifndef DYN_MSG_H
#define DYN_MSG_H

#include "base/buf.h"
#include "base/hash.h"

#define FRAME_HEAD 32
#define WIRE_VERSION 1
#define WIRE_VERSION_MIN 1
/* What may come beyond the version: see FEATURE LEVELS below. */
#define FEATURE_LEVEL 1U
#define FEATURE_LEVEL_MIN 0U
#define HELLO_MAGIC 0x314e5944u /* "DYN1" */

enum purpose { PURPOSE_DATA = 1, PURPOSE_GOSSIP, PURPOSE_SYNC };

/* The schema.  M(number, KIND, name, fields)  F(type, name)  S(name, max) */
#define MSG_SCHEMA(M)                                                          \
	/* first frame of a connection, by who dialled */                      \
	M(1, HELLO, hello,                                                     \
	    F(u32, magic) F(u16, version_min) F(u16, version_max) F(u8, role)  \
	    F(u8, purpose) F(u16, worker) F(id, node) F(id, ring_id)           \
	    F(u64, features) S(ring, DYN_BUCKET_MAX)                           \
	    S(advertise, DYN_ADDRESS_MAX) F(u16, level) F(u16, level_min))     \
	/* the answer: rc 0 opens the connection, else it is closed */         \
	M(2, WELCOME, welcome,                                                 \
	    F(u32, rc) F(u16, version) F(u16, workers) F(id, node)             \
	    F(id, ring_id) F(u64, features) S(text, 255)                       \
	    F(u16, level) F(u16, level_min))                                   \
	/* store this object at your copy (merge); or, where an owner is named, \
	 * keep it for that owner (a hint, paper 4.6) */                       \
	M(10, PUT, put,                                                        \
	    F(u8, durability) S(name, 2048) S(object, LIMIT_OBJECT)            \
	    F(id, owner))                                                      \
	M(11, PUT_ACK, put_ack, F(u32, rc) F(u8, on_disk))                     \
	/* give me your copy, and with hints = 1 what you keep for others;     \
	 * complete = 0: it may lack what others have */                       \
	M(12, GET, get, S(name, 2048) F(u8, hints))                            \
	M(13, GET_ACK, get_ack,                                                \
	    F(u32, rc) F(u8, complete) S(object, LIMIT_OBJECT))                \
	/* coordinate this put or delete for me (paper 4.5) */                 \
	M(14, ASK, ask,                                                        \
	    F(u8, op) F(u8, durability) F(u8, n) F(u8, w) F(u8, zone_w)        \
	    F(u8, lww) F(u8, has_context) F(u32, flags) F(u32, timeout_ms)     \
	    F(u64, expiry_ms) S(name, 2048) S(context, LIMIT_CONTEXT)          \
	    S(value, DYN_VALUE_LIMIT) F(u64, after) F(u8, standin))            \
	M(15, ASK_ACK, ask_ack,                                                \
	    F(u32, rc) F(u16, owners) F(u16, standins) F(u16, machines)        \
	    F(u16, zones) F(u16, on_disk) F(id, coordinator)                   \
	    F(u64, dot_node) F(u64, dot_incarnation) F(u64, dot_counter)       \
	    F(u64, time))                                                      \
	/* what is your view, if its digest is not this one?  (paper 6.4) */   \
	M(20, VIEW_ASK, view_ask, F(digest, digest))                           \
	M(21, VIEW, view, F(digest, digest) S(view, 16 << 20))                 \
	/* push-pull (paper 4.8.1): my digest, and my view where it helps */   \
	/* ledger = (id owner, var hints, var bytes)*: what I keep for whom */ \
	M(22, GOSSIP, gossip,                                                  \
	    F(digest, digest) S(view, 16 << 20) S(ledger, LIMIT_LEDGER))       \
	M(23, GOSSIP_ACK, gossip_ack,                                          \
	    F(u32, rc) F(digest, digest) S(view, 16 << 20)                     \
	    S(ledger, LIMIT_LEDGER))                                           \
	/* give me rows of a partition after a name, my table being the head's */ \
	M(30, PULL, pull, F(u32, partition) F(u32, bytes_max) S(after, 2048))  \
	/* rows = (slice name, slice object)*; done = 1: that was the last */  \
	M(31, PULL_ACK, pull_ack,                                              \
	    F(u32, rc) F(u8, done) S(rows, LIMIT_OBJECT))                      \
	/* dyn_member_status: the structs as u64 lists */                      \
	M(40, STATUS, status, F(u8, unused))                                   \
	M(41, STATUS_ACK, status_ack, S(status, 4096) S(stats, 4096))          \
	M(42, PING, ping, F(u64, token))                                       \
	M(43, PONG, pong, F(u64, token))                                       \
	/* I am going down cleanly; do not wait for me */                      \
	M(44, BYE, bye, F(u32, rc) S(text, 255))                               \
	/* can you reach this member?  rc = 0: it answered just now */         \
	M(45, PROBE, probe, F(id, target))                                     \
	M(46, PROBE_ACK, probe_ack, F(u32, rc) F(id, target))                  \
	/* merge what was kept for you; rows = (slice name, slice object)* */  \
	M(50, HINT, hint, F(u32, partition) S(rows, LIMIT_OBJECT))             \
	/* rc = 0: they are on disk, you may forget them */                    \
	M(51, HINT_ACK, hint_ack, F(u32, rc))                                  \
	/* send me what you keep for me */                                     \
	M(52, HINTS, hints, F(u8, unused))                                     \
	/* anti-entropy (paper 4.7; core/repair.h).  sum: of the roots of all  \
	 * partitions that both own by the table of the head */                \
	M(60, TREES, trees, F(u32, count) F(digest, sum))                      \
	/* roots = (u32 partition, digest root)*, if they are not equal */     \
	M(61, TREES_ACK, trees_ack, F(u32, rc) F(u8, equal) S(roots, 2 << 20)) \
	/* the sender's 16 inner nodes of a partition */                       \
	M(62, TREE, tree, F(u32, partition) S(nodes, 256))                     \
	/* leaves = (u8 inner, its 16 leaves)*, of inner nodes that differ */  \
	M(63, TREE_ACK, tree_ack, F(u32, rc) S(leaves, 8192))                  \
	/* rows = (slice name, digest)*: the sender's after < name <= until in \
	 * the leaves whose bit is set; until empty: to the end */             \
	M(64, LEAVES, leaves,                                                  \
	    F(u32, partition) F(u32, bytes_max) S(bits, 32) S(after, 2048)     \
	    S(until, 2048) S(rows, LIMIT_OBJECT))                              \
	/* up to the name last: rows = (slice name, slice object)* that differ \
	 * or that you lack, wants = (slice name)* that I lack */              \
	M(65, LEAVES_ACK, leaves_ack,                                          \
	    F(u32, rc) F(u8, done) S(last, 2048) S(rows, LIMIT_OBJECT)         \
	    S(wants, LIMIT_OBJECT))                                            \
	/* merge these: your copies lack them; rows as in HINT */              \
	M(66, REPAIR, repair, F(u32, partition) S(rows, LIMIT_OBJECT))         \
	M(67, REPAIR_ACK, repair_ack, F(u32, rc))                              \
	/* your copies of these partitions (u32)* lack something of others */  \
	M(68, BEHIND, behind, S(partitions, 1 << 18))                          \
	/* rc = 0: noted on disk */                                            \
	M(69, BEHIND_ACK, behind_ack, F(u32, rc))                              \
	/* forgetting (core/collect.h).  step 1: do you keep hints for these   \
	 * partitions (u32)*?  step 2: forget what can be forgotten of rows of \
	 * a partition that are as they were, (slice name, digest)* */         \
	M(70, COLLECT, collect,                                                \
	    F(u8, step) F(u32, partition) S(list, LIMIT_OBJECT))               \
	/* step 1: bits = one a partition asked for, 1 = I do */               \
	M(71, COLLECT_ACK, collect_ack,                                        \
	    F(u32, rc) F(u8, step) S(bits, 1 << 16))

enum msg_kind {
#define M(number, KIND, name, fields) MSG_##KIND = number,
	MSG_SCHEMA(M)
#undef M
};

typedef uint8_t msg_u8;
typedef uint16_t msg_u16;
typedef uint32_t msg_u32;
typedef uint64_t msg_u64;
typedef struct dyn_id msg_id;
typedef struct digest msg_digest;

#define F(type, name) msg_##type name;
#define S(name, max) struct dyn_slice name;
#define M(number, KIND, name, fields) struct msg_##name { fields };
MSG_SCHEMA(M)
#undef M
#undef F
#undef S

union msg {
#define M(number, KIND, name, fields) struct msg_##name name;
	MSG_SCHEMA(M)
#undef M
};

struct frame {
	uint8_t kind, flags;
	uint16_t version;
	uint64_t request, epoch, table;
	struct dyn_slice body; /* set by frame_decode */
};

/* Length of the frame that starts with these bytes: 0 = fewer than 4 bytes
 * there yet.  DYN_EPROTO through rc if below FRAME_HEAD or above max. */
size_t frame_length(struct dyn_slice bytes, size_t max, int *rc);
/* Take a whole frame apart. */
int frame_decode(struct frame *, struct dyn_slice whole) DYN_CHECK;
/* A whole frame; kind and length are filled in, body is ignored. */
int msg_encode(struct buf **out, const struct frame *head, enum msg_kind,
    const union msg *) DYN_CHECK;
/* DYN_EPROTO if malformed, DYN_EVERSION if the kind is unknown. */
int msg_decode(uint8_t kind, struct dyn_slice body, union msg *out) DYN_CHECK;
bool msg_known(uint8_t kind);
/* Do these two, each speaking up to level and down to level_min, have one in common? */
bool msg_levels_meet(unsigned level, unsigned level_min, unsigned other, unsigned other_min);
const char *msg_name(uint8_t kind); /* "PUT_ACK", or "?" */
/* "PUT name=12 object=105 ..." for traces; returns length as snprintf. */
int msg_print(char *out, size_t cap, uint8_t kind, const union msg *);

static inline int
msg_rc(uint32_t rc)
{
	return (int32_t)rc;
}

#endif
