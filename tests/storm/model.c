// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The shadow model: what each process has mapped where, what the pages hold, and
 * which of them it shares since fork(2). From that and the manual pages follows
 * what a step returns and what it changes.
 *
 * How mappings merge is not modelled but seen (struct seen): merging is what the
 * flags are to change.
 */
#include "storm.h"

#include <sys/mman.h>

#include "../release.h"

#define RW (PROT_READ | PROT_WRITE)

enum {
	LOCKED = 1, SEALED = 2, GUARD = 4, WATCHED = 8, NOT_FORKED = 16, WIPED = 32,
	LAZY = 64,	/* MADV_FREE: may turn to zeros */
	OWN = 128,	/* written to: private copy of a file's page */
};

/* Anonymous page that was populated; several processes may have it after fork. */
struct inst {
	int refs;
	bool soft;	/* seen, not written: perhaps the zero page */
	bool fuzzy;	/* some process may have lost it, by MADV_FREE */
	bool freed;	/* by MADV_FREE, while others had it: see README.md */
	int home;	/* page of the arena of its index; -1: unknown */
};

struct mpage {
	bool mapped;
	bool natural;	/* what is faulted here has its index from here */
	bool moved;	/* ever */
	uint8_t prot, kind, flags;
	int obj;	/* SHARED: which */
	int off;	/* SHARED, FILE_PRIVATE: page of the object */
	uint64_t tag;
	struct inst *inst;
};

struct object {
	int pages;
	uint64_t tag[2048];
};

struct model {
	struct setting setting;
	bool alive[PROCS];
	bool forked;
	struct mpage page[PROCS][PAGES];
	int nr_objects;
	struct object *object[MAX_STEPS];
};

uint64_t file_tag(uint64_t page)
{
	return 1000000 + page;
}

struct model *model_new(const struct setting *setting)
{
	struct model *m = calloc(1, sizeof(*m));

	m->setting = *setting;
	m->alive[0] = true;
	return m;
}

bool model_alive(const struct model *m, int proc)
{
	return m->alive[proc];
}

/* ---- pages ------------------------------------------------------------------------ */

static void inst_put(struct mpage *p)
{
	if (!p->inst)
		return;
	if (p->flags & LAZY)
		p->inst->fuzzy = true;
	if (!--p->inst->refs)
		free(p->inst);
	p->inst = NULL;
}

static void inst_new(struct mpage *p, int home, bool soft)
{
	p->inst = calloc(1, sizeof(*p->inst));
	p->inst->refs = 1;
	p->inst->home = home;
	p->inst->soft = soft;
}

static void page_unmap(struct mpage *p)
{
	inst_put(p);
	memset(p, 0, sizeof(*p));
}

static bool is_private(const struct mpage *p)
{
	return p->kind != SHARED;
}

static bool is_anon(const struct mpage *p)
{
	return p->kind == ANON || p->kind == NORESERVE;
}

/* Drop private contents, as by MADV_DONTNEED. */
static void page_drop(struct mpage *p)
{
	inst_put(p);
	p->tag = 0;
	p->flags &= (uint8_t)~(LAZY | OWN);
}

static bool beyond_end(const struct model *m, const struct mpage *p)
{
	if (p->kind == SHARED)
		return p->off >= m->object[p->obj]->pages;
	return p->kind == FILE_PRIVATE && !(p->flags & OWN) && p->off >= FILE_PAGES;
}

static bool can_access(const struct model *m, const struct mpage *p, int prot)
{
	return p->mapped && (p->prot & prot) == prot && !(p->flags & GUARD) &&
	       !beyond_end(m, p);
}

static uint64_t page_tag(const struct model *m, const struct mpage *p)
{
	if (p->kind == SHARED)
		return m->object[p->obj]->tag[p->off];
	if (p->kind == FILE_PRIVATE && !(p->flags & OWN))
		return file_tag((uint64_t)p->off);
	return p->tag;
}

int64_t model_tag(const struct model *m, int proc, int page)
{
	const struct mpage *p = &m->page[proc][page];

	return can_access(m, p, PROT_READ) ? (int64_t)page_tag(m, p) : -1;
}

void model_free(struct model *m)
{
	for (int i = 0; i < PROCS; i++)
		for (int j = 0; j < PAGES; j++)
			page_unmap(&m->page[i][j]);
	for (int i = 0; i < m->nr_objects; i++)
		free(m->object[i]);
	free(m);
}

/* ---- ranges ------------------------------------------------------------------------ */

struct range {
	int start, end;
};

static bool in_arena(uint64_t addr, uint64_t len)
{
	return addr >= ARENA && addr % PAGE == 0 && len % PAGE == 0 &&
	       len <= PAGES * PAGE && addr + len <= ADDR(PAGES);
}

static struct range range_of(uint64_t addr, uint64_t len)
{
	const int start = (int)((addr - ARENA) / PAGE);

	return (struct range) { start, start + (int)(len / PAGE) };
}

static bool any_flag(const struct mpage *pages, struct range r, int flag)
{
	for (int i = r.start; i < r.end; i++)
		if (pages[i].mapped && pages[i].flags & flag)
			return true;
	return false;
}

static bool all_mapped(const struct mpage *pages, struct range r)
{
	for (int i = r.start; i < r.end; i++)
		if (!pages[i].mapped)
			return false;
	return r.end > r.start;
}

/* The VMA that has the page, or NULL. */
static const struct seen_vma *vma_of(const struct seen *seen, int page)
{
	int lo = 0, hi = seen->nr_vmas;

	while (lo < hi) {
		const int mid = (lo + hi) / 2;

		if (seen->vma[mid].end <= page)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < seen->nr_vmas && seen->vma[lo].start <= page ? &seen->vma[lo] : NULL;
}

/* Where the VMA's part of the range ends that begins at the page. */
static int part_end(const struct seen *seen, int page, int end)
{
	const struct seen_vma *vma = vma_of(seen, page);

	return vma && vma->end < end ? vma->end : end;
}

/* Do the two runs have the range in the same VMAs? */
static bool same_vmas(const struct seen *seen, const struct seen *other, struct range r)
{
	for (int i = r.start; i < r.end; i++) {
		const struct seen_vma *v = vma_of(seen, i), *w = vma_of(other, i);

		if (!v != !w || (v && (part_end(seen, i, r.end) != part_end(other, i, r.end))))
			return false;
	}
	return true;
}

/* How far the index of what is faulted in a VMA is off its place, if known. */
static bool vma_home(const struct mpage *pages, const struct seen_vma *vma, int *off)
{
	if (!vma)
		return false;
	for (int i = vma->start; i < vma->end; i++) {
		const struct mpage *p = &pages[i];

		if (!p->mapped)
			return false;	/* not as the model sees it; no guess */
		if (p->natural) {
			*off = 0;
			return true;
		}
		if (p->inst && p->inst->home >= 0) {
			*off = p->inst->home - i;
			return true;
		}
	}
	return false;
}

/* ---- relocation --------------------------------------------------------------------- */

enum relocates { NO, YES, PERHAPS };

/* Is it sure that the range, part of one VMA, relocates to the page @to? */
static enum relocates relocates(const struct model *m, const struct mpage *pages,
				struct range r, int to)
{
	bool shared = false, surely = false;

	for (int i = r.start; i < r.end; i++) {
		const struct mpage *p = &pages[i];
		const struct inst *inst = p->inst;

		if (p->kind == SHARED)
			return NO;
		/* It does if nothing has been written. */
		if (p->kind == FILE_PRIVATE && kernel_before_7())
			return PERHAPS;
		if (!inst || inst->refs == 1)
			continue;
		shared = true;
		surely |= !inst->soft && !inst->fuzzy && inst->home >= 0 && to >= 0 &&
			  inst->home != to + i - r.start;
	}
	/* Large folios are shared as a whole, and split if they can be. */
	if (m->setting.huge && (m->forked || m->setting.interference || m->setting.holds))
		return PERHAPS;
	if (!shared)
		return m->setting.forks && m->setting.interference ? PERHAPS : YES;
	return surely && !m->setting.interference && !m->setting.coalesces ? NO : PERHAPS;
}

/* ---- what a step will come to --------------------------------------------------------- */

#define ERROR(e) ((struct expect) { .verdict = MUST_MATCH, .err = (e), .ret = -1 })
#define SUCCESS ((struct expect) { .verdict = MUST_MATCH, .ret = -1 })
#define RETURNS(v) ((struct expect) { .verdict = MUST_MATCH, .ret = (int64_t)(v) })
#define VERDICT(v) ((struct expect) { .verdict = (v), .ret = -1 })

static uint64_t page_align(uint64_t v)
{
	return (v + PAGE - 1) & ~(PAGE - 1);
}

/* The user's part of the address space ends somewhere between. */
#define TASK_MIN (1UL << 47)
#define TASK_MAX (1UL << 57)

static struct expect expect_relocation(const struct model *m, const struct mpage *pages,
				       const struct seen *seen, const struct step *s,
				       struct range r, int to)
{
	struct expect e = SUCCESS;

	if (!(s->b & MUST))
		return e;
	for (int i = r.start, end; i < r.end; i = end) {
		end = part_end(seen, i, r.end);
		if (!pages[i].mapped) {
			end = i + 1;
			continue;
		}
		switch (relocates(m, pages, (struct range) { i, end },
				  to < 0 ? -1 : to + i - r.start)) {
		case NO:
			return ERROR(EFAULT);
		case PERHAPS:
			e.verdict = EFAULT_OR_SUCCESS;
			break;
		case YES:
			break;
		}
	}
	return e;
}

/* Of several mappings, with MREMAP_FIXED and equal lengths. */
static struct expect expect_move(const struct model *m, const struct step *s,
				 const struct seen *seen, const struct seen *other,
				 struct range r)
{
	const struct mpage *pages = m->page[s->proc];
	const struct range to = range_of(s->c, s->a);
	struct expect e;

	if (!pages[r.start].mapped)
		return ERROR(EFAULT);
	if (kernel_before_7() && (part_end(seen, r.start, r.end) < r.end ||
				  part_end(other, r.start, r.end) < r.end))
		return VERDICT(SKIP);
	/* What happens then depends on where mappings end. */
	if (any_flag(pages, r, WATCHED | SEALED) || any_flag(pages, to, SEALED)) {
		if (!same_vmas(seen, other, r))
			return VERDICT(SKIP);
		for (int i = r.start, end; i < r.end; i = end) {
			end = part_end(seen, i, r.end);
			if (!pages[i].mapped) {
				end = i + 1;
				continue;
			}
			if (pages[i].flags & WATCHED &&
			    (i > r.start || vma_of(seen, i)->end < r.end)) {
				/* Some may have moved. */
				return i > r.start ? VERDICT(SKIP) : ERROR(EFAULT);
			}
			if (pages[i].flags & SEALED)
				return i > r.start ? VERDICT(SKIP) : ERROR(EPERM);
		}
		if (any_flag(pages, to, SEALED)) {
			if (part_end(seen, r.start, r.end) < r.end)
				return VERDICT(SKIP);
			e = expect_relocation(m, pages, seen, s, r, to.start);
			if (e.err)
				return e;
			return e.verdict == MUST_MATCH ? ERROR(EPERM) : VERDICT(SKIP);
		}
	}
	e = expect_relocation(m, pages, seen, s, r, to.start);
	if (!e.err)
		e.ret = (int64_t)s->c;
	return e;
}

/* True if the arguments alone decide, or how they lie to the arena; *e then says what. */
static bool decided_by_arguments(const struct step *s, struct expect *e)
{
	const uint64_t addr = s->addr, old = page_align(s->len), new = page_align(s->a);
	const uint64_t flags = s->b, to = s->c;

	if (new > TASK_MAX && kernel_before_7())
		*e = VERDICT(SKIP);
	else if (flags & ~(uint64_t)31 ||
		 (flags & RELOCATE_FLAGS && !(flags & MREMAP_MAYMOVE)) ||
		 addr % PAGE || !new || new > TASK_MAX)
		*e = ERROR(EINVAL);
	else if (new > TASK_MIN)
		*e = VERDICT(SKIP);
	else if (flags & (MREMAP_FIXED | MREMAP_DONTUNMAP) &&
		 (to > TASK_MAX || to % PAGE || !(flags & MREMAP_MAYMOVE) ||
		  (flags & MREMAP_DONTUNMAP && old != new) ||
		  /* The sums may wrap, which matters for nonsense only. */
		  (addr + old > to && to + new > addr)))
		/* Linux 6.12 looks first whether anything is mapped. */
		*e = kernel_before_7() ? VERDICT(SKIP) : ERROR(EINVAL);
	/* Nonsense that gets so far: the arena is all there is. */
	else if (!in_arena(addr, 0) || addr == ADDR(PAGES))
		*e = addr >> 63 || !addr ? ERROR(EFAULT) : VERDICT(SKIP);
	else if (old > PAGES * PAGE || new > PAGES * PAGE || !in_arena(addr, old) ||
		 !in_arena(addr, new) || !in_arena(to, new))
		*e = VERDICT(SKIP);
	else
		return false;
	return true;
}

/* MREMAP_FIXED with another size, or MREMAP_DONTUNMAP alone; @r is what moves. */
static struct expect expect_placed(const struct model *m, const struct step *s,
				   const struct seen *seen, struct range r)
{
	const struct mpage *pages = m->page[s->proc];
	const struct range dest = range_of(s->c, page_align(s->a));
	const struct range source = range_of(s->addr, page_align(s->len));
	const bool fixed = s->b & MREMAP_FIXED;
	struct expect e = expect_relocation(m, pages, seen, s, r, fixed ? dest.start : -1);

	if (e.err)
		return e;
	if ((fixed && any_flag(pages, dest, SEALED)) || any_flag(pages, source, SEALED))
		/* Some of it may have been unmapped. */
		return VERDICT(SKIP);
	/* Of a shared file mapping a hole would be left; of others too. */
	if (fixed)
		e.ret = (int64_t)s->c;
	return e;
}

/* It grows: in place, if there is room behind its mapping. */
static struct expect expect_growth(const struct model *m, const struct step *s,
				   const struct seen *seen, const struct seen *other,
				   struct range r)
{
	const struct mpage *pages = m->page[s->proc];
	const struct seen_vma *vma = vma_of(seen, r.start);
	const uint64_t new = page_align(s->a);

	if ((vma->end == r.end) != (vma_of(other, r.start)->end == r.end))
		return VERDICT(SKIP);
	if (vma->end == r.end) {
		bool room = true;

		for (int i = r.end; i < r.start + (int)(new / PAGE); i++)
			room &= !pages[i].mapped;
		if (room)
			return RETURNS(s->addr);
	}
	if (!(s->b & MREMAP_MAYMOVE))
		return ERROR(ENOMEM);
	/* It goes on to its place, over what is there. */
	if (any_flag(pages, range_of(s->c, new), SEALED))
		return VERDICT(SKIP);
	return expect_relocation(m, pages, seen, s, r, -1);
}

static struct expect expect_mremap(const struct model *m, const struct step *s,
				   const struct seen *seen, const struct seen *other)
{
	const struct mpage *pages = m->page[s->proc];
	const uint64_t addr = s->addr, old = page_align(s->len), new = page_align(s->a);
	const bool placed = s->b & (MREMAP_FIXED | MREMAP_DONTUNMAP);
	struct range r;
	struct expect e;

	if (decided_by_arguments(s, &e))
		return e;
	r = range_of(addr, old);
	if (s->b & MREMAP_FIXED && old == new)
		return expect_move(m, s, seen, other, r);
	if (!pages[r.start].mapped)
		return ERROR(EFAULT);
	if (pages[r.start].flags & SEALED)
		return ERROR(EPERM);
	if (!placed && old == new)
		return RETURNS(addr);
	if (!placed && old > new) {
		r.start += (int)(new / PAGE);
		return any_flag(pages, r, SEALED) ? ERROR(EPERM) : RETURNS(addr);
	}
	if (!old)
		return is_private(&pages[r.start]) ? ERROR(EINVAL) : VERDICT(SKIP);

	/* Beyond the end of a mapping? They may have merged, or not. */
	r = range_of(addr, old < new ? old : new);
	if (part_end(seen, r.start, r.end) != part_end(other, r.start, r.end))
		return VERDICT(SKIP);
	/* Linux 6.12 unmaps the destination before it finds that out. */
	if (part_end(seen, r.start, r.end) < r.end)
		return kernel_before_7() ? VERDICT(SKIP) : ERROR(EFAULT);
	return placed ? expect_placed(m, s, seen, r) : expect_growth(m, s, seen, other, r);
}

static struct expect expect_advise(const struct mpage *pages, const struct step *s,
				   struct range r)
{
	bool hole = false;

	if (any_flag(pages, r, SEALED))
		return VERDICT(SKIP);
	if ((s->a == 102 || s->a == 103) && kernel_before_7())
		return VERDICT(SKIP);
	for (int i = r.start; i < r.end; i++) {
		const struct mpage *p = &pages[i];

		if (!p->mapped) {
			hole = true;
			continue;
		}
		switch (s->a) {
		case MADV_FREE:
			if (!is_anon(p))
				return ERROR(EINVAL);
			/* fall through */
		case MADV_DONTNEED: case 102:
			if (p->flags & LOCKED)
				return ERROR(EINVAL);
			break;
		case MADV_WIPEONFORK:
			if (!is_anon(p))
				return ERROR(EINVAL);
			break;
		case MADV_DONTFORK: case MADV_DOFORK: case MADV_KEEPONFORK: case 103:
			break;
		case 25:
			return VERDICT(ANY_AT_ALL);
		default:
			return VERDICT(ANY_RESULT);
		}
	}
	return hole ? ERROR(ENOMEM) : RETURNS(0);
}

/*
 * Linux 7.3, also as released, gives the child then a mapping without an anon_vma and
 * with the page offset of one that has pages, and a kernel with CONFIG_DEBUG_VM warns
 * when the child unmaps some of it.
 */
static bool wiped_after_move(const struct model *m, const struct mpage *pages)
{
	for (int i = 0; i < PAGES; i++)
		if (pages[i].mapped && pages[i].flags & WIPED &&
		    (pages[i].moved || m->setting.coalesces))
			return true;
	return false;
}

struct expect model_expect(const struct model *m, const struct step *s,
			   const struct seen *seen, const struct seen *other)
{
	const struct mpage *pages = m->page[s->proc];
	struct range r;

	if (!m->alive[s->proc])
		return VERDICT(SKIP);
	if (s->op == MREMAP)
		return expect_mremap(m, s, seen, other);
	if (s->op == FORK)
		return m->alive[s->a] || wiped_after_move(m, pages) ? VERDICT(SKIP) :
		       SUCCESS;
	if (s->op == EXIT)
		return s->proc ? SUCCESS : VERDICT(SKIP);
	if (s->op == RELEASE)
		return VERDICT(ANY_AT_ALL);
	if (!in_arena(s->addr, s->len) || !s->len)
		return VERDICT(SKIP);
	r = range_of(s->addr, s->len);

	switch (s->op) {
	case MAP:
		return any_flag(pages, r, SEALED) ? ERROR(EPERM) : RETURNS(s->addr);
	case UNMAP:
		return any_flag(pages, r, SEALED) ? ERROR(EPERM) : RETURNS(0);
	case PROTECT:
		for (int i = r.start; i < r.end; i++) {
			if (!pages[i].mapped)
				return ERROR(ENOMEM);
			if (pages[i].flags & SEALED)
				return ERROR(EPERM);
		}
		return RETURNS(0);
	case ADVISE:
		return expect_advise(pages, s, r);
	case COALESCE:
		return RETURNS(0);
	case LOCK:
		/* What cannot be populated is an error, but it is locked. */
		return all_mapped(pages, r) ? VERDICT(ANY_RESULT) : ERROR(ENOMEM);
	case UNLOCK:
		return all_mapped(pages, r) ? RETURNS(0) : ERROR(ENOMEM);
	case WRITE: case READ: {
		int n = 0;

		for (int i = r.start; i < r.end; i++)
			n += can_access(m, &pages[i], s->op == WRITE ? RW : PROT_READ);
		return RETURNS(n);
	}
	case SEAL:
		return all_mapped(pages, r) ? RETURNS(0) : ERROR(ENOMEM);
	case WATCH:
		for (int i = r.start; i < r.end; i++)
			if (!pages[i].mapped || !is_anon(&pages[i]) ||
			    pages[i].flags & SEALED)
				return VERDICT(SKIP);
		return VERDICT(ANY_RESULT);
	case WP:
		for (int i = r.start; i < r.end; i++)
			if (!pages[i].mapped || !(pages[i].flags & WATCHED))
				return VERDICT(SKIP);
		return VERDICT(ANY_AT_ALL);
	}
	return VERDICT(ANY_AT_ALL);
}

/* ---- what a step changes ------------------------------------------------------------ */

static void apply_map(struct model *m, struct mpage *pages, const struct step *s,
		      struct range r)
{
	int obj = 0;

	if (s->b == SHARED) {
		struct object *o = calloc(1, sizeof(*o));

		obj = m->nr_objects++;
		m->object[obj] = o;
		o->pages = r.end - r.start;
	}
	for (int i = r.start; i < r.end; i++) {
		page_unmap(&pages[i]);
		pages[i] = (struct mpage) {
			.mapped = true, .natural = true, .prot = (uint8_t)s->a,
			.kind = (uint8_t)s->b, .obj = obj,
			.off = i - r.start + (s->b == FILE_PRIVATE ? (int)s->c : 0),
		};
	}
}

/* New pages behind the one before. They have nothing yet. */
static void grow(struct mpage *pages, int from, int end, int keep)
{
	for (int i = from; i < end; i++) {
		struct mpage *p = &pages[i];

		page_unmap(p);
		*p = pages[i - 1];
		p->flags &= (uint8_t)(LOCKED | NOT_FORKED | WIPED | keep);
		p->inst = NULL;
		p->tag = 0;
		p->off++;
		p->natural = pages[i - 1].natural;
	}
}

/* @relocated: with the flags. Returns the place's pages. */
static void move(struct model *m, struct mpage *pages, const struct seen *before,
		 const struct seen *seen, const struct step *s, struct range r,
		 struct range to, const struct result *result)
{
	static struct mpage moved[PAGES];
	const bool elsewhere = result->elsewhere;
	const int n = r.end - r.start;

	/* Before it moves: what is known of where things are. */
	for (int i = r.start, end; i < r.end; i = end) {
		enum relocates how = NO;

		end = part_end(before, i, r.end);
		if (!pages[i].mapped) {
			moved[i - r.start].mapped = false;
			end = i + 1;
			continue;
		}
		if (s->b & RELOCATE_FLAGS)
			how = relocates(m, pages, (struct range) { i, end },
					elsewhere ? -1 : to.start + i - r.start);
		if (how == YES && result->injected)
			how = PERHAPS;
		/* It succeeded, so it was relocated or there was no need. */
		if (s->b & MUST && how == PERHAPS && !elsewhere)
			how = YES;
		for (int j = i; j < end; j++) {
			struct mpage *p = &moved[j - r.start];

			*p = pages[j];
			if (!p->mapped)
				continue;
			p->natural = how == YES;
			p->moved = true;
			p->flags &= (uint8_t)~WATCHED;
			if (p->inst && how == YES && p->inst->refs == 1)
				p->inst->home = to.start + j - r.start;
			else if (p->inst && how == PERHAPS)
				p->inst->home = -1;
		}
	}
	for (int i = 0; i < n; i++) {
		struct mpage *p = &pages[r.start + i];

		if (!p->mapped)
			continue;
		p->inst = NULL;		/* moved[] has it */
		/* Or there was no memory to unmap it. */
		if (s->b & MREMAP_DONTUNMAP ||
		    (result->injected && vma_of(seen, r.start + i))) {
			page_drop(p);
			p->flags &= (uint8_t)~(LOCKED | GUARD);
			p->natural = false;
		} else {
			page_unmap(p);
		}
	}
	for (int i = 0; i < n; i++) {
		if (!moved[i].mapped)
			continue;
		page_unmap(&pages[to.start + i]);
		pages[to.start + i] = moved[i];
	}
	grow(pages, to.start + n, to.end, 0);
}

static void apply_mremap(struct model *m, struct mpage *pages, const struct step *s,
			 const struct seen *before, const struct seen *seen,
			 const struct result *result)
{
	const uint64_t old = page_align(s->len), new = page_align(s->a);
	struct range r = range_of(s->addr, old), to = range_of(s->c, new);
	const bool stays = !(s->b & (MREMAP_FIXED | MREMAP_DONTUNMAP)) &&
			   (uint64_t)result->ret == s->addr;

	if (stays && new > old) {
		grow(pages, r.end, r.start + (int)(new / PAGE), WATCHED);
		return;
	}
	for (int i = r.start + (int)(new / PAGE); i < r.end; i++)
		page_unmap(&pages[i]);
	if (stays)
		return;
	if (new < old)
		r.end = r.start + (int)(new / PAGE);
	/* With gaps in the source, what is there in the destination stays. */
	if (old != new || !(s->b & MREMAP_FIXED))
		for (int i = to.start; i < to.end; i++)
			if (i < r.start || i >= r.end)
				page_unmap(&pages[i]);
	move(m, pages, before, seen, s, r, to, result);
}

static void apply_advise(struct model *m, struct mpage *pages, const struct step *s,
			 struct range r)
{
	(void)m;
	for (int i = r.start; i < r.end; i++) {
		struct mpage *p = &pages[i];

		if (!p->mapped)
			continue;
		switch (s->a) {
		case MADV_DONTNEED:
			if (p->flags & LOCKED)
				return;
			if (is_private(p) && !(p->flags & GUARD))
				page_drop(p);
			break;
		case MADV_FREE:
			if (p->flags & LOCKED || !is_anon(p))
				return;
			if (p->inst) {
				p->inst->fuzzy = true;
				p->inst->freed |= p->inst->refs > 1;
				p->flags |= LAZY;
			}
			break;
		case 102:
			if (p->flags & LOCKED)
				return;
			if (is_private(p))
				page_drop(p);
			p->flags |= GUARD;
			break;
		case 103:
			p->flags &= (uint8_t)~GUARD;
			break;
		case MADV_DONTFORK:
			p->flags |= NOT_FORKED;
			break;
		case MADV_DOFORK:
			p->flags &= (uint8_t)~NOT_FORKED;
			break;
		case MADV_WIPEONFORK:
			if (!is_anon(p))
				return;
			p->flags |= WIPED;
			break;
		case MADV_KEEPONFORK:
			p->flags &= (uint8_t)~WIPED;
			break;
		}
	}
}

static void apply_write(struct model *m, struct mpage *pages, const struct step *s,
			const struct seen *seen, struct range r)
{
	const struct seen_vma *vma = NULL;
	bool known = false;
	int off = 0;

	for (int i = r.start; i < r.end; i++) {
		struct mpage *p = &pages[i];
		const uint64_t tag = s->a + (uint64_t)(i - r.start);

		if (!can_access(m, p, RW))
			continue;
		if (p->kind == SHARED) {
			m->object[p->obj]->tag[p->off] = tag;
			continue;
		}
		if (vma_of(seen, i) != vma || !vma) {
			vma = vma_of(seen, i);
			known = vma_home(pages, vma, &off);
		}
		p->flags &= (uint8_t)~LAZY;
		p->flags |= OWN;
		p->tag = tag;
		if (p->inst && p->inst->refs == 1) {
			p->inst->soft = p->inst->fuzzy = p->inst->freed = false;
			continue;
		}
		inst_put(p);
		inst_new(p, known ? i + off : -1, false);
	}
}

/* What is locked and can be written to is populated as if it were written to. */
static void unshare(struct mpage *p, bool surely)
{
	const struct inst *inst = p->inst;

	if (!inst || inst->refs == 1 || !(p->flags & LOCKED) || !(p->prot & PROT_WRITE))
		return;
	if (surely) {
		const int home = inst->home;

		inst_put(p);
		inst_new(p, home, true);
	} else {
		p->inst->fuzzy = true;
	}
}

static void apply_fork(struct model *m, int from, int to)
{
	m->forked = m->alive[to] = true;
	for (int i = 0; i < PAGES; i++) {
		const struct mpage *p = &m->page[from][i];
		struct mpage *q = &m->page[to][i];

		if (!p->mapped || p->flags & NOT_FORKED)
			continue;
		*q = *p;
		q->flags &= (uint8_t)~(LOCKED | WATCHED);
		if (p->flags & WIPED) {
			q->inst = NULL;
			q->tag = 0;
			/* LAZY and GUARD were the page's, not the mapping's. */
			q->flags &= (uint8_t)~(LAZY | GUARD);
		} else if (p->inst) {
			p->inst->refs++;
		}
	}
}

static void apply_exit(struct model *m, int proc)
{
	m->alive[proc] = false;
	for (int i = 0; i < PAGES; i++)
		page_unmap(&m->page[proc][i]);
}

/* Whatever can be has its index from where something else is, perhaps. */
static void apply_coalesce(struct mpage *pages)
{
	for (int i = 0; i < PAGES; i++) {
		struct mpage *p = &pages[i];

		if (!p->mapped || p->kind == SHARED)
			continue;
		p->natural = false;
		p->moved = true;
		if (p->inst && (p->inst->refs == 1 || p->inst->soft || p->inst->fuzzy))
			p->inst->home = -1;
	}
}

bool model_one_vma(const struct step *s, const struct seen *seen)
{
	const struct range r = range_of(s->addr, page_align(s->len));

	return part_end(seen, r.start, r.end) == r.end;
}

/* If nothing of it is there any more. All of it, or it will be missed. */
static void unmap_if_gone(struct mpage *pages, const struct seen *seen, struct range r)
{
	for (int i = r.start; i < r.end; i++)
		if (vma_of(seen, i))
			return;
	for (int i = r.start; i < r.end; i++)
		page_unmap(&pages[i]);
}

void model_apply_failed(struct model *m, const struct step *s, const struct seen *seen)
{
	const uint64_t old = page_align(s->len), new = page_align(s->a);

	if (s->b & MREMAP_FIXED)
		unmap_if_gone(m->page[s->proc], seen, range_of(s->c, new));
	if (new < old)
		unmap_if_gone(m->page[s->proc], seen,
			      range_of(s->addr + new, old - new));
}

void model_apply(struct model *m, const struct step *s, const struct seen *before,
		 const struct seen *seen, const struct result *result)
{
	struct mpage *pages = m->page[s->proc];
	struct range r;

	if (s->op == FORK) {
		apply_fork(m, s->proc, (int)s->a);
		return;
	}
	if (s->op == EXIT) {
		apply_exit(m, s->proc);
		return;
	}
	if (s->op == MREMAP) {
		if (result->ret != -1)
			apply_mremap(m, pages, s, before, seen, result);
		return;
	}
	if (s->op == RELEASE)
		return;
	r = range_of(s->addr, s->len);

	switch (s->op) {
	case MAP:
		if (result->ret != -1)
			apply_map(m, pages, s, r);
		break;
	case UNMAP:
		for (int i = r.start; i < r.end && result->ret != -1; i++)
			page_unmap(&pages[i]);
		break;
	case PROTECT:
		for (int i = r.start; i < r.end; i++) {
			if (!pages[i].mapped || pages[i].flags & SEALED)
				break;
			pages[i].prot = (uint8_t)s->a;
			unshare(&pages[i], false);
		}
		break;
	case ADVISE:
		apply_advise(m, pages, s, r);
		break;
	case LOCK: case UNLOCK:
		for (int i = r.start; i < r.end && pages[i].mapped; i++) {
			pages[i].flags &= (uint8_t)~LOCKED;
			if (s->op == LOCK) {
				pages[i].flags |= LOCKED;
				unshare(&pages[i], result->ret == 0);
			}
		}
		break;
	case WRITE:
		apply_write(m, pages, s, seen, r);
		break;
	case COALESCE:
		apply_coalesce(pages);
		break;
	case SEAL: case WATCH:
		for (int i = r.start; i < r.end && result->ret != -1; i++)
			pages[i].flags |= s->op == SEAL ? SEALED : WATCHED;
		break;
	}
}

/* ---- what memory looks like ------------------------------------------------------------ */

bool model_compare(struct model *m, int proc, const struct seen *seen, int lo, int hi,
		   bool strict, bool learn, char *why, size_t size)
{
	struct mpage *pages = m->page[proc];

	for (int i = lo; i < hi; i++) {
		const struct seen_vma *vma = vma_of(seen, i);
		struct mpage *p = &pages[i];
		const int how = seen->page[i];
		const bool populated = how & (SEEN_PRESENT | SEEN_SWAP);
		const long at = i - MIDDLE;

		if (!vma != !p->mapped) {
			snprintf(why, size, "process %d page @%ld is %smapped", proc, at,
				 vma ? "" : "not ");
			return false;
		}
		if (!vma)
			continue;
		if (vma->prot != p->prot || vma->shared != (p->kind == SHARED)) {
			snprintf(why, size, "process %d page @%ld: protection %d%s, not %d%s",
				 proc, at, vma->prot, vma->shared ? " shared" : "",
				 p->prot, p->kind == SHARED ? " shared" : "");
			return false;
		}
		if (how & SEEN_READ && can_access(m, p, 0)) {
			const uint64_t want = page_tag(m, p);
			const bool lazy = p->flags & LAZY ||
					  (!strict && p->inst && p->inst->freed);

			if (seen->tag[i] != want &&
			    !(lazy && (!seen->tag[i] || seen->tag[i] == TORN))) {
				snprintf(why, size,
					 "process %d page @%ld: contents %ld, not %ld%s",
					 proc, at, (long)seen->tag[i], (long)want,
					 lazy ? " or 0" : "");
				return false;
			}
		}
		if (!!(how & SEEN_GUARD) != !!(p->flags & GUARD)) {
			snprintf(why, size, "process %d page @%ld: guard marker %s", proc, at,
				 how & SEEN_GUARD ? "unexpected" : "lost");
			return false;
		}
		if (p->flags & GUARD || p->kind == SHARED)
			continue;
		if (!populated && p->flags & OWN && p->tag && !(p->flags & LAZY) && strict) {
			snprintf(why, size, "process %d page @%ld: not populated", proc, at);
			return false;
		}
		if (!learn)
			continue;
		if (!populated && p->inst && (p->inst->soft || p->flags & LAZY)) {
			inst_put(p);
		} else if (populated && !p->inst && !(how & SEEN_FILE)) {
			int off = 0;
			const bool known = vma_home(pages, vma, &off);

			inst_new(p, known ? i + off : -1, true);
		}
	}
	return true;
}

bool model_lazy(const struct model *m, int proc, int page)
{
	return m->page[proc][page].flags & LAZY;
}

bool model_found(const struct model *m, int proc, const struct seen *seen, int lo,
		 int hi, bool swap, char *why, size_t size)
{
	for (int i = lo; i < hi; i++) {
		const struct mpage *p = &m->page[proc][i];
		const int how = seen->page[i];

		if (!p->mapped || !p->inst || how & SEEN_FILE)
			continue;
		if (how & SEEN_NOT_MIGRATED) {
			snprintf(why, size, "process %d page @%d does not migrate%s, "
				 "status %d, flags of such a page %#lx", proc, i - MIDDLE,
				 how & SEEN_LARGE ? " (large)" : "", seen->stuck_status,
				 seen->stuck_flags);
			return false;
		}
		if (!swap || !(how & SEEN_NOT_SWAPPED) || p->flags & LOCKED ||
		    p->inst->refs > 1)
			continue;
		if (how & SEEN_LARGE && (m->forked || any_flag(m->page[proc],
				(struct range) { lo, hi }, LOCKED)))
			continue;
		snprintf(why, size, "process %d page @%d is not swapped out%s, flags of "
			 "such a page %#lx", proc, i - MIDDLE,
			 how & SEEN_LARGE ? " (large)" : "", seen->stuck_flags);
		return false;
	}
	return true;
}
