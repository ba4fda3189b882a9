/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * libmremap_compat_preload.so: mremap() and realloc() for LD_PRELOAD.  What they
 * do is in MREMAP_COMPAT_PRELOAD, words with commas:
 *
 *   relocate   a program's calls of mremap() that may move memory ask the kernel
 *              to relocate it, too; where it cannot, they are the system call
 *   realloc    once a process has many blocks with a mapping of their own,
 *              realloc() lets them grow by copying, not by mremap()
 *   report     a line on standard error when the process exits
 *
 * Without it, both do what the C library does and nothing more.
 */

#define _GNU_SOURCE
#define _FILE_OFFSET_BITS 64	/* for fstat() */
#include "mremap_compat.h"

#include <dlfcn.h>
#include <errno.h>
#include <inttypes.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#ifdef __GLIBC__
# include <gnu/libc-version.h>
#endif

#define NAME "libmremap_compat_preload.so"
#define VARIABLE "MREMAP_COMPAT_PRELOAD"
#define COUNT_VARIABLE "MREMAP_COMPAT_PRELOAD_COUNT"
#define MAX_VARIABLE "MREMAP_COMPAT_PRELOAD_MAX"

/* The flags with which nothing but the relocation is added to a call. */
#define OLD_FLAGS (MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP)

/* ---- the environment ------------------------------------------------------ */

/*
 * What it asks for.  Threads that meet 0 read the same answer and store it; no
 * other memory depends on it.
 */
enum { READ = 1, RELOCATE = 2, REALLOC = 4, REPORT = 8 };
static atomic_int wanted;

/*
 * The file that standard error is when the library is first asked for something. A
 * program can close it, and the next file that it opens gets the number: nothing is
 * written to that one.
 */
static struct {
	atomic_bool known;	/* set after the others */
	dev_t device;
	ino_t inode;
} standard_error;

static void note_standard_error(void)
{
	const int saved_errno = errno;
	struct stat now;

	if (fstat(STDERR_FILENO, &now)) {
		errno = saved_errno;
		return;
	}
	standard_error.device = now.st_dev;
	standard_error.inode = now.st_ino;
	atomic_store_explicit(&standard_error.known, true, memory_order_release);
}

/* The reader of a pipe can have gone: no SIGPIPE for the program, which did not write. */
static void write_quietly(const char *line, size_t length)
{
	const struct timespec at_once = { 0 };
	sigset_t pipe_signal, blocked, pending;

	sigemptyset(&pipe_signal);
	sigaddset(&pipe_signal, SIGPIPE);
	sigpending(&pending);
	if (pthread_sigmask(SIG_BLOCK, &pipe_signal, &blocked))
		return;
	if (write(STDERR_FILENO, line, length) < 0 && errno == EPIPE &&
	    !sigismember(&pending, SIGPIPE))
		sigtimedwait(&pipe_signal, NULL, &at_once);
	pthread_sigmask(SIG_SETMASK, &blocked, NULL);
}

static void complain(const char *variable, const char *problem)
{
	const int saved_errno = errno;
	char line[384];
	int length = snprintf(line, sizeof(line), NAME ": %s %s\n", variable,
			      problem);
	struct stat now;

	/* Where it has been closed, there is nobody to tell. */
	if (length > 0 && length < (int)sizeof(line) &&
	    atomic_load_explicit(&standard_error.known, memory_order_acquire) &&
	    !fstat(STDERR_FILENO, &now) &&
	    now.st_dev == standard_error.device &&
	    now.st_ino == standard_error.inode)
		write_quietly(line, (size_t)length);
	errno = saved_errno;
}

/* The words as bits, READ if there is one that is not known. */
static int read_words(const char *word)
{
	static const struct {
		const char *word;
		int bit;
	} words[] = {
		{ "relocate", RELOCATE },
#ifdef __GLIBC__
		{ "realloc", REALLOC },
#endif
		{ "report", REPORT },
	};
	int bits = READ;

	for (;; word++) {
		const size_t length = strcspn(word, ",");
		size_t i = 0;

		while (i < sizeof(words) / sizeof(words[0]) &&
		       (strlen(words[i].word) != length ||
			memcmp(words[i].word, word, length)))
			i++;
		if (i == sizeof(words) / sizeof(words[0]))
			return READ;
		bits |= words[i].bit;
		word += length;
		if (!*word)
			return bits;
	}
}

static int read_environment(void)
{
	int bits = atomic_load_explicit(&wanted, memory_order_relaxed);
	const char *value;

	if (bits)
		return bits;
	/* Called before the C library has set itself up? */
	if (!environ)
		return READ;
	/* Not for programs with privileges that their caller lacks. */
	value = secure_getenv(VARIABLE);
	bits = value && *value ? read_words(value) : READ;
	/* Only the thread that stores it complains. */
	if (atomic_exchange_explicit(&wanted, bits, memory_order_relaxed) ||
	    !value || !*value)
		return bits;
	note_standard_error();
	if (bits == READ)
		complain(VARIABLE, "is ignored: its words are relocate, realloc (with glibc), report");
	return bits;
}

/* ---- mremap() -------------------------------------------------------------- */

__attribute__((visibility("default")))
void *mremap(void *old_address, size_t old_size, size_t new_size, int flags,
	     ...)
{
	void *new_address = NULL;

	if (flags & (MREMAP_FIXED | MREMAP_DONTUNMAP)) {
		va_list ap;

		va_start(ap, flags);
		new_address = va_arg(ap, void *);
		va_end(ap);
	}

	/* Where the kernel cannot relocate it, this is the program's call. */
	if ((flags & MREMAP_MAYMOVE) && !(flags & ~OLD_FLAGS) &&
	    (read_environment() & RELOCATE))
		return mremap_compat(old_address, old_size, new_size,
				     flags | MREMAP_RELOCATE_ANON, new_address);

	return (void *)syscall(SYS_mremap, old_address, old_size, new_size,
			       (unsigned long)flags, new_address);
}

#ifdef __GLIBC__

/* ---- realloc() ------------------------------------------------------------- */

/*
 * glibc gives a large block a mapping of its own, and lets it grow by mremap():
 * where the block moves, its mapping does not merge with others any more.  A new
 * block, copied into and the old one freed, is fresh memory: it merges.
 *
 * Copying is a correct realloc() of every block, whatever this library takes it
 * for.  So a block that is recognised by mistake costs time, and nothing else.
 */

/* As many as glibc's patched realloc() waits for before it relocates all sizes. */
#define DEFAULT_COUNT 4096
/* Bytes; copying more takes several times as long as moving it. */
#define DEFAULT_MAX (1024 * 1024)
/*
 * The blocks are counted again after half as many calls as there were blocks missing to
 * the threshold, and not before so many: glibc looks at every free chunk for it. A call
 * makes two mappings at most, where a block moves out of the midst of others.
 */
#define CALLS_PER_COUNT 256

/* The first of glibc on the architecture */
#if defined(__x86_64__) && defined(__LP64__)
# define BASE_VERSION "GLIBC_2.2.5"
#elif defined(__aarch64__)
# define BASE_VERSION "GLIBC_2.17"
#else
# define BASE_VERSION "GLIBC_2.0"
#endif

typedef void *realloc_function(void *block, size_t size);

/*
 * The realloc() behind this one.  It is looked up before there are threads if any
 * library's constructor or the program calls it then, as it will: dlsym() waits
 * for a dlopen() of another thread.
 */
static _Atomic(realloc_function *) next_realloc;

/* Whether blocks are glibc's, so that they are where is_mapped() expects them. */
enum { NOT_LOOKED, GLIBC, OTHER };
static atomic_int allocator;

static atomic_bool many;	/* copy from now on */
static atomic_size_t threshold = DEFAULT_COUNT, most = DEFAULT_MAX;
static atomic_size_t page_size;	/* set before allocator */

/* For report; calls: of realloc() that let such a block grow. */
static atomic_uintmax_t calls, copies, copied_bytes, counts;
static atomic_size_t last_count;

/*
 * Whether this library has been relocated.  In the resolver of an IFUNC of a
 * library that is relocated earlier, it has not, and nothing can be called.
 */
static const volatile void *const volatile own_address = &own_address;

static bool is_relocated(void)
{
	return own_address == &own_address;
}

/* Where the object is loaded that a function comes from. */
static void *object_of(const void *function)
{
	Dl_info info;

	return function && dladdr(function, &info) ? info.dli_fbase : NULL;
}

static realloc_function *find_next(void)
{
	realloc_function *next = atomic_load_explicit(&next_realloc,
						      memory_order_acquire);
	void *symbol;

	if (next)
		return next;
	/*
	 * The one finds what has no version, the other what has an old one only, as
	 * libc_malloc_debug.so does; another one than that of libc counts.
	 */
	symbol = dlsym(RTLD_NEXT, "realloc");
	if (object_of(symbol) == object_of((void *)gnu_get_libc_version)) {
		void *const old = dlvsym(RTLD_NEXT, "realloc", BASE_VERSION);

		symbol = old ? old : symbol;
	}
	memcpy(&next, &symbol, sizeof(next));
	atomic_store_explicit(&next_realloc, next, memory_order_release);
	return next;
}

/*
 * Whether all functions that realloc() below uses are those of glibc. They are asked
 * for as they are bound here: dlsym() does not find what another library defines with
 * an old version only, as libc_malloc_debug.so does.
 */
static bool finds_glibc(void)
{
	void *const libc = object_of((void *)gnu_get_libc_version);

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
	return libc && object_of((void *)find_next()) == libc &&
	       object_of((void *)malloc) == libc &&
	       object_of((void *)free) == libc &&
	       object_of((void *)malloc_usable_size) == libc &&
	       object_of((void *)mallinfo) == libc;
#pragma GCC diagnostic pop
}

/* A number from the environment; what is none is reported. */
static void read_number(const char *variable, atomic_size_t *number)
{
	const char *text = secure_getenv(variable);
	unsigned long long value;
	char *end;
	int saved_errno = errno;

	if (!text || !*text)
		return;
	errno = 0;
	value = strtoull(text, &end, 10);
	if (text[strspn(text, "0123456789")] || errno || value > SIZE_MAX)
		complain(variable, "is ignored: it is no number");
	else
		atomic_store_explicit(number, (size_t)value,
				      memory_order_relaxed);
	errno = saved_errno;
}

static bool is_glibc(void)
{
	int answer = atomic_load_explicit(&allocator, memory_order_acquire);

	if (answer == NOT_LOOKED) {
		page_size = (size_t)sysconf(_SC_PAGESIZE);
		read_number(COUNT_VARIABLE, &threshold);
		read_number(MAX_VARIABLE, &most);
		answer = finds_glibc() ? GLIBC : OTHER;
		atomic_store_explicit(&allocator, answer,
				      memory_order_release);
	}
	return answer == GLIBC;
}

/*
 * Whether glibc has given the block a mapping of its own: it begins 16 bytes after
 * the start of a page, and what may be used ends where a page does (2.36) or 8
 * bytes before (2.44).
 *
 *	| 16 |           usable            | 0 or 8 |
 *	+----+-----------------------------+--------+
 *	page						page
 *
 * A block of the heap can look so by chance, if it has whole pages.  An aligned one
 * (posix_memalign() and such) begins later in its page, and is left alone.
 */
static bool is_mapped(const void *block, size_t usable)
{
	const uintptr_t start = (uintptr_t)block, mask = page_size - 1;

	return (start & mask) == 16 && (-(start + usable) & mask) <= 8;
}

/* How many blocks have a mapping of their own. */
static size_t count_mapped(void)
{
	/* mallinfo2() is younger, and this number fits. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
	const struct mallinfo info = mallinfo();
#pragma GCC diagnostic pop

	return info.hblks < 0 ? SIZE_MAX : (size_t)info.hblks;
}

static bool has_many(uintmax_t call)
{
	static atomic_uintmax_t next;	/* call at which they are counted */
	uintmax_t due = atomic_load_explicit(&next, memory_order_relaxed), again;
	size_t count, limit;

	if (atomic_load_explicit(&many, memory_order_relaxed))
		return true;
	if (call < due)
		return false;
	/* The others go on; a child that is made meanwhile will count. */
	again = call + CALLS_PER_COUNT;
	if (!atomic_compare_exchange_strong_explicit(&next, &due, again,
						     memory_order_relaxed,
						     memory_order_relaxed))
		return false;
	limit = atomic_load_explicit(&threshold, memory_order_relaxed);
	count = count_mapped();
	atomic_store_explicit(&last_count, count, memory_order_relaxed);
	atomic_fetch_add_explicit(&counts, 1, memory_order_relaxed);
	if (count >= limit) {
		atomic_store_explicit(&many, true, memory_order_relaxed);
		return true;
	}
	/* Unless another has counted by now. */
	if ((limit - count) / 2 > CALLS_PER_COUNT)
		atomic_compare_exchange_strong_explicit(&next, &again,
							call + (limit - count) / 2,
							memory_order_relaxed,
							memory_order_relaxed);
	return false;
}

/* The grown block; NULL if it is not to be copied, and is as it was. */
static void *grow_by_copy(void *block, size_t size)
{
	const int saved_errno = errno;
	const size_t usable = malloc_usable_size(block);
	void *copy;

	/* What fits or shrinks stays where it is. */
	if (size <= usable ||
	    usable > atomic_load_explicit(&most, memory_order_relaxed) ||
	    !is_mapped(block, usable) ||
	    !has_many(atomic_fetch_add_explicit(&calls, 1,
						memory_order_relaxed)))
		return NULL;
	copy = malloc(size);
	if (copy) {
		memcpy(copy, block, usable);
		free(block);
		atomic_fetch_add_explicit(&copies, 1, memory_order_relaxed);
		atomic_fetch_add_explicit(&copied_bytes, usable,
					  memory_order_relaxed);
	}
	/* mremap() may still find room; if not, the error is its. */
	errno = saved_errno;
	return copy;
}

__attribute__((visibility("default")))
void *realloc(void *block, size_t size)
{
	realloc_function *next;
	void *copy;

	if (!is_relocated())
		return NULL;
	if (block && size && (read_environment() & REALLOC) && is_glibc()) {
		copy = grow_by_copy(block, size);
		if (copy)
			return copy;
	}
	next = find_next();
	if (!next) {
		errno = ENOMEM;
		return NULL;
	}
	return next(block, size);
}

__attribute__((destructor))
static void report(void)
{
	char text[320];

	if (!(read_environment() & REPORT) || !(read_environment() & REALLOC))
		return;
	if (!is_glibc()) {
		complain("realloc()", "is not that of glibc, and was left alone");
		return;
	}
	snprintf(text, sizeof(text),
		 "in process %ld: %" PRIuMAX " calls let a block with a mapping of its own grow, %"
		 PRIuMAX " of them by copying, %" PRIuMAX " bytes; blocks were counted %"
		 PRIuMAX " times, and were %zu at last",
		 (long)getpid(), atomic_load(&calls), atomic_load(&copies),
		 atomic_load(&copied_bytes), atomic_load(&counts),
		 atomic_load(&last_count));
	complain("realloc()", text);
}

#endif /* __GLIBC__ */

/* At the start, before the program can change its environment. */
__attribute__((constructor))
static void start(void)
{
	const int bits = read_environment();

#ifdef __GLIBC__
	find_next();
	if (bits & REALLOC)
		is_glibc();
#else
	(void)bits;
#endif
}
