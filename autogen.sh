#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
# Make configure from configure.ac.  With a folder as argument: put it there.
set -eu
out=$(realpath "${1:-$(dirname "$0")}")/configure
top=$(cd "$(dirname "$0")" && pwd)
command -v autoconf >/dev/null || {
	echo "autogen.sh: error: autoconf not found; install the Debian package autoconf" >&2
	exit 1
}
# autoconf leaves a cache behind where it runs
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
RA_TOP=$top autoconf --warnings=all --output="$out" "$top/configure.ac"
chmod +x "$out"
rm -f "$out~"
