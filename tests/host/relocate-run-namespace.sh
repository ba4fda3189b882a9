#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# relocate-run in a namespace, as root and as a user, with a copy of the system's own
# glibc and with each of ours that is built.

set -euo pipefail

top=$(cd "$(dirname "$0")/../.." && pwd)
# shellcheck source=tests/tap.sh
. "$top/tests/tap.sh"

build=$(realpath -m "${RELOCATE_BUILD:-build}")
if [[ $(uname -m) != x86_64 ]]; then
	skip "relocate-run" "it is for x86-64"
	tap_end
fi
export PATH=/usr/bin:/bin:/usr/sbin:/sbin
unset GCONV_PATH LD_LIBRARY_PATH
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
mkdir -m 777 "$tmp/work"
chmod 755 "$tmp"
cd "$tmp/work"
export HOME=$PWD

# ---- who runs it ----------------------------------------------------------------------

cat >as-root <<'EOF'
#!/bin/sh
unshare -m true 2>/dev/null || exec unshare -Ur "$@"
exec "$@"
EOF
cat >as-user <<'EOF'
#!/bin/sh
[ "$(id -u)" != 0 ] || exec setpriv --reuid 12345 --regid 12345 --clear-groups "$@"
exec "$@"
EOF
# Within as-root: as it is, or without the right to mount.  Without CAP_SETFCAP, root has no
# user namespaces.
cat >inner-root <<'EOF'
#!/bin/sh
exec "$@"
EOF
cat >inner-user <<'EOF'
#!/bin/sh
exec setpriv --inh-caps=-all --bounding-set=-all,+setfcap "$@"
EOF
chmod +x as-* inner-*
modes=()
for mode in root user; do
	if "./as-$mode" unshare "$([[ $mode == root ]] && echo -m || echo -Um)" true 2>/dev/null; then
		modes+=("$mode")
	else
		skip "as $mode" "no namespaces are permitted here"
	fi
done
((${#modes[@]})) || tap_end

# try NAME STATUS PATTERN COMMAND...: run it, compare status and output.
try() {
	local name=$1 want=$2 pattern=$3 out status=0
	shift 3
	out=$("$@" 2>&1 </dev/null) || status=$?
	# shellcheck disable=SC2053 # a pattern is wanted
	if [[ $status == "$want" && $out == $pattern ]]; then
		ok "$name"
	else
		not_ok "$name" "status $status, output:"$'\n'"$out"
	fi
}

# ---- what is run ----------------------------------------------------------------------

cat >own <<'EOF'
#!/bin/sh
# own NAME PID: NAME and the inode of the libc.so.6 that the process has mapped
awk -v name="$1" '$6 ~ "/libc[.]so[.]6$" { print name, $5; exit }' "/proc/$2/maps"
EOF
cat >family <<'EOF'
#!/bin/sh
./own sh $$
python3 -c 'import os, subprocess; subprocess.check_call(["./own", "python3", str(os.getpid())])'
perl -e 'system "./own", "perl", $$'
gcc -wrapper ./wrapper -c -o "family.$$.o" empty.c
rm "family.$$.o"
git -c alias.own='!./own git $PPID;:' own
EOF
cat >wrapper <<'EOF'
#!/bin/sh
case $1 in *cc1) ./own gcc $PPID ;; esac
exec "$@"
EOF
: >empty.c
cat >threads.c <<'EOF'
#include <pthread.h>
static void *work(void *argument)
{
	return argument;
}
int main(void)
{
	pthread_t thread;
	return pthread_create(&thread, 0, work, 0) || pthread_join(thread, 0);
}
EOF
# deny CALL ERRNO|kill PROGRAM...: as a container's filter does
cat >deny.c <<'EOF'
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>
int main(int argc, char **argv)
{
	unsigned int call = !strcmp(argv[1], "unshare") ? SYS_unshare : SYS_mount;
	unsigned int answer = !strcmp(argv[2], "kill") ? SECCOMP_RET_KILL_PROCESS :
		SECCOMP_RET_ERRNO | (unsigned int)atoi(argv[2]);
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, call, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, answer),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { 4, code };
	if (argc < 4 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
	    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
		return 99;
	execvp(argv[3], argv + 3);
	return 98;
}
EOF
cat >euid.c <<'EOF'
#include <stdio.h>
#include <unistd.h>
int main(void) { return printf("%d\n", (int)geteuid()) < 0; }
EOF
cc=${CC:-gcc}
$cc -g -o threads threads.c -pthread
$cc -o deny deny.c
$cc -o euid euid.c
$cc -static -o static euid.c
printf '#!/none/such\n' >lost
# shellcheck disable=SC2016 # it is a script
echo 'echo "sh:${0##*/}:$1"' >plain
chmod +x own family wrapper lost plain

# ---- glibcs ---------------------------------------------------------------------------

loader=$(readlink -f /lib64/ld-linux-x86-64.so.2)
system=${loader%/*}
libraries=()
for name in ld-linux-x86-64 libBrokenLocale libanl libc libc_malloc_debug libdl libm libmemusage libmvec \
	libnss_{compat,dns,files,hesiod} libpcprofile libpthread libresolv librt libthread_db libutil; do
	for path in "$system/$name".so*; do
		[[ -L $path || ! -f $path || $path == */lib[cm].so ]] || libraries+=("$path")
	done
done
# libnsl.so.2 is not glibc's.
[[ ! -f $system/libnsl.so.1 ]] || libraries+=("$system/libnsl.so.1")

# stage NAME LIBRARY... GCONV: put relocate-run and a glibc of these into $tmp/NAME
stage() {
	local dir=$tmp/$1
	mkdir -p "$dir/bin" "$dir/lib/glibc/lib"
	sed 's,@''glibcdir@,../lib/glibc,' "$top/glibc-patches/relocate-run.in" >"$dir/bin/relocate-run"
	chmod +x "$dir/bin/relocate-run"
	$cc -std=c11 -Wall -Wextra -Werror -o "$dir/lib/relocate-bind" "$top/glibc-patches/relocate-bind.c" -ldl
	cp -rL "${@:2}" "$dir/lib/glibc/lib/"
}
stage copy "${libraries[@]}" "$system/gconv"
glibcs=(copy)
least=$("$tmp/copy/lib/relocate-bind")
for dir in "$build"/glibc "$build"/glibc-2.[0-9][0-9]; do
	[[ -x $dir/lib/ld-linux-x86-64.so.2 ]] || continue
	release=$("$dir/lib/ld-linux-x86-64.so.2" --version | sed -n '1s/.* release version \([0-9.]*[0-9]\).*/\1/p')
	[[ $(printf '%s\n' "$least" "$release" | sort -V | head -n 1) == "$least" ]] || continue
	stage "$release" "$dir"/lib/{*.so.[0-9]*,libmemusage.so,libpcprofile.so,gconv}
	glibcs+=("$release")
done
((${#glibcs[@]} > 1)) || skip "our glibc" "none that is new enough in $build (make glibc)"

# ---- tests of one glibc, in one mode ------------------------------------------------------

# shellcheck disable=SC2016 # the inner shells expand it
programs() { # what is said to work
	local inode
	# As the kernel says it, which for some file systems is not what stat says
	inode=$("$lib/ld-linux-x86-64.so.2" --library-path "$lib" "$(command -v awk)" \
		'$6 ~ "/libc[.]so[.]6$" { print $5; exit }' /proc/self/maps)
	try "$who: a shell and what it starts" 0 "$(printf '%s '"$inode"'\n' sh python3 perl gcc git)" "$as" "$run" ./family
	try "$who: all libraries" 0 "$(cd "$lib" && stat -c '%n %d:%i' "${libraries[@]##*/}")" \
		"$as" "$run" sh -c 'cd "$1"; shift; exec stat -c "%n %d:%i" "$@"' sh "$system" "${libraries[@]##*/}"
	try "$who: in a script's interpreter" 0 "own $inode" "$as" "$run" python3 -c 'import os; os.execl("./own", "own", "own", "self")'
	try "$who: /proc/self/exe" 0 "$(readlink -f "$(command -v readlink)")" "$as" "$run" readlink -f /proc/self/exe
	try "$who: the working directory" 0 "$PWD:$PWD" "$as" "$run" sh -c 'echo "$(pwd):$(readlink /proc/self/cwd)"'
	try "$who: exit status" 42 "" "$as" "$run" sh -c 'exit 42'
	try "$who: missing program" 127 "*none: not found" "$as" "$run" none
	try "$who: missing interpreter" 127 "*./lost: No such file*" "$as" "$run" ./lost
	try "$who: the name of a program" 0 "sh:plain:q" "$as" env PATH="$PATH:$PWD" "$run" plain q
	try "$who: static program" 0 "*/static is static or has*" "$as" "$run" "$PWD/static"
	try "$who: no word about others" 0 "" "$as" "$run" true
	try "$who: iconv with a module" 0 " 81 82 83 ff fe 61 00" "$as" "$run" sh -c \
		'{ printf abc | iconv -t EBCDIC-US; printf a | iconv -t UTF-16; } | od -An -tx1'
	try "$who: iconv without environment" 0 " 61 1b 24 42 24 22 1b 28 42" "$as" env -i "$run" sh -c \
		'printf "a\343\201\202" | iconv -f UTF-8 -t ISO-2022-JP | od -An -tx1'
	try "$who: users and groups" 0 "root:*" "$as" "$run" getent passwd root
}

locales() {
	if [[ ! -e /usr/share/i18n/locales/de_DE ]]; then
		skip "$who: locales" "no /usr/share/i18n (Debian package locales)"
		return
	fi
	[[ -e locale/usr ]] || { mkdir -p locale/usr/lib/locale
		localedef -i de_DE -f UTF-8 --prefix="$PWD/locale" de_DE.UTF-8
		localedef --no-archive -i de_DE -f UTF-8 "$PWD/locale/de_DE.UTF-8"; }
	try "$who: a locale" 0 $'de_DE.utf8\ndecimal_point=","\ncharmap="UTF-8"\na\nÄ\nb\n1,5' \
		./as-root unshare -m sh -c 'mount --bind locale/usr/lib/locale /usr/lib/locale
			export LC_ALL=de_DE.UTF-8; exec "$@"' sh "$inner" "$run" sh -c '
			locale -a | grep de_; locale -k decimal_point charmap; printf "b\nÄ\na\n" | sort
			/usr/bin/printf "%.1f\n" 1,5'
	try "$who: LOCPATH" 0 'decimal_point=","' \
		"$as" env LOCPATH="$PWD/locale" LC_ALL=de_DE.UTF-8 "$run" locale -k decimal_point
}

debugger() {
	local commands=(-ex 'break work' -ex run -ex 'info threads' -ex backtrace -ex continue) file
	file=$(readlink -f "$lib/libthread_db.so.1")
	if ! gdb -nx -batch "${commands[@]}" ./threads 2>/dev/null | grep -q 'exited normally'; then
		skip "$who: gdb" "gdb does not work here"
		return
	fi
	try "$who: gdb, breakpoints and threads" 0 \
		"*libthread_db library*Breakpoint 1, work*"$'\n'"[*] 2 *Thread *#0  work *exited normally*" \
		"$as" "$run" gdb -nx -batch "${commands[@]}" ./threads
	try "$who: gdb has our libthread_db" 0 "$(stat -c %d:%i "$file")" \
		"$as" "$run" stat -Lc %d:%i "$system/libthread_db.so.1"
}

# shellcheck disable=SC2016 # the inner shells expand it
processes() {
	local pid i
	"$as" "$run" sleep 1000 &
	pid=$!
	if wait_until sh -c "readlink /proc/$pid/exe | grep -q sleep"; then
		kill -TERM "$pid"
	fi
	i=0
	wait "$pid" 2>/dev/null || i=$?
	tap_is "$i" 143 "$who: a signal ends it"
	try "$who: an ignored signal stays ignored" 0 alive sh -c 'trap "" INT; "$@"; :' sh \
		"$as" "$run" sh -c 'kill -INT $$; echo alive'
	try "$who: SIGCHLD may be ignored" 0 "own $(own_inode)" "$as" python3 -c '
import os, signal, sys
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
os.execvp(sys.argv[1], sys.argv[1:])' "$run" sh -c './own own $$'
	try "$who: standard input is the program's" 0 "all of it" sh -c 'echo all of it | "$@"' sh "$as" "$run" cat
	for ((i = 0; i < 20; i++)); do
		"$as" "$run" sh -c './own own $$' >"$tmp/out.$i" 2>&1 &
	done
	wait
	tap_is "$(sort "$tmp"/out.* | uniq -c | tr -s ' ')" " 20 own $(own_inode)" "$who: 20 at the same time"
	try "$who: one in another binds nothing more" 0 same "$as" "$run" sh -c '
		before=$(cat /proc/self/mountinfo)
		[ "$before" = "$("$1" cat /proc/self/mountinfo)" ] && echo same' sh "$run"
	try "$who: and works without environment" 0 " 81" "$as" "$run" env -i "$run" sh -c \
		'printf a | iconv -t EBCDIC-US | od -An -tx1'
}
own_inode() { "$as" "$run" sh -c './own own $$' | cut -d' ' -f2; }

# shellcheck disable=SC2016 # the inner shells expand it
privileges() {
	local caps word='Read-only file system'
	((EUID)) || [[ $mode == root ]] || word='Permission denied'
	caps=$("$as" sed -n '/^Cap[EPA]/p' /proc/self/status)
	try "$who: capabilities are as before" 0 "$caps" "$as" "$run" sed -n '/^Cap[EPA]/p' /proc/self/status
	try "$who: user and group are as before" 0 "$("$as" id -u):$("$as" id -g)" "$as" "$run" sh -c 'echo "$(id -u):$(id -g)"'
	try "$who: what is bound cannot be written" 2 "*cannot create*: $word" "$as" "$run" sh -c ': >>"$1"' sh "$system/libc.so.6"
	if ((EUID)) || ! install -m 4755 euid setuid || [[ $(./as-user ./setuid) != 0 ]]; then
		skip "$who: set-user-ID" "no such programs work here"
	elif [[ $mode == root ]]; then
		try "$who: set-user-ID works" 0 0 "$run" setpriv --reuid 12345 --regid 12345 --clear-groups ./setuid
		try "$who: all users and groups are there" 0 "12345:12345" "$run" sh -c \
			': >theirs; chown 12345:12345 theirs; stat -c %u:%g theirs'
	else
		try "$who: set-user-ID has no effect" 0 12345 ./as-user "$run" ./setuid
		try "$who: files of others are nobody's" 0 65534 ./as-user "$run" stat -c %u /
		install -m 4755 "$tmp/$glibc/lib/relocate-bind" lender
		try "$who: it lends no privileges" 125 "relocate-run: must not be given privileges *" \
			./as-user ./lender "${lib%/lib}" "$PWD/euid" euid
	fi
}

# shellcheck disable=SC2016 # the inner shells expand it
bounds() { # of what a user namespace gives
	local value=$system/gconv
	# A copy of the system's is configured for the folder that is there.
	if [[ $glibc != copy && ! -e /usr/local/lib/relocate-anon/glibc/lib/gconv ]]; then
		try "$who: GCONV_PATH has the folder already" 0 "$value:/x" "$as" env GCONV_PATH="$value:/x" "$run" sh -c 'echo "$GCONV_PATH"'
		try "$who: the end of an entry is none" 0 "/x$value:$value" "$as" env GCONV_PATH="/x$value" "$run" sh -c 'echo "$GCONV_PATH"'
	fi
	if ((EUID)); then
		skip "$who: capabilities in a user namespace" "only root can set them"
	elif [[ $mode == root ]]; then
		try "$who: the bounding set stays" 0 $'CapEff:\t0000000080000100' setpriv --inh-caps=-all \
			--bounding-set=-all,+setfcap,+setpcap "$run" --namespace sh -c 'grep CapEff /proc/self/status'
	else
		cp "$(command -v sed)" capable
		python3 -c 'import os, struct; os.setxattr("capable", "security.capability", struct.pack("<5I", 0x2000001, 1 << 13, 0, 0, 0))'
		try "$who: file capabilities count" 0 $'CapEff:\t0000000000002000' \
			./as-user "$run" --namespace ./capable -n /^CapEff/p /proc/self/status
		try "$who: not with no_new_privs" 0 $'CapEff:\t0000000000000000' \
			./as-user setpriv --no-new-privs "$run" --namespace ./capable -n /^CapEff/p /proc/self/status
	fi
}

# shellcheck disable=SC2016 # the inner shells expand it
mounts() {
	# In a copy of the system whose mounts are shared, as they often are
	try "$who: nothing is bound outside, and what is mounted there later is seen" 0 $'outside 0\ninside some\nlater/later' \
		./as-root unshare -m sh -ec '
		mount --make-rshared /
		mkdir -p later; rm -f in out seen; mkfifo in out
		exec 3<>in
		"$@" >out 2>&1 &
		read -r inside <out
		echo "outside $(grep -c "/libc\.so\.6" /proc/self/mountinfo)"
		mount -t tmpfs tmpfs later
		: >later/later
		echo >&3
		echo "inside $inside"
		wait
		cat seen
		umount later' sh "$inner" "$run" sh -c '
		grep -q "/libc\.so\.6 ro" /proc/self/mountinfo && echo some || echo none
		read -r x <in
		ls later/later >seen'
	for options in nosuid,nodev,noatime nosuid,nodiratime,strictatime ro,nodev,relatime; do
		try "$who: a glibc on a file system with $options" 0 "own*" ./as-root unshare -m sh -ec '
			mkdir -p other
			mount -t tmpfs tmpfs other
			cp -r "$1" other/copy
			mount -o "remount,bind,$2" other
			shift 2
			exec "$@"' sh "${run%/bin/*}" "$options" "$inner" other/copy/bin/relocate-run --namespace ./own own self
	done
	try "$who: none on a file system where nothing can be executed" 125 "*no glibc in*" ./as-root unshare -m sh -ec '
		mkdir -p other
		mount -t tmpfs tmpfs other
		cp -r "$1/lib/glibc/"* other
		mount -o remount,bind,noexec other
		mount --bind other "$1/lib/glibc"
		shift
		exec "$@"' sh "${run%/bin/*}" "$inner" "$run" true
	# Where it was configured for, it needs no help from the environment.
	try "$who: modules where our glibc looks" 0 $'none\n 81' ./as-root unshare -m sh -ec '
		mount -t tmpfs tmpfs /usr/local
		mkdir -p /usr/local/lib/relocate-anon/glibc/lib/gconv
		exec "$@"' sh "$inner" "$run" sh -c \
		'echo "${GCONV_PATH:-none}"; printf a | iconv -t EBCDIC-US | od -An -tx1'
}

# shellcheck disable=SC2016 # the inner shells expand it
forbidden() {
	local by_loader how word
	by_loader="*no namespace (%s): readlink is started by the loader*"$'\n'"$(readlink -f "$lib/ld-linux-x86-64.so.2")"
	for how in "unshare 1" "unshare kill" "mount 13"; do
		case $how in
		"unshare 1") word="user namespace: Operation not permitted" ;;
		"unshare kill") word="Bad system call*" ;;
		"mount 13") word="mount propagation: Permission denied" ;;
		esac
		# shellcheck disable=SC2059,SC2086 # words, and a format
		try "$who: $how: by the loader, and says so" 0 "$(printf "$by_loader" "$word")" \
			"$as" ./deny $how "$run" readlink -f /proc/self/exe
		# shellcheck disable=SC2086
		try "$who: $how: --namespace fails" 125 "relocate-run: *" "$as" ./deny $how "$run" --namespace true
		# shellcheck disable=SC2086
		try "$who: $how: --loader is silent" 0 "" "$as" ./deny $how "$run" --loader true
	done
	# shellcheck disable=SC2059
	try "$who: max_user_namespaces" 0 "$(printf "$by_loader" "user namespace: user.max_user_namespaces *")" \
		unshare -Ur sh -c 'echo 0 >/proc/sys/user/max_user_namespaces; exec "$@"' sh \
		./inner-user "$run" readlink -f /proc/self/exe
}

for glibc in "${glibcs[@]}"; do
	run=$tmp/$glibc/bin/relocate-run
	lib=$tmp/$glibc/lib/glibc/lib
	for mode in "${modes[@]}"; do
		who="$glibc glibc, as $mode"
		as=$PWD/as-$mode
		inner=$PWD/inner-$mode
		programs
		locales
		debugger
		processes
		privileges
		bounds
		mounts
		forbidden
	done
done
mkdir "$tmp/a:b"
cp -r "$tmp/copy/." "$tmp/a:b/"
try "a colon in the folder's name" 125 "*colon or semicolon*" "$tmp/a:b/bin/relocate-run" --loader true
tap_end
