# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# Every time limit of every test comes from here.  A limit ends what hangs; it does not
# judge speed.  idle_of has what tests take on an idle machine; what a test may take is
# ten times that, and again for each item that runs at the same time.  run-tests puts
# it into the environment of the item, in seconds:
#
#   RELOCATE_LIMIT  what a test may take: libcheck, alarm() and every wait in C
#                   (tests/limit.h), wait_until of tap.sh, timeout(1)
#   5/4 of it       that a guest may be silent (vm/run-kernel), so that the test in it
#                   comes first and is named
#   3/2 of it       that an item may be silent (run-tests)
#
# and an item as a whole may take ten times what it takes idle.  Time is counted as the
# number of short sleeps of whoever waits: a machine that stands still wears out no limit.
#
# Without RELOCATE_LIMIT, as when a test program is run by hand, it waits for ever.

# shellcheck disable=SC2034 # for those who source it
LIMIT_TIMES=10 LIMIT_GRACE=10 LIMIT_HANGS=3

# idle_of ITEM: two numbers, on a machine with two processors and no KVM.  The first is
# the longest of its single tests, or whatever else it does between two lines of output;
# for a guest that includes the boot.  The second is the whole item.
# build/log/tests/times.txt says what they were in the last run (see README.md).
idle_of() {
	case $1 in
	# Whole source trees are written.
	host-glibc-releases | host-kernel-patches | host-patch-tree) echo 40 150 ;;
	host-glibc-deb) echo 20 90 ;;
	host-glibc-build) echo 20 90 ;;
	host-bench) echo 30 60 ;;
	host-demo) echo 150 150 ;;
	host-glibc-growth) echo 60 150 ;;
	host-run-kernel) echo 30 150 ;;
	# With each glibc that is built
	host-relocate-run-namespace) echo 20 120 ;;
	# With sanitizers, with counts of lines, and every state of a model
	host-compat-sanitizers) echo 100 170 ;;
	host-compat-coverage | host-model) echo 25 95 ;;

	# Many times as much is checked there.  What is long comes below.
	guest-*-debug | guest-*-kcsan) echo 60 150 ;;
	guest-storm-* | guest-interference-*) echo 40 60 ;;
	guest-compat-methods-* | guest-compat-doctor-*) echo 20 100 ;;
	guest-compat-heal-*) echo 20 130 ;;
	# Stopped at every system call
	long-compat-children-*) echo 40 290 ;;

	long-faults-debug) echo 200 1300 ;;
	long-tables-debug) echo 60 700 ;;
	long-storm-badinput-debug) echo 120 500 ;;
	# glibc's tests as a whole, while others interfere
	long-storm-others-*) echo 300 1300 ;;
	long-dist) echo 120 240 ;;
	long-storm* | long-interference-*) echo 60 700 ;;
	long-compat-*-debug) echo 60 600 ;;
	long-glibc-tests) echo 600 9000 ;;
	long-glibc-deb) echo 1800 3600 ;;
	long-glibc-programs) echo 1200 2400 ;;
	long-kernel-series) echo 300 5400 ;;
	long-kernel-* | long-defects | long-mutants) echo 300 2400 ;;
	long-selftests-debug) echo 900 3000 ;;
	long-selftests-*) echo 300 1300 ;;

	# What is no item of run-all
	bench) echo 300 700 ;;
	demo | run-kernel) echo 60 240 ;;

	*) echo 20 60 ;;
	esac
}

# limits_of ITEM [AT-ONCE]: RELOCATE_LIMIT, and the limit for the whole
limits_of() {
	local at_once=${2:-1} test whole
	read -r test whole < <(idle_of "$1")
	echo "$((LIMIT_TIMES * at_once * test)) $((LIMIT_TIMES * at_once * whole))"
}

# need_limit ITEM: where none comes from outside, that of ITEM
need_limit() {
	((${RELOCATE_LIMIT:-0})) || read -r RELOCATE_LIMIT _ < <(limits_of "$1")
	export RELOCATE_LIMIT
}
