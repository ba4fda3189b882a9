// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Relocation of what is swapped out: without a folio in the swap cache, as zram
 * leaves it, and with one, as other devices do. For that swap is on a loop
 * device whose file no reclaim can touch. And of what cannot be swapped out, when
 * memory has run out.
 */
#include "loop_swap.h"
#include "relocate.h"

#include <linux/userfaultfd.h>
#include <pthread.h>
#include <sys/ioctl.h>

static void map_folio(char *addr, size_t size, unsigned int seed)
{
	if (size == HUGE)
		map_huge(addr, size, seed);
	else
		map_large(addr, size, size, seed);
}

/* ---- without a swap cache ------------------------------------------------ */

START_TEST(swapped_out)
{
	char *p = map_filled(arena + 64 * PAGE, 32 * PAGE, 1);
	struct counters before, after;

	page_out(p, 32 * PAGE);
	ck_assert_uint_eq(count_pages(p, 32 * PAGE, SWAPPED), 32);
	ck_assert_uint_eq(count_swap_cache(p, 32 * PAGE), 0);
	before = counters();
	relocate(p, 32 * PAGE, arena + 4 * PAGE);
	after = counters();
	ck_assert_int_eq(after.folio, before.folio);
	ck_assert_uint_eq(count_pages(arena + 4 * PAGE, 32 * PAGE, SWAPPED), 32);
	check_rmap(arena + 4 * PAGE, 32 * PAGE, 1);
}
END_TEST

START_TEST(swapped_out_among_others)
{
	char *p = map_filled(arena + 64 * PAGE, 32 * PAGE, 1);

	page_out(p, 32 * PAGE);
	for (int i = 0; i < 32; i += 5)
		ck_assert_int_eq((unsigned char)p[i * PAGE], pattern(1, i));
	relocate(p, 32 * PAGE, arena + 4 * PAGE);
	check_rmap(arena + 4 * PAGE, 32 * PAGE, 1);
}
END_TEST

/* A folio swapped out as a whole and gone, all of it or a part. */
START_TEST(swapped_out_large)
{
	const size_t size = _i & 1 ? HUGE : 64 << 10, off = _i & 2 ? size / 4 : 0;
	const size_t len = size - 2 * off;
	char *p = arena + 16 * HUGE, *to = arena + 2 * HUGE + 5 * PAGE;

	map_folio(p, size, 1);
	page_out(p, size);
	ck_assert_uint_eq(count_pages(p, size, SWAPPED), size / PAGE);
	relocate_advised(p + off, len, to, SETTLED);
	check_rmap_from(to, len, 1, off / PAGE);
	if (off)
		check_rmap(p, off, 1);
}
END_TEST

/* ---- with a swap cache --------------------------------------------------- */

static void setup_swap(void)
{
	swap_on(false);
}

static void setup_stable_swap(void)
{
	swap_on(true);
}

static pthread_t writer;
static char *writer_page;
static int writer_uffd;

static void *write_to_file(void *arg)
{
	int fd = open("/tmp/swap/file", O_WRONLY);

	(void)arg;
	if (fd < 0 || pwrite(fd, writer_page, 1, 0) != 1)
		ck_abort_msg("/tmp/swap/file: %s", strerror(errno));
	close(fd);
	return NULL;
}

/*
 * Let nothing be written to the device's file until start_writing(): what is
 * paged out stays under writeback. We are writing to the file ourselves, which
 * takes a lock of it, from a page that is not there yet.
 */
static void stop_writing(void)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg = {
		.range.len = PAGE, .mode = UFFDIO_REGISTER_MODE_MISSING,
	};
	struct uffd_msg msg;

	/* Empty the processors' batches for the LRU lists. */
	write_file("/proc/sys/vm/compact_memory", "1");
	writer_page = mmap(NULL, PAGE, RW, ANON, -1, 0);
	reg.range.start = (uintptr_t)writer_page;
	writer_uffd = (int)syscall(SYS_userfaultfd, O_CLOEXEC);
	if (ioctl(writer_uffd, UFFDIO_API, &api) ||
	    ioctl(writer_uffd, UFFDIO_REGISTER, &reg) ||
	    pthread_create(&writer, NULL, write_to_file, NULL) ||
	    read(writer_uffd, &msg, sizeof(msg)) != sizeof(msg))
		ck_abort_msg("userfaultfd: %s", strerror(errno));
}

static void start_writing(void)
{
	struct uffdio_zeropage zero = {
		.range = { .start = (uintptr_t)writer_page, .len = PAGE },
	};

	if (ioctl(writer_uffd, UFFDIO_ZEROPAGE, &zero))
		ck_abort_msg("userfaultfd: %s", strerror(errno));
	pthread_join(writer, NULL);
	close(writer_uffd);
	munmap(writer_page, PAGE);
}

/*
 * Page out, and have all of it in the swap cache: a folio whose writeback is
 * over by the time that reclaim looks again is not.
 */
static void page_out_cached(char *p, size_t len)
{
	const size_t pages = count_pages(p, len, PRESENT | SWAPPED);

	stop_writing();
	advise(p, len, MADV_PAGEOUT);
	start_writing();
	ck_assert_uint_eq(count_pages(p, len, SWAPPED), pages);
	ck_assert_uint_eq(count_swap_cache(p, len), pages);
}

/* How many folios of a size have been paged out as a whole */
static long paged_out_whole(size_t size)
{
	char path[100];

	snprintf(path, sizeof(path), THP "hugepages-%zukB/stats/swpout", size >> 10);
	return strtol(read_file(path), NULL, 10);
}

/* A folio that is in the swap cache as a whole: reclaim may split it instead. */
static void map_cached_folio(char *addr, size_t size, unsigned int seed)
{
	long before;

	for (int i = 0; i < 20; i++) {
		map_folio(addr, size, seed);
		before = paged_out_whole(size);
		page_out_cached(addr, size);
		if (paged_out_whole(size) > before)
			return;
		ck_assert_int_eq(munmap(addr, size), 0);
	}
	ck_abort_msg("a folio of %zu kB is always split", size >> 10);
}

/* The folios that were mapped are still there, and are mapped again as they are. */
START_TEST(cached)
{
	const size_t len = 32 * PAGE;
	char *p = map_filled(arena + 64 * PAGE, len, 1), *to = arena + 4 * PAGE;
	long folios, read, copied;

	page_out_cached(p, len);
	folios = counters().folio;
	relocate(p, len, to);
	ck_assert_int_eq(counters().folio, folios + 32);
	ck_assert_uint_eq(count_pages(to, len, SWAPPED), 32);
	ck_assert_uint_eq(count_swap_cache(to, len), 32);
	read = vmstat("pswpin");
	/* If a folio does not belong where it is found, KSM makes a copy. */
	copied = vmstat("ksm_swpin_copy");
	if (_i)
		fill(to, len, 1);	/* which drops them from the cache */
	check(to, len, 1);
	ck_assert_int_eq(vmstat("pswpin"), read);
	ck_assert_int_eq(vmstat("ksm_swpin_copy"), copied);
	check_rmap(to, len, 1);
}
END_TEST

struct reading {
	char *from, *to;
	size_t len;
	volatile bool over;
	volatile int done;
};

static void *will_need(void *arg)
{
	struct reading *r = arg;

	/* Wherever it is just now */
	while (!r->over)
		r->done += !madvise(r->from, r->len, MADV_WILLNEED) +
			   !madvise(r->to, r->len, MADV_WILLNEED);
	return NULL;
}

/* Another thread has what is swapped out read while it moves back and forth. */
START_TEST(read_meanwhile)
{
	const size_t len = 256 * PAGE;
	struct reading r = {
		.from = arena + 512 * PAGE, .to = arena + 4 * PAGE, .len = len,
	};
	const int rounds = kernel_is_slow() ? 20 : 100;
	pthread_t id;

	map_filled(r.from, len, 1);
	assert_quietly(!pthread_create(&id, NULL, will_need, &r));
	for (int i = 0; i < rounds; i++) {
		advise(r.from, len, MADV_PAGEOUT);
		move_to(r.from, len, r.to, MUST);
		if (i % 4 == 3)
			check(r.to, len, 1);
		move_to(r.to, len, r.from, MUST);
	}
	r.over = true;
	pthread_join(id, NULL);
	ck_assert_int_gt(r.done, 0);
	check_rmap(r.from, len, 1);
}
END_TEST

/* Mapped pages, some in the cache too, swapped ones with and without folio. */
START_TEST(cached_among_others)
{
	const size_t len = 64 * PAGE;
	char *p = map_filled(arena + 128 * PAGE, len, 1), *to = arena + 4 * PAGE;

	page_out_cached(p, len);
	check(p, 16 * PAGE, 1);
	fill_from(p + 16 * PAGE, 16 * PAGE, 1, 16);
	ck_assert(kpageflags(p) & KPF_SWAPCACHE);
	relocate(p, len, to);
	check_rmap(to, len, 1);
}
END_TEST

/*
 * Read in ahead, but never mapped: such folios have neither mapping nor index.
 * Nor may the move follow what was there in a folio's life before.
 */
START_TEST(read_ahead)
{
	const size_t len = 64 * PAGE;
	char *p = arena + 128 * PAGE, *to = arena + 4 * PAGE;
	size_t cached;

	enter_cgroup();
	map_filled(p, len, 1);
	page_out_cached(p, len);
	reclaim(p, len, count_swap_cache);
	write_file("/proc/sys/vm/page-cluster", "4");
	check(p, PAGE, 1);
	check_from(p + 20 * PAGE, PAGE, 1, 20);
	check_from(p + 40 * PAGE, PAGE, 1, 40);
	write_file("/proc/sys/vm/page-cluster", "3");
	cached = count_swap_cache(p, len);
	ck_assert_uint_gt(cached, 0);
	relocate(p, len, to);
	ck_assert_uint_gt(count_swap_cache(to, len), 0);
	check_rmap(to, len, 1);
}
END_TEST

/* A large folio in the cache, wholly in the range. */
START_TEST(cached_large)
{
	const size_t size = _i & 1 ? HUGE : 64 << 10;
	char *p = arena + 16 * HUGE;
	char *to = arena + 2 * HUGE + (_i & 2 ? 5 * PAGE : 0);
	long read;

	map_cached_folio(p, size, 1);
	relocate_advised(p, size, to, SETTLED);
	ck_assert_uint_eq(count_swap_cache(to, size), size / PAGE);
	read = vmstat("pswpin");
	check(to, size, 1);
	ck_assert_int_eq(vmstat("pswpin"), read);
	ck_assert_uint_eq(count_in_folios(to, size, size / PAGE), size / PAGE);
	check_rmap(to, size, 1);
}
END_TEST

/* Some of its pages are mapped again, one was dropped. */
START_TEST(cached_large_partly_mapped)
{
	const size_t size = 64 << 10, len = 2 * size;
	char *p = map_large(arena + 16 * HUGE, len, size, 1);
	char *to = arena + 2 * HUGE + (_i ? 5 * PAGE : 0);

	page_out_cached(p, len);
	advise(p + PAGE, PAGE, MADV_DONTNEED);
	check_from(p + 3 * PAGE, 2 * PAGE, 1, 3);
	ck_assert_uint_eq(count_pages(p, len, PRESENT), 2);
	ck_assert_uint_eq(count_pages(p, len, SWAPPED), 29);
	relocate_advised(p, len, to, SETTLED);
	ck_assert_uint_eq(count_pages(to, len, SWAPPED), 29);
	check_zero(to + PAGE, PAGE);
	fill_from(to + PAGE, PAGE, 1, 1);
	check_rmap(to, len, 1);
}
END_TEST

/*
 * Partly in the range: without a mapping it cannot be split, so it is reclaimed, and
 * only the swap entries move.
 */
START_TEST(cached_large_partly_covered)
{
	const size_t size = _i & 1 ? HUGE : 64 << 10, off = size / 4;
	const size_t len = _i & 2 ? size / 2 : size - off;
	char *p = arena + 16 * HUGE, *to = arena + 2 * HUGE;

	map_cached_folio(p, size, 1);
	relocate_advised(p + off, len, to, SETTLED);
	ck_assert_uint_eq(count_swap_cache(to, len), 0);
	check(p, off, 1);
	check_rmap_from(to, len, 1, off / PAGE);
	check_rmap(p, off, 1);
}
END_TEST

/* The other part was moved away when it was swapped out. */
START_TEST(cached_large_partly_moved_away)
{
	const size_t size = 64 << 10, half = size / 2;
	char *p = arena + 16 * HUGE, *away = arena + 24 * HUGE;
	char *to = arena + 2 * HUGE;

	enter_cgroup();
	map_cached_folio(p, size, 1);
	move_to(p + half, half, away, 0);
	relocate_advised(p, half, to, SETTLED);
	relocate_advised(to, half, arena + 40 * HUGE, SETTLED);
	relocate_advised(away, half, arena + 48 * HUGE, SETTLED);
	check_rmap(arena + 40 * HUGE, half, 1);
	check_rmap_from(arena + 48 * HUGE, half, 1, half / PAGE);
}
END_TEST

/* The folio at p of 64 kB becomes one that is under writeback as a whole. */
static void write_back_whole(char *p, unsigned int seed)
{
	const size_t size = 64 << 10;
	long before;

	for (int i = 0; i < 20; i++) {
		fill_large(p, size, size, seed);
		before = paged_out_whole(size);
		advise(p, size, MADV_PAGEOUT);
		if (paged_out_whole(size) > before)
			return;
		advise(p, size, MADV_DONTNEED);
	}
	ck_abort_msg("a folio of 64 kB is always split");
}

/* A range of small pages, then the half of a folio that cannot be split for now. */
static void run_mover(bool mapped)
{
	const size_t size = 64 << 10;
	char *p = arena + 16 * HUGE, *folio = p + size;

	enter_cgroup();
	map_at(p, 2 * size);
	advise(p, 2 * size, SETTLED);
	fill(p, size, 1);
	write_back_whole(folio, 2);
	if (mapped)
		check(folio, size, 2);
	move_to(p, size + size / 2, arena + 2 * HUGE, MUST);
	_exit(0);
}

/* Is it asleep in mremap() so that no signal but SIGKILL wakes it? */
static bool waits_in_mremap(pid_t pid)
{
	char path[64], call[16];
	const char *state;

	snprintf(path, sizeof(path), "/proc/%d/syscall", pid);
	snprintf(call, sizeof(call), "%d ", SYS_mremap);
	if (strncmp(read_file(path), call, strlen(call)))
		return false;
	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	state = strrchr(read_file(path), ')');
	return state && state[2] == 'D';
}

#define CGROUP "/sys/fs/cgroup/reclaim/"

/* Anonymous memory of the cgroup, swap included */
static long cgroup_anon(void)
{
	return file_number(CGROUP "memory.stat", "anon") +
	       file_number(CGROUP "memory.stat", "swapcached") +
	       strtol(read_file(CGROUP "memory.swap.current"), NULL, 10);
}

/*
 * Who waits for writeback that does not end can be killed. It ends before the writeback
 * does; after that nothing is left of its memory.
 */
START_TEST(killed_in_writeback)
{
	long committed, waited = 0;
	int status, fd;
	pid_t pid;

	stop_writing();
	committed = file_number("/proc/meminfo", "Committed_AS");
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (!pid)
		run_mover(_i);
	while (!waits_in_mremap(pid)) {
		ck_assert_int_eq(waitpid(pid, &status, WNOHANG), 0);
		ck_assert_msg(wait_more(&waited, 1000), "it does not wait in mremap()");
	}
	/* It is still there, and would be for ever. */
	usleep(300000);
	ck_assert(waits_in_mremap(pid));
	kill(pid, SIGKILL);
	for (waited = 0; !waitpid(pid, &status, WNOHANG); )
		ck_assert_msg(wait_more(&waited, 1000), "it cannot be killed");
	ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	ck_assert_int_eq(file_number("/proc/meminfo", "Committed_AS"), committed);
	start_writing();

	/* Linux 6.12 keeps it in the swap cache, also if no mremap() was called. */
	if (kernel_before_7())
		return;
	fd = open(CGROUP "memory.reclaim", O_WRONLY);
	ck_assert_int_ge(fd, 0);
	for (waited = 0; cgroup_anon(); ) {
		(void)!write(fd, "4M swappiness=200", 17);
		if (!wait_more(&waited, 1000))
			ck_abort_msg("%ld bytes are left", cgroup_anon());
	}
	close(fd);
}
END_TEST

/* swapoff brings all of it back to where it is now. */
START_TEST(swapped_off)
{
	const size_t len = 64 * PAGE;
	char *p = map_filled(arena + 128 * PAGE, len, 1), *to = arena + 4 * PAGE;

	page_out_cached(p, len);
	check(p, 16 * PAGE, 1);
	relocate(p, len, to);
	ck_assert_int_eq(swapoff(swap_path), 0);
	ck_assert_uint_eq(count_pages(to, len, PRESENT), 64);
	ck_assert_int_eq(swapon(swap_path, 0), 0);
	check_rmap(to, len, 1);
}
END_TEST

/* ---- exclusive marker lost ------------------------------------------------ */

/*
 * A page that comes back while it is being written to a device that needs it
 * stable is not marked exclusive, though nobody shares it.
 */
START_TEST(exclusive_marker_lost)
{
	const size_t len = 16 * PAGE;
	char *p = map_filled(arena + 64 * PAGE, len, 1), *to = arena + 4 * PAGE;
	uint64_t flags[16];

	map_filled(to - PAGE, PAGE, 77);
	stop_writing();
	advise(p, len, MADV_PAGEOUT);
	for (int i = 0; i < 16; i++) {
		(void)*(volatile char *)(p + i * PAGE);
		flags[i] = kpageflags(p + i * PAGE);
	}
	if (_i)		/* also during writeback, else after it */
		move_to(p, len, to, MUST);
	start_writing();
	for (int i = 0; i < 16; i++)
		ck_assert_msg(flags[i] & KPF_WRITEBACK,
			      "page %d was not under writeback", i);
	if (!_i)
		move_to(p, len, to, MUST);
	ck_assert_int_eq(mappings(to - PAGE, len + PAGE), 1);
	check(to, len, 1);
	fill(to, len, 2);
	check_rmap(to, len, 2);
}
END_TEST

/* ---- no memory ------------------------------------------------------------- */

/* In a cgroup at its limit, without swap; who is in it cannot be killed for that. */
struct limited {
	volatile int turn;	/* Even: it is the parent's, who sets the limit. */
	volatile int over, moved, refused;
};

#define LIMITED_LEN (3 * HUGE)

static void their_turn(struct limited *l, int turn)
{
	long waited = 0;

	l->turn = turn;
	while (l->turn == turn)
		if (!wait_more(&waited, 200))
			ck_abort_msg("nobody answers in turn %d", turn);
}

/* Pages at the beginning and the end of each of three page tables */
static void for_limited(char *p, void (*what)(char *, size_t, unsigned int))
{
	for (unsigned int i = 0; i < 3; i++) {
		what(p + i * HUGE, 8 * PAGE, 2 * i + 1);
		what(p + (i + 1) * HUGE - 8 * PAGE, 8 * PAGE, 2 * i + 2);
	}
}

static void check_const(char *p, size_t len, unsigned int seed)
{
	check(p, len, seed);
	check_migrates(p, len);
}

static void run_limited(struct limited *l, int flags)
{
	/* Not congruent: else page tables move as a whole, and take no memory. */
	char *p = arena + 16 * HUGE, *to = arena + 80 * HUGE + 20 * PAGE, *res;
	long committed = 0;
	int err;

	enter_cgroup();
	write_file("/proc/self/oom_score_adj", "-1000");
	for (int n = 0; !l->over; n++) {
		const long now = file_number("/proc/meminfo", "Committed_AS");

		/* Somebody's stack may have grown by some pages; the range has 6 MiB. */
		if (n && labs(now - committed) > 256)
			ck_abort_msg("round %d: %ld kB committed, not %ld", n, now, committed);
		committed = n ? committed : now;
		map_at(p, LIMITED_LEN);
		advise(p, LIMITED_LEN, SETTLED);
		for_limited(p, fill);
		their_turn(l, 2);
		res = sys_mremap(p, LIMITED_LEN, LIMITED_LEN,
				 MREMAP_MAYMOVE | MREMAP_FIXED | flags, to);
		err = errno;
		their_turn(l, 4);
		if (res == to) {
			l->moved++;
			ck_assert_int_eq(mappings(p, LIMITED_LEN), 0);
			for_limited(to, check_const);
		} else {
			l->refused++;
			if (err != ENOMEM)
				ck_abort_msg("round %d: %s", n, strerror(err));
			ck_assert_int_eq(mappings(to, LIMITED_LEN), 0);
			for_limited(p, check_const);
		}
		munmap(arena, ARENA);
	}
	_exit(0);
}

/* So many pages more than there are now */
static void limit_cgroup(long more)
{
	char text[32];

	/* What the processors have a stock of goes back, as far as can be. */
	write_file(CGROUP "memory.high", "0");
	write_file(CGROUP "memory.high", "max");
	snprintf(text, sizeof(text), "%ld", strtol(read_file(CGROUP "memory.current"), NULL, 10) +
		 more * (long)PAGE);
	write_file(CGROUP "memory.max", text);
}

/* Wherever memory runs out, a move fails or succeeds as a whole. */
START_TEST(nobody_to_kill)
{
	static const int flags[] = { 0, RELOCATE, MUST };
	struct limited *l = mmap(NULL, PAGE, RW, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int status;
	pid_t pid;

	l->turn = 0;
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (!pid)
		run_limited(l, flags[_i]);
	/* Each limit once; stocks of memory may still keep it from being met. */
	for (int n = 0; !l->over; n++) {
		long waited = 0;

		while (l->turn != 2 && wait_more(&waited, 200))
			ck_assert_int_eq(waitpid(pid, &status, WNOHANG), 0);
		write_file(CGROUP "memory.swap.max", "0");
		limit_cgroup(n % 12);
		l->over = n == 119 || (n >= 11 && l->refused && l->moved);
		l->turn = 3;
		while (l->turn != 4 && wait_more(&waited, 200))
			ck_assert_int_eq(waitpid(pid, &status, WNOHANG), 0);
		write_file(CGROUP "memory.max", "max");
		write_file(CGROUP "memory.swap.max", "max");
		l->turn = 5;
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
	fprintf(stderr, "# nobody to kill %d: %d moved, %d refused\n", _i, l->moved, l->refused);
	ck_assert_int_gt(l->refused, 0);
	ck_assert_int_gt(l->moved, 0);
}
END_TEST

/* -------------------------------------------------------------------------- */

int main(void)
{
	Suite *s = suite_create("swap");
	TCase *tc = add_case(s, "zram");

	tcase_add_test(tc, swapped_out);
	tcase_add_test(tc, swapped_out_among_others);
	tcase_add_loop_test(tc, swapped_out_large, 0, 4);

	tc = add_case(s, "swap-cache");
	tcase_add_unchecked_fixture(tc, setup_swap, end_swap);
	tcase_add_checked_fixture(tc, check_swap, NULL);
	tcase_add_loop_test(tc, cached, 0, 2);
	tcase_add_test(tc, read_meanwhile);
	tcase_add_test(tc, cached_among_others);
	tcase_add_test(tc, read_ahead);
	tcase_add_loop_test(tc, cached_large, 0, 4);
	tcase_add_loop_test(tc, cached_large_partly_mapped, 0, 2);
	tcase_add_loop_test(tc, cached_large_partly_covered, 0, 4);
	tcase_add_test(tc, cached_large_partly_moved_away);
	tcase_add_loop_test(tc, killed_in_writeback, 0, 2);
	tcase_add_test(tc, swapped_off);

	tc = add_case(s, "stable-writes");
	tcase_add_unchecked_fixture(tc, setup_stable_swap, end_swap);
	tcase_add_checked_fixture(tc, check_swap, NULL);
	tcase_add_loop_test(tc, exclusive_marker_lost, 0, 2);

	tc = add_case(s, "no-memory");
	tcase_add_loop_test(tc, nobody_to_kill, 0, 3);

	return run_guest_suite(s);
}
