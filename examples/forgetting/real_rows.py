"""real_rows: from the rows of results/real.csv (real/runs.py writes them) to numbers: a setting
over its draws, 95% intervals, the best setting of a method, the targets of a real model.

Pure functions over plain values, like frontier.py's; nothing here draws, prints or writes.  Checked
by its doctests and by tests/examples/test_real_rows.py."""
from __future__ import annotations

import math
import os
import re
from statistics import fmean, stdev
from typing import Callable, Iterable, NamedTuple, Optional, Sequence

from frontier import BadRows, parse_number, read_table

TEXT = ("run", "plan", "method", "facts", "wordings", "setting")
NUMBERS = (
    "n", "learnt", "wordings_learnt", "steps", "seconds", "cpu", "kilobytes", "peak_mb", "taught",
    "taught_f1", "plain", "free", "free_n", "natural", "natural_n", "never_lost", "never_n",
    "counted_lost", "counted_n", "never_same", "counted_same", "relation_same", "relation_n",
    "subject_same", "subject_n", "spill", "prose", "prose_before", "chats", "chats_before",
    "glosses", "glosses_before", "kl")
SHARES = ("learnt", "wordings_learnt", "taught", "taught_f1", "plain", "free", "natural",
          "never_lost", "counted_lost", "never_same", "counted_same", "relation_same",
          "subject_same", "spill")
DRAWS = 3  # of the report; from so many on an interval is over draws
Row = dict  # TEXT as text, NUMBERS as numbers or None


# ---- rows ---------------------------------------------------------------------------------------


def read_row(cells: dict, where: str) -> Row:
    if None in cells or None in cells.values():
        raise BadRows(f"{where}: expected one cell for each column of the header")
    row: Row = {name: cells[name].strip() for name in TEXT}
    for name in NUMBERS:
        row[name] = parse_number(cells[name].strip(), f"{where}, {name}")
    for name in (*TEXT, "n"):
        if row[name] in ("", None):
            raise BadRows(f"{where}: {name} is empty")
    for name in SHARES:
        if row[name] is not None and not 0 <= row[name] <= 1:
            raise BadRows(f"{where}, {name}: expected a share, from 0 to 1, got {row[name]:g}")
    if row["n"] < 1:
        raise BadRows(f"{where}: n is {row['n']:g}, expected at least 1")
    return row


def read_rows(path: str) -> list[Row]:
    """None of them where there is no file yet.  Columns that nobody knows are ignored; of a run
    that was written twice the later row counts."""
    if not os.path.exists(path):
        return []
    rows = read_table(path, (*TEXT, *NUMBERS), read_row)
    return list({row["run"]: row for row in rows}.values())


# ---- intervals ----------------------------------------------------------------------------------


class Interval(NamedTuple):
    """A mean over n draws and where it lies with 95%; low and high are None where nothing says."""

    mean: float
    low: Optional[float]
    high: Optional[float]
    n: int

    def apart(self, other: "Interval") -> bool:
        """Both intervals are known and do not touch."""
        if None in (self.low, other.low):
            return False
        return self.high < other.low or other.high < self.low


T95 = {3: 4.303, 4: 3.182, 5: 2.776, 6: 2.571, 7: 2.447, 8: 2.365, 9: 2.306, 10: 2.262}


def wilson(share: float, n: float) -> tuple[float, float]:
    """Of a share of n.

    >>> [round(end, 4) for end in wilson(0.9, 40)], [round(end, 4) for end in wilson(0, 40)]
    ([0.7695, 0.9604], [0.0, 0.0876])
    """
    z2 = 1.959964**2
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = math.sqrt(z2 * (share * (1 - share) / n + z2 / (4 * n * n))) / (1 + z2 / n)
    return max(0.0, middle - half), min(1.0, middle + half)


def over_draws(values: Sequence[float]) -> Optional[tuple[float, float]]:
    """Student's, of three draws or more that differ.

    >>> [round(end, 3) for end in over_draws([1, 2, 3])], over_draws([1, 2]), over_draws([1, 1, 1])
    ([-0.484, 4.484], None, None)
    """
    if len(values) < DRAWS or max(values) == min(values):
        return None
    half = T95.get(len(values), 2.0) * stdev(values) / math.sqrt(len(values))
    return fmean(values) - half, fmean(values) + half


# ---- what is measured ---------------------------------------------------------------------------


class Share(NamedTuple):
    """Columns with how many were asked; several are put together.  `adds`: another draw asks other
    questions.  What is known is asked anew of every draw: its number does not grow."""

    parts: tuple[tuple[str, str], ...]
    adds: bool = True

    def of(self, row: Row) -> tuple[Optional[float], float]:
        """(the share, of how many)"""
        found = [(row[name], row[n]) for name, n in self.parts if row[name] is not None and row[n]]
        total = sum(n for _, n in found)
        return (sum(share * n for share, n in found) / total if total else None), total


ASKED = {
    "learnt": Share((("learnt", "n"),)),
    "taught": Share((("taught", "n"),)),
    "free": Share((("free", "free_n"),)),
    "natural": Share((("natural", "natural_n"),)),
    "never_lost": Share((("never_lost", "never_n"),), adds=False),
    "counted_lost": Share((("counted_lost", "counted_n"),), adds=False),
    "never_same": Share((("never_same", "never_n"),), adds=False),
    "counted_same": Share((("counted_same", "counted_n"),), adds=False),
    "known_same": Share((("never_same", "never_n"), ("counted_same", "counted_n")), adds=False),
    "relation_same": Share((("relation_same", "relation_n"),)),
    "subject_same": Share((("subject_same", "subject_n"),)),
    "near_same": Share((("relation_same", "relation_n"), ("subject_same", "subject_n"))),
    "spill": Share((("spill", "relation_n"), ("spill", "subject_n"))),
}


def change(name: str) -> Callable[[Row], Optional[float]]:
    """Nats a token more than before."""
    def more(row: Row) -> Optional[float]:
        after, before = row[name], row[f"{name}_before"]
        return None if after is None or before is None else after - before
    return more


CHANGES = {f"{name}_more": change(name) for name in ("prose", "chats", "glosses")}


class Setting(NamedTuple):
    """A method with one setting, taught the same number of facts in the same kind of wordings; a
    row for every draw of facts."""

    plan: str
    method: str
    facts: str  # "choose", "report", "stream"
    wordings: str  # "one", "many"
    setting: str
    n: int  # facts a draw
    rows: list[Row]

    @property
    def is_shipped(self) -> bool:
        """What a graft does by itself; facts that are given up are kept where they are counted."""
        return self.setting.replace("keep_given_up True, ", "") == SHIPPED

    @property
    def series(self) -> str:
        """The method, whether it replays what is to be kept, by what it looks up."""
        if self.method == "retrieval" and "by states" in self.setting:
            return "retrieval-states"
        replays = re.search(r"\breplay [1-9]", self.setting)
        return f"{self.method}-replay" if replays else self.method

    def asked(self, name: str) -> Optional[float]:
        """Of how many a share is; None where no column says."""
        if name not in ASKED:
            return None
        counts = [n for _, n in map(ASKED[name].of, self.rows)]
        return sum(counts) if ASKED[name].adds else max(counts)

    def measure(self, name: str) -> Optional[Interval]:
        """A column, or what is made of some, by its name."""
        if name in ASKED:
            return self.share(ASKED[name])
        get = CHANGES.get(name) or (lambda row: row[name])
        values = [value for value in map(get, self.rows) if value is not None]
        if not values:
            return None
        low, high = over_draws(values) or (None, None)
        if name in SHARES and low is not None:
            low, high = max(0.0, low), min(1.0, high)
        return Interval(fmean(values), low, high, len(values))

    def share(self, share: Share) -> Optional[Interval]:
        found = [(value, n) for value, n in map(share.of, self.rows) if value is not None]
        if not found:
            return None
        values, counts = zip(*found)
        mean = fmean(values)
        low, high = over_draws(values) or wilson(mean, sum(counts) if share.adds else max(counts))
        return Interval(mean, max(0.0, low), min(1.0, high), len(values))


def settings_of(rows: Iterable[Row]) -> list[Setting]:
    """In the order of appearance; two rows of the same draw are never put together."""
    found: dict[tuple, Setting] = {}
    seen: list[tuple] = []
    for row in rows:
        key = (row["plan"], row["method"], re.sub(r"\d+$", "", row["facts"]), row["wordings"],
               row["setting"], int(row["n"]))
        again = sum(one == (*key, row["facts"]) for one in seen)
        seen.append((*key, row["facts"]))
        found.setdefault((*key, again), Setting(*key, [])).rows.append(row)
    return list(found.values())


# ---- the best of a method -----------------------------------------------------------------------

CHOOSING = ("choose", "tune")  # facts that no report has
# a graft's own defaults, as runs.py describes them
SHIPPED = ("t 32, damping 0.0003, damping_by squares, max_df 0.001, contrast True, "
           "looser_after 40, namesakes True")
FLOOR = 0.80  # free wordings; of those that reach it, what loses least


def best(tried: Sequence[Setting]) -> Optional[Setting]:
    """Of the settings that reach FLOOR the one that loses least of what was never counted, then
    what learns most; where none does, what learns most."""
    def learns(one: Setting) -> float:
        return one.measure("free").mean

    def loses(one: Setting) -> float:
        lost = one.measure("never_lost")
        return math.inf if lost is None else lost.mean
    measured = [one for one in tried if one.measure("free")]
    enough = [one for one in measured if learns(one) >= FLOOR]
    if enough:
        return min(enough, key=lambda one: (loses(one), -learns(one)))
    return max(measured, key=lambda one: (learns(one), -loses(one)), default=None)


class Contest(NamedTuple):
    """The best setting of each method on the same facts in the same wordings."""

    facts: str
    wordings: str
    n: int
    best: list[Setting]
    tried: dict[str, int]  # series -> settings


def contests(settings: Sequence[Setting]) -> list[Contest]:
    """Where slots and another method were taught the same.  Of the facts for choosing, the setting
    that was chosen is the one with rows of other facts."""
    told = {(one.series, one.setting) for one in settings if one.facts not in CHOOSING}
    groups: dict[tuple, dict[str, list[Setting]]] = {}
    for one in settings:
        group = groups.setdefault((one.facts, one.wordings, one.n), {})
        group.setdefault(one.series, []).append(one)
    found = []
    for key, group in groups.items():
        chosen = [setting for tried in group.values() if (setting := best(
            [one for one in tried if (one.series, one.setting) in told and one.measure("free")]
            or tried))]
        if "slots" in {one.series for one in chosen} and len(chosen) > 1:
            chosen.sort(key=lambda one: one.series != "slots")
            found.append(Contest(*key, chosen, {name: len(all_) for name, all_ in group.items()}))
    return found


BETTER_IS_MORE = {"taught": True, "free": True, "never_lost": False, "counted_lost": False,
                  "known_same": True, "near_same": True, "spill": False, "prose_more": False,
                  "seconds": False, "kilobytes": False}


def better(one: Setting, other: Setting) -> list[tuple[str, bool]]:
    """(what one does better than the other, whether the intervals lie apart)"""
    found = []
    for name, more in BETTER_IS_MORE.items():
        a, b = one.measure(name), other.measure(name)
        if a and b and (a.mean > b.mean if more else a.mean < b.mean):
            found.append((name, a.apart(b)))
    return found


# ---- the targets --------------------------------------------------------------------------------

SIZES = (30, 300, 1000)  # facts


class Wanted(NamedTuple):
    """A target: what of which wordings, the limit at each of SIZES."""

    text: str
    wordings: tuple[str, ...]
    measure: str
    limits: tuple[float, float, float]
    at_least: bool


BOTH = ("one", "many")
WANTED = (
    Wanted("a plain question that was not trained", ("many",), "plain", (0.97, 0.95, 0.90), True),
    Wanted("the one taught question", ("one",), "taught", (0.99, 0.98, 0.96), True),
    Wanted("free wordings", ("many",), "free", (0.85, 0.80, 0.75), True),
    Wanted("free wordings", ("one",), "free", (0.80, 0.75, 0.70), True),
    Wanted("known answers lost, never counted", BOTH, "never_lost", (0.01, 0.02, 0.04), False),
    Wanted("known answers lost, counted", BOTH, "counted_lost", (0.005, 0.01, 0.02), False),
    Wanted("known answers’ texts unchanged", BOTH, "known_same", (0.97, 0.93, 0.85), True),
    Wanted("neighbours’ texts unchanged", BOTH, "near_same", (0.97, 0.93, 0.85), True),
    Wanted("prose, nats a token more", BOTH, "prose_more", (0.002, 0.01, 0.02), False),
    Wanted("seconds a fact, two cores", BOTH, "seconds", (4, 4, 4), False),
)
TWO_CORES = 1.5  # processor seconds a second: from here on more than one core had work


class Verdict(NamedTuple):
    """What was measured beside a limit; met is None where it says nothing about it."""

    met: Optional[bool]
    found: Interval
    crosses: bool  # the limit lies within the interval


def judge(wanted: Wanted, size: int, setting: Setting) -> Optional[Verdict]:
    """None where it was not measured.  Too many seconds on one core say nothing of two."""
    found = setting.measure(wanted.measure)
    if found is None:
        return None
    limit, slack = wanted.limits[SIZES.index(size)], 1e-9
    met: Optional[bool] = (found.mean >= limit - slack if wanted.at_least
                           else found.mean <= limit + slack)
    if wanted.measure == "seconds" and not met and cores(setting) < TWO_CORES:
        met = None
    return Verdict(met, found, found.low is not None and found.low < limit < found.high)


def cores(setting: Setting) -> float:
    """Processor seconds a second of learning."""
    cpu, seconds = setting.measure("cpu"), setting.measure("seconds")
    return cpu.mean / seconds.mean if cpu and seconds and seconds.mean else 0.0


def reported(settings: Iterable[Setting]) -> list[Setting]:
    """The library's own rows that are not for choosing: of the same facts those of the shipped
    defaults; where there is none, those that were measured on most draws."""
    told = [one for one in settings if one.method == "slots" and one.facts not in CHOOSING]
    best: dict[tuple, tuple[bool, int]] = {}
    for one in told:
        key, rank = (one.facts, one.wordings, one.n), (one.is_shipped, len(one.rows))
        best[key] = max(best.get(key, rank), rank)
    return [one for one in told
            if best[one.facts, one.wordings, one.n] == (one.is_shipped, len(one.rows))]


def slots_at(settings: Iterable[Setting], size: int, wordings: str) -> list[Setting]:
    """The rows that a target of so many facts is about."""
    return [one for one in reported(settings) if one.wordings == wordings and one.n == size]
