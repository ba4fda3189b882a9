#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# make dist: the files of the checkout, and the same bytes from whoever makes it.  What is
# in it is built and tested by tests/long/dist.sh.

set -euo pipefail
top=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.." && pwd -P)
# shellcheck source=tests/tap.sh
. "$top/tests/tap.sh"
work=$(mktemp -d)
trap 'rm -rf -- "$work"' EXIT
unset SOURCE_DATE_EPOCH "${!RELOCATE_@}"
export GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=safe.directory GIT_CONFIG_VALUE_0='*'
plan 7
cd "$work"
version=$("$top/scripts/version")
tar=dist/relocate-anon-$version.tar.xz

# dist NAME SOURCE [VARIABLE=VALUE...]: in a build folder of that name
# shellcheck disable=SC2317 # called by tap_run
dist() { env "${@:3}" RELOCATE_BUILD="$work/$1" "$2/scripts/dist" make; }
tap_run 'dist make' dist one "$top"
if [[ -e $top/.git ]]; then
	files=$(git -C "$top" ls-files | while read -r f; do [[ ! -e $top/$f ]] || echo "$f"; done)
else
	files=$(cd "$top" && find . \( -path ./build -o -path ./autom4te.cache \) -prune -o -type f \
		! -path ./Makefile ! -path ./config.log ! -path ./config.status -print | sed 's,^\./,,')
fi
tap_is "$(tar -tf "one/$tar" | sort)" "$(awk -v folder="relocate-anon-$version" '{ print folder "/" $0 }' <<<"$files" | sort)" 'has the files'
tap_is "$(tar -tvf "one/$tar" --numeric-owner | awk '{ print $1, $2, $4 }' | sort -u)" \
	"-rw-r--r-- 0/0 2026-01-01
-rwxr-xr-x 0/0 2026-01-01" 'of nobody in particular'

umask 077
tap_run 'dist make, with another time zone, language and umask' dist two "$top" TZ=Asia/Tokyo LC_ALL=C.UTF-8
umask 022
tap_is "$(sha256sum <"two/$tar")" "$(sha256sum <"one/$tar")" 'gives the same bytes'

# From the tarball, in which something was built
tar -xf "one/$tar"
source=relocate-anon-$version
mkdir "$source/build"
touch "$source/build/x" "$source/Makefile" "$source/config.status" "$source/CHANGELOG.md"
chmod g+w "$source/CHANGELOG.md"
tap_run 'dist make, without git' dist three "$source"
tap_is "$(sha256sum <"three/$tar")" "$(sha256sum <"one/$tar")" 'and so does the tarball itself'
tap_end
