/*
 * Goal: dynctl as whoever runs a ring by hand or by a script meets it: what plan and
 * change do, what wrong words bring, the exit status of each outcome, and JSON that can be
 * read and has the fields of its manual page.
 * Method: a ring of processes, a dynd that waits, and dynctl itself, run as a program.
 */
#include "ring.h"

#include <ctype.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { OUT_MAX = 65536, PAGE_MAX = 65536 };

/* What a run of dynctl left. */
static struct {
	int status;
	char out[OUT_MAX], err[4096];
} ran;

static void
program_path(const char *name, char path[600])
{
	ssize_t len = readlink("/proc/self/exe", path, 500);

	ck_assert_int_gt(len, 0);
	path[len] = '\0';
	for (int i = 0; i < 3; i++) /* .../test/cluster/ctl_test */
		*strrchr(path, '/') = '\0';
	snprintf(path + strlen(path), 100, "/examples/%s", name);
}

static void
read_text(const char *path, char *text, size_t cap)
{
	FILE *f = fopen(path, "r");
	size_t len;

	ck_assert_msg(f != NULL, "%s", path);
	len = fread(text, 1, cap - 1, f);
	ck_assert_uint_lt(len, cap - 1);
	text[len] = '\0';
	fclose(f);
}

/* dynctl with the ring's seeds and these words; its exit status. */
static int
ctl(const struct ring *r, const char *format, ...)
{
	static const char *dir;
	char program[600], words[1500], line[4096];
	va_list args;
	int status;

	if (dir == NULL)
		dir = test_dir();
	va_start(args, format);
	vsnprintf(words, sizeof(words), format, args);
	va_end(args);
	program_path("dynctl", program);
	snprintf(line, sizeof(line), "'%s' --timeout 20000 --seeds %s %s >%s/out 2>%s/err",
	    program, r->seeds, words, dir, dir);
	status = system(line);
	ck_assert_msg(WIFEXITED(status), "%s: %x", line, (unsigned)status);
	ran.status = WEXITSTATUS(status);
	snprintf(line, sizeof(line), "%s/out", dir);
	read_text(line, ran.out, sizeof(ran.out));
	snprintf(line, sizeof(line), "%s/err", dir);
	read_text(line, ran.err, sizeof(ran.err));
	return ran.status;
}

#define RUNS(status_, ...)                                                               \
	ck_assert_msg(ctl(__VA_ARGS__) == (status_), "%d instead of %d: %s%s",           \
	    ran.status, (status_), ran.out, ran.err)
#define SAYS(text, part)                                                                 \
	ck_assert_msg(strstr(text, part) != NULL, "'%s' not in: %s", (part), (text))

/* --------------------------------------------------------------------- JSON */

static const char *json_value(const char *p, char *names, size_t cap);

/* Behind a string; NULL: it is none. */
static const char *
json_text(const char *p)
{
	if (*p++ != '"')
		return NULL;
	while (*p != '"') {
		if ((unsigned char)*p < ' ')
			return NULL;
		if (*p == '\\' && strchr("\"\\/bfnrtu", *++p) == NULL)
			return NULL;
		p++;
	}
	return p + 1;
}

/* Behind an object or array. */
static const char *
json_group(const char *p, char *names, size_t cap)
{
	char end = *p == '{' ? '}' : ']';
	const char *name;

	if (*++p == end)
		return p + 1;
	for (;; p++) {
		if (end == '}') {
			name = p;
			p = json_text(p);
			if (p == NULL || *p != ':')
				return NULL;
			snprintf(names + strlen(names), cap - strlen(names), "%.*s\n",
			    (int)(p - name - 2), name + 1);
			p++;
		}
		p = json_value(p, names, cap);
		if (p == NULL || *p == end)
			return p == NULL ? NULL : p + 1;
		if (*p != ',')
			return NULL;
	}
}

/* Behind the value that begins here, written without spaces; NULL: it is none.  Adds
 * the names of members, a line each. */
static const char *
json_value(const char *p, char *names, size_t cap)
{
	static const char *const words[] = {"true", "false", "null"};
	char *end;

	if (*p == '{' || *p == '[')
		return json_group(p, names, cap);
	if (*p == '"')
		return json_text(p);
	for (size_t i = 0; i < 3; i++)
		if (strncmp(p, words[i], strlen(words[i])) == 0)
			return p + strlen(words[i]);
	if (*p != '-' && !isdigit((unsigned char)*p))
		return NULL;
	(void)strtod(p, &end);
	return end;
}

/* Is there a word of the manual page's section that is the name? */
static bool
page_has(const char *section, const char *name)
{
	size_t len = strlen(name);

	for (const char *p = section; (p = strstr(p, name)) != NULL; p += len)
		if (p[-1] == ' ' && strchr(" \n", p[len]) != NULL)
			return true;
	return false;
}

/* What was printed is one line of JSON, has these fields, and the manual page names each
 * that it has; NULL ends the list. */
static void
json_has(const char *first, ...)
{
	static char names[OUT_MAX], page[PAGE_MAX];
	char *section, line[64], *name;
	const char *end;
	va_list args;

	names[0] = '\n';
	names[1] = '\0';
	end = json_value(ran.out, names, sizeof(names));
	ck_assert_msg(end != NULL && strcmp(end, "\n") == 0, "no JSON: %s", ran.out);
	va_start(args, first);
	for (const char *field = first; field != NULL; field = va_arg(args, const char *)) {
		snprintf(line, sizeof(line), "\n%s\n", field);
		ck_assert_msg(strstr(names, line) != NULL, "no %s: %s", field, ran.out);
	}
	va_end(args);
	read_text("man/dynctl.1", page, sizeof(page));
	section = strstr(page, ".Sh JSON\n");
	ck_assert_ptr_nonnull(section);
	*strstr(section, ".Sh EXIT STATUS") = '\0';
	for (name = strtok(names, "\n"); name != NULL; name = strtok(NULL, "\n"))
		ck_assert_msg(page_has(section, name), "the page lacks %s", name);
}

/* ------------------------------------------------------------------ the ring */

static struct ring *
ring_of(unsigned count, unsigned places)
{
	static struct ring r;

	ring_init(&r, places);
	for (unsigned i = 0; i < count; i++)
		ring_open(&r, i);
	ring_settled(&r, count);
	return &r;
}

static void
open_waiting(struct ring *r, unsigned i)
{
	struct dyn_options o = ring_options(r, i);

	o.join = DYN_JOIN_WAIT;
	proc_open(&r->peer[i], &o);
}

static const char *
id_of(const struct proc *p)
{
	static char texts[4][33];
	static unsigned next;
	char *text = texts[next++ % 4];

	dyn_id_format(p->id, text);
	return text;
}

static uint64_t
epoch_of(struct ring *r)
{
	struct dyn_status s = DYN_STATUS_INIT;

	proc_status(&r->peer[0], &s);
	return s.epoch;
}

static bool
has_member(struct proc *by, const struct proc *p, struct dyn_member *out)
{
	struct dyn_member m[16];
	size_t count = proc_members(by, m, 16);

	for (size_t i = 0; i < count; i++)
		if (memcmp(&m[i].id, &p->id, sizeof(p->id)) == 0) {
			*out = m[i];
			return true;
		}
	return false;
}

/* All peers that run, in a list as gossip tells it. */
static void
all_know(struct ring *r, const struct proc *p)
{
	struct dyn_member m;

	for (unsigned i = 0; i < r->count; i++)
		if (r->peer[i].pid != 0)
			TEST_WAIT(has_member(&r->peer[i], p, &m), 20000);
}

/* A dynd; what its ready line says goes to p.  It ends with the test. */
static void
start_dynd(const struct ring *r, struct proc *p, const char *join)
{
	char program[600], line[200], id[40];
	pid_t parent = getpid();
	int ends[2];
	FILE *f;

	program_path("dynd", program);
	ck_assert_int_eq(pipe(ends), 0);
	memset(p, 0, sizeof(*p));
	p->pid = fork();
	if (p->pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != parent)
			_exit(1);
		dup2(ends[1], 1);
		for (int i = 3; i < 256; i++)
			close(i);
		execl(program, "dynd", "--listen", "127.0.0.1:0", "--seeds", r->seeds,
		    "--join", join, "--log-level", "error", (char *)NULL);
		_exit(1);
	}
	close(ends[1]);
	f = fdopen(ends[0], "r");
	ck_assert_ptr_nonnull(f);
	ck_assert_ptr_nonnull(fgets(line, sizeof(line), f));
	fclose(f);
	ck_assert_int_eq(sscanf(line, "ready %63s %39s", p->address, id), 2);
	ck_assert_uint_eq(strlen(id), 32);
	for (size_t i = 0; i < sizeof(p->id.bytes); i++) {
		unsigned byte;

		ck_assert_int_eq(sscanf(id + 2 * i, "%2x", &byte), 1);
		p->id.bytes[i] = (unsigned char)byte;
	}
}

/* -------------------------------------------------------------------- orders */

/* A dynd that waits joins, gets another weight and place, and leaves. */
START_TEST(one_joins_and_leaves)
{
	struct ring *r = ring_of(3, 3);
	struct dyn_member m;
	struct proc guest;
	uint64_t epoch;
	int status;

	start_dynd(r, &guest, "wait");
	all_know(r, &guest);
	RUNS(0, r, "members");
	SAYS(ran.out, guest.address);
	SAYS(ran.out, "waits to join");
	RUNS(0, r, "--json members");
	SAYS(ran.out, "\"membership\":\"waiting\"");
	epoch = epoch_of(r);
	RUNS(0, r, "plan join=%.9s", id_of(&guest));
	SAYS(ran.out, "owners            3, then 4");
	SAYS(ran.out, "nothing was ordered");
	RUNS(0, r, "--json plan join=%s", id_of(&guest));
	SAYS(ran.out, "\"ordered\":false");
	SAYS(ran.out, "\"partitions\":64,");
	ck_assert_uint_eq(epoch_of(r), epoch);
	ck_assert(has_member(&r->peer[0], &guest, &m) && m.membership == DYN_WAITING);
	RUNS(0, r, "change join=%s", id_of(&guest));
	SAYS(ran.out, "ordered");
	TEST_WAIT(has_member(&r->peer[1], &guest, &m) && m.synced &&
		      m.membership == DYN_JOINED,
	    30000);
	RUNS(0, r, "--json change weight=%s:250 location=%s:dc/z9/r/m", id_of(&guest),
	    id_of(&guest));
	json_has("ordered", "epoch", "moving", "members", "members_then", "partitions",
	    "moves", "under_replicated", "bytes", NULL);
	SAYS(ran.out, "\"ordered\":true");
	TEST_WAIT(has_member(&r->peer[2], &guest, &m) && m.weight == 250 &&
		      strcmp(m.location, "dc/z9/r/m") == 0,
	    30000);
	RUNS(0, r, "change leave=%s", id_of(&guest));
	for (unsigned i = 0; i < 3; i++) /* dynctl may ask any of them */
		TEST_WAIT(!has_member(&r->peer[i], &guest, &m), 60000);
	RUNS(0, r, "members");
	ck_assert_ptr_null(strstr(ran.out, guest.address));
	ck_assert_int_eq(kill(guest.pid, SIGTERM), 0);
	ck_assert_int_eq(waitpid(guest.pid, &status, 0), guest.pid);
	ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "dynd: %x",
	    (unsigned)status);
	ring_settled(r, 3);
	ring_close(r);
}
END_TEST

/* A dead one is replaced, another one forgotten, by one line with a third order. */
START_TEST(the_dead_are_replaced_and_forgotten)
{
	struct ring *r = ring_of(5, 6);
	struct dyn_member m;
	struct proc dead[2];

	proc_write(&r->peer[0], "k", "v");
	open_waiting(r, 5);
	all_know(r, &r->peer[5]);
	RUNS(0, r, "status"); /* that one waits is no harm */
	SAYS(ran.out, "waits to join");
	for (unsigned i = 0; i < 2; i++) {
		dead[i] = r->peer[3 + i];
		proc_kill(&r->peer[3 + i]);
	}
	RUNS(6, r, "status");
	SAYS(ran.out, "not all is well");
	RUNS(6, r, "--json status");
	json_has("well", "members", "nodes", "answered", "error", NULL);
	SAYS(ran.out, "\"well\":false");
	RUNS(0, r, "plan replace=%s:%s forget=%s weight=%s:300", id_of(&dead[0]),
	    id_of(&r->peer[5]), id_of(&dead[1]), id_of(&r->peer[0]));
	SAYS(ran.out, "owners            5, then 4");
	RUNS(0, r, "change replace=%s:%s forget=%s weight=%s:300", id_of(&dead[0]),
	    id_of(&r->peer[5]), id_of(&dead[1]), id_of(&r->peer[0]));
	ring_settled(r, 4);
	for (unsigned i = 0; i < 2; i++)
		ck_assert(!has_member(&r->peer[0], &dead[i], &m));
	ck_assert(has_member(&r->peer[1], &r->peer[0], &m) && m.weight == 300);
	ck_assert(has_member(&r->peer[1], &r->peer[5], &m) && m.membership == DYN_JOINED);
	RUNS(0, r, "status");
	SAYS(ran.out, "all is well");
	ck_assert_str_eq(proc_read(&r->peer[5], "k", 0), "v");
	/* What is done is done: there is no such member to forget again. */
	RUNS(1, r, "change forget=%s", id_of(&dead[1]));
	SAYS(ran.err, "no member's id begins with");
	ring_close(r);
}
END_TEST

/* A change that waits for a dead newcomer is brought to its end by forgetting it. */
START_TEST(a_change_is_given_up)
{
	struct ring *r = ring_of(3, 4);
	struct dyn_status s = DYN_STATUS_INIT;
	struct proc dead;

	open_waiting(r, 3);
	all_know(r, &r->peer[3]);
	dead = r->peer[3];
	proc_kill(&r->peer[3]);
	RUNS(0, r, "change join=%s", id_of(&dead));
	for (unsigned i = 0; i < 3; i++)
		TEST_WAIT((proc_status(&r->peer[i], &s), s.moving && s.awaited == 1), 20000);
	RUNS(6, r, "status");
	SAYS(ran.out, "partitions are moving");
	RUNS(0, r, "plan weight=%s:200", id_of(&r->peer[0]));
	SAYS(ran.out, "owners change already");
	RUNS(0, r, "change forget=%s", id_of(&dead));
	ring_settled(r, 3);
	RUNS(0, r, "status");
	ring_close(r);
}
END_TEST

/* ----------------------------------------------------------------- wrong words */

/* Each ends with 1 and says why, in JSON too, and orders nothing. */
static void
is_wrong(struct ring *r, const char *word, const char *why)
{
	RUNS(1, r, "plan '%s'", word);
	SAYS(ran.err, why);
	ck_assert_str_eq(ran.out, "");
	/* A good order before it is not given either. */
	RUNS(1, r, "--json change weight=%s:400 '%s'", id_of(&r->peer[0]), word);
	SAYS(ran.err, why);
	SAYS(ran.out, why);
	json_has("error", "name", "text", "unknown", NULL);
}

START_TEST(wrong_orders)
{
	struct ring *r = ring_of(3, 3);
	struct dyn_member m;
	char word[200];
	uint64_t epoch = epoch_of(r);

#define WRONG(why, ...)                                                                  \
	do {                                                                             \
		snprintf(word, sizeof(word), __VA_ARGS__);                               \
		is_wrong(r, word, why);                                                  \
	} while (0)
	WRONG("no such order", "leave");
	WRONG("no such order", "frobnicate=%s", id_of(&r->peer[0]));
	WRONG("no member's id begins with 'xyz'", "leave=xyz");
	WRONG("no member's id begins with ''", "leave=");
	WRONG("no member's id begins with", "forget=%s0", id_of(&r->peer[0]));
	WRONG("nothing may follow", "leave=%s:1", id_of(&r->peer[0]));
	WRONG("have to follow", "weight=%s", id_of(&r->peer[0]));
	WRONG("have to follow", "replace=%s", id_of(&r->peer[0]));
	WRONG("1 to 10000", "weight=%s:", id_of(&r->peer[0]));
	WRONG("1 to 10000", "weight=%s:0", id_of(&r->peer[0]));
	WRONG("1 to 10000", "weight=%s:10001", id_of(&r->peer[0]));
	WRONG("1 to 10000", "weight=%s:4294967297", id_of(&r->peer[0]));
	WRONG("1 to 10000", "weight=%s:-5", id_of(&r->peer[0]));
	WRONG("1 to 10000", "weight=%s:5x", id_of(&r->peer[0]));
	WRONG("dc/zone/rack/machine", "location=%s:a/b/c/d/e/f", id_of(&r->peer[0]));
#undef WRONG
	/* Nobody would be left: a matter of the ring, not of the words. */
	RUNS(4, r, "change leave=%s leave=%s leave=%s", id_of(&r->peer[0]),
	    id_of(&r->peer[1]), id_of(&r->peer[2]));
	SAYS(ran.err, "change:");
	ring_settled(r, 3);
	ck_assert_uint_eq(epoch_of(r), epoch);
	ck_assert(has_member(&r->peer[1], &r->peer[0], &m) && m.weight == 100);
	ring_close(r);
}
END_TEST

START_TEST(wrong_words)
{
	struct ring *r = ring_of(1, 1);
	struct ring nobody = *r;

	RUNS(1, r, "");
	SAYS(ran.err, "usage: dynctl");
	RUNS(1, r, "frobnicate");
	RUNS(1, r, "--frobnicate status");
	RUNS(1, r, "status more");
	RUNS(1, r, "plan");
	RUNS(1, r, "locate");
	RUNS(1, r, "--timeout never status");
	SAYS(ran.err, "--timeout");
	RUNS(1, r, "--w 100 status");
	RUNS(1, r, "--context /nowhere/at/all put k v");
	SAYS(ran.err, "/nowhere/at/all");
	RUNS(1, r, "--seeds nowhere status");
	SAYS(ran.err, "nowhere");
	RUNS(0, r, "--help");
	SAYS(ran.out, "usage: dynctl");
	/* Another ring's name, and nobody there at all. */
	RUNS(2, r, "--ring other --json status");
	json_has("error", "name", "text", "unknown", NULL);
	SAYS(ran.out, "DYN_ERING");
	snprintf(nobody.seeds, sizeof(nobody.seeds), "%s", proc_address());
	RUNS(2, &nobody, "--timeout 300 status");
	SAYS(ran.err, "no seed answered");
	ring_close(r);
}
END_TEST

/* ------------------------------------------------------------------- the rest */

START_TEST(json_of_all)
{
	struct ring *r = ring_of(3, 3);

	RUNS(0, r, "--json status");
	json_has("well", "members", "answered", "agreed", "under_replicated", "pending",
	    "moving", "ring_id", "epoch", "digest", "n", "partitions", "nodes", "id",
	    "address", "location", "weight", "incarnation", "reachable", "synced",
	    "membership", "liveness", "state", "owned", "keys", "bytes", "hints",
	    "catching", "safe_to_stop", "storage_error", "get_latency", "p999_us", NULL);
	SAYS(ran.out, "\"well\":true");
	RUNS(0, r, "--json members");
	json_has("id", "address", "location", "weight", "partitions", "incarnation",
	    "reachable", "synced", "membership", "liveness", "state", NULL);
	SAYS(ran.out, "\"membership\":\"joined\"");
	for (unsigned i = 0; i < 3; i++) {
		SAYS(ran.out, id_of(&r->peer[i]));
		SAYS(ran.out, r->address[i]);
	}
	RUNS(3, r, "--json get 'a \"key\"'");
	json_has("key", "key_base64", "found", "siblings", "values", "receipt", NULL);
	RUNS(0, r, "--json put 'a \"key\"' 'b\\c'");
	json_has("key", "receipt", "owners", "standins", "machines", "zones", "on_disk",
	    "coordinator", NULL);
	RUNS(0, r, "--json get 'a \"key\"'");
	json_has("value", "value_base64", "time_ms", NULL);
	SAYS(ran.out, "\"value\":\"b\\\\c\"");
	RUNS(0, r, "--json locate k");
	json_has("partition", "nodes", "role", "id", "address", "reachable", "state", NULL);
	RUNS(0, r, "--json del 'a \"key\"'");
	json_has("key", "receipt", NULL);
	RUNS(0, r, "--json --time 1 --keys 10 --inflight 2 bench");
	json_has("inflight", "keys", "get", "put", "per_second", "first_error", NULL);
	/* One is gone: the others tell who. */
	proc_kill(&r->peer[2]);
	proc_kill(&r->peer[1]);
	RUNS(4, r, "--json --timeout 2000 get k");
	json_has("error", "name", "text", "unknown", NULL);
	proc_kill(&r->peer[0]);
}
END_TEST

static Suite *
suite(void)
{
	Suite *s = suite_create("dynctl");
	TCase *c = tcase_create("dynctl");

	tcase_set_timeout(c, 180);
	suite_add_tcase(s, c);
	tcase_add_test(c, one_joins_and_leaves);
	tcase_add_test(c, the_dead_are_replaced_and_forgotten);
	tcase_add_test(c, a_change_is_given_up);
	tcase_add_test(c, wrong_orders);
	tcase_add_test(c, wrong_words);
	tcase_add_test(c, json_of_all);
	return s;
}

TEST_MAIN(suite)
