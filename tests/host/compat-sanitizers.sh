#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# The tests of the library once more, under the sanitizers.

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
# The one list of calls that compat_failures wants wrapped
read -ra calls <<<"$(sed -n 's/^failing_calls = //p' "$top/Makefile.in")"

# The library allocates nothing, and LeakSanitizer would have to make a thread where a
# test lets none be made.
for sanitizer in address,undefined thread; do
	opt=("-fsanitize=$sanitizer" -fno-sanitize-recover=all)
	if ! "$cc" "${opt[@]}" -o works -x c - <<<'int main(void) { return 0; }' \
		2>log || ! ./works 2>>log; then
		skip "$sanitizer" "$cc has no working -fsanitize=$sanitizer"
		continue
	fi
	for name in compat_live compat_simulated compat_methods compat_failures compat_children compat_coalesce maps_parse; do
		# fork() waits for ThreadSanitizer's locks, which a stopped thread has.
		[[ $sanitizer$name != threadcompat_children ]] || continue
		wrap=()
		[[ $name != compat_failures ]] || wrap=("${calls[@]/#/-Wl,--wrap=}")
		tap_run "$sanitizer: $name builds" \
			"$cc" -std=c11 -O1 -g -Wall -Wextra -Werror "${opt[@]}" \
			-I"$top/compat" -o "$name" "$here/$name.c" \
			"$top"/compat/*.c "${wrap[@]}" "${check[@]}" -pthread
		tap_run "$sanitizer: $name runs" \
			env ASAN_OPTIONS=detect_leaks=0 "./$name"
	done
done

tap_end
