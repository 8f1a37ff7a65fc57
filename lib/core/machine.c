/*
 * The outbox: a growing array of effects, and what replaces it when it cannot grow
 * (machine.h).  What effects mean is there too; nothing here carries one out.
 */
#include "core/machine.h"

#include "core/store.h"
#include "core/work.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#define OUTBOX_FIRST 64
#define LOG_LINE_MAX 512

/* In the letter space of what an effect carries. */
struct strung {
	struct strung *next;
	short kind, rc;
};
_Static_assert(sizeof(struct strung) <= sizeof(struct letter_space), "it lies in there");

enum standing { LOSSY, NEWEST, CARRIER };

static enum standing
standing_of(enum effect_kind kind)
{
	switch (kind) {
	case FX_SEND:
	case FX_REPLY:
	case FX_LOG:
	case FX_POKE:     /* the next frame pokes again */
	case FX_DAMAGED:  /* the next request for the row tells */
	case FX_DOUBT:    /* the detector's own period finds out */
	case FX_RESET:    /* made again while nobody answers */
	case FX_COLLECT:  /* in another round */
	case FX_LEDGER:   /* the next change tells it */
	case FX_LIVENESS: /* of many members: lost, then detect_tell */
		return LOSSY;
	case FX_VIEW:
	case FX_FAIL:
	case FX_SYNCED:
	case FX_STALE:
	case FX_CLEARED:
	case FX_META:
	case FX_HINTS_FULL:
	case FX_CATCHING:
	case FX_LOST:
	case FX_MARKED:
		return NEWEST;
	case FX_COMMIT:
	case FX_DONE:
	case FX_FENCED:
	case FX_ROWS:
	case FX_STORED:
	case FX_CHANGED:
		break;
	}
	return CARRIER;
}

/* Where the object of a CARRIER has its letter space. */
static size_t
space_in(enum effect_kind kind)
{
	switch (kind) {
	case FX_COMMIT:
		return offsetof(struct batch, letter);
	case FX_DONE:
		return offsetof(struct op, letter);
	case FX_ROWS:
	case FX_STORED:
		return offsetof(struct rows, letter);
	case FX_CHANGED:
		return offsetof(struct changes, letter);
	default: /* FENCED: the token begins with it */
		return 0;
	}
}

void
outbox_init(struct outbox *box)
{
	memset(box, 0, sizeof(*box));
}

void
outbox_fini(struct outbox *box)
{
	struct effect e;

	while (outbox_next(box, &e))
		effect_drop(&e);
	mem_free(box->list);
	outbox_init(box);
}

static void
string(struct outbox *box, const struct effect *fx)
{
	struct strung *s = (struct strung *)(void *)((char *)fx->what + space_in(fx->kind));

	s->next = NULL;
	s->kind = (short)fx->kind;
	s->rc = (short)fx->rc;
	if (box->last != NULL)
		box->last->next = s;
	else
		box->first = s;
	box->last = s;
}

static void
unstring(struct outbox *box, struct effect *fx)
{
	struct strung *s = box->first;

	memset(fx, 0, sizeof(*fx));
	fx->kind = (enum effect_kind)s->kind;
	fx->rc = s->rc;
	box->first = s->next;
	if (box->first == NULL)
		box->last = NULL;
	fx->what = (char *)s - space_in(fx->kind);
}

/* The newer one says it all. */
static bool
replaces(const struct effect *fx, const struct effect *older)
{
	return fx->kind == older->kind &&
	    (fx->kind != FX_META || strcmp(fx->address, older->address) == 0);
}

static void
keep(struct outbox *box, const struct effect *fx)
{
	for (unsigned i = 0; i < box->kept_count; i++) {
		if (!replaces(fx, &box->kept[i]))
			continue;
		effect_drop(&box->kept[i]);
		box->kept_count--;
		memmove(box->kept + i, box->kept + i + 1,
		    (box->kept_count - i) * sizeof(box->kept[0]));
		break;
	}
	DYN_ASSERT(box->kept_count < OUTBOX_KEPT);
	box->kept[box->kept_count++] = *fx;
}

/* What was added last while cramped has been filled by now. */
static void
put_away(struct outbox *box)
{
	struct effect *fx = &box->fresh;

	if (!box->filling)
		return;
	box->filling = false;
	switch (standing_of(fx->kind)) {
	case LOSSY:
		box->lost = true;
		effect_drop(fx);
		break;
	case NEWEST:
		keep(box, fx);
		break;
	case CARRIER:
		string(box, fx);
		break;
	}
}

static bool
has_room(struct outbox *box)
{
	size_t cap = box->cap > 0 ? box->cap * 2 : OUTBOX_FIRST;
	struct effect *list;

	if (box->cramped || box->count < box->cap)
		return !box->cramped;
	list = mem_realloc(box->list, cap * sizeof(*list));
	if (list == NULL)
		return false;
	box->list = list;
	box->cap = cap;
	return true;
}

struct effect *
outbox_add(struct outbox *box, enum effect_kind kind)
{
	struct effect *fx;

	put_away(box);
	if (has_room(box)) {
		fx = &box->list[box->count++];
	} else {
		box->cramped = box->filling = true;
		fx = &box->fresh;
	}
	memset(fx, 0, sizeof(*fx));
	fx->kind = kind;
	return fx;
}

bool
outbox_next(struct outbox *box, struct effect *fx)
{
	put_away(box);
	if (box->at < box->count) {
		*fx = box->list[box->at++];
		return true;
	}
	box->at = box->count = 0;
	if (box->kept_count > 0) {
		*fx = box->kept[0];
		box->kept_count--;
		memmove(box->kept, box->kept + 1, box->kept_count * sizeof(box->kept[0]));
		return true;
	}
	if (box->first != NULL) {
		unstring(box, fx);
		return true;
	}
	box->cramped = false;
	return false;
}

void
outbox_log(struct outbox *box, enum dyn_log_level level, const char *fmt, ...)
{
	char line[LOG_LINE_MAX];
	struct effect *fx;
	struct buf *text;
	va_list args;

	va_start(args, fmt);
	vsnprintf(line, sizeof(line), fmt, args);
	va_end(args);
	/* With its final zero, so that the text can be used as a C string. */
	text = buf_copy(line, strlen(line) + 1);
	if (text == NULL)
		return; /* a line less: the log is no promise */
	fx = outbox_add(box, FX_LOG);
	fx->rc = (int)level;
	fx->frame = text;
}

void
effect_drop(struct effect *fx)
{
	buf_unref(fx->frame);
	view_unref(fx->view);
	fx->frame = NULL;
	fx->view = NULL;
	if (fx->kind == FX_CHANGED) {
		changes_free(fx->what);
		fx->what = NULL;
	}
}

struct frame
view_head(const struct view *v, uint64_t request)
{
	struct frame head = { .request = request };

	if (v != NULL && v->current != NULL) {
		head.epoch = view_stamp(v);
		head.table = load_be64(v->current->digest.b);
	}
	return head;
}

bool
head_is_older(const struct view *v, const struct frame *f)
{
	const struct table *t = v != NULL ? v->current : NULL;

	if (t == NULL || f->epoch >> 2 > t->epoch)
		return false;
	return f->epoch >> 2 < t->epoch || f->table < load_be64(t->digest.b);
}

void
ping_answer(uint64_t conn, const struct frame *f, const struct msg_ping *ping, struct outbox *out)
{
	struct frame head = { .version = WIRE_VERSION, .request = f->request };
	union msg msg = { .pong = { .token = ping->token } };
	struct effect *e;
	struct buf *frame;

	if (msg_encode(&frame, &head, MSG_PONG, &msg) != 0)
		return; /* as if it had been lost: the next one is answered */
	e = outbox_add(out, FX_REPLY);
	e->conn = conn;
	e->frame = frame;
}
