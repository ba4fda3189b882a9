/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * measure FILE PROGRAM ARGUMENT...: run a program and append to FILE what it took:
 *
 *	INSTRUCTIONS MAPPINGS PEAK
 *
 * CPU time in nanoseconds, which in a guest with --icount are instructions; the most
 * mappings it was seen with, ten times a second; its largest resident set in KiB.
 * The exit status is the program's, 128 and its number if a signal ended it.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>

#include "mappings.h"

int main(int argc, char **argv)
{
	const struct timespec pause = { .tv_nsec = 100 * 1000 * 1000 };
	int status, most = 0, now;
	struct rusage usage;
	char maps[40];
	pid_t pid;
	FILE *f;

	if (argc < 3) {
		fputs("usage: measure FILE PROGRAM ARGUMENT...\n", stderr);
		return 125;
	}
	pid = fork();
	if (!pid) {
		execvp(argv[2], argv + 2);
		perror(argv[2]);
		_exit(127);
	}
	snprintf(maps, sizeof(maps), "/proc/%d/maps", pid);
	while (pid > 0 && !wait4(pid, &status, WNOHANG, &usage)) {
		now = mappings(maps);
		most = now > most ? now : most;
		nanosleep(&pause, NULL);
	}
	f = pid > 0 ? fopen(argv[1], "a") : NULL;
	if (!f) {
		perror("measure");
		return 125;
	}
	fprintf(f, "%lld %d %ld\n",
		(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000000LL +
		(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1000LL,
		most, usage.ru_maxrss);
	if (fclose(f)) {
		perror(argv[1]);
		return 125;
	}
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
