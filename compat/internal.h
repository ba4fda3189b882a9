/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the files of the library share. */
#ifndef MREMAP_COMPAT_INTERNAL_H
#define MREMAP_COMPAT_INTERNAL_H

#include "mremap_compat.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

static inline size_t mc_page_size(void)
{
	return (size_t)sysconf(_SC_PAGESIZE);
}

/* Whole pages; 0 if there is no such size. */
static inline size_t mc_round_up(size_t size)
{
	const size_t mask = mc_page_size() - 1;

	return (size + mask) & ~mask;
}

/* Not mremap(): glibc's refuses flags that it does not know. */
static inline void *mc_mremap(void *old_address, size_t old_size,
			      size_t new_size, int flags, void *new_address)
{
	return (void *)syscall(SYS_mremap, old_address, old_size, new_size,
			       (unsigned long)flags, new_address);
}

/* A move to be made by UFFD_MOVE or COPY. Sizes are in whole pages. */
struct mc_move {
	char *old;
	size_t old_size, new_size;	/* neither is 0 */
	bool fixed;
	char *to;			/* if fixed; does not overlap old */
	bool keep_target;		/* if it fails, what is mapped there */
};

/*
 * Move with relocation by one of the two methods.  Returns USED and the new
 * address in *result; or why not, with everything as it was (but what was mapped
 * at a target that need not be kept may be empty).  Changes errno.
 */
enum mremap_compat_reason mc_relocate(enum mremap_compat_method method,
				      const struct mc_move *move,
				      void **result);

#endif
