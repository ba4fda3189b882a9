#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# run-tests: counts, and everything that must not pass for success.

set -euo pipefail
here=$(cd -- "$(dirname -- "$0")" && pwd -P)
# shellcheck source-path=SCRIPTDIR source=../tap.sh
. "$here/../tap.sh"

work=$(mktemp -d)
trap 'rm -rf -- "$work"' EXIT
export TMPDIR=$work

# item NAME STATUS LAST-LINE OUTPUT-PATTERN COMMAND: one item through run-tests
item() {
	capture "$here/../run-tests" -o "$work/log" "x=$5"
	local last=${out%$'\n'}
	last=${last##*$'\n'}
	if [[ $status -eq $2 && $last == "$3" && $out =~ $4 ]]; then
		ok "$1"
	else
		not_ok "$1" "status $status, output: $out$err"
	fi
}

plan 35

item 'passed tests' 0 '2 passed, 0 failed, 0 skipped' '^ok +x ' \
	'echo 1..2; echo ok 1 - a; echo ok 2 - b'
item 'plan at the end' 0 '1 passed, 0 failed, 0 skipped' '' 'echo ok 1; echo 1..1'
item 'a failed test shows the output' 1 '1 passed, 1 failed, 0 skipped' $'\n       . # why' \
	'echo 1..2; echo ok 1; echo not ok 2 - b; echo "# why"; exit 1'
item 'not ok counts although the status is 0' 1 '0 passed, 1 failed, 0 skipped' '' \
	'echo 1..1; echo not ok 1'
item 'skipped tests are counted apart and shown' 0 '1 passed, 0 failed, 1 skipped' 'no swap here' \
	'echo 1..2; echo ok 1; echo "ok 2 - s # SKIP no swap here"'
item 'KTAP as kernel tests print it' 0 '1 passed, 0 failed, 2 skipped' '' \
	'printf "KTAP version 1\n1..3\nok 1 mm.a\nok 2 mm.b # SKIP\nok 3 c # skip x\n# Totals: pass:1 fail:0 skip:2\n"'
item 'subtests count once' 0 '1 passed, 0 failed, 0 skipped' '' \
	'printf "1..1\n    1..2\n    ok 1 a\n    not ok 2 b\nok 1 both\n"'
item 'everything skipped at once' 0 '0 passed, 0 failed, 1 skipped' 'nothing here' \
	'echo "1..0 # SKIP nothing here"'
item 'a failed TODO test is no failure' 0 '0 passed, 0 failed, 1 skipped' 'TODO later' \
	'echo 1..1; echo "not ok 1 - b # TODO later"'
item 'SKIP excuses no failure' 1 '0 passed, 1 failed, 0 skipped' '' \
	'echo 1..1; echo "not ok 1 - b # SKIP really"'
capture "$here/../run-tests" -o "$work/log" 'x!=echo 1..2; echo ok 1; echo "ok 2 - s # SKIP no swap here"'
tap_like "$status $out" $'^1 FAILED x .*x: 1 skipped, and none may be\n.*\n1 passed, 1 failed, 1 skipped\n' 'a test that must not skip'
capture "$here/../run-tests" -o "$work/log" 'x!=echo "1..0 # SKIP nothing here"'
tap_like "$status $out" $'\n0 passed, 1 failed, 1 skipped\n$' 'nor an item as a whole'
capture "$here/../run-tests" -o "$work/log" 'x!=echo 1..1; echo ok 1'
tap_like "$status $out" $'^0 ok .*\n1 passed, 0 failed, 0 skipped\n$' 'and one that does not passes'
item 'exit status without a failed test' 1 '1 passed, 1 failed, 0 skipped' 'exit status 3 without' \
	'echo 1..1; echo ok 1; exit 3'
item 'crash' 1 '1 passed, 1 failed, 0 skipped' 'exit status 139' \
	'echo 1..1; echo ok 1; kill -SEGV $$'
item 'missing plan' 1 '1 passed, 1 failed, 0 skipped' 'no plan' 'echo ok 1'
item 'too few tests' 1 '1 passed, 1 failed, 0 skipped' 'planned 2 tests, ran 1' 'echo 1..2; echo ok 1'
item 'too many tests' 1 '2 passed, 1 failed, 0 skipped' 'planned 1 tests, ran 2' 'echo 1..1; echo ok 1; echo ok 2'
item 'no output at all' 1 '0 passed, 1 failed, 0 skipped' 'no plan' 'true'
item 'bail out' 1 '1 passed, 1 failed, 0 skipped' 'Bail out! stop' 'echo 1..1; echo ok 1; echo "Bail out! stop"'
item 'empty plan' 1 '0 passed, 0 failed, 0 skipped' 'no test ran' 'echo 1..0'

# So many seconds that a test of a limit need not wait for long
soon=1
# ---- limits -------------------------------------------------------------------

capture "$here/../run-tests" -t "$soon" 'hangs=echo 1..1; sleep 61.5; echo ok 1' 'next=echo 1..1; echo ok 1'
if [[ $status -eq 1 && $out == *'hangs: timed out: nothing printed for 1 s;'* &&
	$out == *$'\n1 passed, 1 failed, 0 skipped\n' ]]; then
	ok 'silence fails one item; the next one runs'
else
	not_ok 'silence fails one item; the next one runs' "$status $out"
fi
tap_is "$(pgrep -cfx 'sleep 61.5')" 0 'and what it started is gone'

# Longer than it may be silent, with a line, or a part of one, six times in that
# shellcheck disable=SC2016 # the item expands it
item='for i in $(seq 8); do echo "# $i"; sleep 1; done
	for i in $(seq 8); do printf .; sleep 1; done; echo; echo 1..1; echo ok 1'
capture "$here/../run-tests" -o "$work/log" -t "$((4 * soon))" "slow=$item"
tap_like "$status $out" $'^0 ok .*\n1 passed, 0 failed, 0 skipped\n$' 'an item that prints may take longer'
capture "$here/../run-tests" -o "$work/log" -w "$((2 * soon))" 'endless=while echo; do sleep 0.1; done'
tap_like "$status $out" '^1 .*endless: timed out after 2 s;.*1 failed' 'but not longer than an item may'

# shellcheck disable=SC2016 # the item expands it
item='echo "# $RELOCATE_LIMIT"; echo 1..1; sleep 0.3; echo ok 1 - that one'
"$here/../run-tests" -j 3 -o "$work/log" "x=$item" "guest-x-debug=$item" >/dev/null
for name in x guest-x-debug; do
	# shellcheck source-path=SCRIPTDIR source=../limits.sh
	read -r idle idle_whole < <(. "$here/../limits.sh" && idle_of "$name")
	# seconds, CPU for the whole only, idle, limit, item: test
	tap_is "$(cat "$work/log/$name.log"; awk -v n="$name" '$NF == n { print $3, $4 }
		$4 == n ":" && / that one$/ { print $2, $3, ($1 >= 0.3) }' "$work/log/times.txt")" \
		"# $((30 * idle))"$'\n1..1\nok 1 - that one\n'"$idle_whole $((30 * idle_whole))"$'\n'"$idle $((30 * idle)) 1" \
		"$name: limits are those of tests/limits.sh, grow with -j, and are listed with the times"
done

capture "$here/../run-tests" -j 2 -o "$work/log" -t "$soon" a='sleep 61.5' b='sleep 61.5' c='sleep 61.5' d='sleep 61.5' \
	"e=touch '$work/e'" "f=touch '$work/f'"
tap_like "$status $(cd "$work" && echo [ef])$out" '^1 \[ef\].*FAILED.*not started, as [34] items took too long.*
0 passed, 6 failed, 0 skipped
$' 'after three that hang no more are started'

capture "$here/../run-tests" -o "$work/new/logs" 'a=echo 1..1; echo ok 1 - first' 'b=echo 1..1; echo ok 1 - second'
tap_is "$status $(cat "$work/new/logs/a.log" "$work/new/logs/b.log")" \
	$'0 1..1\nok 1 - first\n1..1\nok 1 - second' 'a log per item'

# One after another they would wait for ever.
mkfifo "$work/fifo"
capture "$here/../run-tests" -o "$work/log" -j 2 "a=echo 1..1; echo x >'$work/fifo'; echo ok 1" \
	"b=echo 1..1; read -r x <'$work/fifo'; sleep 3; echo not ok 1" 'c=echo 1..1; echo ok 1'
if [[ $status -eq 1 && $out == 'ok     a '*$'\nok     c '*$'\nFAILED b '*$'\n2 passed, 1 failed, 0 skipped\n' ]]; then
	ok 'two at once, reported as they end'
else
	not_ok 'two at once, reported as they end' "$status $out"
fi

"$here/../run-tests" -j 2 -o "$work/log" "a=sleep 61.25" "b=sleep 61.25" "c=touch '$work/c'" >/dev/null 2>&1 &
run_tests=$!
# shellcheck disable=SC2317 # by wait_until
both_run() { both=$(pgrep -cfx 'sleep 61.25') || :; [[ $both -eq 2 ]]; }
wait_until both_run || :
kill -TERM "$run_tests"
status=0
wait "$run_tests" || status=$?
tap_is "$both $status $(pgrep -cfx 'sleep 61.25') $(test -e "$work/c" && echo started)" '2 143 0 ' \
	'a signal ends all that run, and no other starts'

bad=0
for args in '-j' '-j 0 a=true' '-j many a=true' '' '-x a=true' '-t soon a=true' '-w 0 a=true' 'true' 'a=true a=true' '-o'; do
	# shellcheck disable=SC2086 # several words
	capture "$here/../run-tests" $args
	[[ $status -eq 2 && $err == run-tests:* ]] || { bad=1; diag "$args: $status $err"; }
done
tap_is "$bad" 0 'wrong usage is status 2 with a reason'

capture "$here/../run-all" --help
tap_like "$status $out" '^0 Usage: tests/run-all .* -j N ' 'run-all --help'
capture "$here/../run-all" --nonsense
tap_is "$status $out$err" $'2 run-all: unknown option --nonsense (see --help)\n' 'and what is no option is refused'

rm -rf "$work/log" "$work/new"
"$here/../run-tests" 'a=echo 1..1; echo ok 1' >/dev/null
tap_is "$(find "$work" -name 'run-tests.*' -newer "$0" | wc -l)" 1 \
	'without -o only the log of the failed run is left'

tap_end
