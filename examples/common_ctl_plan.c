/*
 * dynctl plan, change: orders that change the ring.
 */
#include "common_ctl.h"
#include "common_table.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* Wrong words, told as the failures of calls are. */
static int
fail_word(const struct ctl *c, const char *word, int rc, const char *text)
{
	(void)ctl_fail(c, word, rc, text);
	return EXIT_USAGE;
}

/* The member whose id begins so; a message if there is not exactly one. */
static int
find_id(struct ctl *c, const char *word, const char *text, size_t len, struct dyn_id *out)
{
	struct dyn_member *members;
	size_t count, found = 0;
	char id[33], why[80];
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
	snprintf(why, sizeof(why), "%s member's id begins with '%.*s'",
	    found == 0 ? "no" : "more than one", len > 32 ? 32 : (int)len, text);
	return fail_word(c, word, found == 0 ? DYN_ENOTFOUND : DYN_EINVAL, why);
}

/* What an order is called, and what follows its id. */
static const struct order_name {
	const char *text; /* with '=' */
	bool more;        /* ":" and something stand behind the id */
	char what;
} order_names[] = {
    {"join=", false, 'j'},
    {"leave=", false, 'l'},
    {"forget=", false, 'f'},
    {"replace=", true, 'r'},
    {"weight=", true, 'w'},
    {"location=", true, 'o'},
};

static const struct order_name *
find_order(const char *word)
{
	for (size_t i = 0; i < sizeof(order_names) / sizeof(order_names[0]); i++)
		if (strncmp(word, order_names[i].text, strlen(order_names[i].text)) == 0)
			return &order_names[i];
	return NULL;
}

static int
add_weight(dyn_plan *p, struct dyn_id id, const char *text)
{
	size_t digits = strspn(text, "0123456789");

	if (digits == 0 || digits > 5 || text[digits] != '\0')
		return DYN_EINVAL;
	return dyn_plan_weight(p, id, (unsigned)strtoul(text, NULL, 10));
}

static int
add_order(dyn_plan *p, char what, struct dyn_id id, struct dyn_id other, const char *rest)
{
	switch (what) {
	case 'j':
		return dyn_plan_join(p, id);
	case 'l':
		return dyn_plan_leave(p, id);
	case 'f':
		return dyn_plan_forget(p, id);
	case 'r':
		return dyn_plan_replace(p, id, other);
	case 'w':
		return add_weight(p, id, rest);
	default:
		return dyn_plan_location(p, id, rest);
	}
}

/* "leave=ID", "weight=ID:200": its name ends at '=', the id at ':' or the end. */
static int
take_order(struct ctl *c, dyn_plan *p, const char *word)
{
	const struct order_name *name = find_order(word);
	const char *id_text, *colon, *rest;
	struct dyn_id id, other = {{0}};
	int status, rc;

	if (name == NULL)
		return fail_word(c, word, DYN_EINVAL, "no such order");
	id_text = word + strlen(name->text);
	colon = strchr(id_text, ':');
	rest = colon != NULL ? colon + 1 : "";
	if ((colon != NULL) != name->more)
		return fail_word(c, word, DYN_EINVAL,
		    name->more ? "':' and more have to follow the id"
			       : "nothing may follow the id");
	status = find_id(c, word, id_text,
	    colon != NULL ? (size_t)(colon - id_text) : strlen(id_text), &id);
	if (status == EXIT_DONE && name->what == 'r')
		status = find_id(c, word, rest, strlen(rest), &other);
	if (status != EXIT_DONE)
		return status;
	rc = add_order(p, name->what, id, other, rest);
	if (rc == DYN_EINVAL && name->what == 'w')
		return fail_word(c, word, rc, "a weight is a number from 1 to 10000");
	if (rc == DYN_EINVAL && name->what == 'o')
		return fail_word(c, word, rc, "a location is dc/zone/rack/machine");
	return rc == 0 ? EXIT_DONE : ctl_fail_call(c, word, rc);
}

static void
print_json(const struct dyn_plan_figures *f, bool ordered)
{
	struct json j = {.out = stdout};

	json_open(&j, NULL, '{');
	json_bool(&j, "ordered", ordered);
	json_number(&j, "epoch", f->epoch);
	json_bool(&j, "moving", f->moving);
	json_number(&j, "members", f->members);
	json_number(&j, "members_then", f->members_then);
	json_number(&j, "partitions", f->partitions);
	json_number(&j, "moves", f->moves);
	json_number(&j, "under_replicated", f->under_replicated);
	json_number(&j, "zones", f->zones);
	json_number(&j, "zones_then", f->zones_then);
	json_number(&j, "crowded", f->crowded);
	json_number(&j, "crowded_then", f->crowded_then);
	json_number(&j, "bytes", f->bytes);
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
		print_json(&f, commit);
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
