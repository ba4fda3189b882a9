#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# The wrapper relocate-cc: programs that it compiles and links have the patched
# glibc's headers and run with that glibc, and C++ is as it was.
set -euo pipefail

top=$(cd "$(dirname "$0")/../.." && pwd)
# shellcheck source=tests/tap.sh
. "$top/tests/tap.sh"
build=$(realpath -m "${RELOCATE_BUILD:-build}")
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"

# wrapper GLIBC: make ./bin/relocate-cc for it
wrapper() {
	mkdir -p bin
	sed "s,@glibcdir@,$1," "$top/glibc-patches/relocate-cc.in" >bin/relocate-cc
	chmod +x bin/relocate-cc
}
# refuses NAME STATUS PATTERN ARGUMENT...
# shellcheck disable=SC2154 # capture sets status, out and err
refuses() {
	capture bin/relocate-cc "${@:4}"
	tap_like "$status:$out$err" "^$2:$3" "$1"
}

mkdir -p fake/lib
ln -s /lib64/ld-linux-x86-64.so.2 fake/lib/
wrapper ../fake
refuses 'help' 0 'Usage: relocate-cc' --help
refuses 'no compiler' 125 'relocate-cc: no compiler given'
refuses 'unknown option' 125 'relocate-cc: unknown option --nope' --nope
refuses 'missing compiler' 127 'relocate-cc: nope: not found' nope x.c
refuses 'no compiler at all' 125 'relocate-cc: true does not say where' true x.c
refuses '32 bits' 125 'relocate-cc: the glibc in .* is not for -m32' gcc -m32 x.c
refuses 'a relative name counts from the script' 0 "$tmp/fake"$'\n' --glibc
refuses '--show quotes' 0 "C_INCLUDE_PATH=.*:$tmp/fake/include CPLUS_.* gcc .*'it'.''s'" --show gcc "it's"
refuses 'nothing to link, no flags for it' 0 "[^ ]* [^ ]* gcc -B$tmp/fake/lib --version"$'\n' --show gcc --version
refuses 'to compile only' 0 "[^ ]* [^ ]* gcc -B$tmp/fake/lib -c x.c"$'\n' --show gcc -c x.c
refuses 'a shared library has no path to it' 0 "[^ ]* [^ ]* gcc -B$tmp/fake/lib -shared x.c -L$tmp/fake/lib"$'\n' \
	--show gcc -shared x.c
rm -r fake
refuses 'no glibc' 125 'relocate-cc: no glibc in .*make glibc' gcc x.c

if [[ ! -x $build/glibc/lib/ld-linux-x86-64.so.2 ]]; then
	skip 'compilers with the patched glibc' "no $build/glibc (make glibc)"
	tap_end
fi
wrapper "$build/glibc"
cc=$tmp/bin/relocate-cc
cat >prog.c <<'EOF'
#define _GNU_SOURCE
#include <gnu/libc-version.h>
#include <limits.h>
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <linux/mman.h>

/* The first libraries of that name that the process has; PATH_MAX is of limits.h. */
int main(int argc, char **argv)
{
	char line[PATH_MAX + 100];
	FILE *maps = fopen("/proc/self/maps", "r");

	printf("%s %d %d %.1f\n", gnu_get_libc_version(), MREMAP_MUST_RELOCATE_ANON, MADV_COALESCE,
	       sqrt(argc * 4.0));
	while (maps && fgets(line, sizeof(line), maps))
		if (argc > 0 && (strstr(line, "/libc.so.6") || strstr(line, "/libm.so.6")) &&
		    strstr(line, "r-xp"))
			fputs(strchr(line, '/'), stdout);
	return argv[0] == NULL;
}
EOF
cat >prog.cc <<'EOF'
// The C++ library's own <math.h> and <stdlib.h> have abs() for every type.
#include <math.h>
#include <stdlib.h>
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <iostream>
#include <string>
#include <thread>
#include <sys/mman.h>

int main()
{
	std::string text;
	std::thread thread([&] { text = "thread"; });

	thread.join();
	std::cout << abs(-2.5) << ' ' << std::abs(-2.5) << ' ' << std::max(1, MREMAP_MUST_RELOCATE_ANON)
		  << ' ' << text << std::endl;
	for (char line[5000]; std::FILE *maps = std::fopen("/proc/self/maps", "r"); std::exit(0))
		while (std::fgets(line, sizeof(line), maps))
			if (std::string(line).find("r-xp") != std::string::npos &&
			    (std::string(line).find("/libc.so.6") != std::string::npos ||
			     std::string(line).find("/libm.so.6") != std::string::npos))
				std::cout << (line + std::string(line).find('/'));
}
EOF
glibc=$(readlink -f "$build/glibc")
libraries=$glibc/lib/libm.so.6$'\n'$glibc/lib/libc.so.6$'\n'
sorted() { sort <<<"$1" | sed '/^$/d'; }
for compiler in gcc clang; do
	if ! command -v $compiler >/dev/null; then
		skip "$compiler" "no $compiler"
		continue
	fi
	rm -f prog prog.o
	tap_run "$compiler compiles and links" "$cc" $compiler -O2 -Wall -Wextra -Werror prog.c -o prog -lm
	capture ./prog
	tap_is "$(sorted "$out")" "$(sorted "2.44 16 104 2.0"$'\n'"$libraries")" "$compiler: the program runs with that glibc"
	tap_run "$compiler compiles" "$cc" $compiler -O2 -Wall -Wextra -Werror -c prog.c -o prog.o
	tap_run "$compiler links what is compiled" "$cc" $compiler prog.o -o prog -lm
	capture ./prog
	tap_like "$out" "^2.44 16 104 2.0" "$compiler: and that runs, too"
	rm -f prog
	tap_run "$compiler: a static program" "$cc" $compiler -O2 -static prog.c -o prog -lm
	capture ./prog
	tap_is "$out" "2.44 16 104 2.0"$'\n' "$compiler: has that glibc in it"
done
declare -A c_compiler=([g++]=gcc [clang++]=clang)
for compiler in g++ clang++; do
	if ! command -v $compiler >/dev/null; then
		skip "$compiler" "no $compiler"
		continue
	fi
	rm -f prog
	# libstdc++ needs libm whether or not the program does.
	tap_run "$compiler compiles and links" "$cc" $compiler -O2 -Wall -Wextra -Werror -Wl,--as-needed prog.cc -o prog
	capture ./prog
	tap_is "$(sorted "$out")" "$(sorted "2.5 2.5 16 thread"$'\n'"$libraries")" \
		"$compiler: abs(-2.5) is 2.5, and the program runs with that glibc"
	# Either language is told by the name of the file.
	tap_run "${c_compiler[$compiler]} takes C++" "$cc" "${c_compiler[$compiler]}" -c -x c++ -Wall -Werror prog.cc
done
[[ ! -e $(command -v g++) ]] || tap_run 'gcc takes both at once' "$cc" gcc -c prog.c prog.cc

# The line that the documentation has for those who do without the wrapper
capture "$cc" --show g++ -O2 prog.cc -o shown
tap_run 'what --show prints works' bash -c "$out"
capture ./shown
tap_like "$out" '^2.5 2.5 16 thread' 'and does the same'

if command -v cmake >/dev/null; then
	cat >CMakeLists.txt <<'EOF'
cmake_minimum_required(VERSION 3.18)
project(prog C CXX)
add_executable(c prog.c)
target_link_libraries(c m)
add_executable(cxx prog.cc)
EOF
	tap_run 'CMake configures' env CC="$cc gcc" CXX="$cc g++" cmake -S . -B cmake
	tap_run 'and builds' cmake --build cmake
	capture cmake/c
	tap_like "$out" '^2.44 16 104' 'C by CMake'
	capture cmake/cxx
	tap_like "$out" '^2.5 2.5 16' 'C++ by CMake'
else
	skip 'CMake' 'no cmake'
fi
tap_end
