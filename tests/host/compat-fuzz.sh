#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# The fuzz targets for a while, with inputs that are the same every time. For
# more: "make fuzz", then build/fuzz/fuzz_calls and fuzz_maps are libFuzzer's.
set -euo pipefail
top=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.." && pwd -P)
# shellcheck source=tests/tap.sh
. "$top/tests/tap.sh"
tmp=$(mktemp -d)
trap 'rm -rf -- "$tmp"' EXIT
unset MAKEFLAGS MFLAGS MAKELEVEL
cd "$tmp"

unset "${!RELOCATE_@}"
tap_run 'configure' "$top/configure" --disable-kernel --disable-glibc --enable-werror
# What everybody has: no libFuzzer
tap_run 'make fuzz with gcc' make fuzz FUZZ_CC=gcc \
	FUZZ_CFLAGS='-g -O1 -fsanitize=address,undefined -fno-sanitize-recover=all'
for target in fuzz_calls:2500 fuzz_maps:20000; do
	tap_run "${target%:*}, ${target#*:} inputs" "build/fuzz/${target%:*}" --runs "${target#*:}" --seed 1
done
tap_end
