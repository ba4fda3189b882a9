/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the tests of the compatibility library share. */
#ifndef TESTS_COMPAT_H
#define TESTS_COMPAT_H

#include "mremap_compat.h"
#include "../suite.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define MAY MREMAP_MAYMOVE
#define FIXED (MREMAP_MAYMOVE | MREMAP_FIXED)
#define ANON MREMAP_RELOCATE_ANON
#define MUST MREMAP_MUST_RELOCATE_ANON

/*
 * There is what sanitizers cannot bear: their shadow memory is beyond any limit,
 * they need mappings themselves, and larger frames.
 */
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
# define NO_SANITIZER 1
#endif

/* Not every program uses everything. */
#define HELPER static __attribute__((unused))

static size_t page;

HELPER void setup(void)
{
	page = (size_t)sysconf(_SC_PAGESIZE);
}

HELPER char *map(size_t pages, int prot)
{
	char *p = mmap(NULL, pages * page, prot, MAP_PRIVATE | MAP_ANONYMOUS,
		       -1, 0);

	ck_assert_ptr_ne(p, MAP_FAILED);
	return p;
}

HELPER char *filled(size_t pages, char c)
{
	char *p = map(pages, PROT_READ | PROT_WRITE);

	memset(p, c, pages * page);
	return p;
}

HELPER void check_filled(const char *p, size_t pages, char c)
{
	size_t i = 0;

	/* An assertion per byte would take long. */
	while (i < pages * page && p[i] == c)
		i++;
	ck_assert_msg(i == pages * page, "byte %zu is not %#x", i, c);
}

HELPER bool is_mapped(void *p)
{
	const int saved_errno = errno;
	unsigned char vec;
	const bool mapped = mincore(p, page, &vec) == 0;

	errno = saved_errno;
	return mapped;
}

/* The text of a file of /proc, cut to fit; allocates nothing. */
HELPER size_t read_file(const char *name, char *text, size_t size)
{
	size_t length = 0;
	ssize_t got;
	int fd = open(name, O_RDONLY | O_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	while ((got = read(fd, text + length, size - 1 - length)) > 0)
		length += (size_t)got;
	text[length] = '\0';
	close(fd);
	return length;
}

/* Size of the address space in pages. */
HELPER long mapped_pages(void)
{
	char text[128];

	read_file("/proc/self/statm", text, sizeof(text));
	return atol(text);
}

HELPER int open_files(void)
{
	DIR *dir = opendir("/proc/self/fd");
	int n = 0;

	ck_assert_ptr_nonnull(dir);
	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

/* Number of mappings that [start, start + size) consists of. */
HELPER int mappings(const char *start, size_t size)
{
	FILE *maps = fopen("/proc/self/maps", "r");
	char line[512];
	int n = 0;

	ck_assert_ptr_nonnull(maps);
	while (fgets(line, sizeof(line), maps)) {
		unsigned long from, to;

		if (sscanf(line, "%lx-%lx", &from, &to) == 2 &&
		    from < (unsigned long)start + size &&
		    to > (unsigned long)start)
			n++;
	}
	fclose(maps);
	return n;
}

#define ck_fails(call, err) do { \
	errno = 0; \
	ck_assert_ptr_eq((call), MAP_FAILED); \
	ck_assert_int_eq(errno, (err)); \
} while (0)

#endif
