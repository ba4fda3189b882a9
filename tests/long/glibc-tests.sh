#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# glibc's own tests of malloc and mremap, static and dynamic, for each release: built
# here, run in the guest on the pristine and on the patched kernel, with the pristine
# glibc and with the patched one.  Whatever passes with the pristine one must pass with
# the patched one on the same kernel, and so must the tests that our series add.
# Arguments: releases, default all that there are patches for.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
# shellcheck source=tests/tap.sh
. "$here/../tap.sh"
build=$(realpath -m -- "${RELOCATE_BUILD:-build}")
export RELOCATE_BUILD=$build
results=$build/tests/glibc-suite

[[ $# -gt 0 ]] || mapfile -t releases < <(cd "$top/glibc-patches" && printf '%s\n' [0-9]* | sort -rV)
[[ $# -eq 0 ]] || releases=("$@")
count() {
	awk '{ n[$2]++ } END { printf "%d pass, %d unsupported, %d fail",
		n["PASS"], n["UNSUPPORTED"], n["FAIL"] + n["TIMEOUT"] }' "$1"
}
for release in "${releases[@]}"; do
	tap_show "$release, pristine, on both kernels" "$here/../glibc/suite" --pristine "$release" pristine patched
	tap_show "$release with our patches, on both kernels" "$here/../glibc/suite" "$release" pristine patched
	tap_true "$release: make check-abi lists the library's symbols" \
		test "$(grep -c '^\./libc\.symlist:' "$results/$release.symbols")" -gt 2000
	tap_run "$release: and they are those of the pristine one" \
		diff "$results/$release-pristine.symbols" "$results/$release.symbols"
	for kernel in pristine patched; do
		before=$results/$release-pristine.$kernel after=$results/$release.$kernel
		[[ -s $before && -s $after ]] || { not_ok "$release, $kernel kernel" "no results in $results"; continue; }
		worse=$(awk 'NR == FNR { was[$1] = $2; next }
			$2 != "PASS" && $2 != was[$1] && !($2 == "UNSUPPORTED" && !($1 in was)) { print $1, $2, was[$1] }
			{ now[$1] }
			END { for (t in was) if (!(t in now)) print t, "gone" }' "$before" "$after")
		tap_true "$release, $kernel kernel: most tests pass with the pristine glibc" \
			test "$(grep -c ' PASS$' "$before")" -gt 150
		tap_is "$worse" '' "$release, $kernel kernel: $(count "$after") (pristine glibc: $(count "$before"))"
		tap_true "$release, $kernel kernel: the tests that we add pass" \
			test "$(grep -cE '^(malloc/tst-realloc-(mmapped|relocate)[^ ]*|misc/tst-linux-mremap2) PASS' "$after")" -gt 10
	done
done
tap_end
