/* SPDX-License-Identifier: LGPL-2.1-or-later */

#define _GNU_SOURCE
#include "mremap_compat.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

#define API __attribute__((visibility("default")))

#define RELOCATE_FLAGS (MREMAP_RELOCATE_ANON | MREMAP_MUST_RELOCATE_ANON)
#define KNOWN_FLAGS \
	(MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP | RELOCATE_FLAGS)

/* A flag that no kernel has. */
#define NONSENSE_FLAG 0x40000000

/*
 * The kernel's answer, an enum mremap_compat_support.  Threads that meet
 * UNKNOWN ask at the same time and store the same answer, and no other memory
 * depends on it, so that relaxed accesses suffice.  A child inherits it.
 */
static atomic_int known_support = MREMAP_COMPAT_UNKNOWN;

/* Not mremap(): glibc's refuses flags that it does not know. */
static void *raw_mremap(void *old_address, size_t old_size, size_t new_size,
			int flags, void *new_address)
{
	return (void *)syscall(SYS_mremap, old_address, old_size, new_size,
			       (unsigned long)flags, new_address);
}

static size_t page_size(void)
{
	return (size_t)sysconf(_SC_PAGESIZE);
}

/* Whether err can mean that the flags are unknown or forbidden. */
static bool is_refusal(int err)
{
	return err == EINVAL || err == ENOSYS || err == EPERM || err == EACCES;
}

/*
 * Ask with a page that holds nothing, in a call that keeps its place and size:
 * a kernel that has the flags has nothing to do and returns its address.
 *
 * Memory in use must not be tried with: qemu-user turns the call into a move
 * and may map over the source when the move fails.  That it moves the page is
 * also how it is told from a kernel; it cannot keep the promise that a failed
 * call has changed nothing.
 */
static enum mremap_compat_support ask_kernel(void)
{
	const size_t size = page_size();
	const int flags = MREMAP_MAYMOVE | RELOCATE_FLAGS;
	enum mremap_compat_support answer = MREMAP_COMPAT_UNSUPPORTED;
	void *page, *result;

	page = mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (page == MAP_FAILED)
		return MREMAP_COMPAT_UNKNOWN;

	result = raw_mremap(page, size, size, flags, NULL);
	if (result == MAP_FAILED) {
		if (errno == EPERM || errno == EACCES)
			answer = MREMAP_COMPAT_NOT_PERMITTED;
		else if (!is_refusal(errno))
			answer = MREMAP_COMPAT_UNKNOWN;
	} else if (result == page) {
		/* Flags that are ignored would look like support. */
		result = raw_mremap(page, size, size, flags | NONSENSE_FLAG,
				    NULL);
		if (result == MAP_FAILED && errno == EINVAL)
			answer = MREMAP_COMPAT_SUPPORTED;
	} else if (result) {
		/* Moved; its old place may be somebody else's by now. */
		page = result;
	}
	munmap(page, size);
	return answer;
}

/* As mremap_compat_probe(), but do not use an answer from before. */
static enum mremap_compat_support probe_again(void)
{
	const int saved_errno = errno;
	const enum mremap_compat_support answer = ask_kernel();

	atomic_store_explicit(&known_support, (int)answer,
			      memory_order_relaxed);
	errno = saved_errno;
	return answer;
}

API enum mremap_compat_support mremap_compat_probe(void)
{
	const int known = atomic_load_explicit(&known_support,
					       memory_order_relaxed);

	if (known != MREMAP_COMPAT_UNKNOWN)
		return (enum mremap_compat_support)known;
	return probe_again();
}

static void *fail(int err)
{
	errno = err;
	return MAP_FAILED;
}

/* The kernel's rules for a move to an address given by the caller. */
static bool move_is_invalid(void *old_address, size_t old_size,
			    size_t new_size, int flags, void *new_address)
{
	const size_t mask = page_size() - 1;
	const uintptr_t old_start = (uintptr_t)old_address;
	const uintptr_t new_start = (uintptr_t)new_address;

	old_size = (old_size + mask) & ~mask;
	new_size = (new_size + mask) & ~mask;
	if (((old_start | new_start) & mask) || !new_size)
		return true;
	if ((flags & MREMAP_DONTUNMAP) && old_size != new_size)
		return true;
	return old_start < new_start ? new_start - old_start < old_size
				     : old_start - new_start < new_size;
}

/* Without the kernel's help only a mapping that stays can be promised. */
static void *must_relocate_fallback(void *old_address, size_t old_size,
				    size_t new_size, int flags,
				    void *new_address)
{
	void *result;

	if (flags & (MREMAP_FIXED | MREMAP_DONTUNMAP)) {
		if (move_is_invalid(old_address, old_size, new_size, flags,
				    new_address))
			return fail(EINVAL);
		return fail(EFAULT);
	}

	result = raw_mremap(old_address, old_size, new_size, 0, NULL);
	/* No room to grow: it would have to move. */
	if (result == MAP_FAILED && errno == ENOMEM)
		errno = EFAULT;
	return result;
}

API void *mremap_compat(void *old_address, size_t old_size, size_t new_size,
			int flags, ...)
{
	const int saved_errno = errno;
	void *new_address = NULL;
	va_list ap;

	if (flags & ~KNOWN_FLAGS)
		return fail(EINVAL);
	if ((flags & RELOCATE_FLAGS) && !(flags & MREMAP_MAYMOVE))
		return fail(EINVAL);

	if (flags & (MREMAP_FIXED | MREMAP_DONTUNMAP)) {
		va_start(ap, flags);
		new_address = va_arg(ap, void *);
		va_end(ap);
	}

	if ((flags & RELOCATE_FLAGS) &&
	    mremap_compat_probe() == MREMAP_COMPAT_SUPPORTED) {
		void *result = raw_mremap(old_address, old_size, new_size,
					  flags, new_address);

		if (result != MAP_FAILED || !is_refusal(errno))
			return result;
		/*
		 * The call is wrong in itself, or the answer has changed: a
		 * filter was installed since, or a checkpoint of the process
		 * goes on elsewhere.
		 */
		if (probe_again() == MREMAP_COMPAT_SUPPORTED)
			return result;
		errno = saved_errno;
	}

	if (flags & MREMAP_MUST_RELOCATE_ANON)
		return must_relocate_fallback(old_address, old_size, new_size,
					      flags, new_address);

	return raw_mremap(old_address, old_size, new_size,
			  flags & ~RELOCATE_FLAGS, new_address);
}
