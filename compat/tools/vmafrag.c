/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * vmafrag: how many mappings of a process touch a neighbour of the same kind
 * and have not merged with it, and what they cost; why; which processes
 * are near the limit; and how to merge them.  See vmafrag(1).
 */

#define _GNU_SOURCE
#include "fragments.h"
#include "heal.h"
#include "maps.h"
#include "mremap_compat.h"
#include "output.h"
#include "picture.h"
#include "process.h"
#include "text.h"
#include "top.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define NAME "vmafrag"

enum { EXIT_OK, EXIT_ERROR, EXIT_USAGE, EXIT_UNKNOWN, EXIT_NO_ADVICE };

static const char help[] =
"Usage: vmafrag [OPTION]... PID\n"
"       vmafrag --top[=N] [OPTION]... [PID|NAME]...\n"
"       vmafrag --heal [--progress] [--json] PID\n"
"       vmafrag --top[=N] --heal [OPTION]... [PID|NAME]...\n"
"       vmafrag --self-test\n"
"\n"
"Count the private anonymous mappings of process PID that touch a mapping of\n"
"the same kind and are separate from it, as memory is that mremap() has moved\n"
"after it was written.\n"
"\n"
"      --why              also list runs of neighbours that are separate, and why\n"
"      --top[=N]          the N processes (default 10) that are nearest to\n"
"                         vm.max_map_count, of all or of those named\n"
"      --heal             merge them, where they are, while the process goes on,\n"
"                         and say what was before and is after; with --top, those\n"
"                         of each process that is listed\n"
"      --progress         with --heal: say on standard error how far it is\n"
"      --watch[=SECONDS]  print a line every SECONDS (default 1) until the\n"
"                         process ends\n"
"      --warn PERCENT     exit with 1 if mappings are so much of vm.max_map_count\n"
"      --critical PERCENT exit with 2 if they are; with either, 3 for any error\n"
"      --json             print JSON, with --watch one object a line\n"
"      --prometheus       print metrics for the textfile collector\n"
"      --svg FILE         also draw the address space into FILE; - for standard\n"
"                         output, without the table\n"
"      --self-test        make such mappings and check that they are counted\n"
"      --help             print this and exit\n"
"      --version          print the version and exit\n"
"\n"
"What does not go together:\n"
"  --watch with --why, --prometheus, --svg, --warn, --critical, --top\n"
"  --top with --why, --svg\n"
"  --heal with --watch, --why, --warn, --critical, --svg\n"
"  --prometheus with --why, --json, --heal\n"
"  --svg - with --why, --json, --prometheus\n"
"  --self-test with any other\n"
"\n"
"Separate neighbours have the same protection, name, flags (/proc/PID/smaps) and\n"
"memory policy.  They may still be separate for another reason than mremap():\n"
"memory that was first written apart, or different userfaultfds.\n"
"\n"
"The kernel memory is an estimate: for each separate neighbour at least a\n"
"vm_area_struct and an anon_vma_chain, at most also an anon_vma of its own.\n"
"Their sizes come from /proc/slabinfo if it can be read (root), else they are\n"
"those of a usual x86-64 kernel: 192, 64 and 104 bytes.\n"
"\n"
"--heal needs a kernel with MADV_COALESCE, the capability CAP_SYS_NICE, and the\n"
"permission to read the memory of the process.  What stays apart, and why, is a\n"
"guess by what /proc shows.\n"
"\n"
"Exit status: 0 success, 1 error, 2 wrong usage, 4 the kernel does not have what\n"
"--heal needs, and nothing has been changed; with --warn or --critical\n"
"0 below both, 1 warning, 2 critical, 3 error or wrong usage, which is printed on\n"
"standard output as well: UNKNOWN and why, but not with --json or --prometheus.\n";

struct options {
	char *const *arguments;	/* PIDs and names */
	size_t argument_count;
	int pid;		/* 0: none */
	int watch_ms;		/* 0: once */
	size_t top;		/* how many; 0: one process */
	bool json, prometheus, why;
	bool heal, progress;
	bool self_test;
	struct thresholds thresholds;
	bool monitoring;	/* has thresholds: other exit statuses */
	bool parsed;		/* all of them */
	const char *svg;	/* NULL: none */
};

/* ---- messages ------------------------------------------------------------ */

/* Whether there has been one: a status of 1 or 2 can also be that of a process. */
static bool complained;
static char complaint[512];	/* the last of them */

__attribute__((format(printf, 1, 0)))
static void complain(const char *format, va_list arguments)
{
	va_list again;

	complained = true;
	va_copy(again, arguments);
	vsnprintf(complaint, sizeof(complaint), format, again);
	va_end(again);
	/* What has been printed comes first where both go to one place. */
	fflush(stdout);
	fputs(NAME ": ", stderr);
	vfprintf(stderr, format, arguments);
	putc('\n', stderr);
}

__attribute__((format(printf, 1, 2)))
static int usage_error(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	complain(format, arguments);
	va_end(arguments);
	fputs("Try '" NAME " --help' for more information.\n", stderr);
	return EXIT_USAGE;
}

__attribute__((format(printf, 1, 2)))
static int error(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	complain(format, arguments);
	va_end(arguments);
	return EXIT_ERROR;
}

static bool only_digits(const char *text)
{
	return *text && text[strspn(text, "0123456789")] == '\0';
}

/* ---- the process --------------------------------------------------------- */

static int no_memory(const char *process)
{
	return error("process %s has no memory: it has ended or is a kernel thread",
		     process);
}

static int no_memory_of(int number)
{
	char pid[16];

	snprintf(pid, sizeof(pid), "%d", number);
	return no_memory(pid);
}

static int read_error(const struct process *process, int err)
{
	if (err == ESRCH)
		return no_memory_of(process->pid);
	if (err != EACCES && err != EPERM)
		return error("cannot read /proc/%d/maps: %s", process->pid,
			     strerror(err));
	return error("cannot read /proc/%d/maps: %s (%s)", process->pid,
		     strerror(err), process_refusal(process));
}

static int foreign_error(int pid)
{
	return error("/proc is that of another PID namespace: its process %d is not the one that the kernel knows here by that number",
		     pid);
}

/* EXIT_OK or EXIT_ERROR, which has been explained. */
static int open_process(int pid, struct process *process)
{
	const int err = process_open(pid, process);

	if (!err)
		return EXIT_OK;
	if (err != ENOENT)
		return error("cannot open /proc/%d: %s", pid, strerror(err));
	if (access("/proc/self/maps", F_OK))
		return error("cannot read /proc: is it mounted?");
	return error("there is no process %d", pid);
}

/* ---- output -------------------------------------------------------------- */

static bool is_stdout(const char *path)
{
	return !strcmp(path, "-");
}

static int put_svg(const char *path, const struct process *process,
		   const struct sample *sample)
{
	const struct fragments *count = &sample->count;
	char title[128], subtitle[256], limit[64] = "";
	int length, failed;
	FILE *file = stdout;

	if (!is_stdout(path))
		file = fopen(path, "we");
	if (!file)
		return error("cannot write %s: %s", path, strerror(errno));
	length = snprintf(title, sizeof(title),
			  "Address space of process %d (%.*s)", process->pid,
			  (int)sample->command_length, sample->command);
	if (sample->limit)
		snprintf(limit, sizeof(limit), " of at most %" PRIu64,
			 sample->limit);
	snprintf(subtitle, sizeof(subtitle),
		 "%" PRIu64 " mappings%s, of these %" PRIu64
		 " separate neighbours in %" PRIu64
		 " run%s. Sizes are logarithmic, gaps not to scale.",
		 count->mappings, limit, count->separate, count->runs,
		 count->runs == 1 ? "" : "s");
	picture_write(&sample->picture, file, title, (size_t)length, subtitle);
	/* main() looks after standard output. */
	if (file == stdout)
		return EXIT_OK;
	failed = ferror(file);
	failed |= fclose(file);
	return failed ? error("cannot write %s: %s", path, strerror(errno)) :
			EXIT_OK;
}

/* ---- commands ------------------------------------------------------------ */

/* True if the process has ended, after at most so many milliseconds. */
static bool wait_for_end(const struct process *process, int milliseconds)
{
	struct pollfd fd = { .fd = process->pidfd, .events = POLLIN };

	/* Without a pidfd (negative: ignored) it just waits. */
	return poll(&fd, 1, milliseconds) > 0;
}

static void put_json(const struct process *process, const struct sample *sample,
		     const struct object_sizes *sizes,
		     const struct options *options)
{
	printf("{\"schema_version\": %d, ", OUTPUT_SCHEMA_VERSION);
	output_json(process->pid, sample, sizes, &options->thresholds);
	if (options->why) {
		fputs(", ", stdout);
		why_put_json(&sample->why, stdout);
	}
	puts("}");
}

static int watch(const struct process *process, const struct options *options,
		 struct sample *sample, const struct object_sizes *sizes)
{
	bool seen = false;
	int err;

	for (;;) {
		err = process_sample(process, sample);
		if (err == ESRCH && seen)
			return EXIT_OK;
		if (err)
			return read_error(process, err);
		seen = true;
		if (options->json)
			put_json(process, sample, sizes, options);
		else
			output_line(sample, sizes);
		if (fflush(stdout))
			return error("cannot write: %s", strerror(errno));
		if (wait_for_end(process, options->watch_ms))
			return EXIT_OK;
	}
}

/* The states are the exit statuses of monitoring plugins. */
static int state_status(enum state state)
{
	static const int statuses[] = {
		[STATE_OK] = EXIT_OK,
		[STATE_WARNING] = 1,
		[STATE_CRITICAL] = 2,
		[STATE_UNKNOWN] = EXIT_UNKNOWN,
	};

	return statuses[state];
}

static bool has_state;		/* has been printed */

static void put_state(enum state state, int pid, const struct sample *sample,
		      uint64_t unreadable)
{
	output_state_line(state, pid, sample, unreadable);
	has_state = true;
}

/* Once, in the format that is wanted; an exit status. */
static int put_sample(const struct process *process,
		      const struct options *options,
		      const struct sample *sample,
		      const struct object_sizes *sizes)
{
	const struct output_one one = { process->pid, sample };
	const enum state state = options->monitoring ?
		output_state(sample, &options->thresholds) : STATE_OK;
	int status = EXIT_OK;

	/* First, so that no state is shown if it fails. */
	if (options->svg)
		status = put_svg(options->svg, process, sample);
	if (status != EXIT_OK)
		return status;
	if (options->json) {
		put_json(process, sample, sizes, options);
	} else if (options->prometheus) {
		output_prometheus(&one, 1, sample->limit, sizes);
	} else if (!options->svg || !is_stdout(options->svg)) {
		if (options->monitoring)
			put_state(state, process->pid, sample, 0);
		output_table(process->pid, sample, sizes);
		if (options->why)
			why_put_table(&sample->why, stdout);
	}
	if (state == STATE_UNKNOWN)
		return error("cannot read /proc/sys/vm/max_map_count");
	return state_status(state);
}

static int show(const struct options *options)
{
	const struct object_sizes sizes = output_object_sizes();
	struct sample sample = {
		.draw = options->svg != NULL,
		.explain = options->why,
	};
	struct process process;
	int err, status;

	status = open_process(options->pid, &process);
	if (status != EXIT_OK)
		return status;
	if (options->watch_ms && process.foreign) {
		status = foreign_error(process.pid);
	} else if (options->watch_ms) {
		status = watch(&process, options, &sample, &sizes);
	} else {
		err = process_sample(&process, &sample);
		if (err)
			status = read_error(&process, err);
		else
			status = put_sample(&process, options, &sample, &sizes);
	}
	process_free(&sample);
	process_close(&process);
	return status;
}

static int top_error(const struct options *options, int err, const char *wanted)
{
	if (err == ENODATA)
		return no_memory(wanted);
	if (wanted && only_digits(wanted))
		return error("there is no process %s", wanted);
	if (wanted)
		return error("there is no process with the name '%s'", wanted);
	if (err)
		return error("cannot read /proc: %s", strerror(err));
	if (options->argument_count)
		return error("not all of these processes may be read%s",
			     geteuid() ? "; run as root" : "");
	return error("no process may be read");
}

static int put_top(const struct options *options, const struct top *top)
{
	enum state state = STATE_OK;

	/* The first has most mappings, so none is in a worse state. */
	if (options->monitoring)
		state = output_state(&top->all[0].sample, &options->thresholds);
	if (options->json) {
		top_put_json(top, options->top, &options->thresholds);
	} else if (options->prometheus) {
		if (!top_put_prometheus(top, options->top))
			return error("%s", strerror(ENOMEM));
	} else {
		if (options->monitoring)
			put_state(state, top->all[0].pid, &top->all[0].sample,
				  top->unreadable);
		top_put_table(top, options->top);
	}
	if (state == STATE_UNKNOWN)
		return error("cannot read /proc/sys/vm/max_map_count");
	return state_status(state);
}

/* ---- merging ------------------------------------------------------------- */

/* Whether a step has been done, of whatever process. */
static bool changed;

/* EXIT_OK if it is there. */
static int check_support(void)
{
	switch (heal_support()) {
	case HEAL_SUPPORTED:
		return EXIT_OK;
	case HEAL_NO_ADVICE:
		error("this kernel does not have MADV_COALESCE; nothing has been changed (relocate-anon(7) has other cures)");
		return EXIT_NO_ADVICE;
	case HEAL_FORBIDDEN:
		return error("MADV_COALESCE is forbidden here, as by a seccomp filter; nothing has been changed");
	default:
		return error("no memory or mappings to find out whether the kernel has MADV_COALESCE");
	}
}

static void show_progress(const struct heal *heal)
{
	fprintf(stderr, NAME ": process %d: %" PRIu64 " of %" PRIu64
		" step%s done\n", heal->pid, heal->done, heal->steps,
		heal->steps == 1 ? "" : "s");
}

static void do_heal(const struct process *process, struct heal *heal,
		    const struct options *options)
{
	heal_process(process, heal, options->progress ? show_progress : NULL);
	changed |= heal->done > 0;
}

static int advice_error(const struct heal *heal)
{
	const char *reason = strerror(heal->err);

	if (heal->err == EINVAL && !changed) {
		error("process_madvise(2) of this kernel does not take MADV_COALESCE; nothing has been changed");
		return EXIT_NO_ADVICE;
	}
	switch (heal->err) {
	case ESRCH:
		return error("process %d has ended meanwhile, after %" PRIu64
			     " of %" PRIu64 " steps", heal->pid, heal->done,
			     heal->steps);
	case EPERM:
	case EACCES:
		return error("process %d may not be changed: %s (%s)",
			     heal->pid, reason, geteuid() ?
			     "it takes CAP_SYS_NICE and the permission to read its memory; run as root" :
			     "although root may: CAP_SYS_NICE is missing, as in a container, or something forbids it");
	default:
		return error("process_madvise(2) of process %d: %s, after %"
			     PRIu64 " of %" PRIu64 " steps", heal->pid, reason,
			     heal->done, heal->steps);
	}
}

/* EXIT_OK, or what it came to an end for, which has been explained. */
static int heal_status(const struct process *process, const struct heal *heal)
{
	switch (heal->end) {
	case HEAL_DONE:
		return EXIT_OK;
	case HEAL_FOREIGN:
		return foreign_error(heal->pid);
	case HEAL_NO_PIDFD:
		if (heal->err == ESRCH)
			return no_memory_of(heal->pid);
		return error("cannot have a descriptor of process %d: pidfd_open(2): %s",
			     heal->pid, strerror(heal->err));
	case HEAL_ADVICE:
		return advice_error(heal);
	case HEAL_READ_AFTER:
		if (heal->err == ESRCH)
			return error("process %d has ended meanwhile, after all of %"
				     PRIu64 " steps", heal->pid, heal->steps);
		return read_error(process, heal->err);
	default:
		return read_error(process, heal->err);
	}
}

/* Whether there is something to show: it has been looked at before and after. */
static bool is_known(const struct heal *heal)
{
	return heal->before.count.mappings && heal->after.count.mappings &&
	       (heal->end == HEAL_DONE || heal->done);
}

static int show_heal(const struct options *options)
{
	const struct object_sizes sizes = output_object_sizes();
	struct process process;
	struct heal heal;
	int status;

	status = open_process(options->pid, &process);
	if (status != EXIT_OK)
		return status;
	status = check_support();
	if (status == EXIT_OK) {
		do_heal(&process, &heal, options);
		if (is_known(&heal) && options->json) {
			printf("{\"schema_version\": %d, \"healed\": [{",
			       OUTPUT_SCHEMA_VERSION);
			heal_put_json(&heal, &sizes);
			puts("}]}");
		} else if (is_known(&heal)) {
			heal_put_table(&heal, &sizes);
		}
		status = heal_status(&process, &heal);
		heal_free(&heal);
	}
	process_close(&process);
	return status;
}

/* One of many; what has been printed so far of JSON is counted. */
static int heal_one(const struct top_one *one, const struct options *options,
		    const struct object_sizes *sizes, size_t *shown)
{
	struct process process;
	struct heal heal;
	int status;

	/* As many do that are looked at, it may have ended. */
	if (process_open(one->pid, &process))
		return EXIT_OK;
	/* Another has its number now, and is not listed. */
	if (process_start_time(&process) != one->start_time) {
		process_close(&process);
		return EXIT_OK;
	}
	do_heal(&process, &heal, options);
	if (is_known(&heal)) {
		if (options->json) {
			fputs((*shown)++ ? ", {" : "{", stdout);
			heal_put_json(&heal, sizes);
			putchar('}');
		} else {
			heal_put_line(&heal, sizes);
		}
		fflush(stdout);
	}
	status = heal.end != HEAL_DONE && heal.err == ESRCH ? EXIT_OK :
		 heal_status(&process, &heal);
	heal_free(&heal);
	process_close(&process);
	return status;
}

/* All that are listed, also if one of them cannot be. */
static int heal_top(const struct options *options, const struct top *top)
{
	const struct object_sizes sizes = output_object_sizes();
	const size_t count = top->count < options->top ? top->count :
							 options->top;
	int worst = check_support();
	size_t shown = 0;

	if (worst != EXIT_OK)
		return worst;
	if (options->json)
		printf("{\"schema_version\": %d, \"healed\": [",
		       OUTPUT_SCHEMA_VERSION);
	else
		heal_put_title();
	for (size_t i = 0; i < count; i++) {
		const int status = heal_one(&top->all[i], options, &sizes,
					    &shown);

		if (worst == EXIT_OK)
			worst = status;
	}
	if (options->json) {
		puts("]}");
	} else if (top->unreadable) {
		output_unreadable("", top->unreadable);
		puts(geteuid() ? "; run as root" : "");
	}
	return worst == EXIT_NO_ADVICE && changed ? EXIT_ERROR : worst;
}

/* ---- many ----------------------------------------------------------------- */

static int show_top(const struct options *options)
{
	const char *wanted;
	struct top top;
	int err, status;

	err = top_read(&top, options->arguments, options->argument_count,
		       &wanted);
	if (err || !top.count || (options->argument_count && top.unreadable))
		status = top_error(options, err, wanted);
	else if (options->heal)
		status = heal_top(options, &top);
	else
		status = put_top(options, &top);
	top_free(&top);
	return status;
}

/* ---- self-test ----------------------------------------------------------- */

/* Counts what lies in one range. */
struct range_count {
	uint64_t start, end;
	struct fragments count;
};

static bool visit_range(const struct maps_entry *entry,
			const struct fragments_kind *kind, void *data)
{
	struct range_count *range = data;

	if (!entry)
		fragments_init(&range->count);
	else if (entry->start >= range->start && entry->end <= range->end)
		fragments_add(&range->count, entry, kind);
	return true;
}

static bool count_range(enum fragments_way way, struct range_count *range)
{
	const int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
	int result;

	if (fd < 0)
		return false;
	result = fragments_walk(fd, way, visit_range, range);
	close(fd);
	return !result;
}

/* Compare, and say it.  Each way that the kernel has must give the same. */
static bool check_range(const char *what, char *start, size_t size,
			uint64_t mappings)
{
	static const struct {
		enum fragments_way way;
		const char *name;
	} ways[] = {
		{ FRAGMENTS_QUERY, "PROCMAP_QUERY" },
		{ FRAGMENTS_TEXT, "text" },
	};
	const uint64_t runs = mappings > 1;
	struct range_count range = {
		.start = (uintptr_t)start,
		.end = (uintptr_t)start + size,
	};
	const struct fragments *count = &range.count;
	bool good, all_good = true;

	for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
		if (!count_range(ways[i].way, &range)) {
			if (ways[i].way == FRAGMENTS_QUERY)
				continue;	/* an older kernel */
			error("cannot read /proc/self/maps: %s",
			      strerror(errno));
			return false;
		}
		good = count->mappings == mappings &&
		       count->anonymous == mappings &&
		       count->separate == mappings - 1 &&
		       count->runs == runs &&
		       count->longest == (runs ? mappings : 0);
		printf("%s, %s: %" PRIu64 " mappings, %" PRIu64
		       " separate neighbours%s\n", what, ways[i].name,
		       count->mappings, count->separate,
		       good ? "" : ": WRONG");
		all_good &= good;
	}
	return all_good;
}

#define SELF_TEST_PAGES 64

/*
 * Written pages that are moved into the opposite order can never merge:
 *
 *	source	  |0|1|2|3|	one mapping
 *	target	  |3|2|1|0|	as many as pages
 *
 * Between two guard pages, so that nothing else touches them.
 */
static int self_test(void)
{
	const size_t page = (size_t)sysconf(_SC_PAGESIZE);
	const size_t size = SELF_TEST_PAGES * page;
	char *area, *source, *target;
	bool good;

	area = mmap(NULL, 2 * size + 3 * page, PROT_NONE,
		    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (area == MAP_FAILED)
		return error("self-test: mmap: %s", strerror(errno));
	source = area + page;
	target = source + size + page;
	if (mprotect(source, size, PROT_READ | PROT_WRITE))
		return error("self-test: mprotect: %s", strerror(errno));
	/* One page at a time, whatever the policy for huge pages. */
	madvise(source, size, MADV_NOHUGEPAGE);
	memset(source, 1, size);

	good = check_range("before", source, size, 1);
	for (size_t i = 0; i < SELF_TEST_PAGES; i++) {
		if (mremap(source + i * page, page, page,
			   MREMAP_MAYMOVE | MREMAP_FIXED,
			   target + size - (i + 1) * page) == MAP_FAILED)
			return error("self-test: mremap: %s", strerror(errno));
	}
	good &= check_range("after", target, size, SELF_TEST_PAGES);
	munmap(area, 2 * size + 3 * page);
	printf("self-test: %s\n", good ? "ok" : "FAILED");
	return good ? EXIT_OK : EXIT_ERROR;
}

/* ---- command line -------------------------------------------------------- */

/* A process ID, 0 if it is none. */
static int parse_pid(const char *text)
{
	unsigned long value;

	if (!only_digits(text))
		return 0;
	errno = 0;
	value = strtoul(text, NULL, 10);
	return errno || value > INT_MAX ? 0 : (int)value;
}

/*
 * Digits with a decimal point or without: no sign, exponent, hexadecimal or
 * infinity.  Negative if it is no such number.
 */
static double parse_decimal(const char *text)
{
	double value;
	char *end;

	if (!*text || text[strspn(text, "0123456789.")])
		return -1;
	value = strtod(text, &end);
	return *end ? -1 : value;
}

/* Seconds as milliseconds, 0 if it is not from 0.001 to a day. */
static int parse_interval(const char *text)
{
	const double seconds = parse_decimal(text);

	if (seconds < 0.001 || seconds > 86400)
		return 0;
	return (int)(seconds * 1000 + 0.5);
}

/* Of the limit, 0 if it is not above 0 and up to 100. */
static double parse_percent(const char *text)
{
	const double percent = parse_decimal(text);

	return percent > 0 && percent <= 100 ? percent : 0;
}

enum { OPT_WATCH = 256, OPT_JSON, OPT_SVG, OPT_SELF_TEST, OPT_HELP,
       OPT_VERSION, OPT_WHY, OPT_TOP, OPT_WARN, OPT_CRITICAL, OPT_PROMETHEUS,
       OPT_HEAL, OPT_PROGRESS };

static const struct option option_names[] = {
	{ "watch", optional_argument, NULL, OPT_WATCH },
	{ "why", no_argument, NULL, OPT_WHY },
	{ "top", optional_argument, NULL, OPT_TOP },
	{ "heal", no_argument, NULL, OPT_HEAL },
	{ "progress", no_argument, NULL, OPT_PROGRESS },
	{ "warn", required_argument, NULL, OPT_WARN },
	{ "critical", required_argument, NULL, OPT_CRITICAL },
	{ "json", no_argument, NULL, OPT_JSON },
	{ "prometheus", no_argument, NULL, OPT_PROMETHEUS },
	{ "svg", required_argument, NULL, OPT_SVG },
	{ "self-test", no_argument, NULL, OPT_SELF_TEST },
	{ "help", no_argument, NULL, OPT_HELP },
	{ "version", no_argument, NULL, OPT_VERSION },
	{ NULL, 0, NULL, 0 }
};

/* What goes together; EXIT_OK or what to exit with. */
static int check_options(const struct options *options)
{
	const struct thresholds *thresholds = &options->thresholds;

	if (options->self_test) {
		if (options->watch_ms || options->json || options->svg ||
		    options->why || options->top || options->prometheus ||
		    options->heal || options->progress || options->monitoring || options->argument_count)
			return usage_error("--self-test goes with nothing else");
		return EXIT_OK;
	}
	if (options->heal &&
	    (options->watch_ms || options->why || options->monitoring ||
	     options->prometheus || options->svg))
		return usage_error("--heal goes with --top, --json and --progress only");
	if (options->progress && !options->heal)
		return usage_error("--progress is for --heal");
	if (options->json && options->prometheus)
		return usage_error("--json does not go with --prometheus");
	if (options->why && options->prometheus)
		return usage_error("--why does not go with --prometheus");
	if (options->watch_ms && options->svg)
		return usage_error("--svg does not go with --watch");
	if (options->watch_ms && (options->why || options->prometheus))
		return usage_error("--%s does not go with --watch",
				   options->why ? "why" : "prometheus");
	if (options->watch_ms && options->monitoring)
		return usage_error("--warn and --critical do not go with --watch");
	if (options->svg && is_stdout(options->svg) &&
	    (options->json || options->prometheus || options->why))
		return usage_error("--svg - cannot be combined with other output");
	if (thresholds->warn > 0 && thresholds->critical > 0 &&
	    thresholds->warn > thresholds->critical)
		return usage_error("--warn must not be above --critical");
	if (options->top) {
		if (options->watch_ms || options->svg || options->why)
			return usage_error("--top does not go with --watch, --svg or --why");
		return EXIT_OK;
	}
	if (!options->argument_count)
		return usage_error("which process?  A PID is missing");
	if (options->argument_count > 1)
		return usage_error("only one PID can be given");
	if (!options->pid)
		return usage_error("'%s' is no PID", options->arguments[0]);
	return EXIT_OK;
}

/* How many are shown, 0 if it is no such number. */
static size_t parse_top(const char *text)
{
	return (size_t)parse_pid(text);
}

/* EXIT_OK with options, or what to exit with; *done for --help and such. */
static int parse_options(int argc, char **argv, struct options *options,
			 bool *done)
{
	double *percent;
	int option;

	while ((option = getopt_long(argc, argv, "", option_names,
				     NULL)) != -1) {
		switch (option) {
		case OPT_WATCH:
			options->watch_ms = parse_interval(optarg ? optarg :
							   "1");
			if (!options->watch_ms)
				return usage_error("'%s' is no number of seconds from 0.001 to 86400",
						   optarg);
			break;
		case OPT_TOP:
			options->top = parse_top(optarg ? optarg : "10");
			if (!options->top)
				return usage_error("'%s' is no number of processes",
						   optarg);
			break;
		case OPT_WARN:
		case OPT_CRITICAL:
			percent = option == OPT_WARN ?
				  &options->thresholds.warn :
				  &options->thresholds.critical;
			options->monitoring = true;
			*percent = parse_percent(optarg);
			if (!(*percent > 0))
				return usage_error("'%s' is not a percentage above 0 and up to 100",
						   optarg);
			break;
		case OPT_WHY:
			options->why = true;
			break;
		case OPT_HEAL:
			options->heal = true;
			break;
		case OPT_PROGRESS:
			options->progress = true;
			break;
		case OPT_JSON:
			options->json = true;
			break;
		case OPT_PROMETHEUS:
			options->prometheus = true;
			break;
		case OPT_SVG:
			options->svg = optarg;
			break;
		case OPT_SELF_TEST:
			options->self_test = true;
			break;
		case OPT_HELP:
			fputs(help, stdout);
			*done = true;
			return EXIT_OK;
		case OPT_VERSION:
			printf(NAME " (relocate-anon) %d.%d.%d\n",
			       MREMAP_COMPAT_VERSION_MAJOR,
			       MREMAP_COMPAT_VERSION_MINOR,
			       MREMAP_COMPAT_VERSION_PATCH);
			*done = true;
			return EXIT_OK;
		default:
			/* getopt has said what is wrong. */
			complained = true;
			options->monitoring |= optopt == OPT_WARN ||
					       optopt == OPT_CRITICAL;
			strcpy(complaint, "wrong usage");
			fputs("Try '" NAME " --help' for more information.\n",
			      stderr);
			return EXIT_USAGE;
		}
	}
	options->parsed = true;
	options->arguments = argv + optind;
	options->argument_count = (size_t)(argc - optind);
	if (options->argument_count == 1)
		options->pid = parse_pid(argv[optind]);
	return check_options(options);
}

/*
 * The options for monitoring among those that have not been parsed yet, where 2 must
 * not be the status for wrong usage; and those for another format.
 */
static void parse_rest(int argc, char **argv, struct options *options)
{
	int option;

	opterr = 0;
	while ((option = getopt_long(argc, argv, "", option_names,
				     NULL)) != -1) {
		options->monitoring |= option == OPT_WARN ||
				       option == OPT_CRITICAL;
		options->json |= option == OPT_JSON;
		options->prometheus |= option == OPT_PROMETHEUS;
		if (option == OPT_SVG)
			options->svg = optarg;
	}
}

int main(int argc, char **argv)
{
	struct options options = { 0 };
	bool done = false;
	int status;

	/* For the messages of getopt. */
	argv[0] = (char *)NAME;
	status = parse_options(argc, argv, &options, &done);
	if (complained && !options.parsed)
		parse_rest(argc, argv, &options);
	if (!complained && !done) {
		if (options.self_test)
			status = self_test();
		else if (options.top)
			status = show_top(&options);
		else if (options.heal)
			status = show_heal(&options);
		else
			status = show(&options);
	}
	if ((fflush(stdout) || ferror(stdout)) && !complained)
		status = error("cannot write: %s", strerror(errno));
	if (!complained || !options.monitoring)
		return status;
	/* What a monitoring system shows of a plugin is its standard output. */
	if (!has_state && !options.json && !options.prometheus &&
	    !(options.svg && is_stdout(options.svg))) {
		fputs("UNKNOWN: ", stdout);
		text_put_line(stdout, complaint, strlen(complaint));
		putchar('\n');
		fflush(stdout);
	}
	return EXIT_UNKNOWN;
}
