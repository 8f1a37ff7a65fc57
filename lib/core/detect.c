/*
 * Watching members.  Why it is done so is in detect.h.
 *
 * The watches lie in the order of ids, as the view's records do.  All that has a
 * time is looked at in one tick: the list is short and the ticks are rare.
 */
#include "core/detect.h"

#define SMOOTH_MEAN 8
#define SMOOTH_DEVIATION 4
#define DEVIATIONS 7

struct watch {
	struct dyn_id id;
	enum dyn_liveness state;
	uint64_t incarnation;
	uint64_t heard_at;       /* its last answer */
	uint64_t asked_at;       /* the first PING since, not answered; 0 = none */
	uint64_t pinged_at;
	uint64_t next_at;        /* not ALIVE: the next PING */
	uint64_t pause;          /* SUSPECT: between two */
	uint64_t reset_at;       /* its connection was last made anew; 0 = never */
	uint64_t mean, deviation; /* of the time between answers, ns */
	unsigned rounds;         /* DOUBTED */
	bool helped, seen;       /* a helper answered; it reaches it */
};

/* Trying a member for somebody else. */
struct probe {
	uint64_t token;          /* of the PING; 0 = free */
	struct dyn_id target;
	uint64_t conn, request, until;
};

struct detect {
	struct detect_options o;
	struct view *view;
	struct watch *list;
	size_t count;
	struct probe probes[DETECT_PROBES];
	struct rng rng;
	uint64_t period, ping_at, wake, slack_until, token, request;
};

int
detect_new(struct detect **out, const struct detect_options *options, struct moment m)
{
	struct detect *d = mem_zalloc(sizeof(*d));

	*out = NULL;
	if (d == NULL)
		return DYN_ENOMEM;
	d->o = *options;
	d->rng.state = options->seed;
	d->period = options->client ? DETECT_PERIOD_CLIENT : DETECT_PERIOD;
	/* Nodes that are started together do not ask at the same instant. */
	d->ping_at = m.now + rng_below(&d->rng, d->period);
	d->wake = d->ping_at;
	*out = d;
	return 0;
}

void
detect_free(struct detect *d)
{
	if (d == NULL)
		return;
	view_unref(d->view);
	mem_free(d->list);
	mem_free(d);
}

static struct watch *
watch_find(const struct detect *d, const struct dyn_id *id)
{
	size_t from = 0, to = d->count;

	while (from < to) {
		size_t i = from + (to - from) / 2;
		int c = memcmp(d->list[i].id.bytes, id->bytes, sizeof(id->bytes));

		if (c == 0)
			return &d->list[i];
		if (c < 0)
			from = i + 1;
		else
			to = i;
	}
	return NULL;
}

enum dyn_liveness
detect_liveness(const struct detect *d, const struct dyn_id *id)
{
	const struct watch *w = watch_find(d, id);

	return w != NULL ? w->state : DYN_LIVE;
}

/* ----------------------------------------------------------------- judging */

static bool
slack(const struct detect *d, struct moment m)
{
	return m.now < d->slack_until;
}

static void
tell(const struct watch *w, struct outbox *out)
{
	struct effect *e = outbox_add(out, FX_LIVENESS);

	e->to = w->id;
	e->rc = (int)w->state;
}

static void
set_state(struct watch *w, enum dyn_liveness state, struct outbox *out)
{
	if (w->state == state)
		return;
	w->state = state;
	tell(w, out);
}

void
detect_tell(const struct detect *d, struct outbox *out)
{
	for (size_t i = 0; i < d->count; i++)
		tell(&d->list[i], out);
}

static const char *
address_of(const struct detect *d, const struct watch *w)
{
	const struct record *r = view_find(d->view, &w->id);

	return r != NULL ? r->address : "?";
}

/* How long it may be silent before it is doubted. */
static uint64_t
limit(const struct detect *d, const struct watch *w, struct moment m)
{
	uint64_t least = 2 * d->period + 500 * NS_PER_MS;
	uint64_t l = w->mean + DEVIATIONS * w->deviation;

	l = MAX(l, least);
	l = MIN(l, 4 * least);
	return slack(d, m) ? 2 * l : l;
}

/* An interval between two answers.  Of those that follow each other at once
 * nothing can be learnt. */
static void
learn(const struct detect *d, struct watch *w, uint64_t interval)
{
	uint64_t off;

	if (interval < d->period / 2)
		return;
	if (w->mean == 0) {
		w->mean = interval;
		w->deviation = interval / 4;
		return;
	}
	off = interval > w->mean ? interval - w->mean : w->mean - interval;
	w->mean += interval / SMOOTH_MEAN - w->mean / SMOOTH_MEAN;
	w->deviation += off / SMOOTH_DEVIATION - w->deviation / SMOOTH_DEVIATION;
}

static void
start_anew(struct watch *w, struct moment m)
{
	w->heard_at = m.now;
	w->asked_at = w->next_at = 0;
	w->rounds = 0;
	w->helped = w->seen = false;
}

static void
answered(struct detect *d, struct watch *w, struct moment m, struct outbox *out)
{
	if (w->state == DYN_SUSPECT)
		outbox_log(out, DYN_LOG_INFO, "%s answers again", address_of(d, w));
	else
		learn(d, w, m.now - w->heard_at);
	start_anew(w, m);
	set_state(w, DYN_LIVE, out);
}

void
detect_answered(struct detect *d, const struct dyn_id *id, struct moment m, struct outbox *out)
{
	struct watch *w = watch_find(d, id);

	if (w != NULL)
		answered(d, w, m, out);
}

static void
suspect(struct detect *d, struct watch *w, struct moment m, const char *why, struct outbox *out)
{
	outbox_log(out, DYN_LOG_WARNING, "%s %s: requests go round it", address_of(d, w), why);
	w->pause = DETECT_ROUND;
	w->next_at = m.now + w->pause;
	set_state(w, DYN_SUSPECT, out);
}

/* ----------------------------------------------------------------- sending */

static void
send(struct detect *d, const struct dyn_id *to, uint64_t request, enum msg_kind kind,
    const union msg *msg, struct outbox *out)
{
	struct frame head = { .version = WIRE_VERSION, .request = request };
	struct effect *e;
	struct buf *frame;

	(void)d;
	if (msg_encode(&frame, &head, kind, msg) != 0)
		return; /* lost for want of memory: as any frame may be */
	e = outbox_add(out, FX_SEND);
	e->to = *to;
	e->frame = frame;
}

static void
ping(struct detect *d, struct watch *w, struct moment m, struct outbox *out)
{
	union msg msg = { .ping = { .token = 0 } };

	w->pinged_at = m.now;
	if (w->asked_at == 0)
		w->asked_at = m.now;
	send(d, &w->id, 0, MSG_PING, &msg, out);
}

static void
reset(struct watch *w, struct moment m, struct outbox *out)
{
	w->reset_at = m.now;
	outbox_add(out, FX_RESET)->to = w->id;
}

/* Could it tell us something of another?  Not while it is silent itself. */
static bool
may_help(const struct watch *helper, const struct watch *w)
{
	return helper != w && helper->state == DYN_LIVE && helper->asked_at == 0;
}

static void
ask_helpers(struct detect *d, const struct watch *w, struct outbox *out)
{
	union msg msg = { .probe = { .target = w->id } };
	unsigned wanted = DETECT_HELPERS;
	size_t left = 0;

	for (size_t i = 0; i < d->count; i++)
		left += may_help(&d->list[i], w);
	/* Each of those left is taken with the chance wanted / left. */
	for (size_t i = 0; i < d->count && wanted > 0; i++) {
		if (!may_help(&d->list[i], w))
			continue;
		if (rng_below(&d->rng, left--) < wanted) {
			wanted--;
			send(d, &d->list[i].id, ++d->request, MSG_PROBE, &msg, out);
		}
	}
}

/* --------------------------------------------------------------- the rounds */

static void
doubt(struct detect *d, struct watch *w, struct moment m, struct outbox *out)
{
	if (w->state != DYN_LIVE)
		return;
	w->rounds = 0;
	w->helped = w->seen = false;
	w->next_at = m.now + DETECT_ROUND;
	set_state(w, DYN_DOUBTED, out);
	ping(d, w, m, out);
	ask_helpers(d, w, out);
	d->wake = MIN(d->wake, w->next_at);
}

void
detect_lost(struct detect *d, const struct dyn_id *id, struct moment m, struct outbox *out)
{
	struct watch *w = watch_find(d, id);

	if (w != NULL)
		doubt(d, w, m, out);
}

void
detect_doubt(struct detect *d, const struct dyn_id *id, struct moment m, struct outbox *out)
{
	struct watch *w = watch_find(d, id);

	/* It answered a moment ago: then it is slow, or some other part of it. */
	if (w != NULL && m.now >= w->heard_at + DETECT_ROUND)
		doubt(d, w, m, out);
}

void
detect_refused(struct detect *d, const struct dyn_id *id, struct moment m, struct outbox *out)
{
	struct watch *w = watch_find(d, id);

	if (w == NULL || w->state == DYN_SUSPECT)
		return;
	suspect(d, w, m, "is not there any more", out);
	d->wake = MIN(d->wake, w->next_at);
}

static bool
somebody_could_help(const struct detect *d, const struct watch *w)
{
	for (size_t i = 0; i < d->count; i++)
		if (&d->list[i] != w && d->list[i].state != DYN_SUSPECT)
			return true;
	return false;
}

static unsigned
rounds_needed(const struct detect *d, const struct watch *w, struct moment m)
{
	unsigned rounds = DETECT_ROUNDS;

	if (w->seen)
		rounds = DETECT_ROUNDS_SEEN;
	else if (!w->helped && somebody_could_help(d, w))
		rounds = DETECT_ROUNDS_ALONE;
	return slack(d, m) ? 2 * rounds : rounds;
}

static void
next_round(struct detect *d, struct watch *w, struct moment m, struct outbox *out)
{
	uint64_t silence = slack(d, m) ? 2 * DETECT_SILENCE : DETECT_SILENCE;

	w->rounds++;
	w->next_at = m.now + DETECT_ROUND;
	if (w->rounds >= rounds_needed(d, w, m) && m.now >= w->asked_at + silence) {
		suspect(d, w, m, w->seen ? "is reached by others, but not from here" :
		    "does not answer", out);
		reset(w, m, out);
		return;
	}
	if (w->seen && w->rounds % DETECT_ROUNDS_RESET == 0)
		reset(w, m, out);
	ping(d, w, m, out);
	if (w->rounds % 2 == 0)
		ask_helpers(d, w, out);
}

static void
try_again(struct detect *d, struct watch *w, struct moment m, struct outbox *out)
{
	w->pause = MIN(2 * w->pause, d->period);
	w->next_at = m.now + w->pause;
	/* What TCP still tries to send after a long silence, it tries seldom: a
	 * new connection learns sooner that the way is free again. */
	if (m.now >= w->reset_at + DETECT_RESET_GAP)
		reset(w, m, out);
	ping(d, w, m, out);
}

static void
look_at(struct detect *d, struct watch *w, bool pinging, struct moment m, struct outbox *out)
{
	if (w->state == DYN_DOUBTED && w->next_at <= m.now)
		next_round(d, w, m, out);
	else if (w->state == DYN_SUSPECT && w->next_at <= m.now)
		try_again(d, w, m, out);
	else if (w->state == DYN_LIVE && m.now >= w->heard_at + limit(d, w, m))
		doubt(d, w, m, out);
	else if (w->state == DYN_LIVE && pinging &&
	    m.now >= MAX(w->heard_at, w->pinged_at) + d->period / 2)
		ping(d, w, m, out);
}

static void
distrust_myself(struct detect *d, struct moment m, struct outbox *out)
{
	d->slack_until = m.now + DETECT_SLACK;
	for (size_t i = 0; i < d->count; i++) {
		struct watch *w = &d->list[i];

		if (w->state == DYN_SUSPECT)
			continue;
		start_anew(w, m);
		set_state(w, DYN_LIVE, out);
	}
}

static void
set_wake(struct detect *d, struct moment m)
{
	d->wake = d->ping_at;
	for (size_t i = 0; i < d->count; i++) {
		const struct watch *w = &d->list[i];

		if (w->state != DYN_LIVE)
			d->wake = MIN(d->wake, w->next_at);
		else if (w->asked_at != 0)
			d->wake = MIN(d->wake, w->heard_at + limit(d, w, m));
	}
	for (size_t i = 0; i < DETECT_PROBES; i++)
		if (d->probes[i].token != 0)
			d->wake = MIN(d->wake, d->probes[i].until);
}

uint64_t
detect_wake(const struct detect *d)
{
	return d->wake;
}

/* -------------------------------------------------------- trying for others */

static void
probe_ends(struct detect *d, struct probe *p, int rc, struct outbox *out)
{
	struct frame head = { .version = WIRE_VERSION, .request = p->request };
	union msg msg = { .probe_ack = { .rc = (uint32_t)rc, .target = p->target } };
	struct effect *e;
	struct buf *frame;

	(void)d;
	p->token = 0;
	if (msg_encode(&frame, &head, MSG_PROBE_ACK, &msg) != 0)
		return;
	e = outbox_add(out, FX_REPLY);
	e->conn = p->conn;
	e->frame = frame;
}

static void
on_probe(struct detect *d, uint64_t conn, const struct frame *f, const struct msg_probe *probe,
    struct moment m, struct outbox *out)
{
	union msg msg;
	struct probe *p = NULL;

	for (size_t i = 0; i < DETECT_PROBES && p == NULL; i++)
		if (d->probes[i].token == 0)
			p = &d->probes[i];
	if (p == NULL || watch_find(d, &probe->target) == NULL)
		return; /* no answer says as much */
	p->token = ++d->token;
	p->target = probe->target;
	p->conn = conn;
	p->request = f->request;
	p->until = m.now + DETECT_HELP;
	d->wake = MIN(d->wake, p->until);
	msg.ping.token = p->token;
	send(d, &p->target, 0, MSG_PING, &msg, out);
}

static void
on_pong(struct detect *d, const struct dyn_id *from, uint64_t token, struct outbox *out)
{
	for (size_t i = 0; i < DETECT_PROBES && token != 0; i++)
		if (d->probes[i].token == token && id_equal(&d->probes[i].target, from))
			probe_ends(d, &d->probes[i], 0, out);
}

/* What a helper says.  It also shows that we are not cut off. */
static void
on_probe_ack(struct detect *d, const struct msg_probe_ack *ack, struct moment m,
    struct outbox *out)
{
	struct watch *w = watch_find(d, &ack->target);

	if (w == NULL || w->state != DYN_DOUBTED)
		return;
	w->helped = true;
	if (ack->rc != 0 || w->seen)
		return;
	w->seen = true;
	reset(w, m, out);
}

void
detect_frame(struct detect *d, const struct dyn_id *from, uint64_t conn, const struct frame *f,
    const union msg *msg, struct moment m, struct outbox *out)
{
	switch (f->kind) {
	case MSG_PING:
		ping_answer(conn, f, &msg->ping, out);
		break;
	case MSG_PONG:
		on_pong(d, from, msg->pong.token, out);
		detect_answered(d, from, m, out);
		break;
	case MSG_PROBE:
		on_probe(d, conn, f, &msg->probe, m, out);
		break;
	case MSG_PROBE_ACK:
		on_probe_ack(d, &msg->probe_ack, m, out);
		detect_answered(d, from, m, out);
		break;
	default:
		break;
	}
}

/* -------------------------------------------------------------- time, view */

void
detect_tick(struct detect *d, struct moment m, struct outbox *out)
{
	bool pinging = m.now >= d->ping_at;

	if (m.now > d->wake + DETECT_LATE)
		distrust_myself(d, m, out);
	if (pinging)
		d->ping_at = m.now + d->period;
	for (size_t i = 0; i < d->count; i++)
		look_at(d, &d->list[i], pinging, m, out);
	for (size_t i = 0; i < DETECT_PROBES; i++)
		if (d->probes[i].token != 0 && d->probes[i].until <= m.now)
			probe_ends(d, &d->probes[i], DYN_ETIMEOUT, out);
	set_wake(d, m);
}

/* The watch of a member in the newer list. */
static void
watch_from(const struct detect *d, const struct record *r, struct watch *w, struct moment m)
{
	const struct watch *old = watch_find(d, &r->id);

	if (old != NULL) {
		*w = *old;
		/* It was started anew, or has moved: it may be there now. */
		if (w->incarnation != r->incarnation && w->state == DYN_SUSPECT)
			w->next_at = m.now;
	} else {
		memset(w, 0, sizeof(*w));
		w->id = r->id;
		start_anew(w, m);
	}
	w->incarnation = r->incarnation;
}

/* Who is watched no more leaves no mark at others here. */
static void
let_go(const struct detect *d, const struct view *v, struct outbox *out)
{
	for (size_t i = 0; i < d->count; i++) {
		const struct record *r = view_find(v, &d->list[i].id);

		if (r == NULL || !record_is_here(r))
			set_state(&d->list[i], DYN_LIVE, out);
	}
}

void
detect_view(struct detect *d, struct view *v, struct moment m, struct outbox *out)
{
	struct watch *list = mem_array(MAX(v->count, 1), sizeof(*list));
	uint64_t period = d->o.client ? DETECT_PERIOD_CLIENT : DETECT_PERIOD;
	size_t count = 0;

	if (list == NULL) {
		outbox_log(out, DYN_LOG_WARNING, "no memory to watch members");
		return; /* those that were watched still are */
	}
	let_go(d, v, out);
	for (size_t i = 0; i < v->count; i++)
		if (record_is_here(&v->records[i]) &&
		    !id_equal(&v->records[i].id, &d->o.self))
			watch_from(d, &v->records[i], &list[count++], m);
	mem_free(d->list);
	d->list = list;
	d->count = count;
	view_ref(v);
	view_unref(d->view);
	d->view = v;
	d->period = period * MAX(1, count / DETECT_MEMBERS);
	d->ping_at = MIN(d->ping_at, m.now + d->period);
	set_wake(d, m);
}
