/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Pages that KSM merges. */
#ifndef GUEST_KSM_H
#define GUEST_KSM_H

#include "relocate.h"

HELPER long ksm_number(const char *name)
{
	char path[64];

	snprintf(path, sizeof(path), "/sys/kernel/mm/ksm/%s", name);
	return strtol(read_file(path), NULL, 10);
}

HELPER size_t count_flagged(const char *addr, size_t len, uint64_t flag)
{
	size_t n = 0;

	for (size_t off = 0; off < len; off += PAGE)
		n += !!(kpageflags(addr + off) & flag);
	return n;
}

/* Have KSM look at everything, until all pages of a range have the flag. */
HELPER void ksm_merge(char *addr, size_t len, uint64_t flag)
{
	size_t left = len;

	write_file("/sys/kernel/mm/ksm/pages_to_scan", "10000");
	write_file("/sys/kernel/mm/ksm/sleep_millisecs", "1");
	write_file("/sys/kernel/mm/ksm/run", "1");
	for (long waited = 0; left && wait_more(&waited, 5000);)
		left = len / PAGE - count_flagged(addr, len, flag);
	write_file("/sys/kernel/mm/ksm/run", "0");
	if (left)
		ck_abort_msg("%zu of %zu pages are not merged", left, len / PAGE);
}

/* Pages of a few contents, from 1 on in turn, to be merged. */
HELPER char *map_same(char *addr, size_t len, int contents)
{
	map_at(addr, len);
	for (size_t i = 0; i < len / PAGE; i++)
		memset(addr + i * PAGE, 1 + (int)i % contents, PAGE);
	advise(addr, len, MADV_MERGEABLE);
	return addr;
}

HELPER void check_same(const char *addr, size_t len, int contents)
{
	for (size_t i = 0; i < len; i += 64)
		if (addr[i] != 1 + (int)(i / PAGE) % contents)
			ck_abort_msg("byte %zu: %d", i, addr[i]);
}

#endif
