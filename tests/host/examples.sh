#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# examples/relocate.c: the manual page quotes it; it compiles with the system's headers and with
# ours, and runs where the flag is known and where it is not.

set -euo pipefail
top=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.." && pwd -P)
# shellcheck source=tests/tap.sh
. "$top/tests/tap.sh"
build=$(realpath -m -- "${RELOCATE_BUILD:-build}")
cc=${CC:-gcc}
work=$(mktemp -d)
trap 'rm -rf -- "$work"' EXIT
cd "$work"
example=$top/examples/relocate.c
strict=(-O2 -Wall -Wextra -Werror)
plan 12

# What the patch adds to the page, as a reader would copy it
sed -n 's/^+//p' "$top"/man/patches/*.patch |
	awk '/^\.\\" SRC BEGIN \(mremap\.c\)/ { on = 1; next } /^\.\\" SRC END/ { on = 0 } on && !/^\.E[XE]$/' |
	sed -e 's/^\\&//' -e 's/\\-/-/g' -e "s/\\\\\\[aq\\]/'/g" -e 's/\\\[rs\]/\\/g' >page.c
tap_true 'the page has a program' grep -q '^main(void)$' page.c
# The file begins with comments.
sed -n '/^#define _GNU_SOURCE/,$p' "$example" >file.c
if cmp -s page.c file.c; then
	ok 'it is examples/relocate.c'
else
	not_ok 'it is examples/relocate.c' "$(diff -u file.c page.c || :)"
fi

tap_run 'it compiles without warnings' "$cc" "${strict[@]}" -o example "$example"
tap_run 'as older and newer C' sh -c "$cc ${strict[*]} -std=gnu99 -pedantic -c -o old.o '$example' &&
	$cc ${strict[*]} -std=c17 -pedantic -c -o new.o '$example'"

# Without the lines that define the flag
sed '/^#ifndef MREMAP_RELOCATE_ANON/,/^#endif/d' "$example" >without.c
if [[ -e $build/glibc/include/sys/mman.h ]]; then
	tap_run 'with the headers of our glibc it needs no definition' \
		"$cc" "${strict[@]}" -isystem "$build/glibc/include" -c -o with.o without.c
else
	skip 'with the headers of our glibc it needs no definition' "no $build/glibc"
fi
if [[ -e $build/kernel/headers/include/linux/mman.h ]]; then
	sed 's/^#include <sys\/mman.h>/#include <linux\/mman.h>\n&/' without.c >linux.c
	tap_run 'nor with those of our kernel' \
		"$cc" "${strict[@]}" -isystem "$build/kernel/headers/include" -c -o linux.o linux.c
else
	skip 'nor with those of our kernel' "no $build/kernel/headers"
fi

known=$'before: 2 mappings\nafter:  1 mapping\n'
unknown=$'MREMAP_RELOCATE_ANON is unknown here\nbefore: 2 mappings\nafter:  2 mappings\n'
for line in 'before: 2 mappings' 'after:  1 mapping'; do
	tap_true "the page shows what it prints: $line" grep -qxF -- "+$line" "$top"/man/patches/*.patch
done
capture ./example
# shellcheck disable=SC2154 # capture sets them
{
	tap_true "it runs here: $status ${out%%$'\n'*}" \
		[ "$status" = 0 -a '(' "$out" = "$known" -o "$out" = "$unknown" ')' ]
	if [[ -x $build/relocate-run && -d $build/glibc/lib ]]; then
		capture "$build/relocate-run" ./example
		tap_true "and with our glibc: $status ${out%%$'\n'*}" \
			[ "$status" = 0 -a '(' "$out" = "$known" -o "$out" = "$unknown" ')' ]
	else
		skip 'and with our glibc' "no $build/glibc"
	fi
}

# A C library and a kernel that know the flag, and a kernel that does not, whatever they are
# here.  What is moved by a copy into new memory merges as relocated memory does.
cat >system.c <<'SYSTEM'
#define _GNU_SOURCE
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

void *mremap(void *from, size_t old, size_t new, int flags, ...)
{
	void *to;
	va_list ap;

	va_start(ap, flags);
	to = flags & MREMAP_FIXED ? va_arg(ap, void *) : NULL;
	va_end(ap);
	if (!(flags & 8))
		return (void *)syscall(SYS_mremap, from, old, new, flags, to);
	if (!getenv("TEST_KNOWN") || !from) {
		errno = getenv("TEST_KNOWN") ? EFAULT : EINVAL;
		return MAP_FAILED;
	}
	mmap(to, new, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	memcpy(to, from, old);
	munmap(from, old);
	return to;
}
SYSTEM
"$cc" "${strict[@]}" -shared -fPIC -o system.so system.c
capture env TEST_KNOWN=1 LD_PRELOAD=./system.so ./example
tap_is "$status $out" "0 $known" 'where the flag is known'
capture env LD_PRELOAD=./system.so ./example
tap_is "$status $out" "0 $unknown" 'where it is not'
tap_end
