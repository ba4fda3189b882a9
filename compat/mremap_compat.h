/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * mremap() with MREMAP_RELOCATE_ANON and MREMAP_MUST_RELOCATE_ANON on every
 * system.  Where the kernel has the flags, it does the work.  Where it lacks them,
 * other methods do it on request; otherwise MREMAP_RELOCATE_ANON is ignored.  The same
 * for MADV_COALESCE.
 *
 * All functions except mremap_compat_open() and mremap_compat_close() may be called
 * from any thread at any time, from a signal handler, and from the child after
 * fork() or vfork(); none is a cancellation point.  They print nothing, do not end the
 * process or change how signals are handled, and leave no file descriptor open, no
 * thread running and no memory mapped except what they return.  No child inherits the
 * descriptors that they open meanwhile, see "Descriptors and signals".
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
 * Ways to move a mapping, bits of a set.  The first three relocate: the moved memory
 * merges with the mappings next to it as if it had been written there.
 */
enum mremap_compat_method {
	/*
	 * The kernel's flags.  As atomic as mremap(2): another thread that
	 * uses the memory meanwhile finds it complete at one of the two addresses,
	 * or is killed by SIGSEGV at the old one.
	 */
	MREMAP_COMPAT_KERNEL = 1,
	/*
	 * ioctl(UFFDIO_MOVE), Linux 6.8 and later: the pages themselves move.
	 * The kernel splits large folios for this, except those that are mapped as
	 * huge pages at both places.  Not atomic, see mremap_compat_ext().  Not
	 * available on PowerPC and s390.
	 */
	MREMAP_COMPAT_UFFD_MOVE = 2,
	/*
	 * New pages with the same contents.  The old ones stay in use until the
	 * end, so the memory is needed twice; if there is too little, the kernel
	 * may kill a process instead of reporting it.  Linux 5.12 and later.  Not
	 * atomic, and DATA IN PINNED MEMORY IS LOST: see mremap_compat_ext().
	 */
	MREMAP_COMPAT_COPY = 4,
	/* mremap(2) without the flags: the moved memory does not merge. */
	MREMAP_COMPAT_PLAIN = 8
};

#define MREMAP_COMPAT_METHODS 4		/* how many there are */
#define MREMAP_COMPAT_ALL_METHODS 15	/* the set of all */
/*
 * The set of the methods that keep the pages: all except COPY.  A device that reads or
 * writes memory (I/O in progress, a buffer registered with io_uring or for RDMA) uses
 * the pages themselves, and the library cannot find that out beforehand.  So COPY is
 * for a caller who knows that nothing holds the pages of the memory, and who says so by
 * naming it.
 */
#define MREMAP_COMPAT_KEEP_PAGES 11

/* What the running system says about a method. */
enum mremap_compat_support {
	/*
	 * No answer, for lack of memory, mappings, file descriptors or threads; this
	 * may change.  Also the answer for a number that is not a method.
	 */
	MREMAP_COMPAT_UNKNOWN = 0,
	MREMAP_COMPAT_SUPPORTED = 1,
	/*
	 * The kernel, or what stands in for it, does not have it; /proc is missing
	 * (UFFD_MOVE and COPY need it); or mremap_compat_set_methods() or
	 * $MREMAP_COMPAT_METHODS has switched it off.
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
 * on memory mapped for the purpose, never on memory in use; later calls
 * return the same answer.  UNKNOWN is not kept: the next call asks again.
 * To try UFFD_MOVE and COPY, it makes system calls for which a seccomp filter may kill
 * the caller: userfaultfd(2), ioctl(2), msync(2), mprotect(2), munlock(2), opening
 * and reading files of /proc/thread-self, and /dev/userfaultfd; and for the
 * thread that makes these calls, rt_sigprocmask(2), clone(2) (with the flags
 * of any thread), close_range(2), futex(2), exit(2), getpid(2), tgkill(2),
 * sched_yield(2), nanosleep(2) and clock_gettime(2).  (A filter that kills the thread for one
 * of the former kills only that thread: NOT_PERMITTED.)  For KERNEL and PLAIN, it calls
 * mmap(2), mremap(2) and munmap(2).
 *
 * Never fails and leaves errno alone.
 */
enum mremap_compat_support
mremap_compat_probe(enum mremap_compat_method method);

/*
 * Switch methods off for the whole process, to force one or to imitate an older
 * kernel.  Calls that begin later use only the methods in the set.  PLAIN cannot be
 * switched off and is added.  Bits that are not a method are ignored.  Returns the
 * previous set.
 *
 * The first set comes from the environment variable MREMAP_COMPAT_METHODS: names
 * separated by commas ("uffd-move,plain"), or "all".  It is all methods if the variable
 * is not set, if it contains any other word, or if the program runs with privileges
 * that its caller lacks (secure_getenv(3)).
 */
unsigned int mremap_compat_set_methods(unsigned int methods);

/* The set in force. */
unsigned int mremap_compat_get_methods(void);

/*
 * "kernel", "uffd-move", "copy" or "plain"; NULL for anything else.  The text is
 * constant.
 */
const char *mremap_compat_method_name(enum mremap_compat_method method);

/* MREMAP_COMPAT_VERSION of the library that is linked. */
int mremap_compat_version(void);

/* ---- Moves ------------------------------------------------------------- */

/*
 * Resize or move the mapping of old_size bytes at old_address, as mremap(2) does.
 * Uses only the methods KERNEL and PLAIN, so it is as atomic as mremap(2), and makes
 * no system calls other than mmap(2), mremap(2) and munmap(2).
 *
 *   old_address   multiple of the page size, without tag bits
 *   old_size      bytes, rounded up to whole pages by the kernel
 *   new_size      bytes, likewise; not 0
 *   flags         any of the five MREMAP_* flags above
 *   new_address   a void *; read only with MREMAP_FIXED or MREMAP_DONTUNMAP
 *
 * MREMAP_RELOCATE_ANON
 *	If private anonymous memory moves, including the written pages of a
 *	private file mapping, let it merge with the mappings next to its new
 *	place.  If the kernel cannot do so, or KERNEL is not SUPPORTED, the call
 *	does what mremap(2) does without the flag: the memory moves and does not
 *	merge.
 *
 * MREMAP_MUST_RELOCATE_ANON
 *	The same, but if it cannot be done, fail with EFAULT and change nothing.
 *	Where KERNEL is not SUPPORTED, the call succeeds only for a mapping that
 *	keeps its place and so needs no relocation: one that shrinks, keeps its
 *	size or grows where it is, without MREMAP_FIXED and MREMAP_DONTUNMAP.
 *	Everything else fails with EFAULT there, even a move of memory that was
 *	never written, which succeeds where KERNEL is SUPPORTED.
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
 *	     without MREMAP_MAYMOVE, or too many mappings.  (If only the
 *	     relocation lacks them, MREMAP_RELOCATE_ANON moves without it.  The
 *	     kernel may have moved some of several mappings by then.)
 *   EPERM   From the kernel: a sealed mapping.
 *   ENOSYS  or another: a seccomp filter forbids mremap(2) altogether.
 */
void *mremap_compat(void *old_address, size_t old_size, size_t new_size,
		    int flags, ... /* void *new_address */);

/* What became of a method in one call. */
enum mremap_compat_reason {
	/* Not needed: another method was used, nothing had to move, or the call
	 * failed earlier. */
	MREMAP_COMPAT_NOT_TRIED = 0,
	/* It made the move. */
	MREMAP_COMPAT_USED = 1,
	/* Not in the call's set of methods, or excluded by its flags: without one of
	 * the two RELOCATE flags only PLAIN is used. */
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
	 * Not possible for this memory.  UFFD_MOVE and COPY need a range of a single
	 * private anonymous mapping that is readable and writable, not locked,
	 * without guard pages (MADV_GUARD_INSTALL), and not the stack of the first
	 * thread; and no MREMAP_DONTUNMAP.  COPY also needs memory that is not
	 * registered with a userfaultfd that follows moves
	 * (UFFD_FEATURE_EVENT_REMAP), because it would wait for answers.  If the call
	 * may not fall back to PLAIN, the destination of MREMAP_FIXED must be
	 * restorable: free addresses, or a range of a single private anonymous
	 * mapping that is not locked.  KERNEL: MREMAP_MUST_RELOCATE_ANON cannot be
	 * done.
	 */
	MREMAP_COMPAT_UNSUITABLE = 6,
	/*
	 * Some of its pages were busy: pinned for I/O, or being migrated or swapped.
	 * COPY: not tried, because UFFD_MOVE began and stopped, for this reason or
	 * another, so some pages may be pinned.
	 */
	MREMAP_COMPAT_BUSY = 7,
	/*
	 * Not enough memory, mappings, address space, file descriptors or threads.
	 * COPY: not tried, because UFFD_MOVE lacked them and so could not find out
	 * which pages are pinned.
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
 * mremap_compat() with a choice of methods, and a report.
 *
 *   new_address   where to, with MREMAP_FIXED; read only then and with
 *		   MREMAP_DONTUNMAP
 *   methods	   the set of methods that may be used, not empty.  Without
 *		   PLAIN the call behaves as with MREMAP_MUST_RELOCATE_ANON
 *		   towards those that are.
 *   report	   filled in also if the call fails; may be NULL
 *
 * With a RELOCATE flag, a mapping that can keep its place keeps it, unless
 * MREMAP_FIXED or MREMAP_DONTUNMAP says otherwise.  Otherwise it is moved by the first
 * of KERNEL, UFFD_MOVE, COPY and PLAIN that is allowed and works; with
 * MREMAP_MUST_RELOCATE_ANON, PLAIN is not used.  (In a process with thousands of
 * mappings, UFFD_MOVE without a handle takes milliseconds, see mremap_compat_open().)
 * If the report has KERNEL as USED, the memory is relocated, with one exception: with
 * MREMAP_RELOCATE_ANON alone, if PLAIN is the only other method allowed and in force,
 * the library calls the kernel once, which may move the memory without relocating it
 * and does not report that.
 *
 * UFFD_MOVE and COPY are for memory that nobody else uses during the call, as
 * with realloc(3):
 *
 *   - No other thread, signal handler or device may read or write it.  Until the call
 *     returns, its contents are at neither address: reads at the old one return zeros,
 *     and writes are lost.
 *   - The same is true in a process that another thread forks meanwhile.
 *   - COPY IS NOT FOR MEMORY PINNED FOR I/O (buffers registered with
 *     io_uring, RDMA, O_DIRECT under way).  The device continues with the old
 *     pages: its writes are lost, its reads are outdated, and nothing reports it.
 *     UFFD_MOVE notices pinned pages, and once it has begun, nothing is copied (BUSY,
 *     NO_RESOURCES); PLAIN is next, which keeps the pages.  Nothing checks for pinned
 *     pages where mremap_compat_realloc_with() copies first, or UFFD_MOVE is not
 *     allowed, switched off, not supported or forbidden.  MREMAP_COMPAT_KEEP_PAGES is
 *     the set without COPY.
 *   - Memory that is registered with userfaultfd(2) loses the registration,
 *     also if the call fails.
 *   - Stacks other than that of the first thread, and mappings that grow down, are
 *     treated like other memory; they do not grow any more.
 *   - COPY does not keep memory tags (PROT_MTE).
 *   - For a moment the process needs up to three times the size as additional address
 *     space, and as committed memory with vm.overcommit_memory=2.  It also needs
 *     address space of a few MiB, or 2 GiB with UFFD_MOVE of 2 MiB and more; without
 *     that, huge pages are split.  (With pages larger than 4 KiB, each of these sizes is
 *     larger.)  After mlockall(MCL_FUTURE) all of it counts towards RLIMIT_MEMLOCK.
 *
 * Pages that were never written are not allocated, and from Linux 6.7 on take
 * no time (PAGEMAP_SCAN); before that, COPY looks at each of them.
 *
 * Descriptors and signals.  UFFD_MOVE and COPY, and the probes of them, open
 * descriptors that give access to the memory of the process: a userfaultfd, and files
 * of /proc/thread-self.  They do so in a thread that is created for the call, has its
 * own table of file descriptors, and has ended when the call returns.  So no child
 * inherits such a descriptor, whether it comes from fork(2), vfork(2), posix_spawn(3) or
 * clone(2), by whatever thread, in a signal handler or not.  (In copies of the library
 * from before the release of 1.0.0, a child created during a call kept them, and pages
 * that UFFD_MOVE had found pinned were copied.)  Two things remain.  Whoever may trace
 * the process (ptrace(2)) could always do all of this.  And a handler of SIGSYS, with
 * which a sandbox answers system calls, runs in that thread: it does not have the
 * process's descriptors, and its children inherit those of the call.  For the caller
 * this means:
 *
 *   - Signals that are sent to this thread wait for the end of the call.  SIGHUP,
 *     SIGINT, SIGQUIT, SIGALRM, SIGTERM and SIGTSTP do not wait if they have no handler
 *     when the call begins.  (A handler that another thread sets meanwhile can run as
 *     that of SIGSYS does.)  If a handler leaves by siglongjmp(3) at the end, the caller
 *     loses the result; the memory is intact.
 *   - A signal handler that makes such a call needs a stack of SIGSTKSZ bytes
 *     (on processors other than x86 and arm64, 16 KiB more).
 *   - Where no thread can be created, the reason is NO_RESOURCES: because of
 *     RLIMIT_NPROC, pids.max of the control group or the scheduling policy
 *     SCHED_DEADLINE, after unshare(CLONE_NEWPID), or while another thread calls
 *     execve(2).
 *   - The thread has the caller's credentials, filters, scheduling,
 *     processors and memory policy.  Its processor time and page faults are
 *     the process's, but not the calling thread's (RUSAGE_THREAD).
 *
 * The new mapping has the protection, flags, advice (madvise(2)), name and
 * memory policy of the old one.  A page shared with another process since
 * fork() is copied for this one, as if it had been written.
 *
 * If a method fails half-way, contents, address and mappings are restored for the next
 * one, or for the caller if there is none.  There is one exception: with MREMAP_FIXED and
 * PLAIN allowed, the mappings at new_address can be gone, as with mremap(2), or replaced by
 * an empty mapping.
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
 * realloc() for a region of whole pages that the caller owns: private anonymous
 * memory, readable and writable, from mmap(2) or from this function.  It uses the methods
 * of MREMAP_COMPAT_KEEP_PAGES, so pages that a device has pinned stay in use.
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
 *	     Also from munmap(2), if the region lies inside a larger mapping and
 *	     there may be no more mappings: then it has not been freed.
 *   EFAULT, EAGAIN, EPERM, ENOSYS  as mremap_compat(); EFAULT also if the
 *	     region is not mapped.
 */
void *mremap_compat_realloc(void *region, size_t old_size, size_t new_size);

/* ---- Many moves ---------------------------------------------------------- */

/*
 * A handle that keeps one userfaultfd open for many moves.  When one is closed, the
 * kernel walks through all mappings of the process.  So a call without a handle that uses
 * UFFD_MOVE takes 0.1 ms in a process with few mappings and several ms in one with
 * 60,000; with a handle it takes 0.1 ms in either (measured, compat/README.md).
 * KERNEL and PLAIN do not need it.
 *
 * A thread holds the descriptor until mremap_compat_close().  It has its own table of
 * descriptors, like that of a single call, see "Descriptors and signals".  No child of
 * fork(2), vfork(2), posix_spawn(3) or clone(2) inherits the descriptor, and no program
 * after execve(2).  In the child a handle is still valid, but has no thread: calls with
 * it behave like calls without a handle.  They also do so in any process while another
 * thread's call uses the handle, and after a seccomp filter has ended the thread.
 *
 * The thread belongs to the process.  It counts for RLIMIT_NPROC and pids.max.  While
 * it exists, unshare(2) with CLONE_NEWUSER or CLONE_THREAD and setns(2) to a mount or user
 * namespace fail, and the process continues after pthread_exit(3) in all other threads.
 * It has the filters, scheduling, processors and memory policy that the caller of
 * mremap_compat_open() had, and the caller's credentials.  setuid(2) and similar
 * functions of the C library change these in all threads, but capset(2) and direct
 * system calls do not: open the handle after giving up privileges.  Signals that are
 * sent to the process are delivered to the thread only during a call, as described
 * there.
 *
 * Returns NULL with errno if there can be no handle.  Calls with NULL for a handle then
 * do the same, but take longer:
 *
 *   EAGAIN, ENOMEM  no thread, or no memory.
 *   ENOSYS  the kernel is too old to keep it from children (Linux 5.9).
 *   EPERM   a filter forbids what is needed, or has ended the thread.
 *
 * If only the userfaultfd cannot be opened, that is not an error: each call says so in
 * its report.  Not for signal handlers, because it uses pthread_create(3).
 */
struct mremap_compat_handle;
struct mremap_compat_handle *mremap_compat_open(void);

/*
 * Close it, end its thread and wait for that.  No call may be using it.  In a child
 * after fork(2), only the child's copy is closed.  In a child that shares its parent's
 * memory, as after vfork(2), nothing is closed.  NULL is ignored.  Leaves errno alone.
 */
void mremap_compat_close(struct mremap_compat_handle *handle);

/* mremap_compat_ext() with a handle; NULL: without one. */
void *mremap_compat_ext_with(struct mremap_compat_handle *handle,
			     void *old_address, size_t old_size,
			     size_t new_size, int flags, void *new_address,
			     unsigned int methods,
			     struct mremap_compat_report *report);

/*
 * mremap_compat_realloc() with a handle (NULL: without one), a choice of methods, and
 * a report, as for mremap_compat_ext_with().  Without PLAIN it fails with EFAULT if no
 * allowed method could relocate a region that has to move.  It fails
 * with EINVAL also if methods is empty or has a bit that is not a method.
 *
 * WHOEVER NAMES COPY STATES THAT NOTHING HOLDS THE REGION'S PAGES, see
 * MREMAP_COMPAT_KEEP_PAGES, and that nothing but mmap(2) has set up the region.  Less
 * than 2 MiB are copied to newly mapped memory.  That needs no other thread, but does not
 * keep what madvise(2), mbind(2), mprotect(2), pkey_mprotect(2) and prctl(2) have set.
 * The call does not look at the mapping, which would take longer than the copy.  So if
 * the region is not what mremap_compat_realloc() is for, everything readable is copied,
 * and what was shared, read-only or from a file becomes private, anonymous and writable.
 * If a userfaultfd watches the memory, the call waits for it, as any reader would.
 * Locked memory and guard pages are noticed (UNSUITABLE).
 *
 * The cheaper one of UFFD_MOVE and COPY is tried first, by a table of measured costs
 * (compat/README.md): COPY up to some 170 KiB, and, without a handle, also for larger
 * regions if closing a userfaultfd has taken long, as it does with many mappings.
 */
void *mremap_compat_realloc_with(struct mremap_compat_handle *handle,
				 void *region, size_t old_size, size_t new_size,
				 unsigned int methods,
				 struct mremap_compat_report *report);

/* ---- Memory that is in pieces ------------------------------------------- */

/*
 * Merge mappings of a range in place: those that are adjacent and differ only in where
 * their pages were first touched, as after moves that did not relocate.
 *
 *   address  multiple of the page size
 *   size     bytes, rounded up to whole pages; 0: nothing to do.  The range may have
 *	      mappings of any kind, and holes (but see UFFD_MOVE).
 *   methods  the set of methods that may be used.  COPY and PLAIN are never used here
 *	      (MREMAP_COMPAT_NOT_ALLOWED in the report), so the sets of the other calls
 *	      can be passed.
 *   report   filled in also if the call fails; may be NULL
 *
 * KERNEL is madvise(2) with MADV_COALESCE.  No page moves, and other threads may use
 * the memory meanwhile.  It covers all mappings that the range touches, and their
 * direct neighbours; private anonymous mappings merge.
 *
 * UFFD_MOVE, where the kernel does not have the advice, relocates mapping by mapping.
 * The pages are moved out, and ioctl(UFFDIO_MOVE) moves them back into a mapping that is
 * like a new one.  WHOEVER NAMES IT STATES THAT NOTHING BUT THE CALL USES THE RANGE
 * MEANWHILE, as for mremap_compat_ext(); the rest of what that says of UFFD_MOVE also
 * applies.  So the range can never be the whole address space, because stacks and the C
 * library's memory are in use.  NOR MAY IT HAVE HOLES, UNLESS NO OTHER THREAD MAPS MEMORY
 * MEANWHILE: a mapping that appears in a hole is in the range, and is relocated while its
 * owner writes to it.  With KERNEL alone, only the advice is used.  The mappings must be
 * completely inside the range, readable, writable, not locked, without guard pages and
 * not registered with userfaultfd(2).  Mappings beside the range do not change, but those
 * in it may merge with them.  Up to fourteen more mappings are needed for a moment, and
 * memory for page tables.  The call reads /proc/thread-self/smaps, for which the kernel
 * walks the process's page tables.  Each mapping takes 0.1 ms, and more if there are tens
 * of thousands.  Signals wait for 64 MiB at a time, or 256 mappings, or the end.
 *
 * With either method, contents and protections do not change.  It is not an error if
 * something cannot be merged and stays as it is: mappings that differ in protection,
 * advice, name, memory policy or locking; pages that another process shares since fork(2);
 * and pinned pages (UFFD_MOVE).
 *
 * Returns 0, and leaves errno alone, if everything that could be merged has been, which
 * may be nothing.  Otherwise returns -1 with errno; what has been merged stays merged:
 *
 *   EINVAL	from here, before anything is looked at: address is not a multiple of
 *		the page size; address and size go beyond the last address; methods has a
 *		bit that is no method, or neither KERNEL nor UFFD_MOVE.
 *   EOPNOTSUPP no method that is allowed and in force is available.
 *   EPERM	the same, and one that would be is forbidden (FORBIDDEN).
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
	 * By UFFD_MOVE (the kernel does not report it): mappings relocated; and pairs of
	 * adjacent mappings that look alike and had to stay apart, with the reason for the
	 * last (MREMAP_COMPAT_NOT_TRIED if there are none).  UNSUITABLE is also the reason
	 * if they differ in something that cannot be seen.
	 */
	size_t relocated, apart;
	enum mremap_compat_reason apart_reason;
};

int mremap_compat_coalesce(void *address, size_t size, unsigned int methods,
			   struct mremap_compat_coalesce_report *report);

/*
 * Whether the kernel has the advice: mremap_compat_probe() for KERNEL as
 * mremap_compat_coalesce() uses it.  (For UFFD_MOVE, call mremap_compat_probe().)  The
 * advice is tried on memory mapped for the purpose; SUPPORTED means that it merges.
 * UNSUPPORTED is also the answer if KERNEL is switched off; NOT_PERMITTED if something,
 * such as a seccomp filter, forbids it.  It calls mmap(2), mprotect(2), madvise(2),
 * mremap(2), munmap(2) and faccessat(2).
 *
 * Never fails and leaves errno alone.
 */
enum mremap_compat_support mremap_compat_probe_coalesce(void);

#ifdef __cplusplus
}
#endif

#endif /* MREMAP_COMPAT_H */
