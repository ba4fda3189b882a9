/* SPDX-License-Identifier: LGPL-2.1-or-later */

#define _GNU_SOURCE
#include "top.h"

#include "grow.h"
#include "text.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The kernel's names of processes are cut to this. */
#define COMMAND_MAX 15

/* ---- choice --------------------------------------------------------------- */

/* A process ID, 0 if it is none. */
static int pid_of(const char *text)
{
	unsigned long value;

	if (!*text || text[strspn(text, "0123456789")])
		return 0;
	errno = 0;
	value = strtoul(text, NULL, 10);
	return errno || value > INT_MAX ? 0 : (int)value;
}

static bool is_chosen_by(const char *choice, const struct top_one *one)
{
	const struct sample *sample = &one->sample;
	size_t length = strlen(choice);

	if (pid_of(choice))
		return pid_of(choice) == one->pid;
	if (length > COMMAND_MAX)
		length = COMMAND_MAX;
	return length == sample->command_length &&
	       !memcmp(choice, sample->command, length);
}

static bool is_chosen(char *const *choices, size_t count,
		      const struct top_one *one)
{
	for (size_t i = 0; i < count; i++)
		if (is_chosen_by(choices[i], one))
			return true;
	return !count && one->pid != getpid();
}

/* What has become of a choice. */
enum met { NOBODY, WITHOUT_MEMORY, WITH_MEMORY };

/* By this process, which is chosen. */
static void mark(char *const *choices, size_t count, const struct top_one *one,
		 enum met *met, enum met now)
{
	for (size_t i = 0; i < count; i++)
		if (met[i] < now && is_chosen_by(choices[i], one))
			met[i] = now;
}

/* ---- reading -------------------------------------------------------------- */

static struct top_one *add(struct top *top)
{
	struct top_one *all;

	all = room_for_one(top->all, top->count, &top->room, sizeof(*all));
	if (!all)
		return NULL;
	top->all = all;
	return &top->all[top->count];
}

/* 0 or errno; processes that end, and kernel threads, are no error. */
static int read_one(struct top *top, int pid, char *const *choices,
		    size_t count, enum met *met)
{
	struct top_one *one = add(top);
	struct process process;
	int err;

	if (!one)
		return ENOMEM;
	if (process_open(pid, &process))
		return 0;
	memset(one, 0, sizeof(*one));
	one->pid = pid;
	one->sample.only_maps = true;
	process_read_command(&process, &one->sample);
	err = ESRCH;
	if (is_chosen(choices, count, one)) {
		/* Before it is read: it can take another name. */
		mark(choices, count, one, met, WITHOUT_MEMORY);
		one->start_time = process_start_time(&process);
		err = process_sample(&process, &one->sample);
		if (err != ESRCH)
			mark(choices, count, one, met, WITH_MEMORY);
	}
	process_close(&process);
	if (!err)
		top->count++;
	else if (err == EACCES || err == EPERM)
		top->unreadable++;
	else if (err != ESRCH)
		return err;
	return 0;
}

static int by_mappings(const void *a, const void *b)
{
	const struct top_one *one = a, *other = b;

	if (one->sample.count.mappings != other->sample.count.mappings)
		return one->sample.count.mappings <
		       other->sample.count.mappings ? 1 : -1;
	return one->pid < other->pid ? -1 : one->pid > other->pid;
}

int top_read(struct top *top, char *const *choices, size_t count,
	     const char **wanted)
{
	const struct dirent *entry;
	DIR *directory;
	enum met *met;
	int err = 0;

	*wanted = NULL;
	memset(top, 0, sizeof(*top));
	met = calloc(count + 1, sizeof(*met));
	if (!met)
		return ENOMEM;
	directory = opendir("/proc");
	if (!directory) {
		err = errno;
		free(met);
		return err;
	}
	while (!err && (entry = readdir(directory))) {
		if (pid_of(entry->d_name))
			err = read_one(top, pid_of(entry->d_name), choices,
				       count, met);
	}
	closedir(directory);
	for (size_t i = 0; !err && i < count; i++) {
		if (met[i] != WITH_MEMORY) {
			*wanted = choices[i];
			err = met[i] == NOBODY ? ESRCH : ENODATA;
		}
	}
	free(met);
	if (top->count)
		qsort(top->all, top->count, sizeof(*top->all),
		      by_mappings);
	return err;
}

void top_free(struct top *top)
{
	for (size_t i = 0; i < top->count; i++)
		process_free(&top->all[i].sample);
	free(top->all);
	memset(top, 0, sizeof(*top));
}

/* ---- output --------------------------------------------------------------- */

static size_t shown(const struct top *top, size_t most)
{
	return top->count < most ? top->count : most;
}

void top_put_table(const struct top *top, size_t most)
{
	const uint64_t limit = top->count ? top->all[0].sample.limit : 0;

	fputs("    PID   MAPPINGS  OF LIMIT  ANONYMOUS  COMMAND\n", stdout);
	for (size_t i = 0; i < shown(top, most); i++) {
		const struct sample *sample = &top->all[i].sample;

		printf("%7d %10" PRIu64, top->all[i].pid,
		       sample->count.mappings);
		if (sample->limit)
			printf(" %7.1f %%",
			       output_percent(sample->count.mappings,
					      sample->limit));
		else
			fputs("         -", stdout);
		printf(" %10" PRIu64 "  ", sample->count.anonymous);
		text_put_line(stdout, sample->command, sample->command_length);
		putchar('\n');
	}
	if (top->count > most)
		printf("and %zu more processes\n", top->count - most);
	if (top->unreadable) {
		output_unreadable("", top->unreadable);
		puts(geteuid() ? "; run as root" : "");
	}
	if (limit)
		printf("limit (vm.max_map_count): %" PRIu64 "\n", limit);
}

void top_put_json(const struct top *top, size_t most,
		  const struct thresholds *thresholds)
{
	printf("{\"schema_version\": %d, \"unreadable\": %" PRIu64
	       ", \"processes\": [", OUTPUT_SCHEMA_VERSION, top->unreadable);
	for (size_t i = 0; i < shown(top, most); i++) {
		fputs(i ? ", {" : "{", stdout);
		output_json(top->all[i].pid, &top->all[i].sample, NULL,
			    thresholds);
		putchar('}');
	}
	puts("]}");
}

bool top_put_prometheus(const struct top *top, size_t most)
{
	struct output_one *all = calloc(top->count + 1, sizeof(*all));

	if (!all)
		return false;
	for (size_t i = 0; i < shown(top, most); i++) {
		all[i].pid = top->all[i].pid;
		all[i].sample = &top->all[i].sample;
	}
	output_prometheus(all, shown(top, most),
			  top->count ? top->all[0].sample.limit : 0, NULL);
	printf("# HELP vmafrag_unreadable_processes Processes that may not be read.\n"
	       "# TYPE vmafrag_unreadable_processes gauge\n"
	       "vmafrag_unreadable_processes %" PRIu64 "\n", top->unreadable);
	free(all);
	return true;
}
