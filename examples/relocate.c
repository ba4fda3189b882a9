/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * mremap(2) with MREMAP_RELOCATE_ANON, and without it where the flag is unknown.  This is
 * the program of the manual page (man/patches): change both.
 *
 *     cc relocate.c && ./a.out
 *
 * The flag comes from the headers, or from the line that defines it here.  The C library has
 * to pass it on: glibc with our patches does (build/relocate-run ./a.out), others refuse it.
 */
#define _GNU_SOURCE
#include <err.h>
#include <errno.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#ifndef MREMAP_RELOCATE_ANON
# define MREMAP_RELOCATE_ANON  8
#endif

/* Count the readable mappings that start between two addresses. */
static int
mappings(const char *from, const char *to)
{
    int        n = 0;
    char       line[BUFSIZ], perms[5];
    FILE       *fp;
    uintptr_t  start;

    fp = fopen("/proc/self/maps", "r");
    if (fp == NULL)
        err(EXIT_FAILURE, "/proc/self/maps");

    while (fgets(line, sizeof(line), fp) != NULL) {
        if (sscanf(line, "%" SCNxPTR "-%*x %4s", &start, perms) != 2)
            continue;
        if (start >= (uintptr_t) from && start < (uintptr_t) to
            && perms[0] == 'r')
            n++;
    }
    fclose(fp);

    return n;
}

static void
show(const char *when, int n)
{
    printf("%s %d mapping%s\n", when, n, n == 1 ? "" : "s");
}

int
main(void)
{
    int     flags = MREMAP_MAYMOVE | MREMAP_FIXED;
    char    *area, *first, *second;
    size_t  page = sysconf(_SC_PAGESIZE);
    size_t  size = 16 * page;

    /* Is the flag known?  Nothing is mapped at this address. */
    if (mremap(NULL, page, page, MREMAP_MAYMOVE | MREMAP_RELOCATE_ANON)
        == MAP_FAILED && errno == EFAULT)
        flags |= MREMAP_RELOCATE_ANON;
    else
        printf("MREMAP_RELOCATE_ANON is unknown here\n");

    /* Three parts, of which the one in the middle stays unused. */
    area = mmap(NULL, 3 * size, PROT_NONE,
                MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (area == MAP_FAILED)
        err(EXIT_FAILURE, "mmap");
    first = area;
    second = area + 2 * size;
    if (mprotect(first, size, PROT_READ | PROT_WRITE) == -1
        || mprotect(second, size, PROT_READ | PROT_WRITE) == -1)
        err(EXIT_FAILURE, "mprotect");

    memset(first, '1', size);
    memset(second, '2', size);
    show("before:", mappings(area, area + 3 * size));

    second = mremap(second, size, size, flags, first + size);
    if (second == MAP_FAILED)
        err(EXIT_FAILURE, "mremap");
    show("after: ", mappings(area, area + 3 * size));

    if (first[size - 1] != '1' || second[0] != '2'
        || second[size - 1] != '2')
        errx(EXIT_FAILURE, "the content has changed");

    exit(EXIT_SUCCESS);
}
