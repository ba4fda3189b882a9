#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# The patched glibc as built: programs compiled with its headers, run with it
# by relocate-run, and linked statically with it.

set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=tests/tap.sh
. "$here/../tap.sh"

build=${RELOCATE_BUILD:-build}
if [[ ! -d $build/glibc ]]; then
	skip "the patched glibc" "no $build/glibc (make glibc)"
	tap_end
fi
build=$(cd "$build" && pwd)
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"

tap_run "programs build" "$here/../glibc/build" "$build/glibc" .
# Others may be built, and this one not be what it takes by itself.
release=$("$build/glibc/lib/ld-linux-x86-64.so.2" --version |
	sed -n '1s/.* release version \([0-9]*\.[0-9]*\).*/\1/p')
run=("$build/relocate-run" --release "$release")
always=GLIBC_TUNABLES=glibc.malloc.mremap_relocate_min_mmaps=0
tap_run "realloc under relocate-run" env "$always" "${run[@]}" ./realloc
tap_run "realloc in a static program" env "$always" ./realloc-static
tap_run "realloc by default" "${run[@]}" ./realloc default
tap_run "realloc by the loader" env "$always" "${run[@]}" --loader ./realloc
tap_run "realloc by default, in a static program" ./realloc-static default
# The test must be able to fail.
status=0
out=$(./realloc 2>&1) || status=$?
tap_is "$status $(grep '^ok' <<<"$out")" "1 ok 1 - what is mapped is counted right" \
	"realloc of the system's glibc fails every part of the test that is about relocation"
status=0
./realloc default >/dev/null 2>&1 || status=$?
tap_is "$status" 1 "and that about the default"

# As make install-glibc puts it, which a Makefile beside the build folder can do
if [[ -e $build/../Makefile ]]; then
	# shellcheck disable=SC2317 # called by tap_run
	make_glibc() { env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL make -s -C "$build/.." "$@"; }
	tap_run "make install-glibc, DESTDIR" make_glibc install-glibc DESTDIR="$tmp/dest" prefix=/opt/x
	tap_true "installs there" test -x "$tmp/dest/opt/x/lib/relocate-anon/glibc/lib/ld-linux-x86-64.so.2"
	tap_run "make uninstall-glibc, DESTDIR" make_glibc uninstall-glibc DESTDIR="$tmp/dest" prefix=/opt/x
	tap_is "$(find "$tmp/dest" ! -type d)" '' "leaves nothing"
	tap_run "make install-glibc, prefix" make_glibc install-glibc prefix="$tmp/x"
	tap_is "$("$tmp/x/bin/relocate-run" --glibc 2>&1)" "$tmp/x/lib/relocate-anon/glibc" \
		"its relocate-run finds it"
	tap_run "and runs programs with it" env "$always" "$tmp/x/bin/relocate-run" ./realloc
else
	skip "make install-glibc" "no Makefile beside $build"
fi

# The part that the demonstration takes from it
if [[ -d $build/kernel/headers/include ]]; then
	tap_run "build-glibc core" env RELOCATE_BUILD="$build" "$here/../../scripts/build-glibc" core "$tmp/core"
	tap_is "$(cd "$tmp/core/lib" && sha256sum -- *)" \
		"$(cd "$build/glibc/lib" && sha256sum -- ld-linux-x86-64.so.2 libc.so.6)" \
		"puts the dynamic linker and libc.so.6 there"
else
	skip "build-glibc core" "no $build/kernel/headers"
fi

tap_run "headers and mremap()" ./headers
tap_like "$(./headers)" 'glibc 2\.44' "the program runs with that glibc"
if [[ -d $build/kernel/headers/include ]]; then
	tap_run "programs build with our kernel's headers too" \
		env KERNEL_HEADERS="$build/kernel/headers/include" \
		"$here/../glibc/build" "$build/glibc" with-kernel
else
	skip "programs build with our kernel's headers too" \
		"make kernel-headers"
fi
tap_end
