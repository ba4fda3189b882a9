#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# vmafrag --heal: what it says where the kernel lacks it, where it is not allowed to or a
# process ends meanwhile, by calls that are played; and where the kernel has it (with
# RELOCATE_EXPECT=supported it must), what it merges.

set -euo pipefail
here=$(cd -- "$(dirname -- "$0")" && pwd -P)
top=$(cd -- "$here/../.." && pwd -P)
# shellcheck source-path=SCRIPTDIR source=../tap.sh
. "$here/../tap.sh"
# shellcheck source-path=SCRIPTDIR source=../processes.sh
. "$here/../processes.sh"

cc=${CC:-gcc}
expect=unsupported
[[ ! -e /proc/sys/vm/coalesce_at_limit ]] || expect=supported
expect=${RELOCATE_EXPECT:-$expect}

r=$'\uFFFD'	# in place of a control character
vmafrag=$work/vmafrag
cp -- "${RELOCATE_BUILD:-build}/compat/vmafrag" "$vmafrag"

# COUNT mappings of a page each that could be one, and what the others say: "shared" with a
# child, "advice" that differs, a "name" of its own.  On a line "check" it says whether the
# contents are as they were, on any other it ends.
cat >"$work/pieces.c" <<'END'
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

static int fill(char *p, size_t size, unsigned int seed, int check)
{
	for (size_t i = 0; i < size; i++) {
		const char c = (char)(seed * 31 + i * 7 + 1);

		if (check && p[i] != c)
			return 0;
		p[i] = c;
	}
	return 1;
}

int main(int argc, char **argv)
{
	const size_t count = strtoul(argv[1], NULL, 10), page = sysconf(_SC_PAGESIZE);
	char *area = mmap(NULL, (count + 2) * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char *from = mmap(NULL, (count + 1) * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char line[32];

	if (area == MAP_FAILED || from == MAP_FAILED || mprotect(from, count * page, PROT_READ | PROT_WRITE))
		return 1;
	area += page;
	for (size_t i = 0; i < count; i++) {
		char *to = area + (count - 1 - i) * page;

		fill(from + i * page, page, (unsigned int)(count - 1 - i), 0);
		if (mremap(from + i * page, page, page, MREMAP_MAYMOVE | MREMAP_FIXED, to) == MAP_FAILED)
			return 1;
		if (i % 2 && argc > 2 && !strcmp(argv[2], "advice") && madvise(to, page, MADV_DONTDUMP))
			return 1;
	}
	prctl(PR_SET_NAME, argc > 3 ? argv[3] : "pieces");
	if (argc > 2 && !strcmp(argv[2], "shared") && !fork()) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			pause();
	}
	if (argc > 2 && !strcmp(argv[2], "undumpable"))
		prctl(PR_SET_DUMPABLE, 0);
	puts("ready");
	fflush(stdout);
	while (fgets(line, sizeof(line), stdin) && !strcmp(line, "check\n")) {
		int good = 1;

		for (size_t i = 0; i < count; i++)
			good &= fill(area + i * page, page, (unsigned int)i, 1);
		puts(good ? "whole" : "BROKEN");
		fflush(stdout);
	}
	return 0;
}
END
tap_run 'a program with memory in pieces compiles' "$cc" -std=c11 -O1 -Wall -o "$work/pieces" "$work/pieces.c"

# A kernel that has MADV_COALESCE, for those who are told so; PLAYED says what it does
# instead, once it has done so many pieces as AFTER says.
cat >"$work/played.c" <<'END'
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static long fail(int err)
{
	errno = err;
	return -1;
}

static int steps;	/* calls of process_madvise() by now */
static int queries;	/* PROCMAP_QUERY since then */

static const char *played(void)
{
	const char *what = getenv("PLAYED");

	return what ? what : "";
}

static long merge(char *start, size_t size)
{
	static char kept[1 << 20];

	if (!strcmp(played(), "lacks"))
		return fail(EINVAL);
	if (!strcmp(played(), "forbids"))
		return fail(EPERM);
	if (!strcmp(played(), "no memory to ask"))
		return fail(ENOMEM);
	if (!size || size > sizeof(kept))
		return 0;
	memcpy(kept, start, size);
	mmap(start, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	memcpy(start, kept, size);
	return 0;
}

static long advise(const struct iovec *range)
{
	const char *what = played(), *log = getenv("RANGES"), *after = getenv("AFTER");
	const int calls = ++steps;

	queries = 0;
	if (calls > (after ? atoi(after) : 0)) {
		if (!strcmp(what, "EPERM"))
			return fail(EPERM);
		if (!strcmp(what, "EACCES"))
			return fail(EACCES);
		if (!strcmp(what, "ESRCH"))
			return fail(ESRCH);
		if (!strcmp(what, "ENOMEM") || !strcmp(what, "ENOMEM, and it ends"))
			return fail(ENOMEM);
		if (!strcmp(what, "EINVAL"))
			return fail(EINVAL);
		if (!strcmp(what, "ENOSYS"))
			return fail(ENOSYS);
		if (!strcmp(what, "EINTR") && calls % 2)
			return fail(EINTR);
		if (!strcmp(what, "nothing"))
			return 0;
		if (!strcmp(what, "ends")) {
			char path[64];

			kill(atoi(getenv("TARGET")), SIGKILL);
			snprintf(path, sizeof(path), "/proc/%s/maps", getenv("TARGET"));
			/* It has no memory any more. */
			for (;;) {
				FILE *maps = fopen(path, "r");
				const int first = maps ? getc(maps) : EOF;

				if (maps)
					fclose(maps);
				if (first == EOF)
					break;
			}
			return fail(ESRCH);
		}
	}
	if (log) {
		FILE *file = fopen(log, "a");

		fprintf(file, "%lx %lx\n", (unsigned long)range->iov_base,
			(unsigned long)range->iov_base + range->iov_len);
		fclose(file);
	}
	if (!strcmp(what, "parts") && range->iov_len > 12288)
		return 12288;
	return (long)range->iov_len;
}

/* What stat has is that of another process from the second time on. */
int openat(int directory, const char *path, int flags, ...)
{
	static int (*next)(int, const char *, int, ...);
	static int calls;

	if (!next)
		next = (int (*)(int, const char *, int, ...))dlsym(RTLD_NEXT, "openat");
	if (!strcmp(path, "stat") && !strcmp(played(), "number again") && ++calls > 1)
		return next(AT_FDCWD, "/proc/1/stat", flags);
	return next(directory, path, flags);
}

long syscall(long number, ...)
{
	static long (*next)(long number, ...);
	long a[6];
	va_list ap;

	va_start(ap, number);
	for (int i = 0; i < 6; i++)
		a[i] = va_arg(ap, long);
	va_end(ap);
	if (!next)
		next = (long (*)(long, ...))dlsym(RTLD_NEXT, "syscall");
	if (number == SYS_madvise && a[2] == 104)
		return merge((char *)a[0], (size_t)a[1]);
	if (number == SYS_process_madvise && a[2] == 1 && a[3] == 104 && !a[4])
		return advise((struct iovec *)a[1]);
	if (number == SYS_pidfd_open && !strcmp(played(), "no pidfd"))
		return fail(ENOSYS);
	if (number == SYS_pidfd_open && !strcmp(played(), "gone"))
		return fail(ESRCH);
	/* A process that ends while it is looked at for the second time */
	if (number == SYS_ioctl && ((unsigned long)a[1] & 0xffff) == 0x6611 && steps &&
	    strstr(played(), "it ends") && ++queries % 100 == 0)
		return fail(ESRCH);
	/* As where /proc is that of another PID namespace */
	if (number == SYS_pidfd_open && !strcmp(played(), "namespace"))
		a[0] = getpid();
	return next(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}
END
tap_run 'a kernel to be played compiles' "$cc" -std=c11 -O1 -Wall -fPIC -shared -o "$work/played.so" "$work/played.c" -ldl

# contents TITLE: of the last that was started
contents() {
	local line=''
	echo check >&"$to"
	read -r line <&"$from" || :
	tap_is "$line" whole "$1: contents are as they were"
}
# played WHAT COMMAND...
# shellcheck disable=SC2317 # through capture
played() { LD_PRELOAD=$work/played.so PLAYED=$1 "${@:2}"; }
mappings() { grep -cv '\[vsyscall\]' "/proc/$1/maps"; }
# valid TITLE JSON: as the schema says
python=
for one in python3 /usr/bin/python3; do
	[[ $python ]] || ! "$one" -c 'import jsonschema' 2>/dev/null || python=$one
done
valid() {
	if [[ ! $python ]]; then
		skip "$1" 'no python3-jsonschema'
		return 0
	fi
	tap_run "$1" "$python" -c '
import json, jsonschema, sys
s = json.load(open(sys.argv[1]))
for line in sys.argv[2].splitlines():
    jsonschema.Draft7Validator(s).validate(json.loads(line))' "$top/compat/tools/vmafrag.schema.json" "$2"
}
# value JSON EXPRESSION: of o
value() {
	python3 -c 'import json, sys; o = json.loads(sys.argv[1]); print(eval(sys.argv[2]))' "$1" "$2" 2>&1
}

# ---- wrong usage ------------------------------------------------------------

while read -r words; do
	# shellcheck disable=SC2086 # several words
	capture "$vmafrag" $words
	tap_like "$status,$out,$err" "^2,,vmafrag: .*Try 'vmafrag --help'" "wrong usage: $words"
done <<'END'
--heal
--heal 1 2
--heal abc
--progress 1
--progress --top
--self-test --heal
--self-test --progress
--heal=1 1
--heal --why 1
--heal --svg x 1
--heal --prometheus 1
--heal --watch 1
END
capture "$vmafrag" --heal --warn 5 1
tap_is "$status" 3 'with thresholds 2 would mean critical'

# ---- a kernel without it, or one that does not let us ------------------------

start "$work/pieces" 20
before=$(mappings "$pid")
lacks=(played lacks)
[[ $expect == supported ]] || lacks=(env)
for words in "$pid" "--json $pid" "--progress $pid" "--top $pid" "--top --json $pid"; do
	# shellcheck disable=SC2086 # several words
	capture "${lacks[@]}" "$vmafrag" --heal $words
	tap_is "$status,$out,$err" '4,,vmafrag: this kernel does not have MADV_COALESCE; nothing has been changed (relocate-anon(7) has other cures)'$'\n' \
		"a kernel without the advice: --heal ${words/$pid/PID}"
done
capture env MREMAP_COMPAT_METHODS=plain LD_PRELOAD="$work/played.so" "$vmafrag" --heal "$pid"
tap_is "$status,$err" 0, 'a method that is switched off is so for the library'
capture played forbids "$vmafrag" --heal "$pid"
tap_is "$status,$out,$err" '1,,vmafrag: MADV_COALESCE is forbidden here, as by a seccomp filter; nothing has been changed'$'\n' \
	'advice that a filter refuses'
capture played 'no memory to ask' "$vmafrag" --heal "$pid"
tap_is "$status,$out,$err" '1,,vmafrag: no memory or mappings to find out whether the kernel has MADV_COALESCE'$'\n' \
	'no memory to ask with'
capture played EINVAL "$vmafrag" --heal "$pid"
tap_is "$status,$out,$err" '4,,vmafrag: process_madvise(2) of this kernel does not take MADV_COALESCE; nothing has been changed'$'\n' \
	'a kernel that has it for oneself only'
capture played 'no pidfd' "$vmafrag" --heal "$pid"
tap_is "$status,$out,$err" "1,,vmafrag: cannot have a descriptor of process $pid: pidfd_open(2): Function not implemented"$'\n' \
	'no pidfd_open(2)'
capture played gone "$vmafrag" --heal "$pid"
tap_is "$status,$out,$err" "1,,vmafrag: process $pid has no memory: it has ended or is a kernel thread"$'\n' \
	'a process that has ended when its descriptor is opened'
: >"$work/ranges"
for words in "--heal $pid" "--heal --top $pid" "--watch $pid"; do
	# shellcheck disable=SC2086 # several words
	RANGES=$work/ranges capture played namespace timeout "${RELOCATE_LIMIT:-0}" "$vmafrag" $words
	tap_like "$status,$err" "^1,vmafrag: /proc is that of another PID namespace: its process $pid is not the one that the kernel knows here by that number"$'\n$' \
		"a number that is another process's here: ${words/$pid/PID}"
done
tap_is "$(wc -l <"$work/ranges")" 0 'which is not changed'
capture played namespace "$vmafrag" --top "$pid"
tap_like "$status,$err,$out" "^0,,.* $pid " '--top looks at /proc alone'
if unshare --pid --fork true 2>/dev/null; then
	# The process with that number has ended by now, or is another.
	capture unshare --pid --fork env RANGES="$work/ranges" LD_PRELOAD="$work/played.so" "$vmafrag" --heal "$pid"
	tap_like "$status,$err" '^1,vmafrag: /proc is that of another PID namespace: ' "in a namespace of one's own with the /proc of another"
	tap_is "$(wc -l <"$work/ranges")" 0 'nor is one changed there'
else
	skip "in a namespace of one's own with the /proc of another" 'unshare(2) is not permitted'
fi
capture played ENOSYS "$vmafrag" --heal "$pid"
tap_like "$status,$out,$err" "^1,,vmafrag: process_madvise\\(2\\) of process $pid: Function not implemented, after 0 of [1-9]" \
	'no process_madvise(2)'
capture "$vmafrag" --heal 2147483647
tap_is "$status,$out,$err" '1,,vmafrag: there is no process 2147483647'$'\n' 'no such process'
for call in EPERM EACCES; do
	text='Operation not permitted'
	[[ $call == EPERM ]] || text='Permission denied'
	capture played "$call" "$vmafrag" --heal "$pid"
	tap_like "$status,$out,$err" "^1,,vmafrag: process $pid may not be changed: $text \\(.*CAP_SYS_NICE" "$call"
done
if [[ $EUID == 0 ]] && command -v setpriv >/dev/null; then
	capture played EPERM setpriv --reuid=65534 --clear-groups "$vmafrag" --heal --top "$pid"
	tap_like "$status,$err" '^1,vmafrag: not all of these processes may be read' "another user's process with --top"
	capture played EPERM setpriv --reuid=65534 --clear-groups "$vmafrag" --heal "$pid"
	tap_like "$status,$out,$err" "^1,,vmafrag: cannot read /proc/$pid/maps: Permission denied \\(it belongs to another user" \
		"another user's process"
else
	skip "another user's process" 'not root, or no setpriv'
fi
tap_is "$(mappings "$pid")" "$before" 'and nothing has been changed'
contents 'a kernel without it'
finish "$pid" "$to" "$from"

# ---- on the way -------------------------------------------------------------

start "$work/pieces" 1300 x $'a\e[1m\nb\xe2\x80\xae'
: >"$work/ranges"
capture env RANGES="$work/ranges" LD_PRELOAD="$work/played.so" "$vmafrag" --heal --progress "$pid"
pieces=$(wc -l <"$work/ranges")
tap_is "$status" 0 'a played kernel merges'
tap_is "$err" "$(for ((i = 0; i <= pieces; i++)); do echo "vmafrag: process $pid: $i of $pieces steps done"; done)"$'\n' \
	'--progress says how far it is'
tap_true 'in several pieces' test "$pieces" -ge 3
tap_like "$out" "^process              $pid \\(a$r\\[1m${r}b$r\\)
mappings             13[0-9]* before, 13[0-9]* after of [0-9]* \\([0-9.]* %\\)
separate neighbours  1299 before, 1299 after
kernel memory        about [0-9]+ to [0-9]+ KiB before, [0-9]+ to [0-9]+ KiB after
stayed apart         [0-9]+ pairs of neighbours
" 'the table; what a name has does not control a terminal'
tap_like "$out" $'\n  not known                  1299 \\(pinned or busy pages, or new\\)\n' 'what a played kernel leaves'
# Each address where two private anonymous mappings touch is in a range, with a page before.
tap_is "$(python3 - "$pid" "$work/ranges" <<'END'
import re, sys
ranges = [tuple(int(x, 16) for x in line.split()) for line in open(sys.argv[2])]
last, missing, wide = None, 0, 0
for line in open(f"/proc/{sys.argv[1]}/maps", errors="replace"):
    f = line.split(maxsplit=5)
    start, end = (int(x, 16) for x in f[0].split("-"))
    name = f[5].strip() if len(f) > 5 else ""
    if f[1][3] == "p" and f[4] == "0" and (not name or name == "[heap]" or name.startswith("[anon:")):
        if start == last:
            missing += not any(a < start < b for a, b in ranges)
        last = end
    else:
        last = None
print(missing, max(b - a for a, b in ranges) <= 514 * 4096 + (1 << 30))
END
)" '0 True' 'the pieces are for all neighbours'
capture played parts "$vmafrag" --heal --json "$pid"
tap_is "$status,$err" 0, 'a kernel that does a piece in parts'
valid 'JSON as the schema says' "$out"
tap_is "$(value "$out" '[h := o["healed"][0], (h["pid"], h["command"], h["before"]["separate_neighbours"], h["after"]["separate_neighbours"], h["stayed_apart"]["page_offset_or_anon_vma"], h["stayed_apart"]["shared"], h["steps"] == h["steps_done"])][1]')" \
	"($pid, 'a\\x1b[1m\\nb\\u202e', 1299, 1299, 1299, 0, True)" 'JSON'
capture played EINTR "$vmafrag" --heal "$pid"
tap_is "$status,$err" 0, 'interrupted calls are made again'
capture env AFTER=1 PLAYED=ENOMEM LD_PRELOAD="$work/played.so" "$vmafrag" --heal "$pid"
tap_is "$status,$err" "1,vmafrag: process_madvise(2) of process $pid: Cannot allocate memory, after 1 of $pieces steps"$'\n' \
	'no memory on the way'
tap_like "$out" '^process .*stayed apart ' 'it is shown what is by then'
capture env AFTER=1 PLAYED=EINVAL LD_PRELOAD="$work/played.so" "$vmafrag" --heal "$pid"
tap_is "$status,$err" "1,vmafrag: process_madvise(2) of process $pid: Invalid argument, after 1 of $pieces steps"$'\n' \
	'a kernel that has it no more on the way'
first=$pid first_to=$to first_from=$from
start "$work/pieces" 20
capture env AFTER="$pieces" PLAYED=EINVAL LD_PRELOAD="$work/played.so" "$vmafrag" --heal --top "$first" "$pid"
tap_like "$status,$err" "^1,vmafrag: process_madvise\\(2\\) of process $pid: Invalid argument, after 0 of [1-9]" \
	'or after another process'
finish "$pid" "$to" "$from"
pid=$first to=$first_to from=$first_from
if "$vmafrag" --self-test | grep -q PROCMAP_QUERY; then
	for words in '' --json; do
		# shellcheck disable=SC2086 # one word or none
		capture played 'after all, it ends' "$vmafrag" --heal $words "$pid"
		tap_is "$status,$out,$err" "1,,vmafrag: process $pid has ended meanwhile, after all of $pieces steps"$'\n' \
			"a process that ends in the second look: ${words:-a table}"
		# shellcheck disable=SC2086 # one word or none
		capture env AFTER=1 PLAYED='ENOMEM, and it ends' LD_PRELOAD="$work/played.so" "$vmafrag" --heal $words "$pid"
		tap_is "$status,$out,$err" "1,,vmafrag: process_madvise(2) of process $pid: Cannot allocate memory, after 1 of $pieces steps"$'\n' \
			"and after an error: ${words:-a table}"
	done
	capture played 'after all, it ends' "$vmafrag" --top --heal --json "$pid"
	tap_is "$status,$out,$err" '0,{"schema_version": 1, "healed": []}'$'\n,' 'it is not in the list'
else
	skip 'a process that ends in the second look' 'no PROCMAP_QUERY, by which it is played'
fi
capture played nothing "$vmafrag" --heal "$pid"
tap_is "$status,$out,$err" "1,,vmafrag: process_madvise(2) of process $pid: Input/output error, after 0 of $pieces steps"$'\n' \
	'a kernel that does nothing is not asked for ever'
capture env LD_PRELOAD="$work/played.so" "$vmafrag" --top --heal "$pid"
tap_like "$status,$err,$out" "^0,,    PID     BEFORE      AFTER  STAYED APART  KERNEL MEMORY, KiB  COMMAND
 *$pid +13[0-9]+ +13[0-9]+ +[0-9]+ +[0-9]+ to +[0-9]+  a$r\\[1m${r}b$r
\$" '--top --heal has a line for each'
capture env LD_PRELOAD="$work/played.so" "$vmafrag" --top=2 --heal --json "$pid" $$
tap_is "$status,$err" 0, 'and an object in JSON'
valid 'as the schema says' "$out"
tap_is "$(value "$out" '[h["pid"] for h in o["healed"]]')" "[$pid, $$]" 'in the order of --top'
capture played EPERM "$vmafrag" --top --heal --json "$pid"
tap_is "$status,$out" '1,{"schema_version": 1, "healed": []}'$'\n' '--top --heal without permission'
tap_is "$(grep -c 'may not be changed' <<<"$err")" 1 'says so'
capture env AFTER=1 PLAYED=ends TARGET="$pid" LD_PRELOAD="$work/played.so" "$vmafrag" --heal "$pid"
tap_is "$status,$out,$err" "1,,vmafrag: process $pid has ended meanwhile, after 1 of $pieces steps"$'\n' \
	'a process that ends meanwhile'
finish "$pid" "$to" "$from"
start "$work/pieces" 20
capture env PLAYED=ends TARGET="$pid" LD_PRELOAD="$work/played.so" "$vmafrag" --top --heal --json "$pid" $$
tap_is "$status,$err,$(value "$out" '[h["pid"] for h in o["healed"]]')" "0,,[$$]" 'with --top it is left out'
finish "$pid" "$to" "$from"
: >"$work/ranges"
start "$work/pieces" 20
RANGES=$work/ranges capture played 'number again' "$vmafrag" --top --heal --json "$pid"
tap_is "$status,$err,$(value "$out" '[h["pid"] for h in o["healed"]]'),$(wc -l <"$work/ranges")" '0,,[],0' \
	'nor is another process healed that has its number by then'
finish "$pid" "$to" "$from"
if [[ $EUID == 0 ]] && command -v setpriv >/dev/null; then
	start setpriv --reuid=65534 --clear-groups "$work/pieces" 20
	capture setpriv --reuid=65534 --clear-groups env LD_PRELOAD="$work/played.so" "$vmafrag" --top --heal
	tap_like "$status,$err,$out" '^0,,    PID .*[0-9]+ process(es)? may not be read; run as root' 'nor can all be read'
	finish "$pid" "$to" "$from"
else
	skip 'nor can all be read' 'not root, or no setpriv'
fi

# ---- what the kernel merges ---------------------------------------------------

if [[ $expect != supported ]]; then
	skip 'what the kernel merges' 'this kernel does not have MADV_COALESCE'
	tap_end
fi
start "$work/pieces" 600
capture "$vmafrag" --heal --progress "$pid"
tap_like "$status,$out" '^0,process.*
separate neighbours  599 before, 0 after
' '600 mappings become one'
tap_like "$err" 'of [1-9][0-9]* steps done' 'with progress'
tap_true '/proc says the same' test "$(mappings "$pid")" -lt 100
contents '600 mappings'
capture "$vmafrag" --heal --json "$pid"
tap_is "$status,$err,$(value "$out" '[h := o["healed"][0], (h["before"], h["stayed_apart"]["page_offset_or_anon_vma"])][1] == (h["after"], 0)')" \
	'0,,True' 'once more there is nothing to do'
valid 'JSON as the schema says' "$out"
contents 'once more'
finish "$pid" "$to" "$from"

start "$work/pieces" 40 shared
capture "$vmafrag" --heal "$pid"
tap_like "$status,$out" '^0,.*
separate neighbours  39 before, 39 after
.*
  pages shared, as by fork\(\) 39
' 'what a child shares stays apart, and that is said'
contents 'a child shares'
pkill -P "$pid" || :
finish "$pid" "$to" "$from"

start "$work/pieces" 40 advice
capture "$vmafrag" --heal "$pid"
tap_like "$status,$out" '^0,.*
separate neighbours  0 before, 0 after
.*
  flags                      [3-9][0-9]
' 'what differs stays apart, and that is said'
contents 'what differs'
finish "$pid" "$to" "$from"

start "$work/pieces" 300 x one
first=$pid first_to=$to first_from=$from
start "$work/pieces" 400 x two
capture "$vmafrag" --top=2 --heal one two
tap_like "$status,$err,$out" "^0,,.*
 *$pid +4[0-9][0-9] +[0-9]{2} .*  two
 *$first +3[0-9][0-9] +[0-9]{2} .*  one
" '--top --heal heals what it lists'
contents two
finish "$pid" "$to" "$from"
to=$first_to from=$first_from
contents one
finish "$first" "$to" "$from"

if command -v setpriv >/dev/null; then
	chmod 755 "$work" "$work/pieces" "$vmafrag"
	start setpriv --reuid=65534 --clear-groups "$work/pieces" 40
	capture setpriv --reuid=65534 --clear-groups "$vmafrag" --heal "$pid"
	tap_is "$status,$out,$err" "1,,vmafrag: process $pid may not be changed: Operation not permitted (it takes CAP_SYS_NICE and the permission to read its memory; run as root)"$'\n' \
		'without CAP_SYS_NICE'
	capture "$vmafrag" --heal "$pid"
	tap_like "$status,$out" '^0,.*separate neighbours  39 before, 0 after' 'root may'
	contents "another user's"
	finish "$pid" "$to" "$from"
else
	skip 'without CAP_SYS_NICE' 'no setpriv'
fi
capture "$vmafrag" --heal 2
tap_is "$status,$out,$err" '1,,vmafrag: process 2 has no memory: it has ended or is a kernel thread'$'\n' 'a kernel thread'
start "$work/pieces" 40
exec {to}>&-
wait_until bash -c "! kill -0 $pid 2>/dev/null || grep -q '^State:.Z' /proc/$pid/status"
capture "$vmafrag" --heal "$pid"
tap_like "$status,$out,$err" "^1,,vmafrag: (process $pid has no memory|there is no process)" 'a process that has ended'
exec {from}<&-
tap_end
