/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* For programs that are tried without libcheck: say what is wrong, and end. */
#ifndef TESTS_COMPAT_CHECK_H
#define TESTS_COMPAT_CHECK_H

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(what) do { \
	if (!(what)) { \
		printf("line %d: %s (%s)\n", __LINE__, #what, strerror(errno)); \
		exit(1); \
	} \
} while (0)

#endif
