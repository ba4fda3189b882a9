// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What it takes to move private anonymous memory: sizes, folios, population, places
 * and operations. bench/run boots a machine for it; see bench/README.md for what
 * the columns mean.
 *
 *	moves [--quick] [--time]
 *
 * Prints the kernel's version and lines of several tables, the name first: version,
 * moves, holds, nothing.
 * A row whose move did not do what the row says is left out, with an error, and the
 * exit status is then 1.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/wait.h>

#include "bench.h"
#include "hold.h"

/* UFFDIO_MOVE is newer than the headers of Debian 12. */
#ifndef UFFDIO_MOVE
struct uffdio_move {
	__u64 dst;
	__u64 src;
	__u64 len;
	__u64 mode;
	__s64 move;
};
#define UFFDIO_MOVE _IOWR(UFFDIO, 0x05, struct uffdio_move)
#define UFFDIO_MOVE_MODE_ALLOW_SRC_HOLES ((__u64)1 << 1)
#define UFFD_FEATURE_MOVE (1 << 16)
#endif

enum op { PLAIN, RELOCATING, MUST, DONTUNMAP, UFFD, COPY, NR_OPS };

static const struct {
	const char *name;
	int flags;
} ops[NR_OPS] = {
	[PLAIN] = { "plain", 0 },
	[RELOCATING] = { "relocate", RELOCATE },
	[MUST] = { "must", MUST_RELOCATE },
	[DONTUNMAP] = { "relocate_dontunmap", RELOCATE | MREMAP_DONTUNMAP },
	[UFFD] = { "uffdio_move", 0 },
	[COPY] = { "copy", 0 },
};

/* One row */
struct row {
	enum op op;
	size_t folio;		/* 0: swapped out, pages of 4 KiB */
	bool congruent;		/* the places, modulo 2 MiB */
	int percent;		/* populated */
	size_t len;
};

static bool by_time, quick, failed;

/* Nothing but the row's memory is there, and neighbours that keep page tables. */
static char *large_from, *large_to, *small_from, *small_to;
static int uffd;

static char *from_of(const struct row *r)
{
	return r->len < HUGE ? small_from : large_from;
}

static char *to_of(const struct row *r)
{
	char *to = r->len < HUGE ? small_to : large_to;

	if (!r->congruent)
		to += r->folio == 64 * KIB ? r->folio : PAGE;
	return to;
}

static void complain(const struct row *r, const char *what, long got, long want)
{
	warnx("error: %s, %zu KiB folios, %scongruent, %d %%, %zu KiB: %s: %ld, not %ld",
	      ops[r->op].name, r->folio / KIB, r->congruent ? "" : "not ", r->percent,
	      r->len / KIB, what, got, want);
	failed = true;
}

/* ---- populating -------------------------------------------------------------------- */

/* What is populated or not as a whole: every first, second or tenth */
static size_t unit_of(const struct row *r)
{
	return r->folio ? r->folio : PAGE;
}

static size_t step_of(const struct row *r)
{
	return 100 / (size_t)r->percent * unit_of(r);
}

static size_t units_of(const struct row *r)
{
	return (r->len + step_of(r) - 1) / step_of(r);
}

static size_t pages_of(const struct row *r)
{
	return units_of(r) * unit_of(r) / PAGE;
}

static long mthp(const char *what)
{
	char path[128];

	snprintf(path, sizeof(path),
		 "/sys/kernel/mm/transparent_hugepage/hugepages-64kB/stats/%s", what);
	return number_in(path, "");
}

static long swapped_kib(void)
{
	return number_in("/proc/self/status", "VmSwap:");
}

/* Is the memory of the kind that the row is about? */
static void check_kind(const struct row *r, const char *when)
{
	const long kib = (long)(pages_of(r) * PAGE / KIB);
	long got = kib;

	if (!r->folio)
		got = swapped_kib();
	else if (r->folio == HUGE)
		got = number_in("/proc/self/smaps_rollup", "AnonHugePages:");
	if (got != kib)
		complain(r, when, got, kib);
}

/* Never zeros: a split of a huge page may drop pages of zeros. */
static char *populate(const struct row *r)
{
	const long before = r->folio == 64 * KIB ? mthp("anon_fault_alloc") : 0;
	char *p = map(from_of(r), r->len);

	use_folios(r->folio);
	advise(p, r->len, r->folio);
	for (size_t i = 0; i < r->len; i += step_of(r))
		for (size_t j = i; j < i + unit_of(r); j += PAGE)
			p[j] = (char)(1 + (j / PAGE) % 127);
	if (!r->folio && madvise(p, r->len, MADV_PAGEOUT))
		err(1, "MADV_PAGEOUT");
	if (r->folio == 64 * KIB && mthp("anon_fault_alloc") - before != (long)units_of(r))
		complain(r, "folios of 64 KiB", mthp("anon_fault_alloc") - before,
			 (long)units_of(r));
	check_kind(r, "KiB of that kind populated");
	return p;
}

static void check_contents(const struct row *r, const char *p)
{
	/* It would be swapped in page by page: some must do. */
	const size_t step = r->folio ? step_of(r) : step_of(r) * 64;

	for (size_t i = 0; i < r->len; i += step)
		for (size_t j = i; j < i + unit_of(r); j += PAGE)
			if (p[j] != (char)(1 + (j / PAGE) % 127))
				errx(1, "%s: wrong contents at page %zu of %zu KiB",
				     ops[r->op].name, j / PAGE, r->len / KIB);
}

/*
 * Populated memory is used for the next rows, too, as long as it comes home as it was:
 * populating takes longer than everything else.
 */
static struct row held_as;
static char *held;

static void drop_held(void)
{
	if (!held)
		return;
	check_contents(&held_as, held);
	unmap(held, held_as.len);
	held = NULL;
}

static char *acquire(const struct row *r)
{
	if (held && (held_as.folio != r->folio || held_as.percent != r->percent ||
		     held_as.len != r->len))
		drop_held();
	if (!held)
		held = populate(r);
	held_as = *r;
	return held;
}

/* ---- the operations ---------------------------------------------------------------- */

/* From mapping the destination to unmapping the source; false: not possible */
static bool move_by_uffd(char *from, size_t len, char *to, size_t folio)
{
	struct uffdio_register reg = {
		.range = { .start = (uintptr_t)to, .len = len },
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};
	size_t done = 0;

	map(to, len);
	advise(to, len, folio);
	if (ioctl(uffd, UFFDIO_REGISTER, &reg))
		err(1, "UFFDIO_REGISTER");
	while (done < len) {
		struct uffdio_move m = {
			.dst = (uintptr_t)to + done,
			.src = (uintptr_t)from + done,
			.len = len - done,
			.mode = UFFDIO_MOVE_MODE_ALLOW_SRC_HOLES,
		};

		if (!ioctl(uffd, UFFDIO_MOVE, &m)) {
			done += m.len;
			break;
		}
		if (errno != EAGAIN)
			return false;
		if (m.move > 0)
			done += (size_t)m.move;
	}
	if (ioctl(uffd, UFFDIO_UNREGISTER, &reg.range))
		err(1, "UFFDIO_UNREGISTER");
	unmap(from, len);
	return true;
}

/* What is not populated need not be copied: the program knows what it uses. */
static void copy(const struct row *r, char *from, char *to)
{
	map(to, r->len);
	advise(to, r->len, r->folio);
	for (size_t i = 0; i < r->len; i += step_of(r))
		memcpy(to + i, from + i, unit_of(r));
	unmap(from, r->len);
}

/* The row's operation; false if it is not possible */
static bool perform(const struct row *r, char *from, char *to)
{
	if (r->op == UFFD)
		return move_by_uffd(from, r->len, to, r->folio);
	if (r->op == COPY) {
		copy(r, from, to);
		return true;
	}
	if (move_to(from, r->len, to, ops[r->op].flags) == to)
		return true;
	if (r->op != MUST || errno != EFAULT)
		err(1, "mremap");
	return false;
}

/* Does the operation leave something of another kind than there was? */
static bool changes(const struct row *r)
{
	return r->op == COPY ||
	       (r->folio == HUGE && !r->congruent) ||
	       (r->folio == 64 * KIB && r->op == UFFD);
}

/* Back to where it was populated, and as it was, if possible; moves made */
static long restore(const struct row *r, char *from, char *to)
{
	if (r->op == DONTUNMAP)
		unmap(from, r->len);
	if (changes(r)) {
		check_contents(r, to);
		unmap(to, r->len);
		held = NULL;
		return 0;
	}
	if (r->op == UFFD) {
		if (!move_by_uffd(to, r->len, from, r->folio))
			err(1, "UFFDIO_MOVE");
		return 0;
	}
	must_move_to(to, r->len, from, ops[r->op].flags & ~MREMAP_DONTUNMAP);
	return 1;
}

/* ---- how long mmap_lock is held ------------------------------------------------------ */

/* The same operation again, with the lock's events; their own cost is in it. */
static void measure_hold(const struct row *r)
{
	struct hold best = { INT64_MAX, INT64_MAX, INT64_MAX };
	const int n = r->len > HUGE ? 1 : 3;
	char *to = to_of(r);

	start_tracing(by_time);
	for (int i = 0; i < n; i++) {
		char *from = acquire(r);
		struct hold h;

		if (!by_time)
			await_tick();
		write_file(TRACING "trace", "");
		write_file(TRACING "tracing_on", "1");
		perform(r, from, to);
		write_file(TRACING "tracing_on", "0");
		if (!read_holds(&h, by_time))
			complain(r, "all events kept", 0, 1);
		best.write = smaller(best.write, h.write);
		best.longest_write = smaller(best.longest_write, h.longest_write);
		best.read = smaller(best.read, h.read);
		restore(r, from, to);
	}
	stop_tracing();
	printf("holds,%s,%zu,%s,%d,%zu,%lld,%lld,%lld\n", ops[r->op].name, r->folio / KIB,
	       r->congruent ? "yes" : "no", r->percent, r->len, (long long)best.read,
	       (long long)best.write, (long long)best.longest_write);
}

/* ---- a row --------------------------------------------------------------------------- */

/* Few where the memory is to be populated anew for each: that takes long. */
static int samples_of(const struct row *r)
{
	const bool slow = r->op >= UFFD && changes(r);

	if (r->len < HUGE)
		return r->folio || !slow ? 50 : 10;
	if (r->len == HUGE)
		return slow ? 3 : 10;
	if (r->len < GIB)
		return slow ? 3 : changes(r) ? 5 : 15;
	return changes(r) ? 1 : 5;
}

/*
 * Have the moves been what the row says? One mapping moves by each call; @calls are
 * all that should have relocated, those on the way back included.
 */
static void check_counters(const struct row *r, long calls, const struct counters *before,
			   long mthp_split_before)
{
	const struct counters after = counters();
	const bool flagged = ops[r->op].flags & (RELOCATE | MUST_RELOCATE);
	const long want = flagged ? calls : 0;

	if (kernel_relocates()) {
		if (after.relocated - before->relocated != want)
			complain(r, "relocations", after.relocated - before->relocated, want);
		if (after.fallbacks != before->fallbacks)
			complain(r, "fallbacks", after.fallbacks - before->fallbacks, 0);
		if (r->folio &&
		    after.folios - before->folios != want * (long)units_of(r))
			complain(r, "folios relocated", after.folios - before->folios,
				 want * (long)units_of(r));
	}
	if (!flagged)
		return;
	if (after.split != before->split)
		complain(r, "huge pages split", after.split - before->split, 0);
	if (r->folio == 64 * KIB && mthp("split") != mthp_split_before)
		complain(r, "large folios split", mthp("split") - mthp_split_before, 0);
}

static void measure(const struct row *r)
{
	const long mthp_split = mthp("split");
	const struct counters before = counters();
	const bool failed_before = failed;
	int64_t best = INT64_MAX;
	char *to = to_of(r);
	const int n = samples_of(r);
	long calls = 0;

	failed = false;
	for (int i = 0; i < n && !failed; i++) {
		char *from = acquire(r);
		int64_t begin;

		if (failed)
			break;
		if (!by_time && r->len >= HUGE)
			await_tick();
		begin = now();
		if (!perform(r, from, to)) {
			complain(r, "possible", 0, 1);
			munmap(from, r->len);
			munmap(to, r->len);
			held = NULL;
			break;
		}
		best = smaller(best, since(begin));
		calls++;
		if (i == 0 && !r->folio && r->op != COPY)
			check_kind(r, "KiB still swapped out");
		calls += restore(r, from, to);
	}
	check_counters(r, calls, &before, mthp_split);
	if (failed && held) {
		unmap(held, r->len);
		held = NULL;
	}
	if (!failed) {
		printf("moves,%s,%zu,%s,%d,%zu,%.3f,%lld\n", ops[r->op].name, r->folio / KIB,
		       r->congruent ? "yes" : "no", r->percent, r->len,
		       (double)best / (double)pages_of(r), (long long)best);
		if (!quick && r->percent == 100 && can_trace() &&
		    !(r->len == GIB && changes(r)))
			measure_hold(r);
	}
	failed |= failed_before;
}

/* ---- calls that relocate nothing ------------------------------------------------------- */

#define SMALL (64 * KIB)

static int64_t timed_move(char *from, size_t len, char *to, int flags)
{
	const int64_t begin = now();
	void *p = move_to(from, len, to, flags);
	const int64_t took = since(begin);

	if (p != to)
		err(1, "mremap");
	return took;
}

static void touch(char *p, size_t len)
{
	for (size_t i = 0; i < len; i += PAGE)
		p[i] = 1;
}

static int64_t untouched(int flags)
{
	const int64_t took = timed_move(map(small_from, SMALL), SMALL, small_to, flags);

	unmap(small_to, SMALL);
	return took;
}

static int64_t untouched_large(int flags)
{
	const int64_t took = timed_move(map(large_from, 64 * MIB), 64 * MIB, large_to, flags);

	unmap(large_to, 64 * MIB);
	return took;
}

/* Moved without the flag, and back to where it was touched */
static int64_t home_again(int flags)
{
	int64_t took;

	touch(map(small_from, SMALL), SMALL);
	must_move_to(small_from, SMALL, small_to, 0);
	took = timed_move(small_to, SMALL, small_from, flags);
	unmap(small_from, SMALL);
	return took;
}

/* Longer and shorter again, at its place */
static int64_t in_place(int flags)
{
	char *p = map(small_from, SMALL);
	int64_t begin, took;
	void *q, *s;

	touch(p, SMALL);
	begin = now();
	q = (void *)syscall(SYS_mremap, p, SMALL, 2 * SMALL, MREMAP_MAYMOVE | flags, NULL);
	s = (void *)syscall(SYS_mremap, p, 2 * SMALL, SMALL, MREMAP_MAYMOVE | flags, NULL);
	took = since(begin);
	if (q != p || s != p)
		err(1, "mremap");
	unmap(p, SMALL);
	return took;
}

/* Cannot be relocated, and that is seen at once. */
static int64_t shared(int flags)
{
	int64_t took;

	touch(map_shared_or_private(small_from, SMALL, MAP_SHARED), SMALL);
	took = timed_move(small_from, SMALL, small_to, flags);
	unmap(small_to, SMALL);
	return took;
}

/* Cannot be relocated, and that is seen at the first page. */
static int64_t forked(int flags)
{
	int64_t took;
	int pipe_of_child[2];
	pid_t child;
	char c;

	touch(map(small_from, SMALL), SMALL);
	if (pipe2(pipe_of_child, O_CLOEXEC))
		err(1, "pipe");
	child = fork();
	if (child < 0)
		err(1, "fork");
	if (!child) {
		close(pipe_of_child[1]);
		_exit(read(pipe_of_child[0], &c, 1) != 0);
	}
	close(pipe_of_child[0]);
	took = timed_move(small_from, SMALL, small_to, flags);
	unmap(small_to, SMALL);
	close(pipe_of_child[1]);
	waitpid(child, NULL, 0);
	return took;
}

static const struct nothing {
	const char *name;
	int64_t (*sample)(int flags);
	long fallbacks;		/* a call */
} nothings[] = {
	{ "untouched 64 KiB", untouched, 0 },
	{ "untouched 64 MiB", untouched_large, 0 },
	{ "64 KiB back where they were touched first", home_again, 0 },
	{ "64 KiB resized in place", in_place, 0 },
	{ "64 KiB of shared memory", shared, 1 },
	{ "64 KiB shared with a child", forked, 1 },
};

static void measure_nothing(const struct nothing *t)
{
	static const int flags[2] = { 0, RELOCATE };
	int64_t best[2] = { INT64_MAX, INT64_MAX };
	const struct counters before = counters();
	struct counters after;
	const int n = 100;

	for (int i = 0; i < 2 * n; i++)
		best[i % 2] = smaller(best[i % 2], t->sample(flags[i % 2]));
	after = counters();
	if (after.relocated != before.relocated ||
	    after.fallbacks - before.fallbacks != n * t->fallbacks) {
		warnx("error: %s: %ld relocations, %ld fallbacks", t->name,
		      after.relocated - before.relocated, after.fallbacks - before.fallbacks);
		failed = true;
		return;
	}
	printf("nothing,%s,%.2f,%lld,%lld\n", t->name,
	       (double)(best[1] - best[0]) * 100 / (double)best[0], (long long)best[0],
	       (long long)best[1]);
}

/* ---- all rows ---------------------------------------------------------------------------- */

static const struct size {
	size_t len;
	bool sparse;	/* also populated in part */
} sizes[] = {
	{ 4 * KIB, false }, { 64 * KIB, true }, { 2 * MIB, true }, { 64 * MIB, true },
	{ GIB, false },
};

static const size_t folios[] = { PAGE, 64 * KIB, HUGE, 0 };

static void measure_all(void)
{
	static const int percents[] = { 100, 50, 10 };
	struct row r;

	for (size_t f = 0; f < ARRAY_SIZE(folios); f++)
	for (size_t s = 0; s < ARRAY_SIZE(sizes); s++)
	for (size_t p = 0; p < ARRAY_SIZE(percents); p++)
	for (int op = 0; op < NR_OPS; op++)
	for (int congruent = 1; congruent >= 0; congruent--) {
		r = (struct row) { op, folios[f], congruent, percents[p], sizes[s].len };
		if (r.len < unit_of(&r) || (!r.folio && r.len == GIB))
			continue;
		if (r.percent < 100 &&
		    (!sizes[s].sparse || units_of(&r) * unit_of(&r) == unit_of(&r)))
			continue;
		if (quick && ((r.len != 64 * MIB && r.len != 4 * KIB) || r.percent < 100 ||
			      op > RELOCATING))
			continue;
		if (ops[op].flags && !kernel_relocates())
			continue;
		/* What takes longest: it makes no difference to a copy where it goes. */
		if (r.len == GIB && op >= UFFD && changes(&r) &&
		    (congruent || r.folio == 64 * KIB))
			continue;
		measure(&r);
	}
	drop_held();
}

static int open_uffd(void)
{
	struct uffdio_api api = { .api = UFFD_API, .features = UFFD_FEATURE_MOVE };
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC);

	if (fd < 0 || ioctl(fd, UFFDIO_API, &api))
		err(1, "userfaultfd");
	return fd;
}

/* For the footer of the plots */
static void print_version(void)
{
	char line[512];
	FILE *f = fopen("/proc/version", "re");

	if (!f || !fgets(line, sizeof(line), f))
		err(1, "/proc/version");
	fclose(f);
	printf("version,%s", line);
}

int main(int argc, char **argv)
{
	static char output[1 << 20];
	char *room;

	read_options(argc, argv, "moves", &quick, &by_time);
	/* Whoever takes the output would run while something is measured. */
	setvbuf(stdout, output, _IOFBF, sizeof(output));
	measure_clock();
	uffd = open_uffd();

	/* 1 GiB is not to move as one entry of a page table of a higher level. */
	room = find_room(7 * GIB);
	neighbour(room);
	large_from = room + HUGE;
	neighbour(room + 3 * GIB);
	large_to = room + 3 * GIB + 3 * HUGE;
	small_from = room + 5 * GIB + HUGE;
	neighbour(small_from + MIB);
	small_to = room + 6 * GIB + HUGE;
	neighbour(small_to + MIB);

	print_version();
	measure_all();
	if (kernel_relocates())
		for (size_t i = 0; i < ARRAY_SIZE(nothings); i++)
			measure_nothing(&nothings[i]);
	return failed;
}
