#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# make glibc-deb: the packages of the running Debian's glibc with our patches.  They are built,
# have what Debian's have, replace Debian's in a root folder made by mmdebstrap, run programs
# there, and go again.  Then examples/Containerfile is carried out in another one.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
# shellcheck source=tests/tap.sh
. "$here/../tap.sh"
build=$(realpath -m -- "${RELOCATE_BUILD:-build}")
export RELOCATE_BUILD=$build LC_ALL=C
# shellcheck disable=SC1091 # of the system
codename=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
[[ $codename == bookworm || $codename == trixie ]] || tap_skip_all "neither Debian 12 nor 13 ($codename)"
[[ $(id -u) == 0 ]] || tap_skip_all 'mmdebstrap and chroot need root'
tap_need mmdebstrap:mmdebstrap lintian:lintian dpkg-buildpackage:dpkg-dev
mirror=$("$top/scripts/fetch-source" --mirrors | head -n 1)
[[ -n $mirror ]] || tap_skip_all 'apt has no mirror of Debian'

tmp=$(mktemp -d)
trap 'rm -rf --one-file-system "$tmp"' EXIT
debs=$build/deb-glibc
root=$tmp/root

# ---- build -----------------------------------------------------------------------

tap_show 'make glibc-deb' "$top/scripts/build-glibc-deb"
[[ -d $debs ]] || tap_end
arch=$(dpkg --print-architecture)
version=$(dpkg-deb -f "$debs"/libc6_*.deb Version)
debian=${version%+0relocate*}
tap_like "$version" "^2\.[0-9]+-.*\+0relocate[0-9.]+$" "the version is $version"
names=(libc-bin libc-dev-bin libc6 libc6-dbg libc6-dev)
tap_is "$(cd "$debs" && printf '%s\n' *.deb | sort)" \
	"$(printf "%s_${version}_$arch.deb\n" "${names[@]}" | sort)" 'the packages are there'

# ---- a root folder, and Debian's packages -----------------------------------------

tap_run "a root folder of $codename" mmdebstrap --variant=apt --components=main \
	--include=gcc,libc6-dev,libc6-dbg,python3-minimal "$codename" "$tmp/base.tar" "$mirror"
mkdir "$root"
tar -x -C "$root" -f "$tmp/base.tar"
# shellcheck disable=SC2016 # for that shell
in_root() { # COMMAND...: with /proc, and nothing that it starts left behind
	unshare --mount --pid --fork --kill-child bash -c \
		'mount -t proc proc "$0/proc" && mount --bind /dev "$0/dev" && exec chroot "$0" "$@"' "$root" \
		env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C DEBIAN_FRONTEND=noninteractive "$@"
}
# shellcheck disable=SC2016 # dpkg's variables, here and below
installed() { in_root dpkg-query -f '${Package} ${Version} ${db:Status-Abbrev}\n' -W "${names[@]}"; }
tap_is "$(installed)" "$(printf '%s\n' "${names[@]}" | sed "s/\$/ $debian ii /")" "it has Debian's $debian"
tap_run "Debian's packages" in_root sh -c "apt-get -q update && mkdir /debian && cd /debian && apt-get -q download $(
	printf "%s=$debian " "${names[@]}")"

contents() { # FOLDER NAME: what a package has; files of debug information are named after content
	dpkg-deb -c "$1/$2"_*.deb | awk '{ print $1, $2, $6, $7, $8 }' |
		sed 's,/\.build-id/.*,/.build-id,; s,'"$version"','"$debian"',' | sort -u
}
for name in "${names[@]}"; do
	tap_is "$(diff <(contents "$root/debian" "$name") <(contents "$debs" "$name"))" '' "$name has the files of Debian's"
done
tags() { # FOLDER: what lintian says, without what differs from build to build
	# Its status is that of the tags.  The address is nobody's until $DEBEMAIL is set.
	{ lintian --allow-root --tag-display-limit 0 "$1"/*.deb 2>/dev/null || :; } |
		sed -n 's/^\([EWIP]: [^ ]*: [^ ]*\).*/\1/p' |
		grep -v bogus-mail-host-in-debian-changelog | sort | uniq -c
}
tags "$root/debian" >"$tmp/debian.tags"
tags "$debs" >"$tmp/our.tags"
tap_true 'lintian says something' test -s "$tmp/debian.tags"
tap_is "$(diff "$tmp/debian.tags" "$tmp/our.tags" | grep '^>' || :)" '' "lintian has no more to say than about Debian's"

# ---- install ----------------------------------------------------------------------

mkdir "$root/ours"
cp "$debs"/*.deb "$root/ours/"
cp "$top/tests/glibc/realloc.c" "$root/"
sed -i 's,"\.\./limit\.h","limit.h",' "$root/realloc.c"
cp "$top/tests/limit.h" "$root/"
tap_run 'the program is built there' in_root gcc -std=gnu11 -O2 -Wall -Werror -o /realloc /realloc.c -pthread
always=GLIBC_TUNABLES=glibc.malloc.mremap_relocate_min_mmaps=0
capture in_root env "$always" /realloc
# shellcheck disable=SC2154 # capture sets them
tap_is "$status" 1 "Debian's realloc does not ask for relocation"

# shellcheck disable=SC2317 # called by tap_run
install_ours() { in_root sh -c 'apt-get -q -y install /ours/*.deb'; }
tap_run 'apt installs ours over them' install_ours
tap_is "$(installed)" \
	"$(printf '%s\n' "${names[@]}" | sed "s/\$/ $version ii /")" 'all are configured'
tap_like "$(in_root /lib/x86_64-linux-gnu/libc.so.6)" "^GNU C Library \(Debian GLIBC ${version//+/\\+}\)" \
	'libc.so.6 says so'
tap_like "$(in_root /lib64/ld-linux-x86-64.so.2 --list-tunables)" 'glibc\.malloc\.mremap_relocate_min_mmaps: ' \
	'the loader lists the tunable'
tap_run 'realloc asks for relocation' in_root env "$always" /realloc
tap_run 'and by default when there are many' in_root /realloc default
tap_run 'a program is built with the headers' in_root sh -c 'gcc -Wall -Werror -x c -o /p - <<C && /p
#define _GNU_SOURCE
#include <sys/mman.h>
int main (void) { return MREMAP_RELOCATE_ANON != 8 || MADV_COALESCE <= 0; }
C'
tap_is "$(in_root perl -e 'print "perl ", 6 * 7')" 'perl 42' 'perl runs'
tap_is "$(in_root python3 -c 'import os, time; print("python", 6 * 7)')" 'python 42' 'python runs'
tap_run 'dpkg finds nothing wrong' in_root sh -c 'dpkg --audit && dpkg -V libc6 libc-bin libc6-dev && apt-get -q check'

# ---- and back ---------------------------------------------------------------------

tap_run "apt goes back to Debian's" in_root apt-get -q -y --allow-downgrades install "${names[@]/%/=$debian}"
tap_is "$(installed)" "$(printf '%s\n' "${names[@]}" | sed "s/\$/ $debian ii /")" 'it has them'
capture in_root env "$always" /realloc
tap_is "$status" 1 'realloc does not ask any more'
tap_is "$(in_root python3 -c 'print(6 * 7)')" 42 'programs run'

# ---- a container ------------------------------------------------------------------

file=$top/examples/Containerfile
if [[ $codename == bookworm ]]; then
	root=$tmp/container
	mkdir "$root"
	tar -x -C "$root" -f "$tmp/base.tar"
	tap_is "$(sed -n 's/^FROM //p' "$file")" debian:12 'the container is made from this Debian'
	read -ra copy < <(sed -n 's/^COPY //p' "$file")
	mkdir -p "$root${copy[-1]}"
	for glob in "${copy[@]:0:${#copy[@]}-1}"; do
		# shellcheck disable=SC2086 # a pattern
		tap_run "COPY $glob" cp "$debs"/$glob "$root${copy[-1]}"
	done
	# Debian's image has libc6, but neither of the others that have its version.
	in_root dpkg --purge --force-depends libc6-dev libc6-dbg libc-dev-bin >/dev/null 2>&1
	while IFS= read -r line; do
		tap_run "RUN $line" in_root sh -c "$line"
	done < <(sed -n 's/^RUN //p' "$file")
	mapfile -t command < <(sed -n 's/^CMD //p' "$file" | python3 -c 'import json, sys; print(*json.load(sys.stdin), sep="\n")')
	capture in_root "${command[@]}"
	tap_like "$status $out" '^0 .*glibc\.malloc\.mremap_relocate_min_mmaps: ' "CMD ${command[*]}"
else
	skip 'the container' "examples/Containerfile is for Debian 12"
fi
tap_end
