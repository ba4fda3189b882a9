# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# What run-demo and try share.

# Memory that this process and its children may still take, in MiB.
free_mib() {
	local free limit left group=/sys/fs/cgroup
	free=$(awk '/^MemAvailable:/ { print int($2 / 1024) }' /proc/meminfo)
	if [[ -r $group/memory.max && -r $group/memory.current ]]; then
		limit=$(<$group/memory.max)
		if [[ $limit != max ]]; then
			left=$(((limit - $(<$group/memory.current)) / 1048576))
			((left >= free)) || free=$left
		fi
	fi
	echo "$free"
}

# value LINE KEY: of a result line of chunks
value() { sed -n "s/.* $2=\\([^ ]*\\).*/\\1/p" <<<"$1"; }

# look_at VMAFRAG PICTURE COMMAND...: run COMMAND, which is chunks -w, and draw it when it
# has done its work.  Sets $line and $table, which chunks and vmafrag printed, and
# $status, that of COMMAND.  Fails if vmafrag does.
# shellcheck disable=SC2034 # for the caller
look_at() {
	local vmafrag=$1 picture=$2 pid from to drawn=0
	shift 2
	line='' table='' status=0
	coproc CHUNKS { exec "$@"; }
	pid=$CHUNKS_PID
	# Bash closes its own when the process ends, and so they cannot be read to the end.
	exec {from}<&"${CHUNKS[0]}"
	to=${CHUNKS[1]}
	if IFS= read -r line <&"$from"; then
		table=$("$vmafrag" --svg "$picture" "$pid") || drawn=1
	fi
	exec {to}>&- {from}<&-
	wait "$pid" || status=$?
	return "$drawn"
}
