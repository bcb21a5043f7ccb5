#!/usr/bin/env python3
"""coverage: what counters (gcc --coverage) say of lib/: a table by folder, the functions that nothing ran, and the files with the most
lines that nothing ran.  A line that is compiled several times (a kernel's body, for each instruction set) counts as run where one was.
usage: coverage.py BUILD [--lines FILE]     BUILD has the .gcda files; --lines: the numbers of a file's lines that nothing ran"""
import json
import os
import subprocess
import sys
from collections import defaultdict

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
# Which processors run it is not the tests' to choose: left out where this one does not (cpu.c asks for these flags).
NEEDS = {"lib/nn/kernels/gemm_tiles.c": "amx_bf16", "lib/nn/kernels/integer_vnni.c": "avx512_vnni"}


def counters(build):
    return [os.path.join(folder, name) for folder, _, names in os.walk(build) for name in names
            if name.endswith(".gcda") and "smft_objects" in folder]


def read(build):
    """lines[file][number], functions[file][name]: how often it ran, at most."""
    lines, functions = defaultdict(dict), defaultdict(dict)
    found = counters(build)
    for at in range(0, len(found), 50):
        said = subprocess.run(["gcov", "--json-format", "--stdout", *found[at:at + 50]], cwd=build,
                              capture_output=True, check=True, text=True).stdout
        for document in said.splitlines():
            for one in json.loads(document)["files"]:
                add(one, lines, functions)
    return lines, functions


def add(one, lines, functions):
    path = os.path.relpath(os.path.join(ROOT, one["file"]), ROOT)
    if not path.startswith("lib/"):
        return
    for line in one["lines"]:
        number = line["line_number"]
        lines[path][number] = max(lines[path].get(number, 0), line["count"])
    for function in one["functions"]:
        name = function["name"]
        functions[path][name] = max(functions[path].get(name, 0), function["execution_count"])


def lacking():
    """Files for whose instructions this machine has no processor."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            flags = set(file.read().split())
    except OSError:
        flags = set()
    return sorted(path for path, flag in NEEDS.items() if flag not in flags)


def share(lines):
    ran = sum(count > 0 for count in lines)
    return ran, len(lines), 100 * ran / len(lines) if lines else 100


def table(lines):
    folders = defaultdict(list)
    for path, counts in lines.items():
        folders[os.path.dirname(path)] += counts.values()
    rows = [(name, *share(folders[name])) for name in sorted(folders)]
    rows.append(("all", *share([count for counts in folders.values() for count in counts])))
    print("| folder | lines | run | % |\n|---|---|---|---|")
    for name, ran, n, percent in rows:
        print(f"| {name} | {n} | {ran} | {percent:.1f} |")


def main():
    build = os.path.abspath(sys.argv[1])
    lines, functions = read(build)
    if sys.argv[2:3] == ["--lines"]:
        print(*[number for number, count in sorted(lines[sys.argv[3]].items()) if count == 0])
        return
    for path in lacking():
        left = lines.pop(path, {})
        functions.pop(path, None)
        print(f"left out: {path}, {len(left)} lines: no {NEEDS[path]} here")
    table(lines)
    print("\nfunctions that nothing ran:")
    for path in sorted(functions):
        for name in sorted(name for name, count in functions[path].items() if count == 0):
            print(f"  {path}: {name}")
    print("\nlines that nothing ran, and of how many:")
    missed = sorted(((n - ran, n, path) for path, counts in lines.items()
                     for ran, n, _ in [share(counts.values())]), reverse=True)
    for n, of, path in missed[:25]:
        print(f"  {path}: {n} of {of}")


if __name__ == "__main__":
    main()
