#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# The tests of mremap_compat() once more, under the sanitizers.

set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
# shellcheck source=tests/tap.sh
. "$here/../tap.sh"

cc=${CC:-gcc}
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"

read -ra check <<<"$(pkg-config --cflags --libs check)"

for sanitizer in address,undefined thread; do
	opt=("-fsanitize=$sanitizer" -fno-sanitize-recover=all)
	if ! "$cc" "${opt[@]}" -o works -x c - <<<'int main(void) { return 0; }' \
		2>log || ! ./works 2>>log; then
		skip "$sanitizer" "$cc has no working -fsanitize=$sanitizer"
		continue
	fi
	for name in live simulated; do
		tap_run "$sanitizer: compat_$name builds" \
			"$cc" -std=gnu11 -O1 -g -Wall -Wextra -Werror "${opt[@]}" \
			-I"$top/compat" -o compat_$name \
			"$here/compat_$name.c" "$top/compat/mremap_compat.c" \
			"${check[@]}" -pthread
		tap_run "$sanitizer: compat_$name runs" \
			env CK_TIMEOUT_MULTIPLIER=10 "./compat_$name"
	done
done

tap_end
