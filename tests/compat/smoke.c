/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The library in a program without libcheck, for C libraries, processors and
 * emulators other than this machine's. Prints the probe's answers in a line
 * ("kernel=2 uffd-move=1 copy=1 plain=1"), then tries what they promise.
 */

#define _GNU_SOURCE
#include "check.h"
#include <mremap_compat.h>

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static size_t page;
static struct mremap_compat_handle *handle;

static char *map(size_t pages, int prot)
{
	char *p = mmap(NULL, pages * page, prot, MAP_PRIVATE | MAP_ANONYMOUS,
		       -1, 0);

	CHECK(p != MAP_FAILED);
	return p;
}

static void fill(char *p, size_t pages)
{
	for (size_t i = 0; i < pages; i++)
		memcpy(p + i * page, &i, sizeof(i));
}

static void check(const char *p, size_t pages)
{
	for (size_t i = 0; i < pages; i++)
		CHECK(!memcmp(p + i * page, &i, sizeof(i)));
}

static void move(unsigned int method, size_t pages)
{
	struct mremap_compat_report report;
	char *p = map(pages, PROT_READ | PROT_WRITE);
	char *to = map(pages, PROT_NONE);

	fill(p, pages);
	errno = 0;
	p = mremap_compat_ext_with(handle, p, pages * page, pages * page,
				   MREMAP_MAYMOVE | MREMAP_FIXED |
				   MREMAP_RELOCATE_ANON, to, method, &report);
	if (method != MREMAP_COMPAT_PLAIN &&
	    mremap_compat_probe((enum mremap_compat_method)method) !=
	    MREMAP_COMPAT_SUPPORTED) {
		CHECK(p == MAP_FAILED && errno == EFAULT);
		return;
	}
	CHECK(p == to && !errno && report.method == method);
	check(p, pages);
	munmap(p, pages * page);
}

/* Also in a child, which has no thread for it. */
static void try_handle(void)
{
	int status;
	pid_t pid;

	errno = 0;
	handle = mremap_compat_open();
	/* An emulator can have no close_range(2). */
	CHECK(handle ? !errno : errno == ENOSYS || errno == EPERM);
	for (unsigned int m = 1; m <= MREMAP_COMPAT_PLAIN; m *= 2)
		move(m, 20);
	pid = fork();
	CHECK(pid >= 0);
	if (!pid) {
		for (unsigned int m = 1; m <= MREMAP_COMPAT_PLAIN; m *= 2)
			move(m, 20);
		mremap_compat_close(handle);
		_exit(0);
	}
	CHECK(waitpid(pid, &status, 0) == pid);
	CHECK(!status);
	for (unsigned int m = 1; m <= MREMAP_COMPAT_PLAIN; m *= 2)
		move(m, 20);
	mremap_compat_close(handle);
	handle = NULL;
}

/*
 * One whose thread a filter ends: when it begins, or in a move. Neither waits for it
 * for ever.
 */
static void try_ended_handle(long number, bool opens)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
			 offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)number, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_THREAD),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { sizeof(code) / sizeof(code[0]), code };
	int status;
	pid_t pid;

	/* Valgrind, for one, does not survive the end of such a thread. */
	if (mremap_compat_probe(MREMAP_COMPAT_COPY) != MREMAP_COMPAT_SUPPORTED)
		return;
	fflush(stdout);
	pid = fork();
	CHECK(pid >= 0);
	if (!pid) {
		char *p = map(2, PROT_READ | PROT_WRITE), *to = map(2, PROT_NONE);

		handle = mremap_compat_open();
		/* An emulator of the C library's calls has neither. */
		if (!handle || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
		    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
			_exit(0);
		mremap_compat_close(handle);
		handle = mremap_compat_open();
		CHECK(opens ? handle != NULL : !handle && errno == EPERM);
		fill(p, 2);
		p = mremap_compat_ext_with(handle, p, 2 * page, 2 * page,
					   MREMAP_MAYMOVE | MREMAP_FIXED |
					   MREMAP_RELOCATE_ANON, to,
					   MREMAP_COMPAT_ALL_METHODS, NULL);
		CHECK(p == to);
		check(p, 2);
		mremap_compat_close(handle);
		_exit(0);
	}
	CHECK(waitpid(pid, &status, 0) == pid);
	CHECK(!status);
}

static void grow(unsigned int methods)
{
	char *p = NULL;
	size_t size = 0;

	for (size_t next = page; next < 200 * page; next += next / 2 + page) {
		p = mremap_compat_realloc_with(handle, p, size, next, methods,
					       NULL);
		CHECK(p);
		if (size)
			check(p, size / page);
		size = next / page * page;
		fill(p, size / page);
	}
	CHECK(!mremap_compat_realloc(p, size, 0));
}

/* Pages in another order; what merges, or that nothing does, is for others to test. */
static void coalesce(void)
{
	char *p = map(4, PROT_READ | PROT_WRITE), *to = map(4, PROT_NONE);
	struct mremap_compat_coalesce_report report;
	int result;

	for (size_t i = 0; i < 4; i++) {
		fill(p + i * page, 1);
		CHECK(mremap(p + i * page, page, page, MREMAP_MAYMOVE |
			     MREMAP_FIXED, to + (3 - i) * page) != MAP_FAILED);
	}
	errno = 0;
	result = mremap_compat_coalesce(to, 4 * page, MREMAP_COMPAT_KEEP_PAGES,
					&report);
	CHECK(result ? errno && !report.method : !errno);
	CHECK(mremap_compat_probe_coalesce() != MREMAP_COMPAT_SUPPORTED ||
	      report.method == MREMAP_COMPAT_KERNEL);
	for (size_t i = 0; i < 4; i++)
		check(to + i * page, 1);
	munmap(to, 4 * page);
}

int main(void)
{
	char *p = NULL;

	page = (size_t)sysconf(_SC_PAGESIZE);
	CHECK(mremap_compat_version() == MREMAP_COMPAT_VERSION);
	for (unsigned int m = 1; m <= MREMAP_COMPAT_PLAIN; m *= 2)
		printf("%s=%d%c",
		       mremap_compat_method_name((enum mremap_compat_method)m),
		       mremap_compat_probe((enum mremap_compat_method)m),
		       m == MREMAP_COMPAT_PLAIN ? '\n' : ' ');
	fflush(stdout);
	for (unsigned int m = 1; m <= MREMAP_COMPAT_PLAIN; m *= 2)
		for (size_t pages = 1; pages < 1000; pages = pages * 3 - 1 + pages / 2)
			move(m, pages);

	p = map(3, PROT_READ | PROT_WRITE);
	fill(p, 2);
	CHECK(mprotect(p + 2 * page, page, PROT_READ) == 0);
	p = mremap_compat(p, 2 * page, 4 * page,
			  MREMAP_MAYMOVE | MREMAP_RELOCATE_ANON);
	CHECK(p != MAP_FAILED);
	check(p, 2);
	CHECK(mremap_compat(p, 4 * page, page, MREMAP_MAYMOVE | 32) ==
	      MAP_FAILED && errno == EINVAL);

	grow(MREMAP_COMPAT_KEEP_PAGES);
	grow(MREMAP_COMPAT_ALL_METHODS);
	coalesce();
	try_handle();
	try_ended_handle(SYS_gettid, false);
	try_ended_handle(SYS_close_range, false);
	try_ended_handle(SYS_msync, true);
	puts("good");
	return 0;
}
