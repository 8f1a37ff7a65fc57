/*
 * A virtual disk: a storage engine (dyn.h, section 7) in memory of which a
 * crash keeps what was on disk and a prefix of the transactions after that, as
 * the write-ahead log of the shipped engine does.
 */
#ifndef DYN_SIM_DISK_H
#define DYN_SIM_DISK_H

#include <stdio.h>
#include <stdlib.h>

#include "base/rng.h"

/* As MUST of core_script.h, where no Check runs: the handler of SIGABRT tells
 * the seed. */
#define DEMAND(x)                                                              \
	do {                                                                   \
		if (!(x)) {                                                    \
			fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #x); \
			abort();                                               \
		}                                                              \
	} while (0)

struct disk;

struct disk *disk_new(void);
void disk_free(struct disk *);
/* What a copy of the directory made now would hold. */
struct disk *disk_copy(const struct disk *);
struct dyn_engine *disk_engine(struct disk *);
/* From now on so many reads in 1,000 fail (DYN_EIO). */
void disk_fail_reads(struct disk *, struct rng *, unsigned in_thousand);
/* About half of the rows of DYN_SPACE_DATA cannot be read any more; how many. */
unsigned disk_damage(struct disk *, struct rng *);
/* The machine stops: what was not on disk is lost, but for a random prefix. */
void disk_crash(struct disk *, struct rng *);
/* What a row holds now; an empty slice if it is not there. */
struct dyn_slice disk_find(struct disk *, enum dyn_space, struct dyn_slice id);

#endif
