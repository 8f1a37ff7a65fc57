/*
 * Connections: HELLO and WELCOME (see conn_private.h).
 *
 * Checked here: that the other side speaks this protocol in a version and on a
 * feature level that we know, and that a peer's certificate names the host it
 * advertises.  Ring, settings and the rest are the acceptor's to judge.
 */
#include "host/conn_private.h"

#include <stdio.h>

#define LEVELS_TEXT                                                                     \
	"feature level %u (and down to %u) does not go with %u (and down to %u): "      \
	"upgrade in smaller steps"

int
greeting_hello(struct conn *c, const struct msg_hello *hello)
{
	union msg m = {.hello = *hello};
	struct frame head = {.version = WIRE_VERSION};

	m.hello.magic = HELLO_MAGIC;
	m.hello.version_min = WIRE_VERSION_MIN;
	m.hello.version_max = WIRE_VERSION;
	m.hello.level = FEATURE_LEVEL;
	m.hello.level_min = FEATURE_LEVEL_MIN;
	return msg_encode(&c->hello, &head, MSG_HELLO, &m);
}

/* A frame of the greeting goes past the queue of the owner's frames. */
static int
send_frame(struct conn *c, struct buf *frame)
{
	int rc;

	if (c->tls != NULL)
		rc = tls_stream_write(c->tls, frame->data, frame->len);
	else
		rc = outq_add(&c->wire, frame);
	if (c->tls != NULL || rc != 0)
		buf_unref(frame);
	if (rc == 0)
		c->frames_out++;
	return rc;
}

static int
send_welcome(struct conn *c, const struct msg_welcome *welcome, uint64_t request)
{
	union msg m = {.welcome = *welcome};
	struct frame head = {.version = WIRE_VERSION, .request = request};
	struct buf *frame;
	int rc;

	m.welcome.level = FEATURE_LEVEL;
	m.welcome.level_min = FEATURE_LEVEL_MIN;
	rc = msg_encode(&frame, &head, MSG_WELCOME, &m);
	return rc == 0 ? send_frame(c, frame) : rc;
}

void
greeting_start(struct conn *c)
{
	struct buf *hello = c->hello;
	int rc;

	c->state = GREETING;
	loop_defer(c->loop, &c->late);
	if (c->accepted)
		return;
	c->hello = NULL;
	rc = send_frame(c, hello);
	if (rc != 0)
		conn_fail(c, rc, "%s", dyn_strerror(rc));
}

static void
become_open(struct conn *c)
{
	c->state = OPEN;
	c->frame_max = c->config.frame_max;
	conn_set_timer(c, 0);
	loop_defer(c->loop, &c->late);
}

/* Do we and a side that speaks these understand each other? */
static bool
levels_meet(unsigned level, unsigned level_min)
{
	return msg_levels_meet(FEATURE_LEVEL, FEATURE_LEVEL_MIN, level, level_min);
}

static void
take_welcome(struct conn *c, const struct frame *f)
{
	union msg m;
	struct msg_welcome *w = &m.welcome;

	if (f->kind != MSG_WELCOME || msg_decode(f->kind, f->body, &m) != 0) {
		conn_fail(c, DYN_EPROTO, "does not answer HELLO with WELCOME");
		return;
	}
	if (w->rc != 0) {
		conn_fail(c, msg_rc(w->rc) < 0 ? msg_rc(w->rc) : DYN_EPROTO,
		    "refused: %.*s", (int)w->text.len,
		    w->text.len > 0 ? (const char *)w->text.data : "");
		return;
	}
	if (w->version < WIRE_VERSION_MIN || w->version > WIRE_VERSION) {
		conn_fail(c, DYN_EVERSION, "wants to speak version %u", w->version);
		return;
	}
	if (!levels_meet(w->level, w->level_min)) {
		conn_fail(c, DYN_EVERSION, LEVELS_TEXT, w->level, w->level_min,
		    FEATURE_LEVEL, FEATURE_LEVEL_MIN);
		return;
	}
	c->node = w->node;
	become_open(c);
	c->events->opened(c->arg, c, w);
}

/* Does the certificate of a peer belong to the address it wants to have?  A
 * client advertises none. */
static bool
named_rightly(const struct conn *c, const struct msg_hello *h)
{
	char address[DYN_ADDRESS_MAX], host[DYN_ADDRESS_MAX];
	unsigned port;

	if (c->tls == NULL || (h->role != DYN_PEER && h->advertise.len == 0))
		return true;
	if (h->advertise.len == 0 || h->advertise.len >= sizeof(address))
		return false;
	memcpy(address, h->advertise.data, h->advertise.len);
	address[h->advertise.len] = '\0';
	return address_split(address, host, &port) == 0 && tls_stream_names(c->tls, host);
}

static void
refuse(struct conn_admission *a, int rc, const char *text)
{
	a->welcome.rc = (uint32_t)rc;
	a->welcome.text = slice(text, strlen(text));
}

static void
refuse_level(struct conn_admission *a, const struct msg_hello *h)
{
	snprintf(a->text, sizeof(a->text), LEVELS_TEXT, h->level, h->level_min,
	    FEATURE_LEVEL, FEATURE_LEVEL_MIN);
	refuse(a, DYN_EVERSION, a->text);
}

static void
decide(struct conn *c, const struct msg_hello *h, struct conn_admission *a)
{
	a->welcome.version = MIN(h->version_max, WIRE_VERSION);
	if (h->version_max < WIRE_VERSION_MIN || h->version_min > WIRE_VERSION)
		refuse(a, DYN_EVERSION, "no common version of the protocol");
	else if (!levels_meet(h->level, h->level_min))
		refuse_level(a, h);
	else if (!named_rightly(c, h))
		refuse(a, DYN_ETLS, "the certificate does not name the advertised host");
	else
		c->greeter->greet(c->greeter, c, h, a);
}

static void
admit(struct conn *c, const struct conn_admission *a)
{
	DYN_ASSERT(a->events != NULL);
	c->events = a->events;
	c->arg = a->arg;
	list_remove(&c->link);
	c->greeter->count--;
	c->greeter = NULL;
	become_open(c);
	if (a->loop == NULL || a->loop == c->loop) {
		c->events->opened(c->arg, c, NULL);
	} else {
		/* It goes when what was read has been kept: see conn.c. */
		c->state = MOVING;
		c->next_loop = a->loop;
	}
}

static void
take_hello(struct conn *c, const struct frame *f)
{
	struct conn_admission a = {.welcome.rc = 0};
	char why[sizeof(c->why)];
	union msg m;
	int rc;

	if (f->kind != MSG_HELLO || msg_decode(f->kind, f->body, &m) != 0 ||
	    m.hello.magic != HELLO_MAGIC) {
		conn_fail(c, DYN_EPROTO, "does not begin with HELLO");
		return;
	}
	c->node = m.hello.node;
	c->role = m.hello.role;
	decide(c, &m.hello, &a);
	if (c->state == CLOSED)
		return;
	rc = send_welcome(c, &a.welcome, f->request);
	if (a.welcome.rc == 0)
		admit(c, &a);
	if (rc != 0) {
		conn_fail(c, rc, "%s", dyn_strerror(rc));
		return;
	}
	if (a.welcome.rc == 0)
		return;
	snprintf(why, sizeof(why), "refused: %.*s", (int)MIN(a.welcome.text.len, 200),
	    a.welcome.text.len > 0 ? (const char *)a.welcome.text.data : "");
	conn_close(c, msg_rc(a.welcome.rc), why, true);
}

void
greeting_frame(struct conn *c, const struct frame *f)
{
	if (c->accepted)
		take_hello(c, f);
	else
		take_welcome(c, f);
}
