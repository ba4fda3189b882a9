/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A thread for the length of a call, with a table of file descriptors of its
 * own. A userfaultfd, or an open file of /proc/thread-self, gives power over the
 * memory of the process that opened it, or knowledge of it, to whoever has it.
 * O_CLOEXEC does not keep it from a child that does not call exec, and nothing
 * can keep another thread from making such a child at any moment: by fork() or
 * _Fork(), by a system call of its own, in a signal handler. But a child gets a
 * copy of the table of the thread that makes it, and the descriptors are not in
 * that one.
 *
 * The thread is not made by pthread_create(), which allocates memory and takes
 * locks, so that it could not be used in a signal handler. It has the caller's
 * thread-local storage, and the free part of the caller's stack. That is sound
 * as the caller does nothing until the thread has ended: no signal is delivered,
 * and it waits in a system call made without touching the stack. So it takes no
 * more stack than a function that is called, and errno, sanitizers, stack
 * protectors and shadow stacks find what they would find in the caller.
 *
 * No function of the C library that knows of descriptors is called in the thread:
 * to the checkers that replace them its numbers would be the process's.
 */

#define _GNU_SOURCE
#include "internal.h"

#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>

/* ---- interfaces that older headers lack ---------------------------------- */

#ifndef SYS_close_range
# define SYS_close_range 436
#endif
#ifndef CLOSE_RANGE_UNSHARE
# define CLOSE_RANGE_UNSHARE 2
#endif
#ifndef SYS_futex		/* 32 bits, with 64 bits for the time */
# define SYS_futex SYS_futex_time64
#endif
#define FUTEX_WAIT 0

/* Those of an ordinary thread: emulators know no others, nor do sandboxes. */
#define THREAD_FLAGS \
	(CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | \
	 CLONE_SYSVSEM | CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID)

struct apart {
	void (*begin)(struct apart *apart);
	void (*function)(void *argument);
	void *argument;
	sigset_t signals;	/* blocked by the caller */
	int tid;		/* the kernel sets it to 0 at the thread's end */
	int err;
	bool finished;		/* a filter has not ended it */
};

/*
 * AddressSanitizer marks what is around variables of the stack, and functions that
 * do not return leave their marks, on a stack that is the caller's.
 */
#if defined(__has_feature)
# if __has_feature(address_sanitizer)
#  define ADDRESS_SANITIZER 1
# endif
#elif defined(__SANITIZE_ADDRESS__)
# define ADDRESS_SANITIZER 1
#endif
#ifdef ADDRESS_SANITIZER
void __asan_unpoison_memory_region(void const volatile *start, size_t size);

__attribute__((noinline)) static void clear_marks(void)
{
	const size_t depth = 65536;
	char *here = __builtin_frame_address(0);

	__asan_unpoison_memory_region(here - depth, depth);
}
#else
static void clear_marks(void)
{
}
#endif

void mc_unblock_some(const sigset_t *signals)
{
	/* By which somebody or a timer ends or stops a program that hangs */
	static const int ending[] = {
		SIGHUP, SIGINT, SIGQUIT, SIGALRM, SIGTERM, SIGTSTP,
	};
	struct sigaction action;
	sigset_t here;

	sigemptyset(&here);
	if (!sigismember(signals, SIGSYS))
		sigaddset(&here, SIGSYS);
	for (size_t i = 0; i < sizeof(ending) / sizeof(*ending); i++)
		if (!sigismember(signals, ending[i]) &&
		    !sigaction(ending[i], NULL, &action) &&
		    action.sa_handler == SIG_DFL)
			sigaddset(&here, ending[i]);
	syscall(SYS_rt_sigprocmask, (long)SIG_UNBLOCK, &here, NULL,
		(long)SIGNALS_SIZE);
}

int mc_own_table(void)
{
	if (!syscall(SYS_close_range, 0UL, (unsigned long)~0U,
		     (long)CLOSE_RANGE_UNSHARE))
		return 0;
	return errno == EINVAL ? ENOSYS : errno;
}

/* What the thread runs. */
static void begin(struct apart *apart)
{
	mc_unblock_some(&apart->signals);
	apart->err = mc_own_table();
	if (!apart->err)
		apart->function(apart->argument);
	apart->finished = true;
}

/*
 * Run apart->begin(apart) in a new thread and wait until it has left the memory.
 * Returns its number, or minus an error number.  From clone(2) on the stack below
 * the frame is the thread's: no C code here until it has ended.
 */
#if defined(__x86_64__) && defined(__LP64__) && !defined(MC_LIBC_CLONE)

__attribute__((noinline))
static long run_thread(struct apart *apart)
{
	register unsigned long flags __asm__("rdi") =
		THREAD_FLAGS | CLONE_SETTLS;
	long result;

	__asm__ volatile(
	"	leaq	-256(%%rsp), %%rsi\n"	/* not the red zone */
	"	andq	$-64, %%rsi\n"
	"	leaq	%c[tid](%%rbx), %%rdx\n"
	"	movq	%%rdx, %%r10\n"
	"	movq	%%fs:0, %%r8\n"
	"	movl	%[clone], %%eax\n"
	"	syscall\n"
	"	testq	%%rax, %%rax\n"
	"	jnz	1f\n"
	/* the thread */
	"	xorl	%%ebp, %%ebp\n"
	"	subq	$256, %%rsp\n"		/* Valgrind takes note */
	"	movq	%%rbx, %%rdi\n"
	"	call	*%c[begin](%%rbx)\n"
	"	xorl	%%edi, %%edi\n"
	"	movl	%[exit], %%eax\n"
	"	syscall\n"
	"	hlt\n"
	/* the caller */
	"1:	movq	%%rax, %[result]\n"
	"	js	3f\n"
	"2:	movl	%c[tid](%%rbx), %%edx\n"
	"	testl	%%edx, %%edx\n"
	"	jz	3f\n"
	"	leaq	%c[tid](%%rbx), %%rdi\n"
	"	movl	%[wait], %%esi\n"
	"	xorl	%%r10d, %%r10d\n"
	"	movl	%[futex], %%eax\n"
	"	syscall\n"
	"	jmp	2b\n"
	"3:\n"
	: [result] "=&r"(result), "+r"(flags)
	: "b"(apart), [tid] "i"(offsetof(struct apart, tid)),
	  [begin] "i"(offsetof(struct apart, begin)), [clone] "i"(SYS_clone),
	  [exit] "i"(SYS_exit), [futex] "i"(SYS_futex), [wait] "i"(FUTEX_WAIT)
	: "rax", "rcx", "rdx", "rsi", "r8", "r10", "r11", "cc", "memory");
	return result;
}

#elif defined(__i386__) && !defined(MC_LIBC_CLONE)

__attribute__((noinline))
static long run_thread(struct apart *apart)
{
	unsigned long flags = THREAD_FLAGS;
	long result;

	/* Without CLONE_SETTLS the thread-local storage is the caller's. */
	__asm__ volatile(
	"	leal	-256(%%esp), %%ecx\n"
	"	andl	$-64, %%ecx\n"
	"	leal	%c[tid](%%esi), %%edx\n"
	"	movl	%%edx, %%edi\n"
	"	movl	%[clone], %%eax\n"
	"	int	$0x80\n"
	"	testl	%%eax, %%eax\n"
	"	jnz	1f\n"
	/* the thread */
	"	xorl	%%ebp, %%ebp\n"
	"	subl	$16, %%esp\n"
	"	movl	%%esi, (%%esp)\n"
	"	call	*%c[begin](%%esi)\n"
	"	xorl	%%ebx, %%ebx\n"
	"	movl	%[exit], %%eax\n"
	"	int	$0x80\n"
	"	hlt\n"
	/* the caller */
	"1:	movl	%%eax, %%ebx\n"
	"	js	3f\n"
	"	movl	%%eax, %%edi\n"
	"2:	movl	%c[tid](%%esi), %%edx\n"
	"	testl	%%edx, %%edx\n"
	"	jz	3f\n"
	"	leal	%c[tid](%%esi), %%ebx\n"
	"	movl	%[wait], %%ecx\n"
	"	pushl	%%esi\n"
	"	xorl	%%esi, %%esi\n"
	"	movl	%[futex], %%eax\n"
	"	int	$0x80\n"
	"	popl	%%esi\n"
	"	movl	%%edi, %%ebx\n"
	"	jmp	2b\n"
	"3:\n"
	: "=b"(result)
	: "b"(flags), "S"(apart), [tid] "i"(offsetof(struct apart, tid)),
	  [begin] "i"(offsetof(struct apart, begin)), [clone] "i"(SYS_clone),
	  [exit] "i"(SYS_exit), [futex] "i"(SYS_futex), [wait] "i"(FUTEX_WAIT)
	: "eax", "ecx", "edx", "edi", "cc", "memory");
	return result;
}

#elif defined(__aarch64__) && defined(__LP64__) && !defined(MC_LIBC_CLONE)

__attribute__((noinline))
static long run_thread(struct apart *apart)
{
	register struct apart *x19 __asm__("x19") = apart;
	register unsigned long x0 __asm__("x0") = THREAD_FLAGS | CLONE_SETTLS;
	long result;

	__asm__ volatile(
	"	sub	x1, sp, #256\n"
	"	add	x2, x19, %[tid]\n"
	"	mrs	x3, tpidr_el0\n"
	"	mov	x4, x2\n"
	"	mov	x8, %[clone]\n"
	"	svc	#0\n"
	"	cbnz	x0, 1f\n"
	/* the thread */
	"	mov	x29, xzr\n"
	"	mov	x30, xzr\n"
	"	ldr	x9, [x19, %[begin]]\n"
	"	mov	x0, x19\n"
	"	blr	x9\n"
	"	mov	x0, xzr\n"
	"	mov	x8, %[exit]\n"
	"	svc	#0\n"
	"	brk	#0\n"
	/* the caller */
	"1:	mov	%[result], x0\n"
	"	tbnz	x0, #63, 3f\n"
	"2:	add	x0, x19, %[tid]\n"
	"	ldar	w2, [x0]\n"
	"	cbz	w2, 3f\n"
	"	mov	x1, %[wait]\n"
	"	mov	x3, xzr\n"
	"	mov	x8, %[futex]\n"
	"	svc	#0\n"
	"	b	2b\n"
	"3:\n"
	: [result] "=&r"(result), "+r"(x0)
	: "r"(x19), [tid] "i"(offsetof(struct apart, tid)),
	  [begin] "i"(offsetof(struct apart, begin)), [clone] "i"(SYS_clone),
	  [exit] "i"(SYS_exit), [futex] "i"(SYS_futex), [wait] "i"(FUTEX_WAIT)
	: "x1", "x2", "x3", "x4", "x8", "x9", "cc", "memory");
	return result;
}

#else

static int start(void *argument)
{
	struct apart *apart = argument;

	apart->begin(apart);
	/* Some C libraries end the process when this function returns. */
	syscall(SYS_exit, 0L);
	return 0;
}

/* In C the caller needs the stack below: the thread gets one in the frame. */
__attribute__((noinline))
static long run_thread(struct apart *apart)
{
	_Alignas(64) char stack[16384];
	long result;
	int tid;

	result = clone(start, stack + sizeof(stack), THREAD_FLAGS, apart,
		       &apart->tid, NULL, &apart->tid);
	if (result < 0)
		return -errno;
	while ((tid = __atomic_load_n(&apart->tid, __ATOMIC_ACQUIRE)))
		syscall(SYS_futex, &apart->tid, (long)FUTEX_WAIT, (long)tid,
			NULL);
	return result;
}

#endif

void mc_wait_until_gone(long tid)
{
	const long pid = syscall(SYS_getpid);

	for (int i = 0; i < 1000 && !syscall(SYS_tgkill, pid, tid, 0L); i++) {
#ifdef SYS_nanosleep
		const long pause[2] = { 0, 100000 };

		if (i >= 20) {
			syscall(SYS_nanosleep, pause, NULL);
			continue;
		}
#endif
		sched_yield();
	}
}

int mc_apart(void (*function)(void *argument), void *argument)
{
	struct apart apart = {
		.begin = begin, .function = function, .argument = argument,
		/* Unless it says otherwise: a filter has ended the thread. */
		.err = EPERM,
	};
	sigset_t all;
	long tid;

	/* Also those that the C library keeps for itself */
	memset(&all, 0xff, sizeof(all));
	if (syscall(SYS_rt_sigprocmask, (long)SIG_SETMASK, &all, &apart.signals,
		    (long)SIGNALS_SIZE))
		return errno;
	tid = run_thread(&apart);
	if (tid > 0)
		mc_wait_until_gone(tid);
	if (!apart.finished)
		clear_marks();
	syscall(SYS_rt_sigprocmask, (long)SIG_SETMASK, &apart.signals, NULL,
		(long)SIGNALS_SIZE);
	/* No threads in this process, as after unshare(CLONE_NEWPID) */
	if (tid == -EINVAL)
		return EAGAIN;
	return tid < 0 ? (int)-tid : apart.err;
}
