// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * How many moves a second one thread makes while another one works on the same
 * memory: moves without the flag and relocating ones, alone and with a thread that
 * faults, pages out, or forks. For two processors and a clock of real time.
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

static void *disturb(void *arg)
{
	void (*once)(void) = *(void (**)(void))arg;

	while (!stop)
		once();
	return NULL;
}

static void run(const char *move, int flag, const char *name, void (*once)(void),
		double seconds)
{
	const struct counters before = counters();
	struct counters after;
	pthread_t thread;
	int64_t begin, took;
	long moves = 0;

	map(places[0], LEN);
	if (madvise(places[0], LEN, MADV_NOHUGEPAGE))
		err(1, "madvise");
	memset(places[0], 1, LEN);
	stop = false;
	disturbances = 0;
	if (once && pthread_create(&thread, NULL, disturb, &once))
		errx(1, "pthread_create");

	begin = now();
	do {
		must_move_to(places[moves % 2], LEN, places[1 - moves % 2], flag);
		moves++;
		took = now() - begin;
	} while ((double)took < seconds * 1e9);
	stop = true;
	if (once)
		pthread_join(thread, NULL);
	unmap(places[moves % 2], LEN);

	after = counters();
	printf("concurrency,%s,%s,%.0f,%.1f,%.0f\n", move, name,
	       (double)moves * 1e9 / (double)took,
	       (double)(after.relocated - before.relocated) * 100 / (double)moves,
	       (double)disturbances * 1e9 / (double)took);
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*once)(void);
	} others[] = {
		{ "alone", NULL },
		{ "faults", faulting },
		{ "pages out", paging_out },
		{ "forks", forking },
	};
	const double seconds = argc > 1 ? atof(argv[1]) : 2;
	char *room = find_room(2 * GIB);

	if (!(seconds > 0))
		errx(2, "usage: concurrency [SECONDS]");
	neighbour(room);
	neighbour(room + GIB);
	places[0] = room + HUGE;
	places[1] = room + GIB + HUGE + PAGE;
	for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
		run("plain", 0, others[i].name, others[i].once, seconds);
		if (kernel_relocates())
			run("relocate", RELOCATE, others[i].name, others[i].once, seconds);
	}
	return 0;
}
