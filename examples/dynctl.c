/*
 * dynctl: look at a running ring, read and write it, measure it.  A client of
 * the ring (DYN_CLIENT): it stores nothing and is no member.  See
 * man/dynctl.1, also for the exit status.
 */
#include "common_ctl.h"

#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SECONDS_MAX = 86400, SIZE_LIMIT = DYN_VALUE_LIMIT };

static const struct option flags[] = {
    {"blind", no_argument, NULL, 'B'},
    {"bucket", required_argument, NULL, 'b'},
    {"context", required_argument, NULL, 'c'},
    {"help", no_argument, NULL, 'h'},
    {"inflight", required_argument, NULL, 'i'},
    {"json", no_argument, NULL, 'j'},
    {"keys", required_argument, NULL, 'k'},
    {"log-level", required_argument, NULL, 'v'},
    {"lww", no_argument, NULL, 'l'},
    {"mix", required_argument, NULL, 'm'},
    {"r", required_argument, NULL, 'r'},
    {"ring", required_argument, NULL, 'R'},
    {"save-context", required_argument, NULL, 'S'},
    {"seeds", required_argument, NULL, 's'},
    {"size", required_argument, NULL, 'z'},
    {"time", required_argument, NULL, 't'},
    {"timeout", required_argument, NULL, 'T'},
    {"tls-ca", required_argument, NULL, 'A'},
    {"tls-cert", required_argument, NULL, 'C'},
    {"tls-key", required_argument, NULL, 'K'},
    {"version", no_argument, NULL, 'V'},
    {"w", required_argument, NULL, 'w'},
    {"workers", required_argument, NULL, 'W'},
    {NULL, 0, NULL, 0},
};

static void
usage(FILE *out)
{
	fputs("usage: dynctl [--seeds HOST:PORT,...] [--ring NAME] [--bucket NAME]\n"
	      "              [--tls-ca FILE --tls-cert FILE --tls-key FILE]\n"
	      "              [--timeout MS] [--r R] [--w W] [--lww] [--json] COMMAND\n"
	      "  status                the ring and each of its members\n"
	      "  members               the members as this client sees them\n"
	      "  locate KEY            who stores the key\n"
	      "  plan ORDER ...        what that change of the ring would mean\n"
	      "  change ORDER ...      do it; ORDER is join=ID, leave=ID, forget=ID,\n"
	      "                        replace=OLD:NEW, weight=ID:N or location=ID:TEXT\n"
	      "  get KEY [--save-context FILE]\n"
	      "  put KEY [VALUE|-] [--context FILE | --blind] [--save-context FILE]\n"
	      "  del KEY [--context FILE]\n"
	      "  bench [--inflight C] [--size BYTES] [--keys K] [--time SECONDS]\n"
	      "        [--mix GETS:PUTS] [--workers T]\n"
	      "Default: --seeds 127.0.0.1:7000 --ring dyn --bucket default.\n"
	      "Ends with 0 done, 1 usage, 2 no ring, 3 no such key, 4 failed, 5 unknown\n"
	      "outcome, 6 degraded ring.\n",
	    out);
}

static int
do_bench(struct ctl *c)
{
	struct bench_result *result = calloc(1, sizeof(*result));
	int rc, status;

	if (result == NULL)
		return ctl_fail_call(c, "bench", DYN_ENOMEM);
	c->bench.progress = isatty(2);
	rc = bench_run(c->bucket, &c->bench, result);
	if (rc != 0) {
		status = ctl_fail_call(c, "bench", rc);
	} else {
		status = EXIT_DONE;
		if (atomic_load(&result->failed) > 0 || atomic_load(&result->missing) > 0)
			status = EXIT_FAILED;
		else if (atomic_load(&result->unknown) > 0)
			status = EXIT_UNKNOWN;
		if (c->json)
			bench_json(stdout, &c->bench, result);
		else
			bench_print(stdout, &c->bench, result);
	}
	free(result);
	return status;
}

/* ---------------------------------------------------------------- arguments */

static const struct command {
	const char *name;
	int words_min, words_max;
	int (*run)(struct ctl *);
} commands[] = {
    {"status", 0, 0, ctl_status},
    {"members", 0, 0, ctl_members},
    {"locate", 1, 1, ctl_locate},
    {"plan", 1, 64, ctl_plan},
    {"change", 1, 64, ctl_change},
    {"get", 1, 1, ctl_get},
    {"put", 1, 2, ctl_put},
    {"del", 1, 1, ctl_del},
    {"bench", 0, 0, do_bench},
};

static const struct command *
find_command(const char *name)
{
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		if (strcmp(commands[i].name, name) == 0)
			return &commands[i];
	return NULL;
}

/* "90:10" as the share of gets, in percent. */
static int
take_mix(struct ctl *c, const char *text)
{
	unsigned gets, puts;
	char rest;

	if (sscanf(text, "%u:%u%c", &gets, &puts, &rest) != 2 || gets > 1000 ||
	    puts > 1000 || gets + puts == 0) {
		fprintf(stderr, "dynctl: --mix takes GETS:PUTS, not '%s'\n", text);
		return -1;
	}
	c->bench.gets = gets * 100 / (gets + puts);
	return 0;
}

static int
take_level(struct ctl *c, const char *text)
{
	int level = log_level_parse(text);

	if (level < 0) {
		fprintf(stderr, "dynctl: --log-level does not take '%s'\n", text);
		return -1;
	}
	c->options.log = log_line;
	c->options.log_level = (enum dyn_log_level)level;
	return 0;
}

static unsigned
take_number(const char *flag, unsigned long min, unsigned long max)
{
	return (unsigned)number_arg(flag, optarg, min, max);
}

/* One flag.  0, 1 = say how it is used, -1 = it is wrong. */
static int
take_flag(struct ctl *c, int flag)
{
	struct dyn_options *o = &c->options;

	/* clang-format off */
	switch (flag) {
	case 'A': o->tls_ca = optarg; break;
	case 'C': o->tls_cert = optarg; break;
	case 'K': o->tls_key = optarg; break;
	case 'R': o->ring = optarg; break;
	case 's': o->seeds = optarg; break;
	case 'b': c->bucket_name = optarg; break;
	case 'B': c->blind = true; break;
	case 'c': c->context_path = optarg; break;
	case 'S': c->save_context_path = optarg; break;
	case 'j': c->json = true; break;
	case 'l': c->how.policy = DYN_LWW; break;
	case 'r': c->how.r = take_number("dynctl: --r", 1, DYN_N_MAX); break;
	case 'w': c->how.w = take_number("dynctl: --w", 1, DYN_N_MAX); break;
	case 'T': o->timeout_ms = take_number("dynctl: --timeout", 1, 3600000); break;
	case 'i': c->bench.inflight = take_number("dynctl: --inflight", 1, 65536); break;
	case 'k': c->bench.keys = take_number("dynctl: --keys", 1, 100000000); break;
	case 't': c->bench.seconds = take_number("dynctl: --time", 1, SECONDS_MAX); break;
	case 'z': c->bench.size = take_number("dynctl: --size", 0, SIZE_LIMIT); break;
	case 'W': o->workers = take_number("dynctl: --workers", 1, 64); break;
	case 'm': return take_mix(c, optarg);
	case 'v': return take_level(c, optarg);
	case 'V': printf("dynctl %s\n", dyn_version()); exit(0);
	case 'h': return 1;
	default: return -1;
	}
	/* clang-format on */
	return 0;
}

static int
run(struct ctl *c, const struct command *command)
{
	struct dyn_error error;
	int rc, status;

	rc = dyn_open(&c->node, &c->options, &error);
	if (rc != 0) {
		ctl_fail(c, c->options.seeds, rc, error.text);
		return rc == DYN_EINVAL ? EXIT_USAGE : EXIT_OPEN;
	}
	rc = dyn_bucket_open(&c->bucket, c->node, c->bucket_name, &c->how);
	if (rc != 0)
		status = ctl_fail_call(c, c->bucket_name, rc);
	else
		status = command->run(c);
	dyn_bucket_close(c->bucket);
	dyn_close(c->node, 1000);
	if (fflush(stdout) != 0) {
		fprintf(stderr, "dynctl: standard output: %s\n", strerror(errno));
		return status == EXIT_DONE ? EXIT_USAGE : status;
	}
	return status;
}

static void
set_defaults(struct ctl *c)
{
	*c = (struct ctl){
	    .options = DYN_OPTIONS_INIT,
	    .how = DYN_BUCKET_OPTIONS_INIT,
	};
	c->bench.inflight = 64;
	c->bench.keys = 10000;
	c->bench.size = 100;
	c->bench.seconds = 10;
	c->bench.gets = 50;
	c->options.role = DYN_CLIENT;
	c->options.seeds = "127.0.0.1:7000";
	c->options.timeout_ms = 5000;
}

int
main(int argc, char **argv)
{
	const struct command *command;
	struct ctl c;
	int flag, rc;

	set_defaults(&c);
	while ((flag = getopt_long(argc, argv, "h", flags, NULL)) != -1) {
		rc = take_flag(&c, flag);
		if (rc != 0) {
			usage(rc > 0 ? stdout : stderr);
			return rc > 0 ? EXIT_DONE : EXIT_USAGE;
		}
	}
	command = optind < argc ? find_command(argv[optind]) : NULL;
	c.words = argv + optind + 1;
	c.word_count = argc - optind - 1;
	if (command == NULL || c.word_count < command->words_min ||
	    c.word_count > command->words_max) {
		usage(stderr);
		return EXIT_USAGE;
	}
	if (c.bucket_name == NULL)
		c.bucket_name = command->run == do_bench ? "bench" : "default";
	/* Waiting for a seed is part of the time the user gives. */
	c.options.open_timeout_ms = c.options.timeout_ms;
	if (c.bench.size > DYN_VALUE_DEFAULT)
		c.options.value_max = DYN_VALUE_LIMIT;
	return run(&c, command);
}
