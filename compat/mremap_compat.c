/* SPDX-License-Identifier: LGPL-2.1-or-later */

#define _GNU_SOURCE
#include "internal.h"
#include "maps.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>

#ifndef MADV_POPULATE_READ
# define MADV_POPULATE_READ 22
#endif

#define RELOCATE_FLAGS (MREMAP_RELOCATE_ANON | MREMAP_MUST_RELOCATE_ANON)
#define KNOWN_FLAGS \
	(MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP | RELOCATE_FLAGS)

/* The smallest there are */
#define HUGE_PAGE ((size_t)2 << 20)

/* A flag that no kernel has. */
#define NONSENSE_FLAG 0x40000000

#define KERNEL MREMAP_COMPAT_KERNEL
#define UFFD_MOVE MREMAP_COMPAT_UFFD_MOVE
#define COPY MREMAP_COMPAT_COPY
#define PLAIN MREMAP_COMPAT_PLAIN
#define ALL_METHODS MREMAP_COMPAT_ALL_METHODS

static void *fail(int err)
{
	errno = err;
	return MAP_FAILED;
}

/* ---- names and version ---------------------------------------------------- */

static const char *const names[MREMAP_COMPAT_METHODS] = {
	"kernel", "uffd-move", "copy", "plain"
};

/* The place of a method in tables; MREMAP_COMPAT_METHODS: no method. */
static unsigned int place_of(unsigned int method)
{
	unsigned int i = 0;

	while (i < MREMAP_COMPAT_METHODS && method != 1U << i)
		i++;
	return i;
}

API const char *mremap_compat_method_name(enum mremap_compat_method method)
{
	const unsigned int i = place_of((unsigned int)method);

	return i < MREMAP_COMPAT_METHODS ? names[i] : NULL;
}

API int mremap_compat_version(void)
{
	return MREMAP_COMPAT_VERSION;
}

/* ---- methods in force ----------------------------------------------------- */

/*
 * A set of methods; 0 before the environment has been read. Nothing else
 * depends on it, so that relaxed accesses suffice.
 */
static atomic_uint methods_in_force;

/* A list of names with commas. 0 if a word is none of them. */
static unsigned int parse_methods(const char *text)
{
	unsigned int methods = 0;

	if (!strcmp(text, "all"))
		return ALL_METHODS;
	for (;;) {
		const size_t length = strcspn(text, ",");
		unsigned int i = 0;

		while (i < MREMAP_COMPAT_METHODS &&
		       (strlen(names[i]) != length ||
			memcmp(names[i], text, length)))
			i++;
		if (i == MREMAP_COMPAT_METHODS)
			return 0;
		methods |= 1U << i;
		if (!text[length])
			return methods | PLAIN;
		text += length + 1;
	}
}

API unsigned int mremap_compat_get_methods(void)
{
	unsigned int methods = atomic_load_explicit(&methods_in_force,
						    memory_order_relaxed);
	unsigned int none = 0;
	const char *text;

	if (methods)
		return methods;
	text = secure_getenv("MREMAP_COMPAT_METHODS");
	if (text)
		methods = parse_methods(text);
	if (!methods)
		methods = ALL_METHODS;
	/* A set that was given meanwhile counts. */
	if (!atomic_compare_exchange_strong_explicit(&methods_in_force, &none,
						     methods,
						     memory_order_relaxed,
						     memory_order_relaxed))
		methods = none;
	return methods;
}

/* Early, before there are threads that could change the environment. */
__attribute__((constructor)) static void read_environment(void)
{
	mremap_compat_get_methods();
}

API unsigned int mremap_compat_set_methods(unsigned int methods)
{
	mremap_compat_get_methods();	/* the environment's comes first */
	methods = (methods & ALL_METHODS) | PLAIN;
	return atomic_exchange_explicit(&methods_in_force, methods,
					memory_order_relaxed);
}

/* ---- probing --------------------------------------------------------------- */

/*
 * The answers, an enum mremap_compat_support each. Threads that meet UNKNOWN
 * ask at the same time and store the same answer, and no other memory depends
 * on it, so that relaxed accesses suffice. A child inherits them.
 */
static atomic_int answers[MREMAP_COMPAT_METHODS];

bool mc_is_refusal(int err)
{
	return err == EINVAL || err == ENOSYS || err == EPERM || err == EACCES;
}

enum mremap_compat_support mc_support_of(int err)
{
	if (err == EPERM || err == EACCES)
		return MREMAP_COMPAT_NOT_PERMITTED;
	return mc_is_refusal(err) ? MREMAP_COMPAT_UNSUPPORTED :
				    MREMAP_COMPAT_UNKNOWN;
}

/* Memory to ask with; NULL if there is none. */
static char *scratch(size_t size, int prot)
{
	char *page = mmap(NULL, size, prot, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return page == MAP_FAILED ? NULL : page;
}

/*
 * Ask in a call that keeps the page's place and size: a kernel that has the
 * flags has nothing to do and returns its address.
 *
 * Memory in use must not be tried with: qemu-user turns the call into a move
 * and may map over the source when the move fails.  That it moves the page is
 * also how it is told from a kernel; it cannot keep the promise that a failed
 * call has changed nothing.
 */
static enum mremap_compat_support ask_kernel(void)
{
	const size_t size = mc_page_size();
	const int flags = MREMAP_MAYMOVE | RELOCATE_FLAGS;
	enum mremap_compat_support answer = MREMAP_COMPAT_UNSUPPORTED;
	char *page, *result;

	page = scratch(size, PROT_NONE);
	if (!page)
		return MREMAP_COMPAT_UNKNOWN;

	result = mc_mremap(page, size, size, flags, NULL);
	if (result == MAP_FAILED) {
		answer = mc_support_of(errno);
	} else if (result == page) {
		/* Flags that are ignored would look like support. */
		result = mc_mremap(page, size, size, flags | NONSENSE_FLAG,
				   NULL);
		if (result == MAP_FAILED && errno == EINVAL)
			answer = MREMAP_COMPAT_SUPPORTED;
	} else if (result) {
		/* Moved; its old place may be somebody else's by now. */
		page = result;
	}
	munmap(page, size);
	return answer;
}

static enum mremap_compat_support try_plain(void)
{
	const size_t size = mc_page_size();
	enum mremap_compat_support answer = MREMAP_COMPAT_SUPPORTED;
	char *page = scratch(size, PROT_NONE);

	if (!page)
		return MREMAP_COMPAT_UNKNOWN;
	if (mc_mremap(page, size, size, 0, NULL) == MAP_FAILED)
		answer = mc_support_of(errno);
	munmap(page, size);
	return answer;
}

/*
 * Whether a mapping can be emptied as the methods need it. Where it cannot, as in
 * emulators and on old kernels, no thread need be made to find that out.
 */
static enum mremap_compat_support try_dontunmap(char *page)
{
	const size_t size = mc_page_size();
	char *other = mc_mremap(page, size, size, MREMAP_MAYMOVE |
				MREMAP_DONTUNMAP, NULL);

	if (other == MAP_FAILED)
		return mc_support_of(errno);
	munmap(other, size);
	return MREMAP_COMPAT_SUPPORTED;
}

struct search {
	uintptr_t address;
	struct maps_entry entry;
	int found;		/* as maps_find() */
};

static void look(void *argument)
{
	struct search *search = argument;
	bool anonymous;

	search->found = maps_find(search->address, &search->entry, &anonymous);
}

/* The method itself, with a page of its own that moves next to another one. */
static enum mremap_compat_support try_method(enum mremap_compat_method method)
{
	const size_t size = mc_page_size();
	enum mremap_compat_support answer;
	struct search search = { .found = -1 };
	struct mc_move move;
	void *result = NULL;
	char *page, *next;
	bool begun;

	page = scratch(size, PROT_READ | PROT_WRITE);
	if (!page)
		return MREMAP_COMPAT_UNKNOWN;
	answer = try_dontunmap(page);
	if (answer != MREMAP_COMPAT_SUPPORTED) {
		munmap(page, size);
		return answer;
	}
	answer = MREMAP_COMPAT_UNSUPPORTED;
	next = scratch(2 * size, PROT_READ | PROT_WRITE);
	if (!next) {
		munmap(page, size);
		return MREMAP_COMPAT_UNKNOWN;
	}
	/*
	 * After mlockall() they are locked, which these methods are not for.
	 * (Sanitizers make munlock() do nothing.)
	 */
	syscall(SYS_munlock, page, size);
	syscall(SYS_munlock, next, 2 * size);
	memset(page, 'x', size);
	next[0] = 'y';
	move = (struct mc_move){
		.old = page, .old_size = size, .new_size = size,
		.fixed = true, .to = next + size, .keep_target = true,
	};
	switch (mc_relocate(NULL, method, &move, &result, &begun)) {
	case MREMAP_COMPAT_USED:
		page = NULL;
		search.address = (uintptr_t)next;
		mc_apart(look, &search);
		switch (search.found) {
		case 1:
			/* Before Linux 5.12 they do not merge. */
			if (search.entry.end - (uintptr_t)next >= 2 * size &&
			    next[0] == 'y' && next[size] == 'x' &&
			    next[2 * size - 1] == 'x')
				answer = MREMAP_COMPAT_SUPPORTED;
			break;
		case -1:
			answer = MREMAP_COMPAT_UNKNOWN;
			break;
		default:
			break;
		}
		break;
	case MREMAP_COMPAT_FORBIDDEN:
		answer = MREMAP_COMPAT_NOT_PERMITTED;
		break;
	case MREMAP_COMPAT_BUSY:
	case MREMAP_COMPAT_NO_RESOURCES:
		answer = MREMAP_COMPAT_UNKNOWN;
		break;
	default:
		break;
	}
	if (page)
		munmap(page, size);
	munmap(next, 2 * size);
	return answer;
}

/* Without an answer from before, and whatever methods are in force. */
static enum mremap_compat_support probe_again(enum mremap_compat_method method)
{
	const int saved_errno = errno;
	enum mremap_compat_support answer;

	switch (method) {
	case KERNEL:
		answer = ask_kernel();
		break;
	case PLAIN:
		answer = try_plain();
		break;
	default:
		answer = try_method(method);
		break;
	}
	atomic_store_explicit(&answers[place_of(method)], (int)answer,
			      memory_order_relaxed);
	errno = saved_errno;
	return answer;
}

static enum mremap_compat_support probe(enum mremap_compat_method method)
{
	const int known = atomic_load_explicit(&answers[place_of(method)],
					       memory_order_relaxed);

	if (known != MREMAP_COMPAT_UNKNOWN)
		return (enum mremap_compat_support)known;
	return probe_again(method);
}

API enum mremap_compat_support
mremap_compat_probe(enum mremap_compat_method method)
{
	if (place_of((unsigned int)method) == MREMAP_COMPAT_METHODS)
		return MREMAP_COMPAT_UNKNOWN;
	if (!(mremap_compat_get_methods() & method))
		return MREMAP_COMPAT_UNSUPPORTED;
	return probe(method);
}

/* ---- moves ------------------------------------------------------------------ */

struct call {
	char *old_address;
	size_t old_size, new_size;	/* as given */
	int flags;
	char *new_address;
	unsigned int methods;		/* allowed, of those in force */
	bool must;			/* PLAIN may not move it */
	bool kernel_knows;		/* the flags, so that PLAIN may try them */
	int kernel_errno;		/* how KERNEL failed for want of memory */
	bool begun;			/* UFFD_MOVE, to move pages */
	bool realloc;			/* COPY may come first, and go to new memory */
	struct mremap_compat_handle *handle;
	int saved_errno;
	struct mremap_compat_report *report;
};

static void give_reason(struct call *call, unsigned int method,
			enum mremap_compat_reason reason)
{
	call->report->reason[place_of(method)] = reason;
}

/* The mapping moved by a method, unless it kept its place. */
static void *moved(struct call *call, unsigned int method, void *result)
{
	if (result != call->old_address) {
		call->report->method = method;
		give_reason(call, method, MREMAP_COMPAT_USED);
	}
	return result;
}

enum mremap_compat_reason mc_reason_for(enum mremap_compat_support answer)
{
	switch (answer) {
	case MREMAP_COMPAT_SUPPORTED:
		return MREMAP_COMPAT_USED;
	case MREMAP_COMPAT_NOT_PERMITTED:
		return MREMAP_COMPAT_FORBIDDEN;
	case MREMAP_COMPAT_UNKNOWN:
		return MREMAP_COMPAT_NO_RESOURCES;
	default:
		return MREMAP_COMPAT_NOT_SUPPORTED;
	}
}

/* Leave out a method that the probe's answer advises against. */
static bool can_use(struct call *call, enum mremap_compat_method method,
		    enum mremap_compat_support answer)
{
	if (answer == MREMAP_COMPAT_SUPPORTED)
		return true;
	give_reason(call, method, mc_reason_for(answer));
	return false;
}

/*
 * The kernel's flags. False if the next method shall be tried; else the call
 * ends with *result.
 */
static bool by_kernel(struct call *call, void **result)
{
	const bool others = call->methods & (UFFD_MOVE | COPY);
	int flags = call->flags;

	if (!(call->methods & KERNEL) || !can_use(call, KERNEL, probe(KERNEL)))
		return false;
	call->kernel_knows = true;
	/* If others come first, it may not move the memory as PLAIN does. */
	if (call->must || others)
		flags |= MREMAP_MUST_RELOCATE_ANON;
	*result = mc_mremap(call->old_address, call->old_size, call->new_size,
			    flags, call->new_address);
	if (*result != MAP_FAILED) {
		moved(call, KERNEL, *result);
		return true;
	}
	if (errno == EFAULT && (flags & MREMAP_MUST_RELOCATE_ANON)) {
		/* Or nothing is mapped there; what follows finds out. */
		give_reason(call, KERNEL, MREMAP_COMPAT_UNSUITABLE);
		if (!others)
			return true;
		errno = call->saved_errno;
		return false;
	}
	if (mc_is_refusal(errno)) {
		const int err = errno;

		/*
		 * The call is wrong in itself, or the answer has changed: a
		 * filter was installed since, or a checkpoint of the process
		 * goes on elsewhere.
		 */
		if (!can_use(call, KERNEL, probe_again(KERNEL))) {
			call->kernel_knows = false;
			errno = call->saved_errno;
			return false;
		}
		if (err == EPERM || err == EACCES)
			give_reason(call, KERNEL, MREMAP_COMPAT_FORBIDDEN);
		errno = err;
		return true;
	}
	if (errno == ENOMEM) {
		/* Relocation takes memory that a plain move does not. */
		give_reason(call, KERNEL, MREMAP_COMPAT_NO_RESOURCES);
		call->kernel_knows = false;
		call->kernel_errno = ENOMEM;
		if (call->must && !others)
			return true;
		errno = call->saved_errno;
		return false;
	}
	return true;
}

/* The kernel's rules for a move, where it is not the kernel that makes it. */
static bool is_invalid(const struct call *call)
{
	const size_t mask = mc_page_size() - 1;
	const size_t old_size = mc_round_up(call->old_size);
	const size_t new_size = mc_round_up(call->new_size);
	const uintptr_t old_start = (uintptr_t)call->old_address;
	const uintptr_t new_start = (uintptr_t)call->new_address;

	if ((old_start & mask) || !new_size)
		return true;
	if (!(call->flags & (MREMAP_FIXED | MREMAP_DONTUNMAP)))
		return false;
	if (new_start & mask)
		return true;
	if ((call->flags & MREMAP_DONTUNMAP) && old_size != new_size)
		return true;
	return old_start < new_start ? new_start - old_start < old_size
				     : old_start - new_start < new_size;
}

/* ---- what is cheapest ---------------------------------------------------------- */

/*
 * Nanoseconds by call and by page of 4 KiB, as tests/compat/cost.c measures them with
 * 25 mappings (compat/README.md has the table). On other processors all are larger or
 * smaller; what counts are the ratios.
 */
struct cost {
	unsigned int call, page;
};

static const struct cost cost_move = { 95000, 150 };
static const struct cost cost_copy = { 95000, 2800 };
/* By mremap_compat_realloc_with(): into new memory */
static const struct cost cost_new = { 7500, 2200 };

static uint64_t cost_of(const struct cost *cost, size_t size)
{
	return cost->call + (uint64_t)(size / 4096) * cost->page;
}

uint64_t mc_cost_of_move(size_t size)
{
	return cost_of(&cost_move, size);
}

static size_t size_to_move(const struct call *call)
{
	const size_t size = call->old_size < call->new_size ?
			    call->old_size : call->new_size;

	return mc_round_up(size);
}

/*
 * Larger memory may be made of huge pages, which it would cost to do without; by the
 * way that other calls take, what makes them so comes along.
 */
static bool into_new(const struct call *call)
{
	return call->realloc && size_to_move(call) < HUGE_PAGE;
}

/*
 * Whether COPY, which has to be allowed, comes before UFFD_MOVE: for little memory,
 * and where the process has so many mappings that it takes long to close a
 * userfaultfd. As COPY of what need not be new takes a thread, too, and twice the
 * memory, it must be cheaper by half.
 */
static bool copy_is_cheaper(const struct call *call)
{
	const bool kept = call->handle && mc_handle_fd(call->handle) >= 0;
	const size_t size = size_to_move(call);
	const uint64_t copy = into_new(call) ? cost_of(&cost_new, size) :
					       2 * cost_of(&cost_copy, size);
	const uint64_t move = mc_cost_of_move(size);

	if (copy < move)
		return true;
	if (kept || copy >= move + mc_closing_cost())
		return false;
	mc_doubt_closing_cost();
	return true;
}

/* ---- other methods -------------------------------------------------------------- */

/*
 * COPY of a region of which no more is promised than realloc() promises: into new
 * memory, without another thread or a descriptor. What is not readable is not for
 * it; a write to memory that has been unmapped for want of it would be the end.
 */
static enum mremap_compat_reason copy_into_new(const struct call *call,
					       void **result)
{
	const size_t page = mc_page_size(), size = size_to_move(call);
	const char *from = call->old_address;
	char *to;

	/* Locked memory would not be locked any more. Or it is not mapped. */
	if (syscall(SYS_msync, from, call->old_size, (long)MS_INVALIDATE))
		return errno == EPERM ? MREMAP_COMPAT_FORBIDDEN :
					MREMAP_COMPAT_UNSUITABLE;
	/*
	 * Guard pages and broken ones, and what is not readable. Where it is not
	 * known (Linux before 5.14, a sandbox) it is not for no bytes either.
	 */
	if (madvise(call->old_address, size, MADV_POPULATE_READ) &&
	    !madvise(call->old_address, 0, MADV_POPULATE_READ))
		return MREMAP_COMPAT_UNSUITABLE;
	to = mmap(NULL, call->new_size, PROT_READ | PROT_WRITE,
		  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (to == MAP_FAILED)
		return MREMAP_COMPAT_NO_RESOURCES;
	/* A page of zeros stays a hole. */
	for (size_t i = 0; i < size; i += page)
		if (from[i] || memcmp(from + i, from + i + 1, page - 1))
			memcpy(to + i, from + i, page);
	if (munmap(call->old_address, call->old_size)) {
		munmap(to, call->new_size);
		return MREMAP_COMPAT_NO_RESOURCES;
	}
	*result = to;
	return MREMAP_COMPAT_USED;
}

/* UFFD_MOVE or COPY. False if the next method shall be tried. */
static bool by_pages(struct call *call, enum mremap_compat_method method,
		     void **result)
{
	const struct mc_move move = {
		.old = call->old_address,
		.old_size = mc_round_up(call->old_size),
		.new_size = mc_round_up(call->new_size),
		.fixed = call->flags & MREMAP_FIXED,
		.to = call->new_address,
		.keep_target = call->must,
	};
	enum mremap_compat_reason reason = MREMAP_COMPAT_UNSUITABLE;

	if (!(call->methods & method))
		return false;
	if (method == COPY && into_new(call))
		reason = copy_into_new(call, result);
	else if (!can_use(call, method, probe(method)))
		return false;
	else if (!(call->flags & MREMAP_DONTUNMAP) && move.old_size)
		reason = mc_relocate(call->handle, method, &move, result,
				     &call->begun);
	errno = call->saved_errno;
	if (reason != MREMAP_COMPAT_USED) {
		give_reason(call, method, reason);
		return false;
	}
	moved(call, method, *result);
	return true;
}

/*
 * A page at which UFFD_MOVE has stopped, or one behind that, may be pinned after all:
 * a device would be cut off from a copy of it. So nothing is copied that UFFD_MOVE
 * has begun with, or could not begin with for want of resources.
 */
static bool may_copy(struct call *call)
{
	const enum mremap_compat_reason uffd_move =
		call->report->reason[place_of(UFFD_MOVE)];

	if (!(call->methods & COPY))
		return false;
	if (call->begun)
		give_reason(call, COPY, MREMAP_COMPAT_BUSY);
	else if (uffd_move == MREMAP_COMPAT_NO_RESOURCES)
		give_reason(call, COPY, uffd_move);
	else
		return true;
	return false;
}

/* UFFD_MOVE and COPY, the cheaper one first. */
static bool by_either(struct call *call, void **result)
{
	const unsigned int both = UFFD_MOVE | COPY;

	/* Else UFFD_MOVE comes first, which notices what is pinned. */
	if (call->realloc && (call->methods & both) == both &&
	    copy_is_cheaper(call)) {
		if (by_pages(call, COPY, result))
			return true;
		/* It has its reason. */
		call->methods &= ~COPY;
	}
	return by_pages(call, UFFD_MOVE, result) ||
	       (may_copy(call) && by_pages(call, COPY, result));
}

static void *do_call(struct call *call)
{
	const bool relocate = call->flags & RELOCATE_FLAGS;
	void *result;

	if (relocate && by_kernel(call, &result))
		return result;

	if (call->must || (call->methods & (UFFD_MOVE | COPY))) {
		if (is_invalid(call))
			return fail(EINVAL);
		/* A mapping that can keep its place keeps it. */
		if (call->old_size &&
		    !(call->flags & (MREMAP_FIXED | MREMAP_DONTUNMAP))) {
			result = mc_mremap(call->old_address, call->old_size,
					   call->new_size, 0, NULL);
			/* No room to grow: it has to move. */
			if (result != MAP_FAILED || errno != ENOMEM)
				return result;
			errno = call->saved_errno;
		}
		if (by_either(call, &result))
			return result;
		if (call->must)
			return fail(call->kernel_errno ? call->kernel_errno :
				    EFAULT);
	}

	/* Of several mappings, the kernel may be able to relocate some. */
	result = mc_mremap(call->old_address, call->old_size, call->new_size,
			   call->kernel_knows ? call->flags :
			   call->flags & ~RELOCATE_FLAGS, call->new_address);
	if (result != MAP_FAILED)
		return moved(call, PLAIN, result);
	if (errno == ENOMEM)
		give_reason(call, PLAIN, MREMAP_COMPAT_NO_RESOURCES);
	if (errno == EPERM || errno == EACCES)
		give_reason(call, PLAIN, MREMAP_COMPAT_FORBIDDEN);
	return result;
}

static void *call_with(struct call *call, unsigned int methods,
		       struct mremap_compat_report *report)
{
	const unsigned int in_force = mremap_compat_get_methods();
	const int flags = call->flags;
	struct mremap_compat_report unwanted;

	call->methods = methods & in_force;
	call->must = (flags & MREMAP_MUST_RELOCATE_ANON) || !(methods & PLAIN);
	call->saved_errno = errno;
	call->report = report ? report : &unwanted;
	*call->report = (struct mremap_compat_report){ 0 };
	for (unsigned int i = 0; i < MREMAP_COMPAT_METHODS; i++) {
		const unsigned int method = 1U << i;

		if (!(methods & method) ||
		    (method == PLAIN ? (flags & MREMAP_MUST_RELOCATE_ANON) :
				       !(flags & RELOCATE_FLAGS))) {
			give_reason(call, method, MREMAP_COMPAT_NOT_ALLOWED);
			call->methods &= ~method;
		} else if (!(in_force & method)) {
			give_reason(call, method, MREMAP_COMPAT_SWITCHED_OFF);
		}
	}

	if (flags & ~KNOWN_FLAGS)
		return fail(EINVAL);
	if ((flags & RELOCATE_FLAGS) && !(flags & MREMAP_MAYMOVE))
		return fail(EINVAL);
	if (!methods || (methods & ~(unsigned int)ALL_METHODS) ||
	    (!(flags & RELOCATE_FLAGS) && !(methods & PLAIN)))
		return fail(EINVAL);
	if (!(flags & (MREMAP_FIXED | MREMAP_DONTUNMAP)))
		call->new_address = NULL;
	return do_call(call);
}

API void *mremap_compat_ext_with(struct mremap_compat_handle *handle,
				 void *old_address, size_t old_size,
				 size_t new_size, int flags, void *new_address,
				 unsigned int methods,
				 struct mremap_compat_report *report)
{
	struct call call = {
		.handle = handle,
		.old_address = old_address,
		.old_size = old_size,
		.new_size = new_size,
		.flags = flags,
		.new_address = new_address,
	};

	return call_with(&call, methods, report);
}

API void *mremap_compat_ext(void *old_address, size_t old_size, size_t new_size,
			    int flags, void *new_address, unsigned int methods,
			    struct mremap_compat_report *report)
{
	return mremap_compat_ext_with(NULL, old_address, old_size, new_size,
				      flags, new_address, methods, report);
}

API void *mremap_compat(void *old_address, size_t old_size, size_t new_size,
			int flags, ...)
{
	void *new_address = NULL;
	va_list ap;

	/* With a flag that is not known, nothing is known of the arguments. */
	if (!(flags & ~KNOWN_FLAGS) &&
	    (flags & (MREMAP_FIXED | MREMAP_DONTUNMAP))) {
		va_start(ap, flags);
		new_address = va_arg(ap, void *);
		va_end(ap);
	}
	return mremap_compat_ext(old_address, old_size, new_size, flags,
				 new_address, KERNEL | PLAIN, NULL);
}

API void *mremap_compat_realloc_with(struct mremap_compat_handle *handle,
				     void *region, size_t old_size,
				     size_t new_size, unsigned int methods,
				     struct mremap_compat_report *report)
{
	struct call call = {
		.handle = handle,
		.old_address = region,
		.old_size = mc_round_up(old_size),
		.new_size = mc_round_up(new_size),
		.flags = MREMAP_MAYMOVE | MREMAP_RELOCATE_ANON,
		.realloc = true,
	};
	void *result;

	if (report)
		*report = (struct mremap_compat_report){ 0 };
	if ((uintptr_t)region & (mc_page_size() - 1) || !region != !old_size ||
	    !methods || (methods & ~(unsigned int)ALL_METHODS)) {
		errno = EINVAL;
		return NULL;
	}
	if ((old_size && !call.old_size) || (new_size && !call.new_size)) {
		errno = ENOMEM;
		return NULL;
	}
	if (!new_size) {
		if (region)
			munmap(region, call.old_size);
		return NULL;
	}
	if (!region)
		result = mmap(NULL, call.new_size, PROT_READ | PROT_WRITE,
			      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	else
		result = call_with(&call, methods, report);
	if (result != MAP_FAILED)
		return result;
	/* By now nothing is wrong with the call but the size. */
	if (errno == EINVAL)
		errno = ENOMEM;
	return NULL;
}

API void *mremap_compat_realloc(void *region, size_t old_size, size_t new_size)
{
	return mremap_compat_realloc_with(NULL, region, old_size, new_size,
					  MREMAP_COMPAT_KEEP_PAGES, NULL);
}
