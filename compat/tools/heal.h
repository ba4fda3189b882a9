/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Merging the mappings of another process, by process_madvise(2) with MADV_COALESCE, in
 * pieces.  Nothing here prints but heal_put_...().
 */
#ifndef MREMAP_COMPAT_HEAL_H
#define MREMAP_COMPAT_HEAL_H

#include "output.h"
#include "process.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What the kernel of this system says of it. */
enum heal_support {
	HEAL_SUPPORTED,
	HEAL_NO_ADVICE,		/* it does not have MADV_COALESCE */
	HEAL_FORBIDDEN,		/* as by a seccomp filter */
	HEAL_UNKNOWN		/* no memory or mappings to find out with */
};
enum heal_support heal_support(void);

/* What it was about when it came to an end before it was done. */
enum heal_end {
	HEAL_DONE,
	HEAL_READ,		/* the process cannot be read: err */
	HEAL_FOREIGN,		/* another process has its number here (process.h) */
	HEAL_NO_PIDFD,		/* pidfd_open(2): err */
	HEAL_ADVICE,		/* process_madvise(2): err; ESRCH: it has ended */
	HEAL_READ_AFTER		/* all done, but what has become of it is not known: err */
};

struct heal {
	int pid;
	/* The second is empty, with no mappings, if the process cannot be read any more. */
	struct sample before, after;
	uint64_t steps, done;	/* calls to make, and made */
	enum heal_end end;
	int err;
};

/* Called before the first step and after each; may be NULL. */
typedef void heal_progress(const struct heal *heal);

/* Merge all that can be.  heal_free() in the end. */
void heal_process(const struct process *process, struct heal *heal,
		  heal_progress *progress);
void heal_free(struct heal *heal);

/* How many pairs of neighbours are still apart. */
uint64_t heal_apart(const struct heal *heal);

/* A table; a line of one for many, and its title; members of a JSON object. */
void heal_put_table(const struct heal *heal, const struct object_sizes *sizes);
void heal_put_title(void);
void heal_put_line(const struct heal *heal, const struct object_sizes *sizes);
void heal_put_json(const struct heal *heal, const struct object_sizes *sizes);

#endif
