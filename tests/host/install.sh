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
tap_is "$(cd "$tmp/dest" && find . ! -type d ! -name mremap.2 | sort | tr '\n' ' ')" \
	'./opt/x/include/mremap_compat.h ./opt/x/lib/libmremap_compat.a ./opt/x/lib/libmremap_compat.so ./opt/x/lib/libmremap_compat.so.0 ./opt/x/lib/pkgconfig/mremap_compat.pc ' \
	'the installed files'

cat >prog.c <<'PROG'
#include <mremap_compat.h>
#include <stdio.h>
int main(void)
{
	return printf("%d\n", (int)mremap_compat_probe()) < 0;
}
PROG
export PKG_CONFIG_PATH=$tmp/dest/opt/x/lib/pkgconfig PKG_CONFIG_SYSROOT_DIR=$tmp/dest
read -ra flags < <(pkg-config --cflags --libs mremap_compat)
tap_run 'a program builds with what pkg-config says' gcc -Wall -Werror -o prog prog.c "${flags[@]}"
tap_run 'and runs with the shared library' env LD_LIBRARY_PATH="$tmp/dest/opt/x/lib" ./prog
tap_like "$(readelf -d prog)" 'NEEDED.*\[libmremap_compat\.so\.0\]' 'which is the one with the version in its name'

tap_run 'make uninstall DESTDIR=' make uninstall DESTDIR="$tmp/dest"
tap_is "$(find "$tmp/dest" ! -type d)" '' 'leaves nothing'
tap_run 'make distclean' make distclean
tap_is "$(ls -A)" 'prog
prog.c' 'leaves nothing'
tap_is "$(find "$top" -path "$top/build" -prune -o -path "$top/.git" -prune -o \
	-type f -newer "$tmp/mark" -print)" '' 'the source folder is untouched'
tap_end
