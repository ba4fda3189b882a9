#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Put defects into the kernel series, one after another (tests/defects/*.patch),
# and see the test fail that is there for it. Each patch says in its head
#
#   Kernel: patched|debug      what to build with the defect
#   Test: PROGRAM CASE NAME    the test of tests/guest/PROGRAM that must fail; a
#                              kernel that complains, panics or hangs counts, too
#
# With arguments only the defects whose names begin with one of them.
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
	local from=$build/kernel-tree tree=$work/tree-$1 head
	[[ $1 != debug ]] || from=$build/kernel-debug-tree
	[[ -e $tree/.git ]] || git clone -q --shared --no-checkout "$from" "$tree"
	head=$(git -C "$from" rev-parse HEAD)
	git -C "$tree" fetch -q "$from" HEAD
	git -C "$tree" checkout -q --force --detach "$head"
	echo "$tree"
}

for patch in "$top"/tests/defects/*.patch; do
	name=$(basename "$patch" .patch)
	if [[ ${#wanted[@]} -gt 0 ]]; then
		hit=0
		for word in "${wanted[@]}"; do [[ $name != "$word"* ]] || hit=1; done
		((hit)) || continue
	fi
	kernel=$(sed -n 's/^Kernel: //p' "$patch")
	read -r program tcase test < <(sed -n 's/^Test: //p' "$patch")
	text="$name: $program $test on the $kernel kernel"
	tree=$(tree_of "$kernel")
	if ! git -C "$tree" apply "$patch" 2>"$work/log"; then
		not_ok "$text" "the patch does not apply: $(cat "$work/log")"
		continue
	fi
	if ! RELOCATE_BUILD=$work/$kernel "$top/scripts/build-kernel" --tree "$tree" "$kernel" >"$work/log" 2>&1; then
		not_ok "$text" "does not build:"$'\n'"$(tail -n 20 "$work/log")"
		continue
	fi
	# The options of the line in guest.list that runs this program
	mapfile -t options < <(awk -v p="tests/guest/$program" '$1 !~ /^#/ && $NF == p {
		for (i = 3; $i != "--"; i++) print $i; exit }' "$top/tests/guest.list")
	status=0
	# Without the defect, a case takes less than a minute, or has a time limit there.
	# After a complaint the kernel may hang.
	(cd "$build" && "$top/tests/vm/run-kernel" --kernel "$work/$kernel/kernel/$kernel/bzImage" \
		--fail-fast --timeout 300 "${options[@]}" --env CK_RUN_CASE="$tcase" --log "$work/$name.console" -- \
		"tests/guest/$program") >"$work/$name.log" 2>&1 || status=$?
	case $status in
	121) how='the kernel hangs' ;;
	122) how='the kernel panics' ;;
	124) how='the kernel complains' ;;
	*) how='the test fails' ;;
	esac
	failed=$(grep -c '^not ok' "$work/$name.log" || :)
	if grep -q "^not ok.*:$test: " "$work/$name.log" || ((status == 121 || status == 122 || status == 124)); then
		ok "$text: $how ($failed tests fail)"
	else
		not_ok "$text" "not found, status $status, $failed tests fail:"$'\n'"$(grep '^not ok' "$work/$name.log" | head -n 8)"
	fi
done
tap_end
