// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * MADV_COALESCE: memory that is in pieces becomes one mapping where it is; by the process
 * itself, by another one, and by itself at vm.max_map_count.
 */
#include "relocate.h"
#include "ksm.h"
#include "uffd.h"

#include <linux/prctl.h>
#include <sys/prctl.h>
#include <sys/uio.h>

#ifndef MADV_COALESCE
#define MADV_COALESCE 104
#endif

#define FROM (arena + 16 * HUGE)
#define TO (arena + 2 * HUGE)

static int coalesce(char *addr, size_t len)
{
	return madvise(addr, len, MADV_COALESCE);
}

/*
 * Memory in pieces: each was filled by itself and then moved, so that none merges. As a
 * whole it has the pattern.
 */
static char *map_pieces(char *to, int n, size_t len, unsigned int seed)
{
	for (int i = 0; i < n; i++) {
		char *from = FROM + 2 * i * len;

		map_at(from, len);
		fill_from(from, len, seed, i * len / PAGE);
		move_to(from, len, to + i * len, 0);
	}
	ck_assert_int_eq(mappings(to, n * len), n);
	return to;
}

/* All that touches is one mapping afterwards, which the reverse map finds. */
static void check_coalesces(char *p, size_t len, unsigned int seed)
{
	const long merged = vmstat("coalesce_vma"), before = mappings(p, len);
	const size_t pages = count_pages(p, len, PRESENT | SWAPPED);

	ck_assert_int_eq(coalesce(p, len), 0);
	ck_assert_int_eq(mappings(p, len), 1);
	ck_assert_int_eq(vmstat("coalesce_vma"), merged + before - 1);
	ck_assert_uint_eq(count_pages(p, len, PRESENT | SWAPPED), pages);
	if (seed)
		check_rmap(p, len, seed);
}

#define TRACE_APART TRACING "events/mmap/coalesce_apart/enable"

static void trace_apart(void)
{
	write_file(TRACE_APART, "1");
	close(open(TRACING "trace", O_WRONLY | O_TRUNC));
}

/* Events since trace_apart(), with one reason, or NULL for any. */
static int count_apart(const char *reason)
{
	const char *p = read_file(TRACING "trace");
	char want[40];
	int n = 0;

	snprintf(want, sizeof(want), " reason=%s\n", reason);
	while ((p = strstr(p, " coalesce_apart: "))) {
		p = strstr(p, " reason=");
		n += !reason || !strncmp(p, want, strlen(want));
		p++;
	}
	return n;
}

static void check_stays(char *p, size_t len, int n, const char *reason)
{
	const long merged = vmstat("coalesce_vma"), folios = vmstat("coalesce_folio");

	trace_apart();
	ck_assert_int_eq(coalesce(p, len), 0);
	write_file(TRACE_APART, "0");
	ck_assert_int_eq(mappings(p, len), n);
	ck_assert_int_eq(count_apart(NULL), reason ? n - 1 : 0);
	ck_assert_int_eq(count_apart(reason), reason ? n - 1 : 0);
	ck_assert_int_eq(vmstat("coalesce_vma"), merged);
	ck_assert_int_eq(vmstat("coalesce_folio"), folios);
}

/* ---- what merges ----------------------------------------------------------- */

START_TEST(pieces)
{
	const int n = _i ? 300 : 2;
	const size_t len = (_i == 2 ? 1 : 4) * PAGE;

	check_coalesces(map_pieces(TO, n, len, 1), n * len, 1);
}
END_TEST

/* Nothing changes that is counted: memory, mappings, what is locked. */
START_TEST(accounts)
{
	static const char *const names[] = { "VmSize", "VmLck", "VmRSS", "RssAnon", "VmData" };
	const size_t len = 4 * PAGE, n = 50;
	long before[ARRAY_SIZE(names)], committed;
	char *p = map_pieces(TO, n, len, 1);

	ck_assert_int_eq(mlock(p, n * len), 0);
	vmstat("coalesce_vma");
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		before[i] = file_number("/proc/self/status", names[i]);
	committed = file_number("/proc/meminfo", "Committed_AS");
	ck_assert_int_eq(coalesce(p, n * len), 0);
	ck_assert_int_eq(file_number("/proc/meminfo", "Committed_AS"), committed);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		ck_assert_int_eq(file_number("/proc/self/status", names[i]), before[i]);
	ck_assert_int_eq(mappings(p, n * len), 1);
	check(p, n * len, 1);
}
END_TEST

/* Of two neighbours the smaller one changes, whichever side it is on. */
START_TEST(smaller_changes)
{
	const size_t small = 3 * PAGE, large = 40 * PAGE;
	char *p = TO, *from = FROM;
	long folios;

	map_at(from, large + small);
	fill(from, large + small, 1);
	/* The small one is before or behind, where it was not. */
	move_to(from, large, p + (_i ? 0 : small), 0);
	move_to(from + large, small, _i ? p + large : p, 0);
	if (_i) {
		/* That would have been home. */
		ck_assert_int_eq(munmap(p + large, small), 0);
		map_at(from + 200 * PAGE, small);
		fill_from(from + 200 * PAGE, small, 1, 40);
		move_to(from + 200 * PAGE, small, p + large, 0);
	}
	ck_assert_int_eq(mappings(p, large + small), 2);
	folios = vmstat("coalesce_folio");
	check_coalesces(p, large + small, 0);
	ck_assert_int_ge(vmstat("coalesce_folio") - folios, 3);
	ck_assert_int_le(vmstat("coalesce_folio") - folios, 6);
	if (_i) {
		check_rmap(p, large + small, 1);
	} else {
		check_rmap_from(p, small, 1, 40);
		check_rmap(p + small, large, 1);
	}
}
END_TEST

/* Whole mappings that the range touches, and their neighbours. */
START_TEST(range_is_rounded)
{
	const size_t len = 8 * PAGE;
	char *p = map_pieces(TO, 7, len, 1);

	ck_assert_int_eq(coalesce(p + 2 * len + PAGE, PAGE), 0);
	ck_assert_int_eq(mappings(p, 7 * len), 7 - 2);
	ck_assert_int_eq(mappings(p + len, 3 * len), 1);
	ck_assert_int_eq(mappings(p, len + 1), 2);
	/* Exactly one. */
	ck_assert_int_eq(coalesce(p + 5 * len, len), 0);
	ck_assert_int_eq(mappings(p + 4 * len, 3 * len), 1);
	ck_assert_int_eq(mappings(p, 7 * len), 3);
	check_rmap(p, 7 * len, 1);
}
END_TEST

/* However many the range touches, only one more on either side takes part. */
START_TEST(no_more_than_neighbours)
{
	const size_t len = PAGE;

	for (int n = 1; n <= 5; n++) {
		char *p = map_pieces(TO, 20, len, 1);

		ck_assert_int_eq(coalesce(p + 6 * len, n * len), 0);
		ck_assert_int_eq(mappings(p, 20 * len), 20 - (n + 1));
		ck_assert_int_eq(mappings(p + 5 * len, (n + 2) * len), 1);
		check_rmap(p, 20 * len, 1);
		ck_assert_int_eq(munmap(p, 20 * len), 0);
	}
}
END_TEST

/* What has never been touched takes part, before, behind, and between. */
START_TEST(unfaulted)
{
	const size_t len = 4 * PAGE;
	char *p = TO;

	for (int i = 0; i < 5; i++) {
		char *from = FROM + 2 * i * len;

		map_at(from, len);
		/* Populated and emptied: it has a place, and no pages. */
		if (i % 2 == _i)
			fill_from(from, len, 1, i * 4);
		move_to(from, len, p + i * len, 0);
	}
	check_coalesces(p, 5 * len, 0);
	for (int i = 0; i < 5; i++) {
		if (i % 2 == _i)
			check_from(p + i * len, len, 1, i * 4);
		else
			check_zero(p + i * len, len);
	}
}
END_TEST

/* No page can get an index below 0: the other one changes, though it is larger. */
START_TEST(no_index_below_zero)
{
	const size_t before = (_i ? 20 : 200) * PAGE, len = 40 * PAGE;
	char *p = TO, *low = (char *)(16 * PAGE);

	map_at(low, len);
	fill(low, len, 1);
	move_to(low, len, p + before, 0);
	map_at(p, before);
	if (_i)
		fill(p, before, 2);
	ck_assert_int_eq(mappings(p, before + len), 2);
	check_coalesces(p, before + len, 0);
	if (_i)
		check_rmap(p, before, 2);
	check_rmap(p + before, len, 1);
}
END_TEST

/* Two parts change places: old and new one overlap in one anon_vma. */
START_TEST(parts_swapped)
{
	const size_t len = (_i < 2 ? 16 : 512) * PAGE;
	char *p = TO, *from = FROM;

	if (_i == 1)
		map_large(from, 2 * len, len, 1);
	else if (_i == 2)
		map_huge(from, 2 * len, 1);
	else
		map_filled(from, 2 * len, 1);
	move_to(from, len, p + len, 0);
	move_to(from + len, len, p, 0);
	ck_assert_int_eq(mappings(p, 2 * len), 2);
	check_coalesces(p, 2 * len, 0);
	if (_i == 1)
		ck_assert_uint_eq(count_in_folios(p, 2 * len, 16), 32);
	if (_i == 2)
		ck_assert_int_eq(smaps_kb(p, 2 * len, "AnonHugePages"), 2 * len >> 10);
	check_rmap_from(p, len, 1, len / PAGE);
	check_rmap(p + len, len, 1);
}
END_TEST

/* Entries of other kinds stay what they are. */
START_TEST(swapped_and_guarded)
{
	const size_t len = 16 * PAGE;
	char *p = map_pieces(TO, 6, len, 1);
	volatile char *read = p;

	page_out(p, 6 * len);
	/* Some are in the swap cache as well as mapped. */
	for (size_t i = 0; i < 6 * len; i += 5 * PAGE)
		(void)read[i];
	ck_assert_int_eq(madvise(p + 3 * PAGE, PAGE, MADV_DONTNEED), 0);
	ck_assert_int_eq(madvise(p + 4 * len, PAGE, MADV_GUARD_INSTALL), 0);
	ck_assert_int_eq(coalesce(p, 6 * len), 0);
	ck_assert_int_eq(mappings(p, 6 * len), 1);
	ck_assert(pagemap(p + 4 * len) & PM_GUARD);
	check_zero(p + 3 * PAGE, PAGE);
	fill_from(p + 3 * PAGE, PAGE, 1, 3);
	ck_assert_int_eq(madvise(p + 4 * len, PAGE, MADV_GUARD_REMOVE), 0);
	fill_from(p + 4 * len, PAGE, 1, 4 * 16);
	check_rmap(p, 6 * len, 1);
}
END_TEST

/* ---- what does not --------------------------------------------------------- */

static void differ_protection(char *p, size_t len)
{
	ck_assert_int_eq(mprotect(p, len, PROT_READ), 0);
}

static void differ_advice(char *p, size_t len)
{
	advise(p, len, MADV_DONTFORK);
}

static void differ_name(char *p, size_t len)
{
	ck_assert_int_eq(prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, p, len, "one"), 0);
}

static void differ_lock(char *p, size_t len)
{
	ck_assert_int_eq(mlock(p, len), 0);
}

static void differ_policy(char *p, size_t len)
{
	unsigned long node = 2;

	ck_assert_int_eq(syscall(SYS_mbind, p, len, 1 /* MPOL_PREFERRED */, &node, 8, 0), 0);
}

static void differ_seal(char *p, size_t len)
{
	ck_assert_int_eq(syscall(462 /* mseal */, p, len, 0), 0);
}

static void (*const differences[])(char *p, size_t len) = {
	differ_protection, differ_advice, differ_name, differ_lock, differ_policy, differ_seal,
};

/* One mapping differs from its neighbours; as soon as they are alike, they merge. */
START_TEST(attributes)
{
	const size_t len = 4 * PAGE;
	char *p = map_pieces(TO, 3, len, 1);

	differences[_i](p + len, len);
	check_stays(p, 3 * len, 3, "attributes");
	differences[_i](p, len);
	differences[_i](p + 2 * len, len);
	ck_assert_int_eq(coalesce(p, 3 * len), 0);
	ck_assert_int_eq(mappings(p, 3 * len), 1);
	check(p, 3 * len, 1);
}
END_TEST

START_TEST(shared_with_child)
{
	const size_t len = 4 * PAGE;
	char *p = map_pieces(TO, 3, len, 1);
	struct child child;

	if (child_start(&child)) {
		child_wait(&child);
		check_stays(p, 3 * len, 3, "shared");
		check(p, 3 * len, 1);
		_exit(0);
	}
	check_stays(p, 3 * len, 3, "shared");
	child_end(&child);
	check_coalesces(p, 3 * len, 1);
}
END_TEST

/* What a child has written is its own, though its anon_vmas are of the family. */
START_TEST(written_by_child)
{
	const size_t len = 4 * PAGE;
	char *p = map_pieces(TO, 5, len, 1);
	struct child child;

	if (child_start(&child)) {
		fill(p, 5 * len, 2);
		check_coalesces(p, 5 * len, 2);
		child_wait(&child);
		_exit(0);
	}
	check(p, 5 * len, 1);
	child_end(&child);
	check_coalesces(p, 5 * len, 1);
}
END_TEST

/* Two that fit already, with an anon_vma of the family, and a small one behind them. */
START_TEST(fits_in_child)
{
	const size_t len = 4 * PAGE;
	char *from = FROM, *p = TO;
	struct child child;

	map_at(from, 2 * len);
	fill(from, 2 * len, 1);
	if (child_start(&child)) {
		const int fd = uffd_open(0);

		fill(from, 2 * len, 2);
		/* A move ends a registration, but looks for mergers before. */
		uffd_register(fd, from + len, len, UFFDIO_REGISTER_MODE_WP);
		move_to(from, len, p, 0);
		move_to(from + len, len, p + len, 0);
		close(fd);
		map_at(p + 2 * len, PAGE);
		assert_quietly(mappings(p, 2 * len + PAGE) == 3);
		assert_quietly(!coalesce(p, 2 * len + PAGE));
		assert_quietly(mappings(p, 2 * len) == 1);
		check(p, 2 * len, 2);
		_exit(0);
	}
	child_end(&child);
}
END_TEST

/* A single page that is shared keeps its mapping at its place, and no other. */
START_TEST(one_page_shared)
{
	const size_t len = 4 * PAGE;
	char *p = map_pieces(TO, 5, len, 1);
	struct child child;

	if (child_start(&child)) {
		child_wait(&child);
		check(p, 5 * len, 1);
		_exit(0);
	}
	for (int i = 0; i < 20; i++)
		if (i != 9)
			fill_from(p + i * PAGE, PAGE, 1, i);
	ck_assert_int_eq(coalesce(p, 5 * len), 0);
	/* It has stayed where it was, and what is not larger has come to it. */
	ck_assert_int_eq(mappings(p, 5 * len), 2);
	ck_assert_int_eq(mappings(p, 2 * len), 1);
	check(p, 5 * len, 1);
	child_end(&child);
	check_coalesces(p, 5 * len, 1);
}
END_TEST

START_TEST(ksm)
{
	const size_t len = 8 * PAGE;
	char *p = TO;

	for (int i = 0; i < 3; i++) {
		map_same(FROM + 2 * i * len, len, 2);
		move_to(FROM + 2 * i * len, len, p + i * len, 0);
	}
	ksm_merge(p, 3 * len, KPF_KSM);
	check_coalesces(p, 3 * len, 0);
	check_same(p, 3 * len, 2);
	check_migrates(p, 3 * len);
	ksm_merge(p, 3 * len, KPF_KSM);
}
END_TEST

START_TEST(userfaultfd)
{
	const size_t len = 4 * PAGE;
	char *p = map_pieces(TO, 4, len, 1);
	int fd = uffd_open(0);

	uffd_register(fd, p, 2 * len, UFFDIO_REGISTER_MODE_WP);
	uffd_protect(fd, p + PAGE, PAGE);
	ck_assert_int_eq(coalesce(p, 4 * len), 0);
	ck_assert_int_eq(mappings(p, 4 * len), 2);
	ck_assert(pagemap(p + PAGE) & PM_UFFD_WP);
	ck_assert(!(pagemap(p) & PM_UFFD_WP));
	close(fd);
	ck_assert_int_eq(coalesce(p, 4 * len), 0);
	ck_assert_int_eq(mappings(p, 4 * len), 1);
	check_rmap(p, 4 * len, 1);
}
END_TEST

/* Files, shared memory: nothing happens to them, and that is neither error nor event. */
START_TEST(other_mappings)
{
	const size_t len = 4 * PAGE;
	char *p = TO;
	int fd = memfd_create("file", 0);

	ck_assert_int_eq(ftruncate(fd, 2 * len), 0);
	for (int i = 0; i < 2; i++)
		ck_assert_ptr_eq(mmap(p + i * len, len, RW, MAP_FIXED |
				      (_i ? MAP_PRIVATE : MAP_SHARED), fd, (1 - i) * len),
				 p + i * len);
	fill(p, 2 * len, 1);
	check_stays(p, 2 * len, 2, NULL);
	check(p, 2 * len, 1);
	close(fd);
}
END_TEST

START_TEST(arguments)
{
	const size_t len = 4 * PAGE;
	char *p = map_pieces(TO, 2, len, 1);

	ck_assert_int_eq(coalesce(p, 0), 0);
	errno = 0;
	ck_assert_int_eq(coalesce(p + 1, len), -1);
	ck_assert_int_eq(errno, EINVAL);
	ck_assert_int_eq(mappings(p, 2 * len), 2);
	/* Gaps, nothing at all, and all that there is. */
	ck_assert_int_eq(coalesce(FROM, len), 0);
	ck_assert_int_eq(coalesce(p - 8 * len, 4 * len), 0);
	ck_assert_int_eq(mappings(p, 2 * len), 2);
	ck_assert_int_eq(coalesce(NULL, 1UL << 46), 0);
	ck_assert_int_eq(mappings(p, 2 * len), 1);
	check(p, 2 * len, 1);
}
END_TEST

/* ---- from outside ----------------------------------------------------------- */

static int process_coalesce(pid_t pid, char *p, size_t len)
{
	struct iovec range = { p, len };
	int fd = (int)syscall(SYS_pidfd_open, pid, 0), err;
	ssize_t ret;

	/* It may be gone. */
	if (fd < 0)
		return -1;
	ret = syscall(SYS_process_madvise, fd, &range, 1, MADV_COALESCE, 0);
	err = errno;
	close(fd);
	errno = err;
	return ret == (ssize_t)len ? 0 : -1;
}

START_TEST(another_process)
{
	const size_t len = 4 * PAGE;
	struct child child;
	int ready[2];
	char c;

	ck_assert_int_eq(pipe(ready), 0);
	if (child_start(&child)) {
		char *p = map_pieces(TO, 100, len, 1);

		(void)!write(ready[1], "", 1);
		child_wait(&child);
		ck_assert_int_eq(mappings(p, 100 * len), 1);
		check_rmap(p, 100 * len, 1);
		_exit(0);
	}
	ck_assert_int_eq(read(ready[0], &c, 1), 1);
	if (!fork()) {
		/* Who may not look into it may not do that. */
		if (setresgid(1000, 1000, 1000) || setresuid(1000, 1000, 1000) ||
		    !process_coalesce(child.pid, TO, 100 * len) || errno != EACCES)
			_exit(1);
		_exit(0);
	}
	int status;

	ck_assert_int_gt(wait(&status), 0);
	ck_assert_int_eq(status, 0);
	ck_assert_int_eq(process_coalesce(child.pid, TO, 100 * len), 0);
	child_end(&child);
}
END_TEST

/* Two that coalesce a third, which exits meanwhile, or becomes another program. */
START_TEST(while_it_exits)
{
	const size_t len = 2 * PAGE;

	for (int round = 0; round < (kernel_is_slow() ? 5 : 20); round++) {
		struct child child, others[2];
		int ready[2];
		char c;

		ck_assert_int_eq(pipe(ready), 0);
		if (child_start(&child)) {
			map_pieces(TO, 200, len, 1);
			(void)!write(ready[1], "", 1);
			child_wait(&child);
			if (_i)
				execl("/bin/true", "true", (char *)NULL);
			_exit(_i);
		}
		ck_assert_int_eq(read(ready[0], &c, 1), 1);
		for (int i = 0; i < 2; i++)
			if (child_start(&others[i])) {
				close(child.let_go);
				process_coalesce(child.pid, TO, 200 * len);
				_exit(0);
			}
		child_end(&child);
		for (int i = 0; i < 2; i++)
			child_end(&others[i]);
		close(ready[0]);
		close(ready[1]);
	}
}
END_TEST

static volatile bool over;

static void *unmaps(void *arg)
{
	char *p = arg;

	for (size_t i = 0; !over; i = (i + 7) % 2000) {
		munmap(p + i * PAGE, PAGE);
		mmap(p + i * PAGE, PAGE, RW, ANON | MAP_FIXED, -1, 0);
		p[i * PAGE] = 1;
	}
	return NULL;
}

/* Another thread unmaps what is next, while the mmap lock is free for a moment. */
START_TEST(others_unmap)
{
	pthread_t thread;

	over = false;
	map_pieces(TO, 2000, PAGE, 1);
	assert_quietly(!pthread_create(&thread, NULL, unmaps, TO));
	for (int i = 0; i < (kernel_is_slow() ? 6 : 200); i++)
		ck_assert_int_eq(coalesce(TO, 2000 * PAGE), 0);
	over = true;
	pthread_join(thread, NULL);
	ck_assert_int_eq(coalesce(TO, 2000 * PAGE), 0);
	ck_assert_int_eq(mappings(TO, 2000 * PAGE), 1);
	check_found(TO, 2000 * PAGE);
}
END_TEST

/* ---- at the limit ----------------------------------------------------------- */

#define LIMIT "/proc/sys/vm/max_map_count"
#define AT_LIMIT "/proc/sys/vm/coalesce_at_limit"

static void limit_reset(void)
{
	write_file(AT_LIMIT, "1");
	write_file(LIMIT, "65530");
}

/* Pieces of a page each, as many as there may be. Returns how many. */
static int fill_to_limit(int limit)
{
	char number[12];
	int n = 0;
	void *p;

	write_file(AT_LIMIT, "0");
	snprintf(number, sizeof(number), "%d", limit);
	write_file(LIMIT, number);
	for (;; n++) {
		char *from = FROM + 2 * n * PAGE;

		p = mmap(from, PAGE, RW, ANON | MAP_FIXED_NOREPLACE, -1, 0);
		if (p == MAP_FAILED)
			break;
		fill_from(from, PAGE, 1, n);
		p = sys_mremap(from, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, TO + n * PAGE);
		if (p == MAP_FAILED)
			break;
	}
	assert_quietly(errno == ENOMEM);
	/* A move needs more room than others. */
	for (char *gap = TO + 8 * HUGE; p != MAP_FAILED || gap == TO + 8 * HUGE; gap += 2 * PAGE)
		p = mmap(gap, PAGE, PROT_NONE, ANON | MAP_FIXED_NOREPLACE, -1, 0);
	assert_quietly(errno == ENOMEM);
	return n;
}

static long call_mmap(void)
{
	return mmap(NULL, PAGE, PROT_EXEC, MAP_SHARED | MAP_ANONYMOUS, -1, 0) == MAP_FAILED;
}

static long call_munmap(void)
{
	return munmap(TO - 9 * PAGE, PAGE);
}

static long call_mprotect(void)
{
	return mprotect(TO - 9 * PAGE, PAGE, PROT_READ);
}

static long call_madvise(void)
{
	return madvise(TO - 9 * PAGE, PAGE, MADV_DONTFORK);
}

static long call_mremap(void)
{
	return sys_mremap(TO - 9 * PAGE, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, NULL) ==
	       MAP_FAILED;
}

static long call_brk(void)
{
	char *now = (char *)syscall(SYS_brk, 0);

	return (char *)syscall(SYS_brk, now + 64 * PAGE) == now;
}

static long (*const calls[])(void) = {
	call_mmap, call_munmap, call_mprotect, call_madvise, call_mremap, call_brk,
};

/* Each call that may need another mapping finds room, unless that is turned off. */
START_TEST(call_at_limit)
{
	struct child child;
	int n;

	if (child_start(&child)) {
		/* One that is to be split, and a heap that ends in it */
		map_at(TO - 16 * PAGE, 15 * PAGE);
		syscall(SYS_brk, syscall(SYS_brk, 0) + PAGE);
		n = fill_to_limit(500);
		assert_quietly(n > 300);
		errno = 0;
		assert_quietly(calls[_i]());
		write_file(AT_LIMIT, "1");
		assert_quietly(!calls[_i]());
		assert_quietly(mappings(TO, n * PAGE) == 1);
		check(TO, n * PAGE, 1);
		_exit(0);
	}
	child_end(&child);
}
END_TEST

/* What cannot merge, such as stacks and their guards, is no reason to give up. */
START_TEST(behind_guards)
{
	const int guards = 1500, n = 500;
	char *below = arena - 2000 * PAGE;
	struct child child;

	if (child_start(&child)) {
		write_file(AT_LIMIT, "0");
		for (int i = 0; i < guards; i++)
			map_at(below + i * PAGE, PAGE);
		for (int i = 0; i < guards; i += 2)
			mprotect(below + i * PAGE, PAGE, PROT_NONE);
		map_pieces(TO, n, PAGE, 1);
		write_file(LIMIT, "2000");
		assert_quietly(call_mmap());
		write_file(AT_LIMIT, "1");
		assert_quietly(!call_mmap());
		assert_quietly(mappings(TO, n * PAGE) == 1);
		check(TO, n * PAGE, 1);
		_exit(0);
	}
	child_end(&child);
}
END_TEST

/* Without being asked, nobody breaks up what KSM has merged. */
START_TEST(ksm_at_limit)
{
	const size_t len = 8 * PAGE;

	for (int i = 0; i < 3; i++) {
		map_same(FROM + 2 * i * len, len, 2);
		move_to(FROM + 2 * i * len, len, TO + i * len, 0);
	}
	ksm_merge(TO, 3 * len, KPF_KSM);
	write_file(LIMIT, "10");
	madvise(arena, PAGE, MADV_DONTFORK);
	write_file(LIMIT, "65530");
	ck_assert_uint_eq(count_flagged(TO, 3 * len, KPF_KSM), 24);
	ck_assert_int_eq(mappings(TO, 3 * len), 3);
}
END_TEST

/* Where nothing can be gained, nobody looks again before much has changed. */
START_TEST(hopeless)
{
	struct child child;

	if (child_start(&child)) {
		const int limit = 600;
		int scans;

		write_file(LIMIT, "600");
		/* They touch and differ, by turns. */
		for (int i = 0; i < limit; i++)
			mmap(TO + i * PAGE, PAGE, i % 2 ? RW : PROT_READ, ANON | MAP_FIXED, -1, 0);
		trace_apart();
		for (int i = 0; i < 50; i++)
			assert_quietly(call_mmap());
		scans = count_apart(NULL);
		assert_quietly(scans == 0);
		/* As many changes as a quarter of the limit: it looks again. */
		for (int i = 0; i < limit / 4; i++)
			for (int j = 0; j < 12; j++)
				if (j < 6)
					munmap(TO + 2 * j * PAGE, PAGE);
				else
					mmap(TO + 2 * (j - 6) * PAGE, PAGE, PROT_READ,
					     ANON | MAP_FIXED, -1, 0);
		scans = count_apart("attributes");
		assert_quietly(scans > 400);
		assert_quietly(scans < 1500);
		write_file(TRACE_APART, "0");
		_exit(0);
	}
	child_end(&child);
}
END_TEST

/* One mapping beyond the limit, where all calls fail, a process is looked at again, too. */
START_TEST(beyond_limit)
{
	struct child child;

	if (child_start(&child)) {
		const int limit = 500;
		struct child other;
		int n = fill_to_limit(limit), i;

		if (child_start(&other)) {
			child_wait(&other);
			_exit(0);
		}
		/* All is shared with the other. */
		write_file(AT_LIMIT, "1");
		assert_quietly(call_mmap());
		assert_quietly(mappings(TO, n * PAGE) == n);
		child_end(&other);
		for (i = 0; call_mmap(); i++)
			assert_quietly(i < limit);
		assert_quietly(mappings(TO, n * PAGE) == 1);
		check(TO, n * PAGE, 1);
		_exit(0);
	}
	child_end(&child);
}
END_TEST

/* ---------------------------------------------------------------------------- */

int main(void)
{
	Suite *s = suite_create("coalesce");
	TCase *tc = add_case(s, "merges");

	tcase_add_loop_test(tc, pieces, 0, 3);
	tcase_add_test(tc, accounts);
	tcase_add_loop_test(tc, smaller_changes, 0, 2);
	tcase_add_test(tc, range_is_rounded);
	tcase_add_test(tc, no_more_than_neighbours);
	tcase_add_loop_test(tc, unfaulted, 0, 2);
	tcase_add_loop_test(tc, no_index_below_zero, 0, 2);
	tcase_add_loop_test(tc, parts_swapped, 0, 3);
	if (!kernel_before_7())
		tcase_add_test(tc, swapped_and_guarded);

	tc = add_case(s, "apart");
	tcase_add_loop_test(tc, attributes, 0, ARRAY_SIZE(differences));
	tcase_add_test(tc, shared_with_child);
	tcase_add_test(tc, written_by_child);
	tcase_add_test(tc, fits_in_child);
	tcase_add_test(tc, one_page_shared);
	tcase_add_test(tc, ksm);
	tcase_add_test(tc, userfaultfd);
	tcase_add_loop_test(tc, other_mappings, 0, 2);
	tcase_add_test(tc, arguments);

	tc = add_case(s, "outside");
	tcase_add_test(tc, another_process);
	tcase_add_loop_test(tc, while_it_exits, 0, 2);
	tcase_add_test(tc, others_unmap);

	tc = add_case(s, "limit");
	tcase_add_checked_fixture(tc, NULL, limit_reset);
	tcase_add_loop_test(tc, call_at_limit, 0, ARRAY_SIZE(calls));
	tcase_add_test(tc, behind_guards);
	tcase_add_test(tc, ksm_at_limit);
	tcase_add_test(tc, hopeless);
	tcase_add_test(tc, beyond_limit);

	return run_guest_suite(s);
}
