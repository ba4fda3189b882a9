#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# What realloc() of the patched glibc decides, in a guest that counts instructions: few
# chunks are left alone, many end up in few mappings, with the flag and, by copying,
# without it. A kernel that merges at its limit has nothing to do then.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=tests/tap.sh
. "$here/../tap.sh"
build=$(realpath -m -- "${RELOCATE_BUILD:-build}")
export RELOCATE_BUILD=$build MODES=never

for file in "$build/glibc/lib/libc.so.6" "$build/kernel/patched/bzImage" "$build/tests/glibc/growth"; do
	[[ -e $file ]] || { skip 'growth by realloc()' "no $file"; tap_end; }
done
command -v "${QEMU:-qemu-system-x86_64}" >/dev/null || { skip 'growth by realloc()' 'no QEMU'; tap_end; }
never=2147483647

# table: growth-table's lines are in $out
# shellcheck disable=SC2154 # capture sets it
table() {
	capture "$here/../glibc/growth-table" "$build/glibc:$never" "$build/glibc"
	[[ $status == 0 ]] || { not_ok 'the guest' "status $status"$'\n'"$err"; tap_end; }
}
# value PATTERN GLIBC FIELD: 4 instructions, 5 mappings, 6 mappings that the kernel merged
value() { awk -v p="$1" -v g="$2" -v f="$3" '$2 == p && $3 == g { print $f }' <<<"$out"; }

PATTERNS='chunks chunks/20000' table
before=$(value chunks glibc:$never 4) after=$(value chunks glibc 4)
tap_true "10,000 chunks: $before instructions without relocation, $after by default, 5 % more at most" \
	awk -v a="$before" -v b="$after" 'BEGIN { exit !(a > 1e6 && b > 1e6 && b <= a * 1.05) }'
tap_is "$(value chunks glibc 5)" "$(value chunks glibc:$never 5)" 'and as many mappings'
tap_true '20,000 chunks without relocation have many mappings' \
	test "$(value chunks/20000 glibc:$never 5)" -gt 10000
tap_true 'by default they have few' test "$(value chunks/20000 glibc 5)" -lt 100
tap_true 'and take fewer instructions' \
	test "$(value chunks/20000 glibc 4)" -lt "$(value chunks/20000 glibc:$never 4)"
tap_is "$(value chunks/20000 glibc:$never 6) $(value chunks/20000 glibc 6)" '0 0' 'the limit is far away'

LIMIT=6000 PATTERNS=chunks/20000 table
tap_true 'with a lower limit the kernel merges' test "$(value chunks/20000 glibc:$never 6)" -gt 1000
tap_true 'and the program goes on' test "$(value chunks/20000 glibc:$never 5)" -le 6000
tap_is "$(value chunks/20000 glibc 6)" 0 'what realloc() has relocated leaves it nothing to do'
tap_true 'and has few mappings' test "$(value chunks/20000 glibc 5)" -lt 100

if [[ -e $build/kernel/pristine/bzImage ]]; then
	KERNEL=pristine PATTERNS=chunks/20000 table
	tap_true 'without the flag in the kernel: many mappings if chunks are moved' \
		test "$(value chunks/20000 glibc:$never 5)" -gt 10000
	tap_true 'few by default' test "$(value chunks/20000 glibc 5)" -lt 100
	before=$(value chunks/20000 glibc:$never 4) after=$(value chunks/20000 glibc 4)
	tap_true "$before instructions for moving, $after for copying, not twice as many" \
		test "$after" -lt $((2 * before))
else
	skip 'without the flag in the kernel' "no $build/kernel/pristine/bzImage"
fi
tap_end
