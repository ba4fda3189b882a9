/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Vectors that grow in turn: first with mremap(), then with the library. A handle
 * serves all the moves. Copying is allowed, since no device uses the vectors' pages.
 * Vectors that have been relocated form one mapping with their neighbours.
 *
 *     cc vector.c $(pkg-config --cflags --libs mremap_compat)
 */

#define _GNU_SOURCE
#include <mremap_compat.h>

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define VECTORS 100
#define ROUNDS 6	/* of growth to twice the size */

typedef void *resize_fn(void *region, size_t old_size, size_t new_size);

struct vector {
	char *data;
	size_t length, capacity;	/* bytes */
	resize_fn *resize;
};

/* What the library does, without relocation. */
static void *plain_resize(void *region, size_t old_size, size_t new_size)
{
	void *p;

	if (!new_size)
		p = munmap(region, old_size) ? MAP_FAILED : NULL;
	else if (!region)
		p = mmap(NULL, new_size, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	else
		p = mremap(region, old_size, new_size, MREMAP_MAYMOVE);
	return p == MAP_FAILED ? NULL : p;
}

static void push(struct vector *vector, char value)
{
	if (vector->length == vector->capacity) {
		const size_t more = vector->capacity
			? 2 * vector->capacity : (size_t)sysconf(_SC_PAGESIZE);
		char *data = vector->resize(vector->data, vector->capacity,
					    more);

		if (!data) {
			perror("growing a vector");
			exit(EXIT_FAILURE);
		}
		vector->data = data;
		vector->capacity = more;
	}
	vector->data[vector->length++] = value;
}

/* How many mappings the vectors consist of, a shared one counted once. */
static int count_mappings(const struct vector *vectors)
{
	FILE *maps = fopen("/proc/self/maps", "re");
	char *line = NULL;
	size_t size = 0;
	int count = 0;

	if (!maps) {
		perror("/proc/self/maps");
		exit(EXIT_FAILURE);
	}
	while (getline(&line, &size, maps) > 0) {
		unsigned long start, end;
		int i;

		if (sscanf(line, "%lx-%lx", &start, &end) != 2)
			continue;
		for (i = 0; i < VECTORS; i++) {
			const unsigned long data =
				(unsigned long)vectors[i].data;

			if (start < data + vectors[i].capacity && data < end) {
				count++;
				break;
			}
		}
	}
	free(line);
	fclose(maps);
	return count;
}

static void grow(const char *how, resize_fn *resize)
{
	static struct vector vectors[VECTORS];
	size_t size = (size_t)sysconf(_SC_PAGESIZE), k;
	int round, i;

	for (i = 0; i < VECTORS; i++)
		vectors[i] = (struct vector){ .resize = resize };
	for (round = 0; round <= ROUNDS; round++, size *= 2) {
		for (i = 0; i < VECTORS; i++) {
			while (vectors[i].length < size)
				push(&vectors[i], (char)i);
		}
	}

	printf("%-24s %4d mappings\n", how, count_mappings(vectors));

	for (i = 0; i < VECTORS; i++) {
		for (k = 0; k < vectors[i].length; k++) {
			if (vectors[i].data[k] != (char)i)
				abort();
		}
		resize(vectors[i].data, vectors[i].capacity, 0);
	}
}

static struct mremap_compat_handle *handle;
static unsigned int uses[MREMAP_COMPAT_METHODS];	/* of each method */

static void *resize_with_handle(void *region, size_t old_size, size_t new_size)
{
	struct mremap_compat_report report;
	void *p;
	int i;

	p = mremap_compat_realloc_with(handle, region, old_size, new_size,
				       MREMAP_COMPAT_ALL_METHODS, &report);
	for (i = 0; i < MREMAP_COMPAT_METHODS; i++)
		uses[i] += report.reason[i] == MREMAP_COMPAT_USED;
	return p;
}

int main(void)
{
	unsigned int bit = MREMAP_COMPAT_KERNEL;
	int i;

	/* The method for the larger vectors; small ones are copied, which is cheaper. */
	while (bit < MREMAP_COMPAT_PLAIN &&
	       mremap_compat_probe((enum mremap_compat_method)bit) !=
	       MREMAP_COMPAT_SUPPORTED)
		bit *= 2;
	printf("%d vectors, the larger ones by %s\n", VECTORS,
	       mremap_compat_method_name((enum mremap_compat_method)bit));

	grow("mremap():", plain_resize);
	handle = mremap_compat_open();
	if (!handle)
		perror("no handle, so each move takes longer");
	grow("mremap_compat:", resize_with_handle);
	mremap_compat_close(handle);
	printf("moves:");
	for (i = 0; i < MREMAP_COMPAT_METHODS; i++)
		printf(" %u by %s", uses[i], mremap_compat_method_name(
			       (enum mremap_compat_method)(1 << i)));
	putchar('\n');
	return EXIT_SUCCESS;
}
