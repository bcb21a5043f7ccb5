#!/usr/bin/env python3
"""runs: the comparison on a real model: which runs there are, and running them.  A run is a method,
its setting, the facts that are taught and in how many wordings; its row of real.csv is written when
it ends, and a sweep that was stopped goes on with what is missing.

    SMFT_SHARED=DIR runs.py [PLAN ...] [--model FILE] [--work DIR] [--results FILE] [--quick]
                            [--list] [--threads N] [--most N]

PLAN may also be a method or a run's number.  Plans: rows, steps, restraint, blocks, background (one
factor at a time, on the facts that choose settings), combined (what was best in each), tune (thirty
other facts in sequence, where what is lost adds up), graft (how the memory is made), dense (the
baselines on the first ten), report and many (the facts of the report, from one question and from
nineteen wordings), stream (all ninety of them in sequence), long (300 and 1,000 facts that begin
with these; both are kept every ten facts in the work folder, and go on where they were stopped).
Methods that are not ours: ../peers/peers.py.
Without $SMFT_SHARED nothing is run, and that is said (exit code 77).
"""
from __future__ import annotations

import argparse
import csv
import hashlib
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import Any, Callable, Optional

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(HERE)))
sys.path.insert(0, os.path.join(ROOT, "bindings", "python"))

import smft  # noqa: E402
from answers import Asker, Base  # noqa: E402
from backgrounds import Backgrounds  # noqa: E402
from facts import Draws, Fact, draw, is_here  # noqa: E402
from methods import Taught, make  # noqa: E402
from partial import Partial  # noqa: E402
from probes import COLUMNS, QUICK, Probes, Sizes, number  # noqa: E402
from wordings import Wordings  # noqa: E402

START = {"method": "slots", "background": "own", "blocks": [3, 6], "t": 64, "step_length": 30,
         "wordings_per_step": 4, "loss_below": 0.1, "max_steps": 60, "damping": 0.001,
         "damping_by": "df", "max_df": 0.005, "rank_by": "weights"}
DENSE = {"background": "own", "wordings_per_step": 4, "loss_below": 0.1, "max_steps": 40}
# What of START the trials changed: the report's setting, and a graft's own defaults.
BEFORE: dict[str, Any] = {"t": 32, "damping_by": "squares", "damping": 0.0003}
STRICT: dict[str, Any] = {**BEFORE, "max_df": 0.001, "contrast": True}
# The learner always looks among more common rows where a fact has had so many updates, and always
# asks about namesakes, too: these tell rows from those that were measured before it did.
LOOSER: dict[str, Any] = {**STRICT, "looser_after": 40}
CHOSEN: dict[str, Any] = {**LOOSER, "namesakes": True}
MOMENTUM: dict[str, Any] = {"momentum": 0.5, "step_length": 20}
FASTER: dict[str, Any] = {**LOOSER, **MOMENTUM, "length_by_loss": True}
OWN = ("run", "plan", "method", "facts", "n", "wordings", "setting")
TOOK = ("learnt", "wordings_learnt", "steps", "seconds", "cpu", "kilobytes", "peak_mb")


@dataclass(frozen=True)
class Run:
    plan: str
    facts: str  # "choose", "report1", ...
    wordings: str  # "one" or "many"
    setting: dict[str, Any]
    n: int = 0  # the first so many; 0: all

    @property
    def id(self) -> str:
        text = json.dumps([self.facts, self.wordings, self.n, self.setting], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    @property
    def stream_id(self) -> str:
        """The same for every length."""
        return Run("", self.facts, self.wordings, self.setting).id

    def names(self) -> set[str]:
        """By which it can be asked for."""
        return {self.plan, self.setting["method"], self.id}

    def describe(self) -> str:
        """What is not as in START or DENSE."""
        usual = START if self.setting["method"] == "slots" else DENSE
        other = [f"{k} {v}" for k, v in self.setting.items() if usual.get(k) != v and k != "method"]
        return ", ".join(other) or "start"


# ---- the plan -----------------------------------------------------------------------------------


def slots(plan: str, facts: str = "choose", wordings: str = "one", n: int = 0, **other: Any) -> Run:
    return Run(plan, facts, wordings, {**START, **other}, n)


def dense(method: str, facts: str = "choose", wordings: str = "one", **other: Any) -> Run:
    return Run("dense", facts, wordings, {"method": method, **DENSE, **other})


def trials() -> list[Run]:
    """The likeliest first."""
    runs = [slots("rows")]
    runs += [slots("rows", t=128), slots("steps", step_length=45),
             slots("restraint", max_df=0.01), slots("rows", t=32),
             slots("steps", wordings_per_step=3),
             slots("restraint", damping_by="squares", damping=0.0003),
             slots("blocks", blocks=[2, 4, 7]), slots("steps", step_length=60),
             slots("restraint", rank_by="counts"), slots("steps", loss_below=0.05),
             slots("steps", loss_below=0.2), slots("blocks", blocks=[3]),
             slots("restraint", max_df=-1), slots("steps", wordings_per_step=6),
             slots("rows", t=16), slots("rows", t=200), slots("steps", step_length=15)]
    squares = {"damping_by": "squares", "damping": 0.0003}
    runs += [slots("combined", **squares, t=t, loss_below=below)
             for t, below in ((32, 0.2), (32, 0.1), (64, 0.2))]
    runs += [slots("combined", **chosen) for chosen in (STRICT, LOOSER, CHOSEN)]
    runs += [slots("graft", **BEFORE, graft=graft)
             for graft in ({"shared_pool": True}, {"rank": 512}, {"keys": "random"})]
    runs += [slots("tune", "tune", **{**BEFORE, **other})
             for other in ({}, {"max_df": 0.001}, {"max_df": 0.001, **MOMENTUM},
                           {"max_df": 0.0005}, {"max_df": 0.001, "damping": 0.0001}, LOOSER,
                           {**LOOSER, **MOMENTUM}, {**LOOSER, "loss_below": 0.2},
                           {**LOOSER, **MOMENTUM, "loss_below": 0.2},
                           {**LOOSER, "length_by_loss": True}, FASTER, CHOSEN)]
    return runs + [slots("background", background="wiki")]


def baselines() -> list[Run]:
    """The likeliest rate of each first, with what replay and without."""
    rates = ((3e-4, 1e-4, 1e-4, 1e-5), (1e-4, 3e-5, 3e-5, 3e-6))
    runs = []
    for small, ffn, large, whole in rates:
        for replay in (0, 8):
            runs += [dense("lora", rank=8, targets=["q", "v"], lr=small, replay=replay),
                     dense("ffn", blocks=[3, 6], lr=ffn, replay=replay),
                     dense("lora", rank=32, targets="all", lr=large, replay=replay),
                     dense("full", lr=whole, replay=replay)]
    return runs


def reports(chosen: dict[str, Any]) -> list[Run]:
    draws = [f"report{i}" for i in (1, 2, 3)]
    one_question = [slots("report", one, **chosen) for one in draws]
    many = [slots("many", one, "many", keep_given_up=True, **chosen) for one in draws]
    return one_question + many + [slots("stream", "stream", **chosen)] + \
        [slots("long", "stream", n=n, **chosen) for n in (300, 1000)]


def plan() -> list[Run]:
    return trials() + reports(CHOSEN) + baselines()


# ---- a run --------------------------------------------------------------------------------------


class World:
    """The model, what it knows, what it is to be taught."""

    def __init__(self, path: str, work: str, threads: int, sizes: Sizes) -> None:
        os.makedirs(work, exist_ok=True)
        self.context = smft.Context(n_threads=threads)
        self.model = smft.Model(path, context=self.context)
        self.base = Base(Asker(self.model), os.path.join(work, "answers.jsonl"))
        self.words = Wordings(self.model)
        self.backgrounds = Backgrounds(self.model, path, work, self.context)
        self.probes = Probes(self.base.asker, self.base, self.words, sizes)
        self.work = work
        draws = self.draw()
        self.facts = {"choose": draws.choose, "tune": draws.tune, "stream": draws.stream,
                      **{f"report{i + 1}": facts for i, facts in enumerate(draws.report)}}

    def draw(self, n_stream: int = 0) -> Draws:
        return draw(lambda fact: self.base.is_right(fact.question, fact.accepted), n_stream)

    def facts_of(self, run: Run) -> list[Fact]:
        facts = self.facts[run.facts]
        if run.n > len(facts) and run.facts == "stream":
            facts = self.draw(run.n).stream
        return facts[:run.n or None]

    def lacks(self, setting: dict[str, Any]) -> str:
        """What a run of it needs and is not there."""
        return ""

    def make(self, setting: dict[str, Any]) -> Any:
        return make(self.words, self.backgrounds, self.probes.counted_chats(), setting)

    def asker(self, method: Any) -> Any:
        return Asker(method.model, method.patch)

    def peak(self) -> int:
        return self.context.memory()[1]

    def run(self, run: Run, most: int = 0) -> dict[str, str]:
        facts = self.facts_of(run)[:most or None]
        self.context.reset_peak()
        method = self.make(run.setting)
        partial = Partial(self.work, run.stream_id if run.plan in ("stream", "long") else None)
        took = partial.resume(method, len(facts))
        for fact in facts[len(took):]:
            took.append(self.teach(method, fact, run.wordings))
            partial.keep(method, took)
        partial.keep(method, took, at_once=True)
        half = "choose" if run.facts in ("choose", "tune") else "report"
        after = self.probes.measure(self.asker(method), facts, half)
        row = dict(zip(OWN, (run.id, run.plan, run.setting["method"], run.facts, len(facts),
                             run.wordings, run.describe())))
        row.update(summary(took, method.n_bytes(), self.peak()))
        row.update({name: number(after[name]) for name in COLUMNS})
        return row

    def teach(self, method: Any, fact: Fact, wordings: str) -> Taught:
        took = method.teach(fact, self.words.of(fact, wordings))
        print(f"  {fact.subject}: {'done' if took.done else 'gave up'}, {took.steps} steps, "
              f"{took.seconds:.1f} s, {took.cpu:.1f} s of a core", flush=True)
        return took


def summary(took: list[Taught], n_bytes: int, peak: int) -> dict[str, str]:
    n = len(took)
    mean = {"learnt": sum(one.done for one in took) / n,
            "wordings_learnt": sum(one.learnt for one in took) / sum(one.wordings for one in took),
            "steps": sum(one.steps for one in took) / n,
            "seconds": sum(one.seconds for one in took) / n,
            "cpu": sum(one.cpu for one in took) / n,
            "kilobytes": n_bytes / 1000 / n, "peak_mb": peak / 1e6}
    return {name: number(mean[name]) for name in TOOK}


# ---- results ------------------------------------------------------------------------------------


def read(path: str) -> list[dict[str, str]]:
    if not os.path.exists(path):
        return []
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def keep(path: str, row: dict[str, str]) -> None:
    rows = [*read(path), row]
    with open(path + ".part", "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, [*OWN, *TOOK, *COLUMNS], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    os.replace(path + ".part", path)


def model_path(given: Optional[str]) -> str:
    if given:
        return given
    get = os.path.join(ROOT, "examples", "models", "get.sh")
    return subprocess.run([get], check=True, capture_output=True, text=True).stdout.strip()


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=sys.modules["__main__"].__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("plans", nargs="*")
    parser.add_argument("--model")
    parser.add_argument("--work", default=os.path.join(ROOT, "build", "forgetting", "real"))
    parser.add_argument("--results", default=os.path.join(os.path.dirname(HERE), "results",
                                                          "real.csv"))
    parser.add_argument("--quick", action="store_true", help="two facts, few probes: a trial")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--most", type=int, default=0, help="facts of each run")
    return parser.parse_args()


def main(planned: Callable[[], list[Run]] = plan, world_of: type = World) -> int:
    """With a plan and a world of its own where the methods are others: ../peers."""
    given = arguments()
    runs = [run for run in planned() if not given.plans or run.names() & set(given.plans)]
    done = {row["run"] for row in read(given.results)}
    runs = [run for run in dict((run.id, run) for run in runs).values() if run.id not in done]
    print(f"{len(done)} rows are there, {len(runs)} runs to do", flush=True)
    if given.list:
        print("\n".join(f"{run.id} {run.plan} {run.setting['method']} {run.facts} {run.wordings}: "
                        f"{run.describe()}" for run in runs))
        return 0
    if not is_here():
        return 77
    world = world_of(model_path(given.model), given.work, given.threads,
                     QUICK if given.quick else Sizes())
    for run in runs:
        print(f"{time.strftime('%H:%M')} {run.plan} {run.setting['method']} {run.facts}: "
              f"{run.describe()}", flush=True)
        if world.lacks(run.setting):
            print(f"  SKIPPED: {world.lacks(run.setting)}", flush=True)
            continue
        row = world.run(run, 2 if given.quick else given.most)
        if not given.quick and not given.most:
            keep(given.results, row)
        print("  " + ", ".join(f"{k} {v}" for k, v in row.items() if k not in OWN), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
