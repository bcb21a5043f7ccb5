#!/usr/bin/env python3
"""report: from results/runs.csv to summary.csv, report.html and frontier.svg (the README's picture);
prints the headline table.

Owns the order of the page and the command; the sections are report_atlas.py's.  Needs Debian's
python3-matplotlib for the plots."""
from __future__ import annotations

import argparse
import os
import sys
from typing import Optional, Sequence

import frontier as fr
import plots
import report_atlas
from page import contents, document, part
from study import Study

TITLE = "What finetuning forgets: full, LoRA and sparse memory finetuning"
CLAIM = """<a href="https://arxiv.org/abs/2510.15103">Continual Learning via Sparse Memory
Finetuning</a>"""
FOOTER = """Raw rows: <code>runs.csv</code>; the first table: <code>summary.csv</code>. This file needs no
network and no script."""


def notice(text: str) -> None:
    print(f"report: {text}", file=sys.stderr)


def page(study: Study, results: str) -> str:
    sections = report_atlas.sections(study, results)
    header = f"""<h1>{TITLE}, with and without replay</h1>
<p>Made with libsmft’s <code>examples/forgetting</code> from {len(study.runs)} runs on a model
that anyone can rebuild (<code>examples/atlas</code>).
The claim under test: {CLAIM}.</p>"""
    name = "A model of our own"
    return document(TITLE, header, contents(name, sections, 1), part(name, "", sections, 1), FOOTER)


def write_text(path: str, text: str) -> None:
    with open(path, "w", encoding="utf-8", newline="\n") as file:
        file.write(text)


def write_pages(study: Study, results: str) -> None:
    plots.prepare()
    write_text(os.path.join(results, "report.html"), page(study, results))
    if study.plotted():
        write_text(os.path.join(results, "frontier.svg"), report_atlas.picture(study))


def write_all(results: str) -> int:
    study = Study(fr.collect_runs(fr.read_rows(os.path.join(results, "runs.csv"))))
    write_text(os.path.join(results, "summary.csv"), report_atlas.summary(study))
    report_atlas.print_headline(study)
    if plots.matplotlib is None:
        notice("report.html and frontier.svg need matplotlib: apt-get install python3-matplotlib")
        return 1
    write_pages(study, results)
    return 0


def main(arguments: Optional[Sequence[str]] = None) -> int:
    parser = argparse.ArgumentParser(
        description="From runs.csv to summary.csv, report.html and frontier.svg in the same "
                    "directory.")
    parser.add_argument(
        "--results", metavar="DIR",
        default=os.path.join(os.path.dirname(os.path.abspath(__file__)), "results"),
        help="where runs.csv (and, if you like, notes.md) lies; default: results beside this "
             "script")
    try:
        return write_all(parser.parse_args(arguments).results)
    except fr.BadRows as error:
        notice(str(error))
    except OSError as error:
        notice(f"{error.filename}: {error.strerror}")
    return 1


if __name__ == "__main__":
    sys.exit(main())
