#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The built pages of section 2: as clean as the pristine ones, complete, and the
# example of mremap(2) works.

set -euo pipefail
here=$(cd -- "$(dirname -- "$0")" && pwd -P)
# shellcheck source-path=SCRIPTDIR source=../tap.sh
. "$here/../tap.sh"

build=${RELOCATE_BUILD:-build}
work=$(mktemp -d)
trap 'rm -rf -- "$work"' EXIT
mapfile -t pages < <(cd "$build/man" && printf '%s\n' man2/*)

plan $((8 + 6 * ${#pages[@]}))

# Complaints of a checker, without positions, each with its number.
complaints() { # FILE CHECKER...
	cp "$1" "$work/page.2"
	shift
	"$@" "$work/page.2" 2>&1 >/dev/null | sed 's/[^ ]*page\.2[:0-9]*//' | sort | uniq -c || :
}
# shellcheck disable=SC2317 # both are called through compare
lint() { mandoc -T lint "$1" >&2; }
# shellcheck disable=SC2317
rendered() { groff -man -Tutf8 -P-c -ww -z "$1"; }
compare() { # NAME CHECKER COMMAND
	local before after
	if ! command -v "$3" >/dev/null; then
		skip "$1" "no $3"
		return
	fi
	before=$(complaints "$pristine" "$2")
	after=$(complaints "$page" "$2")
	if [[ -z $(comm -13 <(sort <<<"$before") <(sort <<<"$after")) ]]; then
		ok "$1"
	else
		not_ok "$1" "pristine:"$'\n'"$before"$'\n'"patched:"$'\n'"$after"
	fi
}
text_of() { groff -man -Tascii -P-cbou -rHY=0 -rLL=80n "$1" 2>/dev/null || :; }

tap_is "${pages[*]}" "man2/madvise.2 man2/mremap.2 man2/process_madvise.2" 'the pages that the patches change are built'
pristine=$work/pristine.2
for name in "${pages[@]}"; do
	page=$build/man/$name
	git -C "$build/man-tree" show "pristine:man/$name" >"$pristine" 2>/dev/null || :
	tap_run "$name: the pristine page is there" test -s "$pristine"
	compare "$name: mandoc -T lint says no more than for the pristine page" lint mandoc
	compare "$name: groff -man -ww says no more than for the pristine page" rendered groff
	tap_is "$(grep -n '[[:blank:]]$' "$page" || :)" "$(grep -n '[[:blank:]]$' "$pristine" || :)" "$name: no blanks at the end of a line"
	tap_is "$(text_of "$page" | awk 'length > 80')" "$(text_of "$pristine" | awk 'length > 80')" "$name: no line is wider than 80 columns"
	tap_like "$(text_of "$page" | grep -c 'not in a released kernel')" '^[1-9]' "$name: says that a released kernel does not have it"
done

page=$build/man/man2/mremap.2
text=$work/text
text_of "$page" >"$text"
section() { awk -v name="$1" '$0 == name { on = 1; next } /^[A-Z]/ { on = 0 } on' "$text" | tr -s ' \n' ' '; }
tap_like "$(section DESCRIPTION)" ' MREMAP_RELOCATE_ANON .* MREMAP_MUST_RELOCATE_ANON ' \
	'the page renders and mentions both flags'
tap_like "$(section VERSIONS)" 'not in any released' 'VERSIONS says that the flags are not released'
tap_like "$(section ERRORS)" 'EFAULT.*EINVAL.*ENOMEM.*while relocating' 'ERRORS has the new cases'

# The program in EXAMPLES, as a reader of the page would copy it.
awk '/^\.\\" SRC BEGIN \(mremap\.c\)/ { on = 1; next } /^\.\\" SRC END/ { on = 0 } on && !/^\.E[XE]$/' "$page" |
	sed -e 's/^\\&//' -e 's/\\-/-/g' -e "s/\\\\\\[aq\\]/'/g" -e 's/\\\[rs\]/\\/g' >"$work/example.c"
tap_run 'the example compiles without warnings' \
	"${CC:-cc}" -O2 -Wall -Wextra -Werror -o "$work/example" "$work/example.c"
tap_run 'and as an older C standard allows' \
	"${CC:-cc}" -std=gnu99 -Wall -Wextra -pedantic -Werror -o "$work/example99" "$work/example.c"
capture "$work/example"
known=$'before: 2 mappings\nafter:  1 mapping\n'
unknown=$'MREMAP_RELOCATE_ANON is unknown here\nbefore: 2 mappings\nafter:  2 mappings\n'
tap_is "$status" 0 'the example runs'
if [[ $out == "$known" || $out == "$unknown" ]]; then
	ok 'and prints what the page says'
else
	not_ok 'and prints what the page says' "$out"
fi

tap_end
