#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The Debian packages: built out of tree, what they hold, lintian, a program
# that uses them, and the same bytes from a second build.
set -euo pipefail
top=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.." && pwd -P)
# shellcheck source=tests/tap.sh
. "$top/tests/tap.sh"
tap_need dh:debhelper dpkg-buildpackage:dpkg-dev lintian:lintian
tmp=$(mktemp -d)
trap 'rm -rf -- "$tmp"' EXIT
unset MAKEFLAGS MFLAGS MAKELEVEL DEB_BUILD_OPTIONS SOURCE_DATE_EPOCH
unset "${!RELOCATE_@}"
mkdir "$tmp/obj" "$tmp/root"
: >"$tmp/mark"
cd "$tmp/obj"

# ---- build -----------------------------------------------------------------------

tap_run 'configure in another folder' "$top/configure" --disable-kernel --disable-glibc
tap_run 'make deb' make deb
if [[ ! -d build/deb ]]; then
	diag 'no packages to look at'
	tap_end
fi
version=$("$top/scripts/version")
arch=$(dpkg --print-architecture)
multiarch=$(dpkg-architecture -qDEB_HOST_MULTIARCH)
debs=$tmp/obj/build/deb
lib=libmremap-compat0_${version}_$arch.deb
dev=libmremap-compat-dev_${version}_$arch.deb
tools=relocate-anon-tools_${version}_$arch.deb
tap_is "$(ls "$debs")" "$dev
$lib
$tools" 'three packages'
tap_is "$(ls build)" 'deb
log' 'and nothing else is left'

# The packaging names what configure insists on
needed=$(awk '!/^#/ && ($3 == "build" || $3 == "sources") { print $1 }' "$top/packages.list" |
	grep -vxE 'gcc|libc6-dev|make|linux-libc-dev|util-linux' | sort -u)
tap_is "$(sed -n '/^Build-Depends:/,/^[A-Z#]/{s/^\(Build-Depends:\)\? *\([a-z0-9-]\{1,\}\)\( (.*)\)\?,$/\2/p}' \
	"$top/compat/debian/control" | grep -v '^debhelper-compat$' | sort)" "$needed" \
	'Build-Depends has the packages that configure insists on'

# ---- contents ----------------------------------------------------------------------

# All files but what Debian's tools put into each package
files() {
	dpkg-deb --fsys-tarfile "$debs/$1" | tar -t | sed -n 's,^\./\(.*[^/]\)$,/\1,p' |
		grep -vE '^/usr/share/(doc|lintian)/' | sort
}
tap_is "$(files "$lib")" "/usr/lib/$multiarch/libmremap_compat.so.0" 'libmremap-compat0 is the library'
mapfile -t functions < <(sed -n '/global:/,/local:/s/^[	 ]*\([a-z_]*\);.*/\1/p' "$top/compat/libmremap_compat.map")
tap_is "$(files "$dev")" "$({
	printf '/usr/share/man/man3/%s.3.gz\n' "${functions[@]}"
	printf '%s\n' /usr/include/mremap_compat.h "/usr/lib/$multiarch/libmremap_compat.a" \
		"/usr/lib/$multiarch/libmremap_compat.so" "/usr/lib/$multiarch/pkgconfig/mremap_compat.pc" \
		"/usr/lib/$multiarch/cmake/mremap_compat/mremap_compat-config"{,-version}.cmake
} | sort)" 'libmremap-compat-dev is what one builds with'
tap_is "$(files "$tools")" "/usr/bin/relocate-doctor
/usr/bin/vmafrag
/usr/lib/$multiarch/relocate-anon/libmremap_compat_preload.so
/usr/share/man/man1/relocate-doctor.1.gz
/usr/share/man/man1/vmafrag.1.gz
/usr/share/man/man7/relocate-anon.7.gz
/usr/share/relocate-anon/vmafrag.schema.json" 'relocate-anon-tools is the tools'
field() { dpkg-deb -f "$debs/$1" "$2"; }
tap_is "$(field "$lib" Version) $(field "$dev" Version) $(field "$tools" Version)" \
	"$version $version $version" 'the version is that of the header'
tap_is "$(field "$dev" Depends)" "libmremap-compat0 (= $version)" 'libmremap-compat-dev depends on the library'
tap_like "$(field "$lib" Depends)" '^libc6 \([^,]*\)$' 'which depends on nothing but the C library'
tap_like "$(field "$tools" Depends)" '^libc6 \([^,]*\)$' 'and so do the tools'
dpkg-deb -e "$debs/$lib" "$tmp/control"
node=$(sed -n 's/^\([A-Z_0-9]*\) {.*/\1/p' "$top/compat/libmremap_compat.map")
tap_is "$(sed -n 's/^ \([^@]*\)@.*/\1/p' "$tmp/control/symbols" | sort)" \
	"$(printf '%s\n' "$node" "${functions[@]}" | sort)" 'the symbols file has the names of the map'

capture lintian --allow-root --tag-display-limit 0 "$debs"/*.deb
# shellcheck disable=SC2154 # capture sets them
tap_is "$status $out$err" '0 ' 'lintian has nothing to say'
odd=
for file in "$top"/compat/debian/*.lintian-overrides; do
	[[ -e $file ]] || continue
	awk 'NF && !/^#/ && last !~ /^#/ { exit 1 } { last = $0 }' "$file" || odd+=" ${file##*/}"
done
tap_is "$odd" '' 'what it is told to overlook is explained'

# ---- use ----------------------------------------------------------------------------

root=$tmp/root
for deb in "$debs"/*.deb; do
	dpkg-deb -x "$deb" "$root"
done
export PKG_CONFIG_SYSROOT_DIR=$root PKG_CONFIG_PATH=$root/usr/lib/$multiarch/pkgconfig
export LD_LIBRARY_PATH=$root/usr/lib/$multiarch
# Include and library folders of the system's own are left out otherwise.
export PKG_CONFIG_ALLOW_SYSTEM_CFLAGS=1 PKG_CONFIG_ALLOW_SYSTEM_LIBS=1
read -ra flags < <(pkg-config --cflags --libs mremap_compat)
example=$root/usr/share/doc/libmremap-compat-dev/examples/vector.c
tap_run 'the example builds with the packages' \
	"${CC:-gcc}" -Wall -Werror -o "$tmp/vector" "$example" "${flags[@]}"
tap_like "$(ldd "$tmp/vector")" "libmremap_compat\.so\.0 => $root/usr/lib/$multiarch/" \
	'and is linked with their library'
tap_run 'and runs' "$tmp/vector"
tap_run 'with the static library, too' \
	"${CC:-gcc}" -Wall -Werror -o "$tmp/static" "$example" "-I$root/usr/include" "$root/usr/lib/$multiarch/libmremap_compat.a"
tap_run 'which runs' env -u LD_LIBRARY_PATH "$tmp/static"
tap_is "$(pkg-config --modversion mremap_compat)" "$version" 'pkg-config says the version'
capture "$root/usr/bin/relocate-doctor"
tap_like "$status $out" '^[012] .*Methods' 'relocate-doctor runs'
tap_run 'vmafrag runs' "$root/usr/bin/vmafrag" --help
preload=$root/usr/lib/$multiarch/relocate-anon/libmremap_compat_preload.so
tap_like "$(zcat "$root/usr/share/man/man7/relocate-anon.7.gz" | sed 's/\\//g')" \
	"LD_PRELOAD=${preload#"$root"}" 'relocate-anon(7) says where it is'
capture env -u LD_LIBRARY_PATH LD_PRELOAD="$preload" MREMAP_COMPAT_PRELOAD=relocate "$tmp/static"
tap_is "$status $err" '0 ' 'a program runs with the library for LD_PRELOAD'
if command -v man >/dev/null; then
	tap_like "$(man -M "$root/usr/share/man" 3 mremap_compat_probe 2>&1 | head -n 2)" '^mremap_compat\(3\)' \
		'man shows the page of a function'
else
	skip 'man shows the page of a function' 'no man'
fi

# ---- again ---------------------------------------------------------------------------

mkdir "$tmp/obj2"
cd "$tmp/obj2"
"$top/configure" --disable-kernel --disable-glibc --prefix=/opt/x >/dev/null
tap_run 'make deb in another folder, with other settings' \
	env CFLAGS=-O0 TZ=Asia/Tokyo DEB_BUILD_OPTIONS=nocheck bash -c 'umask 077; make deb'
tap_is "$(cd build/deb && sha256sum -- *.deb)" "$(cd "$debs" && sha256sum -- *.deb)" 'gives the same bytes'
tap_is "$(find "$top" -path "$top/build" -prune -o -path "$top/.git" -prune -o \
	-type f -newer "$tmp/mark" -print)" '' 'the source folder is untouched'
tap_end
