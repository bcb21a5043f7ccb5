#!/usr/bin/env python3
"""turns: asks the programs of two builds in turns, and says how the speeds compare.

turns.sh compiles the programs and calls this: turns.py FOLDER ROUNDS THREADS SECONDS ROW...
FOLDER holds old/ and new/ with the programs; models are made in it by the old one, so that both
can read them.

A round starts both programs anew and times old new new old, every second one new old old new.
What drifts meanwhile then meets both, and what luck a process has with its memory's pages is part
of the spread, not something that looks like a difference between the builds.
"""
import math
import os
import sys
import time
from collections import namedtuple
from statistics import mean, median

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "harness"), os.path.join(HERE, "peers")]

from models import Models  # noqa: E402
from worker import Unavailable, Worker  # noqa: E402

GOAL = 0.99  # of the old build's speed
CONFIDENCE = 0.95
PROGRAMS = {"forward": "bench_model", "decode": "bench_model", "train": "bench_learn",
            "lora": "bench_learn", "step": "bench_learn", "again": "bench_learn"}
LINE = "%-14s %10s %10s %8s %8s %8s %7s  %s"

Round = namedtuple("Round", "old new others")  # tokens a second; cores that other processes had

OLD_FIRST, NEW_FIRST = ("old", "new", "new", "old"), ("new", "old", "old", "new")


def interval(values):
    """Two of the values with the median of what they are drawn from between them at CONFIDENCE or
    more, as near to each other as can be; None: there are too few values.  The k smallest lie
    beside it as often as a coin thrown so often shows heads k times at most."""
    n, outside, k = len(values), 1, 0
    while 1 - 2 * outside / 2 ** n >= CONFIDENCE:
        k += 1
        outside += math.comb(n, k)
    return (sorted(values)[k - 1], sorted(values)[n - k]) if k else None


class Turns:
    def __init__(self, folder, rounds, threads, seconds):
        self.folder, self.rounds, self.threads = folder, rounds, threads
        self.environment = {"SMFT_BENCH_SECONDS": seconds}
        self.log = os.path.join(folder, "programs.log")
        self.models = Models(os.path.join(folder, "models", ""), self.program("old", "bench_make"))

    def program(self, build, name):
        return os.path.join(self.folder, build, name)

    def worker(self, build, what, model):
        command = [self.program(build, PROGRAMS[what]), model, str(self.threads)]
        return Worker("%s %s" % (build, what), command, self.log, self.environment)

    def round(self, what, model, order):
        workers = {build: self.worker(build, what, model) for build in ("old", "new")}
        answers = {build: [] for build in workers}
        try:
            for build in order:
                answers[build].append(workers[build].ask(what))
        finally:
            for worker in workers.values():
                worker.close()
        speeds = {build: mean(one["rate"] for one in those) for build, those in answers.items()}
        return Round(**speeds, others=mean(one["others"] for those in answers.values()
                                           for one in those))

    def measure(self, name):
        """The rounds of a row."""
        what, shape, *kind = name.split(".")
        model = self.models.half(shape) if kind == ["bf16"] else self.models.directory(shape)
        return [self.round(what, model, NEW_FIRST if i % 2 else OLD_FIRST)
                for i in range(self.rounds)]


# ---- what comes out ----

def verdict(ratios):
    ends = interval(ratios)
    if median(ratios) >= GOAL:
        return "yes"
    return "yes, by the interval" if ends and ends[1] >= GOAL else "no"


def line_of(name, rounds):
    ratios = [one.new / one.old for one in rounds]
    ends = interval(ratios)
    speeds = ["%.1f" % median(values) for values in zip(*((one.old, one.new) for one in rounds))]
    return LINE % (name, *speeds, "%.4f" % median(ratios),
                   *(("%.4f" % end for end in ends) if ends else ("", "")),
                   "%.2f" % median(one.others for one in rounds), verdict(ratios))


def closing(verdicts):
    """verdicts: by the row's name."""
    def those(*kinds):
        return ", ".join(name for name, kind in verdicts.items() if kind in kinds) or "none"
    met = those("yes", "yes, by the interval")
    by_interval = those("yes, by the interval")
    return "met (%g of the old speed): %s%s; not met: %s" % (
        GOAL, met, "" if by_interval == "none" else " (by the interval alone: %s)" % by_interval,
        those("no"))


def run(turns, names):
    verdicts, begin = {}, time.monotonic()
    print("rounds: %d, threads: %d, speeds in tokens/s" % (turns.rounds, turns.threads))
    print(LINE % ("", "old", "new", "new/old", "from", "to", "others", "met"), flush=True)
    for name in names:
        rounds = turns.measure(name)
        verdicts[name] = verdict([one.new / one.old for one in rounds])
        print(line_of(name, rounds), flush=True)
    print(closing(verdicts))
    if not interval(range(turns.rounds)):
        print("too few rounds for an interval: 6 at least")
    print("measured in %d s" % (time.monotonic() - begin))


def main():
    folder, rounds, threads, seconds, *names = sys.argv[1:]
    turns = Turns(folder, int(rounds), int(threads), seconds)
    try:
        run(turns, names)
    except Unavailable as error:
        print("turns: %s" % error, file=sys.stderr)
        with open(turns.log, encoding="utf-8", errors="replace") as log:
            print("".join(log.readlines()[-10:]), end="", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
