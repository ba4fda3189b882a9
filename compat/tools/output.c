/* SPDX-License-Identifier: LGPL-2.1-or-later */

#define _GNU_SOURCE
#include "output.h"

#include "text.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct object_sizes output_object_sizes(void)
{
	struct object_sizes sizes = { 192, 104, 64, false };
	struct {
		const char *name;
		unsigned int *size;
	} const wanted[] = {
		{ "vm_area_struct", &sizes.vma },
		{ "anon_vma", &sizes.anon_vma },
		{ "anon_vma_chain", &sizes.chain },
	};
	const size_t count = sizeof(wanted) / sizeof(wanted[0]);
	char *line = NULL, name[64];
	unsigned int size, found = 0;
	size_t room = 0;
	FILE *file;

	file = fopen("/proc/slabinfo", "re");
	if (!file)
		return sizes;
	while (getline(&line, &room, file) >= 0) {
		/* name, active objects, objects, bytes of one */
		if (sscanf(line, "%63s %*u %*u %9u", name, &size) != 2)
			continue;
		for (size_t i = 0; i < count; i++) {
			if (!strcmp(name, wanted[i].name) && size) {
				*wanted[i].size = size;
				found |= 1u << i;
			}
		}
	}
	free(line);
	fclose(file);
	sizes.measured = found == (1u << count) - 1;
	return sizes;
}

/* ---- thresholds ----------------------------------------------------------- */

static const char *const state_names[] = {
	[STATE_OK] = "ok",
	[STATE_WARNING] = "warning",
	[STATE_CRITICAL] = "critical",
	[STATE_UNKNOWN] = "unknown",
};

double output_percent(uint64_t part, uint64_t whole)
{
	return 100.0 * (double)part / (double)whole;
}

enum state output_state(const struct sample *sample,
			const struct thresholds *thresholds)
{
	double percent;

	if (!sample->limit)
		return STATE_UNKNOWN;
	percent = output_percent(sample->count.mappings, sample->limit);
	if (thresholds->critical > 0 && percent >= thresholds->critical)
		return STATE_CRITICAL;
	if (thresholds->warn > 0 && percent >= thresholds->warn)
		return STATE_WARNING;
	return STATE_OK;
}

/* Of the mappings that would be gone. */
static struct cost cost_of(const struct sample *sample,
			   const struct object_sizes *sizes)
{
	const uint64_t count = sample->count.separate;

	return (struct cost) {
		.least = count * (sizes->vma + sizes->chain),
		.most = count * (sizes->vma + sizes->chain + sizes->anon_vma),
	};
}

struct cost output_cost(const struct sample *sample,
			const struct object_sizes *sizes)
{
	const struct fragments *count = &sample->count;
	const uint64_t least = count->mappings * sizes->vma +
			       count->anonymous * sizes->chain;

	/* Each that is anonymous may have an anon_vma of its own. */
	return (struct cost) {
		.least = least,
		.most = least + count->anonymous * sizes->anon_vma,
	};
}

static uint64_t kib(uint64_t bytes)
{
	return (bytes + 1023) / 1024;
}

void output_of_limit(uint64_t mappings, uint64_t limit)
{
	if (limit)
		printf(" of %" PRIu64 " (%.1f %%)", limit,
		       output_percent(mappings, limit));
	else
		fputs(" (limit unknown)", stdout);
}

void output_table(int pid, const struct sample *sample,
		  const struct object_sizes *sizes)
{
	const struct fragments *count = &sample->count;
	const struct cost cost = cost_of(sample, sizes);

	printf("process              %d (", pid);
	text_put_line(stdout, sample->command, sample->command_length);
	printf(")\nmappings             %" PRIu64, count->mappings);
	output_of_limit(count->mappings, sample->limit);
	printf("\nprivate anonymous    %" PRIu64, count->anonymous);
	printf("\nseparate neighbours  %" PRIu64, count->separate);
	if (count->separate)
		printf(" in %" PRIu64 " run%s, the longest of %" PRIu64
		       " mappings", count->runs, count->runs == 1 ? "" : "s",
		       count->longest);
	if (!sample->compared)
		fputs(" (flags not compared)", stdout);
	printf("\nif they merged       %" PRIu64,
	       count->mappings - count->separate);
	output_of_limit(count->mappings - count->separate, sample->limit);
	printf("\ntheir kernel memory  %s%" PRIu64, cost.most ? "about " : "",
	       kib(cost.least));
	if (kib(cost.most) != kib(cost.least))
		printf(" to %" PRIu64, kib(cost.most));
	printf(" KiB\n");
	if (sample->limit && output_percent(count->mappings, sample->limit) >=
			     OUTPUT_NEAR_PERCENT)
		puts("near the limit       what helps: relocate-anon(7), \"Cures without code\"");
}

void output_line(const struct sample *sample, const struct object_sizes *sizes)
{
	const struct fragments *count = &sample->count;
	const struct cost cost = cost_of(sample, sizes);
	struct tm local = { 0 };
	char clock[32];

	localtime_r(&sample->time.tv_sec, &local);
	strftime(clock, sizeof(clock), "%Y-%m-%d %H:%M:%S", &local);
	printf("%s  mappings %" PRIu64, clock, count->mappings);
	output_of_limit(count->mappings, sample->limit);
	printf("  separate neighbours %" PRIu64 "  kernel memory %" PRIu64
	       " to %" PRIu64 " KiB\n", count->separate, kib(cost.least),
	       kib(cost.most));
}

void output_unreadable(const char *begin, uint64_t unreadable)
{
	if (unreadable)
		printf("%s%" PRIu64 " process%s may not be read", begin,
		       unreadable, unreadable == 1 ? "" : "es");
}

/* To a monitoring system, what follows a bar would be performance data. */
static void put_without_bars(const char *text, size_t length)
{
	const char *bar;

	while ((bar = memchr(text, '|', length))) {
		text_put_line(stdout, text, (size_t)(bar - text));
		text_put_line(stdout, "\xff", 1);
		length -= (size_t)(bar - text) + 1;
		text = bar + 1;
	}
	text_put_line(stdout, text, length);
}

void output_state_line(enum state state, int pid, const struct sample *sample,
		       uint64_t unreadable)
{
	for (const char *c = state_names[state]; *c; c++)
		putchar(*c - 'a' + 'A');
	fputs(": ", stdout);
	put_without_bars(sample->command, sample->command_length);
	printf(" (%d) has %" PRIu64, pid, sample->count.mappings);
	output_of_limit(sample->count.mappings, sample->limit);
	output_unreadable(", ", unreadable);
	putchar('\n');
}

/* ---- JSON ----------------------------------------------------------------- */

static void put_json_kinds(const struct sample *sample,
			   const struct object_sizes *sizes)
{
	const struct fragments *count = &sample->count;
	const struct cost cost = cost_of(sample, sizes);

	printf(", \"separate_neighbours\": %" PRIu64 ", \"runs\": %" PRIu64
	       ", \"longest_run\": %" PRIu64 ", \"mappings_if_merged\": %"
	       PRIu64 ", \"flags_compared\": %s", count->separate, count->runs,
	       count->longest, count->mappings - count->separate,
	       sample->compared ? "true" : "false");
	printf(", \"kernel_bytes_min\": %" PRIu64 ", \"kernel_bytes_max\": %"
	       PRIu64, cost.least, cost.most);
	printf(", \"object_sizes\": {\"vm_area_struct\": %u, \"anon_vma\": %u, \"anon_vma_chain\": %u, \"source\": \"%s\"}",
	       sizes->vma, sizes->anon_vma, sizes->chain,
	       sizes->measured ? "slabinfo" : "default");
}

void output_json(int pid, const struct sample *sample,
		 const struct object_sizes *sizes,
		 const struct thresholds *thresholds)
{
	const struct fragments *count = &sample->count;

	printf("\"time\": %lld.%03ld, \"pid\": %d, \"command\": ",
	       (long long)sample->time.tv_sec, sample->time.tv_nsec / 1000000,
	       pid);
	text_put_json(stdout, sample->command, sample->command_length);
	printf(", \"mappings\": %" PRIu64, count->mappings);
	if (sample->limit)
		printf(", \"max_map_count\": %" PRIu64 ", \"percent\": %.1f",
		       sample->limit,
		       output_percent(count->mappings, sample->limit));
	else
		printf(", \"max_map_count\": null, \"percent\": null");
	printf(", \"anonymous\": %" PRIu64, count->anonymous);
	if (sizes)
		put_json_kinds(sample, sizes);
	if (thresholds->warn > 0 || thresholds->critical > 0)
		printf(", \"status\": \"%s\"",
		       state_names[output_state(sample, thresholds)]);
}

/* ---- Prometheus ----------------------------------------------------------- */

static uint64_t mappings_of(const struct sample *sample,
			    const struct object_sizes *sizes)
{
	(void)sizes;
	return sample->count.mappings;
}

static uint64_t separate_of(const struct sample *sample,
			    const struct object_sizes *sizes)
{
	(void)sizes;
	return sample->count.separate;
}

static uint64_t least_of(const struct sample *sample,
			 const struct object_sizes *sizes)
{
	return cost_of(sample, sizes).least;
}

static uint64_t most_of(const struct sample *sample,
			const struct object_sizes *sizes)
{
	return cost_of(sample, sizes).most;
}

static const struct metric {
	const char *name, *help;
	uint64_t (*value)(const struct sample *sample,
			  const struct object_sizes *sizes);
	bool cheap;		/* known of a sample with only_maps */
} metrics[] = {
	{ "vmafrag_mappings",
	  "Mappings of the process, which vm.max_map_count limits.",
	  mappings_of, true },
	{ "vmafrag_separate_neighbours",
	  "Mappings that touch one of the same kind and have not merged with it.",
	  separate_of, false },
	{ "vmafrag_kernel_memory_min_bytes",
	  "Kernel memory of the separate neighbours, at least.",
	  least_of, false },
	{ "vmafrag_kernel_memory_max_bytes",
	  "Kernel memory of the separate neighbours, at most.",
	  most_of, false },
};

void output_prometheus(const struct output_one *all, size_t count,
		       uint64_t limit, const struct object_sizes *sizes)
{
	if (limit)
		printf("# HELP vmafrag_mappings_limit The sysctl vm.max_map_count.\n"
		       "# TYPE vmafrag_mappings_limit gauge\n"
		       "vmafrag_mappings_limit %" PRIu64 "\n", limit);
	for (size_t m = 0; m < sizeof(metrics) / sizeof(metrics[0]); m++) {
		if (!count || (!sizes && !metrics[m].cheap))
			continue;
		printf("# HELP %s %s\n# TYPE %s gauge\n", metrics[m].name,
		       metrics[m].help, metrics[m].name);
		for (size_t i = 0; i < count; i++) {
			const struct sample *sample = all[i].sample;

			printf("%s{pid=\"%d\",command=", metrics[m].name,
			       all[i].pid);
			text_put_prometheus(stdout, sample->command,
					    sample->command_length);
			printf("} %" PRIu64 "\n",
			       metrics[m].value(sample, sizes));
		}
	}
}
