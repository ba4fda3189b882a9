/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The time limits of test programs: RELOCATE_LIMIT, in seconds, as tests/limits.sh
 * computes it. Without it (a program run by hand) there are none. libcheck gets it as
 * CK_DEFAULT_TIMEOUT before main() begins.
 */
#ifndef TESTS_LIMIT_H
#define TESTS_LIMIT_H

#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>

/* What a test may take, in seconds; 0: as long as it likes, as for alarm(). */
static inline unsigned int test_limit(void)
{
	const char *text = getenv("RELOCATE_LIMIT");

	return text ? (unsigned int)strtoul(text, NULL, 10) : 0;
}

/*
 * For loops that wait: sleep so many microseconds, less than a million, unless half of
 * the limit has been slept away, so that the test can say what it waits for in vain.
 *
 *	for (long waited = 0; !ready() && wait_more(&waited, 1000);)
 *		;
 */
static inline bool wait_more(long *waited, unsigned int usecs)
{
	const long limit = (long)test_limit() * (1000000 / 2);

	if (limit && *waited >= limit)
		return false;
	usleep(usecs);
	*waited += usecs;
	return true;
}

__attribute__((constructor)) static void limit_libcheck(void)
{
	const char *text = getenv("RELOCATE_LIMIT");

	/* 0 is no limit there, too; what somebody has set by hand stays. */
	setenv("CK_DEFAULT_TIMEOUT", text ? text : "0", 0);
}

#endif
