# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# shellcheck disable=SC2034  # used by those who source it
#
# Shared by the scripts.  Source it after "set -euo pipefail".
#
# Environment:
#   RELOCATE_BUILD         build folder (default: ./build)
#   RELOCATE_CACHE         cache folder (default: $XDG_CACHE_HOME/relocate-anon)
#   RELOCATE_SOURCES_LIST  another sources.list (for tests)
#   RELOCATE_GLIBC_VERSION the glibc that "glibc" stands for (configure sets it)
#   RELOCATE_KERNEL_VERSION  the same for "kernel"

self=${0##*/}
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
build=$(realpath -m "${RELOCATE_BUILD:-build}")
cache=${RELOCATE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/relocate-anon}
sources_list=${RELOCATE_SOURCES_LIST:-$top/sources.list}
kernel_release=${RELOCATE_KERNEL_VERSION:-7.3}
glibc_version=${RELOCATE_GLIBC_VERSION:-2.44}

# Git settings of the user must not change the results.
unset GIT_DIR GIT_WORK_TREE GIT_INDEX_FILE
export GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_NOSYSTEM=1
export GIT_CONFIG_COUNT=2
export GIT_CONFIG_KEY_0=safe.directory GIT_CONFIG_VALUE_0='*'
export GIT_CONFIG_KEY_1=gc.auto GIT_CONFIG_VALUE_1=0
export LC_ALL=C

project_name=relocate-anon
project_mail=relocate-anon@localhost

say()  { printf '%s: %s\n' "$self" "$*" >&2; }
die_status=1
# shellcheck source-path=SCRIPTDIR source=die.sh
. "$top/scripts/die.sh"

# The name of a kernel's source in sources.list
kernel_source() { case $1 in 7.3) echo linux ;; *) echo "linux-$1" ;; esac; }

need() {
	command -v "$1" >/dev/null ||
		die "$1 not found; install the Debian package ${2:-$1}"
}

# need_space DIR MEGABYTES WHAT
need_space() {
	local free
	mkdir -p "$1" 2>/dev/null || die "cannot create $1"
	free=$(df -Pm "$1" | awk 'NR == 2 { print $4 }')
	[ "$free" -ge "$2" ] ||
		die "$3 needs $2 MB in $1, only $free MB are free; make room, or set XDG_CACHE_HOME (the cache) or build elsewhere"
}

# take_lock NAME [-s]: wait for the lock; it is held until the script ends.
# With -s it is shared.
take_lock() {
	local file="$cache/locks/$1" lock_fd
	mkdir -p "$cache/locks" || die "cannot create $cache/locks"
	exec {lock_fd}>"$file"
	if ! flock -n ${2:+"$2"} "$lock_fd"; then
		say "waiting for another run to finish ($1)"
		flock ${2:+"$2"} "$lock_fd"
	fi
}

# The lock on a tree: shared while it is built, exclusive while patches change it
tree_lock() { echo "use-$(echo "$1" | sha256sum | cut -c1-16)"; }

sha256() { sha256sum -- "$@" | awk '{ print $1; exit }'; }

# run_logged LOG WHAT COMMAND...: run it with its output in LOG; on failure, show
# the end of the log
run_logged() {
	local log=$1 what=$2 begin=$SECONDS
	shift 2
	mkdir -p "$(dirname "$log")"
	say "$what (log: $log)"
	if ! "$@" >"$log" 2>&1 </dev/null; then
		tail -n 25 "$log" | cut -c1-200 | sed 's/^/    /' >&2
		if grep -q 'No space left on device' "$log"; then
			die "$what failed: no disk space left; make room and run it again"
		fi
		die "$what failed after $((SECONDS - begin)) s; the whole output is in $log"
	fi
	say "$what: done in $((SECONDS - begin)) s"
}

# prune_old DIR N: keep the N newest entries of a cache folder
prune_old() {
	find "$1" -mindepth 1 -maxdepth 1 -printf '%T@ %p\n' | sort -rn |
		tail -n "+$(($2 + 1))" | cut -d' ' -f2- |
		while read -r old; do rm -rf -- "$old"; done
}

# Print an identifier of the compiler, for a key
compiler_id() { "${CC:-gcc}" --version | head -n 1; }

# Before building packages: settings of the user, and of the make that runs the script, must
# not get in.
unset_settings() {
	unset "${!RELOCATE_@}" "${!DEB_@}" MAKEFLAGS MFLAGS MAKELEVEL GNUMAKEFLAGS MAKEOVERRIDES
	unset CC AR OBJCOPY CFLAGS CXXFLAGS CPPFLAGS LDFLAGS PKG_CONFIG_PATH PKG_CONFIG_SYSROOT_DIR
	unset LD_LIBRARY_PATH
}

# Use ccache for everything, with relative paths and no directory hash, so that
# kernels and clones share objects.  It takes the list of headers from the compiler instead
# of running the preprocessor on its own before each compilation (CCACHE_DEPEND).
setup_ccache() {
	if command -v ccache >/dev/null; then
		export CCACHE_DIR="$cache/ccache"
		export CCACHE_MAXSIZE=${CCACHE_MAXSIZE:-4G}
		export CCACHE_NOHASHDIR=1 CCACHE_COMPILERCHECK=content CCACHE_DEPEND=1
		export CCACHE_SLOPPINESS=include_file_mtime,include_file_ctime
		mkdir -p "$CCACHE_DIR"
		cc_prefix='ccache '
	else
		cc_prefix=
	fi
}

jobs_wanted() { echo "${RELOCATE_JOBS:-$(nproc)}"; }
