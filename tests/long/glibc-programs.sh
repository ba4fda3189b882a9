#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Real programs with the pristine and with the patched glibc, on the pristine and on
# the patched kernel: what they print is the same, and a table says what they took, in
# instructions (no caches or TLB in them), mappings and memory.  Leaves the table in
# $RELOCATE_BUILD/tests/glibc-programs.txt.  Debian packages: python3 perl sqlite3
# redis-server gcc; those not installed are left out.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=tests/tap.sh
. "$here/../tap.sh"
build=$(realpath -m -- "${RELOCATE_BUILD:-build}")
export RELOCATE_BUILD=$build

"$here/../../scripts/build-glibc" --pristine build
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

boot() { # KERNEL GLIBC
	"$here/../vm/run-kernel" --icount --kernel "$1" --mem 4G --append nolapic_timer \
		--log "$build/tests/glibc-programs-$1-$2.console" --show "$here/../glibc" -- \
		"$here/../glibc/programs" "$build/$2" "$build/tests/glibc/measure" >"$tmp/$1.$2" 2>"$tmp/$1.$2.err"
}
# Two at a time: instructions are counted, not time.
for kernel in pristine patched; do
	boot "$kernel" glibc-pristine &
	first=$!
	status=0
	boot "$kernel" glibc || status=$?
	tap_is "$status" 0 "$kernel kernel, patched glibc"
	status=0
	wait "$first" || status=$?
	tap_is "$status" 0 "$kernel kernel, pristine glibc"
done

table=$build/tests/glibc-programs.txt
printf '%-8s %-9s %-9s %15s %9s %10s %s\n' program kernel glibc instructions mappings peak-KiB output >"$table"
for program in python perl sqlite sort cc1 redis; do
	outputs=()
	for kernel in pristine patched; do
		for glibc in glibc-pristine glibc; do
			read -r _ n maps peak sum < <(grep "^$program " "$tmp/$kernel.$glibc") || continue
			name=patched
			[[ $glibc == glibc ]] || name=pristine
			printf '%-8s %-9s %-9s %15s %9s %10s %s\n' "$program" "$kernel" "$name" "$n" "$maps" "$peak" "$sum" >>"$table"
			outputs+=("$sum")
		done
	done
	if ((${#outputs[@]} == 0)) && grep -q "^$program: .*not installed" "$tmp/patched.glibc.err"; then
		skip "$program prints the same" 'it is not installed'
	else
		tap_is "$(printf '%s\n' "${outputs[@]}" | uniq -c | awk '{ print $1 }')" 4 "$program prints the same four times"
	fi
done
diag "$(cat "$table" "$tmp"/*.err)"
tap_end
