/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * storm: random programs that map, move, protect, fork and so on, executed with the
 * flags that relocate and without, and compared with a model after every step.
 *
 *	program.c	a program: from a seed, to and from text, as C
 *	model.c		what memory must look like after a step, and the step's result
 *	exec.c		executes a program, compares
 *	minimise.c	makes a failing program short
 *	interfere.c	what goes on meanwhile
 *	main.c		the command line
 */
#ifndef STORM_H
#define STORM_H

#define _GNU_SOURCE
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

#include "../limit.h"

#define RELOCATE 8
#define MUST 16
#define RELOCATE_FLAGS (RELOCATE | MUST)
#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP 4
#endif

#define PAGE 4096UL
#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

/*
 * All programs play in this range, at the same addresses in every process. Page
 * tables of all levels begin in its midst.
 */
#define PAGES 4096
#define MIDDLE (PAGES / 2)
#define ARENA ((1UL << 44) - MIDDLE * PAGE)
#define ADDR(page) (ARENA + (uint64_t)(page) * PAGE)

#define PROCS 4		/* processes of a program at most */
#define MAX_STEPS 1000
#define FILE_PAGES 600	/* of the file that is mapped */

/* ---- program.c --------------------------------------------------------------- */

enum op {
	MAP, UNMAP, MREMAP, PROTECT, ADVISE, LOCK, UNLOCK, WRITE, READ, FORK, EXIT,
	SEAL, WATCH, WP, FIND,
	HOLD,		/* take a reference to the pages, as by vmsplice() */
	RELEASE,
	COALESCE,	/* MADV_COALESCE */
	OPS
};

enum kind { ANON, NORESERVE, SHARED, FILE_PRIVATE, KINDS };

/*
 *	op	a		b		c
 *	MAP	prot		kind		page of the file
 *	MREMAP	new length	flags		new address; where the memory goes from
 *						wherever the kernel put it, too
 *	PROTECT	prot
 *	ADVISE	advice
 *	COALESCE 1: by another process
 *	WRITE	tag of the first page
 *	FORK	number of the child
 */
struct step {
	uint8_t proc;		/* which process does it */
	uint8_t op;
	uint64_t addr, len, a, b, c;
};

struct program {
	uint64_t seed;		/* 0: edited since */
	int lo, hi;		/* pages of the arena that are looked at */
	int n;
	struct step step[MAX_STEPS];
};

void program_random(struct program *p, uint64_t seed, int steps);
void program_print(const struct program *p, FILE *f);
bool program_parse(struct program *p, FILE *f);
void program_print_c(const struct program *p, FILE *f);
void step_print(const struct step *s, FILE *f);
const char *step_text(const struct step *s);
bool program_has_huge(const struct program *p);
bool program_has(const struct program *p, enum op op);
/* Is there MREMAP_DONTUNMAP? A source that touches the destination stays split off. */
bool program_keeps_source(const struct program *p);
/* Do all moves have a flag that relocates? */
bool program_all_relocate(const struct program *p);

/* ---- model.c ------------------------------------------------------------------ */

/* How a process sees its memory: it writes this after each step. */
#define SEEN_PRESENT 1
#define SEEN_SWAP 2
#define SEEN_FILE 4
#define SEEN_GUARD 8
#define SEEN_NOT_MIGRATED 16	/* by FIND: the reverse map misses it, perhaps */
#define SEEN_NOT_SWAPPED 32
#define SEEN_READ 64		/* tag[] is what was read */
#define SEEN_LARGE 128

/* No page has this tag: the words that were read differ. */
#define TORN 0xdeadUL

struct seen_vma {
	int start, end;		/* pages; cut at the arena's end only */
	uint8_t prot;
	bool shared;
};

struct seen {
	int nr_vmas;
	struct seen_vma vma[PAGES];
	uint8_t page[PAGES];
	uint64_t tag[PAGES];
	/* Of the page that FIND could not migrate, or swap out: for the report */
	int stuck_status;
	uint64_t stuck_flags;
};

/* What a step returned. */
struct result {
	int64_t ret;
	int err;
	bool elsewhere;		/* moved out of the arena and back */
	bool injected;		/* something was made to fail */
};

/* What is known of the way a program is executed. */
struct setting {
	bool interference;	/* others take pages, and pin them */
	bool huge;		/* some pages may be large */
	bool forks;
	bool holds;
	bool coalesces;		/* every call merges what it can */
};

struct model;

/* What a step should come to. */
enum verdict {
	MUST_MATCH,		/* exactly .err, or success if 0 */
	EFAULT_OR_SUCCESS,	/* relocating may be impossible */
	ANY_RESULT,		/* but the same with the flags and without */
	ANY_AT_ALL,
	SKIP			/* leave it out */
};

struct expect {
	enum verdict verdict;
	int err;
	int64_t ret;		/* if >= 0, and it succeeds */
};

struct model *model_new(const struct setting *setting);
void model_free(struct model *m);
bool model_alive(const struct model *m, int proc);

/*
 * What @s will come to, with the flags in it. @seen is how its process sees its
 * memory in the run with the flags, @other in that without (or the same).
 */
struct expect model_expect(const struct model *m, const struct step *s,
			   const struct seen *seen, const struct seen *other);
/* @before, @seen: how its process saw its memory before the step, and after it. */
void model_apply(struct model *m, const struct step *s, const struct seen *before,
		 const struct seen *seen, const struct result *r);
/* A move failed half way: what it was to replace may be gone, or to cut off. */
void model_apply_failed(struct model *m, const struct step *s, const struct seen *seen);
/* Is what a move takes in one mapping? */
bool model_one_vma(const struct step *s, const struct seen *seen);
/* Say in @why what is wrong, if anything. Learns what was populated by the way. */
bool model_compare(struct model *m, int proc, const struct seen *seen, int lo, int hi,
		   bool strict, bool learn, char *why, size_t size);
/* After FIND: pages that should have been found are. */
bool model_found(const struct model *m, int proc, const struct seen *seen, int lo,
		 int hi, bool swap, char *why, size_t size);
/* The expected contents, or -1 if the page cannot be read. */
int64_t model_tag(const struct model *m, int proc, int page);
/* May the page have been dropped in one run and not in the other? */
bool model_lazy(const struct model *m, int proc, int page);
uint64_t file_tag(uint64_t page);

/* ---- exec.c ------------------------------------------------------------------- */

struct options {
	bool plain_only;	/* never use the flags */
	bool keep_flags;	/* no second run without */
	int timeout;		/* seconds a step may take; 0: as long as it likes */
	long pause;		/* microseconds: see pause_relocations() */
	bool coalesce;		/* see coalesce_always() */
	bool limit;		/* at vm.max_map_count in each step; not the second run */
	/*
	 * In each move of one mapping let the n-th thing that can fail do so, and if
	 * the move fails then, the one after it, and so on. Without the second run.
	 */
	bool fail_nth;
	bool verbose;
};

struct outcome {
	bool failed;
	int step;		/* where */
	long steps, skipped;	/* executed, left out */
	long relocated;		/* steps with a flag that succeeded */
	long refused;		/* EFAULT with MREMAP_MUST_RELOCATE_ANON */
	long fewer;		/* mappings at the end, than without the flags */
	long points;		/* things made to fail, after which the move failed */
	long coped;		/* or did not */
	char why[512];
};

void exec_init(const struct options *options);
struct outcome exec_program(const struct program *p);

/* ---- minimise.c ---------------------------------------------------------------- */

struct outcome minimise(struct program *p, int tries);

/* ---- interfere.c --------------------------------------------------------------- */

/* What the programs' processes and those that interfere share. */
struct arena_users {
	volatile pid_t pid[2 * PROCS];
	volatile int pause;
	volatile pid_t mover;		/* who is about to move pages, or 0, */
	volatile uint64_t moving;	/* and the first one */
};
extern struct arena_users *users;

/*
 * @others: with the processes in the cgroup, which are those that have called
 * interfere_with_me() and their children; else with our programs. Ends us if a kind is
 * unknown, or does not work there.
 */
void interfere_start(const char *kinds, bool others);
void interfere_stop(void);
void interfere_pause(bool pause);
bool interfere_on(void);
/* Do children come and go that share what our programs have? */
bool interfere_forks(void);
bool interfere_can(void);	/* the kernel has one of the kinds */
bool interfere_did_all(void);	/* each has done something by now */
void interfere_report(void);
void interfere_list(FILE *f, bool others);
/* Before a program starts. */
void interfere_begin(void);
/* A process is about to move pages, from @addr on; 0: it has. */
void interfere_with_move(pid_t pid, uint64_t addr);
/*
 * In a process of a program, which uses the pages from @lo to @hi: start the threads that
 * interfere from within.
 */
void interfere_inside(int lo, int hi);
/* Before a command is executed, in its process; and the end of all that are left of it. */
void interfere_with_me(void);
void interfere_kill(void);

/* Relocations, and migration, sleep up to @usecs between any two steps: debug kernel. */
bool pause_relocations(long usecs);
bool coalesce_always(bool on);

/* ---- taps of main.c ------------------------------------------------------------ */

bool write_to(const char *path, const char *text);

#endif
