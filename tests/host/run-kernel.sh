#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# run-kernel: statuses, output, options.  The kernel is $RELOCATE_KERNEL, by
# default the pristine one.  Several checks share one boot to stay quick.
# shellcheck disable=SC2016 # quoted text is expanded by the guest's shell

set -euo pipefail
here=$(cd -- "$(dirname -- "$0")" && pwd -P)
# shellcheck source-path=SCRIPTDIR source=../tap.sh
. "$here/../tap.sh"

runner=$here/../vm/run-kernel
kernel=${RELOCATE_KERNEL:-pristine}
build=${RELOCATE_BUILD:-$PWD/build}

work=$(mktemp -d /tmp/test-run-kernel.XXXXXX)
trap 'rm -rf -- "$work"' EXIT
# Everything the runner makes has to come and go inside this folder.
mkdir "$work/tmp" "$work/build"
export TMPDIR=$work/tmp

vm() { RELOCATE_BUILD=$build "$runner" --kernel "$kernel" "$@"; }

# shellcheck disable=SC2317 # called through tap_true
between() { [[ $1 =~ ^[0-9]+$ ]] && (($1 >= $2 && $1 <= $3)); }

plan 56
# So many seconds of silence that a test of it need not wait for long, but not less than
# the longest of a boot
soon=20

# ---- wrong usage: no boot ----------------------------------------------------

refuses() { # NAME PATTERN ARGUMENT...
	local name=$1 pattern=$2
	shift 2
	capture "$runner" "$@"
	if [[ $status -eq 120 && -z $out && $err =~ $pattern && $err != *$'\n'*$'\n' ]]; then
		ok "$name"
	else
		not_ok "$name" "status $status, stderr: $err"
	fi
}
self=$(realpath "$0") # any file does where the kernel is not looked at
refuses 'no command' 'no command' --kernel "$self"
refuses 'unknown option' 'unknown option --frob' --frob -- true
refuses 'option without its value' '--mem needs a value' --mem
refuses 'bad --mem' "'1T' is not a size" --mem 1T -- true
refuses 'bad --swap' "'-5' is not a size" --swap -5 -- true
refuses 'bad --smp' 'not a number from 1 to 8' --smp 0 -- true
refuses 'bad --numa' 'not a number from 1 to 8' --numa two -- true
refuses 'bad --timeout' 'not a number of seconds' --timeout soon -- true
refuses 'bad --accel' 'not auto, kvm or tcg' --accel hvf -- true
refuses 'bad --env' 'not NAME=VALUE' --env '1x=2' -- true
refuses 'bad --share' "no folder '/nonexistent'" --share /nonexistent -- true
refuses 'too many --share' 'at most 6' --share / --share / --share / --share / --share / --share / --share / -- true
refuses '--icount with --smp 2' 'one processor only' --icount --smp 2 -- true
refuses 'missing kernel file' "no kernel file '/nonexistent/bzImage'" --kernel /nonexistent/bzImage -- true
RELOCATE_BUILD=$work/build refuses 'kernel not built' "make kernel-debug" --kernel debug -- true
QEMU=no-such-qemu refuses 'no QEMU names the package' 'install the Debian package qemu-system-x86' --kernel "$self" -- true
capture "$runner" --help
tap_is "$status:${out:0:6}" 0:Usage: '--help'

# From here on a kernel and QEMU are needed.
reason=''
case $kernel in
*/*) [[ -f $kernel ]] || reason="no $kernel" ;;
*) [[ -f $build/kernel/$kernel/bzImage ]] || reason="no $build/kernel/$kernel/bzImage" ;;
esac
command -v "${QEMU:-qemu-system-x86_64}" >/dev/null || reason='no QEMU'
if [[ -n $reason ]]; then
	for ((i = tap_count; i < tap_planned; i++)); do skip 'with a guest' "$reason"; done
	tap_end
fi

capture vm --dry-run --smp 3 --mem 700M --numa 2 --append 'a b' --accel tcg -- true
tap_like "$status $out" '^0 [^ ]*qemu[^ ]* .*-smp 3 -m 700M .*tcg.*numa=fake=2.*a\\ b' '--dry-run prints the command'
tap_is "$(find "$TMPDIR" -mindepth 1)" '' '--dry-run leaves nothing behind'
capture vm --dry-run --icount -- true
tap_like "$out" '-smp 1 .*-icount shift=0\\,sleep=off' '--icount is one processor that counts'

# A kernel that is no kernel: QEMU's own words come through.
capture "$runner" --kernel "$self" --accel tcg --timeout "$soon" -- true
tap_like "$status $err" '^(120|121|123) ' 'a file that is no kernel'
rm -f -- "$TMPDIR"/run-kernel-console-*

# The first run on a machine finds out about KVM, and says so.
capture "$runner" --kernel "$kernel" -- true

# ---- output, arguments, environment, folders -----------------------------------

odd="$work/odd, dir 'x' \"y\" \$z"
mkdir "$odd" "$odd/sub"
printf 'from the host\n' >"$odd/in"
cat >"$odd/probe" <<'PROBE'
#!/bin/bash
printf '%s\n' "$@" >"$SHARE/args"
pwd >"$SHARE/cwd"
printf '%s' "$ODD" >"$SHARE/env"
nproc >"$SHARE/nproc"
cat /sys/devices/system/node/online >"$SHARE/nodes"
awk '/^MemTotal/ { print $2 }' /proc/meminfo >"$SHARE/mem"
awk '/zram/ { print $3 }' /proc/swaps >"$SHARE/swap"
{ touch /usr/x || touch "$HOME/x" || touch "$PWD/x"; } 2>/dev/null && echo writable || echo read-only
echo x >/tmp/x && echo x >/dev/shm/x && echo x >/run/x && ls -d /sys/kernel/debug/* >/dev/null && echo tmp
cat in sub/../in
id -u
awk '{ print $1 }' /proc/uptime >"$SHARE/uptime"
exit 7
PROBE
chmod +x "$odd/probe"
mkdir "$work/share, 1" "$work/s2"
args=('a b' "it's" 'a "quote"' $'line\nbreak' '' '$HOME `x` \n' 'é*?' '--timeout')
value=$'spaces  and\n"quotes" $x =y'
began=$EPOCHREALTIME
capture env -C "$odd" RELOCATE_BUILD="$build" "$runner" --kernel "$kernel" --smp 3 --mem 768M \
	--numa 2 --swap 128M --share "$work/share, 1" --share "$work/s2" \
	--env "SHARE=$work/share, 1" --env "ODD=$value" -- ./probe "${args[@]}"
took=$(awk -v a="$began" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.1f", b - a }')
got() { cat "$work/share, 1/$1" 2>/dev/null || echo missing; }
tap_is "$status" 7 'exit status passes through'
tap_is "$err" '' 'nothing on stderr when all is well'
tap_is "$out" $'read-only\ntmp\nfrom the host\nfrom the host\n0\n' 'root read-only, /tmp and others writable, cwd visible, root user'
tap_is "$(got args)" "$(printf '%s\n' "${args[@]}")" 'arguments with special characters'
tap_is "$(got cwd)" "$odd" 'working directory with special characters'
tap_is "$(got env)" "$value" 'environment with special characters'
tap_is "$(got nproc)" 3 '--smp 3'
tap_is "$(got nodes)" 0-1 '--numa 2'
mem=$(got mem)
tap_true '--mem 768M' between "$mem" 650000 786432
swap=$(got swap)
tap_true '--swap 128M' between "$swap" 130000 131072
tap_is "$(cd "$odd" && find . | sort)" "$(printf '%s\n' . ./in ./probe ./sub)" 'nothing was written outside the shares'
diag "whole run $took s, the command ended $(got uptime) s after the start of the kernel"

# Output: separate, byte for byte, also when much and when a process lingers.
head -c 3000000 /dev/urandom >"$work/s2/random"
capture env RELOCATE_BUILD="$build" "$runner" --kernel "$kernel" --share "$work/s2" \
	--env "S=$work/s2" -- bash -c \
	'cat "$S/random" | tee "$S/copy"; echo oops >&2; printf no-newline >&2; (sleep 1000 &); printf "\n\n"'
tap_is "$status $err" $'0 oops\nno-newline' 'stderr is separate; a process left behind does not block'
# capture drops NUL bytes, so compare a second copy, taken as a file.
vm --show "$work/s2" -- cat "$work/s2/random" >"$work/random" || :
tap_true 'stdout is byte-exact' cmp -s "$work/random" "$work/s2/random"
tap_true 'a share takes large files' cmp -s "$work/s2/copy" "$work/s2/random"

# Folders in folders: the inner one is there, whatever the order.
mkdir -p "$work/outer/inner"
echo seen >"$work/outer/file"
# shellcheck disable=SC2016 # the guest's shell expands it
tap_is "$(vm --share "$work/outer/inner" --show "$work/outer" -- \
	sh -c 'cat "$1/file" && echo made >"$1/inner/file"' - "$work/outer" && cat "$work/outer/inner/file")" \
	$'seen\nmade' 'a share in a folder that is shown'

# ---- how a run can end --------------------------------------------------------

capture vm -- bash -c 'kill -TERM $$'
tap_is "$status" 143 'killed by a signal is 128 + its number'
capture vm -- no-such-command
tap_is "$status" 127 'unknown command is 127'
capture vm -- bash -c 'exit 122'
tap_like "$status $err" '^119 .*status 122' 'a status of our own range becomes 119'
capture vm -- bash -c 'echo before; sleep 1; echo c >/proc/sysrq-trigger; sleep 50'
tap_like "$status $out $err" $'^122 before\n.*panicked.*sysrq triggered crash.*log is in' 'panic is 122; output before it is kept'
log=$(sed -n 's/.*log is in //p' <<<"$err")
tap_true 'the log that it names exists' grep -q 'Linux version' "$log"
capture vm -- bash -c 'echo b >/proc/sysrq-trigger; sleep 50'
tap_is "$status" 123 'reset without a result is 123'
capture vm --log "$work/log" -- bash -c 'echo "WARNING: made up" >/dev/kmsg'
tap_like "$status $err" '^124 .*WARNING: made up' 'a WARNING in the kernel log is 124'
tap_true '--log keeps the console log' grep -q 'WARNING: made up' "$work/log"
capture vm -- bash -c 'echo "WARNING: made up" >/dev/kmsg; exit 5'
tap_like "$status $err" '^5 .*WARNING: made up' 'a failing command keeps its status; the WARNING is shown'
race() {
	capture vm "$@" -- bash -c '
		for line in "BUG: KCSAN: data-race in inner / rmap_inner" "write to 0x1 of 8 bytes by task 1 on cpu 0:" \
			" inner.part.0+0x1/0x2" " our_call+0x1/0x2" "read to 0x1 of 8 bytes by task 2 on cpu 1:" \
			" rmap_inner+0x1/0x2" "Reported by Kernel Concurrency Sanitizer on:"; do
			echo "$line" >/dev/kmsg
		done'
}
race
tap_like "$status $err" '^124 .*KCSAN' 'a report of a data race is 124'
race --races 'none|our_.*|no_such'
tap_like "$status $err" '^124 .*KCSAN' 'with --races if a function in its stacks matches'
race --races 'none|our|_call'
tap_is "$status $err" '0 ' 'otherwise not'
# The command would take longer than the limit of this item.
capture vm --fail-fast --timeout 0 -- bash -c 'sleep 3; echo "WARNING: made up" >/dev/kmsg; sleep 1000000'
tap_like "$status $err" '^124 .*was stopped.*WARNING: made up' '--fail-fast stops at a complaint'
capture vm --fail-fast -- true
tap_is "$status $err" '0 ' 'and not without one'
# What boots prints, too; a machine where nothing came for so long would fail here.
capture vm --timeout "$soon" -- bash -c 'echo early; sleep 1000000'
tap_like "$status $out $err" $'^121 early\n .*time-out: nothing printed for '"$soon s" 'silence is 121'
# Of what hangs the kernel may complain for ever.
RELOCATE_LIMIT=$soon capture vm -- bash -c 'while sleep 1; do echo still >/dev/kmsg; done'
tap_like "$status $err" "^121 .*nothing printed for $((soon * 5 / 4)) s.*still" 'and the log is none, once the command runs'
# A line sixteen times in that, also on stderr, for longer than that
RELOCATE_LIMIT=$((soon * 7)) capture vm --timeout "$soon" -- bash -c 'for i in $(seq 18); do sleep 1.25; echo "$i" >&$((1 + i % 2)); done; echo "$RELOCATE_LIMIT"'
tap_is "$status $out" "0 $(seq 2 2 18)"$'\n140\n' 'a command that prints may take longer, and knows the limit'

# Interrupted: QEMU and the private folder go.
set -m
vm -- sleep 1000 >/dev/null 2>&1 &
pid=$!
set +m
folder=''
# shellcheck disable=SC2317 # by wait_until
boots() {
	folder=$(find "$TMPDIR" -maxdepth 1 -type d -name 'run-kernel.*')
	[[ -n $folder && -s $folder/console ]]
}
wait_until boots || :
kill -INT -- "-$pid"
status=0
wait "$pid" 2>/dev/null || status=$?
running() { grep -lzF -- "$folder" /proc/[0-9]*/cmdline 2>/dev/null || :; }
if [[ $status -eq 130 && -n $folder && ! -e $folder && -z $(running) ]]; then
	ok 'interrupted: ends at once, no QEMU and no folder left'
else
	not_ok 'interrupted: ends at once, no QEMU and no folder left' "status $status, $folder, $(running)"
fi
rm -f -- "$TMPDIR"/run-kernel-console-*
tap_is "$(find "$TMPDIR" -mindepth 1 -maxdepth 1)" '' 'no run left anything in the temporary folder'

# ---- --icount -----------------------------------------------------------------------

# The same work takes the same guest time in two boots, to 1 %.
clock='perl -MTime::HiRes=clock_gettime,CLOCK_MONOTONIC -e '\''
	sub work { my $x = 1; $x = ($x * 48271) % 2147483647 for 1 .. 200000; }
	work; my $t = clock_gettime(CLOCK_MONOTONIC); work;
	printf "%d\n", (clock_gettime(CLOCK_MONOTONIC) - $t) * 1e6;'\'
a=$(vm --icount -- sh -c "$clock") || :
b=$(vm --icount -- sh -c "$clock") || :
diag "instructions in thousands: $a and $b"
tap_true '--icount repeats to 1 %' awk -v a="${a:-0}" -v b="${b:-0}" \
	'BEGIN { d = a - b; if (d < 0) d = -d; exit !(a > 10000 && d * 100 <= a) }'

tap_end
