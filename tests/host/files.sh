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

for f in README.md CONTRIBUTING.md CHANGELOG.md COPYING kernel/README.md kernel/COPYING \
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
