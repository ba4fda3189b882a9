#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# make distcheck; and what `git archive` makes of a tag has the same files and builds.

set -euo pipefail
top=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.." && pwd -P)
# shellcheck source=tests/tap.sh
. "$top/tests/tap.sh"
if [[ ! -e $top/.git ]]; then
	tap_skip_all 'not a checkout of git'
fi
work=$(mktemp -d)
trap 'rm -rf -- "$work"' EXIT
unset MAKEFLAGS MFLAGS MAKELEVEL SOURCE_DATE_EPOCH "${!RELOCATE_@}"
export GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=safe.directory GIT_CONFIG_VALUE_0='*'
plan 8

# What is committed, as for a release
tap_run 'a clone' git clone -q "$top" "$work/clone"
cd "$work/clone"
version=$(scripts/version)
tag=v$version
git tag -d "$tag" >/dev/null 2>&1 || :
git -c user.name=x -c user.email=x tag -a -m "relocate-anon $version" "$tag"
mkdir "$work/obj"
cd "$work/obj"
tap_run 'configure' ../clone/configure --disable-kernel --disable-glibc
tap_show 'make distcheck' make distcheck

cd "$work"
git -C clone archive --format=tar --prefix=archive/ "$tag" | tar -x
tar -xf "obj/build/dist/relocate-anon-$version.tar.xz"
tap_run 'git archive of the tag has the same files' diff -r archive "relocate-anon-$version"
mkdir built
tap_run 'it can be configured' env -C built ../archive/configure --disable-kernel --disable-glibc
tap_run 'and built' make -C built compat
tap_run 'and installed' make -C built install DESTDIR="$work/root"
capture built/build/compat/relocate-doctor --version
# shellcheck disable=SC2154 # capture sets them
tap_is "$out" "relocate-doctor $version (libmremap_compat $version)"$'\n' 'and is the version of the tag'
tap_end
