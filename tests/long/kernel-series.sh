#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# The kernel series as a series: after each patch the files that it touches in
# mm/ compile with W=1 in several configurations, and sparse is content with the
# last state.  What counts is a message that the pristine source does not give.
# With arguments only the configurations named (base, i386, ..., plain, sparse).
# What moves memory without the flags has the object code that it has with the fixes alone;
# with the patches that coalesce, but for the offsets of members, as struct mm_struct grows.
# The series is $RELOCATE_KERNEL_PATCHES (default: kernel/7.3/patches).  Works in a
# clone of its own; build/kernel-tree stays as it is.
set -euo pipefail
exec </dev/null
# shellcheck source=scripts/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../../scripts/lib.sh"
# shellcheck source=tests/tap.sh
. "$top/tests/tap.sh"

# The first two patches are fixes. How many lines may the others add to mm/ and
# include/linux; and how many to mm/ those that coalesce, from the one on that adds
# mm/coalesce.c?
fixes=2 max_lines=1045 max_coalesce=220
only=" $* "
wanted() { [[ -z ${only// /} || $only == *" $1 "* ]]; }

if [[ ! -e $build/kernel-tree/.git ]]; then
	skip 'the series, patch by patch' "no $build/kernel-tree (make kernel-tree)"
	tap_end
fi
tree=$(mktemp -d "$build/kernel-series.XXXXXX")
trap 'rm -rf -- "$tree"' EXIT
setup_ccache
export KBUILD_BUILD_TIMESTAMP='Thu Jan  1 00:00:00 UTC 2026'
unset MAKEFLAGS MFLAGS MAKELEVEL ARCH CROSS_COMPILE KCFLAGS

# ---- the series ----------------------------------------------------------------

# Only what mm/ needs, and every Kconfig.
git clone -q --shared --no-checkout "$build/kernel-tree" "$tree"
cd "$tree"
git sparse-checkout set --no-cone '/*' '!/Documentation/' '!/drivers/**/*.[ch]' '!/fs/**/*.[ch]' \
	'!/net/**/*.[ch]' '!/sound/' '!/samples/' '!/rust/' '!/tools/perf/' '!/tools/testing/' \
	'!/arch/*/' '/arch/x86/' '!/arch/x86/kvm/' 'Kconfig*'
git config user.name $project_name
git config user.email $project_mail
printf '/obj-*\n/*.config\n' >>.git/info/exclude
git checkout -q --detach pristine
shopt -s nullglob
patches=("${RELOCATE_KERNEL_PATCHES:-$top/kernel/7.3/patches}"/*.patch)
if ((${#patches[@]} == 0)); then
	skip 'the series, patch by patch' 'no patches'
	tap_end
fi
tap_run "${#patches[@]} patches apply" git am -q --no-gpg-sign --no-3way --empty=drop "${patches[@]}"
((tap_failed == 0)) || tap_end
# Those that change what is compiled here
mapfile -t commits < <(git rev-list --reverse pristine..HEAD -- mm include arch '*Kconfig*')
last=${commits[-1]}
mapfile -t touched < <(git diff --name-only --diff-filter=d pristine HEAD -- 'mm/*.c')
fixed=$(git rev-list --reverse pristine..HEAD -- mm | sed -n "${fixes}p")
git diff --stat=72 pristine HEAD | sed 's/^/# /'
coalesce=$(git log --format=%H --diff-filter=A -- mm/coalesce.c)
coalesce=${coalesce:-HEAD^0}
# added FROM TO PATH...
added() { git diff --numstat "$1" "$2" -- "${@:3}" | awk '{ n += $1 } END { print n + 0 }'; }
lines=$(added "$fixed" "$coalesce^" mm include/linux)
tap_true "$lines lines added to mm/ and include/linux, at most $max_lines" test "$lines" -le "$max_lines"
lines=$(added "$coalesce^" HEAD mm)
tap_true "$lines lines more in mm/ to coalesce, at most $max_coalesce" test "$lines" -le "$max_coalesce"

# ---- configurations ----------------------------------------------------------------

base=$top/kernel/config/base.config
# without NAME SYMBOL...: a fragment that takes something away
without() {
	printf '%s\n' "${@:2}" | sed 's/.*/# CONFIG_& is not set/' >"no-$1.config"
}
without thp TRANSPARENT_HUGEPAGE
without swap SWAP
without ksm KSM
without userfaultfd USERFAULTFD
without migration MIGRATION COMPACTION TRANSPARENT_HUGEPAGE NUMA_MIGRATION NUMA_BALANCING \
	MEMORY_HOTREMOVE MEMORY_FAILURE CMA
cat no-*.config | sort -u >without-all.config
# 32 bits: memory that the kernel does not map, entries longer than a pointer
cat >i386.config <<'CONFIG'
# CONFIG_64BIT is not set
CONFIG_SMP=y
CONFIG_HIGHMEM4G=y
CONFIG_X86_PAE=y
CONFIG_SWAP=y
CONFIG_KSM=y
CONFIG_COMPACTION=y
CONFIG_MIGRATION=y
CONFIG_TRANSPARENT_HUGEPAGE=y
CONFIG_USERFAULTFD=y
CONFIG
# allnoconfig: no SMP, NUMA, tracing or vmstat's events either
printf 'CONFIG_64BIT=y\n' >smallest.config

kmake() {
	make -s -C "$tree" O="$obj" ARCH="$arch" CC="${cc_prefix}gcc" HOSTCC="${cc_prefix}gcc" \
		-j "$(jobs_wanted)" "$@"
}

# configure FRAGMENT...: what the last one says must come true.
configure() {
	ARCH=$arch scripts/kconfig/merge_config.sh -n -O "$obj" "$@" || return 1
	awk 'NR == FNR { if (/^CONFIG_/) { split($0, f, "="); have[f[1]] = $0 }; next }
		/^CONFIG_/ { split($0, f, "="); if (have[f[1]] != $0) { print "no " $0; bad = 1 } }
		/^# CONFIG_.* is not set/ && $2 in have { print "still " have[$2]; bad = 1 }
		END { exit bad }' "$obj/.config" "${@: -1}" || return 1
	kmake prepare
}

# The objects of the touched files, of those that there are here and now
objects() {
	local want=() f
	for f in "${touched[@]}"; do
		[[ ! -e $f ]] || want+=("${f%.c}.o")
	done
	# shellcheck disable=SC2016 # make's variable
	comm -12 <(printf '%s\n' "${want[@]}" | sort) <(
		printf 'include %s/include/config/auto.conf\ninclude mm/Makefile\nall:;@echo $(addprefix mm/,$(obj-y))\n' "$obj" |
			make -s -f - all | tr ' ' '\n' | sort -u)
}

# Warnings and errors of a log, without line numbers
messages() {
	grep -E '(warning|error|Warning|Error): ' "$1" |
		sed -E 's,^(\.\./)+,,; s/:[0-9]+(:[0-9]+)?:/:/; s/ [^ ]*:[0-9]+ / /' | sort || :
}

# compile LOG ARGUMENT...: the touched files as they are now
compile() {
	local log=$1 list
	shift
	mapfile -t list < <(objects)
	kmake "$@" "${list[@]}" >"$log" 2>&1
}

# judge NAME LOG BEFORE STATUS: the compiler succeeded and said nothing new.
judge() {
	local new
	new=$(comm -13 "$3" <(messages "$2"))
	if [[ $4 == 0 && -z $new ]]; then
		ok "$1"
	else
		not_ok "$1" "${new:+new:$'\n'$new$'\n'}all:"$'\n'"$(tail -n 60 "$2")"
	fi
}

# try NAME ARCH COMMITS FRAGMENT...: one configuration, at each of the commits
try() {
	local name=$1 arch=$2 steps=$3 obj=obj-$2 before=obj-before log=obj-log
	local began=$SECONDS commit status previous=pristine
	shift 3
	wanted "$name" || return 0
	mkdir -p "$obj"
	git checkout -q --detach pristine
	if ! configure "$@" >"$log" 2>&1 || ! compile "$log" W=1; then
		not_ok "$name: pristine" "$(tail -n 30 "$log")"
		return
	fi
	messages "$log" >"$before"
	for commit in $steps; do
		git checkout -q --detach "$commit"
		status=0
		if ! git diff --quiet "$previous" HEAD -- '*Kconfig*'; then
			configure "$@" >"$log" 2>&1 || status=$?
		fi
		((status != 0)) || compile "$log" W=1 || status=$?
		judge "$name: $(git log -1 --format=%s)" "$log" "$before" "$status"
		previous=$commit
	done
	diag "$name: $((SECONDS - began)) s"
}

try base x86_64 "${commits[*]}" "$base"
try debug x86_64 "${commits[*]}" "$base" "$top/kernel/config/debug.config"
try without-all x86_64 "${commits[*]}" "$base" without-all.config
try smallest x86_64 "${commits[*]}" smallest.config
try i386 i386 "${commits[*]}" i386.config
for f in no-*.config; do try "${f%.config}" x86_64 "$last" "$base" "$f"; done

# ---- the plain path -----------------------------------------------------------------

# Instructions and relocations, without what depends on where the function is.
code_of() { # OBJECT FUNCTION
	objdump -dr --no-show-raw-insn "$1" |
		awk -v head="<$2>:" '/^$/ { inside = 0 } inside { sub(/^[^:]*:[[:space:]]*/, ""); print }
			$2 == head { inside = 1 }' |
		sed -E 's/\<[0-9a-f]+ (<[^>]*>)/\1/; s/([[:space:]]\.[^[:space:]]*)[+-]0x[0-9a-f]+$/\1/
			s/[[:space:]]+/ /g'
}
# same_code WHAT SED: of the last build, with both edited by SED
same_code() {
	local f file
	# Those of them that are inlined are a part of the others.
	for f in mremap:move_ptes mremap:move_pgt_entry mremap:move_page_tables vma:copy_vma; do
		file=mm/${f%:*}.o f=${f#*:}
		if [[ -z $(code_of "obj-fixed/${file#mm/}" "$f") && -z $(code_of "$obj/$file" "$f") ]]; then
			diag "plain: $f is inlined"
			continue
		fi
		tap_run "plain: $f() has the code that it has without the series, $1" \
			diff <(code_of "obj-fixed/${file#mm/}" "$f" | sed -E "$2") \
			<(code_of "$obj/$file" "$f" | sed -E "$2")
	done
}
plain() {
	local obj=obj-x86_64 arch=x86_64 log=obj-log
	mkdir -p "$obj" obj-fixed
	git checkout -q --detach "$fixed"
	if ! configure "$base" >"$log" 2>&1 || ! kmake mm/mremap.o mm/vma.o >>"$log" 2>&1; then
		not_ok 'plain: the fixes alone' "$(tail -n 30 "$log")"
		return
	fi
	cp "$obj"/mm/{mremap,vma}.o obj-fixed/
	git checkout -q --detach "$coalesce^"
	if ! kmake mm/mremap.o mm/vma.o >"$log" 2>&1; then
		not_ok 'plain: the flags' "$(tail -n 30 "$log")"
		return
	fi
	same_code 'with the flags' ''
	git checkout -q --detach "$last"
	if ! kmake mm/mremap.o mm/vma.o >"$log" 2>&1; then
		not_ok 'plain: the series' "$(tail -n 30 "$log")"
		return
	fi
	same_code 'but for offsets, with the whole series' 's/-?0x[0-9a-f]+\(%/(%/g'
}
! wanted plain || plain

# ---- sparse -----------------------------------------------------------------------

wanted sparse || tap_end
if ! command -v sparse >/dev/null; then
	skip 'sparse' 'no sparse (Debian package sparse)'
	tap_end
fi
# kbuild does without one that does not know __typeof_unqual__ (0.6.4).
check=sparse
echo 'static const int a; static __typeof_unqual__(a) b;' >obj-probe.c
[[ $(sparse obj-probe.c 2>&1) != *error:* ]] || check='sparse -D__typeof_unqual__=__typeof__'
arch=x86_64 obj=obj-x86_64 log=obj-log
mkdir -p "$obj"
git checkout -q --detach pristine
if ! configure "$base" >"$log" 2>&1 || ! compile "$log" C=2 CHECK="$check" ||
	grep -q 'not up to date' "$log"; then
	not_ok 'sparse: pristine' "$(tail -n 30 "$log")"
	tap_end
fi
messages "$log" >obj-before
git checkout -q --detach "$last"
status=0
compile "$log" C=2 CHECK="$check" || status=$?
judge sparse "$log" obj-before "$status"
tap_end
