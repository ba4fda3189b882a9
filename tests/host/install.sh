#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Out-of-tree build of the library, make install with DESTDIR, use of what was
# installed, uninstall.
set -euo pipefail
top=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.." && pwd -P)
# shellcheck source=tests/tap.sh
. "$top/tests/tap.sh"
tmp=$(mktemp -d)
trap 'rm -rf -- "$tmp"' EXIT
unset MAKEFLAGS MFLAGS MAKELEVEL
unset "${!RELOCATE_@}"
mkdir "$tmp/obj" "$tmp/dest"
cd "$tmp/obj"
: >"$tmp/mark"

tap_run 'configure in another folder' "$top/configure" --disable-kernel --disable-glibc --prefix=/opt/x
tap_run 'make compat' make compat
tap_run 'make compat again has nothing to do' make -q "$PWD/build/compat/libmremap_compat.a"
capture make help
# shellcheck disable=SC2154 # capture sets them
{
tap_like "$status $out" '^0 .*install.*distclean' 'make help'
capture make kernel
tap_like "$status $err" '^2 .*configured with --disable-kernel' 'make kernel says that it is disabled'
}

tap_run 'make install DESTDIR=' make install DESTDIR="$tmp/dest"
if [[ -e build/man/man2/mremap.2 ]]; then
	tap_run 'the man page is installed' grep -q MREMAP_RELOCATE_ANON "$tmp/dest/opt/x/share/man/man2/mremap.2"
else
	skip 'the man page is installed' 'its source cannot be fetched'
fi
mapfile -t functions < <(sed -n '/global:/,/local:/s/^[	 ]*\([a-z_]*\);.*/\1/p' "$top/compat/libmremap_compat.map")
files='bin/relocate-doctor
bin/vmafrag
include/mremap_compat.h
lib/libmremap_compat.a
lib/libmremap_compat.so
lib/libmremap_compat.so.0
lib/libmremap_compat_preload.so
lib/pkgconfig/mremap_compat.pc
share/doc/relocate-anon/examples/vector.c
share/man/man1/relocate-doctor.1
share/man/man1/vmafrag.1
share/man/man7/relocate-anon.7
'$(printf 'share/man/man3/%s.3\n' "${functions[@]}")
files=$(sort <<<"$files")
# installed DEST: the files below the prefix there; mremap.2 needs a source
installed() { (cd "$1/opt/x" && find . ! -type d ! -name mremap.2 | sed 's,^\./,,' | sort); }
tap_is "$(find "$tmp/dest" ! -type d ! -path "$tmp/dest/opt/x/*")" '' 'all is below the prefix'
tap_is "$(installed "$tmp/dest")" "$files" 'the installed files'
tap_run 'make install-compat DESTDIR=' make install-compat DESTDIR="$tmp/compat"
tap_is "$(installed "$tmp/compat")" "$files" 'installs the same'
tap_is "$(find "$tmp/compat" -name mremap.2)" '' 'but for the page mremap(2)'
if command -v man >/dev/null; then
	tap_like "$(man -M "$tmp/dest/opt/x/share/man" 3 mremap_compat_realloc 2>&1 | head -n 2)" \
		'^mremap_compat\(3\)' 'man shows the page of a function'
else
	skip 'man shows the page of a function' 'no man'
fi

cat >prog.c <<'PROG'
#include <mremap_compat.h>
#include <stdio.h>
int main(void)
{
	return printf("%d\n", (int)mremap_compat_probe(MREMAP_COMPAT_KERNEL)) < 0;
}
PROG
export PKG_CONFIG_PATH=$tmp/dest/opt/x/lib/pkgconfig PKG_CONFIG_SYSROOT_DIR=$tmp/dest
read -ra flags < <(pkg-config --cflags --libs mremap_compat)
tap_run 'a program builds with what pkg-config says' gcc -Wall -Werror -o prog prog.c "${flags[@]}"
tap_run 'and runs with the shared library' env LD_LIBRARY_PATH="$tmp/dest/opt/x/lib" ./prog
tap_like "$(readelf -d prog)" 'NEEDED.*\[libmremap_compat\.so\.0\]' 'which is the one with the version in its name'

tap_run 'the example does so, too' gcc -Wall -Werror -o vector "$tmp/dest/opt/x/share/doc/relocate-anon/examples/vector.c" "${flags[@]}"
tap_run 'and runs' env LD_LIBRARY_PATH="$tmp/dest/opt/x/lib" ./vector
capture "$tmp/dest/opt/x/bin/relocate-doctor"
tap_like "$status $out" '^[012] .*Methods' 'relocate-doctor runs'
tap_run 'vmafrag runs' "$tmp/dest/opt/x/bin/vmafrag" --help
tap_run 'a program runs with the library for LD_PRELOAD' env LD_LIBRARY_PATH="$tmp/dest/opt/x/lib" \
	LD_PRELOAD="$tmp/dest/opt/x/lib/libmremap_compat_preload.so" MREMAP_COMPAT_PRELOAD=relocate ./vector

tap_run 'make uninstall DESTDIR=' make uninstall DESTDIR="$tmp/dest"
tap_is "$(find "$tmp/dest" ! -type d)" '' 'leaves nothing'
tap_run 'make distclean' make distclean
tap_is "$(ls -A)" 'prog
prog.c
vector' 'leaves nothing'
tap_is "$(find "$top" -path "$top/build" -prune -o -path "$top/.git" -prune -o \
	-type f -newer "$tmp/mark" -print)" '' 'the source folder is untouched'
tap_end
