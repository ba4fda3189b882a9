#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# demo/run-demo: its verdict and its pictures, with made-up results in place of the guests.

set -euo pipefail
here=$(cd -- "$(dirname -- "$0")" && pwd -P)
# shellcheck source-path=SCRIPTDIR source=../tap.sh
. "$here/../tap.sh"

work=$(mktemp -d)
trap 'rm -rf -- "$work"' EXIT
top=$(cd -- "$here/../.." && pwd -P)
demo=$top/demo/run-demo
export RELOCATE_BUILD=$work/build RUN_KERNEL=$work/run-kernel

if (($(awk '/^MemAvailable:/ { print int($2 / 1024) }' /proc/meminfo) < 4096)); then
	plan 1
	skip 'verdict of the demonstration' 'it wants 4 GiB of free memory'
	tap_end
fi

mkdir -p "$work/build/kernel/pristine" "$work/build/kernel/patched" "$work/build/demo/glibc" "$work/build/compat"
touch "$work/build/kernel/pristine/bzImage" "$work/build/kernel/patched/bzImage"
for program in demo/chunks demo/relocate-run compat/vmafrag; do
	printf '#!/bin/sh\n' >"$work/build/$program"
	chmod +x "$work/build/$program"
done

# In place of run-kernel: a result by kernel and glibc, changed by $CHANGE,
# which is sed code for the patched kernel with ours, $CHANGE_STOCK for the
# unpatched one with the distribution's, $CHANGE_MERGED for the patched one with that,
# $CHANGE_COPIED for the unpatched one with ours.  A picture says which of them it is; with
# $NO_PICTURE there is none.  With $HANG it does not end by itself.
cat >"$RUN_KERNEL" <<'FAKE'
#!/bin/bash
case "$*" in
*patched*relocate-run*) which=rescued ;;
*pristine*relocate-run*) which=stock-ours ;;
*pristine*) which=stock ;;
*) which=merged ;;
esac
m=65528 t=0/64 p=fails e='' s=0
[[ $which != rescued ]] || { m=14 t=64/64 p=works; e=$CHANGE; s=${STATUS:-0}; }
[[ $which != stock ]] || e=$CHANGE_STOCK
[[ $which != stock-ours ]] || { m=26 t=64/64 p=works; e=$CHANGE_COPIED; }
[[ $which != merged ]] || { m=7846 t=64/64 p=works; e=$CHANGE_MERGED; }
if [[ ${HANG-} ]]; then
	trap 'echo ended >"$HANG"; exit 143' TERM
	echo "$BASHPID" >"$HANG"
	while :; do sleep 0.1; done
fi
for argument; do
	[[ $argument != */*.svg || ${NO_PICTURE-} ]] || echo "<svg> $which" >"$argument"
done
echo some other line
echo "chunks: kernel=7 glibc=2 count=110000 size=6000 grown=22000 verified=yes mappings_before=20 mappings=$m max_map_count=65530 threads=$t threads_errno=x mprotect=$p mprotect_errno=x metadata_before=4096 metadata=81920 fill_ms=10 grow_ms=2340" | sed "$e"
exit "$s"
FAKE
chmod +x "$RUN_KERNEL"

# verdict NAME STATUS PATTERN [CHANGE [CHANGE_STOCK [STATUS [CHANGE_MERGED [CHANGE_COPIED]]]]]
verdict() {
	CHANGE=${4:-} CHANGE_STOCK=${5:-} STATUS=${6:-0} CHANGE_MERGED=${7:-} CHANGE_COPIED=${8:-} capture "$demo"
	if [[ $status -eq $2 && $out$err =~ $3 ]]; then ok "$1"; else not_ok "$1" "$status $out$err"; fi
}

plan 36

verdict 'good results' 0 'Rescued: '
tap_like "$out" $'\npatched +2 \(ours\) +14 +64/64 +works +80 +2\.3\n' 'the table has the figures'
tap_is "$(grep -c '^\[./4\] .* s$' <<<"$out")" 4 'each step and its time is shown'
tap_like "$out" $'\nunpatched +2 \(ours\) +26 +64/64 +works ' 'and those of our glibc on the unpatched kernel'
for name in before after; do
	tap_true "the picture $name is named" grep -qFx "        $work/build/demo-$name.svg" <<<"$out"
done
tap_is "$(<"$work/build/demo-before.svg") $(<"$work/build/demo-after.svg")" '<svg> stock <svg> rescued' \
	'they are of the first run and of the last'
tap_is "$(cd "$work/build" && echo demo-*)" 'demo-after.svg demo-before.svg' 'and nothing else is left'
NO_PICTURE=1 verdict 'no picture' 2 'unpatched kernel, .*: no picture'
tap_is "$(cd "$work/build" && echo demo-*)" 'demo-*' 'and none that is old'
verdict 'mappings not reduced' 1 'FAILED: patched kernel, our glibc: 100 mappings, not under 100' \
	's/mappings=14/mappings=100/'
verdict 'no mappings counted' 1 'FAILED: patched kernel, our glibc: -1 mappings' 's/mappings=14/mappings=-1/'
verdict 'threads fail' 1 'FAILED: patched kernel, our glibc: started 63/64 threads' 's,threads=64/64,threads=63/64,'
verdict 'mprotect fails' 1 'FAILED: patched kernel, our glibc: mprotect fails' 's/mprotect=works/mprotect=fails/'
verdict 'mappings not reduced by copying' 1 'FAILED: unpatched kernel, our glibc: 65527 mappings' \
	'' '' 0 '' 's/mappings=26/mappings=65527/'
verdict 'threads fail then' 1 'FAILED: unpatched kernel, our glibc: started 0/64 threads' \
	'' '' 0 '' 's,threads=64/64,threads=0/64,'
verdict 'mprotect fails then' 1 'FAILED: unpatched kernel, our glibc: mprotect fails' \
	'' '' 0 '' 's/mprotect=works/mprotect=fails/'
verdict 'threads fail with the patched kernel alone' 1 "FAILED: threads or mprotect fail on the patched kernel with the dist" \
	'' '' 0 's,threads=64/64,threads=63/64,'
verdict 'and mprotect' 1 "FAILED: threads or mprotect fail on the patched kernel with the dist" \
	'' '' 0 's/mprotect=works/mprotect=fails/'
verdict 'wrong content, patched' 1 'FAILED: content was wrong: patched kernel, our glibc' \
	's/verified=yes/verified=no/' '' 1
verdict 'wrong content, unpatched' 1 'FAILED: content was wrong: unpatched kernel, the dist' \
	'' 's/verified=yes/verified=no/'
verdict 'unpatched kernel with few mappings' 1 'does not show the problem: 65000 mappings' '' 's/mappings=65528/mappings=65000/'
verdict 'unpatched kernel where all works' 1 'does not show the problem: threads and mprotect work' \
	'' 's,threads=0/64,threads=64/64,; s/mprotect=fails/mprotect=works/'
verdict 'mprotect alone failing shows the problem' 0 'Rescued' '' 's,threads=0/64,threads=64/64,'
verdict 'a kernel complaint is no success' 2 'run ended with status 124' '' '' 124
verdict 'no result line' 2 'no result line' '/^chunks/d'

# ---- one that is ended -----------------------------------------------------------

HANG=$work/guest "$demo" >/dev/null 2>&1 &
pid=$!
wait_until [ -s "$work/guest" ] || diag 'no guest'
kill -TERM "$pid"
status=0
wait "$pid" || status=$?
tap_is "$status" 143 'a signal ends the demonstration'
tap_true 'and its guest' wait_until grep -q ended "$work/guest"

# ---- a guest's part --------------------------------------------------------------

cat >"$work/build/demo/chunks" <<'FAKE'
#!/bin/bash
echo "chunks: $*"
cat >/dev/null
exit "${STATUS:-0}"
FAKE
cat >"$work/build/compat/vmafrag" <<'FAKE'
#!/bin/bash
[[ $1 == --svg && $(tr '\0' ' ' <"/proc/$3/cmdline") == */chunks\ -w* ]] && echo drawn >"$2"
FAKE
draw() { capture "$top/demo/draw" "$work/build/compat/vmafrag" "$work/$1" "$work/build/demo/chunks" "${@:2}"; }
STATUS=1 draw picture -w
tap_is "$status $out$(<"$work/picture")" $'1 chunks: -w\ndrawn' 'the program is drawn before it ends'
draw missing/picture -w
tap_like "$status $err" '^2 .*vmafrag could not draw the program' 'a picture that cannot be'

# ---- what is built ---------------------------------------------------------------

# The scripts that build say when they begin and end; patch-tree waits until both run.  The
# one called $FAIL fails, and the one called $HANG stays.
tree=$work/tree
mkdir -p "$tree/demo" "$tree/scripts"
cp "$top/demo/build" "$tree/demo"
cp "$top/scripts/die.sh" "$tree/scripts"
cat >"$tree/scripts/build-kernel" <<'FAKE'
#!/bin/bash
me="${0##*/} $*"
trap 'echo "ended $me" >>"$STEPS"; exit 143' TERM
echo "begin $me" >>"$STEPS"
if [[ $me == "${FAIL-}" ]]; then
	while [[ ${HANG-} ]] && ! grep -q "begin $HANG" "$STEPS"; do sleep 0.1; done
	exit 1
fi
while [[ $me == "${HANG-}" ]] || { [[ $me == patch-tree* ]] && (($(wc -l <"$STEPS") < 2)); }; do sleep 0.1; done
FAKE
chmod +x "$tree/scripts/build-kernel"
cp "$tree/scripts/build-kernel" "$tree/scripts/build-glibc"
cp "$tree/scripts/build-kernel" "$tree/scripts/patch-tree"
export STEPS=$work/steps
build() { : >"$STEPS"; capture "$tree/demo/build"; }
build
tap_is "$status $(head -n 2 "$STEPS" | sort; tail -n +3 "$STEPS" | sort)" "0 begin patch-tree make glibc
begin patch-tree make kernel
begin build-glibc core $work/build/demo/glibc
begin build-kernel headers
begin build-kernel patched
begin build-kernel pristine" 'both sources at once, then the kernels and glibc'
FAIL='patch-tree make glibc' build
tap_is "$status $(grep -c 'build-glibc\|patched' "$STEPS")" '1 0' 'nothing is built if a source is missing'
FAIL='build-kernel patched' HANG="build-glibc core $work/build/demo/glibc" build
tap_true 'what fails ends the other' wait_until grep -q 'ended build-glibc core' "$STEPS"
: >"$STEPS"
HANG='build-kernel patched' "$tree/demo/build" >/dev/null 2>&1 &
pid=$!
wait_until grep -q 'begin build-kernel patched' "$STEPS" || diag 'no build'
kill -TERM "$pid" || :
wait "$pid" || :
tap_true 'a signal ends the build' wait_until grep -q 'ended build-kernel patched' "$STEPS"

capture "$demo" --frob
tap_is "$status" 2 'unknown argument'
rm "$work/build/kernel/patched/bzImage"
verdict 'a missing kernel says what to run' 2 "make kernel-patched"

tap_end
