// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What goes on while programs run: for each kind a process, or a thread in the
 * programs' first processes, or a part of the kernel that is set to work. Each
 * counts what it did, so that one that did nothing is seen. The victims are the
 * processes of our programs, or of some command, which are alone in the cgroup.
 */
#include "storm.h"

#include <fcntl.h>
#include <linux/io_uring.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/swap.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define LEN (PAGES * PAGE)
#define CGROUP "/sys/fs/cgroup/storm/"
#define DEBUG "/sys/kernel/debug/"
#define KSM "/sys/kernel/mm/ksm/"
#define THP "/sys/kernel/mm/transparent_hugepage/"
#define KHUGEPAGED THP "khugepaged/"
#define NUMA_SCAN DEBUG "sched/numa_balancing/"
#define IDLE "/sys/kernel/mm/page_idle/bitmap"
#define DAMON "/sys/kernel/mm/damon/admin/kdamonds/"
#define LRU_GEN "/sys/kernel/mm/lru_gen/"
#define ZSWAP "/sys/module/zswap/parameters/"
#define NULLB "/sys/kernel/config/nullb/"
#define SLOW_SWAP "/dev/storm"

struct arena_users *users;

/* Shared with the processes and threads that interfere. */
static struct {
	volatile long did[64];
	volatile int idle[64];
	int inside;		/* threads that are at work */
	int programs;		/* of ours that have begun */
	int swap_taken;		/* swap is taken away, or must not be */
} *state;

/* The victims are a command's processes. */
static bool outside;

bool write_to(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	bool ok = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);

	if (fd >= 0)
		close(fd);
	return ok;
}

static uint64_t random_number(void)
{
	static __thread uint64_t x;

	if (!x)
		x = (uint64_t)getpid() * 0x9e3779b97f4a7c15 + (uintptr_t)&x;
	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return x >> 8;
}

static long number_in(const char *path, const char *name)
{
	const size_t len = strlen(name);
	char line[256];
	long v = 0;
	FILE *f = fopen(path, "r");

	while (f && fgets(line, sizeof(line), f))
		if (!strncmp(line, name, len) && (!len || line[len] == ' '))
			v = strtol(line + len, NULL, 10);
	if (f)
		fclose(f);
	return v;
}

/* Some process that is interfered with, or 0. */
static pid_t victim(void)
{
	FILE *f = outside ? fopen(CGROUP "cgroup.procs", "re") : NULL;
	pid_t pid, found = 0;
	unsigned int n = 0;

	while (f && fscanf(f, "%d", &pid) == 1)
		if (random_number() % ++n == 0)
			found = pid;
	if (f)
		fclose(f);
	if (!outside && random_number() & 7)
		found = users->mover;
	for (int i = 0; i < 16 && !outside && found <= 0; i++)
		found = users->pid[random_number() % (2 * PROCS)];
	if (found <= 0)
		usleep(200);
	return found > 0 ? found : 0;
}

/* A page of some anonymous mapping of @pid, or 0; of our programs around the middle. */
static uint64_t random_page(pid_t pid)
{
	const bool wide = random_number() & 1;
	char path[64], line[512], *name;
	uint64_t start, end, page = 0;
	unsigned int n = 0;
	FILE *f;

	/* Races are where something moves. */
	if (!outside && users->mover == pid && users->moving && random_number() & 7)
		return users->moving;
	if (!outside)
		return ADDR(MIDDLE - (wide ? 600 : 60)) +
		       random_number() % (wide ? 1700 : 160) * PAGE;
	snprintf(path, sizeof(path), "/proc/%d/maps", pid);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f)) {
		name = strstr(line, "p 00000000 00:00 0 ");
		if (!name || strstr(name, "[v") || strstr(line, " ---") ||
		    sscanf(line, "%lx-%lx", &start, &end) != 2 || random_number() % ++n)
			continue;
		page = start + random_number() % ((end - start) / PAGE) * PAGE;
	}
	if (f)
		fclose(f);
	return page;
}

/* ---- one thing, done again and again in a process; returns how much it did ------------- */

#define AT_ONCE 64	/* pages */

static long advise(pid_t pid, uint64_t from, int advice)
{
	int fd = pid ? (int)syscall(SYS_pidfd_open, pid, 0) : -1;
	struct iovec iov = { .iov_base = (void *)from, .iov_len = AT_ONCE * PAGE };
	long n;

	if (fd < 0)
		return 0;
	n = syscall(440 /* process_madvise */, fd, &iov, 1UL, (long)advice, 0UL);
	close(fd);
	return n;
}

static long do_pageout(void)
{
	/* MADV_PAGEOUT, now and then MADV_COLD, MADV_COLLAPSE */
	static const int advices[] = { 21, 21, 21, 20, 25 };
	const pid_t pid = victim();

	return advise(pid, random_page(pid), advices[random_number() % 5]) > 0;
}

static bool read_pagemap(pid_t pid, uint64_t from, uint64_t e[AT_ONCE])
{
	char path[64];
	bool ok;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/pagemap", pid);
	fd = pid ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	if (fd < 0)
		return false;
	ok = pread(fd, e, AT_ONCE * 8, (off_t)(from / PAGE * 8)) == AT_ONCE * 8;
	close(fd);
	return ok;
}

/* What is swapped out is read into the swap cache; @inside: by the process itself. */
static long page_out_and_in(pid_t pid, bool inside)
{
	const uint64_t from = random_page(pid);
	uint64_t e[AT_ONCE];
	long out = 0, in;

	if (inside)
		madvise((void *)from, AT_ONCE * PAGE, 21);
	else
		advise(pid, from, 21);
	if (!read_pagemap(pid, from, e))
		return 0;
	for (int i = 0; i < AT_ONCE; i++)
		out += (long)(e[i] >> 62 & 1);
	in = number_in("/proc/vmstat", "pswpin");
	/* MADV_WILLNEED; it fails for a hole, having read what is before and after. */
	if (inside)
		madvise((void *)from, AT_ONCE * PAGE, 3);
	else
		advise(pid, from, 3);
	in = number_in("/proc/vmstat", "pswpin") - in;
	/* The programs read some, too. */
	return in < out ? in : out;
}

static long do_willneed(void)
{
	return page_out_and_in(victim(), false);
}

static long do_reclaim(void)
{
	return write_to(CGROUP "memory.reclaim", "256K swappiness=max");
}

static bool take_swap(void)
{
	return !__atomic_exchange_n(&state->swap_taken, 1, __ATOMIC_SEQ_CST);
}

static void give_swap_back(void)
{
	__atomic_store_n(&state->swap_taken, 0, __ATOMIC_SEQ_CST);
}

/*
 * A part of the memory has to go; not too much: who needs some meanwhile sleeps, for the
 * longer the larger that is in proportion, up to seconds. A little by memory.max, if
 * there is swap for it: else processes would be killed.
 */
static long do_limit(void)
{
	const bool swap = !(random_number() & 3) && take_swap();
	const bool max = swap && number_in("/proc/meminfo", "SwapFree:") > 128 << 10 &&
			 number_in(CGROUP "memory.stat", "inactive_anon") > 2 << 20;
	const char *file = max ? CGROUP "memory.max" : CGROUP "memory.high";
	const long now = number_in(CGROUP "memory.current", "");
	const long less = now > 8 << 20 ? now - now / 32 : 4 << 20;
	char text[32];
	bool ok;

	snprintf(text, sizeof(text), "%ld", max ? now - (256 << 10) : less);
	ok = write_to(file, text) && now > 4 << 20;
	write_to(file, "max");
	if (swap)
		give_swap_back();
	usleep(1000);
	return ok;
}

/*
 * Pages that go to the same node are migrated together: first all of them are unmapped.
 * Backwards, somebody who looks at them in order has seen some before that, and has
 * waited for another when they are still being migrated.
 */
static long do_move_pages(void)
{
	void *pages[32];
	int nodes[32], status[32];
	const pid_t pid = victim();
	const uint64_t from = random_page(pid);
	const uint64_t how = random_number();
	long n = 0;

	for (int i = 0; i < 32; i++) {
		pages[i] = (void *)(from + (uint64_t)(how & 1 ? i : 31 - i) * PAGE);
		nodes[i] = (int)((how & 2 ? how >> 2 : random_number()) & 1);
		status[i] = -1;
	}
	if (!pid || syscall(SYS_move_pages, (long)pid, 32L, pages, nodes, status, 4L) < 0)
		return 0;
	for (int i = 0; i < 32; i++)
		n += status[i] >= 0;
	return n;
}

static long do_migrate_pages(void)
{
	static const unsigned long nodes[2] = { 1, 2 };
	static unsigned int i;
	const pid_t pid = victim();

	i++;
	/* It holds up everything that waits for an LRU list. */
	usleep(100000);
	return pid && !syscall(SYS_migrate_pages, (long)pid, 64L, &nodes[i & 1],
			       &nodes[~i & 1]);
}

static long do_compact(void)
{
	return write_to("/proc/sys/vm/compact_memory", "1");
}

/* Page frame of some page of some process. */
static uint64_t victim_pfn(void)
{
	char path[64];
	uint64_t e = 0;
	const pid_t pid = victim();
	int fd;

	if (!pid)
		return 0;
	snprintf(path, sizeof(path), "/proc/%d/pagemap", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	for (int i = 0; i < 8 && !(e >> 63); i++)
		if (pread(fd, &e, 8, (off_t)(random_page(pid) / PAGE * 8)) != 8)
			e = 0;
	close(fd);
	/* Not of the page cache: that may be anybody's. */
	return e >> 63 && !(e >> 61 & 1) ? e & ((1UL << 55) - 1) : 0;
}

/*
 * Frames of anonymous pages that are present, of some process; those that are about to
 * move come first. Returns how many.
 */
static size_t victim_pfns(uint64_t *pfn, size_t max)
{
	static uint64_t e[PAGES];
	const pid_t pid = victim();
	const uint64_t moving = users->moving;
	const uint64_t from = outside ? random_page(pid) : ARENA;
	const uint64_t first = !outside && moving ? (moving - ARENA) / PAGE : random_number();
	char path[64];
	size_t n = 0;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/pagemap", pid);
	fd = pid ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	if (fd < 0)
		return 0;
	memset(e, 0, sizeof(e));
	if (pread(fd, e, sizeof(e), (off_t)(from / PAGE * 8)) < 0)
		max = 0;
	close(fd);
	for (uint64_t i = 0; i < PAGES && n < max; i++) {
		const uint64_t this = e[(first + i) % PAGES];

		if (this >> 63 && !(this >> 61 & 1))
			pfn[n++] = this & ((1UL << 55) - 1);
	}
	return n;
}

/* A page is looked for by the reverse map, twice. Was it idle? */
static bool is_idle(int fd, uint64_t pfn)
{
	const uint64_t bit = 1UL << pfn % 64;
	uint64_t bits;

	return pwrite(fd, &bit, 8, (off_t)(pfn / 64 * 8)) == 8 &&
	       pread(fd, &bits, 8, (off_t)(pfn / 64 * 8)) == 8 && bits & bit;
}

/*
 * Which pages there are is known by the mmap lock only, which a move holds, too: they
 * are looked up before it, and looked for as long as it goes on.
 */
static long do_idle(void)
{
	const uint64_t moving = users->moving;
	int fd = open(IDLE, O_RDWR | O_CLOEXEC);
	uint64_t pfn[AT_ONCE];
	const size_t pages = fd < 0 ? 0 : victim_pfns(pfn, AT_ONCE);
	long n = 0;

	do
		for (size_t i = 0; i < pages; i++)
			n += is_idle(fd, pfn[i]);
	while (pages && moving && users->moving == moving && !users->pause);
	close(fd);
	return n;
}

static void unpoison(uint64_t pfn)
{
	char text[32];

	snprintf(text, sizeof(text), "%#lx", pfn);
	write_to(DEBUG "hwpoison/unpoison-pfn", text);
}

static long do_soft_offline(void)
{
	const uint64_t pfn = victim_pfn();
	char text[32];
	bool ok;

	snprintf(text, sizeof(text), "%#lx", pfn * PAGE);
	ok = pfn && write_to("/sys/devices/system/memory/soft_offline_page", text);
	/* Else memory runs out. */
	if (ok)
		unpoison(pfn);
	usleep(3000);
	return ok;
}

/* A page of our own fails, with its neighbours in the LRU lists and KSM's tree. */
static long do_memory_failure(void)
{
	char *p = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
		       -1, 0);
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	uint64_t e = 0;
	bool ok;

	*p = 1;
	(void)!pread(fd, &e, 8, (off_t)((uintptr_t)p / PAGE * 8));
	close(fd);
	ok = !madvise(p, PAGE, 100 /* MADV_HWPOISON */);
	munmap(p, PAGE);
	if (ok)
		unpoison(e & ((1UL << 55) - 1));
	/* It drains and shrinks whatever there is. */
	usleep(300000);
	return ok;
}

static long read_whole(pid_t pid, const char *name)
{
	static char buf[65536];
	char path[64];
	long n = 0;
	ssize_t some;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/%s", pid, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	while ((some = read(fd, buf, sizeof(buf))) > 0)
		n += some;
	close(fd);
	return n;
}

static long do_smaps(void)
{
	const pid_t pid = victim();
	long n = 0;

	if (!pid)
		return 0;
	n = read_whole(pid, "smaps");
	n += read_whole(pid, "maps");
	n += read_whole(pid, "numa_maps");
	return n > 0;
}

static long do_pagemap(void)
{
	static uint64_t e[PAGES];
	const pid_t pid = victim();
	char path[64];
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/pagemap", pid);
	fd = pid ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	if (fd < 0)
		return 0;
	n = pread(fd, e, sizeof(e), (off_t)((outside ? random_page(pid) : ARENA) / PAGE * 8));
	close(fd);
	return n > 0;
}

#define SCAN_PRESENT (1 << 3)	/* PAGE_IS_PRESENT */
#define SCAN_WRITTEN (1 << 1)	/* PAGE_IS_WRITTEN: not write-protected */

/* As <linux/fs.h> has it, if it is new enough. */
struct scan {
	uint64_t size, flags, start, end, walk_end, vec, vec_len, max_pages;
	uint64_t inverted, mask, anyof, wanted;
};
#define SCAN _IOWR('f', 16, struct scan)

/* Returns how many pages are found, or else write-protected. */
static long pagemap_scan(bool protect)
{
	struct { uint64_t start, end, categories; } found[256];
	const pid_t pid = victim();
	const uint64_t from = outside ? random_page(pid) : ARENA;
	struct scan scan = {
		.size = sizeof(scan), .flags = protect,	/* PM_SCAN_WP_MATCHING */
		.start = from, .end = from + PAGES * PAGE,
		.vec = (uintptr_t)found, .vec_len = ARRAY_SIZE(found),
		.mask = SCAN_PRESENT | (protect ? SCAN_WRITTEN : 0), .wanted = SCAN_PRESENT,
	};
	char path[64];
	long n, pages = 0;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/pagemap", pid);
	fd = pid ? open(path, O_RDONLY | O_CLOEXEC) : -1;
	if (fd < 0)
		return 0;
	n = ioctl(fd, SCAN, &scan);
	close(fd);
	for (long i = 0; i < n; i++)
		pages += (long)((found[i].end - found[i].start) / PAGE);
	return pages;
}

static long do_pagemap_scan(void)
{
	return pagemap_scan(false);
}

/* Only in mappings that are registered with userfaultfd for that. */
static long do_pagemap_wp(void)
{
	return pagemap_scan(true);
}

static long do_vm_readv(void)
{
	static char buf[16 * PAGE];
	const pid_t pid = victim();
	const uint64_t at = random_page(pid);
	struct iovec to = { .iov_base = buf, .iov_len = sizeof(buf) };
	struct iovec from = { .iov_base = (void *)at, .iov_len = sizeof(buf) };
	char path[64];
	ssize_t n;
	int fd;

	if (!pid)
		return 0;
	n = process_vm_readv(pid, &to, 1, &from, 1, 0);
	snprintf(path, sizeof(path), "/proc/%d/mem", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		if (pread(fd, buf, sizeof(buf), (off_t)at) > 0)
			n = 1;
		close(fd);
	}
	return n > 0;
}

static char swap_device[128];
static const char *swap_used = swap_device;

static bool has_swap(void)
{
	FILE *f = fopen("/proc/swaps", "r");
	char line[256];
	bool ok = false;

	while (!ok && f && fgets(line, sizeof(line), f))
		ok = *line == '/' && strncmp(line, SLOW_SWAP, strlen(SLOW_SWAP)) &&
		     sscanf(line, "%127s", swap_device) == 1;
	if (f)
		fclose(f);
	return ok;
}

static long do_swapoff(void)
{
	bool ok;

	if (!take_swap())
		return 0;
	ok = !swapoff(swap_used);
	if (ok)
		while (swapon(swap_used, 0))
			usleep(1000);
	give_swap_back();
	usleep(20000);
	return ok;
}

static long do_split(void)
{
	const pid_t pid = victim();
	const uint64_t from = random_page(pid);
	const long before = number_in("/proc/vmstat", "thp_split_page");
	char text[100];

	/* It goes on until the first hole. */
	snprintf(text, sizeof(text), "%d,%#lx,%#lx", pid, from, from + PAGES * PAGE);
	if (!pid || !from || !write_to(DEBUG "split_huge_pages", text))
		return 0;
	return number_in("/proc/vmstat", "thp_split_page") - before;
}

/* ---- DAMON: a kdamond for a moment ------------------------------------------------------ */

/* While another is being changed, it is busy. */
static bool damon_write(int which, const char *file, const char *text)
{
	char path[160];
	long waited = 0;

	snprintf(path, sizeof(path), DAMON "%d/%s", which, file);
	while (!write_to(path, text))
		if (errno != EBUSY || !wait_more(&waited, 1000))
			return false;
	return true;
}

static bool damon_number(int which, const char *file, uint64_t number)
{
	char text[32];

	snprintf(text, sizeof(text), "%lu", number);
	return damon_write(which, file, text);
}

static int compare_numbers(const void *a, const void *b)
{
	const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* Pages of a victim, each a region of its own; in order, as is asked for. */
static bool damon_regions(int which)
{
	uint64_t pfn[16];
	const size_t n = victim_pfns(pfn, ARRAY_SIZE(pfn));
	size_t different = 0;
	char file[100];
	bool ok;

	qsort(pfn, n, sizeof(pfn[0]), compare_numbers);
	for (size_t i = 0; i < n; i++)
		if (!different || pfn[different - 1] != pfn[i])
			pfn[different++] = pfn[i];
	ok = different && damon_number(which, "contexts/0/targets/0/regions/nr_regions", different);
	for (size_t i = 0; ok && i < different; i++) {
		snprintf(file, sizeof(file), "contexts/0/targets/0/regions/%zu/start", i);
		ok = damon_number(which, file, pfn[i] * PAGE);
		snprintf(file, sizeof(file), "contexts/0/targets/0/regions/%zu/end", i);
		ok = ok && damon_number(which, file, (pfn[i] + 1) * PAGE);
	}
	return ok;
}

static bool damon_prepare(int which, bool physical, const char *action)
{
	static const struct { const char *file, *text; } set[] = {
		{ "contexts/nr_contexts", "1" },
		{ "contexts/0/monitoring_attrs/intervals/sample_us", "500" },
		{ "contexts/0/monitoring_attrs/intervals/aggr_us", "5000" },
		{ "contexts/0/monitoring_attrs/intervals/update_us", "20000" },
		{ "contexts/0/monitoring_attrs/nr_regions/max", "200" },
		{ "contexts/0/targets/nr_targets", "1" },
		/* For all regions, whatever is known of them */
		{ "contexts/0/schemes/nr_schemes", "1" },
		{ "contexts/0/schemes/0/access_pattern/sz/max", "1000000000" },
		{ "contexts/0/schemes/0/access_pattern/nr_accesses/max", "1000000000" },
		{ "contexts/0/schemes/0/access_pattern/age/max", "1000000000" },
	};
	const pid_t pid = physical ? 1 : victim();
	char path[160];
	bool ok = pid;

	/* As long as there is one, it has its settings, which take long. */
	snprintf(path, sizeof(path), DAMON "%d/contexts/nr_contexts", which);
	for (size_t i = number_in(path, "") ? ARRAY_SIZE(set) : 0; ok && i < ARRAY_SIZE(set); i++)
		ok = damon_write(which, set[i].file, set[i].text);
	ok = ok && damon_write(which, "contexts/0/operations", physical ? "paddr" : "vaddr");
	ok = ok && (physical ? damon_regions(which) :
		    damon_number(which, "contexts/0/targets/0/pid_target", (uint64_t)pid));
	return ok && damon_write(which, "contexts/0/schemes/0/action", action);
}

static long damon_stat(int which, const char *name)
{
	char path[160];

	snprintf(path, sizeof(path), DAMON "%d/contexts/0/schemes/0/stats/%s", which, name);
	return number_in(path, "");
}

/*
 * Let it have the scheme applied a few times, and go on while there is a move: that holds
 * the mmap lock, so that another would not know what is there. Its figures are there then,
 * if its victim is.
 */
static bool damon_run(int which, bool physical, const char *action)
{
	bool ok;

	if (!damon_prepare(which, physical, action) || !damon_write(which, "state", "on"))
		return false;
	do {
		usleep(50000);
		ok = damon_write(which, "state", "update_schemes_stats");
	} while (ok && !users->pause &&
		 (users->moving || damon_stat(which, "nr_snapshots") < 10));
	damon_write(which, "state", "off");
	return ok;
}

/* A region with a hole counts as none that was paged out. */
static long do_damon_vaddr(void)
{
	const long before = number_in("/proc/vmstat", "pswpout");
	const bool ok = damon_run(0, false, "pageout");
	const long out = number_in("/proc/vmstat", "pswpout") - before;
	const long regions = ok ? damon_stat(0, "nr_tried") : 0;

	return out < regions ? out : regions;
}

static long do_damon_paddr(void)
{
	/* What has been paged out is not looked for any more. */
	const char *action = random_number() & 3 ? "lru_deprio" : "pageout";

	return damon_run(1, true, action) ? damon_stat(1, "sz_applied") / (long)PAGE : 0;
}

static void set_damon(bool on)
{
	if (on && number_in(DAMON "nr_kdamonds", "") == 2)
		return;
	for (int i = 0; i < 2 && !on; i++)
		damon_write(i, "state", "off");
	write_to(DAMON "nr_kdamonds", on ? "2" : "0");
}

/* ---- the LRU lists of several generations ---------------------------------------------- */

/* Of the nodes of our cgroup: the number of the cgroup, and the youngest generation. */
static int read_lru_gen(uint64_t *memcg, unsigned long newest[8])
{
	FILE *f = fopen(DEBUG "lru_gen", "re");
	char line[256], path[128];
	bool ours = false;
	int node = -1, nodes = 0;
	unsigned long number;

	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "memcg %lu %127s", &number, path) == 2) {
			ours = !strcmp(path, "/storm");
			*memcg = ours ? number : *memcg;
		} else if (sscanf(line, " node %d", &node) == 1) {
			nodes += ours && node >= 0 && node < 8;
		} else if (ours && node >= 0 && node < 8 && sscanf(line, " %lu", &number) == 1) {
			newest[node] = number;
		}
	}
	if (f)
		fclose(f);
	return nodes;
}

/* Entries of page tables that aging has seen, as long as the cgroup exists. */
static long lru_gen_walked(void)
{
	FILE *f = fopen(DEBUG "lru_gen_full", "re");
	char line[256], path[128];
	unsigned long number, young;
	bool ours = false;
	long n = 0;

	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "memcg %lu %127s", &number, path) == 2)
			ours = !strcmp(path, "/storm");
		else if (ours && sscanf(line, " %luT %luY", &number, &young) == 2)
			n += (long)number;
	}
	if (f)
		fclose(f);
	return n;
}

/* A new generation, which takes a walk of page tables; then evict all but two. */
static long do_lru_gen(void)
{
	static long walked_before = -1, evicted_before;
	const bool first = walked_before < 0;
	long walked, evicted;
	unsigned long newest[8];
	uint64_t memcg = 0;
	char text[100];
	const int nodes = read_lru_gen(&memcg, newest);

	for (int i = 0; i < nodes; i++) {
		snprintf(text, sizeof(text), "+ %lu %d %lu max 1", memcg, i, newest[i]);
		write_to(DEBUG "lru_gen", text);
		if (!newest[i])
			continue;
		snprintf(text, sizeof(text), "- %lu %d %lu max 64", memcg, i, newest[i] - 1);
		write_to(DEBUG "lru_gen", text);
	}
	walked = lru_gen_walked() - walked_before;
	evicted = number_in("/proc/vmstat", "pgsteal_proactive") - evicted_before;
	walked_before += walked;
	evicted_before += evicted;
	/* To do only one of both is not enough. */
	return !first && walked > 0 && evicted > 0 ? walked + evicted : 0;
}

static void set_lru_gen(bool on)
{
	write_to(LRU_GEN "enabled", on ? "7" : "0");
}

/* ---- in a thread of a program's first process -------------------------------------------- */

static long do_vmsplice(void)
{
	static int ends[2] = { -1, -1 };
	static char buf[16 * PAGE];
	struct iovec iov = { .iov_base = (void *)random_page(getpid()), .iov_len = 4 * PAGE };
	ssize_t n;

	if (ends[0] < 0 && pipe2(ends, O_NONBLOCK | O_CLOEXEC))
		return 0;
	n = vmsplice(ends[1], &iov, 1, SPLICE_F_NONBLOCK);
	if (n > 0) {
		/* Held for a moment. */
		usleep((useconds_t)(random_number() % 500));
		while (read(ends[0], buf, sizeof(buf)) > 0)
			;
	}
	return n > 0;
}

struct pin_longterm_test {
	uint64_t addr, size;
	uint32_t flags;		/* 1: for writing, 2: the fast path */
};
#define PIN_LONGTERM_TEST_START _IOW('g', 7, struct pin_longterm_test)

static long do_pin(void)
{
	struct pin_longterm_test args = {
		.addr = random_page(getpid()), .size = (1 + random_number() % 8) * PAGE,
		.flags = (uint32_t)(random_number() % 4),
	};
	int fd = open(DEBUG "gup_test", O_RDWR | O_CLOEXEC);
	long n;

	if (fd < 0)
		return 0;
	n = !ioctl(fd, PIN_LONGTERM_TEST_START, &args);
	usleep((useconds_t)(random_number() % 2000));
	close(fd);
	return n;
}

static long do_uring(void)
{
	struct io_uring_params params = { 0 };
	struct iovec iov = { .iov_base = (void *)random_page(getpid()), .iov_len = 4 * PAGE };
	int fd = (int)syscall(SYS_io_uring_setup, 4, &params);
	long n;

	if (fd < 0)
		return 0;
	n = !syscall(SYS_io_uring_register, fd, IORING_REGISTER_BUFFERS, &iov, 1);
	usleep((useconds_t)(random_number() % 2000));
	/* What is left to the end of the ring ends later. */
	if (n)
		syscall(SYS_io_uring_register, fd, IORING_UNREGISTER_BUFFERS, NULL, 0);
	close(fd);
	return n;
}

static long do_fork(void)
{
	pid_t pid = fork();

	if (!pid) {
		if (random_number() & 1)
			usleep((useconds_t)(random_number() % 2000));
		_exit(0);
	}
	usleep((useconds_t)(random_number() % 4000));
	return pid > 0;
}

static long do_willneed_inside(void)
{
	return page_out_and_in(getpid(), true);
}

#define AREA 32		/* pages */

/* The pages of the program that is executed. */
static int inside_lo, inside_hi;

static int open_uffd_move(void)
{
	struct uffdio_api api = {
		.api = UFFD_API, .features = 1 << 16 /* UFFD_FEATURE_MOVE */
	};
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);

	if (fd >= 0 && ioctl(fd, UFFDIO_API, &api)) {
		close(fd);
		fd = -1;
	}
	return fd;
}

/* Returns the number of pages that are moved. */
static long uffd_move(int fd, uint64_t from, uint64_t to)
{
	struct uffdio_register reg = {
		.range = { .start = to, .len = AREA * PAGE },
		.mode = UFFDIO_REGISTER_MODE_WP,	/* Nobody ever waits. */
	};
	long n = 0;

	if (ioctl(fd, UFFDIO_REGISTER, &reg))
		return 0;
	for (uint64_t i = 0; i < AREA; i++) {
		struct { uint64_t dst, src, len, mode; int64_t moved; } move = {
			.dst = to + i * PAGE, .src = from + i * PAGE, .len = PAGE,
		};

		/* Fails if it is pinned or being migrated. */
		n += !ioctl(fd, _IOWR(0xaa, 5, move), &move);
	}
	ioctl(fd, UFFDIO_UNREGISTER, &reg.range);
	return n;
}

/*
 * Two areas, one below and one above the program's pages: what it maps there and they
 * can share an anon_vma, or be one mapping. Each page is at one of both places then.
 */
static long do_uffd_move(void)
{
	static uint64_t areas[2], round;
	static int fd = -1;
	uint64_t from, to;
	long n;

	if (fd < 0) {
		areas[0] = ADDR(inside_lo - AREA);
		areas[1] = ADDR(inside_hi);
		for (int i = 0; i < 2; i++)
			mmap((void *)areas[i], AREA * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE |
			     MAP_ANONYMOUS | MAP_FIXED, -1, 0);
		fd = open_uffd_move();
		if (fd < 0) {
			sleep(1);
			return 0;
		}
	}
	from = areas[round & 1];
	to = areas[++round & 1];
	madvise((void *)to, AREA * PAGE, MADV_DONTNEED);
	/* With an anon_vma, before it differs from its neighbour by being registered. */
	*(volatile uint64_t *)to = 0;
	madvise((void *)to, PAGE, MADV_DONTNEED);
	for (uint64_t i = 0; i < AREA; i++)
		*(volatile uint64_t *)(from + i * PAGE) = round * AREA + i;
	n = uffd_move(fd, from, to);
	for (uint64_t i = 0; i < AREA; i++) {
		const uint64_t want = round * AREA + i;

		if (*(volatile uint64_t *)(to + i * PAGE) != want &&
		    *(volatile uint64_t *)(from + i * PAGE) != want) {
			fprintf(stderr, "storm: UFFDIO_MOVE lost page %lu\n", i);
			abort();
		}
	}
	return n;
}

/* ---- parts of the kernel that are set to work ----------------------------------------------- */

static long do_ksm(void)
{
	static long before = -1;
	const long now = number_in("/proc/vmstat", "cow_ksm") +
			 number_in(KSM "pages_sharing", "");
	const long more = before < 0 ? 0 : labs(now - before);

	before = now;
	usleep(20000);
	return more;
}

static long vmstat_more(const char *name, long *before)
{
	const long now = number_in("/proc/vmstat", name), more = now - *before;
	const bool first = !*before;

	*before = now + !now;
	usleep(20000);
	return first || more < 0 ? 0 : more;
}

static long do_khugepaged(void)
{
	static long before;

	/* First small pages, then huge ones of them. */
	write_to(THP "enabled", "never");
	usleep(10000);
	write_to(THP "enabled", "always");
	usleep(100000);
	return vmstat_more("thp_collapse_alloc", &before);
}

static long do_numa(void)
{
	static long before;

	return vmstat_more("numa_pte_updates", &before);
}

/* Of anonymous memory, not of programs: they would do nothing but read those again. */
static void set_swappiness(bool on)
{
	write_to("/proc/sys/vm/swappiness", on ? "200" : "60");
}

/* Page out; a small limit makes zswap write to swap what it has. */
static long do_zswap(void)
{
	static long before = -1;
	long now, more;

	do_pageout();
	if (!(random_number() & 15))
		do_reclaim();
	now = number_in("/proc/vmstat", "zswpwb");
	more = before < 0 ? 0 : now - before;
	before = now;
	return more;
}

static void set_zswap(bool on)
{
	write_to(CGROUP "memory.zswap.max", on ? "65536" : "max");
	write_to(ZSWAP "shrinker_enabled", on ? "Y" : "N");
	write_to(ZSWAP "enabled", on ? "Y" : "N");
}

/* A null block device that keeps what is written, and is slow to say so. */
static bool make_slow_swap(void)
{
	static const struct { const char *file, *text; } set[] = {
		{ "size", "256" },		/* MiB */
		{ "memory_backed", "1" },
		{ "irqmode", "2" },		/* by a timer, */
		{ "completion_nsec", "2000000" },
		{ "power", "1" },
	};
	const uint32_t info[] = { 1, (256 << 20) / PAGE - 1, 0 };
	char path[100];
	bool ok = true;
	int fd;

	if (!access(SLOW_SWAP, F_OK))
		return true;
	mkdir(NULLB "storm", 0755);
	for (size_t i = 0; ok && i < ARRAY_SIZE(set); i++) {
		snprintf(path, sizeof(path), NULLB "storm/%s", set[i].file);
		ok = write_to(path, set[i].text);
	}
	fd = ok ? open(SLOW_SWAP, O_WRONLY | O_CLOEXEC) : -1;
	ok = fd >= 0 && pwrite(fd, info, sizeof(info), 1024) == sizeof(info) &&
	     pwrite(fd, "SWAPSPACE2", 10, PAGE - 10) == 10;
	close(fd);
	return ok;
}

/* Page out; counts the pages written. The programs meet pages under writeback. */
static long do_slow_swap(void)
{
	static long before = -1;
	long now = 0, more;
	FILE *f = fopen("/sys/block/storm/stat", "re");

	do_pageout();
	if (f) {
		/* The seventh number: sectors that have been written */
		(void)!fscanf(f, "%*d %*d %*d %*d %*d %*d %ld", &now);
		fclose(f);
	}
	now /= (long)PAGE / 512;
	more = before < 0 ? 0 : now - before;
	before = now;
	return more;
}

/* Alone: processors keep to a device that they have a share of. */
static void set_slow_swap(bool on)
{
	if (on && make_slow_swap() && (!swapon(SLOW_SWAP, 0) || errno == EBUSY)) {
		swapoff(swap_device);
		swap_used = SLOW_SWAP;
	} else {
		swapon(swap_device, 0);
		swapoff(SLOW_SWAP);
		swap_used = swap_device;
	}
}

static void set_ksm(bool on)
{
	write_to(KSM "sleep_millisecs", "0");
	write_to(KSM "pages_to_scan", "500");
	write_to(KSM "run", on ? "1" : "0");
}

/* There have to be some. */
static void set_thp(bool on)
{
	write_to(THP "enabled", on ? "always" : "madvise");
}

static void set_khugepaged(bool on)
{
	write_to(KHUGEPAGED "pages_to_scan", "4096");
	write_to(KHUGEPAGED "alloc_sleep_millisecs", "0");
	write_to(KHUGEPAGED "scan_sleep_millisecs", on ? "0" : "4294967295");
	set_thp(on);
}

static void set_numa(bool on)
{
	write_to(NUMA_SCAN "scan_delay_ms", "1");
	write_to(NUMA_SCAN "scan_period_min_ms", "1");
	write_to(NUMA_SCAN "scan_period_max_ms", "10");
	write_to("/proc/sys/kernel/numa_balancing", on ? "1" : "0");
}

/* ---- the kinds ---------------------------------------------------------------------------- */

static const struct {
	const char *name;
	long (*act)(void);
	bool inside;			/* in the programs' processes */
	bool seldom;			/* finds something: huge pages, watched ones */
	const char *needs;		/* a file */
	void (*set)(bool on);		/* the kernel does it, act() counts */
} kinds[] = {
	{ .name = "pageout", do_pageout, .needs = "/proc/swaps" },
	{ .name = "reclaim", do_reclaim, .needs = CGROUP "memory.reclaim" },
	{ .name = "limit", do_limit, .needs = CGROUP "memory.high", .set = set_swappiness },
	{ .name = "move-pages", do_move_pages, .needs = "/sys/devices/system/node/node1" },
	{ .name = "migrate-pages", do_migrate_pages,
	  .needs = "/sys/devices/system/node/node1" },
	{ .name = "compact", do_compact, .needs = "/proc/sys/vm/compact_memory" },
	{ .name = "numa-balancing", do_numa, .needs = "/proc/sys/kernel/numa_balancing",
	  .set = set_numa },
	{ .name = "ksm", do_ksm, .needs = KSM "run", .set = set_ksm },
	{ .name = "khugepaged", do_khugepaged, .needs = KHUGEPAGED "scan_sleep_millisecs",
	  .set = set_khugepaged, .seldom = true },
	{ .name = "split", do_split, .needs = DEBUG "split_huge_pages",
	  .set = set_thp, .seldom = true },
	{ .name = "soft-offline", do_soft_offline,
	  .needs = "/sys/devices/system/memory/soft_offline_page" },
	{ .name = "memory-failure", do_memory_failure,
	  .needs = DEBUG "hwpoison/unpoison-pfn" },
	{ .name = "vmsplice", do_vmsplice, .inside = true, .needs = "/proc/self" },
	{ .name = "pin", do_pin, .inside = true, .needs = DEBUG "gup_test" },
	{ .name = "io-uring", do_uring, .inside = true,
	  .needs = "/proc/sys/kernel/io_uring_disabled" },
	{ .name = "forks", do_fork, .inside = true, .needs = "/proc/self" },
	{ .name = "uffd-move", do_uffd_move, .inside = true, .needs = "/dev/userfaultfd" },
	{ .name = "willneed-inside", do_willneed_inside, .inside = true,
	  .needs = "/proc/swaps" },
	{ .name = "willneed", do_willneed, .needs = "/proc/swaps" },
	{ .name = "idle", do_idle, .needs = IDLE },
	{ .name = "damon-vaddr", do_damon_vaddr, .needs = DAMON "nr_kdamonds",
	  .set = set_damon },
	{ .name = "damon-paddr", do_damon_paddr, .needs = DAMON "nr_kdamonds",
	  .set = set_damon },
	{ .name = "lru-gen", do_lru_gen, .needs = LRU_GEN "enabled", .set = set_lru_gen },
	{ .name = "slow-swap", do_slow_swap, .needs = NULLB "features", .set = set_slow_swap },
	{ .name = "zswap", do_zswap, .needs = CGROUP "memory.zswap.max", .set = set_zswap },
	{ .name = "readers", do_vm_readv, .needs = "/proc/self/mem" },
	{ .name = "smaps", do_smaps, .needs = "/proc/self/smaps" },
	{ .name = "pagemap", do_pagemap, .needs = "/proc/self/pagemap" },
	{ .name = "pagemap-scan", do_pagemap_scan, .needs = "/proc/self/pagemap" },
	{ .name = "pagemap-wp", do_pagemap_wp, .needs = "/proc/self/pagemap",
	  .seldom = true },
	{ .name = "swapoff", do_swapoff, .needs = "/proc/swaps" },
};

static bool takes_swap(long (*act)(void))
{
	return act == do_swapoff || act == do_slow_swap;
}

static bool chosen[ARRAY_SIZE(kinds)];
static unsigned int nr_chosen;
static const char *missing[ARRAY_SIZE(kinds)];
static pid_t pids[ARRAY_SIZE(kinds)];
static bool on;

void interfere_list(FILE *f, bool others)
{
	const char *comma = "";

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (!others || !kinds[i].inside) {
			fprintf(f, "%s%s", comma, kinds[i].name);
			comma = ",";
		}
}

bool interfere_on(void)
{
	return on;
}

static bool is_on(long (*act)(void))
{
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (on && chosen[i] && kinds[i].act == act)
			return true;
	return false;
}

bool interfere_forks(void)
{
	return is_on(do_fork);
}

/* Only then: a move of mergeable memory fails with EINTR if a signal arrives. */
static void let_ksm_merge(void)
{
	if (is_on(do_ksm))
		prctl(67 /* PR_SET_MEMORY_MERGE */, 1, 0, 0, 0);
}

/* That our own page has failed is no surprise. */
static void on_bus_error(int sig)
{
	(void)sig;
}

static uint64_t now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

/* A command is to get on, too: all together take half of the time, @worked being one's. */
static void rest(uint64_t worked)
{
	const uint64_t us = 2 * worked * nr_chosen + random_number() % 20000;

	usleep(us < 1000000 ? (useconds_t)us : 1000000);
}

static void act_until_killed(size_t i)
{
	uint64_t start;

	signal(SIGBUS, on_bus_error);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (;;) {
		if (users->pause) {
			state->idle[i] = 1;
			usleep(500);
			continue;
		}
		state->idle[i] = 0;
		start = now_us();
		/* Not between the look and the act. */
		if (!users->pause)
			state->did[i] += kinds[i].act();
		if (outside)
			rest(now_us() - start);
	}
}

static void *inside_thread(void *arg)
{
	const size_t i = (size_t)arg;

	for (;;) {
		if (users->pause) {
			usleep(500);
			continue;
		}
		__atomic_add_fetch(&state->inside, 1, __ATOMIC_SEQ_CST);
		if (!users->pause)
			__atomic_add_fetch(&state->did[i], kinds[i].act(), __ATOMIC_SEQ_CST);
		__atomic_sub_fetch(&state->inside, 1, __ATOMIC_SEQ_CST);
	}
	return NULL;
}

/* None of the threads that counted is alive any more. */
void interfere_begin(void)
{
	state->inside = 0;
	state->programs++;
}

void interfere_inside(int lo, int hi)
{
	if (!on)
		return;
	inside_lo = lo;
	inside_hi = hi;
	let_ksm_merge();
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		pthread_t thread;

		if (chosen[i] && kinds[i].inside && !missing[i])
			pthread_create(&thread, NULL, inside_thread, (void *)i);
	}
}

static void make_cgroup(void)
{
	write_to("/sys/fs/cgroup/cgroup.subtree_control", "+memory");
	mkdir("/sys/fs/cgroup/storm", 0755);
}

static void enter_cgroup(void)
{
	char pid[16];

	snprintf(pid, sizeof(pid), "%d", getpid());
	write_to(CGROUP "cgroup.procs", pid);
}

void interfere_with_me(void)
{
	enter_cgroup();
	let_ksm_merge();
}

void interfere_kill(void)
{
	write_to(CGROUP "cgroup.kill", "1");
}

/* Ends us if a kind is unknown. */
static void choose(const char *name, size_t len)
{
	const bool all = len == 3 && !strncmp(name, "all", 3);
	bool known = all;

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		const bool this = strlen(kinds[i].name) == len &&
				  !strncmp(name, kinds[i].name, len);

		if (this && outside && kinds[i].inside) {
			fprintf(stderr, "storm: %s only works inside the programs of storm\n",
				kinds[i].name);
			exit(2);
		}
		known |= this;
		chosen[i] |= this || (all && !(outside && kinds[i].inside));
	}
	if (!known) {
		fprintf(stderr, "storm: no kind of interference is \"%.*s\"\n", (int)len, name);
		exit(2);
	}
}

void interfere_start(const char *names, bool others)
{
	if (!users) {
		users = mmap(NULL, sizeof(*users), PROT_READ | PROT_WRITE,
			     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
		state = mmap(NULL, sizeof(*state), PROT_READ | PROT_WRITE,
			     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	}
	memset((void *)state, 0, sizeof(*state));
	memset(chosen, 0, sizeof(chosen));
	outside = others;
	on = names && *names;
	if (!on)
		return;
	for (const char *p = names; *p; p += strcspn(p, ","), p += *p == ',')
		choose(p, strcspn(p, ","));
	nr_chosen = 0;
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		nr_chosen += chosen[i];
	make_cgroup();
	if (access(NULLB, F_OK))
		mount("none", "/sys/kernel/config", "configfs", 0, NULL);
	if (!outside) {
		enter_cgroup();
	} else if (access(CGROUP "cgroup.procs", W_OK)) {
		perror("storm: " CGROUP "cgroup.procs");
		exit(2);
	}
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		missing[i] = access(kinds[i].needs, F_OK) ? kinds[i].needs :
			     takes_swap(kinds[i].act) && !has_swap() ? "swap" : NULL;
		if (!chosen[i] || missing[i])
			continue;
		if (kinds[i].set)
			kinds[i].set(true);
		if (kinds[i].inside)
			continue;
		fflush(NULL);
		pids[i] = fork();
		if (!pids[i])
			act_until_killed(i);
	}
}

bool pause_relocations(long usecs)
{
	char text[24];

	snprintf(text, sizeof(text), "%ld", usecs);
	return write_to("/sys/kernel/debug/fail_relocate/pause-usecs", text);
}

bool coalesce_always(bool on)
{
	return write_to("/sys/kernel/debug/fail_relocate/coalesce-always", on ? "1" : "0");
}

void interfere_with_move(pid_t pid, uint64_t addr)
{
	users->moving = addr;
	users->mover = pid;
	/* They must be at it when it begins. */
	if (on && pid)
		usleep((useconds_t)(random_number() % 1000));
}

void interfere_pause(bool pause)
{
	long waited = 0;

	users->pause = pause;
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (chosen[i] && !missing[i] && kinds[i].set)
			kinds[i].set(!pause);
	while (pause) {
		bool busy = __atomic_load_n(&state->inside, __ATOMIC_SEQ_CST) > 0;

		for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
			if (pids[i] > 0 && waitpid(pids[i], NULL, WNOHANG) == pids[i])
				pids[i] = 0;
			busy |= pids[i] > 0 && !state->idle[i];
		}
		if (!busy || !wait_more(&waited, 500))
			break;
	}
}

void interfere_stop(void)
{
	if (!on)
		return;
	/* Threads that were killed at work, with our programs, have not said so. */
	state->inside = 0;
	/* None is killed between swapoff and swapon. */
	interfere_pause(true);
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		if (pids[i] > 0) {
			kill(pids[i], SIGKILL);
			waitpid(pids[i], NULL, 0);
		}
		pids[i] = 0;
	}
	/* What was at work when it was to be turned off has its old setting, too. */
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (chosen[i] && !missing[i] && kinds[i].set)
			kinds[i].set(false);
	users->pause = false;
	on = false;
}

/* Is there a kind that this kernel has? */
bool interfere_can(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (chosen[i] && !missing[i])
			return true;
	return false;
}

/* Those that do something seldom are not waited for. */
bool interfere_did_all(void)
{
	for (size_t i = 0; on && i < ARRAY_SIZE(kinds); i++)
		if (chosen[i] && !missing[i] && !kinds[i].seldom && !state->did[i])
			return false;
	return true;
}

/* One line for each kind that was chosen. */
void interfere_report(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		extern void tap(bool ok, const char *format, ...);

		if (!chosen[i])
			continue;
		if (missing[i])
			tap(true, "interference %s # SKIP no %s", kinds[i].name, missing[i]);
		else if (!state->did[i] && kinds[i].seldom && !outside &&
			 state->programs < 50)
			tap(true, "interference %s # SKIP did nothing, in %d programs only",
			    kinds[i].name, state->programs);
		else
			tap(state->did[i] > 0, "interference %s: did %ld", kinds[i].name,
			    state->did[i]);
	}
}
