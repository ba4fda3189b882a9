// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What relocation buys: the same work with moves that leave mappings separate and
 * with moves that let them merge, and what the process costs the kernel afterwards.
 *
 *	buys [--time]
 *
 * Prints lines of the table buys, its name first: scenario, size, kind of move,
 * quantity, unit, value. Each scenario has a process of its own. The exit status is
 * 1 if one failed or did not relocate what it should have.
 */
#define _GNU_SOURCE
#include <sys/wait.h>

#include "bench.h"

static bool by_time;
static const char *unit;
static char *room;	/* where nothing is, 8 GiB of addresses */

/* What the rows of a process have in common */
static struct {
	const char *scenario, *move;
	long n;
} self;

static void row(const char *quantity, const char *in, double value)
{
	printf("buys,%s,%ld,%s,%s,%s,%.*f\n", self.scenario, self.n, self.move, quantity,
	       in, value < 100 && value != (double)(long)value ? 2 : 0, value);
}

static bool relocating(void)
{
	return !strcmp(self.move, "relocate");
}

static int flags(void)
{
	return relocating() ? RELOCATE : 0;
}

static void start(void)
{
	if (!by_time)
		await_tick();
}

/* ---- what the kernel holds ------------------------------------------------------------ */

static char buffer[1 << 16];

/* Lines of /proc/self/maps, and what it takes to read them */
static long mappings(int64_t *took)
{
	int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
	int64_t begin;
	ssize_t got;
	long n = 0;

	if (fd < 0)
		err(1, "/proc/self/maps");
	*took = 0;
	for (;;) {
		begin = now();
		got = read(fd, buffer, sizeof(buffer));
		*took += since(begin);
		if (got <= 0)
			break;
		for (ssize_t i = 0; i < got; i++)
			n += buffer[i] == '\n';
	}
	close(fd);
	return n;
}

/* KiB of slabs that describe mappings, of the whole system, which does nothing else */
static double metadata(void)
{
	static const char *const names[] = { "vm_area_struct", "anon_vma", "anon_vma_chain" };
	char line[512], path[64], name[64];
	unsigned long per_slab, slabs;
	double kib = 0;
	FILE *f;

	/* Mappings are freed after a grace period, and slabs when it is worth it. */
	usleep(200000);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		snprintf(path, sizeof(path), "/sys/kernel/slab/%s/shrink", names[i]);
		if (!access(path, W_OK))
			write_file(path, "1");
	}
	f = fopen("/proc/slabinfo", "re");
	if (!f)
		err(1, "/proc/slabinfo");
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%63s %*u %*u %*u %*u %lu : tunables %*u %*u %*u : slabdata %*u %lu",
			   name, &per_slab, &slabs) != 3)
			continue;
		for (size_t i = 0; i < ARRAY_SIZE(names); i++)
			if (!strcmp(name, names[i]))
				kib += (double)(slabs * per_slab * (PAGE / KIB));
	}
	fclose(f);
	return kib;
}

static void check(const struct counters *before, long want, bool at_least)
{
	const struct counters after = counters();
	const long n = after.relocated - before->relocated;

	if (!relocating())
		want = at_least = 0;
	if (after.fallbacks != before->fallbacks || n < want || (n > want && !at_least))
		errx(1, "error: %s, %ld, %s: %ld relocations and %ld fallbacks, not %ld and 0",
		     self.scenario, self.n, self.move, n,
		     after.fallbacks - before->fallbacks, want);
}

/* ---- N mappings that are one ------------------------------------------------------------ */

/* N pages side by side that were touched elsewhere, each by itself */
static void build(char *to, long n, int flag, int64_t *took)
{
	char *from = room;
	int64_t begin;

	for (long i = 0; i < n; i++)
		*map(from + (size_t)i * 2 * PAGE, PAGE) = 1;
	start();
	begin = now();
	for (long i = 0; i < n; i++)
		must_move_to(from + (size_t)i * 2 * PAGE, PAGE, to + (size_t)i * PAGE, flag);
	*took = since(begin);
}

static int64_t smallest(int64_t (*sample)(int), int n)
{
	int64_t best = INT64_MAX;

	for (int i = 0; i < n; i++) {
		const int64_t took = sample(i);

		if (took < best)
			best = took;
	}
	return best;
}

static char *spare;	/* a mapping with untouched pages */
#define SPARE_PAGES 200

static int64_t fault(int i)
{
	const int64_t begin = now();

	*(volatile char *)(spare + (size_t)i * PAGE) = 1;
	return since(begin);
}

static int64_t mapped_at[2];	/* what mmap() and munmap() took */

static int64_t map_and_unmap(int which)
{
	int64_t begin = now();
	/* Readable only, it merges with nothing. */
	char *p = mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	mapped_at[0] = since(begin);
	if (p == MAP_FAILED)
		err(1, "mmap");
	begin = now();
	unmap(p, PAGE);
	mapped_at[1] = since(begin);
	return mapped_at[which];
}

static int64_t map_one(int i)
{
	(void)i;
	return map_and_unmap(0);
}

static int64_t unmap_one(int i)
{
	(void)i;
	return map_and_unmap(1);
}

static int64_t fork_once(int i)
{
	int64_t begin, took;
	pid_t child;

	(void)i;
	start();
	begin = now();
	child = fork();
	if (!child)
		_exit(0);
	took = since(begin);
	if (child < 0 || waitpid(child, NULL, 0) != child)
		err(1, "fork");
	return took;
}

static int64_t read_maps(int i)
{
	int64_t took;

	(void)i;
	start();
	mappings(&took);
	return took;
}

static void separate(void)
{
	const double metadata_before = metadata();
	const struct counters before = counters();
	char *to = room + 4 * GIB;
	int64_t took, begin;

	spare = map(room + 6 * GIB, SPARE_PAGES * PAGE);
	build(to, self.n, flags(), &took);
	check(&before, self.n, false);
	row("move of a page", unit, (double)took / (double)self.n);
	row("mappings", "count", (double)mappings(&took));
	row("metadata", "KiB", metadata() - metadata_before);
	row("page fault", unit, (double)smallest(fault, SPARE_PAGES));
	row("mmap", unit, (double)smallest(map_one, 200));
	row("munmap", unit, (double)smallest(unmap_one, 200));
	row("read maps", unit, (double)smallest(read_maps, 3));
	row("fork", unit, (double)smallest(fork_once, self.n < 10000 ? 5 : 2));
	start();
	begin = now();
	unmap(to, (size_t)self.n * PAGE);
	row("munmap of all", unit, (double)since(begin));
}

/* ---- N mappings moved by one call --------------------------------------------------------- */

static void gather(void)
{
	char *to = room + 4 * GIB, *home = room + 5 * GIB;
	const size_t len = (size_t)self.n * PAGE;
	const int times = self.n < 10000 ? 5 : 1;
	const struct counters before = counters();
	int64_t took, begin, best = INT64_MAX;
	long left = 0;

	for (int i = 0; i < times; i++) {
		build(to, self.n, 0, &took);
		start();
		begin = now();
		must_move_to(to, len, home, flags());
		took = since(begin);
		if (took < best)
			best = took;
		left = mappings(&took);
		unmap(home, len);
	}
	check(&before, times * self.n, false);
	row("one call", unit, (double)best);
	row("mappings", "count", (double)left);
}

/* ---- a compacting collector ----------------------------------------------------------------- */

#define ROUNDS 5
#define LARGEST 4	/* pages of an object */

static uint32_t seed = 1;

static uint32_t chance(uint32_t n)
{
	seed = seed * 1664525 + 1013904223;
	return (seed >> 8) % n;
}

/*
 * The heap is filled with objects of one to four pages. At each collection every
 * other one is alive, by chance, and moves to the other space, neighbours by one call;
 * then the old space is unmapped.
 */
static void collector(void)
{
	const size_t pages = (size_t)self.n, heap = pages * PAGE;
	char *space = room, *other = room + 4 * GIB;
	const double metadata_before = metadata();
	const bool copying = !strcmp(self.move, "copy");
	const struct counters before = counters();
	size_t used = 0, moved = 0;
	int64_t took, total = 0;
	long calls = 0;

	for (int round = 0; round < ROUNDS; round++) {
		size_t at = 0, to = 0;
		int64_t begin;

		map(space + used, heap - used);
		for (size_t i = used; i < heap; i += PAGE)
			*(size_t *)(void *)(space + i) = i;
		start();
		begin = now();
		if (copying)
			map(other, heap);
		while (at < heap) {
			size_t len = 0, next;

			/* Neighbours that are alive, and one that is not */
			do {
				next = (1 + chance(LARGEST)) * PAGE;
				if (next > heap - at - len)
					next = heap - at - len;
				if (chance(2))
					break;
				len += next;
				next = 0;
			} while (at + len < heap);
			if (len && copying)
				memcpy(other + to, space + at, len);
			else if (len)
				must_move_to(space + at, len, other + to, flags());
			calls += len > 0;
			at += len + next;
			to += len;
		}
		unmap(space, heap);
		if (copying)
			unmap(other + to, heap - to);
		total += since(begin);
		used = to;
		moved += to / PAGE;
		space = other;
		other = other == room ? room + 4 * GIB : room;
	}
	if (!copying)
		check(&before, calls, true);
	row("collections", unit, (double)total);
	row("each page", unit, (double)total / (double)moved);
	row("calls", "count", (double)calls);
	row("mappings", "count", (double)mappings(&took));
	row("metadata", "KiB", metadata() - metadata_before);
	row("read maps", unit, (double)smallest(read_maps, 3));
	row("fork", unit, (double)smallest(fork_once, 3));
}

/* ---- a process for each --------------------------------------------------------------------- */

static const struct scenario {
	const char *name;
	void (*run)(void);
	long sizes[3];
	const char *moves[4];
} scenarios[] = {
	{ "separate", separate, { 10, 1000, 60000 }, { "plain", "relocate" } },
	{ "gather", gather, { 10, 1000, 60000 }, { "plain", "relocate" } },
	{ "collector", collector, { 32768 }, { "plain", "relocate", "copy" } },
};

static void in_child(const struct scenario *s, long n, const char *move)
{
	self.scenario = s->name;
	self.n = n;
	self.move = move;
	unit = by_time ? "nanoseconds" : "instructions";
	measure_clock();
	room = find_room(8 * GIB);
	s->run();
}

/* Start this program anew, so that nothing is inherited, and keep its output. */
static bool run(char **argv, const char *name, long n, const char *move, FILE *output)
{
	char number[16], text[4096];
	int ends[2], status;
	ssize_t got;
	pid_t child;

	snprintf(number, sizeof(number), "%ld", n);
	if (pipe2(ends, O_CLOEXEC))
		err(1, "pipe");
	child = fork();
	if (child < 0)
		err(1, "fork");
	if (!child) {
		dup2(ends[1], STDOUT_FILENO);
		execl("/proc/self/exe", argv[0], by_time ? "--time" : "--count", name, number,
		      move, (char *)NULL);
		err(1, "%s", argv[0]);
	}
	close(ends[1]);
	while ((got = read(ends[0], text, sizeof(text))) > 0)
		fwrite(text, 1, (size_t)got, output);
	close(ends[0]);
	waitpid(child, &status, 0);
	if (status)
		warnx("error: %s, %ld, %s: status %#x", name, n, move, (unsigned int)status);
	return !status;
}

int main(int argc, char **argv)
{
	static char output[1 << 20], ours[1 << 16];
	bool failed = false;

	by_time = argc > 1 && !strcmp(argv[1], "--time");
	if (argc == 5) {
		/* The parent would run while something is measured. */
		setvbuf(stdout, ours, _IOFBF, sizeof(ours));
		for (size_t i = 0; i < ARRAY_SIZE(scenarios); i++)
			if (!strcmp(scenarios[i].name, argv[2]))
				in_child(&scenarios[i], atol(argv[3]), argv[4]);
		return 0;
	}
	if (argc > 2 || (argc == 2 && !by_time))
		errx(2, "usage: buys [--time]");
	setvbuf(stdout, output, _IOFBF, sizeof(output));
	if (!kernel_relocates())
		errx(1, "this kernel has no MREMAP_RELOCATE_ANON");
	for (size_t i = 0; i < ARRAY_SIZE(scenarios); i++)
		for (int j = 0; j < 3 && scenarios[i].sizes[j]; j++)
			for (int k = 0; k < 4 && scenarios[i].moves[k]; k++)
				failed |= !run(argv, scenarios[i].name, scenarios[i].sizes[j],
					       scenarios[i].moves[k], stdout);
	return failed;
}
