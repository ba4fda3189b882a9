/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the files of the library share. */
#ifndef MREMAP_COMPAT_INTERNAL_H
#define MREMAP_COMPAT_INTERNAL_H

#include "mremap_compat.h"

#include <errno.h>
#include <fcntl.h>
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

/*
 * Run a function in a thread that has an empty table of file descriptors of its
 * own, and return when the thread has gone.  Whatever opens a descriptor runs so.
 * No signal handler of the program's runs meanwhile in the caller, and in the
 * thread none but that of SIGSYS.  Some signals that have none act at once.
 *
 * Returns 0, or an error number if the function has not been called.  A filter
 * (seccomp) that kills for a system call can end the thread in the midst of it.
 * Changes errno.
 */
int mc_apart(void (*function)(void *argument), void *argument);

/*
 * For the thread's descriptors: the system calls and nothing more, see apart.c.
 * Nor are they cancellation points.
 */
static inline int mc_open(const char *name, int flags)
{
	return (int)syscall(SYS_openat, (long)AT_FDCWD, name,
			    (long)(flags | O_CLOEXEC));
}

static inline void mc_close(int fd)
{
	if (fd >= 0)
		syscall(SYS_close, (long)fd);
}

static inline int mc_ioctl(int fd, unsigned long request, void *argument)
{
	return (int)syscall(SYS_ioctl, (long)fd, request, argument);
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
 * Move with relocation by one of the two methods, apart.  Returns USED and the
 * new address in *result; or why not, with everything as it was (but what was
 * mapped at a target that need not be kept may be empty).  *begun: UFFD_MOVE has
 * begun to move pages, so that it can have stopped at one that is pinned, or
 * before it.  Changes errno.
 */
enum mremap_compat_reason mc_relocate(enum mremap_compat_method method,
				      const struct mc_move *move,
				      void **result, bool *begun);

#endif
