// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Relocation of single pages of every kind, and of ranges that a userfaultfd
 * watches. For large folios see large.c, for what is swapped out swap.c.
 */
#include "relocate.h"
#include "bus.h"
#include "device.h"
#include "migrate.h"
#include "pin.h"
#include "uffd.h"

#include <linux/io_uring.h>
#include <sys/prctl.h>
#include <sys/uio.h>

#ifndef UFFD_FEATURE_RWP
#define UFFD_FEATURE_RWP (1 << 17)
#define UFFD_FEATURE_RWP_ASYNC (1 << 18)
#define UFFDIO_REGISTER_MODE_RWP (1 << 3)
#endif

struct uffd_rwprotect {
	struct uffdio_range range;
	uint64_t mode;
};
#define UFFD_RWPROTECT _IOWR(UFFDIO, 0x09, struct uffd_rwprotect)

/* ---- zero page, protections, markers -------------------------------------- */

START_TEST(small)
{
	char *p = map_filled(arena + 64 * PAGE, 16 * PAGE, 1);

	/* With holes, and part of a range that was moved before. */
	move_to(p + 8 * PAGE, 8 * PAGE, arena + 128 * PAGE, 0);
	advise(p + 3 * PAGE, PAGE, MADV_DONTNEED);
	relocate(p, 8 * PAGE, arena + 4 * PAGE);
	check_zero(arena + 7 * PAGE, PAGE);
	fill_from(arena + 7 * PAGE, PAGE, 1, 3);
	check_rmap(arena + 4 * PAGE, 8 * PAGE, 1);
	relocate(arena + 128 * PAGE, 8 * PAGE, arena + 40 * PAGE);
	check_rmap_from(arena + 40 * PAGE, 8 * PAGE, 1, 8);
}
END_TEST

START_TEST(zero_page)
{
	char *p = map_filled(arena + 64 * PAGE, PAGE, 1), *to = arena + 4 * PAGE;
	volatile char sum = 0;

	ck_assert_int_eq(munmap(map_at(p + PAGE, 7 * PAGE), 7 * PAGE), 0);
	map_at(p + PAGE, 7 * PAGE);
	for (int i = 1; i < 8; i++)
		sum += p[i * PAGE];
	ck_assert(kpageflags(p + PAGE) & KPF_ZERO_PAGE);
	relocate(p, 8 * PAGE, to);
	ck_assert(kpageflags(to + PAGE) & KPF_ZERO_PAGE);
	check_zero(to + PAGE, 7 * PAGE);
	fill(to, 8 * PAGE, 2);
	check_rmap(to, 8 * PAGE, 2);
}
END_TEST

/* Present entries that user space must not use. */
START_TEST(no_access)
{
	char *p = map_filled(arena + 64 * PAGE, 8 * PAGE, 1);

	ck_assert_int_eq(mprotect(p, 8 * PAGE, PROT_NONE), 0);
	move_to(p, 8 * PAGE, arena, MUST);
	ck_assert_int_eq(mprotect(arena, 8 * PAGE, RW), 0);
	check_rmap(arena, 8 * PAGE, 1);
}
END_TEST

static void *idle_thread(void *arg)
{
	(void)!read(*(int *)arg, arg, 1);
	return NULL;
}

/*
 * Entries that NUMA balancing made inaccessible, to see who uses the pages. It
 * does so in a new process, that runs for a while, and if that has one thread,
 * only to pages of other nodes.
 */
START_TEST(numa_hinting)
{
	const size_t len = 256 * PAGE;
	const long before = vmstat("numa_pte_updates");
	char *p = arena + 16 * HUGE, *to = arena + 4 * PAGE;
	pthread_t thread;
	int ends[2], status;
	pid_t pid;

	write_file("/sys/kernel/debug/sched/numa_balancing/scan_delay_ms", "1");
	write_file("/sys/kernel/debug/sched/numa_balancing/scan_period_min_ms", "1");
	ck_assert_int_eq(pipe(ends), 0);
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (!pid) {
		pthread_create(&thread, NULL, idle_thread, &ends[0]);
		map_filled(p, len, 1);
		write_file("/proc/sys/kernel/numa_balancing", "1");
		for (int i = 0; vmstat("numa_pte_updates") < before + 200; i++)
			if (i > 20000)
				ck_abort_msg("nothing was scanned");
		write_file("/proc/sys/kernel/numa_balancing", "0");
		relocate(p, len, to);
		check_rmap(to, len, 1);
		_exit(0);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	write_file("/proc/sys/kernel/numa_balancing", "0");
	ck_assert_int_eq(status, 0);
}
END_TEST

/* A move marks what it moved as written to, relocating or not. */
START_TEST(soft_dirty)
{
	char *p = map_filled(arena + 64 * PAGE, 8 * PAGE, 1);

	page_out(p, 4 * PAGE);
	write_file("/proc/self/clear_refs", "4");
	ck_assert_uint_eq(count_pages(p, 8 * PAGE, PM_SOFT_DIRTY), 0);
	move_to(p, 8 * PAGE, arena, _i ? MUST : 0);
	ck_assert_uint_eq(count_pages(arena, 8 * PAGE, PM_SOFT_DIRTY), 8);
	check_rmap(arena, 8 * PAGE, 1);
}
END_TEST

/* Guard markers move along as they do in a plain move. */
START_TEST(guard_pages)
{
	char *p = map_filled(arena + 64 * PAGE, 8 * PAGE, 1);
	int null[2];

	advise(p + 4 * PAGE, PAGE, MADV_GUARD_INSTALL);
	relocate(p, 8 * PAGE, arena + PAGE);
	p = arena + PAGE;
	check(p, 4 * PAGE, 1);
	ck_assert_int_eq(pipe(null), 0);
	ck_assert_int_eq(write(null[1], p + 4 * PAGE, 1), -1);
	ck_assert_int_eq(errno, EFAULT);
	ck_assert_int_eq(write(null[1], p + 5 * PAGE, 1), 1);
	advise(p + 4 * PAGE, PAGE, MADV_GUARD_REMOVE);
	ck_assert_int_eq(p[4 * PAGE], 0);
	fill_from(p + 4 * PAGE, PAGE, 1, 4);
	check_rmap(p, 8 * PAGE, 1);
}
END_TEST

/* Freed lazily, half of it in use again; the rest may read as zeros. */
START_TEST(lazily_freed)
{
	char *p = map_filled(arena + 64 * PAGE, 16 * PAGE, 1);

	advise(p, 16 * PAGE, MADV_FREE);
	fill(p, 8 * PAGE, 1);
	move_to(p, 16 * PAGE, arena, MUST);
	check_rmap(arena, 8 * PAGE, 1);
	for (int i = 8; i < 16; i++)
		ck_assert(!arena[i * PAGE] ||
			  (unsigned char)arena[i * PAGE] == pattern(1, i));
}
END_TEST

/* ---- memory failure ------------------------------------------------------- */

#ifndef MADV_SOFT_OFFLINE
#define MADV_SOFT_OFFLINE 101
#endif

START_TEST(hwpoison)
{
	char *p = map_filled(arena + 64 * PAGE, 8 * PAGE, 1), *to = arena + 4 * PAGE;
	pfn_text pfn;

	poison(p + 3 * PAGE, pfn);
	ck_assert_int_eq(bus_at(p + 3 * PAGE), BUS_MCEERR_AR);
	relocate(p, 8 * PAGE, to);
	ck_assert_int_eq(bus_at(to + 3 * PAGE), BUS_MCEERR_AR);
	ck_assert_int_eq(bus_at(to + 2 * PAGE), 0);
	check_rmap(to, 3 * PAGE, 1);
	check_rmap_from(to + 4 * PAGE, 4 * PAGE, 1, 4);
	ck_assert_int_eq(munmap(to, 8 * PAGE), 0);
	unpoison(pfn);
}
END_TEST

/* One more walk of the reverse map: contents go elsewhere, the page goes. */
START_TEST(soft_offlined)
{
	char *p = map_filled(arena + 64 * PAGE, 8 * PAGE, 1), *to = arena + 4 * PAGE;
	pfn_text pfn;

	relocate(p, 8 * PAGE, to);
	write_file("/proc/sys/vm/compact_memory", "1");
	print_pfn(pfn, to + 3 * PAGE);
	advise(to + 3 * PAGE, PAGE, MADV_SOFT_OFFLINE);
	ck_assert_uint_ne(pfn_of(to + 3 * PAGE), strtoul(pfn, NULL, 16));
	check_rmap(to, 8 * PAGE, 1);
	unpoison(pfn);
}
END_TEST

/* ---- migration ------------------------------------------------------------- */

/*
 * Relocate while another thread migrates, by entries or by PMD: each call meets
 * entries of a migration that is under way, and must wait for its end.
 */
START_TEST(migrating)
{
	const bool huge = _i & 1, congruent = !(_i & 2);
	const size_t len = huge ? 2 * HUGE : 64 * PAGE;
	char *p = arena + 16 * HUGE;
	char *to = arena + 32 * HUGE + (congruent ? 0 : 5 * PAGE);
	struct migrator m;

	for (int round = 0; round < 10; round++) {
		if (huge)
			map_huge(p, len, 1);
		else
			map_filled(p, len, 1);
		migrate_start(&m, p, len, huge ? HUGE : PAGE);
		migrate_wait(&m);
		/* Nothing but a PMD maps it, so that is what was replaced. */
		move_to(p, len, to, MUST);
		migrate_end(&m);
		if (huge && congruent)
			ck_assert_int_eq(smaps_kb(to, len, "AnonHugePages"),
					 len >> 10);
		check_rmap(to, len, 1);
		ck_assert_int_eq(munmap(to, len), 0);
	}
}
END_TEST

/* ---- device memory --------------------------------------------------------- */

/*
 * In the device's memory, all or half. They come back by a page fault, by
 * the driver, or because it throws out everybody, which the reverse map does.
 */
START_TEST(device_private)
{
	const size_t len = 32 * PAGE, part = _i & 1 ? len / 2 : len;
	char *p = map_filled(arena + 64 * PAGE, len, 1), *to = arena + 4 * PAGE;
	int fd = device_open();

	ck_assert_uint_eq(device(fd, HMM_DMIRROR_MIGRATE_TO_DEV, p, part),
			  part / PAGE);
	check(dev_copy, part, 1);
	ck_assert_uint_eq(count_device(fd, p, part,
				       HMM_DMIRROR_PROT_DEV_PRIVATE_LOCAL),
			  part / PAGE);
	relocate(p, len, to);
	ck_assert_uint_eq(count_device(fd, to, part,
				       HMM_DMIRROR_PROT_DEV_PRIVATE_LOCAL),
			  part / PAGE);
	if (_i >= 4)
		device(fd, HMM_DMIRROR_RELEASE, to, PAGE);
	else if (_i >= 2)
		device(fd, HMM_DMIRROR_MIGRATE_TO_SYS, to, part);
	else
		check(to, len, 1);
	ck_assert_uint_eq(count_pages(to, len, PRESENT), len / PAGE);
	check_rmap(to, len, 1);
}
END_TEST

/* The device has a huge page: whole, to where it fits and elsewhere. */
START_TEST(device_private_huge)
{
	char *p = map_huge(arena + 16 * HUGE, HUGE, 1);
	char *to = arena + 2 * HUGE + (_i ? 5 * PAGE : 0);
	int fd = device_open();

	ck_assert_uint_eq(device(fd, HMM_DMIRROR_MIGRATE_TO_DEV, p, HUGE), 512);
	ck_assert_uint_eq(count_device(fd, p, HUGE, HMM_DMIRROR_PROT_PMD |
				       HMM_DMIRROR_PROT_DEV_PRIVATE_LOCAL), 512);
	relocate_advised(p, HUGE, to, SETTLED);
	ck_assert_uint_eq(count_device(fd, to, HUGE,
				       HMM_DMIRROR_PROT_DEV_PRIVATE_LOCAL), 512);
	check_rmap(to, HUGE, 1);
}
END_TEST

/* In part: it depends on whether such a folio can be split. All or nothing. */
START_TEST(device_private_huge_partly_covered)
{
	char *p = map_huge(arena + 16 * HUGE, HUGE, 1), *to = arena + 2 * HUGE;
	const size_t off = 64 * PAGE, len = 256 * PAGE;
	int fd = device_open();

	ck_assert_uint_eq(device(fd, HMM_DMIRROR_MIGRATE_TO_DEV, p, HUGE), 512);
	if (sys_mremap(p + off, len, len, MREMAP_MAYMOVE | MREMAP_FIXED | MUST,
		       to) == MAP_FAILED) {
		ck_assert_int_eq(errno, EFAULT);
		ck_assert_int_eq(mappings(to, len), 0);
		ck_assert_int_eq(mappings(p, HUGE), 1);
		move_to(p + off, len, to, RELOCATE);
	}
	check_from(to, len, 1, off / PAGE);
	check(p, off, 1);
	check_from(p + off + len, HUGE - off - len, 1, (off + len) / PAGE);
	check_rmap_from(to, len, 1, off / PAGE);
	check_rmap(p, off, 1);
	check_rmap_from(p + off + len, HUGE - off - len, 1, (off + len) / PAGE);
}
END_TEST

/* Pages in our memory that only the device may use until we touch them. */
START_TEST(device_exclusive)
{
	const size_t len = 32 * PAGE, part = _i ? len / 2 : len;
	char *p = map_filled(arena + 64 * PAGE, len, 1), *to = arena + 4 * PAGE;
	int fd = device_open();

	device(fd, HMM_DMIRROR_EXCLUSIVE, p, part);
	check(dev_copy, part, 1);
	ck_assert_uint_eq(count_pages(p, len, PRESENT), (len - part) / PAGE);
	relocate(p, len, to);
	ck_assert_uint_eq(count_pages(to, len, PRESENT), (len - part) / PAGE);
	check(to, len, 1);
	ck_assert_uint_eq(count_pages(to, len, PRESENT), len / PAGE);
	check_rmap(to, len, 1);
}
END_TEST

/* ---- pinned, locked -------------------------------------------------------- */

/* By get_user_pages(), its fast variant, to be read only or to be written to. */
START_TEST(pinned)
{
	const size_t len = 16 * PAGE;
	char *p = map_filled(arena + 64 * PAGE, len, 1), *to = arena + 4 * PAGE;
	int pin = pin_start(p, len, (_i & 1 ? PIN_FAST : 0) |
			    (_i & 2 ? PIN_WRITE : 0));

	relocate(p, len, to);
	pin_check(pin, len, 1);
	fill(to, len, 2);
	pin_check(pin, len, 2);
	pin_end(pin);
	check_rmap(to, len, 2);
}
END_TEST

struct ring {
	int fd;
	char *sq, *cq;
	struct io_uring_sqe *sqe;
	struct io_uring_params params;
};

static void ring_open(struct ring *ring, void *buf, size_t len)
{
	struct iovec iov = { .iov_base = buf, .iov_len = len };
	struct io_uring_params *params = &ring->params;

	memset(ring, 0, sizeof(*ring));
	ring->fd = (int)syscall(SYS_io_uring_setup, 2, params);
	ck_assert_msg(ring->fd >= 0, "io_uring_setup: %s", strerror(errno));
	/* Both rings of so few entries are in one page. */
	ring->sq = mmap(NULL, PAGE, RW, MAP_SHARED, ring->fd, IORING_OFF_SQ_RING);
	ck_assert_msg(ring->sq != MAP_FAILED, "ring: %s", strerror(errno));
	ring->cq = ring->sq;
	ring->sqe = mmap(NULL, PAGE, RW, MAP_SHARED, ring->fd, IORING_OFF_SQES);
	ck_assert_ptr_ne(ring->sqe, MAP_FAILED);
	ck_assert_msg(!syscall(SYS_io_uring_register, ring->fd,
			       IORING_REGISTER_BUFFERS, &iov, 1),
		      "io_uring_register: %s", strerror(errno));
}

/* Read or write with the buffer that was registered, at its old address. */
static void ring_transfer(struct ring *ring, int opcode, int fd, char *buf,
			  size_t len)
{
	const struct io_sqring_offsets *sq = &ring->params.sq_off;
	const struct io_cqring_offsets *cq = &ring->params.cq_off;
	uint32_t *tail = (void *)(ring->sq + sq->tail);
	uint32_t *head = (void *)(ring->cq + cq->head);
	const uint32_t mask = *(uint32_t *)(void *)(ring->sq + sq->ring_mask);
	const struct io_uring_cqe *cqe;

	ring->sqe[0] = (struct io_uring_sqe) {
		.opcode = (uint8_t)opcode, .fd = fd, .addr = (uintptr_t)buf,
		.len = (uint32_t)len,
	};
	((uint32_t *)(void *)(ring->sq + sq->array))[*tail & mask] = 0;
	__atomic_store_n(tail, *tail + 1, __ATOMIC_RELEASE);
	ck_assert_int_eq(syscall(SYS_io_uring_enter, ring->fd, 1, 1,
				 IORING_ENTER_GETEVENTS, NULL, 0), 1);
	cqe = (struct io_uring_cqe *)(void *)(ring->cq + cq->cqes) +
	      (*head & *(uint32_t *)(void *)(ring->cq + cq->ring_mask));
	ck_assert_int_eq(cqe->res, (int)len);
	__atomic_store_n(head, *head + 1, __ATOMIC_RELEASE);
}

static void ring_close(struct ring *ring)
{
	ck_assert_int_eq(syscall(SYS_io_uring_register, ring->fd,
				 IORING_UNREGISTER_BUFFERS, NULL, 0), 0);
	close(ring->fd);
}

/* What io_uring transfers goes to and from the pages where they are now. */
START_TEST(io_uring_fixed_buffer)
{
	const bool huge = _i;
	const size_t len = huge ? HUGE : 16 * PAGE;
	char *p = arena + 64 * HUGE, *to = arena + 2 * HUGE + 4 * PAGE;
	int file = memfd_create("file", 0);
	char *contents;
	struct ring ring;

	ck_assert_int_eq(ftruncate(file, (off_t)len), 0);
	contents = mmap(NULL, len, RW, MAP_SHARED, file, 0);
	ck_assert_ptr_ne(contents, MAP_FAILED);
	if (huge)
		map_huge(p, len, 1);
	else
		map_filled(p, len, 1);
	ring_open(&ring, p, len);
	relocate_advised(p, len, to, huge ? SETTLED : 0);
	check(to, len, 1);

	ring_transfer(&ring, IORING_OP_WRITE_FIXED, file, p, len);
	check(contents, len, 1);
	fill(contents, len, 2);
	ring_transfer(&ring, IORING_OP_READ_FIXED, file, p, len);
	check(to, len, 2);

	/* Once unpinned they are pages like others. */
	ring_close(&ring);
	check_rmap(to, len, 2);
}
END_TEST

/* Pages that a pipe has references to. */
START_TEST(in_a_pipe)
{
	const size_t len = 8 * PAGE;
	char *p = map_filled(arena + 64 * PAGE, len, 1), *to = arena + 4 * PAGE;
	struct iovec iov = { .iov_base = p, .iov_len = len };
	char copy[8 * PAGE];
	int ends[2];

	ck_assert_int_eq(pipe(ends), 0);
	ck_assert_int_eq(vmsplice(ends[1], &iov, 1, 0), (ssize_t)len);
	relocate(p, len, to);
	fill(to, len, 2);
	for (size_t n = 0; n < len; n += PAGE)
		ck_assert_int_eq(read(ends[0], copy + n, PAGE), PAGE);
	check(copy, len, 2);
	check_rmap(to, len, 2);
}
END_TEST

START_TEST(locked)
{
	char *p = map_filled(arena + 64 * PAGE, 8 * PAGE, 1);

	map_filled(arena, 4 * PAGE, 2);
	ck_assert_int_eq(mlock(p, 8 * PAGE), 0);
	ck_assert_int_eq(mlock(arena, 4 * PAGE), 0);
	move_to(p, 8 * PAGE, arena + 4 * PAGE, MUST);
	ck_assert_int_eq(mappings(arena, 12 * PAGE), 1);
	ck_assert_int_eq(smaps_kb(arena, 12 * PAGE, "Locked"), 12 * PAGE >> 10);
	ck_assert(kpageflags(arena + 4 * PAGE) & KPF_MLOCKED);
	check_migrates(arena, 12 * PAGE);
	ck_assert_int_eq(munlock(arena, 12 * PAGE), 0);
	check_rmap(arena + 4 * PAGE, 8 * PAGE, 1);
}
END_TEST

/* Locked as they are touched: neither the move nor growing touches any. */
START_TEST(locked_on_fault)
{
	char *p = arena + 64 * PAGE;

	ck_assert_int_eq(mlockall(MCL_FUTURE | MCL_ONFAULT), 0);
	map_at(p, 8 * PAGE);
	fill(p, 4 * PAGE, 1);
	move_to(p, 8 * PAGE, arena, MUST);
	ck_assert_uint_eq(count_pages(arena, 8 * PAGE, PRESENT), 4);
	ck_assert_ptr_eq(sys_mremap(arena, 8 * PAGE, 12 * PAGE, MREMAP_MAYMOVE |
				    MREMAP_FIXED | MUST, p), p);
	ck_assert_uint_eq(count_pages(p, 12 * PAGE, PRESENT), 4);
	fill_from(p + 4 * PAGE, PAGE, 1, 4);
	ck_assert(kpageflags(p + 4 * PAGE) & KPF_MLOCKED);
	ck_assert_int_eq(munlockall(), 0);
	check_rmap(p, 5 * PAGE, 1);
}
END_TEST

/* ---- userfaultfd ----------------------------------------------------------- */

/* Who does not want to hear of moves loses the range with the first. */
START_TEST(uffd_missing)
{
	char *p = map_filled(arena + 64 * PAGE, 8 * PAGE, 1), *to = arena + 4 * PAGE;
	struct counters before = counters(), after;
	int fd = uffd_open(0);
	struct monitor m;

	map_filled(to - PAGE, PAGE, 77);
	advise(p + 6 * PAGE, 2 * PAGE, MADV_DONTNEED);
	uffd_register(fd, p, 8 * PAGE, UFFDIO_REGISTER_MODE_MISSING);
	monitor_start(&m, fd, 2);
	move_to(p, 8 * PAGE, to, both_flags[_i]);
	after = counters();
	ck_assert_int_eq(after.relocate, before.relocate + 1);
	/* It could not merge yet, but is not registered any more. */
	ck_assert_int_eq(mprotect(to, 8 * PAGE, PROT_READ), 0);
	ck_assert_int_eq(mprotect(to, 8 * PAGE, RW), 0);
	ck_assert_int_eq(mappings(to - PAGE, 9 * PAGE), 1);
	check_zero(to + 6 * PAGE, 2 * PAGE);
	monitor_end(&m);
	ck_assert_int_eq(m.faults + m.moves, 0);
	check_rmap(to, 6 * PAGE, 1);
	close(fd);
}
END_TEST

/* Who wants to is told, and keeps the range. */
START_TEST(uffd_missing_event)
{
	char *p = map_filled(arena + 64 * PAGE, 8 * PAGE, 1), *to = arena + 4 * PAGE;
	int fd = uffd_open(UFFD_FEATURE_EVENT_REMAP);
	struct counters before = counters(), after;
	struct monitor m;

	map_at(to - PAGE, PAGE);
	advise(p + 6 * PAGE, 2 * PAGE, MADV_DONTNEED);
	uffd_register(fd, p, 8 * PAGE, UFFDIO_REGISTER_MODE_MISSING);
	monitor_start(&m, fd, 2);
	move_to(p, 8 * PAGE, to, both_flags[_i]);
	after = counters();
	monitor_check(&m, 1);
	ck_assert_uint_eq(m.from, (uintptr_t)p);
	ck_assert_uint_eq(m.to, (uintptr_t)to);
	ck_assert_uint_eq(m.len, 8 * PAGE);
	ck_assert_int_eq(after.relocate, before.relocate + 1);
	check(to + 6 * PAGE, PAGE, 2);
	check(to + 7 * PAGE, PAGE, 2);
	ck_assert_int_eq(m.faults, 2);
	monitor_end(&m);
	ck_assert_int_eq(mappings(to - PAGE, 9 * PAGE), 2);
	check_rmap(to, 6 * PAGE, 1);
	check_rmap(to + 6 * PAGE, PAGE, 2);
	/* Without the registration nothing tells it from its neighbour, but that nobody has
	 * touched that, as Linux 6.12 sees it.
	 */
	uffd_unregister(fd, to, 8 * PAGE);
	ck_assert_int_eq(mappings(to - PAGE, 9 * PAGE), kernel_before_7() ? 2 : 1);
	check_rmap(to, 6 * PAGE, 1);
	close(fd);
}
END_TEST

/* Nobody is told of a move that is refused; of one that falls back they are. */
START_TEST(uffd_refused)
{
	char *p = map_filled(arena + 64 * PAGE, 8 * PAGE, 1);
	int fd = uffd_open(UFFD_FEATURE_EVENT_REMAP);
	struct child child;
	struct monitor m;

	if (child_start(&child)) {
		child_wait(&child);
		_exit(0);
	}
	uffd_register(fd, p, 8 * PAGE, UFFDIO_REGISTER_MODE_MISSING);
	monitor_start(&m, fd, 2);
	check_refused(p, 8 * PAGE, arena, "shared");
	usleep(50000);
	monitor_check(&m, 0);
	move_to(p, 8 * PAGE, arena, RELOCATE);
	monitor_check(&m, 1);
	monitor_end(&m);
	check(arena, 8 * PAGE, 1);
	child_end(&child);
	close(fd);
}
END_TEST

/*
 * UFFDIO_MOVE between two page tables, or PMD tables, and mremap() of other memory
 * between the same two at the same time: each has the locks of both for a moment.
 */
#define MOVES 1000

struct mover {
	char *low, *high;
	size_t len;
	int fd;
};

static void *move_by_uffd(void *arg)
{
	const struct mover *m = arg;

	for (int i = 0; i < MOVES; i++) {
		struct uffd_move move = {
			.dst = (uintptr_t)(i & 1 ? m->low : m->high),
			.src = (uintptr_t)(i & 1 ? m->high : m->low),
			.len = m->len,
		};

		assert_quietly(!ioctl(m->fd, UFFD_MOVE, &move));
	}
	return NULL;
}

START_TEST(uffd_move_beside)
{
	const bool huge = _i & 1;
	const size_t len = huge ? HUGE : 16 * PAGE;
	char *const high = arena + ARENA / 4, *const low = high - 8 * len;
	char *p = low + 4 * len, *to = high + 4 * len;
	struct mover m = { .low = low, .high = high, .len = len };
	pthread_t thread;

	m.fd = uffd_open(UFFD_FEATURE_MOVE);
	map_at(high, len);
	if (huge) {
		map_huge(low, len, 1);
		map_huge(p, len, 2);
	} else {
		map_filled(low, len, 1);
		map_filled(p, len, 2);
	}
	uffd_register(m.fd, low, len, UFFDIO_REGISTER_MODE_MISSING);
	uffd_register(m.fd, high, len, UFFDIO_REGISTER_MODE_MISSING);
	ck_assert_int_eq(pthread_create(&thread, NULL, move_by_uffd, &m), 0);
	for (int i = 0; i < MOVES; i++) {
		char *swap = p;

		move_to(p, len, to, _i & 2 ? MUST : 0);
		p = to;
		to = swap;
	}
	ck_assert_int_eq(pthread_join(thread, NULL), 0);
	check(low, len, 1);
	check(p, len, 2);
	/* Neither has split a huge page. */
	ck_assert_int_eq(smaps_kb(low, len, "AnonHugePages"), huge ? HUGE >> 10 : 0);
	ck_assert_int_eq(smaps_kb(p, len, "AnonHugePages"), huge ? HUGE >> 10 : 0);
	close(m.fd);
}
END_TEST

/*
 * Write protection is kept, or goes with the registration, whatever is
 * protected: small pages, swapped ones, none, large folios, a huge one. The
 * plain move, with which this begins, does the same.
 */
START_TEST(uffd_wp)
{
	enum { SMALL, SWAP, NONE, LARGE, BY_PMD, KINDS };
	const int kind = _i / 2 % KINDS, flags = _i / 2 / KINDS ? MUST : 0;
	const bool event = _i & 1;
	const size_t len = kind == BY_PMD ? HUGE : 32 * PAGE;
	char *p = arena + 16 * HUGE, *to = arena + 2 * HUGE;
	int fd = uffd_open((event ? UFFD_FEATURE_EVENT_REMAP : 0) |
			   UFFD_FEATURE_PAGEFAULT_FLAG_WP | UFFD_FEATURE_WP_ASYNC |
			   UFFD_FEATURE_WP_UNPOPULATED);
	struct monitor m;

	if (kind == BY_PMD)
		map_huge(p, len, 1);
	else if (kind == LARGE)
		map_large(p, len, 64 << 10, 1);
	else if (kind == NONE)
		map_filled(p, PAGE, 1), map_at(p + PAGE, len - PAGE);
	else
		map_filled(p, len, 1);
	if (kind == SWAP)
		page_out(p, len);
	uffd_register(fd, p, len, UFFDIO_REGISTER_MODE_WP);
	uffd_protect(fd, p, len);
	ck_assert_uint_eq(count_pages(p, len, PM_UFFD_WP), len / PAGE);
	monitor_start(&m, fd, 2);
	move_to(p, len, to, flags);
	monitor_check(&m, event);
	ck_assert_uint_eq(count_pages(to, len, PM_UFFD_WP), event ? len / PAGE : 0);
	if (kind == NONE) {
		check(to, PAGE, 1);
		check_zero(to + PAGE, len - PAGE);
	} else {
		check(to, len, 1);
		ck_assert_uint_eq(count_pages(to, len, PM_UFFD_WP),
				  event ? len / PAGE : 0);
	}
	fill(to, len, 2);
	ck_assert_uint_eq(count_pages(to, len, PM_UFFD_WP), 0);
	monitor_end(&m);
	check_rmap(to, len, 2);
	close(fd);
}
END_TEST

/* Not accessible until a monitor allows it; the new VMA has no monitor. */
START_TEST(uffd_rwp)
{
	const size_t len = 32 * PAGE;
	char *p = map_filled(arena + 64 * PAGE, len, 1), *to = arena + 4 * PAGE;
	int fd = uffd_open(UFFD_FEATURE_RWP | UFFD_FEATURE_RWP_ASYNC);
	struct uffd_rwprotect protect = {
		.range = { .start = (uintptr_t)p, .len = len }, .mode = 1,
	};
	long faults;

	uffd_register(fd, p, len, UFFDIO_REGISTER_MODE_RWP);
	ck_assert_int_eq(ioctl(fd, UFFD_RWPROTECT, &protect), 0);
	move_to(p, len, to, _i ? MUST : 0);
	faults = vmstat("numa_hint_faults");
	check(to, len, 1);
	ck_assert_int_eq(vmstat("numa_hint_faults"), faults);
	check_rmap(to, len, 1);
	close(fd);
}
END_TEST

/* A page that a monitor said was lost stays lost. */
START_TEST(poison_marker)
{
	char *p = map_filled(arena + 64 * PAGE, 8 * PAGE, 1), *to = arena + 4 * PAGE;
	int fd = uffd_open(UFFD_FEATURE_POISON |
			   (_i & 1 ? UFFD_FEATURE_EVENT_REMAP : 0));
	struct monitor m;

	advise(p + 3 * PAGE, PAGE, MADV_DONTNEED);
	uffd_register(fd, p, 8 * PAGE, UFFDIO_REGISTER_MODE_MISSING);
	uffd_lose(fd, p + 3 * PAGE, PAGE);
	monitor_start(&m, fd, 2);
	move_to(p, 8 * PAGE, to, _i & 2 ? MUST : 0);
	ck_assert_int_eq(bus_at(to + 3 * PAGE), BUS_MCEERR_AR);
	monitor_check(&m, _i & 1);
	ck_assert_int_eq(m.faults, 0);
	monitor_end(&m);
	check_rmap(to, 3 * PAGE, 1);
	check_rmap_from(to + 4 * PAGE, 4 * PAGE, 1, 4);
	close(fd);
}
END_TEST

/* -------------------------------------------------------------------------- */

int main(void)
{
	Suite *s = suite_create("pages");
	TCase *tc = add_case(s, "small");

	tcase_add_test(tc, small);
	tcase_add_test(tc, zero_page);
	tcase_add_test(tc, no_access);
	tcase_add_test(tc, numa_hinting);
	tcase_add_loop_test(tc, soft_dirty, 0, 2);
	if (!kernel_before_7())
		tcase_add_test(tc, guard_pages);
	tcase_add_test(tc, lazily_freed);
	tcase_add_test(tc, hwpoison);
	tcase_add_test(tc, soft_offlined);

	tc = add_case(s, "migration");
	tcase_add_loop_test(tc, migrating, 0, 4);

	tc = add_case(s, "device");
	tcase_add_loop_test(tc, device_private, 0, 6);
	if (!kernel_before_7()) {
		tcase_add_loop_test(tc, device_private_huge, 0, 2);
		tcase_add_test(tc, device_private_huge_partly_covered);
	}
	tcase_add_loop_test(tc, device_exclusive, 0, 2);

	tc = add_case(s, "pinned");
	tcase_add_loop_test(tc, pinned, 0, 4);
	tcase_add_loop_test(tc, io_uring_fixed_buffer, 0, 2);
	tcase_add_test(tc, in_a_pipe);
	tcase_add_test(tc, locked);
	tcase_add_test(tc, locked_on_fault);

	tc = add_case(s, "userfaultfd");
	tcase_add_loop_test(tc, uffd_missing, 0, 3);
	tcase_add_loop_test(tc, uffd_missing_event, 0, 3);
	tcase_add_test(tc, uffd_refused);
	tcase_add_loop_test(tc, uffd_move_beside, 0, 4);
	tcase_add_loop_test(tc, uffd_wp, 0, 20);
	if (!kernel_before_7())
		tcase_add_loop_test(tc, uffd_rwp, 0, 2);
	tcase_add_loop_test(tc, poison_marker, 0, 4);

	return run_guest_suite(s);
}
