#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# glibc-patches/manual, what glibc's manual would say: each file is text for the place
# that its comments name, and makeinfo takes it there without a warning.
set -euo pipefail
top=$(cd "$(dirname "$0")/../.." && pwd)
# shellcheck source=tests/tap.sh
. "$top/tests/tap.sh"
cd "$top/glibc-patches/manual"

command -v makeinfo >/dev/null || { skip 'text for the manual' 'no makeinfo (Debian package texinfo)'; tap_end; }
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

# manual FILE: a manual with the file's text where it belongs
manual() {
	printf '%s\n' '\input texinfo' '@settitle Test' '@node Top' '@top Test' \
		'@menu' '* Memory-mapped I/O::' '* Memory Allocation Tunables::' '@end menu' \
		'@node Memory-mapped I/O' '@chapter Memory-mapped I/O'
	[[ $1 != llio.texi ]] || awk '/^@c In the list/ { item = 0 } /^@item/ && !item { print "@table @code"; item = 1 }
		/^@c In/ && open { print "@end table"; open = 0 }
		/^@item/ { open = 1 } { print } END { if (open) print "@end table" }' "$1"
	printf '%s\n' '@node Memory Allocation Tunables' '@chapter Memory Allocation Tunables'
	[[ $1 != tunables.texi ]] || cat "$1"
	printf '%s\n' '@bye'
}
for file in *; do
	manual "$file" >"$tmp/$file"
	capture makeinfo --error-limit=1 --plaintext -o "$tmp/$file.txt" "$tmp/$file"
	# shellcheck disable=SC2154 # capture sets them
	tap_is "$status$out$err" 0 "$file: makeinfo takes it"
	tap_like "$(head -n 1 "$file")" "^@c In manual/$file, node \"" "$file: says where it goes"
done
# All that the patches add is described.
words=$(sed -n 's/^+# define \(M[A-Z]*_[A-Z_]*\).*/\1/p; s/^+    \(mremap[a-z_]*\) {$/glibc.malloc.\1/p' ../2.44/*.patch |
	grep -v MREMAP_COPY_MAX | sort)
tap_is "$(wc -l <<<"$words")" 4 'the patches add three constants and a tunable'
for word in $words; do
	tap_true "$word is described" grep -qE "^(@item|@deftp Tunable) $word$" ./*.texi
done
tap_end
