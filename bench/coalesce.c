// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What it takes to merge memory that is in pieces, and what the process gains;
 * see bench/README.md for what the columns mean.
 *
 *	coalesce [--quick] [--time]
 *
 * Prints lines of two tables, the name first: coalesce, healed. Nothing if the kernel
 * does not know MADV_COALESCE. A row whose memory did not become one mapping is an
 * error, and the exit status is then 1.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <sys/wait.h>

#include "bench.h"
#include "hold.h"

#define COALESCE 104	/* MADV_COALESCE */

static bool by_time, quick, failed;
static char *from, *to;

static int count_mappings(void)
{
	char buffer[1 << 16];
	int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC), lines = 0;
	ssize_t n;

	if (fd < 0)
		err(1, "/proc/self/maps");
	while ((n = read(fd, buffer, sizeof(buffer))) > 0)
		for (ssize_t i = 0; i < n; i++)
			lines += buffer[i] == '\n';
	close(fd);
	return lines;
}

/* ---- memory in pieces ---------------------------------------------------------------- */

/* Pieces of so many pages; one: the smaller one of two mappings is all that there is */
struct memory {
	const char *name;
	size_t folio;
	int pieces;
	size_t pages;	/* of a piece */
};

static const struct memory memories[] = {
	{ "whole", PAGE, 1, 64 * MIB / PAGE },
	{ "whole", 64 * KIB, 1, 64 * MIB / PAGE },
	{ "whole", HUGE, 1, 64 * MIB / PAGE },
	{ "pieces", PAGE, 20000, 4 },
	{ "pieces", PAGE, 60000, 1 },
};

static size_t len_of(const struct memory *m)
{
	return (size_t)m->pieces * m->pages * PAGE;
}

/* Where a piece goes, so that none is next to those that it was next to */
static size_t shuffled(const struct memory *m, int i)
{
	return (size_t)i * 7919 % (size_t)m->pieces;
}

static char stamp(size_t page)
{
	return (char)(1 + page % 127);
}

/* At @to: its pieces, behind them a mapping that is larger if there is but one */
static void fall_to_pieces(const struct memory *m)
{
	const size_t piece = m->pages * PAGE;

	use_folios(m->folio);
	map(from, len_of(m));
	advise(from, len_of(m), m->folio);
	for (size_t i = 0; i < len_of(m) / PAGE; i++)
		from[i * PAGE] = stamp(i);
	for (int i = 0; i < m->pieces; i++)
		must_move_to(from + (size_t)i * piece, piece, to + shuffled(m, i) * piece, 0);
	if (m->pieces == 1) {
		map(to + piece, piece + HUGE);
		advise(to + piece, piece + HUGE, m->folio);
		to[piece] = 1;
	}
}

static void check_contents(const struct memory *m)
{
	for (int i = 0; i < m->pieces; i++)
		for (size_t j = 0; j < m->pages; j++)
			if (to[(shuffled(m, i) * m->pages + j) * PAGE] != stamp((size_t)i * m->pages + j))
				errx(1, "wrong contents in piece %d of %d", i, m->pieces);
}

static void let_go(const struct memory *m)
{
	check_contents(m);
	unmap(to, m->pieces == 1 ? 2 * len_of(m) + HUGE : len_of(m));
}

static void coalesce(const struct memory *m)
{
	if (madvise(to, len_of(m), COALESCE))
		err(1, "MADV_COALESCE");
}

/* ---- what it takes --------------------------------------------------------------------- */

static int64_t sample(const struct memory *m)
{
	const int merges = m->pieces == 1 ? 1 : m->pieces - 1;
	int before, after;
	int64_t took;

	fall_to_pieces(m);
	before = count_mappings();
	if (!by_time)
		await_tick();
	took = now();
	coalesce(m);
	took = since(took);
	after = count_mappings();
	if (before - after != merges) {
		warnx("error: %d pieces of %zu pages, folios of %zu KiB: %d mappings, then %d",
		      m->pieces, m->pages, m->folio / KIB, before, after);
		failed = true;
	}
	let_go(m);
	return took;
}

static int64_t longest_hold(const struct memory *m)
{
	struct hold h;

	fall_to_pieces(m);
	start_tracing(by_time);
	if (!by_time)
		await_tick();
	write_file(TRACING "trace", "");
	write_file(TRACING "tracing_on", "1");
	coalesce(m);
	write_file(TRACING "tracing_on", "0");
	if (!read_holds(&h, by_time))
		errx(1, "events of mmap_lock were lost");
	stop_tracing();
	let_go(m);
	return h.longest_write;
}

static void measure(const struct memory *m)
{
	/* The first one for a kind of folio may find something to do for the first time. */
	const int64_t first = sample(m), took = smaller(first, m->pieces == 1 ? sample(m) : first);

	printf("coalesce,%s,%zu,%d,%zu,%.3f,%.0f,%lld\n", m->name, m->folio / KIB, m->pieces,
	       m->pages, (double)took / (double)(len_of(m) / PAGE),
	       (double)took / (m->pieces == 1 ? 1 : m->pieces - 1), (long long)longest_hold(m));
}

/* ---- what it buys ------------------------------------------------------------------------ */

static int64_t touch(void)
{
	char *p = from;
	int64_t took;

	map(p, PAGE);
	took = now();
	*p = 1;
	took = since(took);
	unmap(p, PAGE);
	return took;
}

/* Of one; the nodes of the tree fill up meanwhile, and are emptied again. */
static int64_t map_and_unmap(void)
{
	const int n = 64;
	int64_t took = now();

	for (int i = 0; i < n; i++)
		map(from + 2 * (size_t)i * PAGE, PAGE);
	for (int i = 0; i < n; i++)
		unmap(from + 2 * (size_t)i * PAGE, PAGE);
	return since(took) / n;
}

static int64_t fork_and_wait(void)
{
	int64_t took = now();
	pid_t child = fork();
	int status;

	if (child < 0)
		err(1, "fork");
	if (!child)
		_exit(0);
	if (waitpid(child, &status, 0) != child || status)
		errx(1, "the child failed");
	return since(took);
}

static int64_t read_maps(void)
{
	int64_t took = now();

	count_mappings();
	return since(took);
}

static void buys(const char *memory)
{
	static const struct {
		const char *name;
		int64_t (*sample)(void);
		int samples;
	} calls[] = {
		{ "page fault", touch, 100 },
		{ "mmap and munmap", map_and_unmap, 10 },
		{ "fork with exit and wait", fork_and_wait, 3 },
		{ "reading /proc/self/maps", read_maps, 3 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(calls); i++) {
		int64_t best = INT64_MAX;

		for (int j = 0; j < calls[i].samples; j++)
			best = smaller(best, calls[i].sample());
		printf("healed,%s,%s,%lld\n", calls[i].name, memory, (long long)best);
	}
}

/* A page each, 60,000 of them */
static void measure_what_it_buys(void)
{
	const struct memory *m = &memories[ARRAY_SIZE(memories) - 1];

	fall_to_pieces(m);
	buys("in pieces");
	coalesce(m);
	buys("coalesced");
	let_go(m);
}

/* ---- a process that cannot be helped --------------------------------------------------------- */

#define HOPELESS_CALLS 1000000

/* So many calls of a process that is at the limit, with mappings that all differ */
static int64_t ask_at_the_limit(const char *coalesces)
{
	const int limit = (int)number_in("/proc/sys/vm/max_map_count", "");
	const int pages = limit - count_mappings() - 4;
	int64_t took;

	write_file("/proc/sys/vm/coalesce_at_limit", coalesces);
	map(to, (size_t)pages * PAGE);
	for (int i = 0; i < pages; i += 2)
		if (mprotect(to + (size_t)i * PAGE, PAGE, PROT_READ))
			err(1, "mprotect, page %d", i);
	if (!by_time)
		await_tick();
	took = now();
	for (int i = 0; i < HOPELESS_CALLS / 2; i++) {
		map(from, PAGE);
		unmap(from, PAGE);
	}
	return since(took);
}

/* Each in a process of its own: what it has learned lasts as long as that. */
static void measure_hopeless(const char *coalesces, const char *name)
{
	int status;
	pid_t child;

	fflush(stdout);
	child = fork();
	if (child < 0)
		err(1, "fork");
	if (!child) {
		printf("healed,%d calls at the limit,%s,%lld\n", HOPELESS_CALLS, name,
		       (long long)ask_at_the_limit(coalesces));
		exit(0);
	}
	if (waitpid(child, &status, 0) != child || status)
		errx(1, "%s: status %d", name, status);
	write_file("/proc/sys/vm/coalesce_at_limit", "1");
}

int main(int argc, char **argv)
{
	char *room;

	read_options(argc, argv, "coalesce", &quick, &by_time);
	if (madvise(NULL, 0, COALESCE))
		return 0;
	measure_clock();
	room = find_room(4 * GIB);
	from = room + HUGE;
	to = room + 2 * GIB + 3 * HUGE;
	for (size_t i = 0; i < ARRAY_SIZE(memories); i++)
		measure(&memories[i]);
	if (!quick) {
		measure_what_it_buys();
		measure_hopeless("0", "not coalescing");
		measure_hopeless("1", "coalescing");
	}
	return failed;
}
