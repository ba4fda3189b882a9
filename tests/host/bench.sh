#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The benchmark: what relocation may cost, by bench/run --quick, and that script.
# RELOCATE_KERNEL names another kernel than the patched one.
set -euo pipefail
top=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.." && pwd -P)
# shellcheck source=tests/tap.sh
. "$top/tests/tap.sh"
build=$(realpath -m -- "${RELOCATE_BUILD:-build}")
export RELOCATE_BUILD=$build
kernel=${RELOCATE_KERNEL:-patched}
bench=$top/bench/run
tmp=$(mktemp -d)
trap 'rm -rf -- "$tmp"' EXIT

# --- the script ---------------------------------------------------------------------
# shellcheck disable=SC2154 # capture sets them
{
	capture "$bench" --help
	tap_like "$status $out" '^0 Usage: bench/run .*--quick.*--time.*--kernel' '--help'
	capture "$bench" --frobnicate
	tap_like "$status $err" "^2 .*unknown argument '--frobnicate'" 'an unknown option'
	capture "$bench" --kernel
	tap_like "$status $err" '^2 .*--kernel needs a value' 'an option without its value'
	capture env RELOCATE_BUILD="$tmp/none" "$bench" --quick
	tap_like "$status $err" "^2 .*run 'make bench'" 'a build folder without the programs'
	capture "$bench" --compare "$tmp/none"
	tap_like "$status $err" '^2 .*needs two files' '--compare with one file'
	capture "$bench" --compare "$tmp/none" "$tmp/none"
	tap_like "$status $err" "^2 .*no table $tmp/none" '--compare of nothing'
}

columns=operation,folio_kib,congruent,populated_percent,bytes,instructions_per_page,instructions_per_call
# compared NAME WANTED-STATUS PATTERN: of the tables a and b
compared() {
	capture "$bench" --compare "$tmp/a" "$tmp/b"
	tap_like "$status $out$err" "^$2 $3" "--compare: $1"
}
printf '%s\n' "$columns" 'plain,4,yes,100,4096,1000.000,1000' 'plain,4,no,100,4096,2000.000,2000' >"$tmp/a"
cp "$tmp/a" "$tmp/b"
compared 'the same' 0 '2 rows, 0 differ by more than 0.5 %'
sed -i 's/2000$/2009/' "$tmp/b"
compared 'nearly the same' 0 '2 rows, 0 differ'
sed -i 's/2009$/2020/' "$tmp/b"
compared 'one per cent more' 1 'plain,4,no,100,4096: 2000, then 2020 \(\+0.99 %\).*2 rows, 1 differ'
sed -i 's/2020$/1980/' "$tmp/b"
compared 'one per cent less' 1 'plain,4,no,100,4096: 2000, then 1980 \(-1.00 %\)'
sed -i '$d' "$tmp/b"
compared 'a row less' 1 'only in the first: plain,4,no,100,4096.*2 rows, 1 differ'
cp "$tmp/a" "$tmp/b"
echo 'copy,4,no,100,4096,2000.000,2000' >>"$tmp/b"
compared 'a row more' 1 'only in the second: copy,4,no,100,4096.*3 rows, 1 differ'
printf 'call,percent_more\nx,1\n' >"$tmp/b"
compared 'another table' 2 'the columns differ'
printf '%s\n' "$columns" | tee "$tmp/a" >"$tmp/b"
compared 'no rows' 1 '0 rows'

# --- what relocation costs ------------------------------------------------------------
reason=''
[[ $kernel == */* ]] || file=$build/kernel/$kernel/bzImage
for file in "${file:-$kernel}" "$build/bench/moves"; do
	[[ -e $file ]] || reason="no $file"
done
command -v "${QEMU:-qemu-system-x86_64}" >/dev/null || reason='no QEMU'
if [[ -n $reason ]]; then
	skip 'what relocation costs' "$reason"
	tap_end
fi

# BENCH_TABLES: tables of an earlier run, to try the tests below
tables=${BENCH_TABLES:-$tmp/tables}
[[ -n ${BENCH_TABLES:-} ]] || tap_run 'bench/run --quick' "$bench" --quick --kernel "$kernel" --out "$tables"
tap_is "$(head -n 1 "$tables/moves.csv")" "$columns" 'the columns of moves.csv'
tap_like "$(tr '\n' ' ' <"$tables/versions")" '^kernel: [0-9].* compiler: gcc .* QEMU: [0-9].* options: .*-icount shift=0,sleep=off' \
	'the versions'
tap_run 'two runs agree within 0.5 %' "$bench" --compare "$tables/moves.csv" "$tables/second/moves.csv"

# Per page of 4 KiB, of 64 MiB that are populated; nothing if there is no such row
figure() { # OPERATION FOLIO-KIB CONGRUENT
	awk -F , -v row="$1,$2,$3,100,${4:-67108864}" '$1 "," $2 "," $3 "," $4 "," $5 == row { print $6 }' "$tables/moves.csv"
}
at_most() { # NAME FIGURE LIMIT
	if [[ -n $2 ]] && awk -v x="$2" -v limit="$3" 'BEGIN { exit !(x > 0 && x <= limit) }'; then
		ok "$1: $2, at most $3"
	else
		not_ok "$1: ${2:-no row}, at most $3"
	fi
}
what='instructions per page'
at_most "4 KiB folios, not congruent, $what" "$(figure relocate 4 no)" 93
at_most "4 KiB folios, congruent, $what" "$(figure relocate 4 yes)" 45
at_most "64 KiB folios, not congruent, $what" "$(figure relocate 64 no)" 73
at_most "64 KiB folios, congruent, $what" "$(figure relocate 64 yes)" 25
at_most "huge pages, not congruent, $what" "$(figure relocate 2048 no)" 75
at_most "huge pages, congruent, $what" "$(figure relocate 2048 yes)" 2.6

at_most "swapped-out pages, not congruent, $what" "$(figure relocate 0 no)" 88
at_most "swapped-out pages, congruent, $what" "$(figure relocate 0 yes)" 42
at_most 'one page by itself, instructions per call' "$(figure relocate 4 no 4096)" 11300

coalescing() { # NAME FOLIO-KIB PIECES COLUMN
	awk -F , -v row="$1,$2,$3" -v column="$4" '$1 "," $2 "," $3 == row { print $column }' "$tables/coalesce.csv"
}
at_most "coalescing, 4 KiB folios, $what" "$(coalescing whole 4 1 5)" 48
at_most "coalescing, 64 KiB folios, $what" "$(coalescing whole 64 1 5)" 25
at_most "coalescing, huge pages, $what" "$(coalescing whole 2048 1 5)" 3
at_most 'coalescing, 60,000 mappings of a page, instructions per mapping' "$(coalescing pieces 4 60000 6)" 6000

# Nothing to relocate.  What a child shares is seen only by looking at the pages, at the
# first one here: that costs something, and is only shown.
nothing() { # CALL
	awk -F , -v call="$1" '$1 == call && $3 > 0 && $4 > 0 { printf "%.4f", $4 / $3 }' "$tables/nothing.csv"
}
for call in 'untouched 64 KiB' 'untouched 64 MiB' '64 KiB back where they were touched first' \
	'64 KiB resized in place' '64 KiB of shared memory'; do
	at_most "$call: times a plain call" "$(nothing "$call")" 1.01
done
call='64 KiB shared with a child'
diag "for information: $call: $(nothing "$call") times a plain call"
tap_end
