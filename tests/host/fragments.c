/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What vmafrag is made of: counting separate neighbours, reading mappings in
 * both ways, and quoting names.
 */

#define _GNU_SOURCE
#include "tools/fragments.h"
#include "tools/picture.h"
#include "tools/text.h"
#include "../suite.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* ---- counting ------------------------------------------------------------ */

#define LONG_NAME \
	"nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn"

static const struct counted {
	const char *text;
	uint64_t mappings, anonymous, separate, runs, longest;
} counted[] = {
	{ "", 0, 0, 0, 0, 0 },
	{ "1000-2000 rw-p 0 0:0 0\n", 1, 1, 0, 0, 0 },
	{ "1000-2000 rw-p 0 0:0 0\n2000-3000 rw-p 0 0:0 0\n", 2, 2, 1, 1, 2 },
	/* a gap */
	{ "1000-2000 rw-p 0 0:0 0\n3000-4000 rw-p 0 0:0 0\n", 2, 2, 0, 0, 0 },
	/* another protection, each */
	{ "1000-2000 rw-p 0 0:0 0\n2000-3000 r--p 0 0:0 0\n", 2, 2, 0, 0, 0 },
	{ "1000-2000 rw-p 0 0:0 0\n2000-3000 -w-p 0 0:0 0\n", 2, 2, 0, 0, 0 },
	{ "1000-2000 rw-p 0 0:0 0\n2000-3000 rwxp 0 0:0 0\n", 2, 2, 0, 0, 0 },
	{ "1000-2000 ---p 0 0:0 0\n2000-3000 ---p 0 0:0 0\n", 2, 2, 1, 1, 2 },
	/* names */
	{ "1000-2000 rw-p 0 0:0 0\n2000-3000 rw-p 0 0:0 0 [heap]\n",
	  2, 2, 0, 0, 0 },
	{ "1000-2000 rw-p 0 0:0 0 [heap]\n2000-3000 rw-p 0 0:0 0\n",
	  2, 2, 0, 0, 0 },
	{ "1000-2000 rw-p 0 0:0 0 [heap]\n2000-3000 rw-p 0 0:0 0 [heap]\n",
	  2, 2, 1, 1, 2 },
	{ "1000-2000 rw-p 0 0:0 0 [anon:a]\n2000-3000 rw-p 0 0:0 0 [anon:b]\n",
	  2, 2, 0, 0, 0 },
	{ "1000-2000 rw-p 0 0:0 0 [anon:a]\n2000-3000 rw-p 0 0:0 0 [anon:a]\n",
	  2, 2, 1, 1, 2 },
	{ "1000-2000 rw-p 0 0:0 0 [anon:a]\n2000-3000 rw-p 0 0:0 0 [anon:ab]\n",
	  2, 2, 0, 0, 0 },
	{ "1000-2000 rw-p 0 0:0 0 [anon:" LONG_NAME "]\n"
	  "2000-3000 rw-p 0 0:0 0 [anon:" LONG_NAME "]\n", 2, 2, 1, 1, 2 },
	/* not anonymous, or shared */
	{ "1000-2000 rw-p 0 8:1 7 /a\n2000-3000 rw-p 0 8:1 7 /a\n",
	  2, 0, 0, 0, 0 },
	{ "1000-2000 rw-s 0 0:1 7 /dev/zero (deleted)\n"
	  "2000-3000 rw-s 0 0:1 7 /dev/zero (deleted)\n", 2, 0, 0, 0, 0 },
	{ "1000-2000 rw-p 0 0:0 0 [stack]\n2000-3000 rw-p 0 0:0 0 [stack]\n",
	  2, 0, 0, 0, 0 },
	/* one of these between, or just before */
	{ "1000-2000 rw-p 0 0:0 0\n2000-3000 rw-p 0 8:1 7 /a\n"
	  "3000-4000 rw-p 0 0:0 0\n", 3, 2, 0, 0, 0 },
	{ "1000-2000 rw-p 0 8:1 7 /a\n2000-3000 rw-p 0 0:0 0\n"
	  "3000-4000 rw-p 0 0:0 0\n", 3, 2, 1, 1, 2 },
	/* runs: 3, 1, 2 */
	{ "1000-2000 rw-p 0 0:0 0\n2000-4000 rw-p 0 0:0 0\n"
	  "4000-5000 rw-p 0 0:0 0\n5000-6000 r--p 0 0:0 0\n"
	  "6000-7000 rw-p 0 0:0 0\n7000-8000 rw-p 0 0:0 0\n", 6, 6, 3, 2, 3 },
	/* the longest is the last; two that touch but differ */
	{ "1000-2000 rw-p 0 0:0 0\n2000-3000 rw-p 0 0:0 0\n"
	  "3000-4000 r--p 0 0:0 0\n4000-5000 r--p 0 0:0 0\n"
	  "5000-6000 r--p 0 0:0 0\n", 5, 5, 3, 2, 3 },
	/* what the kernel makes up does not count */
	{ "1000-2000 rw-p 0 0:0 0\n"
	  "ffffffffff600000-ffffffffff601000 --xp 0 0:0 0 [vsyscall]\n",
	  1, 1, 0, 0, 0 },
	{ "ffff0000-ffff1000 r-xp 0 0:0 0 [vectors]\n", 0, 0, 0, 0, 0 },
	/* a table that changed while it was read: not in order */
	{ "2000-3000 rw-p 0 0:0 0\n1000-2000 rw-p 0 0:0 0\n", 2, 2, 0, 0, 0 },
	{ "1000-3000 rw-p 0 0:0 0\n2000-4000 rw-p 0 0:0 0\n", 2, 2, 0, 0, 0 },
};

struct seen {
	struct fragments f;
	struct picture picture;
	int starts;
	uint64_t stop_after;	/* mappings, 0: never */
	bool refuse;		/* stop before the first */
};

static bool visit(const struct maps_entry *entry,
		  const struct fragments_kind *kind, void *data)
{
	struct seen *seen = data;
	bool separate;

	if (!entry) {
		seen->starts++;
		fragments_init(&seen->f);
		picture_free(&seen->picture);
		errno = ECANCELED;
		return !seen->refuse;
	}
	separate = fragments_add(&seen->f, entry, kind);
	ck_assert(picture_add(&seen->picture, entry, separate));
	if (seen->stop_after && seen->f.mappings == seen->stop_after) {
		errno = ECANCELED;
		return false;
	}
	return true;
}

START_TEST(counts)
{
	const struct counted *c = &counted[_i];
	const size_t length = strlen(c->text);
	static struct fragments_text text;
	struct seen seen = { 0 };
	size_t part;

	/* Cut into pieces of every size. */
	for (size_t size = 1; size <= length + 1; size++) {
		visit(NULL, NULL, &seen);
		fragments_text_init(&text, NULL);
		for (size_t at = 0; at < length; at += part) {
			part = size < length - at ? size : length - at;
			ck_assert(fragments_text_push(&text, c->text + at,
						      part, visit, &seen));
		}
		ck_assert_uint_eq(seen.f.mappings, c->mappings);
		ck_assert_uint_eq(seen.f.anonymous, c->anonymous);
		ck_assert_uint_eq(seen.f.separate, c->separate);
		ck_assert_uint_eq(seen.f.runs, c->runs);
		ck_assert_uint_eq(seen.f.longest, c->longest);
	}
	picture_free(&seen.picture);
}
END_TEST

/* The kernel has no such names today; they must not be read as equal. */
START_TEST(endless_names)
{
	static char line[2 * MAPS_LINE_MAX];
	static struct {
		struct fragments_text text;
		char behind[sizeof(line)];
	} s;
	struct seen seen = { 0 };
	int length;

	fragments_text_init(&s.text, NULL);
	for (int i = 1; i <= 2; i++) {
		length = sprintf(line, "%d000-%d000 rw-p 0 0:0 0 [anon:", i,
				 i + 1);
		memset(line + length, 'n', sizeof(line) - (size_t)length);
		line[sizeof(line) - 1] = '\n';
		ck_assert(fragments_text_push(&s.text, line, sizeof(line),
					      visit, &seen));
	}
	for (size_t i = 0; i < sizeof(s.behind); i++)
		ck_assert_int_eq(s.behind[i], 0);
	ck_assert_uint_eq(seen.f.anonymous, 2);
	ck_assert_uint_eq(seen.f.separate, 0);
	picture_free(&seen.picture);
}
END_TEST

START_TEST(bad_text)
{
	static const char *const texts[] = {
		"\n", "x\n", "1000-2000 rw-p 0 0:0 0\n\n",
		"1000-2000 rw-p 0 0:0 0\n2000-1000 rw-p 0 0:0 0\n",
	};
	static struct fragments_text text;
	struct seen seen = { 0 };

	for (size_t i = 0; i < COUNT(texts); i++) {
		fragments_text_init(&text, NULL);
		errno = 0;
		ck_assert(!fragments_text_push(&text, texts[i],
					       strlen(texts[i]), visit,
					       &seen));
		ck_assert_int_eq(errno, EPROTO);
	}
	picture_free(&seen.picture);
}
END_TEST

/* ---- reasons ------------------------------------------------------------- */

#define M(start, end, rest) #start "-" #end " " rest "\n"
#define RW "rw-p 0 0:0 0"
#define FLAGS(flags) "VmFlags: " flags "\n"

/* Two mappings or more, and why the last is not one with that below. */
static const struct reasoned {
	const char *text;
	unsigned int reasons;
	const char *differing;
} reasoned[] = {
	{ M(1000, 2000, RW) FLAGS("rd mr"), 0, "" },
	{ M(1000, 2000, RW) FLAGS("rd mr") M(2000, 3000, RW) FLAGS("rd mr"),
	  FRAGMENTS_UNSEEN, "" },
	{ M(1000, 2000, RW) FLAGS("rd sd gu") M(2000, 3000, RW) FLAGS("rd"),
	  FRAGMENTS_UNSEEN, "" },
	{ M(1000, 2000, RW) FLAGS("mr") M(2000, 3000, "r--p 0 0:0 0") FLAGS("mr"),
	  FRAGMENTS_PROTECTION, "" },
	{ M(1000, 2000, RW) "ProtectionKey: 1\n" FLAGS("mr")
	  M(2000, 3000, RW) "ProtectionKey: 2\n" FLAGS("mr"),
	  FRAGMENTS_PROTECTION, "" },
	{ M(1000, 2000, RW " [anon:a]") FLAGS("mr") M(2000, 3000, RW) FLAGS("mr"),
	  FRAGMENTS_NAME, "" },
	/* The flags in the order of the alphabet, whichever side has them. */
	{ M(1000, 2000, RW) FLAGS("mr nh ac") M(2000, 3000, RW) FLAGS("mr dd ac lo"),
	  FRAGMENTS_FLAGS, "dd lo nh" },
	{ M(1000, 2000, RW) FLAGS("mr dd ac lo") M(2000, 3000, RW) FLAGS("mr nh ac"),
	  FRAGMENTS_FLAGS, "dd lo nh" },
	{ M(1000, 2000, RW) FLAGS("mr um") M(2000, 3000, RW) FLAGS("mr"),
	  FRAGMENTS_USERFAULTFD, "" },
	{ M(1000, 2000, RW) FLAGS("mr uw hg") M(2000, 3000, RW) FLAGS("mr"),
	  FRAGMENTS_USERFAULTFD | FRAGMENTS_FLAGS, "hg" },
	/* A hole as large as the larger of both is one, a larger one is not. */
	{ M(1000, 2000, RW) FLAGS("mr") M(3000, 4000, RW) FLAGS("mr"),
	  FRAGMENTS_HOLE, "" },
	{ M(1000, 3000, RW) FLAGS("mr") M(5000, 6000, RW) FLAGS("mr"),
	  FRAGMENTS_HOLE, "" },
	{ M(1000, 2000, RW) FLAGS("mr") M(4000, 6000, RW) FLAGS("nh"),
	  FRAGMENTS_HOLE | FRAGMENTS_FLAGS, "mr nh" },
	{ M(1000, 2000, RW) FLAGS("mr") M(4000, 5000, RW) FLAGS("mr"), 0, "" },
	/* Something else lies between them, or is the last. */
	{ M(1000, 2000, RW) FLAGS("mr") M(2000, 3000, "rw-s 0 0:1 5 /f") FLAGS("mr")
	  M(3000, 4000, RW) FLAGS("mr"), 0, "" },
	{ M(1000, 2000, RW) FLAGS("mr") M(2000, 3000, "rw-p 0 0:1 5 /f") FLAGS("mr"),
	  0, "" },
};

START_TEST(reasons)
{
	static const struct fragments_policies none;
	static struct fragments_text text;
	const struct reasoned *r = &reasoned[_i];
	struct seen seen = { 0 };

	visit(NULL, NULL, &seen);
	fragments_text_init(&text, &none);
	ck_assert(fragments_text_push(&text, r->text, strlen(r->text), visit,
				      &seen));
	ck_assert_uint_eq(seen.f.reasons, r->reasons);
	ck_assert_uint_eq(seen.f.differing_length, strlen(r->differing));
	ck_assert_mem_eq(seen.f.differing, r->differing, strlen(r->differing));
	picture_free(&seen.picture);
}
END_TEST

/* Separate neighbours of which one, or both, have shared pages; others do not count. */
START_TEST(shared_pages)
{
	static const char shared[] = "Shared_Dirty: 4 kB\n";
	static const struct {
		const char *below, *above, *above_flags;
		uint64_t shared;
	} pairs[] = {
		{ "", "", FLAGS("mr"), 0 },
		{ "Shared_Clean: 0 kB\nShared_Dirty: 0 kB\n", "", FLAGS("mr"), 0 },
		{ shared, "", FLAGS("mr"), 1 },
		{ "", shared, FLAGS("mr"), 1 },
		{ "Shared_Clean: 8 kB\n", shared, FLAGS("mr"), 1 },
		{ "Private_Dirty: 8 kB\n", "Rss: 4 kB\n", FLAGS("mr"), 0 },
		/* Not separate neighbours */
		{ shared, shared, FLAGS("mr nh"), 0 },
	};
	static const struct fragments_policies none;
	static struct fragments_text text;
	struct seen seen = { 0 };
	char lines[512];

	for (size_t i = 0; i < COUNT(pairs); i++) {
		snprintf(lines, sizeof(lines), "%s%s%s%s%s%s",
			 M(1000, 2000, RW), pairs[i].below, FLAGS("mr"),
			 M(2000, 3000, RW), pairs[i].above,
			 pairs[i].above_flags);
		visit(NULL, NULL, &seen);
		fragments_text_init(&text, &none);
		ck_assert(fragments_text_push(&text, lines, strlen(lines),
					      visit, &seen));
		ck_assert_uint_eq(seen.f.shared, pairs[i].shared);
	}
	picture_free(&seen.picture);
}
END_TEST

/* More flags than the kernel has are refused, not cut. */
START_TEST(too_many_flags)
{
	static const struct fragments_policies none;
	static struct fragments_text text;
	struct seen seen = { 0 };
	char line[1024] = "1000-2000 rw-p 0 0:0 0\nVmFlags:";

	for (int i = 0; i < 26 * 4; i++)
		sprintf(line + strlen(line), " %c%c", 'a' + i % 26,
			'A' + i / 26);
	strcat(line, "\n");
	fragments_text_init(&text, &none);
	ck_assert(!fragments_text_push(&text, line, strlen(line), visit,
				       &seen));
	ck_assert_int_eq(errno, EPROTO);
}
END_TEST

/* ---- reading ------------------------------------------------------------- */

static int walk(const char *path, enum fragments_way way, struct seen *seen)
{
	const int fd = open(path, O_RDONLY | O_CLOEXEC);
	int result, err;

	ck_assert_int_ge(fd, 0);
	errno = 0;
	result = fragments_walk(fd, way, visit, seen);
	err = errno;
	close(fd);
	errno = err;
	return result;
}

/* 5 pages, each a mapping of its own: they go into the opposite order. */
static void make_fragments(void)
{
	const size_t page = (size_t)sysconf(_SC_PAGESIZE);
	char *area = mmap(NULL, 13 * page, PROT_NONE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	ck_assert(area != MAP_FAILED);
	ck_assert_int_eq(mprotect(area + page, 5 * page,
				  PROT_READ | PROT_WRITE), 0);
	madvise(area + page, 5 * page, MADV_NOHUGEPAGE);
	memset(area + page, 1, 5 * page);
	for (size_t i = 0; i < 5; i++)
		ck_assert(mremap(area + (1 + i) * page, page, page,
				 MREMAP_MAYMOVE | MREMAP_FIXED,
				 area + (11 - i) * page) != MAP_FAILED);
}

/* In a process that stands still, both ways see the same. */
START_TEST(both_ways_agree)
{
	struct seen query = { 0 }, text = { 0 }, best = { 0 };
	char path[32];
	pid_t child = fork();
	int status;

	ck_assert_int_ge(child, 0);
	if (!child) {
		make_fragments();
		raise(SIGSTOP);
		_exit(0);
	}
	snprintf(path, sizeof(path), "/proc/%d/maps", (int)child);
	ck_assert_int_eq(waitpid(child, &status, WUNTRACED), child);
	ck_assert_int_eq(walk(path, FRAGMENTS_TEXT, &text), 0);
	ck_assert_int_eq(walk(path, FRAGMENTS_BEST, &best), 0);
	ck_assert_uint_eq(text.f.mappings, best.f.mappings);
	ck_assert_uint_eq(text.f.anonymous, best.f.anonymous);
	ck_assert_uint_eq(text.f.separate, best.f.separate);
	ck_assert_uint_eq(text.f.runs, best.f.runs);
	ck_assert_uint_eq(text.f.longest, best.f.longest);
	ck_assert_uint_ge(text.f.separate, 4);
	ck_assert_uint_ge(text.f.longest, 5);
	if (!walk(path, FRAGMENTS_QUERY, &query)) {
		ck_assert_uint_eq(text.f.mappings, query.f.mappings);
		ck_assert_uint_eq(text.f.separate, query.f.separate);
	} else {
		ck_assert_int_eq(errno, ENOTTY);
	}
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	picture_free(&query.picture);
	picture_free(&text.picture);
	picture_free(&best.picture);
}
END_TEST

START_TEST(ended_process)
{
	char path[32];
	struct seen seen = { 0 };
	pid_t child = fork();
	int fd;

	ck_assert_int_ge(child, 0);
	if (!child) {
		pause();
		_exit(0);
	}
	snprintf(path, sizeof(path), "/proc/%d/maps", (int)child);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	ck_assert_int_ge(fd, 0);
	kill(child, SIGKILL);
	ck_assert_int_eq(waitpid(child, NULL, 0), child);
	errno = 0;
	ck_assert_int_eq(fragments_walk(fd, (enum fragments_way)_i, visit,
					&seen), -1);
	if (errno != ENOTTY || _i != FRAGMENTS_QUERY)
		ck_assert_int_eq(errno, ESRCH);
	close(fd);
}
END_TEST

START_TEST(other_files)
{
	struct seen seen = { 0 };

	ck_assert_int_eq(walk("/proc/self/status", FRAGMENTS_BEST, &seen), -1);
	ck_assert_int_eq(errno, EPROTO);
	ck_assert_int_eq(walk("/dev/null", FRAGMENTS_BEST, &seen), -1);
	ck_assert_int_eq(errno, ESRCH);
	ck_assert_int_eq(walk("/dev/null", FRAGMENTS_QUERY, &seen), -1);
	ck_assert_int_eq(errno, ENOTTY);
	ck_assert_int_eq(walk("/proc", FRAGMENTS_TEXT, &seen), -1);
	ck_assert_int_eq(errno, EISDIR);
}
END_TEST

START_TEST(visitor_stops)
{
	struct seen seen = { .stop_after = 3 };

	ck_assert_int_eq(walk("/proc/self/maps", (enum fragments_way)_i,
			      &seen), -1);
	if (_i == FRAGMENTS_QUERY && errno == ENOTTY)
		return;
	ck_assert_int_eq(errno, ECANCELED);
	ck_assert_uint_eq(seen.f.mappings, 3);
	ck_assert_int_eq(seen.starts, 1);
	picture_free(&seen.picture);
}
END_TEST

START_TEST(visitor_refuses)
{
	struct seen seen = { .refuse = true };

	ck_assert_int_eq(walk("/proc/self/maps", (enum fragments_way)_i,
			      &seen), -1);
	ck_assert_int_eq(errno, ECANCELED);
	ck_assert_int_eq(seen.starts, 1);
	ck_assert_uint_eq(seen.f.mappings, 0);
}
END_TEST

/* Without its last line break, and where the start cannot be read again. */
START_TEST(other_texts)
{
	static const struct {
		const char *text;
		bool file;
		int err;
	} texts[] = {
		{ "1000-2000 rw-p 0 0:0 0\n", true, 0 },
		{ "1000-2000 rw-p 0 0:0 0\n2000-", true, EPROTO },
		{ "1000-2000 rw-p 0 0:0 0\n", false, ESPIPE },
	};
	const char *text = texts[_i].text;
	struct seen seen = { 0 };
	FILE *file = tmpfile();
	int ends[2], result;

	ck_assert_ptr_nonnull(file);
	ck_assert_int_eq(pipe(ends), 0);
	if (texts[_i].file)
		ck_assert_int_eq(dup2(fileno(file), ends[1]), ends[1]);
	ck_assert_int_eq(write(ends[1], text, strlen(text)),
			 (ssize_t)strlen(text));
	close(ends[1]);
	rewind(file);
	result = fragments_walk(texts[_i].file ? fileno(file) : ends[0],
				FRAGMENTS_TEXT, visit, &seen);
	ck_assert_int_eq(result, texts[_i].err ? -1 : 0);
	if (result)
		ck_assert_int_eq(errno, texts[_i].err);
	ck_assert_uint_eq(seen.f.mappings, 1);
	close(ends[0]);
	fclose(file);
	picture_free(&seen.picture);
}
END_TEST

/*
 * A path too long for PROCMAP_QUERY, so that it fails half-way: then all
 * begins anew with the text, and nothing counts twice.
 */
START_TEST(query_fails_half_way)
{
	char directory[201], root[] = "/tmp/fragments-XXXXXX";
	struct seen text = { 0 }, best = { 0 };
	const size_t page = (size_t)sysconf(_SC_PAGESIZE);
	int fd;

	memset(directory, 'd', sizeof(directory) - 1);
	directory[sizeof(directory) - 1] = '\0';
	ck_assert_ptr_nonnull(mkdtemp(root));
	ck_assert_int_eq(chdir(root), 0);
	for (int i = 0; i < 21; i++) {
		ck_assert_int_eq(mkdir(directory, 0700), 0);
		ck_assert_int_eq(chdir(directory), 0);
	}
	fd = open("file", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	ck_assert_int_ge(fd, 0);
	ck_assert(mmap(NULL, page, PROT_READ, MAP_PRIVATE, fd, 0) !=
		  MAP_FAILED);
	make_fragments();
	ck_assert_int_eq(walk("/proc/self/maps", FRAGMENTS_BEST, &best), 0);
	ck_assert_int_eq(walk("/proc/self/maps", FRAGMENTS_TEXT, &text), 0);
	ck_assert_uint_eq(best.f.mappings, text.f.mappings);
	ck_assert_uint_eq(best.f.separate, text.f.separate);
	ck_assert_uint_eq(best.picture.mappings, text.picture.mappings);
	ck_assert_int_eq(best.starts, 2);
	ck_assert_int_eq(text.starts, 1);

	close(fd);
	unlink("file");
	for (int i = 0; i < 21; i++) {
		ck_assert_int_eq(chdir(".."), 0);
		ck_assert_int_eq(rmdir(directory), 0);
	}
	rmdir(root);
	picture_free(&text.picture);
	picture_free(&best.picture);
}
END_TEST

/* ---- quoting ------------------------------------------------------------- */

static const struct quoted {
	const char *text, *json, *xml, *line;
} quoted[] = {
	{ "", "\"\"", "", "" },
	{ "a b", "\"a b\"", "a b", "a b" },
	{ "\"\\'", "\"\\\"\\\\'\"", "&quot;\\&apos;", "\"\\'" },
	{ "<a>&", "\"<a>&\"", "&lt;a&gt;&amp;", "<a>&" },
	{ "\n\t\x1b[m", "\"\\u000a\\u0009\\u001b[m\"",
	  "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd[m",
	  "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd[m" },
	{ "\x7f\xc2\x85", "\"\\u007f\\u0085\"", "\xef\xbf\xbd\xef\xbf\xbd",
	  "\xef\xbf\xbd\xef\xbf\xbd" },
	/* what changes the direction of text or ends a line, and what is beside those */
	{ "\xd8\x9c", "\"\\u061c\"", "\xef\xbf\xbd", "\xef\xbf\xbd" },
	{ "\xe2\x80\x8e", "\"\\u200e\"", "\xef\xbf\xbd", "\xef\xbf\xbd" },
	{ "\xe2\x80\x8f", "\"\\u200f\"", "\xef\xbf\xbd", "\xef\xbf\xbd" },
	{ "\xe2\x80\xa8", "\"\\u2028\"", "\xef\xbf\xbd", "\xef\xbf\xbd" },
	{ "\xe2\x80\xae", "\"\\u202e\"", "\xef\xbf\xbd", "\xef\xbf\xbd" },
	{ "\xe2\x81\xa6", "\"\\u2066\"", "\xef\xbf\xbd", "\xef\xbf\xbd" },
	{ "\xe2\x81\xa9", "\"\\u2069\"", "\xef\xbf\xbd", "\xef\xbf\xbd" },
	{ "\xd8\x9b\xd8\x9d\xe2\x80\x8d\xe2\x80\x90",
	  "\"\xd8\x9b\xd8\x9d\xe2\x80\x8d\xe2\x80\x90\"",
	  "\xd8\x9b\xd8\x9d\xe2\x80\x8d\xe2\x80\x90",
	  "\xd8\x9b\xd8\x9d\xe2\x80\x8d\xe2\x80\x90" },
	{ "\xe2\x80\xa7\xe2\x80\xaf\xe2\x81\xa5\xe2\x81\xaa",
	  "\"\xe2\x80\xa7\xe2\x80\xaf\xe2\x81\xa5\xe2\x81\xaa\"",
	  "\xe2\x80\xa7\xe2\x80\xaf\xe2\x81\xa5\xe2\x81\xaa",
	  "\xe2\x80\xa7\xe2\x80\xaf\xe2\x81\xa5\xe2\x81\xaa" },
	/* UTF-8 of two, three and four bytes, the first and last of each */
	{ "\xc2\xa0\xdf\xbf", "\"\xc2\xa0\xdf\xbf\"", "\xc2\xa0\xdf\xbf",
	  "\xc2\xa0\xdf\xbf" },
	{ "\xe0\xa0\x80\xef\xbf\xbd", "\"\xe0\xa0\x80\xef\xbf\xbd\"",
	  "\xe0\xa0\x80\xef\xbf\xbd", "\xe0\xa0\x80\xef\xbf\xbd" },
	{ "\xf0\x90\x80\x80\xf4\x8f\xbf\xbf",
	  "\"\xf0\x90\x80\x80\xf4\x8f\xbf\xbf\"",
	  "\xf0\x90\x80\x80\xf4\x8f\xbf\xbf",
	  "\xf0\x90\x80\x80\xf4\x8f\xbf\xbf" },
	/* characters that XML does not have */
	{ "\xef\xbf\xbe", "\"\xef\xbf\xbe\"", "\xef\xbf\xbd", "\xef\xbf\xbe" },
	{ "\xef\xbf\xbf", "\"\xef\xbf\xbf\"", "\xef\xbf\xbd", "\xef\xbf\xbf" },
	/* none: alone, cut, too long a form, a surrogate, too large */
	{ "\x80" "a", "\"\xef\xbf\xbd" "a\"", "\xef\xbf\xbd" "a",
	  "\xef\xbf\xbd" "a" },
	{ "\xc3", "\"\xef\xbf\xbd\"", "\xef\xbf\xbd", "\xef\xbf\xbd" },
	{ "\xc0\xaf", "\"\xef\xbf\xbd\xef\xbf\xbd\"",
	  "\xef\xbf\xbd\xef\xbf\xbd", "\xef\xbf\xbd\xef\xbf\xbd" },
	{ "\xed\xa0\x80", "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"",
	  "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd",
	  "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd" },
	{ "\xf4\x90\x80\x80", "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"",
	  "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd",
	  "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd" },
	{ "\xff\xc3(", "\"\xef\xbf\xbd\xef\xbf\xbd(\"",
	  "\xef\xbf\xbd\xef\xbf\xbd(", "\xef\xbf\xbd\xef\xbf\xbd(" },
};

static void check_quoted(void (*put)(FILE *, const char *, size_t),
			 const char *text, const char *wanted)
{
	char *output = NULL;
	size_t length = 0;
	FILE *file = open_memstream(&output, &length);

	ck_assert_ptr_nonnull(file);
	put(file, text, strlen(text));
	fclose(file);
	ck_assert_str_eq(output, wanted);
	free(output);
}

START_TEST(quotes)
{
	check_quoted(text_put_json, quoted[_i].text, quoted[_i].json);
	check_quoted(text_put_xml, quoted[_i].text, quoted[_i].xml);
	check_quoted(text_put_line, quoted[_i].text, quoted[_i].line);
}
END_TEST

/* Three characters have an escape, other control characters none. */
START_TEST(quotes_for_prometheus)
{
	check_quoted(text_put_prometheus, "a\"\\\n<", "\"a\\\"\\\\\\n<\"");
	check_quoted(text_put_prometheus, "\t\x7f\xe2\x80\xae\xff\xc3\xa4",
		     "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xc3\xa4\"");
}
END_TEST

/* ---- pictures ------------------------------------------------------------ */

/* As many mappings as there can be, in patterns: the picture stays small. */
START_TEST(picture_stays_small)
{
	static const struct {
		uint64_t step;		/* from start to start, pages */
		int protections;	/* taken in turn */
		size_t most;		/* bytes */
	} patterns[] = {
		{ 1, 1, 5000 }, { 2, 1, 120000 }, { 1, 2, 120000 },
		{ 3, 3, 120000 },
	};
	char *output = NULL;
	size_t length = 0;
	struct seen seen = { 0 };
	struct maps_entry entry = { .name = "", .read = true };
	FILE *file;

	for (uint64_t i = 0; i < 65530; i++) {
		entry.start = (1 + i * patterns[_i].step) << 12;
		entry.end = entry.start + 0x1000;
		entry.write = i % (uint64_t)patterns[_i].protections == 1;
		visit(&entry, NULL, &seen);
	}
	file = open_memstream(&output, &length);
	ck_assert_ptr_nonnull(file);
	picture_write(&seen.picture, file, "t", 1, "s");
	fclose(file);
	ck_assert_uint_lt(length, patterns[_i].most);
	free(output);
	picture_free(&seen.picture);
}
END_TEST

/* A long run is drawn by itself, however many small areas there are. */
START_TEST(picture_shows_the_run)
{
	char *output = NULL;
	size_t length = 0;
	struct seen seen = { 0 };
	struct maps_entry entry = { .name = "", .read = true };
	FILE *file;

	for (uint64_t i = 0; i < 40000; i++) {
		entry.start = (i < 20000 || i >= 21000 ? i * 2 : 20000 + i)
			      << 12;
		entry.end = entry.start + 0x1000;
		visit(&entry, NULL, &seen);
	}
	file = open_memstream(&output, &length);
	ck_assert_ptr_nonnull(file);
	picture_write(&seen.picture, file, "t", 1, "s");
	fclose(file);
	ck_assert_ptr_nonnull(strstr(output, "<title>0x9c40000-0xa028000 r--, 3.9 MiB, 1000 mappings, 999 of them separate neighbours</title>"));
	free(output);
	picture_free(&seen.picture);
}
END_TEST

/* The picture of these mappings, to be freed. */
static char *drawn(const char *text)
{
	static struct fragments_text reader;
	struct seen seen = { 0 };
	char *output = NULL;
	size_t length = 0;
	FILE *file = open_memstream(&output, &length);

	ck_assert_ptr_nonnull(file);
	fragments_text_init(&reader, NULL);
	ck_assert(fragments_text_push(&reader, text, strlen(text), visit,
				      &seen));
	picture_write(&seen.picture, file, "t", 1, "s");
	fclose(file);
	picture_free(&seen.picture);
	return output;
}

static size_t occurrences(const char *text, const char *part)
{
	size_t count = 0;

	while ((text = strstr(text, part))) {
		count++;
		text++;
	}
	return count;
}

/* Shared memory is drawn as a file, the parts of one file together. */
START_TEST(picture_kinds)
{
	char *output = drawn("1000-2000 rw-s 0 0:0 0\n"
			     "3000-4000 r--p 0 8:1 7 /a\n"
			     "4000-5000 r-xp 0 8:1 7 /a\n"
			     "5000-6000 r--p 0 8:1 8 /b\n"
			     "6000-7000 rw-p 0 0:0 0\n"
			     "8000-9000 rw-p 0 0:0 0 [stack]\n"
			     "10000-28000000000000 ---p 0 0:0 0\n");

	/* Besides the one in the legend */
	ck_assert_uint_eq(occurrences(output, "<rect class=\"f\""), 1 + 3);
	ck_assert_uint_eq(occurrences(output, "<rect class=\"a\""), 1 + 2);
	ck_assert_uint_eq(occurrences(output, "<rect class=\"o\""), 1 + 1);
	ck_assert_uint_eq(occurrences(output, "<rect class=\"s\""), 1);
	ck_assert_uint_eq(occurrences(output, "2 mappings /a<"), 1);
	ck_assert_uint_eq(occurrences(output, "10240 TiB"), 1);
	free(output);
}
END_TEST

/* How much of an area with many small ones is separate neighbours. */
START_TEST(picture_of_many_small)
{
	const size_t pairs = 1000;
	char *text = malloc(pairs * 128), *output;
	size_t length = 0;

	ck_assert_ptr_nonnull(text);
	for (size_t i = 1; i <= pairs; i++)
		length += (size_t)sprintf(text + length,
			"%zx0000-%zx1000 rw-p 0 0:0 0\n"
			"%zx1000-%zx2000 rw-p 0 0:0 0\n", i, i, i, i);
	output = drawn(text);
	/*
	 * 13 runs in each of 76 boxes and 12 in another.  Half of a box of 34 is
	 * red, half blue; the legend has one of each colour.
	 */
	ck_assert_uint_eq(occurrences(output, "<rect class=\"m\""), 1 + 77);
	ck_assert_uint_eq(occurrences(output, "<rect class=\"s\""), 1 + 77);
	ck_assert_uint_eq(occurrences(output, "<rect class=\"a\""), 1 + 77);
	ck_assert_uint_eq(occurrences(output, "height=\"17\""), 2 * 77);
	ck_assert_uint_eq(occurrences(output,
		", 26 mappings, 26 of them anonymous, 13 of them separate neighbours<"),
		76);
	free(output);
	free(text);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("fragments");
	TCase *counting = tcase_create("counting");
	TCase *reading = tcase_create("reading");
	TCase *quoting = tcase_create("quoting");
	TCase *pictures = tcase_create("pictures");

	tcase_add_loop_test(counting, counts, 0, (int)COUNT(counted));
	tcase_add_test(counting, endless_names);
	tcase_add_loop_test(counting, reasons, 0, (int)COUNT(reasoned));
	tcase_add_test(counting, shared_pages);
	tcase_add_test(counting, too_many_flags);
	tcase_add_test(counting, bad_text);
	suite_add_tcase(s, counting);

	tcase_add_test(reading, both_ways_agree);
	tcase_add_loop_test(reading, ended_process, FRAGMENTS_BEST,
			    FRAGMENTS_TEXT + 1);
	tcase_add_test(reading, other_files);
	tcase_add_loop_test(reading, visitor_stops, FRAGMENTS_BEST,
			    FRAGMENTS_TEXT + 1);
	tcase_add_loop_test(reading, visitor_refuses, FRAGMENTS_BEST,
			    FRAGMENTS_TEXT + 1);
	tcase_add_loop_test(reading, other_texts, 0, 3);
	tcase_add_test(reading, query_fails_half_way);
	suite_add_tcase(s, reading);

	tcase_add_loop_test(quoting, quotes, 0, (int)COUNT(quoted));
	tcase_add_test(quoting, quotes_for_prometheus);
	suite_add_tcase(s, quoting);

	tcase_add_loop_test(pictures, picture_stays_small, 0, 4);
	tcase_add_test(pictures, picture_shows_the_run);
	tcase_add_test(pictures, picture_kinds);
	tcase_add_test(pictures, picture_of_many_small);
	suite_add_tcase(s, pictures);
	return s;
}

int main(void)
{
	return run_suite(suite());
}
