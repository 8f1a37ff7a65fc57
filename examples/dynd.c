/*
 * dynd: a bare peer.  A ring for those who want one before they embed it, and
 * for dynctl to talk to.  All it does is dyn_open, wait for a signal, dyn_close;
 * the rest of this file is its flags.  See man/dynd.8.
 */
#include "common_util.h"

#include <getopt.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

enum { CLOSE_MS = 5000, STATUS_USAGE = 1, STATUS_OPEN = 2, STATUS_CLOSE = 3 };

struct settings {
	struct dyn_options options;
	int ready_fd;
};

static const struct option flags[] = {
    {"advertise", required_argument, NULL, 'a'},
    {"dir", required_argument, NULL, 'd'},
    {"help", no_argument, NULL, 'h'},
    {"id", required_argument, NULL, 'i'},
    {"insecure", no_argument, NULL, 'I'},
    {"join", required_argument, NULL, 'j'},
    {"listen", required_argument, NULL, 'l'},
    {"location", required_argument, NULL, 'L'},
    {"log-level", required_argument, NULL, 'v'},
    {"n", required_argument, NULL, 'n'},
    {"partitions", required_argument, NULL, 'p'},
    {"r", required_argument, NULL, 'r'},
    {"ready-fd", required_argument, NULL, 'f'},
    {"ring", required_argument, NULL, 'R'},
    {"seeds", required_argument, NULL, 's'},
    {"tls-ca", required_argument, NULL, 'A'},
    {"tls-cert", required_argument, NULL, 'C'},
    {"tls-key", required_argument, NULL, 'K'},
    {"version", no_argument, NULL, 'V'},
    {"w", required_argument, NULL, 'w'},
    {"weight", required_argument, NULL, 'W'},
    {"workers", required_argument, NULL, 't'},
    {NULL, 0, NULL, 0},
};

static void
usage(FILE *out)
{
	fputs("usage: dynd [--listen HOST:PORT] [--dir DIRECTORY] [--seeds ADDRESSES]\n"
	      "            [--ring NAME] [--advertise HOST:PORT] [--id ID]\n"
	      "            [--join auto|create|only|wait]\n"
	      "            [--location DC/ZONE/RACK/MACHINE] [--weight 1-10000]\n"
	      "            [--n N] [--r R] [--w W] [--partitions Q] [--workers K]\n"
	      "            [--tls-ca FILE --tls-cert FILE --tls-key FILE | --insecure]\n"
	      "            [--log-level error|warning|info|debug] [--ready-fd FD]\n"
	      "Runs one peer of a libdyn ring until SIGTERM or SIGINT.  Without --dir\n"
	      "its share is kept in memory.  Default address: 127.0.0.1:7000.\n",
	    out);
}

static int
refuse(const char *flag, const char *text)
{
	fprintf(stderr, "dynd: --%s does not take '%s'\n", flag, text);
	return -1;
}

static int
take_join(struct dyn_options *o, const char *text)
{
	if (strcmp(text, "auto") == 0)
		o->join = DYN_JOIN_AUTO;
	else if (strcmp(text, "create") == 0)
		o->join = DYN_JOIN_CREATE;
	else if (strcmp(text, "only") == 0)
		o->join = DYN_JOIN_ONLY;
	else if (strcmp(text, "wait") == 0)
		o->join = DYN_JOIN_WAIT;
	else
		return refuse("join", text);
	return 0;
}

static int
take_level(struct dyn_options *o, const char *text)
{
	int level = log_level_parse(text);

	if (level < 0)
		return refuse("log-level", text);
	o->log_level = (enum dyn_log_level)level;
	return 0;
}

static unsigned
take_number(const char *flag, unsigned long min, unsigned long max)
{
	return (unsigned)number_arg(flag, optarg, min, max);
}

/* One flag.  0, 1 = say how it is used, -1 = it is wrong. */
static int
take_flag(struct settings *s, int flag)
{
	struct dyn_options *o = &s->options;

	/* clang-format off */
	switch (flag) {
	case 'a': o->advertise = optarg; break;
	case 'd': o->dir = optarg; break;
	case 'l': o->listen = optarg; break;
	case 'L': o->location = optarg; break;
	case 'R': o->ring = optarg; break;
	case 's': o->seeds = optarg; break;
	case 'A': o->tls_ca = optarg; break;
	case 'C': o->tls_cert = optarg; break;
	case 'K': o->tls_key = optarg; break;
	case 'I': o->insecure = 1; break;
	case 'i': o->id = optarg; break;
	case 'j': return take_join(o, optarg);
	case 'v': return take_level(o, optarg);
	case 'n': o->n = take_number("dynd: --n", 1, DYN_N_MAX); break;
	case 'r': o->r = take_number("dynd: --r", 1, DYN_N_MAX); break;
	case 'w': o->w = take_number("dynd: --w", 1, DYN_N_MAX); break;
	case 'p': o->partitions = take_number("dynd: --partitions", 16, 65536); break;
	case 'W': o->weight = take_number("dynd: --weight", 1, 10000); break;
	case 't': o->workers = take_number("dynd: --workers", 1, 64); break;
	case 'f': s->ready_fd = (int)take_number("dynd: --ready-fd", 0, 65535); break;
	case 'V': printf("dynd %s\n", dyn_version()); exit(0);
	case 'h': return 1;
	default: return -1;
	}
	/* clang-format on */
	return 0;
}

/* "ready ADDRESS ID": whoever started us may now send clients to ADDRESS. */
static int
say_ready(const dyn_node *node, int fd)
{
	char id[33];

	dyn_id_format(dyn_self(node), id);
	if (dprintf(fd, "ready %s %s\n", dyn_address(node), id) > 0)
		return 0;
	fprintf(stderr, "dynd: cannot write to descriptor %d\n", fd);
	return -1;
}

static int
serve(const struct settings *s, const sigset_t *ends)
{
	struct dyn_error error;
	dyn_node *node;
	int number, rc;

	if (dyn_open(&node, &s->options, &error) != 0) {
		fprintf(stderr, "dynd: %s\n", error.text);
		return STATUS_OPEN;
	}
	if (say_ready(node, s->ready_fd) != 0) {
		dyn_close(node, 0);
		return STATUS_USAGE;
	}
	sigwait(ends, &number);
	log_line(NULL, DYN_LOG_INFO, number == SIGTERM ? "SIGTERM, closing" : "closing");
	rc = dyn_close(node, CLOSE_MS);
	if (rc != 0)
		fprintf(stderr, "dynd: closed, but %s\n", dyn_strerror(rc));
	return rc == 0 ? 0 : STATUS_CLOSE;
}

int
main(int argc, char **argv)
{
	struct settings s = {.options = DYN_OPTIONS_INIT, .ready_fd = 1};
	sigset_t ends;
	int flag, rc;

	s.options.listen = "127.0.0.1:7000";
	s.options.log = log_line;
	s.options.log_level = DYN_LOG_INFO;
	while ((flag = getopt_long(argc, argv, "h", flags, NULL)) != -1) {
		rc = take_flag(&s, flag);
		if (rc != 0) {
			usage(rc > 0 ? stdout : stderr);
			return rc > 0 ? 0 : STATUS_USAGE;
		}
	}
	if (optind < argc) {
		usage(stderr);
		return STATUS_USAGE;
	}
	/* Blocked before dyn_open, so that no thread of libdyn takes them, and a
	 * signal during a long join is not lost.  A reader of ours that goes away
	 * is an error of write, not the end. */
	sigemptyset(&ends);
	sigaddset(&ends, SIGTERM);
	sigaddset(&ends, SIGINT);
	sigprocmask(SIG_BLOCK, &ends, NULL);
	signal(SIGPIPE, SIG_IGN);
	return serve(&s, &ends);
}
