/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Why neighbours are separate: runs of private anonymous mappings that all are
 * separate for the same reasons.
 */
#ifndef MREMAP_COMPAT_WHY_H
#define MREMAP_COMPAT_WHY_H

#include "fragments.h"
#include "maps.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct why_run {
	uint64_t start, end;	/* of the first and the last mapping */
	uint64_t bytes;		/* that are mapped, without the holes */
	uint64_t mappings;
	unsigned int reasons;	/* fragments_reason */
	size_t flags;		/* which of the sets of flags differ */
};

#define WHY_REASONS 7

struct why {
	struct why_run *runs;
	size_t count, room;
	/* How many pairs of neighbours are separate for each reason. */
	uint64_t pairs[WHY_REASONS];
	char **flags;		/* the first is "" */
	size_t flags_count;
	/* The last anonymous mapping, and whether it ends the last run. */
	uint64_t last_start, last_end;
	bool in_run;
};

void why_free(struct why *why);		/* all zero for a new one */

/*
 * Add the next mapping, in the order of addresses, after fragments_add() has
 * filled in f.  False with ENOMEM.
 */
bool why_add(struct why *why, const struct maps_entry *entry,
	     const struct fragments *f);

/* The reasons by their place: the bit, and its names in a table and in JSON. */
unsigned int why_reason(int place);
const char *why_reason_name(int place);
const char *why_reason_json(int place);

/* A table; members of a JSON object. */
void why_put_table(const struct why *why, FILE *file);
void why_put_json(const struct why *why, FILE *file);

#endif
