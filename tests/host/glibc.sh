#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# The patched glibc as built: programs compiled with its headers, run with it
# by relocate-run, and linked statically with it.

set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=tests/tap.sh
. "$here/../tap.sh"

cc=${CC:-gcc}
build=${RELOCATE_BUILD:-build}
if [[ ! -d $build/glibc ]]; then
	skip "the patched glibc" "no $build/glibc (make glibc)"
	tap_end
fi
build=$(cd "$build" && pwd)
glibc=$build/glibc
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"

flags=(-std=gnu11 -O2 -Wall -Wextra -Werror)
with_glibc=(-isystem "$glibc/include" "-B$glibc/lib" "-L$glibc/lib")
dynamic=("-Wl,-rpath,$glibc/lib"
	"-Wl,--dynamic-linker=$glibc/lib/ld-linux-x86-64.so.2")

tap_run "realloc test builds with the system's glibc" \
	"$cc" "${flags[@]}" -o realloc "$here/glibc_realloc.c" -pthread
tap_run "realloc test under relocate-run" "$build/relocate-run" ./realloc
tap_run "realloc test links with the static glibc" \
	"$cc" "${flags[@]}" -static "${with_glibc[@]}" -o realloc-static \
	"$here/glibc_realloc.c"
tap_run "realloc test, static" ./realloc-static
# The test must be able to fail: the system's glibc does not pass it.
status=0
out=$(./realloc 2>&1) || status=$?
tap_is "$status $(grep -c '^ok' <<<"$out")" "1 0" \
	"the unpatched glibc fails every part of the realloc test"

tap_run "program builds with the glibc's headers" \
	"$cc" "${flags[@]}" "${with_glibc[@]}" "${dynamic[@]}" -o headers \
	"$here/../guest/glibc_headers.c"
tap_run "program built with the glibc's headers" ./headers
tap_like "$(./headers)" 'glibc 2\.44' "it runs with that glibc"
if [[ -d $build/kernel/headers/include ]]; then
	tap_run "program builds with our kernel's headers too" \
		"$cc" "${flags[@]}" -isystem "$build/kernel/headers/include" \
		"${with_glibc[@]}" "${dynamic[@]}" -o headers2 \
		"$here/../guest/glibc_headers.c"
else
	skip "program builds with our kernel's headers too" "make kernel-headers"
fi
tap_end
