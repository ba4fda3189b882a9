#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# The series for each glibc release: it applies to Debian's source and to upstream's
# release, which is Debian's with Debian's patches taken back; the export reproduces
# it; and it differs from the first release's only where tests/glibc/differences.list
# says so.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
# shellcheck source=tests/tap.sh
. "$here/../tap.sh"
differences=$top/tests/glibc/differences.list

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
export GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_NOSYSTEM=1
mapfile -t releases < <(cd "$top/glibc-patches" && printf '%s\n' [0-9]* | sort -rV)
newest=${releases[0]}

# What upstream's release does without: the check that 0005 is about came later.
not_for_upstream() { [[ $1 == 2.36 && $2 == 0005-* ]]; }
# NEWS of the next release is put above the newest section, which Debian has more of.
wants_fuzz() { [[ $1 == *-NEWS-* ]]; }

# take_back TREE PATCHES: undo the patches of a quilt series
# shellcheck disable=SC2317 # called by tap_run, as apply is
take_back() {
	local list p
	mapfile -t list < <(sed 's/#.*//' "$2/series" | awk 'NF { print $1 }' | tac)
	((${#list[@]} > 20)) || return 1
	for p in "${list[@]}"; do
		patch -d "$1" -R -s -f -p1 <"$2/$p" || { echo "$p"; return 1; }
	done
}

# shellcheck disable=SC2317
apply() { # TREE PATCH...
	git -C "$1" -c user.name=t -c user.email=t@localhost am -q --no-3way --empty=keep \
		--whitespace=nowarn "${@:2}"
}
# shellcheck disable=SC2317
apply_fuzzily() { # TREE PATCH
	patch -d "$1" -s -p1 -F3 <"$2" &&
		awk '/^Version / { n++ } n == 1 && /MADV_COALESCE/ { found = 1 } END { exit !found }' "$1/NEWS"
}

for release in "${releases[@]}"; do
	series=("$top/glibc-patches/$release"/*.patch)
	if ! pristine=$("$top/scripts/patch-tree" pristine "glibc-$release" 2>"$tmp/log") ||
		! debian=$("$top/scripts/fetch-source" "glibc-$release-packaging" 2>>"$tmp/log"); then
		not_ok "$release: source" "$(tail -n 3 "$tmp/log")"
		continue
	fi
	tree=$tmp/tree-$release
	git clone -q --shared "$pristine" "$tree"
	tap_run "$release: applies to Debian's source" apply "$tree" "${series[@]}"
	mkdir "$tmp/export-$release"
	cover=()
	[[ ! -e $top/glibc-patches/$release/0000-cover-letter.patch ]] || cover=(--always --start-number=0)
	git -C "$tree" -c core.abbrev=12 format-patch -q -o "$tmp/export-$release" --zero-commit \
		--no-signature --no-numbered --stat=72 --summary ${cover[@]+"${cover[@]}"} pristine..
	((!${#cover[@]})) || mv "$tmp/export-$release"/0000-*.patch "$tmp/export-$release/0000-cover-letter.patch"
	tap_is "$(cd "$tmp/export-$release" && ls)" "$(cd "$top/glibc-patches/$release" && ls)" \
		"$release: one patch, one commit"

	git -C "$tree" reset -q --hard pristine
	mkdir "$tmp/debian-$release"
	tar -x -C "$tmp/debian-$release" -f "$debian"
	tap_run "$release: Debian's patches can be taken back" take_back "$tree" "$tmp/debian-$release/patches"
	git -C "$tree" add -A
	git -C "$tree" -c user.name=t -c user.email=t@localhost commit -q -m upstream
	tap_like "$(git -C "$tree" diff --shortstat pristine)" '[0-9]+ files changed' \
		"$release: which changes the source"
	for p in "${series[@]}"; do
		if not_for_upstream "$release" "${p##*/}"; then
			tap_is "$(grep -c MREMAP_KNOWN_BITS "$tree/sysdeps/unix/sysv/linux/mremap.c")" 0 \
				"$release: upstream's mremap passes all flags, so ${p##*/} is not for it"
		elif wants_fuzz "${p##*/}"; then
			tap_run "$release: ${p##*/} applies to upstream's with patch -F3" apply_fuzzily "$tree" "$p"
		else
			tap_run "$release: ${p##*/} applies to upstream's" apply "$tree" "$p"
		fi
	done
	rm -rf "$tree"
done

# What a patch says, and what it adds to each file: NUMBER FILE LINE
added() {
	local p
	for p in "$top/glibc-patches/$1"/*.patch; do
		awk -v n="$(basename "$p" | cut -c1-4)" '
			/^---$/ && !diff { skip = 1 }
			/^diff --git / { diff = 1; file = $4; sub(/^b\//, "", file); next }
			!diff && !skip && !/^(From|Date)/ { print n, "message", $0 }
			diff && /^[-+]/ && !/^(---|\+\+\+) / { print n, file, $0 }' "$p"
	done
}
added "$newest" >"$tmp/added-$newest"
tap_true "the series for $newest says something" test "$(wc -l <"$tmp/added-$newest")" -gt 400
for release in "${releases[@]:1}"; do
	added "$release" >"$tmp/added-$release"
	found=$( (diff "$tmp/added-$newest" "$tmp/added-$release" || :) |
		awk '/^[<>]/ { print $2, $3 }' | sort -u)
	listed=$(awk -v r="$release" '!/^#/ && $1 == r { print $2, $3 }' "$differences" | sort -u)
	tap_is "$found" "$listed" "$release: differs from $newest as listed"
done
tap_end
