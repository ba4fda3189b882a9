/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A sample of a process in the formats of vmafrag, on standard output.
 */
#ifndef MREMAP_COMPAT_OUTPUT_H
#define MREMAP_COMPAT_OUTPUT_H

#include "process.h"

#include <stdbool.h>
#include <stdint.h>

/* Of the JSON objects; raised when a member goes or changes its meaning. */
#define OUTPUT_SCHEMA_VERSION 1

/* From so much of vm.max_map_count on, the table says where to read on. */
#define OUTPUT_NEAR_PERCENT 50

/* The kernel's objects for a mapping, in bytes. */
struct object_sizes {
	unsigned int vma, anon_vma, chain;
	bool measured;		/* all of them, by /proc/slabinfo */
};

struct object_sizes output_object_sizes(void);

/* In the order in which they get worse. */
enum state { STATE_OK, STATE_WARNING, STATE_CRITICAL, STATE_UNKNOWN };

/* Percentages of the limit; 0: not to be looked at. */
struct thresholds {
	double warn, critical;
};

/* STATE_UNKNOWN if the limit is. */
enum state output_state(const struct sample *sample,
			const struct thresholds *thresholds);

/*
 * "WARNING: server (4711) has 60122 of 65530 (91.7 %)", and of how many processes that
 * is not known, if there are such.
 */
void output_state_line(enum state state, int pid, const struct sample *sample,
		       uint64_t unreadable);

/* ", 5 processes may not be read", with what begins it; nothing if there are none. */
void output_unreadable(const char *begin, uint64_t unreadable);

double output_percent(uint64_t part, uint64_t whole);

/* Kernel memory, in bytes. */
struct cost {
	uint64_t least, most;
};

/* That of all mappings, without page tables. */
struct cost output_cost(const struct sample *sample,
			const struct object_sizes *sizes);

/* " of 65530 (12.3 %)" */
void output_of_limit(uint64_t mappings, uint64_t limit);

void output_table(int pid, const struct sample *sample,
		  const struct object_sizes *sizes);

/* A line with the time. */
void output_line(const struct sample *sample,
		 const struct object_sizes *sizes);

/*
 * The members of a JSON object, without the braces.  sizes is NULL for a sample
 * with only_maps, of which there is less.
 */
void output_json(int pid, const struct sample *sample,
		 const struct object_sizes *sizes,
		 const struct thresholds *thresholds);

/* The text format of Prometheus: first the limit, then each metric of all. */
struct output_one {
	int pid;
	const struct sample *sample;
};
void output_prometheus(const struct output_one *all, size_t count,
		       uint64_t limit, const struct object_sizes *sizes);

#endif
