/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A model of mm/relocate_anon.c for spin: a VMA's anonymous folios get another mapping
 * and index, folio by folio, while others walk the reverse map, reclaim, migrate, split,
 * pin, swap in, unmap and exit.  README.md, beside this file, says what each process
 * stands for, what is assumed, and what is left out.
 *
 * Each statement, atomic block and d_step is one step: between two of them, all other
 * processes may run.  Names are the kernel's where it has one.
 *
 * Configuration, by -D:
 *   N           positions: 1 a small folio, 2 a large one of two pages, 3 both
 *   OLD, NEW    the page offset of position 0, before and wanted: 0 and 1 if not given
 *   SAME        the anon_vma wanted is the one the VMA has (a neighbour uses it)
 *   CHILD       a child forked before shares pages
 *   SIBLING     instead, position 0 is in another VMA of the process, so that the large
 *               folio is partly in the range; it can fault and be unmapped (VMA locks)
 *   FAIL        a signal arrives, or the move fails later: all is switched back
 *   WALKER RECLAIM READAHEAD MIGRATE SPLIT GUP TRUNCATE   who else runs
 *   EXIT        the mover goes on after the move, and exits
 *   MUTANT=...  what is broken, see the list below
 *   ONLY=...    the one assertion to look at (all if not given)
 */

#ifndef N
#define N 3
#endif
#ifndef OLD
#define OLD 0
#endif
#ifndef NEW
#define NEW 1
#endif
#define OVERLAP (NEW - OLD < 2 && OLD - NEW < 2)	/* within the large folio */

/* Mutants: each must violate an assertion. */
#define NO_LOCK		1	/* switch without the folio lock */
#define ADOPT_EARLY	2	/* adopt before the last folio is switched */
#define LINK_LATE	3	/* link the shadow after the folios are switched */
#define NO_WAIT		4	/* skip a migration entry */
#define NO_SWAPCACHE	5	/* skip a swap entry with a folio in the swap cache */
#define NO_GUARD	6	/* no fresh anon_vma in between when places overlap */
#define SWITCH_WAITED	7	/* switch the folio waited for, skip its former entries */
#define LOOKUP_EARLY	8	/* look into the swap cache before taking the page table lock */
#define JUDGE_UNLOCKED	9	/* judge before taking the folio lock */
#define AVC_UNLOCKED	10	/* replace the chain's VMA without the anon_vma lock */
#define COUNT_LATE	11	/* read the swap count after the look into the swap cache */
#define MAPCOUNT_UNLOCKED 12	/* judge by one mapping and no swap before taking the folio lock */
#define NO_SPLIT	13	/* take a large folio that is partly out of the range for all of it */
#define NOT_ROOT	14	/* the anon_vma wanted has another root */
#define BACK_SHORT	15	/* switch back only positions that had been passed */
#define FREE_EARLY	16	/* unlink the shadow, then switch back */
#ifndef MUTANT
#define MUTANT 0
#endif

#include "mm.pml"

/* ---- mm/relocate_anon.c: with the mmap lock and the VMA's lock held for writing. ---- */

/* Look into the swap cache, get a reference; a frozen folio is waited for. */
inline swap_cache_get_folio(pos)
{
	d_step {
		!cache[pos] || !frozen[FOLIO(cache[pos] - 1)] ->
		if
		:: cache[pos] -> f = FOLIO(cache[pos] - 1); i = cache[pos] - 1 - f; refs[f]++
		:: else -> f = NOTHING
		fi
	}
}

/* The place that the formula of a VMA gives to folio f, whose page i is at pos */
#define HAS_PLACE(av, offset)	(mapping[f] == (av) && index[f] == pos + (offset) - i)

/* switch_folio(), under the folio lock */
inline switch_folio(av, offset)
{
	mapping[f] = av;
	index[f] = pos + offset - i
}

inline next_pos()
{
	d_step {
		pos++;
		if
		:: !back -> passed = pos
		:: else
		fi
	}
}

/* addr_page_idx(): does the entry still refer to the folio? */
#define REFERS(e, f)	((pte[e] == present && FOLIO(page[e]) == f) || \
			 (pte[e] == swap && cache[POS(e)] && FOLIO(cache[POS(e)] - 1) == f))
#if N == 1
#define FOLIO_MAPCOUNT	(MAPS(0, f) + MAPS(1, f))
#elif N == 2
#define FOLIO_MAPCOUNT	(MAPS(0, f) + MAPS(1, f) + MAPS(2, f) + MAPS(3, f))
#else
#define FOLIO_MAPCOUNT	(MAPS(0, f) + MAPS(1, f) + MAPS(2, f) + MAPS(3, f) + MAPS(4, f) + MAPS(5, f))
#endif

/* folio_in_range(): count the references (folio_refs()), then those in the range. */
inline folio_in_range()
{
	nr = FOLIO_MAPCOUNT;
	n = 0;
	do
	:: n < NR_PAGES(f) -> d_step { nr = nr + (CACHED(f) -> SWAPS(POS(f) + n) : 0); n++ }
	:: else -> break
	od;
	n = 0;
	do
	:: n < NR_PAGES(f) -> d_step { nr = nr - REFERS(POS(f) + n, f); n++ }
	:: else -> break
	od;
	n = 0;
	d_step { judged = (nr == 0); nr = 0 }
}

/* switch_busy(), judge_folio(): wait for the lock, judge, switch; consumes the reference. */
inline switch_busy(av, offset, shadow_av, shadow_offset)
{
	judged = false;
#if MUTANT == JUDGE_UNLOCKED
	folio_in_range();
#endif
	if
	:: d_step { !locked[f] -> locked[f] = true };
		if
		:: !REFERS(pos, f) -> skip	/* Look again. */
		:: else ->
			i = (pte[pos] == present -> page[pos] : cache[pos] - 1) - f;
			if
			:: back -> judged = HAS_PLACE(shadow_av, shadow_offset)
			:: !back && HAS_PLACE(av, offset) -> judged = true
			:: else ->
#if MUTANT != JUDGE_UNLOCKED
				folio_in_range()
#endif
			fi;
			if
			:: judged ->
				if
				:: mapping[f] -> switch_folio(av, offset)
				:: else	/* gets a place when it is mapped */
				fi;
				next_pos()
			:: !judged && back -> next_pos()
#if MUTANT == NO_SPLIT
			:: !judged && !back && NR_PAGES(f) == 2 ->
				switch_folio(av, offset);
				next_pos()
			:: !judged && !back && NR_PAGES(f) == 1 -> obstacle = true
#elif defined(SIBLING)
			:: !judged && !back && NR_PAGES(f) == 2 ->
				folio_split(1);
				done = false
			:: !judged && !back -> obstacle = true	/* split failed too often */
#else
			:: !judged && !back -> obstacle = true	/* folio_maybe_mapped_shared() */
#endif
			fi
		fi;
		d_step { locked[f] = false; refs[f]--; reap(f) }
#ifdef FAIL
	:: !back -> folio_put(f)	/* folio_lock_killable() */
#endif
	fi
}

/* large_entries(): all pages of the folio are mapped here and marked as nobody else's. */
#define WHOLE(f) (f == pos % N && pos + 1 < N && MAPS(pos, f) && MAPS((pos + 1) % N, f) && \
		  excl[pos] && excl[(pos + 1) % N])

/* The mark can be lost though nobody else refers to the folio: one mapping, no swap. */
inline small_is_exclusive()
{
	if
	:: !judged && NR_PAGES(f) == 1 ->
		judged = (FOLIO_MAPCOUNT == 1);
		judged = judged && !CACHED(f)
	:: else
	fi
}

/*
 * A pass over the range: the folios get an anon_vma and a page offset.  When switching
 * back, those that have the place of the shadow do.
 */
inline run_pass(av, offset, shadow_av, shadow_offset)
{
	do
	:: pos < end && !obstacle ->
		f = NOTHING;
#if MUTANT == LOOKUP_EARLY
		swap_cache_get_folio(pos);
#endif
		/* pte_offset_map_lock(), ptep_get() */
		if
		:: d_step { pte[pos] == none -> ptl = true };
		   next_pos();
		   ptl = false
		:: d_step { pte[pos] == migration -> ptl = true };
#if MUTANT == NO_WAIT
		   next_pos();
		   ptl = false
#elif MUTANT == SWITCH_WAITED
		   d_step { f = FOLIO(page[pos]); i = NR_PAGES(f); ptl = false };
		   folio_lock(f);
		   mapping[f] = av;
		   index[f] = POS(f) + offset;
		   pos = POS(f) + i;
		   folio_unlock(f);
		   f = NOTHING
#else
		   d_step { f = FOLIO(page[pos]); ptl = false };
		   !locked[f];	/* migration_entry_wait() */
		   f = NOTHING
#endif
		:: d_step {	/* pte_small_exclusive(), switch_page(), try_switch() */
			pte[pos] == present ->
			ptl = true;
#if MUTANT == LOOKUP_EARLY
			if
			:: f != NOTHING -> refs[f]--; reap(f)
			:: else
			fi;
#endif
			f = FOLIO(page[pos]);
			i = page[pos] - f;
			judged = back || (NR_PAGES(f) == 1 && excl[pos]) ||
				 (NR_PAGES(f) == 2 && (alone || WHOLE(f)))
		   };
#if MUTANT == MAPCOUNT_UNLOCKED
		   small_is_exclusive();
#endif
		   if
		   :: HAS_PLACE(av, offset) || (back && !HAS_PLACE(shadow_av, shadow_offset)) ->
			next_pos();
			f = NOTHING
#if MUTANT == NO_LOCK
		   :: else ->
			switch_folio(av, offset);
			next_pos();
			f = NOTHING
#else
		   :: else ->
			if	/* folio_trylock() */
			:: d_step { !locked[f] -> locked[f] = true };
#if MUTANT != MAPCOUNT_UNLOCKED
				small_is_exclusive();
#endif
				if
				:: judged ->
					switch_folio(av, offset);
					folio_unlock(f);
					next_pos();
					f = NOTHING
				:: else -> d_step { locked[f] = false; refs[f]++ }
				fi
			:: locked[f] -> refs[f]++
			fi
#endif
		   fi;
		   d_step { ptl = false; judged = false }
		:: d_step {	/* pass_swap(): one word of the swap table, folio or count */
			pte[pos] == swap ->
			ptl = true;
			cached = (cache[pos] != 0);
			swap_count = SWAPS(pos)
		   };
#if MUTANT == COUNT_LATE
		   swap_count = SWAPS(pos);
#endif
#if MUTANT == LOOKUP_EARLY
		   cached = false;
#elif MUTANT == NO_SWAPCACHE
		   d_step { cached = false; f = NOTHING };
#else
		   if
		   :: cached -> swap_cache_get_folio(pos)
		   :: else
		   fi;
#endif
		   if
		   :: f == NOTHING && cached	/* No more: look again. */
		   :: f == NOTHING && !cached && (back || excl[pos] || swap_count == 1) -> next_pos()
		   :: f == NOTHING && !cached && !(back || excl[pos] || swap_count == 1) -> obstacle = true
		   :: f != NOTHING
		   fi;
		   d_step { cached = false; swap_count = 0; ptl = false }
		fi;
		if
		:: f != NOTHING -> switch_busy(av, offset, shadow_av, shadow_offset)
		:: else
		fi;
		d_step { f = 0; i = 0; judged = false }
#ifdef FAIL
	:: pos < end && !obstacle && !back -> obstacle = true	/* fatal_signal_pending() */
#endif
	:: pos >= end || obstacle -> break
	od
}

/* alloc_shadow(), with chain c */
inline link_shadow(c, av, offset)
{
	d_step {
		rwsem[av] == 0 ->
		in_use[SHADOW] = true;
		pgoff[SHADOW] = offset;
		avc_vma[c] = SHADOW;
		avc_anon_vma[c] = av;
		anon_vma[SHADOW] = av;
		nr_active[av]++;
		nr_children[av] = nr_children[av] + (nr_children[av] == 0)
	}
}

inline unlink_shadow(c, av)
{
	d_step {
		rwsem[av] == 0 ->
		avc_anon_vma[c] = 0;
		anon_vma[SHADOW] = 0;
		nr_active[av]--
	};
	in_use[SHADOW] = false
}

/* anon_vma_adopt(): chain c instead of the old one */
inline anon_vma_adopt(old, c, av, offset)
{
	d_step {	/* unlink_anon_vmas() */
		rwsem[avc_anon_vma[old]] == 0 ->
		adopting = true;
		nr_active[anon_vma[VMA]]--;
		anon_vma[VMA] = 0;
		avc_anon_vma[old] = 0
	};
	d_step { anon_vma[VMA] = av; pgoff[VMA] = offset };
	d_step {
#if MUTANT != AVC_UNLOCKED
		rwsem[av] == 0 ->
#endif
		avc_vma[c] = VMA;
		anon_vma[SHADOW] = 0;
		adopting = false
	};
	in_use[SHADOW] = false	/* vm_area_free() */
}

/*
 * relocate_anon_begin(), then relocate_anon_finish() or relocate_anon_cancel(): from
 * old_av by chain old to av by chain c
 */
inline relocate(old, old_av, old_offset, c, av, offset)
{
	/* vma_is_sole() */
	d_step { rwsem[old_av] != WRITER -> alone = (nr_children[old_av] == 1 && nr_active[old_av] == 1) };
	end = N;
#if MUTANT == LINK_LATE
	in_use[SHADOW] = true;
#else
	link_shadow(c, av, offset);
#endif
#if MUTANT == ADOPT_EARLY
	end = N - 1;
	run_pass(av, offset, av, offset);
	end = N;
	anon_vma_adopt(old, c, av, offset);
#endif
	run_pass(av, offset, av, offset);
#if MUTANT == LINK_LATE
	link_shadow(c, av, offset);
#endif
#ifdef FAIL
	if
	:: obstacle = true	/* The move fails later, for want of memory. */
	:: skip
	fi;
#endif
	if
#if defined(FAIL) || defined(CHILD) || defined(SIBLING) || defined(TRUNCATE)
	:: obstacle ->	/* relocate_anon_cancel() */
		obstacle = false;
		back = true;
		passed = 0;
#if MUTANT == BACK_SHORT
		end = pos;
#endif
		pos = BEGIN;
#if MUTANT == FREE_EARLY
		unlink_shadow(c, av);
#endif
		run_pass(old_av, old_offset, av, offset);
#if MUTANT != FREE_EARLY
		unlink_shadow(c, av)
#endif
#else
	:: obstacle -> assert(refused)	/* Pins and passing references do not matter. */
#endif
	:: else ->
#if MUTANT != ADOPT_EARLY
		anon_vma_adopt(old, c, av, offset)
#endif
	fi;
	pos = BEGIN;
	end = 0
}

#define CHAIN	(avc_anon_vma[0] && avc_vma[0] == VMA -> 0 : 1)

proctype mover()
{
	WALK_VARS;
	byte pos = BEGIN, end, f, found, i, n, nr, swap_count;
	bit alone, judged, cached, obstacle, back, done;

#ifndef SAME
	relocate(0, A, OLD, 1, B, NEW);
#elif !OVERLAP || MUTANT == NO_GUARD
	relocate(0, A, OLD, 1, A, NEW);
#else
	relocate(0, A, OLD, 1, FRESH, NEW);
	if
	:: !back -> relocate(1, FRESH, NEW, 0, A, NEW)
	:: else
	fi;
#endif
#ifdef EXIT
	/* The process goes on, wherever its folios are, and exits. */
	do
	:: pos < N ->
		if
		:: pte[pos] == swap -> swap_in(pos, VMA)
		:: pte[pos] != none -> zap(pos)
		:: pos = (pos + 1 < N -> pos + 1 : BEGIN)
		fi
	:: break
	od;
	atomic { pos = 0; c = CHAIN };
	exit_mm(VMA, c);
#endif
	skip
}

/* ---- How it begins. ---- */

/*
 * Position a: none, present or swap, exclusive or not, shared with the child or not, in
 * the sibling if there is one
 */
inline populate(a)
{
	if
	:: pte[a] = present; page[a] = a
#if !defined(RECLAIM) || defined(CHILD)
	:: pte[a] = swap
#endif
	fi;
	if
	:: excl[a] = true
	:: skip			/* the marker was lost, or */
#ifdef CHILD
	:: pte[N + a] = present; page[N + a] = a;
	   if
	   :: skip
	   :: pte[a] = none; page[a] = 0
	   fi
	:: pte[N + a] = swap
#endif
#if N > 1
	:: a < 2 -> pte[a] = none; page[a] = 0
#endif
	fi
#ifdef SIBLING
	;
	if
	:: a == 0 ->
		pte[N] = pte[0];
		page[N] = page[0];
		excl[N] = excl[0];
		pte[0] = none;
		excl[0] = false
	:: else
	fi
#endif
}

/* The folio: read in long ago, or in the swap cache, read ahead or not, or only in swap. */
inline furnish(f)
{
	if
	:: mapping[f] = A; index[f] = f + OLD;
	   if
	   :: SWAPPED(f) -> cache[f] = f + 1; cache[LAST(f)] = LAST(f) + 1
	   :: else
	   fi
	:: !MAPPED(f) && NR_PAGES(f) == 1 -> cache[f] = f + 1
	:: !MAPPED(f) && f != 0
	:: !MAPPED(f) && f == 0 -> large[0] = false
	fi
}

init {
	byte a;

	atomic {
		in_use[VMA] = true;
		anon_vma[VMA] = A;
		avc_anon_vma[0] = A;
		nr_active[A] = 1;
		nr_children[A] = 1;
#ifdef SAME
		nr_active[A]++;
#endif
#ifdef CHILD
		in_use[OTHER_VMA] = true;
		anon_vma[OTHER_VMA] = CHILDS;
		avc_anon_vma[2] = A;
		avc_vma[2] = OTHER_VMA;
		nr_active[CHILDS] = 1;
		nr_children[A]++;
#endif
#ifdef SIBLING
		in_use[OTHER_VMA] = true;
		anon_vma[OTHER_VMA] = A;
		avc_anon_vma[2] = A;
		avc_vma[2] = OTHER_VMA;
		nr_active[A]++;
#endif
		pgoff[VMA] = OLD;
		pgoff[OTHER_VMA] = OLD;
		do
		:: a < N ->
			populate(a);
			a++
		:: else -> break
		od;
#if N > 1
		large[0] = true;
#endif
		furnish(0);
#if N == 3
		furnish(2);
#endif
		a = 0;
		run monitor();
		run mover();
#ifdef WALKER
		run walker();
#endif
#ifdef RECLAIM
		run reclaim();
#endif
#ifdef READAHEAD
		run readahead();
#endif
#ifdef MIGRATE
		run migrate();
#endif
#ifdef SPLIT
		run split();
#endif
#ifdef GUP
		run gup_fast();
#endif
#ifdef TRUNCATE
		run truncate();
#endif
#if defined(CHILD) || defined(SIBLING)
		run other();
#endif
	}
}
