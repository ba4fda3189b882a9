/* SPDX-License-Identifier: LGPL-2.1-or-later */

#define _GNU_SOURCE
#include "why.h"

#include "grow.h"
#include "text.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static const struct {
	unsigned int bit;
	const char *json, *table;
} reasons[WHY_REASONS] = {
	{ FRAGMENTS_UNSEEN, "page_offset_or_anon_vma",
	  "page offset or anon_vma" },
	{ FRAGMENTS_HOLE, "hole", "hole" },
	{ FRAGMENTS_PROTECTION, "protection", "protection" },
	{ FRAGMENTS_NAME, "name", "name" },
	{ FRAGMENTS_FLAGS, "flags", "flags" },
	{ FRAGMENTS_USERFAULTFD, "userfaultfd", "userfaultfd" },
	{ FRAGMENTS_POLICY, "memory_policy", "memory policy" },
};

unsigned int why_reason(int place)
{
	return reasons[place].bit;
}

const char *why_reason_name(int place)
{
	return reasons[place].table;
}

const char *why_reason_json(int place)
{
	return reasons[place].json;
}

/* What sets the flag, by proc_pid_smaps(5). */
static const struct {
	const char flag[3], *name;
} flag_names[] = {
	{ "ac", "counted for overcommit" },
	{ "bt", "PROT_BTI" },
	{ "dc", "MADV_DONTFORK" },
	{ "dd", "MADV_DONTDUMP" },
	{ "de", "may not be expanded" },
	{ "dp", "MAP_DROPPABLE" },
	{ "gd", "MAP_GROWSDOWN" },
	{ "hg", "MADV_HUGEPAGE" },
	{ "lf", "mlock2" },
	{ "lo", "mlock" },
	{ "me", "may become executable" },
	{ "mg", "MADV_MERGEABLE" },
	{ "mr", "may become readable" },
	{ "mt", "PROT_MTE" },
	{ "mw", "may become writable" },
	{ "nh", "MADV_NOHUGEPAGE" },
	{ "nr", "MAP_NORESERVE" },
	{ "rr", "MADV_RANDOM" },
	{ "sl", "mseal" },
	{ "sr", "MADV_SEQUENTIAL" },
	{ "ss", "shadow stack" },
	{ "wf", "MADV_WIPEONFORK" },
};

void why_free(struct why *why)
{
	for (size_t i = 0; i < why->flags_count; i++)
		free(why->flags[i]);
	free(why->flags);
	free(why->runs);
	memset(why, 0, sizeof(*why));
}

/* The number of the set; flags_count if there is no memory for it. */
static size_t find_flags(struct why *why, const char *flags, size_t length)
{
	char **sets;

	for (size_t i = 0; i < why->flags_count; i++) {
		if (strlen(why->flags[i]) == length &&
		    !memcmp(why->flags[i], flags, length))
			return i;
	}
	sets = realloc(why->flags, (why->flags_count + 1) * sizeof(*sets));
	if (!sets)
		return why->flags_count;
	why->flags = sets;
	sets[why->flags_count] = strndup(flags, length);
	if (!sets[why->flags_count])
		return why->flags_count;
	return why->flags_count++;
}

/* A new run of one pair. */
static struct why_run *add_run(struct why *why)
{
	struct why_run *runs;

	runs = room_for_one(why->runs, why->count, &why->room, sizeof(*runs));
	if (!runs)
		return NULL;
	why->runs = runs;
	return &why->runs[why->count++];
}

static bool add_pair(struct why *why, const struct maps_entry *entry,
		     const struct fragments *f)
{
	struct why_run *run = why->count ? &why->runs[why->count - 1] : NULL;
	const size_t flags = find_flags(why, f->differing, f->differing_length);

	if (flags == why->flags_count)
		return false;
	for (int i = 0; i < WHY_REASONS; i++)
		why->pairs[i] += (f->reasons & reasons[i].bit) != 0;
	if (!why->in_run || run->reasons != f->reasons || run->flags != flags) {
		run = add_run(why);
		if (!run)
			return false;
		*run = (struct why_run) {
			.start = why->last_start,
			.bytes = why->last_end - why->last_start,
			.mappings = 1,
			.reasons = f->reasons,
			.flags = flags,
		};
	}
	run->end = entry->end;
	run->bytes += entry->end - entry->start;
	run->mappings++;
	why->in_run = true;
	return true;
}

bool why_add(struct why *why, const struct maps_entry *entry,
	     const struct fragments *f)
{
	if (f->reasons) {
		if (!add_pair(why, entry, f))
			return false;
	} else {
		why->in_run = false;
	}
	why->last_start = entry->start;
	why->last_end = entry->end;
	return true;
}

/* ---- output --------------------------------------------------------------- */

static const char *flag_name(const char *flag)
{
	for (size_t i = 0; i < sizeof(flag_names) / sizeof(flag_names[0]); i++) {
		if (!memcmp(flag_names[i].flag, flag, 2))
			return flag_names[i].name;
	}
	return NULL;
}

/* "flags: nh (MADV_NOHUGEPAGE), dd (MADV_DONTDUMP); name" */
static void put_reasons(const struct why *why, const struct why_run *run,
			FILE *file)
{
	const char *before = "", *flag = why->flags[run->flags], *name;

	for (int i = 0; i < WHY_REASONS; i++) {
		if (!(run->reasons & reasons[i].bit))
			continue;
		fprintf(file, "%s%s", before, reasons[i].table);
		before = "; ";
		if (reasons[i].bit != FRAGMENTS_FLAGS)
			continue;
		for (const char *comma = ":"; *flag; comma = ",") {
			name = flag_name(flag);
			fprintf(file, "%s ", comma);
			text_put_line(file, flag, 2);
			if (name)
				fprintf(file, " (%s)", name);
			flag += flag[2] ? 3 : 2;
		}
	}
}

void why_put_table(const struct why *why, FILE *file)
{
	const struct why_run *run;

	fputs("\npairs of neighbours by reason\n", file);
	for (int i = 0; i < WHY_REASONS; i++)
		fprintf(file, "  %-26s %" PRIu64 "\n", reasons[i].table,
			why->pairs[i]);
	if (why->count)
		fputs("\naddresses                            mappings        KiB  reason\n",
		      file);
	for (size_t i = 0; i < why->count; i++) {
		run = &why->runs[i];
		fprintf(file, "%016" PRIx64 "-%016" PRIx64 " %11" PRIu64 " %10"
			PRIu64 "  ", run->start, run->end, run->mappings,
			run->bytes / 1024);
		put_reasons(why, run, file);
		putc('\n', file);
	}
}

static void put_json_run(const struct why *why, const struct why_run *run,
			 FILE *file)
{
	const char *before = "", *flag = why->flags[run->flags];

	/* Strings, since numbers so large are not exact everywhere. */
	fprintf(file, "{\"start\": \"%#" PRIx64 "\", \"end\": \"%#" PRIx64
		"\", \"bytes\": %" PRIu64 ", \"mappings\": %" PRIu64
		", \"reasons\": [", run->start, run->end, run->bytes,
		run->mappings);
	for (int i = 0; i < WHY_REASONS; i++) {
		if (run->reasons & reasons[i].bit) {
			fprintf(file, "%s\"%s\"", before, reasons[i].json);
			before = ", ";
		}
	}
	fputs("], \"flags\": [", file);
	for (before = ""; *flag; before = ", ") {
		fputs(before, file);
		text_put_json(file, flag, 2);
		flag += flag[2] ? 3 : 2;
	}
	fputs("]}", file);
}

void why_put_json(const struct why *why, FILE *file)
{
	fputs("\"pairs\": {", file);
	for (int i = 0; i < WHY_REASONS; i++)
		fprintf(file, "%s\"%s\": %" PRIu64, i ? ", " : "",
			reasons[i].json, why->pairs[i]);
	fputs("}, \"separate_runs\": [", file);
	for (size_t i = 0; i < why->count; i++) {
		fputs(i ? ", " : "", file);
		put_json_run(why, &why->runs[i], file);
	}
	putc(']', file);
}
