/*
 * The main of a fuzz target where there is no fuzzer: replays a corpus, then
 * damaged copies of it.  A target is a file that defines
 *
 *	int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);
 *
 * and aborts if something is not as it must be, so that it also links with
 * -fsanitize=fuzzer.
 *
 *	target [-m MUTANTS] [-s SEED] [-i MUTANT] [FILE | FOLDER] ...
 *
 * The inputs run in a child that notes its progress, so that the death of it
 * leaves the number of the input, and -i repeats that one alone.
 */
#include "test/fuzz/driver.h"

#include "base/rng.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { INPUTS_MAX = 4096, INPUT_MAX = 1 << 20 };

struct input {
	char *name;
	uint8_t *data;
	size_t len;
};

static struct input inputs[INPUTS_MAX];
static size_t count;
static long *progress; /* -1 - i: the i-th input as it is; i: the i-th mutant */

static int
add_file(const char *path, const struct stat *st, int kind, struct FTW *at)
{
	struct input *in = &inputs[count];
	FILE *f;

	(void)at;
	if (kind != FTW_F || st->st_size > INPUT_MAX || count == INPUTS_MAX)
		return 0;
	f = fopen(path, "rb");
	if (f == NULL)
		return -1;
	in->name = strdup(path);
	in->len = (size_t)st->st_size;
	in->data = malloc(in->len + 1);
	if (in->name == NULL || in->data == NULL || fread(in->data, 1, in->len, f) != in->len) {
		fclose(f);
		return -1;
	}
	fclose(f);
	count++;
	return 0;
}

static int
by_name(const void *a, const void *b)
{
	return strcmp(((const struct input *)a)->name, ((const struct input *)b)->name);
}

/* A copy of exact size on the heap: reading past its end shows. */
static void
give(const uint8_t *data, size_t len)
{
	uint8_t *copy = malloc(len > 0 ? len : 1);

	if (copy == NULL)
		abort();
	if (len > 0)
		memcpy(copy, data, len);
	LLVMFuzzerTestOneInput(copy, len);
	free(copy);
}

static void
damage(struct rng *rng, uint8_t *data, size_t *len, size_t cap)
{
	static const uint8_t telling[] = { 0x00, 0x01, 0x7f, 0x80, 0xff };
	size_t at = *len > 0 ? (size_t)rng_below(rng, *len) : 0;
	size_t run = 1 + (size_t)rng_below(rng, 8);

	switch (rng_below(rng, 6)) {
	case 0: /* one bit */
		if (*len > 0)
			data[at] ^= (uint8_t)(1 << rng_below(rng, 8));
		break;
	case 1: /* one byte, of those that lengths and counts break at */
		if (*len > 0)
			data[at] = telling[rng_below(rng, ARRAY_LEN(telling))];
		break;
	case 2: /* cut off */
		*len = at;
		break;
	case 3: /* take out */
		run = MIN(run, *len - at);
		memmove(data + at, data + at + run, *len - at - run);
		*len -= run;
		break;
	case 4: /* put in */
		if (*len + run > cap)
			break;
		memmove(data + at + run, data + at, *len - at);
		for (size_t i = 0; i < run; i++)
			data[at + i] = (uint8_t)rng_next(rng);
		*len += run;
		break;
	default: /* copy over from elsewhere */
		if (*len > run)
			memmove(data + rng_below(rng, *len - run),
			    data + rng_below(rng, *len - run), run);
	}
}

/* The mutant is a function of the seed and its number alone. */
static void
run_mutant(uint64_t seed, long number)
{
	static uint8_t data[INPUT_MAX + 256];
	struct rng rng = { seed ^ mix64((uint64_t)number + 1) };
	size_t len = 0, times;

	if (count > 0) {
		const struct input *in = &inputs[rng_below(&rng, count)];

		memcpy(data, in->data, in->len);
		len = in->len;
	} else {
		len = (size_t)rng_below(&rng, 256);
		for (size_t i = 0; i < len; i++)
			data[i] = (uint8_t)rng_next(&rng);
	}
	times = 1 + (size_t)rng_below(&rng, 4);
	for (size_t i = 0; i < times; i++)
		damage(&rng, data, &len, sizeof(data));
	*progress = number;
	give(data, len);
}

static void
run_all(uint64_t seed, long mutants)
{
	for (size_t i = 0; i < count; i++) {
		*progress = -1 - (long)i;
		give(inputs[i].data, inputs[i].len);
	}
	give(NULL, 0);
	for (long i = 0; i < mutants; i++)
		run_mutant(seed, i);
}

static int
run_child(const char *name, uint64_t seed, long mutants)
{
	int status = 0;
	pid_t child;

	fflush(stdout);
	child = fork();
	if (child == 0) {
		run_all(seed, mutants);
		exit(0);
	}
	if (child < 0 || waitpid(child, &status, 0) != child) {
		perror(name);
		return 1;
	}
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
		printf("%s: %zu inputs and %ld mutants, none failed\n", name, count, mutants);
		return 0;
	}
	if (*progress < 0)
		printf("%s: FAILED at %s\n", name, inputs[-1 - *progress].name);
	else
		printf("%s: FAILED at mutant %ld; repeat it with: %s -s %llu -i %ld ...\n", name,
		    *progress, name, (unsigned long long)seed, *progress);
	return 1;
}

int
main(int argc, char **argv)
{
	long mutants = 20000, one = -1;
	uint64_t seed = 20070923;
	int c;

	while ((c = getopt(argc, argv, "m:s:i:")) != -1) {
		switch (c) {
		case 'm': mutants = strtol(optarg, NULL, 0); break;
		case 's': seed = strtoull(optarg, NULL, 0); break;
		case 'i': one = strtol(optarg, NULL, 0); break;
		default: return 2;
		}
	}
	for (int i = optind; i < argc; i++) {
		if (nftw(argv[i], add_file, 16, FTW_PHYS) != 0) {
			perror(argv[i]);
			return 1;
		}
	}
	qsort(inputs, count, sizeof(inputs[0]), by_name);
	progress = mmap(NULL, sizeof(*progress), PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (progress == MAP_FAILED)
		return 1;
	if (one >= 0) {
		run_mutant(seed, one);
		return 0;
	}
	return run_child(argv[0], seed, mutants);
}
