// SPDX-License-Identifier: GPL-2.0-or-later
/* The command line of storm. */
#include "storm.h"

#include <getopt.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static const char help[] =
"Usage: storm fuzz [OPTION]...        random programs\n"
"       storm replay [OPTION]... FILE      run the program in FILE\n"
"       storm minimise [OPTION]... FILE    make it short, and print it\n"
"       storm print-c FILE                 print it as C\n"
"       storm print --seed N [--steps N]   print the program of a seed\n"
"Execute random programs of mmap(), mremap(), fork() and the like, with the flags that\n"
"relocate and without, and compare them with a model after every step.\n"
"\n"
"  --seed N        of the first program; the next has N + 1 (default 1)\n"
"  --programs N    how many (default: 100, or as many as --seconds allows)\n"
"  --seconds N     stop after so many seconds\n"
"  --steps N       of each program (default 60, at most 1000)\n"
"  --interfere K   kinds of interference, with commas, all at the same time; \"all\";\n"
"                  or \"each\": one kind after another, --programs and --seconds\n"
"                  being for each of them\n"
"  --plain-only    never use the flags: on any kernel\n"
"  --keep-flags    no second run without them\n"
"  --fail-nth      no second run; let each allocation, and whatever else can, of each\n"
"                  relocating move of one mapping fail in turn\n"
"  --repeat N      replay: so many times (default 1)\n"
"  --tries N       minimise: run the program so many times at most (default 300)\n"
"  --timeout S     seconds that a step may take (default 60)\n"
"  --out DIR       where programs that fail go (default: only printed)\n"
"  --resume FILE   start with the seed in FILE, if it is there, and keep the next\n"
"  --verbose       print each step before it is done\n"
"  --help          this text\n"
"\n"
"The kinds of interference: ";

static int tap_number, tap_failed;

void tap(bool ok, const char *format, ...) __attribute__((format(printf, 2, 3)));
void tap(bool ok, const char *format, ...)
{
	va_list args;

	printf("%sok %d - ", ok ? "" : "not ", ++tap_number);
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	puts("");
	fflush(stdout);
	tap_failed += !ok;
}

static struct {
	uint64_t seed;
	long programs, seconds;
	int steps, repeat, tries;
	const char *interfere, *out, *resume;
	struct options exec;
} opt = { .seed = 1, .steps = 60, .repeat = 1, .tries = 300, .exec.timeout = 60 };

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static bool kernel_relocates(void)
{
	return syscall(SYS_mremap, 0, PAGE, PAGE, 1 | RELOCATE, 0) == -1 && errno == EFAULT;
}

static long swap_in_copies(void)
{
	char line[128];
	long n = 0;
	FILE *f = fopen("/proc/vmstat", "r");

	while (f && fgets(line, sizeof(line), f))
		sscanf(line, "ksm_swpin_copy %ld", &n);
	if (f)
		fclose(f);
	return n;
}

static long committed(void)
{
	char line[128];
	long kb = 0;
	FILE *f = fopen("/proc/meminfo", "r");

	while (f && fgets(line, sizeof(line), f))
		sscanf(line, "Committed_AS: %ld", &kb);
	if (f)
		fclose(f);
	return kb;
}

/* A copy in a file of DIR, as text or as C. */
static void save(const struct program *p, const char *name, bool as_c)
{
	char path[512];
	FILE *f;

	if (!opt.out)
		return;
	snprintf(path, sizeof(path), "%s/%s", opt.out, name);
	f = fopen(path, "w");
	if (!f) {
		printf("# %s: %s\n", path, strerror(errno));
		return;
	}
	if (as_c)
		program_print_c(p, f);
	else
		program_print(p, f);
	fclose(f);
	printf("# written to %s\n", path);
}

static void print_as_comment(const struct program *p)
{
	char *text = NULL, *line, *next;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	program_print(p, f);
	fclose(f);
	for (line = text; *line; line = next + 1) {
		next = strchr(line, '\n');
		*next = 0;
		printf("# %s\n", line);
	}
	free(text);
}

static void report(const struct outcome *o, const struct program *p)
{
	printf("# seed %lu: step %d (%s): %s\n", p->seed, o->step,
	       o->step < p->n ? step_text(&p->step[o->step]) : "the end", o->why);
	fflush(stdout);
}

static void report_failure(struct program *p, const struct outcome *o)
{
	static struct program small;
	char name[64];
	struct outcome why;

	report(o, p);
	snprintf(name, sizeof(name), "storm-%lu.txt", p->seed);
	save(p, name, false);
	if (interfere_on()) {
		/* It may take many tries to see it again. */
		print_as_comment(p);
		return;
	}
	small = *p;
	why = minimise(&small, opt.tries);
	if (!why.failed) {
		printf("# does not fail again\n");
		print_as_comment(p);
		return;
	}
	report(&why, &small);
	print_as_comment(&small);
	snprintf(name, sizeof(name), "storm-%lu-min.txt", p->seed);
	save(&small, name, false);
	snprintf(name, sizeof(name), "storm-%lu-min.c", p->seed);
	save(&small, name, true);
}

static void keep_seed(uint64_t seed)
{
	FILE *f = opt.resume ? fopen(opt.resume, "w") : NULL;

	if (f) {
		fprintf(f, "%lu\n", seed);
		fclose(f);
	}
}

/* Programs, with interference of some kinds or none. Returns the next seed. */
static uint64_t batch(uint64_t seed, const char *kinds)
{
	static struct program p;
	const double start = now();
	const uint64_t first = seed;
	long steps = 0, skipped = 0, relocated = 0, refused = 0, fewer = 0, kb = 0;
	long points = 0, coped = 0;
	const long copies = swap_in_copies();
	int failures = 0;

	if (!interfere_start(kinds)) {
		fprintf(stderr, "storm: unknown kind of interference in %s\n", kinds);
		exit(2);
	}
	while (failures < 3) {
		struct outcome o;

		if (opt.programs && (long)(seed - first) >= opt.programs)
			break;
		if (opt.seconds && now() - start >= (double)opt.seconds)
			break;
		program_random(&p, seed++, opt.steps);
		/* What has to do with huge pages only. */
		if (kinds && (!strcmp(kinds, "khugepaged") || !strcmp(kinds, "split")) &&
		    !program_has_huge(&p))
			continue;
		o = exec_program(&p);
		steps += o.steps;
		skipped += o.skipped;
		relocated += o.relocated;
		refused += o.refused;
		fewer += o.fewer;
		points += o.points;
		coped += o.coped;
		if (o.failed) {
			failures++;
			report_failure(&p, &o);
		}
		/* When everything has been used once. */
		if (seed == first + 5)
			kb = committed();
		keep_seed(seed);
	}
	tap(!failures, "programs %lu to %lu%s%s: %ld steps, %ld left out, %ld relocating moves, "
	    "%ld refused, %ld mappings fewer, %.1f s", first, seed - 1, kinds ? ", " : "",
	    kinds ? kinds : "", steps, skipped, relocated, refused, fewer, now() - start);
	if (opt.exec.fail_nth)
		tap(points && coped, "failures: %ld moves failed, %ld coped", points, coped);
	if (kinds) {
		interfere_stop();
		interfere_report();
	} else if (kb && !opt.exec.plain_only) {
		long more;

		for (int i = 0; (more = committed() - kb) > 256 && i < 20; i++)
			usleep(100000);
		tap(labs(more) <= 256, "Committed_AS as before: %ld kB more", more);
		/* The kernel copies a page that is found where it does not belong. */
		tap(swap_in_copies() == copies, "pages copied as they come from swap: %ld",
		    swap_in_copies() - copies);
	}
	return seed;
}

static void fuzz(void)
{
	uint64_t seed = opt.seed;
	FILE *f = opt.resume ? fopen(opt.resume, "r") : NULL;

	if (f) {
		if (fscanf(f, "%lu", &seed) != 1)
			seed = opt.seed;
		fclose(f);
	}
	if (!opt.programs && !opt.seconds)
		opt.programs = 100;
	if (opt.interfere && !strcmp(opt.interfere, "each")) {
		char *list = NULL;
		size_t size;
		FILE *s = open_memstream(&list, &size);

		interfere_list(s);
		fclose(s);
		for (char *kind = strtok(list, ","); kind; kind = strtok(NULL, ","))
			seed = batch(seed, kind);
		free(list);
	} else {
		batch(seed, opt.interfere);
	}
	printf("1..%d\n", tap_number);
}

static void load(struct program *p, const char *path)
{
	FILE *f = strcmp(path, "-") ? fopen(path, "r") : stdin;

	if (!f || !program_parse(p, f)) {
		fprintf(stderr, "storm: %s: %s\n", path,
			f ? "not a program" : strerror(errno));
		exit(2);
	}
	if (f != stdin)
		fclose(f);
}

static void replay(struct program *p)
{
	if (!interfere_start(opt.interfere))
		exit(2);
	for (int i = 0; i < opt.repeat; i++) {
		struct outcome o = exec_program(p);

		if (o.failed)
			report(&o, p);
		tap(!o.failed, "%ld steps, %ld left out, %ld relocating moves, %ld refused",
		    o.steps, o.skipped, o.relocated, o.refused);
	}
	if (opt.interfere) {
		interfere_stop();
		interfere_report();
	}
	printf("1..%d\n", tap_number);
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "seed", 1, NULL, 's' }, { "programs", 1, NULL, 'p' },
		{ "seconds", 1, NULL, 't' }, { "steps", 1, NULL, 'n' },
		{ "interfere", 1, NULL, 'i' }, { "plain-only", 0, NULL, 'P' },
		{ "fail-nth", 0, NULL, 'F' }, { "keep-flags", 0, NULL, 'k' }, { "repeat", 1, NULL, 'r' },
		{ "tries", 1, NULL, 'T' }, { "timeout", 1, NULL, 'w' },
		{ "out", 1, NULL, 'o' }, { "resume", 1, NULL, 'R' },
		{ "verbose", 0, NULL, 'v' }, { "help", 0, NULL, 'h' }, { 0 },
	};
	static struct program p;
	const char *command;
	int c;

	while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1)
		switch (c) {
		case 's': opt.seed = strtoul(optarg, NULL, 0); break;
		case 'p': opt.programs = atol(optarg); break;
		case 't': opt.seconds = atol(optarg); break;
		case 'n': opt.steps = atoi(optarg); break;
		case 'i': opt.interfere = optarg; break;
		case 'P': opt.exec.plain_only = true; break;
		case 'F': opt.exec.fail_nth = true; break;
		case 'k': opt.exec.keep_flags = true; break;
		case 'r': opt.repeat = atoi(optarg); break;
		case 'T': opt.tries = atoi(optarg); break;
		case 'w': opt.exec.timeout = atoi(optarg); break;
		case 'o': opt.out = optarg; break;
		case 'R': opt.resume = optarg; break;
		case 'v': opt.exec.verbose = true; break;
		case 'h':
			fputs(help, stdout);
			interfere_list(stdout);
			puts("");
			return 0;
		default:
			return 2;
		}
	command = optind < argc ? argv[optind] : "";
	if (opt.steps < 1 || opt.steps > MAX_STEPS) {
		fprintf(stderr, "storm: --steps: 1 to %d\n", MAX_STEPS);
		return 2;
	}
	if (!strcmp(command, "print")) {
		program_random(&p, opt.seed, opt.steps);
		program_print(&p, stdout);
		return 0;
	}
	if (!strcmp(command, "fuzz") ? optind + 1 != argc : optind + 2 != argc) {
		fprintf(stderr, "storm: what? See storm --help\n");
		return 2;
	}
	if (strcmp(command, "fuzz"))
		load(&p, argv[optind + 1]);
	if (!strcmp(command, "print-c")) {
		program_print_c(&p, stdout);
		return 0;
	}

	if (!opt.exec.plain_only && !kernel_relocates()) {
		const char *expect = getenv("RELOCATE_EXPECT");

		if (expect && !strcmp(expect, "supported")) {
			puts("1..1\nnot ok 1 - the kernel has MREMAP_RELOCATE_ANON");
			return 1;
		}
		puts("1..0 # SKIP this kernel lacks MREMAP_RELOCATE_ANON");
		return 0;
	}
	interfere_start(NULL);
	exec_init(&opt.exec);
	if (!strcmp(command, "fuzz")) {
		fuzz();
	} else if (!strcmp(command, "replay")) {
		replay(&p);
	} else if (!strcmp(command, "minimise")) {
		struct outcome o;

		if (!interfere_start(opt.interfere))
			return 2;
		o = minimise(&p, opt.tries);
		interfere_stop();

		if (!o.failed) {
			fprintf(stderr, "storm: it does not fail\n");
			return 1;
		}
		printf("# step %d: %s\n", o.step, o.why);
		program_print(&p, stdout);
	} else {
		fprintf(stderr, "storm: %s: see storm --help\n", command);
		return 2;
	}
	return tap_failed ? 1 : 0;
}
