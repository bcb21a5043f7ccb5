"""frontier: from the raw rows of results/runs.csv to numbers: runs, means over seeds, rows of one setting, frontiers, the targets.

Pure functions over plain values; nothing here draws, prints or writes.  Checked by its doctests and by tests/examples/test_frontier.py.
"""
from __future__ import annotations

import csv
import math
from collections import Counter, defaultdict
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Callable, Iterable, NamedTuple, Optional, Sequence

METHODS = ("full", "full-replay", "lora", "lora-replay", "values", "sparse")
TASKS = ("facts", "documents")
FLOOR = 0.85  # the learning that settings are chosen at: of those that reach it, what loses least
SEEDS_WANTED = 3
TEXT_COLUMNS = ("run", "purpose", "factor", "task", "model", "method", "set", "setting", "rule", "optimizer", "rows", "knows")
NUMBER_COLUMNS = (
    "seed", "lr", "max_steps", "loss_below", "weight_decay", "rank", "alpha", "t", "items_total", "items_done", "learning",
    "learning_exact", "learning_trained", "known_f1", "known_f1_before", "forgetting_percent", "memory_forgetting_percent",
    "other_forgetting_percent", "choices", "choices_before", "nll", "nll_before", "kl", "known_f1_pool_zeroed", "steps",
    "seconds", "bytes_changed", "peak_mb", "replay", "known", "half_forgetting_percent", "rest_forgetting_percent")
NEEDED = ("run", "purpose", "task", "model", "method", "set", "seed", "setting", "items_total", "items_done")  # never empty
SUMMARY_COLUMNS = ("task", "method", "knows", "learning", "forgetting_percent", "forgetting_std", "half_forgetting_percent",
                   "rest_forgetting_percent", "seeds", "setting")


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


def read_table(path: str, columns: Sequence[str], read: Callable[[dict, str], dict]) -> list[dict]:
    """`read` of each line and of where it stands; the columns are all there, others are ignored."""
    try:
        with open(path, newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            header = reader.fieldnames
            if not header:
                raise BadRows(f"{path}: the file is empty")
            missing = [name for name in columns if name not in header]
            if missing:
                raise BadRows(f"{path}: missing columns: {', '.join(missing)}")
            return [read(cells, f"{path}, line {reader.line_num}") for cells in reader]
    except OSError as error:
        raise BadRows(f"{path}: {error.strerror}") from None
    except (UnicodeDecodeError, csv.Error):
        raise BadRows(f"{path}: not UTF-8 text with commas") from None


def read_rows(path: str) -> list[dict]:
    """The rows of runs.csv: text columns as text, the others as numbers or None."""
    rows = read_table(path, TEXT_COLUMNS + NUMBER_COLUMNS, read_row)
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


# ---- rows of the comparison -------------------------------------------------------------------------------------------------


class Row(NamedTuple):
    """One method with one setting, at the end of its stream: means over seeds."""

    method: str
    setting: str
    knows: str  # of what is to be kept: "half", "shipped", ...; "": nothing
    runs: list[Run]  # one a seed

    @property
    def learning(self) -> Spread:
        return end_spread(self.runs, "learning")

    @property
    def lost(self) -> Spread:
        return end_spread(self.runs, "forgetting_percent")

    @property
    def half(self) -> Optional[Spread]:
        """Lost of the half of the known facts that "half" knows."""
        return end_spread(self.runs, "half_forgetting_percent")

    @property
    def rest(self) -> Optional[Spread]:
        return end_spread(self.runs, "rest_forgetting_percent")

    @property
    def seeds(self) -> int:
        return len(self.runs)

    @property
    def short(self) -> bool:
        """Learns less than the comparison asks for."""
        return self.learning.mean < FLOOR


def rows_of(runs: Iterable[Run]) -> list[Row]:
    """A row for every method and setting, in the order of METHODS and of appearance."""
    groups = by(runs, "method", "setting")
    rows = [Row(method, setting, group[0].knows, group) for (method, setting), group in groups.items()]
    return sorted(rows, key=lambda row: METHODS.index(row.method))


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


def digits(value: Optional[float]) -> str:
    return "" if value is None else f"{value:.3f}"


def summary_rows(rows: dict[str, list[Row]]) -> list[list[str]]:
    """The lines of summary.csv, in the order of SUMMARY_COLUMNS; what is not known (the deviation of one seed) is an empty cell."""
    return [[task, row.method, row.knows, f"{row.learning.mean:.4f}", digits(row.lost.mean), digits(row.lost.std),
             digits(row.half and row.half.mean), digits(row.rest and row.rest.mean), str(row.seeds), row.setting]
            for task, list_ in rows.items() for row in list_]


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


def target_loss(task: str, rows: dict[str, Row], most: float = 5.0) -> Target:
    text = f"sparse loses at most {most:g}% at learning {FLOOR} or more"
    row = rows.get("sparse")
    if row is None:
        return Target(text, task, None, "no finished run of sparse")
    why = f"{percent(row.lost.mean)} at learning {row.learning.mean:.2f}"
    return Target(text, task, not row.short and row.lost.mean <= most, why)


def target_ratio(task: str, rows: dict[str, Row], method: str, name: str, share: int) -> Target:
    """Sparse's loss is at most 1/share of this method's, each at its best setting; sparse learns as much, or at least FLOOR."""
    text = f"sparse loses at most 1/{share} of what {name} loses"
    lacking = [one for one in (method, "sparse") if one not in rows]
    if lacking:
        return Target(text, task, None, f"no finished run of {' and '.join(lacking)}")
    sparse, other = rows["sparse"], rows[method]
    why = (f"{percent(sparse.lost.mean)} at learning {sparse.learning.mean:.2f} against {percent(other.lost.mean)} at "
           f"{other.learning.mean:.2f}")
    if other.lost.mean <= 0:
        return Target(text, task, False, f"{why}: {name} loses nothing")
    if sparse.lost.mean > 0:
        share_text = other.lost.mean / sparse.lost.mean
        why += f": 1/{share_text:.{1 if share_text < 9.95 else 0}f}"
    learns = sparse.learning.mean >= min(FLOOR, other.learning.mean)
    return Target(text, task, learns and sparse.lost.mean * share <= other.lost.mean, why)


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


def targets(best: dict[str, dict[str, Row]], stream: Sequence[Run]) -> list[Target]:
    """Every target of the comparison, task by task; best: task -> method -> its row; stream: sparse's runs over 500 facts."""
    found = []
    for task in TASKS:
        rows = best.get(task, {})
        loss = [target_loss(task, rows), target_ratio(task, rows, "lora", "LoRA", 6),
                target_ratio(task, rows, "full", "full finetuning", 8)]
        fewest = min((row.seeds for row in rows.values()), default=SEEDS_WANTED)
        few = f" (on {fewest} seed{'s' if fewest > 1 else ''} only)" if fewest < SEEDS_WANTED else ""
        found += [one._replace(why=one.why + few) if one.met is not None else one for one in loss]
    return found + [target_stream(stream)]


def stream_setting(runs: Sequence[Run], preferred: str) -> list[Run]:
    """Of several settings over the long stream: the preferred one, else the one with the most seeds; never the one that forgets least."""
    groups = by(runs, "setting")
    if preferred in groups or not groups:
        return groups.get(preferred, [])
    return groups[Counter({setting: len(group) for setting, group in groups.items()}).most_common(1)[0][0]]
