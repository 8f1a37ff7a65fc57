/*
 * See common_peer.h.  Both ends are the same program on the same machine, so
 * the line carries plain structs, each followed by its bytes.
 *
 * The child is one thread of ours: it waits for requests and for libdyn at
 * once and answers from the callbacks, which DYN_ON_DISPATCH runs here.  A
 * blocked answer blocks only itself: the sender of requests is expected to
 * read answers, and its requests are small against the socket's buffer.
 */
#include "common_peer.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { PEERS_MAX = 64, FDS_MAX = 256, PART_MAX = 1 << 26 };
enum { OPEN_WAIT_MS = 20000, CLOSE_MS = 3000 };

struct request_head {
	uint32_t tag, op, bucket, key_len, context_len, value_len;
};

struct answer_head {
	uint32_t tag;
	int32_t rc;
	uint32_t count, siblings, context_len, value_len;
	struct dyn_receipt receipt;
};

/* ------------------------------------------------------------------ the line */

static int
write_all(int fd, const void *bytes, size_t len)
{
	const char *p = bytes;
	ssize_t n;

	while (len > 0) {
		n = send(fd, p, len, MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -1;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

static int
read_all(int fd, void *bytes, size_t len)
{
	char *p = bytes;
	ssize_t n;

	while (len > 0) {
		n = read(fd, p, len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n == 0)
			errno = ECONNRESET;
		if (n <= 0)
			return -1;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

static int
read_part(int fd, struct dyn_buffer *out, size_t len)
{
	if (len > PART_MAX) {
		errno = EPROTO;
		return -1;
	}
	out->data = malloc(len + 1);
	if (out->data == NULL)
		return -1;
	out->len = len;
	return read_all(fd, out->data, len);
}

static struct dyn_slice
part(const struct dyn_buffer *b)
{
	return (struct dyn_slice){.data = b->data, .len = b->len};
}

static int
write_answer(
    int fd, struct answer_head *head, struct dyn_slice context, struct dyn_slice value)
{
	head->context_len = (uint32_t)context.len;
	head->value_len = (uint32_t)value.len;
	if (write_all(fd, head, sizeof(*head)) != 0 ||
	    write_all(fd, context.data, context.len) != 0)
		return -1;
	return write_all(fd, value.data, value.len);
}

/* ----------------------------------------------------------------- the child */

struct child {
	int fd;
	FILE *log;
	dyn_node *node;
	dyn_bucket *buckets[PEER_BUCKETS];
};

/* A call under way. */
struct pending {
	struct child *child;
	uint32_t tag;
};

static void
log_to_file(void *arg, enum dyn_log_level level, const char *line)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	fprintf(arg, "%ld.%03ld %d %s\n", (long)t.tv_sec, t.tv_nsec / 1000000, (int)level,
	    line);
}

static void
on_done(void *arg, int rc, dyn_result *result)
{
	struct pending *p = arg;
	struct answer_head head = {.tag = p->tag, .rc = rc};
	struct dyn_slice value = {.data = NULL}, context = {.data = NULL};
	unsigned char bytes[65536];

	if (result != NULL) {
		head.receipt = *dyn_result_receipt(result);
		head.count = (uint32_t)dyn_result_count(result);
		head.siblings = (uint32_t)dyn_result_siblings(result);
		value = dyn_result_value(result, 0);
		context.data = bytes;
		rc = dyn_context_encode(
		    dyn_result_context(result), bytes, sizeof(bytes), &context.len);
		if (rc != 0) {
			head.rc = rc;
			context.len = 0;
		}
	}
	write_answer(p->child->fd, &head, context, value);
	dyn_result_free(result);
	free(p);
}

/* Start a call; what is refused at once is answered at once. */
static void
start_call(
    struct child *c, const struct request_head *head, const struct dyn_buffer parts[3])
{
	struct dyn_call call = {.flags = head->op == PEER_HERE ? DYN_HERE : 0};
	struct dyn_slice key = part(&parts[0]), value = part(&parts[2]);
	struct pending *p = calloc(1, sizeof(*p));
	dyn_bucket *bucket = c->buckets[head->bucket % PEER_BUCKETS];
	dyn_context *context = NULL;
	int rc = 0;

	if (p == NULL)
		abort();
	*p = (struct pending){.child = c, .tag = head->tag};
	if (parts[1].len > 0)
		rc = dyn_context_decode(&context, parts[1].data, parts[1].len);
	if (rc != 0) {
		on_done(p, rc, NULL);
		return;
	}
	if (head->op == PEER_PUT)
		rc = dyn_put_async(bucket, key, context, value, &call, on_done, p);
	else
		rc = dyn_get_async(bucket, key, &call, on_done, p);
	dyn_context_free(context);
	if (rc != 0)
		on_done(p, rc, NULL);
}

/* What is known here without asking anybody. */
static void
answer_at_once(struct child *c, const struct request_head *head, struct dyn_slice key)
{
	dyn_bucket *bucket = c->buckets[head->bucket % PEER_BUCKETS];
	struct answer_head answer = {.tag = head->tag};
	struct dyn_slice none = {.data = NULL}, value = none;
	struct dyn_status status = DYN_STATUS_INIT;
	struct dyn_stats stats = DYN_STATS_INIT;
	struct dyn_id ids[PEERS_MAX];
	size_t count = 0, owners = 0;

	switch (head->op) {
	case PEER_STATUS:
		answer.rc = dyn_status(c->node, &status);
		value = (struct dyn_slice){.data = &status, .len = sizeof(status)};
		break;
	case PEER_STATS:
		answer.rc = dyn_stats(c->node, &stats);
		value = (struct dyn_slice){.data = &stats, .len = sizeof(stats)};
		break;
	case PEER_LOCATE:
		answer.rc =
		    dyn_locate(bucket, key, ids, PEERS_MAX, &count, &owners, NULL);
		value = (struct dyn_slice){.data = ids, .len = owners * sizeof(ids[0])};
		break;
	default:
		answer.rc = DYN_EINVAL;
		break;
	}
	write_answer(c->fd, &answer, none, value);
}

/* One request.  False if the child is to end. */
static bool
serve_one(struct child *c)
{
	struct dyn_buffer parts[3] = {{.data = NULL}};
	struct answer_head answer;
	struct request_head head;
	struct dyn_slice none = {.data = NULL};
	bool on = false;

	if (read_all(c->fd, &head, sizeof(head)) != 0 ||
	    read_part(c->fd, &parts[0], head.key_len) != 0 ||
	    read_part(c->fd, &parts[1], head.context_len) != 0 ||
	    read_part(c->fd, &parts[2], head.value_len) != 0) {
		dyn_close(c->node, 0);
	} else if (head.op == PEER_CLOSE) {
		answer = (struct answer_head){.tag = head.tag};
		answer.rc = dyn_close(c->node, CLOSE_MS);
		write_answer(c->fd, &answer, none, none);
	} else {
		on = true;
		if (head.op == PEER_GET || head.op == PEER_HERE || head.op == PEER_PUT)
			start_call(c, &head, parts);
		else
			answer_at_once(c, &head, part(&parts[0]));
	}
	for (int i = 0; i < 3; i++)
		free(parts[i].data);
	return on;
}

static void
serve(struct child *c)
{
	struct pollfd fds[2] = {
	    {.fd = c->fd, .events = POLLIN},
	    {.fd = dyn_fd(c->node), .events = POLLIN},
	};
	bool on = true;

	while (on) {
		if (poll(fds, 2, -1) < 0 && errno != EINTR)
			abort();
		if (fds[1].revents != 0)
			dyn_dispatch(c->node);
		if (fds[0].revents != 0)
			on = serve_one(c);
	}
}

static int
open_child(struct child *c, const struct peer_setup *setup, struct dyn_error *error)
{
	struct dyn_options o = DYN_OPTIONS_INIT;
	struct dyn_bucket_options how;
	int rc;

	o.dir = setup->dir;
	o.listen = "127.0.0.1:0";
	o.seeds = setup->seeds;
	o.n = setup->n;
	o.r = setup->r;
	o.w = setup->w;
	o.callbacks = DYN_ON_DISPATCH;
	o.log = log_to_file;
	o.log_arg = c->log;
	o.log_level = DYN_LOG_INFO;
	rc = dyn_open(&c->node, &o, error);
	for (int i = 0; rc == 0 && i < PEER_BUCKETS && setup->buckets[i] != NULL; i++) {
		how = (struct dyn_bucket_options)DYN_BUCKET_OPTIONS_INIT;
		how.merge = setup->merges[i];
		rc = dyn_bucket_open(&c->buckets[i], c->node, setup->buckets[i], &how);
		if (rc != 0)
			snprintf(
			    error->text, sizeof(error->text), "%s", dyn_strerror(rc));
	}
	return rc;
}

/* The life of the child: the first answer says that it is open, and where. */
static void
child_main(int fd, const struct peer_setup *setup)
{
	struct child c = {.fd = fd};
	struct answer_head hello = {.tag = 0};
	struct dyn_error error = {.code = 0};
	struct dyn_slice first, second = {.data = NULL};
	struct dyn_id id;

	c.log = fopen(setup->log, "a");
	if (c.log == NULL)
		_exit(1);
	setvbuf(c.log, NULL, _IOLBF, 0);
	hello.rc = open_child(&c, setup, &error);
	first = dyn_str(error.text);
	if (hello.rc == 0) {
		id = dyn_self(c.node);
		first = dyn_str(dyn_address(c.node));
		second = (struct dyn_slice){.data = &id, .len = sizeof(id)};
	}
	if (write_answer(fd, &hello, first, second) == 0 && hello.rc == 0)
		serve(&c);
	fclose(c.log);
	exit(0); /* not _exit: so that a leak checker may look */
}

/* After fork: only the own line stays open, and nobody outlives the parent. */
static void
become_child(int fd, pid_t parent)
{
	signal(SIGINT, SIG_IGN); /* of the terminal: the parent decides */
	signal(SIGTERM, SIG_DFL);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(1);
	for (int i = 3; i < FDS_MAX; i++)
		if (i != fd)
			close(i);
}

/* ---------------------------------------------------------------- the parent */

static int
read_answer(int fd, struct peer_answer *out)
{
	struct answer_head head;

	memset(out, 0, sizeof(*out));
	if (read_all(fd, &head, sizeof(head)) != 0)
		return -1;
	out->tag = head.tag;
	out->rc = head.rc;
	out->count = head.count;
	out->siblings = head.siblings;
	out->receipt = head.receipt;
	if (read_part(fd, &out->context, head.context_len) == 0 &&
	    read_part(fd, &out->value, head.value_len) == 0)
		return 0;
	peer_answer_free(out);
	return -1;
}

static int
take_hello(struct peer *p, char text[PEER_TEXT_MAX])
{
	struct peer_answer hello;
	size_t from;
	int rc = -1;

	if (peer_receive(p, 1, OPEN_WAIT_MS, &from, &hello) != 0) {
		snprintf(text, PEER_TEXT_MAX, "it did not come up: %s", strerror(errno));
		return -1;
	}
	if (hello.rc != 0 || hello.value.len != sizeof(p->id)) {
		snprintf(text, PEER_TEXT_MAX, "%.*s", (int)hello.context.len,
		    (const char *)hello.context.data);
	} else {
		snprintf(p->address, sizeof(p->address), "%.*s", (int)hello.context.len,
		    (const char *)hello.context.data);
		memcpy(&p->id, hello.value.data, sizeof(p->id));
		rc = 0;
	}
	peer_answer_free(&hello);
	return rc;
}

int
peer_start(struct peer *p, const struct peer_setup *setup, char text[PEER_TEXT_MAX])
{
	pid_t parent = getpid();
	int ends[2];

	*p = (struct peer){.fd = -1};
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
		snprintf(text, PEER_TEXT_MAX, "socketpair: %s", strerror(errno));
		return -1;
	}
	fflush(NULL); /* or the child would print it once more */
	p->pid = fork();
	if (p->pid == 0) {
		become_child(ends[1], parent);
		child_main(ends[1], setup);
	}
	close(ends[1]);
	p->fd = ends[0];
	if (p->pid < 0) {
		snprintf(text, PEER_TEXT_MAX, "fork: %s", strerror(errno));
		close(p->fd);
		p->pid = 0;
		return -1;
	}
	if (take_hello(p, text) == 0)
		return 0;
	peer_kill(p);
	return -1;
}

int
peer_send(struct peer *p, const struct peer_request *r)
{
	struct request_head head = {.tag = r->tag, .op = r->op, .bucket = r->bucket};

	head.key_len = (uint32_t)r->key.len;
	head.context_len = (uint32_t)r->context.len;
	head.value_len = (uint32_t)r->value.len;
	if (write_all(p->fd, &head, sizeof(head)) != 0 ||
	    write_all(p->fd, r->key.data, r->key.len) != 0 ||
	    write_all(p->fd, r->context.data, r->context.len) != 0)
		return -1;
	return write_all(p->fd, r->value.data, r->value.len);
}

int
peer_receive(struct peer *peers, size_t count, int timeout_ms, size_t *from,
    struct peer_answer *out)
{
	struct pollfd fds[PEERS_MAX];
	int ready;

	if (count > PEERS_MAX) {
		errno = EINVAL;
		return -1;
	}
	for (size_t i = 0; i < count; i++)
		fds[i] = (struct pollfd){
		    .fd = peers[i].pid != 0 ? peers[i].fd : -1, .events = POLLIN};
	ready = poll(fds, count, timeout_ms);
	if (ready < 0)
		return -1;
	for (size_t i = 0; i < count; i++) {
		if (fds[i].fd >= 0 && fds[i].revents != 0) {
			*from = i;
			return read_answer(peers[i].fd, out);
		}
	}
	errno = ETIMEDOUT;
	return -1;
}

void
peer_answer_free(struct peer_answer *a)
{
	free(a->context.data);
	free(a->value.data);
	memset(a, 0, sizeof(*a));
}

static void
forget(struct peer *p)
{
	close(p->fd);
	p->pid = 0;
	p->fd = -1;
}

int
peer_kill(struct peer *p)
{
	int status = 0;

	if (p->pid == 0)
		return -1;
	kill(p->pid, SIGKILL);
	while (waitpid(p->pid, &status, 0) < 0 && errno == EINTR)
		;
	forget(p);
	return WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL ? 0 : -1;
}

int
peer_close(struct peer *p, int timeout_ms)
{
	struct peer_request request = {.op = PEER_CLOSE};
	struct peer_answer answer;
	struct pollfd end = {.fd = p->fd, .events = POLLIN};
	size_t from;
	int rc, status = 0;

	if (peer_send(p, &request) != 0 ||
	    peer_receive(p, 1, timeout_ms, &from, &answer) != 0) {
		peer_kill(p);
		return -1;
	}
	rc = answer.rc;
	peer_answer_free(&answer);
	/* The line ends with the process; one that hangs now is killed. */
	if (poll(&end, 1, timeout_ms) <= 0) {
		peer_kill(p);
		return -1;
	}
	while (waitpid(p->pid, &status, 0) < 0 && errno == EINTR)
		;
	forget(p);
	return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? rc : -1;
}
