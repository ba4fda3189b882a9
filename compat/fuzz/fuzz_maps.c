/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Fuzz target: the bytes as /proc/PID/maps for the parser, and for the counting,
 * drawing and quoting of vmafrag.  Ends with abort() if a result is not
 * consistent.
 */

#define _GNU_SOURCE
#include "../maps.h"
#include "../tools/fragments.h"
#include "../tools/picture.h"
#include "../tools/text.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* As assert(), also with NDEBUG. */
#define CHECK(condition) \
	do { \
		if (!(condition)) { \
			fprintf(stderr, "%s:%d: not true: %s\n", __FILE__, \
				__LINE__, #condition); \
			abort(); \
		} \
	} while (0)

static void check_counts(const struct fragments *f)
{
	CHECK(f->anonymous <= f->mappings);
	/* Each run has one mapping that is no separate neighbour. */
	CHECK(f->separate + f->runs <= f->anonymous);
	CHECK(f->runs <= f->separate);
	CHECK(!f->runs == !f->longest && f->longest != 1);
	CHECK(!f->runs || f->longest <= f->separate - f->runs + 2);
	CHECK(f->longest * f->runs >= f->separate + f->runs);
	CHECK(f->last_run <= f->anonymous);
}

/*
 * The bytes without zeros before a number and blanks at the end, for numbers
 * of any length.  Returns how many are left.
 */
static size_t without_zeros(const char *from, size_t length, char *to)
{
	static const char digits[] = "0123456789abcdef";
	size_t n = 0;

	while (length && from[length - 1] == ' ')
		length--;
	for (size_t i = 0; i < length; i++) {
		if (from[i] == '0' && (!n || !strchr(digits, to[n - 1])) &&
		    i + 1 < length && from[i + 1] && strchr(digits, from[i + 1]))
			continue;
		to[n++] = from[i];
	}
	return n;
}

/*
 * As the kernel would print it, it is what stands in the line, and the same
 * again if it is parsed.
 */
static void check_again(const struct maps_entry *a, const char *original)
{
	static char line[MAPS_LINE_MAX + 128], bare[2][MAPS_LINE_MAX + 128];
	size_t bare_length;
	struct maps_entry b;
	int length;

	length = snprintf(line, 128,
			  "%08" PRIx64 "-%08" PRIx64 " %c%c%c%c %08" PRIx64
			  " %02x:%02x %" PRIu64 " ", a->start, a->end,
			  a->read ? 'r' : '-', a->write ? 'w' : '-',
			  a->exec ? 'x' : '-', a->shared ? 's' : 'p',
			  a->offset, (unsigned int)a->major,
			  (unsigned int)a->minor, a->inode);
	CHECK(length > 0 && length < 128);
	bare_length = without_zeros(line, (size_t)length, bare[0]);
	CHECK(without_zeros(original, (size_t)(a->name - original), bare[1]) ==
	      bare_length && !memcmp(bare[0], bare[1], bare_length));
	memcpy(line + length, a->name, a->name_length);
	CHECK(maps_parse_line(line, (size_t)length + a->name_length, &b));
	CHECK(b.start == a->start && b.end == a->end && b.read == a->read &&
	      b.write == a->write && b.exec == a->exec &&
	      b.shared == a->shared && b.offset == a->offset &&
	      b.major == a->major && b.minor == a->minor &&
	      b.inode == a->inode && b.name_length == a->name_length &&
	      !memcmp(b.name, a->name, a->name_length));
	CHECK(maps_is_anonymous(&b) == maps_is_anonymous(a));
}

static void check_entry(const struct maps_entry *entry, const char *line,
			size_t length)
{
	CHECK(entry->start < entry->end);
	CHECK(entry->name >= line &&
	      entry->name + entry->name_length <= line + length);
	CHECK(!entry->name_length ||
	      (*entry->name != ' ' && entry->name[-1] == ' '));
	if (maps_is_anonymous(entry))
		CHECK(!entry->shared && !entry->inode);
	check_again(entry, line);
}

/* The text as whole lines; false if there is a bad one, which ends it. */
static bool count_lines(const char *text, size_t size, struct fragments *f,
			struct picture *picture)
{
	const char *end = text + size, *line_break;
	struct fragments before;
	struct maps_entry entry;
	uint64_t lines = 0;
	size_t length;
	bool separate;

	fragments_init(f);
	for (; (line_break = memchr(text, '\n', (size_t)(end - text)));
	     text = line_break + 1) {
		length = (size_t)(line_break - text);
		/* Longer ones are cut by those who read. */
		if (length > MAPS_LINE_MAX)
			length = MAPS_LINE_MAX;
		if (!maps_parse_line(text, length, &entry))
			return false;
		check_entry(&entry, text, length);
		lines++;
		before = *f;
		separate = fragments_add(f, &entry, NULL);
		CHECK(f->mappings - before.mappings ==
		      fragments_is_counted(&entry));
		CHECK(f->separate - before.separate == separate);
		CHECK(!separate || (before.last_end == entry.start &&
				    maps_is_anonymous(&entry)));
		CHECK(f->mappings <= lines);
		check_counts(f);
		CHECK(picture_add(picture, &entry, separate));
	}
	return true;
}

static bool visit(const struct maps_entry *entry,
		  const struct fragments_kind *kind, void *data)
{
	fragments_add(data, entry, kind);
	return true;
}

/* The same in pieces of one to 64 bytes. */
static void check_pieces(const char *text, size_t size, bool good,
			 const struct fragments *whole)
{
	static struct fragments_text pieces;
	struct fragments f;
	bool result = true;
	size_t part = size;

	fragments_init(&f);
	fragments_text_init(&pieces, NULL);
	for (size_t at = 0; result && at < size; at += part) {
		part = 1 + (part * 5 + (unsigned char)text[at]) % 64;
		if (part > size - at)
			part = size - at;
		result = fragments_text_push(&pieces, text + at, part, visit,
					     &f);
	}
	CHECK(result == good);
	CHECK(f.mappings == whole->mappings && f.separate == whole->separate &&
	      f.anonymous == whole->anonymous && f.runs == whole->runs &&
	      f.longest == whole->longest);
}

/* Whether what differs fits what the reasons say. */
static bool visit_kinds(const struct maps_entry *entry,
			const struct fragments_kind *kind, void *data)
{
	struct fragments *f = data;

	CHECK(kind->flags_length < FRAGMENTS_FLAGS_MAX);
	fragments_add(f, entry, kind);
	check_counts(f);
	CHECK(f->differing_length <= sizeof(f->differing));
	CHECK((f->differing_length != 0) ==
	      ((f->reasons & FRAGMENTS_FLAGS) != 0));
	CHECK(!(f->reasons & FRAGMENTS_UNSEEN) ||
	      f->reasons == FRAGMENTS_UNSEEN);
	return true;
}

/*
 * As /proc/PID/smaps: as it is, and with flags after each line, which depend on
 * its length.
 */
static void check_smaps(const char *text, size_t size)
{
	static const char *const flags[] = {
		"VmFlags: rd wr mr mw\n", "VmFlags: rd wr mr mw nh dd\n",
		"ProtectionKey: 1\nVmFlags: rd mr sd gu\n",
		"VmFlags: rd um ac\n", "VmFlags: r\n", "VmFlags:\n",
	};
	static const struct fragments_policies none;
	static struct fragments_text reader;
	const char *end = text + size, *line_break, *more;
	struct fragments f;
	bool good = true;

	fragments_init(&f);
	fragments_text_init(&reader, &none);
	fragments_text_push(&reader, text, size, visit_kinds, &f);

	fragments_init(&f);
	fragments_text_init(&reader, &none);
	for (; good && (line_break = memchr(text, '\n', (size_t)(end - text)));
	     text = line_break + 1) {
		size = (size_t)(line_break - text) + 1;
		more = flags[size % (sizeof(flags) / sizeof(flags[0]))];
		good = fragments_text_push(&reader, text, size, visit_kinds,
					   &f) &&
		       fragments_text_push(&reader, more, strlen(more),
					   visit_kinds, &f);
	}
}

/* Every character of what has been written is one that may be there. */
static void check_output(const char *output, size_t size, bool one_line,
			 const char *never)
{
	uint32_t c;
	size_t taken;

	for (size_t i = 0; i < size; i += taken) {
		taken = text_decode(output + i, size - i, &c);
		CHECK(taken && taken <= size - i);
		CHECK(c != TEXT_REPLACEMENT || taken == 3);
		CHECK(c >= 0x20 || (c == '\n' && !one_line));
		CHECK(c < 0x7f || c >= 0xa0);
		CHECK(c >= 0x80 || !strchr(never, (int)c));
	}
}

static void check_text(const char *data, size_t size)
{
	char *output = NULL;
	size_t length = 0;
	FILE *file = open_memstream(&output, &length);

	CHECK(file);
	text_put_xml(file, data, size);
	CHECK(!fflush(file));
	check_output(output, length, true, "<>\"'");
	rewind(file);
	text_put_line(file, data, size);
	CHECK(!fflush(file));
	check_output(output, length, true, "");
	rewind(file);
	text_put_json(file, data, size);
	CHECK(!fflush(file));
	CHECK(length >= 2 && output[0] == '"' && output[length - 1] == '"');
	check_output(output, length, true, "");
	for (size_t i = 1; i < length - 1; i++) {
		CHECK(output[i] != '"');
		/* What is escaped, in turn, is no escape. */
		if (output[i] == '\\')
			CHECK(++i < length - 1 && strchr("\"\\u", output[i]));
	}
	fclose(file);
	free(output);
}

static void check_picture(const struct picture *picture,
			  const struct fragments *f, const char *title,
			  size_t title_length)
{
	uint64_t mappings = 0, separate = 0;
	char *output = NULL;
	size_t length = 0;
	FILE *file;

	for (size_t i = 0; i < picture->count; i++) {
		mappings += picture->areas[i].mappings;
		separate += picture->areas[i].separate;
	}
	CHECK(mappings == f->mappings && picture->mappings == f->mappings);
	CHECK(separate == f->separate);
	file = open_memstream(&output, &length);
	CHECK(file);
	picture_write(picture, file, title, title_length, "subtitle");
	CHECK(!fclose(file));
	check_output(output, length, false, "");
	/* Some hundred areas, however many mappings. */
	CHECK(length < 400000 + 12 * title_length);
	free(output);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *)data;
	struct picture picture;
	struct fragments f;
	bool good;

	picture_init(&picture);
	good = count_lines(text, size, &f, &picture);
	check_smaps(text, size);
	check_pieces(text, size, good, &f);
	check_picture(&picture, &f, text, size < 64 ? size : 64);
	check_text(text, size);
	picture_free(&picture);
	return 0;
}
