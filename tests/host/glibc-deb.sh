#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# What make glibc-deb builds from, for each release: Debian's source, with our series after
# Debian's patches and a version of its own.  tests/long/glibc-deb.sh builds and installs it.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
# shellcheck source=tests/tap.sh
. "$here/../tap.sh"
tap_need dpkg-source:dpkg-dev patch:patch
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
unset DEBFULLNAME
export DEBEMAIL=someone@example.org RELOCATE_BUILD=$tmp

# A second way to the same source: the tarball has Debian's patches already.
second_way() { # RELEASE TREE
	local source p
	source=$("$top/scripts/fetch-source" "glibc-$1" 2>/dev/null)
	mkdir "$2"
	tar -x -C "$2" --strip-components=1 -f "$source"
	for p in "$top/glibc-patches/$1"/*.patch; do
		[[ $p == */0000-* ]] || patch -d "$2" -s -p1 <"$p"
	done
}

for dir in "$top"/glibc-patches/[0-9]*; do
	release=${dir##*/}
	tree=$tmp/glibc-$release
	capture "$top/scripts/build-glibc-deb" --release "$release" prepare "$tree"
	# shellcheck disable=SC2154 # capture sets them
	tap_is "$status" 0 "$release: Debian's patches and ours apply"
	((status == 0)) || { diag "$err"; continue; }
	series=$(sed 's/#.*//' "$tree/debian/patches/series" | awk 'NF { print $1 }')
	ours=$(cd "$dir" && printf 'relocate-anon/%s\n' *.patch | grep -v /0000-)
	tap_is "$(tail -n "$(wc -l <<<"$ours")" <<<"$series")" "$ours" "$release: ours come last"
	tap_is "$(cat "$tree/.pc/applied-patches")" "$series" "$release: all of them are applied"
	version=$(dpkg-parsechangelog -l "$tree/debian/changelog" -S Version)
	debian=$(dpkg-parsechangelog -l "$tree/debian/changelog" -S Version --offset 1 --count 1)
	tap_is "$version" "$debian+0relocate$("$top/scripts/version")" "$release: the version is bumped"
	# Debian's next update must replace it: 2.36-9+deb12u15 after 2.36-9+deb12u14
	next=${debian%"${debian##*[!0-9]}"}$((${debian##*[!0-9]} + 1))
	tap_true "$release: $debian < $version < $next" \
		eval "dpkg --compare-versions '$debian' lt '$version' && dpkg --compare-versions '$version' lt '$next'"
	for next in "$debian+b1" "$debian+deb14u1"; do
		tap_true "$release: $version < $next" dpkg --compare-versions "$version" lt "$next"
	done
	tap_is "$(dpkg-parsechangelog -l "$tree/debian/changelog" -S Maintainer)" \
		'relocate-anon <someone@example.org>' "$release: the entry is signed"
	second_way "$release" "$tmp/second"
	tap_is "$(diff -rq --no-dereference -x debian -x .pc "$tree" "$tmp/second" | head -n 5)" '' \
		"$release: the source is that of the series"
	rm -rf "$tmp/second" "$tree"
done

capture "$top/scripts/build-glibc-deb" --release 1.0
tap_like "$status $err" '^1 .*no patches for glibc 1\.0' 'a release without a series is refused'

# The example of a container: what tests/long/glibc-deb.sh knows how to carry out
file=$top/examples/Containerfile
tap_is "$(grep -vE '^(#.*)?$' "$file" | awk '{ print $1 }' | sort | uniq -c | awk '{ print $1, $2 }')" \
	'1 CMD
1 COPY
1 FROM
1 RUN' 'the Containerfile has no more than these instructions'
# shellcheck disable=SC2016 # the script's variables
packages=$(sed -n 's/^packages="\(libc6 .*\)"/\1/p' "$top/scripts/build-glibc-deb")
odd=
read -ra globs < <(sed -n 's/^COPY \(.*\) [^ ]*$/\1/p' "$file")
for glob in "${globs[@]}"; do
	[[ " $packages " == *" ${glob%%_*} "* ]] || odd+=" $glob"
done
tap_true 'the Containerfile copies packages' test "${#globs[@]}" -ge 2
tap_is "$odd" '' 'which are built'
tap_end
