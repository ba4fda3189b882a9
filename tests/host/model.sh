#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# tests/model: the model is right in all its configurations, and spin finds every mutant
# by the assertion that it violates.
set -euo pipefail
top=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.." && pwd -P)
# shellcheck source=tests/tap.sh
. "$top/tests/tap.sh"
run=$top/tests/model/run

for tool in spin gcc; do
	command -v "$tool" >/dev/null && continue
	skip 'the model' "no $tool"
	tap_end
done

found=''
while read -r name wanted; do
	capture "$run" "$name"
	# shellcheck disable=SC2154 # capture sets them
	if [[ $status == 0 && $out == "$wanted: "* ]]; then
		ok "$name: ${out%$'\n'}"
		[[ $wanted != right ]] || found+="| $name | $(sed -E 's/^right: ([0-9]+) .*/\1/; :a; s/([0-9])([0-9]{3})(,|$)/\1,\2\3/; ta' <<<"$out") |"$'\n'
	else
		not_ok "$name: $wanted" "$out$err"
	fi
done < <("$run" --list)

mutants=$(sed -n 's/^#define \([A-Z_]*\)[[:blank:]]*[1-9][0-9]*[[:blank:]].*/\1/p' "$top/tests/model/relocate.pml" | sort)
tap_is "$("$run" --list | sed -n 's/^\([A-Z_]*\)[: ].*/\1/p' | sort -u)" "$mutants" 'cases.list has all mutants, relocate.pml those of cases.list'
tap_is "$(grep -oE '\| [a-z-]+ \| [0-9,]+ \|' "$top/tests/model/README.md" | sort)" \
	"$(printf %s "$found" | sort)" 'README.md has the states of each case'
tap_end
