/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Bytes of unknown origin (names of processes, files and mappings) as text for
 * others.  In each, what is not UTF-8 becomes U+FFFD, and so do control characters where
 * the format cannot escape them, with those that separate lines or change the direction
 * of text.
 */
#ifndef MREMAP_COMPAT_TEXT_H
#define MREMAP_COMPAT_TEXT_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* A character that stands for one that cannot be shown. */
#define TEXT_REPLACEMENT 0xfffd

/*
 * The first character of length bytes, length not 0, in *character; returns
 * how many bytes it takes.
 */
size_t text_decode(const char *bytes, size_t length, uint32_t *character);

/* A JSON string (RFC 8259) with its quotation marks. */
void text_put_json(FILE *file, const char *bytes, size_t length);

/* A label's value in the text format of Prometheus, with its quotation marks. */
void text_put_prometheus(FILE *file, const char *bytes, size_t length);

/* Character data or an attribute's value for XML 1.0. */
void text_put_xml(FILE *file, const char *bytes, size_t length);

/* One line for a terminal */
void text_put_line(FILE *file, const char *bytes, size_t length);

#endif
