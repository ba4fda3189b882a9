/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A thread that migrates a range from node to node, and calls that meet it half
 * way, with migration entries in place of its pages. The caller becomes a real-time
 * thread on the same processor: between migrate_wait(), which finds such an entry,
 * and whatever sleeps next the migrating thread has no chance to go on.
 */
#ifndef GUEST_MIGRATE_H
#define GUEST_MIGRATE_H

#include "relocate.h"

#include <pthread.h>
#include <sched.h>
#include <time.h>

struct migrator {
	pthread_t thread;
	char *addr;
	size_t len, step;	/* step: from one folio to the next */
	volatile bool over;
};

HELPER void *migrate_thread(void *arg)
{
	struct migrator *m = arg;
	void *pages[128];
	int nodes[128], status[128];
	const size_t n = m->len / m->step;

	assert_quietly(n <= ARRAY_SIZE(pages));
	for (int round = 0; !m->over; round++) {
		for (size_t i = 0; i < n; i++) {
			pages[i] = m->addr + i * m->step;
			nodes[i] = round & 1;
		}
		syscall(SYS_move_pages, 0, n, pages, nodes, status,
			MPOL_MF_MOVE_ALL);
	}
	return NULL;
}

/* The processor and the scheduling of the caller, and of threads that it starts. */
HELPER void schedule(int cpu, int policy)
{
	const struct sched_param param = { .sched_priority = policy ? 1 : 0 };
	cpu_set_t cpus;

	CPU_ZERO(&cpus);
	for (int i = 0; i < CPU_SETSIZE; i++)
		if (cpu < 0 || i == cpu)
			CPU_SET(i, &cpus);
	assert_quietly(!sched_setaffinity(0, sizeof(cpus), &cpus));
	assert_quietly(!sched_setscheduler(0, policy, &param));
}

HELPER void migrate_start(struct migrator *m, char *addr, size_t len, size_t step)
{
	*m = (struct migrator) { .addr = addr, .len = len, .step = step };
	schedule(0, SCHED_OTHER);
	assert_quietly(!pthread_create(&m->thread, NULL, migrate_thread, m));
	schedule(0, SCHED_FIFO);
}

/* Until a page is being migrated. Nothing in the range may be swapped out. */
HELPER void migrate_wait(const struct migrator *m)
{
	long waited = 0;

	/* Now and then at other moments of the other thread's round */
	for (unsigned int i = 0; !count_pages(m->addr, m->len, SWAPPED); i++)
		if (!wait_more(&waited, 20 + i * 7 % 190))
			ck_abort_msg("nothing is migrated");
}

HELPER void migrate_end(struct migrator *m)
{
	m->over = true;
	pthread_join(m->thread, NULL);
	schedule(-1, SCHED_OTHER);
}

#endif
