/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Pin pages with the kernel's gup_test, as RDMA would for a long time. */
#ifndef GUEST_PIN_H
#define GUEST_PIN_H

#include "relocate.h"

#include <sys/ioctl.h>

/* From the kernel's mm/gup_test.h */
struct pin_longterm_test {
	uint64_t addr, size;
	uint32_t flags;
#define PIN_WRITE 1
#define PIN_FAST 2
};

#define PIN_LONGTERM_TEST_START _IOW('g', 7, struct pin_longterm_test)
#define PIN_LONGTERM_TEST_READ _IOW('g', 9, uint64_t)

/* Pinned until pin_end() of what it returns. */
HELPER int pin_start(char *addr, size_t len, uint32_t flags)
{
	const struct pin_longterm_test args = {
		.addr = (uintptr_t)addr, .size = len, .flags = flags,
	};
	int fd = open("/sys/kernel/debug/gup_test", O_RDWR);

	ck_assert_msg(fd >= 0, "gup_test: %s", strerror(errno));
	ck_assert_int_eq(ioctl(fd, PIN_LONGTERM_TEST_START, &args), 0);
	return fd;
}

/* What has been pinned, wherever it is mapped now, has these contents. */
HELPER void pin_check(int pin, size_t len, unsigned int seed)
{
	char *copy = mmap(NULL, len, RW, ANON, -1, 0);
	const uint64_t addr = (uintptr_t)copy;

	ck_assert_ptr_ne(copy, MAP_FAILED);
	ck_assert_int_eq(ioctl(pin, PIN_LONGTERM_TEST_READ, &addr), 0);
	check(copy, len, seed);
	munmap(copy, len);
}

HELPER void pin_end(int pin)
{
	close(pin);
}

#endif
