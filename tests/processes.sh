# shellcheck shell=bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# For test scripts that look at processes: the folder $work, and processes with pipes to
# and from them.  Both go when the script ends.

work=$(mktemp -d)
chmod 755 "$work"	# for other users
started=()

# end_process PID: one that bash has not waited for.  Afterwards the number may be that of
# another process.
end_process() {
	if jobs -rp | grep -qx "$1"; then
		kill "$1" 2>/dev/null || :
	fi
	wait "$1" 2>/dev/null || :
}

# shellcheck disable=SC2317 # by the trap
clean_up() {
	local pid
	for pid in ${started[@]+"${started[@]}"}; do end_process "$pid"; done
	rm -rf -- "$work"
}
trap clean_up EXIT

# start COMMAND...: its number is then in $pid, descriptors to and from it in $to and $from.
# Fails if its first line is not "ready".
start() {
	local line
	rm -f "$work/in" "$work/out"
	mkfifo "$work/in" "$work/out"
	"$@" <"$work/in" >"$work/out" &
	pid=$!
	started+=("$pid")
	exec {to}>"$work/in" {from}<"$work/out"
	read -r line <&"$from" && [[ $line == ready ]]
}

# finish PID TO FROM: end one of them, if it has not ended yet.
finish() {
	local to=$2 from=$3 one left=()
	end_process "$1"
	exec {to}>&- {from}<&-
	for one in "${started[@]}"; do
		[[ $one == "$1" ]] || left+=("$one")
	done
	started=(${left[@]+"${left[@]}"})
}
