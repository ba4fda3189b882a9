/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * vmafrag: how many mappings of a process touch a neighbour of the same kind
 * and have not merged with it, and what they cost.  See vmafrag(1).
 */

#define _GNU_SOURCE
#include "fragments.h"
#include "maps.h"
#include "mremap_compat.h"
#include "picture.h"
#include "process.h"
#include "text.h"

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

enum { EXIT_OK, EXIT_ERROR, EXIT_USAGE };

static const char help[] =
"Usage: vmafrag [--watch[=SECONDS]] [--json] [--svg FILE] PID\n"
"       vmafrag --self-test\n"
"\n"
"Count the private anonymous mappings of process PID that touch a mapping of\n"
"the same kind and are separate from it, as memory is that mremap() has moved\n"
"after it was written.\n"
"\n"
"      --watch[=SECONDS]  print a line every SECONDS (default 1) until the\n"
"                         process ends\n"
"      --json             print JSON, with --watch one object a line\n"
"      --svg FILE         also draw the address space into FILE; - for standard\n"
"                         output, without the table\n"
"      --self-test        make such mappings and check that they are counted\n"
"      --help             print this and exit\n"
"      --version          print the version and exit\n"
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
"Exit status: 0 success, 1 error, 2 wrong usage.\n";

struct options {
	int pid;		/* 0: none */
	int watch_ms;		/* 0: once */
	bool json;
	bool self_test;
	const char *svg;	/* NULL: none */
};

/* ---- messages ------------------------------------------------------------ */

__attribute__((format(printf, 1, 2)))
static int usage_error(const char *format, ...)
{
	va_list arguments;

	fputs(NAME ": ", stderr);
	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	fputs("\nTry '" NAME " --help' for more information.\n", stderr);
	return EXIT_USAGE;
}

__attribute__((format(printf, 1, 2)))
static int error(const char *format, ...)
{
	va_list arguments;

	/* What has been printed comes first where both go to one place. */
	fflush(stdout);
	fputs(NAME ": ", stderr);
	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	putc('\n', stderr);
	return EXIT_ERROR;
}

/* ---- the system ---------------------------------------------------------- */

/* The kernel's objects for a mapping, in bytes. */
struct object_sizes {
	unsigned int vma, anon_vma, chain;
	bool measured;		/* all of them, by /proc/slabinfo */
};

static struct object_sizes read_object_sizes(void)
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

/* ---- the process --------------------------------------------------------- */

static int read_error(const struct process *process, int err)
{
	if (err == ESRCH)
		return error("process %d has no memory: it has ended or is a kernel thread",
			     process->pid);
	if (err != EACCES && err != EPERM)
		return error("cannot read /proc/%d/maps: %s", process->pid,
			     strerror(err));
	return error("cannot read /proc/%d/maps: %s (%s)", process->pid,
		     strerror(err), process_refusal(process));
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

/* Kernel memory of the mappings that would be gone, in bytes. */
struct cost {
	uint64_t least, most;
};

static struct cost cost_of(const struct sample *sample,
			   const struct object_sizes *sizes)
{
	const uint64_t count = sample->count.separate;

	return (struct cost) {
		.least = count * (sizes->vma + sizes->chain),
		.most = count * (sizes->vma + sizes->chain + sizes->anon_vma),
	};
}

static uint64_t kib(uint64_t bytes)
{
	return (bytes + 1023) / 1024;
}

static double percent(uint64_t part, uint64_t whole)
{
	return 100.0 * (double)part / (double)whole;
}

/* "of 65530 (12.3 %)", if the limit is known. */
static void put_of_limit(FILE *file, uint64_t mappings, uint64_t limit)
{
	if (limit)
		fprintf(file, " of %" PRIu64 " (%.1f %%)", limit,
			percent(mappings, limit));
	else
		fputs(" (limit unknown)", file);
}

static void put_table(const struct process *process,
		      const struct sample *sample,
		      const struct object_sizes *sizes)
{
	const struct fragments *count = &sample->count;
	const struct cost cost = cost_of(sample, sizes);

	printf("process              %d (", process->pid);
	text_put_line(stdout, sample->command, sample->command_length);
	printf(")\nmappings             %" PRIu64, count->mappings);
	put_of_limit(stdout, count->mappings, sample->limit);
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
	put_of_limit(stdout, count->mappings - count->separate, sample->limit);
	printf("\ntheir kernel memory  %s%" PRIu64, cost.most ? "about " : "",
	       kib(cost.least));
	if (kib(cost.most) != kib(cost.least))
		printf(" to %" PRIu64, kib(cost.most));
	printf(" KiB\n");
}

static void put_line(const struct sample *sample,
		     const struct object_sizes *sizes)
{
	const struct fragments *count = &sample->count;
	const struct cost cost = cost_of(sample, sizes);
	struct tm local = { 0 };
	char clock[16];

	localtime_r(&sample->time.tv_sec, &local);
	strftime(clock, sizeof(clock), "%H:%M:%S  ", &local);
	printf("%smappings %" PRIu64, clock, count->mappings);
	put_of_limit(stdout, count->mappings, sample->limit);
	printf("  separate neighbours %" PRIu64 "  kernel memory %" PRIu64
	       " to %" PRIu64 " KiB\n", count->separate, kib(cost.least),
	       kib(cost.most));
}

static void put_json(const struct process *process,
		     const struct sample *sample,
		     const struct object_sizes *sizes)
{
	const struct fragments *count = &sample->count;
	const struct cost cost = cost_of(sample, sizes);

	printf("{\"time\": %lld.%03ld, \"pid\": %d, \"command\": ",
	       (long long)sample->time.tv_sec, sample->time.tv_nsec / 1000000,
	       process->pid);
	text_put_json(stdout, sample->command, sample->command_length);
	printf(", \"mappings\": %" PRIu64, count->mappings);
	if (sample->limit)
		printf(", \"max_map_count\": %" PRIu64 ", \"percent\": %.1f",
		       sample->limit, percent(count->mappings, sample->limit));
	else
		printf(", \"max_map_count\": null, \"percent\": null");
	printf(", \"anonymous\": %" PRIu64 ", \"separate_neighbours\": %" PRIu64
	       ", \"runs\": %" PRIu64 ", \"longest_run\": %" PRIu64
	       ", \"mappings_if_merged\": %" PRIu64, count->anonymous,
	       count->separate, count->runs, count->longest,
	       count->mappings - count->separate);
	printf(", \"flags_compared\": %s",
	       sample->compared ? "true" : "false");
	printf(", \"kernel_bytes_min\": %" PRIu64 ", \"kernel_bytes_max\": %"
	       PRIu64, cost.least, cost.most);
	printf(", \"object_sizes\": {\"vm_area_struct\": %u, \"anon_vma\": %u, \"anon_vma_chain\": %u, \"source\": \"%s\"}}\n",
	       sizes->vma, sizes->anon_vma, sizes->chain,
	       sizes->measured ? "slabinfo" : "default");
}

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
			put_json(process, sample, sizes);
		else
			put_line(sample, sizes);
		if (fflush(stdout))
			return error("cannot write: %s", strerror(errno));
		if (wait_for_end(process, options->watch_ms))
			return EXIT_OK;
	}
}

static int show(const struct options *options)
{
	const struct object_sizes sizes = read_object_sizes();
	struct sample sample = { .draw = options->svg != NULL };
	struct process process;
	int err, status;

	status = open_process(options->pid, &process);
	if (status != EXIT_OK)
		return status;
	if (options->watch_ms) {
		status = watch(&process, options, &sample, &sizes);
	} else {
		err = process_sample(&process, &sample);
		if (err) {
			status = read_error(&process, err);
		} else {
			if (options->json)
				put_json(&process, &sample, &sizes);
			else if (!options->svg || !is_stdout(options->svg))
				put_table(&process, &sample, &sizes);
			if (options->svg)
				status = put_svg(options->svg, &process,
						 &sample);
		}
	}
	picture_free(&sample.picture);
	process_close(&process);
	return status;
}

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

static bool only_digits(const char *text)
{
	return *text && text[strspn(text, "0123456789")] == '\0';
}

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

/* Seconds as milliseconds, 0 if it is not from 0.001 to a day. */
static int parse_interval(const char *text)
{
	const size_t length = strlen(text);
	double seconds;
	char *end;

	/* No sign, exponent, hexadecimal or infinity. */
	if (!length || strspn(text, "0123456789.") != length)
		return 0;
	seconds = strtod(text, &end);
	if (*end || seconds < 0.001 || seconds > 86400)
		return 0;
	return (int)(seconds * 1000 + 0.5);
}

enum { OPT_WATCH = 256, OPT_JSON, OPT_SVG, OPT_SELF_TEST, OPT_HELP,
       OPT_VERSION };

/* EXIT_OK with options, or what to exit with; *done for --help and such. */
static int parse_options(int argc, char **argv, struct options *options,
			 bool *done)
{
	static const struct option names[] = {
		{ "watch", optional_argument, NULL, OPT_WATCH },
		{ "json", no_argument, NULL, OPT_JSON },
		{ "svg", required_argument, NULL, OPT_SVG },
		{ "self-test", no_argument, NULL, OPT_SELF_TEST },
		{ "help", no_argument, NULL, OPT_HELP },
		{ "version", no_argument, NULL, OPT_VERSION },
		{ NULL, 0, NULL, 0 }
	};
	int option;

	while ((option = getopt_long(argc, argv, "", names, NULL)) != -1) {
		switch (option) {
		case OPT_WATCH:
			options->watch_ms = parse_interval(optarg ? optarg :
							   "1");
			if (!options->watch_ms)
				return usage_error("'%s' is no number of seconds from 0.001 to 86400",
						   optarg);
			break;
		case OPT_JSON:
			options->json = true;
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
			fputs("Try '" NAME " --help' for more information.\n",
			      stderr);
			return EXIT_USAGE;
		}
	}
	if (options->self_test) {
		if (options->watch_ms || options->json || options->svg ||
		    optind < argc)
			return usage_error("--self-test goes with nothing else");
		return EXIT_OK;
	}
	if (options->svg && options->watch_ms)
		return usage_error("--svg does not go with --watch");
	if (options->svg && is_stdout(options->svg) && options->json)
		return usage_error("--svg - does not go with --json: both are for standard output");
	if (optind >= argc)
		return usage_error("which process?  A PID is missing");
	if (optind + 1 < argc)
		return usage_error("only one PID can be given");
	options->pid = parse_pid(argv[optind]);
	if (!options->pid)
		return usage_error("'%s' is no PID", argv[optind]);
	return EXIT_OK;
}

int main(int argc, char **argv)
{
	struct options options = { 0 };
	bool done = false;
	int status;

	/* For the messages of getopt. */
	argv[0] = (char *)NAME;
	status = parse_options(argc, argv, &options, &done);
	if (status == EXIT_OK && !done)
		status = options.self_test ? self_test() : show(&options);
	if ((fflush(stdout) || ferror(stdout)) && status == EXIT_OK)
		status = error("cannot write: %s", strerror(errno));
	return status;
}
