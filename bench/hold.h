/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How long a process holds its mmap_lock, by the tracepoints mmap_lock:*; their own cost
 * is in it.
 */
#ifndef HOLD_H
#define HOLD_H

#include "bench.h"
#define TRACING "/sys/kernel/tracing/"

struct hold {
	int64_t write, longest_write, read;
};

static inline bool can_trace(void)
{
	return !access(TRACING "events/mmap_lock/mmap_lock_released", F_OK);
}

static inline void start_tracing(bool by_time)
{
	char pid[16];

	snprintf(pid, sizeof(pid), "%d", getpid());
	/* The text has microseconds of the others; where this counts, it is instructions. */
	write_file(TRACING "trace_clock", by_time ? "mono" : "x86-tsc");
	write_file(TRACING "set_event_pid", pid);
	write_file(TRACING "buffer_size_kb", "4096");
	write_file(TRACING "tracing_on", "0");
	write_file(TRACING "events/mmap_lock/mmap_lock_acquire_returned/enable", "1");
	write_file(TRACING "events/mmap_lock/mmap_lock_released/enable", "1");
}

static inline void stop_tracing(void)
{
	write_file(TRACING "events/mmap_lock/enable", "0");
	write_file(TRACING "trace", "");
	write_file(TRACING "tracing_on", "1");
	write_file(TRACING "trace_clock", "local");
}

/* Sum up the events: lines such as "name-1 [000] ..... 123456: mmap_lock_...: ..." */
static inline bool read_holds(struct hold *h, bool by_time)
{
	FILE *f = fopen(TRACING "trace", "re");
	int64_t since_write = -1, since_read = -1;
	char line[512];
	bool whole = true;

	if (!f)
		err(1, "trace");
	*h = (struct hold) {};
	while (fgets(line, sizeof(line), f)) {
		const char *event = strstr(line, ": mmap_lock_");
		const bool writing = strstr(line, "write=true");
		unsigned long in_buffer, written;
		const char *t = event;
		int64_t at;

		if (sscanf(line, "# entries-in-buffer/entries-written: %lu/%lu",
			   &in_buffer, &written) == 2)
			whole = in_buffer == written;
		if (!event)
			continue;
		while (t > line && t[-1] != ' ')
			t--;
		at = by_time ? (int64_t)(strtod(t, NULL) * 1e9 + 0.5) : atoll(t);
		if (strstr(event, "acquire_returned")) {
			/* A downgrade comes as one more acquisition, for reading. */
			if (since_write >= 0 && !writing) {
				h->write += at - since_write;
				if (at - since_write > h->longest_write)
					h->longest_write = at - since_write;
				since_write = -1;
			}
			*(writing ? &since_write : &since_read) = at;
		} else if (writing && since_write >= 0) {
			h->write += at - since_write;
			if (at - since_write > h->longest_write)
				h->longest_write = at - since_write;
			since_write = -1;
		} else if (!writing && since_read >= 0) {
			h->read += at - since_read;
			since_read = -1;
		}
	}
	fclose(f);
	return whole;
}

#endif
