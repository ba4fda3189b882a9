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
mkdir "$tmp/obj" "$tmp/dest" "$tmp/cache"
cd "$tmp/obj"
# The library alone fetches nothing and keeps nothing.
export XDG_CACHE_HOME=$tmp/cache
: >"$tmp/mark"

tap_run 'configure in another folder' "$top/configure" --disable-kernel --disable-glibc --prefix=/opt/x
tap_run 'make -j4' make -j4
tap_run 'make compat again has nothing to do' make -q "$PWD/build/compat/libmremap_compat.a"
capture make help
# shellcheck disable=SC2154 # capture sets them
{
tap_like "$status $out" '^0 .*install.*distclean' 'make help'
capture make kernel
tap_like "$status $err" '^2 .*configured with --disable-kernel' 'make kernel says that it is disabled'
}

version=$("$top/scripts/version")
tap_run 'make install DESTDIR=' make install DESTDIR="$tmp/dest"
tap_is "$(find "$tmp/cache" -mindepth 1; ls build)" "$(printf 'compat\ntests')" 'nothing has been fetched'
mapfile -t functions < <(sed -n '/global:/,/local:/s/^[	 ]*\([a-z_]*\);.*/\1/p' "$top/compat/libmremap_compat.map")
files='bin/relocate-doctor
bin/vmafrag
include/mremap_compat.h
lib/cmake/mremap_compat/mremap_compat-config-version.cmake
lib/cmake/mremap_compat/mremap_compat-config.cmake
lib/libmremap_compat.a
lib/libmremap_compat.so
lib/libmremap_compat.so.0
lib/libmremap_compat_preload.so
lib/pkgconfig/mremap_compat.pc
share/doc/relocate-anon/examples/vector.c
share/man/man1/relocate-doctor.1
share/man/man1/vmafrag.1
share/man/man7/relocate-anon.7
share/relocate-anon/vmafrag.schema.json
'$(printf 'share/man/man3/%s.3\n' "${functions[@]}")
files=$(sort <<<"$files")
# installed DEST: the files below the prefix there
installed() { (cd "$1/opt/x" && find . ! -type d | sed 's,^\./,,' | sort); }
tap_is "$(find "$tmp/dest" ! -type d ! -path "$tmp/dest/opt/x/*")" '' 'all is below the prefix'
tap_is "$(installed "$tmp/dest")" "$files" 'the installed files'
tap_run 'make install-compat DESTDIR=' make install-compat DESTDIR="$tmp/compat"
tap_is "$(installed "$tmp/compat")" "$files" 'installs the same'
tap_run 'make install with another prefix' make install DESTDIR="$tmp/other" prefix=/else/where libdir=/else/where/lib64/abi
tap_is "$(sed -n '1,/^$/p' "$tmp/other/else/where/lib64/abi/pkgconfig/mremap_compat.pc")" \
	'prefix=/else/where
exec_prefix=/else/where
libdir=/else/where/lib64/abi
includedir=/else/where/include' 'and so the file for pkg-config says'
tap_is "$(grep -rh '^\.TH ' "$tmp/dest/opt/x/share/man" | grep -vc "\"relocate-anon $version\"$" || :)" 0 \
	'each installed page has the version'
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

# cmake_program DEST VERSION LIBRARY...: each links with one
# shellcheck disable=SC2317 # called by tap_run
cmake_program() {
	local dest=$1 version=$2 library
	shift 2
	rm -rf "$tmp/cmake"
	mkdir "$tmp/cmake"
	cp prog.c "$tmp/cmake"
	{
		printf 'cmake_minimum_required(VERSION 3.13)\nproject(test C)\n'
		printf 'find_package(mremap_compat %s REQUIRED CONFIG)\n' "$version"
		for library; do
			printf 'add_executable(%s prog.c)\ntarget_link_libraries(%s PRIVATE mremap_compat::%s)\n' \
				"p_$library" "p_$library" "$library"
		done
	} >"$tmp/cmake/CMakeLists.txt"
	env -u PKG_CONFIG_PATH CC="${CC:-gcc}" cmake -S "$tmp/cmake" -B "$tmp/cmake/build" \
		-Dmremap_compat_DIR="$dest/cmake/mremap_compat" &&
		make -C "$tmp/cmake/build" &&
		for library; do "$tmp/cmake/build/p_$library" || return 1; done
}
if command -v cmake >/dev/null; then
	for dest in "$tmp/dest/opt/x/lib" "$tmp/other/else/where/lib64/abi"; do
		tap_run "a program builds with CMake: ${dest#"$tmp/"}" cmake_program "$dest" 1.0 mremap_compat static
	done
	tap_run 'with the version of the library' cmake_program "$tmp/dest/opt/x/lib" "$version EXACT" static
	for other in 0.1 "${version%.*}.999" "${version%%.*}.999" "$((${version%%.*} + 1))"; do
		capture cmake_program "$tmp/dest/opt/x/lib" "$other" static
		tap_true "CMake takes it for no $other" [ "$status" != 0 ]
	done
else
	skip 'a program builds with CMake' 'no cmake'
fi

tap_run 'the example does so, too' gcc -Wall -Werror -o vector "$tmp/dest/opt/x/share/doc/relocate-anon/examples/vector.c" "${flags[@]}"
tap_run 'and runs' env LD_LIBRARY_PATH="$tmp/dest/opt/x/lib" ./vector
capture "$tmp/dest/opt/x/bin/relocate-doctor"
tap_like "$status $out" '^[012] .*Methods' 'relocate-doctor runs'
tap_run 'vmafrag runs' "$tmp/dest/opt/x/bin/vmafrag" --help
tap_run 'a program runs with the library for LD_PRELOAD' env LD_LIBRARY_PATH="$tmp/dest/opt/x/lib" \
	LD_PRELOAD="$tmp/dest/opt/x/lib/libmremap_compat_preload.so" MREMAP_COMPAT_PRELOAD=relocate ./vector

# rpath, as compat/README.md has it for such a prefix
tap_run 'a program with the path of the library builds' gcc -o prog-rpath prog.c "${flags[@]}" \
	-Wl,-rpath,"$tmp/dest/opt/x/lib"
tap_run 'and runs' env -u LD_LIBRARY_PATH ./prog-rpath
rm prog-rpath

# preload_in DEST PREFIX: the path that the page has for LD_PRELOAD
preload_in() { sed -n 's/.*LD_PRELOAD=\([^" ]*\)[" ].*/\1/p' "$1$2/share/man/man7/relocate-anon.7" | sed 's/\\//g'; }
tap_is "$(preload_in "$tmp/dest" /opt/x)" /opt/x/lib/libmremap_compat_preload.so 'relocate-anon(7) names the library for LD_PRELOAD'
tap_is "$(preload_in "$tmp/other" /else/where)" /else/where/lib64/abi/libmremap_compat_preload.so 'wherever it is'
tap_run 'make install with a folder for it' make install DESTDIR="$tmp/third" prefix=/usr preloaddir=/usr/lib/x-y/relocate-anon
tap_is "$(preload_in "$tmp/third" /usr)" /usr/lib/x-y/relocate-anon/libmremap_compat_preload.so 'which the page has'
tap_run 'where it is' test -e "$tmp/third/usr/lib/x-y/relocate-anon/libmremap_compat_preload.so"

tap_run 'make uninstall DESTDIR=' make uninstall DESTDIR="$tmp/dest"
tap_is "$(find "$tmp/dest" ! -type d; find "$tmp/dest" -name '*relocate*' -o -name '*mremap*')" '' 'leaves no file, and no folder of its name'
tap_is "$(cd "$tmp/dest/opt/x" && echo *)" 'bin include lib share' 'but those that others use, too'
: >"$tmp/other/else/where/share/man/man1/other.1"
tap_run 'make uninstall with a file of others' make uninstall DESTDIR="$tmp/other" prefix=/else/where libdir=/else/where/lib64/abi
tap_is "$(cd "$tmp/other" && find . -type f)" ./else/where/share/man/man1/other.1 'which stays'
tap_run 'make uninstall below /usr' make uninstall DESTDIR="$tmp/third" prefix=/usr preloaddir=/usr/lib/x-y/relocate-anon
tap_is "$(cd "$tmp/third/usr" && find . -type f; ls; ls lib/x-y share)" $'bin\ninclude\nlib\nshare\nlib/x-y:\n\nshare:\ndoc\nman' "leaves the system's folders, but none of its own"
mkdir -p "$tmp/linked/usr/elsewhere" "$tmp/linked/usr/share" && ln -s ../elsewhere "$tmp/linked/usr/share/relocate-anon"
tap_run 'make uninstall where a folder is a link' make uninstall DESTDIR="$tmp/linked" prefix=/usr
tap_run 'leaves it' test -L "$tmp/linked/usr/share/relocate-anon"
tap_run 'make distclean' make distclean
tap_is "$(find "$tmp/cache" -mindepth 1)" '' 'the cache is empty'
tap_is "$(ls -A)" 'prog
prog.c
vector' 'leaves nothing'

# ---- other compilers, options, places -----------------------------------------------

# in_new_folder NAME COMMAND...: there
# shellcheck disable=SC2317 # called by tap_run
in_new_folder() {
	mkdir -p "$tmp/$1"
	(cd "$tmp/$1" && shift && "$@")
}
# shellcheck disable=SC2317 # called by tap_run
build_library() { "$top/configure" --disable-kernel --disable-glibc "$@" && make compat; }
names() { nm -g --defined-only "$1" | awk 'NF == 3 { print $3 }' | sort; }

blank='a folder: of ours'
tap_run 'in a folder with blanks and a colon' in_new_folder "$blank" build_library
tap_run 'make install there' in_new_folder "$blank" make install-compat DESTDIR="$tmp/blank"
tap_run 'installs the library' test -e "$tmp/blank/usr/local/lib/libmremap_compat.so.0"
mkdir "$tmp/source of ours"
tar -C "$top" --exclude=./build --exclude=./.git -cf - . | tar -C "$tmp/source of ours" -xf -
for what in install-compat uninstall; do
	capture in_new_folder "$blank" make "$what" DESTDIR="$tmp/a blank"
	tap_like "$status $err" '^2 .*the folder to install to must not have a blank' "make $what DESTDIR with a blank"
done
tap_true 'has made nothing' test ! -e "$tmp/a"
# shellcheck disable=SC2016 # for that shell to expand
tap_run 'and in a source folder with blanks' \
	sh -c 'cd "$1" && ./configure --disable-kernel --disable-glibc && make compat' - "$tmp/source of ours"
capture in_new_folder "$blank 2" "$top/configure" --disable-glibc
tap_like "$status $err" '^1 .*contains a blank.*kernel' 'but not where a kernel is built'

tap_run 'compiled for optimisation when linked' in_new_folder lto build_library CFLAGS='-O2 -flto'
tap_is "$(names "$tmp/lto/build/compat/libmremap_compat.a")" "$(printf '%s\n' "${functions[@]}" | sort)" \
	'the static library has no other names'

# builds WHAT COMPILER OPTION...: all of it; a program with another copy of what is shared
builds() {
	local what=$1
	shift
	if ! command -v "${1#CC=}" >/dev/null; then
		skip "$what" "no ${1#CC=}"
		return
	fi
	tap_run "$what" in_new_folder "$what" build_library "$@"
}
builds '32 bits' CC=i686-linux-gnu-gcc
if [[ -e "$tmp/32 bits/build/compat/libmremap_compat.a" ]]; then
	tap_run 'and a program of position-independent code links' i686-linux-gnu-gcc -fPIC -pie -I"$top/compat" \
		-o "$tmp/prog32" "$tmp/obj/prog.c" "$tmp/32 bits/build/compat/libmremap_compat.a"
fi
builds 'clang' CC=clang
multiarch=$(gcc -print-multiarch)
builds 'musl' CC=musl-gcc "CPPFLAGS=-idirafter /usr/include -idirafter /usr/include/$multiarch"
if command -v musl-gcc >/dev/null; then
	capture in_new_folder 'musl 2' build_library CC=musl-gcc
	tap_like "$status $err" '^1 .*linux/mman\.h.*CPPFLAGS=' 'which says what it lacks'
fi

tap_is "$(find "$top" -path "$top/build" -prune -o -path "$top/.git" -prune -o \
	-type f -newer "$tmp/mark" -print)" '' 'the source folder is untouched'
tap_end
