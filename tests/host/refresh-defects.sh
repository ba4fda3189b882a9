#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# scripts/refresh-defects, on a small tree.

set -euo pipefail
top=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.." && pwd -P)
# shellcheck source=tests/tap.sh
. "$top/tests/tap.sh"
work=$(mktemp -d)
trap 'rm -rf -- "$work"' EXIT
export RELOCATE_BUILD=$work/build XDG_CACHE_HOME=$work/cache
export GIT_CONFIG_GLOBAL=/dev/null GIT_AUTHOR_NAME=x GIT_AUTHOR_EMAIL=x GIT_COMMITTER_NAME=x GIT_COMMITTER_EMAIL=x
refresh=$top/scripts/refresh-defects
tree=$work/build/kernel-tree
plan 13

git init -q "$tree"
cd "$tree"
seq 1 40 >a.c
git add a.c
git commit -qm first
cd "$work"
# patch NAME LINE WITH: a defect that changes the line
patch() {
	sed "s/^$2\$/$3/" "$tree/a.c" >"$work/new.c"
	{
		printf 'What %s does.\n\nKernel: patched\nStorm: --seconds 60\n\n' "$1"
		diff -u --label a/a.c --label b/a.c "$tree/a.c" new.c | sed '1i diff --git a/a.c b/a.c' || :
	} >"$1.patch"
}
patch one 20 twenty
patch two 30 thirty
cp one.patch one.before
cp two.patch two.before

# shellcheck disable=SC2154 # capture sets them
{
	capture "$refresh" one.patch two.patch
	tap_like "$status $err" '^0 .*2 patches: 0 changed, 0 left' 'what fits stays'
	tap_true 'to the byte' cmp one.patch one.before

	sed -i '1i zero' "$tree/a.c"
	git -C "$tree" commit -qam 'a line above'
	capture "$refresh" one.patch two.patch
	tap_like "$status $err" '^0 .*changed: one.*2 patches: 2 changed' 'a line above: both are made anew'
	tap_like "$(<one.patch)" $'^What one does\.\n\nKernel: patched\nStorm: --seconds 60\n\ndiff --git .*@@ -18,7 \+18,7 @@.*-20\n\\+twenty\n' \
		'the text stays, the place is the new one'
	tap_run 'and it applies' git -C "$tree" apply --check "$work/one.patch"

	# The context of one changes, by an amended commit, and what two changes goes.
	sed -i 's/^18$/eighteen/; /^30$/d' "$tree/a.c"
	git -C "$tree" commit -qa --amend -m 'another line above'
	cp two.patch two.before
	capture git -C "$tree" apply --check "$work/one.patch"
	tap_is "$status" 1 'one does not apply any more'
	capture "$refresh" one.patch two.patch
	tap_like "$status $err" '^1 .*changed: one, merged from [0-9a-f]* a line above' 'it is merged from where it did'
	tap_like "$(<one.patch)" $' eighteen\n 19\n-20\n\\+twenty\n' 'with the new lines around it'
	tap_like "$err" 'by hand: two.*2 patches: 1 changed, 1 left' 'what cannot be merged is named'
	tap_true 'and left alone' cmp two.patch two.before
	tap_is "$(git -C "$tree" status --porcelain) $(git -C "$tree" rev-list --all | wc -l)" ' 2' 'the tree is not touched'

	capture "$refresh" none.patch
	tap_like "$status $err" '^1 .*no file none' 'a file that is not there'
	sed -i 's/^Kernel: .*/Kernel: debug/' one.patch
	capture "$refresh" one.patch
	tap_like "$status $err" "^1 .*make kernel-debug-tree" 'a tree that is not there'
}
tap_end
