#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Our own manual pages: clean, as complete as the header and the tools' help,
# and the example of mremap_compat(3) works.

set -euo pipefail
top=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.." && pwd -P)
# shellcheck source=tests/tap.sh
. "$top/tests/tap.sh"

build=$(realpath -m -- "${RELOCATE_BUILD:-build}")
cc=${CC:-gcc}
cxx=${CXX:-g++}
header=$top/compat/mremap_compat.h
work=$(mktemp -d)
trap 'rm -rf -- "$work"' EXIT
cd "$work"
unset MREMAP_COMPAT_METHODS

# As they are installed: what .so names counts from the top of such a tree.
pages=() aliases=()
for file in "$top"/man/*.[1-9]; do
	section=man${file##*.}
	mkdir -p "$section"
	cp "$file" "$section/"
	if [[ $(head -c 3 "$file") == .so ]]; then
		aliases+=("$section/${file##*/}")
	else
		pages+=("$section/${file##*/}")
	fi
done

# text PAGE: what a terminal shows, with no word divided
text() { groff -man -t -Tascii -P-cbou -rHY=0 "$1"; }
section() { # PAGE NAME
	text "$1" | awk -v name="$2" '$0 == name { on = 1; next } /^[A-Z]/ { on = 0 } on'
}
flat() { tr -s ' \n' ' ' | sed 's/^ //; s/ $//'; }

# ---- the pages -------------------------------------------------------------------

if ! command -v groff >/dev/null; then
	tap_skip_all 'no groff'
fi

tap_is "$(printf '%s\n' "${pages[@]}" | sort)" 'man1/relocate-doctor.1
man1/vmafrag.1
man3/mremap_compat.3
man7/relocate-anon.7' 'our pages'

for page in "${pages[@]}"; do
	name=${page##*/}
	if command -v mandoc >/dev/null; then
		tap_run "$name: mandoc -T lint has nothing to say" mandoc -T lint -W warning "$page"
	else
		skip "$name: mandoc -T lint has nothing to say" 'no mandoc'
	fi
	tap_is "$(groff -man -t -Tutf8 -ww -z "$page" 2>&1)" '' "$name: groff -ww has nothing to say"
	tap_is "$(grep -n '[[:blank:]]$' "$page" || :)" '' "$name: no blanks at the end of a line"
	tap_is "$(text "$page" | awk 'length > 80')" '' "$name: no line is wider than 80 columns"
	tap_like "$(grep '^\.TH' "$page")" "^\.TH ${name%.*} ${name##*.} [0-9-]{10} \"relocate-anon\"$" \
		"$name: name, section and project, without a version"
	tap_is "$(grep -c '^\.\\" SPDX-License-Identifier: GPL-2.0-or-later$' "$page")" 1 "$name: licence"

	# References to our own pages lead somewhere
	broken=
	while read -r other number; do
		case $other in
		mremap_compat* | relocate* | vmafrag)
			[[ -e man$number/$other.$number ]] || broken+=" $other($number)" ;;
		esac
	done < <(text "$page" | grep -oE '[a-z_-]+\([1-9]\)' | tr '()' '  ')
	tap_is "$broken" '' "$name: there are the pages of ours that it refers to"
done

# ---- mremap_compat(3) and the header ---------------------------------------------

page=man3/mremap_compat.3
mapfile -t functions < <(sed -n '/global:/,/local:/s/^[	 ]*\([a-z_]*\);.*/\1/p' \
	"$top/compat/libmremap_compat.map")
tap_is "$(section "$page" NAME | flat | sed 's/ - .*//' | tr -d ',' | tr ' ' '\n' | sort)" \
	"$(printf '%s\n' "${functions[@]}" | sort)" 'NAME names the functions of the library'
tap_is "$(printf '%s\n' "${aliases[@]}" "$page" | sort)" \
	"$(printf 'man3/%s.3\n' "${functions[@]}" | sort)" 'each has a page'
tap_is "$(cat -- "${aliases[@]}" </dev/null | sort -u)" ".so $page" 'which is that of all'
if command -v man >/dev/null; then
	got=
	for function in "${functions[@]}"; do
		got+=" $(MANWIDTH=80 man -M "$work" 3 "$function" 2>&1 | cksum | tr ' ' :)"
	done
	tap_is "$(tr ' ' '\n' <<<"$got" | grep . | sort -u)" \
		"$(MANWIDTH=80 man -M "$work" 3 mremap_compat 2>&1 | cksum | tr ' ' :)" 'as man finds it'
	tap_like "$(MANWIDTH=80 man -M "$work" 3 mremap_compat 2>/dev/null | head -n 3)" '^mremap_compat\(3\)' 'and shows it'
else
	skip 'as man finds it' 'no man'
	skip 'and shows it' 'no man'
fi

# Comments and directives go, each declaration of a function is a line.
prototypes() {
	sed -e 's,/\*.*\*/,,' -e '/\/\*/,/\*\//d' -e '/^ *#.*\\$/,/[^\\]$/d' -e '/^ *#/d' -e 's/extern "C" {//' |
		tr '\n\t' '  ' | sed -e 's/{[^}]*}//g' | tr ';' '\n' | tr -s ' ' |
		sed -e 's/^ //' -e 's/\* \([a-z]\)/*\1/g' -e 's/ \([,)]\)/\1/g' | grep '(' | sort
}
tap_is "$(section "$page" SYNOPSIS | prototypes)" "$(prototypes <"$header")" \
	"SYNOPSIS declares what the header does"

shown=$(text "$page" | flat)
absent=
while read -r constant; do
	grep -qw -- "$constant" <<<"$shown" || absent+=" $constant"
done < <(grep -oE '\bMREMAP_[A-Z_]*[A-Z]\b' "$header" | grep -vE '_COMPAT(_H)?$' | sort -u)
tap_is "$absent" '' 'all constants of the header are there'
values=$(sed -nE -e 's/^	(MREMAP_[A-Z_]+) = ([0-9]+).*/\1 (\2/p' \
	-e 's/^# ?define (MREMAP_[A-Z_]+(ANON|METHODS|PAGES)) ([0-9]+).*/\1 (\3/p' "$header")
absent=
while read -r value; do
	grep -qF -- "$value" <<<"$shown" || absent+=" $value)"
done <<<"$values"
tap_is "$(wc -l <<<"$values") $absent" '22 ' 'and their values'

errors=$(grep -oE '\bE[A-Z]{3,}\b' "$header" | sort -u)
tap_is "$(section "$page" ERRORS | grep -oE '\bE[A-Z]{3,}\b' | sort -u)" "$errors" \
	'ERRORS has the errors of the header and no others'

cat >names.c <<'PROG'
#include <mremap_compat.h>
#include <stdio.h>

/* The names of all methods; then the first that works. */
int main(void)
{
	const char *first = NULL;

	for (int bit = 1; bit < MREMAP_COMPAT_ALL_METHODS; bit *= 2) {
		const enum mremap_compat_method method = bit;

		puts(mremap_compat_method_name(method));
		if (!first && mremap_compat_probe(method) == MREMAP_COMPAT_SUPPORTED)
			first = mremap_compat_method_name(method);
	}
	return !first || puts(first) < 0;
}
PROG
tap_run 'a program that prints the names of the methods' \
	"$cc" -Wall -Wextra -Werror -I"$top/compat" -o names names.c "$top"/compat/*.c
names=$(./names)
absent=
for name in $(head -n 4 <<<"$names"); do
	grep -qF -- "\"$name\")" <<<"$shown" || absent+=" $name"
done
tap_is "$(wc -l <<<"$names")$absent" 5 'which the page has'

# ---- facts -----------------------------------------------------------------------

# What a sentence is about: system calls and functions, versions of Linux, sizes, names of
# flags, signals and errors, files and sysctls, and some words.  One a line.
facts() {
	tr -s ' \n\t' ' ' | grep -oE '\b[a-z_]+\([23]\)|Linux [0-9]+\.[0-9]+|\b[0-9][0-9,.]* ?(KiB|MiB|GiB|ms|bytes)\b|\b([A-Z]+_[A-Z_0-9]+|SIG[A-Z]+|E[A-Z]{3,})\b|(/proc|/dev|vm\.|pids\.)[a-z_/.-]*[a-z]|guard pages|io_uring|RDMA|memory tags|tag bits|dumpable|sealed|cancellation point' | sort -u
}
comments() { sed -n '/\/\*/,/\*\//p' "$header" | sed 's,^[ 	]*/\?\*\+/\?,,; s,\*/.*,,'; }
# Names that the header has without their prefix
short='MREMAP_COMPAT_H|UFFD_MOVE|NOT_PERMITTED|NO_RESOURCES'
comments | facts | grep -vxE "$short" >header.facts
text "$page" | facts >page.facts
# What the page has in addition: its own name, the program in it, names that the header
# has as code.
{
	cat header.facts
	grep -oE '\b(MREMAP|MAP)_[A-Z_0-9]+\b' "$header"
	section "$page" EXAMPLES | facts
	printf '%s\n' ENVIRONMENT ERRORS EXAMPLES MREMAP_COMPAT_0 'mremap_compat(3)' 'seccomp(2)'
} | sort -u >allowed.facts
tap_true "the header is about $(wc -l <header.facts) facts" test "$(wc -l <header.facts)" -gt 80
tap_is "$(comm -23 header.facts page.facts)" '' 'all of them are in the page'
tap_is "$(comm -13 allowed.facts page.facts)" '' 'which is about no others'

# since NAME: for UFFDIO_MOVE and copy, the first version of Linux behind it.
since() { flat | grep -oE "$1[^.]{0,90}Linux [0-9]+\.[0-9]+" | grep -oE '[0-9]+\.[0-9]+$' | head -n 1; }
move=$(comments | sed -n '/ioctl(UFFDIO_MOVE)/,$p' | since UFFDIO_MOVE)
copy=$(comments | sed -n '/New pages with the same contents/,/Not atomic/p' | grep -oE '[0-9]+\.[0-9]+' | head -n 1)
tap_like "$move $copy" '^[0-9]+\.[0-9]+ [0-9]+\.[0-9]+$' 'the header says since when there are methods'
for place in man3/mremap_compat.3 man1/relocate-doctor.1; do
	tap_is "$(text $place | since UFFDIO_MOVE) $(text $place | tr -s ' ' | grep -A 4 'New pages with' | grep -oE '[0-9]+\.[0-9]+' | head -n 1)" \
		"$move $copy" "${place#*/} has the same"
done
tap_is "$(awk -F '\t' '/^(uffd\\-move|copy)\t/ { sub("Linux ", "", $3); print $3 }' man7/relocate-anon.7 | paste -sd ' ')" \
	"$move $copy" 'relocate-anon(7) as well'
tap_is "$(grep -oE 'UFFDIO_MOVE \(Linux [0-9.]+|not on this kernel \(Linux [0-9.]+' "$top/compat/tools/relocate-doctor.c" |
	grep -oE '[0-9.]+$' | paste -sd ' ')" "$move $copy" 'and what relocate-doctor prints'

# What does not matter, what is lost also if a call fails, what is left behind
says() { # PLACE FACT
	local said
	said=$(if [[ $1 == "$header" ]]; then comments; else text "$1"; fi | flat)
	tap_true "${1##*/}: $2" grep -qE -- "$2" <<<"$said"
}
for place in "$header" man3/mremap_compat.3 man1/relocate-doctor.1; do
	says "$place" 'sysctl vm\.unprivileged_userfaultfd does not'
done
for fact in 'loses the registration, also if the call fails' 'do not grow any more' \
	'does not keep memory tags \(PROT_MTE\)' 'the caller loses the result' \
	'up to three times the size as additional address space' \
	'free addresses, or a range of a single private anonymous mapping' \
	'becomes private, anonymous and writable' \
	'there may be no more mappings: then it has not been freed'; do
	says "$header" "$fact"
	says man3/mremap_compat.3 "$fact"
done

# ---- the example ------------------------------------------------------------------

# As a reader of the page would copy it
text "$page" | awk '/^ *#define _GNU_SOURCE/ { on = 1 } /^[A-Z]/ { on = 0 } on' |
	sed 's/^       //' >example.c
cp example.c example.cc
strict=(-O2 -Wall -Wextra -Werror "-I$top/compat")
for file in "$top"/compat/*.c; do
	"$cc" -std=c11 -O2 -c -o "$(basename "$file" .c).part.o" "$file"
done
tap_run 'the example compiles without warnings' "$cc" "${strict[@]}" -o example example.c ./*.part.o
tap_run 'without extensions of the compiler' "$cc" -std=c11 -pedantic "${strict[@]}" -o example11 example.c ./*.part.o
tap_run 'as an older C standard allows' "$cc" -std=gnu99 -pedantic "${strict[@]}" -o example99 example.c ./*.part.o
if command -v "$cxx" >/dev/null; then
	tap_run 'and as C++' "$cxx" "${strict[@]}" -o examplexx example.cc ./*.part.o
else
	skip 'and as C++' "no $cxx"
fi

# after COMMAND: the lines that the page shows below a command
after() {
	section "$page" EXAMPLES | sed 's/^ *//' | awk -v command="\$ $1" \
		'$0 == command { on = 1; next } /^\$/ || !NF { on = 0 } on'
}
relocated=$(after ./a.out)
plain=$(after 'MREMAP_COMPAT_METHODS=plain ./a.out')
works=$(tail -n 1 <<<"$names")
wanted=${relocated/method: uffd-move/method: $works}
[[ $works != plain ]] || wanted=$plain
tap_like "$relocated / $plain" $'^before: .*method: uffd-move / before: .*method: plain$' 'the page shows what it prints'
tap_is "$(./example 2>&1)" "$wanted" "which it does, here by $works"
tap_is "$(MREMAP_COMPAT_METHODS=plain ./example 2>&1)" "$plain" 'and with MREMAP_COMPAT_METHODS=plain'
if [[ $(MREMAP_COMPAT_METHODS=copy ./names | tail -n 1) == copy ]]; then
	tap_is "$(MREMAP_COMPAT_METHODS=copy ./example 2>&1)" "${relocated/uffd-move/copy}" 'and by copy'
else
	skip 'and by copy' 'it does not work here'
fi

# ---- relocate-anon(7) and the tools ------------------------------------------------

shown=$(text man7/relocate-anon.7 | flat)
absent=
for word in MREMAP_RELOCATE_ANON MREMAP_MUST_RELOCATE_ANON vm.max_map_count \
	glibc.malloc.mremap_relocate_min_mmaps relocate-run relocate-cc \
	libmremap_compat_preload.so MREMAP_COMPAT_PRELOAD=relocate MREMAP_COMPAT_METHODS \
	mremap_relocate mremap_relocate_fallback mremap_relocate_folio \
	$(head -n 4 <<<"$names"); do
	grep -qwF -- "$word" <<<"$shown" || absent+=" $word"
done
tap_is "$absent" '' 'relocate-anon(7) names the parts'
counters=$(grep -hoE '"mremap_relocate[a-z_]*"' "$top"/kernel/7.3/patches/*.patch | tr -d '"' | sort -u)
tap_is "$(section man7/relocate-anon.7 DESCRIPTION | sed -n 's/^ \{7\}\(mremap_relocate[a-z_]*\)$/\1/p' | sort)" \
	"$counters" "and the kernel's counters"
# shellcheck disable=SC2016 # in backquotes
tunables=$(sed -n 's/^- `\(glibc\.malloc\.[a-z_]*\)`.*/\1/p' "$top/glibc-patches/README.md" | sort)
tap_is "$(section man7/relocate-anon.7 DESCRIPTION | sed -n 's/^ \{7\}\(glibc\.malloc\.[a-z_]*\)$/\1/p' | sort)" \
	"$tunables" "and glibc's tunables"

for tool in vmafrag relocate-doctor; do
	title="$tool(1) has the options that --help has"
	if [[ ! -x $build/compat/$tool ]]; then
		skip "$title" "no $build/compat/$tool"
	elif [[ ! -e man1/$tool.1 ]]; then
		not_ok "$title" 'no such page'
	else
		options() { grep -oE -- '(^|[^a-z-])--?[a-z][a-z-]*' | grep -oE -- '--?[a-z][a-z-]*' | sort -u; }
		tap_is "$(text "man1/$tool.1" | options | comm -13 - <("$build/compat/$tool" --help | options))" \
			'' "$title"
	fi
done
tap_end
