#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# ./quickstart try, with few blocks on the kernel that runs; and the verdict of demo/try, with
# made-up results in place of the programs.

set -euo pipefail
top=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.." && pwd -P)
# shellcheck source=tests/tap.sh
. "$top/tests/tap.sh"
work=$(mktemp -d)
trap 'rm -rf -- "$work"' EXIT
unset MAKEFLAGS MFLAGS MAKELEVEL LD_PRELOAD GLIBC_TUNABLES
unset "${!RELOCATE_@}" "${!MREMAP_COMPAT_@}"
export XDG_CACHE_HOME=$work/cache
plan 25

# ---- from a clone to the result ------------------------------------------------------

# The library needs no path without blanks.
mkdir "$work/a folder"
cd "$work/a folder"
: >"$work/mark"
TRY_OPTIONS='-n 10000' capture "$top/quickstart" try
# shellcheck disable=SC2154 # capture sets them
{
	tap_is "$status" 0 'quickstart try succeeds'
	((status == 0)) || diag "$out$err"
	tap_like "$out" $'\nDone: [0-9]+ mappings before, [0-9]+ after; every byte was right' 'and says so'
	column() { sed -n "s/^$1  *\([0-9]\{1,\}\) *\([^ ]*\) *\([^ ]*\) *\([0-9]*\) .*/\\$2/p" <<<"$out"; }
	if grep -q '^This kernel knows' <<<"$out"; then
		skip 'the problem is shown' 'this kernel relocates'
		skip 'what the patched pair does better' 'this kernel relocates'
	else
		tap_true 'the problem is shown' [ "$(column before 1)" -gt 5000 ]
		tap_like "$out" 'With the patched kernel and the patched glibc.*MADV_COALESCE' \
			'what the patched pair does better'
	fi
	tap_true 'the library cures it' [ "$(column after 1)" -lt 500 ]
	tap_is "$(column after 2) $(column after 3)" '64/64 works' 'threads and mprotect work'
	tap_true 'vmafrag sees the difference' [ "$(column after 4)" -lt "$(column before 4)" ]
}
for name in before after; do
	file=build/try-$name.svg
	tap_like "$(head -c 100 "$file") $(tail -n 1 "$file")" '<svg.*</svg>$' "the picture $name"
	tap_like "$(grep -m 1 '<desc>' "$file")" " $(column "$name" 4) separate neighbours" 'is of that process'
done
tap_is "$(ls -A; ls -A -I log build)" 'build
try
try-after.svg
try-before.svg' 'only the build folder is written to'
tap_is "$(find "$XDG_CACHE_HOME" 2>/dev/null || :)" '' 'nothing is fetched'
tap_is "$(find "$top" -path "$top/.git" -prune -o -path "$top/build" -prune -o -newer "$work/mark" -type f -print)" '' \
	'and nothing beside the sources'

# ---- the verdict ---------------------------------------------------------------------

cd "$work"
fake=$work/fake
mkdir -p "$fake/demo" "$fake/compat/examples"
touch "$fake/compat/libmremap_compat_preload.so"
printf '#!/bin/sh\necho "a:  100 mappings"\n' >"$fake/compat/examples/vector"
printf '#!/bin/sh\necho "separate neighbours  7 in 1 run"\n' >"$fake/compat/vmafrag"
# shellcheck disable=SC2016 # for the programs
printf '#!/bin/sh\nprintf "  mremap_compat()   plain\\n"; exit ${DOCTOR:-1}\n' >"$fake/compat/relocate-doctor"
cat >"$fake/demo/chunks" <<'FAKE'
#!/bin/bash
m=65530 t=0/64 p=fails e=$CHANGE
[[ ! ${LD_PRELOAD-} ]] || { m=32 t=64/64 p=works; e=$CHANGE_AFTER; }
echo "chunks: kernel=7 glibc=2 count=9 size=6000 grown=22000 verified=yes mappings_before=20 mappings=$m max_map_count=65530 threads=$t threads_errno=x mprotect=$p mprotect_errno=x metadata_before=1 metadata=1 fill_ms=10 grow_ms=2340" | sed "$e"
[[ ${STATUS:-0} == 2 ]] || cat >/dev/null
exit "${STATUS:-0}"
FAKE
chmod -R +x "$fake"

# verdict NAME STATUS PATTERN [CHANGE [CHANGE_AFTER [DOCTOR [STATUS]]]]
verdict() {
	CHANGE=${4:-} CHANGE_AFTER=${5:-} DOCTOR=${6:-1} STATUS=${7:-0} RELOCATE_BUILD=$fake \
		capture "$top/demo/try" -n 9 "$work/pictures"
	# What stands in for the library is none.
	err=$(grep -v 'cannot be preloaded' <<<"$err" || :)
	if [[ $status == "$2" && $out$err =~ $3 ]]; then ok "$1"; else not_ok "$1" "$status $out$err"; fi
}
verdict 'good results' 0 'Done: 65530 mappings before, 32 after'
verdict 'below the limit' 0 'stayed below the limit' 's/mappings=65530/mappings=9000/'
verdict 'the library does not help' 1 'FAILED: the library leaves 9000 mappings of 65530' '' 's/mappings=32/mappings=9000/'
verdict 'mappings cannot be counted' 1 'FAILED: the library leaves -1 mappings' '' 's/mappings=32/mappings=-1/'
verdict 'threads fail' 1 'FAILED: threads or mprotect' '' 's,64/64,63/64,'
verdict 'mprotect fails' 1 'FAILED: threads or mprotect' '' 's/mprotect=works/mprotect=fails/'
verdict 'wrong content' 1 'FAILED: the content was wrong after' '' 's/verified=yes/verified=no/' 1 1
verdict 'a kernel that relocates' 0 'This kernel knows.*Done: 30 mappings before' 's/mappings=65530/mappings=30/' '' 0
verdict 'a program that fails' 2 'before: the program ended with status 2' '/^chunks/d' '' 1 2
verdict 'a doctor that fails' 2 'relocate-doctor ended with status 64' '' '' 64
capture "$top/demo/try" --frob
tap_like "$status $err" '^2 .*unknown option' 'an unknown option'
tap_end
