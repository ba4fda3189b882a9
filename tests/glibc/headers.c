/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a program sees that is compiled and linked with the patched glibc: the
 * constants, and mremap() passing them on.  On a kernel with the feature the
 * memory merges; on others the EINVAL is the kernel's.  RELOCATE_EXPECT says
 * which to expect, as for the other tests.
 * tests/glibc/build compiles it.
 */

#define _GNU_SOURCE
#include <errno.h>
#include <gnu/libc-version.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#if !defined MREMAP_RELOCATE_ANON || !defined MREMAP_MUST_RELOCATE_ANON
# error "<sys/mman.h> lacks the constants: not the patched glibc"
#endif

_Static_assert(MREMAP_RELOCATE_ANON == 8, "MREMAP_RELOCATE_ANON");
_Static_assert(MREMAP_MUST_RELOCATE_ANON == 16, "MREMAP_MUST_RELOCATE_ANON");

/* The kernel's headers, where they have them, agree, or this warns. */
#include <linux/mman.h>

static int count, failed;

static void result(bool good, const char *name)
{
	printf("%sok %d - %s\n", good ? "" : "not ", ++count, name);
	if (!good)
		failed++;
}

static char *map(size_t size, int prot)
{
	char *p = mmap(NULL, size, prot, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED) {
		perror("mmap");
		exit(2);
	}
	return p;
}

/* Mappings that [start, start + size) consists of. */
static int mappings(const char *start, size_t size)
{
	FILE *maps = fopen("/proc/self/maps", "r");
	unsigned long from, to;
	char line[512];
	int n = 0;

	if (!maps) {
		perror("/proc/self/maps");
		exit(2);
	}
	while (fgets(line, sizeof(line), maps))
		if (sscanf(line, "%lx-%lx", &from, &to) == 2 &&
		    from < (unsigned long)start + size &&
		    to > (unsigned long)start)
			n++;
	fclose(maps);
	return n;
}

/* Bring two faulted mappings together with mremap() and FLAG. */
static void test(int flag, bool known, const char *name)
{
	const size_t size = 4 * (size_t)sysconf(_SC_PAGESIZE);
	/* Gaps keep each mapping apart from all others. */
	char *area = map(7 * size, PROT_NONE);
	char *left = area, *from = area + 3 * size, *right = left + size, *p;
	const int prot = PROT_READ | PROT_WRITE;
	char text[128];

	mprotect(left, size, prot);
	mprotect(from, size, prot);
	memset(left, 'l', size);
	memset(from, 'r', size);

	errno = 0;
	p = mremap(from, size, size, MREMAP_MAYMOVE | MREMAP_FIXED | flag,
		   right);
	if (!known) {
		snprintf(text, sizeof(text), "%s: EINVAL of the kernel", name);
		result(p == MAP_FAILED && errno == EINVAL && from[0] == 'r',
		       text);
		munmap(area, 7 * size);
		return;
	}
	snprintf(text, sizeof(text), "%s: moves", name);
	result(p == right, text);
	snprintf(text, sizeof(text), "%s: contents", name);
	result(p == right && left[0] == 'l' && left[size - 1] == 'l' &&
	       right[0] == 'r' && right[size - 1] == 'r', text);
	snprintf(text, sizeof(text), "%s: one mapping", name);
	result(p == right && mappings(left, 2 * size) == 1, text);
}

int main(void)
{
	const char *expect = getenv("RELOCATE_EXPECT");
	const size_t page = (size_t)sysconf(_SC_PAGESIZE);
	char *nothing = map(page, PROT_NONE);
	bool known;

	printf("# glibc %s\n", gnu_get_libc_version());

	/* The kernel looks at the flags first: EFAULT means it knows them. */
	munmap(nothing, page);
	syscall(SYS_mremap, nothing, page, page,
		(unsigned long)(MREMAP_MAYMOVE | MREMAP_RELOCATE_ANON |
				MREMAP_MUST_RELOCATE_ANON), NULL);
	known = errno == EFAULT;
	printf("# the kernel %s the flags\n", known ? "knows" : "does not know");
	result(!expect || known == !strcmp(expect, "supported"),
	       "the kernel is the expected one");

	errno = 0;
	result(mremap(nothing, page, page, MREMAP_MAYMOVE |
		      MREMAP_RELOCATE_ANON | MREMAP_MUST_RELOCATE_ANON)
	       == MAP_FAILED && errno == (known ? EFAULT : EINVAL),
	       "mremap() passes the flags on");

	test(MREMAP_RELOCATE_ANON, known, "MREMAP_RELOCATE_ANON");
	test(MREMAP_MUST_RELOCATE_ANON, known, "MREMAP_MUST_RELOCATE_ANON");
	printf("1..%d\n", count);
	return failed ? 1 : 0;
}
