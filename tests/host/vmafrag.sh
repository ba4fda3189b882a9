#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# vmafrag(1): options, what it counts in real processes, its formats, and the
# processes that it may not or cannot read.

set -euo pipefail
here=$(cd -- "$(dirname -- "$0")" && pwd -P)
top=$(cd -- "$here/../.." && pwd -P)
# shellcheck source-path=SCRIPTDIR source=../tap.sh
. "$here/../tap.sh"
# shellcheck source-path=SCRIPTDIR source=../processes.sh
. "$here/../processes.sh"

cc=${CC:-gcc}

vmafrag=$work/vmafrag
built=${RELOCATE_BUILD:-build}/compat/vmafrag
parts=()
for part in "$top"/compat/tools/*.c; do
	[[ $part == */relocate-doctor.c ]] || parts+=("$part")
done
if [[ -x $built ]]; then
	cp -- "$built" "$vmafrag"
	ok 'vmafrag is built'
else
	tap_run 'vmafrag compiles' "$cc" -std=c11 -O2 -Wall -Wextra -Werror -I"$top/compat" -o "$vmafrag" \
		"${parts[@]}" "$top"/compat/*.c
fi

# Pages whose neighbours differ, each in what is the argument.
cat >"$work/kinds.c" <<'END'
#define _GNU_SOURCE
#include <linux/mempolicy.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";
	const size_t page = sysconf(_SC_PAGESIZE);
	char *area = mmap(NULL, 66 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	unsigned long node = 1;
	int key = -1, failed = 0;

	if (area == MAP_FAILED || mprotect(area + page, 64 * page, PROT_READ | PROT_WRITE))
		return 1;
	area += page;
	memset(area, 1, 64 * page);
	if (!strcmp(what, "key"))
		failed = (key = pkey_alloc(0, 0)) < 0;
	for (size_t i = 0; i < 64; i++) {
		char *p = area + i * page;

		if (!strcmp(what, "advice"))
			failed |= madvise(p, page, i & 1 ? MADV_NOHUGEPAGE : MADV_DONTDUMP);
		else if (i & 1 && !strcmp(what, "locked"))
			failed |= mlock(p, page);
		else if (i & 1 && !strcmp(what, "policy"))
			failed |= (int)syscall(SYS_mbind, p, page, MPOL_BIND, &node, 64, 0);
		else if (i & 1 && !strcmp(what, "key"))
			failed |= pkey_mprotect(p, page, PROT_READ | PROT_WRITE, key);
	}
	if (failed)
		puts("unsupported");
	puts("ready");
	fflush(stdout);
	return getchar() < 0;
}
END
tap_run 'a program with neighbours that differ compiles' "$cc" -O1 -Wall -o "$work/kinds" "$work/kinds.c"

# A process with COUNT mappings of a page each that touch; every EVERYth of them
# is read only, if that is not 0.  It has the given name, says "ready", and
# waits for a line to end, or with "exec" to execute cat.
cat >"$work/maker.c" <<'END'
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	size_t count = strtoul(argv[1], NULL, 10), every = strtoul(argv[2], NULL, 10);
	size_t page = sysconf(_SC_PAGESIZE), size = count * page;
	char *area = mmap(NULL, 2 * size + 3 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char *source = area + page, *target = source + size + page;

	if (area == MAP_FAILED || mprotect(source, size, PROT_READ | PROT_WRITE))
		return 1;
	madvise(source, size, MADV_NOHUGEPAGE);
	memset(source, 1, size);
	for (size_t i = 0; i < count; i++) {
		char *to = target + size - (i + 1) * page;

		if (mremap(source + i * page, page, page, MREMAP_MAYMOVE | MREMAP_FIXED, to) == MAP_FAILED)
			return 1;
		if (every && i % every == 0 && mprotect(to, page, PROT_READ))
			return 1;
	}
	prctl(PR_SET_NAME, argv[3]);
	if (argc > 4 && !strcmp(argv[4], "undumpable"))
		prctl(PR_SET_DUMPABLE, 0);
	puts("ready");
	fflush(stdout);
	if (argc > 4 && !strcmp(argv[4], "exec")) {
		getchar();
		execlp("cat", "cat", (char *)NULL);
	}
	return getchar() < 0;
}
END
tap_run 'a program to look at compiles' "$cc" -O1 -Wall -o "$work/maker" "$work/maker.c"

# As an older kernel: no pidfd_open(2), and no ioctl(2) that it would answer.
cat >"$work/older.c" <<'END'
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_pidfd_open, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_ioctl, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOTTY),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { sizeof(code) / sizeof(code[0]), code };

	if (argc < 2 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
	    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
		return 77;
	execv(argv[1], argv + 1);
	return 77;
}
END
tap_run 'a program that plays an older kernel compiles' "$cc" -O1 -Wall -o "$work/older" "$work/older.c"

# To be preloaded: calls that fail, or do nothing, as $TEST_CALL names them.
cat >"$work/failing.c" <<'END'
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

static bool is_wanted(const char *name)
{
	const char *wanted = getenv("TEST_CALL");

	errno = ENOMEM;
	return wanted && !strcmp(wanted, name);
}

void *mmap(void *p, size_t size, int prot, int flags, int fd, off_t offset)
{
	if (prot == PROT_NONE && is_wanted("mmap"))
		return MAP_FAILED;
	return (void *)syscall(SYS_mmap, p, size, prot, flags, fd, offset);
}

int mprotect(void *p, size_t size, int prot)
{
	return is_wanted("mprotect") ? -1 : (int)syscall(SYS_mprotect, p, size, prot);
}

void *mremap(void *p, size_t old, size_t new, int flags, ...)
{
	va_list ap;
	void *to;

	va_start(ap, flags);
	to = va_arg(ap, void *);
	va_end(ap);
	if (is_wanted("no move"))
		return to;
	return is_wanted("mremap") ? MAP_FAILED : (void *)syscall(SYS_mremap, p, old, new, flags, to);
}

void *realloc(void *p, size_t size)
{
	static void *(*next)(void *, size_t);

	if (is_wanted("realloc"))
		return NULL;
	if (!next)
		next = (void *(*)(void *, size_t))dlsym(RTLD_NEXT, "realloc");
	return next(p, size);
}
END
tap_run 'calls that fail compile' "$cc" -O1 -Wall -fPIC -shared -o "$work/failing.so" "$work/failing.c" -ldl

# An own count: mappings, anonymous ones, separate neighbours, runs, longest run; by what
# smaps shows of them (numa_maps has the same policy for all, here).
awk_count() {
	awk '
	/^[0-9a-f]+-[0-9a-f]+ / {
		split($1, range, "-")
		perms = $2
		inode = $5
		key = 0
		name = ""
		for (i = 6; i <= NF; i++)
			name = name " " $i
		next
	}
	/^ProtectionKey:/ { key = $2 }
	/^VmFlags:/ {
		if (name == " [vsyscall]")
			next
		mappings++
		anon = perms ~ /p$/ && inode == "0" && (name == "" || name == " [heap]" || name ~ /^ \[anon:/)
		flags = ""
		for (i = 2; i <= NF; i++)
			flags = flags ($i == "sd" || $i == "gu" ? "" : $i " ")
		kind = perms name "|" key "|" flags
		anonymous += anon
		if (anon && last_anon && range[1] == last_end && kind == last_kind) {
			separate++
			run++
			if (run == 2)
				runs++
			if (run > longest)
				longest = run
		} else {
			run = 1
		}
		last_anon = anon
		last_end = range[2]
		last_kind = kind
	}
	END { print mappings + 0, anonymous + 0, separate + 0, runs + 0, longest + 0 }' "/proc/$1/smaps"
}
# json FILE-or-TEXT KEY...: values of one object.
json() {
	python3 -c '
import json, sys
o = json.loads(sys.argv[1])
print(*[o[k] for k in sys.argv[2:]])' "$@" 2>&1
}
counts=(mappings anonymous separate_neighbours runs longest_run)
# table TEXT: the same figures from the table.
table() {
	awk '
	/^mappings / { mappings = $2 }
	/^private anonymous / { anonymous = $3 }
	/^separate neighbours / { separate = $3; runs = $5 + 0; longest = $10 + 0 }
	END { print mappings, anonymous, separate, runs, longest }' <<<"$1"
}
well_formed() {
	python3 -c '
import sys, xml.dom.minidom
d = xml.dom.minidom.parse(sys.argv[1]).documentElement
assert d.tagName == "svg" and d.namespaceURI == "http://www.w3.org/2000/svg", d
assert d.getAttribute("version") == "1.1"
x, y, w, h = map(int, d.getAttribute("viewBox").split())
assert (x, y) == (0, 0) and w == 1000 and h == int(d.getAttribute("height"))
for r in d.getElementsByTagName("rect"):
    a = {k: int(r.getAttribute(k)) for k in ("x", "y", "width", "height")}
    assert a["x"] >= 20 and a["x"] + a["width"] <= w - 20 and a["width"] > 0, a
    assert a["y"] >= 0 and a["y"] + a["height"] <= h and a["height"] > 0, a
for kind in ("separate neighbours", "anonymous", "file or shared", "gap"):
    assert kind in [t.firstChild.data for t in d.getElementsByTagName("text")], kind
print(d.getElementsByTagName("title")[0].firstChild.data)' "$1" 2>&1
}

# ---- options ----------------------------------------------------------------

capture "$vmafrag" --help
tap_is "$status,$err" 0, '--help succeeds'
tap_like "$out" '^Usage: vmafrag .*--why.*--top.*--heal.*--progress.*--watch.*--warn.*--critical.*--json.*--prometheus.*--svg FILE.*--self-test.*--version' '--help names the options'
tap_like "$out" 'smaps.*another reason.*estimate' '--help says what the figures do not say'
tap_is "$(awk 'length > 80' <<<"$out")" '' '--help is no wider than 80 columns'
capture "$vmafrag" --version
version=$(awk '$2 ~ /^MREMAP_COMPAT_VERSION_(MAJOR|MINOR|PATCH)$/ { v = v "." $3 } END { print substr(v, 2) }' \
	"$top/compat/mremap_compat.h")
tap_is "$status,$err,$out" "0,,vmafrag (relocate-anon) $version"$'\n' '--version prints the version of the header'

usage() {
	capture "$vmafrag" "$@"
	if [[ $status == 2 && -z $out && $err == vmafrag:\ *"Try 'vmafrag --help'"* ]]; then
		ok "wrong usage: $*"
	else
		not_ok "wrong usage: $*" "status $status"$'\n'"$out$err"
	fi
}
usage
for word in 0 00 -- -5 abc 12x 0x10 +5 ' 5' '' 1.5 2147483648 4294967297 99999999999999999999; do
	usage "$word"
done
usage -- -5
usage 1 2
usage --nonsense 1
usage -x 1
for word in 0 -1 x '' 1e3 nan inf 0x1 1.2.3 . 0.0001 86401 99999999999999999999; do
	usage "--watch=$word" 1
done
usage --json=1 1
usage --svg
usage --svg "$work/x.svg" --watch 1
usage --svg - --json 1
usage --watch
usage --json --prometheus 1
usage --why --prometheus 1
for option in --why --prometheus --warn=5 --critical=5 --top; do
	case $option in
	--warn* | --critical*) continue ;;
	esac
	usage --watch "$option" 1
	usage --self-test "$option"
done
usage --svg - --why 1
usage --svg - --prometheus 1
usage --top --svg "$work/x.svg"
usage --top --why
for word in 0 -1 x '' 1.5 4294967297; do
	usage "--top=$word"
done
# A monitoring system would take 2 for "critical".
unknown() {
	capture "$vmafrag" "$@"
	# With the words of the message, which the first line of standard error has
	local line=${err%%$'\n'*}
	if [[ $status == 3 && $err == vmafrag:\ * &&
		($out == "UNKNOWN: ${line#vmafrag: }"$'\n' || $out == $'UNKNOWN: wrong usage\n') ]]; then
		ok "unknown: $*"
	else
		not_ok "unknown: $*" "status $status"$'\n'"$out$err"
	fi
}
for word in 0 -1 x '' 100.1 1e1 nan 5%; do
	unknown --warn "$word" 1
	unknown --critical "$word" 1
done
unknown --warn 90 --critical 80 1
unknown --warn 5 --watch 1
unknown --nonsense --warn 5 1
unknown 1 2 --critical 5
unknown --critical 5 2147483647
unknown --warn 5
unknown --warn
unknown 1 --critical
unknown --warn 5 --svg "$work/no/x.svg" $$
unknown --warn 5 -- --json
unknown --self-test --warn 5
unknown --warn 5 --top 2147483647
unknown --warn 5 --top 2147483647 $'\e[1m'
for words in '--warn 5 --json 2147483647' '--prometheus --critical=5 2147483647' '--warn 5 --svg - 2147483647' \
	'--nonsense --warn 5 --svg - 1' '--warn x --svg - 1' \
	'--nonsense --json --warn 5 1'; do
	# shellcheck disable=SC2086 # several words
	capture "$vmafrag" $words
	tap_is "$status,$out" '3,' "nothing on standard output: $words"
done

# Each pair of options is refused if --help says so, and only then.
apart=$("$vmafrag" --help | sed -n '/^What does not go together:$/,/^$/ s/^  --/--/p')
tap_is "$(wc -l <<<"$apart")" 6 '--help says what does not go together'
tap_is "$(mandoc -T ascii "$top/man/vmafrag.1" | col -bx | sed -n 's/^ *\(--[a-z-]* *-\? *with --.*\|--self-test with any other\)$/\1/p')" \
	"$apart" 'as vmafrag(1) does'
refuses() { # A B: as --help has it
	[[ $1 != --self-test && $2 != --self-test ]] || return 0
	! grep -qE -- "^($1 with (.*, )?$2|$2 with (.*, )?$1)(,|\$)" <<<"$apart" || return 0
	# What holds for --svg does for --svg -, too.
	[[ $1$2 == *'--svg -'* ]] && refuses "${1% -}" "${2% -}"
}
all=(--watch --why --top --heal --warn --critical --json --prometheus --svg '--svg -' --self-test)
argument() { # OPTION: as it is given
	case $1 in
	--warn | --critical) echo "$1=50" ;;
	--svg) echo "--svg=$work/pair.svg" ;;
	*) echo "${1/ /=}" ;;
	esac
}
wrong=''
for ((i = 0; i < ${#all[@]}; i++)); do
	for ((k = i + 1; k < ${#all[@]}; k++)); do
		[[ ${all[i]} != --svg* || ${all[k]} != --svg* ]] || continue
		# Not this one's number: there is none, so that nothing is watched.
		number=2147483647
		[[ ${all[i]} != --self-test && ${all[k]} != --self-test ]] || number=
		# shellcheck disable=SC2086 # or none
		capture "$vmafrag" "$(argument "${all[i]}")" "$(argument "${all[k]}")" $number
		if refuses "${all[i]}" "${all[k]}"; then said=yes; else said=no; fi
		if [[ $err == *"Try 'vmafrag --help'"* ]]; then done=yes; else done=no; fi
		[[ $said == "$done" ]] || wrong+=" ${all[i]} ${all[k]}: $said, $done;"
	done
done
tap_is "$wrong" '' 'and pairs of options are refused accordingly'
usage --self-test 1
usage --self-test --json
usage --self-test --watch
usage --self-test --svg "$work/x.svg"
tap_true 'wrong usage writes no file' test ! -e "$work/x.svg"

# shellcheck disable=SC2317 # through capture
to_full() { "$@" >/dev/full; }

# ---- self-test --------------------------------------------------------------

capture "$vmafrag" --self-test
tap_is "$status,$err" 0, 'the self-test succeeds'
tap_like "$out" 'before, text: 1 mappings, 0 separate.*after, text: 64 mappings, 63 separate.*self-test: ok' \
	'the self-test counts 64 neighbours'
for call in mmap mprotect mremap; do
	capture env LD_PRELOAD="$work/failing.so" TEST_CALL=$call "$vmafrag" --self-test
	tap_is "$status,$err" "1,vmafrag: self-test: $call: Cannot allocate memory"$'\n' "the self-test without $call()"
done
capture env LD_PRELOAD="$work/failing.so" TEST_CALL='no move' "$vmafrag" --self-test
tap_like "$status,$out" '^1,.*before, text: 1 mappings, 0 separate neighbours
.*after, text: 0 mappings.*: WRONG
self-test: FAILED' 'the self-test fails where nothing moves'

# ---- formats -----------------------------------------------------------------

# Debian's package is for Debian's Python.
python=
for one in python3 /usr/bin/python3; do
	[[ $python ]] || ! "$one" -c 'import jsonschema' 2>/dev/null || python=$one
done
# valid TITLE JSON: as the schema says, unless there is nothing to check it with.
valid() {
	if [[ ! $python ]]; then
		skip "$1" 'no python3-jsonschema'
		return 0
	fi
	tap_run "$1" "$python" -c '
import json, jsonschema, sys
jsonschema.Draft7Validator.check_schema(s := json.load(open(sys.argv[1])))
for line in sys.argv[2].splitlines():
    jsonschema.Draft7Validator(s).validate(json.loads(line))' "$top/compat/tools/vmafrag.schema.json" "$2"
}
# metrics TITLE TEXT: the text format of Prometheus, version 0.0.4, as strictly as here:
# HELP, TYPE and samples of a metric together, once, none without, no series twice.
metrics() {
	tap_run "$1" python3 -c '
import re, sys
text = sys.argv[1]
assert text.endswith("\n") and "\n\n" not in text
seen, series, metric, expect = set(), set(), None, "HELP"
for line in text.split("\n")[:-1]:
    if line.startswith("# HELP "):
        assert expect in ("HELP", "more"), line
        m = re.fullmatch(r"# HELP ([a-z_]+) \S[^\n]*\.", line)
        metric, expect = m[1], "TYPE"
        assert metric not in seen, line
        seen.add(metric)
    elif line.startswith("# TYPE "):
        assert expect == "TYPE" and line == f"# TYPE {metric} gauge", line
        expect = "sample"
    else:
        assert expect in ("sample", "more"), line
        m = re.fullmatch(r"([a-z_]+)(\{pid=\"\d+\",command=\"(?:[^\"\\\n]|\\[\"\\n])*\"\})? (\d+)", line)
        assert m and m[1] == metric, line
        assert (m[1], m[2]) not in series, line
        series.add((m[1], m[2]))
        expect = "more"
assert expect == "more"' "$2"
	if command -v promtool >/dev/null; then
		tap_run "$1, promtool" promtool check metrics <<<"$2"
	fi
}

# ---- figures ----------------------------------------------------------------

sleep 1000 &
sleeper=$!
started+=("$sleeper")
# It is sleep, no more this shell
# shellcheck disable=SC2317 # by wait_until
sleeps() { [[ $(<"/proc/$sleeper/comm") == sleep && $(<"/proc/$sleeper/wchan") != 0 ]]; }
wait_until sleeps || :
sleep 0.2
capture "$vmafrag" "$sleeper"
tap_is "$status,$err" 0, 'a sleeping process can be looked at'
tap_is "$(table "$out")" "$(awk_count "$sleeper")" 'sleep: figures as awk finds them'
tap_like "$out" "^process +$sleeper \(sleep\)" 'the table names the process'

# reasons_of JSON: pairs for which nothing can be seen, checked against the runs
reasons_of() {
	python3 -c '
import json, sys
o = json.loads(sys.argv[1])
key = "page_offset_or_anon_vma"
assert sum(r["mappings"] - 1 for r in o["separate_runs"] if key in r["reasons"]) == o["pairs"][key]
for r in o["separate_runs"]:
    assert int(r["start"], 16) < int(r["end"], 16) and r["bytes"] <= int(r["end"], 16) - int(r["start"], 16)
    assert ("flags" in r["reasons"]) == bool(r["flags"]), r
    assert key not in r["reasons"] or len(r["reasons"]) == 1
    assert "hole" in r["reasons"] or r["bytes"] == int(r["end"], 16) - int(r["start"], 16)
print(o["pairs"][key])' "$1" 2>&1
}
# look NAME: compare all formats for process $pid.
look() {
	local wanted object
	wanted=$(awk_count "$pid")
	capture "$vmafrag" "$pid"
	tap_is "$status,$err" 0, "$1: table, status"
	tap_is "$(table "$out")" "$wanted" "$1: the table has the figures that awk finds"
	tap_is "$(awk 'length > 80' <<<"$out")" '' "$1: the table is no wider than 80 columns"
	capture "$vmafrag" --json "$pid"
	tap_is "$status,$err" 0, "$1: JSON, status"
	object=$out
	tap_run "$1: JSON is well-formed" python3 -m json.tool <(printf %s "$object")
	tap_is "$(wc -l <<<"${object%$'\n'}")" 1 "$1: JSON is one line"
	valid "$1: JSON is as the schema says" "$object"
	capture "$vmafrag" --why --json "$pid"
	tap_is "$status,$err,$(json "$out" "${counts[@]}")" "0,,$wanted" "$1: --why has the same figures"
	valid "$1: --why is as the schema says" "$out"
	tap_is "$(reasons_of "$out")" "$(awk '{ print $3 }' <<<"$wanted")" \
		"$1: as many pairs without a visible reason as separate neighbours"
	capture "$vmafrag" --prometheus "$pid"
	tap_is "$status,$err" 0, "$1: metrics, status"
	metrics "$1: metrics are well-formed" "$out"
	tap_is "$(sed -n 's/^vmafrag_\(mappings\|separate_neighbours\){.*} //p' <<<"$out" | paste -sd ' ')" \
		"$(awk '{ print $1, $3 }' <<<"$wanted")" "$1: metrics have the same figures"
	tap_is "$(json "$object" "${counts[@]}")" "$wanted" "$1: JSON has the same figures"
	tap_is "$(json "$object" pid max_map_count)" "$pid $(</proc/sys/vm/max_map_count)" "$1: process and limit in JSON"
	tap_run "$1: figures that follow from others" python3 -c '
import json, sys
o = json.loads(sys.argv[1])
s = o["object_sizes"]
assert o["mappings_if_merged"] == o["mappings"] - o["separate_neighbours"]
assert o["percent"] == float("%.1f" % (100 * o["mappings"] / o["max_map_count"])), o["percent"]
least = o["separate_neighbours"] * (s["vm_area_struct"] + s["anon_vma_chain"])
assert o["kernel_bytes_min"] == least
assert o["kernel_bytes_max"] == least + o["separate_neighbours"] * s["anon_vma"]
assert s["source"] in ("slabinfo", "default")
assert s["source"] == "slabinfo" or (s["vm_area_struct"], s["anon_vma"], s["anon_vma_chain"]) == (192, 104, 64)' \
		"$object"
	capture "$vmafrag" --svg "$work/$1.svg" "$pid"
	tap_is "$status,$err" 0, "$1: SVG, status"
	tap_like "$(well_formed "$work/$1.svg")" "^Address space of process $pid \(" "$1: SVG is well-formed"
	tap_true "$1: SVG is small ($(wc -c <"$work/$1.svg") bytes)" test "$(wc -c <"$work/$1.svg")" -lt 150000
}

# The coverage test can run this script at the same time: a name of its own.
name=few.$$
start "$work/maker" 200 0 "$name"
few=$pid few_to=$to few_from=$from
look few
tap_is "$(json "$("$vmafrag" --json "$pid")" command separate_neighbours longest_run)" "$name 199 200" \
	'few: 200 mappings are 199 separate neighbours'
tap_like "$(<"$work/few.svg")" ', 200 mappings, 199 of them separate neighbours<' 'few: SVG shows the run'
capture "$vmafrag" --svg "$work/with.svg" --json "$pid"
tap_is "$status,$err,$(json "$out" pid)" "0,,$pid" 'JSON and SVG go together'
tap_true 'and give the same picture' cmp "$work/few.svg" "$work/with.svg"
capture "$vmafrag" "$pid" --json
tap_is "$status,$(json "$out" pid)" "0,$pid" 'options may follow the PID'

start "$work/maker" 300 7 mixed
look mixed
capture "$work/older" "$vmafrag" --json "$pid"
tap_is "$status,$(json "$out" "${counts[@]}")" "0,$(awk_count "$pid")" 'mixed: the same figures on an older kernel'
capture "$work/older" "$vmafrag" --self-test
tap_is "$status,$(grep -c ', text: ' <<<"$out"),$(grep -c PROCMAP <<<"$out")" 0,2,0 'the self-test on an older kernel'
tap_true 'mixed: several runs' test "$(json "$("$vmafrag" --json "$pid")" runs)" -ge 42
finish "$pid" "$to" "$from"

limit=$(</proc/sys/vm/max_map_count)
if ((limit >= 20000)); then
	start "$work/maker" 12000 0 many
	look many
	finish "$pid" "$to" "$from"
	start "$work/maker" 12000 2 scattered
	look scattered
	finish "$pid" "$to" "$from"
else
	skip 'many' "vm.max_map_count is $limit"
fi

# What can never merge is not counted.
for what in advice locked policy key; do
	if start "$work/kinds" "$what"; then
		capture "$vmafrag" --json "$pid"
		tap_is "$status,$err,$(json "$out" separate_neighbours flags_compared)" '0,,0 True' "neighbours that differ: $what"
		tap_true "and are mappings: $what" test "$(json "$out" anonymous)" -ge 64
		case $what in
		advice) reason='flags: dd (MADV_DONTDUMP), nh (MADV_NOHUGEPAGE)' ;;
		locked) reason='flags: lo (mlock)' ;;
		policy) reason='memory policy' ;;
		*) reason=protection ;;
		esac
		tap_is "$("$vmafrag" --why "$pid" | awk -v r="  $reason\$" '$2 == 64 && $0 ~ r { print $2 }' r="${reason//[()]/.}\$")" 64 \
			"--why says: $reason"
	else
		skip "neighbours that differ: $what" 'not supported here'
	fi
	finish "$pid" "$to" "$from"
done

# A name that would be something else in each format.
start "$work/maker" 3 0 $'<"\e[1m&\\\xff\'>'
capture "$vmafrag" --json "$pid"
tap_is "$(json "$out" command)" $'<"\e[1m&\\\xef\xbf\xbd\'>' 'a strange name in JSON'
capture "$vmafrag" --prometheus "$pid"
metrics 'a strange name in metrics' "$out"
tap_like "$out" "$(printf 'command="<\\\\"\xef\xbf\xbd\\[1m&\\\\\\\\\xef\xbf\xbd'"'>\"")" 'with what has to be escaped'
capture "$vmafrag" --svg "$work/strange.svg" "$pid"
tap_is "$status,$(grep -c $'[\e\xff]' <<<"$out")" '0,0' 'a strange name cannot reach the terminal'
tap_is "$(well_formed "$work/strange.svg")" \
	"Address space of process $pid (<\""$'\xef\xbf\xbd'"[1m&\\"$'\xef\xbf\xbd'"'>)" 'a strange name in SVG'
finish "$pid" "$to" "$from"

# ---- monitoring --------------------------------------------------------------

# A limit of which 200 mappings and more are 30 to 45 %
if ((EUID == 0)) && unshare -m true 2>/dev/null; then
	echo 600 >"$work/limit"
	# shellcheck disable=SC2317 # through capture
	limited() { unshare -m sh -c "mount --bind '$work/limit' /proc/sys/vm/max_map_count && exec \"\$@\"" - "$@"; }
	tap_like "$(limited "$vmafrag" "$few")" 'their kernel memory [^n]*$' 'no word of cures far from the limit'
	echo 400 >"$work/limit"
	tap_like "$(limited "$vmafrag" "$few")" '
near the limit +what helps: relocate-anon\(7\), "Cures without code"$' 'near the limit: where to read what helps'
	tap_like "$(grep -c '^\.SS Cures without code$' "$top/man/relocate-anon.7")" '^1$' 'which the page has'
	echo 600 >"$work/limit"
	figure="$name \\($few\\) has [0-9]+ of 600 \\([0-9.]+ %\\)"
	while read -r wanted word options; do
		# shellcheck disable=SC2086 # several words
		capture limited "$vmafrag" $options "$few"
		tap_is "$status,$err" "$wanted," "status with $options"
		tap_like "$(head -n 1 <<<"$out")" "^$word: ($figure)" "first line with $options"
		# shellcheck disable=SC2086 # several words
		capture limited "$vmafrag" --json $options "$few"
		tap_is "$status,$(json "$out" status)" "$wanted,${word,,}" "JSON with $options"
		valid "as the schema says, $options" "$out"
		# shellcheck disable=SC2086 # several words
		capture limited "$vmafrag" --top=1 $options "$name"
		tap_is "$status,$err" "$wanted," "status with --top $options"
		tap_like "$(head -n 1 <<<"$out")" "^$word: ($figure)" "first line with --top $options"
	done <<'END'
0 OK --warn=99
0 OK --critical 99.5
0 OK --warn 98 --critical 99
1 WARNING --warn 20
1 WARNING --warn 20 --critical 99
2 CRITICAL --critical 20
2 CRITICAL --warn 10 --critical 20
2 CRITICAL --warn 20 --critical 20
END
else
	skip 'statuses for monitoring' 'not root, or no mount namespaces'
fi

# ---- many processes ----------------------------------------------------------

capture "$vmafrag" --top "$name" "$sleeper"
tap_is "$status,$err" 0, '--top with a name and a number'
tap_like "$out" "^ +PID +MAPPINGS +OF LIMIT +ANONYMOUS +COMMAND
 *$few +[0-9]+ +[0-9.]+ % +[0-9]+  $name
 *$sleeper +[0-9]+ +[0-9.]+ % +[0-9]+  sleep
" 'shows both, that with more mappings first'
tap_is "$(awk -v pid="$few" '$1 == pid { print $2, $5 }' <<<"$out")" "$(awk_count "$few" | cut -d ' ' -f 1,2)" \
	'with the figures that awk finds'
capture "$vmafrag" --top=1 "$sleeper" "$name"
tap_is "$status,$(grep -c '^ *[0-9]* .*few[.0-9]*$' <<<"$out")" 0,1 '--top=1 shows one'
tap_like "$out" "$name
and 1 more process" 'and counts the rest'
capture "$vmafrag" --top=100000 --json
tap_is "$status,$err" 0, '--top of all processes'
valid 'as the schema says' "$out"
tap_is "$(python3 -c '
import json, sys
o = json.loads(sys.argv[1])
p = o["processes"]
assert [x["mappings"] for x in p] == sorted((x["mappings"] for x in p), reverse=True)
assert len({x["pid"] for x in p}) == len(p)
print(*["yes" if any(x["pid"] == int(w) for x in p) else "no" for w in sys.argv[2:]])' "$out" "$few" "$sleeper" $$ 2>&1)" \
	'yes yes yes' 'has the processes, in order'
tap_is "$(grep -c '"command": "vmafrag"' <<<"$out")" 0 'but not itself'
capture "$vmafrag" --top=2 --prometheus "$name" "$sleeper"
tap_is "$status,$err,$(grep -c '^vmafrag_mappings{' <<<"$out")" 0,,2 '--top --prometheus'
metrics '--top --prometheus is well-formed' "$out"
# A long name is cut by the kernel.
start "$work/maker" 3 0 a-name-of-more-than-15-bytes
capture "$vmafrag" --top a-name-of-more-than-15-bytes
tap_like "$status,$out" "^0,.* $pid .*  a-name-of-more-"$'\n' 'a name that the kernel has cut'
finish "$pid" "$to" "$from"
for word in nonesuch few-and-more; do
	capture "$vmafrag" --top "$name" "$word"
	tap_is "$status,$out,$err" "1,,vmafrag: there is no process with the name '$word'"$'\n' "--top: no process $word"
done
capture "$vmafrag" --top 2147483647
tap_is "$status,$out,$err" '1,,vmafrag: there is no process 2147483647'$'\n' '--top: no such number'
# One without memory: a kernel thread, or one that has ended and is not waited for,
# by who has become another program: bash would wait for it.
bash -c 'until read -r name </proc/$$/comm && [[ $name == sleep ]]; do :; done & echo $!; exec sleep 1000' \
	>"$work/zombie" &
keeper=$!
# shellcheck disable=SC2317 # through wait_until
is_zombie() { [[ -s $work/zombie ]] && grep -q '^State:.Z' "/proc/$(<"$work/zombie")/status"; }
wait_until is_zombie
for word in "$(<"$work/zombie")" $([[ $(cat /proc/2/comm 2>/dev/null) != kthreadd ]] || echo 2 kthreadd); do
	capture "$vmafrag" --top "$name" "$word"
	tap_is "$status,$out,$err" "1,,vmafrag: process $word has no memory: it has ended or is a kernel thread"$'\n' \
		'--top: a process without memory'
done
kill "$keeper"
wait "$keeper" 2>/dev/null || :
capture env LD_PRELOAD="$work/failing.so" TEST_CALL=realloc "$vmafrag" --top
tap_is "$status,$out,$err" '1,,vmafrag: cannot read /proc: Cannot allocate memory'$'\n' '--top: no memory'
for option in --json --prometheus --why; do
	capture to_full "$vmafrag" "$option" "$few"
	tap_is "$status,$err" '1,vmafrag: cannot write: No space left on device'$'\n' "no room for $option"
done

# ---- a picture on standard output --------------------------------------------

capture "$vmafrag" --svg - "$few"
tap_is "$status,$err" 0, '--svg -: status'
printf %s "$out" >"$work/dash.svg"
tap_true '--svg - writes to standard output, and nothing else' cmp "$work/few.svg" "$work/dash.svg"
capture to_full "$vmafrag" --svg - "$few"
tap_is "$status,$err" '1,vmafrag: cannot write: No space left on device'$'\n' 'no room for it'

# ---- errors -----------------------------------------------------------------

capture "$vmafrag" --svg /nonexistent/x.svg "$few"
tap_is "$status,$err" '1,vmafrag: cannot write /nonexistent/x.svg: No such file or directory'$'\n' 'no place for the SVG'
capture "$vmafrag" --svg /dev/full "$few"
tap_is "$status,$err" '1,vmafrag: cannot write /dev/full: No space left on device'$'\n' 'no room for the SVG'
capture to_full "$vmafrag" "$few"
tap_is "$status,$err" '1,vmafrag: cannot write: No space left on device'$'\n' 'no room for the table'
capture to_full timeout "$RELOCATE_LIMIT" "$vmafrag" --watch=0.1 "$few"
tap_is "$status,$err" '1,vmafrag: cannot write: No space left on device'$'\n' '--watch: no room ends it'

bash -c 'exit 0' &
gone=$!
wait "$gone"
capture "$vmafrag" --svg "$work/gone.svg" "$gone"
tap_is "$status,$out,$err" "1,,vmafrag: there is no process $gone"$'\n' 'a process that has ended'
tap_true 'leaves no picture' test ! -e "$work/gone.svg"
capture "$vmafrag" --watch "$gone"
tap_is "$status,$out,$err" "1,,vmafrag: there is no process $gone"$'\n' '--watch: a process that has ended'
capture "$vmafrag" 2147483647
tap_is "$status,$out,$err" '1,,vmafrag: there is no process 2147483647'$'\n' 'a number that no process has'

# Ended, and nobody has asked for its status.
python3 -c '
import os, signal
pid = os.fork()
if not pid:
    os._exit(0)
os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
print(pid, flush=True)
signal.pause()' >"$work/ended" &
started+=("$!")
wait_until test -s "$work/ended" || :
zombie=$(<"$work/ended")
capture "$vmafrag" "$zombie"
tap_is "$status,$out,$err" \
	"1,,vmafrag: process $zombie has no memory: it has ended or is a kernel thread"$'\n' 'a zombie'
if [[ $(cat /proc/2/comm 2>/dev/null) == kthreadd ]] && ((EUID == 0)); then
	capture "$vmafrag" 2
	tap_is "$status,$out,$err" \
		'1,,vmafrag: process 2 has no memory: it has ended or is a kernel thread'$'\n' 'a kernel thread'
else
	skip 'a kernel thread' 'none to be seen, or not root'
fi

capture "$vmafrag" --watch "$zombie"
tap_is "$status,$out,$err" \
	"1,,vmafrag: process $zombie has no memory: it has ended or is a kernel thread"$'\n' '--watch: a zombie'
capture env LD_PRELOAD="$work/failing.so" TEST_CALL=realloc "$vmafrag" --svg "$work/memory.svg" "$few"
tap_is "$status,$out,$err" "1,,vmafrag: cannot read /proc/$few/maps: Cannot allocate memory"$'\n' \
	'no memory for the picture'
tap_true 'and no picture' test ! -e "$work/memory.svg"

# Processes that end just then: an answer or an error, nothing else.
odd=
for delay in 0 0.001 0.002 0.003 0.005 0.008; do
	for _ in 1 2 3; do
		sleep "$delay" &
		short=$!
		capture "$vmafrag" --json "$short"
		wait "$short" || :
		case $status in
		0) json "$out" pid >/dev/null || odd+="$out$err" ;;
		1) [[ -z $out && $err == "vmafrag: "*"process $short"* ]] || odd+="$out$err" ;;
		*) odd+="status $status: $out$err" ;;
		esac
	done
done
tap_is "$odd" '' 'processes that end meanwhile'

# ---- watch ------------------------------------------------------------------

# watching COMMAND...: it watches $pid, which meets its end by life()
watching() {
	: >"$work/watched"
	(
		life || :
		kill "$pid"
	) &
	# shellcheck disable=SC2016 # the inner shell expands it
	capture bash -c 'set -o pipefail; "$@" | tee "$0"' "$work/watched" timeout "$RELOCATE_LIMIT" "$@" "$pid"
}
# shellcheck disable=SC2317 # by watching
life() { wait_until printed "$lines"; }
# shellcheck disable=SC2317 # by wait_until
printed() { (($(wc -l <"$work/watched") >= $1)); }

start "$work/maker" 50 0 watched
yesterday=$(date +%F)
lines=3 SECONDS=0
watching "$vmafrag" --watch=0.2
finish "$pid" "$to" "$from"
tap_is "$status,$err" 0, '--watch ends with the process, with success'
lines=$(wc -l <<<"${out%$'\n'}")
tap_true "--watch prints a line each time ($lines in $SECONDS s)" test "$lines" -ge 3 -a "$lines" -le $((5 * (SECONDS + 2)))
tap_like "$(date +%F) $yesterday" "$(cut -c 1-10 <<<"${out%$'\n'}" | tail -n 1)" '--watch has the date'
tap_is "$(grep -cvE '^[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9:]{8}  mappings [0-9]+ of [0-9]+ \([0-9.]+ %\)  separate neighbours 49  kernel memory [0-9]+ to [0-9]+ KiB$' <<<"${out%$'\n'}")" \
	0 '--watch: each line has the figures'

start "$work/maker" 50 0 watched
lines=3
watching "$vmafrag" --json --watch=0.2
finish "$pid" "$to" "$from"
tap_is "$status,$err" 0, '--watch --json ends with the process, with success'
bad=0
while read -r line; do
	[[ $(json "$line" pid separate_neighbours) == "$pid 49" ]] || bad=$((bad + 1))
done <<<"${out%$'\n'}"
tap_is "$bad" 0 '--watch --json: each line is an object'

# The end is noticed at once, not when the seconds are over: they are a day.
if python3 -c 'import os; os.pidfd_open(os.getpid())' 2>/dev/null; then
	start "$work/maker" 5 0 watched
	lines=1
	watching "$vmafrag" --watch=86400
	finish "$pid" "$to" "$from"
	tap_is "$status" 0 '--watch does not wait for the seconds to pass'
else
	skip '--watch does not wait for the seconds to pass' 'no pidfd_open'
fi

# Without a pidfd, the end is noticed the next time.
start "$work/maker" 50 0 watched
lines=1
watching "$work/older" "$vmafrag" --json --watch=0.1
finish "$pid" "$to" "$from"
tap_is "$status,$err,$(json "$(head -n 1 <<<"$out")" separate_neighbours)" 0,,49 '--watch on an older kernel'

# It goes on when the process executes another program.
start "$work/maker" 40 0 before exec
life() {
	wait_until printed 1 && echo >&"$to" && wait_until grep -q '"cat"' "$work/watched"
}
watching "$vmafrag" --json --watch=0.05
finish "$pid" "$to" "$from"
tap_is "$status,$err" 0, '--watch of a process that executes another program'
tap_is "$(json "$(head -n 1 <<<"$out")" command separate_neighbours)" 'before 39' 'first the one program'
tap_is "$(json "$(tail -n 1 <<<"${out%$'\n'}")" command)" 'cat' 'then the other'

# ---- users ------------------------------------------------------------------

other=65534
if ((EUID != 0)) || ! command -v setpriv >/dev/null || ! setpriv --reuid="$other" --clear-groups true 2>/dev/null; then
	for test in 'another user' 'another user, --watch' 'as an ordinary user' 'sizes for an ordinary user' \
		'an own process that may not be read'; do
		skip "$test" 'not root, or no setpriv'
	done
else
	as_other=(setpriv --reuid="$other" --regid="$other" --clear-groups)
	message="vmafrag: cannot read /proc/$few/maps: Permission denied (it belongs to another user; run as that user or as root)"
	capture "${as_other[@]}" "$vmafrag" --json "$few"
	tap_is "$status,$out,$err" "1,,$message"$'\n' 'another user'
	capture "${as_other[@]}" "$vmafrag" --watch "$few"
	tap_is "$status,$out,$err" "1,,$message"$'\n' 'another user, --watch'
	capture "${as_other[@]}" "$vmafrag" --top "$few"
	tap_is "$status,$out,$err" '1,,vmafrag: not all of these processes may be read; run as root'$'\n' 'another user, --top'
	start "${as_other[@]}" "$work/maker" 30 0 own
	capture "${as_other[@]}" "$vmafrag" --top
	tap_like "$status,$out" "^0,.* $pid .*  own.*[0-9]+ processes may not be read; run as root" '--top as an ordinary user'
	capture "${as_other[@]}" "$vmafrag" --top --warn 99
	tap_like "$status,$(head -n 1 <<<"$out")" '^0,OK: .* %\), [0-9]+ processes may not be read$' 'which the line for monitoring says, too'
	capture "${as_other[@]}" "$vmafrag" --json "$pid"
	tap_is "$status,$err,$(json "$out" "${counts[@]}")" "0,,$(awk_count "$pid")" 'as an ordinary user'
	if "${as_other[@]}" test -r /proc/slabinfo; then
		skip 'sizes for an ordinary user' 'may read /proc/slabinfo'
	else
		tap_like "$out" '"vm_area_struct": 192, "anon_vma": 104, "anon_vma_chain": 64, "source": "default"' \
			'sizes for an ordinary user'
	fi
	finish "$pid" "$to" "$from"
	start "${as_other[@]}" "$work/maker" 30 0 own undumpable
	capture "${as_other[@]}" "$vmafrag" "$pid"
	tap_is "$status,$out,$err" \
		"1,,vmafrag: cannot read /proc/$pid/maps: Permission denied (it has or had privileges; run as root)"$'\n' \
		'an own process that may not be read'
	finish "$pid" "$to" "$from"
fi
if ! ((EUID)) && command -v setpriv >/dev/null; then
	capture setpriv --reuid=4242 --clear-groups "$vmafrag" --top
	tap_is "$status,$out,$err" '1,,vmafrag: no process may be read'$'\n' '--top with nothing to show'
fi
if [[ -r /proc/slabinfo ]]; then
	wanted=$(awk '$1 == "vm_area_struct" { print $4 }' /proc/slabinfo)
	tap_is "$("$vmafrag" --json "$few" | grep -o '"vm_area_struct": [0-9]*')" \
		"\"vm_area_struct\": ${wanted:-192}" 'sizes from /proc/slabinfo'
else
	skip 'sizes from /proc/slabinfo' 'it cannot be read'
fi
finish "$few" "$few_to" "$few_from"

# ---- another /proc ----------------------------------------------------------

# played SETUP COMMAND...: with a /proc made by SETUP; process 7 is in it.
# shellcheck disable=SC2317 # through capture
played() { unshare -m bash -c "mount -t tmpfs none /proc; cd /proc; mkdir 7; $1"'; exec "$@"' - "${@:2}"; }
maps='1000-2000 rw-p 0 0:0 0
2000-3000 rw-p 0 0:0 0
3000-4000 r--s 0 0:1 0 /shared
7fff00000000-ffff00000000 ---p 0 0:0 0'
good="echo '$maps' >7/maps; echo name >7/comm"
if ((EUID != 0)) || ! unshare -m mount -t tmpfs none /proc 2>/dev/null; then
	skip 'another /proc' 'not root, or no mount namespaces'
else
	reads='vmafrag: cannot read /proc/7/maps:'
	gone='vmafrag: process 7 has no memory: it has ended or is a kernel thread'
	while IFS='|' read -r setup wanted; do
		capture played "$setup" "$vmafrag" 7
		tap_is "$status,$out,$err" "1,,$wanted"$'\n' "/proc: $setup"
	done <<END
rmdir 7|vmafrag: cannot read /proc: is it mounted?
rmdir 7; touch 7|vmafrag: cannot open /proc/7: Not a directory
:|$gone
touch 7/maps|$gone
mkdir 7/maps|$reads Is a directory
echo x >7/maps|$reads Protocol error
printf 1 >7/maps|$reads Protocol error
END
	capture played : "$vmafrag" --self-test
	tap_is "$status,$err" '1,vmafrag: cannot read /proc/self/maps: No such file or directory
vmafrag: cannot read /proc/self/maps: No such file or directory'$'\n' 'the self-test without /proc'

	capture played "$good" "$vmafrag" 7
	tap_is "$status,$err,$(table "$out")" '0,,4 3 1 1 2' 'another /proc: figures'
	tap_like "$out" 'separate neighbours +1 in 1 run, the longest of 2 mappings \(flags not compared\)' \
		'another /proc: no smaps, and that is said'
	tap_like "$out" 'their kernel memory +about 1 KiB' 'another /proc: a range of 1 to 1 KiB is none'
	# In smaps: flags, protection keys and policies.  Three pages, of which two may merge.
	while IFS='|' read -r first second third key policies wanted; do
		capture played "$good; printf '1000-2000 rw-p 0 0:0 0\nSize: 4 kB\nVmFlags: $first\n2000-3000 rw-p 0 0:0 0
${key:+ProtectionKey: $key
}VmFlags: $second\n3000-4000 rw-p 0 0:0 0\nVmFlags: $third\n' >7/smaps; printf '$policies' >7/numa_maps" "$vmafrag" --json 7
		tap_is "$status,$err,$(json "$out" mappings separate_neighbours flags_compared)" "0,,3 $wanted True" 			"another /proc: smaps, $first, $second, $third, key ${key:-none}, ${policies:-no policies}"
	done <<'END'
rd wr mr|rd wr mr|rd wr mr|||2
rd wr mr|rd wr mr ac|rd wr mr|||0
rd wr mr|rd wr mr ac|rd wr mr ac|||1
rd wr mr sd|rd wr mr gu|rd wr mr|||2
rd wr mr um|rd wr mr um|rd wr mr|||1
rd mr|rd mr|rd mr|3||0
rd mr|rd mr|rd mr|0||2
rd mr|rd mr|rd mr||1000 default anon=1\n2000 default anon=1\n3000 default\n|2
rd mr|rd mr|rd mr||1000 default anon=1\n2000 bind:0 anon=1\n3000 bind:0\n|1
rd mr|rd mr|rd mr||1000 prefer (many):0 anon=1\n2000 prefer (many):1 anon=1\n3000 prefer (many):1 x\n|1
END
	# A run ends where something else lies between.
	capture played "$good; for start in 1 2 3 4 5 6; do
			kind=p; [ \$start != 3 ] || kind=s
			printf '%d000-%d000 rw-%s 0 0:0 0\nVmFlags: %s\n' \$start \$((start + 1)) \$kind
		done >7/smaps" "$vmafrag" --why 7
	tap_is "$(awk '/^addresses/ { on = 1; next } on && NF { print $1, $2, $4, $5, $6, $7 }' <<<"$out")" \
		'0000000000001000-0000000000003000 2 page offset or anon_vma
0000000000004000-0000000000007000 3 page offset or anon_vma' 'another /proc: two runs'
	# What is no smaps, or not all of it, is left alone, and that is said.
	while IFS='|' read -r setup; do
		capture played "$good; $setup" "$vmafrag" --json 7
		tap_is "$status,$err,$(json "$out" mappings separate_neighbours flags_compared)" '0,,4 1 False' 			"another /proc: not compared, $setup"
	done <<'END'
echo x >7/smaps
mkdir 7/smaps
: >7/smaps
echo 'VmFlags: rd' >7/smaps
printf '1000-2000 rw-p 0 0:0 0\n2000-3000 rw-p 0 0:0 0\n' >7/smaps
printf '1000-2000 rw-p 0 0:0 0\n' >7/smaps
printf '1000-2000 rw-p 0 0:0 0\nVmFlags: rd' >7/smaps
printf '1000-2000 rw-p 0 0:0 0\nVmFlags: r\n' >7/smaps
printf '1000-2000 rw-p 0 0:0 0\nVmFlags: r d\n' >7/smaps
echo x >7/numa_maps; printf '1000-2000 rw-p 0 0:0 0\nVmFlags: rd\n' >7/smaps
echo 1000 >7/numa_maps; printf '1000-2000 rw-p 0 0:0 0\nVmFlags: rd\n' >7/smaps
END
	capture played "$good" "$vmafrag" 7
	tap_like "$out" '^process +7 \(name\)
mappings +4 \(limit unknown\).*if they merged +3 \(limit unknown\)' 'another /proc: no limit'
	capture played "$good; rm 7/comm; mkdir 7/comm" "$vmafrag" --json --svg "$work/played.svg" 7
	tap_is "$status,$err,$(json "$out" command max_map_count percent "${counts[@]}")" '0,, None None 4 3 1 1 2' \
		'another /proc: neither limit nor name in JSON'
	tap_is "$(well_formed "$work/played.svg")" 'Address space of process 7 ()' 'nor in the SVG'
	tap_like "$(<"$work/played.svg")" '>4 mappings, of these 1 separate neighbours in 1 run\..*128 TiB' \
		'which has what is known'
	capture played "$good; printf 'a|b' >7/comm; mkdir -p sys/vm; echo 10 >sys/vm/max_map_count" "$vmafrag" --warn 99 7
	tap_like "$out" $'^OK: a\uFFFDb \\(7\\) has 4' "another /proc: no bar in a monitoring system's line"
	# Sizes of 0 and lines of another form do not count.
	long=$(printf '%070d' 0)
	for size in 0 300; do
		capture played "$good; printf $long >7/comm; mkdir -p sys/vm; echo 10 >sys/vm/max_map_count
			echo 'slabinfo - version: 2.1
			vm_area_struct 1 2 200 x
			anon_vma 1 2 100 x
			anon_vma_chain 1 2 $size x' >slabinfo" "$vmafrag" --json 7
		wanted="${long:0:64} 10 40.0 264 364"
		[[ $size == 0 ]] || wanted="${long:0:64} 10 40.0 500 600"
		tap_is "$status,$(json "$out" command max_map_count percent kernel_bytes_min kernel_bytes_max)" \
			"0,$wanted" "another /proc: sizes, one of $size"
		tap_like "$out" "\"source\": \"$(if ((size)); then echo slabinfo; else echo default; fi)\"" 'and their source'
	done
	# Root that may not is not told to become root.
	if command -v setpriv >/dev/null; then
		for capability in 0000000000000000:'root lacks the capability CAP_SYS_PTRACE here, as in a container' \
			0000000000080000:'although root may: it is in another user namespace, or a security module forbids it'; do
			capture played "$good; chmod 0 7/maps; mkdir -p self; printf 'Name:\tx\nCapEff:\t${capability%%:*}\n' >self/status" \
				setpriv --bounding-set=-dac_override,-dac_read_search --inh-caps=-all "$vmafrag" 7
			tap_is "$status,$err" "1,$reads Permission denied (${capability#*:})"$'\n' "no permission as root, ${capability%%:*}"
		done
		for setup in : 'echo x >7/status' 'printf "\nUid:\t65534\n" >7/status'; do
			capture played "$good; chmod 0 7/maps; $setup" setpriv --reuid=65534 --clear-groups "$vmafrag" 7
			wanted='it belongs to another user; run as that user or as root'
			[[ $setup != *Uid* ]] || wanted='it has or had privileges; run as root'
			tap_is "$status,$err" "1,$reads Permission denied ($wanted)"$'\n' "no permission, $setup"
		done
	else
		skip 'no permission' 'no setpriv'
	fi
fi

# ---- the page ---------------------------------------------------------------

page=$top/man/vmafrag.1
for option in $("$vmafrag" --help | grep -o -- '^ *--[a-z-]*' | tr -d ' '); do
	tap_true "the page has $option" grep -qF -- "${option//-/\\-}" "$page"
done
if command -v mandoc >/dev/null; then
	tap_is "$(mandoc -T lint -W warning "$page" 2>&1)" '' 'mandoc -T lint has no complaint'
else
	skip 'mandoc -T lint has no complaint' 'no mandoc'
fi
if command -v groff >/dev/null; then
	tap_is "$(groff -man -Tutf8 -ww -z "$page" 2>&1)" '' 'groff -ww has no complaint'
else
	skip 'groff -ww has no complaint' 'no groff'
fi
# The example is what it prints today.
start "$work/maker" 12 0 server
keys() { sed -n 's/^\(process\|mappings\|private anonymous\|separate neighbours\|if they merged\|their kernel memory\|near the limit\)  .*/\1/p'; }
tap_is "$(sed '/heal 4711/,$d; s/^\\&//' "$page" | keys)" "$("$vmafrag" "$pid" | keys)
near the limit" 'the table in the page has the lines of today'
finish "$pid" "$to" "$from"

tap_end
