#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# What realloc() of the patched glibc decides, by the instructions counted in a guest
# with the patched kernel: with the default, chunks end up in few mappings, and large
# buffers cost at most 5 % more than without relocation.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=tests/tap.sh
. "$here/../tap.sh"
build=$(realpath -m -- "${RELOCATE_BUILD:-build}")
export RELOCATE_BUILD=$build

for file in "$build/glibc/lib/libc.so.6" "$build/kernel/patched/bzImage" "$build/tests/glibc/growth"; do
	[[ -e $file ]] || { skip 'growth by realloc()' "no $file"; tap_end; }
done
command -v "${QEMU:-qemu-system-x86_64}" >/dev/null || { skip 'growth by realloc()' 'no QEMU'; tap_end; }

PATTERNS='double turns chunks' capture "$here/../glibc/growth-table" "$build/glibc:0" "$build/glibc:2"
# shellcheck disable=SC2154 # capture sets them
if [[ $status != 0 ]]; then
	not_ok 'the guest' "status $status"$'\n'"$err"
	tap_end
fi
value() { awk -v t="$1" -v p="$2" -v g="glibc:$3" -v f="$4" '$1 == t && $2 == p && $3 == g { print $f }' <<<"$out"; }

for thp in never always; do
	for pattern in double turns; do
		before=$(value "$thp" "$pattern" 0 4) after=$(value "$thp" "$pattern" 2 4)
		change=$(awk -v a="$before" -v b="$after" 'BEGIN { printf "%+.2f", (b / a - 1) * 100 }')
		tap_true "THP $thp, $pattern: $before instructions without relocation, $after by default ($change %)" \
			awk -v a="$before" -v b="$after" 'BEGIN { exit !(a > 1e6 && b > 1e6 && b <= a * 1.05) }'
	done
	tap_true "THP $thp: without relocation chunks have many mappings" \
		test "$(value "$thp" chunks 0 5)" -gt 1000
	tap_true "THP $thp: by default they have few ($(value "$thp" chunks 2 5))" \
		test "$(value "$thp" chunks 2 5)" -lt 100
	tap_true "THP $thp: and take fewer instructions" \
		test "$(value "$thp" chunks 2 4)" -lt "$(value "$thp" chunks 0 4)"
done
tap_end
