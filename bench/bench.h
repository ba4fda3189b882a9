/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the benchmark's programs share: the clock, memory at fixed places, mremap(),
 * and what the kernel counts.
 *
 * The clock's nanoseconds are instructions in a guest with --icount.
 */
#ifndef BENCH_H
#define BENCH_H

#include <err.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define RELOCATE 8
#define MUST_RELOCATE 16
#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP 4
#endif

#define PAGE ((size_t)4096)
#define KIB ((size_t)1024)
#define MIB (1024 * KIB)
#define GIB (1024 * MIB)
#define HUGE (2 * MIB)

#define ARRAY_SIZE(a) (sizeof(a) / sizeof(*(a)))

/* ---- the clock ------------------------------------------------------------------- */

/* What it takes to read the clock twice; measure_clock() sets it. */
static int64_t clock_cost;

static inline int64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

static inline int64_t since(int64_t begin)
{
	return now() - begin - clock_cost;
}

static inline void measure_clock(void)
{
	int64_t best = INT64_MAX;

	for (int i = 0; i < 100; i++) {
		const int64_t begin = now();
		const int64_t took = now() - begin;

		if (took < best)
			best = took;
	}
	clock_cost = best;
	/* A kernel that could not measure its time stamp counter counts ticks. */
	if (!best)
		errx(1, "error: this machine's clock is too coarse; try again when the host has less to do");
}

/*
 * Let the kernel do what it has put off, and return right after one of its ticks, so
 * that what is measured next sees as few of them as can be, in every boot the same
 * number. Only of use where the clock counts instructions; waiting is free there.
 */
static inline void await_tick(void)
{
	int64_t last;

	usleep(20000);
	last = now();
	for (int i = 0; i < 1000000; i++) {
		const int64_t t = now();

		if (t - last > 10 * clock_cost + 500)
			return;
		last = t;
	}
}

static inline int64_t smaller(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

/* ---- memory ---------------------------------------------------------------------- */

static inline char *map_shared_or_private(char *addr, size_t len, int kind)
{
	char *p = mmap(addr, len, PROT_READ | PROT_WRITE,
		       kind | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);

	if (p != addr)
		err(1, "mmap %zu bytes at %p", len, (void *)addr);
	return p;
}

static inline char *map(char *addr, size_t len)
{
	return map_shared_or_private(addr, len, MAP_PRIVATE);
}

static inline void unmap(char *p, size_t len)
{
	if (munmap(p, len))
		err(1, "munmap %zu bytes at %p", len, (void *)p);
}

/* A free range of addresses, aligned to 1 GiB; nothing else will be mapped there. */
static inline char *find_room(size_t len)
{
	char *p = mmap(NULL, len + GIB, PROT_NONE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED)
		err(1, "mmap");
	unmap(p, len + GIB);
	return (char *)(((uintptr_t)p + GIB - 1) & -GIB);
}

/*
 * Something mapped and touched, so that the page tables around it stay, as they do
 * in a program's heap. Shared, so that it merges with nothing.
 */
static inline void neighbour(char *p)
{
	*map_shared_or_private(p, PAGE, MAP_SHARED) = 1;
}

static inline void *move_to(char *old, size_t len, char *new, int flags)
{
	return (void *)syscall(SYS_mremap, old, len, len,
			       MREMAP_MAYMOVE | MREMAP_FIXED | flags, new);
}

static inline void must_move_to(char *old, size_t len, char *new, int flags)
{
	if (move_to(old, len, new, flags) != new)
		err(1, "mremap %zu bytes, %p to %p, flags %d", len, (void *)old,
		    (void *)new, flags);
}

/* ---- the command line -------------------------------------------------------------- */

static inline void read_options(int argc, char **argv, const char *name, bool *quick,
				bool *by_time)
{
	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--quick"))
			*quick = true;
		else if (!strcmp(argv[i], "--time"))
			*by_time = true;
		else
			errx(2, "usage: %s [--quick] [--time]", name);
	}
}

/* ---- what the kernel counts ------------------------------------------------------ */

static inline void write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);

	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		err(1, "%s", path);
	close(fd);
}

/* The number after the line's beginning in a file of /proc or /sys, -1 if none */
static inline long number_in(const char *path, const char *name)
{
	const size_t len = strlen(name);
	char line[256];
	long value = -1;
	FILE *f = fopen(path, "re");

	if (!f)
		err(1, "%s", path);
	while (value < 0 && fgets(line, sizeof(line), f))
		if (!strncmp(line, name, len))
			value = atol(line + len);
	fclose(f);
	return value;
}

/* Which sizes of large folios page faults use from now on */
static inline void use_folios(size_t size)
{
	static size_t last = 1;

	if (size == last)
		return;
	write_file("/sys/kernel/mm/transparent_hugepage/hugepages-64kB/enabled",
		   size == 64 * KIB ? "madvise" : "never");
	write_file("/sys/kernel/mm/transparent_hugepage/hugepages-2048kB/enabled",
		   size == HUGE ? "madvise" : "never");
	last = size;
}

static inline void advise(char *p, size_t len, size_t folio)
{
	if (madvise(p, len, folio > PAGE ? MADV_HUGEPAGE : MADV_NOHUGEPAGE))
		err(1, "madvise");
}

struct counters {
	long relocated;		/* moves of a mapping; -1: the kernel has no flag */
	long fallbacks;
	long folios;
	long split;		/* huge pages */
};

static inline struct counters counters(void)
{
	return (struct counters) {
		.relocated = number_in("/proc/vmstat", "mremap_relocate "),
		.fallbacks = number_in("/proc/vmstat", "mremap_relocate_fallback "),
		.folios = number_in("/proc/vmstat", "mremap_relocate_folio "),
		.split = number_in("/proc/vmstat", "thp_split_page "),
	};
}

static inline bool kernel_relocates(void)
{
	return counters().relocated >= 0;
}

#endif
