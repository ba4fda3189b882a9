/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Allocate many chunks that malloc() maps one by one, write them, then grow
 * each with realloc() and write it on.  On a kernel where moved memory cannot
 * merge with its neighbours the mappings pile up until the process reaches
 * vm.max_map_count.  Says how many mappings there are at the end, whether
 * threads and mprotect() still work, what the kernel spends on it, and whether
 * every byte is right.  An ordinary C program: it knows of no special flag.
 *
 * Once there are no mappings left, even small things can fail, so all buffers
 * used for reporting are static and stdio gets its buffer before anything else.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <gnu/libc-version.h>
#include <inttypes.h>
#include <malloc.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

enum { EXIT_CONTENT = 1, EXIT_SETUP = 2 };
enum { MAX_THREADS = 1024, PAGE = 4096 };

static char stdout_buffer[1 << 14];
static char read_buffer[1 << 18];
static pthread_t thread[MAX_THREADS];

/* Three pages in a mapping that exists from the start, for mprotect(). */
static char pages[3 * PAGE] __attribute__((aligned(PAGE)));

static bool verbose, wait_for_input;

static void usage(FILE *to)
{
	fputs("Usage: chunks [-vw] [-n COUNT] [-s SIZE] [-g GROWN] [-t THREADS]\n"
	      "Allocate COUNT chunks of SIZE bytes, grow each to GROWN bytes with realloc(),\n"
	      "and report on the mappings.  Defaults: -n 110000 -s 6000 -g 22000 -t 64.\n"
	      "  -v  readable text besides the line of key=value pairs\n"
	      "  -w  end when standard input does, so that the process can be looked at\n"
	      "Exit status: 0 every byte right, 1 content wrong, 2 set-up error.\n", to);
}

/* The content of a chunk: a series of 64-bit words that depends on its number. */
#define WORD_STEP UINT64_C(0xc2b2ae3d27d4eb4f)

static uint64_t first_word(size_t chunk)
{
	return (chunk + 1) * UINT64_C(0x9e3779b97f4a7c15);
}

/* Write bytes [from, to) of a chunk's content. */
static void fill(unsigned char *p, size_t chunk, size_t from, size_t to)
{
	uint64_t start = first_word(chunk);

	for (size_t at = from; at < to;) {
		size_t in_word = at % sizeof(uint64_t);
		size_t bytes = sizeof(uint64_t) - in_word;
		uint64_t word = start + at / sizeof(uint64_t) * WORD_STEP;

		if (bytes > to - at)
			bytes = to - at;
		if (bytes == sizeof(word))
			memcpy(p + at, &word, sizeof(word));
		else
			memcpy(p + at, (char *)&word + in_word, bytes);
		at += bytes;
	}
}

/* Compare bytes [0, to) with the chunk's content; say where they differ. */
static bool check(const unsigned char *p, size_t chunk, size_t to, const char *when)
{
	uint64_t word = first_word(chunk);
	uint64_t got;
	size_t at;

	for (at = 0; at + sizeof(word) <= to; at += sizeof(word), word += WORD_STEP) {
		memcpy(&got, p + at, sizeof(got));
		if (got != word)
			goto wrong;
	}
	if (memcmp(p + at, &word, to - at) == 0)
		return true;
wrong:
	while (at < to && p[at] == ((unsigned char *)&word)[at % sizeof(word)])
		at++;
	fprintf(stderr, "chunks: wrong content %s: chunk %zu, byte %zu\n", when, chunk, at);
	return false;
}

/* Lines in /proc/self/maps, which are mappings; -1 if it cannot be read. */
static long count_mappings(void)
{
	long lines = 0;
	ssize_t got;
	int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return -1;
	while ((got = read(fd, read_buffer, sizeof(read_buffer))) > 0)
		for (ssize_t i = 0; i < got; i++)
			lines += read_buffer[i] == '\n';
	close(fd);
	return got < 0 ? -1 : lines;
}

/*
 * Bytes in the slabs that describe mappings, of the whole system: that is what
 * /proc/slabinfo knows, and only root may read it.  -1 if it cannot be read.
 */
static long long count_metadata(void)
{
	static const char *const names[] = { "vm_area_struct", "anon_vma", "anon_vma_chain" };
	long long bytes = -1;
	size_t used = 0;
	ssize_t got;
	int fd = open("/proc/slabinfo", O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return -1;
	while ((got = read(fd, read_buffer + used, sizeof(read_buffer) - 1 - used)) > 0)
		used += (size_t)got;
	close(fd);
	read_buffer[used] = '\0';

	for (char *line = strtok(read_buffer, "\n"); line; line = strtok(NULL, "\n")) {
		unsigned long pages_per_slab, slabs;
		char name[64];

		if (sscanf(line, "%63s %*u %*u %*u %*u %lu : tunables %*u %*u %*u : slabdata %*u %lu",
			   name, &pages_per_slab, &slabs) != 3)
			continue;
		for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
			if (strcmp(name, names[i]) == 0)
				bytes = (bytes < 0 ? 0 : bytes) + (long long)(slabs * pages_per_slab * PAGE);
	}
	return bytes;
}

static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;

static void *wait_at_gate(void *unused)
{
	pthread_mutex_lock(&gate);
	pthread_mutex_unlock(&gate);
	return unused;
}

/* Start that many threads that all live at once; how many started. */
static unsigned int try_threads(unsigned int wanted, int *error)
{
	unsigned int started;

	*error = 0;
	pthread_mutex_lock(&gate);
	for (started = 0; started < wanted; started++) {
		*error = pthread_create(&thread[started], NULL, wait_at_gate, NULL);
		if (*error)
			break;
	}
	pthread_mutex_unlock(&gate);
	for (unsigned int i = 0; i < started; i++)
		pthread_join(thread[i], NULL);
	return started;
}

/* Protecting the middle one of three pages takes two more mappings. */
static int try_mprotect(void)
{
	int error = 0;

	pages[PAGE] = 1;
	if (mprotect(pages + PAGE, PAGE, PROT_READ))
		error = errno;
	mprotect(pages, sizeof(pages), PROT_READ | PROT_WRITE);
	return error;
}

static const char *error_name(int error)
{
	const char *name = error ? strerrorname_np(error) : "none";

	return name ? name : "unknown";
}

static long long now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000LL + t.tv_nsec / 1000000;
}

static long read_max_map_count(void)
{
	char text[32] = "";
	int fd = open("/proc/sys/vm/max_map_count", O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return -1;
	if (read(fd, text, sizeof(text) - 1) < 0)
		text[0] = '\0';
	close(fd);
	return text[0] ? atol(text) : -1;
}

static size_t number(const char *text, char option, size_t max)
{
	char *end;
	unsigned long long value;

	errno = 0;
	value = strtoull(text, &end, 10);
	if (text[0] < '0' || text[0] > '9' || *end || errno || value == 0 || value > max) {
		fprintf(stderr, "chunks: -%c: '%s' is not a number from 1 to %zu\n", option, text, max);
		exit(EXIT_SETUP);
	}
	return (size_t)value;
}

/* What it is told to do */
struct work {
	size_t count, size, grown;
	unsigned int threads;
	unsigned char **chunk;
};

/* What became of it */
struct outcome {
	struct utsname uts;
	long mappings_before, mappings;
	long long metadata_before, metadata, fill_ms, grow_ms;
	unsigned int started;
	int thread_error, mprotect_error;
	bool right;
};

static void read_options(int argc, char **argv, struct work *work)
{
	int option;

	while ((option = getopt(argc, argv, "vwhn:s:g:t:")) != -1) {
		switch (option) {
		case 'v': verbose = true; break;
		case 'w': wait_for_input = true; break;
		case 'n': work->count = number(optarg, 'n', 100000000); break;
		case 's': work->size = number(optarg, 's', 1 << 30); break;
		case 'g': work->grown = number(optarg, 'g', 1 << 30); break;
		case 't': work->threads = (unsigned int)number(optarg, 't', MAX_THREADS); break;
		case 'h': usage(stdout); exit(EXIT_SUCCESS);
		default: usage(stderr); exit(EXIT_SETUP);
		}
	}
	if (optind < argc || work->grown < work->size) {
		fprintf(stderr, optind < argc ? "chunks: no arguments expected beside options\n"
					      : "chunks: GROWN is less than SIZE\n");
		exit(EXIT_SETUP);
	}
}

static void prepare(struct work *work)
{
	/* Every chunk gets a mapping of its own, however many there are. */
	if (!mallopt(M_MMAP_THRESHOLD, PAGE) || !mallopt(M_MMAP_MAX, 1000000)) {
		fprintf(stderr, "chunks: mallopt() refuses the settings\n");
		exit(EXIT_SETUP);
	}
	work->chunk = calloc(work->count, sizeof(*work->chunk));
	if (!work->chunk) {
		fprintf(stderr, "chunks: no memory for %zu pointers\n", work->count);
		exit(EXIT_SETUP);
	}
}

static void allocate_all(struct work *work)
{
	for (size_t i = 0; i < work->count; i++) {
		work->chunk[i] = malloc(work->size);
		if (!work->chunk[i]) {
			fprintf(stderr, "chunks: malloc() failed at chunk %zu: %s\n", i, strerror(errno));
			exit(EXIT_SETUP);
		}
		fill(work->chunk[i], i, 0, work->size);
	}
}

/* Whether every chunk kept its content. */
static bool grow_all(struct work *work)
{
	bool right = true;

	for (size_t i = 0; i < work->count && right; i++) {
		unsigned char *p = realloc(work->chunk[i], work->grown);

		if (!p) {
			fprintf(stderr, "chunks: realloc() failed at chunk %zu: %s\n", i, strerror(errno));
			exit(EXIT_SETUP);
		}
		work->chunk[i] = p;
		right = check(p, i, work->size, "after realloc()");
		fill(p, i, work->size, work->grown);
	}
	return right;
}

static void run(struct work *work, struct outcome *out)
{
	long long begin;

	uname(&out->uts);
	out->metadata_before = count_metadata();
	begin = now_ms();
	allocate_all(work);
	out->fill_ms = now_ms() - begin;
	out->mappings_before = count_mappings();

	begin = now_ms();
	out->right = grow_all(work);
	out->grow_ms = now_ms() - begin;

	out->mappings = count_mappings();
	out->started = try_threads(work->threads, &out->thread_error);
	out->mprotect_error = try_mprotect();
	out->metadata = count_metadata();
	for (size_t i = 0; i < work->count && out->right; i++)
		out->right = check(work->chunk[i], i, work->grown, "at the end");
}

static void print_text(const struct work *work, const struct outcome *out)
{
	printf("Linux %s, glibc %s: %zu chunks of %zu bytes grown to %zu\n", out->uts.release,
	       gnu_get_libc_version(), work->count, work->size, work->grown);
	printf("mappings   %ld before growing, %ld after (at most %ld allowed)\n",
	       out->mappings_before, out->mappings, read_max_map_count());
	printf("threads    %u of %u can be created%s%s\n", out->started, work->threads,
	       out->thread_error ? ": " : "",
	       out->thread_error ? strerror(out->thread_error) : "");
	printf("mprotect   %s%s\n", out->mprotect_error ? "fails: " : "works",
	       out->mprotect_error ? strerror(out->mprotect_error) : "");
	if (out->metadata >= 0)
		printf("metadata   %lld KiB in vm_area_struct, anon_vma and anon_vma_chain (%lld KiB before)\n",
		       out->metadata / 1024, out->metadata_before / 1024);
	printf("time       %lld ms to allocate and write, %lld ms to grow and write\n",
	       out->fill_ms, out->grow_ms);
	printf("content    %s\n", out->right ? "every byte is right" : "WRONG");
}

static void print_line(const struct work *work, const struct outcome *out)
{
	printf("chunks: kernel=%s glibc=%s count=%zu size=%zu grown=%zu verified=%s"
	       " mappings_before=%ld mappings=%ld max_map_count=%ld threads=%u/%u threads_errno=%s"
	       " mprotect=%s mprotect_errno=%s",
	       out->uts.release, gnu_get_libc_version(), work->count, work->size, work->grown,
	       out->right ? "yes" : "no", out->mappings_before, out->mappings,
	       read_max_map_count(), out->started, work->threads,
	       error_name(out->thread_error), out->mprotect_error ? "fails" : "works",
	       error_name(out->mprotect_error));
	if (out->metadata >= 0)
		printf(" metadata_before=%lld metadata=%lld", out->metadata_before, out->metadata);
	else
		printf(" metadata_before=n/a metadata=n/a");
	printf(" fill_ms=%lld grow_ms=%lld\n", out->fill_ms, out->grow_ms);
}

int main(int argc, char **argv)
{
	struct work work = { .count = 110000, .size = 6000, .grown = 22000, .threads = 64 };
	struct outcome out;

	setvbuf(stdout, stdout_buffer, _IOFBF, sizeof(stdout_buffer));
	read_options(argc, argv, &work);
	prepare(&work);
	run(&work, &out);
	if (verbose)
		print_text(&work, &out);
	print_line(&work, &out);
	if (fflush(stdout)) {
		fprintf(stderr, "chunks: cannot write the result: %s\n", strerror(errno));
		return EXIT_SETUP;
	}
	while (wait_for_input && read(STDIN_FILENO, read_buffer, sizeof(read_buffer)) > 0)
		;
	return out.right ? EXIT_SUCCESS : EXIT_CONTENT;
}
