/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * mremap() with MREMAP_RELOCATE_ANON and MREMAP_MUST_RELOCATE_ANON on every
 * system: by the kernel's flags where it has them, on request by other methods
 * where it lacks them; otherwise the flag is ignored.  And MADV_COALESCE, likewise.
 *
 * All functions but mremap_compat_open() and mremap_compat_close() may be called
 * from any thread at any time, from a signal handler, and from the child after
 * fork() or vfork(); none is a cancellation point.  They print nothing, end
 * nothing, change no signal's handling, leave no file descriptor open, no thread
 * running and no memory mapped but what they return.  What they open meanwhile no
 * child gets, see "Descriptors and signals".
 *
 * Sizes are in bytes.  A "page" is sysconf(_SC_PAGESIZE) bytes.
 */

#ifndef MREMAP_COMPAT_H
#define MREMAP_COMPAT_H

#include <stddef.h>
#include <sys/mman.h>	/* MAP_FAILED */

/* The version of this header, and of the project; mremap_compat_version() is the library's. */
#define MREMAP_COMPAT_VERSION_MAJOR 1
#define MREMAP_COMPAT_VERSION_MINOR 0
#define MREMAP_COMPAT_VERSION_PATCH 0
#define MREMAP_COMPAT_VERSION \
	(MREMAP_COMPAT_VERSION_MAJOR * 1000000 + \
	 MREMAP_COMPAT_VERSION_MINOR * 1000 + MREMAP_COMPAT_VERSION_PATCH)

/*
 * Flags that the system's headers may lack.  The values are part of the
 * kernel's interface and the same on all architectures.
 */
#ifndef MREMAP_MAYMOVE
# define MREMAP_MAYMOVE 1
#endif
#ifndef MREMAP_FIXED
# define MREMAP_FIXED 2
#endif
#ifndef MREMAP_DONTUNMAP
# define MREMAP_DONTUNMAP 4
#endif
#ifndef MREMAP_RELOCATE_ANON
# define MREMAP_RELOCATE_ANON 8
#endif
#ifndef MREMAP_MUST_RELOCATE_ANON
# define MREMAP_MUST_RELOCATE_ANON 16
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Methods ----------------------------------------------------------- */

/*
 * Ways to move a mapping, bits of a set.  The first three relocate: what has
 * moved merges with the mappings next to it as if it had been written there.
 */
enum mremap_compat_method {
	/*
	 * The kernel's flags.  As atomic as mremap(2): another thread that
	 * uses the memory meanwhile finds it whole at one of both addresses,
	 * or is killed by SIGSEGV at the old one.
	 */
	MREMAP_COMPAT_KERNEL = 1,
	/*
	 * ioctl(UFFDIO_MOVE), Linux 6.8 and later: the pages themselves move.
	 * (The kernel splits large folios for it but for those that are huge
	 * pages as a whole at both places.)  Not atomic, see
	 * mremap_compat_ext().  Not on PowerPC and s390.
	 */
	MREMAP_COMPAT_UFFD_MOVE = 2,
	/*
	 * New pages with the same contents; the old ones are in use until the
	 * end, so that the memory is needed twice.  (If there is not so much,
	 * the kernel may kill a process for it rather than tell.)  Linux 5.12
	 * and later.  Not atomic, and WITH PINNED MEMORY DATA IS LOST: see
	 * mremap_compat_ext().
	 */
	MREMAP_COMPAT_COPY = 4,
	/* mremap(2) without the flags: what has moved does not merge. */
	MREMAP_COMPAT_PLAIN = 8
};

#define MREMAP_COMPAT_METHODS 4		/* how many there are */
#define MREMAP_COMPAT_ALL_METHODS 15	/* the set of all */
/*
 * The set of those that keep the pages, all but COPY. A device that may write to
 * memory, or read it (I/O under way, a buffer registered with io_uring or for RDMA),
 * does so with its pages, and the library cannot find that out beforehand. So COPY
 * is for a caller who knows that nothing holds the pages of the memory, and says so
 * by naming it.
 */
#define MREMAP_COMPAT_KEEP_PAGES 11

/* What the running system says about a method. */
enum mremap_compat_support {
	/*
	 * No answer for want of memory, mappings, file descriptors or threads;
	 * may change.  Also that of a number that is no method.
	 */
	MREMAP_COMPAT_UNKNOWN = 0,
	MREMAP_COMPAT_SUPPORTED = 1,
	/*
	 * The kernel, or what stands in for it, does not have it, or /proc is
	 * not there (UFFD_MOVE and COPY need it), or mremap_compat_set_methods()
	 * or $MREMAP_COMPAT_METHODS has switched it off.
	 */
	MREMAP_COMPAT_UNSUPPORTED = 2,
	/*
	 * Something, such as a seccomp filter, forbids it.  (The sysctl
	 * vm.unprivileged_userfaultfd does not.)
	 */
	MREMAP_COMPAT_NOT_PERMITTED = 3
};

/*
 * Find out whether a method can be used.  The first call for a method tries it
 * on memory mapped for the purpose and never on memory in use; later calls
 * return the same answer.  UNKNOWN is not kept: the next call asks again.
 * Trying UFFD_MOVE and COPY takes system calls that a seccomp filter may kill
 * for: userfaultfd(2), ioctl(2), msync(2), mprotect(2), munlock(2), opening
 * and reading files of /proc/thread-self, and /dev/userfaultfd; and for the
 * thread that makes these calls, rt_sigprocmask(2), clone(2) (with the flags
 * of any thread), close_range(2), futex(2), exit(2), getpid(2), tgkill(2),
 * sched_yield(2), nanosleep(2) and clock_gettime(2).  (A filter that kills a thread for one of
 * the first kind kills that thread only: NOT_PERMITTED.)  KERNEL and PLAIN
 * take mmap(2), mremap(2) and munmap(2).
 *
 * Never fails and leaves errno alone.
 */
enum mremap_compat_support
mremap_compat_probe(enum mremap_compat_method method);

/*
 * Switch methods off for the whole process, to force one or to play an older
 * kernel: only those in the set are used from now on, by calls that begin
 * later.  PLAIN cannot be switched off and is added.  Returns the set that was
 * in force.  Bits that are no method are ignored.
 *
 * At the start it is the set in the environment variable
 * MREMAP_COMPAT_METHODS, a list of names with commas ("uffd-move,plain"), or
 * "all"; all methods if there is no such variable, if it has a word that is no
 * name, or if the program runs with privileges that its caller lacks
 * (secure_getenv(3)).
 */
unsigned int mremap_compat_set_methods(unsigned int methods);

/* The set in force. */
unsigned int mremap_compat_get_methods(void);

/*
 * "kernel", "uffd-move", "copy" or "plain"; NULL for what is no method.  The
 * text is constant.
 */
const char *mremap_compat_method_name(enum mremap_compat_method method);

/* MREMAP_COMPAT_VERSION of the library that is linked. */
int mremap_compat_version(void);

/* ---- Moves ------------------------------------------------------------- */

/*
 * Resize or move the mapping of old_size bytes at old_address, as mremap(2).
 * Uses the methods KERNEL and PLAIN only, so that it is as atomic as mremap(2),
 * and no system calls but mmap(2), mremap(2) and munmap(2).
 *
 *   old_address   multiple of the page size, without tag bits
 *   old_size      bytes, rounded up to whole pages by the kernel
 *   new_size      bytes, likewise; not 0
 *   flags         any of the five MREMAP_* flags above
 *   new_address   a void *; read only with MREMAP_FIXED or MREMAP_DONTUNMAP
 *
 * MREMAP_RELOCATE_ANON
 *	If private anonymous memory moves, which includes the written pages of
 *	a private file mapping, let it merge with the mappings next to its new
 *	place.  Where the kernel cannot do so, or KERNEL is not SUPPORTED, the
 *	call is that of mremap(2) without the flag: the memory moves and does
 *	not merge.
 *
 * MREMAP_MUST_RELOCATE_ANON
 *	The same, but fail with EFAULT if it cannot be done, and then nothing
 *	has changed.  Where KERNEL is not SUPPORTED, success remains for a
 *	mapping that keeps its place, which needs no relocation: one that
 *	shrinks, keeps its size or grows where it is, without MREMAP_FIXED and
 *	MREMAP_DONTUNMAP.  All else fails with EFAULT there, also a move of
 *	memory that was never written, which a SUPPORTED system would do.
 *
 * Returns the new address, and leaves errno alone; or MAP_FAILED with errno:
 *
 *   EINVAL  from here, before the kernel is asked: a flag other than the
 *	     five; MREMAP_RELOCATE_ANON or MREMAP_MUST_RELOCATE_ANON without
 *	     MREMAP_MAYMOVE (the kernel's rule).
 *	     From the kernel, or by its rules where the call ends here: an
 *	     address that is not a multiple of the page size, new_size 0,
 *	     MREMAP_FIXED or MREMAP_DONTUNMAP without MREMAP_MAYMOVE,
 *	     MREMAP_DONTUNMAP with sizes that differ, or areas that overlap.
 *	     From the kernel alone: the rest of mremap(2).
 *   EFAULT  MREMAP_MUST_RELOCATE_ANON cannot be done, see above.
 *	     From the kernel: no mapping there, or not only one (mremap(2)).
 *   EAGAIN  From the kernel: more locked memory than allowed.
 *   ENOMEM  From the kernel: no memory, no room for the mapping to grow
 *	     without MREMAP_MAYMOVE, or too many mappings.  (If it is only for
 *	     the relocation, MREMAP_RELOCATE_ANON moves without; of several
 *	     mappings the kernel may have moved some by then.)
 *   EPERM   From the kernel: a sealed mapping.
 *   ENOSYS  or another: a seccomp filter forbids mremap(2) altogether.
 */
void *mremap_compat(void *old_address, size_t old_size, size_t new_size,
		    int flags, ... /* void *new_address */);

/* What became of a method in one call. */
enum mremap_compat_reason {
	/* Not needed: another was used, nothing had to move, or the call
	 * failed before. */
	MREMAP_COMPAT_NOT_TRIED = 0,
	/* It made the move. */
	MREMAP_COMPAT_USED = 1,
	/* Not in the call's set of methods, or ruled out by its flags: without
	 * one of the two RELOCATE flags only PLAIN is used. */
	MREMAP_COMPAT_NOT_ALLOWED = 2,
	/* Switched off for the process. */
	MREMAP_COMPAT_SWITCHED_OFF = 3,
	/* The probe's answer UNSUPPORTED. */
	MREMAP_COMPAT_NOT_SUPPORTED = 4,
	/* The probe's answer NOT_PERMITTED, or refused for this call: a sealed
	 * mapping, a filter installed since, a process that is no longer
	 * dumpable. */
	MREMAP_COMPAT_FORBIDDEN = 5,
	/*
	 * Not for this memory.  UFFD_MOVE and COPY are for a range of a single
	 * private anonymous mapping that is readable and writable, not locked,
	 * and not the stack of the first thread; without guard pages
	 * (MADV_GUARD_INSTALL); not with MREMAP_DONTUNMAP; COPY: not registered
	 * with a userfaultfd that follows moves (UFFD_FEATURE_EVENT_REMAP), for
	 * it would wait for answers; and, if the call may not fall back to PLAIN, not
	 * onto mappings (MREMAP_FIXED) that could not be brought back: only
	 * onto free addresses or a range of a single private anonymous mapping
	 * that is not locked.  KERNEL: MREMAP_MUST_RELOCATE_ANON cannot be
	 * done.
	 */
	MREMAP_COMPAT_UNSUITABLE = 6,
	/*
	 * Pages of it were busy: pinned for I/O, or on their way.  COPY: not
	 * tried, since UFFD_MOVE has begun with the pages and stopped, be it
	 * for this reason or another, so that some may be pinned.
	 */
	MREMAP_COMPAT_BUSY = 7,
	/*
	 * No memory, mappings, address space, file descriptors or threads for
	 * it.  COPY: not tried, since UFFD_MOVE lacked them and so could not
	 * see what is pinned.
	 */
	MREMAP_COMPAT_NO_RESOURCES = 8
};

struct mremap_compat_report {
	/* The method that moved the mapping; 0 if nothing moved. */
	unsigned int method;
	/*
	 * What became of each method, in the order of their bits: KERNEL,
	 * UFFD_MOVE, COPY, PLAIN.  USED for at most one.
	 */
	enum mremap_compat_reason reason[MREMAP_COMPAT_METHODS];
};

/*
 * mremap_compat() with a say in the methods, and a report.
 *
 *   new_address   where to, with MREMAP_FIXED; read only then and with
 *		   MREMAP_DONTUNMAP
 *   methods	   the set of methods that may be used, not empty.  Without
 *		   PLAIN the call behaves as with MREMAP_MUST_RELOCATE_ANON
 *		   towards those that are.
 *   report	   filled in also if the call fails; may be NULL
 *
 * With a RELOCATE flag, a mapping that can keep its place keeps it, unless
 * MREMAP_FIXED or MREMAP_DONTUNMAP says otherwise.  Else the first of KERNEL,
 * UFFD_MOVE, COPY and PLAIN that is allowed and works moves it, with
 * MREMAP_MUST_RELOCATE_ANON not PLAIN.  (Where the process has thousands of
 * mappings, UFFD_MOVE without a handle takes milliseconds, see
 * mremap_compat_open().)  KERNEL as USED means that the memory
 * is relocated, with one exception: with MREMAP_RELOCATE_ANON alone, and of the
 * other methods only PLAIN allowed and in force, there is one call of the
 * kernel's, which may move the memory without relocating and does not tell.
 *
 * UFFD_MOVE and COPY are for memory that nobody else uses during the call, as
 * with realloc(3):
 *
 *   - No other thread, signal handler or device may read or write it.  Until
 *     the call returns, its contents are at neither address: a reader at the
 *     old one finds zeros, and what it writes is lost.
 *   - A process that another thread forks meanwhile finds it so, too.
 *   - COPY IS NOT FOR MEMORY PINNED FOR I/O (buffers registered with
 *     io_uring, RDMA, O_DIRECT under way).  The device goes on with the old
 *     pages: what it writes is lost, what it reads is old, and nothing reports it.
 *     UFFD_MOVE does notice, and if it has begun, nothing is copied (BUSY,
 *     NO_RESOURCES), and PLAIN is next, which keeps the pages.  But nobody looks
 *     where mremap_compat_realloc_with() copies first, or UFFD_MOVE is not allowed,
 *     is switched off, not supported or forbidden.  MREMAP_COMPAT_KEEP_PAGES is
 *     the set without it.
 *   - Memory that is registered with userfaultfd(2) loses the registration,
 *     also if the call fails.
 *   - Stacks, but for that of the first thread, and mappings that grow down are
 *     not told from other memory, and do not grow any more.
 *   - COPY does not keep memory tags (PROT_MTE).
 *   - For a moment the process has address space for up to three more of the
 *     size, and of that committed memory with vm.overcommit_memory=2.  Besides,
 *     it has address space for a few MiB, and with UFFD_MOVE of 2 MiB and more
 *     for 2 GiB; if there is not so much, huge pages are split.  (With pages
 *     larger than 4 KiB each of these sizes is larger, too.)  After
 *     mlockall(MCL_FUTURE) all of it counts towards RLIMIT_MEMLOCK.
 *
 * Pages that were never written do not come to be, and from Linux 6.7 on take
 * no time (PAGEMAP_SCAN); before, COPY looks at each of them.
 *
 * Descriptors and signals.  UFFD_MOVE and COPY, and the probes of them, open
 * what gives power over the memory of the process, or knowledge of it: a
 * userfaultfd, files of /proc/thread-self.  They do so in a thread made for
 * the call, with a table of file descriptors of its own, and the thread has
 * gone when the call returns.  So no child has such a descriptor, of fork(2),
 * vfork(2), posix_spawn(3) or clone(2) by whatever thread, in a signal
 * handler or not.  (In copies of the library from before the release of
 * 1.0.0, a child made during a call kept them, and pages that UFFD_MOVE had
 * found pinned were copied.)  What is left: whoever may trace the process
 * (ptrace(2)) could always do all of it; and a handler of SIGSYS, by which a
 * sandbox answers system calls, runs in that thread, without the process's
 * descriptors, and what it forks has the call's.  For the caller this means:
 *
 *   - Signals wait for the end of the call, those for this thread only; but
 *     SIGHUP, SIGINT, SIGQUIT, SIGALRM, SIGTERM and SIGTSTP do not, where
 *     they have no handler at its beginning (one set by another thread
 *     meanwhile can run as that of SIGSYS does).  A handler that leaves by
 *     siglongjmp(3) at the end takes the result from the caller; the memory
 *     is whole.
 *   - A signal handler that makes such a call needs a stack of SIGSTKSZ bytes
 *     (on processors other than x86 and arm64, 16 KiB more).
 *   - Where no thread is to be had, there is NO_RESOURCES: RLIMIT_NPROC,
 *     pids.max of the control group, the scheduling policy SCHED_DEADLINE,
 *     after unshare(CLONE_NEWPID), and while another thread calls execve(2).
 *   - The thread has the caller's credentials, filters, scheduling,
 *     processors and memory policy.  Its processor time and page faults are
 *     the process's, but not the calling thread's (RUSAGE_THREAD).
 *
 * The new mapping has the protection, flags, advice (madvise(2)), name and
 * memory policy of the old one.  A page shared with another process since
 * fork() is copied for this one, as if it had been written.
 *
 * If a method fails half-way, all is as before for the next one, and if none
 * is left, for the caller: contents, address and mappings; except that with
 * MREMAP_FIXED and PLAIN allowed what was mapped at new_address can be gone, as
 * with mremap(2), or replaced by an empty mapping.
 *
 * Errors: those of mremap_compat(), and
 *
 *   EINVAL  methods is empty, has a bit that is no method, or lacks PLAIN
 *	     though flags has neither RELOCATE flag.
 *   EFAULT  no allowed method could move it with relocation, and PLAIN is not
 *	     allowed or MREMAP_MUST_RELOCATE_ANON is given; report says why.
 */
void *mremap_compat_ext(void *old_address, size_t old_size, size_t new_size,
			int flags, void *new_address, unsigned int methods,
			struct mremap_compat_report *report);

/*
 * realloc() for a region of whole pages of one's own: private anonymous
 * memory, readable and writable, from mmap(2) or from here.  By the methods of
 * MREMAP_COMPAT_KEEP_PAGES, so that the pages that a device has pinned stay in use.
 * Nobody else may use the region meanwhile, see mremap_compat_ext().
 *
 *   region    NULL for a new one
 *   old_size  its size, 0 if region is NULL; rounded up to whole pages
 *   new_size  rounded up to whole pages; 0 to free it
 *
 * Returns the region's address, a multiple of the page size, its first
 * min(old_size, new_size) bytes as they were and the new pages 0, and leaves
 * errno alone; NULL, likewise, if new_size is 0 and the region has been freed;
 * or NULL with errno, and nothing has changed:
 *
 *   EINVAL  region is not a multiple of the page size; region is NULL and
 *	     old_size is not 0; region is not NULL and old_size is 0.
 *   ENOMEM  no memory, address space or mappings left, or a size too large.
 *	     Also from munmap(2), if the region is the midst of a mapping and
 *	     there may be no more mappings: then it has not been freed.
 *   EFAULT, EAGAIN, EPERM, ENOSYS  as mremap_compat(); EFAULT also if the
 *	     region is not mapped.
 */
void *mremap_compat_realloc(void *region, size_t old_size, size_t new_size);

/* ---- Many moves ---------------------------------------------------------- */

/*
 * A handle that keeps one userfaultfd open for many moves.  To close one, the
 * kernel walks through all mappings of the process: a call of its own that uses
 * UFFD_MOVE takes 0.1 ms in a process with few mappings and several ms in one
 * with 60,000; with a handle it is 0.1 ms in either (measured, compat/README.md).
 * KERNEL and PLAIN do not need it.
 *
 * The descriptor is in a thread that lasts until mremap_compat_close(), and that
 * has a table of descriptors of its own, like that of a single call, see
 * "Descriptors and signals": no child has it, of fork(2), vfork(2), posix_spawn(3)
 * or clone(2), nor a program after execve(2).  In the child a handle is still
 * valid, and without the thread: its calls are those without a handle.  So are
 * they, anywhere, while another thread's call uses the handle, and when a filter
 * (seccomp) has ended the thread.
 *
 * The thread is one of the process's: it counts for RLIMIT_NPROC and pids.max,
 * unshare(2) with CLONE_NEWUSER or CLONE_THREAD and setns(2) to a mount or user
 * namespace fail while it is there, and after the pthread_exit(3) of all others the
 * process goes on.  It has the filters, scheduling, processors and memory policy
 * that the caller of mremap_compat_open() had then, and its credentials, which
 * setuid(2) and its like of the C library change in all threads, but capset(2) and
 * system calls made directly do not: open it after privileges have been given up.  No
 * signals of the process's are delivered to it but during a call, as described
 * there.
 *
 * Returns NULL with errno if it cannot be had, and then calls with NULL for a
 * handle do as well, but for the time:
 *
 *   EAGAIN, ENOMEM  no thread, or no memory.
 *   ENOSYS  the kernel is too old to keep it from children (Linux 5.9).
 *   EPERM   a filter forbids what is needed, or has ended the thread.
 *
 * If it is only the userfaultfd that is not to be had, that is no error: each call
 * says so in its report.  Not for signal handlers, as it uses pthread_create(3).
 */
struct mremap_compat_handle;
struct mremap_compat_handle *mremap_compat_open(void);

/*
 * Close it, end its thread and wait for that.  No call may be using it.  In a child
 * after fork(2) only the child's copy is closed, and in one that shares its parent's
 * memory, as after vfork(2), nothing is.  NULL is ignored.  Leaves errno alone.
 */
void mremap_compat_close(struct mremap_compat_handle *handle);

/* mremap_compat_ext() with a handle; NULL: without one. */
void *mremap_compat_ext_with(struct mremap_compat_handle *handle,
			     void *old_address, size_t old_size,
			     size_t new_size, int flags, void *new_address,
			     unsigned int methods,
			     struct mremap_compat_report *report);

/*
 * mremap_compat_realloc() with a handle (NULL: without one), a say in the methods, and
 * a report, as for mremap_compat_ext_with().  Without PLAIN it fails with EFAULT if no
 * allowed method could relocate a region that has to move.  EINVAL also: methods is
 * empty or has a bit that is no method.
 *
 * WHOEVER NAMES COPY STATES THAT NOTHING HOLDS THE REGION'S PAGES, see
 * MREMAP_COMPAT_KEEP_PAGES, and that the region is what it is by mmap(2) alone: less
 * than 2 MiB are copied to memory newly mapped, which takes no other thread, but what
 * madvise(2), mbind(2), mprotect(2), pkey_mprotect(2) and prctl(2) have set is not
 * kept.  To look at the mapping would take longer than the copy: of a region that is
 * not what mremap_compat_realloc() is for, all that can be read is copied, and what was
 * shared, read-only or a file's becomes private, anonymous and writable.  If a
 * userfaultfd watches the memory, the call waits for it, as any reader would.  Locked
 * memory and guard pages are noticed (UNSUITABLE).
 *
 * Of UFFD_MOVE and COPY the cheaper one is tried first, by a table of measured costs
 * (compat/README.md): COPY up to some 170 KiB, and, without a handle, also for larger
 * regions where closing a userfaultfd has taken long, as it does with many mappings.
 */
void *mremap_compat_realloc_with(struct mremap_compat_handle *handle,
				 void *region, size_t old_size, size_t new_size,
				 unsigned int methods,
				 struct mremap_compat_report *report);

/* ---- Memory that is in pieces ------------------------------------------- */

/*
 * Merge the mappings of a range, where they are, that touch and differ in nothing but
 * where their pages were first touched, as after moves that did not relocate.
 *
 *   address  multiple of the page size
 *   size     bytes, rounded up to whole pages; 0: nothing to do.  The range may have
 *	      mappings of any kind, and holes (but see UFFD_MOVE).
 *   methods  the set of methods that may be used.  COPY and PLAIN are not for this
 *	      (MREMAP_COMPAT_NOT_ALLOWED in the report), so that the sets of the other
 *	      calls will do.
 *   report   filled in also if the call fails; may be NULL
 *
 * KERNEL is madvise(2) with MADV_COALESCE.  No page moves, and other threads may use
 * the memory meanwhile.  It is for all mappings that the range touches, and their
 * direct neighbours; private anonymous mappings merge.
 *
 * UFFD_MOVE, where the kernel does not have the advice, relocates mapping by mapping:
 * the pages are moved out, and by ioctl(UFFDIO_MOVE) back to where they were, into a
 * mapping that is as if it were new.  WHOEVER NAMES IT STATES THAT NOTHING BUT THE CALL
 * USES THE RANGE MEANWHILE, as for mremap_compat_ext(), where the rest of what is said of
 * UFFD_MOVE goes for this, too: so the range is never all that there is, as stacks and
 * the C library's memory are in use.  NOR MAY IT HAVE HOLES, UNLESS NO OTHER THREAD MAPS
 * MEMORY MEANWHILE: what is mapped into a hole is in the range, and is relocated while
 * its owner writes to it.  With KERNEL alone, only the advice is used.  The mappings must
 * be wholly in the range, readable, writable, not locked, without guard pages and not
 * registered with userfaultfd(2).  What lies beside the range stays as it is; what is in
 * it may merge with that.  Up to fourteen more mappings are needed for a moment, and
 * memory for page tables.  The call reads /proc/thread-self/smaps, for which the kernel
 * goes through the process's page tables.  Each mapping takes 0.1 ms, and more where
 * there are tens of thousands.  Signals wait for 64 MiB at a time, or 256 mappings, or the
 * end.
 *
 * With either, contents and protections stay as they are; what cannot be merged stays as
 * it is, which is no error: mappings that differ in protection, advice, name, memory
 * policy or locking; pages that another process shares since fork(2), or pinned ones
 * (UFFD_MOVE).
 *
 * Returns 0, and leaves errno alone: all has been merged that could be, which may be
 * nothing.  Or -1 with errno, and what has been merged by then stays so:
 *
 *   EINVAL	from here, before anything is looked at: address is not a multiple of
 *		the page size; address and size go beyond the last address; methods has a
 *		bit that is no method, or neither KERNEL nor UFFD_MOVE.
 *   EOPNOTSUPP no method that is allowed and in force is there.
 *   EPERM	none is, and one that would be is forbidden (FORBIDDEN).
 *   ENOMEM	no memory, mappings, descriptors or threads (NO_RESOURCES).
 *   EINTR	from the kernel: a signal has ended the advice early.
 *   EAGAIN	from the kernel: as ENOMEM, for a moment.
 */
struct mremap_compat_coalesce_report {
	/* The method that was used, KERNEL or UFFD_MOVE; 0 if none was. */
	unsigned int method;
	/* As in struct mremap_compat_report; KERNEL: USED also with EINTR. */
	enum mremap_compat_reason reason[MREMAP_COMPAT_METHODS];
	/*
	 * By UFFD_MOVE (the kernel does not tell): mappings relocated, and pairs of
	 * mappings that touch, look alike and had to stay apart, with the reason of the
	 * last (MREMAP_COMPAT_NOT_TRIED if there are none).  UNSUITABLE also: they differ
	 * in what cannot be seen.
	 */
	size_t relocated, apart;
	enum mremap_compat_reason apart_reason;
};

int mremap_compat_coalesce(void *address, size_t size, unsigned int methods,
			   struct mremap_compat_coalesce_report *report);

/*
 * Whether the kernel has the advice: mremap_compat_probe() for KERNEL as
 * mremap_compat_coalesce() uses it.  (For UFFD_MOVE it is mremap_compat_probe().)  It is
 * tried on memory mapped for the purpose, and supported means that it merges.
 * UNSUPPORTED also if KERNEL is switched off; NOT_PERMITTED: something, such as a
 * seccomp filter, forbids it.  Takes mmap(2), mprotect(2), madvise(2), mremap(2), munmap(2)
 * and faccessat(2).
 *
 * Never fails and leaves errno alone.
 */
enum mremap_compat_support mremap_compat_probe_coalesce(void);

#ifdef __cplusplus
}
#endif

#endif /* MREMAP_COMPAT_H */
