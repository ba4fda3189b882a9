#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# The library with other C libraries, processors, emulators and compilers.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
# shellcheck source=tests/tap.sh
. "$here/../tap.sh"

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
flags=(-std=c11 -O2 -Wall -Wextra -Werror -I"$top/compat" "$top"/compat/*.c)

# try NAME ANSWERS RUNNER... -- COMPILER OPTION...: ANSWERS is a pattern for
# what the program says that there is. The thread of the calls is also tried alone.
try() {
	local name=$1 answers=$2 runner=()
	shift 2
	while [[ $1 != -- ]]; do runner+=("$1"); shift; done
	shift
	if ! command -v "$1" >/dev/null || ! command -v "${runner[0]:-env}" >/dev/null; then
		skip "$name" "no $1${runner[0]:+ or no ${runner[0]}}"
		return
	fi
	for program in smoke apart; do
		rm -f $program
		capture "$@" -o $program "$top/tests/compat/$program.c" "${flags[@]}" -pthread
		# shellcheck disable=SC2154 # capture sets them
		if [[ $status != 0 ]]; then
			not_ok "$name: $program" "$out$err"
			return
		fi
		capture "${runner[@]}" ./$program
		# Virtual machines are not always able to, for 32 bits.
		if [[ $status == 126 && $err == *'Exec format error'* ]]; then
			skip "$name" 'this machine does not run such programs'
			return
		fi
		if [[ $program == smoke ]]; then
			diag "$name: ${out%%$'\n'*}"
			tap_like "$status $out$err" "^0 $answers"$'\ngood\n' "$name"
		else
			tap_like "$status $out$err" $'^0 good\n' "$name: its thread"
		fi
	done
}

any='kernel=[12] uffd-move=[123] copy=[123] plain=1'
none='kernel=2 uffd-move=2 copy=[12] plain=1'
try 'gcc' "$any" -- gcc
try 'gcc, static' "$any" -- gcc -static
try 'gcc, thread by clone()' "$any" -- gcc -DMC_LIBC_CLONE
try 'gcc, hardened' "$any" -- gcc -fcf-protection=full -fstack-protector-all -fstack-clash-protection
try 'clang' "$any" -- clang
try 'musl' "$any" -- musl-gcc -idirafter /usr/include -idirafter /usr/include/x86_64-linux-gnu
try 'musl, static' "$any" -- musl-gcc -static -idirafter /usr/include -idirafter /usr/include/x86_64-linux-gnu
try '32 bits' "$any" -- i686-linux-gnu-gcc -static
# An emulator has no userfaultfd; it must not be taken for the kernel either.
try 'x86-64 in qemu-user' "$none" qemu-x86_64 -- gcc -static
try 'aarch64 in qemu-user' "$none" qemu-aarch64 -- aarch64-linux-gnu-gcc -static
# Its complaint about the system call that it does not know is no error.
try 'Valgrind' 'kernel=2 uffd-move=2 copy=2 plain=1' valgrind -q --error-exitcode=9 --log-file=/dev/null -- gcc -g
tap_end
