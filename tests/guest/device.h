/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The memory of a device, by the kernel's HMM test driver. */
#ifndef GUEST_DEVICE_H
#define GUEST_DEVICE_H

#include "relocate.h"

#include <sys/ioctl.h>

/* From the kernel's lib/test_hmm_uapi.h */
struct hmm_dmirror_cmd {
	uint64_t addr, ptr, npages, cpages, faults;
};

#define HMM_DMIRROR_MIGRATE_TO_DEV _IOWR('H', 2, struct hmm_dmirror_cmd)
#define HMM_DMIRROR_MIGRATE_TO_SYS _IOWR('H', 3, struct hmm_dmirror_cmd)
#define HMM_DMIRROR_SNAPSHOT _IOWR('H', 4, struct hmm_dmirror_cmd)
#define HMM_DMIRROR_EXCLUSIVE _IOWR('H', 5, struct hmm_dmirror_cmd)
#define HMM_DMIRROR_RELEASE _IOWR('H', 7, struct hmm_dmirror_cmd)
#define HMM_DMIRROR_PROT_DEV_PRIVATE_LOCAL 0x20
#define HMM_DMIRROR_PROT_PMD 0x04

static char *dev_copy;	/* What the device says of a range. */

/* The number of pages that it did it for. */
HELPER size_t device(int fd, unsigned long request, char *addr, size_t len)
{
	struct hmm_dmirror_cmd cmd = {
		.addr = (uintptr_t)addr, .ptr = (uintptr_t)dev_copy,
		.npages = len / PAGE,
	};

	if (ioctl(fd, request, &cmd))
		ck_abort_msg("device, request %lx: %s", request, strerror(errno));
	return cmd.cpages;
}

HELPER int device_open(void)
{
	int fd = open("/dev/hmm_dmirror0", O_RDWR);

	ck_assert_msg(fd >= 0, "hmm_dmirror: %s", strerror(errno));
	dev_copy = mmap(NULL, 4 * HUGE, RW, ANON, -1, 0);
	ck_assert_ptr_ne(dev_copy, MAP_FAILED);
	return fd;
}

/* Pages of the range that are in the device's memory. */
HELPER size_t count_device(int fd, char *addr, size_t len, unsigned char bits)
{
	size_t n = 0;

	device(fd, HMM_DMIRROR_SNAPSHOT, addr, len);
	for (size_t i = 0; i < len / PAGE; i++)
		n += ((unsigned char)dev_copy[i] & bits) == bits;
	return n;
}

#endif
