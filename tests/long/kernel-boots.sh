#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The kernel after each patch of the series that changes it boots, and passes the
# tests that there are at that point: upstream's own of mremap() give what they
# give on the pristine kernel, its userland tests of the VMA code pass, and ours
# of the library see a kernel that has the flags or one that lacks them.
# (tests/long/kernel-series.sh has compiled each patch in many configurations.)
set -euo pipefail
exec </dev/null
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../../scripts/lib.sh"
# shellcheck source=tests/tap.sh
. "$top/tests/tap.sh"

if [[ ! -e $build/kernel-tree/.git ]]; then
	skip 'the series, boot by boot' "no $build/kernel-tree (make kernel-tree)"
	tap_end
fi
work=$build/series
tree=$work/tree
mkdir -p "$work"
[[ -e $tree/.git ]] || git clone -q --shared --no-checkout "$build/kernel-tree" "$tree"
git -C "$tree" fetch -q --force "$build/kernel-tree" HEAD tag pristine
last=$(git -C "$build/kernel-tree" rev-parse HEAD)
mapfile -t commits < <(git -C "$tree" rev-list --reverse "pristine..$last" -- mm include arch '*Kconfig*')
tap_true "${#commits[@]} patches change the kernel" test "${#commits[@]}" -gt 0

# vma_tests: upstream's userland tests of the VMA code, as they are in the tree
# shellcheck disable=SC2317 # called by tap_run
vma_tests() {
	local copy=$work/vma
	rm -rf "$copy"
	mkdir "$copy"
	git -C "$tree" archive HEAD tools lib mm include arch/x86 scripts | tar -x -C "$copy"
	env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL make -s -C "$copy/tools/testing/vma" &&
		(cd "$copy/tools/testing/vma" && ./vma)
}

n=0
for commit in "${commits[@]}"; do
	n=$((n + 1))
	git -C "$tree" checkout -q --force --detach "$commit"
	title=$(git -C "$tree" log -1 --format=%s)
	image=$work/kernel/patched/bzImage
	tap_run "$n: builds: $title" env RELOCATE_BUILD="$work" "$top/scripts/build-kernel" --tree "$tree" patched
	has=unsupported
	! grep -q MREMAP_RELOCATE_ANON "$tree/include/uapi/linux/mman.h" || has=supported
	tap_run "$n: the flags are $has" env -C "$build" "$top/tests/vm/run-kernel" --kernel "$image" \
		--env RELOCATE_EXPECT=$has -- tests/host/compat_live
	tap_run "$n: upstream's tests as on the pristine kernel" "$top/tests/selftests/compare" \
		--kernel "$image" --upstream --label "series-$n" merge mremap_test mremap_dontunmap
	tap_run "$n: the VMA tests" vma_tests
done
tap_end
