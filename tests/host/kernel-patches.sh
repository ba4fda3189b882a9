#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The kernel patches by the kernel's own measures: checkpatch, and upstream's
# userland tests of the VMA code on the patched tree.
set -euo pipefail
top=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.." && pwd -P)
# shellcheck source=tests/tap.sh
. "$top/tests/tap.sh"
build=$(realpath -m -- "${RELOCATE_BUILD:-build}")
tree=$build/kernel-tree
tmp=$(mktemp -d)
trap 'rm -rf -- "$tmp"' EXIT

if [[ ! -e $tree/scripts/checkpatch.pl ]]; then
	skip 'checkpatch and the VMA tests' "no $tree (make kernel-tree)"
	tap_end
fi

# Who submits a patch adds the Signed-off-by line; MAINTAINERS is for then too.
# A tracepoint is laid out as all tracepoints are, which checkpatch does not know.
for patch in "$top"/kernel/patches/*.patch; do
	[[ -e $patch ]] || continue
	ignore=MISSING_SIGN_OFF,FILE_PATH_CHANGES
	! grep -q '^+++ b/include/trace/' "$patch" || ignore+=,PARENTHESIS_ALIGNMENT,OPEN_ENDED_LINE
	tap_run "checkpatch --strict ${patch##*/}" env -C "$tree" perl scripts/checkpatch.pl \
		--strict --terse --no-summary --ignore "$ignore" "$patch"
done

# In a copy of what they need, so that the tree stays as it is
if ! compgen -G '/usr/include/*/urcu.h' >/dev/null && [[ ! -e /usr/include/urcu.h ]]; then
	skip 'VMA tests' 'no liburcu (Debian package liburcu-dev)'
	tap_end
fi
mkdir "$tmp/linux"
(cd "$tree" && git ls-files -z tools lib mm include arch/x86 scripts |
	tar --null -T - -cf - --ignore-failed-read 2>/dev/null) | tar -xf - -C "$tmp/linux"
capture env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL make -C "$tmp/linux/tools/testing/vma"
# shellcheck disable=SC2154 # capture sets them
if [[ $status != 0 ]]; then
	not_ok 'the VMA tests build' "$(tail -n 30 <<<"$out$err")"
	tap_end
fi
ok 'the VMA tests build'
capture env -C "$tmp/linux/tools/testing/vma" ./vma
diag "$out$err"
# "N tests run, N passed, N failed."
if [[ $out$err =~ ([0-9]+)\ tests\ run,\ ([0-9]+)\ passed,\ ([0-9]+)\ failed ]]; then
	tap_is "$status ${BASH_REMATCH[3]}" '0 0' "${BASH_REMATCH[1]} VMA tests, none fails"
	tap_true 'there are some' test "${BASH_REMATCH[1]}" -gt 0
else
	not_ok 'the VMA tests say how many ran' "status $status"
fi
tap_end
