#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# How each glibc in the build folder was built: hardened as Debian's of the same release,
# its debug information beside it, and its own name in what it says about itself.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
# shellcheck source=tests/tap.sh
. "$here/../tap.sh"
build=$(realpath -m -- "${RELOCATE_BUILD:-build}")
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

elf_files() { # DIR: programs and shared libraries
	find "$1" -path "$1/lib/debug" -prune -o -type f ! -name '*.o' ! -name '*.a' -print |
		while IFS= read -r file; do
			[[ $(head -c 4 "$file" | tr -d '\0') != $'\177ELF' ]] || echo "$file"
		done
}

# Shared libraries and programs: dynamic ones are bound at once, all have a build-id, and
# the file with their debug information is where it says
check_files() { # DIR
	local file id late='' odd='' n=0
	while IFS= read -r file; do
		n=$((n + 1))
		id=$(readelf -n "$file" | awk '/Build ID:/ { print $3 }')
		[[ -n $id && -s $1/lib/debug/.build-id/${id:0:2}/${id:2}.debug ]] || odd+=" ${file#"$1"/}"
		readelf -SW "$file" >"$tmp/sections"
		! grep -q '\.debug_info' "$tmp/sections" && grep -q '\.gnu_debuglink' "$tmp/sections" ||
			odd+=" ${file#"$1"/}"
		readelf -dW "$file" >"$tmp/dynamic" 2>/dev/null
		! grep -q '(NEEDED)' "$tmp/dynamic" || grep -qE '\(FLAGS_1\).*NOW|BIND_NOW' "$tmp/dynamic" ||
			late+=" ${file#"$1"/}"
	done < <(elf_files "$1")
	tap_true "$name: there are programs and libraries" test "$n" -gt 100
	tap_is "$odd" '' "$name: all are stripped, and their debug files are there by build-id"
	tap_is "$late" '' "$name: all are bound at once"
	tap_like "$(readelf -SW "$1"/lib/ld-linux-*.so.*)" '\.symtab' "$name: the loader keeps its symbols, for valgrind"
}

check_hardening() { # DIR RELEASE
	local libc=$1/lib/libc.so.6 n
	objdump -d --no-show-raw-insn "$libc" >"$tmp/code"
	n=$(grep -c 'call .*<__stack_chk_fail' "$tmp/code" || :)
	tap_true "$name: functions are protected against overflow of the stack ($n)" test "$n" -gt 200
	n=$(readelf --dyn-syms -W "$1"/bin/* "$1"/sbin/* "$1"/lib/libresolv.so.2 2>/dev/null |
		grep -cE 'UND __[a-z]*_chk@' || :)
	case $2 in
	2.36) tap_true "$name: this release cannot be fortified ($n)" test "$n" -eq 0 ;;
	*) tap_true "$name: programs and libraries are fortified ($n)" test "$n" -gt 20 ;;
	esac
	case $2 in
	2.36 | 2.41)
		tap_is "$(cet "$libc")" '' "$name: no CET, as in Debian's" ;;
	*) tap_is "$(cet "$libc")" 'IBT, SHSTK' "$name: CET" ;;
	esac
	tap_is "$(readelf -dW "$libc" | grep -oE '\((GNU_)?HASH\)' | sort | tr -d '\n')" '(GNU_HASH)(HASH)' \
		"$name: both tables of symbols"
}
cet() { readelf -n "$1" | sed -n 's/.*x86 feature: //p'; }

check_debugger() { # DIR
	local out folders
	command -v gdb >/dev/null || { skip "$name: gdb" 'no gdb'; return; }
	out=$(gdb -nx -batch -iex "set debug-file-directory $1/lib/debug" \
		-ex 'info line __libc_realloc' -ex 'info scope __libc_realloc' "$1/lib/libc.so.6" 2>&1)
	tap_like "$out" 'Line [0-9]+ of "[^"]*malloc\.c"' "$name: gdb knows the line of realloc"
	tap_like "$out" 'Symbol (oldmem|bytes) is' "$name: and its arguments"
	folders=$(gdb -nx -batch -iex "set debug-file-directory $1/lib/debug" \
		-ex 'list __libc_realloc' -ex 'info source' "$1/lib/libc.so.6" 2>&1 || :)
	tap_like "$folders" 'Compilation directory is \.' "$name: no folder of a machine in it"
}

found=
for key in "$build"/glibc.key "$build"/glibc-[0-9]*.key; do
	[[ -e $key ]] || continue
	found=yes
	dir=${key%.key}
	name=${dir##*/}
	[[ $name != *-pristine ]] || continue
	# It names the loader of the folder that it is configured for.
	capture "$dir/lib/ld-linux-x86-64.so.2" "$dir/lib/libc.so.6"
	# shellcheck disable=SC2154 # capture sets it
	release=$(sed -n '1s/.*version \(.*\)\.$/\1/p' <<<"$out")
	tap_like "$out" "^GNU C Library \(relocate-anon $("$top/scripts/version"), [^)]*\) " "$name: it says whose it is"
	check_files "$dir"
	check_hardening "$dir" "$release"
	check_debugger "$dir"
done
[[ -n $found ]] || skip 'the patched glibc' "no $build/glibc (make glibc)"
tap_end
