#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# libmremap_compat_preload.so: asks for relocation, or copies in realloc(), if it is
# told to, and otherwise cannot be noticed.  RELOCATE_EXPECT=supported or =unsupported says
# whether the kernel must be found to have the flags.

set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
# shellcheck source=tests/tap.sh
. "$here/../tap.sh"

cc=${CC:-gcc}
src=$top/compat
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
lib=${RELOCATE_BUILD:-build}/compat
[[ $lib == /* ]] || lib=$PWD/$lib
cd "$tmp"

unset "${!MREMAP_COMPAT_@}" LD_PRELOAD
strict=(-std=gnu11 -O2 -Wall -Wextra -Werror)
preload=$lib/libmremap_compat_preload.so
if [[ ! -e $preload ]]; then
	diag "no $preload, building one"
	preload=$tmp/libmremap_compat_preload.so
	tap_run 'the library builds' "$cc" "${strict[@]}" -std=c11 -fPIC \
		-fvisibility=hidden -I"$src" -shared -Wl,-z,defs \
		-Wl,--version-script="$src/preload/preload.map" \
		-o "$preload" "$src/preload/preload.c" "$src"/*.c -ldl
fi

# --- names --------------------------------------------------------------------

tap_is "$(nm -D --defined-only "$preload" | awk '{ print $3 }' | paste -sd ' ')" 'mremap realloc' 'it exports two functions'
tap_is "$(objdump -p "$preload" | awk '$1 == "NEEDED" && /mremap_compat/')" '' \
	'it does not need the other library'
tap_is "$(nm -D --undefined-only "$preload" | awk '$2 ~ /mremap/')" '' 'nor any mremap but its own'
tap_is "$(objdump -p "$preload" | awk '$1 == "TEXTREL"')" '' 'no relocations in its code'

# --- mapping counts -----------------------------------------------------------

# merge [set|unset]: move a written page next to another, print how many mappings
# the two are.  With -DEARLY in a constructor.
cat >merge.c <<'EOF2'
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

static char *map(size_t size)
{
	char *p = mmap(NULL, size, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		exit(125);
	return p;
}

static int merge(void)
{
	const size_t page = (size_t)sysconf(_SC_PAGESIZE);
	char *p = map(4 * page), *q = map(4 * page), line[512];
	FILE *maps;
	int count = 0;

	/* Neither end may touch what is there. */
	munmap(p, page);
	munmap(p + 2 * page, 2 * page);
	munmap(q, page);
	munmap(q + 2 * page, 2 * page);
	p += page;
	q += page;
	*p = 'p';
	*q = 'q';
	errno = 4321;
	if (mremap(q, page, page, MREMAP_MAYMOVE | MREMAP_FIXED, p + page) !=
	    p + page || errno != 4321 || *p != 'p' || p[page] != 'q')
		exit(124);
	maps = fopen("/proc/self/maps", "re");
	while (maps && fgets(line, sizeof(line), maps)) {
		unsigned long start, end;

		if (sscanf(line, "%lx-%lx", &start, &end) == 2 &&
		    start < (unsigned long)p + 2 * page &&
		    (unsigned long)p < end)
			count++;
	}
	fclose(maps);
	return count;
}

#ifdef EARLY
__attribute__((constructor)) static void early(void)
{
	printf("early %d\n", merge());
}
#else
int main(int argc, char **argv)
{
	if (argc > 1 && !strcmp(argv[1], "set"))
		setenv("MREMAP_COMPAT_PRELOAD", "relocate", 1);
	if (argc > 1 && !strcmp(argv[1], "unset"))
		unsetenv("MREMAP_COMPAT_PRELOAD");
	if (argc > 1 && !strcmp(argv[1], "kernel")) {
		const size_t page = (size_t)sysconf(_SC_PAGESIZE);
		char *p = map(page);

		puts((char *)syscall(SYS_mremap, p, page, page,
				     MREMAP_MAYMOVE | 8, 0) == p
		     ? "supported" : "unsupported");
		return 0;
	}
	printf("%d\n", merge());
	return 0;
}
#endif
EOF2
tap_run 'merge.c builds' "$cc" "${strict[@]}" -o merge merge.c
tap_run 'and as a library' "$cc" "${strict[@]}" -DEARLY -fPIC -shared -o early.so merge.c

kernel=$(./merge kernel)
tap_is "$kernel" "${RELOCATE_EXPECT:-$kernel}" 'the kernel is as expected'
if [[ $kernel == supported ]]; then merged=1; else merged=2; fi

capture ./merge
tap_is "$status $out" $'0 2\n' 'without the library: two mappings'
capture env LD_PRELOAD="$preload" ./merge
tap_is "$status $out" $'0 2\n' 'off by default'
capture env LD_PRELOAD="$preload" MREMAP_COMPAT_PRELOAD= ./merge
tap_is "$status $out$err" $'0 2\n' 'off with MREMAP_COMPAT_PRELOAD='
ignored='libmremap_compat_preload.so: MREMAP_COMPAT_PRELOAD is ignored: its words are relocate, realloc (with glibc), report'
for value in 1 all RELOCATE 'relocate ' relocated ',' 'relocate,' ',relocate' relocate,x relocate,,report; do
	capture env LD_PRELOAD="$preload" MREMAP_COMPAT_PRELOAD="$value" ./merge
	tap_is "$status $out$err" $'0 2\n'"$ignored"$'\n' "off with MREMAP_COMPAT_PRELOAD=$value, which is reported once"
done
# closed COMMAND...: without standard error
# shellcheck disable=SC2317 # through capture
closed() { "$@" 2>&-; }
capture closed env LD_PRELOAD="$preload" MREMAP_COMPAT_PRELOAD=nonsense ./merge
tap_is "$status $out" $'0 2\n' 'nor does it matter where there is nobody to report it to'
relocating=(env LD_PRELOAD="$preload" MREMAP_COMPAT_PRELOAD=relocate)
capture "${relocating[@]}" ./merge
tap_is "$status $out$err" "0 $merged"$'\n' "on: $merged"
capture env LD_PRELOAD="$preload" MREMAP_COMPAT_PRELOAD=realloc,relocate ./merge
tap_is "$status $out$err" "0 $merged"$'\n' 'on, with another word before it'
capture env LD_PRELOAD="$preload" MREMAP_COMPAT_PRELOAD=realloc ./merge
tap_is "$status $out$err" $'0 2\n' 'off, if only realloc() is to copy'
capture "${relocating[@]}" ./merge unset
tap_is "$status $out" "0 $merged"$'\n' 'on, though the program clears the variable'
capture env LD_PRELOAD="$preload" ./merge set
tap_is "$status $out" $'0 2\n' 'off, though the program sets the variable'
capture "${relocating[@]}" MREMAP_COMPAT_METHODS=plain ./merge
tap_is "$status $out" $'0 2\n' 'the kernel method switched off'
for list in "$preload $tmp/early.so" "$tmp/early.so $preload"; do
	capture env LD_PRELOAD="$list" MREMAP_COMPAT_PRELOAD=relocate ./merge
	tap_is "$status $out" "0 early $merged"$'\n'"$merged"$'\n' \
		"in constructors, ${list##*/} last"
done

# --- a kernel that is played --------------------------------------------------

# What has one of the flags traps; the rest goes to the kernel.
cat >played.c <<'EOF2'
#define _GNU_SOURCE
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#if defined(__x86_64__)
# define RESULT REG_RAX
# define OLD REG_RDI
# define OLD_SIZE REG_RSI
# define NEW_SIZE REG_RDX
# define FLAGS REG_R10
# define NEW REG_R8
#endif

static size_t page;
/* An errno for all calls but probes; negative: for these, too, after a call. */
static volatile int refusal;
static volatile int probes, asked;
static volatile long asked_flags;

/* Probes are calls that change nothing, with both flags. */
static void answer(int sig, siginfo_t *info, void *context)
{
#ifdef RESULT
	greg_t *r = ((ucontext_t *)context)->uc_mcontext.gregs;

	if ((r[FLAGS] & 24) == 24) {
		probes++;
		r[RESULT] = refusal < 0 && asked ? refusal :
			    r[FLAGS] & ~31 ? -EINVAL : r[OLD];
	} else {
		asked++;
		asked_flags = r[FLAGS];
		if (refusal) {
			r[RESULT] = -abs(refusal);
			return;
		}
		r[RESULT] = syscall(SYS_mremap, r[OLD], r[OLD_SIZE],
				    r[NEW_SIZE], r[FLAGS] & 7, r[NEW]);
		if (r[RESULT] == -1)
			r[RESULT] = -errno;
	}
#else
	(void)context;
#endif
	(void)sig;
	(void)info;
}

static char *map(size_t pages)
{
	char *p = mmap(NULL, pages * page, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	memset(p, 1, pages * page);
	return p;
}

/* One call, on the memory given, and what came of it. */
static void call(const char *name, char *p, size_t old, size_t new, int flags,
		 char *to)
{
	const int before = asked;
	char *q;

	asked_flags = 0;
	errno = 4321;
	q = mremap(p, old, new, flags, to);
	printf("%s: %s, asked %d with %ld, %s\n", name,
	       q == MAP_FAILED ? "failed" : q == p ? "stayed" : "moved",
	       asked - before, asked_flags,
	       errno == 4321 ? "errno kept" : strerrorname_np(errno));
}

int main(int argc, char **argv)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
			 offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_mremap, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
			 offsetof(struct seccomp_data, args[3])),
		BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, 8 | 16, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { sizeof(code) / sizeof(code[0]), code };
	struct sigaction action = { .sa_sigaction = answer,
				    .sa_flags = SA_SIGINFO };
	char *p;

#ifndef RESULT
	return 77;
#endif
	page = (size_t)sysconf(_SC_PAGESIZE);
	/* Too late. */
	if (argc > 2)
		setenv("MREMAP_COMPAT_PRELOAD", argv[2], 1);
	if (sigaction(SIGSYS, &action, NULL) ||
	    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
	    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
		return 125;
	if (argc > 1)
		refusal = atoi(argv[1]);

	call("fixed", map(1), page, page, MREMAP_MAYMOVE | MREMAP_FIXED, map(1));
	call("dontunmap", map(1), page, page,
	     MREMAP_MAYMOVE | MREMAP_DONTUNMAP, NULL);
	p = map(3);
	munmap(p + page, page);
	call("grow", p, page, page, MREMAP_MAYMOVE, NULL);
	call("shrink", map(2), 2 * page, page, MREMAP_MAYMOVE, NULL);
	call("stay", map(2), 2 * page, page, 0, NULL);
	call("no room", p, page, 2 * page + page, 0, NULL);
	call("unmapped", p + page, page, page, MREMAP_MAYMOVE, NULL);
	call("unaligned", p + 1, page, page, MREMAP_MAYMOVE, NULL);
	call("own flag", map(1), page, page, MREMAP_MAYMOVE | 8, NULL);
	call("unknown flag", map(1), page, page, MREMAP_MAYMOVE | 32, NULL);
	call("fixed alone", map(1), page, page, MREMAP_FIXED, map(1));
	call("unknown flag, fixed", map(1), page, page,
	     MREMAP_MAYMOVE | MREMAP_FIXED | 64, map(1));
	printf("probed: %s\n", probes ? "yes" : "no");
	return 0;
}
EOF2
tap_run 'played.c builds' "$cc" "${strict[@]}" -o played played.c

off='fixed: moved, asked 0 with 0, errno kept
dontunmap: moved, asked 0 with 0, errno kept
grow: stayed, asked 0 with 0, errno kept
shrink: stayed, asked 0 with 0, errno kept
stay: stayed, asked 0 with 0, errno kept
no room: failed, asked 0 with 0, ENOMEM
unmapped: failed, asked 0 with 0, EFAULT
unaligned: failed, asked 0 with 0, EINVAL
own flag: stayed, asked 1 with 9, errno kept
unknown flag: failed, asked 0 with 0, EINVAL
fixed alone: failed, asked 0 with 0, EINVAL
unknown flag, fixed: failed, asked 0 with 0, EINVAL
probed: no
'
on='fixed: moved, asked 1 with 11, errno kept
dontunmap: moved, asked 1 with 13, errno kept
grow: stayed, asked 1 with 9, errno kept
shrink: stayed, asked 1 with 9, errno kept
stay: stayed, asked 0 with 0, errno kept
no room: failed, asked 0 with 0, ENOMEM
unmapped: failed, asked 1 with 9, EFAULT
unaligned: failed, asked 1 with 9, EINVAL
own flag: stayed, asked 1 with 9, errno kept
unknown flag: failed, asked 0 with 0, EINVAL
fixed alone: failed, asked 0 with 0, EINVAL
unknown flag, fixed: failed, asked 0 with 0, EINVAL
probed: yes
'
capture env LD_PRELOAD="$preload" ./played
if ((status == 77)); then
	skip 'a kernel that is played' 'not written for this architecture'
else
	tap_is "$out" "$off" 'off: no call is changed, none is added'
	capture env LD_PRELOAD="$preload" MREMAP_COMPAT_PRELOAD=relocate ./played
	tap_is "$out" "$on" 'on: what may move asks for relocation'
	for value in '' 1 all RELOCATE 'relocate ' relocated; do
		capture env LD_PRELOAD="$preload" MREMAP_COMPAT_PRELOAD="$value" ./played
		tap_is "$out" "$off" "off with MREMAP_COMPAT_PRELOAD=$value: no call is changed"
	done
	capture env LD_PRELOAD="$preload" ./played 0 relocate
	tap_is "$out" "$off" 'off, though the program sets the variable at its start'
	capture env LD_PRELOAD="$preload" MREMAP_COMPAT_PRELOAD=relocate ./played 0 off
	tap_is "$out" "$on" 'on, though the program changes the variable at its start'
	results() { sed '/^own flag/d; s/asked [0-9] with [0-9]*, //' <<<"$1"; }
	# No memory for the relocation: the program's own calls are made.
	capture env LD_PRELOAD="$preload" MREMAP_COMPAT_PRELOAD=relocate ./played 12
	tap_is "$(results "$out")" "$(results "$on")" 'relocation fails for want of memory: the calls do not'
	tap_is "$(grep '^own flag' <<<"$out")" 'own flag: failed, asked 1 with 9, ENOMEM' \
		'but one that asks for it itself does'
	# The flags are forbidden after the library has found that they work.
	for error in 1 22 38; do
		capture env LD_PRELOAD="$preload" MREMAP_COMPAT_PRELOAD=relocate ./played -$error
		tap_is "$(results "$out")" "$(results "$on")" "the flags are refused later, error $error: the calls are not"
		tap_is "$(grep -c '^[^o].*asked 1' <<<"$out")" 1 "and none asks again, error $error"
	done
	# Errors that are the call's.
	for error in EFAULT=14 EAGAIN=11 EINVAL=22; do
		capture env LD_PRELOAD="$preload" MREMAP_COMPAT_PRELOAD=relocate ./played "${error#*=}"
		tap_is "$(grep ^fixed: <<<"$out")" "fixed: failed, asked 1 with 11, ${error%=*}" \
			"${error%=*} is passed on, and the call not repeated"
	done
fi

# --- a matrix of calls --------------------------------------------------------

# matrix raw|libc MASK: print what comes of calls with flags within the mask.
cat >matrix.c <<'EOF2'
#define _GNU_SOURCE
#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define ROOM 64		/* pages around the memory that is used */
#define COUNT(a) (sizeof(a) / sizeof(*(a)))

enum kind { WRITTEN, EMPTY, SHARED, TWO_KINDS, HOLE, KINDS };

int main(int argc, char **argv)
{
	const size_t page = (size_t)sysconf(_SC_PAGESIZE);
	const size_t old_sizes[] = { 0, 1, page, 4 * page, 5 * page,
				     SIZE_MAX - page, SIZE_MAX };
	const size_t new_sizes[] = { 0, 1, page, 2 * page, 4 * page - 1,
				     7 * page, SIZE_MAX / 2 + 1, SIZE_MAX };
	const int flags[] = { 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 13, 16, 17, 19,
			      25, 27, 32, 33, 35, 37, 256 | 1, 1 << 30,
			      INT_MIN, INT_MIN | 1, INT_MIN | 3, -1 };
	const bool raw = argc > 1 && !strcmp(argv[1], "raw");
	const int mask = argc > 2 ? atoi(argv[2]) : -1;
	int fds[2];

	if (pipe(fds))
		return 125;
	for (enum kind kind = 0; kind < KINDS; kind++)
	for (size_t offset = 0; offset < 2; offset++)
	for (size_t o = 0; o < COUNT(old_sizes); o++)
	for (size_t n = 0; n < COUNT(new_sizes); n++)
	for (size_t f = 0; f < COUNT(flags); f++)
	for (int to = 0; to < 4; to++) {
		char *room, *source, *target, *result, *at;
		char byte = '-';
		int err;

		if (flags[f] & ~mask && flags[f] != -1)
			continue;
		room = mmap(NULL, ROOM * page, PROT_NONE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		if (room == MAP_FAILED)
			return 125;
		source = room + 16 * page;
		if (mmap(source, 4 * page, PROT_READ | PROT_WRITE, MAP_FIXED |
			 MAP_ANONYMOUS |
			 (kind == SHARED ? MAP_SHARED : MAP_PRIVATE), -1, 0) !=
		    source)
			return 125;
		if (kind != EMPTY)
			memset(source, 'x', 4 * page);
		if (kind == TWO_KINDS)
			mprotect(source + 2 * page, page, PROT_READ);
		if (kind == HOLE)
			munmap(source + page, page);
		target = to == 0 ? NULL :
			 to == 1 ? room + 32 * page :
			 to == 2 ? room + 32 * page + 8 :
				   source + 2 * page;
		source += offset * 8;

		errno = 4321;
		if (raw)
			result = (char *)syscall(SYS_mremap, source,
						 old_sizes[o], new_sizes[n],
						 flags[f], target);
		else
			result = mremap(source, old_sizes[o], new_sizes[n],
					flags[f], target);
		err = errno;
		at = result == MAP_FAILED ? room + 16 * page : result;
		/* One that cannot be read is no reason to die. */
		if (write(fds[1], at, 1) != 1 || read(fds[0], &byte, 1) != 1)
			byte = '-';
		printf("%d+%zu %zu %zu %#x to %d: %s %d %c\n", (int)kind,
		       offset, o, n, (unsigned int)flags[f], to,
		       result == MAP_FAILED ? "failed" :
		       result == source ? "stayed" :
		       result == target ? "there" : "moved", err,
		       byte ? byte : '0');
		if (result != MAP_FAILED &&
		    (result < room || result >= room + ROOM * page))
			munmap(result, new_sizes[n]);
		munmap(room, ROOM * page);
	}
	return 0;
}
EOF2
tap_run 'matrix.c builds' "$cc" "${strict[@]}" -o matrix matrix.c

same() { # NAME FILE FILE
	local lines
	lines=$(wc -l <"$2")
	if ((lines > 1000)) && cmp -s "$2" "$3"; then
		ok "$1, $lines calls"
	else
		not_ok "$1, $lines calls" "$(diff "$2" "$3" | head -n 20)"
	fi
}
# The C library's own has its word on flags that it does not know.
./matrix libc 7 >libc.txt
./matrix raw -1 >raw.txt
with() { LD_PRELOAD=$preload MREMAP_COMPAT_PRELOAD=$1 ./matrix libc "$2"; }
with '' 7 >off.txt
same 'off: as the C library' libc.txt off.txt
with relocate 7 >on.txt
same 'on: as the C library' libc.txt on.txt
with '' -1 >off.txt
same 'off: as the system call with any flags' raw.txt off.txt
with relocate -1 >on.txt
same 'on: as the system call with any flags' raw.txt on.txt
tap_is "$(cut -d: -f2 raw.txt | cut -d' ' -f2 | sort -u | tr '\n' ' ')" 'failed moved stayed there ' \
	'the calls have all kinds of results'

# --- realloc() that copies ------------------------------------------------------

copying=(env LD_PRELOAD="$preload" "MREMAP_COMPAT_PRELOAD=realloc,report")
# counts TEXT: calls, copies and bytes of the report
counts() {
	sed -n 's/.*realloc() in process [0-9]*: \([0-9]*\) calls .* grow, \([0-9]*\) of them by copying, \([0-9]*\) bytes; .*/\1 \2 \3/p' <<<"$1"
}

# blocks WHAT: blocks of 6,000 bytes, each with a mapping of its own, that grow.
cat >blocks.c <<'EOF2'
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define BLOCKS 300

static void fail(const char *what)
{
	fprintf(stderr, "wrong: %s\n", what);
	_exit(1);
}

static void *filled(void *p, size_t size, unsigned char byte)
{
	if (!p)
		fail("no memory");
	return memset(p, byte, size);
}

static void check(const void *p, size_t size, unsigned char byte)
{
	const unsigned char *b = p;

	for (size_t i = 0; i < size; i++) {
		if (b[i] != byte)
			fail("contents");
	}
}

/* By realloc(), which keeps errno, contents and alignment. */
static void *grown(void *p, size_t old, size_t size, unsigned char byte)
{
	errno = 4321;
	p = realloc(p, size);
	if (!p || errno != 4321 || (uintptr_t)p % 16 ||
	    malloc_usable_size(p) < size)
		fail("growing");
	check(p, old < size ? old : size, byte);
	return p;
}

/* Blocks that grow, one after the other. */
static void churn(long times)
{
	while (times--)
		free(grown(filled(malloc(6000), 6000, 5), 6000, 9000, 5));
}

/* A random walk over sizes. */
static void *walk(void *seed)
{
	uint64_t state = (uintptr_t)seed * 2654435761u + 1;
	void *blocks[64] = { NULL };
	size_t sizes[64] = { 0 }, size;

	for (int i = 0; i < 20000; i++) {
		const int at = (int)((state = state * 6364136223846793005u + 1442695040888963407u) >> 58);
		void **p = &blocks[at];

		size = (state >> 20) % (i % 50 ? 20000 : 400000) + 1;
		if (*p && state >> 40 & 1 && state >> 41 & 1) {
			check(*p, sizes[at], (unsigned char)(at + 1));
			free(*p);
			*p = NULL;
		} else if (*p) {
			*p = grown(*p, sizes[at], size, (unsigned char)(at + 1));
			filled(*p, size, (unsigned char)(at + 1));
		} else {
			*p = filled(malloc(size), size, (unsigned char)(at + 1));
		}
		sizes[at] = size;
	}
	for (int i = 0; i < 64; i++)
		free(blocks[i]);
	return NULL;
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";
	size_t first = argc > 2 ? (size_t)atol(argv[2]) : 6000;
	size_t last = argc > 3 ? (size_t)atol(argv[3]) : 22000;
	static void *blocks[BLOCKS];
	pthread_t threads[4];
	int status;

	mallopt(M_MMAP_THRESHOLD, 4096);
	mallopt(M_MMAP_MAX, 1000000);
	if (!strcmp(what, "threads") || !strcmp(what, "fork")) {
		for (uintptr_t i = 0; i < 4; i++)
			pthread_create(&threads[i], NULL, walk, (void *)(i + 1));
		for (int i = 0; !strcmp(what, "fork") && i < 50; i++) {
			const pid_t child = fork();

			if (!child) {
				void *p = filled(malloc(6000), 6000, 7);

				check(grown(p, 6000, 22000, 7), 6000, 7);
				_exit(0);
			}
			if (waitpid(child, &status, 0) != child || status)
				fail("child");
		}
		for (int i = 0; i < 4; i++)
			pthread_join(threads[i], NULL);
		puts("right");
		return 0;
	}
	if (!strcmp(what, "memory")) {
		/* Where there is no room for a copy, mremap() shall try. */
		struct rlimit limit = { 128 << 20, RLIM_INFINITY };
		char *p = filled(malloc(70 << 20), 70 << 20, 3), *q;

		setrlimit(RLIMIT_AS, &limit);
		q = realloc(p, 90 << 20);
		if (!q)
			fail("no mremap()");
		check(q, 70 << 20, 3);
		errno = 0;
		if (realloc(q, 200 << 20) || errno != ENOMEM)
			fail("room");
		check(q, 70 << 20, 3);
		puts("right");
		return 0;
	}
	/* What is left of the heap goes first. */
	for (char *p = NULL; first > 4096 && (uintptr_t)p % 4096 != 16;)
		p = malloc(first);
	if (!strcmp(what, "churn") || !strcmp(what, "late")) {
		churn(40000);
		for (int i = 0; !strcmp(what, "late") && i < BLOCKS; i++)
			blocks[i] = filled(malloc(6000), 6000, 1);
		if (blocks[0])
			churn(17000);
		puts("right");
		return 0;
	}
	if (!strcmp(what, "reopened")) {
		/* What is opened next is no standard error. */
		close(STDERR_FILENO);
		if (open(argv[4], O_RDWR | O_CREAT, 0600) != STDERR_FILENO)
			return 2;
		puts("right");
		return 0;
	}
	for (int i = 0; i < BLOCKS; i++) {
		if (!strcmp(what, "aligned"))
			blocks[i] = memalign(4096, first);
		else if (!strcmp(what, "aligned 64"))
			blocks[i] = memalign(64, first);
		else if (!strcmp(what, "calloc"))
			blocks[i] = calloc(1, first);
		else
			blocks[i] = malloc(first);
		filled(blocks[i], first, (unsigned char)i);
	}
	for (int i = 0; i < BLOCKS; i++) {
		if (!strcmp(what, "reallocarray"))
			blocks[i] = reallocarray(blocks[i], last / 8, 8);
		else
			blocks[i] = grown(blocks[i], first, last, (unsigned char)i);
	}
	for (int i = 0; i < BLOCKS; i++)
		check(blocks[i], first < last ? first : last, (unsigned char)i);
	/* Those they were before have been freed. */
	if (mallinfo2().hblks > BLOCKS + 10)
		fail("freeing");
	/* As ever: too much, nothing, no block. */
	errno = 0;
	if (realloc(blocks[0], SIZE_MAX / 2 + 1) || errno != ENOMEM)
		fail("too much");
	check(blocks[0], first < last ? first : last, 0);
	if (realloc(blocks[0], 0))
		fail("nothing");
	blocks[0] = grown(NULL, 0, 10, 0);
	puts("right");
	return 0;
}
EOF2
tap_run 'blocks.c builds' "$cc" "${strict[@]}" -Wno-alloc-size-larger-than -Wno-use-after-free -pthread -o blocks blocks.c

if [[ $("$cc" -dM -E -include stdlib.h -x c /dev/null) != *__GLIBC__* ]]; then
	skip 'realloc() that copies' 'not glibc'
	tap_end
fi
capture env LD_PRELOAD="$preload" ./blocks
tap_is "$status,$out,$err" $'0,right\n,' 'realloc(): as ever where nobody asks'
capture env LD_PRELOAD="$preload" MREMAP_COMPAT_PRELOAD=realloc MREMAP_COMPAT_PRELOAD_COUNT=0 ./blocks
tap_is "$status,$out,$err" $'0,right\n,' 'realloc(): silent where nobody asks'
# copies WANTED TITLE VARIABLES... -- COMMAND...: WANTED as the report has it
copies() {
	local wanted=$1 title=$2
	shift 2
	capture "${copying[@]}" "$@"
	tap_is "$status,$out,$(counts "$err")" $'0,right\n,'"$wanted" "$title"
}
one() { echo $((($1 + 16 + 4095) / 4096 * 4096 - 16)); }
six=$(one 6000) big=$(one 1048000)
# One call more is that for too much, of a block that has been copied by then.
copies '301 0 0' 'realloc(): a process with few blocks moves them' ./blocks
copies "301 300 $((300 * six))" 'realloc(): with 200 it copies them' MREMAP_COMPAT_PRELOAD_COUNT=200 ./blocks
copies '301 0 0' 'realloc(): but not with less than the count' MREMAP_COMPAT_PRELOAD_COUNT=400 ./blocks
copies "301 300 $((300 * six))" 'realloc(): count 0' MREMAP_COMPAT_PRELOAD_COUNT=0 ./blocks
copies "300 300 $((300 * big))" 'realloc(): up to 1 MiB' MREMAP_COMPAT_PRELOAD_COUNT=0 ./blocks x 1048000 1060000
copies '0 0 0' 'realloc(): not more than 1 MiB' MREMAP_COMPAT_PRELOAD_COUNT=0 ./blocks x 1050000 1060000
copies '0 0 0' 'realloc(): the size can be set' MREMAP_COMPAT_PRELOAD_COUNT=0 MREMAP_COMPAT_PRELOAD_MAX=4096 ./blocks
copies "300 300 $((300 * six))" 'realloc(): to what a block has' MREMAP_COMPAT_PRELOAD_COUNT=0 MREMAP_COMPAT_PRELOAD_MAX="$six" ./blocks
copies '1 0 0' 'realloc(): what shrinks is not copied' MREMAP_COMPAT_PRELOAD_COUNT=0 ./blocks x 22000 6000
copies '1 0 0' 'realloc(): what fits is not copied' MREMAP_COMPAT_PRELOAD_COUNT=0 ./blocks x 6000 6010
copies '0 0 0' 'realloc(): blocks of the heap are not copied' MREMAP_COMPAT_PRELOAD_COUNT=0 ./blocks x 600 2000
copies "301 300 $((300 * six))" 'realloc(): calloc()' MREMAP_COMPAT_PRELOAD_COUNT=0 ./blocks calloc
copies '0 0 0' 'realloc(): aligned blocks are left alone' MREMAP_COMPAT_PRELOAD_COUNT=0 ./blocks aligned
copies '0 0 0' 'realloc(): whatever the alignment' MREMAP_COMPAT_PRELOAD_COUNT=0 ./blocks 'aligned 64'
copies "301 300 $((300 * six))" 'realloc(): reallocarray()' MREMAP_COMPAT_PRELOAD_COUNT=0 ./blocks reallocarray
copies '2 0 0' 'realloc(): without room for a copy' MREMAP_COMPAT_PRELOAD_COUNT=0 MREMAP_COMPAT_PRELOAD_MAX=999999999 ./blocks memory

# Counting is dear, so it is not done often where it would find the same; but a process
# that has many blocks later is noticed.
counted() { sed -n 's/.* blocks were counted \([0-9]*\) times, and were \([0-9]*\) at last$/\1 \2/p' <<<"$1"; }
define() { sed -n "s/^#define $1 //p" "$src/preload/preload.c"; }
every=$(define CALLS_PER_COUNT)
capture "${copying[@]}" MREMAP_COMPAT_PRELOAD_COUNT=20000 ./blocks churn
tap_is "$status,$out,$(counts "$err")" $'0,right\n,40000 0 0' 'realloc(): few blocks, many calls'
tap_like "$(counted "$err")" '^[45] [0-9]+$' 'realloc(): counted again after some 10,000 if 20,000 are missing'
capture "${copying[@]}" MREMAP_COMPAT_PRELOAD_COUNT=200 ./blocks churn
tap_like "$(counted "$err")" "^$(((40000 + every - 1) / every)) [0-9]$" "realloc(): but not before $every"
capture "${copying[@]}" MREMAP_COMPAT_PRELOAD_COUNT=200 ./blocks late
read -r _ copied _ <<<"$(counts "$err")"
tap_is "$status,$out" $'0,right\n' 'realloc(): many blocks late'
tap_true "realloc(): ${copied:-0} copies, $every calls later or sooner" test "${copied:-0}" -ge $((17000 - every))
tap_like "$(counted "$err")" '^[0-9]+ 30[0-9]$' 'realloc(): and the count is told'
page=$(tr '\n' ' ' <"$top/man/relocate-anon.7")
for name in DEFAULT_COUNT CALLS_PER_COUNT; do
	number=$(define $name)
	((number < 1000)) || number=${number%???},${number: -3}
	tap_like "$page" "(is|at least) ${number}[, .]" "relocate-anon(7) has $name"
done

# The report goes to what was standard error, and to nothing else.
capture python3 -c 'import os, subprocess, sys
r, w = os.pipe()
os.close(r)
print(subprocess.run(sys.argv[1:], stderr=w).returncode)' "${copying[@]}" ./blocks x 600 2000
tap_is "$status,${out##*right}" $'0,\n0\n' 'report: no SIGPIPE if nobody reads it'
printf 'data\n' >db
capture "${copying[@]}" ./blocks reopened 1 1 db
tap_is "$status,$out,$err,$(<db)" $'0,right\n,,data' 'report: not to a file that is opened as descriptor 2'
capture closed "${copying[@]}" MREMAP_COMPAT_PRELOAD_COUNT=x ./blocks reopened 1 1 db
tap_is "$(<db)" data 'report: nor if there was none before'

for what in threads fork; do
	capture "${copying[@]}" MREMAP_COMPAT_PRELOAD_COUNT=0 ./blocks $what
	tap_is "$status,$out" $'0,right\n' "realloc(): $what"
	read -r _ copied _ <<<"$(counts "$err")"
	tap_true "realloc(): $what, ${copied:-0} copies" test "${copied:-0}" -ge 1000
done
for variable in COUNT MAX; do
	for value in x -1 5k 1e3 99999999999999999999999; do
		capture env LD_PRELOAD="$preload" MREMAP_COMPAT_PRELOAD=realloc "MREMAP_COMPAT_PRELOAD_$variable=$value" ./blocks
		tap_is "$status,$out,$err" $'0,right\n,'"libmremap_compat_preload.so: MREMAP_COMPAT_PRELOAD_$variable is ignored: it is no number"$'\n' \
			"realloc(): $variable=$value is reported"
	done
done

# The layout of a block is another in later releases.
loader=$lib/../glibc/lib/ld-linux-x86-64.so.2
if [[ -x $loader ]]; then
	capture env "${copying[@]:2}" MREMAP_COMPAT_PRELOAD_COUNT=0 GLIBC_TUNABLES=glibc.malloc.mremap_relocate_min_mmaps=1000000 \
		"$loader" --library-path "${loader%/*}" --preload "$preload" ./blocks
	tap_is "$status,$out,$(counts "$err" | cut -d ' ' -f 1,2)" $'0,right\n,301 300' 'realloc(): with the glibc that is built here'
else
	skip 'realloc(): with the glibc that is built here' 'none is built'
fi

# Another allocator in front of glibc's
cat >other.c <<'EOF2'
#include <stddef.h>

void *__libc_malloc(size_t size);
void *__libc_realloc(void *p, size_t size);
void __libc_free(void *p);

#ifndef ONLY_MALLOC
void *realloc(void *p, size_t size) { return __libc_realloc(p, size); }
#endif
void *malloc(size_t size) { return __libc_malloc(size); }
void free(void *p) { __libc_free(p); }
EOF2
for only in '' -DONLY_MALLOC; do
	tap_run "another allocator builds $only" "$cc" "${strict[@]}" -fno-builtin $only -fPIC -shared -o other.so other.c
	capture env LD_PRELOAD="$preload $tmp/other.so" MREMAP_COMPAT_PRELOAD=realloc,report MREMAP_COMPAT_PRELOAD_COUNT=0 ./blocks
	tap_is "$status,$out,$err" $'0,right\n,libmremap_compat_preload.so: realloc() is not that of glibc, and was left alone\n' \
		"realloc(): of another allocator $only"
done

# glibc's own for debugging, which has an old version of each function only
debug=libc_malloc_debug.so.0
if [[ $(LD_PRELOAD=$debug /bin/true 2>&1) == '' ]]; then
	for list in "$preload $debug" "$debug $preload"; do
		for words in '' realloc,report; do
			capture env LD_PRELOAD="$list" MALLOC_CHECK_=3 MREMAP_COMPAT_PRELOAD=$words MREMAP_COMPAT_PRELOAD_COUNT=0 ./blocks
			tap_is "$status,$out,$err" $'0,right\n,'"${words:+libmremap_compat_preload.so: realloc() is not that of glibc, and was left alone$'\n'}" \
				"realloc(): $debug, ${list##*/} last, '$words'"
		done
	done
else
	skip "realloc(): $debug" 'there is none'
fi

# Before main(): constructors before and after the library's own, and the resolver of
# an IFUNC, which can run before the library has been relocated.
cat >start.c <<'EOF2'
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int early_answer(void);

#ifndef RESOLVER
__attribute__((constructor)) static void early(void)
{
	char *p;

	/* Not with the allocator's state as main() finds it */
	p = realloc(NULL, 200000);
	memset(p, 'p', 200000);
	p = realloc(p, 300000);
	if (!p || p[0] != 'p' || p[199999] != 'p')
		_exit(3);
	free(p);
}

__attribute__((destructor)) static void late(void)
{
	if (early_answer() != 42)
		_exit(4);
}
#else
static int answer(void)
{
	return 42;
}

static int (*resolve(void))(void)
{
	/* What comes of it does not matter here: it may be none. */
	void *volatile block = NULL;	/* not known to be that: no malloc() */

	block = realloc(block, 100);
	return answer;
}

int early_answer(void) __attribute__((ifunc("resolve")));
#endif
EOF2
# The resolver is called for a PLT; without one itself, it knows realloc() by then.
tap_run 'the resolver builds' "$cc" "${strict[@]}" -DRESOLVER -fno-plt -fPIC -c -o resolver.o start.c
tap_run 'start.c builds' "$cc" "${strict[@]}" -fPIC -shared -Wl,-z,lazy -o start.so start.c resolver.o
capture env LD_BIND_NOW=1 LD_PRELOAD="$tmp/start.so" ./blocks
tap_is "$status,$out" $'0,right\n' 'the resolver works by itself'
for list in "$preload $tmp/start.so" "$tmp/start.so $preload"; do
	for now in '' 1; do
		for words in '' realloc,report relocate,realloc; do
			capture env LD_BIND_NOW=$now LD_PRELOAD="$list" MREMAP_COMPAT_PRELOAD=$words MREMAP_COMPAT_PRELOAD_COUNT=0 ./blocks
			tap_is "$status,$out" $'0,right\n' "before main(), ${list##*/} last, LD_BIND_NOW=$now, '$words'"
		done
	done
done

# A set-user-ID program that needs the library itself: it is loaded, and does nothing.
tap_run 'a program that needs the library builds' "$cc" "${strict[@]}" -Wno-alloc-size-larger-than -Wno-use-after-free -pthread \
	-o needs blocks.c -Wl,--no-as-needed "$preload" -Wl,-rpath,"${preload%/*}"
words=("MREMAP_COMPAT_PRELOAD=realloc,report" MREMAP_COMPAT_PRELOAD_COUNT=0)
capture env "${words[@]}" ./needs
tap_is "$status,$out,$(counts "$err")" $'0,right\n,'"301 300 $((300 * six))" 'it copies'
if ((EUID == 0)) && command -v setpriv >/dev/null && chmod 4755 needs && chmod 755 . &&
	[[ $(setpriv --reuid=65534 --clear-groups env LD_SHOW_AUXV=1 "$tmp/needs" 2>/dev/null) == right ]]; then
	capture setpriv --reuid=65534 --clear-groups env "${words[@]}" "$tmp/needs"
	tap_is "$status,$out,$err" $'0,right\n,' 'but not with set-user-ID, nor does it report'
	capture setpriv --reuid=65534 --clear-groups env MREMAP_COMPAT_PRELOAD=nonsense "$tmp/needs"
	tap_is "$status,$out,$err" $'0,right\n,' 'nor complain'
else
	skip 'but not with set-user-ID, nor does it report' 'not root, or no set-user-ID here'
	skip 'nor complain' 'not root, or no set-user-ID here'
fi

# The program that reaches the limit: all of it if there is memory for that.
tap_run 'chunks.c builds' "$cc" -std=gnu11 -O2 -pthread -o chunks "$top/demo/chunks.c"
limit=$(</proc/sys/vm/max_map_count)
n=20000
if (($(awk '/^MemAvailable:/ { print $2 }' /proc/meminfo) > 6000000 && limit == 65530)); then n=110000; fi
field() { grep -o " $1=[^ ]*" <<<"$2" | cut -d= -f2; }
capture env LD_PRELOAD="$preload" ./chunks -n "$n"
before=$(field mappings "$out")
tap_true "realloc(): $n blocks are $before mappings without it" test "$status" -eq 0 -a "$before" -gt 13000
((n == 20000)) || tap_is "$(field mprotect "$out")" fails 'and that is the limit'
capture "${copying[@]}" ./chunks -n "$n"
after=$(field mappings "$out")
tap_true "realloc(): and $after with it" test "$status" -eq 0 -a "$after" -lt 100
tap_is "$(field verified "$out"),$(field threads "$out"),$(field mprotect "$out")" yes,64/64,works \
	'every byte is right, threads and mprotect() work'
diag "$err"

tap_end
