/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * mremap_compat() with kernels and sandboxes that are played by a seccomp
 * filter, so that every answer is seen on every kernel.  The filters act on
 * the flags argument of mremap(2); most hand the call to a signal handler,
 * which counts it and says what the kernel is to answer.
 */

#define _GNU_SOURCE
#include "compat.h"
#include "compat_filter.h"

#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <ucontext.h>

#define OLD_FLAGS (MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP)
#define ALL_FLAGS (OLD_FLAGS | ANON | MUST)

/* Answer mremap with any of these flags by ACTION, pass on all other calls. */
static void filter(uint32_t flags, uint32_t action)
{
	filter_argument(SYS_mremap, 3, BPF_JSET, flags, action);
}

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
	ck_assert_int_eq(mremap_compat_probe(MREMAP_COMPAT_KERNEL), refusals[_i].answer);
	ck_assert_int_eq(errno, ENOTTY);
	ck_assert_int_eq(mapped_pages(), before);
	check_fallback();
	ck_assert_int_eq(mremap_compat_probe(MREMAP_COMPAT_KERNEL), refusals[_i].answer);
}
END_TEST

START_TEST(no_memory_to_ask_with)
{
	struct rlimit limit = { 0, RLIM_INFINITY };

	filter((uint32_t)~OLD_FLAGS, SECCOMP_RET_ERRNO | EINVAL);
	ck_assert_int_eq(setrlimit(RLIMIT_AS, &limit), 0);
	errno = ENOTTY;
	ck_assert_int_eq(mremap_compat_probe(MREMAP_COMPAT_KERNEL), MREMAP_COMPAT_UNKNOWN);
	ck_assert_int_eq(errno, ENOTTY);
	limit.rlim_cur = RLIM_INFINITY;
	ck_assert_int_eq(setrlimit(RLIMIT_AS, &limit), 0);
	ck_assert_int_eq(mremap_compat_probe(MREMAP_COMPAT_KERNEL), MREMAP_COMPAT_UNSUPPORTED);
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

/* ---- the other methods ------------------------------------------------------- */

/* Not root, who may use /dev/userfaultfd. */
static void become_nobody(void)
{
	if (geteuid() == 0)
		ck_assert_int_eq(setresuid(65534, 65534, 65534), 0);
	ck_assert_int_eq(prctl(PR_SET_DUMPABLE, 1, 0, 0, 0), 0);
}

/*
 * With all methods but the kernel's flags, UFFD_MOVE and COPY give these
 * reasons (USED for what moves it), and the memory moves all the same.
 */
static void check_reasons(enum mremap_compat_reason uffd_move,
			  enum mremap_compat_reason copy)
{
	struct mremap_compat_report report;
	char *p = filled(4, 'a'), *to = filled(4, 'b');

	mremap_compat_set_methods(MREMAP_COMPAT_ALL_METHODS & ~1U);
	errno = ENOTTY;
	ck_assert_ptr_eq(mremap_compat_ext(p, 4 * page, 4 * page, FIXED | ANON,
					   to, MREMAP_COMPAT_ALL_METHODS,
					   &report), to);
	ck_assert_int_eq(errno, ENOTTY);
	check_filled(to, 4, 'a');
	ck_assert_int_eq(report.reason[1], uffd_move);
	ck_assert_int_eq(report.reason[2], copy);
	ck_assert_int_eq(report.reason[3],
			 uffd_move == MREMAP_COMPAT_USED ||
			 copy == MREMAP_COMPAT_USED ?
			 MREMAP_COMPAT_NOT_TRIED : MREMAP_COMPAT_USED);
}

static const struct {
	int err;
	enum mremap_compat_support answer;
	enum mremap_compat_reason reason;
} uffd_refusals[] = {
	{ EPERM, MREMAP_COMPAT_NOT_PERMITTED, MREMAP_COMPAT_FORBIDDEN },
	{ EACCES, MREMAP_COMPAT_NOT_PERMITTED, MREMAP_COMPAT_FORBIDDEN },
	{ ENOSYS, MREMAP_COMPAT_UNSUPPORTED, MREMAP_COMPAT_NOT_SUPPORTED },
	/* A kernel that does not know UFFD_USER_MODE_ONLY */
	{ EINVAL, MREMAP_COMPAT_UNSUPPORTED, MREMAP_COMPAT_NOT_SUPPORTED },
	{ EMFILE, MREMAP_COMPAT_UNKNOWN, MREMAP_COMPAT_NO_RESOURCES },
	{ ENFILE, MREMAP_COMPAT_UNKNOWN, MREMAP_COMPAT_NO_RESOURCES },
	{ ENOMEM, MREMAP_COMPAT_UNKNOWN, MREMAP_COMPAT_NO_RESOURCES },
};
#define UFFD_REFUSALS \
	((int)(sizeof(uffd_refusals) / sizeof(uffd_refusals[0])))

/* Where it can only not be had now, nothing is copied instead. */
static void check_uffd_refused(enum mremap_compat_reason reason)
{
	check_reasons(reason, reason == MREMAP_COMPAT_NO_RESOURCES ? reason :
		      MREMAP_COMPAT_USED);
}

START_TEST(userfaultfd_refused)
{
	become_nobody();
	filter_call(SYS_userfaultfd,
		    SECCOMP_RET_ERRNO | (uint32_t)uffd_refusals[_i].err);
	ck_assert_int_eq(mremap_compat_probe(MREMAP_COMPAT_UFFD_MOVE),
			 uffd_refusals[_i].answer);
	ck_assert_int_eq(mremap_compat_probe(MREMAP_COMPAT_COPY),
			 MREMAP_COMPAT_SUPPORTED);
	check_uffd_refused(uffd_refusals[_i].reason);
}
END_TEST

START_TEST(userfaultfd_refused_later)
{
	become_nobody();
	if (mremap_compat_probe(MREMAP_COMPAT_UFFD_MOVE) !=
	    MREMAP_COMPAT_SUPPORTED)
		return;
	filter_call(SYS_userfaultfd,
		    SECCOMP_RET_ERRNO | (uint32_t)uffd_refusals[_i].err);
	check_uffd_refused(uffd_refusals[_i].reason);
}
END_TEST

/* Who may open the device needs no system call. */
START_TEST(userfaultfd_by_device)
{
	const bool there = !access("/dev/userfaultfd", R_OK | W_OK);
	const bool by_call = mremap_compat_probe(MREMAP_COMPAT_UFFD_MOVE) ==
			     MREMAP_COMPAT_SUPPORTED;

	filter_call(SYS_userfaultfd, SECCOMP_RET_ERRNO | EPERM);
	if (by_call)
		check_reasons(there ? MREMAP_COMPAT_USED :
			      MREMAP_COMPAT_FORBIDDEN, there ?
			      MREMAP_COMPAT_NOT_TRIED : MREMAP_COMPAT_USED);
}
END_TEST

static const struct {
	long number;
	int err;
	enum mremap_compat_support answer;
	enum mremap_compat_reason reason;
} needed[] = {
	{ SYS_openat, EPERM, MREMAP_COMPAT_NOT_PERMITTED,
	  MREMAP_COMPAT_FORBIDDEN },
	/* /proc is not there */
	{ SYS_openat, ENOENT, MREMAP_COMPAT_UNSUPPORTED,
	  MREMAP_COMPAT_NOT_SUPPORTED },
	{ SYS_openat, EMFILE, MREMAP_COMPAT_UNKNOWN,
	  MREMAP_COMPAT_NO_RESOURCES },
	{ SYS_msync, EPERM, MREMAP_COMPAT_NOT_PERMITTED,
	  MREMAP_COMPAT_FORBIDDEN },
	{ SYS_msync, ENOSYS, MREMAP_COMPAT_UNSUPPORTED,
	  MREMAP_COMPAT_NOT_SUPPORTED },
	/* The thread that does it */
	{ SYS_rt_sigprocmask, EPERM, MREMAP_COMPAT_NOT_PERMITTED,
	  MREMAP_COMPAT_FORBIDDEN },
	{ SYS_clone, EPERM, MREMAP_COMPAT_NOT_PERMITTED,
	  MREMAP_COMPAT_FORBIDDEN },
	{ SYS_clone, ENOSYS, MREMAP_COMPAT_UNSUPPORTED,
	  MREMAP_COMPAT_NOT_SUPPORTED },
	{ SYS_clone, EAGAIN, MREMAP_COMPAT_UNKNOWN,
	  MREMAP_COMPAT_NO_RESOURCES },
	{ SYS_clone, ENOMEM, MREMAP_COMPAT_UNKNOWN,
	  MREMAP_COMPAT_NO_RESOURCES },
	/* After unshare(CLONE_NEWPID) */
	{ SYS_clone, EINVAL, MREMAP_COMPAT_UNKNOWN,
	  MREMAP_COMPAT_NO_RESOURCES },
	{ SYS_close_range, EPERM, MREMAP_COMPAT_NOT_PERMITTED,
	  MREMAP_COMPAT_FORBIDDEN },
	/* Linux before 5.9 */
	{ SYS_close_range, ENOSYS, MREMAP_COMPAT_UNSUPPORTED,
	  MREMAP_COMPAT_NOT_SUPPORTED },
	{ SYS_close_range, EINVAL, MREMAP_COMPAT_UNSUPPORTED,
	  MREMAP_COMPAT_NOT_SUPPORTED },
	{ SYS_close_range, ENOMEM, MREMAP_COMPAT_UNKNOWN,
	  MREMAP_COMPAT_NO_RESOURCES },
};
#define NEEDED ((int)(sizeof(needed) / sizeof(needed[0])))

static bool has_both(void)
{
	return mremap_compat_probe(MREMAP_COMPAT_UFFD_MOVE) ==
	       MREMAP_COMPAT_SUPPORTED &&
	       mremap_compat_probe(MREMAP_COMPAT_COPY) ==
	       MREMAP_COMPAT_SUPPORTED;
}

START_TEST(needed_call_refused)
{
	filter_call(needed[_i].number,
		    SECCOMP_RET_ERRNO | (uint32_t)needed[_i].err);
	ck_assert_int_eq(mremap_compat_probe(MREMAP_COMPAT_UFFD_MOVE),
			 needed[_i].answer);
	ck_assert_int_eq(mremap_compat_probe(MREMAP_COMPAT_COPY),
			 needed[_i].answer);
	check_reasons(needed[_i].reason, needed[_i].reason);
}
END_TEST

START_TEST(needed_call_refused_later)
{
	if (!has_both())
		return;
	filter_call(needed[_i].number,
		    SECCOMP_RET_ERRNO | (uint32_t)needed[_i].err);
	check_reasons(needed[_i].reason, needed[_i].reason);
}
END_TEST

/* What only makes a call shorter or tidier may be refused. */
START_TEST(helpful_call_refused)
{
	static const long calls[] = {
		SYS_futex, SYS_tgkill, SYS_getpid, SYS_sched_yield,
		SYS_nanosleep,
	};

	if (!has_both())
		return;
	for (size_t i = 0; i < sizeof(calls) / sizeof(*calls); i++)
		filter_call(calls[i], SECCOMP_RET_ERRNO | EPERM);
	for (int i = 0; i < 20; i++)
		check_reasons(MREMAP_COMPAT_USED, MREMAP_COMPAT_NOT_TRIED);
}
END_TEST

/*
 * A handle's caller that may not ask whether the thread is there does not take it for
 * gone, and its memory for its own again, while that is at work.
 */
START_TEST(helpful_call_refused_later)
{
	/* Nor can there be another thread. */
	static const long calls[] = { SYS_tgkill, SYS_sched_yield, SYS_clone };
	enum { handles = 8, n = 512 };
	struct mremap_compat_handle *handle[handles];
	struct mremap_compat_report report;

	if (!has_both())
		return;
	for (int i = 0; i < handles; i++) {
		handle[i] = mremap_compat_open();
		ck_assert_ptr_nonnull(handle[i]);
	}
	for (size_t i = 0; i < sizeof(calls) / sizeof(*calls); i++)
		filter_call(calls[i], SECCOMP_RET_ERRNO | EPERM);
	for (int i = 0; i < handles; i++) {
		char *p = filled(n, 'a'), *to = map(n, PROT_NONE);

		ck_assert_ptr_eq(mremap_compat_ext_with(handle[i], p, n * page,
							n * page, FIXED | ANON,
							to, MREMAP_COMPAT_UFFD_MOVE,
							&report), to);
		ck_assert_int_eq(report.reason[1], MREMAP_COMPAT_USED);
		check_filled(to, n, 'a');
	}
}
END_TEST

/* ThreadSanitizer has a thread, makes calls and holds locks of its own. */
#ifndef __SANITIZE_THREAD__
/*
 * After the call there is one thread, as before: unshare(CLONE_THREAD) does nothing
 * but say so.  Who may not wait for the other is there first when it leaves.
 */
START_TEST(thread_has_gone)
{
	char *p = filled(4, 'a'), *place[2] = { map(4, PROT_NONE), p };

	if (!has_both())
		return;
	filter_call(SYS_futex, SECCOMP_RET_ERRNO | EPERM);
	for (int i = 0; i < 100; i++) {
		ck_assert_int_eq(unshare(CLONE_THREAD), 0);
		p = mremap_compat_ext(p, 4 * page, 4 * page, FIXED | ANON,
				      place[i % 2], MREMAP_COMPAT_UFFD_MOVE |
				      MREMAP_COMPAT_COPY, NULL);
		ck_assert_int_eq(unshare(CLONE_THREAD), 0);
		ck_assert_ptr_eq(p, place[i % 2]);
	}
}
END_TEST

/*
 * A filter that kills a thread for a call kills that of the library, which notices
 * and undoes what there is.
 */
static const long deadly[] = {
	SYS_close_range, SYS_openat, SYS_ioctl, SYS_msync,
};
#define DEADLY ((int)(sizeof(deadly) / sizeof(deadly[0])))

START_TEST(thread_killed)
{
	const int files = open_files();

	filter_call(deadly[_i], SECCOMP_RET_KILL_THREAD);
	ck_assert_int_eq(mremap_compat_probe(MREMAP_COMPAT_UFFD_MOVE),
			 MREMAP_COMPAT_NOT_PERMITTED);
	ck_assert_int_eq(mremap_compat_probe(MREMAP_COMPAT_COPY),
			 MREMAP_COMPAT_NOT_PERMITTED);
	check_reasons(MREMAP_COMPAT_FORBIDDEN, MREMAP_COMPAT_FORBIDDEN);
	if (deadly[_i] != SYS_openat)
		ck_assert_int_eq(open_files(), files);
	/* What counts coverage would write files. */
	_exit(0);
}
END_TEST

START_TEST(thread_killed_later)
{
	if (has_both()) {
		filter_call(deadly[_i], SECCOMP_RET_KILL_THREAD);
		check_reasons(MREMAP_COMPAT_FORBIDDEN,
			      MREMAP_COMPAT_FORBIDDEN);
	}
	_exit(0);
}
END_TEST

/*
 * In the midst of the move: at the UFFDIO_ call, or when it copies. That of a handle,
 * too, after which calls have threads of their own.
 */
START_TEST(thread_killed_in_the_midst)
{
	static const struct {
		long number;
		uint32_t request;
	} calls[] = {
		{ SYS_ioctl, 0xc0187a00 },	/* no such call: it works */
		{ SYS_ioctl, 0xc020aa00 },	/* UFFDIO_REGISTER */
		{ SYS_ioctl, 0xc028aa05 },	/* UFFDIO_MOVE */
		{ SYS_ioctl, 0x8010aa01 },	/* UFFDIO_UNREGISTER */
		{ SYS_preadv, 0 },
	};
	const bool by_ioctl = calls[_i / 2].number == SYS_ioctl;
	struct mremap_compat_report report;
	char *p = filled(6, 'a'), *to = map(4, PROT_NONE);
	const unsigned int method = by_ioctl ? MREMAP_COMPAT_UFFD_MOVE :
				    MREMAP_COMPAT_COPY;
	struct mremap_compat_handle *handle = NULL;
	const int files = open_files();
	long before;

	for (int i = 0; i < 6; i++)
		p[(size_t)i * page] = (char)('A' + i);
	if (!has_both())
		return;
	before = mapped_pages();
	if (by_ioctl)
		filter_argument(SYS_ioctl, 1, BPF_JEQ, calls[_i / 2].request,
				SECCOMP_RET_KILL_THREAD);
	else
		filter_call(calls[_i / 2].number, SECCOMP_RET_KILL_THREAD);
	if (_i % 2) {
		handle = mremap_compat_open();
		ck_assert_ptr_nonnull(handle);
		before = mapped_pages();
	}
	if (_i < 2) {
		ck_assert_ptr_eq(mremap_compat_ext_with(handle, p + page,
							4 * page, 4 * page,
							FIXED | ANON, to,
							method, NULL), to);
		return;
	}
	for (int k = 0; k < 2; k++) {
		ck_fails(mremap_compat_ext_with(handle, p + page, 4 * page,
						4 * page, FIXED | ANON, to,
						method, &report), EFAULT);
		ck_assert_int_eq(report.reason[by_ioctl ? 1 : 2],
				 MREMAP_COMPAT_FORBIDDEN);
		for (int i = 0; i < 6; i++) {
			ck_assert_int_eq(p[(size_t)i * page], 'A' + i);
			ck_assert_int_eq(p[(size_t)(i + 1) * page - 1], 'a');
		}
		ck_assert_int_eq(mappings(p, 6 * page), 1);
		ck_assert_int_eq(mapped_pages(), before);
		ck_assert_int_eq(open_files(), files);
	}
	mremap_compat_close(handle);
}
END_TEST

/*
 * A filter that came later ends the thread for one call, or refuses it, anywhere in a
 * move of several runs of pages, of which one page is shared with a child: nothing is
 * lost, and whoever touches a hole does not wait for an answer.
 */
static const struct {
	long number;
	int argument;		/* that has this value; -1: with any */
	uint32_t value;
} hit[] = {
	{ SYS_ioctl, 1, 0xc028aa05 },	/* UFFDIO_MOVE */
	{ SYS_ioctl, 1, 0xc020aa00 },	/* UFFDIO_REGISTER */
	{ SYS_ioctl, 1, 0x8010aa01 },	/* UFFDIO_UNREGISTER */
	{ SYS_ioctl, 1, 0xc018aa3f },	/* UFFDIO_API */
	{ SYS_ioctl, 1, 0xc0606610 },	/* PAGEMAP_SCAN */
	{ SYS_ioctl, 1, 0xc0686611 },	/* PROCMAP_QUERY */
	{ SYS_madvise, 2, 23 },		/* MADV_POPULATE_WRITE, of the shared page */
	{ SYS_preadv, -1, 0 },
	{ SYS_openat, -1, 0 },
	{ SYS_msync, -1, 0 },
	{ SYS_mprotect, -1, 0 },
	{ SYS_sched_yield, -1, 0 },
	{ SYS_clock_gettime, -1, 0 },
	{ SYS_close, -1, 0 },
	{ SYS_userfaultfd, -1, 0 },
};
#define HIT ((int)(sizeof(hit) / sizeof(hit[0])))
#define HIT_WAYS 6	/* killed or refused; UFFD_MOVE, the same by a handle, COPY */

START_TEST(hit_on_the_way)
{
	const int h = _i / HIT_WAYS, way = _i % HIT_WAYS / 2;
	const uint32_t low = __BYTE_ORDER == __LITTLE_ENDIAN ? 0 : 4;
	const uint32_t where = (uint32_t)offsetof(struct seccomp_data, args) + low;
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
			 offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)hit[h].number, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, hit[h].argument < 0 ? 0 :
			 where + 8 * (uint32_t)hit[h].argument),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, hit[h].argument < 0 ?
			 (uint32_t)hit[h].number : hit[h].value, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, _i % 2 ? SECCOMP_RET_ERRNO | ENOMEM :
			 SECCOMP_RET_KILL_THREAD),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	/* More than a page table, so that the holes are looked for; runs of 8 */
	enum { n = 1200, run = 8, step = 40, shared = n / 2 + 4 };
	const unsigned int method = way == 2 ? MREMAP_COMPAT_COPY :
					       MREMAP_COMPAT_UFFD_MOVE;
	struct mremap_compat_handle *handle = NULL;
	char *p, *result, *now;
	int ends[2], lost = 0;
	pid_t child;

	if (!has_both())
		return;
	p = map(n + 1, PROT_READ | PROT_WRITE);
	ck_assert_int_eq(mprotect(p + n * page, page, PROT_NONE), 0);
	madvise(p, n * page, MADV_NOHUGEPAGE);
	if (way == 1) {
		handle = mremap_compat_open();
		ck_assert_ptr_nonnull(handle);
	}
	for (size_t i = 0; i < n; i++)
		if (i % step < run)
			p[i * page] = (char)(i % 100 + 1);
	/* It has its copy for as long as we live. */
	ck_assert_int_eq(pipe(ends), 0);
	child = fork();
	ck_assert_int_ge(child, 0);
	if (!child) {
		char byte;

		close(ends[1]);
		_exit(read(ends[0], &byte, 1) != 0);
	}
	for (size_t i = 0; i < n; i++)
		if (i % step < run && i != shared)
			p[i * page + 1] = 'b';
	/* For all threads that there are */
	install(code, sizeof(code) / sizeof(code[0]), SECCOMP_FILTER_FLAG_TSYNC);
	result = mremap_compat_ext_with(handle, p, n * page, (n + 2) * page,
					MAY | ANON, NULL,
					method | MREMAP_COMPAT_PLAIN, NULL);
	now = result == MAP_FAILED ? p : result;
	for (size_t i = 0; i < n; i++) {
		lost += now[i * page] !=
			(i % step < run ? (char)(i % 100 + 1) : 0);
		now[i * page + 2] = 'c';
	}
	/* libcheck and what counts coverage make such calls, too. */
	_exit(lost ? 1 : 0);
}
END_TEST

#ifdef NO_SANITIZER
# define HANDLE_REFUSED 9
#else
# define HANDLE_REFUSED 8
#endif

/* A handle whose thread cannot have what it is for is none. */
START_TEST(handle_refused)
{
	static const struct {
		long number;
		uint32_t action;
		int err;
	} refused[HANDLE_REFUSED] = {
		{ SYS_close_range, SECCOMP_RET_ERRNO | EPERM, EPERM },
		{ SYS_close_range, SECCOMP_RET_ERRNO | ENOSYS, ENOSYS },
		{ SYS_close_range, SECCOMP_RET_ERRNO | EINVAL, ENOSYS },
		{ SYS_close_range, SECCOMP_RET_KILL_THREAD, EPERM },
		/* Before and after it has begun */
		{ SYS_set_robust_list, SECCOMP_RET_KILL_THREAD, EPERM },
#ifdef NO_SANITIZER	/* which asks in the thread that creates it */
		{ SYS_gettid, SECCOMP_RET_KILL_THREAD, EPERM },
#endif
		{ SYS_prctl, SECCOMP_RET_KILL_THREAD, EPERM },
		{ SYS_madvise, SECCOMP_RET_ERRNO | EINVAL, ENOSYS },
		{ SYS_userfaultfd, SECCOMP_RET_ERRNO | EPERM, 0 },
	};
	struct mremap_compat_report report;
	char *p = filled(4, 'a'), *to = map(4, PROT_NONE);
	struct mremap_compat_handle *handle;

	become_nobody();
	filter_call(refused[_i].number, refused[_i].action);
	errno = 0;
	handle = mremap_compat_open();
	ck_assert_int_eq(errno, refused[_i].err);
	ck_assert_int_eq(!handle, !!refused[_i].err);
	/* Without the userfaultfd it still has the thread. */
	ck_assert_ptr_eq(mremap_compat_ext_with(handle, p, 4 * page, 4 * page,
						FIXED | ANON, to,
						MREMAP_COMPAT_UFFD_MOVE |
						MREMAP_COMPAT_PLAIN, &report),
			 to);
	if (handle)
		ck_assert_int_eq(report.reason[1], MREMAP_COMPAT_FORBIDDEN);
	check_filled(to, 4, 'a');
	mremap_compat_close(handle);
}
END_TEST
#endif

/* Without PROCMAP_QUERY, UFFDIO_MOVE and so on: what needs no ioctl() works. */
START_TEST(ioctl_refused)
{
	filter_call(SYS_ioctl, SECCOMP_RET_ERRNO | EPERM);
	ck_assert_int_eq(mremap_compat_probe(MREMAP_COMPAT_UFFD_MOVE),
			 MREMAP_COMPAT_NOT_PERMITTED);
	ck_assert_int_eq(mremap_compat_probe(MREMAP_COMPAT_COPY),
			 MREMAP_COMPAT_SUPPORTED);
	check_reasons(MREMAP_COMPAT_FORBIDDEN, MREMAP_COMPAT_USED);
}
END_TEST

/* Linux before 5.7 */
START_TEST(no_dontunmap)
{
	filter(MREMAP_DONTUNMAP, SECCOMP_RET_ERRNO | EINVAL);
	ck_assert_int_eq(mremap_compat_probe(MREMAP_COMPAT_UFFD_MOVE),
			 MREMAP_COMPAT_UNSUPPORTED);
	ck_assert_int_eq(mremap_compat_probe(MREMAP_COMPAT_COPY),
			 MREMAP_COMPAT_UNSUPPORTED);
	check_reasons(MREMAP_COMPAT_NOT_SUPPORTED, MREMAP_COMPAT_NOT_SUPPORTED);
}
END_TEST

START_TEST(plain_refused)
{
	filter(0xffffffff, SECCOMP_RET_ERRNO | (_i ? EPERM : ENOSYS));
	/* Also a call without any flag */
	filter_call(SYS_mremap, SECCOMP_RET_ERRNO | (_i ? EPERM : ENOSYS));
	ck_assert_int_eq(mremap_compat_probe(MREMAP_COMPAT_PLAIN),
			 _i ? MREMAP_COMPAT_NOT_PERMITTED :
			      MREMAP_COMPAT_UNSUPPORTED);
}
END_TEST

#ifndef __SANITIZE_THREAD__	/* which makes calls of its own */
/* mremap_compat() makes no call that a strict filter could kill for. */
START_TEST(killed_for_other_calls)
{
	static const long calls[] = {
		SYS_userfaultfd, SYS_openat, SYS_ioctl, SYS_msync,
		SYS_munlock, SYS_read, SYS_preadv, SYS_close, SYS_clone,
		SYS_close_range, SYS_rt_sigprocmask, SYS_tgkill,
	};
	char *p = filled(2, 'a'), *to = filled(2, 'b');
	bool moved, failed;

	for (size_t i = 0; i < sizeof(calls) / sizeof(*calls); i++)
		filter_call(calls[i], SECCOMP_RET_KILL_PROCESS);
	moved = mremap_compat(p, 2 * page, 2 * page, FIXED | ANON, to) == to &&
		to[0] == 'a';
	failed = mremap_compat(to, 2 * page, page, MAY | MUST) == to &&
		 mremap_compat_probe(MREMAP_COMPAT_KERNEL) !=
		 MREMAP_COMPAT_UNKNOWN;
	/* Not by way of libcheck, which writes and closes files. */
	_exit(moved && failed ? 0 : 1);
}
END_TEST
#endif

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

/* A sandbox that answers in a handler: the files are not there. */
static void play_broker(int sig, siginfo_t *info, void *context)
{
	(void)sig;
	(void)info;
	kernel.calls++;
	((ucontext_t *)context)->uc_mcontext.gregs[REG_RAX] = -EACCES;
}

START_TEST(answered_by_a_handler)
{
	struct sigaction action = {
		.sa_sigaction = play_broker, .sa_flags = SA_SIGINFO
	};

	ck_assert_int_eq(sigaction(SIGSYS, &action, NULL), 0);
	filter_call(SYS_openat, SECCOMP_RET_TRAP);
	ck_assert_int_eq(mremap_compat_probe(MREMAP_COMPAT_UFFD_MOVE),
			 MREMAP_COMPAT_NOT_PERMITTED);
	ck_assert_int_eq(mremap_compat_probe(MREMAP_COMPAT_COPY),
			 MREMAP_COMPAT_NOT_PERMITTED);
	ck_assert_int_eq(kernel.calls, 2);
	check_reasons(MREMAP_COMPAT_FORBIDDEN, MREMAP_COMPAT_FORBIDDEN);
}
END_TEST

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
	ck_assert_int_eq(mremap_compat_probe(MREMAP_COMPAT_KERNEL), MREMAP_COMPAT_SUPPORTED);
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
	static const int errors[] = { EFAULT, EAGAIN };
	char *p = filled(2, 'a'), *to = filled(2, 'b');

	boot();
	ck_assert_int_eq(mremap_compat_probe(MREMAP_COMPAT_KERNEL), MREMAP_COMPAT_SUPPORTED);
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

/* What can be moved without more memory is. */
START_TEST(no_memory_to_relocate)
{
	struct mremap_compat_report report;
	char *p = filled(2, 'a'), *to = filled(2, 'b');

	boot();
	ck_assert_int_eq(mremap_compat_probe(MREMAP_COMPAT_KERNEL), MREMAP_COMPAT_SUPPORTED);
	kernel.err = ENOMEM;
	kernel.calls = 0;
	ck_fails(mremap_compat(p, 2 * page, 2 * page, FIXED | MUST, to), ENOMEM);
	check_filled(p, 2, 'a');
	errno = ENOTTY;
	ck_assert_ptr_eq(mremap_compat_ext(p, 2 * page, 2 * page, FIXED | ANON,
					   to, MREMAP_COMPAT_KERNEL |
					   MREMAP_COMPAT_PLAIN, &report), to);
	ck_assert_int_eq(errno, ENOTTY);
	ck_assert_int_eq(kernel.calls, 2);
	ck_assert_uint_eq(report.method, MREMAP_COMPAT_PLAIN);
	ck_assert_int_eq(report.reason[0], MREMAP_COMPAT_NO_RESOURCES);
	check_filled(to, 2, 'a');
	/* A call that fails anyway fails as without the flag. */
	munmap(p, 2 * page);
	ck_fails(mremap_compat(p, 2 * page, 2 * page, FIXED | ANON, to), EFAULT);
	/* Others may need less. */
	p = filled(2, 'c');
	ck_assert_ptr_eq(mremap_compat_ext(p, 2 * page, 2 * page, FIXED | MUST,
					   to, MREMAP_COMPAT_ALL_METHODS,
					   &report), to);
	ck_assert_uint_ne(report.method, MREMAP_COMPAT_PLAIN);
	check_filled(to, 2, 'c');
}
END_TEST

/* EINVAL of a kernel that has the flags is about the call. */
START_TEST(wrong_call_keeps_support)
{
	char *p = filled(2, 'a');

	boot();
	ck_fails(mremap_compat(p + 1, page, page, MAY | ANON), EINVAL);
	ck_fails(mremap_compat(p + 1, page, page, MAY | MUST), EINVAL);
	ck_assert_int_eq(mremap_compat_probe(MREMAP_COMPAT_KERNEL), MREMAP_COMPAT_SUPPORTED);
}
END_TEST

/* A filter installed, or a checkpoint restored elsewhere, after the probe. */
START_TEST(refused_later)
{
	boot();
	ck_assert_int_eq(mremap_compat_probe(MREMAP_COMPAT_KERNEL), MREMAP_COMPAT_SUPPORTED);
	kernel.err = refusals[_i].err;
	check_fallback();
	ck_assert_int_eq(mremap_compat_probe(MREMAP_COMPAT_KERNEL), refusals[_i].answer);
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
	ck_assert_int_eq(mremap_compat_probe(MREMAP_COMPAT_KERNEL), MREMAP_COMPAT_UNSUPPORTED);
	check_fallback();
}
END_TEST

START_TEST(ignored_flags)
{
	boot();
	kernel.sloppy = true;
	ck_assert_int_eq(mremap_compat_probe(MREMAP_COMPAT_KERNEL), MREMAP_COMPAT_UNSUPPORTED);
	check_fallback();
}
END_TEST

START_TEST(emulator_that_moves)
{
	long before = mapped_pages();

	boot();
	kernel.moves = true;
	ck_assert_int_eq(mremap_compat_probe(MREMAP_COMPAT_KERNEL), MREMAP_COMPAT_UNSUPPORTED);
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
	TCase *others = tcase_create("other methods");

	tcase_add_checked_fixture(sandbox, setup, NULL);
	tcase_add_loop_test(sandbox, refused, 0,
			    sizeof(refusals) / sizeof(refusals[0]));
	tcase_add_test(sandbox, no_memory_to_ask_with);
	tcase_add_test(sandbox, mremap_forbidden);
	suite_add_tcase(s, sandbox);

	tcase_add_checked_fixture(others, setup, NULL);
	tcase_add_loop_test(others, userfaultfd_refused, 0, UFFD_REFUSALS);
	tcase_add_loop_test(others, userfaultfd_refused_later, 0,
			    UFFD_REFUSALS);
	tcase_add_test(others, userfaultfd_by_device);
	tcase_add_loop_test(others, needed_call_refused, 0, NEEDED);
	tcase_add_loop_test(others, needed_call_refused_later, 0, NEEDED);
	tcase_add_test(others, helpful_call_refused);
	tcase_add_test(others, helpful_call_refused_later);
#ifndef __SANITIZE_THREAD__
	tcase_add_test(others, thread_has_gone);
	tcase_add_loop_exit_test(others, thread_killed, 0, 0, DEADLY);
	tcase_add_loop_test(others, handle_refused, 0, HANDLE_REFUSED);
	tcase_add_loop_exit_test(others, thread_killed_later, 0, 0, DEADLY);
	tcase_add_loop_test(others, thread_killed_in_the_midst, 0, 10);
	tcase_add_loop_exit_test(others, hit_on_the_way, 0, 0, HIT_WAYS * HIT);
#endif
	tcase_add_test(others, ioctl_refused);
	tcase_add_test(others, no_dontunmap);
	tcase_add_loop_test(others, plain_refused, 0, 2);
#ifndef __SANITIZE_THREAD__
	tcase_add_exit_test(others, killed_for_other_calls, 0);
#endif
	suite_add_tcase(s, others);

#ifdef __x86_64__
	TCase *played = tcase_create("played kernel");

	tcase_add_checked_fixture(played, setup, NULL);
	tcase_add_test(played, supported);
	tcase_add_loop_test(played, errors_passed_on, 0, 2);
	tcase_add_test(played, no_memory_to_relocate);
	tcase_add_test(played, wrong_call_keeps_support);
	/* The first four of the table are refusals. */
	tcase_add_loop_test(played, refused_later, 0, 4);
	tcase_add_test(played, one_failed_call_per_process);
	tcase_add_loop_test(played, half_known, 0, 2);
	tcase_add_test(played, ignored_flags);
	tcase_add_test(played, emulator_that_moves);
	tcase_add_test(played, answered_by_a_handler);
	suite_add_tcase(s, played);
#endif
	return s;
}

int main(void)
{
	return run_suite(suite());
}
