#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The library's binary interface is the promised one: tests/compat/abi.list.

set -euo pipefail
top=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.." && pwd -P)
# shellcheck source=tests/tap.sh
. "$top/tests/tap.sh"
RELOCATE_BUILD=$(realpath -m -- "${RELOCATE_BUILD:-build}")
export RELOCATE_BUILD
work=$(mktemp -d)
trap 'rm -rf -- "$work"' EXIT
if [[ $(getconf LONG_BIT) != 64 ]]; then
	tap_skip_all 'the list is for 64-bit pointers'
fi
plan 9
abi=$top/tests/compat/abi list=$top/tests/compat/abi.list
export LC_ALL=C

tap_run 'what there is can be listed' "$abi"
"$abi" 2>/dev/null | sort >"$work/have" || :
grep -v '^#' "$list" | sort >"$work/promised"
tap_is "$(comm -13 "$work/have" "$work/promised")" '' 'nothing that was promised is gone or has changed'
tap_is "$(comm -23 "$work/have" "$work/promised")" '' \
	'nothing is there that is not promised (new? add it to tests/compat/abi.list)'

# changed NAME SED-CODE PATTERN: a header so changed breaks a promise
changed() {
	sed "$2" "$top/compat/mremap_compat.h" >"$work/changed.h"
	RELOCATE_HEADER=$work/changed.h "$abi" | sort >"$work/changed" || :
	tap_like "$(comm -13 "$work/changed" "$work/promised")" "$3" "$1 is found"
}
changed 'another value' 's/COMPAT_BUSY = 7/COMPAT_BUSY = 9/' '^constant MREMAP_COMPAT_BUSY 7$'
changed 'another type' 's/^int mremap_compat_version/long mremap_compat_version/' '^function int mremap_compat_version'
changed 'a larger structure' 's/^#define MREMAP_COMPAT_METHODS 4/#define MREMAP_COMPAT_METHODS 5/' 'struct mremap_compat_report size 20'
changed 'another place of a member' 's/^	unsigned int method;/	long x; unsigned int method;/' 'member mremap_compat_report.method offset 0 size 4'
changed 'a parameter more' 's/^void mremap_compat_close(/&int x, /' '^function void mremap_compat_close'
changed 'a constant less' '/^#define MREMAP_COMPAT_KEEP_PAGES/d' '^constant MREMAP_COMPAT_KEEP_PAGES 11$'
tap_end
