// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * How many moves a second one thread makes while another one works on the same
 * memory: moves without the flag and relocating ones, alone and with a thread that
 * faults, pages out, or forks; and of aligned huge pages, alone and with one that
 * migrates them between two nodes. For two processors and a clock of real time.
 *
 *	concurrency [SECONDS]
 *
 * Prints lines of the table concurrency, its name first. The figures are for
 * information; there is nothing that they must be.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdatomic.h>
#include <sys/wait.h>

#include "bench.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

#define LEN MIB
#define HUGE_LEN (32 * MIB)

static char *places[2];
static atomic_bool stop;
static atomic_long disturbances;

/*
 * The disturbing thread does not know where the memory is: it tries both places, and
 * what fails at one succeeds at the other. madvise() says so instead of a signal.
 */
static void faulting(void)
{
	for (int i = 0; i < 2; i++)
		if (!madvise(places[i], LEN, MADV_DONTNEED))
			disturbances += !madvise(places[i], LEN, MADV_POPULATE_WRITE);
}

static void paging_out(void)
{
	for (int i = 0; i < 2; i++)
		if (!madvise(places[i], LEN, MADV_PAGEOUT))
			disturbances++;
	for (int i = 0; i < 2; i++)
		madvise(places[i], LEN, MADV_POPULATE_WRITE);
}

static void forking(void)
{
	pid_t child = fork();

	if (!child)
		_exit(0);
	if (child < 0 || waitpid(child, NULL, 0) != child)
		err(1, "fork");
	disturbances++;
	/* What is still shared is not once it has been written. */
	for (int i = 0; i < 2; i++)
		madvise(places[i], LEN, MADV_POPULATE_WRITE);
}

static void migrating(void)
{
	static int node;

	for (size_t i = 0; i < HUGE_LEN; i += HUGE) {
		void *pages[] = { places[0] + i, places[1] + i };
		const int nodes[] = { node, node };
		int status[] = { -1, -1 };

		if (!syscall(SYS_move_pages, 0, 2, pages, nodes, status, 0))
			disturbances += status[0] == node || status[1] == node;
	}
	node = 1 - node;
}

static void *disturb(void *arg)
{
	void (*once)(void) = *(void (**)(void))arg;

	while (!stop)
		once();
	return NULL;
}

struct other {
	const char *name;
	void (*once)(void);
	bool huge;
};

static void run(const char *move, int flag, const struct other *other, double seconds)
{
	const size_t len = other->huge ? HUGE_LEN : LEN;
	void (*once)(void) = other->once;
	const struct counters before = counters();
	struct counters after;
	pthread_t thread;
	int64_t begin, took;
	long moves = 0;

	map(places[0], len);
	if (madvise(places[0], len, other->huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE))
		err(1, "madvise");
	memset(places[0], 1, len);
	if (other->huge && number_in("/proc/self/smaps_rollup", "AnonHugePages:") < (long)(len / KIB))
		errx(1, "no huge pages");
	stop = false;
	disturbances = 0;
	if (once && pthread_create(&thread, NULL, disturb, &once))
		errx(1, "pthread_create");

	begin = now();
	do {
		must_move_to(places[moves % 2], len, places[1 - moves % 2], flag);
		moves++;
		took = now() - begin;
	} while ((double)took < seconds * 1e9);
	stop = true;
	if (once)
		pthread_join(thread, NULL);
	unmap(places[moves % 2], len);

	after = counters();
	printf("concurrency,%s,%s,%.0f,%.1f,%.0f\n", move, other->name,
	       (double)moves * 1e9 / (double)took,
	       (double)(after.relocated - before.relocated) * 100 / (double)moves,
	       (double)disturbances * 1e9 / (double)took);
}

int main(int argc, char **argv)
{
	static const struct other others[] = {
		{ "alone", NULL, false },
		{ "faults", faulting, false },
		{ "pages out", paging_out, false },
		{ "forks", forking, false },
		{ "huge alone", NULL, true },
		{ "huge migrates", migrating, true },
	};
	const double seconds = argc > 1 ? atof(argv[1]) : 2;
	char *room = find_room(2 * GIB);

	if (!(seconds > 0))
		errx(2, "usage: concurrency [SECONDS]");
	write_file("/sys/kernel/mm/transparent_hugepage/hugepages-2048kB/enabled", "madvise");
	neighbour(room);
	neighbour(room + GIB);
	places[0] = room + HUGE;
	for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
		places[1] = room + GIB + HUGE + (others[i].huge ? 0 : PAGE);
		run("plain", 0, &others[i], seconds);
		if (kernel_relocates())
			run("relocate", RELOCATE, &others[i], seconds);
	}
	return 0;
}
