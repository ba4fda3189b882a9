/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Mappings as /proc/PID/maps shows them.  For the library and its tools; no
 * function here allocates memory or uses stdio.
 */
#ifndef MREMAP_COMPAT_MAPS_H
#define MREMAP_COMPAT_MAPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* In the kernel a path is at most 4095 bytes long; escapes quadruple it. */
#define MAPS_NAME_MAX 16384
/* What comes before the name is shorter than this. */
#define MAPS_LINE_MAX (MAPS_NAME_MAX + 128)

struct maps_entry {
	uint64_t start, end;		/* addresses, end is the first after it */
	uint64_t offset;		/* in the file, bytes */
	uint64_t inode;			/* 0: no file */
	uint32_t major, minor;		/* the file's device */
	bool read, write, exec, shared;
	/*
	 * The rest of the line, without blanks before it and line break behind:
	 * a path (with escapes \ooo), "[heap]", "[anon:NAME]" and so on, or
	 * empty.  Points into the line, not terminated.
	 */
	const char *name;
	size_t name_length;
};

/*
 * Take apart one line of /proc/PID/maps: length bytes, a final line break
 * allowed, no terminator needed.  False if it is not such a line.
 */
bool maps_parse_line(const char *line, size_t length,
		     struct maps_entry *entry);

/*
 * Whether it is private anonymous memory that may be moved: no file behind it,
 * and of the names in brackets only "[heap]" and "[anon:...]".  The stack is
 * none: it would not grow any more.
 */
bool maps_is_anonymous(const struct maps_entry *entry);

/*
 * Ask PROCMAP_QUERY (Linux 6.11 and later) of the open file /proc/PID/maps for
 * the mapping that contains address, or the next one behind it.  The name is
 * stored in buffer, of size bytes, without the escapes of the text.
 * Returns 1 if there is one, 0 if there is none, -1 with errno (ENOTTY: the
 * kernel is older; ENAMETOOLONG: the name does not fit).
 */
int maps_query(int fd, uint64_t address, struct maps_entry *entry,
	       char *buffer, size_t size);

/*
 * Look for the mapping of this process that contains address.  Opens a file that
 * no child may have (mc_apart() in internal.h).
 * Returns 1 and its limits and permissions, with its answer to
 * maps_is_anonymous() in *anonymous and no name in *entry; 0 if nothing is
 * mapped there; or -1 with errno.
 */
int maps_find(uint64_t address, struct maps_entry *entry, bool *anonymous);

#endif
