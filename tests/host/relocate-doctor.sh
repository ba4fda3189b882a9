#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# relocate-doctor: what it says is so, on this kernel and under limits, filters
# and without privileges.  RELOCATE_EXPECT=supported or =unsupported says
# whether the kernel must be found to have the flags.

set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
# shellcheck source=tests/tap.sh
. "$here/../tap.sh"

cc=${CC:-gcc}
python=(python3 -S -E)
[[ ! -x /usr/bin/python3 ]] || python[0]=/usr/bin/python3
src=$top/compat
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
lib=${RELOCATE_BUILD:-build}/compat
[[ $lib == /* ]] || lib=$PWD/$lib
# For another user, too.
chmod 755 "$tmp"
mkdir "$tmp/runs"
cd "$tmp"

unset MREMAP_COMPAT_METHODS LD_PRELOAD
strict=(-std=gnu11 -O2 -Wall -Wextra -Werror "-I$src")
doctor=$tmp/relocate-doctor
if [[ -x $lib/relocate-doctor ]]; then
	cp "$lib/relocate-doctor" "$doctor"
else
	diag "no $lib/relocate-doctor, building one"
	tap_run 'the program builds' "$cc" "${strict[@]}" -std=c11 \
		-o "$doctor" "$src"/tools/{relocate-doctor,report}.c "$src"/*.c
fi

# under FILTER[,FILTER]... COMMAND...: with seccomp filters CALL[/BITS]=ACTION,
# for calls that have one of the bits in their flags, or "ignore-children".
cat >under.c <<'EOF2'
#define _GNU_SOURCE
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define REFUSE(err) SECCOMP_RET_ERRNO | (err)

static const struct {
	const char *name;
	unsigned int nr, flags;		/* which argument has the flags */
} calls[] = {
	{ "ioctl", SYS_ioctl, 1 }, { "mremap", SYS_mremap, 3 },
	{ "prctl", SYS_prctl, 0 }, { "userfaultfd", SYS_userfaultfd, 0 },
	{ "madvise", SYS_madvise, 2 }, { "process_madvise", 440, 3 },
};
static const struct {
	const char *name;
	unsigned int action;
} actions[] = {
	{ "kill", SECCOMP_RET_KILL_PROCESS },
	{ "kill-thread", SECCOMP_RET_KILL_THREAD },
	{ "EPERM", REFUSE(EPERM) }, { "EINVAL", REFUSE(EINVAL) },
	{ "EMFILE", REFUSE(EMFILE) }, { "ENOMEM", REFUSE(ENOMEM) },
	{ "ENOSYS", REFUSE(ENOSYS) },
};
#define FIND(table, what) ({ \
	size_t found = 0; \
	while (strcmp(table[found].name, what)) \
		if (++found == sizeof(table) / sizeof(table[0])) \
			exit(125); \
	found; \
})

static void filter(char *word)
{
	char *action = strchr(word, '=');
	char *bits = strchr(word, '/');

	*action++ = '\0';
	if (bits)
		*bits++ = '\0';
	const size_t call = FIND(calls, word);
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
			 offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, calls[call].nr, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
			 offsetof(struct seccomp_data, args[0]) +
			 8 * calls[call].flags),
		BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K,
			 bits ? strtoul(bits, NULL, 10) : 0, 0, bits ? 1 : 0),
		BPF_STMT(BPF_RET | BPF_K,
			 actions[FIND(actions, action)].action),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { sizeof(code) / sizeof(code[0]), code };

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
	    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program)) {
		perror("filter");
		exit(125);
	}
}

int main(int argc, char **argv)
{
	char *word;

	while (argc > 2 && (word = strsep(&argv[1], ","))) {
		if (!strcmp(word, "ignore-children"))
			signal(SIGCHLD, SIG_IGN);
		else
			filter(word);
	}
	execvp(argv[2], argv + 2);
	perror(argv[2]);
	return 127;
}
EOF2
tap_run 'helper under.c builds' "$cc" "${strict[@]}" -o under under.c

# To be preloaded: limits that would be in the way of the dynamic loader, and
# systems that this one may not be.
cat >system.c <<'EOF2'
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

#define NEW_FLAGS (8 | 16)

static long (*next_syscall)(long, ...);
static bool kernel_relocates, libc_refuses, hangs;

static void limit(int resource, const char *variable)
{
	const char *value = getenv(variable);
	struct rlimit limit;

	if (!value)
		return;
	limit.rlim_cur = limit.rlim_max = strtoul(value, NULL, 10);
	if (setrlimit(resource, &limit))
		_Exit(125);
}

__attribute__((constructor)) static void start(void)
{
	next_syscall = (long (*)(long, ...))dlsym(RTLD_NEXT, "syscall");
	kernel_relocates = getenv("TEST_KERNEL");
	libc_refuses = getenv("TEST_LIBC");
	hangs = getenv("TEST_HANG");
	limit(RLIMIT_NOFILE, "TEST_NOFILE");
	limit(RLIMIT_NPROC, "TEST_NPROC");
	limit(RLIMIT_MEMLOCK, "TEST_MEMLOCK");
}

/* A kernel that has the flags; a system call that takes ever so long. */
long syscall(long nr, ...)
{
	long a[6];
	va_list ap;

	va_start(ap, nr);
	for (int i = 0; i < 6; i++)
		a[i] = va_arg(ap, long);
	va_end(ap);
	if (nr == SYS_mremap && kernel_relocates)
		a[3] &= ~NEW_FLAGS;
	if (nr == SYS_userfaultfd && hangs)
		pause();
	return next_syscall(nr, a[0], a[1], a[2], a[3], a[4], a[5]);
}

/* Soon. */
unsigned int alarm(unsigned int seconds)
{
	const struct itimerval timer = { .it_value = { 0, 200000 } };

	(void)seconds;
	setitimer(ITIMER_REAL, &timer, NULL);
	return 0;
}

/* Of a C library that passes every flag, and of an old one. */
void *mremap(void *p, size_t old, size_t new, int flags, ...)
{
	if (libc_refuses && (flags & NEW_FLAGS)) {
		errno = EINVAL;
		return MAP_FAILED;
	}
	return (void *)syscall(SYS_mremap, p, old, new, flags, 0, 0);
}
EOF2
tap_run 'helper system.c builds' \
	"$cc" "${strict[@]}" -fPIC -shared -o system.so system.c -ldl
# system VARIABLE=VALUE... COMMAND...
# shellcheck disable=SC2317 # through run and both
system() { env LD_PRELOAD="$tmp/system.so" "$@"; }

# What the kernel and the library really do.
cat >really.c <<'EOF2'
#define _GNU_SOURCE
#include <mremap_compat.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static size_t page;

static void *map(size_t pages)
{
	void *p = mmap(NULL, pages * page, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	memset(p, 1, pages * page);
	return p;
}

/* The method by which so many bytes move to a new address. */
static const char *method_for(size_t size)
{
	const size_t pages = size / page;
	struct mremap_compat_report report;

	if (mremap_compat_ext(map(pages), size, size,
			      MREMAP_MAYMOVE | MREMAP_FIXED |
			      MREMAP_RELOCATE_ANON, map(pages),
			      MREMAP_COMPAT_ALL_METHODS, &report) == MAP_FAILED)
		return "failed";
	return mremap_compat_method_name(
		(enum mremap_compat_method)report.method);
}

/*
 * Whether so many bytes can merge with a new page below them, after they had to
 * move to grow.
 */
static bool reallocated(size_t size)
{
	char *p = mmap(NULL, size + page, PROT_NONE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), line[512];
	unsigned long start;
	bool merged = true;
	FILE *maps;

	mprotect(p, size, PROT_READ | PROT_WRITE);
	memset(p, 1, size);
	p = mremap_compat_realloc(p, size, size + page);
	if (!p || mmap(p - page, page, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1,
		       0) != p - page)
		exit(125);
	maps = fopen("/proc/self/maps", "r");
	while (maps && fgets(line, sizeof(line), maps))
		merged &= sscanf(line, "%lx", &start) == 1 &&
			  start != (unsigned long)p;
	fclose(maps);
	return merged;
}

int main(int argc, char **argv)
{
	char *p;

	page = (size_t)sysconf(_SC_PAGESIZE);
	if (argc > 1 && !strcmp(argv[1], "kernel")) {
		p = map(1);
		puts((void *)syscall(SYS_mremap, p, page, page,
				     MREMAP_MAYMOVE | 8, 0) == p
		     ? "supported" : "unsupported");
		return 0;
	}
	printf("%s %s\n", method_for(8 * page),
	       reallocated(8 * page) ? "relocated" : "plain");
	return 0;
}
EOF2
library=("$src"/*.c)
[[ ! -f $lib/libmremap_compat.a ]] || library=("$lib/libmremap_compat.a")
tap_run 'helper really.c builds' "$cc" "${strict[@]}" -o really really.c "${library[@]}"

# What a run says is looked at in the end, all at once: an interpreter for each
# question takes long in a virtual machine.

# run NAME STATUS COMMAND...: of relocate-doctor, without --json.  STATUS may be
# empty: any.  NAME has no slash.
run() {
	local name=$1 wanted=$2
	shift 2
	status=0
	"$@" --json >"runs/$name.json" 2>"runs/$name.err" </dev/null || status=$?
	echo "$status" >"runs/$name.status"
	[[ -z $wanted ]] || tap_is "$status" "$wanted" "exit status: $name"
}
# both NAME STATUS COMMAND...: with and without --json.
both() {
	local again=0
	run "$@"
	"${@:3}" >"runs/$1.table" </dev/null || again=$?
	tap_is "$again" "$status" "and with a table: $1"
}
# want NAME EXPRESSION WANTED DESCRIPTION: a Python expression about a run; what
# is known in it is in check.py.
want() { printf '%s\0' "$@" >>wants; }

cat >check.py <<'EOF2'
"""Answer the questions, and check that each table and its JSON say the same."""
import glob, json, re, sys

def agree(path, d):
    table, section = {}, None
    for line in open(path):
        line = line.rstrip("\n")
        if line and line[0] != " ":
            section = table.setdefault(line, {})
        elif line.startswith("  - "):
            section[len(section)] = line[4:]
        elif line:
            name, value = line[2:30].rstrip(), line[31:]
            assert line[30] == " " and value and value[0] != " ", line
            section[name] = value

    def same(what, shown, wanted):
        if shown != wanted:
            raise AssertionError(f"{what}: table {shown!r}, JSON {wanted!r}")

    system, settings = table["System"], table["Settings"]
    same("kernel", system["kernel"], d["kernel"]["release"])
    same("machine", system["machine"], d["kernel"]["machine"])
    same("libc", system["C library"], " ".join(filter(None, (d["libc"]["name"], d["libc"]["version"]))))
    same("library", system["libmremap_compat"], d["library"])
    same("mremap()", system["its mremap()"].split()[0],
         {True: "passes", False: "refuses", None: "unknown"}[d["libc"]["mremap_passes_flag"]])
    same("realloc()", system["its realloc()"].split()[0],
         {True: "can", False: "does", None: "unknown"}[d["libc"]["malloc_tunable"]])
    for header, there in d["headers"].items():
        same(header, f"<{header}>" in system["headers at compile time"], there)
    same("methods", list(table["Methods"]), list(d["methods"]))
    for name, m in d["methods"].items():
        shown = re.split("  +", table["Methods"][name], 1) if "  " in table["Methods"][name] \
            else re.match(r"(not permitted|\w+) ?(.*)", table["Methods"][name]).groups()
        same(name, shown[0], m["support"])
        rest = shown[1] if len(shown) > 1 else ""
        same(name + " switched off", rest.startswith("switched off"), not m["enabled"])
        same(name + " reason", re.sub("^switched off(; )?", "", rest), m["reason"] or "")
    same("pieces", {name.split("(")[0]: value.split(" (")[0] for name, value in table["Memory in pieces"].items()},
         d["coalesce"])
    shown = settings["MREMAP_COMPAT_METHODS"]
    value, ignored = d["environment"]["MREMAP_COMPAT_METHODS"], d["environment"]["ignored"]
    same("ignored", " (ignored: " in shown, ignored)
    same("variable", re.sub(r" \(ignored: .*", "", shown), "not set" if value is None else value)
    for name, value in (*d["sysctl"].items(), *d["limits"].items()):
        same(name, settings[name].split()[0], "unknown" if value is None else str(value))
    same("device", settings["/dev/userfaultfd"], d["/dev/userfaultfd"])
    same("settings", len(settings), 2 + len(d["sysctl"]) + len(d["limits"]))
    same("use", table["What will be used"], {name + "()": value for name, value in d["use"].items()})
    same("advice", list(table.get("Advice", {}).values()), d["advice"])

def say(good, what, detail=""):
    print("ok" if good else "not ok", what, ascii(detail)[:2000], sep="\t")

runs = {}
for path in sorted(glob.glob("runs/*.json")):
    name = path[5:-5]
    try:
        d = runs[name] = json.load(open(path))
        d["exit status"] = int(open(f"runs/{name}.status").read())
    except Exception as e:
        say(False, name, (e, open(path).read(), open(f"runs/{name}.err").read()))
        continue
    if d["status"] != d["exit status"]:
        say(False, f"exit status in JSON: {name}", d["status"])
say(True, f"JSON of {len(runs)} runs")
for path in sorted(glob.glob("runs/*.table")):
    name = path[5:-6]
    try:
        agree(path, runs[name])
        say(True, f"table and JSON agree: {name}")
    except Exception as e:
        say(False, f"table and JSON agree: {name}", e)

words = open("wants", encoding="utf-8", errors="surrogateescape").read().split("\0")[:-1]
for name, expression, wanted, what in zip(*[iter(words)] * 4):
    d = runs.get(name, {})
    methods, use = d.get("methods", {}), d.get("use", {})
    names = {
        "d": d, "methods": methods, "use": use,
        "variable": d.get("environment", {}).get("MREMAP_COMPAT_METHODS"),
        "really": lambda: "%s %s\n" % (
            use["mremap_compat_ext"], "plain" if use["mremap_compat_realloc"] == "plain" else "relocated"),
        "advice": "\n".join(d.get("advice", ())),
        "support": {n: methods[n]["support"] for n in methods},
        "reason": {n: methods[n]["reason"] for n in methods},
        "enabled": [n for n in methods if methods[n]["enabled"]],
    }
    try:
        got = str(eval(f"({expression})", names))
    except Exception as e:
        got = repr(e)
    say(got == wanted, f"{what}: {name}", f"got {got!r}, wanted {wanted!r}, {d}")
EOF2

# --- the kernel, and what is expected of it -----------------------------------

kernel=$(./really kernel)
tap_is "$kernel" "${RELOCATE_EXPECT:-$kernel}" 'the kernel is as expected'
both plainly '' "$doctor"
best=$status
tap_is "$(<runs/plainly.err)" '' 'nothing on standard error'
read -r uffd copy method libc <<<"$("${python[@]}" -c '
import json
d = json.load(open("runs/plainly.json"))
m, l = d["methods"], d["libc"]
print(m["uffd-move"]["support"], m["copy"]["support"], d["use"]["mremap_compat_ext"], l["name"])')"
# With the kernel's flags, and without them.
if [[ $kernel == supported ]]; then if_kernel() { echo "$1"; }; else if_kernel() { echo "$2"; }; fi
other_if() { if [[ $1 == supported ]]; then echo 1; else echo 2; fi; }
# Does anything but the kernel relocate here?
other=$(other_if "$(grep -xm 1 supported <<<"$uffd"$'\n'"$copy" || :)")
tap_is "$best" "$(if_kernel 0 "$other")" 'exit status'
want plainly 'support["kernel"]' "$kernel" 'the kernel is found to be so'
want plainly 'd["kernel"]["release"], d["kernel"]["machine"]' \
	"('$(uname -r)', '$(uname -m)')" 'release and machine'
want plainly 'd["sysctl"]["vm.max_map_count"], d["sysctl"]["vm.overcommit_memory"]' \
	"($(</proc/sys/vm/max_map_count), $(</proc/sys/vm/overcommit_memory))" 'sysctls'
want plainly 'd["limits"]["RLIMIT_NOFILE"]' "$(ulimit -Sn)" 'a limit'

# --- options ------------------------------------------------------------------

capture "$doctor" --json --help extra
tap_is "$status" 0 '--help'
for text in --json --report --help --version '0 ' '1 ' '2 ' '3 ' '64 '; do
	tap_like "$out" $'\n'"  $text" "--help knows $text"
done
v=$(awk '$2 ~ /^MREMAP_COMPAT_VERSION_(MAJOR|MINOR|PATCH)$/ { v = v "." $3 } END { print substr(v, 2) }' \
	"$src/mremap_compat.h")
capture "$doctor" --version
tap_is "$status $out" "0 relocate-doctor $v (libmremap_compat $v)"$'\n' '--version'
for option in --nonsense -j --json=1 extra -; do
	capture "$doctor" "$option"
	tap_is "$status,$out" 64, "usage error: $option"
	tap_like "$err" 'try --help' "message for $option"
done

# --- methods ------------------------------------------------------------------

check_methods() { # VALUE STATUS
	run "methods $1" "$2" env MREMAP_COMPAT_METHODS="$1" "$doctor"
	# The library has the last word on what the variable means.
	want "methods $1" 'set(enabled) == (set(methods) if variable == "all" else {"plain", *variable.split(",")})' \
		True 'the library reads the variable the same way'
	want "methods $1" 'really()' "$(MREMAP_COMPAT_METHODS=$1 ./really)"$'\n' \
		'what will be used is used'
}
check_methods all "$best"
check_methods kernel "$(if_kernel 0 2)"
check_methods plain 2
check_methods uffd-move "$(other_if "$uffd")"
check_methods copy "$(other_if "$copy")"
check_methods copy,uffd-move "$other"
check_methods kernel,uffd-move,copy,plain "$best"
want 'methods plain' 'support["kernel"], support["copy"]' "('$kernel', '$copy')" \
	"switched off: the system's answer is shown"
want 'methods plain' '"copy would work, but MREMAP_COMPAT_METHODS switches it off" in advice' \
	"$(if [[ $copy == supported ]]; then echo True; else echo False; fi)" 'and advice'
both 'copy only' '' env MREMAP_COMPAT_METHODS=copy "$doctor"
strange=$'\e[31m"\\\xff\x7f'
for value in '' copy,nonsense nonsense,copy ',' 'copy,' ' copy' COPY cop copyy all,copy \
	'copy uffd-move' 15 copy,,plain "$strange"; do
	name="bad ${value//[!a-zA-Z0-9 ,]/?}"
	# A table cannot have every value.
	how=both
	[[ $value != '' && $value != ' '* && $value != "$strange" ]] || how=run
	$how "$name" "$best" env MREMAP_COMPAT_METHODS="$value" "$doctor"
	want "$name" 'd["environment"]["ignored"], len(enabled)' '(True, 4)' 'ignored'
	want "$name" '"is no method: the library ignores" in advice' True 'and complained about'
done
want 'bad copy,nonsense' "'the word \"nonsense\", which is no method' in advice" True 'the complaint has the word'
capture env MREMAP_COMPAT_METHODS="$strange" "$doctor"
tap_like "$out" '\?\[31m"\\\?\? \(ignored' 'the table has it'
tap_is "$(LC_ALL=C grep -c '[^ -~]' <<<"$out" || :)" 0 'without control characters'
want "$name" 'ascii(variable)' "'\\x1b[31m\"\\\\\\ufffd\\x7f'" 'any byte is fit for JSON'

# The example of the library's manual, with the best method and with none.
vector=$lib/examples/vector
if [[ ! -x $vector ]]; then
	vector=$tmp/vector
	tap_run 'the example builds' \
		"$cc" "${strict[@]}" -std=c11 -o "$vector" "$src/examples/vector.c" "${library[@]}"
fi
for value in all plain; do
	[[ $value == all ]] || method=plain
	capture env MREMAP_COMPAT_METHODS=$value "$vector"
	tap_like "$status,$out" "^0,[0-9]+ vectors, the larger ones by $method"$'\n' "example, $value: names the method"
	counts=$(awk '/mappings/ { print $2 }' <<<"$out" | xargs)
	case $method in
	plain) tap_like "$counts" '^([0-9]+) \1$' 'without relocation as many mappings' ;;
	*) tap_true "with relocation fewer mappings: $counts" test "${counts% *}" -gt "$((${counts#* } * 5))" ;;
	esac
done

glibc=$(if getconf GNU_LIBC_VERSION >/dev/null 2>&1; then echo True; else echo False; fi)

# --- the C library ------------------------------------------------------------

for libc_variable in TEST_NONE TEST_LIBC; do
	passes=True
	[[ $libc_variable == TEST_NONE ]] || passes=False
	run "mremap, $libc_variable" "$best" system $libc_variable=1 "$doctor"
	want "mremap, $libc_variable" 'd["libc"]["mremap_passes_flag"]' $passes 'whether mremap() passes the flag'
	want "mremap, $libc_variable" '"refuses the flag" in advice' \
		"$(if [[ $passes$kernel == Falsesupported ]]; then echo True; else echo False; fi)" 'advice if it helps'
	# prctl(2) for filters is 22, for no new privileges 38; 16 is of 22 alone.
	run "no filters, $libc_variable" "$best" system $libc_variable=1 ./under prctl/16=EINVAL "$doctor"
	want "no filters, $libc_variable" 'd["libc"]["mremap_passes_flag"]' "$(if_kernel $passes None)" \
		'that cannot be found out on every kernel then'
	# On a kernel that has the flags, if only by what is preloaded.
	both "relocates, $libc_variable" 0 system TEST_KERNEL=1 $libc_variable=1 "$doctor"
	want "relocates, $libc_variable" 'support["kernel"], *list(use.values())[:3]' \
		"('supported', 'kernel', 'kernel', 'kernel')" \
		'the flags are used'
	want "relocates, $libc_variable" '"refuses the flag" in advice' \
		"$(if [[ $passes == False ]]; then echo True; else echo False; fi)" 'advice about mremap()'
	want "relocates, $libc_variable" '"without code" in advice or "vm.max_map_count" in advice' False \
		'no cures where the kernel relocates'
	want "relocates, $libc_variable" '("realloc()" in advice) == (d["libc"]["malloc_tunable"] is False)' True \
		'advice about realloc()'
	run "relocates, no filters, $libc_variable" 0 \
		system TEST_KERNEL=1 $libc_variable=1 ./under prctl/16=EINVAL "$doctor"
	want "relocates, no filters, $libc_variable" 'd["libc"]["mremap_passes_flag"]' $passes \
		'found out without filters'
done
if [[ $libc == glibc ]]; then
	want plainly 'd["libc"]["version"]' "$(getconf GNU_LIBC_VERSION | sed 's/glibc //')" 'version of glibc'
	loader=$(sed -n 's,.* \(/[^ ]*/ld-[^ ]*\)$,\1,p' /proc/self/maps | head -n 1)
	# The loader, and another that has the tunable in the place of one.
	"${python[@]}" - "$loader" <<'EOF2'
import sys
text = open(sys.argv[1], "rb").read()
# Names have 42 bytes each, those of glibc.elision being so long.
old, new = ((b"glibc.malloc." + n).ljust(39, b"\0") for n in (b"trim_threshold", b"mremap_relocate_min_mmaps"))
assert old in text
open("loader", "wb").write(text.replace(old, new))
EOF2
	chmod +x loader
	for loader in "$loader" ./loader; do
		tunable=False
		[[ $("$loader" --list-tunables) != *glibc.malloc.mremap_relocate_min_mmaps:* ]] || tunable=True
		run "loader ${loader//\//?}" "$best" "$loader" "$doctor"
		want "loader ${loader//\//?}" 'd["libc"]["malloc_tunable"]' $tunable "malloc's tunable"
	done
fi
patched=${lib%/compat}/glibc/lib/ld-linux-x86-64.so.2
if [[ -x $patched ]]; then
	run 'patched glibc' '' "$patched" --library-path "${patched%/*}" "$doctor"
	want 'patched glibc' 'd["libc"]["malloc_tunable"], d["libc"]["mremap_passes_flag"]' \
		'(True, True)' 'is recognized'
fi

# --- filters ------------------------------------------------------------------

for how in kill kill-thread; do
	# shellcheck disable=SC2016 # for the other shell
	both "userfaultfd $how" "$(if_kernel 0 "$(other_if "$copy")")" \
		bash -c 'ulimit -Sc "$(ulimit -Hc)"; exec "$@"' - ./under userfaultfd=$how "$doctor"
	want "userfaultfd $how" 'support["uffd-move"], methods["uffd-move"]["killed"]' \
		"('not permitted', True)" 'not permitted'
	want "userfaultfd $how" 'reason["uffd-move"]' 'a seccomp filter kills for userfaultfd(2)' 'reason'
	want "userfaultfd $how" '"set MREMAP_COMPAT_METHODS=kernel,copy,plain" in advice' True 'advice'
done
tap_is "$(find . -name 'core*')" '' 'the tries leave no core file'
# The advice helps.
capture ./under userfaultfd=kill env MREMAP_COMPAT_METHODS=kernel,copy,plain ./really
tap_is "$status $out" "0 $(if_kernel 'kernel relocated' 'copy plain')"$'\n' 'with the advice a program survives'
if [[ $kernel != supported ]]; then
	capture sh -c './under userfaultfd=kill ./really; exit $?'
	tap_is "$status" 159 'without it does not'
fi
run 'advice taken' '' ./under userfaultfd=kill env MREMAP_COMPAT_METHODS=kernel,copy,plain "$doctor"
want 'advice taken' '"killed" in advice' False 'it is not given any more'

both 'mremap kills' 2 ./under mremap=kill "$doctor"
want 'mremap kills' 'support["kernel"], methods["kernel"]["killed"], reason["kernel"]' \
	"('not permitted', True, 'a seccomp filter kills for mremap(2) with the flags')" 'the flags are not permitted'
want 'mremap kills' 'reason["copy"], d["libc"]["mremap_passes_flag"]' \
	"('a seccomp filter kills for it', None)" 'nor is the rest'
want 'mremap kills' '"allow mremap(2) in the filter" in advice' True 'advice'
run 'mremap kills, kernel off' '' env MREMAP_COMPAT_METHODS=copy ./under mremap=kill "$doctor"
want 'mremap kills, kernel off' '"allow mremap(2) in the filter" in advice' False 'no such advice'

both 'all refused' '' ./under mremap/24=EPERM,userfaultfd=EPERM "$doctor"
run 'flags refused' "$other" ./under mremap/24=EPERM "$doctor"
want 'flags refused' 'support["kernel"], "is forbidden" in reason["kernel"]' "('not permitted', True)" 'not permitted'
run 'flags unknown' "$other" ./under mremap/24=EINVAL "$doctor"
want 'flags unknown' 'support["kernel"], use["mremap_compat"]' "('unsupported', 'plain')" 'not supported'
cures='"glibc.malloc.mmap_max=0" in advice, "MREMAP_COMPAT_PRELOAD=realloc" in advice, "vm.max_map_count puts" in advice'
want 'flags unknown' "$cures" "($glibc, $glibc, True)" 'cures that need no code are named'
run 'no memory for flags' 3 ./under mremap/24=ENOMEM "$doctor"
want 'no memory for flags' 'support["kernel"], reason["kernel"], use["mremap_compat"]' \
	"('unknown', 'no memory or mappings to find out with', 'plain')" 'it is not known whether they are supported'
want 'no memory for flags' '"not everything could be found out" in advice' True 'advice'
run 'no mremap' 2 ./under mremap=ENOSYS "$doctor"
want 'no mremap' 'support["plain"], reason["plain"], support["copy"]' \
	"('unsupported', 'there is no mremap(2)', 'unsupported')" 'neither is there'

# What the other methods need (4: MREMAP_DONTUNMAP): METHOD FILTER STATUS SUPPORT REASON
while IFS='|' read -r method filter wanted support reason; do
	if [[ $method == uffd-move && $uffd != supported || $method == copy && $copy != supported ]]; then
		skip "$method, $filter" 'not supported here'
		continue
	fi
	name="$method, ${filter//\// }"
	both "$name" "$wanted" env MREMAP_COMPAT_METHODS="$method" ./under "$filter" "$doctor"
	want "$name" "support['$method'], reason['$method']" "('$support', '$reason')" 'support and reason'
done <<'EOF2'
copy|mremap/4=EINVAL|2|unsupported|not on this kernel (Linux 5.12 and later)
copy|mremap/4=EPERM|2|not permitted|something, such as a seccomp filter, forbids it
copy|mremap/4=ENOMEM|3|unknown|no memory, mappings or descriptors to find out with
uffd-move|userfaultfd=EINVAL|2|unsupported|no UFFDIO_MOVE (Linux 6.8 and later, not on PowerPC and s390)
uffd-move|userfaultfd=EMFILE|3|unknown|no file descriptor left to find out with
uffd-move|userfaultfd=ENOMEM|3|unknown|no memory, mappings or descriptors to find out with
uffd-move|ioctl=EPERM|2|not permitted|something, such as a seccomp filter, forbids it
uffd-move|ioctl=EINVAL|2|unsupported|no UFFDIO_MOVE (Linux 6.8 and later, not on PowerPC and s390)
EOF2

run 'no answer' "$(if_kernel 0 "$(other_if "$copy")")" system TEST_HANG=1 "$doctor"
want 'no answer' 'support["uffd-move"], reason["uffd-move"]' \
	"('unknown', 'no child process to find out with, or no answer from it')" 'a child that takes too long'
want 'no answer' 'use["mremap_compat_ext"]' "$(if_kernel kernel unknown)" 'it is not known what will be used'

# --- memory in pieces ----------------------------------------------------------

want plainly 'd["coalesce"]["madvise"]' "$kernel" 'the kernel that relocates coalesces, too'
sysctl=$(cat /proc/sys/vm/coalesce_at_limit 2>/dev/null || echo None)
want plainly 'd["sysctl"]["vm.coalesce_at_limit"]' "$sysctl" 'its sysctl'
if ((EUID == 0)); then
	want plainly 'd["coalesce"]["process_madvise"]' "$kernel" 'also others'
fi
want plainly 'use["mremap_compat_coalesce"]' \
	"$(if_kernel kernel "$(if [[ $uffd == supported ]]; then echo uffd-move; else echo none; fi)")" 'what will be used'
# MADV_COALESCE is 104, and has the bit 64.
while read -r how wanted; do
	both "coalesce $how" "$best" ./under "madvise/64=$how" "$doctor"
	want "coalesce $how" 'd["coalesce"]["madvise"]' "$wanted" 'as the filter says'
	both "process_madvise $how" "$best" ./under "process_madvise=$how" "$doctor"
	want "process_madvise $how" 'd["coalesce"]["process_madvise"], d["coalesce"]["madvise"]' \
		"('$wanted', '$kernel')" 'as the filter says'
done <<'EOF2'
EPERM not permitted
EINVAL unsupported
ENOMEM unknown
kill not permitted
EOF2
run 'coalesce off' '' env MREMAP_COMPAT_METHODS=copy "$doctor"
want 'coalesce off' 'd["coalesce"]["madvise"], use["mremap_compat_coalesce"]' "('$kernel', 'none')" \
	'switched off for the library'

# --- users --------------------------------------------------------------------

nobody=()
if ((EUID == 0)); then nobody=(setpriv --reuid=65534 --regid=65534 --clear-groups); fi
sysctl=$(cat /proc/sys/vm/unprivileged_userfaultfd 2>/dev/null || echo None)
run user "$best" "${nobody[@]}" "$doctor"
want user 'd["sysctl"]["vm.unprivileged_userfaultfd"]' "$sysctl" 'the sysctl'
want user 'support["uffd-move"]' "$uffd" 'that does not matter'
if [[ ! -e /dev/userfaultfd ]]; then
	device='not there'
elif "${nobody[@]}" test -w /dev/userfaultfd; then
	device='can be opened'
else
	device='no permission'
fi
want user 'd["/dev/userfaultfd"]' "$device" '/dev/userfaultfd'
for how in EPERM ENOSYS; do
	run "user, $how" '' "${nobody[@]}" ./under userfaultfd=$how "$doctor"
	if [[ $device == 'can be opened' ]]; then
		wanted=$uffd
	elif [[ $how == EPERM ]]; then
		wanted='not permitted'
	else
		wanted=unsupported
	fi
	want "user, $how" 'support["uffd-move"], "userfaultfd" in reason["uffd-move"]' "('$wanted', True)" 'userfaultfd(2)'
done

# More rights than the caller has.
privileged=
if ((EUID == 0)); then
	cp "$(command -v id)" caller
	cp "$doctor" privileged
	chmod u+s caller privileged
	privileged=$("${nobody[@]}" ./caller -u)
fi
if [[ $privileged == 0 ]]; then
	both privileged '' "${nobody[@]}" env MREMAP_COMPAT_METHODS=plain ./privileged
	want privileged 'd["environment"], len(enabled)' \
		"({'MREMAP_COMPAT_METHODS': 'plain', 'ignored': True}, 4)" 'the variable is ignored'
	want privileged '"runs with privileges" in advice' True 'and that is said'
else
	skip 'a privileged program' 'not root, or no such programs here'
fi

# Files that are not there, or have no number; the device may still be there.
if ((EUID == 0)) && unshare -m true 2>/dev/null; then
	both 'no proc' "$(if_kernel 0 2)" unshare -m bash -c 'mount -t tmpfs none /proc; exec "$@"' - "$doctor"
	want 'no proc' '*d["sysctl"].values(), support["uffd-move"], support["copy"], reason["copy"]' \
		"(None, None, None, None, 'unsupported', 'unsupported', 'needs /proc/self/maps')" 'what needs it'
	both 'odd files' "$best" unshare -m bash -c 'mount -t tmpfs none /proc/sys/vm; mount -t tmpfs none /dev
		echo 2 >/proc/sys/vm/overcommit_memory; echo many >/proc/sys/vm/max_map_count; exec "$@"' - "$doctor"
	want 'odd files' '*d["sysctl"].values(), d["/dev/userfaultfd"]' "(None, 2, None, None, 'not there')" 'settings'
	tap_like "$(<'runs/odd files.table')" 'vm.max_map_count +unknown.*overcommit_memory +2 \(never\)' \
		'and in the table'
else
	skip 'files of /proc' 'not root, or no mount namespaces'
fi

# --- a report -------------------------------------------------------------------

# Nothing of the environment, of where it runs and of who runs it, be it the variable's value
mkdir "/tmp/some-folder.$$"
capture env -C "/tmp/some-folder.$$" -i SECRET=sesame MREMAP_COMPAT_METHODS=swordfish HOME=/home/somebody \
	USER=somebody "$doctor" --report
rmdir "/tmp/some-folder.$$"
tap_is "$status" 0 'exit status: a report'
tap_like "$out" $'^relocate-doctor '"$v"$', .*\nSystem\n.*\nMethods\n.*\nSettings\n.*\nFor a report\n' \
	'a report is the table and more'
tap_like "$out" $'\n  page size +'"$(getconf PAGESIZE)"$'\n' 'it has the page size'
tap_like "$out" $'\n  distribution +'"$(sed -n 's/^ID=//p' /etc/os-release 2>/dev/null || echo unknown)"$'\n' 'and the distribution'
tap_like "$out" 'has the word "\.\.\.", which is no method' 'and says what is wrong with the variable'
found=
# A short name of a machine can be part of another word.
machine=$(uname -n)
((${#machine} > 4)) || machine=sesame
for word in sesame swordfish somebody some-folder "$machine" "$doctor" 0x @ "/$(basename "$tmp")"; do
	! grep -qiF -e "$word" <<<"$out" || found+=" $word"
done
tap_is "$found" '' 'nothing private is in it'
tap_is "$(grep -oE '/[a-z]+/[a-zA-Z/_.-]+' <<<"$out" | sort -u)" '/dev/userfaultfd' 'and no path of a file'
tap_is "$(grep -E '[0-9a-f]{10,}' <<<"$out" | grep -vE '^  (kernel|version of the kernel|RLIMIT_[A-Z]*) ' || :)" '' 'and no address'
tap_is "$(sed -n '/^For a report/,$p' <<<"$out" | awk '!/^(  [a-zA-Z_:. ]+  [^ ].*|For a report|)$/')" '' 'each line is a name and a value'
capture env MREMAP_COMPAT_METHODS=plain "$doctor" --report
tap_like "$out" 'MREMAP_COMPAT_METHODS +\(set; not shown\)'$'\n' 'that it is set is said'
tap_is "$status" 0 'exit status: a report that nothing works'

# --- limits -------------------------------------------------------------------

both 'no descriptors' "$(if_kernel 0 3)" system TEST_NOFILE=0 "$doctor"
want 'no descriptors' '*support.values(),' "('$kernel', 'unknown', 'unknown', 'supported')" \
	'what needs one is unknown, the rest is not'
want 'no descriptors' 'd["limits"]["RLIMIT_NOFILE"], d["sysctl"]["vm.max_map_count"], d["/dev/userfaultfd"]' \
	"(0, None, 'unknown')" 'and so are settings'
run 'all descriptors in use' '' system TEST_NOFILE=3 "$doctor"
want 'all descriptors in use' '"unknown" in support.values()' False \
	'the library needs none of the process'
for n in 4 5 6; do
	# shellcheck disable=SC2016 # for the other shell
	run "$n descriptors" '' bash -c 'ulimit -n "$1"; shift; exec "$@"' - $n "$doctor"
	want "$n descriptors" 'd["limits"]["RLIMIT_NOFILE"]' $n 'they are shown'
done
run 'no children' 3 "${nobody[@]}" env LD_PRELOAD="$tmp/system.so" TEST_NPROC=0 "$doctor"
want 'no children' 'support["kernel"], reason["kernel"], use["mremap_compat"], d["libc"]["mremap_passes_flag"]' \
	"('unknown', 'no child process to find out with, or no answer from it', 'unknown', None)" 'nothing is known'
run 'little memory to lock' "$best" system TEST_MEMLOCK=12288 "$doctor"
want 'little memory to lock' 'd["limits"]["RLIMIT_MEMLOCK"]' 12288 'RLIMIT_MEMLOCK'
run 'SIGCHLD ignored' "$best" ./under ignore-children "$doctor"

# --- files --------------------------------------------------------------------

# shellcheck disable=SC2016 # for the other shell
{
	capture bash -c '"$1" <&- 2>&-' - "$doctor"
	tap_is "$status" "$best" 'with standard input and error closed'
	for option in '' --json --report --help --version; do
		# shellcheck disable=SC2086 # none if empty
		capture bash -c '"$@" >/dev/full' - "$doctor" $option
		tap_is "$status" 3 "standard output is full: $option"
		tap_like "$err" 'cannot write the result: No space' "message: $option"
	done
	capture bash -c '"$@" >&-' - "$doctor" --json
	tap_is "$status" 3 'standard output is closed'
}

# --- what was said -------------------------------------------------------------

checks=0
while IFS=$'\t' read -r good what detail; do
	checks=$((checks + 1))
	if [[ $good == ok ]]; then ok "$what"; else not_ok "$what" "$detail"; fi
done < <("${python[@]}" check.py 2>&1)
tap_true "all runs and questions are looked at ($checks)" \
	test "$checks" -gt "$(tr -cd '\0' <wants | wc -c | awk '{ print $1 / 4 }')"

# --- the manual page ----------------------------------------------------------

page=$top/man/relocate-doctor.1
tap_run 'mandoc has no complaint' mandoc -T lint -W warning "$page"
tap_is "$(groff -man -Tutf8 -ww -z "$page" 2>&1)" '' 'groff has no complaint'
text=$(groff -man -Tascii -P-cbou -rHY=0 -rLL=80n "$page" 2>/dev/null)
for option in --json --report --help --version; do
	tap_like "$text" $'\n'" +$option( |"$'\n)' "the page has $option"
done
for n in 0 1 2 3 64; do
	tap_like "$text" $'\n'" +$n  +[a-zA-Z]" "the page has exit status $n"
done

tap_end
