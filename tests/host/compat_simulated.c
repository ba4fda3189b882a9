/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * mremap_compat() with kernels and sandboxes that are played by a seccomp
 * filter, so that every answer is seen on every kernel.  The filters act on
 * the flags argument of mremap(2); most hand the call to a signal handler,
 * which counts it and says what the kernel is to answer.
 */

#define _GNU_SOURCE
#include "mremap_compat.h"

#include <check.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#define MAY MREMAP_MAYMOVE
#define FIXED (MREMAP_MAYMOVE | MREMAP_FIXED)
#define ANON MREMAP_RELOCATE_ANON
#define MUST MREMAP_MUST_RELOCATE_ANON
#define OLD_FLAGS (MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP)
#define ALL_FLAGS (OLD_FLAGS | ANON | MUST)

static size_t page;

/* Answer mremap with any of these flags by ACTION, pass on all other calls. */
static void filter(uint32_t flags, uint32_t action)
{
	const uint32_t low = __BYTE_ORDER == __LITTLE_ENDIAN ? 0 : 4;
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
			 offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_mremap, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
			 offsetof(struct seccomp_data, args[3]) + low),
		BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, flags, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, action),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { sizeof(code) / sizeof(code[0]), code };

	ck_assert_int_eq(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
	ck_assert_int_eq(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program),
			 0);
}

static char *filled(size_t pages, char c)
{
	char *p = mmap(NULL, pages * page, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	ck_assert_ptr_ne(p, MAP_FAILED);
	memset(p, c, pages * page);
	return p;
}

static void check_filled(const char *p, size_t pages, char c)
{
	size_t i = 0;

	/* An assertion per byte would take long. */
	while (i < pages * page && p[i] == c)
		i++;
	ck_assert_msg(i == pages * page, "byte %zu is not %#x", i, c);
}

/* Size of the address space; allocates nothing. */
static long mapped_pages(void)
{
	char text[64] = "";
	int fd = open("/proc/self/statm", O_RDONLY);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_gt(read(fd, text, sizeof(text) - 1), 0);
	close(fd);
	return atol(text);
}

#define ck_fails(call, err) do { \
	errno = 0; \
	ck_assert_ptr_eq((call), MAP_FAILED); \
	ck_assert_int_eq(errno, (err)); \
} while (0)

/* What is promised where the flags do not work. */
static void check_fallback(void)
{
	char *p = filled(2, 'a'), *to = filled(2, 'b');

	errno = ENOTTY;
	ck_assert_ptr_eq(mremap_compat(p, 2 * page, 2 * page, FIXED | ANON, to),
			 to);
	ck_assert_int_eq(errno, ENOTTY);
	check_filled(to, 2, 'a');

	p = filled(2, 'b');
	ck_fails(mremap_compat(p, 2 * page, 2 * page, FIXED | MUST, to), EFAULT);
	ck_fails(mremap_compat(p, 2 * page, 2 * page, FIXED | MUST | ANON, to),
		 EFAULT);
	ck_fails(mremap_compat(p, 2 * page, 2 * page,
			       MAY | MREMAP_DONTUNMAP | MUST, NULL), EFAULT);
	check_filled(p, 2, 'b');
	check_filled(to, 2, 'a');

	errno = ENOTTY;
	ck_assert_ptr_eq(mremap_compat(p, 2 * page, page, MAY | MUST), p);
	ck_assert_int_eq(errno, ENOTTY);
	check_filled(p, 1, 'b');
}

static void setup(void)
{
	page = (size_t)sysconf(_SC_PAGESIZE);
}

static const struct {
	int err;
	enum mremap_compat_support answer;
} refusals[] = {
	{ EINVAL, MREMAP_COMPAT_UNSUPPORTED },
	{ ENOSYS, MREMAP_COMPAT_UNSUPPORTED },
	{ EPERM, MREMAP_COMPAT_NOT_PERMITTED },
	{ EACCES, MREMAP_COMPAT_NOT_PERMITTED },
	/* Not an answer about the flags. */
	{ ENOMEM, MREMAP_COMPAT_UNKNOWN },
	/* A sandbox that pretends to have done it. */
	{ 0, MREMAP_COMPAT_UNSUPPORTED },
};

START_TEST(refused)
{
	long before;

	filter((uint32_t)~OLD_FLAGS,
	       SECCOMP_RET_ERRNO | (uint32_t)refusals[_i].err);
	before = mapped_pages();
	errno = ENOTTY;
	ck_assert_int_eq(mremap_compat_probe(), refusals[_i].answer);
	ck_assert_int_eq(errno, ENOTTY);
	ck_assert_int_eq(mapped_pages(), before);
	check_fallback();
	ck_assert_int_eq(mremap_compat_probe(), refusals[_i].answer);
}
END_TEST

START_TEST(no_memory_to_ask_with)
{
	struct rlimit limit = { 0, RLIM_INFINITY };

	filter((uint32_t)~OLD_FLAGS, SECCOMP_RET_ERRNO | EINVAL);
	ck_assert_int_eq(setrlimit(RLIMIT_AS, &limit), 0);
	errno = ENOTTY;
	ck_assert_int_eq(mremap_compat_probe(), MREMAP_COMPAT_UNKNOWN);
	ck_assert_int_eq(errno, ENOTTY);
	limit.rlim_cur = RLIM_INFINITY;
	ck_assert_int_eq(setrlimit(RLIMIT_AS, &limit), 0);
	ck_assert_int_eq(mremap_compat_probe(), MREMAP_COMPAT_UNSUPPORTED);
}
END_TEST

START_TEST(mremap_forbidden)
{
	char *p = filled(2, 'a');

	filter(0xffffffff, SECCOMP_RET_ERRNO | ENOSYS);
	ck_fails(mremap_compat(p, 2 * page, 4 * page, MAY | ANON), ENOSYS);
	check_filled(p, 2, 'a');
}
END_TEST

#ifdef __x86_64__

/*
 * A kernel in a signal handler.  It sees the calls with new or unknown flags.
 */
static struct {
	/* What it answers a flagged call, 0 to do it. */
	int err;
	/* Flags that it does not know. */
	greg_t lacks;
	/* Ignore flags that it does not know. */
	bool sloppy;
	/* Move what need not move, as qemu-user does. */
	bool moves;
	/* What it has seen. */
	int calls;
	uintptr_t watched;
	int watched_calls;
} kernel;

static void play_kernel(int sig, siginfo_t *info, void *context)
{
	greg_t *reg = ((ucontext_t *)context)->uc_mcontext.gregs;
	const int saved_errno = errno;
	const greg_t flags = reg[REG_R10];
	long result;

	(void)sig;
	(void)info;
	kernel.calls++;
	if ((uintptr_t)reg[REG_RDI] == kernel.watched)
		kernel.watched_calls++;

	if (kernel.err) {
		result = -kernel.err;
	} else if ((flags & (~ALL_FLAGS | kernel.lacks)) && !kernel.sloppy) {
		result = -EINVAL;
	} else if (kernel.moves && !(flags & MREMAP_FIXED)) {
		void *to = mmap(NULL, (size_t)reg[REG_RDX], PROT_NONE,
				MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		result = syscall(SYS_mremap, reg[REG_RDI], reg[REG_RSI],
				 reg[REG_RDX], (long)FIXED, to);
	} else {
		result = syscall(SYS_mremap, reg[REG_RDI], reg[REG_RSI],
				 reg[REG_RDX], flags & OLD_FLAGS, reg[REG_R8]);
		if (result == -1)
			result = -errno;
	}
	reg[REG_RAX] = result;
	errno = saved_errno;
}

static void boot(void)
{
	struct sigaction action = {
		.sa_sigaction = play_kernel, .sa_flags = SA_SIGINFO
	};

	ck_assert_int_eq(sigaction(SIGSYS, &action, NULL), 0);
	filter((uint32_t)~OLD_FLAGS, SECCOMP_RET_TRAP);
}

START_TEST(supported)
{
	char *p = filled(2, 'a'), *to = filled(2, 'b');

	boot();
	errno = ENOTTY;
	ck_assert_int_eq(mremap_compat_probe(), MREMAP_COMPAT_SUPPORTED);
	/* The question, and one that must be refused. */
	ck_assert_int_eq(kernel.calls, 2);
	ck_assert_ptr_eq(mremap_compat(p, 2 * page, 2 * page,
				       FIXED | ANON, to), to);
	ck_assert_ptr_eq(mremap_compat(to, 2 * page, 2 * page,
				       FIXED | MUST, p), p);
	ck_assert_int_eq(errno, ENOTTY);
	ck_assert_int_eq(kernel.calls, 4);
	check_filled(p, 2, 'a');
	/* Calls without the flags do not pass here. */
	ck_assert_ptr_eq(mremap_compat(p, 2 * page, 2 * page, FIXED, to), to);
	ck_assert_int_eq(kernel.calls, 4);
}
END_TEST

/* An error of a kernel that has the flags is final: no second try. */
START_TEST(errors_passed_on)
{
	static const int errors[] = { EFAULT, ENOMEM, EAGAIN };
	char *p = filled(2, 'a'), *to = filled(2, 'b');

	boot();
	ck_assert_int_eq(mremap_compat_probe(), MREMAP_COMPAT_SUPPORTED);
	kernel.err = errors[_i];
	kernel.calls = 0;
	ck_fails(mremap_compat(p, 2 * page, 2 * page, FIXED | ANON, to),
		 errors[_i]);
	ck_fails(mremap_compat(p, 2 * page, 2 * page, FIXED | MUST, to),
		 errors[_i]);
	ck_fails(mremap_compat(p, 2 * page, page, MAY | MUST), errors[_i]);
	ck_assert_int_eq(kernel.calls, 3);
	check_filled(p, 2, 'a');
	check_filled(to, 2, 'b');
}
END_TEST

/* EINVAL of a kernel that has the flags is about the call. */
START_TEST(wrong_call_keeps_support)
{
	char *p = filled(2, 'a');

	boot();
	ck_fails(mremap_compat(p + 1, page, page, MAY | ANON), EINVAL);
	ck_fails(mremap_compat(p + 1, page, page, MAY | MUST), EINVAL);
	ck_assert_int_eq(mremap_compat_probe(), MREMAP_COMPAT_SUPPORTED);
}
END_TEST

/* A filter installed, or a checkpoint restored elsewhere, after the probe. */
START_TEST(refused_later)
{
	boot();
	ck_assert_int_eq(mremap_compat_probe(), MREMAP_COMPAT_SUPPORTED);
	kernel.err = refusals[_i].err;
	check_fallback();
	ck_assert_int_eq(mremap_compat_probe(), refusals[_i].answer);
}
END_TEST

START_TEST(one_failed_call_per_process)
{
	char *p = filled(2, 'a'), *to = filled(2, 'b');

	boot();
	kernel.err = EINVAL;
	kernel.watched = (uintptr_t)p;
	for (int i = 0; i < 100; i++) {
		ck_assert_ptr_eq(mremap_compat(p, 2 * page, 2 * page,
					       FIXED | ANON, to), to);
		ck_assert_ptr_eq(mremap_compat(to, 2 * page, 2 * page,
					       FIXED | ANON, p), p);
		ck_fails(mremap_compat(p, 2 * page, 2 * page, FIXED | MUST, to),
			 EFAULT);
	}
	ck_assert_int_eq(kernel.calls, 1);
	/* And never with memory in use. */
	ck_assert_int_eq(kernel.watched_calls, 0);
	check_filled(p, 2, 'a');
}
END_TEST

/* Only one of the two flags is no support. */
START_TEST(half_known)
{
	boot();
	kernel.lacks = _i ? MUST : ANON;
	ck_assert_int_eq(mremap_compat_probe(), MREMAP_COMPAT_UNSUPPORTED);
	check_fallback();
}
END_TEST

START_TEST(ignored_flags)
{
	boot();
	kernel.sloppy = true;
	ck_assert_int_eq(mremap_compat_probe(), MREMAP_COMPAT_UNSUPPORTED);
	check_fallback();
}
END_TEST

START_TEST(emulator_that_moves)
{
	long before = mapped_pages();

	boot();
	kernel.moves = true;
	ck_assert_int_eq(mremap_compat_probe(), MREMAP_COMPAT_UNSUPPORTED);
	ck_assert_int_eq(kernel.calls, 1);
	/* Nothing is left of the page that was asked with. */
	ck_assert_int_eq(mapped_pages(), before);
	check_fallback();
}
END_TEST

#endif /* __x86_64__ */

static Suite *suite(void)
{
	Suite *s = suite_create("compat_simulated");
	TCase *sandbox = tcase_create("sandbox");

	tcase_add_checked_fixture(sandbox, setup, NULL);
	tcase_add_loop_test(sandbox, refused, 0,
			    sizeof(refusals) / sizeof(refusals[0]));
	tcase_add_test(sandbox, no_memory_to_ask_with);
	tcase_add_test(sandbox, mremap_forbidden);
	suite_add_tcase(s, sandbox);

#ifdef __x86_64__
	TCase *played = tcase_create("played kernel");

	tcase_add_checked_fixture(played, setup, NULL);
	tcase_add_test(played, supported);
	tcase_add_loop_test(played, errors_passed_on, 0, 3);
	tcase_add_test(played, wrong_call_keeps_support);
	/* The first four of the table are refusals. */
	tcase_add_loop_test(played, refused_later, 0, 4);
	tcase_add_test(played, one_failed_call_per_process);
	tcase_add_loop_test(played, half_known, 0, 2);
	tcase_add_test(played, ignored_flags);
	tcase_add_test(played, emulator_that_moves);
	suite_add_tcase(s, played);
#endif
	return s;
}

int main(void)
{
	SRunner *sr = srunner_create(suite());
	int failed;

	srunner_set_tap(sr, "-");
	srunner_run_all(sr, CK_SILENT);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
