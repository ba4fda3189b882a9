#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The kernel patches by the kernel's own measures: checkpatch, and upstream's
# userland tests of the VMA code on the patched tree.  Then the debug patches,
# which are for whatever the kernel tree holds.
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
for patch in "$top"/kernel/7.3/patches/*.patch "$top"/kernel/7.3/debug-patches/*.patch; do
	[[ -e $patch && $patch != */0000-cover-letter.patch ]] || continue
	ignore=MISSING_SIGN_OFF,FILE_PATH_CHANGES,UNKNOWN_COMMIT_ID
	! grep -q '^+++ b/include/trace/' "$patch" || ignore+=,PARENTHESIS_ALIGNMENT,OPEN_ENDED_LINE
	tap_run "checkpatch --strict ${patch#"$top"/kernel/}" env -C "$tree" perl scripts/checkpatch.pl \
		--strict --terse --no-summary --ignore "$ignore" "$patch"
done

# ---- debug patches ----------------------------------------------------------------

pt() { capture "$top/scripts/patch-tree" "$@"; }
g() { git -C "$small" -c user.name=Somebody -c user.email=some@body.example "$@"; }

# shellcheck disable=SC2154 # capture sets them
{
pt check kernel
if [[ $status != 0 ]]; then
	skip 'round trip of the debug patches' "$tree holds work that has not been exported"
else
	cp -r "$top/kernel/7.3/debug-patches" "$tmp/patches"
	args=(kernel-debug --from "$tree" --patches "$tmp/patches" --tree "$tmp/kernel-debug-tree")
	pt make "${args[@]}"
	tap_like "$status $err" '^0 ' 'the debug patches apply to the series'
	pt export "${args[@]}"
	tap_run 'round trip (make kernel-debug-tree kernel-debug-patches mends it)' \
		diff -r "$top/kernel/7.3/debug-patches" "$tmp/patches"
	rm -rf "$tmp/kernel-debug-tree"
fi

# The rules, on a small tree
export RELOCATE_CACHE=$tmp/cache
mkdir -p "$tmp/src/mm" "$tmp/series" "$tmp/debug"
printf 'VERSION = 7\nPATCHLEVEL = 3\nSUBLEVEL = 99\nEXTRAVERSION =\n' >"$tmp/src/Makefile"
printf '%s\n' 1 2 3 4 5 6 7 8 9 >"$tmp/src/mm/mremap.c"
series=$tmp/small-tree small=$tmp/small-debug-tree
args=(kernel-debug --from "$series" --patches "$tmp/debug" --tree "$small")
pt make kernel --from "$tmp/src" --patches "$tmp/series" --tree "$series"
echo 0 >"$series/mm/new.c"
sed -i 's/1/one/' "$series/mm/mremap.c"
pt make "${args[@]}"
tap_is "$status $(cd "$small/mm" && echo *) $(head -n 1 "$small/mm/mremap.c")" '0 mremap.c new.c one' \
	'the debug tree has what is edited and new in the kernel tree'
tap_is "$(git -C "$series" status --porcelain)" $' M mm/mremap.c\n?? mm/new.c' 'where nothing has changed'
sed -i 's/9/nine/' "$small/mm/mremap.c"
pt make "${args[@]}"
tap_is "$status" 0 'an edit of the debug tree is no obstacle'
echo 1 >"$series/mm/new.c"
pt make "${args[@]}"
tap_like "$status $err" '^1 .*uncommitted changes.*make kernel-debug-patches' 'until the kernel tree changes'
g commit -qam 'mm: nine'
pt make "${args[@]}"
tap_like "$status $err" '^1 .*commits that are not in.*make kernel-debug-patches' 'nor are unexported commits lost'
pt export "${args[@]}"
tap_is "$status $(cd "$tmp/debug" && echo *)" '0 0001-mm-nine.patch' 'export'
pt make "${args[@]}"
tap_is "$status $(cat "$small/mm/new.c") $(tail -n 1 "$small/mm/mremap.c")" '0 1 nine' 'the debug tree follows the kernel tree'
sed -i 's/8/eight/' "$series/mm/mremap.c"
pt make "${args[@]}"
tap_like "$status $err" "^1 .*0001-mm-nine.patch does not apply to the series in $series; refresh" \
	'a debug patch that does not apply to the series is named'
GIT_EDITOR=true g rebase -q --onto refs/relocate/pristine pristine >/dev/null 2>&1 || {
	sed -i '/^[<=>]/d; /^8$/d; /^9$/d' "$small/mm/mremap.c"
	g add -A
	GIT_EDITOR=true g rebase --continue >/dev/null 2>&1
}
g tag -f pristine refs/relocate/pristine >/dev/null
pt export "${args[@]}"
pt make "${args[@]}"
tap_is "$status $(tail -n 2 "$small/mm/mremap.c")" $'0 eight\nnine' 'and can be rebased'
pt check "${args[@]}"
tap_is "$status" 0 'and is exported then'
}

# ---- the VMA tests --------------------------------------------------------------

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
