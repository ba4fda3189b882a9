// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What mremap() costs in instructions. For run-kernel --icount, where one
 * nanosecond is one instruction; tests/host/mremap-cost.sh compares two kernels
 * with it. Prints a line for each operation:
 *
 *	OPERATION INSTRUCTIONS page|call [fallback]
 *
 * Operations called relocate-* set MREMAP_RELOCATE_ANON (only where the kernel
 * knows it), "fallback" says that some of their moves fell back. The others use
 * flags that every kernel has.
 *
 * No libcheck: it forks for every test, and what is measured is to be alone in
 * the machine. Clock ticks and what the kernel does now and then (a new slab,
 * RCU callbacks) can only add to a sample: the smallest one counts.
 */
#define _GNU_SOURCE
#include "../../bench/bench.h"

/*
 * Address ranges where nothing else is mapped, all aligned to HUGE. Small moves
 * are made between two places whose page tables stay, as in a program's heap:
 * another mapping is near.
 */
#define ARENA (1024 * MIB)
static char *range_from, *range_to, *small_from, *small_to;

/* For every mremap() that is measured: 0 or RELOCATE */
static int flag;

/* ---- memory -------------------------------------------------------------------- */

/* Never zero: a split of a huge page may drop pages of zeros. */
static void touch(char *p, size_t len)
{
	for (size_t i = 0; i < len; i += PAGE)
		p[i] = (char)(1 + (i / PAGE) % 127);
}

static char *map_touched(char *addr, size_t len)
{
	touch(map(addr, len), len);
	return addr;
}

static void *sys_mremap(char *old, size_t old_len, size_t new_len, int flags, char *new)
{
	return (void *)syscall(SYS_mremap, old, old_len, new_len, flags, new);
}

/* A move to a place of ours, measured */
static int64_t move(char *old, size_t len, char *new, int flags)
{
	const int64_t begin = now();
	char *p = sys_mremap(old, len, len,
			     MREMAP_MAYMOVE | MREMAP_FIXED | flag | flags, new);
	const int64_t took = now() - begin;

	if (p != new)
		err(1, "mremap %zu bytes, %p to %p", len, (void *)old, (void *)new);
	return took;
}

static long fallbacks(void)
{
	return number_in("/proc/vmstat", "mremap_relocate_fallback ");
}

/* Of all operations: the name is the flag's and the operation's. */
static void report(const char *name, double cost, const char *unit, long fallbacks_before)
{
	printf("%s%s %.3f %s%s\n", flag ? "relocate-" : "", name, cost, unit,
	       fallbacks() > fallbacks_before ? " fallback" : "");
	fflush(stdout);
}

/* ---- large ranges: instructions per page ---------------------------------------- */

struct range {
	const char *name;
	size_t len;
	int kind;	/* MAP_PRIVATE or MAP_SHARED */
	size_t folio;	/* size of the folios that it consists of */
	size_t offset;	/* destination modulo HUGE: 0 moves whole page tables */
	bool changes;	/* a move changes what there is to move: populate anew */
};

static const struct range ranges[] = {
	{ "pte", 64 * MIB, MAP_PRIVATE, PAGE, PAGE, false },
	{ "pmd", 64 * MIB, MAP_PRIVATE, PAGE, 0, false },
	{ "64k-pte", 16 * MIB, MAP_PRIVATE, 65536, 65536, false },
	{ "64k-pmd", 16 * MIB, MAP_PRIVATE, 65536, 0, false },
	{ "thp-pte", 8 * MIB, MAP_PRIVATE, HUGE, PAGE, true },
	{ "thp", 64 * MIB, MAP_PRIVATE, HUGE, 0, false },
	{ "shared-pte", 16 * MIB, MAP_SHARED, PAGE, PAGE, false },
};

/* Which sizes of large folios page faults use from now on */
static void large_folios(const char *size, bool on)
{
	char path[128];
	int fd;

	snprintf(path, sizeof(path),
		 "/sys/kernel/mm/transparent_hugepage/hugepages-%s/enabled", size);
	fd = open(path, O_WRONLY);
	if (fd < 0 || write(fd, on ? "madvise" : "never", on ? 7 : 5) < 0)
		err(1, "%s", path);
	close(fd);
}

static char *populate(const struct range *r)
{
	char *p = map_shared_or_private(range_from, r->len, r->kind);
	const long want = r->folio == HUGE ? (long)r->len / 1024 : 0;
	long have;

	large_folios("64kB", r->folio == 65536);
	large_folios("2048kB", r->folio == HUGE);
	if (madvise(p, r->len, r->folio > PAGE ? MADV_HUGEPAGE : MADV_NOHUGEPAGE))
		err(1, "madvise");
	touch(p, r->len);
	have = number_in("/proc/self/smaps_rollup", "AnonHugePages:");
	if (have != want)
		errx(1, "%s: %ld KiB of huge pages, not %ld", r->name, have, want);
	return p;
}

static void measure_range(const struct range *r)
{
	const long before = fallbacks();
	int64_t best = INT64_MAX;
	char *p = NULL;

	for (int i = 0; i < 7; i++) {
		int64_t took;

		if (!p)
			p = populate(r);
		took = move(p, r->len, range_to + r->offset, 0);
		if (r->changes) {
			unmap(range_to + r->offset, r->len);
			p = NULL;
		} else {
			/* Back home may be another matter than away. */
			took = (took + move(range_to + r->offset, r->len, p, 0)) / 2;
		}
		if (took < best)
			best = took;
	}
	if (p)
		unmap(p, r->len);
	report(r->name, (double)(best - clock_cost) / (double)(r->len / PAGE), "page", before);
}

/* ---- small calls: instructions per call ------------------------------------------ */

#define LEN (16 * PAGE)

static int64_t away_and_back(char *p, size_t len)
{
	int64_t took = move(p, len, small_to, 0);

	took += move(small_to, len, p, 0);
	unmap(p, len);
	return took / 2;
}

static int64_t one_page(void)
{
	return away_and_back(map_touched(small_from, PAGE), PAGE);
}

static int64_t pages(void)
{
	return away_and_back(map_touched(small_from, LEN), LEN);
}

static int64_t untouched(void)
{
	return away_and_back(map(small_from, LEN), LEN);
}

/* As realloc() does when there is no room: the kernel chooses the place. */
static int64_t grown(void)
{
	char *p = map_touched(small_from, LEN);
	char *obstacle = map_shared_or_private(p + LEN, PAGE, MAP_SHARED);
	const int64_t begin = now();
	char *q = sys_mremap(p, LEN, 2 * LEN, MREMAP_MAYMOVE | flag, NULL);
	const int64_t took = now() - begin;

	if (q == MAP_FAILED || q == p)
		err(1, "mremap: %p", (void *)q);
	unmap(q, 2 * LEN);
	unmap(obstacle, PAGE);
	return took;
}

/* Longer and shorter again, at its place */
static int64_t resized(void)
{
	char *p = map_touched(small_from, LEN);
	const int64_t begin = now();
	char *q = sys_mremap(p, LEN, 2 * LEN, MREMAP_MAYMOVE | flag, NULL);
	char *s = sys_mremap(p, 2 * LEN, LEN, MREMAP_MAYMOVE | flag, NULL);
	const int64_t took = now() - begin;

	if (q != p || s != p)
		err(1, "mremap: %p, %p", (void *)q, (void *)s);
	unmap(p, LEN);
	return took / 2;
}

static int64_t dontunmap(void)
{
	char *p = map_touched(small_from, LEN);
	const int64_t took = move(p, LEN, small_to, MREMAP_DONTUNMAP);

	unmap(p, LEN);
	unmap(small_to, LEN);
	return took;
}

/* Where a mapping is: it is unmapped. */
static int64_t replacing(void)
{
	char *p = map_touched(small_from, LEN);
	const int64_t took = move(p, LEN, map(small_to, LEN), 0);

	unmap(small_to, LEN);
	return took;
}

/* A range of several VMAs in one call */
static int64_t several(void)
{
	char *p = map_touched(small_from, LEN);
	int64_t took;

	for (size_t i = 0; i < LEN; i += LEN / 4)
		if (mprotect(p + i, LEN / 8, PROT_READ))
			err(1, "mprotect");
	took = move(p, LEN, small_to, 0);
	unmap(small_to, LEN);
	return took;
}

static const struct call {
	const char *name;
	int64_t (*sample)(void);
} calls[] = {
	{ "1-page", one_page },
	{ "16-pages", pages },
	{ "16-pages-untouched", untouched },
	{ "16-pages-grown", grown },
	{ "16-pages-resized-in-place", resized },
	{ "16-pages-dontunmap", dontunmap },
	{ "16-pages-replacing", replacing },
	{ "16-pages-in-8-vmas", several },
};

static void measure_call(const struct call *c)
{
	const long before = fallbacks();
	int64_t best = INT64_MAX;

	for (int i = 0; i < 100; i++) {
		const int64_t took = c->sample();

		if (took < best)
			best = took;
	}
	report(c->name, (double)(best - clock_cost), "call", before);
}

int main(void)
{
	char *p = mmap(NULL, ARENA + HUGE, PROT_NONE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	bool known;

	if (p == MAP_FAILED)
		err(1, "mmap");
	unmap(p, ARENA + HUGE);
	range_from = (char *)(((uintptr_t)p + HUGE - 1) & ~(HUGE - 1));
	small_from = range_from + ARENA / 4;
	range_to = small_from + ARENA / 4;
	small_to = range_to + ARENA / 4;
	touch(map_shared_or_private(small_from + MIB, PAGE, MAP_SHARED), PAGE);
	touch(map_shared_or_private(small_to + MIB, PAGE, MAP_SHARED), PAGE);
	small_to += PAGE;

	measure_clock();

	p = map(range_from, PAGE);
	known = sys_mremap(p, PAGE, PAGE, MREMAP_MAYMOVE | RELOCATE, NULL) == p;
	unmap(p, PAGE);

	for (int i = 0; i <= known; i++) {
		flag = i ? RELOCATE : 0;
		for (size_t j = 0; j < ARRAY_SIZE(ranges); j++)
			if (!flag || ranges[j].kind == MAP_PRIVATE)
				measure_range(&ranges[j]);
		for (size_t j = 0; j < ARRAY_SIZE(calls); j++)
			measure_call(&calls[j]);
	}
	return 0;
}
