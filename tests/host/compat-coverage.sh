#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# How much of compat/ the tests of the library and its tools go through: at
# least 90 % of the lines and of the branches, library and tools each. What is
# run in a child that is killed does not count.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
# shellcheck source=tests/tap.sh
. "$here/../tap.sh"

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
mkdir -p "$tmp/compat" "$tmp/count" "$tmp/objects"
cd "$tmp"
read -ra check <<<"$(pkg-config --cflags --libs check)"
read -ra calls <<<"$(sed -n 's/^failing_calls = //p' "$top/Makefile.in")"

# Counters end up beside the objects, also those of programs that run elsewhere.
# The tools' children write theirs if they end with exit().
cover=(gcc -std=c11 -O0 -g -fPIC -fvisibility=hidden --coverage -fprofile-update=atomic -D_exit=exit)
cover+=(-I"$top/compat")
objects=() tools=() vmafrag_parts=()
for source in "$top"/compat/*.c "$top"/compat/tools/*.c "$top"/compat/preload/*.c; do
	name=$(basename "$source" .c)
	"${cover[@]}" -c -o "objects/$name.o" "$source"
	: >"objects/$name.gcda"
	case $source in
	*/tools/*)
		tools+=("objects/$name.o")
		[[ $name == vmafrag || $name == relocate-doctor || $name == report ]] || vmafrag_parts+=("objects/$name.o")
		;;
	*/preload/*) ;;
	*) objects+=("objects/$name.o") ;;
	esac
done
library=("${objects[@]}" -lgcov -pthread)
gcc -shared -Wl,--version-script="$top/compat/preload/preload.map" \
	-o compat/libmremap_compat_preload.so objects/preload.o "${library[@]}" -ldl
for tool in vmafrag relocate-doctor; do
	parts=("objects/$tool.o")
	if [[ $tool == vmafrag ]]; then parts+=("${vmafrag_parts[@]}"); else parts+=(objects/report.o); fi
	gcc -o "compat/$tool" "${parts[@]}" "${library[@]}"
done
for name in compat_live compat_simulated compat_methods compat_failures compat_children compat_coalesce maps_parse fragments; do
	wrap=() parts=()
	[[ $name != compat_failures ]] || wrap=("${calls[@]/#/-Wl,--wrap=}")
	[[ $name != fragments ]] || parts=("${vmafrag_parts[@]}")
	# The library's frames are larger than they are with optimization.
	gcc -std=c11 -O1 -DLARGE_FRAMES -I"$top/compat" -o "$name" "$here/$name.c" "${parts[@]}" "${library[@]}" \
		"${wrap[@]}" "${check[@]}"
done

# Programs without rights write their counters, too, into files that are there.
chmod -R a+rwX "$tmp"
export RELOCATE_BUILD=$tmp
for name in compat_live compat_simulated compat_methods compat_failures compat_children compat_coalesce maps_parse fragments; do
	tap_run "$name" "./$name"
done
for name in vmafrag vmafrag-heal relocate-doctor compat-preload; do
	tap_run "$name.sh" bash "$here/$name.sh"
done

# covered NAME OBJECT...: from gcov's summaries
covered() {
	local name=$1 lines branches table
	shift
	table=$(gcov -b -c -n -o objects "${@/%.o/.gcda}" 2>/dev/null | awk '
		/^File / { ours = /compat\// && !/\.h/; sub(/.*\//, ""); sub(/\047$/, ""); file = $0 }
		ours && /^Lines executed:/ { split($0, p, /[:% ]+/); l[file] = p[3]; n[file] = p[5] }
		ours && /^Taken at least once:/ { split($0, p, /[:% ]+/); b[file] = p[5]; m[file] = p[7]; ours = 0 }
		END {
			for (f in n) {
				lines += n[f]; hit += l[f] * n[f] / 100
				branches += m[f]; taken += b[f] * m[f] / 100
				printf "%-18s lines %5.1f %% of %d, branches %5.1f %% of %d\n", f, l[f], n[f], b[f], m[f]
			}
			printf "%.1f %.1f total\n", 100 * hit / lines, 100 * taken / branches
		}')
	diag "$table"
	read -r lines branches _ <<<"$(tail -n 1 <<<"$table")"
	tap_true "$name: $lines % of the lines" awk "BEGIN { exit !($lines >= 90) }"
	tap_true "$name: $branches % of the branches" awk "BEGIN { exit !($branches >= 90) }"
}
covered library "${objects[@]}" objects/preload.o
covered tools "${tools[@]}"
tap_end
