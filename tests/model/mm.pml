/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Entries, folios, swap, VMAs and anon_vmas, the processes that change them while
 * mm/relocate_anon.c is at work, and the invariants.  relocate.pml includes this file.
 */

/* ---- Page tables and swap: position a of the VMA; the child shares pages at the same. ---- */

mtype = { none, present, migration, swap };

#define NE (2 * N)		/* entries: 0 to N-1 the mover's, then the child's */
mtype pte[NE] = none;
byte page[NE];			/* of present and migration entries */
bit excl[NE];			/* PageAnonExclusive(), or the entry's bit for it */
bit ptl;			/* the page table lock, while the mover holds it: who needs it waits */
byte cache[N];			/* swap cache: page + 1; the content of position a has slot a */

#define POS(e)	((e) % N)

/* ---- Folios.  The content of position a is on page a or page a + N. ---- */

#define NP (2 * N)
byte mapping[NP];		/* an anon_vma; by the folio's first page, as all below */
byte index[NP];
bit locked[NP];
bit frozen[NP];			/* folio_ref_freeze() */
byte refs[NP];			/* other than by mappings, swap cache and who isolated it */
bit large[2];			/* pages 0 and 1, or N and N + 1, are one folio */

#define FOLIO(p)    ((p) % N == 1 && large[(p) / N] -> (p) - 1 : (p))	/* page_folio() */
#define NR_PAGES(f) ((f) % N == 0 && large[(f) / N] -> 2 : 1)
#define OTHER(p)    ((p) < N -> (p) + N : (p) - N)

#define MAPS(e, f)     (pte[e] == present && FOLIO(page[e]) == f)
#define MIGRATES(e, f) (pte[e] == migration && FOLIO(page[e]) == f)
#define HOLDS(e, f)    ((pte[e] == present || pte[e] == migration) && FOLIO(page[e]) == f)
#if N == 1
#define ANY(what, f)   (what(0, f) || what(1, f))
#elif N == 2
#define ANY(what, f)   (what(0, f) || what(1, f) || what(2, f) || what(3, f))
#else
#define ANY(what, f)   (what(0, f) || what(1, f) || what(2, f) || what(3, f) || what(4, f) || what(5, f))
#endif
#define MAPPED(f)      ANY(MAPS, f)			/* folio_mapped() */
#define LAST(f)        ((f) % N + NR_PAGES(f) - 1)	/* its last position */
#define CACHED(f)      (cache[(f) % N] == (f) + 1 || cache[LAST(f)] == (f) + NR_PAGES(f))
#define SWAPS(a)       ((pte[a] == swap) + (pte[N + (a)] == swap))	/* __swap_count() */
#define SWAPPED(f)     (SWAPS((f) % N) || SWAPS(LAST(f)))
#define USED(f)        (ANY(HOLDS, f) || CACHED(f) || refs[f] || locked[f])

/* ---- VMAs, their anon_vmas, and the chains between. ---- */

#define VMA	0
#define SHADOW	1
#define OTHER_VMA 2		/* the child's or the sibling */
#ifdef SIBLING
#define BEGIN	1
#define OTHER_END 1
#else
#define BEGIN	0
#define OTHER_END N
#endif
#define VM_START(v) ((v) == OTHER_VMA -> 0 : BEGIN)
#define VM_END(v)   ((v) == OTHER_VMA -> OTHER_END : N)
byte pgoff[3];
byte anon_vma[3];
bit in_use[3];			/* allocated */

#define A	1		/* where all folios begin */
#define B	2		/* the one wanted, unless SAME */
#define FRESH	3		/* the one in between */
#define CHILDS	4		/* the child's own, which no folio has here */
#define WRITER	255
byte rwsem[5];			/* readers, or WRITER; CHILDS uses that of its root, A */
byte nr_active[5];			/* num_active_vmas */
byte nr_children[5];		/* num_children */
byte avref[5];			/* references other than that of a tree with chains */

byte avc_anon_vma[3];		/* chains; in the tree of that anon_vma, 0: in none */
byte avc_vma[3];

#define MM(v)        ((v) == OTHER_VMA)	/* whose entries; the sibling's are apart, too */
#define IN_TREE(c, av) (avc_anon_vma[c] == av)
#ifdef SAME
#define NEIGHBOUR(av) ((av) == A)	/* whose window is elsewhere */
#else
#define NEIGHBOUR(av) false
#endif
#define FREED(av)    (!IN_TREE(0, av) && !IN_TREE(1, av) && !IN_TREE(2, av) && !avref[av] && !NEIGHBOUR(av))

/* ---- The invariants, true in every state. ---- */

byte passed;			/* positions, if they were not switched back */
bit adopting;			/* from unlink_anon_vmas() to the end of anon_vma_adopt() */
byte gup_page;			/* + 1; gup_fast() has a reference of a page that was at */
byte gup_pos;			/* this position */
bit gup_pin, gup_sure;		/* FOLL_PIN; looked twice at the entry */

/* The page and folio that an entry leads to by the reverse map or the swap cache */
#define LEADS(e) (pte[e] != none && (pte[e] != swap || cache[POS(e)]))
#define PAGE(e)  (pte[e] == swap -> cache[POS(e)] - 1 : page[e])
#define DEST(e)  FOLIO(PAGE(e))
/* Does a walk of the folio come by chain c to the VMA that has the entry, ... */
#define VIA(c, e) (avc_anon_vma[c] && avc_anon_vma[c] == mapping[DEST(e)] && MM(avc_vma[c]) == (e) / N)
/* at this address, ... */
#define AT(c, e)  (index[DEST(e)] + PAGE(e) - DEST(e) == pgoff[avc_vma[c]] + POS(e))
/* or does it pass by? */
#define PASSES(c, e) (pgoff[avc_vma[c]] + POS(e) >= index[DEST(e)] && \
		      pgoff[avc_vma[c]] + POS(e) < index[DEST(e)] + NR_PAGES(DEST(e)))
#define WALKED(e) (LEADS(e) && !locked[DEST(e)] && mapping[DEST(e)])

/* FIND: a walk finds every mapping, and will find it once it is swapped in ... */
#define FIND1(e)  (!WALKED(e) || (VIA(0, e) && AT(0, e)) || (VIA(1, e) && AT(1, e)) || (VIA(2, e) && AT(2, e)))
/* ALIAS: at its place, and at no other. */
#define ALIAS1(e) (!WALKED(e) || ((!VIA(0, e) || !PASSES(0, e) || AT(0, e)) && \
				  (!VIA(1, e) || !PASSES(1, e) || AT(1, e)) && \
				  (!VIA(2, e) || !PASSES(2, e) || AT(2, e))))
/* LIVE: what a mapped folio and a chain point to is not freed. */
#define LIVE1(e)  (pte[e] != present || !FREED(mapping[FOLIO(page[e])]))
#define LIVE_AVC(c) (!avc_anon_vma[c] || in_use[avc_vma[c]])
/* SOLE: what has been passed or switched is nobody else's. */
#define SOLE2(a, e) ((a) >= passed || pte[a] == none || pte[e] == none || \
		     (POS(a) != POS(e) && (!LEADS(a) || !LEADS(e) || DEST(a) != DEST(e))))
/* WAIT: a migration entry's folio is locked, so who waits for that waits for all of it. */
#define WAIT1(e)  (pte[e] != migration || locked[FOLIO(page[e])])

#if N == 1
#define EACH(what)  (what(0) && what(1))
#define SOLE        SOLE2(0, 1)
#elif N == 2
#define EACH(what)  (what(0) && what(1) && what(2) && what(3))
#define SOLE        (SOLE2(0, 2) && SOLE2(0, 3) && SOLE2(1, 2) && SOLE2(1, 3))
#else
#define EACH(what)  (what(0) && what(1) && what(2) && what(3) && what(4) && what(5))
#define SOLE        (SOLE2(0, 3) && SOLE2(0, 4) && SOLE2(0, 5) && SOLE2(1, 3) && SOLE2(1, 4) && \
		     SOLE2(1, 5) && SOLE2(2, 3) && SOLE2(2, 4) && SOLE2(2, 5))
#endif
/* COUNT: an anon_vma's counters are right. */
#define COUNT1(av)  (nr_active[av] == (anon_vma[VMA] == (av)) + (anon_vma[SHADOW] == (av)) + \
				   (anon_vma[OTHER_VMA] == (av)) + NEIGHBOUR(av))
/* PIN: a page with a reference stays what the process sees. */
#define PIN         (!gup_sure || pte[gup_pos] == none || (LEADS(gup_pos) && PAGE(gup_pos) == gup_page - 1))

/*
 * What is asserted; all these are false for ever, spin prints the name.  Those that are
 * not invariants: a walk has left out a mapping (walk), or come to one twice (twice); a
 * folio's mapping has changed under its lock (stable); a page is mapped where its folio
 * does not say (place: __page_check_anon_rmap()); the relocation has failed for no reason
 * (refused).
 */
bool find, alias, live, sole, count, wait, pin, walk, twice, stable, place, refused;

#ifdef ONLY
#define IS_find 1
#define IS_alias 2
#define IS_live 3
#define IS_sole 4
#define IS_count 5
#define IS_wait 6
#define IS_pin 7
#define IS_walk 8
#define IS_twice 9
#define IS_stable 10
#define IS_place 11
#define IS_refused 12
#define IS_(name)	IS_##name
#define IS(name)	IS_(name)
#define MUST(name, condition)	if :: IS_(name) != IS(ONLY) || (condition) :: else -> assert(name) fi
#define UNLESS(name, condition)	IS_(name) == IS(ONLY) && !(condition) -> assert(name)
#else
#define MUST(name, condition)	if :: (condition) :: else -> assert(name) fi
#define UNLESS(name, condition)	!(condition) -> assert(name)
#endif

/* Can run only where an invariant does not hold, so it adds no states. */
proctype monitor()
{
end:	do
	:: UNLESS(find, EACH(FIND1))
	:: UNLESS(alias, EACH(ALIAS1))
	:: UNLESS(live, EACH(LIVE1) && LIVE_AVC(0) && LIVE_AVC(1) && LIVE_AVC(2))
	:: UNLESS(sole, SOLE)
	:: UNLESS(count, adopting || (COUNT1(A) && COUNT1(B) && COUNT1(FRESH)))
	:: UNLESS(wait, EACH(WAIT1))
	:: UNLESS(pin, PIN)
	od
}

/* ---- Common to several processes. ---- */

#define NOTHING 255
#define FREE(p) (FOLIO(p) == (p) && !USED(p))

/* The last reference may be gone. */
inline reap(f)
{
	if
	:: !USED(f) ->
		mapping[f] = 0;
		index[f] = 0;
		if
		:: f % N == 0 -> large[f / N] = false
		:: else
		fi
	:: else
	fi
}

inline folio_lock(f)
{
	d_step { !locked[f] -> locked[f] = true }
}

inline folio_unlock(f)
{
	d_step { locked[f] = false; reap(f) }
}

inline folio_put(f)
{
	d_step { refs[f]--; reap(f) }
}

/* Isolate any folio from the LRU list and lock it. */
#define LRU(p) (FOLIO(p) == (p) && !locked[p] && (MAPPED(p) || CACHED(p)))
#if N == 1
#define PICK(p, cond)	if :: cond(0) -> p = 0 :: cond(1) -> p = 1 fi
#elif N == 2
#define PICK(p, cond)	if :: cond(0) -> p = 0 :: cond(1) -> p = 1 :: cond(2) -> p = 2 :: cond(3) -> p = 3 fi
#else
#define PICK(p, cond)	if :: cond(0) -> p = 0 :: cond(1) -> p = 1 :: cond(2) -> p = 2 :: \
			      cond(3) -> p = 3 :: cond(4) -> p = 4 :: cond(5) -> p = 5 fi
#endif

/*
 * rmap_walk_anon(), with the anon_vma's lock held.  An entry is looked at and changed
 * under the page table lock: one step.  Whether an address holds a page of the folio is
 * seen by the page, as page_vma_mapped_walk() does.
 */
#define REFERENCED	0	/* folio_referenced_one() */
#define UNMAP		1	/* try_to_unmap_one() */
#define MIGRATE_FROM	2	/* try_to_migrate_one() */
#define MIGRATE_TO	3	/* remove_migration_pte(): entries of src to pages of dst */

#define WALK_VARS	byte av, idx, c, v, a, last, e; bit aborted
#define PINNED(f)	(gup_page && gup_pin && FOLIO(gup_page - 1) == (f))
/* Is the folio's window in that of the VMA of chain c? */
#define ON(c)		(c < 3 && IN_TREE(c, av) && \
			 idx < pgoff[avc_vma[c]] + VM_END(avc_vma[c]) && \
			 idx + NR_PAGES(dst) > pgoff[avc_vma[c]] + VM_START(avc_vma[c]))

inline rmap_walk(what, dst, src)
{
	d_step { idx = index[dst]; c = 0; a = 0; last = 0 };
	do
	:: d_step {	/* anon_rmap_tree_foreach() */
		a >= last && c < 3 && !aborted ->
		c = (ON(c) -> c : (ON(c + 1) -> c + 1 : (ON(c + 2) -> c + 2 : 3)));
		if
		:: c < 3 ->	/* vma_anon_address(), vma_address_end() */
			v = avc_vma[c];
			a = (idx > pgoff[v] + VM_START(v) -> idx - pgoff[v] : VM_START(v));
			last = idx + NR_PAGES(dst) - pgoff[v];
			last = (last > VM_END(v) -> VM_END(v) : last);
			c++
		:: else
		fi
	   }
	:: d_step {	/* page_vma_mapped_walk() */
		a < last && !aborted && (v == OTHER_VMA || !ptl) ->
		MUST(live, in_use[v]);
		e = MM(v) * N + a;
		if
		:: what == REFERENCED && MAPS(e, src) ->
			MUST(twice, !(found & (1 << e)));
			found = found | (1 << e)
		:: what == UNMAP && MAPS(e, src) ->
			if
			:: excl[e] && PINNED(src) -> aborted = true
			:: else -> pte[e] = swap; page[e] = 0
			fi
		:: what == MIGRATE_FROM && MAPS(e, src) ->
			if
			:: excl[e] && PINNED(src) -> aborted = true
			:: else -> pte[e] = migration
			fi
		:: what == MIGRATE_TO && MIGRATES(e, src) ->
			pte[e] = present;
			page[e] = page[e] + (dst) - (src)
		:: else
		fi;
		e = 0;
		a++
	   }
	:: (a >= last && c == 3) || aborted -> break
	od;
	atomic { idx = 0; c = 0; v = 0; a = 0; last = 0 }
}

inline anon_vma_lock_read(av)
{
	d_step { rwsem[av] != WRITER -> MUST(live, !FREED(av)); rwsem[av]++ }
}

inline anon_vma_lock_write(av)
{
	d_step { rwsem[av] == 0 -> MUST(live, !FREED(av)); rwsem[av] = WRITER }
}

/* __folio_split() of the locked large folio f, to which the caller has some references */
inline folio_split(own)
{
	d_step {	/* folio_get_anon_vma() */
		if
		:: MAPPED(f) ->
			av = mapping[f];
			MUST(live, !FREED(av));
			avref[av]++
		:: else
		fi
	};
	if
	:: av ->
		anon_vma_lock_write(av);
		rmap_walk(MIGRATE_FROM, f, f);		/* unmap_folio() */
		MUST(walk, aborted || !MAPPED(f));
		if
		:: d_step {	/* __folio_freeze_and_split_unmapped() */
			!MAPPED(f) && refs[f] == own ->
			large[f / N] = false;
			locked[f + 1] = true;
			mapping[f + 1] = mapping[f];
			index[f + 1] = index[f] + 1;
			done = true
		   }
		:: MAPPED(f) || refs[f] != own
		fi;
		aborted = false;
		rmap_walk(MIGRATE_TO, f, f);		/* remap_page() */
		MUST(walk, !ANY(MIGRATES, f));
		if
		:: done ->
			rmap_walk(MIGRATE_TO, f + 1, f + 1);
			MUST(walk, !ANY(MIGRATES, f + 1));
			folio_unlock(f + 1)
		:: else
		fi;
		d_step { rwsem[av] = 0; avref[av]--; av = 0 }
	:: else
	fi
}

/* do_swap_page() for one entry */
#define ROOT(av) ((av) == CHILDS || (MUTANT == NOT_ROOT && (av) == B) -> A : (av))
#define AT_PLACE(f, e, v) (ROOT(mapping[f]) == ROOT(anon_vma[v]) && \
			   index[f] + page[e] - (f) == pgoff[v] + POS(e))
inline swap_in(e, v)
{
	/* swap_cache_get_folio(), or a folio of its own that is added and read. */
	if
	:: d_step {
		cache[POS(e)] && !frozen[FOLIO(cache[POS(e)] - 1)] ->
		f = FOLIO(cache[POS(e)] - 1);
		refs[f]++
	   };
	   folio_lock(f)
	:: d_step {
		!cache[POS(e)] && pte[e] == swap && (FREE(POS(e)) || FREE(POS(e) + N)) ->
		f = (FREE(POS(e)) -> POS(e) : POS(e) + N);
		cache[POS(e)] = f + 1;
		locked[f] = true;
		refs[f]++
	   }
	:: !cache[POS(e)] && !(pte[e] == swap && (FREE(POS(e)) || FREE(POS(e) + N))) -> f = NOTHING
	fi;
	if
	:: f == NOTHING
	:: else ->
		/* Under both locks: folio_matches_swap_entry(), pte_same(), map it. */
		d_step {
			if
			:: pte[e] == swap && cache[POS(e)] && FOLIO(cache[POS(e)] - 1) == f ->
				pte[e] = present;
				page[e] = cache[POS(e)] - 1;
				if
				:: mapping[f] -> /* __page_check_anon_rmap() */
					MUST(place, AT_PLACE(f, e, v))
				:: else -> /* __folio_set_anon() */
					mapping[f] = (excl[e] -> anon_vma[v] : ROOT(anon_vma[v]));
					index[f] = pgoff[v] + POS(e) - (page[e] - f)
				fi
			:: else
			fi
		};
		if
		:: d_step {	/* should_try_to_free_swap(), folio_free_swap() */
			CACHED(f) && !SWAPPED(f) ->
			cache[POS(f)] = 0;
			cache[LAST(f)] = 0
		   }
		:: skip
		fi;
		d_step { locked[f] = false; refs[f]--; reap(f) }
	fi;
	f = 0
}

/* zap_pte_range(); no folio lock */
inline zap(e)
{
	d_step {
		(e >= N || !ptl) ->
		if
		:: pte[e] == present || pte[e] == migration -> f = FOLIO(page[e])
		:: pte[e] == swap && cache[POS(e)] -> f = FOLIO(cache[POS(e)] - 1)
		:: else -> f = NOTHING
		fi;
		pte[e] = none;
		page[e] = 0;
		excl[e] = false;
		if
		:: f != NOTHING -> reap(f)
		:: else
		fi;
		f = 0
	}
}

/* exit_mmap(): unmap, unlink_anon_vmas(), free the VMA. */
inline exit_mm(v, c)
{
	a = VM_START(v);
	do
	:: a < VM_END(v) -> zap(MM(v) * N + a); a++
	:: else -> break
	od;
	a = 0;
	d_step {
		rwsem[avc_anon_vma[c]] == 0 ->
		nr_active[anon_vma[v]]--;
		if
		:: anon_vma[v] == CHILDS -> nr_children[A]--
		:: else
		fi;
		anon_vma[v] = 0;
		avc_anon_vma[c] = 0
	};
	in_use[v] = false
}

/* ---- Who else there is. ---- */

#ifdef WALKER
/* folio_referenced(), damon_folio_mkold(), page_idle_clear_pte_refs() and so on */
proctype walker()
{
	WALK_VARS;
	byte f, found;

end:	do
	:: atomic { PICK(f, LRU); locked[f] = true };
	   if
	   :: MAPPED(f) ->
		av = mapping[f];
		if
		:: d_step { MAPPED(f) && rwsem[av] != WRITER -> MUST(live, !FREED(av)); rwsem[av]++ };
		   rmap_walk(REFERENCED, f, f);
		   d_step {
			e = 0;
			do
			:: e < NE -> MUST(walk, !MAPS(e, f) || (found & (1 << e))); e++
			:: else -> break
			od;
			e = 0;
			found = 0
		   };
		   rwsem[av]--
		:: !MAPPED(f)
		fi
	   :: else
	   fi;
	   folio_unlock(f);
	   d_step { f = 0; av = 0 }
	od
}
#endif

#ifdef RECLAIM
/* shrink_folio_list(), and what madvise(MADV_PAGEOUT) of another process would do */
proctype reclaim()
{
	WALK_VARS;
	byte f, found;

end:	do
	:: atomic { PICK(f, LRU); locked[f] = true };
	   if
	   :: MAPPED(f) ->
		d_step {	/* folio_alloc_swap() */
			if
			:: !CACHED(f) && !SWAPPED(f) && !cache[POS(f)] && !cache[LAST(f)] ->
				cache[POS(f)] = f + 1;
				cache[LAST(f)] = f + NR_PAGES(f)
			:: else
			fi
		};
		av = mapping[f];
		if
		:: d_step { CACHED(f) && MAPPED(f) && rwsem[av] != WRITER -> MUST(live, !FREED(av)); rwsem[av]++ };
		   rmap_walk(UNMAP, f, f);
		   MUST(walk, aborted || !MAPPED(f));
		   rwsem[av]--
		:: !CACHED(f) || !MAPPED(f)
		fi
	   :: else
	   fi;
	   if
	   :: skip	/* Under writeback, it stays in the swap cache. */
	   :: d_step {	/* __remove_mapping() */
		!MAPPED(f) && CACHED(f) && !refs[f] ->
		cache[POS(f)] = 0;
		cache[LAST(f)] = 0
	      }
	   :: d_step {	/* folio_free_swap() */
		CACHED(f) && !SWAPPED(f) ->
		cache[POS(f)] = 0;
		cache[LAST(f)] = 0
	      }
	   fi;
	   folio_unlock(f);
	   d_step { f = 0; av = 0; aborted = false }
	od
}
#endif

#ifdef READAHEAD
/* swap_cluster_readahead() for an entry of somebody else: in the cache, not mapped */
proctype readahead()
{
	byte f;
#define UNREAD(a) (POS(a) == (a) && !cache[POS(a)] && SWAPS(POS(a)) && (FREE(POS(a)) || FREE(POS(a) + N)))

end:	do
	:: atomic {
		PICK(f, UNREAD);
		f = (FREE(f) -> f : f + N);
		cache[POS(f)] = f + 1;
		locked[f] = true
	   };
	   folio_unlock(f);
	   f = 0
	od
}
#endif

#ifdef MIGRATE
/* migrate_pages(): migrate_folio_unmap(), migrate_folio_move() */
proctype migrate()
{
	WALK_VARS;
	byte f, d, to, found;
	bit was_mapped;
#define MOVABLE(p) (LRU(p) && FREE(OTHER(p)) && (NR_PAGES(p) == 1 || FREE(OTHER(p) + 1)))

end:	do
	:: atomic {
		PICK(f, MOVABLE);
		d = OTHER(f);
		locked[f] = true;
		locked[d] = true;
		if
		:: NR_PAGES(f) == 2 -> large[d / N] = true
		:: else
		fi
	   };
	   d_step {	/* folio_get_anon_vma() */
		if
		:: MAPPED(f) ->
			av = mapping[f];
			MUST(live, !FREED(av));
			avref[av]++
		:: else
		fi
	   };
	   if
	   :: av && MAPPED(f) ->
		was_mapped = true;
		anon_vma_lock_read(av);
		rmap_walk(MIGRATE_FROM, f, f);
		MUST(walk, aborted || !MAPPED(f));
		rwsem[av]--
	   :: else
	   fi;
	   to = f;
	   if
	   :: d_step { !MAPPED(f) && !refs[f] -> frozen[f] = true };
		/* __folio_migrate_mapping(), __swap_cache_replace_folio() */
		index[d] = index[f];
		mapping[d] = mapping[f];
		d_step {
			if
			:: CACHED(f) ->
				cache[POS(f)] = d + 1;
				cache[LAST(f)] = d + NR_PAGES(f)
			:: else
			fi;
			frozen[f] = false
		};
		to = d
	   :: MAPPED(f) || refs[f]
	   fi;
	   aborted = false;
	   if
	   :: was_mapped ->
		/* remove_migration_ptes() */
		MUST(stable, mapping[to] == av);
		anon_vma_lock_read(av);
		rmap_walk(MIGRATE_TO, to, f);
		rwsem[av]--;
		MUST(walk, !ANY(MIGRATES, f))
	   :: else
	   fi;
	   folio_unlock(d);
	   d_step {
		if
		:: av -> avref[av]--
		:: else
		fi
	   };
	   folio_unlock(f);
	   d_step { f = 0; d = 0; to = 0; av = 0; was_mapped = false }
	od
}
#endif

#ifdef SPLIT
/* The deferred split shrinker, for example */
proctype split()
{
	WALK_VARS;
	byte f, found;
	bit done;
#define SPLITTABLE(p) (FOLIO(p) == (p) && NR_PAGES(p) == 2 && !locked[p] && MAPPED(p))

end:	do
	:: atomic { PICK(f, SPLITTABLE); locked[f] = true };
	   folio_split(0);
	   folio_unlock(f);
	   d_step { f = 0; done = false }
	od
}
#endif

#ifdef GUP
/* gup_fast_pte_range(), by a thread of the mover's process: no lock at all */
proctype gup_fast()
{
	byte p, f;

end:	do
	:: atomic {
		if
		:: pte[0] == present -> gup_pos = 0
#if N > 1
		:: pte[1] == present -> gup_pos = 1
#endif
#if N > 2
		:: pte[2] == present -> gup_pos = 2
#endif
		fi;
		p = page[gup_pos]
	   };
	   atomic {	/* try_grab_folio_fast() */
		f = FOLIO(p);
		if
		:: USED(f) && !frozen[f] ->
			refs[f]++;
			gup_page = p + 1;
			if
			:: gup_pin = true
			:: gup_pin = false
			fi
		:: else -> f = NOTHING
		fi
	   };
	   if
	   :: f != NOTHING ->
		if
		:: pte[gup_pos] == present && page[gup_pos] == p && (excl[gup_pos] || !gup_pin) ->
			gup_sure = true;
			gup_sure = false	/* at some time */
		:: else
		fi;
		d_step { gup_page = 0; gup_pin = false; refs[FOLIO(p)]--; f = FOLIO(p); reap(f) }
	   :: else
	   fi;
	   d_step { gup_pos = 0; p = 0; f = 0 }
	od
}
#endif

#if defined(CHILD) || defined(SIBLING)
/* A child forked before, or another VMA of the process: faults, unmaps, exits. */
proctype other()
{
	byte a, f;

	do
	:: a < OTHER_END ->
		if
		:: pte[N + a] == swap -> swap_in(N + a, OTHER_VMA)
		:: pte[N + a] != none -> zap(N + a)
		:: a = (a + 1) % OTHER_END
		fi
	:: break
	od;
	exit_mm(OTHER_VMA, 2)
}
#endif

#ifdef TRUNCATE
/* unmap_mapping_range(), with a private mapping of a file: needs no mmap lock */
proctype truncate()
{
	byte a, f;

	do
	:: a < N ->
		if
		:: zap(a)
		:: skip
		fi;
		a++
	:: else -> break
	od
}
#endif

