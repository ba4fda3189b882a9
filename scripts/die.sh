# shellcheck shell=bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# die MESSAGE...: print it on standard error, behind the name of the script ($me if that is
# set), and end with $die_status, which is 2 if the script does not say otherwise.
die() {
	printf '%s: error: %s\n' "${me:-${0##*/}}" "$*" >&2
	exit "${die_status:-2}"
}
