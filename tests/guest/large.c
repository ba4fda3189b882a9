// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Relocation of large folios: mapped by entries or by a PMD, whole or in part,
 * to places that are congruent with their own or not.
 */
#include "relocate.h"
#include "pin.h"

#include <pthread.h>
#include <sys/uio.h>

/* Each test that comes in sizes runs with the first SIZES of these. */
static const size_t sizes[] = { 16 << 10, 64 << 10, 1 << 20 };
#define SIZES (kernel_is_slow() ? 2 : (int)ARRAY_SIZE(sizes))

/* Split the folios of a range of ours, as far as the kernel can. */
static void split_folios(const char *addr, size_t len)
{
	char text[100];

	snprintf(text, sizeof(text), "%d,0x%lx,0x%lx", getpid(),
		 (unsigned long)addr, (unsigned long)addr + len);
	write_file("/sys/kernel/debug/split_huge_pages", text);
}

/* ---- mapped by entries --------------------------------------------------- */

START_TEST(large_whole)
{
	const size_t size = sizes[_i / 2], len = 4 * size;
	char *p = map_large(arena + 16 * HUGE, len, size, 1);
	char *to = arena + 2 * HUGE + (_i & 1 ? 3 * PAGE : 0);
	struct counters before = counters(), after;

	relocate_advised(p, len, to, SETTLED);
	after = counters();
	ck_assert_int_eq(after.folio, before.folio + 4);
	ck_assert_uint_eq(count_in_folios(to, len, size / PAGE), len / PAGE);
	check_rmap(to, len, 1);
}
END_TEST

/*
 * The first of two lies in two page tables, before and after the move; its
 * index is not a multiple of its size. It got there by a plain or by a
 * relocating move.
 */
START_TEST(large_straddles)
{
	const size_t size = sizes[_i / 2], len = 2 * size;
	char *p = map_large(arena + 16 * HUGE, len, size, 1);
	char *from = arena + 24 * HUGE - size / 2, *to = arena + 32 * HUGE - PAGE;
	char *aligned = arena + 40 * HUGE;

	move_to(p, len, from, _i & 1 ? MUST : 0);
	relocate_advised(from, len, to, SETTLED);
	ck_assert_uint_eq(count_in_folios(to, len, size / PAGE), len / PAGE);
	check(to, len, 1);
	if (_i & 1) {
		check_migrates(to, len);
		relocate_advised(to, len, aligned, SETTLED);
		ck_assert_uint_eq(count_in_folios(aligned, len, size / PAGE),
				  len / PAGE);
		to = aligned;
	}
	check_rmap(to, len, 1);
}
END_TEST

/* With the first page dropped, one in the middle, the last, all but one. */
START_TEST(large_with_holes)
{
	const size_t size = sizes[_i / 2], n = size / PAGE, len = 4 * size;
	char *p = map_large(arena + 16 * HUGE, len, size, 1);
	char *to = arena + 2 * HUGE + (_i & 1 ? 3 * PAGE : 0);
	const struct {
		size_t from, n;
	} holes[] = {
		{ 0, 1 }, { n + n / 2, 1 }, { 3 * n - 1, 1 },
		{ 3 * n, n / 2 }, { 3 * n + n / 2 + 1, n / 2 - 1 },
	};
	struct counters before, after;

	for (size_t i = 0; i < ARRAY_SIZE(holes); i++)
		advise(p + holes[i].from * PAGE,
					 holes[i].n * PAGE, MADV_DONTNEED);
	before = counters();
	relocate_advised(p, len, to, SETTLED);
	after = counters();
	ck_assert_int_eq(after.folio, before.folio + 4);
	ck_assert_uint_eq(folio_size(to + PAGE), n);
	ck_assert_uint_eq(folio_size(to + n * PAGE), n);
	ck_assert_uint_eq(folio_size(to + 2 * n * PAGE), n);
	ck_assert_uint_eq(folio_size(to + (3 * n + n / 2) * PAGE), n);
	check_migrates(to, len);
	for (size_t i = 0; i < ARRAY_SIZE(holes); i++) {
		char *hole = to + holes[i].from * PAGE;

		check_zero(hole, holes[i].n * PAGE);
		fill_from(hole, holes[i].n * PAGE, 1, holes[i].from);
	}
	check_rmap(to, len, 1);
}
END_TEST

/* Half of a folio was moved away before. What is left moves, then the rest. */
START_TEST(large_partly_moved_away)
{
	const size_t size = sizes[_i / 2], half = size / 2;
	char *p = map_large(arena + 16 * HUGE, 2 * size, size, 1);
	char *away = arena + 24 * HUGE + 7 * PAGE, *to = arena + 2 * HUGE;

	move_to(p + half, half, away, 0);
	if (_i & 1) {
		/* The half with the folio's head is moved after the other. */
		move_to(away, half, to + half, MUST);
		check(p, half, 1);
		move_to(p, half, to, MUST);
	} else {
		relocate_advised(p, half, to, SETTLED);
		check_from(away, half, 1, half / PAGE);
		move_to(away, half, to + half, MUST);
	}
	ck_assert_uint_lt(folio_size(to), size / PAGE);
	ck_assert_uint_eq(folio_size(p + size), size / PAGE);
	move_to(p + size, size, to + size, MUST);
	ck_assert_int_eq(mappings(to, 2 * size), 1);
	check_rmap(to, 2 * size, 1);
}
END_TEST

/* The first and the last folio of the range extend beyond it: they are split. */
START_TEST(large_crosses_boundary)
{
	const size_t size = sizes[_i / 2], half = size / 2;
	char *p = map_large(arena + 16 * HUGE, 4 * size, size, 1);
	char *to = arena + 2 * HUGE + (_i & 1 ? 3 * PAGE : half);

	relocate_advised(p + half, 3 * size, to, SETTLED);
	ck_assert_uint_lt(folio_size(to), size / PAGE);
	ck_assert_uint_lt(folio_size(to + 3 * size - PAGE), size / PAGE);
	ck_assert_uint_eq(count_in_folios(to + half, 2 * size, size / PAGE),
			  2 * size / PAGE);
	check(p, half, 1);
	check_from(p + half + 3 * size, half, 1, (half + 3 * size) / PAGE);
	check_rmap_from(to, 3 * size, 1, half / PAGE);
	check_rmap(p, half, 1);
	check_rmap_from(p + half + 3 * size, half, 1, (half + 3 * size) / PAGE);
}
END_TEST

/* Inside one folio: neither its first page nor its last is in the range. */
START_TEST(large_middle)
{
	const size_t size = sizes[_i], part = size / 2, off = size / 4;
	char *p = map_large(arena + 16 * HUGE, size, size, 1);
	char *to = arena + 2 * HUGE;

	relocate_advised(p + off, part, to, SETTLED);
	check_rmap_from(to, part, 1, off / PAGE);
	check_rmap(p, off, 1);
	check_rmap_from(p + off + part, size - off - part, 1, (off + part) / PAGE);
}
END_TEST

/* Pinned by its part outside or inside, such a folio cannot be split. */
START_TEST(fallback_large_pinned_at_boundary)
{
	const size_t size = sizes[_i / 3], half = size / 2;
	char *p = map_large(arena + 16 * HUGE, 4 * size, size, 1);
	char *to = arena + 2 * HUGE, *pins[] = {
		p, p + half, p + 3 * size + half,
	};
	int pin = pin_start(pins[_i % 3], PAGE, PIN_WRITE | PIN_FAST);

	check_falls_back(p + half, 3 * size, to, "split");
	check(p, half, 1);
	check_from(to, 3 * size, 1, half / PAGE);
	pin_end(pin);
	check_rmap_from(to, 3 * size, 1, half / PAGE);
	/* Nothing pins it now; half of it has been elsewhere since. */
	relocate_advised(p, half, arena + 40 * HUGE, SETTLED);
	check_rmap(arena + 40 * HUGE, half, 1);
}
END_TEST

START_TEST(fallback_large_pinned_partly_moved_away)
{
	const size_t size = sizes[_i], half = size / 2;
	char *p = map_large(arena + 16 * HUGE, size, size, 1);
	char *away = arena + 24 * HUGE, *to = arena + 2 * HUGE;
	int pin = pin_start(p, PAGE, PIN_WRITE);

	move_to(p + half, half, away, 0);
	check_fallback(p, half, 1, to, "split");
	pin_end(pin);
	relocate_advised(to, half, arena + 40 * HUGE, SETTLED);
	check_rmap(arena + 40 * HUGE, half, 1);
	check_rmap_from(away, half, 1, half / PAGE);
}
END_TEST

START_TEST(large_pinned_whole)
{
	const size_t size = sizes[_i], len = 2 * size;
	char *p = map_large(arena + 16 * HUGE, len, size, 1);
	char *to = arena + 2 * HUGE + 3 * PAGE;
	int pin = pin_start(p, len, PIN_WRITE);

	relocate_advised(p, len, to, SETTLED);
	fill(to, len, 2);
	pin_check(pin, len, 2);
	pin_end(pin);
	check_rmap(to, len, 2);
}
END_TEST

START_TEST(large_locked)
{
	const size_t size = sizes[_i], len = 2 * size;
	char *p = map_large(arena + 16 * HUGE, len, size, 1);
	char *to = arena + 2 * HUGE + 3 * PAGE;

	ck_assert_int_eq(mlock(p, len), 0);
	move_to(p, len, to, MUST);
	ck_assert_int_eq(file_number("/proc/self/status", "VmLck"), len >> 10);
	ck_assert_int_eq(smaps_kb(to, len, "Locked"), len >> 10);
	ck_assert_int_eq(munlock(to, len), 0);
	check_rmap(to, len, 1);
}
END_TEST

/* Folios of all sizes, small ones and gaps in one range. */
START_TEST(large_among_others)
{
	char *p = arena + 16 * HUGE, *to = arena + 2 * HUGE + (_i ? 5 * PAGE : 0);
	const size_t len = 3 * HUGE;

	/* One anon_vma from the start, so that it stays one mapping. */
	map_at(p, len);
	fill(p, PAGE, 9);
	advise(p, PAGE, MADV_DONTNEED);
	advise(p, len, SETTLED);
	fill_huge(p + HUGE, HUGE, 1);
	fill_large(p, 256 << 10, 16 << 10, 2);
	fill_large(p + (512 << 10), 512 << 10, 64 << 10, 3);
	fill_large(p + (1 << 20), 1 << 20, 1 << 20, 4);
	fill(p + 2 * HUGE + 64 * PAGE, 64 * PAGE, 5);
	relocate_advised(p, len, to, SETTLED);
	ck_assert_int_eq(smaps_kb(to, len, "AnonHugePages"), _i ? 0 : 2048);
	ck_assert_uint_eq(count_pages(to, len, PRESENT),
			  64 + 128 + 256 + 512 + 64);
	check_rmap(to, 256 << 10, 2);
	check_rmap(to + (512 << 10), 512 << 10, 3);
	check_rmap(to + (1 << 20), 1 << 20, 4);
	check_rmap(to + HUGE, HUGE, 1);
	check_rmap(to + 2 * HUGE + 64 * PAGE, 64 * PAGE, 5);
}
END_TEST

/*
 * The first half of a folio at the end of a page table. Where the other half was there
 * is no page table any more, or a huge page. Another VMA has the same anon_vma.
 */
START_TEST(large_half_gone)
{
	const size_t size = 64 << 10, half = size / 2, len = HUGE + half;
	char *p = map_at(arena + 16 * HUGE, len + 2 * PAGE);
	char *end = arena + 24 * HUGE, *from = end - half;
	char *to = arena + 32 * HUGE + (_i & 1 ? 3 * PAGE : HUGE - half);

	fill_large_in(p, len + 2 * PAGE, p, size, size, 1);
	move_to(p, len + 2 * PAGE, from, MUST);
	advise(end, HUGE, MADV_DONTNEED);
	if (_i & 2)
		fill_huge(end, HUGE, 2);
	ck_assert_int_eq(munmap(from + len, PAGE), 0);
	relocate_advised(from, len, to, SETTLED);
	ck_assert_uint_eq(count_in_folios(to, half, size / PAGE), half / PAGE);
	check_rmap(to, half, 1);
	if (_i & 2)
		check_rmap(to + half, HUGE, 2);
	else
		check_zero(to + half, HUGE);
}
END_TEST

/* Small pages that fill a page table but for the first half of a folio. */
START_TEST(large_ends_table)
{
	const size_t size = 64 << 10, small = HUGE - size / 2;
	char *p = map_filled(arena + 16 * HUGE, small, 1), *to = arena + 32 * HUGE;
	char *large = map_large(arena + 24 * HUGE, size, size, 2);

	advise(p, small, SETTLED);
	move_to(large, size, p + small, MUST);
	relocate_advised(p, small + size, to, SETTLED);
	ck_assert_uint_eq(count_in_folios(to + small, size, size / PAGE),
			  size / PAGE);
	check_rmap(to, small, 1);
	check_rmap(to + small, size, 2);
}
END_TEST

/* In two page tables, and of a mapping that has a file. */
START_TEST(large_of_dev_zero)
{
	const size_t size = 64 << 10;
	char *p = arena + 16 * HUGE, *from = arena + 24 * HUGE - size / 2;
	char *to = arena + 32 * HUGE - PAGE;
	int fd = open("/dev/zero", O_RDWR);

	ck_assert_ptr_eq(mmap(p, size, RW, MAP_PRIVATE | MAP_FIXED_NOREPLACE, fd, 0), p);
	fill_large(p, size, size, 1);
	move_to(p, size, from, MUST);
	move_to(from, size, to, MUST);
	ck_assert_uint_eq(count_in_folios(to, size, size / PAGE), size / PAGE);
	check_rmap(to, size, 1);
	close(fd);
}
END_TEST

/* ---- mapped by a PMD ----------------------------------------------------- */

START_TEST(thp_congruent)
{
	char *p = map_huge(arena + 16 * HUGE, 2 * HUGE, 1);
	struct counters before, after;

	map_huge(arena, HUGE, 2);
	before = counters();
	move_to(p, 2 * HUGE, arena + HUGE, both_flags[_i]);
	after = counters();
	ck_assert_int_eq(after.folio, before.folio + 2);
	ck_assert_int_eq(mappings(arena, 3 * HUGE), 1);
	ck_assert_int_eq(smaps_kb(arena, 3 * HUGE, "AnonHugePages"),
			 3 * HUGE >> 10);
	check_rmap(arena + HUGE, 2 * HUGE, 1);
	check_rmap(arena, HUGE, 2);
}
END_TEST

/* Huge and small pages in one range, with holes and the zero page. */
START_TEST(thp_among_others)
{
	char *p = arena + 16 * HUGE;

	map_at(p, 3 * HUGE);
	fill_huge_in(p, 3 * HUGE, p + HUGE, HUGE, 2);
	fill(p + 64 * PAGE, 64 * PAGE, 1);
	fill(p + 2 * HUGE + 64 * PAGE, 64 * PAGE, 3);
	ck_assert_int_eq(p[0], 0);
	move_to(p, 3 * HUGE, arena, MUST);
	ck_assert_int_eq(mappings(arena, 3 * HUGE), 1);
	ck_assert_int_eq(smaps_kb(arena, 3 * HUGE, "AnonHugePages"), HUGE >> 10);
	ck_assert_int_eq(arena[0], 0);
	check_rmap(arena + HUGE, HUGE, 2);
	check_rmap(arena + 64 * PAGE, 64 * PAGE, 1);
	check_rmap(arena + 2 * HUGE + 64 * PAGE, 64 * PAGE, 3);
}
END_TEST

/*
 * To where no PMD can map it: by entries, but it stays one folio. There it is
 * found, or split, or it moves on and then could be mapped by a PMD again.
 */
START_TEST(thp_not_congruent)
{
	char *p = map_huge(arena + 16 * HUGE, 2 * HUGE, 1);
	char *to = arena + 8 * HUGE + 3 * PAGE, *back = arena + 32 * HUGE;
	struct counters before = counters(), after;

	relocate_advised(p, 2 * HUGE, arena + HUGE + 3 * PAGE, SETTLED);
	after = counters();
	ck_assert_int_eq(after.folio, before.folio + 2);
	/* And once more, now that they lie in two page tables each. */
	move_to(arena + HUGE + 3 * PAGE, 2 * HUGE, to, MUST);
	ck_assert_int_eq(smaps_kb(to, 2 * HUGE, "AnonHugePages"), 0);
	ck_assert_uint_eq(count_in_folios(to, 2 * HUGE, 512), 1024);
	check(to, 2 * HUGE, 1);
	if (_i == 1) {
		split_folios(to, 2 * HUGE);
		ck_assert_uint_eq(count_in_folios(to, 2 * HUGE, 1), 1024);
	}
	if (_i == 2) {
		relocate_advised(to, 2 * HUGE, back, SETTLED);
		ck_assert_uint_eq(count_in_folios(back, 2 * HUGE, 512), 1024);
		advise(back, 2 * HUGE, MADV_HUGEPAGE);
		advise(back, 2 * HUGE, MADV_COLLAPSE);
		ck_assert_int_eq(smaps_kb(back, 2 * HUGE, "AnonHugePages"), 4096);
		to = back;
	}
	check_rmap(to, 2 * HUGE, 1);
}
END_TEST

/* The range begins or ends, or both, in the middle of one. */
START_TEST(thp_partly_covered)
{
	static const struct {
		size_t off, len;
	} parts[] = {
		{ 0, HUGE + 64 * PAGE }, { 64 * PAGE, 2 * HUGE - 64 * PAGE },
		{ 64 * PAGE, 256 * PAGE }, { 500 * PAGE, 24 * PAGE },
	};
	const size_t off = parts[_i / 2].off, len = parts[_i / 2].len;
	char *p = map_huge(arena + 16 * HUGE, 2 * HUGE, 1);
	char *to = arena + 2 * HUGE + (_i & 1 ? 3 * PAGE : off);

	relocate_advised(p + off, len, to, SETTLED);
	/* The whole one of the first two stays whole. */
	ck_assert_int_eq(smaps_kb(to - PAGE, len + PAGE, "AnonHugePages"),
			 _i == 0 || _i == 2 ? 2048 : 0);
	ck_assert_uint_eq(count_in_folios(to, len, 512), _i < 4 ? 512 : 0);
	check_from(to, len, 1, off / PAGE);
	check(p, off, 1);
	check_from(p + off + len, 2 * HUGE - off - len, 1, (off + len) / PAGE);
	check_rmap_from(to, len, 1, off / PAGE);
	check_rmap(p, off, 1);
	check_rmap_from(p + off + len, 2 * HUGE - off - len, 1, (off + len) / PAGE);
}
END_TEST

START_TEST(fallback_thp_partly_covered_pinned)
{
	char *p = map_huge(arena + 16 * HUGE, 2 * HUGE, 1);
	char *to = arena + 2 * HUGE + (_i & 1 ? 3 * PAGE : 0);
	int pin = pin_start(p + HUGE + (_i & 2 ? 0 : 64 * PAGE), PAGE,
			    PIN_WRITE | PIN_FAST);

	check_fallback(p, HUGE + 64 * PAGE, 1, to, "split");
	pin_end(pin);
	check_rmap(to, HUGE + 64 * PAGE, 1);
	check_rmap_from(p + HUGE + 64 * PAGE, HUGE - 64 * PAGE, 1, 512 + 64);
}
END_TEST

START_TEST(thp_pinned)
{
	char *p = map_huge(arena + 16 * HUGE, HUGE, 1);
	char *to = arena + 2 * HUGE + (_i ? 3 * PAGE : 0);
	int pin = pin_start(p, HUGE, PIN_WRITE);

	relocate_advised(p, HUGE, to, SETTLED);
	ck_assert_uint_eq(count_in_folios(to, HUGE, 512), 512);
	fill(to, HUGE, 2);
	pin_check(pin, HUGE, 2);
	pin_end(pin);
	check_rmap(to, HUGE, 2);
}
END_TEST

START_TEST(thp_locked)
{
	char *p = map_huge(arena + 16 * HUGE, HUGE, 1);
	char *to = arena + 2 * HUGE + (_i ? 3 * PAGE : 0);

	ck_assert_int_eq(mlock(p, HUGE), 0);
	move_to(p, HUGE, to, MUST);
	ck_assert_int_eq(smaps_kb(to, HUGE, "Locked"), 2048);
	ck_assert_int_eq(munlock(to, HUGE), 0);
	check_rmap(to, HUGE, 1);
}
END_TEST

/*
 * Mapped by entries, with its first page dropped. Then split, which gives every
 * page an index of its own: the process once spun at its first touch.
 */
START_TEST(thp_first_page_dropped)
{
	char *p = map_huge(arena + 16 * HUGE, HUGE, 1);
	char *to = arena + 2 * HUGE + (_i & 1 ? 3 * PAGE : 0);
	long rss;

	advise(p, PAGE, MADV_DONTNEED);
	rss = file_number("/proc/self/status", "RssAnon");
	move_to(p, HUGE, to, MUST);
	ck_assert_int_eq(file_number("/proc/self/status", "RssAnon"), rss);
	ck_assert_uint_eq(folio_size(to + PAGE), 512);
	if (_i & 2)
		check_migrates(to, HUGE);
	split_folios(to, HUGE);
	ck_assert_uint_eq(count_in_folios(to, HUGE, 1), 511);
	ck_assert_int_eq(smaps_kb(to, HUGE, "Rss"), 2044);
	check_from(to + PAGE, HUGE - PAGE, 1, 1);
	ck_assert_int_eq(to[0], 0);
	fill(to, PAGE, 1);
	check_rmap(to, HUGE, 1);
}
END_TEST

/* What is refused has not been split, unless it was looked at before the reason was. */
START_TEST(thp_left_whole)
{
	const size_t len = 2 * HUGE - 16 * PAGE;
	char *p = map_huge(arena + 16 * HUGE, 2 * HUGE, 1), *to = arena + 32 * HUGE + PAGE;
	struct child child;

	advise(p, HUGE, MADV_DONTNEED);
	fill(p, PAGE, 1);
	advise(p + HUGE, HUGE, MADV_DONTFORK);
	if (child_start(&child)) {
		child_wait(&child);
		_exit(0);
	}
	advise(p + HUGE, HUGE, MADV_DOFORK);
	ck_assert_int_eq(mappings(p, 2 * HUGE), 1);
	assert_mremap_fails(EFAULT, p, len, len, MREMAP_MAYMOVE | MREMAP_FIXED | MUST, to);
	ck_assert_int_eq(smaps_kb(p, 2 * HUGE, "AnonHugePages"), HUGE >> 10);
	child_end(&child);
}
END_TEST

/* A pipe for each of many huge pages, which lets it go when a split has failed. */
static struct {
	int ends[16][2];
	volatile bool over;
	volatile size_t released;
} pipes;

static void *release_pipes(void *arg)
{
	long failed = vmstat("thp_split_page_failed");
	char c[PAGE];

	(void)arg;
	while (!pipes.over) {
		const long now = vmstat("thp_split_page_failed");

		if (now != failed && pipes.released < ARRAY_SIZE(pipes.ends))
			assert_quietly(read(pipes.ends[pipes.released++][0], c, PAGE) == PAGE);
		failed = now;
	}
	return NULL;
}

/*
 * Splits that fail for a moment, of more folios than there are tries for one. Should the
 * other thread be too slow for one of them, all is tried again.
 */
START_TEST(many_held_for_a_moment)
{
	const size_t n = ARRAY_SIZE(pipes.ends);
	char *p = arena, *to = arena + 40 * HUGE + PAGE, *rest = arena + 60 * HUGE;
	void *res = MAP_FAILED;

	for (size_t i = 0; i < n; i++)
		assert_quietly(!pipe(pipes.ends[i]));
	for (int round = 0; res != to && round < 30; round++) {
		pthread_t id;
		char c[PAGE];

		map_huge(p, n * HUGE, 1);
		for (size_t i = 0; i < n; i++) {
			char *half = p + i * HUGE + HUGE / 2;
			struct iovec iov = { .iov_base = p + i * HUGE, .iov_len = PAGE };

			ck_assert_ptr_eq(sys_mremap(half, HUGE / 2, HUGE / 2, MREMAP_MAYMOVE |
						    MREMAP_FIXED | MREMAP_DONTUNMAP,
						    rest + i * HUGE), rest + i * HUGE);
			assert_quietly(vmsplice(pipes.ends[i][1], &iov, 1, 0) == PAGE);
		}
		pipes.over = false;
		pipes.released = 0;
		assert_quietly(!pthread_create(&id, NULL, release_pipes, NULL));
		usleep(20000);
		res = sys_mremap(p, n * HUGE, n * HUGE, MREMAP_MAYMOVE | MREMAP_FIXED | MUST, to);
		pipes.over = true;
		pthread_join(id, NULL);
		while (pipes.released < n)
			assert_quietly(read(pipes.ends[pipes.released++][0], c, PAGE) == PAGE);
		if (res != to)
			munmap(p, n * HUGE);
		munmap(rest, n * HUGE);
	}
	ck_assert_ptr_eq(res, to);
	for (size_t i = 0; i < n; i++)
		check_from(to + i * HUGE, HUGE / 2, 1, i * 512);
}
END_TEST

/* Freed lazily, and partly in use again. */
START_TEST(thp_lazily_freed)
{
	char *p = map_huge(arena + 16 * HUGE, HUGE, 1);
	char *to = arena + 2 * HUGE + (_i ? 3 * PAGE : 0);

	advise(p, HUGE, MADV_FREE);
	fill(p, 8 * PAGE, 1);
	move_to(p, HUGE, to, MUST);
	check_rmap(to, 8 * PAGE, 1);
}
END_TEST

/* Whole to where it can stay, whole to elsewhere, and in part. */
START_TEST(huge_zero_page)
{
	char *p = arena + 16 * HUGE, *to = arena + HUGE + (_i == 1 ? PAGE : 0);
	const size_t off = _i == 2 ? 64 * PAGE : 0, len = 2 * HUGE - off;
	volatile char sum = 0;

	map_at(p, 2 * HUGE);
	advise(p, 2 * HUGE, MADV_HUGEPAGE);
	fill(p + HUGE, HUGE, 1);	/* so that it has an anon_vma */
	for (size_t i = 0; i < HUGE; i += PAGE)
		sum += p[i];
	ck_assert_msg(kpageflags(p) & KPF_ZERO_PAGE && kpageflags(p) & KPF_THP,
		      "not the huge zero page");
	advise(p, 2 * HUGE, SETTLED);
	relocate_advised(p + off, len, to, SETTLED);
	check_zero(to, HUGE - off);
	ck_assert(kpageflags(to) & KPF_ZERO_PAGE);
	check_rmap(to + HUGE - off, HUGE, 1);
	if (off)
		check_zero(p, off);
	fill(to, HUGE - off, 2);
	check_rmap(to, HUGE - off, 2);
}
END_TEST

/* -------------------------------------------------------------------------- */

int main(void)
{
	Suite *s = suite_create("large");
	TCase *tc = add_case(s, "entries");

	tcase_add_loop_test(tc, large_whole, 0, 2 * SIZES);
	tcase_add_loop_test(tc, large_straddles, 0, 2 * SIZES);
	tcase_add_loop_test(tc, large_with_holes, 0, 2 * SIZES);
	tcase_add_loop_test(tc, large_partly_moved_away, 0, 2 * SIZES);
	tcase_add_loop_test(tc, large_crosses_boundary, 0, 2 * SIZES);
	tcase_add_loop_test(tc, large_middle, 0, SIZES);
	tcase_add_loop_test(tc, fallback_large_pinned_at_boundary, 0, 3 * SIZES);
	tcase_add_loop_test(tc, fallback_large_pinned_partly_moved_away, 0, SIZES);
	tcase_add_loop_test(tc, large_pinned_whole, 0, SIZES);
	tcase_add_loop_test(tc, large_locked, 0, SIZES);
	tcase_add_loop_test(tc, large_among_others, 0, 2);
	/* Linux 6.12 keeps an empty page table, so that no huge page can replace it. */
	tcase_add_loop_test(tc, large_half_gone, 0, kernel_before_7() ? 2 : 4);
	tcase_add_test(tc, large_ends_table);
	if (!kernel_before_7())
		tcase_add_test(tc, large_of_dev_zero);

	tc = add_case(s, "pmd");
	tcase_add_loop_test(tc, thp_congruent, 0, 3);
	tcase_add_test(tc, thp_among_others);
	tcase_add_loop_test(tc, thp_not_congruent, 0, 3);
	tcase_add_loop_test(tc, thp_partly_covered, 0, 8);
	tcase_add_loop_test(tc, fallback_thp_partly_covered_pinned, 0, 4);
	tcase_add_loop_test(tc, thp_pinned, 0, 2);
	tcase_add_loop_test(tc, thp_locked, 0, 2);
	tcase_add_loop_test(tc, thp_first_page_dropped, 0, 4);
	tcase_add_test(tc, thp_left_whole);
	tcase_add_test(tc, many_held_for_a_moment);
	tcase_add_loop_test(tc, thp_lazily_freed, 0, 2);
	tcase_add_loop_test(tc, huge_zero_page, 0, 3);

	return run_guest_suite(s);
}
