/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the files of the library share. */
#ifndef MREMAP_COMPAT_INTERNAL_H
#define MREMAP_COMPAT_INTERNAL_H

#include "mremap_compat.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define API __attribute__((visibility("default")))

/* What rt_sigprocmask(2) takes for the size of a set */
#define SIGNALS_SIZE (_NSIG / 8)

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

/* What such a thread does at first and at last; the thread of a handle, too. */

/*
 * All signals are blocked, and signals has those that the caller had blocked. SIGSYS
 * is how some sandboxes answer a system call; were it blocked, it would kill. And
 * signals without a handler can be let act at once.
 */
void mc_unblock_some(const sigset_t *signals);

/*
 * A new table, with nothing in it. The process's descriptors are not touched, and
 * none is closed that somebody could wait for. Returns 0 or an error number.
 */
int mc_own_table(void);

/*
 * It has left the memory, but until it is gone the process is not what the caller
 * thinks that it is: unshare(CLONE_NEWUSER) fails where there is another thread.
 * That takes microseconds; but if a tracer has to take note first, or it runs at
 * a lower priority, not for ever.
 */
void mc_wait_until_gone(long tid);

/*
 * As mc_apart(), in the thread of a handle. Returns false, and has not called it,
 * if that thread is not to be had: busy, ended, or in another process.
 */
bool mc_handle_run(struct mremap_compat_handle *handle,
		   void (*function)(void *argument), void *argument);

/* Its userfaultfd, a number in the table of that thread; -1: none */
int mc_handle_fd(const struct mremap_compat_handle *handle);

/* By its thread, which closes it. */
void mc_handle_lost_fd(struct mremap_compat_handle *handle);

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

/* Whether err can mean that flags or an advice are unknown or forbidden. */
bool mc_is_refusal(int err);

/* What a probe says of a call that fails with err. */
enum mremap_compat_support mc_support_of(int err);

/* Why a method is left out, by the answer of its probe; USED if it is not. */
enum mremap_compat_reason mc_reason_for(enum mremap_compat_support answer);

/* A move to be made by UFFD_MOVE or COPY. Sizes are in whole pages. */
struct mc_move {
	char *old;
	size_t old_size, new_size;	/* neither is 0 */
	bool fixed;
	char *to;			/* if fixed; does not overlap old */
	bool keep_target;		/* if it fails, what is mapped there */
};

/*
 * Move with relocation by one of the two methods, in the thread of a handle if there
 * is one and it is free, else apart.  Returns USED and the new address in *result; or
 * why not, with everything as it was (but what was mapped at a target that need not
 * be kept may be empty).  *begun: UFFD_MOVE has begun to move pages, so that it can
 * have stopped at one that is pinned, or before it.  Changes errno.
 */
enum mremap_compat_reason mc_relocate(struct mremap_compat_handle *handle,
				      enum mremap_compat_method method,
				      const struct mc_move *move,
				      void **result, bool *begun);

/*
 * Call a function apart, with a job by which mc_relocate_here() relocates mappings where
 * they are, by UFFD_MOVE and with one userfaultfd for all.  Returns USED, or why not; if
 * a filter has ended the thread (FORBIDDEN), the mapping under way is as it was.  Changes
 * errno.
 */
struct job;
enum mremap_compat_reason mc_here(void (*function)(struct job *job,
						   void *argument),
				  void *argument);

/*
 * Relocate the pages of a mapping, all of it.  Returns USED; BUSY also for pages that
 * other processes share; NO_RESOURCES also if no more can be done with this job.
 */
enum mremap_compat_reason mc_relocate_here(struct job *job, char *start,
					   size_t size);

/* What a move of so many bytes by UFFD_MOVE costs, by the table of costs. */
uint64_t mc_cost_of_move(size_t size);

/*
 * What it took last to close a userfaultfd of a call's own, by the same measure; 0:
 * not known. The kernel walks through all mappings of the process.
 */
unsigned int mc_closing_cost(void);

/*
 * A call has done without, for what closing took. It is believed a little less, so
 * that after some thousand calls one finds out anew.
 */
void mc_doubt_closing_cost(void);

/* A userfaultfd that can move; *fd is -1 if there is none. Returns why, or USED. */
enum mremap_compat_reason mc_uffd_open(int *fd);

#endif
