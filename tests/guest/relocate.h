/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the guest tests of mremap(MREMAP_RELOCATE_ANON) share: places to map at,
 * patterns, readers of /proc, and what must be true after a move.
 *
 * The oracle for the reverse map, check_rmap(): move the pages to another node,
 * page them out, and look in pagemap. The kernel finds a page's entries by the
 * folio's mapping and index alone, so a page that was left with a stale one
 * stays where it is.
 *
 * Needs the patched kernel, root, two nodes and swap.
 */
#ifndef GUEST_RELOCATE_H
#define GUEST_RELOCATE_H

#define _GNU_SOURCE
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../release.h"
#include "../suite.h"

#define RELOCATE 8
#define MUST 16

#ifndef MADV_PAGEOUT
#define MADV_PAGEOUT 21
#endif
#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP 4
#endif
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif
#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#define MADV_GUARD_REMOVE 103
#endif

#define PAGE 4096UL
#define HUGE (2UL << 20)
#define ARENA (256UL << 20)

#define RW (PROT_READ | PROT_WRITE)
#define ANON (MAP_PRIVATE | MAP_ANONYMOUS)

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

/* Not every program uses everything. */
#define HELPER static __attribute__((unused))

static const int both_flags[] __attribute__((unused)) = {
	RELOCATE, MUST, RELOCATE | MUST,
};

/*
 * An address range that nothing else in the process uses: far from where the
 * kernel puts what has no address of its own, such as stacks of threads. Page
 * tables of all levels begin in its midst.
 */
static char *const arena = (char *)(1UL << 44) - ARENA / 4;

/* Unlike libcheck's this writes to no file, which is where it counts in memory. */
#define assert_quietly(expr)						\
	do {								\
		if (!(expr))						\
			ck_abort_msg("%s: %s", #expr, strerror(errno));	\
	} while (0)

/* ---- mremap -------------------------------------------------------------- */

HELPER void *sys_mremap(void *old, size_t old_len, size_t new_len, int flags,
			void *new)
{
	return (void *)syscall(SYS_mremap, old, old_len, new_len, flags, new);
}

/* Move to a place, with MREMAP_FIXED; it must succeed. */
HELPER void move_to(char *old, size_t len, char *new, int flags)
{
	void *p = sys_mremap(old, len, len, MREMAP_MAYMOVE | MREMAP_FIXED | flags,
			     new);

	if (p != new)
		ck_abort_msg("mremap to %p: %p, %s", (void *)new, p,
			     p == MAP_FAILED ? strerror(errno) : "elsewhere");
}

#define assert_mremap_fails(err, ...)					\
	do {								\
		errno = 0;						\
		ck_assert_ptr_eq(sys_mremap(__VA_ARGS__), MAP_FAILED);	\
		ck_assert_int_eq(errno, err);				\
	} while (0)

/* ---- mapping and contents ------------------------------------------------ */

HELPER char *map_at(char *addr, size_t len)
{
	void *p = mmap(addr, len, RW, ANON | MAP_FIXED_NOREPLACE, -1, 0);

	if (p != addr)
		ck_abort_msg("mmap at %p: %p, %s", (void *)addr, p,
			     p == MAP_FAILED ? strerror(errno) : "elsewhere");
	return p;
}

/*
 * Every byte of a page depends on the seed and the page's place in the range.
 * Never 0: the split of a huge page replaces pages of zeros by the zero page.
 */
HELPER unsigned char pattern(unsigned int seed, size_t page)
{
	return (unsigned char)(1 + (seed * 31 + page * 7 + (page >> 8)) % 255);
}

/* The part of a pattern that begins at its page number "from". */
HELPER void fill_from(char *p, size_t len, unsigned int seed, size_t from)
{
	for (size_t i = 0; i < len / PAGE; i++)
		memset(p + i * PAGE, pattern(seed, from + i), PAGE);
}

HELPER void fill(char *p, size_t len, unsigned int seed)
{
	fill_from(p, len, seed, 0);
}

HELPER void check_from(const char *p, size_t len, unsigned int seed, size_t from)
{
	for (size_t i = 0; i < len / PAGE; i++) {
		const unsigned char want = pattern(seed, from + i);

		/* No assertion in the loop: each is a write to a file. */
		for (size_t j = 0; j < PAGE; j += 64)
			if ((unsigned char)p[i * PAGE + j] != want)
				ck_abort_msg("page %zu byte %zu: %d, not %d", i,
					     j, (unsigned char)p[i * PAGE + j],
					     want);
	}
}

HELPER void check(const char *p, size_t len, unsigned int seed)
{
	check_from(p, len, seed, 0);
}

HELPER void check_zero(const char *p, size_t len)
{
	for (size_t i = 0; i < len; i += 64)
		if (p[i])
			ck_abort_msg("byte %zu: %d, not 0", i, p[i]);
}

HELPER char *map_filled(char *addr, size_t len, unsigned int seed)
{
	map_at(addr, len);
	fill(addr, len, seed);
	return addr;
}

/* ---- files of /proc and /sys --------------------------------------------- */

HELPER void write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY);

	if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text))
		ck_abort_msg("%s: %s: %s", path, text, strerror(errno));
	close(fd);
}

/*
 * The file's text, until the next call. No stdio, which maps memory, and no
 * assertions, which write to a file: this is used where both are counted.
 */
HELPER const char *read_file(const char *path)
{
	static char text[1 << 18];
	int fd = open(path, O_RDONLY);
	size_t n = 0;
	ssize_t some;

	while ((some = read(fd, text + n, sizeof(text) - 1 - n)) > 0)
		n += (size_t)some;
	if (some || n == sizeof(text) - 1)
		ck_abort_msg("%s: %s", path, some ? strerror(errno) : "too long");
	close(fd);
	text[n] = 0;
	return text;
}

/* The number after a name that begins a line. */
HELPER long file_number(const char *path, const char *name)
{
	const size_t len = strlen(name);
	const char *p = read_file(path);

	for (; p; p = strchr(p, '\n'), p = p ? p + 1 : NULL)
		if (!strncmp(p, name, len) && strchr(" :\t", p[len]))
			return strtol(p + len + 1, NULL, 10);
	ck_abort_msg("%s has no %s", path, name);
}

HELPER long vmstat(const char *name)
{
	return file_number("/proc/vmstat", name);
}

/* ---- mappings ------------------------------------------------------------ */

/* Mappings that overlap the range, by /proc/self/maps. */
HELPER int mappings(const char *addr, size_t len)
{
	const unsigned long from = (unsigned long)addr, to = from + len;
	const char *p = read_file("/proc/self/maps");
	int n = 0;

	for (; *p; p = strchr(p, '\n') + 1) {
		char *dash;
		const unsigned long start = strtoul(p, &dash, 16);

		n += start < to && strtoul(dash + 1, NULL, 16) > from;
	}
	return n;
}

/* Sum of a field of /proc/self/smaps in kB over the range's mappings. */
HELPER long smaps_kb(const char *addr, size_t len, const char *field)
{
	const unsigned long from = (unsigned long)addr, to = from + len;
	FILE *f = fopen("/proc/self/smaps", "r");
	unsigned long start, end;
	bool inside = false;
	char line[512];
	long sum = 0, v;

	ck_assert_ptr_nonnull(f);
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%lx-%lx ", &start, &end) == 2)
			inside = start < to && end > from;
		else if (inside && !strncmp(line, field, strlen(field)) &&
			 sscanf(line + strlen(field), ": %ld", &v) == 1)
			sum += v;
	}
	fclose(f);
	return sum;
}

/* ---- pages --------------------------------------------------------------- */

/* Bits of /proc/self/pagemap */
#define PM_PFN ((1ULL << 55) - 1)
#define PM_SOFT_DIRTY (1ULL << 55)
#define PM_UFFD_WP (1ULL << 57)
#define PM_GUARD (1ULL << 58)
#define PM_FILE (1ULL << 61)
#define PM_SWAP (1ULL << 62)
#define PM_PRESENT (1ULL << 63)

#define SWAPPED PM_SWAP
#define PRESENT PM_PRESENT

/* Bits of /proc/kpageflags */
#define KPF_WRITEBACK (1ULL << 8)
#define KPF_ANON (1ULL << 12)
#define KPF_SWAPCACHE (1ULL << 13)
#define KPF_COMPOUND_HEAD (1ULL << 15)
#define KPF_COMPOUND_TAIL (1ULL << 16)
#define KPF_HWPOISON (1ULL << 19)
#define KPF_KSM (1ULL << 21)
#define KPF_THP (1ULL << 22)
#define KPF_ZERO_PAGE (1ULL << 24)
#define KPF_MLOCKED (1ULL << 33)

HELPER void read_numbers(int fd, uint64_t *to, size_t n, uint64_t from)
{
	if (pread(fd, to, 8 * n, (off_t)(8 * from)) != (ssize_t)(8 * n))
		ck_abort_msg("pagemap or kpageflags: %s", strerror(errno));
}

HELPER void read_pagemap(const char *addr, uint64_t *to, size_t n)
{
	/* Not to be kept: a child that opens it has another one. */
	int fd = open("/proc/self/pagemap", O_RDONLY);

	read_numbers(fd, to, n, (uintptr_t)addr / PAGE);
	close(fd);
}

HELPER void read_kpageflags(uint64_t pfn, uint64_t *to, size_t n)
{
	static int fd = -1;

	if (fd < 0)
		fd = open("/proc/kpageflags", O_RDONLY);
	read_numbers(fd, to, n, pfn);
}

HELPER uint64_t pagemap(const char *addr)
{
	uint64_t e;

	read_pagemap(addr, &e, 1);
	return e;
}

/* Anonymous pages of the range whose pagemap entry has any of the bits. */
HELPER size_t count_pages(const char *addr, size_t len, uint64_t bits)
{
	uint64_t e[512];
	size_t n = 0;

	for (size_t i = 0; i < len / PAGE; i += ARRAY_SIZE(e)) {
		const size_t some = len / PAGE - i < ARRAY_SIZE(e) ?
				    len / PAGE - i : ARRAY_SIZE(e);

		read_pagemap(addr + i * PAGE, e, some);
		for (size_t j = 0; j < some; j++)
			n += e[j] & bits && !(e[j] & PM_FILE);
	}
	return n;
}

HELPER uint64_t pfn_of(const char *addr)
{
	const uint64_t e = pagemap(addr);

	if (!(e & PM_PRESENT) || !(e & PM_PFN))
		ck_abort_msg("%p: no page, or pagemap hides it", (const void *)addr);
	return e & PM_PFN;
}

/* Flags of the page that is present at the address. */
HELPER uint64_t kpageflags(const char *addr)
{
	uint64_t flags;

	read_kpageflags(pfn_of(addr), &flags, 1);
	return flags;
}

struct folio {
	uint64_t first;		/* page frame */
	size_t n;		/* pages */
};

HELPER struct folio folio_of(uint64_t pfn)
{
	const uint64_t tail = KPF_COMPOUND_TAIL, block = pfn & ~511ULL;
	struct folio folio = { .first = pfn, .n = 1 };
	uint64_t flags[512];

	/* Folios are aligned to their size. */
	read_kpageflags(block, flags, ARRAY_SIZE(flags));
	while (flags[folio.first - block] & tail)
		folio.first--;
	if (flags[folio.first - block] & KPF_COMPOUND_HEAD)
		while (folio.first + folio.n < block + 512 &&
		       flags[folio.first + folio.n - block] & tail)
			folio.n++;
	return folio;
}

/* Number of pages of the folio that has the page at the address. */
HELPER size_t folio_size(const char *addr)
{
	return folio_of(pfn_of(addr)).n;
}

/* Pages of the range that belong to folios of this many pages. */
HELPER size_t count_in_folios(const char *addr, size_t len, size_t size)
{
	struct folio folio = { 0 };
	uint64_t e[512];
	size_t n = 0;

	for (size_t i = 0; i < len / PAGE; i++) {
		const size_t left = len / PAGE - i;
		uint64_t pfn;

		if (i % ARRAY_SIZE(e) == 0)
			read_pagemap(addr + i * PAGE, e, left < ARRAY_SIZE(e) ?
				     left : ARRAY_SIZE(e));
		if (!(e[i % ARRAY_SIZE(e)] & PM_PRESENT))
			continue;
		pfn = e[i % ARRAY_SIZE(e)] & PM_PFN;
		if (pfn < folio.first || pfn >= folio.first + folio.n)
			folio = folio_of(pfn);
		n += folio.n == size;
	}
	return n;
}

/* Pages of the range that are in the swap cache but not mapped. */
HELPER size_t count_swap_cache(char *addr, size_t len)
{
	unsigned char core[1024];
	uint64_t e[ARRAY_SIZE(core)];
	size_t n = 0;

	ck_assert_uint_le(len / PAGE, ARRAY_SIZE(core));
	read_pagemap(addr, e, len / PAGE);
	ck_assert_int_eq(mincore(addr, len, core), 0);
	for (size_t i = 0; i < len / PAGE; i++)
		n += (core[i] & 1) && (e[i] & PM_SWAP);
	return n;
}

/* ---- the oracle ---------------------------------------------------------- */

#define MPOL_MF_MOVE_ALL 4

HELPER void page_out(char *addr, size_t len)
{
	for (int i = 0; i < 20; i++) {
		if (madvise(addr, len, MADV_PAGEOUT))
			ck_abort_msg("MADV_PAGEOUT: %s", strerror(errno));
		if (!count_pages(addr, len, PRESENT))
			break;
		/*
		 * Pages may wait in another CPU's batch for the LRU lists,
		 * where MADV_PAGEOUT passes them over. This drains them.
		 */
		write_file("/proc/sys/vm/compact_memory", "1");
	}
}

/* Addresses of the anonymous pages of a range of up to 512 pages. */
HELPER size_t present_pages(char *addr, size_t len, void **pages)
{
	uint64_t e[512], flags[512];
	const size_t end = len / PAGE;
	size_t n = 0, run;

	read_pagemap(addr, e, end);
	for (size_t i = 0; i < end; i += run) {
		run = 1;
		if ((e[i] & (PM_PRESENT | PM_FILE)) != PM_PRESENT)
			continue;
		/* Those of large folios are in one piece, to be read at once. */
		while (i + run < end && e[i + run] == e[i] + run)
			run++;
		read_kpageflags(e[i] & PM_PFN, flags, run);
		for (size_t j = 0; j < run; j++)
			if (flags[j] & KPF_ANON)
				pages[n++] = addr + (i + j) * PAGE;
	}
	return n;
}

/* Every anonymous page that is present can be moved to the other node. */
HELPER void check_migrates(char *addr, size_t len)
{
	void *pages[512];
	int nodes[512], status[512];

	for (size_t off = 0; off < len; off += 512 * PAGE) {
		const size_t some = len - off < 512 * PAGE ? len - off : 512 * PAGE;
		const size_t n = present_pages(addr + off, some, pages);
		size_t left = n, last = 0;

		if (!n)
			continue;
		if (syscall(SYS_move_pages, 0, n, pages, NULL, nodes, 0))
			ck_abort_msg("move_pages: %s", strerror(errno));
		for (size_t i = 0; i < n; i++)
			nodes[i] = !nodes[i];
		for (int try = 0; left && try < 20; try++) {
			/* Fails if only some of them moved. */
			syscall(SYS_move_pages, 0, n, pages, nodes, status,
				MPOL_MF_MOVE_ALL);
			syscall(SYS_move_pages, 0, n, pages, NULL, status, 0);
			left = 0;
			for (size_t i = 0; i < n; i++)
				if (status[i] != nodes[i]) {
					left++;
					last = i;
				}
		}
		if (left)
			ck_abort_msg("%zu of %zu pages do not migrate, as page %zu: %d",
				     left, n, ((char *)pages[last] - addr) / PAGE,
				     status[last]);
	}
}

/* The reverse map finds every page of the range. */
HELPER void check_found(char *addr, size_t len)
{
	const size_t pages = count_pages(addr, len, PRESENT | SWAPPED);
	size_t swapped;

	check_migrates(addr, len);
	page_out(addr, len);
	swapped = count_pages(addr, len, SWAPPED);
	if (swapped != pages)
		ck_abort_msg("%zu of %zu pages are not swapped out",
			     pages - swapped, pages);
}

/* The same, and the contents are intact, also when they come back from swap. */
HELPER void check_rmap_from(char *addr, size_t len, unsigned int seed, size_t from)
{
	check_from(addr, len, seed, from);
	check_found(addr, len);
	check_from(addr, len, seed, from);
}

HELPER void check_rmap(char *addr, size_t len, unsigned int seed)
{
	check_rmap_from(addr, len, seed, 0);
}

/* ---- relocating and falling back ----------------------------------------- */

struct counters {
	long relocate, fallback, folio;
};

HELPER struct counters counters(void)
{
	return (struct counters) {
		.relocate = vmstat("mremap_relocate"),
		.fallback = vmstat("mremap_relocate_fallback"),
		.folio = vmstat("mremap_relocate_folio"),
	};
}

#define TRACING "/sys/kernel/tracing/"
#define TRACE_FAIL TRACING "events/mmap/mremap_relocate_fail/enable"

HELPER void trace_start(void)
{
	write_file(TRACE_FAIL, "1");
	close(open(TRACING "trace", O_WRONLY | O_TRUNC));
}

/* Since trace_start() there was one event, and this is what it said. */
HELPER void trace_check(char *addr, size_t len, char *new_addr, bool must,
			const char *reason)
{
	const char *p = read_file(TRACING "trace"), *event = NULL;
	char want[200];
	int n = 0;

	while ((p = strstr(p, " mremap_relocate_fail: "))) {
		event = p += strlen(" mremap_relocate_fail: ");
		n++;
	}
	snprintf(want, sizeof(want),
		 "addr=0x%lx len=0x%zx new_addr=0x%lx must=%d reason=%s\n",
		 (unsigned long)addr, len, (unsigned long)new_addr, must, reason);
	ck_assert_msg(n == 1, "%d events, not 1: %s", n, want);
	ck_assert_msg(!strncmp(event, want, strlen(want)), "event %.120s not %s",
		      event, want);
}

/*
 * Move with MUST, and see by the mapping that it merges with that the page
 * offset is that of the new place. The source is one mapping; "advice", or 0,
 * is what madvise() has been told about it.
 */
HELPER void relocate_advised(char *p, size_t len, char *to, int advice)
{
	struct counters before = counters(), after;

	map_filled(to - PAGE, PAGE, 77);
	if (advice)
		ck_assert_int_eq(madvise(to - PAGE, PAGE, advice), 0);
	move_to(p, len, to, MUST);
	ck_assert_int_eq(mappings(to - PAGE, len + PAGE), 1);
	check(to - PAGE, PAGE, 77);
	after = counters();
	ck_assert_int_eq(after.relocate, before.relocate + 1);
	ck_assert_int_eq(after.fallback, before.fallback);
}

HELPER void relocate(char *p, size_t len, char *to)
{
	relocate_advised(p, len, to, 0);
}

/*
 * A range that must not be relocated: MUST fails and changes nothing, not even
 * what is at the destination; RELOCATE moves as without the flag. All of it
 * shows in the trace and in the counters.
 */
HELPER void check_refused(char *p, size_t len, char *to, const char *reason)
{
	const size_t pages = count_pages(p, len, PRESENT | SWAPPED);
	const int before = mappings(p, len);
	struct counters c = counters(), c2;

	map_filled(to, len, 99);
	for (int i = 1; i < 3; i++) {
		trace_start();
		assert_mremap_fails(EFAULT, p, len, len, MREMAP_MAYMOVE |
				    MREMAP_FIXED | both_flags[i], to);
		trace_check(p, len, to, true, reason);
	}
	check(to, len, 99);
	ck_assert_int_eq(mappings(p, len), before);
	ck_assert_uint_eq(count_pages(p, len, PRESENT | SWAPPED), pages);
	c2 = counters();
	ck_assert_int_eq(c2.relocate, c.relocate);
	ck_assert_int_eq(c2.fallback, c.fallback);
	ck_assert_int_eq(c2.folio, c.folio);
}

HELPER void check_falls_back(char *p, size_t len, char *to, const char *reason)
{
	struct counters c, c2;

	check_refused(p, len, to, reason);
	c = counters();
	trace_start();
	move_to(p, len, to, RELOCATE);
	trace_check(p, len, to, false, reason);
	ck_assert_int_eq(mappings(p, len), 0);
	c2 = counters();
	ck_assert_int_eq(c2.relocate, c.relocate);
	ck_assert_int_eq(c2.fallback, c.fallback + 1);
	ck_assert_int_eq(c2.folio, c.folio);
}

/* The same of one with contents, which are read only after the first part. */
HELPER void check_fallback(char *p, size_t len, unsigned int seed, char *to,
			   const char *reason)
{
	check_falls_back(p, len, to, reason);
	check(to, len, seed);
}

/* ---- huge and other large folios ----------------------------------------- */

#define THP "/sys/kernel/mm/transparent_hugepage/"

/* What VMAs of the following are advised of: khugepaged leaves them alone. */
#define SETTLED MADV_NOHUGEPAGE

HELPER void advise(char *addr, size_t len, int advice)
{
	if (madvise(addr, len, advice))
		ck_abort_msg("madvise %d: %s", advice, strerror(errno));
}

/*
 * Fill a part of a mapping with folios mapped by PMDs. The advice is for the whole: Linux
 * 6.12 would not merge the part with what has never been touched.
 */
HELPER void fill_huge_in(char *whole, size_t whole_len, char *addr, size_t len,
			 unsigned int seed)
{
	advise(whole, whole_len, MADV_HUGEPAGE);
	fill(addr, len, seed);
	advise(whole, whole_len, SETTLED);
	ck_assert_uint_eq(count_in_folios(addr, len, 512), len / PAGE);
}

HELPER void fill_huge(char *addr, size_t len, unsigned int seed)
{
	fill_huge_in(addr, len, addr, len, seed);
}

HELPER char *map_huge(char *addr, size_t len, unsigned int seed)
{
	map_at(addr, len);
	fill_huge(addr, len, seed);
	ck_assert_int_eq(smaps_kb(addr, len, "AnonHugePages"), len >> 10);
	return addr;
}

/* Likewise with large folios of one size, mapped by entries. */
HELPER void fill_large_in(char *whole, size_t whole_len, char *addr, size_t len,
			  size_t size, unsigned int seed)
{
	char path[100];

	snprintf(path, sizeof(path), THP "hugepages-%zukB/enabled", size >> 10);
	/* None of 2 MiB. This stops khugepaged, too. */
	write_file(THP "enabled", "never");
	write_file(path, "madvise");
	advise(whole, whole_len, MADV_HUGEPAGE);
	fill(addr, len, seed);
	advise(whole, whole_len, SETTLED);
	write_file(path, "never");
	write_file(THP "enabled", "madvise");
	ck_assert_uint_eq(count_in_folios(addr, len, size / PAGE), len / PAGE);
}

HELPER void fill_large(char *addr, size_t len, size_t size, unsigned int seed)
{
	fill_large_in(addr, len, addr, len, size, seed);
}

HELPER char *map_large(char *addr, size_t len, size_t size, unsigned int seed)
{
	map_at(addr, len);
	fill_large(addr, len, size, seed);
	return addr;
}

/* ---- other processes ----------------------------------------------------- */

/* A child that lives until it is let go. */
struct child {
	pid_t pid;
	int let_go;
};

/* Returns true in the child, where child_wait() and _exit() must follow. */
HELPER bool child_start(struct child *child)
{
	int go[2];

	assert_quietly(!pipe(go));
	child->pid = fork();
	assert_quietly(child->pid >= 0);
	if (!child->pid) {
		close(go[1]);
		child->let_go = go[0];
		return true;
	}
	close(go[0]);
	child->let_go = go[1];
	return false;
}

HELPER void child_wait(struct child *child)
{
	char c;

	(void)!read(child->let_go, &c, 1);
}

/* Let it go on; it must end well. */
HELPER void child_end(struct child *child)
{
	int status;

	close(child->let_go);
	assert_quietly(waitpid(child->pid, &status, 0) == child->pid);
	assert_quietly(!status);
}

/* ---- cgroup -------------------------------------------------------------- */

/* Enter a memory cgroup of our own, for its memory.reclaim. */
HELPER void enter_cgroup(void)
{
	char pid[16];

	write_file("/sys/fs/cgroup/cgroup.subtree_control", "+memory");
	/* It is there already if an earlier test was in it. */
	if (mkdir("/sys/fs/cgroup/reclaim", 0755) && errno != EEXIST)
		ck_abort_msg("cgroup: %s", strerror(errno));
	snprintf(pid, sizeof(pid), "%d", getpid());
	write_file("/sys/fs/cgroup/reclaim/cgroup.procs", pid);
}

/*
 * Reclaim from the cgroup that was entered before the pages were touched, until
 * the range has none of what is counted. Unlike MADV_PAGEOUT this takes pages
 * that others map too. Returns false if some remain.
 */
HELPER bool try_reclaim(char *addr, size_t len, size_t (*count)(char *, size_t))
{
	int fd = open("/sys/fs/cgroup/reclaim/memory.reclaim", O_WRONLY);
	size_t left;

	ck_assert_int_ge(fd, 0);
	for (int i = 0; (left = count(addr, len)) && i < 200; i++)
		/* Fails if it could not reclaim as much. */
		(void)!write(fd, "4M swappiness=200", 17);
	close(fd);
	return !left;
}

HELPER void reclaim(char *addr, size_t len, size_t (*count)(char *, size_t))
{
	if (!try_reclaim(addr, len, count))
		ck_abort_msg("memory.reclaim: %zu pages remain", count(addr, len));
}

HELPER size_t count_present(char *addr, size_t len)
{
	return count_pages(addr, len, PRESENT);
}

/* -------------------------------------------------------------------------- */

/* A kernel with so many checks that tests had better be short. */
HELPER bool kernel_is_slow(void)
{
	return !access("/proc/thread-self/fail-nth", F_OK);
}

HELPER bool kernel_relocates(void)
{
	void *p = mmap(NULL, PAGE, PROT_NONE, ANON, -1, 0);

	munmap(p, PAGE);
	return sys_mremap(p, PAGE, PAGE, MREMAP_MAYMOVE | RELOCATE, NULL) ==
	       MAP_FAILED && errno == EFAULT;
}

/* A test case whose tests start with an empty arena. */
HELPER TCase *add_case(Suite *s, const char *name)
{
	TCase *tc = tcase_create(name);

	suite_add_tcase(s, tc);
	return tc;
}

HELPER void set_if_there(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY);

	if (fd >= 0) {
		(void)!write(fd, text, strlen(text));
		close(fd);
	}
}

/* What main() does: run the suite, if the kernel has what it tests. */
HELPER int run_guest_suite(Suite *s)
{
	if (!kernel_relocates()) {
		const char *expect = getenv("RELOCATE_EXPECT");

		if (expect && !strcmp(expect, "supported")) {
			puts("1..1\nnot ok 1 - the kernel has MREMAP_RELOCATE_ANON");
			return EXIT_FAILURE;
		}
		puts("1..0 # SKIP this kernel lacks MREMAP_RELOCATE_ANON");
		return EXIT_SUCCESS;
	}

	/* khugepaged sleeps: only tests make huge pages of small ones. */
	set_if_there(THP "khugepaged/pages_to_scan", "1");
	set_if_there(THP "khugepaged/scan_sleep_millisecs", "4294967295");

	return run_suite(s);
}

#endif
