# shellcheck shell=bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# die MESSAGE...: print the message on standard error, after the name of the script ($me if
# that is set), and exit with $die_status, which is 2 unless the script sets it.
die() {
	printf '%s: error: %s\n' "${me:-${0##*/}}" "$*" >&2
	exit "${die_status:-2}"
}
