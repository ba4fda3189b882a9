/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Many processes, by how near they are to vm.max_map_count.
 */
#ifndef MREMAP_COMPAT_TOP_H
#define MREMAP_COMPAT_TOP_H

#include "output.h"
#include "process.h"

#include <stddef.h>
#include <stdint.h>

struct top {
	/* That with most mappings first, once all are there. */
	struct top_one {
		int pid;
		uint64_t start_time;	/* as process_start_time() has it */
		struct sample sample;
	} *all;
	size_t count, room;
	uint64_t unreadable;	/* for want of permission */
};

/*
 * Look at all processes but the calling one, or at those that are chosen by PID or
 * name, as many as count says.  0; or errno, and what it is about in *wanted: a
 * choice (ESRCH: no such process; ENODATA: none with memory), or NULL.  top_free() in
 * either case.
 */
int top_read(struct top *top, char *const *choices, size_t count,
	     const char **wanted);
void top_free(struct top *top);

/* How many are to be shown; the rest is counted. */
void top_put_table(const struct top *top, size_t most);
void top_put_json(const struct top *top, size_t most,
		  const struct thresholds *thresholds);
/* false with ENOMEM */
bool top_put_prometheus(const struct top *top, size_t most);

#endif
