// SPDX-License-Identifier: GPL-2.0-or-later
/* The command line of storm. */
#include "storm.h"

#include <getopt.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const char help[] =
"Usage: storm fuzz [OPTION]...        random programs\n"
"       storm replay [OPTION]... FILE      run the program in FILE\n"
"       storm minimise [OPTION]... FILE    make it short, and print it\n"
"       storm print-c FILE                 print it as C\n"
"       storm print --seed N [--steps N]   print the program of a seed\n"
"       storm disturb [--interfere K] [--seconds N] -- COMMAND [ARGUMENT]...\n"
"                                  interfere with a command\n"
"Execute random programs of mmap(), mremap(), fork() and the like, with the flags that\n"
"relocate and without, and compare them with a model after every step. Or run some\n"
"command, at least once, while its processes are interfered with from outside: it must\n"
"end with status 0 each time.\n"
"\n"
"  --seed N        of the first program; the next has N + 1 (default 1)\n"
"  --programs N    how many (default: 100, or as many as --seconds allows)\n"
"  --seconds N     stop after so many seconds\n"
"  --steps N       of each program (default 60, at most 1000)\n"
"  --interfere K   kinds of interference, with commas, all at the same time; \"all\";\n"
"                  or \"each\": one kind after another, --programs and --seconds\n"
"                  being for each of them (default: none; for a command all)\n"
"  --plain-only    never use the flags: on any kernel\n"
"  --keep-flags    no second run without them\n"
"  --fail-nth      no second run; let each allocation, and whatever else can, of each\n"
"                  relocating move of one mapping fail in turn\n"
"  --pause US      let relocations, and migration meanwhile, sleep between any two steps,\n"
"                  up to so many microseconds each time (debug kernel)\n"
"  --coalesce      each call that may add mappings first merges what it can, as at\n"
"                  vm.max_map_count (debug kernel)\n"
"  --limit         vm.max_map_count is lowered for each step, so that the kernel merges\n"
"                  what it can; on any kernel that does, without interference\n"
"  --repeat N      replay: so many times (default 1)\n"
"  --tries N       minimise: run the program so many times at most (default 300)\n"
"  --timeout S     seconds that a step may take (default: a tenth of $RELOCATE_LIMIT;\n"
"                  0, or without it: as long as it likes)\n"
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
	long seed, programs, seconds, steps, repeat, tries, timeout;
	const char *interfere, *out, *resume;
	struct options exec;
} opt = { .seed = 1, .steps = 60, .repeat = 1, .tries = 300 };

/* The options: where the value of each goes. */
static const struct {
	const char *name;
	long *number;
	const char **text;
	bool *flag;
} known[] = {
	{ "seed", .number = &opt.seed },
	{ "programs", .number = &opt.programs },
	{ "seconds", .number = &opt.seconds },
	{ "steps", .number = &opt.steps },
	{ "pause", .number = &opt.exec.pause },
	{ "repeat", .number = &opt.repeat },
	{ "tries", .number = &opt.tries },
	{ "timeout", .number = &opt.timeout },
	{ "interfere", .text = &opt.interfere },
	{ "out", .text = &opt.out },
	{ "resume", .text = &opt.resume },
	{ "plain-only", .flag = &opt.exec.plain_only },
	{ "keep-flags", .flag = &opt.exec.keep_flags },
	{ "coalesce", .flag = &opt.exec.coalesce },
	{ "limit", .flag = &opt.exec.limit },
	{ "fail-nth", .flag = &opt.exec.fail_nth },
	{ "verbose", .flag = &opt.exec.verbose },
};

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
	why = minimise(&small, (int)opt.tries);
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

/* On a slow machine it takes longer until everything has happened at least once. */
static bool time_is_over(double start, bool happened)
{
	const double took = now() - start;

	return opt.seconds && took >= (double)opt.seconds &&
	       (happened || took >= 10 * (double)opt.seconds);
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
	double said = start;
	int failures = 0;

	interfere_start(kinds, false);
	if (kinds && !interfere_can()) {
		interfere_stop();
		interfere_report();
		return seed;
	}
	while (failures < 3) {
		struct outcome o;

		/* Who waits for it sees that it goes on. */
		if (now() - said >= 10) {
			printf("# at seed %lu\n", seed);
			fflush(stdout);
			said = now();
		}

		if (opt.programs && (long)(seed - first) >= opt.programs)
			break;
		if (time_is_over(start, (relocated || opt.exec.plain_only) && interfere_did_all() &&
					(!opt.exec.fail_nth || (points && coped))))
			break;
		program_random(&p, seed++, (int)opt.steps);
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
		long more, waited = 0;

		while ((more = committed() - kb) > 256 && wait_more(&waited, 100000))
			;
		tap(labs(more) <= 256, "Committed_AS as before: %ld kB more", more);
		/* The kernel copies a page that is found where it does not belong. */
		tap(swap_in_copies() == copies, "pages copied as they come from swap: %ld",
		    swap_in_copies() - copies);
	}
	return seed;
}

static bool each(const char *kinds)
{
	return kinds && !strcmp(kinds, "each");
}

/* One kind of interference after another. @others: those that work from outside */
static void for_each_kind(void (*run)(const char *kind), bool others)
{
	char *list = NULL;
	size_t size;
	FILE *f = open_memstream(&list, &size);

	interfere_list(f, others);
	fclose(f);
	for (char *kind = strtok(list, ","); kind; kind = strtok(NULL, ","))
		run(kind);
	free(list);
}

static uint64_t next_seed;

static void fuzz_under(const char *kinds)
{
	next_seed = batch(next_seed, kinds);
}

static void fuzz(char **args)
{
	FILE *f = opt.resume ? fopen(opt.resume, "r") : NULL;

	(void)args;
	next_seed = (uint64_t)opt.seed;
	if (f) {
		if (fscanf(f, "%lu", &next_seed) != 1)
			next_seed = (uint64_t)opt.seed;
		fclose(f);
	}
	if (!opt.programs && !opt.seconds)
		opt.programs = 100;
	if (each(opt.interfere))
		for_each_kind(fuzz_under, false);
	else
		fuzz_under(opt.interfere);
}

static struct program *load(const char *path)
{
	static struct program p;
	FILE *f = strcmp(path, "-") ? fopen(path, "r") : stdin;

	if (!f || !program_parse(&p, f)) {
		fprintf(stderr, "storm: %s: %s\n", path,
			f ? "not a program" : strerror(errno));
		exit(2);
	}
	if (f != stdin)
		fclose(f);
	return &p;
}

static void replay(char **args)
{
	const struct program *p = load(args[0]);

	interfere_start(opt.interfere, false);
	for (long i = 0; i < opt.repeat; i++) {
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
}

static void print_minimised(char **args)
{
	struct program *p = load(args[0]);
	struct outcome o;

	interfere_start(opt.interfere, false);
	o = minimise(p, (int)opt.tries);
	interfere_stop();
	if (!o.failed) {
		fprintf(stderr, "storm: it does not fail\n");
		exit(1);
	}
	printf("# step %d: %s\n", o.step, o.why);
	program_print(p, stdout);
}

static void print_c(char **args)
{
	program_print_c(load(args[0]), stdout);
}

static void print_random(char **args)
{
	static struct program p;

	(void)args;
	program_random(&p, (uint64_t)opt.seed, (int)opt.steps);
	program_print(&p, stdout);
}

static char **disturbed;	/* the command */

/* Its status as waitpid() gives it; what it printed is then in @out. */
static int run_disturbed(FILE *out)
{
	int status;
	pid_t pid;

	rewind(out);
	if (ftruncate(fileno(out), 0))
		perror("storm: ftruncate");
	pid = fork();
	if (!pid) {
		setsid();
		interfere_with_me();
		if (!freopen("/dev/null", "r", stdin))
			close(0);
		dup2(fileno(out), 1);
		dup2(fileno(out), 2);
		execvp(disturbed[0], disturbed);
		dprintf(2, "%s: %s\n", disturbed[0], strerror(errno));
		_exit(127);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		status = -1;
	/* What it left behind is not to disturb the next. */
	interfere_kill();
	return status;
}

static void disturb_under(const char *kinds)
{
	const double start = now();
	FILE *out = tmpfile();
	char line[1024];
	int status, runs = 0;

	if (!out) {
		perror("storm: a temporary file");
		exit(2);
	}
	interfere_start(kinds, true);
	do {
		status = run_disturbed(out);
		runs++;
	} while (!status && now() - start < (double)opt.seconds);
	interfere_stop();
	snprintf(line, sizeof(line), "%s", disturbed[0]);
	for (char **arg = disturbed + 1; *arg; arg++)
		snprintf(line + strlen(line), sizeof(line) - strlen(line), " %s", *arg);
	if (!status)
		tap(true, "%s: passed %d times, %s, %.1f s", line, runs, kinds, now() - start);
	else
		tap(false, "%s: time %d, %s, %.1f s: %s %d", line, runs, kinds, now() - start,
		    WIFSIGNALED(status) ? "killed by signal" : "exit status",
		    WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
	rewind(out);
	while (status && fgets(line, sizeof(line), out))
		printf("# %s%s", line, strchr(line, '\n') ? "" : "\n");
	fclose(out);
	interfere_report();
}

static void disturb(char **command)
{
	disturbed = command;
	if (each(opt.interfere))
		for_each_kind(disturb_under, true);
	else
		disturb_under(opt.interfere ? opt.interfere : "all");
}

static void fail_usage(const char *what, const char *why)
{
	fprintf(stderr, "storm: %s: %s; see storm --help\n", what, why);
	exit(2);
}

/* The index of the first argument. */
static int parse_options(int argc, char **argv)
{
	struct option options[ARRAY_SIZE(known) + 2] = { 0 };
	int i;

	for (i = 0; i < (int)ARRAY_SIZE(known); i++)
		options[i] = (struct option) { known[i].name, !known[i].flag, NULL, 0 };
	options[i] = (struct option) { "help", 0, NULL, 'h' };
	for (;;) {
		const int c = getopt_long(argc, argv, "h", options, &i);
		char *end = "";

		if (c == -1)
			break;
		if (c == 'h') {
			fputs(help, stdout);
			interfere_list(stdout, false);
			fputs("\nThose for a command: ", stdout);
			interfere_list(stdout, true);
			puts("");
			exit(0);
		}
		if (c)
			exit(2);
		if (known[i].flag)
			*known[i].flag = true;
		else if (known[i].text)
			*known[i].text = optarg;
		else
			*known[i].number = strtol(optarg, &end, 0);
		if (*end || (known[i].number && !*optarg))
			fail_usage(optarg, "not a number");
	}
	if (opt.steps < 1 || opt.steps > MAX_STEPS)
		fail_usage("--steps", "from 1 to 1000");
	if (opt.exec.pause < 0 || opt.exec.pause > 1000000)
		fail_usage("--pause", "from 0 to 1000000");
	opt.exec.timeout = (int)opt.timeout;
	return optind;
}

/* Can programs that relocate be executed? If not ends us. */
static void need_flags(void)
{
	const char *expect = getenv("RELOCATE_EXPECT");
	const bool wanted = expect && !strcmp(expect, "supported");

	if (opt.exec.plain_only || kernel_relocates())
		return;
	puts(wanted ? "1..1\nnot ok 1 - the kernel has MREMAP_RELOCATE_ANON" :
	     "1..0 # SKIP this kernel lacks MREMAP_RELOCATE_ANON");
	exit(wanted);
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		int args;
		void (*run)(char **args);
		bool executes;		/* programs of ours */
		bool more;		/* arguments than that are fine */
	} commands[] = {
		{ .name = "fuzz", .run = fuzz, .executes = true },
		{ .name = "replay", .args = 1, .run = replay, .executes = true },
		{ .name = "minimise", .args = 1, .run = print_minimised, .executes = true },
		{ .name = "print-c", .args = 1, .run = print_c },
		{ .name = "print", .run = print_random },
		{ .name = "disturb", .args = 1, .run = disturb, .more = true },
	};
	/* A step hangs before the whole does, which would say less. */
	opt.timeout = test_limit() / 10;
	const int first = parse_options(argc, argv);
	const int args = argc - first - 1;
	size_t i = 0;

	while (i < ARRAY_SIZE(commands) && (args < 0 || strcmp(argv[first], commands[i].name)))
		i++;
	if (i == ARRAY_SIZE(commands))
		fail_usage(args < 0 ? "what?" : argv[first], "not a command");
	if (args < commands[i].args || (args > commands[i].args && !commands[i].more))
		fail_usage(commands[i].name, "too few or too many arguments");
	if (commands[i].executes) {
		need_flags();
		interfere_start(NULL, false);
		exec_init(&opt.exec);
	}
	/* Our programs only do as they move. */
	if (opt.exec.pause && !pause_relocations(commands[i].executes ? 0 : opt.exec.pause)) {
		fprintf(stderr, "storm: --pause: %s; it takes the debug kernel\n", strerror(errno));
		return 2;
	}
	if (opt.exec.limit && opt.interfere) {
		fprintf(stderr, "storm: --limit: what interferes would be at the limit, too\n");
		return 2;
	}
	if (opt.exec.coalesce && !coalesce_always(true)) {
		fprintf(stderr, "storm: --coalesce: %s; it takes the debug kernel\n",
			strerror(errno));
		return 2;
	}
	commands[i].run(argv + first + 1);
	if (opt.exec.pause)
		pause_relocations(0);
	if (opt.exec.coalesce)
		coalesce_always(false);
	if (tap_number)
		printf("1..%d\n", tap_number);
	return tap_failed ? 1 : 0;
}
