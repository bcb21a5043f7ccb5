#!/usr/bin/env python3
"""counts: how many background texts a model needs, and of what kind: known facts lost after 100 new ones, where the model's own counts are set aside
and new ones are made of N lines of plain prose, of N sentences about known facts, or of half of each.  A row of counts.csv is kept as each run
finishes; called again, it goes on where it was.  Owns the texts and the plan; one run is forgetting-run's affair.

    counts.py [--results DIR] [--work DIR] [--program FILE] [--list]      51 runs of about a minute of one core

Kinds: "prose", lines of data/text.train.txt, which have none of the facts; "known", sentences of data/known.jsonl in the wordings of
data/wordings.json; "other", the same without the facts that are measured; "half", as many of prose and known; "shipped", the counts beside the model: 60,000 sequences, three of four about known facts.
"""
from __future__ import annotations

import argparse
import csv
import io
import json
import os
import random
import statistics
import subprocess

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
DATA = os.path.join(ROOT, "examples", "atlas", "data")
NUMBERS = (500, 2000, 8000, 32000)
SEEDS = (1, 2, 3)
KNOWN = 500  # known facts that a run asks for


def prose() -> list[str]:
    with open(os.path.join(DATA, "text.train.txt"), encoding="utf-8") as file:
        return [line.rstrip("\n") for line in file if line.strip()]


def shuffled(n: int, state: int) -> list[int]:
    """atlas_shuffle (examples/atlas/facts.c)."""
    order, mask = list(range(n)), 2**64 - 1
    for i in range(n - 1, 0, -1):
        state = (state + 0x9E3779B97F4A7C15) & mask
        z = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & mask
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
        j = ((z ^ (z >> 31)) >> 11) % (i + 1)
        order[i], order[j] = order[j], order[i]
    return order


def measured(n: int) -> set[int]:
    """The known facts, of n, that the runs of any seed ask for (yardstick.c)."""
    return {f for seed in SEEDS for f in shuffled(n, seed + 99)[:KNOWN]}


def sentences(without_measured: bool = False) -> list[str]:
    """Every known fact in every wording, as a session would read it."""
    with open(os.path.join(DATA, "wordings.json"), encoding="utf-8") as file:
        wordings = json.load(file)
    with open(os.path.join(DATA, "known.jsonl"), encoding="utf-8") as file:
        known = [json.loads(line) for line in file]
    left_out = measured(len(known)) if without_measured else set()
    return [(w["prompt"] + w["answer"] + w["end"]).replace("{s}", fact["subject"]).replace("{a}", fact["answer"]).rstrip("\n")
            for i, fact in enumerate(known) if i not in left_out for w in wordings[fact["relation"]]]


def draw(lines: list[str], n: int) -> list[str]:
    order = list(lines)
    random.Random(2025).shuffle(order)  # fewer texts are the first ones of more
    return order[:n]


def texts_of() -> dict[tuple[str, int], list[str]]:
    """(kind, number) to lines; where there are fewer, all that there are.  No lines: the model's own counts."""
    a, b, other = prose(), sentences(), sentences(without_measured=True)
    out: dict[tuple[str, int], list[str]] = {("shipped", 60000): []}
    for n in NUMBERS:
        each = min(n // 2, len(a), len(b))
        for kind, lines in (("prose", draw(a, n)), ("known", draw(b, n)), ("other", draw(other, n)), ("half", draw(a, each) + draw(b, each))):
            out[kind, len(lines)] = lines
    return out


def run(program: str, seed: int, more: list[str]) -> dict[str, str]:
    command = [program, "--method", "sparse", "--n", "100", "--set", "select", "--seed", str(seed), "--known", str(KNOWN), "--checkpoints", "1"]
    header = subprocess.run([program, "--header"], check=True, capture_output=True, text=True).stdout
    rows = subprocess.run([*command, *more], check=True, capture_output=True, text=True).stdout
    return list(csv.DictReader(io.StringIO(header + rows)))[-1]


def read(path: str) -> list[dict[str, str]]:
    if not os.path.exists(path):
        return []
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def keep(path: str, row: dict[str, str]) -> None:
    rows = [*read(path), row]
    with open(path + ".part", "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(row))
        writer.writeheader()
        writer.writerows(rows)
    os.replace(path + ".part", path)


def table(rows: list[dict[str, str]]) -> str:
    out = ["| texts | of | learnt (F1) | known F1 lost | held-out prose, nats a token more |", "|---|---|---|---|---|"]
    for kind in ("prose", "known", "other", "half", "shipped"):
        for n in sorted({int(r["texts"]) for r in rows if r["kind"] == kind}):
            cell = [r for r in rows if r["kind"] == kind and int(r["texts"]) == n]
            lost = [float(r["forgetting_percent"]) for r in cell]
            learnt = statistics.fmean(float(r["learning"]) for r in cell)
            more = statistics.fmean(float(r["nll"]) - float(r["nll_before"]) for r in cell)
            out.append(f"| {n:,} | {kind} | {learnt:.2f} | {statistics.fmean(lost):.1f}% ({', '.join(f'{x:.1f}' for x in lost)}) | {more:.4f} |")
    return "\n".join(out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", default=os.path.join(HERE, "results"))
    parser.add_argument("--work", default=os.path.join(ROOT, "build", "forgetting", "counts"))
    parser.add_argument("--program", default=os.path.join(ROOT, "build", "examples", "forgetting-run"))
    parser.add_argument("--list", action="store_true", help="what there is to do, and the table of what was done")
    given = parser.parse_args()
    os.makedirs(given.work, exist_ok=True)
    path, all_texts = os.path.join(given.results, "counts.csv"), texts_of()
    done = {(r["kind"], int(r["texts"]), int(r["seed"])) for r in read(path)}
    plan = [(kind, n, seed) for seed in SEEDS for kind, n in all_texts if (kind, n, seed) not in done]
    for kind, n, seed in plan:
        print(f"{kind} {n}, seed {seed}", flush=True)
        if given.list:
            continue
        more = []
        if all_texts[kind, n]:
            texts = os.path.join(given.work, f"{kind}-{n}.txt")
            with open(texts, "w", encoding="utf-8") as file:
                file.writelines(line + "\n" for line in all_texts[kind, n])
            more += ["--background", texts]
        row = run(given.program, seed, more)
        keep(path, {"kind": kind, "texts": str(n), **row})
    print(table(read(path)))


if __name__ == "__main__":
    main()
