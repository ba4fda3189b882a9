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
	enum mremap_compat_support support = mremap_compat_probe(MREMAP_COMPAT_KERNEL);
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

lib=${RELOCATE_BUILD:-build}/compat
[[ $lib == /* ]] || lib=$OLDPWD/$lib

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
declared=$(sed -n '/^[a-z].*mremap_compat[a-z_]*(/s/.*\(mremap_compat[a-z_]*\)(.*/\1/p' \
	"$src/mremap_compat.h"; sed -n 's/^\(mremap_compat[a-z_]*\)(enum.*/\1/p' "$src/mremap_compat.h")
declared=$(sort -u <<<"$declared")
tap_is "$declared" "$wanted" "the header declares the names of the map"

# The version is in the header alone; configure, which is generated, has a copy.
tap_is "$(sed -n 's/^#define MREMAP_COMPAT_VERSION_[MAJORINPTCH]* //p' "$src/mremap_compat.h" | paste -sd.)" \
	"$("$top/scripts/version")" 'the header has the version of the project'
tap_is "$(sed -n "s/^PACKAGE_VERSION='\(.*\)'/\1/p" "$top/configure")" "$("$top/scripts/version")" \
	'configure has it, too (if not: ./autogen.sh)'
tap_is "$(sed -n 's/^## \([0-9.]*\).*/\1/p' "$top/CHANGELOG.md" | head -n 1)" "$("$top/scripts/version")" \
	'CHANGELOG.md begins with it'
sed '/VERSION_MINOR/d' "$src/mremap_compat.h" >mremap_compat.h
mkdir scripts compat
mv mremap_compat.h compat/
cp "$top/scripts/version" scripts/
capture scripts/version
# shellcheck disable=SC2154 # capture sets them
tap_like "$status $err" '^1 .*no version in' 'a header without one is noticed'

tap_run "C program links with the shared library and runs" sh -c "
	$cc -I'$src' -o c first.c -L'$lib' -lmremap_compat &&
	LD_LIBRARY_PATH='$lib' ./c"
tap_run "C++ program links with the static library and runs" sh -c "
	$cxx -I'$src' -o cxx first.cc '$lib/libmremap_compat.a' && ./cxx"

# ---- $MREMAP_COMPAT_METHODS -----------------------------------------------

cat >methods.c <<'EOF2'
#include <mremap_compat.h>
#include <stdio.h>

static unsigned int early;

/* Before the library's own constructors, perhaps: */
__attribute__((constructor(101))) static void first(void)
{
	early = mremap_compat_get_methods();
}

int main(void)
{
	printf("%u %u\n", early, mremap_compat_get_methods());
	return 0;
}
EOF2
"$cc" -I"$src" -o methods methods.c "$lib/libmremap_compat.a"
"$cc" -I"$src" -o methods-shared methods.c -L"$lib" -lmremap_compat -Wl,-rpath,"$lib"
for program in ./methods ./methods-shared; do
	tap_is "$(env -u MREMAP_COMPAT_METHODS $program)" '15 15' "$program: no variable, all methods"
	while read -r set methods; do
		tap_is "$(MREMAP_COMPAT_METHODS=$set $program)" "$methods $methods" "$program: '$set'"
	done <<'EOF2'
all 15
kernel 9
uffd-move 10
copy 12
plain 8
plain,plain 8
copy,uffd-move 14
kernel,uffd-move,copy,plain 15
KERNEL 15
kernel, 15
,copy 15
kernel,all 15
kernel:copy 15
copyy 15
cop 15
EOF2
	tap_is "$(MREMAP_COMPAT_METHODS='' $program)" '15 15' "$program: empty"
done

# shellcheck disable=SC2016 # for pkg-config to expand
sed -e 's,@prefix@,/p,; s,@exec_prefix@,${prefix},' \
	-e 's,@libdir@,${exec_prefix}/lib,; s,@includedir@,${prefix}/include,' \
	-e 's,@PACKAGE_VERSION@,1.2,' "$src/mremap_compat.pc.in" >mremap_compat.pc
export PKG_CONFIG_PATH=$tmp
tap_is "$(pkg-config --cflags --libs mremap_compat | tr -s ' ' | sed 's/ $//')" \
	"-I/p/include -L/p/lib -lmremap_compat" "pkg-config file"
tap_is "$(pkg-config --modversion mremap_compat)" 1.2 "pkg-config version"

tap_end
