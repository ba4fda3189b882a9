#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Put defects into the kernel series, one after another (tests/defects/*.patch, and
# tests/storm/mutants/*.patch), and see each found by what is there for it. Each
# patch says in its head
#
#   Kernel: patched|debug     what to build with the defect
#   Test: PROGRAM CASE NAME   the test of tests/guest/PROGRAM that must fail
# or
#   Storm: OPTIONS            "storm fuzz" with these must find a program that
#                             fails, or something else wrong
#
# A kernel that complains, panics or hangs counts, too. With arguments only the
# defects whose names begin with one of them; "mutants" stands for those of storm.
set -euo pipefail
exec </dev/null
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../../scripts/lib.sh"
# shellcheck source=tests/tap.sh
. "$top/tests/tap.sh"

wanted=("$@")
for tree in "$build/kernel-tree" "$build/kernel-debug-tree"; do
	if [[ ! -e $tree/.git ]]; then
		skip 'the defects' "no $tree (make kernel-tree kernel-debug-tree)"
		tap_end
	fi
done
work=$build/defects
mkdir -p "$work"

# tree_of KERNEL: a clone of the tree that the kernel is built from, as it was
# committed there. It stays, so that the next defect compiles but a few files.
tree_of() {
	local from=$build/kernel-debug-tree tree=$work/tree-$1 head
	[[ $1 != patched ]] || from=$build/kernel-tree
	[[ -e $tree/.git ]] || git clone -q --shared --no-checkout "$from" "$tree"
	head=$(git -C "$from" rev-parse HEAD)
	git -C "$tree" fetch -q "$from" HEAD
	git -C "$tree" checkout -q --force --detach "$head"
	echo "$tree"
}

# is_wanted PATCH
is_wanted() {
	local word
	((${#wanted[@]})) || return 0
	for word in "${wanted[@]}"; do
		[[ ${1##*/} != "$word"* && $1 != */"$word"/* ]] || return 0
	done
	return 1
}

for patch in "$top"/tests/defects/*.patch "$top"/tests/storm/mutants/*.patch; do
	is_wanted "$patch" || continue
	name=$(basename "$patch" .patch)
	kernel=$(sed -n 's/^Kernel: //p' "$patch")
	read -r program tcase test < <(sed -n 's/^Test: //p' "$patch") || :
	if [[ $program ]]; then
		command=("tests/guest/$program")
		more=(--env "CK_RUN_CASE=$tcase")
		what="$program $test"
		finding="^not ok.*:$test: "
	else
		read -ra command < <(sed -n 's/^Storm: /tests\/storm\/storm fuzz /p' "$patch")
		what="storm ${command[*]:1}"
		# That interference did nothing is no finding.
		finding='^# seed |^not ok [0-9]+ - (programs|Committed_AS|pages copied)'
		# Nobody reads the program that fails, and the list's limit is for 20 s.
		command+=(--tries 1)
		more=(--timeout 300)
	fi
	text="$name: $what on the $kernel kernel"
	tree=$(tree_of "$kernel")
	if ! git -C "$tree" apply "$patch" 2>"$work/log"; then
		not_ok "$text" "the patch does not apply: $(cat "$work/log")"
		continue
	fi
	if ! RELOCATE_BUILD=$work/$kernel "$top/scripts/build-kernel" --tree "$tree" "$kernel" >"$work/log" 2>&1; then
		not_ok "$text" "does not build:"$'\n'"$(tail -n 20 "$work/log")"
		continue
	fi
	# The options of the line in guest.list that runs this program. Without the defect,
	# a case takes less than a minute, or has a time limit there.
	mapfile -t options < <(awk -v p="${command[0]}" '$1 !~ /^#/ {
		for (i = 3; i < NF && $i != "--"; i++);
		if ($(i + 1) != p) next
		for (j = 3; j < i; j++) print $j
		exit }' "$top/tests/guest.list")
	rm -f "$work/$name.console"
	begin=$SECONDS status=0 found=''
	# After a complaint the kernel may hang; after a finding there is nothing to see.
	while IFS= read -r line; do
		echo "$line"
		[[ ! $line =~ $finding ]] || { found=$line; break; }
	done >"$work/$name.log" < <(cd "$build" && exec "$top/tests/vm/run-kernel" \
		--kernel "$work/$kernel/kernel/$kernel/bzImage" --fail-fast --timeout 300 \
		"${options[@]}" "${more[@]}" --log "$work/$name.console" -- "${command[@]}" 2>&1)
	[[ ! $found ]] || kill $! 2>/dev/null || :
	wait $! || status=$?
	complaint=$(grep -saom 1 -E '(BUG|WARNING|Oops)(:| at) .*' "$work/$name.console" || :)
	case $found:$status in
	'# '*) how=${found##*'): '} ;;
	[!:]*) how=${found#not ok * - } ;;
	:121) how='the kernel hangs' ;;
	:122) how="the kernel panics: $complaint" ;;
	:124) how="the kernel complains: $complaint" ;;
	*) how='' ;;
	esac
	if [[ $how ]]; then
		ok "$text: after $((SECONDS - begin)) s: $how"
	else
		not_ok "$text" "not found, status $status:"$'\n'"$(tail -n 8 "$work/$name.log")"
	fi
done
tap_end
