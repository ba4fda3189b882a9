/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "text.h"

#include <stdbool.h>

size_t text_decode(const char *bytes, size_t length, uint32_t *character)
{
	/* The smallest character of so many bytes; less is another form. */
	static const uint32_t smallest[] = { 0, 0, 0x80, 0x800, 0x10000 };
	const unsigned char *b = (const unsigned char *)bytes;
	uint32_t value;
	size_t size;

	*character = TEXT_REPLACEMENT;
	if (b[0] < 0x80) {
		*character = b[0];
		return 1;
	}
	if (b[0] >= 0xf0 && b[0] < 0xf8)
		size = 4;
	else if (b[0] >= 0xe0 && b[0] < 0xf0)
		size = 3;
	else if (b[0] >= 0xc0 && b[0] < 0xe0)
		size = 2;
	else
		return 1;
	if (size > length)
		return 1;
	value = b[0] & (0x7fu >> size);
	for (size_t i = 1; i < size; i++) {
		if ((b[i] & 0xc0) != 0x80)
			return 1;
		value = value << 6 | (b[i] & 0x3f);
	}
	if (value < smallest[size] || value > 0x10ffff ||
	    (value >= 0xd800 && value <= 0xdfff))
		return 1;
	*character = value;
	return size;
}

/*
 * Also the line separators of Unicode, and what changes the direction of text: with
 * those a name can make what stands beside it look like something else.
 */
static bool is_control(uint32_t c)
{
	return c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0x61c ||
	       c == 0x200e || c == 0x200f || (c >= 0x2028 && c <= 0x202e) ||
	       (c >= 0x2066 && c <= 0x2069);
}

static void put_utf8(FILE *file, uint32_t c)
{
	if (c < 0x80) {
		putc((int)c, file);
	} else if (c < 0x800) {
		putc((int)(0xc0 | c >> 6), file);
		putc((int)(0x80 | (c & 0x3f)), file);
	} else if (c < 0x10000) {
		putc((int)(0xe0 | c >> 12), file);
		putc((int)(0x80 | (c >> 6 & 0x3f)), file);
		putc((int)(0x80 | (c & 0x3f)), file);
	} else {
		putc((int)(0xf0 | c >> 18), file);
		putc((int)(0x80 | (c >> 12 & 0x3f)), file);
		putc((int)(0x80 | (c >> 6 & 0x3f)), file);
		putc((int)(0x80 | (c & 0x3f)), file);
	}
}

/* In quotation marks; control characters by a function. */
static void put_quoted(FILE *file, const char *bytes, size_t length,
		       void (*put_control)(FILE *file, uint32_t c))
{
	uint32_t c;

	putc('"', file);
	for (size_t i = 0; i < length;) {
		i += text_decode(bytes + i, length - i, &c);
		if (c == '"' || c == '\\')
			fprintf(file, "\\%c", (int)c);
		else if (is_control(c))
			put_control(file, c);
		else
			put_utf8(file, c);
	}
	putc('"', file);
}

static void put_json_control(FILE *file, uint32_t c)
{
	fprintf(file, "\\u%04x", (unsigned int)c);
}

void text_put_json(FILE *file, const char *bytes, size_t length)
{
	put_quoted(file, bytes, length, put_json_control);
}

static void put_prometheus_control(FILE *file, uint32_t c)
{
	if (c == '\n')
		fputs("\\n", file);
	else
		put_utf8(file, TEXT_REPLACEMENT);
}

void text_put_prometheus(FILE *file, const char *bytes, size_t length)
{
	put_quoted(file, bytes, length, put_prometheus_control);
}

void text_put_xml(FILE *file, const char *bytes, size_t length)
{
	uint32_t c;

	for (size_t i = 0; i < length;) {
		i += text_decode(bytes + i, length - i, &c);
		if (c == '&')
			fputs("&amp;", file);
		else if (c == '<')
			fputs("&lt;", file);
		else if (c == '>')
			fputs("&gt;", file);
		else if (c == '"')
			fputs("&quot;", file);
		else if (c == '\'')
			fputs("&apos;", file);
		else if (is_control(c) || c == 0xfffe || c == 0xffff)
			/* XML has no way to write most of these. */
			put_utf8(file, TEXT_REPLACEMENT);
		else
			put_utf8(file, c);
	}
}

void text_put_line(FILE *file, const char *bytes, size_t length)
{
	uint32_t c;

	for (size_t i = 0; i < length;) {
		i += text_decode(bytes + i, length - i, &c);
		put_utf8(file, is_control(c) ? TEXT_REPLACEMENT : c);
	}
}
