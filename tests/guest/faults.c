// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Let everything that can fail in a call fail in turn: allocations and, in the
 * debug kernel, splits, locks and whatever else the attribute fail_relocate has.
 * The range has pages of every kind. Afterwards all of it is at its old place or
 * at its new one, nothing is lost or charged, and the reverse map finds it.
 *
 * Needs a kernel with fault injection: the debug kernel.
 */
#include "relocate.h"
#include "bus.h"
#include "device.h"
#include "fail_nth.h"
#include "ksm.h"
#include "migrate.h"
#include "uffd.h"

static int fail_nth_fd, device_fd;

static void set_fail_nth(int n)
{
	if (fail_nth_set(fail_nth_fd, n))
		ck_abort_msg("fail-nth: %s", strerror(errno));
}

/* Was the point that set_fail_nth() named reached, and did it fail? */
static bool failed_nth(void)
{
	const int did = fail_nth_did(fail_nth_fd);

	if (did < 0)
		ck_abort_msg("fail-nth: %s", strerror(errno));
	return did;
}

static void setup_faults(void)
{
	fail_nth_setup();
	write_file(THP "hugepages-64kB/enabled", "madvise");
	fail_nth_fd = fail_nth_open();
	ck_assert_int_ge(fail_nth_fd, 0);
	device_fd = device_open();
}

/* ---- the range --------------------------------------------------------------- */

/* Its place in the arena; what is called "page" counts from here. */
#define BASE (arena + 16 * HUGE)

/* Where it is moved to, if with MREMAP_FIXED. */
#define DEST (arena + 48 * HUGE)

enum {
	START = 8,	/* The first large folio is outside with one half, */
	END = 1552,	/* and the last huge page with most of it. */
	PAGES = 2048,	/* With what is outside. */
};

/* Every small page is a point of failure. */
static const struct {
	unsigned short page, n;
	enum {		/* in the order in which they are made */
		MERGED, SHARED, LARGE, SMALL, SWAP, ZERO, GUARD, HUGES, POISONED,
		DEVICE, EXCLUSIVE, MIGRATING, PROTECTED, MARKERS, LOST,
	} kind;
} parts[] = {
	{ 0, 16, LARGE },
	{ 16, 3, SMALL }, { 20, 3, SMALL },
	{ 40, 4, SWAP },
	{ 64, 32, LARGE },
	{ 96, 16, LARGE },	/* Page 101 is dropped. */
	{ 112, 4, ZERO },
	{ 120, 1, GUARD },
	{ 128, 3, MERGED },
	{ 136, 1, POISONED },
	{ 140, 2, DEVICE },
	{ 144, 2, EXCLUSIVE },
	{ 150, 2, MIGRATING },
	{ 160, 3, PROTECTED }, { 170, 2, MARKERS }, { 180, 1, LOST },
	{ 512, 512, HUGES },
	{ 1030, 2, SHARED },
	{ 1100, 3, SMALL },
	{ 1536, 512, HUGES },
};

#define DROPPED 101

/* What a call is, or what its range has. */
#define KEEPS_SOURCE 1
#define SEVERAL 2	/* VMAs, of which one may move without the other. */
#define CUTS 4		/* What is beyond the new end may be cut off first. */
#define OF_FILE 8	/* A private mapping has no large folios of its own. */
#define WATCHED 16	/* by a userfaultfd, which has protected some of it. */
#define FORKED 32	/* A child has two of the pages. */

static int range_is;
static struct migrator migrator;
static struct monitor monitor;
static struct child child;
static pfn_text poisoned_pfn;

static size_t part_pages(size_t i)
{
	switch (parts[i].kind) {
	case HUGES:
		return range_is & OF_FILE ? 8 : parts[i].n;
	case SHARED:
		return range_is & FORKED ? parts[i].n : 0;
	case PROTECTED:
	case MARKERS:
	case LOST:
		return range_is & WATCHED ? parts[i].n : 0;
	default:
		return parts[i].n;
	}
}

/* What the child does with the pages that it shares with us. */
static void run_child(char *pages, size_t len, size_t page, int ready)
{
	munmap(BASE, pages - BASE);
	munmap(pages + len, BASE + PAGES * PAGE - pages - len);
	(void)!write(ready, "", 1);
	child_wait(&child);
	check_from(pages, len, 1, page);
	_exit(0);
}

static void share(char *pages, size_t len, size_t page)
{
	int ready[2];
	char c;

	assert_quietly(!pipe(ready));
	if (child_start(&child))
		run_child(pages, len, page, ready[1]);
	close(ready[1]);
	assert_quietly(read(ready[0], &c, 1) == 1);
	close(ready[0]);
}

/* The contents of a part, if it has any */
static void fill_part(size_t i)
{
	const bool large = !(range_is & OF_FILE) &&
			   (parts[i].kind == LARGE || parts[i].kind == HUGES);
	char *p = BASE + parts[i].page * PAGE;
	const size_t size = part_pages(i) * PAGE;

	switch (parts[i].kind) {
	case GUARD:
	case MARKERS:
	case LOST:
		break;
	case ZERO:
		check_zero(p, size);
		break;
	case MERGED:
		memset(p, pattern(1, parts[i].page), size);
		break;
	default:
		if (large)
			advise(p, size, MADV_HUGEPAGE);
		fill_from(p, size, 1, parts[i].page);
		if (large)
			advise(p, size, SETTLED);
	}
}

/* Make of it what it is to be. */
static void treat_part(size_t i)
{
	char *p = BASE + parts[i].page * PAGE;
	const size_t size = part_pages(i) * PAGE;

	if (!size)
		return;
	switch (parts[i].kind) {
	case MERGED:
		ksm_merge(p, size, KPF_KSM);
		break;
	case SHARED:
		share(p, size, parts[i].page);
		break;
	case SWAP:
		page_out(p, size);
		break;
	case GUARD:
		advise(p, size, MADV_GUARD_INSTALL);
		break;
	case POISONED:
		poison(p, poisoned_pfn);
		break;
	case DEVICE:
		assert_quietly(device(device_fd, HMM_DMIRROR_MIGRATE_TO_DEV, p,
				      size) == size / PAGE);
		break;
	case EXCLUSIVE:
		device(device_fd, HMM_DMIRROR_EXCLUSIVE, p, size);
		break;
	case PROTECTED:
	case MARKERS:
		uffd_protect(monitor.fd, p, size);
		break;
	case LOST:
		uffd_lose(monitor.fd, p, size);
		break;
	default:
		break;
	}
}

static void for_kinds(int first, int last, void (*what)(size_t part))
{
	for (int kind = first; kind <= last; kind++)
		for (size_t i = 0; i < ARRAY_SIZE(parts); i++)
			if ((int)parts[i].kind == kind)
				what(i);
}

static void make_range(int is, int file)
{
	range_is = is;
	if (file < 0)
		map_at(BASE, PAGES * PAGE);
	else if (mmap(BASE, PAGES * PAGE, RW, MAP_PRIVATE | MAP_FIXED_NOREPLACE,
		      file, 0) != BASE)
		ck_abort_msg("mmap of a file: %s", strerror(errno));
	/* One anon_vma from the start, so that it stays one mapping. */
	*BASE = 1;
	advise(BASE, PAGES * PAGE, MADV_DONTNEED);
	advise(BASE, PAGES * PAGE, SETTLED);
	advise(BASE, PAGES * PAGE, MADV_MERGEABLE);

	/* KSM shall see no other pages, and the child have none. */
	for_kinds(MERGED, MERGED, fill_part);
	for_kinds(MERGED, MERGED, treat_part);
	for_kinds(SHARED, SHARED, fill_part);
	for_kinds(SHARED, SHARED, treat_part);
	for_kinds(SHARED + 1, LOST, fill_part);
	for_kinds(SHARED + 1, PROTECTED - 1, treat_part);
	if (is & WATCHED)
		uffd_register(monitor.fd, BASE, PAGES * PAGE,
			      UFFDIO_REGISTER_MODE_MISSING |
			      UFFDIO_REGISTER_MODE_WP);
	for_kinds(PROTECTED, LOST, treat_part);
	advise(BASE + DROPPED * PAGE, PAGE, MADV_DONTNEED);
}

/* Pages from "from" to "to", which would be at "base" plus that. */
static void check_pages(char *base, size_t from, size_t to)
{
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++)
		for (size_t page = parts[i].page;
		     page < parts[i].page + part_pages(i); page++) {
			char *p = base + page * PAGE;

			if (page < from || page >= to || page == DROPPED)
				continue;
			if (parts[i].kind == ZERO)
				check_zero(p, PAGE);
			else if (parts[i].kind == POISONED || parts[i].kind == LOST)
				assert_quietly(bus_at(p) == BUS_MCEERR_AR);
			else if (parts[i].kind == MERGED)
				check_from(p, PAGE, 1, parts[i].page);
			else if (parts[i].kind != GUARD && parts[i].kind != MARKERS)
				check_from(p, PAGE, 1, page);
		}
}

/*
 * What touching the pages does away with is still there, but for what KSM has
 * merged, which the call itself may break up.
 */
static void check_kinds(char *base, int n, bool before)
{
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
		char *p = base + parts[i].page * PAGE;
		const size_t size = part_pages(i) * PAGE;
		size_t is = size / PAGE;

		if (!size)
			continue;
		if (parts[i].kind == MERGED)
			is = before ? count_flagged(p, size, KPF_KSM) : is;
		else if (parts[i].kind == DEVICE)
			is = count_device(device_fd, p, size,
					  HMM_DMIRROR_PROT_DEV_PRIVATE_LOCAL);
		else if (parts[i].kind == EXCLUSIVE || parts[i].kind == SWAP)
			is = count_pages(p, size, SWAPPED);
		else if (parts[i].kind == GUARD)
			is = count_pages(p, size, PM_GUARD);
		else if (parts[i].kind == PROTECTED || parts[i].kind == MARKERS)
			is = count_pages(p, size, PM_UFFD_WP);
		if (is != size / PAGE)
			ck_abort_msg("failure %d: %s it %zu of %zu pages at %u are as they were",
				     n, before ? "before" : "after", is, size / PAGE,
				     parts[i].page);
	}
}

/* ---- the calls ---------------------------------------------------------------- */

static char *moved(char *base, int flags)
{
	char *to = base + START * PAGE;

	return sys_mremap(BASE + START * PAGE, (END - START) * PAGE,
			  (END - START) * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED |
			  flags, to) == to ? base : NULL;
}

static char *between_neighbours(int flags)
{
	return moved(DEST, flags);	/* See make_neighbours(). */
}

static char *not_congruent(int flags)
{
	return moved(DEST + 8 * HUGE + 3 * PAGE, flags);
}

static char *behind_itself(int flags)
{
	return moved(BASE + (PAGES - START) * PAGE, flags);
}

/* To wherever there is room, with 16 pages more. */
static char *grows(int flags)
{
	char *p = sys_mremap(BASE + START * PAGE, (END - START) * PAGE,
			     (END - START + 16) * PAGE, MREMAP_MAYMOVE | flags,
			     NULL);

	return p == MAP_FAILED ? NULL : p - START * PAGE;
}

static char *shrinks(int flags)
{
	char *to = DEST + START * PAGE;

	return sys_mremap(BASE + START * PAGE, (END - START) * PAGE,
			  (END - START - 16) * PAGE, MREMAP_MAYMOVE |
			  MREMAP_FIXED | flags, to) == to ? DEST : NULL;
}

static const struct call {
	/* Returns where the page of BASE is then, or would be; NULL: failed. */
	char *(*call)(int flags);
	int flags;
	int is;
} calls[] = {
	{ between_neighbours, MUST, 0 },
	{ between_neighbours, RELOCATE, 0 },
	{ between_neighbours, MUST | MREMAP_DONTUNMAP, KEEPS_SOURCE },
	{ between_neighbours, MUST, SEVERAL },
	{ between_neighbours, MUST, OF_FILE },
	{ between_neighbours, MUST, WATCHED },
	{ between_neighbours, RELOCATE, FORKED },
	{ between_neighbours, MUST, FORKED },
	{ not_congruent, MUST, 0 },
	{ not_congruent, RELOCATE, 0 },
	{ behind_itself, MUST, 0 },
	{ grows, MUST, 0 },
	{ shrinks, MUST, CUTS },
};

/* What the range merges with at DEST. */
static void make_neighbours(void)
{
	map_at(DEST, PAGES * PAGE);
	advise(DEST, PAGES * PAGE, SETTLED);
	advise(DEST, PAGES * PAGE, MADV_MERGEABLE);
	fill(DEST, START * PAGE, 2);
	fill(DEST + END * PAGE, 16 * PAGE, 3);
	munmap(DEST + START * PAGE, (END - START) * PAGE);
	munmap(DEST + (END + 16) * PAGE, (PAGES - END - 16) * PAGE);
}

static void check_neighbours(void)
{
	check(DEST, START * PAGE, 2);
	check(DEST + END * PAGE, 16 * PAGE, 3);
}

/*
 * What is mapped in the arena, in pages, with its permissions. Neighbours alike
 * count as one: without memory a move does without merging, as ever.
 */
static void read_maps(char *text, size_t size)
{
	const char *p = read_file("/proc/self/maps");
	unsigned long start, end, last_end = 0;
	char perms[5], last_perms[5] = "";
	size_t n = 0, line = 0;

	text[0] = 0;
	for (; *p; p = strchr(p, '\n') + 1) {
		if (sscanf(p, "%lx-%lx %4s", &start, &end, perms) != 3)
			ck_abort_msg("maps: %.80s", p);
		if (end <= (uintptr_t)arena || start >= (uintptr_t)arena + ARENA)
			continue;
		start = (start - (uintptr_t)arena) / PAGE;
		end = (end - (uintptr_t)arena) / PAGE;
		if (start == last_end && !strcmp(perms, last_perms))
			start = strtoul(text + line, NULL, 10);
		else
			line = n;
		n = line + (size_t)snprintf(text + line, size - line,
					    "%lu-%lu %s\n", start, end, perms);
		if (n >= size)
			ck_abort_msg("too many mappings");
		last_end = end;
		strcpy(last_perms, perms);
	}
}

#define MAPS_SIZE 1024

/* The first of two VMAs ends here. */
#define SEVERAL_PART 300

/* One call, with the n-th failure injected unless n is 0, and what became of it */
struct attempt {
	const struct call *c;
	int n;
	char *base;		/* where the pages are now; NULL if it failed */
	int err;
	bool injected;
	long relocated;
};

static bool may_be_refused(const struct call *c)
{
	return c->is & FORKED && c->flags & MUST;
}

/* The first page behind those that are at the new place. */
static size_t end_of(const struct call *c)
{
	return c->is & CUTS ? END - 16 : END;
}

static int open_file(const struct call *c)
{
	const int file = c->is & OF_FILE ? memfd_create("file", 0) : -1;

	if (file >= 0 && ftruncate(file, PAGES * PAGE))
		ck_abort_msg("ftruncate: %s", strerror(errno));
	return file;
}

static void start_watching(void)
{
	monitor_start(&monitor, uffd_open(UFFD_FEATURE_EVENT_REMAP |
					  UFFD_FEATURE_PAGEFAULT_FLAG_WP |
					  UFFD_FEATURE_WP_ASYNC |
					  UFFD_FEATURE_WP_UNPOPULATED |
					  UFFD_FEATURE_POISON), 2);
}

static void stop_watching(const struct attempt *a)
{
	char *base = a->base;

	monitor_check(&monitor, base ? 1 : 0);
	check_kinds(base ? base : BASE, a->n, false);
	uffd_unregister(monitor.fd, BASE, (base ? START : PAGES) * PAGE);
	if (base) {
		uffd_unregister(monitor.fd, BASE + END * PAGE, (PAGES - END) * PAGE);
		uffd_unregister(monitor.fd, DEST + START * PAGE, (END - START) * PAGE);
	}
	monitor_end(&monitor);
	assert_quietly(!monitor.faults);
	close(monitor.fd);
}

/* Make the call while pages migrate; what is mapped then goes to after. */
static void make_call(struct attempt *a, char *after)
{
	const long count = counters().relocate;

	check_kinds(BASE, a->n, true);
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++)
		if (parts[i].kind == MIGRATING)
			migrate_start(&migrator, BASE + parts[i].page * PAGE,
				      parts[i].n * PAGE, PAGE);
	migrate_wait(&migrator);
	if (a->n)
		set_fail_nth(a->n);
	a->base = a->c->call(a->c->flags);
	a->err = errno;
	a->injected = a->n && failed_nth();
	migrate_end(&migrator);
	read_maps(after, MAPS_SIZE);
	a->relocated = counters().relocate - count;
}

/* It failed: for a reason, and everything is where it was. */
static void check_failure(const struct attempt *a, const char *before, const char *after)
{
	const struct call *c = a->c;

	if (!a->injected && !may_be_refused(c))
		ck_abort_msg("failed without reason: %s", strerror(a->err));
	/* EFAULT if what failed is a step of relocating. */
	if (a->err != ENOMEM && (a->err != EFAULT || !(c->flags & MUST)))
		ck_abort_msg("failure %d: %s", a->n, strerror(a->err));
	if (strcmp(before, after) && !(c->is & (SEVERAL | CUTS)))
		ck_abort_msg("failure %d left\n%s\nand there was\n%s", a->n, after, before);
	if (c->is & SEVERAL && mappings(DEST + START * PAGE, PAGE)) {
		check_pages(DEST, START, SEVERAL_PART);
		check_pages(BASE, 0, START);
		check_pages(BASE, SEVERAL_PART, PAGES);
	} else {
		check_pages(BASE, 0, end_of(c));
		check_pages(BASE, END, PAGES);
	}
}

static void assert_source_empty(const struct attempt *a)
{
	if (count_pages(BASE + START * PAGE, (END - START) * PAGE, PRESENT | SWAPPED))
		ck_abort_msg("failure %d: pages at both places", a->n);
}

/* It moved: the mappings are as in good or fallback, if given, and the pages are there. */
static void check_success(const struct attempt *a, const char *good, const char *fallback,
			  char *after)
{
	const struct call *c = a->c;
	const size_t end = end_of(c);

	/*
	 * The source may be there if there was no memory to unmap it,
	 * as after a plain move, but nothing may be in it.
	 */
	if (a->injected && !(c->is & KEEPS_SOURCE) &&
	    mappings(BASE + START * PAGE, (END - START) * PAGE)) {
		assert_source_empty(a);
		munmap(BASE + START * PAGE, (END - START) * PAGE);
		read_maps(after, MAPS_SIZE);
	}
	if (may_be_refused(c))
		ck_abort_msg("failure %d: moved what is shared", a->n);
	if (good && strcmp(after, good) && (!fallback || strcmp(after, fallback)))
		ck_abort_msg("failure %d resulted in\n%s\nnot\n%s", a->n, after, good);
	if (c->flags & MUST && a->relocated != (c->is & SEVERAL ? 2 : 1))
		ck_abort_msg("failure %d: moved, but not relocated", a->n);
	check_pages(a->base, START, end);
	check_pages(BASE, 0, START);
	check_pages(BASE, END, PAGES);
	if (c->is & KEEPS_SOURCE)
		assert_source_empty(a);
	if (!a->n && !(c->is & FORKED)) {
		/* Neither the marker nor the zero pages can be found. */
		advise(a->base + 120 * PAGE, PAGE, MADV_GUARD_REMOVE);
		advise(a->base + 112 * PAGE, 4 * PAGE, MADV_DONTNEED);
		check_found(a->base + START * PAGE, (end - START) * PAGE);
	} else if (a->base != DEST) {
		check_migrates(a->base + START * PAGE, (end - START) * PAGE);
	}
}

/* What make_range() and the call made goes. */
static void take_down(const struct attempt *a, int file)
{
	if (a->base && a->c->call == grows)
		munmap(a->base + START * PAGE, (END - START + 16) * PAGE);
	munmap(arena, ARENA);
	unpoison(poisoned_pfn);
	if (a->c->is & FORKED)
		child_end(&child);
	if (file >= 0)
		close(file);
}

/*
 * Make the range, call, check and remove everything. Returns whether a failure
 * was injected; that is the n-th, none if n is 0.
 */
static bool call_once(const struct call *c, int n, const char *good,
		      const char *fallback, char *after)
{
	struct attempt a = { .c = c, .n = n };
	const int file = open_file(c);
	static char before[MAPS_SIZE];
	long committed;

	if (c->is & WATCHED)
		start_watching();
	committed = file_number("/proc/meminfo", "Committed_AS");
	make_range(c->is, file);
	make_neighbours();
	if (c->is & SEVERAL && mprotect(BASE, SEVERAL_PART * PAGE, PROT_READ))
		ck_abort_msg("mprotect: %s", strerror(errno));
	read_maps(before, MAPS_SIZE);

	make_call(&a, after);

	if (c->is & WATCHED)
		stop_watching(&a);
	else if (a.base || !(c->is & (SEVERAL | CUTS)))
		check_kinds(a.base ? a.base : BASE, n, false);
	if (a.base)
		check_success(&a, good, fallback, after);
	else
		check_failure(&a, before, after);
	if (c->is & FORKED && a.relocated)
		ck_abort_msg("failure %d: relocated what is shared", n);
	check_migrates(BASE, PAGES * PAGE);
	check_migrates(DEST, PAGES * PAGE);
	check_neighbours();

	take_down(&a, file);
	/* The first time there are stacks for other threads, too. */
	if (good && file_number("/proc/meminfo", "Committed_AS") != committed)
		ck_abort_msg("failure %d: %ld kB committed, not %ld", n,
			     file_number("/proc/meminfo", "Committed_AS"), committed);
	return a.injected;
}

START_TEST(every_failure)
{
	static char good[MAPS_SIZE], fallback[MAPS_SIZE], after[MAPS_SIZE];
	const struct call *c = &calls[_i];
	struct call plain = *c;
	int n = 1, coped = 0;

	/* What it looks like if nothing fails; the first time is to warm up. */
	call_once(c, 0, NULL, NULL, good);
	call_once(c, 0, good, NULL, after);
	plain.flags &= ~(RELOCATE | MUST);
	call_once(&plain, 0, NULL, NULL, fallback);

	while (call_once(c, n, good, c->flags & MUST ? NULL : fallback, after)) {
		coped += !strcmp(after, good);
		n++;
	}
	/*
	 * Most failures it copes with, from others it must recover. What is
	 * shared is found before most can fail, and may be refused anyway.
	 */
	ck_assert_msg(n - 1 > (c->is & FORKED ? 3 : 30) &&
		      (n - 1 > coped || (c->is & FORKED && c->flags & MUST)),
		      "%d points of failure, %d no matter", n - 1, coped);
	fprintf(stderr, "# faults %d: %d points of failure, %d no matter\n", _i,
		n - 1, coped);
}
END_TEST

/* Breaking up what KSM has merged takes memory, before anything moves. */
START_TEST(ksm_failure)
{
	const size_t len = 8 * PAGE;
	char *p = BASE, *to = DEST;
	bool injected = true;
	int n = 1, failed = 0;

	for (; injected; n++) {
		char *res;

		map_same(p, len, 2);
		ksm_merge(p, len, KPF_KSM);
		map_filled(DEST, len, 99);
		set_fail_nth(n);
		res = sys_mremap(p, len, len, MREMAP_MAYMOVE | MREMAP_FIXED | MUST,
				 to);
		injected = failed_nth();
		if (res != to) {
			failed++;
			if (!injected)
				ck_abort_msg("failed without reason");
			/* While there is any, the destination is there, too. */
			if (count_flagged(p, len, KPF_KSM))
				check(to, len, 99);
			munmap(to, len);
			if (mappings(p, len) != 1)
				ck_abort_msg("failure %d left something", n);
			to = p;
		}
		check_same(to, len, 2);
		check_migrates(to, len);
		munmap(to, len);
		to = DEST;
	}
	ck_assert_int_gt(failed, 3);
	write_file("/sys/kernel/mm/ksm/run", "2");
}
END_TEST

/*
 * The middle of a mapping moves. A plain move that cannot unmap it where it was leaves it
 * there, too; a relocating one, which is to leave the source mapped, does not move if it
 * cannot split it off. What is accounted for is so until it goes, and nothing else is.
 */
START_TEST(source_stays)
{
	const size_t len = 256 * PAGE, part = 64 * PAGE;
	const int flags = MREMAP_MAYMOVE | MREMAP_FIXED | (_i & 2 ? MUST | MREMAP_DONTUNMAP : 0);
	char *p = BASE, *middle = BASE + part, *to = DEST;
	int stayed = 0, failed = 0;
	bool injected = true;

	/* libcheck's assertions write to a file, which counts in memory. */
	for (int n = 0; injected; n++) {
		const long committed = file_number("/proc/meminfo", "Committed_AS");

		assert_quietly(mmap(p, len, RW, MAP_PRIVATE | MAP_ANONYMOUS |
				    (_i & 1 ? MAP_NORESERVE : 0) | MAP_FIXED_NOREPLACE, -1, 0) == p);
		fill(p, len, 1);
		if (n)
			set_fail_nth(n);
		if (sys_mremap(middle, part, part, flags, to) == to) {
			if (n)
				injected = failed_nth();
			stayed += mappings(middle, part) == 1;
			check_from(to, part, 1, part / PAGE);
		} else {
			assert_quietly(failed_nth());
			failed++;
			check(p, len, 1);
		}
		munmap(to, part);
		munmap(p, len);
		/* The first time there is a stack for another thread, too. */
		if (n && file_number("/proc/meminfo", "Committed_AS") != committed)
			ck_abort_msg("failure %d: %ld kB committed, not %ld", n,
				     file_number("/proc/meminfo", "Committed_AS"), committed);
	}
	ck_assert_int_gt(failed, 0);
	ck_assert_int_gt(stayed, 0);
}
END_TEST

/*
 * What fail_relocate has fails at random, so also several times in a row: page tables
 * that cannot be had any more are waited for. With folios across page tables.
 */
START_TEST(failures_in_a_row)
{
	const size_t len = 8 * HUGE, edge = HUGE - 16 * PAGE;
	char *to = DEST + 3 * PAGE;

	write_file("/sys/kernel/debug/fail_relocate/task-filter", "Y");
	write_file("/sys/kernel/debug/fail_relocate/times", "-1");
	write_file("/sys/kernel/debug/fail_relocate/probability", "40");
	for (int i = 0; i < 10; i++) {
		char *res;

		map_at(BASE, len);
		advise(BASE, len, MADV_HUGEPAGE);
		for (char *p = BASE; p < BASE + len; p += HUGE) {
			fill(p + PAGE, 4 * PAGE, 1);
			fill(p + edge, 16 * PAGE, 2);
		}
		write_file("/proc/self/make-it-fail", "1");
		res = sys_mremap(BASE, len, len, MREMAP_MAYMOVE | MREMAP_FIXED | MUST, to);
		write_file("/proc/self/make-it-fail", "0");
		if (res != to)
			ck_abort_msg("round %d: %s", i, strerror(errno));
		for (char *p = to; p < to + len; p += HUGE) {
			check_rmap(p + PAGE, 4 * PAGE, 1);
			check_rmap(p + edge, 16 * PAGE, 2);
		}
		munmap(to, len);
	}
	write_file("/sys/kernel/debug/fail_relocate/probability", "0");
}
END_TEST

/* ---- others meanwhile ----------------------------------------------------------- */

static void set_pause(const char *usecs)
{
	write_file("/sys/kernel/debug/fail_relocate/pause-usecs", usecs);
}

static struct {
	unsigned long pfn[8];
	size_t n;
	volatile bool over;
	volatile int done, failed;
} walked_pages;

/*
 * Soft-offlines page after page, first the one that is switched first. That takes a walk
 * of the reverse map, and no mmap lock. Others may hold on to a folio for a moment.
 */
static void *offline_thread(void *arg)
{
	int fd = open("/sys/devices/system/memory/soft_offline_page", O_WRONLY);
	char text[32];

	(void)arg;
	usleep(300000);
	for (size_t i = 0; i < walked_pages.n && !walked_pages.over; i++) {
		int tries = 0;

		snprintf(text, sizeof(text), "%#lx", walked_pages.pfn[i] * PAGE);
		while (write(fd, text, strlen(text)) < 0 && ++tries < 3)
			usleep(1000);
		/* Only what was tried as long as the move went on tells something. */
		if (walked_pages.over)
			break;
		walked_pages.failed += tries == 3;
		walked_pages.done += tries < 3;
	}
	close(fd);
	return NULL;
}

/*
 * While the move goes on, a walk finds every folio: those that have their new place
 * already, and the others. Small pages and huge ones; huge ones that move by two pages
 * in terms of the page offset, to an anon_vma that they have already.
 */
START_TEST(walked)
{
	/* Page tables enough for a few tries before the pass is over */
	const size_t len = (_i ? 12 : 24) * HUGE, some = 16 * PAGE;
	char *p = BASE, *home = arena + 2 * HUGE, *to = DEST;
	struct counters before;
	pfn_text pfn;
	pthread_t id;

	if (_i < 2) {
		map_at(p, len);
		/* What it will merge with. */
		map_filled(to - PAGE, PAGE, 77);
	} else {
		map_huge(home, HUGE + len, 77);
		move_to(home + HUGE, len, p, 0);
		to = home + HUGE + 2 * PAGE;
		ck_assert_ptr_eq(sys_mremap(home, HUGE, HUGE + 2 * PAGE, 0, NULL), home);
	}
	if (_i == 1)
		advise(to - PAGE, PAGE, SETTLED);
	for (size_t i = 0; i < len / HUGE && !_i; i++)
		fill_from(p + i * HUGE, some, 1, 0);
	if (_i == 1)
		fill_huge(p, len, 1);
	if (_i == 2)
		fill(p, len, 1);
	if (_i)
		ck_assert_int_eq(smaps_kb(p, len, "AnonHugePages"), len >> 10);
	walked_pages.n = ARRAY_SIZE(walked_pages.pfn);
	for (size_t i = 0; i < walked_pages.n; i++)
		walked_pages.pfn[i] = pfn_of(p + i / (_i ? 1 : 2) * HUGE +
					     (3 + i) * PAGE);
	before = counters();

	set_pause("200000");
	assert_quietly(!pthread_create(&id, NULL, offline_thread, NULL));
	move_to(p, len, to, MUST);
	walked_pages.over = true;
	pthread_join(id, NULL);
	set_pause("0");

	fprintf(stderr, "# walked %d: %d pages found meanwhile\n", _i, walked_pages.done);
	ck_assert_int_eq(walked_pages.failed, 0);
	ck_assert_int_gt(walked_pages.done, 0);
	ck_assert_int_eq(counters().relocate, before.relocate + 1);
	ck_assert_int_eq(mappings(to - PAGE, len + PAGE), 1);
	if (_i)
		check(to, len, 1);
	for (size_t i = 0; i < len / HUGE; i += 5)
		check_rmap_from(to + i * HUGE, some, 1, _i ? i * 512 : 0);
	munmap(arena, ARENA);
	for (size_t i = 0; i < walked_pages.n; i++) {
		snprintf(pfn, sizeof(pfn), "%#lx", walked_pages.pfn[i]);
		/* Fails for what has not been offlined. */
		fail_nth_write("/sys/kernel/debug/hwpoison/unpoison-pfn", pfn);
	}
}
END_TEST

/* Makes a file huge again and again, in a process that does not wait for the mover. */
static void run_collapse(int file, volatile int *collapsed)
{
	char *p = mmap(NULL, 4 * HUGE, RW, MAP_SHARED, file, 0);

	p = (char *)(((uintptr_t)p + HUGE - 1) & ~(HUGE - 1));
	if (mmap(p, 2 * HUGE, RW, MAP_SHARED | MAP_FIXED, file, 0) != p)
		_exit(1);
	for (;;) {
		if (!madvise(p, 2 * HUGE, MADV_COLLAPSE))
			++*collapsed;
		for (size_t i = 0; i < 2; i++) {
			fallocate(file, 3 /* FALLOC_FL_PUNCH_HOLE, KEEP_SIZE */,
				  (off_t)(i * HUGE + 100 * PAGE), PAGE);
			p[i * HUGE + 100 * PAGE] = 1;
		}
	}
}

/*
 * A page table of a private file mapping may be removed if it has pages of the file
 * only, for which the kernel looks at the anon_vma: there must always be one.
 */
START_TEST(collapsed)
{
	const size_t len = 2 * HUGE;
	volatile int *count = mmap(NULL, PAGE, RW, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int file = memfd_create("file", 0), last;
	char *p = BASE, *q = DEST;
	pid_t pid;

	ck_assert_int_eq(ftruncate(file, len), 0);
	ck_assert_ptr_eq(mmap(p, len, RW, MAP_PRIVATE | MAP_FIXED_NOREPLACE, file, 0), p);
	fill(p, 16 * PAGE, 1);
	fill(p + HUGE, 16 * PAGE, 2);
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (!pid) {
		munmap(arena, ARENA);
		run_collapse(file, count);
	}
	while (!*count)
		usleep(1000);
	/* It shared the pages until it unmapped them. */
	fill(p, 16 * PAGE, 1);
	fill(p + HUGE, 16 * PAGE, 2);

	last = *count;
	set_pause("50000");
	for (int i = 0; i < 30; i++) {
		char *from = i & 1 ? q : p, *to = i & 1 ? p : q;

		move_to(from, len, to, MUST);
		check(to, 16 * PAGE, 1);
		check(to + HUGE, 16 * PAGE, 2);
	}
	set_pause("0");
	last = *count - last;
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	fprintf(stderr, "# collapsed: %d times meanwhile\n", last);
	ck_assert_int_gt(last, 10);
	check_rmap(p, 16 * PAGE, 1);
	check_rmap(p + HUGE, 16 * PAGE, 2);
}
END_TEST

/* -------------------------------------------------------------------------- */

int main(void)
{
	Suite *s = suite_create("faults");
	TCase *tc = add_case(s, "faults");

	tcase_add_checked_fixture(tc, setup_faults, NULL);
	tcase_add_loop_test(tc, every_failure, 0, ARRAY_SIZE(calls));

	tc = add_case(s, "ksm");
	tcase_add_checked_fixture(tc, setup_faults, NULL);
	tcase_add_test(tc, ksm_failure);

	tc = add_case(s, "accounts");
	tcase_add_checked_fixture(tc, setup_faults, NULL);
	tcase_add_loop_test(tc, source_stays, 0, 4);

	tc = add_case(s, "in-a-row");
	tcase_add_checked_fixture(tc, setup_faults, NULL);
	tcase_add_test(tc, failures_in_a_row);

	tc = add_case(s, "meanwhile");
	tcase_add_checked_fixture(tc, setup_faults, NULL);
	tcase_add_loop_test(tc, walked, 0, 3);
	tcase_add_test(tc, collapsed);

	if (access("/proc/thread-self/fail-nth", W_OK)) {
		puts("1..0 # SKIP this kernel has no fault injection");
		return EXIT_SUCCESS;
	}
	return run_guest_suite(s);
}
