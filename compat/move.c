/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Relocation by the methods UFFD_MOVE and COPY, in a thread of its own (apart.c).
 *
 * A mapping of memory that was never written has no past: where it is moved, it
 * is as if it had been mapped there, and with everything that belongs to a
 * mapping (protection, flags, advice, name, policy), much of which could not be
 * read, let alone set. So the mapping is emptied first, which
 * MREMAP_DONTUNMAP does; it leaves a mapping of which all has been moved as if
 * never written. The range may be a part of a mapping, which would remember
 * the rest; hence twice:
 *
 *	old          shell         pages         target
 *	[pages]                                              at first
 *	[empty] ---> [pages]                                 1st DONTUNMAP
 *	[empty]      [empty] ----> [pages]                   2nd: shell is clean
 *	[empty]        `--------------------->   [empty]     moves, may merge
 *	[empty]                    [empty] --->  [pages]     UFFDIO_MOVE or copy
 *	                                         [pages]     rest unmapped
 *
 * To relocate a mapping where it is, "old" is the target, too: the shell takes its
 * place, and the pages come back. (So one of the two moves is a plain one.)
 *
 * "old" stays mapped until the pages are in their place, so that nobody else
 * gets its addresses and they can be brought back until then. A place that is
 * not fixed is found by the kernel in the call that moves something there, with
 * a hint, so that nothing of another thread's is ever mapped over.
 */

#define _GNU_SOURCE
#include "internal.h"
#include "maps.h"

#include <limits.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <time.h>

/* ---- interfaces that older headers lack ---------------------------------- */

#ifndef SYS_userfaultfd
# error "no userfaultfd"
#endif
#ifndef MADV_POPULATE_READ
# define MADV_POPULATE_READ 22
#endif
#ifndef MADV_POPULATE_WRITE
# define MADV_POPULATE_WRITE 23
#endif
#ifndef MADV_GUARD_REMOVE
# define MADV_GUARD_REMOVE 103
#endif
#ifndef MAP_FIXED_NOREPLACE
# define MAP_FIXED_NOREPLACE 0x100000
#endif

/* As linux/userfaultfd.h of Linux 6.8, which has UFFDIO_MOVE. */
struct uffd_range {
	uint64_t start, len;
};

struct uffd_api {
	uint64_t api, features, ioctls;
};

struct uffd_register {
	struct uffd_range range;
	uint64_t mode, ioctls;
};

struct uffd_move {
	uint64_t dst, src, len, mode;
	int64_t move;		/* bytes, or minus an error number */
};

#define UFFD_USER_MODE_ONLY 1
#define UFFD_API 0xAA
#define UFFD_FEATURE_MOVE ((uint64_t)1 << 16)
#define UFFD_REGISTER_MISSING ((uint64_t)1 << 0)
#define UFFD_MOVE_ALLOW_SRC_HOLES ((uint64_t)1 << 1)
#define UFFD_IOCTL_API _IOWR(0xAA, 0x3F, struct uffd_api)
#define UFFD_IOCTL_REGISTER _IOWR(0xAA, 0x00, struct uffd_register)
#define UFFD_IOCTL_UNREGISTER _IOR(0xAA, 0x01, struct uffd_range)
#define UFFD_IOCTL_MOVE _IOWR(0xAA, 0x05, struct uffd_move)
#define UFFD_IOCTL_NEW _IO(0xAA, 0x00)		/* of /dev/userfaultfd */

/* As linux/fs.h of Linux 6.7, which has PAGEMAP_SCAN, an ioctl of pagemap. */
struct page_region {
	uint64_t start, end, categories;
};

struct pm_scan_arg {
	uint64_t size, flags, start, end, walk_end, vec, vec_len, max_pages;
	uint64_t category_inverted, category_mask, category_anyof_mask;
	uint64_t return_mask;
};

#define PM_SCAN_IOCTL _IOWR('f', 16, struct pm_scan_arg)
#define PM_PRESENT ((uint64_t)1 << 3)
#define PM_SWAPPED ((uint64_t)1 << 4)	/* also whatever else is in a page table */
#define PM_PFNZERO ((uint64_t)1 << 5)

/* /proc/PID/pagemap */
#define PAGEMAP_PRESENT ((uint64_t)1 << 63)
#define PAGEMAP_SWAPPED ((uint64_t)1 << 62)
#define PAGEMAP_GUARD ((uint64_t)1 << 58)
#define PAGEMAP_EXCLUSIVE ((uint64_t)1 << 56)	/* mapped once */

/*
 * How often UFFDIO_MOVE is tried again when it gets nowhere (EAGAIN). Early
 * kernels could say so for ever.
 */
#define MOVE_TRIES 64

/* How often for another place, when another thread has got into it. */
#define PLACE_TRIES 64

/*
 * The memory that a page table maps, and a huge page. Between places that are alike
 * modulo this, both move at once.
 */
static size_t table_size(void)
{
	const size_t page = mc_page_size();

	return page / 8 * page;
}

/*
 * UFFDIO_MOVE and mremap() of other memory by another thread can deadlock, and two
 * processors of the machine with them, if they move between the same two page
 * tables: UFFDIO_MOVE takes their locks in another order, and waits for no
 * mmap_lock (Linux 6.9 to 7.3, where kernel/ has a fix). The same goes for two
 * tables of the next level when a huge page moves as a whole. So one of the two is
 * for the pages alone: what UFFDIO_MOVE takes them from is a multiple of this,
 * mapped by the call, and nobody else's. (A 32-bit kernel can have tables of twice
 * the size.) If there is not so much address space for huge pages, they are split.
 */
static size_t tables_apart(bool split)
{
	return split ? 2 * table_size() : table_size() * (mc_page_size() / 8);
}

/*
 * Of powerpc page tables several share a lock; those of s390 are of other sizes.
 */
#if defined(__powerpc__) || defined(__s390__)
# define UFFD_MOVE_SAFE false
#else
# define UFFD_MOVE_SAFE true
#endif

/*
 * UFFDIO_MOVE goes page by page through a hole, and makes page tables for it. A
 * hole of so many pages is left out, at the price of one more system call.
 */
#define HOLE_PAGES 16

struct job {
	const struct mc_move *move;
	struct mc_move own;	/* that, if the target is old */
	size_t size;		/* of what moves, the smaller of both */
	size_t done;		/* of it is at the target (UFFD_MOVE) */
	bool here;		/* the target is old (UFFD_MOVE only) */
	bool split;		/* no huge page moves as a whole (UFFD_MOVE) */
	bool lost_place;	/* another thread got into it */
	bool in_use;		/* something was mapped at a fixed target */
	/*
	 * Mappings, NULL if there is none: those of the picture, and where a
	 * target in use waits that must be kept if something fails.
	 */
	char *shell, *pages, *target, *aside;
	int prot, aside_prot;	/* of old, and of what was put aside */
	/* Around shell and pages, see find_places(); size 0: none */
	struct {
		char *start;
		size_t size;
	} guard[3];
	int fd;			/* UFFD_MOVE: userfaultfd; -1: none */
	struct mremap_compat_handle *handle;	/* whose thread runs it, or NULL */
	int kept;		/* that of the handle; -1: none */
	int pagemap;		/* of /proc/thread-self; -1: none */
	enum mremap_compat_method method;
	bool begun;		/* to move pages (UFFD_MOVE) */
	bool stuck;		/* registered until the descriptor is closed */
	size_t moved;		/* bytes that UFFDIO_MOVE was asked for */
	/* NOT_TRIED until the move has been made or undone */
	enum mremap_compat_reason reason;
	void *result;
};

static enum mremap_compat_reason reason_of(int err)
{
	switch (err) {
	case ENOSYS:
	case ENOENT:
	case ENXIO:
	case ENODEV:
		return MREMAP_COMPAT_NOT_SUPPORTED;
	case EPERM:
	case EACCES:
		return MREMAP_COMPAT_FORBIDDEN;
	case ENOMEM:
	case EMFILE:
	case ENFILE:
	case EAGAIN:
		return MREMAP_COMPAT_NO_RESOURCES;
	case EBUSY:
	case EEXIST:
		return MREMAP_COMPAT_BUSY;
	default:
		return MREMAP_COMPAT_UNSUITABLE;
	}
}

/* ---- which pages exist ----------------------------------------------------- */

/*
 * pread(2); on 32 bits its system call has as many forms as there are processors,
 * that of preadv(2) has one.
 */
static long read_at(int fd, void *to, size_t size, uint64_t offset)
{
	struct iovec part = { to, size };

	return syscall(SYS_preadv, (long)fd, &part, 1L, (unsigned long)offset,
		       (unsigned long)(offset >> 32));
}

/* On a signal handler's stack, too: no larger, and never two walks at once. */
#define REGIONS 16
#define ENTRIES 48

/*
 * A walk through the pages that exist: what PAGEMAP_SCAN found and is still to be
 * told, or where the kernel lacks it, entries of pagemap. The one takes as long as
 * there are page tables, the other as there are addresses.
 */
struct walk {
	int pagemap;
	uintptr_t at, end;	/* is still to be looked at */
	bool entries;		/* no PAGEMAP_SCAN */
	bool swapped;		/* leave out what is present */
	size_t next, count;	/* of those below */
	uintptr_t base;		/* address of the first entry */
	struct page_region region[REGIONS];
	uint64_t entry[ENTRIES];
};

/* Not a value to be returned, which takes the stack twice without optimization. */
static void start_walk(struct walk *w, int pagemap, char *start, size_t size)
{
	w->pagemap = pagemap;
	w->at = (uintptr_t)start;
	w->end = (uintptr_t)start + size;
	w->entries = w->swapped = false;
	w->next = w->count = 0;
	w->base = 0;
}

/* Looks further. Returns false, with errno, if it cannot. */
static bool scan_regions(struct walk *w)
{
	struct pm_scan_arg scan = {
		.size = sizeof(scan), .start = w->at, .end = w->end,
		.vec = (uintptr_t)w->region, .vec_len = REGIONS,
		.category_inverted = PM_PFNZERO, .category_mask = PM_PFNZERO,
		.category_anyof_mask = w->swapped ? PM_SWAPPED :
				       PM_PRESENT | PM_SWAPPED,
		/* One that no page has: all are alike. */
		.return_mask = PM_PFNZERO,
	};
	const int count = mc_ioctl(w->pagemap, PM_SCAN_IOCTL, &scan);

	if (count < 0 || count > REGIONS || scan.walk_end <= w->at)
		return false;
	w->at = (uintptr_t)scan.walk_end;
	w->next = 0;
	w->count = (size_t)count;
	return true;
}

/* Entries of so many pages, or of as many as there is room for; 0 with errno. */
static size_t read_entries_of(struct walk *w, uintptr_t start, size_t n)
{
	const size_t size = sizeof(*w->entry);
	long got;

	if (n > ENTRIES)
		n = ENTRIES;
	got = read_at(w->pagemap, w->entry, n * size,
		      (uint64_t)(start / mc_page_size()) * size);
	if (got == (long)(n * size))
		return n;
	errno = got < 0 ? errno : EIO;
	return 0;
}

static bool read_entries(struct walk *w)
{
	const size_t page = mc_page_size();
	const size_t n = read_entries_of(w, w->at, (w->end - w->at) / page);

	if (!n)
		return false;
	w->base = w->at;
	w->at += n * page;
	w->next = 0;
	w->count = n;
	return true;
}

static bool entry_exists(const struct walk *w, size_t i)
{
	return w->entry[i] & (PAGEMAP_PRESENT | PAGEMAP_SWAPPED);
}

/*
 * The next pages that exist and are not known to be that of zeros, which a hole
 * reads like. Returns 1; 0 if there are no more; or -1 with errno.
 */
static int next_run(struct walk *w, char **start, size_t *size)
{
	const size_t page = mc_page_size();
	size_t first;

	for (;;) {
		if (w->next == w->count) {
			if (w->at >= w->end)
				return 0;
			if (!w->entries && !scan_regions(w))
				w->entries = true;
			if (w->entries && !read_entries(w))
				return -1;
			continue;
		}
		first = w->next++;
		if (!w->entries) {
			const struct page_region *r = &w->region[first];

			*start = (char *)(uintptr_t)r->start;
			*size = (size_t)(r->end - r->start);
			return 1;
		}
		if (!entry_exists(w, first))
			continue;
		while (w->next < w->count && entry_exists(w, w->next))
			w->next++;
		*start = (char *)(w->base + first * page);
		*size = (w->next - first) * page;
		return 1;
	}
}

/*
 * Whether there are guard pages (MADV_GUARD_INSTALL, Linux 6.13), which no method
 * here can move. Found out by the move itself it would be late: the mark of having
 * such pages, which never goes (since Linux 6.18), would pass from the shell to the
 * target's neighbours. PAGEMAP_SCAN takes them for swapped; pagemap knows better
 * (since 6.15). Where neither can tell, the move fails on its way.
 */
static bool has_guard(int pagemap, char *start, size_t size)
{
	const size_t page = mc_page_size();
	struct walk swapped;
	char *run;
	size_t n, got;

	start_walk(&swapped, pagemap, start, size);
	swapped.swapped = true;
	if (!scan_regions(&swapped))
		return false;
	while (!swapped.entries && next_run(&swapped, &run, &n) > 0) {
		for (; n; n -= got * page, run += got * page) {
			got = read_entries_of(&swapped, (uintptr_t)run, n / page);
			if (!got)
				break;
			for (size_t i = 0; i < got; i++)
				if (swapped.entry[i] & PAGEMAP_GUARD)
					return true;
		}
	}
	return false;
}

/* ---- copying -------------------------------------------------------------- */

/* One call can read less, as it does from 2 GiB on. Returns 0 or an error number. */
static int read_all(int fd, char *to, size_t size, uintptr_t offset)
{
	long got;

	for (; size; size -= (size_t)got, to += got, offset += (size_t)got) {
		got = read_at(fd, to, size, offset);
		if (got <= 0)
			return EIO;
	}
	return 0;
}

/*
 * Copy the pages that exist from one place to another, of size bytes. Reads by
 * way of /proc/thread-self/mem, where a guard page or a broken one is an error
 * and no signal. Returns 0 or an error number.
 */
static int copy_pages(int pagemap, char *to, char *from, size_t size)
{
	struct walk walk;
	int memory, found, err = 0;
	bool checked = false;
	char *run, byte;
	size_t n;

	memory = mc_open("/proc/thread-self/mem", O_RDONLY);
	if (memory < 0)
		return errno;
	start_walk(&walk, pagemap, from, size);
	while (!err && (found = next_run(&walk, &run, &n))) {
		if (found < 0)
			err = errno;
		/*
		 * A userfaultfd of the program's can have followed the moves. Then
		 * each write to the target would wait for an answer that perhaps
		 * nobody gives; but this way does not wait for one, it fails.
		 */
		else if (!checked && read_at(memory, &byte, 1, (uintptr_t)to +
					     (uintptr_t)(run - from)) != 1)
			err = EINVAL;
		else
			err = read_all(memory, to + (run - from), n,
				       (uintptr_t)run);
		checked = true;
	}
	mc_close(memory);
	return err;
}

/*
 * The last resort: copy what is not 0 (a page that is not there reads as 0),
 * between mappings that are readable and writable.
 */
static void save_contents(char *to, const char *from, size_t size)
{
	const size_t page = mc_page_size();

	for (size_t i = 0; i < size; i += page)
		if (from[i] || memcmp(from + i, from + i + 1, page - 1))
			memcpy(to + i, from + i, page);
}

/* ---- userfaultfd ---------------------------------------------------------- */

static bool uffd_register(int fd, char *start, size_t size)
{
	struct uffd_register request = {
		.range = { (uintptr_t)start, size },
		.mode = UFFD_REGISTER_MISSING,
	};

	return mc_ioctl(fd, UFFD_IOCTL_REGISTER, &request) == 0;
}

static bool uffd_unregister(int fd, char *start, size_t size)
{
	struct uffd_range range = { (uintptr_t)start, size };

	return mc_ioctl(fd, UFFD_IOCTL_UNREGISTER, &range) == 0;
}

enum mremap_compat_reason mc_uffd_open(int *result)
{
	struct uffd_api api = { .api = UFFD_API, .features = UFFD_FEATURE_MOVE };
	int fd, err;

	*result = -1;
	if (!UFFD_MOVE_SAFE)
		return MREMAP_COMPAT_NOT_SUPPORTED;
	fd = (int)syscall(SYS_userfaultfd, (long)(O_CLOEXEC | O_NONBLOCK |
						  UFFD_USER_MODE_ONLY));
	if (fd < 0) {
		int device;

		err = errno;
		if (err != EPERM && err != EACCES && err != ENOSYS)
			return err == EINVAL ? MREMAP_COMPAT_NOT_SUPPORTED :
					       reason_of(err);
		/* Who may open the device may do so where the call is barred. */
		device = mc_open("/dev/userfaultfd", O_RDWR);
		if (device < 0)
			return reason_of(errno == EMFILE || errno == ENFILE ?
					 errno : err);
		fd = mc_ioctl(device, UFFD_IOCTL_NEW,
			      (void *)(uintptr_t)(O_CLOEXEC | O_NONBLOCK |
						  UFFD_USER_MODE_ONLY));
		if (fd < 0 && (errno == EMFILE || errno == ENFILE ||
			       errno == ENOMEM))
			err = errno;
		mc_close(device);
		if (fd < 0)
			return reason_of(err);
	}
	if (mc_ioctl(fd, UFFD_IOCTL_API, &api)) {
		err = errno;
		mc_close(fd);
		return err == EINVAL ? MREMAP_COMPAT_NOT_SUPPORTED :
				       reason_of(err);
	}
	*result = fd;
	return MREMAP_COMPAT_USED;
}

/*
 * What closing took the last time, by the measure of the table of costs: its ratio
 * to what all the rest took, which is in the table. 0: not known.
 */
static atomic_uint closing_cost;

static uint64_t processor_time(void)
{
	struct timespec t;

	if (clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t))
		return 0;
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static void uffd_close(int fd, uint64_t begin, size_t size)
{
	const uint64_t middle = processor_time();
	uint64_t closing, most;

	mc_close(fd);
	closing = processor_time() - middle;
	if (middle <= begin)
		return;
	closing = closing * mc_cost_of_move(size) / (middle - begin);
	/* Not all at once: this call may have been interrupted. */
	most = 4 * (uint64_t)mc_closing_cost() + 10000;
	if (closing > most)
		closing = most;
	atomic_store_explicit(&closing_cost, closing < UINT_MAX ?
			      (unsigned int)closing : UINT_MAX,
			      memory_order_relaxed);
}

unsigned int mc_closing_cost(void)
{
	return atomic_load_explicit(&closing_cost, memory_order_relaxed);
}

void mc_doubt_closing_cost(void)
{
	const unsigned int cost = mc_closing_cost();

	atomic_store_explicit(&closing_cost, cost - cost / 1024 - !!cost,
			      memory_order_relaxed);
}

/* Whether a page is mapped elsewhere, too; also if that cannot be found out. */
static bool is_shared(int pagemap, char *start)
{
	const size_t page = mc_page_size();
	const uint64_t wanted = PAGEMAP_PRESENT | PAGEMAP_EXCLUSIVE;
	uint64_t entry = 0;

	/* In swap, it is not known. */
	madvise(start, page, MADV_POPULATE_READ);
	return read_at(pagemap, &entry, sizeof(entry), (uint64_t)
		       ((uintptr_t)start / page) * sizeof(entry)) !=
	       sizeof(entry) || (entry & wanted) != wanted;
}

/*
 * UFFDIO_MOVE from *done up to size, to a place that is registered. *done counts what
 * has moved, also if it stops early or a filter ends the thread. Returns 0 or an error
 * number.
 */
static int move_pages(const struct job *job, char *to, char *from, size_t size,
		      size_t *done)
{
	const size_t page = mc_page_size();
	const size_t most = job->split ? table_size() / 2 : SIZE_MAX;
	size_t unshared = SIZE_MAX;
	int tries = 0;

	while (*done < size) {
		struct uffd_move request = {
			.dst = (uintptr_t)(to + *done),
			.src = (uintptr_t)(from + *done),
			.len = size - *done < most ? size - *done : most,
			.mode = UFFD_MOVE_ALLOW_SRC_HOLES,
		};
		int err;

		if (!mc_ioctl(job->fd, UFFD_IOCTL_MOVE, &request)) {
			*done += request.len;
			tries = 0;
			continue;
		}
		err = errno;
		/* EAGAIN also says that some have moved. */
		if (request.move > 0 &&
		    (uint64_t)request.move <= size - *done) {
			*done += (size_t)request.move;
			tries = 0;
			continue;
		}
		if (err == EBUSY && *done != unshared) {
			/*
			 * Shared since fork(), or by KSM: a write fault gives
			 * us a page of our own. If that does not help, it is
			 * pinned. It takes memory, which is no gain where it
			 * only is to merge.
			 */
			if (job->here && is_shared(job->pagemap, from + *done))
				return EBUSY;
			unshared = *done;
			if (madvise(from + *done, page, MADV_POPULATE_WRITE))
				return errno == ENOMEM ? ENOMEM : EBUSY;
			continue;
		}
		if (err != EAGAIN || ++tries == MOVE_TRIES)
			return err == EAGAIN ? EBUSY : err;
		sched_yield();
	}
	return 0;
}

/*
 * UFFDIO_MOVE of what exists in size bytes. *done: nothing behind it has moved.
 * Returns 0 or an error number.
 */
static int move_existing(struct job *job, char *to, char *from,
			 size_t size, size_t *done)
{
	struct walk walk;
	size_t begin = 0, end = 0, n;
	int found, err;
	char *run;

	*done = 0;
	start_walk(&walk, job->pagemap, from, size);
	do {
		/* Within so few page tables it need not be known. */
		found = size > table_size() ? next_run(&walk, &run, &n) : -1;
		if (found < 0) {
			end = size;	/* all the rest */
		} else if (found && (size_t)(run - from) - end <
			   HOLE_PAGES * mc_page_size()) {
			end = (size_t)(run - from) + n;
			continue;
		}
		if (begin < end) {
			*done = begin;
			job->moved += end - begin;
			err = move_pages(job, to, from, end, done);
			if (err)
				return err;
		}
		if (found > 0) {
			begin = (size_t)(run - from);
			end = begin + n;
		}
	} while (found > 0);
	return 0;
}

/* The pages that UFFDIO_MOVE has brought to the target go back. */
static void move_pages_back(struct job *job)
{
	size_t back = 0;

	if (!job->done)
		return;
	if (uffd_register(job->fd, job->pages, job->size)) {
		move_existing(job, job->pages, job->target, job->done, &back);
		if (!uffd_unregister(job->fd, job->pages, job->size))
			job->stuck = true;
	}
	/* They have just been moved: only a lack of memory is in the way. */
	save_contents(job->pages + back, job->target + back, job->done - back);
	job->done = 0;
}

/* ---- places --------------------------------------------------------------- */

/*
 * MREMAP_DONTUNMAP unlocks all of a locked mapping, also outside the range, and
 * nothing could undo that. msync() refuses to invalidate what is locked, and for
 * anonymous memory that is all it does.
 */
static int check_lock(char *start)
{
	if (!syscall(SYS_msync, start, mc_page_size(), (long)MS_INVALIDATE))
		return 0;
	if (errno == EBUSY)
		errno = EINVAL;
	return -1;
}

static void unmap(char **start, size_t size)
{
	if (*start)
		munmap(*start, size);
	*start = NULL;
}

static void *reserve(char *start, size_t size, int flags)
{
	return mmap(start, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS |
		    MAP_NORESERVE | flags, -1, 0);
}

/* Whether a place is in that of a fixed target, which is to be mapped over. */
static bool in_target(const struct job *job, const char *start, size_t size)
{
	const struct mc_move *m = job->move;
	const uintptr_t a = (uintptr_t)start, b = (uintptr_t)m->to;

	return m->fixed && a < b + m->new_size && b < a + size;
}

static void release_guards(struct job *job)
{
	for (int i = 0; i < 3; i++) {
		if (job->guard[i].size)
			munmap(job->guard[i].start, job->guard[i].size);
		job->guard[i].size = 0;
	}
}

/*
 * Move what is at "from" and leave an empty mapping there; the place, which is
 * a hint, is for the kernel to find. Returns NULL with errno if it cannot.
 */
static char *move_out(char *from, size_t size, char *hint)
{
	const uintptr_t a = (uintptr_t)from, b = (uintptr_t)hint;
	char *to;

	/* A hint that overlaps is an error, NULL at low addresses, too. */
	if (a < b + size && b < a + size)
		hint = from + size;
	to = mc_mremap(from, size, size, MREMAP_MAYMOVE | MREMAP_DONTUNMAP,
		       hint);
	return to == MAP_FAILED ? NULL : to;
}

static int prot_of(const struct maps_entry *entry)
{
	return (entry->read ? PROT_READ : 0) | (entry->write ? PROT_WRITE : 0) |
	       (entry->exec ? PROT_EXEC : 0);
}

/*
 * What is mapped at the target moves elsewhere, and an empty mapping stays.
 * Returns 0 or an error number.
 */
static int put_target_aside(struct job *job)
{
	const struct mc_move *m = job->move;
	struct maps_entry entry;
	bool anonymous;
	int found;

	found = maps_find((uintptr_t)m->to, &entry, &anonymous);
	if (found < 0)
		return errno;
	if (!found || !anonymous ||
	    entry.end - (uintptr_t)m->to < m->new_size)
		return EINVAL;
	if (check_lock(m->to))
		return errno;
	job->aside_prot = prot_of(&entry);
	job->aside = move_out(m->to, m->new_size, NULL);
	return job->aside ? 0 : errno;
}

/*
 * Hints for shell and pages, apart from each other and from all else: a shell
 * that merged with another mapping would not be clean, as only a part of it
 * would be emptied.
 *
 *	guard[0]   shell   guard[1]   pages   guard[2]
 *	                         `-- tables_apart() --'
 *
 * The middle one is three mappings, so that bringing back cannot fail for want of
 * mappings (but for other threads): they are given up before, and the kernel
 * wants at most three more free ones for it than it did for the last of the
 * moves that got us there (the target is two more when it has been cut out of
 * another mapping, and kernels before 6.17 want two more with MREMAP_FIXED).
 * Returns 0 or an error number.
 */
static int find_places(struct job *job, char **shell, char **pages)
{
	const size_t page = mc_page_size();
	const size_t align = job->size >= table_size() ? table_size() : page;
	const size_t apart = job->fd >= 0 ? tables_apart(job->split) : page;
	const uintptr_t like = (uintptr_t)job->move->old;
	const size_t rest = 2 * align + 2 * apart + 5 * page;
	size_t total;
	char *area, *other;
	int err;

	if (job->size > (SIZE_MAX - rest) / 2)
		return ENOMEM;
	total = 2 * job->size + rest;
	area = reserve(NULL, total, 0);
	if (area != MAP_FAILED && in_target(job, area, total)) {
		/* In a hole of a target in use: elsewhere, then. */
		other = reserve(NULL, total, 0);
		munmap(area, total);
		area = other;
	}
	/* EAGAIN: after mlockall(MCL_FUTURE), the limit of locked memory */
	if (area == MAP_FAILED && job->fd >= 0 && !job->split &&
	    (errno == ENOMEM || errno == EAGAIN)) {
		job->split = true;
		return find_places(job, shell, pages);
	}
	if (area == MAP_FAILED)
		return errno;
	if (in_target(job, area, total)) {
		munmap(area, total);
		return EINVAL;
	}
	*shell = area + page;
	*shell += (like - (uintptr_t)*shell) & (align - 1);
	*pages = *shell + job->size + 3 * page;
	*pages += -(uintptr_t)*pages & (apart - 1);
	*pages += (like - (uintptr_t)*pages) & (align - 1);

	job->guard[0].start = area;
	job->guard[0].size = (size_t)(*shell - area);
	/* All the rest, until the other hole is made. */
	job->guard[1].start = *shell + job->size;
	job->guard[1].size = (size_t)(area + total - job->guard[1].start);
	err = mprotect(job->guard[1].start + page, page, PROT_READ) ? errno : 0;
	/* Now that there are mappings to spare, and no holes to get into yet. */
	if (!err && job->in_use && job->move->keep_target)
		err = put_target_aside(job);
	if (!err && munmap(*shell, job->size))
		err = errno;
	if (err) {
		munmap(area, total);
		memset(job->guard, 0, sizeof(job->guard));
		return err;
	}
	if (munmap(*pages, job->size))
		return errno;
	job->guard[1].size = (size_t)(*pages - job->guard[1].start);
	job->guard[2].start = *pages + job->size;
	job->guard[2].size = (size_t)(area + total - job->guard[2].start);
	return 0;
}

/*
 * Map something at the place of the target, so that nothing else gets there. If
 * it is in use that is not needed. Returns 0 or an error number.
 */
static int keep_room(struct job *job)
{
	const struct mc_move *m = job->move;
	char *room;

	/* If not fixed, it goes where a mapping of its size goes: by others. */
	room = reserve(m->to, m->new_size, m->fixed ? MAP_FIXED_NOREPLACE : 0);
	if (room != MAP_FAILED && m->fixed && room != m->to) {
		/* An emulator that does not know NOREPLACE */
		munmap(room, m->new_size);
		room = MAP_FAILED;
		errno = EEXIST;
	}
	if (room != MAP_FAILED)
		job->target = room;
	else if (m->fixed && errno == EEXIST)
		job->in_use = true;
	else
		return errno;
	return 0;
}

/*
 * The empty shell becomes the mapping at the target, of its final size. Returns
 * 0 or an error number.
 */
static int move_shell(struct job *job)
{
	const struct mc_move *m = job->move;
	char *room = job->target;

	if (m->fixed) {
		if (mc_mremap(job->shell, job->size, m->new_size,
			      MREMAP_MAYMOVE | MREMAP_FIXED, m->to) ==
		    MAP_FAILED)
			return errno;
		job->shell = NULL;
		job->target = m->to;
		return 0;
	}
	unmap(&job->target, m->new_size);
	job->target = move_out(job->shell, job->size, room);
	if (!job->target)
		return errno;
	unmap(&job->shell, job->size);
	if (m->new_size > job->size &&
	    mc_mremap(job->target, job->size, m->new_size, 0, NULL) ==
	    MAP_FAILED) {
		int err = errno;

		unmap(&job->target, job->size);
		return err;
	}
	return 0;
}

/*
 * Empty the mapping and have a shell of it. Returns 0 or an error number, with what
 * there is by then in *job.
 */
static int make_places(struct job *job)
{
	char *shell = NULL, *pages = NULL;
	int err;

	job->lost_place = false;
	err = find_places(job, &shell, &pages);
	if (err)
		return err;
	job->shell = move_out(job->move->old, job->size, shell);
	if (!job->shell)
		return errno;
	job->pages = move_out(job->shell, job->size, pages);
	if (!job->pages)
		return errno;
	/* Another thread may have taken the places meant for them. */
	job->lost_place = in_target(job, job->shell, job->size) ||
			  in_target(job, job->pages, job->size) ||
			  (job->fd >= 0 && job->pages != pages);
	return job->lost_place ? EAGAIN : 0;
}

/* A mapping, if there is one, goes back to the place that was kept for it. */
static void put_back(char **from, size_t size, char *to, int prot)
{
	if (!*from)
		return;
	if (mc_mremap(*from, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, to) !=
	    MAP_FAILED) {
		*from = NULL;
		return;
	}
	/*
	 * Other threads have used up the mappings or the memory. What counts
	 * are the contents. The kernel can have unmapped the place by now (if
	 * another thread has mapped something there since, that is lost).
	 */
	mmap(to, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS |
	     MAP_FIXED_NOREPLACE, -1, 0);
	if (mprotect(to, size, PROT_READ | PROT_WRITE) ||
	    mprotect(*from, size, PROT_READ | PROT_WRITE))
		return;
	madvise(*from, size, MADV_GUARD_REMOVE);
	save_contents(to, *from, size);
	mprotect(to, size, prot);
	unmap(from, size);
}

/* What make_places() has made goes; the pages are where they were. */
static void undo_places(struct job *job)
{
	char **pages = job->pages ? &job->pages : &job->shell;

	release_guards(job);
	if (job->pages)
		unmap(&job->shell, job->size);
	put_back(pages, job->size, job->move->old, job->prot);
	put_back(&job->aside, job->move->new_size, job->move->to,
		 job->aside_prot);
}

/* make_places(), again if another thread has got into one of them. */
static int take_places(struct job *job)
{
	int err, tries = PLACE_TRIES;

	while ((err = make_places(job)) && job->lost_place && --tries) {
		undo_places(job);
		if (job->shell || job->pages || job->aside)
			break;
	}
	return err;
}

/* All that has been made goes. */
static void bring_back(struct job *job)
{
	move_pages_back(job);
	/*
	 * A target that was in use is left to aside, or to the next method, and
	 * is empty until then: a hole could become another thread's.
	 */
	if (!job->in_use)
		unmap(&job->target, job->move->new_size);
	undo_places(job);
}

/* ---- the move ------------------------------------------------------------- */

static enum mremap_compat_reason check_mapping(struct job *job)
{
	const struct mc_move *m = job->move;
	const uint64_t start = (uintptr_t)m->old;
	struct maps_entry entry;
	bool anonymous;
	int found;

	found = maps_find(start, &entry, &anonymous);
	if (found < 0)
		return reason_of(errno);
	if (!found || !anonymous || !entry.read || !entry.write ||
	    entry.end - start < m->old_size || (m->fixed && !m->to))
		return MREMAP_COMPAT_UNSUITABLE;
	if (check_lock(m->old))
		return reason_of(errno);
	job->prot = prot_of(&entry);
	return MREMAP_COMPAT_USED;
}

static int fill_target(struct job *job)
{
	int err;

	if (job->fd < 0)
		return copy_pages(job->pagemap, job->target, job->pages,
				  job->size);

	/*
	 * All of it, also what has grown: alone that could merge with what another
	 * thread maps and writes behind it meanwhile, and never again with the rest.
	 */
	if (!uffd_register(job->fd, job->target, job->move->new_size))
		return errno;
	job->begun = true;
	err = move_existing(job, job->target, job->pages, job->size,
			    &job->done);
	if (!uffd_unregister(job->fd, job->target, job->move->new_size))
		job->stuck = true;
	return err;
}

/* What it took goes. */
static void end_move(struct job *job)
{
	release_guards(job);
	unmap(&job->pages, job->size);
	unmap(&job->aside, job->move->new_size);
}

static void run(struct job *job)
{
	const struct mc_move *m = job->move;
	int err;

	job->split = sizeof(long) == 4 || job->size < table_size();
	job->in_use = job->here;
	err = job->here ? 0 : keep_room(job);
	if (!err)
		err = take_places(job);
	if (!err)
		err = move_shell(job);
	if (!err)
		err = fill_target(job);
	/* Cutting a mapping in two can fail, too. */
	if (!err && !job->here && munmap(m->old, m->old_size))
		err = errno;
	if (err) {
		bring_back(job);
		job->reason = reason_of(err);
		return;
	}
	job->result = job->target;
	job->reason = MREMAP_COMPAT_USED;
	end_move(job);
}

/* What the thread does. */
static void relocate(void *argument)
{
	struct job *job = argument;
	const uint64_t begin = processor_time();
	enum mremap_compat_reason reason;

	/* No other call is in that thread, nor can lose it. */
	job->kept = job->handle ? mc_handle_fd(job->handle) : -1;
	reason = check_mapping(job);
	if (reason == MREMAP_COMPAT_USED) {
		job->pagemap = mc_open("/proc/thread-self/pagemap", O_RDONLY);
		if (has_guard(job->pagemap, job->move->old, job->size))
			reason = MREMAP_COMPAT_UNSUITABLE;
		else if (job->method == MREMAP_COMPAT_UFFD_MOVE &&
			 job->kept >= 0)
			job->fd = job->kept;
		else if (job->method == MREMAP_COMPAT_UFFD_MOVE)
			reason = mc_uffd_open(&job->fd);
		else if (job->pagemap < 0)
			reason = reason_of(errno);
	}
	if (reason == MREMAP_COMPAT_USED)
		run(job);
	else
		job->reason = reason;
	/* Before the caller is told, not after it as the table is. */
	mc_close(job->pagemap);
	if (job->fd >= 0 && job->fd != job->kept) {
		uffd_close(job->fd, begin, job->moved);
	} else if (job->fd >= 0 && job->stuck) {
		mc_handle_lost_fd(job->handle);
		mc_close(job->fd);
	}
}

enum mremap_compat_reason mc_relocate(struct mremap_compat_handle *handle,
				      enum mremap_compat_method method,
				      const struct mc_move *move,
				      void **result, bool *begun)
{
	struct job job = {
		.move = move, .handle = handle, .fd = -1, .kept = -1,
		.pagemap = -1, .method = method,
	};
	int err;

	job.size = move->old_size < move->new_size ? move->old_size :
						     move->new_size;
	if (!handle || !mc_handle_run(handle, relocate, &job)) {
		job.handle = NULL;
		err = mc_apart(relocate, &job);
		if (err)
			return reason_of(err);
	}
	if (job.reason == MREMAP_COMPAT_NOT_TRIED) {
		/*
		 * A filter has ended the thread for a system call, which was
		 * not made, and so its descriptors have gone. What else there is
		 * stands in the job.
		 */
		job.fd = job.pagemap = -1;
		bring_back(&job);
		job.reason = MREMAP_COMPAT_FORBIDDEN;
	}
	*result = job.result;
	*begun = job.begun;
	return job.reason;
}

/* ---- where it is ------------------------------------------------------------ */

struct here {
	struct job job;
	void (*function)(struct job *job, void *argument);
	void *argument;
	enum mremap_compat_reason reason;	/* NOT_TRIED: has not ended */
};

static void work_here(void *argument)
{
	struct here *here = argument;
	struct job *job = &here->job;
	const uint64_t begin = processor_time();
	enum mremap_compat_reason reason = MREMAP_COMPAT_USED;

	job->pagemap = mc_open("/proc/thread-self/pagemap", O_RDONLY);
	if (job->pagemap < 0)
		reason = reason_of(errno);
	else
		reason = mc_uffd_open(&job->fd);
	if (reason == MREMAP_COMPAT_USED)
		here->function(job, here->argument);
	mc_close(job->pagemap);
	if (job->fd >= 0)
		uffd_close(job->fd, begin, job->moved);
	here->reason = reason;
}

enum mremap_compat_reason mc_here(void (*function)(struct job *job,
						   void *argument),
				  void *argument)
{
	struct here here = {
		.job = {
			.here = true, .in_use = true, .fd = -1, .kept = -1,
			.pagemap = -1, .method = MREMAP_COMPAT_UFFD_MOVE,
		},
		.function = function, .argument = argument,
	};
	struct job *job = &here.job;
	int err;

	job->move = &job->own;
	err = mc_apart(work_here, &here);
	if (err)
		return reason_of(err);
	if (here.reason == MREMAP_COMPAT_NOT_TRIED) {
		/* As in mc_relocate(); between two mappings nothing is left to do. */
		job->fd = job->pagemap = -1;
		if (job->reason == MREMAP_COMPAT_USED)
			end_move(job);
		else
			bring_back(job);
		here.reason = MREMAP_COMPAT_FORBIDDEN;
	}
	return here.reason;
}

enum mremap_compat_reason mc_relocate_here(struct job *job, char *start,
					   size_t size)
{
	enum mremap_compat_reason reason;

	job->own = (struct mc_move){
		.old = start, .old_size = size, .new_size = size,
		.fixed = true, .to = start,
	};
	job->size = size;
	job->reason = MREMAP_COMPAT_NOT_TRIED;
	reason = check_mapping(job);
	if (reason != MREMAP_COMPAT_USED)
		return reason;
	if (has_guard(job->pagemap, start, size))
		return MREMAP_COMPAT_UNSUITABLE;
	run(job);
	job->done = 0;
	/* What is registered merges once the descriptor is closed. */
	return job->stuck || job->pages ? MREMAP_COMPAT_NO_RESOURCES :
					  job->reason;
}
