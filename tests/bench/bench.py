#!/usr/bin/env python3
"""bench: libsmft against its peers and the machine's limits, everything in turn and in one run.  run.sh installs, builds and calls this.

Writes results.csv (one row a target or a point of a curve), details.csv (units, spread, peak memory, notes) and run.json (the machine, the
versions) into --out, and prints the table.  A peer that cannot be had leaves its rows' peer empty, and the note says why.
"""
import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from collections import namedtuple

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.dont_write_bytecode = True
sys.path[:0] = [os.path.join(HERE, "harness"), os.path.join(HERE, "peers")]

import facts  # noqa: E402
import inference  # noqa: E402
import machine  # noqa: E402
import memory  # noqa: E402
import peers  # noqa: E402
import products  # noqa: E402
import rows  # noqa: E402
import training  # noqa: E402
from context import Context, Scale  # noqa: E402

SHARES = {"full": 1.0, "quick": 0.2, "smoke": 0.02}  # of a group's time in a full run
# What a run may take (--minutes); groups that would go beyond it are left out, and it says so.
MINUTES = {"full": 25, "quick": 3}
CURVES = {"growth", "mapped", "facts", "lengths", "sessions"}  # what a quick run does without
CACHE = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
# Real models: the variable that names the file, and what examples/models/get.sh calls it.
REAL = {"smollm2": ("SMFT_BENCH_SMOLLM2", "SmolLM2-135M-Instruct.Q4_1.gguf"),
        "gemma": ("SMFT_BENCH_GEMMA", "gemma-3-270m-q4_k_m.gguf")}
Group = namedtuple("Group", "name what seconds run")


def real_names(scale, real):
    return [name for name in scale.real if name in real or scale.kind == "smoke"]


def plan(scale, real):
    """What a run measures, with about how long it takes in full on two quiet processors: real
    models and the memory layer first, since a run that is out of time leaves out the rest."""
    groups = [Group("limits", "the machine: arithmetic, streams and random rows", 140,
                    machine.limits),
              Group("size", "libsmft.so stripped", 1, machine.size),
              Group("idle", "processor time of threads with nothing to do", 7,
                    lambda bench: machine.idle(bench, scale.main)),
              Group("products", "products at SmolLM2's shapes, f32 and bf16: PyTorch", 90,
                    products.products)]
    groups += of_models(real_names(scale, real), dict(prefill=400, decode=210, train=620, lora=360))
    groups += real_ones(scale, real)
    groups += [Group("fact.%s" % name, "smft_step of a fact, grafted: PyTorch by hand", 120,
                     lambda bench, name=name: training.fact(bench, name))
               for name in real_names(scale, real)]
    groups += [Group("step.%s" % scale.sparse, "smft_step against our own full step", 45,
                     lambda bench: training.step(bench, scale.sparse, scale.main))]
    for d in scale.widths:
        groups += [Group("memory.d%d" % d, "the memory layer alone, 16K to 1M slots: PyTorch", 170,
                         lambda bench, d=d: memory.layers(bench, d)),
                   Group("growth.d%d" % d, "its step from the smallest to the largest pool", 12,
                         lambda bench, d=d: memory.growth(bench, d))]
    groups += of_models(scale.dense, dict(prefill=70, decode=50, train=65, lora=40))
    groups += [Group("open", "opening a model with a 4 GB pool, and what becomes resident", 60,
                     lambda bench: facts.opening(bench, scale.main)),
               Group("mapped", "curve: the memory layer on a mapped pool of 4M slots", 10,
                     lambda bench: memory.mapped(bench, scale.widths[0])),
               Group("facts", "curve: a patch by facts learnt", 150, facts.patches),
               Group("lengths", "curves: prefill and smft_step by length, supervised tokens", 40,
                     curves_of_length),
               Group("sessions", "curve: sessions that decode at once", 15,
                     lambda bench: inference.sessions(bench, scale.main))]
    return [group for group in groups
            if scale.kind != "quick" or group.name.split(".")[0] not in CURVES]


def of_models(names, seconds):
    """Each task for each model; seconds: of a task."""
    return [Group("%s.%s" % (task, name), what, seconds[task],
                  lambda bench, run=run, name=name: run(bench, name))
            for what, task, run in (
                ("a prompt, its last logits: PyTorch, llama.cpp", "prefill", inference.prefill),
                ("one token after another: llama.cpp, PyTorch, bandwidth", "decode",
                 inference.decode),
                ("AdamW step of every weight: PyTorch", "train", training.train),
                ("AdamW step of adapters: PyTorch with PEFT", "lora", training.lora))
            for name in names]


def real_ones(scale, real):
    """Rows of files that are only there in one kind of blocks, and of new processes."""
    groups = []
    if "gemma" in real and scale.kind != "smoke":
        groups.append(Group("decode.gemma", "decoding from Q4_K: llama.cpp", 60,
                            lambda bench: inference.decode_file(bench, "gemma", "q4_k")))
    return groups + [Group("first.%s" % name, "first token in a new process: llama.cpp", 15,
                           lambda bench, name=name: inference.first(bench, name))
                     for name in real_names(scale, real)]


def curves_of_length(bench):
    inference.lengths(bench, bench.scale.main)
    bench.close_workers()
    training.curves(bench, bench.scale.sparse)


def chosen(groups, only):
    """The groups that --only names: a whole name, or what stands before its dot."""
    for name in only:
        if not any(name in (group.name, group.name.split(".")[0]) for group in groups):
            sys.exit("bench.py: there is no group %s (see --list)" % name)
    return [group for group in groups
            if not only or {group.name, group.name.split(".")[0]} & set(only)]


def real_models():
    """{name: file} of those that are here."""
    found = {}
    folder = os.environ.get("SMFT_MODELS") or os.path.join(CACHE, "smft", "models")
    for name, (variable, file) in REAL.items():
        path = os.environ.get(variable) or os.path.join(folder, file)
        if os.path.exists(path):
            found[name] = path
    return found


# ---- progress ----

class Progress:
    def __init__(self, groups, share):
        self.groups, self.begin, self.at = groups, time.monotonic(), -1
        self.expected = [max(1.0, group.seconds * share) for group in groups]
        self.whole = sys.stderr.isatty()

    @property
    def elapsed(self):
        return time.monotonic() - self.begin

    @property
    def pace(self):
        """How the groups so far went against what was expected of them."""
        done = sum(self.expected[:self.at])
        return self.elapsed / done if done > 20 else 1.0

    def left(self):
        """Seconds."""
        return sum(self.expected[max(self.at, 0):]) * self.pace

    def too_late(self, minutes):
        """Whether the group at hand would end after so many minutes."""
        return self.elapsed + self.expected[self.at] * self.pace > 60 * minutes

    def next(self):
        if self.at < 0:  # what comes before, compiling for one, is not the run
            self.begin = time.monotonic()
        self.at += 1
        self("")

    def __call__(self, text):
        if self.at < 0:
            line = text
        else:
            minutes, seconds = divmod(int(self.left()), 60)
            line = "[%d/%d] %s, about %d:%02d left" % (self.at + 1, len(self.groups), (self.groups[self.at].name + " " + text).rstrip(),
                                                       minutes, seconds)
        if self.whole:
            sys.stderr.write("\r%-78s" % line[:78])
        elif not text or self.at < 0:
            sys.stderr.write(line + "\n")
        sys.stderr.flush()

    def clear(self):
        if self.whole:
            sys.stderr.write("\r%78s\r" % "")


# ---- the run's circumstances ----

def output_of(*command):
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def circumstances(options):
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        models = [line.split(":", 1)[1].strip() for line in file if line.startswith("model name")]
    return {"begun": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()), "processor": models[0] if models else platform.machine(),
            "processors": os.cpu_count(), "kernel": platform.release(), "threads": options.threads,
            "commit": output_of("git", "rev-parse", "--short", "HEAD") + ("+" if output_of("git", "status", "--porcelain") else ""),
            "compiler": output_of("cc", "--version").split("\n")[0],
            "node_llama_cpp": llama_version(options)}


def llama_version(options):
    path = os.path.join(options.node_modules, "node-llama-cpp", "package.json")
    if not os.path.exists(path):
        return ""
    with open(path, encoding="utf-8") as file:
        return json.load(file)["version"]


# ---- command line ----

def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="this group alone (again for more); prefill is "
                        "prefill.smollm2, prefill.A and prefill.B")
    parser.add_argument("--quick", action="store_true", help="fewer rounds and sizes: three minutes")
    parser.add_argument("--smoke", action="store_true", help="tiny models, one round: tries that everything works; the numbers say nothing")
    parser.add_argument("--list", action="store_true", help="the groups, and about how long each takes")
    parser.add_argument("--threads", type=int, default=min(2, len(os.sched_getaffinity(0))), help="of ours, and the most of a peer's (2)")
    parser.add_argument("--rounds", type=int, default=0, help="timings of each side (5; quick: 2)")
    parser.add_argument("--wait", type=int, default=0, metavar="SECONDS", help="in all, for a quiet machine: timings in which others had "
                        "more than 0.15 cores are taken again (0)")
    parser.add_argument("--resume", action="store_true", help="keep the groups that --out has already, measure the others")
    parser.add_argument("--minutes", type=float, help="what the run may take; groups that would go beyond are left out (25; quick: 3)")
    parser.add_argument("--peers", default="torch,llama", help="which to compare with: torch,llama or none")
    parser.add_argument("--out", help="where results.csv goes (BUILD/bench; smoke: BUILD/bench/smoke)")
    parser.add_argument("--build", default=os.environ.get("SMFT_BUILD") or os.path.join(ROOT, "build"), help="the build folder")
    parser.add_argument("--models", help="folder of the models (BUILD/bench/models)")
    parser.add_argument("--node-modules", default="", help="the node_modules folder with node-llama-cpp")
    parser.add_argument("--node", default="node", help="the Node.js that runs it (20 or newer)")
    parser.add_argument("--python", default=os.environ.get("SMFT_BENCH_PYTHON") or "python3", help="the Python that has PyTorch, "
                        "transformers and PEFT (SMFT_BENCH_PYTHON)")
    options = parser.parse_args()
    if options.quick and options.smoke or options.threads < 1:
        parser.error("--quick or --smoke, and at least one thread")
    options.minutes = options.minutes or MINUTES["quick" if options.quick else "full"]
    options.peers = set(options.peers.split(",")) - {"none", ""}
    if options.peers - {"torch", "llama"}:
        parser.error("the peers are torch and llama")
    options.build = os.path.abspath(options.build)
    options.compiled = os.path.join(options.build, "bench", "peers", "compiled")
    options.header = os.path.join(ROOT, "include", "smft", "smft.h")
    options.real = {} if options.smoke else real_models()
    options.out = os.path.abspath(options.out or os.path.join(options.build, "bench", "smoke" if options.smoke else ""))
    return options


def prepare(bench, groups, progress):
    progress("looking at the peers")
    bench.check_torch()
    bench.check_llama()
    if bench.scale.kind == "smoke":
        bench.models.real.update((name, bench.models.gguf(bench.scale.main))
                                 for name in bench.scale.real)
    for name in bench.scale.real:
        if name not in bench.models.real:
            bench.missing[name] = "its file is not here (examples/models/get.sh %s)" % name
    if bench.scale.kind != "smoke":
        peers.compile_all(bench, {group.name for group in groups})
    for peer, why in bench.missing.items():
        progress("%s: %s" % (peer, why))


class Record:
    """What each group found and how long it took: in groups.json, results.csv and details.csv after
    every group, so that a run that was stopped can be resumed."""

    def __init__(self, folder, order, resume):
        self.folder, self.order = folder, order
        self.path, self.groups = os.path.join(folder, "groups.json"), {}
        if resume and os.path.exists(self.path):
            with open(self.path, encoding="utf-8") as file:
                self.groups = json.load(file)

    def add(self, name, seconds, found):
        self.groups[name] = {"seconds": seconds, "rows": [row.texts for row in found]}
        with open(self.path, "w", encoding="utf-8") as file:
            json.dump(self.groups, file)
        rows.write(self.folder, self.rows)

    @property
    def rows(self):
        return [row for name in self.order if name in self.groups
                for row in self.groups[name]["rows"]]

    @property
    def took(self):
        return {name: group["seconds"] for name, group in self.groups.items()}


def run(bench, groups, progress, record):
    """Leaves out what there is no time for."""
    for group in groups:
        progress.next()
        if progress.too_late(bench.options.minutes) and not bench.options.only:
            continue
        begin, known = time.monotonic(), len(bench.rows)
        group.run(bench)
        bench.close_workers()
        record.add(group.name, round(time.monotonic() - begin), bench.rows[known:])
    progress.clear()


def main():
    options = arguments()
    scale = Scale("smoke" if options.smoke else "quick" if options.quick else "full")
    groups = plan(scale, options.real)
    if options.list:
        for group in groups:
            print("%-16s %4d s  %s" % (group.name, group.seconds * SHARES[scale.kind], group.what))
        return 0
    order = [group.name for group in groups]
    groups = chosen(groups, options.only)
    if not shutil.which(os.path.join(options.build, "tests", "bench", "bench_model")):
        sys.exit("bench.py: %s has no benchmarks built (tests/bench/run.sh builds them)" % options.build)
    os.makedirs(options.out, exist_ok=True)
    info = circumstances(options)
    record = Record(options.out, order, options.resume)
    groups = [group for group in groups if group.name not in record.groups]
    progress = Progress(groups, SHARES[scale.kind])
    bench = Context(options, scale, progress)
    try:
        prepare(bench, groups, progress)
        run(bench, groups, progress, record)
    except KeyboardInterrupt:
        progress.clear()
        print("stopped; --resume goes on")
    finally:
        bench.close()
    left_out = [name for name in order if name not in record.groups]
    over = [] if scale.kind == "smoke" else rows.over_limit(record.rows)  # tiny models say nothing
    info.update(bench.facts, kind=scale.kind, rounds=bench.rounds,
                seconds=sum(record.took.values()), missing=bench.missing, took=record.took, left_out=left_out,
                over_limit=over, load_average=os.getloadavg())
    with open(os.path.join(options.out, "run.json"), "w", encoding="utf-8") as file:
        json.dump(info, file, indent=1)
    print(rows.table(rows.read(options.out)))
    if left_out:
        print("\nnot measured: %s" % ", ".join(left_out))
    print("\n%s in %d s; written to %s" % (scale.kind, info["seconds"], os.path.join(options.out, "results.csv")))
    if over:
        print("\nFAILED: a row is over its limit, which then is none: %s" % "; ".join(over))
    return 1 if over else 0


if __name__ == "__main__":
    sys.exit(main())
