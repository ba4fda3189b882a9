/* SPDX-License-Identifier: LGPL-2.1-or-later */

#define _GNU_SOURCE
#include "heal.h"

#include "grow.h"
#include "mremap_compat.h"
#include "text.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#ifndef MADV_COALESCE
# define MADV_COALESCE 104
#endif
#ifndef SYS_process_madvise
# define SYS_process_madvise 440
#endif

/* For one call: so that there is progress to show, and the process is not kept long. */
#define STEP_BYTES ((uint64_t)1 << 30)
#define STEP_SEAMS 512

enum heal_support heal_support(void)
{
	/* It is not for this tool that a method is switched off. */
	mremap_compat_set_methods(MREMAP_COMPAT_ALL_METHODS);
	switch (mremap_compat_probe_coalesce()) {
	case MREMAP_COMPAT_SUPPORTED:
		return HEAL_SUPPORTED;
	case MREMAP_COMPAT_UNSUPPORTED:
		return HEAL_NO_ADVICE;
	case MREMAP_COMPAT_NOT_PERMITTED:
		return HEAL_FORBIDDEN;
	default:
		return HEAL_UNKNOWN;
	}
}

/* ---- steps ----------------------------------------------------------------- */

/*
 * Ranges that touch all private anonymous mappings that touch each other. The advice is
 * for whole mappings, so that of the first and the last a page will do, and the last of
 * a step is the first of the next one:
 *
 *	| first | . . . . | . . . . | last |
 *	      |----- the step -----|-|
 */
struct steps {
	struct step {
		uint64_t start, end;
		uint64_t seams;
	} *all;
	size_t count, room;
	bool open;		/* the last one can be made longer */
	uint64_t last_end;	/* of the last anonymous mapping; 0: none */
	uint64_t page;
};

static struct step *add_step(struct steps *steps)
{
	struct step *all;

	all = room_for_one(steps->all, steps->count, &steps->room, sizeof(*all));
	if (!all)
		return NULL;
	steps->all = all;
	return &steps->all[steps->count++];
}

static bool visit(const struct maps_entry *entry,
		  const struct fragments_kind *kind, void *data)
{
	struct steps *steps = data;
	struct step *step;

	(void)kind;
	if (!entry) {
		steps->count = 0;
		steps->open = false;
		steps->last_end = 0;
		return true;
	}
	if (!maps_is_anonymous(entry)) {
		steps->open = false;
		steps->last_end = 0;
		return true;
	}
	if (entry->start != steps->last_end) {
		steps->open = false;
	} else {
		if (!steps->open) {
			step = add_step(steps);
			if (!step)
				return false;
			step->start = entry->start - steps->page;
			step->seams = 0;
		}
		step = &steps->all[steps->count - 1];
		step->end = entry->start + steps->page;
		step->seams++;
		steps->open = step->seams < STEP_SEAMS &&
			       entry->end - step->start < STEP_BYTES;
	}
	steps->last_end = entry->end;
	return true;
}

/* 0 or errno */
static int find_steps(const struct process *process, struct steps *steps)
{
	const int fd = openat(process->directory, "maps", O_RDONLY | O_CLOEXEC);
	int err = 0;

	if (fd < 0)
		return errno == ENOENT ? ESRCH : errno;
	if (fragments_walk(fd, FRAGMENTS_BEST, visit, steps))
		err = errno;
	close(fd);
	return err;
}

/* All of a step, which the kernel may do in parts. 0 or errno */
static int advise(const struct process *process, const struct step *step)
{
	uint64_t start = step->start;

	/* Where addresses have 32 bits, those of other processes can have more. */
	if (step->end > UINTPTR_MAX)
		return EOVERFLOW;
	while (start < step->end) {
		struct iovec range = {
			.iov_base = (void *)(uintptr_t)start,
			.iov_len = (size_t)(step->end - start),
		};
		const long done = syscall(SYS_process_madvise, process->pidfd,
					  &range, 1UL, (long)MADV_COALESCE,
					  0UL);

		if (done < 0 && errno == EINTR)
			continue;	/* stopped, and continued */
		if (done <= 0)
			return done ? errno : EIO;
		start += (uint64_t)done;
	}
	return 0;
}

/* ---- a process -------------------------------------------------------------- */

static bool has_ended(const struct heal *heal)
{
	return heal->end != HEAL_DONE && heal->err == ESRCH;
}

static void heal_steps(const struct process *process, struct heal *heal,
			heal_progress *progress)
{
	struct steps steps = { .page = (uint64_t)sysconf(_SC_PAGESIZE) };

	heal->err = find_steps(process, &steps);
	if (heal->err) {
		heal->end = HEAL_READ;
		free(steps.all);
		return;
	}
	heal->steps = steps.count;
	if (progress)
		progress(heal);
	for (size_t i = 0; !heal->err && i < steps.count; i++) {
		heal->err = advise(process, &steps.all[i]);
		if (heal->err) {
			heal->end = HEAL_ADVICE;
			break;
		}
		heal->done++;
		if (progress)
			progress(heal);
	}
	free(steps.all);
}

void heal_process(const struct process *process, struct heal *heal,
		  heal_progress *progress)
{
	int err;

	memset(heal, 0, sizeof(*heal));
	heal->pid = process->pid;
	heal->before.explain = true;
	heal->after.explain = true;
	if (process->foreign) {
		heal->end = HEAL_FOREIGN;
		return;
	}
	if (process->pidfd < 0) {
		heal->end = HEAL_NO_PIDFD;
		heal->err = process->pidfd_error;
		return;
	}
	heal->err = process_sample(process, &heal->before);
	if (heal->err) {
		heal->end = HEAL_READ;
		return;
	}
	heal_steps(process, heal, progress);
	if (has_ended(heal))
		return;
	/* Also if it has stopped on its way. */
	err = process_sample(process, &heal->after);
	if (err) {
		/* What has been counted by then is not what there is. */
		process_free(&heal->after);
		memset(&heal->after, 0, sizeof(heal->after));
	}
	if (err && heal->end == HEAL_DONE) {
		heal->end = HEAL_READ_AFTER;
		heal->err = err;
	}
}

void heal_free(struct heal *heal)
{
	process_free(&heal->before);
	process_free(&heal->after);
}

/* ---- output ----------------------------------------------------------------- */

uint64_t heal_apart(const struct heal *heal)
{
	/* Each run is of a mapping more than it has pairs. */
	const struct why *why = &heal->after.why;
	uint64_t pairs = 0;

	for (size_t i = 0; i < why->count; i++)
		if (!(why->runs[i].reasons & FRAGMENTS_HOLE))
			pairs += why->runs[i].mappings - 1;
	return pairs;
}

/* Pairs for each reason that keeps neighbours apart without a hole between them. */
struct stayed {
	uint64_t pairs[WHY_REASONS];
};

static struct stayed stayed_of(const struct heal *heal)
{
	const struct why *why = &heal->after.why;
	struct stayed stayed = { 0 };

	for (size_t i = 0; i < why->count; i++) {
		if (why->runs[i].reasons & FRAGMENTS_HOLE)
			continue;
		for (int k = 0; k < WHY_REASONS; k++)
			if (why->runs[i].reasons & why_reason(k))
				stayed.pairs[k] += why->runs[i].mappings - 1;
	}
	return stayed;
}

static uint64_t kib(uint64_t bytes)
{
	return (bytes + 1023) / 1024;
}

static void put_cost(const struct sample *sample,
		     const struct object_sizes *sizes)
{
	const struct cost cost = output_cost(sample, sizes);

	printf("%" PRIu64 " to %" PRIu64, kib(cost.least), kib(cost.most));
}

void heal_put_table(const struct heal *heal, const struct object_sizes *sizes)
{
	const struct sample *before = &heal->before, *after = &heal->after;
	const struct stayed stayed = stayed_of(heal);

	printf("process              %d (", heal->pid);
	text_put_line(stdout, before->command, before->command_length);
	printf(")\nmappings             %" PRIu64 " before, %" PRIu64
	       " after", before->count.mappings, after->count.mappings);
	output_of_limit(after->count.mappings, after->limit);
	printf("\nseparate neighbours  %" PRIu64 " before, %" PRIu64
	       " after", before->count.separate, after->count.separate);
	if (!before->compared || !after->compared)
		fputs(" (flags not compared)", stdout);
	fputs("\nkernel memory        about ", stdout);
	put_cost(before, sizes);
	fputs(" KiB before, ", stdout);
	put_cost(after, sizes);
	printf(" KiB after\nstayed apart         %" PRIu64
	       " pairs of neighbours\n", heal_apart(heal));
	for (int i = 0; i < WHY_REASONS; i++) {
		if (!stayed.pairs[i] || why_reason(i) == FRAGMENTS_UNSEEN)
			continue;
		printf("  %-26s %" PRIu64 "\n", why_reason_name(i),
		       stayed.pairs[i]);
	}
	if (after->count.shared)
		printf("  %-26s %" PRIu64 "\n", "pages shared, as by fork()",
		       after->count.shared);
	if (after->count.separate > after->count.shared)
		printf("  %-26s %" PRIu64 " (pinned or busy pages, or new)\n",
		       "not known",
		       after->count.separate - after->count.shared);
}

void heal_put_title(void)
{
	puts("    PID     BEFORE      AFTER  STAYED APART  KERNEL MEMORY, KiB  COMMAND");
}

void heal_put_line(const struct heal *heal, const struct object_sizes *sizes)
{
	const struct cost before = output_cost(&heal->before, sizes);
	const struct cost after = output_cost(&heal->after, sizes);

	printf("%7d %10" PRIu64 " %10" PRIu64 " %13" PRIu64 " %8" PRIu64
	       " to %7" PRIu64 "  ", heal->pid, heal->before.count.mappings,
	       heal->after.count.mappings, heal_apart(heal), kib(before.most),
	       kib(after.most));
	text_put_line(stdout, heal->before.command,
		      heal->before.command_length);
	putchar('\n');
}

static void put_json_sample(const char *name, const struct sample *sample,
			    const struct object_sizes *sizes)
{
	const struct cost cost = output_cost(sample, sizes);

	printf(", \"%s\": {\"mappings\": %" PRIu64 ", \"anonymous\": %" PRIu64
	       ", \"separate_neighbours\": %" PRIu64
	       ", \"flags_compared\": %s, \"kernel_bytes_min\": %" PRIu64
	       ", \"kernel_bytes_max\": %" PRIu64 "}", name,
	       sample->count.mappings, sample->count.anonymous,
	       sample->count.separate, sample->compared ? "true" : "false",
	       cost.least, cost.most);
}

void heal_put_json(const struct heal *heal, const struct object_sizes *sizes)
{
	const struct sample *after = &heal->after;
	const struct stayed stayed = stayed_of(heal);

	printf("\"time\": %lld.%03ld, \"pid\": %d, \"command\": ",
	       (long long)after->time.tv_sec, after->time.tv_nsec / 1000000,
	       heal->pid);
	text_put_json(stdout, heal->before.command,
		      heal->before.command_length);
	if (after->limit)
		printf(", \"max_map_count\": %" PRIu64, after->limit);
	else
		fputs(", \"max_map_count\": null", stdout);
	put_json_sample("before", &heal->before, sizes);
	put_json_sample("after", &heal->after, sizes);
	printf(", \"steps\": %" PRIu64 ", \"steps_done\": %" PRIu64
	       ", \"stayed_apart\": {\"pairs\": %" PRIu64
	       ", \"shared\": %" PRIu64, heal->steps, heal->done,
	       heal_apart(heal), after->count.shared);
	for (int i = 0; i < WHY_REASONS; i++) {
		if (why_reason(i) == FRAGMENTS_HOLE)
			continue;
		printf(", \"%s\": %" PRIu64, why_reason_json(i),
		       stayed.pairs[i]);
	}
	putchar('}');
}
