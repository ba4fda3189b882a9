#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# demo/chunks at a small count: the report is true, wrong content is found.

set -euo pipefail
here=$(cd -- "$(dirname -- "$0")" && pwd -P)
# shellcheck source-path=SCRIPTDIR source=../tap.sh
. "$here/../tap.sh"

work=$(mktemp -d)
trap 'rm -rf -- "$work"' EXIT

chunks=${RELOCATE_BUILD:-build}/demo/chunks
if [[ ! -x $chunks ]]; then
	chunks=$work/chunks
	${CC:-cc} -O2 -o "$chunks" "$here/../../demo/chunks.c" -pthread
fi
value() { sed -n "s/^chunks: .* $1=\\([^ ]*\\).*/\\1/p" <<<"$out"; }
# shellcheck disable=SC2317 # called through tap_true
between() { [[ $1 =~ ^[0-9]+$ ]] && (($1 >= $2 && $1 <= $3)); }

plan 18

capture "$chunks" -n 2000
tap_is "$status $err" '0 ' 'succeeds'
tap_is "$(grep -c . <<<"$out")" 1 'prints one line'
tap_is "$(value count) $(value size) $(value grown)" '2000 6000 22000' 'says what it did'
tap_is "$(value verified)" yes 'content verified'
tap_is "$(value threads) $(value threads_errno)" '64/64 none' 'threads work'
tap_is "$(value mprotect) $(value mprotect_errno)" 'works none' 'mprotect works'
tap_true 'mappings are counted' between "$(value mappings)" 10 4100
tap_is "$(value max_map_count)" "$(</proc/sys/vm/max_map_count)" 'the limit is read'
tap_true 'the time is given' between "$(value grow_ms)" 1 100000
if [[ -r /proc/slabinfo ]]; then
	tap_true 'metadata is counted' between "$(value metadata)" 4096 1000000000000
else
	tap_is "$(value metadata)" n/a 'metadata is not available'
fi

# Chunks that are no multiple of a word, and a readable report.
capture "$chunks" -v -n 100 -s 4999 -g 18003 -t 3
tap_like "$status $out" $'^0 .*100 chunks of 4999 bytes grown to 18003\n.*threads +3 of 3' 'odd sizes, -v'
tap_is "$(value verified)" yes 'odd sizes verified'

# -w: all is said, and the process still there, until standard input ends.
mkfifo "$work/input"
"$chunks" -w -n 50 <"$work/input" >"$work/out" &
pid=$!
exec {input}>"$work/input"
tap_true 'with -w it stays' wait_until grep -q '^chunks: ' "$work/out"
kill -0 "$pid" || diag 'it ended'
exec {input}>&-
wait "$pid"

# Too little address space for the stacks of so many threads.
# shellcheck disable=SC2016 # for the inner shell
capture bash -c 'ulimit -v 200000 && exec "$0" -n 50 -t 64' "$chunks"
tap_like "$status $(value threads_errno)" '^0 (EAGAIN|ENOMEM)$' 'threads that cannot start are reported'

# A realloc() that spoils a byte, early or late in the chunk.
spoiled() { # BYTE
	cat >"$work/spoil.c" <<SPOIL
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stddef.h>
void *realloc(void *p, size_t size)
{
	static unsigned int calls;
	void *(*next)(void *, size_t) = (void *(*)(void *, size_t))dlsym(RTLD_NEXT, "realloc");
	char *q = next(p, size);
	if (size == 22000 && ++calls == 7)
		q[$1] ^= 1;
	return q;
}
SPOIL
	${CC:-cc} -shared -fPIC -o "$work/spoil.so" "$work/spoil.c" -ldl
	capture env LD_PRELOAD="$work/spoil.so" "$chunks" -n 20
}
spoiled 5997
tap_like "$status $err" '^1 .*after realloc\(\): chunk 6, byte 5997' 'wrong content is status 1 and named'
tap_is "$(value verified)" no 'and is in the report'

bad=0
for args in '-n 0' '-n x' '-s -1' '-t 5000' '-g 100' '-q' 'extra' '-n 99999999999999999999'; do
	# shellcheck disable=SC2086 # several words
	capture "$chunks" $args
	[[ $status -eq 2 && -n $err && -z $out ]] || { bad=1; diag "$args: $status $err"; }
done
tap_is "$bad" 0 'wrong usage is status 2 with a reason'

# shellcheck disable=SC2016 # for the inner shell
capture bash -c '"$0" -n 10 >/dev/full' "$chunks"
tap_is "$status" 2 'a result that cannot be written is status 2'

tap_end
