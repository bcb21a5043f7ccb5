#!/usr/bin/env python3
"""table: a run's results as Markdown tables: targets, what was measured beside them, the machine's limits.

usage: table.py [--results DIR] [--summary] [--write FILE]     DIR: build/bench, with results.csv, details.csv and run.json
Without --write the tables go to the screen; with it they go between the file's two marker lines (docs/performance.md has them).  --summary:
one short table, README.md's.
"""
import argparse
import json
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(HERE, "harness"))

import rows  # noqa: E402
import summary  # noqa: E402

BEGIN, END = "<!-- begin of tests/bench/table.py -->", "<!-- end of tests/bench/table.py -->"
PARTS = (("Targets", lambda row: row["target"]),
         ("Beside them, and curves", lambda row: not row["target"] and not row["name"].startswith("limit.")),
         ("The machine", lambda row: row["name"].startswith("limit.")))


def circumstances(run):
    lines = ["%s: %s, %d processors, Linux %s; commit %s (+: with changes), %s; %s run, %d timings of each side, %d threads, %d s; load "
             "average at the end %.2f." % (run["begun"], run["processor"], run["processors"], run["kernel"], run["commit"], run["compiler"],
                                   run["kind"], run["rounds"], run["threads"], run["seconds"], run["load_average"][0])]
    if run.get("torch"):
        lines.append("PyTorch %s (%s)." % (run["torch"]["version"], run["torch"]["text"]))
    if run.get("node_llama_cpp") and run.get("llama_about"):
        lines.append("llama.cpp of node-llama-cpp %s (%s)." % (run["node_llama_cpp"], run["llama_about"].strip().rstrip("|").strip()))
    lines += ["Not compared with %s: %s." % missing for missing in run["missing"].items()]
    if run.get("over_limit"):
        lines.append("FAILED: %s; so these are no limits." % "; ".join(run["over_limit"]))
    if run["left_out"]:
        lines.append("Not measured: %s." % ", ".join(run["left_out"]))
    return " ".join(lines)


def markdown(found):
    filled = [i for i, _ in enumerate(rows.HEAD) if any(rows.cells(row)[i] for row in found)]
    lines = [[rows.HEAD[i] for i in filled], ["---"] * len(filled)]
    lines += [[rows.cells(row)[i].replace("|", "\\|") for i in filled] for row in found]
    return "\n".join("| %s |" % " | ".join(line) for line in lines)


def document(folder):
    found = rows.read(folder)
    with open(os.path.join(folder, "run.json"), encoding="utf-8") as file:
        text = [circumstances(json.load(file))]
    for title, belongs in PARTS:
        part = [row for row in found if belongs(row)]
        if part:
            text += ["### " + title, markdown(part)]
    return "\n\n".join(text)


def short_document(folder):
    with open(os.path.join(folder, "run.json"), encoding="utf-8") as file:
        run = json.load(file)
    return "\n\n".join(("Measured %s: %s, commit %s." % (run["begun"].split(" ")[0], run["processor"], run["commit"]),
                        summary.table(rows.read(folder))))


def replace(path, text):
    with open(path, encoding="utf-8") as file:
        before, begin, rest = file.read().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        sys.exit("table.py: %s has no lines %s and %s" % (path, BEGIN, END))
    with open(path, "w", encoding="utf-8") as file:
        file.write("%s%s\n%s\n%s%s" % (before, BEGIN, text, END, after))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", default=os.path.join(os.environ.get("SMFT_BUILD") or os.path.join(ROOT, "build"), "bench"))
    parser.add_argument("--summary", action="store_true")
    parser.add_argument("--write", metavar="FILE")
    options = parser.parse_args()
    text = (short_document if options.summary else document)(options.results)
    if options.write:
        replace(options.write, text)
    else:
        print(text)


if __name__ == "__main__":
    main()
