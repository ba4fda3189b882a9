// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What a move by mremap_compat_ext() costs with each method, for compat/README.md.
 * Prints nanoseconds, which are instructions in a machine that counts them:
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
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define HUGE ((size_t)2 << 20)
#define PAGE ((size_t)4096)
#define LARGEST ((size_t)64 << 20)

static int64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

static char *place(void)
{
	char *p = mmap(NULL, LARGEST + 2 * HUGE, PROT_NONE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED)
		err(1, "mmap");
	return (char *)(((uintptr_t)p + HUGE - 1) & -HUGE);
}

/* Of one call; negative if the method does not do it. */
static int64_t cost(char *from, char *to, size_t size, unsigned int method,
		    bool huge)
{
	int64_t best = -1;

	if (!huge)
		to += 16 * PAGE;
	for (int i = 0; i < 7; i++) {
		int64_t begin, took;
		char *p;

		if (mmap(from, size, PROT_READ | PROT_WRITE, MAP_PRIVATE |
			 MAP_ANONYMOUS | MAP_FIXED, -1, 0) != from)
			err(1, "mmap");
		madvise(from, size, huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
		memset(from, 'x', size);
		begin = now();
		p = mremap_compat_ext(from, size, size, MREMAP_MAYMOVE |
				      MREMAP_FIXED | MREMAP_RELOCATE_ANON, to,
				      method, NULL);
		took = now() - begin;
		if (p != to)
			return -1;
		if (p[size - 1] != 'x')
			errx(1, "wrong contents");
		if (best < 0 || took < best)
			best = took;
		if (mmap(to, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS |
			 MAP_NORESERVE | MAP_FIXED, -1, 0) != to)
			err(1, "mmap");
	}
	return best;
}

int main(void)
{
	static const size_t sizes[] = {
		1, 2, 3, 4, 6, 8, 16, 256, LARGEST / PAGE,
	};
	char *from = place(), *to = place();

	printf("%-12s %-6s %8s %10s %12s\n", "method", "folio", "KiB",
	       "per page", "per call");
	for (unsigned int m = 1; m <= MREMAP_COMPAT_PLAIN; m *= 2) {
		for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
			for (int huge = 0; huge < 2; huge++) {
				const size_t size = sizes[i] * PAGE;
				int64_t n;

				if (huge && size < HUGE)
					continue;
				n = cost(from, to, size, m, huge);
				if (n < 0)
					continue;
				printf("%-12s %-6s %8zu %10.1f %12lld\n",
				       mremap_compat_method_name(m),
				       huge ? "THP" : "4 KiB", size / 1024,
				       (double)n / (double)sizes[i],
				       (long long)n);
			}
		}
	}
	return 0;
}
