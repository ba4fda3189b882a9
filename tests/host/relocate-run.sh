#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# The wrapper relocate-run: which glibc it takes, and how it starts programs by the loader
# (relocate-run-namespace.sh has the other way).  Everything but the version of the library
# is tested with the system's own C library in the place of ours, so that it needs no build.

set -euo pipefail

top=$(cd "$(dirname "$0")/../.." && pwd)
# shellcheck source=tests/tap.sh
. "$top/tests/tap.sh"

build=$(realpath -m "${RELOCATE_BUILD:-build}")
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

# try NAME STATUS PATTERN COMMAND...: run it, compare status and output.
try ()
{
	local name=$1 want=$2 pattern=$3
	shift 3
	status=0
	out=$("$@" 2>&1) || status=$?
	# shellcheck disable=SC2053 # a pattern is wanted
	if [ "$status" = "$want" ] && [[ $out == $pattern ]]; then
		ok "$name"
	else
		not_ok "$name" "status $status, output:"$'\n'"$out"
	fi
}

ld=$(readlink -f /lib64/ld-linux-x86-64.so.2)
mkdir -p "$tmp/a/bin" "$tmp/a/lib/anon/lib" "$tmp/progs"
ln -s "$ld" "$tmp/a/lib/anon/lib/ld-linux-x86-64.so.2"
sed 's,@''glibcdir@,../lib/anon,; s,^way=$,way=loader,' "$top/glibc-patches/relocate-run.in" \
	>"$tmp/a/bin/relocate-run"
chmod +x "$tmp/a/bin/relocate-run"
cc=${CC:-gcc}
$cc -std=c11 -Wall -Wextra -Werror -o "$tmp/a/lib/relocate-bind" "$top/glibc-patches/relocate-bind.c" -ldl
run=$tmp/a/bin/relocate-run
cd "$tmp/progs"

cat >show.c <<'EOF'
#include <stdio.h>
#include <stdlib.h>
int main(int argc, char **argv)
{
	char exe[4096] = "";
	FILE *maps = fopen("/proc/self/maps", "r");
	for (int i = 0; i < argc; i++)
		printf("[%s]", argv[i]);
	while (maps && fgets(exe, sizeof exe, maps))
		;
	return argc > 1 && argv[1][0] == '=' ? atoi(argv[1] + 1) : 0;
}
EOF
$cc -o show show.c
$cc -static -o static show.c
$cc -static-pie -o static-pie show.c 2>/dev/null || cp static static-pie
$cc -shared -fPIC -o lib.so -x c - <<<'int f(void) { return 1; }'
cp show "with space"
cp show -- -dash
printf '#!%s/show an  argument \n' "$PWD" >script
printf '#! %s/show\n' "$PWD" >bare-script
printf '#!/usr/bin/env show\n' >env-script
printf '#!/usr/bin/env -S show -x y\n' >env-s-script
printf '#!/usr/bin/env A=1 show\n' >env-odd-script
printf '#!%s/script\n' "$PWD" >script-script
printf '#!%s/loop\n' "$PWD" >loop
printf '#!/none/such\n' >lost-script
printf '#!\n' >empty-script
cat >plain <<'EOF'
echo "sh:$0:$1"
EOF
printf '\177ELF\001\001\001' >elf32
head -c 64 /dev/zero >>elf32
chmod +x ./*script loop plain elf32 show
printf 'text\n' >data
mkdir dir

try "help" 0 "Usage: relocate-run*" "$run" --help
try "two ways at once" 125 "relocate-run: --loader and --namespace exclude each other" "$run" --loader --namespace true
try "the same way twice" 0 "" "$run" --loader --loader true
try "unknown option" 125 "relocate-run: unknown option --nope*" "$run" --nope
try "no program" 125 "*no program given*" "$run"
try "program with a path, argv[0] kept" 0 "[[]./show[]][[]a b[]][[][]]" \
	"$run" ./show "a b" ""
try "program found on PATH" 0 "[[]show[]][[]x[]]" \
	env PATH="/none:$PWD:$PATH" "$run" show x
try "program found in the current directory by an empty entry" 0 "[[]show[]]" \
	env PATH="$PATH:" "$run" show
try "current directory not searched otherwise" 127 "*show: not found" \
	"$run" show
try "shell builtins are looked up as programs" 0 "[[]x[]]" \
	"$run" printf '[%s]' x
try "name with a blank" 0 "[[]./with space[]]" "$run" "./with space"
try "name that begins with a dash" 0 "[[]-dash[]]*" \
	env PATH="$PWD:$PATH" "$run" -- -dash
try "exit status passed through" 42 "*" "$run" ./show =42
try "missing program" 127 "relocate-run: nope: not found" "$run" nope
try "missing path" 127 "relocate-run: ./nope: not found" "$run" ./nope
try "directory" 126 "*is a directory" "$run" ./dir
try "not executable" 126 "*not executable" "$run" ./data
try "static program" 126 "*not a dynamically linked program*" "$run" ./static
try "static PIE" 126 "*not a dynamically linked program*" "$run" ./static-pie
try "shared library" 126 "*not a dynamically linked program*" "$run" ./lib.so
try "32-bit program" 126 "*not a program for x86-64" "$run" ./elf32
try "script" 0 "[[]$PWD/show[]][[]an  argument[]][[]./script[]][[]z[]]" \
	"$run" ./script z
try "script without argument" 0 "[[]$PWD/show[]][[]./bare-script[]]" \
	"$run" ./bare-script
try "script of a script" 0 \
	"[[]$PWD/show[]][[]an  argument[]][[]$PWD/script[]][[]./script-script[]][[]z[]]" \
	"$run" ./script-script z
try "script with env" 0 "[[]show[]][[]$PWD/env-script[]][[]--[]][[]z[]]" \
	env PATH="$PWD:$PATH" "$run" env-script -- z
try "script with env -S" 0 \
	"[[]show[]][[]-x[]][[]y[]][[]$PWD/env-s-script[]][[]z[]]" \
	env PATH="$PWD:$PATH" "$run" env-s-script z
try "script with env and what we do not understand" 126 "*cannot run: #!*" \
	"$run" ./env-odd-script
try "scripts in a circle" 126 "*too many interpreters" "$run" ./loop
try "script with a missing interpreter" 127 "*/none/such: not found" \
	"$run" ./lost-script
try "script with an empty interpreter" 126 "*no interpreter*" \
	"$run" ./empty-script
try "text without #!" 0 "sh:./plain:q" "$run" ./plain q

ln -s "$run" "$tmp/link"
try "called through a symbolic link" 0 "[[]./show[]]" "$tmp/link" ./show
try "called by name" 0 "$tmp/a/lib/anon" \
	env PATH="$tmp/a/bin:$PATH" relocate-run --glibc
mv "$tmp/a" "$tmp/b"
run=$tmp/b/bin/relocate-run
try "moved with its library" 0 "$tmp/b/lib/anon" "$run" --glibc
mkdir "$tmp/libs"
$cc -shared -fPIC -o "$tmp/libs/libown.so" -x c - <<<'int f(void) { return 7; }'
$cc -o uses -x c - -L"$tmp/libs" -lown \
	<<<'int f(void); int main(void) { return f(); }'
try "LD_LIBRARY_PATH still counts" 7 "" \
	env LD_LIBRARY_PATH="$tmp/libs" "$run" ./uses
# A library of the program's own with the name of one of the system's
mkdir lib
$cc -shared -fPIC -Wl,-soname,libz.so.1 -o lib/libz.so.1 -x c - \
	<<<'const char *zlibVersion(void) { return "private"; }'
cat >private.c <<'EOF'
#include <stdio.h>
const char *zlibVersion(void);
int main(void) { return puts(zlibVersion()) < 0; }
EOF
$cc -o private private.c lib/libz.so.1 -Wl,--enable-new-dtags,-rpath,"\$ORIGIN/lib"
$cc -o shared private.c lib/libz.so.1
try "a library of the program's own (DT_RUNPATH)" 0 "private" "$run" ./private
try "LD_LIBRARY_PATH comes before it, as without relocate-run" 0 "[0-9]*" \
	env LD_LIBRARY_PATH=/usr/lib/x86_64-linux-gnu "$run" ./private
try "the system's libraries are in the loader's cache" 0 "[0-9]*" "$run" ./shared
sed "s,^cache=.*,cache=$tmp/none," "$run" >"$tmp/b/bin/no-cache"
sed -i 's,^exec ,echo ,' "$tmp/b/bin/no-cache"
chmod +x "$tmp/b/bin/no-cache"
try "or else in the usual folders" 0 "*/lib/anon/lib:/lib/x86_64-linux-gnu:/usr/lib/x86_64-linux-gnu ./shared" \
	"$tmp/b/bin/no-cache" ./shared
rm "$tmp/b/lib/anon/lib/ld-linux-x86-64.so.2"
try "no library" 125 "*make glibc*" "$run" ./show

# Which release: loaders that say what they are, and a system that is 2.38
mkdir -p "$tmp/c/bin"
sed 's,@''glibcdir@,../lib/anon,' "$top/glibc-patches/relocate-run.in" >"$tmp/c/bin/relocate-run"
run=$tmp/c/bin/relocate-run
release() { # FOLDER RELEASE
	mkdir -p "$tmp/c/lib/$1/lib"
	printf '#!/bin/sh\necho "ld.so (GNU libc) stable release version %s."\n' "$2" \
		>"$tmp/c/lib/$1/lib/ld-linux-x86-64.so.2"
	chmod +x "$tmp/c/lib/$1/lib/ld-linux-x86-64.so.2"
}
mkdir "$tmp/c/lib"
cat >"$tmp/c/lib/relocate-bind" <<'EOF'
#!/bin/sh
[ $# = 0 ] || { echo "bind $*"; exit; }
echo 2.38
EOF
chmod +x "$tmp/c/lib/relocate-bind" "$run"
c='*/c/*/lib/anon'
release anon-2.9 2.9
release anon-2.36 2.36
try "only older ones: the newest" 0 "$tmp/c/lib/anon-2.36" "$run" --glibc
try "and no namespace" 125 "relocate-run: glibc 2.36 in $c-2.36 is older than the system's 2.38" \
	"$run" --namespace true
try "but the loader, which it says" 0 "relocate-run: no namespace (*is older*): true is started by the loader*version 2.36." "$run" true
release anon 2.44
try "the only newer one" 0 "$tmp/c/lib/anon" "$run" --glibc
release anon-2.41 2.41
try "the oldest newer one" 0 "$tmp/c/lib/anon-2.41" "$run" --glibc
release anon-2.38-pristine 2.38
release anon-2.38 2.39
try "others beside it are not taken" 0 "$tmp/c/lib/anon-2.41" "$run" --glibc
release anon-2.38 2.38
try "the same release" 0 "$tmp/c/lib/anon-2.38" "$run" --glibc
try "--release" 0 "$tmp/c/lib/anon" "$run" --release 2.44 --glibc
try "an older --release" 125 "*2.36*is older*" "$run" --release 2.36 --namespace true
try "a --release that is not there" 125 "*no glibc 2.40 in *; there are: 2.*" "$run" --release 2.40 true
try "--release without one" 125 "*--release needs a version" "$run" --release
try "and it is bound" 0 "bind $c-2.38 */true true a  b" "$run" -- true "a  b"
rm "$tmp/c/lib/relocate-bind"
try "half an installation" 125 "*relocate-bind is missing*" "$run" true

if [ -x "$build/relocate-run" ]; then
	run=$build/relocate-run
	release=$("$("$run" --glibc)/lib/ld-linux-x86-64.so.2" --version |
		sed -n '1s/.* release version \([0-9]*\.[0-9]*\).*/\1/p')
	cat >version.c <<'EOF'
#include <gnu/libc-version.h>
#include <stdio.h>
int main(void) { puts(gnu_get_libc_version()); return 0; }
EOF
	$cc -o version version.c
	try "our glibc runs a program" 0 "$release*" "$run" ./version
	try "by the loader, too" 0 "$release*" "$run" --loader ./version
	try "our glibc runs a program of the system" 0 "*a*" "$run" ls /
	try "our glibc runs a script" 0 "sh:./plain:q" "$run" ./plain q
	# All from the files of the system.
	try "our glibc has UTF-8" 0 "UTF-8" \
		env LC_ALL=C.UTF-8 "$run" locale charmap
	# The modules of another glibc would crash it: its own, or none.
	printf abc >latin
	status=0
	out=$("$run" --loader iconv -f LATIN1 -t EBCDIC-US latin 2>/dev/null |
		od -An -tx1) || status=$?
	case "$status $out" in
	'0  81 82 83' | '1 ') ok "by the loader, our glibc converts character sets, or says no" ;;
	*) not_ok "by the loader, our glibc converts character sets, or says no" \
		"status $status, output: $out" ;;
	esac
	try "our glibc has time zones" 0 "1970-01-01 09:00" \
		env TZ=Asia/Tokyo "$run" date -d @0 "+%F %R"
else
	skip "our glibc" "no $build/relocate-run (make glibc)"
fi
tap_end
