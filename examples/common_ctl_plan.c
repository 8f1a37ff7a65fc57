/*
 * dynctl plan, change: orders that change the ring.
 */
#include "common_ctl.h"
#include "common_table.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* The member whose id begins so; a message if there is not exactly one. */
static int
find_id(struct ctl *c, const char *text, size_t len, struct dyn_id *out)
{
	struct dyn_member *members;
	size_t count, found = 0;
	char id[33];
	int rc;

	rc = dyn_members(c->node, &members, &count);
	if (rc != 0)
		return ctl_fail_call(c, "members", rc);
	for (size_t i = 0; i < count; i++) {
		for (size_t k = 0; k < sizeof(members[i].id.bytes); k++)
			snprintf(id + 2 * k, 3, "%02x", members[i].id.bytes[k]);
		if (len == 0 || len > 32 || strncmp(id, text, len) != 0)
			continue;
		*out = members[i].id;
		found++;
	}
	dyn_members_free(members);
	if (found == 1)
		return EXIT_DONE;
	fprintf(stderr, "dynctl: %s member's id begins with '%.*s'\n",
	    found == 0 ? "no" : "more than one", (int)len, text);
	return EXIT_USAGE;
}

/* "leave=ID", "weight=ID:200": its name ends at '=', the id at ':' or the end. */
static int
take_order(struct ctl *c, dyn_plan *p, const char *word)
{
	const char *id_text = strchr(word, '='), *rest;
	size_t name = id_text != NULL ? (size_t)(id_text - word) : 0;
	struct dyn_id id, other;
	unsigned long weight;
	char *end;
	int status, rc;

#define IS(text) (name == strlen(text) && strncmp(word, text, name) == 0)
	if (id_text == NULL)
		goto wrong;
	id_text++;
	rest = strchr(id_text, ':');
	status = find_id(
	    c, id_text, rest != NULL ? (size_t)(rest - id_text) : strlen(id_text), &id);
	if (status != EXIT_DONE)
		return status;
	if (IS("join") && rest == NULL) {
		rc = dyn_plan_join(p, id);
	} else if (IS("leave") && rest == NULL) {
		rc = dyn_plan_leave(p, id);
	} else if (IS("forget") && rest == NULL) {
		rc = dyn_plan_forget(p, id);
	} else if (IS("replace") && rest != NULL) {
		status = find_id(c, rest + 1, strlen(rest + 1), &other);
		if (status != EXIT_DONE)
			return status;
		rc = dyn_plan_replace(p, id, other);
	} else if (IS("weight") && rest != NULL) {
		weight = strtoul(rest + 1, &end, 10);
		if (*end != '\0' || weight > 10000)
			goto wrong;
		rc = dyn_plan_weight(p, id, (unsigned)weight);
	} else if (IS("location") && rest != NULL) {
		rc = dyn_plan_location(p, id, rest + 1);
	} else {
		goto wrong;
	}
#undef IS
	return rc == 0 ? EXIT_DONE : ctl_fail_call(c, word, rc);
wrong:
	fprintf(stderr, "dynctl: '%s' is no order\n", word);
	return EXIT_USAGE;
}

static void
print_json(const struct dyn_plan_figures *f)
{
	struct json j = {.out = stdout};

	json_open(&j, NULL, '{');
	json_number(&j, "epoch", f->epoch);
	json_bool(&j, "moving", f->moving);
	json_number(&j, "members", f->members);
	json_number(&j, "members_then", f->members_then);
	json_number(&j, "moves", f->moves);
	json_number(&j, "under_replicated", f->under_replicated);
	json_number(&j, "zones", f->zones);
	json_number(&j, "zones_then", f->zones_then);
	json_number(&j, "crowded", f->crowded);
	json_number(&j, "crowded_then", f->crowded_then);
	json_number(&j, "bytes", f->bytes);
	json_number(&j, "seconds", f->seconds);
	json_close(&j, '}');
	putchar('\n');
}

static void
print_text(const struct dyn_plan_figures *f)
{
	if (f->moving)
		printf("owners change already; this comes after that\n");
	printf("owners            %u, then %u\n", f->members, f->members_then);
	printf("copies to move    %u (%u partitions)\n", f->moves, f->partitions);
	printf("zones             %u, then %u\n", f->zones, f->zones_then);
	if (f->crowded + f->crowded_then > 0)
		printf("in too few zones  %u partitions, then %u\n", f->crowded, f->crowded_then);
	if (f->under_replicated > 0)
		printf("too few copies of %u partitions then\n", f->under_replicated);
}

/* A client stores nothing: what a partition holds is asked of a member. */
static void
estimate(struct ctl *c, struct dyn_plan_figures *f)
{
	struct dyn_status s = DYN_STATUS_INIT;
	struct dyn_member *members;
	uint64_t bytes = 0, owned = 0;
	size_t count;

	if (dyn_members(c->node, &members, &count) != 0)
		return;
	for (size_t i = 0; i < count; i++) {
		if (!members[i].reachable ||
		    dyn_member_status(c->node, members[i].id, 2000, &s, NULL) != 0)
			continue;
		bytes += s.bytes;
		owned += s.owned;
	}
	dyn_members_free(members);
	if (owned > 0)
		f->bytes = bytes / owned * f->moves;
}

static int
plan(struct ctl *c, bool commit)
{
	struct dyn_plan_figures f = DYN_PLAN_FIGURES_INIT;
	int status = EXIT_DONE, rc;
	dyn_plan *p;

	rc = dyn_plan_new(&p, c->node);
	if (rc != 0)
		return ctl_fail_call(c, "plan", rc);
	for (int i = 0; i < c->word_count && status == EXIT_DONE; i++)
		status = take_order(c, p, c->words[i]);
	if (status == EXIT_DONE) {
		rc = dyn_plan_show(p, &f);
		if (rc == 0)
			estimate(c, &f);
		if (rc == 0 && commit)
			rc = dyn_plan_commit(p, 0);
		if (rc != 0)
			status = ctl_fail_call(c, commit ? "change" : "plan", rc);
	}
	if (status == EXIT_DONE && c->json) {
		print_json(&f);
	} else if (status == EXIT_DONE) {
		print_text(&f);
		printf("bytes to move     about %" PRIu64 "\n", f.bytes);
		printf("%s\n", commit ? "ordered; dynctl status shows how far it is" :
		    "nothing was ordered");
	}
	dyn_plan_free(p);
	return status;
}

int
ctl_plan(struct ctl *c)
{
	return plan(c, false);
}

int
ctl_change(struct ctl *c)
{
	return plan(c, true);
}
