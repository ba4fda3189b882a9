#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# scripts/patch-tree: its rules on a small tree, then the round trip of our own
# patches byte for byte.
set -euo pipefail
top=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.." && pwd -P)
# shellcheck source=tests/tap.sh
. "$top/tests/tap.sh"
tmp=$(mktemp -d)
trap 'rm -rf -- "$tmp"' EXIT
export GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_NOSYSTEM=1
own_cache=${RELOCATE_CACHE:-}
export RELOCATE_CACHE=$tmp/cache

mkdir -p "$tmp/src/mm"
printf 'VERSION = 7\nPATCHLEVEL = 3\nSUBLEVEL = 99\nEXTRAVERSION =\n' >"$tmp/src/Makefile"
printf '%s\n' one two three four >"$tmp/src/mm/mremap.c"
mkdir "$tmp/patches"
tree=$tmp/tree
pt() { capture "$top/scripts/patch-tree" "$1" kernel --from "$tmp/src" --patches "$tmp/patches" --tree "$tree"; }
g() { git -C "$tree" -c user.name=Somebody -c user.email=some@body.example "$@"; }
commit() { g commit -qam "$1"; }

# shellcheck disable=SC2154 # capture sets them
{
pt make
tap_like "$status $err" '^0 .*Linux 7.3.99 and 0 patches' 'a tree without patches'
tap_is "$(g rev-parse pristine)" "$(g rev-parse HEAD)" 'HEAD is the tag pristine'
sed -i 's/two/2/' "$tree/mm/mremap.c"
pt export
tap_like "$status $err" '^1 .*dirty' 'no export of a dirty tree'
commit $'mm: two is 2\n\nA reason.'
sed -i 's/four/4/' "$tree/mm/mremap.c"
commit 'mm: four is 4'
pt export
tap_like "$status $err" '^0 .*2 patches' 'export'
tap_is "$(cd "$tmp/patches" && echo *)" '0001-mm-two-is-2.patch 0002-mm-four-is-4.patch' 'two files, numbered'
tap_is "$(grep -h '^From:\|^Date:' "$tmp/patches"/* | sort -u)" \
	$'Date: Thu, 1 Jan 2026 00:00:00 +0000\nFrom: relocate-anon <relocate-anon@localhost>' \
	'author and date are the project'"'"'s'
cp -r "$tmp/patches" "$tmp/first"
head=$(g rev-parse HEAD)
pt make
tap_is "$status $(g rev-parse HEAD)" "0 $head" 'make after export changes nothing'
rm -rf "$tree"
pt make
tap_is "$status $(cat "$tree/mm/mremap.c")" $'0 one\n2\nthree\n4' 'a new tree from the patches'
one=$(g rev-parse HEAD)
rm -rf "$tree"
pt make
tap_is "$(g rev-parse HEAD)" "$one" 'commit ids repeat'
pt export
tap_run 'round trip, byte for byte' diff -r "$tmp/first" "$tmp/patches"

rm "$tmp/patches/0002"*
pt make
tap_is "$status $(cat "$tree/mm/mremap.c")" $'0 one\n2\nthree\nfour' 'a patch fewer: the tree follows'
cp "$tmp/first/0002"* "$tmp/patches"
echo five >>"$tree/mm/mremap.c"
pt make
tap_like "$status $err" '^1 .*uncommitted changes' 'changed patches do not overwrite an edited tree'
commit 'mm: five'
pt make
tap_like "$status $err" '^1 .*commits that are not in' 'nor unexported commits'
tap_is "$(tail -n 1 "$tree/mm/mremap.c")" five 'they are still there'
pt check
tap_like "$status $err" '^1 .*not in' 'check says so'
g reset -q --hard HEAD~1
pt make
tap_is "$status" 0 'without them the patches are applied'
pt check
tap_is "$status" 0 'and check is content'

sed -i 's/^-four/-fuor/; s/^ three/ eerht/' "$tmp/patches/0002"*
before=$(g rev-parse HEAD)
pt make
tap_like "$status $err" '^1 .*0002-mm-four-is-4.patch does not apply to Linux 7.3.99' 'a patch that does not apply is named, with the release'
tap_is "$(g rev-parse HEAD) $(g status --porcelain)" "$before " 'the tree is as it was'
rm -rf "$tree"
pt make
tap_is "$status $([[ -e $tree ]] && echo tree)" '1 ' 'a new tree is not left half made'
cp "$tmp/first"/* "$tmp/patches"
pt make
tap_is "$status $(g rev-parse HEAD)" "0 $one" 'with good patches the next run works'

# a new release on which a patch does not apply
sed -i 's/99/100/' "$tmp/src/Makefile"
sed -i 's/three/drei/' "$tmp/src/mm/mremap.c"
pt make
tap_like "$status $err" '^1 .*0001-mm-two-is-2.patch does not apply to Linux 7.3.100' 'a new release that the patches do not fit'
tap_is "$(g rev-parse HEAD) $(g describe --tags --always pristine)" "$one pristine" 'leaves the tree as it was'
EDITOR=true g rebase -q --onto refs/relocate/pristine pristine >/dev/null 2>&1 || {
	printf '%s\n' one 2 drei four >"$tree/mm/mremap.c"
	g add -A
	GIT_EDITOR=true g rebase --continue >/dev/null 2>&1 || {
		printf '%s\n' one 2 drei 4 >"$tree/mm/mremap.c"
		g add -A
		GIT_EDITOR=true g rebase --continue >/dev/null 2>&1
	}
}
g tag -f pristine refs/relocate/pristine >/dev/null
pt export
pt make
tap_is "$status $(cat "$tree/mm/mremap.c")" $'0 one\n2\ndrei\n4' 'and can be rebased to as CONTRIBUTING.md says'

rm -rf "$tmp/cache"
pt make
g fsck >/dev/null 2>&1 && gone=whole || gone=broken
tap_is "$status $gone" '0 whole' 'the tree survives the loss of the cache'
capture "$top/scripts/patch-tree" make frob
tap_like "$status $err" "^1 .*unknown tree 'frob'" 'an unknown tree'
}

# --- our own patches -----------------------------------------------------------------
export RELOCATE_CACHE=$own_cache
[[ -n $own_cache ]] || unset RELOCATE_CACHE
for dir in "$top"/kernel/7.3/patches "$top"/glibc-patches/[0-9]* "$top"/man/patches; do
	name=${dir#"$top"/}
	case $name in
	glibc-patches/*) name=glibc-${name#*/} ;;
	kernel/*) name=kernel ;;
	*) name=${name%/*} ;;
	esac
	if ! compgen -G "$dir/*.patch" >/dev/null; then
		skip "round trip of the $name patches" 'there are none'
		continue
	fi
	rm -rf "$tmp/patches" "$tmp/tree-$name"
	mkdir "$tmp/patches"
	cp "$dir"/*.patch "$tmp/patches/"
	args=("$name" --patches "$tmp/patches" --tree "$tmp/tree-$name")
	capture "$top/scripts/patch-tree" make "${args[@]}"
	# shellcheck disable=SC2154
	if [[ $status != 0 && $err == *'cannot fetch'* ]]; then
		skip "round trip of the $name patches" 'the source cannot be fetched'
		continue
	elif [[ $status != 0 ]]; then
		not_ok "round trip of the $name patches" "$err"
		continue
	fi
	# The cover letter is none.
	number=$(find "$dir" -name '*.patch' ! -name '*-cover-letter.patch' | wc -l)
	tap_like "$err" " and $number patches" "the $name patches are counted"
	"$top/scripts/patch-tree" export "${args[@]}" 2>/dev/null
	mkdir -p "$tmp/expected"
	rm -f "$tmp/expected"/*
	cp "$dir"/*.patch "$tmp/expected/"
	tap_run "round trip of the $name patches" diff -r "$tmp/expected" "$tmp/patches"
	rm -rf "$tmp/tree-$name"
done
tap_end
