// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What a move costs by each method, by a handle, and by mmap(), memcpy() and munmap(),
 * with few mappings and with many; for compat/README.md and for the table by which
 * the library chooses (cost_of() in mremap_compat.c).
 *
 *	make bench-compat
 *
 * Prints nanoseconds, and instructions where the processor lets them be counted.  In a
 * machine that counts them by its clock, nanoseconds are instructions:
 *
 *	tests/vm/run-kernel --icount --kernel patched --mem 2G -- tests/compat/cost
 *
 * The memory moves between two places that are apart and not equally aligned
 * ("4 KiB") or equally aligned ("THP"); all of it has been written. The smallest
 * of several calls counts.
 */

#define _GNU_SOURCE
#include <mremap_compat.h>

#include <err.h>
#include <linux/perf_event.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define HUGE ((size_t)2 << 20)
#define PAGE ((size_t)4096)
#define LARGEST ((size_t)64 << 20)
#define RW (PROT_READ | PROT_WRITE)
#define COUNT(array) (sizeof(array) / sizeof(*(array)))

enum way { KERNEL, UFFD_MOVE, WITH_HANDLE, COPY, INTO_NEW, BY_HAND, PLAIN, WAYS };
static const struct {
	const char *name;
	unsigned int method;
} ways[WAYS] = {
	[KERNEL] = { "kernel", MREMAP_COMPAT_KERNEL },
	[UFFD_MOVE] = { "uffd-move", MREMAP_COMPAT_UFFD_MOVE },
	[WITH_HANDLE] = { "uffd-move, handle", MREMAP_COMPAT_UFFD_MOVE },
	[COPY] = { "copy", MREMAP_COMPAT_COPY },
	[INTO_NEW] = { "copy, realloc_with", MREMAP_COMPAT_COPY },
	[BY_HAND] = { "mmap+memcpy+munmap", 0 },
	[PLAIN] = { "plain", MREMAP_COMPAT_PLAIN },
};

static struct mremap_compat_handle *handle;
static int counter = -1;

struct cost {
	int64_t ns, instructions;
};

static struct cost now(void)
{
	struct cost cost = { 0, 0 };
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	cost.ns = t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
	if (counter >= 0 && read(counter, &cost.instructions, 8) != 8)
		err(1, "counter");
	return cost;
}

/* All instructions, also of the threads that are made from now on. */
static void open_counter(void)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_HARDWARE,
		.size = sizeof(attr),
		.config = PERF_COUNT_HW_INSTRUCTIONS,
		.inherit = 1,
	};

	counter = (int)syscall(SYS_perf_event_open, &attr, 0L, -1L, -1L, 0L);
	if (counter < 0)
		printf("no hardware counters (%m): nanoseconds alone\n");
}

/* Aligned to a huge page; a page behind it stays in use. */
static char *place(void)
{
	char *p = mmap(NULL, LARGEST + 3 * HUGE, PROT_NONE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED)
		err(1, "mmap");
	return (char *)(((uintptr_t)p + HUGE - 1) & -HUGE);
}

static void empty(char *p, size_t size, int prot)
{
	if (mmap(p, size, prot, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE |
		 MAP_FIXED, -1, 0) != p)
		err(1, "mmap");
}

/* Returns where it has gone, NULL if that way is not to be had. */
static char *move(enum way way, char *from, char *to, size_t size, bool huge)
{
	const int flags = MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_RELOCATE_ANON;
	struct mremap_compat_report report;
	char *p;

	switch (way) {
	case BY_HAND:
		p = mmap(NULL, size + PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1,
			 0);
		if (p == MAP_FAILED)
			err(1, "mmap");
		if (huge)
			madvise(p, size, MADV_HUGEPAGE);
		memcpy(p, from, size);
		munmap(from, size);
		return p;
	case INTO_NEW:
		p = mremap_compat_realloc_with(NULL, from, size, size + PAGE,
					       ways[way].method, &report);
		return p && report.method == ways[way].method ? p : NULL;
	default:
		p = mremap_compat_ext_with(way == WITH_HANDLE ? handle : NULL,
					   from, size, size, flags, to,
					   ways[way].method, NULL);
		return p == to ? p : NULL;
	}
}

/* Of one call; false if there is no such way. */
static bool cost_of(char *from, char *to, size_t size, enum way way, bool huge,
		    struct cost *best)
{
	const int rounds = size < HUGE ? 31 : 7;

	if (!huge)
		to += 16 * PAGE;
	for (int i = 0; i < rounds; i++) {
		struct cost begin, end;
		char *p;

		empty(from, size, RW);
		madvise(from, size, huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
		memset(from, 'x', size);
		begin = now();
		p = move(way, from, to, size, huge);
		end = now();
		if (!p)
			return false;
		if (p[size - 1] != 'x')
			errx(1, "wrong contents");
		end.ns -= begin.ns;
		end.instructions -= begin.instructions;
		if (!i || end.ns < best->ns)
			best->ns = end.ns;
		if (!i || end.instructions < best->instructions)
			best->instructions = end.instructions;
		if (p == to)
			empty(to, size, PROT_NONE);
		else
			munmap(p, size + PAGE);
	}
	empty(from, size, PROT_NONE);
	return true;
}

static void measure(int mappings)
{
	static const size_t sizes[] = {
		1, 2, 4, 8, 16, 32, 64, 256, LARGEST / PAGE,
	};
	char *from = place(), *to = place();

	for (int way = 0; way < WAYS; way++) {
		for (size_t i = 0; i < 2 * COUNT(sizes); i++) {
			const bool huge = i >= COUNT(sizes);
			const size_t pages = sizes[i % COUNT(sizes)];
			struct cost cost = { 0, 0 };

			if (huge && pages * PAGE < HUGE)
				continue;
			if (!cost_of(from, to, pages * PAGE, (enum way)way, huge,
				     &cost))
				break;
			printf("%8d  %-20s %-6s %6zu %10.1f %12lld", mappings,
			       ways[way].name, huge ? "THP" : "4 KiB",
			       pages * PAGE / 1024,
			       (double)cost.ns / (double)pages,
			       (long long)cost.ns);
			if (counter >= 0)
				printf(" %10.1f %12lld", (double)cost.instructions
				       / (double)pages,
				       (long long)cost.instructions);
			putchar('\n');
			fflush(stdout);
		}
	}
}

int main(void)
{
	const int many = 60000;
	char *area;

	open_counter();
	handle = mremap_compat_open();
	if (!handle)
		printf("no handle (%m): without it\n");
	printf("mappings  %-20s %-6s %6s %10s %12s%s\n", "way", "folio", "KiB",
	       "ns/page", "ns/call",
	       counter < 0 ? "" : "  instr/page   instr/call");
	measure(25);
	area = mmap(NULL, (size_t)many * PAGE, PROT_NONE, MAP_PRIVATE |
		    MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (area == MAP_FAILED)
		err(1, "mmap");
	for (size_t i = 1; i < many; i += 2)
		if (mprotect(area + i * PAGE, PAGE, PROT_READ))
			err(1, "%d mappings", many);
	measure(many);
	mremap_compat_close(handle);
	return 0;
}
