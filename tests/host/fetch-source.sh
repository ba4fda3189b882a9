#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# scripts/fetch-source in a world of its own: an empty cache, an apt whose only
# mirror is a folder or nowhere, upstream as a file.
set -euo pipefail
top=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.." && pwd -P)
# shellcheck source=tests/tap.sh
. "$top/tests/tap.sh"
tmp=$(mktemp -d)
trap 'rm -rf -- "$tmp"' EXIT
fetch=$top/scripts/fetch-source
unset RELOCATE_CACHE
export XDG_CACHE_HOME=$tmp/cache RELOCATE_SOURCES_LIST=$tmp/sources.list
store=$tmp/cache/relocate-anon/sources

# The system's apt knows one mirror, which cannot be reached.
mkdir -p "$tmp/apt" "$tmp/lists/partial"
echo 'deb http://127.0.0.1:9/debian stable main' >"$tmp/apt/sources.list"
cat >"$tmp/apt.conf" <<CONF
Dir::Etc::sourcelist "$tmp/apt/sources.list";
Dir::Etc::sourceparts "$tmp/none";
Dir::State::lists "$tmp/lists";
CONF
export APT_CONFIG=$tmp/apt.conf

mkdir -p "$tmp/src/linux/mm"
echo 'int x;' >"$tmp/src/linux/mm/mremap.c"
tar -C "$tmp/src" -cJf "$tmp/linux.tar.xz" linux
sum=$(sha256sum "$tmp/linux.tar.xz" | cut -d' ' -f1)
# pin SUM URL
pin() { echo "linux 7.3.4 7.3. no-such-package 7.3.4-1 stable usr/src/linux.tar.xz $1 $2" >"$tmp/sources.list"; }
# shellcheck disable=SC2317 # called through tap_true
nothing_left() { [[ -z $(find "$store" "$tmp/cache/relocate-anon/tmp" -mindepth 1 2>/dev/null) ]]; }
pin "$sum" http://127.0.0.1:9/linux.tar.xz

# shellcheck disable=SC2154 # capture sets them
{
capture "$fetch"
tap_like "$status $err" '^1 usage' 'no name'
capture "$fetch" gcc
tap_like "$status $err" "^1 .*unknown source 'gcc'" 'an unknown name'
capture "$fetch" --frob linux
tap_like "$status $err" '^1 .*unknown option --frob' 'an unknown option'

capture "$fetch" --from "$tmp/no/such" linux
tap_like "$status $err" '^1 .*--with-kernel-source: .*/no/such does not exist' 'a local path that is not there'
capture "$fetch" --from "$tmp/apt" linux
tap_like "$status $err" '^1 .*is not a linux source tree' 'a local tree that is something else'
capture "$fetch" --from "$tmp/linux.tar.xz" linux
tap_like "$status $out $err" "^0 $tmp/linux.tar.xz.*checksum as pinned" 'a local tarball, the pinned one'
capture "$fetch" --from "$tmp/src/linux" linux
tap_like "$status $out" "^0 $tmp/src/linux" 'a local tree'

capture "$fetch" linux
tap_like "$status $err" '^1 .*cannot fetch linux 7.3.4.*--with-kernel-source=PATH' 'no network: says what to do'
tap_true 'no network: nothing is left' nothing_left
tap_is "$(find "$tmp/lists" -type f | wc -l)" 0 "no network: the system's apt lists are untouched"

if command -v curl >/dev/null; then
	pin "$sum" "file://$tmp/linux.tar.xz"
	capture "$fetch" linux
	tap_like "$status $out" "^0 $store/" "upstream's file as the last resort"
	tap_true 'it is whole' cmp "$tmp/linux.tar.xz" "${out%$'\n'}"
	first=$out
	pin "$sum" http://127.0.0.1:9/linux.tar.xz
	capture "$fetch" linux
	tap_is "$status $out" "0 $first" 'the second time it comes from the cache'
	echo damage >>"${out%$'\n'}"
	capture "$fetch" linux
	tap_like "$status $err" '^1 .*is damaged.*cannot fetch' 'a damaged file in the cache is not used'
	tap_true 'and removed' nothing_left
else
	skip 'upstream' 'no curl'
fi
}

# A Debian mirror of our own, unsigned, so only what precedes the signature can
# be tested here: a wrong checksum is tested on the cached file's way in.
mkdir -p "$store"
cp "$tmp/linux.tar.xz" "$store/linux-7.3.4-1.tar.xz"
pin "$(echo other | sha256sum | cut -d' ' -f1)" http://127.0.0.1:9/linux.tar.xz
capture "$fetch" linux
# shellcheck disable=SC2154
tap_like "$status $err" '^1 .*is damaged' 'a file that is not what sources.list pins is not used'
tap_true 'nothing is left of it' nothing_left

# The real thing: Debian's page, with a wrong pin.
unset APT_CONFIG
awk '$1 == "man-pages" { $8 = "0000" $8; $9 = "http://127.0.0.1:9/x.tar.xz" } 1' "$top/sources.list" >"$tmp/sources.list"
capture "$fetch" man-pages
if [[ $err == *'cannot fetch'* ]]; then
	skip "a wrong checksum of Debian's file" 'no Debian mirror can be reached'
	skip 'nothing is left of it' 'no Debian mirror can be reached'
elif [[ $err == *'is gone from'* ]]; then
	skip "a wrong checksum of Debian's file" 'the pinned version is gone from the mirror'
	skip 'nothing is left of it' 'the pinned version is gone from the mirror'
else
	tap_like "$status $err" '^1 .*has the checksum .*sources.list says 0000.*--with-manpages-source=PATH' "a wrong checksum of Debian's file"
	tap_true 'nothing is left of it' nothing_left
fi
tap_end
