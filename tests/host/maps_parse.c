/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * compat/maps.c: lines of /proc/PID/maps, good ones and bad ones, and what the
 * kernel says about this process, by PROCMAP_QUERY and by the text.
 */

#define _GNU_SOURCE
#include "maps.h"
#include "../suite.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef PR_SET_VMA
# define PR_SET_VMA 0x53564d41
# define PR_SET_VMA_ANON_NAME 0
#endif

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static size_t page;

static void setup(void)
{
	page = (size_t)sysconf(_SC_PAGESIZE);
}

/* ---- lines --------------------------------------------------------------- */

/*
 * Parse a copy that ends where no memory follows and that begins where none
 * is before, if it is a multiple of the page size.
 */
static bool parse_at_edge(const char *line, size_t length,
			  struct maps_entry *entry, const char **copy)
{
	const size_t size = (length + page - 1) / page * page;
	char *area;

	area = mmap(NULL, size + 2 * page, PROT_NONE,
		    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ck_assert(area != MAP_FAILED);
	if (size)
		ck_assert_int_eq(mprotect(area + page, size,
					  PROT_READ | PROT_WRITE), 0);
	*copy = area + page + size - length;
	memcpy(area + page + size - length, line, length);
	return maps_parse_line(*copy, length, entry);
}

static const struct good {
	const char *line;
	uint64_t start, end;
	const char *flags;
	uint64_t offset;
	uint32_t major, minor;
	uint64_t inode;
	const char *name;
	bool anonymous;
} good[] = {
	{ "55b45d7ca000-55b45d7f9000 r--p 00000000 fe:00 247101                     /usr/bin/bash",
	  0x55b45d7ca000, 0x55b45d7f9000, "r--p", 0, 0xfe, 0, 247101,
	  "/usr/bin/bash", false },
	{ "55b45d7f9000-55b45d8ba000 r-xp 0002f000 08:1f 9 /usr/bin/bash",
	  0x55b45d7f9000, 0x55b45d8ba000, "r-xp", 0x2f000, 8, 0x1f, 9,
	  "/usr/bin/bash", false },
	/* The kernel leaves a blank behind the inode if there is no name. */
	{ "7fad6a998000-7fad6aa19000 rw-p 00000000 00:00 0 ",
	  0x7fad6a998000, 0x7fad6aa19000, "rw-p", 0, 0, 0, 0, "", true },
	{ "7fad6a998000-7fad6aa19000 rw-p 00000000 00:00 0",
	  0x7fad6a998000, 0x7fad6aa19000, "rw-p", 0, 0, 0, 0, "", true },
	{ "00010000-00011000 ---p 00000000 00:00 0 ",
	  0x10000, 0x11000, "---p", 0, 0, 0, 0, "", true },
	{ "1000-2000 rwxp 0 0:0 0",
	  0x1000, 0x2000, "rwxp", 0, 0, 0, 0, "", true },
	{ "1000-2000 -w-s 0 0:0 0", 0x1000, 0x2000, "-w-s", 0, 0, 0, 0, "",
	  false },
	{ "0-1000 --xp 00000000 00:00 0 ", 0, 0x1000, "--xp", 0, 0, 0, 0, "",
	  true },
	{ "55b47292c000-55b4729c8000 rw-p 00000000 00:00 0                          [heap]",
	  0x55b47292c000, 0x55b4729c8000, "rw-p", 0, 0, 0, 0, "[heap]", true },
	{ "7ffcafb93000-7ffcafbb4000 rw-p 00000000 00:00 0                          [stack]",
	  0x7ffcafb93000, 0x7ffcafbb4000, "rw-p", 0, 0, 0, 0, "[stack]",
	  false },
	{ "7fad6aca2000-7fad6aca4000 r-xp 00000000 00:00 0                          [vdso]",
	  0x7fad6aca2000, 0x7fad6aca4000, "r-xp", 0, 0, 0, 0, "[vdso]", false },
	{ "ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]",
	  0xffffffffff600000, 0xffffffffff601000, "--xp", 0, 0, 0, 0,
	  "[vsyscall]", false },
	{ "1000-2000 rw-p 00000000 00:00 0    [anon:my heap]",
	  0x1000, 0x2000, "rw-p", 0, 0, 0, 0, "[anon:my heap]", true },
	{ "1000-2000 rw-p 00000000 00:00 0    [anon:]",
	  0x1000, 0x2000, "rw-p", 0, 0, 0, 0, "[anon:]", true },
	{ "1000-2000 rw-s 00000000 00:01 1029 [anon_shmem:ring]",
	  0x1000, 0x2000, "rw-s", 0, 0, 1, 1029, "[anon_shmem:ring]", false },
	{ "1000-2000 rw-s 00000000 00:01 1029    /dev/zero (deleted)",
	  0x1000, 0x2000, "rw-s", 0, 0, 1, 1029, "/dev/zero (deleted)", false },
	{ "1000-2000 rw-p 00000000 00:01 1029    /memfd:x y (deleted)",
	  0x1000, 0x2000, "rw-p", 0, 0, 1, 1029, "/memfd:x y (deleted)",
	  false },
	{ "1000-2000 r--p 00000000 08:01 7    /a\\012b  c ",
	  0x1000, 0x2000, "r--p", 0, 8, 1, 7, "/a\\012b  c ", false },
	/* A file may have a name like that. */
	{ "1000-2000 r--p 00000000 08:01 7    [heap]",
	  0x1000, 0x2000, "r--p", 0, 8, 1, 7, "[heap]", false },
	{ "1000-2000 rw-s 00000000 00:0e 0    anon_inode:[io_uring]",
	  0x1000, 0x2000, "rw-s", 0, 0, 14, 0, "anon_inode:[io_uring]", false },
	{ "1000-2000 rw-p 00000000 00:0e 0    anon_inode:[x]",
	  0x1000, 0x2000, "rw-p", 0, 0, 14, 0, "anon_inode:[x]", false },
	{ "1000-2000 rw-p 0 0:0 0 [heap]x", 0x1000, 0x2000, "rw-p", 0, 0, 0, 0,
	  "[heap]x", false },
	{ "1000-2000 rw-p 0 0:0 0 [heap", 0x1000, 0x2000, "rw-p", 0, 0, 0, 0,
	  "[heap", false },
	{ "1000-2000 rw-p 0 0:0 0 [anon", 0x1000, 0x2000, "rw-p", 0, 0, 0, 0,
	  "[anon", false },
	/* The largest numbers. */
	{ "fffffffffffffffe-ffffffffffffffff rwxs ffffffffffffffff ffffffff:ffffffff 18446744073709551615 x",
	  UINT64_MAX - 1, UINT64_MAX, "rwxs", UINT64_MAX, UINT32_MAX,
	  UINT32_MAX, UINT64_MAX, "x", false },
	{ "0000000000000000000001000-2000 r--p 000000000000000000000003 000000000001:0 000000000000000000000000005",
	  0x1000, 0x2000, "r--p", 3, 1, 0, 5, "", false },
};

static void check_good(const struct good *g, const struct maps_entry *e,
		       const char *copy, size_t length)
{
	ck_assert_uint_eq(e->start, g->start);
	ck_assert_uint_eq(e->end, g->end);
	ck_assert_int_eq(e->read, g->flags[0] == 'r');
	ck_assert_int_eq(e->write, g->flags[1] == 'w');
	ck_assert_int_eq(e->exec, g->flags[2] == 'x');
	ck_assert_int_eq(e->shared, g->flags[3] == 's');
	ck_assert_uint_eq(e->offset, g->offset);
	ck_assert_uint_eq(e->major, g->major);
	ck_assert_uint_eq(e->minor, g->minor);
	ck_assert_uint_eq(e->inode, g->inode);
	ck_assert_uint_eq(e->name_length, strlen(g->name));
	ck_assert_mem_eq(e->name, g->name, e->name_length);
	ck_assert(e->name >= copy && e->name + e->name_length <= copy + length);
	ck_assert_int_eq(maps_is_anonymous(e), g->anonymous);
}

START_TEST(good_line)
{
	const struct good *g = &good[_i];
	const size_t length = strlen(g->line);
	struct maps_entry entry;
	const char *copy;
	char line[512];

	ck_assert(parse_at_edge(g->line, length, &entry, &copy));
	check_good(g, &entry, copy, length);

	/* With a line break. */
	memcpy(line, g->line, length);
	line[length] = '\n';
	ck_assert(parse_at_edge(line, length + 1, &entry, &copy));
	check_good(g, &entry, copy, length);
}
END_TEST

/* Cut anywhere, it is read no further and no good before the inode is there. */
START_TEST(cut_line)
{
	const struct good *g = &good[_i];
	const char *inode = g->line;
	struct maps_entry entry;
	const char *copy;
	bool parsed;

	for (int blanks = 0; blanks < 4; blanks++)
		inode = strchr(inode, ' ') + 1;
	for (size_t length = 0; length <= strlen(g->line); length++) {
		parsed = parse_at_edge(g->line, length, &entry, &copy);
		ck_assert_msg(parsed == (g->line + length > inode),
			      "%.*s", (int)length, g->line);
		if (parsed)
			ck_assert(entry.name + entry.name_length ==
				  copy + length);
	}
}
END_TEST

static const char *const bad[] = {
	"",
	"\n",
	" ",
	"\n1000-2000 rw-p 0 0:0 0",
	" 1000-2000 rw-p 0 0:0 0",
	"-2000 rw-p 0 0:0 0",
	"1000- rw-p 0 0:0 0",
	"1000 2000 rw-p 0 0:0 0",
	"1000--2000 rw-p 0 0:0 0",
	"1000-2000rw-p 0 0:0 0",
	"1000-2000\trw-p 0 0:0 0",
	"1000-2000  rw-p 0 0:0 0",
	"0x1000-2000 rw-p 0 0:0 0",
	"+1000-2000 rw-p 0 0:0 0",
	"-1000-2000 rw-p 0 0:0 0",
	"1A00-2000 rw-p 0 0:0 0",
	"g000-2000 rw-p 0 0:0 0",
	"1000-200g rw-p 0 0:0 0",
	"1000-2000:rw-p 0 0:0 0",
	/* empty and backward ranges */
	"1000-1000 rw-p 0 0:0 0",
	"2000-1000 rw-p 0 0:0 0",
	"0-0 rw-p 0 0:0 0",
	/* numbers that are too large */
	"10000000000000000-10000000000001000 rw-p 0 0:0 0",
	"1000-10000000000000000 rw-p 0 0:0 0",
	"1000-fffffffffffffffff rw-p 0 0:0 0",
	"1000-2000 rw-p 10000000000000000 0:0 0",
	"1000-2000 rw-p 0 100000000:0 0",
	"1000-2000 rw-p 0 0:100000000 0",
	"1000-2000 rw-p 0 0:0 18446744073709551616",
	"1000-2000 rw-p 0 0:0 99999999999999999999999999",
	/* protection */
	"1000-2000 Rw-p 0 0:0 0",
	"1000-2000 wr-p 0 0:0 0",
	"1000-2000 rx-p 0 0:0 0",
	"1000-2000 rwwp 0 0:0 0",
	"1000-2000 rw-x 0 0:0 0",
	"1000-2000 rw-- 0 0:0 0",
	"1000-2000 rw-S 0 0:0 0",
	"1000-2000 rwp 0 0:0 0",
	"1000-2000 rw-pp 0 0:0 0",
	"1000-2000 rw-p0 0:0 0",
	/* offset, device */
	"1000-2000 rw-p  0:0 0",
	"1000-2000 rw-p x 0:0 0",
	"1000-2000 rw-p 0x0 0:0 0",
	"1000-2000 rw-p 0 :0 0",
	"1000-2000 rw-p 0 0: 0",
	"1000-2000 rw-p 0 0 0",
	"1000-2000 rw-p 0 0-0 0",
	"1000-2000 rw-p 0 0:0:0 0",
	"1000-2000 rw-p 0 0:0  0",
	/* inode */
	"1000-2000 rw-p 0 0:0",
	"1000-2000 rw-p 0 0:0 ",
	"1000-2000 rw-p 0 0:0 -1",
	"1000-2000 rw-p 0 0:0 a",
	"1000-2000 rw-p 0 0:0 1a",
	"1000-2000 rw-p 0 0:0 0[heap]",
	"1000-2000 rw-p 0 0:0 0\t[heap]",
	"1000-2000 rw-p 0 0:0 /a",
};

START_TEST(bad_line)
{
	struct maps_entry entry;
	const char *copy;

	ck_assert_msg(!parse_at_edge(bad[_i], strlen(bad[_i]), &entry, &copy),
		      "'%s'", bad[_i]);
}
END_TEST

/* A terminator within is no end: every byte counts. */
START_TEST(terminator_within)
{
	static const char named[] = "1000-2000 rw-p 0 0:0 0 a\0b";
	static const char cut[] = "1000-2000 rw-p 0 0:0\0 0 a";
	struct maps_entry entry;
	const char *copy;

	ck_assert(parse_at_edge(named, sizeof(named) - 1, &entry, &copy));
	ck_assert_uint_eq(entry.name_length, 3);
	ck_assert_mem_eq(entry.name, "a\0b", 3);
	ck_assert(!parse_at_edge(cut, sizeof(cut) - 1, &entry, &copy));
}
END_TEST

START_TEST(long_name)
{
	static char line[MAPS_LINE_MAX];
	const int before = sprintf(line, "1000-2000 r--p 0 8:1 7 ");
	struct maps_entry entry;
	const char *copy;

	memset(line + before, 'x', MAPS_NAME_MAX);
	ck_assert(parse_at_edge(line, (size_t)before + MAPS_NAME_MAX, &entry,
				&copy));
	ck_assert_uint_eq(entry.name_length, MAPS_NAME_MAX);
	ck_assert(entry.name == copy + before);
}
END_TEST

/* Every other byte in every place: no crash, and the result is consistent. */
START_TEST(changed_byte)
{
	const char *line = good[_i].line;
	const size_t length = strlen(line);
	struct maps_entry entry;
	char changed[512];

	for (size_t at = 0; at < length; at++) {
		memcpy(changed, line, length);
		for (int byte = 0; byte < 256; byte++) {
			changed[at] = (char)byte;
			if (!maps_parse_line(changed, length, &entry))
				continue;
			ck_assert(entry.start < entry.end);
			ck_assert(entry.name >= changed &&
				  entry.name + entry.name_length <=
				  changed + length);
			ck_assert(!entry.name_length || *entry.name != ' ');
			if (maps_is_anonymous(&entry))
				ck_assert(!entry.shared && !entry.inode);
		}
	}
}
END_TEST

/* ---- the kernel ---------------------------------------------------------- */

/* A path with blanks, a line break and what else text needs escapes for. */
static char file_path[128];

static void remove_file(void)
{
	unlink(file_path);
}

static void *map_file(const char *path, int flags)
{
	const int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	void *p;

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(ftruncate(fd, (off_t)(8 * page)), 0);
	p = mmap(NULL, 3 * page, PROT_READ, flags, fd, (off_t)(2 * page));
	ck_assert(p != MAP_FAILED);
	close(fd);
	return p;
}

static char *map_anonymous(size_t pages, int protection)
{
	char *p = mmap(NULL, pages * page, protection,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	ck_assert(p != MAP_FAILED);
	return p;
}

static int open_maps(void)
{
	const int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	return fd;
}

/* False if this kernel has no PROCMAP_QUERY: then nothing can be tested. */
static bool has_query(int fd)
{
	struct maps_entry entry;
	char name[MAPS_NAME_MAX];

	if (maps_query(fd, 0, &entry, name, sizeof(name)) == 1)
		return true;
	ck_assert_int_eq(errno, ENOTTY);
	return false;
}

#ifndef __SANITIZE_ADDRESS__
/* The text's escapes undone; returns the length. */
static size_t unescape(const char *from, size_t length, char *to)
{
	size_t n = 0;

	for (size_t i = 0; i < length; i++) {
		if (length - i >= 4 && !memcmp(from + i, "\\012", 4)) {
			to[n++] = '\n';
			i += 3;
		} else {
			to[n++] = from[i];
		}
	}
	return n;
}

START_TEST(query_says_what_the_text_says)
{
	static char text[1 << 20], name[MAPS_NAME_MAX], plain[MAPS_NAME_MAX];
	struct maps_entry entry, query;
	size_t length = 0, named = 0, files = 0, lines = 0;
	uint64_t address = 0;
	char *line, *line_break, *anonymous;
	ssize_t got;
	int fd;

	snprintf(file_path, sizeof(file_path), "/tmp/maps \n\\012 %d",
		 (int)getpid());
	map_file(file_path, MAP_SHARED);
	map_file(file_path, MAP_PRIVATE);
	remove_file();
	map_anonymous(3, PROT_NONE);
	map_anonymous(3, PROT_READ | PROT_EXEC);
	anonymous = map_anonymous(5, PROT_READ | PROT_WRITE);
	prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, anonymous + page, page,
	      "some name");
	/* So that reading changes nothing any more. */
	memset(text, 1, sizeof(text));
	memset(name, 1, sizeof(name));
	memset(plain, 1, sizeof(plain));

	fd = open_maps();
	if (!has_query(fd))
		return;
	while ((got = read(fd, text + length, sizeof(text) - length)) > 0)
		length += (size_t)got;
	ck_assert_int_eq(got, 0);
	for (line = text; line < text + length; line = line_break + 1) {
		line_break = memchr(line, '\n', (size_t)(text + length - line));
		ck_assert_ptr_nonnull(line_break);
		ck_assert(maps_parse_line(line, (size_t)(line_break + 1 - line),
					  &entry));
		/* Nothing that the query knows. */
		if (entry.name_length == 10 &&
		    !memcmp(entry.name, "[vsyscall]", 10))
			continue;
		ck_assert_int_eq(maps_query(fd, address, &query, name,
					    sizeof(name)), 1);
		ck_assert_uint_eq(query.start, entry.start);
		ck_assert_uint_eq(query.end, entry.end);
		ck_assert_uint_eq(query.offset, entry.offset);
		ck_assert_uint_eq(query.inode, entry.inode);
		ck_assert_uint_eq(query.major, entry.major);
		ck_assert_uint_eq(query.minor, entry.minor);
		ck_assert_int_eq(query.read, entry.read);
		ck_assert_int_eq(query.write, entry.write);
		ck_assert_int_eq(query.exec, entry.exec);
		ck_assert_int_eq(query.shared, entry.shared);
		ck_assert_int_eq(maps_is_anonymous(&query),
				 maps_is_anonymous(&entry));
		files += query.inode != 0;
		named += query.name_length && !query.inode;
		lines++;
		if (entry.name_length < 6 ||
		    memcmp(entry.name, "/tmp/m", 6)) {
			/* The file's own escape looks like the kernel's. */
			ck_assert_uint_eq(unescape(entry.name,
						   entry.name_length, plain),
					  query.name_length);
			ck_assert_mem_eq(query.name, plain, query.name_length);
		} else {
			ck_assert_ptr_nonnull(memmem(query.name,
						     query.name_length,
						     "maps \n\\012 ", 11));
			ck_assert_ptr_nonnull(memmem(entry.name,
						     entry.name_length,
						     "maps \\012\\012 ", 14));
		}
		address = query.end;
	}
	ck_assert_int_eq(maps_query(fd, address, &query, name, sizeof(name)),
			 0);
	ck_assert_uint_gt(files, 3);
	ck_assert_uint_ge(named, 2);
	ck_assert_uint_gt(lines, 10);
	close(fd);
}
END_TEST
#endif

START_TEST(query_covers_or_next)
{
	char *area = map_anonymous(5, PROT_NONE);
	const uint64_t at = (uintptr_t)area;
	char name[MAPS_NAME_MAX];
	struct maps_entry entry;
	const int fd = open_maps();

	/* |none|   |read|   |none| */
	ck_assert_int_eq(munmap(area + page, page), 0);
	ck_assert_int_eq(munmap(area + 3 * page, page), 0);
	ck_assert_int_eq(mprotect(area + 2 * page, page, PROT_READ), 0);
	if (!has_query(fd))
		return;
	for (uint64_t a = at + page; a < at + 3 * page; a += page - 1) {
		ck_assert_int_eq(maps_query(fd, a, &entry, name, sizeof(name)),
				 1);
		ck_assert_uint_eq(entry.start, at + 2 * page);
		ck_assert_uint_eq(entry.end, at + 3 * page);
		ck_assert(entry.read && !entry.write && !entry.exec &&
			  !entry.shared);
		ck_assert_uint_eq(entry.name_length, 0);
	}
	ck_assert_int_eq(maps_query(fd, UINT64_MAX, &entry, name,
				    sizeof(name)), 0);
	close(fd);
}
END_TEST

START_TEST(query_errors)
{
	struct maps_entry entry;
	char name[MAPS_NAME_MAX];
	const int fd = open_maps();
	char *file;
	pid_t child;
	char path[32];
	int of_child;

	/* No file of that kind. */
	ck_assert_int_eq(maps_query(-1, 0, &entry, name, sizeof(name)), -1);
	ck_assert_int_eq(errno, EBADF);
	of_child = open("/dev/null", O_RDONLY | O_CLOEXEC);
	ck_assert_int_eq(maps_query(of_child, 0, &entry, name, sizeof(name)),
			 -1);
	ck_assert_int_eq(errno, ENOTTY);
	close(of_child);
	if (!has_query(fd))
		return;

	/* The name does not fit by one byte, and fits. */
	snprintf(file_path, sizeof(file_path), "/tmp/maps-%d", (int)getpid());
	file = map_file(file_path, MAP_SHARED);
	ck_assert_int_eq(maps_query(fd, (uintptr_t)file, &entry, name,
				    strlen(file_path)), -1);
	ck_assert_int_eq(errno, ENAMETOOLONG);
	ck_assert_int_eq(maps_query(fd, (uintptr_t)file, &entry, name,
				    strlen(file_path) + 1), 1);
	ck_assert_uint_eq(entry.name_length, strlen(file_path));
	ck_assert_str_eq(name, file_path);
	remove_file();
	close(fd);

	/* Of a process that has ended. */
	child = fork();
	ck_assert_int_ge(child, 0);
	if (!child) {
		pause();
		_exit(0);
	}
	snprintf(path, sizeof(path), "/proc/%d/maps", (int)child);
	of_child = open(path, O_RDONLY | O_CLOEXEC);
	ck_assert_int_ge(of_child, 0);
	ck_assert_int_eq(maps_query(of_child, 0, &entry, name, sizeof(name)),
			 1);
	kill(child, SIGKILL);
	ck_assert_int_eq(waitpid(child, NULL, 0), child);
	ck_assert_int_eq(maps_query(of_child, 0, &entry, name, sizeof(name)),
			 -1);
	ck_assert_int_eq(errno, ESRCH);
	close(of_child);
}
END_TEST

/* ---- maps_find() --------------------------------------------------------- */

/* From now on ioctl(2) answers ENOTTY, as on a kernel before 6.11. */
static void without_query(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
			 offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_ioctl, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOTTY),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { COUNT(code), code };

	ck_assert_int_eq(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
	ck_assert_int_eq(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program),
			 0);
}

static void check_find(const void *address, const void *start, size_t size,
		       const char *flags, bool is_anonymous)
{
	struct maps_entry entry;
	bool anonymous = !is_anonymous;

	ck_assert_int_eq(maps_find((uintptr_t)address, &entry, &anonymous), 1);
	if (start) {
		ck_assert_uint_eq(entry.start, (uintptr_t)start);
		ck_assert_uint_eq(entry.end, (uintptr_t)start + size);
	}
	ck_assert(entry.start <= (uintptr_t)address &&
		  entry.end > (uintptr_t)address);
	ck_assert_int_eq(entry.read, flags[0] == 'r');
	ck_assert_int_eq(entry.write, flags[1] == 'w');
	ck_assert_int_eq(entry.exec, flags[2] == 'x');
	ck_assert_int_eq(entry.shared, flags[3] == 's');
	ck_assert_int_eq(anonymous, is_anonymous);
	ck_assert_ptr_null(entry.name);
	ck_assert_uint_eq(entry.name_length, 0);
}

static void check_nothing(const void *address)
{
	struct maps_entry entry;
	bool anonymous;

	ck_assert_int_eq(maps_find((uintptr_t)address, &entry, &anonymous), 0);
}

static const int both_ways = 2;	/* with the query, and without */

START_TEST(find_mappings)
{
	char *area = map_anonymous(7, PROT_NONE), *file, on_stack = 0;

	if (_i)
		without_query();
	/* |none|   |rw|r|   |rwx|   | */
	ck_assert_int_eq(munmap(area + page, page), 0);
	ck_assert_int_eq(mprotect(area + 2 * page, page,
				  PROT_READ | PROT_WRITE), 0);
	ck_assert_int_eq(mprotect(area + 3 * page, page, PROT_READ), 0);
	ck_assert_int_eq(munmap(area + 4 * page, page), 0);
	ck_assert_int_eq(mprotect(area + 5 * page, page,
				  PROT_READ | PROT_WRITE | PROT_EXEC), 0);
	ck_assert_int_eq(munmap(area + 6 * page, page), 0);
	check_find(area, NULL, 0, "---p", true);
	check_nothing(area + page);
	check_nothing(area + 2 * page - 1);
	check_find(area + 2 * page, area + 2 * page, page, "rw-p", true);
	check_find(area + 3 * page - 1, area + 2 * page, page, "rw-p", true);
	check_find(area + 3 * page, area + 3 * page, page, "r--p", true);
	check_nothing(area + 4 * page);
	check_find(area + 5 * page, area + 5 * page, page, "rwxp", true);
	check_nothing(NULL);

	snprintf(file_path, sizeof(file_path), "/tmp/maps-%d", (int)getpid());
	file = map_file(file_path, MAP_PRIVATE);
	check_find(file + 1, file, 3 * page, "r--p", false);
	remove_file();
	file = map_file(file_path, MAP_SHARED);
	check_find(file + 1, file, 3 * page, "r--s", false);
	remove_file();
	check_find((void *)(uintptr_t)setup, NULL, 0, "r-xp", false);
	check_find(&on_stack, NULL, 0, "rw-p", false);
}
END_TEST

START_TEST(find_named)
{
	char *area = map_anonymous(3, PROT_READ | PROT_WRITE);
	char name[80];

	memset(name, 'n', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	/* The longest name.  Kernels may be built without. */
	if (prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, area + page, page, name))
		return;
	if (_i)
		without_query();
	check_find(area + page, area + page, page, "rw-p", true);
}
END_TEST

/*
 * Paths that do not fit: longer than the buffer for names, than a line, and
 * longer than the kernel itself can tell.
 */
START_TEST(find_long_path)
{
	static const int depths[] = { 1, 3, 18 };
	char directory[201], root[] = "/tmp/maps-XXXXXX", *area, *file;
	const int depth = depths[_i % 3];
	int i;

	memset(directory, 'd', sizeof(directory) - 1);
	directory[sizeof(directory) - 1] = '\0';
	ck_assert_ptr_nonnull(mkdtemp(root));
	ck_assert_int_eq(chdir(root), 0);
	for (i = 0; i < depth; i++) {
		ck_assert_int_eq(mkdir(directory, 0700), 0);
		ck_assert_int_eq(chdir(directory), 0);
	}
	file = map_file("file", MAP_PRIVATE);
	area = map_anonymous(1, PROT_READ | PROT_WRITE);
	if (_i >= 3)
		without_query();
	check_find(file, file, 3 * page, "r--p", false);
	check_find(area, NULL, 0, "rw-p", true);

	unlink("file");
	for (i = 0; i < depth; i++) {
		ck_assert_int_eq(chdir(".."), 0);
		ck_assert_int_eq(rmdir(directory), 0);
	}
	rmdir(root);
}
END_TEST

START_TEST(find_without_descriptors)
{
	struct rlimit limit, none;
	struct maps_entry entry;
	bool anonymous;

	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
	none = (struct rlimit){ 0, limit.rlim_max };
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
	errno = 0;
	ck_assert_int_eq(maps_find((uintptr_t)&none, &entry, &anonymous), -1);
	ck_assert_int_eq(errno, EMFILE);
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
}
END_TEST

START_TEST(find_leaves_no_descriptor)
{
	const int before = dup(0);
	struct maps_entry entry;
	bool anonymous;
	int after;

	ck_assert_int_ge(before, 0);
	close(before);
	if (_i)
		without_query();
	for (int i = 0; i < 100; i++) {
		maps_find((uintptr_t)&entry, &entry, &anonymous);
		maps_find(0, &entry, &anonymous);
	}
	after = dup(0);
	ck_assert_int_eq(after, before);
	close(after);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("maps_parse");
	TCase *lines = tcase_create("lines");
	TCase *query = tcase_create("query");
	TCase *find = tcase_create("find");

	tcase_add_checked_fixture(lines, setup, NULL);
	tcase_add_loop_test(lines, good_line, 0, (int)COUNT(good));
	tcase_add_loop_test(lines, cut_line, 0, (int)COUNT(good));
	tcase_add_loop_test(lines, bad_line, 0, (int)COUNT(bad));
	tcase_add_test(lines, terminator_within);
	tcase_add_test(lines, long_name);
	tcase_add_loop_test(lines, changed_byte, 0, (int)COUNT(good));
	suite_add_tcase(s, lines);

	tcase_add_checked_fixture(query, setup, remove_file);
#ifndef __SANITIZE_ADDRESS__	/* which maps memory as it likes */
	tcase_add_test(query, query_says_what_the_text_says);
#endif
	tcase_add_test(query, query_covers_or_next);
	tcase_add_test(query, query_errors);
	suite_add_tcase(s, query);

	tcase_add_checked_fixture(find, setup, remove_file);
	tcase_add_loop_test(find, find_mappings, 0, both_ways);
	tcase_add_loop_test(find, find_named, 0, both_ways);
	tcase_add_loop_test(find, find_long_path, 0, 3 * both_ways);
	tcase_add_test(find, find_without_descriptors);
	tcase_add_loop_test(find, find_leaves_no_descriptor, 0, both_ways);
	suite_add_tcase(s, find);
	return s;
}

int main(void)
{
	return run_suite(suite());
}
