#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# What the repository's files must be like.
set -euo pipefail
top=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.." && pwd -P)
# shellcheck source=tests/tap.sh
. "$top/tests/tap.sh"
cd "$top"
export GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=safe.directory GIT_CONFIG_VALUE_0='*'

if git rev-parse -q --is-inside-work-tree >/dev/null 2>&1; then
	mapfile -t files < <(git ls-files -co --exclude-standard | while read -r f; do [[ ! -f $f ]] || echo "$f"; done)
else
	mapfile -t files < <(find . -path ./build -prune -o -type f -print | sed 's,^\./,,')
fi
mapfile -t scripts < <(for f in "${files[@]}"; do
	case $f in configure) continue ;; esac
	head -n 1 "$f" | grep -qaE '^#!.*(/sh|bash)|^# shellcheck shell=' && echo "$f"
done)

for f in "${scripts[@]}"; do
	tap_run "shellcheck $f" shellcheck -x "$f"
done

for f in README.md CONTRIBUTING.md CHANGELOG.md SECURITY.md COPYING kernel/README.md kernel/COPYING \
	glibc-patches/README.md glibc-patches/COPYING compat/README.md compat/COPYING \
	man/README.md man/COPYING tests/README.md bench/README.md; do
	tap_true "there is $f" test -s "$f"
done

lines=$(wc -l <README.md)
tap_true "README.md is under 150 lines ($lines)" test "$lines" -lt 150
tap_is "$(head -n 24 README.md | grep -c '^ *\./quickstart \(demo\|check\)')" 2 'the two commands are on its first screen'

# Which mirror to use is the machine's business.  The pattern is split so that
# this file does not match.
hosts='(deb|ftp|security|snapshot|archive)[.a-z]*\.debian\.''org|pypi\.''org|npmjs\.''org|proxy\.golang\.''org|crates\.''io'
tap_is "$(grep -lIE "$hosts" -- "${files[@]}" || true)" '' 'no file names a package registry'

# Every relative link of the documentation leads somewhere
broken=
for f in "${files[@]}"; do
	[[ $f == *.md ]] || continue
	while read -r link; do
		[[ $link == *://* || $link == '#'* || -e $(dirname "$f")/${link%%#*} ]] || broken+=" $f:$link"
	done < <(grep -oE '\]\([^)]+\)' "$f" | sed 's/^](//; s/)$//')
done
tap_is "$broken" '' 'links between the documents lead somewhere'

# Every limit of a test is one of tests/limits.sh.  How many seconds a watch, a run of
# the fuzzer or a sleep that outlives the test lasts is none; nor is what timeout(1) leaves
# what it ends.
limit_literals() { # FILE...
	awk '
	FNR == 1 { loop = 0 }
	/tcase_set_timeout *\(|alarm\([0-9]|CK_[A-Z_]*TIMEOUT[A-Z_]*|TIMEOUTFACTOR=[0-9]/ ||
	/--timeout[ =]+[1-9]/ || /run-tests.* -[tw] *[0-9]/ || /RELOCATE_LIMIT[:=-]+[1-9]/ ||
	/(^|[^-a-z_.])timeout( -[ks] [0-9A-Z]+| --[a-z-]+)* [0-9]/ ||
	/SECONDS[")}]* *(<|-l[te]) *[0-9]|between "\$SECONDS/ {
		print FILENAME ":" FNR ": " $0
		next
	}
	# Loops that give up after so many short sleeps
	/for \(.*<=? *[0-9]+;|for .* in \{[0-9]+\.\.[0-9]+\}/ { loop = FNR; last = FNR + (/(\{|do)$/ ? 5 : 1) }
	loop && FNR <= last && /sleep[ (]/ { print FILENAME ":" loop ": sleeps in a loop"; loop = 0 }
	/^[}\t]*(done|})/ { loop = 0 }' "$@"
}
mapfile -t limited < <(printf '%s\n' "${files[@]}" |
	grep -E '^(tests|demo|bench|\.ci)/|^(quickstart|Makefile\.in)$' |
	grep -vE '^tests/(limits?\.(sh|h)|host/files\.sh|vm/guest-init)$|\.(md|patch)$')
tap_is "$(limit_literals "${limited[@]}")" '' 'every limit of a test is one of tests/limits.sh'
found=0
while IFS= read -r line; do
	[[ $(limit_literals <(printf '%b\n' "$line")) ]] || diag "not seen: $line"
	[[ ! $(limit_literals <(printf '%b\n' "$line")) ]] || found=$((found + 1))
done <<'LINES'
\ttcase_set_timeout(tc, 5);
\talarm(60);
 --env CK_TIMEOUT_MULTIPLIER=4  --  x
CK_DEFAULT_TIMEOUT=9 x
run-kernel --timeout 600 -- x
run-tests -j 2 -t 1800 x
x=${RELOCATE_LIMIT:-600}
timeout 20 x
capture timeout -k 5 -s KILL 600 x
((SECONDS < 15))
test "$SECONDS" -lt 10
tap_true x between "$SECONDS" 3 25
for ((i = 0; i < 100; i++)); do\n\tx\n\tsleep 0.1\ndone
for _ in {1..100}; do\n\tsleep 0.1\ndone
\tfor (int i = 0; i < 1000; i++)\n\t\tusleep(5000);
LINES
tap_is "$found" 15 'and one that is not is found'

# Files that make finds by pattern must be what it takes them for
odd=
for f in tests/host/*.sh quickstart autogen.sh configure .ci/run scripts/fetch-source scripts/patch-tree \
	scripts/build-kernel scripts/build-glibc tests/run-all tests/run-tests tests/vm/run-kernel; do
	[[ -x $f ]] || odd+=" $f"
done
tap_is "$odd" '' 'scripts can be executed'
odd=
while read -r name _; do
	[[ -f tests/guest/$name.c || $name == *[-_]* ]] || odd+=" $name"
done < <(grep -v '^#' tests/guest.list | grep . | sed 's/^long://')
for f in tests/guest/*.c; do
	grep -q -- "tests/guest/$(basename "$f" .c)\b" tests/guest.list || odd+=" $f"
done
tap_is "$odd" '' 'every guest test is in tests/guest.list'
tap_end
