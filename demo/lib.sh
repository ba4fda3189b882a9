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
