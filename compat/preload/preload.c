/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * libmremap_compat_preload.so: mremap() for LD_PRELOAD.  With
 * MREMAP_COMPAT_PRELOAD=relocate in the environment, a program's calls that may
 * move memory ask the kernel to relocate it, too; else, and where the kernel
 * cannot, they are the system call and nothing more.
 */

#define _GNU_SOURCE
#include "mremap_compat.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The flags with which nothing but the relocation is added to a call. */
#define OLD_FLAGS (MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP)

/*
 * Whether the environment asks for it.  Threads that meet NOT_READ read the same
 * answer and store it; no other memory depends on it.
 */
enum { NOT_READ, OFF, ON };
static atomic_int wanted = NOT_READ;

static bool is_wanted(void)
{
	int answer = atomic_load_explicit(&wanted, memory_order_relaxed);

	if (answer == NOT_READ) {
		const char *value;

		/* Called before the C library has set itself up? */
		if (!environ)
			return false;
		value = secure_getenv("MREMAP_COMPAT_PRELOAD");
		answer = value && !strcmp(value, "relocate") ? ON : OFF;
		atomic_store_explicit(&wanted, answer, memory_order_relaxed);
	}
	return answer == ON;
}

/* At the start, before the program can change its environment. */
__attribute__((constructor))
static void read_environment(void)
{
	is_wanted();
}

__attribute__((visibility("default")))
void *mremap(void *old_address, size_t old_size, size_t new_size, int flags,
	     ...)
{
	void *new_address = NULL;

	if (flags & (MREMAP_FIXED | MREMAP_DONTUNMAP)) {
		va_list ap;

		va_start(ap, flags);
		new_address = va_arg(ap, void *);
		va_end(ap);
	}

	/* Where the kernel cannot relocate it, this is the program's call. */
	if ((flags & MREMAP_MAYMOVE) && !(flags & ~OLD_FLAGS) && is_wanted())
		return mremap_compat(old_address, old_size, new_size,
				     flags | MREMAP_RELOCATE_ANON, new_address);

	return (void *)syscall(SYS_mremap, old_address, old_size, new_size,
			       (unsigned long)flags, new_address);
}
