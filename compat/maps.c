/* SPDX-License-Identifier: LGPL-2.1-or-later */

#define _GNU_SOURCE
#include "maps.h"
#include "internal.h"

#include <string.h>
#include <sys/ioctl.h>

/* ---- text -------------------------------------------------------------- */

/* What is left of a line. */
struct cursor {
	const char *at, *end;
};

static bool take_char(struct cursor *c, char wanted)
{
	if (c->at == c->end || *c->at != wanted)
		return false;
	c->at++;
	return true;
}

/* One of two characters; *first says which. */
static bool take_flag(struct cursor *c, char yes, char no, bool *value)
{
	*value = take_char(c, yes);
	return *value || take_char(c, no);
}

static int digit_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return 16;
}

static bool take_number(struct cursor *c, unsigned int base, uint64_t max,
			uint64_t *value)
{
	const char *begin = c->at;
	unsigned int digit;

	*value = 0;
	for (; c->at != c->end; c->at++) {
		digit = (unsigned int)digit_value(*c->at);
		if (digit >= base)
			break;
		if (*value > (max - digit) / base)
			return false;
		*value = *value * base + digit;
	}
	return c->at != begin;
}

bool maps_parse_line(const char *line, size_t length, struct maps_entry *entry)
{
	struct cursor c = { line, line + length };
	uint64_t major, minor;

	if (length && line[length - 1] == '\n')
		c.end--;
	/* 55d0c0a00000-55d0c0a21000 rw-p 00000000 00:00 0      [heap] */
	if (!take_number(&c, 16, UINT64_MAX, &entry->start) ||
	    !take_char(&c, '-') ||
	    !take_number(&c, 16, UINT64_MAX, &entry->end) ||
	    entry->start >= entry->end ||
	    !take_char(&c, ' ') ||
	    !take_flag(&c, 'r', '-', &entry->read) ||
	    !take_flag(&c, 'w', '-', &entry->write) ||
	    !take_flag(&c, 'x', '-', &entry->exec) ||
	    !take_flag(&c, 's', 'p', &entry->shared) ||
	    !take_char(&c, ' ') ||
	    !take_number(&c, 16, UINT64_MAX, &entry->offset) ||
	    !take_char(&c, ' ') ||
	    !take_number(&c, 16, UINT32_MAX, &major) ||
	    !take_char(&c, ':') ||
	    !take_number(&c, 16, UINT32_MAX, &minor) ||
	    !take_char(&c, ' ') ||
	    !take_number(&c, 10, UINT64_MAX, &entry->inode))
		return false;
	if (c.at != c.end && *c.at != ' ')
		return false;
	entry->major = (uint32_t)major;
	entry->minor = (uint32_t)minor;
	while (take_char(&c, ' '))
		;
	entry->name = c.at;
	entry->name_length = (size_t)(c.end - c.at);
	return true;
}

static bool starts_with(const struct maps_entry *entry, const char *prefix)
{
	const size_t length = strlen(prefix);

	return entry->name_length >= length &&
	       !memcmp(entry->name, prefix, length);
}

bool maps_is_anonymous(const struct maps_entry *entry)
{
	if (entry->shared || entry->inode)
		return false;
	return !entry->name_length || starts_with(entry, "[anon:") ||
	       (starts_with(entry, "[heap]") && entry->name_length == 6);
}

/* ---- PROCMAP_QUERY ------------------------------------------------------ */

/* The kernel's interface, for the sake of older headers (linux/fs.h). */
struct procmap_query {
	uint64_t size;
	uint64_t query_flags;
	uint64_t query_addr;
	uint64_t vma_start;
	uint64_t vma_end;
	uint64_t vma_flags;
	uint64_t vma_page_size;
	uint64_t vma_offset;
	uint64_t inode;
	uint32_t dev_major;
	uint32_t dev_minor;
	uint32_t vma_name_size;
	uint32_t build_id_size;
	uint64_t vma_name_addr;
	uint64_t build_id_addr;
};

#define PROCMAP_IOCTL_QUERY _IOWR('f', 17, struct procmap_query)
#define PROCMAP_VMA_READABLE 1
#define PROCMAP_VMA_WRITABLE 2
#define PROCMAP_VMA_EXECUTABLE 4
#define PROCMAP_VMA_SHARED 8
#define PROCMAP_COVERING_OR_NEXT_VMA 16

int maps_query(int fd, uint64_t address, struct maps_entry *entry,
	       char *buffer, size_t size)
{
	struct procmap_query query = {
		.size = sizeof(query),
		.query_flags = PROCMAP_COVERING_OR_NEXT_VMA,
		.query_addr = address,
		.vma_name_size = (uint32_t)(size < MAPS_NAME_MAX ? size :
							MAPS_NAME_MAX),
		.vma_name_addr = (uintptr_t)buffer,
	};

	/* What a kernel (or an emulator) leaves unsaid is not read unset. */
	buffer[0] = '\0';
	if (mc_ioctl(fd, PROCMAP_IOCTL_QUERY, &query))
		return errno == ENOENT ? 0 : -1;
	entry->start = query.vma_start;
	entry->end = query.vma_end;
	entry->offset = query.vma_offset;
	entry->inode = query.inode;
	entry->major = query.dev_major;
	entry->minor = query.dev_minor;
	entry->read = query.vma_flags & PROCMAP_VMA_READABLE;
	entry->write = query.vma_flags & PROCMAP_VMA_WRITABLE;
	entry->exec = query.vma_flags & PROCMAP_VMA_EXECUTABLE;
	entry->shared = query.vma_flags & PROCMAP_VMA_SHARED;
	/* The size comes back with the terminator, 0 for no name. */
	entry->name = buffer;
	entry->name_length = query.vma_name_size ? query.vma_name_size - 1 : 0;
	return 1;
}

/* ---- this process -------------------------------------------------------- */

/*
 * As maps_find(), from the text.  A name too long for the buffer is cut; that
 * of anonymous memory is shorter (at most 80 characters and the brackets).  No
 * larger, as a signal handler's stack can be small.
 */
static int find_in_text(int fd, uint64_t address, struct maps_entry *entry,
			char *line, size_t size)
{
	char chunk[512];
	size_t length = 0;
	long got;

	while ((got = syscall(SYS_read, (long)fd, chunk, sizeof(chunk))) > 0) {
		for (long i = 0; i < got; i++) {
			if (chunk[i] != '\n') {
				if (length < size)
					line[length++] = chunk[i];
				continue;
			}
			if (!maps_parse_line(line, length, entry)) {
				errno = EPROTO;
				return -1;
			}
			length = 0;
			if (address >= entry->end)
				continue;
			return address >= entry->start;
		}
	}
	return got < 0 ? -1 : 0;
}

int maps_find(uint64_t address, struct maps_entry *entry, bool *anonymous)
{
	char text[256];		/* what entry->name points into meanwhile */
	int fd, result, saved_errno;

	fd = mc_open("/proc/thread-self/maps", O_RDONLY);
	if (fd < 0)
		return -1;
	result = maps_query(fd, address, entry, text, sizeof(text));
	if (result == 1) {
		result = address >= entry->start;
	} else if (result < 0) {
		/* No such query, or a long name; both can be read. */
		result = find_in_text(fd, address, entry, text, sizeof(text));
	}
	saved_errno = errno;
	mc_close(fd);
	errno = saved_errno;
	if (result == 1) {
		*anonymous = maps_is_anonymous(entry);
		entry->name = NULL;
		entry->name_length = 0;
	}
	return result;
}
