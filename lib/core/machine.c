/*
 * The outbox: a growing array of effects.  What they mean is in machine.h;
 * nothing here carries one out.
 */
#include "core/machine.h"

#include "core/rows.h"

#include <stdarg.h>
#include <stdio.h>

#define OUTBOX_FIRST 64
#define LOG_LINE_MAX 512

void
outbox_init(struct outbox *box)
{
	memset(box, 0, sizeof(*box));
}

void
outbox_fini(struct outbox *box)
{
	for (size_t i = 0; i < box->count; i++)
		effect_drop(&box->list[i]);
	mem_free(box->list);
	outbox_init(box);
}

int
outbox_reserve(struct outbox *box)
{
	size_t cap = box->cap > 0 ? box->cap * 2 : OUTBOX_FIRST;
	struct effect *list = mem_realloc(box->list, cap * sizeof(*list));

	if (list == NULL)
		return DYN_ENOMEM;
	box->list = list;
	box->cap = cap;
	return 0;
}

struct effect *
outbox_add(struct outbox *box, enum effect_kind kind)
{
	struct effect *fx;

	if (box->count == box->cap) {
		int rc = outbox_reserve(box);

		DYN_ASSERT(rc == 0);
	}
	fx = &box->list[box->count++];
	memset(fx, 0, sizeof(*fx));
	fx->kind = kind;
	return fx;
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
