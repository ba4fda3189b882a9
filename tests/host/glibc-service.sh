#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# examples/relocate-glibc.conf, which gives one service of systemd the patched glibc: systemd
# accepts it, it names every file of the system's glibc, and programs run with these bindings.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
# shellcheck source=tests/tap.sh
. "$here/../tap.sh"
build=$(realpath -m -- "${RELOCATE_BUILD:-build}")
conf=$top/examples/relocate-glibc.conf
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

verify() { # CONF: what systemd says to a unit with it
	mkdir -p "$tmp/units/x.service.d"
	printf '[Service]\nExecStart=/bin/true\n' >"$tmp/units/x.service"
	cp "$1" "$tmp/units/x.service.d/relocate-glibc.conf"
	SYSTEMD_UNIT_PATH=$tmp/units: systemd-analyze verify "$tmp/units/x.service" 2>&1 | grep -F x.service || :
}
if command -v systemd-analyze >/dev/null; then
	tap_is "$(verify "$conf")" '' 'systemd accepts it'
	sed 's/^\(BindReadOnlyPaths\)=/\1s=/' "$conf" >"$tmp/wrong"
	tap_like "$(verify "$tmp/wrong")" 'Unknown key ' 'and would not, were it wrong'
else
	skip 'systemd accepts it' 'no systemd-analyze'
	skip 'and would not, were it wrong' 'no systemd-analyze'
fi

tap_is "$(grep -E 'nsenter|chroot' "$conf" || :)" '' 'it tells nobody to execute what the service may have replaced'

targets=$(sed -n 's/^BindReadOnlyPaths=.*:\(.*\)/\1/p' "$conf" | sort)
if files=$(dpkg -L libc6 2>/dev/null); then
	multiarch=$(sed -n 's,.*/lib/\([^/]*\)/libc\.so\.6$,\1,p' <<<"$files" | head -n 1)
	tap_is "$targets" "$(sed -n "s,^\(/usr\)\?\(/lib/$multiarch/[^/]*\.so\(\.[0-9]*\)\?\)$,/usr\2,p" <<<"$files" | sort)" \
		'it names the files of the package libc6'
else
	skip 'it names the files of the package libc6' 'this is not Debian'
fi
if [[ ! -d $build/glibc ]]; then
	skip 'programs run with these bindings' "no $build/glibc (make glibc)"
	tap_end
fi
odd=
while IFS=: read -r from to; do
	[[ -f $build/glibc/lib/${from##*/} && ${from##*/} == "${to##*/}" &&
		$from == /usr/local/lib/relocate-anon/glibc/lib/* ]] || odd+=" $from"
done < <(sed -n 's/^BindReadOnlyPaths=//p' "$conf")
tap_is "$odd" '' 'each is bound to the file of that name, where make install-glibc puts it'

# As systemd does it, in one process: between two of these bindings nothing can be started.
cat >"$tmp/bind.py" <<'PYTHON'
import ctypes, os, re, sys
libc = ctypes.CDLL(None, use_errno=True)
NEWNS, NEWUSER, RDONLY, REMOUNT, BIND, REC, PRIVATE = 0x20000, 0x10000000, 1, 32, 0x1000, 0x4000, 0x40000

def check(result, what):
    if result:
        sys.exit(f"bind: {what}: {os.strerror(ctypes.get_errno())}")

def mount(source, target, kind, flags):
    check(libc.mount(source.encode(), target.encode(), kind, ctypes.c_ulong(flags), None), target)

conf, glibc, command = sys.argv[1], sys.argv[2], sys.argv[3:]
uid, gid = os.getuid(), os.getgid()
check(libc.unshare(NEWNS | (NEWUSER if uid else 0)), "unshare")
if uid:
    for name, text in ("setgroups", "deny"), ("uid_map", f"0 {uid} 1"), ("gid_map", f"0 {gid} 1"):
        open(f"/proc/self/{name}", "w").write(text)
mount("none", "/", None, REC | PRIVATE)
folder = "/usr/local/lib/relocate-anon/glibc"
here = os.open(glibc, os.O_PATH)
mount("tmpfs", "/usr/local/lib", b"tmpfs", 0)
os.makedirs(folder)
mount(f"/proc/self/fd/{here}", folder, None, BIND)
for source, target in re.findall(r"^BindReadOnlyPaths=(.*):(.*)$", open(conf).read(), re.M):
    mount(source, target, None, BIND)
    mount("none", target, None, BIND | REMOUNT | RDONLY)
os.execvp(command[0], command)
PYTHON
# shellcheck disable=SC2317 # called by tap_run and capture
bound() { python3 "$tmp/bind.py" "$conf" "$build/glibc" "$@"; }
if ! python3 "$tmp/bind.py" /dev/null "$build/glibc" true 2>"$tmp/err"; then
	skip 'programs run with these bindings' "$(head -n 1 "$tmp/err")"
	tap_end
fi
capture bound /usr/lib/x86_64-linux-gnu/libc.so.6
# shellcheck disable=SC2154 # capture sets them
tap_like "$status $out" '^0 GNU C Library \(relocate-anon ' 'with these bindings, the glibc of the system is ours'
tap_run 'programs are built' "$here/../glibc/build" "$build/glibc" "$tmp"
# shellcheck disable=SC2016 # for that shell
tap_run 'a program that a shell starts gets relocation' \
	bound sh -c 'GLIBC_TUNABLES=glibc.malloc.mremap_relocate_min_mmaps=0 "$1" && :' sh "$tmp/realloc"
capture bound perl -e 'print "perl ", sqrt(16), "\n"'
tap_is "$status $out$err" $'0 perl 4\n' 'perl runs'
capture bound python3 -c 'import ssl, ctypes; print("python", 2**10)'
tap_is "$status $out$err" $'0 python 1024\n' 'python runs'
capture bound sh -c 'getent hosts localhost >/dev/null && id -un 0 && printf "\344" | iconv -f ISO-8859-15 -t UTF-8'
tap_is "$status $out$err" $'0 root\n\303\244' 'names are looked up, and character sets converted'
tap_end
