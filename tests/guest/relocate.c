// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What mremap(MREMAP_RELOCATE_ANON) does to a process, seen from user space:
 * flags, merging, growing, shrinking, what else than anonymous memory can be
 * moved, MREMAP_DONTUNMAP, accounting, counters. Small pages; for all kinds of
 * pages see pages.c, for those that others use too see sharing.c.
 */
#include "relocate.h"

#include <linux/perf_event.h>
#include <setjmp.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>

/* ---- flags --------------------------------------------------------------- */

START_TEST(flag_validation)
{
	char *p = map_filled(arena, 4 * PAGE, 1);

	assert_mremap_fails(EINVAL, p, PAGE, PAGE, RELOCATE, NULL);
	assert_mremap_fails(EINVAL, p, PAGE, PAGE, MUST, NULL);
	assert_mremap_fails(EINVAL, p, PAGE, 2 * PAGE, RELOCATE, NULL);
	for (unsigned int bit = 5; bit < 31; bit++)
		assert_mremap_fails(EINVAL, p, PAGE, PAGE,
				    MREMAP_MAYMOVE | (1 << bit), NULL);
	/* What a probe relies on, see the manual page. */
	assert_mremap_fails(EFAULT, arena + 16 * PAGE, PAGE, PAGE,
			    MREMAP_MAYMOVE | RELOCATE, NULL);
	assert_mremap_fails(EFAULT, arena + 16 * PAGE, PAGE, PAGE,
			    MREMAP_MAYMOVE | MUST, NULL);
	check(p, 4 * PAGE, 1);
}
END_TEST

/* ---- merging ------------------------------------------------------------- */

START_TEST(merge_previous)
{
	char *prev = map_filled(arena, 4 * PAGE, 1);
	char *p = map_filled(arena + 32 * PAGE, 8 * PAGE, 2);

	move_to(p, 8 * PAGE, arena + 4 * PAGE, both_flags[_i]);
	ck_assert_int_eq(mappings(arena, 12 * PAGE), 1);
	check_rmap(prev, 4 * PAGE, 1);
	check_rmap(arena + 4 * PAGE, 8 * PAGE, 2);
}
END_TEST

START_TEST(merge_next)
{
	char *next = map_filled(arena + 8 * PAGE, 4 * PAGE, 1);
	char *p = map_filled(arena + 32 * PAGE, 8 * PAGE, 2);

	move_to(p, 8 * PAGE, arena, both_flags[_i]);
	ck_assert_int_eq(mappings(arena, 12 * PAGE), 1);
	check_rmap(next, 4 * PAGE, 1);
	check_rmap(arena, 8 * PAGE, 2);
}
END_TEST

START_TEST(merge_both)
{
	char *p = map_filled(arena + 32 * PAGE, 4 * PAGE, 2);

	map_filled(arena, 12 * PAGE, 1);
	ck_assert_int_eq(munmap(arena + 4 * PAGE, 4 * PAGE), 0);
	move_to(p, 4 * PAGE, arena + 4 * PAGE, both_flags[_i]);
	ck_assert_int_eq(mappings(arena, 12 * PAGE), 1);
	check_rmap(arena + 4 * PAGE, 4 * PAGE, 2);
}
END_TEST

/* Neighbours of different anon_vmas: it can merge with one of them only. */
START_TEST(merge_between_strangers)
{
	char *p = map_filled(arena + 32 * PAGE, 4 * PAGE, 2);
	char *next = arena + 8 * PAGE, *away = arena + 64 * PAGE;

	map_filled(arena, 4 * PAGE, 1);
	map_filled(next, 4 * PAGE, 3);
	move_to(p, 4 * PAGE, arena + 4 * PAGE, both_flags[_i]);
	ck_assert_int_eq(mappings(arena, 12 * PAGE), 2);
	ck_assert_int_eq(mappings(arena, 8 * PAGE), 1);
	/* Moved out and back, the other one gets the anon_vma of both. */
	move_to(next, 4 * PAGE, away, both_flags[_i]);
	move_to(away, 4 * PAGE, next, both_flags[_i]);
	ck_assert_int_eq(mappings(arena, 12 * PAGE), 1);
	check_rmap(arena, 4 * PAGE, 1);
	check_rmap(arena + 4 * PAGE, 4 * PAGE, 2);
	check_rmap(next, 4 * PAGE, 3);
}
END_TEST

START_TEST(merge_unfaulted_neighbours)
{
	char *p = map_filled(arena + 32 * PAGE, 4 * PAGE, 2);

	map_at(arena, 4 * PAGE);
	map_at(arena + 8 * PAGE, 4 * PAGE);
	move_to(p, 4 * PAGE, arena + 4 * PAGE, RELOCATE);
	ck_assert_int_eq(mappings(arena, 12 * PAGE), 1);
	check_rmap(arena + 4 * PAGE, 4 * PAGE, 2);
	fill(arena, 4 * PAGE, 3);
	fill(arena + 8 * PAGE, 4 * PAGE, 4);
	check_rmap(arena, 4 * PAGE, 3);
	check_rmap(arena + 8 * PAGE, 4 * PAGE, 4);
}
END_TEST

START_TEST(plain_does_not_merge)
{
	char *p = map_filled(arena + 32 * PAGE, 8 * PAGE, 2);

	map_filled(arena, 4 * PAGE, 1);
	move_to(p, 8 * PAGE, arena + 4 * PAGE, 0);
	ck_assert_int_eq(mappings(arena, 12 * PAGE), 2);
	check_rmap(arena + 4 * PAGE, 8 * PAGE, 2);
}
END_TEST

/* Nothing to merge with now, but the page offset is that of the new place. */
START_TEST(merge_later)
{
	char *p = map_filled(arena + 32 * PAGE, 4 * PAGE, 1);

	map_filled(arena + 4 * PAGE, 4 * PAGE, 2);
	ck_assert_int_eq(mprotect(arena + 4 * PAGE, 4 * PAGE, PROT_READ), 0);
	move_to(p, 4 * PAGE, arena, RELOCATE);
	ck_assert_int_eq(mappings(arena, 8 * PAGE), 2);
	ck_assert_int_eq(mprotect(arena + 4 * PAGE, 4 * PAGE, RW), 0);
	ck_assert_int_eq(mappings(arena, 8 * PAGE), 1);
	check_rmap(arena, 4 * PAGE, 1);
	check_rmap(arena + 4 * PAGE, 4 * PAGE, 2);
}
END_TEST

START_TEST(partial_move_merges_back)
{
	char *p = map_filled(arena, 12 * PAGE, 1);
	char *away = arena + 64 * PAGE;

	/* Out with a hole left behind, and back into it. */
	move_to(p + 4 * PAGE, 4 * PAGE, away, RELOCATE);
	ck_assert_int_eq(mappings(p, 12 * PAGE), 2);
	move_to(away, 4 * PAGE, p + 4 * PAGE, RELOCATE);
	ck_assert_int_eq(mappings(p, 12 * PAGE), 1);
	check_rmap(p, 12 * PAGE, 1);
}
END_TEST

START_TEST(several_vmas)
{
	char *p = arena + 64 * PAGE;

	for (int i = 0; i < 4; i++)
		map_filled(arena + (128 + 32 * i) * PAGE, 4 * PAGE, i);
	/* Plain moves leave four mappings side by side ... */
	for (int i = 0; i < 4; i++)
		move_to(arena + (128 + 32 * i) * PAGE, 4 * PAGE,
			p + 4 * i * PAGE, 0);
	ck_assert_int_eq(mappings(p, 16 * PAGE), 4);
	/* ... and one call makes them one. */
	move_to(p, 16 * PAGE, arena, both_flags[_i]);
	ck_assert_int_eq(mappings(arena, 16 * PAGE), 1);
	for (int i = 0; i < 4; i++)
		check_rmap(arena + 4 * i * PAGE, 4 * PAGE, i);
}
END_TEST

/* The gap between two VMAs stays, and so they do not merge. */
START_TEST(several_vmas_with_gap)
{
	char *p = map_filled(arena + 128 * PAGE, 4 * PAGE, 1);

	map_filled(p + 8 * PAGE, 4 * PAGE, 2);
	map_filled(arena + 12 * PAGE, 4 * PAGE, 3);
	move_to(p, 12 * PAGE, arena, both_flags[_i]);
	ck_assert_int_eq(mappings(p, 12 * PAGE), 0);
	ck_assert_int_eq(mappings(arena, 4 * PAGE), 1);
	ck_assert_int_eq(mappings(arena + 4 * PAGE, 4 * PAGE), 0);
	ck_assert_int_eq(mappings(arena, 16 * PAGE), 2);
	check_rmap(arena, 4 * PAGE, 1);
	check_rmap(arena + 8 * PAGE, 4 * PAGE, 2);
	check_rmap(arena + 12 * PAGE, 4 * PAGE, 3);
}
END_TEST

/* What was at the destination, several mappings and gaps, is gone. */
START_TEST(over_several_vmas)
{
	char *p = map_filled(arena + 64 * PAGE, 16 * PAGE, 1);

	map_filled(arena, 20 * PAGE, 2);
	ck_assert_int_eq(munmap(arena + 6 * PAGE, 2 * PAGE), 0);
	ck_assert_int_eq(munmap(arena + 10 * PAGE, 2 * PAGE), 0);
	ck_assert_int_eq(mprotect(arena + 14 * PAGE, PAGE, PROT_READ), 0);
	move_to(p, 16 * PAGE, arena + 2 * PAGE, both_flags[_i]);
	ck_assert_int_eq(mappings(arena, 20 * PAGE), 1);
	check_rmap(arena, 2 * PAGE, 2);
	check_rmap(arena + 2 * PAGE, 16 * PAGE, 1);
	check_rmap_from(arena + 18 * PAGE, 2 * PAGE, 2, 18);
}
END_TEST

/* A vast range with a page in it takes hardly more page tables than that page. */
START_TEST(sparse)
{
	const size_t len = 1UL << 40;
	char *p = mmap(NULL, len, RW, ANON | MAP_NORESERVE, -1, 0);
	char *to = mmap(NULL, len + HUGE, PROT_NONE, ANON | MAP_NORESERVE, -1, 0);
	long before;

	ck_assert_ptr_ne(p, MAP_FAILED);
	ck_assert_ptr_ne(to, MAP_FAILED);
	to += _i * PAGE;
	fill(p + len / 3 / PAGE * PAGE, PAGE, 1);
	before = file_number("/proc/self/status", "VmPTE:");
	move_to(p, len, to, RELOCATE);
	ck_assert_int_le(file_number("/proc/self/status", "VmPTE:"), before + 32);
	check_rmap(to + len / 3 / PAGE * PAGE, PAGE, 1);
}
END_TEST

/* ---- moving next to oneself ---------------------------------------------- */

START_TEST(behind_itself)
{
	char *p = map_filled(arena, 8 * PAGE, 1);

	move_to(p, 8 * PAGE, p + 8 * PAGE, RELOCATE);
	ck_assert_int_eq(mappings(p, 8 * PAGE), 0);
	ck_assert_int_eq(mappings(p + 8 * PAGE, 8 * PAGE), 1);
	check_rmap(p + 8 * PAGE, 8 * PAGE, 1);
}
END_TEST

START_TEST(part_behind_itself)
{
	char *p = map_filled(arena, 8 * PAGE, 1);

	/* The first half goes behind the second, which it merges with. */
	move_to(p, 4 * PAGE, p + 8 * PAGE, RELOCATE);
	ck_assert_int_eq(mappings(p, 12 * PAGE), 1);
	ck_assert_int_eq(mappings(p, 4 * PAGE), 0);
	check_rmap(p + 8 * PAGE, 4 * PAGE, 1);
}
END_TEST

/* The merge replaces the source VMA, which must not be used any more. */
START_TEST(before_itself_behind_unfaulted)
{
	char *p = map_filled(arena + 16 * PAGE, 8 * PAGE, 1);
	long committed;

	map_at(arena, 8 * PAGE);
	committed = file_number("/proc/meminfo", "Committed_AS");
	move_to(p, 8 * PAGE, arena + 8 * PAGE, RELOCATE);
	ck_assert_int_eq(file_number("/proc/meminfo", "Committed_AS"), committed);
	ck_assert_int_eq(mappings(arena, 24 * PAGE), 1);
	ck_assert_int_eq(mappings(arena + 16 * PAGE, 8 * PAGE), 0);
	check_rmap(arena + 8 * PAGE, 8 * PAGE, 1);
	fill(arena, 8 * PAGE, 2);
	check_rmap(arena, 8 * PAGE, 2);
}
END_TEST

START_TEST(fixed_within_itself)
{
	char *p = map_filled(arena, 24 * PAGE, 1);

	/* The destination is unmapped first, it is the middle of the source. */
	move_to(p, 8 * PAGE, p + 8 * PAGE, RELOCATE);
	ck_assert_int_eq(mappings(p, 24 * PAGE), 1);
	check_rmap(p + 8 * PAGE, 8 * PAGE, 1);
}
END_TEST

/* ---- growing, shrinking, not moving -------------------------------------- */

START_TEST(grow_moves)
{
	char *p = map_filled(arena, 4 * PAGE, 1);
	char *q;

	map_at(arena + 4 * PAGE, PAGE);
	q = sys_mremap(p, 4 * PAGE, 8 * PAGE, MREMAP_MAYMOVE | both_flags[_i], NULL);
	ck_assert_ptr_ne(q, MAP_FAILED);
	ck_assert_ptr_ne(q, p);
	ck_assert_int_eq(mappings(q, 8 * PAGE), 1);
	check_rmap(q, 4 * PAGE, 1);
	check_zero(q + 4 * PAGE, 4 * PAGE);
	munmap(q, 8 * PAGE);
}
END_TEST

START_TEST(shrink_moves)
{
	char *p = map_filled(arena + 32 * PAGE, 8 * PAGE, 1);

	map_filled(arena, 4 * PAGE, 2);
	ck_assert_ptr_eq(sys_mremap(p, 8 * PAGE, 4 * PAGE, MREMAP_MAYMOVE |
				    MREMAP_FIXED | both_flags[_i],
				    arena + 4 * PAGE), arena + 4 * PAGE);
	ck_assert_int_eq(mappings(arena, 8 * PAGE), 1);
	ck_assert_int_eq(mappings(p, 8 * PAGE), 0);
	check_rmap(arena + 4 * PAGE, 4 * PAGE, 1);
}
END_TEST

START_TEST(not_needed)
{
	const int flags = MREMAP_MAYMOVE | both_flags[_i];
	char *p = map_filled(arena, 8 * PAGE, 1);
	char *shared;

	/* In place: same size, shrink, grow. */
	ck_assert_ptr_eq(sys_mremap(p, 8 * PAGE, 8 * PAGE, flags, NULL), p);
	ck_assert_ptr_eq(sys_mremap(p, 8 * PAGE, 4 * PAGE, flags, NULL), p);
	ck_assert_ptr_eq(sys_mremap(p, 4 * PAGE, 8 * PAGE, flags, NULL), p);
	check(p, 4 * PAGE, 1);

	/* Even of what could never relocate. */
	shared = mmap(NULL, 8 * PAGE, RW, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ck_assert_ptr_ne(shared, MAP_FAILED);
	ck_assert_ptr_eq(sys_mremap(shared, 8 * PAGE, 4 * PAGE, flags, NULL),
			 shared);

	/* Never faulted. */
	map_at(arena + 32 * PAGE, 8 * PAGE);
	move_to(arena + 32 * PAGE, 8 * PAGE, arena + 8 * PAGE, both_flags[_i]);
	ck_assert_int_eq(mappings(arena, 16 * PAGE), 1);

	/* Back to where it was faulted: its offset is right as it is. */
	fill(arena + 8 * PAGE, 8 * PAGE, 3);
	move_to(arena + 8 * PAGE, 8 * PAGE, arena + 64 * PAGE, 0);
	move_to(arena + 64 * PAGE, 8 * PAGE, arena + 8 * PAGE, both_flags[_i]);
	ck_assert_int_eq(mappings(arena, 16 * PAGE), 1);
	check_rmap(arena + 8 * PAGE, 8 * PAGE, 3);
}
END_TEST

/*
 * Its offset is right, so nothing is relocated, although those around it have an
 * anon_vma of their own, and it remains separate.
 */
START_TEST(back_among_others)
{
	char *p = map_filled(arena + 8 * PAGE, 4 * PAGE, 1);
	char *away = arena + 64 * PAGE;
	struct counters before;

	move_to(p, 4 * PAGE, away, 0);
	map_filled(arena, 8 * PAGE, 2);
	before = counters();
	move_to(away, 4 * PAGE, p, both_flags[_i]);
	ck_assert_int_eq(counters().relocate, before.relocate);
	ck_assert_int_eq(counters().fallback, before.fallback);
	ck_assert_int_eq(mappings(arena, 12 * PAGE), 2);
	check_rmap(p, 4 * PAGE, 1);
	check_rmap(arena, 8 * PAGE, 2);
}
END_TEST

/*
 * Two VMAs of different anon_vmas go back to where they were faulted. That
 * takes no relocation, so MUST is satisfied. Once the first one is there the
 * second has a neighbour that it could only merge with by relocating; but a
 * child shares it, so it must not.
 */
START_TEST(back_home_shared)
{
	char *home = arena, *away = arena + 64 * PAGE;
	int go[2], status;
	pid_t pid;
	char c;

	map_filled(home + 4 * PAGE, 4 * PAGE, 2);
	advise(home + 4 * PAGE, 4 * PAGE, MADV_DONTDUMP);
	map_filled(home, 4 * PAGE, 1);
	advise(home + 4 * PAGE, 4 * PAGE, MADV_DODUMP);
	ck_assert_int_eq(mappings(home, 8 * PAGE), 2);
	advise(home, 4 * PAGE, MADV_DONTFORK);
	ck_assert_int_eq(pipe(go), 0);
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (!pid) {
		close(go[1]);
		(void)!read(go[0], &c, 1);
		check(home + 4 * PAGE, 4 * PAGE, 2);
		_exit(0);
	}
	close(go[0]);
	advise(home, 4 * PAGE, MADV_DOFORK);

	move_to(home, 8 * PAGE, away, 0);
	move_to(away, 8 * PAGE, home, MUST);
	ck_assert_int_eq(mappings(home, 8 * PAGE), 2);
	close(go[1]);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
	check_rmap(home, 4 * PAGE, 1);
	check_rmap(home + 4 * PAGE, 4 * PAGE, 2);
}
END_TEST

/* A plain move out and back of an aligned chunk, which once hung. */
START_TEST(plain_out_and_back)
{
	char *p = map_filled(arena, 2 * HUGE, 1);

	for (int i = 0; i < 4; i++) {
		move_to(p, 2 * HUGE, p + 4 * HUGE, 0);
		move_to(p + 4 * HUGE, 2 * HUGE, p, 0);
	}
	check_rmap(p, 2 * HUGE, 1);
}
END_TEST

START_TEST(relocate_out_and_back)
{
	char *p = map_filled(arena, 2 * HUGE, 1);
	char *q = arena + 8 * HUGE + (_i ? 5 * PAGE : 0);

	for (int i = 0; i < 4; i++) {
		move_to(p, 2 * HUGE, q, MUST);
		move_to(q, 2 * HUGE, p, MUST);
	}
	move_to(p, 2 * HUGE, q, MUST);
	check_rmap(q, 2 * HUGE, 1);
}
END_TEST

/* ---- what is not relocated ----------------------------------------------- */

START_TEST(fallback_shared_anonymous)
{
	char *p = arena + 64 * PAGE;

	ck_assert_ptr_eq(mmap(p, 8 * PAGE, RW, MAP_SHARED | MAP_ANONYMOUS |
			      MAP_FIXED_NOREPLACE, -1, 0), p);
	fill(p, 8 * PAGE, 1);
	check_fallback(p, 8 * PAGE, 1, arena, "mapping");
}
END_TEST

START_TEST(fallback_shared_file)
{
	char *p = arena + 64 * PAGE;
	int fd = memfd_create("file", 0);

	ck_assert_int_eq(ftruncate(fd, 8 * PAGE), 0);
	ck_assert_ptr_eq(mmap(p, 8 * PAGE, RW, MAP_SHARED | MAP_FIXED_NOREPLACE,
			      fd, 0), p);
	fill(p, 8 * PAGE, 1);
	check_fallback(p, 8 * PAGE, 1, arena, "mapping");
}
END_TEST

START_TEST(fallback_hugetlb)
{
	char *p = arena + 16 * HUGE;

	write_file("/proc/sys/vm/nr_hugepages", "2");
	ck_assert_ptr_eq(mmap(p, 2 * HUGE, RW, ANON | MAP_HUGETLB |
			      MAP_FIXED_NOREPLACE, -1, 0), p);
	fill(p, 2 * HUGE, 1);
	check_fallback(p, 2 * HUGE, 1, arena, "mapping");
	ck_assert_int_eq(munmap(arena, 2 * HUGE), 0);
	write_file("/proc/sys/vm/nr_hugepages", "0");
}
END_TEST

/*
 * The vDSO: private and not to be expanded, its driver wants to know of moves.
 * It has been written to, so it has an anonymous page. Nothing here may
 * ask for the time while it is elsewhere.
 */
START_TEST(fallback_special)
{
	const char *line = strstr(read_file("/proc/self/maps"), "[vdso]");
	char *from, *end;
	size_t len;

	ck_assert_ptr_nonnull(line);
	while (line[-1] != '\n')
		line--;
	from = (char *)strtoul(line, &end, 16);
	len = strtoul(end + 1, NULL, 16) - (uintptr_t)from;
	/* The last byte is padding. */
	ck_assert_int_eq(mprotect(from, len, RW | PROT_EXEC), 0);
	from[len - 1] = 0;
	ck_assert_int_eq(mprotect(from, len, PROT_READ | PROT_EXEC), 0);
	ck_assert_int_eq(count_pages(from + len - PAGE, PAGE, PRESENT), 1);
	check_falls_back(from, len, arena, "mapping");
	move_to(arena, len, from, 0);
}
END_TEST

START_TEST(fallback_several_vmas)
{
	char *p = map_filled(arena + 64 * PAGE, 4 * PAGE, 1);

	/* The second of two cannot, so with MUST not even the first moves. */
	ck_assert_ptr_eq(mmap(p + 4 * PAGE, 4 * PAGE, RW, MAP_SHARED |
			      MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0),
			 p + 4 * PAGE);
	fill(p, 8 * PAGE, 1);
	map_filled(arena, 8 * PAGE, 99);
	for (int i = 1; i < 3; i++)
		assert_mremap_fails(EFAULT, p, 8 * PAGE, 8 * PAGE,
				    MREMAP_MAYMOVE | MREMAP_FIXED |
				    both_flags[i], arena);
	check(arena, 8 * PAGE, 99);
	check(p, 8 * PAGE, 1);
	ck_assert_int_eq(mappings(p, 8 * PAGE), 2);
	/* With RELOCATE one of them does, see what it merges with. */
	map_filled(arena + 16 * PAGE, PAGE, 77);
	move_to(p, 8 * PAGE, arena + 17 * PAGE, RELOCATE);
	ck_assert_int_eq(mappings(arena + 16 * PAGE, 5 * PAGE), 1);
	check(arena + 17 * PAGE, 8 * PAGE, 1);
	check_rmap(arena + 17 * PAGE, 4 * PAGE, 1);
}
END_TEST

/* ---- private mappings of files ------------------------------------------- */

/* Seed of a file's own contents; what is written to the mappings has others. */
#define FILE_SEED 200

static int new_file(size_t len)
{
	int fd = memfd_create("file", 0);
	char page[PAGE];

	for (size_t i = 0; i < len / PAGE; i++) {
		memset(page, pattern(FILE_SEED, i), PAGE);
		ck_assert_int_eq(pwrite(fd, page, PAGE, (off_t)(i * PAGE)), PAGE);
	}
	return fd;
}

static char *map_file(char *addr, size_t len, int fd, size_t from)
{
	ck_assert_ptr_eq(mmap(addr, len, RW, MAP_PRIVATE | MAP_FIXED_NOREPLACE,
			      fd, (off_t)(from * PAGE)), addr);
	return addr;
}

/* Every third page is written to, the others are read. */
static void use_file(char *p, size_t len, unsigned int seed)
{
	for (size_t i = 0; i < len / PAGE; i++)
		if (i % 3 == 0)
			memset(p + i * PAGE, pattern(seed, i), PAGE);
		else
			ck_assert(p[i * PAGE]);
}

static void check_file(const char *p, size_t len, unsigned int seed, size_t from)
{
	for (size_t i = 0; i < len / PAGE; i++)
		if (i % 3 == 0)
			check_from(p + i * PAGE, PAGE, seed, i);
		else
			check_from(p + i * PAGE, PAGE, FILE_SEED, from + i);
}

/* The written pages move as anonymous ones, those of the page cache along. */
START_TEST(private_file)
{
	const size_t len = 32 * PAGE;
	const bool swapped = _i & 1, dontunmap = _i & 2;
	char *p = arena + 64 * PAGE, page[PAGE];
	struct counters before, after;
	int fd = new_file(2 * len);
	size_t anon;

	map_file(p, len, fd, 5);
	use_file(p, len, 1);
	anon = count_pages(p, len, PRESENT);
	ck_assert_uint_eq(anon, 11);
	if (swapped) {
		page_out(p, len);
		ck_assert_uint_eq(count_pages(p, len, SWAPPED), anon);
	}
	before = counters();
	move_to(p, len, arena, MUST | (dontunmap ? MREMAP_DONTUNMAP : 0));
	after = counters();
	ck_assert_int_eq(after.relocate, before.relocate + 1);
	ck_assert_uint_eq(count_pages(arena, len, PRESENT | SWAPPED), anon);
	if (dontunmap) {
		ck_assert_uint_eq(count_pages(p, len, PRESENT | SWAPPED), 0);
		check_from(p, len, FILE_SEED, 5);
		use_file(p, len, 7);
	}
	check_file(arena, len, 1, 5);
	check_found(arena, len);
	check_file(arena, len, 1, 5);
	if (dontunmap) {
		check_file(p, len, 7, 5);
		check_found(p, len);
	}
	/* What was not written to still is the file. */
	memset(page, 123, PAGE);
	ck_assert_int_eq(pwrite(fd, page, PAGE, 6 * PAGE), PAGE);
	ck_assert_int_eq(arena[1 * PAGE], 123);
	ck_assert_int_eq(pread(fd, page, PAGE, 5 * PAGE), PAGE);
	check_from(page, PAGE, FILE_SEED, 5);
}
END_TEST

/* One of another file system, whose mappings have operations of their own. */
START_TEST(private_file_of_9p)
{
	char *p = arena + 64 * PAGE, copy[4 * PAGE];
	int fd = open("/proc/self/exe", O_RDONLY);

	map_file(p, 4 * PAGE, fd, 0);
	memcpy(copy, p, sizeof(copy));
	fill(p + PAGE, PAGE, 1);
	fill(p + 3 * PAGE, PAGE, 2);
	move_to(p, 4 * PAGE, arena, both_flags[_i]);
	ck_assert_int_eq(memcmp(arena, copy, PAGE), 0);
	ck_assert_int_eq(memcmp(arena + 2 * PAGE, copy + 2 * PAGE, PAGE), 0);
	check_rmap(arena + PAGE, PAGE, 1);
	check_rmap(arena + 3 * PAGE, PAGE, 2);
}
END_TEST

/*
 * A uprobe at a place in a file, with its counter elsewhere in the file, if counter is not
 * 0. It is there as long as this process.
 */
static void add_uprobe(int fd, size_t place, size_t counter)
{
	struct perf_event_attr attr = { .size = sizeof(attr) };
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	attr.type = (uint32_t)strtoul(read_file("/sys/bus/event_source/devices/uprobe/type"),
				      NULL, 10);
	attr.config = (uint64_t)counter << 32;
	attr.config1 = (uintptr_t)path;
	attr.config2 = place;
	if (syscall(SYS_perf_event_open, &attr, 0, -1, -1, 0) < 0)
		ck_abort_msg("a uprobe: %s", strerror(errno));
}

/*
 * Uprobes fault pages in when a mapping of the file is split: 0, 1: in the source, which
 * is, where the page is gone or swapped out; 2: in a source that moves as a whole, when
 * the destination is unmapped, which is the first half of what has the probe.
 */
START_TEST(private_file_probed)
{
	const size_t len = 32 * PAGE, place = 24 * PAGE, counter = len + 4 * PAGE;
	char nops[PAGE], *text = arena + 64 * PAGE, *data = arena + 128 * PAGE;
	char *to = _i < 2 ? arena : text, *page = to + (_i < 2 ? place - len / 2 : 4 * PAGE);
	const int fd = new_file(2 * len);
	struct counters before;

	memset(nops, 0x90, PAGE);
	ck_assert_int_eq(pwrite(fd, nops, PAGE, (off_t)place), PAGE);
	ck_assert_ptr_eq(mmap(text, len, PROT_READ | PROT_EXEC,
			      MAP_PRIVATE | MAP_FIXED_NOREPLACE, fd, 0), text);
	map_file(data, len / 2, fd, len / PAGE);
	fill(data, PAGE, 1);
	add_uprobe(fd, place, counter);
	ck_assert_uint_eq(count_pages(text, len, PRESENT), 1);
	ck_assert_uint_eq(count_pages(data, len / 2, PRESENT), 2);
	if (_i == 1) {
		page_out(text + place, PAGE);
		ck_assert_uint_eq(count_pages(text, len, SWAPPED), 1);
	} else {
		advise(text + place, PAGE, MADV_DONTNEED);
	}
	advise(data + 4 * PAGE, PAGE, MADV_DONTNEED);

	before = counters();
	move_to(_i < 2 ? text + len / 2 : data, len / 2, to, MUST);
	ck_assert_int_eq(counters().relocate, before.relocate + 1);
	ck_assert_uint_eq(count_pages(page, PAGE, PRESENT), 1);
	check_migrates(page, PAGE);
}
END_TEST

/* Nothing was ever written: there is nothing to relocate. */
START_TEST(private_file_unwritten)
{
	const size_t len = 8 * PAGE;
	char *p = map_file(arena + 64 * PAGE, len, new_file(2 * len), 4);
	struct counters before, after;

	check_from(p, len, FILE_SEED, 4);
	before = counters();
	move_to(p, len, arena, both_flags[_i]);
	after = counters();
	check_from(arena, len, FILE_SEED, 4);
	fill(arena, len, 1);
	check_rmap(arena, len, 1);
	ck_assert_int_eq(after.relocate, before.relocate);
	ck_assert_int_eq(after.fallback, before.fallback);
}
END_TEST

/* Merges with neighbours of the same file, if the offset in the file fits. */
START_TEST(private_file_merges)
{
	const size_t len = 6 * PAGE;
	int fd = new_file(4 * len);

	map_file(arena, 3 * len, fd, 0);
	use_file(arena, len, 1);
	use_file(arena + 2 * len, len, 3);
	ck_assert_int_eq(munmap(arena + len, len), 0);
	map_file(arena + 8 * len, len, fd, 6);
	use_file(arena + 8 * len, len, 2);
	move_to(arena + 8 * len, len, arena + len, both_flags[_i]);
	ck_assert_int_eq(mappings(arena, 3 * len), 1);
	for (int i = 0; i < 3; i++)
		check_file(arena + (size_t)i * len, len, 1 + i, 6 * i);
	check_found(arena, 3 * len);
	for (int i = 0; i < 3; i++)
		check_file(arena + (size_t)i * len, len, 1 + i, 6 * i);
}
END_TEST

START_TEST(private_file_does_not_merge)
{
	const size_t len = 6 * PAGE;
	int fd = new_file(4 * len);

	map_file(arena, len, fd, 0);
	use_file(arena, len, 1);
	map_file(arena + 8 * len, len, fd, 7);
	use_file(arena + 8 * len, len, 2);
	move_to(arena + 8 * len, len, arena + len, MUST);
	ck_assert_int_eq(mappings(arena, 2 * len), 2);
	check_file(arena, len, 1, 0);
	check_file(arena + len, len, 2, 7);
	check_found(arena, 2 * len);
}
END_TEST

START_TEST(private_file_out_and_back)
{
	const size_t len = 24 * PAGE;
	char *p = map_file(arena, len, new_file(len), 0), *away = arena + 2 * len;

	use_file(p, len, 1);
	for (int i = 0; i < 3; i++) {
		move_to(p + 6 * PAGE, 6 * PAGE, away, RELOCATE);
		ck_assert_int_eq(mappings(p, len), 2);
		move_to(away, 6 * PAGE, p + 6 * PAGE, MUST);
		ck_assert_int_eq(mappings(p, len), 1);
	}
	check_file(p, len, 1, 0);
	check_found(p, len);
	check_file(p, len, 1, 0);
}
END_TEST

static sigjmp_buf bus;

static void on_bus(int sig)
{
	siglongjmp(bus, sig);
}

/* Truncation takes also pages that were written to, and finds them. */
START_TEST(private_file_truncated)
{
	const size_t len = 12 * PAGE;
	int fd = new_file(len);
	char *p = map_file(arena + 64 * PAGE, len, fd, 0);

	use_file(p, len, 1);
	move_to(p, len, arena, MUST);
	ck_assert_int_eq(ftruncate(fd, 4 * PAGE), 0);
	ck_assert_uint_eq(count_pages(arena, len, PRESENT | SWAPPED), 2);
	signal(SIGBUS, on_bus);
	if (!sigsetjmp(bus, 1)) {
		ck_assert_int_ge(*(volatile char *)(arena + 6 * PAGE), 0);
		ck_abort_msg("a truncated page is still there");
	}
	check_file(arena, 4 * PAGE, 1, 0);
	check_found(arena, len);
	check_file(arena, 4 * PAGE, 1, 0);
}
END_TEST

/* Huge pages in the page cache, mapped by a PMD but where they were written. */
START_TEST(private_file_huge)
{
	char *p = arena + 16 * HUGE, *to = arena + (_i ? 5 * PAGE : HUGE);
	const size_t written = 100 * PAGE;
	int fd;

	(void)mkdir("/tmp/huge", 0700);
	if (!_i)
		ck_assert_int_eq(mount("huge", "/tmp/huge", "tmpfs", 0,
				       "huge=always"), 0);
	fd = open("/tmp/huge/file", O_RDWR | O_CREAT | O_TRUNC, 0600);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(ftruncate(fd, 2 * HUGE), 0);
	ck_assert_ptr_eq(mmap(arena, 2 * HUGE, RW, MAP_SHARED | MAP_FIXED, fd, 0),
			 arena);
	fill(arena, 2 * HUGE, FILE_SEED);
	ck_assert_int_eq(munmap(arena, 2 * HUGE), 0);

	map_file(p, 2 * HUGE, fd, 0);
	check(p, 2 * HUGE, FILE_SEED);
	ck_assert_int_eq(smaps_kb(p, 2 * HUGE, "ShmemPmdMapped"), 2 * HUGE >> 10);
	fill(p + HUGE + written, 64 * PAGE, 1);
	ck_assert_int_eq(smaps_kb(p, 2 * HUGE, "ShmemPmdMapped"), HUGE >> 10);
	ck_assert_uint_eq(count_pages(p, 2 * HUGE, PRESENT), 64);
	move_to(p, 2 * HUGE, to, MUST);
	check(to, HUGE + written, FILE_SEED);
	check(to + HUGE + written, 64 * PAGE, 1);
	check_found(to, 2 * HUGE);
	check(to + HUGE + written, 64 * PAGE, 1);
	check_from(to + HUGE + written + 64 * PAGE, PAGE, FILE_SEED, 512 + 164);
}
END_TEST

START_TEST(private_zero)
{
	char *p = arena + 64 * PAGE;
	int fd = open("/dev/zero", O_RDWR);

	map_file(p, 8 * PAGE, fd, 0);
	fill(p, 8 * PAGE, 1);
	move_to(p, 8 * PAGE, arena, both_flags[_i]);
	check_rmap(arena, 8 * PAGE, 1);
}
END_TEST

/* ---- MREMAP_DONTUNMAP ---------------------------------------------------- */

START_TEST(dontunmap)
{
	char *p = map_filled(arena + 64 * PAGE, 8 * PAGE, 1);

	map_filled(arena, 4 * PAGE, 2);
	move_to(p, 8 * PAGE, arena + 4 * PAGE, MREMAP_DONTUNMAP | both_flags[_i]);
	ck_assert_int_eq(mappings(arena, 12 * PAGE), 1);
	ck_assert_int_eq(mappings(p, 8 * PAGE), 1);
	ck_assert_uint_eq(count_pages(p, 8 * PAGE, PRESENT), 0);
	check_zero(p, 8 * PAGE);
	fill(p, 8 * PAGE, 3);
	check_rmap(p, 8 * PAGE, 3);
	check_rmap(arena + 4 * PAGE, 8 * PAGE, 1);
}
END_TEST

/* Source and destination touch, but they stay two mappings, one of them empty. */
START_TEST(dontunmap_next_to_itself)
{
	char *p = map_filled(arena + 8 * PAGE, 8 * PAGE, 1);
	char *to = _i ? p - 8 * PAGE : p + 8 * PAGE;

	move_to(p, 8 * PAGE, to, MREMAP_DONTUNMAP | MUST);
	ck_assert_int_eq(mappings(arena, 24 * PAGE), 2);
	ck_assert_int_eq(mappings(p, 8 * PAGE), 1);
	ck_assert_uint_eq(count_pages(p, 8 * PAGE, PRESENT), 0);
	check_rmap(to, 8 * PAGE, 1);
	fill(p, 8 * PAGE, 2);
	check_rmap(p, 8 * PAGE, 2);
	check_rmap(to, 8 * PAGE, 1);
}
END_TEST

START_TEST(dontunmap_part_next_to_itself)
{
	char *p = map_filled(arena, 8 * PAGE, 1);

	/* The second half goes behind itself. */
	move_to(p + 4 * PAGE, 4 * PAGE, p + 8 * PAGE, MREMAP_DONTUNMAP | RELOCATE);
	ck_assert_int_ge(mappings(p, 12 * PAGE), 2);
	ck_assert_int_eq(mappings(p + 7 * PAGE, 2 * PAGE), 2);
	ck_assert_uint_eq(count_pages(p + 4 * PAGE, 4 * PAGE, PRESENT), 0);
	check(p, 4 * PAGE, 1);
	check_rmap_from(p + 8 * PAGE, 4 * PAGE, 1, 4);
	fill(p + 4 * PAGE, 4 * PAGE, 2);
	check_rmap(p, 4 * PAGE, 1);
	check_rmap(p + 4 * PAGE, 4 * PAGE, 2);
}
END_TEST

/* Each of several VMAs leaves an empty one behind; at the destination they are one. */
START_TEST(dontunmap_several)
{
	char *p = arena + 64 * PAGE, *to = arena;

	for (int i = 0; i < 3; i++) {
		map_filled(arena + (128 + 32 * i) * PAGE, 4 * PAGE, i);
		move_to(arena + (128 + 32 * i) * PAGE, 4 * PAGE, p + 4 * i * PAGE, 0);
	}
	ck_assert_int_eq(mappings(p, 12 * PAGE), 3);
	move_to(p, 12 * PAGE, to, MREMAP_DONTUNMAP | both_flags[_i]);
	ck_assert_int_eq(mappings(to, 12 * PAGE), 1);
	ck_assert_int_ge(mappings(p, 12 * PAGE), 1);
	ck_assert_uint_eq(count_pages(p, 12 * PAGE, PRESENT | SWAPPED), 0);
	check_zero(p, 12 * PAGE);
	fill(p, 12 * PAGE, 3);
	check_rmap(p, 12 * PAGE, 3);
	for (int i = 0; i < 3; i++)
		check_rmap(to + 4 * i * PAGE, 4 * PAGE, i);
}
END_TEST

/*
 * What the first of two VMAs leaves behind could merge with the second, which has not
 * moved yet. The call must not meet it again.
 */
START_TEST(dontunmap_before_the_next)
{
	char *p = arena + 64 * PAGE, *to = arena;

	map_filled(arena + 128 * PAGE, 4 * PAGE, 1);
	move_to(arena + 128 * PAGE, 4 * PAGE, p, 0);
	map_at(p + 4 * PAGE, 4 * PAGE);
	ck_assert_int_eq(mappings(p, 8 * PAGE), 2);
	move_to(p, 8 * PAGE, to, MREMAP_DONTUNMAP | both_flags[_i]);
	check_rmap(to, 4 * PAGE, 1);
	check_zero(to + 4 * PAGE, 4 * PAGE);
	check_zero(p, 8 * PAGE);
}
END_TEST

/* The lock moves along, the empty source loses it. */
START_TEST(dontunmap_locked)
{
	char *p = map_filled(arena + 64 * PAGE, 8 * PAGE, 1);

	ck_assert_int_eq(mlock(p, 8 * PAGE), 0);
	move_to(p, 8 * PAGE, arena, MREMAP_DONTUNMAP | both_flags[_i]);
	ck_assert_int_eq(file_number("/proc/self/status", "VmLck"), 32);
	ck_assert_int_eq(smaps_kb(arena, 8 * PAGE, "Locked"), 32);
	ck_assert_int_eq(munlock(arena, 8 * PAGE), 0);
	check_rmap(arena, 8 * PAGE, 1);
	ck_assert_int_eq(file_number("/proc/self/status", "VmLck"), 0);
}
END_TEST

/* ---- what the kernel tells ------------------------------------------------ */

/* How many folios, and that nothing is counted where nothing is needed. */
START_TEST(counted)
{
	char *p = map_filled(arena + 64 * PAGE, 8 * PAGE, 1);
	struct counters before = counters(), after;

	move_to(p, 8 * PAGE, arena, both_flags[_i]);
	after = counters();
	ck_assert_int_eq(after.relocate, before.relocate + 1);
	ck_assert_int_eq(after.fallback, before.fallback);
	ck_assert_int_eq(after.folio, before.folio + 8);

	/* Two VMAs are two moves. */
	before = after;
	if (!kernel_before_7()) {
		map_filled(arena + 12 * PAGE, 4 * PAGE, 2);
		move_to(arena, 16 * PAGE, p, both_flags[_i]);
		after = counters();
		ck_assert_int_eq(after.relocate, before.relocate + 2);
		ck_assert_int_eq(after.folio, before.folio + 12);
	} else {
		move_to(arena, 8 * PAGE, p, both_flags[_i]);
		after = counters();
	}

	/* Plain, in place, never faulted, back home: no cost. */
	before = after;
	move_to(p, 8 * PAGE, arena, 0);
	move_to(arena, 8 * PAGE, p, both_flags[_i]);
	map_at(arena, 4 * PAGE);
	move_to(arena, 4 * PAGE, arena + 4 * PAGE, both_flags[_i]);
	ck_assert_ptr_eq(sys_mremap(p, 8 * PAGE, 4 * PAGE, MREMAP_MAYMOVE |
				    both_flags[_i], NULL), p);
	ck_assert_ptr_eq(sys_mremap(p, 4 * PAGE, 8 * PAGE, MREMAP_MAYMOVE |
				    both_flags[_i], NULL), p);
	after = counters();
	ck_assert_int_eq(after.relocate, before.relocate);
	ck_assert_int_eq(after.fallback, before.fallback);
	ck_assert_int_eq(after.folio, before.folio);
}
END_TEST

/* What other tests look for in the trace: there, and silent on success. */
START_TEST(traced)
{
	char *p = map_filled(arena + 64 * PAGE, 8 * PAGE, 1);

	trace_start();
	move_to(p, 8 * PAGE, arena, RELOCATE);
	move_to(arena, 8 * PAGE, p, MUST);
	assert_mremap_fails(EINVAL, p, PAGE, PAGE, MUST, NULL);
	ck_assert_ptr_null(strstr(read_file(TRACING "trace"),
				  "mremap_relocate_fail: "));
}
END_TEST

/* ---- accounting ---------------------------------------------------------- */

struct account {
	long committed, total, data, locked, rss, maps;
};

static struct account account(void)
{
	return (struct account) {
		.committed = file_number("/proc/meminfo", "Committed_AS"),
		.total = file_number("/proc/self/status", "VmSize"),
		.data = file_number("/proc/self/status", "VmData"),
		.locked = file_number("/proc/self/status", "VmLck"),
		.rss = file_number("/proc/self/status", "RssAnon") +
		       file_number("/proc/self/status", "VmSwap"),
		.maps = mappings(0, -1UL),
	};
}

/*
 * Each of these is called with a range of pages, which it leaves as it was, and
 * with free room on both sides. No assertions: each grows a file in tmpfs, and
 * with it what is committed.
 */
#define LEN (8 * PAGE)

#define must(condition) ((condition) ? (void)0 : ck_abort_msg("not " #condition))

static void to_neighbours(char *p)
{
	move_to(p, LEN, p + 4 * LEN, RELOCATE);		/* see below */
	move_to(p + 4 * LEN, LEN, p, MUST);
}

static void next_to_itself(char *p)
{
	move_to(p, LEN, p + LEN, RELOCATE);
	move_to(p + LEN, LEN, p, MUST);
}

static void part_next_to_itself(char *p)
{
	move_to(p, LEN / 2, p + LEN, RELOCATE);
	move_to(p + LEN, LEN / 2, p, MUST);
}

static void before_itself(char *p)
{
	must(mmap(p - 2 * LEN, LEN, RW, ANON | MAP_FIXED_NOREPLACE, -1, 0) ==
	     p - 2 * LEN);
	move_to(p, LEN, p - LEN, RELOCATE);
	move_to(p - LEN, LEN, p, MUST);
	must(!munmap(p - 2 * LEN, LEN));
}

static void refused(char *p)
{
	must(sys_mremap(p, LEN, LEN, MREMAP_MAYMOVE | MREMAP_FIXED | MUST,
			p + 2 * LEN) == MAP_FAILED && errno == EFAULT);
	must(sys_mremap(p, LEN, LEN, MREMAP_MAYMOVE | MREMAP_DONTUNMAP | MUST,
			NULL) == MAP_FAILED && errno == EFAULT);
}

static void falls_back(char *p)
{
	move_to(p, LEN, p + LEN, RELOCATE);
	move_to(p + LEN, LEN, p, RELOCATE);
}

static void keeps_source(char *p)
{
	move_to(p, LEN, p + 4 * LEN, MREMAP_DONTUNMAP | RELOCATE);
	must(!munmap(p, LEN));
	move_to(p + 4 * LEN, LEN, p, MREMAP_DONTUNMAP | MUST);
	must(mappings(p + 2 * LEN, 5 * LEN) == 1);
	must(!munmap(p + 4 * LEN, LEN));
}

static void keeps_source_beside(char *p)
{
	move_to(p, LEN, p + LEN, MREMAP_DONTUNMAP | MUST);
	must(!munmap(p, LEN));
	move_to(p + LEN, LEN, p, MREMAP_DONTUNMAP | MUST);
	must(!munmap(p + LEN, LEN));
}

static void grows_and_shrinks(char *p)
{
	char *q = p - 4 * LEN;

	must(sys_mremap(p, LEN, 2 * LEN, MREMAP_MAYMOVE | MREMAP_FIXED |
			RELOCATE, q) == q);
	must(sys_mremap(q, 2 * LEN, LEN, MREMAP_MAYMOVE | MREMAP_FIXED | MUST,
			p) == p);
}

static void stays(char *p)
{
	const int flags = MREMAP_MAYMOVE | RELOCATE | MUST;

	must(sys_mremap(p, LEN, 2 * LEN, flags, NULL) == p);
	must(sys_mremap(p, 2 * LEN, 2 * LEN, flags, NULL) == p);
	must(sys_mremap(p, 2 * LEN, LEN, flags, NULL) == p);
}

static void as_two(char *p)
{
	char *q = p - 4 * LEN;

	must(!mprotect(p, LEN / 2, PROT_READ));
	move_to(p, LEN, q, RELOCATE);
	must(!mprotect(q, LEN / 2, RW));
	must(mappings(q, LEN) == 1);
	move_to(q, LEN, p, MUST);
}

static const struct {
	void (*calls)(char *p);
	enum { PRIVATE, LOCKED, SHARED, WITH_CHILD, OF_FILE } kind;
} accounts[] = {
	{ to_neighbours, PRIVATE }, { to_neighbours, LOCKED },
	{ next_to_itself, PRIVATE }, { next_to_itself, LOCKED },
	{ part_next_to_itself, PRIVATE }, { part_next_to_itself, LOCKED },
	{ part_next_to_itself, OF_FILE },
	{ before_itself, PRIVATE },
	{ refused, SHARED }, { refused, WITH_CHILD },
	{ falls_back, SHARED }, { falls_back, WITH_CHILD },
	{ falls_back, OF_FILE },	/* does not */
	{ keeps_source, PRIVATE },
	{ keeps_source_beside, PRIVATE }, { keeps_source_beside, OF_FILE },
	{ grows_and_shrinks, PRIVATE }, { grows_and_shrinks, LOCKED },
	{ stays, PRIVATE }, { stays, LOCKED },
	{ as_two, PRIVATE }, { as_two, OF_FILE },
};

/*
 * A part that relocates is split off first. That may not make a move fail which succeeds
 * without the flag.
 */
START_TEST(near_the_limit)
{
	char *p = arena + 16 * LEN, *to = arena + 2 * LEN, text[24];
	const int keep = _i ? MREMAP_DONTUNMAP : 0;
	const int flags[] = { 0, RELOCATE, MUST };
	int refused = 0, relocated = 0;

	for (int room = 0; room < 10; room++) {
		const long limit = mappings(NULL, SIZE_MAX) + 1 + room;
		const long before = counters().relocate;
		bool moved[3];

		for (int i = 0; i < 3; i++) {
			map_filled(p, 3 * PAGE, 1);
			snprintf(text, sizeof(text), "%ld", limit);
			write_file("/proc/sys/vm/max_map_count", text);
			moved[i] = sys_mremap(p + PAGE, PAGE, PAGE, MREMAP_MAYMOVE |
					      MREMAP_FIXED | keep | flags[i], to) == to;
			if (!moved[i])
				ck_assert_int_eq(errno, ENOMEM);
			write_file("/proc/sys/vm/max_map_count", "65530");
			if (moved[i])
				check_from(to, PAGE, 1, 1);
			else
				check(p, 3 * PAGE, 1);
			ck_assert_int_eq(munmap(p, 3 * PAGE), 0);
			ck_assert_int_eq(munmap(to, PAGE), 0);
		}
		ck_assert_int_eq(moved[1], moved[0]);
		ck_assert_int_eq(moved[2], moved[0]);
		refused += !moved[0];
		relocated += moved[0];
		ck_assert_int_eq(counters().relocate - before, 2 * moved[0]);
	}
	/* Each of them has been seen. */
	ck_assert_int_gt(refused, 0);
	ck_assert_int_gt(relocated, 0);
}
END_TEST

/* The same of several mappings of which the first stays in part, with MREMAP_DONTUNMAP. */
START_TEST(several_near_the_limit)
{
	enum { N = 6 };		/* pages, of which the first two are one mapping */
	char *p = arena + 16 * LEN, *to = arena + 2 * LEN, text[24];
	int refused = 0, relocated = 0;

	for (int room = 0; room < 20; room++) {
		const long limit = mappings(NULL, SIZE_MAX) + 1 + room;
		const long before = counters().relocate;
		bool moved[2];

		for (int i = 0; i < 2; i++) {
			map_filled(p, N * PAGE, 1);
			for (int k = 2; k < N; k += 2)
				ck_assert_int_eq(mprotect(p + k * PAGE, PAGE, PROT_READ), 0);
			snprintf(text, sizeof(text), "%ld", limit);
			write_file("/proc/sys/vm/max_map_count", text);
			moved[i] = sys_mremap(p + PAGE, (N - 1) * PAGE, (N - 1) * PAGE,
					      MREMAP_MAYMOVE | MREMAP_FIXED |
					      MREMAP_DONTUNMAP | (i ? RELOCATE : 0), to) == to;
			if (!moved[i])
				ck_assert_int_eq(errno, ENOMEM);
			write_file("/proc/sys/vm/max_map_count", "65530");
			if (moved[i])
				check_from(to, (N - 1) * PAGE, 1, 1);
			ck_assert_int_eq(munmap(p, N * PAGE), 0);
			ck_assert_int_eq(munmap(to, (N - 1) * PAGE), 0);
		}
		ck_assert_int_eq(moved[1], moved[0]);
		refused += !moved[0];
		if (moved[0])
			relocated += (int)(counters().relocate - before);
	}
	ck_assert_int_gt(refused, 0);
	/* All but the first mapping. */
	ck_assert_int_eq(relocated, (20 - refused) * (N - 2));
}
END_TEST

/* After hundreds of calls all that is counted is what it was. */
START_TEST(accounting)
{
	const int rounds = kernel_is_slow() ? 50 : 500;
	const bool alone = accounts[_i].kind != PRIVATE &&
			   accounts[_i].kind != LOCKED;
	char *p = arena + 16 * LEN, text[24];
	struct account before, after;
	struct child child = { 0 };

	if (kernel_before_7() && (accounts[_i].calls == as_two ||
				  (accounts[_i].kind == OF_FILE &&
				   accounts[_i].calls != falls_back)))
		return;
	if (accounts[_i].kind == SHARED)
		ck_assert_ptr_eq(mmap(p, LEN, RW, MAP_SHARED | MAP_ANONYMOUS |
				      MAP_FIXED_NOREPLACE, -1, 0), p);
	else if (accounts[_i].kind == OF_FILE)
		map_file(p, LEN, new_file(LEN), 0);
	else
		map_at(p, LEN);
	if (!alone) {
		map_filled(p + 3 * LEN, 3 * LEN, 2);
		ck_assert_int_eq(munmap(p + 4 * LEN, LEN), 0);
	}
	if (accounts[_i].kind == LOCKED) {
		ck_assert_int_eq(mlock(p, LEN), 0);
		ck_assert_int_eq(mlock(p + 3 * LEN, LEN), 0);
		ck_assert_int_eq(mlock(p + 5 * LEN, LEN), 0);
	}
	fill(p, LEN, 1);
	if (accounts[_i].kind == WITH_CHILD && child_start(&child)) {
		child_wait(&child);
		check(p, LEN, 1);
		_exit(0);
	}

	accounts[_i].calls(p);
	before = account();
	before = account();	/* by now all its own pages are there */
	/* The kernel's own count of mappings is seen only when it is too high. */
	snprintf(text, sizeof(text), "%ld", before.maps + 20);
	write_file("/proc/sys/vm/max_map_count", text);
	for (int i = 0; i < rounds; i++)
		accounts[_i].calls(p);
	write_file("/proc/sys/vm/max_map_count", "65530");
	after = account();

	ck_assert_int_eq(after.maps, before.maps);
	ck_assert_int_eq(after.total, before.total);
	ck_assert_int_eq(after.data, before.data);
	ck_assert_int_eq(after.locked, before.locked);
	ck_assert_int_eq(after.rss, before.rss);
	ck_assert_int_eq(after.committed, before.committed);

	check(p, LEN, 1);
	if (accounts[_i].kind == WITH_CHILD)
		child_end(&child);
	ck_assert_int_eq(munlock(p, LEN), 0);
	if (accounts[_i].kind != SHARED)
		check_rmap(p, LEN, 1);
	if (!alone) {
		check(p + 3 * LEN, LEN, 2);
		check_from(p + 5 * LEN, LEN, 2, 16);
	}
}
END_TEST

/* ---- special mappings ------------------------------------------------------- */

#ifndef MAP_DROPPABLE
#define MAP_DROPPABLE 0x08
#endif

/*
 * Named, growing down, droppable: both halves change places, and are one mapping there,
 * of the same kind.
 */
START_TEST(kinds_of_mapping)
{
	static const struct {
		int flags;
		const char *smaps;	/* Flags that name it. */
	} kinds[] = {
		{ ANON, "rd wr mr mw me ac " },
		{ ANON | MAP_GROWSDOWN, "gd " },
		{ MAP_ANONYMOUS | MAP_DROPPABLE, "dp " },
	};
	const size_t half = 16 * PAGE;
	char *p = arena + 64 * PAGE, *to = arena + 256 * PAGE, flags[32];

	ck_assert_ptr_eq(mmap(p, 2 * half, RW, kinds[_i].flags | MAP_FIXED_NOREPLACE, -1, 0), p);
	if (!_i)
		assert_quietly(!prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, p, 2 * half, "some name"));
	fill(p, half, 1);
	fill(p + half, half, 2);
	move_to(p, half, to + half, MUST);
	move_to(p + half, half, to, MUST);
	ck_assert_int_eq(mappings(to, 2 * half), 1);
	check(to, half, 2);
	check(to + half, half, 1);
	if (!_i)
		ck_assert_ptr_nonnull(strstr(read_file("/proc/self/maps"), "[anon:some name]"));
	snprintf(flags, sizeof(flags), "%s", kinds[_i].smaps);
	ck_assert_ptr_nonnull(strstr(read_file("/proc/self/smaps"), flags));
	/* What can be dropped is, instead of being paged out. */
	if (_i < 2)
		check_rmap(to, half, 2);
	else
		check_migrates(to, 2 * half);
}
END_TEST

/* With another name it cannot merge yet, but when it has the same. */
START_TEST(merges_when_renamed)
{
	const size_t len = 8 * PAGE;
	char *p = map_filled(arena + 64 * PAGE, len, 1), *to = arena + 4 * PAGE;

	map_filled(to - PAGE, PAGE, 77);
	assert_quietly(!prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, p, len, "some name"));
	move_to(p, len, to, MUST);
	ck_assert_int_eq(mappings(to - PAGE, len + PAGE), 2);
	assert_quietly(!prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, to, len, NULL));
	ck_assert_int_eq(mappings(to - PAGE, len + PAGE), 1);
	check_rmap(to, len, 1);
}
END_TEST

/* What a move cuts off its source is gone, and no neighbour where it moves to. */
START_TEST(shrinks_behind_itself)
{
	/* Not so near that the own anon_vma would be avoided anyway */
	const size_t len = HUGE;
	char *p = map_filled(arena + 64 * PAGE, 2 * len, 1), *to = p + 2 * len;

	map_filled(to + len, PAGE, 77);
	ck_assert_ptr_eq(sys_mremap(p, 2 * len, len, MREMAP_MAYMOVE | MREMAP_FIXED | MUST, to), to);
	ck_assert_int_eq(mappings(p, 2 * len), 0);
	ck_assert_int_eq(mappings(to, len + PAGE), 1);
	check_rmap(to, len, 1);
}
END_TEST

/* -------------------------------------------------------------------------- */

static void add_files(TCase *tc)
{
	tcase_add_loop_test(tc, private_file_unwritten, 0, 3);
	if (kernel_before_7())
		return;
	tcase_add_loop_test(tc, private_file, 0, 4);
	tcase_add_loop_test(tc, private_file_of_9p, 0, 3);
	tcase_add_loop_test(tc, private_file_probed, 0, 3);
	tcase_add_loop_test(tc, private_file_merges, 0, 3);
	tcase_add_test(tc, private_file_does_not_merge);
	tcase_add_test(tc, private_file_out_and_back);
	tcase_add_test(tc, private_file_truncated);
	tcase_add_loop_test(tc, private_file_huge, 0, 2);
	tcase_add_loop_test(tc, private_zero, 0, 3);
}

int main(void)
{
	Suite *s = suite_create("relocate");
	TCase *tc = add_case(s, "flags");

	tcase_add_test(tc, flag_validation);

	tc = add_case(s, "merging");
	tcase_add_loop_test(tc, merge_previous, 0, 3);
	tcase_add_loop_test(tc, merge_next, 0, 3);
	tcase_add_loop_test(tc, merge_both, 0, 3);
	tcase_add_loop_test(tc, merge_between_strangers, 0, 3);
	tcase_add_test(tc, merge_unfaulted_neighbours);
	tcase_add_test(tc, plain_does_not_merge);
	tcase_add_test(tc, merge_later);
	tcase_add_test(tc, partial_move_merges_back);
	if (!kernel_before_7()) {
		tcase_add_loop_test(tc, several_vmas, 0, 3);
		tcase_add_loop_test(tc, several_vmas_with_gap, 0, 3);
	}
	tcase_add_loop_test(tc, over_several_vmas, 0, 3);
	tcase_add_loop_test(tc, sparse, 0, 2);

	tcase_add_loop_test(tc, kinds_of_mapping, 0, 3);
	tcase_add_test(tc, merges_when_renamed);
	tcase_add_test(tc, shrinks_behind_itself);

	tc = add_case(s, "itself");
	tcase_add_test(tc, behind_itself);
	tcase_add_test(tc, part_behind_itself);
	tcase_add_test(tc, before_itself_behind_unfaulted);
	tcase_add_test(tc, fixed_within_itself);

	tc = add_case(s, "sizes");
	tcase_add_loop_test(tc, grow_moves, 0, 3);
	tcase_add_loop_test(tc, shrink_moves, 0, 3);
	tcase_add_loop_test(tc, not_needed, 0, 3);
	tcase_add_loop_test(tc, back_among_others, 0, 3);
	if (!kernel_before_7())
		tcase_add_test(tc, back_home_shared);
	tcase_add_test(tc, plain_out_and_back);
	tcase_add_loop_test(tc, relocate_out_and_back, 0, 2);

	tc = add_case(s, "refused");
	tcase_add_test(tc, fallback_shared_anonymous);
	tcase_add_test(tc, fallback_shared_file);
	tcase_add_test(tc, fallback_hugetlb);
	tcase_add_test(tc, fallback_special);
	if (!kernel_before_7())
		tcase_add_test(tc, fallback_several_vmas);

	add_files(add_case(s, "files"));

	tc = add_case(s, "dontunmap");
	tcase_add_loop_test(tc, dontunmap, 0, 3);
	tcase_add_loop_test(tc, dontunmap_next_to_itself, 0, 2);
	tcase_add_test(tc, dontunmap_part_next_to_itself);
	if (!kernel_before_7()) {
		tcase_add_loop_test(tc, dontunmap_several, 0, 3);
		tcase_add_loop_test(tc, dontunmap_before_the_next, 0, 3);
	}
	tcase_add_loop_test(tc, dontunmap_locked, 0, 3);

	tc = add_case(s, "counters");
	tcase_add_loop_test(tc, counted, 0, 3);
	tcase_add_test(tc, traced);
	tcase_add_loop_test(tc, accounting, 0, ARRAY_SIZE(accounts));
	tcase_add_loop_test(tc, near_the_limit, 0, 2);
	if (!kernel_before_7())
		tcase_add_test(tc, several_near_the_limit);

	return run_guest_suite(s);
}
