#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# mremap() without our flags costs what it did: tests/guest/cost on the pristine
# kernel and on $RELOCATE_KERNEL (default: the patched one), both booted with
# --icount and the same options; no operation may take over 1 % more instructions.
# What relocation costs is shown and not judged.
set -euo pipefail
top=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.." && pwd -P)
# shellcheck source=tests/tap.sh
. "$top/tests/tap.sh"
build=$(realpath -m -- "${RELOCATE_BUILD:-build}")
export RELOCATE_BUILD=$build
pristine=$build/kernel/pristine/bzImage
patched=${RELOCATE_KERNEL:-patched}
[[ $patched == */* ]] || patched=$build/kernel/$patched/bzImage

reason=''
for file in "$pristine" "$patched" "$build/tests/guest/cost"; do
	[[ -e $file ]] || reason="no $file"
done
command -v "${QEMU:-qemu-system-x86_64}" >/dev/null || reason='no QEMU'
if [[ -n $reason ]]; then
	skip 'plain mremap() costs what it did' "$reason"
	tap_end
fi

# One was built before a change of kernel/config: they cannot be compared.
capture diff "${pristine%/*}/.config" "${patched%/*}/.config"
# shellcheck disable=SC2154 # capture sets them
if [[ $status != 0 ]]; then
	not_ok 'both kernels have the same configuration' "build both again (make kernel)"$'\n'"$out$err"
	tap_end
fi

tmp=$(mktemp -d)
boots=()
# shellcheck disable=SC2317 # called by trap
clean_up() {
	((${#boots[@]} == 0)) || kill "${boots[@]}" 2>/dev/null || :
	wait
	rm -rf -- "$tmp"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# Both at once: instructions are counted, not time.  Measuring the speed of the
# local APIC's timer would take most of the boot here, and nobody needs it.
boot() { # KERNEL NAME
	"$top/tests/vm/run-kernel" --icount --kernel "$1" --append nolapic_timer \
		-- "$build/tests/guest/cost" >"$tmp/$2" 2>"$tmp/$2.err" &
	boots+=("$!")
}
boot "$pristine" before
boot "$patched" after
statuses=''
for pid in "${boots[@]}"; do
	status=0
	wait "$pid" || status=$?
	statuses+=" $status"
done
boots=()
if [[ $statuses == ' 0 0' ]]; then
	ok 'both kernels were measured'
else
	not_ok 'both kernels were measured' "statuses$statuses"$'\n'"$(cat "$tmp"/*)"
	tap_end
fi
# Not the same kernel twice
tap_is "$(grep -c '^relocate-' "$tmp/before")" 0 'one does not know MREMAP_RELOCATE_ANON'
tap_true 'the other does' grep -q '^relocate-' "$tmp/after"

while read -r name before unit; do
	after=$(awk -v n="$name" '$1 == n { print $2 }' "$tmp/after")
	read -r verdict change < <(awk -v a="$before" -v b="${after:-0}" 'BEGIN {
		good = a > 0 && b > 0 && b <= a * 1.01
		printf("%s %+.2f\n", good ? "ok" : "not_ok", (b - a) / (a + !a) * 100) }')
	"$verdict" "$name: $before, now ${after:-none} instructions per $unit ($change %)"
done <"$tmp/before"
diag 'With MREMAP_RELOCATE_ANON, for information:'
diag "$(awk '/^relocate-/ { printf "%s: %s instructions per %s%s\n", $1, $2, $3, $4 ? ", falls back" : "" }' "$tmp/after")"
tap_end
