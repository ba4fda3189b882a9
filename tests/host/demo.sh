#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The demonstration itself, with nothing in build/demo but what `make demo` puts there.
# What it says of results that are wrong is tested by run-demo.sh.

set -euo pipefail
top=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.." && pwd -P)
# shellcheck source=tests/tap.sh
. "$top/tests/tap.sh"
# shellcheck source=demo/lib.sh
. "$top/demo/lib.sh"
build=$(realpath -m -- "${RELOCATE_BUILD:-build}")
export RELOCATE_BUILD=$build

for built in kernel/pristine kernel/patched glibc; do
	[[ -e $build/$built ]] || tap_skip_all "no $build/$built"
done
(($(free_mib) >= 4096)) || tap_skip_all 'it wants 4 GiB of free memory'

rm -f "$build"/demo-{before,after}.svg
tap_run 'what the demonstration needs is built' "$top/demo/build"
tap_run 'the demonstration' "$top/demo/run-demo"
for picture in before after; do
	tap_like "$(head -c 1000 "$build/demo-$picture.svg" 2>&1)" '<svg ' "a picture, $picture"
done
tap_end
