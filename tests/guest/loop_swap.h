/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Swap on a loop device: what is paged out there stays in the swap cache for a while,
 * which zram does without.
 */
#ifndef GUEST_LOOP_SWAP_H
#define GUEST_LOOP_SWAP_H

#include "relocate.h"

#include <linux/loop.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/swap.h>

#define SWAP_SIZE (256UL << 20)

static char swap_path[32];
static int loop = -1;

/*
 * Swap on a file in ramfs, and no other: processors keep to a device that they
 * have a share of, whatever the priorities say. A failure here would be reported
 * without a word, so the tests' own setup does that.
 */
#define OTHER_SWAP "/dev/zram0"

static const char *swap_error;
static int swap_errno;

HELPER void swap_on(bool stable_writes)
{
	/* Version, last page, no bad pages; the signature ends the page. */
	const uint32_t info[] = { 1, SWAP_SIZE / PAGE - 1, 0 };
	int n = ioctl(open("/dev/loop-control", O_RDWR), LOOP_CTL_GET_FREE);
	char path[100];
	int fd = -1;

	snprintf(swap_path, sizeof(swap_path), "/dev/loop%d", n);
	snprintf(path, sizeof(path), "/sys/block/loop%d/queue/stable_writes", n);
	(void)mkdir("/tmp/swap", 0700);
	if (mount("swap", "/tmp/swap", "ramfs", 0, NULL) ||
	    (fd = open("/tmp/swap/file", O_RDWR | O_CREAT, 0600)) < 0 ||
	    ftruncate(fd, SWAP_SIZE) ||
	    pwrite(fd, info, sizeof(info), 1024) < 0 ||
	    pwrite(fd, "SWAPSPACE2", 10, PAGE - 10) < 0) {
		swap_error = "file";
	} else if ((loop = open(swap_path, O_RDWR)) < 0 ||
		   ioctl(loop, LOOP_SET_FD, fd)) {
		swap_error = swap_path;
	} else {
		/* Whatever a loop device does by itself: swapon() looks at this. */
		set_if_there(path, stable_writes ? "1" : "0");
		if (swapon(swap_path, 0))
			swap_error = "swapon";
		else if (swapoff(OTHER_SWAP))
			swap_error = "swapoff";
	}
	swap_errno = errno;
	close(fd);
}

HELPER void check_swap(void)
{
	ck_assert_msg(!swap_error, "%s: %s", swap_error, strerror(swap_errno));
}

HELPER void end_swap(void)
{
	/* The device holds the file for as long as anybody has it open. */
	if (swapon(OTHER_SWAP, 0) || swapoff(swap_path))
		perror("swapon, swapoff");
	if (ioctl(loop, LOOP_CLR_FD) || close(loop))
		perror(swap_path);
	if (umount2("/tmp/swap", MNT_DETACH))
		perror("umount");
}

#endif
