/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The kernel's fault injection: let the n-th thing that can fail in the calls of this
 * thread fail (Documentation/fault-injection of the kernel). Needs nothing else of
 * ours. Returns -1 with errno set where there is no fault injection.
 */
#ifndef FAIL_NTH_H
#define FAIL_NTH_H

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static inline void fail_nth_write(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return;
	(void)!write(fd, text, strlen(text));
	close(fd);
}

/* Everything may fail: allocations, and what fail_relocate of the debug kernel has. */
static inline void fail_nth_setup(void)
{
	static const char *const attributes[] = {
		"failslab", "fail_page_alloc", "fail_relocate",
	};
	char path[100];

	for (size_t i = 0; i < sizeof(attributes) / sizeof(attributes[0]); i++) {
		snprintf(path, sizeof(path), "/sys/kernel/debug/%s/verbose",
			 attributes[i]);
		fail_nth_write(path, "0");
		/* Also those that may sleep, which most do. */
		snprintf(path, sizeof(path),
			 "/sys/kernel/debug/%s/ignore-gfp-wait", attributes[i]);
		fail_nth_write(path, "N");
	}
	fail_nth_write("/sys/kernel/debug/fail_page_alloc/min-order", "0");
	/* Also pages for user space, which breaking up KSM's takes. */
	fail_nth_write("/sys/kernel/debug/fail_page_alloc/ignore-gfp-highmem", "N");
}

/* A file for the functions below: of the thread that opens it. */
static inline int fail_nth_open(void)
{
	return open("/proc/thread-self/fail-nth", O_RDWR | O_CLOEXEC);
}

static inline int fail_nth_set(int fd, int n)
{
	char text[16];

	snprintf(text, sizeof(text), "%d", n);
	return pwrite(fd, text, strlen(text), 0) < 0 ? -1 : 0;
}

/* Was the point that was set reached, and did it fail? Ends the injection. */
static inline int fail_nth_did(int fd)
{
	char text[16] = "";

	if (pread(fd, text, sizeof(text) - 1, 0) <= 0 || fail_nth_set(fd, 0))
		return -1;
	return atoi(text) == 0;
}

#endif
