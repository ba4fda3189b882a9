/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * mremap() with MREMAP_RELOCATE_ANON and MREMAP_MUST_RELOCATE_ANON on every
 * system: where the kernel has the flags it is asked for them, elsewhere the
 * first is a wish that goes unheard and the second a demand that fails.
 *
 * Both functions may be called from any thread at any time, from a signal
 * handler, and from the child after fork().  They print nothing, end nothing
 * and change no signal's handling.
 */

#ifndef MREMAP_COMPAT_H
#define MREMAP_COMPAT_H

#include <stddef.h>
#include <sys/mman.h>	/* MAP_FAILED */

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

/* What the running system says about the two flags. */
enum mremap_compat_support {
	/* No answer, for want of memory or mappings; may change. */
	MREMAP_COMPAT_UNKNOWN = 0,
	/* Both flags work. */
	MREMAP_COMPAT_SUPPORTED = 1,
	/* The kernel, or what stands in for it, does not know the flags. */
	MREMAP_COMPAT_UNSUPPORTED = 2,
	/* Something, such as a seccomp filter, forbids them. */
	MREMAP_COMPAT_NOT_PERMITTED = 3
};

/*
 * Find out what mremap_compat() can do.  The first call asks the kernel, with
 * a page mapped for the purpose and never with memory in use; later calls
 * return the same answer.  UNKNOWN is not kept: the next call asks again.
 *
 * Never fails and leaves errno alone.
 */
enum mremap_compat_support mremap_compat_probe(void);

/*
 * Resize or move the mapping of old_size bytes at old_address, as mremap(2).
 *
 *   old_address   multiple of the page size
 *   old_size      bytes, rounded up to whole pages by the kernel
 *   new_size      bytes, likewise; not 0
 *   flags         any of the five MREMAP_* flags above
 *   new_address   a void *; read only with MREMAP_FIXED or MREMAP_DONTUNMAP
 *
 * MREMAP_RELOCATE_ANON
 *	If private anonymous memory moves, which includes the written pages of
 *	a private file mapping, let it merge with the mappings next to its new
 *	place.  Where the kernel cannot do so, or that is not SUPPORTED, the
 *	call is that of mremap(2) without the flag: the memory moves and does
 *	not merge.
 *
 * MREMAP_MUST_RELOCATE_ANON
 *	The same, but fail with EFAULT if it cannot be done, and then nothing
 *	has changed.  Where it is not SUPPORTED, success remains for a mapping
 *	that keeps its place, which needs no relocation: one that shrinks,
 *	keeps its size or grows where it is, without MREMAP_FIXED and
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
 *	     without MREMAP_MAYMOVE, or too many mappings.
 *   EPERM   From the kernel: a sealed mapping.
 *   ENOSYS  or another: a seccomp filter forbids mremap(2) altogether.
 */
void *mremap_compat(void *old_address, size_t old_size, size_t new_size,
		    int flags, ... /* void *new_address */);

#ifdef __cplusplus
}
#endif

#endif /* MREMAP_COMPAT_H */
