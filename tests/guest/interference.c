// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Relocation under interference: others take pages away under the reverse map,
 * pin them, fork, collapse page tables, all the time.
 *
 * INTERFERENCE_ROUNDS says how long, for more than the few rounds of every day.
 */
#include "relocate.h"

#include <pthread.h>
#include <sys/mount.h>
#include <sys/uio.h>

static volatile bool storm_over;

static char *p, *q;	/* Two places of a range of mixed pages. */
static const size_t len = 2 * HUGE;

/* Files that are written to again and again. */
static int open_for(const char *path)
{
	int fd = open(path, O_WRONLY);

	if (fd < 0)
		ck_abort_msg("%s: %s", path, strerror(errno));
	return fd;
}

static void *reclaim_thread(void *arg)
{
	int fd = open_for("/sys/fs/cgroup/reclaim/memory.reclaim");

	(void)arg;
	while (!storm_over)
		if (write(fd, "4M", 2) < 0 && errno != EAGAIN)
			ck_abort_msg("memory.reclaim: %s", strerror(errno));
	close(fd);
	return NULL;
}

static void *compact_thread(void *arg)
{
	int fd = open_for("/proc/sys/vm/compact_memory");

	(void)arg;
	while (!storm_over)
		(void)!write(fd, "1", 1);
	close(fd);
	return NULL;
}

static void *migrate_thread(void *arg)
{
	unsigned long nodes[2] = { 1, 2 };

	(void)arg;
	for (int i = 0; !storm_over; i++)
		syscall(SYS_migrate_pages, 0, 64, &nodes[i & 1], &nodes[~i & 1]);
	return NULL;
}

/* Splits whatever is large, again and again. */
static void *split_thread(void *arg)
{
	int fd = open_for("/sys/kernel/debug/split_huge_pages");
	char text[100];

	(void)arg;
	while (!storm_over) {
		snprintf(text, sizeof(text), "%d,0x%lx,0x%lx", getpid(),
			 (unsigned long)arena, (unsigned long)arena + ARENA);
		(void)!write(fd, text, strlen(text));
	}
	close(fd);
	return NULL;
}

/* Takes pages from wherever they are at the time, by the fast path, and back. */
static void *pin_thread(void *arg)
{
	char buf[4 * PAGE];
	int ends[2];

	(void)arg;
	(void)!pipe2(ends, O_NONBLOCK);
	for (size_t i = 0; !storm_over; i += 61) {
		struct iovec iov = {
			.iov_base = (i & 1 ? p : q) + i * PAGE % len,
			.iov_len = PAGE,
		};
		ssize_t n = vmsplice(ends[1], &iov, 1, 0);

		if (n > 0)
			(void)!read(ends[0], buf, sizeof(buf));
	}
	return NULL;
}

/* Some slow us down more than others. */
static const struct {
	void *(*thread)(void *);
	int speed;
} interference[] = {
	{ reclaim_thread, 1 }, { compact_thread, 2 }, { migrate_thread, 1 },
	{ split_thread, 8 }, { pin_thread, 8 },
};

static int rounds(void)
{
	const char *text = getenv("INTERFERENCE_ROUNDS");

	return text ? atoi(text) : 6;
}

/* Move with MUST. With pages that are pinned for a moment it may be refused. */
static bool move_or_refused(char *from, size_t size, char *to, bool may_refuse)
{
	if (!may_refuse) {
		move_to(from, size, to, MUST);
		return true;
	}
	if (sys_mremap(from, size, size, MREMAP_MAYMOVE | MREMAP_FIXED | MUST,
		       to) == to)
		return true;
	if (errno != EFAULT)
		ck_abort_msg("mremap: %s", strerror(errno));
	return false;
}

/*
 * A range of huge, large and small pages goes to and fro, whole and in part, to
 * where huge pages stay so and to where they do not.
 */
START_TEST(storm)
{
	/* These hold on to folios that a move in part has to split. */
	const bool may_refuse = true;
	pthread_t thread;

	p = arena + 4 * HUGE;
	q = arena + 16 * HUGE;
	enter_cgroup();
	map_at(p, len);
	fill_huge(p, HUGE, 1);
	fill_large(p + HUGE, HUGE / 2, 64 << 10, 1);
	fill(p, len, 1);
	advise(p, len, MADV_HUGEPAGE);
	/* What the range merges with. */
	map_filled(q + len + 5 * PAGE, PAGE, 9);
	advise(q + len + 5 * PAGE, PAGE, MADV_HUGEPAGE);
	ck_assert_int_eq(pthread_create(&thread, NULL, interference[_i].thread,
					NULL), 0);

	for (int i = 0; i < interference[_i].speed * rounds(); i++) {
		const size_t part = (size_t)(64 + 37 * (i % 20)) * PAGE;
		char *to = q + 5 * PAGE;

		/* Whole, and congruent: nothing has to be split. */
		move_to(p, len, q, MUST);
		check(q, len, 1);
		move_to(q, len, p, MUST);
		/* Whole, and not. */
		move_to(p, len, to, MUST);
		if (mappings(to, len + PAGE) != 1)
			ck_abort_msg("did not merge");
		move_to(to, len, p, MUST);
		check(p, len, 1);
		if (i % 4 == 0) {
			/* Write, so that reclaim has to write as well. */
			fill(p, len, 1);
			madvise(p, len / 2, MADV_COLLAPSE);
		}
		/* In part: the folio at the boundary has to be split. */
		if (move_or_refused(p + part, len - part, to + part, may_refuse)) {
			check(p, part, 1);
			check_from(to + part, len - part, 1, part / PAGE);
			move_to(to + part, len - part, p + part, RELOCATE);
		}
		/* Two VMAs: both or none. */
		ck_assert_int_eq(mprotect(p, part, PROT_READ), 0);
		if (move_or_refused(p, len, q - len, may_refuse))
			move_to(q - len, len, p, RELOCATE);
		ck_assert_int_eq(mprotect(p, part, RW), 0);
		check(p, len, 1);
		/* All there was on the way, as far as there was a fallback. */
		move_to(p, len, q, RELOCATE);
		move_to(q, len, p, RELOCATE);
	}
	storm_over = true;
	pthread_join(thread, NULL);
	check_rmap(p, len, 1);
	move_to(p, len, q + 5 * PAGE, MUST);
	check_rmap(q + 5 * PAGE, len, 1);
}
END_TEST

/* Children come and go, and have some of the pages while they are there. */
START_TEST(forks)
{
	const size_t size = 64 * PAGE;
	pid_t pid;
	int status;

	p = map_filled(arena + 4 * HUGE, size, 1);
	q = arena + 16 * HUGE;
	for (int i = 0; i < 16 * rounds(); i++) {
		pid = fork();
		ck_assert_int_ge(pid, 0);
		if (!pid) {
			/* The child moves as well, what it has alone and all. */
			fill(p, size / 2, 2);
			move_to(p, size / 2, q + HUGE, RELOCATE);
			check(q + HUGE, size / 2, 2);
			check_from(p + size / 2, size / 2, 1, 32);
			move_to(p + size / 2, size / 2, q + HUGE + size / 2,
				RELOCATE);
			check_from(q + HUGE + size / 2, size / 2, 1, 32);
			_exit(0);
		}
		if (i & 1)
			fill(p, size / 2, 1);
		if (move_or_refused(p, size, q, true)) {
			check(q, size, 1);
			move_to(q, size, p, RELOCATE);
		}
		move_to(p, size, q, RELOCATE);
		move_to(q, size, p, RELOCATE);
		check(p, size, 1);
		ck_assert_int_eq(waitpid(pid, &status, 0), pid);
		ck_assert_int_eq(status, 0);
	}
	check_rmap(p, size, 1);
	move_to(p, size, q, MUST);
	check_rmap(q, size, 1);
}
END_TEST

static int collapse_fd;

/* What one process does with a file of tmpfs: make huge pages of it, or holes. */
static void collapse_until(int fd, char *map)
{
	while (!storm_over && getppid() != 1) {
		madvise(map, len, MADV_COLLAPSE);
		/* A page that is not there any more is small the next time. */
		if (fallocate(fd, 3 /* FALLOC_FL_PUNCH_HOLE, KEEP_SIZE */, 0,
			      (off_t)PAGE))
			ck_abort_msg("fallocate: %s", strerror(errno));
		memset(map, 7, PAGE);
	}
}

/*
 * Private mappings of a file whose page cache another process collapses to huge
 * pages: that takes page tables away, under a lock of the file only, from such
 * mappings as have no anonymous page. Their neighbours, which have some, move.
 */
START_TEST(page_tables_vanish)
{
	char *map;
	pid_t pid;

	p = arena + 4 * HUGE;
	q = arena + 16 * HUGE;
	(void)mkdir("/tmp/storm", 0700);
	ck_assert_int_eq(mount("storm", "/tmp/storm", "tmpfs", 0, "huge=advise"), 0);
	collapse_fd = open("/tmp/storm/file", O_RDWR | O_CREAT, 0600);
	ck_assert_int_ge(collapse_fd, 0);
	ck_assert_int_eq(ftruncate(collapse_fd, (off_t)len), 0);
	map = mmap(arena + 32 * HUGE, len, RW, MAP_SHARED | MAP_FIXED_NOREPLACE,
		   collapse_fd, 0);
	ck_assert_ptr_ne(map, MAP_FAILED);
	memset(map, 7, len);
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (!pid) {
		collapse_until(collapse_fd, map);
		_exit(0);
	}
	for (int i = 0; i < 16 * rounds(); i++) {
		/* Without an anonymous page, with one in each half, swapped. */
		ck_assert_ptr_eq(mmap(p, len, RW, MAP_PRIVATE | MAP_FIXED,
				      collapse_fd, 0), p);
		for (size_t j = PAGE; j < len; j += 16 * PAGE)
			if (p[j] != 7)
				ck_abort_msg("page cache: %d", p[j]);
		move_to(p, len, q, MUST);
		memset(q + PAGE, 1, PAGE);
		memset(q + len - PAGE, 2, PAGE);
		if (i & 1)
			madvise(q, len, MADV_PAGEOUT);
		move_to(q, len, p, MUST);
		move_to(p, len, q + 5 * PAGE, MUST);
		move_to(q + 5 * PAGE, len / 2, p, MUST);
		if (p[PAGE] != 1 || q[len + 4 * PAGE] != 2 || p[3 * PAGE] != 7)
			ck_abort_msg("%d %d %d", p[PAGE], q[len + 4 * PAGE],
				     p[3 * PAGE]);
		ck_assert_int_eq(munmap(q, len + 5 * PAGE), 0);
	}
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("interference");
	TCase *tc = add_case(s, "storm");

	tcase_add_loop_test(tc, storm, 0, ARRAY_SIZE(interference));
	tcase_add_test(tc, forks);
	tcase_add_test(tc, page_tables_vanish);

	return run_guest_suite(s);
}
