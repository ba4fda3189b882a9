# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# TAP output for test scripts.  Source it, call `plan N` first (or let
# `tap_end` print the plan), then one of the functions below per test, and
# `tap_end` last: it exits 1 if a test failed or the count is wrong.

tap_count=0
tap_failed=0
tap_planned=''
# timeout(1) takes 0 for no limit, too.
RELOCATE_LIMIT=${RELOCATE_LIMIT:-0}

plan() {
	tap_planned=$1
	printf '1..%d\n' "$1"
}

# Print text as TAP diagnostics.
diag() {
	local text=$*
	printf '# %s\n' "${text//$'\n'/$'\n# '}"
}

ok() {
	tap_count=$((tap_count + 1))
	printf 'ok %d - %s\n' "$tap_count" "$1"
}

# not_ok NAME [DETAIL]
not_ok() {
	tap_count=$((tap_count + 1))
	tap_failed=$((tap_failed + 1))
	printf 'not ok %d - %s\n' "$tap_count" "$1"
	[[ $# -lt 2 ]] || diag "$2"
}

# skip NAME REASON
skip() {
	tap_count=$((tap_count + 1))
	printf 'ok %d - %s # SKIP %s\n' "$tap_count" "$1" "$2"
}

# tap_skip_all REASON: end the script, before its first test
tap_skip_all() {
	echo "1..0 # SKIP $1"
	exit 0
}

# tap_need TOOL:PACKAGE...: skip the whole script if a tool is not there
tap_need() {
	local word
	for word; do
		command -v "${word%:*}" >/dev/null ||
			tap_skip_all "no ${word%:*} (Debian package ${word#*:})"
	done
}

# tap_is GOT WANTED NAME
tap_is() {
	if [[ $1 == "$2" ]]; then
		ok "$3"
	else
		not_ok "$3" "got:    $(printf %q "$1")"$'\n'"wanted: $(printf %q "$2")"
	fi
}

# tap_like GOT EXTENDED-REGULAR-EXPRESSION NAME
tap_like() {
	if [[ $1 =~ $2 ]]; then
		ok "$3"
	else
		not_ok "$3" "got:     $(printf %q "$1")"$'\n'"pattern: $2"
	fi
}

# tap_run NAME COMMAND...: ok if the command succeeds; its output if not.
tap_run() {
	local name=$1 out status=0
	shift
	out=$("$@" 2>&1 </dev/null) || status=$?
	if ((status == 0)); then
		ok "$name"
	else
		not_ok "$name" "status $status"$'\n'"$out"
	fi
}

# tap_show NAME COMMAND...: the same, with the output of what takes long as it comes.
tap_show() {
	local name=$1
	shift
	if "$@" 2>&1 </dev/null | sed -u 's/^/# /'; then ok "$name"; else not_ok "$name"; fi
}

# tap_true NAME CONDITION...: ok if the condition, a command, holds.
tap_true() {
	local name=$1
	shift
	if "$@"; then ok "$name"; else not_ok "$name" "false: $*"; fi
}

# capture COMMAND...: run it; its status, stdout and stderr are then in
# $status, $out and $err.  Final line breaks are kept.
# shellcheck disable=SC2034 # for the caller
capture() {
	local dir
	dir=$(mktemp -d)
	status=0
	"$@" >"$dir/out" 2>"$dir/err" </dev/null || status=$?
	out=$(tr -d '\0' <"$dir/out" && printf .)
	out=${out%.}
	err=$(tr -d '\0' <"$dir/err" && printf .)
	err=${err%.}
	rm -rf -- "$dir"
}

# wait_until COMMAND...: until it succeeds, but no longer than half of a test's limit, which
# tests/limits.sh gives (none if run by hand); 1 if it never did.
wait_until() {
	local i
	for ((i = 0; RELOCATE_LIMIT == 0 || i < RELOCATE_LIMIT * 5; i++)); do
		! "$@" || return 0
		sleep 0.1
	done
	return 1
}

tap_end() {
	if [[ -z $tap_planned ]]; then
		printf '1..%d\n' "$tap_count"
	elif ((tap_count != tap_planned)); then
		diag "planned $tap_planned tests, ran $tap_count"
		exit 1
	fi
	((tap_failed == 0)) || exit 1
	exit 0
}
