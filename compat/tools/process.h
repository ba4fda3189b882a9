/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A process and its mappings, as /proc shows them.  No function here prints.
 */
#ifndef MREMAP_COMPAT_PROCESS_H
#define MREMAP_COMPAT_PROCESS_H

#include "fragments.h"
#include "picture.h"
#include "why.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

struct process {
	int pid;
	/*
	 * /proc/PID: stays that process when the number is given to another.
	 * What pidfd_open(2) returns; -1 where it is not to be had, and why.
	 */
	int directory, pidfd, pidfd_error;
	/*
	 * /proc is that of another PID namespace, and what it shows by this number is
	 * not what the kernel knows here by it: there is no pidfd.
	 */
	bool foreign;
};

/* What is known about it at one time. */
struct sample {
	/* What is to be found out; the rest is the result. */
	bool only_maps;		/* read nothing that goes through page tables */
	bool draw;		/* fill in picture */
	bool explain;		/* fill in why */

	struct fragments count;
	/*
	 * Whether flags and policies have been compared.  If not, the separate
	 * neighbours may be too many.
	 */
	bool compared;
	struct picture picture;
	struct why why;
	struct timespec time;
	uint64_t limit;		/* vm.max_map_count, 0: unknown */
	char command[64];
	size_t command_length;
};

/* 0, or errno with *process empty: ENOENT if there is no such process. */
int process_open(int pid, struct process *process);
void process_close(const struct process *process);

/*
 * When it was started, in ticks since the system was; 0: unknown.  With the PID it tells
 * it from one that has the number later.
 */
uint64_t process_start_time(const struct process *process);

/*
 * 0, or errno as fragments_walk() has it.  Can be repeated; process_free() in the
 * end.
 */
int process_sample(const struct process *process, struct sample *sample);
void process_free(struct sample *sample);

/* The name alone. */
void process_read_command(const struct process *process,
			  struct sample *sample);

/* A small file's contents, at most size bytes; -1 with errno. */
ssize_t process_read_file(int directory, const char *path, char *buffer,
			  size_t size);

/* Why /proc/PID/maps may not be read, and what to do about it. */
const char *process_refusal(const struct process *process);

#endif
