/*
 * dynctl: how failures and ids are told; see common_ctl.h.
 */
#include "common_ctl.h"

enum { ID_SHOWN = 8 };

const char *
ctl_error_name(int code)
{
	switch (code) {
#define X(name, number, text)                                                            \
	case name:                                                                       \
		return #name;
		DYN_ERRORS(X)
#undef X
	default:
		return "DYN_OK";
	}
}

/* Say that a call failed; returns the exit status for it. */
int
ctl_fail(const struct ctl *c, const char *what, int rc, const char *text)
{
	struct json j = {.out = stdout};

	if (c->json) {
		json_open(&j, NULL, '{');
		json_open(&j, "error", '{');
		json_string(&j, "name", ctl_error_name(rc));
		json_string(&j, "text", text);
		json_bool(&j, "unknown", rc == DYN_EUNKNOWN);
		json_close(&j, '}');
		json_close(&j, '}');
		putchar('\n');
	}
	fprintf(stderr, "dynctl: %s: %s\n", what, text);
	return rc == DYN_EUNKNOWN ? EXIT_UNKNOWN : EXIT_FAILED;
}

int
ctl_fail_call(const struct ctl *c, const char *what, int rc)
{
	return ctl_fail(c, what, rc, dyn_strerror(rc));
}

void
ctl_short_id(struct dyn_id id, char text[33])
{
	dyn_id_format(id, text);
	text[ID_SHOWN] = '\0';
}

void
ctl_json_id(struct json *j, const char *name, struct dyn_id id)
{
	char text[33];

	dyn_id_format(id, text);
	json_string(j, name, text);
}
