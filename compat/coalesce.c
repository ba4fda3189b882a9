/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Merging mappings where they are: by MADV_COALESCE, or by UFFD_MOVE of one mapping
 * after the other to where it is (move.c).
 *
 * The kernel tells of each mapping what it is, but not the place that its pages have
 * for it. So of two that touch and are alike, the smaller is relocated, and if they are
 * still two, the larger. What has been relocated has the place of its address, as a new
 * mapping would; its next neighbour needs no more than to be relocated, too.
 */

#define _GNU_SOURCE
#include "internal.h"
#include "maps.h"

#include <stdatomic.h>

/* include/uapi/asm-generic/mman-common.h; the same on all architectures */
#ifndef MADV_COALESCE
# define MADV_COALESCE 104
#endif
#ifndef MADV_DONTFORK
# define MADV_DONTFORK 10
#endif

/* An advice that no kernel has. */
#define NONSENSE_ADVICE 0x40000000

/* In one thread, in which signals wait. */
#define BATCH_BYTES ((size_t)64 << 20)
#define BATCH_MAPPINGS 256

#define KERNEL MREMAP_COMPAT_KERNEL
#define UFFD_MOVE MREMAP_COMPAT_UFFD_MOVE

/* Places of methods in a report */
enum { KERNEL_PLACE, UFFD_MOVE_PLACE };

/* Not a function of the C library: it is one that sanitizers replace. */
static int advise(void *start, size_t size, int advice)
{
	return (int)syscall(SYS_madvise, start, size, (long)advice);
}

/* ---- probing -------------------------------------------------------------- */

/* Four pages, and one on either side to keep them from merging with others. */
enum { BEFORE = 1, PIECES = 3, HOLE = BEFORE + PIECES, AROUND = 6 };

/*
 * Three pieces that could be one, and whether they become it. If they do, they can
 * grow into the hole behind them as one mapping; a call for several is refused with
 * EFAULT before the kernel looks for room. *hole: there is one, which can be another
 * thread's by now.
 *
 *	guard  [0]  [3]  [2]  hole  guard
 */
static enum mremap_compat_support try_pieces(char *area, bool *hole)
{
	const size_t page = mc_page_size();
	char *pieces = area + BEFORE * page;

	/* A child must not share them; a kernel without that has no advice at all. */
	if (mprotect(pieces, (PIECES + 1) * page, PROT_READ | PROT_WRITE) ||
	    advise(pieces, (PIECES + 1) * page, MADV_DONTFORK))
		return MREMAP_COMPAT_UNKNOWN;
	for (size_t i = 0; i <= PIECES; i++)
		pieces[i * page] = (char)('0' + i);
	if (mc_mremap(pieces + PIECES * page, page, page,
		      MREMAP_MAYMOVE | MREMAP_FIXED, pieces + page) ==
	    MAP_FAILED)
		return MREMAP_COMPAT_UNKNOWN;
	*hole = true;
	/* Once more, as a page can be busy when it is looked at. */
	for (int tries = 2; ; ) {
		if (advise(pieces, PIECES * page, MADV_COALESCE))
			return mc_support_of(errno);
		if (mc_mremap(pieces, PIECES * page, (PIECES + 1) * page, 0,
			      NULL) == pieces) {
			*hole = false;
			break;
		}
		if (errno != EFAULT)
			break;
		if (!--tries)
			return MREMAP_COMPAT_UNSUPPORTED;
	}
	return pieces[0] == '0' && pieces[page] == '3' &&
	       pieces[2 * page] == '2' ? MREMAP_COMPAT_SUPPORTED :
					 MREMAP_COMPAT_UNSUPPORTED;
}

static enum mremap_compat_support ask(void)
{
	const size_t page = mc_page_size();
	enum mremap_compat_support answer = MREMAP_COMPAT_UNKNOWN;
	bool hole = false;
	char *area;

	/* Nothing is at no bytes, so that whatever it is changes nothing. */
	if (advise(NULL, 0, MADV_COALESCE))
		return mc_support_of(errno);
	/* An emulator that ignores all advice */
	if (!advise(NULL, 0, NONSENSE_ADVICE))
		return MREMAP_COMPAT_UNSUPPORTED;
	/* Is it that one, and not another that a later kernel has given its number? */
	area = mmap(NULL, AROUND * page, PROT_NONE,
		    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (area != MAP_FAILED) {
		answer = try_pieces(area, &hole);
		munmap(area, (hole ? HOLE : AROUND) * page);
		if (hole)
			munmap(area + (HOLE + 1) * page, page);
	}
	/* At the limit of mappings, where it is needed most */
	if (answer == MREMAP_COMPAT_UNKNOWN &&
	    !syscall(SYS_faccessat, (long)AT_FDCWD,
		     "/proc/sys/vm/coalesce_at_limit", (long)F_OK))
		return MREMAP_COMPAT_SUPPORTED;
	return answer;
}

/* As answers of mremap_compat.c */
static atomic_int known_answer;

static enum mremap_compat_support probe_again(void)
{
	const int saved_errno = errno;
	const enum mremap_compat_support answer = ask();

	atomic_store_explicit(&known_answer, (int)answer, memory_order_relaxed);
	errno = saved_errno;
	return answer;
}

API enum mremap_compat_support mremap_compat_probe_coalesce(void)
{
	const int known = atomic_load_explicit(&known_answer,
					       memory_order_relaxed);

	if (!(mremap_compat_get_methods() & KERNEL))
		return MREMAP_COMPAT_UNSUPPORTED;
	if (known != MREMAP_COMPAT_UNKNOWN)
		return (enum mremap_compat_support)known;
	return probe_again();
}

/* ---- mappings ------------------------------------------------------------- */

/* A mapping, or what several have become. */
struct piece {
	uintptr_t start, end;
	uint64_t kind;		/* equal ones are alike, as far as is shown; 0: no such */
	bool movable;		/* may be relocated */
	bool natural;		/* has been, and so has the place of its address */
};

struct work {
	uintptr_t begin, end;	/* the range */
	uintptr_t at;		/* what ends here or before has been seen */
	/*
	 * The mapping that ends last of those seen is natural, when a batch ends and
	 * another begins.
	 */
	bool natural;
	bool finished;
	struct job *job;
	struct piece last;	/* kind 0: none to pair with */
	size_t bytes, mappings;	/* in this batch */
	enum mremap_compat_reason trouble;	/* USED: none, else it ends all */
	struct mremap_compat_coalesce_report *report;
};

/* FNV-1a, of what makes mappings alike */
static uint64_t hash(uint64_t h, const char *text, size_t length)
{
	for (size_t i = 0; i < length; i++)
		h = (h ^ (unsigned char)text[i]) * 0x100000001b3;
	return h;
}

static bool is_one_of(const char *flag, const char *flags)
{
	for (; *flags; flags += 3)
		if (flags[0] == flag[0] && flags[1] == flag[1])
			return true;
	return false;
}

/* Flags of a mapping, "rd wr mr mw me ac sd ", as smaps has them. */
static void take_flags(struct piece *piece, const char *text, size_t length)
{
	for (size_t i = 0; i + 1 < length; i++) {
		if (text[i] == ' ')
			continue;
		/* Those that do not keep mappings apart */
		if (!is_one_of(text + i, "sd gu "))
			piece->kind = hash(piece->kind, text + i, 2);
		/* userfaultfd; mseal, stacks, mlock */
		if (is_one_of(text + i, "um uw ui sl gd ss lo "))
			piece->movable = false;
		i++;
	}
}

/* Relocate a mapping; false if it stays as it was, or there is trouble. */
static bool relocate(struct work *work, struct piece *piece)
{
	const size_t size = piece->end - piece->start;
	enum mremap_compat_reason reason;

	work->bytes += size;
	work->mappings++;
	reason = mc_relocate_here(work->job, (char *)piece->start, size);
	switch (reason) {
	case MREMAP_COMPAT_USED:
		piece->natural = true;
		work->report->relocated++;
		return true;
	case MREMAP_COMPAT_UNSUITABLE:
	case MREMAP_COMPAT_BUSY:
		work->report->apart_reason = reason;
		return false;
	default:
		work->trouble = reason;
		return false;
	}
}

/* Whether there is one mapping where two touch. */
static bool have_merged(uintptr_t address)
{
	struct maps_entry entry;
	bool anonymous;

	return maps_find(address, &entry, &anonymous) == 1 &&
	       entry.start < address;
}

/* Two that touch and are alike. Returns whether they are one now. */
static bool merge(struct work *work, struct piece *last, struct piece *next)
{
	struct mremap_compat_coalesce_report *report = work->report;
	const enum mremap_compat_reason before = report->apart_reason;
	const bool last_can = last->movable && !last->natural;
	bool last_first = last_can && last->end - last->start <
				      next->end - next->start;
	struct piece *first, *second;
	bool merged;

	if (!next->movable)
		last_first = true;
	first = last_first ? last : next;
	second = last_first ? next : last;
	if (!first->movable || first->natural)
		return false;
	/* Until relocate() has a reason for this pair */
	report->apart_reason = MREMAP_COMPAT_NOT_TRIED;
	merged = relocate(work, first) &&
		 (have_merged(next->start) ||
		  (second->movable && !second->natural &&
		   relocate(work, second) && have_merged(next->start)));
	if (merged || work->trouble != MREMAP_COMPAT_USED) {
		report->apart_reason = before;
		return merged;
	}
	if (report->apart_reason == MREMAP_COMPAT_NOT_TRIED)
		report->apart_reason = MREMAP_COMPAT_UNSUITABLE;
	report->apart++;
	return false;
}

/* The next mapping. Returns false if no more are wanted in this batch. */
static bool push(struct work *work, struct piece *next)
{
	struct piece *last = &work->last;

	if (next->end <= work->at)
		return true;
	if (next->start < work->at) {
		/* What has been seen has become this, perhaps with what is behind. */
		next->natural = work->natural;
	}
	work->natural = false;
	if (next->start > work->end || work->at >= work->end) {
		work->finished = true;
		return false;
	}
	if (next->start < work->begin || next->end > work->end)
		next->movable = false;
	if (last->kind && last->kind == next->kind && last->end == next->start &&
	    merge(work, last, next)) {
		next->start = last->start;
		next->natural = true;
	}
	*last = *next;
	work->at = next->end;
	work->natural = next->natural;
	return work->trouble == MREMAP_COMPAT_USED &&
	       work->bytes < BATCH_BYTES && work->mappings < BATCH_MAPPINGS;
}

static bool begins(const char *line, size_t length, const char *key)
{
	return length >= strlen(key) && !memcmp(line, key, strlen(key));
}

/*
 * A line of smaps. The first of a mapping is as in maps, VmFlags is the last. Names
 * that are cut are not those of anonymous memory.
 */
static bool push_line(struct work *work, struct piece *piece,
		      const char *line, size_t length)
{
	static const char key[] = "ProtectionKey:", flags[] = "VmFlags:";
	struct maps_entry entry;

	if (maps_parse_line(line, length, &entry)) {
		*piece = (struct piece){
			.start = (uintptr_t)entry.start,
			.end = (uintptr_t)entry.end,
		};
		if (!maps_is_anonymous(&entry))
			return true;
		piece->kind = hash(0xcbf29ce484222325, entry.name,
				   entry.name_length);
		piece->movable = entry.read && entry.write;
	} else if (piece->kind && begins(line, length, key)) {
		piece->kind = hash(piece->kind, line, length);
	} else if (begins(line, length, flags)) {
		if (piece->kind)
			take_flags(piece, line + strlen(flags),
				   length - strlen(flags));
		return push(work, piece);
	}
	return true;
}

/* In a thread of its own: as many mappings as a batch is for. */
static void run_batch(struct job *job, void *argument)
{
	struct work *work = argument;
	struct piece piece = { 0 };
	/* No larger, see maps.c; no line of anonymous memory is longer. */
	char line[256], chunk[512];
	size_t length = 0;
	bool more = true;
	long got = 0;
	int fd;

	work->job = job;
	work->bytes = work->mappings = 0;
	work->last = (struct piece){ 0 };
	/* The one seen last is the first to pair with: it is seen again. */
	if (work->at > work->begin)
		work->at--;
	fd = mc_open("/proc/thread-self/smaps", O_RDONLY);
	if (fd < 0) {
		work->trouble = mc_reason_for(mc_support_of(errno));
		return;
	}
	while (more && (got = syscall(SYS_read, (long)fd, chunk,
				      sizeof(chunk))) > 0) {
		for (long i = 0; more && i < got; i++) {
			if (chunk[i] != '\n') {
				if (length < sizeof(line))
					line[length++] = chunk[i];
				continue;
			}
			more = push_line(work, &piece, line, length);
			length = 0;
		}
	}
	if (got < 0)
		work->trouble = mc_reason_for(mc_support_of(errno));
	else if (more)
		work->finished = true;
	mc_close(fd);
}

/* ---- the call ------------------------------------------------------------- */

struct call {
	char *address;
	size_t size;		/* whole pages */
	unsigned int methods;	/* allowed, and in force */
	struct mremap_compat_coalesce_report *report;
};

/* The advice. False if the next method shall be tried; else *err, 0 for success. */
static bool by_kernel(const struct call *call, int *err)
{
	enum mremap_compat_reason *reason = &call->report->reason[KERNEL_PLACE];
	enum mremap_compat_support answer;

	if (!(call->methods & KERNEL))
		return false;
	answer = mremap_compat_probe_coalesce();
	*reason = mc_reason_for(answer);
	if (answer != MREMAP_COMPAT_SUPPORTED)
		return false;
	*err = advise(call->address, call->size, MADV_COALESCE) ? errno : 0;
	if (mc_is_refusal(*err)) {
		/* A filter was installed since, or a checkpoint goes on elsewhere. */
		*reason = mc_reason_for(probe_again());
		if (*reason != MREMAP_COMPAT_USED)
			return false;
		*reason = MREMAP_COMPAT_FORBIDDEN;
		*err = EPERM;
		return true;
	}
	if (*err && *err != EINTR)
		*reason = MREMAP_COMPAT_NO_RESOURCES;
	call->report->method = KERNEL;
	return true;
}

static void by_uffd_move(const struct call *call)
{
	enum mremap_compat_reason *reason =
		&call->report->reason[UFFD_MOVE_PLACE];
	struct work work = {
		.begin = (uintptr_t)call->address,
		.end = (uintptr_t)call->address + call->size,
		.at = (uintptr_t)call->address,
		.trouble = MREMAP_COMPAT_USED,
		.report = call->report,
	};

	*reason = mc_reason_for(mremap_compat_probe(UFFD_MOVE));
	while (*reason == MREMAP_COMPAT_USED && !work.finished) {
		*reason = mc_here(run_batch, &work);
		if (*reason == MREMAP_COMPAT_USED)
			*reason = work.trouble;
	}
	if (call->report->relocated)
		call->report->method = UFFD_MOVE;
}

/* What the call fails with, if no method has been USED. */
static int error_of(const struct mremap_compat_coalesce_report *report)
{
	int err = EOPNOTSUPP;

	for (unsigned int i = 0; i < MREMAP_COMPAT_METHODS; i++) {
		if (report->reason[i] == MREMAP_COMPAT_NO_RESOURCES)
			err = ENOMEM;
		else if (report->reason[i] == MREMAP_COMPAT_FORBIDDEN &&
			 err == EOPNOTSUPP)
			err = EPERM;
	}
	return err;
}

static int do_call(const struct call *call)
{
	struct mremap_compat_coalesce_report *report = call->report;
	int err;

	if (by_kernel(call, &err))
		return err;
	if (call->methods & UFFD_MOVE) {
		by_uffd_move(call);
		if (report->reason[UFFD_MOVE_PLACE] == MREMAP_COMPAT_USED)
			return 0;
	}
	return error_of(report);
}

API int mremap_compat_coalesce(void *address, size_t size, unsigned int methods,
			       struct mremap_compat_coalesce_report *report)
{
	const unsigned int in_force = mremap_compat_get_methods();
	const unsigned int can = KERNEL | UFFD_MOVE;
	const uintptr_t start = (uintptr_t)address;
	const int saved_errno = errno;
	struct mremap_compat_coalesce_report unwanted;
	struct call call = {
		.address = address,
		.size = mc_round_up(size),
		.methods = methods & in_force & can,
		.report = report ? report : &unwanted,
	};

	*call.report = (struct mremap_compat_coalesce_report){ 0 };
	for (unsigned int i = 0; i < MREMAP_COMPAT_METHODS; i++) {
		const unsigned int method = 1U << i;

		if (!(methods & can & method))
			call.report->reason[i] = MREMAP_COMPAT_NOT_ALLOWED;
		else if (!(in_force & method))
			call.report->reason[i] = MREMAP_COMPAT_SWITCHED_OFF;
	}
	errno = EINVAL;
	if ((start & (mc_page_size() - 1)) || (size && !call.size) ||
	    start + call.size < start || !(methods & can) ||
	    (methods & ~(unsigned int)MREMAP_COMPAT_ALL_METHODS))
		return -1;
	errno = call.size ? do_call(&call) : 0;
	if (errno)
		return -1;
	errno = saved_errno;
	return 0;
}
