/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Counts mappings that touch a neighbour of the same kind and yet are separate
 * from it:
 *
 *	      one run of three		 no neighbour	  not the same kind
 *	+----------+----------+---+	  +------+	  +------+------+
 *	|   rw-p   |   rw-p   |rw-|	  | rw-p |	  | rw-p | r--p |
 *	+----------+----------+---+	  +------+	  +------+------+
 *		   ^	      ^
 *		  two separate neighbours: mappings fewer if all merged
 */
#ifndef MREMAP_COMPAT_FRAGMENTS_H
#define MREMAP_COMPAT_FRAGMENTS_H

#include "maps.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The kernel's names of anonymous memory are shorter (80 and the brackets). */
#define FRAGMENTS_NAME_MAX 128

struct fragments {
	uint64_t mappings;	/* all that count for vm.max_map_count */
	uint64_t anonymous;	/* those of them that are private anonymous */
	uint64_t separate;	/* touch one of the same kind below */
	uint64_t runs;		/* of touching mappings of the same kind */
	uint64_t longest;	/* mappings in the longest run */

	/* The last anonymous mapping, if last_run is not 0. */
	uint64_t last_run;	/* mappings in its run so far */
	uint64_t last_end;	/* its end */
	unsigned int last_protection;
	size_t last_name_length;
	char last_name[FRAGMENTS_NAME_MAX];
};

void fragments_init(struct fragments *f);

/*
 * Whether the kernel counts it as a mapping of the process.  It does not count
 * those that /proc/PID/maps makes up, such as "[vsyscall]".
 */
bool fragments_is_counted(const struct maps_entry *entry);

/*
 * Count the next mapping, in the order of addresses.  True if it is a separate
 * neighbour of the one before.
 */
bool fragments_add(struct fragments *f, const struct maps_entry *entry);

/* How to read an open /proc/PID/maps. */
enum fragments_way {
	FRAGMENTS_BEST,		/* PROCMAP_QUERY if the kernel has it */
	FRAGMENTS_QUERY,	/* PROCMAP_QUERY or fail */
	FRAGMENTS_TEXT
};

/*
 * What is to be called for each mapping, and before the first with NULL, which
 * can come again: start anew then.  False to stop, with errno.
 */
typedef bool fragments_visit(const struct maps_entry *entry, void *data);

/*
 * Visit every mapping that fd, an open /proc/PID/maps at its start, shows.
 * Returns 0, or -1 with errno: that of visit; ESRCH if the process has ended,
 * has executed another program since, or has no memory; EPROTO if it is no
 * such file; those of read(2) and ioctl(2).
 */
int fragments_walk(int fd, enum fragments_way way, fragments_visit *visit,
		   void *data);

/* ---- Text in pieces ------------------------------------------------------ */

struct fragments_text {
	size_t length;		/* of the line so far */
	char line[MAPS_LINE_MAX];
};

void fragments_text_init(struct fragments_text *text);

/*
 * Visit the mappings in the next bytes of a text that may be cut anywhere.
 * False with EPROTO if a line is none of /proc/PID/maps, or with visit's errno.
 */
bool fragments_text_push(struct fragments_text *text, const char *bytes,
			 size_t length, fragments_visit *visit, void *data);

#endif
