// SPDX-License-Identifier: GPL-2.0-or-later
/* A program: from a seed, to and from text, as C. */
#include "storm.h"

#include <stdarg.h>
#include <sys/mman.h>

/* ---- random numbers: splitmix64 ------------------------------------------------ */

struct rng {
	uint64_t state;
};

static uint64_t rng_next(struct rng *r)
{
	uint64_t z = r->state += 0x9e3779b97f4a7c15;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
	return z ^ (z >> 31);
}

static int below(struct rng *r, int n)
{
	return (int)(rng_next(r) % (uint64_t)n);
}

static bool chance(struct rng *r, int percent)
{
	return below(r, 100) < percent;
}

/* ---- from a seed ---------------------------------------------------------------- */

/*
 * The generator knows roughly what is mapped, so that most steps hit something. It
 * does not know whether steps succeed: a program depends on its seed only.
 */
struct gen {
	struct rng rng;
	struct program *p;
	bool huge, forks, kinds, seals, watches, nonsense, holds;
	int flags;		/* 0: RELOCATE, 1: MUST, 2: any or none */
	int proc, procs;
	bool alive[PROCS];
	bool mapped[PROCS][PAGES];
	uint64_t tag;
	uint64_t addr, len;	/* of the step before, or where it moved to */
	const struct motif *motif;	/* what the next steps are, if not NULL */
};

/* Sequences for the same pages that chance alone would seldom bring together. */
struct motif {
	enum op op;		/* OPS: the end */
	int advice;
};

/* Values that madvise() has had for long, but old headers lack. */
enum {
	ADV_COLD = 20, ADV_PAGEOUT = 21, ADV_COLLAPSE = 25,
	ADV_GUARD_INSTALL = 102, ADV_GUARD_REMOVE = 103,
};

static const struct motif motifs[][8] = {
	/* paged out, but still in the swap cache */
	{ { WRITE, 0 }, { HOLD, 0 }, { ADVISE, ADV_PAGEOUT }, { MREMAP, 0 }, { READ, 0 },
	  { RELEASE, 0 }, { FIND, 0 }, { OPS, 0 } },
	{ { WRITE, 0 }, { ADVISE, ADV_PAGEOUT }, { FORK, 0 }, { READ, 0 }, { EXIT, 0 },
	  { MREMAP, 0 }, { READ, 0 }, { OPS, 0 } },
	/* left by whoever shared it */
	{ { WRITE, 0 }, { FORK, 0 }, { WRITE, 0 }, { MREMAP, 0 }, { EXIT, 0 },
	  { MREMAP, 0 }, { FIND, 0 }, { OPS, 0 } },
	/* huge, with a hole, moved in part */
	{ { MAP, 0 }, { ADVISE, MADV_HUGEPAGE }, { WRITE, 0 }, { ADVISE, MADV_DONTNEED },
	  { MREMAP, 0 }, { WRITE, 0 }, { FIND, 0 }, { OPS, 0 } },
	/* moved plainly, and made whole */
	{ { WRITE, 0 }, { MREMAP, 0 }, { WRITE, 0 }, { MREMAP, 0 }, { COALESCE, 0 },
	  { MREMAP, 0 }, { FIND, 0 }, { OPS, 0 } },
	{ { WRITE, 0 }, { MREMAP, 0 }, { FORK, 0 }, { WRITE, 0 }, { COALESCE, 0 },
	  { EXIT, 0 }, { COALESCE, 0 }, { OPS, 0 } },
	/* to and fro */
	{ { WRITE, 0 }, { MREMAP, 0 }, { MREMAP, 0 }, { MREMAP, 0 }, { WRITE, 0 },
	  { FIND, 0 }, { OPS, 0 } },
};

static int gen_len(struct gen *g)
{
	static const int large[] = { 1, 3, 16, 40, 100, 256, 511, 512, 513, 600 };

	if (g->huge && chance(&g->rng, 60))
		return large[below(&g->rng, ARRAY_SIZE(large))];
	return 1 + below(&g->rng, chance(&g->rng, 70) ? 8 : 24);
}

static int gen_page(struct gen *g)
{
	const int lo = g->p->lo, hi = g->p->hi;
	int page = lo + below(&g->rng, hi - lo);

	if (g->huge && chance(&g->rng, 50))
		page &= ~511;
	return page < lo ? lo : page;
}

/* A place for a range: often next to something, so that it could merge. */
static int gen_place(struct gen *g, int len)
{
	const int lo = g->p->lo, hi = g->p->hi;
	int page = gen_page(g);

	if (chance(&g->rng, 50)) {
		for (int i = page + 1; i < hi; i++) {
			const bool *m = g->mapped[g->proc];

			if (m[i] == m[i - 1])
				continue;
			/* Behind a mapping's end, or before a start. */
			page = m[i - 1] ? i : i - len;
			break;
		}
	}
	if (page + len > hi)
		page = hi - len;
	return page < lo ? lo : page;
}

/*
 * A range, mostly one that is mapped, and often that of the step before: much goes
 * wrong only with what has happened to the same pages.
 */
static void gen_range(struct gen *g, struct step *s)
{
	int page = 0, len = gen_len(g);

	if (g->len && chance(&g->rng, g->motif ? 85 : 45)) {
		s->addr = g->addr;
		s->len = g->len;
		return;
	}

	for (int i = 0; i < 12; i++) {
		page = gen_page(g);
		if (g->mapped[g->proc][page])
			break;
	}
	/* Often from where the mapping starts, or all of it. */
	if (g->mapped[g->proc][page] && chance(&g->rng, 40)) {
		while (page > g->p->lo && g->mapped[g->proc][page - 1] &&
		       chance(&g->rng, 97))
			page--;
		if (chance(&g->rng, 40)) {
			len = 1;
			while (page + len < g->p->hi &&
			       g->mapped[g->proc][page + len] && len < 1024)
				len++;
		}
	}
	/* And mostly without what is behind. */
	for (int i = 1; i < len && chance(&g->rng, 99); i++)
		if (page + i < g->p->hi && !g->mapped[g->proc][page + i] &&
		    chance(&g->rng, 90))
			len = i;
	if (page + len > g->p->hi)
		len = g->p->hi - page;
	g->addr = s->addr = ADDR(page);
	g->len = s->len = (uint64_t)len * PAGE;
}

static void gen_mark(struct gen *g, uint64_t addr, uint64_t len, bool mapped)
{
	for (uint64_t i = 0; i < len / PAGE; i++) {
		const uint64_t page = (addr - ARENA) / PAGE + i;

		if (page < PAGES)
			g->mapped[g->proc][page] = mapped;
	}
}

static int gen_prot(struct gen *g)
{
	static const int prots[] = {
		PROT_READ | PROT_WRITE, PROT_READ | PROT_WRITE, PROT_READ, PROT_NONE,
	};

	return prots[below(&g->rng, ARRAY_SIZE(prots))];
}

static uint64_t gen_nonsense(struct gen *g, uint64_t v)
{
	switch (below(&g->rng, 10)) {
	case 0: return v + 1 + (uint64_t)below(&g->rng, 4095);
	case 1: return 0;
	case 2: return ~0UL << 12;
	case 3: return ~0UL;
	case 4: return 1UL << 63;
	case 5: return 0xffff888000000000UL;
	case 6: return v + (1UL << 62);
	case 7: return ~0UL - v + 1;
	case 8: return (~0UL << 12) - v;
	default: return v;
	}
}

static void gen_mremap(struct gen *g, struct step *s)
{
	const int kind = below(&g->rng, 100);
	uint64_t n;

	gen_range(g, s);
	s->a = s->len;
	if (kind < 60)
		s->b = MREMAP_MAYMOVE | MREMAP_FIXED;
	else if (kind < 78)
		s->b = MREMAP_MAYMOVE;
	else if (kind < 84)
		s->b = MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP;
	else if (kind < 88)
		s->b = MREMAP_MAYMOVE | MREMAP_DONTUNMAP;
	else if (kind < 94)
		s->b = 0;
	else
		s->b = (uint64_t)below(&g->rng, 32);

	n = s->len / PAGE;
	if (!(s->b & MREMAP_DONTUNMAP) && chance(&g->rng, s->b & MREMAP_FIXED ? 35 : 85)) {
		if (chance(&g->rng, 50))
			n += (uint64_t)gen_len(g);
		else
			n = 1 + (uint64_t)below(&g->rng, (int)n);
		s->a = n * PAGE;
	}
	s->c = ADDR(gen_place(g, (int)n));
	if (chance(&g->rng, 10))
		s->c = s->addr - s->a;		/* directly before itself */
	else if (chance(&g->rng, 10))
		s->c = s->addr + s->len;	/* directly behind */
	else if (g->huge && chance(&g->rng, 50))
		s->c = (s->c & ~0x1fffffUL) | (s->addr & 0x1fffffUL);
	if (s->c < ADDR(g->p->lo) || s->c + s->a > ADDR(g->p->hi)) {
		s->c = ADDR(g->p->lo);
		if (s->a > ADDR(g->p->hi) - s->c)
			s->a = s->len;
	}

	if (s->b & MREMAP_MAYMOVE || chance(&g->rng, 10)) {
		if (g->flags == 0)
			s->b |= RELOCATE;
		else if (g->flags == 1)
			s->b |= MUST;
		else
			s->b |= (uint64_t[]){ 0, RELOCATE, MUST, RELOCATE_FLAGS }
				[below(&g->rng, 4)];
	}
	if (g->nonsense && chance(&g->rng, 20)) {
		switch (below(&g->rng, 5)) {
		case 0: s->addr = gen_nonsense(g, s->addr); break;
		case 1: s->len = gen_nonsense(g, s->len); break;
		case 2: s->a = gen_nonsense(g, s->a); break;
		case 3: s->c = gen_nonsense(g, s->c); break;
		default: s->b |= 1UL << below(&g->rng, 64); break;
		}
		return;
	}
	if ((s->b & 3) == 3 && (s->c + s->a <= s->addr || s->c >= s->addr + s->len)) {
		if (!(s->b & MREMAP_DONTUNMAP))
			gen_mark(g, s->addr, s->len, false);
		gen_mark(g, s->c, s->a, true);
		g->addr = s->c;
		g->len = s->a;
	}
}

static uint64_t gen_advice(struct gen *g)
{
	static const int advices[] = {
		MADV_DONTNEED, MADV_DONTNEED, MADV_FREE, ADV_PAGEOUT, ADV_PAGEOUT,
		ADV_PAGEOUT, ADV_COLD, ADV_GUARD_INSTALL, ADV_GUARD_REMOVE,
		MADV_MERGEABLE, MADV_UNMERGEABLE, MADV_NOHUGEPAGE, MADV_DONTFORK,
		MADV_DOFORK, MADV_WIPEONFORK, MADV_KEEPONFORK,
	};

	if (g->huge && chance(&g->rng, 50))
		return chance(&g->rng, 60) ? MADV_HUGEPAGE : ADV_COLLAPSE;
	return (uint64_t)advices[below(&g->rng, ARRAY_SIZE(advices))];
}

static const struct {
	enum op op;
	int weight;
} weights[] = {
	{ MREMAP, 34 }, { WRITE, 20 }, { ADVISE, 13 }, { MAP, 8 }, { PROTECT, 6 },
	{ READ, 6 }, { FORK, 5 }, { UNMAP, 3 }, { EXIT, 4 }, { LOCK, 2 },
	{ UNLOCK, 1 }, { SEAL, 1 }, { WATCH, 2 }, { WP, 2 }, { FIND, 1 }, { HOLD, 3 },
	{ RELEASE, 2 }, { COALESCE, 4 },
};

static enum op gen_op(struct gen *g)
{
	int sum = 0, n;

	for (size_t i = 0; i < ARRAY_SIZE(weights); i++)
		sum += weights[i].weight;
	n = below(&g->rng, sum);
	for (size_t i = 0;; i++) {
		n -= weights[i].weight;
		if (n < 0)
			return weights[i].op;
	}
}

static bool gen_step(struct gen *g, struct step *s, enum op op)
{
	*s = (struct step) { .op = (uint8_t)op };
	if (!g->motif || chance(&g->rng, 30) || !g->alive[g->proc])
		do {
			g->proc = below(&g->rng, PROCS);
		} while (!g->alive[g->proc]);
	s->proc = (uint8_t)g->proc;

	switch (op) {
	case MAP: {
		const int len = gen_len(g) * (g->huge ? 1 : 2);
		int page = gen_place(g, len);

		s->addr = ADDR(page);
		s->len = (uint64_t)len * PAGE;
		s->a = chance(&g->rng, 80) ? PROT_READ | PROT_WRITE :
		       (uint64_t)gen_prot(g);
		if (g->kinds && chance(&g->rng, 40)) {
			s->b = (uint64_t)below(&g->rng, KINDS);
			s->c = (uint64_t)below(&g->rng, 50);
		}
		gen_mark(g, s->addr, s->len, true);
		g->addr = s->addr;
		g->len = s->len;
		return true;
	}
	case UNMAP:
		gen_range(g, s);
		gen_mark(g, s->addr, s->len, false);
		return true;
	case MREMAP:
		gen_mremap(g, s);
		return true;
	case PROTECT:
		gen_range(g, s);
		s->a = (uint64_t)gen_prot(g);
		return true;
	case ADVISE:
		gen_range(g, s);
		s->a = g->motif ? (uint64_t)g->motif->advice : gen_advice(g);
		return g->forks || s->a < MADV_DONTFORK || s->a > MADV_DOFORK;
	case WRITE:
		gen_range(g, s);
		s->a = g->tag;
		g->tag += s->len / PAGE;
		return true;
	case RELEASE:
		return g->holds;
	case COALESCE:
		gen_range(g, s);
		s->a = (uint64_t)chance(&g->rng, 40);
		/* Often with all that is near. */
		if (chance(&g->rng, 50)) {
			s->addr = ADDR(g->p->lo);
			s->len = (uint64_t)(g->p->hi - g->p->lo) * PAGE;
		}
		return true;
	case HOLD:
		gen_range(g, s);
		if (s->len > 16 * PAGE)
			s->len = 16 * PAGE;
		return g->holds;
	case LOCK: case UNLOCK: case READ: case FIND:
		gen_range(g, s);
		return true;
	case SEAL:
		gen_range(g, s);
		s->len = PAGE;
		return g->seals;
	case WATCH: case WP:
		gen_range(g, s);
		return g->watches;
	case FORK:
		for (int i = 0; i < PROCS && g->forks; i++) {
			if (g->alive[i])
				continue;
			s->a = (uint64_t)i;
			g->alive[i] = true;
			memcpy(g->mapped[i], g->mapped[g->proc], sizeof(g->mapped[i]));
			return true;
		}
		return false;
	case EXIT:
		if (!g->proc)
			return false;
		g->alive[g->proc] = false;
		return true;
	default:
		return false;
	}
}

void program_random(struct program *p, uint64_t seed, int steps)
{
	static struct gen g;
	int first;

	memset(&g, 0, sizeof(g));
	g.p = p;
	g.rng.state = seed;
	g.alive[0] = true;
	g.tag = 1;
	g.huge = chance(&g.rng, 20);
	g.forks = chance(&g.rng, 45);
	g.kinds = chance(&g.rng, 35);
	g.seals = chance(&g.rng, 8);
	g.watches = chance(&g.rng, 15);
	g.nonsense = chance(&g.rng, 15);
	g.holds = chance(&g.rng, 40);
	g.flags = below(&g.rng, 3);
	p->seed = seed;
	p->lo = MIDDLE - (g.huge ? 600 : 60);
	p->hi = MIDDLE + (g.huge ? 1100 : 100);
	p->n = 0;
	first = 1 + below(&g.rng, 3);
	while (p->n < steps) {
		struct step *s = &p->step[p->n];
		/* Something to begin with, written to. */
		enum op op = p->n & 1 ? WRITE : MAP;

		if (p->n >= 2 * first) {
			if (!g.motif && chance(&g.rng, 6))
				g.motif = motifs[below(&g.rng, ARRAY_SIZE(motifs))];
			op = g.motif ? g.motif->op : gen_op(&g);
		}

		if (gen_step(&g, s, op))
			p->n++;
		if (g.motif && (++g.motif)->op == OPS)
			g.motif = NULL;
	}
}

bool program_has(const struct program *p, enum op op)
{
	for (int i = 0; i < p->n; i++)
		if (p->step[i].op == op)
			return true;
	return false;
}

bool program_has_huge(const struct program *p)
{
	for (int i = 0; i < p->n; i++)
		if (p->step[i].op == ADVISE && (p->step[i].a == MADV_HUGEPAGE ||
						p->step[i].a == ADV_COLLAPSE))
			return true;
	return false;
}

bool program_keeps_source(const struct program *p)
{
	for (int i = 0; i < p->n; i++)
		if (p->step[i].op == MREMAP && p->step[i].b & MREMAP_DONTUNMAP)
			return true;
	return false;
}

bool program_all_relocate(const struct program *p)
{
	for (int i = 0; i < p->n; i++)
		if (p->step[i].op == MREMAP && p->step[i].b & MREMAP_MAYMOVE &&
		    !(p->step[i].b & RELOCATE_FLAGS))
			return false;
	return true;
}

/* ---- text ------------------------------------------------------------------------ */

static const char *const op_names[OPS] = {
	"map", "unmap", "mremap", "protect", "advise", "lock", "unlock", "write",
	"read", "fork", "exit", "seal", "watch", "wp", "find", "hold", "release",
	"coalesce",
};

/* Addresses in the arena are pages from its middle, "@-12". */
static const char *number_text(uint64_t v, char *buf, size_t size)
{
	if (v >= ADDR(0) && v <= ADDR(PAGES) && !(v % PAGE))
		snprintf(buf, size, "@%ld", (long)((v - ARENA) / PAGE) - MIDDLE);
	else if (v && !(v % PAGE) && v / PAGE < PAGES)
		snprintf(buf, size, "%lup", v / PAGE);
	else
		snprintf(buf, size, "%#lx", v);
	return buf;
}

static bool parse_number(const char *text, uint64_t *v)
{
	char *end;

	if (*text == '@') {
		*v = ADDR(strtol(text + 1, &end, 10) + MIDDLE);
		return !*end;
	}
	*v = strtoul(text, &end, 0);
	if (*end == 'p') {
		*v *= PAGE;
		end++;
	}
	return !*end;
}

void step_print(const struct step *s, FILE *f)
{
	char t[5][32];

	fprintf(f, "%d %s %s %s %s %s %s\n", s->proc, op_names[s->op],
		number_text(s->addr, t[0], sizeof(t[0])),
		number_text(s->len, t[1], sizeof(t[1])),
		number_text(s->a, t[2], sizeof(t[2])),
		number_text(s->b, t[3], sizeof(t[3])),
		number_text(s->c, t[4], sizeof(t[4])));
}

const char *step_text(const struct step *s)
{
	static char text[200];
	FILE *f = fmemopen(text, sizeof(text), "w");

	step_print(s, f);
	fclose(f);
	text[strcspn(text, "\n")] = 0;
	return text;
}

void program_print(const struct program *p, FILE *f)
{
	fprintf(f, "# process, step, address, length, arguments (storm.h: struct step)\n");
	fprintf(f, "storm %lu %d %d\n", p->seed, p->lo, p->hi);
	for (int i = 0; i < p->n; i++)
		step_print(&p->step[i], f);
}

bool program_parse(struct program *p, FILE *f)
{
	char line[256], name[32], t[5][32];
	bool head = false;

	p->n = 0;
	while (fgets(line, sizeof(line), f)) {
		struct step *s = &p->step[p->n];
		uint64_t *const to[5] = { &s->addr, &s->len, &s->a, &s->b, &s->c };
		int proc, op;

		if (*line == '#' || *line == '\n')
			continue;
		if (!head) {
			if (sscanf(line, "storm %lu %d %d", &p->seed, &p->lo, &p->hi) != 3 ||
			    p->lo < 0 || p->hi > PAGES || p->lo >= p->hi)
				return false;
			head = true;
			continue;
		}
		if (p->n == MAX_STEPS ||
		    sscanf(line, "%d %31s %31s %31s %31s %31s %31s", &proc, name, t[0],
			   t[1], t[2], t[3], t[4]) != 7 || proc < 0 || proc >= PROCS)
			return false;
		for (op = 0; op < OPS && strcmp(name, op_names[op]); op++)
			;
		if (op == OPS)
			return false;
		for (int i = 0; i < 5; i++)
			if (!parse_number(t[i], to[i]))
				return false;
		if (op == FORK && s->a >= PROCS)
			return false;
		s->proc = (uint8_t)proc;
		s->op = (uint8_t)op;
		p->n++;
	}
	return head;
}

/* ---- C ---------------------------------------------------------------------------- */

static const char c_head[] =
"/*\n"
" * Made by storm. Each process does its steps in turn, and says what they returned.\n"
" * Compile with -DPLAIN to see the same without the flags that relocate.\n"
" */\n"
"#define _GNU_SOURCE\n"
"#include <errno.h>\n"
"#include <fcntl.h>\n"
"#include <sched.h>\n"
"#include <setjmp.h>\n"
"#include <signal.h>\n"
"#include <stdint.h>\n"
"#include <stdio.h>\n"
"#include <stdlib.h>\n"
"#include <string.h>\n"
"#include <sys/mman.h>\n"
"#include <sys/ioctl.h>\n"
"#include <sys/syscall.h>\n"
"#include <sys/uio.h>\n"
"#include <sys/wait.h>\n"
"#include <unistd.h>\n"
"\n"
"#define P 4096UL\n"
"#define AT(page) ((1UL << 44) + (page) * P)\n"
"#ifdef PLAIN\n"
"#define FLAGS(f) ((f) & ~24UL)\n"
"#else\n"
"#define FLAGS(f) (f)\n"
"#endif\n"
"\n"
"static volatile int *turn;\n"
"static int me, file;\n"
"static sigjmp_buf out;\n"
"\n"
"static __attribute__((unused)) void on_signal(int sig)\n"
"{\n"
"	siglongjmp(out, sig);\n"
"}\n"
"\n"
"static __attribute__((unused)) void say(int step, const char *what, long ret)\n"
"{\n"
"	printf(\"%d: process %d: %s: %#lx%s%s\\n\", step, me, what, ret,\n"
"	       ret == -1 ? \" \" : \"\", ret == -1 ? strerror(errno) : \"\");\n"
"	fflush(stdout);\n"
"}\n"
"\n"
"static __attribute__((unused)) void map(int step, unsigned long addr, unsigned long len, int prot, int kind, long page)\n"
"{\n"
"	static const int flags[] = {\n"
"		MAP_PRIVATE | MAP_ANONYMOUS, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,\n"
"		MAP_SHARED | MAP_ANONYMOUS, MAP_PRIVATE,\n"
"	};\n"
"\n"
"	say(step, \"mmap\", (long)mmap((void *)addr, len, prot, flags[kind] | MAP_FIXED,\n"
"				     kind == 3 ? file : -1, kind == 3 ? page * (long)P : 0));\n"
"}\n"
"\n"
"/* If the kernel chose the place, the memory is moved on to where it is wanted. */\n"
"static __attribute__((unused)) void remap(int step, unsigned long addr, unsigned long old, unsigned long new,\n"
"		  unsigned long flags, unsigned long to)\n"
"{\n"
"	long ret = syscall(SYS_mremap, addr, old, new, FLAGS(flags), to);\n"
"\n"
"	say(step, \"mremap\", ret);\n"
"	if (ret == -1 || flags & 2 || (unsigned long)ret == addr || (unsigned long)ret == to)\n"
"		return;\n"
"	new = (new + P - 1) & -P;\n"
"	say(step, \" and on\", syscall(SYS_mremap, ret, new, new,\n"
"				    FLAGS(flags & 24 ? 11UL : 3UL), to));\n"
"}\n"
"\n"
"static __attribute__((unused)) void touch(int step, unsigned long addr, unsigned long len, unsigned long tag)\n"
"{\n"
"	volatile int bad = 0;\n"
"\n"
"	for (unsigned long i = 0; i < len / P; i++) {\n"
"		volatile unsigned long *p = (unsigned long *)(addr + i * P);\n"
"\n"
"		if (sigsetjmp(out, 0))\n"
"			bad++;\n"
"		else\n"
"			p[0] = p[511] = tag + i;\n"
"	}\n"
"	say(step, \"write, pages that cannot be\", bad);\n"
"}\n"
"\n"
"/* What a page holds, -1: cannot be read. */\n"
"static __attribute__((unused)) long get(unsigned long addr)\n"
"{\n"
"	volatile unsigned long *p = (unsigned long *)addr;\n"
"\n"
"	if (sigsetjmp(out, 0))\n"
"		return -1;\n"
"	return p[0] == p[511] ? (long)p[0] : -2;\n"
"}\n"
"\n"
"static __attribute__((unused)) void look(int step, unsigned long addr, unsigned long len)\n"
"{\n"
"	printf(\"%d: process %d: contents:\", step, me);\n"
"	for (unsigned long i = 0; i < len / P; i++)\n"
"		printf(\" %ld\", get(addr + i * P));\n"
"	puts(\"\");\n"
"	fflush(stdout);\n"
"}\n"
"\n"
"static __attribute__((unused)) long left(unsigned long addr, unsigned long len)\n"
"{\n"
"	int fd = open(\"/proc/self/pagemap\", O_RDONLY);\n"
"	uint64_t e;\n"
"	long n = 0;\n"
"\n"
"	for (unsigned long i = 0; i < len / P; i++)\n"
"		n += pread(fd, &e, 8, (off_t)((addr / P + i) * 8)) == 8 && e >> 63 && !(e >> 61 & 1);\n"
"	close(fd);\n"
"	return n;\n"
"}\n"
"\n"
"/* Page by page: each may be in another mapping. */\n"
"static __attribute__((unused)) void find(int step, unsigned long addr, unsigned long len)\n"
"{\n"
"	for (int i = 0; i < 20; i++) {\n"
"		int fd = open(\"/proc/sys/vm/compact_memory\", O_WRONLY);\n"
"\n"
"		(void)!write(fd, \"1\", 1);\n"
"		close(fd);\n"
"		for (unsigned long j = 0; j < len; j += P)\n"
"			madvise((void *)(addr + j), P, 21);\n"
"	}\n"
"	say(step, \"present after MADV_PAGEOUT\", left(addr, len));\n"
"}\n"
"\n"
"static __attribute__((unused)) void split_off(int step, int child)\n"
"{\n"
"	pid_t pid = fork();\n"
"\n"
"	if (!pid)\n"
"		me = child;\n"
"	else\n"
"		say(step, \"fork\", pid);\n"
"}\n"
"\n"
"static __attribute__((unused)) int uffd(void)\n"
"{\n"
"	static int fd = -1, owner;\n"
"	uint64_t api[3] = { 0xaa, 1 << 15 | 1 << 13 | 1, 0 };\n"
"\n"
"	if (fd < 0 || owner != getpid()) {\n"
"		fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);\n"
"		owner = getpid();\n"
"		ioctl(fd, 0xc018aa3f, api);\n"
"	}\n"
"	return fd;\n"
"}\n"
"\n"
"static __attribute__((unused)) void watch(int step, unsigned long addr, unsigned long len, int wp)\n"
"{\n"
"	uint64_t reg[4] = { addr, len, wp ? 1 : 2, 0 };\n"
"\n"
"	say(step, wp ? \"write-protect\" : \"register\",\n"
"	    ioctl(uffd(), wp ? 0xc018aa06 : 0xc020aa00, reg));\n"
"}\n"
"\n"
"/* The pages stay, wherever their mapping goes. */\n"
"static __attribute__((unused)) void hold(int step, unsigned long addr, unsigned long len)\n"
"{\n"
"	static int ends[2], owner;\n"
"	struct iovec iov = { (void *)addr, len };\n"
"	static char buf[P];\n"
"\n"
"	if (owner != getpid()) {\n"
"		(void)!pipe2(ends, O_NONBLOCK | O_CLOEXEC);\n"
"		owner = getpid();\n"
"	}\n"
"	if (len)\n"
"		say(step, \"vmsplice\", vmsplice(ends[1], &iov, 1, SPLICE_F_NONBLOCK));\n"
"	else\n"
"		while (read(ends[0], buf, sizeof(buf)) > 0)\n"
"			;\n"
"}\n"
"\n"
"static void run(int step);\n"
"static const unsigned char who[];\n"
"static const int steps;\n"
"\n"
"int main(void)\n"
"{\n"
"	struct sigaction sa = { .sa_handler = on_signal, .sa_flags = SA_NODEFER };\n"
"\n"
"	sigaction(SIGSEGV, &sa, NULL);\n"
"	sigaction(SIGBUS, &sa, NULL);\n"
"	signal(SIGCHLD, SIG_IGN);\n"
"	turn = mmap(NULL, P, 3, MAP_SHARED | MAP_ANONYMOUS, -1, 0);\n"
"	file = memfd_create(\"file\", 0);\n"
"	(void)!ftruncate(file, 600 * (long)P);\n"
"	for (long i = 0; i < 600; i++) {\n"
"		const unsigned long tag = 1000000 + (unsigned long)i;\n"
"\n"
"		(void)!pwrite(file, &tag, 8, i * (long)P);\n"
"		(void)!pwrite(file, &tag, 8, (i + 1) * (long)P - 8);\n"
"	}\n"
"	while (*turn < steps) {\n"
"		if (who[*turn] != me) {\n"
"			sched_yield();\n"
"			continue;\n"
"		}\n"
"		const int step = *turn;\n"
"		const int was = me;\n"
"\n"
"		run(step);\n"
"		if (me == was)\n"
"			*turn = step + 1;\n"
"		else\n"
"			while (*turn == step)\n"
"				sched_yield();\n"
"	}\n"
"	if (!me)\n"
"		usleep(100000);\n"
"	return 0;\n"
"}\n"
"\n";

static const char *c_number(uint64_t v, char *buf, size_t size)
{
	if (v >= ADDR(0) && v <= ADDR(PAGES) && !(v % PAGE))
		snprintf(buf, size, "AT(%ldL)", (long)((v - ARENA) / PAGE) - MIDDLE);
	else if (v && !(v % PAGE) && v / PAGE < PAGES)
		snprintf(buf, size, "%lu * P", v / PAGE);
	else
		snprintf(buf, size, "%#lxUL", v);
	return buf;
}

static void c_step(const struct step *s, int i, FILE *f)
{
	char addr[32], len[32], a[32], c[32];

	c_number(s->addr, addr, sizeof(addr));
	c_number(s->len, len, sizeof(len));
	c_number(s->a, a, sizeof(a));
	c_number(s->c, c, sizeof(c));
	fprintf(f, "	case %d:\n		", i);
	switch (s->op) {
	case MAP:
		fprintf(f, "map(step, %s, %s, %lu, %lu, %lu);\n", addr, len, s->a, s->b,
			s->c);
		break;
	case MREMAP:
		fprintf(f, "remap(step, %s, %s, %s, %#lx, %s);\n", addr, len, a, s->b, c);
		break;
	case UNMAP:
		fprintf(f, "say(step, \"munmap\", munmap((void *)%s, %s));\n", addr, len);
		break;
	case PROTECT:
		fprintf(f, "say(step, \"mprotect\", mprotect((void *)%s, %s, %lu));\n",
			addr, len, s->a);
		break;
	case ADVISE:
		fprintf(f, "say(step, \"madvise\", madvise((void *)%s, %s, %lu));\n",
			addr, len, s->a);
		break;
	case COALESCE:
		fprintf(f, "say(step, \"madvise\", madvise((void *)%s, %s, 104));\n", addr,
			len);
		break;
	case LOCK: case UNLOCK:
		fprintf(f, "say(step, \"%s\", %s((void *)%s, %s));\n",
			s->op == LOCK ? "mlock" : "munlock",
			s->op == LOCK ? "mlock" : "munlock", addr, len);
		break;
	case WRITE:
		fprintf(f, "touch(step, %s, %s, %lu);\n", addr, len, s->a);
		break;
	case READ:
		fprintf(f, "look(step, %s, %s);\n", addr, len);
		break;
	case FORK:
		fprintf(f, "split_off(step, %lu);\n", s->a);
		break;
	case EXIT:
		fprintf(f, "*turn = step + 1;\n		_exit(0);\n");
		break;
	case SEAL:
		fprintf(f, "say(step, \"mseal\", syscall(462, %s, %s, 0));\n", addr, len);
		break;
	case WATCH: case WP:
		fprintf(f, "watch(step, %s, %s, %d);\n", addr, len, s->op == WP);
		break;
	case HOLD: case RELEASE:
		fprintf(f, "hold(step, %s, %s);\n", addr, s->op == HOLD ? len : "0");
		break;
	case FIND:
		fprintf(f, "find(step, %s, %s);\n", addr, len);
		break;
	}
	if (s->op != EXIT)
		fprintf(f, "		break;\n");
}

void program_print_c(const struct program *p, FILE *f)
{
	bool alive[PROCS] = { true };
	struct step s[2 * PROCS];
	int n = 0;

	/* At the end each process looks at its memory, and is found. */
	for (int i = 0; i < p->n; i++) {
		if (!alive[p->step[i].proc])
			continue;
		if (p->step[i].op == FORK)
			alive[p->step[i].a] = true;
		if (p->step[i].op == EXIT)
			alive[p->step[i].proc] = false;
	}
	for (int i = 0; i < PROCS; i++) {
		if (!alive[i])
			continue;
		for (int op = READ; op <= FIND; op += FIND - READ)
			s[n++] = (struct step) {
				.proc = (uint8_t)i, .op = (uint8_t)op,
				.addr = ADDR(p->lo),
				.len = (uint64_t)(p->hi - p->lo) * PAGE,
			};
	}

	fputs(c_head, f);
	fprintf(f, "static const int steps = %d;\nstatic const unsigned char who[] = {", p->n + n);
	for (int i = 0; i < p->n + n; i++)
		fprintf(f, "%s %d,", i % 20 ? "" : "\n	", i < p->n ? p->step[i].proc :
			s[i - p->n].proc);
	fprintf(f, "\n};\n\nstatic void run(int step)\n{\n	switch (step) {\n");
	for (int i = 0; i < p->n + n; i++)
		c_step(i < p->n ? &p->step[i] : &s[i - p->n], i, f);
	fprintf(f, "	}\n}\n");
}
