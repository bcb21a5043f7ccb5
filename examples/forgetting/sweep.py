#!/usr/bin/env python3
"""sweep: which runs the comparison is made of, and running them: two single-threaded ones side by side, each with its own result file, so that a
stopped sweep goes on where it was.  Owns the plan (settings tried, how the best are chosen) and runs.csv; one run is forgetting-run's affair, the
tables and plots are report.py's.

    sweep.py [--results DIR] [--work DIR] [--quick | --smoke] [--jobs N] [--list]
"""
from __future__ import annotations

import argparse
import csv
import hashlib
import io
import json
import os
import queue
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field, replace

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
METHODS = ("full", "lora", "sparse")
LEARNT = 0.85  # the learning that methods are compared at
# How the results that are published came about: a fact was done when one step's own wordings were below, and what was given up stayed.
RULE_OF_BEFORE = ["--sample-decides", "--keep-given-up"]
OWN_COLUMNS = ("run", "purpose", "factor", "model", "setting")


@dataclass(frozen=True)
class Run:
    """One run of forgetting-run; `how` are its settings as (option, value) pairs."""

    purpose: str
    task: str
    method: str
    how: tuple[tuple[str, str], ...]
    seed: int = 1
    set: str = "select"
    model: str = "atlas"
    factor: str = ""
    n: int = 100
    known: int = 500
    checkpoints: int = 1

    @property
    def setting(self) -> str:
        return ", ".join(describe(option, value) for option, value in self.how) or "the library's defaults"

    def arguments(self) -> list[str]:
        fixed = {"method": self.method, "task": self.task, "n": self.n, "set": self.set, "seed": self.seed, "known": self.known,
                 "checkpoints": self.checkpoints}
        own = [word for option, value in self.how for word in (f"--{option}", value) if word]
        return [word for option, value in fixed.items() for word in (f"--{option}", str(value))] + own

    @property
    def id(self) -> str:
        text = " ".join([self.model, *self.arguments()])  # the same run may serve two purposes; as it was before the rule had a flag
        return hashlib.sha256(text.encode()).hexdigest()[:12]


def describe(option: str, value: str) -> str:
    words = {"lr": "lr {}", "max-steps": "{} steps", "loss-below": "until loss {}", "rank": "rank {}", "alpha": "alpha {}", "t": "t {}",
             "weight-decay": "decay {}", "rule": "{}", "optimizer": "{}", "rows": "rows per {}", "wordings": "{} wordings", "clip": "clip {}",
             "warmup": "warm-up {}", "background": "counts: {}", "damping": "damping {}", "pool-weight-decay": "pool decay {}", "pool-lr": "pool lr {}"}
    if option == "background":
        value = os.path.basename(value)
    if option == "wordings" and value == "-1":
        value = "all"
    return words.get(option, option.replace("-", " ") + (" {}" if value else "")).format(value)


ORDER = ("rule", "optimizer", "damping", "no-protect", "background", "rows", "t", "lr", "pool-lr", "max-steps", "rank", "alpha", "rank-stabilized", "wordings",
         "loss-below", "loss-all", "warmup", "weight-decay", "pool-weight-decay", "clip")


def how(**settings: object) -> tuple[tuple[str, str], ...]:
    """The settings in one order, so that the same ones are the same run."""
    pairs = [(name.replace("_", "-"), "" if value is True else str(value)) for name, value in settings.items()]
    return tuple(sorted(pairs, key=lambda pair: ORDER.index(pair[0])))


# ---- the plan -------------------------------------------------------------------------------------------------------------------------------
# Every method gets the same number of trials.  The baselines: AdamW, decay 0.1, clipping at 1, early stopping at the fact's own loss of 0.1.


def base(**settings: object) -> tuple[tuple[str, str], ...]:
    return how(**{"weight_decay": 0.1, "clip": 1, "loss_below": 0.1, **settings})


def trials_full() -> list[tuple]:
    grid = [(lr, 60) for lr in ("2e-6", "5e-6", "1e-5", "2e-5", "5e-5", "1e-4", "2e-4")]
    grid += [("2e-6", 150), ("5e-6", 150), ("1e-5", 150), ("5e-5", 15), ("1e-4", 8)]
    runs = [base(lr=lr, max_steps=steps) for lr, steps in grid]
    runs += [base(lr="5e-6", max_steps=150, weight_decay=0, clip=1), base(lr="1e-5", max_steps=150, weight_decay=0, clip=0),
             base(lr="5e-6", max_steps=150, wordings=11), base(lr="5e-6", max_steps=150, loss_below=0.3),
             base(lr="5e-6", max_steps=60, pool_weight_decay=0.1), base(lr="2e-5", max_steps=1, wordings=-1),
             base(lr="2e-6", pool_lr="1e-4", max_steps=60), base(lr="5e-6", max_steps=60, warmup=100),
             base(lr="2e-6", pool_lr="1e-4", max_steps=150), base(lr="2e-6", pool_lr="5e-4", max_steps=60), base(lr="3e-6", max_steps=150),
             base(lr="5e-6", pool_lr="2e-5", max_steps=150)]
    return runs


def trials_lora() -> list[tuple]:
    grid = [(lr, 60, 16) for lr in ("1e-5", "3e-5", "1e-4", "3e-4", "1e-3", "3e-3")]
    grid += [("3e-5", 150, 16), ("1e-4", 150, 16), ("3e-5", 150, 64), ("1e-4", 150, 64), ("1e-4", 150, 4), ("3e-4", 20, 64), ("1e-3", 60, 4)]
    runs = [base(lr=lr, max_steps=steps, rank=rank, alpha=2 * rank) for lr, steps, rank in grid]
    runs += [base(lr="1e-4", max_steps=150, rank=64, alpha=32), base(lr="1e-4", max_steps=150, rank=64, alpha=64, rank_stabilized=True),
             base(lr="1e-4", max_steps=150, rank=16, alpha=32, weight_decay=0, clip=0),
             base(lr="1e-4", max_steps=150, rank=16, alpha=32, loss_below=0.3),
             base(lr="2e-4", max_steps=1, wordings=-1, rank=32, alpha=64),
             base(lr="3e-5", max_steps=150, rank=4, alpha=8), base(lr="1e-4", max_steps=150, rank=16, alpha=32, warmup=100),
             base(lr="1e-5", max_steps=150, rank=16, alpha=32), base(lr="1e-5", max_steps=150, rank=64, alpha=128),
             base(lr="2e-5", max_steps=100, rank=64, alpha=128), base(lr="5e-6", max_steps=150, rank=64, alpha=128)]
    return runs


def slots(**settings: object) -> tuple[tuple[str, str], ...]:
    """Sparse finetuning for long streams: rows held back more than by the library's default damping of 0.0003."""
    return how(**{"damping": 0.00007, "loss_below": 0.1, **settings})


def trials_sparse() -> list[tuple]:
    runs = [slots()] + [slots(lr=lr) for lr in ("3", "10", "30", "100", "300", "1000")]
    runs += [slots(t=150), slots(t=700), slots(t=1000), slots(rule="kl"), slots(rule="tf"), slots(rule="all"), slots(rule="random"), slots(rows="step"),
             slots(rows="step", loss_below=0.2), slots(loss_below=0.05), slots(loss_below=0.2), slots(loss_below=0.3), slots(optimizer="adamw"),
             slots(damping=0.0003), slots(damping=0.00003), slots(wordings=8), slots(damping=-1, max_steps=1, wordings=-1, rows="step", lr=3)]
    return runs


def trials(method: str) -> list[tuple]:
    return {"full": trials_full, "lora": trials_lora, "sparse": trials_sparse}[method]()


def documents_trials(method: str) -> list[tuple]:
    """A document has two to five facts in one text: more steps, more rows, more wordings a step."""
    if method == "sparse":
        return [slots(t=t, max_steps=200, wordings=8, **more)
                for t, more in ((1000, {}), (2000, {}), (4000, {}), (2000, {"loss_below": 0.05}), (2000, {"loss_below": 0.2}), (2000, {"loss_all": True}))] + [
            slots(t=1000, max_steps=200), slots(t=2000, max_steps=200, wordings=16),
            slots(t=2000, max_steps=200, wordings=8, damping=0.00003), slots(t=2000, max_steps=200, wordings=8, rows="step"),
            slots(t=2000, max_steps=200, wordings=8, damping=0.0003), slots(t=4000, max_steps=200, wordings=8, damping=0.0002, rows="step"),
            slots(t=4000, max_steps=400, wordings=8)]
    if method == "full":
        return [base(lr=lr, max_steps=steps) for lr, steps in (("2e-6", 200), ("5e-6", 60), ("5e-6", 200), ("1e-5", 60), ("1e-5", 200))] + [
            base(lr="5e-6", max_steps=200, loss_all=True), base(lr="2e-6", pool_lr="5e-4", max_steps=100, wordings=8),
            base(lr="2e-6", pool_lr="1e-3", max_steps=100, wordings=8), base(lr="2e-6", pool_lr="2e-3", max_steps=100, wordings=8),
            base(lr="1e-6", pool_lr="1e-3", max_steps=200, wordings=8), base(lr="1e-6", pool_lr="2e-3", max_steps=200, wordings=8),
            base(lr="5e-7", pool_lr="1e-3", max_steps=200, wordings=8), base(lr="1e-6", pool_lr="1e-3", max_steps=200, wordings=8, loss_below=0.05)]
    return [base(lr=lr, max_steps=steps, rank=rank, alpha=2 * rank)
            for lr, steps, rank in (("3e-5", 200, 16), ("1e-4", 60, 16), ("1e-4", 200, 16), ("3e-4", 60, 16), ("1e-4", 200, 64))] + [
        base(lr="1e-4", max_steps=200, rank=16, alpha=32, wordings=8), base(lr="1e-4", max_steps=200, rank=16, alpha=32, loss_below=0.3),
        base(lr="1e-4", max_steps=200, rank=16, alpha=32, loss_all=True), base(lr="1e-5", max_steps=200, rank=64, alpha=128),
        base(lr="2e-5", max_steps=200, rank=64, alpha=128), base(lr="5e-6", max_steps=200, rank=64, alpha=128),
        base(lr="1e-5", max_steps=200, rank=16, alpha=32), base(lr="1e-5", max_steps=200, rank=64, alpha=128, wordings=8)]


def sweep() -> list[Run]:
    facts = [Run("sweep", "facts", method, trial, n=30, known=300) for method in METHODS for trial in trials(method)]
    documents = [Run("sweep", "documents", method, trial, n=15, known=300) for method in METHODS for trial in documents_trials(method)]
    return facts + documents


def twin_trials(method: str) -> list[tuple]:
    """The corner where the method was best on atlas."""
    if method == "full":
        return [base(lr=lr, max_steps=steps) for lr, steps in (("1e-5", 60), ("2e-5", 60), ("5e-5", 60), ("1e-4", 60), ("1e-5", 150), ("5e-5", 150), ("5e-6", 150), ("7e-6", 150))]
    return [base(lr=lr, max_steps=150, rank=rank, alpha=2 * rank) for lr, rank in (("3e-5", 16), ("1e-4", 16), ("3e-4", 16), ("1e-3", 16), ("1e-4", 64), ("3e-4", 64), ("3e-5", 64), ("1e-5", 64))]


def twin_sweep() -> list[Run]:
    return [Run("sweep", "facts", method, trial, n=30, known=300, model="dense") for method in ("lora", "full") for trial in twin_trials(method)]


def ablations() -> list[Run]:
    """One factor at a time from slots(); damped and undamped, since the damping does a part of what the selection is for."""
    def rules(**more: object) -> list[tuple]:
        return [slots(**more)] + [slots(rule=rule, **more) for rule in ("kl", "tf", "random", "all")]

    plan: dict[str, list[tuple]] = {
        "rule": rules(),
        "rule, undamped": rules(damping=-1),
        "rule, undamped AdamW": rules(damping=-1, optimizer="adamw"),
        "optimizer": [slots(), slots(optimizer="adamw")],
        "t": [slots(t=t) for t in (100, 350, 1000)],
        "rows": [slots(), slots(rows="step")],
        "protect": [slots(), slots(no_protect=True)],
        "damping": [slots(damping=-1), slots(damping=0.0007), slots(), slots(damping=0.000007)],
        "background": [slots(), slots(background=os.path.join(ROOT, "examples/atlas/data/text.train.txt")), slots(background="none", rule="tf")],
    }
    runs = [Run("ablation", "facts", "sparse", trial, seed=seed, set="report", factor=factor) for seed in (1, 2) for factor, list_ in plan.items() for trial in list_]
    models = {"pool": ("atlas", "small-pool", "big-pool"), "placement": ("atlas", "late"), "layers": ("atlas", "one-layer")}
    runs += [Run("ablation", "facts", "sparse", slots(), seed=seed, set="report", factor=factor, model=model)
             for seed in (1, 2) for factor, names in models.items() for model in names]
    runs += [Run("ablation", "facts", "sparse", slots(), set="report", factor="pool, after 500 facts", model=model, n=500) for model in ("atlas", "big-pool")]
    return runs + [Run("ablation", "facts", "sparse", trial, set="report", factor="damping, after 500 facts", n=500) for trial in (slots(), slots(damping=0.0003))]


# ---- results --------------------------------------------------------------------------------------------------------------------------------


@dataclass
class Place:
    """Where things lie."""

    work: str
    results: str
    program: str = os.path.join(ROOT, "build/examples/forgetting-run")
    columns: list[str] = field(default_factory=list)

    def rows_of(self, run: Run) -> str:
        return os.path.join(self.work, "runs", run.id + ".csv")

    def model_of(self, name: str) -> str:
        return os.path.join(ROOT, "examples/atlas/model") if name == "atlas" else os.path.join(self.work, "models", name, "model")

    def rows(self, run: Run) -> list[dict[str, str]]:
        with open(self.rows_of(run), encoding="utf-8") as file:
            return [dict(zip(self.columns, line)) for line in csv.reader(file)]

    def is_done(self, run: Run) -> bool:
        return os.path.exists(self.rows_of(run))


def end_of(place: Place, run: Run) -> tuple[float, float]:
    last = place.rows(run)[-1]
    return float(last["learning"]), float(last["forgetting_percent"])


def choose(place: Place, runs: list[Run], n: int = 3) -> list[tuple]:
    """The n settings to report: the one that forgets least of those that learn enough, the one that learns most, and Pareto points between."""
    points = sorted(((*end_of(place, run), run.how) for run in runs if place.is_done(run)), key=lambda p: (-p[0], p[1]))
    pareto = [p for i, p in enumerate(points) if all(p[1] < q[1] for q in points[:i])]  # from the most learning down
    if not pareto:
        return []
    enough = [p for p in pareto if p[0] >= LEARNT] or pareto[:1]
    picked = [min(enough, key=lambda p: p[1]), pareto[0]]
    picked += sorted((p for p in pareto if p not in picked), key=lambda p: abs(p[0] - LEARNT))
    chosen = list(dict.fromkeys(p[2] for p in picked))
    return chosen[:n]


def write_runs(place: Place, runs: list[Run]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*OWN_COLUMNS, *place.columns])
    for run in dict.fromkeys(runs):
        if place.is_done(run):
            for row in place.rows(run):
                writer.writerow([":".join(filter(None, (run.id, run.purpose, run.factor))), run.purpose, run.factor, run.model, run.setting, *row.values()])
    path = os.path.join(place.results, "runs.csv")
    with open(path + ".part", "w", encoding="utf-8") as file:
        file.write(text.getvalue())
    os.replace(path + ".part", path)


# ---- running --------------------------------------------------------------------------------------------------------------------------------


class Progress:
    """How far, and how long it will take: by the mean time of the runs of the same method and kind that were seen."""

    def __init__(self, place: Place, runs: list[Run], jobs: int):
        self.place, self.left, self.jobs, self.lock = place, list(runs), jobs, threading.Lock()
        self.total = len(runs)
        self.times: dict[tuple, list[float]] = {}

    def key(self, run: Run) -> tuple:
        return (run.method, run.task, run.n, run.model)

    def expected(self, run: Run) -> float:
        seen = self.times.get(self.key(run))
        if seen:
            return sum(seen) / len(seen)
        everything = [t / k[2] for k, list_ in self.times.items() for t in list_]
        return run.n * (sum(everything) / len(everything) if everything else 0.8)

    def finished(self, run: Run, seconds: float) -> None:
        with self.lock:
            self.left.remove(run)
            self.times.setdefault(self.key(run), []).append(seconds)
            minutes = sum(self.expected(r) for r in self.left) / self.jobs / 60
            learning, forgetting = end_of(self.place, run)
            print(f"[{self.total - len(self.left)}/{self.total}, about {minutes:.0f} min left] {run.purpose} {run.task} {run.model} {run.method} "
                  f"seed {run.seed}: {run.setting}: learning {learning:.3f}, forgetting {forgetting:.2f}% ({seconds:.0f} s)", flush=True)


def execute_one(place: Place, run: Run) -> str | None:
    command = [place.program, *run.arguments(), *RULE_OF_BEFORE, "--model", place.model_of(run.model), "--out", place.rows_of(run)]
    done = subprocess.run(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    return None if done.returncode == 0 else f"{' '.join(command)}\n{done.stderr.strip().splitlines()[-1] if done.stderr.strip() else done.returncode}"


def execute(place: Place, runs: list[Run], jobs: int) -> None:
    waiting: queue.SimpleQueue = queue.SimpleQueue()
    todo = [run for run in {run.id: run for run in runs}.values() if not place.is_done(run)]
    missing = sorted({run.model for run in todo if not os.path.isdir(place.model_of(run.model))})
    for name in missing:
        print(f"no model {place.model_of(name)}: its runs are left out (examples/atlas/build.sh makes it)", file=sys.stderr)
    todo = [run for run in todo if run.model not in missing]
    progress, failures = Progress(place, todo, jobs), []
    for run in todo:
        waiting.put(run)

    def work() -> None:
        while not failures:
            try:
                run = waiting.get_nowait()
            except queue.Empty:
                return
            begin = time.monotonic()
            failure = execute_one(place, run)
            if failure:
                failures.append(failure)
            else:
                progress.finished(run, time.monotonic() - begin)

    threads = [threading.Thread(target=work) for _ in range(jobs)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        sys.exit("sweep: a run failed:\n" + "\n".join(failures))


# ---- the whole ------------------------------------------------------------------------------------------------------------------------------


def with_defaults(best: dict[str, list[tuple]]) -> dict[str, list[tuple]]:
    """Two settings a method; of sparse finetuning the library's defaults too, since that is what a host gets."""
    chosen = {method: list_[:2] for method, list_ in best.items()}
    chosen["sparse"] += [how()] if how() not in chosen["sparse"] else []
    return chosen


def finals(task: str, model: str, chosen: dict[str, list[tuple]]) -> list[Run]:
    n, settings = 100 if task == "facts" else 25, max(len(list_) for list_ in chosen.values())
    # Along the stream is measured for the first setting; of documents, where which setting of sparse is nearest is not known before, for all of it.
    return [Run("final" if model == "atlas" else "twin", task, method, setting, seed=seed, set="report", model=model, n=n,
                checkpoints=10 if i == 0 or (task, method) == ("documents", "sparse") else 1)
            for i in range(settings) for seed in (1, 2, 3) for method, list_ in chosen.items() for setting in list_[i:i + 1]]


def streams(chosen: dict[str, list[tuple]]) -> list[Run]:
    return [Run("stream", "facts", method, chosen[method][0], seed=seed, set="report", n=500, checkpoints=10)
            for seed in (1, 2, 3) for method in reversed(METHODS) if method == "sparse" or seed == 1]


def full_sweep(place: Place, jobs: int) -> None:
    runs: list[Run] = []
    best: dict[str, dict[str, list[tuple]]] = {}

    def go_on(more: list[Run]) -> None:
        execute(place, more, jobs)
        runs.extend(more)
        write_runs(place, runs)

    def tried(task: str, method: str) -> list[Run]:
        return [run for run in sweep() if (run.task, run.method) == (task, method)]

    for task in ("facts", "documents"):
        go_on([run for run in sweep() if run.task == task])
        best[task] = {method: choose(place, tried(task, method)) for method in METHODS}
        go_on(finals(task, "atlas", with_defaults(best[task])))
    with open(os.path.join(place.results, "settings.json"), "w", encoding="utf-8") as file:
        json.dump(best, file, indent=1)
        file.write("\n")
    first, second = ([run for run in ablations() if run.seed == seed] for seed in (1, 2))
    go_on([run for run in streams(best["facts"]) if run.method != "lora"])
    go_on(first)
    one_rate = [run for run in tried("facts", "full") if "pool-lr" not in dict(run.how)]
    go_on([replace(run, purpose="one rate") for run in finals("facts", "atlas", {"full": choose(place, one_rate, 1)})])
    go_on(twin_sweep())
    go_on(finals("facts", "dense", {m: choose(place, [r for r in twin_sweep() if r.method == m], 1) for m in ("lora", "full")}))
    go_on(second)
    go_on(streams(best["facts"]))


def ends_reported(task: str, method: str) -> dict[str, tuple[float, float]]:
    """setting -> (mean learning, mean forgetting) of the finished final runs in the committed results."""
    ends: dict[str, list[tuple[float, float]]] = {}
    with open(os.path.join(HERE, "results/runs.csv"), encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if (row["purpose"], row["task"], row["method"]) == ("final", task, method) and row["items_done"] == row["items_total"]:
                ends.setdefault(row["setting"], []).append((float(row["learning"]), float(row["forgetting_percent"])))
    return {setting: (sum(x for x, _ in list_) / len(list_), sum(y for _, y in list_) / len(list_)) for setting, list_ in ends.items()}


def best_reported(task: str, method: str, settings: list[tuple]) -> tuple:
    """Of the settings chosen by the full sweep: what forgot least of those that learnt enough, else what learnt most."""
    ends = ends_reported(task, method)
    known = [(ends[text], setting) for setting in settings if (text := Run("final", task, method, setting).setting) in ends]
    enough = [one for one in known if one[0][0] >= LEARNT]
    if enough:
        return min(enough, key=lambda one: one[0][1])[1]
    return max(known, key=lambda one: one[0][0])[1] if known else settings[0]


def near_best(place: Place, n: dict[str, int], known: int) -> list[Run]:
    """One seed at the best of the settings that the full sweep chose; the results go elsewhere."""
    with open(os.path.join(HERE, "results/settings.json"), encoding="utf-8") as file:
        best = json.load(file)
    chosen = {(task, method): best_reported(task, method, [tuple((o, v) for o, v in one) for one in best[task][method]])
              for task in n for method in METHODS}
    return [Run("final", task, method, setting, set="report", n=n[task], known=known, checkpoints=2) for (task, method), setting in chosen.items()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--results", default=os.path.join(HERE, "results"), help="runs.csv and settings.json go there")
    parser.add_argument("--work", default=os.path.join(ROOT, "build/forgetting"), help="finished runs, and models other than atlas")
    parser.add_argument("--jobs", type=int, default=2, help="runs side by side, one thread each (2)")
    parser.add_argument("--quick", action="store_true", help="one seed at the best settings, at most 10 minutes")
    parser.add_argument("--smoke", action="store_true", help="a few facts: does everything work?")
    parser.add_argument("--list", action="store_true", help="say what would be run and stop")
    parser.add_argument("--program", default=Place.program, help=argparse.SUPPRESS)
    options = parser.parse_args()
    place = Place(options.work, options.results, options.program)
    if options.list:
        for run in sweep() + ablations() + twin_sweep():
            print(run.id, run.purpose, run.factor, run.model, " ".join(run.arguments()))
        return
    os.makedirs(os.path.join(place.work, "runs"), exist_ok=True)
    os.makedirs(place.results, exist_ok=True)
    place.columns = subprocess.run([place.program, "--header"], check=True, capture_output=True, text=True).stdout.strip().split(",")
    if options.quick or options.smoke:
        runs = near_best(place, {"facts": 4, "documents": 2} if options.smoke else {"facts": 100, "documents": 25}, 20 if options.smoke else 300)
        execute(place, runs, options.jobs)
        write_runs(place, runs)
    else:
        full_sweep(place, options.jobs)


if __name__ == "__main__":
    main()
