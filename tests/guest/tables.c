// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Relocation of ranges of many page tables: what moves table by table, folio by
 * folio and in runs, and what is not looked at if nobody else can have it, which
 * are those that are 2 MiB and more from the ends of the range.
 *
 * TABLES_ROUNDS says how long the mixtures are shaken, for more than every day.
 */
#include "relocate.h"
#include "ksm.h"
#include "loop_swap.h"
#include "pin.h"
#include "uffd.h"

#include <sys/uio.h>

#define PAGES 2048UL
#define LEN (PAGES * PAGE)
#define LARGE (64UL << 10)
#define IN_LARGE (LARGE / PAGE)

/* What is far from the ends, of any range of ours; not at the start of a table. */
#define INNER 1072UL

/*
 * Tests of PLACES run with all ways to lie in page tables: the range begins with
 * one or not, to where it is congruent or not; from the fourth on with
 * MADV_MERGEABLE, by which every entry is looked at. More bits say more.
 */
#define PLACES 6
#define FROM(i) (arena + 16 * HUGE + ((i) & 2 ? 96 * PAGE : 0))
/* The arena has a boundary of tables of all levels at its 32nd huge page. */
#define TO(i) (arena + ((i) & 2 ? 2 : 30) * HUGE +			\
	       ((i) & 2 ? 96 * PAGE : 0) + ((i) & 1 ? 3 * PAGE : 0))
#define THEN (arena + 48 * HUGE)

/* ---- contents -------------------------------------------------------------- */

/* What every page of the range is expected to be. */
static enum { ZERO, DATA, GUARD } state[PAGES];

static void put(char *p, size_t page, size_t n)
{
	fill_from(p + page * PAGE, n * PAGE, 1, page);
	for (; n; n--)
		state[page++] = DATA;
}

static void drop(char *p, size_t page, size_t n)
{
	advise(p + page * PAGE, n * PAGE, MADV_DONTNEED);
	for (; n; n--, page++)
		if (state[page] != GUARD)
			state[page] = ZERO;
}

/* Linux 6.12 has no guards. */
static void guard(char *p, size_t page, size_t n)
{
	if (kernel_before_7())
		return;
	advise(p + page * PAGE, n * PAGE, MADV_GUARD_INSTALL);
	for (; n; n--)
		state[page++] = GUARD;
}

static void unguard(char *p, size_t page, size_t n)
{
	if (kernel_before_7())
		return;
	advise(p + page * PAGE, n * PAGE, MADV_GUARD_REMOVE);
	for (; n; n--, page++)
		if (state[page] == GUARD)
			state[page] = ZERO;
}

/* Contents are as expected. This maps the zero page where nothing was. */
static void verify(char *p, size_t pages)
{
	size_t run;

	for (size_t i = 0; i < pages; i += run) {
		for (run = 1; i + run < pages && state[i + run] == state[i];)
			run++;
		if (state[i] == DATA)
			check_from(p + i * PAGE, run * PAGE, 1, i);
		else if (state[i] == ZERO)
			check_zero(p + i * PAGE, run * PAGE);
		else if (count_pages(p + i * PAGE, run * PAGE, PM_GUARD) != run)
			ck_abort_msg("guards at page %zu are lost", i);
	}
}

/* Have data everywhere, also in place of guards. */
static void fill_rest(char *p, size_t page, size_t n)
{
	unguard(p, page, n);
	for (; n; n--, page++)
		if (state[page] != DATA)
			put(p, page, 1);
}

/*
 * Contents, and the oracle for both ends and what is around INNER, where one page
 * table ends: for all of it, it would take too long.
 */
static void verify_rmap_of(char *p, size_t pages)
{
	const struct {
		size_t page, n;
	} samples[] = { { 0, 40 }, { 912, 192 }, { pages - 40, 40 } };

	verify(p, pages);
	for (size_t i = 0; i < ARRAY_SIZE(samples); i++) {
		const size_t page = samples[i].page, n = samples[i].n;

		check_migrates(p + page * PAGE, n * PAGE);
		fill_rest(p, page, n);
		check_rmap_from(p + page * PAGE, n * PAGE, 1, page);
	}
}

static void verify_rmap(char *p)
{
	verify_rmap_of(p, PAGES);
}

/* Nothing touched yet. */
static char *map_range(char *p, size_t pages, int i)
{
	map_at(p, pages * PAGE);
	advise(p, pages * PAGE, SETTLED);
	if (i & 4)
		advise(p, pages * PAGE, MADV_MERGEABLE);
	memset(state, 0, sizeof(state));
	return p;
}

static char *map_small(int i)
{
	char *p = map_range(FROM(i), PAGES, i);

	put(p, 0, PAGES);
	return p;
}

static char *map_folios(char *p, int i)
{
	map_range(p, PAGES, i);
	fill_large(p, LEN, LARGE, 1);
	put(p, 0, PAGES);
	return p;
}

/* In each folio: other pages dropped, and touched again unless "holes". */
static void alternate(char *p, size_t size, bool holes)
{
	static const struct {
		size_t page, n;
	} gaps[] = {
		{ 3, 1 }, { 0, 1 }, { 15, 1 }, { 1, 14 }, { 0, 8 }, { 5, 3 },
		{ 8, 8 }, { 0, 15 },
	};

	for (size_t i = 0; i < PAGES / size; i++) {
		const size_t n = size / IN_LARGE, gap = i % ARRAY_SIZE(gaps);

		drop(p, i * size + gaps[gap].page * n, gaps[gap].n * n);
		if (!holes || i % 3)
			put(p, i * size + gaps[gap].page * n, gaps[gap].n * n);
		if (size > IN_LARGE) {
			/* And single ones, all over it. */
			for (size_t j = 1; j < size; j += 37) {
				drop(p, i * size + j, 1);
				put(p, i * size + j, 1);
			}
		}
	}
}

/* Pages in folios of a size, around INNER: more would take too long. */
static size_t count_inner(const char *p, size_t size)
{
	return count_in_folios(p + 896 * PAGE, 256 * PAGE, size);
}

/* ---- moves ----------------------------------------------------------------- */

/* Move with either flag: it relocates, as the counters say. Returns the folios. */
static long move_counted(char *p, size_t len, char *to, int flags)
{
	struct counters before = counters(), after;

	move_to(p, len, to, flags);
	after = counters();
	ck_assert_int_eq(after.relocate, before.relocate + 1);
	ck_assert_int_eq(after.fallback, before.fallback);
	return after.folio - before.folio;
}

/* And it merges, with what is before it. */
static long move_merged(char *p, size_t len, char *to, int i)
{
	long folios;

	map_filled(to - PAGE, PAGE, 77);
	advise(to - PAGE, PAGE, SETTLED);
	if (i & 4)
		advise(to - PAGE, PAGE, MADV_MERGEABLE);
	folios = move_counted(p, len, to, i & 1 ? RELOCATE : MUST);
	ck_assert_int_eq(mappings(to - PAGE, len + PAGE), 1);
	check(to - PAGE, PAGE, 77);
	return folios;
}

/* ---- small folios ---------------------------------------------------------- */

START_TEST(small_full)
{
	char *p = map_small(_i), *to = TO(_i);

	ck_assert_int_eq(move_merged(p, LEN, to, _i), PAGES);
	verify_rmap(to);
}
END_TEST

/* Plain moves leave the soft-dirty bits of whole tables as they are, those of others not. */
START_TEST(soft_dirty)
{
	size_t dirty[2];

	for (int relocates = 0; relocates < 2; relocates++) {
		char *p = map_small(_i), *to = TO(_i);

		write_file("/proc/self/clear_refs", "4");
		put(p, INNER, 1);
		move_to(p, LEN, to, relocates ? MUST : 0);
		dirty[relocates] = count_pages(to, LEN, PM_SOFT_DIRTY);
		munmap(to, LEN);
	}
	ck_assert_uint_eq(dirty[1], dirty[0]);
	ck_assert_uint_gt(dirty[1], 0);
}
END_TEST

/* Single pages, and so many in a row that some page table is not there. */
START_TEST(small_with_holes)
{
	char *p = map_range(FROM(_i), PAGES, _i), *to = TO(_i);

	for (size_t i = 0; i < PAGES; i++)
		if (i % 7 && (i < 900 || i > 1600))
			put(p, i, 1);
	move_merged(p, LEN, to, _i);
	verify_rmap(to);
}
END_TEST

/* Entries that are present, but of no folio that is relocated. */
START_TEST(small_and_zero_pages)
{
	char *p = map_range(FROM(_i), PAGES, _i), *to = TO(_i);

	for (size_t i = 0; i < PAGES; i++)
		if (i % 5 && (i < INNER || i > INNER + 600))
			put(p, i, 1);
	verify(p, PAGES);
	ck_assert(kpageflags(p + INNER * PAGE) & KPF_ZERO_PAGE);
	move_merged(p, LEN, to, _i);
	ck_assert(kpageflags(to + INNER * PAGE) & KPF_ZERO_PAGE);
	verify_rmap(to);
}
END_TEST

/* Entries that are neither present nor none: a run must end before them. */
START_TEST(small_and_guards)
{
	char *p = map_small(_i), *to = TO(_i);

	guard(p, 0, 1);
	for (size_t i = INNER; i < INNER + 256; i += 31)
		guard(p, i, 1 + i % 3);
	guard(p, INNER + 400, 100);
	guard(p, PAGES - 1, 1);
	move_merged(p, LEN, to, _i);
	verify_rmap(to);
}
END_TEST

/* What is locked in memory stays so; large folios count by page. */
START_TEST(locked)
{
	char *p = _i & 4 ? map_folios(FROM(0), 0) : map_small(_i), *to = TO(_i);

	ck_assert_int_eq(mlock(p, LEN), 0);
	move_counted(p, LEN, to, RELOCATE);
	ck_assert_int_eq(smaps_kb(to, LEN, "Locked"), LEN >> 10);
	ck_assert_int_eq(file_number("/proc/self/status", "VmLck"), LEN >> 10);
	ck_assert(kpageflags(to + INNER * PAGE) & KPF_MLOCKED);
	ck_assert_int_eq(munlock(to, LEN), 0);
	verify_rmap(to);
}
END_TEST

/* A table with a pinned page moves: the page is the same afterwards. */
START_TEST(pinned)
{
	char *p = map_small(_i), *to = TO(_i), *page = to + INNER * PAGE;
	int pin = pin_start(p + INNER * PAGE, PAGE, PIN_WRITE);

	move_merged(p, LEN, to, _i);
	fill(page, PAGE, 2);
	pin_check(pin, PAGE, 2);
	pin_end(pin);
	put(to, INNER, 1);
	verify_rmap(to);
}
END_TEST

/* ---- large folios ---------------------------------------------------------- */

START_TEST(large_full)
{
	char *p = map_folios(FROM(_i), _i), *to = TO(_i);

	ck_assert_int_eq(move_merged(p, LEN, to, _i), PAGES / IN_LARGE);
	ck_assert_uint_eq(count_in_folios(to, LEN, IN_LARGE), PAGES);
	verify_rmap(to);
}
END_TEST

/* Folios with small ones in their midst: one folio's entries are not in a row. */
START_TEST(large_alternating)
{
	char *p = map_folios(FROM(_i), _i), *to = TO(_i);
	size_t whole;

	alternate(p, IN_LARGE, false);
	whole = count_inner(p, IN_LARGE);
	ck_assert_uint_gt(whole, 0);
	move_merged(p, LEN, to, _i);
	/* Else those whose entries are not in a row are split. */
	if (!(_i & 4))
		ck_assert_uint_eq(count_inner(to, IN_LARGE), whole);
	verify_rmap(to);
}
END_TEST

/* One of them lies in two page tables each, as they do after an odd move. */
START_TEST(large_straddling)
{
	const bool mixed = _i & 8, plain = _i & 16;
	char *from = FROM(_i) + PAGE, *to = TO(_i) + PAGE, *p;
	size_t whole;

	p = map_folios(THEN, _i);
	move_to(p, LEN, from, plain ? 0 : MUST);
	if (mixed)
		alternate(from, IN_LARGE, true);
	whole = count_inner(from, IN_LARGE);
	move_merged(from, LEN, to, _i);
	if (!mixed || !(_i & 4))
		ck_assert_uint_eq(count_inner(to, IN_LARGE), whole);
	verify(to, PAGES);
	check_migrates(to + 896 * PAGE, 256 * PAGE);
	/* To where they fit into tables again. */
	whole = count_inner(to, IN_LARGE);
	move_merged(to, LEN, THEN, _i);
	ck_assert_uint_eq(count_inner(THEN, IN_LARGE), whole);
	verify_rmap(THEN);
}
END_TEST

/* By PMDs, by entries in two tables each, in one each, congruently again. */
START_TEST(huge)
{
	const bool dropped = _i & 1, once_more = _i & 2;
	char *p = map_range(FROM(0), PAGES, _i), *odd = arena + 2 * HUGE + PAGE;
	char *even = arena + 30 * HUGE, *odd2 = arena + 64 * HUGE + PAGE;
	size_t whole;

	fill_huge(p, LEN, 1);
	put(p, 0, PAGES);
	move_merged(p, LEN, odd, _i);
	ck_assert_uint_eq(count_inner(odd, 512), 256);
	if (dropped)
		alternate(odd, 512, once_more);
	whole = count_inner(odd, 512);
	ck_assert_uint_gt(whole, 0);
	move_merged(odd, LEN, odd2, _i);
	verify(odd2, PAGES);
	move_merged(odd2, LEN, even, _i);
	if (!dropped || !(_i & 4))
		ck_assert_uint_eq(count_inner(even, 512), whole);
	if (once_more) {
		verify(even, PAGES);
		check_migrates(even, 2 * HUGE);
	}
	whole = count_inner(even, 512);
	move_merged(even, LEN, THEN, _i);
	ck_assert_uint_eq(count_inner(THEN, 512), whole);
	verify_rmap(THEN);
}
END_TEST

/*
 * The first pages of the first folio are not there, and would be below address 0
 * at the new place. Of a large folio in a row or one that was by PMD.
 */
START_TEST(index_below_zero)
{
	const bool by_pmd = _i & 1;
	const size_t gap = by_pmd ? 300 : 12, n = PAGES - gap;
	char *p = map_range(FROM(0), PAGES, _i);
	char *to = (char *)((by_pmd ? 16 : 2) * PAGE + (_i & 2 ? 0 : PAGE));

	if (by_pmd)
		fill_huge(p, LEN, 1);
	else
		fill_large(p, LEN, LARGE, 1);
	ck_assert_int_eq(munmap(p, gap * PAGE), 0);
	move_counted(p + gap * PAGE, n * PAGE, to, MUST);
	ck_assert_uint_eq(folio_size(to), 1);
	check_from(to, n * PAGE, 1, gap);
	check_rmap_from(to, 300 * PAGE, 1, gap);
}
END_TEST

/* ---- swapped out ----------------------------------------------------------- */

/* Entries without a folio, all or every third; small folios or large before. */
START_TEST(swapped_out)
{
	const bool some = _i & 16;
	char *p = _i & 8 ? map_folios(FROM(_i), _i) : map_small(_i), *to = TO(_i);
	size_t swapped;

	if (some) {
		write_file("/proc/sys/vm/compact_memory", "1");
		for (size_t i = 0; i < PAGES; i += 3)
			advise(p + i * PAGE, PAGE, MADV_PAGEOUT);
	} else {
		page_out(p, LEN);
	}
	swapped = count_pages(p, LEN, SWAPPED);
	ck_assert_uint_gt(swapped, some ? PAGES / 6 : PAGES - 1);
	move_merged(p, LEN, to, _i);
	ck_assert_uint_eq(count_pages(to, LEN, SWAPPED), swapped);
	verify_rmap(to);
}
END_TEST

/* ---- in the swap cache ----------------------------------------------------- */

static void setup_swap(void)
{
	swap_on(false);
}

/*
 * All kinds side by side in each table: swapped out with and without a folio in
 * the cache, mapped while in the cache, mapped and not.
 */
START_TEST(cached)
{
	char *p = _i & 8 ? map_folios(FROM(_i), _i) : map_small(_i), *to = TO(_i);
	/* A large folio in the cache is mapped at once. */
	const size_t unit = _i & 8 ? IN_LARGE : 5;
	size_t cached, swapped;
	uint64_t sum = 0;

	write_file("/proc/sys/vm/compact_memory", "1");
	advise(p, LEN, MADV_PAGEOUT);
	for (size_t i = 0; i < PAGES; i++)
		if (i / unit % 3 == 0)
			sum += ((volatile unsigned char *)p)[i * PAGE];
		else if (i / unit % 6 == 1 && i % unit < 3)
			put(p, i, 1);
		else if (i / unit % 5 == 1 && i % unit < 2)
			drop(p, i, 1);
	ck_assert_uint_ne(sum, 0);
	cached = count_swap_cache(p + INNER * PAGE, 512 * PAGE);
	swapped = count_pages(p, LEN, SWAPPED);
	/* Of small ones, some were read ahead. */
	if (!(_i & 8))
		ck_assert_uint_gt(cached, 0);
	ck_assert_uint_gt(swapped, 0);
	ck_assert_uint_lt(swapped, PAGES * 3 / 4);
	move_merged(p, LEN, to, _i);
	ck_assert_uint_eq(count_pages(to, LEN, SWAPPED), swapped);
	verify_rmap(to);
}
END_TEST

/* Page out a large folio as a whole, and keep it in the cache: try this one. */
static bool page_out_folio(char *p)
{
	static const char stat[] = THP "hugepages-64kB/stats/swpout";
	const long before = strtol(read_file(stat), NULL, 10);

	advise(p, LARGE, MADV_PAGEOUT);
	return strtol(read_file(stat), NULL, 10) > before &&
	       count_swap_cache(p, LARGE) == IN_LARGE;
}

/*
 * A folio of which the range has one half, and further in one that is in the
 * swap cache, unmapped, and not marked exclusive since there was a child. When
 * that is met, the search begins anew, but must not count the first one twice.
 */
START_TEST(cached_and_crossing)
{
	const size_t half = IN_LARGE / 2, n = PAGES - half;
	char *p = map_folios(FROM(0), 0), *to = TO(0) + (_i & 1 ? PAGE : 0);
	size_t cached = INNER + 256;
	struct child child;
	bool whole;

	write_file("/proc/sys/vm/compact_memory", "1");
	/* Downwards, as what is left of others would end the first one's count. */
	while (!page_out_folio(p + cached * PAGE)) {
		cached -= IN_LARGE;
		ck_assert_uint_gt(cached, INNER - 512);
	}
	if (child_start(&child)) {
		child_wait(&child);
		_exit(0);
	}
	child_end(&child);
	if (_i & 2)
		put(p, 0, IN_LARGE);	/* so that this one is exclusive */
	ck_assert_uint_eq(count_swap_cache(p + cached * PAGE, LARGE), IN_LARGE);
	move_counted(p + half * PAGE, n * PAGE, to, MUST);
	whole = folio_size(to) == IN_LARGE;
	check_rmap(p, half * PAGE, 1);
	check_from(to, n * PAGE, 1, half);
	check_rmap_from(to, 40 * PAGE, 1, half);
	ck_assert(!whole);
	check_rmap_from(to + (cached - half) * PAGE, LARGE, 1, cached);
}
END_TEST

/* ---- not alone ------------------------------------------------------------- */

/* There was a child: nothing is marked exclusive, but all of it is ours. */
START_TEST(child_has_gone)
{
	char *p = _i & 8 ? map_folios(FROM(_i), _i) : map_small(_i), *to = TO(_i);
	struct child child;

	page_out(p + INNER * PAGE, 256 * PAGE);
	if (child_start(&child)) {
		child_wait(&child);
		_exit(0);
	}
	child_end(&child);
	put(p, INNER + 700, 20);
	move_merged(p, LEN, to, _i);
	verify_rmap(to);
}
END_TEST

/* There is a child, which has nothing of it, or has a single page of it. */
START_TEST(child_lives)
{
	const bool shares = _i & 8;
	char *p = _i & 16 ? map_folios(FROM(_i), _i) : map_small(_i), *to = TO(_i);
	struct child child;
	int ready[2];
	char c;

	assert_quietly(!pipe(ready));
	if (child_start(&child)) {
		const size_t first = INNER + 16, last = PAGES - 96;

		fill(p, INNER * PAGE, 2);
		if (!shares)
			fill(p + INNER * PAGE, PAGE, 2);
		fill(p + (INNER + 1) * PAGE, 15 * PAGE, 2);
		munmap(p + first * PAGE, (last - first) * PAGE);
		fill(p + last * PAGE, LEN - last * PAGE, 2);
		(void)!write(ready[1], "", 1);
		child_wait(&child);
		if (shares)
			check_from(p + INNER * PAGE, PAGE, 1, INNER);
		_exit(0);
	}
	assert_quietly(read(ready[0], &c, 1) == 1);
	if (shares) {
		check_falls_back(p, LEN, to, "shared");
		verify(to, PAGES);
		child_end(&child);
		p = to;
		to = THEN + (_i & 1 ? PAGE : 0);
		move_merged(p, LEN, to, _i);
	} else {
		move_merged(p, LEN, to, _i);
		child_end(&child);
	}
	verify_rmap(to);
}
END_TEST

/* Two mappings of one anon_vma, and a folio that has pages in both of them. */
START_TEST(split_mapping)
{
	const size_t n = PAGES - 88;
	char *p = map_folios(FROM(_i), _i), *to = TO(_i);

	ck_assert_int_eq(mprotect(p + n * PAGE, 88 * PAGE, PROT_READ), 0);
	if (_i & 8)	/* One again, and the range ends in the midst of it. */
		ck_assert_int_eq(mprotect(p + n * PAGE, 88 * PAGE, RW), 0);
	ck_assert_int_eq(mappings(p, LEN), _i & 8 ? 1 : 2);
	move_merged(p, n * PAGE, to, _i);
	ck_assert_uint_lt(folio_size(to + (n - 1) * PAGE), IN_LARGE);
	ck_assert_uint_eq(folio_size(to + INNER * PAGE), IN_LARGE);
	ck_assert_int_eq(mprotect(p + n * PAGE, 88 * PAGE, RW), 0);
	check_rmap_from(p + n * PAGE, 88 * PAGE, 1, n);
	verify_rmap_of(to, n);
}
END_TEST

/* Make all pages but some inner ones differ, where nobody looks. */
static void make_unique(char *p, size_t n)
{
	for (size_t i = 0; i < PAGES; i++)
		if (i < INNER || i >= INNER + n)
			memcpy(p + i * PAGE + 8, &i, sizeof(i));
}

/* Merged pages far from the ends. */
START_TEST(ksm_inside)
{
	char *p = map_small(4 | _i), *to = TO(_i);

	/* Patterns repeat after 255 pages, more or less. */
	make_unique(p, 768);
	ksm_merge(p + (INNER + 300) * PAGE, 100 * PAGE, KPF_KSM);
	move_merged(p, LEN, to, 4 | _i);
	verify_rmap(to);
	write_file("/sys/kernel/mm/ksm/run", "2");
}
END_TEST

/*
 * Merged, swapped out, and not to be merged any more: several entries for one page
 * in the same mapping, of which one is mapped again. It has only one index.
 */
START_TEST(ksm_was_inside)
{
	const size_t n = 8;
	char *p, *same, *to = TO(_i);
	int tries = 0;

	enter_cgroup();
again:
	p = map_small(4 | _i);
	same = p + INNER * PAGE;
	memset(same, 5, n * PAGE);
	make_unique(p, n);
	ksm_merge(same, n * PAGE, KPF_KSM);
	if (!try_reclaim(same, n * PAGE, count_present)) {
		ck_assert_int_lt(++tries, 20);
		ck_assert_int_eq(munmap(p, LEN), 0);
		write_file("/sys/kernel/mm/ksm/run", "2");
		goto again;
	}
	advise(p, LEN, MADV_UNMERGEABLE);
	ck_assert_int_eq(*(volatile char *)same, 5);
	/* All or nothing; what matters is what is found afterwards. */
	if (sys_mremap(p, LEN, LEN, MREMAP_MAYMOVE | MREMAP_FIXED | MUST, to) ==
	    MAP_FAILED) {
		ck_assert_int_eq(errno, EFAULT);
		move_to(p, LEN, to, RELOCATE);
	}
	same = to + INNER * PAGE;
	check_migrates(same, n * PAGE);
	for (size_t i = 0; i < n * PAGE; i += 64)
		ck_assert_int_eq(same[i], 5);
	check_found(same, n * PAGE);
	put(to, INNER, n);
	verify_rmap(to);
	write_file("/sys/kernel/mm/ksm/run", "2");
}
END_TEST

/*
 * As before, but only one entry is left, and a pipe keeps the page in the swap cache:
 * it is mapped again as one of KSM's, in a mapping from which KSM has gone. Its reverse
 * map goes by the anon_vma that the mapping had, so it must keep that.
 */
START_TEST(ksm_is_inside)
{
	char *p, *to = TO(_i), *same;
	struct iovec iov = { .iov_len = PAGE };
	char copy[PAGE];
	int ends[2];

	enter_cgroup();
	p = map_small(4 | _i);
	iov.iov_base = same = p + INNER * PAGE;
	memset(same, 5, 2 * PAGE);
	make_unique(p, 2);
	ksm_merge(same, 2 * PAGE, KPF_KSM);
	ck_assert_int_eq(pipe(ends), 0);
	ck_assert_int_eq(vmsplice(ends[1], &iov, 1, 0), PAGE);
	/* Out of the lists of other processors */
	write_file("/proc/sys/vm/compact_memory", "1");
	reclaim(same, 2 * PAGE, count_present);
	advise(same + PAGE, PAGE, MADV_DONTNEED);
	advise(p, LEN, MADV_UNMERGEABLE);
	ck_assert_int_eq(*(volatile char *)same, 5);
	ck_assert(kpageflags(same) & KPF_KSM);

	check_falls_back(p, LEN, to, "shared");
	same = to + INNER * PAGE;
	ck_assert(kpageflags(same) & KPF_KSM);
	ck_assert_int_eq(read(ends[0], copy, PAGE), PAGE);
	close(ends[0]);
	close(ends[1]);
	ck_assert_int_eq(memcmp(same, copy, PAGE), 0);
	put(to, INNER, 2);
	verify_rmap(to);
	write_file("/sys/kernel/mm/ksm/run", "2");
}
END_TEST

/* ---- other ways to move ---------------------------------------------------- */

/* The source stays mapped, without a page, and can be used again. */
START_TEST(keeps_source)
{
	char *p = _i & 8 ? map_folios(FROM(_i), _i) : map_small(_i), *to = TO(_i);

	page_out(p + INNER * PAGE, 64 * PAGE);
	move_counted(p, LEN, to, MREMAP_DONTUNMAP | (_i & 1 ? RELOCATE : MUST));
	ck_assert_uint_eq(count_pages(p, LEN, PRESENT | SWAPPED), 0);
	check_zero(p, LEN);
	fill(p, LEN, 2);
	verify(to, PAGES);
	move_counted(to, LEN, THEN, MREMAP_DONTUNMAP | RELOCATE);
	verify_rmap(THEN);
	check(p, LEN, 2);
	check_rmap_from(p + INNER * PAGE, 64 * PAGE, 2, INNER);
}
END_TEST

/* Write protection goes along, or goes if the monitor is not told of the move. */
START_TEST(uffd_wp)
{
	const bool event = _i & 16;
	char *p = _i & 8 ? map_folios(FROM(_i), _i) : map_small(_i), *to = TO(_i);
	int fd = uffd_open((event ? UFFD_FEATURE_EVENT_REMAP : 0) |
			   UFFD_FEATURE_PAGEFAULT_FLAG_WP | UFFD_FEATURE_WP_ASYNC |
			   UFFD_FEATURE_WP_UNPOPULATED);
	const size_t n = PAGES - 64;
	struct monitor m;

	page_out(p + INNER * PAGE, 256 * PAGE);
	drop(p, INNER + 512, 30);
	uffd_register(fd, p, LEN, UFFDIO_REGISTER_MODE_WP);
	uffd_protect(fd, p, n * PAGE);
	monitor_start(&m, fd, 2);
	move_counted(p, LEN, to, _i & 1 ? RELOCATE : MUST);
	monitor_check(&m, event);
	ck_assert_uint_eq(count_pages(to, LEN, PM_UFFD_WP), event ? n : 0);
	verify(to, PAGES);
	ck_assert_uint_eq(count_pages(to, LEN, PM_UFFD_WP), event ? n : 0);
	put(to, 0, PAGES);
	ck_assert_uint_eq(count_pages(to, LEN, PM_UFFD_WP), 0);
	monitor_end(&m);
	verify_rmap(to);
	close(fd);
}
END_TEST

/* ---- mixtures, shaken ------------------------------------------------------ */

static volatile bool over;
static char *const sites[] = { arena + 8 * HUGE, arena + 30 * HUGE };
#define SITE_LEN (LEN + HUGE)

static uint32_t random_state;

static size_t random_below(size_t n)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 17;
	random_state ^= random_state << 5;
	return random_state % n;
}

/* What is not there any more, or not yet, makes no difference to any of these. */
static void *advise_thread(void *arg)
{
	int fd = (int)syscall(SYS_pidfd_open, getpid(), 0);

	(void)arg;
	for (size_t i = 0; !over; i++) {
		struct iovec iov = {
			.iov_base = sites[i & 1] + i * 77 % PAGES * PAGE,
			.iov_len = 256 * PAGE,
		};

		syscall(SYS_process_madvise, fd, &iov, 1, MADV_PAGEOUT, 0);
		usleep(200);
	}
	close(fd);
	return NULL;
}

static void *move_thread(void *arg)
{
	void *pages[128];
	int nodes[128], status[128];

	(void)arg;
	for (size_t i = 0; !over; i++) {
		for (size_t j = 0; j < 128; j++) {
			pages[j] = sites[i & 1] + (i * 61 + j * 17) % PAGES * PAGE;
			nodes[j] = i >> 1 & 1;
		}
		syscall(SYS_move_pages, 0, 128, pages, nodes, status,
			MPOL_MF_MOVE_ALL);
	}
	return NULL;
}

static void *reclaim_thread(void *arg)
{
	int fd = open("/sys/fs/cgroup/reclaim/memory.reclaim", O_WRONLY);

	(void)arg;
	while (!over)
		(void)!write(fd, "2M swappiness=200", 17);
	close(fd);
	return NULL;
}

static void *(*const interference[])(void *) = {
	NULL, advise_thread, move_thread, reclaim_thread,
};

/* A child that shares no page of the range. */
static pid_t start_migrating(void)
{
	unsigned long nodes[2] = { 1, 2 };
	const pid_t parent = getpid(), pid = fork();

	assert_quietly(pid >= 0);
	for (int i = 0; !pid && getppid() == parent; i++)
		syscall(SYS_migrate_pages, parent, 64, &nodes[i & 1],
			&nodes[~i & 1]);
	if (!pid)
		_exit(0);
	return pid;
}

/* Size of the folios that a fault makes from now on: 0 small, 1 large, 2 huge. */
static void set_size(size_t size)
{
	write_file(THP "hugepages-64kB/enabled", size == 1 ? "madvise" : "never");
	write_file(THP "enabled", size == 2 ? "madvise" : "never");
}

static void mutate(char *p)
{
	set_size(random_below(3));
	for (int i = 0; i < 24; i++) {
		const bool big = !random_below(6);
		const size_t n = 1 + random_below(big ? 700 : 40);
		const size_t page = random_below(PAGES - n + 1);
		char *at = p + page * PAGE;

		switch (random_below(8)) {
		case 0:
			drop(p, page, n);
			break;
		case 1:
			advise(at, n * PAGE, MADV_PAGEOUT);
			break;
		case 2:
			guard(p, page, n > 3 ? 3 : n);
			break;
		case 3:
			/* May fail. Reads as before. */
			madvise(at, HUGE < LEN - page * PAGE ? HUGE :
				LEN - page * PAGE, MADV_COLLAPSE);
			break;
		case 4:
			for (size_t j = page; j < page + n; j++)
				if (state[j] != GUARD)
					(void)*(volatile char *)(p + j * PAGE);
			break;
		default:
			unguard(p, page, n);
			drop(p, page, n);
			put(p, page, n);
		}
	}
}

static int rounds(void)
{
	const char *text = getenv("TABLES_ROUNDS");

	return text ? atoi(text) : kernel_is_slow() ? 1 : 4;
}

/* Nobody else, a thread each, or another process; without and with "sole". */
START_TEST(shaken)
{
	const size_t who = (size_t)_i / 2;
	const bool thread = who > 0 && who < ARRAY_SIZE(interference);
	const pid_t pid = who == ARRAY_SIZE(interference) ? start_migrating() : 0;
	char *p = sites[0], *to;
	pthread_t id;

	random_state = 12345 + (uint32_t)_i;
	enter_cgroup();
	map_range(p, PAGES, _i & 1 ? 4 : 0);
	advise(p, LEN, MADV_HUGEPAGE);
	if (thread)
		assert_quietly(!pthread_create(&id, NULL, interference[who], NULL));
	for (int i = 0; i < rounds(); i++) {
		const size_t off = (size_t)(p - sites[0]) / PAGE % 512;

		mutate(p);
		for (int j = 0; j < 4; j++) {
			to = sites[p < sites[1]] + PAGE *
			     (random_below(2) ? off : random_below(512));
			/* Who holds on to a folio can keep it from being split. */
			if (who)
				move_to(p, LEN, to, RELOCATE);
			else
				move_counted(p, LEN, to, both_flags[j % 3]);
			p = to;
		}
		verify(p, PAGES);
	}
	over = true;
	if (thread)
		pthread_join(id, NULL);
	if (pid) {
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
	}
	/* If a folio is split, pages of zeros become the zero page. */
	verify(p, PAGES);
	fill_rest(p, 0, PAGES);
	check_rmap(p, LEN, 1);
}
END_TEST

static void default_sizes(void)
{
	set_size(2);
}

/* -------------------------------------------------------------------------- */

/* On a slow kernel with two places: congruent or not, and MADV_MERGEABLE or not. */
static void add_places(TCase *tc, const TTest *test, int from, int to)
{
	for (int i = from; i < to; i++)
		if (!kernel_is_slow() || (0x12 >> (i & 7) & 1))
			tcase_add_loop_test(tc, test, i, i + 1);
}

int main(void)
{
	Suite *s = suite_create("tables");
	TCase *tc = add_case(s, "small");

	add_places(tc, small_full, 0, PLACES);
	add_places(tc, soft_dirty, 0, PLACES);
	add_places(tc, small_with_holes, 0, PLACES);
	add_places(tc, small_and_zero_pages, 0, PLACES);
	if (!kernel_before_7())
		add_places(tc, small_and_guards, 0, PLACES);
	add_places(tc, locked, 0, PLACES);
	add_places(tc, pinned, 0, PLACES);

	tc = add_case(s, "large");
	add_places(tc, large_full, 0, PLACES);
	add_places(tc, large_alternating, 0, PLACES);
	add_places(tc, large_straddling, 0, 6);
	add_places(tc, large_straddling, 8, 14);
	add_places(tc, large_straddling, 16, 18);
	add_places(tc, large_straddling, 24, 28);
	tcase_add_loop_test(tc, huge, 0, 5);
	tcase_add_loop_test(tc, index_below_zero, 0, 4);

	tc = add_case(s, "swap");
	add_places(tc, swapped_out, 0, 6);
	add_places(tc, swapped_out, 8, 12);
	add_places(tc, swapped_out, 16, 20);
	add_places(tc, swapped_out, 24, 28);

	tc = add_case(s, "not-alone");
	add_places(tc, child_has_gone, 0, 6);
	add_places(tc, child_has_gone, 8, 12);
	add_places(tc, child_lives, 0, 6);
	add_places(tc, child_lives, 8, 12);
	add_places(tc, child_lives, 16, 20);
	add_places(tc, child_lives, 24, 28);
	add_places(tc, split_mapping, 0, 4);
	add_places(tc, split_mapping, 8, 12);
	tcase_add_loop_test(tc, ksm_inside, 0, 2);
	tcase_add_loop_test(tc, ksm_was_inside, 0, 2);
	tcase_add_loop_test(tc, ksm_is_inside, 0, 2);

	tc = add_case(s, "other-ways");
	add_places(tc, keeps_source, 0, 4);
	add_places(tc, keeps_source, 8, 12);
	add_places(tc, uffd_wp, 0, 4);
	add_places(tc, uffd_wp, 8, 12);
	add_places(tc, uffd_wp, 16, 20);
	add_places(tc, uffd_wp, 24, 28);

	tc = add_case(s, "shaken");
	tcase_add_unchecked_fixture(tc, NULL, default_sizes);
	tcase_add_loop_test(tc, shaken, 0, 2 * (ARRAY_SIZE(interference) + 1));

	tc = add_case(s, "swap-cache");
	tcase_add_unchecked_fixture(tc, setup_swap, end_swap);
	tcase_add_checked_fixture(tc, check_swap, NULL);
	add_places(tc, cached, 0, 5);
	add_places(tc, cached, 8, 13);
	tcase_add_loop_test(tc, cached_and_crossing, 0, 4);

	return run_guest_suite(s);
}
