"""frontier: from the raw rows of results/runs.csv to numbers: runs, means over seeds, frontiers, equal learning, the targets.

Pure functions over plain values; nothing here draws, prints or writes.  Checked by its doctests and by tests/examples/test_frontier.py.
"""
from __future__ import annotations

import csv
import math
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from statistics import fmean, stdev
from typing import Callable, Iterable, NamedTuple, Optional, Sequence

METHODS = ("full", "lora", "sparse")
TASKS = ("facts", "documents")
FLOOR = 0.85  # the least learning at which the comparison counts
SEEDS_WANTED = 3
TEXT_COLUMNS = ("run", "purpose", "factor", "task", "model", "method", "set", "setting", "rule", "optimizer", "rows")
NUMBER_COLUMNS = (
    "seed", "lr", "max_steps", "loss_below", "weight_decay", "rank", "alpha", "t", "items_total", "items_done", "learning",
    "learning_exact", "learning_trained", "known_f1", "known_f1_before", "forgetting_percent", "memory_forgetting_percent",
    "other_forgetting_percent", "choices", "choices_before", "nll", "nll_before", "kl", "known_f1_pool_zeroed", "steps",
    "seconds", "bytes_changed", "peak_mb")
NEEDED = ("run", "purpose", "task", "model", "method", "set", "seed", "setting", "items_total", "items_done")  # never empty
SUMMARY_COLUMNS = ("task", "method", "learning", "forgetting_percent", "forgetting_std", "seeds")


class BadRows(Exception):
    """runs.csv is not what it should be; the message says where."""


# ---- rows and runs ----------------------------------------------------------------------------------------------------------


def parse_number(text: str, where: str) -> Optional[float]:
    """A cell as a number; None where it is empty or not finite (a run that diverged).

    >>> parse_number("2.5", ""), parse_number("", ""), parse_number("nan", "")
    (2.5, None, None)
    """
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        raise BadRows(f"{where}: expected a number, got {text!r}") from None
    return value if math.isfinite(value) else None


def read_row(cells: dict, where: str) -> dict:
    if None in cells or None in cells.values():
        raise BadRows(f"{where}: expected one cell for each column of the header")
    row = {name: cells[name].strip() for name in TEXT_COLUMNS}
    row.update((name, parse_number(cells[name].strip(), f"{where}, {name}")) for name in NUMBER_COLUMNS)
    for name in NEEDED:
        if row[name] in ("", None):
            raise BadRows(f"{where}: {name} is empty")
    if row["items_total"] < 1:
        raise BadRows(f"{where}: items_total is {row['items_total']:g}, expected at least 1")
    row["seed"] = int(row["seed"])
    return row


def read_rows(path: str) -> list[dict]:
    """The rows of runs.csv: text columns as text, the others as numbers or None.  Columns that nobody knows are ignored."""
    try:
        with open(path, newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            header = reader.fieldnames
            if not header:
                raise BadRows(f"{path}: the file is empty")
            missing = [name for name in TEXT_COLUMNS + NUMBER_COLUMNS if name not in header]
            if missing:
                raise BadRows(f"{path}: missing columns: {', '.join(missing)}")
            rows = [read_row(cells, f"{path}, line {reader.line_num}") for cells in reader]
    except OSError as error:
        raise BadRows(f"{path}: {error.strerror}") from None
    except (UnicodeDecodeError, csv.Error):
        raise BadRows(f"{path}: not UTF-8 text with commas") from None
    if not rows:
        raise BadRows(f"{path}: a header and no rows")
    return rows


@dataclass
class Run:
    """One stream of lessons with one setting and one seed: its checkpoints, in order."""

    checkpoints: list[dict]

    def __getattr__(self, name: str):  # what is the same in all checkpoints: task, method, setting, seed...
        if name.startswith("__"):
            raise AttributeError(name)
        try:
            return self.checkpoints[-1][name]
        except KeyError:
            raise AttributeError(name) from None

    @property
    def finished(self) -> bool:
        return self.items_done >= self.items_total

    @property
    def point(self) -> Optional[tuple[float, float]]:
        """(learning, forgetting) at the end of the stream."""
        if not self.finished or self.learning is None or self.forgetting_percent is None:
            return None
        return self.learning, self.forgetting_percent


def collect_runs(rows: Iterable[dict]) -> list[Run]:
    """Rows grouped to runs; of a checkpoint that was written twice (a resumed run) the later row counts."""
    runs: dict[str, dict[float, dict]] = {}
    for row in rows:
        runs.setdefault(row["run"], {})[row["items_done"]] = row
    return [Run([run[done] for done in sorted(run)]) for run in runs.values()]


def pick(runs: Iterable[Run], **wanted) -> list[Run]:
    """The finished runs with these values; a tuple means any of them."""
    def fits(run: Run) -> bool:
        return all(getattr(run, name) in (value if isinstance(value, tuple) else (value,)) for name, value in wanted.items())
    return [run for run in runs if run.point and fits(run)]


def by(runs: Iterable[Run], *names: str) -> dict:
    """Runs grouped by the value (or the tuple of values) of these columns, in order of appearance."""
    groups: dict = {}
    for run in runs:
        key = tuple(getattr(run, name) for name in names)
        groups.setdefault(key[0] if len(names) == 1 else key, []).append(run)
    return groups


# ---- means ------------------------------------------------------------------------------------------------------------------


class Spread(NamedTuple):
    """Mean and standard deviation (n - 1; None for one value) of n values."""

    mean: float
    std: Optional[float]
    n: int


def spread(values: Iterable[Optional[float]]) -> Optional[Spread]:
    """None where there is no value at all.

    >>> spread([1.0, 3.0, None])
    Spread(mean=2.0, std=1.4142135623730951, n=2)
    >>> spread([5.0])
    Spread(mean=5.0, std=None, n=1)
    """
    known = [value for value in values if value is not None]
    return Spread(fmean(known), stdev(known) if len(known) > 1 else None, len(known)) if known else None


def end_spread(runs: Iterable[Run], value: str | Callable[[dict], Optional[float]]) -> Optional[Spread]:
    """Over runs: a column, or a function of the row, at the end of the stream."""
    get = value if callable(value) else lambda row: row[value]
    return spread(get(run.checkpoints[-1]) for run in runs)


def along(runs: Iterable[Run], column: str) -> list[tuple[float, Spread]]:
    """(items done, spread over runs) at every checkpoint that all of the runs have."""
    runs = list(runs)
    values = defaultdict(list)
    for run in runs:
        for row in run.checkpoints:
            if row[column] is not None:
                values[row["items_done"]].append(row[column])
    return [(done, spread(values[done])) for done in sorted(values) if len(values[done]) == len(runs)]


# ---- frontiers --------------------------------------------------------------------------------------------------------------

Point = tuple[float, float]  # (learning, forgetting)
Frontier = list[Point]


def pareto(points: Iterable[Point]) -> Frontier:
    """The points that no other one beats in both, learning upwards.

    >>> pareto([(0.9, 5), (0.8, 2), (0.7, 3), (0.9, 6), (0.95, 20), (0.6, 2)])
    [(0.8, 2), (0.9, 5), (0.95, 20)]
    """
    best: Frontier = []
    for learning, forgetting in sorted(points, key=lambda point: (-point[0], point[1])):
        if not best or forgetting < best[-1][1]:
            best.append((learning, forgetting))
    return best[::-1]


def forgetting_at(frontier: Frontier, learning: float) -> float:
    """Interpolated between neighbours; beyond an end, the forgetting of that end (never an extrapolation).

    >>> line = [(0.8, 2.0), (0.9, 4.0)]
    >>> round(forgetting_at(line, 0.85), 6), forgetting_at(line, 0.5), forgetting_at(line, 0.99)
    (3.0, 2.0, 4.0)
    """
    if learning <= frontier[0][0]:
        return frontier[0][1]
    for (x0, y0), (x1, y1) in zip(frontier, frontier[1:]):
        if learning <= x1:
            return y0 + (y1 - y0) * (learning - x0) / (x1 - x0)
    return frontier[-1][1]


def best_learning(frontier: Frontier) -> float:
    return frontier[-1][0]


def seed_frontiers(runs: Iterable[Run]) -> dict[str, dict[int, Frontier]]:
    """method -> seed -> frontier over that seed's settings."""
    return {method: {seed: pareto(run.point for run in group) for seed, group in sorted(by(chosen, "seed").items())}
            for method, chosen in by(runs, "method").items()}


def mean_best(frontiers: dict[int, Frontier]) -> float:
    return fmean(best_learning(frontier) for frontier in frontiers.values())


class Row(NamedTuple):
    """One method at a learning: mean over seeds, each seed at that learning or, if it never gets there, at its own best."""

    method: str
    learning: float
    forgetting: Spread
    short: list[tuple[int, float]]  # (seed, its best learning) of the seeds that never get there
    least: float = 0.0  # the least learning on the frontiers: a row asked for at less shows the forgetting there

    @property
    def seeds(self) -> int:
        return self.forgetting.n


def row_at(method: str, frontiers: dict[int, Frontier], learning: float) -> Row:
    reached = {seed: min(learning, best_learning(frontier)) for seed, frontier in frontiers.items()}
    forgetting = spread(forgetting_at(frontier, reached[seed]) for seed, frontier in frontiers.items())
    return Row(method, fmean(reached.values()), forgetting, [(seed, value) for seed, value in reached.items() if value < learning],
               fmean(min(point[0] for point in frontier) for frontier in frontiers.values()))


def row_at_best(method: str, frontiers: dict[int, Frontier]) -> Row:
    row = row_at(method, frontiers, math.inf)
    return row._replace(short=[])


@dataclass
class Equal:
    """One task's comparison at equal learning."""

    learning: Optional[float]  # the common learning; None if no method reaches FLOOR
    rows: dict[str, Row]  # method -> its row
    outside: list[str]  # methods that never reach FLOOR: their row stands at their own best
    pairs: dict[str, dict[str, Row]] = field(default_factory=dict)  # method outside -> method -> row at what the former reaches


def common_learning(frontiers: dict[str, dict[int, Frontier]], floor: float = FLOOR) -> tuple[Optional[float], list[str]]:
    """The learning that all methods and all their seeds reach, without the methods whose mean best is below the floor; and the latter.

    Never below the floor: a seed that misses it, of a method whose mean does not, is shown as short instead.

    >>> common_learning({"full": {1: [(0.90, 30.0)], 2: [(0.94, 35.0)]}, "sparse": {1: [(0.99, 1.0)], 2: [(0.97, 1.0)]}})
    (0.9, [])
    >>> common_learning({"lora": {1: [(0.60, 80.0)]}, "sparse": {1: [(0.97, 1.0)]}})
    (0.97, ['lora'])
    >>> common_learning({"lora": {1: [(0.60, 80.0)]}})
    (None, ['lora'])
    """
    outside = [method for method, seeds in frontiers.items() if mean_best(seeds) < floor]
    bests = [best_learning(line) for method, seeds in frontiers.items() if method not in outside for line in seeds.values()]
    return (max(floor, min(bests)) if bests else None), outside


def equal_learning(frontiers: dict[str, dict[int, Frontier]]) -> Equal:
    learning, outside = common_learning(frontiers)
    equal = Equal(learning, {}, outside)
    for method, seeds in frontiers.items():
        equal.rows[method] = row_at_best(method, seeds) if method in outside else row_at(method, seeds, learning)
    for method in outside:
        reach = equal.rows[method].learning
        pair = {other: row_at(other, seeds, reach) for other, seeds in frontiers.items() if other != method}
        equal.pairs[method] = {method: equal.rows[method], **pair}
    return equal


def nearest_setting(runs: Iterable[Run], learning: float) -> list[Run]:
    """The runs (one a seed) of the setting whose mean learning comes nearest; of equally near ones, the one that forgets less."""
    def distance(group: list[Run]) -> tuple[float, float]:
        return abs(end_spread(group, "learning").mean - learning), end_spread(group, "forgetting_percent").mean
    return min(by(runs, "setting").values(), key=distance, default=[])


def uneven_seeds(runs: Iterable[Run]) -> list[str]:
    """Settings that not every seed of their method has: a frontier over fewer settings is a worse one."""
    words = []
    for method, group in by(runs, "method").items():
        seeds = set(by(group, "seed"))
        for setting, chosen in by(group, "setting").items():
            lacking = sorted(seeds - {run.seed for run in chosen})
            if lacking:
                words.append(f"{method}, {setting}: no finished run for seed {', '.join(map(str, lacking))}")
    return words


def summary_rows(equals: dict[str, Equal]) -> list[list[str]]:
    """The lines of summary.csv, in the order of SUMMARY_COLUMNS; an unknown deviation (one seed) is an empty cell."""
    lines = []
    for task, equal in equals.items():
        for method in (name for name in METHODS if name in equal.rows):
            row = equal.rows[method]
            std = "" if row.forgetting.std is None else f"{row.forgetting.std:.3f}"
            lines.append([task, method, f"{row.learning:.4f}", f"{row.forgetting.mean:.3f}", std, str(row.seeds)])
    return lines


# ---- the targets ------------------------------------------------------------------------------------------------------------


class Target(NamedTuple):
    """One promise of the comparison: met is None where nothing was measured."""

    text: str
    task: str
    met: Optional[bool]
    why: str


def percent(value: float) -> str:
    """Sensible digits: two significant ones below 10, none after the point from there on.

    >>> percent(0.034), percent(0.36), percent(2.44), percent(36.4), percent(-0.2), percent(0.0)
    ('0.03%', '0.36%', '2.4%', '36%', '−0.20%', '0%')
    """
    digits = 0 if abs(value) >= 9.95 or value == 0 else 1 if abs(value) >= 0.995 else 2
    text = f"{value:.{digits}f}%"
    return (text[1:] if float(text[:-1]) == 0 and text.startswith("-") else text).replace("-", "−")


def target_loss(task: str, equal: Equal, most: float = 5.0) -> Target:
    text = f"sparse loses at most {most:g}% at learning {FLOOR} or more"
    row = equal.rows.get("sparse")
    if row is None:
        return Target(text, task, None, "no finished run of sparse")
    why = f"{percent(row.forgetting.mean)} at learning {row.learning:.2f}"
    if "sparse" in equal.outside:
        return Target(text, task, False, f"{why}: {FLOOR} is never reached")
    return Target(text, task, row.forgetting.mean <= most, why)


def target_ratio(task: str, equal: Equal, method: str, name: str, share: int) -> Target:
    """Sparse's loss is at most 1/share of this method's, at equal learning; where that method falls short, at what it reaches."""
    text = f"sparse loses at most 1/{share} of what {name} loses"
    lacking = [one for one in (method, "sparse") if one not in equal.rows]
    if lacking:
        return Target(text, task, None, f"no finished run of {' and '.join(lacking)}")
    falls = min((one for one in (method, "sparse") if one in equal.outside), key=lambda one: equal.rows[one].learning, default=None)
    rows = equal.pairs[falls] if falls else equal.rows
    sparse, other = rows["sparse"], rows[method]
    why = f"{percent(sparse.forgetting.mean)} against {percent(other.forgetting.mean)}"
    if falls:
        why += f" at learning {rows[falls].learning:.2f}, the most that {name if falls == method else falls} reaches"
    if other.forgetting.mean <= 0:
        return Target(text, task, False, f"{why}: {name} loses nothing")
    if sparse.forgetting.mean > 0:
        share_text = other.forgetting.mean / sparse.forgetting.mean
        why += f": 1/{share_text:.{1 if share_text < 9.95 else 0}f}"
    return Target(text, task, sparse.forgetting.mean * share <= other.forgetting.mean, why)


def target_stream(stream: Sequence[Run], items: int = 500, below: float = 10.0) -> Target:
    """After so many facts."""
    text = f"sparse stays under {below:g}% after {items} facts"
    runs = [run for run in stream if run.items_done >= items]
    loss = end_spread(runs, "forgetting_percent")
    if loss is None:
        return Target(text, "facts", None, f"no finished run of sparse over {items} facts")
    learning = end_spread(runs, "learning")
    seeds = "" if loss.n >= SEEDS_WANTED else f", on {loss.n} seed{'s' if loss.n > 1 else ''} only"
    return Target(text, "facts", loss.mean < below, f"{percent(loss.mean)} at learning {learning.mean:.2f}{seeds}")


def targets(equals: dict[str, Equal], stream: Sequence[Run]) -> list[Target]:
    """Every target of the comparison, task by task; stream: sparse's runs over 500 facts."""
    found = []
    for task in TASKS:
        equal = equals.get(task, Equal(None, {}, []))
        loss = [target_loss(task, equal), target_ratio(task, equal, "lora", "LoRA", 6),
                target_ratio(task, equal, "full", "full finetuning", 8)]
        fewest = min((row.seeds for row in equal.rows.values()), default=SEEDS_WANTED)
        few = f" (on {fewest} seed{'s' if fewest > 1 else ''} only)" if fewest < SEEDS_WANTED else ""
        found += [one._replace(why=one.why + few) if one.met is not None else one for one in loss]
    return found + [target_stream(stream)]


def stream_setting(runs: Sequence[Run], preferred: str) -> list[Run]:
    """Of several settings over the long stream: the preferred one, else the one with the most seeds; never the one that forgets least."""
    groups = by(runs, "setting")
    if preferred in groups or not groups:
        return groups.get(preferred, [])
    return groups[Counter({setting: len(group) for setting, group in groups.items()}).most_common(1)[0][0]]
