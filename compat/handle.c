/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A thread that lasts, for many moves, and keeps one userfaultfd: the kernel walks
 * through all mappings of the process when one is closed.
 *
 * Like that of a single call (apart.c) it has a table of descriptors of its own,
 * which no child gets. Other than that one it lives on while the program does, so
 * it cannot borrow a stack and thread-local storage, and it must take part in what
 * the C library does with all threads, such as setuid(): it is made by
 * pthread_create(), and all that can be sent to it is blocked, but for the C
 * library's own signals.
 *
 * A child made by fork() has the handle and not the thread. The handle is in memory
 * that a child finds empty (MADV_WIPEONFORK); and the number of the process tells
 * children that share the memory, and emulators that promise too much.
 */

#define _GNU_SOURCE
#include "internal.h"

#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>

#ifndef SYS_futex
# define SYS_futex SYS_futex_time64
typedef int64_t seconds;
#else
typedef long seconds;
#endif
#ifndef MADV_WIPEONFORK
# define MADV_WIPEONFORK 18
#endif
#define FUTEX_WAIT 0
#define FUTEX_WAKE 1

/* Enough for what runs in a handler on SIGSTKSZ, and thread-local storage */
#define STACK_SIZE ((size_t)256 << 10)

/* Whose turn it is; a futex. */
enum { CALLERS, THREADS };

struct mremap_compat_handle {
	long pid;		/* whose threads can use it; 0 after fork() */
	long tid;
	uint32_t turn;
	bool busy;		/* a call is on */
	bool ended;		/* the thread, by a filter */
	bool joined;
	int fd;			/* in the thread's table; -1: none */
	int err;		/* of making the table */
	void (*function)(void *argument);	/* NULL: come to an end */
	void *argument;
	sigset_t signals;	/* blocked by the caller */
	pthread_t thread;
};

static void give_turn(struct mremap_compat_handle *h, uint32_t turn)
{
	__atomic_store_n(&h->turn, turn, __ATOMIC_RELEASE);
	syscall(SYS_futex, &h->turn, (long)FUTEX_WAKE, 1L, NULL);
}

/* Not if a filter refuses the question. */
static bool is_gone(long pid, long tid)
{
	return syscall(SYS_tgkill, pid, tid, 0L) && errno == ESRCH;
}

/*
 * Whether the thread has ended before it could say its number: a filter can end it for
 * one of the calls with which the C library begins every thread.
 */
static bool ended_at_once(struct mremap_compat_handle *h)
{
#ifdef __GLIBC__
	/* glibc goes by what the kernel writes at the end of every thread. */
	h->joined = !pthread_tryjoin_np(h->thread, NULL);
	return h->joined;
#else
	return pthread_kill(h->thread, 0) == ESRCH;
#endif
}

/* Returns false if the thread has ended instead. */
static bool await_turn(struct mremap_compat_handle *h, uint32_t turn)
{
	/* Nobody wakes for a thread that a filter has ended. */
	const seconds second[2] = { 1, 0 };
	const bool may_end = turn == CALLERS;

	while (__atomic_load_n(&h->turn, __ATOMIC_ACQUIRE) != turn) {
		const long tid = __atomic_load_n(&h->tid, __ATOMIC_RELAXED);

		if (may_end && (tid ? is_gone(h->pid, tid) : ended_at_once(h)))
			return false;
		syscall(SYS_futex, &h->turn, (long)FUTEX_WAIT,
			(long)(turn == CALLERS ? THREADS : CALLERS),
			may_end ? second : NULL);
	}
	return true;
}

static void *serve(void *argument)
{
	struct mremap_compat_handle *h = argument;
	sigset_t all;

	sigfillset(&all);
	__atomic_store_n(&h->tid, syscall(SYS_gettid), __ATOMIC_RELAXED);
	prctl(PR_SET_NAME, "mremap_compat");
	h->err = mc_own_table();
	if (!h->err) {
		mc_unblock_some(&h->signals);
		mc_uffd_open(&h->fd);
		pthread_sigmask(SIG_SETMASK, &all, NULL);
	}
	give_turn(h, CALLERS);
	for (;;) {
		await_turn(h, THREADS);
		if (!h->function)
			break;
		mc_unblock_some(&h->signals);
		h->function(h->argument);
		pthread_sigmask(SIG_SETMASK, &all, NULL);
		give_turn(h, CALLERS);
	}
	mc_close(h->fd);
	return NULL;
}

/* Returns 0 or an error number. */
static int start_thread(struct mremap_compat_handle *h)
{
	pthread_attr_t attributes;
	sigset_t all;
	int err;

	err = pthread_attr_init(&attributes);
	if (err)
		return err;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &h->signals);
	pthread_attr_setstacksize(&attributes, STACK_SIZE);
	err = pthread_create(&h->thread, &attributes, serve, h);
	/* With so much thread-local storage that it does not fit */
	if (err == EINVAL)
		err = pthread_create(&h->thread, NULL, serve, h);
	pthread_attr_destroy(&attributes);
	pthread_sigmask(SIG_SETMASK, &h->signals, NULL);
	return err;
}

static void end_thread(struct mremap_compat_handle *h)
{
	int state;

	h->function = NULL;
	give_turn(h, THREADS);
	/* No cancellation point */
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state);
#ifndef __GLIBC__
	/* Others wait for ever for one that a filter has ended: its stack stays. */
	h->joined = __atomic_load_n(&h->ended, __ATOMIC_RELAXED);
#endif
	if (!h->joined)
		pthread_join(h->thread, NULL);
	pthread_setcancelstate(state, NULL);
	mc_wait_until_gone(h->tid);
}

API struct mremap_compat_handle *mremap_compat_open(void)
{
	const int saved_errno = errno;
	struct mremap_compat_handle *h;
	int err;

	h = mmap(NULL, mc_page_size(), PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (h == MAP_FAILED)
		return NULL;
	/* Linux 4.14 */
	err = madvise(h, mc_page_size(), MADV_WIPEONFORK) ? ENOSYS : 0;
	h->pid = syscall(SYS_getpid);
	h->fd = -1;
	h->turn = THREADS;
	if (!err)
		err = start_thread(h);
	if (!err) {
		h->ended = !await_turn(h, CALLERS);
		err = h->ended ? EPERM : h->err;
		if (err)
			end_thread(h);
	}
	if (err) {
		munmap(h, mc_page_size());
		errno = err;
		return NULL;
	}
	errno = saved_errno;
	return h;
}

static bool is_here(const struct mremap_compat_handle *h)
{
	return h->pid == syscall(SYS_getpid);
}

API void mremap_compat_close(struct mremap_compat_handle *h)
{
	const int saved_errno = errno;

	if (!h)
		return;
	if (is_here(h))
		end_thread(h);
	/* Or it is the parent's, and so is the memory. */
	else if (h->pid)
		return;
	munmap(h, mc_page_size());
	errno = saved_errno;
}

bool mc_handle_run(struct mremap_compat_handle *h, void (*function)(void *),
		   void *argument)
{
	sigset_t all, before;
	bool run = false;

	if (!is_here(h) || is_gone(h->pid, h->tid))
		return false;
	/* As in mc_apart() */
	memset(&all, 0xff, sizeof(all));
	if (syscall(SYS_rt_sigprocmask, (long)SIG_SETMASK, &all, &before,
		    (long)SIGNALS_SIZE))
		return false;
	if (!__atomic_exchange_n(&h->busy, true, __ATOMIC_ACQUIRE)) {
		if (!__atomic_load_n(&h->ended, __ATOMIC_RELAXED)) {
			h->function = function;
			h->argument = argument;
			h->signals = before;
			run = true;
			give_turn(h, THREADS);
			if (!await_turn(h, CALLERS))
				__atomic_store_n(&h->ended, true, __ATOMIC_RELAXED);
		}
		__atomic_store_n(&h->busy, false, __ATOMIC_RELEASE);
	}
	syscall(SYS_rt_sigprocmask, (long)SIG_SETMASK, &before, NULL,
		(long)SIGNALS_SIZE);
	return run;
}

int mc_handle_fd(const struct mremap_compat_handle *h)
{
	/* Another thread's call may be on. */
	return is_here(h) && !__atomic_load_n(&h->ended, __ATOMIC_RELAXED) ?
	       __atomic_load_n(&h->fd, __ATOMIC_RELAXED) : -1;
}

void mc_handle_lost_fd(struct mremap_compat_handle *h)
{
	__atomic_store_n(&h->fd, -1, __ATOMIC_RELAXED);
}
