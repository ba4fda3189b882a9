/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include "picture.h"

#include "grow.h"
#include "text.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* ---- areas --------------------------------------------------------------- */

/*
 * If there are more areas than this, the small ones are drawn together, in about
 * so many: a wall of equal boxes says less than a few.
 */
#define AREAS_MAX 250
#define AREAS_TOGETHER 80
/* A run with so many of a hundred mappings is never drawn with others. */
#define LARGE_PERCENT 2

void picture_init(struct picture *p)
{
	memset(p, 0, sizeof(*p));
}

void picture_free(struct picture *p)
{
	free(p->areas);
	picture_init(p);
}

static enum picture_kind kind_of(const struct maps_entry *entry)
{
	if (maps_is_anonymous(entry))
		return PICTURE_ANONYMOUS;
	if (entry->inode || entry->shared)
		return PICTURE_FILE;
	return PICTURE_OTHER;
}

static struct picture_area area_of(const struct maps_entry *entry)
{
	struct picture_area area = {
		.start = entry->start,
		.end = entry->end,
		.bytes = entry->end - entry->start,
		.mappings = 1,
		.kind = kind_of(entry),
		.protection = (unsigned char)(entry->read | entry->write << 1 |
					      entry->exec << 2),
	};
	const size_t length = entry->name_length < sizeof(area.name) ?
			      entry->name_length : sizeof(area.name);

	/* The end tells more of a path. */
	memcpy(area.name, entry->name + (entry->name_length - length), length);
	area.name_length = (unsigned char)length;
	area.anonymous = area.kind == PICTURE_ANONYMOUS;
	return area;
}

static bool same_name(const struct picture_area *a,
		      const struct picture_area *b)
{
	return a->name_length == b->name_length &&
	       !memcmp(a->name, b->name, a->name_length);
}

bool picture_add(struct picture *p, const struct maps_entry *entry,
		 bool separate)
{
	struct picture_area *last = p->count ? &p->areas[p->count - 1] : NULL;
	struct picture_area area, *areas;

	if (!fragments_is_counted(entry))
		return true;
	area = area_of(entry);
	p->mappings++;
	if (last && (separate || (last->kind == PICTURE_FILE &&
				  area.kind == PICTURE_FILE &&
				  last->end == area.start &&
				  same_name(last, &area)))) {
		last->end = area.end;
		last->bytes += area.bytes;
		last->mappings++;
		if (separate) {
			last->separate++;
			last->anonymous++;
			last->kind = PICTURE_SEPARATE;
		}
		return true;
	}
	areas = room_for_one(p->areas, p->count, &p->room, sizeof(*areas));
	if (!areas)
		return false;
	p->areas = areas;
	p->areas[p->count++] = area;
	return true;
}

static bool is_large(const struct picture *p, const struct picture_area *area)
{
	return area->kind == PICTURE_SEPARATE &&
	       area->mappings * 100 >= p->mappings * LARGE_PERCENT;
}

/*
 * The next area to be drawn, from *at on: one as it is, or up to so many small
 * ones as one.
 */
static struct picture_area next_area(const struct picture *p, size_t *at,
				     size_t together)
{
	struct picture_area area = p->areas[(*at)++];
	const struct picture_area *next;

	if (is_large(p, &area))
		return area;
	for (size_t n = 1; n < together && *at < p->count; n++, (*at)++) {
		next = &p->areas[*at];
		if (is_large(p, next))
			break;
		area.kind = PICTURE_MIXED;
		area.name_length = 0;
		area.end = next->end;
		area.bytes += next->bytes;
		area.mappings += next->mappings;
		area.separate += next->separate;
		area.anonymous += next->anonymous;
	}
	return area;
}

/* ---- drawing ------------------------------------------------------------- */

#define WIDTH 1000
#define MARGIN 20
#define ROW_HEIGHT 62		/* with the address above and a space below */
#define BOX_HEIGHT 34
#define GAP_WIDTH 10
#define HEAD_HEIGHT 108		/* title, facts and legend */
#define CHAR_WIDTH 6.2		/* of the small type, about */

static const struct {
	const char *class, *legend;
} kinds[PICTURE_KINDS] = {
	[PICTURE_SEPARATE] = { "s", "separate neighbours" },
	[PICTURE_ANONYMOUS] = { "a", "anonymous" },
	[PICTURE_FILE] = { "f", "file or shared" },
	[PICTURE_OTHER] = { "o", "stack, vdso" },
	[PICTURE_MIXED] = { "m", "many small areas" },
};

/* Grows with the logarithm, so that a page can be seen beside a terabyte. */
static int box_width(const struct picture_area *area)
{
	int width = 12;

	for (uint64_t size = area->bytes >> 12; size; size >>= 1)
		width += 4;
	for (uint64_t count = area->mappings >> 1; count; count >>= 1)
		width += 4;
	return width;
}

/*
 * Where the next box goes, row by row.  Boxes with no gap between them may be
 * parted by the end of a row; the addresses tell.
 */
struct place {
	int x, row;
	bool first;		/* in its row */
};

static void place_next(struct place *place, int *end, int width, bool gap)
{
	int x = *end + (gap && place->row >= 0 ? GAP_WIDTH : 0);

	place->first = place->row < 0 || x + width > WIDTH - MARGIN;
	if (place->first) {
		place->row++;
		x = MARGIN;
	}
	place->x = x;
	*end = x + width;
}

static void put_size(FILE *file, uint64_t bytes)
{
	static const char *const units[] = { "KiB", "MiB", "GiB", "TiB" };
	size_t unit = 0;
	double size = (double)bytes / 1024;

	for (; size >= 1024 && unit < 3; unit++)
		size /= 1024;
	fprintf(file, "%.*f %s", unit && size < 100 ? 1 : 0, size,
		units[unit]);
}

/* What a viewer shows when one points at the box. */
static void put_tooltip(FILE *file, const struct picture_area *area)
{
	fprintf(file, "<title>%#" PRIx64 "-%#" PRIx64, area->start, area->end);
	/* The same for all but the mappings of a file. */
	if (area->mappings - area->separate == 1) {
		putc(' ', file);
		putc(area->protection & 1 ? 'r' : '-', file);
		putc(area->protection & 2 ? 'w' : '-', file);
		putc(area->protection & 4 ? 'x' : '-', file);
	}
	fputs(", ", file);
	put_size(file, area->bytes);
	fprintf(file, ", %" PRIu64 " mapping%s", area->mappings,
		area->mappings == 1 ? "" : "s");
	if (area->kind == PICTURE_MIXED)
		fprintf(file, ", %" PRIu64 " of them anonymous",
			area->anonymous);
	if (area->separate)
		fprintf(file, ", %" PRIu64 " of them separate neighbours",
			area->separate);
	if (area->name_length) {
		putc(' ', file);
		text_put_xml(file, area->name, area->name_length);
	}
	fputs("</title>", file);
}

static void put_rect(FILE *file, enum picture_kind kind, int x, int y,
		     int width, int height)
{
	fprintf(file,
		"<rect class=\"%s\" x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\"/>",
		kinds[kind].class, x, y, width, height);
}

/* How many mappings, or the last part of the name, if there is room. */
static void put_label(FILE *file, const struct picture_area *area, int x,
		      int y, int width)
{
	const size_t room = (size_t)((width - 4) / CHAR_WIDTH);
	const char *name = area->name;
	size_t length = area->name_length;
	char number[24];

	for (size_t i = 0; i + 1 < area->name_length; i++) {
		if (area->name[i] == '/') {
			name = area->name + i + 1;
			length = area->name_length - i - 1;
		}
	}
	if (area->kind == PICTURE_SEPARATE || area->kind == PICTURE_MIXED) {
		length = (size_t)snprintf(number, sizeof(number), "%" PRIu64,
					  area->mappings);
		name = number;
	}
	if (!length || length > room)
		return;
	fprintf(file, "<text class=\"l\" x=\"%d\" y=\"%d\">", x + width / 2,
		y + BOX_HEIGHT / 2 + 4);
	text_put_xml(file, name, length);
	fputs("</text>", file);
}

/*
 * What the mappings of many small areas are, from the bottom up; the rest is
 * neither of both.
 */
static void put_bands(FILE *file, const struct picture_area *area, int x, int y,
		      int width)
{
	const struct {
		enum picture_kind kind;
		uint64_t mappings;
	} bands[] = {
		{ PICTURE_SEPARATE, area->separate },
		{ PICTURE_ANONYMOUS, area->anonymous - area->separate },
	};
	int height, bottom = y + BOX_HEIGHT;

	for (size_t i = 0; i < sizeof(bands) / sizeof(bands[0]); i++) {
		height = (int)(BOX_HEIGHT * ((double)bands[i].mappings /
					     (double)area->mappings));
		if (!height)
			continue;
		bottom -= height;
		put_rect(file, bands[i].kind, x, bottom, width, height);
	}
}

static void put_area(FILE *file, const struct picture_area *area,
		     const struct place *place, int width, bool gap)
{
	const int y = HEAD_HEIGHT + place->row * ROW_HEIGHT + 14;
	const int x = place->x;

	if (place->first)
		fprintf(file, "<text class=\"t\" x=\"%d\" y=\"%d\">%#" PRIx64
			"</text>\n", x, y - 4, area->start);
	else if (gap)
		fprintf(file,
			"<path class=\"g\" d=\"M%d %dh%d\"/>\n",
			x - GAP_WIDTH + 1, y + BOX_HEIGHT / 2, GAP_WIDTH - 2);
	fputs("<g>", file);
	put_tooltip(file, area);
	put_rect(file, area->kind, x, y, width, BOX_HEIGHT);
	if (area->kind == PICTURE_MIXED)
		put_bands(file, area, x, y, width);
	put_label(file, area, x, y, width);
	fputs("</g>\n", file);
}

static void put_legend(FILE *file)
{
	int x = MARGIN;

	for (int kind = 0; kind < PICTURE_KINDS; kind++) {
		put_rect(file, (enum picture_kind)kind, x, 76, 14, 14);
		fprintf(file, "<text class=\"n\" x=\"%d\" y=\"87\">%s</text>\n",
			x + 19, kinds[kind].legend);
		x += 40 + (int)(7.5 * (double)strlen(kinds[kind].legend));
	}
	fprintf(file, "<path class=\"g\" d=\"M%d 83h14\"/>"
		"<text class=\"n\" x=\"%d\" y=\"87\">gap</text>\n", x, x + 19);
}

/* Go through all areas, and draw them if file is not NULL.  Returns the rows. */
static int lay_out(const struct picture *p, FILE *file)
{
	const size_t together = p->count <= AREAS_MAX ? 1 :
				p->count / AREAS_TOGETHER + 1;
	struct place place = { MARGIN, -1, false };
	struct picture_area area;
	uint64_t last_end = 0;
	int end = MARGIN, width;
	bool gap;

	for (size_t at = 0; at < p->count;) {
		area = next_area(p, &at, together);
		gap = area.start != last_end;
		width = box_width(&area);
		place_next(&place, &end, width, gap);
		if (file)
			put_area(file, &area, &place, width, gap);
		last_end = area.end;
	}
	return place.row + 1;
}

void picture_write(const struct picture *p, FILE *file, const char *title,
		   size_t title_length, const char *subtitle)
{
	static const char style[] =
		"<style type=\"text/css\">\n"
		"text { font-family: sans-serif; fill: #222 }\n"
		"rect { stroke: #fff; stroke-width: 1 }\n"
		".h { font-size: 18px; font-weight: bold }\n"
		".n { font-size: 12px }\n"
		".t { font-size: 9px; font-family: monospace; fill: #555 }\n"
		".l { font-size: 10px; text-anchor: middle }\n"
		".g { stroke: #999; stroke-width: 1; stroke-dasharray: 2 2 }\n"
		".s { fill: #e4572e }\n"
		".a { fill: #8fb8de }\n"
		".f { fill: #cfd3d7 }\n"
		".o { fill: #b5d99c }\n"
		".m { fill: #ead7a4 }\n"
		"</style>\n";
	const int height = HEAD_HEIGHT + lay_out(p, NULL) * ROW_HEIGHT + MARGIN;

	fprintf(file,
		"<?xml version=\"1.0\" encoding=\"UTF-8\" standalone=\"yes\"?>\n"
		"<svg xmlns=\"http://www.w3.org/2000/svg\" version=\"1.1\""
		" width=\"%d\" height=\"%d\" viewBox=\"0 0 %d %d\">\n<title>",
		WIDTH, height, WIDTH, height);
	text_put_xml(file, title, title_length);
	fputs("</title>\n<desc>", file);
	text_put_xml(file, subtitle, strlen(subtitle));
	fputs("</desc>\n", file);
	fputs(style, file);
	fprintf(file,
		"<path d=\"M0 0h%dv%dh-%dz\" fill=\"#fff\"/>\n"
		"<text class=\"h\" x=\"%d\" y=\"34\">",
		WIDTH, height, WIDTH, MARGIN);
	text_put_xml(file, title, title_length);
	fprintf(file, "</text>\n<text class=\"n\" x=\"%d\" y=\"56\">", MARGIN);
	text_put_xml(file, subtitle, strlen(subtitle));
	fputs("</text>\n", file);
	put_legend(file);
	lay_out(p, file);
	fputs("</svg>\n", file);
}
