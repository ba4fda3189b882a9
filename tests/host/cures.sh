#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# The cures without code of relocate-anon(7): a program with blocks that grow, with
# each of them, has as many mappings as the table in the page says.
set -euo pipefail
top=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.." && pwd -P)
# shellcheck source=tests/tap.sh
. "$top/tests/tap.sh"
tmp=$(mktemp -d)
trap 'rm -rf -- "$tmp"' EXIT
cd "$tmp"
unset GLIBC_TUNABLES LD_PRELOAD "${!MREMAP_COMPAT_@}"

cat >grow.c <<'END'
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BLOCKS 1000

int main(void)
{
	static char *blocks[BLOCKS];
	int lines = 0, c;
	FILE *maps;

	for (size_t size = 140000; size <= 300000; size += 40000) {
		for (int i = 0; i < BLOCKS; i++) {
			blocks[i] = realloc(blocks[i], size);
			if (!blocks[i])
				return 1;
			memset(blocks[i], i, size);
		}
	}
	maps = fopen("/proc/self/maps", "r");
	if (!maps)
		return 1;
	while ((c = getc(maps)) != EOF)
		lines += c == '\n';
	return printf("%d\n", lines) < 0;
}
END
tap_run 'a program with blocks that grow builds' "${CC:-gcc}" -O1 -Wall -Werror -o grow grow.c
if ! getconf GNU_LIBC_VERSION >/dev/null 2>&1; then
	skip 'cures' 'not glibc'
	tap_end
fi

# page NAME: the figure of a row
page() { sed -n "s/^${1//./\\.}\\( ([0-9.]*)\\)\\?	\\([0-9]*\\)$/\\2/p" "$top/man/relocate-anon.7"; }
tap_like "$(page nothing)" '^[0-9]+$' 'the page has a figure without a cure'
declare -A seen
# cure NAME ENVIRONMENT...: as many mappings as the page says, or near that: another
# release of an allocator has other pools.
cure() {
	local name=$1 said
	shift
	said=$(page "$name")
	capture env "$@" ./grow
	seen[$name]=${out%$'\n'}
	diag "$name: ${seen[$name]} mappings, ${said:-none} in the page"
	tap_true "$name: as many mappings as the page says, by a factor of 2" \
		test "$status" -eq 0 -a "$((seen[$name] * 2))" -ge "${said:-0}" -a "${seen[$name]}" -le "$((${said:-0} * 2))"
}
cure nothing A=
cure mmap_max=0 GLIBC_TUNABLES=glibc.malloc.mmap_max=0
cure mmap_threshold=33554432 GLIBC_TUNABLES=glibc.malloc.mmap_threshold=33554432
for library in libjemalloc.so.2 libmimalloc.so.2; do
	# Otherwise the loader goes on without it.
	if [[ $(LD_PRELOAD=$library ./grow 2>&1 >/dev/null) ]]; then
		skip "$library: as many mappings as the page says, by a factor of 2" "no $library"
	else
		cure "$library" "LD_PRELOAD=$library"
	fi
done
for name in "${!seen[@]}"; do
	[[ $name == nothing ]] || tap_true "$name is a cure" test "$((seen[$name] * 10))" -lt "${seen[nothing]}"
done
tap_is "$(sed -n '/^lb rb$/,/^\.TE$/s/	[0-9]*$//p' "$top/man/relocate-anon.7" | sed 's/ (.*//' | sort)" \
	"$(printf '%s\n' nothing mmap_max=0 mmap_threshold=33554432 libjemalloc.so.2 libmimalloc.so.2 | sort)" \
	'the page has these and no others'
tap_end
