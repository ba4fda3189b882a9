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
 *
 * Of the same kind are those that the kernel could merge, as far as it shows:
 * /proc/PID/maps has protection and name, /proc/PID/smaps the flags and the
 * protection key, /proc/PID/numa_maps the memory policy.  The page offset and
 * the anon_vma, which have to agree as well, are in none of them.
 */
#ifndef MREMAP_COMPAT_FRAGMENTS_H
#define MREMAP_COMPAT_FRAGMENTS_H

#include "maps.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The kernel's names of anonymous memory are shorter (80 and the brackets). */
#define FRAGMENTS_NAME_MAX 128
/* 64 flags of two letters, each with a blank. */
#define FRAGMENTS_FLAGS_MAX 192

/* What /proc/PID/maps does not show of a mapping. */
struct fragments_kind {
	/*
	 * Its VmFlags, "mr mw me ac": without those that maps shows (rd, wr, ex,
	 * sh) and those that do not keep mappings from merging (sd, gu).
	 */
	const char *flags;
	size_t flags_length;
	unsigned int key;		/* protection key, 0: none */
	bool shared;			/* has pages that others map, too */
	const char *policy;		/* see fragments_policies; may be NULL */
};

/* Why the last anonymous mapping is not one with the one below. */
enum fragments_reason {
	/* All that is shown is the same: page offset or anon_vma. */
	FRAGMENTS_UNSEEN = 1,
	FRAGMENTS_HOLE = 2,		/* smaller than the larger of the two */
	FRAGMENTS_PROTECTION = 4,	/* or protection key */
	FRAGMENTS_NAME = 8,
	FRAGMENTS_FLAGS = 16,
	FRAGMENTS_USERFAULTFD = 32,	/* flags um, uw, ui */
	FRAGMENTS_POLICY = 64
};

struct fragments {
	uint64_t mappings;	/* all that count for vm.max_map_count */
	uint64_t anonymous;	/* those of them that are private anonymous */
	uint64_t separate;	/* touch one of the same kind below */
	uint64_t runs;		/* of touching mappings of the same kind */
	uint64_t longest;	/* mappings in the longest run */
	/* Of the separate, those of which one has pages shared since fork(), or by KSM */
	uint64_t shared;

	/*
	 * Of the last mapping that was added: fragments_reason ORed, 0 if it is
	 * not anonymous, or has no anonymous neighbour below.  The flags that
	 * differ, as in fragments_kind.
	 */
	unsigned int reasons;
	size_t differing_length;
	char differing[2 * FRAGMENTS_FLAGS_MAX];

	/* The last anonymous mapping, if last_run is not 0. */
	uint64_t last_run;	/* mappings in its run so far */
	uint64_t last_start, last_end;
	bool last_touched;	/* no other mapping came since */
	bool last_shared;
	unsigned int last_protection, last_key;
	size_t last_name_length, last_flags_length;
	const char *last_policy;
	char last_name[FRAGMENTS_NAME_MAX];
	char last_flags[FRAGMENTS_FLAGS_MAX];
};

void fragments_init(struct fragments *f);

/*
 * Whether the kernel counts it as a mapping of the process.  It does not count
 * those that /proc/PID/maps makes up, such as "[vsyscall]".
 */
bool fragments_is_counted(const struct maps_entry *entry);

/*
 * Count the next mapping, in the order of addresses.  kind is NULL, for all of
 * them, if only /proc/PID/maps is known.  True if it is a separate neighbour of
 * the one before; f->reasons says more.
 */
bool fragments_add(struct fragments *f, const struct maps_entry *entry,
		   const struct fragments_kind *kind);

/* How to read an open /proc/PID/maps. */
enum fragments_way {
	FRAGMENTS_BEST,		/* PROCMAP_QUERY if the kernel has it */
	FRAGMENTS_QUERY,	/* PROCMAP_QUERY or fail */
	FRAGMENTS_TEXT
};

/*
 * What is to be called for each mapping, and before the first with NULL, which
 * can come again: start anew then.  kind as for fragments_add().  False to stop,
 * with errno.
 */
typedef bool fragments_visit(const struct maps_entry *entry,
			     const struct fragments_kind *kind, void *data);

/*
 * Visit every mapping that fd, an open /proc/PID/maps at its start, shows.
 * Returns 0, or -1 with errno: that of visit; ESRCH if the process has ended,
 * has executed another program since, or has no memory; EPROTO if it is no
 * such file; those of read(2) and ioctl(2).
 */
int fragments_walk(int fd, enum fragments_way way, fragments_visit *visit,
		   void *data);

/*
 * The memory policies of a process, as /proc/PID/numa_maps has them: all zero for
 * none.  Equal policies have equal addresses.
 */
struct fragments_policies {
	struct fragments_policy {
		uint64_t start;
		const char *policy;
	} *mappings;
	size_t count, room;
	char **names;
	size_t name_count;
};

/*
 * Add what fd, an open /proc/PID/numa_maps, has.  Returns 0, or -1 with errno, as
 * fragments_walk().
 */
int fragments_read_policies(int fd, struct fragments_policies *policies);
void fragments_free_policies(struct fragments_policies *policies);

/*
 * As fragments_walk(), with all that is to be known of a kind: fd is an open
 * /proc/PID/smaps.  EPROTO also for one without VmFlags (before Linux 3.8).  The
 * kernel goes through the page tables of the process for this.
 */
int fragments_walk_smaps(int fd, const struct fragments_policies *policies,
			 fragments_visit *visit, void *data);

/* ---- Text in pieces ------------------------------------------------------ */

struct fragments_text {
	size_t length;		/* of the line so far */
	char line[MAPS_LINE_MAX];
	/* Of a mapping in smaps whose VmFlags have not come yet. */
	size_t header_length;	/* 0: there is none */
	unsigned int key;
	bool shared;
	char header[MAPS_LINE_MAX];
	/* NULL: the text is that of maps. */
	const struct fragments_policies *policies;
};

/* policies (which may be empty): the text is that of smaps. */
void fragments_text_init(struct fragments_text *text,
			 const struct fragments_policies *policies);

/*
 * Visit the mappings in the next bytes of a text that may be cut anywhere.
 * False with EPROTO if a line is not one of such a file, or with visit's errno.
 */
bool fragments_text_push(struct fragments_text *text, const char *bytes,
			 size_t length, fragments_visit *visit, void *data);

#endif
