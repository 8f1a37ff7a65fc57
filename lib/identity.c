/*
 * Who this node is, over restarts (DESIGN 4, 7): rows of DYN_SPACE_META.
 *
 *	id           16 bytes, drawn once
 *	incarnation  of the member record: raised at every start, durable
 *	             before the first packet
 *	actor        incarnation under which this node mints
 *	view         saved by the gossip thread
 *	catching     copies that may lack something (core/repair.h): all of them, if
 *	             the directory is new though the node is not, or was put back
 *
 * The actor is kept only over a clean stop in the same place (host/dir.h);
 * every other start draws a new one: what the last life minted and had not on
 * disk yet, peers may have, and this node must never mint those dots again.
 * Of the 64 bits the top 16 count starts, for people who read traces; 32 are
 * random, so that the copies of one directory draw different ones; the low 16
 * are for renewals within a life (core/store.h).
 *
 * What is minted as a stand-in has an actor that is new at each start, and saved
 * nowhere.
 */
#include "node.h"

#include "core/collect.h"
#include "core/repair.h"

#include <openssl/rand.h>

static int
meta_get(struct dyn_engine *e, const char *name, struct dyn_buffer *out)
{
	out->len = 0;
	return e->get(e->self, DYN_SPACE_META, slice(name, strlen(name)), out);
}

/* A number, 0 if there is none. */
static int
meta_number(struct dyn_engine *e, const char *name, uint64_t *out)
{
	struct dyn_buffer b = { NULL, 0, 0 };
	int rc = meta_get(e, name, &b);

	*out = 0;
	if (rc == 0 && b.len != 8) {
		rc = DYN_ECORRUPT;
	} else if (rc == 0) {
		struct rd r = rd_from(slice(b.data, b.len));

		*out = rd_u64(&r);
	}
	dyn_buffer_free(&b);
	return rc == DYN_ENOTFOUND ? 0 : rc;
}

static void
put_u64(unsigned char p[8], uint64_t v)
{
	for (int i = 0; i < 8; i++)
		p[i] = (unsigned char)(v >> (8 * i));
}

static struct dyn_row
meta_row(const char *name, const void *value, size_t len)
{
	struct dyn_row row = { DYN_SPACE_META, slice(name, strlen(name)), slice(value, len) };

	return row;
}

static int
load_id(dyn_node *n, bool *fresh, struct dyn_error *error)
{
	struct dyn_engine *e = n->host.engine;
	struct dyn_buffer b = { NULL, 0, 0 };
	int rc = meta_get(e, "id", &b);

	*fresh = rc == DYN_ENOTFOUND;
	if (rc == 0 && b.len != sizeof(n->host.self.bytes))
		rc = DYN_ECORRUPT;
	if (rc == 0)
		memcpy(n->host.self.bytes, b.data, sizeof(n->host.self.bytes));
	if (*fresh)
		rc = 0;
	if (*fresh && !id_is_zero(&n->given_id))
		n->host.self = n->given_id;
	else if (*fresh)
		rc = RAND_bytes(n->host.self.bytes, sizeof(n->host.self.bytes)) == 1 ? 0
		                                                                    : DYN_EIO;
	dyn_buffer_free(&b);
	if (rc == 0 && !id_is_zero(&n->given_id) && !id_equal(&n->host.self, &n->given_id)) {
		char is[33];

		dyn_id_format(n->host.self, is);
		return error_set(error, DYN_EINVAL, "the directory is of node %s", is);
	}
	return rc == 0 ? 0 : error_set(error, rc, "cannot read who this node is: %s",
	    dyn_strerror(rc));
}

static int
load_view(dyn_node *n, struct identity *id)
{
	struct dyn_buffer b = { NULL, 0, 0 };
	int rc = meta_get(n->host.engine, "view", &b);

	if (rc == 0)
		rc = view_decode(&id->saved, slice(b.data, b.len));
	if (rc == DYN_EPROTO)
		rc = DYN_ECORRUPT;
	dyn_buffer_free(&b);
	return rc == DYN_ENOTFOUND ? 0 : rc;
}

static uint64_t
new_actor(uint64_t old, uint32_t random)
{
	return ((old >> 48) + 1) << 48 | (uint64_t)random << 16;
}

/* Is it a member whose copies may lack what they once had?  Else only the ring can
 * tell: core/member.c, overtake. */
static bool
lost_something(const dyn_node *n, const struct identity *id)
{
	return (id->fresh && !id_is_zero(&n->given_id)) || (n->has_dir && n->dir.moved);
}

/* Which counters its actor may not use again is not on disk (core/collect.h). */
static int
forgot_something(const dyn_node *n, bool *forgot)
{
	struct dyn_buffer b = { NULL, 0, 0 };
	int rc = meta_get(n->host.engine, FORGOT_ROW, &b);

	*forgot = rc == 0;
	dyn_buffer_free(&b);
	return rc == DYN_ENOTFOUND ? 0 : rc;
}

int
identity_load(dyn_node *n, struct identity *id, struct dyn_error *error)
{
	unsigned char incarnation[8], actor[8];
	struct dyn_row rows[5];
	size_t count = 3;
	uint64_t old;
	uint32_t random[2];
	bool forgot;
	int rc;

	memset(id, 0, sizeof(*id));
	if (RAND_bytes((unsigned char *)random, sizeof(random)) != 1)
		return error_set(error, DYN_EIO, "no random numbers");
	if (n->host.engine == NULL) { /* a client is somebody new each time */
		if (RAND_bytes(n->host.self.bytes, sizeof(n->host.self.bytes)) != 1)
			return error_set(error, DYN_EIO, "no random numbers");
		return 0;
	}
	rc = load_id(n, &id->fresh, error);
	if (rc != 0)
		return rc;
	rc = meta_number(n->host.engine, "incarnation", &n->incarnation);
	if (rc == 0)
		rc = meta_number(n->host.engine, "actor", &old);
	if (rc == 0)
		rc = load_view(n, id);
	if (rc != 0)
		return error_set(error, rc, "cannot read who this node is: %s",
		    dyn_strerror(rc));
	n->incarnation++;
	n->host.actor.node = load_be64(n->host.self.bytes);
	n->host.actor.incarnation = old;
	rc = forgot_something(n, &forgot);
	if (rc != 0)
		return error_set(error, rc, "cannot read who this node is: %s",
		    dyn_strerror(rc));
	n->host.actor_kept = !id->fresh && old != 0 && n->has_dir && n->dir.clean && !forgot;
	if (!n->host.actor_kept)
		n->host.actor.incarnation = new_actor(old, random[0]);
	n->host.standin.node = n->host.actor.node;
	/* Never that of the owner's copies, which may be an old one of ours. */
	do
		n->host.standin.incarnation = new_actor(old, random[1]++);
	while (n->host.standin.incarnation >> 16 == n->host.actor.incarnation >> 16);
	put_u64(incarnation, n->incarnation);
	put_u64(actor, n->host.actor.incarnation);
	rows[0] = meta_row("id", n->host.self.bytes, sizeof(n->host.self.bytes));
	rows[1] = meta_row("incarnation", incarnation, sizeof(incarnation));
	rows[2] = meta_row("actor", actor, sizeof(actor));
	if (forgot)
		rows[count++] = meta_row(FORGOT_ROW, NULL, 0);
	/* Before anybody is told who we are: a crash must not forget it. */
	if (lost_something(n, id))
		rows[count++] = meta_row(CATCHING_ROW, CATCHING_ALL, 1);
	rc = n->host.engine->apply(n->host.engine->self, rows, count, DYN_DURABLE_DISK);
	if (rc == 0 && n->has_dir)
		rc = dir_settle(&n->dir);
	if (rc != 0) {
		view_unref(id->saved);
		id->saved = NULL;
		return error_set(error, rc, "cannot write who this node is: %s",
		    dyn_strerror(rc));
	}
	return 0;
}

int
identity_save_clean(dyn_node *n)
{
	unsigned char actor[8];
	struct dyn_row rows[2] = { meta_row("actor", actor, sizeof(actor)),
		meta_row(FORGOT_ROW, "\1", 1) };

	put_u64(actor, n->host.actor.incarnation);
	/* It was said before, but may have met a full disk.  A close that cannot say it is
	 * not clean, and then the next start takes another actor too. */
	return n->host.engine->apply(
	    n->host.engine->self, rows, n->host.forgot ? 2 : 1, DYN_DURABLE_DISK);
}
