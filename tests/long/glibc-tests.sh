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
for release in "${releases[@]}"; do
	tap_run "$release, pristine, on both kernels" "$here/../glibc/suite" --pristine "$release" pristine patched
	tap_run "$release with our patches, on both kernels" "$here/../glibc/suite" "$release" pristine patched
	# "make check-abi" itself fails with any prefix but /usr: one symbol has its length.
	read -r _ before < <("$top/scripts/build-glibc" --pristine --release "$release" objects 2>/dev/null)
	read -r _ after < <("$top/scripts/build-glibc" --release "$release" objects 2>/dev/null)
	symbols() { make -C "$1" check-abi >/dev/null 2>&1 || :; (cd "$1" && find . -name '*.symlist' | sort | xargs sha256sum) }
	new=$(diff <(symbols "$before") <(symbols "$after") 2>&1) || :
	tap_is "$(find "$after" -maxdepth 1 -name libc.symlist -size +50k | wc -l) $new" '1 ' \
		"$release: make check-abi finds the symbols of the pristine one"
	for kernel in pristine patched; do
		before=$results/$release-pristine.$kernel after=$results/$release.$kernel
		[[ -s $before && -s $after ]] || { not_ok "$release, $kernel kernel" "no results in $results"; continue; }
		worse=$(awk 'NR == FNR { was[$1] = $2; next }
			$2 != "PASS" && $2 != was[$1] && !($2 == "UNSUPPORTED" && !($1 in was)) { print $1, $2, was[$1] }
			{ now[$1] }
			END { for (t in was) if (!(t in now)) print t, "gone" }' "$before" "$after")
		count=$(awk '{ n[$2]++ } END { printf "%d pass, %d unsupported, %d fail",
			n["PASS"], n["UNSUPPORTED"], n["FAIL"] + n["TIMEOUT"] }' "$after")
		was=$(awk '{ n[$2]++ } END { printf "%d, %d, %d", n["PASS"], n["UNSUPPORTED"], n["FAIL"] + n["TIMEOUT"] }' "$before")
		tap_is "$worse" '' "$release, $kernel kernel: $count (pristine glibc: $was)"
		tap_true "$release, $kernel kernel: the tests that we add pass" \
			test "$(grep -cE '^(malloc/tst-realloc-(mmapped|relocate)[^ ]*|misc/tst-linux-mremap2) PASS' "$after")" -gt 10
	done
done
tap_end
