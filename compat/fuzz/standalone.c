/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * main() for a fuzz target where the compiler has no libFuzzer:
 *
 *	fuzz_maps FILE...
 *	fuzz_maps --runs N [--seed S] [FILE...]
 *
 * The first runs the target once for each file.  The second runs it N times
 * with inputs made from the files, or from a line of /proc/PID/maps, by random
 * changes; the same N, S and files give the same inputs.  An input that makes
 * the target abort is left in crash-input.
 */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define INPUT_MAX 65536

struct input {
	uint8_t *data;
	size_t size;
};

/* ---- random numbers ------------------------------------------------------ */

static uint64_t random_state;

/* splitmix64: the same on every system. */
static uint64_t next_random(void)
{
	uint64_t z = random_state += 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

/* From 0 to limit - 1; limit is not 0. */
static size_t below(size_t limit)
{
	return (size_t)(next_random() % limit);
}

/* ---- inputs -------------------------------------------------------------- */

static const char *const words[] = {
	"00400000-00401000 r-xp 00000000 08:01 12                  /bin/a b\n",
	"00401000-00402000 rw-p 00000000 00:00 0 \n",
	"00402000-00403000 rw-p 00000000 00:00 0 \n",
	"00403000-00405000 rw-p 00000000 00:00 0    [heap]\n",
	"7ffcafb93000-7ffcafbb4000 rw-p 00000000 00:00 0   [stack]\n",
	"ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0 [vsyscall]\n",
	"00402000-00403000 rw-p 00000000 00:00 0 \nVmFlags: rd wr mr ac \n",
	"00403000-00405000 rw-p 00000000 00:00 0 \nVmFlags: rd wr mr um nh \n",
	"VmFlags: ", "ProtectionKey: 1\n", "VmFlags: rd sd gu\n",
	"[anon:", "[heap]", "[vdso]", "rw-p", "---s", " 00:00 0 ", "\n", "-", ":",
	" ", "ffffffffffffffff", "0", "18446744073709551615", "\\012", "\"",
	"<&>", "\xc3\xa4", "\xff", "\x1b[31m",
};

static void insert(struct input *input, size_t at, const void *bytes,
		   size_t size)
{
	if (size > INPUT_MAX - input->size)
		size = INPUT_MAX - input->size;
	memmove(input->data + at + size, input->data + at, input->size - at);
	memcpy(input->data + at, bytes, size);
	input->size += size;
}

static void cut(struct input *input, size_t at, size_t size)
{
	memmove(input->data + at, input->data + at + size,
		input->size - at - size);
	input->size -= size;
}

/* A line like the kernel's that may touch the one before, at *address. */
static void append_line(struct input *input, uint64_t *address)
{
	static const char *const names[] = {
		"", "", "", "", " [heap]", " [anon:a]", " /lib/x.so",
	};
	static const char *const flags[] = { "rw-p", "rw-p", "r--p", "rw-s" };
	const size_t name = below(sizeof(names) / sizeof(names[0]));
	uint64_t start = *address + (below(3) ? 0 : below(64) << 12);
	char line[128];
	int length;

	*address = start + ((1 + below(16)) << 12);
	length = snprintf(line, sizeof(line),
			  "%08" PRIx64 "-%08" PRIx64 " %s 00000000 00:00 %d%s\n",
			  start, *address,
			  flags[below(sizeof(flags) / sizeof(flags[0]))],
			  name == 6 ? 7 : 0, names[name]);
	insert(input, input->size, line, (size_t)length);
}

static void change(struct input *input)
{
	const size_t at = below(input->size + 1);
	const size_t left = input->size - at;
	const char *word;
	uint8_t piece[64];
	uint64_t address;
	size_t size;

	switch (below(7)) {
	case 0:
		if (left)
			input->data[at] ^= (uint8_t)(1u << below(8));
		break;
	case 1:
		if (left)
			input->data[at] = (uint8_t)next_random();
		break;
	case 2:
		if (left)
			cut(input, at, 1 + below(left < 64 ? left : 64));
		break;
	case 3:
		word = words[below(sizeof(words) / sizeof(words[0]))];
		insert(input, at, word, strlen(word));
		break;
	case 4:
		/* A piece of it again, elsewhere. */
		size = left < sizeof(piece) ? left : sizeof(piece);
		memcpy(piece, input->data + at, size);
		insert(input, below(input->size + 1), piece, size);
		break;
	case 5:
		address = next_random() >> (16 + below(48)) << 12;
		for (size_t n = below(40); n; n--)
			append_line(input, &address);
		break;
	default:
		if (left && input->data[at] >= '0' && input->data[at] < '9')
			input->data[at]++;
		break;
	}
}

static int read_input(const char *path, struct input *input)
{
	FILE *file = fopen(path, "re");
	bool failed;

	if (!file) {
		fprintf(stderr, "cannot read %s: %s\n", path, strerror(errno));
		return -1;
	}
	input->data = malloc(INPUT_MAX);
	if (!input->data)
		abort();
	input->size = fread(input->data, 1, INPUT_MAX, file);
	failed = ferror(file);
	fclose(file);
	if (failed)
		fprintf(stderr, "cannot read %s\n", path);
	return failed ? -1 : 0;
}

/* ---- running ------------------------------------------------------------- */

/* The input that runs, for the signal handler. */
static struct input running;

static void keep_input(int number)
{
	static const char message[] = "the input is in crash-input\n";
	const int fd = open("crash-input", O_WRONLY | O_CREAT | O_TRUNC, 0666);

	if (fd >= 0 &&
	    write(fd, running.data, running.size) == (ssize_t)running.size &&
	    write(STDERR_FILENO, message, sizeof(message) - 1) < 0)
		_exit(3);
	signal(number, SIG_DFL);
	raise(number);
}

/* From a block of its own size, so that a sanitizer sees the end. */
static void run(const struct input *input)
{
	running.size = input->size;
	running.data = malloc(input->size ? input->size : 1);
	if (!running.data)
		abort();
	memcpy(running.data, input->data, input->size);
	LLVMFuzzerTestOneInput(running.data, running.size);
	free(running.data);
}

static bool parse_number(const char *text, uint64_t *number)
{
	char *end;

	errno = 0;
	*number = strtoull(text, &end, 0);
	return *text >= '0' && *text <= '9' && !*end && !errno;
}

static int usage(void)
{
	fputs("Usage: fuzz_maps FILE...\n"
	      "       fuzz_maps --runs N [--seed S] [FILE...]\n", stderr);
	return 2;
}

int main(int argc, char **argv)
{
	static const struct option names[] = {
		{ "runs", required_argument, NULL, 'r' },
		{ "seed", required_argument, NULL, 's' },
		{ NULL, 0, NULL, 0 }
	};
	uint64_t runs = 0, seed = 1;
	struct input *files, input;
	size_t count, from;
	int option;

	while ((option = getopt_long(argc, argv, "", names, NULL)) != -1) {
		if (option == '?' ||
		    !parse_number(optarg, option == 'r' ? &runs : &seed))
			return usage();
	}
	count = (size_t)(argc - optind);
	if (!runs && !count)
		return usage();
	files = calloc(count + 1, sizeof(*files));
	input.data = malloc(INPUT_MAX);
	if (!files || !input.data)
		abort();
	for (size_t i = 0; i < count; i++) {
		if (read_input(argv[optind + (int)i], &files[i]))
			return 1;
	}
	signal(SIGABRT, keep_input);
	signal(SIGSEGV, keep_input);
	signal(SIGBUS, keep_input);

	for (size_t i = 0; i < count; i++)
		run(&files[i]);
	for (uint64_t i = 0; i < runs; i++) {
		/* Each run has its own numbers, whatever came before. */
		random_state = seed ^ i << 32;
		next_random();
		input.size = 0;
		from = below(count + 1);
		if (from < count)
			insert(&input, 0, files[from].data, files[from].size);
		else
			insert(&input, 0, words[0], strlen(words[0]));
		for (size_t n = 1 + below(16); n; n--)
			change(&input);
		run(&input);
	}
	printf("%zu files, %" PRIu64 " random inputs, seed %" PRIu64 ": ok\n",
	       count, runs, seed);
	for (size_t i = 0; i < count; i++)
		free(files[i].data);
	free(files);
	free(input.data);
	return 0;
}
