// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A mix of growing vectors: 400 of them, whichever's turn it is grows by half or to
 * the double until it has 2 MiB, through realloc(). An ordinary program; the C
 * library that it runs with decides how a block moves.
 *
 *	vectors KIND UNIT
 *
 * Prints lines of the table buys (see buys.c) with these words.
 */
#define _GNU_SOURCE
#include <err.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define VECTORS 400
#define PAGE ((size_t)4096)
#define FIRST ((size_t)136 << 10)	/* from 128 KiB on, malloc() uses mmap(). */
#define LAST ((size_t)2 << 20)

static int64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

static struct vector {
	char *p;
	size_t size;
} vectors[VECTORS];

static int64_t in_realloc;
static long reallocs;

static void grow(struct vector *v, size_t size)
{
	const int64_t begin = now();

	v->p = realloc(v->p, size);
	in_realloc += now() - begin;
	reallocs++;
	if (!v->p)
		err(1, "realloc");
	for (size_t i = (v->size + PAGE - 1) & -PAGE; i < size; i += PAGE)
		v->p[i] = (char)(i / PAGE + 1);
	v->size = size;
}

int main(int argc, char **argv)
{
	const int64_t begin = now();
	uint32_t seed = 1, grown = 0;
	long mappings = 0;
	int64_t all;
	FILE *f;
	int c;

	if (argc != 3)
		errx(2, "usage: vectors KIND UNIT");
	for (int i = 0; i < VECTORS; i++)
		grow(&vectors[i], FIRST);
	while (grown < VECTORS) {
		struct vector *v;
		size_t size;

		seed = seed * 1664525 + 1013904223;
		v = &vectors[(seed >> 8) % VECTORS];
		if (v->size == LAST)
			continue;
		size = seed >> 31 ? v->size * 2 : v->size / 2 * 3;
		grow(v, size < LAST ? size : LAST);
		grown += v->size == LAST;
	}
	all = now() - begin;
	for (int i = 0; i < VECTORS; i++)
		for (size_t j = 0; j < LAST; j += PAGE)
			if (vectors[i].p[j] != (char)(j / PAGE + 1))
				errx(1, "wrong contents");

	f = fopen("/proc/self/maps", "re");
	if (!f)
		err(1, "/proc/self/maps");
	while ((c = getc(f)) != EOF)
		mappings += c == '\n';
	fclose(f);
	printf("buys,vectors,%d,%s,each realloc,%s,%lld\n", VECTORS, argv[1], argv[2],
	       (long long)(in_realloc / reallocs));
	printf("buys,vectors,%d,%s,whole program,%s,%lld\n", VECTORS, argv[1], argv[2],
	       (long long)all);
	printf("buys,vectors,%d,%s,mappings,count,%ld\n", VECTORS, argv[1], mappings);
	return 0;
}
