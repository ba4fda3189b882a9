#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# libmremap_compat_preload.so: asks for relocation if it is told to, and
# otherwise cannot be noticed.  RELOCATE_EXPECT=supported or =unsupported says
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

unset MREMAP_COMPAT_PRELOAD MREMAP_COMPAT_METHODS LD_PRELOAD
strict=(-std=gnu11 -O2 -Wall -Wextra -Werror)
preload=$lib/libmremap_compat_preload.so
if [[ ! -e $preload ]]; then
	diag "no $preload, building one"
	preload=$tmp/libmremap_compat_preload.so
	tap_run 'the library builds' "$cc" "${strict[@]}" -std=c11 -fPIC \
		-fvisibility=hidden -I"$src" -shared -Wl,-z,defs \
		-Wl,--version-script="$src/preload/preload.map" \
		-o "$preload" "$src/preload/preload.c" "$src"/*.c
fi

# --- names --------------------------------------------------------------------

tap_is "$(nm -D --defined-only "$preload" | awk '{ print $3 }')" mremap 'it exports mremap alone'
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
for value in '' 1 all RELOCATE 'relocate ' relocated; do
	capture env LD_PRELOAD="$preload" MREMAP_COMPAT_PRELOAD="$value" ./merge
	tap_is "$status $out$err" $'0 2\n' "off with MREMAP_COMPAT_PRELOAD=$value"
done
relocating=(env LD_PRELOAD="$preload" MREMAP_COMPAT_PRELOAD=relocate)
capture "${relocating[@]}" ./merge
tap_is "$status $out$err" "0 $merged"$'\n' "on: $merged"
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
with off 7 >off.txt
same 'off: as the C library' libc.txt off.txt
with relocate 7 >on.txt
same 'on: as the C library' libc.txt on.txt
with off -1 >off.txt
same 'off: as the system call with any flags' raw.txt off.txt
with relocate -1 >on.txt
same 'on: as the system call with any flags' raw.txt on.txt
tap_is "$(cut -d: -f2 raw.txt | cut -d' ' -f2 | sort -u | tr '\n' ' ')" 'failed moved stayed there ' \
	'the calls have all kinds of results'

tap_end
