#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# What a user of libmremap_compat sees: a header for C and C++, and a library
# that exports the names in its map and no other.

set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
# shellcheck source=tests/tap.sh
. "$here/../tap.sh"

cc=${CC:-gcc}
cxx=${CXX:-g++}
src=$top/compat
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"

# The header alone, twice, before and after the system's.
for name in first second; do
	case $name in
	first)
		printf '#include <mremap_compat.h>\n#include <sys/mman.h>\n' ;;
	second)
		printf '#include <sys/mman.h>\n#include <linux/mman.h>\n'
		printf '#include <mremap_compat.h>\n' ;;
	esac >$name.c
	cat >>$name.c <<'EOF'
#include <mremap_compat.h>

#if MREMAP_MAYMOVE != 1 || MREMAP_FIXED != 2 || MREMAP_DONTUNMAP != 4 \
	|| MREMAP_RELOCATE_ANON != 8 || MREMAP_MUST_RELOCATE_ANON != 16
# error "wrong value"
#endif

int main(void)
{
	enum mremap_compat_support support = mremap_compat_probe();
	void *p = mremap_compat(NULL, 0, 0, MREMAP_MAYMOVE);

	if (p != MAP_FAILED)
		return 1;
	p = mremap_compat(NULL, 0, 0, MREMAP_MAYMOVE | MREMAP_FIXED
			  | MREMAP_RELOCATE_ANON, (void *)0);
	return p != MAP_FAILED || support < MREMAP_COMPAT_UNKNOWN
	       || support > MREMAP_COMPAT_NOT_PERMITTED;
}
EOF
	cp $name.c $name.cc
done

strict=(-Wall -Wextra -Wundef -Wstrict-prototypes -pedantic -Werror)
for name in first second; do
	for def in -U_GNU_SOURCE -D_GNU_SOURCE; do
		for std in c11 gnu11 c17; do
			tap_run "C header, $name, $std, $def" \
				"$cc" -std=$std $def "${strict[@]}" -I"$src" -c $name.c
		done
		for std in c++11 c++17 gnu++17; do
			tap_run "C++ header, $name, $std, $def" \
				"$cxx" -std=$std $def "${strict[@]/-Wstrict-prototypes/-Wshadow}" \
				-I"$src" -c $name.cc
		done
	done
done

# The library as built, or one of our own.
lib=${RELOCATE_BUILD:-build}/compat
[[ $lib == /* ]] || lib=$OLDPWD/$lib
if [[ ! -e $lib/libmremap_compat.so.0 ]]; then
	diag "no $lib/libmremap_compat.so.0, building one"
	lib=$tmp
	flags=(-std=c11 -O2 -Wall -Wextra -Werror -fvisibility=hidden)
	tap_run "shared library builds" \
		"$cc" "${flags[@]}" -fPIC -shared -Wl,-z,defs \
		-Wl,-soname,libmremap_compat.so.0 \
		-Wl,--version-script="$src/libmremap_compat.map" \
		-o libmremap_compat.so.0 "$src/mremap_compat.c"
	ln -s libmremap_compat.so.0 libmremap_compat.so
	tap_run "object for the static library builds" \
		"$cc" "${flags[@]}" -c -o mc.o "$src/mremap_compat.c"
	ar rcs libmremap_compat.a mc.o
fi

# The names between "global:" and "local:".
wanted=$(sed -n '/global:/,/local:/s/^[	 ]*\([a-z_]*\);.*/\1/p' \
	"$src/libmremap_compat.map" | sort)
node=$(sed -n 's/^\([A-Z_0-9]*\) {.*/\1/p' "$src/libmremap_compat.map")
tap_is "$(nm -D --defined-only "$lib/libmremap_compat.so.0" |
	awk '$2 != "A" { print $3 }' | sort)" \
	"${wanted//$'\n'/"@@$node"$'\n'}@@$node" \
	"shared library exports the names of its map"
tap_is "$(nm --defined-only --extern-only "$lib/libmremap_compat.a" |
	awk 'NF == 3 { print $3 }' | sort)" "$wanted" \
	"static library defines no other names"
tap_like "$(objdump -p "$lib/libmremap_compat.so.0")" \
	'SONAME +libmremap_compat\.so\.0' "soname"
declared=$(grep -o 'mremap_compat\(_[a-z]*\)\?(' "$src/mremap_compat.h" |
	grep -v '^mremap_compat()' | tr -d '(' | sort -u)
tap_is "$declared" "$wanted" "the header declares the names of the map"

tap_run "C program links with the shared library and runs" sh -c "
	$cc -I'$src' -o c first.c -L'$lib' -lmremap_compat &&
	LD_LIBRARY_PATH='$lib' ./c"
tap_run "C++ program links with the static library and runs" sh -c "
	$cxx -I'$src' -o cxx first.cc '$lib/libmremap_compat.a' && ./cxx"

# shellcheck disable=SC2016 # for pkg-config to expand
sed -e 's,@prefix@,/p,; s,@exec_prefix@,${prefix},' \
	-e 's,@libdir@,${exec_prefix}/lib,; s,@includedir@,${prefix}/include,' \
	-e 's,@PACKAGE_VERSION@,1.2,' "$src/mremap_compat.pc.in" >mremap_compat.pc
export PKG_CONFIG_PATH=$tmp
tap_is "$(pkg-config --cflags --libs mremap_compat | tr -s ' ' | sed 's/ $//')" \
	"-I/p/include -L/p/lib -lmremap_compat" "pkg-config file"
tap_is "$(pkg-config --modversion mremap_compat)" 1.2 "pkg-config version"

tap_end
