/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * mremap_compat() against the running kernel.  RELOCATE_EXPECT=supported or
 * =unsupported says what the probe must find; unset, the answer may be either
 * and the tests check that the functions live up to it.
 */

#define _GNU_SOURCE
#include "compat.h"

#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

/* The sets of new flags that each contract test is run with. */
static const int flag_sets[] = { ANON, MUST, ANON | MUST };
#define FLAG_SETS ((int)(sizeof(flag_sets) / sizeof(flag_sets[0])))

static bool supported(void)
{
	return mremap_compat_probe(MREMAP_COMPAT_KERNEL) == MREMAP_COMPAT_SUPPORTED;
}

START_TEST(probe_answer)
{
	const char *expect = getenv("RELOCATE_EXPECT");
	enum mremap_compat_support answer;

	errno = ENOTTY;
	answer = mremap_compat_probe(MREMAP_COMPAT_KERNEL);
	ck_assert_int_eq(errno, ENOTTY);
	ck_assert_int_eq(answer, mremap_compat_probe(MREMAP_COMPAT_KERNEL));
	ck_assert_int_eq(errno, ENOTTY);
	if (expect && !strcmp(expect, "supported"))
		ck_assert_int_eq(answer, MREMAP_COMPAT_SUPPORTED);
	else if (expect && !strcmp(expect, "unsupported"))
		ck_assert_int_eq(answer, MREMAP_COMPAT_UNSUPPORTED);
	else if (expect)
		ck_abort_msg("RELOCATE_EXPECT=%s", expect);
	else
		ck_assert_int_ne(answer, MREMAP_COMPAT_UNKNOWN);
}
END_TEST

/* The kernel looks at the flags first and at the address later. */
START_TEST(probe_agrees_with_unmapped_address)
{
	char *p = map(1, PROT_NONE);
	long result;

	munmap(p, page);
	for (int i = 0; i < FLAG_SETS; i++) {
		errno = 0;
		result = syscall(SYS_mremap, p, page, page,
				 (unsigned long)(MAY | flag_sets[i]), NULL);
		ck_assert_int_eq(result, -1);
		ck_assert_int_eq(errno, supported() ? EFAULT : EINVAL);
	}
	errno = 0;
	result = syscall(SYS_mremap, p, page, page, (unsigned long)MAY, NULL);
	ck_assert_int_eq(result, -1);
	ck_assert_int_eq(errno, EFAULT);
}
END_TEST

START_TEST(probe_leaves_no_mapping)
{
	char *before = map(1, PROT_NONE), *after;

	munmap(before, page);
	mremap_compat_probe(MREMAP_COMPAT_KERNEL);
	after = map(1, PROT_NONE);
	ck_assert_ptr_eq(before, after);
}
END_TEST

START_TEST(plain_flags)
{
	char *p = filled(2, 'a'), *to = map(2, PROT_NONE);

	errno = ENOTTY;
	p = mremap_compat(p, 2 * page, 4 * page, MAY);
	ck_assert_ptr_ne(p, MAP_FAILED);
	check_filled(p, 2, 'a');
	ck_assert_ptr_eq(mremap_compat(p, 4 * page, 2 * page, 0), p);
	ck_assert_ptr_eq(mremap_compat(p, 2 * page, 2 * page,
				       MAY | MREMAP_FIXED, to), to);
	ck_assert_int_eq(errno, ENOTTY);
	check_filled(to, 2, 'a');
	ck_assert(!is_mapped(p));
}
END_TEST

START_TEST(einval_unknown_flags)
{
	char *p = filled(1, 'a');

	ck_fails(mremap_compat(p, page, page, MAY | 32), EINVAL);
	ck_fails(mremap_compat(p, page, page, MAY | ANON | 64), EINVAL);
	ck_fails(mremap_compat(p, page, page, MAY | MUST | 1 << 30), EINVAL);
	ck_fails(mremap_compat(p, page, page, -1), EINVAL);
}
END_TEST

START_TEST(einval_without_maymove)
{
	char *p = filled(2, 'a'), *to = map(2, PROT_NONE);
	const int flag = flag_sets[_i];

	/* Also where plain mremap would have nothing to do. */
	ck_fails(mremap_compat(p, page, page, flag), EINVAL);
	ck_fails(mremap_compat(p, 2 * page, page, flag), EINVAL);
	ck_fails(mremap_compat(p, page, page, flag | MREMAP_FIXED, to), EINVAL);
	ck_fails(mremap_compat(p, page, page, flag | MREMAP_DONTUNMAP, to),
		 EINVAL);
	check_filled(p, 2, 'a');
}
END_TEST

START_TEST(einval_arguments)
{
	const int flag = MAY | flag_sets[_i];
	const int fixed = flag | MREMAP_FIXED;
	const int keep = flag | MREMAP_DONTUNMAP;
	char *p = filled(4, 'a'), *to = map(4, PROT_NONE);

	ck_fails(mremap_compat(p + 1, page, page, flag), EINVAL);
	ck_fails(mremap_compat(p, page, 0, flag), EINVAL);
	ck_fails(mremap_compat(p + 1, page, page, fixed, to), EINVAL);
	ck_fails(mremap_compat(p, page, page, fixed, to + 1), EINVAL);
	ck_fails(mremap_compat(p, page, 0, fixed, to), EINVAL);
	/* Overlaps at each end, by one page and by all. */
	ck_fails(mremap_compat(p, 2 * page, 2 * page, fixed, p + page), EINVAL);
	ck_fails(mremap_compat(p + page, page, 2 * page, fixed, p), EINVAL);
	ck_fails(mremap_compat(p, page, page, fixed, p), EINVAL);
	ck_fails(mremap_compat(p, page, 2 * page, keep, to), EINVAL);
	ck_fails(mremap_compat(p, page + 1, 2 * page, fixed, p + page), EINVAL);
	ck_fails(mremap_compat(p + page, page, page + 1, fixed, p), EINVAL);
	check_filled(p, 4, 'a');
}
END_TEST

/* Sizes count in pages, and the next page is no overlap. */
START_TEST(valid_arguments)
{
	const int flag = MAY | MUST | flag_sets[_i];
	const int wanted = supported() ? 0 : EFAULT;
	char *p = filled(3, 'a');

	errno = 0;
	mremap_compat(p + page, page - 1, page, flag | MREMAP_DONTUNMAP, NULL);
	ck_assert_int_eq(errno, wanted);
	errno = 0;
	mremap_compat(p + page, page, page, flag | MREMAP_FIXED, p + 2 * page);
	ck_assert_int_eq(errno, wanted);
	errno = 0;
	mremap_compat(p + page + (wanted ? 0 : page), page, page,
		      flag | MREMAP_FIXED, p);
	ck_assert_int_eq(errno, wanted);
}
END_TEST

START_TEST(adjacent_areas)
{
	const int flag = MAY | MREMAP_FIXED | ANON;
	char *p = filled(3, 'a');

	ck_assert_ptr_eq(mremap_compat(p, page, page, flag, p + page),
			 p + page);
	ck_fails(mremap_compat(p + page, page, page, MAY | MREMAP_FIXED | MUST,
			       p + page), EINVAL);
	ck_assert_ptr_eq(mremap_compat(p + 2 * page, page, page, flag, p), p);
	check_filled(p, 2, 'a');
}
END_TEST

START_TEST(efault_unmapped)
{
	char *p = map(1, PROT_NONE), *to = map(1, PROT_NONE);
	const int flag = MAY | flag_sets[_i];

	munmap(p, page);
	ck_fails(mremap_compat(p, page, page, flag), EFAULT);
	ck_fails(mremap_compat(p, page, 2 * page, flag), EFAULT);
	ck_fails(mremap_compat(p, page, page, flag | MREMAP_FIXED, to), EFAULT);
}
END_TEST

START_TEST(enomem)
{
	struct rlimit limit = { 1 << 30, 1 << 30 };
	char *p = filled(1, 'a');

	/* Too large for any address space: the kernel may say either. */
	errno = 0;
	ck_assert_ptr_eq(mremap_compat(p, page, (size_t)1 << 62, MAY | ANON),
			 MAP_FAILED);
	ck_assert(errno == ENOMEM || errno == EINVAL);

#ifndef __SANITIZE_ADDRESS__	/* its shadow memory is beyond any limit */
	ck_assert_int_eq(setrlimit(RLIMIT_AS, &limit), 0);
	ck_fails(mremap_compat(p, page, (size_t)2 << 30, MAY | ANON), ENOMEM);
#else
	(void)limit;
#endif
	check_filled(p, 1, 'a');
}
END_TEST

START_TEST(eagain_locked_memory)
{
	struct rlimit limit = { 2 * page, 2 * page };
	char *p = filled(2, 'a');

	/* Sanitizers make mlock() do nothing. */
	ck_assert_int_eq(syscall(SYS_mlock, p, 2 * page), 0);
	ck_assert_int_eq(setrlimit(RLIMIT_MEMLOCK, &limit), 0);
	/* The limit does not bind root. */
	if (geteuid() == 0)
		ck_assert_int_eq(setresuid(65534, 65534, 65534), 0);
	ck_fails(mremap_compat(p, 2 * page, 16 * page, MAY | ANON), EAGAIN);
	check_filled(p, 2, 'a');
}
END_TEST

/* Whatever the kernel: nothing moves, so nothing needs relocating. */
START_TEST(in_place)
{
	const int flag = MAY | flag_sets[_i];
	char *p = filled(4, 'a');

	errno = ENOTTY;
	ck_assert_ptr_eq(mremap_compat(p, 4 * page, 4 * page, flag), p);
	ck_assert_ptr_eq(mremap_compat(p, 4 * page, 2 * page, flag), p);
	ck_assert(!is_mapped(p + 2 * page));
	/* The room that it left is free. */
	ck_assert_ptr_eq(mremap_compat(p, 2 * page, 3 * page, flag), p);
	ck_assert_int_eq(errno, ENOTTY);
	check_filled(p, 2, 'a');
	ck_assert_int_eq(p[2 * page], 0);
}
END_TEST

/* Something behind the mapping makes it move. */
START_TEST(grow_by_moving)
{
	const int flag = flag_sets[_i];
	char *p = filled(3, 'a'), *q;

	ck_assert_int_eq(mprotect(p + 2 * page, page, PROT_READ), 0);
	errno = ENOTTY;
	q = mremap_compat(p, 2 * page, 6 * page, MAY | flag);
	if (!supported() && (flag & MUST)) {
		ck_assert_ptr_eq(q, MAP_FAILED);
		ck_assert_int_eq(errno, EFAULT);
		check_filled(p, 3, 'a');
		return;
	}
	ck_assert_ptr_ne(q, MAP_FAILED);
	ck_assert_int_eq(errno, ENOTTY);
	ck_assert_ptr_ne(q, p);
	ck_assert(!is_mapped(p));
	check_filled(q, 2, 'a');
	ck_assert_int_eq(q[6 * page - 1], 0);
}
END_TEST

START_TEST(move_to_fixed)
{
	const int flag = flag_sets[_i];
	char *p = filled(2, 'a'), *to = filled(2, 'b'), *q;

	errno = ENOTTY;
	q = mremap_compat(p, 2 * page, 2 * page, MAY | MREMAP_FIXED | flag, to);
	if (!supported() && (flag & MUST)) {
		ck_assert_ptr_eq(q, MAP_FAILED);
		ck_assert_int_eq(errno, EFAULT);
		/* Nothing has changed, at the destination either. */
		check_filled(p, 2, 'a');
		check_filled(to, 2, 'b');
		return;
	}
	ck_assert_ptr_eq(q, to);
	ck_assert_int_eq(errno, ENOTTY);
	ck_assert(!is_mapped(p));
	check_filled(to, 2, 'a');
}
END_TEST

START_TEST(move_without_unmapping)
{
	const int flag = MAY | MREMAP_DONTUNMAP | flag_sets[_i];
	char *p = filled(2, 'a'), *q;

	errno = ENOTTY;
	q = mremap_compat(p, 2 * page, 2 * page, flag, NULL);
	if (!supported() && (flag & MUST)) {
		ck_assert_ptr_eq(q, MAP_FAILED);
		ck_assert_int_eq(errno, EFAULT);
		check_filled(p, 2, 'a');
		return;
	}
	ck_assert_ptr_ne(q, MAP_FAILED);
	ck_assert_int_eq(errno, ENOTTY);
	check_filled(q, 2, 'a');
	check_filled(p, 2, 0);
}
END_TEST

/* A file's pages are not for relocation: a wish is ignored, a demand fails. */
START_TEST(shared_memory)
{
	char *p = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	char *to = map(2, PROT_NONE);

	memset(p, 'a', 2 * page);
	ck_fails(mremap_compat(p, 2 * page, 2 * page,
			       MAY | MREMAP_FIXED | MUST, to), EFAULT);
	check_filled(p, 2, 'a');
	ck_assert(is_mapped(to));
	ck_assert_ptr_eq(mremap_compat(p, 2 * page, 2 * page,
				       MAY | MREMAP_FIXED | ANON, to), to);
	check_filled(to, 2, 'a');
}
END_TEST

/* What it is all for. */
START_TEST(merges_if_supported)
{
	char *area = map(6, PROT_NONE), *p;

	for (int i = 0; i < 3; i++) {
		/* Neighbours that must not merge before they are moved. */
		p = filled(2, (char)('a' + i));
		map(1, PROT_READ);
		p = mremap_compat(p, 2 * page, 2 * page,
				  MAY | MREMAP_FIXED | ANON,
				  area + (size_t)i * 2 * page);
		ck_assert_ptr_ne(p, MAP_FAILED);
	}
	for (int i = 0; i < 3; i++)
		check_filled(area + (size_t)i * 2 * page, 2, (char)('a' + i));
	if (supported())
		ck_assert_int_eq(mappings(area, 6 * page), 1);
	else
		ck_assert_int_ge(mappings(area, 6 * page), 1);
}
END_TEST

static pthread_barrier_t barrier;

static void *thread(void *arg)
{
	const char c = *(char *)arg;
	enum mremap_compat_support answer;
	char *p = filled(2, c);
	/* Emulated, one takes a hundred times as long. */
	const int rounds = getenv("IN_RUN_KERNEL") ? 40 : 200;

	pthread_barrier_wait(&barrier);
	answer = mremap_compat_probe(MREMAP_COMPAT_KERNEL);
	for (int i = 0; i < rounds; i++) {
		char *to = map(4, PROT_NONE);

		errno = ENOTTY;
		p = mremap_compat(p, 2 * page, 2 * page,
				  MAY | MREMAP_FIXED | ANON, to + page);
		ck_assert_ptr_eq(p, to + page);
		ck_assert_int_eq(errno, ENOTTY);
		check_filled(p, 2, c);
		munmap(to, page);
		munmap(to + 3 * page, page);
	}
	return (void *)(intptr_t)answer;
}

START_TEST(threads)
{
	enum { n = 8 };
	pthread_t id[n];
	char c[n];
	void *answer;

	ck_assert_int_eq(pthread_barrier_init(&barrier, NULL, n), 0);
	for (int i = 0; i < n; i++) {
		c[i] = (char)('a' + i);
		ck_assert_int_eq(pthread_create(&id[i], NULL, thread, &c[i]), 0);
	}
	for (int i = 0; i < n; i++) {
		ck_assert_int_eq(pthread_join(id[i], &answer), 0);
		ck_assert_int_eq((intptr_t)answer, mremap_compat_probe(MREMAP_COMPAT_KERNEL));
	}
}
END_TEST

static void in_child(bool probe_first)
{
	enum mremap_compat_support answer = MREMAP_COMPAT_UNKNOWN;
	char *p = filled(2, 'a'), *to = map(2, PROT_NONE);
	int status;
	pid_t pid;

	if (probe_first)
		answer = mremap_compat_probe(MREMAP_COMPAT_KERNEL);
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		if (probe_first && mremap_compat_probe(MREMAP_COMPAT_KERNEL) != answer)
			_exit(1);
		/* Shared with the parent: moved, relocated or not. */
		if (mremap_compat(p, 2 * page, 2 * page,
				  MAY | MREMAP_FIXED | ANON, to) != to)
			_exit(2);
		if (to[0] != 'a' || to[2 * page - 1] != 'a')
			_exit(3);
		_exit(0);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
	check_filled(p, 2, 'a');
	ck_assert_ptr_eq(mremap_compat(p, 2 * page, 2 * page,
				       MAY | MREMAP_FIXED | ANON, to), to);
	check_filled(to, 2, 'a');
}

START_TEST(fork_before_probe)
{
	in_child(false);
}
END_TEST

START_TEST(fork_after_probe)
{
	in_child(true);
}
END_TEST

static volatile sig_atomic_t handler_answer = -1;

static void handler(int sig)
{
	(void)sig;
	handler_answer = (sig_atomic_t)mremap_compat_probe(MREMAP_COMPAT_KERNEL);
}

START_TEST(signal_handler)
{
	struct sigaction action = { .sa_handler = handler }, after;

	ck_assert_int_eq(sigaction(SIGUSR1, &action, NULL), 0);
	ck_assert_int_eq(raise(SIGUSR1), 0);
	ck_assert_int_eq(handler_answer, mremap_compat_probe(MREMAP_COMPAT_KERNEL));
	ck_assert_int_eq(sigaction(SIGUSR1, NULL, &after), 0);
	ck_assert(after.sa_handler == handler);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("compat_live");
	TCase *probe = tcase_create("probe");
	TCase *contract = tcase_create("contract");
	TCase *concurrent = tcase_create("concurrent");

	tcase_add_checked_fixture(probe, setup, NULL);
	tcase_add_test(probe, probe_answer);
	tcase_add_test(probe, probe_agrees_with_unmapped_address);
	tcase_add_test(probe, probe_leaves_no_mapping);
	suite_add_tcase(s, probe);

	tcase_add_checked_fixture(contract, setup, NULL);
	tcase_add_test(contract, plain_flags);
	tcase_add_test(contract, einval_unknown_flags);
	tcase_add_loop_test(contract, einval_without_maymove, 0, FLAG_SETS);
	tcase_add_loop_test(contract, einval_arguments, 0, FLAG_SETS);
	tcase_add_loop_test(contract, valid_arguments, 0, FLAG_SETS);
	tcase_add_test(contract, adjacent_areas);
	tcase_add_loop_test(contract, efault_unmapped, 0, FLAG_SETS);
	tcase_add_test(contract, enomem);
	tcase_add_test(contract, eagain_locked_memory);
	tcase_add_loop_test(contract, in_place, 0, FLAG_SETS);
	tcase_add_loop_test(contract, grow_by_moving, 0, FLAG_SETS);
	tcase_add_loop_test(contract, move_to_fixed, 0, FLAG_SETS);
	tcase_add_loop_test(contract, move_without_unmapping, 0, FLAG_SETS);
	tcase_add_test(contract, shared_memory);
	tcase_add_test(contract, merges_if_supported);
	suite_add_tcase(s, contract);

	tcase_add_checked_fixture(concurrent, setup, NULL);
	tcase_add_test(concurrent, threads);
	tcase_add_test(concurrent, fork_before_probe);
	tcase_add_test(concurrent, fork_after_probe);
	tcase_add_test(concurrent, signal_handler);
	suite_add_tcase(s, concurrent);
	return s;
}

int main(void)
{
	return run_suite(suite());
}
