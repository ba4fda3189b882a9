// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Pages that others use too: a parent, a child, a grandchild, by a mapping or by
 * a swap entry, or whoever KSM found to have the same. Decided page by page.
 */
#include "relocate.h"
#include "ksm.h"

#include <sys/time.h>
#include <time.h>

#define LEN (16 * PAGE)

/* Where a range is, and where it goes to. */
#define FROM (arena + 64 * PAGE)
#define TO (arena + 4 * PAGE)
#define THEN (arena + 128 * PAGE)

/* ---- shared ---------------------------------------------------------------- */

START_TEST(fallback_parent)
{
	char *p = map_filled(FROM, LEN, 1);
	struct child child;

	if (child_start(&child)) {
		child_wait(&child);
		check(p, LEN, 1);
		_exit(0);
	}
	check_fallback(p, LEN, 1, TO, "shared");
	child_end(&child);
	check_rmap(TO, LEN, 1);
}
END_TEST

START_TEST(fallback_child)
{
	char *p = map_filled(FROM, LEN, 1);
	struct child child;

	if (child_start(&child)) {
		check_fallback(p, LEN, 1, TO, "shared");
		_exit(0);
	}
	child_end(&child);
	check_rmap(p, LEN, 1);
}
END_TEST

/* A grandchild keeps the pages shared after the child has gone. */
START_TEST(fallback_grandchild)
{
	char *p = map_filled(FROM, LEN, 1), c;
	int go[2], ready[2], status;
	pid_t pid;

	ck_assert_int_eq(pipe(go), 0);
	ck_assert_int_eq(pipe(ready), 0);
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (!pid) {
		if (fork())
			_exit(0);
		close(go[1]);
		(void)!write(ready[1], "", 1);
		(void)!read(go[0], &c, 1);
		check(p, LEN, 1);
		(void)!write(ready[1], "", 1);
		_exit(0);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(read(ready[0], &c, 1), 1);
	check_fallback(p, LEN, 1, TO, "shared");
	close(go[1]);
	ck_assert_int_eq(read(ready[0], &c, 1), 1);
}
END_TEST

/* In the grandchild, of pages that the child has but not the parent any more. */
START_TEST(fallback_in_grandchild)
{
	char *p = map_filled(FROM, LEN, 1);
	struct child child, grandchild;

	if (child_start(&child)) {
		fill(p, LEN, 2);
		if (child_start(&grandchild)) {
			child_wait(&grandchild);
			check_fallback(p, LEN, 2, TO, "shared");
			_exit(0);
		}
		child_wait(&child);
		child_end(&grandchild);
		check_rmap(p, LEN, 2);
		_exit(0);
	}
	fill(p, LEN, 3);
	child_end(&child);
	check_rmap(p, LEN, 3);
}
END_TEST

/* One page of all is shared: the others relocate only without it. */
START_TEST(fallback_one_page)
{
	char *p = map_filled(FROM, LEN, 1);
	struct child child;

	if (child_start(&child)) {
		child_wait(&child);
		check(p, LEN, 1);
		_exit(0);
	}
	fill(p, 7 * PAGE, 2);
	fill_from(p + 8 * PAGE, 8 * PAGE, 3, 8);
	check_refused(p, LEN, TO, "shared");
	/* Those before the obstacle have been switched, and back. */
	check_migrates(p, LEN);
	ck_assert_int_eq(munmap(TO, LEN), 0);
	relocate(p, 7 * PAGE, TO);
	relocate(p + 8 * PAGE, 8 * PAGE, TO + 40 * PAGE);
	check_falls_back(p + 7 * PAGE, PAGE, TO + 20 * PAGE, "shared");
	check_from(TO + 20 * PAGE, PAGE, 1, 7);
	check_rmap(TO, 7 * PAGE, 2);
	check_rmap_from(TO + 40 * PAGE, 8 * PAGE, 3, 8);
	child_end(&child);
}
END_TEST

/* By a PMD, or as parts of large folios. */
START_TEST(fallback_large)
{
	const bool huge = _i & 1;
	const size_t size = huge ? HUGE : 64 << 10, len = 2 * size;
	char *p = arena + 16 * HUGE, *to = arena + 2 * HUGE + (_i & 2 ? 5 * PAGE : 0);
	struct child child;

	if (huge)
		map_huge(p, len, 1);
	else
		map_large(p, len, size, 1);
	if (child_start(&child)) {
		child_wait(&child);
		check(p, len, 1);
		_exit(0);
	}
	check_fallback(p, len, 1, to, "shared");
	child_end(&child);
	/* Nobody shares them now. */
	p = arena + 32 * HUGE;
	relocate_advised(to, len, p, SETTLED);
	check_rmap(p, len, 1);
}
END_TEST

/* Shared by swap entry: both have one, swapped out before or after the fork. */
START_TEST(fallback_swapped)
{
	char *p = FROM;
	struct child child;

	enter_cgroup();
	map_filled(p, LEN, 1);
	if (_i)
		page_out(p, LEN);
	if (child_start(&child)) {
		child_wait(&child);
		check(p, LEN, 1);
		_exit(0);
	}
	if (!_i)
		reclaim(p, LEN, count_present);
	ck_assert_uint_eq(count_pages(p, LEN, SWAPPED), LEN / PAGE);
	check_falls_back(p, LEN, TO, "shared");
	child_end(&child);
	/* The child has gone, so has its reference. */
	relocate(TO, LEN, THEN);
	check_rmap(THEN, LEN, 1);
}
END_TEST

/* The page is mapped here and nowhere else, but a child has its swap entry. */
START_TEST(fallback_mapped_and_swapped)
{
	char *p = map_filled(FROM, LEN, 1);
	struct child child;

	page_out(p, LEN);
	if (child_start(&child)) {
		child_wait(&child);
		check(p, LEN, 1);
		_exit(0);
	}
	check(p, LEN, 1);
	ck_assert_uint_eq(count_pages(p, LEN, PRESENT), LEN / PAGE);
	ck_assert(kpageflags(p) & KPF_SWAPCACHE);
	check_fallback(p, LEN, 1, TO, "shared");
	child_end(&child);
	relocate(TO, LEN, THEN);
	check_rmap(THEN, LEN, 1);
}
END_TEST

/* The other way round: swapped here, mapped there. */
START_TEST(fallback_swapped_and_mapped)
{
	char *p = map_filled(FROM, LEN, 1), c;
	struct child child;
	int ready[2];

	ck_assert_int_eq(pipe(ready), 0);
	page_out(p, LEN);
	if (child_start(&child)) {
		check(p, LEN, 1);
		(void)!write(ready[1], "", 1);
		child_wait(&child);
		check(p, LEN, 1);
		_exit(0);
	}
	ck_assert_int_eq(read(ready[0], &c, 1), 1);
	ck_assert_uint_eq(count_pages(p, LEN, SWAPPED), LEN / PAGE);
	check_falls_back(p, LEN, TO, "shared");
	check(TO, LEN, 1);
	child_end(&child);
	relocate(TO, LEN, THEN);
	check_rmap(THEN, LEN, 1);
}
END_TEST

/* Behind a large folio of ours of which not all is there. */
START_TEST(fallback_swapped_behind_large)
{
	const size_t size = 64 << 10;
	char *p = map_at(arena + 16 * HUGE, 2 * size), *to = arena + 24 * HUGE;
	struct child child;

	advise(p, 2 * size, SETTLED);
	fill(p + size, size, 1);
	page_out(p + size, size);
	if (child_start(&child)) {
		child_wait(&child);
		_exit(0);
	}
	fill_large(p, size, size, 2);
	advise(p + size - PAGE, PAGE, MADV_DONTNEED);
	check_falls_back(p, 2 * size, to, "shared");
	check(to, size - PAGE, 2);
	check(to + size, size, 1);
	child_end(&child);
}
END_TEST

/* What was written to a private mapping of a file, and shared since. */
START_TEST(fallback_file)
{
	char *p = FROM;
	int fd = memfd_create("file", 0);
	struct child child;

	ck_assert_int_eq(ftruncate(fd, LEN), 0);
	ck_assert_ptr_eq(mmap(p, LEN, RW, MAP_PRIVATE | MAP_FIXED_NOREPLACE, fd, 0),
			 p);
	fill(p, LEN / 2, 1);
	check_zero(p + LEN / 2, LEN / 2);
	if (child_start(&child)) {
		/* The page cache, which all share, is no reason to fall back. */
		move_to(p + LEN / 2, LEN / 2, TO + LEN, MUST);
		check_zero(TO + LEN, LEN / 2);
		check_fallback(p, LEN / 2, 1, TO, "shared");
		_exit(0);
	}
	child_end(&child);
	move_to(p, LEN / 2, TO, MUST);
	check_rmap(TO, LEN / 2, 1);
}
END_TEST

/* With MUST for two VMAs, one of them shared, neither moves. */
START_TEST(fallback_several)
{
	char *p = map_filled(FROM, LEN, 1);
	struct child child;

	advise(p, LEN / 2, MADV_DONTFORK);
	if (child_start(&child)) {
		child_wait(&child);
		check_from(p + LEN / 2, LEN / 2, 1, 8);
		_exit(0);
	}
	ck_assert_int_eq(mappings(p, LEN), 2);
	map_filled(TO, LEN, 99);
	assert_mremap_fails(EFAULT, p, LEN, LEN, MREMAP_MAYMOVE | MREMAP_FIXED |
			    MUST, TO);
	check(TO, LEN, 99);
	check(p, LEN, 1);
	ck_assert_int_eq(mappings(p, LEN), 2);
	check_migrates(p, LEN);
	/* The first alone can. */
	ck_assert_int_eq(munmap(TO, LEN), 0);
	move_to(p, LEN / 2, TO, MUST);
	check_rmap(TO, LEN / 2, 1);
	move_to(TO, LEN / 2, p, MUST);
	move_to(p, LEN, TO, RELOCATE);
	check(TO, LEN, 1);
	child_end(&child);
	check_rmap(TO, LEN, 1);
}
END_TEST

/* Falling back keeps the source if asked to. */
START_TEST(fallback_dontunmap)
{
	char *p = map_filled(FROM, LEN, 1);
	struct counters before, after;
	struct child child;

	if (child_start(&child)) {
		child_wait(&child);
		check(p, LEN, 1);
		_exit(0);
	}
	assert_mremap_fails(EFAULT, p, LEN, LEN, MREMAP_MAYMOVE | MREMAP_FIXED |
			    MREMAP_DONTUNMAP | MUST, TO);
	ck_assert_uint_eq(count_pages(p, LEN, PRESENT), LEN / PAGE);
	ck_assert_int_eq(mappings(TO, LEN), 0);
	before = counters();
	move_to(p, LEN, TO, MREMAP_DONTUNMAP | RELOCATE);
	after = counters();
	ck_assert_int_eq(after.fallback, before.fallback + 1);
	ck_assert_uint_eq(count_pages(p, LEN, PRESENT), 0);
	check(TO, LEN, 1);
	child_end(&child);
	fill(p, LEN, 2);
	check_rmap(p, LEN, 2);
	check_rmap(TO, LEN, 1);
}
END_TEST

/* Growing in place moves nothing; where that cannot be done it must move. */
START_TEST(fallback_grows)
{
	char *p = map_filled(FROM, LEN, 1), *q;
	struct child child;

	if (child_start(&child)) {
		child_wait(&child);
		check(p, LEN, 1);
		_exit(0);
	}
	ck_assert_ptr_eq(sys_mremap(p, LEN, LEN + PAGE, MREMAP_MAYMOVE | MUST,
				    NULL), p);
	map_at(p + LEN + PAGE, PAGE);
	assert_mremap_fails(EFAULT, p, LEN + PAGE, LEN + 2 * PAGE,
			    MREMAP_MAYMOVE | MUST, NULL);
	ck_assert_int_eq(mappings(p, LEN + PAGE), 1);
	q = sys_mremap(p, LEN + PAGE, LEN + 2 * PAGE, MREMAP_MAYMOVE | RELOCATE,
		       NULL);
	ck_assert_ptr_ne(q, MAP_FAILED);
	ck_assert_ptr_ne(q, p);
	check(q, LEN, 1);
	check_zero(q + LEN, 2 * PAGE);
	child_end(&child);
	check_rmap(q, LEN, 1);
	munmap(q, LEN + 2 * PAGE);
}
END_TEST

/* ---- ours alone ------------------------------------------------------------- */

/* The family is there, but the pages were written to since: these are ours. */
START_TEST(written_by_parent)
{
	char *p = map_filled(FROM, LEN, 1);
	struct child child;

	if (child_start(&child)) {
		child_wait(&child);
		check_rmap(p, LEN, 1);
		_exit(0);
	}
	fill(p, LEN, 2);
	relocate(p, LEN, TO);
	check_rmap(TO, LEN, 2);
	child_end(&child);
	relocate(TO, LEN, FROM);
	check_rmap(FROM, LEN, 2);
}
END_TEST

START_TEST(written_by_child)
{
	char *p = map_filled(FROM, LEN, 1);
	struct child child;

	if (child_start(&child)) {
		fill(p, LEN, 2);
		relocate(p, LEN, TO);
		check_rmap(TO, LEN, 2);
		_exit(0);
	}
	child_end(&child);
	check_rmap(p, LEN, 1);
	relocate(p, LEN, TO);
	check_rmap(TO, LEN, 1);
}
END_TEST

/*
 * The parent wrote, so its child has the first pages alone. They are the
 * parent's in all but that: not marked exclusive, and of its anon_vma.
 */
START_TEST(left_to_child)
{
	char *p = map_filled(FROM, LEN, 1), c;
	struct child child;
	int go[2];

	ck_assert_int_eq(pipe(go), 0);
	if (child_start(&child)) {
		(void)!read(go[0], &c, 1);
		relocate(p, LEN, TO);
		check_rmap(TO, LEN, 1);
		child_wait(&child);
		relocate(TO, LEN, FROM);
		check_rmap(FROM, LEN, 1);
		_exit(0);
	}
	fill(p, LEN, 2);
	(void)!write(go[1], "", 1);
	child_end(&child);
	check_rmap(p, LEN, 2);
}
END_TEST

/* The parent unmapped them, moved away, or has gone. */
START_TEST(left_to_grandchild)
{
	char *p = map_filled(FROM, LEN, 1), c;
	struct child child, grandchild;
	int done[2];

	ck_assert_int_eq(pipe(done), 0);
	if (child_start(&child)) {
		const pid_t parent = getpid();

		if (child_start(&grandchild)) {
			child_wait(&child);
			while (getppid() == parent)
				usleep(1000);
			relocate(p, LEN, TO);
			check_rmap(TO, LEN, 1);
			(void)!write(done[1], "", 1);
		}
		_exit(0);
	}
	close(done[1]);
	ck_assert_int_eq(munmap(p, LEN), 0);
	child_end(&child);
	ck_assert_int_eq(read(done[0], &c, 1), 1);
}
END_TEST

/* Not marked exclusive, but nobody shares them any more. */
START_TEST(child_has_gone)
{
	const int kind = _i;
	char *p = arena + 16 * HUGE, *to = arena + 2 * HUGE + 4 * PAGE;
	const size_t len = kind == 2 ? HUGE : 32 * PAGE;
	struct child child;

	if (kind == 2)
		map_huge(p, len, 1);
	else if (kind == 1)
		map_large(p, len, 64 << 10, 1);
	else
		map_filled(p, len, 1);
	if (child_start(&child)) {
		check(p, len, 1);
		_exit(0);
	}
	child_end(&child);
	relocate_advised(p, len, to, kind ? SETTLED : 0);
	if (kind)
		ck_assert_uint_eq(count_in_folios(to, len, kind == 2 ? 512 : 16),
				  len / PAGE);
	check_rmap(to, len, 1);
}
END_TEST

/* Pages of all sorts in the same range, none of them shared. */
START_TEST(mixed)
{
	char *p = map_filled(FROM, LEN, 1);
	struct child child;

	if (child_start(&child)) {
		/* 0-3 ours anew, 4-7 not there, the rest left to us. */
		fill(p, 4 * PAGE, 2);
		advise(p + 4 * PAGE, 4 * PAGE, MADV_DONTNEED);
		child_wait(&child);
		relocate(p, LEN, TO);
		check_zero(TO + 4 * PAGE, 4 * PAGE);
		check_rmap(TO, 4 * PAGE, 2);
		check_rmap_from(TO + 8 * PAGE, 8 * PAGE, 1, 8);
		_exit(0);
	}
	fill_from(p + 8 * PAGE, 8 * PAGE, 3, 8);
	child_end(&child);
	check_from(p, 8 * PAGE, 1, 0);
	check_rmap_from(p + 8 * PAGE, 8 * PAGE, 3, 8);
}
END_TEST

/* Swapped out since it was written to: the entry is ours alone. */
START_TEST(swapped_exclusive)
{
	char *p = map_filled(FROM, LEN, 1);
	struct child child;

	if (child_start(&child)) {
		child_wait(&child);
		check(p, LEN, 1);
		_exit(0);
	}
	fill(p, LEN, 2);
	page_out(p, LEN);
	ck_assert_uint_eq(count_pages(p, LEN, SWAPPED), LEN / PAGE);
	relocate(p, LEN, TO);
	check_rmap(TO, LEN, 2);
	child_end(&child);
}
END_TEST

/* Part of a huge page was written to and is ours in small pages. */
START_TEST(huge_written_in_part)
{
	char *p = map_huge(arena + 16 * HUGE, HUGE, 1), *to = arena + 2 * HUGE;
	struct child child;

	if (child_start(&child)) {
		child_wait(&child);
		check(p, HUGE, 1);
		_exit(0);
	}
	fill(p, HUGE / 2, 2);
	check_refused(p, HUGE, to, "shared");
	ck_assert_int_eq(munmap(to, HUGE), 0);
	relocate_advised(p, HUGE / 2, to, SETTLED);
	check_from(p + HUGE / 2, HUGE / 2, 1, 256);
	child_end(&child);
	check_rmap(to, HUGE / 2, 2);
	/* The other half's folio was the child's too, of which it is left. */
	relocate_advised(p + HUGE / 2, HUGE / 2, to + 2 * HUGE, SETTLED);
	check_rmap_from(to + 2 * HUGE, HUGE / 2, 1, 256);
}
END_TEST

/*
 * A child dropped half of a large folio: the pages of that half are ours alone,
 * their folio is not. Whatever the answer, it holds for all or none.
 */
START_TEST(large_shared_in_part)
{
	const size_t size = _i ? HUGE : 64 << 10, half = size / 2;
	char *p = arena + 16 * HUGE, *to = arena + 2 * HUGE, c;
	struct child child;
	int ready[2];

	if (_i)
		map_huge(p, size, 1);
	else
		map_large(p, size, size, 1);
	ck_assert_int_eq(pipe(ready), 0);
	if (child_start(&child)) {
		ck_assert_int_eq(munmap(p, half), 0);
		(void)!write(ready[1], "", 1);
		child_wait(&child);
		check_from(p + half, half, 1, half / PAGE);
		_exit(0);
	}
	ck_assert_int_eq(read(ready[0], &c, 1), 1);
	check_refused(p, size, to, "shared");
	if (sys_mremap(p, half, half, MREMAP_MAYMOVE | MREMAP_FIXED | MUST, to) ==
	    MAP_FAILED) {
		ck_assert_int_eq(errno, EFAULT);
		check_from(to, size, 99, 0);
		check(p, size, 1);
		move_to(p, half, to, RELOCATE);
	}
	check(to, half, 1);
	check_from(p + half, half, 1, half / PAGE);
	child_end(&child);
	ck_assert_int_eq(munmap(to + half, half), 0);
	check_rmap(to, half, 1);
	check_rmap_from(p + half, half, 1, half / PAGE);
}
END_TEST

/* What is shared is cut off by the move, what moves is not. */
START_TEST(shrinks_to_exclusive)
{
	char *p = map_filled(FROM, LEN, 1);
	struct child child;

	if (child_start(&child)) {
		child_wait(&child);
		check(p, LEN, 1);
		_exit(0);
	}
	fill(p, LEN / 2, 2);
	map_filled(TO - PAGE, PAGE, 77);
	map_filled(TO, LEN, 99);
	assert_mremap_fails(EFAULT, p, LEN, LEN / 2 + PAGE, MREMAP_MAYMOVE |
			    MREMAP_FIXED | MUST, TO);
	assert_mremap_fails(EFAULT, p, LEN, LEN + PAGE, MREMAP_MAYMOVE |
			    MREMAP_FIXED | MUST, TO);
	check(TO, LEN, 99);
	ck_assert_int_eq(munmap(TO, LEN), 0);
	ck_assert_uint_eq(count_pages(p, LEN, PRESENT), LEN / PAGE);
	ck_assert_ptr_eq(sys_mremap(p, LEN, LEN / 2, MREMAP_MAYMOVE |
				    MREMAP_FIXED | MUST, TO), TO);
	ck_assert_int_eq(mappings(TO - PAGE, LEN), 1);
	ck_assert_int_eq(mappings(p, LEN), 0);
	check_rmap(TO, LEN / 2, 2);
	child_end(&child);
}
END_TEST

/* What a child does not get is not shared. */
START_TEST(not_inherited)
{
	char *p = map_filled(FROM, LEN, 1);
	struct child child;

	advise(p, LEN, _i ? MADV_WIPEONFORK : MADV_DONTFORK);
	if (child_start(&child)) {
		child_wait(&child);
		_exit(0);
	}
	advise(p, LEN, _i ? MADV_KEEPONFORK : MADV_DOFORK);
	relocate(p, LEN, TO);
	check_rmap(TO, LEN, 1);
	child_end(&child);
}
END_TEST

/* Relocated, then inherited, then written to, then relocated there, and so on. */
START_TEST(generations)
{
	char *p = map_filled(FROM, LEN, 1), *places[] = { TO, FROM, TO + 128 * PAGE };
	struct child child;

	for (unsigned int i = 0; i < 6; i++) {
		char *to = places[i % 3];

		fill(p, LEN, i);
		/* Alternately those that fork and those that are forked. */
		relocate(p, LEN, to);
		if (child_start(&child)) {
			if (i & 1) {
				child_wait(&child);
				check_rmap(to, LEN, i);
				_exit(0);
			}
			fill(to, LEN / 2, 100);
			ck_assert_int_eq(munmap(to - PAGE, PAGE), 0);
			check_refused(to, LEN, arena + 300 * PAGE, "shared");
			relocate(to, LEN / 2, arena + 400 * PAGE);
			check_rmap(arena + 400 * PAGE, LEN / 2, 100);
			/* Go on with what is left. */
			relocate(arena + 400 * PAGE, LEN / 2, to);
			check_rmap(to, LEN / 2, 100);
			_exit(0);
		}
		if (!(i & 1)) {
			child_end(&child);
		} else {
			fill(to, LEN, i + 50);
			ck_assert_int_eq(munmap(to - PAGE, PAGE), 0);
			relocate(to, LEN, arena + 500 * PAGE);
			child_end(&child);
			check_rmap(arena + 500 * PAGE, LEN, i + 50);
			relocate(arena + 500 * PAGE, LEN, to);
			ck_assert_int_eq(munmap(arena + 500 * PAGE - PAGE, PAGE), 0);
		}
		ck_assert_int_eq(munmap(to - PAGE, PAGE), 0);
		p = to;
	}
}
END_TEST

/* ---- KSM --------------------------------------------------------------------- */

/* Merged pages, two contents, are broken up; so each can be found and differ. */
START_TEST(ksm)
{
	char *p = map_same(FROM, LEN, 2), *to = TO;

	ksm_merge(p, LEN, KPF_KSM);
	relocate_advised(p, LEN, to, MADV_MERGEABLE);
	for (size_t i = 0; i < LEN; i += PAGE)
		ck_assert(!(kpageflags(to + i) & KPF_KSM));
	check_same(to, LEN, 2);
	check_found(to, LEN);
	check_same(to, LEN, 2);
	fill(to, LEN, 1);
	check_rmap(to, LEN, 1);
	/* And may merge again. */
	ck_assert_int_eq(munmap(to, LEN), 0);
	write_file("/sys/kernel/mm/ksm/run", "2");
}
END_TEST

/* Only a part of what is merged moves. */
START_TEST(ksm_in_part)
{
	char *p = map_same(FROM, LEN, 2), *to = TO;

	ksm_merge(p, LEN, KPF_KSM);
	relocate_advised(p + 4 * PAGE, 8 * PAGE, to, MADV_MERGEABLE);
	check_same(to, 8 * PAGE, 2);
	check_same(p, 4 * PAGE, 2);
	check_same(p + 12 * PAGE, 4 * PAGE, 2);
	check_found(to, 8 * PAGE);
	check_same(to, 8 * PAGE, 2);
	write_file("/sys/kernel/mm/ksm/run", "2");
}
END_TEST

/*
 * Only a child lets KSM merge, and with its pages those that its parent still shares with
 * it: they are KSM's in the parent, too, also when the child has gone.
 */
START_TEST(ksm_by_child)
{
	char *p = map_at(FROM, LEN), *to = TO;
	struct child child;

	for (size_t i = 0; i < LEN; i += PAGE)
		memset(p + i, 1 + (int)(i / PAGE) % 2, PAGE);
	if (child_start(&child)) {
		advise(p, LEN, MADV_MERGEABLE);
		ksm_merge(p, LEN, KPF_KSM);
		child_wait(&child);
		_exit(0);
	}
	for (long waited = 0; !count_flagged(p, LEN, KPF_KSM) && wait_more(&waited, 5000);)
		;
	ck_assert_uint_gt(count_flagged(p, LEN, KPF_KSM), 0);
	check_falls_back(p, LEN, to, "shared");
	check_same(to, LEN, 2);
	child_end(&child);
	ck_assert_uint_gt(count_flagged(to, LEN, KPF_KSM), 0);
	check_falls_back(to, LEN, THEN, "shared");
	check_same(THEN, LEN, 2);
	/* With copies of its own it can be relocated. */
	fill(THEN, LEN, 1);
	relocate(THEN, LEN, to);
	check_rmap(to, LEN, 1);
	write_file("/sys/kernel/mm/ksm/run", "2");
}
END_TEST

/* KSM may use the zero page for what is all zeros, and counts how often. */
START_TEST(ksm_zero_pages)
{
	char *p = map_at(FROM, LEN), *to = TO;

	for (size_t i = 0; i < LEN; i += PAGE)
		*(volatile char *)(p + i) = 0;
	advise(p, LEN, MADV_MERGEABLE);
	write_file("/sys/kernel/mm/ksm/use_zero_pages", "1");
	ksm_merge(p, LEN, KPF_ZERO_PAGE);
	ck_assert_int_ge(ksm_number("ksm_zero_pages"), 16);
	write_file("/sys/kernel/mm/ksm/use_zero_pages", "0");
	relocate_advised(p, LEN, to, MADV_MERGEABLE);
	check_zero(to, LEN);
	fill(to, LEN, 1);
	check_rmap(to, LEN, 1);
	ck_assert_int_eq(ksm_number("ksm_zero_pages"), 0);
	write_file("/sys/kernel/mm/ksm/run", "2");
}
END_TEST

/*
 * Map pages, have them merged and swapped out. Now and then one cannot be reclaimed,
 * as when it is one that KSM knows from before, of another cgroup.
 */
static void swap_out_merged(char *addr, size_t size, int contents)
{
	for (int i = 0; i < 20; i++) {
		map_same(addr, size, contents);
		ksm_merge(addr, size, KPF_KSM);
		if (try_reclaim(addr, size, count_present)) {
			ck_assert_uint_eq(count_pages(addr, size, SWAPPED),
					  size / PAGE);
			return;
		}
		ck_assert_int_eq(munmap(addr, size), 0);
		write_file("/sys/kernel/mm/ksm/run", "2");
	}
	ck_abort_msg("merged pages cannot be swapped out");
}

/* Merged, then swapped out: several entries for one page, and all of them ours. */
START_TEST(ksm_swapped)
{
	char *p = FROM, *to = TO;

	enter_cgroup();
	swap_out_merged(p, LEN, 2);
	if (_i)
		check_same(p, 4 * PAGE, 2);
	/* All or nothing; what matters is what is found afterwards. */
	map_filled(to, LEN, 99);
	if (sys_mremap(p, LEN, LEN, MREMAP_MAYMOVE | MREMAP_FIXED | MUST, to) ==
	    MAP_FAILED) {
		ck_assert_int_eq(errno, EFAULT);
		check(to, LEN, 99);
		move_to(p, LEN, to, RELOCATE);
	}
	check_same(to, LEN, 2);
	check_found(to, LEN);
	check_same(to, LEN, 2);
	fill(to, LEN, 1);
	check_rmap(to, LEN, 1);
	write_file("/sys/kernel/mm/ksm/run", "2");
}
END_TEST

/*
 * The same with one content: several entries in a row for one page, which is mapped
 * by the first and in the swap cache for the others. It has only one index.
 */
START_TEST(ksm_swapped_in_a_row)
{
	const size_t size = (_i ? 32 : 8) * PAGE;
	char *p = FROM, *to = TO;

	enter_cgroup();
	swap_out_merged(p, size, 1);
	ck_assert_int_eq(*(volatile char *)p, 1);
	check_falls_back(p, size, to, "shared");
	check_migrates(to, PAGE);
	check_same(to, size, 1);
	check_found(to, size);
	write_file("/sys/kernel/mm/ksm/run", "2");
}
END_TEST

static void on_alarm(int sig)
{
	(void)sig;
}

static long microseconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

/*
 * A signal ends the search for merged pages, and the call starts over, in which case
 * nothing may have happened yet: what was at the source would be missing.
 */
START_TEST(ksm_interrupted)
{
	const struct sigaction action = {
		.sa_handler = on_alarm, .sa_flags = SA_RESTART,
	};
	const size_t size = 4 * HUGE;
	const int rounds = 60;
	char *p = FROM, *to = FROM + 16 * HUGE;
	long took = 0;

	sigaction(SIGALRM, &action, NULL);
	for (int i = 0; i < rounds; i++) {
		struct itimerval timer = {
			.it_value.tv_usec = 1 + took * i / rounds % 1000000,
		};
		const struct itimerval none = { 0 };
		char *res;

		map_at(p, size);
		for (size_t j = 0; j < size; j += PAGE)
			p[j] = (char)(1 + j / PAGE % 100);
		advise(p, size, MADV_MERGEABLE);
		/* Two VMAs that move one after the other */
		if (!kernel_before_7() && mprotect(p + size / 2, size / 2, PROT_READ))
			ck_abort_msg("mprotect: %s", strerror(errno));
		if (i)
			setitimer(ITIMER_REAL, &timer, NULL);
		took -= i ? 0 : microseconds();
		res = sys_mremap(p, size, size,
				 MREMAP_MAYMOVE | MREMAP_FIXED | MUST, to);
		took += i ? 0 : microseconds();
		if (res != to)
			ck_abort_msg("round %d: %s", i, strerror(errno));
		setitimer(ITIMER_REAL, &none, NULL);
		for (size_t j = 0; j < size; j += PAGE)
			ck_assert_int_eq(to[j], (char)(1 + j / PAGE % 100));
		ck_assert_int_eq(munmap(to, size), 0);
	}
}
END_TEST

/* -------------------------------------------------------------------------- */

int main(void)
{
	Suite *s = suite_create("sharing");
	TCase *tc = add_case(s, "shared");

	tcase_add_test(tc, fallback_parent);
	tcase_add_test(tc, fallback_child);
	tcase_add_test(tc, fallback_grandchild);
	tcase_add_test(tc, fallback_in_grandchild);
	tcase_add_test(tc, fallback_one_page);
	tcase_add_loop_test(tc, fallback_large, 0, 4);
	tcase_add_loop_test(tc, fallback_swapped, 0, 2);
	tcase_add_test(tc, fallback_mapped_and_swapped);
	tcase_add_test(tc, fallback_swapped_and_mapped);
	tcase_add_test(tc, fallback_swapped_behind_large);
	if (!kernel_before_7()) {
		tcase_add_test(tc, fallback_file);
		tcase_add_test(tc, fallback_several);
	}
	tcase_add_test(tc, fallback_dontunmap);
	tcase_add_test(tc, fallback_grows);

	tc = add_case(s, "alone");
	tcase_add_test(tc, written_by_parent);
	tcase_add_test(tc, written_by_child);
	tcase_add_test(tc, left_to_child);
	tcase_add_test(tc, left_to_grandchild);
	tcase_add_loop_test(tc, child_has_gone, 0, 3);
	tcase_add_test(tc, mixed);
	tcase_add_test(tc, swapped_exclusive);
	tcase_add_test(tc, huge_written_in_part);
	tcase_add_loop_test(tc, large_shared_in_part, 0, 2);
	tcase_add_test(tc, shrinks_to_exclusive);
	tcase_add_loop_test(tc, not_inherited, 0, 2);
	tcase_add_test(tc, generations);

	tc = add_case(s, "ksm");
	tcase_add_test(tc, ksm);
	tcase_add_test(tc, ksm_in_part);
	tcase_add_test(tc, ksm_by_child);
	tcase_add_test(tc, ksm_zero_pages);
	tcase_add_loop_test(tc, ksm_swapped, 0, 2);
	tcase_add_loop_test(tc, ksm_swapped_in_a_row, 0, 2);
	tcase_add_test(tc, ksm_interrupted);

	return run_guest_suite(s);
}
