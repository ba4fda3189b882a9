/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How realloc() of the patched glibc asks mremap(2) for relocation.  Run under
 * relocate-run, or linked statically with that glibc, on any kernel: a seccomp
 * filter hands each mremap(2) to a signal handler, which plays the kernel.
 *
 *	realloc			with GLIBC_TUNABLES=glibc.malloc.mremap_relocate_min_mmaps=0
 *	realloc default		without
 */

#define _GNU_SOURCE
#include <errno.h>
#include <gnu/libc-version.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#include "../limit.h"

#define RELOCATE_ANON 8
#define CHUNKS 50
#define THREADS 8
/* In the word before a chunk, see malloc/malloc.c. */
#define IS_MMAPPED 2
/* In the sixth argument, which mremap does not have: let the call through. */
#define PASS 0x5ca1ab1eUL

static struct {
	/* The answer to calls with the flag; 0: do them. */
	atomic_int err;
	/* What was seen. */
	atomic_int flagged, plain, refused_in_use;
} kernel;

static unsigned char *chunk[CHUNKS];

static bool in_use(uintptr_t address)
{
	for (int i = 0; i < CHUNKS; i++)
		if (((uintptr_t)chunk[i] & -4096UL) == address)
			return true;
	return false;
}

static void play_kernel(int sig, siginfo_t *info, void *context)
{
	greg_t *reg = ((ucontext_t *)context)->uc_mcontext.gregs;
	const int saved_errno = errno;
	long result;

	(void)sig;
	(void)info;
	if (reg[REG_R10] & RELOCATE_ANON) {
		kernel.flagged++;
		if (kernel.err && in_use((uintptr_t)reg[REG_RDI]))
			kernel.refused_in_use++;
	} else {
		kernel.plain++;
	}

	if ((reg[REG_R10] & RELOCATE_ANON) && kernel.err) {
		result = -kernel.err;
	} else {
		result = syscall(SYS_mremap, reg[REG_RDI], reg[REG_RSI],
				 reg[REG_RDX], reg[REG_R10] & ~RELOCATE_ANON,
				 reg[REG_R8], PASS);
		if (result == -1)
			result = -errno;
	}
	reg[REG_RAX] = result;
	errno = saved_errno;
}

static void boot(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
			 offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_mremap, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
			 offsetof(struct seccomp_data, args[5])),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, PASS, 1, 0),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { sizeof(code) / sizeof(code[0]), code };
	struct sigaction action = {
		.sa_sigaction = play_kernel, .sa_flags = SA_SIGINFO
	};

	if (sigaction(SIGSYS, &action, NULL) ||
	    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
	    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program)) {
		perror("# cannot play a kernel");
		_exit(99);
	}
}

#define CHECK(condition) do { \
	if (!(condition)) { \
		printf("# line %d: %s (flagged %d, plain %d)\n", __LINE__, \
		       #condition, kernel.flagged, kernel.plain); \
		fflush(stdout); \
		_exit(1); \
	} \
} while (0)

static void make_chunks(void)
{
	const size_t *head;

	CHECK(mallopt(M_MMAP_THRESHOLD, 4096) == 1);
	CHECK(mallopt(M_MMAP_MAX, 1000000) == 1);
	for (int i = 0; i < CHUNKS; i++) {
		/* The first ones come from what the heap has at hand. */
		do {
			chunk[i] = malloc(6000);
			CHECK(chunk[i]);
			head = (const size_t *)((uintptr_t)chunk[i] -
						sizeof(*head));
		} while (!(*head & IS_MMAPPED));
		memset(chunk[i], i + 1, 6000);
	}
}

static void grow_chunks(size_t from, size_t to)
{
	for (int i = 0; i < CHUNKS; i++) {
		chunk[i] = realloc(chunk[i], to);
		CHECK(chunk[i]);
		for (size_t pos = 0; pos < from; pos++)
			CHECK(chunk[i][pos] == i + 1);
		memset(chunk[i], i + 1, to);
	}
}

static void refused(int err)
{
	make_chunks();
	boot();
	kernel.err = err;
	grow_chunks(6000, 22000);
	grow_chunks(22000, 60000);
	/* New memory merges, and copying so little is cheap. */
	CHECK(kernel.flagged == 1);
	CHECK(kernel.plain == 0);
	grow_chunks(60000, 100000);
	grow_chunks(100000, 200000);
	CHECK(kernel.flagged == 1);
	CHECK(kernel.refused_in_use == 0);
	CHECK(kernel.plain == CHUNKS);
}

static void einval(void) { refused(EINVAL); }
static void eperm(void) { refused(EPERM); }
static void enosys(void) { refused(ENOSYS); }
/* No answer that is known counts as none. */
static void enomem(void) { refused(ENOMEM); }

static void supported(void)
{
	make_chunks();
	boot();
	grow_chunks(6000, 22000);
	grow_chunks(22000, 70000);
	CHECK(kernel.flagged == 2 * CHUNKS + 1);
	CHECK(kernel.plain == 0);
}

/* A size that is refused with the flag and without it says nothing of the flag. */
static void too_large(void)
{
	volatile size_t size = PTRDIFF_MAX - 64;

	make_chunks();
	boot();
	grow_chunks(6000, 22000);
	kernel.flagged = 0;
	CHECK(!realloc(chunk[0], size));
	CHECK(kernel.flagged == 1);
	grow_chunks(22000, 70000);
	CHECK(kernel.flagged == 1 + CHUNKS);
}

static void refused_later(void)
{
	make_chunks();
	boot();
	grow_chunks(6000, 70000);
	kernel.flagged = 0;
	kernel.err = EPERM;
	grow_chunks(70000, 200000);
	CHECK(kernel.flagged == 1);
	CHECK(kernel.plain == CHUNKS);
}

/* Relocation takes memory: without it there may be enough, and a copy takes more. */
static void no_memory(void)
{
	make_chunks();
	boot();
	grow_chunks(6000, 22000);
	kernel.flagged = 0;
	kernel.err = ENOMEM;
	grow_chunks(22000, 70000);
	CHECK(kernel.flagged == CHUNKS);
	CHECK(kernel.plain == CHUNKS);
	kernel.err = 0;
	grow_chunks(70000, 200000);
	CHECK(kernel.flagged == 2 * CHUNKS);
	CHECK(kernel.plain == CHUNKS);
}

/* What shrinks does not move. */
static void shrinking(void)
{
	make_chunks();
	boot();
	grow_chunks(6000, 70000);
	kernel.flagged = 0;
	for (int i = 0; i < CHUNKS; i++) {
		unsigned char *p = realloc(chunk[i], 20000);

		CHECK(p == chunk[i] && p[19999] == i + 1);
	}
	CHECK(kernel.flagged == 0);
	CHECK(kernel.plain == CHUNKS);
}

/* Whether a block of that size is relocated when it grows. */
static bool relocates(size_t size)
{
	unsigned char *p = malloc(size);

	CHECK(p);
	p[0] = p[size - 1] = 1;
	kernel.flagged = kernel.plain = 0;
	p = realloc(p, 2 * size);
	CHECK(p && p[0] == 1 && p[size - 1] == 1);
	CHECK(kernel.flagged + kernel.plain == 1);
	free(p);
	return kernel.flagged == 1;
}

/* The time for which one call holds the lock is bounded. */
static void largest(void)
{
	make_chunks();
	boot();
	grow_chunks(6000, 22000);
	CHECK(relocates(30 << 20));
	CHECK(!relocates(33 << 20));
}

/* Without the tunable: few chunks are left alone, many are not. */
static void by_default(void)
{
	make_chunks();
	boot();
	grow_chunks(6000, 22000);
	grow_chunks(22000, 70000);
	CHECK(kernel.flagged == 0);
	CHECK(kernel.plain == 2 * CHUNKS);
	while (mallinfo2().hblks < 16383)
		CHECK(malloc(6000));
	grow_chunks(70000, 200000);
	CHECK(kernel.flagged == 0);
	while (mallinfo2().hblks < 16384)
		CHECK(malloc(6000));
	grow_chunks(200000, 300000);
	CHECK(kernel.flagged == CHUNKS + 1);
	CHECK(kernel.plain == 3 * CHUNKS);
}

/* After many calls of realloc() and free() nothing is counted as mapped. */
static void statistics(void)
{
	const size_t before = mallinfo2().hblkhd;

	make_chunks();
	for (int i = 0; i < 1000; i++) {
		chunk[0] = realloc(chunk[0], i % 2 ? 6000 : 200000);
		CHECK(chunk[0]);
	}
	for (int i = 0; i < CHUNKS; i++)
		free(chunk[i]);
	CHECK(mallinfo2().hblkhd == before);
}

static void child(void)
{
	int status;
	pid_t pid;

	make_chunks();
	boot();
	kernel.err = EINVAL;
	grow_chunks(6000, 22000);
	pid = fork();
	CHECK(pid >= 0);
	if (pid == 0) {
		grow_chunks(22000, 70000);
		CHECK(kernel.flagged == 1);
		_exit(0);
	}
	CHECK(waitpid(pid, &status, 0) == pid && status == 0);
	grow_chunks(22000, 70000);
	CHECK(kernel.flagged == 1);
}

static pthread_barrier_t barrier;

static void *thread(void *arg)
{
	unsigned char c = (unsigned char)(uintptr_t)arg, *p = malloc(6000);

	CHECK(p);
	memset(p, c, 6000);
	pthread_barrier_wait(&barrier);
	for (size_t size = 6000; size < 1000000; size += 40000) {
		p = realloc(p, size + 40000);
		CHECK(p);
		for (size_t pos = 0; pos < size; pos++)
			CHECK(p[pos] == c);
		memset(p, c, size + 40000);
	}
	free(p);
	return NULL;
}

static void threads(void)
{
	pthread_t id[THREADS];

	make_chunks();
	boot();
	kernel.err = EINVAL;
	CHECK(!pthread_barrier_init(&barrier, NULL, THREADS));
	for (uintptr_t i = 0; i < THREADS; i++)
		CHECK(!pthread_create(&id[i], NULL, thread, (void *)(i + 1)));
	for (int i = 0; i < THREADS; i++)
		CHECK(!pthread_join(id[i], NULL));
	CHECK(kernel.flagged >= 1 && kernel.flagged <= THREADS);
	CHECK(kernel.refused_in_use == 0);
}

static const struct test {
	void (*run)(void);
	const char *name;
} tests[] = {
	{ statistics, "what is mapped is counted right" },
	{ einval, "EINVAL: one failed call, small chunks are copied" },
	{ eperm, "EPERM: likewise" },
	{ enosys, "ENOSYS: likewise" },
	{ enomem, "ENOMEM, which is no answer: likewise" },
	{ supported, "supported: each chunk that moves is relocated" },
	{ shrinking, "a chunk that shrinks is not" },
	{ largest, "nor is one of more than 32 MiB" },
	{ refused_later, "refused after all: the plain call, and no more tries" },
	{ too_large, "too large a size: no reason to give the flag up" },
	{ no_memory, "ENOMEM with the flag: the plain call" },
	{ child, "a child inherits the answer" },
	{ threads, "threads that ask at the same time" },
}, defaults[] = {
	{ by_default, "by default chunks are relocated from 16,384 on" },
};

int main(int argc, char **argv)
{
	const bool by_tunable = !(argc == 2 && !strcmp(argv[1], "default"));
	const struct test *test = by_tunable ? tests : defaults;
	const int count = by_tunable ? (int)(sizeof(tests) / sizeof(tests[0])) : 1;
	int failed = 0, status;

	printf("1..%d\n", count);
	printf("# glibc %s\n", gnu_get_libc_version());
	for (int i = 0; i < count; i++) {
		fflush(stdout);
		pid_t pid = fork();

		if (pid == 0) {
			alarm(test_limit());
			test[i].run();
			fflush(stdout);
			_exit(0);
		}
		if (pid < 0 || waitpid(pid, &status, 0) != pid)
			return 2;
		if (status) {
			printf("# wait status %#x\n", status);
			failed++;
		}
		printf("%sok %d - %s\n", status ? "not " : "", i + 1,
		       test[i].name);
	}
	return failed ? 1 : 0;
}
