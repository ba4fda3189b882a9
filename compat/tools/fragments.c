/* SPDX-License-Identifier: LGPL-2.1-or-later */

#define _GNU_SOURCE
#include "fragments.h"

#include "grow.h"

#include <errno.h>
#include <stdlib.h>
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

/* The next flag of two letters at *at, NULL after the last. */
static const char *next_flag(const char *flags, size_t length, size_t *at)
{
	const char *flag;

	if (*at + 2 > length)
		return NULL;
	flag = flags + *at;
	*at += 3;
	return flag;
}

static bool is_one_of(const char *flag, const char *flags, size_t length)
{
	const char *other;
	size_t at = 0;

	while ((other = next_flag(flags, length, &at))) {
		if (!memcmp(flag, other, 2))
			return true;
	}
	return false;
}

/* Keep the flags that only the first has. */
static void add_differing(struct fragments *f, const char *flags, size_t length,
			  const char *others, size_t others_length)
{
	static const char userfaultfd[] = "um uw ui";
	const char *flag;
	size_t at = 0;

	while ((flag = next_flag(flags, length, &at))) {
		if (is_one_of(flag, others, others_length))
			continue;
		if (is_one_of(flag, userfaultfd, strlen(userfaultfd))) {
			f->reasons |= FRAGMENTS_USERFAULTFD;
			continue;
		}
		f->reasons |= FRAGMENTS_FLAGS;
		if (f->differing_length)
			f->differing[f->differing_length++] = ' ';
		memcpy(f->differing + f->differing_length, flag, 2);
		f->differing_length += 2;
	}
}

static bool same_name(const struct fragments *f, const struct maps_entry *entry)
{
	return f->last_name_length == entry->name_length &&
	       /* Longer ones are not stored. */
	       entry->name_length <= sizeof(f->last_name) &&
	       !memcmp(f->last_name, entry->name, entry->name_length);
}

/* In the order of the alphabet, so that those of equal pairs are equal. */
static void sort_differing(struct fragments *f)
{
	char *flags = f->differing, flag[2];

	for (size_t i = 3; i < f->differing_length; i += 3) {
		memcpy(flag, flags + i, 2);
		for (size_t j = i; j && memcmp(flags + j - 3, flag, 2) > 0;
		     j -= 3) {
			memcpy(flags + j, flags + j - 3, 2);
			memcpy(flags + j - 3, flag, 2);
		}
	}
}

/* Find out why the mapping and the last are two. */
static void find_reasons(struct fragments *f, const struct maps_entry *entry,
			 const struct fragments_kind *kind)
{
	uint64_t larger = f->last_end - f->last_start;

	if (!f->last_run || !f->last_touched || entry->start < f->last_end)
		return;
	if (larger < entry->end - entry->start)
		larger = entry->end - entry->start;
	if (entry->start - f->last_end > larger)
		return;
	if (entry->start != f->last_end)
		f->reasons |= FRAGMENTS_HOLE;
	if (f->last_protection != protection(entry) ||
	    f->last_key != kind->key)
		f->reasons |= FRAGMENTS_PROTECTION;
	if (!same_name(f, entry))
		f->reasons |= FRAGMENTS_NAME;
	if (f->last_policy != kind->policy)
		f->reasons |= FRAGMENTS_POLICY;
	add_differing(f, f->last_flags, f->last_flags_length, kind->flags,
		      kind->flags_length);
	add_differing(f, kind->flags, kind->flags_length, f->last_flags,
		      f->last_flags_length);
	sort_differing(f);
	if (!f->reasons)
		f->reasons = FRAGMENTS_UNSEEN;
}

static void keep(struct fragments *f, const struct maps_entry *entry,
		 const struct fragments_kind *kind)
{
	f->last_start = entry->start;
	f->last_end = entry->end;
	f->last_touched = true;
	f->last_protection = protection(entry);
	f->last_key = kind->key;
	f->last_shared = kind->shared;
	f->last_policy = kind->policy;
	f->last_name_length = entry->name_length;
	if (entry->name_length <= sizeof(f->last_name))
		memcpy(f->last_name, entry->name, entry->name_length);
	f->last_flags_length = kind->flags_length;
	memcpy(f->last_flags, kind->flags, kind->flags_length);
}

bool fragments_add(struct fragments *f, const struct maps_entry *entry,
		   const struct fragments_kind *kind)
{
	static const struct fragments_kind unknown = { .flags = "" };

	f->reasons = 0;
	f->differing_length = 0;
	if (!fragments_is_counted(entry))
		return false;
	f->mappings++;
	if (!maps_is_anonymous(entry)) {
		f->last_touched = false;
		return false;
	}
	f->anonymous++;
	if (!kind)
		kind = &unknown;
	find_reasons(f, entry, kind);
	if (f->reasons == FRAGMENTS_UNSEEN) {
		f->separate++;
		f->shared += kind->shared || f->last_shared;
		f->last_run++;
		if (f->last_run == 2)
			f->runs++;
		if (f->last_run > f->longest)
			f->longest = f->last_run;
	} else {
		f->last_run = 1;
	}
	keep(f, entry, kind);
	return f->reasons == FRAGMENTS_UNSEEN;
}

/* ---- reading ------------------------------------------------------------- */

static bool fail(int err)
{
	errno = err;
	return false;
}

void fragments_text_init(struct fragments_text *text,
			 const struct fragments_policies *policies)
{
	text->length = 0;
	text->header_length = 0;
	text->key = 0;
	text->shared = false;
	text->policies = policies;
}

static const char *find_policy(const struct fragments_policies *policies,
			       uint64_t start)
{
	size_t low = 0, high = policies->count, middle;

	while (low < high) {
		middle = low + (high - low) / 2;
		if (policies->mappings[middle].start == start)
			return policies->mappings[middle].policy;
		if (policies->mappings[middle].start < start)
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}

/*
 * The flags that count, of "rd wr mr mw me ac " and so on.  Returns the length of
 * what is stored; false with EPROTO if there is anything but pairs in it.
 */
static bool take_flags(const char *text, size_t length, char *flags,
		       size_t *flags_length)
{
	static const char other[] = "rd wr ex sh sd gu";
	size_t n = 0;

	for (size_t i = 0; i < length; i++) {
		if (text[i] == ' ')
			continue;
		if (i + 1 == length || text[i + 1] == ' ' ||
		    n + 3 > FRAGMENTS_FLAGS_MAX)
			return fail(EPROTO);
		if (!is_one_of(text + i, other, strlen(other))) {
			if (n)
				flags[n++] = ' ';
			memcpy(flags + n, text + i, 2);
			n += 2;
		}
		i++;
	}
	*flags_length = n;
	return true;
}

static bool begins(const char *line, size_t length, const char *key)
{
	return length >= strlen(key) && !memcmp(line, key, strlen(key));
}

static unsigned int number(const char *text, size_t length)
{
	unsigned int value = 0;

	for (size_t i = 0; i < length; i++) {
		if (text[i] >= '0' && text[i] <= '9')
			value = value * 10 + (unsigned int)(text[i] - '0');
	}
	return value;
}

/* A mapping in smaps is complete with its VmFlags, which come last. */
static bool push_smaps_line(struct fragments_text *text, size_t length,
			    fragments_visit *visit, void *data)
{
	static const char flags_key[] = "VmFlags:", pkey[] = "ProtectionKey:",
		clean[] = "Shared_Clean:", dirty[] = "Shared_Dirty:";
	char flags[FRAGMENTS_FLAGS_MAX];
	struct fragments_kind kind = { .flags = flags };
	const char *line = text->line;
	struct maps_entry entry;

	if (maps_parse_line(line, length, &entry)) {
		if (text->header_length)
			return fail(EPROTO);
		memcpy(text->header, line, length);
		text->header_length = length;
		return true;
	}
	/* "Key: value"; of no mapping before the first. */
	if (!text->header_length || !memchr(line, ':', length))
		return fail(EPROTO);
	if (begins(line, length, pkey))
		text->key = number(line + strlen(pkey), length - strlen(pkey));
	if ((begins(line, length, clean) || begins(line, length, dirty)) &&
	    number(line, length))
		text->shared = true;
	if (!begins(line, length, flags_key))
		return true;
	if (!take_flags(line + strlen(flags_key), length - strlen(flags_key),
			flags, &kind.flags_length))
		return false;
	maps_parse_line(text->header, text->header_length, &entry);
	kind.key = text->key;
	kind.shared = text->shared;
	kind.policy = find_policy(text->policies, entry.start);
	text->header_length = 0;
	text->key = 0;
	text->shared = false;
	return visit(&entry, &kind, data);
}

static bool push_line(struct fragments_text *text, size_t length,
		      fragments_visit *visit, void *data)
{
	struct maps_entry entry;

	if (text->policies)
		return push_smaps_line(text, length, visit, data);
	if (!maps_parse_line(text->line, length, &entry))
		return fail(EPROTO);
	return visit(&entry, NULL, data);
}

bool fragments_text_push(struct fragments_text *text, const char *bytes,
			 size_t length, fragments_visit *visit, void *data)
{
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
		if (!push_line(text, length, visit, data))
			return false;
	}
	return true;
}

static int walk_text(int fd, const struct fragments_policies *policies,
		     fragments_visit *visit, void *data)
{
	struct fragments_text text;
	char chunk[16384];
	ssize_t got;

	fragments_text_init(&text, policies);
	if (!visit(NULL, NULL, data))
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
	if (got == 1 && !text.length && !text.header_length)
		return 0;
	if (got >= 0)
		errno = text.length || got ? EPROTO : ESRCH;
	return -1;
}

/* As fragments_walk(); 1 with errno if the kernel does not answer. */
static int walk_query(int fd, fragments_visit *visit, void *data)
{
	char name[MAPS_NAME_MAX];
	struct maps_entry entry;
	uint64_t address = 0;
	int found;

	if (!visit(NULL, NULL, data))
		return -1;
	while ((found = maps_query(fd, address, &entry, name,
				   sizeof(name))) == 1) {
		if (entry.end <= address || entry.start >= entry.end) {
			errno = EPROTO;
			return 1;
		}
		address = entry.end;
		if (!visit(&entry, NULL, data))
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
	return walk_text(fd, NULL, visit, data);
}

int fragments_walk_smaps(int fd, const struct fragments_policies *policies,
			 fragments_visit *visit, void *data)
{
	return walk_text(fd, policies, visit, data);
}

/* ---- memory policies ------------------------------------------------------ */

/* "default", "bind:0-1", "prefer (many):0": one word, or two with a bracket. */
static size_t policy_length(const char *text, size_t length)
{
	size_t end = 0;

	while (end < length && text[end] != ' ')
		end++;
	if (length - end >= 2 && text[end + 1] == '(') {
		end++;
		while (end < length && text[end] != ' ')
			end++;
	}
	return end;
}

/* One of the stored names, NULL with errno. */
static const char *intern(struct fragments_policies *policies,
			  const char *text, size_t length)
{
	char **names;

	for (size_t i = 0; i < policies->name_count; i++) {
		if (strlen(policies->names[i]) == length &&
		    !memcmp(policies->names[i], text, length))
			return policies->names[i];
	}
	names = realloc(policies->names,
			(policies->name_count + 1) * sizeof(*names));
	if (!names)
		return NULL;
	policies->names = names;
	names[policies->name_count] = strndup(text, length);
	if (!names[policies->name_count])
		return NULL;
	return names[policies->name_count++];
}

/* "7f0000000000 default anon=1 dirty=1 N0=1 kernelpagesize_kB=4" */
static bool push_policy(struct fragments_policies *policies, const char *line,
			size_t length)
{
	struct fragments_policy *mappings, *last;
	const char *policy;
	uint64_t start = 0;
	size_t at;

	for (at = 0; at < length && line[at] != ' '; at++) {
		const char *digit = strchr("0123456789abcdef", line[at]);

		if (!digit || !line[at] || start >> 60)
			return fail(EPROTO);
		start = start << 4 |
			(uint64_t)(line[at] <= '9' ? line[at] - '0' :
						     line[at] - 'a' + 10);
	}
	if (!at || at == length)
		return fail(EPROTO);
	at++;
	policy = intern(policies, line + at,
			policy_length(line + at, length - at));
	if (!policy)
		return false;
	last = policies->count ? &policies->mappings[policies->count - 1] : NULL;
	/* The process changes meanwhile; the search needs an order. */
	if (last && last->start >= start)
		return true;
	mappings = room_for_one(policies->mappings, policies->count, &policies->room,
				sizeof(*mappings));
	if (!mappings)
		return false;
	policies->mappings = mappings;
	policies->mappings[policies->count++] = (struct fragments_policy) {
		.start = start,
		.policy = policy,
	};
	return true;
}

int fragments_read_policies(int fd, struct fragments_policies *policies)
{
	char chunk[16384], line[256];
	size_t length = 0;
	ssize_t got;

	while ((got = read(fd, chunk, sizeof(chunk))) > 0) {
		for (ssize_t i = 0; i < got; i++) {
			if (chunk[i] != '\n') {
				/* The policy comes early. */
				if (length < sizeof(line))
					line[length++] = chunk[i];
				continue;
			}
			if (!push_policy(policies, line, length))
				return -1;
			length = 0;
		}
	}
	return got < 0 ? -1 : 0;
}

void fragments_free_policies(struct fragments_policies *policies)
{
	for (size_t i = 0; i < policies->name_count; i++)
		free(policies->names[i]);
	free(policies->names);
	free(policies->mappings);
	memset(policies, 0, sizeof(*policies));
}
