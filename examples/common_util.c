/*
 * Helpers of the example programs; see common_util.h.
 */
#include "common_util.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

uint64_t
now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

unsigned long
number_arg(const char *option, const char *text, unsigned long min, unsigned long max)
{
	unsigned long value;
	char *end;

	errno = 0;
	value = strtoul(text, &end, 10);
	if (errno != 0 || *text < '0' || *text > '9' || *end != '\0' || value < min ||
	    value > max) {
		fprintf(stderr, "%s takes a number from %lu to %lu, not '%s'\n", option,
		    min, max, text);
		exit(1);
	}
	return value;
}

static const char *const level_names[] = {"error", "warning", "info", "debug"};

void
log_line(void *arg, enum dyn_log_level level, const char *line)
{
	char stamp[32];
	struct timespec t;
	struct tm tm;

	(void)arg;
	clock_gettime(CLOCK_REALTIME, &t);
	gmtime_r(&t.tv_sec, &tm);
	strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H:%M:%S", &tm);
	/* One call, one write: lines of several threads do not mix. */
	fprintf(stderr, "%s.%03ldZ %s %s\n", stamp, t.tv_nsec / 1000000,
	    level_names[level], line);
}

int
log_level_parse(const char *text)
{
	for (int i = 0; i < 4; i++)
		if (strcmp(text, level_names[i]) == 0)
			return i;
	return -1;
}

int
read_file(const char *path, struct dyn_buffer *out)
{
	FILE *f = strcmp(path, "-") == 0 ? stdin : fopen(path, "rb");
	char block[65536];
	size_t got;
	int rc = 0;

	if (f == NULL)
		return -1;
	while (rc == 0 && (got = fread(block, 1, sizeof(block), f)) > 0) {
		if (dyn_buffer_append(out, block, got) != 0) {
			errno = ENOMEM;
			rc = -1;
		}
	}
	if (ferror(f))
		rc = -1;
	if (f != stdin)
		fclose(f);
	return rc;
}

int
write_file(const char *path, const void *bytes, size_t len)
{
	FILE *f = fopen(path, "wb");
	bool good;

	if (f == NULL)
		return -1;
	good = fwrite(bytes, 1, len, f) == len;
	return fclose(f) == 0 && good ? 0 : -1;
}

const char *
bytes_text(uint64_t bytes, char *text)
{
	static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
	double value = (double)bytes;
	int i = 0;

	for (; value >= 1024 && i < 4; i++)
		value /= 1024;
	snprintf(text, 16, i == 0 ? "%.0f %s" : "%.1f %s", value, units[i]);
	return text;
}

const char *
time_text(uint64_t us, char *text)
{
	if (us < 1000)
		snprintf(text, 16, "%" PRIu64 " us", us);
	else if (us < 1000000)
		snprintf(text, 16, "%.2f ms", (double)us / 1e3);
	else
		snprintf(text, 16, "%.2f s", (double)us / 1e6);
	return text;
}

/* -------------------------------------------------------------------- JSON */

/* Bytes of the UTF-8 character at p, 0 if there is none in len bytes. */
static size_t
utf8_length(const unsigned char *p, size_t len)
{
	size_t n = p[0] < 0x80   ? 1
		   : p[0] < 0xc2 ? 0
		   : p[0] < 0xe0 ? 2
		   : p[0] < 0xf0 ? 3
		   : p[0] < 0xf5 ? 4
				 : 0;

	if (n == 0 || n > len)
		return 0;
	for (size_t i = 1; i < n; i++)
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	/* Overlong forms, surrogates, and what lies beyond U+10FFFF. */
	if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) ||
	    (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f))
		return 0;
	return n;
}

static bool
is_text(const unsigned char *p, size_t len)
{
	size_t n;

	for (; len > 0; p += n, len -= n) {
		n = utf8_length(p, len);
		if (n == 0 || *p == '\0')
			return false;
	}
	return true;
}

static void
write_text(FILE *out, const unsigned char *p, size_t len)
{
	putc('"', out);
	for (size_t i = 0; i < len; i++) {
		if (p[i] == '"' || p[i] == '\\')
			fprintf(out, "\\%c", p[i]);
		else if (p[i] < 0x20 || p[i] == 0x7f)
			fprintf(out, "\\u%04x", p[i]);
		else
			putc(p[i], out);
	}
	putc('"', out);
}

static void
write_base64(FILE *out, const unsigned char *p, size_t len)
{
	static const char digits[] =
	    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

	putc('"', out);
	for (size_t i = 0; i < len; i += 3) {
		unsigned long v = (unsigned long)p[i] << 16;

		if (i + 1 < len)
			v |= (unsigned long)p[i + 1] << 8;
		if (i + 2 < len)
			v |= p[i + 2];
		putc(digits[v >> 18 & 63], out);
		putc(digits[v >> 12 & 63], out);
		putc(i + 1 < len ? digits[v >> 6 & 63] : '=', out);
		putc(i + 2 < len ? digits[v & 63] : '=', out);
	}
	putc('"', out);
}

/* The comma and the name before a value. */
static void
begin(struct json *j, const char *name)
{
	if (j->more)
		putc(',', j->out);
	j->more = true;
	if (name == NULL)
		return;
	write_text(j->out, (const unsigned char *)name, strlen(name));
	putc(':', j->out);
}

void
json_open(struct json *j, const char *name, char bracket)
{
	begin(j, name);
	putc(bracket, j->out);
	j->more = false;
}

void
json_close(struct json *j, char bracket)
{
	putc(bracket, j->out);
	j->more = true;
}

void
json_string(struct json *j, const char *name, const char *text)
{
	begin(j, name);
	write_text(j->out, (const unsigned char *)text, strlen(text));
}

void
json_number(struct json *j, const char *name, uint64_t value)
{
	begin(j, name);
	fprintf(j->out, "%" PRIu64, value);
}

void
json_real(struct json *j, const char *name, double value)
{
	begin(j, name);
	fprintf(j->out, "%.3f", value);
}

void
json_bool(struct json *j, const char *name, bool value)
{
	begin(j, name);
	fputs(value ? "true" : "false", j->out);
}

void
json_bytes(struct json *j, const char *name, struct dyn_slice bytes)
{
	bool text = is_text(bytes.data, bytes.len);
	char flag[64];

	begin(j, name);
	if (text)
		write_text(j->out, bytes.data, bytes.len);
	else
		write_base64(j->out, bytes.data, bytes.len);
	snprintf(flag, sizeof(flag), "%s_base64", name);
	json_bool(j, flag, !text);
}
