// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What mremap(MREMAP_RELOCATE_ANON) does to a process, seen from user space:
 * merging, contents, the reverse map, fallback, errors and accounting.
 *
 * The oracle for the reverse map: page the range out and look in pagemap. The
 * kernel finds a page's entries by the folio's mapping and index alone, so a
 * page that was left with a stale one stays in memory.
 *
 * Needs the patched kernel, root and swap. Prints TAP.
 */
#define _GNU_SOURCE
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

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

/* An address range that nothing else in the process uses, PMD-aligned. */
static char *arena;

static void setup(void)
{
	char *p = mmap(NULL, ARENA + HUGE, PROT_NONE, ANON | MAP_NORESERVE, -1, 0);

	ck_assert_ptr_ne(p, MAP_FAILED);
	ck_assert_int_eq(munmap(p, ARENA + HUGE), 0);
	arena = (char *)(((uintptr_t)p + HUGE - 1) & ~(HUGE - 1));
}

static void *sys_mremap(void *old, size_t old_len, size_t new_len, int flags,
			void *new)
{
	return (void *)syscall(SYS_mremap, old, old_len, new_len, flags, new);
}

/* Move to a place, with MREMAP_FIXED; it must succeed. */
static void move_to(char *old, size_t len, char *new, int flags)
{
	void *p = sys_mremap(old, len, len, MREMAP_MAYMOVE | MREMAP_FIXED | flags,
			     new);

	ck_assert_msg(p == new, "mremap to %p: %p, %s", (void *)new, p,
		      p == MAP_FAILED ? strerror(errno) : "elsewhere");
}

#define assert_mremap_fails(err, ...)					\
	do {								\
		errno = 0;						\
		ck_assert_ptr_eq(sys_mremap(__VA_ARGS__), MAP_FAILED);	\
		ck_assert_int_eq(errno, err);				\
	} while (0)

static char *map_at(char *addr, size_t len)
{
	void *p = mmap(addr, len, RW, ANON | MAP_FIXED_NOREPLACE, -1, 0);

	ck_assert_ptr_eq(p, addr);
	return p;
}

/*
 * Every byte of a page depends on the seed and the page's place in the range.
 * Never 0: the split of a huge page replaces pages of zeros by the zero page.
 */
static unsigned char pattern(unsigned int seed, size_t page)
{
	return (unsigned char)(1 + (seed * 31 + page * 7 + (page >> 8)) % 255);
}

static void fill(char *p, size_t len, unsigned int seed)
{
	for (size_t i = 0; i < len / PAGE; i++)
		memset(p + i * PAGE, pattern(seed, i), PAGE);
}

static void check(const char *p, size_t len, unsigned int seed)
{
	for (size_t i = 0; i < len / PAGE; i++) {
		const unsigned char want = pattern(seed, i);

		/* No assertion in the loop: each is a write to a file. */
		for (size_t j = 0; j < PAGE; j += 64)
			if ((unsigned char)p[i * PAGE + j] != want)
				ck_abort_msg("page %zu byte %zu: %d, not %d", i,
					     j, (unsigned char)p[i * PAGE + j],
					     want);
	}
}

static void check_zero(const char *p, size_t len)
{
	for (size_t i = 0; i < len; i += 64)
		if (p[i])
			ck_abort_msg("byte %zu: %d, not 0", i, p[i]);
}

static char *map_filled(char *addr, size_t len, unsigned int seed)
{
	map_at(addr, len);
	fill(addr, len, seed);
	return addr;
}

/* Mappings that overlap the range, by /proc/self/maps. */
static int mappings(const char *addr, size_t len)
{
	const unsigned long from = (unsigned long)addr, to = from + len;
	FILE *f = fopen("/proc/self/maps", "r");
	unsigned long start, end;
	char line[512];
	int n = 0;

	ck_assert_ptr_nonnull(f);
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "%lx-%lx", &start, &end) == 2 &&
		    start < to && end > from)
			n++;
	fclose(f);
	return n;
}

/* Sum of a field of /proc/self/smaps in kB over the range's mappings. */
static long smaps_kb(const char *addr, size_t len, const char *field)
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

enum { SWAPPED, PRESENT };

static size_t count_pages(const char *addr, size_t len, int kind)
{
	int fd = open("/proc/self/pagemap", O_RDONLY);
	uint64_t e[512];
	size_t n = 0;

	ck_assert_int_ge(fd, 0);
	for (size_t i = 0; i < len / PAGE; i += 512) {
		const size_t some = len / PAGE - i < 512 ? len / PAGE - i : 512;

		if (pread(fd, e, 8 * some, ((uintptr_t)addr / PAGE + i) * 8) !=
		    (ssize_t)(8 * some))
			ck_abort_msg("pagemap: %s", strerror(errno));
		for (size_t j = 0; j < some; j++)
			n += (e[j] >> (kind == SWAPPED ? 62 : 63)) & 1;
	}
	close(fd);
	return n;
}

static void write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY);

	ck_assert_msg(fd >= 0, "%s: %s", path, strerror(errno));
	ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
}

static void page_out(char *addr, size_t len)
{
	for (int i = 0; i < 20; i++) {
		ck_assert_int_eq(madvise(addr, len, MADV_PAGEOUT), 0);
		if (!count_pages(addr, len, PRESENT))
			break;
		/*
		 * Pages may wait in another CPU's batch for the LRU lists,
		 * where MADV_PAGEOUT passes them over. This drains them.
		 */
		write_file("/proc/sys/vm/compact_memory", "1");
	}
}

/* The reverse map finds every page of the range, whose contents are intact. */
static void check_rmap(char *addr, size_t len, unsigned int seed)
{
	size_t present = count_pages(addr, len, PRESENT) +
			 count_pages(addr, len, SWAPPED);

	check(addr, len, seed);
	page_out(addr, len);
	ck_assert_uint_eq(count_pages(addr, len, SWAPPED), present);
	check(addr, len, seed);
}

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

static const int both_flags[] = { RELOCATE, MUST, RELOCATE | MUST };

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

START_TEST(before_itself_behind_unfaulted)
{
	char *p = map_filled(arena + 16 * PAGE, 8 * PAGE, 1);

	map_at(arena, 8 * PAGE);
	move_to(p, 8 * PAGE, arena + 8 * PAGE, RELOCATE);
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

/* Its offset is right, but those around it have an anon_vma of their own. */
START_TEST(back_among_others)
{
	char *p = map_filled(arena + 8 * PAGE, 4 * PAGE, 1);
	char *away = arena + 64 * PAGE;

	move_to(p, 4 * PAGE, away, 0);
	map_filled(arena, 8 * PAGE, 2);
	move_to(away, 4 * PAGE, p, both_flags[_i]);
	ck_assert_int_eq(mappings(arena, 12 * PAGE), 1);
	check_rmap(p, 4 * PAGE, 1);
	check_rmap(arena, 8 * PAGE, 2);
}
END_TEST

/* ---- what stays as it was ------------------------------------------------ */

/*
 * A range that cannot be relocated: MUST fails and changes nothing, not even
 * what is at the destination; RELOCATE moves as without the flag.
 */
static void check_fallback(char *p, size_t len, unsigned int seed, char *to)
{
	const int before = mappings(p, len);

	map_filled(to, len, 99);
	assert_mremap_fails(EFAULT, p, len, len, MREMAP_MAYMOVE | MREMAP_FIXED |
			    MUST, to);
	assert_mremap_fails(EFAULT, p, len, len, MREMAP_MAYMOVE | MREMAP_FIXED |
			    RELOCATE | MUST, to);
	check(to, len, 99);
	check(p, len, seed);
	ck_assert_int_eq(mappings(p, len), before);

	move_to(p, len, to, RELOCATE);
	ck_assert_int_eq(mappings(p, len), 0);
	check(to, len, seed);
}

START_TEST(fallback_shared_anonymous)
{
	char *p = arena + 64 * PAGE;

	ck_assert_ptr_eq(mmap(p, 8 * PAGE, RW, MAP_SHARED | MAP_ANONYMOUS |
			      MAP_FIXED_NOREPLACE, -1, 0), p);
	fill(p, 8 * PAGE, 1);
	check_fallback(p, 8 * PAGE, 1, arena);
}
END_TEST

START_TEST(fallback_private_file)
{
	char *p = arena + 64 * PAGE;
	int fd = memfd_create("file", 0);

	ck_assert_int_eq(ftruncate(fd, 8 * PAGE), 0);
	ck_assert_ptr_eq(mmap(p, 8 * PAGE, RW, MAP_PRIVATE | MAP_FIXED_NOREPLACE,
			      fd, 0), p);
	fill(p, 8 * PAGE, 1);
	check_fallback(p, 8 * PAGE, 1, arena);
}
END_TEST

START_TEST(fallback_private_zero)
{
	char *p = arena + 64 * PAGE;
	int fd = open("/dev/zero", O_RDWR);

	ck_assert_ptr_eq(mmap(p, 8 * PAGE, RW, MAP_PRIVATE | MAP_FIXED_NOREPLACE,
			      fd, 0), p);
	fill(p, 8 * PAGE, 1);
	check_fallback(p, 8 * PAGE, 1, arena);
	check_rmap(arena, 8 * PAGE, 1);
}
END_TEST

START_TEST(fallback_userfaultfd)
{
	char *p = map_filled(arena + 64 * PAGE, 8 * PAGE, 1);
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg = {
		.range = { .start = (uintptr_t)p, .len = 8 * PAGE },
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC);

	ck_assert_msg(fd >= 0, "userfaultfd: %s", strerror(errno));
	ck_assert_int_eq(ioctl(fd, UFFDIO_API, &api), 0);
	ck_assert_int_eq(ioctl(fd, UFFDIO_REGISTER, &reg), 0);
	check_fallback(p, 8 * PAGE, 1, arena);
	check_rmap(arena, 8 * PAGE, 1);
	close(fd);
}
END_TEST

/* Guard markers move along as they do in a plain move. */
START_TEST(guard_pages)
{
	char *p = map_filled(arena + 64 * PAGE, 8 * PAGE, 1);
	int null[2];

	ck_assert_int_eq(madvise(p + 4 * PAGE, PAGE, MADV_GUARD_INSTALL), 0);
	move_to(p, 8 * PAGE, arena, MUST);
	check(arena, 4 * PAGE, 1);
	ck_assert_int_eq(pipe(null), 0);
	ck_assert_int_eq(write(null[1], arena + 4 * PAGE, 1), -1);
	ck_assert_int_eq(errno, EFAULT);
	ck_assert_int_eq(write(null[1], arena + 5 * PAGE, 1), 1);
	ck_assert_int_eq(madvise(arena + 4 * PAGE, PAGE, MADV_GUARD_REMOVE), 0);
	ck_assert_int_eq(arena[4 * PAGE], 0);
}
END_TEST

/* Freed lazily, half of it in use again; the rest may read as zeros. */
START_TEST(lazily_freed)
{
	char *p = map_filled(arena + 64 * PAGE, 16 * PAGE, 1);

	ck_assert_int_eq(madvise(p, 16 * PAGE, MADV_FREE), 0);
	fill(p, 8 * PAGE, 1);
	move_to(p, 16 * PAGE, arena, MUST);
	check_rmap(arena, 8 * PAGE, 1);
	for (int i = 8; i < 16; i++)
		ck_assert(!arena[i * PAGE] ||
			  (unsigned char)arena[i * PAGE] == pattern(1, i));
}
END_TEST

START_TEST(fallback_forked)
{
	char *p = map_filled(arena + 64 * PAGE, 8 * PAGE, 1);
	int go[2];
	pid_t pid;
	char c;

	ck_assert_int_eq(pipe(go), 0);
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (!pid) {
		close(go[1]);
		(void)!read(go[0], &c, 1);
		check(p, 8 * PAGE, 1);
		_exit(0);
	}
	close(go[0]);

	check_fallback(p, 8 * PAGE, 1, arena);
	close(go[1]);
	ck_assert_int_eq(waitpid(pid, &go[0], 0), pid);
	ck_assert_int_eq(go[0], 0);
	check_rmap(arena, 8 * PAGE, 1);

	/* Nobody shares it any more, though no page is marked exclusive. */
	map_filled(arena + 96 * PAGE, 4 * PAGE, 2);
	move_to(arena, 8 * PAGE, arena + 100 * PAGE, MUST);
	ck_assert_int_eq(mappings(arena + 96 * PAGE, 12 * PAGE), 1);
	check_rmap(arena + 100 * PAGE, 8 * PAGE, 1);
}
END_TEST

/* In the child the memory came from its parent, written anew or not. */
START_TEST(fallback_in_child)
{
	char *p = map_filled(arena + 64 * PAGE, 8 * PAGE, 1);
	int status;
	pid_t pid = fork();

	ck_assert_int_ge(pid, 0);
	if (!pid) {
		fill(p, 4 * PAGE, 1);
		check_fallback(p, 8 * PAGE, 1, arena);
		check(arena, 8 * PAGE, 1);
		_exit(0);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
	check_rmap(p, 8 * PAGE, 1);
}
END_TEST

/* A grandchild keeps the memory shared after the child has gone. */
START_TEST(fallback_grandchild)
{
	char *p = map_filled(arena + 64 * PAGE, 8 * PAGE, 1);
	int go[2], ready[2], status;
	pid_t pid;
	char c;

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
		_exit(0);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(read(ready[0], &c, 1), 1);
	check_fallback(p, 8 * PAGE, 1, arena);
	check(arena, 8 * PAGE, 1);
	close(go[1]);
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
	check_fallback(p, 8 * PAGE, 1, arena);
	check_rmap(arena, 4 * PAGE, 1);
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
	ck_assert_int_eq(madvise(home + 4 * PAGE, 4 * PAGE, MADV_DONTDUMP), 0);
	map_filled(home, 4 * PAGE, 1);
	ck_assert_int_eq(madvise(home + 4 * PAGE, 4 * PAGE, MADV_DODUMP), 0);
	ck_assert_int_eq(mappings(home, 8 * PAGE), 2);
	ck_assert_int_eq(madvise(home, 4 * PAGE, MADV_DONTFORK), 0);
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
	ck_assert_int_eq(madvise(home, 4 * PAGE, MADV_DOFORK), 0);

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

/* ---- transparent huge pages ---------------------------------------------- */

static char *map_huge(char *addr, size_t len, unsigned int seed)
{
	map_at(addr, len);
	ck_assert_int_eq(madvise(addr, len, MADV_HUGEPAGE), 0);
	fill(addr, len, seed);
	ck_assert_int_eq(smaps_kb(addr, len, "AnonHugePages"), len >> 10);
	return addr;
}

START_TEST(thp_congruent)
{
	char *p = map_huge(arena + 16 * HUGE, 2 * HUGE, 1);

	map_huge(arena, HUGE, 2);
	move_to(p, 2 * HUGE, arena + HUGE, both_flags[_i]);
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
	ck_assert_int_eq(madvise(p + HUGE, HUGE, MADV_HUGEPAGE), 0);
	ck_assert_int_eq(madvise(p, HUGE, MADV_NOHUGEPAGE), 0);
	ck_assert_int_eq(madvise(p + 2 * HUGE, HUGE, MADV_NOHUGEPAGE), 0);
	fill(p + HUGE, HUGE, 2);
	fill(p + 64 * PAGE, 64 * PAGE, 1);
	fill(p + 2 * HUGE + 64 * PAGE, 64 * PAGE, 3);
	ck_assert_int_eq(p[0], 0);
	move_to(p, 3 * HUGE, arena, MUST);
	ck_assert_int_eq(mappings(arena, 3 * HUGE), 3);
	ck_assert_int_eq(smaps_kb(arena, 3 * HUGE, "AnonHugePages"), HUGE >> 10);
	ck_assert_int_eq(arena[0], 0);
	check_rmap(arena + HUGE, HUGE, 2);
	check_rmap(arena + 64 * PAGE, 64 * PAGE, 1);
	check_rmap(arena + 2 * HUGE + 64 * PAGE, 64 * PAGE, 3);
}
END_TEST

START_TEST(fallback_thp_not_congruent)
{
	char *p = map_huge(arena + 16 * HUGE, 2 * HUGE, 1);

	check_fallback(p, 2 * HUGE, 1, arena + 3 * PAGE);
	check_rmap(arena + 3 * PAGE, 2 * HUGE, 1);
}
END_TEST

START_TEST(fallback_thp_partly_covered)
{
	char *p = map_huge(arena + 16 * HUGE, 2 * HUGE, 1);

	check_fallback(p, HUGE + 64 * PAGE, 1, arena);
	check_rmap(arena, HUGE + 64 * PAGE, 1);
}
END_TEST

/* Mapped by entries, with its first page dropped. */
START_TEST(fallback_thp_by_entries)
{
	char *p = map_huge(arena + 16 * HUGE, HUGE, 1);

	ck_assert_int_eq(madvise(p, PAGE, MADV_DONTNEED), 0);
	assert_mremap_fails(EFAULT, p, HUGE, HUGE, MREMAP_MAYMOVE | MREMAP_FIXED |
			    MUST, arena);
	move_to(p, HUGE, arena, RELOCATE);
	ck_assert_int_eq(arena[0], 0);
	fill(arena, PAGE, 1);
	check_rmap(arena, HUGE, 1);
}
END_TEST

START_TEST(fallback_mthp)
{
	static const char enabled[] =
		"/sys/kernel/mm/transparent_hugepage/hugepages-64kB/enabled";
	char *p = map_at(arena + 64 * PAGE, 64 * PAGE);

	write_file(enabled, "madvise");
	ck_assert_int_eq(madvise(p, 64 * PAGE, MADV_HUGEPAGE), 0);
	fill(p, 64 * PAGE, 1);
	write_file(enabled, "never");
	check_fallback(p, 64 * PAGE, 1, arena);
	check_rmap(arena, 64 * PAGE, 1);
}
END_TEST

START_TEST(huge_zero_page)
{
	char *p = arena + 16 * HUGE;
	volatile char sum = 0;

	map_at(p, 2 * HUGE);
	ck_assert_int_eq(madvise(p, 2 * HUGE, MADV_HUGEPAGE), 0);
	for (size_t i = 0; i < 2 * HUGE; i += PAGE)
		sum += p[i];
	fill(p + HUGE, PAGE, 1);	/* so that it has an anon_vma */
	move_to(p, 2 * HUGE, _i ? arena + PAGE : arena, MUST * !_i | RELOCATE);
	p = _i ? arena + PAGE : arena;
	check_zero(p, HUGE);
	check_rmap(p + HUGE, PAGE, 1);
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

/* ---- swap ---------------------------------------------------------------- */

START_TEST(swapped_out)
{
	char *p = map_filled(arena + 64 * PAGE, 32 * PAGE, 1);

	map_filled(arena, 4 * PAGE, 2);
	page_out(p, 32 * PAGE);
	ck_assert_uint_eq(count_pages(p, 32 * PAGE, SWAPPED), 32);
	/* Some come back, and may leave their neighbours in the swap cache. */
	for (int i = 0; i < 32; i += 5)
		ck_assert_int_eq((unsigned char)p[i * PAGE], pattern(1, i));
	move_to(p, 32 * PAGE, arena + 4 * PAGE, MUST);
	ck_assert_int_eq(mappings(arena, 36 * PAGE), 1);
	check_rmap(arena + 4 * PAGE, 32 * PAGE, 1);
}
END_TEST

START_TEST(swapped_out_thp)
{
	char *p = map_huge(arena + 16 * HUGE, 2 * HUGE, 1);

	page_out(p, 2 * HUGE);
	ck_assert_uint_eq(count_pages(p, 2 * HUGE, SWAPPED), 2 * HUGE / PAGE);
	move_to(p, 2 * HUGE, arena + 5 * PAGE, RELOCATE);
	check_rmap(arena + 5 * PAGE, 2 * HUGE, 1);
}
END_TEST

/* ---- pinned, locked, merged ---------------------------------------------- */

START_TEST(pinned)
{
	char *p = map_filled(arena + 64 * PAGE, 8 * PAGE, 1);
	struct iovec iov = { .iov_base = p, .iov_len = 8 * PAGE };
	struct io_uring_params params = { 0 };
	int fd = (int)syscall(SYS_io_uring_setup, 2, &params);

	ck_assert_msg(fd >= 0, "io_uring_setup: %s", strerror(errno));
	ck_assert_int_eq(syscall(SYS_io_uring_register, fd,
				 IORING_REGISTER_BUFFERS, &iov, 1), 0);
	map_filled(arena, 4 * PAGE, 2);
	move_to(p, 8 * PAGE, arena + 4 * PAGE, MUST);
	ck_assert_int_eq(mappings(arena, 12 * PAGE), 1);
	check(arena + 4 * PAGE, 8 * PAGE, 1);
	/* Once unpinned they are pages like others. */
	ck_assert_int_eq(syscall(SYS_io_uring_register, fd,
				 IORING_UNREGISTER_BUFFERS, NULL, 0), 0);
	close(fd);
	check_rmap(arena + 4 * PAGE, 8 * PAGE, 1);
}
END_TEST

START_TEST(locked)
{
	char *p = map_filled(arena + 64 * PAGE, 8 * PAGE, 1);

	map_filled(arena, 4 * PAGE, 2);
	ck_assert_int_eq(mlock(p, 8 * PAGE), 0);
	ck_assert_int_eq(mlock(arena, 4 * PAGE), 0);
	move_to(p, 8 * PAGE, arena + 4 * PAGE, MUST);
	ck_assert_int_eq(mappings(arena, 12 * PAGE), 1);
	ck_assert_int_eq(smaps_kb(arena, 12 * PAGE, "Locked"), 12 * PAGE >> 10);
	ck_assert_int_eq(munlock(arena, 12 * PAGE), 0);
	check_rmap(arena + 4 * PAGE, 8 * PAGE, 1);
}
END_TEST

static long ksm_sharing(void)
{
	FILE *f = fopen("/sys/kernel/mm/ksm/pages_sharing", "r");
	long n = -1;

	ck_assert_ptr_nonnull(f);
	ck_assert_int_eq(fscanf(f, "%ld", &n), 1);
	fclose(f);
	return n;
}

START_TEST(fallback_ksm)
{
	char *p = map_at(arena + 64 * PAGE, 16 * PAGE);

	for (int i = 0; i < 16; i++)
		memset(p + i * PAGE, 1, PAGE);
	ck_assert_int_eq(madvise(p, 16 * PAGE, MADV_MERGEABLE), 0);
	write_file("/sys/kernel/mm/ksm/pages_to_scan", "10000");
	write_file("/sys/kernel/mm/ksm/sleep_millisecs", "1");
	write_file("/sys/kernel/mm/ksm/run", "1");
	for (int i = 0; i < 500 && ksm_sharing() < 15; i++)
		usleep(10000);
	ck_assert_int_ge(ksm_sharing(), 15);
	write_file("/sys/kernel/mm/ksm/run", "0");

	map_filled(arena, 16 * PAGE, 99);
	assert_mremap_fails(EFAULT, p, 16 * PAGE, 16 * PAGE, MREMAP_MAYMOVE |
			    MREMAP_FIXED | MUST, arena);
	check(arena, 16 * PAGE, 99);
	move_to(p, 16 * PAGE, arena, RELOCATE);
	for (int i = 0; i < 16; i++)
		ck_assert_int_eq(arena[i * PAGE], 1);
	write_file("/sys/kernel/mm/ksm/run", "2");
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

START_TEST(dontunmap_part_next_to_itself)
{
	char *p = map_filled(arena, 8 * PAGE, 1);

	/* Source and destination touch; both are there, one empty. */
	move_to(p + 4 * PAGE, 4 * PAGE, p + 8 * PAGE, MREMAP_DONTUNMAP | RELOCATE);
	ck_assert_uint_eq(count_pages(p + 4 * PAGE, 4 * PAGE, PRESENT), 0);
	check(p, 4 * PAGE, 1);
	ck_assert_int_eq((unsigned char)p[8 * PAGE], pattern(1, 4));
	ck_assert_int_eq((unsigned char)p[11 * PAGE], pattern(1, 7));
	page_out(p + 8 * PAGE, 4 * PAGE);
	ck_assert_uint_eq(count_pages(p + 8 * PAGE, 4 * PAGE, SWAPPED), 4);
}
END_TEST

/* ---- accounting ---------------------------------------------------------- */

struct account {
	long committed, total, locked, rss, maps;
};

static long status_kb(const char *file, const char *field)
{
	FILE *f = fopen(file, "r");
	char line[256];
	long v = -1;

	ck_assert_ptr_nonnull(f);
	while (fgets(line, sizeof(line), f))
		if (!strncmp(line, field, strlen(field)))
			ck_assert_int_eq(sscanf(line + strlen(field), ": %ld", &v), 1);
	fclose(f);
	return v;
}

static struct account account(void)
{
	return (struct account) {
		.committed = status_kb("/proc/meminfo", "Committed_AS"),
		.total = status_kb("/proc/self/status", "VmSize"),
		.locked = status_kb("/proc/self/status", "VmLck"),
		.rss = status_kb("/proc/self/status", "RssAnon") +
		       status_kb("/proc/self/status", "VmSwap"),
		.maps = mappings(0, -1UL),
	};
}

START_TEST(accounting)
{
	const size_t len = 32 * PAGE;
	char *p = map_filled(arena + 16 * HUGE, len, 1);
	char *q = arena;
	struct account before, after;
	char *shared = arena + 32 * HUGE;

	map_filled(arena + len, len, 2);
	ck_assert_int_eq(mlock(p, len), 0);
	ck_assert_int_eq(mlock(arena + len, len), 0);
	/* What falls back, and is moved all the same. */
	ck_assert_ptr_eq(mmap(shared, len, RW, MAP_SHARED | MAP_ANONYMOUS |
			      MAP_FIXED_NOREPLACE, -1, 0), shared);
	fill(shared, len, 3);
	before = account();
	before = account();	/* stdio has its buffers now */
	for (int i = 0; i < 250; i++) {
		move_to(p, len, q, RELOCATE);		/* merges */
		move_to(q, len, p, MUST);
		move_to(p, len, p + len, RELOCATE);	/* next to itself */
		move_to(p + len, len, p, RELOCATE);
		move_to(shared, len, shared + HUGE, RELOCATE);
		move_to(shared + HUGE, len, shared, RELOCATE);
		assert_mremap_fails(EFAULT, shared, len, len, MREMAP_MAYMOVE |
				    MREMAP_FIXED | MUST, shared + HUGE);
		move_to(p, len, q, RELOCATE | MREMAP_DONTUNMAP);
		ck_assert_int_eq(munmap(p, len), 0);
		move_to(q, len, p, RELOCATE);
		ck_assert_int_eq(munlock(p, len), 0);
		move_to(p, len, q, RELOCATE | MREMAP_DONTUNMAP);
		ck_assert_int_eq(munmap(p, len), 0);
		move_to(q, len, p, RELOCATE);
		ck_assert_int_eq(mlock(p, len), 0);
		/* grow and shrink with a move */
		ck_assert_ptr_eq(sys_mremap(p, len, 2 * len, MREMAP_MAYMOVE |
					    MREMAP_FIXED | RELOCATE,
					    q + 2 * len), q + 2 * len);
		ck_assert_ptr_eq(sys_mremap(q + 2 * len, 2 * len, len,
					    MREMAP_MAYMOVE | MREMAP_FIXED |
					    RELOCATE, p), p);
	}
	after = account();
	ck_assert_int_eq(munlock(p, len), 0);
	check_rmap(p, len, 1);
	check(arena + len, len, 2);
	check(shared, len, 3);
	ck_assert_int_eq(after.maps, before.maps);
	ck_assert_int_eq(after.total, before.total);
	ck_assert_int_eq(after.locked, before.locked);
	/* Less than a page in any of the 250 rounds. */
	ck_assert_int_le(labs(after.rss - before.rss), 256);
	ck_assert_int_le(labs(after.committed - before.committed), 256);
}
END_TEST

/* ---- no memory ----------------------------------------------------------- */

static int fail_nth_fd;

static void set_fail_nth(int n)
{
	char text[16];

	snprintf(text, sizeof(text), "%d", n);
	if (pwrite(fail_nth_fd, text, strlen(text), 0) < 0)
		ck_abort_msg("fail-nth: %s", strerror(errno));
}

/* Was the allocation that set_fail_nth() named reached, and failed? */
static bool failed_nth(void)
{
	char text[16] = "";

	if (pread(fail_nth_fd, text, sizeof(text) - 1, 0) <= 0)
		ck_abort_msg("fail-nth: %s", strerror(errno));
	set_fail_nth(0);
	return atoi(text) == 0;
}

/*
 * Let every allocation of a call fail in turn. Either the call copes, or it
 * fails with ENOMEM and everything is at its old place.
 */
START_TEST(no_memory)
{
	static const struct {
		size_t to;	/* offset of the destination in the arena */
		int flags;
	} moves[] = {
		{ 0, MUST },			/* between neighbours */
		{ 32 * HUGE, MUST },		/* alone */
		{ 32 * HUGE, MUST | MREMAP_DONTUNMAP },
		{ 16 * HUGE + HUGE, MUST },	/* next to itself, in part */
	};
	const size_t off = moves[_i].to, len = 2 * HUGE;
	char *p = arena + 16 * HUGE, *to = arena + off;
	int flags = MREMAP_MAYMOVE | MREMAP_FIXED | moves[_i].flags;
	size_t moved = off == 17 * HUGE ? HUGE : len;
	char *from = off == 17 * HUGE ? p + 3 * HUGE : p;
	bool injected = true, was_failed = false;
	long committed;
	int before;

	write_file("/sys/kernel/debug/failslab/ignore-gfp-wait", "N");
	write_file("/sys/kernel/debug/failslab/verbose", "0");
	write_file("/sys/kernel/debug/fail_page_alloc/ignore-gfp-wait", "N");
	write_file("/sys/kernel/debug/fail_page_alloc/min-order", "0");
	write_file("/sys/kernel/debug/fail_page_alloc/verbose", "0");

	fail_nth_fd = open("/proc/thread-self/fail-nth", O_RDWR);
	ck_assert_int_ge(fail_nth_fd, 0);
	if (off == 17 * HUGE) {
		map_filled(p, HUGE, 3);
		map_filled(from, HUGE, 1);
	} else {
		/* One VMA of huge, small and swapped out pages. */
		map_at(p, len);
		ck_assert_int_eq(madvise(p, len, MADV_HUGEPAGE), 0);
		fill(p, HUGE, 1);
		ck_assert_int_eq(madvise(p, len, MADV_NOHUGEPAGE), 0);
		fill(p, len, 1);
		ck_assert_int_eq(madvise(p + HUGE + 64 * PAGE, 64 * PAGE,
					 MADV_PAGEOUT), 0);
	}
	if (!off) {
		map_filled(arena + len, 4 * PAGE, 2);
		ck_assert_int_eq(madvise(arena + len, 4 * PAGE,
					 MADV_NOHUGEPAGE), 0);
	}
	before = mappings(0, -1UL);
	committed = status_kb("/proc/meminfo", "Committed_AS");

	for (int n = 1; injected && n < 200; n++) {
		void *res;
		int err;

		set_fail_nth(n);
		res = sys_mremap(from, moved, moved, flags, to);
		err = errno;
		injected = failed_nth();
		if (res == MAP_FAILED) {
			was_failed = true;
			ck_assert(injected);
			ck_assert_int_eq(err, ENOMEM);
			if (mappings(to, moved) || mappings(0, -1UL) != before)
				ck_abort_msg("failure %d left %d mappings at the destination, %d in all, once %d",
					     n, mappings(to, moved),
					     mappings(0, -1UL), before);
			check(from, moved, 1);
			continue;
		}
		/* It coped without, or nothing was left to fail. */
		ck_assert_ptr_eq(res, to);
		check(to, moved, 1);
		if (flags & MREMAP_DONTUNMAP)
			ck_assert_int_eq(munmap(from, moved), 0);
		move_to(to, moved, from, MUST);
	}
	ck_assert(!injected);
	ck_assert(was_failed);
	ck_assert_int_eq(mappings(0, -1UL), before);
	ck_assert_int_le(labs(status_kb("/proc/meminfo", "Committed_AS") -
			      committed), 256);
	check_rmap(from, moved, 1);
}
END_TEST

/* ---- under interference -------------------------------------------------- */

static volatile bool storm_over;

static void *reclaim_thread(void *arg)
{
	int fd = open("/sys/fs/cgroup/storm/memory.reclaim", O_WRONLY);

	(void)arg;
	ck_assert_int_ge(fd, 0);
	while (!storm_over)
		if (write(fd, "4M", 2) < 0)
			ck_assert_int_eq(errno, EAGAIN);
	close(fd);
	return NULL;
}

static void *compact_thread(void *arg)
{
	int fd = open("/proc/sys/vm/compact_memory", O_WRONLY);

	(void)arg;
	ck_assert_int_ge(fd, 0);
	while (!storm_over)
		(void)!write(fd, "1", 1);
	close(fd);
	return NULL;
}

static void *migrate_thread(void *arg)
{
	unsigned long nodes[2] = { 1, 2 };

	(void)arg;
	for (int i = 0; !storm_over; i++)
		syscall(SYS_migrate_pages, 0, 64, &nodes[i & 1], &nodes[~i & 1]);
	return NULL;
}

/*
 * Relocate small and huge pages to and fro while others take pages away under
 * the reverse map: reclaim of this cgroup, compaction, migration between nodes.
 */
START_TEST(storm)
{
	static void *(*const interference[])(void *) = {
		reclaim_thread, compact_thread, migrate_thread,
	};
	const size_t len = 2 * HUGE;
	const char *text = getenv("STORM_ROUNDS");
	const int rounds = text ? atoi(text) : 16;
	char *p = arena + 4 * HUGE, *q = arena + 16 * HUGE;
	pthread_t thread;
	char pid[16];

	(void)!system("mkdir -p /sys/fs/cgroup/storm && "
		      "echo +memory > /sys/fs/cgroup/cgroup.subtree_control");
	snprintf(pid, sizeof(pid), "%d", getpid());
	write_file("/sys/fs/cgroup/storm/cgroup.procs", pid);

	map_at(p, len);
	ck_assert_int_eq(madvise(p, len / 2, MADV_HUGEPAGE), 0);
	ck_assert_int_eq(madvise(p + len / 2, len / 2, MADV_NOHUGEPAGE), 0);
	fill(p, len, 1);
	/* What the small pages merge with. */
	map_filled(q + 5 * PAGE + len / 2, PAGE, 9);
	ck_assert_int_eq(madvise(q + 5 * PAGE + len / 2, PAGE, MADV_NOHUGEPAGE), 0);
	ck_assert_int_eq(pthread_create(&thread, NULL, interference[_i], NULL), 0);

	for (int i = 0; i < rounds; i++) {
		/* Huge pages move where they stay huge, small ones anywhere. */
		move_to(p, len, q, RELOCATE);
		check(q, len, 1);
		move_to(q, len, p, RELOCATE);
		if (i % 4 == 0) {
			/* Write, so that reclaim has to write as well. */
			fill(p, len, 1);
			madvise(p, len / 2, MADV_COLLAPSE);
		}
		move_to(p + len / 2, len / 2, q + 5 * PAGE, MUST);
		ck_assert_int_eq(mappings(q, len), 1);	/* with its neighbour */
		check(p, len / 2, 1);
		move_to(q + 5 * PAGE, len / 2, p + len / 2, MUST);
		/* Two VMAs, the one with huge pages last: both or none. */
		move_to(p + len / 2, len / 2, p - len / 2, MUST);
		if (sys_mremap(p - len / 2, len, len, MREMAP_MAYMOVE |
			       MREMAP_FIXED | MUST, q - len) == MAP_FAILED)
			ck_assert_int_eq(errno, EFAULT);
		else
			move_to(q - len, len, p - len / 2, RELOCATE);
		move_to(p - len / 2, len / 2, p + len / 2, MUST);
	}
	storm_over = true;
	pthread_join(thread, NULL);
	check_rmap(p, len, 1);
}
END_TEST

/* -------------------------------------------------------------------------- */

static bool kernel_relocates(void)
{
	void *p = mmap(NULL, PAGE, PROT_NONE, ANON, -1, 0);

	munmap(p, PAGE);
	return sys_mremap(p, PAGE, PAGE, MREMAP_MAYMOVE | RELOCATE, NULL) ==
	       MAP_FAILED && errno == EFAULT;
}

int main(void)
{
	Suite *s = suite_create("relocate");
	TCase *tc = tcase_create("basic"), *tc_storm = tcase_create("storm");
	TCase *tc_fail = tcase_create("no-memory");
	SRunner *sr;
	int failed;

	if (!kernel_relocates()) {
		const char *expect = getenv("RELOCATE_EXPECT");

		if (expect && !strcmp(expect, "supported")) {
			puts("1..1\nnot ok 1 - the kernel has MREMAP_RELOCATE_ANON");
			return 1;
		}
		puts("1..0 # SKIP this kernel lacks MREMAP_RELOCATE_ANON");
		return 0;
	}

	suite_add_tcase(s, tc);
	tcase_add_checked_fixture(tc, setup, NULL);
	tcase_set_timeout(tc, 240);

	tcase_add_test(tc, flag_validation);
	tcase_add_loop_test(tc, merge_previous, 0, 3);
	tcase_add_loop_test(tc, merge_next, 0, 3);
	tcase_add_loop_test(tc, merge_both, 0, 3);
	tcase_add_test(tc, merge_unfaulted_neighbours);
	tcase_add_test(tc, plain_does_not_merge);
	tcase_add_test(tc, merge_later);
	tcase_add_test(tc, partial_move_merges_back);
	tcase_add_loop_test(tc, several_vmas, 0, 3);
	tcase_add_test(tc, behind_itself);
	tcase_add_test(tc, part_behind_itself);
	tcase_add_test(tc, before_itself_behind_unfaulted);
	tcase_add_test(tc, fixed_within_itself);
	tcase_add_loop_test(tc, grow_moves, 0, 3);
	tcase_add_loop_test(tc, shrink_moves, 0, 3);
	tcase_add_loop_test(tc, not_needed, 0, 3);
	tcase_add_loop_test(tc, back_among_others, 0, 3);
	tcase_add_test(tc, fallback_shared_anonymous);
	tcase_add_test(tc, fallback_private_zero);
	tcase_add_test(tc, fallback_userfaultfd);
	tcase_add_test(tc, guard_pages);
	tcase_add_test(tc, lazily_freed);
	tcase_add_test(tc, fallback_private_file);
	tcase_add_test(tc, fallback_forked);
	tcase_add_test(tc, fallback_in_child);
	tcase_add_test(tc, fallback_grandchild);
	tcase_add_test(tc, fallback_several_vmas);
	tcase_add_test(tc, back_home_shared);
	tcase_add_loop_test(tc, thp_congruent, 0, 3);
	tcase_add_test(tc, thp_among_others);
	tcase_add_test(tc, fallback_thp_not_congruent);
	tcase_add_test(tc, fallback_thp_partly_covered);
	tcase_add_test(tc, fallback_thp_by_entries);
	tcase_add_test(tc, fallback_mthp);
	tcase_add_loop_test(tc, huge_zero_page, 0, 2);
	tcase_add_test(tc, plain_out_and_back);
	tcase_add_loop_test(tc, relocate_out_and_back, 0, 2);
	tcase_add_test(tc, swapped_out);
	tcase_add_test(tc, swapped_out_thp);
	tcase_add_test(tc, pinned);
	tcase_add_test(tc, locked);
	tcase_add_test(tc, fallback_ksm);
	tcase_add_loop_test(tc, dontunmap, 0, 3);
	tcase_add_test(tc, dontunmap_part_next_to_itself);
	tcase_add_test(tc, accounting);

	/* Needs a kernel with fault injection: the debug kernel. */
	suite_add_tcase(s, tc_fail);
	tcase_add_checked_fixture(tc_fail, setup, NULL);
	tcase_set_timeout(tc_fail, 240);
	if (!access("/proc/thread-self/fail-nth", W_OK))
		tcase_add_loop_test(tc_fail, no_memory, 0, 4);

	suite_add_tcase(s, tc_storm);
	tcase_add_checked_fixture(tc_storm, setup, NULL);
	tcase_set_timeout(tc_storm, 240);
	tcase_add_loop_test(tc_storm, storm, 0, 3);

	sr = srunner_create(s);
	srunner_set_tap(sr, "-");
	srunner_run_all(sr, CK_SILENT);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
