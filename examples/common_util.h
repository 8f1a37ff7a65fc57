/*
 * What the programs of this folder share: time, numbers from the command line,
 * log lines, whole files, JSON.  Nothing here belongs to libdyn.
 */
#ifndef COMMON_UTIL_H
#define COMMON_UTIL_H

#include <dyn.h>
#include <stdbool.h>
#include <stdio.h>

/* Microseconds of a clock that only goes forward. */
uint64_t now_us(void);

/* A decimal number from min to max, or end the program with status 1. */
unsigned long number_arg(
    const char *option, const char *text, unsigned long min, unsigned long max);

/* A dyn_log callback: "TIME LEVEL LINE" to stderr. */
void log_line(void *arg, enum dyn_log_level level, const char *line);
/* error, warning, info, debug; -1 if it is none of them. */
int log_level_parse(const char *text);

/* Append what the file holds, "-" is stdin.  0, or -1 with errno set. */
int read_file(const char *path, struct dyn_buffer *out);
/* Replace the file by these bytes.  0, or -1 with errno set. */
int write_file(const char *path, const void *bytes, size_t len);

/* 1536 as "1.5 KiB"; text is at least 16 bytes. */
const char *bytes_text(uint64_t bytes, char *text);
/* 1536 microseconds as "1.54 ms"; likewise. */
const char *time_text(uint64_t us, char *text);

/*
 * JSON, written as it comes.  Members of an object carry a name, elements of
 * an array have NULL for it.  Commas are put where they belong.
 */
struct json {
	FILE *out;
	bool more; /* a value stands before the next one */
};

void json_open(struct json *, const char *name, char bracket);
void json_close(struct json *, char bracket);
void json_string(struct json *, const char *name, const char *text);
void json_number(struct json *, const char *name, uint64_t value);
void json_real(struct json *, const char *name, double value);
void json_bool(struct json *, const char *name, bool value);
/*
 * Any bytes: as a string where they are UTF-8 without zeros, else in base64.
 * Writes two members, NAME and NAME_base64: true or false.
 */
void json_bytes(struct json *, const char *name, struct dyn_slice);

#endif
