/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the tests do not expect of an older kernel. */
#ifndef TESTS_RELEASE_H
#define TESTS_RELEASE_H

#include <stdbool.h>
#include <stdlib.h>
#include <sys/utsname.h>

/*
 * Linux 6.12 moves one mapping a call, has no guard pages, does not relocate private mappings
 * of files, and so on: see kernel/README.md.  The release decides, since with a probe the tests
 * of what newer kernels have would vanish together with it.
 */
static inline bool kernel_before_7(void)
{
	struct utsname name;

	return !uname(&name) && atoi(name.release) < 7;
}

#endif
