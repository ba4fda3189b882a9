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

/* A call, as the input has it, in pages of the arena and as it is made */
struct call {
	size_t at, old_pages, new_pages, to;
	unsigned int methods;
	unsigned int odd;	/* what is unusual about it, if anything */
	int flags;
	char *old, *target;
	size_t old_size, new_size;
};

static struct call read_call(struct input *in)
{
	struct call c = { .at = next(in, PAGES) };
	unsigned int bits;

	c.old_pages = next(in, (unsigned int)(PAGES - c.at)) + 1;
	c.new_pages = next(in, PAGES) + 1;
	bits = next(in, 64);
	c.odd = next(in, 32);
	c.to = next(in, PAGES);
	c.methods = next(in, 17);
	c.flags = (int)(bits & 31) | (bits & 32 ? MREMAP_MAYMOVE | MREMAP_RELOCATE_ANON : 0);
	c.old = arena + c.at * page;
	c.target = arena + c.to * page;

	/* Nothing outside the arena is to be hit. */
	if ((c.flags & MREMAP_FIXED) && c.to + c.new_pages > PAGES)
		c.new_pages = PAGES - c.to;
	c.old_size = c.old_pages * page - (c.odd == 1 ? 100 : 0);
	c.new_size = c.new_pages * page - (c.odd == 2 ? 100 : 0);
	if (c.odd == 3)
		c.old++;
	if (c.odd == 4)
		c.target++;
	if (c.odd >= 28)
		c.new_size = special_size(c.odd - 28);
	if (c.odd == 27)
		c.old_size = 0;
	return c;
}

/* It failed: nothing changed, but a move of several mappings may have got half-way. */
static void check_failure(const struct call *c, const struct mremap_compat_report *report)
{
	CHECK(errno == EINVAL || errno == EFAULT || errno == ENOMEM || errno == EAGAIN);
	CHECK(!report->method);
	if (!(c->flags & MREMAP_FIXED))
		return;
	for (size_t i = 0; i < PAGES; i++) {
		const bool there = is_mapped(arena + i * page);
		const bool was = model[i].mapped;

		if (there == was)
			continue;
		CHECK(was ? (c->methods & 8) : false);
		model[i].mapped = model[i].known = false;
	}
}

/* A shared mapping twice, or much; as mremap(2) has it. */
static void forget(const struct call *c, char *result)
{
	const size_t pages = c->odd == 29 ? 1 : c->new_pages;

	if (result < arena || result >= arena + PAGES * page)
		munmap(result, c->odd >= 28 ? c->new_size : pages * page);
	for (size_t i = 0; i < PAGES; i++)
		if (is_mapped(arena + i * page) != model[i].mapped)
			unmap(i, 1);
	/* Start again: what it was is not for the model. */
	unmap(0, PAGES);
}

static void model_in_place(const struct call *c, const struct mremap_compat_report *report)
{
	CHECK(!report->method);
	CHECK(!(c->flags & (MREMAP_FIXED | MREMAP_DONTUNMAP)));
	for (size_t i = c->at + c->old_pages; i < c->at + c->new_pages; i++) {
		if (i >= PAGES) {
			munmap(arena + PAGES * page, (c->at + c->new_pages - PAGES) * page);
			break;
		}
		model[i] = model[c->at];
		model[i].known &= !model[i].shared;
		model[i].tag = 0;
	}
	for (size_t i = c->at + c->new_pages; i < c->at + c->old_pages; i++)
		model[i].mapped = model[i].known = false;
}

static void model_fixed(const struct call *c, size_t moved)
{
	memcpy(saved, model + c->at, moved * sizeof(*model));
	for (size_t i = 0; i < c->new_pages; i++) {
		model[c->to + i] = saved[i < moved ? i : 0];
		if (i < moved && !saved[i].mapped) {
			/* A hole between mappings that move at once */
			model[c->to + i].mapped = is_mapped(c->target + i * page);
			model[c->to + i].known = false;
		}
		if (i >= moved) {
			model[c->to + i].known &= !saved[0].shared;
			model[c->to + i].tag = 0;
		}
	}
}

/* Where the kernel chose is no part of the model: it is unmapped. */
static void unmap_elsewhere(const struct call *c, char *result)
{
	munmap(result, c->new_pages * page);
	/* The kernel may have found room in the arena. */
	if (result < arena || result >= arena + PAGES * page)
		return;
	for (size_t i = 0; i < c->new_pages; i++) {
		const size_t k = (size_t)(result - arena) / page + i;

		if (k < PAGES)
			model[k].mapped = model[k].known = false;
	}
}

static void model_source(const struct call *c)
{
	const bool fixed = c->flags & MREMAP_FIXED;

	for (size_t i = c->at; i < c->at + c->old_pages; i++) {
		const bool kept = (c->flags & MREMAP_DONTUNMAP) && model[i].mapped;

		if (fixed && i >= c->to && i < c->to + c->new_pages)
			continue;
		CHECK(is_mapped(arena + i * page) == kept);
		model[i].mapped = kept;
		model[i].known = kept && model[i].known;
		/* Shared memory is at both. */
		model[i].tag = model[i].known ? tag_of(arena + i * page) : 0;
	}
}

static void call(struct input *in)
{
	const struct call c = read_call(in);
	const size_t moved = c.old_pages < c.new_pages ? c.old_pages : c.new_pages;
	const bool fixed = c.flags & MREMAP_FIXED;
	struct mremap_compat_report report;
	char *result;

	errno = ENOTTY;
	result = mremap_compat_ext_with(step % 2 ? handle : NULL, c.old, c.old_size, c.new_size,
					c.flags, c.target, c.methods, &report);
	if (result == MAP_FAILED) {
		check_failure(&c, &report);
		return;
	}
	CHECK(errno == ENOTTY);
	if (c.odd == 27 || c.odd >= 28) {
		forget(&c, result);
		return;
	}
	if (result == c.old) {
		model_in_place(&c, &report);
		return;
	}
	CHECK(report.method & c.methods);
	CHECK(!fixed || result == c.target);
	for (size_t i = 0; i < moved; i++)
		if (model[c.at + i].known)
			CHECK(tag_of(result + i * page) == model[c.at + i].tag);
	if (fixed)
		model_fixed(&c, moved);
	else
		unmap_elsewhere(&c, result);
	model_source(&c);
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
