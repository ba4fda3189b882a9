// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Arguments of mremap() that make no sense, and limits that are reached exactly. For
 * each call the manual page says by which errors it may fail; with the flags that
 * relocate it fails as it does without; and nothing has changed then.
 */
#include "../guest/relocate.h"

#include <sys/resource.h>

/*
 *	  SRC-1   SRC            SRC+4   SRC+5       DST-1  DST         DST+8
 *	    |      |   4 pages     |  1    |           |  1  |  8 pages   |
 *	    | hole |  read, write  | read  |   hole    | read| read,write | hole
 */
#define SRC (arena + 64 * PAGE)
#define DST (arena + 128 * PAGE)
#define HOLE (arena + 256 * PAGE)

#define SRC_PAGES 4UL
#define DST_PAGES 8UL

static char before[1 << 16];

/* Mappings below the program's own, which are the arena's. */
static void arena_maps(char *to, size_t size)
{
	const char *p = read_file("/proc/self/maps");
	size_t n = 0;

	while (strtoul(p, NULL, 16) < (unsigned long)arena + ARENA) {
		const size_t line = (size_t)(strchr(p, '\n') + 1 - p);

		if (n + line >= size)
			ck_abort_msg("too many mappings");
		memcpy(to + n, p, line);
		n += line;
		p += line;
	}
	to[n] = 0;
}

static void clear(void)
{
	assert_quietly(!munmap(arena, ARENA));
}

static void set_up(void)
{
	clear();
	map_filled(SRC, SRC_PAGES * PAGE, 1);
	map_filled(SRC + SRC_PAGES * PAGE, PAGE, 2);
	assert_quietly(!mprotect(SRC + SRC_PAGES * PAGE, PAGE, PROT_READ));
	map_filled(DST - PAGE, PAGE, 4);
	assert_quietly(!mprotect(DST - PAGE, PAGE, PROT_READ));
	map_filled(DST, DST_PAGES * PAGE, 3);
	arena_maps(before, sizeof(before));
}

static void check_unchanged(const char *what)
{
	static char after[sizeof(before)];

	arena_maps(after, sizeof(after));
	if (strcmp(before, after))
		ck_abort_msg("%s: mappings were\n%snow they are\n%s", what, before,
			     after);
	check(SRC, SRC_PAGES * PAGE, 1);
	check(SRC + SRC_PAGES * PAGE, PAGE, 2);
	check(DST, DST_PAGES * PAGE, 3);
}

/* ---- all combinations ------------------------------------------------------- */

struct call {
	unsigned long addr, old_len, new_len, flags, new_addr;
};

static const char *call_text(const struct call *c)
{
	static char text[200];

	snprintf(text, sizeof(text), "mremap(%#lx, %#lx, %#lx, %#lx, %#lx)", c->addr,
		 c->old_len, c->new_len, c->flags, c->new_addr);
	return text;
}

#define USER_END 0x7ffffffff000UL

enum { MAY_EINVAL = 1, MAY_EFAULT = 2, MAY_ENOMEM = 4, MAY_SUCCEED = 8 };

/* By which errors the call may fail, following the ERRORS of mremap(2). */
static int possible(const struct call *c)
{
	const unsigned long old = (c->old_len + PAGE - 1) & -PAGE;
	const unsigned long new = (c->new_len + PAGE - 1) & -PAGE;
	const unsigned long addr = c->addr, to = c->new_addr;
	const unsigned long src = (unsigned long)SRC, dst = (unsigned long)DST;
	const bool maymove = c->flags & MREMAP_MAYMOVE;
	const bool placed = c->flags & (MREMAP_FIXED | MREMAP_DONTUNMAP);
	unsigned long end = 0, span = old < new ? old : new;
	int may = 0;

	if (c->flags & ~31UL || addr % PAGE || !new || new > USER_END)
		may |= MAY_EINVAL;
	if (c->flags & 30 && !maymove)
		may |= MAY_EINVAL;
	if (c->flags & MREMAP_DONTUNMAP && old != new)
		may |= MAY_EINVAL;
	if (placed && (to % PAGE || to > USER_END - new ||
		       (addr < to + new && to < addr + old)))
		may |= MAY_EINVAL;

	/* The mapping that has the address */
	if (addr >= src && addr < src + SRC_PAGES * PAGE)
		end = src + SRC_PAGES * PAGE;
	else if (addr >= src && addr < src + (SRC_PAGES + 1) * PAGE)
		end = src + (SRC_PAGES + 1) * PAGE;
	else if (addr >= dst - PAGE && addr < dst)
		end = dst;
	else if (addr >= dst && addr < dst + DST_PAGES * PAGE)
		end = dst + DST_PAGES * PAGE;
	if (!end)
		return may | MAY_EFAULT;
	/* None of these is shared. */
	if (!old && (placed || new > old))
		may |= MAY_EINVAL;
	/* A range to be cut off that ends nowhere: it is no range. */
	if (new < old && (old > USER_END || addr + old > USER_END))
		may |= MAY_EINVAL;
	if (span > end - addr) {
		/* Of several mappings that move, gaps between do not matter. */
		if (c->flags & MREMAP_FIXED && old == new)
			return may ? may : MAY_SUCCEED;
		/* What neither moves nor changes, is not looked at. */
		return may | MAY_EFAULT | (!placed && new <= old && !may ? MAY_SUCCEED : 0);
	}
	if (!placed && new > old) {
		const bool in_place = addr + old == end && new < (1UL << 30) &&
				      end != src + SRC_PAGES * PAGE && end != dst;

		if (!maymove && !in_place)
			may |= MAY_ENOMEM;
	}
	/* More than there is memory */
	if (new > old && new >= 1UL << 40)
		may |= MAY_ENOMEM;
	return may ? may : MAY_SUCCEED;
}

static long do_call(const struct call *c)
{
	return syscall(SYS_mremap, c->addr, c->old_len, c->new_len, c->flags, c->new_addr);
}

static int may_of(int err)
{
	return !err ? MAY_SUCCEED : err == EINVAL ? MAY_EINVAL : err == EFAULT ? MAY_EFAULT :
	       err == ENOMEM ? MAY_ENOMEM : 0;
}

static long calls, successes;

/* The arguments with all flags; the relocating ones fail as those without. */
static void try_flags(struct call *c, unsigned long flags)
{
	static long unchecked;
	int err[4];

	for (unsigned long with = 0; with < 4; with++) {
		const unsigned long relocate = with << 3;
		long ret;

		c->flags = flags | relocate;
		errno = 0;
		ret = do_call(c);
		err[with] = ret == -1 ? errno : 0;
		calls++;
		if (!(may_of(err[with]) & possible(c)))
			ck_abort_msg("%s: %s, but the page allows %#x", call_text(c),
				     err[with] ? strerror(err[with]) : "success",
				     (unsigned int)possible(c));
		if (flags & MREMAP_MAYMOVE && err[with] != err[0])
			ck_abort_msg("%s: %s, but without the flags %s", call_text(c),
				     strerror(err[with]), strerror(err[0]));
		if (err[with]) {
			/* To look after every call would take hours. */
			if (++unchecked % 512 == 0)
				check_unchanged(call_text(c));
			continue;
		}
		successes++;
		if ((unsigned long)ret < (unsigned long)arena ||
		    (unsigned long)ret >= (unsigned long)arena + ARENA)
			munmap((void *)ret, c->new_len);
		set_up();
	}
}

START_TEST(combinations)
{
	static const unsigned long lens[] = {
		0, 1, PAGE, 2 * PAGE, 3 * PAGE + 1, 4 * PAGE, 5 * PAGE, 1UL << 40,
		USER_END + 1, 1UL << 62, 0xffff888000000000UL, -PAGE, -1UL,
	};
	const unsigned long src = (unsigned long)SRC, dst = (unsigned long)DST;
	const unsigned long addrs[] = {
		src, src + PAGE, src + 1, src + SRC_PAGES * PAGE, src - PAGE,
		dst + 4 * PAGE, 0, (unsigned long)HOLE, USER_END, 1UL << 62,
		0xffff888000000000UL, -PAGE, -1UL,
	};
	const unsigned long tos[] = {
		dst, dst + 1, (unsigned long)HOLE, src, src + PAGE, src - PAGE,
		src - 4 * PAGE, USER_END, USER_END - PAGE + 1, 1UL << 62,
		0xffff888000000000UL, -PAGE, -1UL,
	};
	struct call c;

	set_up();
	/* A part of the addresses in each round of the loop test */
	c.addr = addrs[_i];
	for (size_t i = 0; i < ARRAY_SIZE(lens); i++)
		for (size_t j = 0; j < ARRAY_SIZE(lens); j++)
			for (size_t k = 0; k < ARRAY_SIZE(tos); k++)
				for (unsigned long flags = 0; flags < 8; flags++) {
					c.old_len = lens[i];
					c.new_len = lens[j];
					c.new_addr = tos[k];
					/* It would unmap what is at its place. */
					if (flags & MREMAP_FIXED && lens[j] == 1UL << 40)
						continue;
					/*
					 * Any kernel unmaps the destination first
					 * and finds out then that it cannot cut off
					 * so much.
					 */
					if (flags & MREMAP_FIXED && lens[i] > USER_END &&
					    lens[j] < USER_END)
						continue;
					/* Reaches over all we have. */
					if (lens[i] == 1UL << 40)
						continue;
					if (kernel_is_slow() && (i + j + k) % 3)
						continue;
					try_flags(&c, flags);
				}
	check_unchanged("at the end");
	printf("# %ld calls, %ld of them succeeded\n", calls, successes);
}
END_TEST

/* Every bit that is no flag, by itself and with all that are. */
START_TEST(unknown_flags)
{
	struct call c = {
		(unsigned long)SRC, SRC_PAGES * PAGE, SRC_PAGES * PAGE, 0,
		(unsigned long)DST,
	};

	set_up();
	for (int bit = 5; bit < 64; bit++)
		for (unsigned long flags = 0; flags < 32; flags++) {
			c.flags = flags | 1UL << bit;
			if (do_call(&c) != -1 || errno != EINVAL)
				ck_abort_msg("%s", call_text(&c));
		}
	check_unchanged("unknown flags");
}
END_TEST

/* To every place that overlaps, and to those beside, which do not. */
START_TEST(overlapping)
{
	struct call c = { .addr = (unsigned long)SRC };

	for (unsigned long len = PAGE; len <= SRC_PAGES * PAGE; len += PAGE)
		for (long off = -5; off <= 5; off++) {
			const long pages = (long)(len / PAGE);
			const bool overlaps = off > -pages && off < pages;

			set_up();
			c.old_len = c.new_len = len;
			c.new_addr = c.addr + (unsigned long)off * PAGE;
			for (unsigned long flags = 3; flags < 32; flags += 4) {
				long ret;

				c.flags = flags;
				errno = 0;
				ret = do_call(&c);
				if (overlaps ? ret != -1 || errno != EINVAL : ret == -1)
					ck_abort_msg("%s: %s", call_text(&c),
						     strerror(errno));
				if (!overlaps) {
					check((char *)ret, len, 1);
					set_up();
				}
			}
			if (overlaps)
				check_unchanged("overlapping");
		}
}
END_TEST

/* ---- sealed ------------------------------------------------------------------- */

#define SYS_MSEAL 462

static void fails_with(int err, struct call *c, const char *what)
{
	for (unsigned long relocate = 0; relocate < 32; relocate += 8) {
		struct call with = *c;

		with.flags |= relocate;
		errno = 0;
		if (do_call(&with) != -1 || errno != err)
			ck_abort_msg("%s: %s: %s", what, call_text(&with), strerror(errno));
		check_unchanged(what);
	}
}

/* In a process of its own each: what is sealed stays. */
START_TEST(sealed_source)
{
	struct call c = {
		(unsigned long)SRC, SRC_PAGES * PAGE, SRC_PAGES * PAGE, 3,
		(unsigned long)HOLE,
	};

	set_up();
	assert_quietly(!syscall(SYS_MSEAL, SRC, SRC_PAGES * PAGE, 0UL));
	fails_with(EPERM, &c, "sealed");
	c.new_addr = (unsigned long)DST;
	fails_with(EPERM, &c, "sealed, to what is mapped");
	c.new_len = 8 * PAGE;
	fails_with(EPERM, &c, "sealed, larger");
	c.flags = 1;
	fails_with(EPERM, &c, "sealed, grows");
	c.new_len = PAGE;
	fails_with(EPERM, &c, "sealed, shrinks");
	c.new_len = SRC_PAGES * PAGE;
	c.flags = 5;
	fails_with(EPERM, &c, "sealed, source stays");
}
END_TEST

START_TEST(sealed_destination)
{
	struct call c = {
		(unsigned long)SRC, SRC_PAGES * PAGE, SRC_PAGES * PAGE, 3,
		(unsigned long)DST,
	};

	set_up();
	assert_quietly(!syscall(SYS_MSEAL, DST + 2 * PAGE, PAGE, 0UL));
	arena_maps(before, sizeof(before));
	fails_with(EPERM, &c, "to a sealed place");
	c.flags = 7;
	fails_with(EPERM, &c, "to a sealed place, source stays");
}
END_TEST

/* Of several mappings the second is sealed: with MUST none has moved. */
START_TEST(sealed_second)
{
	struct call c = {
		(unsigned long)SRC, 5 * PAGE, 5 * PAGE, 3 | MUST, (unsigned long)HOLE,
	};

	set_up();
	assert_quietly(!syscall(SYS_MSEAL, SRC + SRC_PAGES * PAGE, PAGE, 0UL));
	errno = 0;
	ck_assert_int_eq(do_call(&c), -1);
	ck_assert_int_eq(errno, EPERM);
	check_unchanged("second is sealed");
}
END_TEST

/* ---- limits --------------------------------------------------------------------- */

static void set_limit(int resource, rlim_t soft)
{
	struct rlimit limit;

	assert_quietly(!getrlimit(resource, &limit));
	limit.rlim_cur = soft;
	assert_quietly(!setrlimit(resource, &limit));
}

/* Locked memory may not grow, but move. */
START_TEST(limit_of_locked)
{
	struct call c = {
		(unsigned long)SRC, SRC_PAGES * PAGE, (SRC_PAGES + 1) * PAGE, 1, 0,
	};

	set_up();
	assert_quietly(!mlock(SRC, SRC_PAGES * PAGE));
	set_limit(RLIMIT_MEMLOCK, SRC_PAGES * PAGE);
	assert_quietly(!setresuid(65534, 65534, 65534));
	fails_with(EAGAIN, &c, "grows");
	c.flags = 3;
	c.new_addr = (unsigned long)DST;
	fails_with(EAGAIN, &c, "grows and moves");
	for (unsigned long relocate = 0; relocate < 32; relocate += 8) {
		move_to(SRC, SRC_PAGES * PAGE, HOLE, (int)relocate);
		move_to(HOLE, SRC_PAGES * PAGE, SRC, (int)relocate);
	}
	check_unchanged("moved to and fro");
}
END_TEST

/* No more address space. */
START_TEST(limit_of_address_space)
{
	struct call c = {
		(unsigned long)SRC, SRC_PAGES * PAGE, (SRC_PAGES + 1) * PAGE, 1, 0,
	};

	set_up();
	set_limit(RLIMIT_AS, (rlim_t)file_number("/proc/self/status", "VmSize") << 10);
	fails_with(ENOMEM, &c, "grows");
	c.new_addr = (unsigned long)HOLE;
	c.flags = 3;
	fails_with(ENOMEM, &c, "grows and moves");
	c.new_len = c.old_len;
	c.flags = 7;
	fails_with(ENOMEM, &c, "source stays");
	for (unsigned long relocate = 0; relocate < 32; relocate += 8) {
		move_to(SRC, SRC_PAGES * PAGE, HOLE, (int)relocate);
		move_to(HOLE, SRC_PAGES * PAGE, SRC, (int)relocate);
	}
	check_unchanged("moved to and fro");
}
END_TEST

static int all_mappings(void)
{
	const char *p = read_file("/proc/self/maps");
	int n = 0;

	for (; *p; p++)
		n += *p == '\n';
	return n;
}

/*
 * With so many mappings less than there may be: what fails without the flags, fails
 * with them, and nothing has changed; what succeeds succeeds.
 */
START_TEST(limit_of_mappings)
{
	static const struct call kinds[] = {
		/* whole, in part, its middle; to a hole, over something's middle */
		{ 0, 4 * PAGE, 4 * PAGE, 3, 0 }, { 0, PAGE, PAGE, 3, 0 },
		{ PAGE, PAGE, PAGE, 3, 0 }, { 0, 4 * PAGE, 4 * PAGE, 3, 1 },
		{ PAGE, PAGE, PAGE, 3, 1 }, { PAGE, PAGE, PAGE, 7, 0 },
		{ PAGE, PAGE, 2 * PAGE, 1, 0 },
	};
	const struct call *kind = &kinds[_i];
	int failed = 0, succeeded = 0;
	char was[32], text[32];

	snprintf(was, sizeof(was), "%.20s", read_file("/proc/sys/vm/max_map_count"));
	for (int spare = 0; spare < 9; spare++) {
		int err[4];

		set_up();
		/* [vsyscall] is in the list, but is not counted. */
		snprintf(text, sizeof(text), "%d", all_mappings() - 1 + spare);
		for (unsigned long with = 0; with < 4; with++) {
			struct call c = *kind;
			long ret;

			c.addr += (unsigned long)SRC;
			c.new_addr = (unsigned long)(kind->new_addr ? DST + PAGE : HOLE);
			c.flags |= with << 3;
			write_file("/proc/sys/vm/max_map_count", text);
			errno = 0;
			ret = do_call(&c);
			err[with] = ret == -1 ? errno : 0;
			write_file("/proc/sys/vm/max_map_count", was);
			if (err[with] != err[0] || (err[with] && err[with] != ENOMEM))
				ck_abort_msg("%d spare: %s: %s, without the flags %s",
					     spare, call_text(&c), strerror(err[with]),
					     strerror(err[0]));
			failed += !!err[with];
			succeeded += !err[with];
			if (err[with])
				check_unchanged("limit of mappings");
			else if (ret != (long)c.new_addr)
				munmap((void *)ret, c.new_len);
			if (!err[with])
				set_up();
		}
	}
	ck_assert_int_gt(failed, 0);
	ck_assert_int_gt(succeeded, 0);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("badinput");
	TCase *tc = add_case(s, "arguments");

	tcase_add_loop_test(tc, combinations, 0, 13);
	tcase_add_test(tc, unknown_flags);
	tcase_add_test(tc, overlapping);
	tc = add_case(s, "sealed");
	tcase_add_test(tc, sealed_source);
	tcase_add_test(tc, sealed_destination);
	tcase_add_test(tc, sealed_second);
	tc = add_case(s, "limits");
	tcase_add_test(tc, limit_of_locked);
	tcase_add_test(tc, limit_of_address_space);
	tcase_add_loop_test(tc, limit_of_mappings, 0, 7);

	return run_guest_suite(s);
}
