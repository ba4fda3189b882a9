/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What becomes of the memory if a system call in the midst of a move fails. The
 * calls that the library makes go through the wrappers here (ld --wrap), all but
 * clone(2), futex(2) and exit(2) of its thread; those are for compat_simulated.c.
 * They run in that thread, which can write to no file, so that nothing is
 * asserted in them.
 */

#define _GNU_SOURCE
#include "compat.h"

#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/uio.h>

#define RW (PROT_READ | PROT_WRITE)
#define UFFD_MOVE MREMAP_COMPAT_UFFD_MOVE
#define COPY MREMAP_COMPAT_COPY

/* ---- failing calls ----------------------------------------------------------- */

enum call { IOCTL, MSYNC, MMAP, MPROTECT, MUNMAP, OPEN, READ, MREMAP,
	    USERFAULTFD, BLOCK_SIGNALS, CLOSE_RANGE, CALLS };

static struct {
	bool on;
	enum call call;		/* which calls fail, CALLS: of any kind */
	int nth;		/* the first that does, counted from 1 */
	bool for_ever;		/* and all after it */
	int err;
	bool unmaps;		/* MREMAP: what was at the target has gone */
	int count;		/* so far */
} failing;

/* What has been opened without O_CLOEXEC. */
static int inherited;

static bool fails(enum call call)
{
	if (!failing.on || (failing.call != CALLS && failing.call != call))
		return false;
	failing.count++;
	if (failing.count < failing.nth ||
	    (failing.count > failing.nth && !failing.for_ever))
		return false;
	errno = failing.err;
	return true;
}

/* As linux/userfaultfd.h of Linux 6.8 */
struct move_request {
	uint64_t dst, src, len, mode;
	int64_t move;
};
#define UFFDIO_MOVE _IOWR(0xAA, 0x05, struct move_request)

/* UFFDIO_MOVE that stops after some pages, in each direction. */
static struct {
	bool on;
	size_t pages[2];	/* that are moved before it stops */
	int err[2];		/* with this, 0: it does not stop */
	int times[2];		/* so often, then it goes on */
	uint64_t first_src, first_dst;
	int calls;
} stopping;

/* PAGEMAP_SCAN (Linux 6.7), and what the walk through the pages costs. */
#define PAGEMAP_SCAN _IOC(_IOC_READ | _IOC_WRITE, 'f', 16, 96)
static struct {
	bool unknown;		/* PAGEMAP_SCAN */
	size_t most;		/* that a call reads, at most; 0: all */
	int reads, moves;
	uint64_t moved;		/* bytes that UFFDIO_MOVE was to look at */
	uint64_t longest;	/* in one call */
} walking;

/* As of a filter that came later */
#define UFFDIO_UNREGISTER _IOC(_IOC_READ, 0xAA, 1, 16)
static bool refuse_unregister;

long __real_syscall(long number, ...);
void *__real_mmap(void *, size_t, int, int, int, off_t);

/* What another thread maps and writes once pages have come to the target. */
static struct {
	char *place;		/* NULL: nothing */
	bool done;
} neighbour;

static void come_in_between(void)
{
	char *p = __real_mmap(neighbour.place, page, PROT_READ | PROT_WRITE,
			      MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE,
			      -1, 0);

	neighbour.done = p == neighbour.place;
	if (neighbour.done)
		p[0] = 'n';
	neighbour.place = NULL;
}

/*
 * What is in the page tables that UFFDIO_MOVE takes the pages from, or brings them
 * back to: the side that is not the target.
 */
static struct {
	size_t reach;		/* of a table; 0: nobody wants to know */
	char *target, *start, *end;
	size_t size;		/* of the target */
	int back;		/* moves back */
	bool hole;		/* where another thread could map something */
} tables;

static void watch_tables(size_t reach, char *target, size_t size)
{
	memset(&tables, 0, sizeof(tables));
	tables.reach = reach;
	tables.target = target;
	tables.size = size;
}

static void look_at_tables(const struct move_request *move)
{
	static unsigned char vec[4096];
	const bool there = move->dst - (uintptr_t)tables.target < tables.size;
	char *side = (char *)(uintptr_t)(there ? move->src : move->dst);
	char *end = side + move->len;

	tables.back += !there;
	side -= (uintptr_t)side & (tables.reach - 1);
	end += -(uintptr_t)end & (tables.reach - 1);
	if (!tables.start || side < tables.start)
		tables.start = side;
	if (end > tables.end)
		tables.end = end;
	for (; side < end; side += sizeof(vec) * page)
		tables.hole |= mincore(side, (size_t)(end - side) < sizeof(vec) * page ?
				       (size_t)(end - side) : sizeof(vec) * page, vec);
}

/* Another thread maps something where the library has unmapped something. */
static struct {
	int nth, times;		/* munmap() from which on, and how often */
	int count, n;
	char *page[1000];
} intruder;

static void intrude(char *start)
{
	char *p;

	if (++intruder.count < intruder.nth || intruder.n == intruder.times)
		return;
	p = __real_mmap(start, page, PROT_READ | PROT_WRITE, MAP_PRIVATE |
			MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	if (p != start)
		return;
	*p = 'i';
	intruder.page[intruder.n++] = p;
}

static long wrap_ioctl(long fd, unsigned long request, void *arg)
{
	struct move_request *move = arg;
	uint64_t begin, done, len;
	long result;
	int back;

	if (fails(IOCTL)) {
		if (request == UFFDIO_MOVE)
			move->move = -failing.err;
		return -1;
	}
	if (request == UFFDIO_UNREGISTER && refuse_unregister) {
		errno = ENOMEM;
		return -1;
	}
	if (request == PAGEMAP_SCAN && walking.unknown) {
		errno = ENOTTY;
		return -1;
	}
	if (request == UFFDIO_MOVE) {
		walking.moves++;
		walking.moved += move->len;
		if (move->len > walking.longest)
			walking.longest = move->len;
		if (tables.reach)
			look_at_tables(move);
	}
	if (request == UFFDIO_MOVE && neighbour.place) {
		result = __real_syscall(SYS_ioctl, fd, request, arg);
		come_in_between();
		return result;
	}
	if (request != UFFDIO_MOVE || !stopping.on)
		return __real_syscall(SYS_ioctl, fd, request, arg);

	if (!stopping.calls++) {
		stopping.first_src = move->src;
		stopping.first_dst = move->dst;
	}
	back = stopping.first_src < stopping.first_dst ?
	       move->src >= stopping.first_dst : move->src < stopping.first_src;
	begin = back ? move->dst : move->src;
	done = begin - stopping.first_src;
	if (!stopping.err[back] || !stopping.times[back])
		return __real_syscall(SYS_ioctl, fd, request, arg);
	if (done >= stopping.pages[back] * page) {
		stopping.times[back]--;
		move->move = -stopping.err[back];
		errno = stopping.err[back];
		return -1;
	}
	len = move->len;
	if (done + len > stopping.pages[back] * page)
		move->len = stopping.pages[back] * page - done;
	result = __real_syscall(SYS_ioctl, fd, request, arg);
	if (!result && move->len < len) {
		errno = EAGAIN;
		result = -1;
	}
	move->len = len;
	return result;
}

void *__wrap_mmap(void *, size_t, int, int, int, off_t);
void *__wrap_mmap(void *start, size_t size, int prot, int flags, int fd,
		  off_t offset)
{
	return fails(MMAP) ? MAP_FAILED :
	       __real_mmap(start, size, prot, flags, fd, offset);
}

int __real_mprotect(void *start, size_t size, int prot);
int __wrap_mprotect(void *start, size_t size, int prot);
int __wrap_mprotect(void *start, size_t size, int prot)
{
	return fails(MPROTECT) ? -1 : __real_mprotect(start, size, prot);
}

int __real_munmap(void *start, size_t size);
int __wrap_munmap(void *start, size_t size);
int __wrap_munmap(void *start, size_t size)
{
	if (fails(MUNMAP) || __real_munmap(start, size))
		return -1;
	if (intruder.times)
		intrude(start);
	return 0;
}

long __wrap_syscall(long number, ...);
long __wrap_syscall(long number, ...)
{
	unsigned long a[5];
	struct iovec part;
	va_list ap;

	va_start(ap, number);
	for (int i = 0; i < 5; i++)
		a[i] = va_arg(ap, unsigned long);
	va_end(ap);
	switch (number) {
	case SYS_ioctl:
		return wrap_ioctl((long)a[0], a[1], (void *)a[2]);
	case SYS_msync:
		if (fails(MSYNC))
			return -1;
		break;
	case SYS_openat:
		inherited += !(a[2] & O_CLOEXEC);
		if (fails(OPEN))
			return -1;
		break;
	case SYS_userfaultfd:
		inherited += !(a[0] & O_CLOEXEC);
		if (fails(USERFAULTFD))
			return -1;
		break;
	case SYS_preadv:
		walking.reads++;
		if (fails(READ))
			return -1;
		/* One element, as the library makes it. */
		part = *(struct iovec *)a[1];
		if (walking.most && part.iov_len > walking.most) {
			part.iov_len = walking.most;
			a[1] = (unsigned long)&part;
		}
		break;
	case SYS_rt_sigprocmask:
		/* Giving the old ones back does not fail. */
		if (a[0] == SIG_SETMASK && a[2] && fails(BLOCK_SIGNALS))
			return -1;
		break;
	case SYS_close_range:
		if (fails(CLOSE_RANGE))
			return -1;
		break;
	case SYS_mremap:
		if (!fails(MREMAP))
			break;
		if (failing.unmaps && (a[3] & MREMAP_FIXED))
			__real_munmap((void *)a[4], a[2]);
		errno = failing.err;
		return -1;
	default:
		break;
	}
	return __real_syscall(number, a[0], a[1], a[2], a[3], a[4]);
}

/* ---- the memory ---------------------------------------------------------------- */

enum { pages = 12 };		/* that are moved, in the midst of others */

static char *old, *to, *target_content;
static struct mremap_compat_report report;

static void make(bool target_in_use)
{
	old = filled(pages + 2, 'a');
	for (int i = 0; i < pages + 2; i++)
		old[(size_t)i * page] = (char)('A' + i);
	/* One that was never written */
	madvise(old + 5 * page, page, MADV_DONTNEED);
	to = target_in_use ? filled(pages, 't') : map(pages, PROT_NONE);
	target_content = target_in_use ? to : NULL;
}

static bool moved_part_is(const char *p)
{
	for (size_t i = 0; i < pages; i++) {
		const char first = i == 4 ? 0 : (char)('B' + i);

		for (size_t k = 0; k < page; k++)
			if (p[i * page + k] != (!k ? first : i == 4 ? 0 : 'a'))
				return false;
	}
	return true;
}

static char *move(unsigned int methods)
{
	char *result;

	failing.on = failing.nth > 0;
	errno = 0;
	result = mremap_compat_ext(old + page, pages * page, pages * page,
				   FIXED | ANON, to, methods, &report);
	failing.on = false;
	return result;
}

/* Contents are where the result says, and the neighbours as they were. */
static void check(char *result, bool exact)
{
	const int err = errno;
	sigset_t blocked;

	ck_assert_int_eq(inherited, 0);
	ck_assert_int_eq(sigprocmask(SIG_BLOCK, NULL, &blocked), 0);
	for (int sig = 1; sig < SIGRTMAX; sig++)
		ck_assert_int_ne(sigismember(&blocked, sig), 1);
	ck_assert_int_eq(old[0], 'A');
	ck_assert_int_eq(old[(pages + 1) * page], 'A' + pages + 1);
	if (result == MAP_FAILED) {
		ck_assert(err == EFAULT || err == failing.err);
		ck_assert(moved_part_is(old + page));
		if (target_content)
			check_filled(target_content, pages, 't');
		if (exact)
			ck_assert_int_eq(mappings(old, (pages + 2) * page), 1);
	} else {
		ck_assert_ptr_eq(result, to);
		ck_assert(moved_part_is(to));
		if (exact)
			ck_assert(!is_mapped(old + page));
	}
}

static const unsigned int method_sets[] = {
	UFFD_MOVE, COPY, UFFD_MOVE | MREMAP_COMPAT_PLAIN,
	COPY | MREMAP_COMPAT_PLAIN, UFFD_MOVE | COPY,
};
#define METHOD_SETS ((int)(sizeof(method_sets) / sizeof(*method_sets)))

static const int errors[CALLS] = {
	[IOCTL] = EINVAL, [MSYNC] = EBUSY, [MMAP] = ENOMEM,
	[MPROTECT] = ENOMEM,
	[MUNMAP] = ENOMEM, [OPEN] = EMFILE, [READ] = EIO, [MREMAP] = ENOMEM,
	[USERFAULTFD] = EPERM, [BLOCK_SIGNALS] = EPERM, [CLOSE_RANGE] = ENOMEM,
};

/* ---- tests ---------------------------------------------------------------------- */

static void setup_failures(void)
{
	setup();
	/* What a kernel with the flags does is not the question here. */
	mremap_compat_set_methods(MREMAP_COMPAT_ALL_METHODS & ~1U);
	mremap_compat_probe(UFFD_MOVE);
	mremap_compat_probe(COPY);
}

/* Each call fails once. */
START_TEST(one_fails)
{
	const enum call call = (enum call)(_i % CALLS);
	const unsigned int set = method_sets[_i / CALLS];
	int points = 0;

	for (int in_use = 0; in_use < 2; in_use++) {
		for (int nth = 1; ; nth++) {
			const int files = open_files();
			long before;
			char *result;

			make(in_use);
			before = mapped_pages();
			failing.call = call;
			failing.nth = nth;
			failing.for_ever = false;
			failing.err = errors[call];
			failing.count = 0;
			result = move(set);
			ck_assert_int_lt(nth, 100);
			check(result, call != MUNMAP);
			/* A failed munmap() must leave something. */
			if (call != MUNMAP)
				ck_assert_int_eq(mapped_pages(), before -
						 (result == to ? pages : 0));
			ck_assert_int_eq(open_files(), files);
			if (failing.count < nth)
				break;
			points++;
		}
	}
	/* Which of them the method makes */
	if (mremap_compat_probe(UFFD_MOVE) == MREMAP_COMPAT_SUPPORTED &&
	    (set & UFFD_MOVE) && call != READ && !(set & COPY))
		ck_assert_int_gt(points, 0);
}
END_TEST

/* From one call on, all of a kind fail. */
START_TEST(all_fail_from_one_on)
{
	const enum call call = (enum call)(_i % CALLS);
	const unsigned int set = method_sets[_i / CALLS];

	/* Where there is a kernel's error in between, and no PLAIN after it. */
	failing.unmaps = call == MREMAP && !(set & MREMAP_COMPAT_PLAIN);
	for (int nth = 1; ; nth++) {
		char *result;

		make(nth % 2);
		failing.call = call;
		failing.nth = nth;
		failing.for_ever = true;
		failing.err = errors[call];
		failing.count = 0;
		result = move(set);
		check(result, false);
		if (failing.count < nth)
			break;
	}
}
END_TEST

/* Memory that cannot be read must not be fatal either. */
START_TEST(nothing_can_be_put_back)
{
	for (int nth = 2; nth < 5; nth++) {
		make(false);
		failing.call = MREMAP;
		failing.nth = nth;
		failing.for_ever = true;
		failing.err = ENOMEM;
		failing.count = 0;
		ck_assert_ptr_eq(move(COPY), MAP_FAILED);
		ck_assert_int_eq(report.reason[2], MREMAP_COMPAT_NO_RESOURCES);
		ck_assert(moved_part_is(old + page));
	}
}
END_TEST

static void stop(size_t forward, int err, int times, size_t back, int back_err)
{
	stopping.pages[0] = forward;
	stopping.err[0] = err;
	stopping.times[0] = times;
	stopping.pages[1] = back;
	stopping.err[1] = back_err;
	stopping.times[1] = 1000;
	stopping.calls = 0;
	stopping.on = true;
}

static bool has_uffd(void)
{
	return mremap_compat_probe(UFFD_MOVE) == MREMAP_COMPAT_SUPPORTED;
}

/* A move in parts goes on. */
START_TEST(goes_on)
{
	static const int errors_to_bear[] = { EAGAIN, EBUSY };

	for (size_t k = 0; has_uffd() && k <= pages; k++) {
		make(k % 2);
		stop(k, errors_to_bear[_i], _i ? 1 : 60, 0, 0);
		ck_assert_ptr_eq(move(UFFD_MOVE), to);
		check(to, true);
	}
}
END_TEST

/* One that gets no further is undone, the pages that have gone come back. */
START_TEST(undone)
{
	static const struct {
		int err;
		enum mremap_compat_reason reason;
	} ends[] = {
		{ EAGAIN, MREMAP_COMPAT_BUSY },
		{ EBUSY, MREMAP_COMPAT_BUSY },
		{ EEXIST, MREMAP_COMPAT_BUSY },
		{ EFAULT, MREMAP_COMPAT_UNSUITABLE },
		{ ENOMEM, MREMAP_COMPAT_NO_RESOURCES },
	};

	for (size_t k = 0; has_uffd() && k < pages; k++) {
		for (size_t back = 0; back <= k; back++) {
			const int files = open_files();
			long before;

			make((k + back) % 2);
			before = mapped_pages();
			stop(k, ends[_i].err, 1000, back, EAGAIN);
			ck_assert_ptr_eq(move(UFFD_MOVE), MAP_FAILED);
			ck_assert_int_eq(errno, EFAULT);
			ck_assert_int_eq(report.reason[1], ends[_i].reason);
			check(MAP_FAILED, true);
			ck_assert_int_eq(mapped_pages(), before);
			ck_assert_int_eq(open_files(), files);
			/* EAGAIN has a limit. */
			ck_assert_int_lt(stopping.calls, 200);
		}
		/* COPY, with no knowledge of what is pinned, does not go on. */
		make(false);
		stop(k, ends[_i].err, 1000, 0, 0);
		ck_assert_ptr_eq(move(UFFD_MOVE | COPY), MAP_FAILED);
		ck_assert_int_eq(report.reason[1], ends[_i].reason);
		ck_assert_int_eq(report.reason[2], MREMAP_COMPAT_BUSY);
		check(MAP_FAILED, true);
		make(false);
		stop(k, ends[_i].err, 1000, 0, 0);
		ck_assert_ptr_eq(move(UFFD_MOVE | MREMAP_COMPAT_PLAIN), to);
		ck_assert_uint_eq(report.method, MREMAP_COMPAT_PLAIN);
		check(to, true);
	}
}
END_TEST

/*
 * Of the page tables between which UFFDIO_MOVE moves, those at one side are the call's
 * alone, there and back; of the next level too, if huge pages can move as a whole. If
 * there is no address space for that, they do not.
 */
#ifdef NO_SANITIZER
START_TEST(tables_apart)
{
	const size_t table = page / 8, sizes[] = { 2, 20, table - 1, table, table + 1 };
	const size_t n = sizes[_i / 4];
	const bool stops = _i % 2, tight = _i / 2 % 2;
	const struct rlimit limit = { 1UL << 30, RLIM_INFINITY };
	const bool next_level = n >= table && !tight && sizeof(long) == 8;
	char *p = filled(n + 1, 'a'), *area = map(n + 1, PROT_NONE), *result;

	if (!has_uffd())
		return;
	if (tight)
		ck_assert_int_eq(setrlimit(RLIMIT_AS, &limit), 0);
	watch_tables(next_level ? table * table * page : table * page, area + page, n * page);
	walking.longest = 0;
	if (stops)
		stop(n / 2, EFAULT, 1000, n, 0);
	result = mremap_compat_ext(p + page, n * page, n * page, FIXED | ANON,
				   tables.target, UFFD_MOVE, &report);
	stopping.on = false;
	tables.reach = 0;
	ck_assert_ptr_eq(result, stops ? MAP_FAILED : area + page);
	ck_assert_ptr_nonnull(tables.start);
	ck_assert_int_eq(tables.back > 0, stops);
	ck_assert(!tables.hole);
	if (tight)
		ck_assert_uint_lt(walking.longest, table * page);
	/* With the call all has gone. */
	ck_assert_int_eq(mappings(tables.start, (size_t)(tables.end - tables.start)), 0);
	check_filled(result == MAP_FAILED ? p + page : result, n, 'a');
	check_filled(p, 1, 'a');
}
END_TEST
#endif

/* If another thread is there first, another place is taken. */
START_TEST(place_taken)
{
	for (int nth = 1; has_uffd() && nth <= 16; nth++) {
		char *result;

		make(nth % 2);
		watch_tables(page / 8 * page, to, pages * page);
		intruder.nth = (nth + 1) / 2;
		intruder.count = intruder.n = 0;
		intruder.times = _i ? 1000 : 1;
		result = move(UFFD_MOVE | (nth % 3 ? 0 : MREMAP_COMPAT_PLAIN));
		intruder.times = 0;
		ck_assert(!tables.hole);
		if (!_i)
			ck_assert_ptr_eq(result, to);
		if (result == MAP_FAILED)
			ck_assert_int_eq(report.reason[1], MREMAP_COMPAT_NO_RESOURCES);
		check(result, false);
		for (int k = 0; k < intruder.n; k++) {
			ck_assert_int_eq(*intruder.page[k], 'i');
			munmap(intruder.page[k], page);
		}
	}
	tables.reach = 0;
}
END_TEST

/*
 * What has grown does not become one with a mapping that another thread makes
 * behind it: the region would be two mappings, which no move is for.
 */
START_TEST(neighbour_comes)
{
	const size_t most = 2 * pages;

	if (!has_uffd())
		return;
	make(false);
	to = map(most + 1, PROT_NONE);
	munmap(to + most * page, page);
	neighbour.place = to + most * page;
	ck_assert_ptr_eq(mremap_compat_ext(old + page, pages * page, most * page,
					   FIXED | ANON, to, UFFD_MOVE, &report),
			 to);
	ck_assert(neighbour.done);
	ck_assert(moved_part_is(to));
	check_filled(to + pages * page, pages, 0);
	ck_assert_int_eq(to[most * page], 'n');
	ck_assert_int_eq(mappings(to, most * page), 1);
}
END_TEST

/*
 * Holes are not walked through, be it by us or by the kernel. Where the kernel cannot
 * say where they are, the result is the same.
 */
START_TEST(holes_left_out)
{
	const size_t n = (_i < 2 ? 1UL << 30 : 4UL << 20) / page;
	const size_t written[] = { 0, 5, 7, n / 3, n / 2, n - 1 };
	const unsigned int method = _i % 2 ? COPY : UFFD_MOVE;
	char *p, *area;

	/* Where there is UFFDIO_MOVE there is PAGEMAP_SCAN. */
	if (!has_uffd())
		return;
	walking.unknown = _i >= 2;
	p = mmap(NULL, n * page, RW, MAP_PRIVATE | MAP_ANONYMOUS |
		 MAP_NORESERVE, -1, 0);
	ck_assert_ptr_ne(p, MAP_FAILED);
	madvise(p, n * page, 15 /* MADV_NOHUGEPAGE */);
	area = map(n, PROT_NONE);
	for (size_t i = 0; i < 6; i++)
		memset(p + written[i] * page, 'a' + (int)i, page);
	walking.reads = walking.moves = 0;
	walking.moved = 0;
	ck_assert_ptr_eq(mremap_compat_ext(p, n * page, n * page, FIXED | ANON,
					   area, method, &report), area);
	for (size_t i = 0; i < 6; i++)
		check_filled(area + written[i] * page, 1, 'a' + (char)i);
	ck_assert_int_eq(area[3 * page], 0);
	ck_assert_int_eq(area[(n / 2 + 1) * page], 0);
	if (_i >= 2)
		return;
	ck_assert_int_le(walking.reads, 16);
	ck_assert_int_le(walking.moves, 8);
	ck_assert_uint_le(walking.moved, 64 * page);
}
END_TEST

/* No call of read() and its like transfers 2 GiB, whatever it is asked for. */
START_TEST(copied_in_parts)
{
	enum { n = 50 };
	char *p = filled(n, 'a'), *area = map(n, PROT_NONE);

	if (mremap_compat_probe(COPY) != MREMAP_COMPAT_SUPPORTED)
		return;
	for (int i = 0; i < n; i++)
		p[(size_t)i * page] = (char)i;
	/* Not less than what is read of pagemap at once */
	walking.most = (size_t)_i * page;
	ck_assert_ptr_eq(mremap_compat_ext(p, n * page, n * page, FIXED | ANON,
					   area, COPY, &report), area);
	walking.most = 0;
	for (int i = 0; i < n; i++) {
		ck_assert_int_eq(area[(size_t)i * page], i);
		ck_assert_int_eq(area[(size_t)(i + 1) * page - 1], 'a');
	}
}
END_TEST

/* Whether it answers a read. A fault would wait for whoever has its userfaultfd. */
static bool can_be_read(const char *p)
{
	const int fd = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
	char byte;
	bool can;

	ck_assert_int_ge(fd, 0);
	can = pread(fd, &byte, 1, (off_t)(uintptr_t)p) == 1;
	close(fd);
	return can;
}

/*
 * A registration that does not end with UFFDIO_UNREGISTER ends with the descriptor, that
 * of a handle, too, which opens another for its next move.
 */
START_TEST(stays_registered)
{
	const bool back = _i / 2;
	struct mremap_compat_handle *handle = NULL;
	char *result;

	if (!has_uffd())
		return;
	if (_i % 2) {
		handle = mremap_compat_open();
		ck_assert_ptr_nonnull(handle);
	}
	for (int k = 0; k < 3; k++) {
		make(k % 2);
		refuse_unregister = k < 2;
		if (back)
			stop(pages / 2, EFAULT, 1000, pages, 0);
		failing.nth = 0;
		result = mremap_compat_ext_with(handle, old + page, pages * page,
						pages * page, FIXED | ANON, to,
						UFFD_MOVE, &report);
		refuse_unregister = false;
		stopping.on = false;
		ck_assert_ptr_eq(result, back ? MAP_FAILED : to);
		/* The page of the hole first: it is not there. */
		ck_assert(can_be_read(back ? old + 5 * page : to + 4 * page));
		/* While it was registered it did not merge where it went back to. */
		check(result, !back);
	}
	mremap_compat_close(handle);
}
END_TEST

/* A handle has its userfaultfd, and opens and closes none for a call. */
START_TEST(handle_keeps_one)
{
	struct mremap_compat_handle *handle = mremap_compat_open();

	if (!has_uffd())
		return;
	ck_assert_ptr_nonnull(handle);
	failing.call = USERFAULTFD;
	failing.nth = 1;
	failing.for_ever = true;
	failing.err = EPERM;
	for (int k = 0; k < 5; k++) {
		char *result;

		make(k % 2);
		failing.on = true;
		result = mremap_compat_ext_with(handle, old + page, pages * page,
						pages * page, FIXED | ANON, to,
						UFFD_MOVE, &report);
		failing.on = false;
		ck_assert_ptr_eq(result, to);
		check(result, true);
	}
	ck_assert_int_eq(failing.count, 0);
	mremap_compat_close(handle);
}
END_TEST

/* The copy that realloc_with() makes itself: each call fails, the first or all. */
START_TEST(realloc_fails)
{
	const enum call call = (enum call)(_i / 2);
	const unsigned int sets[] = {
		COPY, COPY | MREMAP_COMPAT_PLAIN, UFFD_MOVE | COPY,
		MREMAP_COMPAT_ALL_METHODS,
	};

	for (size_t k = 0; k < sizeof(sets) / sizeof(*sets); k++) {
		for (int nth = 1; ; nth++) {
			long before;
			char *result;

			make(false);
			before = mapped_pages();
			failing.call = call;
			failing.nth = nth;
			failing.for_ever = _i % 2;
			failing.err = errors[call];
			failing.count = 0;
			failing.on = true;
			errno = 0;
			result = mremap_compat_realloc_with(NULL, old + page,
							    pages * page,
							    (pages + 5) * page,
							    sets[k], &report);
			failing.on = false;
			ck_assert_int_lt(nth, 100);
			if (!result) {
				ck_assert_int_ne(errno, 0);
				ck_assert(moved_part_is(old + page));
			} else {
				ck_assert_ptr_ne(result, old + page);
				ck_assert(moved_part_is(result));
				check_filled(result + pages * page, 5, 0);
			}
			if (call != MUNMAP)
				ck_assert_int_eq(mapped_pages(), before +
						 (result ? 5 : 0));
			if (result)
				munmap(result, (pages + 5) * page);
			ck_assert_int_eq(old[0], 'A');
			ck_assert_int_eq(old[(pages + 1) * page],
					 'A' + pages + 1);
			if (failing.count < nth)
				break;
		}
	}
}
END_TEST

/* ---- memory in pieces -------------------------------------------------------------- */

enum { pieces = 4 };		/* of three pages, that are to become one */
#define PIECES_SIZE ((size_t)pieces * 3 * page)

/* In the opposite order, between pages of another kind */
static char *make_pieces(void)
{
	char *p = map(pieces * 3 + 2, PROT_NONE) + page;
	char *from = map(pieces * 3, RW);

	for (size_t i = 0; i < pieces; i++) {
		char *piece = from + 3 * i * page;

		memset(piece, 'a' + (int)i, 2 * page);
		piece[2 * page - 1] = 'A';
		ck_assert_ptr_ne(mremap(piece, 3 * page, 3 * page, FIXED,
					p + 3 * (pieces - 1 - i) * page),
				 MAP_FAILED);
	}
	ck_assert_int_eq(mappings(p, PIECES_SIZE), pieces);
	return p;
}

static bool pieces_are_whole(const char *p)
{
	for (size_t i = 0; i < PIECES_SIZE; i++) {
		const size_t at = i % (3 * page);
		const char wanted = at == 2 * page - 1 ? 'A' :
				    at >= 2 * page ? 0 :
				    (char)('a' + pieces - 1 - i / (3 * page));

		if (p[i] != wanted)
			return false;
	}
	return true;
}

static int coalesce(char *p, struct mremap_compat_coalesce_report *of_pieces)
{
	int result;

	failing.on = failing.nth > 0;
	failing.count = 0;
	errno = 0;
	result = mremap_compat_coalesce(p, PIECES_SIZE, UFFD_MOVE, of_pieces);
	failing.on = false;
	return result;
}

/* Each call fails, once or from then on: contents stay, and later all is well. */
START_TEST(coalesce_fails)
{
	const enum call call = (enum call)(_i / 2);
	struct mremap_compat_coalesce_report of_pieces;

	failing.call = call;
	failing.err = errors[call];
	failing.for_ever = _i % 2;
	failing.unmaps = _i % 2;
	for (int nth = 1; has_uffd(); nth++) {
		const int files = open_files();
		char *p = make_pieces();
		const long before = mapped_pages();
		int result;

		failing.nth = nth;
		result = coalesce(p, &of_pieces);
		ck_assert_int_lt(nth, 400);
		ck_assert(pieces_are_whole(p));
		ck_assert_int_eq(inherited, 0);
		if (result) {
			ck_assert(errno == ENOMEM || errno == EPERM ||
				  errno == EOPNOTSUPP);
			ck_assert_int_ne(of_pieces.reason[1],
					 MREMAP_COMPAT_USED);
		} else if (!of_pieces.apart) {
			ck_assert_int_eq(mappings(p, PIECES_SIZE), 1);
		}
		if (call != MUNMAP)
			ck_assert_int_eq(mapped_pages(), before);
		ck_assert_int_eq(open_files(), files);
		result = failing.count;
		failing.nth = 0;
		ck_assert_int_eq(coalesce(p, &of_pieces), 0);
		ck_assert(pieces_are_whole(p));
		if (call != MREMAP)
			ck_assert_int_eq(mappings(p, PIECES_SIZE), 1);
		munmap(p, PIECES_SIZE);
		if (result < nth)
			break;
	}
}
END_TEST

/* Whether all of a range is mapped with such a protection, "rwxp". */
static bool is_protected(const char *start, size_t size, const char *wanted)
{
	FILE *maps = fopen("/proc/self/maps", "r");
	bool right = true;
	size_t found = 0;
	char line[512], prot[8];

	ck_assert_ptr_nonnull(maps);
	while (fgets(line, sizeof(line), maps)) {
		uintptr_t from, end;

		if (sscanf(line, "%" SCNxPTR "-%" SCNxPTR " %7s", &from, &end, prot) != 3)
			continue;
		if (from < (uintptr_t)start)
			from = (uintptr_t)start;
		if (end > (uintptr_t)start + size)
			end = (uintptr_t)start + size;
		if (from >= end)
			continue;
		found += end - from;
		right &= !strcmp(prot, wanted);
	}
	fclose(maps);
	return right && found == size;
}

/* What could not be brought back but by copying has its protection, too. */
START_TEST(protection_stays)
{
	const int all = RW | PROT_EXEC;
	struct mremap_compat_coalesce_report of_pieces;
	char *p = make_pieces();

	/* Some systems forbid it. */
	if (mprotect(p, PIECES_SIZE, all))
		return;
	munmap(p, PIECES_SIZE);
	failing.call = MREMAP;
	failing.err = ENOMEM;
	failing.for_ever = true;
	failing.unmaps = _i % 2;
	for (int nth = 1; has_uffd() && _i < 2; nth++) {
		p = make_pieces();
		ck_assert_int_eq(mprotect(p, PIECES_SIZE, all), 0);
		failing.nth = nth;
		coalesce(p, &of_pieces);
		ck_assert(pieces_are_whole(p));
		ck_assert_msg(is_protected(p, PIECES_SIZE, "rwxp"), "call %d", nth);
		munmap(p, PIECES_SIZE);
		if (failing.count < nth)
			break;
	}
	for (int nth = 1; _i >= 2; nth++) {
		make(true);
		ck_assert_int_eq(mprotect(old + page, pages * page, all), 0);
		ck_assert_int_eq(mprotect(to, pages * page, PROT_READ), 0);
		failing.nth = nth;
		failing.count = 0;
		if (move(COPY) != MAP_FAILED)
			break;
		ck_assert(moved_part_is(old + page));
		ck_assert_msg(is_protected(old + page, pages * page, "rwxp"), "call %d", nth);
		ck_assert_msg(is_protected(to, pages * page, "r--p"), "call %d", nth);
		ck_assert_int_eq(to[0], 't');
	}
}
END_TEST

/* UFFDIO_MOVE that stops in the midst, and does not get back all of it either */
START_TEST(coalesce_undone)
{
	static const struct {
		int err;
		enum mremap_compat_reason reason;
	} ends[] = {
		{ EBUSY, MREMAP_COMPAT_BUSY },
		{ EFAULT, MREMAP_COMPAT_UNSUITABLE },
		{ ENOMEM, MREMAP_COMPAT_NO_RESOURCES },
	};
	struct mremap_compat_coalesce_report of_pieces;

	failing.nth = 0;
	for (size_t k = 0; has_uffd() && k < 9; k++) {
		char *p = make_pieces();
		const long before = mapped_pages();
		int result;

		stop(k / 3, ends[_i].err, 1000, k % 3, EAGAIN);
		result = coalesce(p, &of_pieces);
		stopping.on = false;
		ck_assert(pieces_are_whole(p));
		ck_assert_int_eq(mapped_pages(), before);
		if (ends[_i].reason == MREMAP_COMPAT_NO_RESOURCES) {
			ck_assert_int_eq(result, -1);
			ck_assert_int_eq(errno, ENOMEM);
		} else {
			ck_assert_int_eq(result, 0);
			ck_assert_uint_gt(of_pieces.apart, 0);
			ck_assert_int_eq(of_pieces.apart_reason,
					 ends[_i].reason);
		}
		ck_assert_int_eq(coalesce(p, &of_pieces), 0);
		ck_assert_int_eq(mappings(p, PIECES_SIZE), 1);
		ck_assert(pieces_are_whole(p));
		munmap(p, PIECES_SIZE);
	}
}
END_TEST

/* What cannot be unregistered is, when the descriptor is closed. */
START_TEST(coalesce_stays_registered)
{
	struct mremap_compat_coalesce_report of_pieces;
	char *p = make_pieces();

	if (!has_uffd())
		return;
	refuse_unregister = true;
	failing.nth = 0;
	ck_assert_int_eq(coalesce(p, &of_pieces), -1);
	refuse_unregister = false;
	ck_assert_int_eq(errno, ENOMEM);
	ck_assert(can_be_read(p + 2 * page));
	ck_assert(pieces_are_whole(p));
	ck_assert_int_eq(coalesce(p, &of_pieces), 0);
	ck_assert_int_eq(mappings(p, PIECES_SIZE), 1);
	ck_assert(pieces_are_whole(p));
}
END_TEST

/* Everywhere that it could fail, a probe knows nothing or knows the truth. */
START_TEST(probing)
{
	const enum call call = (enum call)_i;

	for (int nth = 1; nth < 30; nth++) {
		for (unsigned int method = 1; method <= 8; method *= 2) {
			const int files = open_files();
			const long before = mapped_pages();

			/* Forget the answers, in a child. */
			failing.call = call;
			failing.nth = nth;
			failing.for_ever = nth % 2;
			failing.err = ENOMEM;
			failing.count = 0;
			failing.on = true;
			errno = ENOTTY;
			mremap_compat_probe((enum mremap_compat_method)method);
			mremap_compat_probe_coalesce();
			failing.on = false;
			ck_assert_int_eq(errno, ENOTTY);
			ck_assert_int_eq(open_files(), files);
			if (call != MUNMAP)
				ck_assert_int_eq(mapped_pages(), before);
		}
	}
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("compat_failures");
	TCase *calls = tcase_create("calls");
	TCase *probe = tcase_create("probe");

	tcase_add_checked_fixture(calls, setup_failures, NULL);
	tcase_add_loop_test(calls, one_fails, 0, CALLS * METHOD_SETS);
	tcase_add_loop_test(calls, all_fail_from_one_on, 0,
			    CALLS * METHOD_SETS);
	tcase_add_test(calls, nothing_can_be_put_back);
	tcase_add_loop_test(calls, goes_on, 0, 2);
	tcase_add_loop_test(calls, undone, 0, 5);
#ifdef NO_SANITIZER
	tcase_add_loop_test(calls, tables_apart, 0, 20);
#endif
	tcase_add_loop_test(calls, place_taken, 0, 2);
	tcase_add_test(calls, neighbour_comes);
	tcase_add_loop_test(calls, holes_left_out, 0, 4);
	tcase_add_loop_test(calls, copied_in_parts, 1, 5);
	tcase_add_loop_test(calls, stays_registered, 0, 4);
	tcase_add_test(calls, handle_keeps_one);
	tcase_add_loop_test(calls, realloc_fails, 0, 2 * CALLS);
	tcase_add_loop_test(calls, coalesce_fails, 0, 2 * CALLS);
	tcase_add_loop_test(calls, coalesce_undone, 0, 3);
	tcase_add_loop_test(calls, protection_stays, 0, 4);
	tcase_add_test(calls, coalesce_stays_registered);
	suite_add_tcase(s, calls);

	tcase_add_checked_fixture(probe, setup, NULL);
	tcase_add_loop_test(probe, probing, 0, CALLS);
	suite_add_tcase(s, probe);
	return s;
}

int main(void)
{
	return run_suite(suite());
}
