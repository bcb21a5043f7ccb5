#!/usr/bin/env python3
"""sweep: which runs the comparison is made of, and running them: two single-threaded ones side by
side, each with its own result file, so that a stopped sweep goes on where it was.  Owns the plan
(settings tried, how the best are chosen) and runs.csv; one run is forgetting-run's affair, the
tables and plots are report.py's.

    sweep.py [--results DIR] [--work DIR] [--quick | --smoke] [--jobs N] [--list]
             [--settings N] [--seeds N] [--parts PART,PART]
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
from dataclasses import dataclass, field
from typing import Iterable

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
METHODS = ("full", "full-replay", "lora", "lora-replay", "values", "sparse")
DOCUMENTS_METHODS = ("full", "full-replay", "sparse")
LEARNT = 0.85  # the learning that methods are compared at
SETTINGS = 6  # tried for every method
OWN_COLUMNS = ("run", "purpose", "factor", "model", "setting")
KINDS = ("half", "prose")  # of background.h, counted once


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
    whole: bool = False  # every known fact is asked at the end
    checkpoints: int = 1
    texts: int = 0  # lines of held-out text that are measured; 0: the program's default

    @property
    def setting(self) -> str:
        return ", ".join(describe(option, value) for option, value in self.how) or DEFAULTS

    def arguments(self) -> list[str]:
        fixed = {"method": self.method.removesuffix("-replay"), "task": self.task, "n": self.n,
                 "set": self.set, "seed": self.seed, "known": self.known,
                 "checkpoints": self.checkpoints}
        own = [word for option, value in self.how for word in (f"--{option}", value) if word]
        return ([word for option, value in fixed.items() for word in (f"--{option}", str(value))]
                + ["--whole"] * self.whole + ["--texts", str(self.texts)] * (self.texts > 0) + own)

    @property
    def id(self) -> str:
        text = " ".join([self.model, *self.arguments()])  # the same run may serve two purposes
        return hashlib.sha256(text.encode()).hexdigest()[:12]


DEFAULTS = "the library's defaults"
WORDS = {"lr": "lr {}", "max-steps": "{} steps", "loss-below": "until loss {}", "rank": "rank {}",
         "alpha": "alpha {}", "t": "t {}", "weight-decay": "decay {}", "rule": "{}",
         "optimizer": "{}", "rows": "rows per {}", "wordings": "{} wordings", "clip": "clip {}",
         "background": "knows {}", "damping": "damping {}", "pool-lr": "pool lr {}",
         "replay": "replay {}", "keep-given-up": "what is given up kept"}
ORDER = ("rule", "optimizer", "damping", "no-protect", "rows", "t", "lr", "pool-lr", "lazy-pools",
         "max-steps", "rank", "alpha", "rank-stabilized", "wordings", "loss-below", "loss-all",
         "keep-given-up", "replay", "background", "weight-decay", "clip")


def describe(option: str, value: str) -> str:
    if option == "wordings" and value == "-1":
        value = "all"
    return WORDS.get(option, option.replace("-", " ") + (" {}" if value else "")).format(value)


def how(**settings: object) -> tuple[tuple[str, str], ...]:
    """The settings in one order, so that the same ones are the same run."""
    pairs = [(name.replace("_", "-"), "" if value is True else str(value))
             for name, value in settings.items()]
    return tuple(sorted(pairs, key=lambda pair: ORDER.index(pair[0])))


# ---- the plan -------------------------------------------------------------------------------
# Six settings for every method, the likeliest first.  Everyone stops early at each wording's own
# loss, of .1 or .2.  The baselines: AdamW, decay 0.1, clipping at 1.  What is known of what is to
# be kept is one half of the known facts and prose: counted (sparse) or replayed.


def base(**settings: object) -> tuple[tuple[str, str], ...]:
    return how(**{"weight_decay": 0.1, "clip": 1, **settings})


def full(lr: str, pool: str, steps: int, below: float, **more: object) -> tuple:
    rates = {"lr": lr, "pool_lr": pool} if pool else {"lr": lr}
    return base(**rates, max_steps=steps, loss_below=below, **more)


def replayed(n: int) -> dict[str, object]:
    return {"replay": n, "background": "half"}


def lora(lr: str, rank: int, steps: int, below: float, **more: object) -> tuple:
    return base(lr=lr, rank=rank, max_steps=steps, loss_below=below, **{"alpha": 2 * rank, **more})


def values(lr: str, steps: int, below: float, **more: object) -> tuple:
    return base(lr=lr, pool_lr=lr, max_steps=steps, loss_below=below, **more)


def slots(**settings: object) -> tuple[tuple[str, str], ...]:
    """Sparse finetuning for long streams: rows held back more than by the default damping of
    0.0003; what is given up stays, as it does with the baselines, which cannot go back."""
    return how(**{"damping": 0.00007, "loss_below": 0.1, "keep_given_up": True,
                  "background": "half", **settings})


def trials(method: str) -> list[tuple]:
    return {
        "full": [
            full("2e-6", "5e-4", 60, 0.1), full("2e-6", "1e-3", 100, 0.2),
            full("1e-6", "2e-3", 100, 0.2), full("2e-6", "5e-4", 100, 0.2),
            full("1e-6", "1e-3", 200, 0.1), full("1e-5", "", 60, 0.2)],
        "full-replay": [
            full("2e-6", "1e-3", 100, 0.2, **replayed(4)),
            full("2e-6", "5e-4", 60, 0.1, **replayed(4)),
            full("1e-6", "2e-3", 100, 0.2, **replayed(4)),
            full("2e-6", "1e-3", 100, 0.2, **replayed(8)),
            full("1e-5", "1e-3", 100, 0.2, **replayed(8)),
            full("1e-5", "", 60, 0.2, **replayed(8))],
        "lora": [
            lora("2e-5", 64, 100, 0.1), lora("5e-6", 64, 150, 0.2), lora("1e-5", 64, 150, 0.2),
            lora("1e-4", 16, 100, 0.2), lora("1e-4", 64, 100, 0.2), lora("3e-5", 16, 60, 0.2)],
        "lora-replay": [
            lora("1e-4", 64, 100, 0.2, **replayed(4)), lora("3e-4", 64, 60, 0.2, **replayed(8)),
            lora("3e-5", 64, 100, 0.1, **replayed(4)), lora("3e-4", 16, 60, 0.2, **replayed(4)),
            lora("1e-4", 64, 100, 0.2, **replayed(8)), lora("1e-3", 16, 60, 0.2, **replayed(8))],
        "values": [
            values("1e-3", 100, 0.2), values("5e-4", 60, 0.1),
            values("2e-3", 100, 0.2, lazy_pools=True), values("2e-3", 100, 0.2),
            values("1e-3", 100, 0.2, lazy_pools=True), values("1e-3", 100, 0.1)],
        "sparse": [
            slots(), how(background="half"), slots(loss_below=0.2), slots(t=1000),
            slots(damping=0.00003, loss_below=0.2), slots(damping=0.0003)],
    }[method]


def documents_trials(method: str) -> list[tuple]:
    """A document has two to five facts in one text: more rows, more wordings a step."""
    if method == "sparse":
        return [slots(t=2000, damping=0.0003, wordings=8), slots(t=2000, wordings=8),
                slots(t=4000, damping=0.0002, rows="step", wordings=8),
                slots(t=2000, damping=0.0003, wordings=8, loss_below=0.2),
                slots(t=4000, wordings=8, max_steps=400), how(background="half", t=2000)]
    more = replayed(4) if method == "full-replay" else {}
    return [full("1e-6", "2e-3", 100, 0.2, wordings=8, **more),
            full("1e-6", "1e-3", 200, 0.1, wordings=8, **more),
            full("1e-6", "2e-3", 200, 0.1, wordings=8, **more),
            full("2e-6", "2e-3", 100, 0.2, wordings=8, **more),
            full("5e-7", "1e-3", 200, 0.2, wordings=8, **more),
            full("2e-6", "5e-4", 100, 0.2, wordings=8, **more)]


def sweep(task: str = "", settings: int = SETTINGS) -> list[Run]:
    """Setting by setting, so that a sweep that is cut short tried as many of every method."""
    facts = [Run("sweep", "facts", method, trials(method)[i], n=30, known=300)
             for i in range(settings) for method in reversed(METHODS)]
    documents = [Run("sweep", "documents", method, documents_trials(method)[i], n=15, known=300)
                 for i in range(settings) for method in reversed(DOCUMENTS_METHODS)]
    return [run for run in facts + documents if task in ("", run.task)]


def ablations(seeds: Iterable[int] = (1,)) -> list[Run]:
    """One factor at a time from slots(); damped and undamped, since the damping does a part of
    what the selection is for."""
    def rules(**more: object) -> list[tuple]:
        return [slots(**more)] + [slots(rule=rule, **more) for rule in ("kl", "tf", "random", "all")]

    plan: dict[str, list[tuple]] = {
        "damping": [slots(damping=-1), slots(damping=0.0003), slots(), slots(damping=0.00002)],
        "background": [slots(), slots(background="prose"), slots(background="none", rule="tf")],
        "rule": rules(),
        "t": [slots(t=100), slots(), slots(t=1000)],
        "rows": [slots(), slots(rows="step")],
        "protect": [slots(), slots(no_protect=True)],
        "optimizer": [slots(), slots(optimizer="adamw")],
        "rule, undamped": rules(damping=-1),
    }
    models = {"pool": ("atlas", "small-pool", "big-pool"), "placement": ("atlas", "late"),
              "layers": ("atlas", "one-layer")}
    one = [Run("ablation", "facts", "sparse", trial, seed=seed, set="report", factor=factor)
           for seed in seeds for factor, tried in plan.items() for trial in tried]
    return one + [Run("ablation", "facts", "sparse", slots(), seed=seed, set="report",
                      factor=factor, model=model)
                  for seed in seeds for factor, names in models.items() for model in names]


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

    def counts_of(self, kind: str, model: str) -> str:
        """Where the counts of a kind lie once they are made; a file or "none" as it is."""
        name = kind if model == "atlas" else f"{kind}.{model}"  # forgetting-run says what precedes "."
        return os.path.join(self.work, "counts", name + ".safetensors") if kind in KINDS else kind

    def rows(self, run: Run) -> list[dict[str, str]]:
        with open(self.rows_of(run), encoding="utf-8") as file:
            return [dict(zip(self.columns, line)) for line in csv.reader(file)]

    def is_done(self, run: Run) -> bool:
        return os.path.exists(self.rows_of(run))


def end_of(place: Place, run: Run) -> tuple[float, float]:
    last = place.rows(run)[-1]
    return float(last["learning"]), float(last["forgetting_percent"])


def choose(place: Place, runs: list[Run]) -> tuple | None:
    """The setting to report: what forgets least of those that learn enough, where none does what
    learns most."""
    points = [(*end_of(place, run), run.how) for run in runs if place.is_done(run)]
    enough = [point for point in points if point[0] >= LEARNT]
    if enough:
        return min(enough, key=lambda point: (point[1], -point[0]))[2]
    return max(points, key=lambda point: (point[0], -point[1]))[2] if points else None


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


def program_words(place: Place, run: Run) -> list[str]:
    """The arguments, with the counts that were made once in place of the kind of background."""
    words = run.arguments()
    if run.method == "sparse" and "--background" in words:
        at = words.index("--background") + 1
        words[at] = place.counts_of(words[at], run.model)
    return words


def execute_one(place: Place, run: Run) -> str | None:
    command = [place.program, *program_words(place, run), "--model", place.model_of(run.model),
               "--out", place.rows_of(run)]
    done = subprocess.run(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    last = done.stderr.strip().splitlines()[-1:] or [str(done.returncode)]
    return None if done.returncode == 0 else f"{' '.join(command)}\n{last[0]}"


def count_once(place: Place, runs: Iterable[Run]) -> None:
    """The counts that the runs take."""
    kinds = {(value, run.model) for run in runs if run.method == "sparse"
             for option, value in run.how if option == "background" and value in KINDS}
    for kind, model in sorted(kinds):
        path = place.counts_of(kind, model)
        if os.path.exists(path):
            continue
        os.makedirs(os.path.dirname(path), exist_ok=True)
        subprocess.run([place.program, "--method", "sparse", "--background", kind, "--model",
                        place.model_of(model), "--save-counts", path + ".part"], check=True)
        os.replace(path + ".part", path)


def execute(place: Place, runs: list[Run], jobs: int) -> None:
    waiting: queue.SimpleQueue = queue.SimpleQueue()
    todo = [run for run in {run.id: run for run in runs}.values() if not place.is_done(run)]
    missing = sorted({run.model for run in todo if not os.path.isdir(place.model_of(run.model))})
    for name in missing:
        print(f"no model {place.model_of(name)}: its runs are left out (examples/atlas/build.sh makes it)", file=sys.stderr)
    todo = [run for run in todo if run.model not in missing]
    count_once(place, todo)
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


# ---- the whole ------------------------------------------------------------------------------


def finals(task: str, method: str, setting: tuple, seeds: Iterable[int],
           purpose: str = "final") -> list[Run]:
    n = 100 if task == "facts" else 25
    return [Run(purpose, task, method, setting, seed=seed, set="report", n=n, whole=True,
                checkpoints=4 if seed == 1 else 1) for seed in seeds]


def others() -> list[tuple[str, tuple]]:
    """What else is reported at 100 facts: what a host gets, and what less knowledge costs."""
    return [("sparse", how()), ("sparse", slots(background="prose")),
            ("full-replay", full("2e-6", "1e-3", 100, 0.2, replay=4, background="prose"))]


def stream(method: str, setting: tuple, seed: int) -> Run:
    return Run("stream", "facts", method, setting, seed=seed, set="report", n=500, whole=True,
               checkpoints=5)


PARTS = ("sweep", "final", "others", "documents", "stream", "ablations")


@dataclass(frozen=True)
class Extent:
    """How much of the whole: so many settings of every method, so many seeds of each row."""

    settings: int = SETTINGS
    seeds: int = 3


def best_of(place: Place, task: str, extent: Extent) -> dict[str, tuple]:
    methods = METHODS if task == "facts" else DOCUMENTS_METHODS
    tried = sweep(task, extent.settings)
    chosen = {m: choose(place, [run for run in tried if run.method == m]) for m in methods}
    return {method: setting for method, setting in chosen.items() if setting is not None}


def reported(task: str, best: dict[str, tuple], extent: Extent) -> list[Run]:
    return [run for seed in range(1, extent.seeds + 1) for method in reversed(list(best))
            for run in finals(task, method, best[method], (seed,))]


def streams(best: dict[str, tuple], extent: Extent) -> list[Run]:
    """500 facts: the best two, sparse with more seeds; and sparse with what is given up taken back,
    as a host has it: at the rate of the best, and by default."""
    pairs = [(seed, method) for seed in range(1, extent.seeds + 1)
             for method in ("sparse", "full-replay") if method == "sparse" or seed == 1]
    back = how(damping=0.00007, loss_below=0.1, background="half"), how(background="half")
    return [stream(method, best[method], seed) for seed, method in pairs if method in best] + \
        [stream("sparse", setting, 1) for setting in back]


def plan_of(place: Place, part: str, extent: Extent) -> list[Run]:
    """The runs of a part; of "documents" those that are known before its sweep is done."""
    best = best_of(place, "facts", extent)
    if part == "sweep":
        return sweep("facts", extent.settings)
    if part == "final":
        return reported("facts", best, extent)
    if part == "others":
        return [run for method, setting in others()
                for run in finals("facts", method, setting, (1,), "other")]
    if part == "documents":
        return sweep("documents", extent.settings)
    return streams(best, extent) if part == "stream" else ablations((1,))


def full_sweep(place: Place, jobs: int, extent: Extent, parts: Iterable[str]) -> None:
    runs: list[Run] = []

    def go_on(more: list[Run], wanted: bool) -> None:
        if wanted:
            execute(place, more, jobs)
        runs.extend(more)
        write_runs(place, runs)

    for part in PARTS:
        go_on(plan_of(place, part, extent), part in parts)
        if part == "documents":
            best = best_of(place, "documents", extent)
            go_on(reported("documents", best, extent), part in parts)
        write_settings(place, extent)


def write_settings(place: Place, extent: Extent) -> None:
    best = {task: best_of(place, task, extent) for task in ("facts", "documents")}
    with open(os.path.join(place.results, "settings.json"), "w", encoding="utf-8") as file:
        json.dump({task: chosen for task, chosen in best.items() if chosen}, file, indent=1)
        file.write("\n")


def near_best(n: dict[str, int], known: int, texts: int) -> list[Run]:
    """One seed at the settings that the full sweep chose, or the likeliest where it did not get so
    far; the results go elsewhere."""
    with open(os.path.join(HERE, "results/settings.json"), encoding="utf-8") as file:
        chosen = json.load(file)
    best = {"facts": {method: trials(method)[0] for method in METHODS},
            "documents": {method: documents_trials(method)[0] for method in DOCUMENTS_METHODS}}
    for task in best:
        best[task].update(chosen.get(task, {}))
    return [Run("final", task, method, tuple((o, v) for o, v in setting), set="report", n=n[task],
                known=known, texts=texts, checkpoints=2)
            for task in n for method, setting in best[task].items()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--results", default=os.path.join(HERE, "results"),
                        help="runs.csv and settings.json go there")
    parser.add_argument("--work", default=os.path.join(ROOT, "build/forgetting"),
                        help="finished runs, counts, and models other than atlas")
    parser.add_argument("--jobs", type=int, default=2, help="runs side by side, one thread each (2)")
    parser.add_argument("--settings", type=int, default=SETTINGS,
                        help=f"so many settings of every method are tried ({SETTINGS})")
    parser.add_argument("--seeds", type=int, default=3, help="so many of every reported row (3)")
    parser.add_argument("--parts", default=",".join(PARTS),
                        help=f"what is run (all: {','.join(PARTS)}); what was run counts anyway")
    parser.add_argument("--quick", action="store_true", help="one seed at the best settings")
    parser.add_argument("--smoke", action="store_true", help="a few facts: does everything work?")
    parser.add_argument("--list", action="store_true", help="say what would be run and stop")
    parser.add_argument("--program", default=Place.program, help=argparse.SUPPRESS)
    options = parser.parse_args()
    place = Place(options.work, options.results, options.program)
    if options.list:
        for run in sweep() + ablations():
            print(run.id, run.purpose, run.factor, run.model, " ".join(run.arguments()))
        return
    os.makedirs(os.path.join(place.work, "runs"), exist_ok=True)
    os.makedirs(place.results, exist_ok=True)
    header = subprocess.run([place.program, "--header"], check=True, capture_output=True, text=True)
    place.columns = header.stdout.strip().split(",")
    if options.quick or options.smoke:
        n = {"facts": 2, "documents": 1} if options.smoke else {"facts": 40, "documents": 8}
        runs = near_best(n, *((20, 10) if options.smoke else (300, 0)))
        execute(place, runs, options.jobs)
        write_runs(place, runs)
    else:
        extent = Extent(options.settings, options.seeds)
        full_sweep(place, options.jobs, extent, options.parts.split(","))


if __name__ == "__main__":
    main()
