#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Which lines of the kernel series do the guest tests run? Boots the kernel with
# counters and fault injection (gcov), once for each of the programs below. A line
# that the series has added to mm/ or include/linux/ and that none of them runs is a
# failure, unless kernel-coverage.list says why; so is one in that list that runs.
#
# With arguments only the programs named, and missing lines are no failure.
set -euo pipefail
exec </dev/null
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../../scripts/lib.sh"
# shellcheck source=tests/tap.sh
. "$top/tests/tap.sh"

programs=(guest/{relocate,large,pages,swap,sharing,tables,faults,interference} storm/{storm,badinput})
list=$top/tests/long/kernel-coverage.list
tree=$build/kernel-debug-tree
work=$build/coverage
wanted=("$@")
[[ $# -gt 0 ]] || wanted=("${programs[@]}")

if ! "$top/scripts/build-kernel" gcov >"$build/log/coverage-build" 2>&1; then
	not_ok 'the kernel with counters' "$(tail -n 20 "$build/log/coverage-build")"
	tap_end
fi
# gcov finds the sources where the compiler did: from obj/ as ../mm/mremap.c.
rm -rf "$work"
mkdir -p "$work/obj" "$work/boot"
ln -s "$tree/mm" "$tree/include" "$work/"
cp "$build"/kernel/gcov/*.gcno "$work/obj/"

# added COMMIT [PATTERN]: file and number of the lines that are not in that commit,
# where what they replace in it (LINE,COUNT) matches
added() {
	git -C "$tree" diff -U0 --no-renames "$1" -- "${files[@]}" | awk -v pattern="${2:-.}" '
		/^\+\+\+ / { file = substr($2, 3) }
		/^@@ / && $2 ~ pattern {
			n = split(substr($3, 2), part, ",") == 2 ? part[2] : 1
			for (i = 0; i < n; i++) print file, part[1] + i
		}' | sort
}
# Those of the series, without what only the debug patches have
mapfile -t files < <(git -C "$tree" diff --name-only pristine~ pristine -- mm include/linux)
comm -23 <(added pristine~) <(added pristine ',0$') >"$work/added"
for file in $(grep -o '^mm/.*\.c' "$work/added" | uniq); do
	tap_true "$file has counters" test -e "$work/obj/$(basename "$file" .c).gcno"
done

# Add the line counts of one boot to $work/counts.
count() {
	cp "$work"/boot/*.gcda "$work/obj/"
	(cd "$work/obj" && gcov --stdout ./*.gcda) >>"$work/counts" 2>"$work/gcov.log"
}

# shellcheck disable=SC2016 # for the guest's shell
copy='"$@"; status=$?
for file in $(find /sys/kernel/debug/gcov -name "*.gcda"); do
	cat "$file" >"$0/${file##*/}" || exit 99
done
exit $status'
for program in "${wanted[@]}"; do
	name=${program//\//-}
	# Options and command of the first line in guest.list that runs it
	mapfile -t words < <(awk -v p="tests/$program" '$1 !~ /^#/ && / -- / {
		for (i = 3; $i != "--"; i++);
		if ($(i + 1) == p) { for (i = 3; i <= NF; i++) print $i; exit } }' "$top/tests/guest.list")
	options=()
	while [[ ${words[0]} != -- ]]; do
		options+=("${words[0]}")
		words=("${words[@]:1}")
	done
	status=0 begin=$SECONDS
	rm -f "$work"/boot/*
	(cd "$build" && "$top/tests/vm/run-kernel" --kernel "$build/kernel/gcov/bzImage" "${options[@]}" \
		--share "$work/boot" --log "$work/$name.console" -- \
		sh -c "$copy" "$work/boot" "${words[@]:1}") >"$work/$name.log" 2>&1 || status=$?
	# What the kernel complains of (124) other runs find.
	((status != 124)) || diag "$(grep -A 2 'the kernel complained' "$work/$name.log")"
	if ((status == 0 || status == 124)) && count; then
		ok "$name ($((SECONDS - begin)) s)"
	else
		not_ok "$name" "status $status, see $work/$name.log"$'\n'"$(grep '^not ok' "$work/$name.log" | head -n 8)"
	fi
done

# Lines of gcov are COUNT:NUMBER:TEXT, where COUNT is "-" if there is no code.
awk -v missed="$work/missed" '
	NR == FNR { added[$1, $2]; next }
	{
		count = line = text = $0
		sub(/:.*/, "", count)
		gsub(/[ *]/, "", count)
		sub(/[^:]*:/, "", line)
		sub(/[^:]*:[^:]*:/, "", text)
		line += 0
	}
	!line && sub(/^Source:/, "", text) { sub(/^(\.\.\/)*/, "", text); file = text; next }
	!line { next }
	text ~ /^[A-Za-z_].*\(/ && text !~ /;$/ { name = text; sub(/\(.*/, "", name); sub(/.*[ *]/, "", name) }
	count == "-" { next }
	{
		key = file SUBSEP line
		if (!(key in where)) { lines[file]++; if (key in added) ours[file]++ }
		sub(/^[ \t]+/, "", text)
		where[key] = file ": " name ": " text
		if (count ~ /^[0-9]/ && count > 0 && !(key in hit)) {
			hit[key]
			nr_hit[file]++
			if (key in added) our_hit[file]++
		}
	}
	END {
		printf "" >missed
		for (key in where)
			if (key in added && !(key in hit)) print where[key] >missed
		for (file in ours) {
			n += ours[file]
			h += our_hit[file]
			printf "%-22s %d of %d lines of the series; of all lines %.1f %%\n", file,
			       our_hit[file], ours[file], 100 * nr_hit[file] / lines[file]
		}
		printf "in all %d of %d lines of the series\n", h, n
	}' "$work/added" "$work/counts" >"$work/summary"
LC_ALL=C sort -o "$work/missed" "$work/missed"
diag "$(sort "$work/summary")"
diag "listed: $(grep -c '^[^#].* -- ' "$list")"

sed -n '/^#/d; s/ -- .*//p' "$list" | sort >"$work/listed"
# Those it takes luck to hit
sed -n 's/ -- by chance.*//p' "$list" | sort >"$work/chance"
if [[ $# -gt 0 ]]; then
	diag "$(cat "$work/missed")"
	tap_end
fi
tap_is "$(comm -23 "$work/missed" "$work/listed")" '' 'every line of the series runs, or is listed'
tap_is "$(comm -13 "$work/missed" "$work/listed" | comm -23 - "$work/chance")" '' 'what is listed does not run'
tap_end
