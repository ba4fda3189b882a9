/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * mremap_compat_ext() and mremap_compat_realloc() by each method, on the kernel
 * that runs. RELOCATE_METHODS, a list of names with commas, says which methods
 * must be there ("plain,copy"); what is not there must be refused.
 */

#define _GNU_SOURCE
#include "compat.h"

#include <linux/io_uring.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/wait.h>

#ifndef MADV_GUARD_INSTALL
# define MADV_GUARD_INSTALL 102
#endif
#ifndef MADV_PAGEOUT
# define MADV_PAGEOUT 21
#endif
#ifndef PR_SET_VMA
# define PR_SET_VMA 0x53564d41
# define PR_SET_VMA_ANON_NAME 0
#endif
#ifndef PR_SET_MDWE
# define PR_SET_MDWE 65
#endif

#define RW (PROT_READ | PROT_WRITE)
#define HUGE ((size_t)2 << 20)

enum { KERNEL, UFFD_MOVE, COPY, PLAIN };	/* in a report */

/* What each test that loops is run with. */
static const unsigned int methods[] = {
	MREMAP_COMPAT_KERNEL, MREMAP_COMPAT_UFFD_MOVE, MREMAP_COMPAT_COPY,
	MREMAP_COMPAT_PLAIN,
};
#define METHODS MREMAP_COMPAT_METHODS
#define RELOCATING (METHODS - 1)
#define ALL MREMAP_COMPAT_ALL_METHODS

static struct mremap_compat_report report;

static bool supported(unsigned int method)
{
	return mremap_compat_probe(method) == MREMAP_COMPAT_SUPPORTED;
}

/*
 * A call with one method that should move the mapping. Where the method is not
 * there, check that it says so and has changed nothing, and return false.
 */
static bool moves(int i, char **p, size_t old_pages, size_t new_pages,
		  int flags, char *to)
{
	const unsigned int method = methods[i];
	char *result, first = (*p)[0];

	errno = ENOTTY;
	result = mremap_compat_ext(*p, old_pages * page, new_pages * page,
				   flags | ANON, to, method, &report);
	if (!supported(method)) {
		ck_assert_ptr_eq(result, MAP_FAILED);
		ck_assert_int_eq(errno, EFAULT);
		ck_assert(report.reason[i] == MREMAP_COMPAT_NOT_SUPPORTED ||
			  report.reason[i] == MREMAP_COMPAT_FORBIDDEN);
		ck_assert_uint_eq(report.method, 0);
		ck_assert_int_eq((*p)[0], first);
		return false;
	}
	ck_assert_msg(result != MAP_FAILED, "%s: %s, reason %d",
		      mremap_compat_method_name(method), strerror(errno),
		      report.reason[i]);
	ck_assert_int_eq(errno, ENOTTY);
	ck_assert_uint_eq(report.method, method);
	for (int k = 0; k < METHODS; k++)
		ck_assert_int_eq(report.reason[k], k == i ?
				 MREMAP_COMPAT_USED :
				 MREMAP_COMPAT_NOT_ALLOWED);
	*p = result;
	return true;
}

/* A call with one method, not for this memory. */
static void refuses(int i, char *p, size_t pages, int flags, char *to,
		    enum mremap_compat_reason reason)
{
	if (!supported(methods[i]))
		return;
	errno = 0;
	ck_assert_ptr_eq(mremap_compat_ext(p, pages * page, pages * page,
					   flags | ANON, to, methods[i],
					   &report), MAP_FAILED);
	ck_assert_int_eq(errno, EFAULT);
	ck_assert_int_eq(report.reason[i], reason);
	ck_assert_uint_eq(report.method, 0);
}

/* Each page begins with its number. */
static void number(char *p, size_t pages)
{
	for (size_t i = 0; i < pages; i++)
		memcpy(p + i * page, &i, sizeof(i));
}

static void check_numbers(const char *p, size_t pages)
{
	for (size_t i = 0; i < pages; i++)
		if (memcmp(p + i * page, &i, sizeof(i)))
			ck_abort_msg("page %zu", i);
}

/* A line of the part of smaps for the mapping that contains p; "" if none. */
static void smaps_line(const char *p, const char *key, char *text, size_t size)
{
	FILE *smaps = fopen("/proc/self/smaps", "r");
	char line[512];
	bool here = false;

	ck_assert_ptr_nonnull(smaps);
	text[0] = '\0';
	while (fgets(line, sizeof(line), smaps)) {
		unsigned long from, to;
		char dash;

		if (sscanf(line, "%lx%c%lx ", &from, &dash, &to) == 3 &&
		    dash == '-') {
			here = (unsigned long)p >= from &&
			       (unsigned long)p < to;
			if (here && !strcmp(key, "name"))
				snprintf(text, size, "%s",
					 strlen(line) > 73 ? line + 73 : "");
		} else if (here && !strncmp(line, key, strlen(key))) {
			snprintf(text, size, "%s", line + strlen(key));
		}
	}
	fclose(smaps);
}

/* Whether reading a page is deadly, which a child finds out. */
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

/* The same by the kernel, which only says so. */
HELPER bool readable(const char *p)
{
	int fd[2];
	bool result;

	ck_assert_int_eq(pipe(fd), 0);
	result = write(fd[1], p, 1) == 1;
	close(fd[0]);
	close(fd[1]);
	return result;
}

HELPER bool writable(char *p)
{
	const char c = *p;
	int fd[2];
	bool result;

	ck_assert_int_eq(pipe(fd), 0);
	ck_assert_int_eq(write(fd[1], &c, 1), 1);
	result = read(fd[0], p, 1) == 1;
	close(fd[0]);
	close(fd[1]);
	return result;
}

/* ---- what is there ---------------------------------------------------------- */

START_TEST(expected_methods)
{
	const char *expect = getenv("RELOCATE_METHODS");

	for (int i = 0; expect && i < METHODS; i++) {
		const char *name = mremap_compat_method_name(methods[i]);

		ck_assert_msg(supported(methods[i]) == !!strstr(expect, name),
			      "%s: %d", name, mremap_compat_probe(methods[i]));
	}
	errno = ENOTTY;
	for (int i = 0; i < METHODS; i++) {
		ck_assert_int_ne(mremap_compat_probe(methods[i]),
				 MREMAP_COMPAT_UNKNOWN);
		ck_assert_int_eq(mremap_compat_probe(methods[i]),
				 mremap_compat_probe(methods[i]));
	}
	ck_assert_int_eq(errno, ENOTTY);
	ck_assert_int_eq(mremap_compat_probe(0), MREMAP_COMPAT_UNKNOWN);
	ck_assert_int_eq(mremap_compat_probe(3), MREMAP_COMPAT_UNKNOWN);
	ck_assert_int_eq(mremap_compat_probe(16), MREMAP_COMPAT_UNKNOWN);
}
END_TEST

START_TEST(names_and_version)
{
	ck_assert_str_eq(mremap_compat_method_name(1), "kernel");
	ck_assert_str_eq(mremap_compat_method_name(2), "uffd-move");
	ck_assert_str_eq(mremap_compat_method_name(4), "copy");
	ck_assert_str_eq(mremap_compat_method_name(8), "plain");
	ck_assert_ptr_null(mremap_compat_method_name(0));
	ck_assert_ptr_null(mremap_compat_method_name(16));
	ck_assert_ptr_null(mremap_compat_method_name(5));
	ck_assert_int_eq(mremap_compat_version(), MREMAP_COMPAT_VERSION);
}
END_TEST

START_TEST(probing_leaves_nothing)
{
	const long before = mapped_pages();
	const int files = open_files();

	mremap_compat_probe(methods[_i]);
	ck_assert_int_eq(mapped_pages(), before);
	ck_assert_int_eq(open_files(), files);
}
END_TEST

/* ---- moves ------------------------------------------------------------------ */

/* To a fixed place between two mappings that were written there. */
START_TEST(merges)
{
	static const size_t sizes[] = { 1, 2, 3, 64, 600 };

	for (size_t k = 0; k < sizeof(sizes) / sizeof(*sizes); k++) {
		const size_t n = sizes[k];
		char *area = map(n + 2, PROT_NONE), *p = filled(n, 'a'), *old;

		old = p;
		number(p, n);
		ck_assert_int_eq(mprotect(area, page, RW), 0);
		area[0] = 'x';
		if (!moves(_i, &p, n, n, FIXED, area + page))
			return;
		ck_assert_ptr_eq(p, area + page);
		ck_assert(!is_mapped(old));
		check_numbers(p, n);
		ck_assert_int_eq(p[n * page - 1], 'a');
		ck_assert_int_eq(area[0], 'x');
		ck_assert_int_eq(mappings(area, (n + 1) * page),
				 _i == PLAIN ? 2 : 1);
	}
}
END_TEST

START_TEST(grows_by_moving)
{
	static const size_t sizes[][2] = {
		{ 1, 2 }, { 2, 7 }, { 3, 4 }, { 100, 700 }, { 600, 601 },
	};

	for (size_t k = 0; k < sizeof(sizes) / sizeof(*sizes); k++) {
		const size_t from = sizes[k][0], to = sizes[k][1];
		char *p = filled(from + 1, 'a'), *old = p;

		/* What is behind it leaves no room. */
		ck_assert_int_eq(mprotect(p + from * page, page, PROT_READ), 0);
		number(p, from);
		if (!moves(_i, &p, from, to, MAY, NULL))
			return;
		ck_assert_ptr_ne(p, old);
		ck_assert(!is_mapped(old));
		ck_assert(is_mapped(old + from * page));
		check_numbers(p, from);
		check_filled(p + from * page, to - from, 0);
		memset(p, 'b', to * page);
		ck_assert_int_eq(mappings(p, to * page), 1);
	}
}
END_TEST

START_TEST(grows_and_shrinks_on_the_way)
{
	char *area = map(16, PROT_NONE), *p = filled(8, 'a'), *old = p;

	number(p, 8);
	if (!moves(_i, &p, 8, 12, FIXED, area))
		return;
	check_numbers(area, 8);
	check_filled(area + 8 * page, 4, 0);
	ck_assert(!is_mapped(old));

	p = filled(8, 'a');
	old = p;
	number(p, 8);
	area = map(16, PROT_NONE);
	ck_assert(moves(_i, &p, 8, 3, FIXED, area));
	check_numbers(area, 3);
	ck_assert(!is_mapped(old));
	ck_assert(!is_mapped(old + 3 * page));
	ck_assert(!is_mapped(old + 7 * page));
	/* Not touched behind the new size. */
	ck_assert_int_eq(mappings(area, 4 * page), 2);
}
END_TEST

START_TEST(part_of_a_mapping)
{
	char *area = map(4, PROT_NONE), *p = filled(9, 'a'), *q = p + 3 * page;

	number(p, 9);
	if (!moves(_i, &q, 2, 2, FIXED, area + page))
		return;
	check_numbers(p, 3);
	ck_assert(!is_mapped(p + 3 * page));
	ck_assert(!is_mapped(p + 4 * page));
	ck_assert(!memcmp(p + 5 * page, &(size_t){ 5 }, sizeof(size_t)));
	ck_assert(!memcmp(q, &(size_t){ 3 }, sizeof(size_t)));
	ck_assert(!memcmp(q + page, &(size_t){ 4 }, sizeof(size_t)));
	ck_assert_int_eq(mappings(p, 9 * page), 2);
}
END_TEST

/* It goes back to where it was written, and is one with the rest again. */
START_TEST(there_and_back)
{
	char *p = filled(6, 'a'), *q = p + 2 * page, *area = map(2, PROT_NONE);
	const int files = open_files();
	long before;

	number(p, 6);
	for (int k = 0; k < 20; k++) {
		q = p + 2 * page;
		if (!moves(_i, &q, 2, 2, FIXED, area))
			return;
		if (!k)
			before = mapped_pages();
		ck_assert_int_eq(mapped_pages(), before);
		ck_assert(moves(_i, &q, 2, 2, FIXED, p + 2 * page));
	}
	check_numbers(p, 6);
	ck_assert_int_eq(mappings(p, 6 * page), 1);
	ck_assert_int_eq(open_files(), files);
}
END_TEST

START_TEST(huge_pages)
{
	char *area = map(6 * HUGE / page, PROT_NONE);
	char *from = map(4 * HUGE / page, RW), *p, *to;

	p = (char *)(((uintptr_t)from + HUGE - 1) & -HUGE);
	to = (char *)(((uintptr_t)area + HUGE - 1) & -HUGE);
	madvise(from, 4 * HUGE, MADV_HUGEPAGE);
	number(p, 3 * HUGE / page);
	if (!moves(_i, &p, 3 * HUGE / page, 3 * HUGE / page, FIXED, to))
		return;
	check_numbers(to, 3 * HUGE / page);
	/* Into other alignment, in part. */
	p = to + HUGE / 2;
	ck_assert(moves(_i, &p, HUGE / page, HUGE / page, FIXED,
			to + 3 * HUGE + 3 * page));
	for (size_t k = 0, n; k < HUGE / page; k++) {
		memcpy(&n, p + k * page, sizeof(n));
		ck_assert_uint_eq(n, k + HUGE / page / 2);
	}
	check_numbers(to, HUGE / page / 2);
}
END_TEST

/* Pages that were never written do not come to be. */
START_TEST(holes)
{
	enum { n = 300 };
	char *p = map(n, RW), *area = map(n, PROT_NONE);
	unsigned char vec[n];
	int there = 0;

	madvise(p, n * page, MADV_NOHUGEPAGE);
	for (size_t i = 0; i < n; i += 3)
		memcpy(p + i * page, &i, sizeof(i));
	if (!moves(_i, &p, n, n, FIXED, area))
		return;
	ck_assert_int_eq(mincore(p, n * page, vec), 0);
	for (size_t i = 0; i < n; i++)
		there += vec[i] & 1;
	ck_assert_int_eq(there, n / 3);
	for (size_t i = 0; i < n; i++)
		if (i % 3)
			ck_assert_int_eq(p[i * page], 0);
		else
			ck_assert(!memcmp(p + i * page, &i, sizeof(i)));
}
END_TEST

START_TEST(never_written)
{
	char *p = map(40, RW), *area = map(40, PROT_NONE);

	if (!moves(_i, &p, 40, 40, FIXED, area))
		return;
	check_filled(p, 40, 0);
}
END_TEST

START_TEST(paged_out)
{
	enum { n = 64 };
	char *p = filled(n, 'a'), *area = map(n, PROT_NONE);

	number(p, n);
	/* Without swap they stay. */
	madvise(p, n * page, MADV_PAGEOUT);
	if (moves(_i, &p, n, n, FIXED, area))
		check_numbers(p, n);
}
END_TEST

/* Advice, name and limits come along. */
START_TEST(settings_kept)
{
	char *p = filled(4, 'a'), *area = map(4, PROT_NONE);
	char before[512], after[512], name[512], name_after[512];

	ck_assert_int_eq(madvise(p, 4 * page, MADV_DONTFORK), 0);
	ck_assert_int_eq(madvise(p, 4 * page, MADV_DONTDUMP), 0);
	ck_assert_int_eq(madvise(p, 4 * page, MADV_RANDOM), 0);
	/* Kernels can be without these. */
	madvise(p, 4 * page, MADV_NOHUGEPAGE);
	madvise(p, 4 * page, MADV_MERGEABLE);
	prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, p, 4 * page, "kept");
	smaps_line(p, "VmFlags:", before, sizeof(before));
	smaps_line(p, "name", name, sizeof(name));
	ck_assert(strstr(before, " rr") && strstr(before, " dc"));
	if (!moves(_i, &p, 4, 4, FIXED, area))
		return;
	smaps_line(p, "VmFlags:", after, sizeof(after));
	smaps_line(p, "name", name_after, sizeof(name_after));
	ck_assert_str_eq(before, after);
	ck_assert_str_eq(name, name_after);
}
END_TEST

START_TEST(executable)
{
	char *p = filled(3, 'a'), *area = map(3, PROT_NONE);

	ck_assert_int_eq(mprotect(p, 3 * page, RW | PROT_EXEC), 0);
	/* No memory becomes writable and executable any more. */
	prctl(PR_SET_MDWE, 1, 0, 0, 0);
	if (moves(_i, &p, 3, 3, FIXED, area))
		check_filled(p, 3, 'a');
}
END_TEST

/* As a child that is still there sees it. */
START_TEST(shared_with_a_child)
{
	enum { n = 20 };
	char *p = filled(n, 'a'), *area = map(n, PROT_NONE), *old = p;
	int go[2], status;
	pid_t pid;
	char c;

	number(p, n);
	mremap_compat_probe(methods[_i]);
	ck_assert_int_eq(pipe(go), 0);
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (!pid) {
		close(go[1]);
		/* Ends with the end of the test, whatever becomes of it. */
		while (read(go[0], &c, 1) > 0)
			;
		for (size_t i = 0; i < n; i++)
			if (memcmp(old + i * page, &i, sizeof(i)))
				_exit(1);
		_exit(0);
	}
	p[3 * page + 100] = 'b';
	if (_i == KERNEL) {
		refuses(KERNEL, p, n, FIXED, area, MREMAP_COMPAT_UNSUITABLE);
		/* The next one can do it. */
		ck_assert_ptr_eq(mremap_compat_ext(p, n * page, n * page,
						   FIXED | ANON, area, ALL,
						   &report), area);
		ck_assert(report.method == MREMAP_COMPAT_UFFD_MOVE ||
			  !supported(MREMAP_COMPAT_UFFD_MOVE));
		p = area;
	} else if (!moves(_i, &p, n, n, FIXED, area)) {
		p = old;
	}
	check_numbers(p, n);
	ck_assert_int_eq(p[3 * page + 100], 'b');
	memset(p, 'c', n * page);
	close(go[1]);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
}
END_TEST

/*
 * A relative of it (of the same mapping once) is where the kernel maps next, and
 * could merge with what passes there.
 */
START_TEST(relatives)
{
	char *p = filled(3, 'a'), *to = filled(3, 'b'), *q = p + page;

	munmap(to + page, page);
	ck_assert_ptr_ne((char *)syscall(SYS_mremap, p + 2 * page, page, page,
					 (unsigned long)(MAY | MREMAP_DONTUNMAP),
					 NULL), MAP_FAILED);
	if (!moves(_i, &q, 1, 1, FIXED, to + page))
		return;
	check_filled(q, 1, 'a');
	ck_assert_int_eq(mappings(to, 3 * page), 1);

	/* In one mapping, over the next page of it */
	p = filled(4, 'c');
	q = p;
	ck_assert(moves(_i, &q, 1, 1, FIXED, p + page));
	check_filled(p + page, 3, 'c');
	ck_assert_int_eq(mappings(p + page, 3 * page), 1);
}
END_TEST

#ifndef __SANITIZE_THREAD__	/* which wants all threads joined */
/* A process whose first thread has ended is itself no more in /proc/self. */
static void *without_first_thread(void *arg)
{
	char *p = filled(4, 'a'), *to = map(4, PROT_NONE);
	const int i = *(int *)arg;

	pthread_join(*(pthread_t *)((int *)arg + 2), NULL);
	if (!moves(i, &p, 4, 4, FIXED, to))
		_exit(2);
	check_filled(p, 4, 'a');
	_exit(0);
}

START_TEST(first_thread_ended)
{
	static struct { int i, pad; pthread_t first; } arg;
	const bool there = supported(methods[_i]);
	pthread_t id;
	int status;
	pid_t pid = fork();

	ck_assert_int_ge(pid, 0);
	if (!pid) {
		arg.i = _i;
		arg.first = pthread_self();
		if (pthread_create(&id, NULL, without_first_thread, &arg))
			_exit(3);
		pthread_exit(NULL);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, there ? 0 : 2 << 8);
}
END_TEST
#endif

/* ---- memory that a method is not for ---------------------------------------- */

static const int not_writable[] = { PROT_READ, PROT_NONE, PROT_EXEC };

START_TEST(not_for_unwritable_memory)
{
	for (int k = 0; k < 3; k++) {
		char *p = filled(4, 'a'), *area = map(4, PROT_NONE);

		ck_assert_int_eq(mprotect(p, 4 * page, not_writable[k]), 0);
		for (int i = UFFD_MOVE; i <= COPY; i++)
			refuses(i, p, 4, FIXED, area, MREMAP_COMPAT_UNSUITABLE);
		ck_assert_int_eq(mprotect(p, 4 * page, RW), 0);
		check_filled(p, 4, 'a');
	}
}
END_TEST

START_TEST(not_for_shared_memory_and_files)
{
	char *area = map(2, PROT_NONE), name[] = "/tmp/relocate-XXXXXX";
	int fd = mkstemp(name);
	char *p;

	ck_assert_int_ge(fd, 0);
	unlink(name);
	ck_assert_int_eq(ftruncate(fd, (off_t)(2 * page)), 0);
	for (int k = 0; k < 2; k++) {
		p = mmap(NULL, 2 * page, RW, k ? MAP_PRIVATE :
			 MAP_SHARED | MAP_ANONYMOUS, k ? fd : -1, 0);
		ck_assert_ptr_ne(p, MAP_FAILED);
		memset(p, 'a', 2 * page);
		for (int i = UFFD_MOVE; i <= COPY; i++)
			refuses(i, p, 2, FIXED, area, MREMAP_COMPAT_UNSUITABLE);
		check_filled(p, 2, 'a');
	}
	close(fd);
}
END_TEST

START_TEST(not_for_several_mappings)
{
	char *p = filled(4, 'a'), *area = map(4, PROT_NONE);

	ck_assert_int_eq(madvise(p + 2 * page, page, MADV_DONTFORK), 0);
	for (int i = UFFD_MOVE; i <= COPY; i++)
		refuses(i, p, 4, FIXED, area, MREMAP_COMPAT_UNSUITABLE);
	check_filled(p, 4, 'a');
	ck_assert_int_eq(munmap(p + 3 * page, page), 0);
	for (int i = UFFD_MOVE; i <= COPY; i++)
		refuses(i, p + 2 * page, 2, FIXED, area,
			MREMAP_COMPAT_UNSUITABLE);
	check_filled(p, 3, 'a');
}
END_TEST

START_TEST(not_for_locked_memory)
{
	char *p = filled(HUGE / page * 3, 'a'), *area = map(4, PROT_NONE);
	char before[128], after[128], flags[512];

	/* Sanitizers make mlock() do nothing. */
	ck_assert_int_eq(syscall(SYS_mlock, p, HUGE * 3), 0);
	smaps_line(p, "Locked:", before, sizeof(before));
	for (int i = UFFD_MOVE; i <= COPY; i++) {
		refuses(i, p + 2 * page, 4, FIXED, area,
			MREMAP_COMPAT_UNSUITABLE);
		refuses(i, p, HUGE / page * 3, MREMAP_MAYMOVE | MREMAP_FIXED,
			map(HUGE / page * 3, PROT_NONE),
			MREMAP_COMPAT_UNSUITABLE);
	}
	smaps_line(p, "Locked:", after, sizeof(after));
	smaps_line(p + 3 * page, "VmFlags:", flags, sizeof(flags));
	ck_assert_str_eq(before, after);
	ck_assert_ptr_nonnull(strstr(flags, " lo"));
	check_filled(p, HUGE / page * 3, 'a');
}
END_TEST

/* ... but the probe is not misled by it. */
START_TEST(all_memory_locked)
{
	const bool was = supported(methods[_i]);
	const char *name = mremap_compat_method_name(methods[_i]);
	int status;
	pid_t pid = fork();

	ck_assert_int_ge(pid, 0);
	if (!pid) {
		/* A fresh process that has not asked yet. */
		char want[2] = { was ? '1' : '0', '\0' };

		execl("/proc/self/exe", "compat_methods", "--locked", name,
		      want, NULL);
		_exit(99);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
}
END_TEST

static int probe_with_all_locked(const char *name, bool want)
{
	int i = 0;

	setup();
	/* More than that may not be locked by everybody. */
	if (syscall(SYS_mlockall, 2 /* MCL_FUTURE */))
		return 0;
	while (strcmp(name, mremap_compat_method_name(methods[i])))
		i++;
	return supported(methods[i]) != want;
}

START_TEST(not_for_guard_pages)
{
	char *p = filled(8, 'a'), *area = map(8, PROT_NONE);

	if (madvise(p + 5 * page, page, MADV_GUARD_INSTALL))
		return;		/* Linux before 6.13 */
	for (int i = UFFD_MOVE; i <= COPY; i++) {
		refuses(i, p, 8, FIXED, map(8, PROT_NONE),
			MREMAP_COMPAT_UNSUITABLE);
		/* None of it has gone. */
		ck_assert(kills(p + 5 * page));
		check_filled(p, 5, 'a');
		check_filled(p + 6 * page, 2, 'a');
		ck_assert_int_eq(mappings(p, 8 * page), 1);
	}
	ck_assert_ptr_eq(mremap_compat_ext(p, 8 * page, 8 * page, FIXED | ANON,
					   area, ALL, &report), area);
	ck_assert(kills(area + 5 * page));
	check_filled(area, 5, 'a');
}
END_TEST

/* A move that is refused leaves no mark on what is beside the target. */
START_TEST(neighbours_not_marked)
{
	char *p = filled(8, 'a'), *area = filled(24, 'n');
	char before[512], after[512];

	if (madvise(p + 5 * page, page, MADV_GUARD_INSTALL))
		return;		/* Linux before 6.13 */
	smaps_line(area, "VmFlags:", before, sizeof(before));
	ck_assert_int_eq(munmap(area + 8 * page, 8 * page), 0);
	refuses(_i, p, 8, FIXED, area + 8 * page, MREMAP_COMPAT_UNSUITABLE);
	for (size_t i = 0; i < 24; i += 16) {
		smaps_line(area + i * page, "VmFlags:", after, sizeof(after));
		ck_assert_str_eq(before, after);
	}
	ck_assert_ptr_eq(mremap_compat_ext(p, 8 * page, 8 * page, FIXED | ANON,
					   area + 8 * page, methods[_i] |
					   MREMAP_COMPAT_PLAIN, &report),
			 area + 8 * page);
	ck_assert_uint_eq(report.method, MREMAP_COMPAT_PLAIN);
	smaps_line(area, "VmFlags:", after, sizeof(after));
	ck_assert_str_eq(before, after);
}
END_TEST

#define FOLIOS "/sys/kernel/mm/transparent_hugepage/hugepages-64kB/"

static long folio_splits(void)
{
	char text[64];

	read_file(FOLIOS "stats/split", text, sizeof(text));
	return atol(text);
}

/*
 * Looking whether memory is locked splits none of its folios. (UFFDIO_MOVE itself
 * splits those that are no whole huge pages.) In the virtual machine, where nobody
 * else has any.
 */
START_TEST(folios_not_split)
{
	enum { n = 256 };
	char *p, *to = map(n, PROT_NONE);
	int fd = getenv("IN_RUN_KERNEL") ? open(FOLIOS "enabled", O_WRONLY) : -1;
	long before;

	if (fd < 0 || access(FOLIOS "stats/split", R_OK))
		return;		/* Linux before 6.10, or without THP */
	ck_assert_int_eq(write(fd, "madvise", 7), 7);
	p = map(2 * n, RW);
	p += -(uintptr_t)p & (n * page - 1);
	madvise(p, n * page, MADV_HUGEPAGE);
	number(p, n);
	before = folio_splits();
	if (moves(COPY, &p, n, n, FIXED, to)) {
		check_numbers(p, n);
		ck_assert_int_eq(folio_splits(), before);
	}
	ck_assert_int_eq(write(fd, "never", 5), 5);
	close(fd);
}
END_TEST

/* What follows the moves of a userfaultfd of the program's */
static void *read_events(void *arg)
{
	struct uffd_msg event;
	int fd = *(int *)arg;

	/* Moves are noted, but faults are left to wait for ever. */
	while (read(fd, &event, sizeof(event)) > 0)
		;
	return NULL;
}

/*
 * Memory whose registration goes with it: to write there would be a fault that waits
 * for an answer. It is for PLAIN, and no call waits for ever.
 */
START_TEST(not_for_watched_memory)
{
	struct uffdio_api api = {
		.api = UFFD_API, .features = UFFD_FEATURE_EVENT_REMAP,
	};
	struct uffdio_register range = { .mode = UFFDIO_REGISTER_MODE_MISSING };
	char *p = filled(8, 'a'), *area = map(8, PROT_NONE);
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC);
	pthread_t id;

	/* Faults of the kernel only fail then, for the unprivileged. */
	if (fd < 0)
		fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | 1);

	if (fd < 0 || ioctl(fd, UFFDIO_API, &api))
		return;		/* not permitted */
	supported(methods[_i]);
	range.range.start = (uintptr_t)p;
	range.range.len = 8 * page;
	ck_assert_int_eq(ioctl(fd, UFFDIO_REGISTER, &range), 0);
	ck_assert_int_eq(pthread_create(&id, NULL, read_events, &fd), 0);
	refuses(_i, p, 8, FIXED, map(8, PROT_NONE), _i == UFFD_MOVE ?
		MREMAP_COMPAT_BUSY : MREMAP_COMPAT_UNSUITABLE);
	check_filled(p, 8, 'a');
	ck_assert_ptr_eq(mremap_compat_ext(p, 8 * page, 8 * page, FIXED | ANON,
					   area, methods[_i] |
					   MREMAP_COMPAT_PLAIN, &report), area);
	ck_assert_uint_eq(report.method, MREMAP_COMPAT_PLAIN);
	check_filled(area, 8, 'a');
#ifdef __SANITIZE_THREAD__	/* which wants all threads joined */
	pthread_cancel(id);
	pthread_join(id, NULL);
#endif
}
END_TEST

/* A device that may write to memory: an io_uring with a registered buffer. */
static struct {
	int fd;
	char *rings;		/* that of submissions and that of completions */
	struct io_uring_sqe *entries;
	struct io_uring_params params;
	uint64_t buffer;	/* its address at first is its name for ever */
} device;

/* False if there is no io_uring here. */
static bool pin(void *start, size_t size)
{
	struct iovec buffer = { start, size };
	void *rings, *entries;

	memset(&device.params, 0, sizeof(device.params));
	device.fd = (int)syscall(SYS_io_uring_setup, 4, &device.params);
	if (device.fd < 0 || syscall(SYS_io_uring_register, device.fd,
				     IORING_REGISTER_BUFFERS, &buffer, 1))
		return false;
	ck_assert(device.params.features & IORING_FEAT_SINGLE_MMAP);
	/* Four entries fit into a page, also the rings of both directions. */
	rings = mmap(NULL, page, RW, MAP_SHARED | MAP_POPULATE, device.fd,
		     IORING_OFF_SQ_RING);
	entries = mmap(NULL, page, RW, MAP_SHARED | MAP_POPULATE, device.fd,
		       IORING_OFF_SQES);
	ck_assert(rings != MAP_FAILED && entries != MAP_FAILED);
	device.rings = rings;
	device.entries = entries;
	device.buffer = (uintptr_t)start;
	return true;
}

/* Have the device write to the beginning of its buffer. */
static void device_writes(const char *text)
{
	const struct io_sqring_offsets *queue = &device.params.sq_off;
	const struct io_cqring_offsets *done = &device.params.cq_off;
	unsigned int *tail = (void *)(device.rings + queue->tail);
	unsigned int *head = (void *)(device.rings + done->head);
	const struct io_uring_cqe *results = (void *)(device.rings + done->cqes);
	const unsigned int length = (unsigned int)strlen(text);
	int source[2];

	ck_assert_int_eq(pipe(source), 0);
	ck_assert_int_eq(write(source[1], text, length), length);
	device.entries[0] = (struct io_uring_sqe){
		.opcode = IORING_OP_READ_FIXED, .fd = source[0],
		.off = (uint64_t)-1, .addr = device.buffer, .len = length,
	};
	((unsigned int *)(void *)(device.rings + queue->array))[
		*tail & (device.params.sq_entries - 1)] = 0;
	__atomic_store_n(tail, *tail + 1, __ATOMIC_RELEASE);
	ck_assert_int_eq(syscall(SYS_io_uring_enter, device.fd, 1, 1,
				 IORING_ENTER_GETEVENTS, NULL, 0), 1);
	ck_assert_int_eq(results[*head & (device.params.cq_entries - 1)].res,
			 length);
	__atomic_store_n(head, *head + 1, __ATOMIC_RELEASE);
	close(source[0]);
	close(source[1]);
}

static bool begins(const char *p, const char *text)
{
	return !memcmp(p, text, strlen(text));
}

START_TEST(not_for_pinned_pages)
{
	char *p = filled(16, 'a'), *area = map(16, PROT_NONE);

	number(p, 16);
	if (!pin(p + 10 * page, 2 * page))
		return;
	refuses(UFFD_MOVE, p, 16, FIXED, map(16, PROT_NONE),
		MREMAP_COMPAT_BUSY);
	check_numbers(p, 16);
	ck_assert_int_eq(mappings(p, 16 * page), 1);
	ck_assert_ptr_eq(mremap_compat_ext(p, 16 * page, 16 * page,
					   FIXED | ANON, area,
					   MREMAP_COMPAT_UFFD_MOVE |
					   MREMAP_COMPAT_PLAIN, &report), area);
	ck_assert_uint_eq(report.method, MREMAP_COMPAT_PLAIN);
	check_numbers(area, 16);
	device_writes("from a device");
	ck_assert(begins(area + 10 * page, "from a device"));
}
END_TEST

/* What UFFD_MOVE finds pinned is not copied by any call that allowed both. */
START_TEST(pinned_pages_not_copied)
{
	const unsigned int both = MREMAP_COMPAT_UFFD_MOVE | MREMAP_COMPAT_COPY;
	char *p = filled(5, 'a'), *area = map(4, PROT_NONE);

	if (!supported(MREMAP_COMPAT_UFFD_MOVE) || !pin(p, 4 * page))
		return;
	ck_assert_int_eq(mprotect(p + 4 * page, page, PROT_READ), 0);
	ck_fails(mremap_compat_ext(p, 4 * page, 4 * page, FIXED | ANON, area,
				   both, &report), EFAULT);
	ck_assert_int_eq(report.reason[UFFD_MOVE], MREMAP_COMPAT_BUSY);
	ck_assert_int_eq(report.reason[COPY], MREMAP_COMPAT_BUSY);
	device_writes("one");
	ck_assert(begins(p, "one"));

	ck_assert_ptr_eq(mremap_compat_ext(p, 4 * page, 4 * page, FIXED | ANON,
					   area, both | MREMAP_COMPAT_PLAIN,
					   &report), area);
	ck_assert_uint_eq(report.method, MREMAP_COMPAT_PLAIN);
	ck_assert_int_eq(report.reason[UFFD_MOVE], MREMAP_COMPAT_BUSY);
	ck_assert_int_eq(report.reason[COPY], MREMAP_COMPAT_BUSY);
	device_writes("three");
	ck_assert(begins(area, "three"));

	/* A region so small that a copy would be cheaper; no room to grow. */
	map(1, PROT_READ);
	p = mremap_compat_realloc(area, 4 * page, 400 * page);
	ck_assert_ptr_nonnull(p);
	ck_assert_ptr_ne(p, area);
	device_writes("seven");
	ck_assert(begins(p, "seven"));
	mremap_compat_set_methods(both);
	map(1, PROT_READ);
	area = mremap_compat_realloc(p, 4 * page, 800 * page);
	ck_assert_ptr_nonnull(area);
	device_writes("eleven");
	ck_assert(begins(area, "eleven"));
}
END_TEST

/* Who allows no method but COPY gets what the header says. */
START_TEST(pinned_pages_copied)
{
	char *p = filled(4, 'a'), *area = map(4, PROT_NONE);

	if (!pin(p, 4 * page))
		return;
	if (!moves(COPY, &p, 4, 4, FIXED, area))
		return;
	device_writes("to nobody");
	check_filled(area, 4, 'a');
}
END_TEST

/* A sealed mapping does not move by any method. */
START_TEST(not_for_sealed_memory)
{
	char *p = filled(4, 'a'), *to = map(4, PROT_NONE);

	if (syscall(462 /* mseal */, p, 4 * page, 0UL))
		return;		/* Linux before 6.10, or 32 bits */
	ck_fails(mremap_compat_ext(p, 4 * page, 4 * page, FIXED | ANON, to, ALL,
				   &report), EPERM);
	ck_assert_uint_eq(report.method, 0);
	for (int i = 0; i < METHODS; i++)
		ck_assert_int_eq(report.reason[i], supported(methods[i]) ?
				 i > KERNEL && supported(MREMAP_COMPAT_KERNEL) ?
				 MREMAP_COMPAT_NOT_TRIED :
				 MREMAP_COMPAT_FORBIDDEN :
				 MREMAP_COMPAT_NOT_SUPPORTED);
	ck_fails(mremap_compat(p, 4 * page, 4 * page, FIXED | ANON, to), EPERM);
	for (int i = UFFD_MOVE; i <= COPY; i++)
		refuses(i, p, 4, FIXED, to, MREMAP_COMPAT_FORBIDDEN);
	check_filled(p, 4, 'a');
}
END_TEST

START_TEST(not_without_unmapping)
{
	char *p = filled(4, 'a');

	for (int i = UFFD_MOVE; i <= COPY; i++)
		refuses(i, p, 4, MAY | MREMAP_DONTUNMAP, NULL,
			MREMAP_COMPAT_UNSUITABLE);
	check_filled(p, 4, 'a');
	ck_assert_ptr_ne(mremap_compat_ext(p, 4 * page, 4 * page,
					   MAY | MREMAP_DONTUNMAP | ANON, NULL,
					   ALL, &report), MAP_FAILED);
	ck_assert(report.method == MREMAP_COMPAT_KERNEL ||
		  report.method == MREMAP_COMPAT_PLAIN);
	check_filled(p, 4, 0);
}
END_TEST

/* A target that could not be brought back is given up only for sure. */
START_TEST(target_in_use)
{
	char *p = filled(3, 'a'), *to = filled(3, 'b');

	if (_i == UFFD_MOVE || _i == COPY) {
		/* Of several mappings, shared, locked */
		ck_assert_int_eq(mprotect(to + page, page, PROT_READ), 0);
		refuses(_i, p, 3, FIXED, to, MREMAP_COMPAT_UNSUITABLE);
		munmap(to + page, page);
		refuses(_i, p, 3, FIXED, to, MREMAP_COMPAT_UNSUITABLE);
		check_filled(to, 1, 'b');
		check_filled(to + 2 * page, 1, 'b');
		munmap(to, page);
		refuses(_i, p, 3, FIXED, to, MREMAP_COMPAT_UNSUITABLE);
		check_filled(to + 2 * page, 1, 'b');
		to = mmap(NULL, 3 * page, RW, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
		memset(to, 'b', 3 * page);
		refuses(_i, p, 3, FIXED, to, MREMAP_COMPAT_UNSUITABLE);
		check_filled(to, 3, 'b');
		to = filled(3, 'b');
		ck_assert_int_eq(syscall(SYS_mlock, to, 3 * page), 0);
		refuses(_i, p, 3, FIXED, to, MREMAP_COMPAT_UNSUITABLE);
		check_filled(to, 3, 'b');
		check_filled(p, 3, 'a');
	}
	errno = ENOTTY;
	ck_assert_ptr_eq(mremap_compat_ext(p, 3 * page, 3 * page, FIXED | ANON,
					   to, methods[_i] | MREMAP_COMPAT_PLAIN,
					   &report), to);
	ck_assert_int_eq(errno, ENOTTY);
	ck_assert_uint_eq(report.method, supported(methods[_i]) ? methods[_i] :
			  MREMAP_COMPAT_PLAIN);
	check_filled(to, 3, 'a');
}
END_TEST

/* One that can be is, if the move fails. */
START_TEST(target_brought_back)
{
	char *p = filled(8, 'a'), *to = filled(10, 'b');
	long before;

	if ((_i != UFFD_MOVE && _i != COPY) || !supported(methods[_i]) ||
	    madvise(p + 5 * page, page, MADV_GUARD_INSTALL))
		return;		/* Linux before 6.13 */
	number(to, 10);
	before = mapped_pages();
	refuses(_i, p, 8, FIXED, to + page, MREMAP_COMPAT_UNSUITABLE);
	ck_assert_int_eq(mapped_pages(), before);
	check_numbers(to, 10);
	ck_assert_int_eq(mappings(to, 10 * page), 1);
	check_filled(p, 5, 'a');
	ck_assert_int_eq(mappings(p, 8 * page), 1);
	p = filled(8, 'c');
	ck_assert(moves(_i, &p, 8, 8, FIXED, to + page));
	check_filled(to + page, 8, 'c');
	ck_assert_int_eq(mapped_pages(), before);
}
END_TEST

/* The other places that are needed are not made where it is. */
START_TEST(target_in_a_hole)
{
	static const size_t sizes[] = { 1, 2, 3, 20, 600 };

	for (size_t k = 0; k < sizeof(sizes) / sizeof(*sizes); k++) {
		char *p = filled(sizes[k], 'a'), *to = map(sizes[k], PROT_NONE);

		munmap(to, sizes[k] * page);
		if (!moves(_i, &p, sizes[k], sizes[k], FIXED, to))
			return;
		check_filled(to, sizes[k], 'a');
	}
}
END_TEST

/* ... nor where it has a hole. */
START_TEST(target_with_a_hole)
{
	for (size_t n = 1; n < 40; n++) {
		/* The highest hole there is: the kernel's choice. */
		char *to = map(60, PROT_NONE), *p = filled(n, 'a');

		munmap(to + 3 * page, 50 * page);
		errno = 0;
		ck_assert_ptr_eq(mremap_compat_ext(p, n * page, 56 * page,
						   FIXED | ANON, to, methods[_i] |
						   MREMAP_COMPAT_PLAIN, &report),
				 to);
		check_filled(to, n, 'a');
		check_filled(to + n * page, 56 - n, 0);
	}
}
END_TEST

/* ---- the choice ------------------------------------------------------------- */

START_TEST(best_method_first)
{
	static const size_t sizes[] = { 1, 2, 3, 40 };

	mremap_compat_set_methods(ALL & ~(unsigned int)MREMAP_COMPAT_KERNEL);
	for (int k = 0; k < 4; k++) {
		const size_t n = sizes[k];
		char *p = filled(n, 'a'), *to = map(n, PROT_NONE);
		const int first = supported(MREMAP_COMPAT_UFFD_MOVE) ?
				  UFFD_MOVE : COPY;

		ck_assert_ptr_eq(mremap_compat_ext(p, n * page, n * page,
						   FIXED | ANON, to, ALL,
						   &report), to);
		check_filled(to, n, 'a');
		ck_assert_int_eq(report.reason[KERNEL],
				 MREMAP_COMPAT_SWITCHED_OFF);
		if (!supported(methods[first]))
			continue;
		ck_assert_uint_eq(report.method, methods[first]);
		ck_assert_int_eq(report.reason[first], MREMAP_COMPAT_USED);
		if (first == UFFD_MOVE)
			ck_assert_int_eq(report.reason[COPY],
					 MREMAP_COMPAT_NOT_TRIED);
		ck_assert_int_eq(report.reason[PLAIN],
				 MREMAP_COMPAT_NOT_TRIED);
	}
}
END_TEST

START_TEST(kernel_before_all)
{
	char *p = filled(2, 'a'), *to = map(2, PROT_NONE);

	ck_assert_ptr_eq(mremap_compat_ext(p, 2 * page, 2 * page, FIXED | ANON,
					   to, ALL, &report), to);
	if (supported(MREMAP_COMPAT_KERNEL)) {
		ck_assert_uint_eq(report.method, MREMAP_COMPAT_KERNEL);
	} else {
		ck_assert_int_eq(report.reason[KERNEL],
				 MREMAP_COMPAT_NOT_SUPPORTED);
		ck_assert_uint_ne(report.method, MREMAP_COMPAT_KERNEL);
	}
}
END_TEST

START_TEST(switched_off)
{
	char *p = filled(2, 'a'), *to = map(2, PROT_NONE);
	const unsigned int method = methods[_i];

	ck_assert_uint_eq(mremap_compat_get_methods(), ALL);
	ck_assert_uint_eq(mremap_compat_set_methods(~method), ALL);
	ck_assert_uint_eq(mremap_compat_get_methods(),
			  (ALL & ~method) | MREMAP_COMPAT_PLAIN);
	errno = 0;
	if (_i == PLAIN) {
		ck_assert_int_eq(mremap_compat_probe(method),
				 MREMAP_COMPAT_SUPPORTED);
		return;
	}
	ck_assert_int_eq(mremap_compat_probe(method),
			 MREMAP_COMPAT_UNSUPPORTED);
	ck_fails(mremap_compat_ext(p, 2 * page, 2 * page, FIXED | ANON, to,
				   method, &report), EFAULT);
	ck_assert_int_eq(report.reason[_i], MREMAP_COMPAT_SWITCHED_OFF);
	if (_i == KERNEL)
		ck_fails(mremap_compat(p, 2 * page, 2 * page, FIXED | MUST, to),
			 EFAULT);
	ck_assert_uint_eq(mremap_compat_set_methods(0),
			  (ALL & ~method) | MREMAP_COMPAT_PLAIN);
	ck_assert_uint_eq(mremap_compat_get_methods(), MREMAP_COMPAT_PLAIN);
	ck_assert_ptr_eq(mremap_compat_ext(p, 2 * page, 2 * page, FIXED | ANON,
					   to, ALL, &report), to);
	ck_assert_uint_eq(report.method, MREMAP_COMPAT_PLAIN);
	mremap_compat_set_methods(ALL);
	ck_assert_int_ne(mremap_compat_probe(MREMAP_COMPAT_COPY),
			 MREMAP_COMPAT_UNKNOWN);
}
END_TEST

/* Without one of the flags nothing relocates. */
START_TEST(no_relocation_wanted)
{
	char *p = filled(2, 'a'), *to = map(2, PROT_NONE);

	ck_assert_ptr_eq(mremap_compat_ext(p, 2 * page, 2 * page, FIXED, to,
					   ALL, &report), to);
	ck_assert_uint_eq(report.method, MREMAP_COMPAT_PLAIN);
	for (int i = 0; i < RELOCATING; i++)
		ck_assert_int_eq(report.reason[i], MREMAP_COMPAT_NOT_ALLOWED);
	for (int i = 0; i < RELOCATING; i++)
		ck_fails(mremap_compat_ext(to, 2 * page, page, MAY, NULL,
					   methods[i], &report), EINVAL);
	check_filled(to, 2, 'a');
}
END_TEST

START_TEST(must_rules_out_plain)
{
	char *p = filled(2, 'a'), *to = map(2, PROT_NONE);

	ck_fails(mremap_compat_ext(p, 2 * page, 2 * page, FIXED | MUST, to,
				   MREMAP_COMPAT_PLAIN, &report), EFAULT);
	ck_assert_int_eq(report.reason[PLAIN], MREMAP_COMPAT_NOT_ALLOWED);
	check_filled(p, 2, 'a');
	munmap(to, 2 * page);
	if (supported(MREMAP_COMPAT_COPY)) {
		ck_assert_ptr_eq(mremap_compat_ext(p, 2 * page, 2 * page,
						   FIXED | MUST, to, ALL,
						   &report), to);
		ck_assert_uint_ne(report.method, MREMAP_COMPAT_PLAIN);
	}
}
END_TEST

START_TEST(keeps_its_place)
{
	char *p = filled(4, 'a');

	errno = ENOTTY;
	ck_assert_ptr_eq(mremap_compat_ext(p, 4 * page, 4 * page, MAY | ANON,
					   NULL, methods[_i] | MREMAP_COMPAT_PLAIN,
					   &report), p);
	ck_assert_uint_eq(report.method, 0);
	ck_assert_ptr_eq(mremap_compat_ext(p, 4 * page, 2 * page, MAY | ANON,
					   NULL, methods[_i], &report), p);
	ck_assert_ptr_eq(mremap_compat_ext(p, 2 * page, 3 * page, MAY | ANON,
					   NULL, methods[_i], &report), p);
	ck_assert_uint_eq(report.method, 0);
	for (int i = 0; i < METHODS; i++)
		ck_assert_int_ne(report.reason[i], MREMAP_COMPAT_USED);
	ck_assert_int_eq(errno, ENOTTY);
	check_filled(p, 2, 'a');
}
END_TEST

START_TEST(wrong_calls)
{
	const unsigned int m = methods[_i];
	char *p = filled(4, 'a'), *to = map(4, PROT_NONE);
	const int may = MAY | ANON, fixed = FIXED | ANON;

	ck_fails(mremap_compat_ext(p, page, page, may, NULL, 0, NULL), EINVAL);
	ck_fails(mremap_compat_ext(p, page, page, may, NULL, 16, NULL), EINVAL);
	ck_fails(mremap_compat_ext(p, page, page, may, NULL, m | 32, NULL),
		 EINVAL);
	ck_fails(mremap_compat_ext(p, page, page, ANON, NULL, m, NULL), EINVAL);
	ck_fails(mremap_compat_ext(p, page, page, may | 32, NULL, m, NULL),
		 EINVAL);
	ck_fails(mremap_compat_ext(p, page, page, -1, NULL, m, NULL), EINVAL);
	ck_fails(mremap_compat_ext(p + 1, page, page, may, NULL, m, NULL),
		 EINVAL);
	ck_fails(mremap_compat_ext(p, page, 0, may, NULL, m, NULL), EINVAL);
	ck_fails(mremap_compat_ext(p, page, page, fixed, to + 1, m, NULL),
		 EINVAL);
	ck_fails(mremap_compat_ext(p, page, (size_t)-1, fixed, to, m, NULL),
		 EINVAL);
	ck_fails(mremap_compat_ext(p, 2 * page, 2 * page, fixed, p + page, m,
				   NULL), EINVAL);
	ck_fails(mremap_compat_ext(p + page, page, 2 * page, fixed, p, m, NULL),
		 EINVAL);
	ck_fails(mremap_compat_ext(p, page, page, fixed, p, m, NULL), EINVAL);
	ck_fails(mremap_compat_ext(p, page, 2 * page, may | MREMAP_DONTUNMAP,
				   NULL, m, NULL), EINVAL);
	check_filled(p, 4, 'a');
	munmap(p, 4 * page);
	ck_fails(mremap_compat_ext(p, page, page, fixed, to, m, &report),
		 EFAULT);
	ck_assert_uint_eq(report.method, 0);
	ck_fails(mremap_compat_ext(p, page, 2 * page, may, NULL,
				   m | MREMAP_COMPAT_PLAIN, NULL), EFAULT);
}
END_TEST

/* ---- in need ------------------------------------------------------------------ */

START_TEST(no_file_descriptors)
{
	struct rlimit limit = { 0, 0 }, before;
	char *p = filled(2, 'a'), *to = map(2, PROT_NONE);

	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
	limit.rlim_max = before.rlim_max;
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
	ck_assert_ptr_eq(mremap_compat_ext(p, 2 * page, 2 * page, FIXED | ANON,
					   to, MREMAP_COMPAT_UFFD_MOVE |
					   MREMAP_COMPAT_COPY |
					   MREMAP_COMPAT_PLAIN, &report), to);
	ck_assert_uint_eq(report.method, MREMAP_COMPAT_PLAIN);
	for (int i = UFFD_MOVE; i <= COPY; i++)
		ck_assert_int_eq(report.reason[i], MREMAP_COMPAT_NO_RESOURCES);
	check_filled(to, 2, 'a');
	/* No answer, rather than a wrong one for ever. */
	ck_assert_int_eq(mremap_compat_probe(MREMAP_COMPAT_COPY),
			 MREMAP_COMPAT_UNKNOWN);
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
	ck_assert_int_ne(mremap_compat_probe(MREMAP_COMPAT_COPY),
			 MREMAP_COMPAT_UNKNOWN);
	/* The same with an answer from before. */
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
	ck_assert_ptr_eq(mremap_compat_ext(to, 2 * page, 2 * page, FIXED | ANON,
					   p, ALL & ~1U, &report), p);
	ck_assert_uint_eq(report.method, MREMAP_COMPAT_PLAIN);
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
	check_filled(p, 2, 'a');
}
END_TEST

#ifdef NO_SANITIZER
START_TEST(no_address_space)
{
	enum { n = 1024 };
	struct rlimit limit;
	char *p = filled(n, 'a'), *to = map(n, PROT_NONE);

	number(p, n);
	mremap_compat_probe(methods[_i]);
	ck_assert_int_eq(getrlimit(RLIMIT_AS, &limit), 0);
	limit.rlim_cur = ((size_t)mapped_pages() + 16) * page;
	ck_assert_int_eq(setrlimit(RLIMIT_AS, &limit), 0);
	ck_assert_ptr_eq(mremap_compat_ext(p, n * page, n * page, FIXED | ANON,
					   to, methods[_i] | MREMAP_COMPAT_PLAIN,
					   &report), to);
	check_numbers(to, n);
	if ((_i == UFFD_MOVE || _i == COPY) && supported(methods[_i]))
		ck_assert_int_eq(report.reason[_i],
				 MREMAP_COMPAT_NO_RESOURCES);
	ck_assert(!is_mapped(p));
}
END_TEST

/*
 * At the limit of mappings, and near it. Moves into free room and onto a part of
 * another mapping, with a page in it that rules out UFFD_MOVE and COPY once all
 * else is done, and without, also if all could be moved plainly.
 */
static void with_few_mappings_left(int i, bool in_use, bool guard, bool plain)
{
	enum { n = 4 };
	const unsigned int set = methods[i] | (plain ? MREMAP_COMPAT_PLAIN : 0);
	char *area = map(140000, PROT_NONE), text[32];
	size_t used = 0;

	read_file("/proc/sys/vm/max_map_count", text, sizeof(text));
	if (atol(text) > 66000)
		return;
	mremap_compat_probe(methods[i]);
	while (!mprotect(area + used * 2 * page, page, PROT_READ))
		used++;
	for (int k = 0; k < 24; k++) {
		char *p, *to, *result, *below;

		for (int free = 0; free < k + 8; free++)
			mprotect(area + --used * 2 * page, page, PROT_NONE);
		p = filled(3 * n, 'a');
		to = map(3 * n, RW);
		/* What is reserved next is one mapping with it. */
		below = map(1, PROT_NONE);
		if (in_use) {
			memset(to, 't', 3 * n * page);
			mprotect(to, 3 * n * page, PROT_READ);
		} else {
			ck_assert_int_eq(munmap(to + n * page, n * page), 0);
		}
		if (guard && madvise(p + (n + 2) * page, page,
				     MADV_GUARD_INSTALL))
			guard = false;
		for (int free = 0; free < 8; free++)
			mprotect(area + used++ * 2 * page, page, PROT_READ);

		result = mremap_compat_ext(p + n * page, n * page, n * page,
					   FIXED | ANON, to + n * page, set,
					   &report);
		check_filled(p, n, 'a');
		check_filled(p + 2 * n * page, n, 'a');
		if (in_use) {
			check_filled(to, n, 't');
			check_filled(to + 2 * n * page, n, 't');
		}
		if (result == MAP_FAILED) {
			ck_assert(errno == ENOMEM || errno == EFAULT);
			result = p + n * page;
			if (in_use) {
				check_filled(to + n * page, n, 't');
				ck_assert(!writable(to + n * page));
			}
		} else {
			ck_assert_ptr_eq(result, to + n * page);
		}
		check_filled(result, 2, 'a');
		check_filled(result + 3 * page, 1, 'a');
		if (guard)
			ck_assert(!readable(result + 2 * page));
		else
			check_filled(result + 2 * page, 1, 'a');
		munmap(p, 3 * n * page);
		munmap(to, 3 * n * page);
		munmap(below, page);
		while (!mprotect(area + used * 2 * page, page, PROT_READ))
			used++;
	}
	munmap(area, 140000 * page);
}

START_TEST(no_mappings_left)
{
	for (int kind = 0; kind < 8; kind++)
		with_few_mappings_left(_i, kind & 1, kind & 2, kind & 4);
}
END_TEST

#ifdef __x86_64__
START_TEST(at_address_0)
{
	char *p = filled(3, 'a'), *zero = map(1, RW);
	long before;

	munmap(zero, page);
	/* Not for everybody, and not with every kernel */
	if (mmap(NULL, page, RW, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1,
		 0) == MAP_FAILED)
		return;
	munmap(NULL, page);
	before = mapped_pages();
	refuses(UFFD_MOVE, p, 3, FIXED, NULL, MREMAP_COMPAT_UNSUITABLE);
	refuses(COPY, p, 3, FIXED, NULL, MREMAP_COMPAT_UNSUITABLE);
	ck_assert_int_eq(mapped_pages(), before);
	check_filled(p, 3, 'a');
}
END_TEST
#endif
#endif

#ifdef __x86_64__
/* Where NULL, as a hint for as much memory, is an overlap. */
START_TEST(low_addresses)
{
	enum { n = 400 };
	char *p = mmap((void *)0x20000, n * page, RW, MAP_PRIVATE |
		       MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	char *blocked;

	if (p == MAP_FAILED)
		return;		/* not for everybody, or in use */
	number(p, n);
	blocked = mmap(p + n * page, page, PROT_READ, MAP_PRIVATE |
		       MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	ck_assert_ptr_ne(blocked, MAP_FAILED);
	if (moves(_i, &p, n, n + 1, MAY, NULL))
		check_numbers(p, n);
}
END_TEST
#endif

START_TEST(unprivileged)
{
	char *p = filled(8, 'a'), *area = map(8, PROT_NONE);

	/* Root may do it by the device alone. */
	if (geteuid() == 0)
		ck_assert_int_eq(setresuid(65534, 65534, 65534), 0);
	/* As a program that such a user has started. */
	ck_assert_int_eq(prctl(PR_SET_DUMPABLE, 1, 0, 0, 0), 0);
	if (moves(_i, &p, 8, 8, FIXED, area))
		check_filled(p, 8, 'a');
}
END_TEST

/* A program whose /proc files are root's. */
START_TEST(not_dumpable)
{
	char *p = filled(8, 'a'), *area = map(8, PROT_NONE);

	if (geteuid() == 0)
		ck_assert_int_eq(setresuid(65534, 65534, 65534), 0);
	ck_assert_int_eq(prctl(PR_SET_DUMPABLE, 0, 0, 0, 0), 0);
	errno = ENOTTY;
	ck_assert_ptr_eq(mremap_compat_ext(p, 8 * page, 8 * page, FIXED | ANON,
					   area, methods[_i] |
					   MREMAP_COMPAT_PLAIN, &report), area);
	ck_assert_int_eq(errno, ENOTTY);
	check_filled(area, 8, 'a');
}
END_TEST

/* ---- at once ------------------------------------------------------------------- */

static void *mover(void *arg)
{
	const unsigned int method = *(unsigned int *)arg;
	char *p = filled(20, 'a');

	/* Emulated, one takes a hundred times as long. */
	const int rounds = getenv("IN_RUN_KERNEL") ? 20 : 60;

	number(p, 20);
	for (int k = 0; k < rounds; k++) {
		char *to = map(22, PROT_NONE);

		p = mremap_compat_ext(p, 20 * page, 20 * page, FIXED | ANON,
				      to + page, method | MREMAP_COMPAT_PLAIN,
				      NULL);
		ck_assert_ptr_eq(p, to + page);
		check_numbers(p, 20);
		munmap(to, page);
		munmap(to + 21 * page, page);
		p = mremap_compat_ext(p, 20 * page, 20 * page, MAY | ANON, NULL,
				      method | MREMAP_COMPAT_PLAIN, NULL);
		ck_assert_ptr_ne(p, MAP_FAILED);
	}
	munmap(p, 20 * page);
	return NULL;
}

START_TEST(threads)
{
	enum { n = 6 };
	pthread_t id[n];
	unsigned int m[n];

	for (int i = 0; i < n; i++) {
		m[i] = i % 2 ? ALL : methods[_i];
		ck_assert_int_eq(pthread_create(&id[i], NULL, mover, &m[i]), 0);
	}
	for (int i = 0; i < n; i++)
		ck_assert_int_eq(pthread_join(id[i], NULL), 0);
}
END_TEST

static unsigned int handler_method;
static char *handler_area;
static volatile sig_atomic_t handled, handler_failed;

static void handler(int sig)
{
	const int saved_errno = errno;
	char *p = handler_area, *to = p + 8 * page;

	(void)sig;
	for (int k = 0; k < 2; k++) {
		char *swap = p;

		if (mremap_compat_ext(p, 4 * page, 4 * page, FIXED | ANON, to,
				      handler_method | MREMAP_COMPAT_PLAIN,
				      NULL) != to || to[page] != 'h')
			handler_failed = 1;
		p = to;
		to = swap;
	}
	handled++;
	errno = saved_errno;
}

/* Moves in a handler that interrupts moves. */
START_TEST(in_a_signal_handler)
{
	struct sigaction action = { .sa_handler = handler };
	struct itimerval timer = { { 0, 2000 }, { 0, 2000 } };
	unsigned int method = methods[_i];

	handler_method = method;
	handler_area = map(12, PROT_NONE);
	ck_assert_int_eq(mprotect(handler_area, 4 * page, RW), 0);
	memset(handler_area, 'h', 4 * page);
	mremap_compat_probe(method);
	ck_assert_int_eq(sigaction(SIGALRM, &action, NULL), 0);
	ck_assert_int_eq(setitimer(ITIMER_REAL, &timer, NULL), 0);
	for (int k = 0; k < 1000 && handled < 20; k++)
		mover(&method);
	timer = (struct itimerval){ 0 };
	setitimer(ITIMER_REAL, &timer, NULL);
	ck_assert_int_ge(handled, 20);
	ck_assert_int_eq(handler_failed, 0);
}
END_TEST

static char *cancelled_area;
static volatile bool went_on;

static void *cancelled(void *arg)
{
	const int i = *(int *)arg;
	char *p = cancelled_area;

	/* It takes effect at the first cancellation point. */
	pthread_cancel(pthread_self());
	mremap_compat_ext(p, 4 * page, 4 * page, FIXED | ANON, p + 8 * page,
			  methods[i] | MREMAP_COMPAT_PLAIN, NULL);
	went_on = true;
	pthread_testcancel();
	return NULL;
}

START_TEST(no_cancellation_point)
{
	const int files = open_files();
	pthread_t id;
	void *result;

	cancelled_area = map(12, PROT_NONE);
	ck_assert_int_eq(mprotect(cancelled_area, 4 * page, RW), 0);
	memset(cancelled_area, 'a', 4 * page);
	ck_assert_int_eq(pthread_create(&id, NULL, cancelled, &_i), 0);
	ck_assert_int_eq(pthread_join(id, &result), 0);
	ck_assert_ptr_eq(result, PTHREAD_CANCELED);
	ck_assert(went_on);
	check_filled(cancelled_area + 8 * page, 4, 'a');
	ck_assert_int_eq(open_files(), files);
}
END_TEST

#ifndef __SANITIZE_THREAD__	/* which has a thread of its own */
/* What a process of one thread may do it may do right after a call. */
START_TEST(one_thread_after_it)
{
	char *p = filled(4, 'a'), *to = map(4, PROT_NONE);

	ck_assert_int_eq(unshare(CLONE_THREAD), 0);
	if (!moves(_i, &p, 4, 4, FIXED, to))
		return;
	for (int k = 0; k < 100; k++) {
		ck_assert_int_eq(unshare(CLONE_THREAD), 0);
		to = map(4, PROT_NONE);
		ck_assert(moves(_i, &p, 4, 4, FIXED, to));
	}
}
END_TEST
#endif

/* A process may have no more threads. */
START_TEST(no_thread_left)
{
	const struct rlimit none = { 0, 0 };
	char *p = filled(4, 'a'), *to = map(4, PROT_NONE);

	if (geteuid() == 0)
		ck_assert_int_eq(setresuid(65534, 65534, 65534), 0);
	ck_assert_int_eq(prctl(PR_SET_DUMPABLE, 1, 0, 0, 0), 0);
	supported(methods[_i]);
	ck_assert_int_eq(setrlimit(RLIMIT_NPROC, &none), 0);
	ck_assert_ptr_eq(mremap_compat_ext(p, 4 * page, 4 * page, FIXED | ANON,
					   to, methods[_i] |
					   MREMAP_COMPAT_PLAIN, &report), to);
	check_filled(to, 4, 'a');
	if ((_i == UFFD_MOVE || _i == COPY) && supported(methods[_i])) {
		ck_assert_int_eq(report.reason[_i], MREMAP_COMPAT_NO_RESOURCES);
		ck_assert_uint_eq(report.method, MREMAP_COMPAT_PLAIN);
	}
}
END_TEST

#ifdef NO_SANITIZER		/* their frames are larger */
/* In a handler on the smallest stack that the header promises to do with. */
START_TEST(on_a_small_stack)
{
	struct sigaction action = {
		.sa_handler = handler, .sa_flags = SA_ONSTACK
	};
	const size_t size = ((size_t)SIGSTKSZ + page - 1) & -page;
	char *stack = map(1 + size / page, RW);

	ck_assert_int_eq(mprotect(stack, page, PROT_NONE), 0);
	ck_assert_int_eq(sigaltstack(&(stack_t){
		.ss_sp = stack + page, .ss_size = size }, NULL), 0);
	handler_method = methods[_i];
	handler_area = map(12, RW);
	memset(handler_area, 'h', 4 * page);
	ck_assert_int_eq(sigaction(SIGUSR1, &action, NULL), 0);
	ck_assert_int_eq(raise(SIGUSR1), 0);
	ck_assert_int_eq(handled, 1);
	ck_assert_int_eq(handler_failed, 0);
}
END_TEST
#endif

#ifndef __SANITIZE_THREAD__	/* which makes it fork() */
/* A call by a child that shares the memory and the stack of its parent. */
__attribute__((noinline)) static pid_t vfork_and_move(int i, char *p, char *to)
{
	const pid_t pid = vfork();

	if (!pid)
		_exit(mremap_compat_ext(p, 4 * page, 4 * page, FIXED | ANON, to,
					methods[i] | MREMAP_COMPAT_PLAIN,
					&report) != to);
	return pid;
}

START_TEST(after_vfork)
{
	char *p = filled(4, 'a'), *to = map(4, PROT_NONE);
	const int files = open_files();
	int status;
	pid_t pid;

	supported(methods[_i]);
	pid = vfork_and_move(_i, p, to);
	ck_assert_int_ge(pid, 0);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
	/* It is the parent's memory. */
	check_filled(to, 4, 'a');
	ck_assert(!is_mapped(p));
	ck_assert_uint_eq(report.method, supported(methods[_i]) ? methods[_i] :
			  MREMAP_COMPAT_PLAIN);
	ck_assert_int_eq(open_files(), files);
}
END_TEST
#endif

static bool enough;

static void *moves_on(void *arg)
{
	unsigned int method = *(unsigned int *)arg;

	while (!__atomic_load_n(&enough, __ATOMIC_RELAXED))
		mover(&method);
	return NULL;
}

/* setuid() has all threads change, and waits for them. */
START_TEST(users_change)
{
	unsigned int method = methods[_i];
	pthread_t id;

	ck_assert_int_eq(pthread_create(&id, NULL, moves_on, &method), 0);
	for (int k = 0; k < 200; k++)
		if (geteuid() == 0 || k % 2)
			ck_assert_int_eq(seteuid(k % 2 ? 0 : 65534) &&
					 getuid() == 0, 0);
	__atomic_store_n(&enough, true, __ATOMIC_RELAXED);
	ck_assert_int_eq(pthread_join(id, NULL), 0);
}
END_TEST

/* ---- a handle --------------------------------------------------------------------- */

static struct mremap_compat_handle *handle;

static void setup_handle(void)
{
	setup();
	for (int i = 0; i < METHODS; i++)
		mremap_compat_probe(methods[i]);
	errno = ENOTTY;
	handle = mremap_compat_open();
	ck_assert_ptr_nonnull(handle);
	ck_assert_int_eq(errno, ENOTTY);
}

/* So often; false if it is not moved by that method. */
static bool moves_with_handle(int i, int times)
{
	struct mremap_compat_report said;
	char *p = filled(20, 'a');
	bool moved = true;

	number(p, 20);
	for (int k = 0; k < times && moved; k++) {
		char *to = map(20, PROT_NONE), *result;

		result = mremap_compat_ext_with(handle, p, 20 * page, 20 * page,
						FIXED | ANON, to, methods[i],
						&said);
		moved = result != MAP_FAILED;
		if (moved && (result != to || said.method != methods[i]))
			abort();
		if (moved)
			p = to;
		else
			munmap(to, 20 * page);
	}
	check_numbers(p, 20);
	munmap(p, 20 * page);
	return moved;
}

START_TEST(handle_moves)
{
	const int files = open_files();
	long before;

	before = mapped_pages();
	ck_assert_int_eq(moves_with_handle(_i, 50), supported(methods[_i]));
	ck_assert_int_eq(mapped_pages(), before);
	ck_assert_int_eq(open_files(), files);
	errno = ENOTTY;
	mremap_compat_close(handle);
	mremap_compat_close(NULL);
	ck_assert_int_eq(errno, ENOTTY);
#ifndef __SANITIZE_THREAD__
	/* Its thread has gone. */
	ck_assert_int_eq(unshare(CLONE_THREAD), 0);
#endif
}
END_TEST

static int threads_now(void)
{
	char text[8192], *line;

	read_file("/proc/self/status", text, sizeof(text));
	line = strstr(text, "\nThreads:");
	ck_assert_ptr_nonnull(line);
	return atoi(line + 9);
}

/* One thread for all calls: none is made by them, and no descriptor here. */
START_TEST(handle_has_one_thread)
{
	const int threads = threads_now();

	ck_assert_int_ge(threads, 2);
	moves_with_handle(_i, 3);
	ck_assert_int_eq(threads_now(), threads);
	for (int k = 0; k < 20; k++) {
		struct mremap_compat_handle *other = mremap_compat_open();

		ck_assert_ptr_nonnull(other);
		mremap_compat_close(other);
	}
	ck_assert_int_eq(threads_now(), threads);
	mremap_compat_close(handle);
	ck_assert_int_eq(threads_now(), threads - 1);
}
END_TEST

/* A child has the handle without its thread; and its parent goes on. */
START_TEST(handle_after_fork)
{
	int status;
	pid_t pid;

	moves_with_handle(_i, 2);
	pid = _i == KERNEL ? (pid_t)syscall(SYS_clone, (unsigned long)SIGCHLD,
					    NULL, NULL, NULL, NULL) : fork();
	ck_assert_int_ge(pid, 0);
	if (!pid) {
		bool moved;

		for (int fd = 3; fd < 64; fd++)
			close(fd);
		moved = moves_with_handle(_i, 3);
		mremap_compat_close(handle);
		handle = NULL;
#ifndef __SANITIZE_THREAD__	/* which then lets none be made */
		handle = mremap_compat_open();
		if (!handle)
			_exit(2);
#endif
		_exit(moved != supported(methods[_i]) ||
		      moves_with_handle(_i, 3) != moved);
	}
	ck_assert_int_eq(moves_with_handle(_i, 20), supported(methods[_i]));
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
	ck_assert_int_eq(moves_with_handle(_i, 2), supported(methods[_i]));
	mremap_compat_close(handle);
}
END_TEST

#ifndef __SANITIZE_THREAD__	/* which makes it fork() */
__attribute__((noinline)) static pid_t vfork_with_handle(int i)
{
	const pid_t pid = vfork();

	if (!pid) {
		const bool moved = moves_with_handle(i, 3);

		/* It is the parent's, who goes on. */
		mremap_compat_close(handle);
		_exit(moved != supported(methods[i]));
	}
	return pid;
}

START_TEST(handle_after_vfork)
{
	const pid_t pid = vfork_with_handle(_i);
	int status;

	ck_assert_int_ge(pid, 0);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
	ck_assert_int_eq(moves_with_handle(_i, 3), supported(methods[_i]));
	mremap_compat_close(handle);
}
END_TEST
#endif

#ifdef NO_SANITIZER
/*
 * Two processes of one memory that both have the number 1, each in a namespace of its
 * own: a handle is for the one only whose thread it has.
 */
static int in_inner_namespace(void *arg)
{
	const int i = *(int *)arg;

	if (getpid() != 1)
		_exit(2);
	_exit(moves_with_handle(i, 3) != supported(methods[i]));
}

static int in_outer_namespace(void *arg)
{
	const int i = *(int *)arg;
	char *stack = map(64, RW);
	int status;
	pid_t pid;

	mremap_compat_close(handle);
	handle = mremap_compat_open();
	if (!handle || getpid() != 1)
		_exit(3);
	for (int k = 0; k < 3; k++) {
		pid = clone(in_inner_namespace, stack + 64 * page, CLONE_VM |
			    CLONE_VFORK | CLONE_NEWPID | SIGCHLD, arg);
		if (pid < 0 || waitpid(pid, &status, 0) != pid || status)
			_exit(4);
		if (moves_with_handle(i, 3) != supported(methods[i]))
			_exit(5);
	}
	mremap_compat_close(handle);
	_exit(0);
}

START_TEST(handle_in_namespaces)
{
	char *stack = map(64, RW);
	int status;
	pid_t pid;

	/* By who is not root in one where he is. */
	pid = clone(in_outer_namespace, stack + 64 * page, CLONE_NEWPID | SIGCHLD |
		    (geteuid() ? CLONE_NEWUSER : 0), &_i);
	if (pid < 0 && (errno == EPERM || errno == ENOSPC || errno == EINVAL))
		return;
	ck_assert_int_ge(pid, 0);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
	mremap_compat_close(handle);
}
END_TEST
#endif

static void *use_handle(void *arg)
{
	const int i = *(int *)arg;

	return moves_with_handle(i, 100) == supported(methods[i]) ? arg : NULL;
}

/* It is for one thread, but no harm is done if several use it at once. */
START_TEST(handle_in_threads)
{
	pthread_t id[4];
	void *result;

	for (int k = 0; k < 4; k++)
		ck_assert_int_eq(pthread_create(&id[k], NULL, use_handle, &_i),
				 0);
	for (int k = 0; k < 4; k++) {
		ck_assert_int_eq(pthread_join(id[k], &result), 0);
		ck_assert_ptr_eq(result, &_i);
	}
	mremap_compat_close(handle);
}
END_TEST

static void handle_handler(int sig)
{
	const int saved_errno = errno;
	char *p = handler_area, *to = p + 8 * page;

	(void)sig;
	for (int k = 0; k < 2; k++) {
		char *swap = p;

		if (mremap_compat_ext_with(handle, p, 4 * page, 4 * page,
					   FIXED | ANON, to, handler_method |
					   MREMAP_COMPAT_PLAIN, NULL) != to ||
		    to[page] != 'h')
			handler_failed = 1;
		p = to;
		to = swap;
	}
	handled++;
	errno = saved_errno;
}

START_TEST(handle_in_a_signal_handler)
{
	struct sigaction action = { .sa_handler = handle_handler };
	struct itimerval timer = { { 0, 2000 }, { 0, 2000 } };

	handler_method = methods[_i];
	handler_area = map(12, PROT_NONE);
	ck_assert_int_eq(mprotect(handler_area, 4 * page, RW), 0);
	memset(handler_area, 'h', 4 * page);
	ck_assert_int_eq(sigaction(SIGALRM, &action, NULL), 0);
	ck_assert_int_eq(setitimer(ITIMER_REAL, &timer, NULL), 0);
	for (int k = 0; k < 1000 && handled < 20; k++)
		moves_with_handle(_i, 10);
	timer = (struct itimerval){ 0 };
	setitimer(ITIMER_REAL, &timer, NULL);
	ck_assert_int_ge(handled, 20);
	ck_assert_int_eq(handler_failed, 0);
	mremap_compat_close(handle);
}
END_TEST

/* setuid() has its thread change, too, idle or not. */
/* Of a thread that may have ended: then nothing. */
static void read_status(const char *name, char *text, size_t size)
{
	const int fd = open(name, O_RDONLY | O_CLOEXEC);
	const ssize_t got = fd < 0 ? 0 : read(fd, text, size - 1);

	text[got > 0 ? got : 0] = '\0';
	if (fd >= 0)
		close(fd);
}

START_TEST(handle_users_change)
{
	char name[300], text[4096];
	pthread_t id;
	DIR *tasks;

	ck_assert_int_eq(pthread_create(&id, NULL, use_handle, &_i), 0);
	for (int k = 0; k < 50 && geteuid() == 0; k++)
		ck_assert_int_eq(seteuid(65534) || seteuid(0), 0);
	ck_assert_int_eq(pthread_join(id, NULL), 0);
	if (geteuid() == 0) {
		ck_assert_int_eq(seteuid(65534), 0);
		tasks = opendir("/proc/self/task");
		ck_assert_ptr_nonnull(tasks);
		for (struct dirent *t; (t = readdir(tasks)); ) {
			if (t->d_name[0] == '.')
				continue;
			snprintf(name, sizeof(name), "/proc/self/task/%s/status",
				 t->d_name);
			/* One that has been joined can be there for a moment, as it was. */
			do {
				read_status(name, text, sizeof(text));
			} while (*text && !strstr(text, "Uid:\t0\t65534"));
		}
		closedir(tasks);
	}
	mremap_compat_close(handle);
}
END_TEST

/* A signal for the process does not get to its thread, but is not lost. */
START_TEST(handle_and_signals)
{
	struct sigaction action = { .sa_handler = handle_handler };
	sigset_t usr1, pending;

	handler_method = MREMAP_COMPAT_PLAIN;
	handler_area = map(12, RW);
	memset(handler_area, 'h', 4 * page);
	ck_assert_int_eq(sigaction(SIGUSR1, &action, NULL), 0);
	sigemptyset(&usr1);
	sigaddset(&usr1, SIGUSR1);
	ck_assert_int_eq(pthread_sigmask(SIG_BLOCK, &usr1, NULL), 0);
	ck_assert_int_eq(kill(getpid(), SIGUSR1), 0);
	moves_with_handle(UFFD_MOVE, 3);
	ck_assert_int_eq(handled, 0);
	ck_assert_int_eq(sigpending(&pending), 0);
	ck_assert(sigismember(&pending, SIGUSR1));
	ck_assert_int_eq(pthread_sigmask(SIG_UNBLOCK, &usr1, NULL), 0);
	ck_assert_int_eq(handled, 1);
	mremap_compat_close(handle);
}
END_TEST

START_TEST(handle_not_to_be_had)
{
	const struct rlimit none = { 0, 0 };
	const long before = mapped_pages();

	mremap_compat_close(handle);
	if (geteuid() == 0)
		ck_assert_int_eq(setresuid(65534, 65534, 65534), 0);
	ck_assert_int_eq(setrlimit(RLIMIT_NPROC, &none), 0);
	errno = 0;
	handle = mremap_compat_open();
	if (handle)		/* all may be had by who is root by name alone */
		return;
	ck_assert_int_eq(errno, EAGAIN);
	ck_assert_int_le(mapped_pages(), before);
}
END_TEST

#ifdef NO_SANITIZER
/* By which method a region grows that has something behind it. */
static unsigned int grow_hemmed_in(struct mremap_compat_handle *with, size_t n,
				   unsigned int allowed)
{
	char *region = map(n + 2, PROT_READ), *moved;

	ck_assert_int_eq(mprotect(region, n * page, RW), 0);
	memset(region, 'a', n * page);
	moved = mremap_compat_realloc_with(with, region, n * page, (n + 1) * page,
					   allowed, &report);
	ck_assert_ptr_nonnull(moved);
	check_filled(moved, n, 'a');
	munmap(moved, (n + 1) * page);
	munmap(region, (n + 2) * page);
	return report.method;
}

/*
 * With so many mappings it takes long to close a userfaultfd. mremap_compat_realloc_with()
 * copies then, if it may, but not with a handle, which has one open; mremap_compat_ext()
 * goes on trying UFFD_MOVE first, which notices what is pinned.
 */
START_TEST(many_mappings)
{
	enum { many = 20000 };
	const unsigned int both = MREMAP_COMPAT_UFFD_MOVE | MREMAP_COMPAT_COPY;
	char *area = map(many, PROT_NONE), *p = filled(4, 'a');
	char *to = map(4, PROT_NONE);
	int moves = 0, copies = 0, status;
	pid_t pid;

	if (!supported(MREMAP_COMPAT_UFFD_MOVE))
		return;
	for (int i = 1; i < many; i += 2)
		if (mprotect(area + i * page, page, PROT_READ))
			return;		/* vm.max_map_count */
	for (int k = 0; k < 10; k++) {
		char *from = p;

		p = mremap_compat_ext(p, 4 * page, 4 * page, FIXED | ANON, to,
				      both, &report);
		ck_assert_ptr_eq(p, to);
		ck_assert_uint_eq(report.method, MREMAP_COMPAT_UFFD_MOVE);
		to = from;
	}
	for (int k = 0; k < 40; k++) {
		const unsigned int method = grow_hemmed_in(NULL, 64, both);

		moves += method == MREMAP_COMPAT_UFFD_MOVE;
		copies += method == MREMAP_COMPAT_COPY;
	}
	/* It is known by now what closing takes. */
	ck_assert_int_eq(moves + copies, 40);
	ck_assert_int_ge(copies, 20);
	for (int k = 0; k < 20; k++) {
		char *from = p;

		p = mremap_compat_ext_with(handle, p, 4 * page, 4 * page,
					   FIXED | ANON, to, both, &report);
		ck_assert_ptr_eq(p, to);
		ck_assert_uint_eq(report.method, MREMAP_COMPAT_UFFD_MOVE);
		to = from;
	}
	check_filled(p, 4, 'a');
	/* But not a child, which has none. */
	copies = 0;
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (!pid) {
		for (int k = 0; k < 40; k++)
			copies += grow_hemmed_in(handle, 64, both) ==
				  MREMAP_COMPAT_COPY;
		_exit(copies);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert(WIFEXITED(status));
	ck_assert_int_ge(WEXITSTATUS(status), 20);
	mremap_compat_close(handle);
}
END_TEST

/*
 * What closing took is set against what was moved. Regions of which little exists do not
 * make it so dear that larger ones are copied.
 */
START_TEST(sparse_regions)
{
	const size_t sparse = ((size_t)1 << 40) / page;
	const unsigned int both = MREMAP_COMPAT_UFFD_MOVE | MREMAP_COMPAT_COPY;

	if (!supported(MREMAP_COMPAT_UFFD_MOVE))
		return;
	for (int k = 0; k < 12; k++) {
		char *p = mmap(NULL, (sparse + 1) * page, RW, MAP_PRIVATE |
			       MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		char *q;

		if (p == MAP_FAILED)
			return;		/* vm.overcommit_memory=2 */
		ck_assert_int_eq(mprotect(p + sparse * page, page, PROT_NONE), 0);
		p[0] = 's';
		q = mremap_compat_realloc_with(NULL, p, sparse * page,
					       (sparse + 1) * page,
					       MREMAP_COMPAT_UFFD_MOVE, NULL);
		ck_assert_ptr_nonnull(q);
		ck_assert_int_eq(q[0], 's');
		munmap(q, (sparse + 1) * page);
		munmap(p + sparse * page, page);
	}
	ck_assert_uint_eq(grow_hemmed_in(NULL, 1000, both), MREMAP_COMPAT_UFFD_MOVE);
}
END_TEST
#endif

/* ---- mremap_compat_realloc() --------------------------------------------------- */

START_TEST(realloc_contents)
{
	static const size_t sizes[] = { 1, 5, 3, 40, 700, 2, 900 };
	const long before = mapped_pages();
	char *p = NULL, *blocker;
	size_t size = 0;

	errno = ENOTTY;
	for (int k = 0; k < 7; k++) {
		const size_t next = sizes[k] * page - 100;
		const size_t kept = size < sizes[k] * page ? size : sizes[k] * page;

		/* Nothing may be below or above it, so that it moves. */
		blocker = map(1, PROT_READ);
		p = mremap_compat_realloc(p, size, next);
		ck_assert_ptr_nonnull(p);
		check_filled(p, kept / page, 'a');
		check_filled(p + kept, sizes[k] - kept / page, 0);
		memset(p, 'a', sizes[k] * page);
		/* Sizes mean whole pages, also those that are given back. */
		size = k % 2 ? next : sizes[k] * page;
		munmap(blocker, page);
		size = sizes[k] * page;
	}
	ck_assert_int_eq(mappings(p, size), 1);
	ck_assert_ptr_null(mremap_compat_realloc(p, size - 1, 0));
	ck_assert_int_eq(errno, ENOTTY);
	ck_assert(!is_mapped(p));
	ck_assert_int_eq(mapped_pages(), before);
	ck_assert_ptr_null(mremap_compat_realloc(NULL, 0, 0));
	ck_assert_int_eq(errno, ENOTTY);
}
END_TEST

#define ck_null(call, err) do { \
	errno = 0; \
	ck_assert_ptr_null(call); \
	ck_assert_int_eq(errno, (err)); \
} while (0)

START_TEST(realloc_errors)
{
	char *p = mremap_compat_realloc(NULL, 0, 2 * page);

	ck_assert_ptr_nonnull(p);
	memset(p, 'a', 2 * page);
	ck_null(mremap_compat_realloc(p + 1, page, 2 * page), EINVAL);
	ck_null(mremap_compat_realloc(NULL, page, 2 * page), EINVAL);
	ck_null(mremap_compat_realloc(p, 0, 2 * page), EINVAL);
	ck_null(mremap_compat_realloc(p, 0, 0), EINVAL);
	ck_null(mremap_compat_realloc(p, 2 * page, (size_t)-1), ENOMEM);
	ck_null(mremap_compat_realloc(p, (size_t)-1, page), ENOMEM);
	ck_null(mremap_compat_realloc(NULL, 0, (size_t)-1), ENOMEM);
	ck_null(mremap_compat_realloc(NULL, 0, (size_t)-1 / 2), ENOMEM);
	ck_null(mremap_compat_realloc(p, 2 * page, (size_t)-1 / 4), ENOMEM);
	check_filled(p, 2, 'a');
	munmap(p, 2 * page);
	ck_null(mremap_compat_realloc(p, 2 * page, 4 * page), EFAULT);
}
END_TEST

/* A region that has to move when it grows. */
static char *hemmed_in(size_t pages)
{
	char *p = map(pages + 1, RW);

	memset(p, 'a', pages * page);
	ck_assert_int_eq(mprotect(p + pages * page, page, PROT_READ), 0);
	return p;
}

#define REALLOC(p, old, new, m) \
	mremap_compat_realloc_with(handle, p, (old) * page, (new) * page, m, \
				   &report)

/* Without being told that nothing holds the pages nothing is copied. */
START_TEST(realloc_keeps_pages)
{
	char *p = hemmed_in(4), *q;

	mremap_compat_set_methods(MREMAP_COMPAT_COPY);
	ck_assert(pin(p, 4 * page) || device.fd < 0);
	q = mremap_compat_realloc(p, 4 * page, 8 * page);
	ck_assert_ptr_nonnull(q);
	ck_assert_ptr_ne(q, p);
	check_filled(q, 4, 'a');
	check_filled(q + 4 * page, 4, 0);
	if (device.fd >= 0) {
		device_writes("kept");
		ck_assert(begins(q, "kept"));
	}
}
END_TEST

/*
 * Who names COPY gets the cheapest: small regions are copied into new memory, which
 * takes no probe, larger ones not if the pages can move.
 */
START_TEST(realloc_cheapest)
{
	const unsigned int both = MREMAP_COMPAT_UFFD_MOVE | MREMAP_COMPAT_COPY;
	static const struct {
		size_t pages;
		bool small;
	} sizes[] = {
		{ 1, true }, { 2, true }, { 16, true }, { 32, true },
		{ 64, false }, { 256, false }, { 1000, false },
	};

	handle = _i ? mremap_compat_open() : NULL;
	ck_assert(handle || !_i);
	mremap_compat_set_methods(ALL & ~(unsigned int)MREMAP_COMPAT_KERNEL);
	for (size_t k = 0; k < sizeof(sizes) / sizeof(*sizes); k++) {
		const size_t n = sizes[k].pages;
		char *p, *q;

		for (unsigned int m = both; m <= ALL; m += ALL - both) {
			p = hemmed_in(n);
			number(p, n);
			errno = ENOTTY;
			q = REALLOC(p, n, n + 3, m);
			ck_assert_int_eq(errno, ENOTTY);
			ck_assert(q && q != p && !is_mapped(p));
			check_numbers(q, n);
			check_filled(q + n * page, 3, 0);
			ck_assert_uint_eq(report.method, sizes[k].small ||
					  !supported(MREMAP_COMPAT_UFFD_MOVE) ?
					  MREMAP_COMPAT_COPY :
					  MREMAP_COMPAT_UFFD_MOVE);
			ck_assert_int_eq(mappings(q, (n + 3) * page), 1);
			munmap(q, (n + 3) * page);
			munmap(p + n * page, page);
		}
	}
	mremap_compat_close(handle);
}
END_TEST

/* Where it cannot be told what is cheaper, only COPY being allowed */
START_TEST(realloc_by_copy)
{
	static const size_t sizes[] = { 1, 7, 300, 511, 512, 1500 };

	for (size_t k = 0; k < sizeof(sizes) / sizeof(*sizes); k++) {
		const size_t n = sizes[k];
		char *p = hemmed_in(n), *q;
		unsigned char vec[1500];

		number(p, n);
		/* A hole stays one. */
		if (n > 1)
			madvise(p + page, page, MADV_DONTNEED);
		q = REALLOC(p, n, n + 1, MREMAP_COMPAT_COPY);
		if (n >= HUGE / page && !supported(MREMAP_COMPAT_COPY)) {
			ck_assert_ptr_null(q);
			ck_assert_int_eq(errno, EFAULT);
			continue;
		}
		ck_assert_ptr_nonnull(q);
		ck_assert_uint_eq(report.method, MREMAP_COMPAT_COPY);
		if (n > 1) {
			ck_assert_int_eq(mincore(q, n * page, vec), 0);
			ck_assert(!(vec[1] & 1));
			check_filled(q + page, 1, 0);
			memcpy(q + page, &(size_t){ 1 }, sizeof(size_t));
		}
		check_numbers(q, n);
	}
}
END_TEST

START_TEST(realloc_not_by_copy)
{
	char *p = hemmed_in(8), *q;

	ck_assert_int_eq(syscall(SYS_mlock, p, 8 * page), 0);
	ck_null(REALLOC(p, 8, 9, MREMAP_COMPAT_COPY), EFAULT);
	ck_assert_int_eq(report.reason[COPY], MREMAP_COMPAT_UNSUITABLE);
	check_filled(p, 8, 'a');
	q = REALLOC(p, 8, 9, MREMAP_COMPAT_COPY | MREMAP_COMPAT_PLAIN);
	ck_assert_ptr_nonnull(q);
	ck_assert_uint_eq(report.method, MREMAP_COMPAT_PLAIN);
	check_filled(q, 8, 'a');

	p = hemmed_in(8);
	if (!madvise(p + 5 * page, page, MADV_GUARD_INSTALL)) {
		ck_null(REALLOC(p, 8, 9, MREMAP_COMPAT_COPY), EFAULT);
		ck_assert_int_eq(report.reason[COPY], MREMAP_COMPAT_UNSUITABLE);
		check_filled(p, 5, 'a');
		q = REALLOC(p, 8, 9, ALL);
		ck_assert_ptr_nonnull(q);
		check_filled(q, 5, 'a');
	}

	/* Not readable */
	p = hemmed_in(8);
	ck_assert_int_eq(mprotect(p, 8 * page, PROT_NONE), 0);
	ck_null(REALLOC(p, 8, 9, MREMAP_COMPAT_COPY), EFAULT);
	ck_assert_int_eq(mprotect(p, 8 * page, RW), 0);
	check_filled(p, 8, 'a');

	/* Not mapped, in part */
	ck_assert_int_eq(munmap(p + 3 * page, page), 0);
	ck_null(REALLOC(p, 8, 9, MREMAP_COMPAT_COPY), EFAULT);
	ck_null(REALLOC(p, 8, 9, ALL), EFAULT);
	check_filled(p, 3, 'a');
	check_filled(p + 4 * page, 4, 'a');
}
END_TEST

/*
 * What is not private or not writable is so after having been copied to new memory, as
 * documented; larger regions are looked at, and refused.
 */
START_TEST(realloc_other_memory)
{
	const int flags = _i % 2 ? MAP_PRIVATE : MAP_SHARED;
	const size_t sizes[] = { 8, HUGE / page };

	for (size_t k = 0; k < 2; k++) {
		const size_t n = sizes[k];
		char *p = mmap(NULL, (n + 1) * page, RW, flags | MAP_ANONYMOUS, -1, 0);
		char *twin, *q;

		ck_assert_ptr_ne(p, MAP_FAILED);
		memset(p, 'a', n * page);
		ck_assert_int_eq(mprotect(p + n * page, page, PROT_NONE), 0);
		twin = flags == MAP_SHARED ?
		       mremap(p, 0, n * page, MREMAP_MAYMOVE) : NULL;
		ck_assert_ptr_ne(twin, MAP_FAILED);
		if (!twin)
			ck_assert_int_eq(mprotect(p, n * page, PROT_READ), 0);
		q = REALLOC(p, n, n + 1, MREMAP_COMPAT_COPY);
		if (n < HUGE / page) {
			ck_assert_ptr_nonnull(q);
			check_filled(q, n, 'a');
			memset(q, 'b', n * page);
			if (twin)
				check_filled(twin, n, 'a');
		} else {
			ck_assert_ptr_null(q);
			ck_assert_int_eq(errno, EFAULT);
			check_filled(p, n, 'a');
		}
	}
}
END_TEST

START_TEST(realloc_with_errors)
{
	char *p = REALLOC(NULL, 0, 2, ALL);

	ck_assert_ptr_nonnull(p);
	ck_assert_uint_eq(report.method, 0);
	memset(p, 'a', 2 * page);
	ck_null(REALLOC(p, 2, 4, 0), EINVAL);
	ck_null(REALLOC(p, 2, 4, 16), EINVAL);
	ck_null(REALLOC(p, 2, (size_t)-1 / page / 4, ALL), ENOMEM);
	check_filled(p, 2, 'a');
	p = hemmed_in(2);
	mremap_compat_set_methods(MREMAP_COMPAT_PLAIN);
	ck_null(REALLOC(p, 2, 4, MREMAP_COMPAT_COPY), EFAULT);
	ck_assert_int_eq(report.reason[COPY], MREMAP_COMPAT_SWITCHED_OFF);
	ck_assert_int_eq(report.reason[PLAIN], MREMAP_COMPAT_NOT_ALLOWED);
	check_filled(p, 2, 'a');
	errno = ENOTTY;
	ck_assert_ptr_null(REALLOC(p, 2, 0, MREMAP_COMPAT_COPY));
	ck_assert_int_eq(errno, ENOTTY);
	ck_assert(!is_mapped(p));
}
END_TEST

/* Regions that grow in turn, each moved next to the one before. */
START_TEST(realloc_keeps_one_mapping)
{
	enum { n = 40 };
	char *p[n];
	int count = n;

	for (int i = 0; i < n; i++) {
		p[i] = mremap_compat_realloc(NULL, 0, 4 * page);
		ck_assert_ptr_nonnull(p[i]);
		memset(p[i], 'a', 4 * page);
	}
	for (int i = 0; i < n; i++) {
		p[i] = mremap_compat_realloc_with(NULL, p[i], 4 * page,
						  16 * page, _i ? ALL :
						  MREMAP_COMPAT_KEEP_PAGES,
						  &report);
		ck_assert_ptr_nonnull(p[i]);
		check_filled(p[i], 4, 'a');
		memset(p[i], 'b', 16 * page);
	}
	/* Two that are one mapping count once. */
	for (int i = 0; i < n; i++)
		for (int k = 0; k < n; k++)
			count -= p[k] == p[i] + 16 * page &&
				 mappings(p[i], 32 * page) == 1;
	if (_i || supported(MREMAP_COMPAT_KERNEL) ||
	    supported(MREMAP_COMPAT_UFFD_MOVE))
		ck_assert_int_le(count, n / 4);
	else
		ck_assert_int_ge(count, n / 2);
}
END_TEST

static TCase *handle_case(void)
{
	TCase *h = tcase_create("handle");

	tcase_add_checked_fixture(h, setup_handle, NULL);
	tcase_set_tags(h, "slow");
	tcase_add_loop_test(h, handle_moves, 0, METHODS);
	tcase_add_loop_test(h, handle_has_one_thread, UFFD_MOVE, PLAIN);
	tcase_add_loop_test(h, handle_after_fork, 0, METHODS);
#ifndef __SANITIZE_THREAD__
	tcase_add_loop_test(h, handle_after_vfork, 0, METHODS);
#endif
	tcase_add_loop_test(h, handle_in_threads, 0, METHODS);
	tcase_add_loop_test(h, handle_in_a_signal_handler, UFFD_MOVE, PLAIN);
	tcase_add_loop_test(h, handle_users_change, UFFD_MOVE, PLAIN);
	tcase_add_test(h, handle_and_signals);
	tcase_add_test(h, handle_not_to_be_had);
#ifdef NO_SANITIZER
	tcase_add_test(h, many_mappings);
	tcase_add_test(h, sparse_regions);
	tcase_add_loop_test(h, handle_in_namespaces, UFFD_MOVE, PLAIN);
#endif
	return h;
}

static Suite *suite(void)
{
	Suite *s = suite_create("compat_methods");
	TCase *there = tcase_create("what is there");
	TCase *move = tcase_create("moves");
	TCase *not_for = tcase_create("not for");
	TCase *choice = tcase_create("choice");
	TCase *need = tcase_create("in need");
	TCase *at_once = tcase_create("at once");
	TCase *again = tcase_create("realloc");

	tcase_add_checked_fixture(there, setup, NULL);
	tcase_add_test(there, expected_methods);
	tcase_add_test(there, names_and_version);
	tcase_add_loop_test(there, probing_leaves_nothing, 0, METHODS);
	suite_add_tcase(s, there);

	tcase_add_checked_fixture(move, setup, NULL);
	tcase_add_loop_test(move, merges, 0, METHODS);
	tcase_add_loop_test(move, grows_by_moving, 0, RELOCATING);
	tcase_add_loop_test(move, grows_and_shrinks_on_the_way, 0, RELOCATING);
	tcase_add_loop_test(move, part_of_a_mapping, 0, RELOCATING);
	tcase_add_loop_test(move, there_and_back, 0, RELOCATING);
	tcase_add_loop_test(move, huge_pages, 0, RELOCATING);
	tcase_add_loop_test(move, holes, 0, RELOCATING);
	tcase_add_loop_test(move, never_written, 0, RELOCATING);
	tcase_add_loop_test(move, paged_out, 0, RELOCATING);
	tcase_add_loop_test(move, settings_kept, 0, RELOCATING);
	tcase_add_loop_test(move, executable, 0, RELOCATING);
	tcase_add_loop_test(move, shared_with_a_child, 0, RELOCATING);
	tcase_add_loop_test(move, relatives, 0, RELOCATING);
#ifndef __SANITIZE_THREAD__
	tcase_add_loop_test(move, first_thread_ended, 0, RELOCATING);
#endif
	suite_add_tcase(s, move);

	tcase_add_checked_fixture(not_for, setup, NULL);
	tcase_add_test(not_for, not_for_unwritable_memory);
	tcase_add_test(not_for, not_for_shared_memory_and_files);
	tcase_add_test(not_for, not_for_several_mappings);
	tcase_add_test(not_for, not_for_locked_memory);
	tcase_add_loop_test(not_for, all_memory_locked, 0, METHODS);
	tcase_add_test(not_for, not_for_guard_pages);
	tcase_add_loop_test(not_for, neighbours_not_marked, UFFD_MOVE, PLAIN);
	tcase_add_test(not_for, folios_not_split);
	tcase_add_loop_test(not_for, not_for_watched_memory, UFFD_MOVE, PLAIN);
	tcase_add_test(not_for, not_for_pinned_pages);
	tcase_add_test(not_for, pinned_pages_not_copied);
	tcase_add_test(not_for, pinned_pages_copied);
	tcase_add_test(not_for, not_for_sealed_memory);
	tcase_add_test(not_for, not_without_unmapping);
	tcase_add_loop_test(not_for, target_in_use, 0, RELOCATING);
	tcase_add_loop_test(not_for, target_brought_back, 0, RELOCATING);
	tcase_add_loop_test(not_for, target_in_a_hole, 0, METHODS);
	tcase_add_loop_test(not_for, target_with_a_hole, 0, METHODS);
	suite_add_tcase(s, not_for);

	tcase_add_checked_fixture(choice, setup, NULL);
	tcase_add_test(choice, best_method_first);
	tcase_add_test(choice, kernel_before_all);
	tcase_add_loop_test(choice, switched_off, 0, METHODS);
	tcase_add_test(choice, no_relocation_wanted);
	tcase_add_test(choice, must_rules_out_plain);
	tcase_add_loop_test(choice, keeps_its_place, 0, RELOCATING);
	tcase_add_loop_test(choice, wrong_calls, 0, RELOCATING);
	suite_add_tcase(s, choice);

	tcase_add_checked_fixture(need, setup, NULL);
	tcase_set_tags(need, "slow");
	tcase_add_test(need, no_file_descriptors);
#ifdef NO_SANITIZER
	tcase_add_loop_test(need, no_address_space, 0, METHODS);
	tcase_add_loop_test(need, no_mappings_left, 0, METHODS);
# ifdef __x86_64__
	tcase_add_test(need, at_address_0);
# endif
#endif
#ifdef __x86_64__
	tcase_add_loop_test(need, low_addresses, 0, RELOCATING);
#endif
	tcase_add_loop_test(need, unprivileged, 0, RELOCATING);
	tcase_add_loop_test(need, not_dumpable, 0, METHODS);
	suite_add_tcase(s, need);

	tcase_add_checked_fixture(at_once, setup, NULL);
	tcase_set_tags(at_once, "slow");
	tcase_add_loop_test(at_once, threads, 0, METHODS);
	tcase_add_loop_test(at_once, in_a_signal_handler, 0, METHODS);
	tcase_add_loop_test(at_once, no_cancellation_point, 0, METHODS);
#ifndef __SANITIZE_THREAD__
	tcase_add_loop_test(at_once, one_thread_after_it, 0, RELOCATING);
#endif
	tcase_add_loop_test(at_once, no_thread_left, 0, METHODS);
#ifdef NO_SANITIZER
	tcase_add_loop_test(at_once, on_a_small_stack, 0, METHODS);
#endif
#ifndef __SANITIZE_THREAD__
	tcase_add_loop_test(at_once, after_vfork, 0, METHODS);
#endif
	tcase_add_loop_test(at_once, users_change, 0, METHODS);
	suite_add_tcase(s, at_once);

	suite_add_tcase(s, handle_case());

	tcase_add_checked_fixture(again, setup, NULL);
	tcase_add_test(again, realloc_contents);
	tcase_add_test(again, realloc_errors);
	tcase_add_test(again, realloc_keeps_pages);
	tcase_add_loop_test(again, realloc_cheapest, 0, 2);
	tcase_add_test(again, realloc_by_copy);
	tcase_add_test(again, realloc_not_by_copy);
	tcase_add_loop_test(again, realloc_other_memory, 0, 2);
	tcase_add_test(again, realloc_with_errors);
	tcase_add_loop_test(again, realloc_keeps_one_mapping, 0, 2);
	suite_add_tcase(s, again);
	return s;
}

int main(int argc, char **argv)
{
	if (argc == 4 && !strcmp(argv[1], "--locked"))
		return probe_with_all_locked(argv[2], argv[3][0] == '1');
	return run_suite(suite());
}
