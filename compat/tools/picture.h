/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A picture of an address space as SVG 1.1.  Of many thousand mappings it
 * draws some hundred areas, where small ones are bands of their kinds.
 */
#ifndef MREMAP_COMPAT_PICTURE_H
#define MREMAP_COMPAT_PICTURE_H

#include "fragments.h"
#include "maps.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum picture_kind {
	PICTURE_SEPARATE,	/* a run of separate neighbours */
	PICTURE_ANONYMOUS,	/* private anonymous memory */
	PICTURE_FILE,		/* a file's mapping, or shared memory */
	PICTURE_OTHER,		/* the stack and what the kernel provides */
	PICTURE_MIXED,		/* several kinds, or with gaps between them */
	PICTURE_KINDS
};

/* Mappings that are drawn as one, with no gap between them unless MIXED. */
struct picture_area {
	uint64_t start, end;	/* addresses */
	uint64_t bytes;		/* that are mapped */
	uint64_t mappings;
	uint64_t separate;	/* separate neighbours among them */
	uint64_t anonymous;	/* private anonymous ones, also separate ones */
	enum picture_kind kind;
	unsigned char protection;	/* of the first: 1 read, 2 write, 4 exec */
	unsigned char name_length;
	char name[64];		/* its end, if it is longer */
};

struct picture {
	struct picture_area *areas;
	size_t count, room;
	uint64_t mappings;
};

void picture_init(struct picture *p);
void picture_free(struct picture *p);

/*
 * Add the next mapping, in the order of addresses; separate is the answer of
 * fragments_add().  False with ENOMEM.
 */
bool picture_add(struct picture *p, const struct maps_entry *entry,
		 bool separate);

/* Write it with a title and a line below, neither with escapes yet. */
void picture_write(const struct picture *p, FILE *file, const char *title,
		   size_t title_length, const char *subtitle);

#endif
