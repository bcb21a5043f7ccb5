"""rows: what a run found, one row a target or a point of a curve: results.csv, details.csv, the table; agreement of outputs."""
import csv
import math
import operator
import os

from worker import DISTURBED

COLUMNS = ["name", "ours", "peer", "ratio", "limit_share", "target", "met"]
DETAILS = ["name", "unit", "ours_low", "ours_high", "peer_name", "peer_low", "peer_high", "rounds", "others_cores", "ours_peak_mb",
           "peer_peak_mb", "note"]
COMPARE = {"<=": operator.le, ">=": operator.ge}
SPEED, TIME, SHARE = "speed", "time", "share"  # ratio: ours / peer; peer / ours; ours / peer where less is better


class Target:
    """value: which column is held against the number."""

    def __init__(self, value, compare, number):
        self.value, self.compare, self.number = value, compare, number

    def __str__(self):
        return "%s %s %g" % (self.value, self.compare, self.number)

    def met(self, row):
        value = {"ratio": row.ratio, "limit_share": row.limit_share, "ours": row.ours and row.ours.median}[self.value]
        return value is not None and COMPARE[self.compare](value, self.number)


class Row:
    """ours, peer: Measured or None.  limit: Measured in the same unit, that of limit_share."""

    def __init__(self, name, unit, ours=None, peer=None, kind=SPEED, peer_name="", limit=None, target=None, note="", ours_mb=None,
                 peer_mb=None):
        self.name, self.unit, self.ours, self.peer, self.kind = name, unit, ours, peer, kind
        self.peer_name, self.limit, self.target, self.note = peer_name, limit, target, note
        self.ours_mb, self.peer_mb = ours_mb, peer_mb

    def refuse(self, why):
        """Outputs that do not agree are not compared."""
        self.ours = self.peer = self.limit = None
        self.note = "refused: " + why
        return self

    @property
    def ratio(self):
        if not self.ours or not self.peer:
            return None
        top, bottom = (self.peer, self.ours) if self.kind == TIME else (self.ours, self.peer)
        return top.median / bottom.median

    @property
    def limit_share(self):
        return self.ours.median / self.limit.median if self.ours and self.limit else None

    @property
    def met(self):
        return "" if not self.target else "yes" if self.target.met(self) else "no"

    @property
    def other(self):
        """What stands beside ours: the peer; the limit where the row has no other purpose."""
        return self.peer or (self.limit if self.peer_name else None)

    @property
    def results(self):
        other = self.other
        return [self.name, number(self.ours and self.ours.median), number(other and other.median), number(self.ratio, 4),
                number(self.limit_share, 4), str(self.target or ""), self.met]

    @property
    def details(self):
        spread = [number(side and end(side)) for side in (self.ours, self.other)
                  for end in (lambda side: side.low, lambda side: side.high)]
        sides = [side for side in (self.ours, self.peer, self.limit) if side]
        return [self.name, self.unit, spread[0], spread[1], self.peer_name if self.other else "", spread[2], spread[3],
                max((side.n for side in sides), default=""), number(max((side.others for side in sides), default=None), 2),
                number(self.ours_mb, 4), number(self.peer_mb, 4), self.note]

    @property
    def texts(self):
        """Of both files' columns."""
        return {**dict(zip(COLUMNS, self.results)), **dict(zip(DETAILS, self.details))}


def number(value, digits=6):
    return "" if value is None else "%.*g" % (digits, value)


# ---- files ----

def write(folder, found):
    """found: one dictionary a row, as read() gives them."""
    for file_name, columns in (("results.csv", COLUMNS), ("details.csv", DETAILS)):
        with open(os.path.join(folder, file_name), "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, columns, lineterminator="\n", extrasaction="ignore")
            writer.writeheader()
            writer.writerows(found)


def read(folder):
    """One dictionary a row, of both files' columns."""
    found = {}
    for file_name in ("results.csv", "details.csv"):
        with open(os.path.join(folder, file_name), newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                found.setdefault(row["name"], {}).update(row)
    return list(found.values())


def over_limit(found):
    """Rows that pass what the machine can do: then the limit is none, and the run has failed."""
    return ["%s is %.3f of its limit" % (row["name"], float(row["limit_share"])) for row in found
            if float(row["limit_share"] or 0) > 1]


# ---- the table ----

HEAD = ["what", "unit", "ours", "(least to most)", "the other", "(least to most)", "ratio", "of the limit", "target", "met", "peak MB",
        "note"]


def short(text):
    return number(float(text), 4) if text else ""


def spread(row, side):
    return "%s to %s" % (short(row[side + "_low"]), short(row[side + "_high"])) if row[side + "_low"] else ""


def cells(row):
    """A row as the tables on the screen and in docs/performance.md show it."""
    other = "%s %s" % (short(row["peer"]), row["peer_name"])
    memory = " / ".join(short(row[key]) or "-" for key in ("ours_peak_mb", "peer_peak_mb"))
    disturbed = "others had %s cores" % row["others_cores"] if float(row["others_cores"] or 0) > DISTURBED else ""
    return [row["name"], row["unit"], short(row["ours"]), spread(row, "ours"), other.strip(), spread(row, "peer"), short(row["ratio"]),
            short(row["limit_share"]), row["target"], row["met"], "" if memory == "- / -" else memory,
            "; ".join(text for text in (row["note"], disturbed) if text)]


def table(rows):
    lines = [HEAD] + [cells(row) for row in rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(HEAD))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip() for line in lines)


# ---- agreement ----

def differ(ours, theirs, tolerance, scale=None, share=1.0):
    """Why two lists of numbers are not the same, or None.  Differences are held against tolerance * scale (the root mean square where
    none is given); `share` of the numbers have to pass."""
    if len(ours) != len(theirs) or not ours:
        return "%d numbers against %d" % (len(ours), len(theirs))
    if not all(map(math.isfinite, [*ours, *theirs])):
        return "not all numbers are finite"
    scale = scale or math.sqrt(sum(x * x for x in ours) / len(ours))
    worst = sorted(abs(x - y) for x, y in zip(ours, theirs))[math.ceil(share * len(ours)) - 1]
    return None if worst <= tolerance * scale else "outputs differ by %.2g where %.2g is the measure" % (worst, scale)
