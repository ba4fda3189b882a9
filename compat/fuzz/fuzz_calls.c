/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Fuzz target for the argument space of mremap_compat_ext(), with a handle and
 * without: the input is a program of mmap(), munmap(), mprotect(), madvise(), mlock() and calls of the
 * library in an arena, compared after each step with a model of what every page
 * holds. A difference aborts.
 */

#define _GNU_SOURCE
#include "mremap_compat.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PAGES 48

#define CHECK(what) do { \
	if (!(what)) { \
		fprintf(stderr, "fuzz_calls: step %d: %s\n", step, #what); \
		abort(); \
	} \
} while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t page;
static char *arena;
static struct mremap_compat_handle *handle;
static int step;

/* What the model says of each page of the arena. */
static struct {
	bool mapped;
	bool known;		/* what it holds */
	bool shared;		/* what it grows by is not known */
	uint16_t tag;		/* its first bytes */
} model[PAGES], saved[PAGES];

struct input {
	const uint8_t *at, *end;
};

static unsigned int next(struct input *in, unsigned int below)
{
	return in->at < in->end ? *in->at++ % below : 0;
}

static bool is_mapped(const char *p)
{
	unsigned char vec;

	return mincore((void *)(uintptr_t)p, page, &vec) == 0;
}

static uint16_t tag_of(const char *p)
{
	uint16_t tag;

	memcpy(&tag, p, sizeof(tag));
	return tag;
}

static void check_arena(void)
{
	for (size_t i = 0; i < PAGES; i++) {
		CHECK(is_mapped(arena + i * page) == model[i].mapped);
		if (model[i].known)
			CHECK(tag_of(arena + i * page) == model[i].tag);
	}
}

static void map(size_t at, size_t n, bool shared, bool write)
{
	static uint16_t tag;

	CHECK(mmap(arena + at * page, n * page, PROT_READ | PROT_WRITE,
		   (shared ? MAP_SHARED : MAP_PRIVATE) | MAP_ANONYMOUS |
		   MAP_FIXED, -1, 0) == arena + at * page);
	for (size_t i = at; i < at + n; i++) {
		model[i].mapped = model[i].known = true;
		model[i].shared = shared;
		model[i].tag = 0;
		if (write) {
			model[i].tag = ++tag;
			memcpy(arena + i * page, &tag, sizeof(tag));
		}
	}
}

static void unmap(size_t at, size_t n)
{
	munmap(arena + at * page, n * page);
	for (size_t i = at; i < at + n; i++)
		model[i].mapped = model[i].known = false;
}

static void protect(size_t at, size_t n, int prot)
{
	for (size_t i = at; i < at + n; i++)
		mprotect(arena + i * page, page, prot);
}

static size_t special_size(unsigned int which)
{
	static const size_t sizes[] = { 0, 1, (size_t)-1, (size_t)1 << 40 };

	return sizes[which];
}

static void call(struct input *in)
{
	const size_t at = next(in, PAGES);
	const size_t old_pages = next(in, (unsigned int)(PAGES - at)) + 1;
	size_t new_pages = next(in, PAGES) + 1;
	const unsigned int bits = next(in, 64), odd = next(in, 32);
	const size_t to = next(in, PAGES);
	const unsigned int methods = next(in, 17);
	int flags = (int)(bits & 31) | (bits & 32 ? MREMAP_MAYMOVE |
					MREMAP_RELOCATE_ANON : 0);
	struct mremap_compat_report report;
	size_t old_size, new_size, moved;
	char *old = arena + at * page, *target = arena + to * page, *result;
	bool fixed;

	/* Nothing outside the arena is to be hit. */
	if ((flags & MREMAP_FIXED) && to + new_pages > PAGES)
		new_pages = PAGES - to;
	old_size = old_pages * page - (odd == 1 ? 100 : 0);
	new_size = new_pages * page - (odd == 2 ? 100 : 0);
	if (odd == 3)
		old++;
	if (odd == 4)
		target++;
	if (odd >= 28)
		new_size = special_size(odd - 28);
	if (odd == 27)
		old_size = 0;
	moved = old_pages < new_pages ? old_pages : new_pages;
	fixed = flags & MREMAP_FIXED;

	errno = ENOTTY;
	result = mremap_compat_ext_with(step % 2 ? handle : NULL, old, old_size,
					new_size, flags, target,
					methods, &report);
	if (result == MAP_FAILED) {
		CHECK(errno == EINVAL || errno == EFAULT || errno == ENOMEM ||
		      errno == EAGAIN);
		CHECK(!report.method);
		/* A move of several mappings may have got half-way. */
		if (fixed)
			for (size_t i = 0; i < PAGES; i++) {
				const bool there = is_mapped(arena + i * page);
				const bool was = model[i].mapped;

				if (there == was)
					continue;
				CHECK(was ? (methods & 8) : false);
				model[i].mapped = model[i].known = false;
			}
		return;
	}
	CHECK(errno == ENOTTY);
	if (odd == 27 || odd >= 28) {
		/* A shared mapping twice, or much; as mremap(2) has it. */
		if (odd == 29 || odd == 27)
			new_pages = odd == 29 ? 1 : new_pages;
		if (result < arena || result >= arena + PAGES * page)
			munmap(result, odd >= 28 ? new_size : new_pages * page);
		for (size_t i = 0; i < PAGES; i++)
			if (is_mapped(arena + i * page) != model[i].mapped)
				unmap(i, 1);
		/* Start again: what it was is not for the model. */
		unmap(0, PAGES);
		return;
	}
	if (result == old) {
		/* It kept its place. */
		CHECK(!report.method);
		CHECK(!fixed && !(flags & MREMAP_DONTUNMAP));
		for (size_t i = at + old_pages; i < at + new_pages; i++) {
			if (i >= PAGES) {
				munmap(arena + PAGES * page,
				       (at + new_pages - PAGES) * page);
				break;
			}
			model[i] = model[at];
			model[i].known &= !model[i].shared;
			model[i].tag = 0;
		}
		for (size_t i = at + new_pages; i < at + old_pages; i++)
			model[i].mapped = model[i].known = false;
		return;
	}
	CHECK(report.method & methods);
	CHECK(!fixed || result == target);
	for (size_t i = 0; i < moved; i++)
		if (model[at + i].known)
			CHECK(tag_of(result + i * page) == model[at + i].tag);
	if (fixed) {
		memcpy(saved, model + at, moved * sizeof(*model));
		for (size_t i = 0; i < new_pages; i++) {
			model[to + i] = saved[i < moved ? i : 0];
			if (i < moved && !saved[i].mapped) {
				/* A hole between mappings that move at once */
				model[to + i].mapped =
					is_mapped(target + i * page);
				model[to + i].known = false;
			}
			if (i >= moved) {
				model[to + i].known &= !saved[0].shared;
				model[to + i].tag = 0;
			}
		}
	} else {
		munmap(result, new_pages * page);
		/* The kernel may have found room in the arena. */
		if (result >= arena && result < arena + PAGES * page)
			for (size_t i = 0; i < new_pages; i++) {
				const size_t k = (size_t)(result - arena) / page + i;

				if (k < PAGES)
					model[k].mapped = model[k].known = false;
			}
	}
	for (size_t i = at; i < at + old_pages; i++) {
		const bool kept = (flags & MREMAP_DONTUNMAP) && model[i].mapped;

		if (fixed && i >= to && i < to + new_pages)
			continue;
		CHECK(is_mapped(arena + i * page) == kept);
		model[i].mapped = kept;
		model[i].known = kept && model[i].known;
		/* Shared memory is at both. */
		model[i].tag = model[i].known ? tag_of(arena + i * page) : 0;
	}
}

/* What it merges is not in the model: contents and what is mapped stay. */
static void coalesce(char *start, size_t size, unsigned int methods)
{
	struct mremap_compat_coalesce_report report;

	errno = ENOTTY;
	if (!mremap_compat_coalesce(start, size, methods, &report)) {
		CHECK(errno == ENOTTY);
		CHECK(!report.method || (report.method & methods));
		return;
	}
	CHECK(errno == EINVAL || errno == EOPNOTSUPP || errno == EPERM ||
	      errno == ENOMEM || errno == EAGAIN);
	CHECK(errno != EINVAL || !report.method);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { data, data + size };

	if (!arena) {
		page = (size_t)sysconf(_SC_PAGESIZE);
		/* Nobody else's neighbour, far from where the kernel maps. */
		arena = mmap((void *)((uintptr_t)1 << (sizeof(long) * 5 + 5)),
			     3 * PAGES * page, PROT_NONE,
			     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (arena == MAP_FAILED)
			abort();
		arena += PAGES * page;
		handle = mremap_compat_open();
	}
	mremap_compat_set_methods(MREMAP_COMPAT_ALL_METHODS);
	munlock(arena, PAGES * page);
	unmap(0, PAGES);
	map(0, 16, false, true);
	for (step = 0; in.at < in.end && step < 64; step++) {
		const unsigned int what = next(&in, 16);
		const size_t at = next(&in, PAGES);
		const size_t n = next(&in, (unsigned int)(PAGES - at)) + 1;

		switch (what) {
		case 0:
			map(at, n, false, true);
			break;
		case 1:
			map(at, n, false, false);
			break;
		case 2:
			map(at, n, true, true);
			break;
		case 3:
			unmap(at, n);
			break;
		case 4:
			protect(at, n, PROT_READ);
			break;
		case 5:
			protect(at, n, PROT_READ | PROT_WRITE);
			break;
		case 6:
			madvise(arena + at * page, n * page, MADV_DONTFORK);
			break;
		case 7:
			if (n < 5)
				mlock(arena + at * page, n * page);
			break;
		case 8:
			mremap_compat_set_methods((unsigned int)n & 15);
			break;
		case 9:
			coalesce(arena + at * page + (n == 7), n * page,
				 next(&in, 17));
			break;
		default:
			call(&in);
			break;
		}
		check_arena();
	}
	munlock(arena, PAGES * page);
	return 0;
}
