/* SPDX-License-Identifier: LGPL-2.1-or-later */

#define _GNU_SOURCE
#include "fragments.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

/* ---- counting ------------------------------------------------------------ */

void fragments_init(struct fragments *f)
{
	memset(f, 0, sizeof(*f));
}

static bool is_named(const struct maps_entry *entry, const char *name)
{
	return entry->name_length == strlen(name) &&
	       !memcmp(entry->name, name, entry->name_length);
}

bool fragments_is_counted(const struct maps_entry *entry)
{
	/* The gate areas of x86-64 and of 32-bit Arm. */
	return !is_named(entry, "[vsyscall]") && !is_named(entry, "[vectors]");
}

static unsigned int protection(const struct maps_entry *entry)
{
	return (unsigned int)entry->read | (unsigned int)entry->write << 1 |
	       (unsigned int)entry->exec << 2;
}

static bool continues(const struct fragments *f, const struct maps_entry *entry)
{
	return f->last_run && f->last_end == entry->start &&
	       f->last_protection == protection(entry) &&
	       f->last_name_length == entry->name_length &&
	       /* Longer ones are not stored. */
	       entry->name_length <= sizeof(f->last_name) &&
	       !memcmp(f->last_name, entry->name, entry->name_length);
}

bool fragments_add(struct fragments *f, const struct maps_entry *entry)
{
	bool separate;

	if (!fragments_is_counted(entry))
		return false;
	f->mappings++;
	if (!maps_is_anonymous(entry))
		return false;
	f->anonymous++;
	separate = continues(f, entry);
	if (separate) {
		f->separate++;
		f->last_run++;
		if (f->last_run == 2)
			f->runs++;
		if (f->last_run > f->longest)
			f->longest = f->last_run;
	} else {
		f->last_run = 1;
		f->last_protection = protection(entry);
		f->last_name_length = entry->name_length;
		if (entry->name_length <= sizeof(f->last_name))
			memcpy(f->last_name, entry->name, entry->name_length);
	}
	f->last_end = entry->end;
	return separate;
}

/* ---- reading ------------------------------------------------------------- */

static bool fail(int err)
{
	errno = err;
	return false;
}

void fragments_text_init(struct fragments_text *text)
{
	text->length = 0;
}

bool fragments_text_push(struct fragments_text *text, const char *bytes,
			 size_t length, fragments_visit *visit, void *data)
{
	struct maps_entry entry;
	const char *line_break;
	size_t part, fits;

	for (const char *end = bytes + length; bytes != end; bytes += part) {
		line_break = memchr(bytes, '\n', (size_t)(end - bytes));
		part = (size_t)((line_break ? line_break : end) - bytes);
		/* The end of an endless name is dropped. */
		fits = sizeof(text->line) - text->length;
		if (fits > part)
			fits = part;
		memcpy(text->line + text->length, bytes, fits);
		text->length += fits;
		if (!line_break)
			return true;
		part++;
		length = text->length;
		text->length = 0;
		if (!maps_parse_line(text->line, length, &entry))
			return fail(EPROTO);
		if (!visit(&entry, data))
			return false;
	}
	return true;
}

static int walk_text(int fd, fragments_visit *visit, void *data)
{
	struct fragments_text text;
	char chunk[16384];
	ssize_t got;

	fragments_text_init(&text);
	if (!visit(NULL, data))
		return -1;
	while ((got = read(fd, chunk, sizeof(chunk))) > 0) {
		if (!fragments_text_push(&text, chunk, (size_t)got, visit,
					 data))
			return -1;
	}
	if (got < 0)
		return -1;
	/*
	 * A process that ends meanwhile looks like the end of the text.  Its
	 * first byte is not there either, then.
	 */
	got = pread(fd, chunk, 1, 0);
	if (got == 1 && !text.length)
		return 0;
	if (got >= 0)
		errno = text.length ? EPROTO : ESRCH;
	return -1;
}

/* As fragments_walk(); 1 with errno if the kernel does not answer. */
static int walk_query(int fd, fragments_visit *visit, void *data)
{
	char name[MAPS_NAME_MAX];
	struct maps_entry entry;
	uint64_t address = 0;
	int found;

	if (!visit(NULL, data))
		return -1;
	while ((found = maps_query(fd, address, &entry, name,
				   sizeof(name))) == 1) {
		if (entry.end <= address || entry.start >= entry.end) {
			errno = EPROTO;
			return 1;
		}
		address = entry.end;
		if (!visit(&entry, data))
			return -1;
	}
	if (found < 0)
		return errno == ESRCH ? -1 : 1;
	if (address)
		return 0;
	errno = ESRCH;
	return -1;
}

int fragments_walk(int fd, enum fragments_way way, fragments_visit *visit,
		   void *data)
{
	int result;

	if (way != FRAGMENTS_TEXT) {
		result = walk_query(fd, visit, data);
		if (result <= 0)
			return result;
		if (way == FRAGMENTS_QUERY)
			return -1;
	}
	return walk_text(fd, visit, data);
}
