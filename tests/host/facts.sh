#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
#
# tests/facts.list: what repeats a fact says what the place says that decides it.

set -euo pipefail
top=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.." && pwd -P)
# shellcheck source=tests/tap.sh
. "$top/tests/tap.sh"
work=$(mktemp -d)
trap 'rm -rf -- "$work"' EXIT
export GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=safe.directory GIT_CONFIG_VALUE_0='*' LC_ALL=C.UTF-8
python=(python3 -S -E)
[[ ! -x /usr/bin/python3 ]] || python[0]=/usr/bin/python3

cat >"$work/facts.py" <<'PROG'
"""Of each fact of a list: the value, or what is wrong.  facts.py TOP LIST"""
import glob, os, re, sys

top, path = sys.argv[1:]
# What a reader reads
TEXTS = ["*.md", "*/README.md", "man/*.[1-9]", "compat/*.[ch]", "compat/*/*.c", "configure.ac",
         "demo/*", "examples/*", "quickstart"]
# FILE.patch is long; a change of its words is found by "same".
UNITS = {"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
texts = {}

def text(file):
    """Its words, with a blank between them; ^ is the start of what was a line."""
    if file not in texts:
        lines = []
        for line in open(os.path.join(top, file), encoding="utf-8"):
            line = line.rstrip("\n")
            if file.endswith(".patch"):
                line = re.sub(r"^[+ ]", "", line)
            if re.search(r"\.[1-9]$", file):
                line = re.sub(r'^\.(\\".*|[A-Z]+ ?)', "", line)
                line = line.replace("\\-", "-").replace("\\~", " ")
                line = re.sub(r"\\\(dq|\\\[dq\]", '"', line)
                if re.match(r'"? ', line) or '"' in line and not re.search(r'".* is ', line):
                    line = line.replace('"', "")
            line = re.sub(r"^\s*(/\*+|\*+/|\*|dnl|# )?\s?", "", line)
            lines.append(line.strip(" "))
        texts[file] = re.sub(r" +", " ", " ".join(lines)), "\n".join(lines)
    return texts[file]

def search(pattern, file):
    words, lines = text(file)
    where = lines if pattern.startswith("^") else words
    return [value(match) for match in re.finditer(pattern, where, re.M)]

def value(match):
    found = next(group for group in match.groups() if group is not None)
    found = found.replace(",", "").rstrip(".")
    size = re.fullmatch(r"([0-9]+) ([KMG]iB)", found)
    if size:
        return str(int(size[1]) * UNITS[size[2]])
    if re.fullmatch(r"\([0-9* ]+\)", found):
        return str(eval(found))
    return found

def files(pattern):
    return sorted(os.path.relpath(f, top) for f in glob.glob(os.path.join(top, pattern)) if os.path.isfile(f))

facts, number = {}, 0
for line in open(path, encoding="utf-8"):
    number += 1
    line = line.rstrip("\n")
    if not line or line.startswith("#"):
        continue
    kind, _, rest = line.partition(" ")
    if kind == "fact":
        fact = facts[rest] = {"home": [], "same": [], "find": []}
    elif kind == "find":
        fact["find"].append(rest)
    elif kind in ("home", "same"):
        file, pattern = re.fullmatch(r"(\S+)  (.+)", rest).groups()
        fact[kind].append((file, pattern))
    else:
        sys.exit(f"{path}:{number}: neither fact, home, same nor find")

for name, fact in facts.items():
    wrong, known = [], set()
    values = set()
    for file, pattern in fact["home"]:
        for one in files(file) or [file]:
            known.add(one)
            found = search(pattern, one) if os.path.exists(os.path.join(top, one)) else []
            values.update(found)
            if not found:
                wrong.append(f"{one} does not say it")
    if len(values) != 1:
        wrong.append(f"where it is decided there are {len(values)} values: {' '.join(sorted(values))}")
    truth = next(iter(sorted(values)), None)
    for file, pattern in fact["same"]:
        for one in files(file) or [file]:
            known.add(one)
            found = search(pattern, one) if os.path.exists(os.path.join(top, one)) else []
            if not found:
                wrong.append(f"{one} does not repeat it (in these words: {pattern})")
            wrong += [f"{one} has {v}, not {truth}" for v in found if v != truth]
    for pattern in fact["find"]:
        for one in sorted({f for p in TEXTS for f in files(p)}):
            found = search(pattern, one)
            if found and one not in known:
                wrong.append(f"{one} repeats it ({found[0]}) and is not in the list")
            wrong += [f"{one} has {v}, not {truth}" for v in found if v != truth]
    print(name, truth, "; ".join(wrong) or "ok", sep="\t")
PROG

facts() { "${python[@]}" "$work/facts.py" "$1" "$2"; }
facts "$top" "$top/tests/facts.list" >"$work/out" || tap_is 1 0 'the list can be read'
while IFS=$'\t' read -r name value wrong; do
	if [[ $wrong == ok ]]; then ok "$name: $value"; else not_ok "$name: $value" "${wrong//; /$'\n'}"; fi
done <"$work/out"
tap_is "$(grep -c '^fact ' "$top/tests/facts.list")" "$(wc -l <"$work/out")" 'every fact was looked at'

# It would be noticed.
mkdir -p "$work/tree/man"
printf '#define LIMIT (64 * 1024)\n' >"$work/tree/limit.h"
printf 'At most 64 KiB\nare copied.\n' >"$work/tree/README.md"
printf '.TH x 7\nAt most 65,536\n.B bytes\nare copied.\n' >"$work/tree/man/x.7"
cat >"$work/list" <<'LIST'
fact limit
home limit.h  define LIMIT (\(.*\))
same README.md  At most ([0-9]+ KiB) are
same man/x.7  At most ([0-9,]+) bytes
find [Aa]t most ([0-9,]+(?: KiB)?)
LIST
said() { facts "$work/tree" "$work/list"; }
tap_is "$(said)" $'limit\t65536\tok' 'numbers, sizes and products agree'
sed -i 's/65,536/65,535/' "$work/tree/man/x.7"
tap_like "$(said)" 'man/x.7 has 65535, not 65536' 'a page that is behind'
sed -i 's/64 \*/128 */' "$work/tree/limit.h"
tap_like "$(said)" $'\t131072\tREADME.md has 65536, not 131072' 'a value that changed'
echo 'Many are copied.' >"$work/tree/README.md"
tap_like "$(said)" 'README.md does not repeat it' 'a place that is gone'
mkdir "$work/tree/demo"
echo 'at most 7 KiB' >"$work/tree/demo/new"
tap_like "$(said)" 'demo/new repeats it \(7168\) and is not in the list' 'a place that is new'
: >"$work/tree/limit.h"
tap_like "$(said)" 'limit.h does not say it' 'nobody who decides it'
tap_end
