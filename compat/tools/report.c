/* SPDX-License-Identifier: LGPL-2.1-or-later */

#define _GNU_SOURCE
#include "report.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

/* Of a value; what is longer is cut. */
#define VALUE_SIZE 96

static void row(const char *label, const char *value)
{
	printf("  %-28s %s\n", label, *value ? value : "not there");
}

/*
 * Keep what such a value can consist of.  A slash or an at-sign would be part of a
 * path or of somebody's address.
 */
static void copy_value(char *to, const char *from)
{
	size_t length = 0;

	for (; *from && *from != '\n' && length < VALUE_SIZE - 1; from++) {
		if (isalnum((unsigned char)*from) || strchr("._-+~#:[]() ", *from))
			to[length++] = *from;
		else if (*from == '\t' && length)
			to[length++] = ' ';
	}
	to[length] = '\0';
}

/*
 * From a file, what follows key at the start of a line; key may be empty, for the first
 * line.  An empty text if there is no such line.
 */
static void read_value(const char *path, const char *key, char *value)
{
	const size_t length = strlen(key);
	FILE *file = fopen(path, "re");
	char line[256];
	bool at_start = true;

	*value = '\0';
	if (!file)
		return;
	while (fgets(line, sizeof(line), file)) {
		if (at_start && !strncmp(line, key, length)) {
			copy_value(value, line + length);
			break;
		}
		at_start = strchr(line, '\n');
	}
	fclose(file);
}

static void file_rows(void)
{
	static const struct {
		const char *label, *path, *key;
	} rows[] = {
		{ "distribution", "/etc/os-release", "ID=" },
		{ "its version", "/etc/os-release", "VERSION_ID=" },
		{ "memory", "/proc/meminfo", "MemTotal:" },
		{ "available", "/proc/meminfo", "MemAvailable:" },
		{ "swap", "/proc/meminfo", "SwapTotal:" },
		{ "this process: seccomp", "/proc/self/status", "Seccomp:" },
		{ "this process: no new privs", "/proc/self/status", "NoNewPrivs:" },
		{ "vm.coalesce_at_limit", "/proc/sys/vm/coalesce_at_limit", "" },
		{ "vm.overcommit_ratio", "/proc/sys/vm/overcommit_ratio", "" },
		{ "huge pages",
		  "/sys/kernel/mm/transparent_hugepage/enabled", "" },
		{ "huge pages: defrag",
		  "/sys/kernel/mm/transparent_hugepage/defrag", "" },
		{ "KSM", "/sys/kernel/mm/ksm/run", "" },
		{ "mremap_relocate", "/proc/vmstat", "mremap_relocate " },
		{ "mremap_relocate_fallback", "/proc/vmstat",
		  "mremap_relocate_fallback " },
		{ "mremap_relocate_folio", "/proc/vmstat",
		  "mremap_relocate_folio " },
		{ "coalesce_vma", "/proc/vmstat", "coalesce_vma " },
		{ "coalesce_folio", "/proc/vmstat", "coalesce_folio " },
	};
	char value[VALUE_SIZE];
	size_t i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		read_value(rows[i].path, rows[i].key, value);
		row(rows[i].label, value + strspn(value, " "));
	}
}

void report_system(void)
{
	char value[VALUE_SIZE];
	struct utsname uts;

	puts("\nFor a report");
	copy_value(value, uname(&uts) ? "" : uts.version);
	row("version of the kernel", value);
	copy_value(value, __VERSION__);
	row("compiler", value);
	snprintf(value, sizeof(value), "%zu bits", 8 * sizeof(void *));
	row("program", value);
	snprintf(value, sizeof(value), "%ld", sysconf(_SC_PAGESIZE));
	row("page size", value);
	snprintf(value, sizeof(value), "%ld", sysconf(_SC_NPROCESSORS_ONLN));
	row("processors", value);
	file_rows();
}
