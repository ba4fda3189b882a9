/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Growth patterns of realloc(), one a run, and what they take in nanoseconds by
 * the monotonic clock: in a guest with --icount, instructions.
 *
 *	growth double            one buffer, doubled from 1 MiB to 1 GiB
 *	growth turns             64 buffers in turn, from 256 KiB to 16 MiB by 1.5
 *	growth steps             2 buffers in turn, from 64 MiB to 128 MiB by 1 MiB
 *	growth chunks [COUNT]    10,000 chunks of 6,000 bytes, each to 22,000
 *
 * Of each new page one word is written, which is the least that a program can do
 * with it, so that the share of realloc() is the largest possible; at the end each
 * word is checked. An ordinary program: it knows of no flag and no glibc.
 */
#define _GNU_SOURCE
#include <malloc.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "mappings.h"

#define PAGE 4096UL
#define MIB (1UL << 20)

static void die(const char *what)
{
	fprintf(stderr, "growth: %s\n", what);
	exit(1);
}

static uint64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* The places that are written do not depend on how a buffer got its size. */
static void fill(char *p, size_t from, size_t to, unsigned int seed)
{
	for (size_t at = (from + PAGE - 1) / PAGE * PAGE; at + 8 <= to; at += PAGE)
		*(uint64_t *)(void *)(p + at) = at ^ seed;
}

static void check(const char *p, size_t size, unsigned int seed)
{
	for (size_t at = 0; at + 8 <= size; at += PAGE)
		if (*(const uint64_t *)(const void *)(p + at) != (at ^ seed))
			die("content is wrong");
}

static char *grow(char *p, size_t from, size_t to, unsigned int seed)
{
	p = realloc(p, to);
	if (!p)
		die("no memory");
	fill(p, from, to, seed);
	return p;
}

static void double_one(void)
{
	char *p = grow(NULL, 0, MIB, 1);
	size_t size = MIB;

	for (; size < 1024 * MIB; size *= 2)
		p = grow(p, size, 2 * size, 1);
	check(p, size, 1);
}

static void in_turns(void)
{
	size_t size = MIB / 4, next;
	char *p[64];

	for (unsigned int i = 0; i < 64; i++)
		p[i] = grow(NULL, 0, size, i);
	for (; size < 16 * MIB; size = next) {
		next = size * 3 / 2 < 16 * MIB ? size * 3 / 2 : 16 * MIB;
		for (unsigned int i = 0; i < 64; i++)
			p[i] = grow(p[i], size, next, i);
	}
	for (unsigned int i = 0; i < 64; i++)
		check(p[i], size, i);
}

/* Large buffers in each other's way: much to move for little that is new. */
static void in_steps(void)
{
	char *p[2] = { grow(NULL, 0, 64 * MIB, 0), grow(NULL, 0, 64 * MIB, 1) };
	size_t size = 64 * MIB;

	for (; size < 128 * MIB; size += MIB)
		for (unsigned int i = 0; i < 2; i++)
			p[i] = grow(p[i], size, size + MIB, i);
	check(p[0], size, 0);
	check(p[1], size, 1);
}

static void chunks(unsigned int n)
{
	char **p = calloc(n, sizeof(*p));

	if (!p || !mallopt(M_MMAP_THRESHOLD, 4096) || !mallopt(M_MMAP_MAX, 1000000))
		die("no memory");
	for (unsigned int i = 0; i < n; i++)
		p[i] = grow(NULL, 0, 6000, i);
	for (unsigned int i = 0; i < n; i++)
		p[i] = grow(p[i], 6000, 22000, i);
	for (unsigned int i = 0; i < n; i++)
		check(p[i], 22000, i);
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";
	const uint64_t start = now();
	uint64_t end;
	int maps;

	if (!strcmp(what, "double"))
		double_one();
	else if (!strcmp(what, "turns"))
		in_turns();
	else if (!strcmp(what, "steps"))
		in_steps();
	else if (!strcmp(what, "chunks"))
		chunks(argc > 2 ? (unsigned int)atoi(argv[2]) : 10000);
	else
		die("usage: growth double|turns|steps|chunks [COUNT]");
	end = now();
	maps = mappings("/proc/self/maps");
	printf("%s %llu %d\n", what, (unsigned long long)(end - start), maps);
	return 0;
}
