/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * mremap_compat_coalesce() by each method on the kernel that runs, and with kernels and
 * sandboxes that a seccomp filter plays. RELOCATE_EXPECT says whether the kernel must have
 * the advice ("supported", "unsupported"); what is not there must be refused.
 */

#define _GNU_SOURCE
#include "compat.h"
#include "compat_filter.h"

#include <linux/userfaultfd.h>
#include <pthread.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <ucontext.h>

#ifndef MADV_GUARD_INSTALL
# define MADV_GUARD_INSTALL 102
#endif
#ifndef MADV_PAGEOUT
# define MADV_PAGEOUT 21
#endif
#ifndef MADV_COALESCE
# define MADV_COALESCE 104
#endif
#ifndef UFFD_USER_MODE_ONLY
# define UFFD_USER_MODE_ONLY 1
#endif

#define RW (PROT_READ | PROT_WRITE)
#define HUGE ((size_t)2 << 20)

enum { KERNEL, UFFD_MOVE };	/* in a report, and what loops are run with */

static const unsigned int methods[] = {
	MREMAP_COMPAT_KERNEL, MREMAP_COMPAT_UFFD_MOVE
};
#define METHODS 2
#define BOTH (MREMAP_COMPAT_KERNEL | MREMAP_COMPAT_UFFD_MOVE)

static struct mremap_compat_coalesce_report report;

static bool supported(int i)
{
	return (i == KERNEL ? mremap_compat_probe_coalesce() :
		mremap_compat_probe(MREMAP_COMPAT_UFFD_MOVE)) ==
	       MREMAP_COMPAT_SUPPORTED;
}

/* Answer a system call with this value of an argument by ACTION. */
static void filter(long number, int argument, uint32_t value, uint32_t action)
{
	filter_argument(number, argument, BPF_JEQ, value, action);
}

/* ---- memory in pieces ------------------------------------------------------- */

/* Each byte says where it belongs. */
static unsigned char byte_of(size_t piece, size_t i)
{
	return (unsigned char)(piece * 31 + i * 7 + (i >> 8) + 1);
}

static void fill_piece(char *p, size_t piece, size_t size)
{
	for (size_t i = 0; i < size; i++)
		p[i] = (char)byte_of(piece, i);
}

static void check_piece(const char *p, size_t piece, size_t size)
{
	size_t i = 0;

	while (i < size && (unsigned char)p[i] == byte_of(piece, i))
		i++;
	ck_assert_msg(i == size, "piece %zu: byte %zu is %#x", piece, i, p[i]);
}

/*
 * n mappings of so many pages that could be one, between two pages of other kinds. The
 * last was written first.
 */
static char *in_pieces(size_t n, size_t pages)
{
	const size_t size = pages * page;
	char *area = map(n * pages + 2, PROT_NONE), *from = map(n * pages + 1, PROT_NONE);

	area += page;
	ck_assert_int_eq(mprotect(from, n * size, RW), 0);
	for (size_t i = 0; i < n; i++) {
		fill_piece(from + i * size, n - 1 - i, size);
		ck_assert_ptr_ne(mremap(from + i * size, size, size, FIXED,
					area + (n - 1 - i) * size), MAP_FAILED);
	}
	ck_assert_int_eq(mappings(area, n * size), (int)n);
	return area;
}

static void check_pieces(const char *p, size_t n, size_t pages)
{
	for (size_t i = 0; i < n; i++)
		check_piece(p + i * pages * page, i, pages * page);
}

/*
 * A call with one method that should work. Where it is not there, check that it says so,
 * and return false.
 */
static bool coalesces(int i, char *p, size_t size)
{
	int result;

	errno = ENOTTY;
	result = mremap_compat_coalesce(p, size, methods[i], &report);
	ck_assert_int_eq(report.reason[!i], MREMAP_COMPAT_NOT_ALLOWED);
	ck_assert_int_eq(report.reason[2], MREMAP_COMPAT_NOT_ALLOWED);
	ck_assert_int_eq(report.reason[3], MREMAP_COMPAT_NOT_ALLOWED);
	if (!supported(i)) {
		ck_assert_int_eq(result, -1);
		if (report.reason[i] == MREMAP_COMPAT_FORBIDDEN)
			ck_assert_int_eq(errno, EPERM);
		else
			ck_assert_int_eq(errno, EOPNOTSUPP);
		ck_assert_uint_eq(report.method, 0);
		return false;
	}
	ck_assert_msg(!result, "%s, reason %d", strerror(errno), report.reason[i]);
	ck_assert_int_eq(errno, ENOTTY);
	ck_assert_int_eq(report.reason[i], MREMAP_COMPAT_USED);
	return true;
}

/* ---- what is there ---------------------------------------------------------- */

START_TEST(probe)
{
	const char *expect = getenv("RELOCATE_EXPECT");
	const long before = mapped_pages();
	const int files = open_files(), count = mappings(NULL, SIZE_MAX);
	enum mremap_compat_support answer;

	errno = ENOTTY;
	answer = mremap_compat_probe_coalesce();
	ck_assert_int_eq(errno, ENOTTY);
	ck_assert_int_eq(mapped_pages(), before);
	ck_assert_int_eq(open_files(), files);
	ck_assert_int_eq(mappings(NULL, SIZE_MAX), count);
	ck_assert_int_ne(answer, MREMAP_COMPAT_UNKNOWN);
	ck_assert_int_eq(mremap_compat_probe_coalesce(), answer);
	if (expect)
		ck_assert_int_eq(answer, strcmp(expect, "supported") ?
				 MREMAP_COMPAT_UNSUPPORTED :
				 MREMAP_COMPAT_SUPPORTED);
	mremap_compat_set_methods(MREMAP_COMPAT_ALL_METHODS & ~1U);
	ck_assert_int_eq(mremap_compat_probe_coalesce(),
			 MREMAP_COMPAT_UNSUPPORTED);
	mremap_compat_set_methods(MREMAP_COMPAT_ALL_METHODS);
	ck_assert_int_eq(mremap_compat_probe_coalesce(), answer);
}
END_TEST

/* ---- what merges ------------------------------------------------------------ */

START_TEST(merges)
{
	static const struct {
		size_t n, pages;
	} sizes[] = { { 2, 1 }, { 3, 1 }, { 64, 1 }, { 5, 7 }, { 3, 600 } };

	for (size_t k = 0; k < sizeof(sizes) / sizeof(*sizes); k++) {
		const size_t n = sizes[k].n, pages = sizes[k].pages;
		char *p = in_pieces(n, pages);
		long before;
		int files;

		supported(_i);
		before = mapped_pages();
		files = open_files();
		if (!coalesces(_i, p, n * pages * page)) {
			ck_assert_int_eq(mappings(p, n * pages * page), (int)n);
			check_pieces(p, n, pages);
			return;
		}
		ck_assert_int_eq(mappings(p, n * pages * page), 1);
		check_pieces(p, n, pages);
		ck_assert_int_eq(mapped_pages(), before);
		ck_assert_int_eq(open_files(), files);
		ck_assert_uint_eq(report.method, methods[_i]);
		ck_assert_uint_eq(report.relocated, _i == UFFD_MOVE ? n : 0);
		ck_assert_uint_eq(report.apart, 0);
		ck_assert_int_eq(report.apart_reason, MREMAP_COMPAT_NOT_TRIED);
		/* It can be written, shared, and done again. */
		p[0]++;
		ck_assert(coalesces(_i, p, n * pages * page));
		ck_assert_uint_eq(report.relocated, 0);
		p[0]--;
		check_pieces(p, n, pages);
	}
}
END_TEST

/* More than one batch: by number, and by size. */
START_TEST(many)
{
	static const struct {
		size_t n, pages;
	} sizes[] = { { 700, 1 }, { 5, 9000 } };
	const size_t n = sizes[_i / METHODS].n, pages = sizes[_i / METHODS].pages;
	char *p = in_pieces(n, pages);

	if (!coalesces(_i % METHODS, p, n * pages * page))
		return;
	ck_assert_int_eq(mappings(p, n * pages * page), 1);
	check_pieces(p, n, pages);
	if (_i % METHODS == UFFD_MOVE)
		ck_assert_uint_eq(report.relocated, n);
}
END_TEST

/* What one batch has relocated, the next one need not. */
START_TEST(batch_ends)
{
	enum { small = 256, large = 400 };
	char *p = in_pieces(small, 1), *area, *from = map(large, RW);

	area = map(small + large + 2, PROT_NONE) + page;
	for (size_t i = 0; i < small; i++)
		ck_assert_ptr_ne(mremap(p + i * page, page, page, FIXED,
					area + i * page), MAP_FAILED);
	fill_piece(from, small, large * page);
	ck_assert_ptr_ne(mremap(from, large * page, large * page, FIXED,
				area + small * page), MAP_FAILED);
	if (!coalesces(UFFD_MOVE, area, (small + large) * page))
		return;
	ck_assert_int_eq(mappings(area, (small + large) * page), 1);
	ck_assert_uint_eq(report.relocated, small + 1);
	check_pieces(area, small, 1);
	check_piece(area + small * page, small, large * page);
}
END_TEST

/* What has the place of its address already stays, and others come to it. */
START_TEST(largest_stays)
{
	enum { large = 100 };
	char *area = map(large + 6, PROT_NONE), *p = area + 3 * page, *from;

	if (!supported(UFFD_MOVE))
		return;
	ck_assert_int_eq(mprotect(p, large * page, RW), 0);
	fill_piece(p, 9, large * page);
	for (int i = 0; i < 2; i++) {
		from = map(2, PROT_NONE);
		ck_assert_int_eq(mprotect(from, page, RW), 0);
		fill_piece(from, (size_t)i, page);
		ck_assert_ptr_ne(mremap(from, page, page, FIXED, i ?
					p + large * page : p - page), MAP_FAILED);
	}
	ck_assert_int_eq(mappings(p - page, (large + 2) * page), 3);
	ck_assert(coalesces(UFFD_MOVE, p - page, (large + 2) * page));
	ck_assert_int_eq(mappings(p - page, (large + 2) * page), 1);
	ck_assert_uint_eq(report.relocated, 2);
	check_piece(p - page, 0, page);
	check_piece(p, 9, large * page);
	check_piece(p + large * page, 1, page);
}
END_TEST

/* Holes, and mappings of other kinds, are no error. */
START_TEST(among_others)
{
	enum { n = 12 };
	char *p = in_pieces(n, 1), *file;
	int fd = memfd_create("test", 0);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(ftruncate(fd, (off_t)page), 0);
	munmap(p + 2 * page, page);
	file = mmap(p + 5 * page, page, RW, MAP_SHARED | MAP_FIXED, fd, 0);
	ck_assert_ptr_ne(file, MAP_FAILED);
	file[0] = 'f';
	ck_assert_int_eq(mprotect(p + 8 * page, page, PROT_READ), 0);
	close(fd);
	if (!coalesces(_i, p - page, (n + 2) * page))
		return;
	/* 0-1, 3-4, the file, 6-7, the one that is read only, 9-11 */
	ck_assert_int_eq(mappings(p, n * page), 6);
	ck_assert_int_eq(file[0], 'f');
	ck_assert(!is_mapped(p + 2 * page));
	for (size_t i = 0; i < n; i++)
		if (i != 2 && i != 5)
			check_piece(p + i * page, i, page);
}
END_TEST

/* UFFD_MOVE: what is not wholly in the range is not touched. */
START_TEST(beside_the_range)
{
	enum { n = 6 };
	char *p = in_pieces(n, 2);

	if (!supported(UFFD_MOVE))
		return;
	/* From the midst of the second to the midst of the fifth */
	ck_assert(coalesces(UFFD_MOVE, p + 3 * page, 6 * page));
	ck_assert_uint_eq(report.relocated, 2);
	ck_assert_int_eq(mappings(p, 2 * n * page), n - 1);
	ck_assert_int_eq(mappings(p + 4 * page, 4 * page), 1);
	check_pieces(p, n, 2);
}
END_TEST

/* Large pages, holes within, and pages that are in swap. */
START_TEST(other_pages)
{
	const size_t size = 4 * HUGE;
	char *area = map(3 * size / page, PROT_NONE), *p, *from;

	from = map(3 * size / page, RW);
	p = area + (-(uintptr_t)area & (HUGE - 1));
	from += -(uintptr_t)from & (HUGE - 1);
	madvise(from, size, MADV_HUGEPAGE);
	for (size_t i = 0; i < 4; i++) {
		char *f = from + i * HUGE;

		fill_piece(f, 3 - i, HUGE);
		madvise(f + HUGE / 2, 4 * page, MADV_DONTNEED);
		ck_assert_ptr_ne(mremap(f, HUGE, HUGE, FIXED,
					p + (3 - i) * HUGE), MAP_FAILED);
	}
	madvise(p + HUGE, HUGE, MADV_PAGEOUT);
	ck_assert_int_eq(mappings(p, size), 4);
	if (coalesces(_i, p, size))
		ck_assert_int_eq(mappings(p, size), 1);
	for (size_t i = 0; i < 4; i++) {
		check_piece(p + i * HUGE, i, HUGE / 2);
		check_filled(p + i * HUGE + HUGE / 2, 4, 0);
		fill_piece(p + i * HUGE + HUGE / 2, 0, 4 * page);
	}
}
END_TEST

/* ---- what stays apart ------------------------------------------------------- */

/* They differ: nothing is relocated for nothing. */
START_TEST(differing)
{
	enum { n = 8 };
	char *p = in_pieces(n, 1);

	for (size_t i = 0; i < n; i += 2)
		ck_assert_int_eq(madvise(p + i * page, page, MADV_DONTDUMP), 0);
	if (!coalesces(_i, p, n * page))
		return;
	ck_assert_int_eq(mappings(p, n * page), n);
	ck_assert_uint_eq(report.relocated, 0);
	ck_assert_uint_eq(report.apart, 0);
	check_pieces(p, n, 1);
}
END_TEST

/* Until a line comes, or the parent has gone. */
static void wait_for(int fd)
{
	char byte;

	while (read(fd, &byte, 1) < 0 && errno == EINTR)
		;
}

/* What a child shares stays apart, in both, and is not copied. */
START_TEST(shared_after_fork)
{
	enum { n = 8 };
	char *p = in_pieces(n, 1);
	int ends[2], status, here, there;
	pid_t child;

	supported(_i);
	ck_assert_int_eq(pipe(ends), 0);
	child = fork();
	ck_assert_int_ge(child, 0);
	if (!child) {
		close(ends[1]);
		wait_for(ends[0]);
		/* The child's are as they were; alone, they are its own. */
		check_pieces(p, n, 1);
		if (supported(_i)) {
			ck_assert(coalesces(_i, p, n * page));
			check_pieces(p, n, 1);
		}
		there = mappings(p, n * page);
		_exit(there);
	}
	close(ends[0]);
	/* Two of them are ours alone. */
	p[2 * page]++;
	p[3 * page]++;
	if (coalesces(_i, p, n * page)) {
		here = mappings(p, n * page);
		/* Neighbours may come to what is shared, if it need not go anywhere. */
		ck_assert_int_ge(here, n - 3);
		ck_assert_int_le(here, n - 1);
		if (_i == UFFD_MOVE) {
			ck_assert_uint_gt(report.apart, 0);
			ck_assert_int_eq(report.apart_reason,
					 MREMAP_COMPAT_BUSY);
		}
	}
	p[2 * page]--;
	p[3 * page]--;
	check_pieces(p, n, 1);
	close(ends[1]);
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert(WIFEXITED(status));
	ck_assert_int_le(WEXITSTATUS(status), n);
	ck_assert_int_gt(WEXITSTATUS(status), 0);
	/* Now that it has gone, all of it is ours. */
	if (supported(_i)) {
		ck_assert(coalesces(_i, p, n * page));
		ck_assert_int_eq(mappings(p, n * page), 1);
		check_pieces(p, n, 1);
	}
}
END_TEST

/* One that stays for the same reason as the one before, tried from either side. */
START_TEST(apart_again)
{
	enum { n = 5 };
	char *p = in_pieces(n, 1);
	int ends[2];
	pid_t child;

	if (!supported(UFFD_MOVE))
		return;
	for (size_t i = 0; i < n; i += 2)
		ck_assert_int_eq(madvise(p + i * page, page, MADV_DONTFORK), 0);
	ck_assert_int_eq(pipe(ends), 0);
	child = fork();
	ck_assert_int_ge(child, 0);
	if (!child) {
		close(ends[1]);
		wait_for(ends[0]);
		_exit(0);
	}
	ck_assert_int_eq(madvise(p, n * page, MADV_DOFORK), 0);
	ck_assert(coalesces(UFFD_MOVE, p, n * page));
	ck_assert_int_eq(mappings(p, n * page), n);
	ck_assert_uint_eq(report.apart, n - 1);
	ck_assert_int_eq(report.apart_reason, MREMAP_COMPAT_BUSY);
	close(ends[1]);
	ck_assert_int_eq(waitpid(child, NULL, 0), child);
	check_pieces(p, n, 1);
}
END_TEST

static bool kills(const char *p)
{
	int status;
	pid_t pid = fork();

	ck_assert_int_ge(pid, 0);
	if (!pid) {
		signal(SIGSEGV, SIG_DFL);
		_exit(*(const volatile char *)p & 0);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	return WIFSIGNALED(status);
}

/* Whether a mapping has the mark of those with guard pages (Linux 6.18). */
static bool is_marked(const char *p)
{
	FILE *smaps = fopen("/proc/self/smaps", "r");
	bool here = false, marked = false;
	char line[512];

	ck_assert_ptr_nonnull(smaps);
	while (fgets(line, sizeof(line), smaps)) {
		unsigned long from, to;

		if (sscanf(line, "%lx-%lx ", &from, &to) == 2)
			here = (unsigned long)p >= from && (unsigned long)p < to;
		else if (here && !strncmp(line, "VmFlags:", 8))
			marked = strstr(line, " gu");
	}
	fclose(smaps);
	return marked;
}

/* Guard pages still guard. */
START_TEST(guards)
{
	enum { n = 6 };
	char *p = in_pieces(n, 2);
	bool done;

	if (madvise(p + 4 * page, page, MADV_GUARD_INSTALL))
		return;
	done = coalesces(_i, p, 2 * n * page);
	ck_assert(kills(p + 4 * page));
	check_piece(p, 0, 2 * page);
	ck_assert_int_eq(p[5 * page], (char)byte_of(2, page));
	check_pieces(p, 2, 2);
	for (size_t i = 3; i < n; i++)
		check_piece(p + 2 * i * page, i, 2 * page);
	if (!done)
		return;
	if (_i == UFFD_MOVE) {
		/* 0-1, 2 with the guard, 3-5 */
		ck_assert_int_eq(mappings(p, 2 * n * page), 3);
		ck_assert_int_eq(report.apart_reason, MREMAP_COMPAT_UNSUITABLE);
		/* The mark would stay for ever. */
		ck_assert(!is_marked(p));
		ck_assert(!is_marked(p + 2 * (n - 1) * page));
	} else {
		ck_assert_int_eq(mappings(p, 2 * n * page), 1);
	}
}
END_TEST

static long locked_kib(void)
{
	char text[8192], *line;

	read_file("/proc/self/status", text, sizeof(text));
	line = strstr(text, "VmLck:");
	return line ? atol(line + 6) : -1;
}

/* What is locked stays so: the kernel merges it with its like, UFFD_MOVE does not. */
START_TEST(locked)
{
	enum { n = 6 };
	char *p = in_pieces(n, 1);
	long before;

	/* Sanitizers make mlock() do nothing. */
	if (syscall(SYS_mlock, p + 2 * page, 2 * page))
		return;
	before = locked_kib();
	if (coalesces(_i, p, n * page))
		ck_assert_int_eq(mappings(p, n * page), _i == KERNEL ? 3 : 4);
	ck_assert_int_eq(locked_kib(), before);
	check_pieces(p, n, 1);
}
END_TEST

/* Memory that the program watches stays watched. */
START_TEST(watched)
{
	enum { n = 4 };
	char *p = in_pieces(n, 1);
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register request = {
		.range = { (uintptr_t)p, 2 * page },
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};
	const int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK |
				    UFFD_USER_MODE_ONLY);

	if (fd < 0)
		return;
	ck_assert_int_eq(ioctl(fd, UFFDIO_API, &api), 0);
	ck_assert_int_eq(ioctl(fd, UFFDIO_REGISTER, &request), 0);
	if (coalesces(_i, p, n * page))
		ck_assert_int_eq(mappings(p, n * page), _i == KERNEL ? 2 : 3);
	check_pieces(p, n, 1);
	/* All of it can be unregistered: it has been registered. */
	madvise(p + page, page, MADV_DONTNEED);
	ck_assert_int_eq(ioctl(fd, UFFDIO_UNREGISTER, &request.range), 0);
	close(fd);
}
END_TEST

/* ---- the contract ----------------------------------------------------------- */

#define ck_fails_with(call, err) do { \
	errno = 0; \
	ck_assert_int_eq((call), -1); \
	ck_assert_int_eq(errno, (err)); \
} while (0)

START_TEST(wrong_calls)
{
	char *p = in_pieces(2, 1);
	char *last = (char *)(UINTPTR_MAX - page + 1);
	const unsigned int all = MREMAP_COMPAT_ALL_METHODS;

	memset(&report, 0xff, sizeof(report));
	ck_fails_with(mremap_compat_coalesce(p + 1, page, all, &report), EINVAL);
	ck_assert_uint_eq(report.method, 0);
	ck_assert_int_eq(report.reason[KERNEL], MREMAP_COMPAT_NOT_TRIED);
	ck_assert_int_eq(report.reason[2], MREMAP_COMPAT_NOT_ALLOWED);
	ck_fails_with(mremap_compat_coalesce(p + 1, 0, all, NULL), EINVAL);
	/* No such size, no such range */
	ck_fails_with(mremap_compat_coalesce(p, SIZE_MAX, all, NULL), EINVAL);
	ck_fails_with(mremap_compat_coalesce(p, SIZE_MAX - page + 2, all, NULL),
		      EINVAL);
	ck_fails_with(mremap_compat_coalesce(p, SIZE_MAX - page + 1, all, NULL),
		      EINVAL);
	ck_fails_with(mremap_compat_coalesce(last, page, all, NULL), EINVAL);
	ck_fails_with(mremap_compat_coalesce(last, 2 * page, all, NULL), EINVAL);
	ck_fails_with(mremap_compat_coalesce(p, page, 0, NULL), EINVAL);
	ck_fails_with(mremap_compat_coalesce(p, page, 16 | 1, NULL), EINVAL);
	ck_fails_with(mremap_compat_coalesce(p, page, MREMAP_COMPAT_COPY |
					     MREMAP_COMPAT_PLAIN, NULL), EINVAL);
	ck_assert_int_eq(mappings(p, 2 * page), 2);
	check_pieces(p, 2, 1);
}
END_TEST

START_TEST(nothing_to_do)
{
	char *p = in_pieces(2, 1), *hole = map(3, PROT_NONE);

	/* Not even where no method is there */
	errno = ENOTTY;
	ck_assert_int_eq(mremap_compat_coalesce(p, 0, 15, &report), 0);
	ck_assert_int_eq(mremap_compat_coalesce(NULL, 0, 1, NULL), 0);
	ck_assert_int_eq(mremap_compat_coalesce(NULL, 0, 2, NULL), 0);
	ck_assert_int_eq(errno, ENOTTY);
	ck_assert_uint_eq(report.method, 0);
	ck_assert_int_eq(mappings(p, 2 * page), 2);
	munmap(hole, 3 * page);
	if (coalesces(_i, hole + page, page))
		ck_assert_uint_eq(report.relocated, 0);
	/* A size is rounded up. */
	if (coalesces(_i, p, page + 1))
		ck_assert_int_eq(mappings(p, 2 * page), 1);
	check_pieces(p, 2, 1);
}
END_TEST

START_TEST(choice)
{
	char *p = in_pieces(3, 1);
	const int best = supported(KERNEL) ? KERNEL : UFFD_MOVE;

	/* Both: the kernel first; the others of a set do not matter. */
	if (supported(best)) {
		ck_assert_int_eq(mremap_compat_coalesce(p, 3 * page,
							MREMAP_COMPAT_ALL_METHODS,
							&report), 0);
		ck_assert_uint_eq(report.method, methods[best]);
		ck_assert_int_eq(report.reason[best], MREMAP_COMPAT_USED);
		ck_assert_int_eq(report.reason[!best], best == KERNEL ?
				 MREMAP_COMPAT_NOT_TRIED :
				 MREMAP_COMPAT_NOT_SUPPORTED);
		ck_assert_int_eq(mappings(p, 3 * page), 1);
	}
	p = in_pieces(3, 1);
	mremap_compat_set_methods(MREMAP_COMPAT_PLAIN);
	ck_fails_with(mremap_compat_coalesce(p, 3 * page, BOTH, &report),
		      EOPNOTSUPP);
	ck_assert_int_eq(report.reason[KERNEL], MREMAP_COMPAT_SWITCHED_OFF);
	ck_assert_int_eq(report.reason[UFFD_MOVE], MREMAP_COMPAT_SWITCHED_OFF);
	ck_assert_int_eq(mappings(p, 3 * page), 3);
	mremap_compat_set_methods(MREMAP_COMPAT_ALL_METHODS & ~1U);
	if (supported(UFFD_MOVE)) {
		ck_assert_int_eq(mremap_compat_coalesce(p, 3 * page, BOTH,
							&report), 0);
		ck_assert_int_eq(report.reason[KERNEL],
				 MREMAP_COMPAT_SWITCHED_OFF);
		ck_assert_int_eq(mappings(p, 3 * page), 1);
		check_pieces(p, 3, 1);
	}
}
END_TEST

/* ---- at the same time ------------------------------------------------------- */

static volatile sig_atomic_t handled;
static char *for_handler;
static int method_for_handler;

static void in_handler(int sig)
{
	(void)sig;
	handled = mremap_compat_coalesce(for_handler, 8 * page,
					 methods[method_for_handler], NULL) ?
		  -1 : 1;
}

/* Raises SIGUSR1, for in_handler(), which merges eight pieces by the method. */
static void check_in_handler(int method, char *p)
{
	for_handler = p;
	method_for_handler = method;
	raise(SIGUSR1);
	ck_assert_int_eq(handled, supported(method) ? 1 : -1);
	if (supported(method))
		ck_assert_int_eq(mappings(p, 8 * page), 1);
	check_pieces(p, 8, 1);
}

START_TEST(in_a_signal_handler)
{
	char *p = in_pieces(8, 1);

	signal(SIGUSR1, in_handler);
	check_in_handler(_i, p);
}
END_TEST

#if defined(NO_SANITIZER) && defined(__OPTIMIZE__) && !defined(LARGE_FRAMES)
# define ON_A_SMALL_STACK 1
#if defined(__x86_64__) || defined(__i386__)
# define SMALL_STACK 8192
#elif defined(__aarch64__)
# define SMALL_STACK 16384
#else
# define SMALL_STACK (2 * 16384)
#endif

/*
 * In a handler on the smallest stack that the header promises to do with, of what the C
 * library has called SIGSTKSZ; also where the kernel has no PROCMAP_QUERY.
 */
START_TEST(on_a_small_stack)
{
	const size_t size = (SMALL_STACK + page - 1) & -page;
	struct sigaction action = {
		.sa_handler = in_handler, .sa_flags = SA_ONSTACK
	};
	const int i = _i / 2;
	char *p = in_pieces(8, 1), *area = map(size / page + 1, PROT_NONE);
	stack_t stack = { .ss_sp = area + page, .ss_size = size };

	ck_assert_int_eq(mprotect(area + page, size, RW), 0);
	memset(area + page, 's', size);
	supported(i);
	if (_i % 2)
		filter(SYS_ioctl, 1, 0xc0686611, SECCOMP_RET_ERRNO | ENOTTY);
	/* So that ld.so has bound what is called, for which it saves all registers. */
	coalesces(i, in_pieces(8, 1), 8 * page);
	/* A processor can have more to save than goes there. */
	if (sigaltstack(&stack, NULL)) {
		ck_assert_int_eq(errno, ENOMEM);
		return;
	}
	ck_assert_int_eq(sigaction(SIGUSR1, &action, NULL), 0);
	check_in_handler(i, p);
}
END_TEST
#endif

static bool ended;
static char *used;
static long wrong;

/* The kernel's advice is for memory in use. */
static void *use_memory(void *argument)
{
	size_t round = 0;

	(void)argument;
	while (!__atomic_load_n(&ended, __ATOMIC_RELAXED)) {
		for (size_t i = 0; i < 64; i++) {
			volatile size_t *place = (size_t *)(used + i * page);

			*place = round + i;
			if (*place != round + i)
				wrong++;
		}
		round++;
	}
	return NULL;
}

/* With UFFD_MOVE others may map and unmap. */
static void *map_and_unmap(void *argument)
{
	(void)argument;
	while (!__atomic_load_n(&ended, __ATOMIC_RELAXED)) {
		char *p = mmap(NULL, 3 * page, RW, MAP_PRIVATE | MAP_ANONYMOUS,
			       -1, 0);

		if (p == MAP_FAILED)
			continue;
		p[page] = 'm';
		if (p[page] != 'm')
			wrong++;
		munmap(p, 3 * page);
	}
	return NULL;
}

START_TEST(threads)
{
	/* By UFFD_MOVE each takes many calls for which the other one waits, too. */
	const size_t n = _i == KERNEL ? 64 : 12;
	const int rounds = _i == KERNEL ? 20 : 6;
	pthread_t thread;

	if (!supported(_i))
		return;
	used = in_pieces(64, 1);
	ck_assert_int_eq(pthread_create(&thread, NULL, _i == KERNEL ?
					use_memory : map_and_unmap, NULL), 0);
	for (int k = 0; k < rounds; k++) {
		char *p = in_pieces(n, 1);

		if (_i == KERNEL) {
			ck_assert(coalesces(_i, p, n * page));
			ck_assert_int_eq(mappings(p, n * page), 1);
		} else if (mremap_compat_coalesce(p, n * page, methods[_i],
						  &report)) {
			/* Every place that it tried was taken. */
			ck_assert_int_eq(errno, ENOMEM);
		}
		check_pieces(p, n, 1);
		munmap(p - page, (n + 2) * page);
		if (_i == KERNEL)
			ck_assert(coalesces(_i, used, 64 * page));
	}
	__atomic_store_n(&ended, true, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
	ck_assert_int_eq(wrong, 0);
}
END_TEST

START_TEST(in_a_child)
{
	char *p;
	int status;
	pid_t child = fork();

	ck_assert_int_ge(child, 0);
	if (!child) {
		p = in_pieces(8, 1);
		if (coalesces(_i, p, 8 * page))
			ck_assert_int_eq(mappings(p, 8 * page), 1);
		check_pieces(p, 8, 1);
		_exit(0);
	}
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert_int_eq(status, 0);
}
END_TEST

/* ---- without resources ------------------------------------------------------ */

START_TEST(no_descriptors)
{
	struct rlimit limit = { 0, 4096 };
	char *p = in_pieces(8, 1);
	int result;

	supported(_i);
	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
	limit.rlim_cur = 0;
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
	errno = 0;
	result = mremap_compat_coalesce(p, 8 * page, methods[_i], &report);
	limit.rlim_cur = limit.rlim_max;
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
	if (_i == UFFD_MOVE && supported(_i)) {
		ck_assert_int_eq(result, -1);
		ck_assert_int_eq(errno, ENOMEM);
		ck_assert_int_eq(report.reason[_i], MREMAP_COMPAT_NO_RESOURCES);
	} else if (supported(_i)) {
		ck_assert_int_eq(result, 0);
	}
	check_pieces(p, 8, 1);
}
END_TEST

#ifdef NO_SANITIZER
/*
 * No mapping is left: the kernel's advice needs none, also if it has never been asked;
 * UFFD_MOVE says what it lacks.
 */
START_TEST(no_mappings_left)
{
	enum { n = 40 };
	const bool known = _i / METHODS;
	const int i = _i % METHODS;
	char *p = in_pieces(n, 1), *area = map(200000, PROT_NONE);
	size_t k = 0;
	int result;

	if (known)
		supported(i);
	for (k = 0; k < 200000; k += 2)
		if (mprotect(area + k * page, page, PROT_READ))
			break;
	errno = 0;
	result = mremap_compat_coalesce(p, n * page, methods[i], &report);
	if (result)
		result = errno;
	munmap(area, 200000 * page);
	check_pieces(p, n, 1);
	/* A limit that is higher than that is none here. */
	if (k >= 200000 || !supported(i))
		return;
	/* By itself the kernel has merged them, unless vm.coalesce_at_limit is 0. */
	if (i == UFFD_MOVE && !result && supported(KERNEL)) {
		ck_assert_int_eq(mappings(p, n * page), 1);
		return;
	}
	if (i == KERNEL) {
		ck_assert_int_eq(result, 0);
		ck_assert_int_eq(mappings(p, n * page), 1);
	} else {
		ck_assert_int_eq(result, ENOMEM);
		ck_assert_int_eq(report.reason[i], MREMAP_COMPAT_NO_RESOURCES);
		ck_assert(coalesces(i, p, n * page));
		ck_assert_int_eq(mappings(p, n * page), 1);
		check_pieces(p, n, 1);
	}
}
END_TEST

START_TEST(no_address_space)
{
	struct rlimit limit = { 1, RLIM_INFINITY };
	char *p = in_pieces(8, 1);
	int result;

	supported(_i);
	ck_assert_int_eq(setrlimit(RLIMIT_AS, &limit), 0);
	errno = 0;
	result = mremap_compat_coalesce(p, 8 * page, methods[_i], &report);
	if (result)
		result = errno;
	limit.rlim_cur = RLIM_INFINITY;
	ck_assert_int_eq(setrlimit(RLIMIT_AS, &limit), 0);
	if (supported(_i))
		ck_assert_int_eq(result, _i == KERNEL ? 0 : ENOMEM);
	check_pieces(p, 8, 1);
}
END_TEST
#endif

/* ---- played kernels --------------------------------------------------------- */

static const struct {
	int err;
	enum mremap_compat_support answer;
	enum mremap_compat_reason reason;
	int fails;		/* with KERNEL alone */
} refusals[] = {
	{ EINVAL, MREMAP_COMPAT_UNSUPPORTED, MREMAP_COMPAT_NOT_SUPPORTED,
	  EOPNOTSUPP },
	{ ENOSYS, MREMAP_COMPAT_UNSUPPORTED, MREMAP_COMPAT_NOT_SUPPORTED,
	  EOPNOTSUPP },
	{ EPERM, MREMAP_COMPAT_NOT_PERMITTED, MREMAP_COMPAT_FORBIDDEN, EPERM },
	{ EACCES, MREMAP_COMPAT_NOT_PERMITTED, MREMAP_COMPAT_FORBIDDEN, EPERM },
	{ ENOMEM, MREMAP_COMPAT_UNKNOWN, MREMAP_COMPAT_NO_RESOURCES, ENOMEM },
	/* A sandbox that pretends to have done it */
	{ 0, MREMAP_COMPAT_UNSUPPORTED, MREMAP_COMPAT_NOT_SUPPORTED,
	  EOPNOTSUPP },
};
#define REFUSALS ((int)(sizeof(refusals) / sizeof(refusals[0])))

/* With KERNEL alone it fails; with UFFD_MOVE it merges, where that is there. */
static void check_without_advice(int i)
{
	char *p = in_pieces(5, 1);

	ck_fails_with(mremap_compat_coalesce(p, 5 * page, MREMAP_COMPAT_KERNEL,
					     &report), refusals[i].fails);
	ck_assert_int_eq(report.reason[KERNEL], refusals[i].reason);
	ck_assert_uint_eq(report.method, 0);
	ck_assert_int_eq(mappings(p, 5 * page), 5);
	if (supported(UFFD_MOVE)) {
		errno = ENOTTY;
		ck_assert_int_eq(mremap_compat_coalesce(p, 5 * page, BOTH,
							&report), 0);
		ck_assert_int_eq(errno, ENOTTY);
		ck_assert_int_eq(report.reason[KERNEL], refusals[i].reason);
		ck_assert_int_eq(report.reason[UFFD_MOVE], MREMAP_COMPAT_USED);
		ck_assert_uint_eq(report.method, MREMAP_COMPAT_UFFD_MOVE);
		ck_assert_int_eq(mappings(p, 5 * page), 1);
	}
	check_pieces(p, 5, 1);
}

START_TEST(refused)
{
	const long before = mapped_pages();

	filter(SYS_madvise, 2, MADV_COALESCE,
	       SECCOMP_RET_ERRNO | (uint32_t)refusals[_i].err);
	errno = ENOTTY;
	ck_assert_int_eq(mremap_compat_probe_coalesce(), refusals[_i].answer);
	ck_assert_int_eq(errno, ENOTTY);
	ck_assert_int_eq(mapped_pages(), before);
	check_without_advice(_i);
	ck_assert_int_eq(mremap_compat_probe_coalesce(), refusals[_i].answer);
}
END_TEST

/* An emulator that ignores what it does not know says yes to all. */
START_TEST(all_advice_ignored)
{
	filter(SYS_madvise, 2, MADV_COALESCE, SECCOMP_RET_ERRNO | 0);
	filter(SYS_madvise, 2, 0x40000000, SECCOMP_RET_ERRNO | 0);
	ck_assert_int_eq(mremap_compat_probe_coalesce(),
			 MREMAP_COMPAT_UNSUPPORTED);
	check_without_advice(0);
}
END_TEST

/* UFFD_MOVE is not to be had either, for one reason or another. */
START_TEST(nothing_there)
{
	static const struct {
		int err, fails;
		enum mremap_compat_reason reason;
	} refusals_of_uffd[] = {
		{ ENOSYS, EOPNOTSUPP, MREMAP_COMPAT_NOT_SUPPORTED },
		{ EPERM, EPERM, MREMAP_COMPAT_FORBIDDEN },
		{ EMFILE, ENOMEM, MREMAP_COMPAT_NO_RESOURCES },
	};
	const bool later = _i % 2;
	char *p = in_pieces(5, 1);

	if (geteuid() == 0)
		ck_assert_int_eq(setresuid(65534, 65534, 65534), 0);
	ck_assert_int_eq(prctl(PR_SET_DUMPABLE, 1, 0, 0, 0), 0);
	if (later && !supported(UFFD_MOVE))
		return;
	filter(SYS_madvise, 2, MADV_COALESCE, SECCOMP_RET_ERRNO | EINVAL);
	for (uint32_t flags = 0; flags < 2; flags++)
		filter(SYS_userfaultfd, 0, flags | O_CLOEXEC | O_NONBLOCK,
		       SECCOMP_RET_ERRNO | (uint32_t)refusals_of_uffd[_i / 2].err);
	ck_fails_with(mremap_compat_coalesce(p, 5 * page, BOTH, &report),
		      refusals_of_uffd[_i / 2].fails);
	ck_assert_int_eq(report.reason[UFFD_MOVE],
			 refusals_of_uffd[_i / 2].reason);
	ck_assert_int_eq(mappings(p, 5 * page), 5);
	check_pieces(p, 5, 1);
}
END_TEST

#ifndef __SANITIZE_THREAD__	/* which makes calls of its own */
/*
 * A filter ends the thread at one of its calls, or refuses it, in the midst of the work
 * or at its end: nothing is lost.
 */
static const struct {
	long number;
	int argument;
	uint32_t value;
} hit[] = {
	{ SYS_ioctl, 1, 0xc028aa05 },	/* UFFDIO_MOVE */
	{ SYS_ioctl, 1, 0xc020aa00 },	/* UFFDIO_REGISTER */
	{ SYS_ioctl, 1, 0x8010aa01 },	/* UFFDIO_UNREGISTER */
	{ SYS_ioctl, 1, 0xc0686611 },	/* PROCMAP_QUERY */
	{ SYS_msync, 2, MS_INVALIDATE },
	{ SYS_mprotect, 2, PROT_READ },
	{ SYS_mremap, 3, MAY | MREMAP_DONTUNMAP },
	{ SYS_munmap, 1, 0 },		/* of a size that is set below */
	{ SYS_read, 2, 512 },
	{ SYS_openat, 2, O_RDONLY | O_CLOEXEC },
	/* By which what has been begun is undone: refused only */
	{ SYS_mremap, 3, FIXED },
};
#define HIT ((int)(sizeof(hit) / sizeof(hit[0])))

START_TEST(hit_on_the_way)
{
	enum { n = 6 };
	const int h = _i / 2;
	const bool refused_only = _i % 2 || h == HIT - 1;
	char *p = in_pieces(n, 3);
	int result, err;

	if (!supported(UFFD_MOVE))
		return;
	filter(hit[h].number, hit[h].argument, hit[h].number == SYS_munmap ?
	       (uint32_t)(3 * page) : hit[h].value,
	       refused_only ? SECCOMP_RET_ERRNO | ENOMEM :
			      SECCOMP_RET_KILL_THREAD);
	errno = 0;
	result = mremap_compat_coalesce(p, 3 * n * page,
					MREMAP_COMPAT_UFFD_MOVE, &report);
	err = errno;
	for (size_t i = 0; i < n; i++)
		for (size_t k = 0; k < 3 * page; k++)
			if ((unsigned char)p[i * 3 * page + k] != byte_of(i, k))
				_exit(1);
	if (result && err != ENOMEM && err != EPERM && err != EOPNOTSUPP)
		_exit(2);
	/* libcheck and what counts coverage make such calls, too. */
	_exit(0);
}
END_TEST
#endif

#ifdef __x86_64__

static struct {
	int err;		/* that it answers, 0: it does it */
	bool does_nothing;
	int idle;		/* so many calls for some bytes, at first, do nothing */
	bool loses;		/* contents */
	int calls;
} kernel;

/* A kernel that has the advice, in a signal handler: for what is read and written. */
static void play_kernel(int sig, siginfo_t *info, void *context)
{
	static char kept[64 * 4096];
	greg_t *reg = ((ucontext_t *)context)->uc_mcontext.gregs;
	char *start = (char *)reg[REG_RDI];
	const size_t size = (size_t)reg[REG_RSI];
	const int saved_errno = errno;

	(void)sig;
	(void)info;
	kernel.calls++;
	reg[REG_RAX] = -kernel.err;
	if (size && kernel.idle) {
		kernel.idle--;
	} else if (!kernel.err && size && !kernel.does_nothing &&
		   size <= sizeof(kept)) {
		memcpy(kept, start, size);
		mmap(start, size, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED,
		     -1, 0);
		if (!kernel.loses)
			memcpy(start, kept, size);
	}
	errno = saved_errno;
}

static void boot(void)
{
	struct sigaction action = {
		.sa_sigaction = play_kernel, .sa_flags = SA_SIGINFO
	};

	ck_assert_int_eq(sigaction(SIGSYS, &action, NULL), 0);
	filter(SYS_madvise, 2, MADV_COALESCE, SECCOMP_RET_TRAP);
}

START_TEST(played)
{
	char *p = in_pieces(5, 1);
	long before;

	boot();
	before = mapped_pages();
	ck_assert_int_eq(mremap_compat_probe_coalesce(),
			 MREMAP_COMPAT_SUPPORTED);
	ck_assert_int_eq(mapped_pages(), before);
	/* For no bytes, and for pieces */
	ck_assert_int_eq(kernel.calls, 2);
	ck_assert(coalesces(KERNEL, p, 5 * page));
	ck_assert_int_eq(kernel.calls, 3);
	check_pieces(p, 5, 1);
}
END_TEST

/* A page can have been busy when it was tried. */
START_TEST(merges_at_last)
{
	long before;

	boot();
	before = mapped_pages();
	kernel.idle = 1;
	ck_assert_int_eq(mremap_compat_probe_coalesce(),
			 MREMAP_COMPAT_SUPPORTED);
	ck_assert_int_eq(mapped_pages(), before);
	ck_assert_int_eq(kernel.calls, 3);
}
END_TEST

/* What merges nothing, or is another advice, is not that one. */
START_TEST(not_that_advice)
{
	long before;

	boot();
	before = mapped_pages();
	kernel.does_nothing = !_i;
	kernel.loses = _i;
	ck_assert_int_eq(mremap_compat_probe_coalesce(),
			 MREMAP_COMPAT_UNSUPPORTED);
	ck_assert_int_eq(mapped_pages(), before);
	check_without_advice(0);
}
END_TEST

/* Errors of a kernel that has it; what it has not done is not done by others. */
START_TEST(errors)
{
	static const int passed_on[] = { ENOMEM, EINTR, EAGAIN };
	char *p = in_pieces(5, 1);

	boot();
	ck_assert_int_eq(mremap_compat_probe_coalesce(),
			 MREMAP_COMPAT_SUPPORTED);
	kernel.err = passed_on[_i];
	kernel.calls = 0;
	ck_fails_with(mremap_compat_coalesce(p, 5 * page, BOTH, &report),
		      passed_on[_i]);
	ck_assert_int_eq(kernel.calls, 1);
	ck_assert_uint_eq(report.method, MREMAP_COMPAT_KERNEL);
	ck_assert_int_eq(report.reason[KERNEL], passed_on[_i] == EINTR ?
			 MREMAP_COMPAT_USED : MREMAP_COMPAT_NO_RESOURCES);
	ck_assert_int_eq(report.reason[UFFD_MOVE], MREMAP_COMPAT_NOT_TRIED);
	check_pieces(p, 5, 1);
}
END_TEST

/* A filter installed, or a checkpoint restored elsewhere, after the probe */
START_TEST(refused_later)
{
	boot();
	ck_assert_int_eq(mremap_compat_probe_coalesce(),
			 MREMAP_COMPAT_SUPPORTED);
	kernel.err = refusals[_i].err;
	check_without_advice(_i);
	ck_assert_int_eq(mremap_compat_probe_coalesce(), refusals[_i].answer);
}
END_TEST

#endif

static Suite *suite(void)
{
	Suite *s = suite_create("compat_coalesce");
	TCase *live = tcase_create("live");
	TCase *need = tcase_create("need");
	TCase *simulated = tcase_create("simulated");

	tcase_add_checked_fixture(live, setup, NULL);
	tcase_add_test(live, probe);
	tcase_add_loop_test(live, merges, 0, METHODS);
	tcase_add_loop_test(live, many, 0, 2 * METHODS);
	tcase_add_test(live, batch_ends);
	tcase_add_test(live, largest_stays);
	tcase_add_loop_test(live, among_others, 0, METHODS);
	tcase_add_test(live, beside_the_range);
	tcase_add_loop_test(live, other_pages, 0, METHODS);
	tcase_add_loop_test(live, differing, 0, METHODS);
	tcase_add_loop_test(live, shared_after_fork, 0, METHODS);
	tcase_add_test(live, apart_again);
	tcase_add_loop_test(live, guards, 0, METHODS);
	tcase_add_loop_test(live, locked, 0, METHODS);
	tcase_add_loop_test(live, watched, 0, METHODS);
	tcase_add_test(live, wrong_calls);
	tcase_add_loop_test(live, nothing_to_do, 0, METHODS);
	tcase_add_test(live, choice);
	tcase_add_loop_test(live, in_a_signal_handler, 0, METHODS);
#ifdef ON_A_SMALL_STACK
	tcase_add_loop_test(live, on_a_small_stack, 0, 2 * METHODS);
#endif
	tcase_add_loop_test(live, threads, 0, METHODS);
	tcase_add_loop_test(live, in_a_child, 0, METHODS);
	suite_add_tcase(s, live);

	tcase_add_checked_fixture(need, setup, NULL);
	tcase_set_tags(need, "slow");
	tcase_add_loop_test(need, no_descriptors, 0, METHODS);
#ifdef NO_SANITIZER
	tcase_add_loop_test(need, no_mappings_left, 0, 2 * METHODS);
	tcase_add_loop_test(need, no_address_space, 0, METHODS);
#endif
	suite_add_tcase(s, need);

	tcase_add_checked_fixture(simulated, setup, NULL);
	tcase_add_loop_test(simulated, refused, 0, REFUSALS);
	tcase_add_test(simulated, all_advice_ignored);
	tcase_add_loop_test(simulated, nothing_there, 0, 6);
#ifndef __SANITIZE_THREAD__
	tcase_add_loop_exit_test(simulated, hit_on_the_way, 0, 0, 2 * HIT - 1);
#endif
#ifdef __x86_64__
	tcase_add_test(simulated, played);
	tcase_add_test(simulated, merges_at_last);
	tcase_add_loop_test(simulated, not_that_advice, 0, 2);
	tcase_add_loop_test(simulated, errors, 0, 3);
	/* The first four of the table are refusals. */
	tcase_add_loop_test(simulated, refused_later, 0, 4);
#endif
	suite_add_tcase(s, simulated);
	return s;
}

int main(void)
{
	return run_suite(suite());
}
