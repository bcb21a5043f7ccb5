#!/usr/bin/env python3
"""report: from results/runs.csv (and real.csv, where there is one) to summary.csv, frontier.svg
(the README's picture), report.html and real.md's tables; prints the headline table.

Owns the order of the page and the command; the first world's part is report_atlas.py's, the real
one's report_real.py's.  Needs Debian's python3-matplotlib for the first world's plots."""
from __future__ import annotations

import argparse
import os
import sys
from typing import Optional, Sequence

import frontier as fr
import plots
import real_rows
import report_atlas
import report_real
import tables
from page import contents, document, part
from study import Study

TITLE = "What finetuning forgets: full, LoRA and sparse memory finetuning"
CLAIM = """<a href="https://arxiv.org/abs/2510.15103">Continual Learning via Sparse Memory
Finetuning</a>"""
FOOTER = """Raw rows: <code>runs.csv</code> and <code>real.csv</code>; the first table:
<code>summary.csv</code>. This file needs no network and no script."""


def notice(text: str) -> None:
    print(f"report: {text}", file=sys.stderr)


def page(study: Study, real: report_real.World, results: str) -> str:
    first, second = report_atlas.sections(study, results), report_real.sections(real)
    header = f"""<h1>{TITLE}, with and without replay</h1>
<p>Made with libsmft’s <code>examples/forgetting</code> from {len(study.runs)} runs on a model
that anyone can rebuild (<code>examples/atlas</code>) and {len(real.rows)} on a real one.
The claim under test: {CLAIM}.</p>"""
    names = ("A model of our own", "A real model: SmolLM2-135M-Instruct")
    return document(
        TITLE, header,
        contents(names[0], first, 1) + contents(names[1], second, len(first) + 1),
        part(names[0], "", first, 1) + part(names[1], report_real.INTRO, second, len(first) + 1),
        FOOTER)


def write_text(path: str, text: str) -> None:
    with open(path, "w", encoding="utf-8", newline="\n") as file:
        file.write(text)


def write_real_tables(real: report_real.World, path: str) -> None:
    """Between the markers of a text that is written by hand; where there is none, nothing."""
    if os.path.exists(path):
        with open(path, encoding="utf-8") as file:
            text = file.read()
        write_text(path, tables.fill(text, report_real.blocks(real), path))


def write_pages(study: Study, real: report_real.World, results: str) -> None:
    plots.prepare()
    write_text(os.path.join(results, "report.html"), page(study, real, results))
    if study.plotted():
        write_text(os.path.join(results, "frontier.svg"), report_atlas.picture(study))


def write_all(results: str) -> int:
    study = Study(fr.collect_runs(fr.read_rows(os.path.join(results, "runs.csv"))))
    real = report_real.World(real_rows.read_rows(os.path.join(results, "real.csv")))
    write_text(os.path.join(results, "summary.csv"), report_atlas.summary(study))
    report_atlas.print_headline(study)
    print(report_real.headline(real))
    write_real_tables(real, os.path.join(results, "real.md"))
    if plots.matplotlib is None:
        notice("report.html and frontier.svg need matplotlib: apt-get install python3-matplotlib")
        return 1
    write_pages(study, real, results)
    return 0


def main(arguments: Optional[Sequence[str]] = None) -> int:
    parser = argparse.ArgumentParser(
        description="From runs.csv and real.csv to summary.csv, report.html, frontier.svg and the "
                    "tables of real.md in the same directory.")
    parser.add_argument(
        "--results", metavar="DIR",
        default=os.path.join(os.path.dirname(os.path.abspath(__file__)), "results"),
        help="where runs.csv (and, if you like, real.csv, real.md, notes.md) lies; default: "
             "results beside this script")
    try:
        return write_all(parser.parse_args(arguments).results)
    except (fr.BadRows, tables.BadMarkers) as error:
        notice(str(error))
    except OSError as error:
        notice(f"{error.filename}: {error.strerror}")
    return 1


if __name__ == "__main__":
    sys.exit(main())
